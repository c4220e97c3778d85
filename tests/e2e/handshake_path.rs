// SPDX-License-Identifier: Apache-2.0
//! The cost of handshakes: stapled responses and certificates come from memory alone. Each file would be a
//! system call, and so would each contended lock; `ocsp::cache` tests that there is none at all.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;
use support::own_ca::OwnCa;
use support::responder::{Act, Responder, Signers};
use support::strace::{Call, Strace};
use support::{Authority, Config, Need, SOON, open_lab, process, staple, wait_for};

/// At the least.
const HANDSHAKES: usize = 200;
/// New responses of each responder that come meanwhile, at the least.
const RENEWALS: usize = 1;
/// At once.
const CLIENTS: usize = 3;
/// As stacks name it.
const MODULE: &str = "/mod_md.so";

#[test]
fn in_a_handshake_the_module_asks_the_kernel_for_nothing() {
    let Some(lab) = open_lab!(Need::Strace) else { return };
    // A managed domain, whose certificate went live in running children, and a certificate of the admin.
    // Responses are renewed every few seconds, so that handshakes meet new ones.
    let responder = Responder::start(&lab, Act::Good(40));
    let pebble = Authority::new(&lab).ocsp(&lab, &responder.url()).start();
    let (cert, key) = pebble.issuer();
    responder.sign_as(Signers::of(cert, key));
    let own_responder = Responder::start(&lab, Act::Good(40));
    let ca = OwnCa::new(&lab, "Own CA");
    own_responder.sign_as(Signers::of(ca.cert.clone(), ca.key.clone()));
    let files = ca.issue(&lab, "own.test", &own_responder.url());
    let httpd = Config::with_ca(&lab, &pebble.authority)
        .line("StartServers 1\nServerLimit 1\nSSLSessionCache none\nMDPrivateKeys P-256\nMDCheckInterval 1s")
        .line("MDStapling on\nMDStaplingRenewWindow 99%\nMDomain one.test")
        .site("one.test", &[])
        .site_with("own.test", &files.directives())
        .start();
    let hosts = [("one.test", pebble.authority.root.as_path()), ("own.test", ca.root.as_path())];
    let stapled = |(name, root)| staple::staple(httpd.config.https(), name, root).is_some();
    wait_for("a certificate of the CA", SOON, || {
        httpd.served("one.test", &pebble, &[]).verified.then_some(())
    });
    hosts.into_iter().for_each(|host| wait_for(host.0, SOON, || stapled(host).then_some(())));

    let child = process::children(httpd.pid())[0];
    let strace = Strace::attach(&lab, child);
    let asked = || [responder.requests(), own_responder.requests()];
    let (before, deadline) = (asked(), Instant::now() + SOON * 8);
    let count = AtomicUsize::new(0);
    let is_enough = || {
        count.load(Ordering::Relaxed) >= HANDSHAKES
            && asked().iter().zip(before).all(|(now, before)| now - before >= RENEWALS)
    };
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !is_enough() {
                    assert!(Instant::now() < deadline, "{count:?} handshakes, {:?} requests", asked());
                    hosts.into_iter().for_each(|host| assert!(stapled(host), "{}", host.0));
                    count.fetch_add(hosts.len(), Ordering::Relaxed);
                }
            });
        }
    });
    let calls = strace.stop();

    // The threads that serve connections, and all they did. Stacks may end early, so that one cannot ask each
    // call whether it is part of a handshake. There were no requests, nothing but handshakes.
    let serving: HashSet<&str> =
        calls.iter().filter(|call| call.is_through("/mod_ssl.so")).map(Call::thread).collect();
    let (served, others): (Vec<&Call>, Vec<_>) =
        calls.iter().partition(|call| serving.contains(call.thread()));
    assert!(served.len() >= HANDSHAKES, "the handshakes were watched: {}", served.len());
    assert!(others.iter().any(|call| call.is_through(MODULE)), "the module's stacks are known as such");
    let ours: Vec<_> = served
        .iter()
        .filter(|call| call.is_through(MODULE) && !call.is_for_memory())
        .map(ToString::to_string)
        .collect();
    assert!(ours.is_empty(), "the module makes calls in handshakes:\n{}", ours.join("\n"));
    let files: Vec<_> = served.iter().filter(|call| call.is_about_file()).map(ToString::to_string).collect();
    assert!(files.is_empty(), "handshakes look at files:\n{}", files.join("\n"));
}
