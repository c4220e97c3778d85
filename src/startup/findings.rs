// SPDX-License-Identifier: Apache-2.0
//! The findings of a start on domains: those that no challenge can be answered for, and hosts that are not
//! served with the certificates that an admin expects. Pure.

use crate::challenge::dns01::solver;
use crate::challenge::selection::{self, Means};
use crate::config::advice::{self, Item};
use crate::config::{Finding, Plan, PlannedMd};
use crate::log::Level;
use crate::managed::serve::Source;
use crate::managed::{Host, Managed};
use crate::model::{Md, NotRenewed, State};
use crate::names;
use crate::renew::decide::error::Error;
use crate::renew::decide::remedies;
use crate::renew::decide::remedies::Facts;
use crate::time::Timestamp;

/// More hosts than these are counted, not named: the log of a start with thousands is to stay readable.
const NAMED: usize = 10;

/// For the log: hosts with a self-signed certificate only, hosts that serve their own files, and domains
/// whose certificates clients refuse or that do not match the configuration.
pub fn findings<'m>(mds: impl Iterator<Item = &'m Managed> + Clone, now: Timestamp) -> Vec<Finding> {
    let hosts: Vec<_> = mds.clone().flat_map(|md| md.hosts.iter().map(move |host| (md, host))).collect();
    let out_of_time: Vec<_> = mds.clone().filter_map(|md| out_of_time(md, now)).collect();
    let incomplete: Vec<_> = mds.filter_map(incomplete).collect();
    let (self_signed, by_hand) = self_signed(&hosts);
    let (instead, until_issued) = own_files(&hosts);
    let findings = [
        self_signed,
        by_hand,
        refused_by_clients(&out_of_time),
        instead,
        until_issued,
        not_as_configured(&incomplete),
    ];
    findings.into_iter().flatten().collect()
}

/// Hosts without a certificate: those whose MD is renewed, and those whose admin renews.
fn self_signed(hosts: &[(&Managed, &Host)]) -> (Option<Finding>, Option<Finding>) {
    let is_self_signed = |host: &Host| host.source == Source::SelfSigned;
    let renewed = select(hosts, |md, host| is_self_signed(host) && is_renewed(md)).map(|list| {
        format!(
            "AH10116: no certificate yet for {list}: a self-signed one is shown, and requests get 503 until the CA \
             has issued a certificate. For new domains nothing needs to be done; where this lasts, \
             md-status says why"
        )
    });
    let by_hand = select(hosts, |md, host| is_self_signed(host) && !is_renewed(md)).map(|list| {
        format!(
            "AH10116: no certificate yet for {list}: a self-signed one is shown, and requests get 503. None is requested \
             because of 'MDRenewMode manual': set 'MDRenewMode auto', or name the files of a certificate with \
             MDCertificateFile and MDCertificateKeyFile"
        )
    });
    (finding(Level::Warn, renewed), finding(Level::Warn, by_hand))
}

/// Hosts that serve the files of SSLCertificateFile: instead of a certificate of their MD that does not fit,
/// and until there is one.
fn own_files(hosts: &[(&Managed, &Host)]) -> (Option<Finding>, Option<Finding>) {
    let is_own = |md: &Managed, host: &Host| host.source == Source::Own && is_renewed(md);
    let has_certificate = |md: &Managed| md.certs.all().next().is_some();
    let instead = select(hosts, |md, host| is_own(md, host) && has_certificate(md)).map(|list| {
        format!(
            "AH10084: the files of SSLCertificateFile are served by {list}, as the certificate of the managed domain has \
             expired or does not have the name of the host. It is replaced at the next renewal: look at md-status for \
             how that goes"
        )
    });
    let until_issued = select(hosts, |md, host| is_own(md, host) && !has_certificate(md)).map(|list| {
        format!(
            "AH10084: the files of SSLCertificateFile are served by {list}, until there is a valid certificate of the \
             managed domain. Nothing needs to be done"
        )
    });
    (finding(Level::Warn, instead), finding(Level::Notice, until_issued))
}

fn refused_by_clients(domains: &[String]) -> Option<Finding> {
    let text = listed_domains(domains).map(|list| {
        format!(
            "certificates that clients refuse are served for lack of others: {list}. Check date and time of this machine. \
             Certificates of a CA are renewed at once: where this lasts, md-status says why. Files of \
             MDCertificateFile have to be replaced"
        )
    });
    finding(Level::Warn, text)
}

fn not_as_configured(domains: &[String]) -> Option<Finding> {
    let text = listed_domains(domains).map(|list| {
        format!(
            "certificates that are not as configured are served until new ones are issued: {list}. Nothing needs to be \
             done, unless md-status says that the renewal fails"
        )
    });
    finding(Level::Notice, text)
}

