// SPDX-License-Identifier: Apache-2.0
//! `a2md dns`: the records of a domain with an account at a real CA, and what a real name server has of them.

use super::call::a2md;
use super::revoke::{config, first};
use serde_json::{Value, json};
use support::dns::Zone;
use support::named::Named;
use support::{Account, Config, Lab, Pebble, open_lab};

fn call(lab: &Lab, pebble: &Pebble, resolver: &str, more: &[&str]) -> (i32, Value) {
    let store = lab.path("httpd/md");
    let certificate = pebble.authority.certificate.to_str().unwrap();
    let arguments =
        ["-d", store.to_str().unwrap(), "-C", certificate, "--httpd", "false", "dns", "a.test", "-j"];
    let called = a2md(&[&arguments[..], &["--resolver", resolver], more].concat());
    (called.code, called.json())
}

fn states(document: &Value) -> Vec<(String, String)> {
    let records = document["domains"][0]["records"].as_array().unwrap();
    let text = |record: &Value, key: &str| record[key].as_str().unwrap().to_string();
    records.iter().map(|record| (text(record, "type"), text(record, "state"))).collect()
}

#[test]
fn the_records_of_a_domain_are_missed_until_its_zone_has_them() {
    let Some(lab) = open_lab!(support::Need::Program("named")) else { return };
    let pebble = Pebble::start(&lab);
    let httpd = config(&lab, &pebble, Account::Own).start();
    first(&httpd, &pebble);
    let empty = Named::primary(&lab, &[Zone::new("test"), Zone::new("a.test")]);
    let address = empty.address.to_string();
    let (code, document) = call(&lab, &pebble, &address, &[]);
    assert_eq!(code, 1, "{document}");
    let all = states(&document);
    assert!(all.iter().any(|(rtype, _)| rtype == "TLSA"), "{document}");
    assert!(all.iter().all(|(_, state)| state == "missing"), "{document}");

    let lines: Vec<&str> = document["domains"][0]["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["line"].as_str().unwrap())
        .collect();
    drop(empty);
    let zone = lines.iter().fold(Zone::new("a.test"), |zone, line| zone.record(line));
    let named = Named::primary(&lab, &[Zone::new("test"), zone]);
    let address = named.address.to_string();
    let (code, document) = call(&lab, &pebble, &address, &[]);
    assert!(states(&document).iter().all(|(_, state)| state == "there"), "{document}");
    assert_eq!(code, 0, "{document}");
    let (code, document) = call(&lab, &pebble, &address, &["--offline", "--only", "tlsa"]);
    assert_eq!((code, states(&document)), (0, vec![("TLSA".into(), "not asked".into())]));
    drop(named);
    let (code, document) = call(&lab, &pebble, &address, &["--only", "TLSA"]);
    assert_eq!((code, &document["domains"][0]["records"][0]["state"]), (1, &json!("unknown")), "{document}");
}

#[test]
fn a_ca_that_is_not_allowed_is_told() {
    let Some(lab) = open_lab!(support::Need::Program("named")) else { return };
    let pebble = Pebble::start(&lab);
    let httpd = config(&lab, &pebble, Account::Own).start();
    first(&httpd, &pebble);
    let named = Named::primary(&lab, &[Zone::new("a.test").record("@ CAA 0 issue \"other.test\"")]);
    let (code, document) = call(&lab, &pebble, &named.address.to_string(), &["--only", "CAA"]);
    let record = &document["domains"][0]["records"][0];
    assert_eq!((code, &record["state"]), (1, &json!("wrong")), "{document}");
    assert!(record["detail"].as_str().unwrap().contains("other.test"), "{document}");
}

#[test]
fn the_zones_that_httpd_answers_are_delegated_without_being_named() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let config = Config::with_ca(&lab, &pebble.authority)
        .line(&format!("MDDnsListen 127.0.0.1:{}\nMDChallengeDns01 responder", lab.port()))
        .line("MDDnsZone acme.b.test ns.b.test\nMDDnsZone _acme-challenge.a.test ns2.b.test")
        .line("MDRenewMode always\nMDomain a.test www.a.test");
    let store = config.store();
    drop(mod_md::store::StartStore::open(&store, None).unwrap());
    let control = config.control();
    let line = ["-d", store.to_str().unwrap(), "--httpd", &control, "dns", "a.test", "--offline"];
    let lines = |more: &[&str]| {
        let called = a2md(&[&line[..], more].concat());
        assert_eq!(called.code, 0, "{} {}", called.out, called.err);
        called.out.lines().map(String::from).collect::<Vec<_>>()
    };
    let [first, second, third] = [
        "_acme-challenge.a.test. NS ns2.b.test.",
        "_acme-challenge.www.a.test. CNAME www.a.test.acme.b.test.",
        "acme.b.test. NS ns.b.test.",
    ];
    assert_eq!(lines(&[]), ["; md[a.test]", first, second, third]);
    let other = lines(&["--zone", "other.test", "--only", "CNAME"]);
    assert_eq!(
        other[1..],
        [
            "_acme-challenge.a.test. CNAME a.test.other.test.",
            "_acme-challenge.www.a.test. CNAME www.a.test.other.test.",
        ]
    );
}
