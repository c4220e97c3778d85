// SPDX-License-Identifier: Apache-2.0
//! What a person can do about a domain, and what is wrong, in words of ours: the pages for people show these
//! before the words of anybody else. Pure: reads no file and prints nothing.

use super::domain::Domain;
use super::labels;
use super::standing::{Action, Standing};
use crate::model::outcome::split_advice;
use crate::model::{NotRenewed, State};
use crate::renew::decide::due::Decision;
use crate::time::Timestamp;
use std::borrow::Cow;

/// The severity of a domain's standing, the most serious first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Clients are refused, or soon will be.
    Error,
    /// Someone should look.
    Warning,
    Good,
}

/// What a restart is for, where a new set waits for it.
const RELOAD: &str = "Reload httpd: the new certificates are complete, and come into use with that.";
const TERMS: &str = "Read the CA's terms of service and set 'MDCertificateAgreement accepted' if you agree, then \
    restart httpd.";
const OWN_FILES: &str =
    "Replace its certificate files (MDCertificateFile) and reload httpd: this module does not renew them.";
const OWN_RENEWAL: &str = "Renew it yourself, or set 'MDRenewMode auto' to have this module do so.";
const NO_RENEWAL: &str =
    "Set 'MDRenewMode auto' to have this module get a certificate, or name one with MDCertificateFile.";
const EARLY: &str = "Set date and time of this machine: by its clock the certificate is not valid yet. Else wait \
    until it is.";
const SOON: &str = "Nothing yet: the renewal is due, and begins with the next check (MDCheckInterval). Where it does \
    not, the error log says why.";
const UNDER_WAY: &str = "Nothing: the renewal is under way.";
const READY: &str = "Nothing: the new certificates are complete, and come into use by themselves.";
const FAILED: &str = "Mend what went wrong. The renewal is tried again by itself.";
const UNUSED: &str = "Give it a host (ServerName or ServerAlias, with 'SSLEngine on'), or remove it from the \
    configuration. Where another server takes the TLS connections, set 'MDPortMap https:-'.";
const RECORDS: &str = "Set these records in the DNS. They are looked up again by themselves.";

/// How the words of the C module begin that stand behind an advice in details: long, and the same for all
/// causes.
const KNOWN_WORDS: [&str; 2] =
    [" Unsuccessful in contacting ACME server", " None of the offered challenge types "];

/// Whether somebody should look: something is wrong, or waits for a person.
pub fn is_needed(domain: &Domain<'_>, now: Timestamp) -> bool {
    let standing = domain.standing(now);
    let waits = || {
        let action = domain.next().map(|next| next.action);
        matches!(action, Some(Action::WaitForRecord | Action::ActivateOnRestart | Action::RetryCommand))
            || (standing == Standing::NotRenewed && domain.state().0 != State::Complete)
    };
    standing.is_serious() || (standing != Standing::Unused && waits())
}

/// As serious as the word for its standing, so that no row contradicts its word; and never less than a
/// person's work is.
pub fn weight(domain: &Domain<'_>, now: Timestamp) -> Weight {
    let standing = domain.standing(now);
    if standing.is_grave() {
        Weight::Error
    } else if is_needed(domain, now) {
        Weight::Warning
    } else {
        Weight::Good
    }
}

/// What to do, in whole sentences. `None` where there is nothing to be done.
pub fn of<'d>(domain: &'d Domain<'_>, now: Timestamp) -> Option<Cow<'d, str>> {
    let standing = domain.standing(now);
    if standing == Standing::Unused {
        return Some(UNUSED.into());
    }
    if !is_needed(domain, now) {
        return None;
    }
    let job = domain.renewal.as_ref().map(|renewal| &renewal.job);
    let next = domain.next().map(|next| next.action);
    let advice = || {
        let advice = split_advice(job?.last.detail.as_deref()?).1?;
        let end = KNOWN_WORDS.iter().filter_map(|words| advice.find(words)).min();
        advice.get(..end.unwrap_or(advice.len()))
    };
    let lacks_agreement = || {
        let problem = job.and_then(|job| job.last.problem.as_deref());
        problem.is_some_and(|problem| problem.ends_with(":userActionRequired"))
    };
    Some(match (domain.managed.md.left_alone(), next) {
        _ if domain.save_error.is_some() => split_advice(labels::UNSAVED).1.unwrap_or_default().into(),
        (_, Some(Action::WaitForRecord)) => RECORDS.into(),
        (_, Some(Action::ActivateOnRestart)) => RELOAD.into(),
        (_, Some(Action::Activate)) => READY.into(),
        _ if standing == Standing::NoCertificate && labels::remark(domain, now).is_some() => EARLY.into(),
        _ if domain.is_failing() || matches!(next, Some(Action::RetryCommand | Action::Renew)) => {
            match advice() {
                Some(advice) => advice.into(),
                None if lacks_agreement() => TERMS.into(),
                None => FAILED.into(),
            }
        }
        (Some(NotRenewed::StaticFiles), _) => OWN_FILES.into(),
        (Some(_), _) if standing == Standing::NoCertificate => NO_RENEWAL.into(),
        (Some(_), _) => OWN_RENEWAL.into(),
        (None, Some(_)) => UNDER_WAY.into(),
        (None, None) => advice().map_or(SOON.into(), Cow::from),
    })
}

/// What is wrong, or what is being waited for, in words of ours.
pub fn why(domain: &Domain<'_>, now: Timestamp) -> Option<String> {
    let failures = match domain.errors() {
        0 => None,
        1 => Some("The last try has failed.".to_string()),
        errors => Some(format!("The last {errors} tries have failed.")),
    };
    let unsaved = domain.save_error.and_then(|_| labels::UNSAVED.split_once(". ")).map(|(what, _)| what);
    let held = domain.renewal.as_ref().and_then(|renewal| renewal.job.held_back.as_ref());
    let held = held.map(|held| format!("It is held back until {}.", held.until.to_http_date()));
    let early = labels::remark(domain, now).map(|remark| format!("Its certificate is {remark}."));
    let unfit = match (domain.state(), &domain.need.decision) {
        ((State::Complete | State::Unknown, _), Decision::Now(_) | Decision::At(..)) => None,
        ((_, Some(why)), _) => Some(format!("{}.", capital(&why))),
        _ => None,
    };
    let served = labels::served(domain);
    let all: Vec<String> = [unsaved.map(|what| format!("{what}.")), failures, held, early, unfit, served]
        .into_iter()
        .flatten()
        .collect();
    (!all.is_empty()).then(|| all.join(" "))
}

/// What the CA, or whoever else failed, has said of the last failure.
pub fn said<'d>(domain: &'d Domain<'_>) -> Option<&'d str> {
    let job = &domain.renewal.as_ref()?.job;
    let is_told = job.errors > 0 || job.is_vetoed() || job.has_failed_to_warn() || job.is_postponed();
    let detail = job.last.detail.as_deref().filter(|_| is_told)?;
    Some(split_advice(detail).0).filter(|said| !said.is_empty())
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
