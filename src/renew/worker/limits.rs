// SPDX-License-Identifier: Apache-2.0
//! Limits the renewals in flight, in total and at one CA, so that neither many domains burden a CA nor a CA
//! that never answers takes every place. A renewal that only waits for its CA to validate, or for a command,
//! gives its place to another meanwhile, and has one of as many beside; where there is one place, renewals at CAs
//! follow each other. Pure bookkeeping.

use std::collections::HashMap;

/// At one CA at once.
pub const PER_CA: usize = 8;

pub struct Slots {
    free: usize,
    /// Beside those, for renewals that wait until it is time to ask their CA again.
    free_for_rests: usize,
    /// Beside those, for renewals that wait for a command of the admin.
    free_for_commands: usize,
    by_ca: HashMap<String, usize>,
}

impl Slots {
    /// `parallel`: over all CAs.
    pub fn new(parallel: usize) -> Self {
        let free_for_rests = if parallel > 1 { parallel } else { 0 };
        Slots { free: parallel, free_for_rests, free_for_commands: parallel, by_ca: HashMap::new() }
    }

    /// Takes a place for a renewal at the CA with this directory URL. `false`: there is none.
    pub fn take(&mut self, ca: &str) -> bool {
        if !self.has_one(ca) {
            return false;
        }
        self.free -= 1;
        *self.by_ca.entry(host(ca).to_string()).or_default() += 1;
        true
    }

    /// Whether there is a place for a renewal at the CA with this directory URL.
    pub fn has_one(&self, ca: &str) -> bool {
        self.free > 0 && self.by_ca.get(host(ca)).is_none_or(|at_ca| *at_ca < PER_CA)
    }

    /// Takes a place for a renewal that waits until it is time to ask its CA again.
    pub fn take_resting(&mut self) {
        take_beside(&mut self.free_for_rests, &mut self.free);
    }

    /// Takes a place for a renewal that waits for a command, which may take minutes.
    pub fn take_in_command(&mut self) {
        take_beside(&mut self.free_for_commands, &mut self.free);
    }

    pub fn is_full(&self) -> bool {
        self.free == 0
    }
}

/// Takes a place beside those of all others, as long as there are any.
fn take_beside(beside: &mut usize, free: &mut usize) {
    let places = if *beside > 0 { beside } else { free };
    *places = places.saturating_sub(1);
}

/// Host and port of a URL.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_and_eight_at_each_ca() {
        let mut slots = Slots::new(18);
        let taken = |slots: &mut Slots, ca: &str| (0..20).filter(|_| slots.take(ca)).count();
        assert_eq!(taken(&mut slots, "https://a.test/dir"), 8);
        // The same host by another path.
        assert_eq!(taken(&mut slots, "https://a.test/other"), 0);
        assert_eq!(taken(&mut slots, "https://b.test:14000/dir"), 8);
        assert!(!slots.is_full());
        assert_eq!(taken(&mut slots, "https://b.test/dir"), 2);
        assert!(slots.is_full());
    }

    #[test]
    fn waits_have_places_of_their_own_until_there_are_too_many() {
        for wait in [Slots::take_resting, Slots::take_in_command] {
            let mut slots = Slots::new(2);
            wait(&mut slots);
            wait(&mut slots);
            assert!(slots.take("https://a.test/dir"));
            assert!(slots.take("https://a.test/dir") && slots.is_full());
            let mut slots = Slots::new(2);
            (0..3).for_each(|_| wait(&mut slots));
            assert!(!slots.is_full());
            wait(&mut slots);
            assert!(slots.is_full(), "no more than twice as many");
        }
    }

    #[test]
    fn a_renewal_that_rests_keeps_the_only_place() {
        let mut slots = Slots::new(1);
        slots.take_resting();
        assert!(slots.is_full());
    }

    #[test]
    fn a_renewal_that_rests_has_no_place_at_its_ca() {
        let mut slots = Slots::new(20);
        (0..20).for_each(|_| slots.take_resting());
        assert_eq!((0..20).filter(|_| slots.take("https://a.test/dir")).count(), 8);
    }
}
