// SPDX-License-Identifier: Apache-2.0
//! Decides when a job tries again after a failure, which state it keeps, and which part of that survives a
//! restart. Pure functions of the job, the failure and `now`; which CA comes next is in
//! [`failover`](super::failover).

use super::error::Error;
use super::failover::{CaChoice, choose_ca};
use super::rate_limits;
use super::urgency::{Pressure, RETRY_MAX, patience};
use crate::acme;
use crate::backoff;
use crate::model::job::STARTING;
use crate::model::retry_state::VALIDATIONS_KEPT;
use crate::model::{Job, LogEntry, RateLimit, RetryState, request};
use crate::notify;
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// CAs limit the failed validations of a name to this many in an hour.
const VALIDATION_SPAN: Duration = Duration::from_secs(3600);

/// The longest delay between tries, with its jitter.
const WAIT_MIN: Duration = DAY.saturating_mul(2);

/// The properties of a failure that matter for the next try.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// The CA that was asked; `None` where it did not come to that.
    pub ca: Option<String>,
    /// No repetition mends it until the configuration changes.
    pub is_hopeless: bool,
    /// This CA refuses; another may not.
    pub is_refusal: bool,
    /// The CA looked for the answer to a challenge, in vain.
    pub is_validation: bool,
    /// The CA's date for the next request.
    pub not_before: Option<Timestamp>,
    pub rate_limit: Option<RateLimit>,
}

impl Failure {
    pub fn of(error: &Error, ca: Option<&str>, domains: &[String], now: Timestamp) -> Self {
        let of_acme = error.acme();
        let rate_limit =
            of_acme.zip(ca).and_then(|(error, ca)| rate_limits::demanded(error, ca, domains, now));
        Failure {
            ca: ca.map(String::from),
            is_hopeless: error.is_hopeless(now),
            // A CA that was waited for long enough is passed over, too.
            is_refusal: of_acme.is_some_and(|e| {
                e.verdict(now) == acme::Verdict::NextCa || matches!(e, acme::Error::TimedOut { .. })
            }),
            is_validation: matches!(of_acme, Some(acme::Error::Invalid { identifier: Some(_), .. })),
            not_before: error
                .not_before(now)
                .max(rate_limit.as_ref().map(|limit| limit.until))
                .map(Timestamp::ceil),
            rate_limit,
        }
    }
}

/// The configuration of retries.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    pub delay: Duration,
    pub failover: u32,
}

/// Notes a failure in the job. Returns when to try again, which is its `next_run` too: with a growing delay,
/// once a day where no repetition helps, and never before the CA wants to be asked again. The next CA need
/// not wait for that.
pub fn failed(
    job: &mut Job,
    failure: &Failure,
    urls: &[String],
    pressure: Pressure,
    retry: Retry,
    random: f64,
    now: Timestamp,
) -> Timestamp {
    job.errors = job.errors.saturating_add(1);
    let state = &mut job.retry_state;
    if let Some(ca) = &failure.ca {
        if state.ca.as_ref() != Some(ca) {
            (state.ca, state.ca_errors) = (Some(ca.clone()), 0);
        }
        state.ca_errors = state.ca_errors.saturating_add(1);
        state.refused = failure.is_refusal && urls.len() > 1;
        state.rate_limit =
            failure.rate_limit.clone().or(state.rate_limit.take()).filter(|limit| limit.is_in_force(now));
    }
    if failure.is_validation {
        state.failed_validations.push(now.ceil());
        let excess = state.failed_validations.len().saturating_sub(VALIDATIONS_KEPT);
        state.failed_validations.drain(..excess);
    }
    let is_last = urls.last() == failure.ca.as_ref();
    let passes_on = match choose_ca(urls, state, retry.failover, pressure.urgency, |_| None) {
        CaChoice::Ask(next) => failure.ca.as_deref().is_some_and(|ca| ca != next),
        CaChoice::Wait(..) | CaChoice::Unconfigured => false,
    };
    let is_hopeless = failure.is_hopeless && !(failure.is_refusal && passes_on && !is_last);
    let not_before = failure.not_before.filter(|_| !passes_on).max(validation_pause(state, now));
    let longest = pressure.longest;
    let at = retry_at(job.errors, retry.delay, longest, is_hopeless, not_before, random, now);
    let at = at.min(now.plus(wait_max(pressure.end, now)));
    job.next_run = Some(at);
    at
}

