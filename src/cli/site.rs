// SPDX-License-Identifier: Apache-2.0
//! The site that a call is about: the store, and the configuration of the httpd that uses it.

use super::call::{Call, Failure};
use crate::config::{Configuration, PlannedMd};
use crate::managed::bundle::MD_FILE;
use crate::managed::certificates::assess;
use crate::managed::{Managed, bundle};
use crate::model::Md;
use crate::store::{Error, Group, StartStore};
use std::path::{Path, PathBuf};

/// The store of a call.
pub struct Site {
    pub dir: PathBuf,
    /// Who named the store: `-d`, `MD_STORE`, …
    pub found_by: &'static str,
    pub store: StartStore,
    /// As httpd itself prints it; `None` where it could not be asked.
    pub configuration: Option<Configuration>,
}

impl Site {
    /// Finds and opens the store that the call means. Makes and changes nothing.
    pub fn open(call: &Call) -> Result<Self, Failure> {
        let (dir, found_by) = locate(call)?;
        let store = StartStore::open_existing(&dir).map_err(|error| of_store(&dir, &error))?;
        Ok(Site { dir, found_by, store, configuration: None })
    }

    /// All managed domains by name, as the store has them, with their certificates in use.
    pub fn mds(&self) -> Result<Vec<Managed>, Failure> {
        let names = self.store.names(Group::Domains).map_err(|error| of_store(&self.dir, &error))?;
        Ok(names.iter().filter_map(|name| self.md(name)).collect())
    }

    /// `None`: there is none of that name, or its md.json cannot be read.
    fn md(&self, name: &str) -> Option<Managed> {
        let json = self.store.read_json(Group::Domains, name, MD_FILE).ok()??;
        let mut md = Md::from_json(&json)?;
        md.name = name.to_string();
        let (certs, _) = bundle::look(&self.store, name, &md);
        (md.state, md.state_descr) = assess(&md, &certs);
        Some(Managed { in_use: true, ..Managed::new(PlannedMd { md, ..PlannedMd::default() }, certs) })
    }
}

/// The store that the call means, and who says so.
pub fn locate(call: &Call) -> Result<(PathBuf, &'static str), Failure> {
    let named = call.options.dir.clone().map(|dir| (dir, "-d"));
    let of_environment = || std::env::var_os("MD_STORE").map(|dir| (PathBuf::from(dir), "MD_STORE"));
    let (dir, found_by) = named.or_else(of_environment).ok_or_else(|| {
        Failure::new("no store is known")
            .advice("Name its folder (MDStoreDir): -d DIR, or MD_STORE=DIR in the environment.")
    })?;
    let dir = std::path::absolute(&dir)
        .map_err(|error| Failure::new(format!("{}: {}", dir.display(), crate::log::plain(&error))))?;
    Ok((dir, found_by))
}

/// A failure of the store, with what to do.
pub fn of_store(dir: &Path, error: &Error) -> Failure {
    let text = error.to_string();
    if error.is_not_found() {
        return Failure::new(text)
            .status(2)
            .advice(format!("{} is no store of mod_md: name it by -d DIR.", dir.display()));
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
