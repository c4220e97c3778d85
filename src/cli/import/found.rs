// SPDX-License-Identifier: Apache-2.0
//! What was found in the tree of another ACME client: accounts, and sets of key and certificate. Whoever owns
//! the tree may have written anything: keys are checked, and a set is one only if its halves belong together.

use crate::config::KNOWN_CAS;
use crate::crypto::{Chain, PrivateKey, foreign_key};
use crate::managed::bundle::Bundle;
use crate::model::KeySpec;
use crate::store::outside::{self, Tree};
use crate::url::Url;

/// Accounts, and sets, of one tree that are looked at.
pub const MOST: usize = 10_000;

/// An account at a CA.
pub struct FoundAccount {
    /// Its folder in the tree.
    pub origin: String,
    /// The directory of its CA, where that is known.
    pub ca_url: Option<String>,
    /// Its own URL.
    pub url: Option<String>,
    /// `mailto:` URLs.
    pub contacts: Vec<String>,
    /// The external account it is bound to.
    pub eab_kid: Option<String>,
    /// Or why it cannot be used.
    pub key: Result<PrivateKey, String>,
}

/// A key with its certificate.
pub struct FoundSet {
    /// Its folder or file in the tree.
    pub origin: String,
    /// The name that the other client calls it by.
    pub main: Option<String>,
    /// Or why it cannot be used.
    pub bundle: Result<Bundle, String>,
    /// The directory of the CA that issued it, where that is known.
    pub ca_url: Option<String>,
}

/// The content of a tree.
#[derive(Default)]
pub struct Found {
    pub accounts: Vec<FoundAccount>,
    pub sets: Vec<FoundSet>,
    /// Keys that other users than their owner can read.
    pub exposed: Vec<String>,
}

/// A file with a private key that could be read.
pub struct KeyFile {
    pub key: Result<PrivateKey, String>,
    pub is_exposed: bool,
}

impl Found {
    /// Notes a key file under this name, and gives its key.
    pub fn take_key(&mut self, origin: &str, file: Option<KeyFile>) -> Result<PrivateKey, String> {
        let file = file.ok_or("its private key is missing")?;
        if file.is_exposed && self.exposed.len() < MOST {
            self.exposed.push(origin.to_string());
        }
        file.key
    }
}

/// Reads a file; `None` where there is none. `Err`: why it is passed over.
pub fn read(tree: &Tree, name: &str) -> Result<Option<outside::Found>, String> {
    tree.read(name).map_err(|error| error.to_string())
}

/// Text of a file, if there is one that is text.
pub fn text(tree: &Tree, name: &str) -> Option<String> {
    let found = read(tree, name).ok()??;
    String::from_utf8(found.content.to_vec()).ok()
}

/// The private key in a PEM file.
pub fn key_in(found: Result<Option<outside::Found>, String>) -> Option<KeyFile> {
    let found = match found {
        Ok(found) => found?,
        Err(why) => return Some(KeyFile { key: Err(why), is_exposed: false }),
    };
    let is_exposed = found.is_exposed;
    let key = foreign_key::from_pem(&found.content)
        .unwrap_or_else(|| Err(crate::crypto::Error::Invalid("there is no private key in it".into())));
    let key = key.map_err(|error| format!("its private key cannot be used: {error}"));
    Some(KeyFile { key, is_exposed })
}

/// Key and chain as a set, if one of the certificates belongs to the key.
pub fn pair(key: PrivateKey, chain: Option<Vec<u8>>) -> Result<Bundle, String> {
    let chain = chain.ok_or("its certificate is missing")?;
    let chain =
        Chain::from_pem(&chain).map_err(|error| format!("its certificate cannot be read: {error}"))?;
    let leaf = chain.certificates().iter().find(|certificate| certificate.matches_key(&key));
    let leaf = leaf.ok_or("its certificate does not belong to its private key")?;
    let spec = leaf.key_spec().ok_or("its key is of a kind that mod_md has not")?;
    let spec: KeySpec = spec.commonly_named();
    Bundle::from_sent(spec, key, chain).map(|(bundle, _)| bundle).map_err(|flaw| flaw.to_string())
}

/// The directory of a CA at this host, among those that are known. Ports count where both have one.
pub fn directory_at(host: &str, known: &[String]) -> Option<String> {
    let parts = |text: &str| {
        let (name, port) = text.rsplit_once(':').unwrap_or((text, ""));
        (name.to_ascii_lowercase(), port.to_string())
    };
    let (name, port) = parts(host);
    let fits = |url: &str| {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (other, other_port) = parts(rest.split('/').next().unwrap_or_default());
        other == name && (port.is_empty() || other_port.is_empty() || other_port == port)
    };
    let famous = KNOWN_CAS.iter().map(|(_, url)| *url);
    known.iter().map(String::as_str).chain(famous).find(|url| fits(url)).map(String::from)
}

/// `HOST[:PORT]` of a URL.
pub fn host_of(url: &str) -> Option<String> {
    Url::parse(url).ok()?;
    Some(url.split_once("://")?.1.split('/').next()?.to_string())
}

/// A contact as ACME has it.
pub fn contact(text: &str) -> Option<String> {
    let text = text.trim();
    let is_sound = !text.is_empty() && text.len() < 256 && text.bytes().all(|b| b.is_ascii_graphic());
    is_sound.then(|| if text.contains(':') { text.to_string() } else { format!("mailto:{text}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_is_known_by_its_host_and_by_its_port_where_one_is_given() {
        let own = ["https://localhost:14000/dir".to_string(), "https://ca.test/x".to_string()];
        let at = |host: &str| directory_at(host, &own);
        assert_eq!(at("localhost:14000").as_deref(), Some("https://localhost:14000/dir"));
        assert_eq!(at("localhost").as_deref(), Some("https://localhost:14000/dir"));
        assert_eq!(at("localhost:15000"), None);
        assert_eq!(at("CA.test").as_deref(), Some("https://ca.test/x"));
        assert_eq!(at("acme.zerossl.com").as_deref(), Some("https://acme.zerossl.com/v2/DV90"));
        assert_eq!(at("unknown.test"), None);
    }

    #[test]
    fn contacts_are_urls_without_blanks() {
        assert_eq!(contact(" a@b.test ").as_deref(), Some("mailto:a@b.test"));
        assert_eq!(contact("mailto:a@b.test").as_deref(), Some("mailto:a@b.test"));
        assert_eq!(contact("").or(contact("a b")).or(contact("a\u{1b}@b")), None);
    }
}
