// SPDX-License-Identifier: Apache-2.0
//! A good site stays up: whatever certificate there is goes on being served until its successor is, whatever
//! the configuration asks for beyond it, and a set that mod_ssl refuses takes no server down. The CA of these
//! tests is down, so that nothing is renewed meanwhile.

use openssl::pkey::Id;
use serde_json::{Value, json};

use support::issuer::{self, Issuer, Set};
use support::tls::{self, EC_ONLY, Files, RSA_ONLY};
use support::{Authority, Config, Httpd, Lab, Pebble, SOON, module, open_lab, wait_for};

const ONE: &[&str] = &["one.test"];

fn config(lab: &Lab) -> Config {
    Config::with_ca(lab, &Authority::new(lab)).line("MDRetryDelay 1s")
}

/// The same from nothing.
fn fresh(lab: &Lab) -> Config {
    let config = config(lab);
    config.forget();
    config
}

/// With these directives, and a host for each name they manage.
fn sites(config: Config, lines: &str) -> Config {
    let config = config.line(lines).site("one.test", &[]);
    if lines.contains("two.test") { config.site("two.test", &[]) } else { config }
}

/// Nobody renews before the test has put something into staging.
const LATER: &str = "MDInitialDelay 1h";

fn is_ours() -> bool {
    !module::is_c(&module::under_test())
}

#[track_caller]
fn assert_serves(httpd: &Httpd, name: &str, set: &Set, what: &str) {
    let served = tls::served(httpd.config.https_port(), name, None, &[]);
    assert_eq!(served.serial(), set.serial(), "{what}: {}", served.issuer());
    let status = httpd.https_get(name, "/index.html").status;
    assert_eq!(status, 200, "{what}");
}

fn served_by(httpd: &Httpd, name: &str) -> Value {
    httpd.md(name)["hosts"].as_array().unwrap().iter().map(|host| host["served"].clone()).collect()
}

#[test]
fn a_certificate_is_served_while_the_configuration_asks_for_more() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    let cases: &[(&str, &str, bool)] = &[
        ("a name more", "MDPrivateKeys P-256\nMDomain one.test two.test", true),
        ("a key more", "MDPrivateKeys P-256 RSA\nMDomain one.test", true),
        ("must-staple", "MDPrivateKeys P-256\nMDMustStaple on\nMDomain one.test", true),
        (
            "another CA",
            "MDPrivateKeys P-256\nMDCertificateAuthority https://127.0.0.1:1/dir\nMDomain one.test",
            true,
        ),
        // The C module goes back to its self-signed certificate here.
        ("another key", "MDPrivateKeys P-384\nMDomain one.test", is_ours()),
        ("a key of another kind", "MDPrivateKeys RSA\nMDomain one.test", is_ours()),
    ];
    for (what, lines, _) in cases.iter().filter(|(_, _, is_served)| *is_served) {
        let config = sites(fresh(&lab), lines);
        let set = issuer.issue(ONE);
        issuer::install(&config.store(), ONE, &[&set]);
        let mut httpd = config.start();
        assert_serves(&httpd, "one.test", &set, what);
        httpd.graceful();
        assert_serves(&httpd, "one.test", &set, what);
        let md = httpd.md("one.test");
        assert_eq!(md["renew"] == true, *what != "another CA", "{what}: {md:#}");
        if is_ours() {
            let hosts = if what.contains("name") { json!(["md", "md"]) } else { json!(["md"]) };
            assert_eq!(served_by(&httpd, "one.test"), hosts, "{what}");
            let serial = md["cert"]["P-256"]["serial"].clone();
            assert_eq!(serial, set.serial(), "{what}: the page knows what is served");
        }
        httpd.stop();
    }
}

#[test]
fn an_unusable_certificate_of_a_ca_is_better_than_a_self_signed_one() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    for (what, set) in [
        ("expired", issuer.issue_for(ONE, Id::EC, -7200, -3600)),
        ("not valid yet", issuer.issue_for(ONE, Id::EC, 3600, 7200)),
        ("other names", issuer.issue(&["other.test"])),
    ] {
        let config = fresh(&lab).line("MDPrivateKeys P-256\nMDomain one.test").site("one.test", &[]);
        issuer::install(&config.store(), ONE, &[&set]);
        let httpd = config.start();
        assert_serves(&httpd, "one.test", &set, what);
        httpd.stop();
    }
}

#[test]
fn a_staged_set_of_an_earlier_configuration_is_put_into_use() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    for lines in ["MDomain one.test two.test", "MDMustStaple on\nMDomain one.test"] {
        for has_old in [true, false] {
            let config = sites(fresh(&lab).at_restarts().line("MDPrivateKeys P-256"), lines);
            if has_old {
                issuer::install(&config.store(), ONE, &[&issuer.issue(ONE)]);
            }
            // The C module opens only a store that it has made.
            let mut httpd = config.line(LATER).start();
            let set = issuer.issue(ONE);
            issuer::stage(&httpd.config.store(), ONE, &[&set]);
            httpd.graceful();
            assert_serves(&httpd, "one.test", &set, lines);
            httpd.stop();
        }
    }
}

