// SPDX-License-Identifier: Apache-2.0
//! Why certificates are renewed, or why they are not: kinds, which the brake counts and of which logs and
//! pages make sentences. Decides nothing. Imports `managed` and `model`; `due` makes these values.

use crate::managed::fit::Unfit;
use crate::model::ledger::Cause;
use crate::model::{KeySpec, NotRenewed};
use crate::time::TimeSlice;
use std::fmt;

/// Why certificates are renewed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The certificate of this key does not match the configuration.
    Unfit(KeySpec, Unfit),
    Revoked(KeySpec),
    /// The CA with this URL issued them, and is no longer configured.
    FormerCa(String),
    /// An operator has asked for it.
    Requested,
    Begun(Period),
}

/// A time in the life of certificates, from whose begin on they are renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Period {
    /// Advised by the CA (RFC 9773), with the URL of its explanation.
    Advice(Option<String>),
    /// The renew window of this key's certificate.
    Window(KeySpec, TimeSlice),
    /// The last part of that one's lifetime, whatever the CA advises.
    LastTwentieth(KeySpec),
}

/// Why nothing is renewed, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Never {
    #[error("{0}")]
    NotRenewed(#[from] NotRenewed),
    #[error("it has no keys")]
    NoKeys,
}

impl Reason {
    /// For the brake.
    pub fn cause(&self) -> Cause {
        match self {
            Reason::Unfit(_, Unfit::Missing | Unfit::Unreadable(_) | Unfit::Key) => Cause::Missing,
            Reason::Unfit(_, Unfit::Names | Unfit::SubjectAlone) => Cause::Names,
            Reason::Unfit(_, Unfit::MustStaple) => Cause::MustStaple,
            Reason::Unfit(_, Unfit::Expired) => Cause::Expired,
            Reason::Revoked(_) => Cause::Revoked,
            Reason::FormerCa(_) => Cause::FormerCa,
            Reason::Requested => Cause::Requested,
            Reason::Begun(Period::Advice(_)) => Cause::Advice,
            Reason::Begun(Period::Window(..) | Period::LastTwentieth(_)) => Cause::Window,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Unfit(key, unfit) => f.write_str(&unfit.of(key.label())),
            Reason::Revoked(key) => write!(f, "certificate({}) was revoked by its CA", key.label()),
            Reason::FormerCa(url) => write!(f, "it is from {url}, which is not configured any more"),
            Reason::Requested => f.write_str("an operator has asked for it"),
            Reason::Begun(period) => period.write("has begun", f),
        }
    }
}

impl Period {
    fn write(&self, begins: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Period::Advice(None) => write!(f, "the time the CA advises (ARI) {begins}"),
            Period::Advice(Some(url)) => {
                write!(f, "the time the CA advises (ARI) {begins}, for explanation see {url}")
            }
            Period::Window(key, length) => {
                write!(f, "the renew window of certificate({}), {length}, {begins}", key.label())
            }
            Period::LastTwentieth(key) => {
                write!(f, "the last twentieth of the lifetime of certificate({}) {begins}", key.label())
            }
        }
    }
}

/// Of a period that has not begun.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write("begins", f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_verb_of_a_period_changes_once_it_has_begun() {
        let url = "https://ca.test/why-it-begins".to_string();
        let rsa = KeySpec::default();
        for (period, before, begun) in [
            (
                Period::Advice(Some(url)),
                "the time the CA advises (ARI) begins, for explanation see https://ca.test/why-it-begins",
                "the time the CA advises (ARI) has begun, for explanation see https://ca.test/why-it-begins",
            ),
            (
                Period::Window(rsa.clone(), TimeSlice::Percent(33)),
                "the renew window of certificate(rsa), 33%, begins",
                "the renew window of certificate(rsa), 33%, has begun",
            ),
            (
                Period::LastTwentieth(rsa.clone()),
                "the last twentieth of the lifetime of certificate(rsa) begins",
                "the last twentieth of the lifetime of certificate(rsa) has begun",
            ),
        ] {
            assert_eq!(
                (period.to_string(), Reason::Begun(period).to_string()),
                (before.into(), begun.into())
            );
        }
    }

    #[test]
    fn a_reason_names_the_certificate_it_is_about() {
        let ec = KeySpec::Ec("P-256".into());
        for (reason, text) in [
            (Reason::Unfit(ec.clone(), Unfit::Missing), "certificate(P-256) is missing"),
            (
                Reason::Unfit(ec.clone(), Unfit::MustStaple),
                "certificate(P-256): must-staple does not match the configuration",
            ),
            (Reason::Unfit(ec.clone(), Unfit::Expired), "certificate(P-256) has expired"),
            (Reason::Revoked(ec), "certificate(P-256) was revoked by its CA"),
            (
                Reason::FormerCa("https://a.test".into()),
                "it is from https://a.test, which is not configured any more",
            ),
        ] {
            assert_eq!(reason.to_string(), text);
        }
    }
}
