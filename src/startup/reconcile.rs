// SPDX-License-Identifier: Apache-2.0
//! Brings the store in line with the plan when httpd starts: finds the folder of every managed domain, also
//! under the name it had before ([`super::lineage`]), renames it, and gives the domain the values that only
//! the store has. Broken entries are reported and written again; data of domains that are no longer
//! configured stay.

use super::cleanup;
use super::lineage;
use super::lineage::{Folder, Found, Help, Holds, Seeker};
use super::recover;
use super::stored_md::{Print, StoredMd};
use crate::managed::bundle::{JOB_FILE, MD_FILE};
use crate::managed::{published, withdrawn};
use crate::model::{Job, KeySpec, Md};
use crate::names;
use crate::store::{Error, Group, StartStore};
use serde_json::Value;
use std::collections::HashMap;

/// The stored data of a managed domain, and its history.
pub struct Matched {
    stored: StoredMd,
    history: Option<Md>,
}

impl Matched {
    /// Gives the account, the CA in use and unknown keys of the stored MD to the planned one.
    pub fn complete(self, md: &mut Md) -> StoredMd {
        if let Some(history) = self.history {
            // Both stay when another CA is configured: they say where the present certificate comes from.
            md.ca.account = history.ca.account;
            md.ca.url = history.ca.url;
            md.acme_tls_1 = history.acme_tls_1;
            md.extra = history.extra;
        }
        self.stored
    }

    /// Uses the certificates of another folder. Both folders stay where they are: the next set, and md.json
    /// now, go into that of the MD's name.
    fn use_lent(&mut self, store: &StartStore, md: &Md, lender: Entry) {
        let problems = std::mem::take(&mut self.stored.problems).into_iter().chain(lender.problem).collect();
        let lent = StoredMd::read(store, md, lender.folder, problems);
        self.stored = StoredMd { json: self.stored.json, is_home: true, ..lent };
        // Where it cannot be read, the MD has its own.
        self.history = lender.json.as_ref().and_then(Md::from_json).or(self.history.take());
    }
}

/// The names of the hosts that belong to an MD alone, by the MD's place in the plan.
pub type HostNames<'a> = &'a dyn Fn(usize) -> Vec<String>;

/// Matches the MDs of a plan with the folders in `domains` and renames those of renamed MDs. Nothing else is
/// written: [`StoredMd::save`] does, when the MDs are final. Fails only where a whole group cannot be read.
/// Also returns the folders that are left: what they have staged may still be of use.
pub fn sync(store: &StartStore, mds: &[&Md], hosts: HostNames<'_>) -> Result<(Vec<Matched>, Former), Error> {
    recover::swaps(store)?;
    match_up(store, mds, hosts, Right::Change)
}

/// The same for a start that must not change the store: renamed MDs have their certificates in the folders
/// where they are, and no staged set comes into use.
pub fn look(store: &StartStore, mds: &[&Md], hosts: HostNames<'_>) -> Result<Vec<Matched>, Error> {
    Ok(match_up(store, mds, hosts, Right::Look)?.0)
}

/// The changes allowed in the store.
#[derive(Clone, Copy, PartialEq)]
enum Right {
    Change,
    Look,
}

fn match_up(
    store: &StartStore,
    mds: &[&Md],
    hosts: HostNames<'_>,
    right: Right,
) -> Result<(Vec<Matched>, Former), Error> {
    let mut former = Former::read(store)?;
    let same_name: Vec<_> = mds.iter().map(|md| former.folders.remove(&md.name)).collect();
    let previous = former.claim(store, mds, &same_name, hosts, right);
    for (entry, _) in previous.iter().flatten().filter(|(_, help)| *help == Help::Moves) {
        former.folders.remove(&entry.folder);
    }
    let is_given = |previous: &_| matches!(previous, Some((_, Help::Moves | Help::GivesSet)));
    let given: Vec<bool> = previous.iter().map(is_given).collect();
    let found = mds.iter().zip(same_name).zip(previous);
    let settle =
        |((md, same_name), previous): ((&&Md, _), _)| settle_on(store, md, same_name, previous, right);
    let mut matched: Vec<Matched> = found.map(settle).collect();
    if right == Right::Change {
        former.lend(store, mds, &mut matched, &given, hosts);
    }
    Ok((matched, former))
}

