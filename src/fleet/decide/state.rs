// SPDX-License-Identifier: Apache-2.0
//! `fleet/state.json`: what the next process that replicates this store has to know (rule 8), and what must not
//! be forgotten while the engine is away. Bounded. Pure; imports nothing of the fleet.

use crate::fleet::engine::{LeaseId, Revision};
use crate::model::bounded::{Room, name_at};
use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// More MDs than one httpd has.
const MDS_MAX: usize = 100_000;
/// More nodes than a fleet has.
const NODES_MAX: usize = 1000;
/// Of what is withdrawn of an MD.
const ROOM: (usize, usize) = (1000, 64 * 1024);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// This node's id: 32 hexadecimal digits, random.
    pub node: String,
    /// That of the process that wrote it.
    pub instance: String,
    /// Where the store was: a copy of it is another node.
    pub place: String,
    pub lease: Option<LeaseId>,
    /// Of the engine's data; empty before the first.
    pub epoch: String,
    pub applied: Revision,
    /// By MD: no set of a lower generation is taken.
    pub highest: BTreeMap<String, u64>,
    /// By MD, as `withdrawn/NAME.json` has it.
    pub withdrawn: BTreeMap<String, Value>,
    /// Ids of the other nodes that were live last, for turns without the engine.
    pub nodes: Vec<String>,
}

impl State {
    /// Of a store that had none.
    pub fn new(node: [u8; 16]) -> Self {
        State { node: HEXLOWER.encode(&node), ..State::default() }
    }

    /// Notes a generation that was seen.
    pub fn see(&mut self, name: &str, generation: u64) {
        let highest = self.highest.entry(name.into()).or_default();
        *highest = generation.max(*highest);
    }

    pub fn highest(&self, name: &str) -> u64 {
        self.highest.get(name).copied().unwrap_or_default()
    }

    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("node".into(), json!(self.node));
        out.insert("instance".into(), json!(self.instance));
        out.insert("place".into(), json!(self.place));
        if let Some(LeaseId(lease)) = self.lease {
            out.insert("lease".into(), json!(lease));
        }
        out.insert("epoch".into(), json!(self.epoch));
        out.insert("applied".into(), json!(self.applied.0));
        out.insert("highest".into(), json!(self.highest));
        out.insert("withdrawn".into(), json!(self.withdrawn));
        out.insert("nodes".into(), json!(self.nodes));
        Value::Object(out)
    }

    /// `None`: it does not tell which node it is of.
    pub fn from_json(value: &Value) -> Option<Self> {
        let node = name_at(value, "node").filter(|node| is_id(node))?;
        let fields =
            |key: &str| value.get(key).and_then(Value::as_object).into_iter().flatten().take(MDS_MAX);
        let kept = |record: &Value| Room { values: ROOM.0, text: ROOM.1 }.take(record);
        let nodes = value.get("nodes").and_then(Value::as_array).into_iter().flatten();
        let nodes = nodes.filter_map(Value::as_str).filter(|id| is_id(id)).take(NODES_MAX);
        let number = |key: &str| value.get(key).and_then(Value::as_u64);
        Some(State {
            node,
            instance: name_at(value, "instance").unwrap_or_default(),
            place: name_at(value, "place").unwrap_or_default(),
            lease: number("lease").map(LeaseId),
            epoch: name_at(value, "epoch").unwrap_or_default(),
            applied: Revision(number("applied").unwrap_or_default()),
            highest: fields("highest").filter_map(|(md, seen)| Some((md.clone(), seen.as_u64()?))).collect(),
            withdrawn: fields("withdrawn")
                .filter_map(|(md, record)| Some((md.clone(), kept(record)?)))
                .collect(),
            nodes: nodes.map(String::from).collect(),
        })
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
