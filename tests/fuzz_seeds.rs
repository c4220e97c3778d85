// SPDX-License-Identifier: Apache-2.0
//! The seeds of the fuzz targets, and a few mutations of each, through the very checks that the targets
//! make. `UPDATE_SEEDS=1` regenerates those for OCSP, with a CA of their own. The seeds for DNS and Redis
//! have tests where the words for them are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../fuzz/checks/acme.rs"]
mod acme;
#[path = "../fuzz/checks/acme_session.rs"]
mod acme_session;
#[path = "../fuzz/checks/answer.rs"]
mod answer;
#[path = "../fuzz/checks/certificate.rs"]
mod certificates;
#[path = "../fuzz/checks/challenge_request.rs"]
mod challenge_request;
#[path = "../fuzz/checks/directive.rs"]
mod directive;
#[path = "../fuzz/checks/etcd_answer.rs"]
mod etcd_answer;
#[path = "../fuzz/checks/fleet_value.rs"]
mod fleet_value;
#[path = "../fuzz/checks/http_answer.rs"]
mod http_answer;
#[path = "../fuzz/checks/pem_file.rs"]
mod pem_file;
#[path = "../fuzz/checks/plain.rs"]
mod plain;
#[path = "../fuzz/checks/private_key.rs"]
mod private_key;
#[path = "../fuzz/checks/response.rs"]
mod response;
#[path = "../fuzz/checks/store_file.rs"]
mod store_file;
#[path = "../fuzz/checks/store_json.rs"]
mod store_json;
#[path = "../fuzz/checks/texts.rs"]
mod texts;

use mod_md::time::{DAY, Timestamp};
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::ocsp::OcspCertId;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::X509;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage};
use response::{Judge, NOW};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::certificate;
use support::ocsp_response::{self as wire, Say, Wish};

const HOUR: Duration = Duration::from_secs(3600);

/// Each seed, and what is said of it: the state of the certificate, or words of the reason why it is not
/// taken.
const VERDICTS: &[(&str, &str)] = &[
    ("about-another", "not about this certificate"),
    ("about-another-and-ours", "good"),
    ("by-key", "good"),
    ("by-stranger", "signature of the response is wrong"),
    ("delegate", "good"),
    ("delegate-by-key", "good"),
    ("delegate-expired", "not valid now"),
    ("delegate-not-appointed", "not for signing OCSP"),
    ("delegate-of-stranger", "has not issued"),
    ("delegate-rsa", "good"),
    ("empty", "not an OCSP response"),
    ("expired", "good"),
    ("extensions", "good"),
    ("forged", "signature of the response is wrong"),
    ("good", "good"),
    ("html", "not an OCSP response"),
    ("internal-error", "internalError"),
    ("issuer-along", "good"),
    ("no-answers", "not about this certificate"),
    ("no-next-update", "good"),
    ("not-yet", "good"),
    ("revoked", "revoked"),
    ("sha256-id", "not about this certificate"),
    ("trailing", "not an OCSP response"),
    ("truncated", "not an OCSP response"),
    ("try-later", "tryLater"),
    ("unauthorized", "unauthorized"),
    ("unknown", "unknown"),
];

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds")
}

fn read_all(dir: &str) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(seeds().join(dir)).unwrap().map(|file| file.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

#[test]
fn every_seed_of_the_fuzz_targets_is_judged_as_its_name_says() {
    if std::env::var_os("UPDATE_SEEDS").is_some() {
        write_all();
    }
    let judge = Judge::new(&seeds());
    let responses = read_all("ocsp_response");
    assert_eq!(
        responses.keys().map(String::as_str).collect::<Vec<_>>(),
        VERDICTS.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    );
    for (name, verdict) in VERDICTS {
        let said = match judge.check(&responses[*name]) {
            Ok(response) => response.status.word().to_string(),
            Err(flaw) => flaw.to_string(),
        };
        assert!(said.contains(verdict), "{name}: {said}");
    }
    let answers = read_all("ocsp_answer");
    assert!(answers.len() >= 5);
    answers.values().for_each(|bytes| answer::check(&judge, bytes));
    let size: usize = responses.values().chain(answers.values()).map(Vec::len).sum();
    assert!(size < 32 * 1024, "a few KiB are enough to begin with: {size}");
}

/// Mutations of each seed.
const MUTATIONS: u32 = 20;

/// Runs the seeds of a target and mutations of them. Each seed has a name that says which one it is.
fn run(target: &str, check: impl Fn(&[u8])) {
    let seeds = read_all(target);
    assert!(seeds.len() >= 5, "{target} has {} seeds", seeds.len());
    let size: usize = seeds.values().map(Vec::len).sum();
    assert!(size < 32 * 1024, "{target}: a few KiB are enough to begin with: {size}");
    let others: Vec<&Vec<u8>> = seeds.values().collect();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for (name, seed) in &seeds {
        let attempt = |bytes: &[u8]| {
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(bytes)));
            assert!(checked.is_ok(), "{target}/{name}: {:?}", String::from_utf8_lossy(bytes));
        };
        attempt(seed);
        for _ in 0..MUTATIONS {
            attempt(&random.mutated(seed, &others));
        }
    }
}

