// SPDX-License-Identifier: Apache-2.0
//! The scripts that the server runs, each as one step, and what they answer with. Pure.

use super::resp::{self, Value};
use crate::crypto;
use crate::fleet::engine::{Alive, Entry, Error, LeaseId, Revision};
use crate::time::Timestamp;
use data_encoding::HEXLOWER;
use std::sync::OnceLock;

pub struct Script {
    pub text: &'static str,
    /// A second run does what one does.
    pub is_repeatable: bool,
    digest: OnceLock<String>,
}

impl Script {
    /// By which servers name it.
    fn digest(&self) -> &str {
        self.digest.get_or_init(|| HEXLOWER.encode(&crypto::sha1(self.text.as_bytes())))
    }
}

macro_rules! script {
    ($name:literal, $is_repeatable:literal) => {
        Script {
            text: concat!(
                include_str!("scripts/begin.lua"),
                include_str!(concat!("scripts/", $name, ".lua"))
            ),
            is_repeatable: $is_repeatable,
            digest: OnceLock::new(),
        }
    };
}

pub static GRANT: Script = script!("grant", true);
pub static KEEP_ALIVE: Script = script!("keep_alive", true);
pub static REVOKE: Script = script!("revoke", true);
pub static GET: Script = script!("get", true);
pub static LIST: Script = script!("list", true);
pub static COMMIT: Script = script!("commit", false);
pub static FOLLOW: Script = script!("follow", true);

/// The server's keys below the prefix, in the order of `scripts/begin.lua`.
const KEYS: [&str; 7] = ["state", "heads", "values", "names", "leases", "held", "log"];

/// The keys of a fleet: declared with each script, and all that it touches.
pub struct Keys([String; 7]);

impl Keys {
    pub fn new(prefix: &str) -> Self {
        Keys(KEYS.map(|key| format!("{prefix}/{key}")))
    }

    pub fn log(&self) -> &str {
        &self.0[6]
    }

    /// The command that runs a script.
    pub fn command(
        &self,
        script: &'static Script,
        nonce: u64,
        seen: Option<Mark>,
        words: &[&[u8]],
    ) -> Command {
        let (seen, by) =
            seen.map(|mark| (mark.revision.to_string(), mark.nonce.to_string())).unwrap_or_default();
        let (count, nonce) = (KEYS.len().to_string(), nonce.to_string());
        let keys = self.0.iter().map(|key| key.as_bytes());
        let about = [nonce.as_bytes(), seen.as_bytes(), by.as_bytes()];
        let all = std::iter::once(count.as_bytes()).chain(keys).chain(about).chain(words.iter().copied());
        Command { script, words: all.map(<[u8]>::to_vec).collect() }
    }
}

/// Runs a script.
pub struct Command {
    script: &'static Script,
    words: Vec<Vec<u8>>,
}

impl Command {
    /// For a server that has run the script before. The text is longer than all else.
    pub fn short(&self) -> Vec<u8> {
        self.beginning_with([b"EVALSHA", self.script.digest().as_bytes()])
    }

    pub fn whole(&self) -> Vec<u8> {
        self.beginning_with([b"EVAL", self.script.text.as_bytes()])
    }

    fn beginning_with(&self, words: [&[u8]; 2]) -> Vec<u8> {
        resp::command(&words.into_iter().chain(self.words.iter().map(Vec::as_slice)).collect::<Vec<_>>())
    }
}

/// A revision, and the nonce of the call that made it. After a failover that lost writes another call makes
/// the same revision again, with another nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub revision: u64,
    pub nonce: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Done,
    Refused,
    LeaseGone,
    Gap,
}

/// What a script answers with.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: Code,
    pub mark: Mark,
    pub time: Timestamp,
    pub rest: Vec<Value>,
}

impl Answer {
    pub fn read(value: Value) -> Result<Self, Error> {
        let Value::List(parts) = value else { return Err(garbled("no list")) };
        let mut parts = parts.into_iter();
        let code = match bytes(parts.next())?.as_slice() {
            b"DONE" => Code::Done,
            b"REFUSED" => Code::Refused,
            b"LEASE" => Code::LeaseGone,
            b"GAP" => Code::Gap,
            _ => return Err(garbled("an unknown code")),
        };
        let mark = Mark { revision: number(parts.next())?, nonce: number(parts.next())? };
        let (seconds, micros): (i64, i64) = (number(parts.next())?, number(parts.next())?);
        let millis = seconds.checked_mul(1000).and_then(|millis| millis.checked_add(micros / 1000));
        let time = Timestamp::from_unix_millis(millis.ok_or_else(|| garbled("no time"))?);
        Ok(Answer { code, mark, time, rest: parts.collect() })
    }

