// SPDX-License-Identifier: Apache-2.0
//! What an operator asks of the running httpd, and its answer. A request is the file `requests/NAME.json` of
//! the store, in which root or the store's owner alone can write; the answer is `request` in job.json, which
//! workers write.

use super::bounded;
use crate::time::Timestamp;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// An older request is not acted upon: whoever made it has gone.
pub const LIFETIME: Duration = Duration::from_secs(300);
/// Bytes of its file.
pub const SIZE_MAX: usize = 16 * 1024;

/// A request for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Unique: it is acted upon once.
    pub id: String,
    pub op: Op,
    pub time: Timestamp,
    /// The user and the program that ask, for the log.
    pub by: String,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Renew the managed domain.
    Renew(Renew),
    /// Look at the managed domain again: its files in staging were changed.
    Look,
    /// Answer `GET /.well-known/acme-challenge/TOKEN` of this host by this text for a minute.
    Present { token: String, text: String },
}

/// Which certificates are renewed, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renew {
    /// Although none is due.
    pub force: bool,
    /// With a new key, where the old one would be kept.
    pub new_key: bool,
    /// Only those issued before.
    pub issued_before: Option<Timestamp>,
    /// Only those whose issuer has this in its name.
    pub issuer: Option<String>,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// The renewing child has read it, and will act.
    Accepted,
    /// It is at work.
    Running,
    /// It is done: for a renewal, the new certificates are live, or wait for a restart.
    Done,
    Failed,
    /// It is not acted upon, for the reason in `detail`.
    Refused,
}

const STATES: [(RequestState, &str); 5] = [
    (RequestState::Accepted, "accepted"),
    (RequestState::Running, "running"),
    (RequestState::Done, "done"),
    (RequestState::Failed, "failed"),
    (RequestState::Refused, "refused"),
];

impl RequestState {
    pub fn token(self) -> &'static str {
        STATES.into_iter().find(|(state, _)| *state == self).map_or("", |(_, token)| token)
    }

    pub fn from_token(token: &str) -> Option<Self> {
        STATES.into_iter().find(|(_, known)| *known == token).map(|(state, _)| state)
    }

    /// Nothing more will come.
    pub fn is_final(self) -> bool {
        matches!(self, RequestState::Done | RequestState::Failed | RequestState::Refused)
    }
}

/// `request` in job.json.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub id: String,
    pub state: RequestState,
    pub detail: Option<String>,
    /// When it came to this state.
    pub when: Timestamp,
}

impl Answer {
    pub fn to_json(&self) -> Value {
        let mut out = json!({"id": self.id, "state": self.state.token(), "when": self.when.to_http_date()});
        if let Some(detail) = &self.detail {
            out["detail"] = json!(detail);
        }
        out
    }

    pub fn from_json(value: &Value) -> Option<Self> {
        Some(Answer {
            id: bounded::name_at(value, "id")?,
            state: RequestState::from_token(value.get("state")?.as_str()?)?,
            detail: bounded::text_at(value, "detail", bounded::TEXT_MAX),
            when: Timestamp::parse_http_date(value.get("when")?.as_str()?)?,
        })
    }
}

impl Request {
    /// Whether it is to be acted upon at this time. One from the future is by a clock that was set back.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        let ahead = self.time.since(now);
        now.since(self.time) < LIFETIME && ahead < LIFETIME
    }

    pub fn to_json(&self) -> Value {
        let (op, arguments) = match &self.op {
            Op::Renew(renew) => ("renew", renew.to_json()),
            Op::Look => ("look", json!({})),
            Op::Present { token, text } => ("present", json!({"token": token, "text": text})),
        };
        json!({
            "id": self.id, "op": op, "arguments": arguments, "time": self.time.to_http_date(), "by": self.by,
        })
    }

    /// `None`: it is no request of ours.
    pub fn from_json(value: &Value) -> Option<Self> {
        let arguments = value.get("arguments")?;
        let op = match value.get("op")?.as_str()? {
            "renew" => Op::Renew(Renew::from_json(arguments)?),
            "look" => Op::Look,
            "present" => Op::Present {
                token: bounded::name_at(arguments, "token").filter(|token| is_token(token))?,
                text: bounded::name_at(arguments, "text")
                    .filter(|text| text.bytes().all(|b| b.is_ascii_graphic()))?,
            },
            _ => return None,
        };
        Some(Request {
            id: bounded::name_at(value, "id").filter(|id| is_token(id))?,
            op,
            time: Timestamp::parse_http_date(value.get("time")?.as_str()?)?,
            by: bounded::text_at(value, "by", 256).unwrap_or_default(),
        })
    }
}

