// SPDX-License-Identifier: Apache-2.0
//! docs/dns.md as a new user reads it: what it prints for BIND, Knot and httpd is given to these programs, with
//! no more changed than addresses and paths.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use support::dns::{Zone, wait_for_txt};
use support::knot::Knot;
use support::lab::in_path;
use support::named::Named;
use support::unbound::Unbound;
use support::{Authority, Config, Httpd, Lab, Need, Pebble, open_lab};

const PAGE: &str = include_str!("../../docs/dns.md");
const RECORD: &str = "_acme-challenge.example.org";

/// The section below this heading.
fn section(heading: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no '{heading}'"));
    rest.split("\n## ").next().unwrap()
}

/// The code in the section, block by block, without the indent of a list.
fn blocks(heading: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in section(heading).lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        match (&mut open, line.trim_start().starts_with("```")) {
            (Some(_), true) => blocks.extend(open.take().map(|(_, text)| text)),
            (None, true) => open = Some((indent, String::new())),
            (Some((indent, text)), false) => {
                *text += &format!("{}\n", line.strip_prefix(*indent).unwrap_or(line))
            }
            (None, false) => {}
        }
    }
    blocks
}

/// The block that has this line.
fn block(heading: &str, with: &str) -> String {
    let found = blocks(heading).into_iter().find(|block| block.contains(with));
    found.unwrap_or_else(|| panic!("no block with '{with}' below '{heading}'"))
}

/// `text` with each first word, which it has, replaced by the second.
#[track_caller]
fn adapted(text: &str, words: &[(&str, &str)]) -> String {
    words.iter().fold(text.to_string(), |text, (from, to)| {
        assert!(text.contains(from), "'{from}' is not in: {text}");
        text.replace(from, to)
    })
}

/// What the program prints.
#[track_caller]
fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(in_path(program).unwrap()).args(args).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{program} {args:?}: {text}");
    text
}

/// For its owner alone.
fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Of the zone example.org.
struct Ca {
    resolver: Unbound,
    pebble: Pebble,
}

impl Ca {
    fn new(lab: &Lab, zones: &[(&str, SocketAddr)]) -> Ca {
        let resolver = Unbound::start(lab, zones);
        let pebble = Authority::new(lab).resolver(resolver.address).start();
        Ca { resolver, pebble }
    }

    /// A server with the block of the page, and hosts for its domain.
    fn config(&self, lab: &Lab, block: &str) -> Config {
        Config::with_ca(lab, &self.pebble.authority)
            .line(&format!("MDCAChallenges dns-01\nMDDnsPropagation 20s {}", self.resolver.address))
            .line(block)
            .site("example.org", &["*.example.org"])
    }
}

#[track_caller]
fn assert_renews(httpd: &mut Httpd, ca: &Ca) {
    httpd.wait_staged("example.org");
    httpd.graceful();
    for host in ["example.org", "www.example.org"] {
        let served = httpd.served(host, &ca.pebble, &[]);
        assert!(served.verified, "{host}: {}", served.verdict);
    }
}

#[test]
fn the_lines_for_bind_and_httpd_work_together() {
    let needs = ["named", "named-checkconf", "tsig-keygen", "unbound", "dig"].map(Need::Program);
    let Some(lab) = open_lab!(needs[0], needs[1], needs[2], needs[3], needs[4]) else { return };
    let (key, zone, config) = (lab.path("acme-www.key"), lab.path("zone"), lab.path("checked.conf"));
    let bind = block("rfc2136", "update-policy");
    assert!(bind.starts_with("# tsig-keygen acme-www > /etc/bind/acme-www.key"), "{bind}");
    write_secret(&key, &output("tsig-keygen", &["acme-www"]));
    fs::write(&zone, Zone::new("example.org").text()).unwrap();
    let (key, zone) = (key.to_str().unwrap(), zone.to_str().unwrap());
    let bind = adapted(&bind, &[("/etc/bind/acme-www.key", key), ("/var/lib/bind/example.org", zone)]);
    fs::write(&config, &bind).unwrap();
    output("named-checkconf", &["-z", config.to_str().unwrap()]);
    let named = Named::with(&lab, &bind);
    let ca = Ca::new(&lab, &[("example.org", named.address)]);
    let server = named.address.to_string();
    let block = block("rfc2136", "<MDomain");
    let block = adapted(&block, &[("ns1.example.org", &server), ("/etc/apache2/acme-www.key", key)]);
    assert_renews(&mut ca.config(&lab, &block).start(), &ca);
    wait_for_txt(named.address, RECORD, &[]);
}

