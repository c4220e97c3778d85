// SPDX-License-Identifier: Apache-2.0
//! The part of the CA that signs certificates.

use mod_md::time::Timestamp;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{AuthorityKeyIdentifier, BasicConstraints, SubjectKeyIdentifier};
use openssl::x509::{X509, X509Builder, X509NameBuilder, X509Req};
use std::time::Duration;

pub struct Issuer {
    key: PKey<Private>,
    certificate: X509,
}

impl Issuer {
    pub fn new(host: &str, now: Timestamp) -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_nid(Nid::COMMONNAME, &format!("Issuer of {host}")).unwrap();
        let name = name.build();
        let mut builder = started(now, Duration::from_secs(20 * 365 * 86_400));
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        let id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(id).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Issuer { key, certificate: builder.build() }
    }

    pub fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    /// Leaf and issuer in PEM, for a request that asks for exactly `names`. `Err` says what is wrong.
    /// `drops_extensions`: what the request asks for beside its subject is left out, the names with it.
    pub fn issue(
        &self,
        csr: &[u8],
        names: &[String],
        now: Timestamp,
        lifetime: Duration,
        drops_extensions: bool,
    ) -> Result<Vec<u8>, String> {
        let request = X509Req::from_der(csr).map_err(|e| e.to_string())?;
        let key = request.public_key().map_err(|e| e.to_string())?;
        if !request.verify(&key).unwrap_or(false) {
            return Err("the request is not signed by its key".into());
        }
        let mut builder = started(now, lifetime);
        builder.set_subject_name(request.subject_name()).unwrap();
        builder.set_issuer_name(self.certificate.subject_name()).unwrap();
        builder.set_pubkey(&key).unwrap();
        let extensions = request.extensions().map_err(|e| e.to_string())?;
        for extension in extensions.into_iter().filter(|_| !drops_extensions) {
            builder.append_extension(extension).unwrap();
        }
        let context = builder.x509v3_context(Some(&self.certificate), None);
        let id = AuthorityKeyIdentifier::new().keyid(true).build(&context).unwrap();
        builder.append_extension(id).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        let leaf = builder.build();
        if drops_extensions {
            return Ok([leaf.to_pem().unwrap(), self.pem()].concat());
        }
        let (mut asked, mut ordered) = (names_of(&leaf), names.to_vec());
        asked.sort();
        ordered.sort();
        if asked != ordered {
            return Err(format!("the request is for {asked:?}, the order for {ordered:?}"));
        }
        let mut chain = leaf.to_pem().unwrap();
        chain.extend(self.pem());
        Ok(chain)
    }
}

fn started(now: Timestamp, lifetime: Duration) -> X509Builder {
    let mut serial = BigNum::new().unwrap();
    serial.rand(120, MsbOption::MAYBE_ZERO, false).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(now.unix()).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(now.plus(lifetime).unix()).unwrap()).unwrap();
    builder
}

fn names_of(certificate: &X509) -> Vec<String> {
    let address = |bytes: &[u8]| match <[u8; 4]>::try_from(bytes) {
        Ok(v4) => std::net::IpAddr::from(v4).to_string(),
        Err(_) => std::net::IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap()).to_string(),
    };
    let names = certificate.subject_alt_names();
    let name = |n: &openssl::x509::GeneralNameRef| match (n.dnsname(), n.ipaddress()) {
        (Some(dns), _) => dns.to_string(),
        (None, Some(ip)) => address(ip),
        (None, None) => panic!("a SAN that is neither name nor address"),
    };
    names.iter().flatten().map(name).collect()
}
