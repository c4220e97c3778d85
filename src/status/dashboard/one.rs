// SPDX-License-Identifier: Apache-2.0
//! The page of one managed domain: what to do, its certificates and their lifetime, the hosts that use them,
//! its names, and the log of its renewal.

use super::card;
use super::entry::{Entry, bar, next};
use super::parts::{moment, table};
use super::shell::{Place, page};
use super::tables::{mode, of_responses};
use super::timeline::{self, Scale, timeline};
use crate::crypto::CertInfo;
use crate::crypto::identity::Issuer;
use crate::model::outcome::quoted;
use crate::model::{LogEntry, RenewMode};
use crate::stapling::snapshot::Stapled;
use crate::status::markup::link;
use crate::status::{Domain, Monitor, labels};
use crate::time::Timestamp;
use maud::{Markup, html};

/// `staplings`: of all domains.
pub fn one(
    domain: Domain<'_>,
    staplings: &[Stapled],
    monitor: &Monitor,
    place: &Place,
    now: Timestamp,
) -> String {
    let entry = Entry::new(domain, now);
    let domain = &entry.domain;
    let header = html! {
        nav.crumbs aria-label="Pages" { a href=(place.list()) { "All certificates" } }
        h1 { (entry.name()) }
        p.summary.(entry.tone().class()) {
            (domain.said(now)) @if let Some(remark) = labels::remark(domain, now) { ": " (remark) }
        }
    };
    let main = html! {
        @if entry.is_needed || entry.standing == crate::status::standing::Standing::Unused {
            section.attention #attention {
                h2 { @if entry.is_needed { "Needs attention" } @else { "Not in use" } }
                article.card.(entry.tone().class()) { (card::body(domain, now)) }
            }
        }
        section #facts { h2 { "Facts" } (facts(domain, now)) }
        (lifetime(&entry, now))
        (certificates(domain, monitor, now))
        (stapled(domain, staplings, now))
        (hosts(domain))
        section #names {
            h2 { "Names" }
            ul { @for name in &domain.managed.md.domains { li { (name) } } }
        }
        (log(domain))
    };
    page(&format!("{}: {}", entry.name(), domain.said(now)), header, main)
}

fn facts(domain: &Domain<'_>, now: Timestamp) -> Markup {
    let (managed, md) = (domain.managed, &domain.managed.md);
    let (step, at) = next(domain, now);
    let why = domain.state().1;
    let renewed = match (md.left_alone(), md.renew_mode) {
        (Some(why), _) => format!("by you: {why}"),
        (None, RenewMode::Always) => "by this module, also without a host".into(),
        (None, _) => "by this module, for hosts that use it".into(),
    };
    let keys: Vec<String> = md.keys().iter().map(|key| key.label().to_string()).collect();
    let waiting = domain.renewal.as_ref().and_then(|renewal| renewal.job.waiting.as_ref());
    let activity = domain
        .renewal
        .as_ref()
        .and_then(|renewal| renewal.job.last.activity.as_deref().filter(|_| !renewal.job.finished));
    html! {
        dl.facts {
            @if let Some((name, url)) = labels::authority(domain) {
                dt { "CA" } dd { (name) ", " (link(&url, &url)) }
            }
            @if let Some(certs) = domain.need.certs {
                dt { "Valid" }
                dd { "from " (moment(certs.from, now)) br; "until " (moment(certs.until, now)) }
                dt { "Warned of" } dd { "from " (moment(certs.warn, now)) }
            }
            @if let Some(why) = why { dt { "Lacking" } dd { (why) } }
            dt { "Renewed" } dd { (renewed) }
            dt { "Next" } dd { (step) @if let Some(at) = at { ", " (moment(at, now)) } }
            @if let Some(activity) = activity { dt { "Step" } dd { bdi { (activity) } } }
            @if let Some(waiting) = waiting {
                dt { "Waits" } dd { "for " bdi { (waiting.what) } ", since " (moment(waiting.since, now)) }
            }
            @if let Some(held) = domain.renewal.as_ref().and_then(|renewal| renewal.job.held_back.as_ref()) {
                dt { "Held back" } dd { (held.reason) ", until " (moment(held.until, now)) }
            }
            @if let Some(advice) = &domain.need.advice {
                dt { "Advice of the CA" }
                dd {
                    "renew between " (moment(advice.start, now)) " and " (moment(advice.end, now)) "; drawn: "
                    (moment(advice.renew_at, now))
                    @if let Some(url) = &advice.explanation { "; " (link(url, "its reasons")) }
                }
            }
            @if let Some(activation) = domain.activation() {
                dt { "New certificates" }
                dd {
                    (mode(activation.mode))
                    @if let Some(since) = activation.since { ", since " (moment(since, now)) }
                    @if let workers @ 1.. = activation.workers {
                        ", in " (workers) @if workers == 1 { " process" } @else { " processes" }
                    }
                }
            }
            @if let Some(renewing) = &domain.renewing { dt { "Renewing node" } dd { (renewing.node) } }
            dt { "Keys" } dd { (keys.join(", ")) }
            dt { "Challenges" }
            dd {
                @if md.ca.challenges.is_empty() { "whichever work" }
                @else { (md.ca.challenges.join(", ")) }
            }
            dt { "OCSP stapling" }
            dd {
                @if md.stapling { "on" } @else { "off" }
                @if md.must_staple { ", and the certificates demand it" }
            }
            @if !md.contacts.is_empty() { dt { "Contacts" } dd { (md.contacts.join(", ")) } }
            @if !managed.watched { dt { "Watched" } dd { "no: renewal does not look after it" } }
        }
    }
}

