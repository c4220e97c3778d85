// SPDX-License-Identifier: Apache-2.0
//! The facts that advice needs beside the plan, and questions about a domain that several kinds of advice ask.

use crate::config::planned::PlannedMd;
use crate::config::tree::{TlsSettings, Tree};
use crate::model::Md;
use crate::names;

/// Facts that the plan does not contain.
pub struct Context<'a> {
    pub tree: &'a Tree,
    /// Of all servers, as [`Tree::tls_settings`] gives them.
    pub tls: &'a [TlsSettings],
    /// Whether httpd has loaded a module, by the name of its source (`mod_ssl.c`).
    pub has_module: &'a dyn Fn(&str) -> bool,
    /// Another module hands certificates to mod_ssl, too.
    pub has_other_source: bool,
    /// Why a command, given by its line, cannot be started.
    pub command_fault: &'a dyn Fn(&str) -> Option<String>,
    /// The faults of a certificate file and its key file, used for this domain.
    pub file_faults: &'a dyn Fn(&Md, &str, &str) -> Vec<FileFault>,
    /// Whether there may be an account at the CA of this directory URL.
    pub has_account: &'a dyn Fn(&str) -> bool,
    /// Why the children of httpd cannot use the store.
    pub store_fault: Option<String>,
}

/// A fault of a file of `MDCertificateFile` or `MDCertificateKeyFile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFault {
    pub is_of_key: bool,
    /// mod_ssl will not start with it.
    pub is_fatal: bool,
    /// Follows the name of the file.
    pub text: String,
}

/// Whether certificates of a CA are going to be ordered for it here.
pub fn is_renewed(planned: &PlannedMd) -> bool {
    planned.md.not_renewed(!planned.hosts.is_empty()).is_none()
}

/// Whether no CA whose root browsers trust may issue for it: the public DNS does not have it, or an address
/// is not public.
pub(super) fn is_private(name: &str) -> bool {
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

/// The text about children that have no lock by which one of them renews. `error`: that of the system.
pub fn no_lock(error: &str) -> String {
    format!(
        "AH10062: the lock by which one child renews cannot be made, so no certificate is renewed: {error}. Raise the limit \
         of open files (ulimit -n, LimitNOFILE of the service), then restart httpd"
    )
}

/// The text about a child that cannot start the threads it works with beside httpd's own.
pub fn no_thread(error: &str) -> String {
    format!(
        "AH10062: this child cannot renew or look for new certificates: {error}. Raise the limit of threads (ulimit -u, \
         TasksMax of the service), then restart httpd. Meanwhile it tries again when it is connected to"
    )
}
