// SPDX-License-Identifier: Apache-2.0
//! What httpds and their stores hold over time, and whether it grows.

use super::processes::holdings;
use std::fs;
use std::path::Path;
use std::time::Duration;
use support::Httpd;

/// What is sampled of each httpd.
pub const MEASURES: [Measure; 8] = [
    Measure {
        name: "memory of all processes (PSS), kB",
        may_grow: Some((0.1, 8192.0)),
        grows_with_age: true,
    },
    Measure { name: "memory of the parent (PSS), kB", may_grow: Some((0.25, 4096.0)), grows_with_age: false },
    Measure { name: "open files of all processes", may_grow: Some((0.25, 40.0)), grows_with_age: false },
    Measure { name: "threads", may_grow: Some((0.25, 20.0)), grows_with_age: false },
    Measure { name: "children", may_grow: Some((0.25, 2.0)), grows_with_age: false },
    Measure { name: "store without archive, files", may_grow: Some((0.25, 200.0)), grows_with_age: false },
    Measure {
        name: "store without archive and logs, kB",
        may_grow: Some((0.25, 1024.0)),
        grows_with_age: false,
    },
    Measure { name: "archive, files", may_grow: None, grows_with_age: false },
];

pub struct Measure {
    pub name: &'static str,
    /// The share and the amount that the last quarter may be above the first: more than both breaks. `None`: it is to
    /// grow.
    pub may_grow: Option<(f64, f64)>,
    /// In a child, until what it keeps has its size: the last quarter is compared with the one before. It says nothing
    /// where new children take the place of others now and then.
    pub grows_with_age: bool,
}

/// Values in the order of [`MEASURES`], and when they were read.
pub struct Sample {
    pub at: Duration,
    pub values: [f64; MEASURES.len()],
}

impl Sample {
    /// `None`: processes come and go at this moment.
    pub fn of(httpd: &Httpd, at: Duration) -> Option<Sample> {
        let holdings = holdings(httpd);
        let parent = holdings.first().filter(|first| first.pid == httpd.pid())?;
        let threads: usize = holdings.iter().map(|one| threads(one.pid)).sum();
        let store = httpd.config.store();
        let (all, archive) = (Size::of(&store), Size::of(&store.join("archive")));
        let values = [
            holdings.iter().map(|one| one.proportional).sum::<u64>() as f64,
            parent.proportional as f64,
            holdings.iter().map(|one| one.files).sum::<usize>() as f64,
            threads as f64,
            holdings.len().saturating_sub(1) as f64,
            all.files.saturating_sub(archive.files) as f64,
            all.bytes.saturating_sub(archive.bytes) as f64 / 1024.0,
            archive.files as f64,
        ];
        Some(Sample { at, values })
    }
}

fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Files that fill up, for longer than a run: with the last 128 events, or 32 sets.
const LOGS: [&str; 2] = ["job.json", "issued.json"];

#[derive(Default)]
struct Size {
    files: u64,
    /// Without [`LOGS`].
    bytes: u64,
}

impl Size {
    fn of(dir: &Path) -> Size {
        let mut size = Size::default();
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            // The one with which the disk is filled is no part of the store.
            if entry.file_name() == super::stack::FILL {
                continue;
            }
            if about.is_dir() {
                let below = Size::of(&entry.path());
                size.files += below.files;
                size.bytes += below.bytes;
            } else {
                size.files += 1;
                size.bytes += if LOGS.iter().any(|log| entry.file_name() == *log) { 0 } else { about.len() };
            }
        }
        size
    }
}

/// How one measure went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Their medians.
    pub quarters: [f64; 4],
    /// An hour, by least squares.
    pub slope: f64,
}

/// `None`: there is no point.
pub fn trend(points: &[(Duration, f64)]) -> Option<Trend> {
    let quarter = |number: usize| {
        let (begin, end) = (points.len() * number / 4, points.len() * (number + 1) / 4);
        median(points.get(begin..end.max(begin + 1))?.iter().map(|(_, value)| *value).collect())
    };
    Some(Trend { quarters: [quarter(0)?, quarter(1)?, quarter(2)?, quarter(3)?], slope: slope(points) })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn slope(points: &[(Duration, f64)]) -> f64 {
    let count = points.len() as f64;
    let hours = |at: Duration| at.as_secs_f64() / 3600.0;
    let (mean_x, mean_y) =
        points.iter().fold((0.0, 0.0), |(x, y), (at, value)| (x + hours(*at) / count, y + value / count));
    let (along, square) = points.iter().fold((0.0, 0.0), |(along, square), (at, value)| {
        let x = hours(*at) - mean_x;
        (along + x * (value - mean_y), square + x * x)
    });
    if square > 0.0 { along / square } else { 0.0 }
}

impl Measure {
    /// How it has grown, first and last, if more than it may. `are_replaced`: children are, now and then.
    pub fn leak(&self, trend: &Trend, are_replaced: bool) -> Option<[f64; 2]> {
        let (share, amount) = self.may_grow.filter(|_| !(are_replaced && self.grows_with_age))?;
        let [first, _, third, last] = trend.quarters;
        let first = if self.grows_with_age { third } else { first };
        (last - first > share * first && last - first > amount).then_some([first, last])
    }
}
