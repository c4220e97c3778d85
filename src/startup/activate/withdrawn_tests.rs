// SPDX-License-Identifier: Apache-2.0
//! How starts treat sets that an operator has withdrawn.

use super::*;
use crate::crypto::fixture::{NOW, Wish};
use crate::managed::bundle;
use crate::managed::bundle::Bundle;
use crate::managed::fixture::{Lab, md};
use crate::managed::gate::Admitted;
use crate::managed::published::Published;
use crate::managed::withdrawn::{self, Entry, Why};
use crate::model::{KeySpec, Trial};
use crate::startup::fixture::start;
use crate::time::DAY;

const NAMES: &[&str] = &["a.test", "www.a.test"];

fn spec() -> KeySpec {
    KeySpec::Ec("P-256".into())
}

fn copy(set: &Bundle) -> Bundle {
    Bundle::from_sent(spec(), set.key.clone(), set.chain.clone()).unwrap().0
}

struct Site {
    lab: Lab,
    md: Md,
}

impl Site {
    fn new() -> Site {
        Site { lab: Lab::new(), md: md(NAMES) }
    }

    fn set(&self, serial: &str, names: &[&str], days: u32) -> Bundle {
        let wish = Wish { names, serial, until: NOW.plus(DAY * days), ..Wish::default() };
        self.lab.set_like(&wish, &spec())
    }

    fn install(&self, set: &Bundle) {
        bundle::write(&self.lab.store, Group::Domains, "a.test", set).unwrap();
        self.lab.store.write_json(Group::Domains, "a.test", bundle::MD_FILE, &self.md.to_json()).unwrap();
    }

    fn publish(&self, set: Bundle) {
        let set = Published::new(NOW, &self.md, &Job::new("a.test"), Admitted::untried(vec![set]));
        set.write(&self.lab.store.worker(), "a.test").unwrap();
    }

    fn withdraw(&self, set: &Bundle, why: Why) {
        let entry = Entry::new(set.chain.leaf(), why, false, NOW);
        withdrawn::change(&self.lab.store, "a.test", NOW, |withdrawn| withdrawn.add(entry)).unwrap();
    }

    /// The outcome of a start, and the serial of the set in use after it.
    fn start(&self) -> (Activated, Option<String>) {
        let (_, activated) = start(&self.lab.store, std::slice::from_ref(&self.md)).unwrap().remove(0);
        let used = bundle::load(&self.lab.store, Group::Domains, "a.test", &spec()).ok();
        (activated, used.map(|set| set.info.serial))
    }
}

#[test]
fn a_withdrawn_set_in_staging_is_dropped_and_the_one_in_use_stays() {
    for why in [Why::Revoked, Why::Replaced] {
        let site = Site::new();
        let new = site.set("02", NAMES, 80);
        site.install(&site.set("01", NAMES, 40));
        site.lab.stage_tried(&site.md, &new, Some(Trial::Accepted));
        site.withdraw(&new, why);
        assert_eq!(site.start(), (Activated::Withdrawn, Some("01".into())));
        assert!(!site.lab.has("staging/a.test/privkey.p-256.pem"));
    }
}

#[test]
fn a_set_that_another_node_of_the_fleet_has_withdrawn_is_dropped_as_well() {
    let site = Site::new();
    let new = site.set("02", NAMES, 80);
    site.install(&site.set("01", NAMES, 40));
    site.lab.stage_tried(&site.md, &new, Some(Trial::Accepted));
    let mut elsewhere = withdrawn::Withdrawn::default();
    elsewhere.add(Entry::new(new.chain.leaf(), Why::Revoked, false, NOW));
    site.lab.store.make_fleet_folder().unwrap();
    let state = serde_json::json!({"withdrawn": {"a.test": elsewhere.to_json()}}).to_string();
    site.lab.store.worker().write_fleet_state(state.as_bytes()).unwrap();
    assert_eq!(site.start(), (Activated::Withdrawn, Some("01".into())));
}

#[test]
fn a_withdrawn_set_that_was_live_is_served_by_no_child_of_the_next_start() {
    for has_job in [true, false] {
        let site = Site::new();
        let live = site.set("02", NAMES, 80);
        site.install(&site.set("01", NAMES, 40));
        if has_job {
            site.lab.stage_tried(&site.md, &live, Some(Trial::Accepted));
        }
        site.withdraw(&live, Why::Replaced);
        site.publish(live);
        assert_eq!(site.start().1, Some("01".into()), "{has_job}");
        assert!(!site.lab.has("staging/a.test/live.json"), "{has_job}");
    }
}

#[test]
fn a_withdrawn_set_is_used_where_clients_would_have_less_without_it() {
    let less: [(&[&str], u32); 2] = [(&["a.test"], 40), (NAMES, 0)];
    for (names, days) in less {
        let site = Site::new();
        let live = site.set("02", NAMES, 80);
        site.install(&site.set("01", names, days));
        site.withdraw(&live, Why::Revoked);
        site.publish(live);
        assert_eq!(site.start().1, Some("02".into()), "{names:?} {days}");
    }
    let site = Site::new();
    let first = site.set("02", NAMES, 80);
    site.lab.stage_tried(&site.md, &first, Some(Trial::Accepted));
    site.withdraw(&first, Why::Revoked);
    assert_eq!(site.start(), (Activated::Done, Some("02".into())), "there is nothing else");
}

#[test]
fn an_earlier_set_takes_the_place_of_the_one_that_is_replaced() {
    for is_live in [true, false] {
        let site = Site::new();
        let (old, new) = (site.set("01", NAMES, 40), site.set("02", NAMES, 80));
        if is_live {
            site.install(&site.set("00", NAMES, 10));
            site.publish(copy(&new));
        } else {
            site.install(&new);
        }
        site.withdraw(&new, Why::Replaced);
        site.lab.stage_tried(&site.md, &old, Some(Trial::Accepted));
        assert_eq!(site.start(), (Activated::Done, Some("01".into())), "{is_live}");
        assert_eq!(site.start(), (Activated::Nothing, Some("01".into())), "{is_live}: it stays");
    }
}

#[test]
fn a_revoked_set_that_is_kept_comes_back_after_a_restart() {
    let site = Site::new();
    let live = site.set("02", NAMES, 80);
    site.install(&site.set("01", NAMES, 40));
    site.withdraw(&live, Why::Kept);
    site.publish(live);
    assert_eq!(site.start().1, Some("02".into()));
}
