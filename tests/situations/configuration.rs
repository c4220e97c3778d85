// SPDX-License-Identifier: Apache-2.0
//! The reports of configtest and of each start on a configuration, in the order of their checks.

use crate::lab::{Lab, NAME};
use crate::table::{Situation, situation};
use fixture::Site;
use mod_md::config::advice::{self, Context, certificates};
use mod_md::config::tree::Engine;
use mod_md::config::*;
use mod_md::crypto::CertInfo;
use mod_md::log::Level;
use mod_md::managed::Managed;
use mod_md::managed::serve::Source;
use mod_md::model::{KeySpec, Md, RenewMode};
use mod_md::startup::{dns_secrets, findings};
use mod_md::store::{Owner, reach, read_admin_file};
use mod_md::time::{Clock, DAY, SystemClock, Timestamp};
use openssl::asn1::Asn1Time;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use support::certificate;

#[path = "../../src/config/fixture.rs"]
mod fixture;

/// What is around a configuration.
#[derive(Clone, Copy, Default)]
struct World {
    has_no_mod_ssl: bool,
    has_account: bool,
    store_is_closed: bool,
}

/// Has no rights of its own.
const USER: Option<Owner> = Some(Owner { uid: 65_533, gid: 65_533 });

const HOST: &str = "<VirtualHost *:443>\nServerName a.test\nSSLEngine on\n</VirtualHost>";
/// A CA of which nothing is assumed.
const OWN_CA: &str = "MDCertificateAuthority https://ca.test/dir\n";

fn texts(findings: Vec<Finding>) -> impl Iterator<Item = String> {
    findings.into_iter().filter(|finding| finding.level <= Level::Notice).map(|finding| finding.text)
}

/// All that is reported of it, as [`mod_md::httpd`] puts it together.
fn reported(world: World, text: &str) -> Vec<String> {
    let site = Site::read(text).unwrap();
    let (servers, tree) = (site.servers(), site.tree());
    let mut plan = match site.plan() {
        Ok(plan) => plan,
        Err(errors) => return texts(errors).collect(),
    };
    let tls = tree.tls_settings(&servers);
    let now = SystemClock::default().now();
    let context = Context {
        tree: &tree,
        tls: &tls,
        has_module: &|name| name == "mod_ssl.c" && !world.has_no_mod_ssl,
        has_other_source: false,
        command_fault: &|line| reach::line_fault(line, Some("/usr/bin:/bin"), USER),
        file_faults: &|md, cert, key| {
            certificates::faults(md, Path::new(cert), Path::new(key), &read_admin_file, now)
        },
        has_account: &|_| world.has_account,
        store_fault: world.store_is_closed.then(|| "their User cannot enter /root (mode 0700)".into()),
    };
    let mut all: Vec<_> = texts(advice::advice(&plan, &servers, &context)).collect();
    all.extend(texts(dns_secrets::findings(&plan)));
    let is_on: Vec<bool> = tls.iter().map(|tls| tls.engine == Engine::On).collect();
    let alpn = vec![false; servers.len()];
    match plan.after_tls(&servers, &is_on, &alpn) {
        Ok(later) => all.extend(texts(later)),
        Err(conflicts) => all.extend(texts(conflicts)),
    }
    all.extend(texts(findings::unprovable(&plan)));
    all.extend(texts(plan.findings));
    all
}

/// Those of the reports that have the first of what is to be said: the other ones are of other rows.
fn configured(
    id: &'static str,
    says: &'static [&'static str],
    world: World,
    text: impl Fn(&Lab) -> String + 'static,
) -> Situation {
    situation(id, says, move |lab| {
        let all = reported(world, &text(lab));
        all.into_iter().filter(|text| text.contains(says[0])).collect()
    })
}

