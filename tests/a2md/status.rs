// SPDX-License-Identifier: Apache-2.0
//! `a2md status` beside a running httpd, on its store alone, and from its md-status.

use super::call::{a2md, called, command};
use openssl::pkey::Id;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use support::issuer::{self, Issuer};
use support::{Config, Lab, SOON, module, open_lab, wait_for};

const DAY: i64 = 86_400;

/// Its name, the days from and until which its certificate is valid, directives, and the word for it.
type Case = (&'static str, Option<(i64, i64)>, &'static str, &'static str);

/// Domains in all situations.
const CASES: [Case; 9] = [
    ("ok.test", Some((-5, 85)), "MDRenewMode auto", "ok"),
    ("renewing.test", Some((-70, 20)), "", "renewing"),
    ("failing.test", Some((-70, 20)), "MDCertificateAuthority https://127.0.0.1:1/dir", "renewal-failing"),
    ("soon.test", Some((-86, 4)), "MDRenewMode manual", "expires-soon"),
    ("expired.test", Some((-95, -5)), "", "expired"),
    ("none.test", None, "MDRenewMode manual", "no-certificate"),
    ("manual.test", Some((-5, 85)), "MDRenewMode manual", "not-renewed"),
    ("unused.test", Some((-5, 85)), "", "unused"),
    ("plain.test", Some((-5, 85)), "", "unused"),
];

fn config(lab: &Lab, authority: &str) -> Config {
    let issuer = Issuer::new();
    let config = Config::new(lab).line("MDServerStatus on\nMDPrivateKeys P-256\nMDRetryDelay 1h");
    let config = config.line(&format!("MDCertificateAuthority {authority}"));
    let config = config.line("<Location /metrics>\nSetHandler md-metrics\n</Location>");
    CASES.iter().fold(config, |config, (name, times, line, _)| {
        if let Some((from, until)) = times {
            let set = issuer.issue_for(&[name], Id::EC, from * DAY, until * DAY);
            issuer::install(&config.store(), &[name], &[&set]);
        }
        let config = config.line(&format!("<MDomain {name}>\n{line}\n</MDomain>"));
        match *name {
            "unused.test" => config,
            "plain.test" => {
                config.line(&format!("<VirtualHost *:{}>\nServerName {name}\n</VirtualHost>", lab.http))
            }
            _ => config.site(name, &[]),
        }
    })
}

fn words(document: &Value) -> Vec<(String, String)> {
    let text = |md: &Value, key: &str| md[key].as_str().unwrap_or_default().to_string();
    let mds = document["managed-domains"].as_array().unwrap_or_else(|| panic!("{document}"));
    mds.iter().map(|md| (text(md, "name"), text(md, "status"))).collect()
}

#[test]
fn the_word_for_a_domain_is_that_of_all_pages() {
    let Some(lab) = open_lab!() else { return };
    if module::is_c(&module::under_test()) {
        return;
    }
    // A CA that takes connections and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = config(&lab, &format!("https://{}/dir", mute.local_addr().unwrap()));
    let httpd = config.clone().start();
    wait_for("every word in md-status", SOON, || {
        CASES.iter().all(|(name, .., word)| httpd.md(name)["status"] == *word).then_some(())
    });
    let metrics = wait_for("every word in the metrics", SOON, || {
        let metrics = httpd.get("main.test", "/metrics").body;
        let sample =
            |(name, word): (&str, &str)| format!("md_status{{domain=\"{name}\",status=\"{word}\"}} 1");
        CASES.iter().all(|(name, .., word)| metrics.contains(&sample((name, word)))).then_some(metrics)
    });
    assert!(!metrics.is_empty());
    let store = config.store().display().to_string();
    let control = config.control();
    let from = format!("http://127.0.0.1:{}/md-status", lab.http);
    let expected = words(&httpd.mds());
    assert_eq!(expected.len(), CASES.len());
    for arguments in
        [&["status", "-j", "-d", &store, "--httpd", &control][..], &["status", "-j", "--from", &from]]
    {
        let called = a2md(arguments);
        assert_eq!(called.code, 0, "{}", called.err);
        assert_eq!(words(&called.json()), expected, "{arguments:?}");
    }
    // The keys of both are the same ones, but for what only processes know.
    let document = a2md(&["status", "-j", "-d", &store, "--httpd", &control]).json();
    assert_eq!((document["schema"].as_i64(), document["store"].as_str()), (Some(1), Some(store.as_str())));
    let (ours, theirs) = (&document["managed-domains"], &httpd.mds()["managed-domains"]);
    for (ours, theirs) in ours.as_array().unwrap().iter().zip(theirs.as_array().unwrap()) {
        for key in ["name", "domains", "cert", "ca", "state", "renew-mode", "watched", "renew-at", "hosts"] {
            // A renewal that is due since now.
            if key != "renew-at" || theirs["renew"].is_null() {
                assert_eq!(ours[key], theirs[key], "{}: {key}", ours["name"]);
            }
        }
    }
    // People see the worst first, with the reason.
    let text = a2md(&["status", "-d", &store, "--httpd", &control]).out;
    let line =
        |name: &str| text.lines().position(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
    let places =
        ["none.test", "expired.test", "soon.test", "failing.test", "renewing.test", "unused.test", "ok.test"];
    assert!(places.map(line).is_sorted(), "{text}");
    assert!(
        text.contains("9 domains: 1 no certificate, 1 expired, 1 expires soon, 1 renewal failing"),
        "{text}"
    );
    let one = a2md(&["status", "failing.test", "-d", &store, "--httpd", &control]).out;
    assert!(one.starts_with("failing.test: renewal failing\n") && one.contains("  last error"), "{one}");
    assert!(one.contains("127.0.0.1:1") && one.contains("  certificate   P-256, serial "), "{one}");
}

#[test]
fn without_httpd_the_store_alone_is_shown() {
    let Some(lab) = open_lab!() else { return };
    if module::is_c(&module::under_test()) {
        return;
    }
    let config = config(&lab, "https://127.0.0.1:1/dir");
    // A start makes the store.
    drop(config.clone().line("MDInitialDelay 1d").start().stop());
    let store = config.store().display().to_string();
    let mut call = command(&["status", "-j", "-d", &store]);
    call.env("PATH", "/nonexistent").env("MD_HTTPD", "");
    let document = called(call).json();
    let word =
        |name: &str| words(&document).into_iter().find(|(found, _)| found == name).map(|(_, word)| word);
    for (name, .., expected) in
        CASES.iter().filter(|(.., word)| *word != "unused" && *word != "renewal-failing")
    {
        assert_eq!(word(name).as_deref(), Some(*expected), "{name}");
    }
    let called = a2md(&["status", "nobody.test", "-d", &store]);
    assert_eq!(called.code, 1);
    assert!(called.err.contains("no managed domain has the name 'nobody.test'"), "{}", called.err);
}

#[test]
fn what_is_in_no_configuration_any_more_is_named_apart() {
    let Some(lab) = open_lab!() else { return };
    if module::is_c(&module::under_test()) {
        return;
    }
    let config = Config::new(&lab).line("MDInitialDelay 1d").line("MDomain a.test").site("a.test", &[]);
    let with_other = config.clone().line("MDomain old.test");
    drop(with_other.start().stop());
    let (store, control) = (config.store().display().to_string(), config.control());
    let arguments = ["-d", &store, "--httpd", &control];
    let called = a2md(&[&["status", "-j"], &arguments[..]].concat());
    let document = called.json();
    assert_eq!(words(&document), [("a.test".to_string(), "no-certificate".to_string())]);
    assert_eq!(document["not-configured"], json!(["old.test"]));
    let text = a2md(&[&["status"], &arguments[..]].concat()).out;
    assert!(text.contains("in no configuration any more: old.test"), "{text}");
}

/// A job as any process of httpd's user can write it.
fn plant(store: &Path, name: &str) {
    let job = json!({
        "name": name, "finished": false, "errors": 3, "next-run": "Thu, 29 Aug 2030 16:06:35 GMT",
        "last": {"status": 22, "problem": "p\u{1b}[2J", "detail": "d\u{1b}]0;title\u{7}\u{202e}\u{9b}2J"},
        "waiting": {"what": "w\u{1b}[2J", "since": "Thu, 29 Aug 2019 16:06:35 GMT", "records": ["r\u{1b}c"]},
        "log": {"entries": []},
    });
    issuer::put_new(&store.join("staging").join(name), "job.json", job.to_string().as_bytes());
}

#[track_caller]
fn assert_harmless(text: &str) {
    let is_harmful = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.contains(is_harmful), "{text:?}");
}

#[test]
fn nothing_that_others_wrote_steers_a_terminal() {
    let Some(lab) = open_lab!() else { return };
    if module::is_c(&module::under_test()) {
        return;
    }
    let config = Config::new(&lab).line("MDInitialDelay 1d").line("MDomain a.test").site("a.test", &[]);
    drop(config.clone().start().stop());
    plant(&config.store(), "a.test");
    let md = json!({
        "name": "a.test", "domains": ["a.test", "x\u{1b}[2J.test"], "profile": "\u{1b}[2J",
        "ca": {"urls": ["https://\u{1b}[2J/"], "url": "\u{1b}]0;x\u{7}"},
    });
    issuer::put(&config.store().join("domains/a.test"), "md.json", md.to_string().as_bytes());
    let store = config.store().display().to_string();
    let server = hostile_server(&json!({"managed-domains": [
        {"name": "a.test\u{1b}[2J", "domains": ["\u{1b}[2J"], "status": "ok\u{1b}[31m",
         "ca": {"url": "\u{1b}[2J"}, "cert": {"k\u{1b}[2J": {"issuer-name": "\u{1b}[2J", "serial": "\u{202e}",
         "valid": {"from": "Thu, 29 Aug 2019 16:06:35 GMT", "until": "Thu, 29 Aug 2030 16:06:35 GMT"}}},
         "hosts": [{"name": "\u{1b}c", "served": "\u{9b}2J"}], "activation": {"mode": "\u{1b}[2J", "workers": 3},
         "renewal": {"errors": 1, "last": {"detail": "\u{1b}[2J"}, "next": {"action": "\u{1b}[2J"}}},
        {"name": {"not": "a text"}}, 7, null,
    ]}));
    for command in ["status", "check"] {
        for source in [["-d", store.as_str()], ["--from", server.as_str()]] {
            for more in [&[][..], &["-j"], &["a.test"]] {
                let called = a2md(&[&[command], &source[..], more].concat());
                assert!([0, 1, 2, 3].contains(&called.code), "{}", called.err);
                assert_harmless(&called.out);
                assert_harmless(&called.err);
            }
        }
    }
    let called = a2md(&["status", "-d", &store]);
    assert!(called.out.contains("a.test") && called.out.contains('d'), "{}", called.out);
    // One line, whatever the texts are.
    assert_eq!(a2md(&["check", "--from", &server]).out.matches('\n').count(), 1);
}

/// The URL of a server that answers every request with this document, as long as the tests run.
fn hostile_server(document: &Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let body = document.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    format!("http://{address}/md-status")
}

#[test]
fn a_server_that_has_no_md_status_is_told() {
    let url = hostile_server(&json!({"hello": "world"}));
    let called = a2md(&["status", "-j", "--from", &url]);
    assert_eq!(called.code, 1);
    assert!(
        called.json()["error"].as_str().unwrap().ends_with("the answer is no md-status"),
        "{}",
        called.out
    );
    let called = a2md(&["status", "--from", "http://127.0.0.1:1/md-status"]);
    assert!(called.code == 1 && called.err.contains("127.0.0.1:1"), "{}", called.err);
}

#[test]
fn the_c_module_s_md_status_gets_its_words_from_the_same_facts() {
    let entry = |name: &str, until: &str, more: Value| {
        let mut entry = json!({
            "name": name, "domains": [name], "renew-mode": 1, "warn-window": "10%", "renew": false,
            "cert": {"valid": {"from": "Thu, 29 Aug 2019 16:06:35 GMT", "until": until}},
        });
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    };
    let far = "Thu, 29 Aug 2999 16:06:35 GMT";
    let url = hostile_server(&json!({"version": "2.6.11", "managed-domains": [
        entry("a.test", far, json!({})),
        entry("b.test", "Thu, 29 Aug 2020 16:06:35 GMT", json!({})),
        entry("c.test", far, json!({"renewal": {"errors": 2, "last": {"detail": "why"}}})),
        entry("d.test", far, json!({"renew": true})),
        entry("e.test", far, json!({"renew-mode": 0})),
        {"name": "f.test", "domains": ["f.test"], "cert": {}},
    ]}));
    let words: Vec<String> =
        words(&a2md(&["status", "-j", "--from", &url]).json()).into_iter().map(|(_, word)| word).collect();
    assert_eq!(words, ["ok", "expired", "renewal-failing", "renewing", "not-renewed", "no-certificate"]);
}

#[test]
fn changes_are_printed_while_it_watches() {
    let Some(lab) = open_lab!() else { return };
    if module::is_c(&module::under_test()) {
        return;
    }
    let config = Config::new(&lab).line("MDInitialDelay 1d").line("MDomain a.test").site("a.test", &[]);
    drop(config.clone().start().stop());
    let store = config.store().display().to_string();
    let mut child = command(&["status", "--watch", "-d", &store]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    let first = lines.next().unwrap();
    assert!(first.contains(" a.test: no certificate"), "{first}");
    plant(&config.store(), "a.test");
    let second = lines.next().unwrap();
    assert!(second.contains(" a.test: no certificate; look up the record again; d"), "{second}");
    fs::remove_dir_all(config.store().join("domains/a.test")).unwrap();
    assert!(lines.next().unwrap().ends_with(" a.test: gone"));
    child.kill().unwrap();
    child.wait().unwrap();
}
