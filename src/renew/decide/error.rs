// SPDX-License-Identifier: Apache-2.0
//! Why a renewal failed, as job.json, status and log show it.

use crate::acme::problem::Kind;
use crate::managed::fit::Unfit;
use crate::managed::peers::Lost;
use crate::model::job::status;
use crate::time::{Stopped, Timestamp};
use crate::{acme, crypto, http, notify, store};
use serde_json::Value;
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Acme(Arc<acme::Error>),
    /// The same while an account was registered.
    #[error("{0}")]
    Account(Arc<acme::Error>),
    #[error("{0}")]
    Store(#[from] store::Error),
    #[error("{0}")]
    Crypto(#[from] crypto::Error),
    /// The way to the CA cannot be set up: a certificate file or proxy that is unusable.
    #[error("{0}")]
    Route(#[from] http::Error),
    /// An event's command failed, and that matters here.
    #[error("{0}")]
    Event(#[from] notify::Failed),
    /// No challenge type is possible for a domain.
    #[error("{reason}")]
    ChallengeMismatch { reason: String, offered: Vec<String> },
    /// No answer to a challenge can be put in place.
    #[error("{reason}")]
    ChallengeSetup { offered: String, domain: String, reason: String, fault: Fault },
    /// The staged files cannot be used.
    #[error("{0}")]
    Unusable(String),
    #[error("no CA is configured (MDCertificateAuthority)")]
    NoAuthority,
    #[error("an internal error ended the renewal")]
    Panicked,
    /// No host can serve the CA's certificate.
    #[error("the new certificates are not used: {0}. What was served before still is")]
    Refused(String),
    /// The certificate that the CA has issued cannot be used: another order would only use up one more.
    #[error("{}", misissued(.label, .unfit))]
    Misissued { label: String, unfit: Unfit },
    /// Another node of the fleet may renew now: no failure.
    #[error("{0}")]
    Lost(#[from] Lost),
    #[error("the server process is stopping")]
    Stopped,
}

/// The cause of a challenge answer that is not in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `MDChallengeDns01`'s.
    Command,
    /// Of the same: it cannot be run at all.
    NoCommand,
    /// Of the same: it has taken too long.
    SlowCommand,
    /// Of the DNS or its settings: whoever met it knows what to do, in whole sentences.
    Dns(String),
    /// `MDMessageCmd`'s, which was called for `challenge-setup`.
    Message,
    Other,
}

/// The certificate of the CA is no bundle for its domain.
fn misissued(label: &str, unfit: &Unfit) -> String {
    match unfit {
        Unfit::Expired => format!("the CA's certificate({label}) has expired by the clock of this machine"),
        unfit => format!("the CA's {}", unfit.of(label)),
    }
}

impl Error {
    /// The ACME error behind it, where a CA was contacted.
    pub fn acme(&self) -> Option<&acme::Error> {
        match self {
            Error::Acme(e) | Error::Account(e) => Some(e),
            _ => None,
        }
    }

    /// Of the registration of an account.
    pub fn of_account(error: acme::Error) -> Self {
        Error::Account(Arc::new(error))
    }

    /// `apr_status_t` for `last.status`.
    pub fn status(&self) -> i32 {
        match self {
            Error::Acme(e) | Error::Account(e) => e.apr_status(),
            Error::Store(e) => e.os_error().unwrap_or(status::GENERAL),
            Error::Route(e) => e.status(),
            Error::Crypto(_)
            | Error::Event(_)
            | Error::Unusable(_)
            | Error::NoAuthority
            | Error::Panicked
            | Error::Refused(_)
            | Error::Misissued { .. }
            | Error::ChallengeSetup { .. } => status::GENERAL,
            Error::ChallengeMismatch { .. } => status::INVALID,
            Error::Lost(_) | Error::Stopped => status::INCOMPLETE,
        }
    }

    /// The error number of the operating system behind it, where it adds to the text; 0 for none.
    pub fn os_error(&self) -> i32 {
        let status = match self {
            Error::Acme(e) | Error::Account(e) => match &**e {
                acme::Error::Transport { source, .. } => source.status(),
                _ => 0,
            },
            Error::Store(e) => e.os_error().unwrap_or(0),
            Error::Route(e) => e.status(),
            _ => 0,
        };
        if status::has_reason(status) { status } else { 0 }
    }

    /// The problem type for `last.problem`.
    pub fn problem(&self) -> Option<String> {
        match self {
            Error::Acme(e) | Error::Account(e) => e.problem_type().map(String::from),
            Error::Event(e) => Some(e.problem.clone()),
            Error::ChallengeMismatch { .. } => Some("challenge-mismatch".into()),
            Error::ChallengeSetup { .. } => Some("challenge-setup-failure".into()),
            _ => None,
        }
    }

    pub fn subproblems(&self) -> Option<Value> {
        self.acme().and_then(acme::Error::subproblems).cloned()
    }

    /// The CA's word on when to come again.
    pub fn not_before(&self, now: Timestamp) -> Option<Timestamp> {
        self.acme().and_then(acme::Error::retry_after).filter(|at| *at > now)
    }

    /// The kind of problem that the CA reported.
    pub fn kind(&self) -> Option<Kind> {
        self.acme().and_then(acme::Error::kind)
    }

    /// Whether no repetition mends it until the configuration changes.
    pub fn is_hopeless(&self, now: Timestamp) -> bool {
        match self {
            Error::Acme(e) | Error::Account(e) => {
                matches!(e.verdict(now), acme::Verdict::NextCa | acme::Verdict::Hopeless)
            }
            Error::ChallengeMismatch { .. } | Error::Refused(_) | Error::Misissued { .. } => true,
            _ => false,
        }
    }

    /// Whether the cached data of the CA may have become wrong: it was not reached, refused the account or its key,
    /// or broke the protocol.
    pub fn is_of_the_authority(&self) -> bool {
        match self.acme() {
            Some(
                acme::Error::Transport { .. } | acme::Error::Protocol(_) | acme::Error::NoDirectory { .. },
            ) => true,
            Some(error @ acme::Error::Problem { .. }) => error.is_of_the_account(),
            _ => false,
        }
    }

    /// Whether the CA was reached, and has answered this request with a problem: it may answer another one otherwise.
    pub fn is_answer_about_a_request(&self) -> bool {
        matches!(self.acme(), Some(acme::Error::Problem { .. } | acme::Error::Protocol(_)))
            && self.kind() != Some(Kind::RateLimited)
    }

    /// Whether it is about an order that was left by an earlier attempt, and that nothing can come of any
    /// more.
    pub fn is_of_the_past(&self) -> bool {
        match self {
            Error::Acme(error) => error.is_of_the_past(),
            Error::Unusable(_) => true,
            _ => false,
        }
    }

    /// Whether this node may not go on with the renewal, and another one may.
    pub fn is_lost(&self) -> bool {
        matches!(self, Error::Lost(_))
    }

    pub fn is_stopped(&self) -> bool {
        match self {
            Error::Stopped | Error::Route(http::Error::Stopped) | Error::Crypto(crypto::Error::Stopped) => {
                true
            }
            Error::Event(e) => e.is_stopped,
            Error::Acme(e) | Error::Account(e) => {
                matches!(**e, acme::Error::Stopped | acme::Error::Crypto(crypto::Error::Stopped))
            }
            _ => false,
        }
    }
}

impl From<acme::Error> for Error {
    fn from(error: acme::Error) -> Self {
        Error::Acme(Arc::new(error))
    }
}

impl From<Stopped> for Error {
    fn from(_: Stopped) -> Self {
        Error::Stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_a_number_only_where_it_says_why() {
        let unreached =
            |source| Error::from(acme::Error::Transport { url: "https://ca.test/dir".into(), source });
        let said: acme::Error = acme::Problem::new("acme:error:unauthorized", "no").into();
        for (error, status, os_error) in [
            (unreached(http::Error::Refused), 111, 111),
            (unreached(http::Error::Timeout), 70007, 0),
            (unreached(http::Error::Tls(http::TlsFault::Trust, "x".into())), status::GENERAL, 0),
            (Error::from(said), status::PERMISSION_DENIED, 0),
            (Error::Unusable("x".into()), status::GENERAL, 0),
            (Error::ChallengeMismatch { reason: "x".into(), offered: Vec::new() }, status::INVALID, 0),
        ] {
            assert_eq!((error.status(), error.os_error()), (status, os_error), "{error}");
        }
    }
}
