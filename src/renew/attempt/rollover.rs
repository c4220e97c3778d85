// SPDX-License-Identifier: Apache-2.0
//! The key that waits for an account, as `account-next.pem` beside the one it has: left by `a2md account rollover
//! --at-renewal`, or by an a2md that died while it changed the key. A renewal that finds no other order of the
//! account under way has the CA take it (RFC 8555 §7.3.5), and goes on with it. `accounts` is not ours to write: a
//! copy of the account with its new key is left in staging, and the next start or a2md puts the key in its place.
//! Until then either process finds by asking the CA which key is valid, so it may die at any point. Only a CA
//! that says of neither key that it is valid ends an attempt here; the next one asks it again. Imports [`account`](super::account).

use super::account::{Client, Known, Place};
use super::ca_pool::{Accounts, Open};
use super::progress::Running;
use crate::acme::manage::Unchanged;
use crate::acme::{Error as AcmeError, Session};
use crate::managed::staging::Staging;
use crate::renew::decide::account_key::{Hindrance, Keys, Turn, is_refused, turn};
use crate::renew::decide::error::Error;
use crate::store::WorkGroup;
use crate::time::Timestamp;
use std::time::Duration;

/// The session to go on with.
pub(super) struct Followed {
    pub(super) session: Session,
    pub(super) turn: Turn,
}

/// Has the account of `session`, which the CA has confirmed, take the key that waits for it, if this is the time.
pub(super) fn follow(
    client: &Client<'_>,
    session: &Session,
    of_ca: &mut Accounts,
    running: &mut Running<'_>,
) -> Result<Followed, Error> {
    let url = session.account_url();
    let mut accounts = client.accounts();
    accounts.retain(|account| account.url == url);
    let of = |is_there: fn(&Place) -> bool| accounts.iter().find(|account| is_there(&account.place));
    let stored = of(|place| matches!(place, Place::Stored(..)));
    let next = of(|place| matches!(place, Place::Next(..)));
    let public = |account: &Known| account.key.public_der().ok();
    let stays = |turn| Ok(Followed { session: session.clone(), turn });
    let (Some(next), Ok(valid)) = (next, session.key().public_der()) else { return stays(Turn::Stays) };
    let (stored_key, next_key) = (stored.and_then(public), public(next));
    let now = session.server().now();
    let refused = || next_key.as_ref().and_then(|key| of_ca.refused(key)).filter(|at| is_refused(*at, now));
    let is_used = || of_ca.is_used(url).then_some(Hindrance::Use);
    let hindrance = client.sharing.is_cut_off().then_some(Hindrance::CutOff).or_else(is_used);
    let hindrance = hindrance.or_else(|| refused().map(Hindrance::Refused));
    let hindrance = hindrance.or_else(|| client.order_under_way(now).map(Hindrance::Order));
    let keys = Keys { valid: &valid, stored: stored_key.as_ref(), next: next_key.as_ref(), hindrance };
    match turn(&keys) {
        Turn::IsChanged => {
            client.note_change(&accounts, session);
            stays(Turn::IsChanged)
        }
        Turn::Changes => {
            client.sharing.may_ask()?;
            let changed = client.change_key(next, session, running)?;
            match changed {
                Changed::Taken(session) => {
                    client.note_change(&accounts, &session);
                    Ok(Followed { session, turn: Turn::Changes })
                }
                Changed::Not(unclear) => {
                    next_key.into_iter().for_each(|key| of_ca.note_refused(key, now));
                    unclear.map_or_else(
                        || stays(Turn::Waits(Hindrance::Refused(now))),
                        |error| Err(error.into()),
                    )
                }
                Changed::Outrun => stays(Turn::Waits(Hindrance::Outrun)),
            }
        }
        Turn::Waits(hindrance) => {
            if of_ca.is_new_hindrance(url, &hindrance) {
                crate::log!(
                    Info,
                    "md[{}]: the key that waits for the account {url} waits on: {hindrance}",
                    client.md.name
                );
            }
            stays(Turn::Waits(hindrance))
        }
        turn => stays(turn),
    }
}

