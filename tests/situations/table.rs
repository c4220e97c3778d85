// SPDX-License-Identifier: Apache-2.0
//! Situations, and the texts met in each.

use crate::lab::{Lab, NAME};
use mod_md::renew::worker::check;
use mod_md::renew::worker::next::Next;
use mod_md::time::Clock;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::Duration;

type Happen = Box<dyn Fn(&mut Lab) -> Vec<String>>;

pub struct Situation {
    pub id: &'static str,
    /// What each text says, in any case: the cause, and what is to be done.
    pub says: &'static [&'static str],
    happen: Happen,
}

/// What `happen` gives are the texts that an admin meets.
pub fn situation(
    id: &'static str,
    says: &'static [&'static str],
    happen: impl Fn(&mut Lab) -> Vec<String> + 'static,
) -> Situation {
    Situation { id, says, happen: Box::new(happen) }
}

/// A renewal that fails: the log's line with the next try, and the page's.
pub fn failing(
    id: &'static str,
    says: &'static [&'static str],
    set_up: impl Fn(&mut Lab) + 'static,
) -> Situation {
    situation(id, says, move |lab| {
        set_up(lab);
        failure(lab)
    })
}

pub fn failure(lab: &Lab) -> Vec<String> {
    for _ in 0..400 {
        let context = lab.context();
        let mut next = Next::Never;
        let lines = crate::lab::logged(|| next = check::run(&context, 0));
        if let Some(line) = lines.iter().find(|line| line.text.contains("AH10056")) {
            let detail = lab.job().and_then(|job| job.last.detail);
            return [line.text.clone()]
                .into_iter()
                .chain(detail.map(|detail| format!("md[{NAME}]: {detail}")))
                .collect();
        }
        let Next::At(at) = next else { break };
        lab.clock.advance(at.since(lab.clock.now()).max(Duration::from_millis(1)));
    }
    panic!("it does not fail: {:?}", lab.job());
}

pub struct Met {
    pub id: &'static str,
    pub says: &'static [&'static str],
    pub texts: Vec<String>,
}

/// All, met once.
pub fn met() -> &'static [Met] {
    static MET: OnceLock<Vec<Met>> = OnceLock::new();
    MET.get_or_init(|| {
        let all = [
            crate::cas::validations(),
            crate::cas::accounts(),
            crate::cas::orders(),
            crate::cas::ways(),
            crate::cas::waits(),
            crate::machine::transports(),
            crate::machine::commands(),
            crate::updates::all(),
            crate::machine::stores(),
            crate::machine::hosts(),
            crate::record_challenges::situations(),
            crate::stapling::situations(),
            crate::configuration::situations(),
        ];
        all.into_iter()
            .flatten()
            .map(|situation| {
                let mut lab = Lab::new();
                let happen = AssertUnwindSafe(|| (situation.happen)(&mut lab));
                // All that is wrong is told at once.
                let texts = catch_unwind(happen).unwrap_or_default();
                let _ = lab.ca.take_violations();
                Met { id: situation.id, says: situation.says, texts }
            })
            .collect()
    })
}
