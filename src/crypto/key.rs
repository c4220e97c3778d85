// SPDX-License-Identifier: Apache-2.0
//! Private keys: generates, reads and writes them. The store holds them as PKCS#8 PEM (RFC 5958): sealed with
//! the store key (AES-256-CBC) in `accounts` and `staging`, plain elsewhere. Refuses encrypted files of the
//! administrator, because no pass phrase can be entered.

use super::curve::nid;
use super::key_form::{self, Form};
use super::{Error, PassPhrase, key_info, pem, sealed};
use crate::model::KeySpec;
use openssl::ec::{EcGroup, EcKey};
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use zeroize::Zeroizing;

/// Of a plain key in PEM.
const LABEL: &str = "PRIVATE KEY";

/// A private key. Has no `Debug`, so that it cannot slip into a log.
#[derive(Clone)]
pub struct PrivateKey(PKey<Private>);

impl PrivateKey {
    pub fn generate(spec: &KeySpec) -> Result<Self, Error> {
        let key = match spec {
            KeySpec::Rsa(bits) => PKey::from_rsa(Rsa::generate(*bits)?)?,
            KeySpec::Ec(curve) => {
                let group = EcGroup::from_curve_name(nid(spec).ok_or_else(|| {
                    Error::Invalid(format!("the elliptic curve '{curve}' is not known to OpenSSL"))
                })?)?;
                PKey::from_ec_key(EcKey::generate(&group)?)?
            }
        };
        Ok(PrivateKey(key))
    }

    pub(super) fn from_rsa(key: Rsa<Private>) -> Result<Self, Error> {
        Ok(PrivateKey(PKey::from_rsa(key)?))
    }

    /// Reads the key in a PEM file of the admin or root, in any plain form. Refuses an encrypted one without
    /// asking for its pass phrase.
    pub fn from_pem(file: &[u8]) -> Result<Self, Error> {
        pem::refuse_encrypted(file)?;
        // Nearly all of them, and read faster.
        if let Some(Ok(key)) = PrivateKey::only_block(file) {
            return Ok(key);
        }
        // Reached by nothing that is encrypted.
        Ok(PrivateKey(PKey::private_key_from_pem_callback(file, |_| Ok(0))?))
    }

    /// Whether [`from_pem`](Self::from_pem) refuses a file because there may be an encrypted key in it.
    pub fn is_encrypted(file: &[u8]) -> bool {
        pem::refuse_encrypted(file).is_err()
    }

    /// Reads a PEM file that others may have written: plain PKCS#8, and nothing else.
    pub fn from_plain_pem(file: &[u8]) -> Result<Self, Error> {
        pem::refuse_encrypted(file)?;
        PrivateKey::only_block(file)
            .unwrap_or_else(|| Err(Error::Invalid(format!("it is not one PEM block '{LABEL}'"))))
    }

    /// The key in a file of one block of plain PKCS#8. `None`: it is another file.
    fn only_block(file: &[u8]) -> Option<Result<Self, Error>> {
        let blocks = if file.len() <= sealed::FILE_MAX { pem::private_blocks(file)? } else { return None };
        match blocks.as_slice() {
            [(LABEL, der)] => Some(PrivateKey::from_pkcs8(der)),
            _ => None,
        }
    }

