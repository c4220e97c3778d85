// SPDX-License-Identifier: Apache-2.0
//! What DNS records say of CAs: their names from their directories, each asked once, and the account there from
//! the store. Imports `acme`, `http` and `store`.

use crate::acme::Server;
use crate::cli::call::Options;
use crate::http::Limits;
use crate::http::client::{self, Client};
use crate::managed::Managed;
use crate::managed::staging::Staging;
use crate::model::Md;
use crate::store::{StartStore, WorkGroup};
use crate::time::{Clock, StopFlag};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The CAs of this call.
#[derive(Default)]
pub struct Authorities {
    /// By directory URL: their names, or why they are not known.
    known: BTreeMap<String, Result<Vec<String>, String>>,
}

impl Authorities {
    /// The names by which CAA records mean the CA with this directory.
    pub fn identities(
        &mut self,
        url: &str,
        managed: &Managed,
        options: &Options,
        clock: &Arc<dyn Clock>,
    ) -> Result<Vec<String>, String> {
        let ask = || {
            let http = Client::new(&settings(managed, options)).map_err(|error| error.to_string())?;
            let server =
                Server::connect(url, Arc::new(http), clock.clone()).map_err(|error| error.to_string())?;
            Ok(server.directory().caa_identities.clone())
        };
        self.known.entry(url.to_string()).or_insert_with(ask).clone()
    }
}

/// md.json has the MD's own settings, the configuration those of the server as well.
fn settings(managed: &Managed, options: &Options) -> client::Options {
    let Managed { md, route, .. } = managed;
    let path = |path: &Option<String>| path.as_ref().map(Into::into);
    client::Options {
        ca_file: options.ca_file.clone().or_else(|| path(&route.ca_file)).or_else(|| path(&md.ca_certs)),
        proxy_url: options.proxy.clone().or_else(|| route.proxy_url.clone()).or_else(|| md.proxy_url.clone()),
        proxy_ca_file: path(&route.proxy_ca_file).or_else(|| path(&md.proxy_ca_certs)),
        user_agent: format!("a2md/{} (doctor)", crate::VERSION),
        limits: Limits::default(),
        stop: StopFlag::default(),
    }
}

/// The URL of the account with which the MD orders at this CA: a stored one, or one that waits in staging for
/// the next start.
pub fn account(store: &StartStore, md: &Md, url: &str) -> Option<String> {
    let worker = store.worker();
    let mut names = worker.account_names().unwrap_or_default();
    names.sort_by_key(|name| Some(name) != md.ca.account.as_ref());
    let stored = names.iter().find_map(|name| of_ca(&worker.read_account_json(name).ok().flatten()?, url));
    stored.or_else(|| {
        let staged = worker.names(WorkGroup::Staging).unwrap_or_default();
        let accounts = staged.iter().flat_map(|name| Staging::new(&worker, name).accounts());
        accounts.into_iter().find_map(|(_, json, _)| of_ca(&json, url))
    })
}

fn of_ca(json: &Value, url: &str) -> Option<String> {
    let text = |key: &str| json.get(key).and_then(Value::as_str);
    let is_valid = text("status").is_none_or(|status| status == "valid");
    (is_valid && text("ca-url") == Some(url)).then(|| text("url").map(String::from))?
}
