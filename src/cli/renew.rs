// SPDX-License-Identifier: Apache-2.0
//! `a2md renew`: asks the running httpd to renew now, and follows the renewals until they are over. Refuses to
//! begin without names, and where no httpd runs; it renews nothing itself.

use super::console::call::{Call, Failure, Outcome};
use super::site::request;
use super::site::request::Submitted;
use super::site::server;
use super::site::sets;
use super::site::{Site, names_or_all};
use crate::managed::Managed;
use crate::model::{Answer, Op, Renew, RequestState};
use crate::renew::decide::request::{NOT_CONCERNED, NOT_DUE};
use crate::time::{Timestamp, parse_duration_millis};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// For an answer: the child that renews looks every second, and then at the domain.
const ANSWERED: Duration = Duration::from_secs(15);

/// Between two words on the same step.
const REMIND: Duration = Duration::from_secs(30);
/// The step before the first answer.
const UNSEEN: &str = "waiting for httpd to see the request";

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
        .arg(
            value("timeout", "TIME", "With --wait: give up where nothing has happened for this long")
                .default_value("15mi")
                .value_parser(parse_length),
        )
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    let found = Timestamp::parse_rfc3339(text);
    let of_date = || Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z"));
    found.or_else(of_date).ok_or_else(|| "it is no date such as 2026-11-26 or 2026-11-26T08:00:00Z".into())
}

fn parse_length(text: &str) -> Result<Duration, String> {
    let millis = parse_duration_millis(text, Duration::from_secs(1));
    let found = millis.and_then(|millis| u64::try_from(millis).ok()).filter(|millis| *millis > 0);
    found.map(Duration::from_millis).ok_or_else(|| "it is no time such as 90s, 15mi or 2h".into())
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let site = Site::open(call)?;
    let mut mds = site.select(call, matches)?;
    if matches.get_flag("all") {
        mds.retain(|managed| managed.md.left_alone().is_none());
    }
    if request::running(&site).is_none() {
        return Err(not_running(call, &site, &mds));
    }
    let renew = Renew {
        force: matches.get_flag("force"),
        new_key: matches.get_flag("new-key"),
        issued_before: matches.get_one("issued-before").copied(),
        issuer: matches.get_one("issuer").cloned(),
    };
    let submit = |managed: &Managed| {
        let before = serials(&site, &managed.md.name);
        let submitted = request::submit(&site, &managed.md.name, Op::Renew(renew.clone()))?;
        Ok(Followed::new(submitted, before))
    };
    let mut followed: Vec<Followed<'_>> = mds.iter().map(submit).collect::<Result<_, Failure>>()?;
    let patience = matches.get_one::<Duration>("timeout").copied().filter(|_| matches.get_flag("wait"));
    follow(call, &site, &mut followed, patience)?;
    report(call, &followed)
}

fn not_running(call: &Call, site: &Site, mds: &[Managed]) -> Failure {
    let name = match mds {
        [managed] => managed.md.name.as_str(),
        _ => "NAME",
    };
    let drive = format!("a2md -d {} drive {name}", site.dir.display());
    match server::pid(call, site) {
        Some(pid) => Failure::new(server::deaf(pid)).advice(format!(
            "Have a2md renew by itself, whose challenges that httpd answers, and reload it then: {drive}. Or restart httpd with \
             the module of this version."
        )),
        None => request::not_running(site)
            .advice(format!(
            "Start httpd; or have a2md renew by itself: {drive}. {}",
            request::RUNS_ALL_THE_SAME
        )),
    }
}

/// The serials of the certificates in use.
fn serials(site: &Site, name: &str) -> Vec<String> {
    let set = sets::in_use(site, name).ok().flatten();
    set.iter().flat_map(|set| &set.bundles).map(|bundle| bundle.info.serial.clone()).collect()
}

/// One renewal that is followed.
struct Followed<'s> {
    submitted: Submitted<'s>,
    answer: Option<Answer>,
    /// Those in use before.
    before: Vec<String>,
    /// What it was at when it was looked at last, and since when.
    step: String,
    since: Instant,
    shown: Option<Instant>,
    /// Nothing has happened for too long.
    is_given_up: bool,
    /// When other certificates were first seen in use, without an answer that says so.
    replaced: Option<Instant>,
}

impl<'s> Followed<'s> {
    fn new(submitted: Submitted<'s>, before: Vec<String>) -> Self {
        Followed {
            submitted,
            answer: None,
            before,
            step: UNSEEN.into(),
            since: Instant::now(),
            shown: None,
            is_given_up: false,
            replaced: None,
        }
    }

    fn look(&mut self, call: &Call, site: &Site) {
        if self.is_over(true) {
            return;
        }
        self.answer = self.submitted.look().cloned();
        let is_open = self.answer.as_ref().is_none_or(|answer| !answer.state.is_final());
        if is_open && self.submitted.may_be_lost() && self.is_replaced(site) && self.waits_in_vain() {
            let detail = Some("the new certificates are in use".into());
            let (id, when) = (String::new(), call.clock.now());
            self.answer = Some(Answer { id, state: RequestState::Done, detail, when });
        }
        let Some(answer) = &self.answer else { return self.show(call) };
        let activity = self.submitted.activity().filter(|_| answer.state == RequestState::Running);
        let step = activity.or_else(|| answer.detail.clone()).unwrap_or_else(|| answer.state.token().into());
        if self.step != step {
            (self.step, self.since, self.shown) = (step, Instant::now(), None);
        }
        if !answer.state.is_final() {
            self.show(call);
        }
    }

