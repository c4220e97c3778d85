// SPDX-License-Identifier: Apache-2.0
//! The records that are worth setting for a managed domain, as lines of a zone file. Pure: whether they are
//! there is found out in [`present`](super::present).

use crate::challenge::dns_persist01::Expected;
use crate::challenge::{dns_persist01, dns01, http01, tls_alpn01};
use crate::model::dns01::Way;
use crate::model::{DnsZone, Md};
use crate::names;

/// Why a record is worth setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The answers to dns-01 are set up elsewhere.
    Delegation,
    /// Answers dns-persist-01 for good.
    Persist,
    /// Lets this account at this CA alone issue (RFC 8659, RFC 8657).
    Caa,
    /// Names the key in use, for clients with DANE (RFC 6698).
    Tlsa,
    /// The same of the next key, which has to be there before it is used.
    NextTlsa,
}

impl Purpose {
    pub fn token(self) -> &'static str {
        match self {
            Purpose::Delegation => "dns-01-delegation",
            Purpose::Persist => "dns-persist-01",
            Purpose::Caa => "caa",
            Purpose::Tlsa => "tlsa",
            Purpose::NextTlsa => "tlsa-next",
        }
    }
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub purpose: Purpose,
    /// The managed name it is for, without `*.`.
    pub domain: String,
    /// Its owner in the zone, without the final dot.
    pub name: String,
    /// `CNAME`, `NS`, `TXT`, `CAA`, `TLSA`.
    pub rtype: &'static str,
    /// As in a zone file, after the type.
    pub value: String,
    /// A CAA record is for wildcards.
    pub is_wildcard: bool,
}

impl Wanted {
    pub fn line(&self) -> String {
        format!("{}. {} {}", self.name, self.rtype, self.value)
    }
}

/// The CA as CAA and dns-persist-01 records name it, and the account there.
pub struct Issuer<'a> {
    pub identities: &'a [String],
    pub account: &'a str,
}

/// The DNS names of a managed domain, without `*.`, each once; and whether there is a wildcard of it.
pub fn bases(md: &Md) -> Vec<(String, bool)> {
    let mut found: Vec<(String, bool)> = Vec::new();
    for domain in md.domains.iter().filter(|domain| !names::is_address(domain)) {
        let (base, is_wildcard) = match domain.strip_prefix("*.") {
            Some(base) => (base, true),
            None => (domain.as_str(), false),
        };
        match found.iter_mut().find(|(known, _)| known == base) {
            Some((_, wildcard)) => *wildcard |= is_wildcard,
            None => found.push((base.to_string(), is_wildcard)),
        }
    }
    found
}

/// The challenge types by which the names can be validated.
pub fn methods(md: &Md, has_dns01: bool) -> Vec<&str> {
    if !md.ca.challenges.is_empty() {
        return md.ca.challenges.iter().map(String::as_str).collect();
    }
    let is_all_wildcards = md.domains.iter().all(|domain| names::is_wildcard(domain));
    let by_host = [http01::TYPE, tls_alpn01::TYPE].into_iter().filter(|_| !is_all_wildcards);
    by_host.chain(has_dns01.then_some(dns01::TYPE)).collect()
}

/// The records that lead dns-01 to where its way sets up answers. `fulldomain`: of an account at acme-dns;
/// `zones`: that httpd's responder answers. `Err`: why they are not known.
pub fn delegation(
    md: &Md,
    way: &Way,
    fulldomain: impl Fn(&str) -> Option<String>,
    zones: &[DnsZone],
) -> Vec<Result<Wanted, String>> {
    let wanted = |base: &str, target: String| cname(base, &target);
    let below = |base: &str, zone: &str| {
        let zone = zone.trim_end_matches('.').to_ascii_lowercase();
        let is_in_zone = base == zone || base.ends_with(&format!(".{zone}"));
        (!is_in_zone).then(|| wanted(base, format!("{base}.{zone}")))
    };
    let one = |base: &str| match way {
        Way::AcmeDns(url) => Some(fulldomain(base).map(|target| wanted(base, target)).ok_or_else(|| {
            format!("{base} has no account at {url} yet: its first renewal by dns-01 registers one")
        })),
        Way::Rfc2136(update) => below(base, update.zone.as_deref()?).map(Ok),
        Way::Responder | Way::Command(_) | Way::Hook(_) => None,
    };
    if matches!(way, Way::Responder) {
        return to_responder(md, zones);
    }
    bases(md).iter().filter_map(|(base, _)| one(base)).collect()
}