    pub fn alive(&self) -> Alive {
        Alive { revision: Revision(self.mark.revision), time: Some(self.time) }
    }
}

pub fn garbled(what: &str) -> Error {
    Error::Garbled(format!("the answer has {what} where it should not"))
}

pub fn bytes(value: Option<Value>) -> Result<Vec<u8>, Error> {
    match value {
        Some(Value::Bytes(bytes)) => Ok(bytes),
        _ => Err(garbled("no string")),
    }
}

pub fn text(value: Option<Value>) -> Result<String, Error> {
    String::from_utf8(bytes(value)?).map_err(|_| garbled("no text"))
}

pub fn number<T: std::str::FromStr>(value: Option<Value>) -> Result<T, Error> {
    parse(&text(value)?)
}

pub fn parse<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| garbled("no number"))
}

/// `-`: none.
pub fn lease(text: &str) -> Result<Option<LeaseId>, Error> {
    if text == "-" { Ok(None) } else { Ok(Some(LeaseId(parse(text)?))) }
}

/// From created, changed, lease and value.
pub fn entry(key: String, mut parts: impl Iterator<Item = Value>) -> Result<Entry, Error> {
    let created = Revision(number(parts.next())?);
    let changed = Revision(number(parts.next())?);
    let lease = lease(&text(parts.next())?)?;
    Ok(Entry { key, value: bytes(parts.next())?, created, changed, lease })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(parts: &[&str]) -> Value {
        Value::List(parts.iter().map(|part| Value::Bytes((*part).into())).collect())
    }

    #[test]
    fn an_answer_has_a_code_a_mark_and_the_time() {
        let answer = Answer::read(list(&["REFUSED", "1700000000001", "7", "1700000000", "999999"])).unwrap();
        assert_eq!(answer.code, Code::Refused);
        assert_eq!(answer.mark, Mark { revision: 1_700_000_000_001, nonce: 7 });
        assert_eq!(answer.time, Timestamp::from_unix_millis(1_700_000_000_999));
    }

    #[test]
    fn answers_of_a_hostile_server_are_refused() {
        let cases: [&[&str]; 8] = [
            &[],
            &["DONE"],
            &["NO", "1", "1", "1", "1"],
            &["DONE", "-1", "1", "1", "1"],
            &["DONE", "1e3", "1", "1", "1"],
            &["DONE", "18446744073709551616", "1", "1", "1"],
            &["DONE", "1", "1", "9223372036854775807", "1"],
            &["DONE", "1", "1", "", "1"],
        ];
        for case in cases {
            assert!(matches!(Answer::read(list(case)), Err(Error::Garbled(_))), "{case:?}");
        }
        for value in [Value::Nil, Value::Integer(1), Value::List(vec![Value::Nil; 5])] {
            assert!(matches!(Answer::read(value), Err(Error::Garbled(_))));
        }
        let parts =
            |parts: &[&str]| parts.iter().map(|part| Value::Bytes((*part).into())).collect::<Vec<_>>();
        for case in [&["1", "2", "-"][..], &["1", "2", "x", ""], &["", "2", "-", ""], &[]] {
            assert!(matches!(entry("k".into(), parts(case).into_iter()), Err(Error::Garbled(_))), "{case:?}");
        }
    }

    #[test]
    fn a_command_declares_all_keys() {
        let keys = Keys::new("{mod_md}");
        let mark = Mark { revision: 5, nonce: 6 };
        let command = keys.command(&GET, 1, Some(mark), &[b"v1/x"]);
        let [command, short] = [command.whole(), command.short()].map(|c| String::from_utf8(c).unwrap());
        assert!(command.starts_with("*14\r\n$4\r\nEVAL\r\n"), "{command}");
        let end = "$12\r\n{mod_md}/log\r\n$1\r\n1\r\n$1\r\n5\r\n$1\r\n6\r\n$4\r\nv1/x\r\n";
        assert!(command.ends_with(end), "{command}");
        assert!(short.starts_with("*14\r\n$7\r\nEVALSHA\r\n$40\r\n") && short.ends_with(end), "{short}");
        assert!(short.len() < 500, "{}", short.len());
        for script in [&GRANT, &KEEP_ALIVE, &REVOKE, &GET, &LIST, &COMMIT, &FOLLOW] {
            assert!(script.text.contains("local STATE") && script.text.len() < 12 * 1024);
        }
    }
}
