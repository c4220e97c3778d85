// SPDX-License-Identifier: Apache-2.0
//! md-status of both modules for the same configuration and store: ours has all values of the C module's.

use std::fs;
use std::path::Path;
use std::process::Command;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

use openssl::pkey::Id;

use support::difference::is_one_moment;
use support::issuer::{self, Issuer};
use support::module::{c_module, under_test};
use support::{Config, Httpd, Lab, Need, Pebble, SOON, open_lab, tls, wait_for};

/// One managed domain each, with what stands in its section.
const SITUATIONS: &[(&str, &str)] = &[
    ("plain.test", ""),
    ("names.test", "MDMember www.names.test a.names.test\nMDMembers manual"),
    ("keys.test", "MDPrivateKeys RSA 3072 P-384"),
    ("curve.test", "MDPrivateKeys secp256r1"),
    ("windows.test", "MDRenewWindow 20d\nMDWarnWindow 5%"),
    ("staple.test", "MDMustStaple on\nMDStapling on"),
    ("https.test", "MDRequireHttps permanent"),
    ("*.wild.test", ""),
    ("eab.test", "MDExternalAccountBinding kid-1 bm90IGEgc2VjcmV0IGF0IGFsbA"),
    ("cas.test", "MDCertificateAuthority https://127.0.0.1:9/a https://127.0.0.1:9/b"),
    ("profile.test", "MDProfile shortlived\nMDProfileMandatory on"),
    ("challenge.test", "MDCAChallenges http-01\nMDChallengeDns01 /bin/true with arguments"),
    ("contact.test", "MDContactEmail other@example.test"),
    ("noari.test", "MDRenewViaARI off"),
    ("overdue.test", "MDPrivateKeys P-256"),
    ("expired.test", "MDPrivateKeys P-256"),
    ("more.test", "MDPrivateKeys P-256\nMDMember www.more.test"),
    ("files.test", "MDCertificateFile FILES.pem\nMDCertificateKeyFile FILES.key"),
    (UNCOVERED, "MDPrivateKeys P-256\nMDCertificateFile FILES.pem\nMDCertificateKeyFile FILES.key"),
];

/// By its files.
const UNCOVERED: &str = "uncovered.test";

fn config(lab: &Lab, pebble: &Pebble) -> Config {
    let files = lab.path("files").display().to_string();
    tls::self_signed("DNS:files.test", openssl::pkey::Id::EC, &lab.path("files.pem"), &lab.path("files.key"));
    let mut config = Config::with_ca(lab, &pebble.authority).line("MDInitialDelay 1h\nMDServerStatus on");
    for (name, lines) in SITUATIONS {
        let lines = lines.replace("FILES", &files);
        config = config.line(&format!("<MDomain {name}>\nMDRenewMode manual\n{lines}\n</MDomain>"));
        // Without TLS: the C module takes seconds for the self-signed certificate of each TLS host.
        let host =
            format!("<VirtualHost *:{}>\nServerName {}\n</VirtualHost>", lab.http, name.replace('*', "x"));
        config = config.line(&host);
    }
    for (name, lines) in [
        ("unused.test", ""),
        ("unused-always.test", "MDRenewMode always"),
        ("unused-manual.test", "MDRenewMode manual"),
    ] {
        config = config.line(&format!("<MDomain {name}>\n{lines}\n</MDomain>"));
    }
    config.line("MDomain used.test www.used.test").site("used.test", &["www.used.test"])
}

/// A job as a renewal that has failed leaves it, with the certificate that `used.test` has in this file.
fn plant(httpd: &Httpd, name: &str, file: &str) {
    let job = json!({
        "name": name, "finished": false, "notified": false, "notified-renewed": false,
        "next-run": "Thu, 29 Aug 2030 16:06:35 GMT", "last-run": "Thu, 29 Aug 2019 16:06:35 GMT", "errors": 4,
        "last": {
            "status": 22, "status-description": "Invalid argument", "problem": "urn:ietf:params:acme:error:rateLimited", "detail": "too many",
            "activity": "Creating new order",
            "subproblems": [{ "type": "urn:ietf:params:acme:error:dns", "detail": "<no>" }],
        },
        "log": { "entries": [{ "when": "Thu, 29 Aug 2019 16:06:35 GMT", "type": "starting" }] },
    });
    let store = httpd.config.store();
    let folder = store.join("staging").join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::copy(store.join("domains/used.test/pubcert.pem"), folder.join(file)).unwrap();
    let readable = Command::new("chmod").args(["-R", "a+rX"]).arg(&folder).status().unwrap();
    assert!(readable.success());
    fs::write(folder.join("job.new"), job.to_string()).unwrap();
    fs::rename(folder.join("job.new"), folder.join("job.json")).unwrap();
}

/// Certificates in use, from and until so many days from now.
fn install(store: &Path) {
    let issuer = Issuer::new();
    for (name, from, until) in [("overdue.test", -85, 5), ("expired.test", -95, -5), ("more.test", -85, 5)] {
        let set = issuer.issue_for(&[name], Id::EC, from * 86_400, until * 86_400);
        issuer::install(store, &[name], &[&set]);
    }
}

