// SPDX-License-Identifier: Apache-2.0
//! One attempt to renew a managed domain: account, then for each key an [`order`](super::order)
//! and the chain, until the set in staging is complete. Touches nothing outside staging and challenges.
//!
//! Everything that costs the CA or us something is on disk before the next step: the account key before the
//! registration, the order's URL as soon as there is one, the certificate key before the CSR is sent. So an
//! attempt that died goes on with the same account, order and key; and one that the CA keeps waiting ends,
//! and is followed by another that looks how far the order has come.

use super::account;
use super::ca_pool::Held;
use super::certificate::staged;
use super::context::Renewal;
use super::order::obtain;
use super::own_account;
use super::progress::Running;
use super::shared_account;
use super::sharing::Sharing;
use super::state::{Attempt, Progress};
use super::takeover;
use crate::crypto::Chain;
use crate::managed::bundle::Bundle;
use crate::managed::published;
use crate::model::{KeySpec, Md};
use crate::renew::decide::error::Error;
use crate::time::Stopped;
use std::time::Duration;

/// Runs one attempt at the CA with the directory `url`. A complete result is checked and in staging.
pub(crate) fn renew(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    url: &str,
    sharing: &mut Sharing<'_>,
) -> Result<Progress<Vec<Bundle>>, Error> {
    let prepared = takeover::prepare(renewal, running, url, sharing)?;
    let target = prepared.as_ref().map_or(renewal.target, |prepared| &prepared.target);
    let renewal = &Renewal { target, ..*renewal };
    let authority = renewal.context.cas.of(url, &target.route);
    // A file that cannot be read costs a new order, nothing else.
    let saved = renewal.staging().order().unwrap_or_default();
    let mut attempt = Attempt {
        renewal,
        md: &target.md,
        authority: &authority,
        running,
        key: takeover::key(renewal, sharing, saved.as_ref()),
        sharing,
        saved,
        is_of_another: prepared.as_ref().is_some_and(|prepared| prepared.is_of_another),
        is_kept: true,
        reopened: 0,
        is_key_awaited: false,
        stayed: Duration::ZERO,
    };
    let outcome = run(&mut attempt);
    match end(&mut attempt, &outcome) {
        // The next process finds the set complete and removes the rest.
        Err(Stopped) if outcome.is_ok() => Err(Error::Stopped),
        _ => outcome,
    }
}

/// Answers stay where the CA may come for them: whatever else has ended the attempt.
fn end(
    attempt: &mut Attempt<'_, '_, '_>,
    outcome: &Result<Progress<Vec<Bundle>>, Error>,
) -> Result<(), Stopped> {
    let error = outcome.as_ref().err();
    if let Err(error) = attempt.keep_order() {
        crate::log!(Warn, "md[{}]: the state of its order cannot be saved: {}", attempt.md.name, error);
    }
    if error.is_some_and(Error::is_of_the_authority) {
        attempt.authority.forget();
    }
    attempt.note();
    // Another node may have its answers here, for the same order.
    let is_stopped = error.is_some_and(|error| error.is_stopped() || error.is_lost());
    let now = attempt.now();
    // A set that was complete before this look: the process that completed it may have died before it removed
    // the answers.
    let is_complete = matches!(outcome, Ok(Progress::Complete(_)));
    // A look without a result has no new answers to remove.
    let is_over = || {
        !attempt.running.is_quiet()
            && !attempt.saved.as_ref().is_some_and(|order| order.is_awaiting_the_ca(now))
    };
    if !is_stopped && (is_complete || is_over()) { attempt.clean_up() } else { Ok(()) }
}

fn run(attempt: &mut Attempt<'_, '_, '_>) -> Result<Progress<Vec<Bundle>>, Error> {
    prepare_staging(attempt)?;
    let mut held = None;
    let mut sets = Vec::new();
    for spec in attempt.md.keys() {
        let set = match staged(attempt, &spec) {
            Some(set) => set,
            None => match order(attempt, &mut held, &spec)? {
                Progress::Complete(set) => set,
                Progress::Waiting(wait) => return Ok(Progress::Waiting(wait)),
            },
        };
        attempt.sharing.note_cert(&set);
        sets.push(set);
    }
    Ok(Progress::Complete(sets))
}

