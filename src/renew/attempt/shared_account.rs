// SPDX-License-Identifier: Apache-2.0
//! The account that all nodes of a fleet order with: that of the fleet goes before those of the local store,
//! which stay where they are. Where the fleet has none, this node gives it its own, or registers one for all.
//! Imports [`account`](super::account) and [`rollover`](super::rollover).

use super::account::{self, Client, Known, Place};
use super::ca_pool::{AccountKey, Accounts, Held, Open};
use super::progress::Running;
use super::rollover;
use super::rollover::Followed;
use crate::acme::Server;
use crate::crypto::jws;
use crate::managed::peers::{Peers, Registering, SharedAccount};
use crate::managed::staging::{REPLACES, file};
use crate::renew::decide::account_key::Turn;
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
) -> Result<Held, Error> {
    let mut of_ca = client.authority.registering();
    let mut sessions = client.authority.sessions();
    let kid = account::eab_kid(client.md);
    let key = AccountKey::Fleet(kid.map(String::from));
    // An account that has got another key, here or from another node, is opened again.
    let is_current = |open: &&Open| {
        client.is_as_read(open)
            && rollover::serves(client, open, &of_ca)
            && peers
                .account_key(client.authority.url(), kid)
                .is_none_or(|key| open.session.key().is_same(&key))
    };
    if let Some(open) = sessions.get(&key).filter(is_current) {
        return Ok(Held::new(open.session.clone(), &mut of_ca));
    }
    let registering = peers.registering(client.authority.url(), kid)?;
    let open = find(client, server, running, registering.as_ref(), &mut of_ca)?;
    sessions.insert(key, open.clone());
    Ok(Held::new(open.session, &mut of_ca))
}

fn find(
    client: &Client<'_>,
    server: &Arc<Server>,
    running: &mut Running<'_>,
    registering: &dyn Registering,
    of_ca: &mut Accounts,
) -> Result<Open, Error> {
    let local = client.accounts();
    let shared = shared(client, registering);
    let known = shared.iter().chain(&local);
    let Some((account, session)) = account::first_open(known, |account| account::confirmed(server, account))?
    else {
        registering.may_ask()?;
        let (json, session) = client.register(server, running)?;
        registering.publish(&SharedAccount { json, key: session.key().clone() })?;
        return Ok(Open { session, read: None, awaits: None });
    };
    if matches!(account.place, Place::Fleet) {
        // Before it is kept: what is kept has the key that is valid.
        let read = client.stored_keys(&account.url);
        let Followed { session, turn } = rollover::follow(client, &session, of_ca, running)?;
        let (json, url) = (account.json.clone(), account.url.clone());
        let account = Known { place: Place::Fleet, url, json, key: session.key().clone() };
        // At once: a node that finds the former key refused registers an account.
        if turn == Turn::Changes {
            registering.publish(&SharedAccount { json: account.json.clone(), key: account.key.clone() })?;
        }
        keep(client, &account, &local)?;
        if let Some(json) = client.send_contacts(&account, &[], &session, running)? {
            registering.publish(&SharedAccount { json, key: account.key })?;
        }
        return Ok(Open { session, read, awaits: turn.hindrance() });
    }
    let json = client.update_contacts(account, &local, &session, running)?;
    let json = json.unwrap_or_else(|| account.json.clone());
    let Followed { session, turn } = rollover::follow(client, &session, of_ca, running)?;
    registering.publish(&SharedAccount { json, key: session.key().clone() })?;
    Ok(Open { session, read: account.place.keys(), awaits: turn.hindrance() })
}

/// The account that the fleet has, if it is one of this CA and external account.
fn shared(client: &Client<'_>, registering: &dyn Registering) -> Option<Known> {
    let SharedAccount { json, key } = registering.account()?;
    let url = json.get("url").and_then(Value::as_str)?.to_string();
    let is_one = account::fits(&json, client.authority.url(), account::eab_kid(client.md));
    is_one.then_some(Known { place: Place::Fleet, url, json, key })
}

/// Keeps the account in staging, where a start, and the C module after it, finds it. Accounts that wait there
/// stay. Another node may have given it the key: a start then puts that in the place of the former one.
fn keep(client: &Client<'_>, account: &Known, local: &[Known]) -> Result<(), Error> {
    let is_same = |known: &&Known| known.url == account.url && known.has_key(&account.key);
    if local.iter().any(|known| is_same(&known)) {
        return Ok(());
    }
    let staging = client.staging();
    let is_free = |slot: &usize| matches!(staging.account(*slot), Ok((None, None)));
    let Some(slot) = (0..file::ACCOUNTS.len()).find(is_free) else { return Ok(()) };
    let is_former = |known: &&Known| known.url == account.url && matches!(known.place, Place::Stored(..));
    let former = local.iter().find(is_former).and_then(|known| jws::thumbprint(&known.key).ok());
    let mut json = account.json.clone();
    if let (Value::Object(fields), Some(former)) = (&mut json, former) {
        fields.insert(REPLACES.into(), former.into());
    }
    staging.save_account_key(slot, &account.key)?;
    Ok(staging.save_account(slot, &json, &account.key)?)
}
