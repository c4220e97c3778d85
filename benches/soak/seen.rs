// SPDX-License-Identifier: Apache-2.0
//! What clients have seen, by the fault that is to blame, and whether it may be.

use super::plan::Fault;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    Refused,
    /// The connection ended early.
    Reset,
    TimedOut,
    /// By the clock of the client.
    Expired,
    NotYetValid,
    WrongName,
    /// Self-signed, after the first one of the CA.
    Fallback,
    Untrusted,
    /// The handshake failed otherwise.
    Handshake,
    /// The page is not the right one.
    Answer,
}

impl Flaw {
    pub fn name(self) -> &'static str {
        match self {
            Flaw::Refused => "refused",
            Flaw::Reset => "reset",
            Flaw::TimedOut => "timed out",
            Flaw::Expired => "expired certificate",
            Flaw::NotYetValid => "certificate not valid yet",
            Flaw::WrongName => "certificate of another name",
            Flaw::Fallback => "self-signed certificate",
            Flaw::Untrusted => "certificate that is not the CA's",
            Flaw::Handshake => "failed handshake",
            Flaw::Answer => "wrong answer",
        }
    }

    /// What any httpd loses that way: the connections that a killed child had taken.
    pub fn is_cost(self, blamed: Option<Fault>) -> bool {
        self == Flaw::Reset && blamed == Some(Fault::KilledChild)
    }
}

#[derive(Default)]
pub struct Row {
    pub handshakes: u64,
    pub stapled: u64,
    pub flaws: BTreeMap<Flaw, u64>,
    /// Sets that came into use.
    pub renewals: u64,
    /// Certificates that were renewed late because of it.
    pub late: u64,
    /// The longest visit of a client that went well.
    pub slowest: Duration,
}

/// A certificate that should have been replaced, and was not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overdue {
    pub name: String,
    /// Seconds since the epoch.
    pub not_before: i64,
}

#[derive(Default)]
pub struct Seen {
    pub rows: BTreeMap<Option<Fault>, Row>,
    overdue: BTreeSet<Overdue>,
    /// What must not be: the first ones in words, all of them as a number.
    pub broken: Vec<String>,
    pub broken_count: u64,
}

/// More are only counted.
pub const MOST_WORDS: usize = 40;

impl Seen {
    fn row(&mut self, blamed: Option<Fault>) -> &mut Row {
        self.rows.entry(blamed).or_default()
    }

    pub fn good(&mut self, blamed: Option<Fault>, is_stapled: bool, took: Duration) {
        let row = self.row(blamed);
        row.handshakes += 1;
        row.slowest = row.slowest.max(took);
        row.stapled += u64::from(is_stapled);
    }

    pub fn flawed(&mut self, blamed: Option<Fault>, flaw: Flaw, words: &str) {
        let row = self.row(blamed);
        row.handshakes += 1;
        *row.flaws.entry(flaw).or_default() += 1;
        if !flaw.is_cost(blamed) {
            self.breaks(format!("{} ({}): {words}", flaw.name(), name_of(blamed)));
        }
    }

    /// Counted once for each certificate. `is_excused`: renewals were stopped meanwhile.
    pub fn overdue(&mut self, blamed: Option<Fault>, overdue: Overdue, is_excused: bool, words: &str) {
        if !self.overdue.insert(overdue) {
            return;
        }
        match is_excused {
            true => self.row(blamed).late += 1,
            false => self.breaks(format!("not renewed in time ({}): {words}", name_of(blamed))),
        }
    }

    pub fn renewed(&mut self, blamed: Option<Fault>, count: u64) {
        self.row(blamed).renewals += count;
    }

    pub fn breaks(&mut self, words: String) {
        self.broken_count += 1;
        if self.broken.len() < MOST_WORDS {
            self.broken.push(words);
        }
    }

    pub fn handshakes(&self) -> u64 {
        self.rows.values().map(|row| row.handshakes).sum()
    }

    pub fn renewals(&self) -> u64 {
        self.rows.values().map(|row| row.renewals).sum()
    }

    /// Flaws that any httpd has, and others.
    pub fn flaws(&self) -> [u64; 2] {
        let mut sums = [0, 0];
        for (blamed, row) in &self.rows {
            for (flaw, count) in &row.flaws {
                sums[usize::from(!flaw.is_cost(*blamed))] += count;
            }
        }
        sums
    }
}

pub fn name_of(blamed: Option<Fault>) -> &'static str {
    blamed.map_or("quiet", Fault::name)
}
