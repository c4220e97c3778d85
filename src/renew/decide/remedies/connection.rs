// SPDX-License-Identifier: Apache-2.0
//! Advice where the CA was not reached: DNS, TCP, TLS, proxies. By the kind of the error, never by its text.

use super::facts::Facts;
use crate::http::{self, TlsFault};
use libc::{EMFILE, ENFILE};

/// A certificate file or a proxy that cannot be used.
pub fn of_setup(error: &http::Error) -> String {
    match error {
        http::Error::Proxy => {
            "Correct MDHttpProxy (or http_proxy and https_proxy in the environment of httpd): 'http://HOST:PORT'.".into()
        }
        _ => {
            "Correct MDCACertificateFile or MDHttpProxyCACertificateFile: the file has to hold PEM certificates that httpd's \
             User can read."
                .into()
        }
    }
}

pub fn of_transport(url: &str, source: &http::Error, facts: &Facts<'_>) -> String {
    match source {
        http::Error::Tls(fault, _) => of_tls(url, *fault, facts),
        http::Error::Dns(_) if facts.has_proxy => {
            "Look up the host of MDHttpProxy on this machine: its DNS (/etc/resolv.conf) has no answer.".into()
        }
        http::Error::Dns(_) => {
            "Check the DNS of this machine (/etc/resolv.conf) and the spelling in MDCertificateAuthority: the CA's name cannot \
             be looked up."
                .into()
        }
        http::Error::Thread(..) => {
            "Raise the limit of threads (ulimit -u, TasksMax of the service, pids of the container): this machine has not \
             begun to ask the CA."
                .into()
        }
        http::Error::Other { status: EMFILE | ENFILE, .. } => {
            "Raise the limit of open files (ulimit -n, LimitNOFILE of the service): this machine has not begun to ask the CA."
                .into()
        }
        http::Error::TooLarge => format!(
            "Open {url} in a browser: what answers there sends far more than an ACME server does. Check \
             MDCertificateAuthority, and whether a proxy answers in the CA's place."
        ),
        http::Error::Invalid(_) | http::Error::Proxy => {
            "Check the URL in MDCertificateAuthority and the proxy in MDHttpProxy.".into()
        }
        _ if facts.has_proxy => format!(
            "Try 'curl -x PROXY {url}' on this machine with the proxy of MDHttpProxy: either it is not reached, or it does \
             not let this server through to the CA."
        ),
        http::Error::Timeout => format!(
            "Try 'curl {url}' on this machine: nothing has answered. A firewall may drop what it sends (then open the way \
             out to the CA's port, or configure MDHttpProxy), or its IPv6 may lead nowhere ('curl -4' works, 'curl -6' \
             does not)."
        ),
        http::Error::Refused => format!(
            "Try 'curl {url}' on this machine: nothing listens there, or a firewall refuses; check the port in \
             MDCertificateAuthority, or configure MDHttpProxy."
        ),
        _ => format!(
            "Try 'curl {url}' on this machine; where it works, the next try may, too. A firewall may have to let it out, \
             or you configure MDHttpProxy."
        ),
    }
}

fn of_tls(url: &str, fault: TlsFault, facts: &Facts<'_>) -> String {
    match fault {
        TlsFault::Time => {
            "Check date and time of this machine ('timedatectl'): by its clock the CA's certificate is not valid.".into()
        }
        TlsFault::Name => format!(
            "Check the spelling in MDCertificateAuthority, the DNS of this machine and /etc/hosts, and whether a proxy or \
             firewall breaks into TLS: another server answers at {url} than its name says."
        ),
        TlsFault::Trust => format!(
            "Update the machine's root certificates, or, where the CA is your own or a firewall breaks into TLS, name its root \
             with MDCACertificateFile: the certificate of {url} is not trusted here."
        ),
        TlsFault::Handshake => {
            let way = if facts.has_proxy { "the proxy of MDHttpProxy" } else { "a firewall or proxy" };
            format!(
                "Try 'curl -v {url}' on this machine: the server there does not speak TLS 1.2 or newer, {way} is in between, or \
                 MDCertificateAuthority has the wrong port."
            )
        }
    }
}
