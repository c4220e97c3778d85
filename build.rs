// SPDX-License-Identifier: Apache-2.0
//! Sets `mod_md::BUILD`: from which sources, for which httpd and by which compiler the module is built.
//!
//! The facts about httpd come from apache-sys, which has read its headers (`DEP_HTTPD_…`). Without the
//! feature `httpd` there are none: the build needs no httpd, no libclang and no C compiler.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MOD_MD_BUILD");
    let profile = profile().or_else(|| env::var("PROFILE").ok()).unwrap_or_default();
    let named = env::var("MOD_MD_BUILD").ok().filter(|name| !name.trim().is_empty());
    // Only in releases: otherwise each commit would recompile everything during development.
    let commit = || (profile == "release").then(commit).flatten();
    let name = named.or_else(commit);
    let name = name.map_or(profile.clone(), |name| format!("{profile} {name}"));
    let httpd = env::var("DEP_HTTPD_VERSION").ok().zip(env::var("DEP_HTTPD_MMN").ok());
    let parts = [
        Some(name),
        httpd.map(|(version, mmn)| format!("httpd {version} ({mmn})")),
        env::var("DEP_HTTPD_OPENSSL").ok().and_then(|text| words(&text, 2)),
        output(Command::new(env::var_os("RUSTC").unwrap_or("rustc".into())).arg("--version"))
            .and_then(|text| words(&text, 2)),
    ];
    let build: Vec<String> = parts.into_iter().flatten().collect();
    // It is printed as a string of JSON.
    let build =
        build.join(", ").replace(|c: char| !c.is_ascii_graphic() && c != ' ' || matches!(c, '"' | '\\'), "?");
    println!("cargo:rustc-env=MOD_MD_BUILD={build}");
}

/// The name of the profile, which is that of the folder it is built in. `PROFILE` is `release` for all that
/// inherit from that one.
fn profile() -> Option<String> {
    let out = PathBuf::from(env::var_os("OUT_DIR")?);
    Some(out.ancestors().nth(3)?.file_name()?.to_str()?.to_string())
}

/// The commit that is checked out, with a plus where the sources are not as they are there; `None`: these
/// sources are in no repository of their own.
fn commit() -> Option<String> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    let git = |args: &[&str]| output(Command::new("git").current_dir(&root).args(args));
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"])?;
    for name in ["HEAD", &branch, "packed-refs"] {
        let file = root.join(git(&["rev-parse", "--git-path", name])?);
        // A file that is missing would have this run each time.
        if file.exists() {
            println!("cargo:rerun-if-changed={}", file.display());
        }
    }
    for sources in ["src", "apache-sys", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={sources}");
    }
    let is_changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(git(&["rev-parse", "--short=12", "HEAD"])? + if is_changed { "+" } else { "" })
}

fn words(text: &str, count: usize) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().take(count).collect();
    (words.len() == count).then(|| words.join(" "))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
}
