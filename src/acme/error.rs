// SPDX-License-Identifier: Apache-2.0
//! The errors of ACME operations, their meaning for the next attempt, and their form on status pages.

use super::problem::{Kind, Problem};
use crate::http;
use crate::model::job::status;
use crate::time::Timestamp;
use crate::{crypto, time};
use serde_json::Value;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server was not reached, or did not answer in HTTP.
    #[error("{} ({source})", out_of_reach(.url))]
    Transport { url: String, source: http::Error },
    /// The server refused, or would have to (then we say so ourselves and `status` is 0).
    #[error("{}", .problem.text())]
    Problem {
        problem: Box<Problem>,
        /// When the server wants to be asked again.
        retry_after: Option<Timestamp>,
    },
    /// The answer breaks RFC 8555.
    #[error("{0}")]
    Protocol(String),
    /// The same of an answer that should be the directory.
    #[error("{}", no_directory(.url, .why))]
    NoDirectory { url: String, why: String },
    /// An order or an authorization can never become valid any more; a new order is needed.
    #[error("{}", invalid_text(*.end, .identifier.as_deref(), .tried.as_ref(), .problem.as_deref()))]
    Invalid {
        end: End,
        /// The name that failed, where one is known.
        identifier: Option<String>,
        /// The challenge that the CA looked at.
        tried: Option<Tried>,
        problem: Option<Box<Problem>>,
    },
    /// A phase took longer than the caller waits.
    #[error("the ACME server did not finish in time: {what}")]
    TimedOut { what: String },
    #[error(
        "the CA requires that its Terms of Service are agreed to: read {terms} and configure \
         'MDCertificateAgreement accepted' if you agree"
    )]
    AgreementRequired { terms: String },
    #[error("{}", time::Stopped)]
    Stopped,
    #[error("{0}")]
    Crypto(#[from] crypto::Error),
}

/// How an order, or else an authorization, has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    OrderInvalid,
    Invalid,
    /// It has not, and the CA has looked for the answer in vain.
    Pending,
    Deactivated,
    Expired,
    Revoked,
}

impl End {
    fn words(self) -> &'static str {
        match self {
            End::OrderInvalid => "the order is invalid",
            End::Invalid => "the authorization is invalid",
            End::Pending => "the authorization is still pending",
            End::Deactivated => "the authorization is deactivated",
            End::Expired => "the authorization is expired",
            End::Revoked => "the authorization is revoked",
        }
    }
}

impl From<time::Stopped> for Error {
    fn from(_: time::Stopped) -> Self {
        Error::Stopped
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Error::Problem { problem: Box::new(problem), retry_after: None }
    }
}

/// A challenge whose answer the CA did not find, or found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// `http-01`, `dns-01`, `tls-alpn-01`.
    pub type_: String,
    pub token: String,
}

pub(super) fn no_directory(url: &str, why: &str) -> String {
    format!("there is no ACME directory at {url}, probably the URL is wrong ({why})")
}

/// The C module's text for a CA that is not reached: people search for it.
pub fn out_of_reach(url: &str) -> String {
    format!(
        "Unsuccessful in contacting ACME server at <{url}>. If this problem persists, please check your \
         network connectivity from your Apache server to the ACME server. Also, older servers might have \
         trouble verifying the certificates of the ACME server. You can check if you are able to contact it \
         manually via the curl command. Sometimes, the ACME server might be down for maintenance, so failing \
         to contact it is not an immediate problem. Apache will continue retrying this."
    )
}

fn invalid_text(
    end: End,
    identifier: Option<&str>,
    tried: Option<&Tried>,
    problem: Option<&Problem>,
) -> String {
    let begin = match (identifier, tried) {
        (Some(name), Some(tried)) => format!("the CA could not validate {name} by {}", tried.type_),
        (Some(name), None) => format!("{} for domain {name}", end.words()),
        (None, _) => end.words().to_string(),
    };
    let said = problem.map_or_else(|| "the CA gave no reason".into(), Problem::text);
    format!("{begin}: {said}")
}

/// The meaning of a failure for the next attempt. From mild to severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Again, at the pace of consecutive errors.
    Retry,
    /// Again, not before this instant.
    RetryAt(Timestamp),
    /// This CA refuses the request; another may not. Without another: as `Hopeless`.
    NextCa,
    /// The same will be refused again until the configuration (or the CA) changes: once a day is enough.
    Hopeless,
}

