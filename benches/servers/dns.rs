// SPDX-License-Identifier: Apache-2.0
//! First certificates by dns-01: domains with wildcards through dynamic updates of a real BIND and through
//! httpd's own responder, beside as many names by http-01. The CA of each run asks a real resolver.

use crate::issue::{self, Run, StoodStill};
use crate::server;
use crate::site::Module;
use crate::table::{self, Series};
use std::net::{Ipv4Addr, SocketAddr};
use support::dns::{TsigKey, Zone};
use support::named::Named;
use support::unbound::Unbound;
use support::{Authority, Config, Lab, Need};

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Http01,
    Rfc2136,
    Responder,
}

const WAYS: [(&str, Way); 3] =
    [("http-01", Way::Http01), ("rfc2136", Way::Rfc2136), ("responder", Way::Responder)];

/// Where the CNAMEs of the domains lead to.
const ZONE: &str = "acme.example.net";

/// Each way once in each round.
pub fn measure(modules: &[&Module], domains: usize, rounds: usize) {
    println!(
        "\nfirst certificates with two names each, by dns-01 with a wildcard: {domains} domains, {rounds} rounds, load {}",
        server::load()
    );
    for module in modules {
        let none = WAYS.map(|(name, _)| Series::new(&format!("{} {name}", module.name)));
        let (mut wall, mut cpu, mut authority) = (none.clone(), none.clone(), none);
        for _ in 0..rounds {
            for (at, (name, way)) in WAYS.into_iter().enumerate() {
                let run = issue::repeated(|| run(module, domains, way));
                println!("{} {name}: {} orders at the CA", module.name, run.orders);
                wall[at].add(run.wall);
                cpu[at].add(run.cpu);
                authority[at].add(run.authority_cpu);
            }
        }
        let quantities: [(&str, &[Series]); 3] =
            [("wall s", &wall), ("httpd cpu s", &cpu), ("CA cpu s", &authority)];
        table::print(&quantities, ("ms a domain", 1e3), domains);
    }
}

fn run(module: &Module, domains: usize, way: Way) -> Result<Run, StoodStill> {
    let needs = ["named", "unbound", "dig", "tsig-keygen"].map(Need::Program);
    let lab = Lab::open("bench::dns", &needs).expect("what a bench needs is there");
    let names: Vec<String> = (0..domains).map(|n| format!("d{n}.test")).collect();
    let key = TsigKey::generate(&lab, "acme", "hmac-sha256");
    let zones: Vec<Zone> = names.iter().map(|name| zone(name, way, &key)).collect();
    let named = Named::primary(&lab, &zones);
    let responder = SocketAddr::from((Ipv4Addr::LOCALHOST, lab.port()));
    let mut stubs: Vec<_> = names.iter().map(|name| (name.as_str(), named.address)).collect();
    stubs.push((ZONE, responder));
    let resolver = Unbound::start(&lab, &stubs);
    let pebble = Authority::new(&lab).resolver(resolver.address).start();
    let second = if way == Way::Http01 { "www" } else { "*" };
    let mut config = issue::config(Config::with_ca(&lab, &pebble.authority), module, &names, second);
    config = config.line(&format!("MDDnsPropagation 60s {}", resolver.address)).line(&match way {
        Way::Http01 => "MDCAChallenges http-01".to_string(),
        Way::Rfc2136 => format!(
            "MDCAChallenges dns-01\nMDChallengeDns01 rfc2136 {} {}",
            named.address,
            key.file.display()
        ),
        Way::Responder => format!(
            "MDCAChallenges dns-01\nMDChallengeDns01 responder\nMDDnsListen {responder}\nMDDnsZone {ZONE} ns.example.net"
        ),
    });
    issue::until_staged(config, &names, &pebble)
}

/// With the CNAME that the responder needs, or the rights of the key.
fn zone(name: &str, way: Way, key: &TsigKey) -> Zone {
    let zone = Zone::new(name);
    match way {
        Way::Http01 => zone,
        Way::Rfc2136 => zone.updated_by(key),
        Way::Responder => zone.record(&format!("_acme-challenge CNAME {}.{ZONE}.", name.replace('.', "-"))),
    }
}
