// SPDX-License-Identifier: Apache-2.0
//! dns-01 by dynamic updates of BIND and Knot, with a CA that asks a real resolver: from the order to the certificate,
//! and no record left.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use support::dns::{TsigKey, Zone, look_up, wait_for_txt};
use support::knot::Knot;
use support::named::Named;
use support::preload::Preload;
use support::unbound::Unbound;
use support::{Authority, Config, Httpd, Lab, Need, Pebble, SOON, open_lab, wait_for};

const ALGORITHM: &str = "hmac-sha256";

macro_rules! open {
    () => {
        open_lab!(
            Need::Program("named"),
            Need::Program("unbound"),
            Need::Program("dig"),
            Need::Program("tsig-keygen"),
        )
    };
}

/// A zone with its server, a resolver, and a CA that asks the resolver.
pub(crate) struct Names {
    pub(crate) named: Named,
    pub(crate) resolver: Unbound,
    pub(crate) key: TsigKey,
    pub(crate) pebble: Pebble,
}

/// With these servers in `MDDnsPropagation`.
fn by_updates(server: SocketAddr, key: &TsigKey, limit: &str, asked: &[SocketAddr]) -> String {
    let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
    format!(
        "MDChallengeDns01 rfc2136 {server} {} ttl=1\nMDCAChallenges dns-01\nMDDnsPropagation {limit} {}",
        key.file.display(),
        asked.join(" ")
    )
}

impl Names {
    /// The zone one.test, and more.
    pub(crate) fn new(lab: &Lab, more: &[Zone]) -> Names {
        Names::of(lab, more, Authority::new(lab))
    }

    /// With a CA for the clients of others.
    pub(crate) fn for_strict_clients(lab: &Lab) -> Names {
        Names::of(lab, &[], Authority::new(lab).patient())
    }

    fn of(lab: &Lab, more: &[Zone], authority: Authority) -> Names {
        let key = TsigKey::generate(lab, "acme", ALGORITHM);
        let mut zones = vec![Zone::new("one.test").updated_by(&key)];
        zones.extend(more.iter().cloned().map(|zone| zone.updated_by(&key)));
        let named = Named::primary(lab, &zones);
        let of_resolver: Vec<_> = zones.iter().map(|zone| (zone.name.as_str(), named.address)).collect();
        let resolver = Unbound::start(lab, &of_resolver);
        let pebble = authority.resolver(resolver.address).start();
        Names { named, resolver, key, pebble }
    }

    fn directives(&self, key: &TsigKey, limit: &str, asked: &[SocketAddr]) -> String {
        by_updates(self.named.address, key, limit, asked)
    }

    /// One that asks the resolver, and waits for it.
    fn config(&self, lab: &Lab) -> Config {
        let directives = self.directives(&self.key, "20s", &[self.resolver.address]);
        Config::with_ca(lab, &self.pebble.authority).line(&directives)
    }

    /// The same with another way to the record.
    pub(crate) fn config_of(&self, lab: &Lab, way: &str) -> Config {
        let asked = self.resolver.address;
        Config::with_ca(lab, &self.pebble.authority)
            .line(&format!("MDChallengeDns01 {way}\nMDCAChallenges dns-01\nMDDnsPropagation 20s {asked}"))
    }
}

