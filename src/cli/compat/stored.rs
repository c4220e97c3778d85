// SPDX-License-Identifier: Apache-2.0
//! Managed domains in the store, as JSON: reads, finds and writes them. Imports the document and the way
//! failures are reported.

use super::{NOT_FOUND, document, failed, of_store};
use crate::cli::console::call::Failure;
use crate::managed::bundle::MD_FILE;
use crate::store::{Group, StartStore};
use serde_json::Value;

/// md.json of one name; `None` where there is none. What cannot be read is reported, and is none.
pub fn read(store: &StartStore, name: &str) -> Option<Value> {
    match store.read_json(Group::Domains, name, MD_FILE) {
        Ok(md) => md.filter(Value::is_object),
        Err(error) => {
            crate::log!(Warn, "md[{name}]: {}", error.advised());
            None
        }
    }
}

/// All of them, sorted by name.
pub fn all(store: &StartStore) -> Result<Vec<Value>, Failure> {
    let names = store.names(Group::Domains).map_err(|error| of_store(&error))?;
    Ok(names.iter().filter_map(|name| read(store, name)).collect())
}

pub fn write(store: &StartStore, md: &Value) -> Result<(), Failure> {
    store.write_json(Group::Domains, document::name(md), MD_FILE, md).map_err(|error| of_store(&error))
}

/// The one of this name, or a failure that says there is none.
pub fn find(store: &StartStore, name: &str) -> Result<Value, Failure> {
    let name = name.to_ascii_lowercase();
    let found = store.exists(Group::Domains, &name).unwrap_or(false).then(|| read(store, &name)).flatten();
    found.ok_or_else(|| {
        crate::log!(Error, status = NOT_FOUND, "{name}: not found");
        failed(NOT_FOUND)
    })
}
