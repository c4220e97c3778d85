// SPDX-License-Identifier: Apache-2.0
//! Deviations of real CAs from RFC 8555 in the form of their objects: each is a switch, so that all can be
//! combined. The behaviour of the CA stays the same.

use super::Endpoint;
use serde_json::{Map, Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// An order that is not pending has `authorizations: null`.
    NullAuthorizations,
    /// A valid order has no `finalize`, and its `identifiers` are misspelt.
    BareValidOrders,
    /// Challenges of valid authorizations have no `token` and no `url`.
    BareChallenges,
    /// Valid authorizations have no `challenges`.
    NoChallenges,
    /// Authorizations for wildcards are not marked.
    NoWildcardMark,
    /// Authorizations for wildcards are not marked and have `*.` before the name.
    WildcardNames,
    /// What is not there is null.
    Nulls,
    /// What has no error has an empty one.
    EmptyErrors,
    /// Statuses begin with a capital letter.
    CapitalStatus,
    /// Flags and numbers are texts.
    Texts,
    /// An authorization that is being validated is `processing`.
    ProcessingAuthorizations,
    /// What a challenge is started with is answered by an empty body.
    SilentChallenges,
    /// Accounts have no status.
    BareAccounts,
}

impl Quirk {
    pub const ALL: [Quirk; 13] = [
        Quirk::NullAuthorizations,
        Quirk::BareValidOrders,
        Quirk::BareChallenges,
        Quirk::NoChallenges,
        Quirk::NoWildcardMark,
        Quirk::WildcardNames,
        Quirk::Nulls,
        Quirk::EmptyErrors,
        Quirk::CapitalStatus,
        Quirk::Texts,
        Quirk::ProcessingAuthorizations,
        Quirk::SilentChallenges,
        Quirk::BareAccounts,
    ];

    /// The body of a good answer, as this CA writes it.
    pub fn distort(self, endpoint: Endpoint, body: &[u8]) -> Vec<u8> {
        let Ok(Value::Object(mut object)) = serde_json::from_slice(body) else { return body.to_vec() };
        if self == Quirk::SilentChallenges && endpoint == Endpoint::Challenge {
            return Vec::new();
        }
        self.edit(endpoint, &mut object);
        Value::Object(object).to_string().into_bytes()
    }

    fn edit(self, endpoint: Endpoint, object: &mut Map<String, Value>) {
        let is_order = matches!(endpoint, Endpoint::NewOrder | Endpoint::Order | Endpoint::Finalize);
        let is_authorization = endpoint == Endpoint::Authorization;
        let is = |object: &Map<String, Value>, status: &str| {
            object["status"].as_str().is_some_and(|own| own.eq_ignore_ascii_case(status))
        };
        match self {
            Quirk::NullAuthorizations if is_order && !is(object, "pending") => {
                object.insert("authorizations".into(), Value::Null);
            }
            Quirk::BareValidOrders if is_order && is(object, "valid") => {
                object.remove("finalize");
                let names = object.remove("identifiers").unwrap_or_default();
                object.insert("identifier".into(), names);
            }
            Quirk::BareChallenges if is_authorization && is(object, "valid") => {
                for challenge in
                    object.get_mut("challenges").and_then(Value::as_array_mut).into_iter().flatten()
                {
                    let fields = challenge.as_object_mut().unwrap();
                    fields.remove("token");
                    fields.remove("url");
                }
            }
            Quirk::NoChallenges if is_authorization && is(object, "valid") => {
                object.remove("challenges");
            }
            Quirk::NoWildcardMark if is_authorization => {
                object.remove("wildcard");
            }
            Quirk::WildcardNames if is_authorization => {
                if object.remove("wildcard") == Some(json!(true))
                    && let Some(name) = object["identifier"]["value"].as_str().map(|name| format!("*.{name}"))
                {
                    object["identifier"]["value"] = json!(name);
                }
            }
            Quirk::Nulls => {
                for key in ["error", "certificate", "expires", "wildcard", "validated", "notBefore", "meta"] {
                    object.entry(key).or_insert(Value::Null);
                }
            }
            Quirk::EmptyErrors => {
                object.entry("error").or_insert(json!({}));
                for challenge in
                    object.get_mut("challenges").and_then(Value::as_array_mut).into_iter().flatten()
                {
                    challenge.as_object_mut().unwrap().entry("error").or_insert(json!({}));
                }
            }
            Quirk::CapitalStatus => {
                if let Some(status) = object.get("status").and_then(Value::as_str) {
                    let mut letters = status.chars();
                    let first = letters.next().map(|c| c.to_ascii_uppercase());
                    let status: String = first.into_iter().chain(letters).collect();
                    object.insert("status".into(), json!(status));
                }
            }
            Quirk::Texts => {
                if object.get("wildcard") == Some(&json!(true)) {
                    object.insert("wildcard".into(), json!("true"));
                }
                if let Some(meta) = object.get_mut("meta").and_then(Value::as_object_mut) {
                    let required = meta.get("externalAccountRequired") == Some(&json!(true));
                    meta.insert("externalAccountRequired".into(), json!(required.to_string()));
                }
            }
            Quirk::ProcessingAuthorizations if is_authorization && is(object, "pending") => {
                let challenges = object.get("challenges").and_then(Value::as_array).into_iter().flatten();
                if challenges.into_iter().any(|challenge| challenge["status"] == "processing") {
                    object.insert("status".into(), json!("processing"));
                }
            }
            Quirk::BareAccounts if matches!(endpoint, Endpoint::NewAccount | Endpoint::Account) => {
                object.remove("status");
            }
            _ => {}
        }
    }
}
