// SPDX-License-Identifier: Apache-2.0
//! Calls of the built command.

use serde_json::Value;
use std::process::{Command, Stdio};

/// The outcome of a call.
pub struct Called {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Called {
    /// The document on standard output.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }
}

/// `a2md` with these arguments, and nothing of the caller's environment that steers it.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_a2md"));
    command.args(arguments).stdin(Stdio::null()).env_remove("MD_STORE").env_remove("MD_HTTPD");
    command
}

/// Calls `a2md` with these arguments.
pub fn a2md(arguments: &[&str]) -> Called {
    called(command(arguments))
}

pub fn called(mut command: Command) -> Called {
    let output = command.output().unwrap();
    Called {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
