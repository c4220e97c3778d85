// SPDX-License-Identifier: Apache-2.0
//! Renewals of several nodes that share what they have: the real renewal with a store for each node, one CA in
//! memory, and a fleet in memory. Time is virtual.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use doubles::fake_ca::{Endpoint, FakeCa, Fault, problem};
use doubles::{Fleet, Host};
use mod_md::acme::{Server, Session};
use mod_md::challenge::answers::Folder;
use mod_md::challenge::{dns01, http01};
use mod_md::crypto::PrivateKey;
use mod_md::http::{self, Request, Response, Transport};
use mod_md::managed::Managed;
use mod_md::managed::peers::{Peers, SharedAccount};
use mod_md::managed::published;
use mod_md::managed::staging::Staging;
use mod_md::model::dns01::{Command, Propagation, Way};
use mod_md::model::{Dns01, HeldBy, Job, KeySpec, Renew, Requested};
use mod_md::notify::Commands;
use mod_md::renew::attempt::context::Context;
use mod_md::renew::worker::check;
use mod_md::renew::worker::next::Next;
use mod_md::startup::accounts::Accounts;
use mod_md::store::{ACCOUNT_KEY, Group, NEXT_ACCOUNT_KEY, WorkGroup};
use mod_md::time::{Clock, Timestamp};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const NAME: &str = "a.test";
const HOUR: Duration = Duration::from_secs(3600);

fn ec() -> KeySpec {
    KeySpec::Ec("P-256".into())
}

/// A node: its machine, and its child.
struct One {
    host: Host,
    managed: Managed,
    context: Context,
    due: Option<Timestamp>,
}

struct Lab {
    fleet: Arc<Fleet>,
    ca: Arc<FakeCa>,
    nodes: Vec<One>,
    /// The node that the CA reaches.
    reached: Arc<AtomicUsize>,
    /// Of those that are due together another one is first each time.
    looks: usize,
}

impl Lab {
    fn new(nodes: usize) -> Lab {
        Lab::of(&vec![&[NAME][..]; nodes], &[ec()])
    }

    /// With these names of the MD on each node.
    fn of(names: &[&[&str]], keys: &[KeySpec]) -> Lab {
        let mut hosts: Vec<Host> = names.iter().map(|_| Host::new()).collect();
        let (clock, ca) = (hosts[0].clock.clone(), hosts[0].ca.clone());
        let fleet = Fleet::new(clock.clone());
        for host in &mut hosts {
            (host.clock, host.ca) = (clock.clone(), ca.clone());
            host.leave_account_key(NAME, &ec());
        }
        let reached = Arc::new(AtomicUsize::new(0));
        let (paths, at) = (hosts.iter().map(|host| host.path.clone()).collect::<Vec<_>>(), reached.clone());
        ca.rules(|rules| {
            rules.validate = Arc::new(move |asked| {
                let path = &paths[at.load(Ordering::SeqCst)];
                let file = path.join("challenges").join(asked.name).join(http01::FILE_NAME);
                match std::fs::read_to_string(file) {
                    Ok(content) if content == asked.key_authorization => Ok(()),
                    other => Err(problem("connection", &format!("{other:?}"))),
                }
            });
        });
        let mut lab = Lab { fleet, ca, nodes: Vec::new(), reached, looks: 0 };
        for (host, names) in hosts.into_iter().zip(names) {
            let managed = Managed {
                md: mod_md::model::Md { name: NAME.into(), ..host.managed(names, keys).md },
                ..host.managed(names, keys)
            };
            lab.fleet.join(host.work(), std::slice::from_ref(&managed));
            let due = Some(host.clock.now());
            let context = host.context(&[]);
            lab.nodes.push(One { host, managed, context, due });
        }
        (0..lab.nodes.len()).for_each(|node| lab.start(node));
        lab
    }

    /// A new child of this node.
    fn start(&mut self, node: usize) {
        let ca = self.ca.clone();
        self.start_by(node, move || ca.clone());
    }