/// The same with each value of a seed's JSON, behind its first byte, left out or replaced by others.
fn run_json(target: &str, check: impl Fn(&[u8])) {
    run(target, &check);
    for (name, seed) in &read_all(target) {
        let Some((kind, Ok(json))) =
            seed.split_first().map(|(kind, rest)| (kind, serde_json::from_slice(rest)))
        else {
            continue;
        };
        for changed in variants(&json) {
            let bytes = [&[*kind], changed.to_string().as_bytes()].concat();
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&bytes)));
            assert!(checked.is_ok(), "{target}/{name}: {}", String::from_utf8_lossy(&bytes));
        }
    }
}

fn variants(value: &Value) -> Vec<Value> {
    let odd = [json!(null), json!(true), json!(-1), json!(u64::MAX), json!(""), json!([]), json!({})];
    let texts = ["a\nb\u{1b}[2J", "Sat, 01 Jan 0000 00:00:00 +2359"];
    let mut all: Vec<Value> = odd.into_iter().chain(texts.map(Value::from)).collect();
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                let with = |changed: Option<Value>| {
                    let mut fields = fields.clone();
                    match changed {
                        Some(changed) => drop(fields.insert(key.clone(), changed)),
                        None => drop(fields.remove(key)),
                    }
                    Value::Object(fields)
                };
                all.push(with(None));
                all.extend(variants(inner).into_iter().map(|changed| with(Some(changed))));
            }
        }
        Value::Array(items) => {
            all.push(items.iter().chain(items).cloned().collect());
            for (at, inner) in items.iter().enumerate().take(3) {
                let with = |changed: Value| {
                    let mut items = items.clone();
                    items[at] = changed;
                    Value::Array(items)
                };
                all.extend(variants(inner).into_iter().map(with));
            }
        }
        _ => {}
    }
    all
}

/// The same at each run.
struct Random(u64);

impl Random {
    /// Below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    /// A byte changed, a part lost, said twice, or taken from another seed; now and then several times.
    fn mutated(&mut self, seed: &[u8], others: &[&Vec<u8>]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(3) {
            let from = self.below(bytes.len() + 1);
            let to = from + self.below((bytes.len() - from).min(64) + 1);
            match self.below(4) {
                0 if from < bytes.len() => bytes[from] = u8::try_from(self.below(256)).unwrap(),
                0 | 1 => drop(bytes.drain(from..to)),
                2 => {
                    let part = bytes[from..to].to_vec();
                    bytes.splice(to..to, part);
                }
                _ => {
                    let other = others[self.below(others.len())];
                    let begin = self.below(other.len() + 1);
                    let end = begin + self.below((other.len() - begin).min(64) + 1);
                    bytes.splice(from..to, other[begin..end].iter().copied());
                }
            }
        }
        bytes
    }
}

#[test]
fn what_a_ca_sends_passes_its_checks() {
    run_json("acme_object", acme::check);
    run("acme_session", acme_session::check);
    let lines = http_answer::Lines::new();
    run("http_answer", |bytes| http_answer::check(&lines, bytes));
}

#[test]
fn certificates_and_keys_pass_their_checks() {
    run("pem_file", pem_file::check);
    run("certificate", certificates::check);
    run("private_key", private_key::check);
}

#[test]
fn what_is_stored_and_configured_passes_its_checks() {
    run_json("store_json", store_json::check);
    run("directive", directive::check);
    run("texts", texts::check);
    let dir = tempfile::tempdir().unwrap();
    let site = store_file::Site::new(&dir.path().join("md"));
    run("store_file", |bytes| store_file::check(&site, bytes));
}

