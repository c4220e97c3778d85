// SPDX-License-Identifier: Apache-2.0
//! Prepares the store when httpd starts: makes folders, sets their rights, and makes or reads the store's
//! key. Refuses a store of a newer version and a damaged key, which it never replaces.

use super::disk::rights::own_uid;
use super::disk::{Access, Folder, Fuse, Links};
use super::json::json_bytes;
use super::layout::{Owner, STORE_FILE};
use super::place::{Flat, Group};
use super::{Error, owners};
use crate::crypto::{self, PassPhrase};
use data_encoding::{BASE64URL, BASE64URL_NOPAD};
use serde_json::{Value, json};
use std::fs::{DirBuilder, Permissions, set_permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

const STORE_FILE_MAX: u64 = 64 * 1024;
pub(super) const VERSION: f64 = 3.0;
const KEY_LENGTH: usize = 48;

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
        if owner.is_some() {
            owners::refuse_link(root, name)?;
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

/// Makes the folders, and takes them back where root starts httpd and another user owns them: withdrawn sets
/// stay withdrawn, requests are not root's for that.
pub(super) fn make_flat_folders(root: &Folder, owner: Option<Owner>) -> Result<(), Error> {
    let access = Access { mode: Flat::DIR_MODE, uid: owner.map(|_| own_uid()), gid: None };
    for flat in Flat::ALL {
        let name = flat.dir_name();
        if owner.is_some() {
            owners::refuse_link(root, name)?;
        }
        let folder = root.make_child(name, Access { uid: None, ..access })?;
        let taken = match flat {
            Flat::Withdrawn if owner.is_some() => owners::take(root, name, &folder, access, Flat::FILE_MODE),
            _ => folder.grant(access),
        };
        if let Err(error) = taken {
            // On some network file systems root owns nothing.
            owners::report(&folder, Err(error));
            folder.grant(Access { uid: None, ..access })?;
        }
    }
    Ok(())
}

/// The content of md_store.json.
pub(super) struct StoreFile {
    pub key: PassPhrase,
    /// The whole record, where its version is older than ours.
    pub older: Option<Value>,
}

/// Only the user that starts httpd may read it.
pub(super) const STORE_FILE_ACCESS: Access = Access { mode: 0o600, uid: None, gid: None };

/// The content of md_store.json, which is made where there is none.
pub(super) fn store_file(root: &Folder) -> Result<StoreFile, Error> {
    let path = root.path().join(STORE_FILE);
    let read = || Ok::<_, Error>(root.read(STORE_FILE, STORE_FILE_MAX)?.map(Zeroizing::new));
    if let Some(content) = read()? {
        return parse(&path, &content);
    }
    let mut key = Zeroizing::new(vec![0; KEY_LENGTH]);
    crypto::fill_with_random(&mut key).map_err(|source| Error::Crypto { path: path.clone(), source })?;
    let text = Zeroizing::new(BASE64URL_NOPAD.encode(&key));
    let mut record = json!({"store": {"version": VERSION}, "key": *text});
    let content = json_bytes(&record);
    drop(take_key(&mut record));
    if root.write_new(STORE_FILE, &content, STORE_FILE_ACCESS)? {
        return Ok(StoreFile { key: PassPhrase::new(Arc::new(key)), older: None });
    }
    // Another httpd on the same store was faster.
    parse(&path, &read()?.unwrap_or_default())
}

/// The content of md_store.json, which is not made where there is none.
pub(super) fn present_store_file(root: &Folder) -> Result<StoreFile, Error> {
    let path = root.path().join(STORE_FILE);
    let content = root.read(STORE_FILE, STORE_FILE_MAX)?.map(Zeroizing::new);
    let missing = || Error::io("opening", &path, std::io::Error::from(ErrorKind::NotFound));
    parse(&path, &content.ok_or_else(missing)?)
}

/// The text of the key, out of a record that is not needed any more.
fn take_key(record: &mut Value) -> Option<Zeroizing<String>> {
    match record.get_mut("key")?.take() {
        Value::String(text) => Some(Zeroizing::new(text)),
        _ => None,
    }
}

fn parse(path: &Path, content: &[u8]) -> Result<StoreFile, Error> {
    let bad = |reason: String| Error::BadKey { path: path.to_path_buf(), reason };
    let mut record: Value =
        serde_json::from_slice(content).map_err(|e| bad(format!("it is not JSON ({e})")))?;
    let version = record.pointer("/store/version").and_then(Value::as_f64);
    let version = version.ok_or_else(|| bad("it has no version".into()))?;
    if version > VERSION {
        return Err(Error::NewerVersion { path: path.to_path_buf(), version });
    }
    let older = (version < VERSION).then(|| record.clone());
    let text = take_key(&mut record).ok_or_else(|| bad("it has no key".into()))?;
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).or_else(|_| BASE64URL.decode(text.as_bytes()));
    let bytes = bytes.map(Zeroizing::new).map_err(|_| bad("its key is not base64url".into()))?;
    match bytes.len() {
        KEY_LENGTH => Ok(StoreFile { key: PassPhrase::new(Arc::new(bytes)), older }),
        length => Err(bad(format!("its key has {length} bytes instead of {KEY_LENGTH}"))),
    }
}

/// The root folder, with links below it followed: only the user that starts httpd can make one there.
pub(super) fn open_root(dir: &Path, fuse: &Fuse) -> Result<Folder, Error> {
    Folder::open(dir, Links::Follow, fuse)
}
