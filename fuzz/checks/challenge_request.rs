// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever comes as a request or a handshake of a CA's validation: nothing panics, no
//! name leads out of the folder of challenges, nothing is answered but what belongs to the token, and no
//! redirect leads elsewhere.

use mod_md::challenge::answers::{Answers, Folder};
use mod_md::challenge::presented::Presented;
use mod_md::challenge::{http01, tls_alpn01};
use mod_md::model::{KeySpec, RequireHttps};
use mod_md::names;
use mod_md::require_https::{Asked, Ruling, rule};
use mod_md::store::{WorkGroup, WorkStore};
use mod_md::url::{Host, Url};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const GROUP: WorkGroup = WorkGroup::Challenges;

/// Where httpd keeps challenges, with one under way and files beside that nobody may get.
pub struct Site(WorkStore);

/// Of the only name that has one.
const HOST: &str = "a.test";
const ANSWER: &str = "DGyRejmCefe7v4NfDGDKfA.thumbprint";

impl Site {
    /// `dir`: an absolute path, which may be there.
    pub fn new(dir: &Path) -> Self {
        for folder in ["", "challenges", "challenges/a.test", "domains/b.test", "challenges.test"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
            let content = if folder == "challenges/a.test" { ANSWER } else { "secret" };
            fs::write(dir.join(folder).join(http01::FILE_NAME), content).unwrap();
        }
        Site(WorkStore::of_others(dir))
    }
}

/// Lines: the host, which is the name in SNI as well, the path with its query, and what stands in the file of
/// http-01; the rest is the note beside that, in JSON.
pub fn check(Site(store): &Site, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(4, '\n');
    let mut next = || parts.next().unwrap_or_default();
    let (host, path, content, note) = (next(), next(), next(), next());
    let token = path.strip_prefix("/.well-known/acme-challenge/").unwrap_or(path);
    token_of(token, content, note);
    sni(host);
    redirects(host, path);
    let is_host = names::normalize(host).is_ok_and(|name| name == HOST);
    let folder = Folder { store, group: GROUP, name: host };
    assert_eq!(folder.read(http01::NOTE), Answers::default());
    assert_eq!(Presented::read(store, GROUP, host), Presented::default());
    match store.read(GROUP, host, http01::FILE_NAME) {
        Ok(Some(found)) => assert!(is_host && found == ANSWER.as_bytes(), "{host:?}"),
        Ok(None) | Err(_) => assert!(!is_host, "{host:?}"),
    }
    for name in [token, path] {
        assert!(
            !matches!(store.read(GROUP, HOST, name), Ok(Some(found)) if found != ANSWER.as_bytes()),
            "{name:?}"
        );
    }
    if let Ok(file) = store.path(GROUP, host, token) {
        let parts =
            file.components().rev().take(3).map(|part| part.as_os_str().to_str().unwrap().to_string());
        let parts: Vec<String> = parts.collect();
        assert!(parts[2] == "challenges" && parts.iter().all(|part| part != ".."), "{file:?}");
    }
}

fn token_of(token: &str, content: &str, note: &str) {
    // A text without a dot was put there by hand.
    if let Some(answer) = http01::answer(content, token).filter(|answer| answer.contains('.')) {
        assert!(answer.starts_with(&format!("{token}.")) && content.contains(answer), "{answer:?}");
    }
    let Ok(note) = serde_json::from_str(note) else { return };
    let answers = Answers::parse(&note);
    if let Some(answer) = answers.to_token(token) {
        assert!(answer.starts_with(&format!("{token}.")) && answers.all().any(|known| known == answer));
    }
    for owner in answers.owners() {
        assert!(answers.of(&owner).count() <= answers.all().count());
    }
}

fn sni(host: &str) {
    if let Some(name) = tls_alpn01::asked(host) {
        assert_eq!(names::normalize(&name).as_ref(), Ok(&name));
        assert_eq!(tls_alpn01::asked(&name).as_ref(), Some(&name), "{host:?}");
    }
    // Each name stands in a folder once.
    let folder: BTreeSet<&str> = host.split('/').collect();
    let folder: Vec<String> = folder.into_iter().map(String::from).collect();
    let pairs = tls_alpn01::files(&folder);
    assert!(
        pairs.len() <= 2 && pairs.iter().all(|(cert, key)| folder.contains(cert) && folder.contains(key))
    );
    let specs = [KeySpec::default()];
    assert!(!tls_alpn01::is_of_other_key(&tls_alpn01::cert_file(&specs[0]), &specs));
    let _ = tls_alpn01::is_of_other_key(host, &specs);
}

/// httpd has refused paths with blanks and control characters.
fn redirects(host: &str, path: &str) {
    let Ok(host) = names::normalize(host) else { return };
    if names::is_wildcard(&host) || !path.bytes().all(|b| b.is_ascii_graphic()) {
        return;
    }
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    for mode in [RequireHttps::Off, RequireHttps::Temporary, RequireHttps::Permanent] {
        for is_read in [false, true] {
            let asked = Asked { is_https: false, is_read, host: &host, path, query };
            let Ruling::Redirect { status, location } = rule(mode, &asked) else { continue };
            assert!((300..309).contains(&status) && mode != RequireHttps::Off);
            let url = match Url::parse(&location) {
                Ok(url) => url,
                // Clients take a name for an address whose last label is a number, and refuse what is none.
                Err(_) if ends_in_number(&host) => continue,
                Err(error) => panic!("{location:?}: {error}"),
            };
            assert!(url.origin.is_https && url.origin.port == 443 && !url.has_user, "{location:?}");
            // Clients take a name for an address whose last label is a number; no CA certifies one.
            if matches!(url.host(), Host::V4(_)) && !names::is_address(&host) {
                continue;
            }
            let target = url.host().to_string();
            assert_eq!(names::normalize(&target).as_ref(), Ok(&host), "{location:?}");
        }
    }
}

/// As the URL Standard has it.
fn ends_in_number(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x");
    let is_hexadecimal = hexadecimal.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    is_hexadecimal || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
}
