// SPDX-License-Identifier: Apache-2.0
//! OCSP stapling: the responses stapled while the responder works, misbehaves and is down.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use support::clocks::Clocks;
use support::own_ca::OwnCa;
use support::responder::{Act, Responder, Signers, now};
use support::staple::{self, Staple};
use support::{Authority, Config, Httpd, Lab, Need, Pebble, Proxy, SOON, module, open_lab, wait_for};

/// Within this time of the moment it can be had, a response is stapled.
const PROMPTLY: Duration = Duration::from_secs(5);

fn stapled(httpd: &Httpd, name: &str, root: &Path) -> Option<Staple> {
    staple::staple(httpd.config.https(), name, root)
}

#[track_caller]
fn wait_stapled(httpd: &Httpd, name: &str, root: &Path, within: Duration) -> Staple {
    wait_for(&format!("a response stapled to {name}"), within, || stapled(httpd, name, root))
}

/// One managed domain at a CA that names the responder.
fn managed(lab: &Lab, responder: &Responder) -> (Pebble, Config) {
    let pebble = Authority::new(lab).ocsp(lab, &responder.url()).start();
    let (cert, key) = pebble.issuer();
    responder.sign_as(Signers::of(cert, key));
    let config = Config::with_ca(lab, &pebble.authority)
        .line("MDPrivateKeys P-256\nMDRetryDelay 1s\nMDCheckInterval 1s\nMDStapling on\nMDomain one.test")
        .site("one.test", &[]);
    (pebble, config)
}

#[track_caller]
fn wait_served(httpd: &Httpd, pebble: &Pebble, other_than: &str) -> String {
    let serial = wait_for("a certificate of the CA", SOON, || {
        let served = httpd.served("one.test", pebble, &[]);
        (served.verified && served.serial() != other_than).then(|| served.serial())
    });
    if !module::is_c(&module::under_test()) {
        httpd.wait_live("one.test", &serial);
    }
    serial
}

#[test]
fn a_new_certificate_is_stapled_by_every_child_and_after_a_restart() {
    let Some(lab) = open_lab!() else { return };
    let responder = Responder::start(&lab, Act::Good(3600));
    let (pebble, config) = managed(&lab, &responder);
    let mut httpd = config.start();
    let root = pebble.authority.root.clone();
    if module::is_c(&module::under_test()) {
        httpd.wait_staged_and_activate(&["one.test"]);
    }
    wait_served(&httpd, &pebble, "");
    let first = wait_stapled(&httpd, "one.test", &root, PROMPTLY);
    assert!(!first.is_revoked);
    wait_for("every child has it", SOON, || {
        (0..20).all(|_| stapled(&httpd, "one.test", &root).is_some()).then_some(())
    });
    let seen = httpd.served("one.test", &pebble, &["-status"]);
    assert!(seen.verified && seen.text.contains("Cert Status: good"), "{}", seen.text);
    assert_eq!(responder.requests(), 1, "one fetch for all children");
    assert_eq!(responder.posts(), 0);

    let md = httpd.md("one.test");
    assert_eq!(md["cert"]["P-256"]["ocsp"]["status"], "good", "{md:#}");
    assert_eq!(httpd.mds()["managed-domains"][0]["cert"]["P-256"]["ocsp"], md["cert"]["P-256"]["ocsp"]);
    let section = httpd.get("main.test", "/server-status").body;
    assert!(section.contains("Managed Staplings") && section.contains(&responder.url()), "{section}");
    let lines = httpd.get("main.test", "/server-status?auto").body;
    assert!(lines.contains("ManagedStaplingsOK: 1\n"), "{lines}");

    responder.act(Act::Dead);
    let httpd = httpd.stop().start();
    assert_eq!(stapled(&httpd, "one.test", &root), Some(first.clone()), "from the first handshake on");
    let httpd = httpd.stop().start();
    assert_eq!(stapled(&httpd, "one.test", &root), Some(first));
}

#[test]
fn every_child_shows_a_missing_response_for_a_live_certificate() {
    let Some(lab) = open_lab!() else { return };
    let responder = Responder::start(&lab, Act::Dead);
    let (pebble, config) = managed(&lab, &responder);
    let httpd = config.start();
    wait_served(&httpd, &pebble, "");
    wait_for("every page has it", SOON, || {
        let has = || {
            let lines = httpd.get("main.test", "/server-status?auto").body;
            lines.contains("ManagedStaplingsTotal: 1\n") && lines.contains("ManagedStaplingsErrored: 1\n")
        };
        (0..40).all(|_| has()).then_some(())
    });
}

