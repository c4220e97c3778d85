// SPDX-License-Identifier: Apache-2.0
//! Finds the store that a call means, and the configuration that goes with it. What the caller says wins, then
//! what httpd says; what is only usual must be the only one.

use super::control::{Control, Folders};
use crate::cli::console::call::{Call, Failure};
use crate::config::Configuration;
use crate::log::plain;
use crate::store::StartStore;
use std::path::{Path, PathBuf};

pub(super) const BY_OPTION: &str = "-d";

/// Where distributions keep it: Fedora, Debian.
const USUAL: [&str; 2] = ["/var/lib/httpd/md", "/var/lib/apache2/md"];

#[derive(Clone)]
pub struct Found {
    pub dir: PathBuf,
    pub by: &'static str,
    pub configuration: Option<Configuration>,
}

/// The store that the call means, and who says so.
pub fn find(call: &Call) -> Result<Found, Failure> {
    let control = Control::of(call);
    let of_environment = || std::env::var_os("MD_STORE").filter(|dir| !dir.is_empty());
    let named = match call.options.dir.clone() {
        Some(dir) => Some((dir, BY_OPTION)),
        None => of_environment().map(|dir| (PathBuf::from(dir), "MD_STORE")),
    };
    if let Some((dir, by)) = named {
        let dir = std::path::absolute(&dir)
            .map_err(|error| Failure::new(format!("{}: {}", dir.display(), plain(&error))))?;
        let configuration = control.configuration(call)?.filter(|found| is_same(&found.store, &dir));
        return Ok(Found { dir, by, configuration });
    }
    if let Some(configuration) = control.configuration(call)? {
        let dir = configuration.store.clone();
        return Ok(Found { dir, by: "httpd", configuration: Some(configuration) });
    }
    let (dir, by) = choose(places(&control.folders(call)?), &is_store)?;
    Ok(Found { dir, by, configuration: None })
}

/// Where to look, and who says so: a place that httpd names is the only one.
fn places(folders: &Folders) -> Vec<(PathBuf, &'static str)> {
    let below_root = |dir: &Path| folders.server_root.as_ref().map(|root| root.join(dir));
    if let Some(dir) = folders.store_dir.as_deref().and_then(below_root) {
        return vec![(dir, "MDStoreDir")];
    }
    let of_root = below_root(Path::new("md")).map(|dir| (dir, "ServerRoot"));
    of_root.into_iter().chain(USUAL.map(|dir| (PathBuf::from(dir), "usual place"))).collect()
}

/// The one of these places that is a store.
fn choose(
    places: Vec<(PathBuf, &'static str)>,
    is_store: &dyn Fn(&Path) -> bool,
) -> Result<(PathBuf, &'static str), Failure> {
    let shown = |places: &[(PathBuf, &str)]| {
        let shown: Vec<String> = places.iter().map(|(dir, _)| dir.display().to_string()).collect();
        shown.join(" and ")
    };
    let mut stores: Vec<(PathBuf, &'static str)> = Vec::new();
    for (dir, by) in &places {
        if is_store(dir) && !stores.iter().any(|(known, _)| is_same(known, dir)) {
            stores.push((dir.clone(), by));
        }
    }
    const ADVICE: &str = "Name its folder (MDStoreDir): -d DIR, or MD_STORE=DIR in the environment.";
    match stores.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Failure::new(format!("no store is known; there is none in {}", shown(&places)))
            .status(2)
            .advice(ADVICE)),
        several => {
            Err(Failure::new(format!("more than one store is possible: {}", shown(several))).advice(ADVICE))
        }
    }
}

/// Also one that cannot be opened: opening it says why.
fn is_store(dir: &Path) -> bool {
    StartStore::open_existing(dir).map_or_else(|error| !error.is_not_found(), |_| true)
}

/// Whether two paths are one folder.
fn is_same(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(store_dir: Option<&str>) -> Folders {
        Folders {
            server_root: Some("/etc/httpd".into()),
            store_dir: store_dir.map(PathBuf::from),
            pid_file: None,
        }
    }

    #[test]
    fn the_one_place_with_a_store_is_taken_and_two_are_named() {
        let choose = |is_store: &dyn Fn(&Path) -> bool| choose(places(&folders(None)), is_store);
        let (dir, by) = choose(&|dir| dir.starts_with("/etc")).unwrap();
        assert_eq!((dir, by), (PathBuf::from("/etc/httpd/md"), "ServerRoot"));
        let (dir, _) = choose(&|dir| dir.starts_with("/var/lib/httpd")).unwrap();
        assert_eq!(dir, Path::new("/var/lib/httpd/md"));
        let failure = choose(&|dir| !dir.starts_with("/var/lib/apache2")).unwrap_err();
        assert!(failure.text.ends_with(": /etc/httpd/md and /var/lib/httpd/md"), "{failure:?}");
        let failure = choose(&|_| false).unwrap_err();
        assert!(failure.text.starts_with("no store is known") && failure.advice.unwrap().contains("-d DIR"));
    }

    #[test]
    fn a_place_that_httpd_names_is_the_only_one() {
        assert_eq!(places(&folders(Some("state/md"))), [("/etc/httpd/state/md".into(), "MDStoreDir")]);
        assert_eq!(places(&folders(Some("/srv/md"))), [("/srv/md".into(), "MDStoreDir")]);
    }

    #[test]
    fn a_store_by_two_paths_is_one() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("link")).unwrap();
        let places = vec![(dir.path().to_path_buf(), "a"), (dir.path().join("link"), "b")];
        assert_eq!(choose(places, &|_| true).unwrap().1, "a");
    }
}
