// SPDX-License-Identifier: Apache-2.0
//! The store: a folder that holds accounts, keys, certificates and the state of renewals, in the form that
//! mod_md 2.x reads and writes.
//!
//! Two handles, of different types: [`StartStore`] opens everything and exists only while httpd starts,
//! usually as root; [`WorkStore`] opens the groups that workers may see. A worker that writes to `domains/`
//! does not compile. Every read is bounded; files are replaced whole or not at all; names are checked in
//! `place.rs`; where workers can write, no symbolic link is followed. This room does not know the meaning of
//! a file for a renewal. Of its own layer it imports `exec`, which knows how a command line is split.

mod admin;
pub mod auth;
mod disk;
mod error;
mod flat;
mod fleet;
mod json;
mod keys;
mod layout;
mod lock;
mod migrate;
mod opening;
pub mod outside;
mod owners;
mod place;
mod present;
pub mod reach;
#[cfg(feature = "cli")]
mod scratch;
mod sealed;
mod setup;
mod space;
#[cfg(test)]
mod tests;
mod watch;
#[cfg(feature = "cli")]
pub mod whole;

pub use admin::{Private, read_admin_file, read_private, read_secret};
pub use disk::{Fuse, Stamp};
pub use error::Error;
pub use fleet::FleetLock;
pub use layout::Owner;
pub use lock::{ATTEMPT_LOCK_FILE, AccountLock, AttemptLock, Holder, RenewingLock, StoreLock};
pub use place::{Flat, Group, WorkGroup};
#[cfg(feature = "cli")]
pub use scratch::Scratch;
pub use sealed::Opened;
pub use space::{Space, space};
pub use watch::{Looked, Watched};

use crate::crypto::pass_phrase::KeepSecret;
use crate::crypto::{self, Chain, CpuLimit, PassPhrase, PrivateKey};
use crate::time::Timestamp;
use disk::Access;
use json::{holds_hmac, json_bytes};
use layout::{FILE_MAX, JSON_MAX, Layout};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Files of an account in `accounts`: its key, and the one that it is being given (RFC 8555 §7.3.5).
pub const ACCOUNT_KEY: &str = "account.pem";
pub const NEXT_ACCOUNT_KEY: &str = "account-next.pem";

/// Files in the store's own folder in which a start notes its trial for the next one, and other programs what
/// they have done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The sets it has put into use.
    Trial,
    /// The one that mod_ssl is loading.
    Loading,
    /// The sets that have ended starts; this file stays.
    Ended,
    /// When domains were rehearsed last; this file stays.
    Rehearsals,
}

/// Bytes of the note of a trial: a hundred thousand domains with the longest names take less.
const TRIAL_MAX: u64 = 128 * 1024 * 1024;
/// Which schemes reach this server.
const REACH_FILE: &str = "httpd.json";

impl Note {
    fn file(self) -> &'static str {
        match self {
            Note::Trial => "trial.json",
            Note::Loading => "trial-loading.json",
            Note::Ended => "trial-ended.json",
            Note::Rehearsals => "rehearsals.json",
        }
    }

    /// Only the user who starts httpd writes notes. That of a trial has an entry for each domain, and a start that
    /// cannot read it cannot come up.
    fn bytes_max(self) -> u64 {
        match self {
            Note::Trial => TRIAL_MAX,
            Note::Loading | Note::Ended | Note::Rehearsals => JSON_MAX,
        }
    }
}

/// Which groups a handle opens.
pub trait Rights {
    type Group: Copy + Into<Group>;
}

/// The process that starts httpd.
pub enum Start {}
/// Processes that serve requests and renew.
pub enum Work {}

impl Rights for Start {
    type Group = Group;
}

impl Rights for Work {
    type Group = WorkGroup;
}

pub struct Store<R: Rights> {
    layout: Arc<Layout>,
    rights: PhantomData<fn() -> R>,
}

/// Everything, while httpd starts.
pub type StartStore = Store<Start>;
/// Challenges, staging and stapling, and accounts to read.
pub type WorkStore = Store<Work>;

impl Clone for WorkStore {
    fn clone(&self) -> Self {
        Store { layout: Arc::clone(&self.layout), rights: PhantomData }
    }
}

impl StartStore {
    /// Opens the store in `dir`, an absolute path, makes missing folders and files, and converts an older
    /// version. `owner` is httpd's `User` and `Group`; `None` if root does not start httpd.
    pub fn open(dir: &Path, owner: Option<Owner>) -> Result<Self, Error> {
        StartStore::open_with(dir, owner, Fuse::default())
    }

