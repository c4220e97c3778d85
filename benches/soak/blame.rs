// SPDX-License-Identifier: Apache-2.0
//! Which fault an event belongs to: the latest that was in force, or had been a moment before.

use super::plan::Fault;
use std::time::Duration;

pub struct Windows {
    /// How long a fault is to blame for what happens after it.
    tail: Duration,
    /// In the order they began.
    known: Vec<Window>,
}

#[derive(Clone, Copy)]
struct Window {
    fault: Fault,
    begin: Duration,
    /// `None`: in force.
    end: Option<Duration>,
}

impl Windows {
    pub fn new(tail: Duration) -> Windows {
        Windows { tail, known: Vec::new() }
    }

    pub fn begin(&mut self, fault: Fault, at: Duration) {
        self.known.push(Window { fault, begin: at, end: None });
    }

    /// The one that began last ends.
    pub fn end(&mut self, fault: Fault, at: Duration) {
        let open = self.known.iter_mut().rev().find(|window| window.fault == fault && window.end.is_none());
        if let Some(window) = open {
            window.end = Some(at);
        }
    }

    /// Of something that began and ended then. `None`: nothing was the matter.
    pub fn blamed(&self, from: Duration, to: Duration) -> Option<Fault> {
        let touches =
            |window: &&Window| window.begin <= to && window.end.is_none_or(|end| end + self.tail >= from);
        self.known.iter().rev().find(touches).map(|window| window.fault)
    }

    /// Whether something that stops renewals was the matter then.
    pub fn stopped_renewals(&self, from: Duration, to: Duration) -> bool {
        let touches = |window: &&Window| window.begin <= to && window.end.is_none_or(|end| end >= from);
        self.known.iter().filter(|window| window.fault.stops_renewals()).any(|window| touches(&window))
    }

    /// How often each has begun.
    pub fn count(&self, fault: Fault) -> usize {
        self.known.iter().filter(|window| window.fault == fault).count()
    }
}
