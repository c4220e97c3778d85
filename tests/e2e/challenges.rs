// SPDX-License-Identifier: Apache-2.0
//! Challenges: each type from the order to the certificate, its answers to clients, the choice of the type,
//! and the removal of all traces.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use openssl::pkey::Id;
use openssl::ssl::SslVersion;

use support::process::{children, is_alive, signal};
use support::stream::Stream;
use support::tls::{self, Served};
use support::{Authority, Command, Config, Httpd, Lab, Need, Pebble, SOON, apache, http, open_lab, wait_for};

const TOKEN_PATH: &str = "/.well-known/acme-challenge/tok-1";

/// Puts a file of a challenge where a renewal does.
fn present(httpd: &Httpd, name: &str, file: &str, content: impl AsRef<[u8]>) {
    let folder = httpd.config.store().join("challenges").join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(file), content).unwrap();
}

fn http_01(httpd: &Httpd, name: &str) {
    present(httpd, name, "acme-http-01.txt", "tok-1.thumb");
}

fn modules(names: &[&str]) -> String {
    let apache = apache::find().unwrap();
    names.iter().map(|name| apache.load(name)).collect()
}

fn method(httpd: &Httpd, method: &str, host: &str, path: &str) -> (u16, String) {
    let answer = http::request(httpd.config.http_port(), method, host, path, &[]).unwrap();
    (answer.status, answer.body)
}

