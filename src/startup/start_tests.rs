// SPDX-License-Identifier: Apache-2.0
//! Whole starts, as [`super::bring_up`] performs them, against stores in every condition: after any sequence
//! of configurations, with the process ended before any step, and with garbage in any file.

use super::accounts::Accounts;
use super::bring_up::BroughtUp;
use super::fallback::Fallbacks;
use super::fixture::{Started, start_with, sync};
use crate::config::PlannedMd;
use crate::crypto::fixture::{NOW, Wish};
use crate::managed::bundle;
use crate::managed::bundle::{JOB_FILE, MD_FILE};
use crate::managed::fixture::{CA_URL, Lab, Written, account, md};
use crate::managed::gate::Admitted;
use crate::managed::published::Published;
use crate::managed::serve;
use crate::managed::serve::{Own, Source};
use crate::managed::staging::file;
use crate::managed::withdrawn::{self, Entry, Why};
use crate::model::{Job, KeySpec, Md, State, Trial};
use crate::store::{Error, Fuse, Group, StartStore};
use crate::time::TimeSlice;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::PathBuf;

/// A whole start, in which mod_ssl asks for a self-signed certificate where there is no other.
fn start(store: &StartStore, configured: &[Md]) -> Result<Vec<Started>, Error> {
    let ask = |mds: &[PlannedMd], brought_up: &BroughtUp| {
        for (PlannedMd { md, .. }, stored) in mds.iter().zip(&brought_up.mds) {
            if serve::decide(md, &md.name, &stored.certs, Own::None, NOW) == Source::SelfSigned {
                // Where the process has died, nothing is made.
                let _ = Fallbacks::default().files(store, md, stored, NOW);
            }
        }
    };
    Ok(start_with(store, configured, ask)?.into_iter().map(|(started, _)| started).collect())
}

fn fingerprint(store: &StartStore, name: &str, spec: &KeySpec) -> Option<String> {
    bundle::load(store, Group::Domains, name, spec).ok().map(|set| set.info).map(|info| info.fingerprint)
}

const NAMES: [&str; 6] = ["a.test", "b.test", "c.test", "d.test", "*.e.test", "f.test"];

/// The configuration, and the one of its MDs for which a renewal ends before the next start.
#[derive(Clone, Debug)]
struct Configuration {
    mds: Vec<Md>,
    renewed: Option<(usize, Renewed)>,
}

/// The set that a renewal leaves in staging.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Renewed {
    Good,
    /// Served without a restart.
    Live,
    Refused,
    Damaged,
}

impl Renewed {
    fn comes_into_use(self) -> bool {
        matches!(self, Renewed::Good | Renewed::Live)
    }
}

fn settings() -> impl Strategy<Value = Md> {
    (any::<bool>(), any::<bool>(), any::<bool>(), 1..50u8).prop_map(|(p384, second_ca, mail, window)| {
        let curve = if p384 { "P-384" } else { "P-256" };
        let mut md = Md {
            key_specs: vec![KeySpec::Ec(curve.into())],
            contacts: vec![format!("mailto:{}@a.test", if mail { "me" } else { "you" })],
            renew_window: TimeSlice::Percent(window),
            ..Md::default()
        };
        md.ca.urls = vec![if second_ca { "https://other.test/dir" } else { CA_URL }.into()];
        md
    })
}

/// Names in any order, each in one of three MDs or in none.
fn configuration() -> impl Strategy<Value = Configuration> {
    let names = Just(NAMES.to_vec()).prop_shuffle();
    let places = prop::collection::vec(0..4usize, NAMES.len());
    let settings = prop::collection::vec(settings(), 3);
    let renewed =
        prop::sample::select(vec![Renewed::Good, Renewed::Live, Renewed::Refused, Renewed::Damaged]);
    let renewed = prop::option::of((0..3usize, renewed));
    (names, places, settings, renewed).prop_map(|(names, places, settings, renewed)| {
        let mut mds = settings;
        for (name, place) in names.iter().zip(places) {
            if let Some(md) = mds.get_mut(place) {
                md.domains.push((*name).to_string());
            }
        }
        mds.retain(|md| !md.domains.is_empty());
        mds.iter_mut().for_each(|md| md.name.clone_from(&md.domains[0]));
        Configuration { renewed: renewed.filter(|(at, _)| *at < mds.len()), mds }
    })
}

