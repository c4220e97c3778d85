// SPDX-License-Identifier: Apache-2.0
//! Decides which certificate a host serves, independently of renewal. A host serves its certificate until the
//! successor is in use, also where the configuration requires more than the certificate has; a self-signed
//! one is the last resort. Pure functions of certificates and `now`; imports `certificates`.

use super::certificates::KeyedCert;
use crate::crypto::CertInfo;
use crate::model::{KeySpec, Md};
use crate::names;
use crate::time::Timestamp;
use std::cmp::Ordering;
use std::ops::Deref;

/// The certificates that exist for an MD, sorted into those of configured keys and others.
///
/// Dereferences to the entries of the configured keys, which decide about renewing.
#[derive(Clone, Debug, Default)]
pub struct Certs {
    /// One entry for each configured key, `None` where there is no certificate for it.
    pub keyed: Vec<KeyedCert>,
    /// Those for kinds of keys that are not configured (any more).
    pub spare: Vec<KeyedCert>,
}

impl Certs {
    /// Puts certificates in the order of the keys that are configured.
    pub fn arrange(keys: &[KeySpec], found: impl IntoIterator<Item = (KeySpec, CertInfo)>) -> Self {
        let mut found: Vec<_> = found.into_iter().collect();
        let mut take = |fits: &dyn Fn(&KeySpec) -> bool| {
            found.iter().position(|(spec, _)| fits(spec)).map(|at| found.remove(at))
        };
        let mut certs = Certs::default();
        for key in keys {
            let name = key.file_name("");
            // A curve has several names, and files of each.
            let cert = take(&|spec| spec.file_name("") == name).map(|(_, cert)| (key.clone(), Some(cert)));
            let cert =
                cert.or_else(|| take(&|spec| spec.same_type(key)).map(|(spec, cert)| (spec, Some(cert))));
            certs.keyed.push(cert.unwrap_or_else(|| (key.clone(), None)));
        }
        certs.spare = found.into_iter().map(|(spec, cert)| (spec, Some(cert))).collect();
        certs
    }

    /// All that exist, of configured keys and others.
    pub fn all(&self) -> impl Iterator<Item = &CertInfo> {
        self.by_key().map(|(_, cert)| cert)
    }

    /// The same, with their kinds of keys.
    pub fn by_key(&self) -> impl Iterator<Item = (&KeySpec, &CertInfo)> {
        self.keyed().chain(self.spare())
    }

    fn keyed(&self) -> impl Iterator<Item = (&KeySpec, &CertInfo)> {
        existing(&self.keyed)
    }

    fn spare(&self) -> impl Iterator<Item = (&KeySpec, &CertInfo)> {
        existing(&self.spare)
    }

    /// Those to serve: of the configured keys, or of others where these have none in time. Without any in
    /// time, those of the configured keys, or else the others.
    pub fn best(&self, now: Timestamp) -> Vec<(&KeySpec, &CertInfo)> {
        let in_time = |(_, cert): &(&KeySpec, &CertInfo)| is_in_time(cert, now);
        let choices = [
            self.keyed().filter(in_time).collect::<Vec<_>>(),
            self.spare().filter(in_time).collect(),
            self.keyed().collect(),
            self.spare().collect(),
        ];
        choices.into_iter().find(|choice| !choice.is_empty()).unwrap_or_default()
    }

    /// Whether those that are served are valid by their dates.
    pub fn are_in_time(&self, now: Timestamp) -> bool {
        self.best(now).first().is_some_and(|(_, cert)| is_in_time(cert, now))
    }

    /// Whether those that are served have a name of `md`, expired or not.
    pub fn are_for(&self, md: &Md, now: Timestamp) -> bool {
        self.worth(md, now).names > 0
    }

    /// Whether clients have no less of these than of `other`, whatever the keys.
    pub fn serve_no_less_than(&self, other: &Certs, md: &Md, now: Timestamp) -> bool {
        let (own, others) = (self.worth(md, now), other.worth(md, now));
        Worth { keys: 0, ..own } >= Worth { keys: 0, ..others }
    }

