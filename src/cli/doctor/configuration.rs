// SPDX-License-Identifier: Apache-2.0
//! Checks httpd's configuration: what configtest says, the modules that are loaded, and virtual hosts that stand
//! in each other's way. The functions below [`look`] are pure.

use super::finding::Finding;
use crate::cli::console::call::Call;
use crate::cli::site::{Control, Found};
use crate::config::{Configuration, DumpedFinding, DumpedHost};
use crate::exec::Printed;
use std::collections::{BTreeMap, BTreeSet};

/// httpd says so after each reason for which a module refuses.
const REFUSED: &str = "AH00014";
/// httpd's own number for a second LoadModule of the same module.
const LOADED_TWICE: &str = "AH01574";
/// Lines of httpd that evidence quotes.
const LINES: usize = 5;
/// The store's owner alone may not be able to open httpd's logs and keys.
const NO_RIGHTS: [&str; 2] = ["Permission denied", "(13)"];

/// The codes of findings of configtest, each the token of a check.
pub const CODES: [&str; 21] = [
    "ca-closed",
    "certificate-file",
    "challenge-unknown",
    "command-unusable",
    "dns-secret",
    "dns-secret-readable",
    "eab-missing",
    "eab-unusable",
    "fleet-file",
    "host-missing",
    "host-without-certificate",
    "key-refused",
    "mod-ssl-missing",
    "must-staple-refused",
    "name-private",
    "names-too-many",
    "no-challenge",
    "store-closed",
    "terms-not-accepted",
    "tls-host-missing",
    "wildcard-without-dns-01",
];

/// Asks httpd, and looks at its configuration.
pub fn look(call: &mut Call, found: Option<&Found>, out: &mut Vec<Finding>) {
    let configuration = found.and_then(|found| found.configuration.as_ref());
    let control = Control::of(call);
    let is_named_by_hand = found.is_some_and(|found| ["-d", "MD_STORE"].contains(&found.by));
    // Another httpd than that of the store is of no interest.
    if configuration.is_none() && is_named_by_hand && !control.is_named() {
        return;
    }
    call.step("Testing httpd's configuration …");
    let before = out.len();
    let known = configuration.map(|configuration| configuration.findings.as_slice()).unwrap_or_default();
    let mut is_refused = false;
    match control.first(call, &["-t"]) {
        Ok(Some(printed)) => {
            is_refused = printed.status != 0;
            out.extend(of_test(&printed, known));
        }
        Ok(None) => out.push(Finding::cannot_be_told(
            "configtest",
            "httpd",
            "No control program of httpd was found.",
            "Name it by --httpd, as in --httpd /usr/sbin/apachectl.",
        )),
        Err(failure) => {
            let advice = failure.advice.unwrap_or_default();
            out.push(Finding::cannot_be_told("configtest", "httpd", format!("{}.", failure.text), advice));
        }
    }
    match configuration {
        Some(configuration) => of_configuration(configuration, is_refused, out),
        None => {
            let modules = control.first(call, &["-t", "-D", "DUMP_MODULES"]).ok().flatten();
            out.extend(modules.and_then(|printed| of_modules(&String::from_utf8_lossy(&printed.stdout))));
        }
    }
    if out.len() == before {
        out.push(Finding::works(
            "configtest",
            "httpd",
            "configtest passes, and says nothing of certificates.",
        ));
    }
}

/// What `httpd -t` says beside what the module itself has told.
fn of_test(printed: &Printed, known: &[DumpedFinding]) -> Vec<Finding> {
    let is_known = |line: &&str| known.iter().any(|finding| finding.text.contains(line.trim()));
    let lines: Vec<&str> = printed
        .stderr
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.contains("Syntax OK"))
        .filter(|line| known.is_empty() || !line.contains(REFUSED))
        .filter(|line| !is_known(line))
        .collect();
    let twice = lines.iter().find(|line| line.contains(LOADED_TWICE) && line.contains("md_module"));
    let twice = twice.map(|line| {
        Finding::fails(
            "module-twice",
            "md_module",
            format!("httpd loads mod_md twice, and uses the first one: {line}"),
            "Remove one of the LoadModule lines: on Debian, one of the files md.load and *.load in mods-enabled.",
        )
    });
    let failed = (printed.status != 0 && (!lines.is_empty() || known.is_empty())).then(|| {
        let text = lines.iter().take(LINES).copied().collect::<Vec<_>>().join("\n");
        let evidence =
            format!("httpd does not accept its configuration (exit code {}):\n{text}", printed.status);
        let lacks_rights = NO_RIGHTS.iter().any(|words| text.contains(words));
        match lacks_rights {
            true => Finding::cannot_be_told("configtest", "httpd", evidence, "Call a2md as root."),
            false => Finding::fails(
                "configtest",
                "httpd",
                evidence,
                "Correct the line that it names; 'apachectl configtest' tests again.",
            ),
        }
    });
    twice.into_iter().chain(failed).collect()
}

