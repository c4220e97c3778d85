// SPDX-License-Identifier: Apache-2.0
//! Reads what operators ask of the process that replicates. Hands on each request once; passes over files that
//! make no sense, that a stranger has written, or that nobody waits for any more. Acts on nothing.

use crate::model::{Answer, FleetRequest};
use crate::store::{Flat, Watched, WorkStore};
use crate::time::Timestamp;

/// What is known of the file with the request.
#[derive(Default)]
pub struct FleetRequests {
    folder: Watched,
    /// The last request that was seen, by this process or one before.
    seen: Option<String>,
    has_failed: bool,
}

impl FleetRequests {
    /// `answered`: the last answer of an earlier process, whose request is not acted upon again.
    pub fn new(answered: Option<&Answer>) -> Self {
        FleetRequests { seen: answered.map(|answer| answer.id.clone()), ..FleetRequests::default() }
    }

    /// The request that is new, if there is one. Where nothing has changed, this looks at the folder alone.
    pub fn look(&mut self, store: &WorkStore, now: Timestamp) -> Option<FleetRequest> {
        let found = match self.find(store, now) {
            Ok(found) => found?,
            Err(reason) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    crate::log!(Warn, "a request for the fleet is passed over: {reason}");
                }
                return None;
            }
        };
        self.has_failed = false;
        if self.seen.as_ref() == Some(&found.id) || !found.is_fresh(now) {
            return None;
        }
        self.seen = Some(found.id.clone());
        crate::log!(Notice, "{} has asked to have {}", found.by, found.op.describe());
        Some(found)
    }

    fn find(&mut self, store: &WorkStore, now: Timestamp) -> Result<Option<FleetRequest>, String> {
        let stamp = store.flat_stamp(Flat::Requests).map_err(|error| error.advised())?;
        if !self.folder.has_changed(stamp, now) {
            return Ok(None);
        }
        let json = store.read_fleet_request().map_err(|error| error.advised())?;
        let Some(json) = json else { return Ok(None) };
        FleetRequest::from_json(&json)
            .map(Some)
            .ok_or_else(|| "it makes no sense to this version".to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FleetOp, RequestState};
    use crate::store::StartStore;
    use crate::time::{Clock, SystemClock};
    use serde_json::json;
    use std::time::Duration;

    fn request(id: &str, time: Timestamp) -> FleetRequest {
        FleetRequest { id: id.into(), op: FleetOp::Resync, time, by: "user 0 (a2md)".into() }
    }

    #[test]
    fn each_request_is_handed_on_once() {
        let dir = tempfile::tempdir().unwrap();
        let start = StartStore::open(&dir.path().join("md"), None).unwrap();
        let (store, now) = (start.worker(), SystemClock::default().now());
        let mut requests = FleetRequests::new(None);
        assert_eq!(requests.look(&store, now), None);
        let first = FleetRequest::from_json(&request("1", now).to_json()).unwrap();
        start.write_fleet_request(&first.to_json()).unwrap();
        assert_eq!(requests.look(&store, now), Some(first.clone()));
        assert_eq!(requests.look(&store, now), None, "it was seen");
        start.write_flat(Flat::Requests, "a.test", &json!({})).unwrap();
        assert_eq!(requests.look(&store, now.plus(Duration::from_secs(1))), None, "another file is new");
        let answer = first.answer(RequestState::Done, None, now);
        assert_eq!(FleetRequests::new(Some(&answer)).look(&store, now), None, "a child before has answered");
        start.write_fleet_request(&request("2", now).to_json()).unwrap();
        assert_eq!(requests.look(&store, now).unwrap().id, "2");
    }

    #[test]
    fn what_is_old_or_makes_no_sense_is_passed_over_and_the_next_one_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let start = StartStore::open(&dir.path().join("md"), None).unwrap();
        let (store, now) = (start.worker(), SystemClock::default().now());
        let mut requests = FleetRequests::new(None);
        for bad in [
            json!({"op": "wipe"}),
            json!("x".repeat(100_000)),
            request("1", now.minus(Duration::from_secs(600))).to_json(),
        ] {
            start.write_fleet_request(&bad).unwrap();
            assert_eq!(requests.look(&store, now), None, "{bad}");
        }
        start.write_fleet_request(&request("2", now).to_json()).unwrap();
        assert_eq!(requests.look(&store, now).unwrap().id, "2");
    }
}
