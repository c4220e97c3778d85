// SPDX-License-Identifier: Apache-2.0
//! What this node tells status pages: written when it has changed, at most once a second, and now and then.

use crate::fleet::decide::begin::Standing;
use crate::fleet::decide::lease::Boot;
use crate::fleet::node::Node;
use crate::model::fleet_report::{FleetReport, REPORT_EVERY, Renewing, ReportedNode};
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);

/// What was written last, and when.
#[derive(Default)]
pub struct Reporter(FleetReport, Option<Boot>);

impl Reporter {
    pub fn write(&mut self, node: &Node) {
        let boot = node.boot();
        if self.1.is_some_and(|at| boot < at + EVERY) {
            return;
        }
        let report = current(node, &self.0);
        let is_old = self.1.is_none_or(|at| boot >= at + REPORT_EVERY);
        if !is_old && (FleetReport { at: self.0.at, ..report.clone() }) == self.0 {
            return;
        }
        self.1 = Some(boot);
        match node.setup.local.report(&report) {
            Ok(()) => {
                self.0 = report;
                node.warn("report", None);
            }
            Err(error) => {
                node.warn("report", Some(format!("what status pages show cannot be written: {error}")));
            }
        }
    }
}

fn current(node: &Node, before: &FleetReport) -> FleetReport {
    let (now, boot) = (node.now(), node.boot());
    let state = node.state();
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
    let solo = state.solo.iter().map(|(name, since)| Renewing {
        name: name.clone(),
        node: node.setup.name.clone(),
        since: Some(*since),
        is_solo: true,
    });
    let warning = || state.warnings.values().next().map(|(text, _)| text.clone());
    FleetReport {
        at: now,
        engine: node.setup.engine.name(),
        connected,
        since: if is_same { before.since } else { Some(now) },
        problem: state.problem.clone().or_else(warning),
        id: state.me.clone(),
        name: node.setup.name.clone(),
        nodes: nodes.collect(),
        renewing: renewing.chain(solo).collect(),
        revision: state.view.revision().0,
        applied: state.applied.0,
        requests_ok: state.requests_ok,
        requests_failed: state.requests_failed,
        refused: state.refused.clone().into_iter().collect(),
        clock_off: state.clock_off,
        answer: state.answer.clone(),
    }
}
