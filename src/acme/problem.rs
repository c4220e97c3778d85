// SPDX-License-Identifier: Apache-2.0
//! Problem documents (RFC 7807) with ACME's types and subproblems (RFC 8555 §6.7).
//!
//! Reading is lenient, because a CA in trouble seldom sends perfect documents, and bounded: texts are cut and
//! control characters become blanks, so that a CA's texts can go into logs and status pages.

use super::address::is_url;
use crate::http::Response;
use serde_json::{Value, json};

const URN: &str = "urn:ietf:params:acme:error:";
/// Type of problems that have none (RFC 7807 §4.2). It has no meaning and is never shown.
pub const ABOUT_BLANK: &str = "about:blank";
/// Our own type: the hmac of `MDExternalAccountBinding` is not base64url.
pub const EAB_HMAC_INVALID: &str = "apache:eab-hmac-invalid";

const MAX_TEXT: usize = 2048;
const MAX_TYPE: usize = 256;
const MAX_SUBPROBLEMS: usize = 100;
/// Bytes of the CA's subproblems that are kept as they came.
const MAX_RAW: usize = 32 * 1024;

/// A problem that a CA reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Full URN of ACME's types, other types as they came; see [`Kind`].
    pub type_: String,
    pub title: Option<String>,
    /// The CA's description; empty where it sent none.
    pub detail: String,
    /// The text is the CA's own.
    pub is_quote: bool,
    /// It came in place of an ACME directory: the URL that was asked is probably wrong.
    pub is_of_wrong_url: bool,
    /// The HTTP status; 0 for problems that did not come as an answer.
    pub status: u16,
    /// An http(s) URL about this occurrence: the page that a person has to visit for `userActionRequired`
    /// (RFC 8555 §7.3.3).
    pub instance: Option<String>,
    pub subproblems: Vec<Subproblem>,
    /// The subproblems as the CA sent them, for job.json.
    pub raw_subproblems: Option<Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Subproblem {
    pub type_: String,
    pub detail: String,
    /// The name it is about.
    pub identifier: Option<String>,
}

impl Problem {
    /// A problem we state ourselves.
    pub fn new(type_: &str, detail: impl Into<String>) -> Self {
        Problem {
            type_: normal(type_),
            title: None,
            detail: detail.into(),
            is_quote: false,
            is_of_wrong_url: false,
            status: 0,
            instance: None,
            subproblems: Vec::new(),
            raw_subproblems: None,
        }
    }

    /// The problem behind an error response with any body.
    pub fn from_response(url: &str, response: &Response) -> Self {
        let parsed = serde_json::from_slice(&response.body).ok().and_then(|v| Problem::parse(&v));
        let mut problem = parsed.unwrap_or_else(|| {
            let what =
                response.media_type().map_or_else(String::new, |t| format!(" ({})", line(&t, MAX_TYPE)));
            Problem::new(
                ABOUT_BLANK,
                format!("{url} answered {} without a problem document{what}", response.status),
            )
        });
        problem.status = response.status;
        problem
    }

    /// Reads a problem document, or a text in its place; `None` where nothing is said.
    pub fn parse(value: &Value) -> Option<Self> {
        if let Some(said) = value.as_str().map(|said| line(said, MAX_TEXT)) {
            return (!said.is_empty()).then(|| Problem { is_quote: true, ..Problem::new(ABOUT_BLANK, said) });
        }
        let fields = value.as_object()?;
        let subproblems: &[Value] =
            fields.get("subproblems").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let title = Some(text(value, "title")).filter(|title| !title.is_empty());
        // Fields of web frameworks, for responses that are no problem documents.
        let mut said = ["detail", "message", "error"].into_iter().map(|key| text(value, key));
        let detail = said.find(|said| !said.is_empty()).unwrap_or_default();
        let problem = Problem {
            type_: type_of(value),
            is_quote: title.is_some() || !detail.is_empty(),
            is_of_wrong_url: false,
            title,
            detail,
            status: fields.get("status").and_then(http_status).unwrap_or(0),
            instance: Some(text(value, "instance")).filter(|url| is_url(url)),
            subproblems: subproblems.iter().take(MAX_SUBPROBLEMS).filter_map(Subproblem::parse).collect(),
            raw_subproblems: raw(subproblems),
        };
        let is_empty = problem.type_ == ABOUT_BLANK
            && problem.title.is_none()
            && problem.detail.is_empty()
            && problem.instance.is_none()
            && problem.subproblems.is_empty();
        (!is_empty).then_some(problem)
    }