#[test]
fn a_live_set_of_an_earlier_configuration_is_put_into_use() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    let lines = "MDPrivateKeys P-256\nMDCheckInterval 1s";
    let before = config(&lab).line(lines).line("MDomain one.test").site("one.test", &[]);
    issuer::install(&before.store(), ONE, &[&issuer.issue(ONE)]);
    let httpd = before.start();
    let set = issuer.issue(ONE);
    issuer::stage(&httpd.config.store(), ONE, &[&set]);
    httpd.wait_live("one.test", &set.serial());
    httpd.stop();
    let after = config(&lab).line(lines).line("MDomain one.test two.test").site("one.test", &[]);
    let httpd = after.site("two.test", &[]).start();
    assert_serves(&httpd, "one.test", &set, "a name more");
    assert!(httpd.logged("AH10069").is_empty());
}

#[test]
fn files_of_a_host_are_served_until_its_domain_has_a_certificate() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    for is_inherited in [false, true] {
        let own = Files::new(&lab, "own.test", Id::EC);
        let config = fresh(&lab).at_restarts().line(LATER).line("MDPrivateKeys P-256\nMDomain one.test");
        let config = match is_inherited {
            true => config.line(&own.directives()).site("one.test", &[]),
            false => config.site_with("one.test", &own.directives()),
        };
        let mut httpd = config.start();
        let served = tls::served(httpd.config.https_port(), "one.test", None, &[]);
        assert_eq!(served.names(), ["own.test"], "the files of the host");
        assert_eq!(httpd.https_get("one.test", "/index.html").status, 200);
        if is_ours() {
            assert_eq!(served_by(&httpd, "one.test"), json!(["file"]));
            let said = httpd.logged("AH10084");
            assert!(
                said.iter().any(|line| line.contains("md:notice") && line.contains("one.test")),
                "{said:?}"
            );
        }
        let set = issuer.issue(ONE);
        issuer::stage(&httpd.config.store(), ONE, &[&set]);
        httpd.graceful();
        assert_serves(&httpd, "one.test", &set, "the domain's own");
        httpd.stop();
    }
}

#[test]
fn a_live_set_takes_the_place_of_the_files_of_a_host() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let own = Files::new(&lab, "own.test", Id::RSA);
    let config = Config::with_ca(&lab, &pebble.authority).line("MDPrivateKeys P-256\nMDomain one.test");
    let mut httpd = config.line("MDInitialDelay 2s").site_with("one.test", &own.directives()).start();
    let port = httpd.config.https_port();
    let served = |options: &[&str]| tls::served(port, "one.test", None, options);
    assert_eq!(served(&[]).names(), ["own.test"]);
    assert_eq!(served_by(&httpd, "one.test"), json!(["file"]));
    let serial = wait_for("the certificate of the domain, live", SOON, || {
        let activation = &httpd.md("one.test")["activation"];
        (activation["mode"] == "live").then(|| activation["serial"].as_str().unwrap().to_string())
    });
    httpd.wait_live("one.test", &serial);
    for _ in 0..2 {
        assert_eq!(served(EC_ONLY).serial(), serial);
        assert_eq!(served(RSA_ONLY).names(), ["own.test"], "clients that know no other keys");
        assert_eq!(served_by(&httpd, "one.test"), json!(["md"]));
        httpd.graceful();
    }
}

#[test]
fn valid_files_of_a_host_stay_beside_the_certificate_of_its_domain() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    let put = |name: &str, content: Vec<u8>| {
        let path = lab.path(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let rsa = issuer.issue_for(&["one.test"], Id::RSA, -60, 86_400);
    let expired = issuer.issue_for(&["one.test"], Id::EC, -7200, -3600);
    // The one has its key in the same file, as mod_ssl allows.
    let both = |set: &Set| [set.chain_pem(), set.key_pem()].concat();
    let own = format!(
        "SSLCertificateFile {}\nSSLCertificateFile {}",
        put("rsa.pem", both(&rsa)),
        put("expired.pem", both(&expired))
    );
    for (keys, algorithm, to_rsa) in [("P-256", Id::EC, Some(&rsa)), ("RSA", Id::RSA, None)] {
        let config = fresh(&lab).line(&format!("MDPrivateKeys {keys}\nMDomain one.test"));
        let config = config.site_with("one.test", &own);
        let set = issuer.issue_for(ONE, algorithm, -60, 86_400);
        issuer::install(&config.store(), ONE, &[&set]);
        let httpd = config.start();
        let served =
            |options: &[&str]| tls::served(httpd.config.https_port(), "one.test", None, options).serial();
        assert_eq!(served(&[]), set.serial(), "{keys}");
        assert_eq!(served(RSA_ONLY), to_rsa.unwrap_or(&set).serial(), "{keys}");
        httpd.stop();
    }
}

#[test]
fn a_certificate_without_the_name_of_a_host_does_not_replace_its_files() {
    let Some(lab) = open_lab!() else { return };
    let own = Files::new(&lab, "two.test", Id::EC);
    let config = config(&lab).line("MDPrivateKeys P-256\nMDomain one.test two.test").site("one.test", &[]);
    let set = Issuer::new().issue(ONE);
    issuer::install(&config.store(), ONE, &[&set]);
    let httpd = config.site_with("two.test", &own.directives()).start();
    assert_serves(&httpd, "one.test", &set, "the certificate there is");
    let served = tls::served(httpd.config.https_port(), "two.test", None, &[]);
    assert_eq!(served.names(), ["two.test"]);
}

#[test]
fn an_expired_certificate_does_not_replace_good_files_of_the_host() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    let own = Files::new(&lab, "own.test", Id::EC);
    let config = config(&lab).line("MDPrivateKeys P-256\nMDomain one.test");
    let config = config.site_with("one.test", &own.directives());
    issuer::install(&config.store(), ONE, &[&issuer.issue_for(ONE, Id::EC, -7200, -3600)]);
    let httpd = config.start();
    assert_eq!(tls::served(lab.https, "one.test", None, &[]).names(), ["own.test"]);
    assert_eq!(served_by(&httpd, "one.test"), json!(["file"]));
}

