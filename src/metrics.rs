// SPDX-License-Identifier: Apache-2.0
//! Counters since the start of the configuration, for metrics: renewals and their failures, requests to CAs
//! and their duration, requests to OCSP responders, all of them counted by the renewing child; and DNS
//! questions, counted by every child. All processes read. Callers choose the memory of the counters.

use crate::acme::problem::Kind;
use crate::counters::Counters;
use crate::http::{Error, Request, Response, Transport};
use crate::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Problem types as metrics name them. The last two are for other types, and for no type at all.
const PROBLEMS: &[(Option<Kind>, &str)] = &[
    (Some(Kind::AccountDoesNotExist), "accountDoesNotExist"),
    (Some(Kind::AlreadyReplaced), "alreadyReplaced"),
    (Some(Kind::AlreadyRevoked), "alreadyRevoked"),
    (Some(Kind::BadCsr), "badCSR"),
    (Some(Kind::BadNonce), "badNonce"),
    (Some(Kind::BadPublicKey), "badPublicKey"),
    (Some(Kind::BadRevocationReason), "badRevocationReason"),
    (Some(Kind::BadSignatureAlgorithm), "badSignatureAlgorithm"),
    (Some(Kind::Caa), "caa"),
    (Some(Kind::Compound), "compound"),
    (Some(Kind::Conflict), "conflict"),
    (Some(Kind::Connection), "connection"),
    (Some(Kind::Dns), "dns"),
    (Some(Kind::EabHmacInvalid), "eabHmacInvalid"),
    (Some(Kind::ExternalAccountRequired), "externalAccountRequired"),
    (Some(Kind::IncorrectResponse), "incorrectResponse"),
    (Some(Kind::InvalidContact), "invalidContact"),
    (Some(Kind::InvalidProfile), "invalidProfile"),
    (Some(Kind::Malformed), "malformed"),
    (Some(Kind::OrderNotReady), "orderNotReady"),
    (Some(Kind::RateLimited), "rateLimited"),
    (Some(Kind::RejectedIdentifier), "rejectedIdentifier"),
    (Some(Kind::ServerInternal), "serverInternal"),
    (Some(Kind::Tls), "tls"),
    (Some(Kind::Unauthorized), "unauthorized"),
    (Some(Kind::UnsupportedContact), "unsupportedContact"),
    (Some(Kind::UnsupportedIdentifier), "unsupportedIdentifier"),
    (Some(Kind::UserActionRequired), "userActionRequired"),
    (Some(Kind::Other), "other"),
    (None, "none"),
];

/// Upper bounds of the histogram of seconds, in milliseconds. Longer ones count in none.
const BOUNDS: &[u64] = &[50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000];

const RENEWALS: usize = 0;
const FAILURES: usize = 1;
const ANSWERED: usize = FAILURES + PROBLEMS.len();
const UNANSWERED: usize = ANSWERED + 1;
const MICROSECONDS: usize = UNANSWERED + 1;
const OCSP_ANSWERED: usize = MICROSECONDS + 1;
const OCSP_UNANSWERED: usize = OCSP_ANSWERED + 1;
const WITHIN: usize = OCSP_UNANSWERED + 1;
/// No count: the time at which another httpd on the store was last logged, in seconds since the epoch.
const NEIGHBOUR_LOGGED: usize = WITHIN + BOUNDS.len();
const DNS: usize = NEIGHBOUR_LOGGED + 1;

/// How a question to the DNS responder ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsResult {
    NoError,
    FormErr,
    ServFail,
    NotImp,
    Refused,
    BadVers,
    /// Over the rate limit: sent to TCP.
    Limited,
    /// No question, and so without an answer.
    Dropped,
}

impl DnsResult {
    const ALL: [DnsResult; 8] = [
        DnsResult::NoError,
        DnsResult::FormErr,
        DnsResult::ServFail,
        DnsResult::NotImp,
        DnsResult::Refused,
        DnsResult::BadVers,
        DnsResult::Limited,
        DnsResult::Dropped,
    ];