    pub fn kind(&self) -> Kind {
        Kind::of(&self.type_)
    }

    /// Whether this module found it, not a CA.
    pub fn is_ours(&self) -> bool {
        self.status == 0
    }

    /// The type, where there is one.
    pub fn stated_type(&self) -> Option<&str> {
        Some(self.type_.as_str()).filter(|type_| *type_ != ABOUT_BLANK)
    }

    /// The whole problem in one line: detail (or title, or the meaning of the type), the page it names, then
    /// each subproblem with its name.
    pub fn text(&self) -> String {
        let mut out = match (&self.title, self.detail.as_str()) {
            (Some(title), "") => title.clone(),
            (None, "") => said_by(&self.type_).unwrap_or("the CA gave no reason").to_string(),
            (_, detail) => detail.to_string(),
        };
        if let Some(url) = &self.instance
            && !out.contains(url.as_str())
        {
            out.push_str(&format!(" (see {url})"));
        }
        for sub in &self.subproblems {
            let said = match sub.detail.as_str() {
                "" => said_by(&sub.type_).unwrap_or("no reason given"),
                detail => detail,
            };
            match &sub.identifier {
                Some(name) => out.push_str(&format!("; {name}: {said}")),
                None => out.push_str(&format!("; {said}")),
            }
        }
        out
    }
}

impl Subproblem {
    fn parse(value: &Value) -> Option<Self> {
        value.as_object()?;
        let name = value.get("identifier").and_then(|i| i.get("value")).and_then(Value::as_str);
        Some(Subproblem {
            type_: type_of(value),
            detail: text(value, "detail"),
            identifier: name.map(|n| line(n, MAX_TYPE)),
        })
    }

    pub fn kind(&self) -> Kind {
        Kind::of(&self.type_)
    }
}

/// The types of RFC 8555 §6.7, RFC 9773 §7.4, of the profiles extension and of Let's Encrypt, and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    AccountDoesNotExist,
    AlreadyReplaced,
    AlreadyRevoked,
    BadCsr,
    BadNonce,
    BadPublicKey,
    BadRevocationReason,
    BadSignatureAlgorithm,
    Caa,
    Compound,
    Conflict,
    Connection,
    Dns,
    EabHmacInvalid,
    ExternalAccountRequired,
    IncorrectResponse,
    InvalidContact,
    InvalidProfile,
    Malformed,
    OrderNotReady,
    RateLimited,
    RejectedIdentifier,
    ServerInternal,
    Tls,
    Unauthorized,
    UnsupportedContact,
    UnsupportedIdentifier,
    UserActionRequired,
    /// Of some other namespace, or newer than this list.
    Other,
}

