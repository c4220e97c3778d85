// SPDX-License-Identifier: Apache-2.0
//! A command of the admin: a script that records its arguments and behaves as a test requires.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{Authority, Lab};

pub struct Command {
    /// For a directive.
    pub line: String,
    calls: PathBuf,
}

impl Command {
    /// `script` is for bash, and its exit status that of the command.
    pub fn new(lab: &Lab, name: &str, script: &str) -> Command {
        let (file, calls) = (lab.path(format!("{name}.sh")), lab.path(format!("{name}.calls")));
        fs::write(&calls, "").unwrap();
        // Called by who starts httpd and by its children.
        fs::set_permissions(&calls, Permissions::from_mode(0o666)).unwrap();
        fs::write(&file, format!("#!/bin/bash\necho \"$@\" >> {}\n{script}\n", calls.display())).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
        Command { line: file.display().to_string(), calls }
    }

    /// For `MDChallengeDns01`: changes the DNS that this CA asks.
    pub fn dns(lab: &Lab, authority: &Authority) -> Command {
        Command::dns_at(lab, authority.dns_management)
    }

    /// For `MDChallengeDns01`: changes the DNS that is managed at this port.
    pub fn dns_at(lab: &Lab, management: u16) -> Command {
        let script = format!(
            r#"case $1 in
                setup) path=set-txt; body='{{"host":"_acme-challenge.'$2'.","value":"'$3'"}}';;
                teardown) path=clear-txt; body='{{"host":"_acme-challenge.'$2'."}}';;
            esac
            exec 3<>/dev/tcp/127.0.0.1/{} || exit 1
            printf 'POST /%s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s' "$path" "${{#body}}" "$body" >&3
            read -r version status rest <&3
            [ "$status" = 200 ]"#,
            management
        );
        Command::new(lab, "dns", &script)
    }

    /// The arguments of each call so far.
    pub fn calls(&self) -> Vec<String> {
        fs::read_to_string(&self.calls).unwrap().lines().map(str::to_string).collect()
    }
}
