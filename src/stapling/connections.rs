// SPDX-License-Identifier: Apache-2.0
//! HTTP clients for OCSP responders: one client, with its connections, per proxy.

use super::driver::Connect;
use crate::http::Transport;
use crate::http::client::{Client, Limits, Options};
use crate::metrics::{Metrics, OcspCounted};
use crate::ocsp::response::SIZE_MAX;
use crate::sync::lock;
use crate::time::StopFlag;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A responder gets less time than a CA, because no client waits for its answer and requests to other
/// responders are pending.
const LIMITS: Limits =
    Limits { stall: Duration::from_secs(10), exchange: Duration::from_secs(10), body: SIZE_MAX };

/// URL, and the CA certificates for it.
type Proxy = (Option<String>, Option<String>);
type Way = Arc<dyn Transport>;

/// `user_agent`: how we call ourselves. `stop` ends requests.
pub fn connections(user_agent: String, stop: StopFlag, metrics: Metrics) -> Connect {
    let clients: Mutex<HashMap<Proxy, Way>> = Mutex::default();
    Box::new(move |terms| {
        let key = (terms.proxy_url.clone(), terms.proxy_ca_file.clone());
        let mut clients = lock(&clients);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let transport = Client::new(&Options {
            ca_file: None,
            proxy_url: terms.proxy_url.clone(),
            proxy_ca_file: terms.proxy_ca_file.clone().map(Into::into),
            user_agent: user_agent.clone(),
            limits: LIMITS,
            stop: stop.clone(),
        })?;
        let client: Way = Arc::new(OcspCounted { transport, metrics: metrics.clone() });
        clients.insert(key, client.clone());
        Ok(client)
    })
}
