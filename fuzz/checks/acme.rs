// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever JSON an ACME server sends as one of its objects: nothing panics, no text of it
//! breaks a line of the log, no URL leads elsewhere than to a web server, lists are bounded.
#![allow(dead_code, reason = "one of the targets makes a part of the checks")]

use super::plain::{assert_line, assert_url};
use mod_md::acme::objects::{AuthorizationStatus, OrderStatus};
use mod_md::acme::order::{Poll, Step, poll_delay, step};
use mod_md::acme::{Authorization, Challenge, Directory, Error, Order, Problem};
use mod_md::http::Response;
use mod_md::time::Timestamp;
use serde_json::Value;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const URL: &str = "https://ca.test/of/the/object";
/// Entries of a list.
const LIST_MAX: usize = 200;

/// The first byte says which object the others are.
pub fn check(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let kind = kind.wrapping_sub(b'0') % 6;
    if kind == 5 {
        let media = vec![("Content-Type".to_string(), String::from_utf8_lossy(rest).into_owned())];
        return problem(&Problem::from_response(URL, &Response::new(503, media, rest.to_vec())));
    }
    let Ok(value) = serde_json::from_slice::<Value>(rest) else { return };
    match kind {
        0 => report(Directory::parse(&value).map(|found| directory(&found))),
        1 => report(Order::parse(URL, &value).map(|found| order(&found))),
        2 => report(Authorization::parse(URL, &value).map(authorization)),
        3 => report(Challenge::parse(&value).map(|found| challenge(&found, true))),
        _ => Problem::parse(&value).iter().for_each(problem),
    }
}

fn report(outcome: Result<(), Error>) {
    if let Err(error) = outcome {
        assert_line(&error.to_string());
        assert_line(&error.detail());
    }
}

pub fn directory(directory: &Directory) {
    let Directory { new_nonce, new_account, new_order, .. } = directory;
    let optional = [&directory.revoke_cert, &directory.key_change, &directory.renewal_info];
    [new_nonce, new_account, new_order]
        .into_iter()
        .chain(optional.into_iter().flatten())
        .for_each(assert_url);
    assert!(directory.profiles.len() <= LIST_MAX && directory.caa_identities.len() <= 32);
    directory.terms_of_service.iter().for_each(|terms| assert_line(terms));
    for (name, text) in &directory.profiles {
        assert_line(name);
        assert_line(text);
    }
    for name in &directory.caa_identities {
        assert_eq!(mod_md::names::normalize(name).as_ref(), Ok(name));
    }
    // Over https, nothing is left that is not.
    match directory.clone().read_from(URL) {
        Ok(read) => {
            let optional = [&read.revoke_cert, &read.key_change, &read.renewal_info];
            let all = [&read.new_nonce, &read.new_account, &read.new_order].into_iter();
            let all: Vec<&String> = all.chain(optional.into_iter().flatten()).collect();
            assert!(all.iter().all(|url| url.to_ascii_lowercase().starts_with("https:")), "{all:?}");
        }
        Err(error) => assert_line(&error.to_string()),
    }
    assert_eq!(directory.clone().read_from("http://ca.test/").ok().as_ref(), Some(directory));
}

