// SPDX-License-Identifier: Apache-2.0
//! `a2md fleet rekey`, `resync` and `evict`: has the process that replicates do it, by a file that root or the
//! store's owner alone can write, and waits for its answer. Refuses to ask where no httpd runs on the store.

use super::member;
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::cli::site::{Site, of_store, request};
use crate::crypto;
use crate::model::{Answer, FleetOp, FleetReport, FleetRequest, RequestState};
use crate::time;
use clap::{Arg, ArgMatches, Command};
use data_encoding::HEXLOWER;
use serde_json::json;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// For the first answer: after a restart the next process begins to replicate within some seconds.
const ANSWERED: Duration = Duration::from_secs(30);
/// For the last one: everything in the engine may be written again.
const DONE: Duration = Duration::from_secs(600);

pub fn define_rekey() -> Command {
    Command::new("rekey")
        .about("Seal all values of the engine again by the first secret, so that the second can be removed")
}

pub fn define_resync() -> Command {
    Command::new("resync").about("Have this node read everything from the engine again")
}

pub fn define_evict() -> Command {
    Command::new("evict").about("Remove what a dead node has left in the engine").arg(
        Arg::new("node")
            .value_name("NODE")
            .required(true)
            .help("Its id or name, as 'a2md fleet status' lists it"),
    )
}

pub fn run(call: &mut Call, name: &str, matches: &ArgMatches) -> Outcome {
    let op = match name {
        "rekey" => FleetOp::Rekey,
        "resync" => FleetOp::Resync,
        _ => FleetOp::Evict { node: matches.get_one::<String>("node").cloned().unwrap_or_default() },
    };
    let site = Site::open(call)?;
    member::check(&site)?;
    let answer = Submitted::submit(&site, op)?.wait(call)?;
    let is_done = answer.state == RequestState::Done;
    if call.options.json {
        call.print_document(&json!({
            "schema": 1, "op": name, "state": answer.state.token(), "detail": answer.detail,
            "when": answer.when.to_rfc3339(),
        }))?;
    } else {
        let detail = answer.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
        call.say(&format!("{name}: {}{detail}", answer.state.token()));
    }
    Ok(u8::from(!is_done))
}

/// A request that was made. Its file is removed with it.
struct Submitted<'s> {
    site: &'s Site,
    id: String,
}

impl<'s> Submitted<'s> {
    fn submit(site: &'s Site, op: FleetOp) -> Result<Self, Failure> {
        if request::running(site).is_none() {
            return Err(request::not_running(site));
        }
        let id = crypto::random::<12>().map_err(|error| Failure::new(error.to_string()))?;
        let id = HEXLOWER.encode(&id);
        let by = format!("user {} (a2md)", rustix::process::getuid().as_raw());
        let json = FleetRequest { id: id.clone(), op, time: time::now(), by }.to_json();
        if FleetRequest::from_json(&json).is_none() {
            return Err(Failure::new(
                "the name of the node has characters that httpd does not take, or too many",
            )
            .advice("Give its id or name as 'a2md fleet status' lists it."));
        }
        let written = site.store.unsynced().write_fleet_request(&json);
        written.map_err(|error| of_store(&site.dir, &error))?;
        Ok(Submitted { site, id })
    }

    /// The last answer.
    fn wait(&self, call: &Call) -> Result<Answer, Failure> {
        let begin = Instant::now();
        let mut shown = None;
        loop {
            let answer = self.answer();
            if let Some(answer) = &answer
                && answer.state.is_final()
            {
                return Ok(answer.clone());
            }
            if answer.is_some() && answer != shown {
                let text = answer
                    .as_ref()
                    .map(|answer| answer.detail.clone().unwrap_or_else(|| answer.state.token().to_string()));
                text.iter().for_each(|text| call.step(text));
            }
            let limit = if answer.is_some() { DONE } else { ANSWERED };
            if begin.elapsed() >= limit {
                return Err(unanswered(answer.is_some(), limit));
            }
            shown = answer;
            call.clock.sleep(PAUSE).map_err(|_| Failure::new("interrupted"))?;
        }
    }

    fn answer(&self) -> Option<Answer> {
        let json = self.site.store.read_fleet_status().ok()??;
        FleetReport::from_json(&json)?.answer.filter(|answer| answer.id == self.id)
    }
}

fn unanswered(is_begun: bool, limit: Duration) -> Failure {
    let seconds = limit.as_secs();
    match is_begun {
        true => Failure::new(format!("httpd is not done after {seconds} seconds, and goes on"))
            .advice("'a2md fleet status' and httpd's error log say what it is at."),
        false => Failure::new(format!("no process of httpd has answered within {seconds} seconds")).advice(
            "None replicates, or the engine is away: 'a2md fleet status' and httpd's error log say why. An httpd whose module \
             has no MDFleet does not answer.",
        ),
    }
}

impl Drop for Submitted<'_> {
    /// A file that somebody else has written since stays; so does one that cannot be removed, until the next
    /// start.
    fn drop(&mut self) {
        let store = self.site.store.unsynced();
        let found = store.read_fleet_request().ok().flatten();
        if found.as_ref().and_then(FleetRequest::from_json).is_some_and(|found| found.id == self.id) {
            let _ = store.remove_fleet_request();
        }
    }
}
