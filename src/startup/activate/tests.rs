// SPDX-License-Identifier: Apache-2.0
//! How starts treat staged and live sets in every condition.

use super::*;
use crate::crypto::fixture::{Ca, NOW, Wish};
use crate::managed::bundle;
use crate::managed::bundle::{Bundle, MD_FILE};
use crate::managed::fit;
use crate::managed::fixture::{CA_URL, Lab, account, md};
use crate::managed::gate::Admitted;
use crate::managed::serve;
use crate::model::{KeySpec, State, Trial};
use crate::startup::fallback;
use crate::startup::fixture::{look, start, survives, sync};
use crate::store::Fuse;
use crate::time::DAY;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::slice;

fn live(lab: &Lab, name: &str) -> Option<String> {
    let spec = KeySpec::Ec("P-256".into());
    bundle::load(&lab.store, Group::Domains, name, &spec).ok().map(|set| set.info.fingerprint)
}

fn spec() -> KeySpec {
    KeySpec::Ec("P-256".into())
}

#[test]
fn a_finished_set_is_put_into_use_and_the_old_one_archived() {
    let lab = Lab::new();
    let a = md(&["a.test", "*.b.test"]);
    let old = lab.install(&a);
    lab.store.write(Group::Archive, "a.test.7", "x", b"x").unwrap();
    lab.store.write(Group::Tmp, "a.test", "job.json", b"left by the C module").unwrap();
    let new = lab.stage(&a, &lab.set(&["a.test", "*.b.test"], &spec()));
    lab.stage_account("a.test", &account(1));
    for name in ["a.test", "b.test"] {
        lab.store.write(Group::Challenges, name, "acme-http-01.txt", b"x").unwrap();
    }
    let (synced, activated) = start(&lab.store, &[a]).unwrap().remove(0);
    assert_eq!(activated, Activated::Done);
    assert_eq!(live(&lab, "a.test"), Some(new.clone()));
    assert_eq!(synced.certs[0].1.as_ref().unwrap().fingerprint, new);
    assert_eq!(synced.md.state, State::Complete);
    let archived = bundle::load(&lab.store, Group::Archive, "a.test.8", &spec()).unwrap();
    assert_eq!(archived.info.fingerprint, old);
    for gone in ["staging/a.test", "tmp/a.test", "challenges/a.test", "challenges/b.test"] {
        assert!(!lab.has(gone), "{gone}");
    }
    let domain = lab.root().join("domains/a.test");
    for file in ["md.json", "job.json", "privkey.p-256.pem", "pubcert.p-256.pem"] {
        assert_eq!(fs::metadata(domain.join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let key = fs::read_to_string(domain.join("privkey.p-256.pem")).unwrap();
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"));
    let json = lab.store.read_json(Group::Domains, "a.test", MD_FILE).unwrap().unwrap();
    assert_eq!(json["ca"]["account"], "ACME-ca.test-0000");
    assert_eq!(json["ca"]["url"], CA_URL);
    assert_eq!(json["state"], 2);
}

#[test]
fn an_md_without_an_account_of_its_own_takes_the_one_it_shares() {
    let lab = Lab::new();
    let mut configured = [md(&["a.test"]), md(&["b.test"])];
    configured[0].contacts = vec!["mailto:other@a.test".into()];
    // The account of an earlier CA is not used at this one.
    configured[0].ca.account = Some("ACME-old.test-0000".into());
    lab.store.write_json(Group::Accounts, "ACME-old.test-0000", "account.json", &elsewhere()).unwrap();
    for md in &configured {
        lab.stage(md, &lab.set(&[&md.name], &spec()));
    }
    lab.stage_account("b.test", &account(1));
    let started = start(&lab.store, &configured).unwrap();
    for (synced, _) in &started {
        assert_eq!(synced.md.ca.account.as_deref(), Some("ACME-ca.test-0000"));
    }
    assert_eq!(lab.store.names(Group::Accounts).unwrap().len(), 2);
}

fn elsewhere() -> Value {
    serde_json::json!({"url": "https://old.test/account/1", "ca-url": "https://old.test/dir"})
}

#[test]
fn an_account_is_kept_even_where_its_job_is_not_finished() {
    let lab = Lab::new();
    lab.stage_account("a.test", &account(1));
    lab.store.write_json(Group::Staging, "a.test", JOB_FILE, &Job::new("a.test").to_json()).unwrap();
    let (_, activated) = start(&lab.store, &[md(&["a.test"])]).unwrap().remove(0);
    assert_eq!(activated, Activated::Unfinished);
    assert!(lab.has("accounts/ACME-ca.test-0000/account.pem"));
    assert!(lab.has("staging/a.test/account.pem"));
}

#[test]
fn leftovers_without_a_job_are_removed() {
    let lab = Lab::new();
    lab.stage(&md(&["a.test"]), &lab.set(&["a.test"], &spec()));
    lab.store.remove(Group::Staging, "a.test", JOB_FILE).unwrap();
    let (_, activated) = start(&lab.store, &[md(&["a.test"])]).unwrap().remove(0);
    assert_eq!(activated, Activated::Nothing);
    assert!(!lab.has("staging/a.test"));
}

#[test]
fn staging_has_the_sets_until_those_of_all_domains_are_on_the_disk() {
    for is_written in [false, true] {
        let lab = Lab::new();
        let configured = [md(&["a.test"]), md(&["b.test"])];
        for md in &configured {
            lab.stage(md, &lab.set(&[md.name.as_str()], &spec()));
        }
        let mut synced = sync(&lab.store, &configured).unwrap();
        let mut activation = Activation::begin(&lab.store, &[&configured[0], &configured[1]], NOW).unwrap();
        for started in &mut synced {
            assert_eq!(activation.activate_started(started, Duration::ZERO).unwrap(), Activated::Done);
        }
        let is_staged = |md: &Md| lab.has(&format!("staging/{}/pubcert.p-256.pem", md.name));
        assert!(configured.iter().all(|md| is_staged(md) && live(&lab, &md.name).is_some()));
        if is_written {
            // By a child of another httpd.
            publish(&lab, &configured[1], lab.set(&["b.test"], &spec()));
        }
        assert_eq!(activation.finish().sets().len(), 2);
        assert_eq!(configured.each_ref().map(is_staged), [false, is_written]);
        assert_eq!(lab.has("staging/b.test/live.json"), is_written);
    }
}

#[test]
fn a_disk_that_does_not_take_the_sets_costs_none() {
    let a = md(&["a.test"]);
    let mut refused = 0;
    for steps in 0.. {
        let lab = Lab::new();
        lab.install(&a);
        let new = lab.stage(&a, &lab.set(&["a.test"], &spec()));
        let fuse = Fuse::after(steps);
        let store = lab.dying_by(&fuse);
        let Ok(mut synced) = sync(&store, slice::from_ref(&a)) else { continue };
        let Ok(mut activation) = Activation::begin(&store, &[&a], NOW) else { continue };
        let activated = activation.activate_started(&mut synced[0], Duration::ZERO);
        if fuse.is_blown() || !matches!(activated, Ok(Activated::Done)) {
            continue;
        }
        drop(activation.finish());
        assert_eq!(live(&lab, "a.test"), Some(new));
        if !fuse.is_blown() {
            assert!(!lab.has("staging/a.test"));
            break;
        }
        refused += usize::from(lab.has("staging/a.test/job.json"));
    }
    assert!(refused > 0, "the flush was refused");
}

#[test]
fn a_renewed_set_that_is_not_valid_for_long_enough_waits() {
    let lab = Lab::new();
    let a = md(&["a.test"]);
    let old = lab.install(&a);
    lab.stage(&a, &lab.set(&["a.test"], &spec()));
    let mut synced = sync(&lab.store, &[a]).unwrap().remove(0);
    let mut activation = Activation::begin(&lab.store, &[&synced.md], NOW).unwrap();
    let activated = activation.activate_started(&mut synced, DAY * 2).unwrap();
    assert_eq!(activated, Activated::Waiting(NOW.plus(DAY)));
    assert_eq!(live(&lab, "a.test"), Some(old));
    assert_eq!(activation.activate_started(&mut synced, DAY).unwrap(), Activated::Done);
}

#[test]
fn a_set_waits_for_nothing_where_there_is_no_good_one_in_use() {
    let (a, more) = (md(&["a.test"]), md(&["a.test", "b.test"]));
    let first = Lab::new();
    let uncovered = Lab::new();
    uncovered.install(&a);
    for lab in [first, uncovered] {
        lab.stage(&more, &lab.set(&["a.test", "b.test"], &spec()));
        let mut synced = sync(&lab.store, std::slice::from_ref(&more)).unwrap().remove(0);
        let activated =
            Activation::begin(&lab.store, &[&synced.md], NOW).unwrap().activate_started(&mut synced, DAY * 2);
        assert_eq!(activated.unwrap(), Activated::Done);
    }
}

/// Returns the outcome of a set after `spoil`; the old one must stay in use.
fn damage(lab: &Lab, spoil: impl FnOnce(&Lab)) -> String {
    let a = md(&["a.test"]);
    let old = live(lab, "a.test").unwrap_or_else(|| lab.install(&a));
    lab.stage(&a, &lab.set(&["a.test"], &spec()));
    spoil(lab);
    let (_, activated) = start(&lab.store, &[a]).unwrap().remove(0);
    assert_eq!(live(lab, "a.test"), Some(old));
    assert!(!lab.has("staging/a.test"));
    match activated {
        Activated::Damaged(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_finished_job_whose_certificates_are_gone_begins_again() {
    let (lab, a) = (Lab::new(), md(&["a.test"]));
    let old = lab.install(&a);
    lab.stage(&a, &lab.set(&["a.test"], &spec()));
    lab.store.remove(Group::Staging, "a.test", "pubcert.p-256.pem").unwrap();
    let (_, activated) = start(&lab.store, &[a]).unwrap().remove(0);
    assert_eq!((activated, live(&lab, "a.test")), (Activated::Unfinished, Some(old)));
    assert_eq!(cleanup::start_over(&lab.store, "a.test", NOW).unwrap(), None);
    assert!(!lab.has("staging/a.test/job.json"));
}

#[test]
fn a_damaged_set_is_purged_and_the_old_one_stays() {
    let lab = Lab::new();
    let write =
        |file: &'static str| move |lab: &Lab| lab.store.write(Group::Staging, "a.test", file, b"{").unwrap();
    for file in ["job.json", "privkey.p-256.pem", "pubcert.p-256.pem"] {
        assert!(damage(&lab, write(file)).contains(file));
    }
    assert!(damage(&lab, write("md.json")).contains("md.json"));
    let stage = |set: Bundle| move |lab: &Lab| drop(lab.stage(&md(&["a.test"]), &set));
    let mut mismatch = lab.set(&["a.test"], &spec());
    mismatch.key = lab.set(&["a.test"], &spec()).key;
    assert_eq!(damage(&lab, stage(mismatch)), "certificate(P-256) does not belong to its private key");
    let two = Md { key_specs: vec![spec(), KeySpec::Rsa(2048)], ..md(&["a.test"]) };
    let half = lab.set(&["a.test"], &spec());
    assert_eq!(damage(&lab, |lab| drop(lab.stage(&two, &half))), "certificate(rsa) is missing");
}

#[test]
fn a_set_of_an_earlier_configuration_is_put_into_use_where_it_is_no_worse() {
    let p384 = Md { key_specs: vec![KeySpec::Ec("P-384".into())], ..md(&["a.test"]) };
    for (now, labels) in [
        (md(&["a.test", "b.test"]), ["P-256"]),
        (p384, ["P-256"]),
        (Md { must_staple: true, ..md(&["a.test"]) }, ["P-256"]),
        (md(&["b.test", "a.test"]), ["P-256"]),
    ] {
        for is_live in [false, true] {
            let lab = Lab::new();
            let then = Md { name: now.name.clone(), ..md(&["a.test"]) };
            lab.install(&then);
            let set = lab.set(&["a.test"], &spec());
            let new = match is_live {
                true => publish(&lab, &then, set),
                false => lab.stage(&then, &set),
            };
            if is_live {
                lab.store.write_json(Group::Staging, &now.name, JOB_FILE, &Job::new("x").to_json()).unwrap();
            }
            let (synced, activated) = start(&lab.store, std::slice::from_ref(&now)).unwrap().remove(0);
            assert_eq!(activated, Activated::Done);
            assert_eq!(live(&lab, &now.name), Some(new));
            let best: Vec<_> = synced.certs.best(NOW).iter().map(|(spec, _)| spec.label()).collect();
            assert_eq!(best, labels, "served all the same");
            assert_eq!(synced.md.state, State::Incomplete, "and renewed");
        }
    }
}

/// For each condition of the set in use, the live one and the staged one: the best is served, of equal
/// ones the newest. The self-signed certificate is left to an MD that has none of them.
/// The nodes of a fleet share a certificate for the names of all.
#[test]
fn a_set_with_names_of_other_nodes_is_put_into_use_and_no_reason_to_renew() {
    for is_live in [false, true] {
        let lab = Lab::new();
        let (own, united) = (md(&["a.test"]), md(&["a.test", "b.test"]));
        let set = lab.set(&["a.test", "b.test"], &spec());
        let new = match is_live {
            true => publish(&lab, &united, set),
            false => lab.stage(&united, &set),
        };
        for activated in [Activated::Done, Activated::Nothing] {
            let (synced, found) = start(&lab.store, slice::from_ref(&own)).unwrap().remove(0);
            assert_eq!((found, live(&lab, "a.test")), (activated, Some(new.clone())), "{is_live}");
            assert_eq!((synced.md.state, &synced.md.domains), (State::Complete, &own.domains));
            assert_eq!(fit::check(&own, synced.certs[0].1.as_ref(), NOW), Ok(()));
        }
        let json = lab.store.read_json(Group::Domains, "a.test", MD_FILE).unwrap().unwrap();
        assert_eq!(json["domains"], serde_json::json!(["a.test"]));
        assert!(!lab.has("staging/a.test"));
    }
}

#[test]
fn of_the_sets_in_use_live_and_staged_the_best_and_newest_is_served() {
    let (a, ca) = (md(&["a.test", "b.test"]), Lab::new());
    let expired = Wish { names: &["a.test", "b.test"], until: NOW, ..Wish::default() };
    let named = |names| Wish { names, ..Wish::default() };
    // The better ones come later.
    let wishes = [expired, named(&["x.test"]), named(&["a.test"]), named(&["a.test", "b.test"])];
    let sets = |_| wishes.iter().map(|wish| ca.set_like(wish, &spec())).collect::<Vec<_>>();
    let [in_use, was_live, staged] = [0, 1, 2].map(sets);
    let choices = || (0..=wishes.len()).map(|rank| rank.checked_sub(1));
    for used in choices() {
        for live_set in choices() {
            for staged_set in choices() {
                let lab = Lab::new();
                if let Some(at) = used {
                    bundle::write(&lab.store, Group::Domains, "a.test", &in_use[at]).unwrap();
                    lab.store.write_json(Group::Domains, "a.test", MD_FILE, &a.to_json()).unwrap();
                }
                if let Some(at) = live_set {
                    publish(&lab, &a, copy(&was_live[at]));
                    lab.store
                        .write_json(Group::Staging, "a.test", JOB_FILE, &Job::new("x").to_json())
                        .unwrap();
                }
                if let Some(at) = staged_set {
                    lab.stage(&a, &staged[at]);
                }
                let (synced, _) = start(&lab.store, std::slice::from_ref(&a)).unwrap().remove(0);
                // Of other names: it is served where it is in use alone.
                let new = |at: Option<usize>| at.filter(|at| *at != 1);
                let candidates = [(used, &in_use), (new(live_set), &was_live), (new(staged_set), &staged)];
                let best = candidates.into_iter().filter_map(|(at, sets)| Some((at?, sets)));
                // Of equal ones the last.
                let best = best.max_by_key(|(at, _)| *at).map(|(at, sets)| &sets[at].info.fingerprint);
                let what = format!("{used:?} {live_set:?} {staged_set:?}");
                assert_eq!(live(&lab, "a.test").as_ref(), best, "{what}");
                let source = serve::decide(&synced.md, "a.test", &synced.certs, serve::Own::None, NOW);
                assert_eq!(source == serve::Source::SelfSigned, best.is_none(), "{what}");
            }
        }
    }
}

fn copy(set: &Bundle) -> Bundle {
    let Bundle { spec, key, chain, info } = set;
    Bundle { spec: spec.clone(), key: key.clone(), chain: chain.clone(), info: info.clone() }
}

#[test]
fn a_set_that_serves_less_than_the_one_in_use_is_dropped() {
    let a = md(&["a.test", "b.test"]);
    let expired = Wish { names: &["a.test", "b.test"], until: NOW, ..Wish::default() };
    for wish in [Wish { names: &["a.test"], ..Wish::default() }, expired] {
        let lab = Lab::new();
        let old = lab.install(&a);
        lab.stage(&a, &lab.set_like(&wish, &spec()));
        let (_, activated) = start(&lab.store, std::slice::from_ref(&a)).unwrap().remove(0);
        assert_eq!(activated, Activated::Outdone);
        assert_eq!(live(&lab, "a.test"), Some(old.clone()));
        assert!(!lab.has("staging/a.test"));
        // Without a code, as those of the C module, it has no more rights.
        lab.stage(&a, &lab.set_like(&wish, &spec()));
        let job = Job { finished: true, ..Job::new("a.test") };
        lab.store.write_json(Group::Staging, "a.test", JOB_FILE, &job.to_json()).unwrap();
        let (_, activated) = start(&lab.store, std::slice::from_ref(&a)).unwrap().remove(0);
        assert_eq!((activated, live(&lab, "a.test")), (Activated::Outdone, Some(old)));
        let empty = Lab::new();
        let new = empty.stage(&a, &empty.set_like(&wish, &spec()));
        let (_, activated) = start(&empty.store, std::slice::from_ref(&a)).unwrap().remove(0);
        assert_eq!(activated, Activated::Done, "better than none");
        assert_eq!(live(&empty, "a.test"), Some(new));
    }
}

/// A set whose key OpenSSL refuses at its usual security level.
fn weak(lab: &Lab) -> Bundle {
    let key = openssl::pkey::PKey::from_rsa(openssl::rsa::Rsa::generate(1024).unwrap()).unwrap();
    let key = crate::crypto::PrivateKey::from_pem(&key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let chain = lab.ca.issue(&["a.test"], &key);
    Bundle::from_sent(KeySpec::default(), key, chain).unwrap().0
}

#[test]
fn a_set_that_tls_servers_refuse_waits_in_staging_and_says_why() {
    let a = Md { key_specs: vec![KeySpec::default()], ..md(&["a.test"]) };
    let lab = Lab::new();
    let old = lab.install(&a);
    lab.stage(&a, &weak(&lab));
    for _ in 0..2 {
        let (synced, activated) = start(&lab.store, std::slice::from_ref(&a)).unwrap().remove(0);
        let Activated::Refused(reason) = activated else { panic!("{activated:?}") };
        assert!(reason.contains("1024"), "{reason}");
        assert_eq!(synced.certs[0].1.as_ref().unwrap().fingerprint, old);
        let job = lab.store.read_json(Group::Staging, "a.test", JOB_FILE).unwrap().unwrap();
        let job = Job::from_json("a.test", &job).unwrap();
        assert!(job.finished && job.errors > 0);
        assert!(job.last.detail.unwrap().contains("1024"));
        assert!(lab.has("staging/a.test/privkey.pem") && !lab.has("tmp/a.test"));
    }
}

#[test]
fn the_verdict_of_its_hosts_on_a_set_outweighs_the_machine_settings() {
    let a = Md { key_specs: vec![KeySpec::default()], ..md(&["a.test"]) };
    for (trial, is_used) in [(Trial::Accepted, true), (Trial::Refused("by x.test".into()), false)] {
        let lab = Lab::new();
        lab.install(&a);
        let set = if is_used { weak(&lab) } else { lab.set(&["a.test"], &KeySpec::default()) };
        lab.stage_tried(&a, &set, Some(trial));
        let (_, activated) = start(&lab.store, std::slice::from_ref(&a)).unwrap().remove(0);
        assert_eq!(activated == Activated::Done, is_used, "{activated:?}");
    }
}

#[test]
fn a_key_of_another_kind_than_its_file_is_for_is_refused() {
    let lab = Lab::new();
    let a = md(&["a.test"]);
    let old = lab.install(&a);
    let key = openssl::pkey::PKey::generate_ed25519().unwrap().private_key_to_pem_pkcs8().unwrap();
    let key = crate::crypto::PrivateKey::from_pem(&key).unwrap();
    let chain = lab.ca.issue(&["a.test"], &key);
    lab.stage(&a, &Bundle::from_sent(spec(), key, chain).unwrap().0);
    let (_, activated) = start(&lab.store, &[a]).unwrap().remove(0);
    assert!(matches!(activated, Activated::Refused(_)), "{activated:?}");
    assert_eq!(live(&lab, "a.test"), Some(old));
}

#[test]
fn an_installed_set_changes_nothing_about_static_files() {
    let lab = Lab::new();
    let file = |name: &str, content: Vec<u8>| {
        let path = lab.root().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let own = lab.set(&["other.test"], &spec());
    let mut a = md(&["a.test"]);
    a.cert_files = vec![file("own.pem", own.chain.to_pem())];
    a.pkey_files = vec![file("own.key", own.key.to_pem().unwrap().to_vec())];
    lab.stage(&a, &lab.set(&["a.test"], &spec()));
    let (synced, activated) = start(&lab.store, &[a]).unwrap().remove(0);
    assert_eq!(activated, Activated::Done);
    assert_eq!(synced.certs[0].1.as_ref().unwrap().fingerprint, own.info.fingerprint);
    assert_eq!(synced.md.state, State::Incomplete, "the file does not cover");
}

#[test]
fn a_staged_chain_is_activated_without_certificates_outside_its_path() {
    let lab = Lab::new();
    let a = md(&["a.test"]);
    let set = lab.set(&["a.test"], &spec());
    let new = lab.stage(&a, &set);
    let path = set.chain.to_pem();
    let [leaf, issuer] = set.chain.certificates() else { panic!("two were issued") };
    let other = Ca::new("Other");
    let sent = [issuer, leaf, leaf, issuer, other.certificate()].map(|cert| cert.to_pem());
    let sent = [b"issuer=CA\n".to_vec(), sent.concat()].concat();
    lab.store.write(Group::Staging, "a.test", "pubcert.p-256.pem", &sent).unwrap();
    let started = start(&lab.store, &[a]).unwrap();
    assert_eq!(started[0].1, Activated::Done);
    assert_eq!(live(&lab, "a.test"), Some(new));
    assert_eq!(lab.store.read(Group::Domains, "a.test", "pubcert.p-256.pem").unwrap(), Some(path));
}

#[test]
fn a_link_planted_in_staging_is_not_followed() {
    let lab = Lab::new();
    let outside = lab.root().join("outside.pem");
    fs::write(&outside, "x").unwrap();
    let reason = damage(&lab, |lab| {
        let file = lab.root().join("staging/a.test/pubcert.p-256.pem");
        fs::remove_file(&file).unwrap();
        symlink(&outside, file).unwrap();
    });
    assert!(reason.contains("it is a symbolic link"));
    assert_eq!(fs::read_to_string(&outside).unwrap(), "x");
}

/// Lets the process die before every single step of a start, and checks the next one.
fn die_at_every_step(with_old: bool) {
    for steps in 0.. {
        let lab = Lab::new();
        let configured = [md(&["a.test"])];
        let old = with_old.then(|| lab.install(&configured[0]));
        let new = lab.stage(&configured[0], &lab.set(&["a.test"], &spec()));
        lab.stage_account("a.test", &account(1));
        let done = survives(&lab, steps, &configured);

        let synced = sync(&lab.store, &configured).unwrap();
        let found = synced[0].certs[0].1.as_ref().map(|info| info.fingerprint.clone());
        assert!(found == old || found.as_ref() == Some(&new), "{steps}");
        let (synced, activated) = start(&lab.store, &configured).unwrap().remove(0);
        assert!(!matches!(activated, Activated::Damaged(_)), "{steps} {activated:?}");
        assert_eq!(live(&lab, "a.test"), Some(new), "{steps}");
        assert_eq!(synced.md.ca.account.as_deref(), Some("ACME-ca.test-0000"), "{steps}");
        assert_eq!(synced.md.state, State::Complete);
        assert_eq!(lab.store.names(Group::Accounts).unwrap().len(), 1, "{steps}");
        assert!(!lab.has("staging/a.test"), "{steps}");
        if let Some(old) = old {
            assert_eq!(lab.store.names(Group::Archive).unwrap(), ["a.test.1"], "{steps}");
            let archived = bundle::load(&lab.store, Group::Archive, "a.test.1", &spec()).unwrap();
            assert_eq!(archived.info.fingerprint, old);
        }
        if done {
            assert!(steps > 30);
            return;
        }
    }
}

#[test]
fn a_start_that_dies_anywhere_leaves_the_old_set_or_the_new_one() {
    die_at_every_step(true);
}

#[test]
fn a_first_set_survives_a_start_that_dies_anywhere() {
    die_at_every_step(false);
}

#[test]
fn the_archived_set_comes_back_where_the_swap_cannot_be_ended() {
    let lab = Lab::new();
    let a = md(&["a.test"]);
    let old = lab.install(&a);
    lab.store.rename(Group::Domains, "a.test", Group::Archive, "a.test.10").unwrap();
    lab.store.write(Group::Archive, "a.test.9", "x", b"x").unwrap();
    lab.store.write_json(Group::Tmp, "a.test", MD_FILE, &a.to_json()).unwrap();
    start(&lab.store, &[a]).unwrap();
    assert_eq!(live(&lab, "a.test"), Some(old));
    assert!(!lab.has("archive/a.test.10") && lab.has("archive/a.test.9"));
}

#[test]
fn a_swap_is_ended_where_a_fallback_was_made_meanwhile() {
    let lab = Lab::new();
    let a = md(&["a.test"]);
    let old = lab.install(&a);
    lab.store.rename(Group::Domains, "a.test", Group::Tmp, "a.test").unwrap();
    let looked = look(&lab.store, std::slice::from_ref(&a)).unwrap().remove(0);
    fallback::Fallbacks::default().files(&lab.store, &looked.md, &looked, NOW).unwrap();
    start(&lab.store, &[a]).unwrap();
    assert_eq!(live(&lab, "a.test"), Some(old));
}

#[test]
fn a_set_that_the_admin_removed_does_not_come_back() {
    let lab = Lab::new();
    let a = md(&["a.test"]);
    lab.install(&a);
    lab.store.rename(Group::Domains, "a.test", Group::Archive, "a.test.1").unwrap();
    lab.store.write(Group::Tmp, "a.test", JOB_FILE, b"{}").unwrap();
    start(&lab.store, &[a]).unwrap();
    assert_eq!(live(&lab, "a.test"), None);
    assert!(lab.has("archive/a.test.1"));
}

fn publish(lab: &Lab, md: &Md, set: Bundle) -> String {
    let fingerprint = set.info.fingerprint.clone();
    let set = published::Published::new(NOW, md, &Job::new(&md.name), Admitted::untried(vec![set]));
    set.write(&lab.store.worker(), &md.name).unwrap();
    fingerprint
}

#[test]
fn what_was_live_comes_into_use_while_the_next_renewal_goes_on() {
    let lab = Lab::new();
    let a = md(&["a.test"]);
    lab.install(&a);
    let served = publish(&lab, &a, lab.set(&["a.test"], &a.keys()[0]));
    lab.store.write_json(Group::Staging, "a.test", JOB_FILE, &Job::new("a.test").to_json()).unwrap();
    let started = start(&lab.store, &[a]).unwrap();
    assert_eq!(started[0].1, Activated::Done);
    assert_eq!(live(&lab, "a.test"), Some(served));
    assert!(lab.has("staging/a.test/job.json"), "the renewal under way stays");
    assert!(!lab.has("staging/a.test/live.json"));
    assert!(lab.has("archive/a.test.1"));
}

/// Notes that starts ended with sets of these keys for the MD, `times` times.
fn end_starts(lab: &Lab, name: &str, keys: &[String], times: usize) {
    let mut ended = EndedStarts::read(&lab.store, NOW).unwrap();
    (0..times).for_each(|_| ended.count_all(name, keys, std::iter::empty(), NOW));
    ended.write(&lab.store).unwrap();
}

#[test]
fn a_set_that_has_ended_two_starts_is_served_from_staging_alone() {
    let a = md(&["a.test"]);
    for (times, is_used) in [(1, true), (2, false)] {
        for is_live in [true, false] {
            let lab = Lab::new();
            let old = lab.install(&a);
            let set = lab.set(&["a.test"], &spec());
            let new = lab.stage_tried(&a, &set, Some(Trial::Accepted));
            end_starts(&lab, "a.test", &[set.chain.leaf().key_fingerprint()], times);
            if is_live {
                let set =
                    published::Published::new(NOW, &a, &Job::new("a.test"), Admitted::untried(vec![set]));
                set.write(&lab.store.worker(), "a.test").unwrap();
            }
            for _ in 0..2 {
                start(&lab.store, std::slice::from_ref(&a)).unwrap();
                let expected = if is_used { new.clone() } else { old.clone() };
                assert_eq!(live(&lab, "a.test"), Some(expected), "{times} {is_live}");
                assert_eq!(lab.has("staging/a.test/live.json"), is_live && !is_used);
            }
        }
    }
}

/// A process that can write to staging can write anything into job.json, and make other certificates for a
/// key of ours. Sets without the code of a child that had them tried are checked against those that ended a
/// start.
#[test]
fn a_set_that_no_child_has_tried_ends_one_start_alone() {
    let a = md(&["a.test"]);
    let strip = |lab: &Lab, fields: &[&str]| {
        let mut job = lab.store.read_json(Group::Staging, "a.test", JOB_FILE).unwrap().unwrap();
        fields.iter().for_each(|field| drop(job.as_object_mut().unwrap().remove(*field)));
        job["trial"] = serde_json::json!({"accepted": true});
        lab.store.write_json(Group::Staging, "a.test", JOB_FILE, &job).unwrap();
    };
    let same_key = |_: &Lab, set: &Bundle| {
        let chain = Ca::new("Theirs").issue(&["a.test"], &set.key);
        Bundle::from_sent(spec(), set.key.clone(), chain).unwrap().0
    };
    let other = |lab: &Lab, _: &Bundle| lab.set(&["a.test"], &spec());
    type Plant = fn(&Lab, &Bundle) -> Bundle;
    let plants: [(&str, Plant); 3] =
        [("the same", |_, set| copy(set)), ("of the same key", same_key), ("of another key", other)];
    for (what, plant) in plants {
        for is_signed in [true, false] {
            for of_whom in ["nobody", "another.test", "a.test"] {
                let lab = Lab::new();
                let old = lab.install(&a);
                let guilty = lab.set(&["a.test"], &spec());
                if of_whom != "nobody" {
                    end_starts(&lab, of_whom, &[guilty.chain.leaf().key_fingerprint()], 1);
                }
                let planted = plant(&lab, &guilty);
                let new = lab.stage(&a, &planted);
                strip(&lab, if is_signed { &[] } else { &["auth"] });
                let (_, activated) = start(&lab.store, slice::from_ref(&a)).unwrap().remove(0);
                let is_known = of_whom == "a.test" || (of_whom == "another.test" && what != "of another key");
                let case = format!("{what} {is_signed} {of_whom}: {activated:?}");
                assert_eq!(matches!(activated, Activated::Refused(_)), is_known, "{case}");
                assert_eq!(live(&lab, "a.test"), Some(if is_known { old } else { new.clone() }), "{case}");
                if is_known {
                    // Its hosts take it.
                    lab.stage_tried(&a, &planted, Some(Trial::Accepted));
                    assert_eq!(start(&lab.store, slice::from_ref(&a)).unwrap()[0].1, Activated::Done);
                    assert_eq!(live(&lab, "a.test"), Some(new), "{case}");
                }
            }
        }
    }
}

/// Whatever is in use, and nothing too.
#[test]
fn a_set_for_none_of_the_names_is_put_into_use_by_no_start() {
    let a = md(&["a.test", "b.test"]);
    for names in [&["x.test"][..], &["*.a.test"], &["a.test", "x.test"]] {
        for (is_live, has_old) in [(false, false), (false, true), (true, false), (true, true)] {
            let lab = Lab::new();
            // Expired, it is worth less than any that has a name.
            let old = Wish { names: &["a.test"], until: NOW, ..Wish::default() };
            let old = has_old.then(|| lab.set_like(&old, &spec()));
            if let Some(set) = &old {
                bundle::write(&lab.store, Group::Domains, "a.test", set).unwrap();
                lab.store.write_json(Group::Domains, "a.test", MD_FILE, &a.to_json()).unwrap();
            }
            let set = lab.set(names, &spec());
            let new = if is_live { publish(&lab, &a, set) } else { lab.stage(&a, &set) };
            let job = Job::new("a.test");
            if is_live {
                lab.store.write_json(Group::Staging, "a.test", JOB_FILE, &job.to_json()).unwrap();
            }
            let (_, activated) = start(&lab.store, slice::from_ref(&a)).unwrap().remove(0);
            let (case, is_used) = (format!("{names:?} {is_live} {has_old}"), names.len() > 1);
            let expected = if is_used { Some(new) } else { old.map(|set| set.info.fingerprint) };
            assert_eq!(live(&lab, "a.test"), expected, "{case}");
            assert_eq!(activated == Activated::Done, is_used, "{case}");
            assert_eq!(activated == Activated::OfOtherNames, !is_used && !is_live, "{case}");
            assert!(!lab.has("staging/a.test/pubcert.p-256.pem") && !lab.has("staging/a.test/live.json"));
        }
    }
}

#[test]
fn a_live_set_is_not_lost_whatever_step_the_store_refuses() {
    let a = md(&["a.test"]);
    for steps in 0.. {
        let lab = Lab::new();
        lab.install(&a);
        let served = publish(&lab, &a, lab.set(&["a.test"], &spec()));
        let job = Job { errors: 1, ..Job::new("a.test") };
        lab.store.write_json(Group::Staging, "a.test", JOB_FILE, &job.to_json()).unwrap();
        // The process continues after the failed step, as httpd does.
        let is_done = survives(&lab, steps, std::slice::from_ref(&a));
        start(&lab.store, std::slice::from_ref(&a)).unwrap();
        assert_eq!(live(&lab, "a.test"), Some(served), "{steps}");
        if is_done {
            assert!(steps > 5);
            return;
        }
    }
}

#[test]
fn what_was_live_comes_into_use_where_its_job_is_missing() {
    let lab = Lab::new();
    let a = md(&["a.test"]);
    lab.install(&a);
    let served = publish(&lab, &a, lab.set(&["a.test"], &spec()));
    // Of a purge that was interrupted.
    lab.store.write(Group::Staging, "a.test", "pubcert.p-256.pem", b"left").unwrap();
    let started = start(&lab.store, std::slice::from_ref(&a)).unwrap();
    assert_eq!(started[0].1, Activated::Done);
    assert_eq!(live(&lab, "a.test"), Some(served.clone()));
    assert!(!lab.has("staging/a.test/live.json") && !lab.has("staging/a.test/pubcert.p-256.pem"));
    assert!(lab.has("archive/a.test.1"));
    // The same set, in use already.
    publish_again(&lab, &a, &served);
    start(&lab.store, &[a]).unwrap();
    assert_eq!(live(&lab, "a.test"), Some(served));
    assert!(!lab.has("staging/a.test/live.json") && !lab.has("archive/a.test.2"));
}

/// Copies the set in use to the place of a live set.
fn publish_again(lab: &Lab, md: &Md, fingerprint: &str) {
    let set = bundle::load(&lab.store, Group::Domains, &md.name, &spec()).unwrap();
    assert_eq!(set.info.fingerprint, fingerprint);
    publish(lab, md, set);
}

#[test]
fn the_live_set_is_used_where_the_newer_set_is_damaged_or_has_to_wait() {
    let a = md(&["a.test"]);
    for (is_damaged, delay) in [(true, Duration::ZERO), (false, DAY * 99)] {
        let lab = Lab::new();
        lab.install(&a);
        lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
        if is_damaged {
            lab.store.write(Group::Staging, "a.test", "pubcert.p-256.pem", b"garbage").unwrap();
        }
        let served = publish(&lab, &a, lab.set(&["a.test"], &a.keys()[0]));
        let mut synced = sync(&lab.store, std::slice::from_ref(&a)).unwrap();
        let activated = Activation::begin(&lab.store, &[&synced[0].md.clone()], NOW)
            .unwrap()
            .activate_started(&mut synced[0], delay)
            .unwrap();
        assert_eq!(activated, Activated::Done);
        assert_eq!(live(&lab, "a.test"), Some(served));
        assert_eq!(lab.has("staging/a.test/md.json"), !is_damaged);
    }
}

/// Children serve it on, with which starts of httpd have ended.
#[test]
fn a_live_set_no_start_may_use_outlives_failing_renewals_and_damaged_sets() {
    for is_damaged in [true, false] {
        let (lab, a) = (Lab::new(), md(&["a.test"]));
        lab.install(&a);
        let set = lab.set(&["a.test"], &spec());
        end_starts(&lab, "a.test", &[set.chain.leaf().key_fingerprint()], 2);
        if is_damaged {
            lab.stage(&a, &lab.set(&["a.test"], &spec()));
            lab.store.write(Group::Staging, "a.test", "pubcert.p-256.pem", b"garbage").unwrap();
        } else {
            let job = Job { errors: 2, ..Job::new("a.test") };
            lab.store.write_json(Group::Staging, "a.test", JOB_FILE, &job.to_json()).unwrap();
        }
        publish(&lab, &a, set);
        start(&lab.store, slice::from_ref(&a)).unwrap();
        cleanup::start_over(&lab.store, "a.test", NOW).unwrap();
        assert!(lab.has("staging/a.test/live.json"), "{is_damaged}");
        assert!(!lab.has("staging/a.test/pubcert.p-256.pem") && !lab.has("staging/a.test/job.json"));
    }
}

#[test]
fn a_live_set_that_cannot_be_used_is_as_good_as_none() {
    let lab = Lab::new();
    let a = md(&["a.test"]);
    let old = lab.install(&a);
    lab.store.write(Group::Staging, "a.test", published::FILE, b"{\"sets\": []}").unwrap();
    lab.store.write_json(Group::Staging, "a.test", JOB_FILE, &Job::new("a.test").to_json()).unwrap();
    let started = start(&lab.store, &[a]).unwrap();
    assert_eq!(started[0].1, Activated::Unfinished);
    assert_eq!(live(&lab, "a.test"), Some(old));
}
