// SPDX-License-Identifier: Apache-2.0
//! Live activation: every running child serves new certificates of the CA, without a restart.
//!
//! Where no CA is needed, sets are put into staging as a renewal leaves them; the next look at the domain
//! finds them.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use openssl::pkey::Id;

use support::issuer::{self, Issuer, Set};
use support::process::{children, is_alive, signal};
use support::tls::{EC_ONLY, Files, RSA_ONLY, served};
use support::{Authority, Config, Httpd, Lab, Need, Pebble, SOON, open_lab, wait_for};

const NAMES: &[&str] = &["one.test", "www.one.test"];
/// Every domain is looked at again within seconds, and nobody waits long after a failure.
const QUICK: &str = "MDCheckInterval 1s\nMDRetryDelay 1s";

fn one_domain(lab: &Lab, authority: &Authority) -> Config {
    Config::with_ca(lab, authority)
        .line(QUICK)
        .line("MDPrivateKeys P-256\nMDomain one.test www.one.test")
        .site("one.test", &["www.one.test"])
}

/// Until a client that trusts the CA alone gets a certificate of it. Gives its serial.
#[track_caller]
fn wait_trusted(httpd: &Httpd, pebble: &Pebble, name: &str) -> String {
    wait_for(&format!("a certificate of the CA for {name}"), SOON, || {
        let served = httpd.served(name, pebble, &[]);
        served.verified.then(|| served.serial())
    })
}

/// A server with a certificate in use that needs no CA.
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

    fn config(&self) -> Config {
        Config::with_ca(&self.lab, &Authority::new(&self.lab))
            .line(QUICK)
            .line("MDPrivateKeys P-256\nMDomain one.test www.one.test")
            .site("one.test", &["www.one.test"])
    }

    fn store(&self) -> PathBuf {
        Config::new(&self.lab).store()
    }

    fn stage(&self, set: &Set) {
        issuer::stage(&self.store(), NAMES, &[set]);
    }

    fn serial(&self, name: &str) -> String {
        served(self.lab.https, name, None, &[]).serial()
    }

    /// Until this set is in every handshake, whichever child has it.
    #[track_caller]
    fn wait_live(&self, httpd: &Httpd, set: &Set) {
        httpd.wait_live("one.test", &set.serial());
        self.assert_serves(&set.serial());
    }

    #[track_caller]
    fn assert_serves(&self, serial: &str) {
        for _ in 0..20 {
            assert_eq!(self.serial("one.test"), serial);
        }
    }
}

#[track_caller]
fn replace_children(httpd: &Httpd) {
    let old = children(httpd.pid());
    for pid in &old {
        signal(*pid, "KILL");
    }
    wait_for("new children", SOON, || {
        let new = children(httpd.pid());
        (!old.iter().any(|pid| is_alive(*pid)) && !new.is_empty()).then_some(())
    });
}

#[track_caller]
fn assert_first_certificate_goes_live(config: Config, pebble: &Pebble) {
    let httpd = config.start();
    let serial = wait_trusted(&httpd, pebble, "one.test");
    wait_for("the page of the site", SOON, || {
        (httpd.https_get("www.one.test", "/index.html").body == "site one.test").then_some(())
    });
    httpd.wait_logged("AH10059: The Managed Domain one.test has been setup and is live now.");
    // Each child knows within a tenth of a second.
    let md = wait_for("md-status of the live set", SOON, || {
        Some(httpd.md("one.test")).filter(|md| md["state"] == 2)
    });
    assert_eq!(md["cert"]["P-256"]["serial"], serial, "{md:#}");
    assert_eq!(md["activation"]["mode"], "live", "{md:#}");
    assert_eq!(md["activation"]["serial"], serial, "{md:#}");
    assert!(md["activation"]["since"].as_str().unwrap().ends_with(" GMT"), "{md:#}");
    assert!(httpd.logged("AH10068").is_empty(), "nothing was activated by a restart");
}

#[test]
fn an_empty_store_leads_to_trusted_certificates_without_a_restart() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    assert_first_certificate_goes_live(one_domain(&lab, &pebble.authority), &pebble);
}