/// Gets the certificate for one key, with the account of `held`. Where that has got another key meanwhile, the order
/// goes on with this.
fn order(
    attempt: &mut Attempt<'_, '_, '_>,
    held: &mut Option<Held>,
    spec: &KeySpec,
) -> Result<Progress<Bundle>, Error> {
    let mut session = match held {
        Some(held) => held.session.clone(),
        None => held.insert(open_session(attempt)?).session.clone(),
    };
    let (name, label) = (&attempt.md.name, spec.label());
    attempt.running.step(format!("Driving ACME to renew {label} certificate for {name}"))?;
    loop {
        let refusal = match obtain(attempt, &session, spec) {
            Err(error) if error.acme().is_some_and(|error| attempt.has_other_key(&session, error)) => error,
            outcome => return outcome,
        };
        attempt.reopened += 1;
        attempt.running.remark(&format!("the key of the account is refused, and read again: {refusal}"))?;
        attempt.authority.forget_account(session.account_url());
        // The former one is held until then: a key that waits for the account is not given to it in mid-attempt.
        let reopened = held.insert(open_session(attempt)?).session.clone();
        if reopened.key().is_same(session.key()) {
            return Err(refusal);
        }
        session = reopened;
    }
}

/// Continues an earlier attempt if it was for the same names, keys and CA; else begins again.
fn prepare_staging(attempt: &mut Attempt<'_, '_, '_>) -> Result<(), Error> {
    let name = attempt.md.name.clone();
    attempt.running.step("Checking staging area")?;
    let staged = attempt.staging().md().unwrap_or_default();
    if staged.is_some_and(|staged| same_order(&staged, attempt.md, attempt.authority.url()))
        && !has_live_set(attempt)
    {
        return Ok(());
    }
    attempt.running.end_wait();
    attempt.running.step(format!("Resetting staging for {name}"))?;
    attempt.drop_order()?;
    attempt.staging().reset()?;
    let mut md = attempt.md.clone();
    md.ca.url = Some(attempt.authority.url().to_string());
    Ok(attempt.staging().save_md(&md)?)
}

/// Whether certificates are staged that are live: what is due for renewal is no result of it. The disk refused to
/// have them cleared away, or a process died before it did.
fn has_live_set(attempt: &Attempt<'_, '_, '_>) -> bool {
    let live = published::chains(&attempt.renewal.context.store, &attempt.md.name);
    let fingerprint = |chain: &Chain| chain.leaf().sha256_fingerprint();
    let live: Vec<String> = live.iter().map(fingerprint).collect();
    let staged = attempt.md.keys().into_iter().filter_map(|spec| attempt.staging().chain(&spec).ok()?);
    staged.map(|chain| fingerprint(&chain)).any(|staged| live.contains(&staged))
}

fn open_session(attempt: &mut Attempt<'_, '_, '_>) -> Result<Held, Error> {
    let (name, url, context) = (&attempt.md.name, attempt.authority.url(), attempt.renewal.context);
    attempt.running.step(format!("Contacting ACME server for {name} at {url}"))?;
    attempt.running.show()?;
    let server = attempt.authority.server(&context.cas, &attempt.renewal.target.route, &context.clock)?;
    attempt.running.step(format!("Selecting account to use for {name}"))?;
    let (targets, store) = (&*context.targets, &context.store);
    let (sharing, running) = (&attempt.sharing, &mut *attempt.running);
    let client = account::Client { authority: attempt.authority, md: attempt.md, targets, store, sharing };
    match sharing.peers() {
        Some(peers) => shared_account::obtain(&client, &server, running, peers),
        None => own_account::obtain(&client, &server, running),
    }
}

/// Whether files staged for `staged` can be used to renew `md` at the CA `url`.
fn same_order(staged: &Md, md: &Md, url: &str) -> bool {
    staged.ca.url.as_deref() == Some(url)
        && staged.domains == md.domains
        && staged.key_specs == md.key_specs
        && staged.must_staple == md.must_staple
        && staged.profile == md.profile
}
