// SPDX-License-Identifier: Apache-2.0
//! Finds the folder that an MD had under another name: by its names, and where these match nothing, by the
//! names of its hosts.
//!
//! Names are looked up in an index, and the number of folders looked at for each is limited: the cost grows
//! with the number of names and not with its square.

use crate::names;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

/// Folders that are looked at for one name. That more than a few have it is hardly ever so.
const LOOKED_AT: usize = 64;

/// An MD that looks for its data.
pub struct Seeker<'a> {
    pub names: &'a [String],
    /// Of the hosts that belong to it alone.
    pub host_names: Vec<String>,
    /// It has a folder of its own name. Without a certificate in there, it uses another one that has one.
    pub has_folder: bool,
}

/// A folder that belongs to no MD of its name.
pub struct Folder {
    pub name: String,
    /// Of the MD it was made for.
    pub names: Vec<String>,
}

/// What a folder has to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Certificate,
    /// No more than a set that this start is going to put into use, for one MD.
    StagedSet,
    Nothing,
}

/// A folder for an MD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its place in the list.
    pub folder: usize,
    pub help: Help,
}

/// How the MD uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Help {
    /// It becomes the MD's own.
    Moves,
    /// It stays where it is, and its staged set goes into the folder that the MD has.
    GivesSet,
    /// It stays where it is, and others may have its certificate as well.
    Lends,
}

/// The use of a folder.
#[derive(Clone, Copy)]
enum State {
    Free,
    /// It stays, and MDs use its certificate.
    Lent,
    /// All that it has to serve goes to one MD.
    Taken,
}

/// The kinds of evidence that an MD and a folder belong together, strongest first.
#[derive(Clone, Copy)]
enum Kind {
    /// The MD has the folder's names.
    Own,
    /// A wildcard of one covers names of the other.
    OwnCovered,
    Hosts,
    HostsCovered,
}

const KINDS: [Kind; 4] = [Kind::Own, Kind::OwnCovered, Kind::Hosts, Kind::HostsCovered];

