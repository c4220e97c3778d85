// SPDX-License-Identifier: Apache-2.0
//! Names followed to their zone and its servers, through unbound.

use super::{BIND, TOOLS, UNBOUND, name, sockets};
use mod_md::dns::{Dns, Error, Question, Recursion, Resolver, Rtype, Sockets, client::Limits, resolve};
use mod_md::time::{StopFlag, SystemClock};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::dns::Zone;
use support::named::Named;
use support::open_lab;
use support::unbound::Unbound;

#[test]
fn aliases_end_where_the_record_is_to_be_set() {
    let Some(lab) = open_lab!(BIND, UNBOUND, TOOLS[0]) else { return };
    let mut site = Zone::new("site.test")
        .record("_acme-challenge CNAME site.acme.test.")
        .record("_acme-challenge.far CNAME c1.acme.test.")
        .record("_acme-challenge.loop CNAME l1.acme.test.")
        .record("_acme-challenge.dead CNAME x.nowhere.test.")
        .record("_acme-challenge.own TXT value");
    site = site.record("sub.deep A 127.0.0.1");
    let mut acme = Zone::new("acme.test")
        .record("l1 CNAME l2.acme.test.")
        .record("l2 CNAME l1.acme.test.")
        .record("ns2 AAAA ::1")
        .record("@ NS ns2");
    for step in 1..9 {
        acme = acme.record(&format!("c{step} CNAME c{}", step + 1));
    }
    let named = Named::primary(&lab, &[site, acme]);
    let zones = [("site.test", named.address), ("acme.test", named.address)];
    let unbound = Unbound::start(&lab, &zones);
    let (dns, servers) = (sockets(), [unbound.address]);
    let resolver = Resolver::new(&dns, &servers);
    let follow = |from: &str| resolver.follow(&name(from));

    assert_eq!(follow("_acme-challenge.SITE.test").unwrap(), name("site.acme.test"));
    assert_eq!(follow("_acme-challenge.own.site.test").unwrap(), name("_acme-challenge.own.site.test"));
    assert_eq!(follow("_acme-challenge.none.site.test").unwrap(), name("_acme-challenge.none.site.test"));
    assert_eq!(follow("c2.acme.test").unwrap(), name("c9.acme.test"));
    let text = follow("_acme-challenge.loop.site.test").unwrap_err().to_string();
    assert_eq!(text, "_acme-challenge.loop.site.test: its CNAME records form a loop");
    let text = follow("_acme-challenge.far.site.test").unwrap_err().to_string();
    assert_eq!(text, "_acme-challenge.far.site.test: more than 8 CNAME records lead on from it");
    let text = follow("_acme-challenge.dead.site.test").unwrap_err().to_string();
    assert!(text.contains("answered REFUSED to the question for CNAME of x.nowhere.test"), "{text}");

    assert_eq!(resolver.zone_of(&name("_acme-challenge.sub.deep.site.test")).unwrap(), name("site.test"));
    assert_eq!(resolver.zone_of(&name("Site.Test")).unwrap(), name("site.test"));
    let found = resolver.authoritative(&name("acme.test")).unwrap();
    let found: Vec<(String, Vec<SocketAddr>)> =
        found.into_iter().map(|server| (server.name.to_string(), server.addresses)).collect();
    let addresses = |text: &str| vec![text.parse::<SocketAddr>().unwrap()];
    let wanted = [("ns", "127.0.0.1:53"), ("ns2", "[::1]:53")];
    let wanted = wanted.map(|(host, address)| (format!("{host}.acme.test"), addresses(address)));
    assert_eq!(found, wanted);
}

#[test]
fn the_next_resolver_is_asked_where_one_is_dead_or_refuses() {
    let Some(lab) = open_lab!(BIND, UNBOUND, TOOLS[0]) else { return };
    let named = Named::primary(&lab, &[Zone::new("site.test")]);
    let unbound = Unbound::start(&lab, &[("site.test", named.address)]);
    let other = Named::primary(&lab, &[Zone::new("other.test")]);
    let dead = SocketAddr::from(([127, 0, 0, 1], lab.port()));
    let dns = sockets();
    let servers = [dead, other.address, unbound.address];
    assert_eq!(Resolver::new(&dns, &servers).zone_of(&name("a.site.test")).unwrap(), name("site.test"));
    let error = Resolver::new(&dns, &servers[..2]).zone_of(&name("a.site.test")).unwrap_err();
    assert!(error.to_string().contains(&format!("{dead} cannot be reached by UDP")), "{error}");
    assert!(matches!(Resolver::new(&dns, &[]).follow(&name("a.test")), Err(Error::NoServers)));
}

#[test]
fn an_answer_too_long_for_udp_comes_by_tcp() {
    let Some(lab) = open_lab!(BIND, TOOLS[0]) else { return };
    let mut zone = Zone::new("site.test");
    for number in 0..40 {
        zone = zone.record(&format!("many TXT \"{}{number}\"", "x".repeat(100)));
    }
    zone = zone.record(&format!("long TXT \"{}\" \"{}\"", "a".repeat(255), "b".repeat(45)));
    let named = Named::primary(&lab, &[zone]);
    let values = resolve::txt(&sockets(), named.address, &name("many.site.test")).unwrap();
    assert_eq!(values.len(), 40);
    let values = resolve::txt(&sockets(), named.address, &name("long.site.test")).unwrap();
    assert_eq!(values, [["a".repeat(255), "b".repeat(45)].concat().into_bytes()]);
}

#[test]
fn an_answer_over_ipv6_is_an_answer() {
    let Some(lab) = open_lab!(BIND, TOOLS[0]) else { return };
    if UdpSocket::bind(("::1", 0)).is_err() {
        return support::lab::skip(&lab.name, "no IPv6 on the loopback interface");
    }
    let at = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1u16], lab.port()));
    let zone = Zone::new("site.test").record("x TXT value").record(&format!("y TXT {}", "z ".repeat(700)));
    let named = Named::primary_at(&lab, at, &[zone]);
    let txt = |host: &str| resolve::txt(&sockets(), named.address, &name(host)).unwrap();
    assert_eq!(txt("x.site.test"), [b"value"]);
    assert_eq!(txt("y.site.test"), [vec![b'z'; 700]], "by TCP");
}

#[test]
fn a_silent_server_holds_up_neither_for_long_nor_a_stop() {
    let silent = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let server = silent.local_addr().unwrap();
    let question = Question::new(name("a.test"), Rtype::TXT);
    let clock = SystemClock::default();
    let short = Limits { udp: Duration::from_millis(50), tcp: Duration::from_millis(50) };
    let dns = Sockets::with_limits(Arc::new(clock), short);
    let error = dns.ask(server, &question, Recursion::No).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let stop = StopFlag::default();
    let long = Limits { udp: Duration::from_secs(60), tcp: Duration::from_secs(60) };
    let dns = Sockets::with_limits(Arc::new(SystemClock { stop: stop.clone() }), long);
    let asked = std::thread::spawn(move || (dns.ask(server, &question, Recursion::No), Instant::now()));
    let mut buffer = [0; 512];
    // Three of the first call, and the first of this one.
    (0..4).for_each(|_| _ = silent.recv(&mut buffer).unwrap());
    stop.raise();
    let raised = Instant::now();
    let (error, ended) = asked.join().unwrap();
    assert!(matches!(error, Err(Error::Stopped)));
    assert!(ended.saturating_duration_since(raised) < Duration::from_secs(20), "before the try ends");
}