    fn start_by<T: Transport + 'static>(
        &mut self,
        node: usize,
        way: impl Fn() -> Arc<T> + Send + Sync + 'static,
    ) {
        let one = &mut self.nodes[node];
        let context =
            one.host.context_by(std::slice::from_ref(&one.managed), one.host.work(), move || Ok(way()));
        one.context = context.with_peers(self.fleet.node(node));
        one.due = Some(one.host.clock.now());
    }

    /// How often a renewal asks whether its turn is in force.
    fn calls() -> usize {
        let mut lab = Lab::new(1);
        lab.look(0);
        lab.fleet.counted()
    }

    fn now(&self) -> Timestamp {
        self.nodes[0].host.clock.now()
    }

    /// One look of this node.
    fn look(&mut self, node: usize) -> Next {
        let one = &mut self.nodes[node];
        let next = check::run(&one.context, 0);
        one.due = match next {
            Next::At(at) => Some(at),
            Next::Never => None,
        };
        next
    }

    /// Has nodes look that others have something new for.
    fn take_news(&mut self, but: &[usize]) {
        for node in (0..self.nodes.len()).filter(|node| !but.contains(node)) {
            for _ in self.fleet.take_news(node) {
                self.nodes[node].due = Some(self.now());
            }
        }
    }

    /// Runs all nodes but these until then, or until none has anything to do.
    fn run(&mut self, until: Timestamp, but: &[usize]) {
        loop {
            self.take_news(but);
            let count = self.nodes.len();
            let due = |node: usize| {
                self.nodes[node].due.map(|due| (due.ceil(), (node + self.looks / count) % count, node))
            };
            let next = (0..count).filter(|node| !but.contains(node)).filter_map(due).min();
            let Some((at, _, node)) = next.filter(|(at, ..)| *at <= until) else { return };
            self.nodes[0].host.clock.advance(at.since(self.now()));
            self.looks += 1;
            self.look(node);
        }
    }

    fn run_for(&mut self, time: Duration) {
        self.run(self.now().plus(time), &[]);
    }

    fn job(&self, node: usize) -> Job {
        self.nodes[node].host.job(NAME).unwrap_or_default()
    }

    fn orders(&self) -> usize {
        self.ca.count(Endpoint::NewOrder)
    }

    /// The fingerprints of the certificates that a node has in staging, with their names.
    fn staged(&self, node: usize) -> Vec<(String, Vec<String>)> {
        let certs = published::staged_certs(&self.nodes[node].host.work(), NAME).unwrap_or_default();
        certs.into_iter().map(|(_, cert)| (cert.fingerprint, cert.dns_names)).collect()
    }

    /// All nodes but these have the same complete set, of these names.
    #[track_caller]
    fn assert_all_have(&self, names: &[&str], but: &[usize]) {
        let nodes: Vec<usize> = (0..self.nodes.len()).filter(|node| !but.contains(node)).collect();
        let first = self.staged(nodes[0]);
        assert!(!first.is_empty() && first.iter().all(|(_, found)| found == names), "{first:?}");
        for node in nodes {
            assert_eq!(self.staged(node), first, "node {node}");
            assert!(self.job(node).finished, "node {node}: {:?}", self.job(node));
        }
    }
}

#[test]
fn nodes_that_start_together_place_one_order_with_one_account() {
    let mut lab = Lab::new(3);
    // The CA reaches one that does not renew.
    lab.reached.store(2, Ordering::SeqCst);
    lab.run_for(HOUR);
    lab.assert_all_have(&[NAME], &[]);
    assert_eq!((lab.orders(), lab.ca.count(Endpoint::NewAccount), lab.fleet.account_count()), (1, 1, 1));
    assert_eq!(lab.fleet.answers(), []);
    assert!(lab.fleet.job(NAME).is_none());
    for one in &lab.nodes {
        let challenges = one.host.store.files(Group::Challenges, NAME).unwrap();
        assert_eq!(challenges, Vec::<String>::new());
    }
}

#[test]
fn who_waits_for_another_node_says_so_once_and_begins_no_renewal() {
    let mut lab = Lab::new(2);
    lab.ca.rules(|rules| rules.validation_time = HOUR);
    lab.look(0);
    for _ in 0..3 {
        let Next::At(at) = lab.look(1) else { panic!("it looks again") };
        assert!(at.since(lab.now()) <= Duration::from_secs(6));
        lab.nodes[0].host.clock.advance(at.since(lab.now()));
    }
    let job = lab.job(1);
    let held = job.held_back.unwrap();
    assert_eq!((held.by, held.reason.as_str()), (HeldBy::Fleet(Some("0".into())), "node 0 renews"));
    assert_eq!((job.errors, job.last_run, job.log.len()), (0, None, 1), "{:?}", job.log);
}

