// SPDX-License-Identifier: Apache-2.0
//! The tree of certbot: `renewal/NAME.conf`, `live/NAME/` with links into `archive/NAME/`, and
//! `accounts/HOST/PATH/ID/` with a JSON web key. Links are followed into `archive/` alone.

use super::found::{self, Found, FoundAccount, FoundSet, KeyFile, MOST};
use crate::crypto::foreign_key;
use crate::store::outside::{self, Tree};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Component, Path};

/// Folders between `accounts/` and an account: the host and the path of the directory's URL.
const DEPTH_MAX: usize = 6;

pub fn read(root: &Tree) -> Found {
    let mut found = Found::default();
    let mut renewals: BTreeMap<String, Option<Renewal>> = BTreeMap::new();
    if let Some(folder) = root.child("renewal") {
        for (file, _) in folder.entries().unwrap_or_default().into_iter().take(MOST) {
            let Some(name) = file.strip_suffix(".conf") else { continue };
            renewals.insert(name.to_string(), found::text(&folder, &file).map(|text| Renewal::read(&text)));
        }
    }
    let live = root.child("live");
    for (name, is_folder) in live.iter().flat_map(|live| live.entries().unwrap_or_default()).take(MOST) {
        if is_folder {
            renewals.entry(name).or_default();
        }
    }
    if let Some(accounts) = root.child("accounts") {
        let servers: Vec<&str> =
            renewals.values().flatten().filter_map(|renewal| renewal.server.as_deref()).collect();
        read_accounts(&accounts, &mut Vec::new(), &servers, &mut found);
    }
    for (name, renewal) in renewals {
        let set = read_set(root, live.as_ref(), &name, renewal.unwrap_or_default(), &mut found);
        found.sets.push(set);
    }
    found
}

/// What a renewal's settings say.
#[derive(Default)]
struct Renewal {
    server: Option<String>,
}

impl Renewal {
    fn read(text: &str) -> Self {
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_string())
        };
        Renewal { server: value("server").filter(|url| found::host_of(url).is_some()) }
    }
}

fn read_set(root: &Tree, live: Option<&Tree>, name: &str, renewal: Renewal, found: &mut Found) -> FoundSet {
    let origin = format!("live/{name}");
    let folder = live.and_then(|live| live.child(name));
    let file = |file: &str| match &folder {
        Some(folder) => read_linked(root, folder, file),
        None => Ok(None),
    };
    let key = found.take_key(&format!("{origin}/privkey.pem"), found::key_in(file("privkey.pem")));
    let chain = || match file("fullchain.pem")? {
        Some(chain) => Ok(Some(chain.content.to_vec())),
        None => file("cert.pem").map(|cert| cert.map(|cert| cert.content.to_vec())),
    };
    let bundle = key.and_then(|key| found::pair(key, chain()?));
    FoundSet { origin, main: Some(name.to_string()), bundle, ca_url: renewal.server }
}

/// A file of `live/NAME`: a link to one in `archive/`, or the file itself where somebody has copied the tree.
fn read_linked(root: &Tree, folder: &Tree, file: &str) -> Result<Option<outside::Found>, String> {
    let Some(link) = folder.link(file) else { return found::read(folder, file) };
    let refused = || format!("{file} is a symbolic link that does not lead into archive/");
    let path = in_tree(root.path(), &link).ok_or_else(refused)?;
    let (name, folders) = path.split_last().ok_or_else(refused)?;
    match root.below(folders) {
        Some(folder) => found::read(&folder, name),
        None => Ok(None),
    }
}

/// The names from the top of the tree to a file in `archive/` that a link in `live/NAME/` leads to.
fn in_tree<'a>(root: &Path, link: &'a Path) -> Option<Vec<&'a str>> {
    let inner =
        if link.is_absolute() { link.strip_prefix(root).ok()? } else { link.strip_prefix("../..").ok()? };
    let names: Option<Vec<&str>> = inner
        .components()
        .map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    names.filter(|names| names.len() >= 2 && names.first() == Some(&"archive"))
}

fn read_accounts(folder: &Tree, path: &mut Vec<String>, servers: &[&str], found: &mut Found) {
    if path.len() > DEPTH_MAX || found.accounts.len() >= MOST {
        return;
    }
    let entries = folder.entries().unwrap_or_default();
    if entries.iter().any(|(name, is_folder)| name == "private_key.json" && !is_folder) {
        let account = read_account(folder, path, servers, found);
        found.accounts.push(account);
        return;
    }
    for (name, _) in entries.into_iter().filter(|(_, is_folder)| *is_folder) {
        // `directory` of other protocol versions is a link, which is not followed.
        if let Some(child) = folder.child(&name) {
            path.push(name);
            read_accounts(&child, path, servers, found);
            path.pop();
        }
    }
}

fn read_account(folder: &Tree, path: &[String], servers: &[&str], found: &mut Found) -> FoundAccount {
    let origin = format!("accounts/{}", path.join("/"));
    // The last name is the account's; those before are the directory's URL without its scheme.
    let place = path.split_last().map(|(_, place)| place.join("/")).unwrap_or_default();
    let without_scheme = |url: &str| url.split_once("://").is_some_and(|(_, rest)| rest == place);
    let server = servers.iter().find(|url| without_scheme(url)).map(|url| (*url).to_string());
    let ca_url =
        server.or_else(|| Some(format!("https://{place}"))).filter(|url| found::host_of(url).is_some());
    let key = found.take_key(&format!("{origin}/private_key.json"), jwk_in(folder));
    let json = found::text(folder, "regr.json").and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let json = json.unwrap_or_default();
    let contacts = json.pointer("/body/contact").and_then(Value::as_array).into_iter().flatten();
    let contacts = contacts.filter_map(Value::as_str).filter_map(found::contact).take(16).collect();
    let url = json.get("uri").and_then(Value::as_str).map(String::from);
    FoundAccount { origin, ca_url, url, contacts, eab_kid: None, key }
}

fn jwk_in(folder: &Tree) -> Option<KeyFile> {
    let file = match found::read(folder, "private_key.json") {
        Ok(file) => file?,
        Err(why) => return Some(KeyFile { key: Err(why), is_exposed: false }),
    };
    let unusable = |why: String| format!("its private key cannot be used: {why}");
    let key = serde_json::from_slice::<Value>(&file.content).map_err(|error| unusable(error.to_string()));
    let key = key.and_then(|jwk| foreign_key::from_jwk(&jwk).map_err(|error| unusable(error.to_string())));
    Some(KeyFile { key, is_exposed: file.is_exposed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_into_the_archive_of_the_tree_alone() {
        let root = Path::new("/etc/letsencrypt");
        let at = |link: &'static str| in_tree(root, Path::new(link)).map(|names| names.join("/"));
        assert_eq!(at("../../archive/a.test/privkey1.pem").unwrap(), "archive/a.test/privkey1.pem");
        assert_eq!(at("/etc/letsencrypt/archive/a.test/cert2.pem").unwrap(), "archive/a.test/cert2.pem");
        for wrong in [
            "/etc/shadow",
            "../../../shadow",
            "../../archive/../../shadow",
            "../../accounts/x/private_key.json",
            "../../archive",
            "privkey1.pem",
            "/etc/letsencrypt/archive/../../x/y",
        ] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }
}
