// SPDX-License-Identifier: Apache-2.0
//! Turns the configuration of all servers into the plan of the module: resolves global values, completes
//! managed domains and matches them to hosts. Ends the start when the parts do not fit together. Pure: log
//! messages are returned as findings.

use super::Globals;
use super::check;
use super::complete::{admin_contact, complete};
use super::dns_service;
use super::finding::Finding;
use super::finding::gathered;
use super::fleet;
use super::planned::{Global, HostPlan, Plan, PlannedMd, Server};
use crate::log::Level;
use crate::model::DnsService;
use std::path::Path;

/// Makes the plan. `servers`: the main server, then the virtual hosts in their order. `listeners`: the ports
/// httpd listens on. `exists`: whether there is a file. `Err`: the start must fail, and this is why.
pub fn plan(
    servers: &[Server<'_>],
    listeners: &[u16],
    exists: &dyn Fn(&Path) -> bool,
) -> Result<Plan, Vec<Finding>> {
    let (plan, errors) = draft(servers, listeners, exists);
    if errors.is_empty() { Ok(plan) } else { Err(errors) }
}

/// The same where the start must fail: the plan as far as it goes, and why.
pub fn draft(
    servers: &[Server<'_>],
    listeners: &[u16],
    exists: &dyn Fn(&Path) -> bool,
) -> (Plan, Vec<Finding>) {
    let globals = servers.iter().fold(Globals::default(), |all, s| s.config.globals.over(&all));
    let (service, mut refused) = match dns_service::service(servers) {
        Ok(service) => (service, Vec::new()),
        Err(errors) => (DnsService::default(), errors),
    };
    let (fleet, of_fleet) = fleet::lines::fleet(servers).unwrap_or_else(|errors| {
        refused.extend(errors);
        (None, Vec::new())
    });
    let global = Global::resolve(globals, service, fleet);
    let arrives = |port: Option<u16>| port.is_some_and(|p| listeners.contains(&p));
    let mut plan = Plan {
        can_http: arrives(global.port_map.http),
        can_https: arrives(global.port_map.https),
        global,
        mds: Vec::new(),
        hosts: Vec::with_capacity(servers.len()),
        findings: of_fleet,
    };
    plan.report_reachability();
    let mut errors = plan.add_servers(servers, exists);
    errors.extend(check::overlaps(&plan.mds, plan.global.match_names));
    errors.extend(plan.mds.iter().flat_map(check::settings));
    let errors = if refused.is_empty() { errors } else { refused };
    if errors.is_empty() {
        plan.findings.extend(check::doubts(&plan, servers));
    }
    plan.match_hosts(servers);
    plan.complete_from_hosts(servers);
    let of_dns = dns_service::findings(&plan);
    plan.findings.extend(of_dns);
    (plan, errors)
}

impl Plan {
    fn report_reachability(&mut self) {
        let word = |can: bool| if can { "reachable" } else { "not reachable" };
        self.findings.push(Finding::new(
            Level::Debug,
            format!(
                "AH10037: server seems {} via http: and {} via https:",
                word(self.can_http),
                word(self.can_https)
            ),
        ));
    }

    fn add_servers(&mut self, servers: &[Server<'_>], exists: &dyn Fn(&Path) -> bool) -> Vec<Finding> {
        let main = servers.iter().find(|s| s.host.is_main).map(|s| s.config).cloned().unwrap_or_default();
        let mut missing = check::MissingFiles::default();
        let mut left_out = Vec::new();
        for Server { config, host } in servers {
            let settings = config.settings.over(&main.settings);
            missing.look(&settings, exists);
            for section in &config.mds {
                missing.look(&section.settings, exists);
                left_out
                    .extend(section.left_out.iter().map(|(word, text)| check::left_out(section, word, text)));
                let admin = host.admin.as_deref();
                self.mds.push(complete(section, &settings, admin, self.global.dns01_version));
            }
            self.hosts.push(HostPlan::resolve(&settings, config.host.over(&main.host)));
        }
        self.findings.extend(gathered("", "invalid names", left_out));
        missing.findings(&self.mds)
    }

    /// Copies settings between an MD and its hosts: contacts from them, `MDRequireHttps` to them.
    fn complete_from_hosts(&mut self, servers: &[Server<'_>]) {
        for PlannedMd { md, hosts, .. } in &mut self.mds {
            if md.contacts.is_empty() {
                let admins = hosts.iter().filter_map(|h| servers.get(*h)?.host.admin.as_deref());
                md.contacts = admins.filter_map(admin_contact).take(1).collect();
            }
        }
        let mut differing = Vec::new();
        for (host, server) in self.hosts.iter_mut().zip(servers) {
            if let Some(planned) = host.mds.first().and_then(|at| self.mds.get(*at)) {
                let own = server.config.settings.require_https.filter(|_| !server.host.is_main);
                host.require_https = own.unwrap_or(planned.md.require_https);
                if host.require_https != planned.md.require_https {
                    differing.push((&server.host, host.require_https, &planned.md));
                }
            }
        }
        self.findings.extend(check::other_https(&differing));
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Site;
    use super::super::texts;
    use super::*;
    use crate::model::Md;

    use crate::config::{MatchNames, PortMap};
    use crate::time::{DAY, TimeSlice};
    use std::time::Duration;

    use crate::model::RequireHttps;
    use crate::model::{Ca, DnsService, Eab, KeySpec, RenewMode};

    fn planned(text: &str) -> Plan {
        Site::read(text).unwrap().plan().unwrap_or_else(|e| panic!("{e:?}"))
    }

    fn refused(text: &str) -> Vec<String> {
        let findings = Site::read(text).unwrap().plan().unwrap_err();
        texts(&findings, Level::Error).into_iter().map(String::from).collect()
    }

    #[test]
    fn an_empty_configuration_has_the_documented_defaults() {
        let plan = planned("MDomain a.test");
        assert_eq!(
            plan.global,
            Global {
                store_dir: "md".into(),
                store_locks: None,
                port_map: PortMap { http: Some(80), https: Some(443) },
                base_server: false,
                match_names: MatchNames::All,
                dns01_version: 1,
                notify_cmd: None,
                message_cmd: None,
                retry_delay: Duration::from_secs(30),
                retry_failover: 13,
                initial_delay: Duration::ZERO,
                check_interval: Duration::from_secs(12 * 3600),
                activation_delay: Duration::ZERO,
                live_activation: true,
                renew_parallel: 16,
                dns: DnsService::default(),
                fleet: None,
            }
        );
        let main = &plan.hosts[0];
        assert!(main.server_status.is_none() && main.certificate_status && !main.staple_others);
        assert_eq!(main.staple_keep, TimeSlice::Length(DAY * 7));
        assert_eq!(main.staple_renew_window, TimeSlice::Percent(33));
        assert_eq!(main.certificate_check, ("crt.sh".into(), "https://crt.sh?q=".into()));
        let ca =
            Ca { urls: vec!["https://acme-v02.api.letsencrypt.org/directory".into()], ..Md::default().ca };
        let bare = Md { name: "a.test".into(), domains: vec!["a.test".into()], ca, ..Md::default() };
        assert_eq!(plan.mds[0].md, bare);
        assert_eq!(plan.mds[0].defined_at, ("test.conf".into(), 1));
    }

    #[test]
    fn a_section_wins_over_its_virtual_host_and_that_over_the_main_server() {
        let plan = planned(
            "MDRenewWindow 5d
             MDWarnWindow 1d
             MDRenewMode always
             MDProfile main
             MDExternalAccountBinding k h
             MDPrivateKeys P-256
             MDMembers manual
             MDomain main.test
             <VirtualHost *:443>
             ServerName a.test
             MDRenewWindow 6d
             MDProfile host
             MDStapling on
             MDStapleOthers off
             MDServerStatus off
             <MDomain a.test>
             MDProfile own
             MDExternalAccountBinding none
             MDPrivateKeys Default
             MDRequireHttps permanent
             </MDomain>
             </VirtualHost>
             MDCertificateCheck mon https://mon.test/",
        );
        let [main, own] = &plan.mds[..] else { panic!() };
        assert_eq!(main.md.renew_window.to_string(), "5d");
        assert_eq!(main.md.profile.as_deref(), Some("main"));
        assert_eq!(main.md.eab, Some(Eab { kid: "k".into(), hmac: "h".into() }));
        assert_eq!(main.md.key_specs, [KeySpec::Ec("P-256".into())]);
        assert!(!main.md.stapling && !main.md.transitive);
        assert_eq!(own.md.renew_window.to_string(), "6d");
        assert_eq!(own.md.warn_window.to_string(), "1d");
        assert_eq!(own.md.renew_mode, RenewMode::Always);
        assert_eq!(own.md.profile.as_deref(), Some("own"));
        assert_eq!(own.md.eab, None);
        assert!(own.md.key_specs.is_empty());
        assert!(own.md.stapling && !own.md.transitive);
        assert_eq!(own.md.require_https, RequireHttps::Permanent);
        let [host_main, host] = &plan.hosts[..] else { panic!() };
        assert_eq!((host_main.server_status, host.server_status), (None, Some(false)));
        assert!(!host.staple_others);
        assert_eq!(host.certificate_check.0, "mon");
        assert_eq!(host.require_https, RequireHttps::Permanent);
    }

    #[test]
    fn commands_proxy_and_ca_files_of_the_server_apply_but_stay_out_of_the_md() {
        let plan = planned(
            "MDChallengeDns01 /bin/dns main
             MDHttpProxy http://proxy.test
             MDCACertificateFile ca.pem
             MDHttpProxyCACertificateFile proxy.pem
             MDomain a.test
             <MDomain b.test>
             MDChallengeDns01 /bin/dns own
             MDChallengeDns01Timeout 20mi
             MDHttpProxy http://own.test
             MDCACertificateFile none
             MDHttpProxyCACertificateFile own.pem
             </MDomain>",
        );
        let [a, b] = &plan.mds[..] else { panic!() };
        assert_eq!(
            (&a.md.cmd_dns_01, &a.md.proxy_url, &a.md.ca_certs, &a.md.proxy_ca_certs),
            (&None, &None, &None, &None)
        );
        let line = |planned: &PlannedMd| {
            planned.dns01.as_ref().and_then(|dns01| dns01.command_line().map(String::from))
        };
        assert_eq!(line(a).as_deref(), Some("/bin/dns main"));
        assert_eq!([a, b].map(|p| p.dns01.as_ref().unwrap().limit.as_secs()), [600, 1200]);
        assert_eq!(a.route.proxy_url.as_deref(), Some("http://proxy.test"));
        assert_eq!(a.route.ca_file.as_deref(), Some("/srv/ca.pem"));
        assert_eq!(a.route.proxy_ca_file.as_deref(), Some("/srv/proxy.pem"));
        assert_eq!(b.md.cmd_dns_01.as_deref(), Some("/bin/dns own"));
        assert_eq!((&line(b), &b.route.proxy_url), (&b.md.cmd_dns_01, &b.md.proxy_url));
        assert_eq!((&b.route.ca_file, &b.md.ca_certs), (&None, &None));
        assert_eq!(b.route.proxy_ca_file.as_deref(), Some("/srv/own.pem"));
        assert_eq!(plan.hosts[0].proxy_url.as_deref(), Some("http://proxy.test"));
    }

    #[test]
    fn the_contact_is_the_directive_then_the_server_admin_then_that_of_a_host() {
        let host = "<VirtualHost *:443>\nServerName a.test\nServerAdmin host@x.test\n</VirtualHost>\n";
        for (lines, contacts) in [
            ("MDContactEmail me@x.test\nServerAdmin main@x.test", vec!["mailto:me@x.test"]),
            ("ServerAdmin main@x.test", vec!["mailto:main@x.test"]),
            ("ServerAdmin you@example.com", vec!["mailto:host@x.test"]),
            ("ServerAdmin [no address given]", vec!["mailto:host@x.test"]),
        ] {
            let plan = planned(&format!("{lines}\nMDomain a.test\n{host}"));
            assert_eq!(plan.mds[0].md.contacts, contacts, "{lines}");
        }
        assert!(planned("MDomain a.test").mds[0].md.contacts.is_empty());
    }

    #[test]
    fn names_of_an_md_are_unique_and_the_first_one_is_its_name() {
        let plan = planned("MDomain b.test A.test a.test B.test");
        assert_eq!(plan.mds[0].md.name, "b.test");
        assert_eq!(plan.mds[0].md.domains, ["b.test", "a.test"]);
    }

    #[test]
    fn a_global_directive_holds_wherever_it_stands() {
        let plan = planned(
            "MDRetryFailover 3
             <VirtualHost *:443>
             ServerName a.test
             MDRetryFailover 4
             MDStoreLocks on
             </VirtualHost>",
        );
        assert_eq!(plan.global.retry_failover, 4);
        assert_eq!(plan.global.store_locks, Some(Duration::from_secs(5)));
    }

    #[test]
    fn reachability_is_a_listener_on_the_mapped_port() {
        for (map, text) in [
            ("http:80 https:443", "reachable via http: and reachable via https:"),
            ("http:8080", "not reachable via http: and reachable via https:"),
            ("http:443 https:-", "reachable via http: and not reachable via https:"),
        ] {
            let plan = planned(&format!("MDPortMap {map}"));
            assert_eq!(
                plan.findings,
                [Finding::new(Level::Debug, format!("AH10037: server seems {text}"))],
                "{map}"
            );
            assert_eq!(plan.can_http, text.starts_with("reachable"), "{map}");
            assert_eq!(plan.can_https, text.ends_with("and reachable via https:"), "{map}");
        }
    }

    #[test]
    fn overlapping_mds_end_the_start_and_the_text_names_both_places() {
        for (lines, name) in [
            ("MDomain a.test c.test\nMDomain b.test C.test", "c.test"),
            ("MDomain *.a.test\nMDomain b.test www.a.test", "www.a.test"),
            ("MDomain b.test www.a.test\nMDomain x.test *.a.test", "www.a.test"),
        ] {
            let text = format!(
                "AH10038: two Managed Domains have an overlap in domain '{name}', first definition in \
                 test.conf(line 1), second in test.conf(line 2). A name belongs to one managed domain: remove it from one \
                 of the two, or write both as one MDomain."
            );
            assert_eq!(refused(lines), [text], "{lines}");
        }
        planned("MDomain *.a.test www.a.test a.test\nMDomain x.www.a.test");
    }

    #[test]
    fn mds_matched_by_server_name_may_share_names_but_not_their_first() {
        planned("MDMatchNames servernames\nMDomain a.test c.test\nMDomain b.test c.test *.test");
        assert!(
            refused("MDMatchNames servernames\nMDomain a.test b.test\nMDomain a.test c.test")[0]
                .contains("AH10038")
        );
    }

    #[test]
    fn what_can_not_work_ends_the_start() {
        for (lines, text) in [
            (
                "<MDomain a.test>\nMDCertificateFile x\n</MDomain>",
                "AH10170: The Managed Domain 'a.test' needs one MDCertificateKeyFile for each MDCertificateFile. \
                 It is defined in test.conf:1 with 1 certificate file and 0 key files: give each certificate file the file \
                 of its key.",
            ),
            (
                "<MDomain a.test>\nMDCertificateKeyFile x\n</MDomain>",
                "AH10171: The Managed Domain 'a.test' has MDCertificateKeyFile(s) but no MDCertificateFile. It is \
                 defined in test.conf:1: add an MDCertificateFile for each key file, or remove the key files.",
            ),
            (
                "MDCertificateProtocol foo\nMDomain a.test",
                "AH10172: [a.test] uses unknown CA protocol 'foo' in MDCertificateProtocol, the only one is ACME. \
                 Remove the directive; the domain is defined in test.conf:2.",
            ),
            (
                "MDPrivateKeys RSA 4096 4096\nMDomain a.test",
                "AH10174: [a.test] uses unknown elliptic curve '4096' in MDPrivateKeys. Use RSA, 'RSA 4096', P-256 \
                 or P-384; the domain is defined in test.conf:2.",
            ),
            (
                "MDCACertificateFile nofile\n<VirtualHost *:443>\nServerName a.test\n</VirtualHost>",
                "MDCACertificateFile: file not found: /srv/nofile. Put the file there, or correct the path.",
            ),
            (
                "<MDomain a.test>\nMDHttpProxyCACertificateFile x/nofile\n</MDomain>",
                "MDHttpProxyCACertificateFile: file not found: /srv/x/nofile. md[a.test] (test.conf:1) uses \
                 it. Put the file there, or correct the path.",
            ),
        ] {
            assert_eq!(refused(lines), [text], "{lines}");
        }
        let plan = planned("MDCertificateProtocol acme\nMDomain a.test");
        assert_eq!(plan.mds[0].md.ca.proto, "ACME");
    }

    #[test]
    fn a_window_of_no_length_is_reported_once() {
        let warnings = |text: &str| {
            let plan = planned(text);
            texts(&plan.findings, Level::Warn).into_iter().map(String::from).collect::<Vec<_>>()
        };
        let late = warnings("MDRenewWindow %\nMDomain a.test\nMDomain b.test\nMDomain c.test");
        assert_eq!(late.len(), 1);
        assert!(late[0].starts_with("md[a.test] and 2 more: MDRenewWindow 0%: "), "{late:?}");
        assert!(warnings("MDRenewWindow 0\nMDomain a.test")[0].starts_with("md[a.test]: MDRenewWindow 0d: "));
        let staples = warnings("MDStaplingRenewWindow %\nMDomain a.test");
        assert!(staples[0].starts_with("MDStaplingRenewWindow 0% (main server): "), "{staples:?}");
        assert_eq!(warnings("MDRenewWindow 1%\nMDWarnWindow 0\nMDomain a.test"), Vec::<String>::new());
    }

    #[test]
    fn a_ca_that_is_asked_without_encryption_is_reported_once() {
        let text = "MDCertificateAuthority http://ca.test/dir http://127.0.0.1/dir https://ca.test/dir\nMDomain a.test\n\
                    MDomain b.test\n<MDomain c.test>\nMDRenewMode manual\nMDCertificateAuthority http://other.test/\n</MDomain>";
        let plan = Site::read(text).unwrap().plan().unwrap();
        let warnings = texts(&plan.findings, Level::Warn);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let begin = "md[a.test] and 1 more: MDCertificateAuthority http://ca.test/dir: requests to this CA are not encrypted";
        assert!(warnings[0].starts_with(begin), "{warnings:?}");
    }

    #[test]
    fn a_virtual_host_may_require_https_otherwise_than_its_md() {
        let plan = planned(
            "MDRequireHttps temporary
             MDomain a.test
             <VirtualHost *:80>
             ServerName a.test
             MDRequireHttps off
             </VirtualHost>
             <VirtualHost *:443>
             ServerName a.test
             </VirtualHost>
             <VirtualHost *:80>
             ServerName other.test
             MDRequireHttps permanent
             </VirtualHost>",
        );
        let of_hosts: Vec<_> = plan.hosts.iter().map(|h| h.require_https).collect();
        use RequireHttps::{Off, Temporary};
        assert_eq!(of_hosts, [Off, Off, Temporary, Off]);
        assert_eq!(
            texts(&plan.findings, Level::Notice),
            [
                "md[a.test]: MDRequireHttps off in the virtual host a.test (test.conf:3) applies to that host, \
              although the managed domain has temporary; mod_md 2 ignores it there. Nothing needs to be \
              done, unless mod_md 2 will also read this configuration."
            ]
        );
        let many = |count: usize| {
            let host = "<VirtualHost *:80>\nServerName a.test\nMDRequireHttps permanent\n</VirtualHost>\n";
            let plan = planned(&format!("MDomain a.test\n{}", host.repeat(count)));
            texts(&plan.findings, Level::Notice).into_iter().map(String::from).collect::<Vec<_>>()
        };
        assert!(many(2)[0].ends_with(" one more host.") && many(3)[0].ends_with(" 2 more hosts."));
        assert_eq!(many(1000).len(), 1);
        let same = planned(
            "MDRequireHttps temporary\nMDomain a.test\n<VirtualHost *:80>\nServerName a.test\nMDRequireHttps temporary\n</VirtualHost>",
        );
        assert_eq!(texts(&same.findings, Level::Notice), Vec::<&str>::new());
    }
}