    /// The same for tests that let the process die.
    pub fn open_with(dir: &Path, owner: Option<Owner>, fuse: Fuse) -> Result<Self, Error> {
        setup::make_root(dir)?;
        let root = setup::open_root(dir, &fuse)?;
        owners::take_root(&root, owner)?;
        setup::make_groups(&root, owner)?;
        sealed::make_folder(&root, owner)?;
        setup::make_flat_folders(&root, owner)?;
        let setup::StoreFile { key, older } = setup::store_file(&root)?;
        let mut layout =
            Layout { dir: dir.to_path_buf(), key, owner, fuse, is_synced: true, limit: None, groups: None };
        layout.groups =
            Some(Group::ALL.into_iter().map(|group| layout.group(group)).collect::<Result<_, _>>()?);
        if let Some(record) = older {
            migrate::run(&layout, &root, record)?;
        }
        Ok(Store { layout: Arc::new(layout), rights: PhantomData })
    }

    /// Opens a store that is there, and neither makes nor changes anything. Files that root makes in folders of
    /// workers are given to the owner of these folders.
    pub fn open_existing(dir: &Path) -> Result<Self, Error> {
        StartStore::open_existing_with(dir, Fuse::default())
    }

    /// The same for tests that let the process die.
    pub fn open_existing_with(dir: &Path, fuse: Fuse) -> Result<Self, Error> {
        let root = setup::open_root(dir, &fuse)?;
        let key = setup::present_store_file(&root)?.key;
        let owner = owners::of_workers(&root)?;
        let layout =
            Layout { dir: dir.to_path_buf(), key, owner, fuse, is_synced: true, limit: None, groups: None };
        Ok(Store { layout: Arc::new(layout), rights: PhantomData })
    }

    /// Has the store's key, and keys derived from it, elsewhere in memory, for this handle and all that are made from
    /// it.
    #[must_use]
    pub fn with_key_in(self, keep: KeepSecret) -> Self {
        let key = self.layout.key.kept(keep);
        let layout = Layout { key, ..self.layout.as_ref().clone() };
        Store { layout: Arc::new(layout), rights: PhantomData }
    }

    /// The handle to give to workers.
    pub fn worker(&self) -> WorkStore {
        let layout = Layout { groups: None, ..self.layout.as_ref().clone() };
        Store { layout: Arc::new(layout), rights: PhantomData }
    }

    /// Gives folders of these names that workers write, with their files, to httpd's `User` if another user
    /// owns them. `known` is called only if there is one.
    pub fn hand_over(&self, known: impl Fn() -> HashSet<String>) {
        owners::hand_over(&self.layout, known);
    }

    /// Whether the folder of `name` exists.
    pub fn exists(&self, group: Group, name: &str) -> Result<bool, Error> {
        Ok(self.layout.folder(group, name)?.is_some())
    }

    /// Moves the folder of a name to another name or group, where it must not exist.
    pub fn rename(&self, group: Group, name: &str, to: Group, new_name: &str) -> Result<(), Error> {
        let source = self.layout.group(group)?;
        let target = self.layout.group(to)?;
        source.rename(&group.folder_name(name)?, &target, &to.folder_name(new_name)?)
    }

    /// Has a folder on the disk that an [unsynced](Store::unsynced) store has written: its files, and that they are in
    /// it.
    pub fn flush(&self, group: Group, name: &str) -> Result<(), Error> {
        match self.layout.folder(group, name)? {
            Some(folder) => folder.flush(&self.files(group, name)?),
            None => Ok(()),
        }
    }

    /// Has it on the disk which folders are in a group.
    pub fn flush_names(&self, group: Group) -> Result<(), Error> {
        self.layout.group(group)?.flush(&[])
    }

    /// Makes a file with the hmac of an EAB, written by another program, readable to workers only.
    pub fn hide(&self, group: Group, name: &str, file: &str) -> Result<(), Error> {
        match self.layout.folder(group, name)? {
            Some(folder) => folder.grant_file(place::file_name(file)?, self.layout.file_access(group, true)),
            None => Ok(()),
        }
    }

    /// Notes which schemes reach this server (httpd.json), if that has changed.
    pub fn write_reach(&self, http: bool, https: bool) -> Result<bool, Error> {
        let content = json_bytes(&json!({"proto": {"http": http, "https": https}}));
        let root = setup::open_root(&self.layout.dir, &self.layout.fuse)?;
        if root.read(REACH_FILE, JSON_MAX).is_ok_and(|old| old.as_ref() == Some(&content)) {
            return Ok(false);
        }
        root.write(REACH_FILE, &content, Access { mode: 0o600, ..Access::default() })?;
        Ok(true)
    }

