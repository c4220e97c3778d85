// SPDX-License-Identifier: Apache-2.0
//! How starts and children treat files that any process of httpd's `User` can write into staging.

use super::accounts::Accounts;
use super::activate::Activated;
use super::fixture;
use super::fixture::sync;
use crate::crypto::fixture::{Ca, NOW};
use crate::crypto::{CertInfo, PrivateKey};
use crate::managed::bundle;
use crate::managed::bundle::{Bundle, Flaw, JOB_FILE, MD_FILE};
use crate::managed::fixture::{CA_URL, Lab, account, md};
use crate::managed::gate::Admitted;
use crate::managed::published;
use crate::managed::published::Published;
use crate::managed::staging::{Staging, file};
use crate::model::{Eab, Job, KeySpec, Md, Trial};
use crate::store::{Group, WorkGroup};
use serde_json::{Value, json};
use std::fs;

fn spec() -> KeySpec {
    KeySpec::Ec("P-256".into())
}

fn start(lab: &Lab, configured: &[Md]) -> Vec<Activated> {
    let started = fixture::start(&lab.store, configured).unwrap();
    started.into_iter().map(|(_, activated)| activated).collect()
}

fn in_use(lab: &Lab, name: &str) -> Option<String> {
    bundle::load(&lab.store, Group::Domains, name, &spec()).ok().map(|set| set.info.fingerprint)
}

fn change(lab: &Lab, name: &str, file: &str, change: impl FnOnce(&mut Value)) {
    let mut json = lab.store.read_json(Group::Staging, name, file).unwrap().unwrap();
    change(&mut json);
    lab.store.write_json(Group::Staging, name, file, &json).unwrap();
}

fn copy(lab: &Lab, from: &str, to: &str) {
    for file in lab.store.files(Group::Staging, from).unwrap() {
        let content = lab.store.read(Group::Staging, from, &file).unwrap().unwrap();
        lab.store.write(Group::Staging, to, &file, &content).unwrap();
    }
}

#[test]
fn a_set_that_was_changed_or_copied_from_elsewhere_is_refused_and_removed() {
    let (a, b) = (md(&["a.test"]), md(&["b.test"]));
    type Tamper = fn(&Lab, &Bundle);
    let tampers: [(&str, Tamper); 5] = [
        ("the CA", |lab, _| {
            change(lab, "a.test", MD_FILE, |md| md["ca"]["url"] = json!("https://other.test/dir"));
        }),
        ("the chain of the same key", |lab, set| {
            let chain = Ca::new("Other CA").issue(&["a.test"], &set.key);
            lab.store.write_chain(Group::Staging, "a.test", "pubcert.p-256.pem", &chain).unwrap();
        }),
        ("key and chain", |lab, _| {
            let other = lab.set(&["a.test"], &spec());
            bundle::write(&lab.store, Group::Staging, "a.test", &other).unwrap();
        }),
        ("the code", |lab, _| change(lab, "a.test", JOB_FILE, |job| job["auth"] = json!("AAAA"))),
        ("all, with what is of another domain", |lab, _| {
            lab.stage(&md(&["b.test"]), &lab.set(&["b.test", "a.test"], &spec()));
            copy(lab, "b.test", "a.test");
        }),
    ];
    for (what, tamper) in tampers {
        let lab = Lab::new();
        let old = lab.install(&a);
        let set = lab.set(&["a.test"], &spec());
        lab.stage(&a, &set);
        tamper(&lab, &set);
        // A worker says the same.
        let mut job = Staging::new(&lab.store.worker(), "a.test").job().unwrap().unwrap();
        let staged = published::staged(&lab.store.worker(), &mut job, None);
        assert!(matches!(staged, Err(Flaw::Forged(_))), "{what}");
        let activated = start(&lab, &[a.clone(), b.clone()]).remove(0);
        let Activated::Damaged(reason) = activated else { panic!("{what}: {activated:?}") };
        assert!(reason.contains("`auth` does not fit") && reason.contains("staging"), "{what}: {reason}");
        assert_eq!(in_use(&lab, "a.test"), Some(old), "{what}");
        assert!(!lab.has("staging/a.test"), "{what}");
        assert_eq!(start(&lab, &[a.clone(), b.clone()])[0], Activated::Nothing, "{what}");
    }
}

