// SPDX-License-Identifier: Apache-2.0
//! Reads the files that the directives of a fleet name: its secrets, the password of the engine, certificates
//! and a key for TLS. A secret that is missing, malformed or open to others makes the fleet unusable: that ends
//! a start, and not a reload. No text made here quotes a content. Imports `fleet` for the form of secrets and
//! `store`, which reads the files.

use crate::config::fleet::Fleet;
use crate::config::{Finding, Plan};
use crate::crypto::cert::has_certificates;
use crate::crypto::{Chain, PrivateKey};
use crate::fleet::access::Access;
use crate::fleet::inherited::Inherited;
use crate::fleet::sealed::Secrets;
use crate::fleet::secret::Secret;
use crate::log::{self, Level};
use crate::managed::peers::SharedSet;
use crate::model::bounded;
use crate::store::{Private, read_admin_file, read_private};
use crate::time::StopFlag;
use std::path::Path;
use std::sync::Mutex;
use zeroize::Zeroizing;

/// Bytes of a secret, a password or a key; far more than any has.
const SIZE_MAX: usize = 64 * 1024;
const CODE: &str = "fleet-file";

/// The contents. Has no `Debug`.
pub struct Files {
    secrets: Secrets,
    ca_pem: Option<Vec<u8>>,
    client_pem: Option<(Vec<u8>, Vec<u8>)>,
    user: Option<(String, Vec<u8>)>,
}

/// What is wrong with a file, and what to do.
type Fault = (String, String);

/// Reads all files of a fleet. `Err`: what is wrong with each that is of no use.
pub fn read(fleet: &Fleet) -> Result<Files, Vec<Finding>> {
    let mut faults = Vec::new();
    let mut secrets = Vec::new();
    for file in &fleet.secret_files {
        secrets.extend(usable("MDFleetSecretFile", file, secret(file), &mut faults));
    }
    let ca = fleet.ca_file.as_deref();
    let ca_pem =
        ca.and_then(|file| usable("MDFleetCACertificateFile", file, certificates(file), &mut faults));
    let client = fleet.client_files.as_ref();
    let client_pem = client.and_then(|(cert, key)| {
        let chain = usable("MDFleetClientCertificateFile", cert, chain(cert), &mut faults);
        let key_pem = usable("MDFleetClientKeyFile", key, key_of(key, chain.as_ref()), &mut faults);
        Some((chain?.to_pem(), key_pem?.to_vec()))
    });
    let user = fleet.user.as_ref().and_then(|(user, file)| {
        Some((user.clone(), usable("MDFleetUser", file, password(file), &mut faults)?.to_vec()))
    });
    let mut secrets = secrets.into_iter();
    match secrets.next() {
        Some(first) if faults.is_empty() => {
            Ok(Files { secrets: Secrets::new(first, secrets.next()), ca_pem, client_pem, user })
        }
        _ => Err(faults),
    }
}

/// What [`read`] is going to find wrong.
pub fn findings(plan: &Plan) -> Vec<Finding> {
    plan.global.fleet.as_ref().and_then(|fleet| read(fleet).err()).unwrap_or_default()
}

impl Files {
    /// What the child that replicates needs. `stop` ends its requests; `unshared`: as there.
    pub fn inherited(self, fleet: &Fleet, stop: StopFlag, unshared: Vec<(String, SharedSet)>) -> Inherited {
        let access = Access {
            scheme: fleet.scheme,
            is_tls: fleet.is_tls,
            servers: fleet.servers.clone(),
            prefix: fleet.prefix.clone(),
            ca_pem: self.ca_pem,
            client_pem: self.client_pem,
            user: self.user,
            stop,
        };
        let node = fleet.node.clone().unwrap_or_else(host_name);
        Inherited { access, secrets: self.secrets, node, unshared: Mutex::new(unshared) }
    }
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    bounded::text(&name, bounded::NAME_MAX)
}

/// Notes the fault of a file that is of no use.
fn usable<T>(directive: &str, file: &Path, read: Result<T, Fault>, faults: &mut Vec<Finding>) -> Option<T> {
    read.inspect_err(|(fault, remedy)| {
        let text = format!("{directive}: the file {} {fault}. {remedy}.", file.display());
        faults.push(Finding::new(Level::Error, text).code(CODE));
    })
    .ok()
}

fn secret(file: &Path) -> Result<Secret, Fault> {
    let content = private(file)?;
    Secret::parse(&content).map_err(|fault| {
        (fault, "Copy the file from another node; 'a2md fleet secret' makes one for a new fleet".into())
    })
}

