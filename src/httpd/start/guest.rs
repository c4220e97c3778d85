// SPDX-License-Identifier: Apache-2.0
//! An httpd without MDs, and with nothing to staple: it makes no store and does nothing by itself. It answers
//! challenges that stand in the store all the same, as the C module does, DNS questions among them: in front
//! of servers that renew it may share theirs.

use super::common::{metrics, pages_of, settings};
use super::dns::Bound;
use crate::config::Plan;
use crate::fleet::replicator::thread::Ending;
use crate::httpd::state::tls_hosts::TlsHosts;
use crate::httpd::state::{Server, State};
use crate::httpd::sys;
use crate::live::bell::Bell;
use crate::managed::Managed;
use crate::metrics::Metrics;
use crate::stapling::snapshot::States;
use crate::status::Snapshots;
use crate::store::WorkStore;
use crate::sync::atomic::AtomicU64;
use crate::time::{StopFlag, Timestamp};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Whether there is nothing to do but that.
pub fn is_one(plan: &Plan) -> bool {
    plan.mds.is_empty() && !plan.hosts.iter().any(|host| host.staple_others)
}

/// `dir`: the folder of the store, which need not be there.
pub fn state(plan: &Plan, records: &[Server<'_>], dir: &Path, bound: Bound, now: Timestamp) -> State {
    let mds: Arc<[Managed]> = Arc::new([]);
    let (store, metrics) =
        (WorkStore::of_others(dir), if bound.is_any() { metrics() } else { Metrics::default() });
    let responder = bound.responder(&plan.global.dns, store.clone(), metrics.clone(), now);
    State {
        snapshots: Snapshots::new(mds.clone(), None),
        mds,
        by_name: HashMap::new(),
        require_https: HashMap::new(),
        store,
        settings: settings(plan),
        instance: sys::instance(),
        is_store_shared: false,
        stop: StopFlag::default(),
        bell: Arc::new(Bell::default()),
        watch_tried: AtomicU64::default(),
        office: None,
        driver: Mutex::default(),
        pages: pages_of(records, plan),
        metrics,
        self_signed: HashMap::new(),
        activation_delay: plan.global.activation_delay,
        live: None,
        contexts: Arc::new(TlsHosts::new(0, false).take_contexts()),
        stapling: None,
        stapling_states: States::default(),
        stapling_runner: Mutex::default(),
        responder,
        fleet: None,
        joined: Mutex::default(),
        fleet_ending: Ending::default(),
    }
}
