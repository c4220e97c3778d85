// SPDX-License-Identifier: Apache-2.0
//! TXT records that httpd itself answers for: each value stands in the note of the folder that the final
//! name leads to, from where every child reads it. For a record at `_acme-challenge.NAME` that is the note
//! that is there anyway. Writes files and nothing else. Imports `answers`.

use super::Record;
use crate::challenge::answers::{Folder, Noted};
use crate::names::{self, NameError};
use crate::store::{self, Rights, Store};

/// The label that the folder of a final name leaves out.
const LABEL: &str = "_acme-challenge.";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Store(#[from] store::Error),
    #[error("no answer can be kept for the name {name}: {reason}")]
    Name { name: String, reason: NameError },
}

/// The folder below `challenges` with the values of the TXT records at `name`.
pub fn folder_name(name: &str) -> Result<String, Error> {
    let normal = names::normalize(name).map_err(|reason| Error::Name { name: name.into(), reason })?;
    Ok(normal.strip_prefix(LABEL).map(String::from).unwrap_or(normal))
}

/// As it is noted: by this, others know that nothing is in the DNS.
fn noted(record: &Record<'_>) -> Noted {
    Noted { served_for: Some(record.domain.into()), ..Noted::from(record.value) }
}

/// Calls `with` for the folder that children answer from, where it is not that of the domain.
fn elsewhere<R: Rights>(
    store: &Store<R>,
    group: R::Group,
    record: &Record<'_>,
    with: impl FnOnce(&Folder<'_, R>) -> Result<(), store::Error>,
) -> Result<(), Error> {
    let name = folder_name(record.name)?;
    if name != record.domain {
        with(&Folder { store, group, name: &name })?;
    }
    Ok(())
}

/// `owner`: the MD. No other thread changes answers meanwhile.
pub fn set_up<R: Rights>(
    store: &Store<R>,
    group: R::Group,
    owner: &str,
    record: &Record<'_>,
) -> Result<(), Error> {
    elsewhere(store, group, record, |folder| folder.note_record(owner, noted(record)))
}

pub fn tear_down<R: Rights>(
    store: &Store<R>,
    group: R::Group,
    owner: &str,
    record: &Record<'_>,
) -> Result<(), Error> {
    elsewhere(store, group, record, |folder| {
        folder.forget_record(owner, &noted(record))?;
        folder.remove_if_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::dns01::NOTE;
    use crate::store::{Group, StartStore};

    #[test]
    fn the_value_stands_in_the_folder_of_the_final_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        for (name, folder) in [
            ("A-Org.acme.example.net", Some("a-org.acme.example.net")),
            ("_acme-challenge.acme.example.net", Some("acme.example.net")),
            ("_label._acme-challenge.a.org", Some("_label._acme-challenge.a.org")),
            ("_acme-challenge.a.org", None),
        ] {
            let record = Record { domain: "a.org", name, value: "v-1", all_domains: &[], remaining: 0 };
            set_up(&store, Group::Challenges, "md", &record).unwrap();
            let folders = store.names(Group::Challenges).unwrap();
            assert_eq!(folders, folder.map(String::from).into_iter().collect::<Vec<_>>());
            if let Some(name) = folder {
                let answers = Folder { store: &store, group: Group::Challenges, name }.read(NOTE);
                assert_eq!(answers.of("md").collect::<Vec<_>>(), ["v-1"]);
            }
            tear_down(&store, Group::Challenges, "md", &record).unwrap();
            assert_eq!(store.names(Group::Challenges).unwrap(), Vec::<String>::new());
        }
        for name in ["../x.org", "a b.org", "*.", ""] {
            assert!(folder_name(name).is_err(), "{name}");
        }
    }
}
