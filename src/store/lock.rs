// SPDX-License-Identifier: Apache-2.0
//! The store's locks. `store.lock` keeps httpds that share a store from reconciling it at the same time; a
//! start holds `trial.lock` while mod_ssl loads what the start has activated. They are flock(2)s: they end
//! with the process that holds them, and other programs can take them too. The process that renews holds
//! `staging/renewing.lock`, which excludes no one and lets two httpds notice each other. An attempt at one
//! domain holds `staging/NAME/lock`, whichever program makes it. Whoever gives an account another key holds the lock
//! of its folder, which workers can lock and not write to.

use super::disk::{Access, Folder, HeldFolder, LockedFile};
use super::json::json_bytes;
use super::layout::RENEWING_LOCK_FILE;
use super::{Error, Group, Rights, StartStore, Store, WorkStore, setup};
use crate::time::Timestamp;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use serde_json::{Value, json};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::time::Duration;

const LOCK_FILE: &str = "store.lock";
const TRIAL_LOCK_FILE: &str = "trial.lock";
/// In the folder of each domain in `staging`.
pub const ATTEMPT_LOCK_FILE: &str = "lock";
/// Bytes that its holder may write into it.
const HOLDER_MAX: u64 = 4096;

/// Held until it is dropped, or the process ends.
#[must_use]
pub struct StoreLock {
    _file: LockedFile,
}

/// The lock of an account's keys. Held until it is dropped, or the process ends; there is none to hold where the file
/// system locks no folders.
#[must_use]
pub struct AccountLock {
    _folder: Option<HeldFolder>,
}

impl<R: Rights> Store<R> {
    /// Takes the lock of the keys of the account in `folder`; `None` where another holds it for longer than `within`.
    pub fn lock_account(&self, folder: &str, within: Duration) -> Result<Option<AccountLock>, Error> {
        let Some(folder) = self.layout.folder(Group::Accounts, folder)? else {
            return Ok(Some(AccountLock { _folder: None }));
        };
        Ok(match folder.hold(within) {
            Ok(None) => None,
            held => Some(AccountLock { _folder: held.unwrap_or_default() }),
        })
    }
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
    /// `httpd` or `a2md`.
    pub program: String,
    /// Of its httpd.
    pub instance: String,
    pub host: String,
    pub pid: u64,
    pub since: Option<Timestamp>,
}

impl Holder {
    /// This process of httpd.
    pub fn own(instance: u64, now: Timestamp) -> Self {
        Holder { instance: format!("{instance:016x}"), ..Holder::of_program("httpd", now) }
    }

    /// This process, which is one of another program.
    pub fn of_program(program: &str, now: Timestamp) -> Self {
        Holder {
            program: program.into(),
            instance: String::new(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id().into(),
            since: Some(now),
        }
    }

    fn to_json(&self) -> Value {
        let since = self.since.map(Timestamp::to_rfc3339);
        json!({
            "program": self.program, "instance": self.instance, "host": self.host, "pid": self.pid, "since": since,
        })
    }

    /// Fields that are missing or damaged stay empty.
    fn parse(content: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(content).unwrap_or_default();
        let text = |key: &str| {
            let text = value.get(key).and_then(Value::as_str).unwrap_or_default();
            text.chars().filter(char::is_ascii_graphic).take(255).collect::<String>()
        };
        Holder {
            program: text("program"),
            instance: text("instance"),
            host: text("host"),
            pid: value.get("pid").and_then(Value::as_u64).unwrap_or_default(),
            since: Timestamp::parse_rfc3339(&text("since")),
        }
    }
}

impl<R: Rights> Store<R> {
    /// The process that renews in this store, now or within this time: after a restart of httpd, or the death of
    /// a child, there is none for a moment. Waits only where there was one before.
    pub fn renewer_within(&self, wait: Duration) -> Result<Option<Holder>, Error> {
        const STEP: Duration = Duration::from_millis(100);
        let path = self.layout.dir.join(Group::Staging.dir_name()).join(RENEWING_LOCK_FILE);
        let mut left = wait;
        loop {
            let found = self.renewer()?;
            if found.is_some() || left.is_zero() || !path.exists() {
                return Ok(found);
            }
            std::thread::sleep(STEP);
            left = left.saturating_sub(STEP);
        }
    }

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

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder { program, host, pid, since, .. } = self;
        let Some(since) = since else { return f.write_str("a process that does not say who it is") };
        write!(f, "process {pid} on {host}")?;
        if !program.is_empty() {
            write!(f, " ({program})")?;
        }
        write!(f, " since {}", since.to_rfc3339())
    }
}

/// Writes who has the lock into its file.
pub(super) fn sign(mut file: &File, own: &Holder) -> io::Result<()> {
    let content = json_bytes(&own.to_json());
    file.set_len(0)?;
    file.write_all(&content)
}

/// Who has the lock of this file.
pub(super) fn holder_in(mut file: &File) -> io::Result<Holder> {
    let mut content = Vec::new();
    file.rewind()?;
    file.take(HOLDER_MAX).read_to_end(&mut content)?;
    Ok(Holder::parse(&content))
}

