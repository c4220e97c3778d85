// SPDX-License-Identifier: Apache-2.0
//! Reads the fields of ACME's objects. Refuses an object without a required, well-formed field, with an error
//! that names it.

use super::Error;
use super::address::is_url;
use crate::time::Timestamp;
use serde_json::{Map, Value};

/// Entries of a list.
pub(super) const MAX_LIST: usize = 200;

pub(super) fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, Error> {
    value.as_object().ok_or_else(|| Error::Protocol(format!("the server sent no {what} object")))
}

pub(super) fn string<'a>(fields: &'a Map<String, Value>, key: &str, what: &str) -> Result<&'a str, Error> {
    fields.get(key).and_then(Value::as_str).ok_or_else(|| missing(key, what))
}

/// No list is an empty list: languages differ in how they write one down.
pub(super) fn list<'a>(fields: &'a Map<String, Value>, key: &str, what: &str) -> Result<&'a [Value], Error> {
    let items = match fields.get(key) {
        None | Some(Value::Null) => &[],
        Some(value) => value.as_array().map(Vec::as_slice).ok_or_else(|| missing(key, what))?,
    };
    if items.len() > MAX_LIST {
        return Err(Error::Protocol(format!("'{key}' of the {what} has more than {MAX_LIST} entries")));
    }
    Ok(items)
}

pub(super) fn url(fields: &Map<String, Value>, key: &str, what: &str) -> Result<String, Error> {
    checked_url(fields.get(key).unwrap_or(&Value::Null), key, what)
}

pub(super) fn checked_url(value: &Value, key: &str, what: &str) -> Result<String, Error> {
    let text = value.as_str().ok_or_else(|| missing(key, what))?;
    if !is_url(text) {
        return Err(Error::Protocol(format!("'{key}' of the {what} is not an absolute http(s) URL")));
    }
    Ok(text.to_string())
}

/// The result, if the field is needed.
pub(super) fn needed<T>(found: Result<T, Error>, is_needed: bool) -> Result<Option<T>, Error> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_needed => Err(error),
        Err(_) => Ok(None),
    }
}

pub(super) fn state(fields: &Map<String, Value>, what: &str) -> Result<String, Error> {
    Ok(string(fields, "status", what)?.trim().to_ascii_lowercase())
}

/// `true`, however it is written.
pub(super) fn flag(fields: &Map<String, Value>, key: &str) -> bool {
    match fields.get(key) {
        Some(Value::Bool(value)) => *value,
        Some(Value::Number(number)) => number.as_u64() == Some(1),
        Some(Value::String(text)) => matches!(text.to_ascii_lowercase().as_str(), "true" | "yes" | "1"),
        _ => false,
    }
}

pub(super) fn date(fields: &Map<String, Value>, key: &str) -> Option<Timestamp> {
    fields.get(key).and_then(Value::as_str).and_then(Timestamp::parse_rfc3339)
}

pub(super) fn missing(key: &str, what: &str) -> Error {
    Error::Protocol(format!("the server sent no ACME {what}: '{key}' is missing or of a wrong type"))
}

pub(super) fn unknown_status(what: &str, status: &str) -> Error {
    let status = super::problem::line(status, 40);
    Error::Protocol(format!("the server sent an {what} with the unknown status '{status}'"))
}
