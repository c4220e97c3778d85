// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever stands in a header of a CA, and for the small texts that come from anywhere:
//! names, URLs, dates, durations, files with keys of DNS, CAA records. Nothing panics, normal forms stay as
//! they are, and what was read is read again from what is written.

use super::plain::{assert_line, assert_url};
use mod_md::acme::{link, published_limits};
use mod_md::dns::caa::{Applicant, Caa, rule};
use mod_md::dns::{Name, TsigKey};
use mod_md::http::Response;
use mod_md::model::KeySpec;
use mod_md::names;
use mod_md::time::{DAY, TimeSlice, Timestamp, format_duration, parse_duration_millis};
use mod_md::url::Url;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// The first byte says what the others are.
pub fn check(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match kind.wrapping_sub(b'0') % 9 {
        0 => links(&text),
        1 => headers(&text),
        2 => name(&text),
        3 => url(&text),
        4 => dates(&text),
        5 => durations(&text),
        6 => dns_name(&text),
        7 => drop(TsigKey::parse(&text).map(|key| assert_line(&format!("{key:?}")))),
        _ => caa(rest),
    }
}

fn links(text: &str) {
    let found = link::targets(text.lines(), "alternate");
    assert!(found.len() <= 20);
    for (at, target) in found.iter().enumerate() {
        assert_url(target);
        assert!(text.contains(&format!("<{target}>")) && !found[..at].contains(target), "{target:?}");
    }
    // In whichever case the relation is written.
    assert_eq!(link::targets(text.lines(), "ALTERNATE"), found);
}

fn headers(text: &str) {
    let headers = ["retry-after", "Content-Type", "LINK"].map(|name| (name.to_string(), text.to_string()));
    let response = Response::new(429, headers.to_vec(), Vec::new());
    assert_eq!(response.header("Retry-After"), Some(text));
    let at = response.retry_after(NOW);
    assert!(at.is_none_or(|at| at <= NOW.plus(DAY * 10)), "{at:?}");
    let media = response.media_type().unwrap();
    assert!(
        !media.contains(';') && media == media.trim() && media == media.to_ascii_lowercase(),
        "{media:?}"
    );
}

fn name(text: &str) {
    let Ok(name) = names::normalize(text) else { return };
    assert_eq!(names::normalize(&name).as_ref(), Ok(&name));
    assert!(
        name.len() <= 253
            && !name.contains(['/', '\0', '\\'])
            && !name.starts_with('.')
            && !name.contains("..")
    );
    assert!(names::covers(&name, &name));
    if let Some(address) = names::address_of_reverse(&name) {
        assert!(names::is_address(&address.to_string()));
    }
    let wildcard = format!("*.{name}");
    assert!(names::is_wildcard(&name) || names::covers(&wildcard, &format!("x.{name}")));
    assert!(!names::covers(&wildcard, &format!("x.y.{name}")));
}

fn url(text: &str) {
    let _ = published_limits::of(text);
    let Ok(url) = Url::parse(text) else { return };
    let target = url.target();
    assert!(target.starts_with('/') && target.bytes().all(|b| b.is_ascii_graphic()), "{target:?}");
    // The same server, whoever reads it again.
    let scheme = if url.origin.is_https { "https" } else { "http" };
    let again = format!("{scheme}://{}{target}", url.origin.authority());
    let again = Url::parse(&again).unwrap_or_else(|error| panic!("{again:?}: {error}"));
    assert!(again.origin == url.origin && again.target() == target && !again.has_user, "{text:?}");
}

fn dates(text: &str) {
    for at in [Timestamp::parse_http_date(text), Timestamp::parse_rfc3339(text)].into_iter().flatten() {
        let whole = Timestamp::from_unix(at.unix());
        assert_eq!(Timestamp::parse_rfc3339(&at.to_rfc3339()), Some(whole), "{text:?}");
        assert_eq!(Timestamp::parse_http_date(&at.to_http_date()), Some(whole), "{text:?}");
        let _ = (at.plus(Duration::MAX), at.minus(Duration::MAX), NOW.since(at), at.since(NOW), at.ceil());
    }
}

fn durations(text: &str) {
    if let Some(millis) = parse_duration_millis(text, DAY)
        && let Ok(millis) = u64::try_from(millis)
    {
        let written = format_duration(Duration::from_millis(millis));
        assert_eq!(parse_duration_millis(&written, DAY), i64::try_from(millis).ok(), "{written}");
    }
    if let Some(slice) = TimeSlice::parse(text) {
        assert_eq!(TimeSlice::parse(&slice.to_string()), Some(slice));
        let _ = (slice.of(DAY * 90), slice.is_nothing());
    }
    let _ = KeySpec::of_account(text);
    if let Some(spec) = KeySpec::of_file(text, "privkey") {
        // Files are named in lower case.
        let file = spec.file_name("privkey");
        let again = KeySpec::of_file(&file, "privkey").unwrap();
        assert!(again.file_name("privkey") == file && again.same_type(&spec), "{spec:?}");
    }
}

fn dns_name(text: &str) {
    let Ok(name) = Name::parse(text) else { return };
    let written = name.to_string();
    assert!(Name::parse(&written).unwrap() == name && !written.contains(char::is_control), "{written:?}");
    assert!(name.is_in(&name));
}

fn caa(data: &[u8]) {
    let records: Vec<Caa> = data.split(|byte| *byte == b'\n').filter_map(Caa::parse).collect();
    for record in &records {
        assert!(!record.tag.is_empty() && record.tag.bytes().all(|b| b.is_ascii_alphanumeric()));
    }
    let identities = ["ca.test".to_string()];
    let account = Some("https://ca.test/acct/1");
    let applicant = Applicant { identities: &identities, account, methods: &["dns-01"], is_wildcard: true };
    let _ = rule(&records, &applicant);
    let other = Applicant { identities: &[], account: None, methods: &[], is_wildcard: false };
    let _ = rule(&records, &other);
}
