// SPDX-License-Identifier: Apache-2.0
//! The second half of a start, after mod_ssl: which hosts have TLS is known. Completes the plan, has
//! [`startup::bring_up`](crate::startup::bring_up) complete the data of each domain, makes the [`State`] that
//! children inherit.

use super::common::{counters, metrics, pages_of, settings, share};
use super::dns::{self, Bound};
use super::fleet;
use super::refusal::{StartFailed, refuse};
use super::servers::{config_servers, report};
use super::stapled;
use crate::config::{Plan, PlannedMd, advice};
use crate::fleet::replicator::thread::Ending;
use crate::httpd::state::startup::Startup;
use crate::httpd::state::{Server, State};
use crate::httpd::sys;
use crate::live::bell::Bell;
use crate::live::distribution::{self, Distribution};
use crate::live::roster::Roster;
use crate::live::signals::Signals;
use crate::managed;
use crate::managed::Managed;
use crate::managed::save_error::SaveError;
use crate::model::RequireHttps;
use crate::stapling::snapshot::States;
use crate::startup::{bring_up, findings};
use crate::status::Snapshots;
use crate::sync::atomic::AtomicU64;
use crate::sync::lock;
use crate::time::{StopFlag, SystemClock};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

/// After mod_ssl: states are settled, and what children need to renew is there.
pub fn after_tls(main: Server<'_>) -> Result<(), StartFailed> {
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
    // At the start already, not when the renewal is due.
    report(findings::unprovable(&plan));
    let mds = managed(&startup, &records, &mut plan);
    report(findings::findings(mds.iter(), startup.now));
    let bound = dns::bind(main, &plan.global.dns)?;
    let state = state(&startup, &records, &plan, mds, bound)?;
    log_watched(&share(state, &records));
    Ok(())
}

fn log_watched(state: &State) {
    let count = state.mds.iter().filter(|m| m.watched).count();
    crate::log!(Debug, "AH10074: {count} out of {} mds need watching", state.mds.len());
    if state.office.is_some() {
        crate::log!(Debug, "AH10067: one child at a time renews");
    }
}

/// The lock by which one child renews, where there is anything for it to do.
fn office(mds: &[Managed], is_stapling: bool) -> Option<sys::Office> {
    if mds.is_empty() && !is_stapling {
        return None;
    }
    let log = |error: &io::Error| {
        crate::log!(
            Crit,
            status = error.raw_os_error().unwrap_or(0),
            "{}",
            advice::no_lock(&crate::log::plain(error))
        );
    };
    sys::Office::new().inspect_err(log).ok()
}

