// SPDX-License-Identifier: Apache-2.0
//! What `apachectl -t -D DUMP_MD` and `-D DUMP_MD_JSON` print.

use mod_md::config::Configuration;
use mod_md::model::RenewMode;
use serde_json::Value;
use std::process::Output;
use support::{Config, Lab, module, open_lab};

/// Whether our module is tested.
fn is_ours() -> bool {
    !module::is_c(&module::under_test())
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn config(lab: &Lab) -> Config {
    Config::new(lab)
        .line("ServerAdmin admin@a.test\nMDomain a.test b.test\nMDCertificateAuthority https://ca.test/dir")
        .line("MDExternalAccountBinding kid-1 c2VjcmV0\nMDChallengeDns01 /bin/dns-hook\nMDRenewWindow 20d")
        .line("MDStoreLocks 7s\nMDRetryDelay 90s\nMDRetryFailover 4\nMDRenewParallel 3")
        .line("MDDnsListen 127.0.0.1:5399\nMDDnsZone Acme.a.test ns.b.test")
        .line("MDHttpProxy http://proxy.test:3128\nMDMessageCmd /bin/message")
        .line("<MDomain c.test>\nMDRenewMode manual\n</MDomain>")
        .site("a.test", &["b.test"])
}

#[test]
fn the_configuration_is_printed_as_one_document_that_is_read_back() {
    let Some(lab) = open_lab!().filter(|_| is_ours()) else { return };
    let config = config(&lab);
    let output = config.tested(&["-D", "DUMP_MD_JSON"]);
    let (out, err) = texts(&output);
    assert!(output.status.success() && err.contains("Syntax OK"), "{err}");
    assert!(!out.contains("c2VjcmV0"), "{out}");
    let read = Configuration::from_json(&serde_json::from_str::<Value>(&out).unwrap()).unwrap();
    assert_eq!((read.store, read.server_root), (config.store(), config.server_root().to_path_buf()));
    assert_eq!((read.http_port, read.https_port), (Some(config.http_port()), Some(config.https_port())));
    assert_eq!(read.ports, [config.http_port(), config.https_port()]);
    let [a, c] = &read.mds[..] else { panic!("{:?}", read.mds) };
    assert_eq!(a.md.domains, ["a.test", "b.test"]);
    assert_eq!((a.md.renew_window.to_string().as_str(), a.watched), ("20d", true));
    assert_eq!(a.dns01.as_ref().and_then(|way| way.command_line()), Some("/bin/dns-hook"));
    assert_eq!(a.route.proxy_url.as_deref(), Some("http://proxy.test:3128"));
    assert_eq!(a.md.eab.as_ref().map(|eab| eab.kid.as_str()), Some("kid-1"));
    assert!(a.defined_at.0.ends_with("httpd.conf") && a.defined_at.1 > 1, "{:?}", a.defined_at);
    assert_eq!((c.md.renew_mode, c.hosts.is_empty()), (RenewMode::Manual, true));
    let hosts: Vec<_> = a.hosts.iter().map(|index| &read.hosts[*index]).collect();
    let [host] = hosts[..] else { panic!("{hosts:?}") };
    assert_eq!((host.host.server_name.as_str(), host.has_tls), ("a.test", Some(true)));
    assert_eq!(host.address, format!("*:{}", config.https_port()));
    let second = std::time::Duration::from_secs(1);
    assert_eq!((read.store_locks, read.retry_delay), (Some(second * 7), Some(second * 90)));
    assert_eq!((read.retry_failover, read.renew_parallel), (Some(4), Some(3)));
    assert_eq!(read.dns.listen, ["127.0.0.1:5399".parse().unwrap()]);
    let zones: Vec<_> = read.dns.zones.iter().map(|zone| (zone.zone.as_str(), &zone.hosts[..])).collect();
    assert_eq!(zones, [("acme.a.test", &["ns.b.test".to_string()][..])]);
    assert_eq!(read.message_cmd.as_deref(), Some("/bin/message"));
    // As configtest has them, which goes on to print them on stderr.
    let finding = read.findings.iter().find(|finding| finding.text.contains("/bin/message")).unwrap();
    assert!(err.contains(finding.text.as_str()), "{err}");
    assert_eq!(finding.code, "command-unusable");
}

#[test]
fn people_get_the_same_as_text_and_other_dumps_stay_as_they_are() {
    let Some(lab) = open_lab!().filter(|_| is_ours()) else { return };
    let config = config(&lab);
    let (text, _) = texts(&config.tested(&["-D", "DUMP_MD"]));
    let store = format!("Store: \"{}\"\n", config.store().display());
    for expected in [
        store.as_str(),
        "names: a.test b.test\n",
        "CA: https://ca.test/dir\n",
        "renew mode: manual, not renewed: renewal is manual (MDRenewMode)\n",
        "host: a.test *:",
        "Lock of the store: 7s\n",
        "Retries: after 90s and more, at another CA after 4 errors\n",
        "DNS: acme.a.test (NS ns.b.test) at 127.0.0.1:5399\n",
        "Findings of configtest:\n",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("c2VjcmV0") && !text.contains("proxy.test"), "{text}");
    // It begins with the first line of ours, or has nothing of ours.
    let without = |arguments: &[&str]| texts(&config.tested(arguments)).0;
    let (hosts, both) = (without(&["-D", "DUMP_VHOSTS"]), without(&["-D", "DUMP_VHOSTS", "-D", "DUMP_MD"]));
    assert!(hosts.contains("a.test") && !hosts.contains("Store:"), "{hosts}");
    assert_eq!(both.strip_prefix(hosts.as_str()).unwrap_or_default(), text, "{both}");
    assert_eq!(without(&[]), "", "configtest prints nothing there");
}

#[test]
fn a_configuration_that_cannot_start_is_printed_as_far_as_it_goes() {
    let Some(lab) = open_lab!().filter(|_| is_ours()) else { return };
    let config = config(&lab).line("MDomain b.test");
    let output = config.tested(&["-D", "DUMP_MD_JSON"]);
    let (out, err) = texts(&output);
    assert_eq!((output.status.code(), config.tested(&[]).status.code()), (Some(1), Some(1)), "{err}");
    let read = Configuration::from_json(&serde_json::from_str::<Value>(&out).unwrap()).unwrap();
    assert_eq!(read.store, config.store());
    let names: Vec<&str> = read.mds.iter().map(|planned| planned.md.name.as_str()).collect();
    assert_eq!(names, ["a.test", "c.test", "b.test"]);
    assert!(read.findings.iter().any(|finding| finding.text.starts_with("AH10038: ")), "{:?}", read.findings);
}
