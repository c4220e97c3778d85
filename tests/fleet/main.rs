// SPDX-License-Identifier: Apache-2.0
//! Several real httpds that share certificates through a real engine, with a real CA that looks for its answers at
//! another node than the one that renews. Every test runs with etcd and with Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod engine;
mod engines;
mod failures;
mod hand;
mod hostile;
mod issuing;
mod joining;
mod nodes;
mod operating;

/// Tests that run with each engine.
#[macro_export]
macro_rules! on_both_engines {
    ($($(#[$attribute:meta])* $name:ident),+ $(,)?) => {
        mod etcd {
            $(
                $(#[$attribute])*
                #[test]
                fn $name() {
                    let needs = [support::Need::Program("etcd"), support::Need::Root];
                    if let Some(lab) = support::open_lab!(needs[0], needs[1]) {
                        super::$name(&lab, &mut $crate::engine::Engine::etcd(&lab));
                    }
                }
            )+
        }
        mod redis {
            $(
                $(#[$attribute])*
                #[test]
                fn $name() {
                    let needs = [support::Need::Program("redis-server"), support::Need::Root];
                    if let Some(lab) = support::open_lab!(needs[0], needs[1]) {
                        super::$name(&lab, &mut $crate::engine::Engine::redis(&lab));
                    }
                }
            )+
        }
    };
}
