// SPDX-License-Identifier: Apache-2.0
//! `a2md doctor`: planted faults, each found by its token, and set-ups in order, of which nothing is said.

mod authority;
mod configuration;
mod store;

use super::call::a2md;
use mod_md::crypto::{Chain, PrivateKey};
use mod_md::model::Md;
use mod_md::store::{Group, StartStore};
use serde_json::Value;
use support::issuer::Set;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Puts a set with its settings into a store.
fn put(store: &StartStore, group: Group, md: &Md, set: &Set) {
    let key = PrivateKey::from_plain_pem(&set.key_pem()).unwrap();
    let chain = Chain::from_pem(&set.chain_pem()).unwrap();
    store.write_json(group, &md.name, "md.json", &md.to_json()).unwrap();
    store.write_key(group, &md.name, "privkey.p-256.pem", &key).unwrap();
    store.write_chain(group, &md.name, "pubcert.p-256.pem", &chain).unwrap();
}

/// The findings of a call, which ends with 1 if one of them fails and else with 0.
#[track_caller]
fn doctor(arguments: &[&str]) -> Vec<Value> {
    let called = a2md(&[&["doctor", "-q", "-j"], arguments].concat());
    let document = called.json();
    assert_eq!(document["schema"], 1, "{document}");
    let fails = document["counts"]["fails"].as_u64().unwrap();
    assert_eq!(called.code, i32::from(fails > 0), "{document:#}\n{}", called.err);
    let findings = document["findings"].as_array().unwrap().clone();
    assert_documented(&findings);
    findings
}

/// docs/a2md.md has the token of each check.
#[track_caller]
fn assert_documented(findings: &[Value]) {
    const PAGE: &str = include_str!("../../../docs/a2md.md");
    for finding in without_reached(findings.to_vec()) {
        let check = finding["check"].as_str().unwrap();
        assert!(PAGE.contains(&format!("`{check}`")), "{check} is not in docs/a2md.md");
    }
}

fn of<'a>(findings: &'a [Value], verdict: &str) -> Vec<&'a str> {
    let found = findings.iter().filter(|finding| finding["verdict"] == verdict);
    found.map(|finding| finding["check"].as_str().unwrap()).collect()
}

/// Those that are not about the names themselves, which other tests look at.
fn without_reached(mut findings: Vec<Value>) -> Vec<Value> {
    const REACHED: [&str; 16] = [
        "a-nowhere",
        "aaaa-nowhere",
        "caa",
        "challenge-",
        "dns-01",
        "dns-persist-01",
        "http-01",
        "name-",
        "no-http-answer",
        "no-route",
        "not-configured",
        "other-server",
        "port-",
        "redirect-",
        "tls-alpn-01",
        "token-",
    ];
    findings.retain(|finding| {
        let check = finding["check"].as_str().unwrap();
        !REACHED.iter().any(|token| check.starts_with(token))
    });
    findings
}

/// Nothing fails and everything can be told.
#[track_caller]
fn assert_healthy(findings: &[Value]) {
    let wrong: Vec<_> = findings.iter().filter(|finding| finding["verdict"] != "works").collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(!findings.is_empty());
}

/// A finding has this token and verdict, these words in its evidence or subject, and a remedy. No other one fails,
/// but those that `also` names.
#[track_caller]
fn assert_found(findings: &[Value], check: &str, verdict: &str, words: &[&str], also: &[&str]) {
    let is_it = |finding: &&Value| finding["check"] == check && finding["verdict"] == verdict;
    let all: Vec<_> = findings.iter().filter(is_it).collect();
    let text = |finding: &Value| format!("{} {}", finding["subject"], finding["evidence"]);
    let has_words = |finding: &&&Value| words.iter().all(|word| text(finding).contains(word));
    let found = all.iter().find(has_words);
    let found = found.unwrap_or_else(|| panic!("no {check} with {words:?}: {findings:#?}"));
    assert!(found["remedy"].as_str().is_some_and(|remedy| remedy.len() > 10), "{found:#}");
    let strange = of(findings, "fails").into_iter().find(|other| *other != check && !also.contains(other));
    assert_eq!(strange, None, "{check}: {findings:#?}");
}
