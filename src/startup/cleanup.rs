// SPDX-License-Identifier: Apache-2.0
//! The steps of a start beside activation: starts failing jobs over, moves staging along with a renamed
//! domain, and removes challenge data that belongs to no domain.

use crate::challenge::answers::{Folder, Noted};
use crate::challenge::dns01::{self, responder};
use crate::challenge::presented;
use crate::managed::saved_order::SavedOrder;
use crate::managed::staging::{KEPT_BESIDE, account_author, file, signed_account};
use crate::managed::{bundle, published};
use crate::model::dns01::Way;
use crate::model::job::PendingNotice;
use crate::model::ledger::Ledger;
use crate::model::{Dns01, Job, Md, Trial};
use crate::notify::Commands;
use crate::renew::decide::retry;
use crate::store::auth::Author;
use crate::store::{Error, Group, StartStore};
use crate::time::Timestamp;
use std::collections::{HashMap, HashSet};

/// Whether a job that is marked finished has no set: the C module leaves such jobs after its notification
/// that a certificate expires. Or the set was removed.
pub fn has_no_set(store: &StartStore, name: &str) -> Result<bool, Error> {
    let json = match store.read_json(Group::Staging, name, file::JOB) {
        Err(Error::Garbage { .. }) => None,
        other => other?,
    };
    let job = json.and_then(|json| Job::from_json(name, &json)).filter(|job| job.finished);
    job.map_or(Ok(false), |job| is_empty(store, &job))
}

/// Whether a finished job has no certificate, nor a set that is live.
fn is_empty(store: &StartStore, job: &Job) -> Result<bool, Error> {
    let files = store.files(Group::Staging, &job.name)?;
    let has_set = files.iter().any(|found| found.starts_with(file::CHAIN_STEM) || found == published::FILE);
    Ok(!has_set)
}

