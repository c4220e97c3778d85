// SPDX-License-Identifier: Apache-2.0
//! The certificate of one key: its private key and CSR, the download, and the check of the CA's answer. Kept
//! files are in staging.

use super::state::Attempt;
use crate::acme::Session;
use crate::acme::objects::Order;
use crate::crypto::cert::Chain;
use crate::crypto::{PrivateKey, csr};
use crate::managed::bundle::Bundle;
use crate::managed::fit::Unfit;
use crate::model::KeySpec;
use crate::renew::decide::error::Error;
use crate::store;
use crate::time::Timestamp;

/// The staged certificate of a key, if it fits the MD.
pub(super) fn staged(attempt: &Attempt<'_, '_, '_>, spec: &KeySpec) -> Option<Bundle> {
    let name = &attempt.md.name;
    // A chain that cannot be read counts as missing and is downloaded again.
    let chain = attempt.staging().chain(spec).unwrap_or_default()?;
    let key = staged_key(attempt, spec)?;
    match check(attempt, spec, key, chain) {
        Ok(set) => Some(set),
        Err(unfit) => {
            let what = unfit.of(spec.label());
            crate::log!(Warn, "md[{name}]: the staged {what}, so a new one is ordered");
            None
        }
    }
}

/// `known`: the certificate's key, once it has been generated or read.
pub(super) fn finalize(
    attempt: &mut Attempt<'_, '_, '_>,
    session: &Session,
    spec: &KeySpec,
    order: &Order,
    known: &mut Option<PrivateKey>,
) -> Result<(Order, Option<Timestamp>), Error> {
    let name = attempt.md.name.clone();
    let label = spec.label();
    attempt.running.step(format!("Finalizing order for {name}"))?;
    attempt.running.remark(&format!("Creating {label} CSR"))?;
    let key = match known {
        Some(key) => key,
        None => known.insert(key(attempt, spec)?),
    };
    attempt.key = Some((spec.clone(), key.clone()));
    let csr = csr::build(key, &attempt.md.ordered_names(), attempt.md.must_staple)?;
    attempt.running.remark(&format!("Submitting {label} CSR to CA"))?;
    attempt.share()?;
    attempt.sharing.may_ask()?;
    let polled = session.finalize(order, &csr)?;
    Ok((polled.value, polled.retry_after))
}

/// The key an earlier attempt left; else a new one.
fn key(attempt: &Attempt<'_, '_, '_>, spec: &KeySpec) -> Result<PrivateKey, Error> {
    if let Some(key) = staged_key(attempt, spec).filter(|key| key.is_of(spec)) {
        return Ok(key);
    }
    let limit = attempt.renewal.context.cas.limit();
    let key = limit.generate(spec, || attempt.clock().is_stopped())?.ok_or(Error::Stopped)?;
    attempt.staging().save_key(spec, &key)?;
    Ok(key)
}

/// One that cannot be read has certified nothing yet.
fn staged_key(attempt: &Attempt<'_, '_, '_>, spec: &KeySpec) -> Option<PrivateKey> {
    attempt.staging().key(spec).unwrap_or_else(|error| {
        crate::log!(Warn, "md[{}]: {error}", attempt.md.name);
        None
    })
}

/// The set of this key and chain, if it fits the MD.
fn check(
    attempt: &Attempt<'_, '_, '_>,
    spec: &KeySpec,
    key: PrivateKey,
    chain: Chain,
) -> Result<Bundle, Unfit> {
    let (set, dropped) = Bundle::from_sent(spec.clone(), key, chain).map_err(|_| Unfit::Key)?;
    if !dropped.is_nothing() {
        let (name, label) = (&attempt.md.name, spec.label());
        crate::log!(
            Info,
            "md[{name}]: the CA sent more than the chain of certificate({label}), which is used: {dropped}"
        );
    }
    set.fits(attempt.md, attempt.now())?;
    Ok(set)
}

/// `key`: the certificate's, where this attempt has used it before.
pub(super) fn download(
    attempt: &mut Attempt<'_, '_, '_>,
    session: &Session,
    spec: &KeySpec,
    url: &str,
    key: Option<PrivateKey>,
) -> Result<Bundle, Error> {
    let name = attempt.md.name.clone();
    attempt.running.step(format!("Retrieving {} certificate chain for {name}", spec.label()))?;
    let pem = session.certificate(url)?;
    let unusable = |unfit| Error::Misissued { label: spec.label().into(), unfit };
    let chain = Chain::from_pem(&pem).map_err(|e| unusable(Unfit::Unreadable(e.to_string())));
    let key = match key {
        Some(key) => Ok(key),
        None => match attempt.staging().key(spec) {
            Ok(Some(key)) => Ok(key),
            Ok(None) => {
                let label = spec.label();
                Err(Error::Unusable(format!("the private key of certificate({label}) is missing in staging")))
            }
            Err(error @ store::Error::Garbage { .. }) => Err(error.into()),
            // It may be there, and be read by the next try.
            Err(error) => return Err(error.into()),
        },
    };
    let checked =
        key.and_then(|key| chain.and_then(|chain| check(attempt, spec, key, chain).map_err(unusable)));
    if let Ok(set) = &checked {
        // Where there is no room for it, the next try downloads it again.
        attempt.staging().save_chain(spec, &set.chain)?;
    }
    // Whatever comes of it, this order is done with.
    attempt.remove_order()?;
    checked
}
