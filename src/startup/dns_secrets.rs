// SPDX-License-Identifier: Apache-2.0
//! Loads the files of secrets that `MDChallengeDns01` names: keys of dynamic updates, environments of hooks,
//! users of httpreq. A file that is of no use never stops the start: it is told, and renewals that need it
//! fail with the same sentence. No text made here quotes a content. Imports `dns` for the form of keys, and
//! `store`, which reads the files.

use crate::config::advice::{self, Item};
use crate::config::{Finding, Plan, PlannedMd};
use crate::dns::TsigKey;
use crate::log::{self, Level};
use crate::model::dns01::{FileFault, SecretFile, SecretKind, environment, user_and_password};
use crate::store::read_secret;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes; far more than any key or environment needs.
const SIZE_MAX: usize = 64 * 1024;

/// Gives each managed domain the content of its files. Each file is read once.
pub fn load(mds: &mut [PlannedMd]) -> Vec<Finding> {
    let mut read: BTreeMap<(String, &'static str), Loaded> = BTreeMap::new();
    for PlannedMd { md, dns01, defined_at, .. } in mds {
        let Some(dns01) = dns01 else { continue };
        let word = dns01.way.word();
        for (kind, file) in dns01.secret_files() {
            let loaded = read.entry((file.path.clone(), kind.what())).or_insert_with(|| {
                let user = (md.name.clone(), advice::at(defined_at));
                Loaded { user, users: 0, ..Loaded::read(&word, kind, &file.path) }
            });
            loaded.users += 1;
            *file = loaded.file.clone();
        }
    }
    let loaded: Vec<Loaded> = read.into_values().collect();
    let faults = loaded.iter().filter_map(Loaded::fault).collect();
    let open = loaded.iter().filter_map(Loaded::open_to_others).collect();
    let mut findings = advice::coded(
        "dns-secret",
        advice::gathered("", "files of MDChallengeDns01 that are of no use", faults),
    );
    let open = advice::gathered("", "files of MDChallengeDns01 that other users can read", open);
    findings.extend(advice::coded("dns-secret-readable", open));
    findings
}

/// What [`load`] is going to say.
pub fn findings(plan: &Plan) -> Vec<Finding> {
    let has_secrets = |planned: &&PlannedMd| {
        planned.dns01.clone().is_some_and(|mut dns01| dns01.secret_files().next().is_some())
    };
    load(&mut plan.mds.iter().filter(has_secrets).cloned().collect::<Vec<_>>())
}

#[derive(Default)]
struct Loaded {
    file: SecretFile,
    what: &'static str,
    /// Of the way.
    word: String,
    /// Its access bits, where others than the owner can read it.
    mode: Option<u32>,
    /// The first domain that has it, and its place.
    user: (String, String),
    users: usize,
}

impl Loaded {
    fn read(word: &str, kind: SecretKind, path: &str) -> Self {
        let (what, mut file) = (kind.what(), SecretFile::at(path));
        let read = read_secret(Path::new(path), SIZE_MAX);
        let mode = read.as_ref().ok().map(|(_, mode)| *mode).filter(|mode| mode & 0o044 != 0);
        match read.map_err(unreadable).and_then(|(bytes, _)| usable(kind, bytes)) {
            Ok(content) => file.content = Some(Arc::new(content)),
            Err((fault, remedy)) => {
                file.fault = Some(FileFault {
                    what: format!("the {what} {path} {fault}"),
                    remedy: format!("{remedy}, then reload httpd"),
                });
            }
        }
        Loaded { file, what, word: word.into(), mode, ..Loaded::default() }
    }

    fn item(&self, text: String) -> Item<'_> {
        let (name, place) = &self.user;
        let more = match self.users.saturating_sub(1) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let text = format!("{place}: md[{name}]{more}: {text}");
        Item { level: Level::Warn, name: self.file.path.clone(), text: Box::new(move || text.clone()) }
    }

    fn fault(&self) -> Option<Item<'_>> {
        let (FileFault { what, remedy }, word) = (self.file.fault.as_ref()?, &self.word);
        Some(self.item(format!(
            "MDChallengeDns01 {word}: {what}. {remedy}. Until then, challenges of type dns-01 fail."
        )))
    }

    fn open_to_others(&self) -> Option<Item<'_>> {
        let (what, path) = (self.what, &self.file.path);
        let mode = self.mode?;
        Some(self.item(format!(
            "other users can read the {what} {path} (mode {mode:04o}) of MDChallengeDns01. It holds a secret that only root \
             needs to read: run 'chmod 600 {path}'."
        )))
    }
}

