// SPDX-License-Identifier: Apache-2.0
//! The second half of the plan, computed once the TLS hosts are known: one MD per TLS host, names that join
//! or are missing, unused MDs, and names that can answer `tls-alpn-01` (RFC 8737).

use super::finding::Finding;
use super::finding::{Item, gathered};
use super::host_index::HostIndex;
use super::matching::plain_names;
use super::planned::{Plan, PlannedMd, Server};
use crate::log::Level;
use crate::model::{Md, NotRenewed, RequireHttps};
use crate::names;
use std::collections::HashSet;

impl Plan {
    /// The error about a TLS host that several MDs match: any of their certificates could be meant. It is
    /// reported when mod_ssl asks for certificates; `None`: there is no conflict.
    pub fn conflict(&self, servers: &[Server<'_>], host: usize) -> Option<Finding> {
        self.conflict_text(servers, host).map(|text| Finding::error(format!("AH10238: {text}")))
    }

    fn conflict_text(&self, servers: &[Server<'_>], host: usize) -> Option<String> {
        let server = &servers.get(host)?.host;
        let mds = self.hosts.get(host).map(|h| h.mds.as_slice()).filter(|mds| mds.len() > 1)?;
        let named: Vec<String> = mds
            .iter()
            .filter_map(|at| self.mds.get(*at))
            .take(8)
            .map(|p| format!("{} ({}:{})", p.md.name, p.defined_at.0, p.defined_at.1))
            .collect();
        Some(format!(
            "conflict: {} MDs match Virtualhost {} which uses SSL, however there can be at most 1. \
             The host is defined in {}, matching are {}. Join these domains in one MDomain, or give each a <VirtualHost> of \
             its own.",
            mds.len(),
            server.server_name,
            server.place(),
            named.join(", ")
        ))
    }

    /// Completes the plan. `tls`, `alpn`: per server, whether it speaks TLS and whether its `Protocols` have
    /// `acme-tls/1`. Returns findings for the log; `Err`: the start must fail, and this is why.
    pub fn after_tls(
        &mut self,
        servers: &[Server<'_>],
        tls: &[bool],
        alpn: &[bool],
    ) -> Result<Vec<Finding>, Vec<Finding>> {
        let is = |flags: &[bool], host: usize| flags.get(host).copied().unwrap_or(false);
        let conflicts: Vec<Finding> = (0..servers.len())
            .filter(|host| is(tls, *host))
            .filter_map(|host| self.conflict_text(servers, host))
            .map(|text| Finding::error(format!("AH10042: {text}")))
            .collect();
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        let https = self.global.port_map.https;
        let public = HostIndex::new(servers, |at| {
            let ports = servers.get(at).map(|s| s.host.ports.as_slice()).unwrap_or_default();
            is(tls, at) && https.is_some_and(|p| ports.is_empty() || ports.contains(&0) || ports.contains(&p))
        });
        // The main server serves only connections that no virtual host takes.
        let first = |hosts: Vec<usize>| {
            let is_main = |at: usize| servers.get(at).is_some_and(|server| server.host.is_main);
            hosts.into_iter().min_by_key(|at| (is_main(*at), *at))
        };
        // Names that are no host's go to the first.
        let default = first(public.all());
        let (mut unmanaged, mut without_tls) = (Vec::new(), Vec::new());
        for planned in &mut self.mds {
            let tls_hosts: Vec<&Server<'_>> =
                planned.hosts.iter().filter(|at| is(tls, **at)).filter_map(|at| servers.get(*at)).collect();
            if planned.md.require_https != RequireHttps::Off && tls_hosts.is_empty() {
                without_tls.push(without_https(planned));
            }
            unmanaged.extend(join(&mut planned.md, &planned.defined_at, &tls_hosts));
            planned.watched = is_watched(planned);
            let can_alpn = |domain: &&String| {
                // The CA asks for the reverse name of an address (RFC 8738 §6), which no host has.
                let own = if names::is_address(domain) { None } else { first(public.with_name(domain)) };
                let other = default.filter(|_| !names::is_wildcard(domain));
                own.or(other).is_some_and(|host| is(alpn, host))
            };
            planned.md.acme_tls_1 = planned.md.domains.iter().filter(can_alpn).cloned().collect();
        }
        let unmanaged =
            gathered("AH10040: ", "names of hosts that their managed domain does not have", unmanaged);
        let without_tls =
            gathered("AH10105: ", "managed domains with MDRequireHttps and no TLS host", without_tls);
        Ok([unmanaged, without_tls].concat())
    }
}

fn without_https(planned: &PlannedMd) -> Item<'static> {
    let (name, (file, line)) = (&planned.md.name, &planned.defined_at);
    let text = format!(
        "AH10105: MD {name} does not match any VirtualHost with 'SSLEngine on', but is configured to require https. This \
         cannot work. It is defined in {file}:{line}: add a host with TLS for it, or set 'MDRequireHttps off'."
    );
    Item { level: Level::Warn, name: format!("{name} ({file}:{line})"), text: Box::new(move || text.clone()) }
}

/// Renewal ignores a domain that no host uses. Where the admin renews, it still warns of the expiry.
fn is_watched(planned: &PlannedMd) -> bool {
    planned.md.not_renewed(!planned.hosts.is_empty()) != Some(NotRenewed::Unused)
}

/// Adds the names of TLS hosts to an MD that takes them; complains about those it does not take.
fn join(md: &mut Md, defined_at: &(String, u32), tls_hosts: &[&Server<'_>]) -> Vec<Item<'static>> {
    let mut items = Vec::new();
    let mut known: HashSet<String> = md.domains.iter().cloned().collect();
    let md_name = md.name.clone();
    let (file, line) = defined_at;
    for server in tls_hosts {
        let host = &server.host;
        let mut warn = |name: &str, reason: &str, remedy: &str| {
            let text = format!(
                "AH10040: Virtual Host {}:{} matches Managed Domain '{md_name}', but the name/alias {name} \
                 itself is not managed{reason}. A requested MD certificate will not match ServerName. The \
                 host is defined in {}{remedy}.",
                host.server_name,
                host.port,
                host.place()
            );
            let name = format!("{name} ({})", host.place());
            items.push(Item { level: Level::Warn, name, text: Box::new(move || text.clone()) });
        };
        for name in plain_names(host) {
            match name {
                Ok(name) if is_known(&known, &name) => {}
                Ok(name) if md.transitive => {
                    md.domains.push(name.clone());
                    known.insert(name);
                }
                Ok(name) => {
                    let remedy =
                        format!(": add the name to the domain ({file}:{line}), or set 'MDMembers auto'");
                    warn(&name, "", &remedy);
                    known.insert(name);
                }
                Err((name, reason)) => {
                    let remedy = ": correct the name, or remove it where no client uses it";
                    warn(name, &format!(", as {reason}"), remedy);
                }
            }
        }
    }
    items
}

/// [`Md::covers`] for many names.
fn is_known(known: &HashSet<String>, name: &str) -> bool {
    let parent = || name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
    known.contains(name) || (!names::is_wildcard(name) && parent().is_some_and(|w| known.contains(&w)))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Site;
    use super::super::texts;
    use super::*;

    struct Outcome {
        plan: Plan,
        result: Result<Vec<Finding>, Vec<Finding>>,
    }

    impl Outcome {
        fn warnings(&self) -> Vec<&str> {
            texts(self.result.as_ref().unwrap(), Level::Warn)
        }

        fn domains(&self) -> Vec<Vec<String>> {
            self.plan.mds.iter().map(|p| p.md.domains.clone()).collect()
        }
    }

    /// Servers speak TLS except those on port 80; the ones whose admin is `alpn` have `acme-tls/1`.
    fn run(text: &str) -> Outcome {
        let site = Site::read(text).unwrap();
        let servers = site.servers();
        let mut plan = site.plan().unwrap();
        let tls: Vec<bool> = servers.iter().map(|s| !s.host.ports.contains(&80)).collect();
        let alpn: Vec<bool> = servers.iter().map(|s| s.host.admin.as_deref() == Some("alpn")).collect();
        let result = plan.after_tls(&servers, &tls, &alpn);
        Outcome { plan, result }
    }

    fn host(port: u16, name: &str, aliases: &str) -> String {
        format!("<VirtualHost *:{port}>\nServerName {name}\nServerAlias {aliases}\n</VirtualHost>\n")
    }

    #[test]
    fn a_tls_host_with_two_mds_ends_the_start_and_a_plain_one_does_not() {
        let mds = "MDomain a.test\nMDomain b.test\n";
        let text = format!("{mds}{}", host(443, "a.test", "b.test"));
        let errors = run(&text).result.unwrap_err();
        let expected = "conflict: 2 MDs match Virtualhost a.test which uses SSL, however there can be at most 1. \
                        The host is defined in test.conf:3, matching are a.test (test.conf:1), b.test (test.conf:2). Join these \
                        domains in one MDomain, or give each a <VirtualHost> of its own.";
        assert_eq!(texts(&errors, Level::Error), [format!("AH10042: {expected}")]);
        let site = Site::read(&text).unwrap();
        let plan = site.plan().unwrap();
        assert_eq!(plan.conflict(&site.servers(), 1).unwrap().text, format!("AH10238: {expected}"));
        assert_eq!(plan.conflict(&site.servers(), 0), None);
        assert!(run(&format!("{mds}{}", host(80, "a.test", "b.test"))).result.is_ok());
    }

    #[test]
    fn names_of_tls_hosts_join_an_md_that_does_not_cover_them() {
        let outcome = run(&format!(
            "MDomain a.test *.c.test\n{}{}{}",
            host(443, "A.test", "www.a.test x.c.test *.w.test y?.test"),
            host(80, "a.test", "plain.a.test"),
            host(443, "x.c.test", "www.a.test z.test")
        ));
        assert_eq!(outcome.domains(), [["a.test", "*.c.test", "www.a.test", "z.test"]]);
        assert!(outcome.warnings().is_empty());
    }

    #[test]
    fn an_alias_of_two_hosts_joins_the_mds_of_both() {
        let outcome = run(&format!(
            "MDomain a.test\nMDomain b.test\n{}{}",
            host(443, "a.test", "x.test"),
            host(443, "b.test", "x.test")
        ));
        assert_eq!(outcome.domains(), [["a.test", "x.test"], ["b.test", "x.test"]]);
    }

    #[test]
    fn names_that_a_manual_md_lacks_are_reported() {
        let outcome = run(&format!(
            "MDomain a.test manual\n{}{}",
            host(443, "a.test", "www.a.test"),
            host(80, "a.test", "plain.a.test")
        ));
        assert_eq!(outcome.domains(), [["a.test"]]);
        assert_eq!(
            outcome.warnings(),
            [
                "AH10040: Virtual Host a.test:0 matches Managed Domain 'a.test', but the name/alias www.a.test \
              itself is not managed. A requested MD certificate will not match ServerName. The host is defined in \
              test.conf:2: add the name to the domain (test.conf:1), or set 'MDMembers auto'."
            ]
        );
    }

    #[test]
    fn an_alias_that_is_no_domain_name_never_joins() {
        let outcome = run(&format!("MDomain a.test\n{}", host(443, "a.test", "x/../y")));
        assert_eq!(outcome.domains(), [["a.test"]]);
        assert!(
            outcome.warnings()[0].contains("the name/alias x/../y itself is not managed, as it contains")
        );
    }

    #[test]
    fn an_md_without_host_is_not_watched_where_it_would_be_renewed_for_a_host() {
        let outcome = run(&format!(
            "MDomain unused.test
             <MDomain kept.test>
             MDRenewMode always
             </MDomain>
             MDomain a.test
             <MDomain hand.test>
             MDRenewMode manual
             </MDomain>
             <MDomain file.test>
             MDCertificateFile c
             MDCertificateKeyFile k
             </MDomain>
             <MDomain unused-hand.test>
             MDRenewMode manual
             </MDomain>
             <MDomain unused-file.test>
             MDCertificateFile c
             MDCertificateKeyFile k
             </MDomain>
             {}",
            host(443, "a.test", "a.test") + &host(443, "hand.test", "") + &host(443, "file.test", "")
        ));
        assert!(outcome.warnings().is_empty());
        let watched: Vec<bool> = outcome.plan.mds.iter().map(|p| p.watched).collect();
        assert_eq!(watched, [false, true, true, true, true, true, true]);
    }

    #[test]
    fn requiring_https_without_a_tls_host_is_reported() {
        let mds = "MDRequireHttps permanent\nMDomain a.test\n";
        assert_eq!(
            run(&format!("{mds}{}", host(80, "a.test", ""))).warnings(),
            ["AH10105: MD a.test does not match any VirtualHost with 'SSLEngine on', but is configured to \
              require https. This cannot work. It is defined in test.conf:2: add a host with TLS for it, or set \
              'MDRequireHttps off'."]
        );
        assert!(
            run(&format!("{mds}{}{}", host(80, "a.test", ""), host(443, "a.test", ""))).warnings().is_empty()
        );
    }

    #[test]
    fn tls_alpn_01_is_for_names_whose_public_tls_host_has_the_protocol() {
        let alpn = |host: String| host.replace("ServerName", "ServerAdmin alpn\nServerName");
        let hosts = [
            alpn(host(443, "a.test", "www.a.test *.w.test")),
            host(443, "b.test", "b2.test"),
            // Not the first one with this name, not public, not TLS.
            alpn(host(443, "b.test", "b2.test")),
            alpn(host(8443, "c.test", "")),
            alpn(host(80, "d.test", "")),
            alpn(host(0, "e.test", "")),
        ]
        .concat();
        let names = "a.test www.a.test x.w.test b.test b2.test c.test d.test e.test none.test 127.0.0.1";
        // The main server serves only connections that no virtual host takes.
        let main = "ServerAdmin alpn\nServerName b.test";
        let outcome = run(&format!("MDomain {names}\n{hosts}\n{main}"));
        // Names without a public TLS host are the first one's.
        let able = &outcome.plan.mds[0].md.acme_tls_1;
        assert_eq!(
            able[..],
            ["a.test", "www.a.test", "x.w.test", "c.test", "d.test", "e.test", "none.test", "127.0.0.1"]
        );
        let outcome =
            run(&format!("MDomain {names}\n{}\n{hosts}\n{main}", host(443, "first.test", "127.0.0.1")));
        let able = &outcome.plan.mds[0].md.acme_tls_1;
        assert_eq!(able[..], ["a.test", "www.a.test", "x.w.test", "e.test"]);
        let closed = run(&format!("MDPortMap https:-\nMDomain {names}\n{hosts}"));
        assert!(closed.plan.mds[0].md.acme_tls_1.is_empty());
    }
}
