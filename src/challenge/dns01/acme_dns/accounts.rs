// SPDX-License-Identifier: Apache-2.0
//! Accounts of acme-dns in the store: `dns/acme-dns-HOST.json`, sealed, with one account for each domain. A
//! file that cannot be read is an error and no reason for a new account, because the admin's CNAME leads to
//! the old one.

use super::Account;
use crate::store::{Error, Opened, WorkStore};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// Where accounts are noted.
pub trait Accounts {
    /// The account of `domain` at the server on `host`.
    fn load(&self, host: &str, domain: &str) -> Result<Option<Account>, Error>;

    /// Notes a new account and returns the one to use: another process may have noted one meanwhile.
    fn save(&self, host: &str, domain: &str, account: Account) -> Result<Account, Error>;
}

impl Accounts for WorkStore {
    fn load(&self, host: &str, domain: &str) -> Result<Option<Account>, Error> {
        let file = file(host);
        let all = parse(self, &file, self.read_sealed(&file)?)?;
        find(self, &file, &all, domain)
    }

    fn save(&self, host: &str, domain: &str, account: Account) -> Result<Account, Error> {
        let file = file(host);
        let mut kept = account;
        self.change_sealed(&file, |content| {
            let mut all = parse(self, &file, content)?;
            if let Some(known) = find(self, &file, &all, domain)? {
                kept = known;
                return Ok(None);
            }
            all.insert(domain.to_string(), kept.to_json());
            let text = Zeroizing::new(Value::Object(all).to_string());
            Ok::<_, Error>(Some(Zeroizing::new(text.as_bytes().to_vec())))
        })?;
        Ok(kept)
    }
}

/// `host`, which may have a port, as a part of a file's name.
fn file(host: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let host: String = host.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!("acme-dns-{host}.json")
}

fn parse(store: &WorkStore, file: &str, content: Option<Opened>) -> Result<Map<String, Value>, Error> {
    let Some(content) = content else { return Ok(Map::new()) };
    let accounts = serde_json::from_slice(&content);
    accounts.map_err(|_| damaged(store, file, "it has no accounts in it".into()))
}

fn find(
    store: &WorkStore,
    file: &str,
    all: &Map<String, Value>,
    domain: &str,
) -> Result<Option<Account>, Error> {
    let Some(value) = all.get(domain) else { return Ok(None) };
    let unfit = || damaged(store, file, format!("the account of {domain} in it has not all its parts"));
    Account::parse(value).map(Some).ok_or_else(unfit)
}

fn damaged(store: &WorkStore, file: &str, reason: String) -> Error {
    Error::Garbage { path: store.sealed_path(file), reason }
}