/// md.json without the parts that depend on history.
fn as_configured(store: &StartStore, name: &str) -> Value {
    let mut json = store.read_json(Group::Domains, name, MD_FILE).unwrap().unwrap();
    let fields = json.as_object_mut().unwrap();
    ["state", "state-descr"].iter().for_each(|key| drop(fields.remove(*key)));
    let ca = fields["ca"].as_object_mut().unwrap();
    ["account", "url"].iter().for_each(|key| drop(ca.remove(*key)));
    json
}

/// Folders of the store with their DNS names, by which a renamed MD is found again.
fn folders(store: &StartStore) -> HashMap<String, HashSet<String>> {
    let names_of = |folder: &String| {
        let json = store.read_json(Group::Domains, folder, MD_FILE).unwrap().unwrap();
        Md::from_json(&json).unwrap().domains.into_iter().collect()
    };
    let folders = store.names(Group::Domains).unwrap();
    folders.into_iter().map(|folder| (folder.clone(), names_of(&folder))).collect()
}

/// The folder that `md` must have after a start, as far as the rules leave no choice: the one of its name,
/// else the only one with most names in common, if no other MD has names in it.
fn folder_to_keep<'f>(
    folders: &'f HashMap<String, HashSet<String>>,
    mds: &[Md],
    md: &Md,
) -> Option<&'f String> {
    if let Some((folder, _)) = folders.get_key_value(&md.name) {
        return Some(folder);
    }
    let common = |md: &Md, names: &HashSet<String>| md.domains.iter().filter(|n| names.contains(*n)).count();
    let is_free = |folder: &str| mds.iter().all(|other| other.name != folder);
    let mut found: Vec<_> = folders
        .iter()
        .filter(|(folder, names)| is_free(folder) && common(md, names) > 0)
        .map(|(folder, names)| (common(md, names), folder))
        .collect();
    found.sort();
    let (most, folder) = found.pop()?;
    let rivals = mds.iter().filter(|other| other.name != md.name && common(other, &folders[folder]) > 0);
    (found.iter().all(|(count, _)| *count < most) && rivals.count() == 0).then_some(folder)
}

fn stage_renewal(lab: &Lab, md: &Md, renewed: Renewed) -> String {
    let names: Vec<_> = md.domains.iter().map(String::as_str).collect();
    let spec = &md.keys()[0];
    let set = lab.set(&names, spec);
    match renewed {
        Renewed::Good => lab.stage(md, &set),
        Renewed::Refused => lab.stage_tried(md, &set, Some(Trial::Refused("no".into()))),
        Renewed::Damaged => {
            let fingerprint = lab.stage(md, &set);
            lab.store.write(Group::Staging, &md.name, &spec.file_name("pubcert"), b"garbage").unwrap();
            fingerprint
        }
        Renewed::Live => {
            let fingerprint = set.info.fingerprint.clone();
            let job = Job::new(&md.name);
            let published = Published::new(NOW, md, &job, Admitted::untried(vec![set]));
            published.write(&lab.store.worker(), &md.name).unwrap();
            lab.store.write_json(Group::Staging, &md.name, JOB_FILE, &job.to_json()).unwrap();
            fingerprint
        }
    }
}

