// SPDX-License-Identifier: Apache-2.0
//! How a job goes on after a failure: which CA's turn it is, and when. Pure functions of the job, the
//! failure and `now`; the engine performs what they say, and the simulation drives them for years.

use super::due;
use super::error::Error;
use super::rate_limits;
use crate::acme;
use crate::managed::certificates::KeyedCert;
use crate::model::retry_state::{VALIDATIONS_KEPT, WAIT_MAX};
use crate::model::{Hold, Job, Md, Pace};
use crate::notify;
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// CAs limit the failed validations of a name to this many in an hour.
const VALIDATION_SPAN: Duration = Duration::from_secs(3600);

/// How much a renewal needs to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    Usual,
    /// Less than two thirds of the renew window are left.
    Late,
    /// There is no usable certificate.
    Missing,
}

/// How time presses a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    pub urgency: Urgency,
    /// When the urgency turns from usual to late.
    pub late_at: Option<Timestamp>,
    /// The longest pause between two tries, so that several fit in before the certificate ends. Long after
    /// its end nothing is pressing any more.
    pub longest: Duration,
    /// When the first certificate ends; `None` where one is missing.
    pub end: Option<Timestamp>,
}

/// As long as tries go by themselves, with what is added at random.
const WAIT_MIN: Duration = DAY.saturating_mul(2);

/// How long anybody may have a renewal wait from `since` on: half of the time that is left of its
/// certificate, a day where there is none.
pub fn patience(end: Option<Timestamp>, since: Timestamp) -> Duration {
    let left = end.map(|end| end.since(since)).filter(|left| !left.is_zero());
    left.map_or(due::RETRY_MAX, |left| (left / 2).clamp(LONGEST_MIN, WAIT_MAX))
}

/// Until when a demand is met by a renewal whose certificate ends then.
pub fn is_met_until(hold: &Hold, end: Option<Timestamp>) -> Timestamp {
    hold.until.min(hold.since.plus(patience(end, hold.since)))
}

/// Between two tries for a certificate that is about to end, or just has ended.
const LONGEST_MIN: Duration = Duration::from_secs(3600);
/// As many tries fit into the time that is left.
const TRIES_LEFT: u32 = 8;

pub fn pressure(md: &Md, certs: &[KeyedCert], now: Timestamp) -> Pressure {
    let missing = Pressure { urgency: Urgency::Missing, late_at: None, longest: due::RETRY_MAX, end: None };
    let mut first: Option<(Timestamp, Timestamp)> = None;
    for (_, cert) in certs {
        let Some(cert) = cert else { return missing };
        let window = md.renew_window.of(cert.not_after.since(cert.not_before));
        let late_at = cert.not_after.minus(window * 2 / 3);
        let (end, late) = first.unwrap_or((cert.not_after, late_at));
        first = Some((end.min(cert.not_after), late.min(late_at)));
    }
    let Some((end, late_at)) = first else { return missing };
    let distance = end.since(now).max(now.since(end));
    let longest = (distance / TRIES_LEFT).clamp(LONGEST_MIN, due::RETRY_MAX);
    let end = Some(end);
    match late_at > now {
        true => Pressure { urgency: Urgency::Usual, late_at: Some(late_at), longest, end },
        false => Pressure { urgency: Urgency::Late, late_at: None, longest, end },
    }
}

/// The CA to ask now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn<'u> {
    Ask(&'u str),
    /// None of those that come into question may be asked before; this one then.
    Wait(&'u str, Timestamp),
    /// None is configured.
    Nobody,
}

/// Whose turn it is among `urls`: a CA has `failover` tries in a row, a quarter of that where the renewal
/// is late, and one where it refuses. `held` tells until when a CA must not be asked: usually that is
/// waited for; where time presses, another one is asked meanwhile.
pub fn turn<'u>(
    urls: &'u [String],
    pace: &Pace,
    failover: u32,
    urgency: Urgency,
    held: impl Fn(&str) -> Option<Timestamp>,
) -> Turn<'u> {
    let tries = if urgency == Urgency::Late { failover.div_ceil(4) } else { failover };
    let begin = match urls.iter().position(|url| pace.ca.as_ref() == Some(url)) {
        Some(current) if pace.refused || pace.ca_errors >= tries.max(1) => current + 1,
        Some(current) => current,
        None => 0,
    };
    let mut turn = Turn::Nobody;
    for url in urls.iter().cycle().skip(begin).take(urls.len()) {
        let Some(until) = held(url) else { return Turn::Ask(url) };
        if !matches!(turn, Turn::Wait(_, earliest) if earliest <= until) {
            turn = Turn::Wait(url, until);
        }
        if urgency == Urgency::Usual {
            break;
        }
    }
    turn
}

