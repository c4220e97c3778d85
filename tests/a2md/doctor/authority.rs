// SPDX-License-Identifier: Apache-2.0
//! Faults between a store and its CA, which is pebble, or a double that says what pebble never does.

use super::{assert_found, assert_healthy, doctor, without_reached};
use mod_md::acme::{Server, Session};
use mod_md::crypto::PrivateKey;
use mod_md::http::client::{Client, Options};
use mod_md::http::{Limits, Transport};
use mod_md::model::{Ca, Eab, KeySpec, Md};
use mod_md::store::{Group, StartStore};
use mod_md::time::{DAY, StopFlag, SystemClock, Timestamp, now};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use support::{Authority, Lab, Pebble, open_lab};

const ACCOUNT: &str = "ACME-127.0.0.1-0000";

/// A store with one domain of this CA, and no certificate.
struct Site {
    dir: PathBuf,
    store: StartStore,
    directory: String,
    /// Of the CA's own certificate.
    root: Option<PathBuf>,
}

impl Site {
    fn new(lab: &Lab, directory: String, root: Option<PathBuf>) -> Site {
        let dir = lab.path("md");
        let store = StartStore::open(&dir, None).unwrap();
        let site = Site { dir, store, directory, root };
        site.configure(|_| {});
        site
    }

    fn with(lab: &Lab, authority: &Authority) -> Site {
        Site::new(lab, authority.directory(), Some(authority.certificate.clone()))
    }

    fn configure(&self, change: impl FnOnce(&mut Md)) {
        let agreement = Some("accepted".to_string());
        let ca = Ca { urls: vec![self.directory.clone()], agreement, ..Md::default().ca };
        let mut md = Md { name: "a.test".into(), domains: vec!["a.test".into()], ca, ..Md::default() };
        change(&mut md);
        self.store.write_json(Group::Domains, "a.test", "md.json", &md.to_json()).unwrap();
    }

    /// Registers an account and puts it into the store.
    fn register(&self) -> Session {
        let client = Client::new(&Options {
            ca_file: self.root.clone(),
            proxy_url: None,
            proxy_ca_file: None,
            user_agent: "test".into(),
            limits: Limits::default(),
            stop: StopFlag::default(),
        });
        let transport: Arc<dyn Transport> = Arc::new(client.unwrap());
        let server = Server::connect(&self.directory, transport, Arc::new(SystemClock::default())).unwrap();
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        let registration = server.register(&key, &[], Some("accepted"), None).unwrap();
        let json = json!({"status": "valid", "url": registration.url, "ca-url": self.directory});
        self.store.write_json(Group::Accounts, ACCOUNT, "account.json", &json).unwrap();
        self.store.write_key(Group::Accounts, ACCOUNT, "account.pem", &key).unwrap();
        Session::new(Arc::new(server), key, registration.url)
    }

    fn look(&self) -> Vec<Value> {
        let root = self.root.as_ref().map(|root| root.to_str().unwrap());
        let arguments: Vec<&str> = ["-d", self.dir.to_str().unwrap()]
            .into_iter()
            .chain(root.iter().flat_map(|root| ["-C", root]))
            .collect();
        let mut findings = without_reached(doctor(&arguments));
        // There is no certificate, and names are looked at elsewhere.
        findings.retain(|finding| {
            !["certificate-missing", "renewing-process"].contains(&finding["check"].as_str().unwrap())
        });
        findings
    }
}

#[test]
fn of_a_ca_and_an_account_in_order_nothing_is_said() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let site = Site::with(&lab, &pebble.authority);
    assert_healthy(&site.look());
    // Names are looked at as well, with the CA's directory in mind.
    let directories = pebble.log().matches("GET /dir ").count();
    site.look();
    assert_eq!(pebble.log().matches("GET /dir ").count(), directories + 1, "asked once a call");
    site.register();
    let findings = site.look();
    assert_healthy(&findings);
    for check in ["ca", "clock", "account"] {
        assert!(findings.iter().any(|finding| finding["check"] == check), "{check}: {findings:#?}");
    }
    assert_eq!(pebble.order_count(), 0);
}

