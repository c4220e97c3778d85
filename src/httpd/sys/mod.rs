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

mod child;
mod command;
mod connection;
mod guard;
mod hooks;
mod loaded;
mod log;
mod module;
mod ocsp;
mod pool;
mod request;
mod rsa;
mod secret;
mod server;
mod shared;
mod ssl;
mod tree;
mod watchdog;

pub use child::ChildPool;
pub use connection::Connection;
pub use hooks::ConfigPool;
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
pub use ssl::Context;
pub use tree::{directives, has_module, has_other_certificates};
pub use watchdog::{watch_news, watch_renewals};
