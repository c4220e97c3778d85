// SPDX-License-Identifier: Apache-2.0
//! Asks the running httpd for something, through a file that root or the store's owner alone can write, and
//! waits for the answer, which the renewing child leaves where it may write. Refuses to ask where no httpd
//! runs on the store.

use super::{Site, of_store};
use crate::challenge::presented::Presented;
use crate::cli::console::call::{Call, Failure};
use crate::crypto;
use crate::managed::staging::Staging;
use crate::model::{Answer, Op, Request, Requested};
use crate::store::{Flat, Group, Holder};
use crate::time;
use data_encoding::HEXLOWER;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// The time that a child which renews may need to take over from one that has ended.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a running httpd does not answer.
pub const RUNS_ALL_THE_SAME: &str =
    "An httpd that runs all the same has mod_md 2.x, which reads no requests, or another store (-d DIR).";

/// A request whose answer has not been seen yet. Its file is removed with it.
pub struct Submitted<'s> {
    site: &'s Site,
    name: String,
    id: String,
    /// The answer as it was seen last.
    seen: Option<Answer>,
    /// The last time at which httpd was seen to run.
    running: Instant,
    /// The process that it was submitted to.
    holder: Holder,
}

/// How long to look for a process that renews: after a restart of httpd none does for up to five seconds.
pub const RESTART: Duration = Duration::from_secs(6);

/// The process that renews in the store of the site, and acts upon requests.
pub fn running(site: &Site) -> Option<Holder> {
    site.store.renewer_within(RESTART).ok().flatten()
}

/// Asks the running httpd. `name` is a managed domain, or for a text to present any host.
pub fn submit<'s>(site: &'s Site, name: &str, op: Op) -> Result<Submitted<'s>, Failure> {
    let Some(holder) = running(site) else { return Err(not_running(site)) };
    let mut id = [0; 12];
    crypto::fill_with_random(&mut id).map_err(|error| Failure::new(error.to_string()))?;
    let id = HEXLOWER.encode(&id);
    let by = format!("user {} (a2md)", rustix::process::getuid().as_raw());
    let request = Request { id: id.clone(), op, time: time::now(), by };
    if Request::from_json(&request.to_json()).is_none() {
        return Err(Failure::new(format!("{name}: the request has characters that httpd does not take")));
    }
    let name = crate::names::normalize(name).map_err(|error| Failure::new(format!("{name}: {error}")))?;
    let store = site.store.unsynced();
    store.write_flat(Flat::Requests, &name, &request.to_json()).map_err(|error| {
        match error.is_not_found() {
            true => Failure::new("the store has no folder for requests (requests)")
                .advice("Restart httpd with the module of this version, which makes it."),
            false => of_store(&site.dir, &error),
        }
    })?;
    Ok(Submitted { site, name, id, seen: None, running: Instant::now(), holder })
}

/// No httpd runs on the store.
pub fn not_running(site: &Site) -> Failure {
    Failure::new(format!("no httpd runs on the store {} that reads requests", site.dir.display())).advice(format!(
        "Start httpd. {RUNS_ALL_THE_SAME} One with this version looks for requests within seconds of its start.",
    ))
}

impl Submitted<'_> {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The answer so far.
    pub fn look(&mut self) -> Option<&Answer> {
        if let Some(answer) = self.found() {
            self.seen = Some(answer);
        }
        self.seen.as_ref()
    }

    /// What the renewal is at, as the job says.
    pub fn activity(&self) -> Option<String> {
        Staging::new(&self.site.store.worker(), &self.name).job().ok()??.last.activity
    }

    /// Whether the answer may be lost: there is none any more, or another httpd renews by now. A start that takes
    /// a set into use removes the answer with it.
    pub fn may_be_lost(&self) -> bool {
        let is_other = |holder: &Holder| holder.instance != self.holder.instance;
        let now = || self.site.store.renewer().ok().flatten();
        self.seen.is_some() && self.found().is_none() || now().as_ref().is_some_and(is_other)
    }

    /// Waits for the last answer, and hands each on the way to `each`.
    pub fn wait(
        &mut self,
        call: &Call,
        limit: Duration,
        mut each: impl FnMut(&Answer),
    ) -> Result<Answer, Failure> {
        let begin = Instant::now();
        let mut shown = None;
        loop {
            if let Some(answer) = self.look().cloned() {
                if shown.as_ref() != Some(&answer) {
                    each(&answer);
                }
                if answer.state.is_final() {
                    return Ok(answer);
                }
                shown = Some(answer);
            }
            self.check_running()?;
            if begin.elapsed() >= limit {
                let seconds = limit.as_secs();
                return Err(Failure::new(format!(
                    "{}: httpd has not answered within {seconds} seconds",
                    self.name
                ))
                .advice("The error log of httpd says what it is at; md-status shows the request."));
            }
            let stopped = |_| Failure::new("interrupted");
            call.clock.sleep(PAUSE).map_err(stopped)?;
        }
    }

    /// Fails once no httpd has run for a while.
    pub fn check_running(&mut self) -> Result<(), Failure> {
        if self.site.store.renewer().ok().flatten().is_some() {
            self.running = Instant::now();
        }
        if self.running.elapsed() < PATIENCE {
            return Ok(());
        }
        Err(Failure::new(format!("{}: httpd does not run any more", self.name))
            .advice("Start httpd; its error log says why it has ended."))
    }

    /// Of a managed domain, or of a host.
    fn found(&self) -> Option<Answer> {
        let store = self.site.store.worker();
        let of_job = || Staging::new(&store, &self.name).job().ok()??.request;
        let of_host = || Presented::read(&self.site.store, Group::Challenges, self.folder()).request;
        let answer = |requested: Option<Requested>| requested?.answer_to(&self.id);
        answer(of_job()).or_else(|| answer(of_host()))
    }

    /// The challenges of a wildcard stand under the name without it.
    fn folder(&self) -> &str {
        self.name.strip_prefix("*.").unwrap_or(&self.name)
    }
}

impl Drop for Submitted<'_> {
    /// A file that somebody else has written since stays; so does one that cannot be removed, until the next
    /// start.
    fn drop(&mut self) {
        let store = self.site.store.unsynced();
        let found = store.read_flat(Flat::Requests, &self.name).ok().flatten();
        let is_ours = found.as_ref().and_then(Request::from_json).is_some_and(|found| found.id == self.id);
        if is_ours {
            let _ = store.remove_flat(Flat::Requests, &self.name);
        }
    }
}
