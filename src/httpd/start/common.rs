// SPDX-License-Identifier: Apache-2.0
//! The parts of the [`State`] that starts with and without ([`super::guest`]) managed domains share.

use crate::config::Plan;
use crate::counters::Counters;
use crate::dns::Name;
use crate::httpd::state::{PageSettings, Server, State};
use crate::httpd::sys;
use crate::metrics::Metrics;
use crate::notify::Commands;
use crate::renew::attempt::settings::Settings;
use crate::renew::decide::retry::Retry;
use std::collections::HashMap;
use std::sync::Arc;

/// Hands the state to all servers.
pub fn share(state: State, records: &[Server<'_>]) -> Arc<State> {
    let state = Arc::new(state);
    for conf in records.iter().filter_map(Server::conf) {
        // Hosts without directives of ours share the main server's configuration.
        let _ = conf.state.set(state.clone());
    }
    state
}

/// Counters that all children share. The server runs without them, too; `loss` names the function it then
/// lacks.
pub fn counters(count: usize, loss: &str) -> Option<Arc<dyn Counters>> {
    let counters = sys::Counters::new(count).inspect_err(|error| {
        crate::log!(
            Warn,
            "cannot allocate memory that all children share, {loss}: {}",
            crate::log::plain(error)
        );
    });
    Some(Arc::new(counters.ok()?))
}

pub fn metrics() -> Metrics {
    counters(Metrics::SIZE, "metrics count nothing").map(Metrics::new).unwrap_or_default()
}

/// The page settings of each server.
pub fn pages_of(records: &[Server<'_>], plan: &Plan) -> HashMap<usize, PageSettings> {
    records.iter().zip(&plan.hosts).map(|(s, host)| (s.key(), PageSettings::new(host))).collect()
}

/// The settings of all renewals.
pub fn settings(plan: &Plan) -> Settings {
    let global = &plan.global;
    Settings {
        retry: Retry { delay: global.retry_delay, failover: global.retry_failover },
        check_interval: global.check_interval,
        initial_delay: global.initial_delay,
        parallel: usize::try_from(global.renew_parallel).unwrap_or(usize::MAX),
        reachable_by_http: plan.can_http,
        reachable_by_https: plan.can_https,
        commands: Commands { notify: global.notify_cmd.clone(), message: global.message_cmd.clone() },
        dns_zones: match global.dns.is_on() {
            true => global.dns.zones.iter().filter_map(|zone| Name::parse(&zone.zone).ok()).collect(),
            false => Vec::new(),
        },
    }
}
