// SPDX-License-Identifier: Apache-2.0
//! Interruptions of a renewal: a killed worker, refused nonces, a CA that is down. The next try succeeds.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use support::process::{children, is_alive, signal};
use support::{Authority, Config, Httpd, Lab, Pebble, SOON, open_lab, wait_for};

fn config(lab: &Lab, authority: &Authority) -> Config {
    Config::with_ca(lab, authority).line("MDomain one.test\nMDRetryDelay 1s").site("one.test", &[])
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[track_caller]
fn assert_no_half_file(store: &Path) {
    for file in files_below(store) {
        let content = fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("json") => {
                let parsed = serde_json::from_str::<serde_json::Value>(&content);
                assert!(parsed.is_ok(), "{}: {content:?}", file.display());
            }
            Some("pem") => assert!(content.trim_end().ends_with("-----"), "{}: {content:?}", file.display()),
            _ => {}
        }
    }
}

/// Kills the worker at a moment of its order, with the CA held still so that the order cannot get any
/// further. One account must do, and an order that was noted: the next worker goes on where this one stopped.
#[track_caller]
fn assert_next_worker_finishes(lab: &Lab, key: &str, moment: impl Fn(&Path, &Pebble) -> bool) {
    let pebble = Authority::new(lab).slow_validation(3).start();
    let mut httpd = config(lab, &pebble.authority).line(&format!("MDPrivateKeys {key}")).start();
    let store = httpd.config.store();
    wait_for("the moment to strike", SOON, || moment(&store, &pebble).then_some(()));
    pebble.hold();
    kill_watchdog(&httpd);
    // The CA may have made an order whose address never came back.
    let lost = usize::from(!store.join("staging/one.test/order.json").exists());
    assert_no_half_file(&store);
    assert_ne!(httpd.md("one.test")["renewal"]["finished"], true, "it was killed in the middle");
    pebble.go_on();

    httpd.wait_staged_and_activate(&["one.test"]);
    let served = httpd.served("one.test", &pebble, &[]);
    assert!(served.verified, "{}", served.verdict);
    assert_eq!(pebble.account_count(), 1, "accounts");
    assert!(pebble.order_count() <= 1 + lost, "{} orders, {lost} may be lost", pebble.order_count());
    assert_no_half_file(&store);
}

#[track_caller]
fn kill_watchdog(httpd: &Httpd) {
    let killed = httpd.watchdog();
    signal(killed, "KILL");
    wait_for("the end of the killed child", SOON, || (!is_alive(killed)).then_some(()));
    wait_for("another child", SOON, || (!children(httpd.pid()).is_empty()).then_some(()));
}

#[test]
fn the_next_child_finishes_what_a_child_killed_after_registration_began() {
    let Some(lab) = open_lab!() else { return };
    assert_next_worker_finishes(&lab, "RSA", |store, _| store.join("staging/one.test/account.json").exists());
}

#[test]
fn the_next_child_finishes_what_a_child_killed_after_ordering_began() {
    let Some(lab) = open_lab!() else { return };
    assert_next_worker_finishes(&lab, "RSA", |store, _| store.join("staging/one.test/order.json").exists());
}

#[test]
fn the_next_child_finishes_what_a_child_killed_during_validation_began() {
    let Some(lab) = open_lab!() else { return };
    assert_next_worker_finishes(&lab, "RSA", |store, _| {
        store.join("challenges/one.test/acme-http-01.txt").exists()
    });
}

#[test]
fn the_next_child_finishes_what_a_child_killed_before_finalizing_began() {
    let Some(lab) = open_lab!() else { return };
    // A large key takes a while to make: room between validation and finalizing.
    assert_next_worker_finishes(&lab, "RSA 4096", |_, pebble| {
        pebble.log().contains("VALID by completed challenge")
    });
}

