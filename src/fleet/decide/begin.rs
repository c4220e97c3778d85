// SPDX-License-Identifier: Apache-2.0
//! Whether a renewal begins now, and how (rules 1, 4 and 6): for the fleet, under the lock of the MD; by this
//! node alone while the engine is away; or later. An operator who asks overrides what other nodes have found out
//! about the CA, but no lock. Pure; imports `alone`, `asks` and `view`.

use super::alone::{self, Alone};
use super::asks;
use crate::fleet::key::Key;
use crate::fleet::view::{Mark, View};
use crate::managed::peers::{Need, NotNow};
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// A lock of another node ends within that time if the node has.
const LOCKED: Duration = Duration::from_secs(30);
const SYNCING: Duration = Duration::from_secs(2);
/// While the engine is away and nothing is urgent.
const AWAY_LOOK: Duration = Duration::from_secs(300);
/// How long a site without a good certificate waits for the engine.
const BARE: Duration = Duration::from_secs(600);

/// How the node stands to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// What the fleet has was not read yet.
    Syncing,
    Joined,
    Away {
        since: Timestamp,
    },
    /// Another process replicates this store: its description.
    Elsewhere(String),
}

/// What a renewal of an MD is decided by.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    pub name: &'a str,
    /// This node's id.
    pub me: &'a str,
    pub standing: Standing,
    pub need: Need,
    /// The certificates in use: the latest notBefore and the earliest notAfter.
    pub in_use: Option<(Timestamp, Timestamp)>,
    /// The set of the fleet is on its way into use here.
    pub is_pending: bool,
    /// This node among those that have the MD, while each is by itself.
    pub alone: Alone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Take the lock; if it is taken, the next look is that of `NotNow`.
    Lock,
    Solo,
    Not(NotNow),
}

pub fn begin(situation: &Situation<'_>, view: &View, now: Timestamp) -> Begin {
    match &situation.standing {
        Standing::Elsewhere(who) => {
            let reason = format!("{who} replicates this store and renews");
            not(now.plus(LOCKED), reason)
        }
        Standing::Syncing => not(now.plus(SYNCING), "what the fleet has is being read".into()),
        Standing::Away { since } => solo(situation, *since, now),
        Standing::Joined => joined(situation, view, now),
    }
}

fn joined(situation: &Situation<'_>, view: &View, now: Timestamp) -> Begin {
    if let Some(held) = held(view, situation.name, situation.me, now) {
        return Begin::Not(held);
    }
    if situation.is_pending {
        return not(now.plus(SYNCING), "a newer set of the fleet comes into use".into());
    }
    if situation.need.is_asked {
        return Begin::Lock;
    }
    if let Some(job) = view.job(situation.name)
        && let Some(next) = job.value.0.next_try.filter(|next| now < *next)
        // By a clock that is far ahead, nobody would renew before it is right.
        && job.by.as_ref().is_none_or(|by| by.at <= now.plus(DAY))
    {
        let problem = job.value.0.problem.as_deref().unwrap_or("the last attempt of the fleet failed");
        return Begin::Not(NotNow {
            until: next,
            reason: format!("{problem} (node {})", writer(view, job.by.as_ref().map(|by| by.node.as_str()))),
            node: None,
        });
    }
    patience(situation, view, now).map_or(Begin::Lock, Begin::Not)
}

/// Nodes whose settings differ would renew in turn, for ever: a difference alone is no reason before a third of
/// the lifetime has passed. Where all live nodes want the same, it is.
fn patience(situation: &Situation<'_>, view: &View, now: Timestamp) -> Option<NotNow> {
    let (from, until) = situation.in_use.filter(|_| situation.need.is_only_different)?;
    let own = view.node(situation.me).and_then(|node| node.md(situation.name));
    let others = own.map(|own| asks::differing(view, situation.me, own));
    let due = from.plus(until.since(from) / 3);
    if due <= now || others.as_ref().is_some_and(Vec::is_empty) {
        return None;
    }
    let others = others.unwrap_or_default();
    let who = if others.is_empty() { "other nodes".into() } else { format!("node {}", others.join(", ")) };
    let reason = format!(
        "the settings of {who} differ from those here, which is no reason to renew before a third of the lifetime"
    );
    Some(NotNow { until: due, reason, node: None })
}

