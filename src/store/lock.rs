//! Locks of the store: `store.lock` keeps several httpd that share a store from bringing it in line at the same time,
//! `trial.lock` is held by a start while mod_ssl loads what it has put into use. They are flock(2)s, so that they end
//! with whoever holds them, however that ends, and other programs can take them, too.

use super::disk::Folder;
use super::{Error, StartStore, setup};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::time::{Duration, Instant};

const LOCK_FILE: &str = "store.lock";
const TRIAL_LOCK_FILE: &str = "trial.lock";
/// The time between two tries: flock(2) itself knows no deadline.
const PAUSE: Duration = Duration::from_millis(100);

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
        let file = root.open_lock(name)?;
        let path = root.path().join(name);
        let deadline = Instant::now() + within;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(StoreLock { _file: file })),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(e) => return Err(Error::io("locking", &path, e)),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            std::thread::sleep(left.min(PAUSE));
        }
    }
}
