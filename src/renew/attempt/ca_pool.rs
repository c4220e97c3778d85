// SPDX-License-Identifier: Apache-2.0
//! The CAs a run deals with, shared by all jobs: one directory and nonce pool each, one session for each
//! account, one registration at a time. Where many jobs need the same thing at the same moment, one gets it
//! and the others wait for it.

use crate::acme::{self, Server, Session};
use crate::crypto::CpuLimit;
use crate::http::{self, Transport};
use crate::managed::Route;
use crate::renew::decide::account_key::Hindrance;
use crate::renew::decide::error::Error;
use crate::sync::lock;
use crate::time::{Clock, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// Opens a transport that goes this way.
pub type Connect = Box<dyn Fn(&Route) -> Result<Arc<dyn Transport>, http::Error> + Send + Sync>;

pub struct CaPool {
    connect: Connect,
    /// How much is computed at once, for all CAs together.
    limit: CpuLimit,
    known: Mutex<HashMap<(String, Route), Arc<Authority>>>,
}

impl CaPool {
    pub fn new(connect: Connect) -> Self {
        CaPool { connect, limit: CpuLimit::default(), known: Mutex::default() }
    }

    /// Has keys and signatures made within this limit.
    #[must_use]
    pub fn computing_within(self, limit: CpuLimit) -> Self {
        CaPool { limit, ..self }
    }

    /// A way to servers other than CAs: by the same proxy, with the certificates that the system trusts.
    pub fn connect_beside(&self, route: &Route) -> Result<Arc<dyn Transport>, http::Error> {
        (self.connect)(&Route { ca_file: None, ..route.clone() })
    }

    pub fn limit(&self) -> &CpuLimit {
        &self.limit
    }

    /// The CA with this directory URL, as reached by this route.
    pub fn of(&self, url: &str, route: &Route) -> Arc<Authority> {
        let mut known = lock(&self.known);
        let registering =
            known.values().find(|other| other.url == url).map(|other| other.registering.clone());
        let entry = known.entry((url.to_string(), route.clone()));
        let new = || {
            let registering = registering.unwrap_or_default();
            Arc::new(Authority { url: url.into(), registering, ..Authority::default() })
        };
        entry.or_insert_with(new).clone()
    }
}

#[derive(Default)]
pub struct Authority {
    url: String,
    contact: Mutex<Contact>,
    sessions: Mutex<Sessions>,
    /// Held while an account is looked for or registered, by whatever route: jobs that start together share
    /// one.
    registering: Arc<Mutex<Accounts>>,
}

/// What this process does with the accounts of a CA, by whatever route.
#[derive(Default)]
pub struct Accounts {
    /// The attempts that each one signs for, by its URL.
    users: HashMap<String, Weak<()>>,
    /// Keys that the CA did not take for an account, and when: by their public part.
    refused: HashMap<Vec<u8>, Timestamp>,
    /// The last reason that was logged why a key waits for an account, by its URL.
    told: HashMap<String, Hindrance>,
}

impl Accounts {
    /// Notes that an attempt uses this account, for as long as it keeps what is returned.
    pub fn begin_use(&mut self, url: &str) -> Arc<()> {
        self.users.get(url).and_then(Weak::upgrade).unwrap_or_else(|| {
            let user = Arc::new(());
            self.users.insert(url.into(), Arc::downgrade(&user));
            user
        })
    }

    /// Whether an attempt uses this account.
    pub fn is_used(&self, url: &str) -> bool {
        self.users.get(url).is_some_and(|user| user.strong_count() > 0)
    }

    pub fn refused(&self, key: &[u8]) -> Option<Timestamp> {
        self.refused.get(key).copied()
    }

    /// Whether this was not the last reason already that was logged why a key waits for this account.
    pub fn is_new_hindrance(&mut self, url: &str, hindrance: &Hindrance) -> bool {
        self.told.insert(url.into(), hindrance.clone()).as_ref() != Some(hindrance)
    }

    pub fn note_refused(&mut self, key: Vec<u8>, now: Timestamp) {
        self.refused.insert(key, now);
    }
}

/// A session for one attempt, which says for as long that its account is in use.
pub struct Held {
    pub session: Session,
    _use: Arc<()>,
}

impl Held {
    pub fn new(session: Session, accounts: &mut Accounts) -> Self {
        let _use = accounts.begin_use(session.account_url());
        Held { session, _use }
    }
}

#[derive(Default)]
struct Contact {
    server: Option<Arc<Server>>,
    /// When the latest attempt to reach the CA ended in vain, and how.
    failure: Option<(Timestamp, Arc<acme::Error>)>,
}

/// Open sessions, by their account.
pub type Sessions = HashMap<AccountKey, Open>;

/// An open session, and where its key was read.
#[derive(Clone)]
pub struct Open {
    pub session: Session,
    /// The account's folder in `accounts`, and the files of its keys as they were then: an operator may give
    /// it another key at any time. `None`: it is not there.
    pub read: Option<(String, [Option<Vec<u8>>; 2])>,
    /// A key waits there that this one is to be changed for, and this was in the way.
    pub awaits: Option<Hindrance>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AccountKey {
    /// The account with this URL, or its replacement.
    Url(String),
    /// The account of MDs without one of their own that have this external account, or none.
    Shared(Option<String>),
    /// The same of all nodes of a fleet.
    Fleet(Option<String>),
}

impl Authority {
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The CA's server, its directory fetched. A job that waited here while another one failed shares that
    /// failure: a CA that accepts and never answers costs its time-out once, not once for each job.
    pub fn server(&self, pool: &CaPool, route: &Route, clock: &Arc<dyn Clock>) -> Result<Arc<Server>, Error> {
        let arrived = clock.now();
        let mut contact = lock(&self.contact);
        if let Some(server) = &contact.server {
            return Ok(server.clone());
        }
        if let Some((at, error)) = &contact.failure
            && *at >= arrived
        {
            return Err(Error::Acme(error.clone()));
        }
        let transport = (pool.connect)(route)?;
        match Server::connect(&self.url, transport, clock.clone()) {
            Ok(server) => {
                let server = Arc::new(server.signing_within(pool.limit.clone()));
                contact.server = Some(server.clone());
                Ok(server)
            }
            Err(error) => {
                let error = Arc::new(error);
                contact.failure = Some((clock.now(), error.clone()));
                Err(Error::Acme(error))
            }
        }
    }

    pub fn registering(&self) -> MutexGuard<'_, Accounts> {
        lock(&self.registering)
    }

    pub fn sessions(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.sessions)
    }

    /// The account with this URL is read and opened again.
    pub fn forget_account(&self, url: &str) {
        lock(&self.sessions).retain(|_, open| open.session.account_url() != url);
    }

    /// After a failure the next try fetches everything again: directory, nonces, accounts.
    pub fn forget(&self) {
        lock(&self.contact).server = None;
        lock(&self.sessions).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_routes_to_a_ca_one_job_registers_at_a_time() {
        let pool = CaPool::new(Box::new(|_| Err(http::Error::Stopped)));
        let route = Route { proxy_url: Some("http://proxy.test".into()), ..Route::default() };
        let (direct, proxied) =
            (pool.of("https://ca.test/dir", &Route::default()), pool.of("https://ca.test/dir", &route));
        let other = pool.of("https://other.test/dir", &Route::default());
        let _registering = direct.registering();
        assert!(proxied.registering.try_lock().is_err());
        assert!(other.registering.try_lock().is_ok());
    }
}