impl Kind {
    pub fn of(type_: &str) -> Self {
        if type_ == EAB_HMAC_INVALID {
            return Kind::EabHmacInvalid;
        }
        match type_.strip_prefix(URN).unwrap_or_default() {
            "accountDoesNotExist" => Kind::AccountDoesNotExist,
            "alreadyReplaced" => Kind::AlreadyReplaced,
            "alreadyRevoked" => Kind::AlreadyRevoked,
            "badCSR" => Kind::BadCsr,
            "badNonce" => Kind::BadNonce,
            "badPublicKey" => Kind::BadPublicKey,
            "badRevocationReason" => Kind::BadRevocationReason,
            "badSignatureAlgorithm" => Kind::BadSignatureAlgorithm,
            "caa" => Kind::Caa,
            "compound" => Kind::Compound,
            "conflict" => Kind::Conflict,
            "connection" => Kind::Connection,
            "dns" => Kind::Dns,
            "externalAccountRequired" => Kind::ExternalAccountRequired,
            "incorrectResponse" => Kind::IncorrectResponse,
            "invalidContact" => Kind::InvalidContact,
            "invalidProfile" => Kind::InvalidProfile,
            "malformed" => Kind::Malformed,
            "orderNotReady" => Kind::OrderNotReady,
            "rateLimited" => Kind::RateLimited,
            "rejectedIdentifier" => Kind::RejectedIdentifier,
            "serverInternal" => Kind::ServerInternal,
            "tls" => Kind::Tls,
            "unauthorized" => Kind::Unauthorized,
            "unsupportedContact" => Kind::UnsupportedContact,
            "unsupportedIdentifier" => Kind::UnsupportedIdentifier,
            "userActionRequired" => Kind::UserActionRequired,
            _ => Kind::Other,
        }
    }
}

impl Kind {
    /// Its meaning, for problems without a detail. `None`: unknown.
    pub fn meaning(self) -> Option<&'static str> {
        Some(match self {
            Kind::AccountDoesNotExist => "the CA does not know this ACME account",
            Kind::AlreadyReplaced => "another order has replaced this certificate already",
            Kind::AlreadyRevoked => "the certificate was revoked before",
            Kind::BadCsr => "the CA does not accept the request for the certificate (CSR)",
            Kind::BadNonce => "the CA does not accept the nonces that it has given out itself",
            Kind::BadPublicKey => "the CA does not accept the type or the size of the key",
            Kind::BadRevocationReason => "the CA does not accept the reason of the revocation",
            Kind::BadSignatureAlgorithm => {
                "the CA does not accept the algorithm of the account key's signature"
            }
            Kind::Caa => "a CAA record in DNS does not allow this CA",
            Kind::Compound => "the CA found several things wrong",
            Kind::Conflict => "the CA is at work on this already",
            Kind::Connection => "the CA could not connect to the server",
            Kind::Dns => "the CA could not look up the name in DNS",
            Kind::EabHmacInvalid => "the hmac of the external account cannot be used",
            Kind::ExternalAccountRequired => "the CA requires an external account binding",
            Kind::IncorrectResponse => "the CA did not find the answer that it expects to its challenge",
            Kind::InvalidContact => "the CA does not accept a contact address",
            Kind::InvalidProfile => "the CA does not have this certificate profile",
            Kind::Malformed => "the CA cannot make sense of the request",
            Kind::OrderNotReady => "the order is not ready yet",
            Kind::RateLimited => "a rate limit of the CA is exceeded",
            Kind::RejectedIdentifier => "the CA does not issue certificates for this name",
            Kind::ServerInternal => "the CA has an internal error",
            Kind::Tls => "the CA found no usable TLS at the server",
            Kind::Unauthorized => "the CA does not allow this",
            Kind::UnsupportedContact => "the CA does not support this kind of contact address",
            Kind::UnsupportedIdentifier => "the CA does not issue certificates for names of this type",
            Kind::UserActionRequired => "the CA waits for something that somebody has to do",
            Kind::Other => return None,
        })
    }
}

/// The meaning of a type by itself.
fn said_by(type_: &str) -> Option<&str> {
    Kind::of(type_).meaning().or(Some(type_)).filter(|said| *said != ABOUT_BLANK)
}

fn type_of(value: &Value) -> String {
    match value.get("type").and_then(Value::as_str).map(|t| line(t, MAX_TYPE)) {
        Some(type_) if !type_.is_empty() => normal(&type_),
        _ => ABOUT_BLANK.into(),
    }
}

/// `acme:error:badNonce` and `urn:acme:error:badNonce` are older spellings of the same URN.
fn normal(type_: &str) -> String {
    let name = type_.strip_prefix("urn:").unwrap_or(type_).strip_prefix("acme:error:");
    name.map_or_else(|| type_.to_string(), |name| format!("{URN}{name}"))
}

