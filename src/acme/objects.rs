// SPDX-License-Identifier: Apache-2.0
//! ACME's resources as a server sends them (RFC 8555 §7.1), parsed and checked: a value of these types
//! has known states only, absolute http(s) URLs and tokens that are safe as file content and path.
//!
//! Each state requires the fields of the next step and no others: CAs leave out, misspell or null the fields
//! that their own tests never read.

use super::Error;
use super::address::is_encrypted;
use super::error::Tried;
use super::fields::{
    MAX_LIST, checked_url, date, flag, list, needed, object, state, string, unknown_status, url,
};
use super::problem::{Problem, line};
use super::record_terms::{RecordTerms, has_token};
use crate::names;
use crate::time::Timestamp;
use serde_json::{Map, Value};
use std::net::IpAddr;

const MAX_TOKEN: usize = 512;
/// Characters of a name, a type or a status, which stand in messages.
pub(super) const MAX_WORD: usize = 256;
/// Characters of a text.
const MAX_TEXT: usize = 2048;

/// RFC 8555 §7.1.1.
#[derive(Clone, Debug, PartialEq)]
pub struct Directory {
    pub new_nonce: String,
    pub new_account: String,
    pub new_order: String,
    /// `meta.termsOfService`.
    pub terms_of_service: Option<String>,
    /// `meta.externalAccountRequired`.
    pub external_account_required: bool,
    /// `meta.profiles`: names and descriptions.
    pub profiles: Vec<(String, String)>,
    /// `meta.caaIdentities`: the names by which CAA records mean this CA.
    pub caa_identities: Vec<String>,
    pub revoke_cert: Option<String>,
    pub key_change: Option<String>,
    /// Where to ask when to renew (RFC 9773 §3); not every CA has it.
    pub renewal_info: Option<String>,
}

/// RFC 8555 §7.1.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationStatus {
    Pending,
    Valid,
    Invalid,
    Deactivated,
    Expired,
    Revoked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeStatus {
    Pending,
    Processing,
    Valid,
    Invalid,
}

/// RFC 8555 §7.1.3.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub url: String,
    pub status: OrderStatus,
    /// URLs; empty where the state does not need them.
    pub authorizations: Vec<String>,
    /// There once the order is ready.
    pub finalize: Option<String>,
    /// Well-formed, or not there.
    pub certificate: Option<String>,
    pub error: Option<Problem>,
    pub expires: Option<Timestamp>,
    /// The names that the server lists, if it does.
    pub identifiers: Vec<Identifier>,
}

/// A DNS name, or an IP address (RFC 8738).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifier {
    /// `dns` or `ip`; other types come from the server alone.
    pub type_: String,
    pub value: String,
}

/// RFC 8555 §7.1.4.
#[derive(Clone, Debug, PartialEq)]
pub struct Authorization {
    pub url: String,
    pub status: AuthorizationStatus,
    /// Without `*.`.
    pub identifier: Identifier,
    pub wildcard: bool,
    /// While it is pending, those that can be answered; afterwards, their results.
    pub challenges: Vec<Challenge>,
}

/// RFC 8555 §7.1.5 and §8.
#[derive(Clone, Debug, PartialEq)]
pub struct Challenge {
    /// `http-01`, `dns-01`, `tls-alpn-01`, …
    pub type_: String,
    /// Not empty while the authorization is pending.
    pub url: String,
    pub status: ChallengeStatus,
    /// base64url; not empty for the types named above while the authorization is pending.
    pub token: String,
    /// Of dns-persist-01, in place of a token.
    pub record: RecordTerms,
    pub error: Option<Problem>,
    pub validated: Option<Timestamp>,
}

impl Identifier {
    pub fn of(name: &str) -> Self {
        let type_ = if name.parse::<IpAddr>().is_ok() { "ip" } else { "dns" };
        Identifier { type_: type_.into(), value: name.into() }
    }

    /// Addresses have more than one spelling.
    fn canonical(self) -> String {
        self.value.parse::<IpAddr>().map_or(self.value, |address| address.to_string())
    }

    /// In lower case and without the dot of the root, as the names of an order are, in one line; empty where
    /// there is none.
    fn parse(value: Option<&Value>) -> Self {
        let text = |key: &str| value.and_then(|v| v.get(key)).and_then(Value::as_str).unwrap_or_default();
        let name = line(text("value"), MAX_WORD).to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        match line(text("type"), MAX_WORD).to_ascii_lowercase() {
            type_ if type_.is_empty() => Identifier::of(name),
            type_ => Identifier { type_, value: name.into() },
        }
    }
}

