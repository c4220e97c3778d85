// SPDX-License-Identifier: Apache-2.0
//! The start, in the parent and usually as root: plan, store, activation, and the renewal's registration.
//!
//! post_config runs twice for each reading of the configuration: before mod_ssl, so that certificates are
//! in place when it asks, and after it, when TLS hosts are known. No outside server is contacted here. A
//! broken entry of the store never stops the start, except the file that holds its key.

use super::stapled;
use super::{advice, guest};
use crate::challenge::dns01;
use crate::config::{self, Finding, Host, Plan, PlannedMd, ServerConfig};
use crate::counters::Counters;
use crate::httpd::state::startup::{Primed, Startup};
use crate::httpd::state::tls_hosts::TlsHosts;
use crate::httpd::state::{PageSettings, Server, State};
use crate::httpd::sys;
use crate::httpd::sys::Watchdogs;
use crate::live::distribution::{self, Distribution};
use crate::live::roster::Roster;
use crate::live::signals::Signals;
use crate::log::Level;
use crate::managed::save_error::Unsaved;
use crate::managed::{Managed, Route};
use crate::metrics::Tally;
use crate::model::{Md, RequireHttps};
use crate::notify::Commands;
use crate::renew::attempt::settings::Settings;
use crate::renew::decide::retry::Retry;
use crate::stapling::snapshot::States;
use crate::startup::bring_up;
use crate::startup::bring_up::Right;
use crate::startup::fallback::Fallbacks;
use crate::startup::reconcile;
use crate::startup::reconcile::SyncedMd;
use crate::startup::recover::OnTrial;
use crate::startup::{cleanup, findings};
use crate::status::Snapshots;
use crate::store::StartStore;
use crate::sync::lock;
use crate::time::{Clock, StopFlag, SystemClock};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The start must not go on. Why stands in the log.
pub struct StartFailed;

/// `apachectl configtest`: tells on the terminal all that can be known, and changes nothing. Only what would
/// end the start ends it.
pub fn check(main: Server<'_>) -> Result<(), StartFailed> {
    if !sys::is_configuration_test() {
        return Ok(());
    }
    let records = sys::servers(main);
    let servers = collect(main, &records);
    let tell = |findings: Vec<Finding>| findings.iter().for_each(|finding| sys::tell_terminal(&finding.text));
    let list = make_plan(&servers).and_then(|plan| {
        let advice = advice::of(&plan, &servers);
        advice::list(plan, advice, &servers, &records)
    });
    list.map(tell).map_err(|findings| {
        tell(findings);
        StartFailed
    })
}

fn make_plan(servers: &[(ServerConfig, Host)]) -> Result<Plan, Vec<Finding>> {
    config::plan(&config_servers(servers), &sys::listener_ports(), &|path: &Path| path.exists())
}

