// SPDX-License-Identifier: Apache-2.0
//! What a node says of itself, as JSON. Terms that many MDs have stand there once, and DNS names where they are
//! not just the MD's own: a node may have ten thousand MDs, and a value has an end.

use super::super::sealed::Flaw;
use super::fields::{Fields, NAMES_MAX, time_to_json};
use super::{Applied, Node, NodeMd};
use crate::model::bounded;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// More than fit into a value.
const MDS_MAX: usize = 100_000;
const ID_DIGITS: usize = 32;

impl Node {
    pub(super) fn to_json(&self) -> Value {
        let mut terms: Vec<&str> = self.mds.iter().map(|md| md.terms.as_str()).collect();
        terms.sort_unstable();
        terms.dedup();
        let md = |md: &NodeMd| {
            let index = terms.binary_search(&md.terms.as_str()).unwrap_or_default();
            if md.domains == [md.name.as_str()] {
                json!([md.name, index])
            } else {
                json!([md.name, index, md.domains])
            }
        };
        let silent = self.mds.iter().enumerate().filter(|(_, md)| !md.asks).map(|(index, _)| index);
        json!({
            "id": self.id,
            "name": self.name,
            "instance": self.instance,
            "version": self.version,
            "applied": self.applied,
            "seen": time_to_json(self.seen),
            "terms": terms,
            "mds": self.mds.iter().map(md).collect::<Vec<_>>(),
            "more": self.has_more,
            "silent": silent.collect::<Vec<_>>(),
        })
    }

    pub(super) fn from_json(json: Fields) -> Result<Self, Flaw> {
        let terms = json.names("terms", MDS_MAX)?;
        let silent = json.list("silent", MDS_MAX)?.iter().map(|index| index.as_u64());
        let silent = silent.collect::<Option<BTreeSet<u64>>>().ok_or(Flaw::Field("silent"))?;
        let mds = (0..).zip(json.list("mds", MDS_MAX)?);
        let md = |(index, md)| md_from_json(md, &terms, !silent.contains(&index)).ok_or(Flaw::Field("mds"));
        Ok(Node {
            id: json.digits("id", ID_DIGITS)?,
            name: json.name("name")?,
            instance: json.name("instance")?,
            version: json.name("version")?,
            mds: mds.map(md).collect::<Result<_, _>>()?,
            has_more: json.flag("more")?,
            applied: json.number("applied")?,
            seen: json.time("seen")?,
        })
    }
}

fn md_from_json(md: &Value, terms: &[String], asks: bool) -> Option<NodeMd> {
    let (name, index, domains) = match md.as_array()?.as_slice() {
        [name, index] => (name, index, std::slice::from_ref(name)),
        [name, index, Value::Array(domains)] if domains.len() <= NAMES_MAX => {
            (name, index, domains.as_slice())
        }
        _ => return None,
    };
    let name_of = |value: &Value| value.as_str().and_then(bounded::name);
    Some(NodeMd {
        name: name_of(name)?,
        domains: domains.iter().map(name_of).collect::<Option<_>>()?,
        terms: terms.get(usize::try_from(index.as_u64()?).ok()?)?.clone(),
        asks,
    })
}

impl Applied {
    pub(super) fn to_json(self) -> Value {
        json!({"applied": self.applied, "seen": time_to_json(self.seen)})
    }

    pub(super) fn from_json(json: Fields) -> Result<Self, Flaw> {
        Ok(Applied { applied: json.number("applied")?, seen: json.time("seen")? })
    }
}
