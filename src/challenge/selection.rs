// SPDX-License-Identifier: Apache-2.0
//! Which challenges can be answered for a name: those that are configured, or else those that are found
//! to work, in order of preference. Pure functions; where nothing fits, the text says why each type is out.

use super::{dns_account01, dns_persist01, dns01, http01, tls_alpn01};
use crate::acme::objects::{Authorization, Challenge};
use crate::names;

/// The types we answer, in the order in which they are preferred where none are configured.
const TYPES: [&str; 3] = [tls_alpn01::TYPE, http01::TYPE, dns01::TYPE];

/// Those that are answered only where they are configured.
const CONFIGURED_TYPES: [&str; 2] = [dns_account01::TYPE, dns_persist01::TYPE];

/// The settings and facts that decide about the challenges of a managed domain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Means<'a> {
    /// Types of `MDCAChallenges`, in order of preference; empty: all types that are found to work.
    pub configured: &'a [String],
    /// Requests to the public port 80 arrive here.
    pub http: bool,
    /// Connections to the public port 443 arrive here.
    pub https: bool,
    /// Names whose TLS host has `acme-tls/1` in `Protocols`.
    pub acme_tls: &'a [String],
    /// There is a way to set the records of dns-01.
    pub dns01: bool,
    /// The way is told the name of the record, and not the domain alone.
    pub names_records: bool,
}

impl Means<'_> {
    /// Why a type cannot be answered for a name. That httpd does not listen on a public port is no reason
    /// where the type is configured: the admin knows the setup in front of this server.
    fn obstacle(&self, type_: &str, domain: &str) -> Option<String> {
        let detected = self.configured.is_empty();
        let wildcard = names::is_wildcard(domain);
        match type_ {
            http01::TYPE | tls_alpn01::TYPE if wildcard => {
                let scheme = if type_ == http01::TYPE { "http:" } else { "https:" };
                Some(format!(
                    "The {scheme} challenge '{type_}' is disabled because it proves nothing about a wildcard like \
                     {domain}."
                ))
            }
            http01::TYPE if detected && !self.http => Some(
                "The http: challenge 'http-01' is disabled because the server seems not reachable on public port 80."
                    .into(),
            ),
            tls_alpn01::TYPE if detected && !self.https => Some(
                "The https: challenge 'tls-alpn-01' is disabled because the server seems not reachable on public \
                 port 443."
                    .into(),
            ),
            tls_alpn01::TYPE if !self.acme_tls.iter().any(|name| name == domain) => Some(
                "The https: challenge 'tls-alpn-01' is disabled because the Protocols configuration does not include \
                 the 'acme-tls/1' protocol."
                    .into(),
            ),
            dns01::TYPE | dns_account01::TYPE | dns_persist01::TYPE if names::is_address(domain) => Some(format!(
                "The DNS challenge '{type_}' is disabled because {domain} is an address, no name."
            )),
            dns01::TYPE | dns_account01::TYPE if !self.dns01 => Some(format!(
                "The DNS challenge '{type_}' is disabled because the directive 'MDChallengeDns01' is not configured."
            )),
            dns_account01::TYPE if !self.names_records => Some(
                "The DNS challenge 'dns-account-01' is disabled because MDChallengeDns01 has a command or hook that is \
                 told the domain, and not the name of the record: use 'dns-01', or another way in MDChallengeDns01."
                    .into(),
            ),
            known if TYPES.contains(&known) || CONFIGURED_TYPES.contains(&known) => None,
            unknown => Some(format!("The challenge '{unknown}' in MDCAChallenges is not known to mod_md.")),
        }
    }

    /// The types that can be answered for a name, in order of preference; never none.
    pub fn possible(&self, domain: &str) -> Result<Vec<&str>, String> {
        let types: Vec<&str> = match self.configured {
            [] => TYPES.to_vec(),
            some => some.iter().map(String::as_str).collect(),
        };
        let mut possible = types.clone();
        possible.retain(|type_| self.obstacle(type_, domain).is_none());
        if !possible.is_empty() {
            return Ok(possible);
        }
        // Detected types are reported in the order of their ports, from 80 to 53.
        let reported = if self.configured.is_empty() {
            vec![http01::TYPE, tls_alpn01::TYPE, dns01::TYPE]
        } else {
            types
        };
        let reasons: Vec<String> = reported.iter().filter_map(|type_| self.obstacle(type_, domain)).collect();
        Err(format!(
            "None of the ACME challenge methods configured for this domain are suitable. {}",
            reasons.join(" ")
        ))
    }
}

