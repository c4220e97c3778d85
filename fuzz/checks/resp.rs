// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever bytes a Redis server sends: nothing panics, loops or grows; the answers are the same
//! however the bytes are cut, and no larger than what was sent.

use mod_md::fleet::engine::redis::resp::{COUNT_MAX, DEPTH_MAX, Flaw, Reader, Value};
use mod_md::fleet::engine::redis::script::{Answer, entry};

/// All answers, and why the bytes after them are none.
pub fn check(bytes: &[u8]) -> (Vec<Value>, Option<Flaw>) {
    let whole = read(&mut std::iter::once(bytes));
    for size in [1, 2, 5, 64] {
        let cut = read(&mut bytes.chunks(size));
        assert_eq!(cut, whole, "in pieces of {size}");
    }
    let mut total = 0;
    for answer in &whole.0 {
        script(answer);
        let (count, size) = measure(answer, 0);
        assert!(count <= COUNT_MAX, "{count} parts");
        total += size;
    }
    assert!(total <= bytes.len(), "{total} bytes out of {}", bytes.len());
    whole
}

/// As what a script answers with: a number is none but what was written as one.
fn script(answer: &Value) {
    let Ok(read) = Answer::read(answer.clone()) else { return };
    let Value::List(parts) = answer else { panic!("{answer:?}") };
    assert_eq!(read.rest, parts[5..]);
    assert_eq!(read.alive().revision.0, read.mark.revision);
    if let Ok(entry) = entry("v1/meta".into(), read.rest.into_iter()) {
        assert!(parts[5..].iter().any(|part| *part == Value::Bytes(entry.value.clone())));
    }
}

fn read(pieces: &mut dyn Iterator<Item = &[u8]>) -> (Vec<Value>, Option<Flaw>) {
    let (mut reader, mut answers) = (Reader::default(), Vec::new());
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.take() {
                Ok(Some(answer)) => answers.push(answer),
                Ok(None) => break,
                Err(flaw) => return (answers, Some(flaw)),
            }
        }
    }
    (answers, None)
}

/// The parts of an answer, and the bytes that they need at least.
fn measure(value: &Value, depth: usize) -> (usize, usize) {
    assert!(depth <= DEPTH_MAX);
    match value {
        Value::List(parts) => parts.iter().map(|part| measure(part, depth + 1)).fold((1, 4), add),
        Value::Bytes(bytes) => (1, bytes.len() + 6),
        // What is no UTF-8 is shown as characters of three bytes.
        Value::Status(text) | Value::Error(text) => (1, text.len() / 3 + 3),
        Value::Integer(_) => (1, 4),
        Value::Nil => (1, 5),
    }
}

fn add(one: (usize, usize), other: (usize, usize)) -> (usize, usize) {
    (one.0 + other.0, one.1 + other.1)
}