/// The files that a start with the same configuration writes, but for the jobs of refused sets: each start
/// reports these.
fn written_by_another_start(lab: &Lab, mds: &[Md]) -> Vec<PathBuf> {
    let files = lab.files();
    start(&lab.store, mds).unwrap();
    let after = lab.files();
    let is_refused = |files: &BTreeMap<PathBuf, Written>, path: &PathBuf| {
        let json = files.get(path).and_then(|(_, _, content)| serde_json::from_slice(content).ok());
        let job = json.filter(|_| path.ends_with(JOB_FILE)).and_then(|json| Job::from_json("", &json));
        job.is_some_and(|job| matches!(job.trial, Some(Trial::Refused(_))))
    };
    let is_written = |path: &&PathBuf| {
        let is_reported = is_refused(&files, path) && is_refused(&after, path);
        files.get(*path) != after.get(*path) && !is_reported
    };
    let paths: BTreeSet<_> = files.keys().chain(after.keys()).collect();
    paths.into_iter().filter(is_written).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_configurations_ends_like_one_start_with_the_last(
        sequence in prop::collection::vec(configuration(), 1..6)
    ) {
        let lab = Lab::new();
        for configuration in &sequence {
            let mds = &configuration.mds;
            let before = folders(&lab.store);
            let expected: Vec<_> = mds.iter().map(|md| {
                let spec = &md.keys()[0];
                let folder = folder_to_keep(&before, mds, md)?;
                let info = bundle::load(&lab.store, Group::Domains, folder, spec).ok()?.info;
                md.is_covered_by(&info.dns_names).then_some(info.fingerprint)
            }).collect();
            let staged: HashSet<_> = lab.store.names(Group::Staging).unwrap().into_iter().collect();
            start(&lab.store, mds).unwrap();
            for (md, expected) in mds.iter().zip(expected) {
                if let Some(expected) = expected.filter(|_| staged.is_empty()) {
                    let found = fingerprint(&lab.store, &md.name, &md.keys()[0]);
                    prop_assert_eq!(found, Some(expected), "a certificate that covers is kept: {}", md.name);
                }
            }
            let written = written_by_another_start(&lab, mds);
            prop_assert!(written.is_empty(), "a second start writes {written:?}");
            if let Some((at, renewed)) = configuration.renewed {
                stage_renewal(&lab, &mds[at], renewed);
            }
        }
        let last = &sequence[sequence.len() - 1].mds;
        start(&lab.store, last).unwrap();
        let fresh = Lab::new();
        start(&fresh.store, last).unwrap();
        for md in last {
            prop_assert_eq!(as_configured(&lab.store, &md.name), as_configured(&fresh.store, &md.name));
        }
        if let Some((at, _)) = sequence[sequence.len() - 1].renewed.filter(|(_, set)| set.comes_into_use()) {
            let json = lab.store.read_json(Group::Domains, &last[at].name, MD_FILE).unwrap().unwrap();
            prop_assert_eq!(&json["state"], 2, "what was renewed is in use");
        }
    }
}

fn served(started: &Started) -> Option<&str> {
    started.certs.all().next().map(|info| info.fingerprint.as_str())
}

#[test]
fn a_staged_set_goes_to_one_of_the_mds_that_have_names_of_its_folder() {
    // Each configuration, and the place of the MD that is renewed after it.
    let sequence: [(&[&[&str]], Option<usize>); 4] = [
        (&[&["a.test", "c.test", "d.test", "*.e.test"], &["f.test"], &["b.test"]], Some(1)),
        (&[&["f.test", "c.test", "b.test", "*.e.test", "d.test"], &["a.test"]], None),
        (&[&["f.test", "*.e.test", "d.test", "a.test"], &["c.test", "b.test"]], Some(1)),
        (&[&["a.test", "c.test"], &["b.test", "*.e.test"]], None),
    ];
    let lab = Lab::new();
    let mut served = Vec::new();
    for (configured, renewed) in sequence {
        let mds: Vec<Md> = configured.iter().map(|names| md(names)).collect();
        let started = start(&lab.store, &mds).unwrap();
        let names = |started: &Started| started.certs.all().map(|info| info.dns_names.clone()).collect();
        served = started.iter().map(names).collect::<Vec<Vec<Vec<String>>>>();
        let written = written_by_another_start(&lab, &mds);
        assert!(written.is_empty(), "{configured:?}: {written:?}");
        if let Some(at) = renewed {
            stage_renewal(&lab, &mds[at], Renewed::Good);
        }
    }
    assert_eq!(served, [vec![vec!["c.test", "b.test"]], vec![vec!["f.test"]]]);
}

