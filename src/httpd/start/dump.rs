// SPDX-License-Identifier: Apache-2.0
//! `apachectl -t -D DUMP_MD` and `-D DUMP_MD_JSON`: the configuration with everything resolved, on standard
//! output. Changes nothing, and does nothing without being asked.

use super::advice::{self, Advice};
use super::servers::{collect, config_servers};
use crate::config::{
    self, Configuration, DumpedFinding, DumpedFleet, DumpedHost, Finding, Host, Plan, ServerConfig,
};
use crate::httpd::state::Server;
use crate::httpd::sys;
use std::path::Path;

/// Prints what was asked for.
pub fn dump(main: Server<'_>) {
    let is_json = sys::is_defined(c"DUMP_MD_JSON");
    if !is_json && !sys::is_defined(c"DUMP_MD") {
        return;
    }
    let configuration = configuration(main);
    let text = match is_json {
        true => format!("{}\n", configuration.to_json()),
        false => configuration.to_text(),
    };
    sys::print_on_stdout(&text);
}

/// As much of it as can be told, also where a start would fail.
fn configuration(main: Server<'_>) -> Configuration {
    let records = sys::servers(main);
    let servers = collect(main, &records);
    let mut ports = sys::listener_ports();
    ports.sort_unstable();
    ports.dedup();
    let (mut plan, errors) = config::draft(&config_servers(&servers), &ports, &|path: &Path| path.exists());
    let advice = advice::of(&plan, &servers);
    let hosts = hosts(&servers, &records, &advice);
    let (Ok(findings) | Err(findings)) = advice::list(&mut plan, advice, &servers, &records);
    let findings = if errors.is_empty() { findings } else { errors };
    gathered(plan, hosts, ports, &findings)
}

fn hosts(servers: &[(ServerConfig, Host)], records: &[Server<'_>], advice: &Advice) -> Vec<DumpedHost> {
    let host = |(index, ((_, host), record)): (usize, (&(ServerConfig, Host), &Server<'_>))| DumpedHost {
        host: host.clone(),
        address: if host.is_main { String::new() } else { record.address() },
        has_tls: advice.has_tls(index),
        has_own_certificate: advice.has_own_certificate(index),
    };
    servers.iter().zip(records).enumerate().map(host).collect()
}

fn dumped(finding: &Finding) -> DumpedFinding {
    DumpedFinding { code: finding.code.to_string(), text: finding.text.clone() }
}

fn gathered(plan: Plan, hosts: Vec<DumpedHost>, ports: Vec<u16>, findings: &[Finding]) -> Configuration {
    let (server_root, global) = (sys::server_root(), plan.global);
    Configuration {
        version: crate::VERSION.to_string(),
        store: server_root.join(&global.store_dir),
        server_root,
        // Without `User` there is none: httpd does not start then.
        user: sys::store_owner().map(|owner| (owner.uid, owner.gid)).filter(|(uid, _)| *uid != u32::MAX),
        mds: plan.mds,
        hosts,
        ports,
        http_port: global.port_map.http,
        https_port: global.port_map.https,
        is_live: global.live_activation,
        store_locks: global.store_locks,
        retry_delay: Some(global.retry_delay),
        retry_failover: Some(global.retry_failover),
        renew_parallel: Some(global.renew_parallel),
        dns: global.dns,
        fleet: global.fleet.as_ref().map(DumpedFleet::of),
        message_cmd: global.message_cmd,
        notify_cmd: global.notify_cmd,
        findings: findings.iter().map(dumped).collect(),
    }
}
