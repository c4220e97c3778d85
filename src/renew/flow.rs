//! One attempt to renew a managed domain: account, then for each key an order, its challenges, and the
//! chain, until the set in staging is complete. Does no more than perform what `acme::order::step` says
//! comes next; refuses to touch anything outside staging and challenges.
//!
//! Everything that costs the CA or us something is on disk before the next step: the account key before
//! the registration, the order's URL as soon as there is one, the certificate key before the CSR is sent.
//! So an attempt that died goes on with the same account, order and key.

use super::authority::Authority;
use super::engine::Engine;
use super::error::Error;
use super::job::Running;
use super::set::KeyedSet;
use super::staging::{SavedOrder, Staging};
use super::{Managed, challenges, session};
use crate::acme::objects::{Authorization, Order, OrderStatus};
use crate::acme::order::{self, Poll, Step};
use crate::acme::problem::Kind;
use crate::acme::{self, OrderOptions, Session};
use crate::crypto::cert::Chain;
use crate::crypto::{PrivateKey, csr};
use crate::model::{KeySpec, Md};
use crate::time::{Clock, Timestamp};
use std::time::Duration;

/// Runs one attempt at the CA with the directory `url`. The answer is what is in staging now, complete and checked.
pub fn renew(
    engine: &Engine,
    target: &Managed,
    running: &mut Running<'_>,
    url: &str,
) -> Result<Vec<KeyedSet>, Error> {
    let authority = engine.authorities().of(url, &target.route);
    let mut attempt = Attempt { engine, target, md: &target.md, authority: &authority, running };
    let outcome = attempt.run();
    match &outcome {
        // The CA may be looking at the answers right now, and the next child goes on from there.
        Err(error) if error.is_stopped() => {}
        Err(error) if error.is_of_the_authority() => {
            challenges::clean_up(engine, target);
            authority.forget();
        }
        _ => challenges::clean_up(engine, target),
    }
    outcome
}

struct Attempt<'a, 'r> {
    engine: &'a Engine,
    target: &'a Managed,
    md: &'a Md,
    authority: &'a Authority,
    running: &'a mut Running<'r>,
}

