//! ACME's resources as a server sends them (RFC 8555 §7.1), parsed and checked: a value of these types
//! has known states only, absolute http(s) URLs and tokens that are safe as file content and path.

use super::Error;
use super::problem::Problem;
use crate::time::Timestamp;
use serde_json::{Map, Value};
use std::net::IpAddr;

const MAX_LIST: usize = 200;
const MAX_URL: usize = 2048;
const MAX_TOKEN: usize = 512;

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
    /// `meta.profiles`: names and what they are for.
    pub profiles: Vec<(String, String)>,
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
    pub identifiers: Vec<Identifier>,
    /// URLs.
    pub authorizations: Vec<String>,
    pub finalize: String,
    pub certificate: Option<String>,
    pub error: Option<Problem>,
    pub expires: Option<Timestamp>,
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
    pub identifier: Identifier,
    pub wildcard: bool,
    pub challenges: Vec<Challenge>,
}

/// RFC 8555 §7.1.5 and §8.
#[derive(Clone, Debug, PartialEq)]
pub struct Challenge {
    /// `http-01`, `dns-01`, `tls-alpn-01`, …
    pub type_: String,
    pub url: String,
    pub status: ChallengeStatus,
    /// base64url; never empty for the types named above.
    pub token: String,
    pub error: Option<Problem>,
    pub validated: Option<Timestamp>,
}

impl Identifier {
    pub fn of(name: &str) -> Self {
        let type_ = if name.parse::<IpAddr>().is_ok() { "ip" } else { "dns" };
        Identifier { type_: type_.into(), value: name.into() }
    }

    fn parse(value: &Value) -> Result<Self, Error> {
        let fields = object(value, "identifier")?;
        Ok(Identifier {
            type_: string(fields, "type", "identifier")?.to_string(),
            value: string(fields, "value", "identifier")?.to_ascii_lowercase(),
        })
    }
}

impl Directory {
    /// `directory_url`: where it was read from. One that was read over https names no server that is asked without
    /// encryption; what a client can do without is then taken for missing.
    pub fn parse_at(directory_url: &str, value: &Value) -> Result<Self, Error> {
        let mut directory = Directory::parse(value)?;
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
        let none = Map::new();
        let meta = fields.get("meta").and_then(Value::as_object).unwrap_or(&none);
        let profiles = meta.get("profiles").and_then(Value::as_object).unwrap_or(&none);
        let described =
            |(name, text): (&String, &Value)| (name.clone(), text.as_str().unwrap_or_default().to_string());
        Ok(Directory {
            new_nonce: url(fields, "newNonce", "directory")?,
            new_account: url(fields, "newAccount", "directory")?,
            new_order: url(fields, "newOrder", "directory")?,
            terms_of_service: meta.get("termsOfService").and_then(Value::as_str).map(String::from),
            external_account_required: meta.get("externalAccountRequired") == Some(&Value::Bool(true)),
            profiles: profiles.iter().take(MAX_LIST).map(described).collect(),
            revoke_cert: url(fields, "revokeCert", "directory").ok(),
            key_change: url(fields, "keyChange", "directory").ok(),
            renewal_info: url(fields, "renewalInfo", "directory").ok(),
        })
    }
}

impl Order {
    /// `order_url`: where the object was read from, or the `Location` it came with.
    pub fn parse(order_url: &str, value: &Value) -> Result<Self, Error> {
        let fields = object(value, "order")?;
        let mut authorizations = Vec::new();
        for item in list(fields, "authorizations", "order")? {
            authorizations.push(checked_url(item, "authorizations", "order")?);
        }
        Ok(Order {
            url: order_url.to_string(),
            status: match string(fields, "status", "order")? {
                "pending" => OrderStatus::Pending,
                "ready" => OrderStatus::Ready,
                "processing" => OrderStatus::Processing,
                "valid" => OrderStatus::Valid,
                "invalid" => OrderStatus::Invalid,
                other => return Err(unknown_status("order", other)),
            },
            identifiers: list(fields, "identifiers", "order")?
                .iter()
                .map(Identifier::parse)
                .collect::<Result<_, _>>()?,
            authorizations,
            finalize: url(fields, "finalize", "order")?,
            certificate: match fields.get("certificate") {
                None | Some(Value::Null) => None,
                Some(value) => Some(checked_url(value, "certificate", "order")?),
            },
            error: fields.get("error").and_then(Problem::parse),
            expires: date(fields, "expires"),
        })
    }
}