#[test]
fn what_asks_for_a_challenge_passes_its_checks() {
    let dir = tempfile::tempdir().unwrap();
    let site = challenge_request::Site::new(dir.path());
    run("challenge_request", |bytes| challenge_request::check(&site, bytes));
}

#[test]
fn what_stands_in_an_engine_passes_its_checks() {
    run("etcd_answer", etcd_answer::check);
    run("fleet_value", fleet_value::check);
}

/// Without the targets that have tests elsewhere.
#[test]
fn the_seeds_of_each_target_are_read_by_a_test() {
    let here = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz_seeds.rs")).unwrap();
    for target in fs::read_dir(seeds()).unwrap().map(|file| file.unwrap()) {
        let name = target.file_name().into_string().unwrap();
        let is_elsewhere = name.starts_with("dns_") || name == "resp_answer" || name == "chain.pem";
        assert!(is_elsewhere || here.contains(&format!("(\"{name}\",")), "{name}");
    }
}

struct Ca {
    cert: X509,
    key: PKey<Private>,
}

impl Ca {
    fn new() -> Ca {
        let (key, extension) = (certificate::new_key(), BasicConstraints::new().critical().ca().build());
        let valid = (&date(NOW.minus(DAY * 900)), &date(NOW.plus(DAY * 900)));
        Ca { cert: certificate::make_valid("Seed CA", &key, None, vec![extension.unwrap()], valid), key }
    }

    fn leaf(&self) -> X509 {
        let extensions = vec![certificate::san("a.test"), certificate::ocsp_access("http://o.test/")];
        self.issue("a.test", &certificate::new_key(), extensions, NOW.plus(DAY * 89))
    }

    fn issue(
        &self,
        name: &str,
        key: &PKey<Private>,
        extensions: Vec<openssl::x509::X509Extension>,
        until: Timestamp,
    ) -> X509 {
        let issuer = Some((&self.cert, &self.key));
        certificate::make_valid(name, key, issuer, extensions, (&date(NOW.minus(DAY)), &date(until)))
    }

    fn delegate(&self, is_appointed: bool, key: PKey<Private>, until: Timestamp) -> Ca {
        let mut usage = ExtendedKeyUsage::new();
        let usage = if is_appointed { usage.other("OCSPSigning") } else { usage.client_auth() };
        Ca { cert: self.issue("Delegate", &key, vec![usage.build().unwrap()], until), key }
    }
}

fn date(at: Timestamp) -> Asn1Time {
    Asn1Time::from_unix(at.unix()).unwrap()
}

fn cert_id(leaf: &X509, issuer: &X509, digest: MessageDigest) -> Vec<u8> {
    let mut request = openssl::ocsp::OcspRequest::new().unwrap();
    request.add_id(OcspCertId::from_cert(digest, leaf, issuer).unwrap()).unwrap();
    let request = request.to_der().unwrap();
    (0..4).fold(request.as_slice(), |der, _| wire::content(der).0).to_vec()
}

fn write_all() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let leaf = ca.leaf();
    let chain = [leaf.to_pem().unwrap(), ca.cert.to_pem().unwrap()].concat();
    let responses = responses(&ca, &stranger, &leaf);
    let answers = answers(&responses["good"]);
    for (dir, seeds_of) in [("ocsp_response", responses), ("ocsp_answer", answers)] {
        let dir = seeds().join(dir);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        seeds_of.iter().for_each(|(name, bytes)| fs::write(dir.join(name), bytes).unwrap());
    }
    fs::write(seeds().join("chain.pem"), chain).unwrap();
}

/// Good, current, and signed by the issuer itself.
fn good<'a>(id: &'a [u8], signer: &'a Ca) -> Wish<'a> {
    Wish {
        cert_id: id,
        say: Say::Good,
        from: text(NOW.minus(HOUR)),
        until: Some(text(NOW.plus(DAY * 4))),
        signer: &signer.cert,
        key: &signer.key,
        by_key: false,
        certs: &[],
    }
}

fn text(at: Timestamp) -> String {
    at.to_rfc3339().replace(['-', ':', 'T'], "")
}

