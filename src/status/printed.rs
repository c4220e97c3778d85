// SPDX-License-Identifier: Apache-2.0
//! The printed output of one domain, one value for each kind of page; [`snapshot`](super::snapshot) keeps it
//! while the domain stays the same. Each value names what its text depends on besides the domain. The pages
//! make and check these values; nothing here formats text.

use super::Monitor;
use super::remedy::Weight;
use super::standing::Standing;
use crate::ocsp::cache::Entry as Response;
use crate::time::Timestamp;
use std::ops::Range;
use std::sync::Arc;

#[derive(Default)]
pub struct Printed {
    pub entry: Option<Entry>,
    pub row: Option<Row>,
    pub facts: Option<Facts>,
}

/// The entry of a domain in md-status, as text.
pub struct Entry {
    pub text: Box<str>,
    /// The stapled responses of its certificates, in their order, staged ones too.
    pub ocsp: Vec<Option<Response>>,
}

/// The row of a domain in the table of server-status.
pub struct Row {
    pub shown: Arc<Shown>,
    pub monitor: Monitor,
    /// How long times read the same (`in ~3 hours`).
    pub during: Range<Timestamp>,
}

/// The contents of a row, and its part in the counts above the table.
pub struct Shown {
    pub cells: Box<str>,
    pub weight: Weight,
    pub standing: Standing,
    pub progress: Progress,
}

/// The progress of a renewal.
#[derive(Clone, Copy, PartialEq)]
pub enum Progress {
    None,
    Running,
    Ready,
}

/// The lines of a domain in `server-status?auto`, and its part in the totals.
pub struct Facts {
    pub lines: Box<str>,
    /// The key and the time of the last line, which counts the seconds until then.
    pub clock: Option<(&'static str, Timestamp)>,
    pub is_complete: bool,
    pub is_due: bool,
    pub is_failing: bool,
    pub is_ready: bool,
    pub monitor: Monitor,
}
