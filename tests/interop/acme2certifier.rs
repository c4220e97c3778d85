// SPDX-License-Identifier: Apache-2.0
//! acme2certifier: Python, with an OpenSSL CA, external accounts, advice on renewals (ARI) and profiles.

use std::fs;

use mod_md::time::Timestamp;
use serde_json::Value;

use crate::alone::{Dns, alone};
use crate::ca::{Ca, GUNICORN, Kind, PATIENCE, assert_no_errors, config, root_in, tests_of, wait_served};
use support::{Httpd, Lab, Need, open_lab, wait_for};

/// With these lines more in its configuration, by section.
fn start(lab: &Lab, more: &str) -> Ca {
    let dir = lab.path("a2c");
    root_in(&dir);
    let config = format!(
        "[DEFAULT]
dns_server_list: [\"127.0.0.1\"]
[CAhandler]
handler_module: acme2certifier.cahandlers.openssl_ca_handler
issuing_ca_key: {show}/root.key
issuing_ca_cert: {show}/root.pem
issuing_ca_crl: {show}/crl.pem
cert_save_path: {show}
cert_validity_days: 90
[DBhandler]
handler: wsgi
dbfile: {show}/a2c.db
{more}
",
        show = dir.display()
    );
    let file = dir.join("acme_srv.cfg");
    fs::write(&file, config).unwrap();
    let application = "acme2certifier.share.acme2certifier_wsgi:application";
    Ca::wsgi(
        lab,
        &dir,
        application,
        "/directory",
        &[("ACME_SRV_CONFIGFILE", &file), ("ACME2CERTIFIER_BASE_DIR", &dir)],
    )
}

static KIND: Kind = Kind {
    program: GUNICORN,
    start: |lab| start(lab, ""),
    new_order: "/acme/neworders",
    new_account: "/acme/newaccount",
    orders_of_a_recovery: None,
};

tests_of!(KIND);

fn site(lab: &Lab, ca: &Ca, lines: &str) -> Httpd {
    config(lab, ca)
        .line(&format!("MDCAChallenges http-01\n{lines}\nMDomain one.test"))
        .site("one.test", &[])
        .start()
}

/// The hmac of the CA's own example.
const HMAC: &str = "dGhpc19pc19hX3ZlcnlfbG9uZ19obWFjX3RvX21ha2Vfc3VyZV90aGF0X2l0c19tb3JlX3RoYW5fMjU2X2JpdHM";

#[test]
#[ignore = "run by `make test-interop`"]
fn an_external_account_is_bound_and_its_lack_told() {
    alone(open_lab!(Need::Root), &[GUNICORN], |lab: Lab, _dns: Dns| {
        let keys = lab.path("eab.json");
        fs::write(&keys, serde_json::json!({"kid-1": HMAC}).to_string()).unwrap();
        let handler = "eab_handler_module: acme2certifier.eabhandlers.json_handler";
        let ca = start(&lab, &format!("[EABhandler]\n{handler}\nkey_file: {}", keys.display()));
        let mut httpd = site(&lab, &ca, "");
        let told = |httpd: &Httpd, text: &str, after: usize| {
            wait_for(text, PATIENCE, || {
                let errors = httpd.logged("AH10056");
                errors.into_iter().skip(after).find(|line| line.contains(text))
            })
        };
        told(&httpd, "MDExternalAccountBinding", 0);
        let other = HMAC.replace('d', "e");
        for account in [format!("kid-2 {HMAC}"), format!("kid-1 {other}")] {
            let before = httpd.logged("AH10056").len();
            httpd.rewrite(|config| config.line(&format!("MDExternalAccountBinding {account}")));
            httpd.graceful();
            told(&httpd, "invalid eab credentials", before);
        }
        httpd.rewrite(|config| config.line(&format!("MDExternalAccountBinding kid-1 {HMAC}")));
        httpd.graceful();
        wait_served(&httpd, &ca, &["one.test"]);
    });
}

#[test]
#[ignore = "run by `make test-interop`"]
fn a_profile_is_ordered() {
    alone(open_lab!(Need::Root), &[GUNICORN], |lab: Lab, _dns: Dns| {
        let ca = start(
            &lab,
            "[Order]\nprofiles: {\"short\": \"https://ca.test/short\", \"long\": \"https://ca.test/long\"}",
        );
        let httpd = site(&lab, &ca, "MDProfile long\nMDProfileMandatory on");
        wait_served(&httpd, &ca, &["one.test"]);
        assert_no_errors(&httpd);
    });
}

/// It says `Retry-After: 600` of what takes a second.
#[test]
#[ignore = "run by `make test-interop`"]
fn an_order_that_is_processing_is_not_waited_for_as_long_as_the_ca_says() {
    alone(open_lab!(Need::Root), &[GUNICORN], |lab: Lab, _dns: Dns| {
        let ca = start(&lab, "[Certificate]\nenrollment_timeout: 0");
        let httpd = site(&lab, &ca, "");
        wait_served(&httpd, &ca, &["one.test"]);
        assert_no_errors(&httpd);
    });
}

#[test]
#[ignore = "run by `make test-interop`"]
fn advice_on_renewals_is_taken() {
    alone(open_lab!(Need::Root), &[GUNICORN], |lab: Lab, _dns: Dns| {
        let ca = start(&lab, "[Renewalinfo]\nrenewalthreshold_pctg: 50");
        let httpd = site(&lab, &ca, "");
        wait_served(&httpd, &ca, &["one.test"]);
        let md = wait_for("advice in md-status", PATIENCE, || {
            Some(httpd.md("one.test")).filter(|md| md["ari"].is_object())
        });
        let date =
            |pointer: &str| md.pointer(pointer).and_then(Value::as_str).and_then(Timestamp::parse_http_date);
        let at = |pointer: &str| date(pointer).unwrap().unix();
        let [from, until] = ["/cert/P-256/valid/from", "/cert/P-256/valid/until"].map(at);
        let [start, end] = ["/ari/window/start", "/ari/window/end"].map(at);
        // Of the certificate of either key, of which one came a moment later.
        let half = from + (until - from) / 2;
        assert!((start - half).abs() < 60 && (end - until).abs() < 60, "{md:#}");
        assert!((start..=end).contains(&at("/renew-at")), "{md:#}");
        assert_no_errors(&httpd);
    });
}

/// A window that begins a year ago and ends tomorrow, for every certificate.
#[test]
#[ignore = "run by `make test-interop`"]
fn a_ca_that_forces_renewals_is_not_followed_without_end() {
    alone(open_lab!(Need::Root), &[GUNICORN], |lab: Lab, _dns: Dns| {
        let ca = start(&lab, "[Renewalinfo]\nrenewal_force: True");
        let httpd = site(&lab, &ca, "");
        wait_served(&httpd, &ca, &["one.test"]);
        let warned = || httpd.logged("its certificates are due for renewal, but it is held back until");
        wait_for("the warning", PATIENCE, || (!warned().is_empty()).then_some(()));
        let looks = || httpd.logged("AH10052").len();
        let before = looks();
        wait_for("ten more looks", PATIENCE, || (looks() >= before + 10).then_some(()));
        // The first set, and one for the reason that the CA gives, with two keys each.
        assert_eq!((ca.requests("/acme/neworders"), warned().len()), (4, 1));
        assert!(warned()[0].contains("the CA advises (ARI)"), "{:?}", warned());
        assert_no_errors(&httpd);
    });
}
