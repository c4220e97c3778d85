// SPDX-License-Identifier: Apache-2.0
//! Repairs the traces of earlier starts: a swap during which the process died, and a set with which mod_ssl
//! ended the start.

use super::fallback;
use super::swap::{Archive, archive_number};
use crate::crypto::Chain;
use crate::managed::bundle;
use crate::managed::bundle::{Bundle, Flaw, JOB_FILE, MD_FILE};
use crate::managed::staging::file;
use crate::managed::staging::file::{CHAIN_STEM, KEY_STEM};
use crate::model::{Job, KeySpec, Md, Outcome, Trial};
use crate::renew::decide::remedies;
use crate::startup::ended_starts::EndedStarts;
use crate::store::{Error, Group, Note, StartStore};
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A set that a start has put into use, or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSet {
    /// Fingerprints of its certificates: by hand there may come others. Of a set that is about to come into use they
    /// are those of all that staging has, of which it uses some.
    pub leaves: Vec<String>,
    /// The folder in the archive that has the set before.
    pub archived: Option<String>,
}

/// Those that no start has come up with yet, by MD.
pub type OnTrial = BTreeMap<String, NewSet>;

/// Notes the sets on trial in the store, with the lock of [`StartStore::lock_trial`], so that the next start
/// finds out where this one ended.
pub(super) fn write_trial(store: &StartStore, sets: &OnTrial) -> Result<(), Error> {
    let entry = |(name, set): (&String, &NewSet)| {
        (name.clone(), json!({"certs": set.leaves, "archived": set.archived}))
    };
    store.write_note(Note::Trial, &Value::Object(sets.iter().map(entry).collect()))
}

/// Begins a trial, with that lock. Returns the sets of an earlier one that are in use and not loaded yet, as far as
/// its note can be read.
pub(super) fn begin_trial(store: &StartStore) -> Result<OnTrial, Error> {
    let note = store.read_note(Note::Trial).ok().flatten();
    let mut earlier = note.as_ref().map(on_trial).unwrap_or_default();
    earlier.retain(|name, set| is_under_way(store, name, set));
    // The next start reverts one of these with which mod_ssl has ended one.
    let loading = store.read_note(Note::Loading).ok().flatten();
    if !loading.as_ref().and_then(name_of).is_some_and(|name| earlier.contains_key(name)) {
        store.remove_note(Note::Loading)?;
    }
    Ok(earlier)
}

fn name_of(loading: &Value) -> Option<&str> {
    loading.get("name").and_then(Value::as_str)
}

/// mod_ssl is about to load the set of this MD for a host.
pub fn note_loading(store: &StartStore, name: &str) -> Result<(), Error> {
    store.write_note(Note::Loading, &json!({"name": name}))
}

/// It has loaded it.
pub fn note_loaded(store: &StartStore) -> Result<(), Error> {
    store.remove_note(Note::Loading)
}

/// All that was on trial is loaded.
pub fn end_trial(store: &StartStore) -> Result<(), Error> {
    store.remove_note(Note::Loading)?;
    store.remove_note(Note::Trial)
}

/// In the note of the set that was being loaded: that its ended start has been counted.
const COUNTED: &str = "counted";

/// The outcome of sets on trial.
#[derive(Debug, Default, PartialEq)]
pub struct Reverted {
    /// MDs that have the set before in use again.
    pub names: Vec<String>,
    /// The sets still on trial.
    pub left: OnTrial,
}

