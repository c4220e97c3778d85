// SPDX-License-Identifier: Apache-2.0
//! An order in progress as staging keeps it. It persists over attempts, children and restarts, and so do the
//! answers to its challenges, for as long as the CA may validate them. Pure.

use crate::model::{Waiting, bounded};
use crate::time::Timestamp;
use serde_json::{Map, Value, json};

/// Where the CA has an order, for which of the MD's keys it is, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedOrder {
    pub url: String,
    pub key: String,
    /// When the CA forgets it, where that is known.
    pub expires: Option<Timestamp>,
    pub phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No challenge was started.
    Placed,
    /// The challenges of these authorizations, by their URLs, were started, the first at `since`: the CA
    /// validates them.
    Validating { since: Timestamp, started: Vec<String> },
    /// All names are validated.
    Issuing { since: Timestamp },
}

/// An order that its CA does not complete within one attempt: the current step, its start, and the time of
/// the next poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    pub waiting: Waiting,
    pub until: Timestamp,
}

/// More authorizations than an order has.
const STARTED_MAX: usize = 200;
impl SavedOrder {
    pub fn new(url: &str, key: &str, expires: Option<Timestamp>) -> Self {
        SavedOrder { url: url.into(), key: key.into(), expires, phase: Phase::Placed }
    }

    /// Whether it is worth to be taken up at `now`.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether the CA may come for the answers to its challenges.
    pub fn is_awaiting_the_ca(&self, now: Timestamp) -> bool {
        self.is_alive(now) && matches!(&self.phase, Phase::Validating { started, .. } if !started.is_empty())
    }

    /// Whether the CA is at work on it: then a restart leaves it alone.
    pub fn is_under_way(&self, now: Timestamp) -> bool {
        self.is_awaiting_the_ca(now) || (self.is_alive(now) && matches!(self.phase, Phase::Issuing { .. }))
    }

    pub fn is_started(&self, authorization: &str) -> bool {
        matches!(&self.phase, Phase::Validating { started, .. } if started.iter().any(|url| url == authorization))
    }

    pub fn started(&self) -> &[String] {
        match &self.phase {
            Phase::Validating { started, .. } => started,
            Phase::Placed | Phase::Issuing { .. } => &[],
        }
    }

    /// Whether more has come of it than that it was placed.
    pub fn is_begun(&self) -> bool {
        self.phase != Phase::Placed
    }

    pub fn is_validated(&self) -> bool {
        matches!(self.phase, Phase::Issuing { .. })
    }

    /// A challenge of this authorization was started.
    pub fn start(&mut self, authorization: &str, now: Timestamp) {
        match &mut self.phase {
            Phase::Validating { since, started } => {
                *since = now;
                started.push(authorization.into());
            }
            phase => *phase = Phase::Validating { since: now, started: vec![authorization.into()] },
        }
    }

    /// Notes that the challenge of this authorization has to be started again.
    pub fn unstart(&mut self, authorization: &str) {
        if let Phase::Validating { started, .. } = &mut self.phase {
            started.retain(|url| url != authorization);
        }
    }

    /// All names are validated, or the certificate was asked for.
    pub fn issue(&mut self, now: Timestamp) {
        self.phase = Phase::Issuing { since: now };
    }

    /// Moves times in the future, written while the clock was ahead, to `now`: the order would otherwise wait
    /// until then.
    pub fn believe_up_to(&mut self, now: Timestamp) {
        if let Phase::Validating { since, .. } | Phase::Issuing { since } = &mut self.phase {
            *since = (*since).min(now);
        }
    }

    /// The begin of this phase at the CA, at most `now`: a later time was written while the clock was ahead.
    pub fn since(&self, now: Timestamp) -> Timestamp {
        match self.phase {
            Phase::Validating { since, .. } | Phase::Issuing { since } => since.min(now),
            Phase::Placed => now,
        }
    }

    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("url".into(), json!(self.url));
        out.insert("key".into(), json!(self.key));
        if let Some(expires) = self.expires {
            out.insert("expires".into(), json!(expires.to_http_date()));
        }
        match &self.phase {
            Phase::Placed => {}
            Phase::Validating { since, started } => {
                out.insert("validating".into(), json!({"since": since.to_http_date(), "started": started}));
            }
            Phase::Issuing { since } => {
                out.insert("issuing".into(), json!({"since": since.to_http_date()}));
            }
        }
        Value::Object(out)
    }

    /// `None` where it says too little.
    pub fn from_json(value: &Value) -> Option<Self> {
        let name = |key: &str| bounded::name_at(value, key);
        let date = |value: Option<&Value>| value.and_then(Value::as_str).and_then(Timestamp::parse_http_date);
        let since = |phase: &str| date(value.get(phase)?.get("since"));
        let started = value.pointer("/validating/started").and_then(Value::as_array);
        let started = started.into_iter().flatten().take(STARTED_MAX).filter_map(Value::as_str);
        let started = started.filter_map(bounded::name).collect();
        let phase = match (since("validating"), since("issuing")) {
            (Some(since), _) => Phase::Validating { since, started },
            (None, Some(since)) => Phase::Issuing { since },
            (None, None) => Phase::Placed,
        };
        Some(SavedOrder { url: name("url")?, key: name("key")?, expires: date(value.get("expires")), phase })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::DAY;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn order(phase: Phase) -> SavedOrder {
        SavedOrder {
            expires: Some(NOW.plus(DAY * 30)),
            phase,
            ..SavedOrder::new("https://ca/o/1", "rsa", None)
        }
    }

    fn validating() -> Phase {
        Phase::Validating { since: NOW, started: vec!["https://ca/a/1".into()] }
    }

    #[test]
    fn json_is_read_back_and_that_of_earlier_versions_too() {
        for phase in [Phase::Placed, validating(), Phase::Issuing { since: NOW }] {
            let order = order(phase);
            assert_eq!(SavedOrder::from_json(&order.to_json()), Some(order));
        }
        let bare = SavedOrder::from_json(&json!({"url": "https://ca/o/1", "key": "rsa"}));
        assert_eq!(bare, Some(SavedOrder::new("https://ca/o/1", "rsa", None)));
        for garbage in [json!(5), json!({"url": "x"}), json!([])] {
            assert_eq!(SavedOrder::from_json(&garbage), None);
        }
        let odd = json!({"url": "u", "key": "k", "expires": 7, "validating": [], "issuing": "x"});
        assert_eq!(SavedOrder::from_json(&odd), Some(SavedOrder::new("u", "k", None)));
    }

    #[test]
    fn the_ca_is_awaited_from_the_first_challenge_to_the_last_decision() {
        let mut order = order(Phase::Placed);
        assert!(!order.is_awaiting_the_ca(NOW) && !order.is_under_way(NOW));
        order.start("https://ca/a/1", NOW);
        order.start("https://ca/a/2", NOW);
        assert!(order.is_awaiting_the_ca(NOW) && order.is_under_way(NOW));
        assert!(!order.is_awaiting_the_ca(NOW.plus(DAY * 30)), "it has expired");
        order.unstart("https://ca/a/2");
        assert!(order.is_awaiting_the_ca(NOW) && order.started() == ["https://ca/a/1"]);
        order.issue(NOW);
        assert!(!order.is_awaiting_the_ca(NOW) && order.is_under_way(NOW));
        assert_eq!(order.since(NOW.plus(DAY)), NOW);
        assert_eq!(order.since(NOW.minus(DAY)), NOW.minus(DAY), "noted by a clock that was ahead");
        order.believe_up_to(NOW.minus(DAY));
        assert_eq!(order.since(NOW), NOW.minus(DAY), "and so it stays");
    }
}