/// The characters of a token (RFC 8555 §8.3).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

impl Renew {
    /// Whether it is renewed although not due: all that these conditions concern is.
    pub fn is_forced(&self) -> bool {
        self.force || self.new_key || self.issued_before.is_some() || self.issuer.is_some()
    }

    pub(super) fn to_json(&self) -> Value {
        let mut out = Map::new();
        for (key, flag) in [("force", self.force), ("new-key", self.new_key)] {
            flag.then(|| out.insert(key.into(), json!(true)));
        }
        self.issued_before.map(|time| out.insert("issued-before".into(), json!(time.to_http_date())));
        self.issuer.as_ref().map(|issuer| out.insert("issuer".into(), json!(issuer)));
        Value::Object(out)
    }

    /// `None` where a condition cannot be read: without it too much would be renewed.
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        let flag = |key: &str| value.get(key).and_then(Value::as_bool).unwrap_or(false);
        let issued_before = match value.get("issued-before") {
            Some(time) => Some(Timestamp::parse_http_date(time.as_str()?)?),
            None => None,
        };
        let issuer = match value.get("issuer") {
            Some(_) => Some(bounded::name_at(value, "issuer")?),
            None => None,
        };
        Some(Renew { force: flag("force"), new_key: flag("new-key"), issued_before, issuer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn request(op: Op) -> Request {
        Request { id: "a1-_".into(), op, time: NOW, by: "root, a2md".into() }
    }

    #[test]
    fn requests_and_answers_are_read_back_as_written() {
        let renew = Renew { force: true, new_key: true, issued_before: Some(NOW), issuer: Some("R3".into()) };
        let ops = [
            Op::Renew(renew),
            Op::Renew(Renew::default()),
            Op::Look,
            Op::Present { token: "t".into(), text: "x.y".into() },
        ];
        for op in ops {
            let request = request(op);
            assert_eq!(Request::from_json(&request.to_json()), Some(request));
        }
        for (state, token) in STATES {
            let answer = Answer { id: "a".into(), state, detail: Some(token.into()), when: NOW };
            assert_eq!(Answer::from_json(&answer.to_json()), Some(answer));
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_request() {
        let good = request(Op::Renew(Renew::default())).to_json();
        for (pointer, wrong) in [
            ("/id", json!("../a")),
            ("/id", json!("")),
            ("/op", json!("rm")),
            ("/time", json!("yesterday")),
            ("/arguments", json!({"issued-before": "soon"})),
            ("/arguments", json!({"issuer": 7})),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = wrong;
            assert_eq!(Request::from_json(&bad), None, "{bad}");
        }
        let present = |token: &str, text: &str| Op::Present { token: token.into(), text: text.into() };
        for op in [present("../x", "y"), present("x", "y\r\nz"), present("", "y")] {
            assert_eq!(Request::from_json(&request(op).to_json()), None);
        }
    }

    #[test]
    fn an_old_request_and_one_from_far_ahead_are_not_acted_upon() {
        let request = request(Op::Look);
        let minute = Duration::from_secs(60);
        assert!(
            request.is_fresh(NOW)
                && request.is_fresh(NOW.plus(minute * 4))
                && request.is_fresh(NOW.minus(minute))
        );
        assert!(!request.is_fresh(NOW.plus(minute * 5)) && !request.is_fresh(NOW.minus(minute * 6)));
    }
}
