// SPDX-License-Identifier: Apache-2.0
//! What the commands that ask a CA share: the way to it.

use super::call::Options;
use crate::http::client::{Client, Limits, Options as ClientOptions};
use crate::http::{self, Transport};
use crate::model::Route;
use crate::time::StopFlag;
use std::sync::Arc;

/// The way to a CA that the options of a call say.
pub fn route(options: &Options) -> Route {
    let absolute = |path: &std::path::PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    Route {
        ca_file: options.ca_file.as_ref().map(|path| absolute(path).display().to_string()),
        proxy_url: options.proxy.clone(),
        proxy_ca_file: None,
    }
}

/// Opens a transport that goes this way until `stop`.
pub fn connect(route: &Route, stop: &StopFlag) -> Result<Arc<dyn Transport>, http::Error> {
    let client = Client::new(&ClientOptions {
        ca_file: route.ca_file.clone().map(Into::into),
        proxy_url: route.proxy_url.clone(),
        proxy_ca_file: route.proxy_ca_file.clone().map(Into::into),
        user_agent: format!("a2md/{}", crate::VERSION),
        limits: Limits::default(),
        stop: stop.clone(),
    })?;
    Ok(Arc::new(client))
}
