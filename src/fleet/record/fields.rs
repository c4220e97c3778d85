// SPDX-License-Identifier: Apache-2.0
//! Fields of JSON that another node has written: each is there in its form and within its bounds, or the whole
//! value is refused.

use super::super::sealed::Flaw;
use crate::crypto::{Chain, PrivateKey};
use crate::model::{KeySpec, bounded};
use crate::time::Timestamp;
use serde_json::Value;

/// DNS names of a certificate: more than any CA takes.
pub const NAMES_MAX: usize = 1000;
/// Certificates of a set: one of each type of key.
pub const CERTS_MAX: usize = 16;

/// An object, or what stands in its place.
#[derive(Clone, Copy)]
pub struct Fields<'v>(pub &'v Value);

impl<'v> Fields<'v> {
    pub fn of(self, name: &'static str) -> Option<&'v Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A name or URL.
    pub fn name(self, name: &'static str) -> Result<String, Flaw> {
        self.of(name).and_then(Value::as_str).and_then(bounded::name).ok_or(Flaw::Field(name))
    }

    /// A text for people; empty where it is missing.
    pub fn text(self, name: &'static str) -> String {
        bounded::text_at(self.0, name, bounded::TEXT_MAX).unwrap_or_default()
    }

    /// A text for people; one that is there but of another form is refused.
    pub fn text_or_none(self, name: &'static str) -> Result<Option<String>, Flaw> {
        let read = |value: &Value| value.as_str().map(|text| bounded::text(text, bounded::TEXT_MAX));
        self.of(name).map(|value| read(value).ok_or(Flaw::Field(name))).transpose()
    }

    pub fn name_or_none(self, name: &'static str) -> Result<Option<String>, Flaw> {
        self.of(name).map(|_| self.name(name)).transpose()
    }

    pub fn number(self, name: &'static str) -> Result<u64, Flaw> {
        self.of(name).and_then(Value::as_u64).ok_or(Flaw::Field(name))
    }

    pub fn flag(self, name: &'static str) -> Result<bool, Flaw> {
        self.of(name).and_then(Value::as_bool).ok_or(Flaw::Field(name))
    }

    /// Milliseconds since the epoch.
    pub fn time(self, name: &'static str) -> Result<Timestamp, Flaw> {
        let millis = self.of(name).and_then(Value::as_i64).ok_or(Flaw::Field(name))?;
        Ok(Timestamp::from_unix_millis(millis))
    }

    pub fn time_or_none(self, name: &'static str) -> Result<Option<Timestamp>, Flaw> {
        self.of(name).map(|_| self.time(name)).transpose()
    }

    /// A list of at most `max`.
    pub fn list(self, name: &'static str, max: usize) -> Result<&'v [Value], Flaw> {
        let list = self.of(name).and_then(Value::as_array).filter(|list| list.len() <= max);
        list.map(Vec::as_slice).ok_or(Flaw::Field(name))
    }

    /// Names, in their order.
    pub fn names(self, name: &'static str, max: usize) -> Result<Vec<String>, Flaw> {
        let read = |value: &Value| value.as_str().and_then(bounded::name).ok_or(Flaw::Field(name));
        self.list(name, max)?.iter().map(read).collect()
    }

    /// The kind of a key.
    pub fn spec(self, name: &'static str) -> Result<KeySpec, Flaw> {
        let spec = self.of(name).and_then(KeySpec::from_json).ok_or(Flaw::Field(name))?;
        bounded::name(spec.label()).ok_or(Flaw::Field(name))?;
        Ok(spec)
    }

    /// A private key, as PEM.
    pub fn key(self, name: &'static str) -> Result<PrivateKey, Flaw> {
        let pem = self.of(name).and_then(Value::as_str).ok_or(Flaw::Field(name))?;
        PrivateKey::from_plain_pem(pem.as_bytes()).map_err(|_| Flaw::Field(name))
    }

    /// A chain of certificates, as PEM.
    pub fn chain(self, name: &'static str) -> Result<Chain, Flaw> {
        let pem = self.of(name).and_then(Value::as_str).ok_or(Flaw::Field(name))?;
        Chain::from_pem(pem.as_bytes()).map_err(|_| Flaw::Field(name))
    }

    /// Lower-case hexadecimal digits, this many.
    pub fn digits(self, name: &'static str, length: usize) -> Result<String, Flaw> {
        let text = self.name(name)?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_good = text.len() == length && text.bytes().all(is_digit);
        if is_good { Ok(text) } else { Err(Flaw::Field(name)) }
    }
}

/// A private key as [`Fields::key`] reads it.
pub fn key_to_json(key: &PrivateKey) -> Result<Value, Flaw> {
    let pem = key.to_pem()?;
    Ok(Value::String(String::from_utf8_lossy(&pem).into_owned()))
}

/// A chain as [`Fields::chain`] reads it.
pub fn chain_to_json(chain: &Chain) -> Value {
    Value::String(String::from_utf8_lossy(&chain.to_pem()).into_owned())
}

/// Milliseconds since the epoch.
pub fn time_to_json(time: Timestamp) -> Value {
    Value::from(time.unix_millis())
}
