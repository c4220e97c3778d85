// SPDX-License-Identifier: Apache-2.0
//! The challenges that can be answered for a name, in the order in which a renewal tries them. Pure; imports
//! `challenge::selection`.

use crate::challenge::dns01::solver::takes_final_name;
use crate::challenge::selection::Means;
use crate::config::Configuration;
use crate::managed::Managed;
use crate::model::dns01::Way;

/// The local port that a public one leads to, and whether httpd listens on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// `None`: the public port leads to no port of this machine (`MDPortMap`).
    pub local: Option<u16>,
    /// `None`: httpd's configuration is not known.
    pub is_configured: Option<bool>,
}

impl Port {
    /// That of public port 80 or 443.
    pub fn of(public: u16, configuration: Option<&Configuration>) -> Self {
        let Some(known) = configuration else { return Port { local: Some(public), is_configured: None } };
        let local = if public == 443 { known.https_port } else { known.http_port };
        Port { local, is_configured: Some(local.is_some_and(|port| known.ports.contains(&port))) }
    }

    fn arrives(self) -> bool {
        self.is_configured.unwrap_or(true)
    }
}

/// The way in which records of dns-01 are set, where it is known.
pub fn way(managed: &Managed) -> Option<&Way> {
    managed.dns01.as_ref().map(|dns01| &dns01.way).or(managed.md.dns_01.as_ref())
}

/// Types of challenges. None: nothing can be answered, which is found without reaching out.
pub fn types(managed: &Managed, name: &str, configuration: Option<&Configuration>) -> Vec<String> {
    let (md, way) = (&managed.md, way(managed));
    let arrives = |port| Port::of(port, configuration).arrives();
    let means = Means {
        configured: &md.ca.challenges,
        http: arrives(80),
        https: arrives(443),
        acme_tls: &md.acme_tls_1,
        dns01: way.is_some() || md.cmd_dns_01.is_some(),
        names_records: way.is_some_and(takes_final_name),
    };
    means.possible(name).unwrap_or_default().into_iter().map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Ca, Md};

    #[test]
    fn ports_that_httpd_does_not_listen_to_are_no_means_unless_configured() {
        let md = Md { domains: vec!["a.test".into()], acme_tls_1: vec!["a.test".into()], ..Md::default() };
        let mut managed = Managed { md, ..Managed::default() };
        let known = |ports: &[u16]| Configuration {
            ports: ports.to_vec(),
            http_port: Some(80),
            https_port: Some(443),
            ..Configuration::default()
        };
        let of = |managed: &Managed, ports| types(managed, "a.test", Some(&known(ports))).join(" ");
        assert_eq!(of(&managed, &[80, 443]), "tls-alpn-01 http-01");
        assert_eq!(of(&managed, &[80]), "http-01");
        assert_eq!(of(&managed, &[]), "");
        assert_eq!(types(&managed, "a.test", None), ["tls-alpn-01", "http-01"]);
        managed.md.ca = Ca { challenges: vec!["http-01".into()], ..Ca::default() };
        assert_eq!(of(&managed, &[]), "http-01");
        let mapped = Configuration { http_port: None, ..known(&[80]) };
        assert_eq!(Port::of(80, Some(&mapped)), Port { local: None, is_configured: Some(false) });
    }
}