#[test]
fn the_first_certificate_goes_live_in_processes_without_threads() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    assert_first_certificate_goes_live(one_domain(&lab, &pebble.authority).mpm("prefork"), &pebble);
}

#[test]
fn the_first_certificate_goes_live_under_the_worker_mpm() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    assert_first_certificate_goes_live(one_domain(&lab, &pebble.authority).mpm("worker"), &pebble);
}

#[test]
fn before_the_first_certificate_only_challenges_and_facts_are_answered() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    pebble.hold();
    let httpd = one_domain(&lab, &pebble.authority).start();
    assert_eq!(httpd.https_get("one.test", "/index.html").status, 503);
    assert_eq!(httpd.https_get("one.test", "/").status, 503);
    assert_eq!(httpd.https_get("one.test", "/.well-known/acme-challenge/token").status, 404);
    assert_ne!(httpd.https_get("one.test", "/.httpd/x").status, 503);
    assert_ne!(httpd.get("one.test", "/index.html").status, 503, "over plain http the site answers");
    pebble.go_on();
    wait_trusted(&httpd, &pebble, "one.test");
    // Certificate and 503 change together in each child, and in all within a tenth of a second.
    wait_for("the page from every child", SOON, || {
        (0..20).all(|_| httpd.https_get("one.test", "/index.html").status == 200).then_some(())
    });
}

#[test]
fn renewals_go_live_in_turn_and_a_restart_takes_over_the_last() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Authority::new(&lab).lifetime(&lab, 20).start();
    let mut httpd = one_domain(&lab, &pebble.authority).line("MDRenewWindow 60%").start();
    let mut serials = HashSet::new();
    wait_for("three certificates, one after the other", SOON, || {
        let served = httpd.served("one.test", &pebble, &[]);
        if served.verified {
            serials.insert(served.serial());
        }
        (serials.len() >= 3).then_some(())
    });
    assert_eq!(pebble.account_count(), 1);

    pebble.hold();
    let newest = wait_for("a moment without a set that waits", SOON, || {
        let activation = httpd.md("one.test")["activation"].take();
        (activation["mode"] == "live").then(|| activation["serial"].as_str().unwrap().to_string())
    });
    httpd.graceful();
    assert_eq!(served(lab.https, "one.test", None, &[]).serial(), newest);
    assert!(httpd.config.store().join("archive/one.test.1").is_dir());
    httpd.wait_logged("AH10068");
    pebble.go_on();
}

#[test]
fn a_restart_in_the_middle_of_the_next_renewal_keeps_the_set_that_is_live() {
    let Some(lab) = open_lab!() else { return };
    let ready = Ready::new(lab);
    let mut httpd = ready.config().start();
    // Due for renewal at once, by a CA that is down: staging holds a failing renewal beside the live set.
    let live = ready.issuer.issue_for(NAMES, Id::EC, -86_400, 3600);
    ready.stage(&live);
    ready.wait_live(&httpd, &live);
    wait_for("a failing renewal", SOON, || {
        (httpd.md("one.test")["renewal"]["errors"].as_u64() >= Some(1)).then_some(())
    });
    assert!(!ready.store().join("staging/one.test/pubcert.p-256.pem").exists(), "staging made room");
    httpd.graceful();
    ready.assert_serves(&live.serial());
    httpd.wait_logged("AH10064");
    assert!(ready.store().join("archive/one.test.1").is_dir());
    assert!(!ready.store().join("staging/one.test/live.json").exists());
    assert_eq!(httpd.md("one.test")["cert"]["P-256"]["serial"], live.serial());
}

/// The renewing child of the configuration before may be the last to publish. Its own children alone hear of
/// it.
#[test]
fn a_set_published_during_a_restart_is_found_by_the_next_renewing_child() {
    let Some(lab) = open_lab!() else { return };
    let ready = Ready::new(lab);
    let mut httpd = ready.config().start();
    let staging = ready.store().join("staging/one.test");
    let late = ready.issuer.issue(NAMES);
    ready.stage(&late);
    ready.wait_live(&httpd, &late);
    let published = fs::read(staging.join("live.json")).unwrap();
    let set = ready.issuer.issue(NAMES);
    ready.stage(&set);
    ready.wait_live(&httpd, &set);
    httpd.graceful();
    ready.assert_serves(&set.serial());
    assert!(!staging.join("live.json").exists());
    issuer::put_new(&staging, "live.json", &published);
    signal(httpd.watchdog(), "KILL");
    ready.wait_live(&httpd, &late);
}

