// SPDX-License-Identifier: Apache-2.0
//! The ACME CA (pebble) and the DNS it asks (pebble-challtestsrv, which answers 127.0.0.1 for every name).

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use openssl::pkey::{Id, PKey, Private};
use openssl::x509::X509;

use super::lab::lab_dir;
use super::process::{Process, Start, args, signal};
use super::{Lab, SOON, http, tls, wait_for};

/// Unpacked by `setup.sh`, or installed on the machine.
pub fn binary(name: &str) -> Option<PathBuf> {
    let unpacked = lab_dir().join("pebble/usr/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    std::iter::once(unpacked)
        .chain(env::split_paths(&path))
        .map(|dir| dir.join(name))
        .find(|file| file.exists())
}

/// Major and minor, as `setup.sh` noted them; 0.0 where it did not, because pebble itself does not know.
pub fn version() -> (u32, u32) {
    let text = fs::read_to_string(lab_dir().join("pebble/VERSION")).unwrap_or_default();
    let mut numbers = text.split(['.', '+', '-']).map_while(|part| part.trim().parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Seconds.
const LIFETIME: u32 = 90 * 86_400;

/// A CA with address and certificate that need not run (yet).
pub struct Authority {
    /// The certificate with which the CA itself answers HTTPS: for `MDCACertificateFile`.
    pub certificate: PathBuf,
    /// The root of what it issues, once it runs. Another one after each start.
    pub root: PathBuf,
    dir: PathBuf,
    api: u16,
    management: u16,
    dns: u16,
    pub dns_management: u16,
    /// Asked instead of the CA's own DNS.
    resolver: Option<SocketAddr>,
    envs: Vec<(String, String)>,
}

/// A CA that answers.
pub struct Pebble {
    pub authority: Authority,
    process: Process,
    dns: Process,
}

impl Authority {
    /// Validates against the ports of the lab's httpd. Certificates hold 90 days, 5 % of good nonces are
    /// refused.
    pub fn new(lab: &Lab) -> Authority {
        Authority::named(lab, "pebble")
    }

    /// One of several CAs of a test, in the lab's folder `name`.
    pub fn named(lab: &Lab, name: &str) -> Authority {
        let dir = lab.path(name);
        fs::create_dir_all(&dir).unwrap();
        let certificate = dir.join("api.pem");
        tls::self_signed("DNS:localhost,IP:127.0.0.1", Id::EC, &certificate, &dir.join("api.key"));
        let authority = Authority {
            certificate,
            root: dir.join("root.pem"),
            api: lab.port(),
            management: lab.port(),
            dns: lab.port(),
            dns_management: lab.port(),
            resolver: None,
            envs: Vec::new(),
            dir,
        };
        authority.write_config(lab, &[], LIFETIME, "");
        authority.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "5")
    }

    /// Refuses no good nonce. For the clients of others: certbot and dehydrated try once more, and then end.
    #[must_use]
    pub fn patient(self) -> Authority {
        self.env("PEBBLE_WFE_NONCEREJECT", "0")
    }

    /// It refuses to issue for this name.
    #[must_use]
    pub fn block_domain(self, lab: &Lab, name: &str) -> Authority {
        self.write_config(lab, &[name], LIFETIME, "");
        self
    }

    /// Certificates hold so many seconds.
    #[must_use]
    pub fn lifetime(self, lab: &Lab, seconds: u32) -> Authority {
        self.write_config(lab, &[], seconds, "");
        self
    }

    fn write_config(&self, lab: &Lab, blocked: &[&str], lifetime: u32, responder: &str) {
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.api),
            "managementListenAddress": format!("127.0.0.1:{}", self.management),
            "certificate": self.certificate,
            "privateKey": self.dir.join("api.key"),
            "httpPort": lab.http,
            "tlsPort": lab.https,
            "ocspResponderURL": responder,
            "externalAccountBindingRequired": false,
            "domainBlocklist": blocked,
            "retryAfter": { "authz": 1, "order": 1 },
            "profiles": { "default": { "description": "the only one", "validityPeriod": lifetime } },
        }});
        fs::write(self.dir.join("config.json"), config.to_string()).unwrap();
    }

    /// Names this OCSP responder in the certificates.
    #[must_use]
    pub fn ocsp(self, lab: &Lab, responder: &str) -> Authority {
        self.write_config(lab, &[], LIFETIME, responder);
        self
    }

    /// One of pebble's own switches; the last value of a name counts.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Authority {
        self.envs.retain(|(known, _)| known != name);
        self.envs.push((name.to_string(), value.to_string()));
        self
    }

    /// A setting of pebble's configuration file.
    #[must_use]
    pub fn set(self, key: &str, value: serde_json::Value) -> Authority {
        let file = self.dir.join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        config["pebble"][key] = value;
        fs::write(file, config.to_string()).unwrap();
        self
    }

    /// Waits up to so many seconds before each validation, as a public CA may.
    #[must_use]
    pub fn slow_validation(self, seconds: u8) -> Authority {
        self.env("PEBBLE_VA_NOSLEEP", "0").env("PEBBLE_VA_SLEEPTIME", &seconds.to_string())
    }

    /// Has it ask another resolver than the one that says 127.0.0.1 to everything.
    #[must_use]
    pub fn resolver(mut self, address: SocketAddr) -> Authority {
        self.resolver = Some(address);
        self
    }

    pub fn api(&self) -> u16 {
        self.api
    }

    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.api)
    }

    /// The directives that make a server use this CA.
    pub fn directives(&self) -> String {
        format!(
            "MDCertificateAuthority {}\nMDCACertificateFile {}\nMDCertificateAgreement accepted\n",
            self.directory(),
            self.certificate.display()
        )
    }

    pub fn start(self) -> Pebble {
        let dns = self.start_dns();
        let process = Process::spawn(Start {
            program: &binary("pebble").unwrap(),
            args: args([
                &"-config",
                &self.dir.join("config.json"),
                &"-dnsserver",
                &self.resolver.map_or_else(|| format!("127.0.0.1:{}", self.dns), |own| own.to_string()),
            ]),
            envs: self.envs.clone(),
            log: &self.dir.join("pebble.log"),
            stop_signal: "KILL",
            user: &[],
        });
        let mut pebble = Pebble { authority: self, process, dns };
        pebble.wait_up();
        pebble
    }

    fn start_dns(&self) -> Process {
        start_dns(&self.dir, self.dns, self.dns_management)
    }
}