/// What is wrong, and what to do.
type Fault = (String, &'static str);

fn unreadable(error: io::Error) -> Fault {
    (format!("cannot be read: {}", log::plain(&error)), "Put it there for root to read, or correct the path")
}

fn usable(kind: SecretKind, bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, Fault> {
    let form = match kind {
        SecretKind::TsigKey => "Write there what tsig-keygen (BIND) or 'keymgr -t' (Knot) prints",
        SecretKind::User => "Write USER:PASSWORD there, in one line",
        SecretKind::Environment => "Write one NAME=VALUE in each line",
    };
    let wrong = |fault: String| (fault, form);
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("is not text".into()))?;
    if text.trim().is_empty() {
        return Err(wrong("is empty".into()));
    }
    match kind {
        SecretKind::TsigKey => {
            TsigKey::parse(text).map_err(|error| wrong(format!("cannot be used: {error}")))?;
        }
        SecretKind::User => {
            user_and_password(text).ok_or_else(|| wrong("is not USER:PASSWORD".into()))?;
        }
        SecretKind::Environment => {
            environment(text)
                .map_err(|line| wrong(format!("cannot be used: line {line} is not NAME=VALUE")))?;
        }
    }
    Ok(Zeroizing::new(text.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::dns01::{Hook, HookKind, Rfc2136, Way};
    use crate::model::{Dns01, Md};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    const KEY: &str = "key \"k.\" { algorithm hmac-sha256; secret \"c2VjcmV0c2VjcmV0\"; };";

    fn planned(name: &str, way: Way) -> PlannedMd {
        let limit = Duration::from_secs(600);
        let dns01 = Some(Dns01 { way, limit, propagation: crate::model::dns01::Propagation::default() });
        let md = Md { name: name.into(), ..Md::default() };
        PlannedMd { md, dns01, defined_at: ("test.conf".into(), 7), ..PlannedMd::default() }
    }

    fn update(path: &str) -> Way {
        Way::Rfc2136(Rfc2136 { server: "ns".into(), key: SecretFile::at(path), zone: None, ttl: 60 })
    }

    fn hook(kind: HookKind, user: Option<&str>, env: Option<&str>) -> Way {
        let words = vec!["/bin/true".into()];
        Way::Hook(Hook { kind, words, user: user.map(SecretFile::at), env: env.map(SecretFile::at) })
    }

    fn write(dir: &Path, name: &str, content: &[u8], mode: u32) -> String {
        let path = dir.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().into()
    }

    fn texts(planned: &mut PlannedMd) -> Vec<Result<String, String>> {
        let files = planned.dns01.as_mut().unwrap().secret_files();
        let said = |FileFault { what, remedy }| format!("{what}. {remedy}");
        files.map(|(_, file)| file.text().map(String::from).map_err(said)).collect()
    }

    #[test]
    fn each_domain_gets_the_content_of_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let key = write(dir.path(), "key", KEY.as_bytes(), 0o600);
        let env = write(dir.path(), "env", b"A=1\n", 0o400);
        let user = write(dir.path(), "user", b"me:pw\n", 0o600);
        let mut mds = [
            planned("a.test", update(&key)),
            planned("b.test", update(&key)),
            planned("c.test", hook(HookKind::Lego, None, Some(&env))),
            planned("d.test", hook(HookKind::HttpReq, Some(&user), None)),
            planned("e.test", Way::Responder),
        ];
        assert_eq!(load(&mut mds), []);
        let found: Vec<_> = mds.iter_mut().flat_map(texts).collect();
        assert_eq!(found, [KEY, KEY, "A=1\n", "me:pw\n"].map(|text| Ok(text.to_string())));
    }

    #[test]
    fn a_file_of_no_use_is_told_once_and_to_the_renewals() {
        let dir = tempfile::tempdir().unwrap();
        let file = |content: &[u8]| write(dir.path(), "file", content, 0o600);
        let missing = dir.path().join("missing").to_str().unwrap().to_string();
        let lego = |path: &str| hook(HookKind::Lego, None, Some(path));
        let secret = "aHVudGVyMmh1bnRlcjI";
        for (content, way, faults) in [
            (
                None,
                &update as &dyn Fn(&str) -> Way,
                &["the key file", "cannot be read: No such file", "for root to read"][..],
            ),
            (Some(b"".to_vec()), &update, &["is empty", "tsig-keygen"]),
            (Some(b" \n".to_vec()), &lego, &["the file of env=", "is empty", "NAME=VALUE in each line"]),
            (Some(vec![0xff]), &update, &["is not text"]),
            (Some(vec![b'#'; SIZE_MAX + 1]), &lego, &["cannot be read: it is larger than 64 KiB"]),
            (
                Some(KEY.replace("c2", "!").into_bytes()),
                &update,
                &["cannot be used: the key's secret is not base64"],
            ),
            (Some(secret.into()), &update, &["cannot be used: no TSIG key is in it"]),
            (Some(format!("A=1\n{secret}").into()), &lego, &["line 2 is not NAME=VALUE"]),
            (
                Some(secret.into()),
                &|path| hook(HookKind::HttpReq, Some(path), None),
                &["is not USER:PASSWORD"],
            ),
        ] {
            let path = content.map_or_else(|| missing.clone(), |content| file(&content));
            let mut mds = [planned("a.test", way(&path)), planned("b.test", way(&path))];
            let found = load(&mut mds);
            let [Finding { level: Level::Warn, text, .. }] = &found[..] else { panic!("{found:?}") };
            assert!(text.starts_with("test.conf:7: md[a.test] and 1 more: MDChallengeDns01 "), "{text}");
            let said = texts(&mut mds[1]).remove(0).unwrap_err();
            assert!(text.contains(&said) && said.contains(&path) && !text.contains(secret), "{text}");
            assert!(
                faults.iter().all(|fault| said.contains(fault)) && said.ends_with("then reload httpd"),
                "{said}"
            );
            fs::remove_file(&path).ok();
        }
        let folder = dir.path().to_str().unwrap();
        assert!(load(&mut [planned("a.test", update(folder))])[0].text.contains("it is not a plain file"));
    }

    #[test]
    fn a_secret_that_others_can_read_is_a_warning_and_is_used() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, is_told) in [(0o600, false), (0o640, true), (0o604, true), (0o611, false)] {
            let path = write(dir.path(), "key", KEY.as_bytes(), mode);
            let mut mds = [planned("a.test", update(&path))];
            let found = load(&mut mds);
            assert_eq!(found.len(), usize::from(is_told), "{mode:o}");
            let parts = [format!("(mode {mode:04o})"), format!("'chmod 600 {path}'"), "md[a.test]: ".into()];
            assert!(
                found.iter().all(|finding| parts.iter().all(|part| finding.text.contains(part))),
                "{found:?}"
            );
            assert_eq!(texts(&mut mds[0]), [Ok(KEY.to_string())]);
        }
    }
}
