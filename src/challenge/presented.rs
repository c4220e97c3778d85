// SPDX-License-Identifier: Apache-2.0
//! Texts that an operator has put up at `/.well-known/acme-challenge/TOKEN` of a host for a minute, to see
//! which server answers there. They are no answers to challenges, and give way to these. Refuses what has
//! ended, and more than a few.

use crate::model::Requested;
use crate::model::bounded;
use crate::store::{Error, Rights, Store};
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// The file in `challenges/NAME/`. Of a name that is no managed domain it has the answers to requests, too.
pub const FILE: &str = "request.json";

/// For how long a text is up.
pub const LIFETIME: Duration = Duration::from_secs(60);
/// At once for one host.
const MAX: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Text {
    token: String,
    text: String,
    until: Timestamp,
}

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presented {
    pub request: Option<Requested>,
    texts: Vec<Text>,
}

impl Presented {
    /// A file that cannot be read is as good as none.
    pub fn read<R: Rights>(store: &Store<R>, group: R::Group, name: &str) -> Self {
        let json = store.read_json(group, name, FILE).unwrap_or_default();
        json.as_ref().map(Presented::from_json).unwrap_or_default()
    }

    /// Nothing of it needs to outlive a power failure.
    pub fn write<R: Rights>(&self, store: &Store<R>, group: R::Group, name: &str) -> Result<(), Error> {
        store.unsynced().write_json(group, name, FILE, &self.to_json())
    }

    /// Puts up a text from now on. The oldest gives way where there are too many.
    pub fn put(&mut self, token: &str, text: &str, now: Timestamp) {
        self.texts.retain(|known| known.is_up(now) && known.token != token);
        let excess = (self.texts.len() + 1).saturating_sub(MAX);
        self.texts.drain(..excess);
        self.texts.push(Text { token: token.into(), text: text.into(), until: now.plus(LIFETIME) });
    }

    pub fn answer_to(&self, token: &str, now: Timestamp) -> Option<&str> {
        let found = self.texts.iter().find(|known| known.token == token && known.is_up(now));
        found.map(|known| known.text.as_str())
    }

    fn to_json(&self) -> Value {
        let texts: Vec<Value> = self
            .texts
            .iter()
            .map(|known| json!({"token": known.token, "text": known.text, "until": known.until.to_http_date()}))
            .collect();
        let mut out = json!({"presented": texts});
        if let Some(request) = &self.request {
            out["request"] = request.to_json();
        }
        out
    }

    fn from_json(value: &Value) -> Self {
        let texts = value.get("presented").and_then(Value::as_array).into_iter().flatten();
        let text = |value: &Value| {
            Some(Text {
                token: bounded::name_at(value, "token")?,
                text: bounded::name_at(value, "text")?,
                until: Timestamp::parse_http_date(value.get("until")?.as_str()?)?,
            })
        };
        Presented {
            request: value.get("request").and_then(Requested::from_json),
            texts: texts.take(MAX).filter_map(text).collect(),
        }
    }
}

impl Text {
    /// One whose end is far away was put up by a clock that was ahead.
    fn is_up(&self, now: Timestamp) -> bool {
        now < self.until && self.until.since(now) <= LIFETIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{StartStore, WorkGroup};

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    #[test]
    fn a_text_is_up_for_a_minute_and_beside_others() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(dir.path(), None).unwrap().worker();
        let mut presented = Presented::default();
        presented.put("a", "one", NOW);
        presented.put("b", "two", NOW.plus(Duration::from_secs(30)));
        presented.write(&store, WorkGroup::Challenges, "a.test").unwrap();
        let read = Presented::read(&store, WorkGroup::Challenges, "a.test");
        assert_eq!(read, presented);
        let at = |seconds| NOW.plus(Duration::from_secs(seconds));
        assert_eq!([read.answer_to("a", at(30)), read.answer_to("b", at(30))], [Some("one"), Some("two")]);
        assert_eq!([read.answer_to("a", at(60)), read.answer_to("b", at(60))], [None, Some("two")]);
        assert_eq!(read.answer_to("a", NOW.minus(Duration::from_secs(5))), None);
        assert_eq!(read.answer_to("c", NOW), None);
    }

    #[test]
    fn there_are_only_a_few_at_once() {
        let mut presented = Presented::default();
        for count in 0..100 {
            presented.put(&format!("t{count}"), "x", NOW);
        }
        assert_eq!(presented.texts.len(), MAX);
        assert_eq!(presented.answer_to("t99", NOW), Some("x"));
        assert_eq!(Presented::from_json(&presented.to_json()), presented);
        assert_eq!(Presented::from_json(&json!({"presented": "?", "request": 1})), Presented::default());
    }
}
