// SPDX-License-Identifier: Apache-2.0
//! `withdrawn/NAME.json`: the certificates of an MD that an operator revoked or replaced by an earlier set. No
//! start puts them into use and no child serves them again, unless clients would have less otherwise: what
//! an expired or self-signed certificate is worth to them is less than anything. Root or the store's owner
//! writes the file; a certificate is in it until it would have expired. Decides nothing about renewals.

use super::serve::Certs;
use crate::crypto::{CertInfo, Certificate};
use crate::model::Md;
use crate::model::bounded::name_at;
use crate::store::{Error, Flat, Rights, StartStore, Store};
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::cmp::Reverse;

const FLAT: Flat = Flat::Withdrawn;
/// The newest ones of an MD.
const ENTRIES_MAX: usize = 64;

/// Why a certificate is withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// At its CA: it is renewed at once.
    Revoked,
    /// The same, but it is served until its successor comes, in due time.
    Kept,
    /// An earlier set was put in its place.
    Replaced,
}

const WHYS: [(Why, &str); 3] =
    [(Why::Revoked, "revoked"), (Why::Kept, "revoked, kept in use"), (Why::Replaced, "replaced")];

impl Why {
    pub fn token(self) -> &'static str {
        WHYS.into_iter().find(|(why, _)| *why == self).map_or("", |(_, token)| token)
    }
}

/// A certificate that is withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub why: Why,
    /// Its issuer, and its serial number in upper-case hex.
    pub issuer: String,
    pub serial: String,
    /// SHA-256 of its public key, where that key is known to others: no certificate of it is good.
    pub key: Option<String>,
    pub since: Timestamp,
    /// When it expires.
    pub until: Timestamp,
}

impl Entry {
    pub fn new(leaf: &Certificate, why: Why, is_key_known: bool, now: Timestamp) -> Self {
        Entry {
            why,
            issuer: leaf.issuer_name(),
            serial: leaf.serial_hex(),
            key: is_key_known.then(|| leaf.key_fingerprint()),
            since: Timestamp::from_unix(now.unix()),
            until: leaf.not_after(),
        }
    }

    fn is_of(&self, issuer: &str, serial: &str) -> bool {
        self.issuer == issuer && self.serial == serial
    }

    fn to_json(&self) -> Value {
        let mut out = json!({
            "why": self.why.token(), "issuer": self.issuer, "serial": self.serial,
            "since": self.since.to_http_date(), "until": self.until.to_http_date(),
        });
        if let Some(key) = &self.key {
            out["key"] = json!(key);
        }
        out
    }

    fn from_json(value: &Value) -> Option<Self> {
        let date = |key| Timestamp::parse_http_date(value.get(key)?.as_str()?);
        let token = value.get("why")?.as_str()?;
        Some(Entry {
            why: WHYS.into_iter().find(|(_, known)| *known == token).map(|(why, _)| why)?,
            issuer: name_at(value, "issuer")?,
            serial: name_at(value, "serial")?,
            key: name_at(value, "key"),
            since: date("since")?,
            until: date("until")?,
        })
    }
}

/// Those of an MD, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawn(Vec<Entry>);

impl Withdrawn {
    /// Those that have not expired.
    pub fn of(record: &Value, now: Timestamp) -> Self {
        let entries = record.get("certificates").and_then(Value::as_array).into_iter().flatten();
        let entries = entries.filter_map(Entry::from_json).filter(|entry| now < entry.until);
        Withdrawn(entries.take(ENTRIES_MAX).collect())
    }

    /// Adds one, in the place of what was said of the same certificate.
    pub fn add(&mut self, entry: Entry) {
        self.0.retain(|known| !known.is_of(&entry.issuer, &entry.serial));
        self.0.insert(0, entry);
        self.0.truncate(ENTRIES_MAX);
    }

