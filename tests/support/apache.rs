// SPDX-License-Identifier: Apache-2.0
//! The location of httpd on this machine, and its built-in modules.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

pub struct Apache {
    pub program: PathBuf,
    pub modules: PathBuf,
    /// Source names (`mod_watchdog.c`) of the modules that need no `LoadModule`.
    built_in: Vec<String>,
}

/// Asks `apxs`. `None`: there is no httpd with its development files.
pub fn find() -> Option<&'static Apache> {
    static FOUND: OnceLock<Option<Apache>> = OnceLock::new();
    FOUND.get_or_init(look).as_ref()
}

fn look() -> Option<Apache> {
    let ask = |what: &str| ["apxs", "apxs2"].iter().find_map(|apxs| output(apxs, &["-q", what]));
    let program = Path::new(&ask("SBINDIR")?).join(ask("PROGNAME")?);
    let built_in = output(program.to_str()?, &["-l"])?.lines().map(|line| line.trim().to_string()).collect();
    Some(Apache { program, modules: PathBuf::from(ask("LIBEXECDIR")?), built_in })
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

impl Apache {
    /// The `LoadModule` line of `mod_NAME`; empty where it is built in.
    pub fn load(&self, name: &str) -> String {
        if self.built_in.contains(&format!("mod_{name}.c")) {
            return String::new();
        }
        format!("LoadModule {name}_module {}\n", self.modules.join(format!("mod_{name}.so")).display())
    }
}
