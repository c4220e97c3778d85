// SPDX-License-Identifier: Apache-2.0
//! serles: Python, a small server between ACME and the CA of a company.

use std::fs;
use std::path::Path;

use crate::alone::{Dns, alone};
use crate::ca::{Ca, Challenge, GUNICORN, PATIENCE, assert_issues, assert_recovers, config, root_in};
use support::{Lab, Need, open_lab, wait_for};

fn start(lab: &Lab, backend: &str) -> Ca {
    let dir = lab.path("serles");
    root_in(&dir);
    let config = format!(
        "[serles]
database = sqlite:///{show}/serles.db
backend = {backend}
subjectNameTemplate = CN={{SAN[0]}}
allowWildcards = true
[openssl]
cacert = {show}/root.pem
cakey = {show}/root.key
",
        show = dir.display()
    );
    let file = dir.join("config.ini");
    fs::write(&file, config).unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    Ca::wsgi(
        lab,
        &dir,
        "serles:create_app()",
        "/directory",
        &[("CONFIG", &file), ("PYTHONPATH", &here), ("PYTHONDONTWRITEBYTECODE", &here)],
    )
}

fn issues(lab: Option<Lab>, challenge: Challenge) {
    alone(lab, &[GUNICORN], move |lab: Lab, dns: Dns| {
        let ca = start(&lab, "serles_backend");
        assert_issues(&lab, &dns, &ca, challenge);
        assert_eq!(ca.requests("/newOrder"), 4);
        assert_eq!(ca.requests("/newAccount"), 1);
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
    alone(lab, &[GUNICORN], move |lab: Lab, dns: Dns| {
        let ca = start(&lab, "serles_backend");
        assert_recovers(&lab, &dns, &ca, challenge);
        assert_eq!(ca.requests("/newOrder"), 2, "one for each key");
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

/// The OpenSSL backend that comes with it leaves the names out.
#[test]
#[ignore = "run by `make test-interop`"]
fn a_certificate_without_names_is_refused_and_told() {
    alone(open_lab!(Need::Root), &[GUNICORN], |lab: Lab, _dns: Dns| {
        let ca = start(&lab, "serles.backends.openssl");
        let httpd =
            config(&lab, &ca).line("MDCAChallenges http-01\nMDomain one.test").site("one.test", &[]).start();
        let error = wait_for("an error", PATIENCE, || httpd.logged("AH10056").pop());
        assert!(error.contains("subjectAltName is missing"), "{error}");
    });
}
