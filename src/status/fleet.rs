// SPDX-License-Identifier: Apache-2.0
//! The fleet as pages show it: the report of the child that replicates, as of now. It is read again when its
//! file has changed, so that a page costs one look at the file. Never asks the engine; imports no page.

use crate::model::{FleetReport, Renewing};
use crate::store::{Watched, WorkStore};
use crate::sync::lock;
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What is wrong where no process has reported.
const UNREPORTED: &str = "no process of this httpd replicates: after a start that takes a few seconds, later the error log says why";

/// The fleet at one moment.
#[derive(Debug, Default, PartialEq)]
pub struct Fleet {
    pub report: FleetReport,
    /// By name of the MD.
    renewing: HashMap<String, Arc<Renewing>>,
}

impl Fleet {
    pub fn of(found: &Found, now: Timestamp) -> Self {
        let report = match found.clone() {
            Ok(Some(report)) if report.is_fresh(now) => report,
            Ok(Some(report)) => FleetReport {
                connected: false,
                since: Some(report.at),
                problem: Some(UNREPORTED.into()),
                // Nobody knows whether they still do.
                renewing: Vec::new(),
                ..report
            },
            Ok(None) => FleetReport { at: now, problem: Some(UNREPORTED.into()), ..FleetReport::default() },
            Err(reason) => FleetReport { at: now, problem: Some(reason), ..FleetReport::default() },
        };
        let named = |renewing: &Renewing| (renewing.name.clone(), Arc::new(renewing.clone()));
        let renewing = report.renewing.iter().map(named).collect();
        Fleet { report, renewing }
    }

    /// The node that renews an MD, if one does.
    pub fn renewing(&self, name: &str) -> Option<&Arc<Renewing>> {
        self.renewing.get(name)
    }

    /// `fleet` of md-status: the report, and how far each node is behind.
    pub fn to_json(&self) -> Value {
        let mut out = self.report.to_json();
        out["lag"] = json!(self.report.lag());
        let nodes = out.get_mut("nodes").and_then(Value::as_array_mut).into_iter().flatten();
        for (node, reported) in nodes.zip(&self.report.nodes) {
            node["lag"] = json!(self.report.lag_of(reported));
        }
        out
    }
}

/// Reads the report, and keeps it while it holds.
#[derive(Default)]
pub struct Reader(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    watched: Watched,
    /// `None`: not read yet.
    found: Option<Found>,
    /// Whether that was so when the fleet was made of it.
    is_fresh: bool,
    fleet: Arc<Fleet>,
}

/// The last report, or why there is none.
pub type Found = Result<Option<FleetReport>, String>;

impl Reader {
    pub fn look(&self, store: &WorkStore, now: Timestamp) -> Arc<Fleet> {
        let mut kept = lock(&self.0);
        let has_changed = kept.watched.has_changed(store.fleet_status_stamp(), now);
        let found = kept.found.take().filter(|_| !has_changed);
        let is_known = found.is_some();
        let found = found.unwrap_or_else(|| read(store));
        let is_fresh = matches!(&found, Ok(Some(report)) if report.is_fresh(now));
        if !is_known || is_fresh != kept.is_fresh {
            kept.is_fresh = is_fresh;
            kept.fleet = Arc::new(Fleet::of(&found, now));
        }
        kept.found = Some(found);
        kept.fleet.clone()
    }
}

pub fn read(store: &WorkStore) -> Found {
    let json = store.read_fleet_status().map_err(|error| error.advised())?;
    let Some(json) = json else { return Ok(None) };
    FleetReport::from_json(&json).map(Some).ok_or_else(|| "fleet/status.json of the store is damaged".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ReportedNode;
    use crate::model::fleet_report::REPORT_STALE;
    use crate::store::StartStore;
    use crate::time::{Clock, SystemClock};
    use std::time::Duration;

    fn report(now: Timestamp) -> FleetReport {
        let node = |name: &str, applied| ReportedNode {
            id: name.into(),
            name: name.into(),
            applied,
            ..ReportedNode::default()
        };
        FleetReport {
            at: now,
            engine: "etcd://e.test:2379".into(),
            connected: true,
            nodes: vec![node("www1", 7), node("www2", 9)],
            renewing: vec![Renewing { name: "a.test".into(), node: "www2".into(), ..Renewing::default() }],
            revision: 9,
            applied: 8,
            ..FleetReport::default()
        }
    }

    #[test]
    fn a_report_is_read_once_until_its_file_changes_or_it_is_too_old() {
        let dir = tempfile::tempdir().unwrap();
        let start = StartStore::open(&dir.path().join("md"), None).unwrap();
        let (store, reader) = (start.worker(), Reader::default());
        // Files that were written just now are read again.
        let now = Timestamp::from_unix(SystemClock::default().now().unix() + 5);
        let unreported = reader.look(&store, now);
        assert!(!unreported.report.connected && unreported.report.problem.as_deref() == Some(UNREPORTED));
        assert!(Arc::ptr_eq(&unreported, &reader.look(&store, now)));
        start.make_fleet_folder().unwrap();
        store.write_fleet_status(&report(now).to_json()).unwrap();
        let first = reader.look(&store, now);
        assert!(first.report.connected && first.renewing("a.test").is_some_and(|r| r.node == "www2"));
        let file = dir.path().join("md/fleet/status.json");
        assert!(Arc::ptr_eq(&first, &reader.look(&store, now.plus(Duration::from_secs(1)))), "kept");
        let old = reader.look(&store, now.plus(REPORT_STALE));
        assert!(!old.report.connected && old.renewing("a.test").is_none(), "{old:?}");
        assert_eq!((old.report.nodes.len(), old.report.since), (2, Some(report(now).at)));
        assert!(Arc::ptr_eq(&old, &reader.look(&store, now.plus(REPORT_STALE * 2))), "kept");
        std::fs::write(&file, "{").unwrap();
        let damaged = reader.look(&store, now);
        let problem = damaged.report.problem.clone().unwrap();
        assert!(!damaged.report.connected && problem.contains("status.json"), "{problem}");
        std::fs::write(&file, r#"{"at": 5}"#).unwrap();
        assert!(reader.look(&store, now).report.problem.as_ref().unwrap().contains("damaged"));
        store.write_fleet_status(&report(now).to_json()).unwrap();
        assert!(reader.look(&store, now).report.connected);
    }

    #[test]
    fn md_status_has_the_report_and_how_far_nodes_are_behind() {
        let now = Timestamp::from_unix(1_800_000_000);
        let json = Fleet::of(&Ok(Some(report(now))), now).to_json();
        assert_eq!((&json["engine"], &json["connected"]), (&json!("etcd://e.test:2379"), &json!(true)));
        assert_eq!(
            (&json["lag"], &json["nodes"][0]["lag"], &json["nodes"][1]["lag"]),
            (&json!(1), &json!(2), &json!(0))
        );
        assert_eq!(json["renewing"], json!([{"name": "a.test", "node": "www2"}]));
    }
}