/// Lets a process die at the n-th request to the CA, which does not arrive.
struct Dying {
    ca: Arc<FakeCa>,
    left: AtomicUsize,
}

impl Transport for Dying {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        assert!(self.left.fetch_sub(1, Ordering::SeqCst) != 1, "the process dies here");
        self.ca.send(request)
    }
}

#[test]
fn where_the_renewing_node_dies_another_one_finishes_its_order() {
    for keys in [vec![ec()], vec![ec(), KeySpec::Ec("P-384".into())]] {
        let mut has_lived = false;
        for requests in 1..40 {
            let mut lab = Lab::of(&[&[NAME], &[NAME], &[NAME]], &keys);
            lab.ca.rules(|rules| {
                (rules.conflicts, rules.validation_polls, rules.issuance_polls) = (true, 2, 2)
            });
            lab.reached.store(1, Ordering::SeqCst);
            let ca = lab.ca.clone();
            let dying = Arc::new(Dying { ca, left: AtomicUsize::new(requests) });
            lab.start_by(0, move || dying.clone());
            let died = catch_unwind(AssertUnwindSafe(|| lab.look(0))).is_err();
            lab.fleet.expire(0);
            let until = lab.now().plus(HOUR);
            lab.run(until, &[0]);
            lab.assert_all_have(&[NAME], &[0]);
            assert_eq!(lab.orders(), keys.len(), "{requests} of {keys:?}");
            assert!(lab.ca.account_count() <= 2, "{requests}");
            // What it had got is dropped, once it is back.
            lab.start(0);
            lab.run_for(HOUR);
            lab.assert_all_have(&[NAME], &[]);
            assert_eq!(lab.orders(), keys.len(), "{requests} of {keys:?}");
            has_lived = !died;
            if has_lived {
                break;
            }
        }
        assert!(has_lived);
    }
}

/// The machine sleeps at the n-th request to the CA, and finds it failed when it wakes up.
struct Asleep {
    ca: Arc<FakeCa>,
    fleet: Arc<Fleet>,
    at: usize,
    sent: AtomicUsize,
}

impl Transport for Asleep {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        if self.sent.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            self.fleet.expire(0);
            return Err(http::Error::Timeout);
        }
        self.ca.send(request)
    }
}

#[test]
fn an_attempt_that_fails_after_the_lease_has_ended_is_no_failure() {
    for requests in 1..40 {
        let mut lab = Lab::new(2);
        let (ca, fleet) = (lab.ca.clone(), lab.fleet.clone());
        let asleep = Arc::new(Asleep { ca, fleet, at: requests, sent: AtomicUsize::new(0) });
        let transport = asleep.clone();
        lab.start_by(0, move || transport.clone());
        lab.look(0);
        if asleep.sent.load(Ordering::SeqCst) < requests {
            assert!(requests > 8, "{requests}");
            return;
        }
        let job = lab.job(0);
        assert_eq!(job.errors, 0, "request {requests}");
        let text = job.log.first().and_then(|entry| entry.detail.clone()).unwrap_or_default();
        assert!(text.contains("stops renewing") && text.contains("lease has ended"), "{requests}: {text}");
    }
    panic!("the renewal never ends");
}

/// The requests that a CA counts.
fn counted(lab: &Lab) -> usize {
    use Endpoint::{Challenge, Finalize, NewAccount, NewOrder};
    [NewAccount, NewOrder, Challenge, Finalize].into_iter().map(|endpoint| lab.ca.count(endpoint)).sum()
}

