// SPDX-License-Identifier: Apache-2.0
//! Metrics for Prometheus: OpenMetrics 1.0 text.
//!
//! Names and labels are an interface that monitoring relies on; docs/status.md lists them.

use super::domain::Domain;
use super::fleet::Fleet;
use crate::metrics::Totals;
use crate::stapling::snapshot::Stapled;
use crate::time::Timestamp;
use std::fmt::Write;

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything there is.
pub fn all(
    domains: &[Domain<'_>],
    stapled: &[Stapled],
    totals: &Totals,
    fleet: Option<&Fleet>,
    now: Timestamp,
) -> String {
    let mut out = Exposition::default();
    of_certificates(domains, &mut out);
    of_domains(domains, now, &mut out);
    of_renewals(totals, &mut out);
    of_stapling(stapled, totals, &mut out);
    of_dns(totals, &mut out);
    if let Some(fleet) = fleet {
        of_fleet(fleet, &mut out);
    }
    out.0.push_str("# EOF\n");
    out.0
}

fn of_certificates(domains: &[Domain<'_>], out: &mut Exposition) {
    let mut family = |name, help, value: &dyn Fn(&crate::crypto::CertInfo) -> Timestamp| {
        out.family(name, "gauge", "seconds", help);
        for domain in domains {
            for (key, cert) in domain.labeled() {
                let labels = [("domain", domain.managed.md.name.as_str()), ("key", &key)];
                out.sample(name, &labels, value(cert).unix());
            }
        }
    };
    family(
        "md_certificate_not_after_seconds",
        "When the certificate in use expires, in seconds since the epoch.",
        &|cert| cert.not_after,
    );
    family(
        "md_certificate_not_before_seconds",
        "From when the certificate in use is valid, in seconds since the epoch.",
        &|cert| cert.not_before,
    );
}

fn of_domains(domains: &[Domain<'_>], now: Timestamp, out: &mut Exposition) {
    let mut family = |name, unit, help, value: &dyn Fn(&Domain<'_>) -> Option<i64>| {
        out.family(name, "gauge", unit, help);
        for domain in domains {
            if let Some(value) = value(domain) {
                out.sample(name, &[("domain", &domain.managed.md.name)], value);
            }
        }
    };
    family(
        "md_renew_at_seconds",
        "seconds",
        "When the renewal is due, or since when, in seconds since the epoch.",
        &|domain| domain.need.renew_at.map(Timestamp::unix),
    );
    family("md_renewal_errors", "", "Failures of the renewal since its last success.", &|domain| {
        Some(i64::from(domain.errors()))
    });
    family("md_renewal_ready", "", "1 where a renewed set waits to come into use.", &|domain| {
        Some(i64::from(domain.ready().is_some()))
    });
    family("md_state", "", "1 incomplete, 2 complete, 4 error, 5 missing information.", &|domain| {
        Some(domain.state().0 as i64)
    });
    family("md_live", "", "1 where the set in use came into use without a restart.", &|domain| {
        Some(i64::from(domain.live.is_some()))
    });
    out.family("md_status", "gauge", "", "1 for the word that md-status has for how the domain stands.");
    for domain in domains {
        let labels = [("domain", domain.managed.md.name.as_str()), ("status", domain.standing(now).token())];
        out.sample("md_status", &labels, 1);
    }
}

fn of_renewals(totals: &Totals, out: &mut Exposition) {
    out.family("md_renewals", "counter", "", "Successful renewals since the configuration was loaded.");
    out.sample("md_renewals_total", &[], totals.renewals);
    out.family("md_renewal_failures", "counter", "", "Failed tries of renewals, by type of problem.");
    for (problem, count) in &totals.failures {
        out.sample("md_renewal_failures_total", &[("problem", problem)], count);
    }
    out.family("md_ca_requests", "counter", "", "Requests to CAs.");
    out.sample("md_ca_requests_total", &[("result", "answered")], totals.answered);
    out.sample("md_ca_requests_total", &[("result", "unanswered")], totals.unanswered);
    out.family("md_ca_request_seconds", "histogram", "seconds", "How long requests to CAs took.");
    let all = totals.answered + totals.unanswered;
    for (bound, count) in &totals.within {
        // A bucket read a moment before the sum may be behind it, and never ahead.
        out.sample("md_ca_request_seconds_bucket", &[("le", &format!("{bound:?}"))], count.min(&all));
    }
    out.sample("md_ca_request_seconds_bucket", &[("le", "+Inf")], all);
    out.sample("md_ca_request_seconds_count", &[], all);
    out.sample("md_ca_request_seconds_sum", &[], totals.seconds);
}

/// `domain` is `other` for certificates of no MD.
fn of_stapling(stapled: &[Stapled], totals: &Totals, out: &mut Exposition) {
    let mut family = |name, unit, help, value: &dyn Fn(&Stapled) -> Option<i64>| {
        out.family(name, "gauge", unit, help);
        for stapled in stapled {
            if let Some(value) = value(stapled) {
                out.sample(name, &[("domain", &stapled.owner), ("serial", &stapled.serial)], value);
            }
        }
    };
    family(
        "md_ocsp_next_update_seconds",
        "seconds",
        "Until when the OCSP response in use is valid, in seconds since the epoch.",
        &|stapled| stapled.valid.map(|(_, until)| until.unix()),
    );
    family("md_ocsp_status", "", "0 good, 1 revoked, 2 unknown: there is no response.", &|stapled| {
        Some(match stapled.status {
            "good" => 0,
            "revoked" => 1,
            _ => 2,
        })
    });
    family("md_ocsp_errors", "", "Failures to get an OCSP response since the last success.", &|stapled| {
        Some(i64::from(stapled.errors))
    });
    out.family("md_ocsp_requests", "counter", "", "Requests to OCSP responders.");
    out.sample("md_ocsp_requests_total", &[("result", "answered")], totals.ocsp_answered);
    out.sample("md_ocsp_requests_total", &[("result", "unanswered")], totals.ocsp_unanswered);
}

/// Of the responder (`MDDnsListen`).
fn of_dns(totals: &Totals, out: &mut Exposition) {
    out.family("md_dns_queries", "counter", "", "Questions to the DNS responder, by rcode.");
    for (rcode, count) in &totals.dns {
        out.sample("md_dns_queries_total", &[("rcode", rcode)], count);
    }
}

/// As the process that replicates has reported (`MDFleet`).
fn of_fleet(Fleet { report, .. }: &Fleet, out: &mut Exposition) {
    out.family("md_fleet_connected", "gauge", "", "1 where the engine of the fleet is reached.");
    out.sample("md_fleet_connected", &[], u8::from(report.connected));
    out.family("md_fleet_nodes", "gauge", "", "Live nodes of the fleet, this one among them.");
    out.sample("md_fleet_nodes", &[], report.nodes.len());
    out.family("md_fleet_lag_revisions", "gauge", "", "Revisions of the engine that are not applied here.");
    out.sample("md_fleet_lag_revisions", &[], report.lag());
    out.family("md_fleet_requests", "counter", "", "Requests to the engine of the fleet.");
    out.sample("md_fleet_requests_total", &[("result", "answered")], report.requests_ok);
    out.sample("md_fleet_requests_total", &[("result", "failed")], report.requests_failed);
}

/// Text in the making: families in order, each with its samples.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    /// `unit` is empty where there is none.
    fn family(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.0, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.0, "# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}