#[track_caller]
fn assert_nothing_left(httpd: &Httpd) {
    let left: Vec<_> = fs::read_dir(httpd.config.store().join("challenges")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[track_caller]
fn assert_certificate(httpd: &mut Httpd, pebble: &Pebble, md: &str, names: &[&str]) {
    httpd.wait_staged(md);
    assert_nothing_left(httpd);
    httpd.graceful();
    for name in names {
        let served = httpd.served(name, pebble, &[]);
        assert!(served.verified, "{name}: {}", served.verdict);
    }
}

/// What md-status says about the failure of `one.test`, once there is one.
#[track_caller]
fn last_failure(httpd: &Httpd) -> serde_json::Value {
    wait_for("a failure in md-status", SOON, || {
        let mut renewal = httpd.md("one.test")["renewal"].take();
        (renewal["errors"].as_u64() >= Some(1)).then(|| renewal["last"].take())
    })
}

/// As in front of servers that renew, with which it shares the store.
#[test]
fn without_domains_only_challenges_in_the_store_are_answered() {
    let Some(lab) = open_lab!() else { return };
    let (own, other) =
        (tls::Files::new(&lab, "one.test", Id::RSA), tls::Files::new(&lab, "other.test", Id::RSA));
    let for_stapling = "MDStapleOthers on\nMDStapling on";
    for lines in ["", for_stapling] {
        let config = Config::new(&lab).line(lines).line("MDServerStatus on");
        let mut httpd = config
            .site_with("one.test", &format!("Protocols http/1.1 acme-tls/1\n{}", own.directives()))
            .start();
        let store = httpd.config.store();
        assert_eq!(store.exists(), lines == for_stapling, "no store is made where there is nothing to keep");
        let alpn = |httpd: &Httpd| {
            let served = tls::served(httpd.config.https(), "one.test", None, &["-alpn", "acme-tls/1"]);
            served.names()
        };
        assert_eq!(method(&httpd, "GET", "one.test", TOKEN_PATH).0, 404);
        assert_eq!(alpn(&httpd), ["one.test"]);
        http_01(&httpd, "one.test");
        for (file, from) in [("pubcert", &other.certificate), ("privkey", &other.key)] {
            present(&httpd, "one.test", &format!("acme-tls-alpn-01-{file}.pem"), fs::read(from).unwrap());
        }
        for _ in 0..2 {
            assert_eq!(method(&httpd, "GET", "one.test", TOKEN_PATH), (200, "tok-1.thumb".into()));
            assert_eq!(method(&httpd, "GET", "main.test", TOKEN_PATH).0, 404);
            assert_eq!(alpn(&httpd), ["other.test"]);
            let totals = httpd.get("main.test", "/server-status?auto").body;
            for key in ["Total", "OK", "Renew", "Errored", "Ready"] {
                assert!(totals.contains(&format!("\nManagedCertificates{key}: 0\n")), "{totals}");
            }
            httpd.graceful();
        }
        let trouble = httpd.logged("AH10081");
        assert!(
            trouble.is_empty() && !httpd.get("main.test", "/server-status").body.contains("Managed Cert"),
            "{trouble:?}"
        );
        httpd.stop().forget();
    }
}

/// What is in the way of other requests of a site is in the way of no challenge.
#[test]
fn http_01_gets_through_redirects_proxies_authentication_and_503() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let port = lab.http;
    let host = |name: &str, lines: &str| {
        format!("<VirtualHost *:{port}>\nServerName {name}\n{lines}\n</VirtualHost>\n")
    };
    let password = "<Location />\nAuthType Basic\nAuthName x\nRequire valid-user\n</Location>";
    let obstacles = [
        ("main.test", ""),
        ("rewrite.test", "RewriteEngine on\nRewriteRule ^ https://elsewhere.test/ [R=301,L]"),
        ("forbid.test", "RewriteEngine on\nRewriteRule ^ - [F]"),
        ("proxy.test", "ProxyPass / http://127.0.0.1:1/"),
        ("password.test", password),
        ("denied.test", "<Location />\nRequire all denied\n</Location>"),
        ("https.test", ""),
    ];
    let mds: String = obstacles.iter().skip(1).map(|(name, _)| format!("MDomain {name}\n")).collect();
    let mut config = Config::with_ca(&lab, &pebble.authority)
        .line(&modules(&[
            "rewrite",
            "proxy",
            "proxy_http",
            "auth_basic",
            "authn_core",
            "authn_file",
            "authz_user",
        ]))
        .line(&format!("MDCAChallenges http-01\nMDRequireHttps temporary\n{mds}"))
        .line(&obstacles.map(|(name, lines)| host(name, lines)).concat());
    for (name, _) in &obstacles[1..] {
        config = config.site(name, &[]);
    }
    let mut httpd = config.start();
    assert_eq!(httpd.https_get("rewrite.test", "/").status, 503);
    for (name, _) in &obstacles[1..] {
        assert!(httpd.get(name, "/").status >= 300, "{name} is open");
        httpd.wait_staged(name);
    }
    assert_nothing_left(&httpd);
    httpd.graceful();
    for (name, _) in &obstacles[1..] {
        http_01(&httpd, name);
        assert_eq!(method(&httpd, "GET", name, TOKEN_PATH), (200, "tok-1.thumb".into()), "{name}");
        assert!(httpd.served(name, &pebble, &[]).verified, "{name}");
    }
}

/// A managed name, and two hosts that serve the path themselves.
fn bystanders(lab: &Lab, lines: &str) -> Config {
    let config = Config::new(lab)
        .line("MDCertificateAuthority https://127.0.0.1:1/dir\nMDCertificateAgreement accepted")
        .line(lines)
        .site("one.test", &[]);
    let page = config.server_root().join("htdocs").join(TOKEN_PATH.trim_start_matches('/'));
    fs::create_dir_all(page.parent().unwrap()).unwrap();
    fs::write(page, "of others").unwrap();
    config
}

#[test]
fn http_01_data_is_served_to_get_and_head_and_other_methods_are_501() {
    let Some(lab) = open_lab!() else { return };
    let httpd = bystanders(&lab, "MDomain one.test\nMDCAChallenges http-01").start();
    for name in ["one.test", "unmanaged.test"] {
        http_01(&httpd, name);
        assert_eq!(method(&httpd, "GET", name, TOKEN_PATH), (200, "tok-1.thumb".into()));
        assert_eq!(method(&httpd, "GET", &name.to_uppercase(), TOKEN_PATH), (200, "tok-1.thumb".into()));
        assert_eq!(method(&httpd, "HEAD", name, TOKEN_PATH), (200, String::new()));
        for other in ["POST", "PUT", "DELETE", "OPTIONS"] {
            assert_eq!(method(&httpd, other, name, TOKEN_PATH).0, 501, "{other}");
        }
    }
    present(&httpd, "plain.test", "acme-http-01.txt", "plain text");
    assert_eq!(method(&httpd, "GET", "plain.test", TOKEN_PATH), (200, "plain text".into()));
}

#[test]
fn http_01_is_answered_in_tls_by_a_host_that_has_no_certificate_yet() {
    let Some(lab) = open_lab!() else { return };
    let httpd = bystanders(&lab, "MDomain one.test\nMDCAChallenges http-01").start();
    http_01(&httpd, "one.test");
    assert_eq!(httpd.https_get("one.test", TOKEN_PATH).body, "tok-1.thumb");
    assert_eq!(httpd.https_get("one.test", "/").status, 503);
}

/// certbot and lego renew beside the module, from the web root.
#[test]
fn http_01_paths_without_data_are_404_only_where_the_module_uses_them() {
    let Some(lab) = open_lab!() else { return };
    let [cert, key] = [lab.path("static.pem"), lab.path("static.key")];
    tls::self_signed("DNS:static.test", Id::EC, &cert, &key);
    let files = format!("MDCertificateFile {}\nMDCertificateKeyFile {}", cert.display(), key.display());
    let (not_found, of_others) = ((404, None), (200, Some("of others")));
    let mut cases = Vec::new();
    for (mode, expected, with_files) in [
        ("", not_found, of_others),
        ("auto", not_found, of_others),
        ("always", not_found, not_found),
        ("manual", of_others, of_others),
    ] {
        let line = if mode.is_empty() { String::new() } else { format!("MDRenewMode {mode}\n") };
        for (files, expected) in [("", expected), (files.as_str(), with_files)] {
            cases.push((format!("{line}{files}"), expected));
            cases.push((format!("{line}MDCAChallenges dns-01 http-01\n{files}"), expected));
            cases.push((format!("{line}MDCAChallenges tls-alpn-01 dns-01\n{files}"), of_others));
        }
    }
    let named = |index: usize| (format!("used{index}.test"), format!("unused{index}.test"));
    let mut config = bystanders(&lab, "MDInitialDelay 1h\nMDPrivateKeys P-256\nMDomain one.test");
    for (index, (lines, _)) in cases.iter().enumerate() {
        let (used, unused) = named(index);
        config = config.line(&format!("<MDomain {used} www.{used} *.{used}>\n{lines}\n</MDomain>"));
        config = config.line(&format!("<MDomain {unused}>\n{lines}\n</MDomain>"));
        config = config
            .line(&format!("<VirtualHost *:{}>\nServerName {used}\nSSLEngine on\n</VirtualHost>", lab.https));
    }
    let httpd = config.start();
    let answer = |host: &str| method(&httpd, "GET", host, TOKEN_PATH);
    let mut wrong = Vec::new();
    for (index, (lines, (status, body))) in cases.iter().enumerate() {
        let (used, unused) = named(index);
        for host in [used.clone(), format!("www.{used}"), format!("any.{used}"), unused] {
            let (found, text) = answer(&host);
            if found != *status || body.is_some_and(|body| body != text) {
                wrong.push(format!("{host}: {found} {text}: {lines}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(answer("unmanaged.test"), (200, "of others".into()));
}

#[test]
fn an_http_01_token_of_another_order_is_not_answered() {
    let Some(lab) = open_lab!() else { return };
    let httpd = bystanders(&lab, "MDomain one.test\nMDCAChallenges http-01").start();
    http_01(&httpd, "one.test");
    assert_eq!(method(&httpd, "GET", "one.test", &TOKEN_PATH.replace("tok-1", "tok-2")).0, 404);
}

#[test]
fn http_01_tokens_of_several_orders_are_answered_side_by_side() {
    let Some(lab) = open_lab!() else { return };
    let httpd = bystanders(&lab, "MDomain one.test\nMDCAChallenges http-01").start();
    http_01(&httpd, "one.test");
    let note = r#"{"values": [{"owner": "x", "value": "tok-2.thumb"}, {"owner": "one.test", "value": "tok-1.thumb"}]}"#;
    present(&httpd, "one.test", "acme-http-01.json", note);
    for (token, expected) in [("tok-1", 200), ("tok-2", 200), ("tok-3", 404)] {
        let (status, body) = method(&httpd, "GET", "one.test", &TOKEN_PATH.replace("tok-1", token));
        assert_eq!(status, expected, "{token}");
        assert!(status == 404 || body == format!("{token}.thumb"), "{body}");
    }
}

/// What both modules say, and that the next type is tried.
#[test]
fn a_command_that_fails_for_a_challenge_is_a_failure_to_set_it_up() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let messages = Command::new(&lab, "message", "[[ $1 != challenge-setup* ]]");
    let httpd = Config::with_ca(&lab, &pebble.authority)
        .line("Protocols http/1.1 acme-tls/1\nMDCAChallenges tls-alpn-01 http-01")
        .line(&format!("MDMessageCmd {}\nMDomain one.test", messages.line))
        .site("one.test", &[])
        .start();
    assert_eq!(last_failure(&httpd)["problem"], "challenge-setup-failure");
    let calls = challenges_heard(&messages);
    assert!(calls.iter().any(|call| call.starts_with("tls-alpn-01:")), "{calls:?}");
    assert!(calls.iter().any(|call| call.starts_with("http-01:")), "{calls:?}");
}

#[test]
fn a_dns_01_command_has_the_time_that_is_configured() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let httpd = Config::with_ca(&lab, &pebble.authority)
        .line("MDChallengeDns01 /bin/sh -c 'sleep 600' sh\nMDChallengeDns01Timeout 2s\nMDCAChallenges dns-01")
        .line("MDomain one.test")
        .site("one.test", &[])
        .start();
    let last = last_failure(&httpd);
    assert_eq!(last["problem"], "challenge-setup-failure", "{last:#}");
    let detail = last["detail"].as_str().unwrap();
    assert!(detail.contains("did not end within 2 seconds"), "{detail}");
}

/// The name has a host, another of the domain has none, and the CA finds the answers for both, in RSA and
/// P-256.
#[track_caller]
fn assert_tls_alpn_01(lab: &Lab, more: &str) {
    let pebble = Pebble::start(lab);
    let messages = Command::new(lab, "message", "");
    let mut httpd = Config::with_ca(lab, &pebble.authority)
        .line(more)
        .line(&format!("MDCAChallenges tls-alpn-01\nMDPrivateKeys RSA P-256\nMDMessageCmd {}", messages.line))
        .line("MDomain one.test homeless.test")
        .site("one.test", &[])
        .start();
    assert_certificate(&mut httpd, &pebble, "one.test", &["one.test"]);
    assert_eq!(httpd.served("one.test", &pebble, &[]).names(), ["homeless.test", "one.test"]);
    for name in ["one.test", "homeless.test"] {
        let event = format!("challenge-setup:tls-alpn-01:{name} one.test");
        assert!(messages.calls().contains(&event), "{:?}", messages.calls());
    }
}

#[test]
fn tls_alpn_01_gets_a_certificate() {
    let Some(lab) = open_lab!() else { return };
    assert_tls_alpn_01(&lab, "Protocols http/1.1 acme-tls/1");
}

#[test]
fn tls_alpn_01_gets_a_certificate_where_http_2_is_spoken() {
    let Some(lab) = open_lab!() else { return };
    assert_tls_alpn_01(&lab, &format!("{}Protocols h2 http/1.1 acme-tls/1", modules(&["http2"])));
}

/// Whatever key the certificate has that is shown until then, the challenge's takes its place, also where the
/// server chooses between key types; and so it is when the next name is asked for.
#[test]
fn tls_alpn_01_gets_first_and_next_certificates_of_one_key_type() {
    let Some(lab) = open_lab!() else { return };
    for keys in ["RSA", "secp384r1"] {
        let pebble = Pebble::start(&lab);
        let base = Config::with_ca(&lab, &pebble.authority)
            .line("Protocols http/1.1 acme-tls/1\nMDCAChallenges tls-alpn-01\nSSLHonorCipherOrder on")
            .line(&format!("MDPrivateKeys {keys}"));
        let config = base.clone().line("MDomain one.test").site("one.test", &[]);
        let mut httpd = config.start();
        assert_certificate(&mut httpd, &pebble, "one.test", &["one.test"]);
        httpd.stop();
        let mut httpd = base.line("MDomain one.test two.test").site("one.test", &["two.test"]).start();
        assert_certificate(&mut httpd, &pebble, "one.test", &["one.test", "two.test"]);
        httpd.stop().forget();
    }
}

/// The certificate in use has a key of another type than is configured now, and whichever side chooses takes
/// that one.
#[test]
fn tls_alpn_01_gets_a_certificate_of_another_key_type_than_in_use() {
    let Some(lab) = open_lab!() else { return };
    for (first, second, honor) in [("RSA", "secp384r1", "off"), ("secp384r1", "RSA", "on")] {
        let pebble = Pebble::start(&lab);
        let config = Config::with_ca(&lab, &pebble.authority)
            .line("Protocols http/1.1 acme-tls/1\nMDCAChallenges tls-alpn-01")
            .line(&format!("SSLHonorCipherOrder {honor}"))
            .site("one.test", &["two.test"]);
        let mut httpd = config
            .clone()
            .line(&format!("MDPrivateKeys {first}\nMDMembers manual\nMDomain one.test"))
            .start();
        assert_certificate(&mut httpd, &pebble, "one.test", &["one.test"]);
        let old = httpd.served("one.test", &pebble, &[]).key();
        httpd.stop();
        // The CA knows that one.test is ours.
        let mut httpd = config.line(&format!("MDPrivateKeys {second}\nMDomain one.test two.test")).start();
        assert_certificate(&mut httpd, &pebble, "one.test", &["one.test", "two.test"]);
        assert_ne!(httpd.served("one.test", &pebble, &[]).key(), old);
        httpd.stop().forget();
    }
}

/// With the signature algorithms of CAs that are written in Go, and in their order.
fn handshake(httpd: &Httpd, name: &str, alpn: &str) -> Served {
    let options = ["-alpn", alpn, "-sigalgs", "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256"];
    tls::served(httpd.config.https_port(), name, None, &options)
}

#[test]
fn a_challenge_certificate_is_shown_in_the_acme_protocol_alone() {
    let Some(lab) = open_lab!() else { return };
    let (rsa, ec) = (("", Id::RSA), (".p-256", Id::EC));
    for (keys, present_keys, expected) in [("P-256", vec![ec], Id::EC), ("RSA P-256", vec![ec, rsa], Id::RSA)]
    {
        let lines =
            format!("Protocols http/1.1 acme-tls/1\nMDPrivateKeys {keys}\nMDomain one.test homeless.test");
        let httpd = bystanders(&lab, &lines).start();
        for name in ["one.test", "homeless.test"] {
            for (spec, algorithm) in &present_keys {
                let files = tls::Files::new(&lab, name, *algorithm);
                for (kind, file) in [("pubcert", &files.certificate), ("privkey", &files.key)] {
                    let file_name = format!("acme-tls-alpn-01-{kind}{spec}.pem");
                    present(&httpd, name, &file_name, fs::read(file).unwrap());
                }
            }
            let shown = handshake(&httpd, name, "acme-tls/1");
            assert_eq!((shown.names(), shown.key()), (vec![name.to_string()], expected), "{keys}");
            assert_eq!(handshake(&httpd, name, "http/1.1").common_name(), "Apache Managed Domain Fallback");
        }
        assert_eq!(httpd.https_get("one.test", "/").status, 503, "it still speaks HTTP");
        let unknown = handshake(&httpd, "nobody.test", "acme-tls/1");
        assert_eq!(unknown.common_name(), "Apache Managed Domain Fallback");
        httpd.wait_logged("AH10080: nobody.test: unknown tls-alpn-01 challenge host");
        httpd.stop().forget();
    }
}

/// What validators take, and the key of the certificate that they get to see then.
const VALIDATORS: &[(&[&str], Id)] = &[
    (&["-tls1_2", "-cipher", "ECDHE+aRSA"], Id::RSA),
    (&["-tls1_2", "-cipher", "ECDHE+aECDSA"], Id::EC),
    (&["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"], Id::RSA),
    (&["-tls1_3", "-sigalgs", "ecdsa_secp256r1_sha256"], Id::EC),
];

/// What validators take that take both: which they get to see may be the host's choice.
const UNDECIDED: &[&[&str]] = &[
    &["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256"],
    &["-tls1_3", "-sigalgs", "ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256"],
    &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"],
    &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"],
];

#[test]
fn a_challenge_shows_its_own_certificate_whatever_a_host_has() {
    let Some(lab) = open_lab!() else { return };
    let own = |algorithm| tls::Files::new(&lab, "own.test", algorithm).directives();
    let (rsa, ec) = (own(Id::RSA), own(Id::EC));
    for (files, honor, live) in [
        (format!("{rsa}\n{ec}"), "on", "on"),
        (format!("{ec}\n{rsa}"), "off", "off"),
        (ec.clone(), "on", "off"),
        (rsa.clone(), "on", "on"),
        (String::new(), "on", "on"),
    ] {
        // A host that no MD has is the first one, to which handshakes for names of no host go.
        let httpd = Config::new(&lab)
            .line("MDCertificateAuthority https://127.0.0.1:1/dir\nMDCertificateAgreement accepted")
            .line(&format!(
                "Protocols http/1.1 acme-tls/1\nSSLHonorCipherOrder {honor}\nMDLiveActivation {live}"
            ))
            .line("MDMembers manual\nMDomain one.test homeless.test")
            .site_with("first.test", &format!("{rsa}\n{ec}"))
            .site_with("one.test", &files)
            .start();
        for name in ["one.test", "homeless.test"] {
            let answers = [(Id::RSA, ""), (Id::EC, ".p-256")].map(|(algorithm, spec)| {
                let files = tls::Files::new(&lab, name, algorithm);
                let certificate = fs::read(&files.certificate).unwrap();
                present(&httpd, name, &format!("acme-tls-alpn-01-pubcert{spec}.pem"), &certificate);
                present(
                    &httpd,
                    name,
                    &format!("acme-tls-alpn-01-privkey{spec}.pem"),
                    fs::read(&files.key).unwrap(),
                );
                (algorithm, openssl::x509::X509::from_pem(&certificate).unwrap().to_der().unwrap())
            });
            let shown = |options: &[&str], alpn: &str| {
                let options = [&["-alpn", alpn], options].concat();
                tls::served(httpd.config.https_port(), name, None, &options)
            };
            for (options, algorithm) in VALIDATORS {
                let served = shown(options, "acme-tls/1");
                let expected = answers.iter().find(|(own, _)| own == algorithm).unwrap();
                let context = format!("{name} {options:?} at {files:?} {honor}: {}", served.verdict);
                assert_eq!(
                    served.chain.first().map(|leaf| leaf.to_der().unwrap()).as_ref(),
                    Some(&expected.1),
                    "{context}"
                );
                assert_ne!(
                    shown(options, "http/1.1").chain.first().map(tls::names),
                    Some(vec![name.into()]),
                    "{context}"
                );
            }
            for options in UNDECIDED {
                let leaf = shown(options, "acme-tls/1").leaf().to_der().unwrap();
                assert!(answers.iter().any(|(_, answer)| *answer == leaf), "{name} {options:?} at {files:?}");
            }
        }
        httpd.stop().forget();
    }
}

#[test]
fn tls_alpn_01_works_beside_host_certificates_of_any_key_type() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let own = |algorithm| tls::Files::new(&lab, "own.test", algorithm).directives();
    let (rsa, ec) = (own(Id::RSA), own(Id::EC));
    // Of the types that both can do, the host chooses, or the validator.
    for (keys, files, host_chooses) in [
        ("RSA", format!("{ec}\n{rsa}"), "on"),
        ("secp384r1", format!("{rsa}\n{ec}"), "off"),
        ("RSA", ec.clone(), "on"),
        ("P-256", rsa.clone(), "off"),
    ] {
        let mut httpd = Config::with_ca(&lab, &pebble.authority)
            .line("Protocols http/1.1 acme-tls/1\nMDCAChallenges tls-alpn-01")
            .line(&format!("SSLHonorCipherOrder {host_chooses}\nMDPrivateKeys {keys}\nMDomain one.test"))
            .site_with("one.test", &files)
            .start();
        assert_certificate(&mut httpd, &pebble, "one.test", &["one.test"]);
        httpd.stop().forget();
    }
}

#[test]
fn a_host_without_the_protocol_shows_no_challenge() {
    let Some(lab) = open_lab!() else { return };
    let httpd = bystanders(&lab, "MDomain one.test").start();
    let files = tls::Files::new(&lab, "one.test", Id::RSA);
    present(&httpd, "one.test", "acme-tls-alpn-01-pubcert.pem", fs::read(&files.certificate).unwrap());
    present(&httpd, "one.test", "acme-tls-alpn-01-privkey.pem", fs::read(&files.key).unwrap());
    let context = openssl::ssl::SslContext::builder(openssl::ssl::SslMethod::tls_client()).unwrap().build();
    let mut client = openssl::ssl::Ssl::new(&context).unwrap();
    client.set_hostname("one.test").unwrap();
    client.set_alpn_protos(b"\x0aacme-tls/1").unwrap();
    let stream = Stream::connect(lab.https).unwrap();
    if let Ok(stream) = client.connect(stream) {
        assert_ne!(stream.ssl().selected_alpn_protocol(), Some(&b"acme-tls/1"[..]));
        assert!(!tls::names(&stream.ssl().peer_certificate().unwrap()).is_empty());
    }
}

/// What the server sends to a client that speaks HTTP after a handshake with these protocols on offer (ALPN),
/// and the one it chose.
fn http_after_handshake(httpd: &Httpd, version: SslVersion, offers: &[u8]) -> (Option<Vec<u8>>, Vec<u8>) {
    let mut context = openssl::ssl::SslContext::builder(openssl::ssl::SslMethod::tls_client()).unwrap();
    context.set_min_proto_version(Some(version)).unwrap();
    context.set_max_proto_version(Some(version)).unwrap();
    let mut client = openssl::ssl::Ssl::new(&context.build()).unwrap();
    client.set_hostname("one.test").unwrap();
    client.set_alpn_protos(offers).unwrap();
    let mut stream = client.connect(Stream::connect(httpd.config.https_port()).unwrap()).unwrap();
    let chosen = stream.ssl().selected_alpn_protocol().map(<[u8]>::to_vec);
    // The server may be gone already.
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer).map_err(|e| e.kind());
    assert!(!matches!(end, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "it is left open");
    (chosen, answer)
}

#[test]
fn a_connection_of_tls_alpn_01_is_closed_after_the_handshake() {
    let Some(lab) = open_lab!() else { return };
    for mpm in ["event", "prefork"] {
        let lines = format!("{}Protocols h2 http/1.1 acme-tls/1\nMDomain one.test", modules(&["http2"]));
        let httpd = bystanders(&lab, &lines).mpm(mpm).start();
        let versions = [SslVersion::TLS1_2, SslVersion::TLS1_3];
        for has_challenge in [false, true] {
            if has_challenge {
                let files = tls::Files::new(&lab, "one.test", Id::RSA);
                let [cert, key] = [&files.certificate, &files.key].map(|file| fs::read(file).unwrap());
                present(&httpd, "one.test", "acme-tls-alpn-01-pubcert.pem", cert);
                present(&httpd, "one.test", "acme-tls-alpn-01-privkey.pem", key);
            }
            for version in versions {
                let (chosen, answer) = http_after_handshake(&httpd, version, b"\x0aacme-tls/1");
                assert_eq!(chosen.as_deref(), Some(&b"acme-tls/1"[..]), "{mpm} {version:?}");
                assert_eq!(String::from_utf8_lossy(&answer), "", "{mpm} {version:?} {has_challenge}");
            }
        }
        for version in versions {
            let (_, answer) = http_after_handshake(&httpd, version, b"\x08http/1.1");
            assert!(answer.starts_with(b"HTTP/1.1 503"), "{mpm} {version:?}: {answer:?}");
        }
        assert_eq!(httpd.logged("exit signal"), [""; 0]);
        httpd.stop().forget();
    }
}

/// Each record that was set up, in the order of the values, and likewise each that was torn down.
fn records(dns: &Command) -> (Vec<String>, Vec<String>) {
    let of = |verb: &str| {
        let calls = dns.calls();
        let mut found: Vec<String> =
            calls.iter().filter_map(|call| call.strip_prefix(verb)).map(str::to_string).collect();
        found.sort();
        found
    };
    (of("extra setup "), of("extra teardown "))
}

#[track_caller]
fn assert_dns_01(lab: &Lab, version: u8) {
    let pebble = Pebble::start(lab);
    let dns = Command::dns(lab, &pebble.authority);
    // The first argument is the admin's own.
    let line = dns.line.clone();
    let script = fs::read_to_string(&line).unwrap().replacen("case $1", "shift\ncase $1", 1);
    fs::write(&line, script).unwrap();
    let messages = Command::new(lab, "message", "");
    let mut httpd = Config::with_ca(lab, &pebble.authority)
        .line(&format!("MDChallengeDns01 {line} extra\nMDChallengeDns01Version {version}"))
        .line(&format!("MDCAChallenges dns-01\nMDMessageCmd {}", messages.line))
        .line("MDomain one.test *.one.test")
        .site("one.test", &["*.one.test"])
        .start();
    assert_certificate(&mut httpd, &pebble, "one.test", &["one.test", "www.one.test"]);
    let (set_up, torn_down) = records(&dns);
    assert_eq!(set_up.len(), 2, "{set_up:?}");
    assert!(
        set_up.iter().all(|record| record.starts_with("one.test ") && record.len() == 9 + 43),
        "{set_up:?}"
    );
    assert_ne!(set_up[0], set_up[1]);
    if version == 1 {
        assert!(torn_down.iter().all(|record| record == "one.test"), "{torn_down:?}");
        assert!(!torn_down.is_empty());
    } else {
        assert_eq!(torn_down, set_up);
    }
    assert!(messages.calls().contains(&"challenge-setup:dns-01:one.test one.test".to_string()));
}

#[test]
fn dns_01_gets_a_wildcard_certificate_with_commands_of_version_1() {
    let Some(lab) = open_lab!() else { return };
    assert_dns_01(&lab, 1);
}

#[test]
fn dns_01_gets_a_wildcard_certificate_with_commands_of_version_2() {
    let Some(lab) = open_lab!() else { return };
    assert_dns_01(&lab, 2);
}

/// Such commands work with the C module, which sets the record up for one after the other.
#[test]
fn a_dns_01_command_may_replace_the_record_of_a_name_and_its_wildcard() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let dns = Command::dns(&lab, &pebble.authority);
    let replacing = dns.line.replace("dns.sh", "replacing.sh");
    let script =
        format!("#!/bin/bash\n[ $1 != setup ] || {0} teardown $2 || exit\nexec {0} \"$@\"\n", dns.line);
    fs::write(&replacing, script).unwrap();
    fs::set_permissions(&replacing, fs::Permissions::from_mode(0o755)).unwrap();
    let mut httpd = Config::with_ca(&lab, &pebble.authority)
        .line(&format!("MDChallengeDns01 {replacing}\nMDCAChallenges dns-01\nMDRetryDelay 1h"))
        .line("MDomain one.test *.one.test www.one.test")
        .site("one.test", &["*.one.test"])
        .start();
    assert_certificate(&mut httpd, &pebble, "one.test", &["one.test", "x.one.test"]);
    let set_up = dns.calls().iter().filter(|call| call.starts_with("setup")).count();
    assert_eq!(set_up, 2, "a name that the wildcard covers is not ordered: {:?}", dns.calls());
}

#[test]
fn a_failing_dns_01_command_is_reported_and_its_record_torn_down() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let dns = Command::new(&lab, "dns", "echo 'no such zone' >&2\n[ $1 = teardown ] || exit 7");
    let httpd = Config::with_ca(&lab, &pebble.authority)
        .line(&format!("MDChallengeDns01 {}\nMDChallengeDns01Version 2\nMDCAChallenges dns-01", dns.line))
        .line("MDomain one.test")
        .site("one.test", &[])
        .start();
    let last = last_failure(&httpd);
    assert_eq!(last["problem"], "challenge-setup-failure", "{last:#}");
    let detail = last["detail"].as_str().unwrap();
    assert!(detail.contains("could be setup successfully. Please check the log for errors."), "{detail}");
    assert!(last["activity"].as_str().unwrap().starts_with("Setting up challenge 'dns-01'"), "{last:#}");
    assert!(!httpd.logged("failed with exit code 7").is_empty());
    httpd.wait_logged("no such zone");
    let calls = dns.calls();
    assert_eq!(calls[0].replacen("setup", "teardown", 1), calls[1]);
    assert_nothing_left(&httpd);
}

#[test]
fn another_type_is_used_where_the_first_cannot_be_set_up() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let dns = Command::new(&lab, "dns", "exit 1");
    let mut httpd = Config::with_ca(&lab, &pebble.authority)
        .line(&format!("MDChallengeDns01 {}\nMDCAChallenges dns-01 http-01", dns.line))
        .line("MDomain one.test")
        .site("one.test", &[])
        .start();
    assert_certificate(&mut httpd, &pebble, "one.test", &["one.test"]);
    assert!(dns.calls()[0].starts_with("setup one.test "), "{:?}", dns.calls());
}

