// SPDX-License-Identifier: Apache-2.0
//! The order of a start's steps: each test fails where two steps of [`super::bring_up`] change places.

use super::activate::Activated;
use super::bring_up::{BroughtUp, Start, bring_up, finish};
use super::fixture::{plan_of, start_of, start_until_loading};
use crate::managed::bundle;
use crate::managed::fixture::{CA_URL, Lab, account, md};
use crate::model::{Md, State};
use crate::store::{Group, Note, StartStore};
use serde_json::json;
use std::fs;
use std::slice;
use std::time::Duration;

/// An MD with a set in use and a new one with which the last start has ended. Gives their fingerprints.
fn ended(lab: &Lab, md: &Md) -> (String, String) {
    let names: Vec<&str> = md.domains.iter().map(String::as_str).collect();
    let old = lab.install(md);
    let new = lab.stage(md, &lab.set(&names, &md.keys()[0]));
    assert_eq!(start_until_loading(&lab.store, slice::from_ref(md)).unwrap(), Activated::Done);
    (old, new)
}

fn known(brought_up: &BroughtUp) -> Option<&str> {
    brought_up.mds[0].certs[0].1.as_ref().map(|info| info.fingerprint.as_str())
}

fn in_use(lab: &Lab, md: &Md) -> Option<String> {
    bundle::load(&lab.store, Group::Domains, &md.name, &md.keys()[0]).ok().map(|set| set.info.fingerprint)
}

#[test]
fn the_lock_comes_first_and_without_it_nothing_in_use_changes() {
    let (lab, a) = (Lab::new(), md(&["a.test"]));
    let (_, new) = ended(&lab, &a);
    let renamed = md(&["b.test", "a.test"]);
    let mut plan = plan_of(slice::from_ref(&renamed));
    plan.global.store_locks = Some(Duration::from_millis(1));
    let other = StartStore::open(&lab.root(), None).unwrap();
    let held = other.lock(Duration::from_secs(9)).unwrap().unwrap();
    let before = lab.files();
    let brought_up = bring_up(&start_of(&lab.store), &mut plan).unwrap();
    assert_eq!(lab.files(), before, "nothing is put back, renamed or activated");
    assert_eq!(brought_up.activated.len(), 0);
    assert_eq!(known(&brought_up), Some(new.as_str()), "it serves what is there");
    drop(held);
    bring_up(&start_of(&lab.store), &mut plan).unwrap();
    assert!(other.lock(Duration::ZERO).unwrap().is_some(), "given back before mod_ssl loads anything");
    assert_ne!(in_use(&lab, &renamed), Some(new));
}

#[test]
fn what_ended_the_last_start_is_put_back_before_certificates_are_read() {
    for is_check in [false, true] {
        let (lab, a) = (Lab::new(), md(&["a.test"]));
        let (old, _) = ended(&lab, &a);
        let start = Start { is_check, ..start_of(&lab.store) };
        let brought_up = bring_up(&start, &mut plan_of(slice::from_ref(&a))).unwrap();
        assert_eq!(known(&brought_up), Some(old.as_str()), "{is_check}");
        assert_eq!(in_use(&lab, &a), Some(old), "{is_check}");
    }
}

#[test]
fn folders_follow_a_renamed_md_before_what_is_staged_is_looked_for() {
    let (lab, old) = (Lab::new(), md(&["old.test", "a.test"]));
    lab.install(&old);
    lab.stage_account("old.test", &account(1));
    let new = lab.stage(&old, &lab.set(&["old.test", "a.test"], &old.keys()[0]));
    let renamed = md(&["a.test", "old.test"]);
    let mut plan = plan_of(slice::from_ref(&renamed));
    let brought_up = bring_up(&start_of(&lab.store), &mut plan).unwrap();
    assert_eq!(*brought_up.activated[0].as_ref().unwrap(), Activated::Done);
    assert_eq!(in_use(&lab, &renamed), Some(new));
    // The account was adopted before the set came into use.
    let json = lab.store.read_json(Group::Domains, "a.test", bundle::MD_FILE).unwrap().unwrap();
    assert_eq!((&json["ca"]["account"], &json["ca"]["url"]), (&json!("ACME-ca.test-0000"), &json!(CA_URL)));
    assert_eq!(plan.mds[0].md.ca.account.as_deref(), Some("ACME-ca.test-0000"));
}

