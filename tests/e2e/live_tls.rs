// SPDX-License-Identifier: Apache-2.0
//! Live activation as TLS clients see it: protocols, resumption, client certificates, and handshakes while
//! sets change.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslSession, SslStream, SslVersion};

use support::issuer::{self, Issuer, Set};
use support::process::children;
use support::stream::Stream;
use support::{Authority, Config, Httpd, Lab, RaisedAtEnd, SOON, apache, open_lab, tls, wait_for};

const NAMES: &[&str] = &["one.test"];

struct Ready {
    lab: Lab,
    issuer: Issuer,
    first: Set,
}

impl Ready {
    fn new(lab: Lab) -> Ready {
        let issuer = Issuer::new();
        let first = issuer.issue(NAMES);
        let ready = Ready { lab, issuer, first };
        issuer::install(&ready.store(), NAMES, &[&ready.first]);
        ready
    }

    /// One host, with more directives inside of it.
    fn config(&self, inside: &str) -> Config {
        let https = self.lab.https;
        let pages = self.lab.path("pages");
        fs::create_dir_all(&pages).unwrap();
        fs::write(pages.join("index.html"), "page").unwrap();
        Config::with_ca(&self.lab, &Authority::new(&self.lab))
            .line("MDCheckInterval 1s\nMDRetryDelay 1s\nMDPrivateKeys P-256\nMDomain one.test")
            .line(&format!(
                "<VirtualHost *:{https}>\nServerName one.test\nDocumentRoot {}\nSSLEngine on\n{inside}\n</VirtualHost>",
                pages.display()
            ))
    }

    fn store(&self) -> PathBuf {
        Config::new(&self.lab).store()
    }

    fn stage(&self, set: &Set) {
        issuer::stage(&self.store(), NAMES, &[set]);
    }

    /// Another set, in every child.
    #[track_caller]
    fn go_live(&self, httpd: &Httpd) -> Set {
        let set = self.issuer.issue(NAMES);
        let refusals = || httpd.logged("AH10069").len();
        let mut refused = refusals();
        self.stage(&set);
        // A slow child notes the renewal before while these files are written, takes them for its own, and drops
        // them.
        wait_for("the set in every child", SOON, || {
            if std::mem::replace(&mut refused, refusals()) != refused {
                self.stage(&set);
            }
            httpd.is_live("one.test", &set.serial()).then_some(())
        });
        set
    }
}

fn client(change: impl FnOnce(&mut SslContextBuilder)) -> SslContext {
    let mut builder = SslContext::builder(SslMethod::tls_client()).unwrap();
    change(&mut builder);
    builder.build()
}

/// One handshake and one request. `Err`: it did not work out.
fn visit(port: u16, context: &SslContext, session: Option<&SslSession>) -> Result<SslStream<Stream>, String> {
    let say = |e: &dyn std::fmt::Display| e.to_string();
    let mut ssl = Ssl::new(context).map_err(|e| say(&e))?;
    ssl.set_hostname("one.test").map_err(|e| say(&e))?;
    if let Some(session) = session {
        set_session(&mut ssl, session);
    }
    let stream = Stream::connect(port).map_err(|e| say(&e))?;
    let mut stream = ssl.connect(stream).map_err(|e| say(&e))?;
    stream
        .write_all(b"GET /index.html HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n")
        .map_err(|e| say(&e))?;
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    if answer.starts_with("HTTP/1.1 200") { Ok(stream) } else { Err(format!("{read:?} {answer}")) }
}

#[allow(unsafe_code)]
fn set_session(ssl: &mut Ssl, session: &SslSession) {
    // SAFETY: the session was made by the same context.
    unsafe { ssl.set_session(session) }.unwrap();
}

fn serial(stream: &SslStream<Stream>) -> String {
    tls::serial(&stream.ssl().peer_certificate().unwrap())
}

