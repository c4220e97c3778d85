// SPDX-License-Identifier: Apache-2.0
//! The store of this node, as the fleet uses it: an interface that tests replace, and `stored`, which works on
//! the store itself. Everything that comes from the engine is checked here before it is written. Decides
//! nothing about the fleet. Imports `record`, and `managed` and `challenge` below.

pub mod answers;
pub mod staged;
pub mod stored;

use super::decide::state::State as Saved;
use super::record::Set;
use crate::managed::peers::{SharedAnswer, Unused};
use crate::model::fleet_report::FleetReport;
use crate::model::{FleetRequest, Md};
use crate::time::Timestamp;
use serde_json::Value;

/// What has become of a set of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Brought {
    /// It is in staging, finished.
    Staged,
    /// Another process is at work on the MD, and says who it is.
    Busy(String),
    /// It is not used here, for this reason.
    Refused(String),
}

/// The local store. `Err`: what went wrong, for the log.
pub trait Local: Send + Sync {
    /// Takes the lock of the process that replicates, or sees to it that this one still has it. The inner error
    /// is who has it.
    fn take(&self, now: Timestamp) -> Result<Result<(), String>, String>;

    /// Lets the next process have it.
    fn release(&self);

    /// Where the store is: another one for a copy of it.
    fn place(&self) -> String;

    /// What an earlier process has left; `None` also where it cannot be believed.
    fn load(&self) -> Option<Saved>;

    fn save(&self, saved: &Saved) -> Result<(), String>;

    /// The sets of the fleet that the store has, by the names of their MDs.
    fn sets(&self) -> Vec<(String, Set)>;

    fn set(&self, name: &str) -> Option<Set>;

    /// Notes which set of the fleet the store has.
    fn keep_set(&self, name: &str, set: &Set) -> Result<(), String>;

    /// Writes a set into staging, from where it comes into use.
    fn stage(&self, name: &str, set: &Set, now: Timestamp) -> Result<Brought, String>;

    /// The MD as it is configured here.
    fn md(&self, name: &str) -> Option<Md>;

    /// Whether renewals look at the MD, which then bring its sets in.
    fn is_looked_at(&self, name: &str) -> bool;

    /// What an operator asks of the process that replicates, once.
    fn request(&self, now: Timestamp) -> Option<FleetRequest>;

    /// The certificates in use: the latest notBefore and the earliest notAfter.
    fn in_use(&self, name: &str) -> Option<(Timestamp, Timestamp)>;

    /// Notes when the CA wants the certificates with these ids (RFC 9773 §4.1) to be renewed.
    fn note_renew_at(&self, name: &str, ids: &[String], at: Timestamp, now: Timestamp);

    /// What operators have withdrawn on this machine since the last call, by MD.
    fn withdrawn(&self) -> Vec<(String, Value)>;

    /// Has all processes answer a challenge.
    fn put_answer(&self, answer: &SharedAnswer, now: Timestamp) -> Result<(), String>;

    fn remove_answer(&self, answer: &SharedAnswer) -> Result<(), String>;

    /// The answers that the store has of these MDs.
    fn answers(&self) -> Vec<SharedAnswer>;

    /// Verifies an OCSP response and has all processes staple it.
    fn take_response(&self, name: &str, file: &str, der: &[u8], now: Timestamp) -> Result<(), Unused>;

    /// Has status pages show it.
    fn report(&self, report: &FleetReport) -> Result<(), String>;
}
