// SPDX-License-Identifier: Apache-2.0
//! The certificates of a managed domain by its keys, and the state computed from them, never from a flag
//! alone. An expired set counts as complete: `renew::decide` decides when to renew it. Pure; imports [`fit`]
//! beside `crypto` and `model`.

use super::fit::{self, Unfit};
use crate::crypto::CertInfo;
use crate::model::{KeySpec, Md, State};
use crate::time::Timestamp;

/// The certificate of one key of an MD; `None` where certificate or key are missing or unusable.
pub type KeyedCert = (KeySpec, Option<CertInfo>);

/// The state of `md` with these certificates, one per key, and the reason if it is incomplete.
pub fn assess(md: &Md, certs: &[KeyedCert]) -> (State, Option<String>) {
    let unfit = |(spec, cert): &KeyedCert| {
        fit::check_content(md, cert.as_ref()).err().map(|unfit| described(&unfit, md, spec.label()))
    };
    match certs.iter().find_map(unfit) {
        Some(descr) => (State::Incomplete, Some(descr)),
        None => (State::Complete, None),
    }
}

/// Whether the certificates in use are good for a while. A site without certificate must not wait for its
/// first one.
pub fn is_good(md: &Md, certs: &[KeyedCert], now: Timestamp) -> bool {
    certs.iter().all(|(_, cert)| fit::check(md, cert.as_ref(), now).is_ok())
}

/// As the C module has it.
fn described(unfit: &Unfit, md: &Md, label: &str) -> String {
    let not = |yes: bool| if yes { "" } else { " not" };
    match unfit {
        Unfit::Names => format!("certificate({label}) does not cover all domains."),
        Unfit::MustStaple => format!(
            "'must-staple' is{} requested, but certificate({label}) has it{} enabled.",
            not(md.must_staple),
            not(!md.must_staple)
        ),
        other => other.of(label),
    }
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