#[test]
fn accounts_that_are_deactivated_or_unknown_are_found() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let site = Site::with(&lab, &pebble.authority);
    let session = site.register();
    session.deactivate().unwrap();
    assert_found(&site.look(), "account-deactivated", "fails", &[ACCOUNT], &[]);
    // Another CA at the same address, as after a move from staging.
    let other = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
    site.store.write_key(Group::Accounts, ACCOUNT, "account.pem", &other).unwrap();
    let url = format!("{}9", session.account_url());
    let json = json!({"status": "valid", "url": url, "ca-url": site.directory});
    site.store.write_json(Group::Accounts, ACCOUNT, "account.json", &json).unwrap();
    assert_found(&site.look(), "account-unknown", "fails", &[ACCOUNT], &[]);
}

#[test]
fn what_a_ca_requires_and_the_configuration_lacks_is_found() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let site = Site::with(&lab, &pebble.authority);
    site.configure(|md| md.ca.agreement = None);
    assert_found(&site.look(), "terms-not-accepted", "fails", &["terms of service"], &[]);
    site.configure(|md| (md.profile, md.profile_mandatory) = (Some("tiny".into()), true));
    assert_found(&site.look(), "profile-not-offered", "fails", &["tiny"], &[]);
    site.register();
    site.configure(|md| md.ca.agreement = Some("https://ca.test/terms-of-2019".into()));
    assert_found(&site.look(), "terms-changed", "cannot-be-told", &["terms-of-2019"], &[]);
}

#[test]
fn a_ca_that_wants_a_binding_is_found() {
    let Some(lab) = open_lab!() else { return };
    let authority = Authority::new(&lab).set("externalAccountBindingRequired", json!(true)).set(
        "externalAccountMACKeys",
        json!({"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}),
    );
    let pebble = authority.start();
    let site = Site::with(&lab, &pebble.authority);
    assert_found(&site.look(), "eab-missing", "fails", &["external account binding"], &[]);
    let hmac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W".to_string();
    site.configure(|md| md.eab = Some(Eab { kid: "kid-1".into(), hmac: hmac.clone() }));
    assert_healthy(&site.look());
}

#[test]
fn a_ca_that_is_not_trusted_or_not_there_is_found() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut site = Site::with(&lab, &pebble.authority);
    let root = site.root.take();
    assert_found(&site.look(), "ca-untrusted", "fails", &[&pebble.authority.directory()], &[]);
    site.root = Some(lab.path("no-such-file.pem"));
    assert_found(&site.look(), "ca-route", "fails", &["no-such-file.pem"], &[]);
    site.root = root;
    pebble.stop();
    assert_found(&site.look(), "ca-unreachable", "fails", &["connection refused"], &[]);
    // Nothing is asked.
    let dir = site.dir.to_str().unwrap();
    let checks = super::of(&doctor(&["--offline", "-d", dir]), "fails").len();
    assert_eq!(checks, 0);
}

/// A CA of a few lines: status and headers of the directory, and what it has in `meta`.
fn double(status: u16, date: Timestamp, more: &'static str, has_nonce: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let directory = json!({"newNonce": format!("{base}/n"), "newAccount": format!("{base}/a"), "newOrder": format!("{base}/o")});
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut buffer) = (stream.unwrap(), [0; 4096]);
            let count = stream.read(&mut buffer).unwrap_or_default();
            let is_directory = buffer[..count].starts_with(b"GET /dir ");
            let body = if is_directory { directory.to_string() } else { String::new() };
            let nonce = if is_directory || !has_nonce { "" } else { "Replay-Nonce: abc\r\n" };
            let head = format!(
                "HTTP/1.1 {status} X\r\nDate: {}\r\n{more}{nonce}Content-Type: application/json\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                date.to_http_date(),
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    format!("{base}/dir")
}

#[test]
fn what_a_ca_says_besides_is_found() {
    let hour = DAY / 24;
    for (status, date, more, has_nonce, check, words) in [
        (200, now().minus(hour), "", true, "clock-off", "ahead of"),
        (200, now().plus(hour), "", true, "clock-off", "behind"),
        (503, now(), "Retry-After: 3600\r\n", true, "ca-maintenance", "503"),
        (404, now(), "", true, "ca-no-directory", "no ACME directory"),
        (200, now(), "", false, "ca-no-nonce", "no nonce"),
    ] {
        let Some(lab) = open_lab!() else { return };
        let site = Site::new(&lab, double(status, date, more, has_nonce), None);
        assert_found(&site.look(), check, "fails", &[words], &[]);
    }
    let Some(lab) = open_lab!() else { return };
    assert_healthy(&Site::new(&lab, double(200, now(), "", true), None).look());
}
