// SPDX-License-Identifier: Apache-2.0
//! Sets of key and certificate as a renewal leaves them, made quickly and without a CA, also such as no CA
//! would issue.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, BigNumRef, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use serde_json::{Value, json};

use super::httpd::unprivileged_user;
use super::{lab, tls};

/// Its certificate is the root, and the second of every chain.
pub struct Issuer {
    key: PKey<Private>,
    pub root: X509,
}

/// A leaf and its issuer, and the leaf's key.
#[derive(Clone)]
pub struct Set {
    pub key: PKey<Private>,
    pub chain: Vec<X509>,
}

impl Issuer {
    #[allow(clippy::new_without_default, reason = "each one has a key of its own")]
    pub fn new() -> Issuer {
        Issuer::with_key(Id::EC)
    }

    /// With a key of this kind; RSA of 2048 bits.
    pub fn with_key(algorithm: Id) -> Issuer {
        let key = generate(algorithm);
        let mut builder = builder("Lab Root", "Lab Root", &key, -3600, 86_400);
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Issuer { key, root: builder.build() }
    }

    /// For a day, with a P-256 key.
    pub fn issue(&self, names: &[&str]) -> Set {
        self.issue_for(names, Id::EC, -60, 86_400)
    }

    /// Valid from and until so many seconds from now.
    pub fn issue_for(&self, names: &[&str], algorithm: Id, from: i64, until: i64) -> Set {
        let key = generate(algorithm);
        Set { chain: self.certify_for(names, &key, from, until), key }
    }

    /// A certificate of a key that somebody else may have, for a day.
    pub fn certify(&self, names: &[&str], key: &PKey<Private>) -> Vec<X509> {
        self.certify_for(names, key, -60, 86_400)
    }

    fn certify_for(&self, names: &[&str], key: &PKey<Private>, from: i64, until: i64) -> Vec<X509> {
        let mut builder = builder(names[0], "Lab Root", key, from, until);
        let mut san = SubjectAlternativeName::new();
        names.iter().for_each(|name| {
            san.dns(name);
        });
        let san = san.build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(san).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        vec![builder.build(), self.root.clone()]
    }
}

impl Set {
    pub fn serial(&self) -> String {
        tls::serial(&self.chain[0])
    }

    pub fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().unwrap()
    }

    /// As a renewal leaves it in the staging of `store`.
    pub fn sealed_pem(&self, store: &Path) -> Vec<u8> {
        seal(&self.key, store)
    }

    pub fn chain_pem(&self) -> Vec<u8> {
        self.chain.iter().flat_map(|certificate| certificate.to_pem().unwrap()).collect()
    }

    fn suffix(&self) -> &'static str {
        if self.key.id() == Id::RSA { "" } else { ".p-256" }
    }
}

/// A key as it stands in the staging and accounts of `store`.
pub fn seal(key: &PKey<Private>, store: &Path) -> Vec<u8> {
    key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), &store_key(store)).unwrap()
}

/// A key of the staging or accounts of `store`.
pub fn open(pem: &[u8], store: &Path) -> PKey<Private> {
    let pass_phrase = store_key(store);
    // OpenSSL's function for a pass phrase takes a text that ends at the first NUL.
    let key = PKey::private_key_from_pem_callback(pem, |room| {
        room[..pass_phrase.len()].copy_from_slice(&pass_phrase);
        Ok(pass_phrase.len())
    });
    key.unwrap()
}

/// The same as [`seal`], claiming to be sealed with 2^31 - 1 rounds of PBKDF2: an hour of work for who believes it.
pub fn seal_slowly(key: &PKey<Private>, store: &Path) -> Vec<u8> {
    let sealed = String::from_utf8(seal(key, store)).unwrap();
    let base64: String = sealed.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = BASE64.decode(base64.as_bytes()).unwrap();
    let text = BASE64.encode(&with_many_rounds(&der));
    format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{text}\n-----END ENCRYPTED PRIVATE KEY-----\n")
        .into_bytes()
}

/// DER with each INTEGER of 2048 in it replaced.
fn with_many_rounds(der: &[u8]) -> Vec<u8> {
    let (mut rest, mut out) = (der, Vec::new());
    while let [tag, first, ..] = *rest {
        let count = usize::from(first & 0x7f) * usize::from(first >> 7);
        let length = rest[2..2 + count].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let length = if count == 0 { usize::from(first) } else { length };
        let content;
        (content, rest) = rest[2 + count..].split_at(length);
        let content = match tag {
            0x30 => with_many_rounds(content),
            0x02 if content == [8, 0] => vec![0x7f, 0xff, 0xff, 0xff],
            _ => content.to_vec(),
        };
        out.extend([tag, 0x82]);
        out.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        out.extend(content);
    }
    out
}

