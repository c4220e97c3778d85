// SPDX-License-Identifier: Apache-2.0
//! A managed domain as this half stores and prints it: its md.json as it stands, with keys that are always
//! there, and for some commands with what is computed from its certificates. Works on JSON and not on
//! [`Md`](crate::model::Md), in which every setting has a value: here some are unset.

use crate::managed::bundle;
use crate::managed::certificates::assess;
use crate::managed::fit;
use crate::model::{Md, State};
use crate::renew::decide::due::{self, Decision};
use crate::store::StartStore;
use crate::time::Timestamp;
use serde_json::{Map, Value, json};

/// The keys that are always there, in their order, with the values of unset ones.
fn always_there() -> [(&'static str, Value); 12] {
    [
        ("name", json!("")),
        ("domains", json!([])),
        ("contacts", json!([])),
        ("transitive", json!(-1)),
        ("ca", json!({"proto": "ACME"})),
        ("state", json!(0)),
        ("renew-mode", json!(-1)),
        ("must-staple", json!(false)),
        ("proto", json!({"acme-tls/1": []})),
        ("stapling", json!(false)),
        ("profile-mandatory", json!(false)),
        ("ari-renewals", json!(true)),
    ]
}

/// A new managed domain with these names, of which the first one is its own.
pub fn new(names: &[String], ca_url: Option<&str>, agreement: Option<&str>) -> Value {
    let mut md = shown(&json!({"name": names.first(), "domains": names}));
    if let Some(url) = ca_url {
        md["ca"]["urls"] = json!([url]);
    }
    if let Some(agreement) = agreement {
        md["ca"]["agreement"] = json!(agreement);
    }
    md
}

/// A stored md.json as it is printed: with all the keys that are always there, and no secret.
pub fn shown(stored: &Value) -> Value {
    let mut out = Map::new();
    for (key, default) in always_there() {
        out.insert(key.into(), stored.get(key).cloned().unwrap_or(default));
        // Where it has always stood.
        if key == "ca"
            && let Some(keys) = stored.get("privkey")
        {
            out.insert("privkey".into(), keys.clone());
        }
    }
    for (key, value) in stored.as_object().into_iter().flatten() {
        out.entry(key.clone()).or_insert_with(|| value.clone());
    }
    if let Some(hmac) = out.get_mut("eab").and_then(|eab| eab.get_mut("hmac")) {
        *hmac = json!("***");
    }
    Value::Object(out)
}

/// The same with its state by the certificates in use, whether they are due, and the windows of time.
pub fn computed(store: &StartStore, folder: &str, stored: &Value, now: Timestamp) -> Value {
    let mut out = shown(stored);
    let Some(mut md) = Md::from_json(stored) else { return out };
    md.name = folder.to_string();
    let (certs, _) = bundle::look(store, folder, &md);
    let (mut state, mut descr) = assess(&md, &certs);
    let unfit = certs.iter().find_map(|(spec, cert)| {
        fit::check(&md, cert.as_ref(), now).err().map(|unfit| unfit.of(spec.label()))
    });
    if let (State::Complete, Some(unfit)) = (state, unfit) {
        (state, descr) = (State::Incomplete, Some(unfit));
    }
    let Some(fields) = out.as_object_mut() else { return out };
    fields.insert("state".into(), json!(state as i32));
    match descr {
        Some(descr) => drop(fields.insert("state-descr".into(), json!(descr))),
        None => drop(fields.shift_remove("state-descr")),
    }
    let is_due = matches!(due::need(&md, &certs, None, now), Decision::Now(_));
    fields.insert("renew".into(), json!(is_due));
    fields.entry("renew-window").or_insert_with(|| json!(md.renew_window.to_string()));
    fields.entry("warn-window").or_insert_with(|| json!(md.warn_window.to_string()));
    out
}

/// `md: NAME [d1, d2, …]`.
pub fn line(md: &Value) -> String {
    format!("md: {} [{}]", name(md), names(md).join(", "))
}

pub fn name(md: &Value) -> &str {
    md.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Its domains.
pub fn names(md: &Value) -> Vec<String> {
    let names = md.get("domains").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(String::from).collect()
}

/// Sets or removes a member of `ca`.
pub fn set_ca(md: &mut Value, key: &str, value: Option<Value>) {
    if !md.get("ca").is_some_and(Value::is_object) {
        md["ca"] = json!({"proto": "ACME"});
    }
    let Some(ca) = md.get_mut("ca").and_then(Value::as_object_mut) else { return };
    match value {
        Some(value) => drop(ca.insert(key.into(), value)),
        None => drop(ca.shift_remove(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_one_has_exactly_the_keys_that_are_always_there() {
        let md = new(&["a.test".into(), "b.test".into()], Some("https://ca.test/dir"), None);
        let keys: Vec<&str> = md.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, always_there().map(|(key, _)| key));
        assert_eq!(md["ca"].to_string(), r#"{"proto":"ACME","urls":["https://ca.test/dir"]}"#);
        assert_eq!(new(&["a.test".into()], None, None)["ca"].to_string(), r#"{"proto":"ACME"}"#);
        assert_eq!(line(&md), "md: a.test [a.test, b.test]");
    }

    #[test]
    fn other_keys_stay_and_secrets_do_not() {
        let md = shown(
            &json!({"name": "a", "x": 1, "eab": {"kid": "k", "hmac": "h"}, "privkey": {"type": "RSA", "bits": 2048}}),
        );
        assert_eq!((&md["x"], &md["eab"]), (&json!(1), &json!({"kid": "k", "hmac": "***"})));
        assert_eq!(md["privkey"], json!({"type": "RSA", "bits": 2048}));
    }
}
