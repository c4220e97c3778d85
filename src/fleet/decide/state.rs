// SPDX-License-Identifier: Apache-2.0
//! `fleet/state.json`: what the next process that replicates this store has to know (rule 8), and what must not
//! be forgotten while the engine is away. Bounded. Pure; imports nothing of the fleet.

use crate::fleet::engine::{LeaseId, Revision};
use crate::model::bounded::{Room, name_at};
use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// More MDs than one httpd has.
const MDS_MAX: usize = 100_000;
/// More nodes than a fleet has.
const NODES_MAX: usize = 1000;
/// More processes in a row than die before they have written that they are there.
pub const INSTANCES_MAX: usize = 100;
/// Of what is withdrawn of an MD.
const ROOM: (usize, usize) = (1000, 64 * 1024);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// This node's id: 32 hexadecimal digits, random.
    pub node: String,
    /// Of the processes that may have written `node/ID` last, the one that wrote this at the end.
    pub instances: Vec<String>,
    /// Where the store was: a copy of it is another node.
    pub place: String,
    pub lease: Option<LeaseId>,
    /// Of the engine's data; empty before the first.
    pub epoch: String,
    pub applied: Revision,
    /// By MD: no set of a lower generation is taken. Shared, as each step compares the state with the saved one.
    pub highest: Arc<BTreeMap<String, u64>>,
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

    /// Of a copy of the store, which is the node of this id: what it must not forget stays, and the original may be
    /// another node of the fleet.
    #[must_use]
    pub fn copied(self, node: String) -> Self {
        let nodes = self.nodes.into_iter().chain([self.node]).collect();
        State { node, instances: Vec::new(), place: String::new(), lease: None, nodes, ..self }
    }

    /// Notes a generation that was seen.
    pub fn see(&mut self, name: &str, generation: u64) {
        let highest = Arc::make_mut(&mut self.highest).entry(name.into()).or_default();
        *highest = generation.max(*highest);
    }

    pub fn highest(&self, name: &str) -> u64 {
        self.highest.get(name).copied().unwrap_or_default()
    }

    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("node".into(), json!(self.node));
        out.insert("instances".into(), json!(self.instances));
        out.insert("place".into(), json!(self.place));
        if let Some(LeaseId(lease)) = self.lease {
            out.insert("lease".into(), json!(lease));
        }
        out.insert("epoch".into(), json!(self.epoch));
        out.insert("applied".into(), json!(self.applied.0));
        out.insert("highest".into(), json!(*self.highest));
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
        let instances = value.get("instances").and_then(Value::as_array).into_iter().flatten();
        let instances = instances.filter_map(Value::as_str).filter(|id| is_id(id)).take(INSTANCES_MAX);
        let number = |key: &str| value.get(key).and_then(Value::as_u64);
        Some(State {
            node,
            instances: instances.map(String::from).collect(),
            place: name_at(value, "place").unwrap_or_default(),
            lease: number("lease").map(LeaseId),
            epoch: name_at(value, "epoch").unwrap_or_default(),
            applied: Revision(number("applied").unwrap_or_default()),
            highest: Arc::new(
                fields("highest").filter_map(|(md, seen)| Some((md.clone(), seen.as_u64()?))).collect(),
            ),
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

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn it_is_what_it_was() {
        let mut state = State::new([7; 16]);
        state.instances = vec!["07".repeat(16), "08".repeat(16)];
        state.lease = Some(LeaseId(u64::MAX));
        state.epoch = "e".into();
        state.applied = Revision(9);
        state.see("a.test", 4);
        state.see("a.test", 3);
        state.withdrawn.insert("a.test".into(), json!({"certificates": [{"serial": "0A"}]}));
        state.nodes = vec!["0123456789abcdef0123456789abcdef".into()];
        assert_eq!((state.highest("a.test"), state.highest("b.test")), (4, 0));
        assert_eq!(State::from_json(&state.to_json()), Some(state));
        let empty = State::new([1; 16]);
        assert_eq!(State::from_json(&empty.to_json()), Some(empty));
    }

    #[test]
    fn what_is_no_state_is_none_and_what_does_not_fit_is_left_out() {
        assert_eq!(State::from_json(&json!({"node": "../x"})), None);
        assert_eq!(State::from_json(&json!([])), None);
        let node = "07".repeat(16);
        let odd = json!({"node": node, "lease": -1, "applied": "x", "highest": {"a.test": "y", "b.test": 2},
            "nodes": ["short", 1], "withdrawn": 3});
        let state = State::from_json(&odd).unwrap();
        assert_eq!((state.lease, state.applied, state.highest.len()), (None, Revision(0), 1));
        assert!(state.nodes.is_empty() && state.withdrawn.is_empty());
    }
}
