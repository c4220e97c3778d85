// SPDX-License-Identifier: Apache-2.0
//! Two processes of one configuration, with shared counters and a shared store: one saves responses, the
//! other answers handshakes.

use super::*;
use crate::counters::Counters;
use crate::crypto::fixture::NOW;
use crate::managed::serve::Certs;
use crate::model::{KeySpec, Md};
use crate::ocsp::fixture::wire::Say;
use crate::ocsp::fixture::{HOUR, Responder, subject};
use crate::ocsp::response;
use crate::store::StartStore;
use crate::time::{At, TimeSlice};
use std::sync::atomic::AtomicU64;

const ALIAS: &[u8] = b"as somebody else calls it";

struct World {
    dir: tempfile::TempDir,
    store: StartStore,
    responder: Responder,
    subject: Arc<Subject>,
    counters: Arc<dyn Counters>,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        let responder = Responder::new();
        let subject = Arc::new(subject(&responder, "http://o.test"));
        let counters = Arc::new((0..Signals::size(8)).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        World { dir, store, responder, subject, counters }
    }

    fn process(&self, by_mod_ssl: &[usize], names: &[&[u8]]) -> Service {
        let cert = crate::crypto::CertInfo::from_chain(&self.responder.chain);
        let certs = Certs::arrange(&[KeySpec::default()], [(KeySpec::default(), cert)]);
        let md = Md { name: "a.test".into(), domains: vec!["a.test".into()], ..Md::default() };
        let terms = Terms { renew_window: TimeSlice::Percent(33), proxy_url: None, proxy_ca_file: None };
        let cache = Arc::new(Cache::new([Entry { subject: self.subject.clone(), response: None }]));
        let found = Found {
            cache,
            subjects: names.iter().map(|name| (name.to_vec(), self.subject.clone())).collect(),
            terms: vec![Some(terms)],
            by_mod_ssl: by_mod_ssl.iter().copied().collect(),
            mds: Arc::new([Managed { md, certs, ..Managed::default() }]),
            store: self.store.worker(),
            started: NOW,
        };
        assert!(found.is_any());
        let signals = Signals::new(self.counters.clone(), found.topics());
        Service::new(found, signals, Arc::new(At(NOW)))
    }

    fn response(&self, say: Say) -> Response {
        let der = self.responder.respond(&self.subject, say, NOW.minus(HOUR), Some(NOW.plus(HOUR)));
        response::verify(&der, &self.subject, NOW).unwrap()
    }

    /// As the child does that renews.
    fn save(&self, by: &Service, say: Say) -> Vec<u8> {
        let response = self.response(say);
        file::write(&self.store.worker(), &self.subject, &response).unwrap();
        by.publish(&self.subject, &response);
        response.der
    }

    fn own_name(&self) -> [&[u8]; 1] {
        [&self.subject.id]
    }
}

/// `None`: the certificate is not stapled by us. `Some(None)`: there is nothing to staple.
fn stapled(service: &Service, name: &[u8]) -> Option<Option<Vec<u8>>> {
    service.staple(name, |der| der.map(<[u8]>::to_vec))
}

#[test]
fn a_saved_response_is_taken_up_by_the_processes_that_are_signalled() {
    let world = World::new();
    let (renewing, other) = (world.process(&[], &world.own_name()), world.process(&[], &world.own_name()));
    other.take_up();
    assert_eq!(stapled(&other, &world.subject.id), Some(None));
    assert_eq!(stapled(&other, &[7; 20]), None, "another certificate");
    let der = world.save(&renewing, Say::Good);
    assert_eq!(stapled(&other, &world.subject.id), Some(None), "before it looks");
    other.take_up();
    assert_eq!(stapled(&other, &world.subject.id), Some(Some(der)));
}

#[test]
fn a_response_of_a_certificate_unknown_at_start_is_taken_up_from_staging() {
    let world = World::new();
    let (renewing, other) = (world.process(&[], &[]), world.process(&[], &[]));
    let file = KeySpec::default().file_name("pubcert");
    world.store.worker().write_chain(WorkGroup::Staging, "a.test", &file, &world.responder.chain).unwrap();
    let der = world.save(&renewing, Say::Good);
    other.take_up();
    assert_eq!(stapled(&other, &world.subject.id), Some(Some(der)));
}

#[test]
fn a_response_that_the_disk_withholds_is_taken_up_as_soon_as_it_can_be() {
    let world = World::new();
    let (renewing, other) = (world.process(&[], &world.own_name()), world.process(&[], &world.own_name()));
    let der = world.save(&renewing, Say::Good);
    let (root, aside) = (world.dir.path().join("md"), world.dir.path().join("aside"));
    std::fs::rename(&root, &aside).unwrap();
    other.take_up();
    assert_eq!(stapled(&other, &world.subject.id), Some(None));
    std::fs::rename(&aside, &root).unwrap();
    other.take_up();
    assert_eq!(stapled(&other, &world.subject.id), Some(Some(der)), "without another signal");
}