    /// Both together, the same whichever is which: of one certificate, what was said last.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let order = |entry: &Entry| {
            let why = WHYS.iter().position(|(why, _)| *why == entry.why);
            (Reverse(entry.since), why, entry.issuer.clone(), entry.serial.clone(), entry.key.clone())
        };
        let mut all: Vec<Entry> = self.0.iter().chain(&other.0).cloned().collect();
        all.sort_by_key(order);
        let mut merged: Vec<Entry> = Vec::new();
        for entry in all {
            if !merged.iter().any(|known| known.is_of(&entry.issuer, &entry.serial)) {
                merged.push(entry);
            }
        }
        merged.truncate(ENTRIES_MAX);
        Withdrawn(merged)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn to_json(&self) -> Value {
        json!({"certificates": self.0.iter().map(Entry::to_json).collect::<Vec<_>>()})
    }

    /// What is said of a certificate, or of its key.
    pub fn entry(&self, leaf: &Certificate) -> Option<&Entry> {
        let (issuer, serial) = (leaf.issuer_name(), leaf.serial_hex());
        let own = self.0.iter().find(|entry| entry.is_of(&issuer, &serial));
        let of_key = || self.0.iter().find(|entry| entry.key == Some(leaf.key_fingerprint()));
        own.or_else(of_key)
    }

    fn of_cert(&self, cert: &CertInfo) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.is_of(&cert.issuer_name, &cert.serial))
    }

    /// Whether any of these certificates must not come into use.
    pub fn has_any_of<'c>(&self, mut certs: impl Iterator<Item = &'c CertInfo>) -> bool {
        certs.any(|cert| self.of_cert(cert).is_some_and(|entry| entry.why != Why::Kept))
    }

    /// Whether a certificate is to be renewed at once, because an operator has revoked it.
    pub fn is_revoked(&self, cert: &CertInfo) -> bool {
        self.of_cert(cert).is_some_and(|entry| entry.why == Why::Revoked)
    }

    /// Whether a set does not come into use in the place of another one: it is withdrawn, and clients have no
    /// less of the other one.
    pub fn bars(&self, new: &Certs, other: &Certs, md: &Md, now: Timestamp) -> bool {
        self.has_any_of(new.all()) && !self.has_any_of(other.all()) && other.serve_no_less_than(new, md, now)
    }
}

/// What is withdrawn of an MD. A file that cannot be read says nothing: whoever serves it needs a certificate.
pub fn read<R: Rights>(store: &Store<R>, name: &str, now: Timestamp) -> Withdrawn {
    match store.read_flat(FLAT, name) {
        Ok(record) => Withdrawn::of(&record.unwrap_or_default(), now),
        Err(error) => {
            crate::log!(Warn, "md[{name}]: which of its certificates are withdrawn is not known: {error}");
            Withdrawn::default()
        }
    }
}

/// What other nodes of a fleet have withdrawn, of all MDs, as this one has learnt.
pub struct Elsewhere(Value);

impl Elsewhere {
    pub fn read<R: Rights>(store: &Store<R>) -> Self {
        let content = store.read_fleet_state().unwrap_or_else(|error| {
            crate::log!(Debug, "fleet: what other nodes have withdrawn is not known: {error}");
            None
        });
        let state: Option<Value> = content.and_then(|content| serde_json::from_slice(&content).ok());
        Elsewhere(state.and_then(|mut state| state.get_mut("withdrawn").map(Value::take)).unwrap_or_default())
    }

    /// What is withdrawn of an MD, there and here.
    pub fn with<R: Rights>(&self, store: &Store<R>, name: &str, now: Timestamp) -> Withdrawn {
        read(store, name, now).merged(&Withdrawn::of(&self.0[name], now))
    }
}

/// The same of one MD.
pub fn read_with_fleet<R: Rights>(store: &Store<R>, name: &str, now: Timestamp) -> Withdrawn {
    Elsewhere::read(store).with(store, name, now)
}

/// Changes what is withdrawn of an MD.
pub fn change(
    store: &StartStore,
    name: &str,
    now: Timestamp,
    change: impl FnOnce(&mut Withdrawn),
) -> Result<(), Error> {
    // Something else there is replaced.
    let mut withdrawn = read(store, name, now);
    change(&mut withdrawn);
    match withdrawn.0.is_empty() {
        true => store.remove_flat(FLAT, name),
        false => store.write_flat(FLAT, name, &withdrawn.to_json()),
    }
}

/// Replaces it.
pub fn restore(store: &StartStore, name: &str, former: &Withdrawn, now: Timestamp) -> Result<(), Error> {
    change(store, name, now, |withdrawn| withdrawn.clone_from(former))
}

