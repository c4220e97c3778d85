// SPDX-License-Identifier: Apache-2.0
//! Configurations, and the findings for each.

use super::*;
use crate::config::finding::SHOWN;
use crate::config::fixture::Site;
use crate::log::Level;
use std::collections::HashSet;

/// A configuration with this around it.
#[derive(Default)]
struct World {
    missing_modules: Vec<&'static str>,
    more_modules: Vec<&'static str>,
    has_other_source: bool,
    accounts: bool,
    faults: Vec<FileFault>,
    store_fault: Option<String>,
}

impl World {
    fn findings(&self, text: &str) -> Vec<(Level, String)> {
        let site = Site::read(text).unwrap();
        let (servers, plan, tree) = (site.servers(), site.plan().unwrap(), site.tree());
        let tls = tree.tls_settings(&servers);
        let context = Context {
            tree: &tree,
            tls: &tls,
            has_module: &|name| {
                let has = ["mod_ssl.c"].iter().chain(&self.more_modules);
                has.into_iter().any(|has| *has == name) && !self.missing_modules.contains(&name)
            },
            has_other_source: self.has_other_source,
            command_fault: &|line| {
                let word = line.split_whitespace().next().unwrap_or_default().trim_matches('"');
                match word {
                    _ if word.starts_with("/no/") => Some("/no does not exist".into()),
                    _ if !word.contains('/') => Some(format!("{word} does not exist")),
                    _ => None,
                }
            },
            file_faults: &|_, _, _| self.faults.clone(),
            has_account: &|_| self.accounts,
            store_fault: self.store_fault.clone(),
        };
        advice(&plan, &servers, &context).into_iter().map(|f| (f.level, f.text)).collect()
    }
}

/// An account is there, so that hosts alone are looked at.
fn findings(text: &str) -> Vec<(Level, String)> {
    World { accounts: true, ..World::default() }.findings(text)
}

#[track_caller]
fn assert_findings(found: &[(Level, String)], expected: &[(Level, &[&str])]) {
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((level, text), (expected, parts)) in found.iter().zip(expected) {
        assert_eq!(level, expected, "{text}");
        for part in *parts {
            assert!(text.contains(part), "`{part}` in {text}");
        }
    }
}

fn tls_host(name: &str) -> String {
    format!("<VirtualHost *:443>\nServerName {name}\nSSLEngine on\n</VirtualHost>\n")
}

fn plain_host(name: &str) -> String {
    format!("<VirtualHost *:80>\nServerName {name}\n</VirtualHost>\n")
}

use Level::{Error, Notice, Warn};

#[test]
fn a_misspelt_name_is_reported_with_the_name_that_was_meant() {
    let found = findings(&format!("MDomain www.exmaple.org\n{}", tls_host("www.example.org")));
    assert_findings(
        &found,
        &[
            (
                Error,
                &[
                    "test.conf:2: the host www.example.org has 'SSLEngine on' but no certificate",
                    "AH02572",
                    "Did you mean www.exmaple.org of md[www.exmaple.org] (test.conf:1)?",
                ],
            ),
            (
                Warn,
                &[
                    "AH10045: No VirtualHost matches Managed Domain www.exmaple.org (defined in test.conf:1)",
                    "Did you mean www.example.org, the host in test.conf:2?",
                ],
            ),
        ],
    );
}

#[test]
fn what_to_do_with_a_host_without_certificate_depends_on_what_there_is() {
    let main = "SSLEngine on\nServerName main.org\n";
    for (text, part) in [
        (
            format!("MDomain other.org\n{}{}", tls_host("other.org"), tls_host("a.example.org")),
            "Add 'MDomain a.example.org'",
        ),
        (
            format!("MDomain example.org manual\n{}{}", tls_host("example.org"), tls_host("www.example.org")),
            "md[example.org] (test.conf:1) has example.org: add www.example.org to it",
        ),
        (
            format!("MDomain www.example.org\n{}{}", tls_host("example.org"), tls_host("www.example.org")),
            "has www.example.org: add example.org to it",
        ),
        (
            format!(
                "MDMatchNames servernames\nMDomain shop.org\n<VirtualHost *:443>\nServerName a.example.org\nServerAlias \
                 shop.org\nSSLEngine on\n</VirtualHost>\n{}",
                tls_host("shop.org")
            ),
            "with 'MDMatchNames servernames' a ServerAlias does not count: add a.example.org to it",
        ),
        (format!("{main}MDomain main.org\n{}", tls_host("main.org")), "set 'MDBaseServer on'"),
        (
            format!("{main}MDomain a.org\n{}", tls_host("a.org")),
            "test.conf:1: the main server main.org has 'SSLEngine on'",
        ),
    ] {
        let found = findings(&text);
        assert!(found.len() == 1 && found[0].0 == Error && found[0].1.contains(part), "{part}: {found:#?}");
    }
}