/// Has all nodes answer by TXT records that a command sets up, in a DNS that is this file.
fn answer_by_command(lab: &mut Lab, dir: &std::path::Path) -> std::path::PathBuf {
    let (dns, script) = (dir.join("dns"), dir.join("command"));
    let text = format!(
        "#!/bin/sh\ncase $1 in\nsetup) echo \"$2 $3\" >> {0};;\nteardown) grep -vxF \"$2 $3\" {0} > {0}.new; mv {0}.new {0};;\n\
         esac\n",
        dns.display()
    );
    std::fs::write(&dns, "").unwrap();
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    for node in 0..lab.nodes.len() {
        let managed = &mut lab.nodes[node].managed;
        managed.md.ca.challenges = vec![dns01::TYPE.into()];
        let way = Way::Command(Command { line: script.display().to_string(), version: 2 });
        let limit = Duration::from_secs(60);
        managed.dns01 = Some(Dns01 { way, limit, propagation: Propagation::default() });
        lab.start(node);
    }
    let asked = dns.clone();
    lab.ca.rules(|rules| {
        rules.validate = Arc::new(move |wanted| {
            let line = format!("{} {}", wanted.name, dns01::value(wanted.key_authorization));
            let content = std::fs::read_to_string(&asked).unwrap();
            match content.lines().any(|found| found == line) {
                true => Ok(()),
                false => Err(problem("dns", &content)),
            }
        });
    });
    dns
}

#[test]
fn records_that_a_dead_node_has_set_up_are_removed_by_the_one_that_takes_over() {
    let mut has_lived = false;
    for requests in 1..40 {
        let dir = tempfile::tempdir().unwrap();
        let mut lab = Lab::of(&[&[NAME], &[NAME]], &[ec()]);
        let dns = answer_by_command(&mut lab, dir.path());
        lab.ca.rules(|rules| (rules.validation_polls, rules.issuance_polls) = (2, 2));
        let dying = Arc::new(Dying { ca: lab.ca.clone(), left: AtomicUsize::new(requests) });
        lab.start_by(0, move || dying.clone());
        has_lived = catch_unwind(AssertUnwindSafe(|| lab.look(0))).is_ok();
        lab.fleet.expire(0);
        let until = lab.now().plus(HOUR);
        lab.run(until, &[0]);
        lab.assert_all_have(&[NAME], &[0]);
        assert_eq!(std::fs::read_to_string(&dns).unwrap(), "", "after {requests} requests");
        if has_lived {
            break;
        }
    }
    assert!(has_lived);
}

#[test]
fn who_loses_the_turn_asks_nothing_more_that_counts_and_has_not_failed() {
    let mut whole = Lab::new(2);
    whole.look(0);
    assert_eq!((counted(&whole), whole.fleet.granted()), (4, 4), "each was allowed by itself");
    for call in 1..=Lab::calls() {
        let mut lab = Lab::new(2);
        lab.fleet.lose_at(call);
        lab.look(0);
        assert_eq!(counted(&lab), lab.fleet.granted(), "call {call}");
        let (job, orders) = (lab.job(0), lab.orders());
        assert_eq!((job.errors, job.finished), (0, false), "call {call}");
        let text = job.log.first().and_then(|entry| entry.detail.clone()).unwrap_or_default();
        assert!(text.contains("stays in staging, unserved"), "call {call}: {text}");
        // An order that could not be saved is unknown to the other one.
        let is_known = lab.fleet.job(NAME).is_some_and(|job| job.order.is_some());
        let until = lab.now().plus(HOUR);
        lab.run(until, &[0]);
        assert_eq!(lab.orders(), if is_known { 1 } else { orders + 1 }, "call {call}");
        lab.run_for(HOUR);
        lab.assert_all_have(&[NAME], &[]);
        assert_eq!(lab.orders(), if is_known { 1 } else { orders + 1 }, "call {call}");
    }
}

#[test]
fn who_loses_the_turn_leaves_the_answers_of_the_node_that_has_it_now() {
    // The last one publishes: the order is finished.
    for call in 1..Lab::calls() {
        let mut lab = Lab::new(2);
        lab.fleet.lose_at(call);
        let store = lab.nodes[0].host.work();
        let folder = Folder { store: &store, group: WorkGroup::Challenges, name: NAME };
        folder.put_http(NAME, "token.of-the-other").unwrap();
        lab.look(0);
        assert!(folder.read(http01::NOTE).to_token("token").is_some(), "call {call}");
    }
}

