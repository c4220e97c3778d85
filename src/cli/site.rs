// SPDX-License-Identifier: Apache-2.0
//! The site that a call is about: the store, and the configuration of the httpd that uses it. [`search`] finds
//! both, [`control`] asks httpd, [`load`] reads the managed domains, [`select`] takes those that a call names.

pub mod accounts;
mod control;
mod load;
pub mod lock;
pub mod request;
mod search;
mod select;
pub mod server;
pub mod sets;
pub mod surplus;
pub mod threads;

pub use control::Control;
pub use search::{Found, find};
pub use select::names_or_all;

use super::console::call::{Call, Failure};
use crate::config::Configuration;
use crate::store::{Error, Owner, Scratch, StartStore};
use crate::time::Timestamp;
use std::path::{Path, PathBuf};

/// The store of a call.
pub struct Site {
    pub dir: PathBuf,
    /// Who named the store: `-d`, `MD_STORE`, `httpd` for the configuration itself; or where it was found.
    pub found_by: &'static str,
    pub store: StartStore,
    /// As httpd itself prints it; `None` where it could not be asked, or has another store.
    pub configuration: Option<Configuration>,
    /// When it was opened.
    now: Timestamp,
    _scratch: Option<Scratch>,
}

impl Site {
    /// Whether its httpd belongs to a fleet, as far as that is known.
    pub fn is_in_fleet(&self) -> bool {
        match &self.configuration {
            Some(configuration) => configuration.fleet.is_some(),
            // What its child has told, however long ago.
            None => self.store.fleet_status_stamp().is_some(),
        }
    }

    /// Finds and opens the store that the call means. Makes and changes nothing.
    pub fn open(call: &Call) -> Result<Self, Failure> {
        Site::open_found(call, find(call)?)
    }

    /// Opens the store that was found.
    pub fn open_found(call: &Call, found: Found) -> Result<Self, Failure> {
        let Found { dir, by, configuration } = found;
        if by != search::BY_OPTION {
            call.step(&format!("store: {} ({by})", dir.display()));
        }
        let store = StartStore::open_existing(&dir).map_err(|error| of_store(&dir, &error))?;
        // What the folders say of httpd's user is a guess, where the configuration tells it.
        let store = match configuration.as_ref().and_then(owner) {
            Some(owner) => store.with_workers(owner),
            None => store,
        };
        Ok(Site { dir, found_by: by, store, configuration, now: call.clock.now(), _scratch: None })
    }
}

impl Site {
    /// The same, but where the configuration names a store that is not there yet, it is made, as the next start
    /// of httpd would.
    pub fn open_or_make(call: &Call) -> Result<Self, Failure> {
        let search::Found { dir, by, configuration } = search::find(call)?;
        let is_missing = || StartStore::open_existing(&dir).is_err_and(|error| error.is_not_found());
        if let Some(configuration) = configuration.filter(|_| is_missing()) {
            let store =
                StartStore::open(&dir, owner(&configuration)).map_err(|error| of_store(&dir, &error))?;
            call.step(&format!("store: {} ({by}), made now", dir.display()));
            return Ok(Site {
                dir,
                found_by: by,
                store,
                configuration: Some(configuration),
                now: call.clock.now(),
                _scratch: None,
            });
        }
        Site::open(call)
    }

    /// The same for a look at what would be done: in place of a store that is not there yet, an empty one stands
    /// elsewhere until the site is dropped.
    pub fn open_or_imagine(call: &Call) -> Result<Self, Failure> {
        let search::Found { dir, by, configuration } = search::find(call)?;
        let is_missing = StartStore::open_existing(&dir).is_err_and(|error| error.is_not_found());
        if configuration.is_none() || !is_missing {
            return Site::open_found(call, Found { dir, by, configuration });
        }
        let (store, scratch) = StartStore::open_scratch().map_err(|error| of_store(&dir, &error))?;
        call.step(&format!("store: {} ({by}), not made yet", dir.display()));
        let (now, _scratch) = (call.clock.now(), Some(scratch));
        Ok(Site { dir, found_by: by, store, configuration, now, _scratch })
    }
}

/// httpd's `User` and `Group`.
fn owner(configuration: &Configuration) -> Option<Owner> {
    configuration.user.map(|(uid, gid)| Owner { uid, gid })
}

/// The store that the call means, and who says so.
pub fn locate(call: &Call) -> Result<(PathBuf, &'static str), Failure> {
    search::find(call).map(|found| (found.dir, found.by))
}

/// A failure of the store, with what to do.
pub fn of_store(dir: &Path, error: &Error) -> Failure {
    let text = error.to_string();
    if error.is_not_found() {
        return Failure::new(text).status(2).advice(format!(
            "{} is no store of mod_md: name its folder by -d DIR, or start httpd, which makes the one of its \
                 configuration.",
            dir.display()
        ));
    }
    if error.os_error() == Some(13) {
        return Failure::new(text).status(13).advice("Call a2md as root, or as the user that starts httpd.");
    }
    let failure =
        Failure::new(text).status(error.os_error().unwrap_or(crate::model::outcome::status::GENERAL));
    match error.advice() {
        Some(advice) => failure.advice(advice),
        None => failure,
    }
}
