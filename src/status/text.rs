//! The section of `server-status?auto`: one line for each fact, for scripts. Keys are those of the C module.

use super::Monitor;
use super::snapshot::Domain;
use super::words;
use crate::model::State;
use crate::model::job::status;
use crate::renew::policy::Decision;
use crate::time::Timestamp;

/// All managed domains, sorted by name, after the counts of them.
pub fn certificates(domains: &[Domain<'_>], monitor: &Monitor, now: Timestamp) -> String {
    let mut out = Lines::default();
    let count = |test: &dyn Fn(&Domain<'_>) -> bool| domains.iter().filter(|domain| test(domain)).count();
    out.fact("", "ManagedCertificatesTotal", &domains.len().to_string());
    out.fact("", "ManagedCertificatesOK", &count(&|d| d.state().0 == State::Complete).to_string());
    out.fact("", "ManagedCertificatesRenew", &count(&|d| matches!(d.need, Decision::Now(_))).to_string());
    out.fact("", "ManagedCertificatesErrored", &count(&|d| d.is_failing()).to_string());
    out.fact("", "ManagedCertificatesReady", &count(&|d| d.ready().is_some()).to_string());
    for (index, domain) in domains.iter().enumerate() {
        entry(&format!("ManagedDomain[{index}]"), domain, monitor, now, &mut out);
    }
    out.0
}

fn entry(prefix: &str, domain: &Domain<'_>, monitor: &Monitor, now: Timestamp, out: &mut Lines) {
    let md = &domain.managed.md;
    let mut fact = |key: &str, value: &str| out.fact(prefix, key, value);
    fact("Domain", &md.name);
    for (index, name) in md.domains.iter().enumerate() {
        fact(&format!("Names[{index}]"), name);
    }
    fact("Status", &words::status(domain, now).0);
    let certs = || domain.certs().iter().filter_map(|(_, cert)| cert.as_ref());
    if let Some(from) = certs().map(|cert| cert.not_before).max().filter(|from| *from > now) {
        fact("ValidFrom", &words::day(from));
    }
    if let Some(until) = certs().map(|cert| cert.not_after).min() {
        fact("ValidUntil", &words::day(until));
    }
    if let Some((name, url)) = words::authority(domain) {
        fact("CAName", &name);
        fact("CAURL", &url);
    }
    fact("Stapling", if md.stapling { "on" } else { "off" });
    for (label, cert) in domain.labeled(domain.certs()) {
        fact("CheckAtType", &label);
        fact("CheckAtName", &monitor.name);
        fact("CheckAtURL", &format!("{}{}", monitor.url, cert.fingerprint));
        fact("CheckAtFingerprint", &cert.fingerprint);
    }
    if let Some(renewal) = &domain.renewal {
        let job = &renewal.job;
        if job.last.status != status::OK {
            fact("ActivityLastStatus", &status::description(job.last.status));
        }
        job.last.problem.iter().for_each(|problem| fact("ActivityLastProblem", problem));
        fact("ActivityFinished", if job.finished { "yes" } else { "no" });
        job.last.detail.iter().for_each(|detail| fact("ActivityLastDetail", detail));
        if let Some(at) = job.next_run {
            fact("ActivityNextRun", &at.since(now).as_secs().to_string());
        }
    } else if let Decision::At(at, _) = &domain.need {
        fact("ActivityRenew", &at.since(now).as_secs().to_string());
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    /// Nothing that comes from elsewhere can begin a line of its own.
    fn fact(&mut self, prefix: &str, key: &str, value: &str) {
        [prefix, key, ": "].iter().for_each(|part| self.0.push_str(part));
        self.0.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c }));
        self.0.push('\n');
    }
}