#[test]
fn a_set_whose_publication_was_lost_is_published_again_or_dropped() {
    for is_taken in [false, true] {
        let mut lab = Lab::new(2);
        lab.fleet.lose_at(Lab::calls());
        lab.look(0);
        assert!(!lab.job(0).finished && lab.fleet.set(NAME).is_none());
        let complete = lab.staged(0);
        assert_eq!(complete.len(), 1, "it stays in staging");
        if is_taken {
            let until = lab.now().plus(HOUR);
            lab.run(until, &[0]);
            let found = lab.fleet.set(NAME).unwrap();
            assert_eq!(found.certs.len(), 1);
        }
        lab.run_for(HOUR);
        lab.assert_all_have(&[NAME], &[]);
        assert_eq!(lab.orders(), 1, "the other one finishes the same order");
    }
}

#[test]
fn a_complete_set_that_the_fleet_knows_nothing_of_is_not_published() {
    let mut lab = Lab::new(2);
    lab.fleet.lose_at(Lab::calls());
    lab.look(0);
    let before = lab.staged(0);
    lab.fleet.forget_job(NAME);
    lab.run_for(HOUR);
    lab.assert_all_have(&[NAME], &[]);
    assert_ne!(lab.staged(0), before);
    assert_eq!(lab.orders(), 2);
}

#[test]
fn three_nodes_try_a_failing_ca_as_often_as_one() {
    let tries = |nodes: usize, is_validation: bool| {
        let mut lab = Lab::new(nodes);
        lab.ca.rules(|rules| {
            if is_validation {
                rules.validate = Arc::new(|_| Err(problem("connection", "nobody is there")));
            }
        });
        if !is_validation {
            for _ in 0..200 {
                let document = problem("serverInternal", "not today");
                lab.ca.fault(Endpoint::NewOrder, Fault::Problem { status: 500, document, retry_after: None });
            }
        }
        lab.run_for(HOUR * 24);
        lab.orders()
    };
    for is_validation in [false, true] {
        let one = tries(1, is_validation);
        assert!(one > 8, "{one}");
        assert_eq!(tries(3, is_validation), one, "{is_validation}");
    }
}

#[test]
fn an_operator_does_not_wait_for_the_next_try_of_the_fleet() {
    let mut lab = Lab::new(2);
    let document = problem("serverInternal", "not now");
    lab.ca.fault(Endpoint::NewOrder, Fault::Problem { status: 500, document, retry_after: None });
    lab.look(0);
    assert_eq!(lab.fleet.job(NAME).unwrap().errors, 1);
    lab.look(1);
    assert_eq!(lab.orders(), 1);
    ask(&lab, 1);
    lab.look(1);
    assert_eq!(lab.orders(), 2);
    assert!(lab.fleet.needs().last().unwrap().is_asked);
}

/// An operator asks for a renewal by this node.
fn ask(lab: &Lab, node: usize) {
    ask_for(lab, node, Renew::default());
}

fn ask_for(lab: &Lab, node: usize, renew: Renew) {
    let one = &lab.nodes[node];
    let now = lab.now();
    one.managed
        .requests
        .write(&one.host.work(), NAME, |_| {
            Some(Requested {
                renew: Some(renew),
                accepted: Some(now),
                ..Requested::begin(None, "1", mod_md::model::RequestState::Accepted, None, now)
            })
        })
        .unwrap();
}

#[test]
fn the_names_of_all_nodes_are_in_one_certificate() {
    let mut lab = Lab::of(&[&[NAME, "b.test"], &[NAME], &[NAME, "c.test"]], &[ec()]);
    lab.reached.store(1, Ordering::SeqCst);
    lab.run_for(HOUR);
    lab.assert_all_have(&[NAME, "b.test", "c.test"], &[]);
    assert_eq!(lab.orders(), 1);
    for node in 0..3 {
        let md = Staging::new(&lab.nodes[node].host.work(), NAME).md().unwrap().unwrap();
        assert_eq!(md.domains, [NAME, "b.test", "c.test"], "node {node}");
    }
}

