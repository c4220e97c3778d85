// SPDX-License-Identifier: Apache-2.0
//! What a node of a fleet does, as functions of what is known and the time. They carry nothing out, keep nothing
//! and ask nobody. Each says which rule of the fleet it is: docs/fleet.md has them. Pure; imports `view` and
//! `record`.

pub mod alone;
pub mod asks;
pub mod begin;
pub mod checks;
pub mod cleanup;
pub mod course;
pub mod differing;
pub mod health;
pub mod lease;
pub mod presence;
pub mod rank;
pub mod reconcile;
pub mod state;
pub mod withdrawing;

#[cfg(test)]
mod convergence_tests;
