// SPDX-License-Identifier: Apache-2.0
//! Whether a request was refused because the account has got another key while an attempt was at work with the former
//! one: by `a2md account rollover`, or by another node of a fleet. Imports [`account`](super::account).

use super::account;
use super::state::Attempt;
use crate::acme::{Error, Session};
use std::time::Duration;

/// Each time somebody has changed the key; more than these are a quarrel that no attempt waits for.
const REOPENED_MAX: u32 = 10;
/// A node that changes the key tells the fleet right after it; it is waited for so often, for so long.
const LOOKS: u32 = 10;
const LOOK: Duration = Duration::from_millis(500);

impl Attempt<'_, '_, '_> {
    /// Whether `error` is the refusal of a key in whose place the account has another one now, as far as the store or
    /// the fleet knows.
    pub(super) fn has_other_key(&mut self, session: &Session, error: &Error) -> bool {
        if self.reopened >= REOPENED_MAX || !error.is_of_the_account() {
            return false;
        }
        let is_known = self.knows_other_key(session);
        if !is_known && (self.sharing.peers().is_none() || self.is_key_awaited) {
            return false;
        }
        // The refusal may be about something else.
        if !session.account().is_err_and(|error| error.is_of_the_account()) {
            return false;
        }
        is_known || self.await_other_key(session)
    }

    fn knows_other_key(&self, session: &Session) -> bool {
        let url = session.account_url();
        let is_other = |known: &account::Known| known.url == url && !known.has_key(session.key());
        self.fleet_has_other_key(session) || self.client().accounts().iter().any(is_other)
    }

    fn fleet_has_other_key(&self, session: &Session) -> bool {
        let (ca, kid) = (self.authority.url(), account::eab_kid(self.md));
        let key = self.sharing.peers().and_then(|peers| peers.account_key(ca, kid));
        key.is_some_and(|key| !session.key().is_same(&key))
    }

    fn await_other_key(&mut self, session: &Session) -> bool {
        self.is_key_awaited = true;
        (0..LOOKS).any(|_| self.renewal.rest(LOOK).is_ok() && self.fleet_has_other_key(session))
    }

    /// This renewal, as accounts see it.
    pub(super) fn client(&self) -> account::Client<'_> {
        let context = self.renewal.context;
        account::Client {
            authority: self.authority,
            md: self.md,
            targets: &context.targets,
            store: &context.store,
            sharing: self.sharing,
        }
    }
}
