//! The account to order with: one for each CA, contacts and external account, whoever of the MDs made
//! it. Looked for among stored accounts and those that wait in staging; registered only where there is none.

use super::Managed;
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

/// Who wants a session, and where accounts are kept.
pub struct Client<'a> {
    pub authority: &'a Authority,
    pub md: &'a Md,
    /// All MDs of the server.
    pub targets: &'a [Managed],
    pub store: &'a WorkStore,
}

/// The session to use for the client's MD. The lock on the CA's sessions is held meanwhile: of jobs that
/// start together one registers, the others find its account.
pub fn obtain(
    client: &Client<'_>,
    server: &Arc<Server>,
    running: &mut Running<'_>,
) -> Result<Session, Error> {
    let md = client.md;
    let wanted =
        AccountKey { contacts: md.contacts.clone(), eab_kid: md.eab.as_ref().map(|e| e.kid.clone()) };
    let mut sessions = client.authority.sessions();
    if let Some(session) = sessions.get(&wanted) {
        return Ok(session.clone());
    }
    let session = match client.find(server, &wanted)? {
        Some(session) => session,
        None => match client.update(server, &wanted, running)? {
            Some(session) => session,
            None => client.register(server, running)?,
        },
    };
    sessions.insert(wanted, session.clone());
    Ok(session)
}

impl Client<'_> {
    fn staging(&self) -> Staging<'_> {
        Staging::new(self.store, &self.md.name)
    }

    /// A known account that fits and that the CA still knows.
    fn find(&self, server: &Arc<Server>, wanted: &AccountKey) -> Result<Option<Session>, Error> {
        for (json, key) in candidates(self.md, self.store) {
            if fits(&json, self.authority.url(), wanted)
                && let Some(session) = confirmed(server, &json, key)?
            {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// The MD's own account, told about the MD's new contacts: it stays the one that CAA records name
    /// (RFC 8657). `None` where there is none, or where another MD goes on with the old contacts.
    fn update(
        &self,
        server: &Arc<Server>,
        wanted: &AccountKey,
        running: &mut Running<'_>,
    ) -> Result<Option<Session>, Error> {
        let Some(folder) = &self.md.ca.account else { return Ok(None) };
        // An account that cannot be read is none.
        let json = self.store.read_account_json(folder).ok().flatten();
        let key = self.store.read_account_key(folder).ok().flatten();
        let Some((mut json, key)) = json.zip(key) else { return Ok(None) };
        let stored = AccountKey { contacts: contacts(&json), ..wanted.clone() };
        let shares = |other: &Managed| {
            other.md.ca.account.as_ref() == Some(folder) && other.md.contacts == stored.contacts
        };
        if !fits(&json, self.authority.url(), &stored) || self.targets.iter().any(shares) {
            return Ok(None);
        }
        let Some(session) = confirmed(server, &json, key)? else { return Ok(None) };
        running.step(format!("Updating contacts of the ACME account for {}", self.md.name))?;
        let registration = session.update_contacts(&self.md.contacts)?;
        if let Value::Object(fields) = &mut json {
            fields.insert("contact".into(), json!(self.md.contacts));
            fields.insert("registration".into(), registration.object);
        }
        let (staging, slot) = (self.staging(), self.staging().account_slot(self.authority.url()));
        staging.remove_account(slot)?;
        staging.save_account_key(slot, session.key())?;
        staging.save_account(slot, &json)?;
        Ok(Some(session))
    }

    /// Registers a new account (RFC 8555 §7.3). Its key is on disk first: where the answer is lost, the next
    /// try gets the same account instead of a second one (§7.3.1).
    fn register(&self, server: &Arc<Server>, running: &mut Running<'_>) -> Result<Session, Error> {
        let (md, url) = (self.md, self.authority.url());
        running.step(format!("Creating new ACME account for {}", md.name))?;
        let staging = self.staging();
        let slot = staging.account_slot(url);
        let key = match staging.account(slot).unwrap_or_default() {
            (None, Some(key)) => key,
            (account, _) => {
                if account.is_some() {
                    // It must never stand beside a key that is not its own.
                    staging.remove_account(slot)?;
                }
                let key = PrivateKey::generate(&KEY)?;
                staging.save_account_key(slot, &key)?;
                key
            }
        };
        let agreement = md.ca.agreement.as_deref();
        let registration = server.register(&key, &md.contacts, agreement, md.eab.as_ref())?;
        staging.save_account(slot, &account_json(url, md, &registration))?;
        crate::log!(
            Notice,
            "{}: new account {} at {url}; a CAA record can allow it alone (RFC 8657): accounturi={}",
            md.name,
            registration.url,
            registration.url
        );
        Ok(Session::new(server.clone(), key, registration.url))
    }
}

/// The session of a stored account, if the CA still knows it.
fn confirmed(server: &Arc<Server>, json: &Value, key: PrivateKey) -> Result<Option<Session>, Error> {
    let Some(kid) = json.get("url").and_then(Value::as_str) else { return Ok(None) };
    let session = Session::new(server.clone(), key, kid.to_string());
    match session.account() {
        // One that is deactivated or revoked never comes back.
        Ok(registration) => Ok((registration.status == "valid").then_some(session)),
        // RFC 8555 §6.7 has a type of its own for an unknown account; some CAs say it in other words.
        Err(error)
            if matches!(
                error.kind(),
                Some(Kind::AccountDoesNotExist | Kind::Unauthorized | Kind::Malformed)
            ) =>
        {
            crate::log!(Debug, "the CA does not know the account {kid} any more: {error}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
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
    stored.chain(staged.iter().flat_map(|name| Staging::new(store, name).accounts())).collect()
}

fn contacts(account: &Value) -> Vec<String> {
    let contacts = account.get("contact").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    contacts.iter().filter_map(Value::as_str).map(String::from).collect()
}

fn fits(account: &Value, url: &str, wanted: &AccountKey) -> bool {
    let text = |pointer: &str| account.pointer(pointer).and_then(Value::as_str);
    text("/ca-url") == Some(url)
        && text("/status").is_none_or(|status| status == "valid")
        && text("/eab/kid") == wanted.eab_kid.as_deref()
        && contacts(account) == wanted.contacts
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
