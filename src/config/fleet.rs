// SPDX-License-Identifier: Apache-2.0
//! The fleet of a configuration: `MDFleet` and the directives beside it. `urls` reads the engine's URLs, `lines`
//! the directives, `written` holds what one server has of them. The files that they name are read by each start.

pub(super) mod lines;
mod urls;
mod values;
mod written;

pub use urls::DEFAULT_PREFIX;
pub use values::{Fleet, Scheme, Server};
pub use written::FleetLines;
