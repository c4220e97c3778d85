// SPDX-License-Identifier: Apache-2.0
//! Decides which of the sets found become certificates of which managed domains, and which lines of
//! configuration the others need. Pure: functions of what was found, the domains, and `now`.

use super::found::{FoundAccount, FoundSet};
use crate::config::KNOWN_CAS;
use crate::crypto::{CertInfo, Certificate};
use crate::managed::bundle::Bundle;
use crate::managed::fit::Unfit;
use crate::managed::serve::Certs;
use crate::managed::{Managed, certificates};
use crate::model::key_spec::RSA_BITS_DEFAULT;
use crate::model::{KeySpec, Md};
use crate::names;
use crate::time::Timestamp;

/// A domain gets these of the sets, each for this one of its keys.
#[derive(Debug, PartialEq)]
pub struct Take {
    /// Index of the domain.
    pub md: usize,
    /// Indices of sets.
    pub sets: Vec<(usize, KeySpec)>,
}

#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub takes: Vec<Take>,
    /// Sets that are passed over, and why.
    pub passed: Vec<(usize, String)>,
    /// Sets that no domain has any name of.
    pub uncovered: Vec<usize>,
    /// What to do about domains.
    pub advice: Vec<String>,
}

impl Plan {
    /// Gives up all takes: keys stay where they are, and renewals make new ones.
    pub fn leave_keys(&mut self, mds: &[Managed]) {
        for take in std::mem::take(&mut self.takes) {
            let name = mds.get(take.md).map(|managed| managed.md.name.clone()).unwrap_or_default();
            let why = format!("{name} gets a new key: the renewal orders one (--new-key)");
            self.passed.extend(take.sets.iter().map(|(at, _)| (*at, why.clone())));
        }
        self.advice.clear();
        self.passed.sort();
    }
}

/// Certificates by their keys.
type Keyed = Vec<(KeySpec, CertInfo)>;

/// What the store says of a domain, by its name.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// A complete set that waits in staging.
    pub staged: &'a dyn Fn(&str) -> Option<Keyed>,
    /// Whether an operator has withdrawn a certificate.
    pub is_withdrawn: &'a dyn Fn(&str, &Certificate) -> bool,
}

pub fn make(sets: &[FoundSet], mds: &[Managed], view: View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let mut usable = Vec::new();
    for (at, set) in sets.iter().enumerate() {
        match &set.bundle {
            Err(why) => plan.passed.push((at, why.clone())),
            Ok(bundle) => match flaw(bundle, now) {
                Some(why) => plan.passed.push((at, why)),
                None => usable.push((at, bundle)),
            },
        }
    }
    for (at, bundle) in &usable {
        if !mds.iter().any(|managed| managed.md.is_covered_by(&bundle.info.dns_names)) {
            match lacking(bundle, mds) {
                Some(why) => plan.passed.push((*at, why)),
                None => plan.uncovered.push(*at),
            }
        }
    }
    for (md, managed) in mds.iter().enumerate() {
        let fitting: Vec<_> =
            usable.iter().filter(|(_, bundle)| managed.md.is_covered_by(&bundle.info.dns_names)).collect();
        if !fitting.is_empty() {
            choose(&mut plan, md, managed, &fitting, view, now);
        }
    }
    plan.passed.sort();
    plan
}

/// Why no domain can use a set.
fn flaw(bundle: &Bundle, now: Timestamp) -> Option<String> {
    let info = &bundle.info;
    if info.not_after <= now {
        return Some(format!("it has expired: {}", info.not_after.to_http_date()));
    }
    if info.not_before > now {
        return Some(format!("it is not valid before {}", info.not_before.to_http_date()));
    }
    if !bundle.chain.leaf().has_alternative_names() {
        return Some(Unfit::SubjectAlone.of(bundle.spec.label()));
    }
    match bundle.spec {
        KeySpec::Rsa(bits) if bits < RSA_BITS_DEFAULT => {
            Some(format!("an RSA key of {bits} bits is too short, {RSA_BITS_DEFAULT} are needed"))
        }
        _ => None,
    }
}

