// SPDX-License-Identifier: Apache-2.0
//! TXT records by a hook that was written for another ACME client, called as that client calls it: [`call`]
//! has the forms of those that are programs, [`httpreq`] sends requests. Hooks run with the rights of the
//! process that renews. Reads no file: root has loaded the secrets. Imports `exec` and `http`; of its own
//! room only [`Record`].

mod call;
mod error;
mod httpreq;
pub mod secrets;

pub use error::Error;

use super::Record;
use crate::exec;
use crate::http::Transport;
use crate::model::dns01::{Hook, HookKind};
use crate::time::Clock;
use call::{Call, Change};
use error::by_hand;
use std::time::Duration;

/// Adds a record. What certbot's hook has printed, at most 4 KiB, is for [`tear_down`]. `limit` is for
/// programs; `http` has its own.
pub fn set_up(
    hook: &Hook,
    record: &Record<'_>,
    limit: Duration,
    clock: &dyn Clock,
    http: &dyn Transport,
) -> Result<Option<String>, Error> {
    let change = Change::SetUp;
    if hook.kind == HookKind::HttpReq {
        return httpreq::send(hook, change, record, http).map(|()| None);
    }
    let printed = run(hook, change, record, limit, clock)?;
    // certbot removes blanks around it, too.
    Ok((hook.kind == HookKind::Certbot).then(|| printed.trim().replace('\0', "")))
}

/// Removes a record. `output`: what [`set_up`] returned, where that is still known.
pub fn tear_down(
    hook: &Hook,
    record: &Record<'_>,
    output: Option<&str>,
    limit: Duration,
    clock: &dyn Clock,
    http: &dyn Transport,
) -> Result<(), Error> {
    let change = Change::TearDown { output: output.unwrap_or_default() };
    if hook.kind == HookKind::HttpReq {
        return httpreq::send(hook, change, record, http);
    }
    run(hook, change, record, limit, clock).map(drop)
}

fn run(
    hook: &Hook,
    change: Change<'_>,
    record: &Record<'_>,
    limit: Duration,
    clock: &dyn Clock,
) -> Result<String, Error> {
    let kind = hook.kind.word();
    let unusable = |reason: String| Error::unusable(hook.kind, reason, "Correct MDChallengeDns01");
    let call = Call::of(hook, change, record)
        .ok_or_else(|| unusable("it has not the words that it needs".into()))?;
    let mut environment = exec::Environment::default();
    if let Some(file) = &hook.env {
        let text = file.text().map_err(|fault| Error::of_file(hook.kind, fault))?;
        let bad = |error| {
            let remedy = "Correct that line, then reload httpd";
            Error::unusable(hook.kind, format!("{}: {error}", file.path), remedy)
        };
        environment = secrets::variables(text).map_err(bad)?;
    }
    for (name, value) in &call.variables {
        environment.set(name, value).map_err(|error| unusable(format!("{name}: {error}")))?;
    }
    let arguments: Vec<&str> = call.arguments.iter().map(String::as_str).collect();
    exec::run_in(&environment, &call.line, &arguments, limit, clock).map_err(|source| {
        let by_hand = by_hand(hook.env.as_ref(), &call.by_hand);
        Error::Command { kind, source, by_hand }
    })
}

#[cfg(test)]
mod tests;