/// The data that the server has on each domain.
fn managed(startup: &Startup, records: &[Server<'_>], plan: &mut Plan) -> Arc<[Managed]> {
    let save_error =
        counters(plan.mds.len() * SaveError::SIZE, "md-status does not show what cannot be saved");
    let settled = bring_up::finish(&startup.store, &mut plan.mds, &mut lock(&startup.mds));
    let complete = |(i, (known, planned)): (usize, (Managed, &PlannedMd))| {
        let hosts = hosts_of(startup, records, planned);
        let lacks_tls = hosts.is_empty() && plan.global.port_map.https.is_some();
        let save_error =
            save_error.as_ref().map(|counters| SaveError::new(counters.clone(), i)).unwrap_or_default();
        Managed { live: startup.hosts.slot(i), hosts, lacks_tls, save_error, ..known }
    };
    settled.into_iter().zip(&plan.mds).enumerate().map(complete).collect()
}

fn state(
    startup: &Startup,
    records: &[Server<'_>],
    plan: &Plan,
    mds: Arc<[Managed]>,
    bound: Bound,
) -> Result<State, StartFailed> {
    let store = startup.store.worker();
    let (hosts, contexts) = (&startup.hosts, Arc::new(startup.hosts.take_contexts()));
    let bell = Arc::new(Bell::new(Arc::new(sys::Word::new().map_err(no_memory)?)));
    let stapling = stapled::service(startup, plan, mds.clone(), &bell).map_err(no_memory)?.map(Arc::new);
    let context = distribution::Context {
        mds: mds.clone(),
        store: store.clone(),
        hosts: contexts.clone(),
        staples: stapling.as_ref().map(|stapling| stapling.cache.clone()),
        clock: Arc::new(SystemClock::default()),
    };
    let live = hosts.is_live().then(|| distribution(context, &bell)).transpose().map_err(no_memory)?;
    let snapshots = Snapshots::new(mds.clone(), Some(store.clone()));
    let snapshots = if plan.global.fleet.is_some() { snapshots.of_fleet() } else { snapshots };
    let metrics = metrics();
    let responder = bound.responder(&plan.global.dns, store.clone(), metrics.clone(), startup.now);
    let stop = StopFlag::with_farewell(sys::leave_thread);
    let files = lock(&startup.fleet).take();
    Ok(State {
        fleet: fleet::inherited(plan, files, &startup.store, &mds, &stop),
        joined: Mutex::default(),
        fleet_ending: Ending::default(),
        by_name: by_name(&mds),
        office: office(&mds, stapling.is_some()),
        bell,
        watch_tried: AtomicU64::default(),
        mds,
        require_https: require_https(records, plan),
        store,
        settings: settings(plan),
        instance: sys::instance(),
        is_store_shared: plan.global.store_locks.is_some() && plan.global.message_cmd.is_some(),
        stop,
        driver: Mutex::default(),
        pages: pages_of(records, plan),
        snapshots,
        metrics,
        self_signed: if hosts.is_live() { hosts.self_signed() } else { HashMap::new() },
        activation_delay: plan.global.activation_delay,
        live: live.map(Distribution::connect),
        contexts,
        stapling,
        stapling_states: States::default(),
        stapling_runner: Mutex::default(),
        responder,
    })
}

/// The number of children that the status pages can distinguish.
const MOST_COUNTED: usize = 1024;

/// With counters that all children will share.
fn distribution(context: distribution::Context, bell: &Arc<Bell>) -> io::Result<Distribution> {
    let (mds, places) = (context.mds.len(), sys::child_limit().min(MOST_COUNTED));
    let signals = Signals::new(Arc::new(sys::Counters::new(Signals::size(mds))?), mds).ringing(bell.clone());
    let roster = Roster::new(Arc::new(sys::Counters::new(Roster::size(mds, places))?), mds, places);
    Ok(Distribution::new(context, signals, roster))
}

fn by_name(mds: &[Managed]) -> HashMap<String, usize> {
    let names = |(i, managed): (usize, &Managed)| {
        managed.md.domains.iter().map(|domain| (domain.clone(), i)).collect::<Vec<_>>()
    };
    mds.iter().enumerate().flat_map(names).collect()
}

fn require_https(records: &[Server<'_>], plan: &Plan) -> HashMap<usize, RequireHttps> {
    let hosts = records.iter().zip(&plan.hosts);
    let asking = hosts.filter(|(_, host)| host.require_https != RequireHttps::Off);
    asking.map(|(server, host)| (server.key(), host.require_https)).collect()
}

fn no_memory(error: io::Error) -> StartFailed {
    crate::log!(
        Crit,
        status = error.raw_os_error().unwrap_or(0),
        "cannot allocate the memory that all children share for live activation and stapling: {}. Free memory, then \
         start httpd again.",
        crate::log::plain(&error)
    );
    StartFailed
}

/// The TLS hosts of an MD.
fn hosts_of(startup: &Startup, records: &[Server<'_>], planned: &PlannedMd) -> Vec<managed::Host> {
    let host = |index: &usize| {
        let server = records.get(*index)?;
        let given = startup.hosts.given(*server)?;
        let is_live = startup.hosts.slot_of(*server).is_some();
        Some(managed::Host { name: server.name(), address: server.address(), source: given.source, is_live })
    };
    planned.hosts.iter().filter_map(host).collect()
}