/// What a set lacks for the domains that have some of its names.
fn lacking(bundle: &Bundle, mds: &[Managed]) -> Option<String> {
    let covers = |name: &&String| bundle.info.dns_names.iter().any(|pattern| names::covers(pattern, name));
    let related = mds.iter().find(|managed| managed.md.domains.iter().any(|name| covers(&name)))?;
    let missing: Vec<&str> =
        related.md.domains.iter().filter(|name| !covers(name)).map(String::as_str).collect();
    Some(format!(
        "it lacks names of the managed domain {}, which therefore orders another one: {}",
        related.md.name,
        missing.join(", ")
    ))
}

fn choose(
    plan: &mut Plan,
    md: usize,
    managed: &Managed,
    fitting: &[&(usize, &Bundle)],
    view: View<'_>,
    now: Timestamp,
) {
    let name = &managed.md.name;
    let fitting: Vec<(usize, &Bundle)> = fitting.iter().map(|pair| **pair).collect();
    if managed.md.has_static_files() {
        let why = format!("the managed domain {name} is served from files (MDCertificateFile)");
        plan.passed.extend(fitting.iter().map(|(at, _)| (*at, why.clone())));
        return;
    }
    let mut fitting = usable(plan, managed, fitting, view);
    // The one that is valid for longest comes first.
    fitting.sort_by_key(|(_, bundle)| std::cmp::Reverse(bundle.info.not_after));
    let keys = managed.md.keys();
    let of_key = |key: &KeySpec| fitting.iter().find(|(_, bundle)| bundle.spec.same_type(key));
    let mut chosen: Vec<(usize, KeySpec)> =
        keys.iter().filter_map(|key| of_key(key).map(|(at, _)| (*at, key.clone()))).collect();
    let is_configured = !chosen.is_empty();
    if !is_configured {
        chosen.extend(fitting.first().map(|(at, bundle)| (*at, bundle.spec.clone())));
    }
    for (at, _) in &fitting {
        if chosen.iter().all(|(other, _)| other != at) {
            let why = format!("{name} has no such key, or another set for it is valid for longer");
            plan.passed.push((*at, why));
        }
    }
    let info = |at: &usize| Some(fitting.iter().find(|(other, _)| other == at)?.1.info.clone());
    let bundles: Option<Vec<_>> = chosen.iter().map(|(at, spec)| Some((spec.clone(), info(at)?))).collect();
    let Some(bundles) = bundles.filter(|bundles| !bundles.is_empty()) else { return };
    if let Some(why) = needless(managed, &bundles, (view.staged)(name), now) {
        plan.passed.extend(chosen.iter().map(|(at, _)| (*at, why.clone())));
        return;
    }
    if !is_configured || chosen.len() < keys.len() {
        let found: Vec<KeySpec> = bundles.into_iter().map(|(spec, _)| spec).collect();
        let (keys, found) = (directive(&keys), directive(&found));
        plan.advice.push(format!(
            "{name} is configured to have {keys}, and what is imported has {found}: the renewal orders at once. To \
             avoid that: MDPrivateKeys {found}"
        ));
    }
    plan.takes.push(Take { md, sets: chosen });
}

/// Those that an operator has not withdrawn, and that are as the domain is configured; the plan says why the
/// others are passed over.
fn usable<'b>(
    plan: &mut Plan,
    managed: &Managed,
    fitting: Vec<(usize, &'b Bundle)>,
    view: View<'_>,
) -> Vec<(usize, &'b Bundle)> {
    let name = &managed.md.name;
    let (bad, good): (Vec<_>, Vec<_>) =
        fitting.into_iter().partition(|(_, bundle)| (view.is_withdrawn)(name, bundle.chain.leaf()));
    let why = format!("an operator has withdrawn it for {name}");
    plan.passed.extend(bad.iter().map(|(at, _)| (*at, why.clone())));
    let (good, bad): (Vec<_>, Vec<_>) =
        good.into_iter().partition(|(_, bundle)| bundle.info.must_staple == managed.md.must_staple);
    let why = format!("must-staple does not match the configuration of {name} (MDMustStaple)");
    plan.passed.extend(bad.iter().map(|(at, _)| (*at, why.clone())));
    good
}

