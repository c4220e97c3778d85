// SPDX-License-Identifier: Apache-2.0
//! Renewals from the decision to the staged set: the real renewal and store, with a CA in memory that
//! is strict about the protocol. Time is virtual.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use doubles::fake_ca::{Endpoint, FakeCa, Fault, Quirk, Rules, Sends, problem};
use doubles::{Host, VirtualClock};
use mod_md::challenge::{dns01, http01};
use mod_md::crypto::CertInfo;
use mod_md::http::{self, Request, Response, Transport};
use mod_md::managed::Managed;
use mod_md::managed::save_error::SaveError;
use mod_md::managed::staging::Staging;
use mod_md::model::job::PendingNotice;
use mod_md::model::{Dns01, Job, KeySpec};
use mod_md::renew::attempt::context::Context;
use mod_md::renew::worker::check;
use mod_md::renew::worker::next::Next;
use mod_md::renew::worker::pool::Driver;
use mod_md::store::{Fuse, StartStore, WorkGroup, WorkStore};
use mod_md::time::{Clock, StopFlag};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

struct Lab(Host);

impl Deref for Lab {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl DerefMut for Lab {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.0
    }
}

impl Lab {
    fn new() -> Self {
        let host = Host::new().validates();
        host.ca.rules(|rules| rules.terms = Some("https://ca.test/terms".into()));
        Lab(host)
    }

    fn with_account_key(self, name: &str) -> Self {
        self.leave_account_key(name, &KeySpec::Ec("P-256".into()));
        self
    }

    fn md(&self, names: &[&str], keys: &[KeySpec]) -> Managed {
        self.managed(names, keys)
    }

    fn store(&self, fuse: Fuse) -> WorkStore {
        StartStore::open_with(&self.path, None, fuse).unwrap().unsynced().worker()
    }

    fn context(&self, mds: Vec<Managed>, fuse: Fuse) -> Context {
        let ca = self.ca.clone();
        self.context_by(mds, fuse, move || ca.clone())
    }

    fn context_by<T: Transport + 'static>(
        &self,
        mds: Vec<Managed>,
        fuse: Fuse,
        connect: impl Fn() -> Arc<T> + Send + Sync + 'static,
    ) -> Context {
        self.0.context_by(&mds, self.store(fuse), move || Ok(connect()))
    }

    fn job(&self, name: &str) -> Job {
        self.0.job(name).unwrap()
    }
}

const EC: &str = "P-256";

fn ec() -> KeySpec {
    KeySpec::Ec(EC.into())
}

#[test]
fn a_set_with_several_keys_and_names_is_staged_with_one_account() {
    let lab = Lab::new();
    let md = lab.md(&["a.test", "www.a.test"], &[KeySpec::default(), ec()]);
    assert_eq!(check::run(&lab.context(vec![md.clone()], Fuse::default()), 0), Next::Never);
    let job = lab.job("a.test");
    assert!(job.finished && job.notified && job.notified_renewed, "{job:?}");
    assert_eq!((job.errors, job.last.status), (0, 0));
    let store = lab.store(Fuse::default());
    for spec in md.md.keys() {
        let chain = Staging::new(&store, "a.test").chain(&spec).unwrap().unwrap();
        let key = Staging::new(&store, "a.test").key(&spec).unwrap().unwrap();
        assert!(chain.leaf().matches_key(&key));
        assert_eq!(chain.leaf().dns_names(), ["a.test", "www.a.test"]);
    }
    assert_eq!(lab.ca.account_count(), 1);
    assert_eq!(lab.ca.count(Endpoint::NewOrder), 2);
    assert_eq!(store.names(WorkGroup::Challenges).unwrap(), Vec::<String>::new());
    // A finished job asks nothing more of the CA.
    let before = lab.ca.seen().len();
    assert_eq!(check::run(&lab.context(vec![md], Fuse::default()), 0), Next::Never);
    assert_eq!(lab.ca.seen().len(), before);
}

#[test]
fn whatever_a_ca_sends_beside_the_chain_one_order_is_enough() {
    use Sends::{Issuer, Leaf, Stranger, Text};
    for sends in [
        vec![Leaf, Issuer, Issuer],
        vec![Leaf, Leaf, Issuer],
        vec![Leaf, Issuer, Stranger],
        vec![Leaf, Stranger, Issuer],
        vec![Issuer, Leaf],
        vec![Text, Leaf, Text, Issuer, Text],
    ] {
        let lab = Lab::new().with_account_key("a.test");
        lab.ca.rules(|rules| rules.sends.clone_from(&sends));
        check::run(&lab.context(vec![lab.md(&["a.test"], &[ec()])], Fuse::default()), 0);
        let job = lab.job("a.test");
        assert!(job.finished && job.errors == 0, "{sends:?} {job:?}");
        let store = lab.store(Fuse::default());
        let chain = Staging::new(&store, "a.test").chain(&ec()).unwrap().unwrap();
        let [leaf, issuer] = chain.certificates() else { panic!("{sends:?}") };
        assert_eq!(leaf.dns_names(), ["a.test"], "{sends:?}");
        assert_eq!(issuer.to_pem(), lab.ca.issuer_pem(), "{sends:?}");
        assert_eq!(lab.ca.count(Endpoint::NewOrder), 1, "{sends:?}");
    }
}

#[test]
fn a_certificate_that_comes_without_its_issuer_is_taken() {
    let lab = Lab::new().with_account_key("a.test");
    lab.ca.rules(|rules| rules.sends = vec![Sends::Leaf]);
    check::run(&lab.context(vec![lab.md(&["a.test"], &[ec()])], Fuse::default()), 0);
    assert!(lab.job("a.test").finished);
    assert_eq!(lab.ca.count(Endpoint::NewOrder), 1);
}

#[test]
fn an_order_is_finalized_as_soon_as_its_names_are_validated() {
    let lab = Lab::new();
    check::run(&lab.context(vec![lab.md(&["a.test"], &[ec()])], Fuse::default()), 0);
    assert!(lab.job("a.test").finished);
    // The certificate is there with the first look for it.
    assert_eq!((lab.ca.count(Endpoint::Finalize), lab.ca.count(Endpoint::Order)), (1, 1));
}

