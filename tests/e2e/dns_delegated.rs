// SPDX-License-Identifier: Apache-2.0
//! What an admin hands over once: names delegated to httpd's responder by CNAME and by NS, as docs/dns.md has
//! it, and to an acme-dns server. The CA asks a real resolver, which follows real delegations.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use doubles::AcmeDns;
use support::dns::{Zone, dig, look_up};
use support::named::Named;
use support::unbound::Unbound;
use support::{Authority, Config, Lab, Need, Pebble, SOON, lab, open_lab, wait_for};

use crate::dns::{assert_certificate, assert_nothing_left, behind};
use crate::dns_responder::set;

/// Delegations name no port.
const DNS_PORT: u16 = 53;

/// The zones net.test, whose acme.net.test is httpd's, one.test with a CNAME to there, and two.test with an
/// NS for its own name.
struct Delegated {
    named: Named,
    resolver: Unbound,
    pebble: Pebble,
    httpd: SocketAddr,
}

impl Delegated {
    /// `None`: port 53 is taken here.
    fn new(lab: &Lab, start: fn(&Lab, &[(&str, SocketAddr)]) -> Unbound) -> Option<Delegated> {
        let [high, low] = lab.port().to_be_bytes();
        let address = Ipv4Addr::new(127, high, low, 1);
        if UdpSocket::bind((address, DNS_PORT)).is_err() {
            lab::skip(&lab.name, "port 53 is taken");
            return None;
        }
        let net = Zone::new("net.test").record("acme NS acme-ns").record(&format!("acme-ns A {address}"));
        let one = Zone::new("one.test").record("_acme-challenge CNAME one-test.acme.net.test.");
        let two = Zone::new("two.test").record("_acme-challenge NS acme-ns.net.test.");
        let zones = [net, one, two];
        let named = Named::primary(lab, &zones);
        let stubs: Vec<_> = zones.iter().map(|zone| (zone.name.as_str(), named.address)).collect();
        let resolver = start(lab, &stubs);
        let pebble = Authority::new(lab).resolver(resolver.address).start();
        Some(Delegated { named, resolver, pebble, httpd: (address, DNS_PORT).into() })
    }

    fn config(&self, lab: &Lab) -> Config {
        self.config_that_waits(lab, &format!("20s {}", self.resolver.address))
    }

    /// With these words of MDDnsPropagation.
    fn config_that_waits(&self, lab: &Lab, propagation: &str) -> Config {
        Config::with_ca(lab, &self.pebble.authority).line(&format!(
            "MDDnsListen {}\nMDDnsZone acme.net.test acme-ns.net.test\n\
             MDDnsZone _acme-challenge.two.test acme-ns.net.test\n\
             MDChallengeDns01 responder\nMDCAChallenges dns-01\nMDDnsPropagation {propagation}\n\
             MDPrivateKeys P-256\nMDRetryDelay 1h\nMDomain one.test *.one.test\nMDomain two.test *.two.test",
            self.httpd
        ))
    }
}

fn with_sites(config: Config) -> Config {
    config.site("one.test", &["*.one.test"]).site("two.test", &["*.two.test"])
}

macro_rules! open {
    () => {
        open_lab!(Need::Root, Need::Program("named"), Need::Program("unbound"), Need::Program("dig"))
    };
}

#[test]
fn names_delegated_by_cname_and_by_ns_are_validated_by_httpd() {
    let Some(lab) = open!() else { return };
    let Some(names) = Delegated::new(&lab, Unbound::strict) else { return };
    let mut httpd = with_sites(names.config(&lab)).start();
    httpd.wait_staged("one.test");
    assert_certificate(&mut httpd, &names.pebble, "two.test", &["two.test", "www.two.test"]);
    for host in ["one.test", "www.one.test"] {
        let served = httpd.served(host, &names.pebble, &[]);
        assert!(served.verified, "{host}: {}", served.verdict);
    }
    for name in ["one-test.acme.net.test", "_acme-challenge.two.test"] {
        // In upper and lower case, as the resolver writes it.
        assert!(httpd.log().to_lowercase().contains(&format!("dns: txt {name} asked by 127.")), "{name}");
    }
    assert!(httpd.logged("the CA is asked all the same").is_empty());
    assert!(!names.named.log().contains("REFUSED"));
}