fn finding(level: Level, text: Option<String>) -> Option<Finding> {
    text.map(|text| Finding::new(level, text))
}

fn is_renewed(md: &Managed) -> bool {
    md.md.left_alone().is_none()
}

/// The list of the hosts that `is` selects; `None` where there are none.
fn select(hosts: &[(&Managed, &Host)], is: impl Fn(&Managed, &Host) -> bool) -> Option<String> {
    let selected: Vec<_> = hosts.iter().copied().filter(|(md, host)| is(md, host)).collect();
    (!selected.is_empty()).then(|| list(&selected))
}

fn listed_domains(domains: &[String]) -> Option<String> {
    (!domains.is_empty()).then(|| shortened(domains.iter().map(String::as_str), "managed domains"))
}

/// Domains with names that no challenge can be answered for, as far as that is known.
pub fn unprovable(plan: &Plan) -> Vec<Finding> {
    let is_renewed = |planned: &&PlannedMd| advice::is_renewed(planned);
    let is_wildcard = |planned: &&PlannedMd| {
        planned.dns01.is_none() && planned.md.domains.iter().any(|domain| names::is_wildcard(domain))
    };
    let (wildcards, others): (Vec<_>, Vec<_>) = plan.mds.iter().filter(is_renewed).partition(is_wildcard);
    let of = |code, mds: Vec<&PlannedMd>| {
        let items = mds.into_iter().filter_map(|planned| without_challenge(plan, planned)).collect();
        let kind = "managed domains without a suitable challenge method";
        advice::coded(code, advice::gathered("AH10173: ", kind, items))
    };
    let mut findings = of("wildcard-without-dns-01", wildcards);
    findings.extend(of("no-challenge", others));
    findings
}

fn without_challenge<'a>(plan: &Plan, planned: &'a PlannedMd) -> Option<Item<'a>> {
    let md = &planned.md;
    let means = Means {
        configured: &md.ca.challenges,
        http: plan.can_http,
        https: plan.can_https,
        acme_tls: &md.acme_tls_1,
        dns01: planned.dns01.is_some(),
        names_records: planned.dns01.as_ref().is_some_and(|dns01| solver::takes_final_name(&dns01.way)),
    };
    let reason = selection::check(&md.domains, &means).err()?;
    let place = advice::at(&planned.defined_at);
    let name = format!("{} ({place})", md.name);
    let facts = Facts {
        md,
        ca: None,
        has_proxy: planned.route.proxy_url.is_some(),
        dns01: planned.dns01.as_ref().map(|dns01| &dns01.way),
        until: None,
    };
    let text = remedies::explain(&Error::ChallengeMismatch { reason, offered: Vec::new() }, &facts);
    let text = move || format!("AH10173: md[{}]: {text} The domain is defined in {place}.", md.name);
    Some(Item { level: Level::Error, name, text: Box::new(text) })
}

/// The end or begin of the validity of the certificate that the hosts of an MD serve, where it is not valid
/// now.
fn out_of_time(managed: &Managed, now: Timestamp) -> Option<String> {
    let is_served = managed.hosts.iter().any(|host| host.source == Source::Md);
    let best = managed.certs.best(now);
    let (_, cert) = best.first().filter(|_| is_served && !managed.certs.are_in_time(now))?;
    let (name, by_hand) = (&managed.md.name, by_hand(&managed.md));
    Some(match cert.not_after <= now {
        true => format!("md[{name}] (expired at {}{by_hand})", cert.not_after.to_http_date()),
        false => format!("md[{name}] (valid from {} on{by_hand})", cert.not_before.to_http_date()),
    })
}

/// The properties missing from the certificates of an MD whose hosts serve them.
fn incomplete(managed: &Managed) -> Option<String> {
    let md = &managed.md;
    let is_served = managed.hosts.iter().any(|host| host.source == Source::Md);
    let why = md.state_descr.as_ref().filter(|_| is_served && md.state == State::Incomplete)?;
    let is_covered = |name: &&String| {
        managed.certs.all().all(|cert| cert.dns_names.iter().any(|pattern| names::covers(pattern, name)))
    };
    let uncovered: Vec<_> = md.domains.iter().filter(|name| !is_covered(name)).map(String::as_str).collect();
    let names = match uncovered.as_slice() {
        [] => String::new(),
        names => format!(", not for {}", shortened(names.iter().copied(), "name")),
    };
    Some(format!("md[{}] ({}{names}{})", md.name, why.trim_end_matches('.'), by_hand(md)))
}

/// The remark for domains that the admin renews.
fn by_hand(md: &Md) -> &'static str {
    match md.left_alone() {
        Some(NotRenewed::Manual) => ", not renewed because of 'MDRenewMode manual'",
        _ => "",
    }
}