/// Whether the CA with this management port works; it takes ten seconds to find out that one does not. Pebble 2.10 can
/// stand still for ever: its look for an authorization to use again waits for one that is being polled, which waits
/// for the list of all, which is kept for a third that wants to add one. It answers the directory and nonces then, and
/// no signed request. The page of a certificate that nobody has waits for the same list.
pub fn answers(management: u16) -> bool {
    http::https_get(management, "localhost", "/cert-status-by-serial/1").is_ok()
}

/// DNS on `port`, which is told what to answer on `management`.
pub fn start_dns(dir: &Path, port: u16, management: u16) -> Process {
    let program = binary("pebble-challtestsrv").unwrap();
    let mut args: Vec<OsString> = Vec::new();
    let mut option = |name: &str, value: &str| args.extend([name.into(), value.into()]);
    option("-defaultIPv4", "127.0.0.1");
    option("-defaultIPv6", "");
    ["-http01", "-https01", "-tlsalpn01"].iter().for_each(|server| option(server, ""));
    option("-management", &format!("127.0.0.1:{management}"));
    let address = format!("127.0.0.1:{port}");
    if knows_option(&program, "-dnsserver") {
        option("-dnsserver", &address);
        option("-doh", "");
    } else {
        option("-dns01", &address);
    }
    let log = dir.join("dns.log");
    Process::spawn(Start { program: &program, args, envs: vec![], log: &log, stop_signal: "KILL", user: &[] })
}