#[test]
fn an_order_that_is_not_ready_when_its_names_are_validated_is_waited_for() {
    let lab = Lab::new();
    lab.ca.rules(|r| r.ready_polls = 3);
    check::run(&lab.context(vec![lab.md(&["a.test"], &[ec()])], Fuse::default()), 0);
    let job = lab.job("a.test");
    assert!(job.finished && job.errors == 0, "{job:?}");
    // Refused before the first of three looks, accepted after the last; one look more for the certificate.
    assert_eq!((lab.ca.count(Endpoint::Finalize), lab.ca.count(Endpoint::Order)), (2, 4));
}

/// Runs the job as children that follow each other do, until its set is complete.
fn run_to_the_end(lab: &Lab, md: &Managed) {
    for _ in 0..4 {
        match check::run(&lab.context(vec![md.clone()], Fuse::default()), 0) {
            Next::At(at) => lab.clock.advance(at.since(lab.clock.now())),
            Next::Never => return,
        }
    }
    panic!("it does not end: {:?}", lab.job("a.test"));
}

#[test]
fn a_job_that_dies_before_any_write_is_finished_with_the_same_account() {
    let mut steps = 0;
    loop {
        let lab = if steps < 30 { Lab::new() } else { Lab::new().with_account_key("a.test") };
        let md = lab.md(&["a.test", "www.a.test"], &[ec()]);
        check::run(&lab.context(vec![md.clone()], Fuse::after(steps)), 0);
        let job = Staging::new(&lab.store(Fuse::default()), "a.test").job().unwrap();
        let died = !job.is_some_and(|job| job.notified_renewed);
        run_to_the_end(&lab, &md);
        assert!(lab.job("a.test").finished, "after {steps} steps");
        assert_eq!(lab.ca.account_count(), 1, "after {steps} steps");
        assert!(lab.ca.count(Endpoint::NewOrder) <= 2, "after {steps} steps");
        let store = lab.store(Fuse::default());
        assert!(Staging::new(&store, "a.test").chain(&ec()).unwrap().is_some());
        if !died {
            assert!(steps > 20, "only {steps} steps");
            return;
        }
        steps += 4;
    }
}

#[test]
fn a_certificate_that_was_issued_is_used_whatever_write_comes_to_nothing() {
    for steps in 0.. {
        let lab = Lab::new().with_account_key("a.test");
        let md = lab.md(&["a.test"], &[ec()]);
        check::run(&lab.context(vec![md.clone()], Fuse::after(steps)), 0);
        let (issued, job) =
            (lab.ca.count(Endpoint::Certificate), Staging::new(&lab.store(Fuse::default()), "a.test").job());
        run_to_the_end(&lab, &md);
        assert!(issued == 0 || lab.ca.count(Endpoint::NewOrder) == 1, "after {steps} steps");
        if job.unwrap().is_some_and(|job| job.notified_renewed) {
            assert!(issued == 1 && steps > 20, "only {steps} steps");
            return;
        }
    }
}

/// A domain with a wildcard that answers dns-01 by a command which notes what it is called with, and a CA
/// that looks for its records there.
fn with_dns01(lab: &Lab) -> (Managed, PathBuf) {
    let calls = lab.path.with_extension("dns");
    let records = calls.clone();
    lab.ca.rules(|rules| {
        rules.validate = Arc::new(move |asked| {
            let (name, value) = (asked.name, dns01::value(asked.key_authorization));
            if asked.type_ == "dns-01" && self::records(&records).contains(&(name.into(), value)) {
                return Ok(());
            }
            Err(problem("dns", "no such record"))
        });
    });
    let mut md = lab.md(&["a.test", "*.a.test"], &[ec()]);
    md.md.ca.challenges = vec![dns01::TYPE.into()];
    let line = format!("/bin/sh -c 'echo \"$@\" >> {}' sh", calls.display());
    md.dns01 = Some(Dns01::by_command(line, 2, Duration::from_secs(60)));
    (md, calls)
}

fn calls_of(file: &std::path::Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(String::from).collect()
}

#[test]
fn all_records_are_there_before_the_ca_looks_for_one_and_gone_in_the_end() {
    let lab = Lab::new().with_account_key("a.test");
    let (mut md, calls) = with_dns01(&lab);
    md.md.domains = vec!["a.test".into(), "b.test".into()];
    let seen = calls.clone();
    lab.ca.rules(|rules| {
        let validate = rules.validate.clone();
        rules.validate = Arc::new(move |asked| {
            assert_eq!(records(&seen).len(), 2);
            validate(asked)
        });
    });
    assert_eq!(
        check::run(&lab.context(vec![md], Fuse::default()), 0),
        Next::Never,
        "{:?}",
        lab.job("a.test").last
    );
    let verbs: Vec<_> =
        calls_of(&calls).iter().map(|call| call.split(' ').next().unwrap().to_string()).collect();
    assert_eq!(verbs, ["setup", "setup", "teardown", "teardown"]);
    assert_eq!(lab.store(Fuse::default()).names(WorkGroup::Challenges).unwrap(), Vec::<String>::new());
}

/// Let's Encrypt refuses such an order; the C module leaves the names out.
#[test]
fn names_that_a_wildcard_covers_are_not_ordered() {
    let lab = Lab::new().with_account_key("a.test");
    let (mut md, calls) = with_dns01(&lab);
    md.md.domains = ["a.test", "www.a.test", "*.a.test", "x.y.a.test"].map(String::from).to_vec();
    assert_eq!(
        check::run(&lab.context(vec![md], Fuse::default()), 0),
        Next::Never,
        "{:?}",
        lab.job("a.test").last
    );
    assert_eq!(calls_of(&calls).iter().filter(|call| call.starts_with("setup")).count(), 3);
    let chain = Staging::new(&lab.store(Fuse::default()), "a.test").chain(&ec()).unwrap().unwrap();
    assert_eq!(CertInfo::from_chain(&chain).dns_names, ["a.test", "*.a.test", "x.y.a.test"]);
}

