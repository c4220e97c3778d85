// SPDX-License-Identifier: Apache-2.0
//! The values of TXT records as they stand in the store: those of `challenges/NAME/acme-dns-01.json`, whoever
//! owns them. Read at each question, with the rights of a child alone: what the renewing child writes is
//! answered at once by all. Imports nothing of this room.

use crate::challenge::answers::Answers;
use crate::challenge::dns01;
use crate::store::{Error, WorkGroup, WorkStore};
use rustix::io::Errno;

/// None where nothing is under way for `name`, or where it cannot be the name of a folder.
pub fn values(store: &WorkStore, name: &str) -> Result<Vec<String>, Error> {
    let note = match store.read_json(WorkGroup::Challenges, name, dns01::NOTE) {
        Err(Error::Name(_)) => None,
        // Servers without domains of their own may have no store yet.
        Err(error) if error.os_error() == Some(Errno::NOENT.raw_os_error()) => None,
        note => note?,
    };
    let answers = note.as_ref().map(Answers::parse).unwrap_or_default();
    // A set of records has each but once.
    let mut values: Vec<String> = answers.all().map(str::to_string).collect();
    values.sort();
    values.dedup();
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Group, StartStore};
    use serde_json::json;

    #[test]
    fn values_are_those_of_all_owners_as_they_stand_at_the_moment() {
        let dir = tempfile::tempdir().unwrap();
        let start = StartStore::open(&dir.path().join("md"), None).unwrap();
        let store = start.worker();
        assert_eq!(values(&store, "a.test").unwrap(), [""; 0], "no folder");
        let note = json!({"values": [
            {"owner": "a.test", "value": "one"}, {"owner": "*.a.test", "value": "two"}, {"owner": "b", "value": "one"},
        ]});
        start.write_json(Group::Challenges, "a.test", dns01::NOTE, &note).unwrap();
        assert_eq!(values(&store, "a.test").unwrap(), ["one", "two"]);
        start.write_json(Group::Challenges, "a.test", dns01::NOTE, &json!({"values": []})).unwrap();
        assert_eq!(values(&store, "a.test").unwrap(), [""; 0]);
        start.write(Group::Challenges, "a.test", dns01::NOTE, b"no JSON").unwrap();
        assert!(values(&store, "a.test").is_err());
        assert_eq!(values(&WorkStore::of_others(&dir.path().join("none")), "a.test").unwrap(), [""; 0]);
        for name in ["", ".", "..", "a/../b", "../domains/a.test", "a b", "a\0b"] {
            assert_eq!(values(&store, name).unwrap(), [""; 0], "{name:?}");
        }
    }
}