    /// Shows the step once, and from time to time that it goes on.
    fn show(&mut self, call: &Call) {
        let age = self.since.elapsed();
        match self.shown {
            None if self.step == UNSEEN && age < REMIND => return,
            Some(at) if at.elapsed() < REMIND => return,
            Some(_) => {
                call.step(&format!("{}: {}, for {} s now", self.submitted.name(), self.step, age.as_secs()));
            }
            None => call.step(&format!("{}: {}", self.submitted.name(), self.step)),
        }
        self.shown = Some(Instant::now());
    }

    /// Whether other certificates are in use than before: a start between two looks has removed the answer.
    /// The answer comes a few seconds after the set, once all processes serve it.
    fn waits_in_vain(&mut self) -> bool {
        self.replaced.get_or_insert_with(Instant::now).elapsed() >= request::RESTART
    }

    fn is_replaced(&self, site: &Site) -> bool {
        let now = serials(site, self.submitted.name());
        // One in common: the swap of a set is under way.
        !now.is_empty() && !now.iter().any(|serial| self.before.contains(serial))
    }

    /// Whether nothing more is waited for.
    fn is_over(&self, is_waiting: bool) -> bool {
        self.is_given_up || self.answer.as_ref().is_some_and(|answer| is_enough(answer, is_waiting))
    }

    /// The last word on it, and whether that is good.
    fn outcome(&self) -> (&'static str, bool) {
        if self.is_given_up {
            return ("given-up", false);
        }
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

    fn detail(&self) -> Option<String> {
        if self.is_given_up {
            let seconds = self.since.elapsed().as_secs();
            return Some(format!(
                "httpd has been at the same step for {seconds} s, and the renewal may still end: {}. Look into its error log, \
                 and at a2md status; restart httpd if the child that renews hangs",
                self.step
            ));
        }
        self.answer.as_ref()?.detail.clone()
    }

    fn to_json(&self) -> Value {
        let (outcome, _) = self.outcome();
        let answer = self.answer.as_ref();
        json!({
            "name": self.submitted.name(),
            "outcome": outcome,
            "detail": self.detail(),
            "when": answer.map(|answer| answer.when.to_rfc3339()),
        })
    }
}

/// Whether the command ends with this answer. One that only accepts comes before httpd has looked at the domain.
fn is_enough(answer: &Answer, is_waiting: bool) -> bool {
    match answer.state {
        RequestState::Accepted => !is_waiting && answer.detail.is_some(),
        state => !is_waiting || state.is_final(),
    }
}

/// Processes of httpd take up a new set within a second: whoever waited finds it wherever it looks.
const TAKEN_UP: Duration = Duration::from_secs(2);

/// Looks until all are over; without patience, until httpd has looked at all.
fn follow(
    call: &Call,
    site: &Site,
    followed: &mut [Followed<'_>],
    patience: Option<Duration>,
) -> Result<(), Failure> {
    loop {
        let (mut are_open, mut are_silent) = (false, true);
        for one in followed.iter_mut() {
            one.look(call, site);
            if one.is_over(patience.is_some()) {
                continue;
            }
            are_open = true;
            are_silent &= one.since.elapsed() > ANSWERED;
            one.submitted.check_running()?;
            if let Some(patience) = patience {
                one.is_given_up = one.since.elapsed() >= patience;
            }
        }
        if !are_open {
            let is_new = |one: &Followed<'_>| one.outcome().0 == "renewed";
            if patience.is_some() && followed.iter().any(is_new) {
                call.clock.sleep(TAKEN_UP).map_err(|_| Failure::new("interrupted"))?;
            }
            return Ok(());
        }
        if patience.is_none() && are_silent {
            return Ok(());
        }
        call.clock.sleep(PAUSE).map_err(|_| Failure::new("interrupted"))?;
    }
}

/// A token of the JSON document for people.
fn in_words(outcome: &str) -> String {
    outcome.replace('-', " ")
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
            let detail = one.detail();
            let outcome = in_words(one.outcome().0);
            call.say(&format!(
                "{}: {}",
                one.submitted.name(),
                match detail {
                    // It begins with the same words.
                    Some(detail) if detail.starts_with(&outcome) => detail,
                    Some(detail) => format!("{outcome}: {detail}"),
                    None => outcome,
                }
            ));
        }
    }
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for (outcome, _) in followed.iter().map(Followed::outcome) {
        match counts.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, count)) => *count += 1,
            None => counts.push((outcome, 1)),
        }
    }
    let counts: Vec<String> =
        counts.iter().map(|(outcome, count)| format!("{count} {}", in_words(outcome))).collect();
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
    fn what_is_accepted_is_no_answer_before_httpd_has_looked_at_the_domain() {
        let answer = |state, detail: Option<&str>| Answer {
            id: "1".into(),
            state,
            detail: detail.map(String::from),
            when: Timestamp::from_unix(1),
        };
        for (state, detail, without_wait, with_wait) in [
            (RequestState::Accepted, None, false, false),
            (RequestState::Accepted, Some("held back until noon"), true, false),
            (RequestState::Running, None, true, false),
            (RequestState::Done, Some("not due"), true, true),
            (RequestState::Refused, Some("it is not renewed"), true, true),
        ] {
            let found = [false, true].map(|is_waiting| is_enough(&answer(state, detail), is_waiting));
            assert_eq!(found, [without_wait, with_wait], "{state:?} {detail:?}");
        }
    }

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