/// Puts the archived set back where the start before ended while mod_ssl loaded its successor; that goes back
/// to staging as an error of its renewal. So do the other sets on trial where the ones before are valid: one
/// of them may be the next to end a start.
pub fn revert(store: &StartStore, now: Timestamp) -> Result<Reverted, Error> {
    let (Some(trial), loading) = (store.read_note(Note::Trial)?, store.read_note(Note::Loading)?) else {
        return Ok(Reverted::default());
    };
    // Another httpd on this store that is not through yet has it.
    let Some(_lock) = store.lock_trial()? else { return Ok(Reverted::default()) };
    let mut left = on_trial(&trial);
    left.retain(|name, set| is_under_way(store, name, set));
    let Some(guilty) = loading.as_ref().and_then(name_of).filter(|name| left.contains_key(*name)) else {
        clear(store, &left)?;
        return Ok(Reverted { names: Vec::new(), left });
    };
    let back = |(name, set): &(&String, &NewSet)| {
        *name == guilty
            || set.archived.as_ref().is_some_and(|folder| is_before_in_time(store, name, folder, now))
    };
    let mut names: Vec<String> = left.iter().filter(back).map(|(name, _)| name.clone()).collect();
    // A start that did not come to the end of this has counted already.
    let is_counted = loading.as_ref().is_some_and(|note| note.get(COUNTED) == Some(&Value::Bool(true)));
    if !is_counted && let Err(error) = note_ended(store, guilty, &names, now) {
        crate::log!(
            Warn,
            "cannot note that the last start of httpd ended with new certificates for {}, which may end another one: {error}",
            names.join(", ")
        );
    }
    // The note stays as it is until all are done, since to write the rest of thousands for each costs minutes: sets
    // that are not in use any more are passed over. As long as the guilty one is in use, the next start goes on here.
    let mut archive = Archive::read(store)?;
    names.retain(|name| {
        *name == guilty
            || match take_back(store, &mut archive, name, &mut left, now) {
                Ok(()) => true,
                // It may load: no reason to leave the guilty one in use.
                Err(error) => {
                    crate::log!(
                        Warn,
                        "md[{name}]: its new certificates stay in use, on trial as before: {}",
                        error.advised()
                    );
                    false
                }
            }
    });
    // It goes in any case: else each start ends. The archive has it, too.
    if let Err(error) = back_to_staging(store, guilty, now) {
        crate::log!(
            Warn,
            "md[{guilty}]: the certificates with which httpd ended are in archive/ alone, and are ordered again: {}",
            error.advised()
        );
    }
    let archived = left.remove(guilty).and_then(|set| set.archived);
    put_back(store, &mut archive, guilty, archived.as_deref())?;
    if !left.is_empty() {
        write_trial(store, &left)?;
    }
    clear(store, &left)?;
    Ok(Reverted { names, left })
}

fn note_ended(store: &StartStore, guilty: &str, names: &[String], now: Timestamp) -> Result<(), Error> {
    let mut ended = EndedStarts::read(store, now)?;
    let others = names.iter().filter(|name| *name != guilty).flat_map(|name| keys(store, name));
    ended.count_all(guilty, &keys(store, guilty), others, now);
    ended.write(store)?;
    store.write_note(Note::Loading, &json!({"name": guilty, COUNTED: true}))
}

/// Puts the set before back in place of the one on trial, which is on trial no more then.
fn take_back(
    store: &StartStore,
    archive: &mut Archive,
    name: &str,
    left: &mut OnTrial,
    now: Timestamp,
) -> Result<(), Error> {
    let archived = left.get(name).and_then(|set| set.archived.as_deref());
    back_to_staging(store, name, now)?;
    put_back(store, archive, name, archived)?;
    left.remove(name);
    Ok(())
}

/// Notes that were acted on must not be met by a later start, with other sets in use by then.
fn clear(store: &StartStore, left: &OnTrial) -> Result<(), Error> {
    store.remove_note(Note::Loading)?;
    if left.is_empty() { store.remove_note(Note::Trial) } else { Ok(()) }
}

/// Whatever else stands there is nothing.
fn on_trial(note: &Value) -> OnTrial {
    let sets = note.as_object().into_iter().flatten();
    let own = |name: &str, folder: &str| archive_number(folder).is_some_and(|(md, _)| md == name);
    let set = |(name, set): (&String, &Value)| {
        let archived = set.get("archived").and_then(Value::as_str).filter(|folder| own(name, folder));
        let texts = |field| {
            let texts = set.get(field).and_then(Value::as_array).into_iter().flatten();
            texts.filter_map(Value::as_str).map(String::from).collect()
        };
        let archived = archived.map(String::from);
        (name.clone(), NewSet { leaves: texts("certs"), archived })
    };
    sets.map(set).collect()
}

/// Whether the noted set is in use, or a start ended while it put the one before back.
fn is_under_way(store: &StartStore, name: &str, set: &NewSet) -> bool {
    let found = leaves(store, Group::Domains, name);
    set.has_all(&found) || (found.is_empty() && has_set(store, name).unwrap_or(false))
}

impl NewSet {
    /// Whether these are certificates of it, and not none.
    pub(super) fn has_all(&self, leaves: &[String]) -> bool {
        !leaves.is_empty() && leaves.iter().all(|leaf| self.leaves.contains(leaf))
    }
}

/// Whether all certificates of the set before are valid by their dates. A start that ended while it put them back
/// has left them in `tmp`.
fn is_before_in_time(store: &StartStore, name: &str, folder: &str, now: Timestamp) -> bool {
    let is_archived = store.exists(Group::Archive, folder).unwrap_or(false);
    let (group, folder) = if is_archived { (Group::Archive, folder) } else { (Group::Tmp, name) };
    let files = store.files(group, folder).unwrap_or_default();
    let chains = files.iter().filter(|file| KeySpec::of_file(file, CHAIN_STEM).is_some());
    let mut chains = chains.map(|file| store.read_chain(group, folder, file).ok().flatten()).peekable();
    chains.peek().is_some()
        && chains.all(|chain| {
            chain.is_some_and(|chain| chain.leaf().not_before() <= now && now < chain.leaf().not_after())
        })
}