/// As for the C module, which sets it up for one after the other.
#[test]
fn a_command_may_replace_the_record_that_a_name_and_its_wildcard_share() {
    for is_slow in [false, true] {
        let lab = Lab::new().with_account_key("a.test");
        let (mut md, calls) = with_dns01(&lab);
        md.md.domains.push("b.test".into());
        let seen = calls.clone();
        lab.ca.rules(|rules| {
            rules.validation_time = Duration::from_secs(if is_slow { 20 } else { 0 });
            rules.validate = Arc::new(move |asked| {
                let value = dns01::value(asked.key_authorization);
                // The last one of the name is the only one.
                let last = records(&seen).into_iter().rfind(|(name, _)| name == asked.name);
                if last == Some((asked.name.into(), value)) {
                    Ok(())
                } else {
                    Err(problem("dns", "replaced"))
                }
            });
        });
        let context = lab.context(vec![md], Fuse::default());
        for _ in 0..10 {
            match check::run(&context, 0) {
                Next::Never => break,
                Next::At(at) => lab.clock.advance(at.since(lab.clock.now())),
            }
        }
        let job = lab.job("a.test");
        assert!(job.finished && job.errors == 0, "{job:?}");
        assert_eq!(calls_of(&calls).iter().filter(|call| call.starts_with("setup")).count(), 3);
        assert_eq!(records(&calls), []);
    }
}

#[test]
fn a_ca_that_writes_its_objects_in_its_own_way_issues() {
    let one_by_one = Quirk::ALL.iter().map(|quirk| vec![*quirk]);
    for quirks in one_by_one.chain([Quirk::ALL.to_vec()]) {
        for names in [&["a.test", "*.a.test"][..], &["*.a.test"]] {
            let lab = Lab::new().with_account_key("a.test").with_account_key("*.a.test");
            lab.ca.rules(|rules| {
                // The second order finds its names validated.
                (rules.quirks, rules.reuse_authorizations) = (quirks.clone(), true);
                (rules.validation_polls, rules.ready_polls, rules.issuance_polls) = (2, 1, 2);
            });
            let (mut md, _) = with_dns01(&lab);
            (md.md.name, md.md.domains) = (names[0].into(), names.iter().map(ToString::to_string).collect());
            let name = names[0];
            for orders in 1..=2 {
                check::run(&lab.context(vec![md.clone()], Fuse::default()), 0);
                let job = lab.job(name);
                assert!(job.finished && job.errors == 0, "{quirks:?} {names:?}: {job:?}");
                assert_eq!(lab.ca.count(Endpoint::NewOrder), orders);
                let store = lab.store(Fuse::default());
                let staging = Staging::new(&store, name);
                let chain = staging.chain(&ec()).unwrap().unwrap();
                assert_eq!(chain.leaf().dns_names(), names);
                staging.reset().unwrap();
                staging.save_job(&Job::new(name)).unwrap();
            }
        }
    }
}

/// The ways that CAs have beside how they write their objects, each a switch of its own.
type Way = (&'static str, fn(&mut Rules));

const WAYS: [Way; 13] = [
    ("slow validation", |rules| rules.validation_time = Duration::from_secs(1200)),
    ("shows pending", |rules| rules.shows_pending = true),
    ("conflicts", |rules| rules.conflicts = true),
    ("looks once", |rules| {
        // The first look is in vain.
        let (validate, looks) = (rules.validate.clone(), AtomicUsize::new(0));
        rules.looks_once = Some("pending");
        rules.validate = Arc::new(move |asked| match looks.fetch_add(1, Ordering::Relaxed) {
            0 => Err(problem("dns", "not yet")),
            _ => validate(asked),
        });
    }),
    ("expires", |rules| rules.expires = Some(Duration::from_secs(7 * 86_400))),
    ("ready late", |rules| rules.ready_polls = 3),
    ("not ready is malformed", |rules| rules.not_ready = (400, "malformed")),
    ("slow issuance", |rules| rules.issuance_time = Duration::from_secs(600)),
    ("polls", |rules| (rules.validation_polls, rules.issuance_polls) = (3, 3)),
    ("a day until the next poll", |rules| rules.retry_after = Some("86400".into())),
    ("refuses nonces", |rules| {
        let mut count = 0;
        rules.refuse_nonce = Box::new(move || {
            count += 1;
            count % 2 == 0
        });
    }),
    ("other chains", |rules| rules.alternates = true),
    ("disorderly chain", |rules| {
        rules.sends = vec![Sends::Text, Sends::Leaf, Sends::Leaf, Sends::Stranger, Sends::Issuer];
    }),
];

/// A CA with these switches on: first those of [`WAYS`], then those of [`Quirk::ALL`].
fn assert_one_order_is_enough(switches: u64) {
    let is_on = |place: usize| switches >> place & 1 == 1;
    let ways: Vec<&Way> = (0..).zip(&WAYS).filter(|(n, _)| is_on(*n)).map(|(_, way)| way).collect();
    let quirks: Vec<Quirk> =
        (WAYS.len()..).zip(Quirk::ALL).filter(|(n, _)| is_on(*n)).map(|(_, quirk)| quirk).collect();
    let names: Vec<&str> = ways.iter().map(|(name, _)| *name).collect();
    let lab = Lab::new().with_account_key("a.test");
    let (md, calls) = with_dns01(&lab);
    lab.ca.rules(|rules| {
        rules.quirks = quirks.clone();
        ways.iter().for_each(|(_, change)| change(rules));
    });
    // Each look is that of a new child.
    let is_over = (0..200).any(|_| match check::run(&lab.context(vec![md.clone()], Fuse::default()), 0) {
        Next::Never => true,
        Next::At(at) => {
            lab.clock.advance(at.since(lab.clock.now()));
            false
        }
    });
    let job = lab.job("a.test");
    assert!(is_over && job.finished, "{names:?} {quirks:?}: {job:?}");
    let errors = job.log.iter().filter(|entry| entry.kind == "renewal-error").count();
    assert!(errors == 0 || names.contains(&"looks once"), "{names:?} {quirks:?}: {job:?}");
    // One with a nonce that was refused is sent again.
    let orders = lab.ca.count(Endpoint::NewOrder);
    let most = if names.contains(&"refuses nonces") { 2 } else { 1 };
    assert!((1..=most).contains(&orders), "{orders} {names:?} {quirks:?}: {job:?}");
    assert_eq!(records(&calls), [], "{names:?} {quirks:?}");
}

#[test]
fn whatever_ways_of_cas_come_together_one_order_is_enough() {
    let all = (1_u64 << (WAYS.len() + Quirk::ALL.len())) - 1;
    // All together, each way with all that is written otherwise, and some by a fixed chance.
    let written = all >> WAYS.len() << WAYS.len();
    let alone = (0..WAYS.len()).map(|way| 1 << way | written);
    let some = (1_u64..=10).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20 & all);
    let cases: Vec<u64> = std::iter::once(all).chain(alone).chain(some).collect();
    // They wait for commands most of the time.
    std::thread::scope(|scope| {
        for part in cases.chunks(cases.len().div_ceil(6)) {
            scope.spawn(move || part.iter().for_each(|switches| assert_one_order_is_enough(*switches)));
        }
    });
}

