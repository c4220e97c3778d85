// SPDX-License-Identifier: Apache-2.0
//! What a renewal that is due is about, as the other nodes of a fleet have to know it. Pure.

use super::due::{self, Decision};
use super::next::Inputs;
use super::reason::Reason;
use crate::crypto::CertInfo;
use crate::managed::fit::Unfit;
use crate::managed::peers::Need;
use crate::managed::serve::Certs;
use crate::time::Timestamp;

/// With less than this part of its lifetime left, a certificate is late.
const LATE_PART: u32 = 20;

/// `certs`: all that are in use, also those of keys that are not configured.
pub fn need(inputs: &Inputs<'_>, certs: &Certs, now: Timestamp) -> Need {
    let is_good = |cert: &&CertInfo| cert.not_after > now && !(inputs.is_revoked)(cert);
    let is_late = |cert: &CertInfo| now >= late_from(cert);
    let is_bare = !certs.all().any(|cert| is_good(&cert));
    let is_different = matches!(
        inputs.need(now),
        Decision::Now(Reason::FormerCa(_) | Reason::Unfit(_, Unfit::MustStaple | Unfit::Missing))
    );
    let would_do = |cert: &CertInfo| {
        is_good(&cert) && inputs.md.is_covered_by(&cert.dns_names) && now < due::window_of(inputs.md, cert)
    };
    Need {
        is_asked: inputs.requested().is_some(),
        is_bare,
        is_late: certs.all().any(is_late),
        is_only_different: is_different && !is_bare && certs.all().all(would_do),
        errors: inputs.job.errors,
        failed_at: inputs.job.last_run.filter(|_| inputs.job.errors > 0 && inputs.job.waiting.is_none()),
    }
}

fn late_from(cert: &CertInfo) -> Timestamp {
    cert.not_after.minus(cert.not_after.since(cert.not_before) / LATE_PART)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::certificates::KeyedCert;
    use crate::model::job::Waiting;
    use crate::model::{Job, KeySpec, Md, Renew, RequestState, Requested};
    use crate::renew::decide::rate_limits::RateLimits;
    use crate::renew::decide::retry::Retry;
    use crate::time::DAY;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const CA: &str = "https://ca.test/dir";

    /// Of 100 days, of which this many are left.
    fn cert(left: i64) -> CertInfo {
        let not_after = Timestamp::from_unix(NOW.unix() + left * 86_400);
        CertInfo {
            dns_names: vec!["a.test".into()],
            not_before: not_after.minus(DAY * 100),
            not_after,
            ..CertInfo::default()
        }
    }

    fn md() -> Md {
        let mut md = Md { name: "a.test".into(), domains: vec!["a.test".into()], ..Md::default() };
        (md.ca.url, md.ca.urls) = (Some(CA.into()), vec![CA.into()]);
        md
    }

    fn of(md: &Md, certs: &Certs, is_revoked: bool, is_asked: bool) -> [bool; 4] {
        let need = of_job(md, certs, is_revoked, is_asked, Job::new("a.test"));
        [need.is_asked, need.is_bare, need.is_late, need.is_only_different]
    }

    fn of_job(md: &Md, certs: &Certs, is_revoked: bool, is_asked: bool, mut job: Job) -> Need {
        let begun = Requested::begin(None, "1", RequestState::Accepted, None, NOW);
        let (renew, accepted) = (Some(Renew::default()), Some(NOW));
        job.request = is_asked.then_some(Requested { renew, accepted, ..begun });
        let keyed: &[KeyedCert] = certs;
        let inputs = Inputs {
            md,
            certs: keyed,
            in_use: true,
            is_revoked: &|_| is_revoked,
            live: None,
            advice: &[],
            has_asked: true,
            job: &job,
            rate_limits: &RateLimits::default(),
            issuance: None,
            retry: Retry { delay: Duration::from_secs(30), failover: 13 },
            check_interval: DAY,
            random: 0.5,
        };
        need(&inputs, certs, NOW)
    }

    fn rsa(cert: CertInfo) -> (KeySpec, CertInfo) {
        (KeySpec::default(), cert)
    }

    #[test]
    fn it_says_how_often_it_has_failed_and_when_last_unless_a_try_is_under_way() {
        let of = |job: &Job| {
            let need = of_job(&md(), &Certs::default(), false, false, job.clone());
            (need.errors, need.failed_at)
        };
        let mut job = Job { last_run: Some(NOW), ..Job::new("a.test") };
        assert_eq!(of(&job), (0, None));
        job.errors = 2;
        assert_eq!(of(&job), (2, Some(NOW)));
        job.waiting = Some(Waiting { what: "validating".into(), since: NOW, next: None, records: vec![] });
        assert_eq!(of(&job), (2, None));
    }

    #[test]
    fn it_says_how_urgent_a_renewal_is_and_whether_settings_alone_differ() {
        let keys = |certs: Vec<(KeySpec, CertInfo)>| Certs::arrange(&md().keys(), certs);
        let ec = KeySpec::Ec("P-256".into());
        let with_ec = Md { key_specs: vec![ec.clone()], ..md() };
        let stapled = Md { must_staple: true, ..md() };
        let mut moved = md();
        moved.ca.urls = vec!["https://new.test/dir".into()];
        let two = Md { domains: vec!["a.test".into(), "b.test".into()], ..md() };
        for (what, md, certs, is_revoked, expected) in [
            ("nothing there", md(), keys(vec![]), false, [false, true, false, false]),
            ("expired", md(), keys(vec![rsa(cert(-1))]), false, [false, true, true, false]),
            ("revoked", md(), keys(vec![rsa(cert(90))]), true, [false, true, false, false]),
            ("in its window", md(), keys(vec![rsa(cert(20))]), false, [false, false, false, false]),
            ("in its last twentieth", md(), keys(vec![rsa(cert(5))]), false, [false, false, true, false]),
            ("other names", two, keys(vec![rsa(cert(90))]), false, [false, false, false, false]),
            ("must-staple", stapled, keys(vec![rsa(cert(90))]), false, [false, false, false, true]),
            ("another CA", moved.clone(), keys(vec![rsa(cert(90))]), false, [false, false, false, true]),
            ("another CA, and in its window", moved, keys(vec![rsa(cert(20))]), false, [false; 4]),
            (
                "another key",
                with_ec,
                Certs::arrange(&[ec], [rsa(cert(90))]),
                false,
                [false, false, false, true],
            ),
        ] {
            assert_eq!(of(&md, &certs, is_revoked, false), expected, "{what}");
        }
        assert_eq!(of(&md(), &keys(vec![rsa(cert(90))]), false, true), [true, false, false, false]);
    }
}
