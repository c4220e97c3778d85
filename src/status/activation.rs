//! How the newest set of a managed domain comes into use.

use crate::model::Job;
use crate::renew::Managed;
use crate::renew::state::KeyedCert;
use serde_json::{Value, json};

/// `activation` in md-status: whether the newest set is served without a restart (`live`), will be (`pending`) or
/// waits for one (`restart`), the serial of its first certificate, and since when. `None`: what was in use at the start is the newest.
pub fn activation(managed: &Managed, staged: Option<(&Job, &[KeyedCert])>) -> Option<Value> {
    let live = managed.live.load();
    let is_live = |certs: &[KeyedCert]| {
        let certs: Vec<_> = certs.iter().filter_map(|(_, cert)| cert.clone()).collect();
        live.as_ref().is_some_and(|set| set.is_of(&certs))
    };
    let serial = |certs: &[KeyedCert]| {
        certs.iter().find_map(|(_, cert)| cert.as_ref()).map(|cert| cert.serial.clone())
    };
    if let Some((job, certs)) = staged.filter(|(job, certs)| job.finished && !is_live(certs)) {
        let mode = if managed.live.is_attached() { "pending" } else { "restart" };
        let since = job.latest("finished").map(|at| at.to_http_date());
        return Some(json!({"mode": mode, "serial": serial(certs), "since": since}));
    }
    let set = live.as_ref()?;
    Some(json!({"mode": "live", "serial": serial(&set.certs), "since": set.since.to_http_date()}))
}
