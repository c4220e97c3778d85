// SPDX-License-Identifier: Apache-2.0
//! The account that an httpd by itself orders with: the one that the MD's md.json names, else one for each CA and
//! external account, by whichever MD it was registered and with whatever contacts. Imports
//! [`account`](super::account) and [`rollover`](super::rollover).

use super::account::{Client, Known, Tried, confirmed, eab_kid, open_known};
use super::ca_pool::{AccountKey, Held, Open};
use super::progress::Running;
use super::rollover;
use super::rollover::Followed;
use crate::acme::Server;
use crate::renew::decide::error::Error;
use std::sync::Arc;

/// The session to use for the client's MD. Of jobs that start together one registers, the others find its
/// account.
pub(super) fn obtain(
    client: &Client<'_>,
    server: &Arc<Server>,
    running: &mut Running<'_>,
) -> Result<Held, Error> {
    let mut registering = client.authority.registering();
    let mut sessions = client.authority.sessions();
    let shared = AccountKey::Shared(eab_kid(client.md).map(String::from));
    let own = client.own_account().map(AccountKey::Url);
    // An account whose key has changed on disk is opened again.
    sessions.retain(|_, open| client.is_as_read(open));
    let known = sessions.get(own.as_ref().unwrap_or(&shared));
    if let Some(open) = known.filter(|open| rollover::serves(client, open, &registering)) {
        return Ok(Held::new(open.session.clone(), &mut registering));
    }
    let open = |account: &Known| match sessions.get(&AccountKey::Url(account.url.clone())) {
        Some(open) => Ok(Some(open.clone())),
        None => {
            let read = account.place.keys();
            Ok(confirmed(server, account)?.map(|session| Open { session, read, awaits: None }))
        }
    };
    let Tried { accounts, found } = open_known(client, open)?;
    let open = match found {
        Some((account, open)) => {
            client.update_contacts(&account, &accounts, &open.session, running)?;
            let Followed { session, turn } =
                rollover::follow(client, &open.session, &mut registering, running)?;
            Open { session, awaits: turn.hindrance(), ..open }
        }
        None => {
            let (_, session) = client.register(server, running)?;
            Open { session, read: None, awaits: None }
        }
    };
    let url = AccountKey::Url(open.session.account_url().to_string());
    if own.as_ref() != Some(&url) {
        sessions.insert(shared, open.clone());
    }
    for key in own.into_iter().chain([url]) {
        sessions.insert(key, open.clone());
    }
    Ok(Held::new(open.session, &mut registering))
}
