// SPDX-License-Identifier: Apache-2.0
//! Chooses which of the configured CAs a renewal asks (failover): pure functions of its errors, its urgency,
//! and the CAs that want no requests for a while.

use super::urgency::{Urgency, patience};
use crate::model::RetryState;
use crate::time::Timestamp;

/// The CA to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaChoice<'u> {
    Ask(&'u str),
    /// None of those that come into question may be asked before; this one then.
    Wait(&'u str, Timestamp),
    /// None is configured.
    Unconfigured,
}

/// Since when, and until when, a CA wants no requests.
pub type Demand = (Timestamp, Timestamp);

/// The CA of `urls` to ask next: a CA has `failover` tries in a row, a quarter of that where the renewal is
/// late, and one where it refuses. `held` says until when a CA must not be asked: usually that is waited for;
/// an urgent renewal asks another one meanwhile.
pub fn choose_ca<'u>(
    urls: &'u [String],
    state: &RetryState,
    failover: u32,
    urgency: Urgency,
    held: impl Fn(&str) -> Option<Timestamp>,
) -> CaChoice<'u> {
    let tries = if urgency == Urgency::Late { failover.div_ceil(4) } else { failover };
    let begin = match urls.iter().position(|url| state.ca.as_ref() == Some(url)) {
        Some(current) if state.refused || state.ca_errors >= tries.max(1) => current + 1,
        Some(current) => current,
        None => 0,
    };
    let mut choice = CaChoice::Unconfigured;
    for url in urls.iter().cycle().skip(begin).take(urls.len()) {
        let Some(until) = held(url) else { return CaChoice::Ask(url) };
        if !matches!(choice, CaChoice::Wait(_, earliest) if earliest <= until) {
            choice = CaChoice::Wait(url, until);
        }
        if urgency == Urgency::Usual {
            break;
        }
    }
    choice
}

/// The same with the demands of CAs: obeyed in full where there is another CA, which an urgent renewal asks,
/// and else as far as the certificate, which expires at `end`, leaves time.
pub fn choose_within_demands<'u>(
    urls: &'u [String],
    state: &RetryState,
    failover: u32,
    (urgency, end): (Urgency, Option<Timestamp>),
    demands: impl Fn(&str) -> Vec<Demand>,
    now: Timestamp,
) -> CaChoice<'u> {
    let held = |url: &str, until: &dyn Fn(Demand) -> Timestamp| {
        demands(url).into_iter().map(until).max().filter(|until| *until > now)
    };
    match choose_ca(urls, state, failover, urgency, |url| held(url, &|(_, until)| until)) {
        CaChoice::Wait(..) if urls.len() == 1 => {
            choose_ca(urls, state, failover, urgency, |url| held(url, &|demand| obeyed_until(demand, end)))
        }
        choice => choice,
    }
}

/// The end of the time for which a renewal whose certificate expires at `end` obeys a demand.
fn obeyed_until((since, until): Demand, end: Option<Timestamp>) -> Timestamp {
    until.min(since.plus(patience(end, since)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::DAY;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn urls() -> Vec<String> {
        ["a", "b", "c"].iter().map(|host| format!("https://{host}.test/dir")).collect()
    }

    fn state(ca: usize, errors: u32) -> RetryState {
        RetryState { ca: urls().get(ca).cloned(), ca_errors: errors, ..RetryState::default() }
    }

    fn asked(state: &RetryState, urgency: Urgency) -> String {
        match choose_ca(&urls(), state, 13, urgency, |_| None) {
            CaChoice::Ask(url) => url["https://".len()..][..1].to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_next_ca_is_asked_after_failover_errors_and_sooner_when_late() {
        use Urgency::{Late, Missing, Usual};
        assert_eq!(asked(&RetryState::default(), Usual), "a");
        let cases = [
            (0, 12, Usual, "a"),
            (0, 13, Usual, "b"),
            (0, 13, Missing, "b"),
            (0, 4, Missing, "a"),
            (0, 3, Late, "a"),
            (0, 4, Late, "b"),
            (1, 12, Usual, "b"),
            (2, 13, Usual, "a"),
        ];
        for (ca, errors, urgency, expected) in cases {
            assert_eq!(asked(&state(ca, errors), urgency), expected, "{ca} {errors} {urgency:?}");
        }
        assert_eq!(asked(&RetryState { refused: true, ..state(0, 1) }, Usual), "b");
        // It is not configured any more.
        assert_eq!(asked(&RetryState { ca: Some("https://old.test".into()), ..state(0, 50) }, Usual), "a");
        assert_eq!(choose_ca(&[], &state(0, 1), 13, Usual, |_| None), CaChoice::Unconfigured);
    }

    #[test]
    fn a_ca_that_must_not_be_asked_is_waited_for_unless_it_is_urgent() {
        let urls = urls();
        let later = |url: &str| url.contains("a.test").then(|| NOW.plus(DAY));
        assert_eq!(
            choose_ca(&urls, &RetryState::default(), 13, Urgency::Usual, later),
            CaChoice::Wait("https://a.test/dir", NOW.plus(DAY))
        );
        for urgency in [Urgency::Late, Urgency::Missing] {
            assert_eq!(
                choose_ca(&urls, &RetryState::default(), 13, urgency, later),
                CaChoice::Ask("https://b.test/dir")
            );
        }
        let all = |url: &str| Some(NOW.plus(if url.contains("b.test") { DAY } else { DAY * 2 }));
        assert_eq!(
            choose_ca(&urls, &RetryState::default(), 13, Urgency::Late, all),
            CaChoice::Wait("https://b.test/dir", NOW.plus(DAY))
        );
    }

    #[test]
    fn a_demand_is_obeyed_for_half_of_what_is_left_of_a_certificate_at_most() {
        let obeyed = |left: Option<u32>, since: Timestamp, days: u32| {
            let end = left.map(|days| NOW.plus(DAY * days));
            obeyed_until((since, since.plus(DAY * days)), end).since(NOW)
        };
        assert_eq!(obeyed(Some(60), NOW, 10), DAY * 10);
        assert_eq!(obeyed(Some(10), NOW, 10), DAY * 5);
        assert_eq!(obeyed(None, NOW, 10), DAY);
        assert_eq!(obeyed(Some(10), NOW.minus(DAY * 20), 10_000), Duration::ZERO);
    }
}
