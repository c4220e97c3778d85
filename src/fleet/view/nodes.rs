// SPDX-License-Identifier: Apache-2.0
//! The live nodes of a fleet and the MDs that each has. Many nodes have the same MDs: each MD, as it is
//! configured, is kept once. Pure; imports `record` and `entry`.

use super::entry::Mark;
use crate::fleet::record::{Applied, Node, NodeMd};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A node whose lease is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveNode {
    pub id: String,
    /// For people.
    pub name: String,
    pub instance: String,
    pub version: String,
    /// By name.
    mds: Vec<Arc<NodeMd>>,
    /// It has others than those.
    has_more: bool,
    /// The latest revision that it has acknowledged.
    pub applied: u64,
    pub seen: Timestamp,
    pub mark: Mark,
}

impl LiveNode {
    pub fn md(&self, name: &str) -> Option<&NodeMd> {
        let at = self.mds.binary_search_by(|md| md.name.as_str().cmp(name)).ok()?;
        self.mds.get(at).map(AsRef::as_ref)
    }

    /// Whether it has the MD, as far as it tells.
    pub fn may_have(&self, name: &str) -> bool {
        self.has_more || self.md(name).is_some()
    }

    /// Whether its MDs are too many for it to tell them all.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    pub fn mds(&self) -> impl Iterator<Item = &NodeMd> {
        self.mds.iter().map(AsRef::as_ref)
    }
}

#[derive(Default)]
pub(super) struct Nodes {
    live: BTreeMap<String, LiveNode>,
    /// Of each node that acknowledges, which may be told before the node itself.
    acknowledged: BTreeMap<String, (u64, Timestamp)>,
    mds: BTreeSet<Arc<NodeMd>>,
    /// The names of those that were live, by their ids.
    gone: BTreeMap<String, String>,
}

/// Nodes that are gone, of which more is known than their number.
const GONE_MAX: usize = 1000;

impl Nodes {
    pub fn iter(&self) -> impl Iterator<Item = &LiveNode> {
        self.live.values()
    }

    pub fn get(&self, id: &str) -> Option<&LiveNode> {
        self.live.get(id)
    }

    pub fn put(&mut self, id: String, node: Node, mark: Mark) {
        let mut mds: Vec<_> = node.mds.into_iter().map(|md| self.shared(md)).collect();
        mds.sort();
        mds.dedup_by(|a, b| a.name == b.name);
        let (applied, seen) = self.acknowledged.get(&id).copied().unwrap_or_default();
        let live = LiveNode {
            id: id.clone(),
            name: node.name,
            instance: node.instance,
            version: node.version,
            mds,
            has_more: node.has_more,
            applied: node.applied.max(applied),
            seen: node.seen.max(seen),
            mark,
        };
        self.live.insert(id, live);
        self.sweep();
    }

    pub fn acknowledge(&mut self, id: String, applied: &Applied) {
        if let Some(live) = self.live.get_mut(&id) {
            live.applied = live.applied.max(applied.applied);
            live.seen = live.seen.max(applied.seen);
        }
        self.acknowledged.insert(id, (applied.applied, applied.seen));
    }

    /// The ids of nodes that are gone and had this name, or this id.
    pub fn gone<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'n String> {
        let is_it = move |(id, known): &(&String, &String)| *id == name || *known == name;
        self.gone.iter().filter(is_it).map(|(id, _)| id).filter(|id| !self.live.contains_key(*id))
    }

    pub fn remove(&mut self, id: &str) {
        if let Some(live) = self.live.remove(id)
            && self.gone.len() < GONE_MAX
        {
            self.gone.insert(live.id, live.name);
        }
        self.sweep();
    }

    pub fn forget_acknowledgement(&mut self, id: &str) {
        self.acknowledged.remove(id);
    }

    fn shared(&mut self, md: NodeMd) -> Arc<NodeMd> {
        if let Some(known) = self.mds.get(&md) {
            return known.clone();
        }
        let md = Arc::new(md);
        self.mds.insert(md.clone());
        md
    }

    #[cfg(test)]
    pub fn shared_mds(&self) -> usize {
        self.mds.len()
    }

    fn sweep(&mut self) {
        self.mds.retain(|md| Arc::strong_count(md) > 1);
    }
}