/// Tells what is known before mod_ssl begins. Where mod_ssl is going to end the start, in its first pass
/// already, the whole list.
fn advise(plan: &Plan, servers: &[(ServerConfig, Host)], records: &[Server<'_>], is_check: bool) {
    let advice = advice::of(plan, servers);
    if advice.ends_start() {
        let (Ok(findings) | Err(findings)) = advice::list(plan.clone(), advice, servers, records);
        report(findings);
    } else if !is_check {
        report(advice.findings);
    }
}

/// Before mod_ssl: the plan, the store in line with it, staged sets activated.
pub fn before_tls(main: Server<'_>) -> Result<(), StartFailed> {
    let is_check = sys::is_configuration_check();
    if is_check {
        crate::log!(Trace1, "AH10070: initializing post config dry run");
    } else {
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
    let now = SystemClock::default().now();
    let records = sys::servers(main);
    let servers = collect(main, &records);
    let mut plan = make_plan(&servers).map_err(refuse)?;
    advise(&plan, &servers, &records, is_check);
    if !is_check {
        report(std::mem::take(&mut plan.findings));
    }
    let dir = sys::server_root().join(&plan.global.store_dir);
    if guest::is_one(&plan) {
        if !is_check {
            share(guest::state(&plan, &records, &dir), &records);
        }
        return Ok(());
    }
    let store = StartStore::open(&dir, sys::store_owner()).map_err(|error| {
        crate::log!(
            Error,
            status = error.os_error().unwrap_or(0),
            "AH10046: setup store for Managed Domains: {}",
            error.advised()
        );
        StartFailed
    })?;
    let store = store.with_key_in(sys::keep_secret);
    let configured: Vec<Md> = plan.mds.iter().map(|p| p.md.clone()).collect();
    // Held until the staged sets are in use.
    let right = if is_check { Right::Look } else { Right::to_change(&store, plan.global.store_locks) };
    // The check comes first to where the last start ended.
    let mut on_trial = match right {
        Right::Look if !is_check => OnTrial::new(),
        _ => bring_up::revert(&store, now),
    };
    let bring_in_line = if matches!(right, Right::Look) { reconcile::look } else { reconcile::sync };
    let hosts = |md| plan.host_names(md, |at| servers.get(at).map(|(_, host)| host));
    let mut mds = bring_in_line(&store, &configured, &hosts).map_err(|error| {
        crate::log!(Error, "AH10073: synching Managed Domains with the store: {}", error.advised());
        StartFailed
    })?;
    if !is_check {
        store.hand_over(|| plan.known_names(servers.iter().map(|(_, host)| host)));
    }
    // Of the admin's own files the advice has told.
    for md in mds.iter().filter(|synced| !synced.md.has_static_files()) {
        for problem in &md.problems {
            crate::log!(Warn, "md[{}]: {problem}", md.md.name);
        }
    }
    if let Right::Change { .. } = right {
        on_trial.extend(bring_up::run(&store, &mut mds, &plan, now));
    }
    drop(right);
    let startup = Arc::new(Startup {
        hosts: TlsHosts::new(mds.len(), plan.global.live_activation),
        trial: Mutex::new(bring_up::begin_trial(&store, &on_trial)),
        on_trial,
        own_files: Mutex::default(),
        stapling: Primed::default(),
        store,
        now,
        fallbacks: Fallbacks::default(),
        mds: Mutex::new(mds),
        index: records.iter().enumerate().map(|(i, s)| (s.key(), i)).collect(),
        servers,
        plan: Mutex::new(plan),
        tls: Mutex::default(),
    });
    for conf in records.iter().filter_map(Server::conf) {
        *lock(&conf.startup) = Some(startup.clone());
    }
    Ok(())
}

/// After mod_ssl: which hosts have TLS is known; states are settled and the renewal is registered.
pub fn after_tls(main: Server<'_>, watchdogs: &Watchdogs<'_, State>) -> Result<(), StartFailed> {
    let records = sys::servers(main);
    let startup = main.conf().and_then(|conf| lock(&conf.startup).take());
    let Some(startup) = startup else { return Ok(()) };
    startup.end_trial();
    for conf in records.iter().filter_map(Server::conf) {
        lock(&conf.startup).take();
    }
    let tls: Vec<bool> = (0..records.len()).map(|i| lock(&startup.tls).contains(&i)).collect();
    let alpn: Vec<bool> = records.iter().map(|s| s.allows_acme_tls()).collect();
    let mut plan = lock(&startup.plan);
    let findings = plan.after_tls(&config_servers(&startup.servers), &tls, &alpn).map_err(refuse)?;
    if sys::is_configuration_check() {
        return Ok(());
    }
    report(findings);
    // Told at once, instead of when the renewal is due.
    report(findings::unprovable(&plan));
    let unsaved = counters(plan.mds.len() * Unsaved::SIZE, "md-status does not tell of what cannot be saved");
    let mds: Arc<[Managed]> = plan
        .mds
        .iter()
        .zip(lock(&startup.mds).iter_mut())
        .enumerate()
        .map(|(i, (p, m))| {
            let live = startup.hosts.slot(i);
            let hosts = hosts_of(&startup, &records, p);
            let unsaved =
                unsaved.as_ref().map(|counters| Unsaved::new(counters.clone(), i)).unwrap_or_default();
            let known = settle(&startup.store, p, m, plan.global.dns01_version);
            let lacks_tls = hosts.is_empty() && plan.global.port_map.https.is_some();
            Managed { live, hosts, lacks_tls, unsaved, ..known }
        })
        .collect();
    // Without MDs they are of others on the same store.
    if !mds.is_empty()
        && let Err(error) = cleanup::purge_challenges(&startup.store, mds.iter().map(|managed| &managed.md))
    {
        crate::log!(Warn, "old challenge data cannot be removed: {}", error.advised());
    }
    let store = startup.store.worker();
    report(findings::findings(mds.iter(), startup.now));
    let (hosts, contexts) = (&startup.hosts, Arc::new(startup.hosts.take_contexts()));
    let no_memory = |error: std::io::Error| {
        crate::log!(
            Crit,
            status = error.raw_os_error().unwrap_or(0),
            "cannot allocate the memory that all children share for live activation and stapling: {}. Free memory, then \
             start httpd again.",
            crate::log::plain(&error)
        );
        StartFailed
    };
    let stapling = stapled::service(&startup, &plan, mds.clone()).map_err(no_memory)?.map(Arc::new);
    let context = distribution::Context {
        mds: mds.clone(),
        store: store.clone(),
        hosts: contexts.clone(),
        staples: stapling.as_ref().map(|stapling| stapling.cache.clone()),
        clock: Arc::new(SystemClock::default()),
    };
    let live = hosts.is_live().then(|| distribution(context)).transpose().map_err(no_memory)?;
    let snapshots = Snapshots::new(mds.clone(), Some(store.clone()));
    let state = State {
        by_name: mds
            .iter()
            .enumerate()
            .flat_map(|(i, m)| m.md.domains.iter().map(move |d| (d.clone(), i)))
            .collect(),
        mds,
        require_https: records
            .iter()
            .zip(&plan.hosts)
            .filter(|(_, host)| host.require_https != RequireHttps::Off)
            .map(|(server, host)| (server.key(), host.require_https))
            .collect(),
        store,
        settings: settings(&plan),
        instance: sys::instance(),
        is_store_shared: plan.global.store_locks.is_some() && plan.global.message_cmd.is_some(),
        stop: StopFlag::with_farewell(sys::leave_thread),
        driver: Mutex::default(),
        pages: pages_of(&records, &plan),
        snapshots,
        tally: counters(Tally::SIZE, "metrics count nothing").map(Tally::new).unwrap_or_default(),
        self_signed: if hosts.is_live() { hosts.self_signed() } else { HashMap::new() },
        activation_delay: plan.global.activation_delay,
        live: live.map(Distribution::connect),
        contexts,
        stapling,
        stapling_states: States::default(),
        stapling_runner: Mutex::default(),
    };
    watch(&share(state, &records), watchdogs);
    Ok(())
}

/// Has all servers know.
fn share(state: State, records: &[Server<'_>]) -> Arc<State> {
    let state = Arc::new(state);
    for conf in records.iter().filter_map(Server::conf) {
        // Hosts without directives of ours share the main server's configuration.
        let _ = conf.state.set(state.clone());
    }
    state
}

pub(crate) fn pages_of(records: &[Server<'_>], plan: &Plan) -> HashMap<usize, PageSettings> {
    records.iter().zip(&plan.hosts).map(|(s, host)| (s.key(), PageSettings::new(host))).collect()
}

/// Counters that all children share. Without them there is still a server; `loss` is what it does not do.
fn counters(count: usize, loss: &str) -> Option<Arc<dyn Counters>> {
    let counters = sys::Counters::new(count).inspect_err(|error| {
        crate::log!(
            Warn,
            "cannot allocate memory that all children share, {loss}: {}",
            crate::log::plain(error)
        );
    });
    Some(Arc::new(counters.ok()?))
}

/// How many children the status pages can tell apart.
const MOST_COUNTED: usize = 1024;

/// With counters that all children will share.
fn distribution(context: distribution::Context) -> io::Result<Distribution> {
    let (mds, places) = (context.mds.len(), sys::child_limit().min(MOST_COUNTED));
    let signals = Signals::new(Arc::new(sys::Counters::new(Signals::size(mds))?), mds);
    let roster = Roster::new(Arc::new(sys::Counters::new(Roster::size(mds, places))?), mds, places);
    Ok(Distribution::new(context, signals, roster))
}

/// The TLS hosts of an MD.
fn hosts_of(startup: &Startup, records: &[Server<'_>], planned: &PlannedMd) -> Vec<crate::managed::Host> {
    let host = |index: &usize| {
        let server = records.get(*index)?;
        let given = startup.hosts.given(*server)?;
        let is_live = startup.hosts.slot_of(*server).is_some();
        Some(crate::managed::Host {
            name: server.name(),
            address: server.address(),
            source: given.source,
            is_live,
        })
    };
    planned.hosts.iter().filter_map(host).collect()
}

/// The MD with its state as of now, written to the store.
fn settle(store: &StartStore, planned: &PlannedMd, synced: &mut SyncedMd, dns01_version: u8) -> Managed {
    synced.md.domains.clone_from(&planned.md.domains);
    synced.md.acme_tls_1.clone_from(&planned.md.acme_tls_1);
    if let Err(error) = reconcile::finish(store, synced) {
        crate::log!(
            Error,
            "AH10073: md[{}]: its md.json cannot be written: {}",
            synced.md.name,
            error.advised()
        );
    }
    Managed {
        md: synced.md.clone(),
        certs: synced.certs.clone(),
        in_use: !planned.hosts.is_empty(),
        watched: planned.watched,
        dns01: planned.dns01_cmd.clone().map(|line| dns01::Command {
            line,
            version: dns01_version,
            limit: planned.dns01_timeout,
        }),
        route: Route {
            ca_file: planned.ca_certs.clone(),
            proxy_url: planned.proxy_url.clone(),
            proxy_ca_file: planned.proxy_ca_certs.clone(),
        },
        ..Managed::default()
    }
}

pub(crate) fn settings(plan: &Plan) -> Settings {
    let global = &plan.global;
    Settings {
        retry: Retry { delay: global.retry_delay, failover: global.retry_failover },
        check_interval: global.check_interval,
        initial_delay: global.initial_delay,
        parallel: usize::try_from(global.renew_parallel).unwrap_or(usize::MAX),
        reachable_by_http: plan.can_http,
        reachable_by_https: plan.can_https,
        commands: Commands { notify: global.notify_cmd.clone(), message: global.message_cmd.clone() },
    }
}

fn watch(state: &Arc<State>, watchdogs: &Watchdogs<'_, State>) {
    let count = state.mds.iter().filter(|m| m.watched).count();
    crate::log!(Debug, "AH10074: {count} out of {} mds need watching", state.mds.len());
    if count == 0 && state.stapling.is_none() {
        return;
    }
    let renewals = watchdogs.watch_renewals(state).and_then(|()| match &state.live {
        Some(live) if live.is_possible() => watchdogs.watch_news(state),
        _ if state.stapling.is_some() => watchdogs.watch_news(state),
        _ => Ok(()),
    });
    match renewals {
        Ok(()) => crate::log!(Debug, "AH10067: register md renew watchdog"),
        Err(None) => {
            let watched = state.mds.iter().filter(|m| m.watched);
            crate::log!(Crit, "{}", config::advice::no_watchdog(watched.map(|m| m.md.name.as_str())));
        }
        Err(Some(status)) => crate::log!(
            Crit,
            status = status,
            "AH10062: the renewals cannot be registered with mod_watchdog, so no certificate is renewed: restart httpd"
        ),
    }
}

/// Every server's directives and facts; the main server first.
fn collect(main: Server<'_>, records: &[Server<'_>]) -> Vec<(ServerConfig, Host)> {
    let main_conf = main.conf().map(std::ptr::from_ref);
    let own_conf = |server: &Server<'_>| match server.conf() {
        // A host without directives of ours points to the main server's configuration: it has none.
        Some(conf) if !server.is_main() && Some(std::ptr::from_ref(conf)) == main_conf => {
            ServerConfig::default()
        }
        Some(conf) => lock(&conf.config).clone(),
        None => ServerConfig::default(),
    };
    let host = |server: &Server<'_>| Host {
        server_name: server.name(),
        aliases: server.aliases(),
        is_main: server.is_main(),
        admin: server.admin(),
        defined_at: server.defined_at(),
        port: server.port(),
        ports: server.ports(),
    };
    records.iter().map(|server| (own_conf(server), host(server))).collect()
}

pub(crate) fn config_servers(servers: &[(ServerConfig, Host)]) -> Vec<config::Server<'_>> {
    servers.iter().map(|(config, host)| config::Server { config, host: host.clone() }).collect()
}

pub(crate) fn report(findings: impl IntoIterator<Item = Finding>) {
    for finding in findings {
        crate::log::write(finding.level, 0, format_args!("{}", finding.text));
    }
}

/// What ends the start is told on the terminal too, where the admin is.
fn refuse(findings: Vec<Finding>) -> StartFailed {
    for finding in findings {
        crate::log::write(finding.level.min(Level::Error), 0, format_args!("{}", finding.text));
    }
    StartFailed
}