/// Decides between the folder of the MD's name and the one it had before. A folder that is not moved is used
/// under its present name.
fn settle_on(
    store: &StartStore,
    md: &Md,
    same_name: Option<Entry>,
    previous: Option<(Entry, Help)>,
    right: Right,
) -> Matched {
    let (mut problems, mut lender) = (Vec::new(), None);
    let own = || Entry { folder: md.name.clone(), ..Entry::default() };
    let entry = match (same_name, previous) {
        (None, Some((mut previous, Help::Moves))) => {
            if right == Right::Change {
                match rename(store, &previous.folder, &md.name) {
                    Ok(()) => previous.folder.clone_from(&md.name),
                    Err(e) => problems.push(e.to_string()),
                }
            }
            previous
        }
        (same_name, Some((previous, Help::GivesSet))) => {
            if let Err(error) = take_set(store, &previous.folder, &md.name) {
                problems.push(error.to_string());
            }
            same_name.unwrap_or_else(own)
        }
        (same_name, Some((previous, Help::Moves | Help::Lends))) => {
            lender = Some(previous);
            same_name.unwrap_or_else(own)
        }
        (same_name, None) => same_name.unwrap_or_else(own),
    };
    problems.extend(entry.problem);
    let history = entry.json.as_ref().and_then(Md::from_json);
    let stored = StoredMd::read(store, md, entry.folder, problems);
    // A folder of another name is renamed first, by a later start.
    let stored = StoredMd { json: entry.json.as_ref().map(Print::of), ..stored };
    let mut matched = Matched { stored, history };
    if let Some(lender) = lender {
        matched.use_lent(store, md, lender);
    }
    matched
}

/// A folder in `domains`.
#[derive(Clone, Default)]
struct Entry {
    folder: String,
    json: Option<Value>,
    problem: Option<String>,
}

/// The folders in `domains` that are of no MD.
#[derive(Default)]
pub struct Former {
    /// By name.
    folders: HashMap<String, Entry>,
}

impl Former {
    fn read(store: &StartStore) -> Result<Self, Error> {
        let mut former = Former::default();
        for folder in store.names(Group::Domains)? {
            let (json, problem) = match store.read_json(Group::Domains, &folder, MD_FILE) {
                Ok(json) => (json, None),
                Err(e) => (None, Some(e.to_string())),
            };
            former.folders.insert(folder.clone(), Entry { folder, json, problem });
        }
        Ok(former)
    }

    /// Lends certificates of these folders to MDs that have none but the staged sets they were given: whether
    /// these come into use is not known yet, and depends on what is in use.
    fn lend(
        &self,
        store: &StartStore,
        mds: &[&Md],
        matched: &mut [Matched],
        given: &[bool],
        hosts: HostNames<'_>,
    ) {
        let is_unserved = |md: &Md, Matched { stored, .. }: &Matched| {
            stored.folder == md.name && has_no_certificate(store, md, stored)
        };
        let places = mds.iter().zip(&*matched).zip(given).enumerate();
        let places = places.filter(|(_, ((md, matched), given))| **given && is_unserved(md, matched));
        let seekers = places.map(|(at, ((md, _), _))| (at, seeker(md, hosts(at)))).collect();
        for (at, lender, _) in self.find(store, mds, seekers, Right::Look, &|_| Holds::Nothing) {
            if let (Some(md), Some(matched)) = (mds.get(at), matched.get_mut(at)) {
                matched.use_lent(store, md, lender);
            }
        }
    }

    /// Gives staged sets of these folders to MDs that have neither a certificate of their own nor a set.
    /// Returns the places of these MDs: their sets can come into use. Looks at each folder once, since others can put
    /// sets there that are of no use.
    pub fn give_sets(
        &mut self,
        store: &StartStore,
        mds: &[&Md],
        stored: &[StoredMd],
        hosts: HostNames<'_>,
    ) -> Vec<usize> {
        // It costs nothing where none of them has a set, as nearly always.
        let former = self.folders.keys().map(String::as_str);
        if store.present(Group::Staging, former).is_ok_and(|staged| staged.is_empty()) {
            return Vec::new();
        }
        let is_seeker =
            |md: &Md, stored| has_no_certificate(store, md, stored) && !has_staged_set(store, &md.name);
        let places = mds.iter().zip(stored).enumerate().filter(|(_, (md, stored))| is_seeker(md, stored));
        let seekers = places.map(|(at, (md, _))| (at, seeker(md, hosts(at)))).collect();
        let is_given = |(at, entry, help): &(usize, Entry, Help)| {
            let Some(md) = mds.get(*at).filter(|_| *help == Help::GivesSet) else { return false };
            let given = take_set(store, &entry.folder, &md.name);
            if let Err(error) = &given {
                crate::log!(Warn, "md[{}]: {}", md.name, error.advised());
            }
            given.is_ok()
        };
        let found = self.find(store, mds, seekers, Right::Change, &|_| Holds::Nothing);
        for (_, entry, _) in found.iter().filter(|(.., help)| *help == Help::GivesSet) {
            self.folders.remove(&entry.folder);
        }
        found.into_iter().filter(is_given).map(|(at, ..)| at).collect()
    }

