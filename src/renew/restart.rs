//! What a start does beside activation: failing jobs begin anew, challenge data of nobody goes.

use super::staging::file;
use crate::challenge::dns01;
use crate::model::Job;
use crate::store::{Error, Group, StartStore};
use std::collections::HashSet;

/// Purges the staging of a job that failed and is not finished. The answer is how often it had failed.
pub fn begin_anew(store: &StartStore, name: &str) -> Result<Option<u32>, Error> {
    let job = match store.read_json(Group::Staging, name, file::JOB) {
        Ok(json) => json.as_ref().and_then(|json| Job::from_json(name, json)),
        // A job that cannot be read begins anew by itself.
        Err(Error::Garbage { .. }) => None,
        Err(error) => return Err(error),
    };
    match job {
        Some(job) if job.errors > 0 && !job.finished => {
            store.purge(Group::Staging, name)?;
            Ok(Some(job.errors))
        }
        _ => Ok(None),
    }
}

/// Lets `change` work on the job of an active set.
pub fn with_job(store: &StartStore, name: &str, change: impl FnOnce(&mut Job)) -> Result<(), Error> {
    let json = store.read_json(Group::Domains, name, file::JOB)?;
    let mut job = json.as_ref().and_then(|json| Job::from_json(name, json)).unwrap_or_else(|| Job::new(name));
    change(&mut job);
    store.write_json(Group::Domains, name, file::JOB, &job.to_json())
}

/// Removes challenge data of names that no MD has.
pub fn purge_challenges(store: &StartStore, managed: &HashSet<&str>) -> Result<(), Error> {
    for name in store.names(Group::Challenges)? {
        let wildcard = format!("*.{name}");
        if !managed.contains(name.as_str()) && !managed.contains(wildcard.as_str()) {
            warn_of_records(store, &name);
            store.purge(Group::Challenges, &name)?;
        }
    }
    Ok(())
}

/// Nobody knows any more with which command they could be taken away.
fn warn_of_records(store: &StartStore, name: &str) {
    // A note that cannot be read names no record.
    let note = store.read_json(Group::Challenges, name, dns01::FILE_NAME).unwrap_or_default();
    for value in dns01::noted(note.as_ref()) {
        crate::log!(Warn, "{name}: it is not managed any more: {}", dns01::left_behind(name, &value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(store: &StartStore, name: &str, errors: u32, finished: bool) {
        let job = Job { errors, finished, ..Job::new(name) };
        store.write_json(Group::Staging, name, file::JOB, &job.to_json()).unwrap();
    }

    #[test]
    fn only_failing_unfinished_jobs_begin_anew() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        job(&store, "failing.test", 3, false);
        job(&store, "under-way.test", 0, false);
        job(&store, "finished.test", 1, true);
        store.write(Group::Staging, "garbage.test", file::JOB, b"{").unwrap();
        assert_eq!(begin_anew(&store, "failing.test").unwrap(), Some(3));
        for name in ["under-way.test", "finished.test", "garbage.test", "none.test"] {
            assert_eq!(begin_anew(&store, name).unwrap(), None, "{name}");
        }
        let left = store.names(Group::Staging).unwrap();
        assert_eq!(left, ["finished.test", "garbage.test", "under-way.test"]);
    }

    #[test]
    fn challenge_data_of_managed_names_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        for name in ["a.test", "wild.test", "gone.test"] {
            store.write(Group::Challenges, name, "acme-http-01.txt", b"x").unwrap();
        }
        purge_challenges(&store, &HashSet::from(["a.test", "*.wild.test"])).unwrap();
        assert_eq!(store.names(Group::Challenges).unwrap(), ["a.test", "wild.test"]);
    }
}
