// SPDX-License-Identifier: Apache-2.0
//! Asks CAs when they want certificates to be renewed (RFC 9773), and logs the answers. These are saved in
//! staging, also where no renewal is under way, so that neither the next child nor a restart asks or draws
//! again. A CA that cannot be asked is no failure: then the configured window counts.

use crate::renew::attempt::context::Renewal;
use crate::renew::decide::ari;
use crate::renew::decide::ari::{Advice, Entry};
use crate::renew::decide::due::Decision;
use crate::renew::decide::error::Error;
use crate::renew::decide::rate_limits;
use crate::time::Timestamp;

/// The CAs' advice so far, empty where it is not used.
pub(super) fn known_advice(renewal: &Renewal<'_>) -> Vec<Entry> {
    if !renewal.target.md.ari_renewals {
        return Vec::new();
    }
    renewal.staging().ari().unwrap_or_else(|error| {
        crate::log!(
            Warn,
            "md[{}]: what the CA advised (ARI) cannot be read, and the CA is asked again: {error}",
            renewal.name()
        );
        Vec::new()
    })
}

/// Asks `ca` about each certificate for which it is time, and saves the answers. `known`: its earlier
/// answers.
pub(super) fn refresh(renewal: &Renewal<'_>, ca: &str, known: Vec<Entry>) -> Vec<Entry> {
    let (name, now) = (renewal.name(), renewal.now());
    let served = renewal.target.served();
    crate::log!(Debug, "AH10513: md({name}): ARI is enabled");
    let mut entries = Vec::new();
    for id in served.iter().filter_map(|(_, cert)| cert.as_ref()?.ari_cert_id.as_deref()) {
        let known = known.iter().find(|entry| entry.cert_id == id);
        let entry = if ari::is_due(known, now) { ask(renewal, ca, id, known) } else { known.cloned() };
        match entry {
            Some(entry) => entries.push(entry),
            // The process stops: the known advice stays unchanged.
            None => return known_advice(renewal),
        }
    }
    if let Some(peers) = renewal.context.peers()
        && let Some(advice) = ari::earliest(&entries, &served)
    {
        peers.share_renew_at(name, advice.renew_at);
    }
    if let Err(error) = renewal.staging().save_ari(&entries) {
        crate::log!(Warn, "md[{name}]: cannot save what the CA advises (ARI): {}", error.advised());
    }
    entries
}

/// `None`: the process stops.
fn ask(renewal: &Renewal<'_>, ca: &str, id: &str, known: Option<&Entry>) -> Option<Entry> {
    let (context, target) = (renewal.context, renewal.target);
    let authority = context.cas.of(ca, &target.route);
    let server = authority.server(&context.cas, &target.route, &context.clock);
    let answer = server.and_then(|server| Ok(server.renewal_info(id)?));
    let now = renewal.now();
    match answer {
        Ok(Some(info)) => {
            Some(ari::answered(known, id, &info.value, info.retry_after, context.random(), now))
        }
        Ok(None) => Some(ari::unknown(id, now)),
        Err(error) if error.is_stopped() => None,
        Err(error) => {
            crate::log!(Debug, "md[{}]: the CA was not asked when to renew: {error}", renewal.name());
            if let Error::Acme(error) = &error
                && let Some(rate_limit) = rate_limits::demanded(error, ca, &target.md.domains, now)
            {
                renewal.limit(&rate_limit);
            }
            if error.is_of_the_authority() {
                authority.forget();
            }
            Some(ari::unanswered(known, id, error.not_before(now), now))
        }
    }
}

/// Logs the decision, and an explanation of the CA once for each window, at a level that admins read.
pub(super) fn log_decision(
    name: &str,
    decision: &Decision,
    advice: Option<&Advice>,
    before: Option<&Advice>,
) {
    let is_new = |a: &Advice| {
        before.is_none_or(|b| (a.start, a.end, &a.explanation) != (b.start, b.end, &b.explanation))
    };
    let explained = |a: &Advice| a.explanation.as_ref().map(|url| format!(", for explanation see {url}"));
    if let Some(advice) = advice.filter(|advice| is_new(advice)) {
        let at = advice.renew_at.to_http_date();
        match (explained(advice), decision) {
            (_, Decision::Now(_)) => {}
            (Some(url), _) => {
                crate::log!(Notice, "AH10515: md({name}): CA advises renew via ARI at {at}{url}");
            }
            (None, _) => crate::log!(Debug, "AH10516: md({name}): CA advises renew via ARI at {at}"),
        }
    }
    match decision {
        Decision::Never(reason) => crate::log!(Debug, "md[{name}]: no renewal: {reason}"),
        Decision::At(at, reason) => {
            crate::log!(Debug, "AH10514: md({name}): no renewal yet: {reason} at {}", at.to_http_date());
        }
        Decision::Now(reason) => crate::log!(Debug, "AH10512: md({name}): need to renew now: {reason}"),
    }
}

/// Logs that a renewal begins because the CA advises it. Returns the entry for the job's log.
pub(super) fn log_triggered(name: &str, advice: Option<&Advice>, now: Timestamp) -> Option<String> {
    let advice = advice.filter(|advice| advice.renew_at <= now)?;
    Some(match &advice.explanation {
        Some(url) => {
            crate::log!(
                Notice,
                "AH10517: md({name}): CA advises renew via ARI now, for explanation see {url}"
            );
            format!("Renewal triggered by CA via ARI, explanation at {url}")
        }
        None => {
            crate::log!(Debug, "AH10518: md({name}): CA advises renew via ARI now");
            "Renewal triggered by CA via ARI".into()
        }
    })
}
