// SPDX-License-Identifier: Apache-2.0
//! md-status and certificate-status: certificates, next steps and errors, as JSON.
//!
//! Keys are those of the C module, in its order; ours are added and never change one of these. Secrets do not
//! appear here: the model masks the EAB hmac, and keys are not read.

use super::domain::{Domain, Renewal};
use super::labels;
use super::printed::Entry;
use super::snapshot::Snapshots;
use crate::crypto::CertInfo;
use crate::managed::Host;
use crate::managed::certificates::KeyedCert;
use crate::managed::save_error::Loss;
use crate::model::KeySpec;
use crate::model::job::status;
use crate::ocsp::cache::{Entry as Response, Table};
use crate::renew::decide::due::Decision;
use crate::renew::decide::reason::Reason;
use crate::stapling::snapshot;
use crate::time::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::atomic::Ordering;

/// All managed domains, sorted by name, without the logs of their jobs.
pub fn list(snapshots: &Snapshots, responses: &Table, now: Timestamp) -> String {
    let mut out = String::with_capacity(snapshots.list_length.load(Ordering::Relaxed));
    out.push_str("{\n  \"version\": \"");
    out.push_str(crate::VERSION);
    out.push_str("\",\n  \"build\": \"");
    out.push_str(crate::BUILD);
    out.push_str("\",\n  \"managed-domains\": [");
    let mut is_empty = true;
    snapshots.each_printed(now, |domain, kept| {
        out.push_str(if std::mem::take(&mut is_empty) { "\n    " } else { ",\n    " });
        let entry = match kept.entry.take() {
            Some(entry) if is_stapled_with(&entry.ocsp, domain, responses) => entry,
            _ => print(domain, responses, now),
        };
        out.push_str(&entry.text);
        kept.entry = Some(entry);
    });
    out.push_str(if is_empty { "]" } else { "\n  ]" });
    if let Some(fleet) = snapshots.fleet(now) {
        out.push_str(",\n  \"fleet\": ");
        out.push_str(&pretty(&fleet.to_json()).replace('\n', "\n  "));
    }
    out.push_str("\n}");
    // The next list may be a little longer.
    snapshots.list_length.store(out.len() + out.len() / 64, Ordering::Relaxed);
    out
}

/// The entries of all managed domains as values, sorted by name.
pub fn entries(snapshots: &Snapshots, responses: &Table, with_log: bool, now: Timestamp) -> Vec<Value> {
    snapshots.all(now).iter().map(|domain| entry(domain, responses, with_log, now)).collect()
}

/// One managed domain, with the log of its job.
pub fn one(domain: &Domain<'_>, responses: &Table, now: Timestamp) -> String {
    pretty(&entry(domain, responses, true, now))
}

/// The answer for a name that no managed domain has.
pub fn unknown(name: &str) -> String {
    pretty(&json!({"error": "unknown-domain", "detail": format!("no managed domain has the name '{name}'")}))
}

/// `/.httpd/certificate-status`: the public facts about the certificates of a host.
pub fn public(domain: &Domain<'_>) -> String {
    let mut out = public_certs(domain.certs(), true);
    if let Some(renewal) = &domain.renewal {
        let staged = Value::Object(public_certs(&renewal.staged, false));
        out.insert("renewal".into(), json!({"cert": staged}));
    }
    pretty(&Value::Object(out))
}