#[test]
fn the_static_files_of_a_domain_come_before_those_of_its_host() {
    let Some(lab) = open_lab!() else { return };
    let (of_md, of_host) = (Files::new(&lab, "one.test", Id::EC), Files::new(&lab, "own.test", Id::EC));
    let md = format!(
        "<MDomain one.test>\nMDCertificateFile {}\nMDCertificateKeyFile {}\n</MDomain>",
        of_md.certificate.display(),
        of_md.key.display()
    );
    let httpd = config(&lab).line(&md).site_with("one.test", &of_host.directives()).start();
    assert_eq!(tls::served(lab.https, "one.test", None, &[]).names(), ["one.test"]);
    assert_eq!(httpd.https_get("one.test", "/index.html").status, 200);
}

/// A host that takes no RSA key of 2048 bits, and two sets: one that it takes, and one with such a key in its
/// chain.
fn strict(lab: &Lab) -> (Config, Set, Set) {
    let config = config(lab)
        .line("MDPrivateKeys P-256\nMDCheckInterval 1s\nMDomain one.test")
        .site_with("one.test", "SSLCipherSuite ALL:@SECLEVEL=3");
    let old = Issuer::new().issue(ONE);
    issuer::install(&config.store(), ONE, &[&old]);
    (config, old, Issuer::with_key(Id::RSA).issue(ONE))
}

#[test]
fn a_set_that_its_host_refuses_fails_its_renewal_and_no_server() {
    let Some(lab) = open_lab!() else { return };
    let (config, old, new) = strict(&lab);
    let mut httpd = config.start();
    issuer::stage(&httpd.config.store(), ONE, &[&new]);
    for _ in 0..2 {
        wait_for("the refusal in md-status", SOON, || {
            let renewal = &httpd.md("one.test")["renewal"];
            let is_said = renewal["last"]["detail"].as_str().is_some_and(|detail| {
                detail.contains("the host one.test does not take it") && detail.contains("ca key too small")
            });
            (is_said && renewal["errors"].as_u64() > Some(0)).then_some(())
        });
        httpd.graceful();
        assert_serves(&httpd, "one.test", &old, "after a restart");
    }
    assert!(httpd.config.store().join("staging/one.test/pubcert.p-256.pem").exists(), "nothing is lost");
    assert!(!httpd.logged("AH10056").is_empty());
}

#[test]
fn after_a_start_that_a_new_set_ends_the_next_uses_the_set_before() {
    let Some(lab) = open_lab!() else { return };
    let (config, old, new) = strict(&lab);
    let config = config.at_restarts();
    issuer::stage(&config.store(), ONE, &[&new]);
    let Err(said) = config.clone().try_start() else { panic!("mod_ssl takes it") };
    assert!(said.contains("small"), "{said}");
    let mut httpd = config.start();
    assert_serves(&httpd, "one.test", &old, "the set before");
    let last = httpd.md("one.test")["renewal"]["last"].clone();
    assert!(last["detail"].as_str().is_some_and(|detail| detail.contains("not used")), "{last:#}");
    httpd.graceful();
    assert_serves(&httpd, "one.test", &old, "after a restart");
}

#[test]
fn after_a_start_that_several_sets_end_the_next_uses_those_before() {
    let Some(lab) = open_lab!() else { return };
    let (good, weak) = (Issuer::new(), Issuer::with_key(Id::RSA));
    let mut config = config(&lab).at_restarts().line("MDPrivateKeys P-256");
    let names = ["one.test", "two.test", "three.test"];
    let mut old = Vec::new();
    for name in names {
        config = config.line(&format!("MDomain {name}")).site_with(name, "SSLCipherSuite ALL:@SECLEVEL=3");
        old.push(good.issue(&[name]));
        issuer::install(&config.store(), &[name], &[&old[old.len() - 1]]);
        issuer::stage(&config.store(), &[name], &[&weak.issue(&[name])]);
    }
    assert!(config.clone().try_start().is_err(), "mod_ssl takes none of them");
    let httpd = config.start();
    for (name, old) in names.into_iter().zip(&old) {
        assert_serves(&httpd, name, old, "the set before");
    }
}
