// SPDX-License-Identifier: Apache-2.0
//! The key of an account, and how it gets another one (RFC 8555 §7.3.5). The new key is on disk beside the old
//! one before the CA is asked; afterwards it takes the old one's place. Whoever dies in between leaves both,
//! and whoever opens the account next asks the CA which one it takes; the renewing child does the same, and has the
//! CA take one that waits. Keys are changed under the lock of the account.

use crate::acme::manage::Unchanged;
use crate::acme::{Error as AcmeError, Registration, Server, Session};
use crate::cli::authority::of_authority;
use crate::cli::console::call::Failure;
use crate::cli::site::accounts::known::{Known, Place};
use crate::cli::site::{Site, of_store};
use crate::crypto::PrivateKey;
use crate::managed::staging::Staging;
use crate::model::KeySpec;
use crate::store::{ACCOUNT_KEY, AccountLock, Error as StoreError, Group, NEXT_ACCOUNT_KEY, StartStore};
use std::sync::Arc;
use std::time::Duration;

/// A renewal holds the lock for as long as the CA takes for a few requests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Why an account cannot be used, or got no other key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The account has the key that it had.
    #[error("{0}")]
    Refused(AcmeError),
    /// No key of the store is one of the account.
    #[error("the CA takes none of the account's keys any more: {0}")]
    Unknown(AcmeError),
    #[error("there is no key in {0}")]
    NoKey(String),
    /// The CA did not answer: one key or the other.
    #[error("the CA did not say whether it took the new key: {0}")]
    Open(AcmeError),
    #[error("another process is changing the keys of the account")]
    Busy,
}

/// An account that the CA knows by one of its keys.
pub struct Opened {
    pub session: Session,
    pub registration: Registration,
    /// By the one that is to be its next key.
    pub is_next: bool,
}

/// The account in `folder`, with the key that the CA takes.
pub fn open(store: &StartStore, folder: &str, url: &str, server: &Arc<Server>) -> Result<Opened, Error> {
    let mut refusal = None;
    for (file, is_next) in [(ACCOUNT_KEY, false), (NEXT_ACCOUNT_KEY, true)] {
        let Some(key) = store.read_key(Group::Accounts, folder, file)? else { continue };
        let session = Session::new(server.clone(), key, url.to_string());
        match session.account() {
            Ok(registration) => return Ok(Opened { session, registration, is_next }),
            Err(error) if error.is_of_the_account() => refusal = Some(error),
            Err(error) => return Err(Error::Refused(error)),
        }
    }
    Err(refusal.map_or_else(|| Error::NoKey(format!("accounts/{folder}/{ACCOUNT_KEY}")), Error::Unknown))
}

/// Keeps renewals and other programs from changing the keys of an account. Where one of them is doing so, it is not
/// waited for: the caller has the lock of the store.
pub fn lock(store: &StartStore, folder: &str) -> Result<AccountLock, Error> {
    store.lock_account(folder, Duration::ZERO)?.ok_or(Error::Busy)
}

/// Waits until nobody changes the keys of the account, for as long as that may take.
pub fn await_others(store: &StartStore, folder: &str) -> Result<(), Error> {
    store.lock_account(folder, PATIENCE)?.map(drop).ok_or(Error::Busy)
}

/// Puts a key in its place that the CA has taken already: of a renewal, or of a process that died. One that the CA has
/// not taken waits on.
pub fn settle(store: &StartStore, folder: &str, opened: &Opened) -> Result<(), StoreError> {
    if opened.is_next {
        store.write_key(Group::Accounts, folder, ACCOUNT_KEY, opened.session.key())?;
        return store.remove(Group::Accounts, folder, NEXT_ACCOUNT_KEY);
    }
    match waiting(store, folder)? {
        Some(next) if next.is_same(opened.session.key()) => {
            store.remove(Group::Accounts, folder, NEXT_ACCOUNT_KEY)
        }
        _ => Ok(()),
    }
}

/// The key that waits for an account.
pub fn waiting(store: &StartStore, folder: &str) -> Result<Option<PrivateKey>, StoreError> {
    store.read_key(Group::Accounts, folder, NEXT_ACCOUNT_KEY)
}

/// Leaves a key for the next renewal to give to the account.
pub fn leave(store: &StartStore, folder: &str, next: &PrivateKey) -> Result<(), StoreError> {
    store.write_key(Group::Accounts, folder, NEXT_ACCOUNT_KEY, next)
}

/// Takes back a key that the CA has not taken.
pub fn take_back(store: &StartStore, folder: &str) -> Result<(), StoreError> {
    store.remove(Group::Accounts, folder, NEXT_ACCOUNT_KEY)
}