#[test]
fn a_restart_with_values_under_way_loses_none_and_leaves_none() {
    let Some(lab) = open!() else { return };
    let Some(names) = Delegated::new(&lab, Unbound::start) else { return };
    let behind = behind(&lab, &["acme.net.test", "two.test"]);
    let propagation = format!("600s {} {}", names.resolver.address, behind.address);
    let mut httpd = with_sites(names.config_that_waits(&lab, &propagation)).start();
    for _ in 0..2 {
        wait_for("values of both", SOON, || {
            let are_there = |name| look_up(names.httpd, name, "TXT").len() == 2;
            (are_there("one-test.acme.net.test") && are_there("_acme-challenge.two.test")).then_some(())
        });
        httpd.graceful();
    }
    drop(behind);
    httpd.wait_staged("one.test");
    httpd.wait_staged("two.test");
    assert_nothing_left(&httpd);
    assert_eq!(look_up(names.httpd, "one-test.acme.net.test", "TXT"), [""; 0]);
    assert_eq!(names.pebble.order_count(), 2, "what was under way goes on");
}

/// Questions and answers of the conformance tests that resolvers' makers run against all name servers, about
/// extensions that the server does not have.
const CONFORMANCE: &[(&[&str], &[&str], &[&str])] = &[
    (&["+noedns", "+noad"], &["NOERROR", " 0 IN SOA "], &["EDNS:"]),
    (&["+edns=0", "+nocookie", "+noad"], &["NOERROR", " 0 IN SOA ", "EDNS: version: 0"], &[]),
    (&["+edns=1", "+noednsneg", "+nocookie"], &["BADVERS", "EDNS: version: 0"], &[" 0 IN SOA "]),
    (&["+edns=0", "+nocookie", "+ednsopt=100"], &["NOERROR", " 0 IN SOA "], &["OPT=100"]),
    (&["+edns=1", "+noednsneg", "+ednsopt=100", "+nocookie"], &["BADVERS"], &["OPT=100", " 0 IN SOA "]),
    (&["+edns=0", "+nocookie", "+ednsflags=0x0080"], &["NOERROR", " 0 IN SOA "], &["MBZ"]),
    (&["+edns=0", "+nocookie", "+dnssec"], &["NOERROR", "flags: do;"], &[]),
    (&["+edns=0", "+subnet=0.0.0.0/0", "+nsid", "+cookie", "+expire"], &["NOERROR"], &["NSID", "EXPIRE"]),
    (&["+edns=0", "+nocookie", "+bufsize=512", "+dnssec"], &["NOERROR"], &["BADVERS"]),
    (&["+cdflag", "+adflag"], &["NOERROR", " 0 IN SOA "], &["flags: qr aa ad"]),
    (&["+zflag"], &["NOERROR", " 0 IN SOA "], &["MBZ"]),
];

