// SPDX-License-Identifier: Apache-2.0
//! Every key that pages promise to scripts, with its type: of a domain that was renewed, of one in renewal,
//! of one in error.

use serde_json::{Value, json};

use mod_md::time::Timestamp;
use support::responder::{Act, Responder, Signers};
use support::{Authority, Command, Config, Httpd, Lab, Pebble, SOON, open_lab, wait_for};

/// What stands under a key. `Absent`: nothing may.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Absent,
    Text,
    Texts,
    Url,
    Date,
    /// Upper case, whole bytes.
    Serial,
    /// SHA-256, lower case.
    Fingerprint,
    Number,
    Yes,
    No,
    Bool,
    Empty,
}
use Kind::*;

impl Kind {
    fn is_of(self, value: Option<&Value>) -> bool {
        let Some(value) = value else { return matches!(self, Absent) };
        let text =
            |test: &dyn Fn(&str) -> bool| value.as_str().is_some_and(|text| !text.is_empty() && test(text));
        let is_hex = |text: &str, digits: &str| {
            text.len().is_multiple_of(2) && text.chars().all(|c| digits.contains(c))
        };
        match self {
            Absent => false,
            Text => text(&|_| true),
            Texts => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
            Url => text(&|text| text.starts_with("http://") || text.starts_with("https://")),
            Date => text(&|text| text.ends_with(" GMT") && Timestamp::parse_http_date(text).is_some()),
            Serial => text(&|text| is_hex(text, "0123456789ABCDEF")),
            Fingerprint => text(&|text| text.len() == 64 && is_hex(text, "0123456789abcdef")),
            Number => value.is_u64(),
            Yes => *value == json!(true),
            No => *value == json!(false),
            Bool => value.is_boolean(),
            Empty => *value == json!({}),
        }
    }
}

type Table = &'static [(&'static str, Kind)];

/// Of every managed domain: JSON pointers and what they lead to.
const ALWAYS: Table = &[
    ("/name", Text),
    ("/domains", Texts),
    ("/contacts", Texts),
    ("/transitive", Number),
    ("/ca/proto", Text),
    ("/ca/urls", Texts),
    ("/ca/agreement", Text),
    ("/state", Number),
    ("/renew-mode", Number),
    ("/renew-window", Text),
    ("/warn-window", Text),
    ("/must-staple", Bool),
    ("/proto/acme-tls~11", Texts),
    ("/stapling", Bool),
    ("/profile-mandatory", Bool),
    ("/ari-renewals", Bool),
    ("/watched", Yes),
    ("/renew-at", Date),
    ("/eab/hmac", Absent),
    ("/renewal-unsaved", Absent),
];

/// Of a certificate, below the place it has.
const CERTIFICATE: Table = &[
    ("/valid/from", Date),
    ("/valid/until", Date),
    ("/P-256/valid/from", Date),
    ("/P-256/valid/until", Date),
    ("/P-256/serial", Serial),
    ("/P-256/sha256-fingerprint", Fingerprint),
    ("/P-256/issuer-name", Text),
    ("/P-256/ari-cert-id", Text),
    ("/P-256/ocsp/status", Text),
    ("/P-256/ocsp/valid/from", Date),
    ("/P-256/ocsp/valid/until", Date),
    ("/P-256/ocsp/renewal/from", Date),
    ("/P-256/ocsp/renewal/until", Date),
    ("/rsa", Absent),
];

const RENEWED: Table = &[
    ("/ca/url", Url),
    ("/privkey/type", Text),
    ("/privkey/curve", Text),
    ("/stapling", Yes),
    ("/state-descr", Absent),
    ("/renew", Absent),
    ("/ari/window/start", Date),
    ("/ari/window/end", Date),
    ("/ari/renew-at", Date),
    ("/ari/checked", Date),
    ("/activation/mode", Text),
    ("/activation/serial", Serial),
    ("/activation/since", Date),
];