fn list(hosts: &[(&Managed, &Host)]) -> String {
    let named: Vec<_> =
        hosts.iter().map(|(md, host)| format!("{} (md[{}])", host.name, md.md.name)).collect();
    shortened(named.iter().map(String::as_str), "host")
}

fn shortened<'t>(all: impl ExactSizeIterator<Item = &'t str>, what: &str) -> String {
    let more = all.len().saturating_sub(NAMED);
    let named = all.take(NAMED).collect::<Vec<_>>().join(", ");
    if more == 0 {
        named
    } else {
        format!("{named} and {}", crate::log::counted(more, &format!("more {what}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::CertInfo;
    use crate::crypto::fixture::NOW;
    use crate::model::{KeySpec, RenewMode};
    use crate::time::DAY;

    fn managed(name: &str, source: Source, certs: Vec<crate::managed::certificates::KeyedCert>) -> Managed {
        let host = Host { name: format!("www.{name}"), address: "*:443".into(), source, is_live: true };
        let mut md = Md { name: name.into(), domains: vec![name.into(), "new.test".into()], ..Md::default() };
        (md.state, md.state_descr) = crate::managed::certificates::assess(&md, &certs);
        Managed { md, certs: certs.into(), hosts: vec![host], ..Managed::default() }
    }

    #[test]
    fn a_start_reports_hosts_that_do_not_serve_as_configured() {
        let of = |names: &[&str]| {
            let dns_names = names.iter().map(ToString::to_string).collect();
            let not_after = NOW.plus(DAY);
            vec![(KeySpec::default(), Some(CertInfo { dns_names, not_after, ..CertInfo::default() }))]
        };
        let mds = [
            managed("a.test", Source::SelfSigned, Vec::new()),
            managed("b.test", Source::Own, Vec::new()),
            managed("c.test", Source::Md, of(&["c.test", "new.test"])),
            managed("d.test", Source::Md, of(&["d.test"])),
            managed("e.test", Source::Own, of(&["other.test"])),
        ];
        let found = findings(mds.iter(), NOW);
        let levels: Vec<_> = found.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Warn, Level::Warn, Level::Notice, Level::Notice]);
        for (finding, text) in found.iter().zip([
            "www.a.test (md[a.test])",
            "AH10084: the files of SSLCertificateFile are served by www.e.test (md[e.test]), as the certificate",
            "www.b.test",
            "md[d.test] (certificate(rsa) does not cover all domains, not for new.test)",
        ]) {
            assert!(finding.text.contains(text) && !finding.text.contains("c.test"), "{}", finding.text);
        }
        assert!(findings(mds.iter().skip(2).take(1), NOW).is_empty());
    }

    #[test]
    fn a_host_with_manual_renewal_is_reported_to_get_no_certificate() {
        let mut mds = [
            managed("a.test", Source::SelfSigned, Vec::new()),
            managed("b.test", Source::SelfSigned, Vec::new()),
        ];
        mds[0].md.renew_mode = RenewMode::Manual;
        let found = findings(mds.iter(), NOW);
        assert_eq!(found.len(), 2);
        for (finding, is, is_not) in [
            (
                &found[0],
                "www.b.test (md[b.test]): a self-signed one is shown, and requests get 503 until",
                "a.test",
            ),
            (
                &found[1],
                "www.a.test (md[a.test]): a self-signed one is shown, and requests get 503.",
                "b.test",
            ),
        ] {
            assert!(finding.text.contains(is) && !finding.text.contains(is_not), "{}", finding.text);
        }
        assert!(found[1].text.contains("set 'MDRenewMode auto'"), "{}", found[1].text);
    }

    #[test]
    fn a_certificate_that_has_expired_is_named_while_it_is_served() {
        let expired = CertInfo { dns_names: vec!["a.test".into()], not_after: NOW, ..CertInfo::default() };
        let mds = [managed("a.test", Source::Md, vec![(KeySpec::default(), Some(expired))])];
        let found = findings(mds.iter(), NOW);
        assert_eq!(found[0].level, Level::Warn);
        assert!(found[0].text.contains("md[a.test] (expired at Fri, 15 Jan 2027 08:00:00 GMT)"), "{found:?}");
    }

    #[test]
    fn thousands_of_hosts_take_one_line() {
        let mds: Vec<_> =
            (0..1000).map(|n| managed(&format!("h{n}.test"), Source::SelfSigned, Vec::new())).collect();
        let found = findings(mds.iter(), NOW);
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("h9.test") && found[0].text.contains("and 990 more hosts"));
        assert!(!found[0].text.contains("h10.test"));
    }
}
