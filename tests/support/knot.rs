// SPDX-License-Identifier: Apache-2.0
//! Knot DNS: primary of zones.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::Lab;
use super::dns::{Zone, folder, start};
use super::process::Process;

pub struct Knot {
    pub address: SocketAddr,
    dir: PathBuf,
    /// The path of a socket has 108 bytes at most, which the lab's folder may exceed.
    control: PathBuf,
    _process: Process,
}

impl Knot {
    /// The primary server of these zones, which their keys may update.
    pub fn primary(lab: &Lab, zones: &[Zone]) -> Knot {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, lab.port()));
        let dir = folder(lab, "knot", address.port());
        let (mut keys, mut acls, mut list) = (String::new(), String::new(), String::new());
        for zone in zones {
            let file = dir.join(format!("{}.zone", zone.name));
            fs::write(&file, zone.text()).unwrap();
            let mut acl = String::new();
            if let Some(key) = &zone.key {
                if !keys.contains(&key.knot()) {
                    keys += &key.knot();
                }
                let id = format!("update-{}", zone.name);
                writeln!(
                    acls,
                    "  - id: {id}\n    key: {}\n    action: update\n    update-type: TXT",
                    key.name
                )
                .unwrap();
                acl = format!("    acl: [{id}, transfer]\n");
            }
            writeln!(list, "  - domain: {}\n    file: {}\n{acl}", zone.name, file.display()).unwrap();
        }
        acls += "  - id: transfer\n    address: 127.0.0.0/8\n    action: transfer\n";
        let keys = if keys.is_empty() { keys } else { format!("key:\n{keys}") };
        Knot::start(dir, address, &format!("{keys}acl:\n{acls}zone:\n{list}"))
    }

    /// A server with these sections of its own, beside those that say where it listens. Files of zones are
    /// relative to the folder that `sections` is given.
    pub fn with(lab: &Lab, sections: impl FnOnce(&Path) -> String) -> Knot {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, lab.port()));
        let dir = folder(lab, "knot", address.port());
        let sections = sections(&dir);
        Knot::start(dir, address, &sections)
    }

    fn start(dir: PathBuf, address: SocketAddr, sections: &str) -> Knot {
        fs::create_dir_all(dir.join("db")).unwrap();
        let place = dir.display();
        let control = std::env::temp_dir().join(format!("knot-{}.sock", address.port()));
        let config = format!(
            "server:\n    rundir: {place}\n    listen: {}@{}\n    udp-workers: 1\n    tcp-workers: 1\n    \
             background-workers: 1\ncontrol:\n    listen: {}\nlog:\n  - target: stderr\n    any: info\n\
             database:\n    storage: {place}/db\n\
             template:\n  - id: default\n    storage: {place}\n{sections}",
            address.ip(),
            address.port(),
            control.display()
        );
        let file = dir.join("knot.conf");
        fs::write(&file, config).unwrap();
        let process = start("knotd", &["-c", file.to_str().unwrap()], &dir, address);
        Knot { address, dir, control, _process: process }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("server.log")).unwrap_or_default()
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.control);
    }
}
