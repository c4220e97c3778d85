// SPDX-License-Identifier: Apache-2.0
//! A third-party CA as a test sees it: its address, its root, and the certificates a site gets from it.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use openssl::pkey::Id;

use crate::alone::{Dns, alone, program};
use support::process::{Process, Start, args};
use support::tls::{self, EC_ONLY, RSA_ONLY, Served};
use support::{Command, Config, Httpd, Lab, wait_for};

pub const GUNICORN: &str = "venv/bin/gunicorn";

/// Some of these servers are programs in Python on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// A CA that answers.
pub struct Ca {
    /// Directives that make a server use it.
    pub directives: String,
    /// Of what it issues.
    pub root: PathBuf,
    log: PathBuf,
    _process: Process,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    Http01,
    TlsAlpn01,
    Dns01,
}

impl Ca {
    /// Waits until it listens at https://ca.test, with a certificate that leads to the one in `api`. The CA
    /// makes the files when it starts.
    pub fn up(lab: &Lab, mut process: Process, log: PathBuf, path: &str, api: &Path, root: &Path) -> Ca {
        wait_for("the CA", PATIENCE, || {
            assert!(process.exited().is_none(), "it ended: {}", fs::read_to_string(&log).unwrap_or_default());
            (TcpStream::connect("127.0.0.2:443").is_ok() && root.exists()).then_some(())
        });
        // Where httpd's children can read them.
        let [api, root] = [("api.pem", api), ("root.pem", root)].map(|(name, file)| {
            let readable = lab.path(name);
            fs::write(&readable, fs::read(file).unwrap()).unwrap();
            readable
        });
        let directives =
            format!("MDCertificateAuthority https://ca.test{path}\nMDCACertificateFile {}", api.display());
        Ca { directives, root, log, _process: process }
    }

    /// A WSGI application under gunicorn, which keeps connections open for five seconds. `dir` has `root.pem`
    /// and `root.key` for it to issue with.
    pub fn wsgi(lab: &Lab, dir: &Path, application: &str, path: &str, envs: &[(&str, &Path)]) -> Ca {
        let [api, api_key] = [dir.join("api.pem"), dir.join("api.key")];
        tls::self_signed("DNS:ca.test", Id::EC, &api, &api_key);
        let log = dir.join("ca.log");
        let mut list = args([&"--bind", &"127.0.0.2:443", &"--worker-class", &"gthread", &"--threads", &"4"]);
        list.extend(args([
            &"--access-logfile",
            &"-",
            &"--keep-alive",
            &"5",
            &"--certfile",
            &api,
            &"--keyfile",
            &api_key,
            &"--chdir",
            &dir,
        ]));
        list.push(application.into());
        let process = Process::spawn(Start {
            program: &program(GUNICORN).unwrap(),
            args: list,
            envs: envs.iter().map(|(name, path)| (name.to_string(), path.display().to_string())).collect(),
            log: &log,
            stop_signal: "TERM",
            user: &[],
        });
        Ca::up(lab, process, log, path, &api, &dir.join("root.pem"))
    }

    /// How often something was asked for at this path, by the log of requests.
    pub fn requests(&self, path: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap();
        log.lines()
            .filter(|line| {
                line.contains(&format!("POST {path} ")) || line.contains(&format!("\"uri\":\"{path}\""))
            })
            .count()
    }
}

/// A CA of others, for the tests that all of them pass.
pub struct Kind {
    /// What has to be installed.
    pub program: &'static str,
    pub start: fn(&Lab) -> Ca,
    pub new_order: &'static str,
    pub new_account: &'static str,
    /// How many orders there are after a failed validation and its repetition, where that is known.
    pub orders_of_a_recovery: Option<usize>,
}

impl Kind {
    pub fn issues(&'static self, lab: Option<Lab>, challenge: Challenge) {
        alone(lab, &[self.program], move |lab: Lab, dns: Dns| {
            let ca = (self.start)(&lab);
            assert_issues(&lab, &dns, &ca, challenge);
            assert_eq!(ca.requests(self.new_order), 4);
            assert_eq!(ca.requests(self.new_account), 1);
        });
    }

    pub fn recovers(&'static self, lab: Option<Lab>, challenge: Challenge) {
        alone(lab, &[self.program], move |lab: Lab, dns: Dns| {
            let ca = (self.start)(&lab);
            assert_recovers(&lab, &dns, &ca, challenge);
            if let Some(orders) = self.orders_of_a_recovery {
                assert_eq!(ca.requests(self.new_order), orders);
            }
        });
    }
}

/// The tests that all CAs pass, for this [`Kind`].
macro_rules! tests_of {
    ($kind:expr) => {
        tests_of! { $kind;
            http_01 issues Http01;
            tls_alpn_01 issues TlsAlpn01;
            dns_01 issues Dns01;
            http_01_is_repeated_where_a_name_led_elsewhere recovers Http01;
            tls_alpn_01_is_repeated_where_a_name_led_elsewhere recovers TlsAlpn01;
        }
    };
    ($kind:expr; $($name:ident $what:ident $challenge:ident;)*) => { $(
        #[test]
        #[ignore = "run by `make test-interop`"]
        fn $name() {
            $kind.$what(open_lab!(Need::Root), crate::ca::Challenge::$challenge);
        }
    )* };
}
pub(crate) use tests_of;

