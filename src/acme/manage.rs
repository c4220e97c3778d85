// SPDX-License-Identifier: Apache-2.0
//! Requests to a CA outside of an order: other chains of a certificate (RFC 8555 §7.4.2), revocation (§7.6),
//! another key for the account (§7.3.5), and its deactivation (§7.3.6). Does not decide whether to send them.

use super::account::{PEM_CHAIN, Registration, Session, is_chain};
use super::client::{Signer, json_of};
use super::{Error, Server, link};
use crate::crypto::{PrivateKey, jws};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

/// A chain as the CA sends it, and where it has others that lead to other roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// PEM, leaf first.
    pub chain: Vec<u8>,
    /// URLs for [`Session::certificate`].
    pub alternates: Vec<String>,
}

/// Why a certificate is revoked: the codes of RFC 5280 §5.3.1 a subscriber may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Unspecified = 0,
    KeyCompromise = 1,
    AffiliationChanged = 3,
    Superseded = 4,
    CessationOfOperation = 5,
}

/// Why an account has got no other key.
#[derive(Debug, thiserror::Error)]
pub enum Unchanged {
    /// It has the key that it had.
    #[error("{0}")]
    Refused(Error),
    /// It has the key that it had. The CA has not refused the new one, and may take it yet.
    #[error("the CA did not say whether it takes the new key, and has not done so by now: {0}")]
    Late(Error),
    /// One key or the other.
    #[error("the CA did not say whether it took the new key: {0}")]
    Open(Error),
}

impl Server {
    /// Revokes a DER certificate in the name of its own key, without an account (RFC 8555 §7.6): for one
    /// whose account is lost, or whose key is known to too many. One that is revoked already is the problem
    /// `alreadyRevoked`.
    pub fn revoke(&self, certificate: &[u8], key: &PrivateKey, reason: Option<Reason>) -> Result<(), Error> {
        let url = offered(self.directory().revoke_cert.as_deref(), "revokeCert")?;
        let payload = revocation(certificate, reason);
        self.post(url, Signer::Key(key), payload.to_string().as_bytes(), None).map(drop)
    }
}

impl Session {
    /// The chain at `url`, and the URLs of its alternates.
    pub fn certificate_with_alternates(&self, url: &str) -> Result<Download, Error> {
        let response = self.post(url, b"", Some(PEM_CHAIN))?;
        if !is_chain(&response.body) {
            return Err(Error::Protocol(format!("the answer of {url} is not a chain of PEM certificates")));
        }
        let alternates = link::targets(response.headers_all("link"), "alternate");
        Ok(Download { chain: response.body, alternates })
    }

    /// Revokes a DER certificate that this account ordered, or for whose names it holds authorizations
    /// (RFC 8555 §7.6).
    pub fn revoke(&self, certificate: &[u8], reason: Option<Reason>) -> Result<(), Error> {
        let url = offered(self.server().directory().revoke_cert.as_deref(), "revokeCert")?;
        self.send(url, &revocation(certificate, reason)).map(drop)
    }

    /// Gives the account another key (RFC 8555 §7.3.5), and returns the account under it. The new key has to
    /// be on disk before; if the response is lost, `Server::find_account` finds out which of the two is
    /// valid.
    pub fn change_key(&self, new: &PrivateKey) -> Result<Session, Error> {
        let url = offered(self.server().directory().key_change.as_deref(), "keyChange")?;
        let mut header = jws::Header::new();
        header.insert("jwk".into(), jws::jwk(new)?);
        header.insert("url".into(), json!(url));
        let change = json!({"account": self.kid, "oldKey": jws::jwk(&self.key)?});
        self.send(url, &jws::sign(new, header, change.to_string().as_bytes(), self.server().limit())?)?;
        Ok(Session::new(self.server().clone(), new.clone(), self.kid.clone()))
    }

    /// The same, and finds out which of the two keys is valid where the CA does not say that it took the new one:
    /// its answer may have been lost on the way, and another process may have been first.
    pub fn take_key(&self, new: &PrivateKey) -> Result<Session, Unchanged> {
        offered(self.server().directory().key_change.as_deref(), "keyChange").map_err(Unchanged::Refused)?;
        let error = match self.change_key(new) {
            Ok(session) => return Ok(session),
            Err(error) => error,
        };
        let by_new = Session::new(self.server().clone(), new.clone(), self.kid.clone());
        // An account has one key: where the former one is valid after this, the new one was not.
        match by_new.account() {
            Ok(_) => Ok(by_new),
            Err(_) if self.account().is_ok() => Err(match is_no(&error) {
                true => Unchanged::Refused(error),
                false => Unchanged::Late(error),
            }),
            Err(_) => Err(Unchanged::Open(error)),
        }
    }

    /// Agrees to the terms of service, which the server may ask for again (RFC 8555 §7.3.3). Sends the contacts
    /// of the account as well: some servers refuse a change without any.
    pub fn agree(&self, contacts: &[String]) -> Result<Registration, Error> {
        let mut change = Map::new();
        change.insert("termsOfServiceAgreed".into(), json!(true));
        if !contacts.is_empty() {
            change.insert("contact".into(), json!(contacts));
        }
        let response = self.send(&self.kid, &Value::Object(change))?;
        Registration::parse(self.kid.clone(), json_of(&self.kid, &response)?)
    }

    /// Ends the account for good (RFC 8555 §7.3.6). Its certificates stay valid; no request with its key is
    /// answered any more.
    pub fn deactivate(&self) -> Result<Registration, Error> {
        let response = self.send(&self.kid, &json!({"status": "deactivated"}))?;
        Registration::parse(self.kid.clone(), json_of(&self.kid, &response)?)
    }
}

fn offered<'a>(url: Option<&'a str>, what: &str) -> Result<&'a str, Error> {
    url.ok_or_else(|| Error::Protocol(format!("the directory of the CA has no '{what}'")))
}

/// Whether the CA has decided against a request. Where there is no answer, or one of a server that has failed, the
/// request may be obeyed yet.
fn is_no(error: &Error) -> bool {
    matches!(error, Error::Problem { problem, .. } if matches!(problem.status, 0 | 400..=499))
        || matches!(error, Error::Crypto(_))
}

fn revocation(certificate: &[u8], reason: Option<Reason>) -> Value {
    let mut payload = Map::new();
    payload.insert("certificate".into(), json!(BASE64URL_NOPAD.encode(certificate)));
    if let Some(reason) = reason {
        payload.insert("reason".into(), json!(reason as u8));
    }
    Value::Object(payload)
}
