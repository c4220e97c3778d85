// SPDX-License-Identifier: Apache-2.0
//! The shim does not compile with headers that differ from the bindings.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

const LAYOUT: &str = include_str!(concat!(env!("OUT_DIR"), "/layout.h"));

/// Compiles the shim against the headers of the build, with this layout instead of theirs. The error is the
/// compiler's output.
fn compile(layout: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("layout.h"), layout).unwrap();
    let mut words = env!("SHIM_COMPILER").split('\u{1f}');
    let output = Command::new(words.next().unwrap())
        .arg(format!("-I{}", dir.path().display()))
        .args(words)
        .arg("-fsyntax-only")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("shim.c"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

#[test]
fn the_headers_of_the_build_have_the_layout_of_the_bindings() {
    assert_eq!(compile(LAYOUT), Ok(()));
}

#[test]
fn no_field_is_anywhere_else() {
    let lines: Vec<&str> = LAYOUT.lines().collect();
    assert!(lines.len() > 100);
    for wanted in [
        "sizeof(conn_rec) == ",
        "offsetof(server_rec, module_config) == ",
        "offsetof(request_rec, status) == ",
    ] {
        let at = lines.iter().position(|line| line.contains(wanted)).unwrap();
        let mut lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        lines[at] = lines[at].replacen(wanted, &format!("{wanted}1"), 1);
        let said = compile(&lines.join("\n")).unwrap_err();
        assert!(said.contains("and not for this compiler"), "{wanted}: {said}");
    }
}
