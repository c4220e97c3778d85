// SPDX-License-Identifier: Apache-2.0
//! Why a response is refused (RFC 6960 §3.2), in the words that the log, the pages and `ocsp/NAME/job.json`
//! show.

use crate::time::Timestamp;

/// Why a response is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("the answer has {0} bytes, more than any OCSP response")]
    TooLarge(usize),
    #[error("the answer is not an OCSP response")]
    Malformed,
    #[error("the responder says '{0}'")]
    Unsuccessful(&'static str),
    #[error("the response is not about this certificate")]
    NotAbout,
    #[error("the responder does not know the certificate")]
    Unknown,
    #[error("the response is not signed by the issuer or by a responder it authorized: {0}")]
    Untrusted(&'static str),
    #[error("the signature of the response is wrong")]
    BadSignature,
    #[error("the signature algorithm of the response is not accepted ({0})")]
    Algorithm(String),
    #[error("the response is not valid before {}", .0.to_http_date())]
    NotYet(Timestamp),
    #[error("the response was valid until {}", .0.to_http_date())]
    Expired(Timestamp),
    #[error("the response is older than the one in use")]
    Older,
}
