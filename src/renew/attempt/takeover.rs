// SPDX-License-Identifier: Apache-2.0
//! What an attempt goes on from in a fleet: the order of the node that renewed before, or what this one has in
//! staging. A set here that the fleet's job does not know was got before another node renewed, and is dropped.
//! Imports [`sharing`](super::sharing).

use super::context::Renewal;
use super::progress::Running;
use super::sharing::Sharing;
use crate::crypto::{Chain, PrivateKey};
use crate::managed::Managed;
use crate::managed::peers::SharedJob;
use crate::managed::saved_order::SavedOrder;
use crate::managed::staging::Staging;
use crate::model::{KeySpec, Md};
use crate::renew::decide::error::Error;
use crate::renew::decide::union;
use crate::url::Url;

/// After this many failures in a row a certificate is ordered for the names of this node alone.
const ERRORS_MAX: u32 = 5;

/// What an attempt in a fleet begins with.
pub(super) struct Prepared {
    /// The domain with the names to order.
    pub(super) target: Managed,
    /// Staging has come from another node.
    pub(super) is_of_another: bool,
}

/// Prepares staging. `None`: there is no fleet.
pub(super) fn prepare(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    url: &str,
    sharing: &Sharing<'_>,
) -> Result<Option<Prepared>, Error> {
    if !sharing.is_any() {
        return Ok(None);
    }
    let (own, staging) = (&renewal.target.md, renewal.staging());
    let is_usable = |job: &&SharedJob| is_of(job, own, url) && (job.order.is_some() || !job.certs.is_empty());
    let found = sharing.found().filter(is_usable);
    let is_of_another = found.is_some_and(|job| !is_in(&staging, job));
    match found {
        Some(job) if is_of_another => take_over(renewal, running, url, job)?,
        None if sharing.peers().is_some() && staging.has_chain() => {
            crate::log!(
                Info,
                "md[{}]: the certificates in staging are dropped: the fleet knows nothing of their order",
                own.name
            );
            staging.reset()?;
            running.end_wait();
        }
        _ => {}
    }
    let others = names_of_others(renewal, running, sharing);
    // What is under way is finished with the names that it has: those of nodes come and go.
    let staged = staging.md().unwrap_or_default().filter(|md| md.ca.url.as_deref() == Some(url));
    let staged = staged.map(|md| md.domains).filter(|names| has_all(names, &own.domains));
    let names = staged.unwrap_or_else(|| union::names(&own.domains, &others));
    Ok(Some(Prepared { target: with_names(renewal.target, names), is_of_another }))
}

/// The names that other nodes have for the domain, and that this one can prove. A wrong one must not keep this
/// domain from its certificate for ever.
fn names_of_others(renewal: &Renewal<'_>, running: &Running<'_>, sharing: &Sharing<'_>) -> Vec<String> {
    let Some(peers) = sharing.peers().filter(|_| running.job.errors < ERRORS_MAX) else { return Vec::new() };
    let others = peers.names_of_others(renewal.name());
    let target = with_names(renewal.target, union::names(&renewal.target.md.domains, &others));
    let means = renewal.settings().means(&target);
    others.into_iter().filter(|name| means.possible(name).is_ok()).collect()
}

/// The domain as it is ordered. That a name of another node is answered by tls-alpn-01 is believed where all
/// names here are.
fn with_names(target: &Managed, names: Vec<String>) -> Managed {
    let mut target = target.clone();
    let md = &mut target.md;
    if has_all(&md.acme_tls_1, &md.domains) {
        md.acme_tls_1.extend(names.iter().filter(|name| !md.domains.contains(name)).cloned());
    }
    md.domains = names;
    target
}

fn has_all(names: &[String], wanted: &[String]) -> bool {
    wanted.iter().all(|name| names.contains(name))
}

/// Whether an order of the fleet can be finished for `own` at the CA `url`. Its URL must be one of the CA: who
/// writes to the engine could have the account's key sign for another server.
fn is_of(job: &SharedJob, own: &Md, url: &str) -> bool {
    let origin = |text: &str| Url::parse(text).map(|url| url.origin).ok();
    let is_of_ca = |order: &str| origin(order).is_some_and(|found| Some(found) == origin(url));
    let keys = own.keys();
    job.ca == url
        && has_all(&job.names, &own.domains)
        && job
            .order
            .as_ref()
            .is_none_or(|order| is_of_ca(&order.url) && keys.iter().any(|spec| spec.label() == order.key))
        && job.certs.iter().all(|cert| keys.contains(&cert.spec))
}

