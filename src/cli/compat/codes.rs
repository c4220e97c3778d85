// SPDX-License-Identifier: Apache-2.0
//! The `apr_status_t` numbers of this half, and their texts as short as the C module cuts them.

use crate::model::outcome::status;

pub const NOT_FOUND: i32 = 2;
pub const EXISTS: i32 = 17;
pub const NOT_IMPLEMENTED: i32 = 70023;

/// Characters of a description.
const DESCRIPTION_MAX: usize = 31;

pub fn description(status: i32) -> String {
    let text = match status {
        NOT_IMPLEMENTED => "This function has not been implemented on this platform".into(),
        _ => status::description(status),
    };
    text.chars().take(DESCRIPTION_MAX).collect()
}