impl Attempt<'_, '_> {
    fn staging(&self) -> Staging<'_> {
        Staging::new(self.engine.store(), &self.md.name)
    }

    fn clock(&self) -> &dyn Clock {
        self.engine.clock().as_ref()
    }

    fn run(&mut self) -> Result<Vec<KeyedSet>, Error> {
        let name = &self.md.name;
        self.prepare_staging()?;
        let mut session = None;
        let mut sets = Vec::new();
        for spec in self.md.keys() {
            let set = match self.staged(&spec) {
                Some(set) => set,
                None => {
                    let session = match &session {
                        Some(session) => session,
                        None => session.insert(self.open_session()?),
                    };
                    self.running
                        .step(format!("Driving ACME to renew {} certificate for {name}", spec.label()))?;
                    self.obtain(session, &spec)?
                }
            };
            sets.push(set);
        }
        Ok(sets)
    }

    /// Goes on with what an earlier attempt left, if it was for the same names, keys and CA; else begins anew.
    fn prepare_staging(&mut self) -> Result<(), Error> {
        let name = self.md.name.clone();
        self.running.step("Checking staging area")?;
        let staged = self.staging().md().unwrap_or_default();
        if staged.is_some_and(|staged| same_order(&staged, self.md, self.authority.url())) {
            return Ok(());
        }
        self.running.step(format!("Resetting staging for {name}"))?;
        self.staging().reset()?;
        let mut md = self.md.clone();
        md.ca.url = Some(self.authority.url().to_string());
        Ok(self.staging().save_md(&md)?)
    }

    fn open_session(&mut self) -> Result<Session, Error> {
        let (name, url) = (&self.md.name, self.authority.url());
        self.running.step(format!("Contacting ACME server for {name} at {url}"))?;
        self.running.show()?;
        let server =
            self.authority.server(self.engine.authorities(), &self.target.route, self.engine.clock())?;
        self.running.step(format!("Selecting account to use for {name}"))?;
        let (targets, store) = (self.engine.targets(), self.engine.store());
        let client = session::Client { authority: self.authority, md: self.md, targets, store };
        session::obtain(&client, &server, self.running)
    }

    /// What is staged for a key, if it can be used: it fits the MD.
    fn staged(&self, spec: &KeySpec) -> Option<KeyedSet> {
        let name = &self.md.name;
        // What cannot be read is as good as not there: it is got anew.
        let chain = self.staging().chain(spec).unwrap_or_default()?;
        let key = self.staged_key(spec)?;
        match self.check(spec, key, chain) {
            Ok(set) => Some(set),
            Err(reason) => {
                crate::log!(
                    Warn,
                    "{name}: the staged certificate({}) is ordered anew: {reason}",
                    spec.label()
                );
                None
            }
        }
    }

    /// Gets the certificate for one key into staging.
    fn obtain(&mut self, session: &Session, spec: &KeySpec) -> Result<KeyedSet, Error> {
        let name = self.md.name.clone();
        let mut order = self.order(session, spec)?;
        let mut authorizations: Vec<Authorization> = Vec::new();
        let mut started: Vec<String> = Vec::new();
        let mut key = None;
        let mut polls = Polls::begin(self.clock().now());
        loop {
            match order::step(&order, &authorizations, &started) {
                Step::Fetch(urls) => {
                    for url in urls.into_iter().map(String::from).collect::<Vec<_>>() {
                        authorizations.push(session.authorization(&url)?.value.of_order(&self.md.domains));
                    }
                }
                Step::SetUp(pending) => {
                    let pending: Vec<Authorization> = pending.into_iter().cloned().collect();
                    self.answer_challenges(session, &pending)?;
                    started.extend(pending.into_iter().map(|a| a.url));
                    self.running.step(format!("Monitoring challenge status for {name}"))?;
                    polls = Polls::begin(self.clock().now());
                }
                Step::Poll(Poll::Authorizations(urls)) => {
                    let urls: Vec<String> = urls.into_iter().map(String::from).collect();
                    self.wait(&mut polls, "challenges are still being validated")?;
                    for url in urls {
                        let polled = session.authorization(&url)?;
                        polls.retry_after = polls.retry_after.max(polled.retry_after);
                        authorizations.retain(|a| a.url != url);
                        authorizations.push(polled.value.of_order(&self.md.domains));
                    }
                }
                Step::Poll(Poll::Order) => {
                    order = self.poll(session, &order, &mut polls)?;
                }
                Step::Finalize => match self.finalize(session, spec, &order, &mut key) {
                    Ok(finalized) => {
                        order = finalized;
                        self.running.step("Waiting for finalized order to become valid")?;
                        polls = Polls::begin(self.clock().now());
                    }
                    // RFC 8555 §7.4: this tells to ask for the order's state.
                    Err(error)
                        if order.status == OrderStatus::Pending
                            && error.kind() == Some(Kind::OrderNotReady) =>
                    {
                        order = self.poll(session, &order, &mut polls)?;
                    }
                    Err(error) => return Err(error),
                },
                Step::Download(url) => return self.download(session, spec, url, key),
                Step::Failed(error) => {
                    self.staging().remove_order()?;
                    return Err(error.into());
                }
            }
        }
    }

    fn wait(&mut self, polls: &mut Polls, what: &str) -> Result<(), Error> {
        let delay = polls.delay(what, self.clock().now())?;
        self.running.show_before(delay)?;
        Ok(self.engine.rest(&self.md.name, delay)?)
    }

    /// The order after a while.
    fn poll(&mut self, session: &Session, order: &Order, polls: &mut Polls) -> Result<Order, Error> {
        self.wait(polls, &format!("the order {} is not ready yet", order.url))?;
        let polled = session.order(&order.url)?;
        polls.retry_after = polled.retry_after;
        Ok(polled.value)
    }

    /// The order an earlier attempt left, as far as the CA still has it; else a new one.
    fn order(&mut self, session: &Session, spec: &KeySpec) -> Result<Order, Error> {
        let name = self.md.name.clone();
        // A file that cannot be read costs a new order, nothing else.
        if let Some(saved) = self.staging().order().unwrap_or_default()
            && saved.key == spec.label()
        {
            self.running.step(format!("Resuming order for {name}"))?;
            match session.order(&saved.url) {
                Ok(polled) if polled.value.status != OrderStatus::Invalid => return Ok(polled.value),
                Ok(_) => {}
                Err(error) if error.problem().is_some() => {
                    self.running.remark(&format!("the CA does not give it out any more: {error}"))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.running.step("Creating new order")?;
        let profile = self.profile(session)?;
        let options = OrderOptions { profile, replaces: self.replaced(session, spec), not_after: None };
        let order = match session.new_order(&self.md.domains, &options) {
            Err(error) if options.replaces.is_some() && is_about_replacement(&error) => {
                self.running.remark(&format!("the CA does not have it replace the present one: {error}"))?;
                session.new_order(&self.md.domains, &OrderOptions { replaces: None, ..options })?.value
            }
            other => other?.value,
        };
        self.staging().save_order(&SavedOrder { url: order.url.clone(), key: spec.label().into() })?;
        Ok(order)
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

    /// A profile that the CA does not have is left out of the order; where it is mandatory, nothing is ordered.
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
        for url in challenges::present(self.engine, self.target, self.running, pending, &thumbprint)? {
            session.start_challenge(&url)?;
        }
        Ok(())
    }

    /// `known`: the certificate's key, once it has been generated or read.
    fn finalize(
        &mut self,
        session: &Session,
        spec: &KeySpec,
        order: &Order,
        known: &mut Option<PrivateKey>,
    ) -> Result<Order, Error> {
        let name = self.md.name.clone();
        let label = spec.label();
        self.running.step(format!("Finalizing order for {name}"))?;
        self.running.remark(&format!("Creating {label} CSR"))?;
        let key = match known {
            Some(key) => key,
            None => known.insert(self.key(spec)?),
        };
        let csr = csr::build(key, &self.md.domains, self.md.must_staple)?;
        self.running.remark(&format!("Submitting {label} CSR to CA"))?;
        Ok(session.finalize(order, &csr)?.value)
    }

    /// The key an earlier attempt left; else a new one.
    fn key(&self, spec: &KeySpec) -> Result<PrivateKey, Error> {
        if let Some(key) = self.staged_key(spec).filter(|key| key.is_of(spec)) {
            return Ok(key);
        }
        let key = PrivateKey::generate_in_turn(spec, || self.clock().is_stopped())?.ok_or(Error::Stopped)?;
        self.staging().save_key(spec, &key)?;
        Ok(key)
    }

    /// One that cannot be read has certified nothing yet.
    fn staged_key(&self, spec: &KeySpec) -> Option<PrivateKey> {
        self.staging().key(spec).unwrap_or_else(|error| {
            crate::log!(Warn, "md[{}]: {error}", self.md.name);
            None
        })
    }

    /// The set of this key and chain, if it fits the MD. The error completes "the certificate …".
    fn check(&self, spec: &KeySpec, key: PrivateKey, chain: Chain) -> Result<KeyedSet, String> {
        let (set, dropped) = KeyedSet::from_sent(spec.clone(), key, chain)
            .map_err(|_| String::from("does not match its private key"))?;
        if !dropped.is_nothing() {
            let (name, label) = (&self.md.name, spec.label());
            crate::log!(
                Info,
                "md[{name}]: the CA sent more than the chain of certificate({label}), which is used: {dropped}"
            );
        }
        if !self.md.is_covered_by(&set.info.dns_names) {
            return Err("does not cover all domains".into());
        }
        if set.info.not_after <= self.clock().now() {
            return Err("has expired".into());
        }
        if set.info.must_staple != self.md.must_staple {
            return Err("has another 'must-staple' than was requested".into());
        }
        Ok(set)
    }

    /// `key`: the certificate's, where this attempt has used it before.
    fn download(
        &mut self,
        session: &Session,
        spec: &KeySpec,
        url: &str,
        key: Option<PrivateKey>,
    ) -> Result<KeyedSet, Error> {
        let name = self.md.name.clone();
        self.running.step(format!("Retrieving {} certificate chain for {name}", spec.label()))?;
        let pem = session.certificate(url)?;
        let about = |reason: &str| format!("the CA's certificate({}) {reason}", spec.label());
        let unusable = |reason: String| Error::Misissued(about(&reason));
        let chain = Chain::from_pem(&pem).map_err(|e| unusable(format!("cannot be read: {e}")));
        let key = match key {
            Some(key) => Ok(key),
            None => {
                let key = self.staging().key(spec)?;
                key.ok_or_else(|| Error::Unusable(about("has lost its private key")))
            }
        };
        // Whatever comes of it, this order is done with.
        self.staging().remove_order()?;
        let set = self.check(spec, key?, chain?).map_err(unusable)?;
        self.staging().save_chain(spec, &set.chain)?;
        Ok(set)
    }
}

/// Whether an order may have been refused for what it replaces: that was replaced before (RFC 9773 §7.4), or
/// the CA does not know it any more.
fn is_about_replacement(error: &acme::Error) -> bool {
    matches!(
        error.kind(),
        Some(Kind::AlreadyReplaced | Kind::Malformed | Kind::Unauthorized | Kind::ServerInternal)
    )
}

/// Whether what was staged for `staged` serves to renew `md` at the CA `url`.
fn same_order(staged: &Md, md: &Md, url: &str) -> bool {
    staged.ca.url.as_deref() == Some(url)
        && staged.domains == md.domains
        && staged.key_specs == md.key_specs
        && staged.must_staple == md.must_staple
        && staged.profile == md.profile
}

/// How often and how long something is asked after in one phase.
struct Polls {
    began: Timestamp,
    count: u32,
    retry_after: Option<Timestamp>,
}

impl Polls {
    fn begin(now: Timestamp) -> Self {
        Polls { began: now, count: 0, retry_after: None }
    }

    /// How long to wait until it is time to ask again. The error says that it has been long enough.
    fn delay(&mut self, what: &str, now: Timestamp) -> Result<Duration, Error> {
        if now.since(self.began) >= order::PHASE_LIMIT {
            return Err(acme::Error::TimedOut { what: what.into() }.into());
        }
        let delay = order::poll_delay(self.count, self.retry_after.take(), now);
        if now.plus(delay).since(self.began) > order::PHASE_LIMIT {
            // The order stays on disk: the next try goes on with it.
            return Err(Error::NotYet { what: what.into(), until: now.plus(delay) });
        }
        self.count += 1;
        Ok(delay)
    }
}