/// The lock of the process that renews. Released by the kernel when the process ends, and not passed on to
/// commands.
pub struct RenewingLock {
    store: WorkStore,
    held: Option<LockedFile>,
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
            && staging.holds(RENEWING_LOCK_FILE, held.file())
        {
            return Ok(None);
        }
        self.held = None;
        let file = staging.open_lock(RENEWING_LOCK_FILE).or_else(|_| {
            // Of an earlier `User`, or no file: the folder is ours.
            staging.remove(RENEWING_LOCK_FILE)?;
            staging.open_lock(RENEWING_LOCK_FILE)
        })?;
        let failed = |error: io::Error| Error::io("locking", &self.path(), error);
        match LockedFile::take(file).map_err(failed)? {
            Ok(held) => {
                sign(held.file(), own).map_err(failed)?;
                self.held = Some(held);
                Ok(None)
            }
            Err(file) => holder_in(&file).map(Some).map_err(failed),
        }
    }
}

/// The lock of an attempt at one domain. Released when it is dropped, and by the kernel when the process
/// ends; not passed on to commands.
#[must_use]
pub struct AttemptLock {
    folder: Folder,
    held: LockedFile,
}

impl WorkStore {
    /// Takes the lock of attempts at the domain `name`, whose files in staging are this process's then. The
    /// inner error is who has it.
    pub fn lock_attempt(&self, name: &str, own: &Holder) -> Result<Result<AttemptLock, Holder>, Error> {
        let folder = self.layout.make_folder(Group::Staging, name)?;
        let access = Access { mode: 0o600, ..self.layout.file_access(Group::Staging, false) };
        let failed = |error: io::Error| Error::io("locking", &folder.path().join(ATTEMPT_LOCK_FILE), error);
        match folder.take_shared_lock(ATTEMPT_LOCK_FILE, access)? {
            Ok(held) => {
                sign(held.file(), own).map_err(failed)?;
                Ok(Ok(AttemptLock { folder, held }))
            }
            Err(file) => holder_in(&file).map(Err).map_err(failed),
        }
    }
}

impl AttemptLock {
    /// Whether it still keeps others out: its file may have been removed with the folder, by a start that has
    /// put the staged set into use.
    pub fn is_held(&self) -> bool {
        self.folder.holds(ATTEMPT_LOCK_FILE, self.held.file())
    }
}

impl Drop for AttemptLock {
    fn drop(&mut self) {
        if self.is_held() {
            // A file that stays says nothing without a lock.
            let _ = self.folder.clone().synced(false).remove(ATTEMPT_LOCK_FILE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Owner;
    use crate::store::disk::rights::own_uid;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::Path;

    const NAME: &str = "a.test";
    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const USER: Owner = Owner { uid: 33, gid: 34 };

    fn open(dir: &Path) -> WorkStore {
        StartStore::open(dir, (own_uid() == 0).then_some(USER)).unwrap().worker()
    }

    #[test]
    fn one_attempt_holds_the_lock_and_says_who_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (store, other) = (open(dir.path()), open(dir.path()));
        let own = Holder::of_program("a2md", NOW);
        let held = store.lock_attempt(NAME, &own).unwrap().unwrap();
        let holder = other.lock_attempt(NAME, &Holder::own(1, NOW)).unwrap().err().unwrap();
        assert_eq!(holder, own);
        let text = holder.to_string();
        let begin = format!("process {} on ", std::process::id());
        assert!(text.starts_with(&begin) && text.contains(" (a2md) since 20"), "{text}");
        let file = dir.path().join("staging/a.test/lock");
        let meta = fs::metadata(&file).unwrap();
        assert_eq!(meta.mode() & 0o7777, 0o600);
        assert!(own_uid() != 0 || (meta.uid(), meta.gid()) == (USER.uid, USER.gid));
        drop(other.lock_attempt("b.test", &own).unwrap().unwrap());
        drop(held);
        assert!(!file.exists());
        drop(other.lock_attempt(NAME, &own).unwrap().unwrap());
    }

    #[test]
    fn a_lock_ends_though_a_process_that_was_forked_meanwhile_still_has_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let (store, own) = (open(dir.path()), Holder::of_program("a2md", NOW));
        let start = StartStore::open(dir.path(), (own_uid() == 0).then_some(USER)).unwrap();
        let held = start.lock(Duration::ZERO).unwrap().unwrap();
        let attempt = store.lock_attempt(NAME, &own).unwrap().unwrap();
        let mut renewing = RenewingLock::new(store.clone());
        assert_eq!(renewing.take(&own).unwrap(), None);
        // The same open files as a fork has until it executes its command.
        let forked = [&held._file, &attempt.held, renewing.held.as_ref().unwrap()]
            .map(|l| l.file().try_clone().unwrap());
        let file = dir.path().join("staging/a.test/lock");
        fs::rename(&file, dir.path().join("kept")).unwrap();
        drop((held, attempt, renewing));
        fs::rename(dir.path().join("kept"), &file).unwrap();
        assert!(start.lock(Duration::ZERO).unwrap().is_some());
        drop(store.lock_attempt(NAME, &own).unwrap().unwrap());
        assert_eq!(store.renewer().unwrap(), None);
        drop(forked);
    }

    #[test]
    fn a_lock_whose_folder_was_removed_keeps_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let own = Holder::of_program("a2md", NOW);
        let held = store.lock_attempt(NAME, &own).unwrap().unwrap();
        assert!(held.is_held());
        store.purge(super::super::WorkGroup::Staging, NAME).unwrap();
        assert!(!held.is_held());
        let next = store.lock_attempt(NAME, &own).unwrap().unwrap();
        drop(held);
        assert!(next.is_held(), "the lock of another attempt is left alone");
    }

