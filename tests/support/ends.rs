// SPDX-License-Identifier: Apache-2.0
//! A server whose renewals are always in progress, so that its children end in the middle of them, and the
//! traces of these ends.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::process::{children, is_alive};
use super::{Authority, Config, Httpd, Lab, RaisedAtEnd, SOON, http, wait_for};

/// How the children of this server are made and end.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub mpm: &'static str,
    pub live: bool,
    /// `MaxConnectionsPerChild 5`, and clients that use them up.
    pub few_connections: bool,
}

/// What was seen of ends.
#[derive(Debug, Default)]
pub struct Ends {
    /// Lines of httpd about children that crashed, or that it had to urge to end.
    pub crashes: Vec<String>,
    /// Children that went on long after their generation.
    pub left_over: usize,
    /// The longest that a child went on once the next generation had answered.
    pub slowest_child: Duration,
    /// What each stop took.
    pub stops: Vec<Duration>,
}

/// A child that goes on for longer than that has not been told of its end, or does not care. One that was
/// told ends its connections.
const BOUND: Duration = Duration::from_secs(10);

/// `domains` with RSA keys, all of which are to be renewed.
pub fn config(lab: &Lab, authority: &Authority, way: Way, domains: usize) -> Config {
    let mut config = Config::with_ca(lab, authority)
        .mpm(way.mpm)
        .line("LogLevel notice md:info\nMDPrivateKeys RSA 3072\nMDRetryDelay 1s\nMDCheckInterval 1s")
        .line("KeepAlive off\nLimitRequestLine 500\nGracefulShutdownTimeout 5");
    if way.few_connections {
        config = config.line("MaxConnectionsPerChild 5");
    }
    if !way.live {
        config = config.at_restarts();
    }
    for n in 0..domains {
        let name = format!("d{n}.test");
        config = config.line(&format!("MDomain {name}")).site(&name, &[]);
    }
    config
}

impl Ends {
    fn look(&mut self, httpd: &Httpd) {
        let log = httpd.log();
        let tells = |line: &&str| {
            line.contains("exit signal")
                || line.contains("still did not exit")
                || line.contains("could not make child process")
        };
        self.crashes = log.lines().filter(tells).map(str::to_string).collect();
    }

    /// Graceful restarts in quick succession.
    pub fn restart(&mut self, httpd: &mut Httpd, rounds: usize) {
        let mut old: Vec<(u32, Instant)> = Vec::new();
        for round in 0..rounds {
            forget_certificates(&httpd.config.store(), round);
            let before = children(httpd.pid());
            httpd.next_generation();
            let now = Instant::now();
            let new = before.into_iter().filter(|pid| !old.iter().any(|(known, _)| known == pid));
            old.extend(new.collect::<Vec<_>>().into_iter().map(|pid| (pid, now)));
            // At other moments of key generation, signatures and waits each time.
            self.watch(&mut old, now + Duration::from_millis(round as u64 * 37 % 400), false);
        }
        self.watch(&mut old, Instant::now() + BOUND, true);
        self.left_over += old.len();
        self.look(httpd);
    }

    fn watch(&mut self, old: &mut Vec<(u32, Instant)>, until: Instant, is_last: bool) {
        loop {
            self.reap(old);
            if Instant::now() >= until || is_last && old.is_empty() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn reap(&mut self, old: &mut Vec<(u32, Instant)>) {
        old.retain(|(pid, since)| {
            let lives = is_alive(*pid);
            if !lives {
                self.slowest_child = self.slowest_child.max(since.elapsed());
            }
            lives
        });
    }

    /// Starts and stops in the middle of renewals.
    pub fn stop(&mut self, config: &Config, rounds: usize) {
        for round in 0..rounds {
            let httpd = config.clone().start();
            let staging = config.store().join("staging");
            wait_for("renewals", SOON, || {
                entries(&staging).iter().any(|dir| dir.join("job.json").exists()).then_some(())
            });
            thread::sleep(Duration::from_millis(round as u64 * 37 % 500));
            let pids = children(httpd.pid());
            let begin = Instant::now();
            let log = config.server_root().join("error.log");
            httpd.stop();
            self.stops.push(begin.elapsed());
            self.left_over += pids.into_iter().filter(|pid| is_alive(*pid)).count();
            let text = fs::read_to_string(log).unwrap_or_default();
            self.crashes.extend(
                text.lines()
                    .filter(|line| line.contains("exit signal") || line.contains("still did not exit"))
                    .map(str::to_string),
            );
            config.forget();
        }
    }
}

/// While clients come and go.
pub fn visited<R>(lab: &Lab, domains: usize, act: impl FnOnce() -> R) -> R {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _is_over = RaisedAtEnd(&is_over);
        for client in 0..2 {
            let is_over = &is_over;
            scope.spawn(move || {
                for n in client.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("d{}.test", n % domains);
                    let _ = http::https_get(lab.https, &name, "/index.html");
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
        act()
    })
}

fn entries(dir: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Once in a while nothing has been renewed.
fn forget_certificates(store: &Path, round: usize) {
    if round % 8 == 7 {
        for group in ["domains", "staging"] {
            for dir in entries(&store.join(group)) {
                let _ = fs::remove_dir_all(dir);
            }
        }
    }
}
