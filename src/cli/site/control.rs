// SPDX-License-Identifier: Apache-2.0
//! Asks httpd for its configuration, by its control program: `apachectl -t -D DUMP_MD_JSON`. Where that prints
//! none, as the C module does not, for the folders that the store may be in. No shell is involved; what is
//! printed is bounded, and parsed strictly.

use crate::cli::console::call::{Call, Failure};
use crate::config::Configuration;
use crate::exec;
use std::path::PathBuf;
use std::time::Duration;

/// Tried in this order. The one of Fedora takes no arguments, httpd itself does; on Debian it is the reverse.
const PROGRAMS: [&str; 6] =
    ["apachectl", "apache2ctl", "httpd", "/usr/sbin/apachectl", "/usr/sbin/apache2ctl", "/usr/sbin/httpd"];

/// A configuration of some ten thousand domains takes seconds.
const LIMIT: Duration = Duration::from_secs(60);
/// Some kilobytes for each of ten thousand domains and their hosts.
const ROOM: usize = 64 * 1024 * 1024;

/// The control programs to ask.
pub struct Control {
    commands: Vec<String>,
    /// The caller has named it: that it cannot be run is an error.
    is_named: bool,
}

/// Folders that httpd names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Folders {
    pub server_root: Option<PathBuf>,
    /// `MDStoreDir`, which mod_info alone prints.
    pub store_dir: Option<PathBuf>,
    /// `PidFile`.
    pub pid_file: Option<PathBuf>,
}

impl Control {
    pub fn of(call: &Call) -> Self {
        let of_environment = || std::env::var("MD_HTTPD").ok().filter(|line| !line.trim().is_empty());
        match call.options.httpd.clone().or_else(of_environment) {
            Some(line) => Control { commands: vec![line], is_named: true },
            None => Control { commands: PROGRAMS.map(String::from).to_vec(), is_named: false },
        }
    }

    /// The configuration that httpd prints; `None` where no module of ours is asked.
    pub fn configuration(&self, call: &Call) -> Result<Option<Configuration>, Failure> {
        for command in &self.commands {
            let Some(printed) = self.ask(call, command, &["-t", "-D", "DUMP_MD_JSON"])? else { continue };
            let document = serde_json::from_slice(&printed.stdout);
            let read = document.ok().map(|document| Configuration::from_json(&document));
            match read {
                Some(Ok(configuration)) => return Ok(Some(configuration)),
                Some(Err(error)) => note(call, &format!("{command} -t -D DUMP_MD_JSON: {error}")),
                None => {
                    let said =
                        printed.stderr.lines().next().unwrap_or("it prints no configuration").to_string();
                    note(call, &format!("{command} -t -D DUMP_MD_JSON: {said}"));
                }
            }
        }
        Ok(None)
    }

    /// What any httpd tells of folders.
    pub fn folders(&self, call: &Call) -> Result<Folders, Failure> {
        for command in &self.commands {
            let mut text = String::new();
            for arguments in [&["-t", "-D", "DUMP_RUN_CFG", "-D", "DUMP_CONFIG"][..], &["-V"]] {
                let printed = self.ask(call, command, arguments)?;
                text.extend(printed.map(|printed| String::from_utf8_lossy(&printed.stdout).into_owned()));
                text.push('\n');
            }
            let folders = parse(&text);
            if folders.server_root.is_some() {
                return Ok(folders);
            }
        }
        Ok(Folders::default())
    }

    /// The file in which a running httpd has its process id.
    pub fn pid_file(&self, call: &Call) -> Result<Option<PathBuf>, Failure> {
        for command in &self.commands {
            let printed = self.ask(call, command, &["-t", "-D", "DUMP_RUN_CFG"])?;
            let text = printed.map(|printed| String::from_utf8_lossy(&printed.stdout).into_owned());
            if let Some(file) = text.and_then(|text| parse(&text).pid_file) {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Whether the caller has named it.
    pub fn is_named(&self) -> bool {
        self.is_named
    }

    /// What the first one that can be run prints, and its exit status.
    pub fn first(&self, call: &Call, arguments: &[&str]) -> Result<Option<exec::Printed>, Failure> {
        for command in &self.commands {
            if let Some(printed) = self.ask(call, command, arguments)? {
                return Ok(Some(printed));
            }
        }
        Ok(None)
    }

    fn ask(&self, call: &Call, command: &str, arguments: &[&str]) -> Result<Option<exec::Printed>, Failure> {
        match exec::ask(command, arguments, ROOM, LIMIT, &*call.clock) {
            Ok(printed) => Ok(Some(printed)),
            Err(error) if self.is_named => Err(Failure::new(error.to_string())
                .advice("Name httpd's control program by --httpd COMMAND or MD_HTTPD, as in 'apachectl'.")),
            Err(error) => {
                let is_missing = matches!(&error, exec::Error::Start { source, .. }
                    if source.kind() == std::io::ErrorKind::NotFound);
                if !is_missing {
                    note(call, &error.to_string());
                }
                Ok(None)
            }
        }
    }
}

/// For those who look into why.
fn note(call: &Call, text: &str) {
    if call.options.verbosity > 0 {
        call.complain(text);
    }
}

/// `ServerRoot: "/etc/httpd"` of DUMP_RUN_CFG or ` -D HTTPD_ROOT="/etc/httpd"` of `-V`, the first wins, and
/// mod_info's `MDStoreDir x`.
fn parse(text: &str) -> Folders {
    let value = |line: &str| exec::split(line).into_iter().next().filter(|word| !word.is_empty());
    let after = |prefix: &str| {
        let found = text.lines().find_map(|line| line.trim_start().strip_prefix(prefix));
        found.and_then(value).map(PathBuf::from)
    };
    let server_root = after("ServerRoot: ").or_else(|| after("-D HTTPD_ROOT="));
    Folders {
        server_root: server_root.filter(|root| root.is_absolute()),
        store_dir: after("MDStoreDir ").or_else(|| after("MDStoreDir\t")),
        pid_file: after("PidFile: ").filter(|file| file.is_absolute()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_from_what_httpd_prints() {
        let version = "Server version: Apache/2.4.68\n -D HTTPD_ROOT=\"/etc/apache2\"\n -D SUEXEC_BIN=\"/x\"";
        let folders = |root: &str, store: Option<&str>| Folders {
            server_root: Some(root.into()),
            store_dir: store.map(PathBuf::from),
            pid_file: None,
        };
        for (text, expected) in [
            (version.to_string(), folders("/etc/apache2", None)),
            (
                format!("ServerRoot: \"/srv/a b\"\nMain DocumentRoot: \"/x\"\n{version}"),
                folders("/srv/a b", None),
            ),
            (
                format!("# In file: /etc/x.conf\n#    3:\n  MDStoreDir \"state/md\"\n{version}"),
                folders("/etc/apache2", Some("state/md")),
            ),
            ("-D HTTPD_ROOT=\"\"".to_string(), Folders::default()),
            ("ServerRoot: \"x\"".to_string(), Folders::default()),
            (
                "PidFile: \"/run/a b.pid\"".to_string(),
                Folders { pid_file: Some("/run/a b.pid".into()), ..Folders::default() },
            ),
            (String::new(), Folders::default()),
        ] {
            assert_eq!(parse(&text), expected, "{text}");
        }
    }
}