fn responses(ca: &Ca, stranger: &Ca, leaf: &X509) -> BTreeMap<&'static str, Vec<u8>> {
    let id = cert_id(leaf, &ca.cert, MessageDigest::sha1());
    let other_id = cert_id(&ca.leaf(), &ca.cert, MessageDigest::sha1());
    let sha256_id = cert_id(leaf, &ca.cert, MessageDigest::sha256());
    let by_issuer = wire::build(&good(&id, ca));
    let both =
        [wire::single(&Wish { cert_id: &other_id, ..good(&id, ca) }), wire::single(&good(&id, ca))].concat();
    let until = NOW.plus(DAY * 30);
    let delegate = ca.delegate(true, certificate::new_key(), until);
    let rsa = ca.delegate(true, PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(), until);
    let by = |delegate: &Ca, by_key: bool| {
        wire::build(&Wish { certs: std::slice::from_ref(&delegate.cert), by_key, ..good(&id, delegate) })
    };
    let says = |say| wire::build(&Wish { say, ..good(&id, ca) });
    let valid = |from, until: Option<Timestamp>| {
        wire::build(&Wish { from: text(from), until: until.map(text), ..good(&id, ca) })
    };
    let mut forged = by_issuer.clone();
    *forged.last_mut().unwrap() ^= 1;
    BTreeMap::from([
        ("about-another", wire::build(&Wish { cert_id: &other_id, ..good(&id, ca) })),
        ("about-another-and-ours", wire::build_with(&both, &[], &good(&id, ca))),
        ("by-key", wire::build(&Wish { by_key: true, ..good(&id, ca) })),
        ("by-stranger", wire::build(&good(&id, stranger))),
        ("delegate", by(&delegate, false)),
        ("delegate-by-key", by(&delegate, true)),
        ("delegate-expired", by(&ca.delegate(true, certificate::new_key(), NOW.minus(HOUR)), false)),
        ("delegate-not-appointed", by(&ca.delegate(false, certificate::new_key(), until), false)),
        ("delegate-of-stranger", by(&stranger.delegate(true, certificate::new_key(), until), false)),
        ("delegate-rsa", by(&rsa, false)),
        ("empty", Vec::new()),
        ("expired", valid(NOW.minus(DAY * 5), Some(NOW.minus(HOUR)))),
        ("extensions", wire::build_with(&wire::single(&good(&id, ca)), &nonce(), &good(&id, ca))),
        ("forged", forged),
        ("html", b"<html><body>Welcome to the hotel</body></html>".to_vec()),
        ("internal-error", wire::error(2)),
        ("issuer-along", wire::build(&Wish { certs: std::slice::from_ref(&ca.cert), ..good(&id, ca) })),
        ("no-answers", wire::build_with(&[], &[], &good(&id, ca))),
        ("no-next-update", valid(NOW.minus(HOUR), None)),
        ("not-yet", valid(NOW.plus(HOUR), Some(NOW.plus(DAY)))),
        ("revoked", says(Say::Revoked)),
        ("sha256-id", wire::build(&Wish { cert_id: &sha256_id, ..good(&id, ca) })),
        ("trailing", [by_issuer.as_slice(), &[5, 0]].concat()),
        ("truncated", by_issuer[..by_issuer.len() - 20].to_vec()),
        ("try-later", wire::error(3)),
        ("unauthorized", wire::error(6)),
        ("unknown", says(Say::Unknown)),
        ("good", by_issuer),
    ])
}

/// What some responders send although nobody asked (RFC 6960 §4.4.1).
fn nonce() -> Vec<u8> {
    let oid = wire::element(6, &[0x2b, 6, 1, 5, 5, 7, 48, 1, 2]);
    let value = wire::element(4, &wire::element(4, &[7; 16]));
    let extension = wire::element(0x30, &[oid, value].concat());
    wire::element(0xa1, &wire::element(0x30, &extension))
}

fn answers(good: &[u8]) -> BTreeMap<&'static str, Vec<u8>> {
    let kind = "Content-Type: application/ocsp-response\n";
    let with = |head: &str, body: &[u8]| [head.as_bytes(), b"\n", body].concat();
    let good = |headers: &str| with(&format!("200\n{kind}{headers}"), good);
    BTreeMap::from([
        ("good", good("")),
        ("max-age", good("Cache-Control: public, no-transform, max-age=\"21600\"\n")),
        ("no-store", good("Cache-Control: no-store, max-age=0\nDate: Fri, 15 Jan 2027 08:00:00 GMT\n")),
        ("not-found", with("404\nContent-Type: text/html\n", b"<html></html>")),
        ("retry-at", with("429\nRetry-After: Fri, 15 Jan 2027 09:00:00 GMT\n", b"")),
        ("retry-in", with("503\nRetry-After: 7200\n", b"later")),
        ("try-later", with(&format!("200\n{kind}Retry-After: 60\n"), &wire::error(3))),
    ])
}
