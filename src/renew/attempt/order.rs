// SPDX-License-Identifier: Apache-2.0
//! An order from its placement to the certificate: performs what `acme::order::step` says comes next, waits
//! for the CA a while, and leaves the rest to a later attempt. Whatever ends an attempt, the order goes on
//! with the next, until it has failed, has expired or was waited for long enough.

use super::challenges;
use super::issue::{Attempt, Progress};
use crate::acme::error::End;
use crate::acme::objects::{
    Authorization, AuthorizationStatus, Challenge, ChallengeStatus, Order, OrderStatus,
};
use crate::acme::order::{self, Poll, Step};
use crate::acme::problem::{Kind, Problem};
use crate::acme::{self, OrderOptions, Session};
use crate::managed::bundle::Bundle;
use crate::managed::saved_order::{SavedOrder, Wait};
use crate::model::{KeySpec, Waiting};
use crate::renew::decide::error::Error;
use crate::renew::decide::{order_deadline, urgency};
use crate::time::Timestamp;
use std::time::Duration;

/// An attempt waits so long for the CA, all in all, and ends then: others need its place.
const STAY: Duration = Duration::from_secs(30);
/// The CA's looks for an answer have been in vain so long that it is told: where it does not look again
/// unless asked, and where it does by itself.
const IN_VAIN: Duration = Duration::from_secs(10);
const AGAIN_IN_VAIN: Duration = Duration::from_secs(300);
/// After this many errors in a row, what cannot be read as an order is none.
const GARBLED_MAX: u32 = 2;
/// What is known of the order is on disk before a longer wait.
const KEPT_BEFORE: Duration = Duration::from_millis(500);

impl Attempt<'_, '_> {
    /// Gets the certificate for one key into staging.
    pub(crate) fn obtain(&mut self, session: &Session, spec: &KeySpec) -> Result<Progress<Bundle>, Error> {
        let Some(order) = self.resumed(session, spec)? else {
            let order = self.place(session, spec)?;
            return self.drive(session, spec, order);
        };
        match self.drive(session, spec, order) {
            // It ended while nobody looked, or nothing can come of it: that is no failure.
            Err(error) if error.is_of_the_past() => {
                self.running.has_news();
                self.running.remark(&format!("the order is dropped: {error}"))?;
                self.drop_order()?;
                let order = self.place(session, spec)?;
                self.drive(session, spec, order)
            }
            outcome => outcome,
        }
    }