#[test]
fn zones_of_httpd_conform_and_are_resolved_by_who_is_strict() {
    let Some(lab) = open_lab!(
        Need::Root,
        Need::Program("named"),
        Need::Program("unbound"),
        Need::Program("dig"),
        Need::Program("delv"),
    ) else {
        return;
    };
    let Some(names) = Delegated::new(&lab, Unbound::strict) else { return };
    let httpd = Config::new(&lab)
        .line(&format!("MDDnsListen {}\nMDDnsZone acme.net.test acme-ns.net.test", names.httpd))
        .line("MDDnsZone _acme-challenge.two.test acme-ns.net.test")
        .start();
    set(&httpd.config, "one-test.acme.net.test", &["v-1", "v-2"]);
    set(&httpd.config, "two.test", &["v-3"]);
    for zone in ["acme.net.test", "_acme-challenge.two.test"] {
        for way in ["+notcp", "+tcp"] {
            for (asked, has, has_not) in CONFORMANCE {
                let options = [asked, &["+norec", "+qr", way][..]].concat();
                let all = dig(names.httpd, zone, "SOA", &options);
                let answer = all.split(";; Got answer:").nth(1).unwrap_or_default();
                let answer = answer.split_whitespace().collect::<Vec<_>>().join(" ");
                has.iter().for_each(|has| assert!(answer.contains(has), "{asked:?}: no '{has}' in {all}"));
                has_not.iter().for_each(|no| assert!(!answer.contains(no), "{asked:?}: '{no}' in {all}"));
            }
        }
        assert_eq!(look_up(names.httpd, zone, "NS"), ["acme-ns.net.test."]);
        let soa = look_up(names.httpd, zone, "SOA");
        assert!(soa[0].starts_with("acme-ns.net.test. ") && soa[0].ends_with(" 0"), "{soa:?}");
        for (rtype, status) in
            [("DNSKEY", "NOERROR"), ("DS", "NOERROR"), ("ANY", "NOERROR"), ("TYPE65000", "NOERROR")]
        {
            let answer = dig(names.httpd, zone, rtype, &["+norec", "+notcp"]);
            assert!(answer.contains(status) && answer.contains("flags: qr aa"), "{answer}");
        }
        let transfer = dig(names.httpd, zone, "AXFR", &[]);
        assert!(!transfer.contains("\tTXT\t"), "{transfer}");
    }
    for (name, values) in
        [("one-test.acme.net.test", &["\"v-1\"", "\"v-2\""][..]), ("_acme-challenge.two.test", &["\"v-3\""])]
    {
        let port = DNS_PORT.to_string();
        for server in [names.httpd, names.resolver.address] {
            let port = if server == names.httpd { port.clone() } else { server.port().to_string() };
            let output = std::process::Command::new("delv")
                .args([&format!("@{}", server.ip()), "-p", &port, "-i", name, "TXT", "+short"])
                .output()
                .unwrap();
            let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            let mut found: Vec<&str> = text.lines().collect();
            found.sort_unstable();
            assert_eq!(found, values, "by delv at {server}");
        }
    }
    wait_for_txt_of_resolver(&names, "_acme-challenge.one.test", 2);
    let nothing = dig(names.resolver.address, "x.y.acme.net.test", "A", &[]);
    assert!(nothing.contains("status: NOERROR") && nothing.contains("ANSWER: 0"), "{nothing}");
}

/// With the CNAME before them.
fn wait_for_txt_of_resolver(names: &Delegated, name: &str, count: usize) {
    wait_for("values by CNAME", SOON, || {
        let text = dig(names.resolver.address, name, "TXT", &["+short"]);
        (text.lines().filter(|line| line.starts_with('"')).count() == count).then_some(())
    });
}

#[test]
fn acme_dns_tells_its_cname_and_renews_once_it_is_there_with_the_same_account() {
    let Some(lab) = open_lab!(Need::Program("named"), Need::Program("unbound"), Need::Program("dig")) else {
        return;
    };
    let server = AcmeDns::start();
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, lab.port()));
    server.serve_dns(UdpSocket::bind(at).unwrap());
    let named = Named::primary(&lab, &[Zone::new("one.test")]);
    let resolver = Unbound::start(&lab, &[("one.test", named.address), ("auth.test", at)]);
    let pebble = Authority::new(&lab).resolver(resolver.address).start();
    let mut httpd = Config::with_ca(&lab, &pebble.authority)
        .line(&format!(
            "MDChallengeDns01 acme-dns {}\nMDDnsPropagation 20s {}",
            server.url(),
            resolver.address
        ))
        .line("MDCAChallenges dns-01\nMDRetryDelay 1s\nMDomain one.test *.one.test")
        .site("one.test", &["*.one.test"])
        .start();
    let line = "_acme-challenge.one.test. CNAME sub-1.auth.test.";
    let failed = || {
        let renewal = httpd.md("one.test")["renewal"].take();
        let is_told = renewal["last"]["detail"].as_str().is_some_and(|detail| detail.contains(line));
        (is_told && renewal["errors"].as_u64() >= Some(2)).then_some(())
    };
    wait_for("the line to set, in two failures", SOON, failed);
    assert_eq!((server.registrations(), server.values("sub-1.auth.test").len()), (1, 0));
    named.reload(&Zone::new("one.test").record("_acme-challenge CNAME sub-1.auth.test."));
    assert_certificate(&mut httpd, &pebble, "one.test", &["one.test", "www.one.test"]);
    assert_eq!((server.registrations(), server.values("sub-1.auth.test").len()), (1, 2));
    // A start later, the account is that of the file.
    let config = httpd.stop();
    std::fs::remove_dir_all(config.store().join("domains/one.test")).unwrap();
    let mut httpd = config.start();
    assert_certificate(&mut httpd, &pebble, "one.test", &["one.test"]);
    assert_eq!(server.registrations(), 1);
}
