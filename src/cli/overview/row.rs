// SPDX-License-Identifier: Apache-2.0
//! Reads an entry of md-status, of this module or of the C module. Others may have written it: texts are cut,
//! and what has another form counts as missing. Pure.

use crate::model::bounded::{TEXT_MAX, name, text_at};
use crate::model::outcome::split_advice;
use crate::names;
use crate::status::labels;
use crate::status::standing::{Action, Facts, Period, Standing};
use crate::time::{TimeSlice, Timestamp};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::time::Duration;

/// A managed domain as `status` and `check` show it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub name: String,
    pub domains: Vec<String>,
    /// `None`: a word that a later version may have.
    pub standing: Option<Standing>,
    /// In words.
    pub status: String,
    /// Common to all certificates in use.
    pub valid: Option<(Timestamp, Timestamp)>,
    pub certificates: Vec<Certificate>,
    /// Name and URL.
    pub ca: Option<(String, String)>,
    pub renew_at: Option<Timestamp>,
    /// The next step of the renewal in words, and when.
    pub next: Option<(String, Option<Timestamp>)>,
    /// The node of the fleet that renews it.
    pub node: Option<String>,
    /// What it waits for.
    pub waiting: Option<String>,
    pub errors: u32,
    /// The last error, with what to do.
    pub last_error: Option<String>,
    pub stapling: Stapling,
    /// How the set in use came into use, and how many children serve it, where that is known.
    pub activation: Option<(String, u64)>,
    /// Names of TLS hosts, and whose certificate each serves.
    pub hosts: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certificate {
    /// Of its key, as `P-256`.
    pub key: String,
    pub issuer: String,
    pub serial: String,
    pub until: Option<Timestamp>,
}

/// The worst of all certificates in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stapling {
    #[default]
    Off,
    /// Until then.
    Good(Timestamp),
    /// There is no response, or it has expired.
    None,
    Revoked,
}

impl Row {
    pub fn of(entry: &Value, now: Timestamp) -> Self {
        let token = text(entry, "status");
        let standing = token.as_deref().and_then(Standing::of);
        let renewal = entry.get("renewal").unwrap_or(&Value::Null);
        let last = renewal.get("last").unwrap_or(&Value::Null);
        let errors = renewal.get("errors").and_then(Value::as_u64).unwrap_or(0);
        let unsaved = entry.get("renewal-unsaved").and_then(|unsaved| text(unsaved, "detail"));
        Row {
            name: text(entry, "name").unwrap_or_default(),
            domains: strings(entry, "domains"),
            standing,
            status: standing.map(|standing| standing.words().to_string()).or(token).unwrap_or_default(),
            valid: entry.get("cert").and_then(period),
            certificates: certificates(entry),
            ca: authority(entry),
            renew_at: date(entry, "renew-at"),
            next: renewal.get("next").and_then(next),
            node: text(renewal, "node"),
            waiting: waiting(renewal),
            errors: u32::try_from(errors).unwrap_or(u32::MAX),
            last_error: unsaved.or_else(|| last_error(last).filter(|_| errors > 0)),
            stapling: stapling(entry, now),
            activation: entry.get("activation").and_then(|activation| {
                Some((text(activation, "mode")?, activation.get("workers")?.as_u64()?))
            }),
            hosts: items(entry, "hosts")
                .filter_map(|host| Some((text(host, "name")?, text(host, "served")?)))
                .collect(),
        }
    }

    /// The most serious first, for people: a domain that nobody uses harms nobody.
    pub fn rank(&self) -> u8 {
        match self.standing {
            Some(Standing::NoCertificate) => 0,
            Some(Standing::Expired) => 1,
            _ if self.stapling == Stapling::Revoked => 1,
            Some(Standing::ExpiresSoon) => 2,
            Some(Standing::RenewalFailing) => 3,
            None => 4,
            Some(Standing::NotRenewed) => 5,
            Some(Standing::Renewing) => 6,
            Some(Standing::Unused) => 7,
            Some(Standing::Ok) => 8,
        }
    }

    /// The words for how it stands, with the time that is left where that is why.
    pub fn said(&self, now: Timestamp) -> Cow<'_, str> {
        let until = self.valid.map(|(_, until)| until);
        self.standing.map_or(self.status.as_str().into(), |standing| standing.said(until, now))
    }

    /// The last error without what to do about it.
    pub fn error_alone(&self) -> Option<&str> {
        Some(split_advice(self.last_error.as_deref()?).0)
    }

    /// The time from the beginning to the end of its certificates.
    pub fn lifetime(&self) -> Option<Duration> {
        self.valid.map(|(from, until)| until.since(from))
    }
}

/// Whether the entry is that of a name: its own, or one it covers.
pub fn has_name(entry: &Value, wanted: &str) -> bool {
    let wanted = names::normalize(wanted).unwrap_or_else(|_| wanted.to_string());
    let own = text(entry, "name").is_some_and(|name| name == wanted);
    own || strings(entry, "domains").iter().any(|pattern| names::covers(pattern, &wanted))
}

