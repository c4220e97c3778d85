// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever bytes httpd's User leaves in a file of the store: each reader of the store
//! comes to an end without a panic, takes no set without its keys, and what it took is written and read
//! again as the same.

use super::plain::assert_line;
use mod_md::challenge::answers::Folder;
use mod_md::challenge::http01;
use mod_md::challenge::presented::Presented;
use mod_md::crypto::{CertInfo, Chain, PrivateKey, self_signed};
use mod_md::managed::published;
use mod_md::managed::staging::Staging;
use mod_md::managed::withdrawn;
use mod_md::model::{FleetRequest, KeySpec, Request};
use mod_md::startup::accounts::Accounts;
use mod_md::startup::ended_starts::EndedStarts;
use mod_md::store::{Flat, Group, StartStore, WorkGroup, WorkStore};
use mod_md::time::Timestamp;
use std::fs;
use std::path::{Path, PathBuf};

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const NAME: &str = "a.test";

/// The files, below the folder of the store.
const FILES: [&str; 14] = [
    "staging/a.test/live.json",
    "staging/a.test/md.json",
    "staging/a.test/job.json",
    "staging/a.test/order.json",
    "staging/a.test/ari.json",
    "staging/a.test/issued.json",
    "staging/a.test/account.json",
    "accounts/ACME-ca.test-0000/account.json",
    "requests/a.test.json",
    "requests/+fleet.json",
    "withdrawn/a.test.json",
    "challenges/a.test/acme-http-01.json",
    "challenges/a.test/request.json",
    "trial-ended.json",
];

pub struct Site {
    dir: PathBuf,
    start: StartStore,
    work: WorkStore,
    /// A key as the store seals it, and its certificate, as texts of JSON.
    key: String,
    chain: String,
}

impl Site {
    /// `dir`: an absolute path, which may be there.
    pub fn new(dir: &Path) -> Self {
        let _ = fs::remove_dir_all(dir);
        let start = StartStore::open(dir, None).unwrap().unsynced();
        let work = start.worker();
        for file in FILES {
            fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
        }
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        let chain = self_signed::acme_identifier(NAME, &[7; 32], &key, NOW).unwrap();
        let sealed = start.seal_key(Group::Staging, &key).unwrap();
        let text = |pem: &[u8]| String::from_utf8_lossy(pem).replace('\n', "\\n");
        let (key, chain) = (text(&sealed), text(&chain.to_pem()));
        Site { dir: dir.to_path_buf(), start, work, key, chain }
    }
}

/// The first byte says which file the others are. In them `@KEY@` stands for a sealed key, `@CHAIN@` for its
/// certificate.
pub fn check(site: &Site, bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let kind = usize::from(kind.wrapping_sub(b'A')) % FILES.len();
    let path = site.dir.join(FILES[kind]);
    let content = match std::str::from_utf8(rest) {
        Ok(text) => text.replace("@KEY@", &site.key).replace("@CHAIN@", &site.chain).into_bytes(),
        Err(_) => rest.to_vec(),
    };
    fs::write(&path, content).unwrap();
    read(site, kind);
    fs::remove_file(path).unwrap();
}

fn read(site: &Site, kind: usize) {
    let (work, staging) = (&site.work, Staging::new(&site.work, NAME));
    match kind {
        0 => live(site),
        1 => {
            if let Ok(Some(md)) = staging.md() {
                staging.save_md(&md).unwrap();
                let again = staging.md().unwrap().unwrap();
                assert_eq!(again.to_json(), md.to_json());
            }
        }
        2 => {
            if let Ok(Some(job)) = staging.job() {
                staging.save_job(&job).unwrap();
                assert_eq!(staging.job().unwrap(), Some(job));
            }
        }
        3 => {
            if let Ok(Some(order)) = staging.order() {
                Staging::new(&work.unsynced(), NAME).save_order(&order).unwrap();
                assert_eq!(staging.order().unwrap(), Some(order));
            }
        }
        4 => {
            if let Ok(advice) = staging.ari() {
                staging.save_ari(&advice).unwrap();
                assert_eq!(staging.ari().unwrap(), advice);
            }
        }
        5 => {
            let ledger = staging.ledger();
            staging.save_ledger(&ledger).unwrap();
            assert_eq!(staging.ledger(), ledger);
        }
        6 => {
            // Not ours: nobody has signed it, and it has no key.
            assert!(staging.accounts().is_empty());
            assert!(staging.account_slot("https://ca.test/dir") <= 3);
        }
        7 => {
            let accounts = Accounts::read(&site.start).unwrap();
            let md = mod_md::model::Md::default();
            let found = accounts.find("https://ca.test/dir", &md);
            assert!(found.is_none_or(|folder| accounts.fits(folder, "https://ca.test/dir", &md)));
            let _ = work.read_account_json("ACME-ca.test-0000");
        }
        8 => {
            let found = work.read_flat(Flat::Requests, NAME).ok().flatten();
            found.as_ref().and_then(Request::from_json).iter().for_each(|request| assert_line(&request.by));
        }
        9 => {
            let found = work.read_fleet_request().ok().flatten();
            found
                .as_ref()
                .and_then(FleetRequest::from_json)
                .iter()
                .for_each(|request| assert_line(&request.by));
        }
        10 => {
            let found = withdrawn::read(work, NAME, NOW);
            withdrawn::restore(&site.start, NAME, &found, NOW).unwrap();
            assert_eq!(withdrawn::read(work, NAME, NOW), found);
            let _ = fs::write(site.dir.join(FILES[10]), b"{}");
        }
        11 => {
            let folder = Folder { store: work, group: WorkGroup::Challenges, name: NAME };
            assert!(folder.read(http01::NOTE).all().count() <= 1000);
        }
        12 => {
            let found = Presented::read(work, WorkGroup::Challenges, NAME);
            found.write(work, WorkGroup::Challenges, NAME).unwrap();
            assert_eq!(Presented::read(work, WorkGroup::Challenges, NAME), found);
        }
        _ => drop(EndedStarts::read(&site.start, NOW)),
    }
}

/// Only a start takes one that nobody has signed.
fn live(site: &Site) {
    let work = &site.work;
    assert!(
        !matches!(published::read(work, WorkGroup::Staging, NAME), Ok(Some(_))),
        "nobody has signed this"
    );
    assert!(published::chains(work, NAME).is_empty() && published::shown(work, NAME).is_none());
    let Ok(Some((found, is_ours))) = published::read_at_start(&site.start, NAME) else { return };
    assert!(!is_ours && (1..=16).contains(&found.sets.len()));
    for set in &found.sets {
        assert!(set.chain.leaf().matches_key(&set.key));
        assert_eq!(CertInfo::from_chain(&set.chain), set.info);
        let again = Chain::from_pem(&set.chain.to_pem()).unwrap();
        assert_eq!(again.leaf().der(), set.chain.leaf().der());
    }
    found.write(work, NAME).unwrap();
    let again = published::read(work, WorkGroup::Staging, NAME).unwrap().unwrap();
    assert_eq!(
        (again.since, again.md.to_json()),
        (Timestamp::from_unix(found.since.unix()), found.md.to_json())
    );
    assert!(again.job == found.job && again.sets.len() == found.sets.len());
}
