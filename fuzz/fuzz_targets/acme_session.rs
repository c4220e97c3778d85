// SPDX-License-Identifier: Apache-2.0
//! Any answers of a CA in a session: see `checks/acme_session.rs`.
#![no_main]

#[path = "../checks/acme.rs"]
mod acme;
#[path = "../checks/acme_session.rs"]
mod acme_session;
#[path = "../checks/plain.rs"]
mod plain;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| acme_session::check(bytes));