/// What is ours alone goes; "now" becomes a word, as that differs between two requests.
fn comparable(mut md: Value) -> Value {
    if md["renew"] == true && md["state"] != 2 {
        md["renew-at"] = json!("now");
    }
    if md.get("renewal").is_some() {
        // For the C module a renewal is due whenever there is one, however good the certificate in use.
        ["renew", "renew-at"].iter().for_each(|key| drop(md.as_object_mut().unwrap().remove(*key)));
    }
    let fields = md.as_object_mut().unwrap();
    fields.remove("activation");
    ["hosts", "status"].iter().for_each(|key| drop(fields.remove(*key)));
    if let Some(renewal) = fields.get_mut("renewal").and_then(Value::as_object_mut) {
        ["reason", "next"].iter().for_each(|key| drop(renewal.remove(*key)));
    }
    md
}

fn all(httpd: &Httpd) -> Map<String, Value> {
    let list = httpd.mds()["managed-domains"].as_array().unwrap().clone();
    list.into_iter().map(|md| (md["name"].as_str().unwrap().to_string(), comparable(md))).collect()
}

/// What both say of all, before and with a failing renewal, and of one with its log.
fn ask(config: &Config, module: &Path) -> [Map<String, Value>; 2] {
    let httpd = config.clone().module(module).start();
    let first = all(&httpd);
    let planted = [("used.test", "pubcert.pem"), (UNCOVERED, "pubcert.p-256.pem")];
    planted.iter().for_each(|(name, file)| plant(&httpd, name, file));
    // Children may be behind each other by a moment.
    let shows = || planted.iter().all(|(name, _)| httpd.md(name)["renewal"].is_object());
    wait_for("the planted job", SOON, || (0..20).all(|_| shows()).then_some(()));
    let mut second = all(&httpd);
    second.insert("used.test, alone".into(), comparable(httpd.md("www.used.test")));
    for (name, _) in planted {
        fs::remove_dir_all(httpd.config.store().join("staging").join(name)).unwrap();
    }
    [first, second]
}

#[test]
fn our_md_status_says_what_that_of_the_c_module_says() {
    let Some(lab) = open_lab!(Need::BothModules) else { return };
    let pebble = Pebble::start(&lab);
    let config = config(&lab, &pebble);
    let mut first = config.clone().line("MDInitialDelay 0s").module(&c_module().unwrap()).start();
    first.wait_staged_and_activate(&["used.test"]);
    drop(first.stop());
    install(&config.store());
    let theirs = ask(&config, &c_module().unwrap());
    let ours = ask(&config, &under_test());
    let mut differences = Vec::new();
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert!(theirs.keys().eq(ours.keys()), "{:?} and {:?}", theirs.keys(), ours.keys());
        for (name, md) in theirs {
            differences.extend(difference(name, md, &ours[name]));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// One line for each value that is not the same.
fn difference(place: &str, theirs: &Value, ours: &Value) -> Vec<String> {
    match (theirs, ours) {
        (Value::Object(t), Value::Object(o)) => {
            let keys = t.keys().chain(o.keys().filter(|key| !t.contains_key(*key)));
            keys.flat_map(|key| difference(&format!("{place}/{key}"), &theirs[key], &ours[key])).collect()
        }
        _ if theirs == ours || are_about_one_moment(theirs, ours) || are_of_one_serial(theirs, ours) => {
            Vec::new()
        }
        _ => vec![format!("{place}: theirs {theirs}, ours {ours}")],
    }
}

/// Values of `ari-cert-id`: the C module omits the zero byte of a serial whose first bit is set.
fn are_of_one_serial(theirs: &Value, ours: &Value) -> bool {
    let split = |value: &Value| {
        let (issuer, serial) = value.as_str()?.split_once('.')?;
        Some((issuer.to_string(), BASE64URL_NOPAD.decode(serial.as_bytes()).ok()?))
    };
    split(theirs).zip(split(ours)).is_some_and(|((issuer, serial), ours)| {
        serial.first().is_some_and(|byte| byte & 0x80 != 0) && ours == (issuer, [vec![0], serial].concat())
    })
}

#[test]
fn of_differences_only_the_zero_byte_of_a_serial_is_let_pass() {
    let (with_zero, without) = (json!("Xlb8.AOfwVa5DZTI"), json!("Xlb8.5_BVrkNlMg"));
    assert_eq!(difference("x", &without, &with_zero), [""; 0]);
    for (theirs, ours) in [
        (&with_zero, &without),
        (&without, &json!("Xlb9.AOfwVa5DZTI")),
        (&without, &json!("Xlb8.AOfwVa5DZTM")),
        (&json!("Xlb8.Z_BVrkNlMg"), &json!("Xlb8.AGfwVa5DZTI")),
    ] {
        assert_eq!(difference("x", theirs, ours).len(), 1, "{theirs} {ours}");
    }
}

fn are_about_one_moment(one: &Value, other: &Value) -> bool {
    one.as_str().zip(other.as_str()).is_some_and(|(one, other)| is_one_moment(one, other))
}
