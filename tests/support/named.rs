// SPDX-License-Identifier: Apache-2.0
//! BIND 9: primary and secondary of zones.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::Lab;
use super::dns::{Zone, folder, start};
use super::process::{Process, signal};

pub struct Named {
    pub address: SocketAddr,
    dir: PathBuf,
    process: Process,
}

impl Named {
    /// The primary server of these zones, which their keys may update.
    pub fn primary(lab: &Lab, zones: &[Zone]) -> Named {
        Named::primary_at(lab, (Ipv4Addr::LOCALHOST, lab.port()).into(), zones)
    }

    /// At another address of this machine: port 53 needs root.
    pub fn primary_at(lab: &Lab, address: SocketAddr, zones: &[Zone]) -> Named {
        let dir = folder(lab, "named", address.port());
        let mut config = String::new();
        let mut keys: Vec<_> = zones.iter().filter_map(|zone| zone.key.clone()).collect();
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        keys.dedup_by(|a, b| a.name == b.name);
        keys.iter().for_each(|key| config += &key.bind());
        for zone in zones {
            let file = dir.join(format!("{}.zone", zone.name));
            fs::write(&file, zone.text()).unwrap();
            let grant = zone
                .key
                .as_ref()
                .map_or(String::new(), |key| format!("update-policy {{ grant {} zonesub TXT; }};", key.name));
            writeln!(
                config,
                "zone \"{}\" {{ type primary; file \"{}\"; notify no; {grant} }};",
                zone.name,
                file.display()
            )
            .unwrap();
        }
        Named::start(dir, address, &config)
    }

    /// A secondary server of these zones, which asks `primary` again when their SOA says so.
    pub fn secondary(lab: &Lab, zones: &[&str], primary: SocketAddr) -> Named {
        Named::secondary_at(lab, (Ipv4Addr::LOCALHOST, lab.port()).into(), zones, primary)
    }

    pub fn secondary_at(lab: &Lab, address: SocketAddr, zones: &[&str], primary: SocketAddr) -> Named {
        let dir = folder(lab, "named", address.port());
        let config = zones.iter().fold(String::new(), |config, zone| {
            let primary = format!("{} port {}", primary.ip(), primary.port());
            config
                + &format!(
                    "zone \"{zone}\" {{ type secondary; primaries {{ {primary}; }}; min-refresh-time 1; \
                     notify no; }};\n"
                )
        });
        Named::start(dir, address, &config)
    }

    /// A server with these statements of its own, beside those that say where it listens.
    pub fn with(lab: &Lab, statements: &str) -> Named {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, lab.port()));
        Named::start(folder(lab, "named", address.port()), address, statements)
    }

    fn start(dir: PathBuf, address: SocketAddr, zones: &str) -> Named {
        let config = dir.join("named.conf");
        let listen = format!("port {} {{ {}; }}", address.port(), address.ip());
        let listen = if address.is_ipv4() {
            format!("listen-on {listen}; listen-on-v6 {{ none; }};")
        } else {
            format!("listen-on {{ none; }}; listen-on-v6 {listen};")
        };
        let options = format!(
            "options {{ directory \"{}\"; {listen} recursion no; dnssec-validation no; pid-file none; \
             session-keyfile none; empty-zones-enable no; allow-transfer {{ any; }}; }};\ncontrols {{ }};\n",
            dir.display()
        );
        fs::write(&config, options + zones).unwrap();
        let args = ["-g", "-n", "1", "-c", config.to_str().unwrap()];
        let process = start("named", &args, &dir, address);
        Named { address, dir, process }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("server.log")).unwrap_or_default()
    }

    /// Has it read a zone anew that no key may update.
    pub fn reload(&self, zone: &Zone) {
        fs::write(self.dir.join(format!("{}.zone", zone.name)), zone.text()).unwrap();
        signal(self.process.pid(), "HUP");
    }

    /// Freezes it: questions arrive, nothing is answered.
    pub fn hold(&self) {
        signal(self.process.pid(), "STOP");
    }

    pub fn go_on(&self) {
        signal(self.process.pid(), "CONT");
    }
}
