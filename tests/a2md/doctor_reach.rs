// SPDX-License-Identifier: Apache-2.0
//! `a2md doctor` as it reaches out to names: planted faults in the DNS, at the ports and on the way to the
//! challenge, each found by its token, and a sound set-up without any. Beside a real httpd on ports 80 and 443,
//! another one in front of some names, real name servers, and a real CA.

use super::alone::{RESOLVER, alone};
use super::call::a2md;
use openssl::pkey::Id;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use support::dns::{TsigKey, Zone};
use support::named::Named;
use support::tls::Files;
use support::unbound::Unbound;
use support::{Authority, Config, Httpd, Lab, Need, Pebble, apache, module, open_lab};

const NAMED: &str = "127.0.0.1:53";
/// Another httpd, in front of some names.
const FRONT: &str = "127.0.0.2";
/// A server that is no httpd.
const ODD: &str = "127.0.0.4";

/// A planted fault.
struct Row {
    name: &'static str,
    /// Lines of the zone `test`.
    records: &'static str,
    /// Inside `<MDomainSet>`.
    directives: &'static str,
    check: &'static str,
    verdict: &'static str,
    evidence: &'static [&'static str],
    remedy: &'static [&'static str],
}

const FAILS: &str = "fails";
const UNTOLD: &str = "cannot-be-told";

const HTTP: &str = "MDCAChallenges http-01";
const DNS: &str = "MDCAChallenges dns-01\nMDChallengeDns01 /bin/true";

const fn row(
    name: &'static str,
    records: &'static str,
    directives: &'static str,
    (check, verdict): (&'static str, &'static str),
    evidence: &'static [&'static str],
    remedy: &'static [&'static str],
) -> Row {
    Row { name, records, directives, check, verdict, evidence, remedy }
}