    /// Has the order come as far as it does.
    fn drive(
        &mut self,
        session: &Session,
        spec: &KeySpec,
        mut order: Order,
    ) -> Result<Progress<Bundle>, Error> {
        let mut authorizations: Vec<Authorization> = Vec::new();
        let mut retry_after = None;
        // Most CAs finalize an order that was pending when it was last seen, once all its names are
        // validated: tried once.
        let mut is_early = !self.saved.as_ref().is_some_and(SavedOrder::is_validated);
        let mut is_asked_why = false;
        // Some CAs take the request, and show the order as it was before.
        let mut is_requested = false;
        let mut key = None;
        loop {
            let started = self.saved.as_ref().map(|order| order.started().to_vec()).unwrap_or_default();
            let waits_for = match order::step(&order, &authorizations, &started) {
                Step::Fetch(urls) => {
                    for url in owned(&urls) {
                        let polled = session.authorization(&url)?;
                        retry_after = retry_after.max(polled.retry_after);
                        authorizations.push(polled.value.of_order(&self.md.ordered_names()));
                    }
                    self.restore_answers(session, &authorizations)?;
                    continue;
                }
                Step::SetUp(idle) => {
                    let validating = || {
                        authorizations.iter().filter(|a| {
                            a.status == AuthorizationStatus::Pending && !idle.iter().any(|i| i.url == a.url)
                        })
                    };
                    let next = challenges::next(self.engine, self.target, &idle, validating());
                    if next.is_empty() {
                        validating().map(|a| a.url.clone()).collect()
                    } else {
                        self.running.has_news();
                        self.answer_challenges(session, &next)?;
                        self.running.step(format!("Monitoring challenge status for {}", self.md.name))?;
                        continue;
                    }
                }
                Step::Poll(poll) => match poll {
                    Poll::Authorizations(urls) => owned(&urls),
                    Poll::Order => Vec::new(),
                },
                Step::Finalize if order.status == OrderStatus::Pending && !is_early => Vec::new(),
                Step::Finalize if std::mem::take(&mut is_requested) => Vec::new(),
                Step::Finalize => {
                    self.note_validated();
                    match self.finalize(session, spec, &order, &mut key) {
                        Ok(finalized) => {
                            (order, retry_after) = finalized;
                            (is_early, is_requested) = (false, true);
                            self.running.step("Waiting for finalized order to become valid")?;
                            continue;
                        }
                        // RFC 8555 §7.4: this tells to ask for the order's state.
                        Err(error) if is_early && is_not_ready(&order, &error) => {
                            is_early = false;
                            Vec::new()
                        }
                        Err(error) => return Err(error),
                    }
                }
                Step::Download(url) => {
                    self.running.has_news();
                    return self.download(session, spec, url, key).map(Progress::Complete);
                }
                Step::Failed(error) => {
                    let unknown = order.error.is_none() && authorizations.is_empty();
                    if order.status == OrderStatus::Invalid && unknown && !is_asked_why {
                        is_asked_why = true;
                        let known =
                            order.authorizations.iter().filter_map(|url| session.authorization(url).ok());
                        authorizations
                            .extend(known.map(|polled| polled.value.of_order(&self.md.ordered_names())));
                        continue;
                    }
                    self.remove_order()?;
                    return Err(error.into());
                }
            };
            if let Some(error) = self.complaint(&authorizations) {
                return Err(error);
            }
            let names = authorizations.iter().filter(|a| waits_for.contains(&a.url));
            if let Some(wait) = self.wait(retry_after.take(), &described(names.map(Authorization::name)))? {
                return Ok(Progress::Waiting(wait));
            }
            if waits_for.is_empty() {
                let polled = session.order(&order.url)?;
                (order, retry_after) = (polled.value, polled.retry_after);
            }
            for url in waits_for {
                let polled = session.authorization(&url)?;
                retry_after = retry_after.max(polled.retry_after);
                authorizations.retain(|a| a.url != url);
                authorizations.push(polled.value.of_order(&self.md.ordered_names()));
            }
        }
    }

    /// Waits until it is time to ask the CA again. The answer is a wait that is too long for this attempt.
    fn wait(&mut self, retry_after: Option<Timestamp>, what: &str) -> Result<Option<Wait>, Error> {
        let now = self.clock().now();
        let Some(saved) = &self.saved else { return Ok(None) };
        let since = saved.since(now);
        let urgency = urgency::pressure(self.md, &self.target.served(), now).urgency;
        let deadline = order_deadline::deadline(saved, urgency, self.md.ca.urls.len() > 1, now);
        if now >= deadline {
            self.remove_order()?;
            let what =
                format!("it has been {what} since {}, and the order is given up", since.to_http_date());
            return Err(acme::Error::TimedOut { what }.into());
        }
        let delay = order::poll_delay(now.since(since), retry_after, now).min(deadline.since(now));
        self.stayed += delay;
        let waiting = Waiting { what: what.into(), since, next: Some(now.plus(delay).ceil()) };
        if self.stayed >= STAY {
            return Ok(Some(Wait { waiting, until: now.plus(delay) }));
        }
        if delay >= KEPT_BEFORE {
            self.keep_order()?;
            self.running.job.waiting = Some(waiting);
        }
        self.running.show_before(delay)?;
        self.engine.rest(&self.md.name, delay)?;
        Ok(None)
    }

