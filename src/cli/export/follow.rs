// SPDX-License-Identifier: Apache-2.0
//! `--follow`: a pass after each change of the set in use, live or by a start, until a signal ends it. Looks at
//! the times of two folders every two seconds and reads only what has changed; what fails is tried again.

use super::pass::Export;
use super::{report, set};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::cli::follow_up;
use crate::cli::site::Site;
use crate::managed::bundle::MD_FILE;
use crate::model::Md;
use crate::store::{Group, Watched};
use crate::time::{Clock, SystemClock, Timestamp};
use std::time::Duration;

const LOOK: Duration = Duration::from_secs(2);
/// After a failure, doubled each time.
const RETRY: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(600);

/// When the next pass is due although nothing has changed.
#[derive(Default)]
struct Retry {
    failures: u32,
    at: Option<Timestamp>,
}

impl Retry {
    fn failed(&mut self, now: Timestamp) {
        let pause = RETRY.saturating_mul(1 << self.failures.min(10)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.at = Some(now.plus(pause));
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.at.is_some_and(|at| at <= now)
    }
}

/// The folders that a set in use can come to.
const FOLDERS: [Group; 2] = [Group::Domains, Group::Staging];

pub fn run(call: &mut Call, export: &Export) -> Outcome {
    let clock = SystemClock::default();
    crate::exec::stop_on_signals(clock.stop.clone()).map_err(|error| {
        Failure::new(format!("no signal can be waited for: {}", crate::log::plain(&error)))
    })?;
    let site = Site::open(call)?;
    let mut md = follow_up::one(call, &site, &export.name)?.md;
    if md.has_static_files() {
        return Err(set::none(&md));
    }
    let (mut retry, mut is_told) = (Retry::default(), false);
    let mut watched = FOLDERS.map(|_| Watched::default());
    while !clock.is_stopped() {
        let now = clock.now();
        let looks = FOLDERS
            .iter()
            .zip(&mut watched)
            .map(|(group, watched)| watched.has_changed(site.store.stamp(*group, &md.name), now));
        // All of them are asked.
        if looks.fold(false, |any, is| any | is) || retry.is_due(now) {
            match one(call, export, &site, &mut md, &clock) {
                Ok(Step::Done) => retry = Retry::default(),
                Ok(Step::CommandFailed) => retry.failed(clock.now()),
                // The first certificate changes a folder.
                Ok(Step::NoCertificate) => {
                    if !std::mem::replace(&mut is_told, true) {
                        call.step(&format!("{}, waiting for it", set::none(&md).text));
                    }
                }
                Err(failure) => {
                    call.complain(&format!("a2md: {}", failure.text));
                    retry.failed(clock.now());
                }
            }
        }
        if clock.sleep(LOOK).is_err() {
            break;
        }
    }
    Ok(0)
}

enum Step {
    Done,
    CommandFailed,
    NoCertificate,
}

fn one(
    call: &mut Call,
    export: &Export,
    site: &Site,
    md: &mut Md,
    clock: &SystemClock,
) -> Result<Step, Failure> {
    // Its keys may be others since a start. In the midst of a swap it is not there.
    let json = site.store.read_json(Group::Domains, &md.name, MD_FILE).ok().flatten();
    if let Some(now) = json.as_ref().and_then(Md::from_json).filter(|now| now.name == md.name) {
        *md = now;
    }
    let passed = export.pass(&site.store, md, clock).map_err(|error| error.into_failure(&site.dir))?;
    let Some(passed) = passed else { return Ok(Step::NoCertificate) };
    if passed.is_changed || passed.ran.is_some() {
        report::print(call, export, &passed)?;
    }
    let has_failed = passed.ran.is_some_and(|ran| ran.outcome.is_err());
    Ok(if has_failed { Step::CommandFailed } else { Step::Done })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::NOW;

    #[test]
    fn what_fails_is_tried_again_ever_later() {
        let mut retry = Retry::default();
        assert!(!retry.is_due(NOW));
        for seconds in [10, 20, 40, 80, 160, 320, 600, 600] {
            retry.failed(NOW);
            let after = |seconds: u64| retry.is_due(NOW.plus(Duration::from_secs(seconds)));
            assert!(!after(seconds - 1) && after(seconds), "{seconds}");
        }
    }
}