/// The challenges of this authorization that can be answered, in order of preference; never none.
pub fn choose<'a>(authorization: &'a Authorization, means: &Means<'_>) -> Result<Vec<&'a Challenge>, String> {
    let domain = authorization.name();
    let possible = means.possible(&domain)?;
    let chosen: Vec<_> = possible.iter().filter_map(|type_| authorization.challenge(type_)).collect();
    if chosen.is_empty() {
        return Err(format!(
            "None of offered challenge types for domain {domain} are supported. The server offered '{}' and \
             available are: '{}'.",
            offered(authorization),
            possible.join(" ")
        ));
    }
    Ok(chosen)
}

/// The types that the CA offers, for people.
pub fn offered(authorization: &Authorization) -> String {
    authorization.challenges.iter().map(|c| c.type_.as_str()).collect::<Vec<_>>().join(" ")
}

/// Whether every name has a challenge that can work, as far as that is known before a CA is asked.
pub fn check(domains: &[String], means: &Means<'_>) -> Result<(), String> {
    domains.iter().try_for_each(|domain| means.possible(domain).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn authorization(name: &str, types: &str) -> Authorization {
        let challenges: Vec<_> = types
            .split(' ')
            .map(
                |t| json!({"type": t, "url": "https://ca.test/c/1", "status": "pending", "token": "dG9rZW4"}),
            )
            .collect();
        let type_ = if names::is_address(name) { "ip" } else { "dns" };
        let value = json!({"status": "pending",
            "identifier": {"type": type_, "value": name.strip_prefix("*.").unwrap_or(name)},
            "wildcard": names::is_wildcard(name), "challenges": challenges});
        Authorization::parse("https://ca.test/a/1", &value).unwrap()
    }

    const ALL: &str = "dns-01 http-01 tls-alpn-01 dns-persist-01 dns-account-01";

    /// Each row: a name, the means, the configured types, and the types chosen from everything on offer.
    #[test]
    fn the_first_type_that_is_configured_or_found_to_work_is_chosen() {
        let table = [
            ("a.test", "http https alpn dns", "", "tls-alpn-01 http-01 dns-01"),
            ("a.test", "http https dns", "", "http-01 dns-01"),
            ("a.test", "https alpn", "", "tls-alpn-01"),
            ("a.test", "alpn dns", "", "dns-01"),
            ("a.test", "http alpn", "", "http-01"),
            ("*.a.test", "http https alpn dns", "", "dns-01"),
            ("127.0.0.1", "http https alpn dns", "", "tls-alpn-01 http-01"),
            // Configured types are trusted without checking ports; their order counts.
            ("a.test", "", "http-01", "http-01"),
            ("a.test", "alpn", "tls-alpn-01", "tls-alpn-01"),
            ("a.test", "http https alpn dns", "dns-01 http-01", "dns-01 http-01"),
            ("a.test", "http https", "dns-01 tls-alpn-01 http-01", "http-01"),
            ("*.a.test", "http dns", "http-01 dns-01", "dns-01"),
            ("a.test", "http", "future-01 http-01", "http-01"),
            ("a.test", "", "dns-persist-01", "dns-persist-01"),
            ("*.a.test", "http dns", "dns-persist-01 http-01 dns-01", "dns-persist-01 dns-01"),
            ("*.a.test", "dns", "dns-account-01 dns-01", "dns-account-01 dns-01"),
            ("a.test", "command", "dns-account-01 dns-01", "dns-01"),
            ("127.0.0.1", "", "dns-persist-01 http-01", "http-01"),
        ];
        for (name, can, configured, expected) in table {
            let alpn = if can.contains("alpn") { vec![name.to_string()] } else { Vec::new() };
            let configured: Vec<String> = configured.split_whitespace().map(String::from).collect();
            let has = |what: &str| can.split(' ').any(|word| word == what);
            let means = Means {
                configured: &configured,
                http: has("http"),
                https: has("https"),
                acme_tls: &alpn,
                dns01: has("dns") || has("command"),
                names_records: has("dns"),
            };
            let offer = authorization(name, ALL);
            let chosen: Vec<&str> =
                choose(&offer, &means).unwrap().iter().map(|c| c.type_.as_str()).collect();
            assert_eq!(chosen.join(" "), expected, "{name} can {can}, configured {configured:?}");
            assert!(check(&[name.to_string()], &means).is_ok());
        }
    }

    #[test]
    fn only_types_on_offer_are_chosen() {
        let names = ["a.test".to_string()];
        let means = Means { http: true, https: true, acme_tls: &names, ..Means::default() };
        let chosen = authorization("a.test", "dns-01 http-01");
        assert_eq!(choose(&chosen, &means).unwrap()[0].type_, "http-01");
        assert_eq!(
            choose(&authorization("a.test", "dns-01 dns-persist-01"), &means).unwrap_err(),
            "None of offered challenge types for domain a.test are supported. The server offered 'dns-01 \
             dns-persist-01' and available are: 'tls-alpn-01 http-01'."
        );
    }

    #[test]
    fn a_refusal_says_why_each_type_is_out() {
        const NONE: &str = "None of the ACME challenge methods configured for this domain are suitable.";
        const HTTP: &str = "The http: challenge 'http-01' is disabled because";
        const HTTPS: &str = "The https: challenge 'tls-alpn-01' is disabled because";
        const DNS: &str = "The DNS challenge 'dns-01' is disabled because";
        let command = "the directive 'MDChallengeDns01' is not configured.";
        let protocols = "the Protocols configuration does not include the 'acme-tls/1' protocol.";
        let refused = |domain: &str, configured: &[&str], https: bool| {
            let configured: Vec<String> = configured.iter().map(ToString::to_string).collect();
            let means = Means { configured: &configured, https, ..Means::default() };
            check(&[domain.to_string()], &means).unwrap_err()
        };
        assert_eq!(
            refused("a.test", &[], false),
            format!(
                "{NONE} {HTTP} the server seems not reachable on public port 80. {HTTPS} the server seems not \
                 reachable on public port 443. {DNS} {command}"
            )
        );
        assert!(refused("a.test", &[], true).contains(&format!("{HTTPS} {protocols}")));
        assert_eq!(refused("a.test", &["tls-alpn-01"], false), format!("{NONE} {HTTPS} {protocols}"));
        assert_eq!(refused("a.test", &["dns-01"], true), format!("{NONE} {DNS} {command}"));
        let wildcard = "it proves nothing about a wildcard like *.a.test.";
        assert_eq!(
            refused("*.a.test", &["http-01", "tls-alpn-01"], true),
            format!("{NONE} {HTTP} {wildcard} {HTTPS} {wildcard}")
        );
        assert_eq!(
            refused("127.0.0.1", &["dns-01"], true),
            format!("{NONE} {DNS} 127.0.0.1 is an address, no name.")
        );
        for type_ in ["dns-account-01", "dns-persist-01"] {
            let refusal = refused("127.0.0.1", &[type_], true);
            assert_eq!(
                refusal,
                format!(
                    "{NONE} The DNS challenge '{type_}' is disabled because 127.0.0.1 is an address, no name."
                )
            );
        }
        assert!(
            refused("a.test", &["dns-account-01"], true).contains("'MDChallengeDns01' is not configured")
        );
        let configured = ["dns-account-01".to_string()];
        let means = Means { configured: &configured, dns01: true, ..Means::default() };
        let refusal = check(&["a.test".to_string()], &means).unwrap_err();
        assert!(refusal.contains("is told the domain, and not the name of the record"), "{refusal}");
        assert_eq!(
            refused("a.test", &["tls-sni-01"], true),
            format!("{NONE} The challenge 'tls-sni-01' in MDCAChallenges is not known to mod_md.")
        );
    }
}
