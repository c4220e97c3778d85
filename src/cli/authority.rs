// SPDX-License-Identifier: Apache-2.0
//! The way of a call to a CA: its directory, by the proxy and with the certificates of the configuration or of
//! the call's own options, which come first.

use super::call::{Call, Failure};
use crate::acme::{self, Server};
use crate::http::client::{Client, Limits, Options};
use crate::managed::Managed;
use crate::model::Route;
use crate::time::StopFlag;
use std::sync::Arc;

/// The CA with this directory URL. `md`: one that orders there.
pub fn connect(call: &Call, url: &str, md: Option<&Managed>) -> Result<Arc<Server>, Failure> {
    let route = md.map(route_of).unwrap_or_default();
    let options = Options {
        ca_file: call.options.ca_file.clone().or(route.ca_file.map(Into::into)),
        proxy_url: call.options.proxy.clone().or(route.proxy_url),
        proxy_ca_file: route.proxy_ca_file.map(Into::into),
        user_agent: format!("mod_md/{} a2md", crate::VERSION),
        limits: Limits::default(),
        stop: StopFlag::default(),
    };
    let client = Client::new(&options).map_err(|error| Failure::new(format!("{url}: {error}")))?;
    let server = Server::connect(url, Arc::new(client), call.clock.clone());
    server.map(Arc::new).map_err(|error| of_authority(url, &error))
}

/// How an MD reaches its CA: as configured, or as its md.json says.
fn route_of(md: &Managed) -> Route {
    let own = |configured: &Option<String>, stored: &Option<String>| configured.clone().or(stored.clone());
    Route {
        ca_file: own(&md.route.ca_file, &md.md.ca_certs),
        proxy_url: own(&md.route.proxy_url, &md.md.proxy_url),
        proxy_ca_file: own(&md.route.proxy_ca_file, &md.md.proxy_ca_certs),
    }
}

/// What a CA refused, or why it cannot be asked.
pub fn of_authority(url: &str, error: &acme::Error) -> Failure {
    let failure = Failure::new(format!("{url}: {error}")).status(error.apr_status());
    match error {
        acme::Error::Transport { .. } => failure.advice(
            "Find out why the CA is not reached from here: network, proxy (-p), or the certificates to trust it with \
             (-C FILE).",
        ),
        _ => failure,
    }
}

/// Whether a CA refuses an account, or the key of one (RFC 8555 §6.7; some say it in other words).
pub fn is_unknown(error: &acme::Error) -> bool {
    use acme::problem::Kind;
    matches!(error.kind(), Some(Kind::AccountDoesNotExist | Kind::Unauthorized | Kind::Malformed))
}
