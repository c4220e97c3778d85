// SPDX-License-Identifier: Apache-2.0
//! `a2md renew`: asks the running httpd to renew now, and follows the renewals until they are over. Refuses to
//! begin without names, and where no httpd runs; it renews nothing itself.

use super::call::{Call, Failure, Outcome};
use super::request::{self, Submitted};
use super::site::{Site, names_or_all};
use crate::managed::Managed;
use crate::model::{Answer, Op, Renew, RequestState};
use crate::renew::decide::request::{NOT_CONCERNED, NOT_DUE};
use crate::time::Timestamp;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// For the first answer: the child that renews looks every second.
const ANSWERED: Duration = Duration::from_secs(15);

pub fn define() -> Command {
    let flag =
        |id: &'static str, help: &'static str| Arg::new(id).long(id).action(ArgAction::SetTrue).help(help);
    let value = |id: &'static str, name: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name(name).help(help)
    };
    Command::new("renew")
        .about("Have the running httpd renew certificates now")
        .args(names_or_all())
        .arg(
            value(
                "issued-before",
                "TIME",
                "Only certificates issued before (2026-11-26, or 2026-11-26T08:00:00Z)",
            )
            .value_parser(parse_time),
        )
        .arg(value("issuer", "CA", "Only certificates whose issuer has this in its name"))
        .arg(flag("new-key", "With new keys, where those of an unfinished renewal would be used"))
        .arg(flag("force", "Although they are not due"))
        .arg(flag("wait", "Wait until the new certificates are in use or the renewal fails"))
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    let found = Timestamp::parse_rfc3339(text);
    let of_date = || Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z"));
    found.or_else(of_date).ok_or_else(|| "it is no date such as 2026-11-26 or 2026-11-26T08:00:00Z".into())
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let site = Site::open(call)?;
    let mut mds = site.select(call, matches)?;
    if matches.get_flag("all") {
        mds.retain(|managed| managed.md.left_alone().is_none());
    }
    if request::running(&site).is_none() {
        return Err(not_running(&site, &mds));
    }
    let renew = Renew {
        force: matches.get_flag("force"),
        new_key: matches.get_flag("new-key"),
        issued_before: matches.get_one("issued-before").copied(),
        issuer: matches.get_one("issuer").cloned(),
    };
    let submit = |managed: &Managed| request::submit(&site, &managed.md.name, Op::Renew(renew.clone()));
    let mut followed: Vec<Followed<'_>> =
        mds.iter().map(|managed| submit(managed).map(Followed::new)).collect::<Result<_, _>>()?;
    follow(call, &mut followed, matches.get_flag("wait"))?;
    report(call, &followed)
}

fn not_running(site: &Site, mds: &[Managed]) -> Failure {
    let name = match mds {
        [managed] => managed.md.name.as_str(),
        _ => "NAME",
    };
    let failure = request::not_running(site);
    failure.advice(format!(
        "Start httpd; or have a2md renew by itself: a2md -d {} drive {name}. {}",
        site.dir.display(),
        request::RUNS_ALL_THE_SAME
    ))
}

/// One renewal that is followed.
struct Followed<'s> {
    submitted: Submitted<'s>,
    answer: Option<Answer>,
    /// The step that was shown last.
    shown: Option<String>,
}

impl<'s> Followed<'s> {
    fn new(submitted: Submitted<'s>) -> Self {
        Followed { submitted, answer: None, shown: None }
    }

    fn look(&mut self, call: &Call) {
        if self.is_over(true) {
            return;
        }
        self.answer = self.submitted.look().cloned();
        let Some(answer) = &self.answer else { return };
        let activity = self.submitted.activity().filter(|_| answer.state == RequestState::Running);
        let step = activity.or_else(|| answer.detail.clone()).unwrap_or_else(|| answer.state.token().into());
        if !answer.state.is_final() && self.shown.as_ref() != Some(&step) {
            call.step(&format!("{}: {step}", self.submitted.name()));
            self.shown = Some(step);
        }
    }

    /// Whether nothing more is waited for.
    fn is_over(&self, is_waiting: bool) -> bool {
        self.answer.as_ref().is_some_and(|answer| !is_waiting || answer.state.is_final())
    }

    /// The last word on it, and whether that is good.
    fn outcome(&self) -> (&'static str, bool) {
        let Some(Answer { state, detail, .. }) = &self.answer else { return ("unanswered", false) };
        let begins = |with: &str| detail.as_ref().is_some_and(|detail| detail.starts_with(with));
        match state {
            RequestState::Done if begins(NOT_DUE) => ("not-due", true),
            RequestState::Refused if begins(NOT_CONCERNED) => ("not-concerned", true),
            RequestState::Done => ("renewed", true),
            RequestState::Failed | RequestState::Refused => (state.token(), false),
            RequestState::Accepted | RequestState::Running => (state.token(), true),
        }
    }

    fn to_json(&self) -> Value {
        let (outcome, _) = self.outcome();
        let answer = self.answer.as_ref();
        json!({
            "name": self.submitted.name(),
            "outcome": outcome,
            "detail": answer.and_then(|answer| answer.detail.clone()),
            "when": answer.map(|answer| answer.when.to_rfc3339()),
        })
    }
}

/// Looks until all are over; without `--wait`, until all have an answer.
fn follow(call: &Call, followed: &mut [Followed<'_>], is_waiting: bool) -> Result<(), Failure> {
    let begin = Instant::now();
    loop {
        followed.iter_mut().for_each(|one| one.look(call));
        let mut open = followed.iter_mut().filter(|one| !one.is_over(is_waiting)).peekable();
        let Some(first) = open.peek_mut() else { return Ok(()) };
        first.submitted.check_running()?;
        let are_unanswered = open.any(|one| one.answer.is_none());
        if are_unanswered && !is_waiting && begin.elapsed() > ANSWERED {
            return Ok(());
        }
        call.clock.sleep(PAUSE).map_err(|_| Failure::new("interrupted"))?;
    }
}

/// Problems first, and one line at the end.
fn report(call: &mut Call, followed: &[Followed<'_>]) -> Outcome {
    let is_good = followed.iter().all(|one| one.outcome().1);
    let code = u8::from(!is_good);
    if call.options.json {
        let domains: Vec<Value> = followed.iter().map(Followed::to_json).collect();
        call.print_document(&json!({"schema": 1, "domains": domains}))?;
        return Ok(code);
    }
    for wanted in [false, true] {
        for one in followed.iter().filter(|one| one.outcome().1 == wanted) {
            let detail = one.answer.as_ref().and_then(|answer| answer.detail.as_ref());
            let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
            call.say(&format!("{}: {}{detail}", one.submitted.name(), one.outcome().0));
        }
    }
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for (outcome, _) in followed.iter().map(Followed::outcome) {
        match counts.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, count)) => *count += 1,
            None => counts.push((outcome, 1)),
        }
    }
    let counts: Vec<String> = counts.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    call.say(&match counts.is_empty() {
        true => "no domain is renewed by httpd".into(),
        false => counts.join(", "),
    });
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_with_or_without_time() {
        let noon = Timestamp::from_unix(1_567_080_000);
        assert_eq!(parse_time("2019-08-29T12:00:00Z"), Ok(noon));
        assert_eq!(parse_time("2019-08-29"), Ok(noon.minus(Duration::from_secs(12 * 3600))));
        for bad in ["", "yesterday", "29.8.2019", "2019-08-29T"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }
}
