// SPDX-License-Identifier: Apache-2.0
//! Checks the fleet (`MDFleet`) by what the process that replicates has told. Does not ask the engine. Of the
//! files with secrets configtest speaks.

use super::finding::Finding;
use crate::cli::fleet::findings;
use crate::cli::site::{Site, request};
use crate::status::fleet::{self, Fleet};
use crate::time::Timestamp;

/// Nothing where the httpd of the store belongs to no fleet, or does not run: what was told before its end
/// says nothing of now.
pub fn look(site: &Site, now: Timestamp, out: &mut Vec<Finding>) {
    if site.is_in_fleet() && request::running(site).is_some() {
        let fleet = Fleet::of(&fleet::read(&site.store.worker()), now);
        out.extend(findings::of_report(&fleet.report));
    }
}
