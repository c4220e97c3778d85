// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever somebody writes into the engine of a fleet: without the secret nothing is
//! taken but locks and the meta entry; of a node that has the secret, only records that belong to their
//! keys, which are written and read again as the same.

use mod_md::crypto::{Chain, PrivateKey, self_signed};
use mod_md::fleet::codec::Codec;
use mod_md::fleet::engine::{Entry, Revision};
use mod_md::fleet::key::Key;
use mod_md::fleet::local::stored;
use mod_md::fleet::record::{Record, Written};
use mod_md::fleet::sealed::Secrets;
use mod_md::fleet::secret::{self, Secret};
use mod_md::managed::peers::SharedAnswer;
use mod_md::model::KeySpec;
use mod_md::time::Timestamp;
use serde_json::Value;
use std::sync::LazyLock;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const PREFIX: &str = "fleet";
const CA: &str = "https://ca.test/dir";
const ID: &str = "01010101010101010101010101010101";

struct Fleet {
    secrets: Secrets,
    codec: Codec,
    keys: Vec<Key>,
    key: String,
    chain: String,
}

static FLEET: LazyLock<Fleet> = LazyLock::new(|| {
    let secret = Secret::parse(secret::generate().unwrap().as_bytes()).unwrap();
    let secrets = Secrets::new(secret, None);
    let (codec, ..) = Codec::create(&secrets, PREFIX).unwrap();
    let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
    let chain: Chain = self_signed::acme_identifier("a.test", &[7; 32], &key, NOW).unwrap();
    let text = |pem: &[u8]| String::from_utf8_lossy(pem).replace('\n', "\\n");
    let (key, chain) = (text(&key.to_pem().unwrap()), text(&chain.to_pem()));
    Fleet { secrets, codec, keys: keys(), key, chain }
});

fn keys() -> Vec<Key> {
    let (md, hash) = ("a.test".to_string(), Key::account_hash(CA, None));
    let answer = SharedAnswer {
        type_: "http-01".into(),
        dns_name: md.clone(),
        owner: md.clone(),
        answer: "token.thumb".into(),
    };
    vec![
        Key::Job(md.clone()),
        Key::Set(md.clone()),
        Key::Withdrawn(md.clone()),
        Key::Account(hash.clone()),
        Key::challenge(&answer),
        Key::Hold { ca: hash.clone(), md: None },
        Key::Hold { ca: hash.clone(), md: Some(md.clone()) },
        Key::Ocsp { md: md.clone(), file: "0a.json".into() },
        Key::Node(ID.into()),
        Key::Applied(ID.into()),
        Key::Lock(md),
        Key::AccountLock(hash),
        Key::Meta,
    ]
}

/// The first byte says which key has the others as its value. In them `@KEY@` stands for a private key,
/// `@CHAIN@` for its certificate.
pub fn check(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let fleet = &*FLEET;
    let _ = Secret::parse(rest);
    let _ = stored::parsed(rest);
    if let Ok(text) = std::str::from_utf8(rest)
        && let Some(key) = fleet.codec.key(text)
    {
        assert_eq!(fleet.codec.text(&key).ok().as_deref(), Some(text));
    }
    let key = &fleet.keys[usize::from(kind.wrapping_sub(b'A')) % fleet.keys.len()];
    let content = match std::str::from_utf8(rest) {
        Ok(text) => text.replace("@KEY@", &fleet.key).replace("@CHAIN@", &fleet.chain).into_bytes(),
        Err(_) => rest.to_vec(),
    };
    if let Ok(json) = serde_json::from_slice::<Value>(&content) {
        record(key, &json);
    }
    let is_legible = matches!(key, Key::Meta | Key::Lock(_) | Key::AccountLock(_));
    let name = fleet.codec.text(key).unwrap();
    match fleet.codec.open(&entry(&name, content.clone())) {
        Ok(opened) => {
            assert!(is_legible && opened.key == *key && *key != Key::Meta, "nobody has sealed this")
        }
        Err(flaw) => assert!(!flaw.to_string().contains(char::is_control), "{flaw}"),
    }
    // By a node of the fleet.
    if !is_legible && let Ok(sealed) = fleet.secrets.seal(PREFIX, &name, &content) {
        if let Ok(opened) = fleet.codec.open(&entry(&name, sealed.clone())) {
            assert_eq!(opened.key, *key);
            assert!(opened.written.is_some_and(|written| written.node.len() <= 1024));
        }
        // Nobody moves it to another key.
        let other = fleet.keys.iter().find(|other| *other != key).unwrap();
        assert!(fleet.codec.open(&entry(&fleet.codec.text(other).unwrap(), sealed)).is_err());
    }
}

fn entry(key: &str, value: Vec<u8>) -> Entry {
    Entry { key: key.into(), value, created: Revision(1), changed: Revision(2), lease: None }
}

fn record(key: &Key, json: &Value) {
    let Ok(record) = Record::from_json(key, json) else { return };
    let written = record.to_json(key).unwrap();
    let again = Record::from_json(key, &written).unwrap_or_else(|flaw| panic!("{written}: {flaw}"));
    assert_eq!(again.to_json(key).unwrap(), written);
    let by = Written { node: ID.into(), at: NOW };
    if *key != Key::Meta
        && let Ok(sealed) = FLEET.codec.seal(key, &record, &by)
    {
        let name = FLEET.codec.text(key).unwrap();
        let opened =
            FLEET.codec.open(&entry(&name, sealed)).unwrap_or_else(|flaw| panic!("{written}: {flaw}"));
        assert_eq!(opened.record.to_json(key).unwrap(), written);
    }
}
