// SPDX-License-Identifier: Apache-2.0
//! One attempt to renew a managed domain: account, then for each key an order ([`ordering`](crate::renew::attempt::order))
//! and the chain, until the set in staging is complete. Touches nothing outside staging and challenges.
//!
//! Everything that costs the CA or us something is on disk before the next step: the account key before the
//! registration, the order's URL as soon as there is one, the certificate key before the CSR is sent. So an
//! attempt that died goes on with the same account, order and key; and one that the CA keeps waiting ends,
//! and is followed by another that looks how far the order has come.

use super::ca_pool::Authority;
use super::progress::Running;
use super::{account, challenges};
use crate::acme::Session;
use crate::acme::objects::Order;
use crate::crypto::cert::Chain;
use crate::crypto::{PrivateKey, csr};
use crate::managed::Managed;
use crate::managed::bundle::Bundle;
use crate::managed::fit::Unfit;
use crate::managed::saved_order::{SavedOrder, Wait};
use crate::managed::staging::Staging;
use crate::model::{KeySpec, Md};
use crate::renew::decide::error::Error;
use crate::renew::worker::check::Engine;
use crate::store;
use crate::time::{Clock, Timestamp};
use std::time::Duration;

pub enum Progress<T> {
    Complete(T),
    /// The CA is at work, and takes its time.
    Waiting(Wait),
}

/// Runs one attempt at the CA with the directory `url`. Complete is what is in staging now, and checked.
pub fn renew(
    engine: &Engine,
    target: &Managed,
    running: &mut Running<'_>,
    url: &str,
) -> Result<Progress<Vec<Bundle>>, Error> {
    let authority = engine.authorities().of(url, &target.route);
    // A file that cannot be read costs a new order, nothing else.
    let saved = Staging::new(engine.store(), &target.md.name).order().unwrap_or_default();
    let mut attempt = Attempt {
        engine,
        target,
        md: &target.md,
        authority: &authority,
        running,
        saved,
        is_kept: true,
        stayed: Duration::ZERO,
    };
    let outcome = attempt.run();
    attempt.end(outcome.as_ref().err());
    outcome
}

pub(crate) struct Attempt<'a, 'r> {
    pub(crate) engine: &'a Engine,
    pub(crate) target: &'a Managed,
    pub(crate) md: &'a Md,
    pub(crate) authority: &'a Authority,
    pub(crate) running: &'a mut Running<'r>,
    /// The order under way.
    pub(crate) saved: Option<SavedOrder>,
    /// It is on disk like this.
    pub(crate) is_kept: bool,
    /// How long it has waited for the CA.
    pub(crate) stayed: Duration,
}

impl Attempt<'_, '_> {
    /// Answers stay where the CA may come for them: whatever else has ended the attempt.
    fn end(&mut self, error: Option<&Error>) {
        if let Err(error) = self.keep_order() {
            crate::log!(Warn, "md[{}]: the state of its order cannot be saved: {}", self.md.name, error);
        }
        if error.is_some_and(Error::is_of_the_authority) {
            self.authority.forget();
        }
        let is_stopped = error.is_some_and(Error::is_stopped);
        let now = self.clock().now();
        // Where nothing came of this look, there is nothing new to take away.
        if !is_stopped
            && !self.running.is_quiet()
            && !self.saved.as_ref().is_some_and(|order| order.is_awaiting_the_ca(now))
        {
            challenges::clean_up(self.engine, self.target);
        }
    }

