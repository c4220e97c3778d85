//! The account to order with: one for each CA, contacts and external account, whoever of the MDs made
//! it. Looked for among stored accounts and those that wait in staging; registered only where there is none.

use super::authority::{AccountKey, Authority};
use super::error::Error;
use super::job::Running;
use super::staging::Staging;
use crate::acme::problem::Kind;
use crate::acme::{Registration, Server, Session};
use crate::crypto::PrivateKey;
use crate::model::{KeySpec, Md};
use crate::store::{WorkGroup, WorkStore};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// New account keys: what the C module understands, so that going back works.
const KEY: KeySpec = KeySpec::Rsa(3072);

/// The session to use for `md`. The lock on the CA's sessions is held meanwhile: of jobs that start
/// together one registers, the others find its account.
pub fn obtain(
    authority: &Authority,
    server: &Arc<Server>,
    md: &Md,
    store: &WorkStore,
    running: &mut Running<'_>,
) -> Result<Session, Error> {
    let wanted =
        AccountKey { contacts: md.contacts.clone(), eab_kid: md.eab.as_ref().map(|e| e.kid.clone()) };
    let mut sessions = authority.sessions();
    if let Some(session) = sessions.get(&wanted) {
        return Ok(session.clone());
    }
    let found = find(authority.url(), server, md, &wanted, store)?;
    let session = match found {
        Some(session) => session,
        None => register(authority.url(), server, md, store, running)?,
    };
    sessions.insert(wanted, session.clone());
    Ok(session)
}

/// A known account that fits and that the CA still knows.
fn find(
    url: &str,
    server: &Arc<Server>,
    md: &Md,
    wanted: &AccountKey,
    store: &WorkStore,
) -> Result<Option<Session>, Error> {
    for (json, key) in candidates(md, store) {
        if !fits(&json, url, wanted) {
            continue;
        }
        let Some(kid) = json.get("url").and_then(Value::as_str) else { continue };
        let session = Session::new(server.clone(), key, kid.to_string());
        match session.account() {
            Ok(registration) if registration.status == "valid" => return Ok(Some(session)),
            // Deactivated or revoked: it never comes back.
            Ok(_) => {}
            // RFC 8555 §6.7 has a type of its own for an unknown account; some CAs say it in other words.
            Err(error)
                if matches!(
                    error.kind(),
                    Some(Kind::AccountDoesNotExist | Kind::Unauthorized | Kind::Malformed)
                ) =>
            {
                crate::log!(Debug, "the CA does not know the account {kid} any more: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Stored accounts, the MD's own first; then those waiting in staging. One that cannot be read is no candidate.
fn candidates(md: &Md, store: &WorkStore) -> Vec<(Value, PrivateKey)> {
    let mut names = store.account_names().unwrap_or_default();
    if let Some(own) = md.ca.account.as_ref().and_then(|own| names.iter().position(|n| n == own)) {
        names.swap(0, own);
    }
    let stored = names.iter().filter_map(|name| {
        let json = store.read_account_json(name).ok().flatten()?;
        Some((json, store.read_account_key(name).ok().flatten()?))
    });
    let staged = store.names(WorkGroup::Staging).unwrap_or_default();
    let waiting = staged.iter().filter_map(|name| match Staging::new(store, name).account().ok()? {
        (Some(json), Some(key)) => Some((json, key)),
        _ => None,
    });
    stored.chain(waiting).collect()
}

fn fits(account: &Value, url: &str, wanted: &AccountKey) -> bool {
    let text = |pointer: &str| account.pointer(pointer).and_then(Value::as_str);
    let contacts = account.get("contact").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    text("/ca-url") == Some(url)
        && text("/status").is_none_or(|status| status == "valid")
        && text("/eab/kid") == wanted.eab_kid.as_deref()
        && contacts.iter().filter_map(Value::as_str).eq(wanted.contacts.iter().map(String::as_str))
}

/// Registers a new account (RFC 8555 §7.3). Its key is on disk first: where the answer is lost, the next
/// try gets the same account instead of a second one (§7.3.1).
fn register(
    url: &str,
    server: &Arc<Server>,
    md: &Md,
    store: &WorkStore,
    running: &mut Running<'_>,
) -> Result<Session, Error> {
    running.step(format!("Creating new ACME account for {}", md.name))?;
    let staging = Staging::new(store, &md.name);
    let key = match staging.account().unwrap_or_default() {
        (None, Some(key)) => key,
        (account, _) => {
            if account.is_some() {
                // Of another CA: it must never stand beside a key that is not its own.
                staging.remove_account()?;
            }
            let key = PrivateKey::generate(&KEY)?;
            staging.save_account_key(&key)?;
            key
        }
    };
    let agreement = md.ca.agreement.as_deref();
    let registration = server.register(&key, &md.contacts, agreement, md.eab.as_ref())?;
    staging.save_account(&account_json(url, md, &registration))?;
    Ok(Session::new(server.clone(), key, registration.url))
}

/// account.json as the C module writes it.
fn account_json(url: &str, md: &Md, registration: &Registration) -> Value {
    let mut out = Map::new();
    out.insert("status".into(), json!(registration.status));
    out.insert("url".into(), json!(registration.url));
    out.insert("ca-url".into(), json!(url));
    out.insert("contact".into(), json!(md.contacts));
    if let Some(orders) = &registration.orders {
        out.insert("orders".into(), json!(orders));
    }
    out.insert("registration".into(), registration.object.clone());
    if let Some(eab) = &md.eab {
        out.insert("eab".into(), json!({"kid": eab.kid, "hmac": eab.hmac}));
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_fits_by_authority_contacts_and_external_account() {
        let account = json!({"status": "valid", "url": "https://ca/acct/1", "ca-url": "https://ca/dir",
            "contact": ["mailto:a@x"], "eab": {"kid": "k", "hmac": "h"}});
        let wanted = |contact: &str, kid: Option<&str>| AccountKey {
            contacts: vec![contact.to_string()],
            eab_kid: kid.map(String::from),
        };
        assert!(fits(&account, "https://ca/dir", &wanted("mailto:a@x", Some("k"))));
        assert!(!fits(&account, "https://other/dir", &wanted("mailto:a@x", Some("k"))));
        assert!(!fits(&account, "https://ca/dir", &wanted("mailto:b@x", Some("k"))));
        assert!(!fits(&account, "https://ca/dir", &wanted("mailto:a@x", None)));
        let gone = json!({"status": "deactivated", "ca-url": "https://ca/dir", "contact": []});
        assert!(!fits(&gone, "https://ca/dir", &AccountKey { contacts: vec![], eab_kid: None }));
        assert!(!fits(&json!("garbage"), "https://ca/dir", &wanted("mailto:a@x", None)));
    }
}