#[test]
fn a_certificate_is_stapled_by_every_name_that_a_start_knows_for_it() {
    let world = World::new();
    let (renewing, other) = (world.process(&[], &[ALIAS]), world.process(&[], &[ALIAS]));
    assert_eq!(stapled(&other, ALIAS), Some(None));
    let der = world.save(&renewing, Say::Good);
    other.take_up();
    assert_eq!(stapled(&other, ALIAS), Some(Some(der.clone())));
    assert_eq!(stapled(&other, &world.subject.id), Some(Some(der)));
}

#[test]
fn mod_ssl_keeps_its_own_certificates_until_there_is_a_response() {
    let world = World::new();
    let (renewing, other) = (world.process(&[0], &world.own_name()), world.process(&[0], &world.own_name()));
    assert_eq!(stapled(&other, &world.subject.id), None, "mod_ssl may have a response");
    let der = world.save(&renewing, Say::Good);
    other.take_up();
    assert_eq!(stapled(&other, &world.subject.id), Some(Some(der)));
}

#[test]
fn a_revoked_certificate_in_use_is_reported_once_for_each_response() {
    let world = World::new();
    let renewing = world.process(&[], &world.own_name());
    assert!(renewing.take_revoked().is_empty());
    let save = |say| {
        let response = Arc::new(world.response(say));
        let entry = Entry { subject: world.subject.clone(), response: Some(response) };
        renewing.cache.put([entry]);
        world.save(&renewing, say);
    };
    save(Say::Good);
    assert!(renewing.take_revoked().is_empty());
    save(Say::Revoked);
    assert_eq!((renewing.take_revoked(), renewing.take_revoked()), (vec![0], vec![]));
    save(Say::Revoked);
    assert_eq!(renewing.take_revoked(), [0]);
    // The next child looks at the files that the child before has found.
    let next = world.process(&[], &world.own_name());
    next.cache.put(renewing.cache.table().entries().cloned());
    assert_eq!(next.take_revoked(), [0]);
}

#[test]
fn a_certificate_of_an_md_that_is_not_stapled_is_not_reported_as_revoked() {
    let world = World::new();
    let mut renewing = world.process(&[], &world.own_name());
    renewing.terms = vec![None];
    let response = Some(Arc::new(world.response(Say::Revoked)));
    renewing.cache.put([Entry { subject: world.subject.clone(), response }]);
    assert!(renewing.take_revoked().is_empty());
}

#[test]
fn an_expired_certificate_that_is_not_served_any_more_is_forgotten() {
    let world = World::new();
    let past = |n| {
        let fresh = subject(&world.responder, "http://o.test");
        let entry = Subject { id: [n; 20], not_after: NOW.minus(HOUR), ..fresh };
        Entry { subject: Arc::new(entry), response: None }
    };
    let process = world.process(&[], &[]);
    // Another one, which may come into use.
    let waiting =
        Entry { subject: Arc::new(Subject { id: [9; 20], ..subject(&world.responder, "") }), response: None };
    process.cache.put([past(1), past(2), waiting]);
    let known =
        |service: &Service| service.cache.table().entries().map(|e| e.subject.id).collect::<HashSet<Id>>();
    world.save(&process, Say::Good);
    process.take_up();
    assert_eq!(known(&process), HashSet::from([world.subject.id, [9; 20]]));
    // One that is served, and one of the start.
    let served = Entry {
        subject: Arc::new(Subject {
            not_after: NOW.minus(HOUR),
            ..subject(&world.responder, "http://o.test")
        }),
        response: None,
    };
    let start = world.process(&[], &[&world.subject.id]);
    for process in [&process, &start] {
        process.cache.put([served.clone(), past(1)]);
        world.save(process, Say::Good);
        process.take_up();
        assert!(known(process).contains(&world.subject.id));
        assert!(!known(process).contains(&[1; 20]));
    }
}

#[test]
fn a_response_of_another_node_is_verified_saved_and_told_to_all_processes() {
    let world = World::new();
    let (replicating, serving) =
        (world.process(&[], &[&world.subject.id]), world.process(&[], &[&world.subject.id]));
    let file = file::name(&world.subject.id);
    let take = |name: &str, file: &str, der: &[u8]| replicating.take(name, file, der, NOW);
    let good = world.response(Say::Good);
    let mut forged = good.der.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert!(matches!(take("a.test", &file, &forged), Err(Unused::Refused(_))));
    assert_eq!(take("b.test", &file, &good.der), Err(Unused::OfNone), "of another domain");
    assert_eq!(take("a.test", &file::name(&[7; 20]), &good.der), Err(Unused::OfNone));
    assert_eq!(take("a.test", "../x", &good.der), Err(Unused::OfNone));
    assert!(take("a.test", &file, &world.response(Say::Unknown).der).is_err());
    serving.take_up();
    assert_eq!(serving.staple(&world.subject.id, |der| der.map(<[u8]>::to_vec)), Some(None));
    assert_eq!(take("a.test", &file, &good.der), Ok(()));
    assert_eq!(take("a.test", &file, &good.der), Ok(()), "it comes again");
    serving.take_up();
    assert_eq!(
        serving.staple(&world.subject.id, |der| der.map(<[u8]>::to_vec)),
        Some(Some(good.der.clone()))
    );
    let early = world.responder.respond(&world.subject, Say::Good, NOW.minus(HOUR * 2), Some(NOW.plus(HOUR)));
    assert!(take("a.test", &file, &early).is_err(), "an older one does not come back");
}
