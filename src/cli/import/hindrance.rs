// SPDX-License-Identifier: Apache-2.0
//! What stands in the way of a move: renewals of the other client that still run by themselves, and lines of
//! httpd's configuration that name files of its tree. Only looks; what to do is the administrator's.

use crate::cli::site::Site;
use crate::store::outside::Tree;
use crate::store::read_admin_file;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Files of crontabs that are looked at.
const CRONTABS_MAX: usize = 1000;
const CERTIFICATE_DIRECTIVES: [&str; 3] =
    ["sslcertificatefile", "sslcertificatekeyfile", "sslcertificatechainfile"];

/// The other client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Certbot,
    AcmeSh,
    Lego,
    Files,
}

impl Client {
    pub const ALL: [(&'static str, Client); 4] = [
        ("certbot", Client::Certbot),
        ("acme.sh", Client::AcmeSh),
        ("lego", Client::Lego),
        ("files", Client::Files),
    ];

    pub fn token(self) -> &'static str {
        Client::ALL.iter().find(|(_, client)| *client == self).map_or("files", |(token, _)| token)
    }
}

#[derive(Debug, PartialEq)]
pub struct Hindrance {
    pub what: String,
    pub remedy: String,
}

impl Hindrance {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Hindrance { what: what.into(), remedy: remedy.into() }
    }

    pub fn to_json(&self) -> Value {
        json!({"what": self.what, "remedy": self.remedy})
    }
}

/// All of them. `exposed`: keys in the tree that others can read.
pub fn find(client: Client, tree: &Path, site: &Site, exposed: &[String]) -> Vec<Hindrance> {
    let mut all = scheduled(client, Path::new("/"));
    all.extend(of_configuration(tree, site));
    all.extend(exposed.iter().map(|file| {
        Hindrance::new(
            format!("users beside its owner can read the private key {}", tree.join(file).display()),
            "Import by names alone (--new-key), so that the key is replaced; or: chmod go= FILE, where nobody has used that.",
        )
    }));
    all
}

/// Renewals of the client that run by themselves, below this root of the file system.
fn scheduled(client: Client, root: &Path) -> Vec<Hindrance> {
    let (timers, remedy): (&[&str], _) = match client {
        Client::Certbot => (
            &["certbot.timer", "certbot-renew.timer", "snap.certbot.renew.timer"],
            "Once httpd serves the imported certificates: certbot delete --cert-name NAME for each of them, or \
             disable this where nothing else is renewed by it.",
        ),
        Client::AcmeSh => (
            &["acme.sh.timer", "acmesh.timer"],
            "Once httpd serves the imported certificates: acme.sh --remove -d NAME for each of them, or acme.sh \
             --uninstall-cronjob.",
        ),
        Client::Lego => {
            (&["lego.timer"], "Once httpd serves the imported certificates, remove the renewal of them.")
        }
        Client::Files => return Vec::new(),
    };
    let mut found = Vec::new();
    let wants = "etc/systemd/system/timers.target.wants";
    if let Ok(folder) = Tree::open(&root.join(wants)) {
        let enabled = timers.iter().filter(|timer| folder.link(timer).is_some());
        found.extend(enabled.map(|timer| {
            Hindrance::new(format!("{} is renewed by the systemd timer {timer}", client.token()), remedy)
        }));
    }
    let folders =
        ["etc/cron.d", "etc/cron.daily", "etc/cron.weekly", "var/spool/cron/crontabs", "var/spool/cron"];
    for folder in folders {
        let Ok(tree) = Tree::open(&root.join(folder)) else { continue };
        for (file, _) in tree.entries().unwrap_or_default().into_iter().take(CRONTABS_MAX) {
            let Ok(Some(content)) = tree.read(&file) else { continue };
            if calls(&String::from_utf8_lossy(&content.content), client.token()) {
                let file = tree.path().join(file);
                found.push(Hindrance::new(
                    format!("{} is called by {}", client.token(), file.display()),
                    remedy,
                ));
            }
        }
    }
    found
}