    #[test]
    fn what_was_planted_in_place_of_the_lock_is_neither_written_to_nor_followed() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir.path().join("md"));
        let outside = dir.path().join("outside");
        fs::write(&outside, "x").unwrap();
        let folder = dir.path().join("md/staging/a.test");
        fs::create_dir(&folder).unwrap();
        let own = Holder::of_program("a2md", NOW);
        for hard in [false, true] {
            let file = folder.join("lock");
            if hard {
                fs::hard_link(&outside, &file).unwrap()
            } else {
                symlink(&outside, &file).unwrap()
            }
            drop(store.lock_attempt(NAME, &own).unwrap().unwrap());
            assert_eq!(fs::read(&outside).unwrap(), b"x");
            assert_eq!(fs::metadata(&outside).unwrap().uid(), own_uid());
        }
    }

    #[test]
    fn a_lock_that_is_held_stays_though_somebody_has_given_its_file_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let own = Holder::of_program("a2md", NOW);
        let held = store.lock_attempt(NAME, &own).unwrap().unwrap();
        let folder = dir.path().join("staging/a.test");
        fs::hard_link(folder.join("lock"), folder.join("other")).unwrap();
        assert_eq!(store.lock_attempt(NAME, &own).unwrap().err(), Some(own.clone()));
        assert!(held.is_held());
    }

    #[test]
    fn a_lock_holds_in_a_folder_of_root_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let own = Holder::of_program("a2md", NOW);
        fs::create_dir(dir.path().join("staging/a.test")).unwrap();
        let held = store.lock_attempt(NAME, &own).unwrap().unwrap();
        assert_eq!(store.lock_attempt(NAME, &own).unwrap().err(), Some(own.clone()));
        assert!(held.is_held());
    }

    #[test]
    fn one_who_has_found_a_planted_file_does_not_remove_the_lock_that_another_put_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let own = Holder::of_program("a2md", NOW);
        drop(store.lock_attempt(NAME, &own).unwrap().unwrap());
        let file = dir.path().join("staging/a.test/lock");
        symlink("nowhere", &file).unwrap();
        // Another process is about to put the file in order.
        let folder = store.layout.make_folder(Group::Staging, NAME).unwrap();
        let guard = folder.lock_itself(Duration::ZERO).unwrap().unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| store.lock_attempt(NAME, &own).unwrap().err());
            std::thread::sleep(Duration::from_millis(200));
            assert!(fs::symlink_metadata(&file).unwrap().is_symlink(), "one at a time");
            fs::remove_file(&file).unwrap();
            let first = LockedFile::take(folder.open_lock(ATTEMPT_LOCK_FILE).unwrap()).unwrap().ok().unwrap();
            sign(first.file(), &own).unwrap();
            drop(guard);
            assert_eq!(second.join().unwrap(), Some(own.clone()));
            assert!(folder.holds(ATTEMPT_LOCK_FILE, first.file()));
        });
    }

    #[test]
    fn one_at_a_time_changes_the_keys_of_an_account_whatever_its_rights() {
        let dir = tempfile::tempdir().unwrap();
        let start = StartStore::open(dir.path(), (own_uid() == 0).then_some(USER)).unwrap();
        let worker = start.worker();
        let folder = "ACME-ca.test-0000";
        assert!(worker.lock_account(folder, Duration::ZERO).unwrap().is_some(), "there is nothing to change");
        start.write(Group::Accounts, folder, "account.json", b"{}").unwrap();
        let held = worker.lock_account(folder, Duration::ZERO).unwrap().unwrap();
        assert!(start.lock_account(folder, Duration::ZERO).unwrap().is_none());
        drop(held);
        let held = start.lock_account(folder, Duration::ZERO).unwrap().unwrap();
        assert!(worker.lock_account(folder, Duration::ZERO).unwrap().is_none());
        drop(held);
        assert!(worker.lock_account(folder, Duration::ZERO).unwrap().is_some());
    }

    #[test]
    fn attempts_of_many_follow_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let (own, file) = (Holder::of_program("a2md", NOW), dir.path().join("count"));
        fs::write(&file, "0").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut left = 25;
                    while left > 0 {
                        let Ok(_held) = store.lock_attempt(NAME, &own).unwrap() else { continue };
                        let count: u32 = fs::read_to_string(&file).unwrap().parse().unwrap();
                        fs::write(&file, (count + 1).to_string()).unwrap();
                        left -= 1;
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&file).unwrap(), "100");
    }
}
