// SPDX-License-Identifier: Apache-2.0
//! Caddy's built-in CA, which is smallstep's code.
//!
//! A validation that failed leaves challenge, authorization and order `pending`: the CA looks again when it
//! is asked to. It has neither external accounts (in this version) nor advice on renewals. Its certificates
//! hold twelve hours, which this version does not let one change. The URLs of its directory have the host's
//! name without a port: it has to listen at 443.

use crate::alone::{Dns, alone, program};
use crate::ca::{Ca, Challenge, assert_issues, assert_recovers};
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

fn issues(lab: Option<Lab>, challenge: Challenge) {
    alone(lab, &[CADDY], move |lab: Lab, dns: Dns| {
        let ca = start(&lab);
        assert_issues(&lab, &dns, &ca, challenge);
        assert_eq!(ca.requests("/acme/local/new-order"), 4);
        assert_eq!(ca.requests("/acme/local/new-account"), 1);
    });
}

#[test]
#[ignore = "run by `make test-interop`"]
fn http_01() {
    issues(open_lab!(Need::Root), Challenge::Http01);
}

#[test]
#[ignore = "run by `make test-interop`"]
fn tls_alpn_01() {
    issues(open_lab!(Need::Root), Challenge::TlsAlpn01);
}

#[test]
#[ignore = "run by `make test-interop`"]
fn dns_01() {
    issues(open_lab!(Need::Root), Challenge::Dns01);
}

fn recovers(lab: Option<Lab>, challenge: Challenge) {
    alone(lab, &[CADDY], move |lab: Lab, dns: Dns| {
        let ca = start(&lab);
        assert_recovers(&lab, &dns, &ca, challenge);
        assert_eq!(ca.requests("/acme/local/new-order"), 2, "one for each key");
    });
}

#[test]
#[ignore = "run by `make test-interop`"]
fn http_01_is_repeated_where_a_name_led_elsewhere() {
    recovers(open_lab!(Need::Root), Challenge::Http01);
}

#[test]
#[ignore = "run by `make test-interop`"]
fn tls_alpn_01_is_repeated_where_a_name_led_elsewhere() {
    recovers(open_lab!(Need::Root), Challenge::TlsAlpn01);
}
