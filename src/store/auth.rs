// SPDX-License-Identifier: Apache-2.0
//! Authenticates files of a worker in a folder that workers can write: a code (HMAC) over purpose, name and
//! content, which a start and the children check. Its key comes from the store's key. Any process of httpd's
//! `User` can write to these folders; only children that httpd forked have the key.

use super::{Error, Rights, Store};
use crate::crypto::auth::AuthKey;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// The field of a record that has the code.
pub const FIELD: &str = "auth";
const INFO: &str = "mod_md auth v1";

/// The purpose of a code: it is not valid for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A complete set in staging.
    Set,
    /// The same, and all hosts of the MD take it.
    TriedSet,
    /// The set that is live.
    Live,
    /// An account that waits in staging.
    Account,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Purpose::Set => "set",
            Purpose::TriedSet => "tried set",
            Purpose::Live => "live",
            Purpose::Account => "account",
        }
    }
}

/// Whose something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// Its code fits.
    Ours,
    /// It has no code, like files of the C module.
    Unknown,
    /// It has been changed, or was written for another name or purpose.
    Forger,
}

impl<R: Rights> Store<R> {
    /// The code of `content` as the thing of this purpose that belongs to `name`.
    pub fn vouch(&self, purpose: Purpose, name: &str, content: &Value) -> Result<String, Error> {
        let text = canonical(content);
        let parts = [purpose.label().as_bytes(), name.as_bytes(), text.as_bytes()];
        let code = self.auth_key().and_then(|key| key.code(&parts));
        let code = code.map_err(|source| Error::Crypto { path: self.layout.dir.clone(), source })?;
        Ok(BASE64URL_NOPAD.encode(&code))
    }

    /// Whose `content` is that has this code.
    pub fn author(&self, purpose: Purpose, name: &str, content: &Value, code: Option<&Value>) -> Author {
        let Some(code) = code else { return Author::Unknown };
        let code = code.as_str().and_then(|code| BASE64URL_NOPAD.decode(code.as_bytes()).ok());
        let text = canonical(content);
        let parts = [purpose.label().as_bytes(), name.as_bytes(), text.as_bytes()];
        let fits = |code: Vec<u8>| self.auth_key().is_ok_and(|key| key.fits(&parts, &code));
        if code.is_some_and(fits) { Author::Ours } else { Author::Forger }
    }

    /// Derived for each use, which takes microseconds: the store's key alone is kept, where core dumps do not
    /// go.
    fn auth_key(&self) -> Result<AuthKey, crate::crypto::Error> {
        AuthKey::derive(self.layout.key.bytes(), INFO)
    }
}

/// A record without its code.
pub fn bare(record: &Value) -> Value {
    let mut record = record.clone();
    if let Value::Object(fields) = &mut record {
        fields.shift_remove(FIELD);
    }
    record
}

/// The same text for the same content, however it is laid out in a file. There may be secrets in it.
fn canonical(content: &Value) -> Zeroizing<String> {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let mut entries: Vec<_> = fields.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                let entries = entries.into_iter().map(|(key, value)| (key.clone(), sorted(value)));
                Value::Object(entries.collect::<Map<_, _>>())
            }
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            other => other.clone(),
        }
    }
    Zeroizing::new(sorted(content).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StartStore;
    use serde_json::json;

    #[test]
    fn a_code_fits_its_purpose_name_and_content_in_this_store_alone() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| StartStore::open(&dir.path().join(name), None).unwrap();
        let (store, other) = (open("md"), open("other"));
        let content = json!({"b": [1, {"d": "x", "c": null}], "a": true});
        let code = json!(store.vouch(Purpose::Live, "a.test", &content).unwrap());
        let author = |purpose, name, content: &Value, code: &Value| {
            store.worker().author(purpose, name, content, Some(code))
        };
        assert_eq!(author(Purpose::Live, "a.test", &content, &code), Author::Ours);
        let laid_out = serde_json::from_str(r#"{ "a":true, "b": [1, {"c":null,"d":"x"}] }"#).unwrap();
        assert_eq!(author(Purpose::Live, "a.test", &laid_out, &code), Author::Ours);
        let changed = json!({"b": [{"c": null, "d": "x"}, 1], "a": true});
        for (purpose, name, content, code) in [
            (Purpose::Set, "a.test", &content, &code),
            (Purpose::Live, "b.test", &content, &code),
            (Purpose::Live, "a.test", &changed, &code),
            (Purpose::Live, "a.test", &content, &json!("")),
            (Purpose::Live, "a.test", &content, &json!("!")),
            (Purpose::Live, "a.test", &content, &Value::Null),
            (Purpose::Live, "a.test", &content, &json!(code.as_str().unwrap().to_lowercase())),
        ] {
            assert_eq!(author(purpose, name, content, code), Author::Forger, "{purpose:?} {name} {code}");
        }
        assert_eq!(other.author(Purpose::Live, "a.test", &content, Some(&code)), Author::Forger);
        assert_eq!(store.author(Purpose::Live, "a.test", &content, None), Author::Unknown);
        let again = StartStore::open(&dir.path().join("md"), None).unwrap();
        assert_eq!(again.author(Purpose::Live, "a.test", &content, Some(&code)), Author::Ours);
    }

    #[test]
    fn a_code_is_not_of_itself() {
        let record = json!({"x": 1, "auth": "code", "y": {"auth": "kept"}});
        assert_eq!(bare(&record), json!({"x": 1, "y": {"auth": "kept"}}));
        assert_eq!(bare(&json!("text")), json!("text"));
    }
}
