// SPDX-License-Identifier: Apache-2.0
//! Somebody who writes to the engine by himself: a stranger with the engine's password, and one with the fleet's
//! secret as well.

use crate::engine::Engine;
use mod_md::config::fleet::{Scheme, Server};
use mod_md::fleet::access::Access;
use mod_md::fleet::codec::Codec;
use mod_md::fleet::connect::connect;
use mod_md::fleet::engine::{self, Entry, Transaction, Write};
use mod_md::fleet::key::{ALL, Key, META};
use mod_md::fleet::record::{Record, Written};
use mod_md::fleet::sealed::Secrets;
use mod_md::fleet::secret::Secret;
use mod_md::time::{self, StopFlag};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use support::{SOON, wait_for};

pub const PREFIX: &str = "{mod_md}";

pub struct Hand {
    engine: Arc<dyn engine::Engine>,
    secrets: Secrets,
}

impl Hand {
    pub fn new(engine: &Engine) -> Hand {
        let directives = engine.directives();
        let words = |name: &str| {
            let line = directives.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.map(|line| line.split(' ').map(str::to_string).collect::<Vec<_>>())
        };
        let urls = words("MDFleet").unwrap();
        let server = |url: &String| {
            let (host, port) = url.split_once("://").unwrap().1.rsplit_once(':').unwrap();
            Server { host: host.into(), port: port.parse().unwrap() }
        };
        let user = words("MDFleetUser");
        let access = Access {
            scheme: if urls[0].starts_with("etcd") { Scheme::Etcd } else { Scheme::Redis },
            is_tls: urls[0].starts_with("etcds:") || urls[0].starts_with("rediss:"),
            servers: urls.iter().map(server).collect(),
            prefix: PREFIX.into(),
            ca_pem: words("MDFleetCACertificateFile").map(|file| fs::read(&file[0]).unwrap()),
            client_pem: None,
            user: user.map(|user| (user[0].clone(), fs::read(&user[1]).unwrap())),
            stop: StopFlag::default(),
        };
        Hand { engine: connect(&access).unwrap(), secrets: Secrets::new(secret(&engine.secret), None) }
    }

    /// Every entry.
    pub fn entries(&self) -> Vec<Entry> {
        // The first call after a loss may say so.
        let first = || self.engine.list(ALL, None).ok();
        let mut page = wait_for("a listing", SOON, first);
        let mut entries = std::mem::take(&mut page.entries);
        while let Some(cursor) = page.next.take() {
            page = self.engine.list(ALL, Some(&cursor)).unwrap();
            entries.append(&mut page.entries);
        }
        entries
    }

    fn codec(&self) -> Codec {
        // After a loss a node makes it again.
        let meta = wait_for("meta", SOON * 2, || self.engine.get(META).ok().flatten());
        Codec::of_meta(&self.secrets, PREFIX, &meta.value).unwrap().0
    }

    fn get(&self, text: &str) -> Option<Entry> {
        wait_for("an entry", SOON, || self.engine.get(text).ok())
    }

    pub fn entry(&self, key: &Key) -> Option<Entry> {
        self.get(&self.codec().text(key).unwrap())
    }

    /// Writes these bytes, whatever is there.
    pub fn write_raw(&self, text: &str, value: &[u8]) {
        let put = Write::Put { key: text.into(), value: value.into(), lease: None };
        let transaction = Transaction { when: Vec::new(), then: vec![put] };
        wait_for("a write", SOON, || self.engine.commit(&transaction).ok());
    }

    pub fn write(&self, key: &Key, value: &[u8]) {
        self.write_raw(&self.codec().text(key).unwrap(), value);
    }

    /// Writes what a node could have written.
    pub fn seal(&self, key: &Key, record: &Record) {
        let by = Written { node: "00112233445566778899aabbccddeeff".into(), at: time::now() };
        self.write(key, &self.codec().seal(key, record, &by).unwrap());
    }

    /// What stands there, where it can be opened.
    pub fn opened(&self, key: &Key) -> Option<Record> {
        self.codec().open(&self.entry(key)?).ok().map(|opened| opened.record)
    }

    /// The generation of the set of an MD.
    pub fn generation(&self, name: &str) -> Option<u64> {
        match self.opened(&Key::Set(name.into()))? {
            Record::Set(set) => Some(set.generation),
            _ => None,
        }
    }

    #[track_caller]
    pub fn wait_generation(&self, name: &str, generation: u64) {
        wait_for(&format!("generation {generation} of {name}"), SOON * 3, || {
            (self.generation(name) == Some(generation)).then_some(())
        });
    }

    /// The kinds of the entries that the secret in this file opens, names included.
    pub fn opened_by(&self, file: &Path) -> Vec<String> {
        let secrets = Secrets::new(secret(file), None);
        let is_opened = |entry: &Entry| secrets.open(PREFIX, &entry.key, &entry.value).is_ok();
        let entries = self.entries().into_iter().filter(is_opened);
        entries.map(|entry| entry.key.split('/').nth(1).unwrap().to_string()).collect()
    }
}

fn secret(file: &Path) -> Secret {
    Secret::parse(&fs::read(file).unwrap()).unwrap()
}
