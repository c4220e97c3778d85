// SPDX-License-Identifier: Apache-2.0
//! Faults of httpd's configuration, by a real httpd that prints it. Nothing is reached.

use super::super::call::a2md;
use super::{assert_found, assert_healthy, doctor, is_root, put, without_reached};
use mod_md::model::{KeySpec, Md};
use mod_md::store::{Group, Owner, StartStore};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use support::httpd::unprivileged_user;
use support::issuer::{Issuer, Set};
use support::{Account, Config, Lab, Pebble, SOON, module, open_lab, wait_for};

/// A domain whose certificate is in use.
fn good(lab: &Lab) -> Config {
    let config = base(lab);
    install(&config, &Issuer::new().issue(&["a.test"]));
    config.site("a.test", &[])
}

/// As a start has put it there.
fn install(config: &Config, set: &Set) {
    let user = unprivileged_user();
    let owner = is_root().then_some(Owner { uid: user.uid, gid: user.gid });
    let store = StartStore::open(&config.store(), owner).unwrap();
    let md = Md {
        name: "a.test".into(),
        domains: vec!["a.test".into()],
        key_specs: vec![KeySpec::Ec("P-256".into())],
        ..Md::default()
    };
    put(&store, Group::Domains, &md, set);
}

fn base(lab: &Lab) -> Config {
    Config::new(lab).line(
        "MDContactEmail admin@a.test\nMDCertificateAuthority https://ca.test/dir\nMDCertificateAgreement accepted\n\
         MDPrivateKeys P-256\nMDomain a.test",
    )
}

#[track_caller]
fn looked(config: &Config) -> Vec<Value> {
    let mut findings = doctor(&["--offline", "--httpd", &config.control()]);
    // Some of these have no store, and most domains no certificate.
    let is_expected = |finding: &Value| {
        ["store-missing", "certificate-missing", "renewing-process"]
            .contains(&finding["check"].as_str().unwrap())
    };
    findings.retain(|finding| !is_expected(finding));
    findings
}

fn is_ours() -> bool {
    !module::is_c(&module::under_test())
}

