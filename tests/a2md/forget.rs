// SPDX-License-Identifier: Apache-2.0
//! `a2md forget`, beside an httpd and without one.

use super::call::a2md;
use std::path::Path;
use support::{Config, Need, Pebble, open_lab};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_domain_is_forgotten_with_its_keys_in_the_archive_and_others_serve_on() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let config = Config::with_ca(&lab, &pebble.authority).line("MDomain one.test\nMDomain two.test");
    let mut httpd = config.site("one.test", &[]).site("two.test", &[]).at_restarts().start();
    httpd.wait_staged("one.test");
    httpd.wait_staged("two.test");
    httpd.graceful();
    let store = httpd.config.store();

    // Nobody says what the configuration names, and an httpd is there.
    let refused = a2md(&["forget", "one.test", "--yes", "-d", text(&store), "--httpd", "/bin/false"]);
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(refused.err.contains("a2md: "), "{}", refused.err);
    assert!(store.join("domains/one.test/privkey.pem").exists());

    let config = httpd.stop();
    let refused = a2md(&["forget", "one.test", "-d", text(&store), "--httpd", "/bin/false"]);
    assert!(refused.code == 1 && refused.err.contains("--yes"), "{}", refused.err);
    let unknown = a2md(&["forget", "none.test", "--yes", "-d", text(&store), "--httpd", "/bin/false"]);
    assert!(unknown.code == 1 && unknown.err.contains("nothing of that name"), "{}", unknown.err);
    let done = a2md(&["forget", "one.test", "--yes", "-d", text(&store), "--httpd", "/bin/false"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(
        done.out.contains("domains/one.test") && done.out.contains("moves to the archive"),
        "{}",
        done.out
    );
    for (path, is_there) in [
        ("domains/one.test", false),
        ("staging/one.test", false),
        ("archive/one.test.2/privkey.pem", true),
        ("archive/one.test.2/pubcert.pem", true),
        ("domains/two.test/privkey.pem", true),
    ] {
        assert_eq!(store.join(path).exists(), is_there, "{path}");
    }
    let verified = a2md(&["store", "verify", "-d", text(&store)]);
    assert_eq!(verified.code, 0, "{}", verified.out);

    let httpd = config.start();
    assert!(httpd.served("two.test", &pebble, &[]).verified);
    httpd.wait_staged("one.test");
    let config = httpd.stop();
    let purged = a2md(&[
        "forget",
        "one.test",
        "two.test",
        "--purge",
        "--yes",
        "-j",
        "-d",
        text(&config.store()),
        "--httpd",
        "/bin/false",
    ]);
    assert_eq!(purged.code, 0, "{}", purged.err);
    assert_eq!(purged.json()["forgotten"][1]["name"], "two.test");
    let left = std::fs::read_dir(store.join("archive")).unwrap().count();
    assert_eq!(left, 0);
    assert!(store.join("accounts/ACME-127.0.0.1-0000/account.pem").exists());
}

#[test]
fn httpd_says_which_domains_it_names_and_serves_on() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let both = Config::with_ca(&lab, &pebble.authority).line("MDomain one.test\nMDomain two.test");
    let mut httpd = both.site("one.test", &[]).site("two.test", &[]).at_restarts().start();
    httpd.wait_staged("one.test");
    httpd.wait_staged("two.test");
    httpd.graceful();
    let (store, control) = (httpd.config.store(), httpd.config.control());
    let forget =
        |name: &str, control: &str| a2md(&["forget", name, "--yes", "-d", text(&store), "--httpd", control]);
    let refused = forget("one.test", &control);
    assert!(refused.code == 1 && refused.err.contains("is in use"), "{}\n{}", refused.out, refused.err);
    let gc = ["gc", "--older-than", "0d", "--yes", "-d", text(&store), "--httpd"];
    let swept = a2md(&[&gc[..], &[&control]].concat());
    assert_eq!(swept.code, 0, "{}", swept.err);
    assert!(store.join("domains/one.test/privkey.pem").exists(), "{}", swept.out);

    let root = httpd.stop().server_root().to_path_buf();
    let one = Config::with_ca(&lab, &pebble.authority)
        .root(&root)
        .line("MDomain two.test\nMDomain late.test www.one.test");
    let httpd = one.site("two.test", &[]).site("www.one.test", &[]).at_restarts().start();
    let control = httpd.config.control();
    let before = httpd.served("two.test", &pebble, &[]);
    assert!(before.verified, "{}", before.verdict);
    let refused = forget("two.test", &control);
    assert!(refused.code == 1 && refused.err.contains("md[two.test]"), "{}", refused.err);
    let done = forget("one.test", &control);
    assert_eq!(done.code, 0, "{}\n{}", done.out, done.err);
    assert!(
        !store.join("domains/one.test").exists() && store.join("archive/one.test.2/privkey.pem").exists()
    );
    assert_eq!(httpd.served("two.test", &pebble, &[]).serial(), before.serial());
    let swept = a2md(&[&gc[..], &[&control]].concat());
    assert!(swept.code == 0 && !store.join("archive/one.test.2").exists(), "{}\n{}", swept.out, swept.err);
    assert!(store.join("domains/two.test/privkey.pem").exists() && store.join("archive/two.test.1").exists());
}