#[test]
fn records_that_a_killed_child_has_set_up_are_torn_down_by_the_next() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Authority::new(&lab).slow_validation(3).start();
    let dns = Command::dns(&lab, &pebble.authority);
    let mut httpd = Config::with_ca(&lab, &pebble.authority)
        .line(&format!("MDChallengeDns01 {}\nMDChallengeDns01Version 2\nMDCAChallenges dns-01", dns.line))
        .line("MDomain one.test www.one.test\nMDRetryDelay 1s")
        .site("one.test", &["www.one.test"])
        .start();
    wait_for("both records", SOON, || (dns.calls().len() == 2).then_some(()));
    pebble.hold();
    let killed = httpd.watchdog();
    signal(killed, "KILL");
    wait_for("the end of the killed child", SOON, || (!is_alive(killed)).then_some(()));
    wait_for("another child", SOON, || (!children(httpd.pid()).is_empty()).then_some(()));
    pebble.go_on();
    assert_certificate(&mut httpd, &pebble, "one.test", &["www.one.test"]);
    let with = |verb: &str| {
        let calls = dns.calls();
        let mut found: Vec<_> =
            calls.iter().filter_map(|call| call.strip_prefix(verb)).map(str::to_string).collect();
        found.sort();
        found.dedup();
        found
    };
    assert_eq!(with("setup "), with("teardown "));
}

