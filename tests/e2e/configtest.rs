// SPDX-License-Identifier: Apache-2.0
//! The reports of `apachectl configtest` and of the start on a configuration: all problems that can be known,
//! with file and line, before they make a renewal fail or mod_ssl end the start. No CA is contacted.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use openssl::pkey::{Id, PKey};
use openssl::symm::Cipher;

use support::httpd::unprivileged_user;
use support::issuer::Issuer;
use support::tls::Files;
use support::{Config, Lab, lab, open_lab};

/// Nothing is missing, and nothing asked.
const QUIET: &str =
    "MDCertificateAuthority https://127.0.0.1:9/dir\nMDCertificateAgreement accepted\nMDInitialDelay 1d";

/// `FILE:LINE` of the first line of the configuration with this text.
fn place(config: &Config, text: &str) -> String {
    let file = config.server_root().join("httpd.conf");
    let content = fs::read_to_string(&file).unwrap();
    let line = content.lines().position(|line| line.contains(text)).unwrap() + 1;
    format!("{}:{line}", file.display())
}

/// What the test says, but for httpd's last line and what mod_ssl has to say.
#[track_caller]
fn warnings(config: &Config) -> Vec<String> {
    let (passed, said) = config.configtest();
    assert!(passed && said.ends_with("Syntax OK\n"), "{said}");
    said.lines().filter(|line| *line != "Syntax OK" && !line.contains("[ssl:")).map(String::from).collect()
}

#[track_caller]
fn assert_warned(config: &Config, parts: &[&str]) {
    let said = warnings(config);
    for part in parts {
        assert!(said.iter().any(|line| line.contains(part)), "`{part}` in {said:#?}");
    }
    assert!(!config.store().exists());
}

#[track_caller]
fn assert_silent(config: &Config) {
    let said = warnings(config);
    assert!(said.is_empty(), "{said:#?}");
}

#[test]
fn a_slip_is_told_by_configtest_and_by_the_start_that_mod_ssl_ends() {
    let Some(lab) = open_lab!() else { return };
    let config = Config::new(&lab).line(QUIET).line("MDomain www.exmaple.org").site("www.example.org", &[]);
    let (passed, said) = config.configtest();
    assert!(!passed && !config.store().exists(), "{said}");
    let (md, host) =
        (place(&config, "MDomain www"), place(&config, &format!("<VirtualHost *:{}", lab.https)));
    let texts = [
        format!("{host}: the host www.example.org has 'SSLEngine on' but no certificate"),
        format!("Did you mean www.exmaple.org of md[www.exmaple.org] ({md})?"),
        format!("AH10045: No VirtualHost matches Managed Domain www.exmaple.org (defined in {md})"),
        format!("Did you mean www.example.org, the host in {host}?"),
    ];
    for text in &texts {
        assert!(said.contains(text), "`{text}` in {said}");
    }
    let said = config.try_start().map(|_| ()).unwrap_err();
    let of_ssl = said.find("ssl:emerg").unwrap();
    for text in &texts {
        let found: Vec<_> = said.match_indices(text).map(|(at, _)| at).collect();
        assert!(found.len() == 1 && found[0] < of_ssl, "`{text}` once, and before mod_ssl: {said}");
    }
}

#[test]
fn a_start_tells_the_same_once_and_so_does_a_reload() {
    let Some(lab) = open_lab!() else { return };
    let mut httpd = Config::new(&lab)
        .line(QUIET)
        .line("MDomain one.test\nMDomain unused.test\nMDomain plain.test\nMDNotifyCmd /nowhere/command")
        .line(&format!("<VirtualHost *:{}>\nServerName plain.test\n</VirtualHost>", lab.http))
        .site("one.test", &[])
        .start();
    let texts = [
        "AH10045: No VirtualHost matches Managed Domain unused.test".to_string(),
        format!(
            "{}: md[plain.test]: no host with 'SSLEngine on' uses it",
            place(&httpd.config, "MDomain plain.test")
        ),
        format!(
            "{}: MDNotifyCmd /nowhere/command: /nowhere/command does not exist",
            place(&httpd.config, "MDNotifyCmd")
        ),
    ];
    let count = |httpd: &support::Httpd, times| {
        for text in &texts {
            let lines = httpd.logged(text);
            assert!(
                lines.len() == times && lines.iter().all(|line| line.contains("md:warn")),
                "{text}: {lines:?}"
            );
        }
    };
    count(&httpd, 1);
    httpd.graceful();
    count(&httpd, 2);
}

