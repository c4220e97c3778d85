// SPDX-License-Identifier: Apache-2.0
//! The directories of the CAs that a call looks at, each fetched once for all checks, with the time that the CA
//! has. Judges nothing. Imports the way to CAs, `acme` and `http`.

use crate::acme::Server;
use crate::cli::authority::{client, route};
use crate::cli::console::call::Call;
use crate::http::{self, Limits, Request, Response, Transport};
use crate::managed::Managed;
use crate::model::Route;
use crate::renew::decide::error::Error;
use crate::sync::lock;
use crate::time::{Clock, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A person waits for this.
const PATIENCE: Limits =
    Limits { stall: Duration::from_secs(10), exchange: Duration::from_secs(30), body: http::MAX_BODY };

/// The CAs of this call, by the URL of the directory and the way there.
#[derive(Default)]
pub struct Directories(HashMap<(String, Route), Arc<Answered>>);

/// What a CA has answered to the question for its directory.
pub struct Answered {
    /// With the connection to it; or why there is none.
    pub server: Result<(Arc<Server>, Arc<dyn Transport>), Error>,
    /// The CA's time and ours.
    pub times: Option<(Timestamp, Timestamp)>,
}

impl Directories {
    /// The CA with this directory as this domain reaches it, asked unless it has been.
    pub fn ask(&mut self, call: &Call, url: &str, managed: &Managed) -> Arc<Answered> {
        let route = route(call, Some(managed));
        let ask = || Arc::new(Answered::of(call, url, &route));
        self.0.entry((url.to_string(), route.clone())).or_insert_with(ask).clone()
    }
}

impl Answered {
    fn of(call: &Call, url: &str, route: &Route) -> Self {
        let client = match client(route, PATIENCE) {
            Ok(client) => client,
            Err(error) => return Answered { server: Err(Error::Route(error)), times: None },
        };
        let dated = Arc::new(Dated { client, clock: call.clock.clone(), seen: Mutex::default() });
        let server = Server::connect(url, dated.clone(), call.clock.clone());
        let times = *lock(&dated.seen);
        let with = |server| -> (Arc<Server>, Arc<dyn Transport>) { (Arc::new(server), dated) };
        Answered { server: server.map(with).map_err(|error| Error::Acme(Arc::new(error))), times }
    }

    /// The names by which CAA records mean it, or why they are not known.
    pub fn identities(&self) -> Result<Vec<String>, String> {
        match &self.server {
            Ok((server, _)) => Ok(server.directory().caa_identities.clone()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A client that notes the server's `Date`.
struct Dated {
    client: http::client::Client,
    clock: Arc<dyn Clock>,
    /// The server's time and ours, of the latest response.
    seen: Mutex<Option<(Timestamp, Timestamp)>>,
}

impl Transport for Dated {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        let response = self.client.send(request)?;
        if let Some(date) = response.header("date").and_then(Timestamp::parse_http_date) {
            *lock(&self.seen) = Some((date, self.clock.now()));
        }
        Ok(response)
    }
}
