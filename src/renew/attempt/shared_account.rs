// SPDX-License-Identifier: Apache-2.0
//! The account that all nodes of a fleet order with: that of the fleet goes before those of the local store,
//! which stay where they are. Where the fleet has none, this node gives it its own, or registers one for all.
//! Imports [`account`](super::account).

use super::account::{self, Client, Known, Place};
use super::ca_pool::{AccountKey, Open};
use super::progress::Running;
use crate::acme::{Server, Session};
use crate::managed::peers::{Peers, Registering, SharedAccount};
use crate::managed::staging::file;
use crate::renew::decide::error::Error;
use serde_json::Value;
use std::sync::Arc;

/// The session to use for the client's MD. Of jobs that start together one asks the fleet, the others find
/// its account.
pub(super) fn obtain(
    client: &Client<'_>,
    server: &Arc<Server>,
    running: &mut Running<'_>,
    peers: &dyn Peers,
) -> Result<Session, Error> {
    let _registering = client.authority.registering();
    let mut sessions = client.authority.sessions();
    let kid = account::eab_kid(client.md);
    let key = AccountKey::Fleet(kid.map(String::from));
    if let Some(open) = sessions.get(&key) {
        return Ok(open.session.clone());
    }
    let registering = peers.registering(client.authority.url(), kid)?;
    let session = find(client, server, running, registering.as_ref())?;
    sessions.insert(key, Open { session: session.clone(), read: None });
    Ok(session)
}

fn find(
    client: &Client<'_>,
    server: &Arc<Server>,
    running: &mut Running<'_>,
    registering: &dyn Registering,
) -> Result<Session, Error> {
    let local = client.accounts();
    if let Some(account) = shared(client, registering)
        && let Some(session) = account::confirmed(server, &account)?
    {
        keep(client, &account, &local)?;
        if let Some(json) = client.send_contacts(&account, &[], &session, running)? {
            registering.publish(&SharedAccount { json, key: account.key.clone() })?;
        }
        return Ok(session);
    }
    for account in &local {
        if let Some(session) = account::confirmed(server, account)? {
            let json = client.update_contacts(account, &local, &session, running)?;
            let json = json.unwrap_or_else(|| account.json.clone());
            registering.publish(&SharedAccount { json, key: account.key.clone() })?;
            return Ok(session);
        }
    }
    registering.may_ask()?;
    let (json, session) = client.register(server, running)?;
    registering.publish(&SharedAccount { json, key: session.key().clone() })?;
    Ok(session)
}

/// The account that the fleet has, if it is one of this CA and external account.
fn shared(client: &Client<'_>, registering: &dyn Registering) -> Option<Known> {
    let SharedAccount { json, key } = registering.account()?;
    let url = json.get("url").and_then(Value::as_str)?.to_string();
    let is_one = account::fits(&json, client.authority.url(), account::eab_kid(client.md));
    is_one.then_some(Known { place: Place::Fleet, url, json, key })
}

/// Keeps the account in staging, where a start, and the C module after it, finds it. Accounts that wait there
/// stay.
fn keep(client: &Client<'_>, account: &Known, local: &[Known]) -> Result<(), Error> {
    let is_same = |known: &&Known| known.url == account.url && known.has_key_of(account);
    if local.iter().any(|known| is_same(&known)) {
        return Ok(());
    }
    let staging = client.staging();
    let is_free = |slot: &usize| matches!(staging.account(*slot), Ok((None, None)));
    let Some(slot) = (0..file::ACCOUNTS.len()).find(is_free) else { return Ok(()) };
    staging.save_account_key(slot, &account.key)?;
    Ok(staging.save_account(slot, &account.json, &account.key)?)
}
