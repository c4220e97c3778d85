// SPDX-License-Identifier: Apache-2.0
//! An order from its placement to the certificate: performs the next step according to [`order::step`], waits
//! for the CA a while, and leaves the rest to a later attempt.

use super::certificate;
use super::challenges;
use super::persist;
use super::state::{Attempt, Progress};
use super::validation::{adopt_records, answer_challenges, complaint, restore_answers};
use crate::acme::objects::{Authorization, AuthorizationStatus, Order, OrderStatus};
use crate::acme::order::{self, Poll, Step};
use crate::acme::problem::Kind;
use crate::acme::{self, Session};
use crate::crypto::PrivateKey;
use crate::managed::bundle::Bundle;
use crate::managed::saved_order::{SavedOrder, Wait};
use crate::model::{KeySpec, Waiting};
use crate::renew::decide::error::Error;
use crate::renew::decide::{order_deadline, urgency};
use crate::time::Timestamp;
use std::time::Duration;

/// An attempt waits so long for the CA, all in all, and ends then: others need its place.
const STAY: Duration = Duration::from_secs(30);
/// The state of the order is saved before a longer wait.
const KEPT_BEFORE: Duration = Duration::from_millis(500);

/// An order as the CA showed it last.
struct Driven<'s> {
    session: &'s Session,
    spec: &'s KeySpec,
    order: Order,
    authorizations: Vec<Authorization>,
    retry_after: Option<Timestamp>,
    /// Nothing was asked since the CA was told to validate or to issue: what it said before is past.
    is_told: bool,
    /// Most CAs finalize an order that was pending when it was last seen, once all its names are validated:
    /// tried once.
    is_early: bool,
    /// Some CAs take the request, and show the order as it was before.
    is_requested: bool,
    /// The authorizations of an invalid order were fetched, which say why.
    is_asked_why: bool,
    /// The certificate's key, once it has been generated or read.
    key: Option<PrivateKey>,
}

enum Then {
    /// There is a next step at once.
    Step,
    /// The CA has to decide about these authorizations, or without any about the order.
    WaitFor(Vec<String>),
    /// The admin has to set records first.
    Rest(Wait),
    Complete(Box<Bundle>),
}

/// Takes the order as far as it comes in one attempt.
pub(super) fn drive(
    attempt: &mut Attempt<'_, '_, '_>,
    session: &Session,
    spec: &KeySpec,
    order: Order,
) -> Result<Progress<Bundle>, Error> {
    let mut driven = Driven {
        session,
        spec,
        order,
        authorizations: Vec::new(),
        retry_after: None,
        is_told: false,
        is_early: !attempt.saved.as_ref().is_some_and(SavedOrder::is_validated),
        is_requested: false,
        is_asked_why: false,
        key: None,
    };
    adopt_records(attempt, driven.session, &driven.order)?;
    loop {
        let waits_for = match driven.step(attempt)? {
            Then::Step => continue,
            Then::WaitFor(urls) => urls,
            Then::Rest(wait) => return Ok(Progress::Waiting(wait)),
            Then::Complete(set) => return Ok(Progress::Complete(*set)),
        };
        if let Some(error) = complaint(attempt, &driven.authorizations) {
            return Err(error);
        }
        let names = driven.authorizations.iter().filter(|a| waits_for.contains(&a.url));
        let what = described(names.map(Authorization::name));
        let (is_first, retry_after) = (std::mem::take(&mut driven.is_told), driven.retry_after.take());
        if let Some(wait) = wait(attempt, is_first, retry_after, &what)? {
            return Ok(Progress::Waiting(wait));
        }
        driven.poll(attempt, waits_for)?;
    }
}