/// Without a configuration of ours: which mod_md there is, if any. `text`: of DUMP_MODULES.
fn of_modules(text: &str) -> Option<Finding> {
    let has = |module: &str| text.split_whitespace().any(|word| word == module);
    if !has("core_module") {
        return None;
    }
    Some(match has("md_module") {
        true => Finding::cannot_be_told(
            "module-other",
            "md_module",
            "httpd loads another mod_md than that of this a2md, so its configuration is not known.",
            "Compare the path in LoadModule md_module with that of this module, where it should be this one.",
        ),
        false => Finding::fails(
            "module-missing",
            "md_module",
            "httpd does not load mod_md, so nobody renews.",
            "Load it: LoadModule md_module modules/mod_md.so (Debian: a2enmod md).",
        ),
    })
}

/// `is_refused`: httpd does not start with it.
fn of_configuration(configuration: &Configuration, is_refused: bool, out: &mut Vec<Finding>) {
    out.extend(configuration.findings.iter().map(|finding| of_finding(finding, is_refused)));
    out.extend(duplicates(configuration));
    out.extend(own_certificates(configuration));
    for planned in
        configuration.mds.iter().filter(|planned| planned.watched && planned.md.contacts.is_empty())
    {
        out.push(Finding {
            remedy: Some("Set MDContactEmail, so that the CA can reach you.".into()),
            ..Finding::works("contact-missing", &planned.md.name, "The CA is given no mail address.")
        });
    }
}

/// A finding of configtest, whose text has the remedy in it. One of a kind that has no code may be harmless.
fn of_finding(finding: &DumpedFinding, is_refused: bool) -> Finding {
    let subject = finding.text.split_once("md[").and_then(|(_, rest)| rest.split_once(']'));
    let subject = subject.map_or("httpd", |(name, _)| name);
    let remedy = "Change the configuration as the text says; 'apachectl configtest' tests again.";
    match CODES.iter().find(|code| **code == finding.code) {
        Some(code) => Finding::fails(code, subject, &finding.text, remedy),
        None if is_refused => Finding::fails("configuration", subject, &finding.text, remedy),
        None => Finding::cannot_be_told("configuration", subject, &finding.text, remedy),
    }
}

/// Virtual hosts of the same name at the same address, of which httpd uses the first alone.
fn duplicates(configuration: &Configuration) -> Vec<Finding> {
    let managed: BTreeSet<usize> =
        configuration.mds.iter().flat_map(|planned| &planned.hosts).copied().collect();
    let is_managed = |at: usize| managed.contains(&at);
    let mut first: BTreeMap<(String, String), (usize, &DumpedHost)> = BTreeMap::new();
    let mut found: BTreeMap<(usize, usize), Finding> = BTreeMap::new();
    for (at, dumped) in configuration.hosts.iter().enumerate() {
        let host = &dumped.host;
        if host.is_main || dumped.has_tls == Some(false) {
            continue;
        }
        let addresses: Vec<&str> = dumped.address.split_whitespace().collect();
        for name in std::iter::once(&host.server_name).chain(&host.aliases) {
            for address in &addresses {
                let key = ((*address).to_string(), name.to_ascii_lowercase());
                let (other_at, other) = *first.entry(key).or_insert((at, dumped));
                if other_at != at && (is_managed(at) || is_managed(other_at)) {
                    let key = (other_at.min(at), other_at.max(at));
                    found.entry(key).or_insert_with(|| duplicate(name, address, other, dumped));
                }
            }
        }
    }
    found.into_values().collect()
}

fn duplicate(name: &str, address: &str, one: &DumpedHost, other: &DumpedHost) -> Finding {
    let place = |dumped: &DumpedHost| format!("{}:{}", dumped.host.defined_at.0, dumped.host.defined_at.1);
    Finding::fails(
        "host-duplicate",
        name,
        format!(
            "Two virtual hosts at {address} have this name, and httpd uses one of them: {} and {}.",
            place(one),
            place(other)
        ),
        "Remove one, or the name from it.",
    )
}