impl Authorization {
    pub fn parse(authorization_url: &str, value: &Value) -> Result<Self, Error> {
        let fields = object(value, "authorization")?;
        let mut challenges = Vec::new();
        for item in list(fields, "challenges", "authorization")? {
            challenges.extend(Challenge::parse_listed(item)?);
        }
        Ok(Authorization {
            url: authorization_url.to_string(),
            status: match string(fields, "status", "authorization")? {
                "pending" => AuthorizationStatus::Pending,
                "valid" => AuthorizationStatus::Valid,
                "invalid" => AuthorizationStatus::Invalid,
                "deactivated" => AuthorizationStatus::Deactivated,
                "expired" => AuthorizationStatus::Expired,
                "revoked" => AuthorizationStatus::Revoked,
                other => return Err(unknown_status("authorization", other)),
            },
            identifier: Identifier::parse(fields.get("identifier").unwrap_or(&Value::Null))?,
            wildcard: fields.get("wildcard") == Some(&Value::Bool(true)),
            challenges,
        })
    }

    /// The name as it stands in the order, with `*.` where it is a wildcard.
    pub fn name(&self) -> String {
        let prefix = if self.wildcard { "*." } else { "" };
        format!("{prefix}{}", self.identifier.value)
    }

    pub fn challenge(&self, type_: &str) -> Option<&Challenge> {
        self.challenges.iter().find(|c| c.type_ == type_)
    }
}

impl Challenge {
    pub fn parse(value: &Value) -> Result<Self, Error> {
        let fields = object(value, "challenge")?;
        let type_ = string(fields, "type", "challenge")?;
        let token = match fields.get("token") {
            None if !has_token(type_) => "",
            _ => string(fields, "token", "challenge")?,
        };
        // RFC 8555 §8.3: "It MUST NOT contain any characters outside the base64url alphabet".
        let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if token.len() > MAX_TOKEN || !token.bytes().all(base64url) || (token.is_empty() && has_token(type_))
        {
            return Err(Error::Protocol(format!(
                "the server sent a challenge of type '{type_}' with a token that is not base64url"
            )));
        }
        Ok(Challenge {
            type_: type_.to_string(),
            url: url(fields, "url", "challenge")?,
            status: match string(fields, "status", "challenge")? {
                "pending" => ChallengeStatus::Pending,
                "processing" => ChallengeStatus::Processing,
                "valid" => ChallengeStatus::Valid,
                "invalid" => ChallengeStatus::Invalid,
                other => return Err(unknown_status("challenge", other)),
            },
            token: token.to_string(),
            error: fields.get("error").and_then(Problem::parse),
            validated: date(fields, "validated"),
        })
    }

    /// As one of several on offer: a type we do not speak may look as it likes, and is left out.
    fn parse_listed(value: &Value) -> Result<Option<Self>, Error> {
        match Challenge::parse(value) {
            Ok(challenge) => Ok(Some(challenge)),
            Err(e) if value.get("type").and_then(Value::as_str).is_some_and(has_token) => Err(e),
            Err(_) => Ok(None),
        }
    }
}

/// The types we know answer to a token (RFC 8555 §8.3, §8.4, RFC 8737 §3).
fn has_token(type_: &str) -> bool {
    matches!(type_, "http-01" | "dns-01" | "tls-alpn-01")
}

/// An absolute http(s) URL, as every URL of the protocol has to be. None has a user and a password.
pub(super) fn is_url(text: &str) -> bool {
    let is_good = |u: url::Url| {
        let is_anonymous = u.username().is_empty() && u.password().is_none();
        matches!(u.scheme(), "http" | "https") && u.host_str().is_some() && is_anonymous
    };
    text.len() <= MAX_URL
        && text.bytes().all(|b| b.is_ascii_graphic())
        && url::Url::parse(text).is_ok_and(is_good)
}

