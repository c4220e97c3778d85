// SPDX-License-Identifier: Apache-2.0
//! `a2md gc`: lists first, and never takes what is in use.

use super::call::a2md;
use mod_md::store::{Group, StartStore};
use std::path::Path;
use support::open_lab;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn old_sets_go_after_they_were_listed_and_the_last_two_stay() {
    let Some(lab) = open_lab!() else { return };
    let dir = lab.path("md");
    let store = StartStore::open(&dir, None).unwrap();
    for number in 1..=4 {
        store.write(Group::Archive, &format!("a.test.{number}"), "md.json", &[b' '; 2048]).unwrap();
    }
    let gc =
        |arguments: &[&str]| a2md(&[&["gc", "-d", text(&dir), "--httpd", "/bin/false"], arguments].concat());
    let nothing = gc(&["--yes"]);
    assert_eq!((nothing.code, nothing.out.as_str()), (0, "Nothing to remove.\n"), "{}", nothing.err);
    assert!(nothing.err.contains("configuration of httpd is not known"), "{}", nothing.err);
    let listed = gc(&["--older-than", "0d", "--dry-run"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    assert!(
        listed.out.contains("archive/a.test.1")
            && listed.out.ends_with("2 things can be removed: 4.0 KiB.\n"),
        "{}",
        listed.out
    );
    assert_eq!(store.names(Group::Archive).unwrap().len(), 4);
    let refused = gc(&["--older-than", "0d"]);
    assert!(refused.code == 1 && refused.err.contains("--yes"), "{}", refused.err);
    assert_eq!(store.names(Group::Archive).unwrap().len(), 4);
    let done = gc(&["--older-than", "0d", "--yes", "-j"]);
    assert_eq!((done.code, done.json()["bytes"].as_u64()), (0, Some(4096)), "{}", done.err);
    assert_eq!(store.names(Group::Archive).unwrap(), ["a.test.3", "a.test.4"]);
    assert_eq!(gc(&["--older-than", "soon"]).code, 2);
}
