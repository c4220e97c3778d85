// SPDX-License-Identifier: Apache-2.0
//! Matches MDs to hosts, as `MDMatchNames` says. Each name of an MD is looked up in the index of hosts, so
//! the cost grows with the number of names and not with its square.

use super::MatchNames;
use super::finding::Finding;
use super::host_index::{HostIndex, is_pattern};
use super::planned::{Host, Plan, Server};
use crate::log::Level;
use crate::names;
use std::collections::HashSet;

impl Plan {
    pub(super) fn match_hosts(&mut self, servers: &[Server<'_>]) {
        let base_server = self.global.base_server;
        let index = HostIndex::new(servers, |at| {
            base_server || !servers.get(at).is_some_and(|server| server.host.is_main)
        });
        let all_names = self.mds.iter().flat_map(|p| p.md.domains.iter().cloned());
        let managed: HashSet<String> = all_names.collect();
        // Whether a host, named by its index, belongs to the MD at hand already.
        let mut last_md: Vec<Option<usize>> = vec![None; servers.len()];
        for (at, planned) in self.mds.iter_mut().enumerate() {
            for domain in &planned.md.domains {
                let found = match self.global.match_names {
                    MatchNames::All => with_any_name(&index, domain),
                    MatchNames::ServerNames => with_server_name(&index, domain, &managed, servers),
                };
                for host in found {
                    let (Some(last), Some(host_plan), Some(server)) =
                        (last_md.get_mut(host), self.hosts.get_mut(host), servers.get(host))
                    else {
                        continue;
                    };
                    if last.replace(at) == Some(at) {
                        continue;
                    }
                    planned.hosts.push(host);
                    host_plan.mds.push(at);
                    let text = match_text(&server.host, &planned.md.name, domain, host_plan.mds.len());
                    self.findings.push(Finding::new(Level::Debug, text));
                }
            }
            planned.hosts.sort_unstable();
        }
    }
}

fn with_any_name(index: &HostIndex, domain: &str) -> Vec<usize> {
    let mut hosts = index.with_name(domain);
    hosts.extend(index.covered_by(domain));
    hosts
}

/// An exact name beats a wildcard: that covers only hosts whose name no MD has.
fn with_server_name(
    index: &HostIndex,
    domain: &str,
    managed: &HashSet<String>,
    servers: &[Server<'_>],
) -> Vec<usize> {
    let is_free = |host: &usize| {
        let name = servers.get(*host).map(|s| s.host.server_name.to_ascii_lowercase());
        name.is_some_and(|name| !managed.contains(&name))
    };
    let mut hosts = index.with_server_name(domain);
    hosts.extend(index.covered_by(domain).into_iter().filter(is_free));
    hosts
}

fn match_text(host: &Host, md: &str, domain: &str, count: usize) -> String {
    format!(
        "AH10041: Server {}:{} matches md {md} (config {}) for domain {domain}, has now {count} MDs",
        host.server_name,
        host.port,
        host.place()
    )
}

impl Plan {
    /// The names of the hosts that this MD and no other matches, with wildcards that a certificate could
    /// have. `host` returns each host.
    pub fn host_names<'a>(&self, md: usize, host: impl Fn(usize) -> Option<&'a Host>) -> Vec<String> {
        let matched = self.mds.get(md).into_iter().flat_map(|planned| &planned.hosts);
        let alone = matched.filter(|at| self.hosts.get(**at).is_some_and(|plan| plan.mds.len() == 1));
        let hosts = alone.filter_map(|at| host(*at));
        let names = hosts.flat_map(|host| std::iter::once(&host.server_name).chain(&host.aliases));
        names.filter_map(|name| names::normalize(name).ok()).collect()
    }
}

impl Plan {
    /// Every name that something in the store can have: those of MDs, and of hosts, which may join them.
    pub fn known_names<'a>(&self, hosts: impl Iterator<Item = &'a Host>) -> HashSet<String> {
        let own = self.mds.iter().flat_map(|planned| &planned.md.domains).cloned();
        own.chain(hosts.flat_map(plain_names).flatten()).collect()
    }
}