    /// The worth of the best of them to `md`.
    pub fn worth(&self, md: &Md, now: Timestamp) -> Worth {
        let best = self.best(now);
        let is_configured = |spec: &KeySpec| self.keyed().any(|(keyed, _)| keyed == spec);
        Worth {
            is_any: !best.is_empty(),
            // The best are all in time, or none is.
            is_in_time: self.are_in_time(now),
            names: best.iter().map(|(_, cert)| names_covered(md, cert)).min().unwrap_or_default(),
            keys: best.iter().filter(|(spec, _)| is_configured(spec)).count(),
        }
    }
}

impl Deref for Certs {
    type Target = [KeyedCert];

    fn deref(&self) -> &[KeyedCert] {
        &self.keyed
    }
}

impl From<Vec<KeyedCert>> for Certs {
    fn from(keyed: Vec<KeyedCert>) -> Self {
        Certs { keyed, spare: Vec::new() }
    }
}

impl Certs {
    /// Whether these serve clients better than `other`. Fewer configured keys are no loss if the certificates
    /// are valid for longer.
    pub fn outdo(&self, other: &Certs, md: &Md, now: Timestamp) -> bool {
        let (own, others) = (self.worth(md, now), other.worth(md, now));
        let end = |certs: &Certs| certs.best(now).iter().map(|(_, cert)| cert.not_after).min();
        let is_only_for_keys = Worth { keys: own.keys, ..others } == own;
        others < own && !(is_only_for_keys && end(other) > end(self))
    }
}

fn existing(certs: &[KeyedCert]) -> impl Iterator<Item = (&KeySpec, &CertInfo)> {
    certs.iter().filter_map(|(spec, cert)| Some((spec, cert.as_ref()?)))
}

fn is_in_time(cert: &CertInfo, now: Timestamp) -> bool {
    cert.not_before <= now && now < cert.not_after
}

fn names_covered(md: &Md, cert: &CertInfo) -> usize {
    if md.is_covered_by(&cert.dns_names) {
        return md.domains.len();
    }
    let covers = |name: &&String| cert.dns_names.iter().any(|pattern| names::covers(pattern, name));
    md.domains.iter().filter(covers).count()
}

/// How much clients get from a set of certificates. The greater one is better; equal ones are as good as each
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worth {
    is_any: bool,
    /// All of them are valid by their dates.
    is_in_time: bool,
    /// Names of the MD that each of them covers.
    names: usize,
    /// Certificates for configured keys.
    keys: usize,
}

impl Worth {
    fn rank(self) -> (bool, bool, usize, usize) {
        (self.is_any, self.is_in_time, self.names, self.keys)
    }
}

impl PartialOrd for Worth {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.rank().partial_cmp(&other.rank())
    }
}

/// The certificate files that the host itself has (`SSLCertificateFile`, inherited ones too).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    None,
    /// They can be read, and one is valid by its dates.
    InTime,
    /// Expired, not yet valid, or not to be read as a certificate.
    Unfit,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnFile {
    pub is_in_time: bool,
    pub is_rsa: bool,
}

impl OwnFile {
    /// All clients can do with RSA. So it stays for those that can do with nothing else where an MD has no
    /// RSA key; a file with another kind of key would be shown instead of the MD's certificate, and expire
    /// one day.
    pub fn stays_beside_others(&self) -> bool {
        self.is_in_time && self.is_rsa
    }
}

impl Own {
    pub fn of_all(files: &[OwnFile]) -> Own {
        match files {
            [] => Own::None,
            files if files.iter().any(|file| file.is_in_time) => Own::InTime,
            _ => Own::Unfit,
        }
    }
}

/// The source of a host's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The certificates of its MD, see [`Certs::best`].
    Md,
    /// The files of its MD (`MDCertificateFile`).
    Static,
    /// The host's own files.
    Own,
    /// None: the host serves a self-signed certificate and answers 503.
    SelfSigned,
}

impl Source {
    /// As md-status names it.
    pub fn label(self) -> &'static str {
        match self {
            Source::Md | Source::Static => "md",
            Source::Own => "file",
            Source::SelfSigned => "self-signed",
        }
    }
}