#[test]
fn an_md_whose_staged_set_does_not_come_into_use_keeps_what_is_lent_to_it() {
    for renewed in [Renewed::Refused, Renewed::Damaged] {
        let lab = Lab::new();
        let lent = lab.install(&md(&["old.test", "a.test"]));
        let configured = [md(&["a.test", "b.test"])];
        lab.store.write_json(Group::Domains, "a.test", MD_FILE, &configured[0].to_json()).unwrap();
        for _ in 0..2 {
            let started = start(&lab.store, &configured).unwrap();
            assert_eq!(served(&started[0]), Some(lent.as_str()), "{renewed:?}");
            assert!(written_by_another_start(&lab, &configured).is_empty(), "{renewed:?}");
            stage_renewal(&lab, &configured[0], renewed);
        }
        let good = stage_renewal(&lab, &configured[0], Renewed::Good);
        assert_eq!(served(&start(&lab.store, &configured).unwrap()[0]), Some(good.as_str()), "{renewed:?}");
    }
}

/// The better match of two folders has no more than a set that does not come into use.
#[test]
fn an_md_that_takes_over_a_useless_set_has_the_certificate_of_another_folder() {
    for renewed in [Renewed::Refused, Renewed::Damaged] {
        for has_folder in [false, true] {
            let lab = Lab::new();
            let lent = lab.install(&md(&["old.test", "a.test"]));
            let staged = md(&["staged.test", "a.test", "b.test"]);
            lab.store.write_json(Group::Domains, "staged.test", MD_FILE, &staged.to_json()).unwrap();
            stage_renewal(&lab, &staged, renewed);
            let configured = [md(&["new.test", "a.test", "b.test"])];
            if has_folder {
                let json = configured[0].to_json();
                lab.store.write_json(Group::Domains, "new.test", MD_FILE, &json).unwrap();
            }
            let started = start(&lab.store, &configured).unwrap();
            assert_eq!(served(&started[0]), Some(lent.as_str()), "{renewed:?} {has_folder}");
            assert!(!lab.has("staging/staged.test"), "{renewed:?} {has_folder}");
            assert!(written_by_another_start(&lab, &configured).is_empty(), "{renewed:?} {has_folder}");
        }
    }
}

#[test]
fn a_start_takes_staged_sets_of_former_folders_until_one_comes_into_use() {
    let lab = Lab::new();
    let stage = |names: &[&str], renewed: Renewed| {
        let former = md(names);
        lab.store.write_json(Group::Domains, &former.name, MD_FILE, &former.to_json()).unwrap();
        stage_renewal(&lab, &former, renewed)
    };
    stage(&["one.test", "a.test", "b.test", "c.test"], Renewed::Damaged);
    stage(&["two.test", "a.test", "b.test"], Renewed::Damaged);
    let good = stage(&["three.test", "a.test"], Renewed::Good);
    let configured = [md(&["a.test", "b.test", "c.test"])];
    let started = start(&lab.store, &configured).unwrap();
    assert_eq!(served(&started[0]), Some(good.as_str()));
    assert!(written_by_another_start(&lab, &configured).is_empty());
}