    /// As metrics and logs have it: the rcode, where there is one.
    pub fn name(self) -> &'static str {
        match self {
            DnsResult::NoError => "NOERROR",
            DnsResult::FormErr => "FORMERR",
            DnsResult::ServFail => "SERVFAIL",
            DnsResult::NotImp => "NOTIMP",
            DnsResult::Refused => "REFUSED",
            DnsResult::BadVers => "BADVERS",
            DnsResult::Limited => "limited",
            DnsResult::Dropped => "dropped",
        }
    }
}

#[derive(Clone)]
pub struct Metrics(Arc<dyn Counters>);

/// All counts at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Totals {
    pub renewals: u64,
    /// By problem type.
    pub failures: Vec<(&'static str, u64)>,
    /// Requests to CAs that were answered, whatever the answer.
    pub answered: u64,
    pub unanswered: u64,
    pub seconds: f64,
    /// Requests to OCSP responders, likewise.
    pub ocsp_answered: u64,
    pub ocsp_unanswered: u64,
    /// How many requests took at most this many seconds.
    pub within: Vec<(f64, u64)>,
    /// Questions to the DNS responder, by their end.
    pub dns: Vec<(&'static str, u64)>,
}

impl Metrics {
    /// The number of counters needed.
    pub const SIZE: usize = DNS + DnsResult::ALL.len();

    pub fn new(counters: Arc<dyn Counters>) -> Self {
        Metrics(counters)
    }

    fn add(&self, index: usize, number: u64) {
        self.0.counter(index).map(|counter| counter.fetch_add(number, Ordering::Relaxed));
    }

    fn read(&self, index: usize) -> u64 {
        self.0.counter(index).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    pub fn renewed(&self) {
        self.add(RENEWALS, 1);
    }

    /// A renewal failed, with this problem type.
    pub fn failed(&self, problem: Option<&str>) {
        let kind = problem.map(Kind::of);
        let place = PROBLEMS.iter().position(|(known, _)| *known == kind);
        self.add(FAILURES + place.unwrap_or(PROBLEMS.len() - 1), 1);
    }

    /// Asked a CA.
    pub fn requested(&self, is_answered: bool, took: Duration) {
        self.add(if is_answered { ANSWERED } else { UNANSWERED }, 1);
        self.add(MICROSECONDS, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        for (place, bound) in BOUNDS.iter().enumerate() {
            if took <= Duration::from_millis(*bound) {
                self.add(WITHIN + place, 1);
            }
        }
    }

    /// Asked an OCSP responder.
    pub fn ocsp_requested(&self, is_answered: bool) {
        self.add(if is_answered { OCSP_ANSWERED } else { OCSP_UNANSWERED }, 1);
    }

    /// The DNS responder was asked.
    pub fn dns_asked(&self, result: DnsResult) {
        self.add(DNS + result as usize, 1);
    }

    /// Whether to log another httpd on the store: once in `every`, whichever process does.
    pub fn may_log_neighbour(&self, now: Timestamp, every: Duration) -> bool {
        let logged = i64::try_from(self.read(NEIGHBOUR_LOGGED)).unwrap_or_default();
        let is_due = logged == 0 || now.since(Timestamp::from_unix(logged)) >= every;
        if let (true, Some(counter)) = (is_due, self.0.counter(NEIGHBOUR_LOGGED)) {
            counter.store(u64::try_from(now.unix()).unwrap_or_default(), Ordering::Relaxed);
        }
        is_due
    }

    pub fn totals(&self) -> Totals {
        let failures = PROBLEMS.iter().enumerate().map(|(i, (_, name))| (*name, self.read(FAILURES + i)));
        let within = BOUNDS
            .iter()
            .enumerate()
            .map(|(i, bound)| (Duration::from_millis(*bound).as_secs_f64(), self.read(WITHIN + i)));
        Totals {
            renewals: self.read(RENEWALS),
            failures: failures.collect(),
            within: within.collect(),
            seconds: Duration::from_micros(self.read(MICROSECONDS)).as_secs_f64(),
            dns: DnsResult::ALL
                .iter()
                .map(|result| (result.name(), self.read(DNS + *result as usize)))
                .collect(),
            ocsp_answered: self.read(OCSP_ANSWERED),
            ocsp_unanswered: self.read(OCSP_UNANSWERED),
            // Last: whatever is counted meanwhile, no bucket holds more than all.
            answered: self.read(ANSWERED),
            unanswered: self.read(UNANSWERED),
        }
    }
}

/// Counted for this process only.
impl Default for Metrics {
    fn default() -> Self {
        Metrics(Arc::new((0..Metrics::SIZE).map(|_| AtomicU64::new(0)).collect::<Vec<_>>()))
    }
}

/// A transport to OCSP responders whose requests are counted.
pub struct OcspCounted<T> {
    pub transport: T,
    pub metrics: Metrics,
}

impl<T: Transport> Transport for OcspCounted<T> {
    fn send(&self, request: &Request<'_>) -> Result<Response, Error> {
        let outcome = self.transport.send(request);
        self.metrics.ocsp_requested(outcome.is_ok());
        outcome
    }
}

/// A transport to CAs whose requests are counted.
pub struct Counted<T> {
    pub transport: T,
    pub metrics: Metrics,
}

impl<T: Transport> Transport for Counted<T> {
    fn send(&self, request: &Request<'_>) -> Result<Response, Error> {
        let begin = Instant::now();
        let outcome = self.transport.send(request);
        self.metrics.requested(outcome.is_ok(), begin.elapsed());
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_by_the_type_of_their_problem() {
        let metrics = Metrics::default();
        metrics.renewed();
        for problem in [
            Some("urn:ietf:params:acme:error:rateLimited"),
            Some("urn:ietf:params:acme:error:rateLimited"),
            Some("urn:ietf:params:acme:error:brandNew"),
            Some("urn:org:apache:httpd:log:AH10108:"),
            None,
        ] {
            metrics.failed(problem);
        }
        let totals = metrics.totals();
        let counted: Vec<_> = totals.failures.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("rateLimited", 2), ("other", 2), ("none", 1)]);
        assert_eq!(totals.renewals, 1);
    }

    #[test]
    fn a_request_counts_in_every_bucket_it_fits_in() {
        let metrics = Metrics::default();
        metrics.requested(true, Duration::from_millis(60));
        metrics.requested(false, Duration::from_secs(40));
        let totals = metrics.totals();
        assert_eq!((totals.answered, totals.unanswered), (1, 1));
        assert_eq!(totals.within[0], (0.05, 0));
        assert!(totals.within[1..].iter().all(|(_, count)| *count == 1), "{totals:?}");
        assert!((totals.seconds - 40.06).abs() < 0.001);
    }

    #[test]
    fn requests_to_responders_count_by_themselves() {
        let metrics = Metrics::default();
        [true, true, false].into_iter().for_each(|is_answered| metrics.ocsp_requested(is_answered));
        let totals = metrics.totals();
        assert_eq!((totals.ocsp_answered, totals.ocsp_unanswered), (2, 1));
        assert_eq!((totals.answered, totals.unanswered), (0, 0));
    }

    #[test]
    fn questions_count_by_their_end() {
        let metrics = Metrics::default();
        DnsResult::ALL.into_iter().for_each(|result| metrics.dns_asked(result));
        metrics.dns_asked(DnsResult::Dropped);
        let counts: Vec<u64> = metrics.totals().dns.into_iter().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 1, 1, 1, 1, 1, 1, 2]);
    }

    #[test]
    fn every_counter_has_a_place_of_its_own() {
        let metrics = Metrics::default();
        (0..Metrics::SIZE).for_each(|index| metrics.add(index, 1));
        let totals = metrics.totals();
        let named = totals.failures.iter().chain(&totals.dns).map(|(_, n)| n);
        let sum = named.chain(totals.within.iter().map(|(_, n)| n)).sum::<u64>();
        assert_eq!(usize::try_from(sum).unwrap() + 7, Metrics::SIZE);
    }
}
