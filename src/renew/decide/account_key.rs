// SPDX-License-Identifier: Apache-2.0
//! Whether a renewal gives its account the key that waits for it (RFC 8555 §7.3.5, `a2md account rollover
//! --at-renewal`). Public keys are compared. Decides for one account.

use crate::time::Timestamp;
use std::time::Duration;

/// A CA that has not taken the key is asked again after this time at the earliest, however many renewals there are.
const AGAIN: Duration = Duration::from_secs(3600);

/// Why a key goes on waiting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hindrance {
    #[error("the fleet is not reached, which has to be told")]
    CutOff,
    /// Its requests and answers are made with the key that is valid.
    #[error("another renewal is at work with the present key")]
    Use,
    /// The same of an order of this MD, whichever process has placed it.
    #[error("the CA is at work on an order of {0} with the present key")]
    Order(String),
    /// When the CA last took it not.
    #[error("the CA has not taken it at {}, and is asked again an hour later at the earliest", .0.to_http_date())]
    Refused(Timestamp),
    #[error("another process is changing the keys of the account")]
    Outrun,
}

/// Whether a CA that has not taken a key then is not asked again yet.
pub fn is_refused(at: Timestamp, now: Timestamp) -> bool {
    // A time in the future was noted while the clock was ahead.
    at <= now && now.since(at) < AGAIN
}

/// The keys of an account, and what keeps them as they are.
pub struct Keys<'k, K> {
    /// That the CA takes.
    pub valid: &'k K,
    /// In account.pem.
    pub stored: Option<&'k K>,
    /// In account-next.pem.
    pub next: Option<&'k K>,
    pub hindrance: Option<Hindrance>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// No key waits, or another one than that of the store is valid: whoever changed that had the last word.
    Stays,
    /// The CA has taken the next key, which is to be noted.
    IsChanged,
    /// Now.
    Changes,
    /// At a later renewal.
    Waits(Hindrance),
}

impl Turn {
    pub fn hindrance(self) -> Option<Hindrance> {
        match self {
            Turn::Waits(hindrance) => Some(hindrance),
            Turn::Stays | Turn::IsChanged | Turn::Changes => None,
        }
    }
}

pub fn turn<K: PartialEq>(keys: &Keys<'_, K>) -> Turn {
    match (keys.next, &keys.hindrance) {
        (None, _) => Turn::Stays,
        (Some(next), _) if keys.valid == next => Turn::IsChanged,
        (Some(_), _) if Some(keys.valid) != keys.stored => Turn::Stays,
        (Some(_), Some(hindrance)) => Turn::Waits(hindrance.clone()),
        (Some(_), None) => Turn::Changes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const OLD: u8 = 1;
    const NEXT: u8 = 2;
    const OTHER: u8 = 3;

    fn of(valid: &u8, next: Option<&u8>, hindrance: Option<Hindrance>) -> Turn {
        turn(&Keys { valid, stored: Some(&OLD), next, hindrance })
    }

    #[test]
    fn a_key_that_waits_takes_its_turn_once() {
        assert_eq!(of(&OLD, None, None), Turn::Stays);
        assert_eq!(of(&OLD, Some(&NEXT), None), Turn::Changes);
        assert_eq!(of(&NEXT, Some(&NEXT), None), Turn::IsChanged);
        assert_eq!(of(&NEXT, Some(&NEXT), Some(Hindrance::Refused(NOW))), Turn::IsChanged);
    }

    #[test]
    fn a_key_that_another_node_has_given_the_account_is_not_replaced() {
        assert_eq!(of(&OTHER, Some(&NEXT), None), Turn::Stays);
        let keys = Keys { valid: &OTHER, stored: None, next: Some(&NEXT), hindrance: None };
        assert_eq!(turn(&keys), Turn::Stays);
    }

    #[test]
    fn it_waits_for_orders_under_way_and_for_an_hour_after_a_refusal() {
        assert_eq!(of(&OLD, Some(&NEXT), Some(Hindrance::Use)), Turn::Waits(Hindrance::Use));
        let refused = |seconds: u64| is_refused(NOW.minus(Duration::from_secs(seconds)), NOW);
        assert_eq!((refused(0), refused(3599), refused(3600)), (true, true, false));
        assert!(!is_refused(NOW.plus(AGAIN), NOW), "the clock was ahead");
    }
}
