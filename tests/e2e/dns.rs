// SPDX-License-Identifier: Apache-2.0
//! dns-01 by dynamic updates of BIND, with a CA that asks a real resolver: from the order to the certificate,
//! and no record left.

use std::fs;
use std::net::SocketAddr;

use support::dns::{TsigKey, Zone, wait_for_txt};
use support::named::Named;
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
struct Names {
    named: Named,
    resolver: Unbound,
    key: TsigKey,
    pebble: Pebble,
}

impl Names {
    /// The zone one.test, and more.
    fn new(lab: &Lab, more: &[Zone]) -> Names {
        let key = TsigKey::generate(lab, "acme", ALGORITHM);
        let mut zones = vec![Zone::new("one.test").updated_by(&key)];
        zones.extend(more.iter().cloned().map(|zone| zone.updated_by(&key)));
        let named = Named::primary(lab, &zones);
        let of_resolver: Vec<_> = zones.iter().map(|zone| (zone.name.as_str(), named.address)).collect();
        let resolver = Unbound::start(lab, &of_resolver);
        let pebble = Authority::new(lab).resolver(resolver.address).start();
        Names { named, resolver, key, pebble }
    }

    /// With these servers in `MDDnsPropagation`.
    fn directives(&self, key: &TsigKey, limit: &str, servers: &[SocketAddr]) -> String {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        format!(
            "MDChallengeDns01 rfc2136 {} {} ttl=1\nMDCAChallenges dns-01\nMDDnsPropagation {limit} {}",
            self.named.address,
            key.file.display(),
            servers.join(" ")
        )
    }

    /// One that asks the resolver, and waits for it.
    fn config(&self, lab: &Lab) -> Config {
        let directives = self.directives(&self.key, "20s", &[self.resolver.address]);
        Config::with_ca(lab, &self.pebble.authority).line(&directives)
    }
}

#[track_caller]
fn assert_nothing_left(httpd: &Httpd) {
    let left: Vec<_> = fs::read_dir(httpd.config.store().join("challenges")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[track_caller]
fn assert_certificate(httpd: &mut Httpd, names: &Names, md: &str, hosts: &[&str]) {
    httpd.wait_staged(md);
    assert_nothing_left(httpd);
    httpd.graceful();
    for host in hosts {
        let served = httpd.served(host, &names.pebble, &[]);
        assert!(served.verified, "{host}: {}", served.verdict);
    }
}

#[test]
fn a_wildcard_and_its_base_are_issued_by_updates_and_renewed() {
    let Some(lab) = open!() else { return };
    let names = Names::new(&lab, &[]);
    let mut httpd =
        names.config(&lab).line("MDomain one.test *.one.test").site("one.test", &["*.one.test"]).start();
    assert_certificate(&mut httpd, &names, "one.test", &["one.test", "www.one.test"]);
    wait_for_txt(names.named.address, "_acme-challenge.one.test", &[]);
    let log = names.named.log();
    assert_eq!(log.matches("adding an RR at '_acme-challenge.one.test' TXT").count(), 2, "{log}");
    let before = httpd.served("one.test", &names.pebble, &[]);
    fs::remove_dir_all(httpd.config.store().join("domains/one.test")).unwrap();
    httpd.graceful();
    assert_certificate(&mut httpd, &names, "one.test", &["one.test"]);
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
    assert_certificate(&mut httpd, &names, "*.one.test", &["one.test", "www.one.test"]);
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
    assert_certificate(&mut httpd, &names, "one.test", &["one.test", "www.one.test"]);
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
    assert_certificate(&mut httpd, &names, "one.test", &["one.test"]);
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
    assert_certificate(&mut httpd, &names, "one.test", &["one.test"]);
    let told = httpd.logged("the CA is asked all the same").remove(0);
    assert!(told.contains(&dead.address.to_string()) && told.contains("_acme-challenge.one.test"), "{told}");
    dead.go_on();
}