#[test]
fn hosts_with_an_own_or_inherited_certificate_or_without_tls_pass() {
    let md = "MDomain a.org\n";
    let own = "<VirtualHost *:443>\nServerName b.org\nSSLEngine on\nSSLCertificateFile x\n</VirtualHost>\n";
    for text in [
        // certbot's files beside a managed domain.
        format!("{md}{}{own}", tls_host("a.org")),
        format!("SSLCertificateFile x\n{md}{}{}", tls_host("a.org"), tls_host("b.org")),
        format!("{md}{}{}", tls_host("a.org"), plain_host("a.org")),
        format!(
            "SSLEngine on\nServerName main.org\nMDBaseServer on\nMDomain main.org\n{}",
            plain_host("c.org").replace("</", "SSLEngine off\n</")
        ),
        format!(
            "{md}{}<VirtualHost *:443>\nServerName o.org\nSSLEngine optional\n</VirtualHost>\n",
            tls_host("a.org")
        ),
        // Without managed domains, certificates come from elsewhere.
        tls_host("b.org"),
        // For others than this httpd.
        format!("MDRenewMode always\nMDomain mail.org\n{}", plain_host("c.org")),
        format!("MDPortMap https:-\n{md}{}", plain_host("a.org")),
        format!("MDRenewMode manual\n{md}{}", plain_host("a.org")),
        format!("{md}<VirtualHost *:443>\nServerName a.org\nSSLEngine optional\n</VirtualHost>\n"),
        format!("{md}<VirtualHost *:443>\nServerName a.org\nsslengine \"On\"\n</VirtualHost>\n")
            .replace("sslengine", "SSLEngine"),
    ] {
        assert!(findings(&text).is_empty(), "{text}: {:#?}", findings(&text));
    }
}

#[test]
fn a_host_that_another_module_may_serve_does_not_fail_the_configtest() {
    let text = format!("MDomain a.org\n{}{}", tls_host("a.org"), tls_host("b.org"));
    let world = World { has_other_source: true, accounts: true, ..World::default() };
    assert_findings(&world.findings(&text), &[(Warn, &["the host b.org"])]);
    for module in ["mod_tls.c", "mod_gnutls.c"] {
        let world = World { more_modules: vec![module], accounts: true, ..World::default() };
        assert!(world.findings(&format!("MDomain a.org\n{}", plain_host("a.org"))).is_empty());
    }
}

#[test]
fn a_domain_without_a_host_or_without_tls_is_reported() {
    let text = format!("MDomain a.org\nMDomain b.org\n{}", plain_host("b.org"));
    assert_findings(
        &findings(&text),
        &[
            (
                Warn,
                &[
                    "AH10045: No VirtualHost matches Managed Domain a.org (defined in test.conf:1)",
                    "MDRenewMode always",
                ],
            ),
            (Warn, &["test.conf:2: md[b.org]: no host with 'SSLEngine on' uses it", "b.org (test.conf:3)"]),
        ],
    );
    let manual = findings(&format!("MDRenewMode manual\n{text}"));
    assert_findings(&manual, &[(Notice, &["AH10045", "a.org"])]);
    let files = "<MDomain f.org>\nMDCertificateFile c\nMDCertificateKeyFile k\n</MDomain>";
    assert_findings(&findings(files), &[(Warn, &["AH10045", "its certificate files are not used"])]);
}

#[test]
fn without_mod_ssl_one_line_reports_all_domains() {
    let text = format!("MDomain a.org\nMDomain b.org\n{}{}", plain_host("a.org"), plain_host("b.org"));
    let world = World { missing_modules: vec!["mod_ssl.c"], accounts: true, ..World::default() };
    assert_findings(
        &world.findings(&text),
        &[(Warn, &["test.conf:1: md[a.org] and 1 more: mod_ssl is not loaded"])],
    );
}

#[test]
fn thousands_of_a_kind_take_a_few_lines_and_little_time() {
    let mut text = String::new();
    for n in 0..2_000 {
        text += &format!("MDomain www.site{n}.example.org\n");
        text += &tls_host(&format!("www.sitte{n}.example.org"));
    }
    let found = findings(&text);
    assert_eq!(found.len(), 2 * (SHOWN + 1));
    assert!(found[0].1.contains("Did you mean www.site0.example.org"), "{}", found[0].1);
    assert!(found[SHOWN].1.contains("1995 more TLS hosts without a certificate: www.sitte5.example.org"));
    assert!(found[SHOWN].1.ends_with("and 1985 more"), "{}", found[SHOWN].1);
}

