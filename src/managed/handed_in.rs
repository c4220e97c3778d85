// SPDX-License-Identifier: Apache-2.0
//! A complete set that no order of ours has brought goes into staging, authenticated: the next start activates
//! it, or the renewing child publishes it, by the same ways and through the same gate as a renewed one. The
//! process may die between any two steps: until the last one the job is not finished, and nothing of the set
//! is used.

use super::bundle::{self, Bundle};
use super::staging::Staging;
use crate::model::{Job, Md};
use crate::store::{Error, WorkStore};
use crate::time::Timestamp;

/// Replaces what a renewal has left in staging, but for accounts, the history and the live set. `md` has the
/// keys of the sets and the CA that issued them; `why` goes to the log of the job.
pub fn stage(store: &WorkStore, md: &Md, sets: &[Bundle], why: &str, now: Timestamp) -> Result<(), Error> {
    let staging = Staging::new(store, &md.name);
    let log = staging.job().ok().flatten().map(|job| job.log).unwrap_or_default();
    let mut job = Job { log, ..Job::new(&md.name) };
    job.note(now, "progress", None, Some(why.to_string()));
    staging.save_job(&job)?;
    staging.reset()?;
    for set in sets {
        staging.save_key(&set.spec, &set.key)?;
        staging.save_chain(&set.spec, &set.chain)?;
    }
    // The binding to an external account is a secret, and of no use here.
    let md = Md { eab: None, ..md.clone() };
    staging.save_md(&md)?;
    job.auth = Some(bundle::vouch(store, &md.name, &md, sets, false)?);
    job.valid_from = sets.iter().map(|set| set.info.not_before).max();
    job.last.valid_from = job.valid_from;
    job.finished = true;
    // It was renewed by somebody else, some time ago.
    (job.notified, job.notified_renewed) = (true, true);
    staging.save_job(&job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::NOW;
    use crate::managed::fixture::{Lab, md};
    use crate::managed::published;
    use crate::store::Fuse;
    use std::slice;

    #[test]
    fn a_set_is_whole_and_ours_or_not_finished_wherever_the_process_dies() {
        for steps in 0.. {
            let lab = Lab::new();
            let a = md(&["a.test"]);
            lab.install(&a);
            let before = lab.set(&["a.test"], &a.keys()[0]);
            lab.stage(&a, &before);
            let set = lab.set(&["a.test"], &a.keys()[0]);
            let fuse = Fuse::after(usize::MAX);
            let dying = lab.dying_by(&fuse).worker();
            fuse.blow_after(steps);
            let is_done = stage(&dying, &a, slice::from_ref(&set), "handed in", NOW).is_ok();
            let store = lab.store.worker();
            let job = Staging::new(&store, "a.test").job().unwrap();
            if let Some(mut job) = job.filter(|job| job.finished) {
                let (_, sets) = published::staged(&store, &mut job, None).unwrap();
                let found = &sets[0].info.fingerprint;
                assert!(*found == set.info.fingerprint || *found == before.info.fingerprint && !is_done);
            } else {
                assert!(!is_done);
            }
            if is_done {
                assert!(steps > 10, "{steps}");
                return;
            }
        }
    }
}
