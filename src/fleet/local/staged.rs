// SPDX-License-Identifier: Apache-2.0
//! Writes a set of the fleet into `staging/NAME`, as a renewal that has finished: from there it goes the way of
//! every set, past the gate and the hosts that will serve it. Refuses certificates without their key, for other
//! names, or that are worth less than those in use. Calls no command: `renewed` is the renewing node's.

use super::Brought;
use crate::crypto::CertInfo;
use crate::fleet::record::Set;
use crate::managed::bundle::{self, Bundle};
use crate::managed::peers::{SharedCert, SharedSet};
use crate::managed::serve::Certs;
use crate::managed::staging::Staging;
use crate::managed::{Managed, published, withdrawn};
use crate::model::{Ca, Job, Md, ari};
use crate::store::{Error, Holder, WorkStore};
use crate::time::{DAY, Timestamp};

/// Looks at a set as at one in staging.
fn checked(
    target: &Managed,
    set: &SharedSet,
    store: &WorkStore,
    now: Timestamp,
) -> Result<Vec<Bundle>, String> {
    let md = &target.md;
    let bundle = |cert: &SharedCert| {
        let made = Bundle::from_sent(cert.spec.clone(), cert.key.clone(), cert.chain.clone());
        let (bundle, _) = made.map_err(|flaw| flaw.to_string())?;
        match bundle.key.is_of(&bundle.spec) {
            true => Ok(bundle),
            false => Err(bundle::Flaw::Kind(bundle.spec.label().into()).to_string()),
        }
    };
    let bundles: Vec<Bundle> = set.certs.iter().map(bundle).collect::<Result<_, String>>()?;
    let certs = Certs::arrange(&md.keys(), bundles.iter().map(|b| (b.spec.clone(), b.info.clone())));
    if !certs.are_for(md, now) {
        return Err("it has no certificate in time for any of the names that the domain has here".into());
    }
    if withdrawn::read(store, &md.name, now).has_any_of(bundles.iter().map(|b| &b.info)) {
        return Err("an operator has withdrawn it on this machine".into());
    }
    if target.served().outdo(&certs, md, now) {
        return Err("the certificates in use here serve more names, or are valid for longer".into());
    }
    Ok(bundles)
}

/// Writes the set, unless another process is at work on the MD.
pub fn stage(store: &WorkStore, target: &Managed, set: &Set, now: Timestamp) -> Result<Brought, Error> {
    let name = &target.md.name;
    let bundles = match checked(target, &set.set, store, now) {
        Ok(bundles) => bundles,
        Err(reason) => return Ok(Brought::Refused(reason)),
    };
    if is_there(store, target, &bundles) {
        return Ok(Brought::Staged);
    }
    // Not every network file system has locks.
    let _held = match store.lock_attempt(name, &Holder::of_program("httpd", now)) {
        Ok(Ok(held)) => Some(held),
        Ok(Err(holder)) => return Ok(Brought::Busy(holder.to_string())),
        Err(error) => {
            crate::log!(Debug, "md[{name}]: the lock of attempts cannot be taken: {error}");
            None
        }
    };
    target.requests.hold();
    write(store, target, set, &bundles, now)?;
    Ok(Brought::Staged)
}

/// Whether just these certificates are in use, or staged already.
fn is_there(store: &WorkStore, target: &Managed, bundles: &[Bundle]) -> bool {
    let of = |certs: &mut dyn Iterator<Item = &CertInfo>| {
        let mut prints: Vec<String> = certs.map(|cert| cert.fingerprint.clone()).collect();
        prints.sort();
        prints
    };
    let new = of(&mut bundles.iter().map(|b| &b.info));
    if of(&mut target.served().all()) == new {
        return true;
    }
    let staging = Staging::new(store, &target.md.name);
    let is_finished = staging.job().is_ok_and(|job| job.is_some_and(|job| job.finished));
    let staged = published::staged_certs(store, &target.md.name).unwrap_or_default();
    is_finished && of(&mut staged.iter().map(|(_, cert)| cert)) == new
}

fn write(
    store: &WorkStore,
    target: &Managed,
    set: &Set,
    bundles: &[Bundle],
    now: Timestamp,
) -> Result<(), Error> {
    let (staging, name) = (Staging::new(store, &target.md.name), &target.md.name);
    let former = staging.job().unwrap_or_default().unwrap_or_else(|| Job::new(name));
    let Job { log, request, .. } = former;
    let mut job = Job { log, request, ..Job::new(name) };
    // First: where this process dies now, the next one finds no finished job beside files of two sets.
    staging.save_job(&job)?;
    staging.reset()?;
    let ordered = ordered(&target.md, &set.set);
    staging.save_md(&ordered)?;
    for bundle in bundles {
        staging.save_key(&bundle.spec, &bundle.key)?;
        staging.save_chain(&bundle.spec, &bundle.chain)?;
    }
    job.auth = Some(bundle::vouch(store, name, &ordered, bundles, false)?);
    (job.finished, job.notified, job.notified_renewed) = (true, true, true);
    job.valid_from = bundles.iter().map(|b| b.info.not_before).max();
    let text = format!("The certificates of generation {} have come from the fleet.", set.generation);
    job.note(now, "progress", None, Some(text));
    job.note(now, "finished", None, None);
    staging.save_job(&job)
}

/// The MD as it would be if this node had ordered the set.
fn ordered(md: &Md, set: &SharedSet) -> Md {
    let is_of_its_ca = md.ca.url.as_deref() == Some(&set.ca);
    let account = md.ca.account.clone().filter(|_| is_of_its_ca);
    Md {
        domains: if md.is_covered_by(&set.names) { md.domains.clone() } else { set.names.clone() },
        ca: Ca { url: Some(set.ca.clone()), account, ..md.ca.clone() },
        key_specs: set.certs.iter().map(|cert| cert.spec.clone()).collect(),
        must_staple: set.must_staple,
        profile: set.profile.clone(),
        ..md.clone()
    }
}

