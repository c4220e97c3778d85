// SPDX-License-Identifier: Apache-2.0
//! The module's own files on loom's atomics. The modules stand where the files import them from; what they
//! need beside that is reduced to what they use of it.

pub mod sites;
pub mod sync;

#[path = "../../../src/counters.rs"]
pub mod counters;

#[path = "../../../src/time"]
pub mod time {
    pub mod stop;
    pub use stop::{AtWork, StopFlag, Stopped};

    /// As that of the module, as far as the roster uses it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Timestamp(pub i64);

    impl Timestamp {
        pub const fn unix_millis(self) -> i64 {
            self.0
        }
    }
}

#[path = "../../../src/live"]
pub mod live {
    pub mod first_read;
    pub mod roster;
    pub mod signals;
}

#[path = "../../../src/managed"]
pub mod managed {
    pub mod live_set {
        /// What a model tells sets apart by.
        pub struct LiveSet {
            pub since: u64,
        }
    }
    pub mod slot;
}

pub mod log {
    pub fn plain(error: &dyn std::fmt::Display) -> String {
        error.to_string()
    }
}

#[macro_export]
macro_rules! log {
    ($level:ident, status = $status:expr, $($text:tt)*) => {{ let _ = ($status, format!($($text)*)); }};
}