/// Why a renewal waits for the lock of another node.
pub fn held(view: &View, name: &str, me: &str, now: Timestamp) -> Option<NotNow> {
    let lock = view.lock(name).filter(|lock| lock.value.node != me)?;
    let node = writer(view, Some(&lock.value.node));
    Some(NotNow {
        until: now.plus(LOCKED),
        reason: format!("node {node} renews it since {}", lock.value.since.to_http_date()),
        node: Some(node),
    })
}

/// The lock of an MD as the engine must have it for this node to take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Free,
    /// It was left by a process of this node before, or cannot be read.
    Over(Mark),
    /// It is another node's, as the watch may have told since it was decided to take it.
    Not,
}

pub fn takes(view: &View, name: &str, me: &str) -> Takes {
    match (view.mark(&Key::Lock(name.into())), view.lock(name)) {
        (_, Some(lock)) if lock.value.node != me => Takes::Not,
        (Some(mark), _) => Takes::Over(mark),
        (None, _) => Takes::Free,
    }
}

/// Without the engine: rule 6.
fn solo(situation: &Situation<'_>, since: Timestamp, now: Timestamp) -> Begin {
    let need = &situation.need;
    let last_twentieth = situation.in_use.map(|(from, until)| until.minus(until.since(from) / 20));
    let from = match (need.is_bare, last_twentieth) {
        (true, _) | (false, None) => since.plus(BARE),
        (false, Some(late)) => late.max(since),
    };
    let end = situation.in_use.filter(|_| !need.is_bare).map(|(_, until)| until);
    let due = alone::due(&situation.alone, from, end, now);
    if need.is_asked || due <= now {
        return Begin::Solo;
    }
    let due_text = due.to_http_date();
    let reason = format!("the fleet's engine is away; without it, this node renews at {due_text}");
    not(due.min(now.plus(AWAY_LOOK)), reason)
}

fn not(until: Timestamp, reason: String) -> Begin {
    Begin::Not(NotNow { until, reason, node: None })
}