impl Error {
    pub fn verdict(&self, now: Timestamp) -> Verdict {
        match self {
            // RFC 8555 §6.6 has Retry-After on rate limits, RFC 9110 §10.2.3 on anything.
            Error::Problem { problem, retry_after: Some(at) } if *at > now => {
                Verdict::RetryAt(*at).max(of_problem(problem))
            }
            Error::Problem { problem, .. } => of_problem(problem),
            Error::Invalid { problem, .. } => problem.as_deref().map_or(Verdict::Retry, of_problem),
            Error::AgreementRequired { .. } => Verdict::Hopeless,
            Error::Transport { .. }
            | Error::Protocol(_)
            | Error::NoDirectory { .. }
            | Error::TimedOut { .. }
            | Error::Stopped
            | Error::Crypto(_) => Verdict::Retry,
        }
    }

    /// A profile that has to be (`MDProfileMandatory`), and that the CA does not offer. A CA without
    /// profiles would ignore that it is asked for one.
    pub fn without_profile(name: &str, offered: &[(String, String)]) -> Self {
        let names: Vec<String> = offered.iter().map(|(name, _)| super::problem::line(name, 64)).collect();
        let offer = if names.is_empty() { "none".into() } else { names.join(", ") };
        let text = format!(
            "the CA has no certificate profile '{name}', and 'MDProfileMandatory' is on: of its profiles ({offer}) \
             configure one with 'MDProfile', or switch 'MDProfileMandatory' off"
        );
        Problem::new("acme:error:invalidProfile", text).into()
    }

    /// Whether the server says of a challenge or an order that it is under way already: Let's Encrypt by a
    /// problem of this type, others by the status alone.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::Problem { problem, .. } if problem.status == 409 || problem.kind() == Kind::Conflict)
    }

    /// Whether the server refuses a request for a resource, for any reason but its own errors, limits and the
    /// account.
    pub fn is_refusal(&self) -> bool {
        let Error::Problem { problem, .. } = self else { return false };
        let is_other = matches!(
            problem.kind(),
            Kind::AccountDoesNotExist
                | Kind::BadNonce
                | Kind::RateLimited
                | Kind::ServerInternal
                | Kind::UserActionRequired
        );
        !is_other && matches!(problem.status, 400..=428 | 430..=499)
    }

    /// Whether the server says of a resource that it is not there any more, or has expired. Nothing has
    /// failed then.
    pub fn is_of_the_past(&self) -> bool {
        match self {
            Error::Problem { problem, .. } => {
                let is_said = problem.detail.to_ascii_lowercase().contains("expired");
                self.is_refusal() && (matches!(problem.status, 404 | 410) || is_said)
            }
            Error::Invalid { end, problem: None, .. } => {
                matches!(end, End::Deactivated | End::Expired | End::Revoked)
            }
            _ => false,
        }
    }

    /// Whether the server refuses the account, or the key of it (RFC 8555 §6.7; some say it in other words, and where
    /// the account has a key of another type, they refuse the algorithm of the signature).
    pub fn is_of_the_account(&self) -> bool {
        matches!(
            self.kind(),
            Some(
                Kind::AccountDoesNotExist
                    | Kind::Unauthorized
                    | Kind::Malformed
                    | Kind::BadSignatureAlgorithm
            )
        )
    }

    /// The time of the next request that the server asked for, with any error.
    pub fn retry_after(&self) -> Option<Timestamp> {
        match self {
            Error::Problem { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The `apr_status_t` for job.json.
    pub fn apr_status(&self) -> i32 {
        match self {
            Error::Transport { source, .. } => source.status(),
            Error::Problem { problem, .. } | Error::Invalid { problem: Some(problem), .. } => {
                match problem.kind() {
                    Kind::Unauthorized | Kind::AccountDoesNotExist => status::PERMISSION_DENIED,
                    _ if of_problem(problem) >= Verdict::NextCa => status::INVALID,
                    _ => status::GENERAL,
                }
            }
            Error::AgreementRequired { .. } => status::INVALID,
            Error::TimedOut { .. } => 70007,
            Error::Protocol(_)
            | Error::NoDirectory { .. }
            | Error::Invalid { problem: None, .. }
            | Error::Stopped
            | Error::Crypto(_) => status::GENERAL,
        }
    }

    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Error::Problem { problem, .. } => Some(problem),
            Error::Invalid { problem, .. } => problem.as_deref(),
            _ => None,
        }
    }

    /// Which problem it is; `None` where no CA stated one.
    pub fn kind(&self) -> Option<Kind> {
        self.problem().map(Problem::kind)
    }

    pub fn problem_type(&self) -> Option<&str> {
        match self {
            Error::AgreementRequired { .. } => Some("urn:ietf:params:acme:error:userActionRequired"),
            _ => self.problem().and_then(Problem::stated_type),
        }
    }

    pub fn subproblems(&self) -> Option<&Value> {
        self.problem().and_then(|p| p.raw_subproblems.as_ref())
    }

    /// The text for people: always with the CA's own words, its subproblems and the names they are about.
    pub fn detail(&self) -> String {
        self.to_string()
    }
}