fn cname(base: &str, target: &str) -> Wanted {
    Wanted {
        purpose: Purpose::Delegation,
        domain: base.to_string(),
        name: dns01::record_name(base),
        rtype: "CNAME",
        value: format!("{target}."),
        is_wildcard: false,
    }
}

/// CNAMEs into a zone of httpd's, unless the record is in one, and the NS records of the zones that are used,
/// for the name servers of the zones above.
fn to_responder(md: &Md, zones: &[DnsZone]) -> Vec<Result<Wanted, String>> {
    let mut found: Vec<Result<Wanted, String>> = Vec::new();
    for (base, _) in bases(md) {
        let record = dns01::record_name(&base);
        let holds = |zone: &&DnsZone| record == zone.zone || record.ends_with(&format!(".{}", zone.zone));
        let nearest = zones.iter().filter(holds).max_by_key(|zone| zone.zone.len());
        // A zone that is the record of another name is for that name alone.
        let shared =
            || zones.iter().find(|zone| !zone.zone.starts_with(&dns01::record_name(""))).or(zones.first());
        let Some(zone) = nearest.or_else(shared) else {
            found.push(Err(format!("{base}: name the zone that httpd answers (MDDnsZone) by --zone")));
            continue;
        };
        if nearest.is_none() {
            found.push(Ok(cname(&base, &format!("{base}.{}", zone.zone))));
        }
        for host in &zone.hosts {
            let (name, value) = (zone.zone.clone(), format!("{host}."));
            let is_it = |known: &Wanted| known.rtype == "NS" && known.name == name && known.value == value;
            if !found.iter().flatten().any(is_it) {
                found.push(Ok(Wanted { name, rtype: "NS", value, ..cname(&base, host) }));
            }
        }
    }
    found
}

pub fn persist(md: &Md, issuer: &Issuer<'_>) -> Vec<Wanted> {
    if !md.ca.challenges.iter().any(|type_| type_ == dns_persist01::TYPE) || issuer.identities.is_empty() {
        return Vec::new();
    }
    let wanted = |(base, is_wildcard): (String, bool)| {
        let expected = expected(issuer, &base, is_wildcard);
        let name = dns_persist01::record_name(&base);
        let line = expected.line();
        let value = line.split_once(" TXT ").map(|(_, value)| value.to_string()).unwrap_or_default();
        Wanted { purpose: Purpose::Persist, domain: base, name, rtype: "TXT", value, is_wildcard }
    };
    bases(md).into_iter().map(wanted).collect()
}

pub fn expected<'a>(issuer: &Issuer<'a>, domain: &'a str, is_for_names_below: bool) -> Expected<'a> {
    Expected { issuers: issuer.identities, account: issuer.account, domain, is_for_names_below }
}

/// Records for the highest names alone: they hold for names below that have none.
pub fn caa(md: &Md, issuer: &Issuer<'_>, methods: &[&str]) -> Vec<Wanted> {
    let Some(identity) = issuer.identities.first() else { return Vec::new() };
    let all = bases(md);
    let is_below = |name: &str| all.iter().any(|(other, _)| name.ends_with(&format!(".{other}")));
    let methods = match methods {
        [] => String::new(),
        methods => format!("; validationmethods={}", methods.join(",")),
    };
    let wanted = |base: &str, is_wildcard: bool| Wanted {
        purpose: Purpose::Caa,
        domain: base.to_string(),
        name: base.to_string(),
        rtype: "CAA",
        value: format!(
            "0 {} \"{identity}; accounturi={}{methods}\"",
            if is_wildcard { "issuewild" } else { "issue" },
            issuer.account
        ),
        is_wildcard,
    };
    let top = all.iter().filter(|(base, _)| !is_below(base));
    top.flat_map(|(base, _)| {
        let has_wildcard =
            all.iter().any(|(other, wild)| *wild && (other == base || other.ends_with(&format!(".{base}"))));
        let wild = has_wildcard.then(|| wanted(base, true));
        std::iter::once(wanted(base, false)).chain(wild)
    })
    .collect()
}

