// SPDX-License-Identifier: Apache-2.0
//! The way of a call to a CA: its directory, by the proxy and with the certificates of the configuration or of
//! the call's own options, which come first.

use super::console::call::{Call, Failure};
use crate::acme::{self, Server};
use crate::http::client::{Client, Options};
use crate::http::{self, Limits};
use crate::managed::Managed;
use crate::model::Route;
use crate::time::StopFlag;
use std::sync::Arc;

/// The CA with this directory URL. `md`: one that orders there.
pub fn connect(call: &Call, url: &str, md: Option<&Managed>) -> Result<Arc<Server>, Failure> {
    let client = client(&route(call, md), Limits::default());
    let client = client.map_err(|error| Failure::new(format!("{url}: {error}")))?;
    let server = Server::connect(url, Arc::new(client), call.clock.clone());
    server.map(Arc::new).map_err(|error| of_authority(url, &error))
}

/// How an MD reaches its CA: as the call's options say, else as configured, else as its md.json says.
pub fn route(call: &Call, md: Option<&Managed>) -> Route {
    let either = |one: &Option<String>, other: &Option<String>| one.clone().or_else(|| other.clone());
    let own = md.map_or_else(Route::default, |Managed { md, route, .. }| Route {
        ca_file: either(&route.ca_file, &md.ca_certs),
        proxy_url: either(&route.proxy_url, &md.proxy_url),
        proxy_ca_file: either(&route.proxy_ca_file, &md.proxy_ca_certs),
    });
    let ca_file = call.options.ca_file.as_ref().map(|file| file.display().to_string());
    Route { ca_file: ca_file.or(own.ca_file), proxy_url: either(&call.options.proxy, &own.proxy_url), ..own }
}

/// A client that goes this way.
pub fn client(route: &Route, limits: Limits) -> Result<Client, http::Error> {
    let path = |path: &Option<String>| path.as_ref().map(Into::into);
    Client::new(&Options {
        ca_file: path(&route.ca_file),
        proxy_url: route.proxy_url.clone(),
        proxy_ca_file: path(&route.proxy_ca_file),
        user_agent: format!("mod_md/{} a2md", crate::VERSION),
        limits,
        stop: StopFlag::default(),
    })
}

/// What a CA refused, or why it cannot be asked.
pub fn of_authority(url: &str, error: &acme::Error) -> Failure {
    let failure = Failure::new(format!("{url}: {error}")).status(error.apr_status());
    match error {
        acme::Error::Transport { .. } => failure.advice(
            "Find out why the CA is not reached from here: network, proxy, or the certificates to trust it with \
             (-C FILE).",
        ),
        _ => failure,
    }
}
