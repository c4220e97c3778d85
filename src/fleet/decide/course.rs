// SPDX-License-Identifier: Apache-2.0
//! How a node goes on with an engine: with its history, from the begin, or not at all. An engine that lost its
//! data gets everything again, what is withdrawn first. Pure; imports `view`, and `state` beside it.

use super::state::State;
use crate::fleet::codec::VERSION;
use crate::fleet::engine::Revision;
use crate::fleet::record::Meta;
use crate::fleet::view::View;
use std::time::Duration;

/// A watch may be behind what other calls show for as long.
const LAG: Duration = Duration::from_secs(10);

/// What is found at `meta`.
pub enum Found<'a> {
    Nothing,
    Meta(&'a Meta),
    /// It cannot be opened: why.
    Flawed(&'a str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Course {
    /// The engine is empty: write `meta` with a new epoch, then do as for a new one.
    Create,
    /// List everything, into a new view. `is_new`: the engine has lost what this node had seen in it. All of its
    /// own goes out again, what is withdrawn first.
    List { is_new: bool },
    /// Serve on, write nothing, and say why.
    StandAside(String),
}

pub fn course(found: &Found<'_>, state: &State) -> Course {
    match found {
        Found::Nothing => Course::Create,
        Found::Flawed(why) => Course::StandAside((*why).into()),
        Found::Meta(meta) if meta.version != VERSION => Course::StandAside(format!(
            "the fleet's data has version {}, and this mod_md knows version {VERSION} alone: update it",
            meta.version
        )),
        Found::Meta(meta) if meta.epoch != state.epoch => Course::List { is_new: !state.epoch.is_empty() },
        // A view lives in memory, so that the next process lists as well.
        Found::Meta(_) => Course::List { is_new: false },
    }
}

/// Why everything has to be listed anew. `told`: a revision that another call has shown; `since`: how long ago.
pub fn has_lost_track(view: &View, told: Revision, since: Duration) -> Option<String> {
    let seen = view.revision();
    if told < seen {
        return Some(format!("the engine is at revision {}, and was at {} before", told.0, seen.0));
    }
    (told > seen && since > LAG).then(|| {
        let seconds = since.as_secs();
        format!("the watch is at revision {} for {seconds} seconds, the engine at {}", seen.0, told.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::fixture::view;

    #[test]
    fn a_node_goes_on_with_what_it_finds() {
        let meta = |version, epoch: &str| Meta { version, epoch: epoch.into() };
        let state = |epoch: &str| State { epoch: epoch.into(), ..State::default() };
        let of = |meta: &Meta, known: &str| course(&Found::Meta(meta), &state(known));
        assert_eq!(course(&Found::Nothing, &state("")), Course::Create);
        assert_eq!(course(&Found::Nothing, &state("e1")), Course::Create, "wiped");
        assert_eq!(of(&meta(1, "e1"), "e1"), Course::List { is_new: false });
        assert_eq!(of(&meta(1, "e1"), ""), Course::List { is_new: false }, "a new node");
        assert_eq!(of(&meta(1, "e2"), "e1"), Course::List { is_new: true });
        let Course::StandAside(why) = of(&meta(2, "e1"), "e1") else { panic!("it knows no version 2") };
        assert!(why.contains("version 2") && why.contains("update"), "{why}");
        assert_eq!(course(&Found::Flawed("secret"), &state("e1")), Course::StandAside("secret".into()));
    }

    #[test]
    fn a_history_that_goes_back_or_stands_still_is_listed_anew() {
        let view = view(vec![], 50);
        let lost = |told, seconds| has_lost_track(&view, Revision(told), Duration::from_secs(seconds));
        assert_eq!((lost(50, 900), lost(51, 10)), (None, None));
        assert!(lost(49, 0).unwrap().contains("49"));
        assert!(lost(51, 11).unwrap().contains("51"));
    }
}
