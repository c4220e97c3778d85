// SPDX-License-Identifier: Apache-2.0
//! The starts of httpd that ended while mod_ssl loaded new certificates: which sets no start uses again by
//! itself.

use crate::store::{self, Note, StartStore};
use crate::time::{DAY, Timestamp};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// No start puts a set into use that has ended this many starts, though its hosts take it when they are
/// asked. One may have had another reason.
const ENDED_MAX: u64 = 2;
const FORGOTTEN_AFTER: Duration = DAY.saturating_mul(90);
/// The most keys that are known, and the most MDs.
const ENDED_KEPT: usize = 4096;

/// Starts of httpd that ended while mod_ssl loaded new certificates, as a note says in which `User` cannot
/// write: by the keys of these, as anybody can make other certificates for a key, and by the MDs they were
/// for.
#[derive(Debug, Default, PartialEq)]
pub struct EndedStarts {
    keys: BTreeMap<String, Ended>,
    mds: BTreeMap<String, Ended>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Ended {
    starts: u64,
    last: Timestamp,
}

impl EndedStarts {
    pub fn read(store: &StartStore, now: Timestamp) -> Result<Self, store::Error> {
        Ok(EndedStarts::from_json(&store.read_note(Note::Ended)?.unwrap_or_default(), now))
    }

    pub fn write(&self, store: &StartStore) -> Result<(), store::Error> {
        store.write_note(Note::Ended, &self.to_json())
    }

    fn from_json(note: &Value, now: Timestamp) -> Self {
        let ended = |entry: &Value| {
            let last = entry.get("last").and_then(Value::as_str).and_then(Timestamp::parse_http_date)?;
            let starts = entry.get("starts").and_then(Value::as_u64)?;
            (now < last.plus(FORGOTTEN_AFTER)).then_some(Ended { starts, last })
        };
        let read = |field: &str| {
            let entries = note.get(field).and_then(Value::as_object).into_iter().flatten();
            entries.filter_map(|(what, entry)| Some((what.clone(), ended(entry)?))).collect()
        };
        EndedStarts { keys: read("keys"), mds: read("domains") }
    }

    fn to_json(&self) -> Value {
        let written = |entries: &BTreeMap<String, Ended>| {
            let mut newest: Vec<_> = entries.iter().collect();
            newest.sort_by_key(|(_, ended)| std::cmp::Reverse(ended.last));
            let entry = |(what, ended): (&String, &Ended)| {
                (what.clone(), json!({"starts": ended.starts, "last": ended.last.to_http_date()}))
            };
            Value::Object(newest.into_iter().take(ENDED_KEPT).map(entry).collect::<Map<_, _>>())
        };
        json!({"keys": written(&self.keys), "domains": written(&self.mds)})
    }

    /// A start has ended with a set of these keys; `name`: the MD it was for, where mod_ssl was loading it.
    fn count(&mut self, name: Option<&str>, keys: &[String], now: Timestamp) {
        let count = |entries: &mut BTreeMap<String, Ended>, what: &str| {
            let ended = entries.entry(what.to_string()).or_insert(Ended { starts: 0, last: now });
            *ended = Ended { starts: ended.starts.saturating_add(1), last: now };
        };
        name.into_iter().for_each(|name| count(&mut self.mds, name));
        keys.iter().for_each(|key| count(&mut self.keys, key));
    }

    /// A start has ended while mod_ssl loaded the set of the MD `guilty`, of these keys, with sets of these other keys
    /// in use. Where there are more than are kept, those of the guilty one are among them.
    pub fn count_all(
        &mut self,
        guilty: &str,
        of_guilty: &[String],
        others: impl Iterator<Item = String>,
        now: Timestamp,
    ) {
        let others: Vec<String> = others.take(ENDED_KEPT.saturating_sub(of_guilty.len())).collect();
        self.count(Some(guilty), of_guilty, now);
        // The sets of an MD without hosts that load them are never tried.
        self.count(None, &others, now);
    }

