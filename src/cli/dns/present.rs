// SPDX-License-Identifier: Apache-2.0
//! Whether a record is in the DNS. Asks resolvers, as anybody does. Imports [`wanted`](super::wanted).

use super::wanted::{Issuer, Purpose, Wanted, expected};
use crate::challenge::dns_persist01::Verdict;
use crate::challenge::dns_persist01::look_up::LookUp;
use crate::dns::caa::{self, Applicant, Ruling};
use crate::dns::{Data, Dns, Error, Name, Resolver, Rtype};
use crate::time::Timestamp;
use data_encoding::HEXLOWER;
use std::net::SocketAddr;

/// What the DNS says of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    There,
    Missing,
    /// Another one is in its place.
    Wrong(String),
    Unknown(String),
}

impl Presence {
    pub fn token(&self) -> &'static str {
        match self {
            Presence::There => "there",
            Presence::Missing => "missing",
            Presence::Wrong(_) => "wrong",
            Presence::Unknown(_) => "unknown",
        }
    }

    pub fn detail(&self) -> Option<&str> {
        match self {
            Presence::Wrong(text) | Presence::Unknown(text) => Some(text),
            Presence::There | Presence::Missing => None,
        }
    }
}

/// Who is asked.
pub struct Asker<'a> {
    pub dns: &'a dyn Dns,
    pub servers: &'a [SocketAddr],
    pub now: Timestamp,
}

impl Asker<'_> {
    pub fn look(&self, wanted: &Wanted, issuer: Option<&Issuer<'_>>, methods: &[&str]) -> Presence {
        let name = match Name::parse(&wanted.name) {
            Ok(name) => name,
            Err(error) => return Presence::Unknown(error.to_string()),
        };
        let resolver = Resolver::new(self.dns, self.servers);
        let found = match (wanted.purpose, issuer) {
            (Purpose::Delegation, _) if wanted.rtype == "NS" => servers(&resolver, &name, &wanted.value),
            (Purpose::Delegation, _) => delegation(&resolver, &name, &wanted.value),
            (Purpose::Tlsa | Purpose::NextTlsa, _) => tlsa(&resolver, &name, &wanted.value),
            (Purpose::Caa, Some(issuer)) => caa_of(&resolver, &name, wanted, issuer, methods),
            (Purpose::Persist, Some(issuer)) => return self.persist(wanted, issuer),
            (Purpose::Caa | Purpose::Persist, None) => return Presence::Missing,
        };
        found.unwrap_or_else(|error| Presence::Unknown(error.to_string()))
    }

    fn persist(&self, wanted: &Wanted, issuer: &Issuer<'_>) -> Presence {
        let look_up = LookUp::new(self.dns, self.servers, &[]);
        match look_up.judge(&expected(issuer, &wanted.domain, wanted.is_wildcard), self.now) {
            Ok(found) => match found.verdict {
                Verdict::Fine { .. } => Presence::There,
                Verdict::Missing(_) => Presence::Missing,
                Verdict::Wrong { reason, .. } => Presence::Wrong(reason),
            },
            Err(error) => Presence::Unknown(error.to_string()),
        }
    }
}

fn delegation(resolver: &Resolver<'_>, name: &Name, target: &str) -> Result<Presence, Error> {
    let answer = resolver.ask(name, Rtype::CNAME)?;
    let leads = answer.answers_of(name).find_map(|data| match data {
        Data::Cname(target) => Some(target.clone()),
        _ => None,
    });
    Ok(match leads {
        None => Presence::Missing,
        Some(found) if found.to_string().eq_ignore_ascii_case(target.trim_end_matches('.')) => {
            Presence::There
        }
        Some(found) => Presence::Wrong(format!("it leads to {found}")),
    })
}

fn servers(resolver: &Resolver<'_>, zone: &Name, host: &str) -> Result<Presence, Error> {
    let answer = resolver.ask(zone, Rtype::NS)?;
    let hosts: Vec<String> = answer
        .answers_of(zone)
        .filter_map(|data| match data {
            Data::Ns(host) => Some(host.to_string()),
            _ => None,
        })
        .collect();
    let wanted = host.trim_end_matches('.');
    Ok(match hosts.as_slice() {
        [] => Presence::Missing,
        hosts if hosts.iter().any(|host| host.eq_ignore_ascii_case(wanted)) => Presence::There,
        hosts => Presence::Wrong(format!("it is delegated to {}", hosts.join(", "))),
    })
}

fn tlsa(resolver: &Resolver<'_>, name: &Name, value: &str) -> Result<Presence, Error> {
    let answer = resolver.ask(name, Rtype::TLSA)?;
    let texts: Vec<String> = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            Data::Other(Rtype::TLSA, data) => match data.as_slice() {
                [usage, selector, matching, hash @ ..] => {
                    Some(format!("{usage} {selector} {matching} {}", HEXLOWER.encode(hash)))
                }
                _ => None,
            },
            _ => None,
        })
        .collect();
    Ok(match texts.as_slice() {
        [] => Presence::Missing,
        texts if texts.iter().any(|text| text == value) => Presence::There,
        texts => Presence::Wrong(format!("there is {}", texts.join(", "))),
    })
}

fn caa_of(
    resolver: &Resolver<'_>,
    name: &Name,
    wanted: &Wanted,
    issuer: &Issuer<'_>,
    methods: &[&str],
) -> Result<Presence, Error> {
    let Some(relevant) = caa::find(resolver, name)? else { return Ok(Presence::Missing) };
    let applicant = |account, methods| Applicant {
        identities: issuer.identities,
        account,
        methods,
        is_wildcard: wanted.is_wildcard,
    };
    let ruling = caa::rule(&relevant.records, &applicant(Some(issuer.account), methods));
    let forbids = |what: String| Ok(Presence::Wrong(format!("the records of {} {what}", relevant.at)));
    match ruling {
        // Another account must not get through.
        Ruling::Allowed => match caa::rule(&relevant.records, &applicant(None, methods)) {
            Ruling::OtherAccounts(_) => Ok(Presence::There),
            _ => Ok(Presence::Missing),
        },
        Ruling::OtherCas(others) => forbids(format!("allow other CAs alone: {}", others.join(", "))),
        Ruling::OtherAccounts(others) => {
            forbids(format!("allow other accounts alone: {}", others.join(", ")))
        }
        Ruling::OtherMethods(others) => forbids(format!("allow other methods alone: {}", others.join(", "))),
        Ruling::Unknown(tag) => forbids(format!("have a critical tag that CAs do not know: '{tag}'")),
    }
}