/// Decides for the host of this name, which has `md`. `certs` are those that mod_ssl takes.
pub fn decide(md: &Md, host: &str, certs: &Certs, own: Own, now: Timestamp) -> Source {
    if md.has_static_files() {
        return Source::Static;
    }
    let best = certs.best(now);
    let serves_host = |(_, cert): &(&KeySpec, &CertInfo)| {
        is_in_time(cert, now) && cert.dns_names.iter().any(|pattern| names::covers(pattern, host))
    };
    match own {
        _ if !best.is_empty() && best.iter().all(serves_host) => Source::Md,
        // Better a good certificate of the host's than one that clients refuse.
        Own::InTime => Source::Own,
        _ if !best.is_empty() => Source::Md,
        Own::Unfit => Source::Own,
        Own::None => Source::SelfSigned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::DAY;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn cert(names: &[&str], from: Timestamp, until: Timestamp) -> CertInfo {
        let dns_names = names.iter().map(|name| (*name).to_string()).collect();
        CertInfo { dns_names, not_before: from, not_after: until, ..CertInfo::default() }
    }

    fn md() -> Md {
        Md { name: "a.test".into(), domains: vec!["a.test".into(), "b.test".into()], ..Md::default() }
    }

    fn p256() -> KeySpec {
        KeySpec::Ec("P-256".into())
    }

    /// The conditions that a certificate of an MD can be in.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Is {
        Missing,
        Good,
        SomeNames,
        OtherNames,
        Expired,
        NotYet,
    }

    const CONDITIONS: [Is; 6] =
        [Is::Missing, Is::Good, Is::SomeNames, Is::OtherNames, Is::Expired, Is::NotYet];

    fn found(is: Is) -> Option<CertInfo> {
        let (before, after) = (NOW.minus(DAY), NOW.plus(DAY));
        Some(match is {
            Is::Missing => return None,
            Is::Good => cert(&["a.test", "b.test"], before, after),
            Is::SomeNames => cert(&["a.test"], before, after),
            Is::OtherNames => cert(&["x.test"], before, after),
            Is::Expired => cert(&["a.test", "b.test"], NOW.minus(DAY * 9), before),
            Is::NotYet => cert(&["a.test", "b.test"], after, NOW.plus(DAY * 9)),
        })
    }

    fn certs(keys: &[KeySpec], rsa: Is, ec: Is) -> Certs {
        let all = [(KeySpec::default(), found(rsa)), (p256(), found(ec))];
        Certs::arrange(keys, all.into_iter().filter_map(|(spec, cert)| Some((spec, cert?))))
    }

    fn labels(certs: &Certs) -> Vec<String> {
        certs.best(NOW).iter().map(|(spec, _)| spec.label().to_string()).collect()
    }

    /// The certificate that each host serves, for every condition of the one configured key, of a key that is
    /// no longer configured, and of the host's own files.
    #[test]
    fn every_combination_serves_the_best_there_is() {
        for (configured, former) in CONDITIONS.iter().flat_map(|a| CONDITIONS.map(|b| (*a, b))) {
            let certs = certs(&[p256()], former, configured);
            let is_now = |is: Is| matches!(is, Is::Good | Is::SomeNames | Is::OtherNames);
            let chosen = match (configured, former) {
                (Is::Missing, Is::Missing) => None,
                (configured, _) if is_now(configured) => Some((configured, "P-256")),
                (_, former) if is_now(former) => Some((former, "rsa")),
                (Is::Missing, former) => Some((former, "rsa")),
                (configured, _) => Some((configured, "P-256")),
            };
            let expected: Vec<_> = chosen.iter().map(|(_, label)| (*label).to_string()).collect();
            assert_eq!(labels(&certs), expected, "{configured:?} {former:?}");
            for own in [Own::None, Own::InTime, Own::Unfit] {
                let expected = match (chosen.map(|(is, _)| is), own) {
                    (Some(Is::Good | Is::SomeNames), _) => Source::Md,
                    (_, Own::InTime) => Source::Own,
                    (Some(_), _) => Source::Md,
                    (None, Own::Unfit) => Source::Own,
                    (None, Own::None) => Source::SelfSigned,
                };
                let what = format!("{configured:?} {former:?} {own:?}");
                assert_eq!(decide(&md(), "a.test", &certs, own, NOW), expected, "{what}");
                let with_files = Md { cert_files: vec!["/x".into()], ..md() };
                assert_eq!(decide(&with_files, "a.test", &certs, own, NOW), Source::Static, "{what}");
            }
        }
    }

    #[test]
    fn a_certificate_without_the_name_of_a_host_does_not_replace_its_file() {
        let certs = certs(&[p256()], Is::Missing, Is::SomeNames);
        let source = |host, own| decide(&md(), host, &certs, own, NOW);
        assert_eq!(source("a.test", Own::InTime), Source::Md);
        assert_eq!(source("b.test", Own::InTime), Source::Own);
        assert_eq!(source("b.test", Own::Unfit), Source::Md);
        assert_eq!(source("b.test", Own::None), Source::Md);
    }

    #[test]
    fn of_the_files_of_a_host_valid_ones_with_rsa_keys_stay() {
        let file = |is_in_time, is_rsa| OwnFile { is_in_time, is_rsa };
        assert!(file(true, true).stays_beside_others());
        assert!(!file(true, false).stays_beside_others() && !file(false, true).stays_beside_others());
        assert_eq!(Own::of_all(&[]), Own::None);
        assert_eq!(Own::of_all(&[file(false, true), file(true, false)]), Own::InTime);
        assert_eq!(Own::of_all(&[file(false, true)]), Own::Unfit);
    }

    #[test]
    fn of_two_configured_keys_the_ones_in_time_are_served() {
        let both = [KeySpec::default(), p256()];
        for (rsa, ec, expected) in [
            (Is::Good, Is::Good, vec!["rsa", "P-256"]),
            (Is::Good, Is::Missing, vec!["rsa"]),
            (Is::SomeNames, Is::Good, vec!["rsa", "P-256"]),
            (Is::Good, Is::Expired, vec!["rsa"]),
            (Is::Expired, Is::NotYet, vec!["rsa", "P-256"]),
        ] {
            assert_eq!(labels(&certs(&both, rsa, ec)), expected, "{rsa:?} {ec:?}");
        }
    }

    #[test]
    fn the_names_of_a_curve_are_one_and_its_files_keep_their_names() {
        let good = || found(Is::Good).unwrap();
        let certs = Certs::arrange(&[KeySpec::Ec("secp256r1".into())], [(p256(), good())]);
        assert_eq!((certs.keyed[0].0.label(), certs.spare.len()), ("P-256", 0));
        let longer = KeySpec::Rsa(4096);
        let certs = Certs::arrange(std::slice::from_ref(&longer), [(KeySpec::default(), good())]);
        assert_eq!(certs.keyed[0].0, longer);
        let own = (KeySpec::Ec("secp256r1".into()), good());
        let certs = Certs::arrange(&[KeySpec::Ec("secp256r1".into())], [(p256(), good()), own]);
        assert_eq!((certs.keyed[0].0.label(), certs.spare.len()), ("secp256r1", 1));
    }

    #[test]
    fn fewer_keys_do_not_count_where_a_set_is_valid_for_longer() {
        let keys = [KeySpec::default()];
        let (configured, former) = (certs(&keys, Is::Good, Is::Missing), certs(&keys, Is::Missing, Is::Good));
        assert!(configured.outdo(&former, &md(), NOW) && !former.outdo(&configured, &md(), NOW));
        let longer = cert(&["a.test", "b.test"], NOW, NOW.plus(DAY * 9));
        let longer = Certs::arrange(&keys, [(p256(), longer)]);
        assert!(!configured.outdo(&longer, &md(), NOW) && !longer.outdo(&configured, &md(), NOW));
        assert!(certs(&keys, Is::Good, Is::Good).outdo(
            &certs(&keys, Is::Missing, Is::SomeNames),
            &md(),
            NOW
        ));
    }

    #[test]
    fn a_set_is_worth_more_in_time_then_by_names_then_by_keys() {
        let keys = [KeySpec::default()];
        let worth = |rsa, ec| certs(&keys, rsa, ec).worth(&md(), NOW);
        let ascending = [
            worth(Is::Missing, Is::Missing),
            worth(Is::Expired, Is::Missing),
            worth(Is::OtherNames, Is::Missing),
            worth(Is::Missing, Is::SomeNames),
            worth(Is::SomeNames, Is::Missing),
            worth(Is::Missing, Is::Good),
            worth(Is::Good, Is::Missing),
        ];
        assert!(ascending.windows(2).all(|pair| pair[0] < pair[1]), "{ascending:?}");
        assert!(worth(Is::Good, Is::Good) >= worth(Is::Good, Is::Missing));
        assert!(worth(Is::Expired, Is::Missing) >= worth(Is::NotYet, Is::Missing));
    }
}