/// Finds the folder of each of `seekers`, by its place in `folders`, which are sorted by name. Each is moved
/// to one MD, or lent to some. A staged set alone is for one MD: it leaves nothing to lend. Folders that have
/// something to serve come before all others, so that the next start has nothing better to find; then, with
/// each kind of evidence, those that have most names in common.
/// `own`: what a seeker with a folder has in it. `is_of_use`: whether a seeker could use a staged set alone.
pub fn find(
    seekers: &[Seeker<'_>],
    folders: &[Folder],
    holds: &dyn Fn(&Folder) -> Holds,
    own: &dyn Fn(usize) -> Holds,
    is_of_use: &dyn Fn(usize, &Folder) -> bool,
) -> Vec<Option<Found>> {
    let index = Index::new(folders);
    let mut found = vec![None; seekers.len()];
    let mut states = vec![State::Free; folders.len()];
    let mut held: HashMap<usize, Holds> = HashMap::new();
    for (is_certified, kind) in [true, false].into_iter().flat_map(|is| KINDS.map(|kind| (is, kind))) {
        let mut pairs = Vec::new();
        for (seeker, wanted) in seekers.iter().enumerate().filter(|(at, _)| found.get(*at) == Some(&None)) {
            // Its own folder is as good as another one without a certificate.
            if wanted.has_folder && !is_certified {
                continue;
            }
            let common = index.common(wanted, kind);
            let own = if wanted.has_folder && !common.is_empty() { own(seeker) } else { Holds::Nothing };
            if own == Holds::Certificate {
                continue;
            }
            for (folder, common) in common {
                let Some(record) = folders.get(folder) else { continue };
                let held = *held.entry(folder).or_insert_with(|| holds(record));
                // There is a place for one set, and its own may come into use. One that serves it nothing is lost with
                // it, and stays with its folder for the MD that this may be of again.
                if held == Holds::StagedSet
                    && wanted.has_folder
                    && (own == Holds::StagedSet || !is_of_use(seeker, record))
                {
                    continue;
                }
                if (held != Holds::Nothing) == is_certified {
                    pairs.push((Reverse(common), seeker, folder));
                }
            }
        }
        pairs.sort_unstable();
        for (_, seeker, folder) in pairs {
            let (Some(place @ None), Some(state)) = (found.get_mut(seeker), states.get_mut(folder)) else {
                continue;
            };
            let has_folder = seekers.get(seeker).is_some_and(|wanted| wanted.has_folder);
            let help = match (&state, has_folder) {
                (State::Free, false) => Help::Moves,
                (State::Free, true) if held.get(&folder) == Some(&Holds::StagedSet) => Help::GivesSet,
                (State::Free | State::Lent, _) => Help::Lends,
                (State::Taken, _) => continue,
            };
            *state = if help == Help::Lends { State::Lent } else { State::Taken };
            *place = Some(Found { folder, help });
        }
    }
    found
}

/// Places of folders by the keys of lookups.
struct Index<'a> {
    by_name: HashMap<&'a str, Vec<usize>>,
    /// By the part after the first label of names that are no wildcards.
    by_parent: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Index<'a> {
    fn new(folders: &'a [Folder]) -> Self {
        let (mut by_name, mut by_parent) = (HashMap::new(), HashMap::new());
        let add = |map: &mut HashMap<&'a str, Vec<usize>>, name: &'a str, at: usize| {
            let places = map.entry(name).or_default();
            if places.len() < LOOKED_AT && places.last() != Some(&at) {
                places.push(at);
            }
        };
        for (at, folder) in folders.iter().enumerate() {
            for name in &folder.names {
                add(&mut by_name, name, at);
                if let Some((_, parent)) = name.split_once('.').filter(|_| !names::is_wildcard(name)) {
                    add(&mut by_parent, parent, at);
                }
            }
        }
        Index { by_name, by_parent }
    }

    /// Folders with the number of names that `seeker` has in common with each.
    fn common(&self, seeker: &Seeker<'_>, kind: Kind) -> HashMap<usize, usize> {
        let names = match kind {
            Kind::Own | Kind::OwnCovered => seeker.names,
            Kind::Hosts | Kind::HostsCovered => &seeker.host_names,
        };
        let mut common = HashMap::new();
        // A host has names in more than one spelling.
        let mut seen = HashSet::new();
        for name in names.iter().filter(|name| seen.insert(*name)) {
            let places = match kind {
                Kind::Own | Kind::Hosts => self.by_name.get(name.as_str()),
                Kind::OwnCovered | Kind::HostsCovered => self.covered(name),
            };
            for place in places.into_iter().flatten() {
                *common.entry(*place).or_default() += 1;
            }
        }
        common
    }

    /// Of a wildcard the names below it, of another name the wildcard above.
    fn covered(&self, name: &str) -> Option<&Vec<usize>> {
        match (name.strip_prefix("*."), name.split_once('.')) {
            (Some(parent), _) => self.by_parent.get(parent),
            (None, Some((_, parent))) => self.by_name.get(format!("*.{parent}").as_str()),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(String::from).collect()
    }

    const OWN: [char; 3] = ['+', '=', '$'];

    /// Each MD as `names`, `names | names of its hosts`, with `+` in front where it has a folder without a
    /// certificate, `=` with one, and `$` with a staged set; each folder as `name: names`, with `!` in front
    /// where it has a certificate, and `?` a staged set, which is of no use where the folder is `u`. Gives the folders' names, `-` for none.
    fn outcome(mds: &[&str], folders: &[&str]) -> String {
        let names: Vec<_> = mds
            .iter()
            .map(|md| {
                let (names, hosts) =
                    md.trim_start_matches(OWN).split_once('|').unwrap_or((md.trim_start_matches(OWN), ""));
                (words(names), words(hosts))
            })
            .collect();
        let seekers: Vec<_> = names
            .iter()
            .zip(mds)
            .map(|((names, hosts), md)| Seeker {
                names,
                host_names: hosts.clone(),
                has_folder: md.starts_with(OWN),
            })
            .collect();
        let mut held = HashMap::new();
        let folders: Vec<_> = folders
            .iter()
            .map(|folder| {
                let (name, names) = folder.trim_start_matches(['!', '?']).split_once(':').unwrap();
                let holds = match folder.chars().next() {
                    Some('!') => Holds::Certificate,
                    Some('?') => Holds::StagedSet,
                    _ => Holds::Nothing,
                };
                held.insert(name.to_string(), holds);
                Folder { name: name.into(), names: words(names) }
            })
            .collect();
        let own = |at: usize| match mds[at].chars().next() {
            Some('=') => Holds::Certificate,
            Some('$') => Holds::StagedSet,
            _ => Holds::Nothing,
        };
        let is_of_use = |_: usize, folder: &Folder| !folder.name.starts_with('u');
        let found = find(&seekers, &folders, &|folder| held[&folder.name], &own, &is_of_use);
        let found: Vec<_> =
            found.iter().map(|at| at.map_or("-", |at| folders[at.folder].name.as_str())).collect();
        found.join(" ")
    }

    #[test]
    fn a_folder_is_found_by_names_then_wildcards_then_the_names_of_hosts() {
        for (mds, folders, expected) in [
            (&["c b a"][..], &["a: a b"][..], "a"),
            (&["c"], &["a: a b"], "-"),
            // A host is renamed: names a and b become its aliases.
            (&["c | c a b"], &["a: a b"], "a"),
            // The host's old names went to another MD.
            (&["c | c a b", "b a"], &["a: a b"], "- a"),
            (&["c | c a", "b | b"], &["a: a b"], "- a"),
            // Most names in common first, whichever MD comes first; then certificates; then the order.
            (&["a", "b c"], &["x: a b c"], "- x"),
            (&["a b c"], &["x: a", "y: b c"], "y"),
            (&["a b"], &["x: a", "!y: b"], "y"),
            (&["a b"], &["x: a", "y: b"], "x"),
            (&["a", "b"], &["x: a b"], "x -"),
            (&["a", "b"], &["x: a b", "y: b"], "x y"),
            // Merged: one goes on, the others stay.
            (&["m a b"], &["!a: a", "!b: b"], "a"),
            // Wildcards, both ways, and never over two labels.
            (&["www.a.test"], &["*.a.test: *.a.test"], "*.a.test"),
            (&["*.a.test"], &["w.a.test: w.a.test", "x.a.test: x.a.test y.a.test"], "w.a.test"),
            (&["a.test"], &["*.a.test: *.a.test"], "-"),
            (&["x.www.a.test"], &["*.a.test: *.a.test"], "-"),
            (&["c.test | c.test x.a.test"], &["*.a.test: *.a.test"], "*.a.test"),
            (&["x.a.test", "*.a.test"], &["y: *.a.test"], "- y"),
            (&["z.test | x.a.test", "x.a.test"], &["y: *.a.test"], "- y"),
            // Names of hosts come last, also where they are more.
            (&["c | c a b", "d a"], &["a: a b"], "- a"),
            // A folder of its own is left only for a certificate.
            (&["+c | c a"], &["a: a b"], "-"),
            (&["+c | c a"], &["!a: a b"], "a"),
            (&["+c | c a", "b"], &["!a: a b"], "- a"),
            (&["=c | c a"], &["!a: a b"], "-"),
            // A certificate is lent to all, a staged set given to one.
            (&["+c a", "+b", "d a"], &["!a: a b"], "a a a"),
            (&["+c a", "+b", "d a"], &["?a: a b"], "a - -"),
            (&["+c a", "+b"], &["?u: a b"], "- -"),
            (&["+c a", "+b"], &["?u: a b", "?x: a"], "x -"),
            (&["d a"], &["?u: a b"], "u"),
            (&["$c a", "+b"], &["?a: a b"], "- a"),
            (&["$c a", "+b"], &["?a: a b", "!x: a"], "x a"),
            (&["+c a", "+b", "d a"], &["?a: a b", "!x: a", "!y: b"], "a y x"),
            (&[], &["a: a"], ""),
            (&["a"], &[], "-"),
        ] {
            assert_eq!(outcome(mds, folders), expected, "{mds:?} {folders:?}");
        }
    }

    fn holds() -> impl Strategy<Value = Holds> {
        prop::sample::select(vec![Holds::Certificate, Holds::StagedSet, Holds::Nothing])
    }

    fn names() -> impl Strategy<Value = Vec<String>> {
        let name = prop::sample::select(vec!["a.x", "b.x", "*.x", "x", "a.y", "*.y", "y", "c.a.x"]);
        prop::collection::vec(name.prop_map(String::from), 0..4)
    }

    proptest! {
        #[test]
        fn a_folder_is_taken_by_one_md_or_is_lent_and_none_is_left_that_would_fit(
            mds in prop::collection::vec((names(), names(), any::<bool>()), 0..5),
            folders in prop::collection::vec((names(), holds()), 0..5),
        ) {
            let seekers: Vec<_> = mds
                .iter()
                .map(|(names, hosts, has_folder)| Seeker { names, host_names: hosts.clone(), has_folder: *has_folder })
                .collect();
            let records: Vec<_> = folders
                .iter()
                .enumerate()
                .map(|(at, (names, _))| Folder { name: at.to_string(), names: names.clone() })
                .collect();
            let holds = |folder: &Folder| folders[folder.name.parse::<usize>().unwrap()].1;
            let found = find(&seekers, &records, &holds, &|_| Holds::Nothing, &|_, _| true);
            let touches = |ours: &[String], theirs: &[String]| {
                ours.iter().any(|a| theirs.iter().any(|b| names::covers(a, b) || names::covers(b, a)))
            };
            let fits = |seeker: &Seeker<'_>, folder: &Folder| {
                let hosts = touches(&seeker.host_names, &folder.names);
                let is_wanted = !seeker.has_folder || holds(folder) != Holds::Nothing;
                (touches(seeker.names, &folder.names) || hosts) && is_wanted
            };
            let (lent, taken): (Vec<Found>, Vec<Found>) =
                found.iter().flatten().partition(|found| found.help == Help::Lends);
            let [taken, lent] = [taken, lent].map(|all| all.iter().map(|found| found.folder).collect::<Vec<_>>());
            prop_assert_eq!(taken.iter().collect::<HashSet<_>>().len(), taken.len());
            prop_assert!(!lent.iter().any(|at| taken.contains(at)));
            for (seeker, folder) in seekers.iter().zip(&found) {
                match folder {
                    Some(Found { folder, help }) => {
                        let folder = &records[*folder];
                        prop_assert!(fits(seeker, folder));
                        let is_right = match help {
                            Help::Moves => !seeker.has_folder,
                            Help::GivesSet => seeker.has_folder && holds(folder) == Holds::StagedSet,
                            Help::Lends => holds(folder) == Holds::Certificate,
                        };
                        prop_assert!(is_right);
                    }
                    None => {
                        let left = |at: &usize| !taken.contains(at) && fits(seeker, &records[*at]);
                        prop_assert_eq!((0..records.len()).find(left), None);
                    }
                }
            }
        }
    }

    #[test]
    fn ten_thousand_mds_that_share_names_are_matched_at_once() {
        let many = 10_000;
        let folders: Vec<_> = (0..many)
            .map(|n| Folder {
                name: format!("old{n}"),
                names: vec!["shared.test".into(), format!("old{n}.test")],
            })
            .collect();
        let names: Vec<_> =
            (0..many).map(|n| vec![format!("new{n}.test"), "shared.test".into(), "*.test".into()]).collect();
        let seekers: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(n, names)| Seeker { names, host_names: vec![format!("old{n}.test")], has_folder: false })
            .collect();
        let found = find(&seekers, &folders, &|_| Holds::Nothing, &|_| Holds::Nothing, &|_, _| true);
        assert_eq!(found.iter().flatten().count(), many);
    }
}