/// Names that no row mentions lead to httpd, by the wildcard of the zone.
const ROWS: &[Row] = &[
    row(
        "closed.test",
        "closed A 127.0.0.5",
        HTTP,
        ("port-80-closed", FAILS),
        &["127.0.0.5:80", "refused", "listens on others"],
        &["Listen 80"],
    ),
    row(
        "tls.test",
        "tls A 127.0.0.4",
        "MDCAChallenges tls-alpn-01",
        ("port-443-closed", FAILS),
        &["127.0.0.4:443", "refused"],
        &["Listen 443"],
    ),
    row(
        "router.test",
        "router A 192.0.2.1",
        HTTP,
        ("port-80-closed", UNTOLD),
        &["192.0.2.1:80", "a router that does not lead its own outside addresses back?"],
        &["from outside"],
    ),
    row(
        "wrong.test",
        "wrong A 127.0.0.2",
        HTTP,
        ("other-server", FAILS),
        &["127.0.0.2:80 answers 404 (Server: Apache"],
        &["127.0.0.2:80"],
    ),
    row(
        "odd.test",
        "odd A 127.0.0.4",
        HTTP,
        ("other-server", FAILS),
        &["127.0.0.4:80 answers 200 (Server: \\u{1b}[2J"],
        &["127.0.0.4:80"],
    ),
    row(
        "six.test",
        "six A 127.0.0.1\nsix AAAA 2001:db8::1",
        HTTP,
        ("aaaa-nowhere", FAILS),
        &["[2001:db8::1]:80", "127.0.0.1 leads to this httpd"],
        &["Remove the AAAA record", "2001:db8::1"],
    ),
    row(
        "denied.test",
        "denied A 127.0.0.2",
        HTTP,
        ("challenge-denied", FAILS),
        &["answers 403", "denied"],
        &["Require all granted"],
    ),
    row(
        "password.test",
        "password A 127.0.0.2",
        HTTP,
        ("challenge-denied", FAILS),
        &["answers 401"],
        &["no password"],
    ),
    row(
        "loop.test",
        "loop A 127.0.0.2",
        HTTP,
        ("redirect-loop", FAILS),
        &["https://loop.test/", "'http://loop.test/", "has been before"],
        &["Do not redirect"],
    ),
    row(
        "port.test",
        "port A 127.0.0.2",
        HTTP,
        ("redirect-port", FAILS),
        &["http://port.test:8080/", "not 8080"],
        &["Do not redirect"],
    ),
    row(
        "scheme.test",
        "scheme A 127.0.0.2",
        HTTP,
        ("redirect-scheme", FAILS),
        &["'ftp://scheme.test/", "neither http nor https"],
        &["Do not redirect"],
    ),
    row(
        "address.test",
        "address A 127.0.0.2",
        HTTP,
        ("redirect-address", FAILS),
        &["'http://127.0.0.2/"],
        &["Do not redirect"],
    ),
    row(
        "host.test",
        "host A 127.0.0.2\nelse A 127.0.0.2",
        HTTP,
        ("redirect-host", FAILS),
        &["redirects to http://else.test/", "404"],
        &["another host"],
    ),
    row(
        "broken.test",
        "broken A 127.0.0.2",
        HTTP,
        ("challenge-error", FAILS),
        &["answers 503"],
        &["error log"],
    ),
    row(
        "lost.test",
        "lost A 127.0.0.2\nlost2 A 127.0.0.5",
        HTTP,
        ("redirect-unreachable", FAILS),
        &["http://lost2.test/", "refused"],
        &["Do not redirect"],
    ),
    row(
        "silent.test",
        "silent A 127.0.0.6",
        HTTP,
        ("no-http-answer", FAILS),
        &["127.0.0.6:80", "closed the connection"],
        &["overloaded"],
    ),
    row(
        "ends.test",
        "ends A 127.0.0.2",
        "MDCAChallenges tls-alpn-01",
        ("tls-alpn-01-intercepted", FAILS),
        &["127.0.0.2:443 shows another certificate than httpd itself"],
        &["pass TLS through"],
    ),
    row(
        "x.gone.test",
        "gone TXT x",
        HTTP,
        ("name-unknown", FAILS),
        &["NXDOMAIN"],
        &["Set an A or AAAA record", "dig +trace x.gone.test"],
    ),
    row(
        "none.test",
        "none TXT x",
        HTTP,
        ("name-no-address", FAILS),
        &["neither an A nor an AAAA record"],
        &["Set an A record"],
    ),
    row("dead.test", "", HTTP, ("name-unresolved", FAILS), &["SERVFAIL"], &["delv dead.test"]),
    row("www.dead.test", "", HTTP, ("caa-unresolved", FAILS), &["SERVFAIL"], &["type 257"]),
    row(
        "forbid.test",
        "forbid CAA 0 issue \"other.example\"",
        HTTP,
        ("caa-forbids", FAILS),
        &["forbid.test", "ca.test", "other.example"],
        &["forbid.test. CAA 0 issue \"ca.test\""],
    ),
    row(
        "a.b.nobody.test",
        "nobody CAA 0 issue \";\"",
        HTTP,
        ("caa-forbids", FAILS),
        &["The CAA records of nobody.test", "no CA may issue"],
        &["nobody.test. CAA"],
    ),
    row(
        "wild.test",
        "wild CAA 0 issue \"ca.test\"\nwild CAA 0 issuewild \"other.example\"",
        "MDomain wild.test *.wild.test",
        ("caa-forbids", FAILS),
        &["other.example"],
        &["issuewild \"ca.test\""],
    ),
    row(
        "account.test",
        "account CAA 0 issue \"ca.test; accounturi=https://ca.test/acct/other\"",
        HTTP,
        ("caa-account", FAILS),
        &["https://ca.test/acct/other", "the account here is https://127.0.0.1:"],
        &["accounturi=https://127.0.0.1:"],
    ),
    row(
        "method.test",
        "method CAA 0 issue \"ca.test; validationmethods=dns-01\"",
        HTTP,
        ("caa-method", FAILS),
        &["by dns-01 alone", "by http-01 here"],
        &["validationmethods"],
    ),
    row(
        "critical.test",
        "critical CAA 0 issue \"ca.test\"\ncritical CAA 128 future \"x\"",
        HTTP,
        ("caa-critical", FAILS),
        &["'future'"],
        &["flags to 0"],
    ),
    row(
        "circle.test",
        "_acme-challenge.circle CNAME b.circle\nb.circle CNAME _acme-challenge.circle",
        DNS,
        ("dns-01-delegation", FAILS),
        &["_acme-challenge.circle.test", "loop"],
        &["Correct the CNAME record"],
    ),
    row(
        "astray.test",
        "_acme-challenge.astray CNAME x.dead",
        DNS,
        ("dns-01-delegation", FAILS),
        &["SERVFAIL"],
        &["dig +trace TXT _acme-challenge.astray.test"],
    ),
    row(
        "lame.test",
        "_acme-challenge.lame NS ns.lame\nns.lame A 127.0.0.1",
        DNS,
        ("dns-01-servers", FAILS),
        &["does not answer for _acme-challenge.lame.test", "not authoritative"],
        &["serve the zone"],
    ),
    row(
        "foreign.test",
        "_acme-challenge.foreign TXT \"left over\"",
        DNS,
        ("dns-01-foreign-txt", UNTOLD),
        &["'left over'"],
        &["dig TXT _acme-challenge.foreign.test"],
    ),
    row(
        "badkey.test",
        "",
        "MDCAChallenges dns-01\nMDChallengeDns01 rfc2136 {NAMED} {BADKEY}",
        ("dns-01-update", FAILS),
        &["_acme-challenge.badkey.test cannot be changed"],
        &[],
    ),
    row(
        "persist.test",
        "_validation-persist.persist TXT \"ca.test; accounturi=https://ca.test/other\"",
        "MDCAChallenges dns-persist-01",
        ("dns-persist-01-record", FAILS),
        &["it is for the account https://ca.test/other"],
        &["_validation-persist.persist.test. TXT \"ca.test; accounturi=https://127.0.0.1:"],
    ),
    row(
        "unset.test",
        "",
        "MDCAChallenges dns-persist-01",
        ("dns-persist-01-record", FAILS),
        &["no record for this CA"],
        &["_validation-persist.unset.test. TXT"],
    ),
];

