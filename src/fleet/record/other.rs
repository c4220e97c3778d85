// SPDX-License-Identifier: Apache-2.0
//! The small records as JSON: those that are legible in the engine, answers to challenges, what CAs asked to
//! wait for, OCSP responses, and what is withdrawn.

use super::super::sealed::Flaw;
use super::fields::Fields;
use super::{Challenge, Hold, Lock, Meta, Ocsp, Withdrawn};
use crate::managed::peers::SharedAnswer;
use crate::model::RateLimit;
use crate::model::bounded::Room;
use crate::time::Timestamp;
use data_encoding::BASE64;
use serde_json::{Value, json};

const EPOCH_DIGITS: usize = 32;
/// Bytes of base64: more than a response has.
const DER_MAX: usize = 256 * 1024;

impl Meta {
    pub(super) fn to_json(&self) -> Value {
        json!({"version": self.version, "epoch": self.epoch})
    }

    pub(super) fn from_json(json: Fields) -> Result<Self, Flaw> {
        Ok(Meta { version: json.number("version")?, epoch: json.digits("epoch", EPOCH_DIGITS)? })
    }
}

impl Lock {
    /// Its time is legible, to the second.
    pub(super) fn to_json(&self) -> Value {
        json!({"node": self.node, "since": self.since.to_rfc3339()})
    }

    pub(super) fn from_json(json: Fields) -> Result<Self, Flaw> {
        let since = Timestamp::parse_rfc3339(&json.name("since")?).ok_or(Flaw::Field("since"))?;
        Ok(Lock { node: json.name("node")?, since })
    }
}

impl Withdrawn {
    pub(super) fn from_json(json: Fields) -> Result<Self, Flaw> {
        // 64 entries of up to six fields each, as much as the store's file has.
        let room = Room { values: 1000, text: 256 * 1024 };
        let record = room.take(json.0).filter(Value::is_object).ok_or(Flaw::Field("certificates"))?;
        Ok(Withdrawn { record })
    }
}

impl Challenge {
    pub(super) fn to_json(&self) -> Value {
        let SharedAnswer { type_, dns_name, owner, answer } = &self.0;
        json!({"type": type_, "dns-name": dns_name, "owner": owner, "answer": answer})
    }

    pub(super) fn from_json(json: Fields) -> Result<Self, Flaw> {
        Ok(Challenge(SharedAnswer {
            type_: json.name("type")?,
            dns_name: json.name("dns-name")?,
            owner: json.name("owner")?,
            answer: json.name("answer")?,
        }))
    }
}

impl Hold {
    pub(super) fn to_json(&self) -> Value {
        json!({"limit": self.limit.to_json(), "md": self.md})
    }

    pub(super) fn from_json(json: Fields) -> Result<Self, Flaw> {
        let limit = json.of("limit").and_then(RateLimit::from_json).ok_or(Flaw::Field("limit"))?;
        Ok(Hold { limit, md: json.name_or_none("md")? })
    }
}

impl Ocsp {
    pub(super) fn to_json(&self) -> Value {
        json!({"md": self.md, "file": self.file, "der": BASE64.encode(&self.der)})
    }

    pub(super) fn from_json(json: Fields) -> Result<Self, Flaw> {
        let der = json.of("der").and_then(Value::as_str).filter(|der| der.len() <= DER_MAX);
        let der = der.and_then(|der| BASE64.decode(der.as_bytes()).ok()).ok_or(Flaw::Field("der"))?;
        Ok(Ocsp { md: json.name("md")?, file: json.name("file")?, der })
    }
}
