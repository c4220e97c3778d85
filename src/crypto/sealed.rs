// SPDX-License-Identifier: Apache-2.0
//! Sealed private keys: one PEM block `ENCRYPTED PRIVATE KEY` (RFC 5958 §3) encrypted by PBES2 with PBKDF2
//! and AES-256-CBC (RFC 8018). Every OpenSSL writes this form for the C module, with 2048 rounds: of SHA-256
//! since 1.1.0, of SHA-1 before. This module writes it with SHA-256. Refuses every other form and checks the
//! cost before it computes, because another process may have written the file.

use super::der::{INTEGER, NULL, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, tlv};
use super::pass_phrase::{Derivation, KEY, PassPhrase};
use super::{Error, pem, random};
use openssl::symm::{Cipher, decrypt, encrypt};
use zeroize::Zeroizing;

/// Bytes of a file with a sealed key. One of RSA 16384 has less than 13 000.
pub const FILE_MAX: usize = 16 * 1024;
/// Rounds of PBKDF2. No OpenSSL has written more than 2048.
pub const ROUNDS_MAX: u32 = 10_000;

const LABEL: &str = "ENCRYPTED PRIVATE KEY";

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
const HMAC_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 7];
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9];
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42];

/// OpenSSL writes 8 bytes, later ones 16.
const SALT: std::ops::RangeInclusive<usize> = 8..=64;
/// Of AES.
const BLOCK: usize = 16;

/// How a key is sealed.
#[derive(Debug, PartialEq, Eq)]
struct Sealed<'a> {
    salt: &'a [u8],
    rounds: u32,
    has_sha1: bool,
    iv: &'a [u8],
    content: &'a [u8],
}

/// A file with this PKCS#8 PrivateKeyInfo.
pub fn seal(info: &[u8], pass_phrase: &PassPhrase) -> Result<String, Error> {
    let derivation = pass_phrase.own_derivation()?;
    let iv: [u8; BLOCK] = random()?;
    let oid = |oid: &[u8]| tlv(OBJECT_IDENTIFIER, &[oid]);
    let parameters = [
        tlv(OCTET_STRING, &[&derivation.salt]),
        tlv(INTEGER, &[&integer(derivation.rounds)]),
        tlv(SEQUENCE, &[&oid(HMAC_SHA256), &tlv(NULL, &[])]),
    ];
    let key = pass_phrase.derive(derivation)?;
    let content = encrypt(Cipher::aes_256_cbc(), key.as_ref().as_ref(), Some(&iv), info)?;
    let derived = tlv(SEQUENCE, &[&oid(PBKDF2), &tlv(SEQUENCE, &[&parameters.concat()])]);
    let encrypted = tlv(SEQUENCE, &[&oid(AES_256_CBC), &tlv(OCTET_STRING, &[&iv])]);
    let algorithm = tlv(SEQUENCE, &[&oid(PBES2), &tlv(SEQUENCE, &[&derived, &encrypted])]);
    Ok(pem::write(LABEL, &tlv(SEQUENCE, &[&algorithm, &tlv(OCTET_STRING, &[&content])])))
}

/// The PKCS#8 PrivateKeyInfo in a sealed key. It may be anything where the pass phrase is not the right one.
pub fn open(file: &[u8], pass_phrase: &PassPhrase) -> Result<Zeroizing<Vec<u8>>, Error> {
    if file.len() > FILE_MAX {
        return Err(invalid(format!("it is larger than {FILE_MAX} bytes, which no sealed private key is")));
    }
    let blocks = pem::blocks(file).unwrap_or_default();
    let [(LABEL, der)] = blocks.as_slice() else {
        let is_plain = blocks.iter().any(|(label, _)| *label != LABEL && label.ends_with("PRIVATE KEY"));
        return Err(invalid(if is_plain {
            "the private key in it is not sealed with the store's key, as those are that a renewal writes: somebody else \
             has put it there"
                .into()
        } else {
            format!("it is not one PEM block '{LABEL}', as each sealed private key is")
        }));
    };
    let sealed = Sealed::read(der)?;
    let derivation =
        Derivation { salt: sealed.salt.to_vec(), rounds: sealed.rounds, has_sha1: sealed.has_sha1 };
    let key = pass_phrase.derive(derivation)?;
    let opened = decrypt(Cipher::aes_256_cbc(), key.as_ref().as_ref(), Some(sealed.iv), sealed.content);
    opened.map(Zeroizing::new).map_err(|_| wrong_key())
}

