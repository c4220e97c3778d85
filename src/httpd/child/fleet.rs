// SPDX-License-Identifier: Apache-2.0
//! The fleet in the renewing child: the engine, this node, and the thread that replicates the store. Without
//! `MDFleet` there is none of it.

use crate::crypto::CpuLimit;
use crate::fleet::connect::connect;
use crate::fleet::engine::Engine;
use crate::fleet::inherited::Inherited;
use crate::fleet::local::stored::{StoredLocal, is_shared};
use crate::fleet::member::Member;
use crate::fleet::node::{Node, Setup};
use crate::fleet::record::NodeMd;
use crate::fleet::replicator::thread;
use crate::httpd::state::{Joined, State};
use crate::managed::Managed;
use crate::sync::lock;
use crate::time::SystemClock;
use std::sync::{Arc, Mutex};

/// Begins to replicate. `changing`: held while answers to challenges are changed. `None`: there is no fleet, or
/// none that can be used, as the log says.
pub fn join(state: &State, changing: Arc<Mutex<()>>, limit: CpuLimit) -> Option<Joined> {
    let fleet = state.fleet.as_ref()?;
    let engine = connect(&fleet.access).inspect_err(|error| {
        crate::log!(
            Error,
            "fleet: the engine cannot be used, and this httpd renews by itself: {error}. Correct MDFleet and the directives \
             beside it, then reload httpd."
        );
    });
    let node = Arc::new(Node::new(setup(state, fleet, engine.ok()?, changing, limit)));
    node.offer(std::mem::take(&mut *lock(&fleet.unshared)));
    let running = thread::start(node.clone(), state.stop.clone(), state.fleet_ending.clone());
    let running = running.inspect_err(|error| {
        crate::log!(
            Error,
            status = error.raw_os_error().unwrap_or(0),
            "fleet: the thread that replicates cannot be started: {}. Raise the limit of threads (ulimit -u, TasksMax of \
             the service), then reload httpd.",
            crate::log::plain(error)
        );
    });
    Some(Joined { peers: Arc::new(Member::new(node)), running: running.ok()? })
}

fn setup(
    state: &State,
    fleet: &Inherited,
    engine: Arc<dyn Engine>,
    changing: Arc<Mutex<()>>,
    limit: CpuLimit,
) -> Setup {
    let store = state.store.sealing_within(limit.clone());
    let local = StoredLocal::new(store, state.mds.clone(), state.instance, changing, limit);
    let local = match &state.stapling {
        Some(stapling) => local.stapling(stapling.clone()),
        None => local,
    };
    Setup {
        engine,
        local: Arc::new(local),
        clock: Arc::new(SystemClock { stop: state.stop.clone() }),
        secrets: fleet.secrets.clone(),
        prefix: fleet.access.prefix.clone(),
        name: fleet.node.clone(),
        version: crate::VERSION.into(),
        mds: state.mds.iter().filter(|target| is_shared(target)).map(terms).collect(),
    }
}

/// An MD as other nodes learn how it is configured here.
fn terms(target: &Managed) -> NodeMd {
    let md = &target.md;
    let keys: Vec<String> = md.keys().iter().map(|key| key.label().to_string()).collect();
    let profile = md.profile.as_deref().unwrap_or("none");
    NodeMd {
        name: md.name.clone(),
        domains: md.domains.clone(),
        terms: format!(
            "keys {}; CAs {}; profile {profile}; must-staple {}",
            keys.join(" "),
            md.ca.urls.join(" "),
            md.must_staple
        ),
        asks: md.not_renewed(target.in_use).is_none() && md.ari_renewals,
    }
}