    /// For each MD the entry that it had under another name.
    fn claim<'m>(
        &self,
        store: &StartStore,
        mds: &[&'m Md],
        same_name: &[Option<Entry>],
        hosts: HostNames<'_>,
        right: Right,
    ) -> Vec<Option<(Entry, Help)>> {
        let mut claimed = vec![None; mds.len()];
        if self.folders.is_empty() {
            return claimed;
        }
        let seeker = |(at, (md, same_name)): (usize, (&&'m Md, &Option<Entry>))| {
            let has_folder = same_name.is_some();
            (at, Seeker { names: &md.domains, host_names: hosts(at), has_folder })
        };
        let seekers = mds.iter().zip(same_name).enumerate().map(seeker).collect();
        let own = |at: usize| match mds.get(at) {
            Some(md) if !md.has_static_files() => holds(store, &md.name, right),
            _ => Holds::Certificate,
        };
        for (at, entry, help) in self.find(store, mds, seekers, right, &own) {
            if let Some(claimed) = claimed.get_mut(at) {
                *claimed = Some((entry, help));
            }
        }
        claimed
    }

    /// The entries for seekers that find one, by the places of their MDs.
    fn find(
        &self,
        store: &StartStore,
        mds: &[&Md],
        seekers: Vec<(usize, Seeker<'_>)>,
        right: Right,
        own: &dyn Fn(usize) -> Holds,
    ) -> Vec<(usize, Entry, Help)> {
        if seekers.is_empty() {
            return Vec::new();
        }
        let mut folders: Vec<Folder> = self.folders.values().map(|entry| entry.to_folder(store)).collect();
        folders.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let (places, seekers): (Vec<usize>, Vec<Seeker<'_>>) = seekers.into_iter().unzip();
        let own = |seeker: usize| places.get(seeker).map_or(Holds::Nothing, |at| own(*at));
        let holds = |folder: &Folder| holds(store, &folder.name, right);
        let is_of_use = |seeker: usize, folder: &Folder| {
            let md = places.get(seeker).and_then(|at| mds.get(*at));
            md.is_some_and(|md| serves(store, &folder.name, md))
        };
        let found = lineage::find(&seekers, &folders, &holds, &own, &is_of_use);
        let entry = |(at, found): (&usize, Option<Found>)| {
            let Found { folder, help } = found?;
            Some((*at, self.folders.get(&folders.get(folder)?.name)?.clone(), help))
        };
        places.iter().zip(found).filter_map(entry).collect()
    }
}

impl Entry {
    /// Takes the names from the certificates where md.json has none.
    fn to_folder(&self, store: &StartStore) -> Folder {
        let md = self.json.as_ref().and_then(Md::from_json);
        let names = md.map(|md| md.domains).unwrap_or_else(|| {
            let chains = certificate_files_in(store, &self.folder)
                .into_iter()
                .filter_map(|file| store.read_chain(Group::Domains, &self.folder, &file).ok().flatten());
            chains.flat_map(|chain| chain.leaf().dns_names()).collect()
        });
        Folder { name: self.folder.clone(), names }
    }
}

/// An MD that has a folder of its name and looks for certificates.
fn seeker(md: &Md, host_names: Vec<String>) -> Seeker<'_> {
    Seeker { names: &md.domains, host_names, has_folder: true }
}

/// Whether it has none of its own. Another folder may lend it some.
fn has_no_certificate(store: &StartStore, md: &Md, stored: &StoredMd) -> bool {
    // The files of most MDs are known.
    let is_served = stored.folder == md.name && stored.certs.all().next().is_some();
    stored.is_home && !is_served && !md.has_static_files() && certificate_files_in(store, &md.name).is_empty()
}

/// Only a start that may change the store puts staged sets into use.
fn holds(store: &StartStore, folder: &str, right: Right) -> Holds {
    if !certificate_files_in(store, folder).is_empty() {
        Holds::Certificate
    } else if right == Right::Change && has_staged_set(store, folder) {
        Holds::StagedSet
    } else {
        Holds::Nothing
    }
}

/// Whether the set staged for `folder` has a name of this MD. One that cannot be read is reported when it is to come
/// into use.
fn serves(store: &StartStore, folder: &str, md: &Md) -> bool {
    let files = store.files(Group::Staging, folder).unwrap_or_default();
    let files = files.into_iter().filter(|file| KeySpec::of_file(file, "pubcert").is_some());
    let staged = files.filter_map(|file| store.read_chain(Group::Staging, folder, &file).ok()?);
    let chains: Vec<_> = staged.chain(published::chains(&store.worker(), folder)).collect();
    let covers = |pattern: &String| md.domains.iter().any(|name| names::covers(pattern, name));
    chains.is_empty() || chains.iter().any(|chain| chain.leaf().dns_names().iter().any(covers))
}

/// A folder that cannot be read has none that could be used.
fn certificate_files_in(store: &StartStore, folder: &str) -> Vec<String> {
    let mut files = store.files(Group::Domains, folder).unwrap_or_default();
    files.retain(|file| KeySpec::of_file(file, "pubcert").is_some());
    files
}

/// The folder in `domains` goes last: if the process dies in between, the next start finds it there and ends
/// the move. OCSP responses go along, for a must-staple site is not reached without one; so does what is
/// withdrawn, before any set that it is said of. Requests do not: whoever has asked asks again, by the new name.
fn rename(store: &StartStore, from: &str, to: &str) -> Result<(), Error> {
    withdrawn::take_over(store, from, to)?;
    take_staged(store, from, to)?;
    if store.exists(Group::Ocsp, from)? && !store.exists(Group::Ocsp, to)? {
        store.rename(Group::Ocsp, from, Group::Ocsp, to)?;
    }
    store.rename(Group::Domains, from, Group::Domains, to)?;
    crate::log!(
        Notice,
        "md[{to}]: takes over the certificates and the history of md[{from}], of which it has names"
    );
    Ok(())
}

/// The folder that has no more than a staged set stays behind without it. What is withdrawn comes first, as it
/// may be said of the set.
fn take_set(store: &StartStore, from: &str, to: &str) -> Result<(), Error> {
    withdrawn::take_over(store, from, to)?;
    take_staged(store, from, to)
}

/// Moves staged files along; a complete set also replaces an incomplete one.
fn take_staged(store: &StartStore, from: &str, to: &str) -> Result<(), Error> {
    if !store.exists(Group::Staging, from)? {
        return Ok(());
    }
    if store.exists(Group::Staging, to)? {
        if !has_staged_set(store, from) || has_staged_set(store, to) {
            return cleanup::merge_ledgers(store, from, to);
        }
        cleanup::merge_ledgers(store, to, from)?;
        store.purge(Group::Staging, to)?;
    }
    cleanup::sign_over(store, from, to)?;
    store.rename(Group::Staging, from, Group::Staging, to)
}

/// Whether a complete set waits in staging, or was served from there.
fn has_staged_set(store: &StartStore, name: &str) -> bool {
    let files = store.files(Group::Staging, name).unwrap_or_default();
    let is_finished = || {
        let job = store.read_json(Group::Staging, name, JOB_FILE).ok().flatten();
        job.and_then(|json| Job::from_json(name, &json)).is_some_and(|job| job.finished)
    };
    files.iter().any(|file| file == published::FILE)
        || (files.iter().any(|file| KeySpec::of_file(file, "pubcert").is_some()) && is_finished())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::answers::Folder;
    use crate::crypto::PrivateKey;
    use crate::crypto::fixture::{NOW, Wish};
    use crate::managed::bundle::{self, Bundle};
    use crate::managed::fixture::{CA_URL, Lab, md};
    use crate::managed::gate::Admitted;
    use crate::managed::staging::file;
    use crate::managed::withdrawn::{Entry, Why};
    use crate::model::State;
    use crate::model::ledger::{Cause, Issued, Ledger};
    use crate::startup::activate::{Activated, Activation};
    use crate::startup::fixture::{Started, look, started, sync};
    use crate::time::Timestamp;
    use serde_json::json;

    /// A whole start without activation.
    fn start(lab: &Lab, configured: &[Md]) -> Vec<Started> {
        let mut synced = sync(&lab.store, configured).unwrap();
        for entry in &mut synced {
            entry.save(&lab.store).unwrap();
        }
        synced
    }

    fn fingerprint(synced: &Started) -> Option<&str> {
        synced.certs[0].1.as_ref().map(|info| info.fingerprint.as_str())
    }

    #[test]
    fn a_second_start_writes_nothing() {
        let lab = Lab::new();
        let configured = [md(&["a.test", "www.a.test"]), md(&["*.b.test"])];
        lab.install(&configured[0]);
        start(&lab, &configured);
        let before = lab.files();
        let synced = start(&lab, &configured);
        assert_eq!(lab.files(), before);
        assert_eq!(synced[0].md.state, State::Complete);
        assert_eq!(synced[1].md.state, State::Incomplete);
        assert_eq!(synced[1].md.state_descr.as_deref(), Some("certificate(P-256) is missing"));
    }

    #[test]
    fn what_only_the_store_knows_is_kept_and_the_rest_is_as_configured() {
        let lab = Lab::new();
        let old = md(&["a.test", "b.test"]);
        let mut stored = old.to_json();
        stored["ca"] = json!({"account": "ACME-old-0001", "proto": "ACME", "url": "https://old.test/dir"});
        stored["unheard-of"] = json!([1]);
        stored["proto"] = json!({"acme-tls/1": ["a.test"]});
        lab.store.write_json(Group::Domains, "a.test", MD_FILE, &stored).unwrap();
        start(&lab, &[Md { domains: vec!["b.test".into(), "a.test".into()], must_staple: true, ..old }]);
        let found = lab.store.read_json(Group::Domains, "a.test", MD_FILE).unwrap().unwrap();
        assert_eq!(found["domains"], json!(["b.test", "a.test"]));
        assert_eq!(found["must-staple"], json!(true));
        assert_eq!(found["unheard-of"], json!([1]));
        assert_eq!(found["proto"]["acme-tls/1"], json!(["a.test"]));
        let ca = json!({"account": "ACME-old-0001", "proto": "ACME", "url": "https://old.test/dir", "urls": [CA_URL]});
        assert_eq!(found["ca"], ca);
    }

    #[test]
    fn an_md_finds_the_folder_it_had_under_another_name() {
        let lab = Lab::new();
        lab.install(&md(&["one.test", "x.test"]));
        let wanted = lab.install(&md(&["two.test", "a.test", "b.test"]));
        lab.store.write(Group::Staging, "two.test", "job.json", b"{}").unwrap();
        let synced = start(&lab, &[md(&["a.test", "b.test", "x.test"])]);
        assert_eq!(fingerprint(&synced[0]), Some(wanted.as_str()));
        assert!(lab.has("domains/a.test/md.json") && !lab.has("domains/two.test"));
        assert!(lab.has("staging/a.test/job.json") && !lab.has("staging/two.test"));
        assert!(lab.has("domains/one.test"), "data of a removed MD stay");
    }

    #[test]
    fn a_renamed_md_keeps_its_issuances_its_order_and_its_challenge_answers() {
        let issued = |seconds: i64| Issued {
            at: Timestamp::from_unix(1_800_000_000 + seconds),
            ca: "https://ca.test/dir".into(),
            cause: Cause::Window,
            order: "0a".into(),
            names: "0b".into(),
            lifetime: std::time::Duration::from_secs(120),
            certificates: 1,
            is_replacement: false,
        };
        let ledger_of = |lab: &Lab, name: &str| {
            let json = lab.store.read_json(Group::Staging, name, file::LEDGER).unwrap();
            Ledger::from_json(&json.unwrap())
                .entries()
                .iter()
                .map(|entry| entry.at.unix())
                .collect::<Vec<_>>()
        };
        let note = |lab: &Lab, name: &str, seconds: i64| {
            let mut ledger = Ledger::default();
            ledger.add(issued(seconds));
            lab.store.write_json(Group::Staging, name, file::LEDGER, &ledger.to_json()).unwrap();
        };
        // Something of the new name is in staging already, or the old one has a finished set there.
        for (is_there, is_finished) in [(false, false), (true, false), (true, true)] {
            let lab = Lab::new();
            let old = md(&["two.test", "a.test"]);
            lab.install(&old);
            note(&lab, "two.test", 0);
            lab.store.write_json(Group::Staging, "two.test", file::MD, &old.to_json()).unwrap();
            lab.store.write(Group::Staging, "two.test", file::ORDER, b"{}").unwrap();
            if is_there {
                note(&lab, "a.test", 1);
            }
            if is_finished {
                lab.store.write(Group::Staging, "two.test", published::FILE, b"{}").unwrap();
            }
            let folder = Folder { store: &lab.store, group: Group::Challenges, name: "a.test" };
            folder.put_http("two.test", "token.thumb").unwrap();
            start(&lab, &[md(&["a.test", "x.test"])]);
            let expected: &[i64] = if is_there { &[1_800_000_000, 1_800_000_001] } else { &[1_800_000_000] };
            assert_eq!(ledger_of(&lab, "a.test"), expected, "{is_there} {is_finished}");
            assert_eq!(lab.has("staging/a.test/order.json"), !is_there || is_finished);
            if !is_there || is_finished {
                assert_eq!(folder.owners(), ["a.test"], "{is_there} {is_finished}");
            }
        }
    }

    /// The names of its host are known to the only MD.
    fn host(names: &'static str) -> impl Fn(usize) -> Vec<String> {
        move |at| if at == 0 { names.split(' ').map(String::from).collect() } else { Vec::new() }
    }

    #[test]
    fn an_md_finds_the_folder_of_its_host_s_names_with_all_that_is_kept_of_it() {
        let lab = Lab::new();
        let mut old = md(&["a.test", "b.test"]);
        old.ca.account = Some("ACME-ca.test-0000".into());
        let wanted = lab.install(&old);
        for group in [Group::Staging, Group::Ocsp] {
            lab.store.write(group, "a.test", "job.json", b"{}").unwrap();
        }
        lab.store.write(Group::Archive, "a.test.1", "job.json", b"{}").unwrap();
        let hosts = host("c.test a.test b.test");
        let configured = [md(&["c.test"])];
        let looked = started(&configured, super::look(&lab.store, &[&configured[0]], &hosts).unwrap());
        assert_eq!(fingerprint(&looked[0]), Some(wanted.as_str()));
        let mut synced = started(&configured, super::sync(&lab.store, &[&configured[0]], &hosts).unwrap().0);
        assert_eq!(fingerprint(&synced[0]), Some(wanted.as_str()));
        assert_eq!(synced[0].md.ca.account, old.ca.account);
        assert!(synced[0].save(&lab.store).unwrap());
        for kept in
            ["domains/c.test/md.json", "staging/c.test/job.json", "ocsp/c.test/job.json", "archive/a.test.1"]
        {
            assert!(lab.has(kept), "{kept}");
        }
        for moved in ["domains/a.test", "staging/a.test", "ocsp/a.test"] {
            assert!(!lab.has(moved), "{moved}");
        }
    }

    #[test]
    fn a_folder_without_a_usable_md_json_is_found_by_its_certificate_names() {
        for content in [None, Some(&b"{garbage"[..]), Some(b"[]")] {
            let lab = Lab::new();
            let wanted = lab.install(&md(&["a.test", "b.test"]));
            lab.store.remove(Group::Domains, "a.test", MD_FILE).unwrap();
            if let Some(content) = content {
                lab.store.write(Group::Domains, "a.test", MD_FILE, content).unwrap();
            }
            let synced = start(&lab, &[md(&["b.test"])]);
            assert_eq!(fingerprint(&synced[0]), Some(wanted.as_str()));
            assert!(lab.has("domains/b.test/md.json") && !lab.has("domains/a.test"));
        }
    }

    #[test]
    fn an_md_without_a_certificate_uses_the_folder_of_its_other_names() {
        let lab = Lab::new();
        let wanted = lab.install(&md(&["a.test", "b.test"]));
        let configured = [md(&["c.test"])];
        lab.store.write_json(Group::Domains, "c.test", MD_FILE, &configured[0].to_json()).unwrap();
        let lender = || {
            let files = lab.files().into_iter();
            files.filter(|(path, _)| path.starts_with(lab.root().join("domains/a.test"))).collect::<Vec<_>>()
        };
        let before = lender();
        for is_first in [true, false] {
            let mut synced = started(
                &configured,
                super::sync(&lab.store, &[&configured[0]], &host("c.test a.test")).unwrap().0,
            );
            assert_eq!(fingerprint(&synced[0]), Some(wanted.as_str()));
            assert_eq!(synced[0].save(&lab.store).unwrap(), is_first, "its md.json is as configured");
            assert_eq!(lender(), before);
        }
        let own = lab.install(&configured[0]);
        let synced = started(
            &configured,
            super::sync(&lab.store, &[&configured[0]], &host("c.test a.test")).unwrap().0,
        );
        assert_eq!(fingerprint(&synced[0]), Some(own.as_str()));
        assert!(lab.has("domains/a.test"));
    }

    #[test]
    fn a_set_that_has_only_been_live_or_staged_goes_along_with_its_names() {
        let a = md(&["a.test", "b.test"]);
        // The MD is renamed, or merged into one that has a folder, with and without a failing renewal of its
        // own.
        for (is_live, has_folder, is_failing) in
            [true, false].into_iter().flat_map(|l| [(l, false, false), (l, true, false), (l, true, true)])
        {
            let lab = Lab::new();
            lab.store.write_json(Group::Domains, "a.test", MD_FILE, &a.to_json()).unwrap();
            let set = lab.set(&["a.test", "b.test"], &a.keys()[0]);
            match is_live {
                true => {
                    let set = Admitted::untried(vec![set]);
                    let set = published::Published::new(NOW, &a, &Job::new("a.test"), set);
                    set.write(&lab.store.worker(), "a.test").unwrap();
                    let job = Job::new("a.test").to_json();
                    lab.store.write_json(Group::Staging, "a.test", JOB_FILE, &job).unwrap();
                }
                false => drop(lab.stage(&a, &set)),
            }
            let merged = md(&["c.test", "a.test", "b.test"]);
            if has_folder {
                lab.store.write_json(Group::Domains, "c.test", MD_FILE, &md(&["c.test"]).to_json()).unwrap();
            }
            if is_failing {
                let job = Job { errors: 3, ..Job::new("c.test") };
                lab.store.write_json(Group::Staging, "c.test", JOB_FILE, &job.to_json()).unwrap();
            }
            start(&lab, std::slice::from_ref(&merged));
            let file = if is_live { published::FILE } else { "pubcert.p-256.pem" };
            assert!(lab.has(&format!("staging/c.test/{file}")), "{is_live} {has_folder} {is_failing}");
            // It is known to be ours under the new name.
            let mut synced = sync(&lab.store, &[merged]).unwrap();
            let mut activation = Activation::begin(&lab.store, &[&synced[0].md], NOW).unwrap();
            let activated = activation.activate_started(&mut synced[0], std::time::Duration::ZERO).unwrap();
            assert_eq!(activated, Activated::Done, "{is_live} {has_folder} {is_failing}");
        }
    }

    #[test]
    fn a_look_changes_nothing_and_finds_the_certificate_of_a_renamed_md() {
        let lab = Lab::new();
        let wanted = lab.install(&md(&["old.test", "a.test"]));
        let before = lab.files();
        let mut synced = look(&lab.store, &[md(&["a.test", "old.test"])]).unwrap();
        assert_eq!(fingerprint(&synced[0]), Some(wanted.as_str()));
        let (chain, _) = synced[0].certificate_files(&lab.store, &synced[0].md.keys()[0]).unwrap();
        assert!(chain.ends_with("domains/old.test/pubcert.p-256.pem"));
        assert!(!synced[0].save(&lab.store).unwrap());
        assert_eq!(synced[0].md.state, State::Complete);
        assert_eq!(lab.files(), before);
    }

    /// It does not put that set into use.
    #[test]
    fn a_look_finds_what_is_lent_to_an_md_with_a_staged_set() {
        let lab = Lab::new();
        let lent = lab.install(&md(&["old.test", "a.test"]));
        let configured = [md(&["a.test"]), md(&["new.test", "old.test"])];
        for md in &configured {
            lab.store.write_json(Group::Domains, &md.name, MD_FILE, &md.to_json()).unwrap();
        }
        lab.stage(&configured[0], &lab.set(&["a.test"], &configured[0].keys()[0]));
        let former = md(&["former.test", "a.test", "new.test", "old.test"]);
        lab.store.write_json(Group::Domains, "former.test", MD_FILE, &former.to_json()).unwrap();
        lab.stage(&former, &lab.set(&["new.test"], &former.keys()[0]));
        let before = lab.files();
        let looked = look(&lab.store, &configured).unwrap();
        assert_eq!(looked.iter().map(fingerprint).collect::<Vec<_>>(), [Some(lent.as_str()); 2]);
        assert_eq!(lab.files(), before);
    }

    #[test]
    fn the_folder_of_the_same_name_comes_first_and_is_given_to_one_md_only() {
        let lab = Lab::new();
        let a = lab.install(&md(&["a.test", "b.test", "c.test"]));
        let d = lab.install(&md(&["d.test"]));
        let synced = start(&lab, &[md(&["b.test", "c.test", "d.test"]), md(&["a.test"])]);
        assert_eq!(fingerprint(&synced[1]), Some(a.as_str()));
        assert_eq!(fingerprint(&synced[0]), Some(d.as_str()));
        let synced = start(&lab, &[md(&["x.test", "b.test"]), md(&["y.test", "c.test"]), md(&["a.test"])]);
        assert_eq!(fingerprint(&synced[0]), Some(d.as_str()));
        assert_eq!(fingerprint(&synced[1]), None);
    }

    #[test]
    fn a_rename_that_ends_anywhere_is_ended_by_the_next_start() {
        for steps in 0.. {
            let lab = Lab::new();
            let wanted = lab.install(&md(&["old.test", "a.test"]));
            lab.store.write(Group::Staging, "old.test", "job.json", b"{}").unwrap();
            lab.store.write(Group::Ocsp, "old.test", "job.json", b"{}").unwrap();
            let withdrawn = |name: &str, set: &Bundle| {
                let entry = Entry::new(set.chain.leaf(), Why::Revoked, false, NOW);
                withdrawn::change(&lab.store, name, NOW, |withdrawn| withdrawn.add(entry)).unwrap();
            };
            let [old, new] = [(); 2].map(|()| lab.set(&["a.test"], &KeySpec::Ec("P-256".into())));
            withdrawn("old.test", &old);
            withdrawn("a.test", &new);
            let configured = [md(&["a.test", "old.test"])];
            let dying = lab.dying(steps);
            let done = sync(&dying, &configured).unwrap()[0].problems.is_empty();
            let synced = start(&lab, &configured);
            assert_eq!(fingerprint(&synced[0]), Some(wanted.as_str()), "{steps}");
            assert!(lab.has("staging/a.test/job.json") && lab.has("ocsp/a.test/job.json"), "{steps}");
            let noted = withdrawn::read(&lab.store, "a.test", NOW);
            assert!([&old, &new].iter().all(|set| noted.entry(set.chain.leaf()).is_some()), "{steps}");
            assert!(!lab.has("withdrawn/old.test.json"), "{steps}");
            if done {
                assert!(steps > 2);
                return;
            }
        }
    }

    #[test]
    fn broken_parts_of_one_md_are_reported_and_replaced() {
        let lab = Lab::new();
        let configured = [md(&["a.test"]), md(&["b.test"]), md(&["c.test"]), md(&["d.test"])];
        configured.iter().for_each(|md| drop(lab.install(md)));
        lab.store.write(Group::Domains, "a.test", MD_FILE, b"{garbage").unwrap();
        lab.store.write(Group::Domains, "b.test", "pubcert.p-256.pem", b"garbage").unwrap();
        let other = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        lab.store.write_key(Group::Domains, "c.test", "privkey.p-256.pem", &other).unwrap();
        let synced = start(&lab, &configured);
        assert!(synced[0].problems[0].contains("domains/a.test/md.json is damaged"));
        assert_eq!(synced[0].md.state, State::Complete);
        assert!(synced[1].problems[0].contains("domains/b.test/pubcert.p-256.pem is damaged"));
        assert_eq!(synced[1].md.state, State::Incomplete);
        assert_eq!(synced[2].problems, ["certificate(P-256) does not belong to its private key"]);
        assert_eq!(synced[3].problems, [""; 0]);
        assert_eq!(start(&lab, &configured)[0].problems, [""; 0]);
    }

    #[test]
    fn a_stranger_in_place_of_an_md_s_folder_does_not_stop_the_others() {
        let lab = Lab::new();
        std::fs::write(lab.root().join("domains/a.test"), "x").unwrap();
        std::fs::write(lab.root().join("staging/b.test"), "x").unwrap();
        lab.store.write(Group::Tmp, "a.test", MD_FILE, b"{}").unwrap();
        let mut synced = sync(&lab.store, &[md(&["a.test"]), md(&["b.test"])]).unwrap();
        assert!(synced[0].save(&lab.store).is_err());
        assert!(synced[1].save(&lab.store).unwrap());
    }

    #[test]
    fn static_files_are_looked_at_where_they_lie() {
        let lab = Lab::new();
        let set = lab.set(&["a.test"], &KeySpec::Ec("P-256".into()));
        let both = [set.chain.to_pem(), set.key.to_pem().unwrap().to_vec()].concat();
        let path = lab.root().join("both.pem");
        std::fs::write(&path, both).unwrap();
        let (good, none) = (path.display().to_string(), lab.root().join("none.pem").display().to_string());
        let configured = Md { cert_files: vec![good, none], ..md(&["a.test"]) };
        let synced = start(&lab, &[configured]);
        assert_eq!(fingerprint(&synced[0]), Some(set.info.fingerprint.as_str()));
        assert_eq!(synced[0].certs[0].0, KeySpec::Ec("P-256".into()));
        assert!(synced[0].problems[0].ends_with("none.pem does not exist"));
        assert_eq!(synced[0].md.state_descr.as_deref(), Some("certificate(rsa) is missing"));
    }

    #[test]
    fn an_expired_set_is_complete() {
        let lab = Lab::new();
        let configured = [md(&["a.test"])];
        let wish = Wish { names: &["a.test"], until: Timestamp::from_unix(1_000_000_000), ..Wish::default() };
        let set = lab.set_like(&wish, &configured[0].keys()[0]);
        bundle::write(&lab.store, Group::Domains, "a.test", &set).unwrap();
        assert_eq!(start(&lab, &configured)[0].md.state, State::Complete);
    }

    #[test]
    fn mod_ssl_gets_chain_and_key_of_each_kind() {
        let lab = Lab::new();
        let synced = look(&lab.store, &[md(&["*.a.test"])]).unwrap().remove(0);
        let (chain, key) = synced.certificate_files(&lab.store, &KeySpec::default()).unwrap();
        assert_eq!(chain, lab.root().join("domains/*.a.test/pubcert.pem"));
        assert_eq!(key, lab.root().join("domains/*.a.test/privkey.pem"));
    }
}
