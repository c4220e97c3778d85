//! `store.lock`: keeps several httpd that share a store from bringing it in line at the same time. An
//! flock(2), so that it ends with whoever holds it, and other programs can take it, too.

use super::disk::Folder;
use super::{Error, StartStore, setup};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::time::{Duration, Instant};

const LOCK_FILE: &str = "store.lock";
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
        let root: Folder = setup::open_root(&self.layout.dir, &self.layout.fuse)?;
        let file = root.open_lock(LOCK_FILE)?;
        let path = root.path().join(LOCK_FILE);
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
