// SPDX-License-Identifier: Apache-2.0
//! Any bytes as what an etcd server sends: see `checks/etcd_answer.rs`.
#![no_main]

#[path = "../checks/etcd_answer.rs"]
mod etcd_answer;
#[path = "../checks/plain.rs"]
mod plain;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| etcd_answer::check(bytes));
