// SPDX-License-Identifier: Apache-2.0
//! Why an answer to a challenge is not in place, and whose fault that is. Values only; imports the errors that
//! it holds.

use crate::challenge::dns01::solver::Failed;
use crate::exec;
use crate::notify;
use crate::renew::decide::error::{Error, Fault};

#[derive(Debug, thiserror::Error)]
pub(super) enum Obstacle {
    #[error("{0}")]
    Store(#[from] crate::store::Error),
    #[error("{0}")]
    Crypto(#[from] crate::crypto::Error),
    #[error("MDChallengeDns01: {0}")]
    Record(#[from] Failed),
    #[error("{0}")]
    Event(#[from] notify::Failed),
    /// The renewal itself has failed meanwhile.
    #[error("{0}")]
    Renewal(#[from] Error),
    /// The record that the admin has to set.
    #[error("it waits for {0}")]
    Persist(String),
    #[error("no way to answer it is configured")]
    Unknown,
    #[error("the server process is stopping")]
    Stopped,
}

impl Obstacle {
    pub(super) fn fault(&self) -> Fault {
        match self {
            Obstacle::Record(failed) => match (failed, failed.advice()) {
                (_, Some(advice)) => Fault::Dns(advice),
                (Failed::Command(exec::Error::Empty | exec::Error::Start { .. }), _) => Fault::NoCommand,
                (Failed::Command(exec::Error::TimedOut { .. }), _) => Fault::SlowCommand,
                (Failed::Command(_), _) => Fault::Command,
                _ => Fault::Other,
            },
            Obstacle::Event(_) => Fault::Message,
            _ => Fault::Other,
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        match self {
            Obstacle::Stopped => true,
            Obstacle::Record(failed) => failed.is_stopped(),
            Obstacle::Renewal(error) => error.is_stopped(),
            Obstacle::Event(failed) => failed.is_stopped,
            _ => false,
        }
    }
}
