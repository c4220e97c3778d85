// SPDX-License-Identifier: Apache-2.0
//! Converts a store of mod_md 1.0 to the present version. There a folder held `pkey.pem`, `cert.pem` and
//! `chain.pem`; now it holds `privkey.pem` and `pubcert.pem`, made from the latter two, which stay. The
//! version in md_store.json is raised last, so the next start completes an interrupted conversion.

use super::disk::Folder;
use super::json::json_bytes;
use super::layout::{FILE_MAX, Layout, STORE_FILE};
use super::{Error, Group, setup};
use crate::crypto::Chain;
use serde_json::{Value, json};

const OLD_KEY: &str = "pkey.pem";
const KEY: &str = "privkey.pem";
const OLD_CERT: &str = "cert.pem";
const OLD_CHAIN: &str = "chain.pem";
const CHAIN: &str = "pubcert.pem";

/// `record` is the content of md_store.json. A folder that cannot be converted is reported, and keeps the
/// version where it is if another try may help; the start continues with the others.
pub(super) fn run(layout: &Layout, root: &Folder, mut record: Value) -> Result<(), Error> {
    let mut is_complete = true;
    for group in [Group::Domains, Group::Archive, Group::Staging] {
        for name in layout.names(group)? {
            if let Err(error) = convert(layout, group, &name) {
                crate::log!(Warn, "md[{name}]: cannot convert its files of mod_md 1.0: {}", error.advised());
                is_complete &= !matches!(error, Error::Io { .. });
            }
        }
    }
    if is_complete && let Some(version) = record.pointer_mut("/store/version") {
        *version = json!(setup::VERSION);
        root.write(STORE_FILE, &json_bytes(&record), setup::STORE_FILE_ACCESS)?;
        crate::log!(Notice, "the store {} now has version {:.1}", layout.dir.display(), setup::VERSION);
    }
    Ok(())
}