#[test]
fn an_order_goes_on_with_its_names_when_the_node_that_wanted_them_leaves() {
    let mut lab = Lab::of(&[&[NAME], &[NAME, "b.test"]], &[ec()]);
    lab.ca.rules(|rules| rules.validation_time = HOUR);
    lab.look(0);
    lab.fleet.expire(1);
    let until = lab.now().plus(HOUR * 3);
    lab.run(until, &[1]);
    lab.assert_all_have(&[NAME, "b.test"], &[1]);
    assert_eq!(lab.orders(), 1);
}

#[test]
fn a_name_that_only_another_node_can_prove_keeps_none_from_its_certificate() {
    // A wildcard needs a way to set TXT records, which no node has here.
    let mut lab = Lab::of(&[&[NAME], &[NAME, "*.b.test"]], &[ec()]);
    lab.look(0);
    assert_eq!(lab.staged(0).len(), 1, "{:?}", lab.job(0));
    assert_eq!(lab.staged(0)[0].1, [NAME]);
}

#[test]
fn what_a_ca_asks_one_node_to_wait_for_all_wait_for() {
    let mut lab = Lab::new(3);
    let document = problem("rateLimited", "too many requests");
    lab.ca.fault(Endpoint::NewOrder, Fault::Problem { status: 429, document, retry_after: Some("7200") });
    let begin = lab.now();
    lab.look(0);
    // The fleet has lost its data, not what the nodes know.
    lab.fleet.forget_job(NAME);
    let until = begin.plus(HOUR * 2).minus(Duration::from_secs(5));
    lab.run(until, &[]);
    assert_eq!(lab.orders(), 1);
    lab.run(begin.plus(HOUR * 3), &[]);
    assert_eq!(lab.orders(), 2);
    lab.assert_all_have(&[NAME], &[]);
}

#[test]
fn nothing_is_renewed_before_the_fleet_is_known_but_a_complete_set_goes_its_way() {
    let mut lab = Lab::new(2);
    lab.fleet.is_unready(true);
    assert_eq!(lab.look(0), Next::At(lab.now().plus(Duration::from_secs(1))));
    assert!(lab.ca.seen().is_empty());
    lab.fleet.is_unready(false);
    lab.look(0);
    assert!(lab.job(0).finished);
    lab.fleet.is_unready(true);
    assert_eq!(lab.look(1), Next::Never);
    assert!(lab.job(1).finished);
    assert_eq!(lab.orders(), 1);
}

#[test]
fn a_solo_renewal_is_one_like_any_other() {
    let mut lab = Lab::new(2);
    lab.fleet.is_away(true);
    lab.look(0);
    assert!(lab.job(0).finished && lab.fleet.set(NAME).is_none() && lab.fleet.account_count() == 0);
    assert_eq!(lab.orders(), 1);
    // Back again: the account of this store becomes that of all.
    lab.fleet.is_away(false);
    lab.look(1);
    assert_eq!(lab.fleet.account_count(), 1);
}

#[test]
fn renewed_is_told_by_the_renewing_node_alone() {
    let mut lab = Lab::new(2);
    for node in 0..2 {
        let file = lab.nodes[node].host.path.with_extension("events");
        let message = format!("/bin/sh -c 'echo $1 >> {}' sh", file.display());
        lab.nodes[node].host.settings.commands = Commands { message: Some(message), ..Commands::default() };
        lab.start(node);
    }
    lab.run_for(HOUR);
    lab.assert_all_have(&[NAME], &[]);
    let events = |node: usize| {
        std::fs::read_to_string(lab.nodes[node].host.path.with_extension("events")).unwrap_or_default()
    };
    assert!(events(0).contains("renewed") && events(0).contains("renewing"), "{}", events(0));
    assert_eq!(events(1), "");
}

#[test]
fn a_set_that_comes_during_a_look_is_taken_and_none_is_ordered() {
    let mut other = Lab::new(1);
    other.look(0);
    let mut lab = Lab::new(1);
    let (fleet, set) = (lab.fleet.clone(), other.fleet.set(NAME).unwrap());
    lab.fleet.on_begin(0, move || fleet.publish(NAME, set));
    lab.look(0);
    assert!(!lab.job(0).finished);
    lab.look(0);
    assert!(lab.job(0).finished && lab.job(0).held_back.is_none(), "{:?}", lab.job(0));
    assert_eq!((lab.orders(), lab.staged(0)), (0, other.staged(0)));
}

