// SPDX-License-Identifier: Apache-2.0
//! Safe wrappers over httpd's C for the code above. With `hooks`, which C calls, it is the only place for
//! `unsafe`. It names nothing of `httpd` above it: [`ModuleConf`] says which record is the module's and which
//! types of configuration belong to it, and callers hand over the functions that C is to call.
//!
//! Rules that this folder keeps for the code above:
//! - every function that C calls is made by [`guard::callback!`]: a panic ends inside it, as that hook's
//!   failure value, and never unwinds into C;
//! - wrappers carry the lifetime of the call that lent the record ([`Server`], [`Request`], [`Connection`]),
//!   are not `Send` and never `'static`;
//! - a value that outlives a call is a `Box` handed to an APR pool together with a cleanup that drops it;
//!   pool memory holds nothing with `Drop`;
//! - no process globals but the module record and the log sink: httpd reads its configuration twice and may
//!   unload the library in between.

#![allow(unsafe_code)]

mod connection;
mod datagrams;
pub mod guard;
mod heap;
mod listening;
mod loaded;
pub mod log;
mod module_conf;
mod office;
pub mod pool;
mod request;
mod rsa;
mod secret;
mod server;
mod shared;
mod signals;
mod ssl;
mod tree;

pub use connection::{Connection, offers_acme_tls, propose_acme_tls};
pub use datagrams::datagrams;
pub use heap::tidy as tidy_heap;
pub use listening::Listening;
pub use loaded::outdated;
pub use log::{print_on_stdout, print_to_terminal};
pub use module_conf::ModuleConf;
pub use office::Office;
pub use pool::PathArray;
pub use request::{Answer, Request};
pub use rsa::{leave_thread, make as make_rsa};
pub use secret::keep as keep_secret;
pub use server::{
    Server, child_limit, instance, is_configuration_check, is_configuration_test, is_defined, is_ending,
    is_reload, listener_ports, server_root, servers, store_owner,
};
pub use shared::{Counters, Word};
pub use signals::{block as block_signals, unsignalled};
pub use ssl::{Context, Trial, present};
pub use tree::{directives, has_module, has_other_certificates};
