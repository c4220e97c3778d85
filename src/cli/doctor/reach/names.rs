// SPDX-License-Identifier: Apache-2.0
//! The addresses of a name as a CA finds them: A and AAAA by resolvers, and never by /etc/hosts. Imports `dns`
//! and `finding`.

use crate::cli::doctor::finding::Finding;
use crate::dns::{Data, Error, Name, OptRcode, Resolver, Rtype};
use std::net::IpAddr;

/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 16;

/// What the DNS has of one family.
enum Answer {
    Addresses(Vec<IpAddr>),
    /// The name does not exist.
    Unknown,
    Failed(Error),
}

/// Looks up the addresses of a name. Adds a finding where there is none, or where one family is not known.
pub fn look_up(resolver: &Resolver<'_>, name: &str, out: &mut Vec<Finding>) -> Vec<IpAddr> {
    if let Ok(address) = name.parse() {
        return vec![address];
    }
    let Ok(parsed) = Name::parse(name) else { return Vec::new() };
    let answers = [ask(resolver, &parsed, Rtype::A), ask(resolver, &parsed, Rtype::AAAA)];
    if answers.iter().any(|answer| matches!(answer, Answer::Unknown)) {
        out.push(unknown(name));
        return Vec::new();
    }
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Answer::Addresses(addresses) => found.extend(addresses),
            Answer::Failed(error) => failed.push(error),
            Answer::Unknown => {}
        }
    }
    match failed.first() {
        Some(error) => out.push(unresolved(name, error, found.is_empty())),
        None if found.is_empty() => out.push(Finding::fails(
            "name-no-address",
            name,
            format!("{name} is in the DNS and has neither an A nor an AAAA record."),
            format!("Set an A record, an AAAA record or both for {name} with the addresses of this server."),
        )),
        None => {
            let list: Vec<String> = found.iter().map(ToString::to_string).collect();
            out.push(Finding::works(
                "name-addresses",
                name,
                format!("{name} has the addresses {}.", list.join(", ")),
            ));
        }
    }
    found
}

/// The addresses alone, for a redirect's target.
pub fn addresses(resolver: &Resolver<'_>, name: &str) -> Vec<IpAddr> {
    look_up(resolver, name, &mut Vec::new())
}

fn ask(resolver: &Resolver<'_>, name: &Name, rtype: Rtype) -> Answer {
    let answer = match resolver.ask(name, rtype) {
        Ok(answer) if answer.rcode == OptRcode::NXDOMAIN => return Answer::Unknown,
        Ok(answer) => answer,
        Err(error) => return Answer::Failed(error),
    };
    let address = |data: &Data| match data {
        Data::A(address) => Some(IpAddr::from(*address)),
        Data::Aaaa(address) => Some(IpAddr::from(*address)),
        _ => None,
    };
    let found = answer.answers.iter().filter_map(|record| address(&record.data));
    Answer::Addresses(found.take(ADDRESSES_MAX).collect())
}

fn unknown(name: &str) -> Finding {
    Finding::fails(
        "name-unknown",
        name,
        format!("The DNS has no name {name} (NXDOMAIN)."),
        format!(
            "Set an A or AAAA record for {name} at the name servers of its domain, or remove the name from the managed domain; \
             check the spelling, and that the domain is delegated ('dig +trace {name}')."
        ),
    )
}

/// `is_all`: nothing is known of the other family either.
fn unresolved(name: &str, error: &Error, is_all: bool) -> Finding {
    let evidence = format!("The addresses of {name} cannot be looked up: {error}.");
    let is_refused = matches!(error, Error::Refused { rcode: OptRcode::SERVFAIL, .. });
    let check = "name-unresolved";
    if is_refused && is_all {
        return Finding::fails(
            check,
            name,
            evidence,
            format!(
                "Ask the name servers of the domain one by one ('dig +trace {name}'): they do not answer, or DNSSEC fails \
                 ('delv {name}' says why). A CA gets no answer either."
            ),
        );
    }
    Finding::cannot_be_told(
        check,
        name,
        evidence,
        "Check the resolvers of this machine in /etc/resolv.conf, or name others in MDDnsPropagation. A CA asks its own.",
    )
}