#[test]
fn what_only_warns_leaves_the_test_passed_and_the_disk_as_it_was() {
    let Some(lab) = open_lab!() else { return };
    let with = |lines: &str| {
        let mds = "MDInitialDelay 1d\nMDomain www.example.org";
        Config::new(&lab).line(mds).line(lines).site("www.example.org", &[])
    };
    let script = lab.path("script");
    fs::write(&script, "#!/bin/sh\r\nexit 0\n").unwrap();
    let script = script.display();
    let agreed = "MDCertificateAgreement accepted\n";
    for (lines, part) in [
        ("", "md[www.example.org]: 'MDCertificateAgreement accepted' is missing, so Let's Encrypt"),
        ("MDCertificateAuthority buypass", "Buypass ended its ACME service in 2025"),
        (&format!("{agreed}MDCertificateAuthority zerossl"), "'MDExternalAccountBinding' is missing"),
        (
            &format!("{agreed}MDCertificateAuthority zerossl\nMDExternalAccountBinding kid-1 \"not*base64\""),
            "the hmac of 'MDExternalAccountBinding' is not base64url",
        ),
        (&format!("{agreed}MDMustStaple on"), "'MDMustStaple on' makes Let's Encrypt reject"),
        (&format!("{agreed}MDPrivateKeys P-521"), "does not accept the key P-521 of MDPrivateKeys"),
        (&format!("{agreed}MDCAChallenges http-01 dns01"), "Did you mean dns-01?"),
        (
            &format!("{agreed}MDPortMap http:- https:-"),
            "AH10173: md[www.example.org]: None of the ACME challenge methods",
        ),
        (&format!("{agreed}MDMessageCmd /nowhere/x"), "Every renewal is postponed"),
        (&format!("{agreed}MDNotifyCmd /etc/passwd"), "/etc/passwd is not executable (mode 0644"),
        (&format!("{agreed}MDNotifyCmd /etc"), "/etc is a folder"),
        (&format!("{agreed}MDNotifyCmd no-such-program x"), "there is no program no-such-program in PATH"),
        (
            &format!("{agreed}MDChallengeDns01 /nowhere/dns x"),
            "md[www.example.org]: MDChallengeDns01 /nowhere/dns x:",
        ),
        (&format!("{agreed}MDNotifyCmd {script}"), "is not executable (mode 0644"),
        (
            &format!("{agreed}MDRequireHttps temporary\nMDomain plain.org"),
            "AH10105: MD plain.org does not match any",
        ),
        (&format!("{agreed}MDRenewWindow 0"), "the certificate is renewed only after it has expired"),
    ] {
        assert_warned(&with(lines), &[part]);
    }
    fs::set_permissions(lab.path("script"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_warned(
        &with(&format!("{agreed}MDNotifyCmd {script}")),
        &[&format!("{script} is a script with the line ends of Windows")],
    );
    fs::write(lab.path("script"), "#!/bin/sh\nexit 0\n").unwrap();
    assert_silent(&with(&format!("{agreed}MDNotifyCmd {script}")));
    let wildcard = Config::new(&lab).line(QUIET).line("MDomain *.example.org").site("www.example.org", &[]);
    assert_warned(&wildcard, &["AH10173: md[*.example.org]", "'MDChallengeDns01' is not configured"]);
}

#[test]
fn what_is_wrong_with_a_way_of_dns_01_is_told_and_httpd_starts() {
    let Some(lab) = open_lab!() else { return };
    let with = |lines: &str| {
        let mds = "MDomain www.example.org *.example.org\nMDomain other.test";
        Config::new(&lab)
            .line(QUIET)
            .line(mds)
            .line(lines)
            .site("www.example.org", &[])
            .site("other.test", &[])
    };
    let write = |name: &str, content: &str, mode: u32| {
        fs::write(lab.path(name), content).unwrap();
        fs::set_permissions(lab.path(name), fs::Permissions::from_mode(mode)).unwrap();
        lab.path(name).display().to_string()
    };
    let key = "key \"k\" { algorithm hmac-sha256; secret \"aHVudGVyMmh1bnRlcjI=\"; };\n";
    let (good, open) = (write("good.key", key, 0o600), write("open.key", key, 0o640));
    let (bad, empty) = (write("bad.key", "aHVudGVyMmh1bnRlcjI=", 0o600), write("empty", "", 0o600));
    let (env, bad_env) =
        (write("env", "A=1\n", 0o600), write("bad.env", "A=1\naHVudGVyMmh1bnRlcjI\n", 0o600));
    for (lines, part) in [
        ("rfc2136 ns.test absent.key", "absent.key cannot be read: No such file or directory. Put it there"),
        (&format!("rfc2136 ns.test {bad}"), "bad.key cannot be used: no TSIG key is in it"),
        (
            &format!("rfc2136 ns.test {empty}"),
            "md[www.example.org] and 1 more: MDChallengeDns01 rfc2136: the key file",
        ),
        (&format!("rfc2136 ns.test {open}"), "open.key (mode 0640) of MDChallengeDns01. It holds a secret"),
        (&format!("hook:lego /bin/true env={bad_env}"), "bad.env cannot be used: line 2 is not NAME=VALUE"),
        (
            "hook:lego /nowhere/hook",
            "md[www.example.org] and 1 more: MDChallengeDns01 hook:lego /nowhere/hook:",
        ),
        ("responder", "'MDDnsListen ADDRESS:53' and 'MDDnsZone ZONE' are missing"),
        ("rfc2163 ns.test key", "Did you mean rfc2136?"),
    ] {
        let said = warnings(&with(&format!("MDChallengeDns01 {lines}")));
        assert!(said.iter().any(|line| line.contains(part)), "`{part}` in {said:#?}");
        assert!(!said.iter().any(|line| line.contains("aHVudGVy")), "{said:#?}");
    }
    for lines in [format!("rfc2136 ns.test {good}"), format!("hook:lego /bin/true env={env}")] {
        assert_silent(&with(&format!("MDChallengeDns01 {lines}")));
    }
    let mut httpd = with(&format!("MDChallengeDns01 rfc2136 ns.test {bad}")).start();
    let told = "bad.key cannot be used: no TSIG key is in it";
    assert_eq!(httpd.logged(told).len(), 1);
    // It is read again at a reload.
    write("bad.key", key, 0o600);
    httpd.graceful();
    assert_eq!(httpd.logged(told).len(), 1);
    assert!(httpd.logged("aHVudGVy").is_empty());
}

#[test]
fn a_store_or_a_command_that_the_user_cannot_enter_is_told() {
    let Some(lab) = open_lab!() else { return };
    if !lab::is_root() {
        return lab::skip("the User of httpd", "it takes root to have another one");
    }
    let closed = lab.path("closed");
    fs::create_dir_all(&closed).unwrap();
    fs::write(closed.join("command"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(closed.join("command"), fs::Permissions::from_mode(0o755)).unwrap();
    let shown = closed.display();
    let config = Config::new(&lab)
        .line(QUIET)
        .line(&format!("MDomain one.test\nMDStoreDir {shown}/md\nMDNotifyCmd {shown}/command"))
        .site("one.test", &[]);
    let set = |mode| fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
    set(0o700);
    let folder = format!("cannot enter {shown} (mode 0700)");
    let store =
        format!("httpd's child processes cannot use the store (MDStoreDir {shown}/md): their User {folder}");
    assert_warned(
        &config,
        &[&store, &format!("the User of httpd cannot enter the folder {shown} (mode 0700)")],
    );
    assert!(warnings(&config)[0].starts_with(&place(&config, "MDNotifyCmd")));
    set(0o711);
    assert_silent(&config);
    set(0o710);
    std::os::unix::fs::chown(&closed, Some(0), Some(unprivileged_user().gid)).unwrap();
    assert_silent(&config);
}

#[test]
fn static_files_fail_the_configtest_where_mod_ssl_would_end_the_start() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    let (a, b) = (issuer.issue(&["one.test"]), issuer.issue(&["one.test"]));
    let old = issuer.issue_for(&["one.test"], Id::EC, -7200, -3600);
    for (name, content) in [
        ("a.pem", a.chain_pem()),
        ("a.key", a.key_pem()),
        ("b.key", b.key_pem()),
        ("old.pem", old.chain_pem()),
        ("old.key", old.key_pem()),
        ("garbage", b"nothing".to_vec()),
    ] {
        fs::write(lab.path(name), content).unwrap();
    }
    let with = |cert: &str, key: &str, name: &str, host: &str| {
        let (cert, key) = (lab.path(cert), lab.path(key));
        let (cert, key) = (cert.display(), key.display());
        let section =
            format!("<MDomain {name}>\nMDCertificateFile {cert}\nMDCertificateKeyFile {key}\n</MDomain>");
        Config::new(&lab).line(QUIET).line(&section).site(host, &[])
    };
    assert_silent(&with("a.pem", "a.key", "one.test", "one.test"));
    for (cert, key, told) in [
        ("absent", "a.key", "absent does not exist"),
        ("a.pem", "absent", "absent does not exist"),
        ("a.pem", "b.key", "b.key is not the key of the certificate in"),
        ("a.pem", "garbage", "garbage cannot be used"),
        ("garbage", "a.key", "garbage cannot be used"),
    ] {
        let config = with(cert, key, "one.test", "one.test");
        let (passed, said) = config.configtest();
        assert!(!passed && said.contains(told) && said.contains("httpd will not start"), "{said}");
        let directive = if told.contains("pem") || cert == "a.pem" {
            "MDCertificateKeyFile"
        } else {
            "MDCertificateFile"
        };
        assert!(
            said.contains(&format!("{}: md[one.test]: {directive} ", place(&config, directive))),
            "{said}"
        );
        config.forget();
        let said = config.clone().try_start().map(|_| ()).unwrap_err();
        assert_eq!(said.matches(told).count(), 1, "{said}");
        config.forget();
    }
    assert_warned(&with("old.pem", "old.key", "one.test", "one.test"), &["expired at"]);
    assert_warned(&with("a.pem", "a.key", "two.test", "two.test"), &["does not cover the name two.test"]);
    assert_warned(
        &with("absent", "a.key", "one.test", "two.test").line("MDomain two.test"),
        &["absent does not exist"],
    );
}

#[test]
fn several_domains_for_one_tls_host_end_the_test() {
    let Some(lab) = open_lab!() else { return };
    let config = Config::new(&lab)
        .line(QUIET)
        .line("MDomain one.test\nMDomain two.test")
        .site("one.test", &["two.test"]);
    let (passed, said) = config.configtest();
    assert!(!passed && said.contains("AH10042: conflict: 2 MDs match Virtualhost one.test"), "{said}");
    assert!(said.contains("Join these domains in one MDomain"), "{said}");
    // What is for `LogLevel md:debug`.
    assert!(!said.contains("AH10041") && !said.contains("AH10037"), "{said}");
}

#[test]
fn an_encrypted_key_of_the_admin_is_for_mod_ssl_to_open() {
    let Some(lab) = open_lab!() else { return };
    let set = Issuer::new().issue(&["one.test"]);
    let key = PKey::private_key_from_pem(&set.key_pem()).unwrap();
    let sealed = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"secret").unwrap();
    let (cert, key, dialog) = (lab.path("a.pem"), lab.path("a.key"), lab.path("dialog"));
    fs::write(&cert, set.chain_pem()).unwrap();
    fs::write(&key, sealed).unwrap();
    fs::write(&dialog, "#!/bin/sh\necho secret\n").unwrap();
    fs::set_permissions(&dialog, fs::Permissions::from_mode(0o755)).unwrap();
    let config = Config::new(&lab)
        .line(QUIET)
        .line(&format!("SSLPassPhraseDialog exec:{}", dialog.display()))
        .line(&format!(
            "<MDomain one.test>\nMDCertificateFile {}\nMDCertificateKeyFile {}\n</MDomain>",
            cert.display(),
            key.display()
        ))
        .site("one.test", &[]);
    assert_silent(&config);
    let httpd = config.start();
    assert_eq!(httpd.md("one.test")["state"], 2);
}

#[test]
fn what_is_missing_of_httpd_is_told() {
    let Some(lab) = open_lab!() else { return };
    let config = Config::new(&lab).line(QUIET).line("MDomain one.test");
    let config = config.line(&format!("<VirtualHost *:{}>\nServerName one.test\n</VirtualHost>", lab.http));
    let config = config.without_module_named("ssl");
    assert_warned(&config, &["md[one.test]: mod_ssl is not loaded, so no host can use the certificates"]);
}

#[test]
fn configurations_that_are_in_order_are_not_talked_about() {
    let Some(lab) = open_lab!() else { return };
    let own = Files::new(&lab, "own.test", Id::EC).directives();
    let Lab { http, https, .. } = &lab;
    let base = || Config::new(&lab).line(QUIET);
    let section = |name: &str, lines: &str| {
        format!("<VirtualHost *:{https}>\nServerName {name}\n{lines}\n</VirtualHost>")
    };
    let plain = format!("<VirtualHost *:{http}>\nServerName one.test\n</VirtualHost>");
    for config in [
        base().line("MDomain one.test").site("one.test", &[]).line(&plain),
        // Files of certbot, of a host without and of one with a domain.
        base().line("MDomain one.test").site("one.test", &[]).site_with("own.test", &own),
        base().line("MDomain one.test\nMDomain own.test").site("one.test", &[]).site_with("own.test", &own),
        base().line(&own).line("MDomain one.test").site("one.test", &[]).site("inherits.test", &[]),
        base().line("<IfModule mod_ssl.c>\nMDomain one.test").site("one.test", &[]).line("</IfModule>"),
        base().line("<IfModule md_module>\nMDomain one.test\n</IfModule>").site("one.test", &[]),
        base().line("SSLEngine on\nMDBaseServer on\nMDomain main.test"),
        base().line(&format!("SSLEngine on\n{own}\nMDomain one.test")).line(&section("one.test", "")),
        base()
            .line(&format!("SSLEngine on\n{own}\nMDomain one.test"))
            .line(&section("one.test", ""))
            .line(&section("plain.test", "SSLEngine off")),
        base()
            .line("MDomain one.test")
            .site("one.test", &[])
            .line(&section("optional.test", "SSLEngine optional")),
        // No ServerName: that of the main server.
        base()
            .line("MDBaseServer on\nMDomain main.test")
            .line(&format!("<VirtualHost *:{https}>\nSSLEngine on\n</VirtualHost>")),
        base().line("MDPortMap https:-\nMDCAChallenges http-01\nMDomain one.test").line(&plain),
        base().line("MDRenewMode always\nMDomain mail.test"),
        base().line("MDRenewMode manual\nMDomain front.test"),
        base().line(&format!(
            "Define ENGINE on\nMDomain one.test\n{}",
            section("one.test", "SSLEngine ${ENGINE}")
        )),
        base().line("MDomain one.test manual").site("one.test", &[]).site_with("own.test", &own),
        base()
            .line("MDomain *.one.test one.test\nMDChallengeDns01 /bin/true")
            .site("www.one.test", &["one.test"]),
        Config::new(&lab).site_with("own.test", &own),
    ] {
        assert_silent(&config);
    }
}

#[test]
fn lines_of_macros_and_included_files_are_told_where_they_are() {
    let Some(lab) = open_lab!() else { return };
    let included = lab.path("site.conf");
    let host = format!(
        "\n\n<VirtualHost *:{}>\nServerName two.example.org\nSSLEngine on\n</VirtualHost>\n",
        lab.https
    );
    fs::write(&included, host).unwrap();
    let macros = format!(
        "<Macro Site $name>\n<VirtualHost *:{}>\nServerName $name\nSSLEngine on\n</VirtualHost>\n</Macro>\nUse Site \
         one.example.org\nUse Site three.example.org",
        lab.https
    );
    let config = Config::new(&lab)
        .line(QUIET)
        .line(&support::apache::find().unwrap().load("macro"))
        .line("MDomain one.example.org")
        .line(&macros)
        .line(&format!("Include {}", included.display()));
    let (passed, said) = config.configtest();
    assert!(!passed, "{said}");
    assert!(said.contains(&format!("{}:3: the host two.example.org has", included.display())), "{said}");
    assert!(
        said.contains("the host three.example.org has") && !said.contains("the host one.example.org has"),
        "{said}"
    );
}

#[test]
fn as_many_names_as_are_written_count() {
    let Some(lab) = open_lab!() else { return };
    let names = |prefix: &str| (0..90).map(|n| format!("{prefix}{n}.test")).collect::<Vec<_>>();
    let (line, member, section) = (names("line"), names("member"), names("section"));
    let urls: Vec<_> = (0..70).map(|n| format!("https://127.0.0.1:9/{n}")).collect();
    let aliases = |names: &[String]| names[1..].iter().map(String::from).collect::<Vec<_>>();
    let mut config = Config::new(&lab)
        .line("MDRenewMode manual\nMDMembers manual")
        .line(&format!("MDCertificateAuthority {}", urls.join(" ")))
        .line(&format!("MDomain {}", line.join("  ")))
        .line(&format!(
            "<MDomain member0.test>\nMDMembers {} 'quoted.test' \"member99.test\"\n</MDomain>",
            member.join("\t")
        ))
        .line(&format!("<MDomain {}>\n</MDomain>", section.join(" ")));
    for names in [&line, &member, &section] {
        let aliases = aliases(names);
        config = config.site(&names[0], &aliases.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let httpd = config.start();
    for (names, more) in [(&line, 0), (&member, 2), (&section, 0)] {
        let md = httpd.md(&names[0]);
        let domains: Vec<_> = md["domains"].as_array().unwrap().iter().filter_map(|d| d.as_str()).collect();
        assert_eq!(domains.len(), names.len() + more, "{md:#}");
        assert!(names.iter().all(|name| domains.contains(&name.as_str())));
    }
    assert_eq!(httpd.md("line0.test")["ca"]["urls"].as_array().unwrap().len(), urls.len());
    assert!(httpd.logged("AH10040").is_empty(), "{:?}", httpd.logged("AH10040"));
}

#[test]
fn words_are_split_as_httpd_does() {
    let Some(lab) = open_lab!() else { return };
    let config = |lines: &str| Config::new(&lab).line(lines);
    for (line, told) in [
        (r"MDomain a\.test", r"'a\\.test' is not a valid domain name"),
        ("MDomain \"one two.test\"", "'one two.test' is not a valid domain name"),
        ("MDPrivateKeys \"RSA 3072\" P-256 P-256", "two keys of type 'P-256' are not possible."),
        ("MDPrivateKeys \"\"", "needs to specify the private key type"),
        ("MDomain \"\"", "needs at least one domain name"),
    ] {
        let (passed, said) = config(line).configtest();
        assert!(!passed && said.contains(told), "{line}: {said}");
    }
    let names = "Define NAMES \"one.test two.test\"\nMDRenewMode manual\nMDomain ${NAMES}  'three.test'";
    assert_silent(&config(names).site("one.test", &["two.test", "three.test"]));
    assert!(Path::new(&config(names).server_root().join("httpd.conf")).exists());
}
