// SPDX-License-Identifier: Apache-2.0
//! The first half of a start, before mod_ssl asks for certificates: makes the plan, opens the store and has
//! [`startup::bring_up`](crate::startup::bring_up) bring it in line. [`Startup`] keeps the data for mod_ssl's
//! questions in between. A broken entry of the store never stops the start, except the file that holds its
//! key.

use super::check::{advise, make_plan};
use super::common::share;
use super::dns;
use super::fleet;
use super::guest;
use super::refusal::{StartFailed, refuse};
use super::servers::{collect, report};
use crate::httpd::state::Server;
use crate::httpd::state::startup::Startup;
use crate::httpd::sys;
use crate::startup::bring_up::{self, Start};
use crate::startup::dns_secrets;
use crate::store::StartStore;
use crate::sync::lock;
use crate::time::{Clock, SystemClock};
use std::path::Path;
use std::sync::Arc;

/// Before mod_ssl: the plan, the store in line with it, staged sets activated.
pub fn before_tls(main: Server<'_>) -> Result<(), StartFailed> {
    let is_check = sys::is_configuration_check();
    announce(is_check);
    let now = SystemClock::default().now();
    let records = sys::servers(main);
    let servers = collect(main, &records);
    let mut plan = make_plan(&servers).map_err(refuse)?;
    advise(&plan, &servers, &records, is_check);
    if !is_check {
        report(std::mem::take(&mut plan.findings));
        // What is wrong with them is among the advice.
        dns_secrets::load(&mut plan.mds);
    }
    let files = fleet::read(&plan)?;
    let dir = sys::server_root().join(&plan.global.store_dir);
    if guest::is_one(&plan) {
        if !is_check {
            let bound = dns::bind(main, &plan.global.dns)?;
            share(guest::state(&plan, &records, &dir, bound, now), &records);
        }
        return Ok(());
    }
    let store = open(&dir)?;
    let start = Start { store: &store, now, is_check, servers: &servers };
    let brought_up = bring_up::bring_up(&start, &mut plan).map_err(|error| {
        crate::log!(Error, "AH10073: synching Managed Domains with the store: {}", error.advised());
        StartFailed
    })?;
    let files = if is_check { None } else { fleet::prepare(&store, files)? };
    let index = records.iter().enumerate().map(|(i, server)| (server.key(), i)).collect();
    let startup = Arc::new(Startup::new(store, now, plan, servers, index, brought_up));
    *lock(&startup.fleet) = files;
    for conf in records.iter().filter_map(Server::conf) {
        *lock(&conf.startup) = Some(startup.clone());
    }
    Ok(())
}

fn announce(is_check: bool) {
    if is_check {
        crate::log!(Trace1, "AH10070: initializing post config dry run");
        return;
    }
    crate::log!(Info, "AH10071: mod_md (v{}), initializing...", crate::VERSION);
    if let Some(path) = sys::outdated() {
        crate::log!(
            Warn,
            "{} has been replaced, but httpd still runs the old file (mod_md {}). Reload once more; if this warning \
             stays, stop and start httpd.",
            path.display(),
            crate::VERSION
        );
    }
}

fn open(dir: &Path) -> Result<StartStore, StartFailed> {
    let store = StartStore::open(dir, sys::store_owner()).map_err(|error| {
        crate::log!(
            Error,
            status = error.os_error().unwrap_or(0),
            "AH10046: setup store for Managed Domains: {}",
            error.advised()
        );
        StartFailed
    })?;
    Ok(store.with_key_in(sys::keep_secret))
}