pub fn order(order: &Order) {
    assert!(order.authorizations.len() <= LIST_MAX);
    let urls = order.authorizations.iter().chain(&order.finalize).chain(&order.certificate);
    urls.for_each(assert_url);
    assert!(order.status != OrderStatus::Ready || order.finalize.is_some());
    order.error.iter().for_each(problem);
    order.identifiers.iter().for_each(|named| assert_line(&named.value));
    let names: Vec<String> = order.identifiers.iter().map(|named| named.value.clone()).collect();
    assert!(!order.is_of_others(&names), "{names:?}");
    let known: Vec<Authorization> = order.authorizations.iter().map(|url| pending(url)).collect();
    for (known, started) in [(&[][..], &[][..]), (&known, &[]), (&known, &order.authorizations)] {
        match step(order, known, started) {
            Step::Fetch(urls) => {
                assert!(urls.iter().all(|url| order.authorizations.iter().any(|u| u == url)))
            }
            Step::SetUp(open) => assert!(open.len() <= known.len() && started.is_empty()),
            Step::Poll(Poll::Authorizations(urls)) => assert!(!urls.is_empty() && urls.len() <= known.len()),
            Step::Download(url) => assert_eq!(order.certificate.as_deref(), Some(url)),
            Step::Failed(error) => assert_line(&error.to_string()),
            Step::Poll(Poll::Order) | Step::Finalize => {}
        }
    }
    let delay = poll_delay(false, Duration::from_secs(5), order.expires, NOW);
    assert!(Duration::from_millis(100) <= delay && delay <= Duration::from_secs(600), "{delay:?}");
}

fn pending(url: &str) -> Authorization {
    Authorization {
        url: url.into(),
        status: AuthorizationStatus::Pending,
        identifier: mod_md::acme::objects::Identifier::of("a.test"),
        wildcard: false,
        challenges: Vec::new(),
    }
}

pub fn authorization(authorization: Authorization) {
    assert!(authorization.challenges.len() <= LIST_MAX);
    let is_pending = authorization.status == AuthorizationStatus::Pending;
    authorization.challenges.iter().for_each(|found| challenge(found, is_pending));
    assert!(!authorization.identifier.value.starts_with("*.") || authorization.wildcard);
    let name = authorization.name();
    assert_line(&name);
    // The order decides where the mark of a wildcard is missing; twice says no more than once.
    let names = ["a.test".to_string(), "*.b.test".into(), name];
    let of_order = authorization.of_order(&names);
    assert_eq!(of_order.clone().of_order(&names), of_order);
    let url = of_order.url.clone();
    let order = Order {
        url: URL.into(),
        status: OrderStatus::Pending,
        authorizations: vec![url],
        finalize: None,
        certificate: None,
        error: None,
        expires: None,
        identifiers: Vec::new(),
    };
    if let Step::Failed(error) = step(&order, &[of_order], &[]) {
        assert_line(&error.to_string());
    }
}

/// What becomes a path, a file and a record.
fn challenge(challenge: &Challenge, is_offered: bool) {
    let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    assert!(challenge.token.len() <= 512 && challenge.token.bytes().all(base64url), "{:?}", challenge.token);
    if is_offered {
        assert_url(&challenge.url);
        assert!(
            !matches!(&*challenge.type_, "http-01" | "dns-01" | "tls-alpn-01") || !challenge.token.is_empty()
        );
    }
    assert_line(&challenge.type_);
    assert!(challenge.record.issuers.len() <= 10);
    for issuer in &challenge.record.issuers {
        assert_eq!(mod_md::names::normalize(issuer).as_ref(), Ok(issuer));
    }
    if let Some(account) = &challenge.record.account {
        assert!(mod_md::acme::record_terms::is_account(account));
    }
    challenge.error.iter().for_each(problem);
}

pub fn problem(problem: &Problem) {
    assert_line(&problem.text());
    assert_line(&problem.type_);
    problem.title.iter().for_each(|title| assert_line(title));
    problem.instance.iter().for_each(assert_url);
    assert!(problem.detail.chars().count() <= 4096 && problem.subproblems.len() <= 100);
    assert!(problem.raw_subproblems.as_ref().is_none_or(|raw| raw.to_string().len() <= 40 * 1024));
    for subproblem in &problem.subproblems {
        assert_line(&subproblem.type_);
        assert_line(&subproblem.detail);
        subproblem.identifier.iter().for_each(|name| assert_line(name));
    }
    // What a kind means does not depend on how the type was spelled.
    assert_eq!(problem.kind(), Problem::new(&problem.type_, "").kind());
}