/// Why a domain has nothing of these certificates.
fn needless(
    managed: &Managed,
    new: &[(KeySpec, CertInfo)],
    staged: Option<Keyed>,
    now: Timestamp,
) -> Option<String> {
    let (md, keys) = (&managed.md, managed.md.keys());
    let served = managed.served();
    let same = |certs: &Certs| {
        new.iter().all(|(_, cert)| certs.all().any(|known| known.fingerprint == cert.fingerprint))
    };
    if same(&served) {
        return Some(format!("{} has it in use already", md.name));
    }
    let end = |certs: &Certs| certs.best(now).iter().map(|(_, cert)| cert.not_after).min();
    let certs = Certs::arrange(&keys, new.to_vec());
    let is_no_better = |other: &Certs| {
        other.outdo(&certs, md, now) || certificates::is_good(md, other, now) && end(other) >= end(&certs)
    };
    if is_no_better(&served) {
        return Some(format!("the certificate that {} has in use is at least as good", md.name));
    }
    let staged = Certs::arrange(&keys, staged?);
    if same(&staged) {
        return Some(format!("it is staged for {} already", md.name));
    }
    is_no_better(&staged).then(|| format!("a renewed certificate of {} waits for its activation", md.name))
}

/// As `MDPrivateKeys` has them.
fn directive(keys: &[KeySpec]) -> String {
    keys.iter().map(KeySpec::to_string).collect::<Vec<_>>().join(" ")
}

/// The lines that make a managed domain of each of the sets that none covers.
pub fn lines(sets: &[FoundSet], uncovered: &[usize], accounts: &[FoundAccount]) -> Vec<String> {
    let mut sections: Vec<(Vec<String>, Option<String>, Vec<KeySpec>)> = Vec::new();
    for at in uncovered {
        let Some((set, bundle)) = sets.get(*at).and_then(|set| Some((set, set.bundle.as_ref().ok()?))) else {
            continue;
        };
        let domains = domains_of(set, bundle);
        let (ca, spec) = (set.ca_url.clone(), bundle.spec.clone());
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort();
            names
        };
        let same = sections.iter().position(|(names, ..)| sorted(names) == sorted(&domains));
        match same.and_then(|at| sections.get_mut(at)) {
            // One key of each type, from one CA.
            Some((_, url, keys)) => {
                let is_new = *url == ca && !keys.iter().any(|key| key.same_type(&spec));
                is_new.then(|| keys.push(spec));
            }
            None if domains.is_empty() => {}
            None => sections.push((domains, ca, vec![spec])),
        }
    }
    sections.iter().flat_map(|(domains, ca, keys)| section(domains, ca.as_deref(), keys, accounts)).collect()
}

/// Names that a configuration can have, the main one first.
fn domains_of(set: &FoundSet, bundle: &Bundle) -> Vec<String> {
    let mut domains: Vec<String> = Vec::new();
    let all = set.main.iter().filter(|main| bundle.info.dns_names.contains(main));
    for name in all.chain(&bundle.info.dns_names) {
        match names::normalize(name) {
            Ok(name) if !names::is_address(&name) && !domains.contains(&name) => domains.push(name),
            _ => {}
        }
    }
    // One that others cover as well is no good name for a folder.
    if domains.first().is_some_and(|first| names::is_wildcard(first))
        && let Some(at) = domains.iter().position(|name| !names::is_wildcard(name))
    {
        domains.swap(0, at);
    }
    domains
}

fn section(domains: &[String], ca: Option<&str>, keys: &[KeySpec], accounts: &[FoundAccount]) -> Vec<String> {
    let mut lines = vec![format!("<MDomain {}>", domains.join(" "))];
    if let Some(url) = ca.filter(|url| is_plain(url)) {
        let known = KNOWN_CAS.iter().find(|(_, known)| known == &url).map(|(name, _)| *name);
        lines.push(format!("    MDCertificateAuthority {}", known.unwrap_or(url)));
    }
    lines.push(format!("    MDPrivateKeys {}", directive(keys)));
    let contact = accounts.iter().filter(|account| ca.is_some() && account.ca_url.as_deref() == ca);
    let contact = contact.flat_map(|account| &account.contacts).find(|contact| is_plain(contact));
    lines.extend(
        contact.map(|contact| {
            format!("    MDContactEmail {}", contact.strip_prefix("mailto:").unwrap_or(contact))
        }),
    );
    lines.push("</MDomain>".into());
    lines
}

/// Whether text of the tree can stand in a line of the configuration.
fn is_plain(text: &str) -> bool {
    text.len() < 512 && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\$%{}#".contains(&b))
}

