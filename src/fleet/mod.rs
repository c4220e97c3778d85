// SPDX-License-Identifier: Apache-2.0
//! Several httpds that share their certificates through a coordination engine: one renews, any answers the
//! CA's challenges, all serve. The local store stays complete; what comes from the fleet is checked and
//! written there like anything that this httpd has got itself. Nothing is served from the engine, and nothing
//! waits for it but renewals. `member` is what renewals see of it (`managed::peers`). Imports run from `member` and
//! `replicator` to `node`, from there to `local`, then `decide`, `view`, `codec`, `record`, `sealed` and `engine`;
//! `key`, `secret` and `access` are below all of these.

pub mod access;
pub mod codec;
pub mod connect;
pub mod decide;
pub mod engine;
pub mod inherited;
pub mod key;
pub mod local;
pub mod member;
pub mod node;
pub mod record;
pub mod replicator;
pub mod sealed;
pub mod secret;
pub mod view;
