// SPDX-License-Identifier: Apache-2.0
//! Entries of the engine to records and back. `meta` is read first: it has the key that hides names, sealed.
//! All else is sealed whole, with its writer and time; of locks nothing is. What does not open or does not
//! belong to its key is refused with the reason. Pure but for random bytes.

use super::engine::{Entry, VALUE_MAX};
use super::key::{Key, META, Names};
use super::record::{Meta, Record, Written};
use super::sealed::{Flaw, Secrets};
use crate::crypto;
use crate::model::bounded;
use crate::time::Timestamp;
use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// The format that this version writes, the only one it knows.
pub const VERSION: u64 = 1;

/// Clones share secrets and names. Has no `Debug`.
#[derive(Clone)]
pub struct Codec {
    secrets: Secrets,
    prefix: String,
    names: Names,
}

/// An entry that was read.
#[derive(Clone)]
pub struct Opened {
    pub key: Key,
    pub record: Record,
    /// Of sealed values.
    pub written: Option<Written>,
    /// Whether the first secret sealed it, or none had to: others have to be sealed again before the second
    /// secret goes.
    pub is_first: bool,
}

impl Codec {
    /// For an engine without `meta`, and the value to put there, with an epoch and names of its own.
    pub fn create(secrets: &Secrets, prefix: &str) -> Result<(Self, Meta, Vec<u8>), Flaw> {
        let epoch: [u8; 16] = crypto::random()?;
        let meta = Meta { version: VERSION, epoch: HEXLOWER.encode(&epoch) };
        let mut names = Zeroizing::new([0; 32]);
        crypto::fill_with_random(names.as_mut_slice())?;
        let value = sealed_meta(secrets, prefix, &meta, names.as_slice())?;
        Ok((Codec::new(secrets, prefix, names.as_slice())?, meta, value))
    }

    fn new(secrets: &Secrets, prefix: &str, names: &[u8]) -> Result<Self, Flaw> {
        Ok(Codec { secrets: secrets.clone(), prefix: prefix.into(), names: Names::new(names)? })
    }

    /// Reads the value of `meta`.
    pub fn of_meta(secrets: &Secrets, prefix: &str, value: &[u8]) -> Result<(Self, Meta), Flaw> {
        let (meta, names, _) = opened_meta(secrets, prefix, value)?;
        Ok((Codec::new(secrets, prefix, &names)?, meta))
    }

    /// The value of `meta` as the first secret seals it; `None`: it has sealed it already.
    pub fn meta_again(&self, value: &[u8]) -> Result<Option<Vec<u8>>, Flaw> {
        let (meta, names, is_first) = opened_meta(&self.secrets, &self.prefix, value)?;
        if is_first {
            return Ok(None);
        }
        sealed_meta(&self.secrets, &self.prefix, &meta, &names).map(Some)
    }

    pub fn text(&self, key: &Key) -> Result<String, Flaw> {
        Ok(self.names.text(key)?)
    }

    pub fn key(&self, text: &str) -> Option<Key> {
        self.names.key(text)
    }

    /// The value of a key. `meta` is not made here.
    pub fn seal(&self, key: &Key, record: &Record, by: &Written) -> Result<Vec<u8>, Flaw> {
        let json = record.to_json(key)?;
        if is_legible(key) {
            return Ok(json.to_string().into_bytes());
        }
        let whole = json!({"node": by.node, "at": by.at.unix_millis(), "value": json});
        let plain = Zeroizing::new(whole.to_string().into_bytes());
        self.secrets.seal(&self.prefix, &self.text(key)?, &plain)
    }

    /// Reads an entry.
    pub fn open(&self, entry: &Entry) -> Result<Opened, Flaw> {
        let key = self.key(&entry.key).ok_or(Flaw::Key)?;
        if key == Key::Meta {
            let (meta, _, is_first) = opened_meta(&self.secrets, &self.prefix, &entry.value)?;
            return Ok(Opened { key, record: Record::Meta(meta), written: None, is_first });
        }
        if is_legible(&key) {
            let record = Record::from_json(&key, &parsed(&entry.value)?)?;
            return Ok(Opened { key, record, written: None, is_first: true });
        }
        let opened = self.secrets.open(&self.prefix, &entry.key, &entry.value)?;
        let whole = parsed(&opened.plain)?;
        let node = bounded::name_at(&whole, "node").ok_or(Flaw::Field("node"))?;
        let at = whole.get("at").and_then(Value::as_i64).ok_or(Flaw::Field("at"))?;
        let record = Record::from_json(&key, whole.get("value").unwrap_or(&Value::Null))?;
        let written = Some(Written { node, at: Timestamp::from_unix_millis(at) });
        Ok(Opened { key, record, written, is_first: opened.is_first })
    }
}