    /// Opens a key sealed by [`seal`](Self::seal) or by the C module. The pass phrase may be any bytes.
    pub fn open(file: &[u8], pass_phrase: &PassPhrase) -> Result<Self, Error> {
        let der = sealed::open(file, pass_phrase)?;
        PrivateKey::from_pkcs8(&der)
    }

    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        let form = key_form::read(der).ok_or_else(|| {
            let text =
                "there is no private key in it that can be used: RSA of at most 16384 bits, or a named curve";
            Error::Invalid(text.into())
        })?;
        let quick = match form {
            Form::Rsa(key) => Rsa::private_key_from_der(key).and_then(PKey::from_rsa).ok(),
            Form::Elliptic(key) => EcKey::private_key_from_der(&key).and_then(PKey::from_ec_key).ok(),
            Form::Other => None,
        };
        Ok(PrivateKey(quick.map_or_else(|| PKey::private_key_from_pkcs8(der), Ok)?))
    }

    /// PKCS#8, not encrypted.
    pub fn to_pem(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        Ok(Zeroizing::new(self.0.private_key_to_pem_pkcs8()?))
    }

    /// PKCS#8, encrypted with AES-256-CBC.
    pub fn seal(&self, pass_phrase: &PassPhrase) -> Result<Vec<u8>, Error> {
        let info = Zeroizing::new(self.0.private_key_to_pkcs8()?);
        Ok(sealed::seal(&info, pass_phrase)?.into_bytes())
    }

    /// The DER of its SubjectPublicKeyInfo.
    pub fn public_der(&self) -> Result<Vec<u8>, Error> {
        Ok(self.0.public_key_to_der()?)
    }

    /// Whether the public keys are the same.
    pub fn is_same(&self, other: &PrivateKey) -> bool {
        self.0.public_eq(&other.0)
    }

    /// Whether [`generate`](Self::generate) can make such a key.
    pub fn can_generate(spec: &KeySpec) -> bool {
        matches!(spec, KeySpec::Rsa(_)) || nid(spec).is_some()
    }

    pub fn is_rsa(&self) -> bool {
        self.0.id() == Id::RSA
    }

    /// Whether this key is of the kind `spec` asks for (type and curve; RSA of any length).
    pub fn is_of(&self, spec: &KeySpec) -> bool {
        match spec {
            KeySpec::Rsa(_) => self.is_rsa(),
            KeySpec::Ec(_) => self.0.ec_key().ok().and_then(|k| k.group().curve_name()) == nid(spec),
        }
    }

    /// What it is; `None` for kinds that no configuration can ask for.
    pub fn spec(&self) -> Option<KeySpec> {
        key_info::spec(&self.public_info().ok()?).map(KeySpec::commonly_named)
    }

    /// Its SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
    pub fn public_info(&self) -> Result<Vec<u8>, Error> {
        Ok(self.0.public_key_to_der()?)
    }

    pub fn pkey(&self) -> &PKey<Private> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::CpuLimit;
    use crate::crypto::der::{INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, tlv};
    use crate::crypto::fixture::flips;
    use openssl::nid::Nid;
    use openssl::symm::Cipher;

    #[test]
    fn a_sealed_key_opens_with_its_pass_phrase_alone() {
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        let pass = PassPhrase::from(&[0u8, 1, 2, 255, 0, 7][..]);
        let pem = key.seal(&pass).unwrap();
        assert!(pem.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        let read = PrivateKey::open(&pem, &pass).unwrap();
        assert!(read.pkey().public_eq(key.pkey()));
        for i in 0..=u8::MAX {
            // About one of them decrypts to something.
            assert!(PrivateKey::open(&pem, &[i][..].into()).is_err());
        }
        for read in [PrivateKey::from_pem, PrivateKey::from_plain_pem] {
            assert!(read(&pem).is_err());
            assert!(read(b"garbage").is_err());
            assert!(read(&key.to_pem().unwrap()).unwrap().pkey().public_eq(key.pkey()));
        }
    }

    /// A key is read in the form of its kind where OpenSSL has one, with PKCS#8 as the reference.
    #[test]
    fn every_form_of_a_key_is_read_as_openssl_reads_it() {
        let curves = ["P-256", "P-521", "secp224r1", "secp256k1", "brainpoolP512r1"];
        let specs = curves.map(|curve| KeySpec::Ec(curve.into())).into_iter().chain([KeySpec::Rsa(1024)]);
        let keys = specs.map(|spec| PrivateKey::generate(&spec).unwrap().0);
        for key in keys.chain([PKey::generate_ed25519().unwrap()]) {
            let der = key.private_key_to_pkcs8().unwrap();
            let read = PrivateKey::from_pkcs8(&der).unwrap();
            assert!(read.0.public_eq(&key) && read.0.id() == key.id());
            assert_eq!(read.0.private_key_to_pkcs8().unwrap(), der);
            for damaged in flips(&der) {
                let Ok(read) = PrivateKey::from_pkcs8(&damaged) else { continue };
                let reference = PKey::private_key_from_pkcs8(&damaged).unwrap();
                assert!(read.0.public_eq(&reference), "{damaged:02x?}");
            }
        }
    }

    /// OpenSSL 3.0 does not read it, and so mod_ssl would end a start with it.
    #[test]
    fn version_2_of_pkcs8_is_a_key_where_openssl_says_so() {
        for spec in [KeySpec::Rsa(1024), KeySpec::Ec("P-256".into())] {
            let key = PrivateKey::generate(&spec).unwrap();
            let der = key.0.private_key_to_pkcs8().unwrap();
            let content = Reader::new(&der).only_content(SEQUENCE).unwrap();
            let public = key.public_der().unwrap();
            let rest = [&[INTEGER, 1, 1], &content[3..], &tlv(0x81, &[&[0], &[4; 65]])].concat();
            let der = tlv(SEQUENCE, &[&rest]);
            let pem = pem::write(LABEL, &der);
            let is_read = PKey::private_key_from_pkcs8(&der).is_ok();
            assert_eq!(PrivateKey::from_pkcs8(&der).is_ok(), is_read);
            assert_eq!(PrivateKey::from_pem(pem.as_bytes()).is_ok(), is_read);
            assert!(!key_info::is_pair(pem.as_bytes(), &public));
            assert!(key_info::is_pair(&key.to_pem().unwrap(), &public));
        }
    }

    #[test]
    fn a_key_without_its_point_gets_it() {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = EcKey::generate(&group).unwrap();
        let number = key.private_key().to_vec_padded(32).unwrap();
        let id = |content: &[u8]| tlv(OBJECT_IDENTIFIER, &[content]);
        let curve = id(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
        let kind = tlv(SEQUENCE, &[&id(key_info::EC_PUBLIC_KEY), &curve]);
        let inner = tlv(SEQUENCE, &[&[INTEGER, 1, 1], &tlv(OCTET_STRING, &[&number])]);
        let der = tlv(SEQUENCE, &[&[INTEGER, 1, 0], &kind, &tlv(OCTET_STRING, &[&inner])]);
        let read = PrivateKey::from_pkcs8(&der).unwrap();
        assert!(read.0.public_eq(&PKey::from_ec_key(key).unwrap()));
    }

    #[test]
    fn files_of_the_admin_may_hold_keys_in_older_forms_and_others_may_not() {
        let rsa = openssl::rsa::Rsa::generate(1024).unwrap();
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let ec = EcKey::generate(&group).unwrap();
        let parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
        for file in
            [rsa.private_key_to_pem().unwrap(), [&parameters[..], &ec.private_key_to_pem().unwrap()].concat()]
        {
            assert!(PrivateKey::from_pem(&file).is_ok());
            assert!(PrivateKey::from_plain_pem(&file).is_err());
        }
        let file = rsa.private_key_to_pem_passphrase(Cipher::aes_128_cbc(), b"").unwrap();
        assert!(PrivateKey::from_pem(&file).err().unwrap().to_string().contains("pass phrase"));
    }

    #[test]
    fn no_key_is_made_for_a_process_that_was_stopped_before_its_turn() {
        let made = |spec: &KeySpec, is_stopped| {
            CpuLimit::default().generate(spec, || is_stopped).unwrap().is_some_and(|key| key.is_of(spec))
        };
        let (rsa, ec) = (KeySpec::Rsa(2048), KeySpec::Ec("P-256".into()));
        assert_eq!([made(&rsa, false), made(&rsa, true)], [true, false]);
        assert!(made(&ec, true), "there is nothing to wait for");
    }

    #[test]
    fn a_key_is_of_the_kind_it_was_made_as() {
        let p256 = PrivateKey::generate(&KeySpec::Ec("secp256r1".into())).unwrap();
        assert!(p256.is_of(&KeySpec::Ec("P-256".into())));
        assert!(!p256.is_of(&KeySpec::Ec("P-384".into())));
        assert!(!p256.is_of(&KeySpec::default()));
        assert!(PrivateKey::generate(&KeySpec::Ec("no-such-curve".into())).is_err());
        assert!(!PrivateKey::can_generate(&KeySpec::Ec("no-such-curve".into())));
        assert!(PrivateKey::can_generate(&KeySpec::Ec("P-384".into())));
    }
}
