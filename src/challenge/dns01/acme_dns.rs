// SPDX-License-Identifier: Apache-2.0
//! TXT records at an acme-dns server (github.com/joohoi/acme-dns): it serves a zone of its own, in which each
//! account has one name with the last two values it was given. The admin sets a CNAME to that name once, so
//! an account is noted before its first use, and never replaced by itself. Of this room it imports nothing;
//! beside it `http`, `url`, `names` and `store`.

mod accounts;

pub use accounts::Accounts;

use crate::http::{self, Request, Response, Transport};
use crate::names;
use crate::store;
use crate::url::Url;
use serde_json::{Value, json};
use std::fmt::Display;
use zeroize::Zeroizing;

/// The most characters of a server's text that are shown.
const SHOWN: usize = 300;
/// Bytes of a part of an account.
const PART_MAX: usize = 255;

/// The account as the server registered it.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    pub username: String,
    pub password: Zeroizing<String>,
    /// Where the CNAME has to lead.
    pub fulldomain: String,
    pub subdomain: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("acme-dns: '{0}' is no http or https URL")]
    Url(String),
    #[error("acme-dns: {url} cannot be reached: {source}")]
    Unreached { url: String, source: http::Error },
    #[error("acme-dns: {url} answered with status {status}{text}")]
    Refused { url: String, status: u16, text: String },
    #[error(
        "acme-dns: {url} refuses the account whose name is {fulldomain}{text}. If that server has lost its accounts, \
         restore its database. If it cannot be restored, remove dns/acme-dns-*.json of that server from the store (all \
         accounts there): new ones are registered then, and each domain needs its new CNAME"
    )]
    Unknown { url: String, fulldomain: String, text: String },
    #[error("acme-dns: {url} sent an answer that is not one of acme-dns: {reason}")]
    Protocol { url: String, reason: &'static str },
    #[error("acme-dns: {}", advised(.0))]
    Store(#[from] store::Error),
}

impl Error {
    pub fn is_stopped(&self) -> bool {
        matches!(self, Error::Unreached { source: http::Error::Stopped, .. })
    }

    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Unreached { source: http::Error::Timeout, .. })
    }
}

/// The account of `domain` (without `*.`) at this server: the one that is noted, else a new one, which is
/// noted before anybody learns of it.
pub fn account(
    url: &str,
    domain: &str,
    accounts: &dyn Accounts,
    http: &dyn Transport,
) -> Result<Account, Error> {
    let host = host(url)?;
    match accounts.load(&host, domain)? {
        Some(account) => Ok(account),
        None => Ok(accounts.save(&host, domain, register(url, http)?)?),
    }
}

/// The account of `domain` that is noted.
pub fn known(url: &str, domain: &str, accounts: &dyn Accounts) -> Result<Option<Account>, Error> {
    Ok(accounts.load(&host(url)?, domain)?)
}

/// Adds a value. The server forgets the oldest of three, and there is no way to remove one.
pub fn set_up(url: &str, account: &Account, value: &str, http: &dyn Transport) -> Result<(), Error> {
    let url = endpoint(url, "update");
    let body = json!({"subdomain": account.subdomain, "txt": value}).to_string();
    let credentials = [("x-api-user", account.username.as_str()), ("x-api-key", account.password.as_str())];
    let answer = post(&url, body.as_bytes(), &credentials, http).map_err(|error| match error {
        Error::Refused { url, status: 401 | 403, text } => {
            Error::Unknown { url, fulldomain: account.fulldomain.clone(), text }
        }
        other => other,
    })?;
    match answer.get("txt").and_then(Value::as_str) == Some(value) {
        true => Ok(()),
        false => Err(Error::Protocol { url, reason: "it does not repeat the value" }),
    }
}

/// A lost account means another CNAME, which only the admin can decide.
fn advised(error: &store::Error) -> String {
    match error {
        store::Error::Garbage { .. } => format!(
            "{error}. No new account is registered, because the CNAMEs that were set lead to the one in there. Restore this \
             file and md_store.json from the same backup. If there is none, remove the file: new accounts are registered \
             then, and each domain needs its new CNAME"
        ),
        _ => error.advised(),
    }
}

/// The record that the admin has to set, where validators look at `name`.
pub fn delegation(name: &impl Display, account: &Account) -> String {
    format!("{name}. CNAME {}.", account.fulldomain)
}

fn register(url: &str, http: &dyn Transport) -> Result<Account, Error> {
    let url = endpoint(url, "register");
    let answer = post(&url, b"", &[], http)?;
    Account::parse(&answer).ok_or(Error::Protocol {
        url,
        reason: "username, password, fulldomain or subdomain is missing or bad",
    })
}

fn endpoint(base: &str, name: &str) -> String {
    format!("{}/{name}", base.trim_end_matches('/'))
}

fn host(url: &str) -> Result<String, Error> {
    let parsed = Url::parse(url).map_err(|_| Error::Url(url.to_string()))?;
    Ok(parsed.origin.authority())
}

fn post(url: &str, body: &[u8], credentials: &[(&str, &str)], http: &dyn Transport) -> Result<Value, Error> {
    let accept = Some("application/json");
    let request = Request { accept, credentials, ..Request::post(url, "application/json", body) };
    let response = http.send(&request).map_err(|source| Error::Unreached { url: url.to_string(), source })?;
    if !(200..300).contains(&response.status) {
        let (status, text) = (response.status, said(&response));
        return Err(Error::Refused { url: url.to_string(), status, text });
    }
    let body = Zeroizing::new(response.body);
    let not_json = |_| Error::Protocol { url: url.to_string(), reason: "it is not JSON" };
    serde_json::from_slice(&body).map_err(not_json)
}

/// The server's reason, in one line.
fn said(response: &Response) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let text = body.get("error").and_then(Value::as_str).unwrap_or_default();
    let text: String = text.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    if text.is_empty() { text } else { format!(" ({text})") }
}

impl Account {
    /// From the server's answer, or from what was noted of it. `None`: a part is missing, or cannot be sent
    /// or stand in a zone.
    pub fn parse(value: &Value) -> Option<Account> {
        let part = |name: &str| {
            let text = value.get(name)?.as_str()?;
            let is_good = !text.is_empty() && text.len() <= PART_MAX;
            (is_good && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_string())
        };
        let fulldomain = part("fulldomain")?;
        let fulldomain = names::normalize(fulldomain.trim_end_matches('.')).ok()?;
        Some(Account {
            username: part("username")?,
            password: Zeroizing::new(part("password")?),
            fulldomain,
            subdomain: part("subdomain")?,
        })
    }

    pub fn to_json(&self) -> Value {
        json!({
            "username": self.username,
            "password": self.password.as_str(),
            "fulldomain": self.fulldomain,
            "subdomain": self.subdomain,
        })
    }
}

#[cfg(test)]
mod tests;
