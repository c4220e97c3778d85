//! Puts complete sets from `staging` into use when httpd starts.
//!
//! A set is checked, assembled in `tmp` and swapped in: the folder in `domains` goes to `archive`, the one
//! in `tmp` takes its place. The process may die between any two steps: what is still staged is activated
//! by the next start, and where `domains` was left empty, [`recover`] ends the swap. Staging is emptied last.

use super::account::Accounts;
use super::fallback;
use super::live;
use super::restart;
use super::set::{self, Flaw, JOB_FILE, KeyedSet, MD_FILE};
use super::state::is_good;
use super::sync::SyncedMd;
use crate::model::{Job, Md};
use crate::store::{Error, Group, StartStore};
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// What became of a staged set.
#[derive(Debug, PartialEq)]
pub enum Activated {
    /// There is none.
    Nothing,
    /// Its job is not finished.
    Unfinished,
    /// It is complete, but to be used only from then on.
    Waiting(Timestamp),
    /// It is in use.
    Done,
    /// It could not be used, for this reason, and was purged.
    Damaged(String),
}

/// The activation of all MDs in one start.
pub struct Activation<'s> {
    store: &'s StartStore,
    accounts: Accounts,
    /// The accounts that were found in staging, by MD: the directory URL of their CA, and their folder.
    adopted: HashMap<String, Vec<(String, String)>>,
    staged: HashSet<String>,
    /// The highest number in the archive, by MD.
    archived: HashMap<String, u32>,
}

/// A set that passed every check.
struct Staged {
    job: Value,
    md: Md,
    sets: Vec<KeyedSet>,
}

impl Staged {
    fn is_same(&self, other: &Staged) -> bool {
        let own = self.sets.iter().map(|set| &set.info.fingerprint);
        own.eq(other.sets.iter().map(|set| &set.info.fingerprint))
    }

    fn waits_until(&self, synced: &SyncedMd, now: Timestamp, delay: Duration) -> Option<Timestamp> {
        let start = self.sets.iter().map(|set| live::usable_from(&set.info, delay)).max()?;
        (now < start && is_good(&synced.md, &synced.certs, now)).then_some(start)
    }
}

impl<'s> Activation<'s> {
    /// Looks at staging, accounts and archive, and moves the accounts that wait in staging.
    pub fn begin(store: &'s StartStore) -> Result<Self, Error> {
        let mut accounts = Accounts::read(store)?;
        let mut adopted = HashMap::new();
        let staged = store.names(Group::Staging)?;
        for name in &staged {
            match accounts.adopt(store, name) {
                Ok(accounts) => drop(adopted.insert(name.clone(), accounts)),
                Err(e) => crate::log!(Warn, "{name}: the new ACME account cannot be kept: {e}"),
            }
        }
        let mut archived = HashMap::new();
        for (name, number) in store.names(Group::Archive)?.iter().filter_map(|folder| archive_number(folder))
        {
            let highest = archived.entry(name.to_string()).or_default();
            *highest = number.max(*highest);
        }
        Ok(Activation { store, accounts, adopted, staged: staged.into_iter().collect(), archived })
    }

