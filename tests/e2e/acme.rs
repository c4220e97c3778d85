// SPDX-License-Identifier: Apache-2.0
//! The requests of a managed domain to its CA, and the ways there: keys, must-staple, profiles, external
//! accounts, proxies, trust.

use std::fs;

use openssl::pkey::{Id, PKey, Private};
use serde_json::{Value, json};

use support::tls::{EC_ONLY, RSA_ONLY};
use support::{Authority, Config, Httpd, Lab, Pebble, Proxy, SOON, issuer, open_lab, wait_for};

/// A key of an external account, base64url.
const HMAC: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

fn one_domain(lab: &Lab, authority: &Authority) -> Config {
    Config::with_ca(lab, authority).line("MDomain one.test").site("one.test", &[])
}

/// A domain with a host and directives of its own.
fn domain(config: Config, name: &str, directives: &str) -> Config {
    config.line(&format!("<MDomain {name}>\n{directives}\n</MDomain>")).site(name, &[])
}

/// The renewal of a domain once it has failed.
#[track_caller]
fn failure(httpd: &Httpd, name: &str) -> Value {
    wait_for(&format!("a failure of {name} in md-status"), SOON, || {
        let last = httpd.md(name)["renewal"].take();
        (last["errors"].as_u64() >= Some(1)).then(|| last["last"].clone())
    })
}

#[track_caller]
fn assert_detail(last: &Value, parts: &[&str]) {
    let detail = last["detail"].as_str().unwrap_or_default();
    parts.iter().for_each(|part| assert!(detail.contains(part), "{part:?} in {last:#}"));
}

fn public_key(httpd: &Httpd, pebble: &Pebble, options: &[&str]) -> Vec<u8> {
    let served = httpd.served("one.test", pebble, options);
    assert!(served.verified, "{}", served.verdict);
    served.leaf().public_key().unwrap().public_key_to_der().unwrap()
}

#[test]
fn every_key_of_a_domain_is_served_and_made_anew_for_each_renewal() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let config = one_domain(&lab, &pebble.authority).line("MDPrivateKeys RSA secp384r1");
    let mut httpd = config.start();
    httpd.wait_staged_and_activate(&["one.test"]);
    assert_eq!(httpd.served("one.test", &pebble, RSA_ONLY).key(), Id::RSA);
    let ec = httpd.served("one.test", &pebble, EC_ONLY).leaf().public_key().unwrap().ec_key().unwrap();
    assert_eq!(ec.group().curve_name(), Some(openssl::nid::Nid::SECP384R1));
    let first = [RSA_ONLY, EC_ONLY].map(|options| public_key(&httpd, &pebble, options));
    // Longer than certificates live: due at any time.
    let mut httpd = httpd.stop().line("MDRenewWindow 9999d").start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let second = [RSA_ONLY, EC_ONLY].map(|options| public_key(&httpd, &pebble, options));
    assert!(first[0] != second[0] && first[1] != second[1], "a key is used again");
}

#[test]
fn a_key_type_added_is_certified_and_one_dropped_no_longer_served() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = one_domain(&lab, &pebble.authority).line("MDPrivateKeys RSA").start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let mut httpd = httpd.stop().line("MDPrivateKeys P-256").start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let served = httpd.served("one.test", &pebble, &[]);
    assert!(served.verified, "{}", served.verdict);
    assert_eq!(served.key(), Id::EC);
    assert!(!httpd.served("one.test", &pebble, RSA_ONLY).verified, "nobody has an RSA key any more");
    assert_eq!((pebble.order_count(), pebble.account_count()), (2, 1));
}

