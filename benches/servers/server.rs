// SPDX-License-Identifier: Apache-2.0
//! One httpd under the clock: from exec to its first answer, and how much memory its processes share and own.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use support::process::{self, Process, Start, args};
use support::{apache, http};

/// More than ten thousand domains need.
const PATIENCE: Duration = Duration::from_secs(600);

/// An httpd that has answered. It ends with this value.
pub struct Server {
    process: Process,
    port: u16,
    children: usize,
    /// Since exec.
    pub first_answer: Duration,
    /// What the parent had used until then.
    pub cpu: Duration,
}

/// In megabytes.
pub struct Memory {
    pub total: f64,
    pub parent: f64,
}

impl Server {
    /// `children`: how many processes it is configured to begin with.
    pub fn start(config: &Path, port: u16, children: usize) -> Server {
        let log = config.with_extension("stderr");
        let begin = Instant::now();
        let mut process = Process::spawn(Start {
            program: &apache::find().unwrap().program,
            args: args([&"-DFOREGROUND", &"-f", &config]),
            envs: Vec::new(),
            log: &log,
            stop_signal: "TERM",
            user: &[],
        });
        // A connection that is made before anyone accepts waits for its answer; one that is refused or reset
        // tells that httpd has not yet come so far.
        while http::get(port, "main.test", "/").is_err() {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            assert!(process.exited().is_none(), "httpd ended: {}", said());
            assert!(begin.elapsed() < PATIENCE, "no answer of httpd: {}", said());
            thread::sleep(Duration::from_millis(1));
        }
        let first_answer = begin.elapsed();
        let cpu = cpu_time(process.pid());
        Server { process, port, children, first_answer, cpu }
    }

    pub fn get(&self, path: &str) -> http::Response {
        http::get(self.port, "main.test", path).unwrap()
    }

    /// How long an answer takes, to its last byte.
    pub fn time(&self, path: &str) -> Duration {
        let request = format!("GET {path} HTTP/1.1\r\nHost: main.test\r\nConnection: close\r\n\r\n");
        let mut answer = Vec::with_capacity(32 << 20);
        let begin = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_end(&mut answer).unwrap();
        let took = begin.elapsed();
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{path}");
        took
    }

    /// The parent's and the children's ids, once all children are there.
    pub fn processes(&self) -> Vec<u32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut all = process::children(self.process.pid());
            if all.len() == self.children {
                all.push(self.process.pid());
                return all;
            }
            assert!(Instant::now() < deadline, "{} children", all.len());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Once all children are there and the sum has stopped changing.
    pub fn pss(&self) -> Memory {
        let deadline = Instant::now() + PATIENCE;
        let (mut last, mut equal) = (0, 0);
        while equal < 5 {
            assert!(Instant::now() < deadline, "httpd does not settle");
            thread::sleep(Duration::from_millis(100));
            let children = process::children(self.process.pid());
            let all = children.iter().chain([&self.process.pid()]).filter_map(|pid| pss_kb(*pid)).sum();
            let is_equal = children.len() == self.children && u64::abs_diff(all, last) < 64;
            equal = if is_equal { equal + 1 } else { 0 };
            last = all;
        }
        let parent = pss_kb(self.process.pid()).unwrap();
        Memory { total: last as f64 / 1024.0, parent: parent as f64 / 1024.0 }
    }
}

/// User and system time of a process (proc(5)); the kernel counts hundredths of a second.
pub fn cpu_time(pid: u32) -> Duration {
    ticks(pid, 2)
}

/// The same with that of the children it has waited for.
pub fn cpu_time_with_children(pid: u32) -> Duration {
    ticks(pid, 4)
}

/// The first of utime, stime, cutime and cstime.
fn ticks(pid: u32, count: usize) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..11 + count].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

pub fn pss_kb(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// What else the machine had to do in the last minute.
pub fn load() -> String {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|t| Some(t.split_once(' ')?.0.to_string()))
        .unwrap_or_default()
}
