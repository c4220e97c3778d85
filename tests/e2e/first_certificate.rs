// SPDX-License-Identifier: Apache-2.0
//! From nothing to a served certificate, with a restart in between: staged by the watchdog, active after it,
//! and not renewed after that.

use openssl::pkey::Id;

use support::tls::{EC_ONLY, RSA_ONLY};
use support::{Account, Config, Httpd, Lab, Need, Pebble, open_lab};

/// Two names in one managed domain, on a host of the same names.
fn one_domain(lab: &Lab, pebble: &Pebble) -> Config {
    Config::with_ca(lab, &pebble.authority)
        .line("MDomain one.test www.one.test")
        .site("one.test", &["www.one.test"])
}

#[track_caller]
fn assert_first_certificate(mut httpd: Httpd, pebble: &Pebble) {
    let before = httpd.served("one.test", pebble, &[]);
    assert_eq!(before.common_name(), "Apache Managed Domain Fallback");
    assert!(!before.verified);
    assert_eq!(httpd.https_get("one.test", "/index.html").status, 503);

    httpd.wait_staged("one.test");
    httpd.wait_logged("AH10059");
    assert_eq!(
        httpd.served("one.test", pebble, &[]).serial(),
        before.serial(),
        "no restart, no new certificate"
    );

    httpd.graceful();
    for name in ["one.test", "www.one.test"] {
        let served = httpd.served(name, pebble, &[]);
        assert!(served.verified, "{name}: {}", served.verdict);
        assert_eq!(served.names(), ["one.test", "www.one.test"]);
        assert_eq!(httpd.https_get(name, "/index.html").body, "site one.test");
    }
    for number in ["AH10071", "AH10059", "AH10068"] {
        assert!(!httpd.logged(number).is_empty(), "{number} is in the log");
    }
}

#[test]
fn a_domain_is_staged_after_the_start_and_served_after_a_restart() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    assert_first_certificate(one_domain(&lab, &pebble).at_restarts().start(), &pebble);
}

#[test]
fn httpd_of_an_ordinary_user_gets_its_certificate_too() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let config = one_domain(&lab, &pebble).at_restarts().account(Account::Ordinary);
    assert_first_certificate(config.start(), &pebble);
}

/// As in a container: a `User` in the configuration is somebody else, whom files cannot be given to.
#[test]
fn httpd_of_an_ordinary_user_does_not_mind_another_one_in_its_configuration() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let config = one_domain(&lab, &pebble).at_restarts().account(Account::Ordinary);
    assert_first_certificate(config.line("User daemon\nGroup daemon").start(), &pebble);
}

#[test]
fn a_restart_with_a_valid_certificate_renews_nothing() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = one_domain(&lab, &pebble).line("MDCheckInterval 1s").start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let served = httpd.served("one.test", &pebble, &[]);
    assert!(served.verified, "{}", served.verdict);
    assert_eq!(pebble.order_count(), 1);

    let httpd = httpd.stop().start();
    httpd.wait_looked_twice();
    assert_eq!(httpd.served("one.test", &pebble, &[]).serial(), served.serial());
    assert_eq!(pebble.order_count(), 1);
    assert_eq!(pebble.account_count(), 1);
    assert!(httpd.config.store().join("archive/one.test.1").is_dir());
}

#[test]
fn two_domains_get_a_certificate_each() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let config =
        Config::with_ca(&lab, &pebble.authority).line("MDomain one.test\nMDomain two.test www.two.test");
    let mut httpd = config.site("one.test", &[]).site("two.test", &["www.two.test"]).start();
    httpd.wait_staged_and_activate(&["one.test", "two.test"]);
    let one = httpd.served("one.test", &pebble, &[]);
    let two = httpd.served("www.two.test", &pebble, &[]);
    assert!(one.verified && two.verified, "{} / {}", one.verdict, two.verdict);
    assert_eq!(one.names(), ["one.test"]);
    assert_eq!(two.names(), ["two.test", "www.two.test"]);
}

#[test]
fn a_domain_with_rsa_and_p256_keys_serves_both() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = one_domain(&lab, &pebble).line("MDPrivateKeys RSA P-256").start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let (rsa, ec) = (httpd.served("one.test", &pebble, RSA_ONLY), httpd.served("one.test", &pebble, EC_ONLY));
    assert!(rsa.verified && ec.verified, "{} / {}", rsa.verdict, ec.verdict);
    assert_eq!((rsa.key(), ec.key()), (Id::RSA, Id::EC));
}

#[test]
fn an_activation_delay_holds_back_renewed_certificates_not_the_first() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = one_domain(&lab, &pebble).line("MDActivationDelay 1h").start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let first = httpd.served("one.test", &pebble, &[]);
    assert!(first.verified, "{}", first.verdict);

    // Longer than certificates live: due at any time.
    let mut httpd = httpd.stop().line("MDRenewWindow 9999d").start();
    httpd.wait_staged_and_activate(&["one.test"]);
    assert_eq!(httpd.served("one.test", &pebble, &[]).serial(), first.serial());
    assert_eq!(httpd.md("one.test")["renewal"]["finished"], true, "it waits");
}