    /// The order an earlier attempt left, as far as the CA still has it.
    fn resumed(&mut self, session: &Session, spec: &KeySpec) -> Result<Option<Order>, Error> {
        let Some(saved) = self.saved.clone().filter(|saved| saved.key == spec.label()) else {
            return Ok(None);
        };
        self.change_order(SavedOrder::believe_up_to);
        let reason = if saved.is_alive(self.clock().now()) {
            self.running.step(format!("Resuming order for {}", self.md.name))?;
            match session.order(&saved.url) {
                Ok(polled) if polled.value.is_of_others(&self.md.ordered_names()) => {
                    "it is for other names".into()
                }
                Ok(polled) if polled.value.status != OrderStatus::Invalid || saved.is_begun() => {
                    return Ok(Some(polled.value));
                }
                Ok(_) => "the CA calls it invalid".into(),
                Err(error) if error.is_refusal() => format!("the CA does not give it out any more: {error}"),
                // An answer that makes no sense may be that of something in between. What is at work is not
                // dropped for one.
                Err(error @ acme::Error::Protocol(_))
                    if !saved.is_begun() || self.running.job.errors >= GARBLED_MAX =>
                {
                    format!("what the CA has in its place is none: {error}")
                }
                // It is there still, and so are the answers to its challenges.
                Err(error) => return Err(error.into()),
            }
        } else {
            "it has expired".to_string()
        };
        self.running.has_news();
        self.running.remark(&format!("the order is dropped: {reason}"))?;
        self.drop_order()?;
        Ok(None)
    }

    /// Places a new order.
    fn place(&mut self, session: &Session, spec: &KeySpec) -> Result<Order, Error> {
        self.running.has_news();
        self.running.step("Creating new order")?;
        let profile = self.profile(session)?;
        let options = OrderOptions { profile, replaces: self.replaced(session, spec), not_after: None };
        let names = self.md.ordered_names();
        // What takes the place of a certificate is not counted.
        let note = || self.engine.note_order(&self.md.name, self.authority.url());
        if options.replaces.is_none() {
            note();
        }
        let order = match session.new_order(&names, &options) {
            Err(error) if options.replaces.is_some() && is_about_replacement(&error) => {
                self.running.remark(&format!("the CA does not have it replace the present one: {error}"))?;
                note();
                session.new_order(&names, &OrderOptions { replaces: None, ..options })?.value
            }
            other => other?.value,
        };
        // By a clock that is ahead every order has expired.
        let expires = order.expires.filter(|expires| *expires > self.clock().now());
        self.saved = Some(SavedOrder::new(&order.url, spec.label(), expires));
        self.is_kept = false;
        self.keep_order()?;
        Ok(order)
    }

    pub(crate) fn keep_order(&mut self) -> Result<(), Error> {
        if let Some(order) = self.saved.as_ref().filter(|_| !self.is_kept) {
            self.staging().save_order(order)?;
            self.is_kept = true;
        }
        Ok(())
    }

    /// Nothing comes of this order any more.
    pub(crate) fn remove_order(&mut self) -> Result<(), Error> {
        self.running.has_news();
        (self.saved, self.is_kept) = (None, true);
        Ok(self.staging().remove_order()?)
    }

    /// The same, while the attempt goes on: the answers to its challenges go at once.
    pub(crate) fn drop_order(&mut self) -> Result<(), Error> {
        if self.saved.is_some() {
            self.remove_order()?;
            challenges::clean_up(self.engine, self.target);
        }
        Ok(())
    }

    pub(crate) fn change_order(&mut self, change: impl FnOnce(&mut SavedOrder, Timestamp)) {
        let now = self.clock().now();
        if let Some(order) = &mut self.saved {
            let before = order.clone();
            change(order, now);
            self.is_kept &= *order == before;
        }
    }

    fn note_validated(&mut self) {
        if self.saved.as_ref().is_some_and(|order| !order.is_validated()) {
            self.running.has_news();
            self.change_order(|order, now| order.issue(now));
        }
    }

    /// The certificate in use that a new one takes the place of (RFC 9773 §5): the CA has issued it, and
    /// knows what that means.
    fn replaced(&self, session: &Session, spec: &KeySpec) -> Option<String> {
        let issued_it = self.target.current().ca.url.as_deref() == Some(self.authority.url());
        let knows = session.server().directory().renewal_info.is_some();
        let served = self.target.served();
        let cert = served.iter().find(|(known, _)| known.same_type(spec))?.1.as_ref()?;
        cert.ari_cert_id.clone().filter(|_| self.md.ari_renewals && issued_it && knows)
    }