#[test]
fn one_node_asks_the_ca_for_its_advice_and_shares_it() {
    let mut lab = Lab::new(2);
    lab.run_for(HOUR);
    let at = Timestamp::from_unix(lab.now().unix()).plus(HOUR * 24 * 50).to_rfc3339();
    let window = serde_json::json!({"suggestedWindow": {"start": at, "end": at}});
    lab.ca.rules(|rules| rules.renewal_info = Some(window));
    for node in 0..2 {
        // As after a restart.
        let cert = published::staged_certs(&lab.nodes[node].host.work(), NAME).unwrap().remove(0);
        let certs = vec![(cert.0, Some(cert.1))];
        lab.nodes[node].managed.certs = certs.into();
        let staging = Staging::new(&lab.nodes[node].host.work(), NAME).reset();
        staging.unwrap();
        std::fs::remove_file(lab.nodes[node].host.path.join("staging").join(NAME).join("job.json")).unwrap();
        lab.start(node);
    }
    lab.look(1);
    assert_eq!((lab.ca.count(Endpoint::RenewalInfo), lab.fleet.renew_at(NAME)), (0, None));
    lab.look(0);
    assert_eq!(lab.ca.count(Endpoint::RenewalInfo), 1);
    assert_eq!(lab.fleet.renew_at(NAME).map(Timestamp::to_rfc3339), Some(at));
}

/// The account of this store in `accounts/`, as a start puts it there; its folder, and the key.
fn adopt(host: &Host) -> (String, PrivateKey) {
    let mut accounts = Accounts::read(&host.store).unwrap();
    accounts.adopt(&host.store, NAME, &|_, _| true).unwrap();
    let folder = host.store.names(Group::Accounts).unwrap().pop().unwrap();
    let key = host.store.read_key(Group::Accounts, &folder, ACCOUNT_KEY).unwrap().unwrap();
    (folder, key)
}

#[test]
fn a_key_that_waits_at_one_node_becomes_that_of_all() {
    let renew =
        |lab: &Lab, node| ask_for(lab, node, Renew { new_key: true, force: true, ..Renew::default() });
    for is_published in [true, false] {
        let mut lab = Lab::new(2);
        lab.run_for(HOUR);
        lab.assert_all_have(&[NAME], &[]);
        // Both have the account at work.
        renew(&lab, 1);
        lab.reached.store(1, Ordering::SeqCst);
        lab.look(1);
        assert_eq!((lab.orders(), lab.job(1).errors), (2, 0), "{:?}", lab.job(1));
        let next = PrivateKey::generate(&ec()).unwrap();
        let (folder, old) = adopt(&lab.nodes[0].host);
        let (theirs, former) = adopt(&lab.nodes[1].host);
        assert!(former.is_same(&old));
        // One that waits there as well is outrun.
        let outrun = PrivateKey::generate(&ec()).unwrap();
        lab.nodes[1].host.store.write_key(Group::Accounts, &theirs, NEXT_ACCOUNT_KEY, &outrun).unwrap();
        let shared = |lab: &Lab| lab.fleet.node(0).account_key(&lab.ca.directory_url(), None).unwrap();
        lab.nodes[0].host.store.write_key(Group::Accounts, &folder, NEXT_ACCOUNT_KEY, &next).unwrap();
        if !is_published {
            // The node died before it told the fleet.
            let json = lab.nodes[0].host.work().read_account_json(&folder).unwrap().unwrap();
            let server =
                Server::connect(&lab.ca.directory_url(), lab.ca.clone(), lab.nodes[0].host.clock.clone());
            let url = json["url"].as_str().unwrap().to_string();
            Session::new(Arc::new(server.unwrap()), old.clone(), url).change_key(&next).unwrap();
        }
        renew(&lab, 0);
        lab.reached.store(0, Ordering::SeqCst);
        lab.look(0);
        assert_eq!((lab.orders(), lab.job(0).errors), (3, 0), "{:?}", lab.job(0));
        assert!(shared(&lab).is_same(&next) && lab.job(0).finished);
        // The other node hears of it, and goes on with it.
        renew(&lab, 1);
        lab.reached.store(1, Ordering::SeqCst);
        lab.look(1);
        assert_eq!((lab.orders(), lab.job(1).errors), (4, 0), "{:?}", lab.job(1));
        assert_eq!((lab.ca.count(Endpoint::KeyChange), lab.ca.account_count()), (1, 1));
        assert!(shared(&lab).is_same(&next));
        // Each has it in its store.
        let (_, settled) = adopt(&lab.nodes[0].host);
        assert!(settled.is_same(&next) && !settled.is_same(&old));
        let accounts = Staging::new(&lab.nodes[1].host.work(), NAME).accounts();
        assert!(accounts.iter().any(|(_, _, key)| key.is_same(&next)), "from the fleet");
        assert!(adopt(&lab.nodes[1].host).1.is_same(&next), "a start puts it in the place of the former one");
        lab.ca.take_violations();
    }
}