    pub(crate) fn staging(&self) -> Staging<'_> {
        Staging::new(self.engine.store(), &self.md.name)
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.engine.clock().as_ref()
    }

    fn run(&mut self) -> Result<Progress<Vec<Bundle>>, Error> {
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
                    match self.obtain(session, &spec)? {
                        Progress::Complete(set) => set,
                        Progress::Waiting(wait) => return Ok(Progress::Waiting(wait)),
                    }
                }
            };
            sets.push(set);
        }
        Ok(Progress::Complete(sets))
    }

    /// Goes on with what an earlier attempt left, if it was for the same names, keys and CA; else begins
    /// anew.
    fn prepare_staging(&mut self) -> Result<(), Error> {
        let name = self.md.name.clone();
        self.running.step("Checking staging area")?;
        let staged = self.staging().md().unwrap_or_default();
        if staged.is_some_and(|staged| same_order(&staged, self.md, self.authority.url())) {
            return Ok(());
        }
        self.running.has_news();
        self.running.step(format!("Resetting staging for {name}"))?;
        self.drop_order()?;
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
        let client = account::Client { authority: self.authority, md: self.md, targets, store };
        account::obtain(&client, &server, self.running)
    }

    /// What is staged for a key, if it can be used: it fits the MD.
    fn staged(&self, spec: &KeySpec) -> Option<Bundle> {
        let name = &self.md.name;
        // What cannot be read is as good as not there: it is got anew.
        let chain = self.staging().chain(spec).unwrap_or_default()?;
        let key = self.staged_key(spec)?;
        match self.check(spec, key, chain) {
            Ok(set) => Some(set),
            Err(unfit) => {
                let what = unfit.of(spec.label());
                crate::log!(Warn, "md[{name}]: the staged {what}, so a new one is ordered");
                None
            }
        }
    }

    /// `known`: the certificate's key, once it has been generated or read.
    pub(crate) fn finalize(
        &mut self,
        session: &Session,
        spec: &KeySpec,
        order: &Order,
        known: &mut Option<PrivateKey>,
    ) -> Result<(Order, Option<Timestamp>), Error> {
        let name = self.md.name.clone();
        let label = spec.label();
        self.running.step(format!("Finalizing order for {name}"))?;
        self.running.remark(&format!("Creating {label} CSR"))?;
        let key = match known {
            Some(key) => key,
            None => known.insert(self.key(spec)?),
        };
        let csr = csr::build(key, &self.md.ordered_names(), self.md.must_staple)?;
        self.running.remark(&format!("Submitting {label} CSR to CA"))?;
        let polled = session.finalize(order, &csr)?;
        Ok((polled.value, polled.retry_after))
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

    /// The set of this key and chain, if it fits the MD.
    fn check(&self, spec: &KeySpec, key: PrivateKey, chain: Chain) -> Result<Bundle, Unfit> {
        let (set, dropped) = Bundle::from_sent(spec.clone(), key, chain).map_err(|_| Unfit::Key)?;
        if !dropped.is_nothing() {
            let (name, label) = (&self.md.name, spec.label());
            crate::log!(
                Info,
                "md[{name}]: the CA sent more than the chain of certificate({label}), which is used: {dropped}"
            );
        }
        set.fits(self.md, self.clock().now())?;
        Ok(set)
    }

    /// `key`: the certificate's, where this attempt has used it before.
    pub(crate) fn download(
        &mut self,
        session: &Session,
        spec: &KeySpec,
        url: &str,
        key: Option<PrivateKey>,
    ) -> Result<Bundle, Error> {
        let name = self.md.name.clone();
        self.running.step(format!("Retrieving {} certificate chain for {name}", spec.label()))?;
        let pem = session.certificate(url)?;
        let unusable = |unfit| Error::Misissued { label: spec.label().into(), unfit };
        let chain = Chain::from_pem(&pem).map_err(|e| unusable(Unfit::Unreadable(e.to_string())));
        let key = match key {
            Some(key) => Ok(key),
            None => match self.staging().key(spec) {
                Ok(Some(key)) => Ok(key),
                Ok(None) => {
                    let label = spec.label();
                    Err(Error::Unusable(format!(
                        "the private key of certificate({label}) is missing in staging"
                    )))
                }
                Err(error @ store::Error::Garbage { .. }) => Err(error.into()),
                // It may be there, and be read by the next try.
                Err(error) => return Err(error.into()),
            },
        };
        let checked =
            key.and_then(|key| chain.and_then(|chain| self.check(spec, key, chain).map_err(unusable)));
        if let Ok(set) = &checked {
            // Where there is no room for it, the next try downloads it again.
            self.staging().save_chain(spec, &set.chain)?;
        }
        // Whatever comes of it, this order is done with.
        self.remove_order()?;
        checked
    }
}

/// Whether what was staged for `staged` serves to renew `md` at the CA `url`.
fn same_order(staged: &Md, md: &Md, url: &str) -> bool {
    staged.ca.url.as_deref() == Some(url)
        && staged.domains == md.domains
        && staged.key_specs == md.key_specs
        && staged.must_staple == md.must_staple
        && staged.profile == md.profile
}
