// SPDX-License-Identifier: Apache-2.0
//! The engine of a configuration, by the scheme of its URLs. Connects with the first request.

use super::access::Access;
use super::engine::etcd::Etcd;
use super::engine::redis::Redis;
use super::engine::{Engine, Error};
use crate::config::fleet::Scheme;
use std::sync::Arc;

/// `Err`: its certificates or its password cannot be used.
pub fn connect(access: &Access) -> Result<Arc<dyn Engine>, Error> {
    match access.scheme {
        Scheme::Etcd => Ok(Arc::new(Etcd::new(access)?)),
        Scheme::Redis => Ok(Arc::new(Redis::new(access)?)),
    }
}
