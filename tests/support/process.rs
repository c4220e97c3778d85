// SPDX-License-Identifier: Apache-2.0
//! A child process that ends with the test, even where the test itself is killed.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use super::sanitizer;

pub struct Process {
    child: Child,
    stop_signal: &'static str,
}

/// How a process is to be started.
pub struct Start<'a> {
    pub program: &'a Path,
    pub args: Vec<OsString>,
    pub envs: Vec<(String, String)>,
    /// Collects stdout and stderr.
    pub log: &'a Path,
    /// What ends it in an orderly way: sent by [`Process::stop`], and by the kernel when the test dies.
    pub stop_signal: &'static str,
    /// Options of setpriv(1) that change the user.
    pub user: &'a [OsString],
}

impl Process {
    /// Its own process group, because httpd sends its signals to the whole group. setpriv replaces itself, so
    /// the process id is that of the program.
    pub fn spawn(start: Start) -> Process {
        let log = File::options().create(true).append(true).open(start.log).unwrap();
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig").arg(start.stop_signal).args(start.user).arg("--");
        command.arg(start.program).args(start.args);
        command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).envs(start.envs);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let child = command.spawn().expect("setpriv (util-linux) starts");
        Process { child, stop_signal: start.stop_signal }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Ends it and waits; after ten seconds the whole group is killed.
    pub fn stop(&mut self) {
        if self.exited().is_some() {
            return;
        }
        signal(self.pid(), self.stop_signal);
        let deadline = Instant::now() + Duration::from_secs(10) * sanitizer::slowness();
        while self.exited().is_none() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        self.kill_group();
    }

    /// kill -9 of the process and all its children.
    pub fn kill_group(&mut self) {
        signal_group(self.pid(), "KILL");
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends the signal to one process, by its id.
pub fn signal(pid: u32, name: &str) {
    send(name, &pid.to_string());
}

/// To a process and all its children.
pub fn signal_group(pid: u32, name: &str) {
    send(name, &format!("-{pid}"));
}

fn send(name: &str, whom: &str) {
    let script = r#"kill -s "$1" -- "$2""#;
    let _ = Command::new("sh").args(["-c", script, "sh", name, whom]).stderr(Stdio::null()).status();
}

/// The children of a process that are alive. A zombie is not.
pub fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|&pid| parent_of(pid) == Some(parent)).collect()
}

/// The pipes that a process has open, by what the kernel names them.
pub fn pipes(pid: u32) -> BTreeSet<PathBuf> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = open.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("pipe:")).collect()
}

pub fn is_alive(pid: u32) -> bool {
    parent_of(pid).is_some()
}

/// proc(5): `PID (NAME) STATE PPID …`, and the name may hold spaces and parentheses.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then(|| fields.next()?.parse().ok())?
}

/// Arguments of mixed kinds as one list.
pub fn args<const N: usize>(list: [&dyn AsRef<OsStr>; N]) -> Vec<OsString> {
    list.iter().map(|arg| arg.as_ref().to_os_string()).collect()
}
