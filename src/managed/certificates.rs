// SPDX-License-Identifier: Apache-2.0
//! Whether a managed domain has what it needs: derived from its certificates, never from a flag alone.
//! An expired certificate is still a complete set; that it must be renewed is the renewal's decision.

use crate::crypto::CertInfo;
use crate::model::{KeySpec, Md, State};
use crate::time::Timestamp;

/// The certificate of one key of an MD; `None` where certificate or key are missing or unusable.
pub type KeyedCert = (KeySpec, Option<CertInfo>);

/// The state of `md` with these certificates, one per key, and what is wrong where it is incomplete.
pub fn assess(md: &Md, certs: &[KeyedCert]) -> (State, Option<String>) {
    match certs.iter().find_map(|(spec, cert)| flaw(md, spec.label(), cert.as_ref())) {
        Some(flaw) => (State::Incomplete, Some(flaw)),
        None => (State::Complete, None),
    }
}

/// Whether what is in use can go on for a while. A site without certificate must not wait for its first one.
pub fn is_good(md: &Md, certs: &[KeyedCert], now: Timestamp) -> bool {
    assess(md, certs).0 == State::Complete && are_valid(certs, now)
}

/// Whether there is a certificate for each key, and none has expired.
pub fn are_valid(certs: &[KeyedCert], now: Timestamp) -> bool {
    certs.iter().all(|(_, cert)| cert.as_ref().is_some_and(|cert| now < cert.not_after))
}

fn flaw(md: &Md, label: &str, cert: Option<&CertInfo>) -> Option<String> {
    let Some(cert) = cert else { return Some(format!("certificate({label}) is missing")) };
    if !md.is_covered_by(&cert.dns_names) {
        return Some(format!("certificate({label}) does not cover all domains."));
    }
    let not = |yes: bool| if yes { "" } else { " not" };
    (md.must_staple != cert.must_staple).then(|| {
        format!(
            "'must-staple' is{} requested, but certificate({label}) has it{} enabled.",
            not(md.must_staple),
            not(cert.must_staple)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::Ca;

    fn certs(names: &[&str]) -> Vec<KeyedCert> {
        let key = crate::crypto::PrivateKey::generate(&KeySpec::default()).unwrap();
        let chain = Ca::new("CA").issue(names, &key);
        vec![(KeySpec::default(), Some(CertInfo::from_chain(&chain)))]
    }

    fn descr(md: &Md, certs: &[KeyedCert]) -> Option<String> {
        let (state, descr) = assess(md, certs);
        assert_eq!(state == State::Complete, descr.is_none());
        descr
    }

    #[test]
    fn every_configured_key_needs_a_certificate_that_covers_all_names() {
        let md =
            Md { name: "a.test".into(), domains: vec!["a.test".into(), "b.test".into()], ..Md::default() };
        let missing = [(KeySpec::default(), None), (KeySpec::Ec("P-256".into()), None)];
        assert_eq!(descr(&md, &missing).unwrap(), "certificate(rsa) is missing");
        assert_eq!(descr(&md, &missing[1..]).unwrap(), "certificate(P-256) is missing");
        assert_eq!(descr(&md, &certs(&["a.test"])).unwrap(), "certificate(rsa) does not cover all domains.");
        assert_eq!(descr(&md, &certs(&["a.test", "b.test", "c.test"])), None);
        // Static files, too, go by the kind of their keys.
        let with_files = Md { cert_files: vec!["/x".into()], ..md };
        assert_eq!(descr(&with_files, &missing[1..]).unwrap(), "certificate(P-256) is missing");
    }

    #[test]
    fn must_staple_has_to_be_as_requested() {
        let mut md = Md { name: "a.test".into(), domains: vec!["a.test".into()], ..Md::default() };
        let mut certs = certs(&["a.test"]);
        md.must_staple = true;
        let text = "'must-staple' is requested, but certificate(rsa) has it not enabled.";
        assert_eq!(descr(&md, &certs).unwrap(), text);
        certs[0].1.as_mut().unwrap().must_staple = true;
        assert_eq!(descr(&md, &certs), None);
        md.must_staple = false;
        let text = "'must-staple' is not requested, but certificate(rsa) has it enabled.";
        assert_eq!(descr(&md, &certs).unwrap(), text);
    }
}
