// SPDX-License-Identifier: Apache-2.0
//! Which hosts a managed domain belongs to, which names join it, whose settings are in force for it, and
//! which certificate a host serves. No CA is needed: nothing is renewed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use openssl::pkey::Id;
use serde_json::{Value, json};

use support::tls::{EC_ONLY, Files, RSA_ONLY, Served, served};
use support::{Config, Httpd, Lab, Pebble, apache, module, open_lab};

/// No CA is asked, and none could be.
const QUIET: &str = "MDRenewMode manual\nMDCertificateAuthority https://127.0.0.1:1/dir";

fn config(lab: &Lab) -> Config {
    Config::new(lab).line(QUIET)
}

fn host(port: u16, lines: &str) -> String {
    format!("<VirtualHost *:{port}>\n{lines}\n</VirtualHost>")
}

/// A host with TLS and more lines than a site has.
fn tls_host(lab: &Lab, lines: &str) -> String {
    host(lab.https, &format!("SSLEngine on\n{lines}"))
}

/// The pairs `HOST MD` that the log tells of.
fn matches(httpd: &Httpd) -> BTreeSet<String> {
    let pair = |line: String| {
        let host = line.split_once("AH10041: Server ")?.1.split_once(':')?.0.to_string();
        let md = line.split_once(" matches md ")?.1.split_once(' ')?.0.to_string();
        Some(format!("{host} {md}"))
    };
    httpd.logged("AH10041").into_iter().filter_map(pair).collect()
}

#[track_caller]
fn assert_matches(httpd: &Httpd, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
    assert_eq!(matches(httpd), expected);
}

/// MDs that no host uses, by the log.
#[track_caller]
fn assert_unused(httpd: &Httpd, expected: &[&str]) {
    let md =
        |line: String| Some(line.split_once("matches Managed Domain ")?.1.split(' ').next()?.to_string());
    let found: BTreeSet<String> = httpd.logged("AH10045").into_iter().filter_map(md).collect();
    assert_eq!(found, expected.iter().map(ToString::to_string).collect());
}

/// Asserts values of md-status by MD: `(name, key or JSON pointer, value)`.
#[track_caller]
fn assert_status(httpd: &Httpd, expected: &[(&str, &str, Value)]) {
    for (name, key, value) in expected {
        let md = httpd.md(name);
        assert_eq!(md.pointer(key).unwrap_or(&Value::Null), value, "{key} of {name}: {md:#}");
    }
}

fn client(lab: &Lab, name: &str, options: &[&str]) -> Served {
    served(lab.https, name, None, options)
}

#[test]
fn mode_all_matches_names_aliases_and_wildcards_of_either_side() {
    let Some(lab) = open_lab!() else { return };
    let own = Files::new(&lab, "g.test", Id::EC).directives();
    let httpd = config(&lab)
        .line(
            "MDomain a.test\nMDomain alias.test\nMDomain deep.sub.w.test\nMDomain x1.test\nMDomain *.e.test",
        )
        .line("MDomain UPPER.test\nMDomain *.f.test\nMDomain x12.test\nMDomain main.test")
        .site("a.test", &[])
        .site("b.test", &["alias.test"])
        .site("c.test", &["*.w.test"])
        .site("d.test", &["x?.test"])
        .site("q.e.test", &[])
        .site("upper.TEST", &[])
        // A wildcard of an MD covers ServerName alone.
        .line(&tls_host(&lab, &format!("ServerName g.test\nServerAlias y.f.test\n{own}")))
        .start();
    assert_matches(
        &httpd,
        &[
            "a.test a.test",
            "b.test alias.test",
            "c.test deep.sub.w.test",
            "d.test x1.test",
            "q.e.test *.e.test",
            "upper.TEST upper.test",
        ],
    );
    assert_unused(&httpd, &["*.f.test", "x12.test", "main.test"]);
    // Names of the hosts join, their wildcards do not.
    assert_status(
        &httpd,
        &[
            ("alias.test", "/domains", json!(["alias.test", "b.test"])),
            ("deep.sub.w.test", "/domains", json!(["deep.sub.w.test", "c.test"])),
            ("q.e.test", "/domains", json!(["*.e.test"])),
            ("upper.test", "/domains", json!(["upper.test"])),
        ],
    );
    assert_eq!(client(&lab, "b.test", &[]).names(), ["alias.test"], "the fallback has the configured names");
    assert_eq!(client(&lab, "g.test", &[]).names(), ["g.test"]);
}

