// SPDX-License-Identifier: Apache-2.0
//! The renewing child: mod_watchdog calls at every beat; the driver keeps the jobs going.

use crate::http::client::Limits;
use crate::httpd::stapling::Runner;
use crate::httpd::state::State;
use crate::metrics::Counted;
use crate::renew::attempt::ca_pool::Authorities;
use crate::renew::worker::check::Engine;
use crate::renew::worker::neighbour::Neighbour;
use crate::renew::worker::pool::Driver;
use crate::sync::lock;
use crate::time::SystemClock;
use crate::{crypto, http};
use std::sync::Arc;

/// What mod_watchdog calls for.
pub enum Beat {
    Start,
    Run,
    Stop,
}

pub fn beat(state: &State, beat: Beat) {
    if let Beat::Stop = beat {
        return stop(state);
    }
    // The end of the child waits for a beat that has begun, and none begins after it.
    let Some(_at_work) = state.stop.enter() else { return };
    let mut driver = lock(&state.driver);
    if let Beat::Start = beat {
        let count = state.mds.iter().filter(|m| m.watched).count();
        crate::log!(Debug, "AH10054: md watchdog start, auto drive {count} mds");
    }
    let driver = driver.get_or_insert_with(|| create(state));
    if let Some(stapling) = &state.stapling {
        lock(&state.staples).get_or_insert_with(|| Runner::new(state, stapling.clone())).beat();
        stapling.take_revoked().into_iter().for_each(|md| driver.look_at(md));
    }
    driver.beat();
}

/// mod_watchdog has noticed that the child ends, which may be long before it does: connections go on. Who
/// gets its lock next finds nobody at work.
fn stop(state: &State) {
    crate::log!(Debug, "AH10058: md watchdog stopping");
    // What is freed here is OpenSSL's for a part. Where the child has come to its end already, nobody frees
    // it.
    let Some(_at_work) = state.stop.enter() else { return };
    state.stop.raise();
    if let Some(driver) = lock(&state.driver).take() {
        driver.stop();
    }
    if let Some(staples) = lock(&state.staples).take() {
        staples.stop();
    }
}

/// How we call ourselves to CAs and responders.
pub fn user_agent() -> String {
    format!("mod_md/{} Apache-httpd", crate::VERSION)
}

/// Threads and connections begin here, in the child.
fn create(state: &State) -> Driver {
    let stop = state.stop.clone();
    let clock = Arc::new(SystemClock { stop: stop.clone() });
    let authorities = Authorities::new({
        let (stop, tally) = (stop.clone(), state.tally.clone());
        Box::new(move |route| {
            let client = http::client::Client::new(&http::client::Options {
                ca_file: route.ca_file.clone().map(Into::into),
                proxy_url: route.proxy_url.clone(),
                proxy_ca_file: route.proxy_ca_file.clone().map(Into::into),
                user_agent: user_agent(),
                limits: Limits::default(),
                stop: stop.clone(),
            })?;
            Ok(Arc::new(Counted { transport: client, tally: tally.clone() }))
        })
    });
    let engine = Engine::new(
        state.mds.clone(),
        state.store.clone(),
        state.settings.clone(),
        authorities,
        clock,
        crypto::random_unit,
    )
    .trying_on(state.contexts.clone())
    .counting(state.tally.clone());
    if let Some(live) = &state.live {
        live.find_published();
        live.hear();
    }
    let engine = match &state.live {
        Some(live) => engine.with_live_activation(live.clone(), live.delay),
        None => engine,
    };
    let engine = match &state.stapling {
        Some(stapling) => engine.with_revocations(stapling.cache.clone()),
        None => engine,
    };
    let driver = Driver::new(Arc::new(engine), stop);
    match state.mds.iter().any(|managed| managed.watched) {
        true => {
            driver.beside(Neighbour::new(&state.store, state.instance, state.is_store_shared, &state.tally))
        }
        false => driver,
    }
}
