// SPDX-License-Identifier: Apache-2.0
//! Situations on this machine: its network, its commands, its disk, its hosts.

use crate::lab::{HOUR, Lab, NAME, logged};
use crate::table::{Situation, failing, situation};
use mod_md::crypto::{CertInfo, Identity, PrivateKey};
use mod_md::managed::Host;
use mod_md::managed::live_set::Hosts;
use mod_md::managed::serve::Source;
use mod_md::managed::staging::Staging;
use mod_md::model::{KeySpec, RateLimit, RenewMode, Scope};
use mod_md::notify::Commands;
use mod_md::renew::worker::check;
use mod_md::startup::findings;
use mod_md::store::StartStore;
use mod_md::time::{Clock, DAY};
use openssl::asn1::Asn1Time;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use support::certificate;

/// What a server at a port of this machine does with who connects.
enum Server {
    /// TLS for this name, until so many days from now.
    Tls(&'static str, i64),
    Plain,
    Silent,
    Forbidding,
}

/// At this port until the process ends, and with this certificate, where it has one.
fn serve(server: Server) -> (u16, Option<X509>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = if let Server::Tls(name, until) = &server {
        let key = certificate::new_key();
        let day = |days: i64| Asn1Time::from_unix(mod_md::time::now().unix() + days * 86_400).unwrap();
        let names = vec![certificate::san(name)];
        let cert = certificate::make_valid(name, &key, None, names, (&day(-90), &day(*until)));
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_private_key(&key).unwrap();
        acceptor.set_certificate(&cert).unwrap();
        Some((acceptor.build(), cert))
    } else {
        None
    };
    let cert = tls.as_ref().map(|(_, cert)| cert.clone());
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            match (&server, &tls) {
                (Server::Tls(..), Some((acceptor, _))) => drop(acceptor.accept(stream)),
                (Server::Plain, _) => drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
                (Server::Forbidding, _) => {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        head.push(byte[0]);
                    }
                    stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
                    silent.push(stream);
                }
                _ => silent.push(stream),
            }
        }
    });
    (port, cert)
}

/// A CA there, whose certificate is trusted.
fn trusted(lab: &mut Lab, name: &'static str, until: i64) {
    let (port, cert) = serve(Server::Tls(name, until));
    let file = lab.dir().join("root.pem");
    fs::write(&file, cert.unwrap().to_pem().unwrap()).unwrap();
    lab.ask(&format!("https://localhost:{port}/dir"));
    lab.connect_by(|options| options.ca_file = Some(file));
}

fn at(lab: &mut Lab, host: &str, server: Server) {
    let (port, _) = serve(server);
    lab.ask(&format!("https://{host}:{port}/dir"));
    lab.connect_by(|_| {});
}

pub fn transports() -> Vec<Situation> {
    vec![
        failing(
            "the CA's certificate is not trusted",
            &["self-signed certificate", "MDCACertificateFile"],
            |lab| {
                at(lab, "localhost", Server::Tls("localhost", 30));
            },
        ),
        failing("the CA's certificate has expired", &["certificate has expired", "date and time"], |lab| {
            trusted(lab, "localhost", -1);
        }),
        failing(
            "the CA's certificate is for another name",
            &["hostname mismatch", "DNS of this machine"],
            |lab| {
                trusted(lab, "other.test", 30);
            },
        ),
        failing(
            "nothing but plain HTTP at the CA's port",
            &["wrong version number", "does not speak TLS 1.2", "curl -v https://localhost"],
            |lab| {
                at(lab, "localhost", Server::Plain);
            },
        ),
        failing("TLS is not answered", &["no answer in time", "a firewall may drop"], |lab| {
            at(lab, "localhost", Server::Silent);
        }),
        failing("nothing listens", &["connection refused", "nothing listens there"], |lab| {
            lab.ask("https://127.0.0.1:1/dir");
            lab.connect_by(|_| {});
        }),
        failing("proxy out of reach", &["connection refused", "with the proxy of MDHttpProxy"], |lab| {
            lab.ask("https://ca.test/dir");
            lab.connect_by(|options| options.proxy_url = Some("http://127.0.0.1:1".into()));
        }),
        failing("proxy forbids", &["proxy", "not let this server through"], |lab| {
            let (port, _) = serve(Server::Forbidding);
            lab.ask("https://ca.test/dir");
            lab.connect_by(|options| options.proxy_url = Some(format!("http://127.0.0.1:{port}")));
        }),
        failing("proxy is no URL", &["URL of the HTTP proxy is not valid", "correct MDHttpProxy"], |lab| {
            lab.connect_by(|options| options.proxy_url = Some("socks7://x".into()));
        }),
        failing("CA file missing", &["/no/such/roots.pem", "correct MDCACertificateFile"], |lab| {
            lab.connect_by(|options| options.ca_file = Some("/no/such/roots.pem".into()));
        }),
        failing("no CA", &["no CA is configured", "name a CA with MDCertificateAuthority"], |lab| {
            lab.md.md.ca.urls.clear()
        }),
    ]
}