#[test]
fn mode_servernames_ignores_aliases_and_prefers_exact_names() {
    let Some(lab) = open_lab!() else { return };
    let httpd = config(&lab)
        .line("MDMatchNames servernames\nMDMembers manual")
        .line("MDomain a.test shared.test\nMDomain b.test shared.test")
        .line("MDomain x.w.test\nMDomain *.w.test\nMDomain alias.test")
        .site("a.test", &["alias.test"])
        .site("b.test", &["shared.test"])
        .site("x.w.test", &[])
        .site("y.w.test", &[])
        .start();
    assert_matches(&httpd, &["a.test a.test", "b.test b.test", "x.w.test x.w.test", "y.w.test *.w.test"]);
    assert_unused(&httpd, &["alias.test"]);
    assert_status(
        &httpd,
        &[
            ("a.test", "/domains", json!(["a.test", "shared.test"])),
            ("b.test", "/domains", json!(["b.test", "shared.test"])),
        ],
    );
}

#[test]
fn the_main_server_is_managed_where_it_is_asked_for() {
    let Some(lab) = open_lab!() else { return };
    let httpd = config(&lab)
        .line("MDBaseServer on\nMDomain main.test\nSSLEngine on")
        .line(&host(lab.http, "ServerName plain.test\nSSLEngine off"))
        .start();
    assert_matches(&httpd, &["main.test main.test"]);
    assert_unused(&httpd, &[]);
    let fallback = client(&lab, "main.test", &[]);
    assert_eq!(fallback.common_name(), "Apache Managed Domain Fallback");
    assert_eq!(fallback.names(), ["main.test"]);
}

#[test]
fn names_join_as_auto_and_manual_say_and_may_be_quoted() {
    let Some(lab) = open_lab!() else { return };
    let httpd = config(&lab)
        .line("MDMembers manual\nMDomain one.test")
        .line("MDomain \"two.test\" auto 'w2.two.test' TWO.test two.test")
        .line("<MDomainSet \"three.test\" 'w3.three.test'>\nMDMembers auto m3.three.test\nMDMember n3.three.test\n</MDomainSet>")
        .line(&host(lab.http, "ServerName main.test"))
        .line(&host(lab.http, "ServerName two.test\nServerAlias plain.two.test"))
        .site("one.test", &["www.one.test", "*.one.test"])
        .site("two.test", &["www.two.test", "w2.two.test", "*.two.test"])
        .site("three.test", &["www.three.test"])
        .start();
    let three = ["three.test", "w3.three.test", "m3.three.test", "n3.three.test", "www.three.test"];
    assert_status(
        &httpd,
        &[
            ("one.test", "/domains", json!(["one.test"])),
            ("one.test", "/transitive", json!(0)),
            ("two.test", "/domains", json!(["two.test", "w2.two.test", "www.two.test"])),
            ("two.test", "/transitive", json!(1)),
            ("three.test", "/domains", json!(three)),
        ],
    );
    let told = httpd.logged("AH10040");
    assert!(
        told.iter().all(|line| line.contains(
            "AH10040: Virtual Host one.test:0 matches Managed Domain 'one.test', but the name/alias www.one.test itself is not \
             managed. A requested MD certificate will not match ServerName."
        )),
        "{told:?}"
    );
    assert!(!told.is_empty());
}

