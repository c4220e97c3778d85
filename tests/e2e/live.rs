//! Live activation: what the CA issues is served by every running child, without a restart.

use crate::support::{Authority, Config, Httpd, Lab, Pebble, SOON, open_lab, wait_for};

fn config(lab: &Lab, authority: &Authority) -> Config {
    Config::with_ca(lab, authority).line("MDPrivateKeys P-256\nMDRetryDelay 1s\nMDCheckInterval 1s")
}

fn one_domain(lab: &Lab, authority: &Authority) -> Config {
    config(lab, authority).line("MDomain one.test www.one.test").site("one.test", &["www.one.test"])
}

/// Until a client that trusts the CA alone gets a certificate of it. Gives its serial.
#[track_caller]
fn wait_live(httpd: &Httpd, pebble: &Pebble, name: &str) -> String {
    wait_for(&format!("a certificate of the CA for {name}"), SOON, || {
        let served = httpd.served(name, pebble, &[]);
        served.verified.then(|| served.serial())
    })
}

/// Many handshakes, so that every child has its turn: all see this serial.
#[track_caller]
fn assert_all_serve(httpd: &Httpd, pebble: &Pebble, name: &str, serial: &str) {
    for _ in 0..20 {
        assert_eq!(httpd.served(name, pebble, &[]).serial(), serial);
    }
}

#[test]
fn from_an_empty_store_every_name_is_served_with_a_trusted_certificate_and_no_restart() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let httpd = one_domain(&lab, &pebble.authority).start();
    let serial = wait_live(&httpd, &pebble, "one.test");
    assert_eq!(httpd.https_get("one.test", "/index.html").body, "site one.test");
    assert_all_serve(&httpd, &pebble, "www.one.test", &serial);
    httpd.wait_logged("AH10059: The Managed Domain one.test has been setup and is live now.");
    let md = httpd.md("one.test");
    assert_eq!(md["state"], 2, "{md:#}");
    assert_eq!(md["cert"]["P-256"]["serial"], serial, "{md:#}");
    assert_eq!(md["activation"]["mode"], "live", "{md:#}");
    assert_eq!(md["activation"]["serial"], serial, "{md:#}");
    assert!(httpd.logged("AH10068").is_empty(), "nothing was activated by a restart");
}