/// The same where demands are met: in full where there is another CA, which is asked when time presses, and
/// else as far as the certificate lets us. `held` tells until when, of the demands as they are, and as they
/// are met.
pub fn patient_turn<'u>(
    urls: &'u [String],
    pace: &Pace,
    failover: u32,
    urgency: Urgency,
    held: impl Fn(&str, fn(&Hold, Option<Timestamp>) -> Timestamp) -> Option<Timestamp>,
) -> Turn<'u> {
    match turn(urls, pace, failover, urgency, |url| held(url, |hold, _| hold.until)) {
        Turn::Wait(..) if urls.len() == 1 => {
            turn(urls, pace, failover, urgency, |url| held(url, is_met_until))
        }
        other => other,
    }
}

/// What a failure means for the next try.
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
    /// The CA's word on when to come again.
    pub not_before: Option<Timestamp>,
    pub hold: Option<Hold>,
}

impl Failure {
    pub fn of(error: &Error, ca: Option<&str>, domains: &[String], now: Timestamp) -> Self {
        let of_acme = error.acme();
        let hold = of_acme.zip(ca).and_then(|(error, ca)| rate_limits::demanded(error, ca, domains, now));
        Failure {
            ca: ca.map(String::from),
            is_hopeless: error.is_hopeless(now),
            // One that has been waited for long enough is left alone, too.
            is_refusal: of_acme.is_some_and(|e| {
                e.verdict(now) == acme::Verdict::NextCa || matches!(e, acme::Error::TimedOut { .. })
            }),
            is_validation: matches!(of_acme, Some(acme::Error::Invalid { identifier: Some(_), .. })),
            not_before: error.not_before(now).max(hold.as_ref().map(|hold| hold.until)).map(Timestamp::ceil),
            hold,
        }
    }
}

/// How retries are configured.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    pub delay: Duration,
    pub failover: u32,
}

/// Notes a failure in the job. The answer, also its `next_run`, is when to try again: at the pace of its
/// errors, once a day where nothing else can come of it, never before the CA wants to be asked again. The
/// next CA need not wait for that.
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
    let pace = &mut job.pace;
    if let Some(ca) = &failure.ca {
        if pace.ca.as_ref() != Some(ca) {
            (pace.ca, pace.ca_errors) = (Some(ca.clone()), 0);
        }
        pace.ca_errors = pace.ca_errors.saturating_add(1);
        pace.refused = failure.is_refusal && urls.len() > 1;
        pace.hold = failure.hold.clone().or(pace.hold.take()).filter(|hold| hold.is_in_force(now));
    }
    if failure.is_validation {
        pace.failed_validations.push(now.ceil());
        let excess = pace.failed_validations.len().saturating_sub(VALIDATIONS_KEPT);
        pace.failed_validations.drain(..excess);
    }
    let is_last = urls.last() == failure.ca.as_ref();
    let passes_on = match turn(urls, pace, retry.failover, pressure.urgency, |_| None) {
        Turn::Ask(next) => failure.ca.as_deref().is_some_and(|ca| ca != next),
        Turn::Wait(..) | Turn::Nobody => false,
    };
    let is_hopeless = failure.is_hopeless && !(failure.is_refusal && passes_on && !is_last);
    let not_before = failure.not_before.filter(|_| !passes_on).max(validation_pause(pace, now));
    let longest = pressure.longest;
    let at = due::retry_at(job.errors, retry.delay, longest, is_hopeless, not_before, random, now);
    let at = at.min(now.plus(wait_max(pressure.end, now)));
    job.next_run = Some(at);
    at
}

/// When the oldest of as many failed validations as an hour may have lies an hour back. Those from the
/// future were noted by a clock that was wrong.
pub fn validation_pause(pace: &Pace, now: Timestamp) -> Option<Timestamp> {
    let is_recent = |at: &&Timestamp| **at <= now.ceil() && now.since(**at) < VALIDATION_SPAN;
    let recent = pace.failed_validations.iter().filter(is_recent);
    let oldest = recent.clone().next().filter(|_| recent.count() >= VALIDATIONS_KEPT)?;
    Some(oldest.plus(VALIDATION_SPAN))
}

/// Notes that the CA may not be asked before `until`: by the job's own demand, or by one of another job,
/// that is kept like an own one, so that it outlives that job.
pub fn wait(job: &mut Job, until: Timestamp, of_another: Option<&Hold>) {
    if let Some(hold) = of_another {
        job.pace.hold = Some(hold.clone());
    }
    job.next_run = Some(until);
}

