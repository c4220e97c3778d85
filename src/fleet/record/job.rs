// SPDX-License-Identifier: Apache-2.0
//! How far a renewal has come, as JSON, with the keys of its order.

use super::super::sealed::Flaw;
use super::Job;
use super::fields::{CERTS_MAX, Fields, NAMES_MAX, key_to_json, time_to_json};
use super::set::{cert_from_json, cert_to_json};
use crate::crypto::PrivateKey;
use crate::managed::peers::SharedJob;
use crate::managed::saved_order::SavedOrder;
use crate::model::{KeySpec, RetryState};
use serde_json::{Value, json};

impl Job {
    pub(super) fn to_json(&self) -> Result<Value, Flaw> {
        let job = &self.0;
        Ok(json!({
            "ca": job.ca,
            "names": job.names,
            "order": job.order.as_ref().map(SavedOrder::to_json),
            "keys": job.keys.iter().map(key_of_spec).collect::<Result<Vec<_>, _>>()?,
            "certs": job.certs.iter().map(cert_to_json).collect::<Result<Vec<_>, _>>()?,
            "step": job.step,
            "errors": job.errors,
            "next-try": job.next_try.map(time_to_json),
            "problem": job.problem,
            "retry-state": job.retry_state.to_json(),
        }))
    }

    pub(super) fn from_json(json: Fields) -> Result<Self, Flaw> {
        let keys = json.list("keys", CERTS_MAX)?.iter().map(|key| {
            let key = Fields(key);
            let (spec, key) = (key.spec("type")?, key.key("key")?);
            if key.is_of(&spec) { Ok((spec, key)) } else { Err(Flaw::Field("keys")) }
        });
        let certs = json.list("certs", CERTS_MAX)?.iter().map(|cert| cert_from_json(Fields(cert)));
        let retry_state = json.of("retry-state").map(RetryState::from_json);
        let is_whole = |state: &RetryState| json.of("retry-state") == Some(&state.to_json());
        let order = json.of("order").map(|order| SavedOrder::from_json(order).ok_or(Flaw::Field("order")));
        Ok(Job(SharedJob {
            ca: json.name("ca")?,
            names: json.names("names", NAMES_MAX)?,
            order: order.transpose()?,
            keys: keys.collect::<Result<_, _>>()?,
            certs: certs.collect::<Result<_, _>>()?,
            step: json.text("step"),
            errors: u32::try_from(json.number("errors")?).map_err(|_| Flaw::Field("errors"))?,
            next_try: json.time_or_none("next-try")?,
            problem: json.text_or_none("problem")?,
            retry_state: retry_state.filter(is_whole).ok_or(Flaw::Field("retry-state"))?,
        }))
    }
}

fn key_of_spec((spec, key): &(KeySpec, PrivateKey)) -> Result<Value, Flaw> {
    Ok(json!({"type": spec.to_json(), "key": key_to_json(key)?}))
}