#[test]
fn new_sets_are_noted_once_they_are_in_use_and_before_mod_ssl_loads_one() {
    let (lab, mds) = (Lab::new(), [md(&["a.test"]), md(&["b.test"])]);
    mds.iter().for_each(|md| drop(lab.stage(md, &lab.set(&[&md.name], &md.keys()[0]))));
    let brought_up = bring_up(&start_of(&lab.store), &mut plan_of(&mds)).unwrap();
    let note = lab.store.read_note(Note::Trial).unwrap().unwrap();
    assert_eq!(note.as_object().unwrap().keys().collect::<Vec<_>>(), ["a.test", "b.test"]);
    brought_up.trial.note_loading(&lab.store, "b.test");
    assert_eq!(lab.store.read_note(Note::Loading).unwrap(), Some(json!({"name": "b.test"})));
    brought_up.trial.note_loaded(&lab.store);
    assert_eq!(lab.store.read_note(Note::Loading).unwrap(), None);
    brought_up.trial.end(&lab.store);
    assert_eq!(lab.store.read_note(Note::Trial).unwrap(), None);
}

#[test]
fn md_json_and_challenges_are_settled_by_the_names_that_hosts_have_added() {
    let (lab, a) = (Lab::new(), md(&["a.test"]));
    lab.install(&a);
    for name in ["a.test", "joined.test", "gone.test"] {
        lab.store.write(Group::Challenges, name, "acme-http-01.txt", b"x").unwrap();
    }
    let mut plan = plan_of(slice::from_ref(&a));
    let mut brought_up = bring_up(&start_of(&lab.store), &mut plan).unwrap();
    plan.mds[0].md.domains.push("joined.test".into());
    let managed = finish(&lab.store, &mut plan.mds, &mut brought_up.mds);
    let json = lab.store.read_json(Group::Domains, "a.test", bundle::MD_FILE).unwrap().unwrap();
    assert_eq!(json["domains"], json!(["a.test", "joined.test"]));
    assert_eq!((managed[0].md.state, &json["state"]), (State::Incomplete, &json!(1)), "the set lacks a name");
    assert!(lab.has("challenges/a.test") && lab.has("challenges/joined.test"));
    assert!(!lab.has("challenges/gone.test"));
}

#[test]
fn a_step_that_fails_for_one_domain_is_done_for_those_after_it() {
    let (lab, mds) = (Lab::new(), [md(&["a.test"]), md(&["b.test"])]);
    mds.iter().for_each(|md| drop(lab.stage(md, &lab.set(&[&md.name], &md.keys()[0]))));
    // A file where its folder belongs.
    fs::write(lab.root().join("domains/a.test"), "x").unwrap();
    let mut plan = plan_of(&mds);
    let mut brought_up = bring_up(&start_of(&lab.store), &mut plan).unwrap();
    assert!(brought_up.activated[0].is_err());
    assert_eq!(*brought_up.activated[1].as_ref().unwrap(), Activated::Done);
    assert!(lab.has("staging/a.test/pubcert.p-256.pem"), "left for the next start");
    assert_eq!(finish(&lab.store, &mut plan.mds, &mut brought_up.mds).len(), 2);
    assert!(in_use(&lab, &mds[0]).is_none() && in_use(&lab, &mds[1]).is_some());
}

#[test]
fn a_check_of_the_configuration_activates_and_moves_nothing() {
    let (lab, old) = (Lab::new(), md(&["old.test", "a.test"]));
    let wanted = lab.install(&old);
    lab.stage(&old, &lab.set(&["old.test", "a.test"], &old.keys()[0]));
    let before = lab.files();
    let start = Start { is_check: true, ..start_of(&lab.store) };
    let brought_up = bring_up(&start, &mut plan_of(&[md(&["a.test", "old.test"])])).unwrap();
    assert_eq!(known(&brought_up), Some(wanted.as_str()));
    assert_eq!(lab.files(), before);
}