/// What the message command heard of challenges, sorted.
fn challenges_heard(messages: &Command) -> Vec<String> {
    let calls = messages.calls();
    let mut heard: Vec<_> =
        calls.iter().filter_map(|call| call.strip_prefix("challenge-setup:")).map(str::to_string).collect();
    heard.sort();
    heard
}

#[test]
fn without_configured_types_each_name_gets_the_first_that_works_for_it() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let dns = Command::dns(&lab, &pebble.authority);
    let messages = Command::new(&lab, "message", "");
    let https = lab.https;
    let mut httpd = Config::with_ca(&lab, &pebble.authority)
        .line(&format!("MDChallengeDns01 {}\nMDMessageCmd {}", dns.line, messages.line))
        .line("MDomain alpn.test plain.test *.wild.test")
        .line(&format!("<VirtualHost *:{https}>\nServerName plain.test\nSSLEngine on\n</VirtualHost>"))
        .line(&format!(
            "<VirtualHost *:{https}>\nServerName alpn.test\nProtocols http/1.1 acme-tls/1\nSSLEngine on\n</VirtualHost>"
        ))
        .start();
    assert_certificate(&mut httpd, &pebble, "alpn.test", &["alpn.test", "plain.test", "x.wild.test"]);
    assert_eq!(
        challenges_heard(&messages),
        ["dns-01:wild.test alpn.test", "http-01:plain.test alpn.test", "tls-alpn-01:alpn.test alpn.test"]
    );
}