/// Whether a line that is no comment calls a program of this name.
fn calls(crontab: &str, program: &str) -> bool {
    let lines = crontab.lines().filter(|line| !line.trim_start().starts_with('#'));
    let is_word = |word: &str| word.trim_matches(['"', '\'', ';']).rsplit('/').next() == Some(program);
    let mut words = lines.flat_map(str::split_whitespace);
    words.any(is_word)
}

fn of_configuration(tree: &Path, site: &Site) -> Vec<Hindrance> {
    let Some(configuration) = &site.configuration else { return Vec::new() };
    let mut found = Vec::new();
    for planned in &configuration.mds {
        let files = planned.md.cert_files.iter().chain(&planned.md.pkey_files);
        if files.map(Path::new).any(|file| file.starts_with(tree)) {
            found.push(Hindrance::new(
                format!("{} is served from files of {} (MDCertificateFile)", planned.md.name, tree.display()),
                "Remove MDCertificateFile and MDCertificateKeyFile, then import again.",
            ));
        }
    }
    let files: BTreeSet<&str> =
        configuration.hosts.iter().map(|dumped| dumped.host.defined_at.0.as_str()).collect();
    for file in files.into_iter().filter(|file| !file.is_empty()) {
        let Ok(content) = read_admin_file(Path::new(file)) else { continue };
        for (number, directive) in lines_into(&String::from_utf8_lossy(&content), tree) {
            found.push(Hindrance::new(
                format!("{file}:{number}: {directive} names a file in {}", tree.display()),
                "Remove the line: hosts of managed domains get their certificates from mod_md.",
            ));
        }
    }
    found
}

/// Lines of a configuration that name a certificate file in the tree: their numbers and directives.
fn lines_into(text: &str, tree: &Path) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        let (Some(directive), Some(path)) = (words.next(), words.next()) else { continue };
        let is_one = CERTIFICATE_DIRECTIVES.iter().any(|known| directive.eq_ignore_ascii_case(known));
        if is_one && Path::new(path.trim_matches(['"', '\''])).starts_with(tree) {
            found.push((at + 1, directive.to_string()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn renewals_that_still_run_are_found() {
        let root = tempfile::tempdir().unwrap();
        assert!(scheduled(Client::Certbot, root.path()).is_empty());
        let wants = root.path().join("etc/systemd/system/timers.target.wants");
        let cron = root.path().join("etc/cron.d");
        let spool = root.path().join("var/spool/cron/crontabs");
        [&wants, &cron, &spool].iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
        symlink("/lib/systemd/system/certbot.timer", wants.join("certbot.timer")).unwrap();
        fs::write(cron.join("certbot"), "0 */12 * * * root certbot -q renew\n").unwrap();
        fs::write(cron.join("other"), "# certbot renew\n0 0 * * * root not-certbot\n").unwrap();
        fs::write(
            spool.join("root"),
            "9 0 * * * \"/root/.acme.sh\"/acme.sh --cron --home \"/root/.acme.sh\"\n",
        )
        .unwrap();
        let whats = |client| -> Vec<String> {
            scheduled(client, root.path()).into_iter().map(|hindrance| hindrance.what).collect()
        };
        let found = whats(Client::Certbot);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("certbot.timer") && found[1].contains("etc/cron.d/certbot"));
        assert!(whats(Client::AcmeSh)[0].contains("crontabs/root"));
        assert!(whats(Client::Lego).is_empty() && whats(Client::Files).is_empty());
    }

    #[test]
    fn lines_that_name_files_of_the_tree_are_found() {
        let text = "<VirtualHost *:443>\n  SSLCertificateFile \"/etc/letsencrypt/live/a.test/fullchain.pem\"\n\
                    sslcertificatekeyfile /etc/letsencrypt/live/a.test/privkey.pem\n\
                    SSLCertificateFile /etc/letsencrypt-other/x\n# SSLCertificateFile /etc/letsencrypt/x\n";
        let found = lines_into(text, Path::new("/etc/letsencrypt"));
        assert_eq!(found, [(2, "SSLCertificateFile".into()), (3, "sslcertificatekeyfile".into())]);
    }
}
