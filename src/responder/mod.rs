// SPDX-License-Identifier: Apache-2.0
//! The DNS responder (`MDDnsListen`): answers the DNS questions that validate dns-01, from the values that
//! stand in the store, in every child by one thread. [`answer`] is the server as a function of a packet;
//! [`zones`] says what it is asked for, [`rate`] who has asked too much, [`values`] what stands in the store.
//! [`service`] is the thread with its sockets and [`connection`]s, [`waiting`] has each question wake one
//! child, [`sockets`] says which sockets the parent opens, keeps and closes.
//!
//! Refuses all but questions in its zones. Imports `dns`, `store`, `challenge` and `metrics`.

pub mod answer;
mod connection;
mod question;
pub mod rate;
pub mod service;
pub mod sockets;
pub mod values;
mod waiting;
pub mod zones;

pub use answer::{Carrier, Verdict, answer};
pub use service::Responder;
pub use zones::Zones;
