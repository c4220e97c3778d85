// SPDX-License-Identifier: Apache-2.0
//! Accounts, and the requests they sign: orders, authorizations, challenges, certificates (RFC 8555 §7.3 to
//! §7.5). The server knows whether a key already has an account; the caller keeps key and URL.

use super::client::{Signer, json_of, location};
use super::objects::{Authorization, MAX_WORD, Order};
use super::problem::{EAB_HMAC_INVALID, Problem, line};
use super::{Error, Server};
use crate::crypto::{PrivateKey, jws, pem};
use crate::http::Response;
use crate::model::Eab;
use crate::time::Timestamp;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use zeroize::Zeroizing;

pub(super) const PEM_CHAIN: &str = "application/pem-certificate-chain";
const MAX_CHAIN: usize = 20;

/// An account as the server has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// The account URL: `kid` of requests, and the name of the account in a CAA record (RFC 8657).
    pub url: String,
    /// `valid`, `deactivated` or `revoked` (RFC 8555 §7.1.2); `valid` where the server says nothing.
    pub status: String,
    pub orders: Option<String>,
    /// The object as sent. Nothing in it is secret.
    pub object: Value,
}

/// The options of an order beside its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderOptions {
    /// One of the directory's `meta.profiles`.
    pub profile: Option<String>,
    /// The certificate this one takes the place of: `AKI.SERIAL` (RFC 9773 §5).
    pub replaces: Option<String>,
    pub not_after: Option<Timestamp>,
}

/// A resource that may be polled, and when the server wants to be asked again.
#[derive(Clone, Debug, PartialEq)]
pub struct Polled<T> {
    pub value: T,
    pub retry_after: Option<Timestamp>,
}

impl Server {
    /// Makes an account for `key`, or returns the one it has (RFC 8555 §7.3, §7.3.1).
    ///
    /// `agreement`: set if the terms of service are agreed to. Without it, and with terms in the
    /// directory, nothing is sent.
    pub fn register(
        &self,
        key: &PrivateKey,
        contacts: &[String],
        agreement: Option<&str>,
        eab: Option<&Eab>,
    ) -> Result<Registration, Error> {
        let directory = self.directory();
        if let (Some(terms), None) = (&directory.terms_of_service, agreement) {
            return Err(Error::AgreementRequired { terms: terms.clone() });
        }
        let mut payload = Map::new();
        if agreement.is_some() {
            payload.insert("termsOfServiceAgreed".into(), json!(true));
        }
        if !contacts.is_empty() {
            payload.insert("contact".into(), json!(contacts));
        }
        match eab {
            Some(eab) => {
                let binding = external_binding(&directory.new_account, key, eab)?;
                payload.insert("externalAccountBinding".into(), binding);
            }
            None if directory.external_account_required => {
                let text = "the CA accepts only accounts that are bound to one it already knows: configure \
                            'MDExternalAccountBinding' with the key identifier and hmac the CA gave you";
                return Err(Problem::new("acme:error:externalAccountRequired", text).into());
            }
            None => {}
        }
        self.new_account(key, &Value::Object(payload))
    }

    /// The account `key` already has; `accountDoesNotExist` if it has none (RFC 8555 §7.3.1).
    pub fn find_account(&self, key: &PrivateKey) -> Result<Registration, Error> {
        self.new_account(key, &json!({"onlyReturnExisting": true}))
    }

    fn new_account(&self, key: &PrivateKey, payload: &Value) -> Result<Registration, Error> {
        let url = &self.directory().new_account;
        let response = self.post(url, Signer::Key(key), payload.to_string().as_bytes(), None)?;
        let account = location(url, &response)?;
        self.check_origin(&account)?;
        Registration::parse(account, json_of(url, &response)?)
    }
}

impl Registration {
    pub(super) fn parse(url: String, object: Value) -> Result<Self, Error> {
        if !object.is_object() {
            return Err(Error::Protocol("the server sent no account object".into()));
        }
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(String::from);
        // A server does not answer for an account that is not valid (RFC 8555 §7.3.6).
        let status = text("status").map(|status| line(&status, MAX_WORD).to_ascii_lowercase());
        let status = status.unwrap_or_else(|| "valid".into());
        Ok(Registration { url, status, orders: text("orders"), object })
    }
}

