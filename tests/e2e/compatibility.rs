// SPDX-License-Identifier: Apache-2.0
//! The module file is swapped and httpd restarted: every certificate, key and account of the other module is
//! found. Both ways.

use std::fs;
use std::path::Path;

use data_encoding::BASE64URL_NOPAD;
use openssl::x509::X509;
use serde_json::{Value, json};

use openssl::pkey::Id;

use support::difference::is_one_moment;
use support::issuer::{self, Issuer};
use support::module::{c_module, under_test};
use support::tls;
use support::{Command, Config, Httpd, Lab, Need, Pebble, SOON, open_lab, wait_for};

/// `second` serves what `first` got, renews nothing, and orders the next certificate with the account of
/// `first`.
#[track_caller]
fn assert_takes_over(lab: &Lab, first: &Path, second: &Path) {
    let pebble = Pebble::start(lab);
    let config = Config::with_ca(lab, &pebble.authority)
        .line("MDPrivateKeys RSA P-256\nMDCheckInterval 1s\nMDomain one.test www.one.test")
        .site("one.test", &["www.one.test"]);
    write_store_key(&config);
    let mut httpd = config.module(first).start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let serial = httpd.served("one.test", &pebble, &[]).serial();
    let known = facts(&httpd);
    let orders = pebble.order_count();
    let notes = ["requests", "withdrawn"].map(|folder| httpd.config.store().join(folder));
    for folder in &notes {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("one.test.json"), "{}").unwrap();
    }

    let httpd = httpd.stop().module(second).start();
    httpd.wait_looked_twice();
    for folder in &notes {
        assert_eq!(fs::read(folder.join("one.test.json")).unwrap(), b"{}", "it leaves {}", folder.display());
    }
    let served = httpd.served("one.test", &pebble, &[]);
    assert!(served.verified, "{}", served.verdict);
    assert_eq!(served.serial(), serial);
    assert_same_facts(&facts(&httpd), &known);
    assert_eq!(pebble.order_count(), orders, "nothing was renewed");

    let mut httpd = httpd.stop().line("MDomain two.test").site("two.test", &[]).start();
    httpd.wait_staged_and_activate(&["two.test"]);
    let served = httpd.served("two.test", &pebble, &[]);
    assert!(served.verified, "{}", served.verdict);
    assert_eq!(pebble.account_count(), 1, "the account was found and its key could be read");
}

/// What md-status says of the certificates, without `ari-cert-id`: the C module drops the zero that a serial
/// has in front where its first bit is set, which is against RFC 9773 §4.1.
fn facts(httpd: &Httpd) -> Value {
    let mut cert = httpd.md("one.test")["cert"].take();
    for facts in cert.as_object_mut().unwrap().values_mut() {
        facts.as_object_mut().unwrap().remove("ari-cert-id");
    }
    cert
}

/// All but dates are the same, and these within moments.
#[track_caller]
fn assert_same_facts(facts: &Value, known: &Value) {
    let flat = |value: &Value| {
        let mut found = Vec::new();
        flatten("", value, &mut found);
        found
    };
    let (facts, known) = (flat(facts), flat(known));
    assert!(facts.iter().any(|(place, _)| place.ends_with("/valid/until")), "{facts:?}");
    assert_eq!(facts.len(), known.len(), "{facts:?} and {known:?}");
    for ((place, fact), (other, known)) in facts.iter().zip(&known) {
        let is_date = place.contains("/valid/") && is_one_moment(fact, known);
        assert!(place == other && (fact == known || is_date), "{place} {fact} and {other} {known}");
    }
}

fn flatten(place: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| flatten(&format!("{place}/{key}"), value, found));
        }
        Value::String(text) => found.push((place.to_string(), text.clone())),
        _ => found.push((place.to_string(), value.to_string())),
    }
}

/// A key that one in six stores has: as a pass phrase it is no C string, because of its NUL bytes.
fn write_store_key(config: &Config) {
    let key: Vec<u8> = (0..48).map(|byte| byte % 20).collect();
    let record = json!({ "store": { "version": 3.0 }, "key": BASE64URL_NOPAD.encode(&key) });
    fs::create_dir_all(config.store()).unwrap();
    fs::write(config.store().join("md_store.json"), record.to_string()).unwrap();
}

#[test]
fn ours_takes_over_the_store_of_the_c_module() {
    let Some(lab) = open_lab!(Need::BothModules) else { return };
    assert_takes_over(&lab, &c_module().unwrap(), &under_test());
}

#[test]
fn the_c_module_takes_over_our_store() {
    let Some(lab) = open_lab!(Need::BothModules) else { return };
    assert_takes_over(&lab, &under_test(), &c_module().unwrap());
}

/// `second` puts into use what `first` has left waiting for a restart.
#[track_caller]
fn assert_activates(lab: &Lab, first: &Path, second: &Path) {
    let pebble = Pebble::start(lab);
    let config = Config::with_ca(lab, &pebble.authority).line("MDomain one.test").site("one.test", &[]);
    let httpd = config.module(first).start();
    httpd.wait_staged("one.test");
    let serial = httpd.md("one.test")["renewal"]["cert"]["rsa"]["serial"].clone();
    let httpd = httpd.stop().module(second).start();
    let served = httpd.served("one.test", &pebble, &[]);
    assert!(served.verified, "{}", served.verdict);
    assert_eq!(serial, served.serial());
    assert_eq!(pebble.order_count(), 1);
}

