//! A private key and the chain that certifies it, as they lie together in a folder of the store.

use crate::crypto::{CertInfo, Chain, PrivateKey};
use crate::model::{KeySpec, Md};
use crate::store::{Error, Group, Rights, StartStore, Store};
use crate::time::Timestamp;

pub use super::staging::file::{JOB as JOB_FILE, MD as MD_FILE};

pub struct KeyedSet {
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
    #[error("certificate({0}) does not cover all domains")]
    Uncovered(String),
    #[error("certificate({0}) has expired at {1}")]
    Expired(String, String),
    #[error("the chain of certificate({0}) is not in order")]
    Disorder(String),
    #[error("md.json is missing or unusable")]
    NoMd,
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
) -> Result<KeyedSet, Flaw> {
    let chain = store.read_chain(group, name, &spec.file_name("pubcert"))?;
    let key = store.read_key(group, name, &spec.file_name("privkey"))?;
    let (Some(chain), Some(key)) = (chain, key) else { return Err(Flaw::Missing(spec.label().into())) };
    KeyedSet::new(spec.clone(), key, chain)
}

impl KeyedSet {
    /// Only of a key and a chain that belong together.
    pub fn new(spec: KeySpec, key: PrivateKey, chain: Chain) -> Result<Self, Flaw> {
        if !chain.leaf().matches_key(&key) {
            return Err(Flaw::Mismatch(spec.label().to_string()));
        }
        let info = CertInfo::from_chain(&chain);
        Ok(KeyedSet { spec, key, chain, info })
    }

    /// Whether it can serve all names of `md` at `now`.
    pub fn check(&self, md: &Md, now: Timestamp) -> Result<(), Flaw> {
        let label = || self.spec.label().to_string();
        if !md.is_covered_by(&self.info.dns_names) {
            return Err(Flaw::Uncovered(label()));
        }
        if self.info.not_after <= now {
            return Err(Flaw::Expired(label(), self.info.not_after.to_http_date()));
        }
        if !self.chain.is_in_order() {
            return Err(Flaw::Disorder(label()));
        }
        Ok(())
    }
}

/// What [`load`] says of a set in `domains`, where the key itself is of no interest.
pub fn look(store: &StartStore, name: &str, spec: &KeySpec) -> Result<CertInfo, Flaw> {
    let chain = store.read_chain(Group::Domains, name, &spec.file_name("pubcert"))?;
    let key = store.read(Group::Domains, name, &spec.file_name("privkey"))?;
    match chain.zip(key) {
        Some((chain, key)) if chain.leaf().matches_key_file(&key) => Ok(CertInfo::from_chain(&chain)),
        Some(_) => load(store, Group::Domains, name, spec).map(|set| set.info),
        None => Err(Flaw::Missing(spec.label().to_string())),
    }
}

/// Writes key and chain; the key first, so that a chain never stands without its key.
pub fn write(store: &StartStore, group: Group, name: &str, set: &KeyedSet) -> Result<(), Error> {
    store.write_key(group, name, &set.spec.file_name("privkey"), &set.key)?;
    store.write_chain(group, name, &set.spec.file_name("pubcert"), &set.chain)
}
