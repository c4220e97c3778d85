// SPDX-License-Identifier: Apache-2.0
//! The recently issued certificates of a managed domain, kept over renewals and restarts, so that no
//! combination of reasons orders certificates without end.

use super::bounded;
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// More entries are not kept, nor more orders.
const ENTRIES_MAX: usize = 32;
/// Names of one CA.
const ISSUERS_MAX: usize = 10;

/// Why certificates are renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Missing,
    Names,
    MustStaple,
    Expired,
    Revoked,
    /// The CA's advice (RFC 9773).
    Advice,
    /// The renew window, or the part of it that counts beside an advice.
    Window,
    FormerCa,
    /// An operator has asked for it.
    Requested,
}

const CAUSES: [(Cause, &str); 9] = [
    (Cause::Missing, "missing"),
    (Cause::Names, "names"),
    (Cause::MustStaple, "must-staple"),
    (Cause::Expired, "expired"),
    (Cause::Revoked, "revoked"),
    (Cause::Advice, "ari"),
    (Cause::Window, "window"),
    (Cause::FormerCa, "former-ca"),
    (Cause::Requested, "requested"),
];

/// A set of certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub at: Timestamp,
    /// Directory URL.
    pub ca: String,
    pub cause: Cause,
    /// The order's content as a text, to recognize the same order.
    pub order: String,
    /// The same of the DNS names alone.
    pub names: String,
    /// Of its shortest-lived certificate.
    pub lifetime: Duration,
    pub certificates: u32,
    /// The orders named the certificates they replace (RFC 9773 §5): CAs do not count these.
    pub is_replacement: bool,
}

/// An order that was placed at a CA which limits them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub at: Timestamp,
    /// Directory URL.
    pub ca: String,
}

/// A TXT record of the admin that holds until some date (`persistUntil` of dns-persist-01).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordEnd {
    pub name: String,
    pub until: Timestamp,
    /// The CA and the account it is for, as in `Expected`: by these it is looked up again.
    pub issuers: Vec<String>,
    pub account: String,
}

/// Oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ledger {
    issued: Vec<Issued>,
    placed: Vec<Placed>,
    records: Vec<RecordEnd>,
}

impl Ledger {
    pub fn entries(&self) -> &[Issued] {
        &self.issued
    }

    pub fn placed(&self) -> &[Placed] {
        &self.placed
    }

    pub fn add(&mut self, issued: Issued) {
        self.issued.push(issued);
        drop_oldest(&mut self.issued);
    }

    pub fn place(&mut self, ca: &str, at: Timestamp) {
        self.placed.push(Placed { at: Timestamp::from_unix(at.unix()), ca: ca.into() });
        drop_oldest(&mut self.placed);
    }

    pub fn records(&self) -> &[RecordEnd] {
        &self.records
    }

    /// Notes what was found at its name last.
    pub fn note_record(&mut self, record: RecordEnd) {
        self.forget_record(&record.name);
        self.records.push(RecordEnd { until: Timestamp::from_unix(record.until.unix()), ..record });
        drop_oldest(&mut self.records);
    }

    /// Nothing ends at `name` any more.
    pub fn forget_record(&mut self, name: &str) {
        self.records.retain(|record| record.name != name);
    }

    /// Adds the entries that only `other` has: that of an MD that continues as this one.
    pub fn take_in(&mut self, other: Ledger) {
        let Ledger { issued, placed, records } = other;
        let lacks = issued.into_iter().filter(|entry| !self.issued.contains(entry)).collect::<Vec<_>>();
        self.issued.extend(lacks);
        self.issued.sort_by_key(|entry| entry.at);
        drop_oldest(&mut self.issued);
        let lacks = placed.into_iter().filter(|entry| !self.placed.contains(entry)).collect::<Vec<_>>();
        self.placed.extend(lacks);
        self.placed.sort_by_key(|entry| entry.at);
        drop_oldest(&mut self.placed);
        for record in records {
            if !self.records.iter().any(|known| known.name == record.name) {
                self.note_record(record);
            }
        }
    }

    pub fn to_json(&self) -> Value {
        let entries: Vec<Value> = self.issued.iter().map(Issued::to_json).collect();
        let mut out = json!({"issued": entries});
        if !self.placed.is_empty() {
            out["placed"] = self.placed.iter().map(Placed::to_json).collect();
        }
        if !self.records.is_empty() {
            out["records"] = self.records.iter().map(RecordEnd::to_json).collect();
        }
        out
    }

    /// Entries that say too little are left out.
    pub fn from_json(value: &Value) -> Self {
        let entries = |key: &str| {
            let entries = value.get(key).and_then(Value::as_array);
            entries.into_iter().flatten().take(ENTRIES_MAX)
        };
        let mut issued: Vec<Issued> = entries("issued").filter_map(Issued::from_json).collect();
        issued.sort_by_key(|issued| issued.at);
        let mut placed: Vec<Placed> = entries("placed").filter_map(Placed::from_json).collect();
        placed.sort_by_key(|placed| placed.at);
        Ledger { issued, placed, records: entries("records").filter_map(RecordEnd::from_json).collect() }
    }
}

