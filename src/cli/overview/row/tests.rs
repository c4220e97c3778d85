// SPDX-License-Identifier: Apache-2.0
//! Entries of this module, of the C module and of strangers.

use super::*;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

fn entry() -> Value {
    let valid = |until: &str| json!({"from": "Fri, 01 Jan 2027 00:00:00 GMT", "until": until});
    let cert = |until: &str, status: &str, end: &str| {
        json!({
            "issuer-name": "CN=CA", "serial": "01", "valid": valid(until), "ocsp": {"status": status, "valid": valid(end)},
        })
    };
    json!({
        "name": "a.test", "domains": ["a.test", "*.b.test"], "status": "renewal-failing", "stapling": true,
        "ca": {"url": "https://acme-v02.api.letsencrypt.org/directory"},
        "cert": {
            "rsa": cert("Wed, 31 Mar 2027 00:00:00 GMT", "good", "Sat, 23 Jan 2027 00:00:00 GMT"),
            "P-256": cert("Thu, 01 Apr 2027 00:00:00 GMT", "good", "Fri, 22 Jan 2027 00:00:00 GMT"),
            "valid": valid("Wed, 31 Mar 2027 00:00:00 GMT"),
        },
        "renew-at": "Mon, 01 Mar 2027 00:00:00 GMT",
        "hosts": [{"name": "a.test", "served": "md"}],
        "activation": {"mode": "live", "workers": 3},
        "renewal": {
            "errors": 2, "last": {"status": 22, "detail": "no route"},
            "next": {"action": "retry", "at": "Sat, 16 Jan 2027 00:00:00 GMT"},
        },
    })
}

#[test]
fn an_entry_is_read_whole() {
    let date = |text: &str| Timestamp::parse_http_date(text).unwrap();
    let row = Row::of(&entry(), NOW);
    assert_eq!(
        (row.name.as_str(), row.standing, row.status.as_str()),
        ("a.test", Some(Standing::RenewalFailing), "renewal failing")
    );
    assert_eq!(row.valid.unwrap().1, date("Wed, 31 Mar 2027 00:00:00 GMT"));
    let keys: Vec<&str> = row.certificates.iter().map(|cert| cert.key.as_str()).collect();
    assert_eq!(keys, ["rsa", "P-256"]);
    assert_eq!(row.ca.as_ref().unwrap().0, "LetsEncrypt");
    assert_eq!(
        row.next.as_ref().unwrap(),
        &("try again".to_string(), Some(date("Sat, 16 Jan 2027 00:00:00 GMT")))
    );
    assert_eq!((row.errors, row.last_error.as_deref()), (2, Some("no route")));
    // The one that ends first.
    assert_eq!(row.stapling, Stapling::Good(date("Fri, 22 Jan 2027 00:00:00 GMT")));
    assert_eq!(row.activation, Some(("live".into(), 3)));
    for (name, is) in [("a.test", true), ("x.b.test", true), ("b.test", false), ("A.test", true)] {
        assert_eq!(has_name(&entry(), name), is, "{name}");
    }
}

#[test]
fn the_worst_response_of_all_certificates_counts() {
    let with = |key: &str, ocsp: Value| {
        let mut entry = entry();
        entry["cert"][key]["ocsp"] = ocsp;
        Row::of(&entry, NOW).stapling
    };
    assert_eq!(with("rsa", json!({"status": "revoked"})), Stapling::Revoked);
    assert_eq!(with("rsa", json!({"status": "unknown"})), Stapling::None);
    let past = json!({"from": "Fri, 01 Jan 2027 00:00:00 GMT", "until": "Sat, 02 Jan 2027 00:00:00 GMT"});
    assert_eq!(with("P-256", json!({"status": "good", "valid": past})), Stapling::None);
}

/// Values of any form under the keys that are read.
fn hostile() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} 16:06:35 GMT".prop_map(Value::from),
    ];
    let keys = [
        "name",
        "domains",
        "status",
        "cert",
        "valid",
        "from",
        "until",
        "renewal",
        "last",
        "detail",
        "errors",
        "next",
        "action",
        "at",
        "waiting",
        "records",
        "ca",
        "url",
        "urls",
        "hosts",
        "served",
        "activation",
        "mode",
        "workers",
        "ocsp",
        "rsa",
        "warn-window",
        "renew-at",
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((proptest::sample::select(keys.to_vec()), inner), 0..8)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_string(), value)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn entries_of_any_form_are_read_without_harm(entry in hostile()) {
        let entry = with_status(entry, NOW);
        let row = Row::of(&entry, NOW);
        prop_assert!(row.name.len() <= TEXT_MAX && !row.name.contains(char::is_control));
        prop_assert!(row.rank() <= 8);
        has_name(&entry, "a.test");
    }
}