#[test]
fn sets_of_the_c_module_are_used_and_so_are_ours_with_reformatted_files() {
    for is_ours in [false, true] {
        let lab = Lab::new();
        let a = md(&["a.test"]);
        let new = lab.stage(&a, &lab.set(&["a.test"], &spec()));
        if is_ours {
            let md = lab.store.read_json(Group::Staging, "a.test", MD_FILE).unwrap().unwrap();
            let Value::Object(fields) = md else { panic!() };
            let turned: Value = fields.into_iter().rev().collect::<serde_json::Map<_, _>>().into();
            lab.store
                .write(Group::Staging, "a.test", MD_FILE, turned.to_string().replace(',', " ,\n").as_bytes())
                .unwrap();
        } else {
            change(&lab, "a.test", JOB_FILE, |job| drop(job.as_object_mut().unwrap().remove("auth")));
        }
        assert_eq!(start(&lab, &[a])[0], Activated::Done);
        assert_eq!(in_use(&lab, "a.test"), Some(new));
        let job = lab.store.read_json(Group::Domains, "a.test", JOB_FILE).unwrap().unwrap();
        assert_eq!(job.get("auth"), None, "it was for staging");
    }
}

/// A set with which mod_ssl would end the start.
fn weak(lab: &Lab) -> Bundle {
    let key = openssl::rsa::Rsa::generate(1024).and_then(openssl::pkey::PKey::from_rsa).unwrap();
    let pem = key.private_key_to_pem_pkcs8().unwrap();
    let key = PrivateKey::from_pem(&pem).unwrap();
    let chain = lab.ca.issue(&["a.test"], &key);
    let info = CertInfo::from_chain(&chain);
    Bundle { spec: KeySpec::default(), key, chain, info }
}

#[test]
fn that_hosts_take_a_set_is_believed_of_our_own_alone() {
    let a = Md { key_specs: vec![KeySpec::default()], ..md(&["a.test"]) };
    let claim = |job: &mut Value| job["trial"] = json!({"accepted": true});
    for (is_tried, is_signed, is_used) in [(true, true, true), (false, true, false), (true, false, false)] {
        let lab = Lab::new();
        lab.stage_tried(&a, &weak(&lab), is_tried.then_some(Trial::Accepted));
        change(&lab, "a.test", JOB_FILE, claim);
        if !is_signed {
            change(&lab, "a.test", JOB_FILE, |job| drop(job.as_object_mut().unwrap().remove("auth")));
        }
        let activated = start(&lab, std::slice::from_ref(&a)).remove(0);
        assert_eq!(activated == Activated::Done, is_used, "{is_tried} {is_signed} {activated:?}");
    }
}