/// Older versions have other names for some.
fn knows_option(program: &Path, option: &str) -> bool {
    let help = Command::new(program).arg("-h").output().map(|output| output.stderr).unwrap_or_default();
    String::from_utf8_lossy(&help).contains(option)
}

impl Pebble {
    pub fn start(lab: &Lab) -> Pebble {
        Authority::new(lab).start()
    }

    fn wait_up(&mut self) {
        let Pebble { authority, process, dns } = self;
        let root = wait_for("an answer of pebble", SOON, || {
            let ended = process.exited().or_else(|| dns.exited());
            assert!(ended.is_none(), "pebble ended: {}", log_of(&authority.dir));
            http::https_get(authority.api, "localhost", "/dir").ok().filter(|answer| answer.status == 200)?;
            http::get(authority.dns_management, "localhost", "/").ok()?;
            http::https_get(authority.management, "localhost", "/roots/0").ok()
        });
        fs::write(&authority.root, root.body).unwrap();
    }

    /// Ends it. Its address stays: another start is another CA with the same one.
    #[allow(dead_code, reason = "the differential test alone does this")]
    pub fn stop(self) -> Authority {
        let Pebble { authority, process, dns } = self;
        drop((process, dns));
        authority
    }

    /// Freezes the CA: connections are accepted, nothing is answered.
    pub fn hold(&self) {
        signal(self.pid(), "STOP");
    }

    pub fn go_on(&self) {
        signal(self.pid(), "CONT");
    }

    /// The port of its management interface.
    pub fn management(&self) -> u16 {
        self.authority.management
    }

    /// See [`answers`].
    pub fn answers(&self) -> bool {
        answers(self.management())
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn log(&self) -> String {
        log_of(&self.authority.dir)
    }

    /// What the CA answers from now on when it is asked when to renew this certificate (RFC 9773).
    pub fn set_renewal_info(&self, certificate: &[u8], info: &serde_json::Value) {
        let certificate = String::from_utf8_lossy(certificate);
        let body = serde_json::json!({"Certificate": certificate, "ARIResponse": info.to_string()});
        let answer =
            http::https_post(self.authority.management, "localhost", "/set-renewal-info/", &body.to_string());
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// What its management says of a certificate: `Valid` or `Revoked`, and the reason.
    pub fn status_of(&self, serial: &str) -> (String, Option<i64>) {
        // It takes the digits of the number.
        let serial = serial.trim_start_matches('0').to_ascii_lowercase();
        let path = format!("/cert-status-by-serial/{serial}");
        let answer = http::https_get(self.authority.management, "localhost", &path).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let status: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        (status["Status"].as_str().unwrap().to_string(), status["Reason"].as_i64())
    }

    /// Certificate and key of who issues.
    pub fn issuer(&self) -> (X509, PKey<Private>) {
        let get = |path: &str| {
            let answer = http::https_get(self.authority.management, "localhost", path).unwrap();
            assert_eq!(answer.status, 200, "{path}");
            answer.body
        };
        let cert = X509::from_pem(get("/intermediates/0").as_bytes()).unwrap();
        (cert, PKey::private_key_from_pem(get("/intermediate-keys/0").as_bytes()).unwrap())
    }

    pub fn account_count(&self) -> usize {
        self.last_count("accounts in memory")
    }

    pub fn order_count(&self) -> usize {
        self.last_count("orders in the db")
    }

    /// The CA forgets nothing while it runs, so its last word on a number is the highest.
    fn last_count(&self, of: &str) -> usize {
        let log = self.log();
        let line = log.lines().rev().find(|line| line.contains("There are now") && line.ends_with(of));
        line.and_then(|line| line.split_whitespace().find_map(|word| word.parse().ok())).unwrap_or(0)
    }
}

fn log_of(dir: &Path) -> String {
    let bytes = fs::read(dir.join("pebble.log")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
