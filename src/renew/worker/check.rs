// SPDX-License-Identifier: Apache-2.0
//! One look at one managed domain: gathers the inputs of [`next`], performs the action it returns, and
//! returns when to look again. Nothing is decided here.

use super::ari_refresh::{self, known_advice};
use super::completed::{after_renewal, make_room};
use super::expiry_warning::warn;
use super::failure::{failed, failed_for_all, postponed, waiting};
use super::held_back::{hold_back, log_wait, look_up_issuance, note_issued, release};
use super::next::Next;
use super::notifications::notify_of_started;
use super::one_at_a_time;
use super::peers;
use super::record_wait::{waiting_for_record, warn_of_ends};
use super::saving::save;
use super::succeeded::succeeded;
use crate::crypto::CertInfo;
use crate::managed::Served;
use crate::managed::bundle::Bundle;
use crate::managed::certificates::assess;
use crate::managed::live_set::LiveSet;
use crate::managed::withdrawn::{self, Withdrawn};
use crate::model::job::STARTING;
use crate::model::{Job, Md, RequestState, Trial};
use crate::notify::Event;
use crate::renew::attempt::context::{Context, Renewal};
use crate::renew::attempt::issue;
use crate::renew::attempt::progress::Running;
use crate::renew::attempt::sharing::Sharing;
use crate::renew::attempt::state::Progress;
use crate::renew::decide::ari::{self, Advice, Entry};
use crate::renew::decide::due::Decision;
use crate::renew::decide::error::Error;
use crate::renew::decide::need;
use crate::renew::decide::next::{Action, Attempt, Inputs, Issuance, next};
use crate::renew::decide::request::NOT_DUE;
use crate::renew::decide::retry;
use crate::time::Timestamp;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// How often to look whether a job that could not be saved can be.
const UNSAVED: Duration = Duration::from_secs(30);

/// A child that ends has saved everything by then.
const END_OF_OTHERS: Duration = Duration::from_secs(1);

/// Looks at the MD with this index and performs the actions due.
pub fn run(context: &Context, index: usize) -> Next {
    let Some(renewal) = context.renewal(index) else { return Next::Never };
    let target = renewal.target;
    if let Some(peers) = context.peers() {
        peers.bring_in(renewal.name());
    }
    // A set that another process has put into use is not renewed again.
    target.live.catch_up();
    let mut running = Running::load(target, &context.store, renewal.clock());
    let next = go_on(&renewal, &mut running);
    running.end_look(looked_at(&running.job));
    next.or_sooner(running.is_unsaved().then(|| renewal.now().plus(UNSAVED)))
}

/// What a look has found, for the operator who asked for it.
fn looked_at(job: &Job) -> &'static str {
    match (job.finished, &job.trial) {
        (true, Some(Trial::Refused(_))) => "the staged certificates are refused",
        (true, _) => "the staged certificates are whole",
        (false, _) => "no staged certificates are whole",
    }
}

/// A bug ended the job's thread: an error of that job like any other. Returns when to try again.
pub fn record_panic(context: &Context, index: usize) -> Next {
    let Some(renewal) = context.renewal(index) else { return Next::Never };
    let mut running = Running::load(renewal.target, &context.store, renewal.clock());
    let next = failed(&renewal, &mut running, None, &Error::Panicked);
    running.end_look("a bug ended it");
    next
}

fn go_on(renewal: &Renewal<'_>, running: &mut Running<'_>) -> Next {
    let target = renewal.target;
    let state = match &*target.live.load() {
        Some(set) => assess(&target.md, &set.certs).0,
        None => target.md.state,
    };
    crate::log!(Debug, "AH10052: md({}): state={}, driving", renewal.name(), state as i32);
    if running.takes_over_call() && renewal.is_new_call() {
        return Next::At(renewal.now().plus(END_OF_OTHERS));
    }
    if running.job.finished {
        running.job.pending_notice = None;
    }
    let started = notify_of_started(renewal, running);
    let mut notified = Next::Never;
    if running.job.finished && renewal.staging().is_complete() {
        match after_renewal(renewal, running, None) {
            (next, false) if !running.replaces_staged() => return next,
            (next, _) => notified = next,
        }
    } else if running.job.finished {
        // The C module leaves finished jobs that never had a set.
        if running.job.valid_from.is_some() {
            crate::log!(
                Warn,
                "md[{}]: the staged certificates have been removed, so the renewal begins again",
                renewal.name()
            );
        }
        let Job { log, retry_state, .. } = std::mem::take(&mut running.job);
        running.job = Job { log, retry_state, ..Job::new(renewal.name()) };
    }
    // A set that is complete may go live all the same.
    if let Some(next) = peers::not_ready(renewal.context) {
        return notified.or_sooner(next).or_sooner(started);
    }
    let next = notified.or_sooner(look(renewal, running));
    // After the attempt: where that has succeeded, nothing expires without a successor.
    let warned = warn(renewal, running);
    next.or_sooner(started).or_sooner(warned).or_sooner(warn_of_ends(renewal, running))
}