/// Names without a fault, each with its records, its directives, and the check that says so.
const SOUND: &[(&str, &str, &str, &str)] = &[
    ("home.test", "", "", "tls-alpn-01-reached"),
    (
        "caa.test",
        "caa A 127.0.0.1\ncaa CAA 0 issue \"ca.test; validationmethods=http-01\"\ncaa CAA 0 issue \"other.example\"\ncaa CAA 0 iodef \"mailto:a@b.test\"",
        HTTP,
        "http-01-reached",
    ),
    ("both.test", "both A 127.0.0.1\nboth AAAA ::1", HTTP, "http-01-reached"),
    ("alpn.test", "", "MDCAChallenges tls-alpn-01", "tls-alpn-01-reached"),
    ("record.test", "", DNS, "dns-01-servers"),
    (
        "led.test",
        "_acme-challenge.led CNAME led.acme\nled.acme A 127.0.0.1",
        "MDCAChallenges dns-01\nMDChallengeDns01 /bin/true",
        "dns-01-servers",
    ),
    ("goodkey.test", "", "MDCAChallenges dns-01\nMDChallengeDns01 rfc2136 {NAMED} {KEY}", "dns-01-update"),
    ("moved.test", "moved A 127.0.0.8", HTTP, "http-01-reached"),
    ("passed.test", "passed A 127.0.0.2", HTTP, "http-01-reached"),
];

/// httpd with all these names, the other servers, and the CA.
struct Site {
    httpd: Httpd,
    pebble: Pebble,
    _front: Httpd,
    _servers: (Named, Named, Unbound),
}

impl Site {
    fn start(lab: &Lab, rows: &[Row]) -> Site {
        let key = TsigKey::generate(lab, "acme", "hmac-sha256");
        let other = key.but(lab, |key| key.secret = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into());
        let records = rows.iter().map(|row| row.records).chain(SOUND.iter().map(|sound| sound.1));
        let zone =
            records.filter(|text| !text.is_empty()).fold(Zone::new("test"), Zone::record).updated_by(&key);
        let named = Named::primary_at(lab, NAMED.parse().unwrap(), &[zone]);
        // It has no zone, and says so.
        let lame = Named::with(lab, "");
        let zones = [("test", named.address), ("dead.test", lame.address)];
        let resolver = Unbound::at(lab, RESOLVER.parse().unwrap(), &zones);
        let authority =
            Authority::new(lab).resolver(resolver.address).set("caaIdentities", json!(["ca.test"]));
        let pebble = authority.start();
        let files = |text: &str| {
            let text = text.replace("{KEY}", &key.file.display().to_string()).replace("{NAMED}", NAMED);
            text.replace("{BADKEY}", &other.file.display().to_string())
        };
        let faults = rows.iter().map(|row| (row.name, files(row.directives)));
        let sound = SOUND.iter().map(|(name, _, directives, _)| (*name, files(directives)));
        let mut config = Config::with_ca(lab, &pebble.authority)
            .line("Listen [::1]:80\nListen 127.0.0.8:443\nLogLevel md:trace2\nMDPrivateKeys P-256\nMDRenewMode manual\nProtocols h2 http/1.1 acme-tls/1");
        for (name, directives) in faults.chain(sound) {
            config = match directives.strip_prefix("MDomain ") {
                Some(names) => config.line(&format!("MDomain {names}")),
                None => {
                    config.line(&format!("<MDomainSet {name}>\n{directives}\n{}</MDomainSet>", renewed(name)))
                }
            };
            config = config.site(name, &[]);
        }
        let httpd = config.start();
        Site { httpd, pebble, _front: front(lab), _servers: (named, lame, resolver) }
    }

