// SPDX-License-Identifier: Apache-2.0
//! What this node tells status pages: written at most once a second, when it has changed.

use super::Replicator;
use crate::fleet::decide::begin::Standing;
use crate::model::fleet_report::{FleetReport, REPORT_EVERY, Renewing, ReportedNode};
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);

impl Replicator {
    pub(super) fn write_report(&mut self) {
        let boot = self.node.boot();
        let (written, at) = &self.report;
        if at.is_some_and(|at| boot < at + EVERY) {
            return;
        }
        let report = self.current(written);
        let is_old = at.is_none_or(|at| boot >= at + REPORT_EVERY);
        if !is_old && (FleetReport { at: written.at, ..report.clone() }) == *written {
            return;
        }
        if let Err(error) = self.node.setup.local.report(&report) {
            self.tell_problem(format!("what status pages show cannot be written: {error}"));
        }
        self.report = (report, Some(boot));
    }

    fn current(&self, before: &FleetReport) -> FleetReport {
        let (now, boot) = (self.node.now(), self.node.boot());
        let state = self.node.state();
        let connected = state.standing(now, boot) == Standing::Joined;
        let is_same = before.since.is_some() && before.connected == connected;
        let name_of = |id: &str| state.view.node(id).map_or(id, |node| node.name.as_str()).to_string();
        let nodes = state.view.nodes().map(|node| ReportedNode {
            id: node.id.clone(),
            name: node.name.clone(),
            version: node.version.clone(),
            seen: Some(node.seen),
            applied: node.applied,
        });
        let renewing = state.view.locks().filter_map(|(key, lock)| {
            let (node, since) = (name_of(&lock.value.node), Some(lock.value.since));
            Some(Renewing { name: key.md()?.into(), node, since, is_solo: false })
        });
        FleetReport {
            at: now,
            engine: self.node.setup.engine.name(),
            connected,
            since: if is_same { before.since } else { Some(now) },
            problem: state.problem.clone().or_else(|| self.told_problem.clone()),
            id: state.me.clone(),
            name: self.node.setup.name.clone(),
            nodes: nodes.collect(),
            renewing: renewing.collect(),
            revision: state.view.revision().0,
            applied: state.applied.0,
            requests_ok: state.requests_ok,
            requests_failed: state.requests_failed,
            refused: state.refused.clone().into_iter().collect(),
            clock_off: state.clock_off,
            answer: before.answer.clone(),
        }
    }
}