/// What the HTTP client does where a kept connection is closed: the nonce is spent, the request may be obeyed
/// twice.
#[test]
fn a_request_that_arrives_twice_does_no_harm() {
    for endpoint in [
        Endpoint::NewAccount,
        Endpoint::NewOrder,
        Endpoint::Authorization,
        Endpoint::Challenge,
        Endpoint::Finalize,
        Endpoint::Certificate,
    ] {
        let lab = Lab::new().with_account_key("a.test");
        lab.ca.fault(endpoint, Fault::Repeated);
        let md = lab.md(&["a.test"], &[ec()]);
        run_to_the_end(&lab, &md);
        assert_eq!(lab.ca.account_count(), 1);
        let orders = lab.ca.count(Endpoint::NewOrder);
        assert!(
            orders == 1 || endpoint == Endpoint::NewOrder && orders == 2,
            "{endpoint:?}: {orders} orders"
        );
    }
}

#[test]
fn records_are_torn_down_wherever_the_child_died() {
    for steps in (0..).step_by(3) {
        let lab = Lab::new().with_account_key("a.test");
        let (md, calls) = with_dns01(&lab);
        check::run(&lab.context(vec![md.clone()], Fuse::after(steps)), 0);
        let died =
            !Staging::new(&lab.store(Fuse::default()), "a.test").job().unwrap().is_some_and(|j| j.finished);
        run_to_the_end(&lab, &md);
        let calls = calls_of(&calls);
        for record in calls.iter().filter_map(|call| call.strip_prefix("setup ")) {
            assert!(calls.contains(&format!("teardown {record}")), "after {steps} steps: {calls:?}");
        }
        if !died {
            assert!(steps > 20, "only {steps} steps");
            return;
        }
    }
}

/// The records that a command has set up and not taken away, as the DNS has them.
fn records(calls: &std::path::Path) -> Vec<(String, String)> {
    let mut records: Vec<(String, String)> = Vec::new();
    for call in calls_of(calls) {
        let words: Vec<&str> = call.split(' ').collect();
        match words[..] {
            ["setup", name, value] => records.push((name.into(), value.into())),
            ["teardown", name, value] => records.retain(|known| *known != (name.into(), value.into())),
            ["teardown", name] => records.retain(|(known, _)| known != name),
            _ => panic!("{call}"),
        }
    }
    records
}

#[test]
fn domains_with_a_name_in_common_leave_each_other_their_records() {
    for version in [1, 2] {
        for first in ["a.test", "*.a.test"] {
            let second = if first == "a.test" { "*.a.test" } else { "a.test" };
            let mut lab = Lab::new().with_account_key(first).with_account_key(second);
            let (mut base, calls) = with_dns01(&lab);
            let seen = calls.clone();
            lab.ca.rules(|rules| {
                rules.validate = Arc::new(move |asked| {
                    let record = (asked.name.to_string(), dns01::value(asked.key_authorization));
                    let is_there = records(&seen).contains(&record);
                    if is_there { Ok(()) } else { Err(problem("dns", "no such record")) }
                });
            });
            let Some(Dns01 { way: mod_md::model::dns01::Way::Command(command), .. }) = &mut base.dns01 else {
                unreachable!()
            };
            command.version = version;
            let md = |name: &str| {
                let mut managed = base.clone();
                (managed.md.name, managed.md.domains) = (name.into(), vec![name.into()]);
                managed
            };
            // The CA is about to look for the records of the first when all of the second happens.
            run_until(&mut lab, Endpoint::Challenge, &md(first));
            assert_eq!(records(&calls).len(), 1);
            check::run(&lab.context(vec![md(second)], Fuse::default()), 0);
            let job = lab.job(second);
            assert!(job.finished && job.errors == 0, "{job:?}");
            check::run(&lab.context(vec![md(first)], Fuse::default()), 0);
            let job = lab.job(first);
            assert!(job.finished && job.errors == 0, "version {version}, {first} first: {job:?}");
            assert_eq!(records(&calls), [], "version {version}, {first} first");
            let left = lab.store(Fuse::default()).names(WorkGroup::Challenges).unwrap();
            assert_eq!(left, Vec::<String>::new());
        }
    }
}

#[test]
fn a_wildcard_leaves_the_answers_of_its_name_in_place() {
    let mut lab = Lab::new().with_account_key("a.test").with_account_key("*.a.test");
    let plain = lab.md(&["a.test"], &[ec()]);
    let mut wildcard = lab.md(&["*.a.test"], &[ec()]);
    wildcard.dns01 = Some(Dns01::by_command("/bin/true".into(), 1, Duration::from_secs(60)));
    run_until(&mut lab, Endpoint::Challenge, &plain);
    let store = lab.store(Fuse::default());
    let text = || store.read(WorkGroup::Challenges, "a.test", http01::FILE_NAME).unwrap();
    let before = text();
    assert!(before.is_some());
    lab.ca.rules(|rules| rules.validate = Arc::new(|_| Ok(())));
    check::run(&lab.context(vec![wildcard], Fuse::default()), 0);
    assert!(lab.job("*.a.test").finished, "{:?}", lab.job("*.a.test"));
    assert_eq!(text(), before);
    run_to_the_end(&lab, &plain);
    assert_eq!(store.names(WorkGroup::Challenges).unwrap(), Vec::<String>::new());
}

