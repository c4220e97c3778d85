// SPDX-License-Identifier: Apache-2.0
//! The account at a CA that DNS records have to name, from the store. Imports `store`.

use crate::managed::staging::Staging;
use crate::model::Md;
use crate::store::{StartStore, WorkGroup};
use serde_json::Value;

/// The URL of the account with which the MD orders at this CA: a stored one, or one that waits in staging for
/// the next start.
pub fn account(store: &StartStore, md: &Md, url: &str) -> Option<String> {
    let worker = store.worker();
    let mut names = worker.account_names().unwrap_or_default();
    names.sort_by_key(|name| Some(name) != md.ca.account.as_ref());
    let stored = names.iter().find_map(|name| of_ca(&worker.read_account_json(name).ok().flatten()?, url));
    stored.or_else(|| {
        let staged = worker.names(WorkGroup::Staging).unwrap_or_default();
        let accounts = staged.iter().flat_map(|name| Staging::new(&worker, name).accounts());
        accounts.into_iter().find_map(|(_, json, _)| of_ca(&json, url))
    })
}

fn of_ca(json: &Value, url: &str) -> Option<String> {
    let text = |key: &str| json.get(key).and_then(Value::as_str);
    let is_valid = text("status").is_none_or(|status| status == "valid");
    (is_valid && text("ca-url") == Some(url)).then(|| text("url").map(String::from))?
}