/// The period common to all certificates, and each of them by its key; `all`: also keys without one.
/// Certificates in use show the facts that clients see; others show all, as in the C module.
fn public_certs(certs: &[KeyedCert], all: bool) -> Map<String, Value> {
    let mut out = Map::new();
    if let Some(valid) = common_period(certs) {
        out.insert("valid".into(), valid);
    }
    for (spec, cert) in certs {
        let facts = cert.as_ref().map(|cert| match all {
            // No handshake shows a certificate that is not in use yet.
            false => cert.to_json(),
            true => json!({
                "valid": period(cert.not_before, cert.not_after),
                "serial": cert.serial,
                "sha256-fingerprint": cert.fingerprint,
            }),
        });
        if facts.is_some() || all {
            out.insert(KeySpec::label(spec).to_string(), facts.unwrap_or_else(|| json!({})));
        }
    }
    out
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// The entry of one managed domain in the list.
fn print(domain: &Domain<'_>, responses: &Table, now: Timestamp) -> Entry {
    // A string in JSON contains no line break.
    let text = pretty(&entry(domain, responses, false, now)).replace('\n', "\n    ").into_boxed_str();
    Entry { text, ocsp: ocsp(domain, responses).map(Option::<&Response>::cloned).collect() }
}

/// Whether the certificates of the domain are stapled with the printed responses.
fn is_stapled_with(printed: &[Option<Response>], domain: &Domain<'_>, responses: &Table) -> bool {
    let mut printed = printed.iter().map(Option::as_ref);
    ocsp(domain, responses).all(|now| match (now, printed.next()) {
        (Some(now), Some(Some(then))) => now.is(then),
        (now, then) => now.is_none() && then.is_some_and(|then| then.is_none()),
    })
}

/// Of each certificate, in their order.
fn ocsp<'o>(domain: &Domain<'_>, responses: &'o Table) -> impl Iterator<Item = Option<&'o Response>> {
    let staged = domain.renewal.iter().flat_map(|renewal| &renewal.staged);
    let certs = domain.certs().iter().chain(staged).filter_map(|(_, cert)| cert.as_ref());
    certs.map(|cert| responses.get(&cert.id))
}

fn entry(domain: &Domain<'_>, responses: &Table, with_log: bool, now: Timestamp) -> Value {
    let mut md = domain.managed.current().into_owned();
    (md.state, md.state_descr) = domain.state();
    let mut out = match md.to_public_json() {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    out.insert("status".into(), json!(domain.standing(now).token()));
    out.insert("cert".into(), certs_json(domain.labeled(), &domain.all_certs(), responses));
    let need = &domain.need;
    let reason = match &need.decision {
        Decision::Now(reason) => Some(reason),
        Decision::At(..) | Decision::Never(_) => None,
    };
    if let Some(at) = need.renew_at {
        out.insert("renew-at".into(), json!(at.to_http_date()));
    }
    if let Some(advice) = &need.advice {
        out.insert("ari".into(), advice.to_json());
    }
    out.insert("watched".into(), json!(domain.managed.watched));
    out.insert("hosts".into(), domain.hosts().map(host).collect());
    if let Decision::Now(_) = need.decision {
        out.insert("renew".into(), json!(true));
    }
    if let Some(activation) = domain.activation() {
        let mut fields = json!({"mode": activation.mode, "serial": activation.serial});
        if let Some(since) = activation.since {
            fields["since"] = json!(since.to_http_date());
        }
        fields["workers"] = json!(activation.workers);
        out.insert("activation".into(), fields);
    }
    let renewal = match (&domain.renewal, &domain.requested) {
        (Some(renewal), _) => Some(renewal_json(domain, renewal, responses, reason, with_log)),
        (None, Some(requested)) => Some(json!({"request": requested.to_json()})),
        (None, None) => domain.renewing.is_some().then(|| json!({})),
    };
    if let Some(mut renewal) = renewal {
        if let Some(renewing) = &domain.renewing {
            renewal["node"] = json!(renewing.node);
        }
        out.insert("renewal".into(), renewal);
    }
    if let Some(Loss { status, errors }) = domain.save_error {
        let save_error = json!({
            "status": status,
            "status-description": status::description(status),
            "errors": errors,
            "detail": labels::UNSAVED,
        });
        out.insert("renewal-unsaved".into(), save_error);
    }
    Value::Object(out)
}

fn host((host, served): (&Host, &str)) -> Value {
    json!({"name": host.name, "address": host.address, "served": served})
}

/// The job under way or waiting for activation, and the certificates it has obtained.
fn renewal_json(
    domain: &Domain<'_>,
    renewal: &Renewal,
    responses: &Table,
    reason: Option<&Reason>,
    with_log: bool,
) -> Value {
    let mut out = if with_log { renewal.job.to_json() } else { renewal.job.to_brief_json() };
    out["cert"] = certs_json(renewal.labeled(), &renewal.staged, responses);
    if let Some(reason) = reason {
        out["reason"] = json!(reason.to_string());
    }
    if let Some(next) = domain.next() {
        out["next"] = json!({"action": next.action.token()});
        if let Some(at) = next.at {
            out["next"]["at"] = json!(at.to_http_date());
        }
    }
    out
}

/// Certificates by key, and the period common to all. `{}` without any.
fn certs_json<'c>(
    labeled: impl Iterator<Item = (String, &'c CertInfo)>,
    certs: &[KeyedCert],
    responses: &Table,
) -> Value {
    let facts = |cert: &CertInfo| {
        let mut facts = cert.to_json();
        if let Some(response) = responses.get(&cert.id) {
            facts["ocsp"] = snapshot::to_json(response);
        }
        facts
    };
    let mut out: Map<String, Value> = labeled.map(|(label, cert)| (label, facts(cert))).collect();
    if let Some(valid) = common_period(certs) {
        out.insert("valid".into(), valid);
    }
    Value::Object(out)
}

fn common_period(certs: &[KeyedCert]) -> Option<Value> {
    let certs = || certs.iter().filter_map(|(_, cert)| cert.as_ref());
    let from = certs().map(|cert| cert.not_before).max()?;
    Some(period(from, certs().map(|cert| cert.not_after).min()?))
}

fn period(from: Timestamp, until: Timestamp) -> Value {
    json!({"from": from.to_http_date(), "until": until.to_http_date()})
}
