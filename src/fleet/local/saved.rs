// SPDX-License-Identifier: Apache-2.0
//! `fleet/state.json`: what the next process of this node goes on with. It is sealed by the store's key, so
//! that nobody can plant one; fields that are missing or damaged are as if they had never been written. Pure.

use crate::model::bounded::name_at;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// Random, made at first use: 32 hexadecimal digits.
    pub id: Option<String>,
    /// Where the store was: a copy of it is another node.
    pub place: String,
    /// Of the process that wrote it.
    pub instance: String,
    pub lease: Option<u64>,
    pub epoch: Option<String>,
    /// The latest revision that is in the store.
    pub revision: u64,
    /// What other nodes have withdrawn, by MD.
    pub withdrawn: BTreeMap<String, Value>,
}

/// More MDs than a configuration has.
const MDS_MAX: usize = 100_000;

impl Saved {
    pub fn to_json(&self) -> Value {
        let mut out = json!({"place": self.place, "instance": self.instance, "revision": self.revision});
        if let Some(id) = &self.id {
            out["id"] = json!(id);
        }
        if let Some(epoch) = &self.epoch {
            out["epoch"] = json!(epoch);
        }
        // As text: not every reader of JSON has integers of 64 bits.
        if let Some(lease) = self.lease {
            out["lease"] = json!(lease.to_string());
        }
        let withdrawn: Map<String, Value> = self.withdrawn.clone().into_iter().collect();
        out["withdrawn"] = Value::Object(withdrawn);
        out
    }

    pub fn from_json(json: &Value) -> Self {
        let text = |key: &str| name_at(json, key);
        let withdrawn = json.get("withdrawn").and_then(Value::as_object).into_iter().flatten();
        Saved {
            id: text("id").filter(|id| is_id(id)),
            place: text("place").unwrap_or_default(),
            instance: text("instance").unwrap_or_default(),
            lease: text("lease").and_then(|lease| lease.parse().ok()),
            epoch: text("epoch"),
            revision: json.get("revision").and_then(Value::as_u64).unwrap_or_default(),
            withdrawn: withdrawn
                .take(MDS_MAX)
                .map(|(name, record)| (name.clone(), record.clone()))
                .collect(),
        }
    }
}

fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_read_back_and_garbage_is_a_new_node() {
        let saved = Saved {
            id: Some("0123456789abcdef0123456789abcdef".into()),
            place: "1-2".into(),
            instance: "i".into(),
            lease: Some(u64::MAX),
            epoch: Some("e".into()),
            revision: 7,
            withdrawn: [("a.test".to_string(), json!({"certificates": []}))].into(),
        };
        assert_eq!(Saved::from_json(&saved.to_json()), saved);
        for garbage in [json!(null), json!([]), json!({"id": "../x", "lease": "-1", "withdrawn": 5})] {
            assert_eq!(Saved::from_json(&garbage), Saved::default());
        }
    }
}
