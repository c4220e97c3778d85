// SPDX-License-Identifier: Apache-2.0
//! Two httpd that renew in one store: both are served, and the log shows it.

use std::fs;

use serde_json::Value;

use support::{Config, Httpd, Lab, Pebble, SOON, open_lab, process, wait_for};

const LINE: &str = "another httpd renews in this store";

fn config(lab: &Lab, pebble: &Pebble) -> Config {
    Config::with_ca(lab, &pebble.authority).line("MDRetryDelay 1s\nMDomain one.test")
}

/// On the store of `first`.
fn second(lab: &Lab, pebble: &Pebble, first: &Httpd) -> Config {
    config(lab, pebble)
        .root(&lab.path("second"))
        .ports(lab.port(), lab.port())
        .line(&format!("MDStoreDir {}", first.config.store().display()))
        .site("one.test", &[])
}

/// Until the child of `httpd` that renews has the lock of the store of `first`.
#[track_caller]
fn wait_holding(httpd: &Httpd, first: &Config) {
    let file = first.store().join("staging/renewing.lock");
    wait_for("the lock in the hands of the renewing child", SOON, || {
        let holder: Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
        let pid = u32::try_from(holder["pid"].as_u64()?).ok()?;
        process::children(httpd.pid()).contains(&pid).then_some(())
    });
}

#[test]
fn another_httpd_on_the_store_is_told_of_by_the_one_that_comes_second() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut first = config(&lab, &pebble).site("one.test", &[]).start();
    wait_holding(&first, &first.config);
    let wait_served = |httpd: &Httpd| {
        wait_for("a certificate of the CA", SOON, || {
            httpd.served("one.test", &pebble, &[]).verified.then_some(())
        });
    };
    wait_served(&first);
    let holder = first.watchdog();

    let other = second(&lab, &pebble, &first).start();
    other.wait_logged(LINE);
    let lines = other.logged(LINE);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    assert!(line.contains("[md:error]") && line.contains(&format!("process {holder} on ")), "{line}");
    assert!(line.contains("renewing.lock") && line.contains("MDStoreDir"), "{line}");
    assert_eq!(first.logged(LINE), [""; 0]);
    // Both go on.
    wait_served(&other);

    // An admin who has them share the store on purpose.
    let shared = other.stop().line("MDStoreLocks on\nMDMessageCmd /bin/true");
    fs::remove_file(shared.server_root().join("error.log")).unwrap();
    let other = shared.line("LogLevel md:debug").start();
    other.wait_logged(LINE);
    assert!(other.logged(LINE).iter().all(|line| line.contains("[md:info]")), "{:?}", other.logged(LINE));

    // However the first one ends.
    process::signal(first.pid(), "STOP");
    for child in process::children(first.pid()) {
        process::signal(child, "KILL");
    }
    wait_holding(&other, &first.config);
    process::signal(first.pid(), "CONT");
    first.graceful();
    first.wait_logged(LINE);
}

#[test]
fn children_of_one_httpd_take_the_lock_over_without_a_word() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = config(&lab, &pebble).site("one.test", &[]).start();
    for _ in 0..3 {
        wait_holding(&httpd, &httpd.config);
        httpd.graceful();
    }
    wait_holding(&httpd, &httpd.config);
    process::signal(httpd.watchdog(), "KILL");
    wait_holding(&httpd, &httpd.config);
    let httpd = httpd.stop().start();
    wait_holding(&httpd, &httpd.config);
    assert_eq!(httpd.logged(LINE), [""; 0]);
}
