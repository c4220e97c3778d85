// SPDX-License-Identifier: Apache-2.0
//! The protocol of Redis, RESP2: writes commands, and reads answers piece by piece. Refuses what is larger,
//! deeper or longer than any answer that it asks for, before it takes the memory. Pure.

use std::fmt::Write;

/// Bytes of one string: a value, and what stands beside it in the log.
pub const STRING_MAX: usize = 2 * 1024 * 1024;
/// Bytes of one answer.
pub const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// Strings and lists of one answer.
pub const COUNT_MAX: usize = 8192;
/// Lists inside lists.
pub const DEPTH_MAX: usize = 8;
/// Bytes of a line: a number, a status or an error.
pub const LINE_MAX: usize = 4096;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Status(String),
    Error(String),
    Integer(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Nil,
}

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("it is not RESP2")]
    NotResp,
    #[error("it has a number that is none")]
    Number,
    #[error("a line of it has more than {LINE_MAX} bytes")]
    LineTooLong,
    #[error("a string of it has more than {STRING_MAX} bytes")]
    StringTooLong,
    #[error("it has more than {ANSWER_MAX} bytes")]
    TooLarge,
    #[error("it has more than {COUNT_MAX} parts")]
    TooMany,
    #[error("it has more than {DEPTH_MAX} lists inside each other")]
    TooDeep,
}

/// A command of these words.
pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(words.iter().map(|word| word.len() + 16).sum());
    head(&mut bytes, '*', words.len());
    for word in words {
        head(&mut bytes, '$', word.len());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn head(bytes: &mut Vec<u8>, kind: char, number: usize) {
    let mut text = String::new();
    // A String takes everything.
    let _ = write!(text, "{kind}{number}\r\n");
    bytes.extend_from_slice(text.as_bytes());
}

/// A list whose end has not come yet.
struct Open {
    missing: usize,
    parts: Vec<Value>,
}

/// Collects what arrives until it is an answer. After a flaw it cannot be used.
#[derive(Default)]
pub struct Reader {
    bytes: Vec<u8>,
    /// What is read of the bytes.
    read: usize,
    open: Vec<Open>,
    /// Of the answer that has begun.
    size: usize,
    count: usize,
}

/// What stands at the begin of the bytes.
enum Part {
    Whole(Value),
    Begin(usize),
}

impl Reader {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether nothing of a further answer has come.
    pub fn is_empty(&self) -> bool {
        self.read == self.bytes.len() && self.open.is_empty()
    }

    /// The next answer; `None`: it has not come in full.
    pub fn take(&mut self) -> Result<Option<Value>, Flaw> {
        loop {
            let rest = self.bytes.get(self.read..).unwrap_or_default();
            let Some((part, length)) = part(rest)? else {
                let is_large = self.size + rest.len() > ANSWER_MAX;
                return if is_large { Err(Flaw::TooLarge) } else { Ok(None) };
            };
            self.read += length;
            self.size += length;
            self.count += 1;
            if self.size > ANSWER_MAX {
                return Err(Flaw::TooLarge);
            }
            if self.count > COUNT_MAX {
                return Err(Flaw::TooMany);
            }
            let value = match part {
                Part::Whole(value) => value,
                Part::Begin(0) => Value::List(Vec::new()),
                Part::Begin(missing) if missing > COUNT_MAX - self.count => return Err(Flaw::TooMany),
                Part::Begin(_) if self.open.len() == DEPTH_MAX => return Err(Flaw::TooDeep),
                Part::Begin(missing) => {
                    self.open.push(Open { missing, parts: Vec::new() });
                    continue;
                }
            };
            if let Some(answer) = self.add(value) {
                (self.size, self.count) = (0, 0);
                return Ok(Some(answer));
            }
        }
    }

    /// Adds it to the innermost list, and closes those that are complete. Returns the answer if that was the
    /// last part.
    fn add(&mut self, mut value: Value) -> Option<Value> {
        loop {
            let Some(mut list) = self.open.pop() else { return Some(value) };
            list.parts.push(value);
            list.missing -= 1;
            if list.missing > 0 {
                self.open.push(list);
                return None;
            }
            value = Value::List(list.parts);
        }
    }
}

/// Reads one part and its length. `None`: it has not come in full.
fn part(bytes: &[u8]) -> Result<Option<(Part, usize)>, Flaw> {
    let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
    if !b"+-:$*".contains(kind) {
        return Err(Flaw::NotResp);
    }
    let Some(end) = rest.iter().take(LINE_MAX).position(|byte| *byte == b'\n') else {
        return if rest.len() >= LINE_MAX { Err(Flaw::LineTooLong) } else { Ok(None) };
    };
    let line = rest.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Flaw::NotResp)?;
    let begin = end + 2;
    let whole = |value| Ok(Some((Part::Whole(value), begin)));
    match kind {
        b'+' => whole(Value::Status(String::from_utf8_lossy(line).into_owned())),
        b'-' => whole(Value::Error(String::from_utf8_lossy(line).into_owned())),
        b':' => whole(Value::Integer(number(line)?)),
        _ if number(line)? == -1 => whole(Value::Nil),
        b'$' => string(bytes, begin, length(line)?),
        _ => Ok(Some((Part::Begin(length(line)?), begin))),
    }
}