#[test]
fn a_command_that_fails_for_a_challenge_is_a_failure_to_set_it_up() {
    let mut lab = Lab::new().with_account_key("a.test");
    let line = "/bin/sh -c 'case \"$1\" in challenge-setup*) exit 7; esac' sh";
    lab.settings.commands.message = Some(line.into());
    let Next::At(next) = check::run(&lab.context(vec![lab.md(&["a.test"], &[ec()])], Fuse::default()), 0)
    else {
        panic!("no next try")
    };
    let last = lab.job("a.test").last;
    assert_eq!(last.problem.as_deref(), Some("challenge-setup-failure"));
    let detail = last.detail.unwrap();
    assert!(detail.contains("MDMessageCmd") && detail.contains("exit code 7"), "{detail}");
    assert_eq!(next.since(lab.clock.now()), Duration::from_secs(30));
    assert_eq!(lab.ca.count(Endpoint::Challenge), 0);
}

#[test]
fn a_command_that_takes_long_holds_up_no_other_domain() {
    let mut lab = Lab::new().with_account_key("a.test").with_account_key("b.test");
    lab.settings.parallel = 1;
    let done = lab.path.join("staging/b.test/pubcert.p-256.pem");
    let mut slow = lab.md(&["a.test"], &[ec()]);
    slow.md.ca.challenges = vec![dns01::TYPE.into()];
    let line = format!("/bin/sh -c 'while ! test -e {}; do sleep 0.05; done' sh", done.display());
    slow.dns01 = Some(Dns01::by_command(line, 1, Duration::from_secs(60)));
    lab.ca.rules(|rules| rules.validate = Arc::new(|_| Ok(())));
    let context = lab.context(vec![slow, lab.md(&["b.test"], &[ec()])], Fuse::default());
    let mut driver = Driver::new(Arc::new(context), lab.clock.stop.clone());
    let store = lab.store(Fuse::default());
    let is_finished = |name: &str| Staging::new(&store, name).job().unwrap().is_some_and(|job| job.finished);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !(is_finished("a.test") && is_finished("b.test")) {
        assert!(std::time::Instant::now() < deadline, "{:?}", lab.job("a.test"));
        driver.beat();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(lab.job("a.test").errors, 0);
    driver.stop();
}

#[test]
fn a_challenge_that_cannot_be_set_up_is_an_error_of_its_own_kind() {
    let lab = Lab::new().with_account_key("a.test");
    let (mut md, _) = with_dns01(&lab);
    let line = "/bin/sh -c 'exit 3'".into();
    md.dns01 = Some(Dns01::by_command(line, 1, Duration::from_secs(60)));
    let Next::At(next) = check::run(&lab.context(vec![md], Fuse::default()), 0) else {
        panic!("no next try")
    };
    let last = lab.job("a.test").last;
    assert_eq!(last.problem.as_deref(), Some("challenge-setup-failure"));
    let detail = last.detail.unwrap();
    assert!(detail.contains("MDChallengeDns01: '/bin/sh' failed with exit code 3"), "{detail}");
    assert_eq!(next.since(lab.clock.now()), Duration::from_secs(30), "the DNS may be back");
    assert_eq!(lab.ca.count(Endpoint::Challenge), 0);
}

/// Stops the process when the CA is asked for the n-th time.
struct Stopping {
    ca: Arc<FakeCa>,
    clock: Arc<VirtualClock>,
    left: AtomicUsize,
}

impl Transport for Stopping {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.clock.stop.raise();
        }
        if self.clock.is_stopped() {
            return Err(http::Error::Stopped);
        }
        self.ca.send(request)
    }
}

#[test]
fn a_job_stopped_at_any_request_is_no_failure_and_goes_on_with_its_order() {
    for requests in 1..14 {
        let mut lab = Lab::new().with_account_key("a.test");
        lab.ca.rules(|rules| rules.validation_polls = 2);
        let md = lab.md(&["a.test"], &[ec()]);
        let (ca, clock) = (lab.ca.clone(), lab.clock.clone());
        let context = lab.context_by(vec![md.clone()], Fuse::default(), move || {
            Arc::new(Stopping { ca: ca.clone(), clock: clock.clone(), left: AtomicUsize::new(requests) })
        });
        check::run(&context, 0);
        let stopped = lab.clock.is_stopped();
        assert_eq!(lab.job("a.test").errors, 0, "at request {requests}");
        // The next child has a clock that runs.
        lab.clock = Arc::new(VirtualClock::at(lab.clock.now()));
        run_to_the_end(&lab, &md);
        assert_eq!(lab.ca.account_count(), 1, "at request {requests}");
        assert_eq!(lab.ca.count(Endpoint::NewOrder), 1, "at request {requests}");
        assert!(stopped || requests > 8, "{requests}");
    }
}

#[test]
fn jobs_that_start_together_share_one_account() {
    let lab = Lab::new();
    let names: Vec<String> = (0..8).map(|i| format!("d{i}.test")).collect();
    let mds = names.iter().map(|name| lab.md(&[name], &[ec()])).collect();
    let context = lab.context(mds, Fuse::default());
    std::thread::scope(|scope| {
        for index in 0..names.len() {
            let context = &context;
            let clock = &lab.clock;
            // All wait by one clock, so that it runs faster for each, and one may be told to look again.
            scope.spawn(move || {
                for _ in 0..50 {
                    match check::run(context, index) {
                        Next::Never => return,
                        Next::At(at) => clock.advance(at.since(clock.now())),
                    }
                }
                panic!("{index} does not end");
            });
        }
    });
    assert!(names.iter().all(|name| lab.job(name).finished));
    assert_eq!(lab.ca.account_count(), 1);
    assert_eq!(lab.ca.count(Endpoint::Directory), 1);
}

