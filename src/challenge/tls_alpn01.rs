// SPDX-License-Identifier: Apache-2.0
//! The tls-alpn-01 challenge (RFC 8737): a self-signed certificate that holds the digest of the key
//! authorization, shown to clients that offer the protocol `acme-tls/1` and ask for the name. The files are
//! the C module's: one certificate and plain key per key type, in `challenges/NAME/`. There is always one of
//! RSA and one of P-256, because the validator chooses between them.

use crate::crypto::{self, Chain, PrivateKey, self_signed};
use crate::model::KeySpec;
use crate::names;
use crate::time::Timestamp;

/// Its type in ACME and in `MDCAChallenges`.
pub const TYPE: &str = "tls-alpn-01";

/// Its protocol in ALPN (RFC 8737 §6.2) and in `Protocols`.
pub const PROTOCOL: &str = "acme-tls/1";

/// The note beside the certificate: whose it is.
pub const NOTE: &str = "acme-tls-alpn-01.json";

const CERT_STEM: &str = "acme-tls-alpn-01-pubcert";
const KEY_STEM: &str = "acme-tls-alpn-01-privkey";

pub fn cert_file(spec: &KeySpec) -> String {
    spec.file_name(CERT_STEM)
}

pub fn key_file(spec: &KeySpec) -> String {
    spec.file_name(KEY_STEM)
}

/// Certificates and keys to show, of the files in a name's folder: one of an elliptic curve, the one that
/// most clients can check, and one of RSA, as far as they are there.
pub fn files(folder: &[String]) -> Vec<(String, String)> {
    let pair = |cert: &String| {
        let key = format!("{KEY_STEM}{}", cert.strip_prefix(CERT_STEM)?);
        folder.contains(&key).then(|| (cert.clone(), key))
    };
    let rsa = cert_file(&KeySpec::default());
    let (rsa, ec): (Vec<_>, Vec<_>) = folder.iter().filter_map(pair).partition(|(cert, _)| *cert == rsa);
    let ec = ec.into_iter().min_by_key(|(cert, _)| (*cert != cert_file(&usual_ec()), cert.clone()));
    ec.into_iter().chain(rsa).collect()
}

/// The kind of key that every validator takes.
pub fn usual_ec() -> KeySpec {
    KeySpec::Ec("P-256".into())
}

/// The keys of certificates that answer for an MD with these: those that any validator takes, and besides
/// those by which the C module looks for files.
pub fn key_specs(md: &[KeySpec]) -> Vec<KeySpec> {
    let mut specs = vec![KeySpec::default(), usual_ec()];
    for spec in md {
        if !specs.iter().any(|known| cert_file(known) == cert_file(spec)) {
            specs.push(spec.clone());
        }
    }
    specs
}

/// Whether a file of that name belongs to the certificate of a challenge, and its key is of none of these
/// kinds.
pub fn is_of_other_key(file: &str, specs: &[KeySpec]) -> bool {
    let kept = |spec: &KeySpec| cert_file(spec) == file || key_file(spec) == file;
    (file.starts_with(CERT_STEM) || file.starts_with(KEY_STEM)) && !specs.iter().any(kept)
}

/// The certificate that answers for `name`, a DNS name or an address (RFC 8737 §3, RFC 8738 §6).
pub fn certificate(
    name: &str,
    key_authorization: &str,
    key: &PrivateKey,
    now: Timestamp,
) -> Result<Chain, crypto::Error> {
    self_signed::acme_identifier(name, &crypto::sha256(key_authorization.as_bytes()), key, now)
}

/// Whose challenge a client asks for by this server name. RFC 8738 §6: that of an address is the name of
/// its reverse mapping.
pub fn asked(server_name: &str) -> Option<String> {
    let name = names::normalize(server_name).ok()?;
    Some(names::address_of_reverse(&name).map_or(name, |address| address.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each_type_is_shown_and_no_certificate_without_its_key() {
        let file = |spec: &str| {
            let spec = if spec == "rsa" { KeySpec::default() } else { KeySpec::Ec(spec.into()) };
            (cert_file(&spec), key_file(&spec))
        };
        let folder = |specs: &[&str]| {
            let files = specs.iter().flat_map(|spec| <[String; 2]>::from(file(spec)));
            files.chain(["acme-http-01.txt".to_string()]).collect::<Vec<_>>()
        };
        assert_eq!(files(&folder(&["secp384r1", "P-256", "rsa"])), [file("P-256"), file("rsa")]);
        assert_eq!(files(&folder(&["rsa", "secp384r1"])), [file("secp384r1"), file("rsa")]);
        assert_eq!(files(&folder(&["secp384r1"])), [file("secp384r1")]);
        assert_eq!(file("P-256").0, "acme-tls-alpn-01-pubcert.p-256.pem");
        let (cert, _) = file("rsa");
        assert_eq!(files(&[cert]), []);
        assert_eq!(files(&folder(&[])), []);
    }

    #[test]
    fn both_types_are_made_whatever_keys_the_domain_has() {
        let ec = |curve: &str| KeySpec::Ec(curve.into());
        assert_eq!(key_specs(&[ec("P-256")]), [KeySpec::default(), ec("P-256")]);
        assert_eq!(key_specs(&[KeySpec::Rsa(4096)]), [KeySpec::default(), ec("P-256")]);
        assert_eq!(key_specs(&[ec("secp384r1")]), [KeySpec::default(), ec("P-256"), ec("secp384r1")]);
    }

    #[test]
    fn only_files_of_challenges_are_of_another_key() {
        let specs = [KeySpec::Ec("P-256".into())];
        for (file, is_other) in [
            ("acme-tls-alpn-01-pubcert.p-256.pem", false),
            ("acme-tls-alpn-01-privkey.p-256.pem", false),
            ("acme-tls-alpn-01-pubcert.pem", true),
            ("acme-tls-alpn-01-privkey.secp384r1.pem", true),
            ("acme-http-01.txt", false),
            ("acme-dns-01.json", false),
        ] {
            assert_eq!(is_of_other_key(file, &specs), is_other, "{file}");
        }
    }

    #[test]
    fn an_address_is_asked_for_by_its_reverse_name() {
        assert_eq!(asked("WWW.a.Test").as_deref(), Some("www.a.test"));
        assert_eq!(asked("1.0.0.127.in-addr.arpa").as_deref(), Some("127.0.0.1"));
        assert_eq!(asked("../x"), None);
    }
}
