// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever an admin, or a program, writes into httpd's configuration: nothing panics, the
//! names of managed domains are in normal form, and md.json says what was configured.

use mod_md::config::tree::{Directive, Tree};
use mod_md::config::{
    Args, Env, Host, ROWS, Scope, Server, ServerConfig, close_section, draft, split_arguments,
};
use mod_md::model::Md;
use mod_md::names;
use std::io;
use std::path::Path;

/// Lines as httpd has them, then one of `%%`, then the content of every file that they name.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (lines, content) = text.split_once("\n%%\n").unwrap_or((&text, ""));
    let read_file = |path: &Path| match path.ends_with("nofile") {
        true => Err(io::ErrorKind::NotFound.into()),
        false => Ok(content.as_bytes().to_vec()),
    };
    let main = Host { server_name: "main.test".into(), is_main: true, ..Host::default() };
    let mut servers = vec![(ServerConfig::default(), main)];
    let (mut current, mut tree) = (0, Vec::new());
    for (line, number) in lines.lines().map(str::trim).zip(1..).take(200) {
        let (name, raw) = line.split_once(' ').unwrap_or((line, ""));
        let raw = raw.trim_end_matches('>');
        tree.push(Directive { name: name.into(), args: raw.into(), line: number, ..Directive::default() });
        let (server, host) = &mut servers[current];
        match name {
            "<VirtualHost" => {
                let ports = split_arguments(raw);
                let ports =
                    ports.iter().filter_map(|port| port.trim_start_matches("*:").parse().ok()).collect();
                let host = Host { ports, defined_at: (String::new(), number), ..Host::default() };
                servers.push((ServerConfig::default(), host));
                current = servers.len() - 1;
            }
            "</VirtualHost>" => current = 0,
            "</MDomain>" | "</MDomainSet>" => drop(close_section(server)),
            "ServerName" => host.server_name = raw.to_string(),
            "ServerAlias" => host.aliases.extend(split_arguments(raw)),
            "ServerAdmin" => host.admin = Some(raw.to_string()),
            _ => {
                let env = Env {
                    server_root: Path::new("/srv"),
                    file: "fuzz.conf",
                    line: number,
                    conditional: raw.len() % 5 == 4,
                    read_file: &read_file,
                };
                apply(&mut Scope::new(server, &env), name, raw);
            }
        }
    }
    let servers: Vec<Server<'_>> =
        servers.iter().map(|(config, host)| Server { config, host: host.clone() }).collect();
    plan(&servers, &Tree::new(tree));
}

/// As many arguments as httpd lets pass.
fn apply(scope: &mut Scope<'_>, name: &str, raw: &str) {
    let Some(row) = ROWS.iter().find(|row| row.name.to_str().unwrap().eq_ignore_ascii_case(name)) else {
        return;
    };
    let words = split_arguments(raw);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match (row.args, words.len()) {
        (Args::Raw | Args::Section, _) => row.apply(scope, &[raw]),
        (Args::Many, _) | (Args::One | Args::OneOrTwo, 1) | (Args::Two | Args::OneOrTwo, 2) => {
            row.apply(scope, &words)
        }
        _ => return,
    };
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
    }
}

fn plan(servers: &[Server<'_>], tree: &Tree) {
    let (plan, errors) = draft(servers, &[80, 443], &|path| !path.ends_with("nofile"));
    let _ = tree.tls_settings(servers);
    assert!(errors.iter().chain(&plan.findings).all(|finding| !finding.text.is_empty()));
    for planned in &plan.mds {
        let md = &planned.md;
        for name in &md.domains {
            assert_eq!(names::normalize(name).as_ref(), Ok(name));
        }
        assert_eq!(md.domains.first(), Some(&md.name));
        assert!(planned.hosts.iter().all(|host| *host < servers.len()));
        let written = md.to_json();
        let read = Md::from_json(&written).unwrap();
        assert_eq!(read.to_json(), written);
    }
    let again = draft(servers, &[80, 443], &|path| !path.ends_with("nofile")).0;
    assert_eq!(again, plan);
}