#[test]
fn a_domain_without_a_possible_challenge_is_told_at_start_and_in_status() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let httpd = Config::with_ca(&lab, &pebble.authority)
        .line("MDPortMap http:-\nMDPortMap https:-\nMDomain one.test")
        .site("one.test", &[])
        .start();
    let text = "None of the ACME challenge methods configured for this domain are suitable. The http: challenge \
                'http-01' is disabled because the server seems not reachable on public port 80. The https: challenge \
                'tls-alpn-01' is disabled because the server seems not reachable on public port 443. The DNS challenge \
                'dns-01' is disabled because the directive 'MDChallengeDns01' is not configured.";
    assert!(!httpd.logged(&format!("AH10173: md[one.test]: {text}")).is_empty());
    let last = last_failure(&httpd);
    assert!(last["detail"].as_str().unwrap().contains(text), "{last:#}");
}

#[test]
fn a_wildcard_without_dns_01_is_told() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let httpd = Config::with_ca(&lab, &pebble.authority)
        .line("MDomain one.test *.one.test")
        .site("one.test", &["*.one.test"])
        .start();
    let last = last_failure(&httpd);
    assert!(!httpd.logged("AH10173: md[one.test]: None of the ACME challenge methods").is_empty());
    assert_eq!(last["problem"], "challenge-mismatch", "{last:#}");
    assert!(last["detail"].as_str().unwrap().contains("'MDChallengeDns01' is not configured"), "{last:#}");
    assert_nothing_left(&httpd);
}