const IN_RENEWAL: Table = &[
    ("/state-descr", Text),
    ("/renew", Yes),
    ("/cert", Empty),
    ("/ari", Absent),
    ("/activation", Absent),
    ("/renewal/name", Text),
    ("/renewal/finished", No),
    ("/renewal/notified", No),
    ("/renewal/notified-renewed", No),
    ("/renewal/last-run", Date),
    ("/renewal/next-run", Absent),
    ("/renewal/errors", Number),
    ("/renewal/last/status", Number),
    ("/renewal/last/activity", Text),
    ("/renewal/last/problem", Absent),
    ("/renewal/cert", Empty),
    ("/renewal/reason", Text),
    ("/renewal/next/action", Text),
];

const IN_ERROR: Table = &[
    ("/state-descr", Text),
    ("/renew", Yes),
    ("/cert", Empty),
    ("/activation", Absent),
    ("/renewal/finished", No),
    ("/renewal/last-run", Date),
    ("/renewal/next-run", Date),
    ("/renewal/errors", Number),
    ("/renewal/last/status", Number),
    ("/renewal/last/status-description", Text),
    ("/renewal/last/problem", Text),
    ("/renewal/last/detail", Text),
    ("/renewal/last/activity", Text),
    ("/renewal/cert", Empty),
    ("/renewal/reason", Text),
    ("/renewal/next/action", Text),
    ("/renewal/next/at", Date),
];

const LOG: Table = &[("/renewal/log/entries/0/when", Date), ("/renewal/log/entries/0/type", Text)];
const NO_LOG: Table = &[("/renewal/log", Absent)];

/// Of certificate-status.
const PUBLIC: Table = &[
    ("/valid/from", Date),
    ("/valid/until", Date),
    ("/P-256/valid/from", Date),
    ("/P-256/valid/until", Date),
    ("/P-256/serial", Serial),
    ("/P-256/sha256-fingerprint", Fingerprint),
    ("/P-256/issuer-name", Absent),
    ("/P-256/ocsp", Absent),
];
const PUBLIC_UNDER_WAY: Table =
    &[("/valid", Absent), ("/P-256", Empty), ("/renewal/cert", Empty), ("/renewal/last", Absent)];

#[track_caller]
fn assert_keys(what: &str, found: &Value, table: Table) {
    let is_wrong = |(pointer, kind): &&(&str, Kind)| !kind.is_of(found.pointer(pointer));
    let wrong: Vec<_> = table.iter().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "{what}: {wrong:?} in {found:#}");
}

/// `renewed.test` is live, stapled and advised, `busy.test` waits for a command, and the CA refuses
/// `refused.invalid`.
pub fn three_domains(lab: &Lab) -> (Pebble, Responder, Httpd) {
    let responder = Responder::start(lab, Act::Good(3600));
    let pebble = Authority::new(lab)
        .ocsp(lab, &responder.url())
        .set("domainBlocklist", json!(["refused.invalid"]))
        .start();
    let (cert, key) = pebble.issuer();
    responder.sign_as(Signers::of(cert, key));
    let hang = Command::new(lab, "hang", "[ $1 = teardown ] || exec sleep 50");
    let httpd = Config::with_ca(lab, &pebble.authority)
        .line(
            "MDPrivateKeys P-256\nMDRetryDelay 1h\nMDCheckInterval 1s\nMDStapling on\nMDServerStatus on\nMDCertificateStatus on",
        )
        .line("MDomain renewed.test\nMDomain refused.invalid")
        .line(&format!(
            "<MDomain busy.test>\nMDCAChallenges dns-01\nMDChallengeDns01 {}\n</MDomain>",
            hang.line
        ))
        .line("<Location /metrics>\nSetHandler md-metrics\n</Location>")
        .site("renewed.test", &[])
        .site("refused.invalid", &[])
        .site("busy.test", &[])
        .start();
    (pebble, responder, httpd)
}