    /// Puts the staged set of an MD into use, if there is one. One that takes the place of good certificates
    /// has to be valid for at least `delay`. `synced` then says what is in use. An error leaves staging as it is, for the next start.
    pub fn activate(
        &mut self,
        synced: &mut SyncedMd,
        now: Timestamp,
        delay: Duration,
    ) -> Result<Activated, Error> {
        let name = synced.md.name.clone();
        if !self.staged.contains(&name) {
            return Ok(Activated::Nothing);
        }
        if self.store.modified(Group::Staging, &name, JOB_FILE).is_ok_and(|time| time.is_none()) {
            // A purge that was interrupted: by name, the job goes before the files of the set.
            restart::purge(self.store, &name)?;
            return Ok(Activated::Nothing);
        }
        let staged = self.load(&synced.md, now);
        let live = self.load_live(&synced.md, now)?;
        let is_same = matches!((&staged, &live), (Ok(Some(staged)), Some(live)) if staged.is_same(live));
        let live = live.filter(|_| !is_same);
        if let Some(live) = &live {
            self.put_in_use(synced, live)?;
        }
        let activated = match staged {
            // What has been live does not wait.
            Ok(Some(staged)) if !is_same && let Some(start) = staged.waits_until(synced, now, delay) => {
                Activated::Waiting(start)
            }
            Ok(Some(staged)) => {
                self.put_in_use(synced, &staged)?;
                for domain in &synced.md.domains {
                    // Challenge folders carry the plain name of a wildcard.
                    self.store.purge(Group::Challenges, domain.strip_prefix("*.").unwrap_or(domain))?;
                }
                restart::purge(self.store, &name)?;
                return Ok(Activated::Done);
            }
            Ok(None) => Activated::Unfinished,
            Err(Flaw::Store(error @ Error::Io { .. })) => return Err(error),
            Err(flaw) => {
                restart::purge(self.store, &name)?;
                Activated::Damaged(flaw.to_string())
            }
        };
        // A renewal is under way; what was live meanwhile has its place in `domains` now.
        self.store.remove(Group::Staging, &name, live::FILE)?;
        match (live, activated) {
            (None, activated) => Ok(activated),
            (Some(_), Activated::Damaged(reason)) => {
                crate::log!(Error, "AH10069: {name}: error loading staged set, purging it: {reason}");
                Ok(Activated::Done)
            }
            (Some(_), _) => Ok(Activated::Done),
        }
    }

    /// Afterwards `domains` has the set, and `synced` says so.
    fn put_in_use(&mut self, synced: &mut SyncedMd, staged: &Staged) -> Result<(), Error> {
        let name = synced.md.name.clone();
        self.name_ca(&mut synced.md, &staged.md);
        synced.certs = staged.sets.iter().map(|set| (set.spec.clone(), Some(set.info.clone()))).collect();
        synced.assess();
        if !self.is_live(&name, &staged.sets) {
            let json = synced.md.to_json();
            self.assemble(&name, &json, staged)?;
            self.swap(&name)?;
            synced.stored = Some(json);
            synced.folder.clone_from(&name);
        }
        Ok(())
    }

    /// The set that was served without a restart. One that cannot be used is reported and is as good as none.
    fn load_live(&self, md: &Md, now: Timestamp) -> Result<Option<Staged>, Error> {
        match live::read(self.store, Group::Staging, md, now) {
            Ok(published) => Ok(published.map(|live| Staged { job: live.job, md: live.md, sets: live.sets })),
            Err(Flaw::Store(error @ Error::Io { .. })) => Err(error),
            Err(flaw) => {
                crate::log!(Warn, "{}: the set that was live cannot be used any more: {flaw}", md.name);
                Ok(None)
            }
        }
    }

    /// Reads and checks the staged set against the MD as it is configured now.
    fn load(&self, md: &Md, now: Timestamp) -> Result<Option<Staged>, Flaw> {
        let Some(job) = self.store.read_json(Group::Staging, &md.name, JOB_FILE)? else { return Ok(None) };
        if !Job::from_json(&md.name, &job).is_some_and(|job| job.finished) {
            return Ok(None);
        }
        let staged_md = self.store.read_json(Group::Staging, &md.name, MD_FILE)?;
        let staged_md = staged_md.as_ref().and_then(Md::from_json).ok_or(Flaw::NoMd)?;
        let mut sets = Vec::new();
        for spec in md.keys() {
            let set = set::load(self.store, Group::Staging, &md.name, &spec)?;
            set.check(md, now)?;
            sets.push(set);
        }
        Ok(Some(Staged { job, md: staged_md, sets }))
    }

    /// Notes which CA issued the set, and for which account.
    fn name_ca(&self, md: &mut Md, staged: &Md) {
        let known = |folder: &&String| self.accounts.contains(folder);
        let staged_url = staged.ca.url.clone();
        let shared = || self.accounts.find(staged_url.as_deref()?, md).map(String::from);
        let adopted = self.adopted.get(&md.name).into_iter().flatten();
        let adopted =
            adopted.filter(|(ca, _)| Some(ca) == staged_url.as_ref()).map(|(_, folder)| folder).next();
        let account = adopted.or(staged.ca.account.as_ref().filter(known)).cloned();
        let account = account.or_else(shared);
        if staged.ca.url.is_some() {
            md.ca.account = account.or_else(|| md.ca.account.take().filter(|_| md.ca.url == staged.ca.url));
            md.ca.url.clone_from(&staged.ca.url);
        }
    }

