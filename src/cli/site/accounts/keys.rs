// SPDX-License-Identifier: Apache-2.0
//! The key of an account, and how it gets another one (RFC 8555 §7.3.5). The new key is on disk beside the old
//! one before the CA is asked; afterwards it takes the old one's place. Whoever dies in between leaves both,
//! and whoever opens the account next asks the CA which one it takes; the renewing child does the same.

use crate::acme::{Error as AcmeError, Registration, Server, Session};
use crate::cli::authority::of_authority;
use crate::cli::console::call::Failure;
use crate::cli::site::{Site, of_store};
use crate::crypto::PrivateKey;
use crate::managed::staging::Staging;
use crate::model::KeySpec;
use crate::store::{ACCOUNT_KEY, Error as StoreError, Group, NEXT_ACCOUNT_KEY, StartStore};
use std::sync::Arc;

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
}

/// An account that the CA knows by one of its keys.
pub struct Opened {
    pub session: Session,
    pub registration: Registration,
    is_next: bool,
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

/// Ends what a process left that died while it gave the account another key.
pub fn settle(store: &StartStore, folder: &str, opened: &Opened) -> Result<(), StoreError> {
    if opened.is_next {
        store.write_key(Group::Accounts, folder, ACCOUNT_KEY, opened.session.key())?;
    }
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
    store.write_key(Group::Accounts, folder, NEXT_ACCOUNT_KEY, new)?;
    let session = match opened.session.change_key(new) {
        Ok(session) => session,
        Err(error) => {
            // The answer may have been lost on its way.
            let by_new = Session::new(
                opened.session.server().clone(),
                new.clone(),
                opened.session.account_url().into(),
            );
            match by_new.account() {
                Ok(_) => by_new,
                Err(other) if is_unknown(&other) && opened.session.account().is_ok() => {
                    store.remove(Group::Accounts, folder, NEXT_ACCOUNT_KEY)?;
                    return Err(Error::Refused(error));
                }
                Err(_) => return Err(Error::Open(error)),
            }
        }
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

/// `RSA-3072`, `P-256`.
pub fn kind_of(key: &PrivateKey) -> String {
    match key.spec() {
        Some(KeySpec::Rsa(bits)) => format!("RSA-{bits}"),
        Some(KeySpec::Ec(curve)) => curve,
        None => "unknown".into(),
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
        Error::Open(_) => Failure::new(format!("{ca_url}: {error}"))
            .advice("Both keys are kept, and renewals find out which one is valid. Call again when the CA answers."),
    }
}
