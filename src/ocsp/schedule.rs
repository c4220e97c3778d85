// SPDX-License-Identifier: Apache-2.0
//! The time of the next request to a responder: pure functions of its past answers and `now`. Randomness is
//! passed in as a number in 0..1.

use super::response::Response;
use crate::backoff;
use crate::time::{DAY, TimeSlice, Timestamp};
use std::time::Duration;

/// The longest wait after a failure: responses live for days, and outages end.
const RETRY_MAX: Duration = Duration::from_secs(3600);
/// Cache-Control may lead to an earlier request, but not to polling.
const MAX_AGE_MIN: Duration = Duration::from_secs(3600);
/// The part of the renew window over which fetches are spread.
const SPREAD: f64 = 0.1;

/// The window in which a new response is fetched, at the end of the validity of this one.
pub fn window(response: &Response, renew_window: TimeSlice) -> (Timestamp, Timestamp) {
    let length = renew_window.of(response.until.since(response.from));
    (response.until.minus(length), response.until)
}

/// From when on a node asks although another one of its fleet should have: the last quarter of the validity, or
/// half of a shorter renew window.
pub fn alone_from(response: &Response, renew_window: TimeSlice) -> Timestamp {
    let (begin, end) = window(response, renew_window);
    end.minus((end.since(begin) / 2).min(end.since(response.from) / 4))
}

/// When to ask for the successor of `response`. `max_age` is that of the answer it came in, if it came just
/// now.
pub fn after_success(
    response: &Response,
    renew_window: TimeSlice,
    max_age: Option<Duration>,
    random: f64,
    now: Timestamp,
) -> Timestamp {
    let (begin, end) = window(response, renew_window);
    let at = begin.plus(end.since(begin).mul_f64(SPREAD * random));
    // RFC 5019 §6.2: only an earlier time is obeyed, because a stale response is not yet expired for clients.
    let at = max_age.map_or(at, |age| at.min(now.plus(age.max(MAX_AGE_MIN))));
    // A responder may return the same response again: it is not asked at every check.
    at.max(now.plus(interval(response, now)))
}

/// The interval of requests: a quarter of the remaining validity.
fn interval(response: &Response, now: Timestamp) -> Duration {
    let shortest =
        (response.until.since(response.from) / 50).clamp(Duration::from_secs(1), Duration::from_secs(60));
    (response.until.since(now) / 4).clamp(shortest, RETRY_MAX)
}

/// When to try again after a number of failures in a row: `base` doubled each time, ± 50 %, an hour at most;
/// more often around the end of the last response, which is `current`, expired or not. The responder's
/// `Retry-After` is honoured as far as the response in use lets us.
pub fn after_failure(
    failures: u32,
    base: Duration,
    retry_after: Option<Timestamp>,
    current: Option<&Response>,
    random: f64,
    now: Timestamp,
) -> Timestamp {
    let in_use = current.filter(|current| current.is_current(now));
    // Many failures while it came to an end say little about how long this will last: the waits grow again
    // from there.
    let since_end = |current: &Response| now.since(current.until);
    let most = in_use.map(|current| interval(current, now)).or_else(|| current.map(since_end));
    let longest = most.map_or(RETRY_MAX, |most| RETRY_MAX.min(most.max(base)));
    let at = now.plus(backoff::spread(backoff::delay(failures, base, longest), random));
    retry_after.map_or(at, |asked| at.max(asked.min(now.plus(patience(in_use, now)))))
}

/// A time that is further ahead is by another clock.
const SKEW: Duration = Duration::from_secs(60);

/// How asking has gone that failed last, as another process left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// In a row.
    pub failures: u32,
    /// The last time, to the second.
    pub tried: Timestamp,
    /// When it was to go on.
    pub next: Timestamp,
    /// The time that the responder asked for.
    pub retry_after: Option<Timestamp>,
}

