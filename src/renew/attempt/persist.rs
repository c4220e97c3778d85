// SPDX-License-Identifier: Apache-2.0
//! The records of dns-persist-01 that an order needs: looked up before the CA is asked, because only the
//! admin can set them. Without them, nothing is started and the renewal waits. Imports
//! `challenge::dns_persist01`.

use super::choice::choose;
use super::context::{Pause, Renewal};
use crate::acme::objects::Authorization;
use crate::acme::record_terms::is_account;
use crate::challenge::dns_persist01::look_up::{Error as LookUpError, Found, LookUp};
use crate::challenge::dns_persist01::{self, Expected, Verdict};
use crate::challenge::dns01::server::Patient;
use crate::managed::saved_order::Wait;
use crate::model::ledger::{Ledger, RecordEnd};
use crate::model::{Waiting, job};
use crate::renew::decide::error::Error;
use crate::renew::decide::record_wait::{domain_of, is_for_names_below, look_up_after};
use crate::time::Timestamp;

/// A challenge that cannot be answered yet.
struct Lacking {
    /// Of the challenge.
    url: String,
    /// The record and what is wrong with it.
    reason: String,
    /// To be set in the DNS; `None`: no record would do.
    line: Option<String>,
    /// The CA offers nothing else that can be answered.
    is_all: bool,
}

/// A record that was found.
enum End {
    At(RecordEnd),
    /// The name of one without an end.
    Never(String),
}

/// What the DNS has for the challenges of an order.
#[derive(Default)]
pub(super) struct Records {
    /// URLs of challenges.
    found: Vec<String>,
    lacking: Vec<Lacking>,
    ends: Vec<End>,
}

impl Records {
    /// Why the challenge with this URL cannot be answered.
    pub(super) fn obstacle(&self, url: &str) -> Option<String> {
        if self.found.iter().any(|found| found == url) {
            return None;
        }
        let lacking = self.lacking.iter().find(|lacking| lacking.url == url);
        let told = |lacking: &Lacking| match &lacking.line {
            Some(line) => format!("{}; the record to set is: {line}", lacking.reason),
            None => lacking.reason.clone(),
        };
        Some(lacking.map_or_else(|| "its record was not looked up".into(), told))
    }

    /// The wait for the records that only the admin can set.
    pub(super) fn wait(&self, renewal: &Renewal<'_>, before: Option<&Waiting>) -> Option<Wait> {
        let awaited: Vec<&Lacking> = self.lacking.iter().filter(|l| l.is_all && l.line.is_some()).collect();
        let first = awaited.first()?;
        let mut lines: Vec<String> = Vec::new();
        for line in awaited.iter().filter_map(|lacking| lacking.line.as_ref()) {
            if !lines.contains(line) {
                lines.push(line.clone());
            }
        }
        let what = match lines.len() {
            0 | 1 => first.reason.clone(),
            2 => format!("{}; and for one more record", first.reason),
            count => format!("{}; and for {} more records", first.reason, count - 1),
        };
        lines.truncate(job::RECORDS_MAX);
        let now = renewal.now();
        let before = before.filter(|waiting| !waiting.records.is_empty() && waiting.since <= now);
        let since = before.map_or(now, |waiting| waiting.since);
        let until = now.plus(look_up_after(now.since(since))).ceil();
        Some(Wait { waiting: Waiting { what, since, next: Some(until), records: lines }, until })
    }
}

/// Looks for the records of all these authorizations that may be answered by them.
pub(super) fn look_up(
    renewal: &Renewal<'_>,
    account: &str,
    authorizations: &[Authorization],
) -> Result<Records, Error> {
    let mut records = Records::default();
    for authorization in authorizations {
        // One that cannot be answered at all is reported when it is to be.
        let choice = choose(renewal, authorization).unwrap_or_default();
        let is_all = choice.len() == 1;
        let Some(challenge) = choice.into_iter().find(|c| c.type_ == dns_persist01::TYPE) else { continue };
        let domain = &authorization.identifier.value;
        // One record is for the name and the wildcard.
        let is_for_names_below = authorizations.iter().any(|a| a.wildcard && a.identifier.value == *domain);
        let account = challenge.record.account.as_deref().unwrap_or(account);
        let expected = Expected { issuers: &challenge.record.issuers, account, domain, is_for_names_below };
        records.look_for(renewal, &challenge.url, &expected, is_all)?;
    }
    records.note_ends(renewal);
    Ok(records)
}