/// Hosts of managed domains that have files of certificates as well.
fn own_certificates(configuration: &Configuration) -> Vec<Finding> {
    let of = |planned: &crate::config::PlannedMd| {
        let hosts = planned.hosts.iter().filter_map(|at| configuration.hosts.get(*at));
        let own: Vec<&str> = hosts
            .filter(|dumped| dumped.has_own_certificate)
            .map(|dumped| dumped.host.server_name.as_str())
            .collect();
        let finding = Finding::works(
            "certificate-file-beside",
            &planned.md.name,
            format!(
                "SSLCertificateFile is set for {}: its files are served until there is a certificate of the managed domain, \
                 and after that has expired.",
                own.join(", ")
            ),
        );
        (!own.is_empty()).then_some(Finding {
            remedy: Some("Remove SSLCertificateFile and SSLCertificateKeyFile where the managed domain is to serve alone.".into()),
            ..finding
        })
    };
    configuration.mds.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Verdict;
    use crate::config::{Host, PlannedMd};

    fn printed(status: i32, stderr: &str) -> Printed {
        Printed { status, stdout: Vec::new(), stderr: stderr.into() }
    }

    fn checks(findings: &[Finding]) -> Vec<(&str, Verdict)> {
        findings.iter().map(|finding| (finding.check, finding.verdict)).collect()
    }

    #[test]
    fn what_configtest_says_is_told_once() {
        let known = [DumpedFinding { code: "host-missing".into(), text: "AH10045: No VirtualHost".into() }];
        assert_eq!(checks(&of_test(&printed(0, "AH10045: No VirtualHost\nSyntax OK\n"), &known)), []);
        assert_eq!(checks(&of_test(&printed(1, "AH10045: No VirtualHost\nAH00014: Failed\n"), &known)), []);
        let failed = of_test(&printed(1, "AH00526: Syntax error on line 3\n"), &known);
        assert_eq!(checks(&failed), [("configtest", Verdict::Fails)]);
        assert!(failed.iter().all(|finding| finding.evidence.contains("line 3")));
        let denied = of_test(&printed(1, "(13)Permission denied: could not open error log\n"), &[]);
        assert_eq!(checks(&denied), [("configtest", Verdict::CannotBeTold)]);
        let twice = "[so:warn] AH01574: module md_module is already loaded, skipping\nSyntax OK";
        assert_eq!(checks(&of_test(&printed(0, twice), &[])), [("module-twice", Verdict::Fails)]);
    }

    #[test]
    fn the_module_is_told_from_another_one_and_from_none() {
        let check = |text| of_modules(text).map(|finding| finding.check);
        assert_eq!(
            check("Loaded Modules:\n core_module (static)\n md_module (shared)\n"),
            Some("module-other")
        );
        assert_eq!(check("Loaded Modules:\n core_module (static)\n"), Some("module-missing"));
        assert_eq!(check("nothing"), None);
    }

    fn host(name: &str, address: &str, line: u32) -> DumpedHost {
        let host = Host { server_name: name.into(), defined_at: ("x.conf".into(), line), ..Host::default() };
        DumpedHost { host, address: address.into(), has_tls: Some(true), ..DumpedHost::default() }
    }

    #[test]
    fn hosts_of_one_name_are_duplicates_only_at_one_address() {
        let of = |hosts: Vec<DumpedHost>| {
            let mds = vec![PlannedMd { hosts: vec![0], ..PlannedMd::default() }];
            duplicates(&Configuration { mds, hosts, ..Configuration::default() }).len()
        };
        let plain = DumpedHost { has_tls: Some(false), ..host("a.test", "*:443", 2) };
        assert_eq!(of(vec![host("a.test", "*:443", 1), host("A.test", "*:443", 2)]), 1);
        assert_eq!(of(vec![host("a.test", "*:443", 1), host("a.test", "[::1]:443", 2)]), 0);
        assert_eq!(of(vec![host("a.test", "*:443", 1), plain]), 0);
        assert_eq!(of(vec![host("a.test", "*:443", 1), host("b.test", "*:443", 2)]), 0);
    }

    #[test]
    fn findings_have_the_tokens_of_their_kind() {
        let of = |code: &str| {
            of_finding(&DumpedFinding { code: code.into(), text: "md[a.test]: no".into() }, false)
        };
        assert_eq!((of("eab-missing").check, of("eab-missing").subject.as_str()), ("eab-missing", "a.test"));
        assert_eq!(checks(&[of("new")]), [("configuration", Verdict::CannotBeTold)]);
    }
}
