// SPDX-License-Identifier: Apache-2.0
//! Finds which file uses names defined in which other: re-exports are followed to the file that defines a
//! name.

use super::code::{Named, names};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// `from` names something that `to` defines; both below `src/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub from: String,
    pub to: String,
    /// The first line of `from` that does.
    pub line: usize,
}

type Module = Vec<String>;

struct File {
    name: String,
    module: Module,
    named: Vec<Named>,
}

struct Crate {
    files: Vec<File>,
    of_module: HashMap<Module, usize>,
}

/// How many re-exports may follow each other.
const STEPS_MAX: usize = 8;

/// `files`: path below `src/`, and code without text and tests.
pub fn edges(files: &[(&str, String)]) -> Vec<Edge> {
    let files: Vec<File> = files
        .iter()
        .map(|(name, code)| File { name: name.to_string(), module: module_of(name), named: names(code) })
        .collect();
    let of_module = files.iter().enumerate().map(|(i, file)| (file.module.clone(), i)).collect();
    let all = Crate { files, of_module };
    let mut found: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for (from, file) in all.files.iter().enumerate() {
        for named in &file.named {
            let Some(path) = all.absolute(from, &named.path, named.import.is_some()) else { continue };
            let Some(to) = all.defined_in(&path, 0).filter(|to| *to != from) else { continue };
            // A facade names what is below it for others.
            let is_facade = named.import.as_ref().is_some_and(|import| import.is_public)
                && all.files[to].module.starts_with(&file.module);
            if !is_facade {
                found.entry((from, to)).or_insert(named.line);
            }
        }
    }
    let name = |file: usize| all.files[file].name.clone();
    found.into_iter().map(|((from, to), line)| Edge { from: name(from), to: name(to), line }).collect()
}

pub fn module_of(file: &str) -> Module {
    let path = file.trim_end_matches(".rs");
    let path = if path == "lib" { "" } else { path };
    let mut module: Module = path.split('/').filter(|part| !part.is_empty()).map(str::to_string).collect();
    module.pop_if(|last| last == "mod");
    module
}

impl Crate {
    /// A path of this crate from its root; `None` for one that leads elsewhere.
    fn absolute(&self, file: usize, path: &[String], is_import: bool) -> Option<Module> {
        let module = &self.files[file].module;
        let first = path.first()?;
        if first == "crate" || first == "mod_md" {
            return Some(path[1..].to_vec());
        }
        if first == "self" {
            return Some([module, &path[1..]].concat());
        }
        let supers = path.iter().take_while(|segment| *segment == "super").count();
        if supers > 0 {
            let base = module.get(..module.len().checked_sub(supers)?)?;
            return Some([base, &path[supers..]].concat());
        }
        let child = [module.as_slice(), std::slice::from_ref(first)].concat();
        if self.of_module.contains_key(&child) {
            return Some([module, path].concat());
        }
        if is_import {
            return None;
        }
        let import = self.import(file, first)?;
        Some([self.absolute(file, &import.path, true)?.as_slice(), &path[1..]].concat())
    }

    fn import(&self, file: usize, name: &str) -> Option<&Named> {
        let is_it = |named: &&Named| named.import.as_ref().is_some_and(|import| import.name == name);
        self.files[file].named.iter().find(is_it)
    }

    /// The file that defines what `path` leads to; `None` for a module itself.
    fn defined_in(&self, path: &[String], steps: usize) -> Option<usize> {
        let is_module = |n: &usize| self.of_module.contains_key(&path[..*n]);
        let depth = (0..=path.len()).rev().find(is_module)?;
        let file = *self.of_module.get(&path[..depth])?;
        let item = path.get(depth)?;
        let import = self.import(file, item).filter(|_| steps < STEPS_MAX);
        let further = import.and_then(|import| self.absolute(file, &import.path, true));
        match further {
            Some(further) => self.defined_in(&[further.as_slice(), &path[depth + 1..]].concat(), steps + 1),
            None => Some(file),
        }
    }
}

/// Files that use each other, around in a circle: each set once, as one of its circles.
pub fn circles(edges: &[Edge]) -> Vec<Vec<String>> {
    let mut after: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for edge in edges {
        after.entry(&edge.from).or_default().insert(&edge.to);
    }
    let mut found: Vec<Vec<String>> = Vec::new();
    for start in after.keys() {
        if found.iter().flatten().any(|file| file == start) {
            continue;
        }
        found.extend(way_back(&after, start));
    }
    found
}

/// The shortest way from `start` to itself.
fn way_back(after: &BTreeMap<&str, BTreeSet<&str>>, start: &str) -> Option<Vec<String>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut next = std::collections::VecDeque::from([start]);
    while let Some(file) = next.pop_front() {
        for to in after.get(file).into_iter().flatten() {
            if *to == start {
                let way = std::iter::successors(Some(file), |at| before.get(at).copied());
                let mut way: Vec<String> = way.map(str::to_string).collect();
                way.reverse();
                return Some(way);
            }
            if *to != start && !before.contains_key(to) {
                before.insert(to, file);
                next.push_back(to);
            }
        }
    }
    None
}