#[test]
fn a_section_overrides_the_main_server_and_the_rest_is_the_default() {
    let Some(lab) = open_lab!() else { return };
    let httpd = config(&lab)
        .line("ServerAdmin main@admin.test\nMDRenewWindow 10d\nMDPrivateKeys P-384\nMDCertificateAgreement accepted")
        .line("MDomain one.test")
        .line("<MDomain two.test>\nMDRenewWindow 50%\nMDContactEmail two@admin.test\nMDPrivateKeys P-256 RSA 3072\nMDRenewMode always")
        .line("MDCertificateAuthority https://127.0.0.1:2/dir https://127.0.0.1:3/dir\nMDMustStaple on\nMDStapling on")
        .line("MDRequireHttps permanent\nMDProfile tls\nMDCAChallenges dns-01 http-01\nMDCertificateAgreement https://x.test/")
        .line("</MDomain>")
        .site("one.test", &[])
        .site("two.test", &[])
        .start();
    assert_status(
        &httpd,
        &[
            ("one.test", "/contacts", json!(["mailto:main@admin.test"])),
            ("one.test", "/renew-window", json!("10d")),
            ("one.test", "/warn-window", json!("10%")),
            ("one.test", "/privkey", json!({ "type": "EC", "curve": "P-384" })),
            ("one.test", "/renew-mode", json!(0)),
            ("one.test", "/ca/urls", json!(["https://127.0.0.1:1/dir"])),
            ("one.test", "/ca/agreement", json!("accepted")),
            ("one.test", "/must-staple", json!(false)),
            ("one.test", "/require-https", Value::Null),
            ("two.test", "/contacts", json!(["mailto:two@admin.test"])),
            ("two.test", "/renew-window", json!("50%")),
            (
                "two.test",
                "/privkey",
                json!([{ "type": "EC", "curve": "P-256" }, { "type": "RSA", "bits": 3072 }]),
            ),
            ("two.test", "/renew-mode", json!(2)),
            ("two.test", "/ca/urls", json!(["https://127.0.0.1:2/dir", "https://127.0.0.1:3/dir"])),
            ("two.test", "/ca/agreement", json!("https://x.test/")),
            ("two.test", "/ca/challenges", json!(["dns-01", "http-01"])),
            ("two.test", "/must-staple", json!(true)),
            ("two.test", "/stapling", json!(true)),
            ("two.test", "/require-https", json!("permanent")),
            ("two.test", "/profile", json!("tls")),
        ],
    );
}

#[test]
fn a_domain_takes_the_values_of_the_virtual_host_it_is_defined_in() {
    let Some(lab) = open_lab!() else { return };
    let lines = "MDRenewWindow 20d\nMDContactEmail host@admin.test\nMDMembers manual\n<MDomain one.test>\nMDWarnWindow 3d\n</MDomain>";
    let admin = "ServerAdmin host@admin.test\nMDRenewWindow 25d\nMDomain two.test";
    let httpd = config(&lab)
        .line("ServerAdmin main@admin.test\nMDRenewWindow 10d\nMDWarnWindow 1d\nMDPrivateKeys P-256")
        .line(&tls_host(&lab, &format!("ServerName one.test\n{lines}")))
        .line(&tls_host(&lab, &format!("ServerName two.test\n{admin}")))
        .start();
    assert_status(
        &httpd,
        &[
            ("one.test", "/renew-window", json!("20d")),
            ("one.test", "/warn-window", json!("3d")),
            ("one.test", "/contacts", json!(["mailto:host@admin.test"])),
            ("one.test", "/transitive", json!(0)),
            ("one.test", "/privkey", json!({ "type": "EC", "curve": "P-256" })),
            ("two.test", "/renew-window", json!("25d")),
            ("two.test", "/warn-window", json!("1d")),
            ("two.test", "/contacts", json!(["mailto:host@admin.test"])),
            ("two.test", "/transitive", json!(1)),
        ],
    );
}

#[test]
fn the_contact_is_a_mail_address_of_the_server_or_else_of_a_host() {
    let Some(lab) = open_lab!() else { return };
    let httpd = config(&lab)
        .line("MDomain one.test\nMDomain two.test")
        .line("<MDomain three.test>\nMDContactEmail mailto:three@admin.test\n</MDomain>")
        .line(&tls_host(&lab, "ServerName one.test\nServerAdmin host@admin.test"))
        .site("two.test", &[])
        .site("three.test", &[])
        .start();
    assert_status(
        &httpd,
        &[
            ("one.test", "/contacts", json!(["mailto:host@admin.test"])),
            ("two.test", "/contacts", json!([])),
            ("three.test", "/contacts", json!(["mailto:three@admin.test"])),
        ],
    );
}

#[test]
fn the_port_map_says_what_reaches_the_server() {
    let Some(lab) = open_lab!() else { return };
    let reach = |httpd: &Httpd, text: &str| {
        assert!(
            !httpd.logged(&format!("AH10037: server seems {text}")).is_empty(),
            "{text}: {}",
            httpd.log()
        );
    };
    let lines = "ServerName one.test\nProtocols http/1.1 acme-tls/1";
    let httpd = config(&lab).line("MDomain one.test").line(&tls_host(&lab, lines)).start();
    reach(&httpd, "reachable via http: and reachable via https:");
    assert_status(&httpd, &[("one.test", "/proto", json!({ "acme-tls/1": ["one.test"] }))]);

    let httpd = httpd.stop().line(&format!("MDPortMap 80:- 443:{}", lab.port())).start();
    reach(&httpd, "not reachable via http: and not reachable via https:");
    assert_status(&httpd, &[("one.test", "/proto", json!({ "acme-tls/1": [] }))]);
}