#[test]
fn a_failed_validation_is_told_with_domain_next_try_and_words_of_the_ca() {
    let lab = Lab::new();
    lab.ca.rules(|rules| {
        rules.validate =
            Arc::new(|_| Err(problem("connection", "Timeout during connect (likely firewall problem)")));
    });
    let context = lab.context(vec![lab.md(&["a.test"], &[ec()])], Fuse::default());
    let Next::At(next) = check::run(&context, 0) else { panic!("no next try") };
    let job = lab.job("a.test");
    assert_eq!(job.errors, 1);
    assert_eq!(job.last.problem.as_deref(), Some("urn:ietf:params:acme:error:connection"));
    let detail = job.last.detail.clone().unwrap();
    assert!(detail.contains("likely firewall problem") && detail.contains("a.test"), "{detail}");
    assert_ne!(job.last.status, 0);
    assert_eq!(next.since(lab.clock.now()), Duration::from_secs(30));
    assert_eq!(job.next_run.unwrap().unix(), next.unix());
    assert_eq!(lab.store(Fuse::default()).names(WorkGroup::Challenges).unwrap(), Vec::<String>::new());
    // Before its time nothing is tried, also by another child.
    let before = lab.ca.seen().len();
    let again = check::run(&lab.context(vec![lab.md(&["a.test"], &[ec()])], Fuse::default()), 0);
    assert!(matches!(again, Next::At(at) if at.unix() == next.unix()));
    assert_eq!(lab.ca.seen().len(), before);
}

#[test]
fn errors_that_say_nothing_hide_none_that_does() {
    let lab = Lab::new().with_account_key("a.test");
    lab.ca.rules(|rules| {
        // Of three challenges one is tried; the others have an error too, an empty one.
        rules.quirks = vec![Quirk::EmptyErrors];
        rules.validate = Arc::new(|_| Err(problem("incorrectResponse", "it says 404")));
        rules.challenge_types = vec!["dns-01", "tls-alpn-01", "http-01"];
    });
    check::run(&lab.context(vec![lab.md(&["a.test"], &[ec()])], Fuse::default()), 0);
    let last = lab.job("a.test").last;
    assert_eq!(last.problem.as_deref(), Some("urn:ietf:params:acme:error:incorrectResponse"));
    assert!(last.detail.as_deref().is_some_and(|said| said.contains("it says 404")), "{last:?}");
}

#[test]
fn a_rate_limit_holds_the_job_back_as_long_as_the_ca_says() {
    let lab = Lab::new();
    let document = problem("rateLimited", "too many new orders recently");
    lab.ca.fault(Endpoint::NewOrder, Fault::Problem { status: 429, document, retry_after: Some("7200") });
    let context = lab.context(vec![lab.md(&["a.test"], &[ec()])], Fuse::default());
    let Next::At(next) = check::run(&context, 0) else { panic!("no next try") };
    assert!(next.since(lab.clock.now()) >= Duration::from_secs(7199), "{next:?}");
    lab.clock.advance(next.since(lab.clock.now()));
    assert_eq!(check::run(&context, 0), Next::Never);
    assert!(lab.job("a.test").finished);
}

#[test]
fn an_unreachable_ca_is_an_error_with_its_status_until_it_answers() {
    let lab = Lab::new();
    lab.ca.fault(Endpoint::Directory, Fault::Unreached(http::Error::Refused));
    let context = lab.context(vec![lab.md(&["a.test"], &[ec()])], Fuse::default());
    let Next::At(next) = check::run(&context, 0) else { panic!("no next try") };
    let job = lab.job("a.test");
    assert_eq!((job.last.status, job.errors), (111, 1));
    let detail = job.last.detail.unwrap();
    assert!(
        detail
            .starts_with("the CA cannot be reached at https://ca.test/dir: connection refused. What to do: ")
            && detail.contains("Unsuccessful in contacting ACME server at <https://ca.test/dir>. If this"),
        "{detail}"
    );
    lab.clock.advance(next.since(lab.clock.now()));
    assert_eq!(check::run(&context, 0), Next::Never);
}

#[test]
fn an_account_the_ca_has_forgotten_is_replaced() {
    let lab = Lab::new();
    let md = lab.md(&["a.test"], &[ec()]);
    check::run(&lab.context(vec![md.clone()], Fuse::default()), 0);
    let forgetful = FakeCa::new("ca.test", lab.clock.clone());
    let other = lab.md(&["b.test"], &[ec()]);
    let ca = forgetful.clone();
    let context = lab.context_by(vec![other, md], Fuse::default(), move || ca.clone());
    assert_eq!(check::run(&context, 0), Next::Never, "{:?}", lab.job("b.test").last);
    // To this CA any unknown account is a mistake of the client; here it is its own doing.
    assert_eq!(forgetful.take_violations().len(), 1);
    assert_eq!((lab.ca.account_count(), forgetful.account_count()), (1, 1));
}

#[test]
fn terms_that_are_not_agreed_to_are_a_clear_error() {
    let lab = Lab::new();
    let mut md = lab.md(&["a.test"], &[ec()]);
    md.md.ca.agreement = None;
    let Next::At(next) = check::run(&lab.context(vec![md], Fuse::default()), 0) else {
        panic!("no next try")
    };
    let detail = lab.job("a.test").last.detail.unwrap();
    assert!(
        detail.contains("https://ca.test/terms") && detail.contains("MDCertificateAgreement"),
        "{detail}"
    );
    assert!(next.since(lab.clock.now()) >= Duration::from_secs(43_200));
    assert!(detail.ends_with("a graceful restart of httpd has it tried at once."), "{detail}");
    assert_eq!(lab.ca.account_count(), 0);
}

#[test]
fn a_profile_the_ca_does_not_have_is_left_out_unless_it_is_mandatory() {
    for (profile, mandatory, asked) in
        [("short", false, Some("short")), ("short", true, Some("short")), ("other", false, None)]
    {
        let lab = Lab::new().with_account_key("a.test");
        lab.ca.rules(|rules| rules.profiles = vec!["short"]);
        let mut md = lab.md(&["a.test"], &[ec()]);
        (md.md.profile, md.md.profile_mandatory) = (Some(profile.into()), mandatory);
        check::run(&lab.context(vec![md], Fuse::default()), 0);
        let seen = lab.ca.seen();
        let order = seen.iter().find(|s| s.endpoint == Endpoint::NewOrder).unwrap();
        assert_eq!(order.payload.get("profile").and_then(|p| p.as_str()), asked, "{profile} {mandatory}");
        assert!(lab.job("a.test").finished);
    }
}

