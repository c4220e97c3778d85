// SPDX-License-Identifier: Apache-2.0
//! unbound: a resolver that knows nothing of the internet, only zones of servers of the lab.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::Lab;
use super::dns::{folder, start};
use super::process::Process;

pub struct Unbound {
    pub address: SocketAddr,
    dir: PathBuf,
    _process: Process,
}

impl Unbound {
    /// Resolves each of these zones by asking that server; refuses all else. Negative answers are kept for a
    /// second at most.
    pub fn start(lab: &Lab, zones: &[(&str, SocketAddr)]) -> Unbound {
        Unbound::start_with(lab, zones, "")
    }

    /// One that takes nothing that is not right: it hides what it asks for from servers that need not know,
    /// mixes upper and lower case, and asks again whether delegations hold.
    pub fn strict(lab: &Lab, zones: &[(&str, SocketAddr)]) -> Unbound {
        let settings = "  qname-minimisation: yes\n  qname-minimisation-strict: yes\n  use-caps-for-id: yes\n  \
                        harden-referral-path: yes\n  harden-below-nxdomain: yes\n  harden-large-queries: yes\n";
        Unbound::start_with(lab, zones, settings)
    }

    /// At another address of this machine: port 53 needs root.
    pub fn at(lab: &Lab, address: SocketAddr, zones: &[(&str, SocketAddr)]) -> Unbound {
        Unbound::listening(lab, address, zones, "")
    }

    fn start_with(lab: &Lab, zones: &[(&str, SocketAddr)], settings: &str) -> Unbound {
        Unbound::listening(lab, (Ipv4Addr::LOCALHOST, lab.port()).into(), zones, settings)
    }

    fn listening(lab: &Lab, address: SocketAddr, zones: &[(&str, SocketAddr)], settings: &str) -> Unbound {
        let dir = folder(lab, "unbound", address.port());
        let place = dir.display();
        let mut config = format!(
            "server:\n  interface: {}\n  port: {}\n  do-daemonize: no\n  use-syslog: no\n  logfile: \"\"\n  \
             chroot: \"\"\n  username: \"\"\n  directory: \"{place}\"\n  pidfile: \"\"\n  do-ip6: no\n  \
             module-config: \"iterator\"\n  do-not-query-localhost: no\n  cache-max-negative-ttl: 1\n  \
             cache-max-ttl: 1\n  num-threads: 1\n  so-reuseport: no\n  \
             local-zone: \".\" always_refuse\n  local-zone: \"test.\" nodefault\n",
            address.ip(),
            address.port()
        );
        config += settings;
        zones.iter().for_each(|(zone, _)| writeln!(config, "  local-zone: \"{zone}\" transparent").unwrap());
        config += "remote-control:\n  control-enable: no\n";
        for (zone, server) in zones {
            let server = format!("{}@{}", server.ip(), server.port());
            writeln!(config, "stub-zone:\n  name: \"{zone}\"\n  stub-addr: {server}").unwrap();
        }
        let file = dir.join("unbound.conf");
        fs::write(&file, config).unwrap();
        let process = start("unbound", &["-d", "-p", "-c", file.to_str().unwrap()], &dir, address);
        Unbound { address, dir, _process: process }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("server.log")).unwrap_or_default()
    }
}