/// The entry with its status word, which the C module does not print: it follows from the same facts.
pub fn with_status(mut entry: Value, now: Timestamp) -> Value {
    if text(&entry, "status").is_none()
        && entry.get("name").is_some()
        && let standing = facts(&entry).standing(now)
        && let Some(fields) = entry.as_object_mut()
    {
        fields.insert("status".into(), json!(standing.token()));
    }
    entry
}

fn facts(entry: &Value) -> Facts {
    let flag = |value: &Value, key: &str| value.get(key).and_then(Value::as_bool).unwrap_or_default();
    let renewal = entry.get("renewal").unwrap_or(&Value::Null);
    let window = text(entry, "warn-window").and_then(|text| TimeSlice::parse(&text));
    let window = window.unwrap_or(TimeSlice::Percent(10));
    let certs = entry.get("cert").and_then(period).map(|(from, until)| Period {
        from,
        warn: until.minus(window.of(until.since(from))),
        until,
    });
    Facts {
        is_used: true,
        is_renewed: entry.get("renew-mode").and_then(Value::as_i64) != Some(0),
        certs,
        has_successor: flag(renewal, "finished") && renewal.get("cert").and_then(period).is_some(),
        is_due: flag(entry, "renew"),
        is_failing: renewal.get("errors").and_then(Value::as_u64).unwrap_or(0) > 0,
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    text_at(value, key, TEXT_MAX)
}

fn items<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn strings(value: &Value, key: &str) -> Vec<String> {
    items(value, key).filter_map(|item| name(item.as_str()?)).collect()
}

fn date(value: &Value, key: &str) -> Option<Timestamp> {
    Timestamp::parse_http_date(value.get(key)?.as_str().filter(|text| text.len() < 64)?)
}

fn period(value: &Value) -> Option<(Timestamp, Timestamp)> {
    let valid = value.get("valid")?;
    Some((date(valid, "from")?, date(valid, "until")?))
}

/// The certificates in use by their keys: `cert` has the period common to all beside them.
fn by_key(entry: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let fields = entry.get("cert").and_then(Value::as_object);
    fields.into_iter().flatten().filter(|(key, cert)| *key != "valid" && cert.get("valid").is_some())
}

fn certificates(entry: &Value) -> Vec<Certificate> {
    let certificate = |(key, cert): (&String, &Value)| Certificate {
        key: crate::model::bounded::text(key, 64),
        issuer: text(cert, "issuer-name").unwrap_or_default(),
        serial: text(cert, "serial").unwrap_or_default(),
        until: period(cert).map(|(_, until)| until),
    };
    by_key(entry).map(certificate).collect()
}

fn authority(entry: &Value) -> Option<(String, String)> {
    let ca = entry.get("ca")?;
    let url = text(ca, "url").or_else(|| strings(ca, "urls").into_iter().next())?;
    Some((labels::ca_name(&url), url))
}

fn next(next: &Value) -> Option<(String, Option<Timestamp>)> {
    let token = text(next, "action")?;
    let words = Action::of(&token).map(|action| action.words().to_string()).unwrap_or(token);
    Some((words, date(next, "at")))
}

fn waiting(renewal: &Value) -> Option<String> {
    if let Some(waiting) = renewal.get("waiting") {
        let records = strings(waiting, "records");
        let what = text(waiting, "what").unwrap_or_default();
        return Some(if records.is_empty() { what } else { format!("{what}: {}", records.join(", ")) });
    }
    text(renewal.get("held-back")?, "reason")
}

fn last_error(last: &Value) -> Option<String> {
    let text = |key| text(last, key).filter(|text| !text.is_empty());
    text("detail").or_else(|| text("problem")).or_else(|| text("status-description"))
}

fn stapling(entry: &Value, now: Timestamp) -> Stapling {
    let is_on = entry.get("stapling").and_then(Value::as_bool).unwrap_or_default();
    let of_one = |(_, cert): (&String, &Value)| {
        let ocsp = cert.get("ocsp");
        let status = ocsp.and_then(|ocsp| text(ocsp, "status"));
        match (status.as_deref(), ocsp.and_then(period)) {
            (Some("revoked"), _) => Stapling::Revoked,
            (Some("good"), Some((_, until))) if until > now => Stapling::Good(until),
            _ if is_on => Stapling::None,
            _ => Stapling::Off,
        }
    };
    by_key(entry).map(of_one).fold(Stapling::Off, worse)
}

/// Of two responses that are good, the one that ends first counts.
fn worse(one: Stapling, other: Stapling) -> Stapling {
    match (one, other) {
        (Stapling::Good(one), Stapling::Good(other)) => Stapling::Good(one.min(other)),
        (one, other) => one.max(other),
    }
}

#[cfg(test)]
mod tests;
