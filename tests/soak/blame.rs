// SPDX-License-Identifier: Apache-2.0
//! Which fault an event belongs to.

use crate::run::blame::*;
use crate::run::plan::Fault;
use std::time::Duration;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn windows() -> Windows {
    let mut windows = Windows::new(seconds(5));
    windows.begin(Fault::CaHangs, seconds(100));
    windows.end(Fault::CaHangs, seconds(120));
    windows.begin(Fault::Restart, seconds(160));
    windows.end(Fault::Restart, seconds(160));
    windows.begin(Fault::DiskFull, seconds(200));
    windows
}

#[test]
fn a_fault_is_blamed_from_its_begin_until_a_moment_after_its_end() {
    let windows = windows();
    let blamed = |at| windows.blamed(seconds(at), seconds(at));
    assert_eq!(
        [99, 100, 125, 126, 159, 160, 165, 166, 200, 9999].map(blamed),
        [
            None,
            Some(Fault::CaHangs),
            Some(Fault::CaHangs),
            None,
            None,
            Some(Fault::Restart),
            Some(Fault::Restart),
            None,
            Some(Fault::DiskFull),
            Some(Fault::DiskFull)
        ]
    );
}

#[test]
fn what_takes_long_is_blamed_on_the_last_fault_meanwhile() {
    let windows = windows();
    assert_eq!(windows.blamed(seconds(90), seconds(170)), Some(Fault::Restart));
    assert_eq!(windows.blamed(seconds(90), seconds(110)), Some(Fault::CaHangs));
    assert_eq!(windows.blamed(seconds(130), seconds(150)), None);
}

#[test]
fn a_restart_excuses_no_late_renewal() {
    let windows = windows();
    assert!(windows.stopped_renewals(seconds(119), seconds(150)));
    assert!(!windows.stopped_renewals(seconds(121), seconds(190)));
    assert!(windows.stopped_renewals(seconds(121), seconds(201)));
    assert_eq!(windows.count(Fault::CaHangs), 1);
    assert_eq!(windows.count(Fault::EngineDies), 0);
}