/// The reason noted with a refused set where no other is known.
const REFUSED_BY_START: &str = "httpd ended before all new certificates were loaded, and the server's error log of \
                                that start says why";

/// Keeps the set in `domains` as a finished renewal that was refused. A set that cannot be read is only
/// archived.
fn back_to_staging(store: &StartStore, name: &str, now: Timestamp) -> Result<(), Error> {
    let sets = match sets_in_use(store, name) {
        Ok(sets) if !sets.is_empty() => sets,
        Ok(_) | Err(Flaw::Store(Error::Garbage { .. })) => return Ok(()),
        Err(Flaw::Store(error)) => return Err(error),
        Err(_) => return Ok(()),
    };
    // A renewal that has obtained files stays. Any other one passes its waits and pending notifications on to
    // the job of this set.
    let files = store.files(Group::Staging, name)?;
    if files.iter().any(|found| is_of_renewal(found)) {
        return Ok(());
    }
    let waiting = match store.read_json(Group::Staging, name, JOB_FILE) {
        Ok(json) => json.as_ref().and_then(|json| Job::from_json(name, json)),
        Err(Error::Garbage { .. }) => None,
        Err(error) => return Err(error),
    };
    let read = |file| store.read_json(Group::Domains, name, file);
    let Some(mut md) = read(MD_FILE)?.as_ref().and_then(Md::from_json) else { return Ok(()) };
    md.key_specs = sets.iter().map(|set| set.spec.clone()).collect();
    for set in &sets {
        bundle::write(store, Group::Staging, name, set)?;
    }
    store.write_json(Group::Staging, name, MD_FILE, &md.to_json())?;
    let job = read(JOB_FILE)?.as_ref().and_then(|json| Job::from_json(name, json));
    let job = job.unwrap_or_else(|| Job::new(name));
    let auth = Some(bundle::vouch(store, name, &md, &sets, false)?);
    let mut job = Job { finished: true, auth, ..job };
    if let Some(waiting) = waiting {
        job.retry_state = waiting.retry_state;
        if let Some(pending_notice) = waiting.pending_notice {
            (job.notified, job.notified_renewed) = (pending_notice.notified, pending_notice.notified_renewed);
        }
    }
    note_refused(store, job, REFUSED_BY_START, now)
}

fn is_of_renewal(found: &str) -> bool {
    found == file::ORDER || [KEY_STEM, CHAIN_STEM].iter().any(|stem| found.starts_with(stem))
}

fn sets_in_use(store: &StartStore, name: &str) -> Result<Vec<Bundle>, Flaw> {
    let files = store.files(Group::Domains, name)?;
    let kinds = files.iter().filter_map(|file| KeySpec::of_file(file, CHAIN_STEM));
    kinds.map(|spec| bundle::load(store, Group::Domains, name, &spec)).collect()
}

/// Has a finished job say that TLS servers refuse its set, and why.
pub(crate) fn note_refused(store: &StartStore, job: Job, reason: &str, now: Timestamp) -> Result<(), Error> {
    let error = crate::renew::decide::error::Error::Refused(reason.to_string());
    let detail = format!("{error}. What to do: {} Then restart httpd.", remedies::REFUSED);
    let last = Outcome { status: error.status(), detail: Some(detail), ..Outcome::default() };
    let trial = Some(Trial::Refused(reason.to_string()));
    let mut job = Job { trial, errors: job.errors.max(1), last, ..job };
    job.note(now, "renewal-error", None, job.last.detail.clone());
    store.write_json(Group::Staging, &job.name.clone(), JOB_FILE, &job.to_record())
}

/// The archived folder takes the place of the one in `domains`, which goes to the archive. The process may
/// die between any two steps: `tmp` then has the set to go on with, see [`swaps`].
fn put_back(
    store: &StartStore,
    archive: &mut Archive,
    name: &str,
    archived: Option<&str>,
) -> Result<(), Error> {
    // The number of the one that comes back is not given again.
    let before = archived.and_then(archive_number).map(|(_, number)| number);
    let archived = match archived {
        Some(folder) if store.exists(Group::Archive, folder)? => Some(folder),
        _ => None,
    };
    if let Some(folder) = archived {
        store.purge(Group::Tmp, name)?;
        store.rename(Group::Archive, folder, Group::Tmp, name)?;
    } else if !has_set(store, name)?
        && leaves(store, Group::Domains, name) != leaves(store, Group::Staging, name)
    {
        // An earlier try did this already.
        return Ok(());
    }
    if store.exists(Group::Domains, name)? {
        store.rename(Group::Domains, name, Group::Archive, &archive.take_after(name, before))?;
    }
    match has_set(store, name)? {
        true => store.rename(Group::Tmp, name, Group::Domains, name),
        false => Ok(()),
    }
}

