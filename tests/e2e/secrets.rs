// SPDX-License-Identifier: Apache-2.0
//! Secrets stay where they belong: not in the log at any level, not on any page, not in a file that everyone
//! can read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use openssl::pkey::PKey;

use support::{Config, Pebble, open_lab};

const HMAC: &str = "cGxhbnRlZC1obWFjLXRoYXQtbm9ib2R5LW1heS1yZWFk";

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (dirs, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.into_iter().chain(dirs.iter().flat_map(|dir| self::files(dir))).collect()
}

/// Texts that a reader could make a secret of: a line of it is enough.
fn secrets(store: &Path) -> Vec<(String, String)> {
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(store.join("md_store.json")).unwrap()).unwrap();
    let key = record["key"].as_str().unwrap().to_string();
    let bytes = BASE64URL_NOPAD.decode(key.as_bytes()).unwrap();
    let hmac = BASE64URL_NOPAD.decode(HMAC.as_bytes()).unwrap();
    let mut found = vec![
        ("the store's key".to_string(), key),
        ("the store's key in base64".into(), BASE64.encode(&bytes)),
        ("the hmac".into(), HMAC.into()),
        ("the hmac in base64".into(), BASE64.encode(&hmac)),
        ("the hmac as it is".into(), String::from_utf8(hmac).unwrap()),
    ];
    for file in files(store).into_iter().filter(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("privkey") || name == "account.pem"
    }) {
        let pem = fs::read(&file).unwrap();
        let name = file.strip_prefix(store).unwrap().display().to_string();
        let clear = PKey::private_key_from_pem_callback(&pem, |room| {
            let end = bytes.len().min(room.len());
            room[..end].copy_from_slice(&bytes[..end]);
            Ok(end)
        });
        // The middle of the clear PEM: its beginning is the same for all keys of one kind.
        let text = String::from_utf8(clear.unwrap().private_key_to_pem_pkcs8().unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        found.push((format!("the clear key of {name}"), lines[lines.len() / 2].to_string()));
    }
    found
}

#[test]
fn no_secret_is_logged_shown_or_readable_by_everyone() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let config = Config::with_ca(&lab, &pebble.authority)
        .line("LogLevel notice md:trace8\nMDServerStatus on\nMDPrivateKeys RSA P-256")
        .line("<Location /metrics>\nSetHandler md-metrics\n</Location>")
        .line("MDomain one.test www.one.test\nMDMessageCmd /bin/true\nMDRetryDelay 1h")
        .line(&format!(
            "<MDomain eab.test>\nMDExternalAccountBinding planted-kid {HMAC}\nMDCertificateAuthority https://127.0.0.1:{}/dir\n</MDomain>",
            lab.port()
        ))
        .site("one.test", &["www.one.test"])
        .site("eab.test", &[]);
    let mut httpd = config.start();
    httpd.wait_staged("one.test");
    let mut shown = Vec::new();
    let mut look = |httpd: &support::Httpd, when: &str| {
        for path in [
            "/md-status",
            "/md-status/one.test",
            "/md-status/eab.test",
            "/server-status",
            "/server-status?auto",
            "/metrics",
        ] {
            let body = httpd.get("main.test", path).body;
            assert!(body.len() > 100, "{path}: {body}");
            shown.push((format!("{path} {when}"), body));
        }
        let path = "/.httpd/certificate-status";
        shown.push((format!("{path} {when}"), httpd.https_get("one.test", path).body));
    };
    let store = httpd.config.store();
    let mut planted = secrets(&store);
    look(&httpd, "before the restart");
    httpd.graceful();
    look(&httpd, "after the restart");
    planted.extend(secrets(&store));
    assert!(planted.len() > 10, "keys are found: {planted:?}");
    shown.push(("the log".into(), httpd.said()));
    for file in files(&store) {
        if fs::metadata(&file).unwrap().permissions().mode() & 0o004 != 0 {
            shown.push((
                file.display().to_string(),
                String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned(),
            ));
        }
    }
    assert!(shown.iter().any(|(place, _)| place.ends_with("account.pem")), "encrypted keys may be read");
    assert!(shown.iter().any(|(_, text)| text.contains("planted-kid")), "the key's name is no secret");
    for (what, secret) in &planted {
        for (place, text) in &shown {
            assert!(!text.contains(secret.as_str()), "{what} in {place}");
        }
    }
}
