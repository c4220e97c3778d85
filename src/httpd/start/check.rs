// SPDX-License-Identifier: Apache-2.0
//! `apachectl configtest`, and the reports of a start before mod_ssl begins. Changes nothing.

use super::refusal::StartFailed;
use super::servers::{collect, config_servers, report};
use super::{advice, dump};
use crate::config::{self, Finding, Host, Plan, ServerConfig};
use crate::httpd::state::Server;
use crate::httpd::sys;
use std::path::Path;

/// `apachectl configtest`: prints all findings that can be known on the terminal. Fails only where the start
/// would.
pub fn check(main: Server<'_>) -> Result<(), StartFailed> {
    if !sys::is_configuration_test() {
        return Ok(());
    }
    let records = sys::servers(main);
    let servers = collect(main, &records);
    let print =
        |findings: Vec<Finding>| findings.iter().for_each(|finding| sys::print_to_terminal(&finding.text));
    let list = make_plan(&servers).and_then(|mut plan| {
        let advice = advice::of(&plan, &servers);
        advice::list(&mut plan, advice, &servers, &records)
    });
    list.map(print).map_err(|findings| {
        print(findings);
        // httpd ends here, before it asks for dumps.
        dump::dump(main);
        StartFailed
    })
}

/// The plan of all servers. `Err`: the start must fail, and this is why.
pub fn make_plan(servers: &[(ServerConfig, Host)]) -> Result<Plan, Vec<Finding>> {
    config::plan(&config_servers(servers), &sys::listener_ports(), &|path: &Path| path.exists())
}

/// Reports the findings available before mod_ssl begins. Where mod_ssl is going to end the start, reports the
/// complete list already in the first pass.
pub fn advise(plan: &Plan, servers: &[(ServerConfig, Host)], records: &[Server<'_>], is_check: bool) {
    let advice = advice::of(plan, servers);
    if advice.ends_start() {
        let (Ok(findings) | Err(findings)) = advice::list(&mut plan.clone(), advice, servers, records);
        report(findings);
    } else if !is_check {
        report(advice.findings);
    }
}