#[test]
fn both_versions_of_tls_and_http2_get_the_live_set() {
    let Some(lab) = open_lab!() else { return };
    let ready = Ready::new(lab);
    let http2 = apache::find().unwrap().load("http2");
    let httpd = ready.config("Protocols h2 http/1.1").line(&http2).start();
    let set = ready.go_live(&httpd);
    for version in ["-tls1_2", "-tls1_3"] {
        for protocol in ["h2", "http/1.1"] {
            let options = [version, "-alpn", protocol];
            let served = tls::served(ready.lab.https, "one.test", None, &options);
            assert_eq!(served.serial(), set.serial(), "{options:?}");
            assert_eq!(served.chain.len(), 2, "with its issuer");
        }
    }
}

/// What a client keeps is a ticket, or with these directives the name of a session in the server's cache.
fn assert_resumes(lab: Lab, version: SslVersion, inside: &str) {
    let ready = Ready::new(lab);
    let port = ready.lab.https;
    let cache = format!("SSLSessionCache shmcb:{}(512000)", ready.lab.path("sessions").display());
    let httpd = ready.config(inside).line(&cache).start();
    let context = client(|builder| {
        builder.set_min_proto_version(Some(version)).unwrap();
        builder.set_max_proto_version(Some(version)).unwrap();
    });
    // A client forgets the session of a connection that it does not end in an orderly way.
    let keep = |stream: &mut SslStream<Stream>| {
        let _ = stream.shutdown();
        stream.ssl().session().unwrap().to_owned()
    };
    let mut session = keep(&mut visit(port, &context, None).unwrap());
    let set = ready.go_live(&httpd);
    // Several, so that no child alone takes them all; a ticket of TLS 1.3 is good for one.
    for _ in 0..8 {
        let mut resumed = visit(port, &context, Some(&session)).unwrap();
        assert!(resumed.ssl().session_reused(), "a session from before the activation");
        session = keep(&mut resumed);
    }
    let mut new = visit(port, &context, None).unwrap();
    assert!(!new.ssl().session_reused());
    assert_eq!(serial(&new), set.serial());
    let session = keep(&mut new);
    ready.go_live(&httpd);
    let resumed = visit(port, &context, Some(&session)).unwrap();
    assert!(resumed.ssl().session_reused(), "a session that began with the set that was live before");
}

#[test]
fn a_ticket_of_tls_1_2_is_good_after_a_set_went_live() {
    let Some(lab) = open_lab!() else { return };
    assert_resumes(lab, SslVersion::TLS1_2, "");
}

#[test]
fn a_ticket_of_tls_1_3_is_good_after_a_set_went_live() {
    let Some(lab) = open_lab!() else { return };
    assert_resumes(lab, SslVersion::TLS1_3, "");
}

#[test]
fn a_session_in_the_cache_of_tls_1_2_is_good_after_a_set_went_live() {
    let Some(lab) = open_lab!() else { return };
    assert_resumes(lab, SslVersion::TLS1_2, "SSLSessionTickets off");
}

#[test]
fn a_session_in_the_cache_of_tls_1_3_is_good_after_a_set_went_live() {
    let Some(lab) = open_lab!() else { return };
    assert_resumes(lab, SslVersion::TLS1_3, "SSLSessionTickets off");
}

#[test]
fn client_certificates_are_asked_for_and_checked_as_before() {
    let Some(lab) = open_lab!() else { return };
    let ready = Ready::new(lab);
    let port = ready.lab.https;
    let clients = Issuer::new();
    let root = ready.lab.path("clients.pem");
    fs::write(&root, clients.root.to_pem().unwrap()).unwrap();
    let inside = format!("SSLCACertificateFile {}\nSSLVerifyClient require", root.display());
    let httpd = ready.config(&inside).start();
    let set = ready.go_live(&httpd);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let own = clients.issue(&["client.test"]);
        let known = client(|builder| {
            builder.set_max_proto_version(Some(version)).unwrap();
            builder.set_certificate(&own.chain[0]).unwrap();
            builder.set_private_key(&own.key).unwrap();
        });
        let visited = visit(port, &known, None).unwrap();
        assert_eq!(serial(&visited), set.serial());
        let nobody = client(|builder| {
            builder.set_max_proto_version(Some(version)).unwrap();
        });
        assert!(visit(port, &nobody, None).is_err(), "without a certificate");
    }
}