#[test]
fn every_promised_key_is_there_with_its_type() {
    let Some(lab) = open_lab!() else { return };
    let (_pebble, _responder, httpd) = three_domains(&lab);
    // Children may be behind each other by a moment.
    let is_as = |name: &str, test: &dyn Fn(&Value) -> bool| {
        wait_for(name, SOON, || (0..20).all(|_| test(&httpd.md(name))).then_some(()));
    };
    is_as("refused.invalid", &|md| md["renewal"]["last"]["problem"].is_string());
    is_as("busy.test", &|md| {
        md["renewal"]["last"]["activity"].as_str().is_some_and(|at| at.contains("dns-01"))
    });
    is_as("renewed.test", &|md| md["cert"]["P-256"]["ocsp"]["valid"].is_object());
    is_as("renewed.test", &|md| md["ari"].is_object());
    httpd.wait_live("renewed.test", httpd.md("renewed.test")["activation"]["serial"].as_str().unwrap());
    let all = httpd.mds();
    assert_keys("all", &all, &[("/version", Text)]);
    for (name, own) in [("renewed.test", RENEWED), ("busy.test", IN_RENEWAL), ("refused.invalid", IN_ERROR)] {
        let mds = all["managed-domains"].as_array().unwrap();
        let listed = mds.iter().find(|md| md["name"] == name).unwrap();
        let single = httpd.md(name);
        for md in [listed, &single] {
            assert_keys(name, md, ALWAYS);
            assert_keys(name, md, own);
        }
        assert_keys(name, listed, NO_LOG);
        if name == "renewed.test" {
            assert_keys(name, &single["cert"], CERTIFICATE);
        } else {
            assert_keys(name, &single, LOG);
            assert_keys(name, &httpd.https_get(name, "/.httpd/certificate-status").json(), PUBLIC_UNDER_WAY);
        }
    }
    let public = httpd.https_get("renewed.test", "/.httpd/certificate-status");
    assert_keys("public", &public.json(), PUBLIC);
    let metrics = httpd.get("main.test", "/metrics");
    assert_metrics(&metrics.body);
    for answer in [public, metrics] {
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    }
}

/// Every metric, with its labels and the family it is of.
#[track_caller]
fn assert_metrics(text: &str) {
    for (family, kind, sample) in [
        ("md_certificate_not_after_seconds", "gauge", r#"{domain="renewed.test",key="P-256"} "#),
        ("md_certificate_not_before_seconds", "gauge", r#"{domain="renewed.test",key="P-256"} "#),
        ("md_renew_at_seconds", "gauge", r#"{domain="renewed.test"} "#),
        ("md_renewal_errors", "gauge", r#"{domain="refused.invalid"} 1"#),
        ("md_renewal_ready", "gauge", r#"{domain="busy.test"} 0"#),
        ("md_state", "gauge", r#"{domain="renewed.test"} 2"#),
        ("md_live", "gauge", r#"{domain="renewed.test"} 1"#),
        ("md_ocsp_next_update_seconds", "gauge", r#"{domain="renewed.test",serial=""#),
        ("md_ocsp_status", "gauge", r#"{domain="renewed.test",serial=""#),
        ("md_ocsp_errors", "gauge", r#"{domain="renewed.test",serial=""#),
        ("md_renewals", "counter", "_total 1"),
        ("md_renewal_failures", "counter", r#"_total{problem="rejectedIdentifier"} 1"#),
        ("md_ocsp_requests", "counter", r#"_total{result="answered"} "#),
        ("md_ca_requests", "counter", r#"_total{result="answered"} "#),
        ("md_ca_request_seconds", "histogram", r#"_bucket{le="+Inf"} "#),
        ("md_ca_request_seconds", "histogram", "_count "),
        ("md_ca_request_seconds", "histogram", "_sum "),
    ] {
        assert!(text.contains(&format!("# TYPE {family} {kind}\n")), "{family}: {text}");
        let is_it = |line: &str| line.starts_with(&format!("{family}{sample}"));
        assert!(text.lines().any(is_it), "{family}{sample}: {text}");
    }
}