/// The settings that a staged set was ordered for, as far as they are known.
pub fn ordered(md: &Md, take: &Take, ca_url: Option<&str>, account: Option<&str>) -> Md {
    let mut ordered =
        Md { key_specs: take.sets.iter().map(|(_, spec)| spec.clone()).collect(), ..md.clone() };
    if let Some(url) = ca_url {
        ordered.ca.url = Some(url.to_string());
        ordered.ca.account = account.map(String::from);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PlannedMd;
    use crate::crypto::fixture::{NOW, Wish};
    use crate::managed::fixture::{Lab, md};
    use crate::time::DAY;

    const NONE: View<'static> = View { staged: &|_| None, is_withdrawn: &|_, _| false };

    fn p256() -> KeySpec {
        KeySpec::Ec("P-256".into())
    }

    fn managed(md: &Md, certs: Certs) -> Managed {
        Managed::new(PlannedMd { md: md.clone(), ..PlannedMd::default() }, certs)
    }

    fn found(bundle: Bundle) -> FoundSet {
        FoundSet {
            origin: "x".into(),
            main: None,
            bundle: Ok(bundle),
            ca_url: Some("https://ca.test/dir".into()),
        }
    }

    fn reasons(plan: &Plan) -> Vec<&str> {
        plan.passed.iter().map(|(_, why)| why.as_str()).collect()
    }

    #[test]
    fn a_set_goes_to_every_domain_that_it_covers_under_the_spelling_of_its_key() {
        let lab = Lab::new();
        let mut a = md(&["a.test", "www.a.test"]);
        a.key_specs = vec![KeySpec::Ec("secp256r1".into())];
        let b = md(&["b.a.test"]);
        let sets = [found(lab.set(&["a.test", "*.a.test"], &p256()))];
        let mds = [a, b, md(&["c.test"])].map(|md| managed(&md, Certs::default()));
        let plan = make(&sets, &mds, NONE, NOW);
        let take = |md: usize, spec: &KeySpec| Take { md, sets: vec![(0, spec.clone())] };
        assert_eq!(plan.takes, [take(0, &KeySpec::Ec("secp256r1".into())), take(1, &mds[1].md.keys()[0])]);
        assert_eq!((plan.passed.len(), plan.uncovered.len(), plan.advice.len()), (0, 0, 0));
    }

    #[test]
    fn what_cannot_be_used_is_passed_over_with_its_reason() {
        let lab = Lab::new();
        let a = md(&["a.test", "b.test"]);
        let expired = lab.set(&["a.test", "b.test"], &p256());
        let later = expired.info.not_after;
        let partly = lab.set(&["a.test"], &p256());
        let sets = [
            found(expired),
            FoundSet {
                bundle: Err("its certificate is missing".into()),
                ..found(lab.set(&["a.test"], &p256()))
            },
        ];
        let mds = [managed(&a, Certs::default())];
        let plan = make(&sets, &mds, NONE, later);
        assert!(plan.takes.is_empty());
        assert!(reasons(&plan)[0].contains("expired") && reasons(&plan)[1].contains("is missing"));
        let plan = make(&[found(partly)], &mds, NONE, NOW);
        assert!(reasons(&plan)[0].contains("lacks names of the managed domain a.test"), "{plan:?}");
        assert!(reasons(&plan)[0].ends_with("b.test") && plan.uncovered.is_empty());
        let stapled = Md { must_staple: true, ..a.clone() };
        let whole = || found(lab.set(&["a.test", "b.test"], &p256()));
        let plan = make(&[whole()], &[managed(&stapled, Certs::default())], NONE, NOW);
        assert!(reasons(&plan)[0].contains("MDMustStaple"));
        let with_files = Md { cert_files: vec!["/x".into()], ..a };
        let plan = make(&[whole()], &[managed(&with_files, Certs::default())], NONE, NOW);
        assert!(reasons(&plan)[0].contains("MDCertificateFile"));
    }

    #[test]
    fn what_is_in_use_or_staged_and_as_good_stays() {
        let lab = Lab::new();
        let a = md(&["a.test"]);
        let set = lab.set(&["a.test"], &a.keys()[0]);
        let certs = |set: &Bundle| vec![(set.spec.clone(), set.info.clone())];
        let arranged = |set: &Bundle| Certs::arrange(&a.keys(), certs(set));
        let other = lab.set(&["a.test"], &a.keys()[0]);
        let of = |certs: Certs, view: View<'_>| {
            let set = Bundle {
                spec: set.spec.clone(),
                key: set.key.clone(),
                chain: set.chain.clone(),
                info: set.info.clone(),
            };
            make(&[found(set)], &[managed(&a, certs)], view, NOW)
        };
        assert!(reasons(&of(arranged(&set), NONE))[0].contains("in use already"));
        assert!(reasons(&of(arranged(&other), NONE))[0].contains("at least as good"));
        let waiting = certs(&other);
        assert!(
            reasons(&of(Certs::default(), View { staged: &|_| Some(waiting.clone()), ..NONE }))[0]
                .contains("waits")
        );
        let waiting = certs(&set);
        assert!(
            reasons(&of(Certs::default(), View { staged: &|_| Some(waiting.clone()), ..NONE }))[0]
                .contains("staged")
        );
        let short = Wish { names: &["a.test"], until: NOW.plus(DAY), ..Wish::default() };
        let short = lab.set_like(&short, &a.keys()[0]);
        assert_eq!(of(arranged(&short), NONE).takes.len(), 1, "it is valid for longer");
        let withdrawn = View { is_withdrawn: &|name, _| name == "a.test", ..NONE };
        assert!(reasons(&of(Certs::default(), withdrawn))[0].contains("withdrawn"));
    }

    #[test]
    fn the_keys_that_are_configured_are_taken_and_of_two_sets_the_longer_one() {
        let lab = Lab::new();
        let both = Md { key_specs: vec![KeySpec::Rsa(3072), p256()], ..md(&["a.test"]) };
        let short = Wish { names: &["a.test"], until: NOW.plus(DAY), ..Wish::default() };
        let sets = [
            found(lab.set_like(&short, &p256())),
            found(lab.set(&["a.test"], &p256())),
            found(lab.set(&["a.test"], &KeySpec::default())),
        ];
        let plan = make(&sets, &[managed(&both, Certs::default())], NONE, NOW);
        assert_eq!(plan.takes, [Take { md: 0, sets: vec![(2, KeySpec::Rsa(3072)), (1, p256())] }]);
        assert_eq!(plan.passed.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0]);
        assert!(plan.advice.is_empty());
        let rsa = Md { key_specs: vec![KeySpec::default()], ..md(&["a.test"]) };
        let plan = make(&sets[..2], &[managed(&rsa, Certs::default())], NONE, NOW);
        assert_eq!(plan.takes, [Take { md: 0, sets: vec![(1, p256())] }]);
        assert!(plan.advice[0].ends_with("MDPrivateKeys P-256"), "{plan:?}");
    }

    #[test]
    fn names_that_no_domain_has_become_lines_that_the_configuration_takes() {
        let lab = Lab::new();
        let le = Some("https://acme-v02.api.letsencrypt.org/directory".to_string());
        let set = |names: &[&str], spec: &KeySpec, main: &str| FoundSet {
            main: Some(main.into()),
            ca_url: le.clone(),
            ..found(lab.set(names, spec))
        };
        let names = &["a.test", "www.a.test"];
        let sets = [
            set(names, &KeySpec::default(), "www.a.test"),
            set(names, &p256(), "www.a.test"),
            set(&["*.b.test", "b.test"], &p256(), "*.b.test"),
        ];
        let account = FoundAccount {
            origin: "x".into(),
            ca_url: le.clone(),
            url: None,
            contacts: vec!["mailto:a\u{1b}@x".into(), "mailto:admin@a.test".into()],
            eab_kid: None,
            key: Err("x".into()),
        };
        let plan = make(&sets, &[], NONE, NOW);
        assert_eq!(plan.uncovered, [0, 1, 2]);
        let expected = "<MDomain www.a.test a.test>\n    MDCertificateAuthority LetsEncrypt\n    MDPrivateKeys RSA 2048 P-256\n    \
                        MDContactEmail admin@a.test\n</MDomain>\n<MDomain b.test *.b.test>\n    MDCertificateAuthority LetsEncrypt\n    \
                        MDPrivateKeys P-256\n    MDContactEmail admin@a.test\n</MDomain>";
        assert_eq!(lines(&sets, &plan.uncovered, &[account]).join("\n"), expected);
    }
}