#[test]
fn children_serve_our_live_sets_and_a_start_takes_over_older_ones() {
    let a = md(&["a.test"]);
    let publish = |lab: &Lab, name: &str| {
        let set = lab.set(&["a.test", "b.test"], &spec());
        let fingerprint = set.info.fingerprint.clone();
        let set = Admitted::untried(vec![set]);
        Published::new(NOW, &a, &Job::new(name), set).write(&lab.store.worker(), name).unwrap();
        fingerprint
    };
    type Tamper = fn(&Lab);
    let tampers: [(Tamper, &str, bool); 4] = [
        (|_| {}, "", true),
        (
            |lab| {
                change(lab, "a.test", published::FILE, |live| {
                    drop(live.as_object_mut().unwrap().remove("auth"))
                })
            },
            "it has no `auth`",
            true,
        ),
        (
            |lab| {
                let other = lab.store.read_json(Group::Staging, "b.test", published::FILE).unwrap().unwrap();
                change(lab, "a.test", published::FILE, |live| live["sets"] = other["sets"].clone());
            },
            "its `auth` does not fit",
            false,
        ),
        (|lab| copy(lab, "b.test", "a.test"), "its `auth` does not fit", false),
    ];
    for (at, (tamper, reason, is_used)) in tampers.into_iter().enumerate() {
        let lab = Lab::new();
        let old = lab.install(&a);
        let new = publish(&lab, "a.test");
        publish(&lab, "b.test");
        lab.store.write_json(Group::Staging, "a.test", JOB_FILE, &Job::new("a.test").to_json()).unwrap();
        tamper(&lab);
        let read = published::read(&lab.store.worker(), WorkGroup::Staging, "a.test");
        match read {
            Ok(_) => assert_eq!(reason, "", "{at}"),
            Err(flaw) => assert!(flaw.to_string().contains(reason) && !reason.is_empty(), "{at}: {flaw}"),
        }
        start(&lab, std::slice::from_ref(&a));
        assert_eq!(in_use(&lab, "a.test"), Some(if is_used { new } else { old }), "{at}");
        assert!(!lab.has("staging/a.test/live.json"), "{at}");
    }
}

fn key() -> PrivateKey {
    PrivateKey::generate(&spec()).unwrap()
}

/// As any process of httpd's `User` can do it that has a sealed key from somewhere.
fn plant_account(lab: &Lab, name: &str, json: &Value) {
    lab.store.write_key(Group::Staging, name, file::ACCOUNTS[0].1, &key()).unwrap();
    lab.store.write_json(Group::Staging, name, file::ACCOUNTS[0].0, json).unwrap();
}

fn stored_accounts(lab: &Lab) -> Vec<String> {
    let folders = lab.store.names(Group::Accounts).unwrap();
    let json = |folder| lab.store.read_json(Group::Accounts, folder, "account.json").unwrap().unwrap();
    folders.iter().map(|folder| json(folder)["url"].as_str().unwrap().to_string()).collect()
}

#[test]
fn an_account_that_was_changed_or_copied_from_elsewhere_is_never_used() {
    let a = md(&["a.test"]);
    type Tamper = fn(&Lab);
    let tampers: [(&str, Tamper); 4] = [
        ("the URL", |lab| {
            change(lab, "a.test", "account.json", |json| json["url"] = json!("https://e.test/1"))
        }),
        ("the key", |lab| lab.store.write_key(Group::Staging, "a.test", "account.pem", &key()).unwrap()),
        ("that of another domain", |lab| {
            lab.stage_account("other.test", &account(2));
            copy(lab, "other.test", "a.test");
        }),
        ("none at all", |lab| {
            let mut other = account(3);
            other["ca-url"] = json!("https://not-configured.test/dir");
            plant_account(lab, "a.test", &other);
        }),
    ];
    for (what, tamper) in tampers {
        let lab = Lab::new();
        lab.stage_account("a.test", &account(1));
        let work = lab.store.worker();
        assert_eq!(Staging::new(&work, "a.test").accounts().len(), 1, "{what}");
        tamper(&lab);
        assert_eq!(Staging::new(&work, "a.test").accounts().len(), 0, "{what}");
        start(&lab, std::slice::from_ref(&a));
        assert_eq!(stored_accounts(&lab), [""; 0], "{what}");
    }
}

#[test]
fn an_account_that_is_known_is_not_named_for_another_ca() {
    let lab = Lab::new();
    lab.stage_account("a.test", &account(1));
    let mut accounts = Accounts::read(&lab.store).unwrap();
    accounts.adopt(&lab.store, "a.test", &|_, _| true).unwrap();
    let mut other = account(1);
    other["ca-url"] = json!("https://other.test/dir");
    plant_account(&lab, "b.test", &other);
    assert_eq!(accounts.adopt(&lab.store, "b.test", &|_, _| true).unwrap(), []);
}