#[test]
fn domains_share_the_account_of_their_ca_whatever_their_contacts() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let contact = |who: &str| format!("MDContactEmail {who}@example.test");
    let mut config = Config::with_ca(&lab, &pebble.authority);
    config = domain(config, "one.test", &contact("one"));
    config = domain(config, "two.test", &contact("two"));
    let mut httpd = config.start();
    httpd.wait_staged_and_activate(&["one.test", "two.test"]);
    let account = |httpd: &Httpd, name: &str| {
        let file = httpd.config.store().join("domains").join(name).join("md.json");
        serde_json::from_slice::<Value>(&fs::read(file).unwrap()).unwrap()["ca"]["account"].take()
    };
    let first = account(&httpd, "one.test");
    assert!(first.is_string(), "{first}");
    // All are due at any time, one has a new contact, another none of its own, a third is new.
    let mut config = Config::with_ca(&lab, &pebble.authority).line("MDRenewWindow 9999d");
    config = domain(config, "one.test", &contact("changed"));
    config = domain(config, "two.test", "");
    config = domain(config, "three.test", &contact("three"));
    httpd.stop();
    let mut httpd = config.start();
    httpd.wait_staged_and_activate(&["one.test", "two.test", "three.test"]);
    for name in ["one.test", "two.test", "three.test"] {
        assert_eq!(account(&httpd, name), first, "{name}");
    }
    assert_eq!((pebble.order_count(), pebble.account_count()), (5, 1));
}

/// That of the only account, as OpenSSL opens it.
fn account_key(httpd: &Httpd) -> PKey<Private> {
    let store = httpd.config.store();
    let folders: Vec<_> = fs::read_dir(store.join("accounts")).unwrap().collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    let pem = fs::read(folders[0].as_ref().unwrap().path().join("account.pem")).unwrap();
    issuer::open(&pem, &store)
}

#[test]
fn a_new_account_has_a_key_of_rsa_3072_where_nothing_else_is_configured() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = one_domain(&lab, &pebble.authority).start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let key = account_key(&httpd);
    assert_eq!((key.id(), key.bits()), (Id::RSA, 3072));
}

#[test]
fn a_new_account_has_the_key_that_is_configured_and_keeps_it() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let key = |httpd: &Httpd| {
        let key = account_key(httpd);
        (key.id(), key.public_key_to_der().unwrap())
    };
    let mut httpd = one_domain(&lab, &pebble.authority).line("MDAccountKey P-256").start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let first = key(&httpd);
    assert_eq!(first.0, Id::EC);
    assert_eq!(httpd.md("one.test")["ca"]["account-key"], json!({"type": "EC", "curve": "P-256"}));
    let mut httpd = httpd.stop().line("MDAccountKey RSA 2048\nMDRenewWindow 9999d").start();
    httpd.wait_staged_and_activate(&["one.test"]);
    assert_eq!((key(&httpd), pebble.account_count(), pebble.order_count()), (first, 1, 2));
}

#[test]
fn must_staple_is_asked_for_and_a_change_of_mind_renews() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let has_feature = |httpd: &Httpd| {
        let served = httpd.served("one.test", &pebble, &[]);
        assert!(served.verified, "{}", served.verdict);
        String::from_utf8(served.leaf().to_text().unwrap()).unwrap().contains("status_request")
    };
    let mut httpd = one_domain(&lab, &pebble.authority).line("MDMustStaple on").start();
    httpd.wait_staged_and_activate(&["one.test"]);
    assert!(has_feature(&httpd));
    let mut httpd = httpd.stop().line("MDMustStaple off").start();
    httpd.wait_staged_and_activate(&["one.test"]);
    assert!(!has_feature(&httpd));
}

