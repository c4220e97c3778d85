// SPDX-License-Identifier: Apache-2.0
//! The places in the sources where an atomic is used, by a run of a model: which there are, and the one whose
//! ordering a run makes weaker.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::Location;
use std::sync::atomic::Ordering;

/// A use of an atomic in the sources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// Below `src/` of the module.
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub kind: Kind,
    pub ordering: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Load,
    Store,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    Relaxed,
    Acquire,
    Release,
    AcqRel,
    SeqCst,
}

impl Order {
    fn of(ordering: Ordering) -> Self {
        match ordering {
            Ordering::Relaxed => Order::Relaxed,
            Ordering::Acquire => Order::Acquire,
            Ordering::Release => Order::Release,
            Ordering::AcqRel => Order::AcqRel,
            _ => Order::SeqCst,
        }
    }

    pub fn ordering(self) -> Ordering {
        match self {
            Order::Relaxed => Ordering::Relaxed,
            Order::Acquire => Ordering::Acquire,
            Order::Release => Ordering::Release,
            Order::AcqRel => Ordering::AcqRel,
            Order::SeqCst => Ordering::SeqCst,
        }
    }

    /// The orderings that are one step weaker.
    pub fn weaker(self, kind: Kind) -> &'static [Order] {
        match (self, kind) {
            (Order::Relaxed, _) => &[],
            (Order::Acquire | Order::Release, _) => &[Order::Relaxed],
            (Order::AcqRel, _) => &[Order::Acquire, Order::Release],
            (Order::SeqCst, Kind::Load) => &[Order::Acquire],
            (Order::SeqCst, Kind::Store) => &[Order::Release],
            (Order::SeqCst, Kind::Both) => &[Order::AcqRel],
        }
    }
}

thread_local! {
    static SEEN: RefCell<BTreeSet<Site>> = const { RefCell::new(BTreeSet::new()) };
    static WEAKENED: RefCell<Option<(Site, Order)>> = const { RefCell::new(None) };
}

/// From now on runs in this thread use `order` at `site`.
pub fn weaken(site: Site, order: Order) {
    WEAKENED.with(|weakened| *weakened.borrow_mut() = Some((site, order)));
}

/// What models in this thread have used.
pub fn seen() -> BTreeSet<Site> {
    SEEN.with(|seen| seen.borrow().clone())
}

/// The ordering to use at this place of the sources.
pub(crate) fn order(at: &Location<'_>, kind: Kind, ordering: Ordering) -> Ordering {
    let order = Order::of(ordering);
    let Some((_, file)) = at.file().rsplit_once("/src/") else { return ordering };
    // The models' own.
    if at.file().ends_with("orderings/tests/models.rs") || order == Order::Relaxed {
        return ordering;
    }
    let site = Site { file: file.into(), line: at.line(), column: at.column(), kind, ordering: order };
    let weaker = WEAKENED.with(|weakened| {
        weakened.borrow().as_ref().filter(|(weak, _)| *weak == site).map(|(_, weaker)| *weaker)
    });
    SEEN.with(|seen| seen.borrow_mut().insert(site));
    weaker.unwrap_or(order).ordering()
}
