// SPDX-License-Identifier: Apache-2.0
//! serles: Python, a small server between ACME and the CA of a company.

use std::fs;
use std::path::Path;

use crate::alone::{Dns, alone};
use crate::ca::{Ca, GUNICORN, Kind, PATIENCE, config, root_in, tests_of};
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

static KIND: Kind = Kind {
    program: GUNICORN,
    start: |lab| start(lab, "serles_backend"),
    new_order: "/newOrder",
    new_account: "/newAccount",
    // One for each key.
    orders_of_a_recovery: Some(2),
};

tests_of!(KIND);

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