/// The renewal succeeded. What another CA demanded still holds.
pub fn succeeded(job: &mut Job, now: Timestamp) {
    let hold = job.pace.hold.take().filter(|hold| hold.is_in_force(now));
    job.pace = Pace { hold, ..Pace::default() };
    job.errors = 0;
}

/// A next run further away was written by a clock that was wrong, or not by us.
fn wait_max(end: Option<Timestamp>, now: Timestamp) -> Duration {
    patience(end, now).max(WAIT_MIN)
}

/// Until when the job waits before it asks `ca`. What another CA demanded does not count, and nothing that
/// was noted by a clock that was ahead. `end`: that of the certificate in use.
pub fn waits_for(job: &Job, ca: &str, end: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let at = job.next_run.filter(|at| *at > now && at.since(now) <= wait_max(end, now))?;
    if job.last_run.is_some_and(|last| last > now) || job.pace.hold.as_ref().is_some_and(|h| h.since > now) {
        return None;
    }
    if job.is_postponed() {
        return Some(at);
    }
    let is_anothers = job.pace.hold.as_ref().is_some_and(|hold| {
        hold.ca != ca && at <= hold.until && job.pace.ca.as_ref().is_none_or(|asked| *asked == hold.ca)
    });
    (!is_anothers).then_some(at)
}