impl Directory {
    /// `directory_url`: the URL it was read from. A directory read over https must not have plain http URLs;
    /// an optional resource with one counts as missing.
    pub fn read_from(self, directory_url: &str) -> Result<Self, Error> {
        let mut directory = self;
        if !is_encrypted(directory_url) {
            return Ok(directory);
        }
        for (key, url) in [
            ("newNonce", &directory.new_nonce),
            ("newAccount", &directory.new_account),
            ("newOrder", &directory.new_order),
        ] {
            if !is_encrypted(url) {
                return Err(Error::Protocol(format!(
                    "the directory {directory_url} names {url} for '{key}', which is not encrypted: that is for its operator to \
                     set right (a server behind a proxy has to know that it is reached by https)"
                )));
            }
        }
        for (key, url) in [
            ("revokeCert", &mut directory.revoke_cert),
            ("keyChange", &mut directory.key_change),
            ("renewalInfo", &mut directory.renewal_info),
        ] {
            if let Some(refused) = url.take_if(|url| !is_encrypted(url)) {
                crate::log!(
                    Warn,
                    "the directory {directory_url} names {refused} for '{key}', which is not encrypted: it is not used"
                );
            }
        }
        Ok(directory)
    }

    pub fn parse(value: &Value) -> Result<Self, Error> {
        let fields = object(value, "directory")?;
        if !fields.contains_key("newOrder") && fields.contains_key("new-authz") {
            return Err(Error::Protocol(
                "it is that of ACME's first version, which came before RFC 8555 and is not supported: the CA has \
                 another URL for version 2"
                    .into(),
            ));
        }
        let none = Map::new();
        let meta = fields.get("meta").and_then(Value::as_object).unwrap_or(&none);
        let terms = meta.get("termsOfService").and_then(Value::as_str).map(|terms| line(terms, MAX_TEXT));
        Ok(Directory {
            new_nonce: url(fields, "newNonce", "directory")?,
            new_account: url(fields, "newAccount", "directory")?,
            new_order: url(fields, "newOrder", "directory")?,
            terms_of_service: terms.filter(|terms| !terms.is_empty()),
            external_account_required: flag(meta, "externalAccountRequired"),
            profiles: profiles(meta.get("profiles")),
            caa_identities: caa_identities(meta.get("caaIdentities")),
            revoke_cert: url(fields, "revokeCert", "directory").ok(),
            key_change: url(fields, "keyChange", "directory").ok(),
            renewal_info: url(fields, "renewalInfo", "directory").ok(),
        })
    }
}

/// The most names of a CA: its directory may have anything in it.
const IDENTITIES_MAX: usize = 32;

fn caa_identities(value: Option<&Value>) -> Vec<String> {
    let names = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let names = names.filter_map(|name| names::normalize(name).ok());
    names.filter(|name| !names::is_wildcard(name)).take(IDENTITIES_MAX).collect()
}

/// Names with descriptions, or names alone.
fn profiles(value: Option<&Value>) -> Vec<(String, String)> {
    let described = |(name, text): (&String, &Value)| {
        (line(name, MAX_WORD), line(text.as_str().unwrap_or_default(), MAX_TEXT))
    };
    match value {
        Some(Value::Object(profiles)) => profiles.iter().take(MAX_LIST).map(described).collect(),
        Some(Value::Array(names)) => {
            let names = names.iter().take(MAX_LIST).filter_map(Value::as_str);
            names.map(|name| (line(name, MAX_WORD), String::new())).collect()
        }
        _ => Vec::new(),
    }
}