/// Another node changes the key of the account before the n-th request from the order on.
struct Overtaken {
    ca: Arc<FakeCa>,
    sent: AtomicUsize,
    at: usize,
    change: Box<dyn Fn() + Send + Sync>,
}

impl Transport for Overtaken {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        let is_counted = self.sent.load(Ordering::SeqCst) > 0 || request.url.ends_with("/new-order");
        if is_counted && self.sent.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            (self.change)();
        }
        self.ca.send(request)
    }
}

#[test]
fn an_order_goes_on_with_the_key_that_another_node_has_given_the_account_meanwhile() {
    for at in 1.. {
        let mut lab = Lab::new(2);
        lab.run_for(HOUR);
        lab.assert_all_have(&[NAME], &[]);
        let (ca, fleet, clock) = (lab.ca.clone(), lab.fleet.clone(), lab.nodes[0].host.clock.clone());
        let change = move || {
            let url = ca.directory_url();
            let registering = fleet.node(0).registering(&url, None).unwrap();
            let shared = registering.account().unwrap();
            let server = Arc::new(Server::connect(&url, ca.clone(), clock.clone()).unwrap());
            let kid = shared.json["url"].as_str().unwrap().to_string();
            let next = PrivateKey::generate(&ec()).unwrap();
            Session::new(server, shared.key, kid).change_key(&next).unwrap();
            registering.publish(&SharedAccount { json: shared.json, key: next }).unwrap();
        };
        let overtaken =
            Overtaken { ca: lab.ca.clone(), sent: AtomicUsize::new(0), at, change: Box::new(change) };
        let overtaken = Arc::new(overtaken);
        let transport = overtaken.clone();
        lab.start_by(1, move || transport.clone());
        ask_for(&lab, 1, Renew { new_key: true, force: true, ..Renew::default() });
        lab.reached.store(1, Ordering::SeqCst);
        lab.look(1);
        assert_eq!((lab.job(1).errors, lab.ca.account_count()), (0, 1), "{at}: {:?}", lab.job(1));
        assert!(lab.job(1).finished && lab.ca.order_count() == 2, "{at}");
        lab.ca.take_violations();
        if overtaken.sent.load(Ordering::SeqCst) < at {
            assert!(at > 4, "{at}");
            return;
        }
    }
}

#[test]
fn a_node_that_does_not_reach_its_fleet_keeps_the_key_that_the_others_know() {
    let mut lab = Lab::new(2);
    lab.run_for(HOUR);
    lab.assert_all_have(&[NAME], &[]);
    let (folder, _) = adopt(&lab.nodes[0].host);
    let next = PrivateKey::generate(&ec()).unwrap();
    lab.nodes[0].host.store.write_key(Group::Accounts, &folder, NEXT_ACCOUNT_KEY, &next).unwrap();
    for (is_away, changes) in [(true, 0), (false, 1)] {
        lab.fleet.is_away(is_away);
        ask_for(&lab, 0, Renew { new_key: true, force: true, ..Renew::default() });
        lab.reached.store(0, Ordering::SeqCst);
        lab.look(0);
        assert!(lab.job(0).finished && lab.job(0).errors == 0, "{:?}", lab.job(0));
        assert_eq!((lab.ca.count(Endpoint::KeyChange), lab.ca.account_count()), (changes, 1), "{is_away}");
    }
    lab.ca.take_violations();
}
