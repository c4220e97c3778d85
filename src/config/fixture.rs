// SPDX-License-Identifier: Apache-2.0
//! Reads a configuration as httpd would, as far as the tests here need it: main server, virtual hosts,
//! sections. Line N of the text is `test.conf:N`. Compiled into tests/situations, too.

use super::tree::{Directive, Tree};
use super::{
    Args, Env, Error, Finding, Host, Plan, ROWS, Scope, Server, ServerConfig, close_section, plan,
    split_arguments,
};
use std::io;
use std::path::Path;

pub struct Site(Vec<(ServerConfig, Host)>, Vec<Directive>);

impl Site {
    pub fn read(text: &str) -> Result<Self, Error> {
        let main = Host { server_name: "main.test".into(), is_main: true, ..Host::default() };
        let mut all = vec![(ServerConfig::default(), main)];
        let mut current = 0;
        // Sections that are open, the outermost is the whole file.
        let mut open = vec![Directive::default()];
        for (line, number) in text.lines().map(str::trim).zip(1u32..).filter(|(line, _)| !line.is_empty()) {
            let (name, raw) = line.split_once(' ').unwrap_or((line, ""));
            let (server, host) = &mut all[current];
            if name.starts_with("</") {
                let section = open.pop().unwrap();
                open.last_mut().unwrap().inside.push(section);
            } else {
                let args = raw.trim_end_matches('>').into();
                let read = Directive {
                    name: name.into(),
                    args,
                    file: "test.conf".into(),
                    line: number,
                    inside: vec![],
                };
                match name.starts_with('<') {
                    true => open.push(read),
                    false => open.last_mut().unwrap().inside.push(read),
                }
            }
            match name {
                "<VirtualHost" => {
                    let ports = split_arguments(raw.trim_end_matches('>'));
                    let ports = ports.iter().map(|p| p.trim_start_matches("*:").parse().unwrap()).collect();
                    let defined_at = ("test.conf".to_string(), number);
                    let admin = all[0].1.admin.clone();
                    all.push((ServerConfig::default(), Host { ports, admin, defined_at, ..Host::default() }));
                    current = all.len() - 1;
                }
                "</VirtualHost>" => current = 0,
                "</MDomain>" => close_section(server)?,
                "ServerName" => host.server_name = raw.to_string(),
                "ServerAlias" => host.aliases.extend(split_arguments(raw)),
                "SSLEngine" | "SSLCertificateFile" => {}
                "ServerAdmin" => host.admin = Some(raw.to_string()),
                _ => directive(server, name, raw, number)?,
            }
        }
        Ok(Site(all, open.swap_remove(0).inside))
    }

    pub fn servers(&self) -> Vec<Server<'_>> {
        self.0.iter().map(|(config, host)| Server { config, host: host.clone() }).collect()
    }

    pub fn tree(&self) -> Tree {
        Tree::new(self.1.clone())
    }

    /// With listeners on 80 and 443, and every file but those called `nofile` there.
    pub fn plan(&self) -> Result<Plan, Vec<Finding>> {
        plan(&self.servers(), &[80, 443], &|path| !path.ends_with("nofile"))
    }
}

fn directive(server: &mut ServerConfig, name: &str, raw: &str, line: u32) -> Result<(), Error> {
    let read_file = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let env = Env {
        server_root: Path::new("/srv"),
        file: "test.conf",
        line,
        conditional: false,
        read_file: &read_file,
    };
    apply(&mut Scope::new(server, &env), name, raw)
}

/// Splits the line as the row's arguments want it.
pub fn apply(scope: &mut Scope<'_>, name: &str, raw: &str) -> Result<(), Error> {
    let row = ROWS
        .iter()
        .find(|row| row.name.to_str().unwrap().eq_ignore_ascii_case(name))
        .unwrap_or_else(|| panic!("no directive {name}"));
    let words = split_arguments(raw);
    match row.args {
        Args::Raw | Args::Section => row.apply(scope, &[raw]),
        _ => row.apply(scope, &words.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}
