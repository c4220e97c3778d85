// SPDX-License-Identifier: Apache-2.0
//! Finds mistakes in a configuration before anything is renewed or served. configtest and each start report
//! them before mod_ssl can end the start. An error is a mistake that ends the start in any case. Pure: reads
//! files, other modules and the store through [`Context`].

mod authorities;
pub mod certificates;
mod context;
mod files;
mod hosts;
mod spelling;

use super::finding::Finding;
use super::planned::{Plan, Server};

pub use super::finding::{Item, at, coded, gathered};
pub use context::{Context, FileFault, is_renewed, no_lock, no_thread};

/// The whole list, errors first.
pub fn advice(plan: &Plan, servers: &[Server<'_>], context: &Context<'_>) -> Vec<Finding> {
    let mut findings = hosts::advice(plan, servers, context);
    findings.extend(files::advice(plan, context));
    findings.extend(authorities::advice(plan, context));
    findings.sort_by_key(|finding| finding.level);
    findings
}

#[cfg(test)]
mod tests;
