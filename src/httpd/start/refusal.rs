// SPDX-License-Identifier: Apache-2.0
//! A start that must not go on.

use crate::config::Finding;
use crate::log::Level;

/// The start must not go on. The log says why.
pub struct StartFailed;

/// Logs the findings that end the start, at error, so that they also reach the admin's terminal.
pub fn refuse(findings: Vec<Finding>) -> StartFailed {
    for finding in findings {
        crate::log::write(finding.level.min(Level::Error), 0, format_args!("{}", finding.text));
    }
    StartFailed
}