/// With an account at each CA.
fn with(id: &'static str, says: &'static [&'static str], text: &'static str) -> Situation {
    let world = World { has_account: true, ..World::default() };
    configured(id, says, world, move |_| text.replace("HOST", HOST).replace("OWN_CA\n", OWN_CA))
}

/// With files of the domain, which `write` gets the folder for.
fn files(id: &'static str, says: &'static [&'static str], write: impl Fn(&Path) + 'static) -> Situation {
    configured(id, says, World::default(), move |lab| {
        let dir = lab.dir();
        write(dir);
        let dir = dir.display();
        format!(
            "<MDomain a.test>\nMDCertificateFile {dir}/cert.pem\nMDCertificateKeyFile {dir}/key.pem\n</MDomain>\n{HOST}"
        )
    })
}

/// A certificate for this name until so many days from now, and its key.
fn put(dir: &Path, name: &str, until: i64) {
    let key = certificate::new_key();
    let day = |days: i64| Asn1Time::from_unix(SystemClock::default().now().unix() + days * 86_400).unwrap();
    let cert =
        certificate::make_valid(name, &key, None, vec![certificate::san(name)], (&day(-90), &day(until)));
    fs::write(dir.join("cert.pem"), cert.to_pem().unwrap()).unwrap();
    fs::write(dir.join("key.pem"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
}

pub fn situations() -> Vec<Situation> {
    [refused(), hosts(), certificate_files(), commands(), authorities(), challenges(), starts()]
        .into_iter()
        .flatten()
        .collect()
}

/// What ends the start although each directive is right.
fn refused() -> Vec<Situation> {
    vec![
        with(
            "two domains have a name in common",
            &["AH10038", "overlap in domain 'a.test'", "test.conf(line 1)", "remove it from one of the two"],
            "MDomain a.test\nMDomain b.test a.test\nHOST",
        ),
        with(
            "a certificate file without its key file",
            &["AH10170", "test.conf:1", "give each certificate file the file of its key"],
            "<MDomain a.test>\nMDCertificateFile c.pem\n</MDomain>\nHOST",
        ),
        with(
            "a key file without its certificate file",
            &["AH10171", "test.conf:1", "add an MDCertificateFile"],
            "<MDomain a.test>\nMDCertificateKeyFile k.pem\n</MDomain>\nHOST",
        ),
        with(
            "a protocol of no CA",
            &["AH10172", "'FOO'", "test.conf:2", "remove the directive"],
            "MDCertificateProtocol FOO\nMDomain a.test\nHOST",
        ),
        with(
            "a curve that does not exist",
            &["AH10174", "'4096'", "'RSA 4096'", "test.conf:2"],
            "MDPrivateKeys RSA 4096 4096\nMDomain a.test\nHOST",
        ),
        with(
            "a file of CA certificates that does not exist",
            &["MDCACertificateFile: file not found", "md[a.test] (test.conf:2)", "correct the path"],
            "MDCACertificateFile nofile\nMDomain a.test\nHOST",
        ),
        with(
            "a file of the proxy's certificates that does not exist",
            &["MDHttpProxyCACertificateFile: file not found", "md[a.test]", "correct the path"],
            "<MDomain a.test>\nMDHttpProxyCACertificateFile nofile\n</MDomain>\nHOST",
        ),
        with(
            "two domains for one TLS host",
            &["AH10042", "test.conf:3", "b.test (test.conf:2)", "join these domains"],
            "MDomain a.test\nMDomain b.test\n<VirtualHost *:443>\nServerName a.test\nServerAlias b.test\nSSLEngine \
             on\n</VirtualHost>",
        ),
    ]
}

/// Domains and hosts that do not find each other.
fn hosts() -> Vec<Situation> {
    let without_ssl = World { has_no_mod_ssl: true, has_account: true, ..World::default() };
    let main = "SSLEngine on\nServerName a.test\n";
    vec![
        with(
            "a TLS host with a name that is misspelt",
            &["AH02572", "test.conf:2", "did you mean", "exmaple.a.test"],
            "MDomain exmaple.a.test\n<VirtualHost *:443>\nServerName example.a.test\nSSLEngine on\n</VirtualHost>",
        ),
        with(
            "a TLS host without a domain",
            &["AH02572", "test.conf:6", "add 'MDomain shop.org'"],
            "MDomain a.test\nHOST\n<VirtualHost *:443>\nServerName shop.org\nSSLEngine on\n</VirtualHost>",
        ),
        with(
            "a TLS host with www. and a domain without it",
            &["AH02572", "add www.a.test to it"],
            "MDomain a.test manual\nHOST\n<VirtualHost *:443>\nServerName www.a.test\nSSLEngine on\n</VirtualHost>",
        ),
        with(
            "a TLS host whose alias alone is managed",
            &["AH02572", "a ServerAlias does not count", "add host.org to it"],
            "MDMatchNames servernames\nMDomain a.test\n<VirtualHost *:443>\nServerName host.org\nServerAlias a.test\nSSLEngine \
             on\n</VirtualHost>",
        ),
        configured(
            "the main server has TLS and is not managed",
            &["AH02572", "the main server", "set 'MDBaseServer on'"],
            World { has_account: true, ..World::default() },
            move |_| format!("{main}MDomain a.test"),
        ),
        configured(
            "the main server has TLS and no domain",
            &["AH02572", "switch SSLEngine off outside of the virtual hosts"],
            World { has_account: true, ..World::default() },
            move |_| format!("{main}MDomain other.org"),
        ),
        with(
            "a domain without a host",
            &["AH10045", "test.conf:2", "no certificate is requested", "give a host one of its names"],
            "OWN_CA\nMDomain b.a.test\nHOST",
        ),
        with(
            "certificate files without a host",
            &["AH10045", "its certificate files are not used", "remove the domain"],
            "<MDomain a.test>\nMDCertificateFile c\nMDCertificateKeyFile k\n</MDomain>",
        ),
        with(
            "a domain without a TLS host",
            &["no host with 'SSLEngine on' uses it", "test.conf:1", "add a <VirtualHost>"],
            "MDomain a.test\n<VirtualHost *:80>\nServerName a.test\n</VirtualHost>",
        ),
        configured(
            "mod_ssl is not loaded",
            &["mod_ssl is not loaded", "md[a.test]", "a2enmod ssl", "add hosts"],
            without_ssl,
            |_| "MDomain a.test\n<VirtualHost *:80>\nServerName a.test\n</VirtualHost>".into(),
        ),
        situation(
            "no lock for the child that renews",
            &["AH10062", "no certificate is renewed", "ulimit -n", "restart httpd"],
            |_| vec![advice::no_lock("Too many open files")],
        ),
        situation(
            "no thread for a child",
            &["AH10062", "this child cannot renew", "ulimit -u", "restart httpd"],
            |_| vec![advice::no_thread("Resource temporarily unavailable")],
        ),
        with(
            "a name of a host that the domain does not have",
            &["AH10040", "www.a.test itself is not managed", "set 'MDMembers auto'"],
            "MDomain a.test manual\n<VirtualHost *:443>\nServerName a.test\nServerAlias www.a.test\nSSLEngine \
             on\n</VirtualHost>",
        ),
        with(
            "an alias that is no domain name",
            &["AH10040", "x/y itself is not managed, as", "correct the name"],
            "MDomain a.test\n<VirtualHost *:443>\nServerName a.test\nServerAlias x/y\nSSLEngine on\n</VirtualHost>",
        ),
        with(
            "https is required and no host has it",
            &["AH10105", "test.conf:2", "set 'MDRequireHttps off'"],
            "MDRequireHttps permanent\nMDomain a.test\n<VirtualHost *:80>\nServerName a.test\n</VirtualHost>",
        ),
        with(
            "a host requires https otherwise than its domain",
            &["applies to that host", "temporary", "nothing needs to be done, unless mod_md 2"],
            "MDRequireHttps permanent\nMDomain a.test\n<VirtualHost *:443>\nServerName a.test\nSSLEngine on\nMDRequireHttps \
             temporary\n</VirtualHost>",
        ),
        with(
            "a renewal window of no length",
            &["MDRenewWindow 0", "renewed only after it has expired", "set a duration or a percentage"],
            "MDRenewWindow 0\nMDomain a.test\nHOST",
        ),
        with(
            "a stapling window of no length",
            &["MDStaplingRenewWindow 0", "test.conf:2", "set a duration or a percentage"],
            "MDomain a.test\n<VirtualHost *:443>\nServerName a.test\nSSLEngine on\nMDStaplingRenewWindow 0\n</VirtualHost>",
        ),
    ]
}

fn certificate_files() -> Vec<Situation> {
    vec![
        files(
            "a certificate file that does not exist",
            &["cert.pem does not exist", "put the file there", "httpd will not start"],
            |dir| {
                put(dir, NAME, 9);
                fs::remove_file(dir.join("cert.pem")).unwrap();
            },
        ),
        files(
            "a key file that does not exist",
            &["key.pem does not exist", "put the file there", "httpd will not start"],
            |dir| {
                put(dir, NAME, 9);
                fs::remove_file(dir.join("key.pem")).unwrap();
            },
        ),
        files(
            "a key file that cannot be read",
            &["key.pem cannot be read", "correct its permissions"],
            |dir| {
                put(dir, NAME, 9);
                fs::remove_file(dir.join("key.pem")).unwrap();
                // Root may read every file, and no folder.
                fs::create_dir(dir.join("key.pem")).unwrap();
            },
        ),
        files(
            "a certificate file of something else",
            &["cert.pem cannot be used", "put a PEM certificate there"],
            |dir| {
                put(dir, NAME, 9);
                fs::write(dir.join("cert.pem"), "garbage").unwrap();
            },
        ),
        files(
            "a key file of something else",
            &["key.pem cannot be used", "no private key", "PEM format"],
            |dir| {
                put(dir, NAME, 9);
                fs::write(dir.join("key.pem"), "garbage").unwrap();
            },
        ),
        files("the key of another certificate", &["key.pem is not the key", "of one certificate"], |dir| {
            put(dir, NAME, 9);
            let key = fs::read(dir.join("key.pem")).unwrap();
            put(dir, NAME, 9);
            fs::write(dir.join("key.pem"), key).unwrap();
        }),
        files("a certificate file that has expired", &["cert.pem expired at", "put a new"], |dir| {
            put(dir, NAME, -1);
        }),
        files("a certificate file for another name", &["cert.pem does not cover the name a.test"], |dir| {
            put(dir, "b.test", 9);
        }),
    ]
}

/// A script in the lab that nobody may execute.
fn script(lab: &Lab) -> PathBuf {
    fs::set_permissions(lab.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = lab.dir().join("script");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    path
}

fn commands() -> Vec<Situation> {
    let closed = World { store_is_closed: true, has_account: true, ..World::default() };
    vec![
        with(
            "MDNotifyCmd does not exist",
            &["MDNotifyCmd /absent/cmd", "does not exist", "test.conf:1", "correct the directive"],
            "MDNotifyCmd /absent/cmd a\nMDomain a.test\nHOST",
        ),
        with(
            "MDMessageCmd is not in PATH",
            &["MDMessageCmd absent-cmd", "no program absent-cmd in PATH", "every renewal is postponed"],
            "MDMessageCmd absent-cmd\nMDomain a.test\nHOST",
        ),
        configured(
            "MDChallengeDns01 is not executable",
            &["MDChallengeDns01 /", "is not executable (mode 0644", "md[a.test]", "correct the directive"],
            World { has_account: true, ..World::default() },
            |lab| format!("MDChallengeDns01 {}\nMDomain a.test\n{HOST}", script(lab).display()),
        ),
        configured(
            "a store that httpd's User cannot enter",
            &["httpd's child processes cannot use the store", "no certificate can be renewed", "chmod o+x"],
            closed,
            |_| format!("MDStoreDir /root/md\nMDomain a.test\n{HOST}"),
        ),
    ]
}

/// What CAs are known to refuse.
fn authorities() -> Vec<Situation> {
    let new = World::default();
    let site = |lines: &'static str| move |_: &Lab| format!("{lines}MDomain a.test\n{HOST}");
    vec![
        configured(
            "the terms of service are not agreed to",
            &["'MDCertificateAgreement accepted' is missing", "Let's Encrypt", "add the line"],
            new,
            site(""),
        ),
        configured(
            "an account binding is missing",
            &["'MDExternalAccountBinding' is missing", "ZeroSSL", "add the key ID"],
            new,
            site("MDCertificateAuthority zerossl\nMDCertificateAgreement accepted\n"),
        ),
        with(
            "a CA that has ended its service",
            &["Buypass ended its ACME service", "choose another CA"],
            "MDCertificateAuthority buypass\nMDomain a.test\nHOST",
        ),
        with(
            "ACME v1",
            &["this old protocol (ACME v1)", "choose another CA"],
            "MDCertificateAuthority https://acme-v01.api.letsencrypt.org/directory\nMDomain a.test\nHOST",
        ),
        with(
            "a name that is not public",
            &[
                "no certificate for a.test",
                "not a name or an address of the public internet",
                "remove the name",
            ],
            "MDomain a.test\nHOST",
        ),
        with(
            "a key that the CA does not take",
            &["does not accept the key P-521 of MDPrivateKeys", "Let's Encrypt", "use keys that it accepts"],
            "MDPrivateKeys P-521\nMDomain a.test\nHOST",
        ),
        configured(
            "too many names",
            &["more than 100 names", "split it into several"],
            World { has_account: true, ..new },
            |_| {
                let names: String = (0..100).map(|n| format!(" n{n}.example.org")).collect();
                format!("MDomain a.test{names}\n{HOST}")
            },
        ),
        with(
            "must-staple where it is refused",
            &["'MDMustStaple on' makes Let's Encrypt reject", "set it to off"],
            "MDMustStaple on\nMDomain a.test\nHOST",
        ),
        with(
            "a CA that is asked without encryption",
            &["requests to this CA are not encrypted", "use an https URL"],
            "MDCertificateAuthority http://ca.test/dir\nMDomain a.test\nHOST",
        ),
        with(
            "a CA with a URL that no request can be sent to",
            &["no request can be sent to this URL", "correct it"],
            "MDCertificateAuthority https://bücher.test/dir\nMDomain a.test\nHOST",
        ),
        with(
            "a CA with a URL of another kind",
            &["not an http or https URL", "correct it"],
            "MDCertificateAuthority ftp://ca.test/dir\nMDomain a.test\nHOST",
        ),
    ]
}

fn challenges() -> Vec<Situation> {
    vec![
        with(
            "a challenge type that is misspelt",
            &["MDCAChallenges has http01", "did you mean http-01?", "correct it"],
            "OWN_CA\nMDCAChallenges http01 http-01\nMDomain a.test\nHOST",
        ),
        with(
            "a wildcard without dns-01",
            &["AH10173", "md[*.a.test]", "MDChallengeDns01", "defined in test.conf:2"],
            "OWN_CA\nMDomain *.a.test\n<VirtualHost *:443>\nServerName x.a.test\nSSLEngine on\n</VirtualHost>",
        ),
        with(
            "no challenge but one that does not exist",
            &["AH10173", "'http01' in MDCAChallenges is not known", "test.conf:3"],
            "OWN_CA\nMDCAChallenges http01\nMDomain a.test\nHOST",
        ),
        with(
            "a responder without address and zone",
            &["'MDChallengeDns01 responder' has nothing to answer with", "test.conf:3: md[a.test]", "add"],
            "OWN_CA\nMDChallengeDns01 responder\nMDomain a.test\nHOST",
        ),
        with(
            "a zone whose name server has no address",
            &[
                "MDDnsZone acme.a.test: resolvers find no name server",
                "'localhost' is not the full name",
                "name a host",
            ],
            "OWN_CA\nMDChallengeDns01 responder\nMDDnsListen 127.0.0.1:53\nServerName localhost\n\
             MDDnsZone acme.a.test\nMDomain a.test\nHOST",
        ),
        with(
            "an address for questions that no domain needs",
            &[
                "no managed domain has 'MDChallengeDns01 responder'",
                "MDDnsZone acme.a.test, MDDnsListen",
                "remove",
            ],
            "OWN_CA\nMDDnsListen 127.0.0.1:53\nMDDnsZone acme.a.test ns.b.test\nMDomain a.test\nHOST",
        ),
        with(
            "a key file that is not there",
            &["the key file /absent/key cannot be read: No such file", "md[a.test]", "put it there"],
            "OWN_CA\nMDChallengeDns01 rfc2136 ns.a.test /absent/key\nMDomain a.test\nHOST",
        ),
        secret(
            "a key file without a key",
            &["cannot be used: no TSIG key is in it", "md[a.test]", "tsig-keygen"],
            0o600,
            "x",
        ),
        secret(
            "a key file that is empty",
            &["the key file", "is empty", "md[a.test]", "tsig-keygen"],
            0o600,
            "",
        ),
        secret(
            "a key file for all to read",
            &["other users can read the key file", "(mode 0644)", "run 'chmod 600"],
            0o644,
            KEY,
        ),
    ]
}

/// As `tsig-keygen` writes it.
const KEY: &str = "key \"k\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n";

/// With a key file of this mode.
fn secret(id: &'static str, says: &'static [&'static str], mode: u32, content: &'static str) -> Situation {
    configured(id, says, World { has_account: true, ..World::default() }, move |lab| {
        let path = lab.dir().join("key");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        format!("{OWN_CA}MDChallengeDns01 rfc2136 ns.a.test {}\nMDomain a.test\n{HOST}", path.display())
    })
}

/// What a start says of hosts that are not served as configured.
fn starts() -> Vec<Situation> {
    let now = Timestamp::from_unix(1_700_000_000);
    let told = move |source: Source, mode: RenewMode, cert: Option<CertInfo>| {
        let domains = vec![NAME.to_string(), "new.test".to_string()];
        let mut md = Md { name: NAME.into(), domains, renew_mode: mode, ..Md::default() };
        let certs: Vec<_> = [(KeySpec::default(), cert)].into();
        (md.state, md.state_descr) = mod_md::managed::certificates::assess(&md, &certs);
        let host =
            mod_md::managed::Host { name: NAME.into(), address: "*:443".into(), source, is_live: true };
        let md = Managed { md, certs: certs.into(), hosts: vec![host], ..Managed::default() };
        texts(findings::findings([md].iter(), now)).collect::<Vec<_>>()
    };
    let cert = move |names: &[&str], not_after| {
        let dns_names = names.iter().map(ToString::to_string).collect();
        Some(CertInfo { dns_names, not_after, ..CertInfo::default() })
    };
    let all = [NAME, "new.test"];
    vec![
        situation(
            "a host without a certificate yet",
            &["AH10116", "self-signed", "503", "nothing needs to be done", "md-status says why"],
            move |_| told(Source::SelfSigned, RenewMode::Auto, None),
        ),
        situation(
            "a host without a certificate that nobody requests",
            &["AH10116", "'MDRenewMode manual'", "set 'MDRenewMode auto'"],
            move |_| told(Source::SelfSigned, RenewMode::Manual, None),
        ),
        situation(
            "a certificate that has expired is served",
            &["clients refuse", "expired at", "check date and time", "md-status says why"],
            move |_| told(Source::Md, RenewMode::Auto, cert(&all, now)),
        ),
        situation(
            "a certificate that has expired and that nobody renews",
            &["clients refuse", "not renewed because of 'MDRenewMode manual'"],
            move |_| told(Source::Md, RenewMode::Manual, cert(&all, now)),
        ),
        situation(
            "files of the host in place of a certificate that has expired",
            &["AH10084", "has expired or does not have the name", "look at md-status"],
            move |_| told(Source::Own, RenewMode::Auto, cert(&all, now)),
        ),
        situation(
            "files of the host until there is a certificate",
            &["AH10084", "until there is a valid certificate", "nothing needs to be done"],
            move |_| told(Source::Own, RenewMode::Auto, None),
        ),
        situation(
            "a certificate without a name that the domain has now",
            &["not as configured", "not for new.test", "nothing needs to be done, unless"],
            move |_| told(Source::Md, RenewMode::Auto, cert(&[NAME], now.plus(DAY * 30))),
        ),
    ]
}
