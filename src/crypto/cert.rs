// SPDX-License-Identifier: Apache-2.0
//! Certificates and chains (RFC 5280), read from PEM and DER, and the facts about them that decisions and
//! status pages need. Does not decide about trust: a client checks whether a chain leads to a root.

use super::extension::Sct;
use super::tbs::Fields;
use super::{Error, PrivateKey, key_info, pem};
use crate::model::KeySpec;
use crate::time::Timestamp;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::Id;
use openssl::sha::sha256;
use openssl::sign::{Signer, Verifier};
use openssl::x509::X509;
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

const LABEL: &str = "CERTIFICATE";
/// No chain of a public CA comes near.
const CHAIN_MAX: usize = 20;
/// Bytes of a PEM file that is read as a chain.
const PEM_MAX: usize = 1024 * 1024;

pub struct Certificate {
    der: Vec<u8>,
    fields: Fields,
    /// OpenSSL's own form, after [`Certificate::keep_x509`]: to make it takes half a millisecond, most of it for the
    /// public key.
    x509: OnceLock<X509>,
}

/// Without OpenSSL's form, which takes several times as much memory: clones are often kept for long.
impl Clone for Certificate {
    fn clone(&self) -> Self {
        Certificate { der: self.der.clone(), fields: self.fields.clone(), x509: OnceLock::new() }
    }
}

impl Certificate {
    pub(super) fn from_x509(x509: &X509) -> Result<Self, Error> {
        Certificate::from_der(x509.to_der()?)
    }