fn wrong_key() -> Error {
    invalid("the store's key does not open it".into())
}

impl<'a> Sealed<'a> {
    fn read(der: &'a [u8]) -> Result<Self, Error> {
        let sealed = Sealed::of_form(der).ok_or_else(|| {
            let text = "it is not encrypted the way keys of the store are (PBES2 with PBKDF2 of SHA-256, and AES-256-CBC)";
            invalid(text.into())
        })?;
        if sealed.rounds > ROUNDS_MAX {
            let rounds = sealed.rounds;
            return Err(invalid(format!(
                "opening it takes {rounds} rounds of PBKDF2, which is not tried: keys of the store take 2048, and the limit \
                 is {ROUNDS_MAX}"
            )));
        }
        Ok(sealed)
    }

    fn of_form(der: &'a [u8]) -> Option<Self> {
        if !Reader::new(der).is_sound() {
            return None;
        }
        let mut info = Reader::new(der).only(SEQUENCE)?;
        let mut algorithm = info.enter(SEQUENCE)?;
        let content = info.take(OCTET_STRING).filter(|_| info.is_at_end())?;
        (algorithm.take(OBJECT_IDENTIFIER)? == PBES2).then_some(())?;
        let mut schemes = algorithm.only(SEQUENCE)?;
        let mut derivation = schemes.enter(SEQUENCE)?;
        let mut encryption = schemes.enter(SEQUENCE).filter(|_| schemes.is_at_end())?;
        (derivation.take(OBJECT_IDENTIFIER)? == PBKDF2).then_some(())?;
        let mut derivation = derivation.only(SEQUENCE)?;
        let salt = derivation.take(OCTET_STRING)?;
        let rounds = number(derivation.take(INTEGER)?)?;
        let length = derivation.take(INTEGER).map(number);
        let digest = derivation.enter(SEQUENCE);
        derivation.is_at_end().then_some(())?;
        let has_sha1 = match digest {
            // The default (RFC 8018 §A.2).
            None => true,
            Some(mut digest) => {
                let oid = digest.take(OBJECT_IDENTIFIER)?;
                digest.take(NULL);
                digest.is_at_end().then_some(())?;
                match oid {
                    HMAC_SHA1 => true,
                    HMAC_SHA256 => false,
                    _ => return None,
                }
            }
        };
        (encryption.take(OBJECT_IDENTIFIER)? == AES_256_CBC).then_some(())?;
        let iv = encryption.take(OCTET_STRING).filter(|_| encryption.is_at_end())?;
        let is_good = SALT.contains(&salt.len())
            && rounds > 0
            && length.is_none_or(|length| length == Some(KEY as u32))
            && iv.len() == BLOCK
            && !content.is_empty()
            && content.len().is_multiple_of(BLOCK);
        is_good.then_some(Sealed { salt, rounds, has_sha1, iv, content })
    }
}

/// The content of an INTEGER.
fn integer(number: u32) -> Vec<u8> {
    let bytes = [&[0][..], &number.to_be_bytes()].concat();
    // A sign bit keeps its zero.
    let zeros = bytes.windows(2).take_while(|pair| pair[0] == 0 && pair[1] < 0x80).count();
    bytes[zeros..].to_vec()
}

/// A positive INTEGER. One that exceeds the type becomes its largest value.
fn number(content: &[u8]) -> Option<u32> {
    let (first, _) = content.split_first()?;
    if *first >= 0x80 {
        return None;
    }
    Some(content.iter().fold(0u32, |n, byte| n.saturating_mul(256).saturating_add(u32::from(*byte))))
}

fn invalid(text: String) -> Error {
    Error::Invalid(text)
}

#[cfg(test)]
mod tests {
    use super::super::PrivateKey;
    use super::super::fixture::flips;
    use super::*;
    use crate::model::KeySpec;
    use data_encoding::BASE64URL_NOPAD;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use proptest::prelude::*;