#[test]
fn a_valid_response_is_stapled_after_a_restart_however_old_its_file() {
    let Some(lab) = open_lab!() else { return };
    const DAY: u64 = 86_400;
    let (ca, responder, config) = other(&lab, Act::Good(30 * DAY as i64));
    let httpd = config.line("MDStapling on\nMDomain idle.test\nMDRenewMode manual").start();
    let got = wait_stapled(&httpd, "own.test", &ca.root, SOON);
    let asked = responder.requests();
    responder.act(Act::Dead);
    let config = httpd.stop();
    let folder = config.store().join("ocsp/other");
    let long_ago = SystemTime::now() - Duration::from_secs(8 * DAY);
    let age = |name: &str| {
        let file = std::fs::File::options().write(true).open(folder.join(name)).unwrap();
        file.set_modified(long_ago).unwrap();
    };
    let names = || -> Vec<String> {
        let files = std::fs::read_dir(&folder).unwrap().flatten();
        let names = files.map(|file| file.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("ocsp-")).collect()
    };
    let used = names();
    // One of a certificate that no host has any more.
    let unused = format!("ocsp-{}.json", "ab".repeat(20));
    std::fs::copy(folder.join(&used[0]), folder.join(&unused)).unwrap();
    [&used[0], &unused].into_iter().for_each(|name| age(name));
    let httpd = config.start();
    assert_eq!(wait_stapled(&httpd, "own.test", &ca.root, PROMPTLY), got);
    assert_eq!(responder.requests(), asked);
    if !module::is_c(&module::under_test()) {
        assert_eq!(names(), used, "what nobody uses is removed");
    }
}

/// A host for each way to do wrong, with a responder of its own. All begin with a good response of the same
/// length.
#[test]
fn the_good_response_stays_until_it_expires_whatever_the_responder_does() {
    let Some(lab) = open_lab!() else { return };
    let acts = [
        Act::Expired,
        Act::NotYet,
        Act::Forged,
        Act::Stranger,
        Act::Unappointed,
        Act::WrongSerial,
        Act::Unknown,
        Act::TryLater,
        Act::Status(500),
        Act::Status(404),
        Act::Html,
        Act::Empty,
        Act::Huge,
        Act::Drip,
        Act::Hang,
        Act::Dead,
    ];
    // Of the same name; the file has that of the later one.
    let (stranger, ca) = (OwnCa::new(&lab, "Own CA"), OwnCa::new(&lab, "Own CA"));
    let signers = Signers {
        stranger: Some((stranger.cert.clone(), stranger.key.clone())),
        unappointed: Some(ca.delegate(false)),
        ..Signers::of(ca.cert.clone(), ca.key.clone())
    };
    const VALID: i64 = 20;
    let mut config = Config::new(&lab).line("MDStapling on\nMDStaplingRenewWindow 80%\nMDRetryDelay 1s");
    let mut hosts = Vec::new();
    for (index, act) in acts.into_iter().enumerate() {
        let (name, responder) = (format!("h{index}.test"), Responder::start(&lab, Act::Good(VALID)));
        responder.sign_as(signers.clone());
        let files = ca.issue(&lab, &name, &responder.url());
        config = config.site_with(&name, &files.directives());
        hosts.push((name, act, responder));
    }
    // No response that httpd gets is older than that.
    let started = now();
    let httpd = config.start();
    let good: Vec<Staple> =
        hosts.iter().map(|(name, ..)| wait_stapled(&httpd, name, &ca.root, PROMPTLY)).collect();
    // The other child reads them a moment later.
    wait_for("each response in each child", SOON, || {
        let is_in_each = |name: &str| (0..6).all(|_| stapled(&httpd, name, &ca.root).is_some());
        hosts.iter().all(|(name, ..)| is_in_each(name)).then_some(())
    });
    let asked: Vec<usize> = hosts
        .iter()
        .map(|(_, act, responder)| {
            responder.act(act.clone());
            responder.requests()
        })
        .collect();
    // Later responses than the first may have come before the switch. None comes after it.
    let switched = now();
    let mut last: Vec<Option<Instant>> = vec![None; hosts.len()];
    let mut gone = vec![false; hosts.len()];
    while !gone.iter().all(|gone| *gone) {
        assert!(now() < switched + VALID + 30, "gone: {gone:?}");
        for (index, (name, act, _)) in hosts.iter().enumerate() {
            // That nothing is stapled which has expired is checked in there.
            match stapled(&httpd, name, &ca.root) {
                Some(_) => {
                    assert!(!gone[index], "{act:?}: it came back");
                    last[index] = Some(Instant::now());
                }
                None => {
                    assert!(now() >= started + VALID - 1, "{act:?}: lost before it expired");
                    gone[index] = true;
                }
            }
        }
    }
    assert_eq!(good.len(), hosts.len());
    for ((_, act, responder), asked) in hosts.iter().zip(asked) {
        assert!(*act == Act::Dead || responder.requests() > asked, "{act:?} was met");
    }
    for words in [
        "was valid until",
        "is not valid before",
        "signature of the response is wrong",
        "is not about this",
        "does not know",
        "tryLater",
        "HTTP status 500",
        "HTTP status 404",
        "not an OCSP response",
        "connection refused",
        "no answer in time",
        "not for signing OCSP responses",
        "larger than the limit",
    ] {
        assert!(!httpd.logged(words).is_empty(), "{words}");
    }

    // Once the responder works again, so does stapling, by a delegate as well.
    let (name, _, responder) = &hosts[0];
    responder.sign_as(Signers { appointed: Some(ca.delegate(true)), ..signers });
    responder.act(Act::Delegate(3600));
    wait_stapled(&httpd, name, &ca.root, SOON);
}