type Row = (
    &'static str,
    fn(&Lab) -> Config,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

/// A pair of files that has expired.
fn expired_files(lab: &Lab) -> String {
    let set = Issuer::new().issue_for(&["b.test"], openssl::pkey::Id::EC, -7200, -3600);
    let (cert, key) = (lab.path("b.pem"), lab.path("b.key"));
    fs::write(&cert, set.chain_pem()).unwrap();
    fs::write(&key, set.key_pem()).unwrap();
    format!(
        "<MDomain b.test>\nMDCertificateFile {}\nMDCertificateKeyFile {}\n</MDomain>",
        cert.display(),
        key.display()
    )
}

const FAULTS: &[Row] = &[
    ("syntax", |lab| good(lab).line("Nonsense on"), "configtest", "fails", &["Nonsense"], &[]),
    (
        "two names in two domains",
        |lab| good(lab).line("MDomain b.test a.test"),
        "configuration",
        "fails",
        &["AH10038"],
        &[],
    ),
    (
        "loaded twice",
        |lab| good(lab).line("LoadModule md_module mod_md.so"),
        "module-twice",
        "fails",
        &["AH01574"],
        &[],
    ),
    (
        "no mod_md",
        |lab| good(lab).without_module().line("SSLEngine off"),
        "module-missing",
        "fails",
        &["does not load mod_md"],
        &["configtest"],
    ),
    (
        "no mod_ssl",
        |lab| {
            let page = format!("<VirtualHost *:{}>\nServerName a.test\n</VirtualHost>", lab.https);
            base(lab).without_module_named("ssl").line(&page)
        },
        "mod-ssl-missing",
        "fails",
        &["mod_ssl"],
        &["no-challenge"],
    ),
    (
        "no secret of the fleet",
        |lab| good(lab).line("MDFleet redis://127.0.0.1:1\nMDFleetSecretFile /nonexistent/fleet.secret"),
        "fleet-file",
        "fails",
        &["MDFleetSecretFile", "/nonexistent/fleet.secret", "Put it there"],
        &[],
    ),
    (
        "a secret of the fleet that others can read",
        |lab| {
            let file = lab.path("fleet.secret").display().to_string();
            assert_eq!(a2md(&["fleet", "secret", "--out", &file]).code, 0);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
            good(lab).line(&format!("MDFleet redis://127.0.0.1:1\nMDFleetSecretFile {file}"))
        },
        "fleet-file",
        "fails",
        &["mode 0644", "chmod 600"],
        &[],
    ),
    (
        "no host",
        |lab| good(lab).line("MDomain b.test"),
        "host-missing",
        "fails",
        &["No VirtualHost matches", "b.test"],
        &[],
    ),
    (
        "two hosts of one name",
        |lab| good(lab).site("a.test", &[]),
        "host-duplicate",
        "fails",
        &["a.test", "httpd.conf:"],
        &[],
    ),
    (
        "a host without domain",
        |lab| good(lab).site("x.test", &[]),
        "host-without-certificate",
        "fails",
        &["x.test"],
        &[],
    ),
    (
        "a wildcard without dns-01",
        |lab| good(lab).line("MDomain *.w.test").site("w.w.test", &[]),
        "wildcard-without-dns-01",
        "fails",
        &["*.w.test"],
        &[],
    ),
    (
        "manual",
        |lab| good(lab).line("<MDomain m.test>\nMDRenewMode manual\n</MDomain>").site("m.test", &[]),
        "renew-manual",
        "fails",
        &["MDRenewMode manual"],
        &[],
    ),
    (
        "an expired file",
        |lab| {
            let files = expired_files(lab);
            good(lab).line(&files).site("b.test", &[])
        },
        "certificate-file",
        "fails",
        &["b.pem", "expired at"],
        &[],
    ),
    (
        "files of the host beside the domain",
        |lab| {
            let set = Issuer::new().issue(&["a.test"]);
            let (cert, key) = (lab.path("a.pem"), lab.path("a.key"));
            fs::write(&cert, set.chain_pem()).unwrap();
            fs::write(&key, set.key_pem()).unwrap();
            let lines =
                format!("SSLCertificateFile {}\nSSLCertificateKeyFile {}", cert.display(), key.display());
            let config = base(lab);
            install(&config, &set);
            config.site_with("a.test", &lines)
        },
        "certificate-file-beside",
        "works",
        &["a.test"],
        &[],
    ),
    (
        "no terms for Let's Encrypt",
        |lab| {
            let lines = "<MDomain l.example.org>\nMDCertificateAuthority letsencrypt\n</MDomain>";
            Config::new(lab).line("MDContactEmail a@b.test").line(lines).site("l.example.org", &[])
        },
        "terms-not-accepted",
        "fails",
        &["MDCertificateAgreement"],
        &[],
    ),
    (
        "no binding for ZeroSSL",
        |lab| {
            let lines =
                "MDCertificateAgreement accepted\nMDCertificateAuthority zerossl\nMDomain z.example.org";
            Config::new(lab).line("MDContactEmail a@b.test").line(lines).site("z.example.org", &[])
        },
        "eab-missing",
        "fails",
        &["MDExternalAccountBinding"],
        &[],
    ),
    (
        "a command that is not there",
        |lab| good(lab).line("MDMessageCmd /no/such/command"),
        "command-unusable",
        "fails",
        &["/no/such/command"],
        &[],
    ),
];

#[test]
fn each_planted_fault_of_a_configuration_is_found_by_its_token() {
    for (name, plant, check, verdict, words, also) in FAULTS {
        let Some(lab) = open_lab!().filter(|_| is_ours()) else { return };
        println!("{name}");
        assert_found(&looked(&plant(&lab)), check, verdict, words, also);
    }
}

#[test]
fn of_a_configuration_in_order_nothing_is_said() {
    let Some(lab) = open_lab!().filter(|_| is_ours()) else { return };
    assert_healthy(&looked(&good(&lab)));
}

#[test]
fn of_a_server_that_works_nothing_is_said() {
    for account in [Account::Own, Account::Ordinary] {
        let Some(lab) = open_lab!() else { return };
        let pebble = Pebble::start(&lab);
        let config = Config::with_ca(&lab, &pebble.authority).account(account).line("MDCheckInterval 1s");
        let mut httpd =
            config.line("MDomain one.test www.one.test").site("one.test", &["www.one.test"]).start();
        httpd.wait_staged("one.test");
        let (control, root) = (httpd.config.control(), pebble.authority.certificate.display().to_string());
        let store = httpd.config.store().display().to_string();
        let arguments: &[&str] =
            if is_ours() { &["--httpd", &control] } else { &["-d", &store, "-C", &root, "--offline"] };
        // The first set waits, or is live: no restart has put it into domains/.
        wait_for("a first set without an alarm", SOON, || {
            let findings = without_reached(doctor(arguments));
            findings.iter().all(|finding| finding["verdict"] == "works").then_some(())
        });
        httpd.wait_staged_and_activate(&["one.test"]);
        assert_healthy(&without_reached(doctor(arguments)));
        if is_ours() {
            wait_for("a process that renews", SOON, || {
                let findings = doctor(arguments);
                let renews = findings.iter().find(|finding| finding["check"] == "renewing-process")?;
                renews["evidence"].as_str()?.contains("renews in this store").then_some(())
            });
        }
        // Without httpd.
        let _config = httpd.stop();
        assert_healthy(&without_reached(doctor(arguments)));
    }
}
