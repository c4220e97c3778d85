// SPDX-License-Identifier: Apache-2.0
//! The section of `server-status?auto` for scripts: one line for each fact. Keys are those of the C module. A
//! value cannot begin a line of its own.

use super::Monitor;
use super::domain::Domain;
use super::labels::{self, PENDING};
use super::printed::Facts;
use super::snapshot::Snapshots;
use crate::model::State;
use crate::model::job::status;
use crate::renew::decide::due::Decision;
use crate::time::Timestamp;

/// All managed domains, sorted by name, after the counts of them.
pub fn certificates(snapshots: &Snapshots, monitor: &Monitor, now: Timestamp) -> String {
    let (mut counts, mut entries) = (Counts::default(), Lines::default());
    snapshots.each_printed(now, |domain, kept| {
        let index = counts.total;
        let facts = match kept.facts.take() {
            Some(facts) if facts.monitor == *monitor => facts,
            _ => print(index, domain, monitor, now),
        };
        counts.add(&facts);
        entries.0.push_str(&facts.lines);
        if let Some((key, at)) = facts.clock {
            entries.fact(&prefix(index), key, &at.since(now).as_secs().to_string());
        }
        kept.facts = Some(facts);
    });
    let mut out = Lines::default();
    for (key, count) in [
        ("ManagedCertificatesTotal", counts.total),
        ("ManagedCertificatesOK", counts.complete),
        ("ManagedCertificatesRenew", counts.due),
        ("ManagedCertificatesErrored", counts.failing),
        ("ManagedCertificatesReady", counts.ready),
    ] {
        out.fact("", key, &count.to_string());
    }
    out.0 + &entries.0
}

#[derive(Default)]
struct Counts {
    total: usize,
    complete: usize,
    due: usize,
    failing: usize,
    ready: usize,
}

impl Counts {
    fn add(&mut self, facts: &Facts) {
        self.total += 1;
        self.complete += usize::from(facts.is_complete);
        self.due += usize::from(facts.is_due);
        self.failing += usize::from(facts.is_failing);
        self.ready += usize::from(facts.is_ready);
    }
}

/// `index` is the domain's place among all by name, which never changes.
fn print(index: usize, domain: &Domain<'_>, monitor: &Monitor, now: Timestamp) -> Facts {
    let mut out = Lines::default();
    facts(&prefix(index), domain, monitor, now, &mut out);
    let need = &domain.need.decision;
    Facts {
        lines: out.0.into_boxed_str(),
        clock: match (&domain.renewal, need) {
            (Some(renewal), _) => renewal.job.next_run.map(|at| ("ActivityNextRun", at)),
            (None, Decision::At(at, _)) => Some(("ActivityRenew", *at)),
            (None, _) => None,
        },
        is_complete: domain.state().0 == State::Complete,
        is_due: matches!(need, Decision::Now(_)),
        is_failing: domain.is_failing(),
        is_ready: domain.ready().is_some(),
        monitor: monitor.clone(),
    }
}

fn prefix(index: usize) -> String {
    format!("ManagedDomain[{index}]")
}

fn facts(prefix: &str, domain: &Domain<'_>, monitor: &Monitor, now: Timestamp, out: &mut Lines) {
    let md = &domain.managed.md;
    let mut fact = |key: &str, value: &str| out.fact(prefix, key, value);
    fact("Domain", &md.name);
    for (index, name) in md.domains.iter().enumerate() {
        fact(&format!("Names[{index}]"), name);
    }
    fact("Status", &labels::status(domain, now));
    fact("StatusWord", domain.standing(now).token());
    labels::remark(domain, now).into_iter().for_each(|remark| fact("Remark", remark));
    let all = domain.all_certs();
    let certs = || all.iter().filter_map(|(_, cert)| cert.as_ref());
    if let Some(from) = certs().map(|cert| cert.not_before).max().filter(|from| *from > now) {
        fact("ValidFrom", &labels::day(from));
    }
    if let Some(until) = certs().map(|cert| cert.not_after).min() {
        fact("ValidUntil", &labels::day(until));
    }
    if let Some((name, url)) = labels::authority(domain) {
        fact("CAName", &name);
        fact("CAURL", &url);
    }
    if md.stapling {
        fact("Stapling", "on");
    }
    for (label, cert) in domain.labeled() {
        fact("CheckAtType", &label);
        fact("CheckAtName", &monitor.name);
        fact("CheckAtURL", &format!("{}{}", monitor.url, cert.fingerprint));
        fact("CheckAtFingerprint", &cert.fingerprint);
    }
    if domain.renewal.is_none() && matches!(domain.need.decision, Decision::Now(_)) {
        fact("Activity", PENDING);
    }
    domain.renewing.iter().for_each(|renewing| fact("ActivityNode", &renewing.node));
    if let Some(renewal) = &domain.renewal {
        let job = &renewal.job;
        if job.last.status != status::OK {
            fact("ActivityLastStatus", &status::description(job.last.status));
        }
        job.last.problem.iter().for_each(|problem| fact("ActivityLastProblem", problem));
        fact("ActivityFinished", if job.finished { "yes" } else { "no" });
        job.last.detail.iter().for_each(|detail| fact("ActivityLastDetail", detail));
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    /// A line break in a value would begin a fact of its own: it becomes a space.
    fn fact(&mut self, prefix: &str, key: &str, value: &str) {
        [prefix, key, ": "].iter().for_each(|part| self.0.push_str(part));
        self.0.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c }));
        self.0.push('\n');
    }
}