    /// Why a start does not put a set of these keys into use for the MD `name`. `is_tried`: a child has had
    /// the hosts try it, which no other writer to staging can claim.
    pub fn objection(&self, name: &str, keys: &[String], is_tried: bool) -> Option<String> {
        let of_keys = keys.iter().filter_map(|key| self.keys.get(key)).max_by_key(|ended| ended.starts);
        if of_keys.is_some_and(|ended| ended.starts >= ENDED_MAX) {
            return Some(
                "httpd has ended twice when it started with it. It stays in staging, and is served from there as far as \
                 its hosts take it"
                    .into(),
            );
        }
        let (what, ended) = match of_keys {
            Some(ended) => ("it", ended),
            None => ("other certificates of this domain", self.mds.get(name)?),
        };
        (!is_tried).then(|| {
            format!(
                "httpd ended when it started with {what}, last after {}, and it has not been tried on the hosts since. It \
                 stays in staging; httpd tries it there once it runs, and the next restart uses it if all hosts take it",
                ended.last.to_http_date()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::NOW;
    use crate::managed::fixture::Lab;
    use std::os::unix::fs::PermissionsExt;

    fn keys(of: &[&str]) -> Vec<String> {
        of.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ended_starts_are_noted_by_key_and_domain_until_a_child_tries_the_set() {
        let mut ended = EndedStarts::default();
        ended.count(Some("a.test"), &keys(&["k1", "k2"]), NOW);
        ended.count(None, &keys(&["k2"]), NOW);
        for (name, of, is_tried, reason) in [
            ("a.test", "k1", false, "with it, last after"),
            ("a.test", "k1", true, ""),
            ("c.test", "k1", false, "with it, last after"),
            ("a.test", "k3", false, "with other certificates of this domain, last after"),
            ("a.test", "k3", true, ""),
            ("c.test", "k3", false, ""),
            ("b.test", "k2", true, "twice"),
            ("c.test", "k2", false, "twice"),
        ] {
            let objection = ended.objection(name, &keys(&["k4", of]), is_tried);
            assert_eq!(objection.is_none(), reason.is_empty(), "{name} {of} {is_tried} {objection:?}");
            assert!(objection.is_none_or(|said| said.contains(reason)), "{name} {of} {is_tried}");
        }
    }

    #[test]
    fn the_keys_of_the_set_that_ended_a_start_are_kept_however_many_others_were_in_use() {
        let lab = Lab::new();
        let mut ended = EndedStarts::default();
        let others = (0..3 * ENDED_KEPT).map(|n| format!("a{n}"));
        ended.count_all("guilty.test", &keys(&["z1", "z2"]), others, NOW);
        ended.write(&lab.store).unwrap();
        let read = EndedStarts::read(&lab.store, NOW).unwrap();
        assert_eq!(read.keys.len(), ENDED_KEPT);
        assert!(["z1", "z2"].iter().all(|key| read.keys.contains_key(*key)));
    }

    #[test]
    fn the_note_belongs_to_the_starter_and_drops_old_and_excess_entries() {
        let lab = Lab::new();
        assert_eq!(EndedStarts::read(&lab.store, NOW).unwrap(), EndedStarts::default());
        let mut ended = EndedStarts::default();
        ended.count(Some("a.test"), &keys(&["k1"]), NOW.minus(DAY * 80));
        ended.count(Some("b.test"), &keys(&["k2"]), NOW);
        ended.write(&lab.store).unwrap();
        assert_eq!(EndedStarts::read(&lab.store, NOW).unwrap(), ended);
        let file = lab.root().join("trial-ended.json");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let later = EndedStarts::read(&lab.store, NOW.plus(DAY * 20)).unwrap();
        assert_eq!(later.mds.into_keys().chain(later.keys.into_keys()).collect::<Vec<_>>(), ["b.test", "k2"]);
        let many: Vec<String> = (0..ENDED_KEPT).map(|n| format!("m{n}")).collect();
        ended.count(Some("c.test"), &many, NOW.plus(DAY));
        ended.write(&lab.store).unwrap();
        let read = EndedStarts::read(&lab.store, NOW).unwrap();
        assert_eq!((read.keys.len(), read.keys.get("k2"), read.mds.len()), (ENDED_KEPT, None, 3));
        for garbage in ["{", "[]", r#"{"keys": 1, "domains": {"a.test": {"starts": "x"}, "b.test": 1}}"#] {
            std::fs::write(&file, garbage).unwrap();
            assert_eq!(EndedStarts::read(&lab.store, NOW).unwrap(), EndedStarts::default(), "{garbage}");
        }
    }
}
