// SPDX-License-Identifier: Apache-2.0
//! An order of one key: resumed where an earlier attempt left it, else placed. Whatever ends an attempt, the
//! order goes on with the next, until it has failed, has expired or was waited for long enough.

use super::drive::drive;
use super::state::{Attempt, Progress};
use crate::acme::objects::{Order, OrderStatus};
use crate::acme::problem::Kind;
use crate::acme::published_limits;
use crate::acme::{self, OrderOptions, Session};
use crate::managed::bundle::Bundle;
use crate::managed::saved_order::SavedOrder;
use crate::model::KeySpec;
use crate::renew::decide::error::Error;

/// After this many errors in a row, an order that cannot be parsed is dropped.
const GARBLED_MAX: u32 = 2;

/// Gets the certificate for one key into staging.
pub(super) fn obtain(
    attempt: &mut Attempt<'_, '_, '_>,
    session: &Session,
    spec: &KeySpec,
) -> Result<Progress<Bundle>, Error> {
    let Some(order) = resumed(attempt, session, spec)? else {
        let order = place(attempt, session, spec)?;
        return drive(attempt, session, spec, order);
    };
    match drive(attempt, session, spec, order) {
        // It ended between two looks, or can no longer succeed: that is no failure.
        Err(error) if error.is_of_the_past() => {
            attempt.running.end_wait();
            attempt.running.remark(&format!("the order is dropped: {error}"))?;
            attempt.drop_order()?;
            let order = place(attempt, session, spec)?;
            drive(attempt, session, spec, order)
        }
        outcome => outcome,
    }
}

/// The order an earlier attempt left, as far as the CA still has it.
fn resumed(
    attempt: &mut Attempt<'_, '_, '_>,
    session: &Session,
    spec: &KeySpec,
) -> Result<Option<Order>, Error> {
    let Some(saved) = attempt.saved.clone().filter(|saved| saved.key == spec.label()) else {
        return Ok(None);
    };
    attempt.change_order(SavedOrder::believe_up_to);
    let reason = if saved.is_alive(attempt.now()) {
        attempt.running.step(format!("Resuming order for {}", attempt.md.name))?;
        match session.order(&saved.url) {
            Ok(polled) if polled.value.is_of_others(&attempt.md.ordered_names()) => {
                "it is for other names".into()
            }
            Ok(polled) if polled.value.status != OrderStatus::Invalid || saved.is_begun() => {
                return Ok(Some(polled.value));
            }
            Ok(_) => "the CA calls it invalid".into(),
            Err(error) if attempt.has_other_key(session, &error) => return Err(error.into()),
            Err(error) if error.is_refusal() => format!("the CA does not give it out any more: {error}"),
            // An answer that makes no sense may come from a proxy in between. One such answer does not drop
            // an order in progress.
            Err(error @ acme::Error::Protocol(_))
                if !saved.is_begun() || attempt.running.job.errors >= GARBLED_MAX =>
            {
                format!("what the CA has in its place is none: {error}")
            }
            // It is there still, and so are the answers to its challenges.
            Err(error) => return Err(error.into()),
        }
    } else {
        "it has expired".to_string()
    };
    attempt.running.end_wait();
    attempt.running.remark(&format!("the order is dropped: {reason}"))?;
    attempt.drop_order()?;
    Ok(None)
}

/// Places a new order.
fn place(attempt: &mut Attempt<'_, '_, '_>, session: &Session, spec: &KeySpec) -> Result<Order, Error> {
    attempt.running.end_wait();
    attempt.running.step("Creating new order")?;
    let profile = profile(attempt, session)?;
    let options = OrderOptions { profile, replaces: replaced(attempt, session, spec), not_after: None };
    let names = attempt.md.ordered_names();
    // Orders that replace a certificate are not counted.
    if options.replaces.is_none() {
        note_order(attempt);
    }
    attempt.sharing.may_ask()?;
    let order = match session.new_order(&names, &options) {
        Err(error)
            if options.replaces.is_some()
                && is_about_replacement(&error)
                && !attempt.has_other_key(session, &error) =>
        {
            attempt.running.remark(&format!("the CA does not have it replace the present one: {error}"))?;
            note_order(attempt);
            attempt.sharing.may_ask()?;
            session.new_order(&names, &OrderOptions { replaces: None, ..options })?.value
        }
        other => other?.value,
    };
    // By a clock that is ahead every order has expired.
    let expires = order.expires.filter(|expires| *expires > attempt.now());
    attempt.saved = Some(SavedOrder::new(&order.url, spec.label(), expires));
    attempt.is_kept = false;
    attempt.keep_order()?;
    attempt.share()?;
    Ok(order)
}

/// The certificate in use that a new one replaces (RFC 9773 §5): the CA has issued it, and supports
/// `replaces`.
fn replaced(attempt: &Attempt<'_, '_, '_>, session: &Session, spec: &KeySpec) -> Option<String> {
    let issued_it = attempt.renewal.target.current().ca.url.as_deref() == Some(attempt.authority.url());
    let knows = session.server().directory().renewal_info.is_some();
    let served = attempt.renewal.target.served();
    let cert = served.iter().find(|(known, _)| known.same_type(spec))?.1.as_ref()?;
    cert.ari_cert_id.clone().filter(|_| attempt.md.ari_renewals && issued_it && knows)
}

/// A profile that the CA does not have is left out of the order; where it is mandatory, nothing is
/// ordered.
fn profile(attempt: &Attempt<'_, '_, '_>, session: &Session) -> Result<Option<String>, Error> {
    let offered = &session.server().directory().profiles;
    match &attempt.md.profile {
        Some(name) if offered.iter().any(|(known, _)| known == name) => Ok(Some(name.clone())),
        Some(name) if attempt.md.profile_mandatory => Err(acme::Error::without_profile(name, offered).into()),
        _ => Ok(None),
    }
}

/// An order is about to be placed at this CA: it counts, whatever comes of it.
fn note_order(attempt: &Attempt<'_, '_, '_>) {
    let (ca, name, now) = (attempt.authority.url(), attempt.renewal.name(), attempt.now());
    if published_limits::of(ca).is_none() {
        return;
    }
    attempt.renewal.context.order_queue().place(ca, name, now);
    let staging = attempt.staging();
    let mut ledger = staging.ledger();
    ledger.place(ca, now);
    if let Err(error) = staging.save_ledger(&ledger) {
        crate::log!(Warn, "md[{name}]: cannot note that an order was placed: {error}");
    }
}

/// Whether an order may have been refused because of the certificate it replaces: that was replaced before
/// (RFC 9773 §7.4), or the CA no longer knows it.
fn is_about_replacement(error: &acme::Error) -> bool {
    matches!(
        error.kind(),
        Some(Kind::AlreadyReplaced | Kind::Malformed | Kind::Unauthorized | Kind::ServerInternal)
    )
}