fn is_legible(key: &Key) -> bool {
    matches!(key, Key::Meta | Key::Lock(_) | Key::AccountLock(_))
}

fn parsed(value: &[u8]) -> Result<Value, Flaw> {
    if value.len() > VALUE_MAX {
        return Err(Flaw::TooLarge);
    }
    serde_json::from_slice(value).map_err(|_| Flaw::Field("JSON"))
}

/// Version and epoch are legible; the epoch stands inside as well, so that nobody can exchange it.
fn sealed_meta(secrets: &Secrets, prefix: &str, meta: &Meta, names: &[u8]) -> Result<Vec<u8>, Flaw> {
    let plain = Zeroizing::new(json!({"epoch": meta.epoch, "names": BASE64.encode(names)}).to_string());
    let mut value = Record::Meta(meta.clone()).to_json(&Key::Meta)?;
    let sealed = parsed(&secrets.seal(prefix, META, plain.as_bytes())?)?;
    if let (Value::Object(value), Value::Object(sealed)) = (&mut value, sealed) {
        value.extend(sealed);
    }
    Ok(value.to_string().into_bytes())
}

fn opened_meta(
    secrets: &Secrets,
    prefix: &str,
    value: &[u8],
) -> Result<(Meta, Zeroizing<Vec<u8>>, bool), Flaw> {
    let json = parsed(value)?;
    let version = json.get("version").and_then(Value::as_u64).ok_or(Flaw::Field("version"))?;
    if version != VERSION {
        return Err(Flaw::Version(version));
    }
    let Record::Meta(meta) = Record::from_json(&Key::Meta, &json)? else { return Err(Flaw::Key) };
    let opened = secrets.open(prefix, META, value)?;
    let inner = parsed(&opened.plain)?;
    let text = |name: &str| inner.get(name).and_then(Value::as_str);
    if text("epoch") != Some(&meta.epoch) {
        return Err(Flaw::Forged);
    }
    let names = text("names").and_then(|names| BASE64.decode(names.as_bytes()).ok());
    let names = names.filter(|names| names.len() == 32).ok_or(Flaw::Field("names"))?;
    Ok((meta, Zeroizing::new(names), opened.is_first))
}

#[cfg(test)]
mod tests {
    use super::super::engine::Revision;
    use super::super::record::fixture::{all, id};
    use super::super::sealed::fixture::secrets;
    use super::*;

    fn by() -> Written {
        Written { node: id(1), at: Timestamp::from_unix_millis(1_800_000_000_123) }
    }

    fn entry(key: String, value: Vec<u8>) -> Entry {
        Entry { key, value, created: Revision(1), changed: Revision(1), lease: None }
    }

    /// As it lies in the engine.
    fn sealed(codec: &Codec, key: &Key, record: &Record) -> Entry {
        entry(codec.text(key).unwrap(), codec.seal(key, record, &by()).unwrap())
    }

    /// Every record but `meta`.
    fn dump(codec: &Codec) -> Vec<Entry> {
        all().iter().skip(1).map(|(key, record)| sealed(codec, key, record)).collect()
    }

    #[test]
    fn every_record_comes_back_with_its_key_and_writer() {
        let (codec, _, meta) = Codec::create(&secrets(1, None), "p").unwrap();
        let (other, _) = Codec::of_meta(&secrets(2, Some(1)), "p", &meta).unwrap();
        for (key, record) in all().into_iter().skip(1) {
            let entry = sealed(&codec, &key, &record);
            for (codec, is_turned) in [(&codec, false), (&other, true)] {
                let opened = codec.open(&entry).unwrap_or_else(|flaw| panic!("{key:?} {flaw}"));
                assert_eq!(opened.key, key);
                let is_lock = matches!(record, Record::Lock(_));
                assert_eq!(opened.written, Some(by()).filter(|_| !is_lock));
                assert_eq!(opened.is_first, is_lock || !is_turned);
                assert_eq!(opened.record.to_json(&key).unwrap(), record.to_json(&key).unwrap());
            }
        }
    }