#[test]
fn a_child_forked_later_serves_the_newest_set_from_its_first_handshake_on() {
    let Some(lab) = open_lab!() else { return };
    let ready = Ready::new(lab);
    let httpd = ready.config().start();
    let set = ready.issuer.issue(NAMES);
    ready.stage(&set);
    ready.wait_live(&httpd, &set);
    replace_children(&httpd);
    ready.assert_serves(&set.serial());
}

#[test]
fn md_status_counts_the_children_that_serve_the_live_set() {
    let Some(lab) = open_lab!() else { return };
    let ready = Ready::new(lab);
    let httpd = ready.config().start();
    let count = || children(httpd.pid()).len();
    let wait_workers = |what: &str, workers: usize| {
        wait_for(what, SOON, || (httpd.md("one.test")["activation"]["workers"] == workers).then_some(()));
    };
    // The first one answers while the parent makes the second.
    wait_for("both children", SOON, || (count() == 2).then_some(()));
    ready.stage(&ready.issuer.issue(NAMES));
    wait_workers("the set in all children", 2);
    // One is stuck and hears of nothing.
    let renewing = httpd.watchdog();
    let stuck = children(httpd.pid()).into_iter().find(|pid| *pid != renewing).unwrap();
    signal(stuck, "STOP");
    ready.stage(&ready.issuer.issue(NAMES));
    wait_workers("the set in the other child", 1);
    signal(stuck, "CONT");
    wait_workers("the set in all children again", 2);
}

#[test]
fn a_bad_set_never_takes_the_place_of_a_good_one() {
    let Some(lab) = open_lab!() else { return };
    let ready = Ready::new(lab);
    let httpd = ready.config().start();
    let staging = ready.store().join("staging/one.test");
    let good = || ready.issuer.issue(NAMES);
    let spoil = |what: &str, spoil: &dyn Fn(&Path)| {
        fs::create_dir_all(&staging).unwrap();
        spoil(&staging);
        let before = httpd.logged("AH10069").len();
        wait_for(&format!("AH10069 about a set that is {what}"), SOON, || {
            (httpd.logged("AH10069").len() > before).then_some(())
        });
        ready.assert_serves(&ready.first.serial());
    };
    spoil("of another key", &|_| {
        let set = Set { key: good().key, ..good() };
        ready.stage(&set);
    });
    spoil("truncated", &|dir| {
        let chain = good().chain_pem();
        issuer::put(dir, "pubcert.p-256.pem", &chain[..chain.len() / 2]);
        let half = Set { chain: vec![good().chain[0].clone()], ..good() };
        ready.stage(&half);
    });
    spoil("expired", &|_| ready.stage(&ready.issuer.issue_for(NAMES, Id::EC, -7200, -3600)));
    spoil("lacking a name", &|_| ready.stage(&ready.issuer.issue(&["one.test"])));
    // A good one is still welcome.
    let set = good();
    ready.stage(&set);
    ready.wait_live(&httpd, &set);
}

#[test]
fn a_set_whose_chain_came_with_strangers_and_repetitions_goes_live() {
    let Some(lab) = open_lab!() else { return };
    let ready = Ready::new(lab);
    let httpd = ready.config().start();
    let mut set = ready.issuer.issue(NAMES);
    let sent = [set.chain.clone(), set.chain.clone(), vec![Issuer::new().root]].concat();
    set.chain = sent;
    ready.stage(&set);
    ready.wait_live(&httpd, &set);
    assert!(httpd.logged("AH10069").is_empty());
}