    /// `der` is the whole certificate and nothing else.
    pub fn from_der(der: Vec<u8>) -> Result<Self, Error> {
        let fields = Fields::read(&der);
        let fields =
            fields.ok_or_else(|| Error::Invalid("the certificate is not in the form of RFC 5280".into()))?;
        Ok(Certificate { der, fields, x509: OnceLock::new() })
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The content bytes of the serial number's INTEGER.
    pub fn serial(&self) -> &[u8] {
        &self.fields.serial
    }

    /// The DER of the SubjectPublicKeyInfo.
    pub fn public_key(&self) -> &[u8] {
        &self.fields.public_key
    }

    /// Its issuer lets it answer for revocation (RFC 6960 §4.2.2.2): it has the extended key usage for that.
    pub fn may_sign_ocsp(&self) -> bool {
        self.fields.extensions.may_sign_ocsp
    }

    /// Subject and issuer have the same name, as those of roots.
    pub fn is_self_issued(&self) -> bool {
        self.fields.issuer == self.fields.subject
    }

    /// For operations that only OpenSSL has. OpenSSL decides by its own rules whether this is a certificate.
    pub fn x509(&self) -> Result<X509, ErrorStack> {
        self.x509.get().map_or_else(|| X509::from_der(&self.der), |kept| Ok(kept.clone()))
    }

    /// Has it ready for all that asks for it from now on. Not for a certificate that is kept for long.
    pub(super) fn keep_x509(&self) {
        if let Ok(x509) = self.x509() {
            self.x509.get_or_init(|| x509);
        }
    }

    pub fn not_before(&self) -> Timestamp {
        self.fields.not_before
    }

    pub fn not_after(&self) -> Timestamp {
        self.fields.not_after
    }

    /// Whole bytes in upper-case hex, without the zero byte that only carries the sign.
    pub fn serial_hex(&self) -> String {
        HEXUPPER.encode(match self.fields.serial.as_slice() {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        })
    }

    /// Lower-case hex of the SHA-256 over the DER of its public key.
    pub fn key_fingerprint(&self) -> String {
        HEXLOWER.encode(&sha256(self.public_key()))
    }

    /// Lower-case hex of the SHA-256 over the DER.
    pub fn sha256_fingerprint(&self) -> String {
        HEXLOWER.encode(&sha256(&self.der))
    }

    /// One line as `/C=XX/CN=Name`, bytes that are not printable as `\xHH`.
    pub fn issuer_name(&self) -> String {
        self.fields.issuer.one_line()
    }

    /// Likewise.
    pub fn subject_name(&self) -> String {
        self.fields.subject.one_line()
    }

    /// Where to download the issuer's certificate (AIA `caIssuers`).
    pub fn issuer_uri(&self) -> Option<&str> {
        self.fields.extensions.issuer_uri.as_deref()
    }

    pub fn ocsp_responders(&self) -> &[String] {
        &self.fields.extensions.ocsp_responders
    }

    /// DNS names, lower-cased, and IP addresses. From the subject's CN where there is no subjectAltName.
    pub fn dns_names(&self) -> Vec<String> {
        if !self.fields.extensions.names.is_empty() {
            return self.fields.extensions.names.clone();
        }
        self.fields.subject.common_names().map(str::to_ascii_lowercase).collect()
    }

    /// Whether it has its names where clients look for them (RFC 9525 §6.3). Few still look into the subject.
    pub fn has_alternative_names(&self) -> bool {
        !self.fields.extensions.names.is_empty()
    }

    /// RFC 7633: clients refuse it without a stapled OCSP response.
    pub fn must_staple(&self) -> bool {
        self.fields.extensions.must_staple
    }

    /// The name of this certificate in renewal information (RFC 9773 §4.1). `None` without an
    /// authority key identifier.
    pub fn ari_cert_id(&self) -> Option<String> {
        let key_id = self.fields.extensions.authority_key_id.as_ref()?;
        Some(format!("{}.{}", BASE64URL_NOPAD.encode(key_id), BASE64URL_NOPAD.encode(&self.fields.serial)))
    }

    pub fn scts(&self) -> &[Sct] {
        &self.fields.extensions.scts
    }

    /// The kind of our key; `None` for kinds that no configuration can ask for.
    pub fn key_spec(&self) -> Option<KeySpec> {
        key_info::spec(&self.fields.public_key)
    }

    pub fn matches_key(&self, key: &PrivateKey) -> bool {
        let public = self.x509().and_then(|x509| x509.public_key());
        public.is_ok_and(|public| public.public_eq(key.pkey()))
    }

    /// Whether a signature of that key holds against our public key. A damaged file can have another private number
    /// beside a public key that is [ours](Self::matches_key): every handshake with it fails. As slow as a handshake.
    pub fn is_proven_by(&self, key: &PrivateKey) -> bool {
        let answer = self.verifies_what_is_signed_by(key).unwrap_or(false);
        drop(ErrorStack::get());
        answer
    }

    fn verifies_what_is_signed_by(&self, key: &PrivateKey) -> Result<bool, ErrorStack> {
        let (key, public) = (key.pkey(), self.x509()?.public_key()?);
        // Such a key may be for another digest alone, and no configuration can ask for one.
        if key.id() == Id::RSA_PSS {
            return Ok(true);
        }
        let has_own_digest = matches!(key.id(), Id::ED25519 | Id::ED448);
        let digest = (!has_own_digest).then(MessageDigest::sha256);
        let mut signer = match digest {
            Some(digest) => Signer::new(digest, key)?,
            None => Signer::new_without_digest(key)?,
        };
        let signature = signer.sign_oneshot_to_vec(&self.der)?;
        let mut verifier = match digest {
            Some(digest) => Verifier::new(digest, &public)?,
            None => Verifier::new_without_digest(&public)?,
        };
        verifier.verify_oneshot(&signature, &self.der)
    }

    /// Whether [`matches_key`](Self::matches_key) is true of the content of a key file, hundreds of times faster.
    /// `false` may also mean "unknown": the file is encrypted, damaged, or of another form than ours.
    pub fn matches_key_file(&self, pem: &[u8]) -> bool {
        key_info::is_pair(pem, &self.fields.public_key)
    }

    /// Whether `issuer` has that name and its key made our signature.
    pub fn was_issued_by(&self, issuer: &Certificate) -> bool {
        let answer = self.is_issued_by(issuer).unwrap_or(false);
        // A wrong signature leaves its reason in the thread's queue, where mod_ssl would find it.
        drop(ErrorStack::get());
        answer
    }

    fn is_issued_by(&self, issuer: &Certificate) -> Result<bool, ErrorStack> {
        let (own, issuer) = (self.x509()?, issuer.x509()?);
        let named = issuer.subject_name().try_cmp(own.issuer_name())?.is_eq();
        Ok(named && own.verify(issuer.public_key()?.as_ref())?)
    }

    pub fn to_pem(&self) -> Vec<u8> {
        pem::write(LABEL, &self.der).into_bytes()
    }
}

/// Certificates as they stand in a file or were sent: the leaf first, and those that lead to its root. Never
/// empty.
#[derive(Clone)]
pub struct Chain(Vec<Certificate>);

impl Chain {
    /// Reads 1 to 20 certificates; keys between them are passed over.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        if pem.len() > PEM_MAX {
            return Err(Error::Invalid("the file is too large for a certificate chain".into()));
        }
        let ders = match ders(pem) {
            Some(ders) => ders,
            None if pem::has_encrypted_certificate(pem) => {
                return Err(Error::Invalid("a certificate in it is encrypted".into()));
            }
            // Not in the strict form: OpenSSL knows more.
            None => X509::stack_from_pem(pem)?.iter().map(|x509| x509.to_der()).collect::<Result<_, _>>()?,
        };
        Chain::new(ders.into_iter().map(Certificate::from_der).collect::<Result<_, _>>()?)
    }

    pub fn new(certificates: Vec<Certificate>) -> Result<Self, Error> {
        match certificates.len() {
            0 => Err(Error::Invalid("there is no certificate in it".into())),
            n if n > CHAIN_MAX => Err(Error::Invalid(format!("there are {n} certificates in it"))),
            _ => Ok(Chain(certificates)),
        }
    }

    pub fn to_pem(&self) -> Vec<u8> {
        self.0.iter().flat_map(Certificate::to_pem).collect()
    }

    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }

    pub(super) fn into_certificates(self) -> Vec<Certificate> {
        self.0
    }

    #[allow(clippy::indexing_slicing, reason = "never empty by construction")]
    pub fn leaf(&self) -> &Certificate {
        &self.0[0]
    }

    /// Whether all keys in it are of a kind and length that TLS servers take everywhere. `false` means no
    /// more than that it has to be tried.
    pub fn has_common_keys(&self) -> bool {
        self.0.iter().all(|cert| key_info::is_common(&cert.fields.public_key))
    }
}