fn lifetime(entry: &Entry<'_>, now: Timestamp) -> Markup {
    let bar = bar(entry);
    html! {
        @if let Some(bar) = bar {
            @let scale = Scale::of(std::iter::once(&bar), now);
            section #lifetime {
                h2 { "Lifetime" }
                p.legend { (timeline::legend()) }
                (timeline::axis(&scale, now))
                (timeline(&bar, &scale, now))
                p { (timeline::words(&bar, now)) }
            }
        }
    }
}

/// Those in use, and those of a renewal; with the certificates of their chains, as far as they are held.
fn certificates(domain: &Domain<'_>, monitor: &Monitor, now: Timestamp) -> Markup {
    let staged: Vec<(String, &CertInfo)> =
        domain.ready().into_iter().flat_map(|renewal| renewal.labeled()).collect();
    let row = |label: &str, cert: &CertInfo, place: &str| {
        html! {
            tr {
                th scope="row" { (label) } td { (place) }
                td { (moment(cert.not_before, now)) } td { (moment(cert.not_after, now)) }
                td { bdi { (cert.issuer_name) } }
                td.mono { (cert.serial) }
                td.mono {
                    (link(&format!("{}{}", monitor.url, cert.fingerprint), &cert.fingerprint))
                }
            }
        }
    };
    let rows = html! {
        @for (label, cert) in domain.labeled() { (row(&label, cert, "in use")) }
        @for (label, cert) in &staged { (row(label, cert, "new")) }
    };
    let columns = ["Key", "State", "From", "Until", "Issuer", "Serial", "SHA-256"];
    html! {
        section #certificates {
            h2 { "Certificates" }
            @if domain.labeled().next().is_none() && staged.is_empty() { p.empty { "There is none." } }
            @else { (table("Certificates", &columns, &[], &rows)) }
            (chain(domain, now))
        }
    }
}

/// The issuers of the sets that came since the start, whose chains are held for handshakes; of those that
/// were there before, processes know the first issuer alone.
fn chain(domain: &Domain<'_>, now: Timestamp) -> Markup {
    let mut issuers: Vec<Issuer> = domain.live.iter().flat_map(|set| set.identities.issuers()).collect();
    issuers.dedup();
    let rows = html! {
        @for issuer in &issuers {
            tr {
                th scope="row" { bdi { (issuer.name) } } td { bdi { (issuer.issuer) } }
                td { (moment(issuer.until, now)) }
            }
        }
    };
    html! {
        @if !issuers.is_empty() {
            h3 { "Chain" }
            (table("Chain", &["Certificate of", "Issued by", "Until"], &[], &rows))
        }
    }
}

fn stapled(domain: &Domain<'_>, staplings: &[Stapled], now: Timestamp) -> Markup {
    let name = &domain.managed.md.name;
    let own: Vec<&Stapled> = staplings.iter().filter(|stapled| stapled.owner == *name).collect();
    html! {
        @if !own.is_empty() {
            section #responses {
                h2 { "OCSP responses" }
                (of_responses(&own, own.len(), |owner| html! { (owner) }, now))
            }
        }
    }
}

fn hosts(domain: &Domain<'_>) -> Markup {
    let rows = html! {
        @for (host, served) in domain.hosts() {
            tr {
                th scope="row" { (host.name) } td { (host.address) }
                td {
                    @match served {
                        "md" => "a certificate of this domain",
                        "file" => "its own SSLCertificateFile",
                        _ => "a self-signed certificate, and answers 503",
                    }
                }
            }
        }
    };
    html! {
        section #hosts {
            h2 { "Hosts" }
            @if domain.managed.hosts.is_empty() { p.empty { "No host with TLS uses it." } }
            @else { (table("Hosts", &["Host", "Address", "Serves"], &[], &rows)) }
        }
    }
}

/// Newest first.
fn log(domain: &Domain<'_>) -> Markup {
    let log: &[LogEntry] = domain.renewal.as_ref().map_or(&[], |renewal| &renewal.job.log);
    html! {
        section #log {
            h2 { "Log of the renewal" }
            @if log.is_empty() { p.empty { "There is none: no renewal is under way or waits." } }
            @else {
                ol.log {
                    @for entry in log {
                        li {
                            time datetime=(entry.when.to_rfc3339()) { (super::parts::exactly(entry.when)) }
                            " " b { (quoted(&entry.kind)) }
                            @if let Some(status) = &entry.status {
                                " " span.mono { bdi { (quoted(status)) } }
                            }
                            @if let Some(detail) = &entry.detail { " " bdi { (detail) } }
                        }
                    }
                }
            }
        }
    }
}