/// Gives the account another key, and returns it under that.
pub fn roll_over(
    store: &StartStore,
    folder: &str,
    opened: &Opened,
    new: &PrivateKey,
) -> Result<Session, Error> {
    settle(store, folder, opened)?;
    leave(store, folder, new)?;
    let session = match opened.session.take_key(new) {
        Ok(session) => session,
        Err(Unchanged::Refused(error)) => {
            take_back(store, folder)?;
            return Err(Error::Refused(error));
        }
        // The CA may take it yet.
        Err(Unchanged::Late(error) | Unchanged::Open(error)) => return Err(Error::Open(error)),
    };
    store.write_key(Group::Accounts, folder, ACCOUNT_KEY, new)?;
    store.remove(Group::Accounts, folder, NEXT_ACCOUNT_KEY)?;
    Ok(session)
}

/// An account that waits in the staging of an MD.
pub fn open_staged(
    store: &StartStore,
    name: &str,
    slot: usize,
    url: &str,
    server: &Arc<Server>,
) -> Result<(Registration, Session), Error> {
    let worker = store.worker();
    let (_, key) = Staging::new(&worker, name).account(slot)?;
    let key = key.ok_or_else(|| Error::NoKey(format!("staging/{name}")))?;
    let session = Session::new(server.clone(), key, url.to_string());
    match session.account() {
        Ok(registration) => Ok((registration, session)),
        Err(error) if error.is_of_the_account() => Err(Error::Unknown(error)),
        Err(error) => Err(Error::Refused(error)),
    }
}

/// The types of an account's keys. One that cannot be read has none here.
#[derive(Debug, Default)]
pub struct Kinds {
    pub key: Option<KeySpec>,
    /// Of the key that waits.
    pub next: Option<KeySpec>,
    /// A renewal has had the CA take that.
    pub is_taken: bool,
}

impl Kinds {
    pub fn read(site: &Site, known: &Known) -> Self {
        let store = &site.store;
        match &known.place {
            Place::Stored(folder) => {
                let key = store.read_key(Group::Accounts, folder, ACCOUNT_KEY).ok().flatten();
                let next = waiting(store, folder).ok().flatten();
                let is_taken = next.as_ref().is_some_and(|next| is_taken(store, &known.url, next));
                Kinds {
                    key: key.and_then(|key| key.spec()),
                    next: next.and_then(|next| next.spec()),
                    is_taken,
                }
            }
            Place::Staged(name, slot) => {
                let key = Staging::new(&store.worker(), name).account(*slot).ok().and_then(|(_, key)| key);
                Kinds { key: key.and_then(|key| key.spec()), ..Kinds::default() }
            }
        }
    }

    pub fn words(&self) -> String {
        let key = self.key.as_ref().map_or_else(|| "?".to_string(), spelled);
        match &self.next {
            Some(next) => format!("{key}, then {}", spelled(next)),
            None => key,
        }
    }
}

/// Whether a renewal has left the account with this key in staging.
fn is_taken(store: &StartStore, url: &str, next: &PrivateKey) -> bool {
    let worker = store.worker();
    let names = store.names(Group::Staging).unwrap_or_default();
    names.iter().any(|name| {
        let accounts = Staging::new(&worker, name).accounts();
        accounts.iter().any(|(_, json, key)| {
            json.get("url").and_then(|url| url.as_str()) == Some(url) && key.is_same(next)
        })
    })
}

/// `RSA-3072`, `P-256`.
pub fn kind_of(key: &PrivateKey) -> String {
    key.spec().as_ref().map_or_else(|| "unknown".into(), spelled)
}

/// As [`kind_of`] has it.
pub fn spelled(spec: &KeySpec) -> String {
    match spec {
        KeySpec::Rsa(bits) => format!("RSA-{bits}"),
        KeySpec::Ec(curve) => curve.clone(),
    }
}

/// Why an account cannot be used, with what to do.
pub fn failure(site: &Site, ca_url: &str, error: &Error) -> Failure {
    match error {
        Error::Store(error) => of_store(&site.dir, error),
        Error::Refused(error) => of_authority(ca_url, error),
        Error::Unknown(_) => Failure::new(format!("{ca_url}: {error}")).advice(
            "It was deactivated, or its key was changed elsewhere. Renewals register a new account by themselves; a2md \
             acme delreg ID removes this one here.",
        ),
        Error::NoKey(_) => Failure::new(error.to_string()),
        Error::Busy => Failure::new(format!("{ca_url}: {error}"))
            .advice("Try again when it has ended; fuser names the process that holds the folder of the account."),
        Error::Open(_) => Failure::new(format!("{ca_url}: {error}"))
            .advice(
                "Both keys are kept, and renewals find out which one is valid. Call again when the CA answers, or let \
                 the next renewal have it take the new one.",
            ),
    }
}