#[test]
fn a_profile_the_ca_has_is_ordered_and_a_missing_mandatory_one_fails() {
    let Some(lab) = open_lab!() else { return };
    let profile = |days: u32| json!({"description": format!("{days} days"), "validityPeriod": days * 86_400});
    let profiles = json!({"default": profile(90), "shortlived": profile(6)});
    let pebble = Authority::new(&lab).set("profiles", profiles).start();
    let mut config = Config::with_ca(&lab, &pebble.authority);
    config = domain(config, "short.test", "MDProfile shortlived\nMDProfileMandatory on");
    config = domain(config, "other.test", "MDProfile elsewhere");
    config = domain(config, "strict.test", "MDProfile elsewhere\nMDProfileMandatory on");
    let mut httpd = config.start();
    let last = failure(&httpd, "strict.test");
    assert_eq!(last["problem"], "urn:ietf:params:acme:error:invalidProfile", "{last:#}");
    assert_detail(&last, &["elsewhere"]);
    httpd.wait_staged_and_activate(&["short.test", "other.test"]);
    let served = httpd.served("short.test", &pebble, &[]);
    assert!(served.verified, "{}", served.verdict);
    let life = served.leaf().not_before().diff(served.leaf().not_after()).unwrap();
    assert!(life.days < 7, "{} days", life.days);
    assert!(httpd.served("other.test", &pebble, &[]).verified);
}

#[test]
fn an_external_account_is_bound_and_each_mistake_has_its_own_text() {
    let Some(lab) = open_lab!() else { return };
    let keys = json!({"kid-1": HMAC, "kid-2": HMAC, "kid-3": HMAC});
    let pebble = Authority::new(&lab)
        .set("externalAccountBindingRequired", json!(true))
        .set("externalAccountMACKeys", keys)
        .start();
    let file = lab.path("eab.json");
    fs::write(&file, json!({"kid": "kid-2", "hmac": HMAC}).to_string()).unwrap();
    let wrong = HMAC.replace('z', "a");
    let mut config = Config::with_ca(&lab, &pebble.authority)
        .line(&format!("MDExternalAccountBinding kid-1 {HMAC}\nMDomain one.test"))
        .site("one.test", &[]);
    let binding = |value: &str| format!("MDExternalAccountBinding {value}");
    config = domain(config, "file.test", &binding(&file.display().to_string()));
    config = domain(config, "none.test", &binding("none"));
    config = domain(config, "garbage.test", &binding("kid-4 no%base64"));
    config = domain(config, "wrong.test", &binding(&format!("kid-3 {wrong}")));
    let mut httpd = config.start();

    let none = failure(&httpd, "none.test");
    assert_eq!(none["problem"], "urn:ietf:params:acme:error:externalAccountRequired", "{none:#}");
    assert_detail(&none, &["MDExternalAccountBinding"]);
    let garbage = failure(&httpd, "garbage.test");
    assert_eq!(garbage["problem"], "apache:eab-hmac-invalid", "{garbage:#}");
    let refused = failure(&httpd, "wrong.test");
    assert!(refused["problem"].as_str().unwrap().starts_with("urn:ietf:params:acme:error:"), "{refused:#}");

    httpd.wait_staged_and_activate(&["one.test", "file.test"]);
    assert!(httpd.served("one.test", &pebble, &[]).verified);
    assert!(httpd.served("file.test", &pebble, &[]).verified);
    assert_eq!(pebble.account_count(), 2);
    let told = httpd.said() + &httpd.mds().to_string();
    for secret in [HMAC, "no%base64", &wrong] {
        assert!(!told.contains(secret), "the hmac is told");
    }
}

/// The last of 43 characters has two bits beyond the 32 bytes.
#[test]
fn an_external_account_is_bound_whatever_the_bits_beyond_its_hmac_are() {
    let Some(lab) = open_lab!() else { return };
    let (good, stray) = (format!("{}E", &HMAC[..42]), format!("{}F", &HMAC[..42]));
    let pebble = Authority::new(&lab)
        .set("externalAccountBindingRequired", json!(true))
        .set("externalAccountMACKeys", json!({"kid-1": good}))
        .start();
    let mut httpd = Config::with_ca(&lab, &pebble.authority)
        .line(&format!("MDExternalAccountBinding kid-1 {stray}\nMDomain one.test"))
        .site("one.test", &[])
        .start();
    httpd.wait_staged_and_activate(&["one.test"]);
    assert!(httpd.served("one.test", &pebble, &[]).verified);
}