    /// Whether the process died after the swap, before staging was emptied.
    fn is_live(&self, name: &str, sets: &[KeyedSet]) -> bool {
        sets.iter().all(|staged| {
            set::load(self.store, Group::Domains, name, &staged.spec)
                .is_ok_and(|live| live.info.fingerprint == staged.info.fingerprint)
        })
    }

    /// md.json is written last: a folder in `tmp` that has one is complete.
    fn assemble(&self, name: &str, json: &Value, staged: &Staged) -> Result<(), Error> {
        self.store.purge(Group::Tmp, name)?;
        for set in &staged.sets {
            set::write(self.store, Group::Tmp, name, set)?;
        }
        self.store.write_json(Group::Tmp, name, JOB_FILE, &staged.job)?;
        self.store.write_json(Group::Tmp, name, MD_FILE, json)
    }

    fn swap(&mut self, name: &str) -> Result<(), Error> {
        let mut archived = None;
        if self.store.exists(Group::Domains, name)? {
            let number = self.archived.entry(name.to_string()).or_default();
            *number += 1;
            let folder = format!("{name}.{number}");
            self.store.rename(Group::Domains, name, Group::Archive, &folder)?;
            archived = Some(folder);
        }
        let swapped = self.store.rename(Group::Tmp, name, Group::Domains, name);
        if let (Err(_), Some(folder)) = (&swapped, archived) {
            // Better the old set than none, for this start.
            self.store.rename(Group::Archive, &folder, Group::Domains, name)?;
        }
        swapped
    }
}

/// Ends swaps in which the process died: where `domains` has nothing for a name and `tmp` has its complete
/// set, that is put into use; where the set in `tmp` got damaged, the archived one comes back.
pub(super) fn recover(store: &StartStore) -> Result<(), Error> {
    for name in store.names(Group::Tmp)? {
        match recover_one(store, &name) {
            Ok(None) => {}
            Ok(Some(group)) => crate::log!(
                Notice,
                "{name}: its last activation was interrupted; what was in {}/ is in use now",
                group.dir_name()
            ),
            Err(e) => {
                crate::log!(Error, "{name}: its last activation was interrupted and cannot be ended: {e}")
            }
        }
    }
    Ok(())
}

/// Tells where the set in use came from, if anything had to be done.
fn recover_one(store: &StartStore, name: &str) -> Result<Option<Group>, Error> {
    if !is_vacant(store, name)? {
        return Ok(None);
    }
    let source = match store.read_json(Group::Tmp, name, MD_FILE) {
        // Not from a swap: the C module leaves a job.json here.
        Ok(None) => None,
        Ok(Some(json)) if is_complete(store, name, &json) => Some((Group::Tmp, name.to_string())),
        _ => newest_archived(store, name)?.map(|folder| (Group::Archive, folder)),
    };
    if let Some((group, folder)) = &source {
        store.purge(Group::Domains, name)?;
        store.rename(*group, folder, Group::Domains, name)?;
    }
    Ok(source.map(|(group, _)| group))
}

/// Whether `domains` has nothing for a name, or no more than what was made meanwhile to show anything at all.
fn is_vacant(store: &StartStore, name: &str) -> Result<bool, Error> {
    let files = store.files(Group::Domains, name)?;
    let exists = || store.exists(Group::Domains, name);
    Ok(if files.is_empty() { !exists()? } else { files.iter().all(|file| fallback::is_of_fallback(file)) })
}

fn is_complete(store: &StartStore, name: &str, json: &Value) -> bool {
    let keys = Md::from_json(json).map(|md| md.keys()).unwrap_or_default();
    !keys.is_empty() && keys.iter().all(|spec| set::load(store, Group::Tmp, name, spec).is_ok())
}

