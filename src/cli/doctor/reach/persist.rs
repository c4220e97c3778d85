// SPDX-License-Identifier: Apache-2.0
//! The record of dns-persist-01, which only the admin can set: whether it is there, and right for this CA and
//! account. Imports `challenge::dns_persist01` and `finding`.

use crate::challenge::dns_persist01::look_up::LookUp;
use crate::challenge::dns_persist01::{Expected, Verdict, record_name};
use crate::cli::doctor::finding::Finding;
use crate::time::Timestamp;

const CHECK: &str = "dns-persist-01-record";

/// What the record has to have.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Without `*.`.
    pub name: &'a str,
    /// The names of the CA, or why they are not known.
    pub issuers: Result<&'a [String], &'a str>,
    pub account: Option<&'a str>,
    /// The certificate has `*.NAME`.
    pub has_wildcard: bool,
}

pub fn look(asked: &Asked<'_>, look_up: &LookUp<'_>, now: Timestamp) -> Finding {
    let untold = |reason: &str, remedy: &str| {
        let record = record_name(asked.name);
        Finding::cannot_be_told(
            CHECK,
            asked.name,
            format!("Which record {record} needs is not known: {reason}."),
            remedy,
        )
    };
    let issuers = match asked.issuers {
        Ok([]) => {
            return untold(
                "the CA's directory does not have its names",
                "Have a renewal begin: its status shows the record.",
            );
        }
        Ok(issuers) => issuers,
        Err(reason) => return untold(reason, "Check the connection to the CA."),
    };
    let Some(account) = asked.account else {
        return untold(
            "no account is registered yet",
            "Have a renewal begin ('a2md renew'), which registers one.",
        );
    };
    let expected = Expected { issuers, account, domain: asked.name, is_for_names_below: asked.has_wildcard };
    let found = match look_up.judge(&expected, now) {
        Ok(found) => found,
        Err(error) => {
            return Finding::cannot_be_told(
                CHECK,
                asked.name,
                format!("The record {} cannot be looked up: {error}.", record_name(asked.name)),
                "Check the name servers of the zone, and the resolvers in /etc/resolv.conf.",
            );
        }
    };
    judged(asked, &record_name(&found.domain), found.verdict)
}

fn judged(asked: &Asked<'_>, record: &str, verdict: Verdict) -> Finding {
    match verdict {
        Verdict::Fine { until: None } => {
            Finding::works(CHECK, asked.name, format!("{record} is there and has no end."))
        }
        Verdict::Fine { until: Some(until) } => Finding::works(
            CHECK,
            asked.name,
            format!("{record} is there and holds until {}.", until.to_http_date()),
        ),
        Verdict::Missing(line) => Finding::fails(
            CHECK,
            asked.name,
            format!("{record} has no record for this CA."),
            format!("Set this record: {line}"),
        ),
        Verdict::Wrong { reason, line } => Finding::fails(
            CHECK,
            asked.name,
            format!("The record {record} does not fit: {reason}."),
            format!("Set this one in its place: {line}"),
        ),
    }
}