/// The first line.
fn password(file: &Path) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let content = private(file)?;
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let fault = match line {
        [] => "has no password in its first line",
        line if line.contains(&0) || std::str::from_utf8(line).is_err() => "is not text",
        line => return Ok(Zeroizing::new(line.to_vec())),
    };
    Err((fault.into(), "Write the password of the engine's user there, in one line".into()))
}

fn certificates(file: &Path) -> Result<Vec<u8>, Fault> {
    let content = public(file)?;
    match has_certificates(&content) {
        true => Ok(content),
        false => Err((
            "has no certificate that can be read".into(),
            "Write the certificates of the engine's CA there, as PEM".into(),
        )),
    }
}

fn chain(file: &Path) -> Result<Chain, Fault> {
    Chain::from_pem(&public(file)?).map_err(|error| {
        (
            format!("cannot be used: {error}"),
            "Write the client's certificate there, then those above it, as PEM".into(),
        )
    })
}

fn key_of(file: &Path, chain: Option<&Chain>) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let content = private(file)?;
    let key = PrivateKey::from_pem(&content).map_err(|error| {
        (format!("cannot be used: {error}"), "Write the key there as PEM, not encrypted".into())
    })?;
    if chain.is_some_and(|chain| !chain.leaf().matches_key(&key)) {
        let fault = "is not the key of the certificate in MDFleetClientCertificateFile";
        return Err((fault.into(), "Name two files that belong together".into()));
    }
    Ok(content)
}

/// A file that nobody but root, and the user that starts httpd, can read or write.
fn private(file: &Path) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let Private { content, mode, owner } =
        read_private(file, SIZE_MAX).map_err(|error| unreadable(&error))?;
    let path = file.display();
    if mode & 0o066 != 0 {
        return Err((
            format!("can be read or written by other users (mode {mode:04o}), and it holds a secret"),
            format!("Run 'chmod 600 {path}'; where others may have read it, replace what is in it"),
        ));
    }
    let own = rustix::process::geteuid().as_raw();
    if owner != 0 && owner != own {
        return Err((
            format!("belongs to the user {owner}, and it holds a secret that only root needs to read"),
            format!("Run 'chown root {path}'; where others may have read it, replace what is in it"),
        ));
    }
    Ok(content)
}

fn public(file: &Path) -> Result<Vec<u8>, Fault> {
    read_admin_file(file).map_err(|error| unreadable(&error))
}

