// SPDX-License-Identifier: Apache-2.0
//! The output of both modules besides certificates: challenge paths, redirects, md-status and
//! `server-status?auto`, as lines that can be compared.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::seen;
use support::difference::is_one_moment;
use support::{Httpd, http};

/// By place (`md one.test/state`, `auto one.test/Status`, `challenge one.test`).
pub type Facts = BTreeMap<String, String>;

/// What another order changes, and so says nothing about a module.
const OF_ONE_ORDER: &[&str] =
    &["serial", "sha256-fingerprint", "scts", "ari-cert-id", "from", "until", "renew-at", "issuer-name"];
const OF_ONE_ORDER_IN_TEXT: &[&str] = &["ValidFrom", "ValidUntil", "CheckAtFingerprint", "CheckAtURL"];

/// In place of `renew` and `renew-at` of a domain with a renewal.
const UNDER_WAY: &str = "under way";

/// `is_other_order`: the modules ordered a certificate each.
pub fn ask(httpd: &Httpd, names: &[&str], is_other_order: bool) -> Facts {
    let ports = (httpd.config.http_port(), httpd.config.https_port());
    let mut facts = Facts::new();
    for name in names {
        facts.insert(format!("challenge {name}"), seen::challenge(ports.0, name));
        facts.insert(format!("redirect {name}"), seen::redirect(ports, name));
    }
    let list = http::get(ports.0, "main.test", "/md-status").ok().map(|answer| answer.json());
    for md in list.iter().flat_map(|list| list["managed-domains"].as_array().into_iter().flatten()) {
        let name = md["name"].as_str().unwrap_or("?");
        flatten(&format!("md {name}"), md, is_other_order, &mut facts);
    }
    let text = http::get(ports.0, "main.test", "/server-status?auto").map(|answer| answer.body);
    facts.extend(of_text(&text.unwrap_or_default(), is_other_order));
    facts
}

/// Without what depends on how far a renewal has come; `renew` tells whether there is one.
fn flatten(place: &str, value: &Value, is_other_order: bool, facts: &mut Facts) {
    let Value::Object(fields) = value else {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
        return drop(facts.insert(place.to_string(), text));
    };
    let has_renewal = fields.get("renewal").is_some_and(Value::is_object);
    for (key, value) in fields {
        let place = format!("{place}/{key}");
        match key.as_str() {
            "renewal" => {}
            key if is_other_order && OF_ONE_ORDER.contains(&key) => {}
            "renew" | "renew-at" if has_renewal => drop(facts.insert(place, UNDER_WAY.to_string())),
            "renew-at" => drop(facts.insert(place, instant(value.as_str().unwrap_or("?")))),
            _ => flatten(&place, value, is_other_order, facts),
        }
    }
}

/// "Now" is another one for each module.
fn instant(text: &str) -> String {
    let Some(at) = mod_md::time::Timestamp::parse_http_date(text) else { return text.to_string() };
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let past = i64::try_from(since.as_secs()).unwrap() - at.unix();
    if past.abs() <= 60 { "now".to_string() } else { text.to_string() }
}

/// Lines of mod_md in a page for scripts, with the domain in place of its number.
fn of_text(text: &str, is_other_order: bool) -> Facts {
    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(": ")).collect();
    let number =
        |key: &str| key.strip_prefix("ManagedDomain[")?.split_once(']').map(|(number, _)| number.to_string());
    let domains: BTreeMap<String, &str> = lines
        .iter()
        .filter(|(key, _)| key.ends_with("]Domain"))
        .filter_map(|(key, domain)| Some((number(key)?, *domain)))
        .collect();
    let mut facts = Facts::new();
    for (key, value) in &lines {
        if let Some(total) = key.strip_prefix("ManagedCertificates") {
            // Whether a renewal is under way depends on the moment.
            if ["Total", "OK", "Ready"].contains(&total) {
                facts.insert(format!("auto {total}"), (*value).to_string());
            }
        }
        let Some((domain, fact)) = number(key).and_then(|n| domains.get(&n)).zip(key.split_once(']')) else {
            continue;
        };
        let of_one_order = is_other_order && OF_ONE_ORDER_IN_TEXT.contains(&fact.1);
        if !fact.1.starts_with("Activity") && !of_one_order {
            facts.insert(format!("auto {domain}/{}", fact.1), (*value).to_string());
        }
    }
    facts
}

/// One line for each fact that is not the same: `PLACE | C's | ours`.
pub fn differences(c: &Facts, ours: &Facts) -> Vec<String> {
    let places: std::collections::BTreeSet<_> = c.keys().chain(ours.keys()).collect();
    let value = |facts: &Facts, place: &str| facts.get(place).cloned().unwrap_or_else(|| "-".to_string());
    let pairs = places.into_iter().map(|place| (place, value(c, place), value(ours, place)));
    pairs
        .filter(|(place, c, ours)| !says_the_same(place, c, ours))
        .map(|(place, c, ours)| format!("{place} | {c} | {ours}"))
        .collect()
}

/// Whether this difference is about which certificate a domain has, and so follows from what is served.
pub fn is_of_certificate(difference: &str) -> bool {
    let place = difference.split(" | ").next().unwrap_or_default();
    let fact = place.split_once('/').map_or("", |(_, fact)| fact);
    let is_total = ["auto OK", "auto Ready"].contains(&place);
    let facts = ["cert/", "state", "renew", "ca/account", "ca/url", "Status", "Valid", "CheckAt"];
    is_total || facts.iter().any(|start| fact.starts_with(start))
}

fn says_the_same(place: &str, c: &str, ours: &str) -> bool {
    match place.rsplit_once('/').map(|(_, key)| key) {
        // It is there, or about to be, for both.
        Some("renew") => c == ours || [c, ours] == ["true", UNDER_WAY] || [c, ours] == [UNDER_WAY, "true"],
        // What it says while there is a renewal is about that one.
        Some("renew-at") if [c, ours].contains(&UNDER_WAY) => true,
        _ => c == ours || is_one_moment(c, ours),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_scripts_are_compared_by_domain_whatever_its_number() {
        let page = |a: u8, b: u8| {
            format!(
                "Total Accesses: 3\nManagedCertificatesTotal: 2\nManagedDomain[{a}]Domain: a.test\nManagedDomain[{b}]Domain: b.test\n\
                 ManagedDomain[{a}]Status: good\nManagedDomain[{b}]Names[0]: b.test\nManagedDomain[{b}]ActivityFinished: yes\n"
            )
        };
        let facts = of_text(&page(0, 1), false);
        assert_eq!(facts, of_text(&page(1, 0), false));
        assert_eq!(facts["auto a.test/Status"], "good");
        assert_eq!(facts.len(), 5, "{facts:?}");
    }

    #[test]
    fn what_is_said_of_a_certificate_follows_from_the_certificate() {
        for place in
            ["md one.test/cert/rsa/serial", "md one.test/state-descr", "auto one.test/Status", "auto OK"]
        {
            assert!(is_of_certificate(&format!("{place} | 1 | 2")), "{place}");
        }
        for place in
            ["challenge one.test", "redirect one.test", "md one.test/domains", "auto one.test/Stapling"]
        {
            assert!(!is_of_certificate(&format!("{place} | 1 | 2")), "{place}");
        }
    }

    #[test]
    fn a_fact_that_only_one_of_them_has_is_a_difference() {
        let facts =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect::<Facts>();
        let (c, ours) = (facts(&[("a", "1"), ("b", "2")]), facts(&[("a", "1"), ("c", "3")]));
        assert_eq!(differences(&c, &ours), ["b | 2 | -", "c | - | 3"]);
    }
}