    /// Notes the sets that this start tries, so that the next one knows if they ended the start. The sets outlive
    /// a power failure, so the note of them does, too. That of the one that is being loaded need not, since such
    /// an end says nothing about it.
    pub fn write_note(&self, note: Note, content: &Value) -> Result<(), Error> {
        let is_synced = self.layout.is_synced && matches!(note, Note::Trial | Note::Ended);
        let root = setup::open_root(&self.layout.dir, &self.layout.fuse)?.synced(is_synced);
        // Thousands of entries take half the room without the space between.
        let content = match note {
            Note::Trial => Zeroizing::new(content.to_string().into_bytes()),
            Note::Loading | Note::Ended | Note::Rehearsals => json_bytes(content),
        };
        root.write(note.file(), &content, Access { mode: 0o600, ..Access::default() })
    }

    /// The note of an earlier start.
    pub fn read_note(&self, note: Note) -> Result<Option<Value>, Error> {
        let root = setup::open_root(&self.layout.dir, &self.layout.fuse)?;
        let content = root.read(note.file(), note.bytes_max())?;
        // A note that cannot be read counts as empty.
        Ok(content.map(|content| serde_json::from_slice(&content).unwrap_or_default()))
    }

    pub fn remove_note(&self, note: Note) -> Result<(), Error> {
        setup::open_root(&self.layout.dir, &self.layout.fuse)?.synced(false).remove(note.file())
    }
}

impl WorkStore {
    /// The same store, which seals keys within this limit.
    #[must_use]
    pub fn sealing_within(&self, limit: CpuLimit) -> Self {
        let layout = Layout { limit: Some(limit), ..self.layout.as_ref().clone() };
        Store { layout: Arc::new(layout), rights: PhantomData }
    }

    /// All folders in the group, strangers' too, each with a stamp that changes with its content.
    pub fn stamps(&self, group: WorkGroup) -> Result<Vec<(String, Stamp)>, Error> {
        self.layout.group(group.into())?.stamps()
    }

    /// The folders of all accounts.
    pub fn account_names(&self) -> Result<Vec<String>, Error> {
        self.layout.names(Group::Accounts)
    }

    /// The content of a sealed file in `dns/`; `None` where there is none.
    pub fn read_sealed(&self, file: &str) -> Result<Option<Opened>, Error> {
        self.layout.read_sealed(file)
    }

    /// Replaces the content of a sealed file by what `change` makes of it; where that is `None`, it stays.
    /// Nobody else changes one there meanwhile.
    pub fn change_sealed<E: From<Error>>(
        &self,
        file: &str,
        change: impl FnOnce(Option<Opened>) -> Result<Option<Opened>, E>,
    ) -> Result<(), E> {
        self.layout.change_sealed(file, change)
    }

    /// Where a sealed file is, for messages.
    pub fn sealed_path(&self, file: &str) -> PathBuf {
        self.layout.sealed_path(file)
    }

    pub fn read_account_json(&self, name: &str) -> Result<Option<Value>, Error> {
        self.layout.read_json(Group::Accounts, name, "account.json")
    }

    pub fn read_account_key(&self, name: &str) -> Result<Option<PrivateKey>, Error> {
        self.layout.read_key(Group::Accounts, name, ACCOUNT_KEY)
    }

    /// The key that an account is being given, or was when the process that gave it died.
    pub fn read_next_account_key(&self, name: &str) -> Result<Option<PrivateKey>, Error> {
        self.layout.read_key(Group::Accounts, name, NEXT_ACCOUNT_KEY)
    }

    /// The files of an account's key and its next one, sealed as they are: others where the key is another
    /// one.
    pub fn sealed_account_keys(&self, name: &str) -> Result<[Option<Vec<u8>>; 2], Error> {
        let read = |file| self.layout.read(Group::Accounts, name, file, FILE_MAX);
        Ok([read(ACCOUNT_KEY)?, read(NEXT_ACCOUNT_KEY)?])
    }
}

/// `name` is that of an MD, a challenge's host or an account; `file` that of a file in its folder. A missing
/// file reads as `None`, an unusable one is [`Error::Garbage`].
impl WorkStore {
    /// The store of other servers, to look for challenges in it. Nothing is made, nothing is read before a
    /// request, and sealed keys stay closed.
    pub fn of_others(dir: &Path) -> Self {
        let (key, fuse) = (PassPhrase::none(), Fuse::default());
        let layout = Layout {
            dir: dir.to_path_buf(),
            key,
            owner: None,
            fuse,
            is_synced: true,
            limit: None,
            groups: None,
        };
        Store { layout: Arc::new(layout), rights: PhantomData }
    }
}