/// When to try again after the `errors`-th failure in a row: `base · 2^(errors-1)`, at most `longest`, spread
/// by ±50 % (`random` in 0..1), never before `not_before` (the CA's Retry-After). A failure that no
/// repetition mends is retried once a day from the first time on.
pub fn retry_at(
    errors: u32,
    base: Duration,
    longest: Duration,
    hopeless: bool,
    not_before: Option<Timestamp>,
    random: f64,
    now: Timestamp,
) -> Timestamp {
    let delay = if hopeless { RETRY_MAX } else { backoff::delay(errors, base, longest) };
    let at = now.plus(backoff::spread(delay, random));
    not_before.map_or(at, |earliest| at.max(earliest))
}

/// Until when the job pauses after as many failed validations as one hour may have: an hour after the oldest.
/// Those from the future were noted by a clock that was wrong.
pub fn validation_pause(state: &RetryState, now: Timestamp) -> Option<Timestamp> {
    let is_recent = |at: &&Timestamp| **at <= now.ceil() && now.since(**at) < VALIDATION_SPAN;
    let recent = state.failed_validations.iter().filter(is_recent);
    let oldest = recent.clone().next().filter(|_| recent.count() >= VALIDATIONS_KEPT)?;
    Some(oldest.plus(VALIDATION_SPAN))
}

/// Notes that the CA may not be asked before `until`: by the job's own demand, or by one of another job,
/// that is kept like an own one, so that it outlives that job.
pub fn wait(job: &mut Job, until: Timestamp, of_another: Option<&RateLimit>) {
    if let Some(rate_limit) = of_another {
        job.retry_state.rate_limit = Some(rate_limit.clone());
    }
    job.next_run = Some(until);
}

/// The renewal succeeded. Demands of another CA still hold.
pub fn succeeded(job: &mut Job, now: Timestamp) {
    let rate_limit = job.retry_state.rate_limit.take().filter(|limit| limit.is_in_force(now));
    job.retry_state = RetryState { rate_limit, ..RetryState::default() };
    job.errors = 0;
}

/// A next run further away was written by a clock that was wrong, or not by us.
fn wait_max(end: Option<Timestamp>, now: Timestamp) -> Duration {
    patience(end, now).max(WAIT_MIN)
}

/// Until when the job waits before it asks `ca`. Demands of another CA do not count, nor do notes by a clock
/// that was ahead. `end`: that of the certificate in use.
pub fn waits_for(job: &Job, ca: &str, end: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let at = job.next_run.filter(|at| *at > now && at.since(now) <= wait_max(end, now))?;
    if job.last_run.is_some_and(|last| last > now)
        || job.retry_state.rate_limit.as_ref().is_some_and(|h| h.since > now)
    {
        return None;
    }
    if job.is_postponed() {
        return Some(at);
    }
    let is_anothers = job.retry_state.rate_limit.as_ref().is_some_and(|rate_limit| {
        rate_limit.ca != ca
            && at <= rate_limit.until
            && job.retry_state.ca.as_ref().is_none_or(|asked| *asked == rate_limit.ca)
    });
    (!is_anothers).then_some(at)
}

/// The part of a failing job that a start keeps, if any: the CA's demands, and recent notifications.
pub fn of_the_next_start(job: &Job, now: Timestamp) -> Option<Job> {
    let mut state = job.retry_state.of_the_next_start(now);
    state.failed_validations.retain(|at| now.since(*at) < VALIDATION_SPAN);
    let next_run = state.rate_limit.as_ref().map(|limit| limit.until).max(validation_pause(&state, now));
    let log = notify::limiting(&job.log, now);
    let pending_notice = job.pending_notice.clone();
    // Somebody may wait for the answer.
    let request = job
        .request
        .clone()
        .filter(|request| request.renewal().is_some() || now.since(request.answer.when) < request::LIFETIME);
    let is_any = !state.is_empty() || !log.is_empty() || pending_notice.is_some() || request.is_some();
    is_any.then(|| Job { next_run, retry_state: state, log, pending_notice, request, ..Job::new(&job.name) })
}

