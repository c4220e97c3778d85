// SPDX-License-Identifier: Apache-2.0
//! What the replicating child tells other processes of the fleet: `fleet/status.json`, which status pages,
//! metrics and `a2md fleet status` read. Has no secret. Reading cuts what is too long, and leaves out what has
//! another form.

use super::bounded;
use super::request::Answer;
use crate::time::Timestamp;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The child writes a report on a change, and after this time in any case.
pub const REPORT_EVERY: Duration = Duration::from_secs(20);
/// An older report says nothing of now: no process replicates.
pub const REPORT_STALE: Duration = Duration::from_secs(90);
/// Clocks that differ by more from the engine's are told.
pub const CLOCK_OFF: Duration = Duration::from_secs(60);

/// Entries of lists that are read and written.
const NODES_MAX: usize = 1000;
const RENEWING_MAX: usize = 10_000;
const REFUSED_MAX: usize = 100;
/// Bytes of names and versions of nodes.
const NAME_MAX: usize = 256;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetReport {
    /// When it was written.
    pub at: Timestamp,
    /// Scheme, host and port of the server in use.
    pub engine: String,
    pub connected: bool,
    /// Of `connected`.
    pub since: Option<Timestamp>,
    /// Why it is not connected, or what is wrong all the same.
    pub problem: Option<String>,
    /// This node's id and name.
    pub id: String,
    pub name: String,
    pub nodes: Vec<ReportedNode>,
    pub renewing: Vec<Renewing>,
    /// The latest revision known of the engine, and the one applied here.
    pub revision: u64,
    pub applied: u64,
    /// Requests to the engine since the child began: answered, and failed.
    pub requests_ok: u64,
    pub requests_failed: u64,
    /// Names of MDs whose values could not be opened or were refused, with the reason; some at most.
    pub refused: Vec<(String, String)>,
    /// By how many seconds the node's clock is ahead of the engine's; `None`: not compared.
    pub clock_off: Option<i64>,
    /// To the last request of a2md.
    pub answer: Option<Answer>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedNode {
    pub id: String,
    pub name: String,
    pub version: String,
    pub seen: Option<Timestamp>,
    pub applied: u64,
}

/// An MD that a node renews.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewing {
    pub name: String,
    /// By name.
    pub node: String,
    pub since: Option<Timestamp>,
    /// Without the engine, as that is away for long.
    pub is_solo: bool,
}

impl FleetReport {
    /// Whether it still says how things are.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.at) < REPORT_STALE && self.at.since(now) < REPORT_STALE
    }

    /// How many revisions of the engine are not applied here.
    pub fn lag(&self) -> u64 {
        self.revision.saturating_sub(self.applied)
    }

    /// The same for a node.
    pub fn lag_of(&self, node: &ReportedNode) -> u64 {
        self.revision.saturating_sub(node.applied)
    }

    /// Names that several nodes have.
    pub fn shared_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        names.sort_unstable();
        let mut shared: Vec<&str> =
            names.windows(2).filter(|pair| pair.first() == pair.last()).flatten().copied().collect();
        shared.dedup();
        shared
    }

    /// Whether the clock is off by so much that it is told.
    pub fn is_clock_off(&self) -> bool {
        self.clock_off.is_some_and(|off| off.unsigned_abs() > CLOCK_OFF.as_secs())
    }

    pub fn to_json(&self) -> Value {
        let refused = self.refused.iter().take(REFUSED_MAX);
        let mut out = Map::new();
        out.insert("at".into(), date(self.at));
        out.insert("engine".into(), json!(self.engine));
        out.insert("connected".into(), json!(self.connected));
        put(&mut out, "since", self.since.map(date));
        put(&mut out, "problem", self.problem.as_ref().map(|problem| json!(problem)));
        out.insert("id".into(), json!(self.id));
        out.insert("name".into(), json!(self.name));
        out.insert("nodes".into(), self.nodes.iter().take(NODES_MAX).map(ReportedNode::to_json).collect());
        let renewing = self.renewing.iter().take(RENEWING_MAX);
        out.insert("renewing".into(), renewing.map(Renewing::to_json).collect());
        out.insert("revision".into(), json!(self.revision));
        out.insert("applied".into(), json!(self.applied));
        out.insert("requests".into(), json!({"answered": self.requests_ok, "failed": self.requests_failed}));
        let refused: Vec<Value> =
            refused.map(|(name, reason)| json!({"name": name, "reason": reason})).collect();
        put(&mut out, "refused", (!refused.is_empty()).then(|| Value::Array(refused)));
        put(&mut out, "clock-off", self.clock_off.map(|off| json!(off)));
        put(&mut out, "answer", self.answer.as_ref().map(Answer::to_json));
        Value::Object(out)
    }

    /// `None`: it is no report.
    pub fn from_json(value: &Value) -> Option<Self> {
        let requests = value.get("requests").unwrap_or(&Value::Null);
        let refused = |value: &Value| Some((name(value, "name")?, text(value, "reason").unwrap_or_default()));
        Some(FleetReport {
            at: time(value, "at")?,
            engine: bounded::text_at(value, "engine", NAME_MAX)?,
            connected: value.get("connected")?.as_bool()?,
            since: time(value, "since"),
            problem: text(value, "problem"),
            id: name(value, "id").unwrap_or_default(),
            name: name(value, "name").unwrap_or_default(),
            nodes: items(value, "nodes", NODES_MAX, ReportedNode::from_json),
            renewing: items(value, "renewing", RENEWING_MAX, Renewing::from_json),
            revision: number(value, "revision"),
            applied: number(value, "applied"),
            requests_ok: number(requests, "answered"),
            requests_failed: number(requests, "failed"),
            refused: items(value, "refused", REFUSED_MAX, refused),
            clock_off: value.get("clock-off").and_then(Value::as_i64),
            answer: value.get("answer").and_then(Answer::from_json),
        })
    }
}