    /// From a store that mod_md 2.6 made, with OpenSSL 3.0: its key, and a key of P-256 it staged.
    const KEY_OF_C: &str = "b45JtEJfu7t5LVbjDCCY1t4aYZCsnoF3MBCwLidwRRJYrgCjDjRxKj2sJiL1ptgp";
    const SEALED_BY_C: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjbM6TqUhoDPQICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEDeeFkuSZpljDBH9ZEs4BxoEgZCK
kW/bNugK0SFcXJX2A1kNpCv9I9eBXGAND9VWwIMFGAryRcytpntZD7IGkpkbI6kq
9m8pLb+qe/RSLI6nz96w66xXmhYwbobX2KpLrpcJrWxZ3lLcr1lJdcgxor1LgoWI
0XqD3Ye60vSNngNS6zxgkSbWD7qXVXWywFeTTDgT9dUvS9pfNL+e5smNtoJ4xg0=
-----END ENCRYPTED PRIVATE KEY-----
";

    fn pass() -> PassPhrase {
        b"pass\0phrase"[..].into()
    }

    const SCRYPT: &[u8] = &[0x2b, 6, 1, 4, 1, 0xda, 0x47, 4, 11];
    const HMAC_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 11];
    const AES_128_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 2];
    const PBE_SHA1_3DES: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1, 3];

    fn oid(oid: &[u8]) -> Vec<u8> {
        tlv(OBJECT_IDENTIFIER, &[oid])
    }

    /// The parameters that a key is sealed with, as elements of DER.
    struct Wish {
        scheme: Vec<u8>,
        derivation: Vec<u8>,
        salt: Vec<u8>,
        rounds: Vec<u8>,
        length: Vec<u8>,
        digest: Vec<u8>,
        cipher: Vec<u8>,
        iv: Vec<u8>,
        content: Vec<u8>,
    }

    impl Default for Wish {
        fn default() -> Self {
            Wish {
                scheme: oid(PBES2),
                derivation: oid(PBKDF2),
                salt: tlv(OCTET_STRING, &[&[7; 8]]),
                rounds: tlv(INTEGER, &[&[8, 0]]),
                length: Vec::new(),
                digest: tlv(SEQUENCE, &[&oid(HMAC_SHA256), &[NULL, 0]]),
                cipher: oid(AES_256_CBC),
                iv: tlv(OCTET_STRING, &[&[9; 16]]),
                content: tlv(OCTET_STRING, &[&[1; 144]]),
            }
        }
    }

    impl Wish {
        fn der(&self) -> Vec<u8> {
            let derivation = tlv(SEQUENCE, &[&self.salt, &self.rounds, &self.length, &self.digest]);
            let derivation = tlv(SEQUENCE, &[&self.derivation, &derivation]);
            let encryption = tlv(SEQUENCE, &[&self.cipher, &self.iv]);
            let algorithm = tlv(SEQUENCE, &[&self.scheme, &tlv(SEQUENCE, &[&derivation, &encryption])]);
            tlv(SEQUENCE, &[&algorithm, &self.content])
        }

        fn said(&self) -> String {
            Sealed::read(&self.der()).err().map_or_else(String::new, |error| error.to_string())
        }
    }

    fn file(der: &[u8]) -> Vec<u8> {
        pem::write(LABEL, der).into_bytes()
    }

    fn key() -> PrivateKey {
        PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap()
    }

    #[test]
    fn what_the_c_module_sealed_opens_with_the_key_of_its_store() {
        let key = BASE64URL_NOPAD.decode(KEY_OF_C.as_bytes()).unwrap();
        assert!(
            PrivateKey::open(SEALED_BY_C.as_bytes(), &key.as_slice().into())
                .unwrap()
                .is_of(&KeySpec::Ec("P-256".into()))
        );
        assert!(PrivateKey::open(SEALED_BY_C.as_bytes(), &pass()).is_err());
        let crlf = SEALED_BY_C.replace('\n', "\r\n");
        assert!(PrivateKey::open(crlf.as_bytes(), &key.as_slice().into()).is_ok());
    }

    #[test]
    fn sealed_keys_of_every_kind_have_the_form_that_is_opened() {
        for spec in [KeySpec::default(), KeySpec::Rsa(3072), KeySpec::Ec("P-521".into())] {
            let key = PrivateKey::generate(&spec).unwrap();
            let by_openssl = key
                .pkey()
                .private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), pass().bytes())
                .unwrap();
            for sealed in [by_openssl, key.seal(&pass()).unwrap()] {
                let blocks = pem::blocks(&sealed).unwrap();
                let form = Sealed::read(&blocks[0].1).unwrap();
                assert!(form.rounds <= 2048 && !form.has_sha1, "{form:?}");
                assert!(PrivateKey::open(&sealed, &pass()).unwrap().pkey().public_eq(key.pkey()));
                let by_openssl = PKey::private_key_from_pem_callback(&sealed, |place| {
                    let (pass, place) = (pass(), place.split_at_mut(pass().bytes().len()).0);
                    place.copy_from_slice(pass.bytes());
                    Ok(place.len())
                });
                let by_openssl = by_openssl.unwrap();
                assert!(by_openssl.public_eq(key.pkey()));
            }
        }
    }

    #[test]
    fn one_process_seals_with_one_salt_and_each_time_with_another_initialization_vector() {
        let (key, pass) = (key(), pass());
        let forms = [(); 2].map(|()| key.seal(&pass).unwrap());
        let forms = forms.map(|sealed| pem::blocks(&sealed).unwrap().remove(0).1);
        let [one, other] = forms.each_ref().map(|der| Sealed::read(der).unwrap());
        assert_eq!((one.salt, one.rounds), (other.salt, 2048));
        assert_ne!(one.iv, other.iv);
        assert_ne!(one.content, other.content);
    }

    #[test]
    fn integers_are_written_as_they_are_read() {
        for (value, content) in
            [(0, &[0][..]), (1, &[1]), (0x7f, &[0x7f]), (0x80, &[0, 0x80]), (2048, &[8, 0])]
        {
            assert_eq!(integer(value), content);
            assert_eq!(number(content), Some(value));
        }
        assert_eq!(integer(u32::MAX), [0, 0xff, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn keys_sealed_with_an_openssl_before_1_1_open() {
        let key = key();
        let secret = key.pkey().private_key_to_pkcs8().unwrap();
        let mut derived = [0; KEY];
        openssl::pkcs5::pbkdf2_hmac(pass().bytes(), &[7; 8], 2048, MessageDigest::sha1(), &mut derived)
            .unwrap();
        let content = encrypt(Cipher::aes_256_cbc(), &derived, Some(&[9; 16]), &secret).unwrap();
        for digest in [Vec::new(), tlv(SEQUENCE, &[&oid(HMAC_SHA1), &[NULL, 0]])] {
            let wish = Wish { digest, content: tlv(OCTET_STRING, &[&content]), ..Wish::default() };
            let opened = PrivateKey::open(&file(&wish.der()), &pass()).unwrap();
            assert!(opened.pkey().public_eq(key.pkey()));
        }
    }

    #[test]
    fn only_the_scheme_and_the_sizes_that_are_written_are_taken() {
        let number = |bytes: &[u8]| tlv(INTEGER, &[bytes]);
        let octets = |length: usize| tlv(OCTET_STRING, &[&vec![5; length]]);
        let wish = Wish::default;
        assert_eq!(wish().said(), "");
        for good in [
            Wish { salt: octets(16), ..wish() },
            Wish { salt: octets(64), ..wish() },
            Wish { rounds: number(&[1]), ..wish() },
            Wish { rounds: number(&[0x27, 0x10]), ..wish() },
            Wish { length: number(&[32]), ..wish() },
            Wish { digest: tlv(SEQUENCE, &[&oid(HMAC_SHA256)]), ..wish() },
        ] {
            assert_eq!(good.said(), "", "{:02x?}", good.der());
        }
        for bad in [
            Wish { scheme: oid(PBE_SHA1_3DES), ..wish() },
            Wish { derivation: oid(SCRYPT), ..wish() },
            Wish { salt: octets(7), ..wish() },
            Wish { salt: octets(65), ..wish() },
            Wish { salt: tlv(SEQUENCE, &[]), ..wish() },
            Wish { rounds: number(&[0]), ..wish() },
            Wish { rounds: number(&[0xff]), ..wish() },
            Wish { rounds: number(&[]), ..wish() },
            Wish { rounds: octets(1), ..wish() },
            Wish { length: number(&[16]), ..wish() },
            Wish { length: number(&[1, 0, 0, 0, 32]), ..wish() },
            Wish { digest: tlv(SEQUENCE, &[&oid(HMAC_SHA512), &[NULL, 0]]), ..wish() },
            Wish { digest: tlv(SEQUENCE, &[&oid(HMAC_SHA256), &[NULL, 0, NULL, 0]]), ..wish() },
            Wish { digest: number(&[1]), ..wish() },
            Wish { cipher: oid(AES_128_CBC), ..wish() },
            Wish { iv: octets(15), ..wish() },
            Wish { iv: Vec::new(), ..wish() },
            Wish { content: octets(0), ..wish() },
            Wish { content: octets(17), ..wish() },
            Wish { content: tlv(OCTET_STRING, &[&[1; 16]]).repeat(2), ..wish() },
        ] {
            assert!(bad.said().contains("PBES2"), "{:02x?}: {}", bad.der(), bad.said());
        }
        for many in [&[0x27, 0x11][..], &[0x7f, 0xff, 0xff, 0xff], &[1, 0, 0, 0, 0, 0, 0, 0, 1]] {
            let said = Wish { rounds: number(many), ..wish() }.said();
            assert!(said.contains("rounds of PBKDF2"), "{many:02x?}: {said}");
        }
        for at in 0..wish().der().len() {
            assert!(Sealed::read(&wish().der()[..at]).is_err());
        }
        assert!(Sealed::read(&[wish().der(), vec![NULL, 0]].concat()).is_err());
    }

    #[test]
    fn only_one_block_of_that_label_is_taken_and_plain_keys_are_called_so() {
        let key = key();
        let (plain, sealed) = (key.to_pem().unwrap(), key.seal(&pass()).unwrap());
        let text = String::from_utf8(sealed.clone()).unwrap();
        let traditional = openssl::rsa::Rsa::generate(512).unwrap();
        let encrypted =
            traditional.private_key_to_pem_passphrase(Cipher::aes_256_cbc(), pass().bytes()).unwrap();
        for (file, expected) in [
            (plain.to_vec(), "not sealed with the store's key"),
            (traditional.private_key_to_pem().unwrap(), "not sealed with the store's key"),
            ([&sealed[..], &plain].concat(), "not sealed with the store's key"),
            (encrypted, "not one PEM block"),
            (sealed.repeat(2), "not one PEM block"),
            (text.replace("ENCRYPTED ", "VERY ENCRYPTED ").into_bytes(), "not sealed"),
            (text.replacen('\n', "\nProc-Type: 4,ENCRYPTED\n\n", 1).into_bytes(), "not one PEM block"),
            (Vec::new(), "not one PEM block"),
            (b"\xff".to_vec(), "not one PEM block"),
            ([sealed, vec![b'\n'; FILE_MAX]].concat(), "larger than 16384 bytes"),
        ] {
            let said = open(&file, &pass()).err().unwrap().to_string();
            assert!(said.contains(expected), "{}: {said}", String::from_utf8_lossy(&file));
        }
    }

    #[test]
    fn a_wrong_bit_costs_no_more_than_the_limit() {
        let der = Wish::default().der();
        for flipped in flips(&der) {
            if let Ok(sealed) = Sealed::read(&flipped) {
                assert!(sealed.rounds <= ROUNDS_MAX);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_passes_is_within_the_limits(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
            is_cut in any::<bool>(),
        ) {
            let mut der = Wish::default().der();
            for (at, byte) in changes {
                let at = at.index(der.len());
                der[at] = byte;
            }
            if is_cut {
                der.truncate(cut.index(der.len()));
            }
            if let Ok(sealed) = Sealed::read(&der) {
                prop_assert!((1..=ROUNDS_MAX).contains(&sealed.rounds));
                prop_assert!(SALT.contains(&sealed.salt.len()) && sealed.iv.len() == BLOCK);
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Sealed::read(&bytes);
            let _ = open(&bytes, &pass());
            let _ = PrivateKey::from_plain_pem(&bytes);
            let _ = PrivateKey::from_plain_pem(pem::write("PRIVATE KEY", &bytes).as_bytes());
        }
    }
}