#[test]
fn the_lines_for_knot_and_httpd_work_together() {
    let needs = ["knotd", "knotc", "keymgr", "unbound", "dig"].map(Need::Program);
    let Some(lab) = open_lab!(needs[0], needs[1], needs[2], needs[3], needs[4]) else { return };
    let (key, config) = (lab.path("acme-www.key"), lab.path("checked.conf"));
    let knot = block("rfc2136", "acl:");
    assert!(knot.starts_with("# keymgr -t acme-www hmac-sha256 prints the key"), "{knot}");
    let printed = output("keymgr", &["-t", "acme-www", "hmac-sha256"]);
    write_secret(&key, &printed);
    let knot = printed + &knot;
    fs::write(&config, &knot).unwrap();
    output("knotc", &["-c", config.to_str().unwrap(), "conf-check"]);
    let knot = Knot::with(&lab, |dir| {
        fs::write(dir.join("example.org.zone"), Zone::new("example.org").text()).unwrap();
        knot
    });
    let ca = Ca::new(&lab, &[("example.org", knot.address)]);
    let server = knot.address.to_string();
    let block = block("rfc2136", "<MDomain");
    let words = [("ns1.example.org", &*server), ("/etc/apache2/acme-www.key", key.to_str().unwrap())];
    assert_renews(&mut ca.config(&lab, &adapted(&block, &words)).start(), &ca);
    wait_for_txt(knot.address, RECORD, &[]);
}

/// The lines for the responder at this port, with the CNAME or NS record of step 5.
fn responder(port: u16) -> String {
    let addresses = format!("127.0.0.1:{port} [::1]:{port}");
    adapted(&block("responder", "MDDnsListen"), &[("192.0.2.1:53 [2001:db8::1]:53", &addresses)])
}

/// The line that the section has in its text, in backticks.
#[track_caller]
fn in_text(heading: &str, line: &'static str) -> &'static str {
    let text = section(heading).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(&format!("`{line}`")), "{line}");
    line
}

#[test]
fn the_lines_for_the_responder_work_by_cname() {
    let Some(lab) = open_lab!(Need::Program("named"), Need::Program("unbound"), Need::Program("dig")) else {
        return;
    };
    let port = lab.port();
    let cname = in_text("responder", "_acme-challenge.example.org. CNAME example-org.acme.example.net.");
    let named = Named::primary(&lab, &[Zone::new("example.org").record(cname)]);
    let here = SocketAddr::from(([127, 0, 0, 1], port));
    let ca = Ca::new(&lab, &[("example.org", named.address), ("acme.example.net", here)]);
    assert_renews(&mut ca.config(&lab, &responder(port)).start(), &ca);
}

#[test]
fn the_lines_for_the_responder_work_by_ns() {
    let Some(lab) = open_lab!(Need::Program("named"), Need::Program("unbound"), Need::Program("dig")) else {
        return;
    };
    let port = lab.port();
    in_text("responder", "_acme-challenge.example.org. NS ns.example.net.");
    let zone = in_text("responder", "MDDnsZone _acme-challenge.example.org ns.example.net");
    let named = Named::primary(&lab, &[Zone::new("example.org")]);
    // A stub zone stands for the delegation, which cannot name a port.
    let here = SocketAddr::from(([127, 0, 0, 1], port));
    let ca = Ca::new(&lab, &[("example.org", named.address), (RECORD, here)]);
    assert_renews(&mut ca.config(&lab, &(responder(port) + zone)).start(), &ca);
}

#[test]
fn the_lines_for_hooks_and_acme_dns_are_in_order() {
    let Some(lab) = open_lab!() else { return };
    let rows = section("Hooks").lines().filter(|line| line.contains("| `MDChallengeDns01 "));
    let mut lines: Vec<&str> =
        rows.map(|row| row.rsplit_once('`').unwrap().0.rsplit_once('`').unwrap().1).collect();
    let kinds = ["hook:lego", "hook:dehydrated", "hook:certbot", "hook:acme.sh", "hook:httpreq"];
    assert_eq!(lines.iter().map(|line| line.split(' ').nth(1).unwrap()).collect::<Vec<_>>(), kinds);
    let acme_dns = block("acme-dns", "MDChallengeDns01");
    lines.push(acme_dns.trim());
    let (place, root) = (lab.path("root"), lab.path("httpd"));
    for line in lines {
        let mut moved = Vec::new();
        for word in line.split(' ').skip(2) {
            let (front, path) = match word.split_once("env=") {
                Some((_, path)) => ("env=", path),
                None => ("", word),
            };
            if !path.starts_with('/') {
                moved.push(word.to_string());
                continue;
            }
            let file = place.join(&path[1..]);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            let is_secret = path.starts_with("/etc/apache2/");
            let text = if path.ends_with(".user") { "me:pw\n" } else { "A=1\n" };
            fs::write(&file, if is_secret { text } else { "#!/bin/sh\n" }).unwrap();
            let mode = if is_secret { 0o600 } else { 0o755 };
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            moved.push(format!("{front}{}", file.display()));
        }
        let way = line.split(' ').nth(1).unwrap();
        let config = Config::new(&lab)
            .root(&root)
            .line(&format!("MDCertificateAgreement accepted\nMDChallengeDns01 {way} {}", moved.join(" ")))
            .line("MDomain example.org *.example.org")
            .site("example.org", &["*.example.org"]);
        let (passed, said) = config.configtest();
        let told = said.lines().find(|line| line.contains("MDChallengeDns01"));
        assert!(passed && told.is_none(), "{line}: {said}");
    }
}
