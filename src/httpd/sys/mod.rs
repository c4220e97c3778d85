// SPDX-License-Identifier: Apache-2.0
//! The only room for `unsafe`: between httpd's C and the safe code above.
//!
//! What is kept here, so that nobody above needs to think of it:
//! - every function that C calls is made by [`guard::callback!`]: a panic ends inside it, as that hook's
//!   failure value, and never unwinds into C;
//! - wrappers carry the lifetime of the call that lent the record ([`Server`], [`Request`], [`Connection`]),
//!   are not `Send` and never `'static`;
//! - what outlives a call is a `Box` handed to an APR pool together with a cleanup that drops it; nothing
//!   with `Drop` lies in pool memory;
//! - no process globals but the module record and the log sink's server: httpd reads its configuration
//!   twice and may unload the library in between.

#![allow(unsafe_code)]

pub mod connection;
pub mod guard;
mod loaded;
pub mod log;
pub mod pool;
pub mod request;
mod rsa;
mod secret;
pub mod server;
mod shared;
mod tree;

pub use super::hooks::child::ChildPool;
pub use super::hooks::register::ConfigPool;
pub use super::hooks::tls::Context;
pub use super::hooks::watchdog::{watch_news, watch_renewals};
pub use connection::Connection;
pub use loaded::outdated;
pub use log::tell_terminal;
pub use pool::PathArray;
pub use request::{Answer, Request};
pub use rsa::{leave_thread, make as make_rsa};
pub use secret::keep as keep_secret;
pub use server::{
    Server, child_limit, instance, is_configuration_check, is_configuration_test, listener_ports,
    server_root, servers, store_owner,
};
pub use shared::Counters;
pub use tree::{directives, has_module, has_other_certificates};
