// SPDX-License-Identifier: Apache-2.0

use super::fixture::{NOW, applied, by, challenge, lock, mark, node, node_md, put, view};
use super::*;
use crate::fleet::record::fixture::set;
use proptest::prelude::*;

fn names(view: &View) -> Vec<&Key> {
    view.kept().map(|(key, _)| key).collect()
}

#[test]
fn a_listing_replaces_everything_and_a_listing_of_a_part_that_part() {
    let key = |name: &str| Key::Lock(name.into());
    let mut view = view(vec![lock("n1", 3), challenge("t", 4), node("n1", vec![], 0, 2)], 9);
    assert_eq!((view.revision(), view.awaited(), view.challenged()), (Revision(9), Revision(4), Revision(4)));
    let mut listing = view.begin(Part::Locks);
    let mut other = lock("n2", 11);
    other.key = key("b.test");
    view.list(&mut listing, other);
    assert_eq!(view.finish(listing, Revision(11)), [key("a.test")]);
    assert!(view.lock("a.test").is_none() && view.lock("b.test").is_some());
    assert_eq!((view.revision(), view.nodes().count(), view.challenges().count()), (Revision(9), 1, 1));
    let listing = view.begin(Part::All);
    assert_eq!(view.finish(listing, Revision(2)).len(), 3);
    assert!(view.kept().next().is_none());
    assert_eq!((view.revision(), view.awaited()), (Revision(2), Revision(0)), "of another history");
}

#[test]
fn changes_that_are_told_again_change_nothing() {
    let mut view = view(vec![lock("n1", 3)], 5);
    let other = Key::Lock("b.test".into());
    assert!(!view.put(lock("n0", 2)), "older than the one known");
    assert!(!view.put(Put { key: other.clone(), ..lock("n0", 4) }), "listed at 5, it was gone");
    assert!(!view.gone(&Key::Lock("a.test".into()), Revision(2)));
    assert_eq!(view.lock("a.test").unwrap().value.node, "n1");
    assert!(view.put(lock("n2", 6)) && !view.put(lock("n2", 6)));
    assert!(view.gone(&Key::Lock("a.test".into()), Revision(7)) && view.lock("a.test").is_none());
    assert!(view.put(Put { key: other, ..lock("n0", 8) }));
}

#[test]
fn nodes_and_locks_are_never_acknowledged() {
    let mut view = view(vec![], 1);
    view.put(node("n1", vec![], 0, 2));
    view.put(applied("n1", 2, 3));
    view.put(lock("n1", 4));
    assert_eq!((view.awaited(), view.challenged()), (Revision(0), Revision(0)));
    view.put(challenge("t", 5));
    view.gone(&challenge("t", 0).key, Revision(6));
    assert_eq!((view.awaited(), view.challenged()), (Revision(6), Revision(5)));
}

#[test]
fn of_other_mds_only_marks_are_kept_and_keys_only_until_they_are_stored() {
    let other = Key::Set("b.test".into());
    let own = Key::Set("a.test".into());
    let mut view = view(vec![], 1);
    view.put(put(other.clone(), Record::Set(set(4)), 2));
    view.put(put(own.clone(), Record::Set(set(7)), 3));
    assert!(view.set("b.test").is_none());
    assert_eq!(view.mark(&other), Some(mark(2)));
    let known = view.set("a.test").unwrap();
    assert_eq!((known.value.generation, known.mark, known.by.clone()), (7, mark(3), by("n1")));
    assert!(known.value.full.is_some());
    view.forget_keys("a.test");
    assert!(!view.put(put(own, Record::Set(set(7)), 3)), "its echo brings no keys back");
    let known = &view.set("a.test").unwrap().value;
    assert!(known.full.is_none());
    assert_eq!(known.certs[0].1.dns_names, ["a.test"]);
}

#[test]
fn what_cannot_be_opened_is_absent_but_can_be_replaced() {
    let key = Key::Set("a.test".into());
    let mut view = view(vec![put(key.clone(), Record::Set(set(1)), 2)], 2);
    assert!(view.put_flawed(key.clone(), mark(3), "it was sealed with another secret"));
    assert!(view.set("a.test").is_none());
    assert_eq!(view.mark(&key), Some(mark(3)));
    assert_eq!(view.flawed().collect::<Vec<_>>(), [(&key, "it was sealed with another secret")]);
    assert!(view.put(put(key, Record::Set(set(2)), 4)));
    assert_eq!((view.flawed().count(), view.set("a.test").unwrap().value.generation), (0, 2));
}

#[test]
fn keys_that_an_engine_invents_are_kept_to_a_number() {
    let mut view = view(vec![], 0);
    for number in 0..2000 {
        view.put_flawed(Key::Node(format!("{number:032x}")), mark(number + 1), "not sealed");
    }
    assert_eq!(view.flawed().count(), FLAWED_MAX);
    view.gone(&Key::Node(format!("{:032x}", 0)), Revision(5000));
    view.put_flawed(Key::Node("new".into()), mark(5001), "not sealed");
    assert_eq!(view.flawed().count(), FLAWED_MAX);
}

