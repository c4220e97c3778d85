// SPDX-License-Identifier: Apache-2.0
//! The store's locks. `store.lock` keeps httpds that share a store from reconciling it at the same time; a
//! start holds `trial.lock` while mod_ssl loads what the start has activated. They are flock(2)s: they end
//! with the process that holds them, and other programs can take them too. The process that renews holds
//! `staging/renewing.lock`, which excludes no one and lets two httpds notice each other.

use super::disk::Folder;
use super::json::json_bytes;
use super::{Error, Group, Rights, StartStore, Store, WorkStore, setup};
use crate::time::Timestamp;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::time::Duration;

const LOCK_FILE: &str = "store.lock";
const TRIAL_LOCK_FILE: &str = "trial.lock";
const RENEWING_LOCK_FILE: &str = "renewing.lock";
/// Bytes that its holder may write into it.
const HOLDER_MAX: u64 = 4096;

/// Held until it is dropped, or the process ends.
#[must_use]
pub struct StoreLock {
    _file: File,
}

impl StartStore {
    /// Takes the lock of the store; `None` where another holds it for longer than `within`.
    pub fn lock(&self, within: Duration) -> Result<Option<StoreLock>, Error> {
        self.lock_file(LOCK_FILE, within)
    }

    /// Takes the lock of starts that try new sets; `None` where another start has it.
    pub fn lock_trial(&self) -> Result<Option<StoreLock>, Error> {
        self.lock_file(TRIAL_LOCK_FILE, Duration::ZERO)
    }

    fn lock_file(&self, name: &str, within: Duration) -> Result<Option<StoreLock>, Error> {
        let root: Folder = setup::open_root(&self.layout.dir, &self.layout.fuse)?;
        Ok(root.lock(name, within)?.map(|file| StoreLock { _file: file }))
    }
}

/// The process that renews in a store, as it says itself: any process of httpd's user can write that.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Holder {
    /// Of its httpd.
    pub instance: String,
    pub host: String,
    pub pid: u64,
    pub since: Option<Timestamp>,
}

impl Holder {
    /// This process.
    pub fn own(instance: u64, now: Timestamp) -> Self {
        Holder {
            instance: format!("{instance:016x}"),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id().into(),
            since: Some(now),
        }
    }

    fn to_json(&self) -> Value {
        let since = self.since.map(Timestamp::to_rfc3339);
        json!({"instance": self.instance, "host": self.host, "pid": self.pid, "since": since})
    }

    /// Fields that are missing or damaged stay empty.
    fn parse(content: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(content).unwrap_or_default();
        let text = |key: &str| {
            let text = value.get(key).and_then(Value::as_str).unwrap_or_default();
            text.chars().filter(char::is_ascii_graphic).take(255).collect::<String>()
        };
        Holder {
            instance: text("instance"),
            host: text("host"),
            pid: value.get("pid").and_then(Value::as_u64).unwrap_or_default(),
            since: Timestamp::parse_rfc3339(&text("since")),
        }
    }
}

impl<R: Rights> Store<R> {
    /// The process that renews in this store now, of whichever httpd; `None`: there is none that holds the
    /// lock. Takes it for a moment at most, which a renewing process passes over.
    pub fn renewer(&self) -> Result<Option<Holder>, Error> {
        let path = self.layout.dir.join(Group::Staging.dir_name()).join(RENEWING_LOCK_FILE);
        let failed = |error: io::Error| Error::io("reading", &path, error);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = match open(&path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(Errno::AGAIN | Errno::INTR) => {
                let mut content = Vec::new();
                file.take(HOLDER_MAX).read_to_end(&mut content).map_err(failed)?;
                Ok(Some(Holder::parse(&content)))
            }
            Err(error) => Err(failed(error.into())),
        }
    }
}

/// The lock of the process that renews. Released by the kernel when the process ends, and not passed on to
/// commands.
pub struct RenewingLock {
    store: WorkStore,
    held: Option<File>,
}

impl RenewingLock {
    pub fn new(store: WorkStore) -> Self {
        RenewingLock { store, held: None }
    }

    pub fn path(&self) -> PathBuf {
        self.store.layout.dir.join(Group::Staging.dir_name()).join(RENEWING_LOCK_FILE)
    }

    /// Takes the lock in the name of `own`, or sees to it that it still has it: the file may have been
    /// removed, and be another's since. `Some`: another process has it.
    pub fn take(&mut self, own: &Holder) -> Result<Option<Holder>, Error> {
        let staging = self.store.layout.group(Group::Staging)?;
        if let Some(held) = &self.held
            && staging.holds(RENEWING_LOCK_FILE, held)
        {
            return Ok(None);
        }
        self.held = None;
        let mut file = staging.open_lock(RENEWING_LOCK_FILE).or_else(|_| {
            // Of an earlier `User`, or no file: the folder is ours.
            staging.remove(RENEWING_LOCK_FILE)?;
            staging.open_lock(RENEWING_LOCK_FILE)
        })?;
        let failed = |error: io::Error| Error::io("locking", &self.path(), error);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let content = json_bytes(&own.to_json());
                file.set_len(0).and_then(|()| file.write_all(&content)).map_err(failed)?;
                self.held = Some(file);
                Ok(None)
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                let mut content = Vec::new();
                let read = file.rewind().and_then(|()| file.take(HOLDER_MAX).read_to_end(&mut content));
                read.map_err(failed)?;
                Ok(Some(Holder::parse(&content)))
            }
            Err(error) => Err(failed(error.into())),
        }
    }
}