/// Notes when the CA wants these certificates to be renewed, where another node has asked it.
pub fn note_renew_at(
    store: &WorkStore,
    name: &str,
    ids: &[String],
    at: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    let staging = Staging::new(store, name);
    let mut entries = staging.ari().unwrap_or_default();
    let at = Timestamp::from_unix(at.unix());
    let is_known = |id: &String| {
        let known = entries.iter().find(|entry| entry.cert_id == *id);
        known.and_then(|entry| entry.advice.as_ref()).is_some_and(|advice| advice.renew_at == at)
    };
    if ids.iter().all(is_known) {
        return Ok(());
    }
    for cert_id in ids {
        entries.retain(|entry| entry.cert_id != *cert_id);
        let advice = ari::Advice {
            start: at,
            end: at,
            renew_at: at,
            explanation: None,
            checked: Timestamp::from_unix(now.unix()),
        };
        entries.push(ari::Entry {
            cert_id: cert_id.clone(),
            advice: Some(advice),
            next_check: now.plus(DAY / 4).ceil(),
        });
    }
    staging.save_ari(&entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::{NOW, Wish};
    use crate::managed::fixture::{Lab, md};
    use crate::model::KeySpec;

    fn shared(lab: &Lab, wish: &Wish<'_>) -> Set {
        let bundle = lab.set_like(wish, &KeySpec::Ec("P-256".into()));
        let cert = SharedCert { spec: bundle.spec, key: bundle.key, chain: bundle.chain };
        let set = SharedSet {
            ca: "https://ca.test/dir".into(),
            names: wish.names.iter().map(ToString::to_string).collect(),
            must_staple: false,
            profile: None,
            certs: vec![cert],
            renew_at: None,
        };
        Set { set, generation: 7, published: NOW }
    }

    fn target() -> Managed {
        let mut md = md(&["a.test", "www.a.test"]);
        md.key_specs = vec![KeySpec::Ec("P-256".into())];
        Managed { md, watched: true, in_use: true, ..Managed::default() }
    }

    const BOTH: &[&str] = &["a.test", "www.a.test"];

    #[test]
    fn a_set_of_the_fleet_is_staged_like_one_that_was_renewed_here() {
        let (lab, target) = (Lab::new(), target());
        let store = lab.store.worker();
        let set = shared(&lab, &Wish { names: BOTH, ..Wish::default() });
        assert_eq!(stage(&store, &target, &set, NOW).unwrap(), Brought::Staged);
        let mut job = Staging::new(&store, "a.test").job().unwrap().unwrap();
        assert!(job.finished && job.notified && job.notified_renewed && !job.notified_activated);
        let (ordered, sets) = published::staged(&store, &mut job, None).unwrap();
        assert_eq!((ordered.ca.url.as_deref(), sets.len()), (Some("https://ca.test/dir"), 1));
        assert!(job.auth.is_some(), "a start knows it as this server's");
        let before =
            std::fs::metadata(lab.root().join("staging/a.test/job.json")).unwrap().modified().unwrap();
        assert_eq!(stage(&store, &target, &set, NOW).unwrap(), Brought::Staged);
        let file = std::fs::metadata(lab.root().join("staging/a.test/job.json")).unwrap();
        assert_eq!(file.modified().unwrap(), before, "it is there already");
    }

    #[test]
    fn a_set_for_others_or_without_its_key_is_refused_and_one_under_way_is_left_alone() {
        let (lab, target) = (Lab::new(), target());
        let store = lab.store.worker();
        let refused = |set: &Set| matches!(stage(&store, &target, set, NOW).unwrap(), Brought::Refused(_));
        assert!(refused(&shared(&lab, &Wish { names: &["b.test"], ..Wish::default() })));
        let mut swapped = shared(&lab, &Wish { names: BOTH, ..Wish::default() });
        swapped.set.certs[0].key =
            shared(&lab, &Wish { names: BOTH, ..Wish::default() }).set.certs[0].key.clone();
        assert!(refused(&swapped));
        let mut kind = shared(&lab, &Wish { names: BOTH, ..Wish::default() });
        kind.set.certs[0].spec = KeySpec::default();
        assert!(refused(&kind));
        let held = store.lock_attempt("a.test", &Holder::of_program("a2md", NOW)).unwrap().unwrap();
        let set = shared(&lab, &Wish { names: BOTH, ..Wish::default() });
        assert!(
            matches!(stage(&store, &target, &set, NOW).unwrap(), Brought::Busy(who) if who.contains("a2md"))
        );
        assert!(!Staging::new(&store, "a.test").has_chain());
        drop(held);
        assert_eq!(stage(&store, &target, &set, NOW).unwrap(), Brought::Staged);
    }

    #[test]
    fn the_advice_of_a_ca_that_another_node_has_asked_is_kept_like_this_node_s_own() {
        let lab = Lab::new();
        let store = lab.store.worker();
        let at = NOW.plus(DAY * 30);
        note_renew_at(&store, "a.test", &["aki.serial".into()], at, NOW).unwrap();
        let entries = Staging::new(&store, "a.test").ari().unwrap();
        assert_eq!(entries[0].advice.as_ref().unwrap().renew_at, at);
        note_renew_at(&store, "a.test", &["aki.serial".into()], at.plus(DAY), NOW).unwrap();
        let entries = Staging::new(&store, "a.test").ari().unwrap();
        assert_eq!((entries.len(), entries[0].advice.as_ref().unwrap().renew_at), (1, at.plus(DAY)));
    }
}