/// The time of the next request in a process that continues with this state. The start at `started` may have
/// fixed the cause of an error, so the first request follows at once, unless the responder asked us to wait;
/// later ones keep to the state. Times are bounded, because files and clocks may be wrong: a try that is to come was made
/// by a clock that was ahead, and nothing that it says counts.
pub fn after_restart(
    due: Timestamp,
    failing: &Failing,
    started: Timestamp,
    current: Option<&Response>,
    now: Timestamp,
) -> Timestamp {
    if failing.tried > now.plus(SKEW) {
        return due;
    }
    let is_first_try = failing.tried.unix() < started.unix();
    let next = if is_first_try { failing.retry_after } else { Some(failing.next) };
    next.map_or(due, |next| due.max(next.min(now.plus(patience(current, now)))))
}

/// The longest wait that a responder may ask for.
fn patience(current: Option<&Response>, now: Timestamp) -> Duration {
    current.map_or(DAY, |current| current.until.since(now) / 2)
}

/// `max-age` of a Cache-Control header (RFC 9111 §5.2.2.1).
pub fn max_age(cache_control: &str) -> Option<Duration> {
    let directive = |part: &str| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("max-age").then(|| value.trim().trim_matches('"').parse().ok())?
    };
    cache_control.split(',').find_map(directive).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::super::response::Status;
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const HOUR: Duration = Duration::from_secs(3600);
    const THIRD: TimeSlice = TimeSlice::Percent(33);

    fn response(age: Duration, left: Duration) -> Response {
        Response { der: vec![], status: Status::Good, from: NOW.minus(age), until: NOW.plus(left) }
    }

    #[test]
    fn a_response_is_renewed_when_a_third_of_its_validity_is_left() {
        let fresh = response(Duration::ZERO, DAY * 6);
        let begin = NOW.plus(DAY * 6).minus(DAY * 6 * 33 / 100);
        assert_eq!(after_success(&fresh, THIRD, None, 0.0, NOW), begin);
        let latest = after_success(&fresh, THIRD, None, 1.0, NOW);
        assert!(begin < latest && latest < begin.plus(DAY / 4), "spread over a tenth of the window");
        assert_eq!(after_success(&fresh, TimeSlice::Length(DAY), None, 0.0, NOW), NOW.plus(DAY * 5));
    }

    #[test]
    fn a_node_asks_for_another_one_in_the_last_quarter_or_half_of_a_shorter_window() {
        let fresh = response(Duration::ZERO, DAY * 8);
        let before_end = |window| NOW.plus(DAY * 8).since(alone_from(&fresh, window));
        assert_eq!(before_end(TimeSlice::Percent(50)), DAY * 2);
        assert_eq!(before_end(TimeSlice::Percent(100)), DAY * 2);
        assert_eq!(before_end(TimeSlice::Length(DAY)), DAY / 2);
    }

    #[test]
    fn a_caches_age_brings_us_back_earlier_and_never_later() {
        let fresh = response(Duration::ZERO, DAY * 6);
        assert_eq!(after_success(&fresh, THIRD, Some(DAY), 0.0, NOW), NOW.plus(DAY));
        let without = after_success(&fresh, THIRD, None, 0.0, NOW);
        assert_eq!(after_success(&fresh, THIRD, Some(DAY * 30), 0.0, NOW), without);
        assert!(after_success(&fresh, THIRD, Some(Duration::ZERO), 0.0, NOW) >= NOW.plus(HOUR));
    }

    #[test]
    fn a_response_that_is_old_already_is_not_asked_for_at_once_again() {
        let old = response(DAY * 6, HOUR);
        assert_eq!(after_success(&old, THIRD, None, 0.0, NOW), NOW.plus(HOUR / 4));
        let last = response(Duration::from_secs(10), Duration::from_secs(1));
        assert_eq!(after_success(&last, THIRD, None, 0.0, NOW), NOW.plus(Duration::from_secs(1)));
    }

    #[test]
    fn failures_are_tried_again_ever_more_rarely_up_to_an_hour() {
        let base = Duration::from_secs(30);
        let after = |n, random| after_failure(n, base, None, None, random, NOW).since(NOW).as_secs();
        assert_eq!([after(1, 0.5), after(2, 0.5), after(4, 0.5), after(99, 0.5)], [30, 60, 240, 3600]);
        assert_eq!([after(1, 0.0), after(1, 1.0)], [15, 45]);
        let soon_gone = response(DAY, Duration::from_secs(600));
        assert_eq!(after_failure(99, base, None, Some(&soon_gone), 0.5, NOW), NOW.plus(base * 5));
        // It is gone: from the shortest wait on again, the longer it is gone the longer.
        for (seconds, wait) in [(0, base), (30, base), (600, base * 20), (86_400, HOUR)] {
            let until = NOW.minus(Duration::from_secs(seconds));
            let gone = Response { until, ..response(DAY * 7, Duration::ZERO) };
            assert_eq!(after_failure(99, base, None, Some(&gone), 0.5, NOW), NOW.plus(wait), "{seconds}");
        }
    }

    #[test]
    fn retry_after_is_honoured_unless_the_response_in_use_would_expire() {
        let base = Duration::from_secs(30);
        let next = |after: Duration, current: Option<&Response>| {
            after_failure(1, base, Some(NOW.plus(after)), current, 0.5, NOW)
        };
        assert_eq!(next(HOUR, None), NOW.plus(HOUR));
        assert_eq!(next(Duration::from_secs(1), None), NOW.plus(base), "never earlier");
        assert_eq!(next(DAY * 9, None), NOW.plus(DAY));
        assert_eq!(next(DAY * 9, Some(&response(DAY, DAY * 2))), NOW.plus(DAY));
    }

    #[test]
    fn a_start_tries_failures_at_once_and_the_next_child_keeps_the_backoff() {
        let tried = NOW.minus(Duration::from_secs(60));
        let failing = Failing { failures: 3, tried, next: NOW.plus(HOUR), retry_after: None };
        let after = |failing: &Failing, started| after_restart(NOW, failing, started, None, NOW);
        assert_eq!(after(&failing, NOW), NOW);
        assert_eq!(after(&failing, tried.minus(HOUR)), NOW.plus(HOUR));
        let same_second = Timestamp::from_unix_millis(tried.unix_millis() + 900);
        assert_eq!(after(&failing, same_second), NOW.plus(HOUR), "dates are kept to the second");
        let asked_to_wait = Failing { retry_after: Some(NOW.plus(HOUR / 2)), ..failing };
        assert_eq!(after(&asked_to_wait, NOW), NOW.plus(HOUR / 2));
        assert_eq!(after_restart(NOW.plus(DAY), &failing, NOW, None, NOW), NOW.plus(DAY), "not due yet");
    }

    #[test]
    fn no_file_makes_a_wait_endless() {
        let far = NOW.plus(DAY * 9999);
        let failing = Failing { failures: 1, tried: NOW, next: far, retry_after: Some(far) };
        for started in [NOW.minus(DAY), NOW.plus(HOUR)] {
            let after = |current: Option<&Response>| after_restart(NOW, &failing, started, current, NOW);
            assert_eq!(after(None), NOW.plus(DAY));
            assert_eq!(after(Some(&response(DAY, DAY))), NOW.plus(DAY / 2));
        }
        let past = Failing { next: NOW.minus(HOUR), ..failing };
        assert_eq!(after_restart(NOW, &past, NOW, None, NOW), NOW);
    }

    #[test]
    fn what_a_clock_that_was_ahead_has_left_holds_nothing_up() {
        let ahead = NOW.plus(DAY);
        let failing = Failing { failures: 1, tried: ahead, next: ahead.plus(HOUR), retry_after: Some(ahead) };
        for started in [NOW.minus(DAY), NOW, ahead] {
            assert_eq!(after_restart(NOW, &failing, started, None, NOW), NOW);
        }
    }

    #[test]
    fn max_age_is_found_among_other_directives() {
        let cases = [
            ("max-age=300", Some(300)),
            ("public, no-transform, Max-Age=\"21600\", must-revalidate", Some(21_600)),
            ("s-maxage=5", None),
            ("max-age=soon", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(max_age(text), expected.map(Duration::from_secs), "{text}");
        }
    }
}