/// What a start leaves of a failing job, if there is any of it: the CA's demands, and what was told of it
/// lately.
pub fn of_the_next_start(job: &Job, now: Timestamp) -> Option<Job> {
    let mut pace = job.pace.of_the_next_start(now);
    pace.failed_validations.retain(|at| now.since(*at) < VALIDATION_SPAN);
    let next_run = pace.hold.as_ref().map(|hold| hold.until).max(validation_pause(&pace, now));
    let log = notify::limiting(&job.log, now);
    let untold = job.untold.clone();
    let is_any = !pace.is_empty() || !log.is_empty() || untold.is_some();
    is_any.then(|| Job { next_run, pace, log, untold, ..Job::new(&job.name) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::Problem;
    use crate::crypto::CertInfo;
    use crate::model::{KeySpec, Scope};
    use crate::time::TimeSlice;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const END: Option<Timestamp> = Some(Timestamp::from_unix(1_800_000_000 + 90 * 86_400));
    const RETRY: Retry = Retry { delay: Duration::from_secs(30), failover: 13 };

    fn urls() -> Vec<String> {
        ["a", "b", "c"].iter().map(|host| format!("https://{host}.test/dir")).collect()
    }

    fn pace(ca: usize, errors: u32) -> Pace {
        Pace { ca: urls().get(ca).cloned(), ca_errors: errors, ..Pace::default() }
    }

    fn asked(pace: &Pace, urgency: Urgency) -> String {
        match turn(&urls(), pace, 13, urgency, |_| None) {
            Turn::Ask(url) => url["https://".len()..][..1].to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_next_ca_has_its_turn_after_so_many_errors_and_sooner_where_time_presses() {
        use Urgency::{Late, Missing, Usual};
        assert_eq!(asked(&Pace::default(), Usual), "a");
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
            assert_eq!(asked(&pace(ca, errors), urgency), expected, "{ca} {errors} {urgency:?}");
        }
        assert_eq!(asked(&Pace { refused: true, ..pace(0, 1) }, Usual), "b");
        // It is not configured any more.
        assert_eq!(asked(&Pace { ca: Some("https://old.test".into()), ..pace(0, 50) }, Usual), "a");
        assert_eq!(turn(&[], &pace(0, 1), 13, Usual, |_| None), Turn::Nobody);
    }

    #[test]
    fn a_ca_that_must_not_be_asked_is_waited_for_unless_time_presses() {
        let urls = urls();
        let later = |url: &str| url.contains("a.test").then(|| NOW.plus(DAY));
        assert_eq!(
            turn(&urls, &Pace::default(), 13, Urgency::Usual, later),
            Turn::Wait("https://a.test/dir", NOW.plus(DAY))
        );
        for urgency in [Urgency::Late, Urgency::Missing] {
            assert_eq!(turn(&urls, &Pace::default(), 13, urgency, later), Turn::Ask("https://b.test/dir"));
        }
        let all = |url: &str| Some(NOW.plus(if url.contains("b.test") { DAY } else { DAY * 2 }));
        assert_eq!(
            turn(&urls, &Pace::default(), 13, Urgency::Late, all),
            Turn::Wait("https://b.test/dir", NOW.plus(DAY))
        );
    }

    #[test]
    fn a_renewal_is_late_with_less_than_two_thirds_of_its_window_left() {
        let md = Md { renew_window: TimeSlice::Percent(33), ..Md::default() };
        let cert = |left: Duration| {
            let not_after = NOW.plus(left);
            vec![(
                KeySpec::default(),
                Some(CertInfo { not_before: not_after.minus(DAY * 100), not_after, ..CertInfo::default() }),
            )]
        };
        let told = |certs: &[KeyedCert]| {
            let pressure = pressure(&md, certs, NOW);
            (pressure.urgency, pressure.late_at.map(|at| at.since(NOW)))
        };
        assert_eq!(told(&cert(DAY * 23)), (Urgency::Usual, Some(DAY)));
        assert_eq!(told(&cert(DAY * 22)), (Urgency::Late, None));
        assert_eq!(told(&cert(Duration::ZERO)), (Urgency::Late, None));
        assert_eq!(told(&[(KeySpec::default(), None)]), (Urgency::Missing, None));
        // The longest pause between two tries, in hours, by the days that are left.
        let longest = |left: Duration| pressure(&md, &cert(left), NOW).longest.as_secs() / 3600;
        let hours: Vec<u64> = [30, 8, 2, 0].iter().map(|days| longest(DAY * *days)).collect();
        assert_eq!(hours, [24, 24, 6, 1]);
        assert_eq!(pressure(&md, &cert(DAY), NOW.plus(DAY * 2)).longest, DAY / 8);
        assert_eq!(pressure(&md, &cert(DAY), NOW.plus(DAY * 20)).longest, DAY);
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
    fn a_refusal_passes_the_turn_on_at_once_and_the_last_one_goes_to_the_daily_pace() {
        let mut job = Job::new("a.test");
        assert_eq!(fail(&mut job, problem("caa"), 0, NOW), 30);
        assert_eq!(asked(&job.pace, Urgency::Usual), "b");
        assert_eq!(fail(&mut job, problem("caa"), 1, NOW), 60);
        assert_eq!(fail(&mut job, problem("caa"), 2, NOW), 86_400);
        assert_eq!(asked(&job.pace, Urgency::Usual), "a");
        assert_eq!(fail(&mut job, problem("malformed"), 0, NOW), 86_400);
        assert_eq!(asked(&job.pace, Urgency::Usual), "a");
    }

    #[test]
    fn the_wait_one_ca_demands_is_kept_and_does_not_hold_back_another() {
        let limited = || acme::Error::Problem {
            problem: Box::new(Problem::new("acme:error:rateLimited", "too many")),
            retry_after: Some(NOW.plus(DAY * 7)),
        };
        let mut job = Job::new("a.test");
        assert_eq!(fail(&mut job, limited(), 0, NOW), 7 * 86_400);
        let hold = job.pace.hold.clone().unwrap();
        assert_eq!((hold.scope, hold.until), (Scope::Ca, NOW.plus(DAY * 7)));
        assert_eq!(job.next_run, Some(NOW.plus(DAY * 7)));
        job.pace.ca_errors = 12;
        assert!(fail(&mut job, limited(), 0, NOW) < 86_400, "the next CA's turn has come");
        let restarted = of_the_next_start(&job, NOW).unwrap();
        assert_eq!((restarted.errors, restarted.next_run), (0, Some(NOW.plus(DAY * 7))));
        assert_eq!(of_the_next_start(&job, NOW.plus(DAY * 7)), None);
    }

    #[test]
    fn a_job_does_not_wait_for_what_another_ca_demanded_but_for_its_own_errors() {
        let [first, second, _] = urls().try_into().unwrap();
        let mut job = Job::new("a.test");
        let (scope, since, until) = (Scope::Ca, NOW, NOW.plus(DAY));
        wait(&mut job, until, Some(&Hold { ca: first.clone(), scope, since, until }));
        assert_eq!(waits_for(&job, &first, END, NOW), Some(NOW.plus(DAY)));
        assert_eq!(waits_for(&job, &second, END, NOW), None);
        // Nor but for a command that wants no renewal now, whichever CA it is.
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
        let hold = |since: Timestamp, until| Hold { ca: urls()[0].clone(), scope: Scope::Ca, since, until };
        let met = |left: Option<u32>, since: Timestamp, days: u32| {
            let end = left.map(|days| NOW.plus(DAY * days));
            is_met_until(&hold(since, since.plus(DAY * days)), end).since(NOW)
        };
        assert_eq!(met(Some(60), NOW, 10), DAY * 10);
        assert_eq!(met(Some(10), NOW, 10), DAY * 5);
        assert_eq!(met(None, NOW, 10), DAY);
        assert_eq!(met(Some(10), NOW.minus(DAY * 20), 10_000), Duration::ZERO);
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
}