/// The certificates of a PEM in strict form; `None`: there is something else in it.
fn ders(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let blocks = pem::blocks(text)?;
    let is_plain = |label: &str| label == LABEL || !label.contains(LABEL);
    blocks.iter().all(|(label, _)| is_plain(label)).then_some(())?;
    Some(blocks.into_iter().filter(|(label, _)| *label == LABEL).map(|(_, der)| der).collect())
}

/// The certificates that OpenSSL finds in a PEM file, such as those of CAs to trust, however many. Refuses
/// encrypted ones: OpenSSL would ask for a pass phrase at the terminal.
pub fn all_certificates(pem: &[u8]) -> Result<Vec<X509>, Error> {
    pem::refuse_encrypted_certificate(pem)?;
    Ok(X509::stack_from_pem(pem)?)
}

/// Whether there is one at least.
pub fn has_certificates(pem: &[u8]) -> bool {
    all_certificates(pem).is_ok_and(|found| !found.is_empty())
}

/// The plain facts about a leaf certificate.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct CertInfo {
    /// SHA-1 of the certificate, by which OCSP responses are kept.
    pub id: [u8; 20],
    pub issuer_name: String,
    pub issuer_uri: Option<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Upper-case hex.
    pub serial: String,
    /// SHA-256, lower-case hex.
    pub fingerprint: String,
    pub scts: Vec<Sct>,
    pub ari_cert_id: Option<String>,
    pub dns_names: Vec<String>,
    pub must_staple: bool,
    pub ocsp_responders: Vec<String>,
}

impl CertInfo {
    pub fn from_chain(chain: &Chain) -> Self {
        let leaf = chain.leaf();
        CertInfo {
            id: openssl::sha::sha1(leaf.der()),
            issuer_name: leaf.issuer_name(),
            issuer_uri: leaf.issuer_uri().map(String::from),
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
            serial: leaf.serial_hex(),
            fingerprint: leaf.sha256_fingerprint(),
            scts: leaf.scts().to_vec(),
            ari_cert_id: leaf.ari_cert_id(),
            dns_names: leaf.dns_names(),
            must_staple: leaf.must_staple(),
            ocsp_responders: leaf.ocsp_responders().to_vec(),
        }
    }

