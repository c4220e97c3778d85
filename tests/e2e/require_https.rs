// SPDX-License-Identifier: Apache-2.0
//! `MDRequireHttps`: plain requests to managed hosts go to https, others are left alone.

use support::{Config, Lab, Pebble, http, module, open_lab};

const CA: &str = "MDCertificateAuthority https://127.0.0.1:1/dir\nMDCertificateAgreement accepted\n";

fn location(lab: &Lab, host: &str, method: &str, path: &str) -> (u16, Option<String>) {
    let answer = http::request(lab.http, method, host, path, &[]).unwrap();
    (answer.status, answer.header("Location").map(String::from))
}

/// one.test with TLS and without, and a host that nobody manages, which comes first.
fn config(lab: &Lab, mode: &str) -> Config {
    let port = lab.http;
    Config::new(lab)
        .line(CA)
        .line(&format!("MDomain one.test manual\n{mode}"))
        .line(&format!("<VirtualHost *:{port}>\nServerName main.test\n</VirtualHost>"))
        .line(&format!("<VirtualHost *:{port}>\nServerName one.test\nServerAlias alias.test\n</VirtualHost>"))
        .site("one.test", &[])
}

#[test]
fn plain_requests_to_a_managed_host_are_redirected_and_challenges_are_not() {
    let Some(lab) = open_lab!() else { return };
    for (mode, read, other) in [("temporary", 302, 307), ("permanent", 301, 308)] {
        let httpd = config(&lab, &format!("MDRequireHttps {mode}")).start();
        let secure = Some("https://one.test/x%20y?q=1".to_string());
        assert_eq!(location(&lab, "one.test", "GET", "/x%20y?q=1"), (read, secure.clone()));
        assert_eq!(location(&lab, "one.test", "HEAD", "/x%20y?q=1"), (read, secure.clone()));
        assert_eq!(location(&lab, "one.test", "DELETE", "/x%20y?q=1"), (other, secure));
        assert_eq!(location(&lab, "one.test", "GET", "/.well-known/acme-challenge/x").0, 404);
        assert_eq!(location(&lab, "main.test", "GET", "/one.test/index.html").0, 200);
        // A name of the host that has no certificate.
        assert_eq!(location(&lab, "alias.test", "GET", "/one.test/index.html").0, 200);
        httpd.stop().forget();
    }
}

#[test]
fn a_host_overrides_require_https_of_its_domain_and_the_start_tells() {
    let Some(lab) = open_lab!() else { return };
    let port = lab.http;
    let host = |name: &str, mode: &str| {
        format!("<VirtualHost *:{port}>\nServerName {name}\nMDRequireHttps {mode}\n</VirtualHost>")
    };
    let httpd = Config::new(&lab)
        .line(CA)
        .line("MDomain one.test\n<MDomain two.test>\nMDRequireHttps temporary\n</MDomain>")
        .line(&[host("one.test", "permanent"), host("two.test", "off")].join("\n"))
        .site("one.test", &[])
        .site("two.test", &[])
        .start();
    let moved = Some("https://one.test/two.test/index.html".to_string());
    assert_eq!(location(&lab, "one.test", "GET", "/two.test/index.html"), (301, moved));
    assert_eq!(location(&lab, "two.test", "GET", "/two.test/index.html"), (200, None));
    let told = httpd.logged(":notice]");
    let told: Vec<&String> = told.iter().filter(|line| line.contains("MDRequireHttps permanent")).collect();
    assert!(
        !told.is_empty() && told[0].contains("md[one.test]") && told[0].contains("one more host"),
        "{told:?}"
    );
}

/// Names that no MD has, with a wildcard alias for instance, have no certificate of their own to go to.
#[test]
fn canonical_names_redirect_a_name_without_a_domain_to_its_host() {
    let Some(lab) = open_lab!() else { return };
    let host = |canonical: &str, name: &str| {
        format!(
            "<VirtualHost *:{}>\nServerName {name}\nServerAlias *.{name} *.sub.{name}\nUseCanonicalName {canonical}\n</VirtualHost>",
            lab.http
        )
    };
    let _httpd = Config::new(&lab)
        .line(CA)
        .line("MDMembers manual\nMDomain one.test *.sub.one.test\nMDomain two.test\nMDRequireHttps temporary")
        .line(&[host("On", "main.test"), host("On", "one.test"), host("Off", "two.test")].join("\n"))
        .site("one.test", &[])
        .site("two.test", &[])
        .start();
    let to_one = (302, Some("https://one.test/x".to_string()));
    assert_eq!(location(&lab, "one.test", "GET", "/x"), to_one);
    assert_eq!(location(&lab, "www.one.test", "GET", "/x"), to_one);
    assert_eq!(location(&lab, "www.two.test", "GET", "/x").0, 404, "without canonical names");
    assert_eq!(location(&lab, "www.main.test", "GET", "/x").0, 404, "the host has no domain");
    assert_eq!(location(&lab, "www.one.test", "GET", "/.well-known/acme-challenge/x").0, 404);
    // A name that has a certificate stays.
    let stays = location(&lab, "www.sub.one.test", "GET", "/x");
    let own = (302, Some("https://www.sub.one.test/x".to_string()));
    assert_eq!(stays, if module::is_c(&module::under_test()) { to_one } else { own });
}

#[test]
fn a_section_requires_https_for_the_requests_it_applies_to() {
    let Some(lab) = open_lab!() else { return };
    let section = "<If \"%{QUERY_STRING} == 'secure'\">\nMDRequireHttps temporary\n</If>";
    let _httpd = config(&lab, section).start();
    let moved = Some("https://one.test/one.test/index.html?secure".to_string());
    assert_eq!(location(&lab, "one.test", "GET", "/one.test/index.html?secure"), (302, moved));
    assert_eq!(location(&lab, "one.test", "GET", "/one.test/index.html?plain").0, 200);
    assert_eq!(location(&lab, "main.test", "GET", "/one.test/index.html?secure").0, 200);
}

#[test]
fn permanent_mode_marks_secure_answers_unless_the_site_does_itself() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = Config::with_ca(&lab, &pebble.authority)
        .line("MDomain one.test\nMDRequireHttps permanent")
        .site("one.test", &[])
        .start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let answer = httpd.https_get("one.test", "/index.html");
    assert_eq!(answer.header("Strict-Transport-Security"), Some("max-age=15768000"));
}
