// SPDX-License-Identifier: Apache-2.0
//! End to end: real httpd with the module, a real ACME CA, on loopback. One file per feature.
//!
//! `make test` runs them with our module, `MODULE=… make e2e` with another one. Without the lab
//! (`make setup build`) each says that it is skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acme;
mod challenges;
mod commands;
mod compatibility;
mod configtest;
mod dashboard;
mod dashboard_browser;
mod directives;
mod dns;
mod dns_delegated;
mod dns_hooks;
mod dns_page;
mod dns_responder;
mod ends;
mod events;
mod first_certificate;
mod fleet_files;
mod handshake_path;
mod idle;
mod interruption;
mod keys;
mod live;
mod live_tls;
mod log;
mod matching;
mod memory;
mod neighbours;
mod pages;
mod panic;
mod planted;
mod planted_keys;
mod record_challenges;
mod renewal;
mod require_https;
mod secrets;
mod serving;
mod stapling;
mod status;
mod status_compared;
mod store;
mod storm;
mod sync;
mod unload;