#[test]
fn staged_sets_stay_with_former_folders_where_they_serve_nobody() {
    let (lab, shop) = (Lab::new(), md(&["shop.test"]));
    let former = [md(&["a.test", "x.test"]), md(&["b.test", "y.test"])];
    start(&lab.store, &[shop.clone(), former[0].clone(), former[1].clone()]).unwrap();
    for (md, name) in former.iter().zip(["a.test", "b.test"]) {
        lab.stage(md, &lab.set(&[name], &md.keys()[0]));
    }
    let merged = [md(&["shop.test", "x.test", "y.test"])];
    start(&lab.store, &merged).unwrap();
    assert!(written_by_another_start(&lab, &merged).is_empty());
    let again = start(&lab.store, &[shop, former[0].clone(), former[1].clone()]).unwrap();
    let is_served: Vec<bool> = again.iter().map(|started| served(started).is_some()).collect();
    assert_eq!(is_served, [false, true, true]);
}

#[test]
fn a_lent_certificate_stays_before_a_staged_set_that_is_worth_less() {
    let cases = [&["a.test", "b.test"][..], &["a.test"]].map(|names| (names, names.len() > 1));
    for ((names, is_withdrawn), name) in
        cases.into_iter().flat_map(|case| [(case, "old2.test"), (case, "new.test")])
    {
        let lab = Lab::new();
        let lent = lab.install(&md(&["old.test", "a.test", "b.test"]));
        let configured = [md(&["new.test", "a.test", "b.test", "c.test"])];
        let former = Md { name: name.into(), ..md(&["a.test", "b.test", "c.test"]) };
        for md in [&configured[0], &former] {
            lab.store.write_json(Group::Domains, &md.name, MD_FILE, &md.to_json()).unwrap();
        }
        let set = lab.set_like(&Wish { names, serial: "0a", ..Wish::default() }, &former.keys()[0]);
        lab.stage(&former, &set);
        if is_withdrawn {
            let entry = Entry::new(set.chain.leaf(), Why::Revoked, false, NOW);
            withdrawn::change(&lab.store, name, NOW, |withdrawn| withdrawn.add(entry)).unwrap();
        }
        let started = start(&lab.store, &configured).unwrap();
        assert_eq!(served(&started[0]), Some(lent.as_str()), "{names:?} {name}");
        assert!(written_by_another_start(&lab, &configured).is_empty(), "{names:?} {name}");
    }
}

#[test]
fn an_md_that_is_lent_a_certificate_without_a_history_keeps_its_own() {
    let lab = Lab::new();
    let lent = lab.install(&md(&["old.test", "a.test"]));
    lab.store.write(Group::Domains, "old.test", MD_FILE, b"{garbage").unwrap();
    let configured = [md(&["new.test", "a.test"])];
    let mut stored = configured[0].clone();
    (stored.ca.account, stored.ca.url) = (Some("ACME-ca.test-0000".into()), Some(CA_URL.into()));
    lab.store.write_json(Group::Domains, "new.test", MD_FILE, &stored.to_json()).unwrap();
    let started = start(&lab.store, &configured).unwrap();
    assert_eq!(served(&started[0]), Some(lent.as_str()));
    assert_eq!(started[0].md.ca.account, stored.ca.account);
}