/// RFC 8555 §7.3.4: the account's public key, signed with the secret shared with the CA.
fn external_binding(url: &str, key: &PrivateKey, eab: &Eab) -> Result<Value, Error> {
    let secret = eab_secret(&eab.hmac).ok_or_else(|| {
        let text =
            "the hmac of 'MDExternalAccountBinding' is not base64url: copy it exactly as the CA gave it";
        Problem::new(EAB_HMAC_INVALID, text)
    })?;
    let mut header = jws::Header::new();
    header.insert("kid".into(), json!(eab.kid));
    header.insert("url".into(), json!(url));
    Ok(jws::hmac_sign(&secret, header, jws::jwk(key)?.to_string().as_bytes())?)
}

/// Whether the hmac of an external account can be read.
pub fn is_eab_hmac(hmac: &str) -> bool {
    eab_secret(hmac).is_some()
}

/// CAs hand the secret out as base64url; some as plain base64, some with padding, some with bits in the last
/// character that belong to no byte.
fn eab_secret(hmac: &str) -> Option<Zeroizing<Vec<u8>>> {
    let bare = hmac.trim().trim_end_matches('=').as_bytes();
    let secret = [BASE64URL_NOPAD, BASE64_NOPAD].into_iter().find_map(|encoding| {
        let mut lenient = encoding.specification();
        lenient.check_trailing_bits = false;
        lenient.encoding().ok()?.decode(bare).ok()
    })?;
    (!secret.is_empty()).then(|| Zeroizing::new(secret))
}

/// An account at work. Clones share the server.
#[derive(Clone)]
pub struct Session {
    server: Arc<Server>,
    pub(super) key: PrivateKey,
    pub(super) kid: String,
}

impl Session {
    /// `kid`: the account's URL.
    pub fn new(server: Arc<Server>, key: PrivateKey, kid: String) -> Self {
        Session { server, key, kid }
    }

    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The URL of the account.
    pub fn account_url(&self) -> &str {
        &self.kid
    }

    /// Of the account key, for key authorizations.
    pub fn thumbprint(&self) -> Result<String, Error> {
        Ok(jws::thumbprint(&self.key)?)
    }

    /// The account as it is now; a deactivated one is `unauthorized` at most servers.
    pub fn account(&self) -> Result<Registration, Error> {
        let response = self.fetch(&self.kid)?;
        Registration::parse(self.kid.clone(), json_of(&self.kid, &response)?)
    }

    /// Replaces the contacts of the account (RFC 8555 §7.3.2).
    pub fn update_contacts(&self, contacts: &[String]) -> Result<Registration, Error> {
        let response = self.send(&self.kid, &json!({"contact": contacts}))?;
        Registration::parse(self.kid.clone(), json_of(&self.kid, &response)?)
    }

    /// RFC 8555 §7.4. `names` are DNS names, wildcards or IP literals.
    pub fn new_order(&self, names: &[String], options: &OrderOptions) -> Result<Polled<Order>, Error> {
        let identifiers: Vec<Value> = names
            .iter()
            .map(|name| super::objects::Identifier::of(name))
            .map(|i| json!({"type": i.type_, "value": i.value}))
            .collect();
        let mut payload = Map::new();
        payload.insert("identifiers".into(), json!(identifiers));
        for (key, value) in [
            ("profile", options.profile.clone()),
            ("replaces", options.replaces.clone()),
            ("notAfter", options.not_after.map(Timestamp::to_rfc3339)),
        ] {
            if let Some(value) = value {
                payload.insert(key.into(), json!(value));
            }
        }
        let url = &self.server.directory().new_order;
        let response = self.send(url, &Value::Object(payload))?;
        let order = Order::parse(&location(url, &response)?, &json_of(url, &response)?)?;
        // The caller keeps it: one that nothing may be sent to would be kept in vain.
        self.server.check_origin(&order.url)?;
        Ok(self.polled(order, &response))
    }

    pub fn order(&self, url: &str) -> Result<Polled<Order>, Error> {
        let response = self.fetch(url)?;
        Ok(self.polled(Order::parse(url, &json_of(url, &response)?)?, &response))
    }

    pub fn authorization(&self, url: &str) -> Result<Polled<Authorization>, Error> {
        let response = self.fetch(url)?;
        Ok(self.polled(Authorization::parse(url, &json_of(url, &response)?)?, &response))
    }

    /// Starts the validation of a challenge by the server (RFC 8555 §7.5.1).
    ///
    /// The challenge in the response is not read: its authorization has the result.
    pub fn start_challenge(&self, url: &str) -> Result<Polled<()>, Error> {
        let response = self.send(url, &json!({}))?;
        Ok(self.polled((), &response))
    }