#[test]
fn a_few_accounts_without_a_code_are_kept_if_a_configured_domain_fits() {
    let lab = Lab::new();
    let mds: Vec<Md> = (0..8).map(|n| md(&[format!("d{n}.test").as_str()])).collect();
    for (n, md) in mds.iter().enumerate() {
        plant_account(&lab, &md.name, &account(u32::try_from(n).unwrap()));
    }
    // As of another external account each.
    let mut bound = account(20);
    bound["eab"] = json!({"kid": "k", "hmac": "h"});
    plant_account(&lab, "d7.test", &bound);
    (0..8).for_each(|n| plant_account(&lab, &format!("planted{n}.test"), &account(30 + n)));
    start(&lab, &mds);
    assert_eq!(
        stored_accounts(&lab),
        (0..4).map(|n| format!("https://ca.test/account/{n}")).collect::<Vec<_>>()
    );
    // Our own accounts are added to these, and changes to known ones by others are ignored.
    lab.stage_account("d5.test", &account(5));
    let mut changed = account(0);
    changed["contact"] = json!(["mailto:other@a.test"]);
    plant_account(&lab, "d0.test", &changed);
    plant_account(&lab, "d7.test", &bound);
    let bound_md = Md { eab: Some(Eab { kid: "k".into(), hmac: "h".into() }), ..mds[7].clone() };
    start(&lab, &[&mds[..7], &[bound_md]].concat());
    assert_eq!(stored_accounts(&lab)[4..], ["https://ca.test/account/5", "https://ca.test/account/20"]);
    let first = lab.store.read_json(Group::Accounts, "ACME-ca.test-0000", "account.json").unwrap().unwrap();
    assert_eq!(first["contact"], account(0)["contact"]);
    assert_eq!(first.get("auth"), None);
}

#[test]
fn folders_of_unconfigured_names_are_not_looked_into() {
    let lab = Lab::new();
    let planted = lab.root().join("staging/planted.test");
    fs::create_dir(&planted).unwrap();
    // Whoever reads that has to say something about it.
    fs::write(planted.join("account.json"), "garbage").unwrap();
    lab.stage_account("also.test", &account(1));
    lab.stage_account("former.test", &account(2));
    lab.install(&md(&["former.test"]));
    start(&lab, &[md(&["a.test"])]);
    assert_eq!(stored_accounts(&lab), ["https://ca.test/account/2"], "of a domain that was configured");
    assert!(planted.exists(), "data of a domain that may be configured again");
}

#[test]
fn a_renamed_domain_keeps_our_staged_files_wherever_the_rename_stops() {
    let (old, new) = (md(&["old.test", "a.test"]), md(&["a.test", "old.test"]));
    for steps in 0.. {
        let lab = Lab::new();
        lab.install(&old);
        lab.stage_account("old.test", &account(1));
        let wanted = lab.stage(&old, &lab.set(&["old.test", "a.test"], &spec()));
        let is_done = sync(&lab.dying(steps), std::slice::from_ref(&new)).unwrap()[0].problems.is_empty();
        assert_eq!(start(&lab, std::slice::from_ref(&new))[0], Activated::Done, "{steps}");
        assert_eq!(in_use(&lab, "a.test"), Some(wanted), "{steps}");
        assert_eq!(stored_accounts(&lab), ["https://ca.test/account/1"], "{steps}");
        if is_done {
            assert!(steps > 4);
            return;
        }
    }
}

#[test]
fn what_is_no_account_costs_the_others_of_a_domain_nothing() {
    let lab = Lab::new();
    lab.stage_account("a.test", &account(1));
    for (from, to) in [("account.json", "account-2.json"), ("account.pem", "account-2.pem")] {
        let content = lab.store.read(Group::Staging, "a.test", from).unwrap().unwrap();
        lab.store.write(Group::Staging, "a.test", to, &content).unwrap();
    }
    lab.store.write(Group::Staging, "a.test", "account.pem", b"garbage").unwrap();
    let adopted = Accounts::read(&lab.store).unwrap().adopt(&lab.store, "a.test", &|_, _| true).unwrap();
    assert_eq!(adopted, [(CA_URL.to_string(), "ACME-ca.test-0000".to_string())]);
}
