// SPDX-License-Identifier: Apache-2.0
//! Doubles for tests that run our own code: a CA behind the transport, the DNS, a clock, the engine of a
//! fleet, and the renewing host.
//!
//! Uses the public API of the module only. Certificates and OCSP responses are made in `support`, which does
//! not know the module.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod acme_dns;
pub mod clock;
pub mod counting_engine;
pub mod dns;
pub mod fake_ca;
pub mod host;
pub mod memory_engine;
pub mod peers;
pub mod stage;

pub use acme_dns::AcmeDns;
pub use clock::VirtualClock;
pub use counting_engine::Counting;
pub use dns::FakeDns;
pub use fake_ca::{Answer, Endpoint, FakeCa, Fault, problem};
pub use host::Host;
pub use memory_engine::Memory;
pub use peers::Fleet;
pub use stage::Stage;