#[test]
fn the_store_may_be_absolute_relative_or_a_link() {
    let Some(lab) = open_lab!() else { return };
    let (absolute, linked) = (lab.path("absolute"), lab.path("behind-the-link"));
    fs::create_dir(&linked).unwrap();
    symlink(&linked, lab.path("link")).unwrap();
    let link = lab.path("link").display().to_string();
    for (dir, place) in [
        (absolute.display().to_string(), absolute),
        ("relative".to_string(), lab.path("httpd/relative")),
        (link, linked),
    ] {
        let config = config(&lab).line(&format!("MDStoreDir {dir}\nMDomain one.test")).site("one.test", &[]);
        let first = config.start();
        let fallback = client(&lab, "one.test", &[]).serial();
        assert!(place.join("domains/one.test/md.json").is_file(), "{dir}");
        let _second = first.stop().start();
        assert_eq!(client(&lab, "one.test", &[]).serial(), fallback, "{dir}: the next start finds it again");
    }
}

#[test]
fn static_files_are_served_and_left_to_the_admin() {
    let Some(lab) = open_lab!() else { return };
    let mut lines = String::new();
    for algorithm in [Id::RSA, Id::EC] {
        let Files { certificate, key } = Files::new(&lab, "one.test", algorithm);
        lines +=
            &format!("MDCertificateFile {}\nMDCertificateKeyFile {}\n", certificate.display(), key.display());
    }
    let httpd = Config::new(&lab)
        .line("MDCertificateAuthority https://127.0.0.1:1/dir\nMDCertificateAgreement accepted")
        .line(&format!("<MDomain one.test>\n{lines}</MDomain>"))
        .site("one.test", &[])
        .start();
    let (rsa, ec) = (client(&lab, "one.test", RSA_ONLY), client(&lab, "one.test", EC_ONLY));
    assert_eq!((rsa.key(), ec.key()), (Id::RSA, Id::EC));
    assert_eq!(rsa.names(), ["one.test"]);
    assert_eq!(httpd.https_get("one.test", "/index.html").body, "site one.test");
    let expected = [("/state", json!(2)), ("/renew", Value::Null), ("/renewal", Value::Null)];
    assert_status(&httpd, &expected.map(|(key, value)| ("one.test", key, value)));
    for (place, served) in [("0", rsa), ("1", ec)] {
        assert_eq!(httpd.md("one.test")["cert"][place]["serial"], served.serial().as_str());
    }
}

#[test]
fn a_host_serves_its_own_files_until_its_domain_has_a_certificate() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let own = Files::new(&lab, "one.test", Id::EC).directives();
    let alias = apache::find().unwrap().load("alias");
    let with = |own: &str| {
        Config::with_ca(&lab, &pebble.authority)
            .line(&alias)
            .line(&host(lab.http, "ServerName main.test"))
            .line(&host(lab.http, "ServerName one.test\nServerAlias two.test\nRedirect / https://one.test/"))
            .line("MDomain one.test two.test")
            .line(&tls_host(&lab, &format!("ServerName one.test\n{own}")))
            .site("two.test", &[])
    };
    let mut httpd = with(&own).start();
    assert_eq!(client(&lab, "one.test", &[]).names(), ["one.test"]);
    assert_eq!(
        httpd.get("one.test", "/.well-known/x").status,
        302,
        "the site redirects everything, challenges get through"
    );
    httpd.wait_staged_and_activate(&["one.test"]);
    assert!(!httpd.logged("AH10084").is_empty());
    // Beside it the C module goes on showing the file to whoever prefers its kind of key.
    assert!(httpd.served("one.test", &pebble, RSA_ONLY).verified);
    assert!(module::is_c(&module::under_test()) || httpd.served("one.test", &pebble, &[]).verified);
    assert!(httpd.served("two.test", &pebble, &[]).verified);

    httpd.stop();
    let httpd = with("").start();
    assert!(httpd.served("one.test", &pebble, &[]).verified);
    assert_eq!(pebble.order_count(), 1);
}
