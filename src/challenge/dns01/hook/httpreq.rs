// SPDX-License-Identifier: Apache-2.0
//! Records at a server that speaks the API of lego's provider httpreq: `POST URL/present` and `POST
//! URL/cleanup` with `{"fqdn": "NAME.", "value": "…"}`, basic auth (RFC 7617 §2) where there is a user. Any
//! 2xx is success; a redirect is none, because the password would go elsewhere.

use super::call::{Change, quoted};
use super::error::{Error, by_hand};
use super::secrets::authorization;
use crate::challenge::dns01::Record;
use crate::http::{Request, Response, Transport};
use crate::model::dns01::Hook;
use serde_json::json;

/// Characters of what a server says that are shown.
const SHOWN: usize = 300;

pub fn send(hook: &Hook, change: Change<'_>, record: &Record<'_>, http: &dyn Transport) -> Result<(), Error> {
    let [base] = hook.words.as_slice() else {
        return Err(Error::unusable(hook.kind, "it needs one URL", "Correct MDChallengeDns01"));
    };
    let url = format!("{}/{}", base.trim_end_matches('/'), change.pick("present", "cleanup"));
    let body = json!({"fqdn": format!("{}.", record.name), "value": record.value}).to_string();
    let by_hand = || {
        let user = hook.user.as_ref().map(|file| format!(" -u \"$(cat {})\"", quoted(&file.path)));
        let user = user.unwrap_or_default();
        let line =
            format!("curl{user} -H 'Content-Type: application/json' -d {} {}", quoted(&body), quoted(&url));
        by_hand(None, &line)
    };
    let authorization = hook
        .user
        .as_ref()
        .map(authorization)
        .transpose()
        .map_err(|fault| Error::of_file(hook.kind, fault))?;
    let credentials = authorization.as_ref().map(|value| ("authorization", value.as_str()));
    let request = Request {
        accept: Some("application/json"),
        credentials: credentials.as_slice(),
        ..Request::post(&url, "application/json", body.as_bytes())
    };
    match http.send(&request) {
        Ok(response) if (200..300).contains(&response.status) => Ok(()),
        Ok(response) => {
            let (status, text) = (response.status, said(&response));
            Err(Error::Refused { by_hand: by_hand(), url, status, text })
        }
        Err(source) => Err(Error::Unreached { by_hand: by_hand(), url, source }),
    }
}

/// The begin of the body, in one line; where a redirect leads.
fn said(response: &Response) -> String {
    if let Some(target) = response.header("location").filter(|_| (300..400).contains(&response.status)) {
        return format!(", a redirect to {}, which is not followed: name that URL instead", shown(target));
    }
    let text = shown(&String::from_utf8_lossy(&response.body));
    if text.is_empty() { text } else { format!(": {text}") }
}

fn shown(text: &str) -> String {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.chars().take(SHOWN).collect()
}