/// Each file that is there already is left as it is.
fn convert(layout: &Layout, group: Group, name: &str) -> Result<(), Error> {
    let Some(folder) = layout.folder(group, name)? else { return Ok(()) };
    let access = layout.file_access(group, false);
    let has = |file| folder.modified(file).map(|time| time.is_some());
    if has(OLD_CERT)? && !has(CHAIN)? {
        let mut both = Vec::new();
        for file in [OLD_CERT, OLD_CHAIN] {
            if let Some(pem) = folder.read(file, FILE_MAX)? {
                let chain = Chain::from_pem(&pem).map_err(|e| layout.garbage(group, name, file, e))?;
                both.extend(chain.to_pem());
            }
        }
        folder.write(CHAIN, &both, access)?;
    }
    if has(OLD_KEY)? && !has(KEY)? {
        folder.grant_file(OLD_KEY, access)?;
        folder.rename(OLD_KEY, &folder, KEY)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Fuse, StartStore};
    use super::*;
    use crate::crypto::fixture::Ca;
    use crate::crypto::{PassPhrase, PrivateKey, random};
    use crate::model::KeySpec;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use tempfile::TempDir;

    struct Old {
        _dir: TempDir,
        root: PathBuf,
        key: PrivateKey,
        chain: Chain,
        record: Value,
    }

    const FOLDERS: [&str; 3] = ["domains/a.test", "archive/a.test.1", "staging/a.test"];

    /// A store as mod_md 1.0 left it.
    fn old() -> Old {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("md");
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        let chain = Ca::new("CA").issue(&["a.test"], &key);
        let pem = String::from_utf8(chain.to_pem()).unwrap();
        let (cert, rest) = pem.split_at(pem.find("-----END").unwrap());
        let (end, rest) = rest.split_at(rest.find('\n').unwrap() + 1);
        let pass_phrase = PassPhrase::from(&random::<48>().unwrap()[..]);
        for name in FOLDERS {
            let folder = root.join(name);
            fs::create_dir_all(&folder).unwrap();
            let is_sealed = name.starts_with("staging");
            let pem =
                if is_sealed { key.seal(&pass_phrase).unwrap() } else { key.to_pem().unwrap().to_vec() };
            fs::write(folder.join("pkey.pem"), pem).unwrap();
            fs::write(folder.join("cert.pem"), format!("{cert}{end}")).unwrap();
            fs::write(folder.join("chain.pem"), rest).unwrap();
        }
        let text = data_encoding::BASE64URL.encode(pass_phrase.bytes());
        let record = json!({"store": {"version": 1.0}, "key": text, "of-a-stranger": [1]});
        fs::write(root.join("md_store.json"), record.to_string()).unwrap();
        Old { _dir: dir, root, key, chain, record }
    }

    fn version(root: &Path) -> Value {
        let text = fs::read(root.join("md_store.json")).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()["store"]["version"].take()
    }

    #[track_caller]
    fn assert_converted(old: &Old) {
        let store = StartStore::open(&old.root, None).unwrap();
        let groups = [(Group::Domains, "a.test"), (Group::Archive, "a.test.1"), (Group::Staging, "a.test")];
        for (group, name) in groups {
            let chain = store.read_chain(group, name, CHAIN).unwrap().unwrap();
            assert_eq!(chain.to_pem(), old.chain.to_pem(), "{group:?}");
            let key = store.read_key(group, name, KEY).unwrap().unwrap();
            assert!(key.pkey().public_eq(old.key.pkey()), "{group:?}");
            let files = ["cert.pem", "chain.pem", "privkey.pem", "pubcert.pem"];
            assert_eq!(store.files(group, name).unwrap(), files, "{group:?}");
        }
        let mode = fs::metadata(old.root.join("domains/a.test/privkey.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut expected = old.record.clone();
        expected["store"]["version"] = json!(3.0);
        let text = fs::read(old.root.join("md_store.json")).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), expected);
    }

    #[test]
    fn a_store_of_version_1_is_converted_once_and_keeps_its_key() {
        let old = old();
        assert_converted(&old);
        fs::remove_file(old.root.join("domains/a.test/pubcert.pem")).unwrap();
        StartStore::open(&old.root, None).unwrap();
        assert!(!old.root.join("domains/a.test/pubcert.pem").exists(), "not looked at again");
    }

    #[test]
    fn a_conversion_that_ends_anywhere_is_ended_by_the_next_start() {
        for steps in 0.. {
            let old = old();
            let done = StartStore::open_with(&old.root, None, Fuse::after(steps)).is_ok()
                && version(&old.root) == json!(3.0);
            assert_converted(&old);
            if done {
                assert!(steps > 15, "{steps}");
                return;
            }
        }
    }

    #[test]
    fn what_has_the_names_of_now_already_is_not_replaced() {
        let old = old();
        fs::write(old.root.join("domains/a.test/privkey.pem"), "newer").unwrap();
        fs::write(old.root.join("domains/a.test/pubcert.pem"), "newer").unwrap();
        StartStore::open(&old.root, None).unwrap();
        for file in ["privkey.pem", "pubcert.pem"] {
            assert_eq!(fs::read_to_string(old.root.join("domains/a.test").join(file)).unwrap(), "newer");
        }
        assert!(old.root.join("domains/a.test/pkey.pem").exists());
    }

    #[test]
    fn garbage_in_one_folder_stops_neither_the_others_nor_the_start() {
        let old = old();
        fs::write(old.root.join("archive/a.test.1/cert.pem"), "garbage").unwrap();
        let store = StartStore::open(&old.root, None).unwrap();
        assert!(store.read_chain(Group::Domains, "a.test", CHAIN).unwrap().is_some());
        assert!(store.read_chain(Group::Archive, "a.test.1", CHAIN).unwrap().is_none());
        assert_eq!(version(&old.root), json!(3.0));
    }
}