/// Whether an open session serves as it is: no key waits for its account, or what was in its way still is. That is
/// found without a look at every domain.
pub(super) fn serves(client: &Client<'_>, open: &Open, of_ca: &Accounts) -> bool {
    let now = open.session.server().now();
    open.awaits.as_ref().is_none_or(|hindrance| match hindrance {
        Hindrance::CutOff => client.sharing.is_cut_off(),
        Hindrance::Use => of_ca.is_used(open.session.account_url()),
        Hindrance::Order(name) => client.is_under_way(name, now),
        Hindrance::Refused(at) => is_refused(*at, now),
        // Not for long.
        Hindrance::Outrun => false,
    })
}

enum Changed {
    Taken(Session),
    /// Nobody knows which of the two is valid, where there is an error.
    Not(Option<AcmeError>),
    /// Another process is about to change the keys, or has done so.
    Outrun,
}

impl Client<'_> {
    /// A domain that the CA is at work on an order of: it validates with the key that was valid at its begin.
    fn order_under_way(&self, now: Timestamp) -> Option<String> {
        let configured = self.targets.iter().map(|target| target.md.name.as_str());
        // What cannot be read is none.
        let names = self.store.present(WorkGroup::Staging, configured).unwrap_or_default();
        names.into_iter().find(|name| self.is_under_way(name, now))
    }

    /// Whether the CA is at work on an order of this domain.
    fn is_under_way(&self, name: &str, now: Timestamp) -> bool {
        let staging = Staging::new(self.store, name);
        let order = staging.order().ok().flatten();
        let is_here = || {
            let md = staging.md().ok().flatten();
            md.is_some_and(|md| md.ca.url.as_deref() == Some(self.authority.url()))
        };
        order.is_some_and(|order| order.is_under_way(now)) && is_here()
    }

    fn change_key(
        &self,
        next: &Known,
        session: &Session,
        running: &mut Running<'_>,
    ) -> Result<Changed, Error> {
        let Place::Next(folder, read) = &next.place else { return Ok(Changed::Outrun) };
        let Ok(Some(_lock)) = self.store.lock_account(folder, Duration::ZERO) else {
            return Ok(Changed::Outrun);
        };
        // It may have been taken back since it was read.
        if !self.store.sealed_account_keys(folder).is_ok_and(|keys| keys == *read) {
            return Ok(Changed::Outrun);
        }
        running.step(format!("Changing the key of the ACME account for {}", self.md.name))?;
        match session.take_key(&next.key) {
            Ok(session) => {
                crate::log!(Notice, "md[{}]: the account {} has its new key", self.md.name, next.url);
                Ok(Changed::Taken(session))
            }
            Err(Unchanged::Open(error)) => {
                crate::log!(
                    Warn,
                    "md[{}]: which key the account {} has is not known, and the next try asks the CA, with both: {error}",
                    self.md.name,
                    next.url
                );
                Ok(Changed::Not(Some(error)))
            }
            Err(error) => {
                crate::log!(
                    Warn,
                    "md[{}]: the account {} has not got the key that waits for it, and a later renewal tries again: \
                     {error}. To keep the present key: a2md account rollover {folder} --cancel.",
                    self.md.name,
                    next.url
                );
                Ok(Changed::Not(None))
            }
        }
    }

    /// Leaves the account with the key of `session`, unless a copy says so already. Without a copy the key is found by
    /// asking the CA.
    fn note_change(&self, accounts: &[Known], session: &Session) {
        let is_staged = |account: &&Known| matches!(account.place, Place::Staged(..));
        let is_valid = |account: &Known| account.has_key(session.key());
        if accounts.iter().filter(is_staged).any(is_valid) {
            return;
        }
        // Contacts that the CA was sent since the start are in staging.
        let newest = accounts.iter().find(is_staged).or(accounts.first());
        let noted = newest.map_or(Ok(()), |account| self.leave_copy(&account.json, session.key()));
        if let Err(error) = noted {
            crate::log!(Warn, "md[{}]: the new key of its account cannot be noted: {error}", self.md.name);
        }
    }
}