/// Whether staging has what the fleet has, and nothing else.
fn is_in(staging: &Staging<'_>, job: &SharedJob) -> bool {
    let Ok(Some(md)) = staging.md() else { return false };
    let order = staging.order().unwrap_or_default();
    let key = |spec: &KeySpec| staging.key(spec).ok().flatten().and_then(|key| key.public_der().ok());
    let chain = |spec: &KeySpec| staging.chain(spec).ok().flatten();
    let is_key = |(spec, shared): &(KeySpec, PrivateKey)| {
        let own = key(spec);
        own.is_some() && own == shared.public_der().ok()
    };
    let has_cert = |spec: &KeySpec| {
        let of = |chain: Chain| chain.leaf().der().to_vec();
        let shared = job.certs.iter().find(|cert| cert.spec == *spec);
        match (chain(spec), shared) {
            (found, Some(cert)) => found.map(of) == Some(cert.chain.leaf().der().to_vec()),
            // That of the order, which was finished here.
            (Some(_), None) => job.keys.iter().any(|shared| shared.0 == *spec && is_key(shared)),
            (None, None) => true,
        }
    };
    let is_order = match (&order, &job.order) {
        (Some(own), Some(shared)) => own.url == shared.url && job.keys.iter().all(is_key),
        (None, Some(shared)) => {
            md.keys().iter().any(|spec| spec.label() == shared.key && chain(spec).is_some())
        }
        (_, None) => true,
    };
    md.ca.url.as_deref() == Some(job.ca.as_str())
        && md.domains == job.names
        && is_order
        && md.keys().iter().all(has_cert)
}

/// The key of the order that is saved, for the other nodes.
pub(super) fn key(
    renewal: &Renewal<'_>,
    sharing: &Sharing<'_>,
    saved: Option<&SavedOrder>,
) -> Option<(KeySpec, PrivateKey)> {
    let saved = saved.filter(|_| sharing.is_any())?;
    let spec = renewal.target.md.keys().into_iter().find(|spec| spec.label() == saved.key)?;
    let key = renewal.staging().key(&spec).ok()??;
    Some((spec, key))
}

/// Has staging go on from what the fleet has. Answers to challenges stay: they are those of the order.
fn take_over(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    url: &str,
    job: &SharedJob,
) -> Result<(), Error> {
    let staging = renewal.staging();
    running.end_wait();
    running.step(format!("Taking over the order of another node for {}", renewal.name()))?;
    staging.reset()?;
    let mut md = Md { domains: job.names.clone(), ..renewal.target.md.clone() };
    md.ca.url = Some(url.into());
    staging.save_md(&md)?;
    for cert in &job.certs {
        staging.save_key(&cert.spec, &cert.key)?;
        staging.save_chain(&cert.spec, &cert.chain)?;
    }
    for (spec, key) in &job.keys {
        staging.save_key(spec, key)?;
    }
    if let Some(mut order) = job.order.clone() {
        // The other node may have died before the CA got its request: this one's begins the wait again.
        if order.is_validated() {
            order.issue(renewal.now());
        }
        staging.save_order(&order)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::NOW;

    const CA: &str = "https://ca.test/dir";

    #[test]
    fn an_order_is_taken_over_from_the_ca_itself_and_for_all_names_and_keys() {
        let own = Md {
            domains: vec!["a.test".into(), "b.test".into()],
            key_specs: vec![KeySpec::Ec("P-256".into())],
            ..Md::default()
        };
        let job = |url: &str, key: &str, names: &[&str]| SharedJob {
            ca: CA.into(),
            names: names.iter().map(ToString::to_string).collect(),
            order: Some(SavedOrder::new(url, key, Some(NOW))),
            ..SharedJob::default()
        };
        let (all, order) = (["b.test", "a.test", "c.test"], "https://ca.test/order/1");
        for (job, expected) in [
            (job(order, "P-256", &all), true),
            (job("https://ca.test:443/order/1", "P-256", &all), true),
            (job("https://evil.test/order/1", "P-256", &all), false),
            (job("http://ca.test/order/1", "P-256", &all), false),
            (job("https://ca.test:8443/order/1", "P-256", &all), false),
            (job("https://ca.test@evil.test/order/1", "P-256", &all), false),
            (job("order/1", "P-256", &all), false),
            (job(order, "rsa", &all), false),
            (job(order, "P-256", &all[..1]), false),
            (SharedJob { ca: "https://other.test/dir".into(), ..job(order, "P-256", &all) }, false),
            (SharedJob { order: None, ..job(order, "P-256", &all) }, true),
        ] {
            let url = job.order.as_ref().map(|order| order.url.clone());
            assert_eq!(is_of(&job, &own, CA), expected, "{url:?} {:?}", job.names);
        }
    }
}