/// Purges the staging of a job that failed and is not finished, or has no set. Waits that a CA demanded stay,
/// recent notifications, and an order that a CA is at work on with all its files. A job that a command
/// postponed is postponed no more, and records that one waits for are looked up at once. Returns how often a
/// purged job had failed.
pub fn start_over(store: &StartStore, name: &str, now: Timestamp) -> Result<Option<u32>, Error> {
    let job = match store.read_json(Group::Staging, name, file::JOB) {
        Ok(json) => json.as_ref().and_then(|json| Job::from_json(name, json)),
        // A job that cannot be read starts over by itself.
        Err(Error::Garbage { .. }) => None,
        Err(error) => return Err(error),
    };
    match job {
        Some(job) if job.finished && !is_empty(store, &job)? => Ok(None),
        Some(mut job) if job.errors > 0 || job.finished => {
            if job.finished && is_in_use(store, &job) {
                // A child wrote this as it ended, when its set had been taken from here.
                job.pending_notice = job.notices_due();
            } else if job.finished && job.valid_from.is_some() {
                crate::log!(
                    Warn,
                    "md[{name}]: the renewed certificates are not in staging any more, new ones are requested"
                );
            }
            // The parts to keep come first: without errors, the next start finds nothing to purge.
            let mut kept = retry::of_the_next_start(&job, now);
            let is_under_way = !job.finished && is_under_way(store, name, now);
            if is_under_way {
                kept = kept.or_else(|| Some(Job { last_run: job.last_run, ..Job::new(name) }));
            }
            if let Some(kept) = &kept {
                store.write_json(Group::Staging, name, file::JOB, &kept.to_json())?;
            }
            if is_under_way {
                crate::log!(
                    Notice,
                    "AH10064: md[{name}]: the order that its CA is at work on goes on, and the count of {} begins again",
                    errors(job.errors)
                );
                return Ok(None);
            }
            let [ari, ledger, live] = KEPT_BESIDE;
            let files: &[&str] = if kept.is_some() { &[file::JOB, ari, ledger, live] } else { &KEPT_BESIDE };
            store.purge_but(Group::Staging, name, files)?;
            Ok((job.errors > 0).then_some(job.errors))
        }
        // Its command is called at once, or its records are looked up: the admin may have set them, or may
        // want others now.
        Some(job) if job.is_postponed() || job.waits_for_records() => {
            let job = Job { next_run: None, ..job };
            store.write_json(Group::Staging, name, file::JOB, &job.to_json())?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// Whether the set of this finished job is the one in `domains`.
fn is_in_use(store: &StartStore, job: &Job) -> bool {
    let json = store.read_json(Group::Domains, &job.name, file::JOB).ok().flatten();
    let in_use = json.as_ref().and_then(|json| Job::from_json(&job.name, json));
    in_use.is_some_and(|in_use| job.valid_from.is_some() && job.is_same_renewal(&in_use))
}

/// `1 error`.
pub fn errors(count: u32) -> String {
    crate::log::counted(usize::try_from(count).unwrap_or(usize::MAX), "error")
}

/// Whether a CA is at work on its order: it may still request the answers to the challenges, and the
/// certificate needs the key.
fn is_under_way(store: &StartStore, name: &str, now: Timestamp) -> bool {
    // One that cannot be read is none.
    let json = store.read_json(Group::Staging, name, file::ORDER).unwrap_or_default();
    json.as_ref().and_then(SavedOrder::from_json).is_some_and(|order| order.is_under_way(now))
}

/// Signs our files in the folder of one name over to another name, which the folder is about to get. Files
/// that are not ours stay unchanged, and are not ours there either; so do files that an interrupted start has
/// signed already. The challenge answers that its CA may still request move along.
pub fn sign_over(store: &StartStore, from: &str, to: &str) -> Result<(), Error> {
    let json = store.read_json(Group::Staging, from, file::MD).ok().flatten();
    for name in json.as_ref().and_then(Md::from_json).map(|md| md.domains).unwrap_or_default() {
        let name = name.strip_prefix("*.").unwrap_or(&name);
        let answers = Folder { store, group: Group::Challenges, name }.read(dns01::NOTE);
        // Where a CNAME leads.
        let served = answers.records_of(from).filter(|noted| noted.served_for.is_some());
        let elsewhere = served.filter_map(|noted| responder::folder_name(noted.at.as_deref()?).ok());
        for name in elsewhere.chain([name.to_string()]) {
            let folder = Folder { store, group: Group::Challenges, name: &name };
            // Lost files of this kind are made again.
            if let Err(error) = folder.hand_over(from, to) {
                crate::log!(Warn, "md[{to}]: the challenge data of {name} stays that of md[{from}]: {error}");
            }
        }
    }
    sign_set_over(store, from, to)?;
    published::sign_over(store, from, to)?;
    for (json_file, key_file) in file::ACCOUNTS {
        let json = store.read_json(Group::Staging, from, json_file).ok().flatten();
        let key = store.read_key(Group::Staging, from, key_file).ok().flatten();
        if let Some((json, key)) = json.zip(key)
            && account_author(store, from, &json, &key) == Author::Ours
        {
            let json = signed_account(store, to, &json, &key)?;
            store.write_json(Group::Staging, from, json_file, &json)?;
        }
    }
    Ok(())
}

/// Certificates issued to the MD under its former name count: their ledger is in the folder that stays
/// behind, or is about to be purged.
pub fn merge_ledgers(store: &StartStore, from: &str, to: &str) -> Result<(), Error> {
    let read = |name: &str| {
        let json = store.read_json(Group::Staging, name, file::LEDGER).ok().flatten();
        json.as_ref().map(Ledger::from_json).unwrap_or_default()
    };
    let (mut ledger, known) = (read(from), read(to));
    ledger.take_in(known.clone());
    if ledger == known {
        Ok(())
    } else {
        store.write_json(Group::Staging, to, file::LEDGER, &ledger.to_json())
    }
}

fn sign_set_over(store: &StartStore, from: &str, to: &str) -> Result<(), Error> {
    let read = |file: &str| store.read_json(Group::Staging, from, file).ok().flatten();
    let job = read(file::JOB).and_then(|json| Job::from_json(from, &json)).filter(|job| job.auth.is_some());
    let Some((job, md)) = job.zip(read(file::MD).as_ref().and_then(Md::from_json)) else { return Ok(()) };
    let load = |spec| bundle::load(store, Group::Staging, from, &spec);
    let sets: Result<Vec<_>, _> = md.keys().into_iter().map(load).collect();
    if let Ok(sets) = sets
        && let Ok(trial) = bundle::trial(store, &job, &md, &sets)
    {
        let auth = bundle::vouch(store, to, &md, &sets, trial == Some(Trial::Accepted))?;
        store.write_json(Group::Staging, from, file::JOB, &Job { auth: Some(auth), ..job }.to_record())?;
    }
    Ok(())
}

/// Lets `change` work on the job of an active set.
pub fn with_job(store: &StartStore, name: &str, change: impl FnOnce(&mut Job)) -> Result<(), Error> {
    let json = store.read_json(Group::Domains, name, file::JOB)?;
    let mut job = json.as_ref().and_then(|json| Job::from_json(name, json)).unwrap_or_else(|| Job::new(name));
    change(&mut job);
    store.write_json(Group::Domains, name, file::JOB, &job.to_json())
}

/// Makes the next child notify the commands of a set that comes into use, where they were not notified. The
/// job in `domains` is then marked as notified.
pub fn hand_over(store: &StartStore, job: &mut Job, commands: &Commands) -> Result<(), Error> {
    let pending_notice = PendingNotice {
        notified: job.notified || commands.notify.is_none(),
        notified_renewed: job.notified_renewed || commands.message.is_none(),
        ..PendingNotice::default()
    };
    if !pending_notice.notified || !pending_notice.notified_renewed {
        let json = store.read_json(Group::Staging, &job.name, file::JOB).ok().flatten();
        let next = json.as_ref().and_then(|json| Job::from_json(&job.name, json));
        let next =
            Job { pending_notice: Some(pending_notice), ..next.unwrap_or_else(|| Job::new(&job.name)) };
        store.write_json(Group::Staging, &job.name, file::JOB, &next.to_record())?;
    }
    (job.notified, job.notified_renewed) = (true, true);
    Ok(())
}

/// Removes challenge data of names that no MD has, and of MDs that do not have the name any more. What httpd
/// itself answers for may stand under another name, where a CNAME leads: that stays as long as its MD has the
/// domain and the responder.
pub fn purge_challenges<'a>(
    store: &StartStore,
    mds: impl Iterator<Item = (&'a Md, Option<&'a Dns01>)>,
) -> Result<(), Error> {
    let mut owners: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut serving: HashSet<(&str, &str)> = HashSet::new();
    for (md, dns01) in mds {
        let serves = dns01.is_some_and(|dns01| dns01.way == Way::Responder);
        for domain in &md.domains {
            let name = domain.strip_prefix("*.").unwrap_or(domain);
            owners.entry(name).or_default().push(&md.name);
            if serves {
                serving.insert((&md.name, name));
            }
        }
    }
    for name in store.names(Group::Challenges)? {
        let folder = Folder { store, group: Group::Challenges, name: &name };
        store.unsynced().remove(Group::Challenges, &name, presented::FILE)?;
        let answers = folder.read(dns01::NOTE);
        let of_name = owners.get(name.as_str()).map(Vec::as_slice).unwrap_or_default();
        let is_served = |owner: &str| {
            let mut records = answers.records_of(owner).filter_map(|noted| noted.served_for.as_deref());
            records.any(|domain| serving.contains(&(owner, domain)))
        };
        let remains = |owner: &str| of_name.contains(&owner) || is_served(owner);
        let (staying, gone): (Vec<_>, Vec<_>) = folder.owners().into_iter().partition(|owner| remains(owner));
        if of_name.is_empty() && staying.is_empty() {
            warn_of_records(&name, answers.records().map(|(_, noted)| noted));
            store.purge(Group::Challenges, &name)?;
            continue;
        }
        for gone in &gone {
            warn_of_records(&name, answers.records_of(gone));
            folder.remove(gone)?;
        }
    }
    Ok(())
}

/// The command that could remove them is no longer known. Records that httpd answered for are in no zone.
fn warn_of_records<'a>(name: &str, records: impl Iterator<Item = &'a Noted>) {
    for noted in records.filter(|noted| noted.served_for.is_none()) {
        let at = noted.at.clone().unwrap_or_else(|| dns01::record_name(name));
        crate::log!(Warn, "md[{name}] is no longer managed: {}", dns01::left_behind(&at, &noted.value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::staging;
    use crate::model::job::MESSAGE_FAILED;
    use crate::model::{RateLimit, RetryState, Scope};
    use crate::time::DAY;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn job(store: &StartStore, name: &str, errors: u32, finished: bool) {
        let job = Job { errors, finished, ..Job::new(name) };
        store.write_json(Group::Staging, name, file::JOB, &job.to_json()).unwrap();
    }

    #[test]
    fn only_failing_unfinished_jobs_start_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        job(&store, "failing.test", 3, false);
        job(&store, "under-way.test", 0, false);
        job(&store, "finished.test", 1, true);
        store.write(Group::Staging, "finished.test", "pubcert.pem", b"x").unwrap();
        store.write(Group::Staging, "garbage.test", file::JOB, b"{").unwrap();
        assert_eq!(start_over(&store, "failing.test", NOW).unwrap(), Some(3));
        for name in ["under-way.test", "finished.test", "garbage.test", "none.test"] {
            assert_eq!(start_over(&store, name, NOW).unwrap(), None, "{name}");
        }
        let left = store.names(Group::Staging).unwrap();
        assert_eq!(left, ["finished.test", "garbage.test", "under-way.test"]);
    }

    #[test]
    fn what_a_ca_has_asked_to_wait_for_and_what_it_advises_outlive_the_purge() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        let until = NOW.plus(DAY * 7);
        let rate_limit = RateLimit { ca: "https://ca.test/dir".into(), scope: Scope::Ca, since: NOW, until };
        let retry_state = RetryState { rate_limit: Some(rate_limit), ca_errors: 2, ..RetryState::default() };
        for (name, now, kept) in [("held.test", NOW, true), ("over.test", until, false)] {
            let job =
                Job { errors: 2, next_run: Some(until), retry_state: retry_state.clone(), ..Job::new(name) };
            store.write_json(Group::Staging, name, file::JOB, &job.to_json()).unwrap();
            for other in [file::ARI, file::MD, file::ORDER] {
                store.write(Group::Staging, name, other, b"{}").unwrap();
            }
            assert_eq!(start_over(&store, name, now).unwrap(), Some(2));
            let files = store.files(Group::Staging, name).unwrap();
            let expected: &[&str] = if kept { &[file::ARI, file::JOB] } else { &[file::ARI] };
            assert_eq!(files, expected, "{name}");
        }
        let json = store.read_json(Group::Staging, "held.test", file::JOB).unwrap().unwrap();
        let job = Job::from_json("held.test", &json).unwrap();
        assert_eq!((job.errors, job.next_run), (0, Some(until)));
        staging::purge(&store, "held.test").unwrap();
        assert_eq!(store.files(Group::Staging, "held.test").unwrap(), [file::ARI]);
    }

    #[test]
    fn a_restart_ends_the_wait_of_a_postponed_renewal_and_keeps_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        let mut job = Job::new("a.test");
        job.postpone(MESSAGE_FAILED.into(), "exit code 3".into(), NOW.plus(DAY));
        store.write_json(Group::Staging, "a.test", file::JOB, &job.to_json()).unwrap();
        store.write(Group::Staging, "a.test", file::ORDER, b"{}").unwrap();
        assert_eq!(start_over(&store, "a.test", NOW).unwrap(), None);
        let json = store.read_json(Group::Staging, "a.test", file::JOB).unwrap().unwrap();
        assert_eq!(Job::from_json("a.test", &json).unwrap(), Job { next_run: None, ..job });
        assert_eq!(store.files(Group::Staging, "a.test").unwrap(), [file::JOB, file::ORDER]);
    }

    #[test]
    fn a_finished_job_without_certificates_starts_over_but_keeps_its_notices() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        // As the C module leaves it: renewal is manual, or has failed.
        for (name, errors, told) in [("a.test", 0, true), ("b.test", 2, true), ("c.test", 0, false)] {
            let last_run = Some(NOW.minus(DAY / 2));
            let mut job = Job { finished: true, notified: true, errors, last_run, ..Job::new(name) };
            job.note(NOW.minus(DAY / 2), "finished", None, None);
            if told {
                job.note(NOW.minus(DAY / 2), "message-expiring", None, None);
            }
            store.write_json(Group::Staging, name, file::JOB, &job.to_json()).unwrap();
            store.write(Group::Staging, name, file::MD, b"{}").unwrap();
            assert!(has_no_set(&store, name).unwrap());
            assert_eq!(start_over(&store, name, NOW).unwrap(), (errors > 0).then_some(errors), "{name}");
            let left = store.read_json(Group::Staging, name, file::JOB).unwrap();
            let left = left.and_then(|json| Job::from_json(name, &json));
            assert_eq!(left.is_some(), told, "{name}");
            if let Some(job) = left {
                assert!(!job.is_begun() && job.latest("message-expiring").is_some(), "{job:?}");
            }
            assert_eq!(store.read_json(Group::Staging, name, file::MD).unwrap(), None);
        }
        job(&store, "set.test", 0, true);
        store.write(Group::Staging, "set.test", "pubcert.p-256.pem", b"x").unwrap();
        job(&store, "live.test", 0, true);
        store.write(Group::Staging, "live.test", published::FILE, b"x").unwrap();
        job(&store, "under-way.test", 1, false);
        let lost = Job { finished: true, valid_from: Some(NOW), ..Job::new("lost.test") };
        store.write_json(Group::Staging, "lost.test", file::JOB, &lost.to_json()).unwrap();
        assert!(has_no_set(&store, "lost.test").unwrap(), "it had one");
        for name in ["set.test", "live.test", "under-way.test", "none.test"] {
            assert!(!has_no_set(&store, name).unwrap(), "{name}");
        }
    }

    #[test]
    fn what_a_child_wrote_of_a_set_that_is_in_use_by_then_says_which_commands_are_called_yet() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        let due = |notified, notified_renewed| {
            Some(PendingNotice { notified, notified_renewed, ..PendingNotice::default() })
        };
        for (name, flags, of_another, expected) in [
            ("a.test", (true, false), false, due(true, false)),
            ("b.test", (false, false), false, due(false, false)),
            ("c.test", (true, true), false, None),
            ("d.test", (true, false), true, None),
        ] {
            let (notified, notified_renewed) = flags;
            let (valid_from, last_run) = (Some(NOW), Some(NOW.minus(DAY / 2)));
            let late =
                Job { finished: true, valid_from, last_run, notified, notified_renewed, ..Job::new(name) };
            store.write_json(Group::Staging, name, file::JOB, &late.to_json()).unwrap();
            // When the start read it there, the call was under way.
            let in_use = Job { notified: true, notified_renewed: true, calling: true, ..late };
            let in_use = if of_another { Job { last_run: Some(NOW), ..in_use } } else { in_use };
            store.write_json(Group::Domains, name, file::JOB, &in_use.to_json()).unwrap();
            assert_eq!(start_over(&store, name, NOW).unwrap(), None);
            let left = store.read_json(Group::Staging, name, file::JOB).unwrap();
            let left = left.and_then(|json| Job::from_json(name, &json));
            assert_eq!(left.as_ref().and_then(|job| job.pending_notice.clone()), expected, "{name}");
            assert!(left.is_none_or(|job| !job.finished), "{name}");
        }
    }

    #[test]
    fn recent_notifications_outlive_the_purge() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        let mut job = Job { errors: 2, ..Job::new("a.test") };
        job.note(NOW, "progress", None, Some("Creating new order".into()));
        job.note(NOW, "message-errored", None, None);
        store.write_json(Group::Staging, "a.test", file::JOB, &job.to_json()).unwrap();
        assert_eq!(start_over(&store, "a.test", NOW).unwrap(), Some(2));
        let json = store.read_json(Group::Staging, "a.test", file::JOB).unwrap().unwrap();
        let left = Job::from_json("a.test", &json).unwrap();
        assert_eq!((left.is_begun(), left.log.len()), (false, 1));
        assert_eq!(left.latest("message-errored"), Some(NOW));
    }

    #[test]
    fn challenge_data_of_managed_names_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        for name in ["a.test", "wild.test", "gone.test"] {
            store.write(Group::Challenges, name, "acme-http-01.txt", b"x").unwrap();
        }
        let md = |names: &[&str]| Md {
            name: names[0].into(),
            domains: names.iter().map(ToString::to_string).collect(),
            ..Md::default()
        };
        let mds = [md(&["a.test"]), md(&["b.test", "*.wild.test"])];
        purge_challenges(&store, mds.iter().map(|md| (md, None))).unwrap();
        assert_eq!(store.names(Group::Challenges).unwrap(), ["a.test", "wild.test"]);
        // Only the files of an MD that no longer has the name are removed.
        let folder = Folder { store: &store, group: Group::Challenges, name: "a.test" };
        folder.put_http("a.test", "one.x").unwrap();
        folder.note_record("*.a.test", "record").unwrap();
        folder.note_record("b.test", "record").unwrap();
        purge_challenges(&store, mds.iter().map(|md| (md, None))).unwrap();
        assert_eq!(folder.owners(), ["a.test"]);
        assert!(store.read(Group::Challenges, "a.test", "acme-http-01.txt").unwrap().is_some());
    }
}
