// SPDX-License-Identifier: Apache-2.0
//! The validation of an order's names: has the CA look for the answers, restores answers that were lost, and
//! reports validations that failed.

use super::challenges::{self, Account};
use super::context::Pause;
use super::persist::Records;
use super::state::Attempt;
use crate::acme;
use crate::acme::Session;
use crate::acme::error::End;
use crate::acme::objects::{Authorization, AuthorizationStatus, Challenge, ChallengeStatus, Order};
use crate::acme::order;
use crate::acme::problem::Problem;
use crate::renew::decide::error::Error;
use std::time::Duration;

/// How long the CA may look for an answer in vain before that is an error: where it does not look again
/// unless asked, and where it does by itself.
const IN_VAIN: Duration = Duration::from_secs(10);
const AGAIN_IN_VAIN: Duration = Duration::from_secs(300);

/// Presents the answers of all challenges, then has the CA look (RFC 8555 §7.5.1). `found`: the records that
/// the admin has set.
pub(super) fn answer_challenges(
    attempt: &mut Attempt<'_, '_, '_>,
    session: &Session,
    pending: &[Authorization],
    found: &Records,
) -> Result<(), Error> {
    attempt.running.step("Starting challenges for domains")?;
    let thumbprint = session.thumbprint()?;
    let account = Account { url: session.account_url(), thumbprint: &thumbprint };
    let urls = present(attempt, pending, account, found)?;
    for (authorization, url) in pending.iter().zip(urls) {
        attempt.sharing.may_ask()?;
        match session.start_challenge(&url) {
            Ok(_) => {}
            Err(error) if error.is_conflict() || error.is_refusal() => {
                match seen(session, authorization, &url, &error) {
                    Seen::InVain => return Err(in_vain(authorization, &url, error.problem())),
                    Seen::Idle if !error.is_conflict() => return Err(error.into()),
                    _ => attempt.running.remark(&format!("the CA looks already: {error}"))?,
                }
            }
            Err(error) => return Err(error.into()),
        }
        attempt.change_order(|order, now| order.start(&authorization.url, now));
    }
    attempt.share()
}

/// Has every answer in place, on all nodes. Returns the URLs of the challenges to start.
fn present(
    attempt: &mut Attempt<'_, '_, '_>,
    pending: &[Authorization],
    account: Account<'_>,
    found: &Records,
) -> Result<Vec<String>, Error> {
    let (urls, answers) = challenges::present(attempt.renewal, attempt.running, pending, account, found)?;
    let (renewal, sharing) = (attempt.renewal, &*attempt.sharing);
    let late = renewal.pause(Pause::Rest, || sharing.present(renewal.name(), &answers))?;
    if !late.is_empty() {
        let late = late.join(", ");
        attempt.running.remark(&format!(
            "the CA is asked to look although these nodes do not have the answers yet: {late}"
        ))?;
    }
    Ok(urls)
}

/// Takes up the TXT records of an order that another node has begun, however far that has come.
pub(super) fn adopt_records(
    attempt: &Attempt<'_, '_, '_>,
    session: &Session,
    order: &Order,
) -> Result<(), Error> {
    if !attempt.is_of_another || !challenges::sets_records_up(attempt.renewal) {
        return Ok(());
    }
    let thumbprint = session.thumbprint()?;
    let account = Account { url: session.account_url(), thumbprint: &thumbprint };
    let names = attempt.md.ordered_names();
    let known = order.authorizations.iter().filter_map(|url| session.authorization(url).ok());
    let known: Vec<Authorization> = known.map(|polled| polled.value.of_order(&names)).collect();
    let saved = attempt.saved.as_ref();
    let is_started = |a: &Authorization| saved.is_some_and(|order| order.is_started(&a.url));
    challenges::adopt_records(attempt.renewal, &known, account, is_started);
    Ok(())
}