#[test]
fn a_command_that_cannot_start_is_reported_with_line_and_effect() {
    let text = format!(
        "MDNotifyCmd /no/a b\nMDMessageCmd /no/c\nMDChallengeDns01 /no/d\nMDomain a.org\n<MDomain b.org>\nMDChallengeDns01 \
         /bin/e\n</MDomain>\nMDomain c.org\n{}{}{}",
        tls_host("a.org"),
        tls_host("b.org"),
        tls_host("c.org")
    );
    assert_findings(
        &findings(&text),
        &[
            (Warn, &["test.conf:1: MDNotifyCmd /no/a b: /no does not exist"]),
            (Warn, &["test.conf:2: MDMessageCmd /no/c: /no does not exist", "Every renewal is postponed"]),
            (Warn, &["test.conf:3: md[a.org] and 1 more: MDChallengeDns01 /no/d: /no does not exist"]),
        ],
    );
}

#[test]
fn a_hook_that_cannot_start_is_reported_and_a_word_near_to_a_way_is_guessed() {
    let of = |line: &str| findings(&format!("MDChallengeDns01 {line}\nMDomain a.org\n{}", tls_host("a.org")));
    for (line, parts) in [
        (
            "hook:lego /no/x env=/srv/env",
            &["test.conf:1: md[a.org]: MDChallengeDns01 hook:lego /no/x: /no does"][..],
        ),
        ("hook:certbot /bin/a /no/b", &["MDChallengeDns01 hook:certbot /no/b: /no does not exist"]),
        ("hook:acme.sh /no/acme.sh dns_cf", &["hook:acme.sh /no/acme.sh: /no"]),
        (
            "no-rfc2163 x",
            &["no-rfc2163 x: no-rfc2163 does not exist", "no wildcard gets a certificate. Correct"],
        ),
        ("rfc2163 ns.a.org /k", &["Did you mean rfc2136?"]),
        ("RFC2136 ns.a.org /k", &["Did you mean rfc2136?"]),
        ("acmedns https://x.test", &["Did you mean acme-dns?"]),
        ("hok:lego /bin/x", &["Did you mean hook:lego?"]),
        ("respnder", &["Did you mean responder?"]),
    ] {
        assert_findings(&of(line), &[(Warn, parts)]);
    }
    for line in [
        "hook:lego /bin/x",
        "hook:httpreq http://localhost:1/",
        "rfc2136 ns.a.org /no/k",
        "acme-dns https://x.test",
    ] {
        assert_findings(&of(line), &[]);
    }
}

#[test]
fn a_certificate_file_at_fault_ends_the_test_where_mod_ssl_loads_it() {
    let section = "<MDomain a.org>\nMDCertificateFile c.pem\nMDCertificateKeyFile k.pem\n</MDomain>\n";
    let fault = |is_of_key, is_fatal| FileFault { is_of_key, is_fatal, text: "is at fault.".into() };
    let world = World { faults: vec![fault(true, true), fault(false, false)], ..World::default() };
    assert_findings(
        &world.findings(&format!("{section}{}", tls_host("a.org"))),
        &[
            (
                Error,
                &["test.conf:3: md[a.org]: MDCertificateKeyFile /srv/k.pem is at fault. httpd will not \
                     start"],
            ),
            (Warn, &["test.conf:2: md[a.org]: MDCertificateFile /srv/c.pem is at fault."]),
        ],
    );
    let unused = world.findings(&format!("MDPortMap https:-\n{section}{}", plain_host("a.org")));
    assert!(unused.len() == 2 && unused.iter().all(|(level, _)| *level == Warn), "{unused:#?}");
}

#[test]
fn a_store_that_children_cannot_enter_is_reported() {
    let world = World {
        store_fault: Some("their User cannot enter /root".into()),
        accounts: true,
        ..World::default()
    };
    let text = format!("MDStoreDir /root/md\nMDomain a.org\n{}", tls_host("a.org"));
    assert_findings(
        &world.findings(&text),
        &[(
            Warn,
            &[
                "test.conf:1: httpd's child processes cannot use the store (MDStoreDir /root/md)",
                "cannot enter /root",
            ],
        )],
    );
}

