// SPDX-License-Identifier: Apache-2.0
//! Updates signed with TSIG, as BIND and Knot take and refuse them.

use super::{BIND, KNOT, TOOLS, name, now, sockets};
use mod_md::dns::update::Failed;
use mod_md::dns::{Change, TsigKey, Update, resolve};
use mod_md::time::Timestamp;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;
use support::dns::{self, Zone, wait_for_txt};
use support::knot::Knot;
use support::named::Named;
use support::{Lab, open_lab};

const ZONE: &str = "example.test";
const RECORD: &str = "_acme-challenge.example.test";
const ADD: Change = Change::Add { ttl: 60 };

fn key(of: &dns::TsigKey) -> TsigKey {
    TsigKey::parse(&fs::read_to_string(&of.file).unwrap()).unwrap()
}

fn update(server: SocketAddr, change: Change, value: &str) -> Update {
    let value = value.as_bytes().to_vec();
    Update { server, zone: name(ZONE), name: name(RECORD), value, change }
}

fn send(of: &dns::TsigKey, update: &Update) -> Result<(), Failed> {
    update.send(&sockets(), &key(of), now())
}

#[track_caller]
fn refused(result: Result<(), Failed>, words: &[&str]) {
    let text = result.unwrap_err().to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(text.ends_with('.') && !text.contains(".."), "{text}");
}

/// `zone`, and one that the key may not touch.
fn zones(zone: &Zone) -> [Zone; 2] {
    [zone.clone(), Zone::new("closed.test")]
}

/// Each value comes and goes alone, and what else is at the name stays.
fn comes_and_goes(server: SocketAddr, of: &dns::TsigKey) {
    send(of, &update(server, ADD, "first")).unwrap();
    send(of, &update(server, ADD, "second")).unwrap();
    wait_for_txt(server, RECORD, &["admin's own", "first", "second"]);
    let values = resolve::txt(&sockets(), server, &name(RECORD)).unwrap();
    assert_eq!(values.len(), 3, "{values:?}");
    assert!(values.contains(&b"second".to_vec()));
    send(of, &update(server, ADD, "second")).expect("adding what is there is no error");
    send(of, &update(server, Change::Delete, "first")).unwrap();
    wait_for_txt(server, RECORD, &["admin's own", "second"]);
    send(of, &update(server, Change::Delete, "second")).unwrap();
    send(of, &update(server, Change::Delete, "second")).expect("deleting what is gone is no error");
    wait_for_txt(server, RECORD, &["admin's own"]);
}

fn zone(of: &dns::TsigKey) -> Zone {
    Zone::new(ZONE).record("_acme-challenge TXT \"admin's own\"").updated_by(of)
}

#[test]
fn bind_takes_a_value_and_gives_it_up_with_every_algorithm() {
    let Some(lab) = open_lab!(BIND, TOOLS[0], TOOLS[1]) else { return };
    for algorithm in ["hmac-sha256", "hmac-sha512", "hmac-sha384", "hmac-sha224", "hmac-sha1"] {
        let of = dns::TsigKey::generate(&lab, "acme.example", algorithm);
        comes_and_goes(Named::primary(&lab, &[zone(&of)]).address, &of);
    }
}

#[test]
fn knot_takes_a_value_and_gives_it_up_with_every_algorithm() {
    let Some(lab) = open_lab!(KNOT, TOOLS[0], TOOLS[1]) else { return };
    for algorithm in ["hmac-sha256", "hmac-sha512", "hmac-sha384", "hmac-sha224", "hmac-sha1"] {
        let of = dns::TsigKey::generate(&lab, "acme", algorithm);
        comes_and_goes(Knot::primary(&lab, &[zone(&of)]).address, &of);
    }
}

/// What both servers refuse, and what is said of it.
fn refuses(lab: &Lab, server: SocketAddr, of: &dns::TsigKey) {
    let add = update(server, ADD, "value");
    let stranger = dns::TsigKey::generate(lab, "stranger", "hmac-sha256");
    refused(send(&stranger, &add), &["BADKEY", "Add the key 'stranger'", RECORD, ZONE, &server.to_string()]);
    let secret = of.but(lab, |key| key.secret.clone_from(&stranger.secret));
    refused(send(&secret, &add), &["BADSIG", "the key 'acme' the same here and on that server"]);
    let algorithm = of.but(lab, |key| key.algorithm = "hmac-sha512".to_string());
    refused(send(&algorithm, &add), &["BADKEY", "algorithm"]);
    let closed = Update { zone: name("closed.test"), name: name("x.closed.test"), ..add.clone() };
    refused(
        send(of, &closed),
        &["cannot add the TXT record of x.closed.test", "llow", "TXT records of x.closed.test there"],
    );
    let elsewhere = Update { zone: name("elsewhere.test"), name: name("x.elsewhere.test"), ..add.clone() };
    refused(send(of, &elsewhere), &["NOTAUTH", "Name the primary server of elsewhere.test"]);
    let outside = Update { name: name("x.closed.test"), ..add.clone() };
    refused(send(of, &outside), &["NOTZONE", "Name the zone that x.closed.test is in with zone="]);
    let (hour, now) = (Duration::from_secs(3600), now());
    let at = |at: Timestamp| add.send(&sockets(), &key(of), at);
    refused(at(now.plus(hour)), &["BADTIME", "seconds behind this machine's", "clocks", "36"]);
    refused(at(now.minus(hour)), &["BADTIME", "seconds ahead of this machine's", "clocks", "36"]);
    wait_for_txt(server, RECORD, &["admin's own"]);
}

#[test]
fn bind_says_why_it_refuses_and_we_what_to_do() {
    let Some(lab) = open_lab!(BIND, TOOLS[0], TOOLS[1]) else { return };
    let of = dns::TsigKey::generate(&lab, "acme", "hmac-sha256");
    let named = Named::primary(&lab, &zones(&zone(&of)));
    refuses(&lab, named.address, &of);
}

#[test]
fn knot_says_why_it_refuses_and_we_what_to_do() {
    let Some(lab) = open_lab!(KNOT, TOOLS[0], TOOLS[1]) else { return };
    let of = dns::TsigKey::generate(&lab, "acme", "hmac-sha256");
    let knot = Knot::primary(&lab, &zones(&zone(&of)));
    refuses(&lab, knot.address, &of);
}

#[test]
fn a_server_that_is_not_there_or_silent_is_named() {
    let Some(lab) = open_lab!(BIND, TOOLS[0], TOOLS[1]) else { return };
    let of = dns::TsigKey::generate(&lab, "acme", "hmac-sha256");
    let nobody = SocketAddr::from(([127, 0, 0, 1], lab.port()));
    let words = ["cannot be reached by TCP", "Connection refused", "is the primary server of example.test"];
    refused(send(&of, &update(nobody, ADD, "value")), &words);
    let named = Named::primary(&lab, &[zone(&of)]);
    named.hold();
    let error = send(&of, &update(named.address, ADD, "value"));
    named.go_on();
    refused(error, &["did not answer within 10 seconds", &named.address.to_string()]);
}
