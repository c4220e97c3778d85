// SPDX-License-Identifier: Apache-2.0
//! Caddy's built-in CA, which is smallstep's code.
//!
//! A validation that failed leaves challenge, authorization and order `pending`: the CA looks again when it
//! is asked to. It has neither external accounts (in this version) nor advice on renewals. Its certificates
//! hold twelve hours, which this version does not let one change. The URLs of its directory have the host's
//! name without a port: it has to listen at 443.

use crate::alone::program;
use crate::ca::{Ca, Kind, tests_of};
use std::fs;
use support::process::{Process, Start, args};
use support::{Lab, Need, open_lab};

const CADDY: &str = "caddy/usr/bin/caddy";

fn start(lab: &Lab) -> Ca {
    let dir = lab.path("caddy");
    fs::create_dir_all(&dir).unwrap();
    let config = format!(
        "{{
    admin off
    skip_install_trust
    auto_https disable_redirects
    storage file_system {show}
}}
https://ca.test {{
    bind 127.0.0.2
    tls internal
    log
    acme_server
}}
",
        show = dir.display()
    );
    fs::write(dir.join("Caddyfile"), config).unwrap();
    let log = dir.join("caddy.log");
    let process = Process::spawn(Start {
        program: &program(CADDY).unwrap(),
        args: args([&"run", &"--adapter", &"caddyfile", &"--config", &dir.join("Caddyfile")]),
        envs: vec![("HOME".into(), dir.display().to_string())],
        log: &log,
        stop_signal: "KILL",
        user: &[],
    });
    let root = dir.join("pki/authorities/local/root.crt");
    Ca::up(lab, process, log, "/acme/local/directory", &root, &root)
}

static KIND: Kind = Kind {
    program: CADDY,
    start,
    new_order: "/acme/local/new-order",
    new_account: "/acme/local/new-account",
    // One for each key.
    orders_of_a_recovery: Some(2),
};

tests_of!(KIND);
