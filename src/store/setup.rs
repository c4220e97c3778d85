//! Opening the store when httpd starts: folders, their rights, and the store's own key, which is made
//! once and never again.

use super::disk::{Access, Folder, Fuse, Links};
use super::{Error, Group, owners};
use data_encoding::{BASE64URL, BASE64URL_NOPAD};
use serde_json::{Value, json};
use std::fs::{DirBuilder, Permissions, set_permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

pub(super) const STORE_FILE: &str = "md_store.json";
const STORE_FILE_MAX: u64 = 64 * 1024;
pub(super) const VERSION: f64 = 3.0;
const KEY_LENGTH: usize = 48;

/// The pass phrase of every private key in `accounts` and `staging`. Has no `Debug`, so that it cannot
/// slip into a log.
#[derive(Clone)]
pub struct StoreKey([u8; KEY_LENGTH]);

impl StoreKey {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// httpd's `User` and `Group`: the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// Makes the store's folder itself, for everyone to pass through.
pub(super) fn make_root(dir: &Path) -> Result<(), Error> {
    let failed = |e| Error::io("making the store folder", dir, e);
    if let Some(parent) = dir.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
    }
    match DirBuilder::new().mode(0o755).create(dir) {
        Ok(()) => set_permissions(dir, Permissions::from_mode(0o755)).map_err(failed),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(failed(e)),
    }
}

/// Makes the folders of all groups and gives them their rights.
pub(super) fn make_groups(root: &Folder, owner: Option<Owner>) -> Result<(), Error> {
    for group in Group::ALL {
        let name = group.dir_name();
        if owner.is_some() && root.is_strangers_link(name) {
            let reason = "it is a symbolic link that is not root's: put a folder in its place, or give the link to root \
                          (chown -h root)";
            return Err(Error::garbage(&root.path().join(name), reason));
        }
        let workers = owner.filter(|_| group.is_of_workers());
        let access = Access { mode: group.dir_mode(), uid: workers.map(|o| o.uid), gid: None };
        let folder = root.make_child(name, access)?;
        match owner.filter(|_| !group.is_of_workers()) {
            Some(owner) => owners::take_back(group, &folder, owner)?,
            None => folder.grant(access)?,
        }
    }
    Ok(())
}

/// What md_store.json says.
pub(super) struct StoreFile {
    pub key: StoreKey,
    /// The whole record, where its version is older than ours.
    pub older: Option<Value>,
}

/// Only who starts httpd may read it.
pub(super) const STORE_FILE_ACCESS: Access = Access { mode: 0o600, uid: None, gid: None };

/// The content of md_store.json, which is made where there is none.
pub(super) fn store_file(root: &Folder) -> Result<StoreFile, Error> {
    if let Some(content) = root.read(STORE_FILE, STORE_FILE_MAX)? {
        return parse(&root.path().join(STORE_FILE), &content);
    }
    let key = crate::crypto::random()
        .map_err(|source| Error::Crypto { path: root.path().join(STORE_FILE), source })?;
    let record = json!({"store": {"version": VERSION}, "key": BASE64URL_NOPAD.encode(&key)});
    if root.write_new(STORE_FILE, &super::json_bytes(&record), STORE_FILE_ACCESS)? {
        return Ok(StoreFile { key: StoreKey(key), older: None });
    }
    // Another httpd on the same store was faster.
    let content = root.read(STORE_FILE, STORE_FILE_MAX)?.unwrap_or_default();
    parse(&root.path().join(STORE_FILE), &content)
}

fn parse(path: &Path, content: &[u8]) -> Result<StoreFile, Error> {
    let bad = |reason: String| Error::BadKey { path: path.to_path_buf(), reason };
    let record: Value = serde_json::from_slice(content).map_err(|e| bad(format!("it is no JSON ({e})")))?;
    let version = record.pointer("/store/version").and_then(Value::as_f64);
    let version = version.ok_or_else(|| bad("there is no version in it".into()))?;
    if version > VERSION {
        return Err(Error::NewerVersion { path: path.to_path_buf(), version });
    }
    let text =
        record.get("key").and_then(Value::as_str).ok_or_else(|| bad("there is no key in it".into()))?;
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).or_else(|_| BASE64URL.decode(text.as_bytes()));
    let bytes = bytes.map_err(|_| bad("its key is not base64url".into()))?;
    let length = bytes.len();
    let key = bytes.try_into().map(StoreKey);
    let key = key.map_err(|_| bad(format!("its key has {length} bytes instead of {KEY_LENGTH}")))?;
    Ok(StoreFile { key, older: (version < VERSION).then_some(record) })
}

/// The root folder, with links below it followed: only who starts httpd can make one there.
pub(super) fn open_root(dir: &Path, fuse: &Fuse) -> Result<Folder, Error> {
    Folder::open(dir, Links::Follow, fuse)
}