fn of_problem(problem: &Problem) -> Verdict {
    match problem.kind() {
        // RFC 8555 §6.7.1: the subproblems count.
        Kind::Compound => {
            let inner = problem.subproblems.iter().map(|s| of_kind(s.kind()));
            inner.max().unwrap_or(Verdict::Retry)
        }
        kind => of_kind(kind),
    }
}

fn of_kind(kind: Kind) -> Verdict {
    match kind {
        // Passing trouble of the CA or of the way to us, or state that a new order or account cures.
        Kind::AccountDoesNotExist
        | Kind::AlreadyReplaced
        | Kind::BadNonce
        | Kind::Compound
        | Kind::Conflict
        | Kind::Connection
        | Kind::Dns
        | Kind::IncorrectResponse
        | Kind::OrderNotReady
        | Kind::RateLimited
        | Kind::ServerInternal
        | Kind::Tls
        | Kind::Unauthorized
        | Kind::Other => Verdict::Retry,
        // Policy of this CA.
        Kind::BadCsr
        | Kind::BadPublicKey
        | Kind::BadSignatureAlgorithm
        | Kind::Caa
        | Kind::ExternalAccountRequired
        | Kind::InvalidProfile
        | Kind::RejectedIdentifier
        | Kind::UnsupportedContact
        | Kind::UnsupportedIdentifier
        | Kind::UserActionRequired => Verdict::NextCa,
        // The request itself is wrong.
        Kind::AlreadyRevoked
        | Kind::BadRevocationReason
        | Kind::EabHmacInvalid
        | Kind::InvalidContact
        | Kind::Malformed => Verdict::Hopeless,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    fn problem(name: &str) -> Error {
        Problem::new(&format!("acme:error:{name}"), "said").into()
    }

    #[test]
    fn every_type_of_rfc_8555_has_its_verdict() {
        use Verdict::{Hopeless, NextCa, Retry};
        let table = [
            ("accountDoesNotExist", Retry, 13),
            ("alreadyRevoked", Hopeless, 22),
            ("badCSR", NextCa, 22),
            ("badNonce", Retry, 20014),
            ("badPublicKey", NextCa, 22),
            ("badRevocationReason", Hopeless, 22),
            ("badSignatureAlgorithm", NextCa, 22),
            ("caa", NextCa, 22),
            ("compound", Retry, 20014),
            ("connection", Retry, 20014),
            ("dns", Retry, 20014),
            ("externalAccountRequired", NextCa, 22),
            ("incorrectResponse", Retry, 20014),
            ("invalidContact", Hopeless, 22),
            ("malformed", Hopeless, 22),
            ("orderNotReady", Retry, 20014),
            ("rateLimited", Retry, 20014),
            ("rejectedIdentifier", NextCa, 22),
            ("serverInternal", Retry, 20014),
            ("tls", Retry, 20014),
            ("unauthorized", Retry, 13),
            ("unsupportedContact", NextCa, 22),
            ("unsupportedIdentifier", NextCa, 22),
            ("userActionRequired", NextCa, 22),
            // RFC 9773, profiles, other types of Let's Encrypt, and unknown ones.
            ("alreadyReplaced", Retry, 20014),
            ("conflict", Retry, 20014),
            ("invalidProfile", NextCa, 22),
            ("inventedTomorrow", Retry, 20014),
        ];
        for (name, verdict, status) in table {
            let error = problem(name);
            assert_eq!(error.verdict(Timestamp::default()), verdict, "{name}");
            assert_eq!(error.apr_status(), status, "{name}");
            assert_eq!(
                error.kind() == Some(Kind::Other),
                name == "inventedTomorrow",
                "{name} is known by its own name"
            );
        }
    }

    #[test]
    fn retry_after_postpones_but_does_not_make_the_hopeless_hopeful() {
        let now = Timestamp::from_unix(1000);
        let later = now.plus(Duration::from_secs(3600));
        let error = |name: &str, retry_after| {
            let problem = Box::new(Problem::new(&format!("acme:error:{name}"), ""));
            Error::Problem { problem, retry_after }
        };
        assert_eq!(error("rateLimited", Some(later)).verdict(now), Verdict::RetryAt(later));
        assert_eq!(error("serverInternal", Some(later)).verdict(now), Verdict::RetryAt(later));
        assert_eq!(error("rateLimited", Some(now)).verdict(now), Verdict::Retry);
        assert_eq!(error("malformed", Some(later)).verdict(now), Verdict::Hopeless);
    }

    #[test]
    fn a_compound_problem_is_as_bad_as_its_worst_subproblem() {
        let document = json!({
            "type": "urn:ietf:params:acme:error:compound",
            "subproblems": [
                {"type": "urn:ietf:params:acme:error:dns"},
                {"type": "urn:ietf:params:acme:error:caa"},
            ],
        });
        let error = Error::Invalid {
            end: End::OrderInvalid,
            identifier: None,
            tried: None,
            problem: Problem::parse(&document).map(Box::new),
        };
        assert_eq!(error.verdict(Timestamp::default()), Verdict::NextCa);
        assert_eq!(error.subproblems().unwrap()[1]["type"], "urn:ietf:params:acme:error:caa");
    }

    #[test]
    fn other_failures_have_their_verdict_status_and_type() {
        let now = Timestamp::default();
        let refused = Error::Transport { url: "https://ca.test/dir".into(), source: http::Error::Refused };
        assert_eq!((refused.verdict(now), refused.apr_status()), (Verdict::Retry, 111));
        assert_eq!(refused.problem_type(), None);
        let agreement = Error::AgreementRequired { terms: "https://ca.test/terms".into() };
        assert_eq!((agreement.verdict(now), agreement.apr_status()), (Verdict::Hopeless, 22));
        assert_eq!(agreement.problem_type(), Some("urn:ietf:params:acme:error:userActionRequired"));
        let eab: Error = Problem::new(super::super::problem::EAB_HMAC_INVALID, "x").into();
        assert_eq!((eab.verdict(now), eab.apr_status()), (Verdict::Hopeless, 22));
        assert_eq!(eab.problem_type(), Some("apache:eab-hmac-invalid"));
        for error in [
            Error::Protocol("x".into()),
            Error::NoDirectory { url: "https://ca.test/dir".into(), why: "x".into() },
            Error::TimedOut { what: "x".into() },
            Error::Stopped,
            Error::Crypto(crypto::Error::Invalid("x".into())),
            Error::Invalid { end: End::OrderInvalid, identifier: None, tried: None, problem: None },
        ] {
            assert_eq!(error.verdict(now), Verdict::Retry, "{error}");
        }
    }

    #[test]
    fn a_failure_to_reach_the_server_names_url_and_reason() {
        let source = http::Error::Tls(
            http::TlsFault::Trust,
            "certificate verify failed: self-signed certificate".into(),
        );
        let text = Error::Transport { url: "https://ca.test/dir".into(), source }.detail();
        assert!(
            text.starts_with(
                "Unsuccessful in contacting ACME server at <https://ca.test/dir>. If this problem persists, \
                 please check your network connectivity from your Apache server to the ACME server. Also, \
                 older servers might have trouble verifying the certificates of the ACME server."
            ),
            "{text}"
        );
        assert!(text.ends_with("(certificate verify failed: self-signed certificate)"), "{text}");
    }

    #[test]
    fn an_invalid_order_reports_the_name_and_the_reason() {
        let error = Error::Invalid {
            end: End::Invalid,
            identifier: Some("a.test".into()),
            tried: Some(Tried { type_: "http-01".into(), token: "t".into() }),
            problem: Some(Box::new(Problem::new("acme:error:unauthorized", "got 404"))),
        };
        assert_eq!(error.detail(), "the CA could not validate a.test by http-01: got 404");
    }
}
