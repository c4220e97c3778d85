// SPDX-License-Identifier: Apache-2.0
//! What a challenge of dns-persist-01 wants to find in the DNS: names of the CA and the account, in place of
//! a token. Admins copy them into zones, so nothing passes that could not stand in such a record (RFC 8659
//! §4.2). Pure; imports `names`.

use crate::names;
use serde_json::{Map, Value};

/// The draft allows no more names.
const ISSUERS_MAX: usize = 10;
const ACCOUNT_MAX: usize = 1024;

/// Empty for all other types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordTerms {
    /// The names of the CA in normal form: a record has one of them. None: the challenge cannot be answered.
    pub issuers: Vec<String>,
    /// The account URI, where the challenge has one.
    pub account: Option<String>,
}

impl RecordTerms {
    /// The drafts spell the fields in several ways.
    pub(super) fn parse(challenge: &Map<String, Value>) -> Self {
        let field = |name: &str| {
            let is_it = |key: &String| key.replace('-', "").eq_ignore_ascii_case(name);
            challenge.iter().find(|(key, value)| is_it(key) && !value.is_null()).map(|(_, value)| value)
        };
        let names =
            field("issuerdomainnames").and_then(Value::as_array).filter(|names| names.len() <= ISSUERS_MAX);
        let issuers: Vec<String> =
            names.into_iter().flatten().filter_map(Value::as_str).filter_map(issuer).collect();
        match field("accounturi") {
            None => RecordTerms { issuers, account: None },
            Some(account) => match account.as_str().filter(|account| is_account(account)) {
                Some(account) => RecordTerms { issuers, account: Some(account.into()) },
                None => RecordTerms::default(),
            },
        }
    }
}

/// Whether a type is one of those we know that answer to a token (RFC 8555 §8.3, §8.4, RFC 8737 §3).
pub(super) fn has_token(type_: &str) -> bool {
    matches!(type_, "http-01" | "dns-01" | "dns-account-01" | "tls-alpn-01")
}

fn issuer(name: &str) -> Option<String> {
    let name = names::normalize(name).ok()?;
    (!names::is_wildcard(&name) && !names::is_address(&name)).then_some(name)
}

/// Whether this URI can stand in a record.
pub fn is_account(uri: &str) -> bool {
    let is_value = |b: u8| b.is_ascii_graphic() && !matches!(b, b';' | b'"' | b'\\');
    (1..=ACCOUNT_MAX).contains(&uri.len()) && uri.bytes().all(is_value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> RecordTerms {
        RecordTerms::parse(value.as_object().unwrap())
    }

    #[test]
    fn the_fields_may_be_spelt_as_any_draft_spells_them() {
        let uri = "https://ca.test/acct/1";
        for (names, account) in [
            ("issuer-domain-names", "accounturi"),
            ("issuerDomainNames", "accountUri"),
            ("issuerDomainNames", "account-uri"),
            ("issuer-domain-names", "accountURI"),
        ] {
            let terms =
                parse(json!({"type": "dns-persist-01", names: ["CA.test.", "other.test"], account: uri}));
            assert_eq!(terms.issuers, ["ca.test", "other.test"], "{names}");
            assert_eq!(terms.account.as_deref(), Some(uri), "{account}");
        }
        assert_eq!(parse(json!({"issuer-domain-names": ["ca.test"], "accounturi": null})).account, None);
    }

    #[test]
    fn nothing_passes_that_cannot_stand_in_a_record() {
        let issuers = |names: Value| parse(json!({"issuer-domain-names": names})).issuers;
        let none: [&str; 0] = [];
        let too_many: Vec<String> = (0..=ISSUERS_MAX).map(|n| format!("ca{n}.test")).collect();
        for names in [
            json!(null),
            json!("ca.test"),
            json!([]),
            json!(too_many),
            json!([
                7,
                null,
                "",
                "*.ca.test",
                "127.0.0.1",
                "ca.test; accounturi=x",
                "ca.test\" \"",
                "ca test",
                "\n"
            ]),
        ] {
            assert_eq!(issuers(names.clone()), none, "{names}");
        }
        for account in [
            json!(""),
            json!(7),
            json!("https://ca.test/a;policy=wildcard"),
            json!("https://ca.test/a b"),
            json!("https://ca.test/\n"),
            json!("https://ca.test/\""),
            json!("https://ca.test/\\"),
            json!("https://ca.test/ä"),
            json!("x".repeat(ACCOUNT_MAX + 1)),
        ] {
            let terms = parse(json!({"issuer-domain-names": ["ca.test"], "accounturi": account}));
            assert_eq!(terms, RecordTerms::default(), "{account}");
        }
    }
}