fn newest_archived(store: &StartStore, name: &str) -> Result<Option<String>, Error> {
    let folders = store.names(Group::Archive)?;
    let numbered = folders.iter().filter_map(|folder| archive_number(folder));
    let newest = numbered.filter(|(archived, _)| *archived == name).map(|(_, number)| number).max();
    Ok(newest.map(|number| format!("{name}.{number}")))
}

fn archive_number(folder: &str) -> Option<(&str, u32)> {
    let (name, number) = folder.rsplit_once('.')?;
    Some((name, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{CA_URL, Lab, account, md};
    use super::super::sync::{finish, look, sync};
    use super::*;
    use crate::crypto::Chain;
    use crate::crypto::fixture::{Ca, NOW, Wish};
    use crate::model::{KeySpec, State};
    use crate::time::DAY;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A whole start.
    fn start(store: &StartStore, configured: &[Md]) -> Result<Vec<(SyncedMd, Activated)>, Error> {
        let synced = sync(store, configured)?;
        let mut activation = Activation::begin(store)?;
        let mut started = Vec::new();
        for mut md in synced {
            let activated = activation.activate(&mut md, NOW, Duration::ZERO)?;
            finish(store, &mut md)?;
            started.push((md, activated));
        }
        Ok(started)
    }

    fn live(lab: &Lab, name: &str) -> Option<String> {
        let spec = KeySpec::Ec("P-256".into());
        set::load(&lab.store, Group::Domains, name, &spec).ok().map(|set| set.info.fingerprint)
    }

    fn spec() -> KeySpec {
        KeySpec::Ec("P-256".into())
    }

    #[test]
    fn a_finished_set_is_put_into_use_and_the_old_one_archived() {
        let lab = Lab::new();
        let a = md(&["a.test", "*.b.test"]);
        let old = lab.install(&a);
        lab.store.write(Group::Archive, "a.test.7", "x", b"x").unwrap();
        lab.store.write(Group::Tmp, "a.test", "job.json", b"left by the C module").unwrap();
        let new = lab.stage(&a, &lab.set(&["a.test", "*.b.test"], &spec()));
        lab.stage_account("a.test", &account(1));
        for name in ["a.test", "b.test"] {
            lab.store.write(Group::Challenges, name, "acme-http-01.txt", b"x").unwrap();
        }
        let (synced, activated) = start(&lab.store, &[a]).unwrap().remove(0);
        assert_eq!(activated, Activated::Done);
        assert_eq!(live(&lab, "a.test"), Some(new.clone()));
        assert_eq!(synced.certs[0].1.as_ref().unwrap().fingerprint, new);
        assert_eq!(synced.md.state, State::Complete);
        let archived = set::load(&lab.store, Group::Archive, "a.test.8", &spec()).unwrap();
        assert_eq!(archived.info.fingerprint, old);
        for gone in ["staging/a.test", "tmp/a.test", "challenges/a.test", "challenges/b.test"] {
            assert!(!lab.has(gone), "{gone}");
        }
        let domain = lab.root().join("domains/a.test");
        for file in ["md.json", "job.json", "privkey.p-256.pem", "pubcert.p-256.pem"] {
            assert_eq!(
                fs::metadata(domain.join(file)).unwrap().permissions().mode() & 0o777,
                0o600,
                "{file}"
            );
        }
        let key = fs::read_to_string(domain.join("privkey.p-256.pem")).unwrap();
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"));
        let json = lab.store.read_json(Group::Domains, "a.test", MD_FILE).unwrap().unwrap();
        assert_eq!(json["ca"]["account"], "ACME-ca.test-0000");
        assert_eq!(json["ca"]["url"], CA_URL);
        assert_eq!(json["state"], 2);
    }

    #[test]
    fn an_md_without_an_account_of_its_own_takes_the_one_it_shares() {
        let lab = Lab::new();
        let configured = [md(&["a.test"]), md(&["b.test"])];
        for md in &configured {
            lab.stage(md, &lab.set(&[&md.name], &spec()));
        }
        lab.stage_account("b.test", &account(1));
        let started = start(&lab.store, &configured).unwrap();
        for (synced, _) in &started {
            assert_eq!(synced.md.ca.account.as_deref(), Some("ACME-ca.test-0000"));
        }
        assert_eq!(lab.store.names(Group::Accounts).unwrap().len(), 1);
    }

    #[test]
    fn an_account_is_kept_even_where_its_job_is_not_finished() {
        let lab = Lab::new();
        lab.stage_account("a.test", &account(1));
        lab.store.write_json(Group::Staging, "a.test", JOB_FILE, &Job::new("a.test").to_json()).unwrap();
        let (_, activated) = start(&lab.store, &[md(&["a.test"])]).unwrap().remove(0);
        assert_eq!(activated, Activated::Unfinished);
        assert!(lab.has("accounts/ACME-ca.test-0000/account.pem"));
        assert!(lab.has("staging/a.test/account.pem"));
    }

    #[test]
    fn leftovers_without_a_job_are_removed() {
        let lab = Lab::new();
        lab.stage(&md(&["a.test"]), &lab.set(&["a.test"], &spec()));
        lab.store.remove(Group::Staging, "a.test", JOB_FILE).unwrap();
        let (_, activated) = start(&lab.store, &[md(&["a.test"])]).unwrap().remove(0);
        assert_eq!(activated, Activated::Nothing);
        assert!(!lab.has("staging/a.test"));
    }

    #[test]
    fn a_renewed_set_that_is_not_valid_for_long_enough_waits() {
        let lab = Lab::new();
        let a = md(&["a.test"]);
        let old = lab.install(&a);
        lab.stage(&a, &lab.set(&["a.test"], &spec()));
        let mut synced = sync(&lab.store, &[a]).unwrap().remove(0);
        let mut activation = Activation::begin(&lab.store).unwrap();
        let activated = activation.activate(&mut synced, NOW, DAY * 2).unwrap();
        assert_eq!(activated, Activated::Waiting(NOW.plus(DAY)));
        assert_eq!(live(&lab, "a.test"), Some(old));
        assert_eq!(activation.activate(&mut synced, NOW, DAY).unwrap(), Activated::Done);
    }

    #[test]
    fn a_set_waits_for_nothing_where_there_is_no_good_one_in_use() {
        let (a, more) = (md(&["a.test"]), md(&["a.test", "b.test"]));
        let first = Lab::new();
        let uncovered = Lab::new();
        uncovered.install(&a);
        for lab in [first, uncovered] {
            lab.stage(&more, &lab.set(&["a.test", "b.test"], &spec()));
            let mut synced = sync(&lab.store, std::slice::from_ref(&more)).unwrap().remove(0);
            let activated = Activation::begin(&lab.store).unwrap().activate(&mut synced, NOW, DAY * 2);
            assert_eq!(activated.unwrap(), Activated::Done);
        }
    }

    /// What becomes of a set after `spoil`; the old one must stay in use.
    fn damage(lab: &Lab, spoil: impl FnOnce(&Lab)) -> String {
        let a = md(&["a.test"]);
        let old = live(lab, "a.test").unwrap_or_else(|| lab.install(&a));
        lab.stage(&a, &lab.set(&["a.test"], &spec()));
        spoil(lab);
        let (_, activated) = start(&lab.store, &[a]).unwrap().remove(0);
        assert_eq!(live(lab, "a.test"), Some(old));
        assert!(!lab.has("staging/a.test"));
        match activated {
            Activated::Damaged(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_damaged_set_is_purged_and_the_old_one_stays() {
        let lab = Lab::new();
        let write = |file: &'static str| {
            move |lab: &Lab| lab.store.write(Group::Staging, "a.test", file, b"{").unwrap()
        };
        for file in ["job.json", "privkey.p-256.pem", "pubcert.p-256.pem"] {
            assert!(damage(&lab, write(file)).contains(file));
        }
        assert!(damage(&lab, write("md.json")).contains("md.json"));
        let stage = |set: KeyedSet| move |lab: &Lab| drop(lab.stage(&md(&["a.test"]), &set));
        let reason = damage(&lab, stage(lab.set(&["b.test"], &spec())));
        assert_eq!(reason, "certificate(P-256) does not cover all domains");
        let expired = Wish { names: &["a.test"], until: NOW, ..Wish::default() };
        let reason = damage(&lab, stage(lab.set_like(&expired, &spec())));
        assert_eq!(reason, "certificate(P-256) has expired at Fri, 15 Jan 2027 08:00:00 GMT");
        let mut disorder = lab.set(&["a.test"], &spec());
        let chain = vec![disorder.chain.leaf().clone(), Ca::new("Other").certificate().clone()];
        disorder.chain = Chain::new(chain).unwrap();
        assert_eq!(damage(&lab, stage(disorder)), "the chain of certificate(P-256) is not in order");
        let mut mismatch = lab.set(&["a.test"], &spec());
        mismatch.key = lab.set(&["a.test"], &spec()).key;
        assert_eq!(damage(&lab, stage(mismatch)), "certificate(P-256) does not belong to its private key");
        let reason =
            damage(&lab, |lab| lab.store.remove(Group::Staging, "a.test", "pubcert.p-256.pem").unwrap());
        assert_eq!(reason, "certificate(P-256) is missing");
    }

    #[test]
    fn a_link_planted_in_staging_is_not_followed() {
        let lab = Lab::new();
        let outside = lab.root().join("outside.pem");
        fs::write(&outside, "x").unwrap();
        let reason = damage(&lab, |lab| {
            let file = lab.root().join("staging/a.test/pubcert.p-256.pem");
            fs::remove_file(&file).unwrap();
            symlink(&outside, file).unwrap();
        });
        assert!(reason.contains("it is a symbolic link"));
        assert_eq!(fs::read_to_string(&outside).unwrap(), "x");
    }

    /// Lets the process die before every single step of a start, and checks the next one.
    fn die_at_every_step(with_old: bool) {
        for steps in 0.. {
            let lab = Lab::new();
            let configured = [md(&["a.test"])];
            let old = with_old.then(|| lab.install(&configured[0]));
            let new = lab.stage(&configured[0], &lab.set(&["a.test"], &spec()));
            lab.stage_account("a.test", &account(1));
            let done = start(&lab.dying(steps), &configured).is_ok();

            let synced = sync(&lab.store, &configured).unwrap();
            let found = synced[0].certs[0].1.as_ref().map(|info| info.fingerprint.clone());
            assert!(found == old || found.as_ref() == Some(&new), "{steps}");
            let (synced, activated) = start(&lab.store, &configured).unwrap().remove(0);
            assert!(!matches!(activated, Activated::Damaged(_)), "{steps} {activated:?}");
            assert_eq!(live(&lab, "a.test"), Some(new), "{steps}");
            assert_eq!(synced.md.ca.account.as_deref(), Some("ACME-ca.test-0000"), "{steps}");
            assert_eq!(synced.md.state, State::Complete);
            assert_eq!(lab.store.names(Group::Accounts).unwrap().len(), 1, "{steps}");
            assert!(!lab.has("staging/a.test"), "{steps}");
            if let Some(old) = old {
                assert_eq!(lab.store.names(Group::Archive).unwrap(), ["a.test.1"], "{steps}");
                let archived = set::load(&lab.store, Group::Archive, "a.test.1", &spec()).unwrap();
                assert_eq!(archived.info.fingerprint, old);
            }
            if done {
                assert!(steps > 30);
                return;
            }
        }
    }

    #[test]
    fn a_start_that_dies_anywhere_leaves_the_old_set_or_the_new_one() {
        die_at_every_step(true);
    }

    #[test]
    fn a_first_set_survives_a_start_that_dies_anywhere() {
        die_at_every_step(false);
    }

    #[test]
    fn the_archived_set_comes_back_where_the_swap_cannot_be_ended() {
        let lab = Lab::new();
        let a = md(&["a.test"]);
        let old = lab.install(&a);
        lab.store.rename(Group::Domains, "a.test", Group::Archive, "a.test.10").unwrap();
        lab.store.write(Group::Archive, "a.test.9", "x", b"x").unwrap();
        lab.store.write_json(Group::Tmp, "a.test", MD_FILE, &a.to_json()).unwrap();
        start(&lab.store, &[a]).unwrap();
        assert_eq!(live(&lab, "a.test"), Some(old));
        assert!(!lab.has("archive/a.test.10") && lab.has("archive/a.test.9"));
    }

    #[test]
    fn a_swap_is_ended_where_a_fallback_was_made_meanwhile() {
        let lab = Lab::new();
        let a = md(&["a.test"]);
        let old = lab.install(&a);
        lab.store.rename(Group::Domains, "a.test", Group::Tmp, "a.test").unwrap();
        let looked = look(&lab.store, std::slice::from_ref(&a)).unwrap().remove(0);
        fallback::files(&lab.store, &looked, &spec(), NOW).unwrap();
        start(&lab.store, &[a]).unwrap();
        assert_eq!(live(&lab, "a.test"), Some(old));
    }

    #[test]
    fn a_set_that_the_admin_removed_does_not_come_back() {
        let lab = Lab::new();
        let a = md(&["a.test"]);
        lab.install(&a);
        lab.store.rename(Group::Domains, "a.test", Group::Archive, "a.test.1").unwrap();
        lab.store.write(Group::Tmp, "a.test", JOB_FILE, b"{}").unwrap();
        start(&lab.store, &[a]).unwrap();
        assert_eq!(live(&lab, "a.test"), None);
        assert!(lab.has("archive/a.test.1"));
    }

    fn publish(lab: &Lab, md: &Md, set: KeyedSet) -> String {
        let fingerprint = set.info.fingerprint.clone();
        let set = live::Published::new(NOW, md, &Job::new(&md.name), vec![set]);
        set.write(&lab.store.worker(), &md.name).unwrap();
        fingerprint
    }

    #[test]
    fn what_was_live_comes_into_use_while_the_next_renewal_goes_on() {
        let lab = Lab::new();
        let a = md(&["a.test"]);
        lab.install(&a);
        let served = publish(&lab, &a, lab.set(&["a.test"], &a.keys()[0]));
        lab.store.write_json(Group::Staging, "a.test", JOB_FILE, &Job::new("a.test").to_json()).unwrap();
        let started = start(&lab.store, &[a]).unwrap();
        assert_eq!(started[0].1, Activated::Done);
        assert_eq!(live(&lab, "a.test"), Some(served));
        assert!(lab.has("staging/a.test/job.json"), "the renewal under way stays");
        assert!(!lab.has("staging/a.test/live.json"));
        assert!(lab.has("archive/a.test.1"));
    }

    #[test]
    fn what_was_live_comes_into_use_where_the_newer_set_is_damaged_or_has_to_wait() {
        let a = md(&["a.test"]);
        for (is_damaged, delay) in [(true, Duration::ZERO), (false, DAY * 99)] {
            let lab = Lab::new();
            lab.install(&a);
            lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
            if is_damaged {
                lab.store.write(Group::Staging, "a.test", "pubcert.p-256.pem", b"garbage").unwrap();
            }
            let served = publish(&lab, &a, lab.set(&["a.test"], &a.keys()[0]));
            let mut synced = sync(&lab.store, std::slice::from_ref(&a)).unwrap();
            let activated =
                Activation::begin(&lab.store).unwrap().activate(&mut synced[0], NOW, delay).unwrap();
            assert_eq!(activated, Activated::Done);
            assert_eq!(live(&lab, "a.test"), Some(served));
            assert_eq!(lab.has("staging/a.test/md.json"), !is_damaged);
        }
    }

    #[test]
    fn a_live_set_that_cannot_be_used_is_as_good_as_none() {
        let lab = Lab::new();
        let a = md(&["a.test"]);
        let old = lab.install(&a);
        lab.store.write(Group::Staging, "a.test", live::FILE, b"{\"sets\": []}").unwrap();
        lab.store.write_json(Group::Staging, "a.test", JOB_FILE, &Job::new("a.test").to_json()).unwrap();
        let started = start(&lab.store, &[a]).unwrap();
        assert_eq!(started[0].1, Activated::Unfinished);
        assert_eq!(live(&lab, "a.test"), Some(old));
    }
}
