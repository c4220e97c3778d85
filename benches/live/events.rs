// SPDX-License-Identifier: Apache-2.0
//! What happens to httpd while clients come: restarts, other module files, and children that are killed.

use super::PATIENCE;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::{Httpd, module, process, wait_for};

/// How long children of the generation before may take for the connections they have.
const LEAVE: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Restart,
    /// Another file at the path of the module, as a package update puts it there, and a graceful restart.
    Upgrade,
    /// The C module, by graceful restart.
    ToC,
    /// This module at another path, by graceful restart.
    Back,
    KillChild,
}

/// In this order, over and over.
const CYCLE: [Event; 8] = [
    Event::Restart,
    Event::KillChild,
    Event::Upgrade,
    Event::KillChild,
    Event::Restart,
    Event::ToC,
    Event::Restart,
    Event::Back,
];

pub struct Events {
    count: usize,
    c_module: Option<PathBuf>,
    is_c: bool,
    /// Children that were killed here.
    killed: HashSet<u32>,
    /// Children that had the C module.
    had_c: HashSet<u32>,
}

impl Events {
    pub fn new() -> Events {
        let (killed, had_c) = (HashSet::new(), HashSet::new());
        Events { count: 0, c_module: module::c_module(), is_c: false, killed, had_c }
    }

    /// Whether the C module is in use.
    pub fn is_c(&self) -> bool {
        self.is_c
    }

    /// The next one; without the C module on this machine a restart in its place.
    pub fn next(&mut self) -> Event {
        let event = CYCLE[self.count % CYCLE.len()];
        self.count += 1;
        if self.c_module.is_none() && event == Event::ToC { Event::Restart } else { event }
    }

    /// Has it happen; returns once the new configuration is in force. `Err`: what stayed of the old one.
    pub fn happen(&mut self, event: Event, httpd: &Httpd) -> Result<(), String> {
        let loaded = httpd.config.server_root().join("mod_md.so");
        match event {
            Event::KillChild => {
                let children = process::children(httpd.pid());
                if let Some(&child) = children.get(self.count % children.len().max(1)) {
                    self.killed.insert(child);
                    process::signal(child, "KILL");
                }
                return Ok(());
            }
            Event::Restart => {}
            Event::Upgrade => {
                let new = loaded.with_extension("new");
                fs::copy(module::under_test(), &new).unwrap();
                fs::rename(&new, &loaded).unwrap();
            }
            Event::ToC => {
                // What is live only moves to where the C module finds it.
                self.restart(httpd)?;
                let file = self.c_module.clone().unwrap_or(loaded);
                load(httpd, &file);
                self.is_c = true;
            }
            Event::Back => {
                self.had_c.extend(process::children(httpd.pid()));
                let file = httpd.config.server_root().join(format!("mod_md-{}.so", self.count));
                fs::copy(module::under_test(), &file).unwrap();
                load(httpd, &file);
                self.is_c = false;
            }
        }
        self.restart(httpd)
    }

    fn restart(&mut self, httpd: &Httpd) -> Result<(), String> {
        let old = process::children(httpd.pid());
        if self.is_c {
            self.had_c.extend(&old);
        }
        let before = restarts(httpd);
        process::signal(httpd.pid(), "USR1");
        wait_for("the next generation", PATIENCE, || {
            assert!(process::is_alive(httpd.pid()), "httpd ended: {}", httpd.said());
            (restarts(httpd) > before).then_some(())
        });
        let mut left = old;
        let end = std::time::Instant::now() + LEAVE;
        while std::time::Instant::now() < end && !left.is_empty() {
            std::thread::sleep(Duration::from_millis(50));
            left.retain(|&pid| process::is_alive(pid));
        }
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("children of the generation before go on: {left:?}"))
        }
    }

    /// Children that a signal ended which nobody here has sent: ours, and those with the C module.
    pub fn crashes(&self, httpd: &Httpd) -> [Vec<String>; 2] {
        let pid = |line: &str| line.split_once("child pid ")?.1.split(' ').next()?.parse::<u32>().ok();
        let ended = httpd.logged("exit signal").into_iter();
        let crashed = ended.filter(|line| !pid(line).is_some_and(|pid| self.killed.contains(&pid)));
        let (c, ours) = crashed.partition(|line| pid(line).is_some_and(|pid| self.had_c.contains(&pid)));
        [ours, c]
    }
}

/// How often a configuration was loaded.
pub fn restarts(httpd: &Httpd) -> usize {
    httpd.logged("resuming normal operations").len()
}

/// Puts the file into the `LoadModule` line of the next restart.
fn load(httpd: &Httpd, file: &Path) {
    let conf = httpd.config.server_root().join("httpd.conf");
    let text = fs::read_to_string(&conf).unwrap();
    let line = |line: &str| match line.starts_with("LoadModule md_module ") {
        true => format!("LoadModule md_module {}\n", file.display()),
        false => format!("{line}\n"),
    };
    fs::write(&conf, text.lines().map(line).collect::<String>()).unwrap();
}