#[test]
fn challenge_data_of_names_nobody_has_goes_at_the_start() {
    let Some(lab) = open_lab!() else { return };
    let httpd = bystanders(&lab, "MDomain one.test").start();
    let file = "acme-tls-alpn-01-pubcert.pem";
    for name in ["one.test", "gone.test"] {
        present(&httpd, name, file, "x");
    }
    let challenges = httpd.config.store().join("challenges");
    let has = |name: &str| Path::new(&challenges).join(name).join(file).exists();
    let _httpd = httpd.stop().start();
    assert!(has("one.test") && !has("gone.test"));
}

/// RFC 8738: a domain may be an address.
#[track_caller]
fn assert_address(lab: &Lab, challenge: &str) {
    let pebble = Pebble::start(lab);
    let mut httpd = Config::with_ca(lab, &pebble.authority)
        .line(&format!("Protocols http/1.1 acme-tls/1\nMDCAChallenges {challenge}\nMDomain 127.0.0.1"))
        .site("127.0.0.1", &[])
        .start();
    httpd.wait_staged("127.0.0.1");
    assert_nothing_left(&httpd);
    httpd.graceful();
    let root = Some(pebble.authority.root.as_path());
    // Clients that go to an address name no server.
    let served = tls::served_to(lab.https, root, &["-noservername", "-verify_ip", "127.0.0.1"]);
    assert!(served.verified, "{}", served.verdict);
    let names = served.leaf().subject_alt_names().unwrap();
    assert_eq!(names.iter().filter_map(|name| name.ipaddress()).collect::<Vec<_>>(), [[127, 0, 0, 1]]);
    assert_eq!(names.len(), 1);
}

#[test]
fn an_address_gets_a_certificate_by_http_01() {
    let Some(lab) = open_lab!(Need::Pebble(2, 10)) else { return };
    assert_address(&lab, "http-01");
}

#[test]
fn an_address_gets_a_certificate_by_tls_alpn_01() {
    let Some(lab) = open_lab!(Need::Pebble(2, 10)) else { return };
    assert_address(&lab, "tls-alpn-01");
}