/// A number, or one that is written as text.
fn http_status(value: &Value) -> Option<u16> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        _ => value.as_u64().and_then(|n| u16::try_from(n).ok()),
    }
}

fn text(value: &Value, key: &str) -> String {
    line(value.get(key).and_then(Value::as_str).unwrap_or_default(), MAX_TEXT)
}

/// One line of at most `max` characters.
pub(super) fn line(text: &str, max: usize) -> String {
    let blank = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(max).map(blank).collect::<String>().trim().to_string()
}

fn raw(subproblems: &[Value]) -> Option<Value> {
    let mut size = 0;
    let fits = |v: &&Value| {
        size += v.to_string().len();
        size <= MAX_RAW
    };
    let kept: Vec<&Value> = subproblems.iter().take(MAX_SUBPROBLEMS).take_while(fits).collect();
    (!kept.is_empty()).then(|| json!(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://ca.test/x";

    fn response(status: u16, media_type: &str, body: &[u8]) -> Response {
        Response::new(status, vec![("Content-Type".into(), media_type.into())], body.to_vec())
    }

    #[test]
    fn subproblems_are_reported_with_their_names() {
        let problem = Problem::parse(&json!({
            "type": "urn:ietf:params:acme:error:malformed",
            "detail": "Some of the identifiers requested were rejected",
            "subproblems": [
                {"type": "urn:ietf:params:acme:error:malformed", "detail": "Invalid underscore",
                 "identifier": {"type": "dns", "value": "_example.org"}},
                {"type": "urn:ietf:params:acme:error:rejectedIdentifier",
                 "identifier": {"type": "dns", "value": "example.net"}},
            ],
        }))
        .unwrap();
        assert_eq!(
            problem.text(),
            "Some of the identifiers requested were rejected; _example.org: Invalid underscore; \
             example.net: the CA does not issue certificates for this name"
        );
        assert_eq!(problem.kind(), Kind::Malformed);
        assert_eq!(problem.subproblems[1].kind(), Kind::RejectedIdentifier);
        assert_eq!(problem.raw_subproblems.unwrap()[0]["identifier"]["type"], "dns");
    }

    #[test]
    fn short_forms_of_a_type_are_the_same_type() {
        for type_ in ["acme:error:badNonce", "urn:acme:error:badNonce", "urn:ietf:params:acme:error:badNonce"]
        {
            let problem = Problem::parse(&json!({"type": type_})).unwrap();
            assert_eq!(problem.type_, "urn:ietf:params:acme:error:badNonce");
            assert_eq!(problem.kind(), Kind::BadNonce);
        }
        assert_eq!(Problem::new("urn:example:badNonce", "").kind(), Kind::Other);
        assert_eq!(Problem::new("badNonce", "").kind(), Kind::Other);
    }

    #[test]
    fn every_error_response_is_some_problem() {
        let html = Problem::from_response(
            URL,
            &response(500, "text/html; charset=utf-8", b"<html><script>x</script>"),
        );
        assert_eq!((html.type_.as_str(), html.status), (ABOUT_BLANK, 500));
        assert_eq!(html.text(), "https://ca.test/x answered 500 without a problem document (text/html)");
        for body in [&b""[..], b"null", b"[1]", b"\"x\"", b"{\"type\":", b"\xff\xfe"] {
            let problem = Problem::from_response(URL, &response(404, "application/problem+json", body));
            assert_eq!((problem.type_.as_str(), problem.status), (ABOUT_BLANK, 404), "{body:?}");
        }
        // A well-formed document of a wrong media type, and one whose own status differs.
        for body in [&b"{}"[..], b"{\"type\":null,\"detail\":\"\"}"] {
            let problem = Problem::from_response(URL, &response(404, "application/problem+json", body));
            assert_eq!(
                problem.text(),
                "https://ca.test/x answered 404 without a problem document (application/problem+json)"
            );
        }
        let problem = Problem::from_response(
            URL,
            &response(
                429,
                "text/plain",
                br#"{"type":"urn:ietf:params:acme:error:rateLimited","status":200,"detail":"x"}"#,
            ),
        );
        assert_eq!((problem.kind(), problem.status), (Kind::RateLimited, 429));
    }

    #[test]
    fn what_says_nothing_is_no_problem_and_what_says_little_is_one() {
        for nothing in [
            json!({}),
            json!(null),
            json!(""),
            json!([1]),
            json!({"type": "", "detail": null, "status": 400}),
        ] {
            assert_eq!(Problem::parse(&nothing), None, "{nothing}");
        }
        for (little, text) in [
            (json!("queue is full"), "queue is full"),
            (json!({"status": "404", "error": "Not Found", "path": "/acme"}), "Not Found"),
            (json!({"message": "Too many requests"}), "Too many requests"),
            (json!({"type": "urn:ietf:params:acme:error:caa"}), "a CAA record in DNS does not allow this CA"),
            (json!({"type": "urn:example:tomorrow"}), "urn:example:tomorrow"),
            (
                json!({"subproblems": [{"identifier": {"value": "a.test"}}]}),
                "the CA gave no reason; a.test: no reason given",
            ),
        ] {
            let problem = Problem::parse(&little).unwrap();
            assert_eq!(problem.text(), text);
            assert!(!problem.text().contains(ABOUT_BLANK));
        }
        assert_eq!(Problem::parse(&json!({"status": "429", "title": "slow down"})).unwrap().status, 429);
    }

    #[test]
    fn the_page_that_a_ca_wants_to_be_visited_is_reported() {
        let of = |instance: &str| {
            Problem::parse(&json!({"type": "urn:ietf:params:acme:error:userActionRequired",
                "detail": "Terms of service have changed", "instance": instance}))
            .unwrap()
        };
        let url = "https://ca.test/acme/agreement/?token=W8Ih3PswD-8";
        assert_eq!(of(url).instance.as_deref(), Some(url));
        assert_eq!(of(url).text(), format!("Terms of service have changed (see {url})"));
        for other in ["javascript:alert(1)", "/acme/agreement", ""] {
            assert_eq!(of(other).text(), "Terms of service have changed");
        }
        let said = Problem::parse(&json!({"detail": format!("visit {url}"), "instance": url})).unwrap();
        assert_eq!(said.text(), format!("visit {url}"), "once is enough");
    }

    #[test]
    fn hostile_documents_are_cut_and_cleaned() {
        let many: Vec<Value> = (0..1000).map(|i| json!({"detail": "d".repeat(1000), "n": i})).collect();
        let problem = Problem::parse(&json!({
            "type": "x".repeat(5000), "title": 7, "status": 99_999_999,
            "detail": format!("a\r\nb\u{1b}[31m{}", "y".repeat(100_000)), "subproblems": many,
        }))
        .unwrap();
        assert_eq!(problem.type_.len(), MAX_TYPE);
        assert_eq!(problem.title, None);
        assert_eq!(problem.status, 0);
        assert!(problem.detail.starts_with("a  b [31my"));
        assert_eq!(problem.detail.chars().count(), MAX_TEXT);
        assert_eq!(problem.subproblems.len(), MAX_SUBPROBLEMS);
        assert!(problem.raw_subproblems.unwrap().to_string().len() < MAX_RAW + 1024);
        let odd = Problem::parse(
            &json!({"type": [], "detail": {}, "subproblems": ["x", 5, null, {"identifier": 1}]}),
        );
        let odd = odd.unwrap();
        assert_eq!((odd.type_.as_str(), odd.subproblems.len()), (ABOUT_BLANK, 1));
        assert_eq!(Problem::parse(&json!({"title": "t", "subproblems": "x"})).unwrap().raw_subproblems, None);
    }
}
