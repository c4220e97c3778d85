// SPDX-License-Identifier: Apache-2.0
//! A network for one test: its own loopback device, with every port free. httpd and DNS are at 127.0.0.1, the
//! CA is at 127.0.0.2.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use support::lab::{self, lab_dir};
use support::process::Process;
use support::{Lab, SOON, http, pebble, wait_for};

/// What `setup.sh` unpacked or installed. `None`: it is not there.
pub fn program(below: &str) -> Option<PathBuf> {
    Some(lab_dir().join("interop").join(below)).filter(|path| path.exists())
}

/// DNS for the machine: 127.0.0.1 for every name. It is told other records at `management`.
pub struct Dns {
    pub management: u16,
    _process: Process,
}

impl Dns {
    /// The name leads to this address, at which nobody answers.
    pub fn lead_astray(&self, name: &str) {
        self.tell("/add-a", &serde_json::json!({"host": name, "addresses": ["127.0.0.9"]}));
    }

    pub fn lead_home(&self, name: &str) {
        self.tell("/clear-a", &serde_json::json!({"host": name}));
    }

    fn tell(&self, path: &str, body: &serde_json::Value) {
        let answer = http::post(self.management, "localhost", path, &body.to_string()).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// Runs the test where no one else is, once `programs` are there. Otherwise it is skipped, and the reason is
/// printed.
pub fn alone(lab: Option<Lab>, programs: &[&str], test: impl FnOnce(Lab, Dns) + Send + 'static) {
    let Some(mut lab) = lab else { return };
    let missing = programs.iter().find(|name| program(name).is_none());
    if let Some(missing) = missing {
        return lab::skip(
            &lab.name,
            &format!("no {missing} below target/lab/interop: run `make test-interop`"),
        );
    }
    // Namespaces are those of a thread and of what it starts.
    let run = move || {
        if let Err(reason) = leave(&lab.dir) {
            return lab::skip(&lab.name, &reason);
        }
        (lab.http, lab.https) = (80, 443);
        let management = lab.port();
        let dns = Dns { management, _process: pebble::start_dns(&lab.dir, 53, management) };
        wait_for("the management of DNS", SOON, || http::get(management, "localhost", "/").ok());
        test(lab, dns);
    };
    if let Err(panic) = thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Out of the machine's network, to where DNS is at 127.0.0.1 and the CA at 127.0.0.2.
fn leave(dir: &Path) -> Result<(), String> {
    let refused = |what: String| format!("this machine allows no network of a test's own: {what}");
    let written = |name: &str, text: &str| {
        let file = dir.join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).map_err(|e| refused(e.to_string()))?;
    let resolv = written("resolv.conf", "nameserver 127.0.0.1\n");
    let hosts = written("hosts", "127.0.0.1 localhost\n127.0.0.2 ca.test\n");
    let commands: [&[&str]; 4] = [
        &["ip", "link", "set", "lo", "up"],
        &["mount", "--make-rprivate", "/"],
        &["mount", "--bind", &resolv, "/etc/resolv.conf"],
        &["mount", "--bind", &hosts, "/etc/hosts"],
    ];
    for words in commands {
        let output = Command::new(words[0]).args(&words[1..]).output();
        let output = output.map_err(|e| refused(format!("{}: {e}", words[0])))?;
        if !output.status.success() {
            return Err(refused(String::from_utf8_lossy(&output.stderr).trim().to_string()));
        }
    }
    Ok(())
}
