// SPDX-License-Identifier: Apache-2.0
//! The time and the CA of renewals: at the CA's advice (ARI), by the next CA where one fails, at another CA
//! after a switch, and a warning in time where the admin renews.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use mod_md::time::{Clock, DAY, SystemClock};
use openssl::x509::X509;
use serde_json::{Value, json};

use support::preload::Preload;
use support::process::is_alive;
use support::{Authority, Config, Httpd, Lab, Pebble, SOON, open_lab, wait_for};

fn config(lab: &Lab, authority: &Authority) -> Config {
    Config::with_ca(lab, authority).line("MDomain one.test\nMDRetryDelay 1s").site("one.test", &[])
}

fn window(start: &str, end: &str, why: &str) -> Value {
    json!({"suggestedWindow": {"start": start, "end": end}, "explanationURL": why})
}

#[track_caller]
fn wait_serial_changed(httpd: &mut Httpd, pebble: &Pebble, old: &str) -> String {
    httpd.wait_staged_and_activate(&["one.test"]);
    let served = httpd.served("one.test", pebble, &[]);
    assert!(served.verified, "{}", served.verdict);
    assert_ne!(served.serial(), old);
    served.serial()
}

/// Gets a first certificate into use, about which the CA says this: it is not asked before the restart.
#[track_caller]
fn start_advised(config: Config, pebble: &Pebble, info: &Value) -> Httpd {
    let mut httpd = config.at_restarts().start();
    activate_advised(&mut httpd, pebble, info);
    httpd
}

/// Gets the certificate that is being renewed into use, about which the CA says this.
#[track_caller]
fn activate_advised(httpd: &mut Httpd, pebble: &Pebble, info: &Value) {
    httpd.wait_staged("one.test");
    // In valgrind keys are of P-256.
    let file = |name: &str| fs::read(httpd.config.store().join("staging/one.test").join(name));
    let chain = file("pubcert.pem").or_else(|_| file("pubcert.p-256.pem")).unwrap();
    pebble.set_renewal_info(&X509::stack_from_pem(&chain).unwrap()[0].to_pem().unwrap(), info);
    httpd.graceful();
}

#[test]
fn a_window_of_the_ca_in_the_past_renews_at_once_and_tells_why() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let past = window("2021-01-03T00:00:00Z", "2021-01-04T00:00:00Z", "https://ca.test/incident");
    let mut httpd = start_advised(config(&lab, &pebble.authority), &pebble, &past);
    let first = httpd.served("one.test", &pebble, &[]);
    httpd.wait_staged("one.test");
    let renewal = httpd.md("one.test")["renewal"].take();
    let log = renewal["log"]["entries"].as_array().unwrap();
    let reason = "Renewal triggered by CA via ARI, explanation at https://ca.test/incident";
    assert!(log.iter().any(|entry| entry["detail"] == reason), "{renewal:#}");
    let notice = httpd.logged("CA advises renew via ARI now").remove(0);
    assert!(notice.contains("[md:notice]") && notice.contains("AH10517"), "{notice}");
    wait_serial_changed(&mut httpd, &pebble, &first.serial());
    assert_eq!((pebble.account_count(), pebble.order_count()), (1, 2));
    assert!(pebble.log().contains("is a replacement of"), "{}", pebble.log());
}

#[test]
fn an_advised_window_in_the_past_is_not_followed_and_shown_with_its_end() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let past = window("2021-01-03T00:00:00Z", "2021-01-04T00:00:00Z", "https://ca.test/incident");
    let mut httpd = start_advised(config(&lab, &pebble.authority), &pebble, &past);
    activate_advised(&mut httpd, &pebble, &past);
    for _ in 0..2 {
        let held_back =
            || Some(httpd.md("one.test")["renewal"].take()).filter(|r| r["held-back"].is_object());
        let renewal = wait_for("the renewal that is held back", SOON, held_back);
        let reason = renewal["held-back"]["reason"].as_str().unwrap();
        assert!(reason.contains("ARI") && reason.contains("MDRenewViaARI"), "{renewal:#}");
        assert_eq!((&renewal["errors"], &renewal["last"]["status"]), (&json!(0), &json!(0)), "{renewal:#}");
        assert_eq!(renewal["next"]["at"], renewal["held-back"]["until"], "{renewal:#}");
        httpd.graceful();
    }
    let warning = httpd.logged("it is held back until").remove(0);
    assert!(warning.contains("[md:warn]") && warning.contains("md[one.test]"), "{warning}");
    assert_eq!(pebble.order_count(), 2);
    assert!(httpd.served("one.test", &pebble, &[]).verified);
}