impl Driven<'_> {
    /// Performs the next step.
    fn step(&mut self, attempt: &mut Attempt<'_, '_, '_>) -> Result<Then, Error> {
        let started = attempt.saved.as_ref().map(|order| order.started().to_vec()).unwrap_or_default();
        match order::step(&self.order, &self.authorizations, &started) {
            Step::Fetch(urls) => {
                let urls = owned(&urls);
                self.fetch(attempt, urls)
            }
            Step::SetUp(idle) => {
                let then = self.set_up(attempt, &idle)?;
                self.is_told = matches!(then, Then::Step);
                Ok(then)
            }
            Step::Poll(Poll::Authorizations(urls)) => Ok(Then::WaitFor(owned(&urls))),
            Step::Poll(Poll::Order) => Ok(Then::WaitFor(Vec::new())),
            Step::Finalize => self.finalize(attempt),
            Step::Download(url) => {
                attempt.running.end_wait();
                let (url, key) = (url.to_string(), self.key.take());
                certificate::download(attempt, self.session, self.spec, &url, key)
                    .map(|set| Then::Complete(Box::new(set)))
            }
            Step::Failed(error) => self.failed(attempt, error),
        }
    }

    fn fetch(&mut self, attempt: &mut Attempt<'_, '_, '_>, urls: Vec<String>) -> Result<Then, Error> {
        for url in urls {
            let polled = self.session.authorization(&url)?;
            self.retry_after = self.retry_after.max(polled.retry_after);
            self.authorizations.push(polled.value.of_order(&attempt.md.ordered_names()));
        }
        restore_answers(attempt, self.session, &self.authorizations)?;
        Ok(Then::Step)
    }

    fn set_up(&self, attempt: &mut Attempt<'_, '_, '_>, idle: &[&Authorization]) -> Result<Then, Error> {
        let is_idle = |a: &Authorization| idle.iter().any(|i| i.url == a.url);
        let validating = || {
            let pending = self.authorizations.iter().filter(|a| a.status == AuthorizationStatus::Pending);
            pending.filter(|a| !is_idle(a))
        };
        let next = challenges::next(attempt.renewal, idle, validating());
        if next.is_empty() {
            return Ok(Then::WaitFor(validating().map(|a| a.url.clone()).collect()));
        }
        let records = persist::look_up(attempt.renewal, self.session.account_url(), &next)?;
        if let Some(wait) = records.wait(attempt.renewal, attempt.running.job.waiting.as_ref()) {
            attempt.keep_order()?;
            return Ok(Then::Rest(wait));
        }
        attempt.running.end_wait();
        answer_challenges(attempt, self.session, &next, &records)?;
        attempt.running.step(format!("Monitoring challenge status for {}", attempt.md.name))?;
        Ok(Then::Step)
    }

    fn finalize(&mut self, attempt: &mut Attempt<'_, '_, '_>) -> Result<Then, Error> {
        let is_too_early = self.order.status == OrderStatus::Pending && !self.is_early;
        if is_too_early || std::mem::take(&mut self.is_requested) {
            return Ok(Then::WaitFor(Vec::new()));
        }
        attempt.note_validated();
        match certificate::finalize(attempt, self.session, self.spec, &self.order, &mut self.key) {
            Ok(finalized) => {
                (self.order, self.retry_after) = finalized;
                (self.is_early, self.is_requested) = (false, true);
                self.is_told = self.order.status == OrderStatus::Processing;
                attempt.running.step("Waiting for finalized order to become valid")?;
                Ok(Then::Step)
            }
            // RFC 8555 §7.4: the client then requests the order's state.
            Err(error) if self.is_early && is_not_ready(&self.order, &error) => {
                self.is_early = false;
                Ok(Then::WaitFor(Vec::new()))
            }
            Err(error) => Err(error),
        }
    }

    fn failed(&mut self, attempt: &mut Attempt<'_, '_, '_>, error: acme::Error) -> Result<Then, Error> {
        let unknown = self.order.error.is_none() && self.authorizations.is_empty();
        if self.order.status == OrderStatus::Invalid && unknown && !self.is_asked_why {
            self.is_asked_why = true;
            let urls = self.order.authorizations.iter();
            let known = urls.filter_map(|url| self.session.authorization(url).ok());
            let names = attempt.md.ordered_names();
            self.authorizations.extend(known.map(|polled| polled.value.of_order(&names)));
            return Ok(Then::Step);
        }
        attempt.remove_order()?;
        Err(error.into())
    }

    /// Asks the CA for these authorizations again, or without any for the order.
    fn poll(&mut self, attempt: &Attempt<'_, '_, '_>, waits_for: Vec<String>) -> Result<(), Error> {
        if waits_for.is_empty() {
            let polled = self.session.order(&self.order.url)?;
            (self.order, self.retry_after) = (polled.value, polled.retry_after);
        }
        for url in waits_for {
            let polled = self.session.authorization(&url)?;
            self.retry_after = self.retry_after.max(polled.retry_after);
            self.authorizations.retain(|a| a.url != url);
            self.authorizations.push(polled.value.of_order(&attempt.md.ordered_names()));
        }
        Ok(())
    }
}

/// Waits until it is time to ask the CA again. The answer is a wait that is too long for this attempt.
fn wait(
    attempt: &mut Attempt<'_, '_, '_>,
    is_first: bool,
    retry_after: Option<Timestamp>,
    what: &str,
) -> Result<Option<Wait>, Error> {
    let now = attempt.now();
    let Some(saved) = &attempt.saved else { return Ok(None) };
    let since = saved.since(now);
    let urgency = urgency::pressure(attempt.md, &attempt.renewal.target.served(), now).urgency;
    let deadline = order_deadline::deadline(saved, urgency, attempt.md.ca.urls.len() > 1, now);
    if now >= deadline {
        attempt.remove_order()?;
        let what = format!("it has been {what} since {}, and the order is given up", since.to_http_date());
        return Err(acme::Error::TimedOut { what }.into());
    }
    let delay = order::poll_delay(is_first, now.since(since), retry_after, now).min(deadline.since(now));
    attempt.stayed += delay;
    let next = Some(now.plus(delay).ceil());
    let waiting = Waiting { what: what.into(), since, next, records: Vec::new() };
    if attempt.stayed >= STAY {
        return Ok(Some(Wait { waiting, until: now.plus(delay) }));
    }
    if delay >= KEPT_BEFORE {
        attempt.keep_order()?;
        attempt.running.job.waiting = Some(waiting);
    }
    attempt.running.show_before(delay)?;
    attempt.renewal.rest(delay)?;
    Ok(None)
}

/// Whether an order that was finalized is only not ready for that yet. Right after the validation some CAs
/// say so in other words than `orderNotReady`.
fn is_not_ready(order: &Order, error: &Error) -> bool {
    match error.kind() {
        Some(Kind::OrderNotReady) => true,
        Some(Kind::Malformed | Kind::Unauthorized | Kind::Conflict) => order.status == OrderStatus::Pending,
        _ => false,
    }
}

/// The step at the CA that the job waits for.
fn described(mut names: impl Iterator<Item = String>) -> String {
    match (names.next(), names.count()) {
        (None, _) => "issuing the certificate".into(),
        (Some(name), 0) => format!("validating {name}"),
        (Some(name), 1) => format!("validating {name} and one more name"),
        (Some(name), more) => format!("validating {name} and {more} more names"),
    }
}

fn owned(urls: &[&str]) -> Vec<String> {
    urls.iter().map(ToString::to_string).collect()
}
