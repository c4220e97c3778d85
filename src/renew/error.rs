//! Why a renewal failed, as job.json, status and log tell it.

use crate::acme::problem::Kind;
use crate::model::job::status;
use crate::time::{Stopped, Timestamp};
use crate::{acme, crypto, http, notify, store};
use serde_json::Value;
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Acme(Arc<acme::Error>),
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
    #[error("{0}")]
    ChallengeMismatch(String),
    /// No answer to a challenge can be put in place.
    #[error(
        "None of the offered challenge types {offered} offered for domain {domain} could be setup successfully. \
         Please check the log for errors. The reason: {reason}."
    )]
    ChallengeSetup { offered: String, domain: String, reason: String },
    /// What the CA delivered cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// No host can serve what the CA delivered.
    #[error("the new certificates are not used: {0}. What was served before still is")]
    Refused(String),
    /// The certificate that the CA has issued cannot be used: another order would only use up one more.
    #[error("{0}")]
    Misissued(String),
    #[error("the server process is stopping")]
    Stopped,
}

impl Error {
    /// `apr_status_t` for `last.status`.
    pub fn status(&self) -> i32 {
        match self {
            Error::Acme(e) => e.apr_status(),
            Error::Store(e) => e.os_error().unwrap_or(status::GENERAL),
            Error::Route(e) => e.status(),
            Error::Crypto(_)
            | Error::Event(_)
            | Error::Unusable(_)
            | Error::Refused(_)
            | Error::Misissued(_)
            | Error::ChallengeSetup { .. } => status::GENERAL,
            Error::ChallengeMismatch(_) => status::INVALID,
            Error::Stopped => status::INCOMPLETE,
        }
    }

    /// The error number of the operating system behind it, as far as it adds to what the text says; 0 for none.
    pub fn os_error(&self) -> i32 {
        let status = match self {
            Error::Acme(e) => match &**e {
                acme::Error::Transport { source, .. } => source.status(),
                _ => 0,
            },
            Error::Store(e) => e.os_error().unwrap_or(0),
            Error::Route(e) => e.status(),
            _ => 0,
        };
        if status::tells(status) { status } else { 0 }
    }

    /// The problem type for `last.problem`.
    pub fn problem(&self) -> Option<String> {
        match self {
            Error::Acme(e) => e.problem_type().map(String::from),
            Error::Event(e) => Some(e.problem.clone()),
            Error::ChallengeMismatch(_) => Some("challenge-mismatch".into()),
            Error::ChallengeSetup { .. } => Some("challenge-setup-failure".into()),
            _ => None,
        }
    }

    pub fn subproblems(&self) -> Option<Value> {
        match self {
            Error::Acme(e) => e.subproblems().cloned(),
            _ => None,
        }
    }

    /// The CA's word on when to come again.
    pub fn not_before(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Error::Acme(e) => e.retry_after().filter(|at| *at > now),
            _ => None,
        }
    }

    /// What kind of problem the CA told.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Error::Acme(e) => e.kind(),
            _ => None,
        }
    }

    /// Whether no repetition mends it until the configuration changes.
    pub fn is_hopeless(&self, now: Timestamp) -> bool {
        match self {
            Error::Acme(e) => matches!(e.verdict(now), acme::Verdict::NextCa | acme::Verdict::Hopeless),
            Error::ChallengeMismatch(_) | Error::Refused(_) | Error::Misissued(_) => true,
            _ => false,
        }
    }

    /// Whether what is known of the CA may have become wrong: it was not reached, forgot the account, or
    /// broke the protocol.
    pub fn is_of_the_authority(&self) -> bool {
        match self {
            Error::Acme(e) => match &**e {
                acme::Error::Transport { .. } | acme::Error::Protocol(_) => true,
                acme::Error::Problem { .. } => {
                    matches!(e.kind(), Some(Kind::AccountDoesNotExist | Kind::Unauthorized))
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether it is about an order that was left by an earlier attempt, and that nothing can come of any more.
    pub fn is_of_the_past(&self) -> bool {
        match self {
            Error::Acme(error) => error.is_of_the_past(),
            Error::Unusable(_) => true,
            _ => false,
        }
    }

    pub fn is_stopped(&self) -> bool {
        match self {
            Error::Stopped | Error::Route(http::Error::Stopped) | Error::Crypto(crypto::Error::Stopped) => {
                true
            }
            Error::Event(e) => e.is_stopped,
            Error::Acme(e) => {
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
            (unreached(http::Error::Tls("x".into())), status::GENERAL, 0),
            (Error::from(said), status::PERMISSION_DENIED, 0),
            (Error::Unusable("x".into()), status::GENERAL, 0),
            (Error::ChallengeMismatch("x".into()), status::INVALID, 0),
        ] {
            assert_eq!((error.status(), error.os_error()), (status, os_error), "{error}");
        }
    }
}