/// The facts about one managed domain.
struct Facts<'r> {
    renewal: &'r Renewal<'r>,
    md: Cow<'r, Md>,
    served: Served<'r>,
    live: Option<Arc<LiveSet>>,
    /// The CA's advice at the begin of the look, and now.
    former_advice: Vec<Entry>,
    advice: Vec<Entry>,
    has_asked: bool,
    issuance: Option<Issuance>,
    withdrawn: Withdrawn,
    random: f64,
}

impl<'r> Facts<'r> {
    fn gather(renewal: &'r Renewal<'r>) -> Self {
        let advice = known_advice(renewal);
        Facts {
            renewal,
            md: renewal.target.current(),
            served: renewal.target.served(),
            live: renewal.target.live.load().clone(),
            former_advice: advice.clone(),
            advice,
            has_asked: peers::others_ask(renewal),
            issuance: None,
            withdrawn: withdrawn::read(&renewal.context.store, renewal.name(), renewal.now()),
            random: renewal.context.random(),
        }
    }

    /// Hands everything to a decision of `next` or [`Inputs`].
    fn decide<T>(&self, job: &Job, decide: impl Fn(&Inputs<'_>, Timestamp) -> T) -> T {
        let (context, settings) = (self.renewal.context, self.renewal.settings());
        let inputs = Inputs {
            md: &self.md,
            certs: &self.served,
            in_use: self.renewal.target.in_use,
            is_revoked: &|cert: &CertInfo| context.is_revoked(cert) || self.withdrawn.is_revoked(cert),
            live: self.live.as_deref(),
            advice: &self.advice,
            has_asked: self.has_asked,
            job,
            rate_limits: &context.rate_limits(),
            issuance: self.issuance.as_ref(),
            retry: settings.retry,
            check_interval: settings.check_interval,
            random: self.random,
        };
        decide(&inputs, self.renewal.now())
    }

    fn ask_ari(&mut self, ca: &str) {
        self.advice = ari_refresh::refresh(self.renewal, ca, std::mem::take(&mut self.advice));
        self.has_asked = true;
    }

    /// Whether the next action is still this one.
    fn still_renews(&self, job: &Job, attempt: &Attempt) -> bool {
        let action = self.decide(job, next);
        matches!(action, Action::Renew { attempt: found, .. } if found.ca == attempt.ca)
    }

    fn advice_in_use(&self) -> Option<&Advice> {
        ari::earliest(&self.advice, &self.served)
    }

    fn log_decision(&self, job: &Job) {
        let former = ari::earliest(&self.former_advice, &self.served);
        let decision = self.decide(job, |inputs, now| inputs.need(now));
        ari_refresh::log_decision(self.renewal.name(), &decision, self.advice_in_use(), former);
        if !matches!(decision, Decision::Now(_)) {
            self.renewal.context.order_queue().leave(self.renewal.name());
        }
    }
}

fn look(renewal: &Renewal<'_>, running: &mut Running<'_>) -> Next {
    renewal.learn_limits(&mut running.job);
    let mut facts = Facts::gather(renewal);
    let mut action = facts.decide(&running.job, next);
    if let Action::AskAri(ca) = &action {
        facts.ask_ari(ca);
        action = facts.decide(&running.job, next);
    }
    facts.log_decision(&running.job);
    loop {
        match action {
            Action::AskAri(ca) => facts.ask_ari(&ca),
            Action::LookUpIssuance(attempt) => facts.issuance = Some(look_up_issuance(renewal, &attempt)),
            Action::Release => release(running),
            action => return perform(&mut facts, running, action),
        }
        action = facts.decide(&running.job, next);
    }
}

/// Performs an action that says when to look again.
fn perform(facts: &mut Facts<'_>, running: &mut Running<'_>, action: Action) -> Next {
    let renewal = facts.renewal;
    match action {
        Action::AskAri(_) | Action::LookUpIssuance(_) | Action::Release => Next::Never,
        Action::Never => {
            running.answer(RequestState::Refused, Some("it is not renewed".into()));
            Next::Never
        }
        Action::NotDue(at) | Action::Rest(at) => {
            answer_not_due(facts, running);
            Next::At(at)
        }
        Action::HeldBack { held, is_queued, cause, ari, look_at } => {
            let state = if is_queued { RequestState::Accepted } else { RequestState::Refused };
            let until = held.until.to_http_date();
            running.answer(state, Some(format!("held back until {until}, because {}", held.reason)));
            hold_back(renewal, running, held, (is_queued, cause));
            if let Some(ca) = ari {
                facts.ask_ari(&ca);
            }
            Next::At(look_at)
        }
        Action::Retry { ca, until, is_long, look_at } => {
            await_retry(renewal, running, ca, until, is_long);
            Next::At(look_at)
        }
        Action::SpareCa { ca, until, look_at } => {
            let text = format!("{ca} wants no requests before {}", until.to_http_date());
            running.answer(RequestState::Refused, Some(text));
            note_demand(renewal, running, &ca, until);
            Next::At(look_at)
        }
        Action::NoCa => failed(renewal, running, None, &Error::NoAuthority),
        Action::Renew { attempt, late_at } => {
            renewal.note_asked(&attempt.ca);
            let advice = facts.advice_in_use().filter(|_| renewal.target.md.ari_renewals);
            let triggered = ari_refresh::log_triggered(renewal.name(), advice, renewal.now());
            match renew(facts, running, &attempt, triggered) {
                Next::Never => Next::Never,
                next @ Next::At(_) => next.or_sooner(late_at),
            }
        }
    }
}

fn await_retry(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    ca: Option<String>,
    until: Timestamp,
    is_long: bool,
) {
    let state = match running.job.waiting {
        Some(_) => RequestState::Running,
        None => RequestState::Refused,
    };
    running.answer(state, Some(waits_text(&running.job, until)));
    if let Some(ca) = ca {
        renewal.note_asked(&ca);
    }
    if is_long {
        log_wait(renewal, until, "its next try is then");
    }
}

/// Where nothing is due, there is nothing to do for an operator who did not say more.
fn answer_not_due(facts: &Facts<'_>, running: &mut Running<'_>) {
    let text = match facts.decide(&running.job, |inputs, now| inputs.need(now)) {
        _ if running.has_begun_request() => "the new certificates are in use".into(),
        Decision::At(at, period) => format!("{NOT_DUE} before {}, when {period}", at.to_http_date()),
        Decision::Now(_) | Decision::Never(_) => NOT_DUE.into(),
    };
    running.answer(RequestState::Done, Some(text));
}

/// Why a renewal that was asked for waits all the same.
fn waits_text(job: &Job, until: Timestamp) -> String {
    let until = until.to_http_date();
    match &job.waiting {
        Some(waiting) => format!("the CA has been {}, and is asked again at {until}", waiting.what),
        None => {
            format!("five validations have failed within an hour, and CAs allow no more: wait until {until}")
        }
    }
}

/// Logs a CA's demand to wait and notes it in the job, which keeps the demand of another job like its own.
fn note_demand(renewal: &Renewal<'_>, running: &mut Running<'_>, ca: &str, until: Timestamp) {
    log_wait(renewal, until, &format!("{ca} asked for that"));
    if running.job.next_run == Some(until) {
        return;
    }
    let now = renewal.now();
    let text = format!("Waiting until {}: {ca} asked for that", until.to_http_date());
    running.job.note(now, "progress", None, Some(text));
    let rate_limit = renewal.context.rate_limits().find(ca, &renewal.target.md.domains, now).cloned();
    retry::wait(&mut running.job, until, rate_limit.as_ref());
    save(running);
}

/// A renewal that was asked for begins: with new keys, where those of an earlier attempt are not to be used.
fn begin_request(renewal: &Renewal<'_>, running: &mut Running<'_>) -> Result<(), Error> {
    let Some(renew) = running.renewal() else { return Ok(()) };
    if renew.new_key {
        renewal.staging().reset()?;
        running.job.waiting = None;
        running.has_new_keys();
    }
    running.answer(RequestState::Running, None);
    running.show()
}

/// The command for `renewing` may refuse it. `Err`: when to look again.
fn note_begin(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    triggered: Option<String>,
) -> Result<(), Next> {
    let commands = &renewal.settings().commands;
    let now = renewal.now();
    if let Err(failed) = commands.fire(&Event::Renewing, &mut running.job, renewal.clock()) {
        return Err(if failed.is_stopped { Next::Never } else { postponed(renewal, running, failed) });
    }
    running.job.note(now, STARTING, None, None);
    running.job.last_run = Some(now);
    if triggered.is_some() {
        running.job.note(now, "progress", None, triggered);
    }
    Ok(())
}

/// `triggered`: for the job's log, why it is renewed.
fn renew(facts: &Facts<'_>, running: &mut Running<'_>, attempt: &Attempt, triggered: Option<String>) -> Next {
    let renewal = facts.renewal;
    let _held = match one_at_a_time::begin(renewal, running) {
        Ok(held) => held,
        Err(next) => return next,
    };
    let need = facts.decide(&running.job, |inputs, now| need::need(inputs, &facts.served, now));
    let mut sharing = match peers::begin(renewal, running, &need) {
        Ok(sharing) => sharing,
        Err(next) => return next,
    };
    // What other nodes have met may change the CA in turn.
    if sharing.is_any() && !facts.still_renews(&running.job, attempt) {
        save(running);
        return Next::At(renewal.now());
    }
    if let Err(next) = prepare(renewal, running, triggered) {
        return next;
    }
    let outcome = issue::renew(renewal, running, &attempt.ca, &mut sharing);
    if !matches!(outcome, Ok(Progress::Waiting(_))) {
        renewal.context.order_queue().leave(renewal.name());
    }
    conclude(renewal, running, attempt, sharing, outcome)
}

/// What comes before an attempt. `Err`: when to look again.
fn prepare(renewal: &Renewal<'_>, running: &mut Running<'_>, triggered: Option<String>) -> Result<(), Next> {
    if running.job.finished {
        make_room(renewal, running).map_err(|error| failed(renewal, running, None, &error))?;
    }
    begin_request(renewal, running).map_err(|error| failed(renewal, running, None, &error))?;
    // One that has begun is not begun again while its CA is at work.
    if running.job.waiting.is_none() {
        note_begin(renewal, running, triggered)?;
    }
    running.job.next_run = None;
    Ok(())
}

/// Follows up an attempt, on this node and for the others.
fn conclude(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    attempt: &Attempt,
    mut sharing: Sharing<'_>,
    outcome: Result<Progress<Vec<Bundle>>, Error>,
) -> Next {
    match outcome {
        Ok(Progress::Waiting(wait)) => {
            let is_at_work = wait.waiting.records.is_empty();
            let next = match is_at_work {
                true => waiting(renewal, running, wait),
                false => waiting_for_record(renewal, running, wait),
            };
            if let Next::At(at) = next
                && peers::save_outcome(running, &mut sharing, at).is_ok()
                && is_at_work
            {
                sharing.keep();
            }
            next
        }
        Ok(Progress::Complete(sets)) => {
            let ordered = renewal.staging().md().ok().flatten();
            match sharing.publish(&attempt.ca, ordered.as_ref().unwrap_or(&renewal.target.md), &sets) {
                Ok(()) => succeeded(renewal, running, attempt, sets),
                Err(lost) => peers::lost(renewal, running, &lost.0),
            }
        }
        Err(error) if error.is_stopped() => {
            sharing.keep();
            Next::Never
        }
        Err(Error::Lost(lost)) => peers::lost(renewal, running, &lost.0),
        Err(error) => {
            if let Error::Misissued { .. } = error {
                note_issued(renewal, attempt, None);
            }
            match sharing.check() {
                Ok(()) => failed_for_all(renewal, running, Some(&attempt.ca), &error, &mut sharing),
                // A machine that slept finds its requests failed, and that another node has gone on.
                Err(lost) => peers::lost(renewal, running, &format!("{lost} (its last attempt: {error})")),
            }
        }
    }
}