impl Order {
    /// `order_url`: where the object was read from, or the `Location` it came with.
    pub fn parse(order_url: &str, value: &Value) -> Result<Self, Error> {
        let fields = object(value, "order")?;
        let status = match state(fields, "order")?.as_str() {
            "pending" => OrderStatus::Pending,
            "ready" => OrderStatus::Ready,
            "processing" => OrderStatus::Processing,
            "valid" => OrderStatus::Valid,
            // The others are states of other objects (RFC 8555 §7.1.6); an order in them is lost.
            "invalid" | "deactivated" | "expired" | "revoked" => OrderStatus::Invalid,
            other => return Err(unknown_status("order", other)),
        };
        let needs = |state: OrderStatus| status == state;
        let authorizations = list(fields, "authorizations", "order").and_then(|items| {
            items.iter().map(|item| checked_url(item, "authorizations", "order")).collect::<Result<_, _>>()
        });
        Ok(Order {
            url: order_url.to_string(),
            status,
            authorizations: needed(authorizations, needs(OrderStatus::Pending))?.unwrap_or_default(),
            finalize: needed(url(fields, "finalize", "order"), needs(OrderStatus::Ready))?,
            // Where it is missing, `step` says so.
            certificate: match fields.get("certificate").filter(|value| !value.is_null()) {
                Some(value) => needed(checked_url(value, "certificate", "order"), needs(OrderStatus::Valid))?,
                None => None,
            },
            error: fields.get("error").and_then(Problem::parse),
            expires: date(fields, "expires"),
            identifiers: match fields.get("identifiers") {
                Some(Value::Array(items)) => items.iter().map(|item| Identifier::parse(Some(item))).collect(),
                _ => Vec::new(),
            },
        })
    }

    /// Whether it is for a name that is none of these. Wildcards are not distinguished: not all servers do.
    pub fn is_of_others(&self, names: &[String]) -> bool {
        let bare = |name: &str| Identifier::of(name.strip_prefix("*.").unwrap_or(name)).canonical();
        let names: Vec<String> = names.iter().map(|name| bare(name)).collect();
        let mut listed = self.identifiers.iter().filter(|identifier| !identifier.value.is_empty());
        listed.any(|identifier| !names.contains(&bare(&identifier.value)))
    }
}

impl Authorization {
    pub fn parse(authorization_url: &str, value: &Value) -> Result<Self, Error> {
        let fields = object(value, "authorization")?;
        let status = match state(fields, "authorization")?.as_str() {
            // `processing` is the state of the challenge that is being validated.
            "pending" | "processing" => AuthorizationStatus::Pending,
            "valid" => AuthorizationStatus::Valid,
            "invalid" => AuthorizationStatus::Invalid,
            "deactivated" => AuthorizationStatus::Deactivated,
            "expired" => AuthorizationStatus::Expired,
            "revoked" => AuthorizationStatus::Revoked,
            other => return Err(unknown_status("authorization", other)),
        };
        let challenges = match status {
            AuthorizationStatus::Pending => Challenge::offered(list(fields, "challenges", "authorization")?)?,
            _ => list(fields, "challenges", "authorization")
                .unwrap_or_default()
                .iter()
                .filter_map(Challenge::decided)
                .collect(),
        };
        let mut identifier = Identifier::parse(fields.get("identifier"));
        let name = identifier.value.strip_prefix("*.").map(String::from);
        let wildcard = name.is_some() || flag(fields, "wildcard");
        identifier.value = name.unwrap_or(identifier.value);
        Ok(Authorization { url: authorization_url.to_string(), status, identifier, wildcard, challenges })
    }

    /// As one of an order for these names. RFC 8555 §7.1.4 marks an authorization for a wildcard; if the mark
    /// is missing, the order decides. Likewise for the name itself, if the order has only one.
    #[must_use]
    pub fn of_order(mut self, names: &[String]) -> Self {
        if self.identifier.value.is_empty()
            && let [only] = names
        {
            let name = only.strip_prefix("*.");
            self.identifier = Identifier::of(name.unwrap_or(only));
            self.wildcard = name.is_some();
        }
        let is_ordered = |authorization: &Self| names.contains(&authorization.name());
        if !self.wildcard && !is_ordered(&self) {
            self.wildcard = true;
            self.wildcard = is_ordered(&self);
        }
        self
    }

    /// The name as in the order, with `*.` if it is a wildcard.
    pub fn name(&self) -> String {
        let prefix = if self.wildcard { "*." } else { "" };
        format!("{prefix}{}", self.identifier.value)
    }

    pub fn challenge(&self, type_: &str) -> Option<&Challenge> {
        self.challenges.iter().find(|c| c.type_ == type_)
    }
}

/// RFC 8555 §8.3: "It MUST NOT contain any characters outside the base64url alphabet".
fn is_token(text: &str) -> bool {
    let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.len() <= MAX_TOKEN && text.bytes().all(base64url)
}

