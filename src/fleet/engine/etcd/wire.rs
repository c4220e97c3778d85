// SPDX-License-Identifier: Apache-2.0
//! The JSON of etcd's gateway: numbers as strings, absent fields for zero and false, keys and values in base64.
//! Takes nothing for granted: what makes no sense is [`Error::Garbled`]. Pure.

use super::super::bounds::check_key;
use super::super::{Condition, Entry, Error, LeaseId, Revision, Transaction, VALUE_MAX, Write};
use data_encoding::BASE64;
use serde_json::{Value, json};

/// Punctuation of a document. Each may become a value that takes a hundred bytes of memory; base64 has none.
const PUNCTUATION_MAX: usize = 256 * 1024;
/// Characters of an error's text.
const TEXT_MAX: usize = 200;

pub fn garbled(what: &str) -> Error {
    Error::Garbled(what.into())
}

/// A JSON object.
pub fn parse(text: &[u8]) -> Result<Value, Error> {
    let punctuation = text.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count();
    if punctuation > PUNCTUATION_MAX {
        return Err(garbled("it has too many parts"));
    }
    match serde_json::from_slice(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(garbled("it is no JSON object")),
        Err(_) => Err(garbled("it is no JSON")),
    }
}

pub fn number(value: &Value, name: &str) -> Result<u64, Error> {
    let number = match value.get(name) {
        None | Some(Value::Null) => Some(0),
        Some(Value::String(text)) => text.parse::<i64>().ok().and_then(|n| u64::try_from(n).ok()),
        Some(Value::Number(number)) => number.as_u64().filter(|n| i64::try_from(*n).is_ok()),
        Some(_) => None,
    };
    number.ok_or_else(|| Error::Garbled(format!("'{name}' is no number")))
}

pub fn flag(value: &Value, name: &str) -> Result<bool, Error> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(Error::Garbled(format!("'{name}' is neither true nor false"))),
    }
}

pub fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, Error> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Error::Garbled(format!("'{name}' is no text"))),
    }
}

pub fn list<'a>(value: &'a Value, name: &str) -> Result<&'a [Value], Error> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(Error::Garbled(format!("'{name}' is no list"))),
    }
}

pub fn bytes(value: &Value, name: &str) -> Result<Vec<u8>, Error> {
    let encoded = text(value, name)?;
    BASE64.decode(encoded.as_bytes()).map_err(|_| Error::Garbled(format!("'{name}' is not in base64")))
}

/// Of the header that each answer has. One without a revision is of no etcd.
pub fn revision(answer: &Value) -> Result<Revision, Error> {
    let header = answer.get("header").filter(|header| header.is_object());
    let revision = header.map(|header| number(header, "revision")).transpose()?.unwrap_or(0);
    match revision {
        0 => Err(garbled("it has no revision")),
        _ => Ok(Revision(revision)),
    }
}

/// The failure that a server tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Of gRPC.
    pub code: u64,
    pub text: String,
}

impl Fault {
    /// `{"error","message","code"}` of an answer, `{"error":{"grpc_code","message"}}` of a stream, and
    /// `{"code","message"}` of newer servers.
    pub fn of(answer: &Value) -> Option<Fault> {
        let error = answer.get("error").filter(|error| error.is_object()).unwrap_or(answer);
        let code = ["grpc_code", "code"].iter().find_map(|name| error.get(*name)?.as_u64())?;
        let text = text(error, "message").ok().filter(|text| !text.is_empty());
        let text = text.or_else(|| error.get("error")?.as_str()).unwrap_or("no reason given");
        Some(Fault { code, text: legible(text) })
    }

    /// The reason of a watch that is canceled: `rpc error: code = PermissionDenied desc = …`.
    pub fn of_reason(reason: &str) -> Fault {
        let rest = reason.strip_prefix("rpc error: code = ").unwrap_or_default();
        let (name, text) = rest.split_once(" desc = ").unwrap_or(("", reason));
        let code = match name {
            "InvalidArgument" => 3,
            "DeadlineExceeded" => 4,
            "PermissionDenied" => 7,
            "OutOfRange" => 11,
            "Unavailable" => 14,
            "Unauthenticated" => 16,
            _ if text.contains("permission denied") => 7,
            _ => 2,
        };
        Fault { code, text: legible(text) }
    }

    /// The token is none any more: log in again. The codes of the texts differ between versions.
    pub fn is_logged_out(&self) -> bool {
        const TEXTS: [&str; 3] =
            ["invalid auth token", "revision of auth store is old", "user name is empty"];
        self.code == 16 || TEXTS.iter().any(|text| self.text.contains(text))
    }

    pub fn is_auth_disabled(&self) -> bool {
        self.text.contains("authentication is not enabled")
    }

    pub fn is_lease_in_force(&self) -> bool {
        self.text.contains("lease already exists")
    }

    /// Another server may do better.
    pub fn is_of_this_server(&self) -> bool {
        matches!(self.code, 1 | 2 | 4 | 13 | 14 | 15) && !self.text.contains("lease")
    }