/// The names a host is known by that are no patterns, in normal form or as they are.
pub(super) fn plain_names(host: &Host) -> impl Iterator<Item = Result<String, (&str, names::NameError)>> {
    std::iter::once(&host.server_name)
        .chain(&host.aliases)
        .filter(|name| !is_pattern(name))
        .map(|name| names::normalize(name).map_err(|reason| (name.as_str(), reason)))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Site;
    use super::super::texts;
    use super::*;

    fn host(name: &str, aliases: &str) -> String {
        format!("<VirtualHost *:443>\nServerName {name}\nServerAlias {aliases}\n</VirtualHost>\n")
    }

    /// Per MD, the hosts it matches; host 0 is the main server.
    fn matches(text: &str) -> Vec<Vec<usize>> {
        let plan = Site::read(text).unwrap().plan().unwrap();
        for (at, planned) in plan.mds.iter().enumerate() {
            for (host, host_plan) in plan.hosts.iter().enumerate() {
                assert_eq!(planned.hosts.contains(&host), host_plan.mds.contains(&at));
            }
        }
        plan.mds.into_iter().map(|planned| planned.hosts).collect()
    }

    #[test]
    fn in_mode_all_names_aliases_and_their_wildcards_match() {
        let hosts = host("A.test", "www.a.test *.w.test")
            + &host("b.test", "x?.test")
            + &host("q.c.test", "y.d.test");
        for (names, expected) in [
            ("a.test", vec![1]),
            ("WWW.a.test", vec![1]),
            ("deep.sub.w.test", vec![1]),
            ("*.w.test", vec![1]),
            ("w.test", vec![]),
            ("x1.test", vec![2]),
            ("x12.test", vec![]),
            ("x1.test a.test b.test", vec![1, 2]),
            ("*.c.test", vec![3]),
            // A wildcard MD covers a ServerName, not an alias.
            ("*.d.test", vec![]),
            ("*.a.test", vec![]),
            ("*.test", vec![1, 2]),
            ("main.test", vec![]),
            ("none.test", vec![]),
        ] {
            assert_eq!(matches(&format!("MDomain {names}\n{hosts}")), [expected], "{names}");
        }
        assert_eq!(matches(&format!("MDomain b.test\n{}", host("a.test", "*"))), [[1]]);
    }

    #[test]
    fn servernames_matches_the_server_name_alone_and_exact_before_wildcard() {
        let hosts = host("a.test", "www.a.test c.test") + &host("b.test", "*.w.test");
        for (mds, expected) in [
            ("MDomain a.test", vec![vec![1]]),
            ("MDomain www.a.test", vec![vec![]]),
            ("MDomain x.w.test c.test", vec![vec![]]),
            ("MDomain *.test", vec![vec![1, 2]]),
            ("MDomain *.test\nMDomain A.test", vec![vec![2], vec![1]]),
            ("MDomain a.test *.test", vec![vec![1, 2]]),
        ] {
            assert_eq!(matches(&format!("MDMatchNames servernames\n{mds}\n{hosts}")), expected, "{mds}");
        }
    }

    #[test]
    fn the_main_server_matches_only_where_it_is_managed() {
        assert_eq!(matches("MDomain main.test"), [[0usize; 0]]);
        assert_eq!(matches("MDBaseServer on\nMDomain main.test"), [[0]]);
    }

    #[test]
    fn each_match_is_reported_once_with_the_number_of_mds() {
        let text =
            format!("MDomain a.test www.a.test\nMDomain x.test\n{}", host("a.test", "www.a.test x.test"));
        let plan = Site::read(&text).unwrap().plan().unwrap();
        assert_eq!(
            texts(&plan.findings, Level::Debug)[1..],
            [
                "AH10041: Server a.test:0 matches md a.test (config test.conf:3) for domain a.test, has now 1 MDs",
                "AH10041: Server a.test:0 matches md x.test (config test.conf:3) for domain x.test, has now 2 MDs",
            ]
        );
    }

    #[test]
    fn names_of_hosts_are_those_of_hosts_that_belong_to_one_md() {
        let text = String::from("MDomain a.test\nMDomain b.test\nMDomain none.test\n")
            + &host("A.test", "www.a.test *.w.test x?.test")
            + &host("q.test", "a.test")
            + &host("c.test", "a.test b.test");
        let site = Site::read(&text).unwrap();
        let (servers, plan) = (site.servers(), site.plan().unwrap());
        let names = |md| plan.host_names(md, |at| servers.get(at).map(|server| &server.host));
        assert_eq!(names(0), ["a.test", "www.a.test", "*.w.test", "q.test", "a.test"]);
        assert_eq!([names(1), names(2), names(3)], [const { Vec::<String>::new() }; 3]);
        let mut known: Vec<_> =
            plan.known_names(servers.iter().map(|server| &server.host)).into_iter().collect();
        known.sort();
        let main = &servers[0].host.server_name;
        let mut expected =
            ["a.test", "b.test", "c.test", "none.test", "q.test", "www.a.test", main].map(String::from);
        expected.sort();
        assert_eq!(known, expected);
    }

    #[test]
    fn ten_thousand_mds_find_their_hosts() {
        let many = 10_000;
        let mut text = String::new();
        for n in 0..many {
            text += &format!("MDomain a{n}.test www.a{n}.test *.w{n}.test\n");
            text += &host(&format!("a{n}.test"), &format!("www.a{n}.test"));
        }
        let site = Site::read(&text).unwrap();
        let servers = site.servers();
        let mut plan = site.plan().unwrap();
        plan.after_tls(&servers, &vec![true; many + 1], &vec![true; many + 1]).unwrap();
        assert_eq!(plan.mds.len(), many);
        for (at, planned) in plan.mds.iter().enumerate() {
            assert_eq!(planned.hosts, [at + 1]);
            assert_eq!(planned.md.acme_tls_1, [format!("a{at}.test"), format!("www.a{at}.test")]);
        }
    }
}
