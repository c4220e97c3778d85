// SPDX-License-Identifier: Apache-2.0
//! Reads JSON that other processes can write: cuts texts and values to the size that pages and logs have room
//! for.

use serde_json::{Map, Value};

/// Bytes of a text that explains something.
pub const TEXT_MAX: usize = 2048;
/// Bytes of a word, a name, a URL. A longer text is not accepted as one.
pub const NAME_MAX: usize = 1024;
/// Levels of nested values.
const DEPTH_MAX: usize = 8;
const ENDING: &str = "…";

/// At most this many bytes of it, without control characters.
pub fn text(text: &str, limit: usize) -> String {
    let mut kept = text;
    if text.len() > limit {
        let room = limit.saturating_sub(ENDING.len());
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        kept = text.get(..end).unwrap_or_default();
    }
    let mut out = kept.replace(char::is_control, " ");
    if kept.len() < text.len() {
        out.push_str(ENDING);
    }
    out
}

/// A text under this key.
pub fn text_at(value: &Value, key: &str, limit: usize) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(|found| text(found, limit))
}

/// A name or URL under this key.
pub fn name_at(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).and_then(name)
}

/// A name or URL: as it is, or none.
pub fn name(text: &str) -> Option<String> {
    (text.len() <= NAME_MAX && !text.contains(char::is_control)).then(|| text.to_string())
}

/// How much of values of no known form is kept.
pub struct Room {
    pub values: usize,
    /// Bytes of texts and keys.
    pub text: usize,
}

impl Room {
    /// As much of a value as there is room for. `None`: it has to go.
    pub fn take(mut self, value: &Value) -> Option<Value> {
        self.take_to_depth(value, DEPTH_MAX)
    }

    /// The same of several fields.
    pub fn take_fields<'v>(
        mut self,
        fields: impl Iterator<Item = (&'v String, &'v Value)>,
    ) -> Map<String, Value> {
        self.fields_to_depth(fields, DEPTH_MAX)
    }

    fn fields_to_depth<'v>(
        &mut self,
        fields: impl Iterator<Item = (&'v String, &'v Value)>,
        depth: usize,
    ) -> Map<String, Value> {
        let mut kept = Map::new();
        for (key, value) in fields {
            let Some(left) = self.text.checked_sub(key.len()) else { break };
            self.text = left;
            let Some(value) = self.take_to_depth(value, depth) else { break };
            kept.insert(key.clone(), value);
        }
        kept
    }

    fn take_to_depth(&mut self, value: &Value, depth: usize) -> Option<Value> {
        self.values = self.values.checked_sub(1)?;
        Some(match value {
            Value::String(found) => Value::String(self.take_text(found)),
            Value::Array(items) => {
                let depth = depth.checked_sub(1)?;
                Value::Array(items.iter().map_while(|item| self.take_to_depth(item, depth)).collect())
            }
            Value::Object(fields) => {
                let depth = depth.checked_sub(1)?;
                Value::Object(self.fields_to_depth(fields.iter(), depth))
            }
            plain => plain.clone(),
        })
    }

    fn take_text(&mut self, found: &str) -> String {
        let kept = text(found, TEXT_MAX.min(self.text));
        self.text = self.text.saturating_sub(kept.len());
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_text_is_cut_between_characters_and_says_so() {
        for (found, limit, kept) in [
            ("as it is", 8, "as it is"),
            ("one too many", 11, "one too …"),
            ("ääää", 8, "ääää"),
            ("ääää", 7, "ää…"),
            ("a\u{1b}[2J\r\nb\u{85}", 20, "a [2J  b "),
            ("", 0, ""),
        ] {
            assert_eq!(text(found, limit), kept, "{found:?}");
        }
    }

    #[test]
    fn names_are_whole_or_none() {
        let found = json!({"a": "x", "b": "x".repeat(NAME_MAX + 1), "c": "x\n", "d": 1});
        assert_eq!(
            ["a", "b", "c", "d", "e"].map(|key| name_at(&found, key)),
            [Some("x".into()), None, None, None, None]
        );
    }

    #[test]
    fn values_are_kept_as_far_as_there_is_room() {
        let take = |value: Value, values, text| Room { values, text }.take(&value);
        let value = json!({"a": [1, "two", null], "b": {"c": true}});
        assert_eq!(take(value.clone(), 7, 20), Some(value.clone()));
        assert_eq!(take(value.clone(), 4, 20), Some(json!({"a": [1, "two"]})));
        assert_eq!(take(value, 7, 4), Some(json!({"a": [1, "two", null]})));
        assert_eq!(take(json!([1]), 0, 20), None);
        let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
        let kept = take(deep, 1000, 20).unwrap().to_string();
        assert_eq!(kept, "[[[[[[[[]]]]]]]]");
        assert_eq!(take(json!("x".repeat(10_000)), 1, 1 << 20).unwrap().as_str().unwrap().len(), TEXT_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_cut_is_within_the_limit_and_stays_as_it_is(found in any::<String>(), limit in 3usize..40) {
            let kept = text(&found, limit);
            prop_assert!(kept.len() <= limit && !kept.contains(char::is_control));
            prop_assert_eq!(text(&kept, limit), kept.clone());
        }
    }
}
