// SPDX-License-Identifier: Apache-2.0
//! A library preloaded into httpd (`preload.c`) that records which pointers into the module the parent passes
//! to libraries that outlive the module.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use super::{Config, Lab, root};

pub struct Preload {
    library: PathBuf,
    log: PathBuf,
}

impl Preload {
    pub fn build(lab: &Lab) -> Preload {
        let library = library(lab, "preload.c", "preload.so");
        Preload { library, log: lab.path("preload.notes") }
    }

    pub fn before(&self, config: Config) -> Config {
        let text = |path: &Path| path.display().to_string();
        config.env("LD_PRELOAD", &text(&self.library)).env("PRELOAD_LOG", &text(&self.log))
    }

    /// This library is never unloaded.
    pub fn pin(&self, config: Config, library: &Path) -> Config {
        self.before(config).env("PRELOAD_PIN", &library.display().to_string())
    }

    /// The module's clock is ahead.
    pub fn ahead(&self, config: Config, by: Duration) -> Config {
        self.before(config).env("PRELOAD_AHEAD", &by.as_secs().to_string())
    }

    /// No name lookup of a child ever ends.
    pub fn hang_lookups(&self, config: Config) -> Config {
        self.before(config).env("PRELOAD_HANG", "yes")
    }

    /// The system refuses files in memory.
    pub fn refuse_memory_files(&self, config: Config) -> Config {
        self.before(config).env("PRELOAD_NO_MEMORY_FILES", "yes")
    }

    /// The system refuses threads to the module in children, as long as there is this file.
    pub fn refuse_threads(&self, config: Config, file: &Path) -> Config {
        self.before(config).env("PRELOAD_NO_THREADS", &file.display().to_string())
    }

    /// Each pointer, with the functions of the module on the way to who was handed it.
    pub fn notes(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).expect("the library was loaded");
        text.lines().map(explain).collect()
    }
}

/// Compiles a library to preload from a source of `tests/support`.
pub fn library(lab: &Lab, source: &str, name: &str) -> PathBuf {
    let source = root().join("tests/support").join(source);
    let library = lab.path(name);
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .expect("a C compiler, which Rust has for a linker");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

/// `WHAT FILE+OFFSET …`, innermost first.
fn explain(line: &str) -> String {
    let mut words = line.split(' ');
    let what = words.next().unwrap_or_default();
    let ours = words.filter(|frame| frame.contains("/mod_md.so")).filter_map(|frame| frame.rsplit_once('+'));
    let functions: Vec<String> = ours.map(|(file, offset)| function(file, offset)).collect();
    format!("{what} by\n    {}", functions.join("\n    "))
}

/// By addr2line(1), where it is installed.
fn function(file: &str, offset: &str) -> String {
    let output = Command::new("addr2line").args(["-Cfpse", file, offset]).output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| format!("{file}+{offset}"))
}