#[test]
fn a_slow_ca_is_waited_for_without_an_error_and_over_a_restart() {
    let Some(lab) = open_lab!() else { return };
    // Of so many names one takes longer than a try waits.
    let names: Vec<String> = (1..9).map(|n| format!("n{n}.test")).collect();
    let pebble = Authority::new(&lab).slow_validation(60).start();
    let md = format!("MDomain one.test {}", names.join(" "));
    let aliases: Vec<&str> = names.iter().map(String::as_str).collect();
    let config = Config::with_ca(&lab, &pebble.authority).line(&md).site("one.test", &aliases);
    let mut httpd = config.start();
    let waiting = |is_long: bool| {
        wait_for("the CA at work in md-status", SOON * 2, || {
            let renewal = httpd.md("one.test")["renewal"].take();
            (renewal["waiting"].is_object() && renewal["next-run"].is_string() == is_long).then_some(renewal)
        })
    };
    // First between the looks of one try, then between tries.
    let renewal = waiting(false);
    let is_told = |renewal: &Value| {
        let next = &renewal["next"];
        assert_eq!(
            (&next["action"], &next["at"]),
            (&"wait-for-ca".into(), &renewal["waiting"]["next"]),
            "{renewal:#}"
        );
        assert!(next["at"].is_string(), "{renewal:#}");
    };
    is_told(&renewal);
    let renewal = waiting(true);
    is_told(&renewal);
    assert!(renewal["waiting"]["what"].as_str().unwrap().starts_with("validating "), "{renewal:#}");
    assert_eq!((&renewal["errors"], &renewal["last"]["status"]), (&0.into(), &0.into()), "{renewal:#}");
    httpd.wait_logged("and is asked again in");
    let store = httpd.config.store();
    let answers = || files_below(&store.join("challenges"));
    let before = answers();
    assert!(!before.is_empty());
    httpd.graceful();
    // The next child asks at the time that was set, and leaves all in place.
    let looked = wait_for("the next look", SOON * 2, || {
        let next = httpd.md("one.test")["renewal"].take();
        (next["next-run"] != renewal["next-run"]).then_some(next)
    });
    assert_eq!(looked["errors"], 0, "{looked:#}");
    if looked["waiting"].is_object() {
        assert_eq!((&looked["waiting"]["since"], answers()), (&renewal["waiting"]["since"], before));
    }
    assert_eq!(pebble.order_count(), 1);
}

#[test]
fn a_ca_that_refuses_half_of_all_nonces_still_issues() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Authority::new(&lab).env("PEBBLE_WFE_NONCEREJECT", "50").start();
    let mut httpd = config(&lab, &pebble.authority).start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let served = httpd.served("one.test", &pebble, &[]);
    assert!(served.verified, "{}", served.verdict);
    assert_eq!(pebble.account_count(), 1);
}

#[test]
fn a_ca_that_is_down_is_reported_with_the_next_try_and_used_once_it_is_up() {
    let Some(lab) = open_lab!() else { return };
    let authority = Authority::new(&lab);
    let mut httpd = config(&lab, &authority).start();
    let renewal = wait_for("the error in md-status", SOON, || {
        let renewal = httpd.md("one.test")["renewal"].take();
        (renewal["errors"].as_u64() >= Some(1)).then_some(renewal)
    });
    assert_eq!(renewal["last"]["status"], 111, "{renewal:#}");
    assert!(renewal["last"]["detail"].as_str().unwrap().contains(&authority.directory()), "{renewal:#}");
    assert!(renewal["next-run"].as_str().unwrap().ends_with(" GMT"), "{renewal:#}");
    httpd.wait_logged("AH10056");
    let error = httpd.logged("AH10056: processing one.test: ").remove(0);
    assert!(error.contains("Unsuccessful in contacting ACME server at"), "{error}");
    assert_eq!(httpd.https_get("one.test", "/index.html").status, 503);

    let pebble = authority.start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let served = httpd.served("one.test", &pebble, &[]);
    assert!(served.verified, "{}", served.verdict);
}