/// A host with a certificate of the admin, and its responder.
fn other(lab: &Lab, act: Act) -> (OwnCa, Responder, Config) {
    let (ca, responder) = (OwnCa::new(lab, "Own CA"), Responder::start(lab, act));
    responder.sign_as(Signers::of(ca.cert.clone(), ca.key.clone()));
    let files = ca.issue(lab, "own.test", &responder.url());
    let config = Config::new(lab).site_with("own.test", &files.directives());
    (ca, responder, config)
}

#[test]
fn certificates_of_no_domain_are_stapled_unless_md_staple_others_is_off() {
    let Some(lab) = open_lab!() else { return };
    let (ca, responder, config) = other(&lab, Act::Good(3600));
    let events = lab.path("events");
    let message = format!("MDMessageCmd /bin/sh -c 'echo \"$@\" >> {}' sh", events.display());
    std::fs::write(&events, "").unwrap();
    std::fs::set_permissions(&events, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let httpd = config.clone().line("MDStapling on").line(&message).start();
    wait_stapled(&httpd, "own.test", &ca.root, PROMPTLY);
    wait_for("the event", SOON, || {
        std::fs::read_to_string(&events).unwrap().contains("ocsp-renewed other").then_some(())
    });
    let files = std::fs::read_dir(httpd.config.store().join("ocsp/other")).unwrap().flatten();
    let names: Vec<_> = files.map(|file| file.file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|name| name.starts_with("ocsp-") && name.len() == 50), "{names:?}");
    httpd.stop().forget();

    let asked = responder.requests();
    let httpd = config.line("MDStapling on\nMDStapleOthers off").start();
    assert_eq!(stapled(&httpd, "own.test", &ca.root), None);
    assert_eq!(responder.requests(), asked);
}

#[test]
fn one_responder_is_asked_side_by_side_and_within_the_limit() {
    let Some(lab) = open_lab!() else { return };
    let (ca, responder) = (OwnCa::new(&lab, "Own CA"), Responder::start(&lab, Act::Good(3600)));
    responder.sign_as(Signers::of(ca.cert.clone(), ca.key.clone()));
    responder.delay(Duration::from_millis(200));
    let names: Vec<String> = (0..40).map(|n| format!("h{n}.test")).collect();
    let mut config = Config::new(&lab).line("MDStapling on\nMDRenewParallel 8");
    for name in &names {
        config = config.site_with(name, &ca.issue(&lab, name, &responder.url()).directives());
    }
    let httpd = config.start();
    for name in &names {
        wait_stapled(&httpd, name, &ca.root, SOON);
    }
    assert_eq!(responder.requests(), names.len());
    let most = responder.most_open();
    assert!((4..=8).contains(&most), "{most} at once");
}