#[test]
fn a_clock_months_ahead_causes_one_renewal_and_is_shown_in_the_status() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Authority::new(&lab).lifetime(&lab, 90 * 86_400).start();
    let preload = Preload::build(&lab);
    // By this clock what is issued now is due again at once.
    let config = config(&lab, &pebble.authority).line("MDRenewViaARI off\nMDCheckInterval 1s");
    let mut httpd = preload.ahead(config, DAY * 70).start();
    for _ in 0..2 {
        let renewal = wait_for("the renewal that is held back", SOON * 2, || {
            Some(httpd.md("one.test")["renewal"].take()).filter(|r| r["held-back"].is_object())
        });
        let reason = renewal["held-back"]["reason"].as_str().unwrap();
        assert!(reason.contains("date and time") && reason.contains("MDRenewWindow"), "{renewal:#}");
        assert_eq!(httpd.md("one.test")["status"], "renewing");
        httpd.graceful();
    }
    assert_eq!(pebble.order_count(), 2, "one for the first certificate, one for the window");
    let warning = httpd.logged("it is held back until").remove(0);
    assert!(warning.contains("[md:warn]") && warning.contains("md[one.test]"), "{warning}");
    assert!(httpd.served("one.test", &pebble, &[]).verified);
}

#[test]
fn advice_of_the_ca_is_shown_with_its_explanation_over_restarts() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let clock = SystemClock::default();
    let in_days = |days: u32| clock.now().plus(DAY * days).to_rfc3339();
    let info = window(&in_days(3), &in_days(4), "https://ca.test/why");
    let config = config(&lab, &pebble.authority).line("MDCheckInterval 1s");
    let httpd = start_advised(config, &pebble, &info);
    let advised = |httpd: &Httpd| {
        let look = || Some(httpd.md("one.test")["ari"].take()).filter(|ari| !ari.is_null());
        wait_for("the advice in md-status", SOON, look)
    };
    let first = advised(&httpd);
    assert_eq!(first["explanation-url"], "https://ca.test/why", "{first:#}");
    assert!(first["window"]["start"].is_string() && first["checked"].is_string(), "{first:#}");
    let status = httpd.md("one.test");
    assert_eq!(status["renew-at"], first["renew-at"], "{status:#}");
    assert!(status.get("renewal").is_none() && status.get("renew").is_none(), "{status:#}");
    httpd.wait_logged("AH10515");
    let notice = httpd.logged("AH10515").remove(0);
    assert!(notice.contains("[md:notice]") && notice.contains("https://ca.test/why"), "{notice}");
    let httpd = httpd.stop().start();
    httpd.wait_looked_twice();
    assert_eq!(advised(&httpd), first);
    assert_eq!(pebble.log().matches("/renewalInfo/").count(), 1, "{}", pebble.log());
}

#[test]
fn advice_that_is_turned_off_is_not_asked_for() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = config(&lab, &pebble.authority).line("MDRenewViaARI off\nMDCheckInterval 1s").start();
    httpd.wait_staged_and_activate(&["one.test"]);
    httpd.wait_looked_twice();
    assert!(httpd.md("one.test").get("ari").is_none());
    assert!(!pebble.log().contains("/renewalInfo/"), "{}", pebble.log());
    assert_eq!(pebble.order_count(), 1);
}

/// Two CAs, to be used in this order.
fn with_two_cas(lab: &Lab, first: &Authority, second: &Authority) -> Config {
    let bundle = lab.path("cas.pem");
    let text = [fs::read(&first.certificate).unwrap(), fs::read(&second.certificate).unwrap()].concat();
    fs::write(&bundle, text).unwrap();
    let (a, b) = (first.directory(), second.directory());
    Config::new(lab)
        .line(&format!("MDCertificateAuthority {a} {b}\nMDCACertificateFile {}", bundle.display()))
        .line("MDCertificateAgreement accepted\nMDContactEmail admin@example.test\nMDRetryDelay 100ms\nMDRetryFailover 2")
        .line("MDomain one.test")
        .site("one.test", &[])
}