    #[test]
    fn a_dump_of_the_engine_has_no_secret_and_no_name() {
        let (codec, ..) = Codec::create(&secrets(1, None), "p").unwrap();
        for entry in dump(&codec) {
            let text = format!("{} {}", entry.key, String::from_utf8(entry.value).unwrap());
            for word in
                ["a.test", "b.test", "web1", "PRIVATE KEY", "CERTIFICATE", "token", "mailto", "ca.test"]
            {
                assert!(!text.contains(word), "{word}: {text}");
            }
            assert!(text.contains("/lock/") || text.contains(r#" {"kid":""#), "{text}");
        }
    }

    #[test]
    fn a_value_that_was_moved_to_another_key_is_refused() {
        let (codec, ..) = Codec::create(&secrets(1, None), "p").unwrap();
        let dump = dump(&codec);
        for from in &dump {
            for to in dump.iter().filter(|to| to.key != from.key) {
                let moved = codec.open(&entry(to.key.clone(), from.value.clone()));
                let is_lock = |entry: &Entry| entry.key.contains("/lock/");
                assert!(moved.is_err() || (is_lock(from) && is_lock(to)), "{} {}", from.key, to.key);
            }
        }
        let set = codec.text(&Key::Set("a.test".into())).unwrap();
        assert_eq!(codec.open(&entry(format!("{set}A"), Vec::new())).err(), Some(Flaw::Key));
        assert_eq!(codec.open(&entry(set, b"{}".to_vec())).err(), Some(Flaw::NotSealed));
    }

    #[test]
    fn meta_tells_version_and_epoch_and_opens_for_either_secret() {
        let (codec, meta, value) = Codec::create(&secrets(1, None), "p").unwrap();
        let json = parsed(&value).unwrap();
        assert_eq!((&json["version"], &json["epoch"]), (&json!(1), &json!(meta.epoch)));
        let (both, read) = Codec::of_meta(&secrets(2, Some(1)), "p", &value).unwrap();
        assert_eq!(read, meta);
        assert!(!both.open(&entry(META.into(), value.clone())).unwrap().is_first);
        assert_eq!(codec.meta_again(&value), Ok(None));
        let again = both.meta_again(&value).unwrap().unwrap();
        let (new, read) = Codec::of_meta(&secrets(2, None), "p", &again).unwrap();
        let key = Key::Lock("a.test".into());
        assert!(read == meta && new.text(&key) == codec.text(&key), "the names stay");
        let kid = json["kid"].as_str().unwrap().to_string();
        assert_eq!(Codec::of_meta(&secrets(2, None), "p", &value).err(), Some(Flaw::OtherSecret(kid)));
        let (_, other, _) = Codec::create(&secrets(1, None), "p").unwrap();
        assert_ne!(other.epoch, meta.epoch);
    }

    #[test]
    fn a_meta_that_was_changed_is_refused() {
        let (_, _, value) = Codec::create(&secrets(1, None), "p").unwrap();
        let with = |name: &str, to: Value| {
            let mut json = parsed(&value).unwrap();
            json[name] = to;
            json.to_string().into_bytes()
        };
        for (value, flaw) in [
            (b"".to_vec(), Flaw::Field("JSON")),
            (b"{}".to_vec(), Flaw::Field("version")),
            (with("version", json!(2)), Flaw::Version(2)),
            (with("epoch", json!("x")), Flaw::Field("epoch")),
            (with("epoch", json!(id(1))), Flaw::Forged),
            (with("sealed", json!("AAAA")), Flaw::Forged),
            (vec![b'{'; VALUE_MAX + 1], Flaw::TooLarge),
        ] {
            assert_eq!(Codec::of_meta(&secrets(1, None), "p", &value).err(), Some(flaw));
        }
        assert_eq!(Codec::of_meta(&secrets(1, None), "q", &value).err(), Some(Flaw::Forged));
    }
}