#[test]
fn an_unreadable_set_is_left_alone_until_it_can_be_read() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let ready = Ready::new(lab);
    let httpd = ready.config().start();
    let set = ready.issuer.issue(NAMES);
    let dir = ready.store().join("staging/one.test");
    let key = dir.join("privkey.p-256.pem");
    let sealed = set.sealed_pem(&ready.store());
    issuer::stage_changed(&ready.store(), NAMES, &[&set], |_| {
        // Root's, and nobody else may read it.
        fs::remove_file(&key).unwrap();
        fs::write(&key, &sealed).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    });
    httpd.wait_logged("the staged certificates cannot be read");
    ready.assert_serves(&ready.first.serial());
    issuer::put(&dir, "privkey.p-256.pem", &sealed);
    ready.wait_live(&httpd, &set);
}

#[test]
fn what_a_child_cannot_use_is_told_once_and_leaves_it_with_what_it_had() {
    let Some(lab) = open_lab!() else { return };
    let ready = Ready::new(lab);
    let httpd = ready.config().start();
    let set = ready.issuer.issue(NAMES);
    ready.stage(&set);
    ready.wait_live(&httpd, &set);
    let file = ready.store().join("staging/one.test/live.json");
    let whole = fs::read_to_string(&file).unwrap();
    // The renewing child would publish it again.
    fs::remove_file(file.with_file_name("pubcert.p-256.pem")).unwrap();
    for broken in ["", "{", &whole[..whole.len() / 2], "{\"since\": 1}", "[]"] {
        fs::write(&file, broken).unwrap();
        replace_children(&httpd);
        let told = wait_for(&format!("word of {broken:.20}"), SOON, || {
            let lines = httpd.logged("AH10069");
            let of = |pid: &u32| lines.iter().filter(|line| line.contains(&format!("[pid {pid}:"))).count();
            children(httpd.pid()).iter().map(of).max().filter(|count| *count > 0)
        });
        assert_eq!(told, 1, "once, by each child");
    }
}

#[test]
fn all_hosts_and_keys_of_a_domain_go_live_and_other_hosts_stay() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    let own = Files::new(&lab, "own.test", Id::EC);
    let mut config = Config::with_ca(&lab, &Authority::new(&lab))
        .line(QUICK)
        .line("MDPrivateKeys RSA P-256\nMDomain one.test www.one.test *.wild.test own.test manual");
    let names: &[&str] = &["one.test", "www.one.test", "*.wild.test", "own.test"];
    let issue = || (issuer.issue_for(names, Id::RSA, -60, 86_400), issuer.issue(names));
    let first = issue();
    let store = config.store();
    issuer::install(&store, names, &[&first.0, &first.1]);
    for site in ["one.test", "www.one.test"] {
        config = config.site(site, &[]);
    }
    config = config.site("deep.wild.test", &["*.wild.test"]);
    let https = lab.https;
    config = config.line(&format!(
        "<VirtualHost *:{https}>\nServerName own.test\nSSLEngine on\n{}\n</VirtualHost>",
        own.directives()
    ));
    let other = Files::new(&lab, "other.test", Id::EC);
    let httpd = config.site_with("other.test", &other.directives()).start();
    let serial = |name: &str, options: &[&str]| served(https, name, None, options).serial();
    let others = serial("other.test", &[]);
    assert_eq!(serial("own.test", &[]), first.1.serial(), "before the files of the host");
    let second = issue();
    issuer::stage(&store, names, &[&second.0, &second.1]);
    httpd.wait_live("one.test", &second.0.serial());
    for name in ["one.test", "www.one.test", "deep.wild.test", "other.wild.test", "own.test"] {
        for (options, set, key) in [(RSA_ONLY, &second.0, Id::RSA), (EC_ONLY, &second.1, Id::EC)] {
            let served = served(https, name, None, options);
            assert_eq!((served.serial(), served.key()), (set.serial(), key), "{name} with {options:?}");
        }
        let tls13 = served(https, name, None, &["-tls1_3"]);
        assert!([second.0.serial(), second.1.serial()].contains(&tls13.serial()));
        assert_eq!(tls13.chain.len(), 2, "with its issuer");
    }
    assert_eq!(serial("other.test", &[]), others, "a host of no managed domain");
    drop(httpd);
}