    pub fn into_error(self) -> Error {
        let Fault { code, text } = self;
        let has = |part: &str| text.contains(part);
        match code {
            _ if has("lease not found") => Error::LeaseGone,
            _ if has("required revision") => Error::Gap(text),
            7 | 16 => Error::Denied(text),
            _ if has("authentication failed") || has("user name is empty") || has("CommonName") => {
                Error::Denied(text)
            }
            _ if has("auth token") || has("auth store") || has("authentication") => Error::Denied(text),
            8 => Error::NoWrites(text),
            _ if has("no leader") || has("leader changed") || has("timed out") => Error::NoWrites(text),
            _ if has("not capable") || has("learner") || has("corrupt") => Error::NoWrites(text),
            4 => Error::Timeout,
            3 | 9 | 11 => Error::Invalid(format!("the engine refuses the request: {text}")),
            14 => Error::Unreachable(text),
            12 | 5 => garbled("it is of no etcd 3.4 or later"),
            _ => Error::Unreachable(text),
        }
    }
}

/// The server's words, for a log.
fn legible(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect();
    clean.strip_prefix("etcdserver: ").map(str::to_string).unwrap_or(clean)
}

/// The keys of a fleet: those that begin with the prefix of the URL and a slash.
#[derive(Clone, Debug)]
pub struct Keys(pub String);

impl Keys {
    pub fn new(prefix: &str) -> Self {
        Keys(format!("{}/", prefix.trim_matches('/')))
    }

    pub fn encode(&self, key: &str) -> String {
        BASE64.encode([self.0.as_bytes(), key.as_bytes()].concat().as_slice())
    }

    /// The first key after all that begin with `prefix`.
    pub fn end(&self, prefix: &str) -> String {
        let mut end = [self.0.as_bytes(), prefix.as_bytes()].concat();
        // The prefix is of ASCII, and a slash can be counted up.
        if let Some(last) = end.last_mut() {
            *last = last.saturating_add(1);
        }
        BASE64.encode(&end)
    }

    /// `None`: somebody else's, which no key of ours can be.
    fn decode(&self, bytes: &[u8]) -> Result<Option<String>, Error> {
        let Some(key) = bytes.strip_prefix(self.0.as_bytes()) else {
            return Err(garbled("a key is not one of those asked for"));
        };
        let key = std::str::from_utf8(key).ok().filter(|key| check_key(key).is_ok());
        Ok(key.map(str::to_string))
    }

    /// The key of `{"key","create_revision","mod_revision","value","lease"}`, and when it was changed.
    pub fn changed(&self, kv: &Value) -> Result<(Option<String>, Revision), Error> {
        let changed = number(kv, "mod_revision")?;
        if changed == 0 {
            return Err(garbled("a change has no revision"));
        }
        Ok((self.decode(&bytes(kv, "key")?)?, Revision(changed)))
    }

    /// A value that is too large for one of ours becomes an empty one, which does not open either.
    pub fn entry(&self, kv: &Value) -> Result<Option<Entry>, Error> {
        let (key, changed) = self.changed(kv)?;
        let created = Revision(number(kv, "create_revision")?);
        if created == Revision(0) || created > changed {
            return Err(garbled("a key was changed before it was created"));
        }
        let mut value = bytes(kv, "value")?;
        if value.len() > VALUE_MAX {
            value = Vec::new();
        }
        let lease = Some(number(kv, "lease")?).filter(|lease| *lease > 0).map(LeaseId);
        Ok(key.map(|key| Entry { key, value, created, changed, lease }))
    }

    /// The body of `kv/txn`.
    pub fn transaction(&self, transaction: &Transaction) -> Value {
        let compare: Vec<Value> = transaction.when.iter().map(|condition| self.compare(condition)).collect();
        let success: Vec<Value> = transaction.then.iter().map(|write| self.write(write)).collect();
        json!({ "compare": compare, "success": success })
    }

    fn compare(&self, condition: &Condition) -> Value {
        let (key, target, field, revision) = match condition {
            Condition::Absent(key) => (key, "CREATE", "create_revision", 0),
            Condition::CreatedAt(key, at) => (key, "CREATE", "create_revision", at.0),
            Condition::ChangedAt(key, at) => (key, "MOD", "mod_revision", at.0),
        };
        let mut compare = json!({ "key": self.encode(key), "target": target, "result": "EQUAL" });
        compare[field] = json!(revision.to_string());
        compare
    }

    fn write(&self, write: &Write) -> Value {
        match write {
            Write::Put { key, value, lease } => {
                let lease = lease.map_or(0, |lease| lease.0).to_string();
                let value = BASE64.encode(value);
                json!({ "request_put": { "key": self.encode(key), "value": value, "lease": lease } })
            }
            Write::Delete { key } => json!({ "request_delete_range": { "key": self.encode(key) } }),
        }
    }
}

/// The message of a stream: its `result`, or the failure it tells.
pub fn message(line: &[u8]) -> Result<Value, Error> {
    let mut line = parse(line)?;
    match line.get_mut("result").map(Value::take) {
        Some(result @ Value::Object(_)) => Ok(result),
        _ => Err(Fault::of(&line).map_or_else(|| garbled("it has no result"), Fault::into_error)),
    }
}

#[cfg(test)]
mod tests;