#[test]
fn nothing_is_ordered_of_a_ca_without_the_mandatory_profile() {
    for (profiles, offer) in [(vec!["short"], "(short)"), (Vec::new(), "(none)")] {
        let lab = Lab::new().with_account_key("a.test");
        lab.ca.rules(|rules| rules.profiles = profiles);
        let mut md = lab.md(&["a.test"], &[ec()]);
        (md.md.profile, md.md.profile_mandatory) = (Some("other".into()), true);
        let Next::At(next) = check::run(&lab.context(vec![md], Fuse::default()), 0) else {
            panic!("no next try")
        };
        assert!(next.since(lab.clock.now()) >= Duration::from_secs(43_200));
        assert_eq!(lab.ca.count(Endpoint::NewOrder), 0);
        let last = lab.job("a.test").last;
        assert_eq!(last.problem.as_deref(), Some("urn:ietf:params:acme:error:invalidProfile"));
        let detail = last.detail.unwrap();
        assert!(detail.contains("'other'") && detail.contains(offer), "{detail}");
    }
}

#[test]
fn the_set_is_finished_on_disk_before_any_command_hears_of_it() {
    let mut lab = Lab::new().with_account_key("a.test");
    let copy = lab.path.with_extension("copy");
    let job = lab.path.join("staging/a.test/job.json");
    // As a command that has httpd reload: the parent reads the job while the command still runs.
    lab.settings.commands.notify = Some(format!("/bin/sh -c 'cp {} {}' sh", job.display(), copy.display()));
    let md = lab.md(&["a.test"], &[ec()]);
    assert_eq!(check::run(&lab.context(vec![md], Fuse::default()), 0), Next::Never);
    let seen: serde_json::Value = serde_json::from_slice(&std::fs::read(copy).unwrap()).unwrap();
    assert_eq!(
        (&seen["finished"], &seen["notified"]),
        (&true.into(), &true.into()),
        "the call is noted, too"
    );
}

/// Stops the process once the chain is downloaded, when only the commands are left.
/// Stops the process when a request to this endpoint has been answered.
struct StoppingAt(Endpoint, Arc<FakeCa>, Arc<VirtualClock>);

impl Transport for StoppingAt {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        let response = self.1.send(request);
        if self.1.count(self.0) > 0 {
            self.2.stop.raise();
        }
        response
    }
}

/// Runs the renewal of this MD until the CA has been asked for this, as a child that is stopped then.
fn run_until(lab: &mut Lab, endpoint: Endpoint, md: &Managed) {
    let (ca, clock) = (lab.ca.clone(), lab.clock.clone());
    let context = lab.context_by(vec![md.clone()], Fuse::default(), move || {
        Arc::new(StoppingAt(endpoint, ca.clone(), clock.clone()))
    });
    check::run(&context, 0);
    assert!(lab.clock.is_stopped());
    lab.clock = Arc::new(VirtualClock::at(lab.clock.now()));
}

#[test]
fn a_command_ended_by_a_stop_is_no_failure_and_called_again() {
    let mut lab = Lab::new().with_account_key("a.test");
    let calls = lab.path.with_extension("calls");
    lab.settings.commands.notify = Some(format!("/bin/sh -c 'sleep 30; echo >> {}' sh", calls.display()));
    let md = lab.md(&["a.test"], &[ec()]);
    run_until(&mut lab, Endpoint::Certificate, &md);
    let job = lab.job("a.test");
    assert_eq!((job.finished, job.notified, job.errors), (true, false, 0));
    lab.settings.commands.notify = Some(format!("/bin/sh -c 'echo >> {}' sh", calls.display()));
    assert_eq!(check::run(&lab.context(vec![md], Fuse::default()), 0), Next::Never);
    assert!(lab.job("a.test").notified);
    assert_eq!(std::fs::read_to_string(calls).unwrap(), "\n");
}

/// As where the disk is full, or the folder is another user's.
#[test]
fn a_job_that_cannot_be_saved_is_gone_on_with_from_memory() {
    let mut lab = Lab::new();
    let calls = lab.path.with_extension("calls");
    lab.settings.commands.message = Some(format!("/bin/sh -c 'echo \"$1\" >> {}' sh", calls.display()));
    let counters: Arc<Vec<AtomicU64>> = Arc::new((0..SaveError::SIZE).map(|_| AtomicU64::new(0)).collect());
    let save_error = SaveError::new(counters, 0);
    let md = Managed { save_error: save_error.clone(), ..lab.md(&["a.test"], &[ec()]) };
    StartStore::open(&lab.path, None).unwrap();
    let fuse = Fuse::after(0);
    let context = lab.context(vec![md], fuse.clone());
    let mut pauses = Vec::new();
    for count in 1..=4 {
        let begin = lab.clock.now();
        let Next::At(look) = check::run(&context, 0) else { panic!("no next look") };
        assert_eq!(look, begin.plus(Duration::from_secs(30)), "it is soon looked whether it can be saved");
        assert_eq!(save_error.loss().map(|loss| loss.errors), Some(count));
        // Looks before its time are no tries.
        while save_error.loss().is_some_and(|loss| loss.errors == count) {
            lab.clock.advance(Duration::from_secs(10));
            if lab.clock.now().since(begin) >= Duration::from_secs(30 << (count - 1)) {
                break;
            }
            check::run(&context, 0);
        }
        assert_eq!(save_error.loss().map(|loss| loss.errors), Some(count), "no try before the pause is over");
        pauses.push(lab.clock.now().since(begin).as_secs());
    }
    assert_eq!(pauses, [30, 60, 120, 240]);
    assert_eq!(calls_of(&calls), ["renewing", "errored"], "once an hour");
    assert_eq!(lab.ca.count(Endpoint::NewOrder), 0);
    fuse.mend();
    check::run(&context, 0);
    assert_eq!(save_error.loss(), None);
    let job = lab.job("a.test");
    assert!(job.finished, "{:?}", job.last);
    assert!(job.log.iter().any(|entry| entry.kind == "message-errored"), "{:?}", job.log);
}

