// SPDX-License-Identifier: Apache-2.0
//! An account at a CA as JSON: `account.json` of the store, and the key.

use super::super::key::Key;
use super::super::sealed::Flaw;
use super::Account;
use super::fields::{Fields, key_to_json};
use crate::managed::peers::SharedAccount;
use crate::model::bounded::Room;
use serde_json::{Value, json};

impl Account {
    /// The digits that its key has. `None`: it names no CA.
    pub fn hash(&self) -> Option<String> {
        let text = |path: &str| self.0.json.pointer(path).and_then(Value::as_str);
        Some(Key::account_hash(text("/ca-url")?, text("/eab/kid")))
    }

    pub(super) fn to_json(&self) -> Result<Value, Flaw> {
        Ok(json!({"account": self.0.json, "key": key_to_json(&self.0.key)?}))
    }

    pub(super) fn from_json(json: Fields) -> Result<Self, Flaw> {
        let account = json.of("account").ok_or(Flaw::Field("account"))?;
        let fields = Fields(account);
        for name in ["url", "ca-url"] {
            fields.name(name)?;
        }
        // Far more than an account has.
        let room = Room { values: 500, text: 64 * 1024 };
        let account = room.take(account).ok_or(Flaw::Field("account"))?;
        Ok(Account(SharedAccount { json: account, key: json.key("key")? }))
    }
}