fn string(bytes: &[u8], begin: usize, length: usize) -> Result<Option<(Part, usize)>, Flaw> {
    if length > STRING_MAX {
        return Err(Flaw::StringTooLong);
    }
    let end = begin + length;
    let Some(content) = bytes.get(begin..end) else { return Ok(None) };
    match bytes.get(end..end + 2) {
        None => Ok(None),
        Some(b"\r\n") => Ok(Some((Part::Whole(Value::Bytes(content.to_vec())), end + 2))),
        Some(_) => Err(Flaw::NotResp),
    }
}

fn number(line: &[u8]) -> Result<i64, Flaw> {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(Flaw::Number)
}

fn length(line: &[u8]) -> Result<usize, Flaw> {
    usize::try_from(number(line)?).map_err(|_| Flaw::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Value {
        Value::Bytes(text.into())
    }

    /// All answers, however the bytes are cut.
    fn read(text: &[u8]) -> Result<Vec<Value>, Flaw> {
        let answers = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let (mut reader, mut answers) = (Reader::default(), Vec::new());
            for piece in pieces {
                reader.push(piece);
                while let Some(answer) = reader.take()? {
                    answers.push(answer);
                }
            }
            Ok(answers)
        };
        let at_once = answers(&mut [text].into_iter());
        for size in [1, 3, 7] {
            assert_eq!(answers(&mut text.chunks(size)), at_once);
        }
        at_once
    }

    #[test]
    fn every_kind_of_answer_is_read() {
        let text = b"+OK\r\n-ERR no\r\n:-12\r\n$3\r\na\r\n\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n\
            *3\r\n*2\r\n$1\r\nx\r\n:1\r\n*0\r\n$-1\r\n";
        let nested = vec![Value::List(vec![bytes("x"), Value::Integer(1)]), Value::List(vec![]), Value::Nil];
        let expected = vec![
            Value::Status("OK".into()),
            Value::Error("ERR no".into()),
            Value::Integer(-12),
            bytes("a\r\n"),
            bytes(""),
            Value::Nil,
            Value::Nil,
            Value::List(vec![]),
            Value::List(nested),
        ];
        assert_eq!(read(text), Ok(expected));
    }

    #[test]
    fn what_has_not_come_in_full_is_waited_for() {
        for text in ["", "*2\r\n:1\r\n", "$5\r\nabc", "$3\r\nabc", "$3\r\nabc\r", "+OK", "+OK\r", "*", "$1"] {
            assert_eq!(read(text.as_bytes()), Ok(vec![]), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let cases = [
            ("HTTP/1.1 400 Bad Request\r\n", Flaw::NotResp),
            ("\0", Flaw::NotResp),
            ("+OK\n", Flaw::NotResp),
            ("$1\r\nabc", Flaw::NotResp),
            (":\r\n", Flaw::Number),
            (":1x\r\n", Flaw::Number),
            (":99999999999999999999\r\n", Flaw::Number),
            ("$-2\r\n", Flaw::Number),
            ("*-2\r\n", Flaw::Number),
            ("$\u{b2}\r\n", Flaw::Number),
        ];
        for (text, flaw) in cases {
            assert_eq!(read(text.as_bytes()), Err(flaw), "{text:?}");
        }
    }

    #[test]
    fn what_is_beyond_a_bound_is_refused_before_it_takes_memory() {
        assert_eq!(read(b"$1073741824\r\n"), Err(Flaw::StringTooLong));
        assert_eq!(read(b"*1073741824\r\n"), Err(Flaw::TooMany));
        assert_eq!(read("*90\r\n".repeat(9).as_bytes()), Err(Flaw::TooDeep));
        assert_eq!(
            read(format!("*5000\r\n{}*5000\r\n", ":1\r\n".repeat(4000)).as_bytes()),
            Err(Flaw::TooMany)
        );
        assert_eq!(read(&[b"+", "x".repeat(LINE_MAX).as_bytes()].concat()), Err(Flaw::LineTooLong));
        let mut reader = Reader::default();
        reader.push(b"*100\r\n");
        let string = [b"$2097152\r\n", vec![0; STRING_MAX].as_slice(), b"\r\n"].concat();
        let refused = (0..100).find_map(|i| {
            reader.push(&string);
            reader.take().err().map(|flaw| (i, flaw))
        });
        assert_eq!(refused, Some((7, Flaw::TooLarge)));
    }

    #[test]
    fn the_bounds_are_of_each_answer_alone() {
        let answer = format!("*5000\r\n{}", ":1\r\n".repeat(5000));
        assert_eq!(read(answer.repeat(3).as_bytes()).map(|answers| answers.len()), Ok(3));
    }

    #[test]
    fn commands_are_lists_of_strings() {
        assert_eq!(command(&[b"GET", b"a\r\n"]), b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n");
    }
}