/// Sets go live several times a second while clients come and go: every handshake works out, shows one of the
/// sets with the chain of that set, and nothing is left behind.
#[track_caller]
fn assert_withstands_changes(lab: Lab, mpm: &'static str) {
    let ready = Ready::new(lab);
    let port = ready.lab.https;
    let httpd = ready.config("").mpm(mpm).start();
    let (done, visits) = (AtomicBool::new(false), AtomicUsize::new(0));
    let context = client(|_| {});
    // What a child opens once is open by then.
    ready.go_live(&httpd);
    let before = descriptors(&httpd);
    thread::scope(|scope| {
        let _done = RaisedAtEnd(&done);
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut failures = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        visit(port, &context, None).err().into_iter().for_each(|error| failures.push(error));
                        visits.fetch_add(1, Ordering::Relaxed);
                    }
                    failures
                })
            })
            .collect();
        let mut changes = 0;
        while changes < 5 || visits.load(Ordering::Relaxed) < 50 {
            ready.go_live(&httpd);
            changes += 1;
        }
        done.store(true, Ordering::Relaxed);
        for client in clients {
            assert_eq!(client.join().unwrap(), Vec::<String>::new());
        }
    });
    // The children that were there from the start hold no more open than then.
    wait_for("as many open files as before", SOON, || {
        let after = descriptors(&httpd);
        before.iter().all(|(pid, count)| after.iter().all(|(p, c)| p != pid || *c <= count + 2)).then_some(())
    });
}

fn descriptors(httpd: &Httpd) -> Vec<(u32, usize)> {
    let count = |pid: &u32| fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count).unwrap_or(0);
    children(httpd.pid()).iter().map(|pid| (*pid, count(pid))).collect()
}

#[test]
fn no_handshake_fails_while_sets_change_under_threads() {
    let Some(lab) = open_lab!() else { return };
    assert_withstands_changes(lab, "event");
}

#[test]
fn no_handshake_fails_while_sets_change_under_the_worker_mpm() {
    let Some(lab) = open_lab!() else { return };
    assert_withstands_changes(lab, "worker");
}

#[test]
fn no_handshake_fails_while_sets_change_under_processes() {
    let Some(lab) = open_lab!() else { return };
    assert_withstands_changes(lab, "prefork");
}

/// Files of two sets are written over each other, out of order, while the domain is looked at: what gets live
/// is one or the other, with its own key.
#[test]
fn a_set_that_is_replaced_while_it_is_read_never_goes_live_in_halves() {
    let Some(lab) = open_lab!() else { return };
    let ready = Ready::new(lab);
    let port = ready.lab.https;
    let _httpd = ready.config("").start();
    let sets: Vec<Set> = (0..8).map(|_| ready.issuer.issue(NAMES)).collect();
    let known: Vec<String> = sets.iter().chain([&ready.first]).map(Set::serial).collect();
    let done = AtomicBool::new(false);
    let context = client(|_| {});
    // Long enough to be found as it is, short enough to be found changing.
    let pause = || thread::sleep(Duration::from_millis(20));
    thread::scope(|scope| {
        let _done = RaisedAtEnd(&done);
        scope.spawn(|| {
            let dir = ready.store().join("staging").join(NAMES[0]);
            while !done.load(Ordering::Relaxed) {
                for (one, other) in sets.iter().zip(sets.iter().rev()) {
                    ready.stage(one);
                    pause();
                    // For a moment they do not belong together.
                    issuer::put(&dir, "privkey.p-256.pem", &other.sealed_pem(&ready.store()));
                    thread::yield_now();
                    issuer::put(&dir, "pubcert.p-256.pem", &other.chain_pem());
                    pause();
                }
            }
        });
        let mut seen = std::collections::HashSet::new();
        wait_for("several of the sets in handshakes", SOON, || {
            let visited = visit(port, &context, None);
            let serial = serial(&visited.unwrap());
            assert!(known.contains(&serial));
            seen.insert(serial);
            (seen.len() >= 3).then_some(())
        });
    });
}
