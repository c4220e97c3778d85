// SPDX-License-Identifier: Apache-2.0
//! Fetches md-status from a server. Follows no redirects; refuses answers that are too long or of another
//! form, and servers whose certificate cannot be verified.

use crate::cli::console::call::{Call, Failure};
use crate::http::{Client, Limits, Options, Request, Transport};
use crate::time::StopFlag;
use serde_json::Value;
use std::time::Duration;

/// Some kilobytes for each of ten thousand domains.
const LIMITS: Limits =
    Limits { stall: Duration::from_secs(10), exchange: Duration::from_secs(30), body: 64 * 1024 * 1024 };

/// The entries of md-status, of its page for one domain that one; and what it tells of a fleet.
pub fn entries(call: &Call, url: &str) -> Result<(Vec<Value>, Option<Value>), Failure> {
    match document(call, url)? {
        Value::Object(mut fields) if fields.get("managed-domains").is_some_and(Value::is_array) => {
            let fleet = fields.remove("fleet");
            match fields.remove("managed-domains") {
                Some(Value::Array(entries)) => Ok((entries, fleet)),
                _ => Ok((Vec::new(), fleet)),
            }
        }
        one if one.get("name").is_some() => Ok((vec![one], None)),
        _ => Err(Failure::new(format!("{url}: the answer is no md-status"))
            .advice("Give the URL of md-status (SetHandler md-status).")),
    }
}

/// What an md-status answers.
pub fn document(call: &Call, url: &str) -> Result<Value, Failure> {
    let options = Options {
        ca_file: call.options.ca_file.clone(),
        proxy_url: None,
        proxy_ca_file: None,
        user_agent: format!("a2md/{}", crate::VERSION),
        limits: LIMITS,
        stop: StopFlag::default(),
    };
    let failed = |error: crate::http::Error| {
        Failure::new(format!("{url}: {error}")).status(error.status()).advice(
            "--from takes the URL of md-status (SetHandler md-status); -C FILE names the CA of its server's \
             certificate.",
        )
    };
    let request = Request { accept: Some("application/json"), ..Request::get(url) };
    let response = Client::new(&options).map_err(failed)?.send(&request).map_err(failed)?;
    if response.status != 200 {
        let advice = match response.status {
            300..=399 => "Redirects are not followed: give the URL that it leads to.",
            401 | 403 => "The server keeps its md-status from this machine: see its access rules.",
            _ => "Give the URL of md-status (SetHandler md-status).",
        };
        return Err(
            Failure::new(format!("{url}: the server answers with status {}", response.status)).advice(advice)
        );
    }
    serde_json::from_slice(&response.body).map_err(|_| {
        Failure::new(format!("{url}: the answer is no md-status"))
            .advice("Give the URL of md-status (SetHandler md-status).")
    })
}
