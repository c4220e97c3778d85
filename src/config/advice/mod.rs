// SPDX-License-Identifier: Apache-2.0
//! What is wrong with a configuration that can be known before anything is renewed or served: told by
//! configtest and at each start, before mod_ssl can end it. Errors are only what ends the start in any case.
//! Pure: files, other modules and the store are asked through [`Surroundings`].

mod authorities;
pub mod certificates;
mod files;
mod hosts;
mod spelling;

use super::check::{named, together};
use super::plan::{Finding, Plan, PlannedMd, Server};
use super::tree::{Place, TlsSettings, Tree};
use crate::log::Level;
use crate::model::Md;
use crate::names;

/// More than these are not told one by one.
const TOLD: usize = 5;
/// More than these are not even named.
const NAMED: usize = 10;

/// What the plan does not say.
pub struct Surroundings<'a> {
    pub tree: &'a Tree,
    /// Of all servers, as [`Tree::tls_settings`] gives them.
    pub tls: &'a [TlsSettings],
    /// Whether httpd has loaded a module, by the name of its source (`mod_ssl.c`).
    pub has_module: &'a dyn Fn(&str) -> bool,
    /// Another module hands certificates to mod_ssl, too.
    pub has_other_source: bool,
    /// Why a command, given by its line, cannot be started.
    pub command_fault: &'a dyn Fn(&str) -> Option<String>,
    /// What is wrong with a certificate file and its key file, as those of this domain.
    pub file_faults: &'a dyn Fn(&Md, &str, &str) -> Vec<FileFault>,
    /// Whether there may be an account at the CA of this directory URL.
    pub has_account: &'a dyn Fn(&str) -> bool,
    /// Why the children of httpd cannot use the store.
    pub store_fault: Option<String>,
}

/// What is wrong with a file of `MDCertificateFile` or `MDCertificateKeyFile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFault {
    pub is_of_key: bool,
    /// mod_ssl will not start with it.
    pub is_fatal: bool,
    /// Follows the name of the file.
    pub text: String,
}

/// The whole list, errors first.
pub fn advice(plan: &Plan, servers: &[Server<'_>], surroundings: &Surroundings<'_>) -> Vec<Finding> {
    let mut findings = hosts::advice(plan, servers, surroundings);
    findings.extend(files::advice(plan, surroundings));
    findings.extend(authorities::advice(plan, surroundings));
    findings.sort_by_key(|finding| finding.level);
    findings
}

/// One of several of a kind.
pub struct Item<'a> {
    pub level: Level,
    /// Of the domain or host, with its place.
    pub name: String,
    /// Made for the few that are told alone.
    pub text: Box<dyn Fn() -> String + 'a>,
}

/// A few of a kind are told as they are, the names of some more follow. `number`: of the log, or nothing;
/// `kind`: what all have in common.
pub fn gathered(number: &str, kind: &str, items: Vec<Item<'_>>) -> Vec<Finding> {
    let more = items.get(TOLD..).unwrap_or_default();
    let rest = more.first().map(|first| {
        let named: Vec<_> = more.iter().take(NAMED).map(|item| item.name.as_str()).collect();
        let unnamed = match more.len().saturating_sub(NAMED) {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        Finding::new(
            first.level,
            format!("{number}{} more {kind}: {}{unnamed}", more.len(), named.join(", ")),
        )
    });
    let told = items.iter().take(TOLD).map(|item| Finding::new(item.level, (item.text)()));
    told.chain(rest).collect()
}

/// What is missing where nothing runs at intervals. `names`: of the domains that are not renewed without it.
pub fn no_watchdog<'m>(mut names: impl Iterator<Item = &'m str>) -> String {
    let first = names
        .next()
        .map(|name| format!(", so no certificate of {} is renewed", named(name, names.count() + 1)));
    format!(
        "AH10061: mod_watchdog is required to renew certificates and to staple, but it is not loaded{}. Add it: LoadModule \
         watchdog_module modules/mod_watchdog.so",
        first.unwrap_or_default()
    )
}

/// `file:line`
pub fn at(place: &Place) -> String {
    format!("{}:{}", place.0, place.1)
}

/// Whether certificates of a CA are going to be ordered for it here.
pub fn is_renewed(planned: &PlannedMd) -> bool {
    planned.md.not_renewed(!planned.hosts.is_empty()).is_none()
}

/// Whether no CA whose root browsers trust may issue for it: the public DNS does not have it, or an address
/// is not public.
fn is_private(name: &str) -> bool {
    const PRIVATE: [&str; 9] =
        ["test", "example", "invalid", "localhost", "local", "internal", "lan", "home", "corp"];
    match name.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(ip)) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        Ok(std::net::IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        Err(_) => match name.rsplit_once('.') {
            _ if names::is_address(name) => false,
            Some((_, last)) => PRIVATE.contains(&last),
            None => true,
        },
    }
}

#[cfg(test)]
mod tests;
