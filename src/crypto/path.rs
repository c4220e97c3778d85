// SPDX-License-Identifier: Apache-2.0
//! Picks the certification path (RFC 5280 §6.1) from the certificates a CA sends. RFC 8555 §9.1 requires the
//! end-entity certificate first and each following one to certify the one before; CAs repeat certificates,
//! add roots, or sort differently. Keeps the path and drops the rest.

use super::{Certificate, Chain, PrivateKey};
use std::collections::HashSet;
use std::fmt;

/// The certificates that were sent beside the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Certificates that were sent before.
    repeated: usize,
    /// Certificates that certify nothing on the path.
    unrelated: usize,
    /// The path stood in another order.
    is_reordered: bool,
}

impl Dropped {
    /// Exactly the path was sent.
    pub fn is_nothing(&self) -> bool {
        *self == Dropped::default()
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = self.is_reordered.then(|| String::from("certificates not in order"));
        let count = |n: usize, what: &str| (n > 0).then(|| format!("{n} {what}"));
        let found = [order, count(self.repeated, "repeated"), count(self.unrelated, "not on the path")];
        f.write_str(&found.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

impl Chain {
    /// The certificate of `key`, its issuer, and so on as far as they were sent. `None`: no certificate is
    /// for that key. Of several issuers with the same key the first counts that another CA has issued: it
    /// leads further than a root that certifies itself.
    pub fn into_path(self, key: &PrivateKey) -> Option<(Chain, Dropped)> {
        let sent = self.certificates();
        let mut seen = HashSet::new();
        let mut rest: Vec<(usize, &Certificate)> =
            sent.iter().enumerate().filter(|(_, cert)| seen.insert(cert.der())).collect();
        let repeated = sent.len() - rest.len();
        // Each is looked at several times, here and by those who put the path to use.
        rest.iter().for_each(|(_, cert)| cert.keep_x509());
        let mut path = vec![rest.remove(rest.iter().position(|(_, cert)| cert.matches_key(key))?)];
        while let Some(at) = path.last().and_then(|(_, last)| issuer(last, &rest)) {
            path.push(rest.remove(at));
        }
        let path: Vec<usize> = path.into_iter().map(|(at, _)| at).collect();
        let dropped = Dropped { repeated, unrelated: rest.len(), is_reordered: !path.is_sorted() };
        // Moved, with what OpenSSL has read of them.
        let mut sent: Vec<_> = self.into_certificates().into_iter().map(Some).collect();
        let path = path.into_iter().filter_map(|at| sent.get_mut(at)?.take()).collect();
        Some((Chain::new(path).ok()?, dropped))
    }
}

/// Where in `rest` the issuer of `cert` stands.
fn issuer(cert: &Certificate, rest: &[(usize, &Certificate)]) -> Option<usize> {
    let issuers = |is_root: bool| {
        rest.iter().position(move |(_, other)| other.is_self_issued() == is_root && cert.was_issued_by(other))
    };
    issuers(false).or_else(|| issuers(true))
}

#[cfg(test)]
mod tests {
    use super::super::Identity;
    use super::super::fixture::{Ca, Wish};
    use super::*;
    use crate::model::KeySpec;
    use openssl::x509::X509Ref;

    fn key() -> PrivateKey {
        PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap()
    }

    struct Sent {
        key: PrivateKey,
        /// Leaf, intermediate, root.
        path: [Certificate; 3],
        /// The old CA's certificate for the key of the new one.
        cross: Certificate,
        old: Ca,
        root: Ca,
    }

    fn sent() -> Sent {
        let (root, old, key) = (Ca::new("Root"), Ca::new("Old"), key());
        let intermediate = root.intermediate("Intermediate");
        let leaf = intermediate.issue(&["a.test"], &key).leaf().clone();
        let cross = old.cross_sign(&root);
        let path = [leaf, intermediate.certificate().clone(), root.certificate().clone()];
        Sent { key, path, cross, old, root }
    }

    #[track_caller]
    fn assert_path(sent: &Sent, certificates: &[&Certificate], expected: &[&Certificate], dropped: &str) {
        let chain = Chain::new(certificates.iter().copied().cloned().collect()).unwrap();
        let (path, what) = chain.into_path(&sent.key).unwrap();
        let ders = |certs: &[&Certificate]| certs.iter().map(|cert| cert.der().to_vec()).collect::<Vec<_>>();
        assert_eq!(ders(&path.certificates().iter().collect::<Vec<_>>()), ders(expected));
        assert_eq!((what.to_string().as_str(), what.is_nothing()), (dropped, dropped.is_empty()));
    }

    #[test]
    fn openssl_reads_the_certificates_of_a_path_once_and_copies_do_not_keep_its_form() {
        let sent = sent();
        let [leaf, intermediate, root] = sent.path.clone();
        let chain = Chain::new(vec![root, leaf, intermediate]).unwrap();
        let (path, _) = chain.into_path(&sent.key).unwrap();
        let form = |cert: &Certificate| std::ptr::from_ref::<X509Ref>(&cert.x509().unwrap());
        for cert in path.certificates() {
            assert_eq!(form(cert), form(cert));
            assert_ne!(form(cert), form(&cert.clone()));
        }
        let identity = Identity::new(&sent.key, &path).unwrap();
        assert_eq!(std::ptr::from_ref::<X509Ref>(&identity.leaf), form(path.leaf()));
    }

    #[test]
    fn the_path_is_picked_out_of_whatever_order_and_company_it_was_sent_in() {
        let sent = sent();
        let [leaf, intermediate, root] = &sent.path;
        let whole = [leaf, intermediate, root];
        let stranger = sent.old.certificate();
        for (certificates, dropped) in [
            (vec![leaf, intermediate, root], ""),
            (vec![leaf, intermediate, intermediate, root], "1 repeated"),
            (vec![leaf, leaf, intermediate, root, leaf], "2 repeated"),
            (vec![leaf, root, intermediate], "certificates not in order"),
            (vec![root, intermediate, leaf], "certificates not in order"),
            (vec![leaf, intermediate, root, stranger], "1 not on the path"),
            (vec![stranger, leaf, intermediate, stranger, root], "1 repeated, 1 not on the path"),
        ] {
            assert_path(&sent, &certificates, &whole, dropped);
        }
    }

    #[test]
    fn a_path_ends_where_no_issuer_was_sent() {
        let sent = sent();
        let [leaf, intermediate, root] = &sent.path;
        assert_path(&sent, &[leaf], &[leaf], "");
        assert_path(&sent, &[leaf, intermediate], &[leaf, intermediate], "");
        assert_path(&sent, &[leaf, root], &[leaf], "1 not on the path");
    }

    #[test]
    fn a_name_alone_makes_no_issuer() {
        let sent = sent();
        let [leaf, intermediate, _] = &sent.path;
        let impostor = Ca::new("Intermediate");
        let expected = [leaf, intermediate];
        assert_path(&sent, &[leaf, impostor.certificate(), intermediate], &expected, "1 not on the path");
        assert_path(&sent, &[leaf, impostor.certificate()], &[leaf], "1 not on the path");
    }

    #[test]
    fn of_two_certificates_for_one_issuer_the_one_that_leads_further_counts() {
        let sent = sent();
        let [leaf, intermediate, root] = &sent.path;
        let expected = [leaf, intermediate, &sent.cross];
        assert_path(&sent, &[leaf, intermediate, &sent.cross], &expected, "");
        assert_path(&sent, &[leaf, intermediate, root, &sent.cross], &expected, "1 not on the path");
    }

    #[test]
    fn certificates_that_issue_each_other_end_the_path_all_the_same() {
        let sent = sent();
        let [leaf, intermediate, root] = &sent.path;
        let back = sent.root.cross_sign(&sent.old);
        let chain = [leaf, intermediate, &sent.cross, &back, root];
        assert_path(&sent, &chain, &chain, "");
        assert_path(&sent, &chain[..4], &chain[..4], "");
    }

    #[test]
    fn the_leaf_is_the_certificate_of_the_key() {
        let sent = sent();
        let other = Ca::new("CA").grant(&Wish { names: &["b.test"], ..Wish::default() }, &key());
        let [leaf, intermediate, _] = &sent.path;
        assert_path(&sent, &[other.leaf(), leaf, intermediate], &[leaf, intermediate], "1 not on the path");
        let chain = Chain::new(vec![other.leaf().clone(), intermediate.clone()]).unwrap();
        assert!(chain.into_path(&sent.key).is_none());
    }
}
