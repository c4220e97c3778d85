// SPDX-License-Identifier: Apache-2.0
//! The settings of all servers, from directives and from httpd, with findings on them for the log. Decides
//! nothing.

use crate::config::{self, Finding, Host, ServerConfig};
use crate::httpd::state::Server;
use crate::sync::lock;

/// Every server's directives and facts; the main server first.
pub fn collect(main: Server<'_>, records: &[Server<'_>]) -> Vec<(ServerConfig, Host)> {
    let main_conf = main.conf().map(std::ptr::from_ref);
    let own_conf = |server: &Server<'_>| match server.conf() {
        // A host without directives of ours points to the main server's configuration: it has none.
        Some(conf) if !server.is_main() && Some(std::ptr::from_ref(conf)) == main_conf => {
            ServerConfig::default()
        }
        Some(conf) => lock(&conf.config).clone(),
        None => ServerConfig::default(),
    };
    let host = |server: &Server<'_>| Host {
        server_name: server.name(),
        aliases: server.aliases(),
        is_main: server.is_main(),
        admin: server.admin(),
        defined_at: server.defined_at(),
        port: server.port(),
        ports: server.ports(),
    };
    records.iter().map(|server| (own_conf(server), host(server))).collect()
}

pub fn config_servers(servers: &[(ServerConfig, Host)]) -> Vec<config::Server<'_>> {
    servers.iter().map(|(config, host)| config::Server { config, host: host.clone() }).collect()
}

/// Writes findings to the log.
pub fn report(findings: impl IntoIterator<Item = Finding>) {
    for finding in findings {
        crate::log::write(finding.level, 0, format_args!("{}", finding.text));
    }
}