pub(super) fn is_encrypted(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| url.scheme() == "https")
}

/// Scheme, host and port. `None`: no absolute http(s) URL.
pub(super) fn origin(text: &str) -> Option<url::Origin> {
    url::Url::parse(text).ok().map(|url| url.origin()).filter(url::Origin::is_tuple)
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, Error> {
    value.as_object().ok_or_else(|| Error::Protocol(format!("the server sent no {what} object")))
}

fn string<'a>(fields: &'a Map<String, Value>, key: &str, what: &str) -> Result<&'a str, Error> {
    fields.get(key).and_then(Value::as_str).ok_or_else(|| missing(key, what))
}

fn list<'a>(fields: &'a Map<String, Value>, key: &str, what: &str) -> Result<&'a [Value], Error> {
    let items = fields.get(key).and_then(Value::as_array).ok_or_else(|| missing(key, what))?;
    if items.len() > MAX_LIST {
        return Err(Error::Protocol(format!("'{key}' of the {what} has more than {MAX_LIST} entries")));
    }
    Ok(items)
}

fn url(fields: &Map<String, Value>, key: &str, what: &str) -> Result<String, Error> {
    checked_url(fields.get(key).unwrap_or(&Value::Null), key, what)
}

fn checked_url(value: &Value, key: &str, what: &str) -> Result<String, Error> {
    let text = value.as_str().ok_or_else(|| missing(key, what))?;
    if !is_url(text) {
        return Err(Error::Protocol(format!("'{key}' of the {what} is not an absolute http(s) URL")));
    }
    Ok(text.to_string())
}

fn date(fields: &Map<String, Value>, key: &str) -> Option<Timestamp> {
    fields.get(key).and_then(Value::as_str).and_then(Timestamp::parse_rfc3339)
}

fn missing(key: &str, what: &str) -> Error {
    Error::Protocol(format!("the server sent no ACME {what}: '{key}' is missing or of a wrong type"))
}

fn unknown_status(what: &str, status: &str) -> Error {
    let status = super::problem::line(status, 40);
    Error::Protocol(format!("the server sent an {what} with the unknown status '{status}'"))
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
    fn a_directory_needs_its_urls_and_may_have_meta() {
        let parsed = Directory::parse(&directory()).unwrap();
        assert_eq!(parsed.new_order, "https://ca.test/order");
        assert_eq!((parsed.terms_of_service, parsed.external_account_required), (None, false));
        let mut with_meta = directory();
        with_meta["meta"] = json!({
            "termsOfService": "https://ca.test/terms", "externalAccountRequired": true,
            "profiles": {"shortlived": "six days", "odd": 5},
        });
        let parsed = Directory::parse(&with_meta).unwrap();
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

    #[test]
    fn a_directory_read_over_https_names_no_server_that_is_asked_without_encryption() {
        let at = |url: &str, key: &str| {
            let mut value = directory();
            value[key] = json!("http://ca.test/x");
            Directory::parse_at(url, &value)
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
        assert_eq!(parsed.identifiers, [Identifier::of("www.example.org")]);
        assert_eq!(parsed.expires, Timestamp::parse_rfc3339("2016-01-05T14:09:07.99Z"));
        for (key, bad) in [
            ("status", json!("finished")),
            ("status", json!(null)),
            ("identifiers", json!([{"type": "dns"}])),
            ("authorizations", json!("https://ca.test/authz/1")),
            ("authorizations", json!(["authz/1"])),
            ("authorizations", json!(vec!["https://ca.test/authz/1"; MAX_LIST + 1])),
            ("finalize", json!("")),
            ("certificate", json!("javascript:x")),
        ] {
            let mut broken = order();
            broken[key] = bad.clone();
            assert!(
                matches!(Order::parse("https://ca.test/order/1", &broken), Err(Error::Protocol(_))),
                "{key} {bad}"
            );
        }
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