/// The name of a node, as far as it is known.
fn writer(view: &View, id: Option<&str>) -> String {
    let id = id.unwrap_or("unknown");
    view.node(id).map_or(id, |node| node.name.as_str()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::decide::alone::APART;
    use crate::fleet::record::{Job, Record};
    use crate::fleet::view::fixture::{NOW, lock, mark, node, node_md, put, view};
    use crate::managed::peers::SharedJob;

    const MINUTE: Duration = Duration::from_secs(60);
    /// The first of seven nodes.
    const FIRST: Alone = Alone { place: 0, nodes: 7, failures: 0, failed_at: None };

    /// Of a node n1 whose certificate began 80 days ago and ends in ten.
    fn situation(standing: Standing, need: Need) -> Situation<'static> {
        let in_use = Some((NOW.minus(DAY * 80), NOW.plus(DAY * 10)));
        Situation { name: "a.test", me: "n1", standing, need, in_use, is_pending: false, alone: FIRST }
    }

    fn job(next_try: Option<Timestamp>) -> View {
        let job = SharedJob { next_try, problem: Some("rateLimited".into()), ..SharedJob::default() };
        view(vec![node("n1", vec![], 0, 1), put(Key::Job("a.test".into()), Record::Job(Job(job)), 2)], 2)
    }

    fn asked() -> Need {
        Need { is_asked: true, ..Need::default() }
    }

    #[test]
    fn no_lock_that_another_node_has_taken_meanwhile_is_taken_over() {
        let of = |entries| takes(&view(entries, 9), "a.test", "n1");
        assert_eq!(of(vec![]), Takes::Free);
        assert_eq!(of(vec![lock("n2", 2)]), Takes::Not);
        assert_eq!(of(vec![lock("n1", 2)]), Takes::Over(mark(2)), "of the process before");
        let mut unreadable = view(vec![], 1);
        unreadable.put_flawed(Key::Lock("a.test".into()), mark(2), "sealed with another secret");
        assert_eq!(takes(&unreadable, "a.test", "n1"), Takes::Over(mark(2)));
    }

    fn waits(begin: Begin) -> NotNow {
        match begin {
            Begin::Not(not_now) => not_now,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn before_the_first_sync_and_beside_another_process_nothing_begins() {
        for need in [Need::default(), asked(), Need { is_bare: true, ..Need::default() }] {
            assert!(waits(begin(&situation(Standing::Syncing, need), &view(vec![], 1), NOW)).until > NOW);
            let other = Standing::Elsewhere("process 7".into());
            let found = waits(begin(&situation(other, need), &view(vec![], 1), NOW));
            assert!(found.reason.contains("process 7"), "{}", found.reason);
        }
    }

    #[test]
    fn a_lock_of_another_node_is_waited_for_by_all_and_an_own_one_by_none() {
        let held = view(vec![node("n2", vec![], 0, 1), lock("n2", 2)], 2);
        let found = waits(begin(&situation(Standing::Joined, asked()), &held, NOW));
        assert_eq!(found.node.as_deref(), Some("web-n2"));
        assert!(found.until > NOW && found.reason.contains("web-n2"));
        let own = view(vec![lock("n1", 2)], 2);
        assert_eq!(begin(&situation(Standing::Joined, Need::default()), &own, NOW), Begin::Lock);
    }

    #[test]
    fn the_fleets_next_try_holds_for_every_node_unless_someone_asks() {
        let later = NOW.plus(MINUTE);
        let found = waits(begin(&situation(Standing::Joined, Need::default()), &job(Some(later)), NOW));
        assert_eq!(found.until, later);
        assert!(found.reason.contains("rateLimited") && found.reason.contains("web-n1"), "{}", found.reason);
        let bare = Need { is_bare: true, ..Need::default() };
        assert_eq!(waits(begin(&situation(Standing::Joined, bare), &job(Some(later)), NOW)).until, later);
        assert_eq!(begin(&situation(Standing::Joined, asked()), &job(Some(later)), NOW), Begin::Lock);
        assert_eq!(begin(&situation(Standing::Joined, bare), &job(Some(NOW)), NOW), Begin::Lock);
    }

    #[test]
    fn a_next_try_by_a_clock_that_is_far_ahead_is_none() {
        let year = NOW.plus(DAY * 365);
        let view = |at| {
            let job = SharedJob { next_try: Some(at), ..SharedJob::default() };
            let mut job = put(Key::Job("a.test".into()), Record::Job(Job(job)), 2);
            job.by.as_mut().unwrap().at = at.minus(MINUTE);
            view(vec![job], 2)
        };
        let due = |at| begin(&situation(Standing::Joined, Need::default()), &view(at), NOW);
        assert_eq!(due(year), Begin::Lock);
        assert_eq!(waits(due(NOW.plus(DAY))).until, NOW.plus(DAY), "one that is ahead by less is waited for");
    }

    #[test]
    fn a_set_on_its_way_comes_first() {
        let pending = Situation { is_pending: true, ..situation(Standing::Joined, asked()) };
        assert!(waits(begin(&pending, &view(vec![], 1), NOW)).reason.contains("newer set"));
    }

    #[test]
    fn settings_that_differ_between_nodes_wait_for_a_third_of_the_lifetime() {
        let md = |terms| vec![node_md("a.test", &["a.test"], terms)];
        let fleet = |other| view(vec![node("n1", md("x"), 0, 1), node("n2", md(other), 0, 2)], 2);
        let different = Need { is_only_different: true, ..Need::default() };
        let young = Some((NOW.minus(DAY * 29), NOW.plus(DAY * 61)));
        let young = |need| Situation { in_use: young, ..situation(Standing::Joined, need) };
        let found = waits(begin(&young(different), &fleet("y"), NOW));
        assert_eq!(found.until, NOW.plus(DAY));
        assert!(found.reason.contains("web-n2"), "{}", found.reason);
        assert!(waits(begin(&young(different), &view(vec![], 1), NOW)).until > NOW, "it is not known yet");
        assert_eq!(begin(&young(different), &fleet("y"), NOW.plus(DAY)), Begin::Lock);
        assert_eq!(begin(&young(different), &fleet("x"), NOW), Begin::Lock, "all want the same");
        assert_eq!(begin(&young(Need::default()), &fleet("y"), NOW), Begin::Lock, "it is due as well");
        assert_eq!(begin(&young(Need { is_asked: true, ..different }), &fleet("y"), NOW), Begin::Lock);
    }

    #[test]
    fn without_the_engine_a_node_waits_for_its_turn_and_for_need() {
        let away = |need, since, place| {
            let alone = Alone { place, ..FIRST };
            Situation { alone, ..situation(Standing::Away { since }, need) }
        };
        let at = |situation: &Situation<'_>, now| begin(situation, &view(vec![], 1), now);
        // Its last twentieth begins in five and a half days.
        let late = NOW.plus(DAY * 5).plus(DAY / 2);
        let due = away(Need::default(), NOW.minus(DAY), 0);
        assert_eq!(waits(at(&due, NOW)).until, NOW.plus(AWAY_LOOK));
        assert!(waits(at(&due, NOW)).reason.contains("away"));
        assert_eq!(waits(at(&due, late.minus(MINUTE))).until, late);
        assert_eq!(at(&due, late), Begin::Solo);
        let third = away(Need::default(), NOW.minus(DAY), 2);
        assert_eq!(waits(at(&third, late)).until, late.plus(AWAY_LOOK));
        assert_eq!(at(&third, late.plus(APART * 2)), Begin::Solo);
        let bare = Need { is_bare: true, ..Need::default() };
        assert!(matches!(at(&away(bare, NOW, 0), NOW.plus(MINUTE * 9)), Begin::Not(_)));
        assert_eq!(at(&away(bare, NOW, 0), NOW.plus(MINUTE * 10)), Begin::Solo);
        assert!(matches!(at(&away(bare, NOW, 1), NOW.plus(MINUTE * 19)), Begin::Not(_)));
        assert_eq!(at(&away(bare, NOW, 1), NOW.plus(MINUTE * 20)), Begin::Solo);
        assert_eq!(at(&away(asked(), NOW, 6), NOW), Begin::Solo, "an operator asks");
        let none = Situation { in_use: None, ..away(Need::default(), NOW, 0) };
        assert_eq!(at(&none, NOW.plus(MINUTE * 10)), Begin::Solo);
    }

    #[test]
    fn seven_nodes_without_the_engine_never_begin_within_ten_minutes_of_each_other() {
        let ids: Vec<String> = (0..7).map(|id| format!("n{id}")).collect();
        let bare = Need { is_bare: true, ..Need::default() };
        for need in [Need::default(), bare] {
            let mut begun: Vec<Timestamp> = Vec::new();
            for me in &ids {
                let place = asks::place(ids.iter().map(String::as_str), true, me, "a.test");
                let standing = Standing::Away { since: NOW };
                let alone = Alone { place, ..FIRST };
                let situation = Situation { me, alone, ..situation(standing, need) };
                let looks = (0..30_000).map(|minute| NOW.plus(MINUTE * minute));
                begun.extend(
                    looks.into_iter().find(|now| begin(&situation, &view(vec![], 1), *now) == Begin::Solo),
                );
            }
            begun.sort_unstable();
            assert_eq!(begun.len(), 7);
            assert!(begun.windows(2).all(|two| two[1].since(two[0]) >= APART), "{begun:?}");
        }
    }
}