/// The lines of a look that have this in them.
fn lines(lab: &Lab, what: &str) -> Vec<String> {
    lab.looks(2).into_iter().filter(|text| text.contains(what)).collect()
}

pub fn commands() -> Vec<Situation> {
    vec![
        failing(
            "MDChallengeDns01 fails",
            &[
                "failed with exit code 3",
                "fix what it reports",
                "setup a.test test'",
                "LogLevel md:debug'. None",
            ],
            |lab| {
                lab.dns01("exit 3", HOUR);
            },
        ),
        failing(
            "MDChallengeDns01 is not there",
            &["No such file or directory. What to do: Correct the path in MDChallengeDns01"],
            |lab| {
                lab.command("/no/such/command", HOUR);
            },
        ),
        failing(
            "MDChallengeDns01 takes too long",
            &["did not end within 1 second", "What to do: Give it more time with MDChallengeDns01Timeout"],
            |lab| {
                lab.dns01("sleep 60", Duration::from_secs(1));
            },
        ),
        failing(
            "MDMessageCmd fails for a challenge",
            &["exit code 4", "MDMessageCmd", "run the command as httpd's User"],
            |lab| {
                lab.md.md.ca.challenges = vec!["http-01".into()];
                lab.settings.commands.message =
                    Some("/bin/sh -c 'case $1 in challenge-setup*) exit 4;; esac' message".into());
            },
        ),
        situation(
            "MDMessageCmd fails",
            &["AH10109", "exit code 5", "'renewed' of a.test", "run the command as httpd's User"],
            |lab| {
                lab.settings.commands.message =
                    Some("/bin/sh -c 'test $1 != renewed || exit 5' message".into());
                lines(lab, "AH10109")
            },
        ),
        situation(
            "MDNotifyCmd fails",
            &["AH10108", "exit code 6", "for a.test", "run the command as httpd's User"],
            |lab| {
                lab.settings.commands =
                    Commands { notify: Some("/bin/sh -c 'exit 6' notify".into()), message: None };
                lines(lab, "AH10108")
            },
        ),
        situation(
            "MDMessageCmd is not there",
            &["AH10109", "No such file or directory", "run the command as httpd's User"],
            |lab| {
                lab.settings.commands.message = Some("/no/such/command".into());
                lines(lab, "AH10109")
            },
        ),
    ]
}

/// A file in the place of the folder.
fn block(lab: &Lab, folder: &str) {
    let path = lab.dir().join("md").join(folder);
    fs::remove_dir_all(&path).unwrap();
    fs::write(path, "").unwrap();
}

