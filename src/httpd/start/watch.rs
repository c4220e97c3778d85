// SPDX-License-Identifier: Apache-2.0
//! Registers renewals and live activation with mod_watchdog, as far as anything needs them.

use crate::config;
use crate::httpd::state::State;
use crate::httpd::sys::Watchdogs;
use std::sync::Arc;

pub fn watch(state: &Arc<State>, watchdogs: &Watchdogs<'_, State>) {
    let count = state.mds.iter().filter(|m| m.watched).count();
    crate::log!(Debug, "AH10074: {count} out of {} mds need watching", state.mds.len());
    if state.mds.is_empty() && state.stapling.is_none() {
        return;
    }
    let renewals = watchdogs.watch_renewals(state).and_then(|()| match &state.live {
        Some(live) if live.is_possible() => watchdogs.watch_signals(state),
        _ if state.stapling.is_some() => watchdogs.watch_signals(state),
        _ => Ok(()),
    });
    match renewals {
        Ok(()) => crate::log!(Debug, "AH10067: register md renew watchdog"),
        // Nothing is renewed, and what an operator asks for goes unanswered.
        Err(None) if count == 0 && state.stapling.is_none() => {}
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
