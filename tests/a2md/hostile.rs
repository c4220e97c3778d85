// SPDX-License-Identifier: Apache-2.0
//! What httpd's user leaves in the store, and what is damaged there, keeps no operator from the rest of it.

use super::call::{Called, a2md};
use openssl::pkey::Id;
use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::issuer::{Issuer, Set};
use support::{Lab, lab, open_lab};

const USER: u32 = 33;

/// Makes something in a folder.
type Maker<'m> = &'m dyn Fn(&Path);

fn call(store: &Path, arguments: &[&str]) -> Called {
    a2md(&[&["-d", store.to_str().unwrap()], arguments].concat())
}

fn put(folder: &Path, set: &Set) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("privkey.pem"), set.key_pem()).unwrap();
    fs::write(folder.join("pubcert.pem"), set.chain_pem()).unwrap();
}

fn serial(set: &Set) -> String {
    set.chain[0].serial_number().to_bn().unwrap().to_hex_str().unwrap().to_uppercase()
}

/// A store with a certificate in use and one in the archive, whose serial numbers are returned.
fn store(lab: &Lab) -> (PathBuf, String, String) {
    let dir = lab.path("md");
    for name in ["a.test", "b.test"] {
        assert_eq!(call(&dir, &["add", name]).code, 0);
    }
    let issuer = Issuer::new();
    let [used, old] = [40, 30].map(|days| issuer.issue_for(&["a.test"], Id::RSA, -60, days * 86_400));
    put(&dir.join("domains/a.test"), &used);
    put(&dir.join("archive/a.test.1"), &old);
    fs::copy(dir.join("domains/a.test/md.json"), dir.join("archive/a.test.1/md.json")).unwrap();
    if lab::is_root() {
        for folder in ["staging", "challenges", "ocsp", "dns"] {
            chown(dir.join(folder), Some(USER), Some(USER)).unwrap();
        }
    }
    (dir, serial(&used), serial(&old))
}

/// Puts what `make` makes into the staging of the domain, in the name of httpd's user.
fn plant(dir: &Path, make: impl FnOnce(&Path)) {
    let folder = dir.join("staging/a.test");
    match fs::symlink_metadata(&folder) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(&folder).unwrap(),
        Ok(_) => fs::remove_file(&folder).unwrap(),
        Err(_) => {}
    }
    fs::create_dir(&folder).unwrap();
    make(&folder);
    if lab::is_root() {
        lchown(&folder, Some(USER), Some(USER)).unwrap();
    }
}

#[test]
fn nothing_in_staging_keeps_an_operator_from_the_certificate_in_use() {
    let Some(lab) = open_lab!() else { return };
    let (dir, used, old) = store(&lab);
    let outside = lab.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "untouched").unwrap();
    let secret = outside.join("secret");
    let plants: [(&str, Maker<'_>); 5] = [
        ("link", &|folder| symlink(&secret, folder.join("live.json")).unwrap()),
        ("fifo", &|folder| {
            assert!(Command::new("mkfifo").arg(folder.join("live.json")).status().unwrap().success());
        }),
        ("folder", &|folder| fs::create_dir_all(folder.join("live.json/x/y")).unwrap()),
        ("deep", &|folder| fs::write(folder.join("live.json"), "[".repeat(100_000)).unwrap()),
        ("elsewhere", &|folder| {
            fs::remove_dir(folder).unwrap();
            symlink(&outside, folder).unwrap();
        }),
    ];
    for (what, make) in plants {
        plant(&dir, make);
        let listed = call(&dir, &["rollback", "a.test", "-j"]);
        assert_eq!(listed.code, 0, "{what}: {}", listed.err);
        assert_eq!(listed.json()["in-use"]["certificates"][0]["serial"], used, "{what}");
        let revoked = call(&dir, &["-a", "http://127.0.0.1:1/", "revoke", "a.test", "--yes"]);
        assert!(revoked.code == 1 && revoked.out.contains(&used), "{what}: {}{}", revoked.out, revoked.err);
        let back = call(&dir, &["rollback", "a.test", "1"]);
        assert!(back.code == 0 && back.out.contains(&old), "{what}: {}{}", back.out, back.err);
        fs::remove_dir_all(dir.join("withdrawn")).unwrap();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "untouched", "{what}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{what}");
    }
}

#[test]
fn a_damaged_record_is_told_and_hides_no_other_and_no_domain() {
    let Some(lab) = open_lab!() else { return };
    let (dir, ..) = store(&lab);
    for (folder, content) in [
        ("ACME-ca.test-0000", "{"),
        (
            "ACME-ca.test-0001",
            r#"{"status":"valid","url":"https://ca.test/acct/1","ca-url":"https://ca.test/dir","contact":[]}"#,
        ),
    ] {
        let folder = dir.join("accounts").join(folder);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("account.json"), content).unwrap();
    }
    let listed = call(&dir, &["account", "list", "-j"]);
    assert!(listed.code == 0 && listed.err.contains("ACME-ca.test-0000"), "{}", listed.err);
    assert_eq!(listed.json()["accounts"].as_array().unwrap().len(), 1, "{}", listed.out);
    for content in ["{", "[]"] {
        fs::write(dir.join("domains/b.test/md.json"), content).unwrap();
        let checked = call(&dir, &["check"]);
        assert_eq!(checked.code, 2, "{content}: {}", checked.out);
        assert!(checked.out.contains("b.test: no certificate"), "{content}: {}", checked.out);
        let told = call(&dir, &["status"]).err;
        assert!(told.contains("md[b.test]") && told.contains("md.json"), "{content}: {told}");
    }
}
