// SPDX-License-Identifier: Apache-2.0
//! The stored data of a managed domain while httpd starts: its certificates, or the admin's own files, and
//! md.json. The settings are in [`PlannedMd::md`](crate::config::PlannedMd), which callers pass in. Reads the
//! store, and writes md.json; [`super::reconcile`], which imports this file, decides which folder belongs to
//! which domain.

use crate::crypto::{CertInfo, Chain, PrivateKey, sha256};
use crate::managed::bundle;
use crate::managed::bundle::MD_FILE;
use crate::managed::certificates::{KeyedCert, assess};
use crate::managed::serve::{Certs, OwnFile};
use crate::model::{KeySpec, Md};
use crate::store::{Error, Group, StartStore};
use crate::time::Timestamp;
use serde_json::Value;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The stored data of one managed domain.
pub struct StoredMd {
    /// One per key, or per static file.
    pub certs: Certs,
    /// The problems found, in sentences for the log.
    pub problems: Vec<String>,
    /// Of md.json as it stands in the folder of the MD's name.
    pub(super) json: Option<Print>,
    /// md.json goes there. Not where the folder it had before is still to be renamed.
    pub(super) is_home: bool,
    /// The folder in `domains` that has its certificates. Has the MD's name, unless the folder it had before
    /// could not be renamed, or lends them until its own have come.
    pub(super) folder: String,
}

/// What equal values have in common, in whatever order their fields are. The values of thousands of domains take
/// megabytes, and leave them in pieces to all children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print([u8; 32]);

impl Print {
    pub(super) fn of(json: &Value) -> Self {
        let mut sorted = json.clone();
        sorted.sort_all_objects();
        Print(sha256(sorted.to_string().as_bytes()))
    }
}

impl StoredMd {
    /// Reads the data of `md` in `folder`, beside md.json. `problems`: those found before.
    pub(super) fn read(store: &StartStore, md: &Md, folder: String, mut problems: Vec<String>) -> Self {
        let certs = certificates(store, &folder, md, &mut problems);
        StoredMd { certs, problems, json: None, is_home: folder == md.name, folder }
    }

    /// Reads the data of `md` in the folder of its name, with its md.json.
    pub fn at_home(store: &StartStore, md: &Md) -> Self {
        // One that cannot be read is written again.
        let json = store.read_json(Group::Domains, &md.name, MD_FILE).ok().flatten();
        let json = json.as_ref().map(Print::of);
        StoredMd { json, ..StoredMd::read(store, md, md.name.clone(), Vec::new()) }
    }

    /// Sets the state of `md` by these certificates.
    pub(super) fn assess(&self, md: &mut Md) {
        (md.state, md.state_descr) = assess(md, &self.certs);
    }

    /// Sets the state and writes md.json, where it differs from what is stored. Call it when names and
    /// `acme_tls_1` of the MD are final. Returns whether it wrote.
    pub fn save(&mut self, store: &StartStore, md: &mut Md) -> Result<bool, Error> {
        self.assess(md);
        let json = md.to_json();
        let print = Print::of(&json);
        if self.json == Some(print) || !self.is_home {
            return Ok(false);
        }
        // The first one has nothing in it that is not configured. Waiting for the disk would slow down a
        // start with thousands of new domains.
        let unsynced = self.json.is_none().then(|| store.unsynced());
        let store = unsynced.as_ref().unwrap_or(store);
        store.write_json(Group::Domains, &md.name, MD_FILE, &json)?;
        self.json = Some(print);
        Ok(true)
    }

    /// Chain and key file for `spec`, for mod_ssl.
    pub fn certificate_files(&self, store: &StartStore, spec: &KeySpec) -> Result<(PathBuf, PathBuf), Error> {
        let path = |stem| store.path(Group::Domains, &self.folder, &spec.file_name(stem));
        Ok((path("pubcert")?, path("privkey")?))
    }
}

fn certificates(store: &StartStore, folder: &str, md: &Md, problems: &mut Vec<String>) -> Certs {
    if md.has_static_files() {
        return static_certificates(store, md, problems).into();
    }
    let (certs, flaws) = bundle::look(store, folder, md);
    problems.extend(flaws.iter().map(ToString::to_string));
    certs
}

fn static_certificates(store: &StartStore, md: &Md, problems: &mut Vec<String>) -> Vec<KeyedCert> {
    let mut certs = Vec::new();
    for (i, file) in md.cert_files.iter().enumerate() {
        let key_file = md.pkey_files.get(i).unwrap_or(file);
        let found = static_certificate(store, Path::new(file), Path::new(key_file));
        certs.push(match found {
            Ok((spec, info)) => (spec, Some(info)),
            Err(problem) => {
                problems.push(problem);
                // It would be that of the key configured for its place.
                (md.key_specs.get(i).cloned().unwrap_or_default(), None)
            }
        });
    }
    certs
}

/// Assesses a certificate file of a host's own. One that cannot be read may not be a file, but a name in a
/// token, which only mod_ssl can load.
pub fn own_file(store: &StartStore, path: &Path, now: Timestamp) -> OwnFile {
    let Ok(Some(content)) = store.read_foreign(path) else {
        return OwnFile { is_in_time: true, is_rsa: true };
    };
    let Ok(chain) = Chain::from_pem(&content) else { return OwnFile { is_in_time: false, is_rsa: false } };
    let leaf = chain.leaf();
    OwnFile {
        is_in_time: leaf.not_before() <= now && now < leaf.not_after(),
        is_rsa: matches!(leaf.key_spec(), Some(KeySpec::Rsa(_))),
    }
}

/// A certificate that the admin provides, and the kind of its key.
fn static_certificate(store: &StartStore, cert: &Path, key: &Path) -> Result<(KeySpec, CertInfo), String> {
    let read = |path: &Path| {
        let content = store.read_foreign(path).map_err(|e| e.to_string())?;
        content.ok_or_else(|| format!("{} does not exist", path.display()))
    };
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |e: crate::crypto::Error| format!("{path}: {e}")
    };
    let chain = Chain::from_pem(&read(cert)?).map_err(failed(cert))?;
    let private = Zeroizing::new(read(key)?);
    let matches = |private: &[u8]| Ok(chain.leaf().matches_key(&PrivateKey::from_pem(private)?));
    // Only mod_ssl can check an encrypted key: it has the pass phrase or asks for it.
    let is_known = PrivateKey::is_encrypted(&private) || chain.leaf().matches_key_file(&private);
    if !is_known && !matches(&private).map_err(failed(key))? {
        return Err(format!("{} does not belong to the private key in {}", cert.display(), key.display()));
    }
    let spec = chain.leaf().key_spec().unwrap_or_default().commonly_named();
    Ok((spec, CertInfo::from_chain(&chain)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_values_have_the_same_print_in_any_order_of_fields() {
        let print = |json: Value| Print::of(&json);
        let one =
            print(json!({"name": "a.test", "ca": {"url": "u", "proto": "ACME"}, "domains": ["a", "b"]}));
        assert_eq!(
            one,
            print(json!({"domains": ["a", "b"], "ca": {"proto": "ACME", "url": "u"}, "name": "a.test"}))
        );
        assert_ne!(
            one,
            print(json!({"name": "a.test", "ca": {"url": "u", "proto": "ACME"}, "domains": ["b", "a"]}))
        );
    }
}