impl ReportedNode {
    fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("id".into(), json!(self.id));
        out.insert("name".into(), json!(self.name));
        out.insert("version".into(), json!(self.version));
        put(&mut out, "seen", self.seen.map(date));
        out.insert("applied".into(), json!(self.applied));
        Value::Object(out)
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(ReportedNode {
            id: name(value, "id")?,
            name: name(value, "name").unwrap_or_default(),
            version: name(value, "version").unwrap_or_default(),
            seen: time(value, "seen"),
            applied: number(value, "applied"),
        })
    }
}

impl Renewing {
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("name".into(), json!(self.name));
        out.insert("node".into(), json!(self.node));
        put(&mut out, "since", self.since.map(date));
        put(&mut out, "solo", self.is_solo.then_some(json!(true)));
        Value::Object(out)
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Renewing {
            name: name(value, "name")?,
            node: name(value, "node").unwrap_or_default(),
            since: time(value, "since"),
            is_solo: value.get("solo").and_then(Value::as_bool).unwrap_or_default(),
        })
    }
}

fn put(out: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        out.insert(key.into(), value);
    }
}

fn date(time: Timestamp) -> Value {
    json!(time.to_http_date())
}

fn time(value: &Value, key: &str) -> Option<Timestamp> {
    Timestamp::parse_http_date(value.get(key)?.as_str()?)
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn text(value: &Value, key: &str) -> Option<String> {
    bounded::text_at(value, key, bounded::TEXT_MAX)
}

fn name(value: &Value, key: &str) -> Option<String> {
    bounded::text_at(value, key, NAME_MAX)
}

fn items<T>(value: &Value, key: &str, limit: usize, read: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    let items = value.get(key).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(read).take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RequestState;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn full() -> FleetReport {
        let node = |name: &str, applied| ReportedNode {
            id: format!("id-{name}-{applied}"),
            name: name.into(),
            version: "3.0.0".into(),
            seen: Some(NOW),
            applied,
        };
        FleetReport {
            at: NOW,
            engine: "etcds://etcd.test:2379".into(),
            connected: true,
            since: Some(NOW.minus(Duration::from_secs(60))),
            problem: Some("the clock is off".into()),
            id: "id-www1-7".into(),
            name: "www1".into(),
            nodes: vec![node("www1", 7), node("www2", 9), node("www1", 8)],
            renewing: vec![Renewing {
                name: "a.test".into(),
                node: "www2".into(),
                since: Some(NOW),
                is_solo: true,
            }],
            revision: 9,
            applied: 7,
            requests_ok: 100,
            requests_failed: 3,
            refused: vec![("b.test".into(), "its value does not open".into())],
            clock_off: Some(-61),
            answer: Some(Answer { id: "x".into(), state: RequestState::Done, detail: None, when: NOW }),
        }
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let least = FleetReport { engine: "redis://a:6379".into(), ..FleetReport::default() };
        for report in [full(), least] {
            assert_eq!(FleetReport::from_json(&report.to_json()).unwrap(), report);
        }
        let report = full();
        assert_eq!((report.lag(), report.lag_of(&report.nodes[1])), (2, 0));
        assert_eq!(report.shared_names(), ["www1"]);
        assert!(report.is_clock_off());
        assert!(!FleetReport { clock_off: Some(60), ..full() }.is_clock_off());
    }

    #[test]
    fn an_old_report_says_nothing_of_now_whichever_way_the_clock_went() {
        for (later, is_fresh) in [(0, true), (89, true), (90, false)] {
            let later = Duration::from_secs(later);
            assert_eq!(full().is_fresh(NOW.plus(later)), is_fresh, "{later:?}");
            assert_eq!(full().is_fresh(NOW.minus(later)), is_fresh, "{later:?} before");
        }
    }

    #[test]
    fn what_others_have_written_is_cut_and_left_out() {
        for bad in [
            json!(null),
            json!([]),
            json!({"at": NOW.to_http_date(), "engine": 5, "connected": true}),
            json!({"at": "never", "engine": "e", "connected": true}),
            json!({"at": NOW.to_http_date(), "engine": "e", "connected": "yes"}),
        ] {
            assert_eq!(FleetReport::from_json(&bad), None, "{bad}");
        }
        let mut value = full().to_json();
        value["nodes"] = json!(vec![json!({"id": "a\n".repeat(1000), "applied": -1}); 5000]);
        value["renewing"] = json!([{"node": "no name"}, 5, {"name": "a.test"}]);
        value["refused"] = json!(vec![json!({"name": "a", "reason": "x".repeat(100_000)}); 200]);
        value["revision"] = json!("many");
        value["answer"] = json!({"id": 1});
        value["clock-off"] = json!(1e300);
        let read = FleetReport::from_json(&value).unwrap();
        assert_eq!((read.nodes.len(), read.renewing.len(), read.refused.len()), (1000, 1, 100));
        assert!(read.nodes[0].id.len() <= NAME_MAX && !read.nodes[0].id.contains('\n'));
        assert!(read.refused.iter().all(|(_, reason)| reason.len() <= bounded::TEXT_MAX));
        assert_eq!((read.revision, read.answer, read.clock_off, read.nodes[0].applied), (0, None, None, 0));
    }
}