/// Every sort of work that a start can have: an old version, a renamed MD, a set and an account to take over,
/// a failing job, challenges of no domain.
fn busy() -> (Lab, [Md; 3], [String; 2]) {
    let lab = Lab::new();
    let renamed = lab.install(&md(&["old.test", "a.test"]));
    let domains = lab.root().join("domains");
    let rename = |from: &str, to: &str| fs::rename(domains.join(from), domains.join(to)).unwrap();
    let configured = [md(&["a.test", "old.test"]), md(&["b.test"]), md(&["c.test"])];
    lab.install(&configured[1]);
    let new = lab.stage(&configured[1], &lab.set(&["b.test"], &configured[1].keys()[0]));
    lab.stage_account("b.test", &account(1));
    let job = Job { errors: 3, ..Job::new("c.test") };
    lab.store.write_json(Group::Staging, "c.test", JOB_FILE, &job.to_json()).unwrap();
    lab.stage_account("c.test", &account(2));
    lab.store.write(Group::Challenges, "gone.test", "acme-http-01.txt", b"x").unwrap();

    // RSA files of version 1.0 beside the others, in a folder of their own.
    let rsa = Md { key_specs: Vec::new(), ..md(&["rsa.test"]) };
    lab.install(&rsa);
    rename("rsa.test/privkey.pem", "rsa.test/pkey.pem");
    rename("rsa.test/pubcert.pem", "rsa.test/cert.pem");
    let path = lab.root().join("md_store.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("3.0"), "{text}");
    fs::write(path, text.replace("3.0", "1.0")).unwrap();
    (lab, configured, [renamed, new])
}

/// Lets a start die after `steps` changes, and checks the next one. Tells whether it died.
fn dies_after(steps: usize) -> bool {
    let spec = KeySpec::Ec("P-256".into());
    let (lab, configured, [renamed, new]) = busy();
    let old = fingerprint(&lab.store, "b.test", &spec);
    let fuse = Fuse::after(steps);
    let _ = StartStore::open_with(&lab.root(), None, fuse.clone())
        .and_then(|store| start(&store.unsynced(), &configured));
    let died = fuse.is_blown();

    let store = StartStore::open(&lab.root(), None).unwrap().unsynced();
    let synced = sync(&store, &configured).unwrap();
    let found = synced[1].certs[0].1.as_ref().map(|info| info.fingerprint.clone());
    assert!(found == old || found.as_ref() == Some(&new), "{steps}: neither the old set nor the new one");

    let synced = start(&store, &configured).unwrap();
    assert_eq!(fingerprint(&store, "a.test", &spec), Some(renamed), "{steps}");
    assert_eq!(fingerprint(&store, "b.test", &spec), Some(new), "{steps}");
    assert!(fingerprint(&store, "rsa.test", &KeySpec::default()).is_some(), "{steps}");
    let states: Vec<_> = synced.iter().map(|md| md.md.state).collect();
    assert_eq!(states, [State::Complete, State::Complete, State::Incomplete], "{steps}");
    assert_eq!(store.names(Group::Archive).unwrap(), ["b.test.1"], "{steps}");
    assert_eq!(store.names(Group::Accounts).unwrap().len(), 2, "{steps}");
    assert!(!lab.has("staging/b.test") && !lab.has("staging/c.test"), "{steps}");
    assert!(!lab.has("challenges/gone.test") && !lab.has("domains/old.test"), "{steps}");
    let files = lab.files();
    start(&StartStore::open(&lab.root(), None).unwrap().unsynced(), &configured).unwrap();
    assert_eq!(lab.files(), files, "{steps}: the one after it writes nothing");
    died
}

#[test]
fn a_start_that_ends_before_any_of_its_steps_is_made_good_by_the_next() {
    const THREADS: usize = 4;
    std::thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || {
                let last = (first..).step_by(THREADS).find(|steps| !dies_after(*steps)).unwrap();
                assert!(last > 60, "{last}");
            });
        }
    });
}