impl Records {
    fn look_for(
        &mut self,
        renewal: &Renewal<'_>,
        url: &str,
        expected: &Expected<'_>,
        is_all: bool,
    ) -> Result<(), Error> {
        let url = url.to_string();
        if expected.issuers.is_empty() || !is_account(expected.account) {
            let reason = "the CA does not say which record it wants, or none could have its account".into();
            self.lacking.push(Lacking { url, reason, line: None, is_all });
            return Ok(());
        }
        let name = dns_persist01::record_name(expected.domain);
        match judge(renewal, expected) {
            Ok(Found { verdict: Verdict::Fine { until }, domain }) => {
                self.found.push(url);
                self.ends.push(End::new(expected, &domain, until));
            }
            Ok(Found { verdict: Verdict::Missing(line), .. }) => {
                let reason = format!("the TXT record of {name}, where none is for this CA");
                self.lacking.push(Lacking { url, reason, line: Some(line), is_all });
            }
            Ok(Found { verdict: Verdict::Wrong { reason, line }, .. }) => {
                let reason = format!("the TXT record of {name} to be corrected: {reason}");
                self.lacking.push(Lacking { url, reason, line: Some(line), is_all });
            }
            Err(LookUpError::Stopped) => return Err(Error::Stopped),
            // The CA may see what this machine does not.
            Err(LookUpError::Unknown(reason)) => {
                crate::log!(
                    Info,
                    "md[{}]: the TXT record of {name} cannot be looked up, the CA is asked all the same: {reason}",
                    renewal.name()
                );
                self.found.push(url);
            }
        }
        Ok(())
    }

    /// Notes until when the records hold, for warnings long after this order.
    fn note_ends(&self, renewal: &Renewal<'_>) {
        if !self.ends.is_empty() {
            change_ledger(renewal, |ledger| self.ends.iter().for_each(|end| end.note(ledger)));
        }
    }
}

impl End {
    fn new(expected: &Expected<'_>, domain: &str, until: Option<Timestamp>) -> End {
        let (name, issuers) = (dns_persist01::record_name(domain), expected.issuers.to_vec());
        match until {
            Some(until) => End::At(RecordEnd { name, until, issuers, account: expected.account.into() }),
            None => End::Never(name),
        }
    }

    fn note(&self, ledger: &mut Ledger) {
        match self {
            End::At(record) => ledger.note_record(record.clone()),
            End::Never(name) => ledger.forget_record(name),
        }
    }
}

fn change_ledger(renewal: &Renewal<'_>, change: impl FnOnce(&mut Ledger)) {
    let staging = renewal.staging();
    let before = staging.ledger();
    let mut ledger = before.clone();
    change(&mut ledger);
    if ledger != before
        && let Err(error) = staging.save_ledger(&ledger)
    {
        crate::log!(Warn, "md[{}]: cannot note until when a record holds: {error}", renewal.name());
    }
}

/// Looks up a record that ended at a known time: the admin may have set a later one since.
pub(crate) fn look_again(renewal: &Renewal<'_>, record: &RecordEnd) {
    let (Some(domain), names) = (domain_of(record), &renewal.target.md.domains) else { return };
    let is_for_names_below = is_for_names_below(domain, names);
    let expected =
        Expected { issuers: &record.issuers, account: &record.account, domain, is_for_names_below };
    // What is wrong or unknown is as good as the end that is known.
    if let Ok(Found { verdict: Verdict::Fine { until }, domain }) = judge(renewal, &expected) {
        change_ledger(renewal, |ledger| {
            ledger.forget_record(&record.name);
            End::new(&expected, &domain, until).note(ledger);
        });
    }
}

fn judge(renewal: &Renewal<'_>, expected: &Expected<'_>) -> Result<Found, LookUpError> {
    let (context, clock, resolvers) = (renewal.context, renewal.clock(), renewal.context.resolvers());
    let dns = Patient { dns: context.dns(), silent: context.answering.silent(), clock };
    renewal.pause(Pause::Command, || {
        LookUp::new(&dns, &resolvers, &renewal.target.dns_servers).judge(expected, renewal.now())
    })
}
