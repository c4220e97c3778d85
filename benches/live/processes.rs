// SPDX-License-Identifier: Apache-2.0
//! What httpd's processes hold: memory and open files.

use std::fmt;
use std::fs;
use support::{Httpd, process};

/// One process.
#[derive(Clone, Copy)]
pub struct Holding {
    pub pid: u32,
    /// kB, with what it shares with others.
    resident: u64,
    /// kB, its share of what several map.
    pub proportional: u64,
    pub files: usize,
}

impl Holding {
    /// `None`: it has ended.
    fn of(pid: u32) -> Option<Holding> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let value = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        Some(Holding { pid, resident: value("Rss:")?, proportional: value("Pss:")?, files })
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holding { resident, proportional, files, .. } = self;
        write!(f, "{resident:>6} kB resident, {proportional:>6} kB proportional, {files:>3} open files")
    }
}

/// The parent first.
pub fn holdings(httpd: &Httpd) -> Vec<Holding> {
    let all = std::iter::once(httpd.pid()).chain(process::children(httpd.pid()));
    all.filter_map(Holding::of).collect()
}

/// The parent, and then each child that lived through it, before and after.
pub fn print_changes(before: &[Holding], after: &[Holding]) {
    for (at, old) in before.iter().enumerate() {
        if let Some(new) = after.iter().find(|new| new.pid == old.pid) {
            println!("  {} {old}\n      -> {new}", if at == 0 { "parent" } else { "child " });
        }
    }
}

/// What those hold now that were there before.
pub fn resident(before: &[Holding], now: &[Holding]) -> Vec<u64> {
    let is_old = |one: &&Holding| before.iter().any(|old| old.pid == one.pid);
    now.iter().filter(is_old).map(|one| one.resident).collect()
}

/// The parent, and the children of the moment, whoever they are.
pub fn print(when: &str, all: &[Holding]) {
    for (at, one) in all.iter().enumerate() {
        println!("  {when}: {} {one}", if at == 0 { "parent" } else { "child " });
    }
}

/// How many processes there are, and the sum of what they hold, in kB.
pub fn proportional(httpd: &Httpd) -> (usize, u64) {
    let all = holdings(httpd);
    (all.len(), all.iter().map(|one| one.proportional).sum())
}
