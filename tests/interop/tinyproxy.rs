// SPDX-License-Identifier: Apache-2.0
//! tinyproxy between the server and its CA, asking for a name and a password.

use std::fs;

use crate::alone::program;
use crate::ca::PATIENCE;
use support::process::{Process, Start, args};
use support::{Authority, Config, Httpd, Lab, SOON, http, lab, open_lab, wait_for};

const TINYPROXY: &str = "tinyproxy-bin/usr/bin/tinyproxy";

struct Tinyproxy {
    port: u16,
    _process: Process,
}

fn start(lab: &Lab) -> Tinyproxy {
    let (dir, port) = (lab.path("tinyproxy"), lab.port());
    fs::create_dir_all(&dir).unwrap();
    let show = dir.display();
    let config = format!(
        "Port {port}
Listen 127.0.0.1
Timeout 60
LogFile \"{show}/requests.log\"
LogLevel Connect
PidFile \"{show}/tinyproxy.pid\"
MaxClients 50
BasicAuth httpd secret
"
    );
    let file = dir.join("tinyproxy.conf");
    fs::write(&file, config).unwrap();
    let process = Process::spawn(Start {
        program: &program(TINYPROXY).unwrap(),
        args: args([&"-d", &"-c", &file]),
        envs: vec![],
        log: &dir.join("stderr.log"),
        stop_signal: "TERM",
        user: &[],
    });
    wait_for("tinyproxy", SOON, || http::get(port, "localhost", "/").ok());
    Tinyproxy { port, _process: process }
}

#[test]
#[ignore = "run by `make test-interop`"]
fn a_proxy_that_wants_a_password_gets_it_and_its_lack_is_told() {
    let Some(lab) = open_lab!() else { return };
    if program(TINYPROXY).is_none() {
        return lab::skip(
            &lab.name,
            &format!("no {TINYPROXY} below target/lab/interop: run `make test-interop`"),
        );
    }
    let pebble = Authority::new(&lab).start();
    let proxy = start(&lab);
    let config = |user: &str| {
        Config::with_ca(&lab, &pebble.authority)
            .line(&format!("MDHttpProxy http://{user}127.0.0.1:{}", proxy.port))
            .line("MDCheckInterval 1s\nMDRetryDelay 1s\nMDPrivateKeys P-256\nMDCAChallenges http-01\nMDomain one.test")
            .site("one.test", &[])
    };
    let mut httpd = config("").start();
    let told = |httpd: &Httpd, status: &str| {
        wait_for(&format!("an error with {status}"), SOON, || {
            let errors = httpd.logged("AH10056");
            errors.into_iter().find(|line| line.contains("proxy") && line.contains(status))
        })
    };
    told(&httpd, "407");
    httpd.rewrite(|_| config("httpd:wrong@"));
    httpd.graceful();
    // Its own word for a wrong password.
    told(&httpd, "401");
    assert_eq!(pebble.account_count(), 0, "nobody came around the proxy");
    httpd.rewrite(|_| config("httpd:secret@"));
    httpd.graceful();
    wait_for("a certificate", PATIENCE, || httpd.served("one.test", &pebble, &[]).verified.then_some(()));
    assert!(!httpd.log().contains("secret"), "passwords are in no log");
}
