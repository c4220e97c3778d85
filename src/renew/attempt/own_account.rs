// SPDX-License-Identifier: Apache-2.0
//! The account that an httpd by itself orders with: the one that the MD's md.json names, else one for each CA and
//! external account, by whichever MD it was registered and with whatever contacts. Imports
//! [`account`](super::account) and [`rollover`](super::rollover).

use super::account::{Client, confirmed, eab_kid};
use super::ca_pool::{AccountKey, Held, Open};
use super::progress::Running;
use super::rollover;
use super::rollover::Followed;
use crate::acme::Server;
use crate::renew::decide::account_key::Turn;
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
    if let Some(open) = sessions.get(own.as_ref().unwrap_or(&shared)) {
        return Ok(Held::new(open.session.clone(), &mut registering));
    }
    let accounts = client.accounts();
    let mut found = None;
    for account in &accounts {
        let known = sessions.get(&AccountKey::Url(account.url.clone())).cloned();
        let open = match known {
            Some(open) => Some(open),
            None => confirmed(server, account)?.map(|session| Open {
                session,
                read: account.place.keys(),
                is_awaiting_change: false,
            }),
        };
        if let Some(open) = open {
            found = Some((account, open));
            break;
        }
    }
    let open = match found {
        Some((account, open)) => {
            client.update_contacts(account, &accounts, &open.session, running)?;
            let Followed { session, turn } =
                rollover::follow(client, &open.session, &mut registering, running)?;
            Open { session, is_awaiting_change: turn == Turn::Waits, ..open }
        }
        None => {
            let (_, session) = client.register(server, running)?;
            Open { session, read: None, is_awaiting_change: false }
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