#[test]
fn a_responder_is_asked_through_the_proxy_without_a_tunnel() {
    let Some(lab) = open_lab!() else { return };
    // The C module does not trust MDHttpProxyCACertificateFile for this.
    let is_c = module::is_c(&module::under_test());
    for is_tls in [false, true].into_iter().filter(|is_tls| !(*is_tls && is_c)) {
        let mut proxy = Proxy::start(&lab);
        let (ca, responder, config) = other(&lab, Act::Good(3600));
        let url = if is_tls { proxy.tls_url() } else { proxy.url() };
        let trust = format!("MDHttpProxyCACertificateFile {}", proxy.certificate.display());
        let config = config.line(&format!("MDStapling on\nMDHttpProxy {url}\n{trust}\nMDomain idle.test"));
        let httpd = config.line("MDRenewMode manual").start();
        wait_stapled(&httpd, "own.test", &ca.root, PROMPTLY);
        assert_eq!(responder.requests(), 1);
        httpd.stop().forget();
        proxy.stop();
        assert_eq!((proxy.forwarded(), proxy.connections()), (1, (0, 0)));
        proxy.forget();
    }
}

#[test]
fn where_ours_is_off_mod_ssl_staples_by_itself() {
    let Some(lab) = open_lab!() else { return };
    let (ca, responder, config) = other(&lab, Act::Good(3600));
    let own = format!("SSLUseStapling on\nSSLStaplingCache shmcb:{}(128000)", lab.path("staples").display());
    let httpd = config.line(&own).line("MDomain idle.test").start();
    wait_stapled(&httpd, "own.test", &ca.root, PROMPTLY);
    assert_eq!(responder.requests(), 1);
    assert!(!httpd.config.store().join("ocsp/other").exists());
}

#[test]
fn certificates_that_go_live_are_stapled_beside_those_of_mod_ssl() {
    let Some(lab) = open_lab!() else { return };
    let responder = Responder::start(&lab, Act::Good(3600));
    let (pebble, config) = managed(&lab, &responder);
    let root = pebble.authority.root.clone();
    let own = format!("SSLUseStapling on\nSSLStaplingCache shmcb:{}(128000)", lab.path("staples").display());
    let mut httpd = config.line("MDStapling off").line(&own).start();
    let is_c = module::is_c(&module::under_test());
    if is_c {
        httpd.wait_staged_and_activate(&["one.test"]);
    }
    let first = wait_served(&httpd, &pebble, "");
    wait_stapled(&httpd, "one.test", &root, PROMPTLY);
    // From now on mod_ssl knows this one, and another one goes live. It is due at any time.
    let mut httpd = httpd.stop().line("MDRenewWindow 9999d").start();
    wait_stapled(&httpd, "one.test", &root, PROMPTLY);
    if is_c {
        httpd.wait_staged_and_activate(&["one.test"]);
    }
    wait_served(&httpd, &pebble, &first);
    wait_stapled(&httpd, "one.test", &root, PROMPTLY);
    if !is_c {
        wait_for("every child has it", SOON, || {
            (0..20).all(|_| stapled(&httpd, "one.test", &root).is_some()).then_some(())
        });
        assert_eq!(httpd.md("one.test")["stapling"], false, "what MDStapling says");
    }
}

#[test]
fn where_nobody_staples_what_goes_live_is_neither_stapled_nor_asked_for() {
    let Some(lab) = open_lab!() else { return };
    let responder = Responder::start(&lab, Act::Good(3600));
    let (pebble, config) = managed(&lab, &responder);
    let mut httpd = config.line("MDStapling off").start();
    if module::is_c(&module::under_test()) {
        httpd.wait_staged_and_activate(&["one.test"]);
    }
    wait_served(&httpd, &pebble, "");
    httpd.wait_looked_twice();
    assert_eq!(stapled(&httpd, "one.test", &pebble.authority.root), None);
    assert_eq!(responder.requests(), 0);
}

