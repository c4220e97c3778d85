// SPDX-License-Identifier: Apache-2.0
//! What a request to any engine may hold, so that each refuses the same: keys, values and writes of a
//! transaction within their bounds. Pure.

use super::{Condition, Error, KEY_MAX, Transaction, VALUE_MAX, WRITES_MAX, Write};
use std::collections::HashSet;

impl Condition {
    pub fn key(&self) -> &str {
        match self {
            Condition::Absent(key) | Condition::CreatedAt(key, _) | Condition::ChangedAt(key, _) => key,
        }
    }
}

impl Write {
    pub fn key(&self) -> &str {
        match self {
            Write::Put { key, .. } | Write::Delete { key } => key,
        }
    }

    fn size(&self) -> usize {
        match self {
            Write::Put { value, .. } => value.len(),
            Write::Delete { .. } => 0,
        }
    }
}

/// Whether an engine can hold this key.
pub fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::Invalid("a key of the engine is empty".into()));
    }
    check_prefix(key)
}

/// Whether keys of the engine can begin like this.
pub fn check_prefix(prefix: &str) -> Result<(), Error> {
    if prefix.len() > KEY_MAX {
        let begin: String = prefix.chars().take(40).collect();
        let size = prefix.len();
        return Err(Error::Invalid(format!(
            "the key {begin}… has {size} bytes, {KEY_MAX} at most are taken"
        )));
    }
    if !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
        let shown = prefix.escape_default();
        return Err(Error::Invalid(format!("the key {shown} is not of printable ASCII without blanks")));
    }
    Ok(())
}

impl Transaction {
    /// Whether an engine can carry it out.
    pub fn check(&self) -> Result<(), Error> {
        for key in self.when.iter().map(Condition::key).chain(self.then.iter().map(Write::key)) {
            check_key(key)?;
        }
        let count = self.when.len().max(self.then.len());
        if count > WRITES_MAX {
            let text =
                format!("a transaction of {count} conditions or writes, {WRITES_MAX} at most are taken");
            return Err(Error::Invalid(text));
        }
        let size: usize = self.then.iter().map(Write::size).sum();
        if size > VALUE_MAX {
            let key = self.then.iter().max_by_key(|write| write.size()).map_or("", Write::key);
            let text =
                format!("the values written with {key} have {size} bytes, {VALUE_MAX} at most are taken");
            return Err(Error::Invalid(text));
        }
        let mut keys = HashSet::new();
        match self.then.iter().find(|write| !keys.insert(write.key())) {
            Some(twice) => Err(Error::Invalid(format!("a transaction writes {} twice", twice.key()))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::engine::Revision;

    fn put(key: &str, size: usize) -> Write {
        Write::Put { key: key.into(), value: vec![0; size], lease: None }
    }

    fn refused(when: Vec<Condition>, then: Vec<Write>) -> String {
        match (Transaction { when, then }).check() {
            Err(Error::Invalid(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_transaction_within_all_bounds_is_taken() {
        let then = (0..WRITES_MAX).map(|i| put(&format!("{i:0>KEY_MAX$}"), VALUE_MAX / WRITES_MAX)).collect();
        let when = vec![Condition::Absent("v1/a".into()); WRITES_MAX];
        assert_eq!(Transaction { when, then }.check(), Ok(()));
        assert_eq!(Transaction::default().check(), Ok(()));
    }

    #[test]
    fn what_is_beyond_a_bound_is_refused_with_its_key() {
        assert!(refused(vec![], vec![put("v1/a", VALUE_MAX), put("v1/b", 1)]).contains("v1/a"));
        assert!(refused(vec![], vec![put("v1/a", 0), Write::Delete { key: "v1/a".into() }]).contains("v1/a"));
        let many = (0..=WRITES_MAX).map(|i| put(&i.to_string(), 0)).collect();
        assert!(refused(vec![], many).contains("65"));
        assert!(refused(vec![Condition::Absent("v1/a".into()); 65], vec![]).contains("65"));
        assert!(refused(vec![Condition::CreatedAt("ä".into(), Revision(1))], vec![]).contains("\\u{e4}"));
        assert!(refused(vec![], vec![put("a\nb", 0)]).contains("a\\nb"));
        assert!(refused(vec![], vec![put(&"k".repeat(KEY_MAX + 1), 0)]).contains("513"));
        assert!(refused(vec![], vec![put("", 0)]).contains("empty"));
        assert_eq!(check_prefix(""), Ok(()));
    }
}
