// SPDX-License-Identifier: Apache-2.0
//! Version, help, completions, manual page, and calls that cannot be understood.

use super::call::a2md;

#[test]
fn the_version_is_printed_for_scripts() {
    let called = a2md(&["-V"]);
    assert_eq!((called.code, called.out.trim_end()), (0, "version: 3.0.0"), "{}", called.err);
}

#[test]
fn help_of_the_whole_is_on_stderr_and_that_of_one_of_our_commands_on_stdout() {
    let called = a2md(&["-h"]);
    assert_eq!((called.code, called.out.as_str()), (2, ""));
    assert!(called.err.contains("Usage: a2md"), "{}", called.err);
    let called = a2md(&["completions", "--help"]);
    assert_eq!((called.code, called.err.as_str()), (0, ""));
    assert!(called.out.contains("Usage: a2md completions"), "{}", called.out);
}

#[test]
fn help_shows_the_operators_commands_first_and_the_compatible_ones_under_their_own_heading() {
    for call in [&["-h"][..], &["--help"], &["-j", "--help"], &["-d", "x", "-h"]] {
        let called = a2md(call);
        assert_eq!((called.code, called.out.as_str()), (2, ""), "{call:?}");
        let (head, compatible) = called.err.split_once("\nCommands of mod_md 2.x's a2md:\n").unwrap();
        let of = |text: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
            lines.filter_map(|line| line.split("  ").next()).map(String::from).collect()
        };
        let (operators, _) =
            head.split_once("\nCommands:\n").unwrap().1.split_once("\n\nOptions:\n").unwrap();
        let expected = [
            "status",
            "check",
            "doctor",
            "renew",
            "rehearse",
            "revoke",
            "rollback",
            "account",
            "import",
            "export",
            "dns",
            "fleet",
            "forget",
            "gc",
            "store",
            "completions",
            "man",
        ];
        assert_eq!(of(operators), expected);
        assert_eq!(of(compatible), ["store", "add", "list", "update", "drive", "acme"]);
    }
}

#[test]
fn what_is_no_command_is_named() {
    let called = a2md(&["-j", "nonsense\u{1b}[2J"]);
    assert_eq!((called.code, called.err.as_str()), (1, "unknown cmd: nonsense\\u{1b}[2J\n"));
    assert_eq!(called.json()["status"], 22);
    assert_eq!(a2md(&["--nonsense"]).code, 2);
    let called = a2md(&[]);
    assert_eq!((called.code, called.err.as_str()), (1, "sub command is missing\n"));
}

#[test]
fn shells_complete_all_commands_and_the_manual_page_lists_them() {
    for shell in ["bash", "zsh", "fish"] {
        let called = a2md(&["completions", shell]);
        assert!(called.code == 0 && called.out.contains("completions"), "{shell}: {}", called.err);
    }
    let called = a2md(&["man"]);
    assert!(called.code == 0 && called.out.contains(".TH a2md 8"), "{}", called.out);
}