    fn store(&self) -> String {
        self.httpd.config.store().display().to_string()
    }

    /// What `a2md doctor` prints about these names.
    fn text(&self, names: &[&str]) -> String {
        let ca = self.pebble.authority.certificate.display().to_string();
        a2md(&[&["doctor", "-d", &self.store(), "-C", &ca], names].concat()).out
    }

    /// What `a2md doctor` finds at these names; at all without any.
    fn findings(&self, names: &[&str]) -> Vec<Value> {
        let (store, ca) = (self.store(), self.pebble.authority.certificate.display().to_string());
        let called = a2md(&[&["doctor", "-d", &store, "-C", &ca, "--json"], names].concat());
        println!("{}", called.err);
        called.json()["findings"].as_array().unwrap().clone()
    }
}

/// One has certificates, so that there is an account.
fn renewed(name: &str) -> &'static str {
    if name == "home.test" { "MDRenewMode auto\n" } else { "" }
}

/// Another httpd at 127.0.0.2, without the module.
fn front(lab: &Lab) -> Httpd {
    let apache = apache::find().unwrap();
    let mut text: String =
        ["alias", "authn_file", "authn_core", "auth_basic", "authz_user", "headers", "proxy", "proxy_http"]
            .map(|name| apache.load(name))
            .concat();
    let files = Files::new(lab, "loop.test", Id::EC);
    let htdocs = lab.path("front/htdocs");
    write!(text, "ServerTokens Full\nListen {FRONT}:80\nListen {FRONT}:443\n").unwrap();
    let location = |name: &str, rule: &str| {
        format!(
            "<VirtualHost {FRONT}:80>\nServerName {name}\nDocumentRoot {}\n{rule}\n</VirtualHost>\n",
            htdocs.display()
        )
    };
    text += &location("else.test", "");
    text += &location("denied.test", "<Location />\nRequire all denied\n</Location>");
    text += &location(
        "password.test",
        "<Location />\nAuthType Basic\nAuthName x\nAuthBasicProvider file\nAuthUserFile /dev/null\nRequire valid-user\n</Location>",
    );
    for (name, target) in [
        ("loop.test", "https://loop.test/"),
        ("port.test", "http://port.test:8080/"),
        ("scheme.test", "ftp://scheme.test/"),
        ("address.test", "http://127.0.0.2/"),
        ("host.test", "http://else.test/"),
        ("lost.test", "http://lost2.test/"),
    ] {
        text += &location(name, &format!("Redirect / {target}"));
    }
    text += &location("broken.test", "Redirect 503 /");
    let pass = "ProxyPreserveHost on\nProxyVia on\nProxyPass / http://127.0.0.1/";
    text += &location("passed.test", pass);
    // The redirect leads to httpd itself.
    text +=
        "Listen 127.0.0.8:80\n<VirtualHost 127.0.0.8:80>\nRedirect / https://moved.test/\n</VirtualHost>\n";
    text += &format!(
        "<VirtualHost {FRONT}:443>\nServerName ends.test\nSSLEngine on\n{}\n{pass}\n</VirtualHost>\n",
        files.directives()
    );
    text += &format!(
        "<VirtualHost {FRONT}:443>\nServerName loop.test\nSSLEngine on\n{}\nRedirect / http://loop.test/\n</VirtualHost>\n",
        files.directives()
    );
    let config = Config::new(lab).without_module().root(&lab.path("front")).ports(lab.port(), lab.port());
    config.line(&text).start()
}

/// A server at 127.0.0.4 with a name for terminals, and one at 127.0.0.6 that says nothing.
fn odd_servers() {
    for (address, answer) in [
        (
            ODD,
            "HTTP/1.1 200 OK\r\nServer: \x1b[2Jevil\r\nServer: evil\nfails  forged\r\nContent-Length: 2\r\n\r\nhi",
        ),
        ("127.0.0.6", ""),
    ] {
        let listener = TcpListener::bind((address, 80)).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
    }
}

/// The C module knows no requests.
macro_rules! open {
    () => {
        open_lab!(
            Need::Root,
            Need::Program("named"),
            Need::Program("unbound"),
            Need::Program("dig"),
            Need::Program("ip")
        )
    };
}

/// The other checks have tests of their own.
fn is_of_reach(finding: &Value) -> bool {
    let check = finding["check"].as_str().unwrap();
    ROWS.iter().any(|row| row.check == check) || check == "token-not-put-up" || check == "caa"
}