fn drop_oldest<T>(entries: &mut Vec<T>) {
    let excess = entries.len().saturating_sub(ENTRIES_MAX);
    entries.drain(..excess);
}

impl Placed {
    fn to_json(&self) -> Value {
        json!({"when": self.at.to_http_date(), "ca": self.ca})
    }

    fn from_json(value: &Value) -> Option<Self> {
        let at = Timestamp::parse_http_date(&bounded::name_at(value, "when")?)?;
        Some(Placed { at, ca: bounded::name_at(value, "ca")? })
    }
}

impl RecordEnd {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "until": self.until.to_http_date(), "issuers": self.issuers, "account": self.account,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| bounded::name_at(value, key);
        let until = Timestamp::parse_http_date(&text("until")?)?;
        let issuers = value.get("issuers")?.as_array()?.iter().take(ISSUERS_MAX);
        let issuers = issuers.filter_map(Value::as_str).filter_map(bounded::name).collect();
        Some(RecordEnd { name: text("name")?, until, issuers, account: text("account")? })
    }
}

impl Issued {
    fn to_json(&self) -> Value {
        let cause = CAUSES.iter().find(|(cause, _)| *cause == self.cause).map(|(_, name)| *name);
        json!({
            "when": self.at.to_http_date(), "ca": self.ca, "cause": cause, "order": self.order, "names": self.names,
            "lifetime": self.lifetime.as_secs(), "certificates": self.certificates,
            "replacement": self.is_replacement,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| bounded::name_at(value, key);
        let cause = text("cause")?;
        Some(Issued {
            at: Timestamp::parse_http_date(&text("when")?)?,
            ca: text("ca")?,
            cause: CAUSES.iter().find(|(_, name)| *name == cause)?.0,
            order: text("order")?,
            names: text("names")?,
            lifetime: Duration::from_secs(value.get("lifetime").and_then(Value::as_u64)?),
            certificates: value.get("certificates").and_then(Value::as_u64)?.try_into().ok()?,
            is_replacement: value.get("replacement") == Some(&Value::Bool(true)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    #[test]
    fn json_is_read_back_and_garbage_left_out() {
        let mut ledger = Ledger::default();
        for name in ["_validation-persist.a.test", "_validation-persist.b.test", "_validation-persist.a.test"]
        {
            let (issuers, account) = (vec!["ca.test".into()], "https://ca.test/acct/1".into());
            ledger.note_record(RecordEnd { name: name.into(), until: NOW, issuers, account });
        }
        ledger.forget_record("_validation-persist.b.test");
        assert_eq!(ledger.records().len(), 1);
        for (cause, _) in CAUSES {
            ledger.add(Issued {
                at: NOW,
                ca: "https://ca.test/dir".into(),
                cause,
                order: "0a".into(),
                names: "0b".into(),
                lifetime: Duration::from_secs(120),
                certificates: 2,
                is_replacement: cause == Cause::Advice,
            });
        }
        ledger.place("https://ca.test/dir", NOW);
        assert_eq!(Ledger::from_json(&ledger.to_json()), ledger);
        let mut odd = ledger.to_json();
        odd["issued"][0] = json!(5);
        odd["issued"][1]["cause"] = json!("whim");
        odd["issued"][2]["certificates"] = json!(-1);
        assert_eq!(Ledger::from_json(&odd).entries(), &ledger.entries()[3..]);
        for garbage in [json!(5), json!({"issued": "x", "placed": [5, {"when": "x", "ca": "y"}]}), json!([])]
        {
            assert_eq!(Ledger::from_json(&garbage), Ledger::default());
        }
        (0..100).for_each(|_| ledger.add(ledger.entries()[0].clone()));
        assert_eq!(ledger.entries().len(), ENTRIES_MAX);
    }

    #[test]
    fn two_become_one_without_counting_twice() {
        let issued = |seconds: i64| Issued {
            at: Timestamp::from_unix(NOW.unix() + seconds),
            ca: "https://ca.test/dir".into(),
            cause: Cause::Window,
            order: "0a".into(),
            names: "0b".into(),
            lifetime: Duration::from_secs(120),
            certificates: 1,
            is_replacement: false,
        };
        let (mut one, mut other) = (Ledger::default(), Ledger::default());
        [0, 2].into_iter().for_each(|at| one.add(issued(at)));
        [1, 2].into_iter().for_each(|at| other.add(issued(at)));
        [&mut one, &mut other].into_iter().for_each(|ledger| ledger.place("https://ca.test/dir", NOW));
        one.take_in(other.clone());
        one.take_in(other);
        assert_eq!(one.entries(), [issued(0), issued(1), issued(2)]);
        assert_eq!(one.placed().len(), 1);
    }
}