#[test]
fn a_certificate_that_its_ca_revokes_is_renewed_at_once_with_a_new_key() {
    let Some(lab) = open_lab!() else { return };
    let responder = Responder::start(&lab, Act::Good(8));
    let (pebble, config) = managed(&lab, &responder);
    let httpd = config.start();
    let root = pebble.authority.root.clone();
    let first = wait_served(&httpd, &pebble, "");
    let key = httpd.served("one.test", &pebble, &[]).leaf().public_key().unwrap();
    wait_stapled(&httpd, "one.test", &root, PROMPTLY);
    responder.act_for(&first, Act::Revoked);
    httpd.wait_logged("AH10500");
    let second = wait_served(&httpd, &pebble, &first);
    assert_ne!(first, second);
    assert!(!httpd.served("one.test", &pebble, &[]).leaf().public_key().unwrap().public_eq(&key));
    let staple = wait_stapled(&httpd, "one.test", &root, PROMPTLY);
    assert!(!staple.is_revoked);
    assert_eq!(pebble.order_count(), 2);
}

#[test]
fn a_must_staple_certificate_waits_for_its_response() {
    let Some(lab) = open_lab!() else { return };
    let responder = Responder::start(&lab, Act::Good(3600));
    let (pebble, config) = managed(&lab, &responder);
    let httpd = config.line("MDMustStaple on").start();
    let first = wait_served(&httpd, &pebble, "");
    wait_stapled(&httpd, "one.test", &pebble.authority.root, PROMPTLY);
    responder.act(Act::TryLater);
    // Due at any time.
    let httpd = httpd.stop().line("MDRenewWindow 9999d").start();
    httpd.wait_logged("tryLater");
    httpd.wait_staged("one.test");
    assert_eq!(httpd.served("one.test", &pebble, &[]).serial(), first, "clients would refuse the new one");
    responder.act(Act::Good(3600));
    wait_served(&httpd, &pebble, &first);
    assert!(stapled(&httpd, "one.test", &pebble.authority.root).is_some(), "from its first handshake on");
}

#[test]
fn a_response_that_either_module_has_stored_is_stapled_by_the_other() {
    let Some(lab) = open_lab!(Need::BothModules) else { return };
    let (ca, responder, config) = other(&lab, Act::Good(3600));
    let config = config.line("MDStapling on\nMDomain idle.test\nMDRenewMode manual");
    let ours = module::under_test();
    for (first, second) in [(module::c_module().unwrap(), ours.clone()), (ours, module::c_module().unwrap())]
    {
        responder.act(Act::Good(3600));
        let httpd = config.clone().module(&first).start();
        let got = wait_stapled(&httpd, "own.test", &ca.root, SOON);
        responder.act(Act::Dead);
        let httpd = httpd.stop().module(&second).start();
        assert_eq!(wait_stapled(&httpd, "own.test", &ca.root, PROMPTLY), got);
        httpd.stop().forget();
    }
}

/// As that of a machine without a battery, until it has asked for the time.
#[test]
fn a_clock_that_was_ahead_holds_up_no_response_once_it_is_right() {
    let Some(lab) = open_lab!() else { return };
    let (ca, responder) = (OwnCa::new(&lab, "Own CA"), Responder::start(&lab, Act::Good(3600)));
    responder.sign_as(Signers::of(ca.cert.clone(), ca.key.clone()));
    let files = ca.issue(&lab, "own.test", &responder.url());
    let clocks = Clocks::build(&lab, "ahead");
    let config = Config::new(&lab).line("MDStapling on").site_with("own.test", &files.directives());
    let refused = |httpd: &Httpd| httpd.logged("the response was valid until").len();
    let begin_ahead = |config: Config, known: usize| {
        clocks.step(86_400);
        let httpd = config.start();
        wait_for("a response that is of yesterday by this clock", SOON, || {
            (refused(&httpd) > known).then_some(())
        });
        assert!(stapled(&httpd, "own.test", &ca.root).is_none());
        httpd
    };
    let httpd = begin_ahead(clocks.of(config), 0);
    clocks.step(0);
    wait_stapled(&httpd, "own.test", &ca.root, SOON);
    // The same where it is right for the next process only.
    let known = refused(&httpd);
    let config = httpd.stop();
    fs::remove_dir_all(config.store().join("ocsp/other")).unwrap();
    let config = begin_ahead(config, known).stop();
    clocks.step(0);
    wait_stapled(&config.start(), "own.test", &ca.root, SOON);
}
