// SPDX-License-Identifier: Apache-2.0
//! `a2md check`: its line and its exit code.

use super::call::a2md;
use openssl::pkey::Id;
use serde_json::json;
use support::issuer::{self, Issuer};
use support::{Config, module, open_lab};

const DAY: i64 = 86_400;

#[test]
fn each_situation_has_its_exit_code() {
    let Some(lab) = open_lab!() else { return };
    if module::is_c(&module::under_test()) {
        return;
    }
    let issuer = Issuer::new();
    let config = Config::new(&lab).line("MDInitialDelay 1d\nMDPrivateKeys P-256");
    // In thousandths of a day: certificates of six days, too.
    let cases = [
        ("new.test", Some((-5000, 85_000)), 0),
        ("late.test", Some((-75_000, 15_000)), 1),
        ("soon.test", Some((-82_000, 8000)), 2),
        ("expired.test", Some((-95_000, -5000)), 2),
        ("none.test", None, 2),
        ("short-new.test", Some((-2000, 4000)), 0),
        ("short-late.test", Some((-5000, 1000)), 1),
        ("short-soon.test", Some((-5500, 500)), 2),
    ];
    let config = cases.iter().fold(config, |config, (name, times, _)| {
        if let Some((from, until)) = times {
            let set = issuer.issue_for(&[name], Id::EC, from * DAY / 1000, until * DAY / 1000);
            issuer::install(&config.store(), &[name], &[&set]);
        }
        config.line(&format!("MDomain {name}")).site(name, &[])
    });
    drop(config.clone().start().stop());
    let store = config.store().display().to_string();
    for (name, _, code) in cases {
        let called = a2md(&["check", name, "-d", &store]);
        let word = ["OK", "WARNING", "CRITICAL"][usize::try_from(code).unwrap()];
        assert_eq!(called.code, code, "{name}: {}{}", called.out, called.err);
        assert!(called.out.starts_with(&format!("MD {word} - ")) && called.out.contains(" | domains=1 ok="));
        assert_eq!(called.out.matches('\n').count(), 1, "{}", called.out);
    }
    let all = a2md(&["check", "-d", &store]);
    assert_eq!(all.code, 2);
    let text = all.out.split(" | ").next().unwrap();
    assert!(text.contains("expired.test: expired") && text.contains(", and 1 more"), "{text}");
    assert!(all.out.contains("domains=8 ok=2 warning=2 critical=4 unknown=0 soonest=-"), "{}", all.out);
    let document = a2md(&["check", "-j", "-d", &store]).json();
    assert_eq!((document["status"].as_str(), document["code"].as_i64()), (Some("CRITICAL"), Some(2)));
    // Limits of the caller's.
    for (arguments, code) in [
        (["new.test", "--warn", "90d", "--critical", "1d"], 1),
        (["new.test", "--warn", "99%", "--critical", "96%"], 2),
        (["soon.test", "--warn", "7", "--critical", "36h"], 1),
    ] {
        let called = a2md(&[&["check", "-d", &store], &arguments[..]].concat());
        assert_eq!(called.code, code, "{arguments:?}: {}", called.out);
    }
    // A renewal that fails, as it says itself.
    let job = serde_json::json!({"name": "new.test", "finished": false, "errors": 3,
        "last": {"status": 22, "detail": "the CA | said no"}, "log": {"entries": []}});
    issuer::put_new(&config.store().join("staging/new.test"), "job.json", job.to_string().as_bytes());
    let called = a2md(&["check", "new.test", "-d", &store]);
    assert_eq!(called.code, 1, "{}", called.out);
    assert!(
        called.out.starts_with("MD WARNING - new.test: renewal failing (the CA / said no) | "),
        "{}",
        called.out
    );
}

#[test]
fn whatever_keeps_it_from_telling_is_unknown() {
    for arguments in [
        &["check", "--nonsense"][..],
        &["check", "--warn"],
        &["check", "--warn", "soon", "-d", "/nonexistent"],
        &["check", "--warn", "100%", "-d", "/nonexistent"],
        &["check", "-d", "/nonexistent"],
        &["check", "nobody.test", "-d", "/nonexistent"],
        &["check", "--from", "http://127.0.0.1:1/md-status"],
        &["check", "--from", "nonsense"],
        &["check", "-d", "/nonexistent", "--httpd", "/nonexistent/apachectl"],
    ] {
        let called = a2md(arguments);
        assert_eq!(called.code, 3, "{arguments:?}: {}{}", called.out, called.err);
        assert!(called.out.starts_with("MD UNKNOWN - "), "{arguments:?}: {}", called.out);
        assert_eq!(called.out.matches('\n').count(), 1, "{}", called.out);
    }
    let called = a2md(&["check", "-j", "-d", "/nonexistent"]);
    assert_eq!(called.code, 3);
    assert!(called.json()["error"].is_string());
    assert_eq!((&called.json()["status"], &called.json()["code"]), (&json!("UNKNOWN"), &json!(3)));
}
