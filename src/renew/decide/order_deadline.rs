// SPDX-License-Identifier: Apache-2.0
//! The time that a phase of an order may take until the order is given up. Pure.

use super::urgency::Urgency;
use crate::managed::saved_order::{Phase, SavedOrder};
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// An issuance may take longer than a validation unless it is urgent: at some CAs people approve it.
const ISSUANCE_MAX: Duration = DAY.saturating_mul(7);
/// For urgent renewals where another CA may be faster.
const PRESSED_MAX: Duration = Duration::from_secs(3600);

/// When this phase of `order` is given up: when the order expires, or after a day. `has_other`: there is
/// another CA.
pub fn deadline(order: &SavedOrder, urgency: Urgency, has_other: bool, now: Timestamp) -> Timestamp {
    let longest = match (urgency, &order.phase) {
        (Urgency::Late | Urgency::Missing, _) if has_other => PRESSED_MAX,
        (Urgency::Usual, Phase::Issuing { .. }) if order.expires.is_some() => ISSUANCE_MAX,
        _ => DAY,
    };
    let at = order.since(now).plus(longest);
    order.expires.map_or(at, |expires| at.min(expires))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn order(phase: Phase) -> SavedOrder {
        SavedOrder {
            url: "https://ca/o/1".into(),
            key: "rsa".into(),
            expires: Some(NOW.plus(DAY * 30)),
            phase,
        }
    }

    fn validating() -> Phase {
        Phase::Validating { since: NOW, started: vec!["https://ca/a/1".into()] }
    }

    #[test]
    fn an_order_is_given_up_when_it_expires_or_sooner_for_another_ca() {
        let within =
            |order: &SavedOrder, urgency, has_other| deadline(order, urgency, has_other, NOW).since(NOW);
        let (usual, late, missing) = (Urgency::Usual, Urgency::Late, Urgency::Missing);
        for (phase, urgency, has_other, expected) in [
            (validating(), usual, false, DAY),
            (validating(), missing, false, DAY),
            (validating(), late, true, PRESSED_MAX),
            (Phase::Issuing { since: NOW }, usual, true, ISSUANCE_MAX),
            (Phase::Issuing { since: NOW }, missing, false, DAY),
            (Phase::Issuing { since: NOW }, missing, true, PRESSED_MAX),
        ] {
            assert_eq!(within(&order(phase.clone()), urgency, has_other), expected, "{phase:?} {urgency:?}");
        }
        let soon = SavedOrder { expires: Some(NOW.plus(DAY / 2)), ..order(validating()) };
        assert_eq!(within(&soon, usual, false), DAY / 2);
        let unknown = SavedOrder { expires: None, ..order(Phase::Issuing { since: NOW }) };
        assert_eq!(within(&unknown, usual, false), DAY);
    }
}