#[test]
fn a_renewed_set_goes_live_after_the_activation_delay_by_itself() {
    let Some(lab) = open_lab!() else { return };
    let ready = Ready::new(lab);
    let httpd = ready.config().line("MDActivationDelay 8s").start();
    let set = ready.issuer.issue_for(NAMES, Id::EC, 0, 86_400);
    ready.stage(&set);
    let md = wait_for("a set that waits", SOON, || {
        let md = httpd.md("one.test");
        (md["activation"]["mode"] == "pending").then_some(md)
    });
    assert_eq!(md["activation"]["serial"], set.serial(), "{md:#}");
    assert_eq!(md["cert"]["P-256"]["serial"], ready.first.serial(), "{md:#}");
    ready.wait_live(&httpd, &set);
    assert_eq!(httpd.md("one.test")["activation"]["mode"], "live");
}

#[test]
fn a_set_that_is_not_valid_yet_waits_for_its_time() {
    let Some(lab) = open_lab!() else { return };
    let ready = Ready::new(lab);
    let httpd = ready.config().start();
    const WAIT: u32 = 8;
    let begin = Instant::now();
    let set = ready.issuer.issue_for(NAMES, Id::EC, WAIT.into(), 86_400);
    ready.stage(&set);
    wait_for("a set that waits", SOON, || {
        (httpd.md("one.test")["activation"]["mode"] == "pending").then_some(())
    });
    let mut early = 0;
    loop {
        let serial = ready.serial("one.test");
        // Certificates count in whole seconds.
        if begin.elapsed() >= Duration::from_secs((WAIT - 1).into()) {
            break;
        }
        assert_eq!(serial, ready.first.serial());
        early += 1;
    }
    assert!(early > 0, "it waited");
    ready.wait_live(&httpd, &set);
}

#[test]
fn with_live_activation_off_a_new_set_waits_for_a_restart() {
    let Some(lab) = open_lab!() else { return };
    let ready = Ready::new(lab);
    let mut httpd = ready.config().line("MDLiveActivation off").start();
    let set = ready.issuer.issue(NAMES);
    ready.stage(&set);
    wait_for("a set that waits", SOON, || {
        (httpd.md("one.test")["activation"]["mode"] == "restart").then_some(())
    });
    ready.assert_serves(&ready.first.serial());
    httpd.graceful();
    ready.assert_serves(&set.serial());
}

#[test]
fn the_command_hears_of_a_live_set_and_later_of_its_installation() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let heard = lab.path("heard/events");
    fs::create_dir_all(heard.parent().unwrap()).unwrap();
    fs::set_permissions(heard.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    let script = lab.path("message.sh");
    // What it makes of `activated` is its own business.
    fs::write(&script, format!("#!/bin/sh\necho \"$@\" >> {}\n[ \"$1\" != activated ]\n", heard.display()))
        .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let config = one_domain(&lab, &pebble.authority).line(&format!("MDMessageCmd {}", script.display()));
    let mut httpd = config.start();
    let events = || fs::read_to_string(&heard).unwrap_or_default();
    wait_for("the event `activated`", SOON, || events().contains("activated one.test").then_some(()));
    httpd.wait_looked_twice();
    httpd.graceful();
    let events = events();
    let events: Vec<&str> = events.lines().filter(|line| !line.starts_with("challenge-setup")).collect();
    assert_eq!(events, ["renewing one.test", "renewed one.test", "activated one.test", "installed one.test"]);
}

/// The second order is validated on connections to a host that serves a live set.
#[test]
fn a_tls_alpn_challenge_is_answered_by_a_host_that_serves_a_live_set() {
    let Some(lab) = open_lab!() else { return };
    // Else the CA might take the first validation for good.
    let authority = Authority::new(&lab).lifetime(&lab, 20).env("PEBBLE_AUTHZREUSE", "0");
    let pebble = authority.start();
    let httpd = one_domain(&lab, &pebble.authority)
        .line("MDRenewWindow 60%\nMDCAChallenges tls-alpn-01\nProtocols h2 http/1.1 acme-tls/1")
        .start();
    let first = wait_trusted(&httpd, &pebble, "one.test");
    wait_for("the next certificate", SOON, || {
        let served = httpd.served("one.test", &pebble, &[]);
        (served.verified && served.serial() != first).then_some(())
    });
}
