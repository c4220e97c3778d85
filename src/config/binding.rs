// SPDX-License-Identifier: Apache-2.0
//! `MDExternalAccountBinding` (RFC 8555 §7.3.4): key id and hmac, in the directive or in a JSON file that
//! only its owner can read. No text made here holds the hmac.

use super::{Env, Error};
use crate::model::Eab;
use serde_json::Value;
use std::io::ErrorKind;
use zeroize::Zeroizing;

/// Far more than a key id and an hmac need.
const FILE_SIZE_MAX: usize = 64 * 1024;

/// `kid hmac`, a file, or `none`.
pub(super) fn external_account(env: &Env<'_>, args: &[&str]) -> Result<Option<Eab>, Error> {
    match args {
        [none] if none.eq_ignore_ascii_case("none") => Ok(None),
        [file] => from_file(env, file).map(Some),
        [kid, hmac] => Ok(Some(Eab { kid: (*kid).to_string(), hmac: (*hmac).to_string() })),
        _ => Err(Error::new("MDExternalAccountBinding needs a key id and an hmac, a file name, or 'none'")),
    }
}

fn from_file(env: &Env<'_>, file: &str) -> Result<Eab, Error> {
    let path = env.server_root.join(file);
    let shown = path.display();
    let bytes = (env.read_file)(&path).map(Zeroizing::new).map_err(|e| match e.kind() {
        ErrorKind::NotFound | ErrorKind::IsADirectory => {
            Error(format!("MDExternalAccountBinding: file not found: {shown}"))
        }
        _ => Error(format!("MDExternalAccountBinding: error reading JSON file {shown}: {e}")),
    })?;
    let json: Option<Value> =
        Some(bytes).filter(|b| b.len() <= FILE_SIZE_MAX).and_then(|b| serde_json::from_slice(&b).ok());
    let mut json =
        json.ok_or_else(|| Error(format!("MDExternalAccountBinding: error reading JSON file {shown}")))?;
    // Taken out, so that no copy stays behind.
    let mut element = |name: &str| match json.get_mut(name).map(Value::take) {
        Some(Value::String(text)) => Ok(text),
        _ => {
            let text =
                format!("MDExternalAccountBinding: JSON does not contain '{name}' element in file {shown}");
            Err(Error(text))
        }
    };
    Ok(Eab { kid: element("kid")?, hmac: element("hmac")? })
}