impl Challenge {
    /// For the words about a failure.
    pub fn tried(&self) -> Tried {
        Tried { type_: self.type_.clone(), token: self.token.clone() }
    }

    /// A challenge to answer.
    pub fn parse(value: &Value) -> Result<Self, Error> {
        let fields = object(value, "challenge")?;
        let type_ = &line(string(fields, "type", "challenge")?, MAX_WORD);
        let token = match fields.get("token") {
            None if !has_token(type_) => "",
            _ => string(fields, "token", "challenge")?,
        };
        if !is_token(token) || (token.is_empty() && has_token(type_)) {
            return Err(Error::Protocol(format!(
                "the server sent a challenge of type '{type_}' with a token that is not base64url"
            )));
        }
        let url = url(fields, "url", "challenge")?;
        Ok(Challenge { url, token: token.to_string(), ..Challenge::described(type_, fields) })
    }

    /// One of an authorization that is not pending any more: only its result matters.
    fn decided(value: &Value) -> Option<Self> {
        let fields = value.as_object()?;
        let token = fields.get("token").and_then(Value::as_str).filter(|token| is_token(token));
        let token = token.unwrap_or_default().to_string();
        Some(Challenge { token, ..Challenge::described(fields.get("type").and_then(Value::as_str)?, fields) })
    }

    fn described(type_: &str, fields: &Map<String, Value>) -> Self {
        Challenge {
            type_: line(type_, MAX_WORD),
            url: String::new(),
            status: match state(fields, "challenge").unwrap_or_default().as_str() {
                "processing" => ChallengeStatus::Processing,
                "valid" => ChallengeStatus::Valid,
                "invalid" => ChallengeStatus::Invalid,
                // It can be answered, with any other status.
                _ => ChallengeStatus::Pending,
            },
            token: String::new(),
            record: RecordTerms::parse(fields),
            error: fields.get("error").and_then(Problem::parse),
            validated: date(fields, "validated"),
        }
    }