/// The part of a finished job's log that the next renewal keeps: the last attempt, and recent notifications. Without a
/// restart, one log would go through all renewals, and each page and each live set has it.
pub fn log_of_the_next_renewal(log: &[LogEntry], now: Timestamp) -> Vec<LogEntry> {
    let begin = log.iter().position(|entry| entry.kind == STARTING).map_or(log.len(), |at| at + 1);
    let (last, before) = log.split_at(begin);
    last.iter().cloned().chain(notify::limiting(before, now)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::Problem;
    use crate::model::Scope;
    use crate::renew::decide::urgency::Urgency;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const END: Option<Timestamp> = Some(Timestamp::from_unix(1_800_000_000 + 90 * 86_400));
    const RETRY: Retry = Retry { delay: Duration::from_secs(30), failover: 13 };

    #[test]
    fn a_log_keeps_the_last_attempt_and_what_limits_notifications() {
        let mut job = Job::new("a.test");
        let day = Duration::from_secs(86_400);
        for (ago, kinds) in [
            (day * 2, ["starting", "message-expiring", "finished"]),
            (day / 2, ["starting", "message-expiring", "renewal-error"]),
            (day / 4, ["starting", "progress", "finished"]),
        ] {
            kinds.iter().for_each(|kind| job.note(NOW.minus(ago), kind, None, None));
        }
        let kinds = |log: &[LogEntry]| log.iter().map(|entry| entry.kind.clone()).collect::<Vec<_>>();
        let kept = log_of_the_next_renewal(&job.log, NOW);
        assert_eq!(kinds(&kept), ["finished", "progress", "starting", "message-expiring"]);
        assert_eq!(kept[3].when, NOW.minus(day / 2));
        // The C module's do not say when an attempt began.
        job.log.retain(|entry| entry.kind != "starting");
        assert_eq!(log_of_the_next_renewal(&job.log, NOW), job.log);
    }

    fn urls() -> Vec<String> {
        ["a", "b", "c"].iter().map(|host| format!("https://{host}.test/dir")).collect()
    }

    fn asked(state: &RetryState, urgency: Urgency) -> String {
        match choose_ca(&urls(), state, 13, urgency, |_| None) {
            CaChoice::Ask(url) => url["https://".len()..][..1].to_string(),
            other => format!("{other:?}"),
        }
    }

    fn fail(job: &mut Job, error: acme::Error, ca: usize, now: Timestamp) -> u64 {
        let urls = urls();
        let failure = Failure::of(&error.into(), urls.get(ca).map(String::as_str), &["a.test".into()], now);
        let pressure = Pressure { urgency: Urgency::Usual, late_at: None, longest: DAY, end: END };
        failed(job, &failure, &urls, pressure, RETRY, 0.5, now).since(now).as_secs()
    }

    fn problem(name: &str) -> acme::Error {
        Problem::new(&format!("acme:error:{name}"), "said").into()
    }

    #[test]
    fn a_refusal_passes_to_the_next_ca_and_the_last_one_waits_a_day() {
        let mut job = Job::new("a.test");
        assert_eq!(fail(&mut job, problem("caa"), 0, NOW), 30);
        assert_eq!(asked(&job.retry_state, Urgency::Usual), "b");
        assert_eq!(fail(&mut job, problem("caa"), 1, NOW), 60);
        assert_eq!(fail(&mut job, problem("caa"), 2, NOW), 86_400);
        assert_eq!(asked(&job.retry_state, Urgency::Usual), "a");
        assert_eq!(fail(&mut job, problem("malformed"), 0, NOW), 86_400);
        assert_eq!(asked(&job.retry_state, Urgency::Usual), "a");
    }

    #[test]
    fn the_wait_one_ca_demands_is_kept_and_does_not_hold_back_another() {
        let limited = || acme::Error::Problem {
            problem: Box::new(Problem::new("acme:error:rateLimited", "too many")),
            retry_after: Some(NOW.plus(DAY * 7)),
        };
        let mut job = Job::new("a.test");
        assert_eq!(fail(&mut job, limited(), 0, NOW), 7 * 86_400);
        let rate_limit = job.retry_state.rate_limit.clone().unwrap();
        assert_eq!((rate_limit.scope, rate_limit.until), (Scope::Ca, NOW.plus(DAY * 7)));
        assert_eq!(job.next_run, Some(NOW.plus(DAY * 7)));
        job.retry_state.ca_errors = 12;
        assert!(fail(&mut job, limited(), 0, NOW) < 86_400, "the next CA is asked");
        let restarted = of_the_next_start(&job, NOW).unwrap();
        assert_eq!((restarted.errors, restarted.next_run), (0, Some(NOW.plus(DAY * 7))));
        assert_eq!(of_the_next_start(&job, NOW.plus(DAY * 7)), None);
    }

    #[test]
    fn a_job_waits_for_its_own_errors_not_for_what_another_ca_demanded() {
        let [first, second, _] = urls().try_into().unwrap();
        let mut job = Job::new("a.test");
        let (scope, since, until) = (Scope::Ca, NOW, NOW.plus(DAY));
        wait(&mut job, until, Some(&RateLimit { ca: first.clone(), scope, since, until }));
        assert_eq!(waits_for(&job, &first, END, NOW), Some(NOW.plus(DAY)));
        assert_eq!(waits_for(&job, &second, END, NOW), None);
        // A command that refuses a renewal for now counts for every CA.
        let mut vetoed = job.clone();
        vetoed.postpone(crate::model::job::MESSAGE_FAILED.into(), "exit code 3".into(), NOW.plus(DAY / 2));
        assert_eq!(waits_for(&vetoed, &second, END, NOW), Some(NOW.plus(DAY / 2)));
        let next = fail(&mut job, problem("serverInternal"), 1, NOW);
        assert_eq!(waits_for(&job, &second, END, NOW).map(|at| at.since(NOW).as_secs()), Some(next));
        // Written by a clock that was wrong.
        assert_eq!(waits_for(&job, &second, END, NOW.minus(DAY * 12)), None);
    }

    #[test]
    fn no_wait_on_disk_takes_more_than_half_of_what_is_left_of_a_certificate() {
        let planted = |days: u32| Job { next_run: Some(NOW.plus(DAY * days)), ..Job::new("a.test") };
        let waits = |days, left| waits_for(&planted(days), &urls()[0], Some(NOW.plus(DAY * left)), NOW);
        assert_eq!(waits(4, 10), Some(NOW.plus(DAY * 4)));
        assert_eq!([waits(6, 10), waits(12, 90)], [None; 2]);
        assert_eq!(waits_for(&planted(3), &urls()[0], None, NOW), None);
    }

    #[test]
    fn no_name_has_more_than_five_failed_validations_in_an_hour() {
        let invalid = || acme::Error::Invalid {
            end: crate::acme::error::End::Invalid,
            identifier: Some("a.test".into()),
            tried: None,
            problem: Some(Box::new(Problem::new("acme:error:connection", "timeout"))),
        };
        let mut job = Job::new("a.test");
        let (mut now, mut times) = (NOW, Vec::new());
        for n in 0..200 {
            times.push(now);
            now = now.plus(Duration::from_secs(fail(&mut job, invalid(), 0, now)));
            if n % 3 == 2 {
                // A start forgets the errors, not the validations.
                job = of_the_next_start(&job, now).unwrap();
            }
            now = now.max(job.next_run.unwrap_or(now));
        }
        for six in times.windows(6) {
            assert!(six[5].since(six[0]) >= VALIDATION_SPAN, "{six:?}");
        }
    }

    #[test]
    fn retries_double_up_to_a_day_and_respect_the_retry_after_of_the_ca() {
        let base = Duration::from_secs(30);
        let after =
            |errors, hopeless| retry_at(errors, base, DAY, hopeless, None, 0.5, NOW).since(NOW).as_secs();
        assert_eq!([after(1, false), after(2, false), after(5, false)], [30, 60, 480]);
        assert_eq!(after(60, false), 86_400);
        assert_eq!(after(1, true), 86_400);
        assert_eq!(retry_at(1, base, DAY, false, None, 0.0, NOW), NOW.plus(base / 2));
        assert_eq!(retry_at(1, base, DAY, false, None, 1.0, NOW), NOW.plus(base * 3 / 2));
        let earliest = NOW.plus(Duration::from_secs(3600));
        assert_eq!(retry_at(1, base, DAY, false, Some(earliest), 0.5, NOW), earliest);
    }
}