#[track_caller]
pub(crate) fn assert_nothing_left(httpd: &Httpd) {
    let left: Vec<_> = fs::read_dir(httpd.config.store().join("challenges")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[track_caller]
pub(crate) fn assert_certificate(httpd: &mut Httpd, pebble: &Pebble, md: &str, hosts: &[&str]) {
    httpd.wait_staged(md);
    assert_nothing_left(httpd);
    httpd.graceful();
    for host in hosts {
        let served = httpd.served(host, pebble, &[]);
        assert!(served.verified, "{host}: {}", served.verdict);
    }
}

#[test]
fn a_wildcard_and_its_base_are_issued_by_updates_and_renewed() {
    let Some(lab) = open!() else { return };
    let names = Names::new(&lab, &[]);
    let mut httpd =
        names.config(&lab).line("MDomain one.test *.one.test").site("one.test", &["*.one.test"]).start();
    assert_certificate(&mut httpd, &names.pebble, "one.test", &["one.test", "www.one.test"]);
    wait_for_txt(names.named.address, "_acme-challenge.one.test", &[]);
    let log = names.named.log();
    assert_eq!(log.matches("adding an RR at '_acme-challenge.one.test' TXT").count(), 2, "{log}");
    let before = httpd.served("one.test", &names.pebble, &[]);
    fs::remove_dir_all(httpd.config.store().join("domains/one.test")).unwrap();
    httpd.graceful();
    assert_certificate(&mut httpd, &names.pebble, "one.test", &["one.test"]);
    let after = httpd.served("one.test", &names.pebble, &[]);
    assert_ne!(before.serial(), after.serial());
    wait_for_txt(names.named.address, "_acme-challenge.one.test", &[]);
}

#[test]
fn domains_that_share_a_name_leave_each_other_their_records() {
    let Some(lab) = open!() else { return };
    let names = Names::new(&lab, &[]);
    let mut httpd = names
        .config(&lab)
        .line("MDomain one.test\nMDomain *.one.test\nMDRetryDelay 1h")
        .site("one.test", &[])
        .site("www.one.test", &[])
        .start();
    httpd.wait_staged("one.test");
    assert_certificate(&mut httpd, &names.pebble, "*.one.test", &["one.test", "www.one.test"]);
    wait_for_txt(names.named.address, "_acme-challenge.one.test", &[]);
}

#[test]
fn a_cname_leads_the_record_to_another_zone() {
    let Some(lab) = open!() else { return };
    let key = TsigKey::generate(&lab, "acme", ALGORITHM);
    let acme = Zone::new("acme.test").updated_by(&key);
    let one = Zone::new("one.test").record("_acme-challenge CNAME one.acme.test.");
    let named = Named::primary(&lab, &[one, acme]);
    let resolver = Unbound::start(&lab, &[("one.test", named.address), ("acme.test", named.address)]);
    let pebble = Authority::new(&lab).resolver(resolver.address).start();
    let names = Names { named, resolver, key, pebble };
    let mut httpd =
        names.config(&lab).line("MDomain one.test *.one.test").site("one.test", &["*.one.test"]).start();
    assert_certificate(&mut httpd, &names.pebble, "one.test", &["one.test", "www.one.test"]);
    let log = names.named.log();
    assert_eq!(log.matches("adding an RR at 'one.acme.test' TXT").count(), 2, "{log}");
    wait_for_txt(names.named.address, "one.acme.test", &[]);
}

#[test]
fn a_wrong_key_is_told_in_the_status_with_what_to_do() {
    let Some(lab) = open!() else { return };
    let names = Names::new(&lab, &[]);
    let wrong = names.key.but(&lab, |key| key.secret = "d3Jvbmcgc2VjcmV0IG9mIHRoZSBrZXk=".into());
    let stranger = names.key.but(&lab, |key| key.name = "stranger".into());
    for (key, says) in [(wrong, "BADSIG"), (stranger, "Add the key 'stranger'")] {
        let httpd = Config::with_ca(&lab, &names.pebble.authority)
            .line(&names.directives(&key, "20s", &[names.resolver.address]))
            .line("MDomain one.test")
            .site("one.test", &[])
            .start();
        let last = wait_for("a failure", SOON, || {
            let last = httpd.md("one.test")["renewal"]["last"].clone();
            (last["problem"] == "challenge-setup-failure").then_some(last)
        });
        let detail = last["detail"].as_str().unwrap();
        let server = names.named.address.to_string();
        for says in [says, "_acme-challenge.one.test", "in the zone one.test", &server, "What to do"] {
            assert!(detail.contains(says), "no '{says}': {detail}");
        }
        assert_nothing_left(&httpd);
        assert!(httpd.logged("remove it by hand").is_empty(), "the server has added nothing");
    }
}

#[test]
fn a_file_of_no_use_is_told_once_with_one_remedy() {
    let Some(lab) = open!() else { return };
    let names = Names::new(&lab, &[]);
    let (absent, other) = (lab.path("absent"), lab.path("other"));
    fs::write(&other, "no secret").unwrap();
    let server = names.named.address;
    let remedies = ["Put it there for root to read", "Write there what tsig-keygen"];
    for (way, remedy) in [
        (format!("rfc2136 {server} {}", absent.display()), remedies[0]),
        (format!("rfc2136 {server} {}", other.display()), remedies[1]),
        (format!("hook:lego /bin/true env={}", absent.display()), remedies[0]),
        (format!("hook:httpreq http://127.0.0.1:9 {}", absent.display()), remedies[0]),
    ] {
        let httpd = Config::with_ca(&lab, &names.pebble.authority)
            .line(&format!("MDChallengeDns01 {way}\nMDCAChallenges dns-01"))
            .line(&format!("MDDnsPropagation 20s {}", names.resolver.address))
            .line("MDomain one.test")
            .site("one.test", &[])
            .start();
        let detail = wait_for("a failure", SOON, || {
            let last = httpd.md("one.test")["renewal"]["last"].clone();
            let has_failed = last["problem"] == "challenge-setup-failure";
            has_failed.then(|| last["detail"].as_str().unwrap().to_string())
        });
        let counts = ["MDChallengeDns01", remedy, "What to do: ", "reload httpd"];
        let counts = counts.map(|text| detail.matches(text).count());
        assert!(counts == [1; 4] && !detail.contains("by hand"), "{counts:?} in: {detail}");
        assert_nothing_left(&httpd);
    }
}

#[test]
fn a_secondary_that_lags_is_waited_for() {
    let Some(lab) = open!() else { return };
    let key = TsigKey::generate(&lab, "acme", ALGORITHM);
    let named = Named::primary(&lab, &[Zone::new("one.test").updated_by(&key).refresh(4)]);
    let secondary = Named::secondary(&lab, &["one.test"], named.address);
    // The CA asks the secondary alone.
    let resolver = Unbound::start(&lab, &[("one.test", secondary.address)]);
    let pebble = Authority::new(&lab).resolver(resolver.address).start();
    let names = Names { named, resolver, key, pebble };
    let both = [names.named.address, secondary.address];
    let mut httpd = Config::with_ca(&lab, &names.pebble.authority)
        .line(&names.directives(&names.key, "60s", &both))
        .line("MDomain one.test\nMDRetryDelay 1h")
        .site("one.test", &[])
        .start();
    wait_for("the status to say who is waited for", SOON, || {
        let activity = httpd.md("one.test")["renewal"]["last"]["activity"].clone();
        let waits = format!("Waiting until the name server {} has the TXT record", secondary.address);
        activity.as_str().is_some_and(|text| text.starts_with(&waits)).then_some(())
    });
    assert_certificate(&mut httpd, &names.pebble, "one.test", &["one.test"]);
    assert!(httpd.logged("the CA is asked all the same").is_empty());
}

#[test]
fn a_secondary_that_is_dead_is_told_and_the_ca_asked_all_the_same() {
    let Some(lab) = open!() else { return };
    let names = Names::new(&lab, &[]);
    let dead = Named::secondary(&lab, &["one.test"], names.named.address);
    dead.hold();
    let both = [names.named.address, dead.address];
    let mut httpd = Config::with_ca(&lab, &names.pebble.authority)
        .line(&names.directives(&names.key, "60s", &both))
        .line("MDomain one.test\nMDRetryDelay 1h")
        .site("one.test", &[])
        .start();
    assert_certificate(&mut httpd, &names.pebble, "one.test", &["one.test"]);
    let told = httpd.logged("the CA is asked all the same").remove(0);
    assert!(told.contains(&dead.address.to_string()) && told.contains("_acme-challenge.one.test"), "{told}");
    dead.go_on();
}

#[test]
fn knot_takes_the_records_of_a_wildcard_and_its_base_and_gives_them_up() {
    let Some(lab) = open_lab!(
        Need::Program("knotd"),
        Need::Program("unbound"),
        Need::Program("dig"),
        Need::Program("tsig-keygen"),
    ) else {
        return;
    };
    let key = TsigKey::generate(&lab, "acme", ALGORITHM);
    let own = Zone::new("one.test").record("_acme-challenge TXT \"admin's own\"").updated_by(&key);
    let knot = Knot::primary(&lab, &[own]);
    let resolver = Unbound::start(&lab, &[("one.test", knot.address)]);
    let pebble = Authority::new(&lab).resolver(resolver.address).start();
    let mut httpd = Config::with_ca(&lab, &pebble.authority)
        .line(&by_updates(knot.address, &key, "20s", &[resolver.address]))
        .line("MDomain one.test *.one.test")
        .site("one.test", &["*.one.test"])
        .start();
    assert_certificate(&mut httpd, &pebble, "one.test", &["one.test", "www.one.test"]);
    wait_for_txt(knot.address, "_acme-challenge.one.test", &["admin's own"]);
    let serial = look_up(knot.address, "one.test", "SOA").remove(0);
    assert_eq!(serial.split(' ').nth(2), Some("5"), "two values came and went: {serial}");
}

#[test]
fn a_wrong_clock_is_told_in_the_status_with_what_to_do() {
    let Some(lab) = open!() else { return };
    let names = Names::new(&lab, &[]);
    let preload = Preload::build(&lab);
    let config = names.config(&lab).line("MDomain one.test").site("one.test", &[]);
    let httpd = preload.ahead(config, Duration::from_secs(3600)).start();
    let detail = wait_for("a failure", SOON, || {
        let last = httpd.md("one.test")["renewal"]["last"].clone();
        (last["problem"] == "challenge-setup-failure").then(|| last["detail"].as_str().unwrap().to_string())
    });
    let server = names.named.address.to_string();
    for says in ["BADTIME", "seconds behind this machine's", "in the zone one.test", &server, "What to do"] {
        assert!(detail.contains(says), "no '{says}': {detail}");
    }
    assert_nothing_left(&httpd);
}

#[test]
fn domains_of_several_zones_are_issued_at_once() {
    let Some(lab) = open!() else { return };
    let all: Vec<String> = (0..8).map(|n| format!("m{n}.test")).collect();
    let zones: Vec<Zone> = all.iter().map(|name| Zone::new(name)).collect();
    let names = Names::new(&lab, &zones);
    let mut config = names.config(&lab).line("MDRetryDelay 1h\nMDPrivateKeys P-256");
    for name in &all {
        config = config.line(&format!("MDomain {name} *.{name}")).site(name, &[&format!("*.{name}")]);
    }
    let mut httpd = config.start();
    all.iter().for_each(|name| httpd.wait_staged(name));
    assert_nothing_left(&httpd);
    httpd.graceful();
    for name in &all {
        let served = httpd.served(&format!("www.{name}"), &names.pebble, &[]);
        assert!(served.verified, "{name}: {}", served.verdict);
        wait_for_txt(names.named.address, &format!("_acme-challenge.{name}"), &[]);
    }
}

/// A name server that never hears of the records: they stand, and the CA is not asked, for as long as it runs.
pub(crate) fn behind(lab: &Lab, zones: &[&str]) -> Named {
    let zones: Vec<Zone> = zones.iter().map(|zone| Zone::new(zone)).collect();
    Named::primary(lab, &zones)
}

#[test]
fn a_restart_with_records_under_way_loses_none_and_leaves_none() {
    let Some(lab) = open!() else { return };
    let key = TsigKey::generate(&lab, "acme", ALGORITHM);
    let named = Named::primary(&lab, &[Zone::new("one.test").updated_by(&key)]);
    let resolver = Unbound::start(&lab, &[("one.test", named.address)]);
    let behind = behind(&lab, &["one.test"]);
    let pebble = Authority::new(&lab).resolver(resolver.address).start();
    let mut httpd = Config::with_ca(&lab, &pebble.authority)
        .line(&by_updates(named.address, &key, "600s", &[resolver.address, behind.address]))
        .line("MDomain one.test *.one.test")
        .site("one.test", &["*.one.test"])
        .start();
    for _ in 0..2 {
        wait_for("records", SOON, || {
            (look_up(named.address, "_acme-challenge.one.test", "TXT").len() == 2).then_some(())
        });
        httpd.graceful();
    }
    drop(behind);
    assert_certificate(&mut httpd, &pebble, "one.test", &["one.test", "www.one.test"]);
    wait_for_txt(named.address, "_acme-challenge.one.test", &[]);
    assert_eq!(pebble.order_count(), 1, "what was under way goes on");
}

#[test]
fn what_killed_children_have_set_up_is_used_or_removed_by_the_next() {
    let Some(lab) = open!() else { return };
    let key = TsigKey::generate(&lab, "acme", ALGORITHM);
    let own = Zone::new("one.test").record("_acme-challenge TXT \"admin's own\"").updated_by(&key);
    let named = Named::primary(&lab, &[own]);
    let resolver = Unbound::start(&lab, &[("one.test", named.address)]);
    let behind = behind(&lab, &["one.test"]);
    let pebble = Authority::new(&lab).resolver(resolver.address).start();
    let mut httpd = Config::with_ca(&lab, &pebble.authority)
        .line(&by_updates(named.address, &key, "600s", &[resolver.address, behind.address]))
        .line("MDomain one.test *.one.test\nMDPrivateKeys P-256\nMDRetryDelay 1s")
        .site("one.test", &["*.one.test"])
        .start();
    for _ in 0..2 {
        wait_for("records", SOON, || {
            (look_up(named.address, "_acme-challenge.one.test", "TXT").len() == 3).then_some(())
        });
        httpd.replace_children();
    }
    drop(behind);
    assert_certificate(&mut httpd, &pebble, "one.test", &["one.test", "www.one.test"]);
    wait_for_txt(named.address, "_acme-challenge.one.test", &["admin's own"]);
}

#[test]
fn what_is_due_is_renewed_by_updates() {
    let Some(lab) = open!() else { return };
    let key = TsigKey::generate(&lab, "acme", ALGORITHM);
    let named = Named::primary(&lab, &[Zone::new("one.test").updated_by(&key)]);
    let resolver = Unbound::start(&lab, &[("one.test", named.address)]);
    let authority = Authority::new(&lab).lifetime(&lab, 20).env("PEBBLE_AUTHZREUSE", "0");
    let pebble = authority.resolver(resolver.address).start();
    let httpd = Config::with_ca(&lab, &pebble.authority)
        .line(&by_updates(named.address, &key, "20s", &[resolver.address]))
        .line("MDomain one.test *.one.test\nMDRenewWindow 60%\nMDRenewViaARI off\nMDPrivateKeys P-256")
        .site("one.test", &["*.one.test"])
        .start();
    let mut serials = BTreeSet::new();
    wait_for("two certificates, one after the other", SOON * 2, || {
        let served = httpd.served("www.one.test", &pebble, &[]);
        if served.verified {
            serials.insert(served.serial());
        }
        (serials.len() >= 2).then_some(())
    });
    let added = named.log().matches("adding an RR at '_acme-challenge.one.test' TXT").count();
    assert!(added >= 4, "{added}");
}
