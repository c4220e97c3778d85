// SPDX-License-Identifier: Apache-2.0
//! A renewal in this process, by the code of httpd's renewing child: the way to the CA, the managed domain
//! with the settings that the store has of it, the challenges that a running httpd answers, and the result
//! into `domains`. Used by `drive` and `rehearse`. As root it does what children do with the rights of httpd's
//! user: commands run as that user, and files in its folders are given to it.

use super::call::{Failure, Options};
use crate::config::PlannedMd;
use crate::crypto;
use crate::dns::resolve::{RESOLV_CONF, servers_of};
use crate::exec;
use crate::http::client::{Client, Limits, Options as ClientOptions};
use crate::http::{self, Transport};
use crate::managed::{Managed, bundle};
use crate::model::{Dns01, Md, Route};
use crate::notify::Commands;
use crate::renew::attempt::ca_pool::CaPool;
use crate::renew::attempt::context::Context;
use crate::renew::attempt::settings::Settings;
use crate::renew::decide::retry::Retry;
use crate::startup::activate::{Activated, Activation};
use crate::startup::dns_secrets;
use crate::startup::stored_md::StoredMd;
use crate::startup::trial::LoadTrial;
use crate::store::{Error, StartStore, read_admin_file};
use crate::time::{StopFlag, SystemClock, Timestamp};
use nix::sys::signal::{SigSet, Signal};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// As httpd has it where nothing else is configured.
const RETRY: Retry = Retry { delay: Duration::from_secs(5), failover: 13 };
const CHECK_INTERVAL: Duration = Duration::from_secs(12 * 3600);
const DNS01_TIMEOUT: Duration = Duration::from_secs(600);

/// The way to a CA that the options of a call say.
pub fn route(options: &Options) -> Route {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    Route {
        ca_file: options.ca_file.as_ref().map(|path| absolute(path).display().to_string()),
        proxy_url: options.proxy.clone(),
        proxy_ca_file: None,
    }
}

/// Opens a transport that goes this way until `stop`.
pub fn connect(route: &Route, stop: &StopFlag) -> Result<Arc<dyn Transport>, http::Error> {
    let client = Client::new(&ClientOptions {
        ca_file: route.ca_file.clone().map(Into::into),
        proxy_url: route.proxy_url.clone(),
        proxy_ca_file: route.proxy_ca_file.clone().map(Into::into),
        user_agent: format!("a2md/{}", crate::VERSION),
        limits: Limits::default(),
        stop: stop.clone(),
    })?;
    Ok(Arc::new(client))
}

/// Raised by the signals that end a command, so that it can tidy up. Call it before any other thread is
/// started: threads inherit that these signals are blocked.
pub fn stop_on_signals() -> StopFlag {
    let stop = StopFlag::default();
    let mut signals = SigSet::empty();
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|signal| signals.add(signal));
    if signals.thread_block().is_ok() {
        let raised = stop.clone();
        std::thread::spawn(move || {
            // Where it fails there is no way to wait for signals, and this process ends by its work.
            if signals.wait().is_ok() {
                raised.raise();
            }
        });
    }
    stop
}

/// The managed domain as the store has it, with what the options of a call say of the way to the CA.
pub fn managed(store: &StartStore, md: Md, options: &Options) -> Managed {
    let asked = route(options);
    let route = Route {
        ca_file: asked.ca_file.or(md.ca_certs.clone()),
        proxy_url: asked.proxy_url.or(md.proxy_url.clone()),
        proxy_ca_file: md.proxy_ca_certs.clone(),
    };
    let by_command = md.cmd_dns_01.clone().map(|line| Dns01::by_command(line, 1, DNS01_TIMEOUT));
    let by_way = || {
        let way = md.dns_01.clone()?;
        Some(Dns01 { way, limit: DNS01_TIMEOUT, propagation: Default::default() })
    };
    let dns01 = by_command.or_else(by_way);
    let (certs, _) = bundle::look(store, &md.name, &md);
    let mut planned = [PlannedMd { md, dns01, route, watched: true, ..PlannedMd::default() }];
    for finding in dns_secrets::load(&mut planned) {
        crate::log!(Warn, "{}", finding.text);
    }
    let [planned] = planned;
    Managed { in_use: true, ..Managed::new(planned, certs) }
}

/// All that renewals of these managed domains need. From then on commands of this process run as httpd's user,
/// where that is another one.
pub fn context(store: &StartStore, targets: Vec<Managed>, stop: &StopFlag) -> Context {
    if let Some(owner) = store.worker_owner() {
        exec::run_as(owner.uid, owner.gid);
    }
    let (reachable_by_http, reachable_by_https) = store.read_reach();
    let settings = Settings {
        retry: RETRY,
        check_interval: CHECK_INTERVAL,
        initial_delay: Duration::ZERO,
        parallel: 1,
        reachable_by_http,
        reachable_by_https,
        commands: Commands { message: None, notify: None },
        dns_zones: Vec::new(),
    };
    let until = stop.clone();
    let cas = CaPool::new(Box::new(move |route| connect(route, &until)));
    let clock = Arc::new(SystemClock { stop: stop.clone() });
    Context::new(targets.into(), store.worker(), settings, cas, clock, crypto::random_unit)
        .with_resolvers(resolvers)
}

fn resolvers() -> Vec<SocketAddr> {
    // Where it cannot be read, whoever has a question says that there is no resolver.
    let text = read_admin_file(Path::new(RESOLV_CONF)).unwrap_or_default();
    servers_of(&String::from_utf8_lossy(&text))
}

/// Brings the complete set in staging into `domains`, as a start of httpd does: the one before goes to the
/// archive. Should the next start end with it, the one after puts the former back.
pub fn activate(store: &StartStore, md: &mut Md, now: Timestamp) -> Result<Activated, Error> {
    let mut stored = StoredMd::at_home(store, md);
    let mut activation = Activation::begin(store, &[md], now)?;
    let outcome = activation.activate(md, &mut stored, Duration::ZERO)?;
    drop(LoadTrial::begin(store, activation.replaced()));
    if outcome == Activated::Done {
        stored.save(store, md)?;
    }
    Ok(outcome)
}

/// The failure of a renewal's store, with its advice.
pub fn of_store(error: &Error) -> Failure {
    Failure::new(error.advised()).status(error.os_error().unwrap_or(crate::model::outcome::status::GENERAL))
}
