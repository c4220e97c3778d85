// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever JSON stands in a file of the store, a request of a2md or the configuration
//! that httpd prints: nothing panics, what was read is read again from what is written, lists and texts are
//! bounded, and texts that are shown break no line.

use super::plain::assert_line;
use mod_md::challenge::answers::Answers;
use mod_md::challenge::dns01::acme_dns;
use mod_md::config::Configuration;
use mod_md::fleet::decide::state::State;
use mod_md::managed::saved_order::SavedOrder;
use mod_md::managed::withdrawn::Withdrawn;
use mod_md::model::dns01::Way;
use mod_md::model::job::{LOG_MAX, RECORDS_MAX};
use mod_md::model::ledger::Ledger;
use mod_md::model::{FleetReport, FleetRequest, Job, KeySpec, Md, Request, Requested, RetryState, ari};
use mod_md::names;
use mod_md::time::Timestamp;
use serde_json::Value;
use std::fmt::Debug;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// The first byte says which file the others are.
pub fn check(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let Ok(value) = serde_json::from_slice::<Value>(rest) else { return };
    match kind.wrapping_sub(b'A') % 18 {
        0 => md(&value),
        1 => job(&value),
        2 => order(&value),
        3 => exact(&value, |value| Some(ari::from_json(value)), |entries| ari::to_json(entries)),
        4 => exact(&value, |value| Some(Ledger::from_json(value)), Ledger::to_json),
        5 => exact(&value, |value| Some(Withdrawn::of(value, NOW)), Withdrawn::to_json),
        6 => request(&value),
        7 => exact(&value, Requested::from_json, Requested::to_json),
        8 => exact(&value, FleetRequest::from_json, FleetRequest::to_json),
        9 => exact(&value, FleetReport::from_json, FleetReport::to_json),
        10 => exact(&value, |value| Some(RetryState::from_json(value)), RetryState::to_json),
        11 => exact(&value, Way::from_json, |way| way.to_json().unwrap()),
        12 => exact(&value, KeySpec::from_json, KeySpec::to_json),
        13 => acme_dns(&value),
        14 => exact(&value, |value| Some(Answers::parse(value)), Answers::to_json),
        15 => exact(&value, State::from_json, State::to_json),
        16 => exact(&value, |value| Configuration::from_json(value).ok(), Configuration::to_json),
        _ => account(&value),
    }
}

/// What was read is read again from what is written.
fn exact<T: PartialEq + Debug>(value: &Value, from: impl Fn(&Value) -> Option<T>, to: impl Fn(&T) -> Value) {
    let Some(read) = from(value) else { return };
    let written = to(&read);
    assert_eq!(from(&written).as_ref(), Some(&read), "{written}");
    // As text, too: that is how it comes back.
    assert_eq!(serde_json::from_str::<Value>(&written.to_string()).ok(), Some(written));
}

fn md(value: &Value) {
    let Some(md) = Md::from_json(value) else { return };
    for name in md.domains.iter().chain([&md.name]) {
        assert_eq!(names::normalize(name).as_ref(), Ok(name));
    }
    assert!(!md.domains.is_empty() && !md.keys().is_empty());
    md.state_descr.iter().for_each(|text| assert_line(text));
    // md.json says how it is renewed, which follows from where its certificates come from.
    let written = md.to_json();
    exact(&written, Md::from_json, Md::to_json);
    if let Some(eab) = md.eab.as_ref().filter(|eab| eab.hmac.len() > 8) {
        assert_eq!(md.to_public_json()["eab"]["hmac"], "***");
        assert!(!format!("{:?}", md.eab).contains(&eab.hmac) || eab.kid.contains(&eab.hmac));
    }
    assert!(md.ordered_names().iter().all(|name| md.domains.contains(name)));
}

fn job(value: &Value) {
    let from = |value: &Value| Job::from_json("a.test", value);
    exact(value, from, Job::to_record);
    let Some(job) = from(value) else { return };
    assert!(job.log.len() <= LOG_MAX);
    let waiting = job.waiting.iter().flat_map(|waiting| waiting.records.iter().chain([&waiting.what]));
    let logged =
        job.log.iter().flat_map(|entry| entry.status.iter().chain(&entry.detail).chain([&entry.kind]));
    let last = job.last.problem.iter().chain(&job.last.detail).chain(&job.last.activity);
    let held = job.held_back.iter().map(|held| &held.reason);
    waiting.chain(logged).chain(last).chain(held).for_each(|text| assert_line(text));
    assert!(job.waiting.is_none_or(|waiting| waiting.records.len() <= RECORDS_MAX));
    let auth = job.auth.as_ref().filter(|auth| auth.len() > 8);
    assert!(auth.is_none_or(|_| {
        Job { extra: Default::default(), ..from(value).unwrap() }.to_json().get("auth").is_none()
    }));
}

fn order(value: &Value) {
    exact(value, SavedOrder::from_json, SavedOrder::to_json);
    let Some(mut order) = SavedOrder::from_json(value) else { return };
    assert!(order.started().len() <= 200);
    assert_line(&order.url);
    order.believe_up_to(NOW);
    assert!(order.since(NOW) <= NOW);
}

fn request(value: &Value) {
    exact(value, Request::from_json, Request::to_json);
    if let Some(request) = Request::from_json(value) {
        assert_line(&request.id);
        assert_line(&request.by);
        assert!(
            request.by.len() <= 256
                && request.id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        );
    }
}

fn acme_dns(value: &Value) {
    let Some(account) = acme_dns::Account::parse(value) else { return };
    assert!(acme_dns::Account::parse(&account.to_json()).is_some_and(|again| again == account));
    assert_eq!(names::normalize(&account.fulldomain).as_ref(), Ok(&account.fulldomain));
}

/// account.json has no type of its own: what is taken of it in staging is bounded.
fn account(value: &Value) {
    use mod_md::model::bounded::{NAME_MAX, Room, TEXT_MAX, name_at, text_at};
    let room = || Room { values: 1024, text: 64 * 1024 };
    let Some(kept) = room().take(value) else { return };
    assert_eq!(room().take(&kept).as_ref(), Some(&kept));
    assert!(depth(&kept) <= 10 && kept.to_string().len() <= 8 * 64 * 1024);
    for key in ["status", "url", "ca-url", "orders"] {
        assert!(
            name_at(value, key).is_none_or(|name| name.len() <= NAME_MAX && !name.contains(char::is_control))
        );
        assert!(
            text_at(value, key, TEXT_MAX)
                .is_none_or(|text| text.len() <= TEXT_MAX && !text.contains(char::is_control))
        );
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
        _ => 1,
    }
}
