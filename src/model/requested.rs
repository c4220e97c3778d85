// SPDX-License-Identifier: Apache-2.0
//! The answers to requests that `request` in a job.json keeps: to the latest one, and to a few before it,
//! whose programs may not have seen them yet. Cuts values to size, because workers can write that file.

use super::bounded;
use super::outcome::date;
use super::request::{Answer, Renew, Request, RequestState};
use crate::time::Timestamp;
use serde_json::{Value, json};

/// Requests that one answer is for.
const JOINED_MAX: usize = 16;
/// Answers before the latest.
const EARLIER_MAX: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// To the latest request.
    pub answer: Answer,
    /// Further requests that it is for: they asked for what is under way already.
    pub joined: Vec<String>,
    /// How to renew, for as long as that is not over.
    pub renew: Option<Renew>,
    /// When the latest renewal was accepted.
    pub accepted: Option<Timestamp>,
    /// The latest first.
    pub earlier: Vec<Answer>,
}

impl Requested {
    /// The answer to a request that is new. `before`: what there was.
    pub fn begin(
        before: Option<Requested>,
        id: &str,
        state: RequestState,
        detail: Option<String>,
        now: Timestamp,
    ) -> Self {
        let answer = Answer { id: id.into(), state, detail, when: now };
        let Some(before) = before else {
            return Requested {
                answer,
                joined: Vec::new(),
                renew: None,
                accepted: None,
                earlier: Vec::new(),
            };
        };
        let mut earlier = before.answers();
        earlier.truncate(EARLIER_MAX);
        Requested { answer, joined: Vec::new(), renew: None, accepted: before.accepted, earlier }
    }

    /// The renewal that is under way.
    pub fn renewal(&self) -> Option<&Renew> {
        self.renew.as_ref().filter(|_| !self.answer.state.is_final())
    }

    /// Notes how far the request has come.
    pub fn answer(&mut self, state: RequestState, detail: Option<String>, now: Timestamp) {
        if self.answer.state != state {
            self.answer.when = now;
        }
        (self.answer.state, self.answer.detail) = (state, detail);
        if state.is_final() {
            self.renew = None;
        }
    }

    /// Notes that a request is refused while another one is under way.
    #[must_use]
    pub fn refusing(mut self, id: &str, reason: &str, now: Timestamp) -> Self {
        let (state, detail) = (RequestState::Refused, Some(reason.to_string()));
        self.earlier.insert(0, Answer { id: id.into(), state, detail, when: now });
        self.earlier.truncate(EARLIER_MAX);
        self
    }

    /// Has the answer count for one more request. `false`: there are too many.
    pub fn join(&mut self, request: &Request) -> bool {
        let has_room = self.joined.len() < JOINED_MAX;
        if has_room {
            self.joined.push(request.id.clone());
        }
        has_room
    }

    /// The answer to the request with this id.
    pub fn answer_to(&self, id: &str) -> Option<Answer> {
        self.answers().into_iter().find(|answer| answer.id == id)
    }

    pub fn answers(&self) -> Vec<Answer> {
        let joined = self.joined.iter().map(|id| Answer { id: id.clone(), ..self.answer.clone() });
        std::iter::once(self.answer.clone()).chain(joined).chain(self.earlier.iter().cloned()).collect()
    }

    pub fn to_json(&self) -> Value {
        let mut out = self.answer.to_json();
        if !self.joined.is_empty() {
            out["joined"] = json!(self.joined);
        }
        if let Some(renew) = &self.renew {
            out["arguments"] = renew.to_json();
        }
        if let Some(accepted) = self.accepted {
            out["accepted"] = json!(accepted.to_http_date());
        }
        if !self.earlier.is_empty() {
            out["earlier"] = self.earlier.iter().map(Answer::to_json).collect();
        }
        out
    }

    pub fn from_json(value: &Value) -> Option<Self> {
        let list = |key: &str, max| value.get(key).and_then(Value::as_array).into_iter().flatten().take(max);
        Some(Requested {
            answer: Answer::from_json(value)?,
            joined: list("joined", JOINED_MAX).filter_map(Value::as_str).filter_map(bounded::name).collect(),
            renew: value.get("arguments").and_then(Renew::from_json),
            accepted: date(value.get("accepted")),
            earlier: list("earlier", EARLIER_MAX).filter_map(Answer::from_json).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::Op;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn request(id: &str) -> Request {
        Request { id: id.into(), op: Op::Look, time: NOW, by: "root".into() }
    }

    #[test]
    fn each_program_finds_its_answer_for_a_while() {
        let mut requested = Requested::begin(None, "a", RequestState::Running, None, NOW);
        requested.renew = Some(Renew { force: true, ..Renew::default() });
        assert!(requested.join(&request("b")) && requested.renewal().is_some());
        requested.answer(RequestState::Done, Some("live".into()), NOW);
        assert_eq!(requested.renewal(), None);
        let next = Requested::begin(Some(requested), "c", RequestState::Refused, None, NOW);
        for (id, state) in
            [("a", RequestState::Done), ("b", RequestState::Done), ("c", RequestState::Refused)]
        {
            assert_eq!(next.answer_to(id).map(|answer| answer.state), Some(state), "{id}");
        }
        assert_eq!(next.answer_to("d"), None);
        assert_eq!(Requested::from_json(&next.to_json()), Some(next));
    }

    #[test]
    fn what_a_worker_writes_is_cut_to_size() {
        let answer = Requested::begin(None, "a", RequestState::Running, None, NOW).to_json();
        let mut many = answer.clone();
        many["joined"] = vec!["x"; 1000].into();
        many["earlier"] = vec![answer; 1000].into();
        let read = Requested::from_json(&many).unwrap();
        assert_eq!((read.joined.len(), read.earlier.len()), (JOINED_MAX, EARLIER_MAX));
        let mut last = read;
        while last.join(&request("y")) {}
        for _ in 0..9 {
            last = Requested::begin(Some(last), "z", RequestState::Running, None, NOW);
        }
        assert_eq!(last.earlier.len(), EARLIER_MAX);
    }
}
