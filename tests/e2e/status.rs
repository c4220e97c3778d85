// SPDX-License-Identifier: Apache-2.0
//! md-status: the output for monitors and scripts, from the first start to the certificate in use.

use std::fs;
use std::os::unix::fs::chown;

use serde_json::{Value, json};

use support::httpd::unprivileged_user;
use support::{Authority, Config, Httpd, Lab, Need, Pebble, SOON, http, module, open_lab, wait_for};

fn two_domains(lab: &Lab, pebble: &Pebble) -> Config {
    Config::with_ca(lab, &pebble.authority)
        .line("MDomain two.test\nMDomain one.test www.one.test")
        .site("two.test", &[])
        .site("one.test", &["www.one.test"])
}

/// Asserts that `found` has everything of `expected`; it may have more.
#[track_caller]
fn assert_has(found: &Value, expected: &Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&found[key], value, "`{key}` of {found:#}");
    }
}

#[track_caller]
fn assert_date(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("no date: {value}"));
    assert!(mod_md::time::Timestamp::parse_http_date(text).is_some() && text.ends_with(" GMT"), "{text}");
}

#[test]
fn md_status_lists_all_domains_by_name() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let httpd = two_domains(&lab, &pebble).start();
    let all = httpd.mds();
    assert!(all["version"].as_str().unwrap().split('.').count() >= 3, "{all:#}");
    let names: Vec<_> = all["managed-domains"].as_array().unwrap().iter().map(|md| &md["name"]).collect();
    assert_eq!(names, ["one.test", "two.test"]);
}

#[test]
fn md_status_shows_a_domain_from_its_first_start_to_its_certificate() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = two_domains(&lab, &pebble).at_restarts().start();
    let configured = json!({
        "name": "one.test",
        "domains": ["one.test", "www.one.test"],
        "contacts": ["mailto:admin@example.test"],
        "transitive": 1,
        "renew-mode": 1,
        "renew-window": "33%",
        "warn-window": "10%",
        "must-staple": false,
        "stapling": false,
        "proto": { "acme-tls/1": [] },
        "ari-renewals": true,
        "watched": true,
    });
    let ca = json!({ "proto": "ACME", "urls": [pebble.authority.directory()], "agreement": "accepted" });

    let first = httpd.md("one.test");
    assert_has(&first, &configured);
    assert_has(&first["ca"], &ca);
    assert_has(
        &first,
        &json!({ "state": 1, "state-descr": "certificate(rsa) is missing", "renew": true, "cert": {} }),
    );
    assert_date(&first["renew-at"]);

    httpd.wait_staged("one.test");
    let staged = httpd.md("one.test");
    assert_eq!(staged["state"], 1, "staged is not in use");
    assert_has(&staged["renewal"], &json!({ "name": "one.test", "finished": true, "errors": 0 }));
    assert_eq!(staged["renewal"]["last"]["status"], 0);
    for date in ["last-run", "valid-from"] {
        assert_date(&staged["renewal"][date]);
    }
    let certificate = &staged["renewal"]["cert"]["rsa"];

    httpd.graceful();
    let active = httpd.md("one.test");
    assert_has(&active, &configured);
    assert_has(&active["ca"], &ca);
    assert_eq!(active["ca"]["url"], pebble.authority.directory().as_str());
    assert_eq!(active["state"], 2);
    for absent in ["renewal", "renew", "state-descr"] {
        assert!(active.get(absent).is_none(), "`{absent}` in {active:#}");
    }
    assert_eq!(&active["cert"]["rsa"], certificate);
    assert_eq!(active["cert"]["valid"], certificate["valid"]);
    assert_served_is(&httpd, &pebble, certificate);
}

/// What md-status says of the certificate is what a client sees of it.
#[track_caller]
fn assert_served_is(httpd: &Httpd, pebble: &Pebble, certificate: &Value) {
    let served = httpd.served("one.test", pebble, &[]);
    assert_eq!(certificate["serial"], served.serial().as_str());
    let digest = served.leaf().digest(openssl::hash::MessageDigest::sha256()).unwrap();
    let fingerprint = data_encoding::HEXLOWER.encode(&digest);
    assert_eq!(certificate["sha256-fingerprint"], fingerprint.as_str());
    assert!(certificate["issuer-name"].as_str().unwrap().contains(&served.issuer()), "{certificate:#}");
    for (key, time) in [("from", served.leaf().not_before()), ("until", served.leaf().not_after())] {
        let said = certificate["valid"][key].as_str().unwrap();
        let said = mod_md::time::Timestamp::parse_http_date(said).unwrap();
        assert!(openssl::asn1::Asn1Time::from_unix(said.unix()).unwrap() == *time, "{key}: {time}");
    }
    assert!(certificate["ari-cert-id"].as_str().unwrap().contains('.'), "{certificate:#}");
}