/// Whether `tmp` has a set to put into use. The C module leaves other things there.
fn has_set(store: &StartStore, name: &str) -> Result<bool, Error> {
    match store.read_json(Group::Tmp, name, MD_FILE) {
        Ok(json) => Ok(json.is_some()),
        Err(Error::Garbage { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Fingerprints of the certificates in a folder.
pub(crate) fn leaves(store: &StartStore, group: Group, name: &str) -> Vec<String> {
    let mut leaves = of_chains(store, group, name, |chain| chain.leaf().sha256_fingerprint());
    leaves.sort_unstable();
    leaves
}

/// Fingerprints of the keys in use.
fn keys(store: &StartStore, name: &str) -> Vec<String> {
    of_chains(store, Group::Domains, name, |chain| chain.leaf().key_fingerprint())
}

fn of_chains(
    store: &StartStore,
    group: Group,
    name: &str,
    fingerprint: impl Fn(&Chain) -> String,
) -> Vec<String> {
    let files = store.files(group, name).unwrap_or_default();
    let chains = files.iter().filter(|file| KeySpec::of_file(file, CHAIN_STEM).is_some());
    chains
        .filter_map(|file| store.read_chain(group, name, file).ok()?)
        .map(|chain| fingerprint(&chain))
        .collect()
}

/// Ends swaps in which the process died: where `domains` has nothing for a name and `tmp` has its complete
/// set, that is put into use; where the set in `tmp` is damaged, the archived one is restored.
pub(crate) fn swaps(store: &StartStore) -> Result<(), Error> {
    for name in store.names(Group::Tmp)? {
        match recover_one(store, &name) {
            Ok(None) => {}
            Ok(Some(group)) => crate::log!(
                Notice,
                "md[{name}]: its last activation was interrupted; what was in {}/ is in use now",
                group.dir_name()
            ),
            Err(e) => {
                crate::log!(
                    Error,
                    "md[{name}]: its last activation was interrupted and cannot be ended: {}",
                    e.advised()
                )
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

/// Whether `domains` has nothing for a name, or only a fallback certificate made meanwhile.
fn is_vacant(store: &StartStore, name: &str) -> Result<bool, Error> {
    let files = store.files(Group::Domains, name)?;
    let exists = || store.exists(Group::Domains, name);
    Ok(if files.is_empty() { !exists()? } else { files.iter().all(|file| fallback::is_of_fallback(file)) })
}

fn is_complete(store: &StartStore, name: &str, json: &Value) -> bool {
    let keys = Md::from_json(json).map(|md| md.keys()).unwrap_or_default();
    !keys.is_empty() && keys.iter().all(|spec| bundle::load(store, Group::Tmp, name, spec).is_ok())
}

fn newest_archived(store: &StartStore, name: &str) -> Result<Option<String>, Error> {
    Ok(newest_number(store, name)?.map(|number| format!("{name}.{number}")))
}

fn newest_number(store: &StartStore, name: &str) -> Result<Option<u32>, Error> {
    let folders = store.names(Group::Archive)?;
    let numbered = folders.iter().filter_map(|folder| archive_number(folder));
    Ok(numbered.filter(|(archived, _)| *archived == name).map(|(_, number)| number).max())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::{NOW, Wish};
    use crate::managed::fixture::{Lab, md};
    use crate::notify::Commands;
    use crate::startup::activate::Activated;
    use crate::startup::bring_up::bring_up;
    use crate::startup::cleanup::{hand_over, with_job};
    use crate::startup::fixture::{plan_of, start_of, start_until_loading};
    use crate::store::Fuse;
    use std::slice;

    /// A start up to the point where mod_ssl has been asked to load the activated sets.
    fn start(store: &StartStore, md: &Md) -> Result<Activated, Error> {
        start_until_loading(store, std::slice::from_ref(md))
    }

    fn in_use(lab: &Lab) -> Option<String> {
        let set = bundle::load(&lab.store, Group::Domains, "a.test", &md(&["a.test"]).keys()[0]);
        set.ok().map(|set| set.info.fingerprint)
    }

    #[test]
    fn after_a_start_that_ended_with_a_new_set_the_set_before_is_used() {
        let (lab, a) = (Lab::new(), md(&["a.test"]));
        let old = lab.install(&a);
        let new = lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
        assert_eq!(start(&lab.store, &a).unwrap(), Activated::Done);
        assert_eq!(in_use(&lab), Some(new.clone()));
        // mod_ssl ends the process here.
        let activated = start(&lab.store, &a).unwrap();
        assert!(matches!(activated, Activated::Refused(_)), "{activated:?}");
        assert_eq!(in_use(&lab), Some(old.clone()));
        let staged = bundle::load(&lab.store, Group::Staging, "a.test", &a.keys()[0]).unwrap();
        assert_eq!(staged.info.fingerprint, new, "nothing is lost");
        let key = std::fs::read_to_string(lab.root().join("staging/a.test/privkey.p-256.pem")).unwrap();
        assert!(key.contains("ENCRYPTED"));
        let ended = EndedStarts::read(&lab.store, NOW).unwrap();
        let key = [staged.chain.leaf().key_fingerprint()];
        assert!(
            ended.objection("other.test", &key, false).is_some()
                && ended.objection("a.test", &[], false).is_some()
        );
        assert!(ended.objection("a.test", &key, true).is_none(), "once");
        assert!(matches!(start(&lab.store, &a).unwrap(), Activated::Refused(_)), "and it is not tried again");
        assert_eq!(in_use(&lab), Some(old));
    }

    #[test]
    fn a_first_set_that_ends_a_start_leaves_none_in_use() {
        let (lab, a) = (Lab::new(), md(&["a.test"]));
        lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
        start(&lab.store, &a).unwrap();
        lab.store.write(Group::Tmp, "a.test", "job.json", b"left by the C module").unwrap();
        lab.store.remove(Group::Tmp, "a.test", "md.json").unwrap();
        start(&lab.store, &a).unwrap();
        assert_eq!(in_use(&lab), None);
        assert!(lab.has("staging/a.test/pubcert.p-256.pem"));
    }

    #[test]
    fn a_start_that_ends_for_another_reason_changes_nothing() {
        let (lab, a) = (Lab::new(), md(&["a.test"]));
        lab.install(&a);
        let new = lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
        start(&lab.store, &a).unwrap();
        end_trial(&lab.store).unwrap();
        start(&lab.store, &a).unwrap();
        assert_eq!(in_use(&lab), Some(new));
    }

    #[test]
    fn a_start_of_another_httpd_that_is_under_way_is_left_alone() {
        let (lab, a) = (Lab::new(), md(&["a.test"]));
        lab.install(&a);
        let new = lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
        start(&lab.store, &a).unwrap();
        let other = lab.store.lock_trial().unwrap();
        assert!(other.is_some());
        assert_eq!(revert(&lab.store, NOW).unwrap(), Reverted::default());
        assert_eq!(in_use(&lab), Some(new));
        assert!(lab.has("trial.json"));
        drop(other);
        assert_eq!(revert(&lab.store, NOW).unwrap().names, ["a.test"]);
    }

    #[test]
    fn a_note_that_is_damaged_or_of_another_name_changes_nothing() {
        let (lab, a) = (Lab::new(), md(&["a.test"]));
        let old = lab.install(&a);
        for note in [
            "{",
            "{}",
            "[1]",
            r#"{"b.test": "a.test.1"}"#,
            r#"{"a.test": {"archived": "../../x", "certs": 1}}"#,
        ] {
            for loading in ["{", "{}", r#"{"name": 1}"#, r#"{"name": "c.test"}"#] {
                std::fs::write(lab.root().join("trial.json"), note).unwrap();
                std::fs::write(lab.root().join("trial-loading.json"), loading).unwrap();
                assert_eq!(revert(&lab.store, NOW).unwrap().names, [""; 0]);
                assert_eq!(in_use(&lab), Some(old.clone()), "{note} {loading}");
            }
        }
    }

    #[test]
    fn a_set_that_the_admin_has_put_in_the_place_of_the_refused_one_stays() {
        let (lab, a) = (Lab::new(), md(&["a.test"]));
        lab.install(&a);
        lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
        start(&lab.store, &a).unwrap();
        let by_hand = lab.install(&a);
        start(&lab.store, &a).unwrap();
        assert_eq!(in_use(&lab), Some(by_hand));
        assert!(!lab.has("trial.json") && !lab.has("trial-loading.json"), "and no later start thinks of it");
    }

    /// Two sets, of which mod_ssl takes neither.
    #[test]
    fn other_sets_on_trial_are_reverted_too_where_the_sets_before_are_valid() {
        let lab = Lab::new();
        let names = ["a.test", "b.test", "c.test"];
        let mds = names.map(|name| md(&[name]));
        let expired = Wish { names: &["c.test"], until: NOW, ..Wish::default() };
        for md in &mds[..2] {
            lab.install(md);
        }
        let old = lab.set_like(&expired, &mds[2].keys()[0]);
        bundle::write(&lab.store, Group::Domains, "c.test", &old).unwrap();
        lab.store.write_json(Group::Domains, "c.test", MD_FILE, &mds[2].to_json()).unwrap();
        for md in &mds {
            lab.stage(md, &lab.set(&[&md.name], &md.keys()[0]));
        }
        let brought_up = bring_up(&start_of(&lab.store), &mut plan_of(&mds)).unwrap();
        for activated in brought_up.activated {
            assert_eq!(activated.unwrap(), Activated::Done);
        }
        drop(brought_up.trial);
        note_loading(&lab.store, "b.test").unwrap();
        let reverted = revert(&lab.store, NOW).unwrap();
        assert_eq!(reverted.names, ["a.test", "b.test"]);
        assert_eq!(reverted.left.keys().collect::<Vec<_>>(), ["c.test"], "better than an expired one");
        let ended = EndedStarts::read(&lab.store, NOW).unwrap();
        let is_known = |name| {
            let staged = bundle::load(&lab.store, Group::Staging, name, &mds[0].keys()[0]);
            let key = staged.map(|set| set.chain.leaf().key_fingerprint()).unwrap_or_default();
            [ended.objection("x.test", &[key], false), ended.objection(name, &[], false)]
                .map(|it| it.is_some())
        };
        assert_eq!(names.map(is_known), [[true, false], [true, true], [false, false]]);
        assert!(lab.has("staging/a.test/job.json") && lab.has("staging/b.test/job.json"));
        note_loading(&lab.store, "c.test").unwrap();
        assert_eq!(revert(&lab.store, NOW).unwrap().names, ["c.test"], "unless it ends the next start");
        assert_eq!(revert(&lab.store, NOW).unwrap(), Reverted::default());
    }

    #[test]
    fn pending_notices_of_a_set_return_to_staging_with_it() {
        let (lab, a) = (Lab::new(), md(&["a.test"]));
        lab.install(&a);
        let new = lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
        start(&lab.store, &a).unwrap();
        let commands = Commands { message: Some("/bin/true".into()), notify: Some("/bin/true".into()) };
        with_job(&lab.store, "a.test", |job| hand_over(&lab.store, job, &commands).unwrap()).unwrap();
        assert!(lab.has("staging/a.test/job.json"));
        // mod_ssl ends the process here.
        start(&lab.store, &a).unwrap();
        let staged = bundle::load(&lab.store, Group::Staging, "a.test", &a.keys()[0]).unwrap();
        assert_eq!(staged.info.fingerprint, new);
        let job = lab.store.read_json(Group::Staging, "a.test", JOB_FILE).unwrap().unwrap();
        let job = Job::from_json("a.test", &job).unwrap();
        assert!(
            job.finished && !job.notified && !job.notified_renewed && job.pending_notice.is_none(),
            "{job:?}"
        );
    }

    #[test]
    fn what_a_ca_advised_does_not_keep_a_refused_set_from_staging() {
        let (lab, a) = (Lab::new(), md(&["a.test"]));
        lab.install(&a);
        lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
        lab.store.write(Group::Staging, "a.test", "ari.json", b"[]").unwrap();
        start(&lab.store, &a).unwrap();
        start(&lab.store, &a).unwrap();
        assert!(lab.has("staging/a.test/pubcert.p-256.pem") && lab.has("staging/a.test/ari.json"));
    }

    #[test]
    fn the_next_start_completes_a_revert_that_a_dying_start_began() {
        for steps in 0.. {
            let (lab, a) = (Lab::new(), md(&["a.test"]));
            let old = lab.install(&a);
            lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
            start(&lab.store, &a).unwrap();
            let fuse = Fuse::after(steps);
            let _ = start(&lab.dying_by(&fuse), &a);
            let done = !fuse.is_blown();
            start(&lab.store, &a).unwrap();
            assert_eq!(in_use(&lab), Some(old), "{steps}");
            if done {
                assert!(steps > 5, "{steps}");
                return;
            }
        }
    }

    fn used(lab: &Lab, md: &Md) -> Option<String> {
        bundle::load(&lab.store, Group::Domains, &md.name, &md.keys()[0]).ok().map(|set| set.info.fingerprint)
    }

    /// A start up to the point where mod_ssl loads certificates.
    fn begin(store: &StartStore, mds: &[Md]) -> Option<crate::startup::bring_up::BroughtUp> {
        bring_up(&start_of(store), &mut plan_of(mds)).ok()
    }

    #[test]
    fn a_set_can_be_taken_back_wherever_the_start_died_that_put_it_into_use() {
        let mds = ["a.test", "b.test", "c.test"].map(|name| md(&[name]));
        let mut came_into_use = 0;
        // Every other one: between two swaps there are several.
        for steps in (0..).step_by(2) {
            let lab = Lab::new();
            let old = mds.each_ref().map(|md| Some(lab.install(md)));
            for (md, trial) in mds.iter().zip([None, None, Some(Trial::Refused("no".into()))]) {
                lab.stage_tried(md, &lab.set(&[&md.name], &md.keys()[0]), trial);
            }
            let fuse = Fuse::after(steps);
            drop(begin(&lab.dying_by(&fuse), &mds));
            let is_done = !fuse.is_blown();
            came_into_use += usize::from(used(&lab, &mds[1]).is_some_and(|set| Some(set) != old[1]));
            // mod_ssl ends the next start with each of the two that were swapped.
            let next = begin(&lab.store, &mds).unwrap();
            next.trial.note_loading(&lab.store, "b.test");
            drop(next);
            drop(begin(&lab.store, &mds));
            assert_eq!(mds.each_ref().map(|md| used(&lab, md)), old, "{steps}");
            assert!(
                mds.iter().all(|md| lab.has(&format!("staging/{}/pubcert.p-256.pem", md.name))),
                "{steps}"
            );
            assert!(!lab.has("trial.json"), "{steps}");
            if is_done {
                assert!(came_into_use > 3, "{came_into_use}");
                return;
            }
        }
    }

    #[test]
    fn the_sets_of_all_domains_are_noted_at_once() {
        for refused in [0, 1] {
            let (lab, fuse) = (Lab::new(), Fuse::after(usize::MAX));
            let mds: Vec<Md> = (0..20).map(|n| md(&[&format!("a{n}.test")])).collect();
            for (n, md) in mds.iter().enumerate() {
                let trial = (n < refused).then(|| Trial::Refused("no".into()));
                lab.stage_tried(md, &lab.set(&[&md.name], &md.keys()[0]), trial);
            }
            let brought_up = begin(&lab.dying_by(&fuse), &mds).unwrap();
            assert_eq!(brought_up.trial.sets().len(), 20 - refused);
            assert_eq!(fuse.written("trial.json").len(), 1 + refused, "again where it names too many");
            let note = lab.store.read_note(Note::Trial).unwrap().unwrap();
            assert_eq!(on_trial(&note), *brought_up.trial.sets());
        }
    }

    #[test]
    fn a_start_without_new_sets_notes_nothing_and_leaves_the_trial_of_another_alone() {
        let (lab, a) = (Lab::new(), md(&["a.test"]));
        lab.install(&a);
        lab.stage_tried(&a, &lab.set(&["a.test"], &a.keys()[0]), Some(Trial::Refused("no".into())));
        drop(begin(&lab.store, slice::from_ref(&a)));
        assert!(!lab.has("trial.json"));
        lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
        let other = lab.store.lock_trial().unwrap();
        let theirs = json!({"b.test": {"certs": ["x"]}});
        lab.store.write_note(Note::Trial, &theirs).unwrap();
        let brought_up = begin(&lab.store, slice::from_ref(&a)).unwrap();
        assert_eq!(*brought_up.activated[0].as_ref().unwrap(), Activated::Done);
        brought_up.trial.end(&lab.store);
        assert_eq!(lab.store.read_note(Note::Trial).unwrap(), Some(theirs));
        drop(other);
    }

    /// `count` MDs with the same certificates, on trial as [`write_trial`] notes it.
    fn on_trial_with(lab: &Lab, count: usize) -> OnTrial {
        let a = md(&["a.test"]);
        let [old, new] = [(); 2].map(|()| lab.set(&["a.test"], &a.keys()[0]));
        let put = |group, folder: &str, name: &str, set| {
            bundle::write(&lab.store, group, folder, set).unwrap();
            lab.store.write_json(group, folder, MD_FILE, &md(&[name]).to_json()).unwrap();
        };
        let set = |n| {
            let (name, archived) = (format!("a{n:04}.test"), format!("a{n:04}.test.1"));
            put(Group::Archive, &archived, &name, &old);
            put(Group::Domains, &name, &name, &new);
            (name, NewSet { leaves: vec![new.info.fingerprint.clone()], archived: Some(archived) })
        };
        (0..count).map(set).collect()
    }

    #[test]
    fn thousands_of_sets_are_reverted_without_a_note_for_each() {
        const COUNT: usize = 1000;
        let lab = Lab::new();
        let mut sets = on_trial_with(&lab, COUNT);
        // One of them has no set before, and stays.
        sets.get_mut("a0007.test").unwrap().archived = None;
        write_trial(&lab.store, &sets).unwrap();
        note_loading(&lab.store, "a0500.test").unwrap();
        let whole = std::fs::metadata(lab.root().join("trial.json")).unwrap().len();
        let fuse = Fuse::after(usize::MAX);
        let reverted = revert(&lab.dying_by(&fuse), NOW).unwrap();
        assert_eq!((reverted.names.len(), reverted.left.len()), (COUNT - 1, 1));
        let written: usize = fuse.written("trial.json").into_iter().sum();
        assert!(written as u64 <= whole, "{written} bytes for a note of {whole}");
        assert!(lab.has("archive/a0000.test.2") && lab.has("staging/a0000.test/job.json"));
        let note = lab.store.read_note(Note::Trial).unwrap().unwrap();
        assert_eq!(on_trial(&note).into_keys().collect::<Vec<_>>(), ["a0007.test"]);
    }

    #[test]
    fn a_note_of_fifty_thousand_sets_is_read_back() {
        let lab = Lab::new();
        let mut sets = on_trial_with(&lab, 1);
        for n in 0..50_000 {
            let name = format!("host-with-a-name-that-is-not-short-{n}.customers.hosting.test");
            let archived = Some(format!("{name}.12"));
            sets.insert(name, NewSet { leaves: vec![format!("{n:064}"), format!("{n:a>64}")], archived });
        }
        write_trial(&lab.store, &sets).unwrap();
        let note = lab.store.read_note(Note::Trial).unwrap().unwrap();
        assert_eq!(on_trial(&note), sets);
        note_loading(&lab.store, "a0000.test").unwrap();
        assert_eq!(
            revert(&lab.store, NOW).unwrap(),
            Reverted { names: vec!["a0000.test".into()], ..Default::default() }
        );
    }

    #[test]
    fn a_note_of_an_earlier_version_is_read() {
        let lab = Lab::new();
        let sets = on_trial_with(&lab, 2);
        let entry = |(name, set): (&String, &NewSet)| {
            (name.clone(), json!({"certs": set.leaves, "keys": ["x"], "archived": set.archived}))
        };
        let note = Value::Object(sets.iter().map(entry).collect());
        std::fs::write(lab.root().join("trial.json"), format!("{note:#}")).unwrap();
        note_loading(&lab.store, "a0001.test").unwrap();
        assert_eq!(revert(&lab.store, NOW).unwrap().names, ["a0000.test", "a0001.test"]);
    }

    #[test]
    fn a_domain_whose_set_cannot_go_back_keeps_no_other_from_it() {
        let lab = Lab::new();
        write_trial(&lab.store, &on_trial_with(&lab, 3)).unwrap();
        note_loading(&lab.store, "a0002.test").unwrap();
        let archived = leaves(&lab.store, Group::Archive, "a0002.test.1");
        // Children may write there.
        std::fs::write(lab.root().join("staging/a0000.test"), "planted").unwrap();
        let reverted = revert(&lab.store, NOW).unwrap();
        assert_eq!(reverted.names, ["a0001.test", "a0002.test"]);
        assert_eq!(leaves(&lab.store, Group::Domains, "a0002.test"), archived);
        assert_eq!(reverted.left.keys().collect::<Vec<_>>(), ["a0000.test"], "it is on trial");
        assert!(lab.has("trial.json") && !lab.has("trial-loading.json"));
        // Nor does the one with which mod_ssl ends each start stay in use.
        note_loading(&lab.store, "a0000.test").unwrap();
        assert_eq!(revert(&lab.store, NOW).unwrap().names, ["a0000.test"]);
        assert_eq!(leaves(&lab.store, Group::Domains, "a0000.test"), archived);
        assert!(lab.has("archive/a0000.test.2") && !lab.has("trial.json"));
    }

    #[test]
    fn an_ended_start_counts_once_however_often_its_revert_is_tried() {
        let lab = Lab::new();
        write_trial(&lab.store, &on_trial_with(&lab, 3)).unwrap();
        note_loading(&lab.store, "a0000.test").unwrap();
        for _ in 0..3 {
            let _ = revert(&lab.dying_by(&Fuse::after(16)), NOW);
        }
        revert(&lab.store, NOW).unwrap();
        let ended = lab.store.read_note(Note::Ended).unwrap().unwrap();
        assert_eq!(ended["domains"]["a0000.test"]["starts"], json!(1));
    }

    #[test]
    fn the_next_start_completes_a_revert_of_several_sets_that_a_dying_start_began() {
        let names = ["a0000.test", "a0001.test", "a0002.test"];
        for steps in 0.. {
            let lab = Lab::new();
            write_trial(&lab.store, &on_trial_with(&lab, 3)).unwrap();
            note_loading(&lab.store, names[0]).unwrap();
            let archived = leaves(&lab.store, Group::Archive, "a0000.test.1");
            let fuse = Fuse::after(steps);
            let _ = revert(&lab.dying_by(&fuse), NOW);
            revert(&lab.store, NOW).unwrap();
            swaps(&lab.store).unwrap();
            for name in names {
                assert_eq!(leaves(&lab.store, Group::Domains, name), archived, "{steps} {name}");
            }
            assert!(!lab.has("trial.json"), "{steps}");
            if !fuse.is_blown() {
                assert!(steps > 20, "{steps}");
                return;
            }
        }
    }
}
