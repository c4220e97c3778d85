// SPDX-License-Identifier: Apache-2.0
//! Asks CAs when they want certificates to be renewed (RFC 9773), and tells what they said. The answers
//! lie in staging, also where no renewal is under way, so that neither the next child nor a restart asks
//! or draws again. That a CA cannot be asked is no failure: then the configured window counts.

use super::check::Engine;
use crate::managed::Managed;
use crate::managed::staging::Staging;
use crate::renew::decide::ari;
use crate::renew::decide::ari::{Advice, Entry};
use crate::renew::decide::due::Decision;
use crate::renew::decide::error::Error;
use crate::renew::decide::rate_limits;
use crate::time::Timestamp;

impl Engine {
    /// What CAs have said so far. Nothing where that is not to count.
    pub(crate) fn advice_known(&self, target: &Managed) -> Vec<Entry> {
        if !target.md.ari_renewals {
            return Vec::new();
        }
        Staging::new(self.store(), &target.md.name).ari().unwrap_or_else(|error| {
            crate::log!(
                Warn,
                "md[{}]: what the CA advised (ARI) cannot be read, and the CA is asked again: {error}",
                target.md.name
            );
            Vec::new()
        })
    }

    /// Asks about each certificate for which it is time, and keeps the answers.
    pub(crate) fn inquire(&self, target: &Managed, known: Vec<Entry>) -> Vec<Entry> {
        let now = self.clock().now();
        let name = &target.md.name;
        let (md, served) = (target.current(), target.served());
        let ids: Vec<&str> =
            served.iter().filter_map(|(_, cert)| cert.as_ref()?.ari_cert_id.as_deref()).collect();
        let known_of = |id: &str| known.iter().find(|entry| entry.cert_id == id);
        // Only who issued a certificate knows about it; where that is not noted, it is the first CA.
        let Some(ca) = md.ca.url.as_deref().or(md.ca.urls.first().map(String::as_str)) else {
            return known;
        };
        let is_due = ids.iter().any(|id| ari::is_due(known_of(id), now));
        if !target.md.ari_renewals || !is_due || self.holds().until(ca, &target.md.domains, now).is_some() {
            return known;
        }
        crate::log!(Debug, "AH10513: md({name}): ARI is enabled");
        let mut entries = Vec::new();
        for id in ids {
            let known = known_of(id);
            let entry =
                if ari::is_due(known, now) { self.ask(target, ca, id, known) } else { known.cloned() };
            match entry {
                Some(entry) => entries.push(entry),
                // The process stops: what was known stays as it is.
                None => return self.advice_known(target),
            }
        }
        if let Err(error) = Staging::new(self.store(), name).save_ari(&entries) {
            crate::log!(Warn, "md[{name}]: what the CA advises (ARI) cannot be saved: {}", error.advised());
        }
        entries
    }

    /// `None`: the process stops.
    fn ask(&self, target: &Managed, ca: &str, id: &str, known: Option<&Entry>) -> Option<Entry> {
        let authority = self.authorities().of(ca, &target.route);
        let server = authority.server(self.authorities(), &target.route, self.clock());
        let answer = server.and_then(|server| Ok(server.renewal_info(id)?));
        let now = self.clock().now();
        match answer {
            Ok(Some(info)) => {
                Some(ari::answered(known, id, &info.value, info.retry_after, self.random(), now))
            }
            Ok(None) => Some(ari::unknown(id, now)),
            Err(error) if error.is_stopped() => None,
            Err(error) => {
                crate::log!(Debug, "md({}): the CA was not asked when to renew: {error}", target.md.name);
                if let Error::Acme(error) = &error
                    && let Some(hold) = rate_limits::demanded(error, ca, &target.md.domains, now)
                {
                    self.holds().add(&hold, now);
                }
                if error.is_of_the_authority() {
                    authority.forget();
                }
                Some(ari::unanswered(known, id, error.not_before(now), now))
            }
        }
    }
}

/// Tells what was decided. Explanations are noted where people look, once for each window.
pub(crate) fn report(name: &str, decision: &Decision, advice: Option<&Advice>, before: Option<&Advice>) {
    let is_news = |a: &Advice| {
        before.is_none_or(|b| (a.start, a.end, &a.explanation) != (b.start, b.end, &b.explanation))
    };
    let explained = |a: &Advice| a.explanation.as_ref().map(|url| format!(", for explanation see {url}"));
    if let Some(advice) = advice.filter(|advice| is_news(advice)) {
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
        Decision::Never(reason) => crate::log!(Debug, "md({name}): no renewal: {reason}"),
        Decision::At(at, reason) => {
            crate::log!(Debug, "AH10514: md({name}): no renewal yet: {reason} at {}", at.to_http_date());
        }
        Decision::Now(reason) => crate::log!(Debug, "AH10512: md({name}): need to renew now: {reason}"),
    }
}

/// Tells that a renewal begins because the CA advises it. The answer is the entry for the job's log.
pub(crate) fn report_triggered(name: &str, advice: Option<&Advice>, now: Timestamp) -> Option<String> {
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