impl<R: Rights> Store<R> {
    /// The same store for files that can be made again: nothing waits for the disk, so a power failure may
    /// leave such files empty or remove them.
    #[must_use]
    pub fn unsynced(&self) -> Self {
        let layout = Layout { is_synced: false, ..self.layout.as_ref().clone() };
        Store { layout: Arc::new(layout), rights: PhantomData }
    }

    /// The path of a file, for code that opens it itself (mod_ssl, OpenSSL).
    pub fn path(&self, group: R::Group, name: &str, file: &str) -> Result<PathBuf, Error> {
        let group = group.into();
        let folder = group.folder_name(name)?;
        Ok(self.layout.dir.join(group.dir_name()).join(folder).join(place::file_name(file)?))
    }

    /// Names that have a folder in the group, sorted. Strangers' entries are passed over.
    pub fn names(&self, group: R::Group) -> Result<Vec<String>, Error> {
        self.layout.names(group.into())
    }

    /// Names of the files in a folder, sorted.
    pub fn files(&self, group: R::Group, name: &str) -> Result<Vec<String>, Error> {
        let Some(folder) = self.layout.folder(group.into(), name)? else { return Ok(Vec::new()) };
        let entries = folder.entries()?.into_iter().filter(|(_, is_folder)| !is_folder);
        let names = entries.filter_map(|(name, _)| name.into_string().ok());
        Ok(names.filter(|name| place::file_name(name).is_ok()).collect())
    }

    pub fn read(&self, group: R::Group, name: &str, file: &str) -> Result<Option<Vec<u8>>, Error> {
        self.layout.read(group.into(), name, file, FILE_MAX)
    }

    pub fn write(&self, group: R::Group, name: &str, file: &str, content: &[u8]) -> Result<(), Error> {
        self.layout.write(group.into(), name, file, content, false)
    }

    /// Removes a file; that there is none is fine.
    pub fn remove(&self, group: R::Group, name: &str, file: &str) -> Result<(), Error> {
        match self.layout.folder(group.into(), name)? {
            Some(folder) => folder.remove(place::file_name(file)?),
            None => Ok(()),
        }
    }

    /// When a file was last written.
    pub fn modified(&self, group: R::Group, name: &str, file: &str) -> Result<Option<Timestamp>, Error> {
        let Some(folder) = self.layout.folder(group.into(), name)? else { return Ok(None) };
        Ok(folder.modified(place::file_name(file)?)?.map(Timestamp::from_unix_millis))
    }

    pub fn read_json(&self, group: R::Group, name: &str, file: &str) -> Result<Option<Value>, Error> {
        self.layout.read_json(group.into(), name, file)
    }

    /// A file with the hmac of an EAB is not readable to everyone.
    pub fn write_json(&self, group: R::Group, name: &str, file: &str, value: &Value) -> Result<(), Error> {
        self.layout.write(group.into(), name, file, &json_bytes(value), holds_hmac(value))
    }

    /// In the form that keys have in the group, and no other.
    pub fn read_key(&self, group: R::Group, name: &str, file: &str) -> Result<Option<PrivateKey>, Error> {
        self.layout.read_key(group.into(), name, file)
    }

    /// Encrypted with the store's key in `accounts` and `staging`.
    pub fn write_key(&self, group: R::Group, name: &str, file: &str, key: &PrivateKey) -> Result<(), Error> {
        let pem = self.seal_key(group, key)?;
        self.layout.write(group.into(), name, file, &pem, false)
    }

    /// A key in the form of the group's files (PEM), to become a part of another file.
    pub fn seal_key(&self, group: R::Group, key: &PrivateKey) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.layout.seal_key(group.into(), key)
    }

    /// Opens a key in the form of [`Store::seal_key`] and no other, because others may have written the file.
    pub fn open_key(&self, group: R::Group, pem: &[u8]) -> Result<PrivateKey, crypto::Error> {
        self.layout.open_key(group.into(), pem)
    }

    pub fn read_chain(&self, group: R::Group, name: &str, file: &str) -> Result<Option<Chain>, Error> {
        let group = group.into();
        let Some(pem) = self.layout.read(group, name, file, FILE_MAX)? else { return Ok(None) };
        Chain::from_pem(&pem).map(Some).map_err(|e| self.layout.garbage(group, name, file, e))
    }

    pub fn write_chain(&self, group: R::Group, name: &str, file: &str, chain: &Chain) -> Result<(), Error> {
        let group = group.into();
        self.layout.write(group, name, file, &chain.to_pem(), false)
    }
}
