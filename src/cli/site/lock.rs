// SPDX-License-Identifier: Apache-2.0
//! The lock of the store, for commands that change it or read it as a whole.

use super::{Site, of_store};
use crate::cli::console::call::Failure;
use crate::config::Configuration;
use crate::store::StoreLock;
use std::time::Duration;

/// Where httpd's configuration does not say how long to wait: a start holds the lock for seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// `EROFS`: a store that nobody can change needs no lock.
const READ_ONLY: i32 = 30;

/// `MDStoreLocks`, which says how long a start waits, says so for other programs too.
fn patience(configuration: Option<&Configuration>) -> Duration {
    configuration.and_then(|known| known.store_locks).unwrap_or(PATIENCE)
}

/// Keeps starts from changing the store meanwhile, as far as they lock it (`MDStoreLocks`).
pub fn lock(site: &Site) -> Result<Option<StoreLock>, Failure> {
    match site.store.lock(patience(site.configuration.as_ref())) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(Failure::new(format!("another process holds the lock of {}", site.dir.display()))
            .advice(
                "A start of httpd or another a2md is at work on this store: try again when it has ended.",
            )),
        Err(error) if error.os_error() == Some(READ_ONLY) => Ok(None),
        Err(error) => Err(of_store(&site.dir, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_says_how_long_to_wait() {
        let configured =
            |store_locks| patience(Some(&Configuration { store_locks, ..Configuration::default() }));
        let second = Duration::from_secs(1);
        assert_eq!(
            [configured(Some(second)), configured(None), patience(None)],
            [second, PATIENCE, PATIENCE]
        );
    }
}