/// Takes up challenges that were started earlier: their answers have to be there until they are decided.
pub(super) fn restore_answers(
    attempt: &mut Attempt<'_, '_, '_>,
    session: &Session,
    authorizations: &[Authorization],
) -> Result<(), Error> {
    let (mut lost, mut begun) = (Vec::new(), Vec::new());
    for authorization in authorizations.iter().filter(|a| a.status == AuthorizationStatus::Pending) {
        let url = &authorization.url;
        let is_noted = attempt.saved.as_ref().is_some_and(|order| order.is_started(url));
        match is_noted || order::is_processing(authorization) {
            true if !challenges::is_presented(attempt.renewal, authorization) => {
                lost.push(authorization.clone())
            }
            true if is_noted && attempt.is_of_another => begun.push(authorization.clone()),
            true if !is_noted => attempt.change_order(|order, now| order.start(url, now)),
            _ => {}
        }
    }
    if !begun.is_empty() {
        // The node that has presented them may be gone, and they with it.
        let thumbprint = session.thumbprint()?;
        let account = Account { url: session.account_url(), thumbprint: &thumbprint };
        let answers = challenges::in_place(attempt.renewal, &begun, account);
        attempt.sharing.present(attempt.renewal.name(), &answers)?;
    }
    if lost.is_empty() {
        return Ok(());
    }
    attempt.running.end_wait();
    lost.iter().for_each(|a| attempt.change_order(|order, _| order.unstart(&a.url)));
    answer_challenges(attempt, session, &lost, &Records::default())
}

/// The failed validations so far. Some CAs look once, give the reason, and look again when the challenge is
/// started again; some look again by themselves (RFC 8555 §8.2).
pub(super) fn complaint(
    attempt: &mut Attempt<'_, '_, '_>,
    authorizations: &[Authorization],
) -> Option<Error> {
    let now = attempt.now();
    let waited = now.since(attempt.saved.as_ref()?.since(now));
    let is_open = |a: &&Authorization| a.status == AuthorizationStatus::Pending;
    let (authorization, challenge) = authorizations.iter().filter(is_open).find_map(|authorization| {
        let in_vain = authorization.challenges.iter().find(|c| {
            let patience = if c.status == ChallengeStatus::Processing { AGAIN_IN_VAIN } else { IN_VAIN };
            c.error.is_some() && waited >= patience
        });
        Some((authorization, in_vain?))
    })?;
    // Whatever its state: to start it again asks the CA to look again.
    attempt.change_order(|order, _| order.unstart(&authorization.url));
    attempt.running.end_wait();
    Some(in_vain(authorization, &challenge.url, challenge.error.as_ref()))
}

/// The CA has looked for the answer to the challenge with this URL, which it did not find.
fn in_vain(authorization: &Authorization, url: &str, problem: Option<&Problem>) -> Error {
    let challenge = authorization.challenges.iter().find(|challenge| challenge.url == url);
    let error = acme::Error::Invalid {
        end: End::Pending,
        identifier: Some(authorization.name()),
        tried: challenge.map(Challenge::tried),
        problem: problem.cloned().map(Box::new),
    };
    error.into()
}

/// The state of a challenge whose start was refused.
enum Seen {
    /// Nothing.
    Idle,
    /// It was started before, and is under way or decided.
    Begun,
    /// The CA validated at once, and refuses because of the result (serles).
    InVain,
}

fn seen(session: &Session, authorization: &Authorization, url: &str, refusal: &acme::Error) -> Seen {
    let Ok(polled) = session.authorization(&authorization.url) else { return Seen::Idle };
    let challenge = polled.value.challenges.iter().find(|c| c.url == url);
    let found = challenge.and_then(|c| c.error.as_ref()).map(|problem| &problem.type_);
    let is_pending = polled.value.status == AuthorizationStatus::Pending;
    if is_pending && found.is_some() && found == refusal.problem().map(|problem| &problem.type_) {
        return Seen::InVain;
    }
    let is_idle = is_pending && challenge.is_none_or(|c| c.status == ChallengeStatus::Pending);
    if is_idle { Seen::Idle } else { Seen::Begun }
}
