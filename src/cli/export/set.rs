// SPDX-License-Identifier: Apache-2.0
//! The set of a managed domain that is in use: the one that went live, with this store's authentication, else
//! the one in `domains`. Refuses a live set that somebody else has left in staging.

use crate::cli::console::call::Failure;
use crate::crypto::sha256;
use crate::managed::bundle::{self, Bundle, Flaw};
use crate::managed::published;
use crate::managed::staging::file::CHAIN_STEM;
use crate::model::{KeySpec, Md};
use crate::store::{Error, Group, StartStore};
use data_encoding::HEXLOWER;
use std::thread::sleep;
use std::time::Duration;

/// A start swaps a folder of `domains` in two steps: whoever comes in between looks again.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// Where a set was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Published without a restart.
    Live,
    Domains,
}

impl Source {
    pub fn token(self) -> &'static str {
        match self {
            Source::Live => "live",
            Source::Domains => "domains",
        }
    }
}

pub struct InUse {
    pub source: Source,
    /// At least one; that of the first configured key first.
    pub sets: Vec<Bundle>,
    /// Why another set, which is in staging, is not used.
    pub doubt: Option<String>,
}

impl InUse {
    /// Differs where certificates, keys or their order differ.
    pub fn digest(&self) -> String {
        let prints: Vec<&str> = self.sets.iter().map(|set| set.info.fingerprint.as_str()).collect();
        HEXLOWER.encode(&sha256(prints.join(" ").as_bytes()))
    }
}

/// `None`: the domain has no certificate yet.
pub fn find(store: &StartStore, md: &Md) -> Result<Option<InUse>, Error> {
    // What the store may have of it is not in use.
    if md.has_static_files() {
        return Ok(None);
    }
    let (live, doubt) = match published::read(store, Group::Staging, &md.name) {
        Ok(live) => (live, None),
        Err(Flaw::Store(error @ Error::Io { .. })) => return Err(error),
        Err(flaw) => (None, Some(flaw.to_string())),
    };
    let found = match live {
        Some(live) => Some((Source::Live, live.sets)),
        None => in_domains(store, md)?.map(|sets| (Source::Domains, sets)),
    };
    Ok(found.map(|(source, sets)| InUse { source, sets: in_order(md, sets), doubt }))
}

/// Configured keys come first, in their order. Others are there only where no configured one is.
fn in_order(md: &Md, mut sets: Vec<Bundle>) -> Vec<Bundle> {
    let keys = md.keys();
    let rank = |set: &Bundle| keys.iter().position(|key| key.same_type(&set.spec));
    if sets.iter().any(|set| rank(set).is_some()) {
        sets.retain(|set| rank(set).is_some());
    }
    sets.sort_by_key(|set| rank(set).unwrap_or(usize::MAX));
    sets
}

fn in_domains(store: &StartStore, md: &Md) -> Result<Option<Vec<Bundle>>, Error> {
    let mut left = TRIES;
    loop {
        left -= 1;
        let (sets, flaw) = read_domains(store, md)?;
        if !sets.is_empty() && flaw.is_none() || left == 0 {
            return match flaw {
                Some(Flaw::Store(error)) if sets.is_empty() => Err(error),
                _ => Ok((!sets.is_empty()).then_some(sets)),
            };
        }
        sleep(PAUSE);
    }
}

/// All sets that belong together, and what is wrong with another one.
fn read_domains(store: &StartStore, md: &Md) -> Result<(Vec<Bundle>, Option<Flaw>), Error> {
    let mut specs = md.keys();
    for file in store.files(Group::Domains, &md.name)? {
        let spec = KeySpec::of_file(&file, CHAIN_STEM);
        specs.extend(spec.filter(|spec| specs.iter().all(|known| known.file_name("") != spec.file_name(""))));
    }
    let (mut sets, mut flaw) = (Vec::new(), None);
    for spec in specs {
        match bundle::load(store, Group::Domains, &md.name, &spec) {
            Ok(set) => sets.push(set),
            Err(Flaw::Missing(_)) => {}
            Err(other) => flaw = Some(other),
        }
    }
    Ok((sets, flaw))
}

/// A failure that says what is missing.
pub fn none(md: &Md) -> Failure {
    if md.has_static_files() {
        return Failure::new(format!(
            "{} is served from files of yours (MDCertificateFile), and not from the store: {}",
            md.name,
            md.cert_files.join(", ")
        ))
        .advice("Give these files, and the key with them, to the other program as well.");
    }
    Failure::new(format!("{} has no certificate yet", md.name))
        .advice("Once httpd has obtained one, call this again; with --follow it is waited for.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::NOW;
    use crate::managed::fixture::{Lab, md};
    use crate::managed::gate::Admitted;
    use crate::managed::published::Published;
    use crate::model::Job;

    #[test]
    fn a_domain_with_files_of_the_admin_has_nothing_to_hand_out() {
        let lab = Lab::new();
        let mut md = md(&["a.test"]);
        lab.install(&md);
        (md.cert_files, md.pkey_files) = (vec!["/etc/a.pem".into()], vec!["/etc/a.key".into()]);
        assert!(find(&lab.store, &md).unwrap().is_none());
        assert!(none(&md).text.contains("/etc/a.pem"));
    }

    #[test]
    fn a_live_set_comes_before_the_one_in_domains_but_only_with_our_code() {
        let lab = Lab::new();
        let md = md(&["a.test"]);
        assert!(find(&lab.store, &md).unwrap().is_none());
        lab.install(&md);
        let found = find(&lab.store, &md).unwrap().unwrap();
        let in_domains = found.digest();
        assert_eq!((found.source, found.sets.len()), (Source::Domains, 1));
        let set = lab.set(&["a.test"], &md.keys()[0]);
        let live = Published::new(NOW, &md, &Job::new("a.test"), Admitted::untried(vec![set]));
        live.write(&lab.store.worker(), "a.test").unwrap();
        let found = find(&lab.store, &md).unwrap().unwrap();
        assert!(found.source == Source::Live && found.digest() != in_domains && found.doubt.is_none());
        // Whoever has the rights of httpd's user can write this.
        let mut json = lab.store.read_json(Group::Staging, "a.test", published::FILE).unwrap().unwrap();
        json.as_object_mut().unwrap().remove("auth");
        lab.store.write_json(Group::Staging, "a.test", published::FILE, &json).unwrap();
        let found = find(&lab.store, &md).unwrap().unwrap();
        assert!(found.source == Source::Domains && found.digest() == in_domains);
        assert!(found.doubt.unwrap().contains("was not left there by this server"));
    }
}
