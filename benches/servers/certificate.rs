// SPDX-License-Identifier: Apache-2.0
//! A local CA, and the chain a domain would get from a public one: leaf of 90 days and intermediate.

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};

pub struct Authority {
    key: PKey<Private>,
    intermediate: X509,
}

/// PEM.
pub struct Issued {
    pub key: Vec<u8>,
    pub chain: Vec<u8>,
}

impl Authority {
    pub fn create() -> Authority {
        let (root_key, key) = (generate(), generate());
        let root = name("Bench Root");
        let mut builder = builder(&name("Bench Intermediate"), &root, &key, 3650);
        builder
            .append_extension(BasicConstraints::new().critical().ca().pathlen(0).build().unwrap())
            .unwrap();
        builder.sign(&root_key, MessageDigest::sha256()).unwrap();
        Authority { key, intermediate: builder.build() }
    }

    pub fn issue(&self, domain: &str) -> Issued {
        let key = generate();
        let mut builder = builder(&name(domain), self.intermediate.subject_name(), &key, 90);
        let names =
            SubjectAlternativeName::new().dns(domain).build(&builder.x509v3_context(None, None)).unwrap();
        for extension in [
            names,
            KeyUsage::new().critical().digital_signature().build().unwrap(),
            ExtendedKeyUsage::new().server_auth().build().unwrap(),
        ] {
            builder.append_extension(extension).unwrap();
        }
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        let chain = [builder.build().to_pem().unwrap(), self.intermediate.to_pem().unwrap()].concat();
        Issued { key: key.private_key_to_pem_pkcs8().unwrap(), chain }
    }
}

fn builder(
    subject: &X509Name,
    issuer: &openssl::x509::X509NameRef,
    key: &PKey<Private>,
    days: u32,
) -> X509Builder {
    let mut serial = BigNum::new().unwrap();
    serial.rand(127, MsbOption::MAYBE_ZERO, false).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(subject).unwrap();
    builder.set_issuer_name(issuer).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(days).unwrap()).unwrap();
    builder
}

fn generate() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn name(common_name: &str) -> X509Name {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, common_name).unwrap();
    name.build()
}