/// The key of a store, which gets one where there is none yet.
pub fn store_key(store: &Path) -> Vec<u8> {
    let file = store.join("md_store.json");
    if !file.exists() {
        let mut key = [0; 48];
        openssl::rand::rand_bytes(&mut key).unwrap();
        let record = json!({ "store": { "version": 3.0 }, "key": BASE64URL_NOPAD.encode(&key) });
        fs::create_dir_all(store).unwrap();
        fs::write(&file, record.to_string()).unwrap();
    }
    let record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    BASE64URL_NOPAD.decode(record["key"].as_str().unwrap().as_bytes()).unwrap()
}

/// Puts sets into use, as if a restart had activated them. For a server that does not run.
pub fn install(store: &Path, domains: &[&str], sets: &[&Set]) {
    write(&store.join("domains").join(domains[0]), domains, sets, Set::key_pem);
}

/// Leaves sets in staging, as a renewal does that has just succeeded.
pub fn stage(store: &Path, domains: &[&str], sets: &[&Set]) {
    stage_changed(store, domains, sets, |_| {});
}

/// The same, with what `change` does in the folder before anybody may take the sets for finished.
pub fn stage_changed(store: &Path, domains: &[&str], sets: &[&Set], change: impl FnOnce(&Path)) {
    let dir = store.join("staging").join(domains[0]);
    // Until all is there, this is no finished renewal.
    let _ = fs::remove_file(dir.join("job.json"));
    write(&dir, domains, sets, |set| set.sealed_pem(store));
    change(&dir);
    let job = json!({ "name": domains[0], "finished": true, "errors": 0 });
    put(&dir, "job.json", job.to_string().as_bytes());
}

fn write(dir: &Path, domains: &[&str], sets: &[&Set], key_pem: impl Fn(&Set) -> Vec<u8>) {
    let specs: Vec<_> = sets
        .iter()
        .map(|set| match set.key.id() {
            Id::RSA => json!({ "type": "RSA", "bits": 2048 }),
            _ => json!({ "type": "EC", "curve": "P-256" }),
        })
        .collect();
    let md = json!({ "name": domains[0], "domains": domains, "privkey": specs, "state": 2 });
    fs::create_dir_all(dir).unwrap();
    for set in sets {
        put(dir, &format!("privkey{}.pem", set.suffix()), &key_pem(set));
        put(dir, &format!("pubcert{}.pem", set.suffix()), &set.chain_pem());
    }
    put(dir, "md.json", md.to_string().as_bytes());
    give_to_workers(dir);
}

/// The same in a folder that may not be there.
pub fn put_new(dir: &Path, name: &str, content: &[u8]) {
    fs::create_dir_all(dir).unwrap();
    give_to_workers(dir);
    put(dir, name, content);
}

/// Replaces a file of staging whole, as its owner.
pub fn put(dir: &Path, name: &str, content: &[u8]) {
    let temporary = dir.join(format!(".{name}"));
    fs::write(&temporary, content).unwrap();
    give_to_workers(&temporary);
    fs::rename(&temporary, dir.join(name)).unwrap();
}

fn give_to_workers(path: &Path) {
    if lab::is_root() {
        let user = unprivileged_user();
        chown(path, Some(user.uid), Some(user.gid)).unwrap();
    }
}

fn builder(subject: &str, issuer: &str, key: &PKey<Private>, from: i64, until: i64) -> X509Builder {
    let name = |common_name: &str| {
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_nid(Nid::COMMONNAME, common_name).unwrap();
        name.build()
    };
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(since.as_secs()).unwrap();
    let at = |offset: i64| Asn1Time::from_unix(now + offset).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(127, MsbOption::ONE, false).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name(subject)).unwrap();
    builder.set_issuer_name(&name(issuer)).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&at(from)).unwrap();
    builder.set_not_after(&at(until)).unwrap();
    builder
}

pub fn generate(algorithm: Id) -> PKey<Private> {
    match algorithm {
        Id::RSA => PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
        _ => {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
            PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
        }
    }
}

/// A key whose public half is that of `key`, with other private numbers: files become such by damage.
pub fn damage(key: &PKey<Private>) -> PKey<Private> {
    let other = |number: &BigNumRef| number + &BigNum::from_u32(2).unwrap();
    if let Ok(key) = key.ec_key() {
        let number = other(key.private_key());
        let damaged = EcKey::from_private_components(key.group(), &number, key.public_key());
        return PKey::from_ec_key(damaged.unwrap()).unwrap();
    }
    let key = key.rsa().unwrap();
    let own = |number: Option<&BigNumRef>| number.unwrap().to_owned().unwrap();
    let damaged = Rsa::from_private_components(
        key.n().to_owned().unwrap(),
        key.e().to_owned().unwrap(),
        other(key.d()),
        other(key.p().unwrap()),
        own(key.q()),
        own(key.dmp1()),
        own(key.dmq1()),
        own(key.iqmp()),
    );
    PKey::from_rsa(damaged.unwrap()).unwrap()
}
