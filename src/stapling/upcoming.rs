// SPDX-License-Identifier: Apache-2.0
//! Certificates of an MD that mod_ssl did not receive at start: those waiting in staging, and those that went
//! live from there. They are stapled as well, with a response requested before their first handshake. Only
//! reads the store.

use crate::crypto::Chain;
use crate::managed::published;
use crate::model::Md;
use crate::ocsp::Subject;
use crate::ocsp::subject::{Terms, Unfit};
use crate::store::{WorkGroup, WorkStore};
use crate::time::Timestamp;

const GROUP: WorkGroup = WorkGroup::Staging;

/// The certificates of `md` in staging that can be stapled.
pub fn subjects(store: &WorkStore, md: &Md, terms: &Terms) -> Vec<Subject> {
    let chains = staged(store, md).chain(published::chains(store, &md.name));
    chains
        .filter_map(|chain| match Subject::new(&md.name, &chain, terms.clone()) {
            Ok(subject) => Some(subject),
            Err(Unfit::NoResponder(_)) => None,
            Err(reason) => {
                crate::log!(Warn, "md[{}]: a staged certificate cannot be stapled: {reason}", md.name);
                None
            }
        })
        .collect()
}

fn staged(store: &WorkStore, md: &Md) -> impl Iterator<Item = Chain> {
    let read = |file: String| store.read_chain(GROUP, &md.name, &file).ok().flatten();
    md.keys().into_iter().map(|spec| spec.file_name("pubcert")).filter_map(read)
}

/// When anything changed there: another value, something new.
pub fn stamp(store: &WorkStore, md: &Md) -> Vec<Option<Timestamp>> {
    let files =
        md.keys().into_iter().map(|spec| spec.file_name("pubcert")).chain([published::FILE.to_string()]);
    files.map(|file| store.modified(GROUP, &md.name, &file).ok().flatten()).collect()
}
