// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a value in the engine of a fleet: see `checks/fleet_value.rs`.
#![no_main]

#[path = "../checks/fleet_value.rs"]
mod fleet_value;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fleet_value::check(bytes));