    /// Those that can be answered. A malformed one is left out, unless no other of a known type is offered;
    /// unknown types are not checked.
    fn offered(items: &[Value]) -> Result<Vec<Self>, Error> {
        let (mut usable, mut broken) = (Vec::new(), None);
        for item in items {
            match Challenge::parse(item) {
                Ok(challenge) => usable.push(challenge),
                Err(error) if item.get("type").and_then(Value::as_str).is_some_and(has_token) => {
                    broken = broken.or(Some(error));
                }
                Err(_) => {}
            }
        }
        match broken {
            Some(error) if !usable.iter().any(|c| has_token(&c.type_)) => Err(error),
            _ => Ok(usable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn directory() -> Value {
        json!({
            "newNonce": "https://ca.test/nonce",
            "newAccount": "https://ca.test/account",
            "newOrder": "https://ca.test/order",
            "revokeCert": "https://ca.test/revoke",
            "random": "https://community.ca.test/",
        })
    }

    fn order() -> Value {
        json!({
            "status": "pending",
            "expires": "2016-01-05T14:09:07.99Z",
            "identifiers": [{"type": "dns", "value": "WWW.example.org"}],
            "authorizations": ["https://ca.test/authz/1"],
            "finalize": "https://ca.test/order/1/finalize",
        })
    }

    fn authorization(challenges: Value) -> Value {
        json!({
            "status": "pending",
            "identifier": {"type": "dns", "value": "example.org"},
            "challenges": challenges,
        })
    }

    #[test]
    fn words_of_the_server_stay_in_one_line_of_messages() {
        let mut odd = directory();
        odd["meta"] =
            json!({"termsOfService": "https://ca.test/\nterms", "profiles": {"a\nb": "c\u{1b}[2J"}});
        let parsed = Directory::parse(&odd).unwrap();
        assert_eq!(parsed.terms_of_service.as_deref(), Some("https://ca.test/ terms"));
        assert_eq!(parsed.profiles, [("a b".into(), "c [2J".into())]);
        odd["meta"] = json!({"termsOfService": "\n", "profiles": ["a\nb"]});
        let parsed = Directory::parse(&odd).unwrap();
        assert_eq!((parsed.terms_of_service, parsed.profiles), (None, vec![("a b".into(), String::new())]));

        let url = "https://ca.test/chall/1";
        let error = Challenge::parse(&json!({"type": "x\ny", "url": url, "token": "!"})).unwrap_err();
        assert!(error.to_string().contains("of type 'x y' with"), "{error}");
        let error = Challenge::parse(&json!({"type": "http-01\n", "url": url}));
        assert!(error.is_err(), "the type of a challenge is what is left of it");
        let problem = json!({"detail": "no"});
        let mut failed = authorization(json!([{"type": "x\ny", "status": "invalid", "error": problem}]));
        (failed["status"], failed["identifier"]) =
            (json!("invalid"), json!({"type": "d\nns", "value": "a\nb"}));
        let failed = Authorization::parse(url, &failed).unwrap();
        assert_eq!((failed.name().as_str(), failed.challenges[0].type_.as_str()), ("a b", "x y"));
        assert_eq!(failed.identifier.type_, "d ns");
    }

    #[test]
    fn a_directory_needs_its_urls_and_may_have_meta() {
        let parsed = Directory::parse(&directory()).unwrap();
        assert_eq!(parsed.new_order, "https://ca.test/order");
        assert_eq!((parsed.terms_of_service, parsed.external_account_required), (None, false));
        let mut with_meta = directory();
        with_meta["meta"] = json!({
            "termsOfService": "https://ca.test/terms", "externalAccountRequired": true,
            "profiles": {"shortlived": "six days", "odd": 5},
            "caaIdentities": ["CA.test", "ca.example.", "a b", 7, "*.ca.test"],
        });
        let parsed = Directory::parse(&with_meta).unwrap();
        assert_eq!(parsed.caa_identities, ["ca.test", "ca.example"]);
        assert_eq!(parsed.terms_of_service.as_deref(), Some("https://ca.test/terms"));
        assert!(parsed.external_account_required);
        assert_eq!(
            parsed.profiles,
            [("shortlived".into(), "six days".into()), ("odd".into(), String::new())]
        );
        for (key, bad) in [
            ("newNonce", Value::Null),
            ("newOrder", json!(7)),
            ("newAccount", json!("/relative")),
            ("newAccount", json!("ftp://ca.test/x")),
            ("newAccount", json!("file:///etc/passwd")),
            ("newAccount", json!("https://ca.test/a b")),
            ("newAccount", json!("https://user:word@ca.test/")),
            ("newAccount", json!("https://ca.test@other.test/")),
            ("newAccount", json!("https://ca.test/a\r\nX: y")),
            ("newAccount", json!(format!("https://ca.test/{}", "a".repeat(3000)))),
        ] {
            let mut broken = directory();
            broken[key] = bad.clone();
            assert!(matches!(Directory::parse(&broken), Err(Error::Protocol(_))), "{key} {bad}");
        }
        assert!(matches!(Directory::parse(&json!([])), Err(Error::Protocol(_))));
    }

    fn changed(mut value: Value, changes: &[(&str, Value)]) -> Value {
        for (key, change) in changes {
            value[*key] = change.clone();
        }
        value
    }

    #[test]
    fn a_directory_of_another_protocol_says_so() {
        let first = json!({"new-authz": "https://ca.test/acme/new-authz", "new-cert": "x", "new-reg": "x"});
        assert!(Directory::parse(&first).unwrap_err().to_string().contains("ACME's first version"));
    }

    #[test]
    fn a_directory_may_write_its_meta_in_other_ways() {
        let meta = json!({"termsOfService": "", "externalAccountRequired": "true", "profiles": ["one", 2]});
        let parsed = Directory::parse(&changed(directory(), &[("meta", meta)])).unwrap();
        assert_eq!(parsed.terms_of_service, None, "no terms, nothing to agree to");
        assert!(parsed.external_account_required);
        assert_eq!(parsed.profiles, [("one".into(), String::new())]);
        assert!(Directory::parse(&changed(directory(), &[("meta", Value::Null)])).is_ok());
    }

    #[test]
    fn a_directory_read_over_https_leads_to_no_unencrypted_url() {
        let at = |url: &str, key: &str| {
            let mut value = directory();
            value[key] = json!("http://ca.test/x");
            Directory::parse(&value).and_then(|directory| directory.read_from(url))
        };
        for key in ["newNonce", "newAccount", "newOrder"] {
            let error = at("https://ca.test/dir", key).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("http://ca.test/x"), "{error}");
            assert!(at("http://ca.test/dir", key).is_ok());
        }
        for key in ["revokeCert", "keyChange", "renewalInfo"] {
            let parsed = at("https://ca.test/dir", key).unwrap();
            assert!(
                ![parsed.revoke_cert, parsed.key_change, parsed.renewal_info]
                    .contains(&Some("http://ca.test/x".into())),
                "{key}"
            );
            let parsed = at("http://ca.test/dir", key).unwrap();
            assert!(
                [parsed.revoke_cert, parsed.key_change, parsed.renewal_info]
                    .contains(&Some("http://ca.test/x".into())),
                "{key}"
            );
        }
    }

    #[test]
    fn an_order_has_a_known_status_and_absolute_urls() {
        let parsed = Order::parse("https://ca.test/order/1", &order()).unwrap();
        assert_eq!(parsed.status, OrderStatus::Pending);
        assert_eq!(parsed.authorizations, ["https://ca.test/authz/1"]);
        assert_eq!(parsed.expires, Timestamp::parse_rfc3339("2016-01-05T14:09:07.99Z"));
        for (status, key, bad) in [
            ("finished", "expires", Value::Null),
            ("", "expires", Value::Null),
            ("pending", "authorizations", json!("https://ca.test/authz/1")),
            ("pending", "authorizations", json!(["authz/1"])),
            ("pending", "authorizations", json!(vec!["https://ca.test/authz/1"; MAX_LIST + 1])),
            ("ready", "finalize", json!("")),
            ("ready", "finalize", Value::Null),
            ("valid", "certificate", json!("javascript:x")),
        ] {
            let broken = changed(order(), &[("status", json!(status)), (key, bad.clone())]);
            assert!(
                matches!(Order::parse("https://ca.test/order/1", &broken), Err(Error::Protocol(_))),
                "{status} {key} {bad}"
            );
        }
        let broken = changed(order(), &[("status", Value::Null)]);
        assert!(matches!(Order::parse("https://ca.test/order/1", &broken), Err(Error::Protocol(_))));
    }

    #[test]
    fn an_order_is_asked_only_for_what_its_state_needs() {
        let url = "https://ca.test/order/1";
        let certificate = "https://ca.test/cert/1";
        for (status, needed) in [
            ("pending", json!({"authorizations": ["https://ca.test/authz/1"]})),
            ("Pending ", json!({"authorizations": null})),
            ("ready", json!({"finalize": "https://ca.test/order/1/finalize", "authorizations": null})),
            ("processing", json!({"authorizations": 7, "certificate": "", "expires": 99, "error": {}})),
            (
                "valid",
                json!({"certificate": certificate, "identifier": [], "authorizations": ["x"], "error": null}),
            ),
            ("invalid", json!({"finalize": false, "certificate": ["x"], "error": "broken"})),
            ("expired", json!({})),
        ] {
            let parsed = Order::parse(url, &changed(needed, &[("status", json!(status))])).unwrap();
            assert_eq!(parsed.certificate.is_some(), status == "valid");
            assert_eq!(parsed.error.map(|e| e.detail), (status == "invalid").then(|| "broken".into()));
            if status == "expired" {
                assert_eq!(parsed.status, OrderStatus::Invalid);
            }
        }
    }

    #[test]
    fn an_authorization_that_is_decided_needs_no_challenges() {
        let url = "https://ca.test/authz/1";
        for status in ["valid", "invalid", "deactivated", "expired", "revoked"] {
            for challenges in
                [Value::Null, json!("none"), json!([{"type": "http-01"}, 7, {"status": "valid"}])]
            {
                let value = changed(authorization(challenges), &[("status", json!(status))]);
                assert!(Authorization::parse(url, &value).is_ok(), "{value}");
            }
            assert!(Authorization::parse(url, &json!({"status": status})).is_ok());
        }
        let failed =
            json!([{"type": "http-01", "error": {"detail": "got 404"}}, {"type": "dns-01", "error": {}}]);
        let value = changed(authorization(failed), &[("status", json!("invalid"))]);
        let parsed = Authorization::parse(url, &value).unwrap();
        assert_eq!(parsed.challenges[0].error.as_ref().unwrap().detail, "got 404");
        assert_eq!(parsed.challenges[1].error, None);
        assert!(Authorization::parse(url, &authorization(json!("none"))).is_err(), "pending ones do");
        let working = changed(authorization(json!([])), &[("status", json!("processing"))]);
        assert_eq!(Authorization::parse(url, &working).unwrap().status, AuthorizationStatus::Pending);
    }

    #[test]
    fn a_broken_challenge_is_left_out_where_another_can_be_answered() {
        let good = json!({"type": "dns-01", "url": "https://ca.test/c/2", "token": "t"});
        let bad = json!({"type": "http-01", "url": "https://ca.test/c/1", "token": "a.b"});
        let of = |list: Value| Authorization::parse("https://ca.test/authz/1", &authorization(list));
        let parsed = of(json!([bad, good])).unwrap();
        assert_eq!(parsed.challenges.len(), 1);
        assert_eq!(parsed.challenges[0].status, ChallengeStatus::Pending, "its state goes without saying");
        assert!(of(json!([bad, {"type": "future-01", "url": "https://ca.test/c/3"}])).is_err());
    }

    #[test]
    fn a_wildcard_is_known_by_its_mark_its_name_or_what_was_ordered() {
        let of = |value: &str, mark: Value, ordered: &[&str]| {
            let identifier = json!({"type": "dns", "value": value});
            let fields = [("identifier", identifier), ("wildcard", mark)];
            let parsed =
                Authorization::parse("https://ca.test/a", &changed(authorization(json!([])), &fields))
                    .unwrap();
            let ordered: Vec<String> = ordered.iter().map(ToString::to_string).collect();
            let parsed = parsed.of_order(&ordered);
            (parsed.identifier.value.clone(), parsed.name())
        };
        let (plain, wildcard) = (("a.test".into(), "a.test".into()), ("a.test".into(), "*.a.test".into()));
        let wild = &["*.a.test"][..];
        assert_eq!(of("a.test", json!(true), wild), wildcard);
        assert_eq!(of("a.test", json!("true"), wild), wildcard);
        assert_eq!(of("a.test", Value::Null, wild), wildcard, "nothing else was ordered");
        assert_eq!(of("*.A.test", Value::Null, wild), wildcard);
        assert_eq!(of("*.a.test.", json!(true), wild), wildcard);
        assert_eq!(of("a.test.", json!(false), &["a.test", "*.a.test"]), plain);
        assert_eq!(of("a.test", json!(true), &["a.test", "*.a.test"]), wildcard);
        assert_eq!(of("a.test", Value::Null, &["b.test"]), plain, "no name of the order");
        assert_eq!(of("", Value::Null, wild), wildcard, "which else should it be");
        assert_eq!(of("", Value::Null, &["a.test", "b.test"]).1, "");
    }

    #[test]
    fn a_token_outside_of_base64url_is_refused() {
        let challenge = |token: Value| json!({"type": "http-01", "url": "https://ca.test/c/1", "status": "pending", "token": token});
        let parse =
            |value: Value| Authorization::parse("https://ca.test/authz/1", &authorization(json!([value])));
        assert_eq!(parse(challenge(json!("aB3-_"))).unwrap().challenges[0].token, "aB3-_");
        for bad in
            [json!(""), json!("../x"), json!("a.b"), json!("a/b"), json!("a=="), json!("a\n"), Value::Null]
        {
            assert!(matches!(parse(challenge(bad.clone())), Err(Error::Protocol(_))), "{bad}");
        }
        assert!(parse(challenge(json!("a".repeat(MAX_TOKEN + 1)))).is_err());
    }

    #[test]
    fn challenges_of_foreign_types_may_look_as_they_like() {
        let challenges = json!([
            {"type": "dns-persist-01", "url": "https://ca.test/c/1", "status": "pending"},
            {"type": "future-01", "token": "%%", "status": 9},
            7,
            {"type": "http-01", "url": "https://ca.test/c/2", "status": "processing", "token": "t",
             "error": {"type": "urn:ietf:params:acme:error:dns", "detail": "no such host"}},
        ]);
        let mut value = authorization(challenges);
        value["wildcard"] = json!(true);
        let parsed = Authorization::parse("https://ca.test/authz/1", &value).unwrap();
        assert_eq!(parsed.challenges.len(), 2);
        assert_eq!(parsed.challenge("http-01").unwrap().error.as_ref().unwrap().detail, "no such host");
        assert_eq!(parsed.name(), "*.example.org");
    }

    #[test]
    fn an_identifier_is_of_the_type_its_name_has() {
        assert_eq!(Identifier::of("a.test").type_, "dns");
        assert_eq!(Identifier::of("127.0.0.1").type_, "ip");
        assert_eq!(Identifier::of("::1").type_, "ip");
    }
}
