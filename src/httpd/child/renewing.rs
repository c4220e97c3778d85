// SPDX-License-Identifier: Apache-2.0
//! The renewing child: a thread of it starts the renewals and OCSP requests that are due. `renew` and
//! `stapling` decide which are. It looks once a second, when the bell rings and when a job is due, and ten
//! times a second while jobs run.

use super::fleet::join;
use super::pause::{LONGEST, SHORTEST, is_over};
use crate::crypto::CpuLimit;
use crate::dns::resolve::{RESOLV_CONF, servers_of};
use crate::http::client::Limits;
use crate::httpd::state::State;
use crate::httpd::sys;
use crate::httpd::sys::guard::guard;
use crate::managed::peers::Peers;
use crate::metrics::Counted;
use crate::renew::attempt::ca_pool::CaPool;
use crate::renew::attempt::context::Context;
use crate::renew::worker::neighbour::Neighbour;
use crate::renew::worker::pool::Driver;
use crate::stapling::connections::connections;
use crate::stapling::driver::Settings;
use crate::stapling::runner::Runner;
use crate::stapling::service::Service;
use crate::store::read_admin_file;
use crate::sync::lock;
use crate::time::SystemClock;
use crate::{crypto, http};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Renews until the child ends, or is about to. The process has the office, and leaves it to others then.
pub fn run(state: &State) {
    let count = state.mds.iter().filter(|m| m.watched).count();
    crate::log!(Debug, "AH10054: md watchdog start, auto drive {count} mds");
    loop {
        let seen = state.bell.seen();
        if is_over(state) {
            break;
        }
        let pause = guard("renewals_beat", LONGEST, || beat(state));
        state.bell.wait(seen, pause);
    }
    stop(state);
    state.office.iter().for_each(sys::Office::leave);
    state.bell.ring();
}

/// Returns when to look again at the latest.
fn beat(state: &State) -> Duration {
    let mut driver = lock(&state.driver);
    let driver = driver.get_or_insert_with(|| create(state));
    let mut pause = LONGEST;
    if let Some(stapling) = &state.stapling {
        let mut runner = lock(&state.stapling_runner);
        let runner = runner.get_or_insert_with(|| runner_of(state, stapling));
        runner.beat();
        pause = runner.pause(SHORTEST, LONGEST);
        stapling.take_revoked().into_iter().for_each(|md| driver.look_at(md));
    }
    driver.beat();
    pause.min(driver.pause(SHORTEST, LONGEST))
}

/// The child is ending. It may live on for long, until its connections are closed, while the child that takes
/// the office renews: nothing here may be at work then.
fn stop(state: &State) {
    // Part of this memory belongs to OpenSSL. If the child has begun to exit, it is not freed.
    if state.stop.is_raised() {
        return;
    }
    crate::log!(Debug, "AH10058: md watchdog stopping");
    state.stop.raise();
    if let Some(driver) = lock(&state.driver).take() {
        driver.stop();
    }
    if let Some(staples) = lock(&state.stapling_runner).take() {
        staples.stop();
    }
    // Last: what renewals have to tell the fleet goes through it.
    if let Some(joined) = lock(&state.joined).take() {
        joined.running.stop();
    }
}

/// Requests to responders begin here, in the child.
fn runner_of(state: &State, stapling: &Arc<Service>) -> Runner {
    let (stop, peers) = (state.stop.clone(), peers(state));
    let settings = Settings {
        parallel: state.settings.parallel,
        retry_delay: state.settings.retry.delay,
        started: stapling.started,
        commands: state.settings.commands.clone(),
    };
    let connect = connections(user_agent(), stop.clone(), state.metrics.clone());
    let clock = Arc::new(SystemClock { stop: stop.clone() });
    Runner::new(settings, stapling.clone(), connect, clock, crypto::random_unit, stop, peers)
}

/// The fleet, once this child has joined it.
fn peers(state: &State) -> Option<Arc<dyn Peers>> {
    lock(&state.joined).as_ref().map(|joined| joined.peers.clone())
}

/// The User-Agent that CAs and OCSP responders see.
fn user_agent() -> String {
    format!("mod_md/{} Apache-httpd", crate::VERSION)
}

/// Those of resolv.conf(5), which may change at any time.
fn resolvers() -> Vec<SocketAddr> {
    // Where it cannot be read, whoever has a question says that there is no resolver.
    let text = read_admin_file(Path::new(RESOLV_CONF)).unwrap_or_default();
    servers_of(&String::from_utf8_lossy(&text))
}

/// Threads and connections to CAs begin here, in the child.
fn create(state: &State) -> Driver {
    let stop = state.stop.clone();
    let clock = Arc::new(SystemClock { stop: stop.clone() });
    let cas = CaPool::new({
        let (stop, metrics) = (stop.clone(), state.metrics.clone());
        Box::new(move |route| {
            let client = http::client::Client::new(&http::client::Options {
                ca_file: route.ca_file.clone().map(Into::into),
                proxy_url: route.proxy_url.clone(),
                proxy_ca_file: route.proxy_ca_file.clone().map(Into::into),
                user_agent: user_agent(),
                limits: Limits::default(),
                stop: stop.clone(),
            })?;
            Ok(Arc::new(Counted { transport: client, metrics: metrics.clone() }))
        })
    });
    let limit = CpuLimit::new(stop.clone(), sys::make_rsa);
    let answering = Arc::default();
    let joined = join(state, Arc::clone(&answering), limit.clone());
    *lock(&state.joined) = joined;
    let context = Context::new(
        state.mds.clone(),
        state.store.sealing_within(limit.clone()),
        state.settings.clone(),
        cas.computing_within(limit),
        clock,
        crypto::random_unit,
    )
    .with_resolvers(resolvers)
    .trying_on(state.contexts.clone())
    .answering_under(answering)
    .counting(state.metrics.clone());
    if let Some(live) = &state.live {
        live.publish_staged();
        live.take_signals();
    }
    let context = match &state.live {
        Some(live) => context.with_live_activation(live.clone(), state.activation_delay),
        None => context,
    };
    let context = match &state.stapling {
        Some(stapling) => context.with_revocations(stapling.cache.clone()),
        None => context,
    };
    let context = match peers(state) {
        Some(peers) => context.with_peers(peers),
        None => context,
    };
    let driver = Driver::new(Arc::new(context), stop);
    // Where nothing is renewed, the lock only shows that requests are read.
    let is_watched = state.mds.iter().any(|managed| managed.watched);
    let is_expected = state.is_store_shared || !is_watched;
    driver.beside(Neighbour::new(&state.store, state.instance, is_expected, &state.metrics))
}
