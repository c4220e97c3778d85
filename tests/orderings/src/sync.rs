// SPDX-License-Identifier: Apache-2.0
//! `crate::sync` of the module, made of loom's.

pub use loom::sync::{Condvar, Mutex, MutexGuard};
use std::sync::{Arc, PoisonError};

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub mod atomic {
    use crate::sites::{Kind, order};
    use loom::sync::atomic as loom_atomic;
    use std::cell::Cell;
    use std::panic::Location;
    pub use std::sync::atomic::Ordering;

    loom::thread_local! {
        /// Whether the last access of this thread that wrote was sequentially consistent.
        static WROTE: Cell<bool> = Cell::new(false);
    }

    loom::lazy_static! {
        /// Each access is one to this, too. Of the accesses to one atomic loom remembers the last alone, so
        /// that an exchange after a load by the same thread has it try no other order with those of other
        /// threads.
        static ref TURN: loom_atomic::AtomicUsize = loom_atomic::AtomicUsize::new(0);
    }

    /// Loom takes `SeqCst` of an access for `AcqRel`, and knows fences. A sequentially consistent write that
    /// a sequentially consistent read follows in the same thread is a write, a fence and a read.
    fn before(ordering: Ordering, kind: Kind) {
        TURN.fetch_add(1, Ordering::Relaxed);
        if ordering == Ordering::SeqCst {
            if kind != Kind::Store && WROTE.with(Cell::get) {
                loom_atomic::fence(Ordering::SeqCst);
            }
            if kind != Kind::Load {
                WROTE.with(|wrote| wrote.set(true));
            }
        }
    }

    macro_rules! atomic {
        ($name:ident, $of:ty, { $($rmw:ident),* }) => {
            #[derive(Debug, Default)]
            pub struct $name(loom_atomic::$name);

            impl $name {
                pub fn new(value: $of) -> Self {
                    $name(loom_atomic::$name::new(value))
                }

                #[track_caller]
                pub fn load(&self, ordering: Ordering) -> $of {
                    let ordering = order(Location::caller(), Kind::Load, ordering);
                    before(ordering, Kind::Load);
                    self.0.load(if ordering == Ordering::SeqCst { Ordering::Acquire } else { ordering })
                }

                #[track_caller]
                pub fn store(&self, value: $of, ordering: Ordering) {
                    let ordering = order(Location::caller(), Kind::Store, ordering);
                    before(ordering, Kind::Store);
                    self.0.store(value, if ordering == Ordering::SeqCst { Ordering::Release } else { ordering });
                }

                #[track_caller]
                pub fn compare_exchange(
                    &self,
                    current: $of,
                    new: $of,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$of, $of> {
                    let success = order(Location::caller(), Kind::Both, success);
                    before(success, Kind::Both);
                    self.0.compare_exchange(current, new, success, failure)
                }

                $(#[track_caller]
                pub fn $rmw(&self, value: $of, ordering: Ordering) -> $of {
                    let ordering = order(Location::caller(), Kind::Both, ordering);
                    before(ordering, Kind::Both);
                    self.0.$rmw(value, if ordering == Ordering::SeqCst { Ordering::AcqRel } else { ordering })
                })*
            }
        };
    }

    atomic!(AtomicBool, bool, { swap });
    atomic!(AtomicU64, u64, { swap, fetch_add, fetch_sub, fetch_max, fetch_or, fetch_and });
    atomic!(AtomicU32, u32, { swap, fetch_add });
    atomic!(AtomicUsize, usize, { swap, fetch_add, fetch_sub });
}

/// As std has it: who sees it filled sees what is in there.
pub struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    is_filled: loom::sync::atomic::AtomicBool,
    filling: Mutex<()>,
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        OnceLock { value: std::sync::OnceLock::new(), is_filled: Default::default(), filling: Mutex::new(()) }
    }
}

impl<T> OnceLock<T> {
    pub fn get(&self) -> Option<&T> {
        let is_filled = self.is_filled.load(std::sync::atomic::Ordering::Acquire);
        self.value.get().filter(|_| is_filled)
    }

    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        value.map_or(Ok(()), Err)
    }

    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if self.get().is_none() {
            let _filling = lock(&self.filling);
            if self.value.get().is_none() {
                let value = make();
                let _ = self.value.set(value);
                self.is_filled.store(true, std::sync::atomic::Ordering::Release);
            }
        }
        self.value.get().expect("filled")
    }
}

/// As arc-swap has it: a load acquires what the store of the value has released.
pub struct ArcSwapOption<T> {
    /// All that were ever in there, and which of them is now: 0 for none.
    kept: std::sync::Mutex<Vec<Arc<T>>>,
    current: loom::sync::atomic::AtomicUsize,
}

impl<T> Default for ArcSwapOption<T> {
    fn default() -> Self {
        ArcSwapOption { kept: Default::default(), current: Default::default() }
    }
}

impl<T> ArcSwapOption<T> {
    pub fn load(&self) -> Guard<Option<Arc<T>>> {
        let place = self.current.load(std::sync::atomic::Ordering::Acquire);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Guard(place.checked_sub(1).and_then(|place| kept.get(place).cloned()))
    }

    pub fn store(&self, value: Option<Arc<T>>) {
        let place = value.map_or(0, |value| {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(value);
            kept.len()
        });
        self.current.swap(place, std::sync::atomic::Ordering::AcqRel);
    }
}

pub struct Guard<T>(T);

impl<T> Guard<T> {
    pub fn from_inner(value: T) -> Self {
        Guard(value)
    }
}

impl<T> std::ops::Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