/// `keys`: SHA-256 of their SubjectPublicKeyInfo in hex.
pub fn tlsa(md: &Md, keys: &[(String, Purpose)], port: u16) -> Vec<Wanted> {
    let hosts = md.domains.iter().filter(|name| !names::is_address(name) && !names::is_wildcard(name));
    let wanted = |host: &String| {
        let of = |(key, purpose): &(String, Purpose)| Wanted {
            purpose: *purpose,
            domain: host.clone(),
            name: format!("_{port}._tcp.{host}"),
            rtype: "TLSA",
            value: format!("3 1 1 {key}"),
            is_wildcard: false,
        };
        keys.iter().map(of).collect::<Vec<_>>()
    };
    hosts.flat_map(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::fixture::md;

    const ACCOUNT: &str = "https://ca.test/acct/1";

    fn lines(wanted: &[Wanted]) -> Vec<String> {
        wanted.iter().map(Wanted::line).collect()
    }

    fn identities() -> Vec<String> {
        vec!["ca.test".into(), "ca.example".into()]
    }

    #[test]
    fn caa_records_stand_at_the_highest_names_and_name_account_and_methods() {
        let identities = identities();
        let issuer = Issuer { identities: &identities, account: ACCOUNT };
        let both = md(&["a.test", "www.a.test", "*.a.test", "b.test", "10.0.0.1"]);
        assert_eq!(
            lines(&caa(&both, &issuer, &methods(&both, true))),
            [
                "a.test. CAA 0 issue \"ca.test; accounturi=https://ca.test/acct/1; validationmethods=http-01,tls-alpn-01,dns-01\"",
                "a.test. CAA 0 issuewild \"ca.test; accounturi=https://ca.test/acct/1; validationmethods=http-01,tls-alpn-01,dns-01\"",
                "b.test. CAA 0 issue \"ca.test; accounturi=https://ca.test/acct/1; validationmethods=http-01,tls-alpn-01,dns-01\"",
            ]
        );
        let mut only = md(&["*.a.test"]);
        assert_eq!(methods(&only, true), ["dns-01"]);
        only.ca.challenges = vec!["dns-persist-01".into()];
        assert_eq!(methods(&only, true), ["dns-persist-01"]);
        assert!(caa(&only, &Issuer { identities: &[], account: ACCOUNT }, &[]).is_empty());
        assert_eq!(
            lines(&persist(&only, &issuer)),
            [
                "_validation-persist.a.test. TXT \"ca.test; accounturi=https://ca.test/acct/1; policy=wildcard\""
            ]
        );
    }

    #[test]
    fn dns_01_is_delegated_as_its_way_needs_it() {
        let md = md(&["a.test", "*.a.test", "x.acme.test"]);
        let acme_dns = Way::AcmeDns("https://dns.test".into());
        let account = |base: &str| (base == "a.test").then(|| "123.dns.test".to_string());
        let found = delegation(&md, &acme_dns, account, &[]);
        assert_eq!(found[0].as_ref().unwrap().line(), "_acme-challenge.a.test. CNAME 123.dns.test.");
        assert!(found[1].as_ref().unwrap_err().contains("x.acme.test has no account"));
        let zone = |zone: &str, hosts: &[&str]| DnsZone {
            zone: zone.into(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
        };
        let found = delegation(&md, &Way::Responder, account, &[zone("acme.test", &[])]);
        assert_eq!(found.len(), 1, "what is in the zone needs no CNAME");
        assert_eq!(found[0].as_ref().unwrap().line(), "_acme-challenge.a.test. CNAME a.test.acme.test.");
        assert!(delegation(&md, &Way::Responder, account, &[])[0].is_err());
    }

    #[test]
    fn zones_of_the_responder_are_delegated_to_its_name_servers() {
        let md = md(&["a.test", "*.a.test", "b.test"]);
        let zone = |zone: &str, hosts: &[&str]| DnsZone {
            zone: zone.into(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
        };
        let zones = [
            zone("_acme-challenge.a.test", &["ns.c.test"]),
            zone("acme.c.test", &["ns1.c.test", "ns2.c.test"]),
        ];
        let found = delegation(&md, &Way::Responder, |_| None, &zones);
        let found: Vec<String> = found.iter().map(|found| found.as_ref().unwrap().line()).collect();
        assert_eq!(
            found,
            [
                "_acme-challenge.a.test. NS ns.c.test.",
                "_acme-challenge.b.test. CNAME b.test.acme.c.test.",
                "acme.c.test. NS ns1.c.test.",
                "acme.c.test. NS ns2.c.test.",
            ]
        );
    }

    #[test]
    fn tlsa_records_name_each_key_at_each_host() {
        let md = md(&["a.test", "*.a.test"]);
        let keys = [("ab".to_string(), Purpose::Tlsa), ("cd".to_string(), Purpose::NextTlsa)];
        assert_eq!(
            lines(&tlsa(&md, &keys, 443)),
            ["_443._tcp.a.test. TLSA 3 1 1 ab", "_443._tcp.a.test. TLSA 3 1 1 cd"]
        );
    }
}