#[test]
fn a_domain_may_do_without_the_external_account_of_the_server() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Authority::new(&lab).set("externalAccountMACKeys", json!({"kid-1": HMAC})).start();
    let config = Config::with_ca(&lab, &pebble.authority)
        .line(&format!("MDExternalAccountBinding kid-1 {HMAC}\nMDomain one.test"))
        .site("one.test", &[]);
    let mut httpd = domain(config, "none.test", "MDExternalAccountBinding none").start();
    httpd.wait_staged_and_activate(&["one.test", "none.test"]);
    assert!(
        httpd.served("one.test", &pebble, &[]).verified && httpd.served("none.test", &pebble, &[]).verified
    );
    assert_eq!(pebble.account_count(), 2);
}

#[test]
fn the_ca_is_reached_through_the_proxy_of_the_server_or_of_the_domain() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut proxy = Proxy::start(&lab);
    let nobody = lab.port();
    let trust = |file: &std::path::Path| format!("MDHttpProxyCACertificateFile {}", file.display());
    let over_tls = format!("MDHttpProxy {}", proxy.tls_url());
    let mut config = one_domain(&lab, &pebble.authority).line(&format!("MDHttpProxy {}", proxy.url()));
    config = domain(config, "tls.test", &format!("{over_tls}\n{}", trust(&proxy.certificate)));
    config = domain(config, "stranger.test", &over_tls);
    config = domain(config, "dead.test", &format!("MDHttpProxy http://127.0.0.1:{nobody}"));
    let mut httpd = config.start();

    assert_detail(
        &failure(&httpd, "stranger.test"),
        &[&pebble.authority.directory(), "certificate verify failed"],
    );
    let dead = failure(&httpd, "dead.test");
    assert_eq!(dead["status"], 111, "{dead:#}");
    httpd.wait_staged_and_activate(&["one.test", "tls.test"]);
    assert!(
        httpd.served("one.test", &pebble, &[]).verified && httpd.served("tls.test", &pebble, &[]).verified
    );
    drop(httpd);
    proxy.stop();
    let (plain, tls) = proxy.connections();
    assert!(plain > 0 && tls > 0, "{plain} plain connections, {tls} over TLS");
}

/// As curl does, and so the C module.
#[test]
fn the_environment_says_which_hosts_are_reached_without_a_proxy() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let dead = format!("http://127.0.0.1:{}", lab.port());
    let dead = dead.as_str();
    let directive = format!("MDHttpProxy {dead}");
    let cases = [
        ("", vec![("https_proxy", dead), ("no_proxy", "a.test, 127.0.0.0/8")], true),
        (&directive, vec![("NO_PROXY", "a.test, 127.0.0.1")], true),
        ("", vec![("http_proxy", dead)], true),
        ("", vec![("all_proxy", dead)], false),
        ("", vec![("HTTPS_PROXY", dead), ("NO_PROXY", "127.0.0.1"), ("no_proxy", "a.test")], false),
    ];
    for (line, variables, is_reached) in cases {
        let config =
            one_domain(&lab, &pebble.authority).line(line).line("MDPrivateKeys P-256\nMDRetryDelay 1h");
        let httpd = variables.iter().fold(config, |config, (name, value)| config.env(name, value)).start();
        let reached = wait_for("an end of the first attempt", SOON, || {
            let renewal = httpd.md("one.test")["renewal"].take();
            (renewal["finished"] == true || renewal["errors"] == 1).then(|| renewal["finished"] == true)
        });
        assert_eq!(reached, is_reached, "{line} {variables:?}");
        httpd.stop().forget();
    }
}

#[test]
fn the_proxy_of_the_server_may_be_a_tls_one_with_roots_of_its_own() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut proxy = Proxy::start(&lab);
    let mut httpd = one_domain(&lab, &pebble.authority)
        .line(&format!("MDHttpProxy {}", proxy.tls_url()))
        .line(&format!("MDHttpProxyCACertificateFile {}", proxy.certificate.display()))
        .start();
    httpd.wait_staged_and_activate(&["one.test"]);
    drop(httpd);
    proxy.stop();
    let (plain, tls) = proxy.connections();
    assert!(plain == 0 && tls > 0, "{plain} plain connections, {tls} over TLS");
}