fn unreadable(error: &std::io::Error) -> Fault {
    let remedy = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "Run this as root, or correct the access rights of its folder"
        }
        _ => "Put it there for root to read, or correct the path",
    };
    (format!("cannot be read: {}", log::plain(error)), remedy.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fleet::Scheme;
    use crate::crypto::fixture::Ca;
    use crate::fleet::secret::generate;
    use crate::model::KeySpec;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    /// A folder with usable files, and the fleet that names them.
    fn lab() -> (tempfile::TempDir, Fleet) {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let (ca, key) = (Ca::new("engine"), PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap());
        write(&at("one"), generate().unwrap().as_bytes(), 0o600);
        write(&at("two"), generate().unwrap().as_bytes(), 0o400);
        write(&at("ca"), &ca.certificate().to_pem().repeat(30), 0o644);
        write(&at("cert"), &ca.issue(&["client"], &key).to_pem(), 0o644);
        write(&at("key"), &key.to_pem().unwrap(), 0o600);
        write(&at("password"), b"pass word\r\nnote\n", 0o600);
        let fleet = Fleet {
            scheme: Scheme::Etcd,
            is_tls: true,
            servers: Vec::new(),
            prefix: "p".into(),
            secret_files: vec![at("one"), at("two")],
            ca_file: Some(at("ca")),
            client_files: Some((at("cert"), at("key"))),
            user: Some(("me".into(), at("password"))),
            node: None,
        };
        (dir, fleet)
    }

    fn write(path: &PathBuf, content: &[u8], mode: u32) {
        let _ = fs::remove_file(path);
        fs::write(path, content).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_fleet_gets_the_contents_of_its_files() {
        let (dir, fleet) = lab();
        let inherit = |fleet: &Fleet| read(fleet).ok().unwrap().inherited(fleet, StopFlag::default(), vec![]);
        let Inherited { access, secrets, node, .. } = inherit(&fleet);
        assert!(!node.is_empty());
        assert_eq!(access.user, Some(("me".into(), b"pass word".to_vec())));
        assert_eq!(access.ca_pem, Some(fs::read(dir.path().join("ca")).unwrap()));
        let (cert, key) = access.client_pem.unwrap();
        assert_eq!(cert, fs::read(dir.path().join("cert")).unwrap());
        assert_eq!(key, fs::read(dir.path().join("key")).unwrap());
        let kid = |name: &str| {
            Secret::parse(&fs::read(dir.path().join(name)).unwrap()).ok().unwrap().kid().to_string()
        };
        assert!(secrets.kids().eq([kid("one"), kid("two")].iter().map(String::as_str)));
        let node = Some("web1".into());
        let bare = Fleet { ca_file: None, client_files: None, user: None, node, ..fleet };
        let Inherited { access, node, .. } = inherit(&bare);
        assert_eq!(node, "web1");
        assert!(access.ca_pem.is_none() && access.client_pem.is_none() && access.user.is_none());
    }

    #[test]
    fn a_file_of_no_use_is_an_error_that_does_not_quote_it() {
        let (secret, foreign) = ("aHVudGVyMmh1bnRlcjI=", PrivateKey::generate(&KeySpec::default()).unwrap());
        for (name, content, mode, fault) in [
            ("one", None, 0, "MDFleetSecretFile: the file PATH cannot be read: No such file"),
            ("one", Some(secret.as_bytes()), 0o600, "PATH has 14 bytes instead of 32. Copy the file from"),
            ("two", Some(b"hunter2!"), 0o600, "MDFleetSecretFile: the file PATH is not base64 in one line"),
            ("two", Some(b""), 0o600, "PATH is empty"),
            (
                "password",
                Some(b"\nhunter2"),
                0o600,
                "MDFleetUser: the file PATH has no password in its first",
            ),
            ("password", Some(b"hunter2\xff"), 0o600, "PATH is not text"),
            ("ca", Some(b"hunter2"), 0o644, "MDFleetCACertificateFile: the file PATH has no certificate"),
            ("ca", None, 0, "PATH cannot be read: No such file"),
            ("cert", Some(b"hunter2"), 0o644, "MDFleetClientCertificateFile: the file PATH cannot be used"),
            ("key", Some(b"hunter2"), 0o600, "MDFleetClientKeyFile: the file PATH cannot be used"),
            ("key", Some(&foreign.to_pem().unwrap()), 0o600, "PATH is not the key of the certificate"),
        ] {
            let (dir, fleet) = lab();
            let path = dir.path().join(name);
            match content {
                Some(content) => write(&path, content, mode),
                None => fs::remove_file(&path).unwrap(),
            }
            let found = read(&fleet).err().unwrap();
            let [Finding { level: Level::Error, text, code: CODE }] = &found[..] else { panic!("{found:?}") };
            let fault = fault.replace("PATH", path.to_str().unwrap());
            assert!(text.contains(&fault) && !text.contains("hunter2") && !text.contains(secret), "{text}");
        }
    }

    #[test]
    fn a_secret_that_others_can_read_or_change_is_an_error() {
        for name in ["one", "two", "password", "key"] {
            for (mode, is_told) in [(0o640, true), (0o604, true), (0o620, true), (0o611, false)] {
                let (dir, fleet) = lab();
                let path = dir.path().join(name);
                fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
                let found = read(&fleet).err().unwrap_or_default();
                assert_eq!(found.len(), usize::from(is_told), "{name} {mode:o}");
                let said = format!("(mode {mode:04o})");
                let command = format!("'chmod 600 {}'", path.display());
                assert!(
                    found.iter().all(|f| f.text.contains(&said) && f.text.contains(&command)),
                    "{found:?}"
                );
            }
        }
    }

    #[test]
    fn a_secret_of_another_user_is_an_error() {
        let (dir, fleet) = lab();
        let path = dir.path().join("one");
        // Only root can give files away.
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() {
            return;
        }
        let found = read(&fleet).err().unwrap();
        assert!(
            found[0].text.contains("belongs to the user 12345") && found[0].text.contains("'chown root ")
        );
    }

    #[test]
    fn all_files_of_no_use_are_told_at_once() {
        let (dir, fleet) = lab();
        for name in ["one", "ca", "key", "password"] {
            fs::remove_file(dir.path().join(name)).unwrap();
        }
        assert_eq!(read(&fleet).err().unwrap().len(), 4);
    }
}
