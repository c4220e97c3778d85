//! Which challenge to answer for a name: the first possible one of those that are configured, or that
//! were found to work. A pure function; where nothing fits, the text says why each type is out.

use super::http01;
use crate::acme::objects::{Authorization, Challenge};
use crate::model::Md;
use crate::names;

/// The challenge for this authorization. `configured`: types of `MDCAChallenges`, in order of preference;
/// empty: whatever works. `reachable_by_http`: requests to port 80 arrive here.
pub fn choose<'a>(
    authorization: &'a Authorization,
    configured: &[String],
    reachable_by_http: bool,
) -> Result<&'a Challenge, String> {
    let domain = authorization.name();
    suitable(&domain, configured, reachable_by_http)?;
    authorization.challenge(http01::TYPE).ok_or_else(|| {
        let offered: Vec<&str> = authorization.challenges.iter().map(|c| c.type_.as_str()).collect();
        format!(
            "None of offered challenge types for domain {domain} are supported. The server offered '{}' and \
             available are: '{}'.",
            offered.join(", "),
            http01::TYPE
        )
    })
}

/// Whether every name of `md` has a challenge that can work, as far as that is known before a CA is asked.
pub fn check(md: &Md, reachable_by_http: bool) -> Result<(), String> {
    md.domains.iter().try_for_each(|domain| suitable(domain, &md.ca.challenges, reachable_by_http))
}

fn suitable(domain: &str, configured: &[String], reachable_by_http: bool) -> Result<(), String> {
    let mut reasons = Vec::new();
    if !configured.is_empty() && !configured.iter().any(|c| c == http01::TYPE) {
        reasons.push(format!(
            "The http: challenge 'http-01' is left out by MDCAChallenges {}.",
            configured.join(" ")
        ));
    }
    if !reachable_by_http {
        reasons.push(
            "The http: challenge 'http-01' is disabled because the server seems not reachable on public port 80.".into(),
        );
    }
    if names::is_wildcard(domain) {
        reasons.push(format!("A wildcard like {domain} needs the challenge 'dns-01'."));
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(format!(
        "None of the ACME challenge methods configured for this domain are suitable. {} This version of mod_md has \
         no other challenge than 'http-01'.",
        reasons.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn authorization(types: &[&str], wildcard: bool) -> Authorization {
        let challenges: Vec<_> = types
            .iter()
            .map(|t| json!({"type": t, "url": "https://ca.test/c/1", "status": "pending", "token": "dG9rZW4tdG9rZW4tdG9rZW4"}))
            .collect();
        let value = json!({"status": "pending", "identifier": {"type": "dns", "value": "a.test"},
            "wildcard": wildcard, "challenges": challenges});
        Authorization::parse("https://ca.test/a/1", &value).unwrap()
    }

    #[test]
    fn http_01_is_chosen_where_it_is_offered_allowed_and_reachable() {
        let offered = authorization(&["dns-01", "http-01"], false);
        assert_eq!(choose(&offered, &[], true).unwrap().type_, "http-01");
        assert!(choose(&offered, &["http-01".into()], true).is_ok());
    }

    #[test]
    fn a_refusal_says_why() {
        let offered = authorization(&["dns-01", "http-01"], false);
        assert!(choose(&offered, &[], false).unwrap_err().contains("port 80"));
        assert!(choose(&offered, &["dns-01".into()], true).unwrap_err().contains("MDCAChallenges"));
        let wildcard = authorization(&["dns-01"], true);
        assert!(choose(&wildcard, &[], true).unwrap_err().contains("dns-01"));
        let other = choose(&authorization(&["dns-01"], false), &[], true).unwrap_err();
        assert!(other.contains("The server offered 'dns-01' and available are: 'http-01'."), "{other}");
    }
}
