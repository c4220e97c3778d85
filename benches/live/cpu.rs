// SPDX-License-Identifier: Apache-2.0
//! Processor time of httpd's children.

use std::fs;
use std::path::Path;
use std::time::Duration;
use support::{Httpd, process};

/// User and system time, to the nanosecond: of the threads that there are now (schedstat counts by thread).
pub fn time(httpd: &Httpd) -> Duration {
    let threads = |pid: u32| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let spent = |path: &Path| {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    let all = process::children(httpd.pid()).into_iter().flat_map(threads);
    Duration::from_nanos(all.filter_map(|thread| spent(&thread.path())).sum())
}