fn has(finding: &Value, row: &Row) -> bool {
    let text = |key: &str| finding[key].as_str().unwrap_or_default().to_string();
    let holds = |text: String, words: &[&str]| words.iter().all(|word| text.contains(word));
    text("check") == row.check
        && text("verdict") == row.verdict
        && holds(text("evidence"), row.evidence)
        && holds(text("remedy"), row.remedy)
}

#[test]
fn planted_faults_of_names_are_found_by_token_with_evidence_and_remedy() {
    alone(open!().filter(|_| !module::is_c(&module::under_test())), |lab| {
        odd_servers();
        let mut site = Site::start(&lab, ROWS);
        site.httpd.wait_staged_and_activate(&["home.test"]);
        let findings = site.findings(&[]);
        let mut missing = Vec::new();
        for row in ROWS {
            let of_name = |finding: &&Value| {
                finding["subject"] == row.name || finding["subject"] == format!("*.{}", row.name)
            };
            let found: Vec<&Value> = findings.iter().filter(of_name).collect();
            if !found.iter().any(|finding| has(finding, row)) {
                missing.push(format!("{} {}: {found:#?}", row.name, row.check));
            }
        }
        assert!(missing.is_empty(), "{}", missing.join("\n"));
        let text = site.text(&["home.test"]);
        assert!(text.starts_with("No problem found: "), "{text}");
        for (name, _, _, check) in SOUND {
            let found: Vec<&Value> = findings.iter().filter(|finding| finding["subject"] == *name).collect();
            let is_it = |finding: &&&Value| finding["check"] == *check;
            assert!(found.iter().any(|finding| is_it(&finding)), "{name}: {found:#?}");
            let alarms: Vec<_> = found
                .iter()
                .filter(|finding| finding["verdict"] != "works" && is_of_reach(finding))
                .collect();
            assert!(alarms.is_empty(), "{name}: {alarms:#?}");
        }
    });
}

/// A finding of one name.
#[track_caller]
fn one<'f>(findings: &'f [Value], name: &str, check: &str) -> &'f Value {
    let is_it = |finding: &&Value| finding["subject"] == name && finding["check"] == check;
    findings.iter().find(is_it).unwrap_or_else(|| panic!("no {check} of {name}: {findings:#?}"))
}

#[test]
fn without_httpd_and_for_names_without_a_domain_what_is_not_known_does_not_fail() {
    alone(open!().filter(|_| !module::is_c(&module::under_test())), |lab| {
        odd_servers();
        let site = Site::start(&lab, &[]);
        let found = site.findings(&["new.test", "x.y.home.test", "odd.test"]);
        assert_eq!(one(&found, "new.test", "not-configured")["verdict"], UNTOLD);
        let remedy = one(&found, "new.test", "not-configured")["remedy"].as_str().unwrap();
        assert!(remedy.contains("MDomain new.test") && remedy.contains("ServerName new.test"), "{remedy}");
        assert_eq!(one(&found, "new.test", "caa")["verdict"], "works");
        assert_eq!(one(&found, "new.test", "http-01-reached")["verdict"], "works");
        assert_eq!(one(&found, "x.y.home.test", "http-01-reached")["verdict"], "works");
        let text = site.text(&["odd.test", "-v"]);
        assert!(
            !text.contains('\u{1b}') && !text.lines().any(|line| line.starts_with("fails  forged")),
            "{text}"
        );

        let (root, store) = (site.httpd.config.server_root().to_path_buf(), site.store());
        let Site { httpd, pebble: _pebble, _servers, .. } = site;
        httpd.stop();
        let call = |more: &[&str]| {
            let arguments = [&["doctor", "home.test", "-d", &store, "--json"], more].concat();
            a2md(&arguments).json()["findings"].as_array().unwrap().clone()
        };
        let found = call(&[]);
        let closed = one(&found, "home.test", "port-80-closed");
        assert_eq!(closed["verdict"], UNTOLD, "{closed}");
        assert!(closed["evidence"].as_str().unwrap().contains("no httpd runs"), "{closed}");
        let program = apache::find().unwrap().program.display().to_string();
        let found = call(&["--httpd", &format!("{program} -f {}/httpd.conf", root.display())]);
        let closed = one(&found, "home.test", "port-80-closed");
        assert_eq!(closed["verdict"], FAILS, "{closed}");
        assert!(closed["evidence"].as_str().unwrap().contains("it is not running"), "{closed}");
    });
}