    /// Sends the DER signing request (RFC 8555 §7.4).
    pub fn finalize(&self, order: &Order, csr: &[u8]) -> Result<Polled<Order>, Error> {
        let url = order.finalize.as_deref().ok_or_else(|| {
            Error::Protocol(format!("the order {} has no 'finalize' that is an http(s) URL", order.url))
        })?;
        let response = self.send(url, &json!({"csr": BASE64URL_NOPAD.encode(csr)}))?;
        let after = Order::parse(&order.url, &json_of(url, &response)?)?;
        Ok(self.polled(after, &response))
    }

    /// The chain as it was sent: PEM certificates and text around them (RFC 8555 §7.4.2, §9.1).
    pub fn certificate(&self, url: &str) -> Result<Vec<u8>, Error> {
        self.certificate_with_alternates(url).map(|download| download.chain)
    }

    fn fetch(&self, url: &str) -> Result<Response, Error> {
        self.post(url, b"", None)
    }

    pub(super) fn send(&self, url: &str, payload: &Value) -> Result<Response, Error> {
        self.post(url, payload.to_string().as_bytes(), None)
    }

    pub(super) fn post(&self, url: &str, payload: &[u8], accept: Option<&str>) -> Result<Response, Error> {
        self.server.post(url, Signer::Account(&self.key, &self.kid), payload, accept)
    }

    fn polled<T>(&self, value: T, response: &Response) -> Polled<T> {
        Polled { value, retry_after: response.retry_after(self.server.now()) }
    }
}

/// RFC 8555 §9.1: one or more CERTIFICATE blocks and none of another kind. Explanatory text around them
/// (RFC 7468 §2) is ignored.
pub(super) fn is_chain(body: &[u8]) -> bool {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let text = String::from_utf8_lossy(body);
    let Some(blocks) = pem::blocks(text.as_bytes()) else { return false };
    // Every certificate is an ASN.1 SEQUENCE.
    let is_certificate =
        |(label, der): &(&str, Vec<u8>)| *label == "CERTIFICATE" && der.first() == Some(&0x30);
    // A line of no block begins one that is cut off.
    let is_edge = |line: &&str| line.starts_with("-----") || (!line.is_empty() && BEGIN.starts_with(line));
    let edges = text.lines().map(str::trim_end).filter(is_edge).count();
    (1..=MAX_CHAIN).contains(&blocks.len()) && edges == 2 * blocks.len() && blocks.iter().all(is_certificate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::{BASE64, BASE64URL};

    #[test]
    fn a_chain_is_certificates_and_text_around_them() {
        let one = "-----BEGIN CERTIFICATE-----\nMAMC\nAQU=\n-----END CERTIFICATE-----\n";
        assert!(is_chain(one.as_bytes()));
        assert!(is_chain(format!("{one}\n{one}").as_bytes()));
        assert!(is_chain(one.replace('\n', "\r\n").as_bytes()));
        assert!(is_chain(format!("subject=CN = a\n{one} Issuer:\n{one}trailing").as_bytes()));
        assert!(is_chain(&[b"\xfcber\n", one.as_bytes()].concat()));
        for bad in [
            String::new(),
            "\n".into(),
            "<html>".into(),
            one.replace("CERTIFICATE", "PRIVATE KEY"),
            format!("{one}{}", one.replace("CERTIFICATE", "PRIVATE KEY")),
            one.replace("MAMC", "M%MC"),
            one.replace("MAMC", "AAMC"),
            one.replace("-----END CERTIFICATE-----\n", ""),
            one.repeat(MAX_CHAIN + 1),
            format!("{one}--"),
            format!("{one}-----BEGIN CERT"),
        ] {
            assert!(!is_chain(bad.as_bytes()), "{bad}");
        }
        assert!(!is_chain(b"\xff\xfe"));
    }

    #[test]
    fn the_eab_secret_is_read_in_every_base64_and_garbage_is_not() {
        let secret = [0xfbu8, 0xff, 0xfe, 1];
        for text in [BASE64URL_NOPAD.encode(&secret), BASE64URL.encode(&secret), BASE64.encode(&secret)] {
            assert_eq!(eab_secret(&text).as_deref().map(Vec::as_slice), Some(&secret[..]), "{text}");
        }
        // "YWE" has two bits beyond its two bytes, "YWF" has them set.
        assert_eq!(eab_secret("YWF").as_deref().map(Vec::as_slice), Some(&b"aa"[..]));
        assert_eq!(eab_secret("YR==").as_deref().map(Vec::as_slice), Some(&b"a"[..]));
        for bad in ["", "=", "not base64!", "a", "+_"] {
            assert_eq!(eab_secret(bad), None, "{bad}");
        }
    }
}