/// JSON that somebody wrote to do harm, or a disk that was full.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let names = r#"{"name": "../../x", "domains": ["..", "/etc", "a\u0000b", "*.*.x", "a.test"], "url": "x",
        "ca-url": "../../x", "ca": {"account": "../../etc", "url": "../../etc"}, "finished": true}"#;
    vec![
        ("empty", Vec::new()),
        ("no UTF-8", vec![0xff; 100]),
        ("truncated", text(r#"{"name": "a.test", "domains": ["a.te"#)),
        ("deep arrays", "[".repeat(200_000).into_bytes()),
        ("deep objects", r#"{"ca":"#.repeat(200_000).into_bytes()),
        (
            "nested as far as is read",
            [r#"{"x":"#.repeat(126), "1".into(), "}".repeat(126)].concat().into_bytes(),
        ),
        ("another type", text("[1, 2]")),
        ("a number", text("1e400")),
        (
            "huge numbers",
            text(
                r#"{"name": "a.test", "domains": ["a.test"], "errors": 99999999999999999999999, "state": 1e300,
                "renew-mode": -9223372036854775809, "finished": 18446744073709551616}"#,
            ),
        ),
        (
            "duplicates",
            text(
                r#"{"name": "a.test", "name": 5, "domains": ["a.test"], "domains": {}, "errors": 1, "errors": []}"#,
            ),
        ),
        (
            "wrong types",
            text(
                r#"{"name": 1, "domains": "a.test", "contacts": {}, "ca": [], "privkey": 7, "proto": 1,
                "finished": "yes", "log": 5, "last": [], "errors": "x", "url": [], "ca-url": {}, "contact": "x", "eab": 1}"#,
            ),
        ),
        ("names that lead elsewhere", text(names)),
        ("4 MiB", format!(r#"{{"name": "{}"}}"#, "x".repeat(4 * 1024 * 1024)).into_bytes()),
    ]
}

#[test]
fn hostile_json_in_any_file_is_reported_or_replaced_and_has_no_effect() {
    let spec = KeySpec::Ec("P-256".into());
    let files = [
        "domains/a.test/md.json",
        "domains/a.test/job.json",
        "domains/stranger.test/md.json",
        "staging/a.test/md.json",
        "staging/a.test/job.json",
        "staging/a.test/account.json",
        "staging/a.test/order.json",
        "accounts/ACME-ca.test-0000/account.json",
        "tmp/a.test/md.json",
        "httpd.json",
    ];
    let lab = Lab::new();
    let configured = [md(&["a.test"])];
    for (kind, content) in hostile() {
        for path in files {
            lab.install(&configured[0]);
            lab.stage(&configured[0], &lab.set(&["a.test"], &spec));
            lab.stage_account("a.test", &account(1));
            for folder in ["domains/stranger.test", "accounts/ACME-ca.test-0000", "tmp/a.test"] {
                fs::create_dir_all(lab.root().join(folder)).unwrap();
            }
            fs::write(lab.root().join(path), &content).unwrap();
            let synced = start(&lab.store, &configured).unwrap();
            assert_eq!(synced[0].md.state, State::Complete, "{kind} in {path}");
            assert_eq!(synced[0].md.domains, ["a.test"], "{kind} in {path}");
            start(&lab.store, &configured).unwrap();
            let beside: Vec<_> = fs::read_dir(lab.root().parent().unwrap()).unwrap().collect();
            assert_eq!(beside.len(), 1, "{kind} in {path}: something lies beside the store");
            for group in Group::ALL {
                lab.store.names(group).unwrap().iter().for_each(|name| lab.store.purge(group, name).unwrap());
            }
        }
    }
}

#[test]
fn hostile_json_in_the_store_s_own_file_stops_the_start_with_a_sentence() {
    for (kind, content) in hostile() {
        let lab = Lab::new();
        let path = lab.root().join("md_store.json");
        fs::write(&path, &content).unwrap();
        let error = StartStore::open(&lab.root(), None).err().unwrap_or_else(|| panic!("{kind} passed"));
        assert!(error.to_string().contains("md_store.json"), "{kind}: {error}");
        assert!(error.to_string().len() < 1000, "{kind}");
        assert_eq!(fs::read(&path).unwrap(), content, "{kind}");
    }
}

#[test]
fn an_account_that_only_looks_like_one_is_not_used() {
    let lab = Lab::new();
    for (index, (_, content)) in hostile().into_iter().enumerate() {
        let folder = format!("ACME-ca.test-{index:04}");
        fs::create_dir_all(lab.root().join("accounts").join(&folder)).unwrap();
        fs::write(lab.root().join("accounts").join(&folder).join(file::ACCOUNTS[0].0), content).unwrap();
    }
    let accounts = Accounts::read(&lab.store).unwrap();
    assert_eq!(accounts.find(CA_URL, &md(&["a.test"])), None);
    assert_eq!(json!(lab.store.names(Group::Accounts).unwrap().len()), json!(hostile().len()));
}