#[test]
fn requests_that_a_ca_is_known_to_refuse_are_reported_before_it_is_asked() {
    let agreed = "MDCertificateAgreement accepted\n";
    let bound = "MDExternalAccountBinding a aG1hYw\n";
    for (lines, has_account, parts) in [
        ("", false, &["md[a.org]: 'MDCertificateAgreement accepted' is missing, so Let's Encrypt"][..]),
        ("", true, &[]),
        (agreed, false, &[]),
        ("MDCertificateAuthority https://ca.example.com/dir\n", false, &[]),
        ("MDCertificateAuthority https://notletsencrypt.org/dir\n", false, &[]),
        ("MDRenewMode manual\n", false, &[]),
        (
            "MDCertificateAgreement accepted\nMDCertificateAuthority zerossl\n",
            false,
            &["'MDExternalAccountBinding' is missing"],
        ),
        ("MDCertificateAgreement accepted\nMDCertificateAuthority zerossl\n", true, &[]),
        ("MDCertificateAuthority google\n", false, &["MDCertificateAgreement", "MDExternalAccountBinding"]),
        ("MDCertificateAuthority Buypass letsencrypt\n", true, &["Buypass ended its ACME service in 2025"]),
        ("MDCertificateAuthority https://acme-v01.api.letsencrypt.org/directory\n", true, &["ACME v1"]),
        ("MDCAChallenges http01\n", true, &["MDCAChallenges has http01", "Did you mean http-01?"]),
        ("MDCAChallenges http-01 device-attest-01\n", true, &["Correct it: the types are"]),
        ("MDMustStaple on\n", true, &["'MDMustStaple on' makes Let's Encrypt reject"]),
        ("MDPrivateKeys P-384 RSA 4096 secp256r1\n", true, &[]),
        ("MDPrivateKeys RSA 5000\n", true, &["does not accept the key RSA 5000 of MDPrivateKeys"]),
        ("MDPrivateKeys P-256 P-521\n", true, &["does not accept the key P-521 of MDPrivateKeys"]),
        (
            "MDCertificateAuthority zerossl\nMDPrivateKeys P-521 secp256k1\n",
            true,
            &["does not accept the key secp256k1"],
        ),
    ] {
        let world = World { accounts: has_account, ..World::default() };
        let found = world.findings(&format!("{lines}MDomain a.org\n{}", tls_host("a.org")));
        let parts: HashSet<_> = parts.iter().collect();
        let is_reported =
            |part: &&&str| found.iter().any(|(level, text)| *level == Warn && text.contains(**part));
        assert!(found.len() <= parts.len().max(1) && parts.iter().all(is_reported), "{lines}: {found:#?}");
        assert_eq!(found.is_empty(), parts.is_empty(), "{lines}: {found:#?}");
    }
    let with_binding =
        format!("{agreed}{bound}MDCertificateAuthority zerossl\nMDomain a.org\n{}", tls_host("a.org"));
    assert!(World::default().findings(&with_binding).is_empty());
}

#[test]
fn names_that_no_public_ca_issues_for_are_reported() {
    for (name, is_reported) in [
        ("host.local", true),
        ("localhost", true),
        ("10.1.2.3", true),
        ("fd00::1", true),
        ("192.0.1.1", false),
        ("*.internal.example.org", false),
        ("example.org", false),
        ("xn--bcher-kva.example", true),
    ] {
        let text =
            format!("MDomain {name}\nMDChallengeDns01 /bin/x\n{}", tls_host(name.trim_start_matches("*.")));
        let found = findings(&text.replace("ServerName internal", "ServerName x.internal"));
        let has_finding =
            found.iter().any(|(_, text)| text.contains("issues no certificate for") && text.contains(name));
        assert_eq!(has_finding, is_reported, "{name}: {found:#?}");
        let own = findings(&format!("MDCertificateAuthority https://ca.local/dir\n{text}"));
        assert!(!own.iter().any(|(_, text)| text.contains("issues no certificate")), "{own:#?}");
    }
    let many: String = (0..101).map(|n| format!(" n{n}.example.org")).collect();
    let found = findings(&format!("MDomain{many}\n{}", tls_host("n0.example.org")));
    assert_findings(&found, &[(Warn, &["md[n0.example.org]: the domain has more than 100 names"])]);
    // Those that a wildcard covers are not ordered.
    let covered =
        format!("MDomain{many} *.example.org\nMDChallengeDns01 /bin/x\n{}", tls_host("n0.example.org"));
    let found = findings(&covered);
    assert!(!found.iter().any(|(_, text)| text.contains("more than 100 names")), "{found:#?}");
}