#[test]
fn the_second_ca_issues_where_the_first_is_down() {
    let Some(lab) = open_lab!() else { return };
    let down = Authority::new(&lab);
    let second = Authority::named(&lab, "second").start();
    let mut httpd = with_two_cas(&lab, &down, &second.authority).start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let served = httpd.served("one.test", &second, &[]);
    assert!(served.verified, "{}", served.verdict);
    assert_eq!(httpd.md("one.test")["ca"]["url"], second.authority.directory());
    assert!(httpd.logged("AH10057").iter().any(|line| line.contains("for the 2. time")), "{}", httpd.log());
}

#[test]
fn the_second_ca_issues_where_the_first_refuses_by_its_own_account() {
    let Some(lab) = open_lab!() else { return };
    let first = Authority::new(&lab).block_domain(&lab, "one.test").start();
    let second = Authority::named(&lab, "second").start();
    let mut httpd = with_two_cas(&lab, &first.authority, &second.authority).start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let served = httpd.served("one.test", &second, &[]);
    assert!(served.verified, "{}", served.verdict);
    assert_eq!((first.account_count(), second.account_count()), (1, 1));
    assert_eq!((first.order_count(), second.order_count()), (0, 1));
    let accounts: Vec<_> = fs::read_dir(httpd.config.store().join("accounts")).unwrap().flatten().collect();
    assert_eq!(accounts.len(), 2, "{accounts:?}");
}

#[test]
fn another_ca_than_the_one_that_issued_is_asked_at_once() {
    let Some(lab) = open_lab!() else { return };
    let test_ca = Pebble::start(&lab);
    let mut httpd = config(&lab, &test_ca.authority).start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let first = httpd.served("one.test", &test_ca, &[]).serial();
    let store = httpd.config.store();
    drop(httpd);
    let real = Authority::named(&lab, "second").start();
    let mut httpd = config(&lab, &real.authority).start();
    assert_eq!(httpd.config.store(), store);
    wait_serial_changed(&mut httpd, &real, &first);
    assert_eq!(httpd.md("one.test")["ca"]["url"], real.authority.directory());
    assert_eq!(real.order_count(), 1);
}

#[test]
fn a_ca_that_never_answers_delays_neither_other_domains_nor_a_restart() {
    let Some(lab) = open_lab!() else { return };
    let silent = Authority::named(&lab, "silent").start();
    silent.hold();
    let pebble = Pebble::start(&lab);
    // More domains at the silent CA than places, and all of them first.
    let mut config = Config::with_ca(&lab, &pebble.authority);
    for n in 0..20 {
        let name = format!("s{n}.test");
        config = config
            .line(&format!(
                "<MDomain {name}>\nMDCertificateAuthority {}\nMDCACertificateFile {}\n</MDomain>",
                silent.authority.directory(),
                silent.authority.certificate.display()
            ))
            .site(&name, &[]);
    }
    let httpd = config.line("MDomain one.test").site("one.test", &[]).start();
    httpd.wait_staged("one.test");
    let child = httpd.watchdog();
    let asked = Instant::now();
    support::process::signal(httpd.pid(), "USR1");
    wait_for("the end of the child that waits for the CA", SOON, || (!is_alive(child)).then_some(()));
    assert!(asked.elapsed() < Duration::from_secs(10), "it ended after {:?}", asked.elapsed());
    wait_for("the new certificate", SOON, || {
        let served = httpd.served("one.test", &pebble, &[]);
        served.verified.then_some(())
    });
    // The next child goes on with the others.
    silent.go_on();
    httpd.wait_staged("s0.test");
}

#[test]
fn an_expiring_certificate_is_told_to_the_command() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let calls = lab.path("calls");
    fs::write(&calls, "").unwrap();
    fs::set_permissions(&calls, fs::Permissions::from_mode(0o666)).unwrap();
    let mut httpd = config(&lab, &pebble.authority).start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let command = format!("MDMessageCmd /bin/sh -c 'echo \"$@\" >> {}' sh", calls.display());
    // Longer than certificates live: it is open at any time.
    let _httpd = httpd.stop().line("MDRenewMode manual\nMDWarnWindow 9999d").line(&command).start();
    wait_for("the event", SOON, || {
        fs::read_to_string(&calls).unwrap().contains("expiring one.test").then_some(())
    });
}