#[test]
fn a_ca_is_trusted_by_the_file_of_the_domain_before_that_of_the_server() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let other = support::tls::Files::new(&lab, "other.test", Id::EC).certificate;
    let trust = |file: &std::path::Path| format!("MDCACertificateFile {}", file.display());
    let mut config = Config::with_ca(&lab, &pebble.authority).line(&trust(&other));
    config = domain(config, "trusting.test", &trust(&pebble.authority.certificate));
    config = domain(config, "wary.test", "MDCACertificateFile none");
    config = domain(config, "other.test", "");
    let mut httpd = config.start();
    for name in ["other.test", "wary.test"] {
        assert_detail(&failure(&httpd, name), &["certificate verify failed", &pebble.authority.directory()]);
    }
    httpd.wait_staged_and_activate(&["trusting.test"]);
    assert!(httpd.served("trusting.test", &pebble, &[]).verified);
}

#[test]
fn domains_that_start_together_register_one_account() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let names: Vec<String> = (0..12).map(|n| format!("d{n}.test")).collect();
    let mut config = Config::with_ca(&lab, &pebble.authority).line("MDPrivateKeys P-256");
    for name in &names {
        config = config.line(&format!("MDomain {name}")).site(name, &[]);
    }
    let mut httpd = config.start();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    httpd.wait_staged_and_activate(&all);
    assert_eq!((pebble.account_count(), pebble.order_count()), (1, 12));
    let accounts = fs::read_dir(httpd.config.store().join("accounts")).unwrap();
    assert_eq!(accounts.count(), 1, "the start keeps it once");
}
#[test]
fn an_account_belongs_to_one_external_account_and_is_found_again_with_it() {
    let Some(lab) = open_lab!() else { return };
    let pebble =
        Authority::new(&lab).set("externalAccountMACKeys", json!({"kid-1": HMAC, "kid-2": HMAC})).start();
    let account_with = |directives: &str| {
        // The CA lets only the account of a certificate replace it, and the C module asks for that alone.
        let config = Config::with_ca(&lab, &pebble.authority).line("MDRenewWindow 9999d\nMDRenewViaARI off");
        // What was issued before would hold the third certificate in a row back.
        let _ = fs::remove_file(config.store().join("staging/one.test/issued.json"));
        let mut httpd = domain(config, "one.test", directives).start();
        httpd.wait_staged_and_activate(&["one.test"]);
        let account = httpd.md("one.test")["ca"]["account"].take();
        httpd.stop();
        (account, pebble.account_count())
    };
    let eab = |kid: &str| format!("MDExternalAccountBinding {kid} {HMAC}");
    let first = account_with(&eab("kid-1"));
    let others = [account_with(""), account_with(&eab("kid-2"))];
    assert_eq!([first.1, others[0].1, others[1].1], [1, 2, 3]);
    assert!(first.0 != others[0].0 && first.0 != others[1].0 && others[0].0 != others[1].0);
    assert_eq!(account_with(&eab("kid-1")), (first.0, 3));
}

#[test]
fn a_ca_that_is_asked_without_encryption_is_told_of_once_at_the_start() {
    let Some(lab) = open_lab!() else { return };
    let httpd = Config::new(&lab)
        .line("MDCertificateAgreement accepted\nMDCertificateAuthority http://ca.invalid/dir http://127.0.0.1:1/dir")
        .line("MDRenewMode auto\nMDomain one.test\nMDomain two.test")
        .site("one.test", &[])
        .site("two.test", &[])
        .start();
    let lines = httpd.logged("not encrypted");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let begin = "md[one.test] and 1 more: MDCertificateAuthority http://ca.invalid/dir: ";
    assert!(lines[0].contains("[md:warn]") && lines[0].contains(begin), "{lines:?}");
}
