// SPDX-License-Identifier: Apache-2.0
//! A network for one test: its own loopback device, on which every port is free, and a resolver of its own.

use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::process::Command;
use std::thread;
use support::{Lab, lab};

/// Where the resolver of resolv.conf is.
pub const RESOLVER: &str = "127.0.0.53:53";

/// Nobody answers there, as a router says.
pub const UNREACHABLE: [&str; 2] = ["192.0.2.0/24", "2001:db8::/32"];

/// Runs the test where no one else is, with ports 80 and 443 for httpd. Namespaces are those of a thread and of
/// what it starts.
pub fn alone(lab: Option<Lab>, test: impl FnOnce(Lab) + Send + 'static) {
    let Some(mut lab) = lab else { return };
    let run = move || {
        if let Err(reason) = leave(&lab) {
            return lab::skip(
                &lab.name,
                &format!("this machine allows no network of a test's own: {reason}"),
            );
        }
        (lab.http, lab.https) = (80, 443);
        test(lab);
    };
    if let Err(panic) = thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

fn leave(lab: &Lab) -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).map_err(|error| error.to_string())?;
    let file = lab.path("resolv.conf");
    fs::write(&file, format!("nameserver {}\n", RESOLVER.split(':').next().unwrap())).unwrap();
    let file = file.display().to_string();
    let [v4, v6] = UNREACHABLE;
    for words in [
        &["ip", "link", "set", "lo", "up"][..],
        &["ip", "route", "add", "unreachable", v4],
        &["ip", "-6", "route", "add", "unreachable", v6],
        &["mount", "--make-rprivate", "/"],
        &["mount", "--bind", &file, "/etc/resolv.conf"],
    ] {
        let output = Command::new(words[0]).args(&words[1..]).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_string());
        }
    }
    Ok(())
}
