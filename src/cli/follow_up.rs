// SPDX-License-Identifier: Apache-2.0
//! What follows a change in the store: the running httpd is asked to act upon it at once, and where none runs
//! its next start does.

use super::console::call::{Call, Failure};
use super::site::Site;
use super::site::{request, server};
use crate::managed::Managed;
use crate::model::{Answer, Op, request::RequestState};
use serde_json::{Value, json};
use std::time::Duration;

/// How long httpd may take to look at a domain, and to renew it.
const LOOK: Duration = Duration::from_secs(60);
const RENEWAL: Duration = Duration::from_secs(300);

/// How the request went.
pub struct Asked {
    pub is_running: bool,
    pub has_failed: bool,
    /// For people.
    pub text: String,
}

impl Asked {
    pub fn to_json(&self) -> Value {
        let state = match (self.is_running, self.has_failed) {
            (false, _) => "at-next-start",
            (true, false) => "done",
            (true, true) => "failed",
        };
        json!({"state": state, "detail": self.text})
    }
}

/// The managed domain that a name means.
pub fn one(call: &Call, site: &Site, name: &str) -> Result<Managed, Failure> {
    let name = name.to_string();
    let found = site.named(call, &[&name])?.into_iter().next();
    found.ok_or_else(|| Failure::new(format!("no managed domain has the name '{name}'")).status(2))
}

/// Asks the running httpd, and waits for its answer.
pub fn ask(call: &mut Call, site: &Site, name: &str, op: Op) -> Asked {
    if request::running(site).is_none() {
        let why = server::pid(call, site).map_or_else(|| "no httpd runs here".to_string(), server::deaf);
        let text = match op {
            Op::Renew(_) => format!("{why}, so the next start renews it"),
            Op::Look | Op::Present { .. } => format!("{why}, so it comes into use at the next start"),
        };
        return Asked { is_running: false, has_failed: false, text };
    }
    let limit = if matches!(op, Op::Look) { LOOK } else { RENEWAL };
    call.step(&format!("Asking httpd about md[{name}]"));
    let steps = |answer: &Answer| answer.detail.iter().cloned().collect::<Vec<_>>();
    let mut shown = Vec::new();
    let asked = request::submit(site, name, op)
        .and_then(|mut submitted| submitted.wait(call, limit, |answer| shown.extend(steps(answer))));
    shown.iter().for_each(|step| call.step(step));
    match asked {
        Ok(answer) => {
            let has_failed = answer.state != RequestState::Done;
            let text = answer.detail.unwrap_or_else(|| answer.state.token().to_string());
            Asked { is_running: true, has_failed, text }
        }
        Err(failure) => {
            let text =
                failure.advice.map_or(failure.text.clone(), |advice| format!("{}. {advice}", failure.text));
            Asked { is_running: true, has_failed: true, text }
        }
    }
}
