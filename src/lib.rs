// SPDX-License-Identifier: Apache-2.0
//! mod_md: an Apache httpd module that gets certificates from an ACME CA and keeps them valid.
//!
//! The code stands in rooms, and these in layers: a room imports from layers below its own, and of its own
//! what the tables of `tests/layers` allow. docs/architecture.md says what happens in each.
//!
//! | layer | modules | what it is |
//! |---|---|---|
//! | L5 | `httpd`, `cli` | glue: performs httpd's hooks, the only place that knows httpd; the command `a2md` |
//! | L4 | `startup`, `renew`, `live`, `stapling`, `responder`, `status`, `notify`, `require_https` | use cases |
//! | L3 | `managed`, `metrics`, `acme`, `challenge`, `ocsp` | what a process knows; protocols |
//! | L2 | `config`, `store`, `http`, `dns`, `exec` | directives; the outside: disk, network, commands |
//! | L1 | `crypto`, `model`, `work` | values; the queue and the threads that jobs run in |
//! | L0 | `backoff`, `counters`, `time`, `names`, `url`, `log`, `sync`, `library` | ground |
//!
//! Decisions (`renew::decide`, `acme::order::step`, configuration merge, host matching) are pure
//! functions of values and `now`. What they return is performed by `renew::worker`, `startup` and `httpd`.
//!
//! The feature `httpd` (default) holds everything that references httpd's symbols: with it the crate
//! is the loadable module, without it the crate links into test binaries. The feature `cli` holds the command
//! `a2md`, which is built without `httpd`.

// L0
pub mod backoff;
pub mod counters;
pub mod library;
pub mod log;
pub mod names;
pub mod sync;
pub mod time;
pub mod url;
// L1
pub mod crypto;
pub mod model;
pub mod work;
// L2
pub mod config;
pub mod dns;
pub mod exec;
pub mod http;
pub mod store;
// L3
pub mod acme;
pub mod challenge;
pub mod managed;
pub mod metrics;
pub mod ocsp;
// L4
pub mod fleet;
pub mod live;
pub mod notify;
pub mod renew;
pub mod require_https;
pub mod responder;
pub mod stapling;
pub mod startup;
pub mod status;
// L5
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "httpd")]
pub mod httpd;

/// The version shown in md-status, the log and the User-Agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Which build of that version this is: its profile, what the builder has called it (`MOD_MD_BUILD`) or its
/// commit, for which httpd and OpenSSL it was compiled, and by which compiler. Printable ASCII without quotes
/// and backslashes.
pub const BUILD: &str = env!("MOD_MD_BUILD");