#[test]
fn the_log_of_a_renewal_stands_in_the_status_of_a_single_domain_only() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let httpd = two_domains(&lab, &pebble).start();
    // The set is complete on disk before any command hears of it, so this entry comes a moment later.
    let types = wait_for("the last entry of a successful renewal", SOON, || {
        let single = httpd.md("one.test");
        let entries = single["renewal"]["log"]["entries"].as_array()?;
        let types: Vec<_> = entries.iter().filter_map(|e| e["type"].as_str().map(String::from)).collect();
        types.iter().any(|kind| kind == "message-renewed").then_some(types)
    });
    for expected in ["starting", "progress", "finished", "message-renewed"] {
        assert!(types.iter().any(|kind| kind == expected), "`{expected}` in {types:?}");
    }
    let position = |wanted: &str| types.iter().position(|kind| kind == wanted);
    assert!(position("message-renewed") < position("starting"), "newest first: {types:?}");
    let all = httpd.mds();
    assert!(all["managed-domains"][0]["renewal"].is_object());
    assert!(all["managed-domains"][0]["renewal"].get("log").is_none(), "{all:#}");
}

#[test]
fn what_cannot_be_saved_of_a_renewal_is_told_until_it_can() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    // Nobody listens there.
    let authority = Authority::new(&lab);
    let config =
        Config::with_ca(&lab, &authority).line("MDRetryDelay 1s\nMDCheckInterval 1s\nMDServerStatus on");
    let config = config.line("<Location /md-metrics>\nSetHandler md-metrics\n</Location>");
    let httpd = config.line("MDomain one.test").site("one.test", &[]).start();
    let folder = httpd.config.store().join("staging/one.test");
    wait_for("a failure", SOON, || (httpd.md("one.test")["renewal"]["errors"] == 1).then_some(()));
    assert!(httpd.md("one.test").get("renewal-unsaved").is_none());
    chown(&folder, Some(0), Some(0)).unwrap();
    let unsaved = wait_for("what cannot be saved", SOON, || {
        httpd.mds()["managed-domains"][0].get("renewal-unsaved").cloned()
    });
    // Those that the disk does not know.
    wait_for("errors of what cannot be saved", SOON, || {
        let errors = httpd.md("one.test")["renewal-unsaved"]["errors"].as_u64()?;
        let metrics = httpd.get("main.test", "/md-metrics").body;
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("md_renewal_errors{domain=\"one.test\"} "))?;
        (errors >= 3 && line.parse::<u64>().ok()? >= errors).then_some(())
    });
    assert_eq!(httpd.logged("cannot be saved").len(), 1);
    assert_has(&unsaved, &json!({ "status": 13, "status-description": "Permission denied" }));
    assert!(unsaved["detail"].as_str().unwrap().contains("may be old"), "{unsaved:#}");
    let page = httpd.get("main.test", "/server-status").body;
    assert!(page.contains("<b>Not saved[Permission denied]</b>"), "{page}");
    let user = unprivileged_user();
    chown(&folder, Some(user.uid), Some(user.gid)).unwrap();
    wait_for("what can be saved", SOON, || {
        httpd.mds()["managed-domains"][0].get("renewal-unsaved").is_none().then_some(())
    });
}

#[test]
fn a_domain_is_found_by_any_of_its_names() {
    let Some(lab) = open_lab!() else { return };
    let config = Config::new(&lab).line("MDomain one.test www.one.test *.sub.one.test\nMDRenewMode manual");
    let httpd = config.site("one.test", &[]).start();
    for name in ["one.test", "www.one.test", "WWW.one.test", "x.sub.one.test"] {
        assert_eq!(httpd.md(name)["name"], "one.test", "{name}");
    }
}

#[test]
fn an_unknown_name_is_not_found() {
    let Some(lab) = open_lab!() else { return };
    let httpd = Config::new(&lab).line("MDomain one.test\nMDRenewMode manual").site("one.test", &[]).start();
    let answer = httpd.get("main.test", "/md-status/other.test");
    assert_eq!(answer.status, 404);
    assert!(answer.json().is_object(), "{answer:?}");
}

#[test]
fn md_status_answers_where_there_is_no_document_root() {
    let Some(lab) = open_lab!() else { return };
    let pages = lab.path("pages/htdocs");
    fs::create_dir_all(&pages).unwrap();
    let config = Config::new(&lab).line("MDomain one.test\nMDRenewMode manual").site("one.test", &[]);
    let httpd = config.line(&format!("DocumentRoot {}", pages.display())).start();
    fs::remove_dir_all(lab.path("pages")).unwrap();
    assert_eq!(httpd.mds()["managed-domains"][0]["name"], "one.test");
    assert_eq!(httpd.md("one.test")["name"], "one.test");
}

#[test]
fn head_has_no_body_and_other_methods_are_not_implemented() {
    let Some(lab) = open_lab!() else { return };
    let httpd = Config::new(&lab).line("MDomain one.test\nMDRenewMode manual").site("one.test", &[]).start();
    let get = httpd.get("main.test", "/md-status");
    assert_eq!((get.status, get.header("content-type")), (200, Some("application/json")));
    assert!(get.body.starts_with("{\n  \""), "indented by two: {}", get.body);
    let length = get.body.len().to_string();
    let ask = |method: &str| http::request(lab.http, method, "main.test", "/md-status", &[]).unwrap();
    let head = ask("HEAD");
    assert_eq!(
        (head.status, head.body.as_str(), head.header("content-type")),
        (200, "", Some("application/json"))
    );
    if !module::is_c(&module::under_test()) {
        assert_eq!([&get, &head].map(|answer| answer.header("content-length")), [Some(length.as_str()); 2]);
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        assert_eq!(ask(method).status, 501, "{method}");
    }
}
