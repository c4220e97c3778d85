// SPDX-License-Identifier: Apache-2.0
//! JSON in the store's files: reads it within limits and writes it in the C module's layout. Refuses files
//! with too many values.

use serde_json::Value;
use std::fmt::Write;
use zeroize::{Zeroize, Zeroizing};

/// Values in a file: two bytes can be one, and each takes dozens in memory.
const VALUES_MAX: usize = 100_000;

/// The error is the reason why it cannot be used.
pub(super) fn read(mut content: Vec<u8>) -> Result<Value, String> {
    if values(&content) > VALUES_MAX {
        return Err(format!("it has more than {VALUES_MAX} values"));
    }
    let value = serde_json::from_slice(&content).map_err(|error| error.to_string())?;
    if holds_hmac(&value) {
        content.zeroize();
    }
    Ok(value)
}

/// At least as many as the values in a text of JSON.
fn values(json: &[u8]) -> usize {
    let (mut count, mut is_text, mut is_escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b',' | b'[' | b'{' if !is_text => count += 1,
            _ => {}
        }
    }
    count
}

/// As the C module lays it out. There may be secrets in it.
pub(super) fn json_bytes(value: &Value) -> Zeroizing<Vec<u8>> {
    // Room for most: growing leaves copies.
    let mut text = String::with_capacity(4096);
    // Text in memory takes all that is written to it.
    let _ = write!(text, "{value:#}");
    Zeroizing::new(text.into_bytes())
}

pub(super) fn holds_hmac(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(key, value)| key == "hmac" || holds_hmac(value)),
        Value::Array(items) => items.iter().any(holds_hmac),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_counted_before_they_take_memory() {
        let most = format!("[{}1]", "1,".repeat(VALUES_MAX - 2));
        assert!(read(most.into_bytes()).is_ok());
        for many in
            [format!("[{}1]", "1,".repeat(VALUES_MAX)), format!("[{}1]", "[],".repeat(VALUES_MAX / 2))]
        {
            assert!(read(many.into_bytes()).unwrap_err().contains("more than 100000 values"));
        }
        let text = json!(format!("{}\\\"", "[,{".repeat(VALUES_MAX)));
        assert_eq!(read(text.to_string().into_bytes()), Ok(text), "texts hold no values");
    }
}
