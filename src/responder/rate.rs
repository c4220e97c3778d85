// SPDX-License-Identifier: Apache-2.0
//! The rate limit of answers by UDP, where addresses are forged: by source network (/24 and /56), in a table
//! that never grows. Imports nothing of this room.
//!
//! Networks that share a place in the table share its budget. That costs nobody an answer: who is over the
//! limit is sent to TCP.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

const PLACES: usize = 4096;

/// The questions of a network in a second, and at once.
const PER_SECOND: u64 = 1000;
const AT_ONCE: u64 = 1000;

/// The cost of one answer, in nanoseconds.
const COST: u64 = 1_000_000_000 / PER_SECOND;

pub struct Limit<H = RandomState> {
    /// When each place will have paid for all answers that it got, in nanoseconds.
    paid_at: Box<[u64]>,
    /// With a key of its own, so that no client can choose a place to share.
    hasher: H,
}

impl Default for Limit {
    fn default() -> Self {
        Limit::new(RandomState::new())
    }
}

impl<H: BuildHasher> Limit<H> {
    pub fn new(hasher: H) -> Self {
        Limit { paid_at: vec![0; PLACES].into(), hasher }
    }

    /// Whether `source` gets one more answer. `now` counts from any moment that stays the same.
    pub fn admits(&mut self, source: IpAddr, now: Duration) -> bool {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let place = self.hasher.hash_one(network(source)) % PLACES as u64;
        let Some(paid_at) = usize::try_from(place).ok().and_then(|place| self.paid_at.get_mut(place)) else {
            return true;
        };
        let next = (*paid_at).max(now).saturating_add(COST);
        let is_admitted = next.saturating_sub(now) <= AT_ONCE * COST;
        if is_admitted {
            *paid_at = next;
        }
        is_admitted
    }
}

/// One operator's addresses. IPv4 as IPv6 has it.
fn network(source: IpAddr) -> [u8; 8] {
    let mut network = [0; 8];
    match source.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            network.copy_from_slice(&[0, 0, 0, 0, 4, a, b, c]);
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, ..] = address.octets();
            network.copy_from_slice(&[a, b, c, d, e, f, g, 6]);
        }
    }
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admitted(limit: &mut Limit, source: &str, now: Duration, times: usize) -> usize {
        (0..times).filter(|_| limit.admits(ip(source), now)).count()
    }

    #[test]
    fn a_network_gets_a_second_of_answers_at_once_and_then_as_many_as_time_brings() {
        let mut limit = Limit::default();
        let begin = Duration::from_secs(7);
        assert_eq!(admitted(&mut limit, "192.0.2.1", begin, 5000), 1000);
        assert_eq!(admitted(&mut limit, "192.0.2.254", begin, 10), 0, "another address of the same /24");
        assert_eq!(admitted(&mut limit, "::ffff:192.0.2.9", begin, 10), 0, "the same, of an IPv6 socket");
        assert_eq!(admitted(&mut limit, "192.0.2.1", begin + Duration::from_millis(250), 5000), 250);
        assert_eq!(admitted(&mut limit, "192.0.2.1", begin + Duration::from_secs(60), 5000), 1000);
    }

    #[test]
    fn others_are_not_limited_with_it() {
        let mut limit = Limit::default();
        let now = Duration::ZERO;
        admitted(&mut limit, "2001:db8:0:100::1", now, 5000);
        assert_eq!(admitted(&mut limit, "2001:db8:0:1ff::2", now, 10), 0, "the same /56");
        let others = ["2001:db8:0:200::1", "192.0.2.1", "198.51.100.1"];
        // One of them may share the place by chance, in one of a thousand runs.
        assert!(others.iter().filter(|other| admitted(&mut limit, other, now, 10) == 10).count() >= 2);
    }

    #[test]
    fn a_clock_that_stands_or_ends_is_no_trouble() {
        let mut limit = Limit::default();
        assert!(limit.admits(ip("192.0.2.1"), Duration::MAX));
        assert_eq!(admitted(&mut limit, "192.0.2.2", Duration::ZERO, 10), 0, "time went backwards");
        assert_eq!(admitted(&mut limit, "192.0.2.3", Duration::MAX, 10), 10);
    }
}
