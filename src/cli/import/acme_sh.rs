// SPDX-License-Identifier: Apache-2.0
//! The tree of acme.sh: `NAME/` or `NAME_ecc/` with `NAME.conf`, `NAME.key` and `fullchain.cer`, and
//! `ca/HOST/PATH/` with `account.key`, `account.json` and `ca.conf`. Its settings are lines of a shell, which
//! are read as text and never run.

use super::found::{self, Found, FoundAccount, FoundSet, MOST};
use crate::store::outside::Tree;
use data_encoding::BASE64;
use serde_json::Value;

const ENCODED: (&str, &str) = ("__ACME_BASE64__START_", "__ACME_BASE64__END_");
const DEPTH_MAX: usize = 5;

pub fn read(root: &Tree, known_cas: &[String]) -> Found {
    let mut found = Found::default();
    let mut servers = Vec::new();
    let folders = root.entries().unwrap_or_default().into_iter().filter(|(_, is_folder)| *is_folder);
    for (folder, _) in folders.take(MOST) {
        let name = folder.strip_suffix("_ecc").unwrap_or(&folder).to_string();
        let Some(tree) = root.child(&folder) else { continue };
        let Some(settings) = found::text(&tree, &format!("{name}.conf")) else { continue };
        let ca_url = value(&settings, "Le_API").filter(|url| found::host_of(url).is_some());
        servers.extend(ca_url.clone());
        let key_file = format!("{name}.key");
        let key =
            found.take_key(&format!("{folder}/{key_file}"), found::key_in(found::read(&tree, &key_file)));
        let chain = || match found::read(&tree, "fullchain.cer")? {
            Some(chain) => Ok(Some(chain.content.to_vec())),
            None => {
                found::read(&tree, &format!("{name}.cer")).map(|cert| cert.map(|cert| cert.content.to_vec()))
            }
        };
        let bundle = key.and_then(|key| found::pair(key, chain()?));
        found.sets.push(FoundSet { origin: folder, main: Some(name), bundle, ca_url });
    }
    servers.extend(known_cas.iter().cloned());
    if let Some(cas) = root.child("ca") {
        read_accounts(&cas, &mut Vec::new(), &servers, &mut found);
    }
    found
}

fn read_accounts(folder: &Tree, path: &mut Vec<String>, servers: &[String], found: &mut Found) {
    if path.len() > DEPTH_MAX || found.accounts.len() >= MOST {
        return;
    }
    let entries = folder.entries().unwrap_or_default();
    if entries.iter().any(|(name, is_folder)| name == "account.key" && !is_folder) {
        let account = read_account(folder, path, servers, found);
        found.accounts.push(account);
    }
    for (name, _) in entries.into_iter().filter(|(_, is_folder)| *is_folder) {
        if let Some(child) = folder.child(&name) {
            path.push(name);
            read_accounts(&child, path, servers, found);
            path.pop();
        }
    }
}

fn read_account(folder: &Tree, path: &[String], servers: &[String], found: &mut Found) -> FoundAccount {
    let origin = format!("ca/{}", path.join("/"));
    let key = found::key_in(found::read(folder, "account.key"));
    let key = found.take_key(&format!("{origin}/account.key"), key);
    let settings = found::text(folder, "ca.conf").unwrap_or_default();
    let json = found::text(folder, "account.json").and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let listed = json.as_ref().and_then(|json| json.get("contact")).and_then(Value::as_array);
    let mut contacts: Vec<String> =
        listed.into_iter().flatten().filter_map(Value::as_str).filter_map(found::contact).take(16).collect();
    if contacts.is_empty() {
        contacts.extend(value(&settings, "CA_EMAIL").and_then(|address| found::contact(&address)));
    }
    FoundAccount {
        origin,
        ca_url: directory(path, servers),
        url: value(&settings, "ACCOUNT_URL"),
        contacts,
        eab_kid: value(&settings, "CA_EAB_KEY_ID"),
        key,
    }
}

/// The folders are host and path of the directory's URL, the host without its port; in older trees the host
/// alone.
fn directory(path: &[String], servers: &[String]) -> Option<String> {
    let (host, rest) = path.split_first()?;
    let rest = rest.join("/");
    let has_path = |url: &&String| {
        let after = url.split_once("://").and_then(|(_, after)| after.split_once('/'));
        after.is_some_and(|(_, path)| path == rest)
    };
    let same: Vec<String> = servers.iter().filter(has_path).cloned().collect();
    let known = found::directory_at(host, if rest.is_empty() { servers } else { &same });
    let known = known.filter(|url| rest.is_empty() || url.ends_with(&format!("/{rest}")));
    known.or_else(|| (!rest.is_empty()).then(|| format!("https://{host}/{rest}")))
}

/// `NAME='VALUE'` of a settings file.
fn value(settings: &str, name: &str) -> Option<String> {
    let mut lines = settings.lines().filter_map(|line| line.split_once('='));
    let (_, value) = lines.find(|(key, _)| key.trim() == name)?;
    let value = value.trim().trim_matches(['\'', '"']);
    let encoded = value.strip_prefix(ENCODED.0).and_then(|rest| rest.strip_suffix(ENCODED.1));
    let value = match encoded {
        Some(text) => String::from_utf8(BASE64.decode(text.as_bytes()).ok()?).ok()?,
        None => value.to_string(),
    };
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_text() {
        let settings = "Le_API='https://ca.test/dir'\nLe_Webroot=\"/var/www\"\nEMPTY=''\n\
                        Le_ReloadCmd='__ACME_BASE64__START_c3lzdGVtY3Rs__ACME_BASE64__END_'\n";
        assert_eq!(value(settings, "Le_API").unwrap(), "https://ca.test/dir");
        assert_eq!(value(settings, "Le_Webroot").unwrap(), "/var/www");
        assert_eq!(value(settings, "Le_ReloadCmd").unwrap(), "systemctl");
        assert_eq!(value(settings, "EMPTY").or(value(settings, "OTHER")), None);
    }

    #[test]
    fn folders_name_the_directory_of_a_ca() {
        let servers =
            ["https://localhost:14000/dir".to_string(), "https://localhost:14000/other".to_string()];
        let at =
            |path: &[&str]| directory(&path.iter().map(ToString::to_string).collect::<Vec<_>>(), &servers);
        assert_eq!(at(&["localhost", "dir"]).unwrap(), "https://localhost:14000/dir");
        assert_eq!(at(&["localhost", "other"]).unwrap(), "https://localhost:14000/other");
        assert_eq!(at(&["localhost"]).unwrap(), "https://localhost:14000/dir");
        let encrypt = "https://acme-v02.api.letsencrypt.org/directory";
        assert_eq!(at(&["acme-v02.api.letsencrypt.org", "directory"]).unwrap(), encrypt);
        assert_eq!(at(&["acme-v02.api.letsencrypt.org"]).unwrap(), encrypt);
        assert_eq!(at(&["ca.test", "a", "b"]).unwrap(), "https://ca.test/a/b");
        assert_eq!(at(&["ca.test"]), None);
    }
}
