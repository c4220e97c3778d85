// SPDX-License-Identifier: Apache-2.0
//! The tree of lego: `certificates/NAME.{crt,key,issuer.crt,json}` and `accounts/HOST/EMAIL/` with
//! `account.json` and `keys/EMAIL.key`. The host stands there with its port behind an underscore.

use super::found::{self, Found, FoundAccount, FoundSet, MOST};
use crate::store::outside::Tree;
use serde_json::Value;

pub fn read(root: &Tree, known_cas: &[String]) -> Found {
    let mut found = Found::default();
    if let Some(folder) = root.child("certificates") {
        for (file, _) in folder.entries().unwrap_or_default().into_iter().take(MOST) {
            let is_leaf = |name: &&str| !name.ends_with(".issuer");
            if let Some(name) = file.strip_suffix(".crt").filter(is_leaf) {
                let set = read_set(&folder, name, known_cas, &mut found);
                found.sets.push(set);
            }
        }
    }
    for (host, _) in
        root.child("accounts").iter().flat_map(|tree| tree.entries().unwrap_or_default()).take(MOST)
    {
        let Some(folder) = root.below(&["accounts", &host]) else { continue };
        for (user, is_folder) in folder.entries().unwrap_or_default().into_iter().take(MOST) {
            let account = is_folder.then(|| folder.child(&user)).flatten();
            let account = account.map(|tree| read_account(&tree, &host, &user, known_cas, &mut found));
            found.accounts.extend(account);
        }
    }
    found
}

fn json(tree: &Tree, name: &str) -> Value {
    found::text(tree, name).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

fn read_set(folder: &Tree, name: &str, known_cas: &[String], found: &mut Found) -> FoundSet {
    let origin = format!("certificates/{name}.crt");
    let key = found::key_in(found::read(folder, &format!("{name}.key")));
    let key = found.take_key(&format!("certificates/{name}.key"), key);
    let chain = || {
        let mut chain = found::read(folder, &format!("{name}.crt"))?.map(|file| file.content.to_vec());
        // With `--no-bundle` the issuer stands beside it alone. What is there twice is dropped.
        let issuer = found::read(folder, &format!("{name}.issuer.crt"))?;
        if let (Some(chain), Some(issuer)) = (&mut chain, issuer) {
            chain.push(b'\n');
            chain.extend_from_slice(&issuer.content);
        }
        Ok::<_, String>(chain)
    };
    let bundle = key.and_then(|key| found::pair(key, chain()?));
    let record = json(folder, &format!("{name}.json"));
    let at = record.get("certUrl").and_then(Value::as_str).and_then(found::host_of);
    let ca_url = at.and_then(|host| found::directory_at(&host, known_cas));
    // File names have an underscore in place of a star.
    let main = record.get("domain").and_then(Value::as_str).map(String::from);
    FoundSet { origin, main: main.or_else(|| Some(name.replacen("_.", "*.", 1))), bundle, ca_url }
}

fn read_account(
    folder: &Tree,
    host: &str,
    user: &str,
    known_cas: &[String],
    found: &mut Found,
) -> FoundAccount {
    let origin = format!("accounts/{host}/{user}");
    let key = folder.child("keys").map(|keys| found::read(&keys, &format!("{user}.key")));
    let key = found.take_key(&format!("{origin}/keys/{user}.key"), key.and_then(found::key_in));
    let record = json(folder, "account.json");
    let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).map(String::from);
    let url = text("/registration/uri");
    // The URL has the port that the folder's name may have lost.
    let host = url.as_deref().and_then(found::host_of).unwrap_or_else(|| host.replacen('_', ":", 1));
    FoundAccount {
        origin,
        ca_url: found::directory_at(&host, known_cas),
        url,
        contacts: text("/email").and_then(|address| found::contact(&address)).into_iter().collect(),
        eab_kid: None,
        key,
    }
}