/// The child that has called it is about to end, and may still note that it failed.
#[test]
fn the_outcome_of_a_call_by_another_child_is_waited_for_briefly() {
    for has_failed in [true, false] {
        let mut lab = Lab::new();
        let calls = lab.path.with_extension("calls");
        lab.settings.commands.notify = Some(format!("/bin/sh -c 'echo >> {}' sh", calls.display()));
        let mut md = lab.md(&["a.test"], &[ec()]);
        md.in_use = false;
        let save = |notified, is_called: bool| {
            let mut job = Job::new("a.test");
            job.pending_notice =
                Some(PendingNotice { notified, notified_renewed: true, ..PendingNotice::default() });
            job.calling = is_called;
            Staging::new(&lab.store(Fuse::default()), "a.test").save_job(&job).unwrap();
        };
        save(true, true);
        let context = lab.context(vec![md], Fuse::default());
        let moment = lab.clock.now().plus(Duration::from_secs(1));
        assert_eq!(check::run(&context, 0), Next::At(moment));
        if has_failed {
            save(false, false);
        }
        check::run(&context, 0);
        assert_eq!(calls.exists(), has_failed);
        assert_eq!(lab.job("a.test").pending_notice, None);
    }
}

#[test]
fn a_finished_job_without_its_set_is_begun_anew() {
    let lab = Lab::new().with_account_key("a.test");
    let staged = lab.store(Fuse::default());
    Staging::new(&staged, "a.test").save_job(&Job { finished: true, ..Job::new("a.test") }).unwrap();
    assert_eq!(check::run(&lab.context(vec![lab.md(&["a.test"], &[ec()])], Fuse::default()), 0), Next::Never);
    assert!(Staging::new(&staged, "a.test").chain(&ec()).unwrap().is_some());
}

#[test]
fn the_account_of_one_ca_never_stands_beside_the_key_for_another() {
    let lab = Lab::new().with_account_key("a.test");
    let md = lab.md(&["a.test"], &[ec()]);
    lab.ca.fault(
        Endpoint::NewOrder,
        Fault::Problem { status: 500, document: problem("serverInternal", "x"), retry_after: None },
    );
    let context = lab.context(vec![md.clone()], Fuse::default());
    let Next::At(next) = check::run(&context, 0) else { panic!("no next try") };
    lab.clock.advance(next.since(lab.clock.now()));
    let second = FakeCa::new("second.test", lab.clock.clone());
    second.rules(|rules| rules.eab_required = true);
    let mut moved = md;
    moved.md.ca.urls = vec![second.directory_url()];
    let ca = second.clone();
    check::run(&lab.context_by(vec![moved], Fuse::default(), move || ca.clone()), 0);
    let store = lab.store(Fuse::default());
    let staging = Staging::new(&store, "a.test");
    let (account, first) = staging.account(0).unwrap();
    assert_eq!(account.unwrap()["ca-url"], lab.ca.directory_url(), "it stays for others");
    let (account, other) = staging.account(1).unwrap();
    assert!(account.is_none());
    assert_ne!(first.unwrap().to_pem().unwrap(), other.unwrap().to_pem().unwrap());
    second.take_violations();
}

struct Panicking;

impl Transport for Panicking {
    fn send(&self, _: &Request<'_>) -> Result<Response, http::Error> {
        panic!("a bug")
    }
}

#[test]
fn a_panic_in_a_job_is_an_error_of_that_job() {
    let lab = Lab::new();
    let context = lab.context_by(vec![lab.md(&["a.test"], &[ec()])], Fuse::default(), || Arc::new(Panicking));
    let mut driver = Driver::new(Arc::new(context), lab.clock.stop.clone());
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let store = lab.store(Fuse::default());
    while Staging::new(&store, "a.test").job().unwrap().is_none_or(|job| job.errors == 0) {
        assert!(std::time::Instant::now() < deadline, "the panic is not recorded");
        driver.beat();
        std::thread::yield_now();
    }
    let job = lab.job("a.test");
    assert!(job.last.detail.unwrap().contains("internal error"));
    assert!(job.next_run.is_some());
    driver.stop();
}

#[test]
fn a_domain_is_checked_after_the_interval_or_when_due_if_earlier() {
    let lab = Lab::new();
    let (now, day) = (lab.clock.now(), Duration::from_secs(86_400));
    let mut md = lab.md(&["a.test"], &[ec()]);
    let mut next = |not_after| {
        let dns_names = vec!["a.test".into()];
        let info = CertInfo { dns_names, not_before: now.minus(day), not_after, ..CertInfo::default() };
        md.certs = vec![(ec(), Some(info))].into();
        check::run(&lab.context(vec![md.clone()], Fuse::default()), 0)
    };
    // The context's random number is 0.5: no jitter.
    assert_eq!(next(now.plus(day * 89)), Next::At(now.plus(day / 2)));
    // 33 % of two days before its end, which is earlier.
    let end = now.plus(day);
    assert_eq!(next(end), Next::At(end.minus(day * 2 * 33 / 100)));
}

#[test]
fn nothing_is_renewed_before_the_initial_delay_is_over() {
    let delay = Duration::from_secs(60);
    let mut lab = Lab::new();
    lab.settings.initial_delay = delay;
    let driver = |stop: StopFlag| {
        let context = lab.context(vec![lab.md(&["a.test"], &[ec()])], Fuse::default());
        Driver::new(Arc::new(context), stop)
    };
    let store = lab.store(Fuse::default());
    let mut early = driver(StopFlag::default());
    lab.clock.advance(delay - Duration::from_secs(1));
    early.beat();
    // Waits for whatever runs.
    early.stop();
    assert!(Staging::new(&store, "a.test").job().unwrap().is_none(), "it was begun");

    let mut driver = driver(lab.clock.stop.clone());
    lab.clock.advance(delay);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while Staging::new(&store, "a.test").job().unwrap_or_default().is_none() {
        assert!(std::time::Instant::now() < deadline, "the job does not begin");
        driver.beat();
        std::thread::yield_now();
    }
    driver.stop();
}
