// SPDX-License-Identifier: Apache-2.0
//! Whether a renewal gives its account the key that waits for it (RFC 8555 §7.3.5, `a2md account rollover
//! --at-renewal`). Public keys are compared. Decides for one account.

use crate::time::Timestamp;
use std::time::Duration;

/// A CA that has not taken the key is asked again after this time at the earliest, however many renewals there are.
const AGAIN: Duration = Duration::from_secs(3600);

/// The keys of an account, and what else uses it.
pub struct Keys<'k, K> {
    /// That the CA takes.
    pub valid: &'k K,
    /// In account.pem.
    pub stored: Option<&'k K>,
    /// In account-next.pem.
    pub next: Option<&'k K>,
    /// Another order of the account is under way: its requests and answers are made with the key that is valid. Or
    /// others that use the account could not be told.
    pub is_busy: bool,
    /// When the CA last took `next` not.
    pub refused: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// No key waits, or another one than that of the store is valid: whoever changed that had the last word.
    Stays,
    /// The CA has taken the next key, which is to be noted.
    IsChanged,
    /// Now.
    Changes,
    /// At a later renewal.
    Waits,
}

pub fn turn<K: PartialEq>(keys: &Keys<'_, K>, now: Timestamp) -> Turn {
    let Some(next) = keys.next else { return Turn::Stays };
    // A time in the future was noted while the clock was ahead.
    let is_refused = keys.refused.is_some_and(|at| at <= now && now.since(at) < AGAIN);
    match () {
        () if keys.valid == next => Turn::IsChanged,
        () if Some(keys.valid) != keys.stored => Turn::Stays,
        () if keys.is_busy || is_refused => Turn::Waits,
        () => Turn::Changes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const OLD: u8 = 1;
    const NEXT: u8 = 2;
    const OTHER: u8 = 3;

    fn of(valid: &u8, next: Option<&u8>, is_busy: bool, refused: Option<Timestamp>) -> Turn {
        turn(&Keys { valid, stored: Some(&OLD), next, is_busy, refused }, NOW)
    }

    #[test]
    fn a_key_that_waits_takes_its_turn_once() {
        assert_eq!(of(&OLD, None, false, None), Turn::Stays);
        assert_eq!(of(&OLD, Some(&NEXT), false, None), Turn::Changes);
        assert_eq!(of(&NEXT, Some(&NEXT), false, None), Turn::IsChanged);
        assert_eq!(of(&NEXT, Some(&NEXT), true, Some(NOW)), Turn::IsChanged);
    }

    #[test]
    fn a_key_that_another_node_has_given_the_account_is_not_replaced() {
        assert_eq!(of(&OTHER, Some(&NEXT), false, None), Turn::Stays);
        let keys = Keys { valid: &OTHER, stored: None, next: Some(&NEXT), is_busy: false, refused: None };
        assert_eq!(turn(&keys, NOW), Turn::Stays);
    }

    #[test]
    fn it_waits_for_orders_under_way_and_for_an_hour_after_a_refusal() {
        assert_eq!(of(&OLD, Some(&NEXT), true, None), Turn::Waits);
        let refused =
            |seconds: u64| of(&OLD, Some(&NEXT), false, Some(NOW.minus(Duration::from_secs(seconds))));
        assert_eq!((refused(0), refused(3599), refused(3600)), (Turn::Waits, Turn::Waits, Turn::Changes));
        assert_eq!(of(&OLD, Some(&NEXT), false, Some(NOW.plus(AGAIN))), Turn::Changes, "the clock was ahead");
    }
}