#[test]
fn locks_of_accounts_that_an_engine_invents_are_kept_to_a_number() {
    let mut view = view(vec![lock("n1", 1)], 1);
    let invented = |at: u64| {
        let lock = Record::Lock(Lock { node: "x".into(), since: NOW });
        put(Key::AccountLock(format!("{at:064x}")), lock, at)
    };
    let all = (2..5000).all(|at| view.put(invented(at)));
    assert!(all);
    assert_eq!((view.locks().count(), view.kept().count()), (1001, 1001));
    view.put(invented(2));
    view.gone(&invented(2).key, Revision(6000));
    view.put(invented(7000));
    assert!(view.mark(&invented(7000).key).is_some(), "there is room again");
}

#[test]
fn what_a_node_has_applied_is_known_whichever_entry_comes_first() {
    let md = node_md("a.test", &["a.test"], "x");
    let mut view = view(vec![], 0);
    view.put(applied("n1", 7, 1));
    view.put(node("n1", vec![md.clone()], 5, 2));
    view.put(node("n2", vec![md.clone()], 9, 3));
    view.put(applied("n2", 8, 4));
    let all: Vec<_> = view.nodes().map(|node| (node.name.as_str(), node.applied)).collect();
    assert_eq!(all, [("web-n1", 7), ("web-n2", 9)]);
    assert_eq!(view.node("n1").unwrap().md("a.test"), Some(&md));
    assert!(view.node("n1").unwrap().md("b.test").is_none());
    view.gone(&Key::Applied("n1".into()), Revision(5));
    view.gone(&Key::Node("n1".into()), Revision(5));
    view.put(node("n1", vec![], 1, 6));
    assert_eq!(view.node("n1").unwrap().applied, 1, "another process begins again");
}

#[test]
fn an_md_that_many_nodes_have_is_kept_once() {
    let md = || node_md("a.test", &["a.test"], "x");
    let mut view = view(vec![node("n1", vec![md()], 0, 1), node("n2", vec![md()], 0, 2)], 2);
    let first = std::ptr::from_ref(view.node("n1").unwrap().md("a.test").unwrap());
    assert_eq!(first, std::ptr::from_ref(view.node("n2").unwrap().md("a.test").unwrap()));
    view.gone(&Key::Node("n1".into()), Revision(3));
    view.put(node("n2", vec![node_md("a.test", &["a.test"], "y")], 0, 4));
    assert_eq!(view.node("n2").unwrap().mds().count(), 1);
    assert_eq!(view.nodes.shared_mds(), 1, "the one that nobody has is gone");
}

/// A history of puts (`Some`) and deletions of four locks; each has a revision of its own.
fn history() -> impl Strategy<Value = Vec<(u8, Option<u8>)>> {
    prop::collection::vec((0..4_u8, prop::option::of(0..9_u8)), 1..60)
}

fn play(view: &mut View, change: (u8, Option<u8>), at: u64) {
    let key = Key::Lock(format!("{}.test", change.0));
    match change.1 {
        Some(node) => drop(view.put(Put { key, ..lock(&node.to_string(), at) })),
        None => drop(view.gone(&key, Revision(at))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_view_that_lists_anywhere_and_hears_things_again_ends_like_the_engine(
        history in history(),
        listed in 0..60_usize,
        again in 0..60_usize,
    ) {
        let mut truth: BTreeMap<u8, (u8, u64)> = BTreeMap::new();
        let mut view = View::new([]);
        let listed = listed.min(history.len());
        for (at, change) in history.iter().enumerate() {
            let at_revision = u64::try_from(at).unwrap() + 1;
            if at == listed {
                let mut listing = view.begin(Part::All);
                for (name, (node, at)) in &truth {
                    view.list(&mut listing, Put { key: Key::Lock(format!("{name}.test")), ..lock(&node.to_string(), *at) });
                }
                view.finish(listing, Revision(at_revision - 1));
                for (earlier, change) in history.iter().enumerate().take(at).skip(again) {
                    play(&mut view, *change, u64::try_from(earlier).unwrap() + 1);
                }
            }
            match change.1 {
                Some(node) => drop(truth.insert(change.0, (node, at_revision))),
                None => drop(truth.remove(&change.0)),
            }
            if at >= listed {
                play(&mut view, *change, at_revision);
                view.advance(Revision(at_revision));
            }
        }
        if listed < history.len() {
            let known: Vec<_> = view.locks().map(|(key, item)| (key.clone(), item.value.node.clone())).collect();
            let real: Vec<_> = truth.iter().map(|(name, (node, _))| (Key::Lock(format!("{name}.test")), node.to_string())).collect();
            prop_assert_eq!(known, real);
            prop_assert_eq!(names(&view).len(), truth.len());
        }
    }
}