#[test]
fn what_one_module_leaves_in_staging_the_other_activates() {
    let Some(lab) = open_lab!(Need::BothModules) else { return };
    let (ours, c) = (under_test(), c_module().unwrap());
    assert_activates(&lab, &ours, &c);
    Config::new(&lab).forget();
    assert_activates(&lab, &c, &ours);
}

/// Domains that have no certificate yet start with each module, whatever self-signed ones the other has left.
#[test]
fn self_signed_certificates_of_one_module_do_not_disturb_the_other() {
    let Some(lab) = open_lab!(Need::BothModules) else { return };
    let (ours, c) = (under_test(), c_module().unwrap());
    let names = ["one.test", "two.test"];
    for keys in ["Default", "P-256 RSA", "secp384r1"] {
        let mut config = Config::new(&lab)
            .line(&format!("MDRenewMode manual\nMDPrivateKeys {keys}\nMDomain one.test\nMDomain two.test"));
        config = names.into_iter().fold(config, |config, name| config.site(name, &[]));
        // The C module's are kept, so are ours.
        for order in [[&ours, &c, &ours], [&c, &ours, &c]] {
            let mut shown = Vec::new();
            for module in order {
                let httpd = config.clone().module(module).start();
                for name in names {
                    let served = tls::served(httpd.config.https_port(), name, None, &[]);
                    assert_eq!(served.common_name(), "Apache Managed Domain Fallback", "{keys}");
                    assert_eq!(served.names(), [name]);
                    assert_eq!(httpd.https_get(name, "/").status, 503);
                    shown.push(served.serial());
                }
                httpd.stop();
            }
            assert_eq!(shown[..2], shown[4..], "{keys}: the first module finds its own again");
            config.forget();
        }
    }
}

#[test]
fn a_set_of_the_c_module_whose_ca_sent_more_than_the_chain_is_activated() {
    let Some(lab) = open_lab!(Need::BothModules) else { return };
    let (ours, c) = (under_test(), c_module().unwrap());
    for second in [&c, &ours] {
        let pebble = Pebble::start(&lab);
        let config = Config::with_ca(&lab, &pebble.authority).line("MDomain one.test").site("one.test", &[]);
        let httpd = config.module(&c).start();
        httpd.wait_staged("one.test");
        let serial = httpd.md("one.test")["renewal"]["cert"]["rsa"]["serial"].clone();
        let config = httpd.stop();
        let file = config.store().join("staging/one.test/pubcert.pem");
        let chain = X509::stack_from_pem(&fs::read(&file).unwrap()).unwrap();
        let root = X509::stack_from_pem(&fs::read(&pebble.authority.root).unwrap()).unwrap().remove(0);
        let sent = [&chain[0], &chain[1], &chain[1], &chain[0], &root].map(|cert| cert.to_pem().unwrap());
        fs::write(&file, [b"subject=one\n".to_vec(), sent.concat()].concat()).unwrap();
        let httpd = config.module(second).start();
        let served = httpd.served("one.test", &pebble, &[]);
        assert!(served.verified, "{}", served.verdict);
        assert_eq!(serial, served.serial());
        assert_eq!(pebble.order_count(), 1);
        httpd.stop().forget();
    }
}

/// What the C module notes of having told that a certificate expires looks like a renewal that is finished.
#[test]
fn ours_finds_no_renewal_where_the_c_module_has_only_told_of_an_expiry() {
    let Some(lab) = open_lab!(Need::BothModules) else { return };
    let message = Command::new(&lab, "message", "");
    let config = Config::new(&lab)
        .line("MDCertificateAuthority https://127.0.0.1:1/dir\nMDCertificateAgreement accepted")
        .line(&format!("MDRenewMode manual\nMDCheckInterval 1s\nMDMessageCmd {}", message.line))
        .line("MDPrivateKeys P-256\nMDomain one.test")
        .site("one.test", &[]);
    let day = 86_400;
    let set = Issuer::new().issue_for(&["one.test"], Id::EC, -85 * day, 5 * day);
    issuer::install(&config.store(), &["one.test"], &[&set]);
    let httpd = config.module(&c_module().unwrap()).start();
    wait_for("a finished job", SOON, || {
        let job = fs::read_to_string(httpd.config.store().join("staging/one.test/job.json")).ok()?;
        job.contains("message-expiring").then_some(())
    });
    let config = httpd.stop();
    fs::remove_file(config.server_root().join("error.log")).unwrap();
    let httpd = config.module(&under_test()).start();
    httpd.wait_logged("AH10052: md(one.test)");
    assert_eq!(httpd.md("one.test")["renewal"], Value::Null);
    assert_eq!(httpd.logged(":error]"), Vec::<String>::new());
    // A look that has begun ends before httpd does.
    drop(httpd.stop());
    assert_eq!(message.calls(), ["expiring one.test"], "not more than once a day");
}
