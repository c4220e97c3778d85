// SPDX-License-Identifier: Apache-2.0
//! The managed domains as md-status has them: of the store, through the functions that the status pages use,
//! or from the md-status of a server. [`row`] reads an entry; both sources give the same.

pub mod check;
pub mod fetch;
mod row;
pub mod status;

pub use row::{Row, Stapling};

use super::console::call::{Call, Failure};
use super::site::Site;
use crate::managed::Managed;
use crate::model::FleetReport;
use crate::model::bounded::Room;
use crate::status::fleet::Fleet;
use crate::status::{Snapshots, json};
use crate::time::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Where an overview comes from.
pub enum Source {
    Store(Box<Site>),
    /// The URL of an md-status.
    Server(String),
}

/// The managed domains at one moment.
pub struct Overview {
    /// By name, each as md-status has it.
    pub entries: Vec<Value>,
    /// Those that only the store has, as no configuration names them any more.
    pub leftovers: Vec<String>,
    /// What is told of the fleet, where there is one.
    pub fleet: Option<Arc<Fleet>>,
    pub now: Timestamp,
}

/// Values and texts of one entry that a server may send.
const ENTRY_ROOM: (usize, usize) = (4096, 256 * 1024);

impl Source {
    /// The one that a call means.
    pub fn of(call: &Call, from: Option<&String>) -> Result<Self, Failure> {
        Ok(match from {
            Some(url) => Source::Server(url.clone()),
            None => Source::Store(Box::new(Site::open(call)?)),
        })
    }

    /// The managed domains of these names; all that are configured without any.
    pub fn look(&self, call: &Call, names: &[&String]) -> Result<Overview, Failure> {
        let now = call.clock.now();
        match self {
            Source::Store(site) => of_store(call, site, names, now),
            Source::Server(url) => of_server(call, url, names, now),
        }
    }

    /// The beginning of a JSON document: where its content comes from.
    pub fn head(&self) -> Map<String, Value> {
        let fields = match self {
            Source::Store(site) => {
                json!({"schema": 1, "store": site.dir.to_string_lossy(), "found-by": site.found_by})
            }
            Source::Server(url) => json!({"schema": 1, "from": url}),
        };
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

impl Overview {
    /// The most serious first.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.entries.iter().map(|entry| Row::of(entry, self.now)).collect();
        rows.sort_by(|one, other| (one.rank(), &one.name).cmp(&(other.rank(), &other.name)));
        rows
    }
}

fn of_store(call: &Call, site: &Site, names: &[&String], now: Timestamp) -> Result<Overview, Failure> {
    let (managed, leftovers): (Vec<Managed>, Vec<Managed>) = match names {
        [] => {
            let configured = site.configured_names();
            let is_configured = |managed: &Managed| {
                configured.as_ref().is_none_or(|names| names.contains(managed.md.name.as_str()))
            };
            site.mds()?.into_iter().partition(is_configured)
        }
        names => (site.named(call, names)?, Vec::new()),
    };
    let responses = site.responses(&managed, now);
    let snapshots = Snapshots::new(Arc::from(managed), Some(site.store.worker()));
    let snapshots = if site.is_in_fleet() { snapshots.of_fleet() } else { snapshots };
    let entries = json::entries(&snapshots, &responses, !names.is_empty(), now);
    let leftovers = leftovers.into_iter().map(|managed| managed.md.name).collect();
    Ok(Overview { entries, leftovers, fleet: snapshots.fleet(now), now })
}

fn of_server(call: &Call, url: &str, names: &[&String], now: Timestamp) -> Result<Overview, Failure> {
    let (values, text) = ENTRY_ROOM;
    let (found, fleet) = fetch::entries(call, url)?;
    let mut entries: Vec<Value> = found
        .iter()
        .filter_map(|entry| Room { values, text }.take(entry))
        .map(|entry| row::with_status(entry, now))
        .collect();
    if !names.is_empty() {
        let mut wanted = Vec::new();
        for name in names {
            let at = entries.iter().position(|entry| row::has_name(entry, name)).ok_or_else(|| {
                Failure::new(format!("{url} has no managed domain with the name '{name}'")).status(2)
            })?;
            if !wanted.contains(&at) {
                wanted.push(at);
            }
        }
        entries = wanted.into_iter().filter_map(|at| entries.get(at).cloned()).collect();
    }
    let report = fleet.as_ref().and_then(FleetReport::from_json);
    let fleet = report.map(|report| Arc::new(Fleet::of(&Ok(Some(report)), now)));
    Ok(Overview { entries, leftovers: Vec::new(), fleet, now })
}
