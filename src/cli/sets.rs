// SPDX-License-Identifier: Apache-2.0
//! The sets of a managed domain with their private keys: the one in use, and those in the archive. Reads,
//! changes nothing.

use super::call::Failure;
use super::site::{Site, of_store};
use crate::managed::bundle::{self, Bundle, Flaw, MD_FILE};
use crate::managed::published;
use crate::managed::staging::file::CHAIN_STEM;
use crate::model::{KeySpec, Md};
use crate::store::Group;
use crate::time::Timestamp;

/// Where a set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It went live since the start, and the next one moves it to `domains/`.
    Live,
    Domains,
    /// In `archive/`, with this number.
    Archive(u32),
}

/// A set that was read.
pub struct Set {
    pub place: Place,
    /// The settings it was ordered with.
    pub md: Option<Md>,
    pub bundles: Vec<Bundle>,
    /// Why others could not be read.
    pub flaws: Vec<String>,
    /// When it came into its folder.
    pub since: Option<Timestamp>,
}

/// The set in use; `None` where there is no certificate yet.
pub fn in_use(site: &Site, name: &str) -> Result<Option<Set>, Failure> {
    match published::read_at_start(&site.store, name) {
        Ok(Some((live, _))) => {
            let (place, md) = (Place::Live, Some(live.md));
            return Ok(Some(Set {
                place,
                md,
                bundles: live.sets,
                flaws: Vec::new(),
                since: Some(live.since),
            }));
        }
        Ok(None) => {}
        Err(Flaw::Store(error)) => return Err(of_store(&site.dir, &error)),
        // No child serves it.
        Err(_) => {}
    }
    let set = read(site, Group::Domains, name, Place::Domains)?;
    Ok(Some(set).filter(|set| !set.bundles.is_empty() || !set.flaws.is_empty()))
}

/// The archived sets of a managed domain, the newest one first.
pub fn archived(site: &Site, name: &str) -> Result<Vec<Set>, Failure> {
    let folders = site.store.names(Group::Archive).map_err(|error| of_store(&site.dir, &error))?;
    let number = |folder: &String| {
        let (of, number) = folder.rsplit_once('.')?;
        (of == name).then(|| number.parse::<u32>().ok()).flatten()
    };
    let mut numbers: Vec<u32> = folders.iter().filter_map(number).collect();
    numbers.sort_unstable_by(|one, other| other.cmp(one));
    let read = |number| read(site, Group::Archive, &format!("{name}.{number}"), Place::Archive(number));
    let mut sets = numbers.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    // The C module archives what it removes, also where there was no certificate.
    sets.retain(|set| !set.bundles.is_empty() || !set.flaws.is_empty());
    Ok(sets)
}

/// Whatever keys and chains stand in a folder.
fn read(site: &Site, group: Group, folder: &str, place: Place) -> Result<Set, Failure> {
    let failed = |error| of_store(&site.dir, &error);
    let files = site.store.files(group, folder).map_err(failed)?;
    let md = site.store.read_json(group, folder, MD_FILE).ok().flatten();
    let mut set = Set {
        place,
        md: md.as_ref().and_then(Md::from_json),
        bundles: Vec::new(),
        flaws: Vec::new(),
        since: None,
    };
    for (file, spec) in files.iter().filter_map(|file| Some((file, KeySpec::of_file(file, CHAIN_STEM)?))) {
        match bundle::load(&site.store, group, folder, &spec) {
            Ok(bundle) => set.bundles.push(bundle),
            Err(flaw) => set.flaws.push(flaw.to_string()),
        }
        set.since = set.since.max(site.store.modified(group, folder, file).map_err(failed)?);
    }
    Ok(set)
}