    /// The certificate as status pages show it.
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| out.insert(key.to_string(), value);
        put("issuer-name", json!(self.issuer_name));
        self.issuer_uri.as_ref().map(|uri| put("issuer-uri", json!(uri)));
        put("valid", json!({"from": self.not_before.to_http_date(), "until": self.not_after.to_http_date()}));
        put("serial", json!(self.serial));
        put("sha256-fingerprint", json!(self.fingerprint));
        if !self.scts.is_empty() {
            put("scts", self.scts.iter().map(Sct::to_json).collect());
        }
        self.ari_cert_id.as_ref().map(|id| put("ari-cert-id", json!(id)));
        Value::Object(out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::der::Reader;
    use super::super::extension::Extensions;
    use super::super::fixture::{Ca, NOW, Wish, rsa_key};
    use super::*;
    use crate::time::DAY;
    use openssl::bn::BigNum;
    use openssl::ec::EcKey;
    use openssl::pkey::PKey;

    fn key() -> PrivateKey {
        PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap()
    }

    #[test]
    fn a_key_is_proven_by_what_it_signs() {
        let specs = [KeySpec::Ec("P-256".into()), KeySpec::Ec("P-384".into()), KeySpec::default()];
        for spec in specs {
            let key =
                if spec == KeySpec::default() { rsa_key() } else { PrivateKey::generate(&spec).unwrap() };
            let leaf = Ca::new("CA").issue(&["a.test"], &key).leaf().clone();
            assert!(leaf.is_proven_by(&key), "{spec:?}");
            assert!(!leaf.is_proven_by(&PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap()));
        }
        for pkey in [PKey::generate_ed25519().unwrap(), PKey::generate_ed448().unwrap()] {
            let key = PrivateKey::from_pem(&pkey.private_key_to_pem_pkcs8().unwrap()).unwrap();
            assert!(Ca::new("CA").issue(&["a.test"], &key).leaf().is_proven_by(&key));
        }
        let key = key();
        let leaf = Ca::new("CA").issue(&["a.test"], &key).leaf().clone();
        let ec = key.pkey().ec_key().unwrap();
        let number = ec.private_key() + &BigNum::from_u32(1).unwrap();
        let damaged = EcKey::from_private_components(ec.group(), &number, ec.public_key()).unwrap();
        let pem = PKey::from_ec_key(damaged).unwrap().private_key_to_pem_pkcs8().unwrap();
        let damaged = PrivateKey::from_pem(&pem).unwrap();
        assert!(leaf.matches_key(&damaged) && !leaf.is_proven_by(&damaged));
        assert!(ErrorStack::get().errors().is_empty());
    }

    #[test]
    fn serials_are_whole_bytes_and_the_ari_name_keeps_the_sign_byte() {
        let ca = Ca::new("CA");
        for (serial, hex, der) in [
            ("05A1", "05A1", &[0x05, 0xa1][..]),
            ("87654321", "87654321", &[0, 0x87, 0x65, 0x43, 0x21]),
            ("00", "00", &[0]),
        ] {
            let chain = ca.grant(&Wish { names: &["a.test"], serial, ..Wish::default() }, &key());
            assert_eq!(chain.leaf().serial_hex(), hex);
            let id = chain.leaf().ari_cert_id().unwrap();
            assert_eq!(id.split_once('.').unwrap().1, BASE64URL_NOPAD.encode(der));
        }
        assert_eq!(ca.certificate().ari_cert_id(), None);
    }

    #[test]
    fn openssl_is_not_given_an_encrypted_certificate_for_which_it_would_ask_at_the_terminal() {
        let plain = String::from_utf8(Ca::new("CA").certificate().to_pem()).unwrap();
        assert_eq!(all_certificates(plain.repeat(30).as_bytes()).unwrap().len(), 30);
        let header = "CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,0011223344556677\n\n";
        let encrypted = plain.replacen("CERTIFICATE-----\n", header, 1);
        for file in [encrypted.clone(), encrypted.replace("CERTIFICATE", "X509 CRL"), plain + &encrypted] {
            let error = all_certificates(file.as_bytes()).err().unwrap();
            assert_eq!(error.to_string(), "a certificate in it is encrypted");
            assert!(!has_certificates(file.as_bytes()));
            assert!(Chain::from_pem(file.as_bytes()).is_err());
        }
    }

    #[test]
    fn the_ari_name_is_that_of_rfc_9773_section_4_1() {
        let key_id = HEXUPPER.decode(b"69885B6B87464041E1B37B847BA0AE2CDE01C8D4").unwrap();
        let der = [&[0x30, 0x16, 0x80, 0x14], key_id.as_slice()].concat();
        let extensions = Extensions::read(Reader::new(
            &[&[0x30, 0x1f, 0x06, 0x03, 0x55, 0x1d, 0x23, 0x04, 0x18], der.as_slice()].concat(),
        ));
        let ca = Ca::new("CA");
        let mut cert = ca.certificate().clone();
        cert.fields.extensions = extensions;
        cert.fields.serial = vec![0x00, 0x87, 0x65, 0x43, 0x21];
        assert_eq!(cert.ari_cert_id().unwrap(), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    }

    #[test]
    fn facts_have_the_keys_of_status_pages_in_their_order() {
        let chain = Ca::new("Test CA").issue(&["a.test", "b.test"], &key());
        let info = CertInfo::from_chain(&chain);
        let json = info.to_json();
        let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["issuer-name", "valid", "serial", "sha256-fingerprint", "ari-cert-id"]);
        assert_eq!(json["issuer-name"], "/CN=Test CA");
        let from = NOW.minus(DAY).to_http_date();
        assert_eq!(json["valid"], json!({"from": from, "until": NOW.plus(DAY * 89).to_http_date()}));
        assert_eq!(info.fingerprint.len(), 64);
        assert_eq!(info.dns_names, ["a.test", "b.test"]);
        assert!(!info.must_staple);
    }

    #[test]
    fn must_staple_and_the_places_to_ask_are_read() {
        let access: &[u8] = b"\x30\x3c\
            \x30\x1c\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x01\x86\x10http://o.test/aa\
            \x30\x1c\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x02\x86\x10http://i.test/bb";
        let wish = Wish {
            names: &["a.test"],
            extensions: &[
                ("1.3.6.1.5.5.7.1.24", &[0x30, 6, 2, 1, 17, 2, 1, 5]),
                ("1.3.6.1.5.5.7.1.1", access),
            ],
            ..Wish::default()
        };
        let info = CertInfo::from_chain(&Ca::new("CA").grant(&wish, &key()));
        assert!(info.must_staple);
        assert_eq!(info.ocsp_responders, ["http://o.test/aa"]);
        assert_eq!(info.issuer_uri.as_deref(), Some("http://i.test/bb"));
        assert_eq!(info.to_json()["issuer-uri"], "http://i.test/bb");
    }

    #[test]
    fn a_certificate_matches_its_own_key_alone() {
        let key = key();
        let chain = Ca::new("CA").issue(&["a.test"], &key);
        assert!(chain.leaf().matches_key(&key));
        assert!(!chain.leaf().matches_key(&PrivateKey::generate(&KeySpec::default()).unwrap()));
        assert_eq!(chain.leaf().key_spec(), Some(KeySpec::Ec("prime256v1".into())));
    }

    #[test]
    fn pem_that_is_no_chain_is_refused() {
        assert!(Chain::from_pem(b"").is_err());
        assert!(Chain::from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
        assert!(Chain::from_pem(&vec![b'\n'; PEM_MAX + 1]).is_err());
        let pem = Ca::new("CA").certificate().to_pem();
        assert_eq!(Chain::from_pem(&pem.repeat(20)).unwrap().certificates().len(), 20);
        assert!(Chain::from_pem(&pem.repeat(21)).is_err());
    }

    #[test]
    fn text_around_the_blocks_of_a_chain_is_passed_over() {
        let chain = Ca::new("CA").issue(&["a.test"], &key());
        for text in [
            "\u{feff}subject=/CN=a.test\n",
            "Bag Attributes\n  friendlyName: \u{fc}\r\n\r\n",
            "# -- a note --\n",
        ] {
            let [leaf, issuer] = chain.certificates() else { panic!() };
            let pem = [text.as_bytes(), &leaf.to_pem(), text.as_bytes(), &issuer.to_pem(), text.as_bytes()]
                .concat();
            assert_eq!(Chain::from_pem(&pem).unwrap().to_pem(), chain.to_pem());
            let latin = [b"\xfcber\n", pem.as_slice()].concat();
            assert_eq!(Chain::from_pem(&latin).unwrap().to_pem(), chain.to_pem());
        }
    }

    #[test]
    fn a_certificate_without_alternative_names_stands_for_its_common_name() {
        let old = Ca::new("Old.Test");
        let old = old.certificate();
        assert_eq!(old.dns_names(), ["old.test"]);
        assert!(!old.has_alternative_names());
    }
}
