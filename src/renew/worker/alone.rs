// SPDX-License-Identifier: Apache-2.0
//! A renewal in a process of its own, beside httpd or without it: one that is asked for, and waited for. It
//! goes the steps of the child's renewals and notes the same in job and ledger; nothing but a CA's demand
//! holds it back. Calls no command for events, and brings nothing into use.

use super::completed::make_room;
use super::failure::failed;
use super::go_live::sign;
use super::held_back::note_issued;
use super::succeeded::note_success;
use crate::managed::bundle::Bundle;
use crate::managed::saved_order::Wait;
use crate::model::job::STARTING;
use crate::model::ledger::Cause;
use crate::model::{Outcome, RateLimit};
use crate::renew::attempt::challenges;
use crate::renew::attempt::context::{Context, Renewal};
use crate::renew::attempt::issue;
use crate::renew::attempt::progress::Running;
use crate::renew::attempt::sharing::Sharing;
use crate::renew::attempt::state::Progress;
use crate::renew::decide::error::Error;
use crate::renew::decide::next::Attempt;
use crate::renew::decide::remedies::{self, Facts};
use crate::time::Stopped;

/// Why a renewal has ended without certificates.
#[derive(Debug)]
pub enum Ended {
    /// It was not begun: the CA wants no request before this limit ends.
    Held(RateLimit),
    /// The admin has to set records first, as these sentences say.
    Records(String),
    Failed(Failed),
    Stopped,
}

/// A failure, as the job has it.
#[derive(Debug)]
pub struct Failed {
    pub status: i32,
    pub problem: Option<String>,
    /// What went wrong, in the words of the CA where it said so.
    pub text: String,
    pub advice: Option<String>,
    /// The terms of service that the CA wants to be agreed to.
    pub terms: Option<String>,
}

impl From<Stopped> for Ended {
    fn from(_: Stopped) -> Self {
        Ended::Stopped
    }
}

/// Renews the MD with this index at `ca`, and waits while the CA is at work. Afterwards its set is complete in
/// staging, and the job says so.
pub fn renew(context: &Context, index: usize, ca: &str, cause: Cause) -> Result<(), Ended> {
    let Some(renewal) = context.renewal(index) else { return Err(Ended::Stopped) };
    let mut running = Running::load(renewal.target, &context.store, renewal.clock());
    if let Some(limit) = demand(&renewal, &running, ca) {
        return Err(Ended::Held(limit));
    }
    let attempt = Attempt { ca: ca.to_string(), cause };
    let outcome = begin(&renewal, &mut running).and_then(|()| finish(&renewal, &mut running, &attempt));
    match outcome {
        Ok(Progress::Complete(())) => Ok(()),
        Ok(Progress::Waiting(wait)) => Err(Ended::Records(wait.waiting.what)),
        Err(error) if error.is_stopped() => Err(Ended::Stopped),
        Err(error) => Err(Ended::Failed(fail(&renewal, &mut running, ca, &error))),
    }
}

/// Removes the answers to challenges that a renewal has left, which has ended in whatever way.
pub fn clean_up(context: &Context, index: usize) -> Result<(), Stopped> {
    context.renewal(index).map_or(Ok(()), |renewal| challenges::clean_up(&renewal, None))
}

fn demand(renewal: &Renewal<'_>, running: &Running<'_>, ca: &str) -> Option<RateLimit> {
    let (domains, now) = (&renewal.target.md.domains, renewal.now());
    let own = running.job.retry_state.rate_limit.clone();
    let own = own.filter(|limit| limit.ca == ca && limit.is_in_force(now));
    own.or_else(|| renewal.context.rate_limits().find(ca, domains, now).cloned())
}

fn begin(renewal: &Renewal<'_>, running: &mut Running<'_>) -> Result<(), Error> {
    if running.job.finished {
        make_room(renewal, running)?;
    }
    let now = renewal.now();
    running.job.note(now, STARTING, None, None);
    (running.job.last_run, running.job.next_run, running.job.held_back) = (Some(now), None, None);
    Ok(())
}

/// Attempts, until the set is complete.
fn finish(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    attempt: &Attempt,
) -> Result<Progress<()>, Error> {
    loop {
        match issue::renew(renewal, running, &attempt.ca, &mut Sharing::none())? {
            Progress::Complete(sets) => {
                return succeed(renewal, running, attempt, &sets).map(Progress::Complete);
            }
            Progress::Waiting(wait) if !wait.waiting.records.is_empty() => {
                return Ok(Progress::Waiting(wait));
            }
            Progress::Waiting(Wait { waiting, until }) => {
                let now = renewal.now();
                crate::log!(
                    Info,
                    "md[{}] while[Waiting for the CA, which has been {} since {}]",
                    renewal.name(),
                    waiting.what,
                    waiting.since.to_http_date()
                );
                running.job.waiting = Some(waiting);
                running.show()?;
                renewal.rest(until.since(now))?;
            }
        }
    }
}

fn succeed(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    attempt: &Attempt,
    sets: &[Bundle],
) -> Result<(), Error> {
    note_issued(renewal, attempt, Some(sets));
    let valid_from = sets.iter().map(|set| set.info.not_before).max().unwrap_or_default();
    note_success(renewal, running, valid_from);
    if let Some(ordered) = renewal.staging().md()? {
        sign(renewal, &mut running.job, &ordered, sets);
    }
    running.save()
}

fn fail(renewal: &Renewal<'_>, running: &mut Running<'_>, ca: &str, error: &Error) -> Failed {
    let facts = Facts { ca: Some(ca), ..Facts::of(renewal.target) };
    let advice = remedies::hint(error, &facts);
    let terms = match error.acme() {
        Some(crate::acme::Error::AgreementRequired { terms }) => Some(terms.clone()),
        _ => None,
    };
    failed(renewal, running, Some(ca), error);
    let Outcome { status, problem, .. } = running.job.last.clone();
    Failed { status, problem, text: error.to_string(), advice, terms }
}