/// Has the entries of one MD be those of another, in addition to its own: it is renamed.
pub fn take_over(store: &StartStore, from: &str, to: &str) -> Result<(), Error> {
    let long_ago = Timestamp::from_unix(0);
    let Withdrawn(entries) = read(store, from, long_ago);
    if entries.is_empty() {
        return Ok(());
    }
    change(store, to, long_ago, |withdrawn| {
        let known = std::mem::take(withdrawn);
        entries.into_iter().rev().chain(known.0.into_iter().rev()).for_each(|entry| withdrawn.add(entry));
    })?;
    store.remove_flat(FLAT, from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::NOW;
    use crate::managed::fixture::{Lab, md};
    use crate::model::KeySpec;
    use crate::time::DAY;

    fn entry(cert: &CertInfo, why: Why) -> Entry {
        let (issuer, serial) = (cert.issuer_name.clone(), cert.serial.clone());
        Entry { why, issuer, serial, key: None, since: NOW, until: cert.not_after }
    }

    fn cert(serial: &str, names: &[&str], days: u32) -> CertInfo {
        CertInfo {
            issuer_name: "/CN=CA".into(),
            serial: serial.into(),
            not_before: NOW.minus(DAY),
            not_after: NOW.plus(DAY * days),
            dns_names: names.iter().map(ToString::to_string).collect(),
            ..CertInfo::default()
        }
    }

    fn certs(cert: &CertInfo) -> Certs {
        vec![(KeySpec::default(), Some(cert.clone()))].into()
    }

    #[test]
    fn what_other_nodes_of_a_fleet_have_withdrawn_counts_for_operators() {
        let lab = Lab::new();
        lab.store.make_fleet_folder().unwrap();
        let (here, there) = (cert("01", &["a.test"], 30), cert("02", &["a.test"], 30));
        change(&lab.store, "a.test", NOW, |withdrawn| withdrawn.add(entry(&here, Why::Revoked))).unwrap();
        assert!(!read_with_fleet(&lab.store, "a.test", NOW).has_any_of([&there].into_iter()));
        let mut elsewhere = Withdrawn::default();
        elsewhere.add(entry(&there, Why::Replaced));
        let state = json!({"withdrawn": {"a.test": elsewhere.to_json()}}).to_string();
        lab.store.worker().write_fleet_state(state.as_bytes()).unwrap();
        let known = read_with_fleet(&lab.store, "a.test", NOW);
        assert!(known.has_any_of([&here].into_iter()) && known.has_any_of([&there].into_iter()));
        assert!(read_with_fleet(&lab.store, "b.test", NOW).is_empty());
    }

    #[test]
    fn what_a_fleet_has_withdrawn_is_known_beside_fifty_thousand_domains() {
        let lab = Lab::new();
        lab.store.make_fleet_folder().unwrap();
        let there = cert("02", &["a.test"], 30);
        let mut elsewhere = Withdrawn::default();
        elsewhere.add(entry(&there, Why::Replaced));
        let highest: serde_json::Map<_, _> =
            (0..50_000).map(|n| (format!("host-{n}.customers.hosting.test"), json!(n))).collect();
        let state = json!({"withdrawn": {"a.test": elsewhere.to_json()}, "highest": highest}).to_string();
        lab.store.worker().write_fleet_state(state.as_bytes()).unwrap();
        assert!(read_with_fleet(&lab.store, "a.test", NOW).has_any_of([&there].into_iter()));
    }

    #[test]
    fn a_withdrawn_set_gives_way_to_one_that_serves_no_less() {
        let md = md(&["a.test", "www.a.test"]);
        let both = ["a.test", "www.a.test"];
        let (old, new) = (cert("01", &both, 30), cert("02", &both, 80));
        let mut withdrawn = Withdrawn::default();
        let bars = |withdrawn: &Withdrawn, new: &CertInfo, other: &CertInfo| {
            withdrawn.bars(&certs(new), &certs(other), &md, NOW)
        };
        assert!(!bars(&withdrawn, &new, &old));
        withdrawn.add(entry(&new, Why::Replaced));
        assert!(bars(&withdrawn, &new, &old));
        assert!(!bars(&withdrawn, &old, &new), "the other way round");
        assert!(!bars(&withdrawn, &new, &cert("01", &["a.test"], 30)), "www.a.test has nothing else");
        assert!(!bars(&withdrawn, &new, &cert("01", &both, 0)), "nothing else is in time");
        assert!(!withdrawn.bars(&certs(&new), &Certs::default(), &md, NOW), "there is nothing else");
        withdrawn.add(entry(&old, Why::Revoked));
        assert!(!bars(&withdrawn, &new, &old), "nothing else is good");
        withdrawn.add(entry(&new, Why::Kept));
        withdrawn.0.retain(|known| known.serial == "02");
        assert!(!bars(&withdrawn, &new, &old) && !withdrawn.is_revoked(&new), "it is kept");
        withdrawn.add(entry(&new, Why::Revoked));
        assert!(withdrawn.is_revoked(&new) && withdrawn.0.len() == 1);
    }

    #[test]
    fn entries_are_kept_until_the_certificate_has_expired_and_bounded() {
        let lab = Lab::new();
        let add = |number: usize, days| {
            let entry = entry(&cert(&format!("{number:04X}"), &["a.test"], days), Why::Revoked);
            change(&lab.store, "a.test", NOW, |withdrawn| withdrawn.add(entry)).unwrap();
        };
        for number in 0..70 {
            add(number, 30);
        }
        add(70, 90);
        let at = |days| read(&lab.store.worker(), "a.test", NOW.plus(DAY * days)).0;
        assert_eq!((at(0).len(), at(0)[0].serial.as_str()), (ENTRIES_MAX, "0046"));
        assert_eq!((at(31).len(), at(91).len()), (1, 0));
        change(&lab.store, "a.test", NOW.plus(DAY * 91), |_| ()).unwrap();
        assert!(!lab.root().join("withdrawn/a.test.json").exists());
        std::fs::write(lab.root().join("withdrawn/a.test.json"), "garbage").unwrap();
        assert_eq!(read(&lab.store, "a.test", NOW), Withdrawn::default());
        add(1, 30);
        assert_eq!(at(0).len(), 1);
    }

    #[test]
    fn two_lists_make_the_same_one_in_either_order() {
        let withdraw = |serial: &str, why, since: u32| Entry {
            since: NOW.minus(DAY * since),
            ..entry(&cert(serial, &["a.test"], 30), why)
        };
        let of = |entries: &[Entry]| Withdrawn(entries.to_vec());
        let a = of(&[withdraw("01", Why::Replaced, 2), withdraw("02", Why::Revoked, 3)]);
        let b = of(&[
            withdraw("01", Why::Revoked, 1),
            withdraw("03", Why::Kept, 9),
            withdraw("02", Why::Kept, 3),
        ]);
        let merged = of(&[
            withdraw("01", Why::Revoked, 1),
            withdraw("02", Why::Revoked, 3),
            withdraw("03", Why::Kept, 9),
        ]);
        assert_eq!((a.merged(&b), b.merged(&a)), (merged.clone(), merged.clone()));
        assert_eq!(merged.merged(&a), merged);
        let many = |from: usize| {
            of(&(from..from + 50).map(|n| withdraw(&format!("{n:04X}"), Why::Kept, 1)).collect::<Vec<_>>())
        };
        assert_eq!(many(0).merged(&many(50)).0.len(), ENTRIES_MAX);
        assert_eq!(many(0).merged(&many(50)), many(50).merged(&many(0)));
    }

    #[test]
    fn a_key_that_others_know_spoils_all_its_certificates() {
        let lab = Lab::new();
        let set = lab.set(&["a.test"], &KeySpec::Ec("P-256".into()));
        let other = lab.set(&["a.test"], &KeySpec::Ec("P-256".into()));
        let mut withdrawn = Withdrawn::default();
        withdrawn.add(Entry { serial: "FF".into(), ..Entry::new(set.chain.leaf(), Why::Revoked, true, NOW) });
        assert!(withdrawn.entry(set.chain.leaf()).is_some());
        assert!(withdrawn.entry(other.chain.leaf()).is_none());
    }
}
