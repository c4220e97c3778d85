// SPDX-License-Identifier: Apache-2.0
//! What is wrong with a configuration that can be known before anything is renewed or served: listed by
//! configtest and at each start, before mod_ssl can end it. Errors are only what ends the start in any case.
//! Pure: files, other modules and the store are asked through [`Context`].

mod authorities;
pub mod certificates;
mod context;
mod files;
mod hosts;
mod spelling;

use super::finding::Finding;
use super::planned::{Plan, Server};

pub use super::finding::{Item, at, gathered};
pub use context::{Context, FileFault, is_renewed, no_watchdog};

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