pub fn stores() -> Vec<Situation> {
    vec![
        failing("challenges cannot be written", &["challenge", "store (MDStoreDir)"], |lab| {
            lab.md.md.ca.challenges = vec!["http-01".into()];
            block(lab, "challenges");
        }),
        situation(
            "staging cannot be written",
            &["cannot be saved", "move away what is in the place of"],
            |lab| {
                block(lab, "staging");
                lab.look().into_iter().filter(|text| text.contains("cannot be saved")).collect()
            },
        ),
        situation(
            "job.json damaged",
            &["job.json is damaged", "begins again", "restore", "or remove it"],
            |lab| {
                let file = lab.staged("job.json");
                fs::write(file, "garbage").unwrap();
                lab.look().into_iter().filter(|text| text.contains("job.json")).collect()
            },
        ),
        situation(
            "private key damaged",
            &["privkey.p-256.pem", "a new key is made", "find out who can write there"],
            |lab| {
                let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
                Staging::new(&lab.work(), NAME).save_key(&KeySpec::Ec("P-256".into()), &key).unwrap();
                let file = fs::read_dir(lab.staged("")).unwrap().map(|entry| entry.unwrap().path());
                let file = file.into_iter().find(|path| path.to_str().unwrap().contains("privkey")).unwrap();
                // As if the staging had been prepared before.
                let md = lab.md.md.clone();
                let mut staged = md.clone();
                staged.ca.url = md.ca.urls.first().cloned();
                Staging::new(&lab.work(), NAME).save_md(&staged).unwrap();
                fs::write(file, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
                lab.look().into_iter().filter(|text| text.contains("privkey")).collect()
            },
        ),
        situation("store key damaged", &["md_store.json", "restore this file from a backup"], |lab| {
            fs::write(lab.path.join("md_store.json"), "garbage").unwrap();
            start(lab)
        }),
        situation("store of a newer version", &["newer mod_md", "MDStoreDir"], |lab| {
            let file = lab.path.join("md_store.json");
            let text = fs::read_to_string(&file).unwrap();
            let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
            json["store"]["version"] = serde_json::json!(9.0);
            fs::write(file, json.to_string()).unwrap();
            start(lab)
        }),
        situation(
            "a file in the place of the store",
            &["Not a directory", "move away what is in the place of"],
            |lab| {
                let path = lab.dir().join("md");
                fs::rename(&path, lab.dir().join("away")).unwrap();
                fs::write(&path, "").unwrap();
                start(lab)
            },
        ),
    ]
}

/// What a start of httpd says when it cannot use the store (httpd's own part puts the number before it).
fn start(lab: &Lab) -> Vec<String> {
    let error = StartStore::open(&lab.dir().join("md"), None).err().unwrap();
    vec![format!("AH10046: setup store for Managed Domains: {}", error.advised())]
}

struct Picky;

impl Hosts for Picky {
    fn try_out(&self, _: usize, _: &[Identity]) -> Option<Result<(), String>> {
        Some(Err("the host a.test:443 refuses certificate(rsa): ee key too small".into()))
    }
}

/// What a start says of the one TLS host of the domain, which has nothing to show.
fn without_certificate(lab: &mut Lab, renew_mode: RenewMode) -> Vec<String> {
    lab.md.md.renew_mode = renew_mode;
    let source = Source::SelfSigned;
    lab.md.hosts = vec![Host { name: NAME.into(), address: "*:443".into(), source, is_live: true }];
    findings::findings(std::iter::once(&lab.md), lab.clock.now())
        .into_iter()
        .map(|found| found.text)
        .collect()
}

pub fn hosts() -> Vec<Situation> {
    vec![
        situation("a host starts without a certificate", &["self-signed", "503", "md-status"], |lab| {
            without_certificate(lab, RenewMode::Auto)
        }),
        situation(
            "a host without a certificate that anybody orders",
            &["self-signed", "503", "MDCertificateFile", "'MDRenewMode auto'"],
            |lab| without_certificate(lab, RenewMode::Manual),
        ),
        situation("hosts refuse the certificate", &["ee key too small", "@SECLEVEL", "restart"], |lab| {
            let context = lab.context().trying_on(Arc::new(Picky));
            let lines = logged(|| {
                check::run(&context, 0);
            });
            let line = lines.into_iter().map(|line| line.text).find(|text| text.contains("AH10056")).unwrap();
            vec![line, format!("md[{NAME}]: {}", lab.job().unwrap().last.detail.unwrap())]
        }),
        situation("a bug", &["internal error", "report this bug"], |lab| {
            let context = lab.context();
            let lines = logged(|| {
                check::record_panic(&context, 0);
            });
            lines.into_iter().map(|line| line.text).filter(|text| text.contains("AH10056")).collect()
        }),
        situation(
            "a wait while nothing is served",
            &["no usable certificate", "waits until", "remove it and restart"],
            |lab| {
                let mut job = mod_md::model::Job::new(NAME);
                let (ca, now) = (lab.ca.directory_url(), lab.clock.now());
                job.retry_state.rate_limit =
                    Some(RateLimit { ca, scope: Scope::Ca, since: now, until: now.plus(HOUR * 20) });
                Staging::new(&lab.work(), NAME).save_job(&job).unwrap();
                lab.look().into_iter().filter(|text| text.contains("waits until")).collect()
            },
        ),
    ]
}

/// A set was issued, is served, and is due again.
pub fn renewed_and_due_again(lab: &mut Lab) -> Vec<String> {
    lab.md.md.ca.url = lab.md.md.ca.urls.first().cloned();
    let spec = KeySpec::Ec("P-256".into());
    for _ in 0..8 {
        let said: Vec<String> =
            lab.look().into_iter().filter(|text| text.contains("held back until")).collect();
        if !said.is_empty() {
            return said;
        }
        let work = lab.work();
        if let Some(chain) = Staging::new(&work, NAME).chain(&spec).unwrap() {
            lab.md.certs.keyed[0].1 = Some(CertInfo::from_chain(&chain));
            mod_md::managed::staging::purge(&lab.store, NAME).unwrap();
        }
        lab.clock.advance(HOUR);
    }
    panic!("it is not held back in {:?}", DAY);
}
