// SPDX-License-Identifier: Apache-2.0
//! The sets of a managed domain with their private keys: the one in use, and those in the archive. Reads,
//! changes nothing.

use super::{Site, of_store};
use crate::cli::console::call::Failure;
use crate::managed::bundle::{self, Bundle, Flaw, MD_FILE};
use crate::managed::published::{self, Published};
use crate::managed::staging::file::CHAIN_STEM;
use crate::model::{KeySpec, Md};
use crate::store::{Error, Group, StartStore};
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
    let live = live(&site.store, name).map_err(|error| of_store(&site.dir, &error))?;
    if let Some(Published { since, md, sets, .. }) = live {
        let (place, md, since) = (Place::Live, Some(md), Some(since));
        return Ok(Some(Set { place, md, bundles: sets, flaws: Vec::new(), since }));
    }
    let set = read(site, Group::Domains, name, Place::Domains)?;
    Ok(Some(set).filter(|set| !set.bundles.is_empty() || !set.flaws.is_empty()))
}

/// The set that is live. httpd's user can leave anything in its place, which no child serves: neither does that
/// count here, nor does it keep an operator from revoking what is served.
fn live(store: &StartStore, name: &str) -> Result<Option<Published>, Error> {
    match published::read(store, Group::Staging, name) {
        Ok(live) => Ok(live),
        Err(Flaw::Store(error @ Error::Io { .. })) => Err(error),
        Err(flaw) => {
            crate::log!(Warn, "md[{name}]: a set in staging is not in use: {flaw}");
            Ok(None)
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::NOW;
    use crate::managed::fixture::{Lab, md};
    use crate::managed::gate::Admitted;
    use crate::model::Job;

    #[test]
    fn a_live_set_counts_with_this_store_s_authentication_alone() {
        let lab = Lab::new();
        let md = md(&["a.test"]);
        let published = || {
            let set = lab.set(&["a.test"], &md.keys()[0]);
            let published = Published::new(NOW, &md, &Job::new("a.test"), Admitted::untried(vec![set]));
            published.write(&lab.store.worker(), "a.test").unwrap();
        };
        let is_live = || live(&lab.store, "a.test").unwrap().is_some();
        assert!(!is_live());
        published();
        assert!(is_live());
        let mut json = lab.store.read_json(Group::Staging, "a.test", published::FILE).unwrap().unwrap();
        json.as_object_mut().unwrap().remove("auth");
        lab.store.write_json(Group::Staging, "a.test", published::FILE, &json).unwrap();
        assert!(!is_live(), "of nobody knows whom");
        published();
        let file = lab.root().join("staging/a.test").join(published::FILE);
        std::fs::hard_link(&file, lab.root().join("elsewhere")).unwrap();
        assert!(!is_live());
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        assert!(!is_live());
    }
}