    /// A profile that the CA does not have is left out of the order; where it is mandatory, nothing is
    /// ordered.
    fn profile(&self, session: &Session) -> Result<Option<String>, Error> {
        let offered = &session.server().directory().profiles;
        match &self.md.profile {
            Some(name) if offered.iter().any(|(known, _)| known == name) => Ok(Some(name.clone())),
            Some(name) if self.md.profile_mandatory => {
                Err(acme::Error::without_profile(name, offered).into())
            }
            _ => Ok(None),
        }
    }

    /// Presents the answers of all challenges, then has the CA look (RFC 8555 §7.5.1).
    fn answer_challenges(&mut self, session: &Session, pending: &[Authorization]) -> Result<(), Error> {
        self.running.step("Starting challenges for domains")?;
        let thumbprint = session.thumbprint()?;
        let urls = challenges::present(self.engine, self.target, self.running, pending, &thumbprint)?;
        for (authorization, url) in pending.iter().zip(urls) {
            match session.start_challenge(&url) {
                Ok(_) => {}
                Err(error) if error.is_conflict() || error.is_refusal() => {
                    match seen(session, authorization, &url, &error) {
                        Seen::InVain => return Err(in_vain(authorization, &url, error.problem())),
                        Seen::Idle if !error.is_conflict() => return Err(error.into()),
                        _ => self.running.remark(&format!("the CA looks already: {error}"))?,
                    }
                }
                Err(error) => return Err(error.into()),
            }
            self.change_order(|order, now| order.start(&authorization.url, now));
        }
        Ok(())
    }

    /// Takes up challenges that were started earlier: their answers have to be there until they are decided.
    fn restore_answers(&mut self, session: &Session, authorizations: &[Authorization]) -> Result<(), Error> {
        let mut lost = Vec::new();
        for authorization in authorizations.iter().filter(|a| a.status == AuthorizationStatus::Pending) {
            let url = &authorization.url;
            let is_noted = self.saved.as_ref().is_some_and(|order| order.is_started(url));
            match is_noted || order::is_processing(authorization) {
                true if !challenges::is_presented(self.engine, &self.md.name, authorization) => {
                    lost.push(authorization.clone())
                }
                true if !is_noted => self.change_order(|order, now| order.start(url, now)),
                _ => {}
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        self.running.has_news();
        lost.iter().for_each(|a| self.change_order(|order, _| order.unstart(&a.url)));
        self.answer_challenges(session, &lost)
    }

    /// What the CA has found in vain so far. Some CAs look once, tell the reason, and look again when the
    /// challenge is started again; some look again by themselves (RFC 8555 §8.2).
    fn complaint(&mut self, authorizations: &[Authorization]) -> Option<Error> {
        let now = self.clock().now();
        let waited = now.since(self.saved.as_ref()?.since(now));
        let is_open = |a: &&Authorization| a.status == AuthorizationStatus::Pending;
        let (authorization, challenge) = authorizations.iter().filter(is_open).find_map(|authorization| {
            let in_vain = authorization.challenges.iter().find(|c| {
                let patience = if c.status == ChallengeStatus::Processing { AGAIN_IN_VAIN } else { IN_VAIN };
                c.error.is_some() && waited >= patience
            });
            Some((authorization, in_vain?))
        })?;
        // Whatever its state: to start it again asks the CA to look again.
        self.change_order(|order, _| order.unstart(&authorization.url));
        self.running.has_news();
        Some(in_vain(authorization, &challenge.url, challenge.error.as_ref()))
    }
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

/// Whether an order may have been refused for what it replaces: that was replaced before (RFC 9773 §7.4), or
/// the CA does not know it any more.
fn is_about_replacement(error: &acme::Error) -> bool {
    matches!(
        error.kind(),
        Some(Kind::AlreadyReplaced | Kind::Malformed | Kind::Unauthorized | Kind::ServerInternal)
    )
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

/// What has become of a challenge whose start was refused.
enum Seen {
    /// Nothing.
    Idle,
    /// It was started before, and is under way or decided.
    Begun,
    /// The CA looked at once, and what it found is why it refuses (serles).
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

/// What the CA does while it is waited for.
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
