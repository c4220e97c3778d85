// SPDX-License-Identifier: Apache-2.0
//! A bundle: a private key and the chain that certifies it, as a folder of the store keeps them. Bundles read
//! here are consistent; [`Bundle::fits`] compares one with the configuration. Refuses keys without
//! certificate, certificates without key, and staged sets that another process has changed. Does not decide
//! whether a TLS server accepts it (`gate`). Imports `fit`, `serve` and `staging`, and `store` and `crypto`
//! below.

use super::fit::{self, Unfit};
use super::serve::Certs;
use super::staging::file::{CHAIN_STEM, KEY_STEM};
use crate::crypto::path::Dropped;
use crate::crypto::{self, CertInfo, Chain, PrivateKey};
use crate::model::{Job, KeySpec, Md, Trial};
use crate::store::auth::{Author, Purpose};
use crate::store::{Error, Group, Rights, StartStore, Store};
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::path::Path;
use zeroize::Zeroizing;

pub use super::staging::file::{JOB as JOB_FILE, MD as MD_FILE};

pub struct Bundle {
    pub spec: KeySpec,
    pub key: PrivateKey,
    pub chain: Chain,
    pub info: CertInfo,
}

/// Why there is no set.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    #[error("certificate({0}) is missing")]
    Missing(String),
    #[error("certificate({0}) does not belong to its private key")]
    Mismatch(String),
    #[error("certificate({0}) has a key of another kind than {0}")]
    Kind(String),
    #[error("OpenSSL refuses certificate({0}) for TLS: {1}")]
    Refused(String, String),
    /// In the words of the hosts that were asked before.
    #[error("{0}")]
    RefusedByHosts(String),
    #[error("md.json is missing or unusable")]
    NoMd,
    /// `what` is in staging, and has a code that is not its own.
    #[error(
        "{0} in staging is not what this server has left there: its `auth` does not fit, because somebody with the rights of httpd's User has changed it or brought it from elsewhere"
    )]
    Forged(&'static str),
    /// A file that only this module writes has no code.
    #[error("{0} in staging was not left there by this server: it has no `auth`")]
    Unsigned(&'static str),
    #[error("{0}")]
    Unusable(String),
    #[error("{0}")]
    Store(#[from] Error),
}

/// Reads key and chain for `spec` and checks that they belong together.
pub fn load<R: Rights>(
    store: &Store<R>,
    group: R::Group,
    name: &str,
    spec: &KeySpec,
) -> Result<Bundle, Flaw> {
    let chain = store.read_chain(group, name, &spec.file_name(CHAIN_STEM))?;
    let key = store.read_key(group, name, &spec.file_name(KEY_STEM))?;
    let (Some(chain), Some(key)) = (chain, key) else { return Err(Flaw::Missing(spec.label().into())) };
    let (set, dropped) = Bundle::from_sent(spec.clone(), key, chain)?;
    if !dropped.is_nothing() {
        crate::log!(
            Info,
            "md[{name}]: the file of certificate({}) holds more than its chain, which is used: {dropped}",
            spec.label()
        );
    }
    Ok(set)
}

/// The code of a complete set in staging, which was ordered for `md`. It need not cover the keys: the
/// certificates fit no other key.
pub fn vouch<R: Rights>(
    store: &Store<R>,
    name: &str,
    md: &Md,
    sets: &[Bundle],
    is_tried: bool,
) -> Result<String, Error> {
    store.vouch(purpose(is_tried), name, &content(md, sets))
}

/// The authenticated part of a job's statements about the set in staging that was read with it: whether hosts
/// accept it. Sets of the C module have no code, so hosts try them again.
pub fn trial<R: Rights>(
    store: &Store<R>,
    job: &Job,
    md: &Md,
    sets: &[Bundle],
) -> Result<Option<Trial>, Flaw> {
    let refused = || job.trial.clone().filter(|trial| *trial != Trial::Accepted);
    let Some(code) = job.auth.as_ref().map(|code| json!(code)) else { return Ok(refused()) };
    let content = content(md, sets);
    let is = |is_tried| store.author(purpose(is_tried), &job.name, &content, Some(&code)) == Author::Ours;
    match (is(true), is(false)) {
        (true, _) => Ok(job.trial.clone()),
        (_, true) => Ok(refused()),
        _ => Err(Flaw::Forged("the set")),
    }
}

fn purpose(is_tried: bool) -> Purpose {
    if is_tried { Purpose::TriedSet } else { Purpose::Set }
}

fn content(md: &Md, sets: &[Bundle]) -> Value {
    let chain = |set: &Bundle| String::from_utf8_lossy(&set.chain.to_pem()).into_owned();
    let entry = |set: &Bundle| json!({"privkey-spec": set.spec.to_json(), "pubcert": chain(set)});
    json!({"md": md.to_json(), "sets": sets.iter().map(entry).collect::<Vec<_>>()})
}

impl Flaw {
    /// Whether the set is whole, and TLS servers do not take it.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Flaw::Refused(..) | Flaw::RefusedByHosts(_) | Flaw::Kind(_))
    }
}

impl Bundle {
    /// Whether a TLS context of this machine takes it. `chain` is a file with its chain.
    pub(crate) fn try_out(&self, chain: &Path) -> Result<(), Flaw> {
        let refused = |error: crypto::Error| Flaw::Refused(self.spec.label().to_string(), error.to_string());
        if self.chain.leaf().key_spec().is_none() {
            return Err(Flaw::Kind(self.spec.label().to_string()));
        }
        crypto::scratch::accepts(&self.key, chain).map_err(refused)
    }

    /// Whether it fits the configuration of `md`. Key and chain of a bundle always belong together.
    pub fn fits(&self, md: &Md, now: Timestamp) -> Result<(), Unfit> {
        if !self.chain.leaf().has_alternative_names() {
            return Err(Unfit::SubjectAlone);
        }
        fit::check(md, Some(&self.info), now)
    }

    /// Only of a key and certificates of which one belongs to it. The chain is the path from that one on;
    /// other certificates are dropped.
    pub fn from_sent(spec: KeySpec, key: PrivateKey, sent: Chain) -> Result<(Self, Dropped), Flaw> {
        let path = sent.into_path(&key);
        let (chain, dropped) = path.ok_or_else(|| Flaw::Mismatch(spec.label().to_string()))?;
        let info = CertInfo::from_chain(&chain);
        Ok((Bundle { spec, key, chain, info }, dropped))
    }
}

/// The certificates of `md` in `domains` that can be served, whether or not their keys are still configured,
/// and the flaws of the others. Keys that are not configured are looked for only if a configured one is
/// missing.
pub fn look(store: &StartStore, name: &str, md: &Md) -> (Certs, Vec<Flaw>) {
    let keys = md.keys();
    let (mut found, mut flaws) = look_for(store, name, &keys);
    if found.len() < keys.len() {
        let is_configured = |spec: &KeySpec| keys.iter().any(|key| key.file_name("") == spec.file_name(""));
        let files = store.files(Group::Domains, name).unwrap_or_default();
        let others = files.iter().filter_map(|file| KeySpec::of_file(file, CHAIN_STEM));
        let others: Vec<_> = others.filter(|spec| !is_configured(spec)).collect();
        let (more, wrong) = look_for(store, name, &others);
        found.extend(more);
        flaws.extend(wrong);
    }
    (Certs::arrange(&keys, found), flaws)
}

fn look_for(store: &StartStore, name: &str, specs: &[KeySpec]) -> (Vec<(KeySpec, CertInfo)>, Vec<Flaw>) {
    let (mut found, mut flaws) = (Vec::new(), Vec::new());
    for spec in specs {
        match look_at(store, name, spec) {
            Ok(info) => found.push((spec.clone(), info)),
            Err(Flaw::Missing(_)) => {}
            Err(flaw) => flaws.push(flaw),
        }
    }
    (found, flaws)
}

/// The result of [`load`] for a set in `domains` without the key itself, if mod_ssl will accept it.
fn look_at(store: &StartStore, name: &str, spec: &KeySpec) -> Result<CertInfo, Flaw> {
    let chain = store.read_chain(Group::Domains, name, &spec.file_name(CHAIN_STEM))?;
    let key = store.read(Group::Domains, name, &spec.file_name(KEY_STEM))?.map(Zeroizing::new);
    let Some((chain, key)) = chain.zip(key) else { return Err(Flaw::Missing(spec.label().to_string())) };
    if chain.leaf().matches_key_file(&key) && chain.has_common_keys() {
        return Ok(CertInfo::from_chain(&chain));
    }
    let set = load(store, Group::Domains, name, spec)?;
    // mod_ssl reads the same file, and takes the first certificate in it.
    if set.chain.leaf().der() != chain.leaf().der() {
        return Err(Flaw::Mismatch(spec.label().to_string()));
    }
    if !set.chain.has_common_keys() {
        let file = store.path(Group::Domains, name, &spec.file_name(CHAIN_STEM))?;
        set.try_out(&file)?;
    }
    Ok(set.info)
}

/// Writes key and chain; the key first, so that a chain never stands without its key.
pub fn write(store: &StartStore, group: Group, name: &str, set: &Bundle) -> Result<(), Error> {
    store.write_key(group, name, &set.spec.file_name(KEY_STEM), &set.key)?;
    store.write_chain(group, name, &set.spec.file_name(CHAIN_STEM), &set.chain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::{Ca, NOW, Wish};
    use crate::time::DAY;

    /// The feature `status_request` (RFC 7633).
    const MUST_STAPLE: (&str, &[u8]) = ("1.3.6.1.5.5.7.1.24", &[0x30, 3, 2, 1, 5]);

    fn bundle(wish: &Wish<'_>) -> Bundle {
        let spec = KeySpec::Ec("P-256".into());
        let key = PrivateKey::generate(&spec).unwrap();
        let chain = Ca::new("CA").grant(wish, &key);
        Bundle::from_sent(spec, key, chain).unwrap().0
    }

    #[test]
    fn a_bundle_fits_a_domain_by_names_must_staple_and_time() {
        let md =
            Md { name: "a.test".into(), domains: vec!["a.test".into(), "b.test".into()], ..Md::default() };
        let stapled = Md { must_staple: true, ..md.clone() };
        let names = &["a.test", "*.test"];
        let good = bundle(&Wish { names, ..Wish::default() });
        let with_staple = bundle(&Wish { names, extensions: &[MUST_STAPLE], ..Wish::default() });
        let end = NOW.plus(DAY * 89);
        for (bundle, md, now, expected) in [
            (&good, &md, NOW, Ok(())),
            (&with_staple, &stapled, NOW, Ok(())),
            (&good, &stapled, NOW, Err(Unfit::MustStaple)),
            (&with_staple, &md, NOW, Err(Unfit::MustStaple)),
            (&good, &md, end.minus(std::time::Duration::from_secs(1)), Ok(())),
            (&good, &md, end, Err(Unfit::Expired)),
            // Lasting reasons come before expiry.
            (&good, &stapled, end, Err(Unfit::MustStaple)),
            (&bundle(&Wish { names: &["a.test"], ..Wish::default() }), &stapled, end, Err(Unfit::Names)),
        ] {
            assert_eq!(
                bundle.fits(md, now),
                expected,
                "{:?} {} {now:?}",
                bundle.info.dns_names,
                md.must_staple
            );
        }
    }

    #[test]
    fn a_name_in_the_subject_alone_does_not_make_a_bundle_fit() {
        let ca = Ca::new("a.test");
        let chain = Chain::new(vec![ca.certificate().clone()]).unwrap();
        let (bundle, _) = Bundle::from_sent(KeySpec::Ec("P-256".into()), ca.key().clone(), chain).unwrap();
        let md = Md { name: "a.test".into(), domains: vec!["a.test".into()], ..Md::default() };
        assert_eq!(bundle.info.dns_names, ["a.test"]);
        assert_eq!(bundle.fits(&md, NOW), Err(Unfit::SubjectAlone));
        // The bundle in use is served nevertheless, and not renewed for this reason.
        assert_eq!(fit::check(&md, Some(&bundle.info), NOW), Ok(()));
    }
}