/// A folder with a root to issue with.
pub fn root_in(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    tls::self_signed("DNS:root.test", Id::RSA, &dir.join("root.pem"), &dir.join("root.key"));
}

impl Challenge {
    fn lines(self, lab: &Lab, dns: &Dns) -> String {
        match self {
            Challenge::Http01 => "MDCAChallenges http-01".to_string(),
            Challenge::TlsAlpn01 => "MDCAChallenges tls-alpn-01\nProtocols http/1.1 acme-tls/1".to_string(),
            Challenge::Dns01 => {
                let command = Command::dns_at(lab, dns.management);
                format!("MDCAChallenges dns-01\nMDChallengeDns01 {}", command.line)
            }
        }
    }

    /// What the site is called beside `one.test`.
    fn alias(self) -> &'static str {
        if self == Challenge::Dns01 { "*.one.test" } else { "www.one.test" }
    }
}

/// A server with one TLS host and keys of both types. Each domain is looked at every second, and nobody waits
/// long after a failure.
pub fn config(lab: &Lab, ca: &Ca) -> Config {
    Config::new(lab)
        .line(&ca.directives)
        .line("MDCertificateAgreement accepted\nMDContactEmail admin@example.test")
        .line("MDCheckInterval 1s\nMDRetryDelay 2s\nMDPrivateKeys RSA 2048 P-256")
}

/// From an empty store to certificates of both key types, live without a restart; then, after a restart, for
/// one more name, ordered with the same account, which gets another contact.
#[track_caller]
pub fn assert_issues(lab: &Lab, dns: &Dns, ca: &Ca, challenge: Challenge) {
    let names = ["one.test", challenge.alias()];
    let with_challenge = config(lab, ca).line(&challenge.lines(lab, dns));
    let site = |config: Config, more: &str| {
        config.line(&format!("MDomain {} {more}", names.join(" "))).site("one.test", &[names[1], more])
    };
    let mut httpd = site(with_challenge.clone(), "").start();
    let first = wait_served(&httpd, ca, &names);
    assert_no_errors(&httpd);
    assert_tidy(&httpd);
    let account = account(&httpd);
    let other_contact = with_challenge.line("MDContactEmail other@example.test");
    httpd.rewrite(|_| site(other_contact, "more.test"));
    httpd.graceful();
    let second = wait_served(&httpd, ca, &["one.test", names[1], "more.test"]);
    assert!(first.iter().zip(&second).all(|(old, new)| old.serial() != new.serial()));
    assert_tidy(&httpd);
    httpd.graceful();
    assert_eq!(account, self::account(&httpd), "the account goes on");
    assert_no_errors(&httpd);
}

/// A name leads elsewhere at first. That is an error which names it; once the name leads to the server, the
/// next try gets the certificates.
#[track_caller]
pub fn assert_recovers(lab: &Lab, dns: &Dns, ca: &Ca, challenge: Challenge) {
    dns.lead_astray("www.one.test");
    let httpd = config(lab, ca)
        .line(&challenge.lines(lab, dns))
        .line("MDomain one.test www.one.test")
        .site("one.test", &["www.one.test"])
        .start();
    let error = wait_for("an error", PATIENCE, || httpd.logged("AH10056").pop());
    assert!(error.contains("www.one.test"), "{error}");
    dns.lead_home("www.one.test");
    wait_served(&httpd, ca, &["one.test", "www.one.test"]);
    assert_tidy(&httpd);
}

#[track_caller]
pub fn assert_no_errors(httpd: &Httpd) {
    let errors = httpd.logged("AH10056");
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

/// Until a client that trusts the CA alone gets certificates of both key types, for these names. Gives the EC
/// one first.
#[track_caller]
pub fn wait_served(httpd: &Httpd, ca: &Ca, names: &[&str]) -> [Served; 2] {
    let mut names = names.to_vec();
    names.sort_unstable();
    [EC_ONLY, RSA_ONLY].map(|options| {
        wait_for(&format!("certificates of the CA with {options:?}"), PATIENCE, || {
            let served = tls::served(httpd.config.https_port(), "one.test", Some(&ca.root), options);
            (served.verified && served.names() == names).then_some(served)
        })
    })
}

/// No answer to a challenge is left.
#[track_caller]
pub fn assert_tidy(httpd: &Httpd) {
    wait_for("the end of all answers", PATIENCE, || {
        let entries = fs::read_dir(httpd.config.store().join("challenges")).unwrap().flatten();
        (entries.count() == 0).then_some(())
    });
}

/// The URL of the one account that there is: with the set that went live, or where a restart puts it.
#[track_caller]
pub fn account(httpd: &Httpd) -> String {
    let store = httpd.config.store();
    let entries = fs::read_dir(store.join("accounts")).unwrap().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.map(|dir| dir.join("account.json")).collect();
    if files.is_empty() {
        files.push(store.join("staging/one.test/account.json"));
    }
    assert_eq!(files.len(), 1, "{files:?}");
    let account: serde_json::Value = serde_json::from_slice(&fs::read(&files[0]).unwrap()).unwrap();
    account["url"].as_str().unwrap().to_string()
}
