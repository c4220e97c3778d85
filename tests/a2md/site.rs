// SPDX-License-Identifier: Apache-2.0
//! How the store is found, and what is said where it is not, or may not be read.

use super::call::{Called, a2md, called, command};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use support::httpd::unprivileged_user;
use support::{Config, Lab, Need, module, open_lab};

fn made(lab: &Lab) -> Config {
    let config = Config::new(lab).line("MDInitialDelay 1d").line("MDomain a.test").site("a.test", &[]);
    drop(config.clone().start().stop());
    config
}

fn with_env(arguments: &[&str], variables: &[(&str, &str)]) -> Called {
    let mut command = command(arguments);
    command.env("PATH", "/nonexistent").envs(variables.iter().copied());
    called(command)
}

#[track_caller]
fn assert_found(called: &Called, store: &str, by: &str) {
    let document = called.json();
    assert_eq!(
        (document["store"].as_str(), document["found-by"].as_str()),
        (Some(store), Some(by)),
        "{document}"
    );
    assert_eq!(document["managed-domains"][0]["name"], "a.test", "{document}");
}

#[test]
fn the_store_is_the_one_of_the_option_or_the_environment_or_the_configuration() {
    let Some(lab) = open_lab!() else { return };
    let is_ours = !module::is_c(&module::under_test());
    let config = made(&lab);
    let (store, control) = (config.store().display().to_string(), config.control());
    assert_found(&with_env(&["status", "-j", "-d", &store], &[]), &store, "-d");
    // Relative to where the caller is.
    let mut relative = command(&["status", "-j", "-d", "md"]);
    relative.current_dir(config.server_root()).env("PATH", "/nonexistent");
    // The folder of a caller is the one without links.
    let resolved = fs::canonicalize(&store).unwrap().display().to_string();
    assert_found(&called(relative), &resolved, "-d");
    let of_environment = with_env(&["status", "-j"], &[("MD_STORE", &store), ("MD_HTTPD", &control)]);
    assert_found(&of_environment, &store, "MD_STORE");
    assert!(of_environment.err.starts_with(&format!("store: {store} (MD_STORE)")), "{}", of_environment.err);
    assert_found(&with_env(&["status", "-j", "-d", &store], &[("MD_STORE", "/nonexistent")]), &store, "-d");
    // The C module prints nothing; its store is found where it is usual.
    let by = if is_ours { "httpd" } else { "ServerRoot" };
    assert_found(&with_env(&["status", "-j", "--httpd", &control], &[]), &store, by);
    assert_found(&with_env(&["status", "-j"], &[("MD_HTTPD", &control)]), &store, by);
    // Quiet.
    assert_eq!(with_env(&["status", "-q", "--httpd", &control], &[]).err, "");
}

#[test]
fn a_configuration_of_another_store_does_not_count() {
    let Some(lab) = open_lab!() else { return };
    if module::is_c(&module::under_test()) {
        return;
    }
    let config = made(&lab);
    let store = config.store().display().to_string();
    let other = config.clone().root(&lab.path("other")).line("MDomain b.test").site("b.test", &[]);
    let (here, there) = (config.control(), other.control());
    let hosts = |control: &str| {
        let document = a2md(&["status", "-j", "-d", &store, "--httpd", control]).json();
        document["managed-domains"]
            .as_array()
            .unwrap()
            .iter()
            .map(|md| md["hosts"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(hosts(&here)[0][0]["name"], "a.test");
    assert_eq!(hosts(&there), [serde_json::json!([])]);
    // By another path it is the same.
    let link = lab.path("link");
    std::os::unix::fs::symlink(config.store(), &link).unwrap();
    let linked = a2md(&["status", "-j", "-d", &link.display().to_string(), "--httpd", &here]).json();
    assert_eq!(linked["managed-domains"][0]["hosts"][0]["name"], "a.test", "{linked}");
}

#[test]
fn a_control_program_that_cannot_be_run_is_told_and_one_that_hangs_on_is_not_trusted() {
    let Some(lab) = open_lab!() else { return };
    let config = made(&lab);
    let store = config.store().display().to_string();
    let called = a2md(&["status", "-d", &store, "--httpd", "/nonexistent/apachectl -f x"]);
    assert_eq!(called.code, 1);
    assert!(called.err.contains("'/nonexistent/apachectl' cannot be run"), "{}", called.err);
    // It prints another document, no document, or more than anybody needs.
    for script in
        ["echo '{\"schema\":9,\"store\":\"/x\"}'", "echo '{'", "head -c 100000000 /dev/zero", "exit 3"]
    {
        let file = lab.path("apachectl");
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let line = file.display().to_string();
        let called = a2md(&["status", "-j", "-d", &store, "--httpd", &line]);
        assert_eq!(called.code, 0, "{script}: {}", called.err);
        assert_found(&called, &store, "-d");
    }
}

#[test]
fn words_of_a_command_line_reach_no_shell() {
    let Some(lab) = open_lab!() else { return };
    let config = made(&lab);
    let (store, mark) = (config.store().display().to_string(), lab.path("mark"));
    let line = format!("/bin/echo \"a b\"; touch {}", mark.display());
    let called = a2md(&["status", "-d", &store, "--httpd", &line]);
    assert!(called.code == 0 && !mark.exists(), "{}", called.err);
}

#[test]
fn where_there_is_no_store_it_says_how_to_name_one() {
    let called = with_env(&["status", "-j"], &[("MD_STORE", "/nonexistent/md")]);
    assert_eq!(called.code, 1);
    let document = called.json();
    assert!(document["error"].as_str().unwrap().contains("/nonexistent/md"), "{document}");
    assert!(document["advice"].as_str().unwrap().contains("-d DIR"), "{document}");
}

#[test]
fn who_may_not_read_the_store_is_told_who_may() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let config = made(&lab);
    let user = unprivileged_user();
    // Where that user may read the command itself.
    let program = lab.path("a2md");
    fs::copy(env!("CARGO_BIN_EXE_a2md"), &program).unwrap();
    let mut setpriv = std::process::Command::new("setpriv");
    setpriv.args(["--reuid", &user.uid.to_string(), "--regid", &user.gid.to_string(), "--clear-groups"]);
    setpriv.arg(&program).args(["check", "-d"]).arg(config.store()).env("PATH", "/nonexistent:/usr/bin");
    let called = called(setpriv);
    assert_eq!(called.code, 3, "{}{}", called.out, called.err);
    assert!(called.err.contains("Call a2md as root, or as the user that starts httpd."), "{}", called.err);
}
