// SPDX-License-Identifier: Apache-2.0
//! What an operator asks of the process that replicates: a file of the store's `requests/`, in which root or
//! the store's owner alone can write. The answer is in [`FleetReport`](super::FleetReport).

use super::bounded;
use super::request::{self, Answer, RequestState};
use crate::time::Timestamp;
use serde_json::{Value, json};

/// Bytes of the id or name of a node.
const NODE_MAX: usize = 256;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetRequest {
    /// Unique: it is acted upon once.
    pub id: String,
    pub op: FleetOp,
    pub time: Timestamp,
    /// The user and the program that ask, for the log.
    pub by: String,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FleetOp {
    /// Seal all values of the engine again, by the first secret.
    Rekey,
    /// Read everything from the engine again.
    Resync,
    /// Remove what a node that is gone has left.
    Evict {
        /// Its id or name.
        node: String,
    },
}

impl FleetOp {
    /// For the log.
    pub fn describe(&self) -> String {
        match self {
            FleetOp::Rekey => "all values of the engine sealed again".into(),
            FleetOp::Resync => "everything read from the engine again".into(),
            FleetOp::Evict { node } => format!("what the node {node} has left removed"),
        }
    }
}

impl FleetRequest {
    /// Whether it is to be acted upon at this time. One from the future is by a clock that was set back.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.time) < request::LIFETIME && self.time.since(now) < request::LIFETIME
    }

    /// An answer to it.
    pub fn answer(&self, state: RequestState, detail: Option<String>, now: Timestamp) -> Answer {
        Answer { id: self.id.clone(), state, detail, when: now }
    }

    pub fn to_json(&self) -> Value {
        let (op, arguments) = match &self.op {
            FleetOp::Rekey => ("rekey", json!({})),
            FleetOp::Resync => ("resync", json!({})),
            FleetOp::Evict { node } => ("evict", json!({"node": node})),
        };
        json!({
            "id": self.id, "op": op, "arguments": arguments, "time": self.time.to_http_date(), "by": self.by,
        })
    }

    /// `None`: it is no request of ours.
    pub fn from_json(value: &Value) -> Option<Self> {
        let op = match value.get("op")?.as_str()? {
            "rekey" => FleetOp::Rekey,
            "resync" => FleetOp::Resync,
            "evict" => FleetOp::Evict { node: node(value.get("arguments")?)? },
            _ => return None,
        };
        Some(FleetRequest {
            id: bounded::name_at(value, "id").filter(|id| request::is_token(id))?,
            op,
            time: Timestamp::parse_http_date(value.get("time")?.as_str()?)?,
            by: bounded::text_at(value, "by", 256).unwrap_or_default(),
        })
    }
}

fn node(arguments: &Value) -> Option<String> {
    bounded::name_at(arguments, "node").filter(|node| !node.is_empty() && node.len() <= NODE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn request(op: FleetOp) -> FleetRequest {
        FleetRequest { id: "0a-1".into(), op, time: NOW, by: "user 0 (a2md)".into() }
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for op in [FleetOp::Rekey, FleetOp::Resync, FleetOp::Evict { node: "www 2".into() }] {
            let request = request(op);
            assert_eq!(FleetRequest::from_json(&request.to_json()), Some(request));
        }
        let answer = request(FleetOp::Rekey).answer(RequestState::Done, Some("sealed 3 values".into()), NOW);
        assert_eq!((answer.id.as_str(), answer.when), ("0a-1", NOW));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let good = request(FleetOp::Evict { node: "www2".into() }).to_json();
        for (key, bad) in [
            ("id", json!("")),
            ("id", json!("../x")),
            ("op", json!("wipe")),
            ("op", json!(1)),
            ("arguments", json!({})),
            ("arguments", json!({"node": ""})),
            ("arguments", json!({"node": "a\nb"})),
            ("arguments", json!({"node": "a".repeat(257)})),
            ("time", json!(5)),
        ] {
            let mut value = good.clone();
            value[key] = bad.clone();
            assert_eq!(FleetRequest::from_json(&value), None, "{key}: {bad}");
        }
    }

    #[test]
    fn a_request_of_another_time_is_not_acted_upon() {
        let request = request(FleetOp::Resync);
        for at in [NOW, NOW.plus(request::LIFETIME / 2), NOW.minus(request::LIFETIME / 2)] {
            assert!(request.is_fresh(at));
        }
        for at in [NOW.plus(request::LIFETIME), NOW.minus(request::LIFETIME)] {
            assert!(!request.is_fresh(at));
        }
    }
}
