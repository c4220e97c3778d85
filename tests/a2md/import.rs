// SPDX-License-Identifier: Apache-2.0
//! `a2md import`: trees that certbot and lego have made at a real CA, and one as acme.sh has it, come into use
//! without an order, and their accounts order later; the trees stay as they are.

use super::call::{Called, a2md, called, command};
use openssl::pkey::{Id, PKey};
use openssl::symm::Cipher;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::issuer::{self, Issuer, Set};
use support::{Authority, Config, Httpd, Lab, Need, Pebble, open_lab};

const NAMES: &[&str] = &["one.test", "www.one.test"];

/// Mode, owner, group, times of modification and change, content or where a link leads.
type Facts = ([u32; 3], [i64; 4], Vec<u8>);

/// What an import could put into a store: it takes the store's lock, whose file it may make.
fn of_sets(mut facts: BTreeMap<PathBuf, Facts>) -> BTreeMap<PathBuf, Facts> {
    facts.retain(|path, _| !path.ends_with("store.lock") && !path.ends_with("md"));
    facts
}

/// All of a tree that an import could change.
fn facts(tree: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut found = BTreeMap::new();
    let mut left = vec![tree.to_path_buf()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = match meta.file_type() {
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
            kind if kind.is_dir() => {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                Vec::new()
            }
            kind if kind.is_file() => fs::read(&path).unwrap(),
            _ => Vec::new(),
        };
        let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
        let entry = ([meta.mode(), meta.uid(), meta.gid()], times, content);
        found.insert(path, entry);
    }
    found
}

#[track_caller]
fn succeed(mut command: Command) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&text));
}

/// A server with the domain, whose renewal has not begun.
fn config(lab: &Lab, pebble: &Pebble, keys: &str) -> Config {
    Config::with_ca(lab, &pebble.authority)
        .line(&format!(
            "MDCheckInterval 1s\nMDRetryDelay 1s\nMDPrivateKeys {keys}\nMDomain one.test www.one.test"
        ))
        .site("one.test", &["www.one.test"])
}

/// Its store, with the domain and without a certificate.
fn prepare(lab: &Lab, pebble: &Pebble, keys: &str) -> PathBuf {
    let config = config(lab, pebble, keys).line("MDInitialDelay 1h").start().stop();
    config.store()
}

fn import(store: &Path, arguments: &[&str]) -> Called {
    let mut all = vec!["-d", store.to_str().unwrap(), "import"];
    all.extend(arguments);
    a2md(&all)
}

fn states(document: &Value, of: &str) -> Vec<String> {
    let entries = document[of].as_array().unwrap().iter();
    entries.map(|entry| entry["state"].as_str().unwrap().to_string()).collect()
}

/// The imported certificate is served without an order, and the imported account renews it.
#[track_caller]
fn assert_taken_over(lab: &Lab, pebble: &Pebble, keys: &str, serial: &str) {
    let (orders, accounts) = (pebble.order_count(), pebble.account_count());
    let httpd = config(lab, pebble, keys).start();
    let served = httpd.served("one.test", pebble, &[]);
    assert!(served.verified);
    assert_eq!(served.serial(), serial);
    httpd.wait_looked_twice();
    assert_eq!((pebble.order_count(), pebble.account_count()), (orders, accounts), "{}", httpd.log());
    drop(httpd.stop());
    let mut httpd = config(lab, pebble, keys).line("MDRenewWindow 100d").at_restarts().start();
    httpd.wait_staged("one.test");
    assert_eq!((pebble.order_count(), pebble.account_count()), (orders + 1, accounts), "{}", httpd.log());
    httpd.rewrite(|config| config.line("MDRenewWindow 1d"));
    httpd.graceful();
    assert_ne!(httpd.served("one.test", pebble, &[]).serial(), serial);
}

fn certbot(lab: &Lab, pebble: &Pebble, arguments: &[&str]) -> PathBuf {
    let tree = lab.path("letsencrypt");
    let mut command = Command::new("certbot");
    command.args([
        "certonly",
        "-n",
        "--standalone",
        "--agree-tos",
        "-m",
        "admin@one.test",
        "--no-verify-ssl",
    ]);
    command.args(["--http-01-port", &lab.http.to_string(), "--server", &pebble.authority.directory()]);
    command.arg("--config-dir").arg(&tree);
    command.arg("--work-dir").arg(lab.path("work")).arg("--logs-dir").arg(lab.path("logs"));
    command.args(arguments);
    succeed(command);
    tree
}

fn leaf_serial(chain: &Path) -> String {
    let chain = openssl::x509::X509::stack_from_pem(&fs::read(chain).unwrap()).unwrap();
    support::tls::serial(&chain[0])
}

#[test]
fn certificates_and_the_account_of_certbot_are_taken_over() {
    let Some(lab) = open_lab!(Need::Pebble(0, 0), Need::Program("certbot")) else { return };
    let pebble = Authority::new(&lab).patient().start();
    let tree = certbot(&lab, &pebble, &["--key-type", "ecdsa", "-d", "one.test", "-d", "www.one.test"]);
    certbot(&lab, &pebble, &["--key-type", "rsa", "-d", "two.test"]);
    let serial = leaf_serial(&tree.join("live/one.test/fullchain.pem"));
    let store = prepare(&lab, &pebble, "P-256");
    let (before, stored) = (facts(&tree), facts(&store));
    let dir = tree.to_str().unwrap();
    let dry = import(&store, &["certbot", dir, "--dry-run", "-j"]);
    let document = dry.json();
    assert_eq!(
        (states(&document, "sets"), states(&document, "accounts")),
        (vec!["would".into(), "uncovered".into()], vec!["would".into()]),
        "{document:#}"
    );
    assert_eq!(facts(&store), stored, "nothing was done");
    let imported = import(&store, &["certbot", dir, "-j"]);
    assert_eq!(imported.code, 0, "{}", imported.err);
    let document = imported.json();
    assert_eq!(
        (states(&document, "sets"), states(&document, "accounts")),
        (vec!["staged".into(), "uncovered".into()], vec!["imported".into()]),
        "{document:#}"
    );
    let lines = document["configuration"].as_array().unwrap();
    let directory = format!("    MDCertificateAuthority {}", pebble.authority.directory());
    assert_eq!(lines[..3], ["<MDomain two.test>", &directory, "    MDPrivateKeys RSA 2048"].map(Value::from));
    assert!(!imported.out.contains("PRIVATE"));
    assert_eq!(facts(&tree), before, "the source is as it was");
    let again = import(&store, &["certbot", dir, "-j"]).json();
    assert_eq!(
        (states(&again, "sets"), states(&again, "accounts")),
        (vec!["passed".into(), "uncovered".into()], vec!["known".into()]),
        "{again:#}"
    );
    assert_taken_over(&lab, &pebble, "P-256", &serial);
    assert_eq!(facts(&tree), before);
    // For people.
    let text = import(&store, &["certbot", dir]);
    assert!(text.code == 0 && text.out.contains("<MDomain two.test>"), "{}", text.out);
}

fn lego(lab: &Lab, pebble: &Pebble, key_type: &str) -> PathBuf {
    let tree = lab.path("lego");
    let mut command = Command::new("lego");
    command.env("LEGO_CA_CERTIFICATES", &pebble.authority.certificate);
    command.args(["--server", &pebble.authority.directory(), "--accept-tos", "--email", "admin@one.test"]);
    command.arg("--path").arg(&tree).args(["--key-type", key_type]);
    command.args(["--http", "--http.port", &format!("127.0.0.1:{}", lab.http)]);
    command.args(["--domains", "one.test", "--domains", "www.one.test", "run"]);
    succeed(command);
    tree
}

#[test]
fn certificates_and_the_account_of_lego_are_taken_over() {
    let Some(lab) = open_lab!(Need::Pebble(0, 0), Need::Program("lego")) else { return };
    let pebble = Authority::new(&lab).patient().start();
    let tree = lego(&lab, &pebble, "rsa2048");
    let serial = leaf_serial(&tree.join("certificates/one.test.crt"));
    let store = prepare(&lab, &pebble, "RSA");
    let before = facts(&tree);
    let document = import(&store, &["lego", tree.to_str().unwrap(), "-j"]).json();
    assert_eq!(
        (states(&document, "sets"), states(&document, "accounts")),
        (vec!["staged".into()], vec!["imported".into()]),
        "{document:#}"
    );
    assert_eq!(document["accounts"][0]["contacts"][0], "mailto:admin@one.test");
    assert_eq!(facts(&tree), before);
    assert_taken_over(&lab, &pebble, "RSA", &serial);
}

/// acme.sh itself is in no package source: its tree is written as its documentation and its script have it.
#[test]
fn certificates_and_the_account_of_acme_sh_are_taken_over() {
    let Some(lab) = open_lab!(Need::Pebble(0, 0), Need::Program("lego")) else { return };
    let pebble = Authority::new(&lab).patient().start();
    let source = lego(&lab, &pebble, "ec256");
    let tree = lab.path("acme.sh");
    let (host, path) = pebble
        .authority
        .directory()
        .split_once("://")
        .unwrap()
        .1
        .split_once('/')
        .map(|(host, path)| (host.split(':').next().unwrap().to_string(), path.to_string()))
        .unwrap();
    let [domain, account] = [tree.join("one.test_ecc"), tree.join("ca").join(host).join(path)];
    [&domain, &account].iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
    let certificates = source.join("certificates");
    fs::copy(certificates.join("one.test.crt"), domain.join("fullchain.cer")).unwrap();
    fs::copy(certificates.join("one.test.key"), domain.join("one.test.key")).unwrap();
    fs::write(
        domain.join("one.test.conf"),
        format!("Le_Domain='one.test'\nLe_Alt='www.one.test'\nLe_Webroot='/var/www'\nLe_API='{}'\nLe_Keylength='ec-256'\n", pebble.authority.directory()),
    )
    .unwrap();
    let user =
        fs::read_dir(source.join("accounts")).unwrap().next().unwrap().unwrap().path().join("admin@one.test");
    fs::copy(user.join("keys/admin@one.test.key"), account.join("account.key")).unwrap();
    let record: Value = serde_json::from_slice(&fs::read(user.join("account.json")).unwrap()).unwrap();
    let url = record["registration"]["uri"].as_str().unwrap();
    fs::write(account.join("ca.conf"), format!("ACCOUNT_URL='{url}'\nCA_EMAIL='admin@one.test'\n")).unwrap();
    let serial = leaf_serial(&domain.join("fullchain.cer"));
    let store = prepare(&lab, &pebble, "P-256");
    let before = facts(&tree);
    let document = import(&store, &["acme.sh", tree.to_str().unwrap(), "-j"]).json();
    assert_eq!(
        (states(&document, "sets"), states(&document, "accounts")),
        (vec!["staged".into()], vec!["imported".into()]),
        "{document:#}"
    );
    assert_eq!(facts(&tree), before);
    assert_taken_over(&lab, &pebble, "P-256", &serial);
}

/// As docs/a2md.md tells to move a site: nothing is ordered at any time.
#[test]
fn a_site_moves_with_lines_that_are_not_in_force_yet() {
    let Some(lab) = open_lab!(Need::Pebble(0, 0), Need::Program("certbot")) else { return };
    let pebble = Authority::new(&lab).patient().start();
    let tree = certbot(&lab, &pebble, &["--key-type", "rsa", "-d", "one.test", "-d", "www.one.test"]);
    let serial = leaf_serial(&tree.join("live/one.test/fullchain.pem"));
    let (orders, accounts) = (pebble.order_count(), pebble.account_count());
    let [cert, key] = ["fullchain", "privkey"].map(|name| tree.join(format!("live/one.test/{name}.pem")));
    let files = format!(
        "ServerAlias www.one.test\nSSLCertificateFile {}\nSSLCertificateKeyFile {}",
        cert.display(),
        key.display()
    );
    let config = Config::with_ca(&lab, &pebble.authority)
        .line("MDCheckInterval 1s\nMDRetryDelay 1s")
        .site_with("one.test", &files);
    let control = config.control();
    let mut httpd = config.start();
    let store = Config::new(&lab).store();
    let tree = tree.to_str().unwrap();
    // httpd has made no store yet. Without domains, the account alone is imported.
    let dry = import(&store, &["certbot", tree, "-j", "--httpd", &control]).json();
    assert_eq!(
        (states(&dry, "sets"), states(&dry, "accounts")),
        (vec!["uncovered".into()], vec!["imported".into()])
    );
    assert_eq!(dry["configuration"][0], "<MDomain one.test www.one.test>", "{dry:#}");
    let hindrances: Vec<&str> =
        dry["hindrances"].as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert!(hindrances.iter().any(|what| what.contains("SSLCertificateFile")), "{hindrances:?}");
    let lines: Vec<&str> =
        dry["configuration"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let lines = lines.join("\n");
    httpd.rewrite(|config| {
        // The same server without the files.
        let _ = config;
        Config::with_ca(&lab, &pebble.authority)
            .line("MDCheckInterval 1s\nMDRetryDelay 1s")
            .line(&lines)
            .site("one.test", &["www.one.test"])
    });
    let document = import(&store, &["certbot", tree, "-j", "--httpd", &control]).json();
    assert_eq!(
        (states(&document, "sets"), states(&document, "accounts")),
        (vec!["staged".into()], vec!["known".into()]),
        "{document:#}"
    );
    httpd.graceful();
    let served = httpd.served("one.test", &pebble, &[]);
    assert!(served.verified);
    assert_eq!(served.serial(), serial);
    httpd.wait_looked_twice();
    assert_eq!((pebble.order_count(), pebble.account_count()), (orders, accounts), "{}", httpd.log());
    let md: Value =
        serde_json::from_slice(&fs::read(store.join("domains/one.test/md.json")).unwrap()).unwrap();
    assert!(md["ca"]["account"].is_string());
    assert_eq!(md["ca"]["account"], document["accounts"][0]["account"]);
}

/// A running server with a certificate that needs no CA.
fn running(lab: &Lab, issuer: &Issuer) -> (Httpd, Set) {
    let config = Config::with_ca(lab, &Authority::new(lab))
        .line("MDCheckInterval 1s\nMDRetryDelay 1s\nMDPrivateKeys P-256\nMDomain one.test www.one.test")
        .site("one.test", &["www.one.test"]);
    let first = issuer.issue(NAMES);
    issuer::install(&config.store(), NAMES, &[&first]);
    (config.start(), first)
}

#[test]
fn pairs_of_any_folder_go_live_in_a_running_httpd() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    let (httpd, _) = running(&lab, &issuer);
    let store = Config::new(&lab).store();
    let tree = lab.path("ssl");
    fs::create_dir_all(tree.join("private")).unwrap();
    let set = issuer.issue_for(NAMES, Id::EC, -60, 90 * 86_400);
    fs::write(tree.join("whatever.txt"), set.chain_pem()).unwrap();
    fs::write(tree.join("private/other-name"), set.key.ec_key().unwrap().private_key_to_pem().unwrap())
        .unwrap();
    fs::set_permissions(tree.join("private/other-name"), fs::Permissions::from_mode(0o644)).unwrap();
    let document = import(&store, &["files", tree.to_str().unwrap(), "-j"]).json();
    assert_eq!(states(&document, "sets"), ["staged"], "{document:#}");
    assert!(document["hindrances"][0]["what"].as_str().unwrap().ends_with("private/other-name"));
    httpd.wait_live("one.test", &set.serial());
}

#[test]
fn what_is_expired_incomplete_or_hostile_is_told_and_passed_over() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    let (httpd, first) = running(&lab, &issuer);
    let store = Config::new(&lab).store();
    drop(httpd.stop());
    let tree = lab.path("letsencrypt");
    let outside = lab.path("outside.pem");
    let good = issuer.issue_for(NAMES, Id::EC, -60, 90 * 86_400);
    fs::write(&outside, good.key_pem()).unwrap();
    let lineage = |name: &str, key: Option<Vec<u8>>, chain: Option<Vec<u8>>| {
        let dir = tree.join("live").join(name);
        fs::create_dir_all(&dir).unwrap();
        key.iter().for_each(|key| fs::write(dir.join("privkey.pem"), key).unwrap());
        chain.iter().for_each(|chain| fs::write(dir.join("fullchain.pem"), chain).unwrap());
        dir
    };
    let expired = issuer.issue_for(NAMES, Id::EC, -86_400, -60);
    lineage("expired", Some(expired.key_pem()), Some(expired.chain_pem()));
    lineage("mismatch", Some(first.key_pem()), Some(good.chain_pem()));
    lineage("incomplete", Some(good.key_pem()), None);
    let sealed = good.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"x").unwrap();
    lineage("encrypted", Some(sealed), Some(good.chain_pem()));
    lineage("garbage", Some(b"\x1b[2J".to_vec()), Some(good.chain_pem()));
    lineage("huge", Some(vec![b'x'; 2_000_000]), Some(good.chain_pem()));
    symlink(&outside, lineage("link", None, Some(good.chain_pem())).join("privkey.pem")).unwrap();
    let pipe = lineage("pipe", None, Some(good.chain_pem())).join("privkey.pem");
    succeed({
        let mut command = Command::new("mkfifo");
        command.arg(&pipe);
        command
    });
    symlink("/dev/zero", lineage("device", None, Some(good.chain_pem())).join("privkey.pem")).unwrap();
    let (before, stored) = (facts(&tree), facts(&store));
    let imported = import(&store, &["certbot", tree.to_str().unwrap(), "-j"]);
    assert_eq!(imported.code, 0, "{}", imported.err);
    let document = imported.json();
    for (name, reason) in [
        ("expired", "expired"),
        ("mismatch", "does not belong"),
        ("incomplete", "certificate is missing"),
        ("encrypted", "pass phrase"),
        ("garbage", "no private key"),
        ("huge", "larger"),
        ("link", "does not lead into archive/"),
        ("pipe", "not a plain file"),
        ("device", "does not lead into archive/"),
    ] {
        let sets = document["sets"].as_array().unwrap();
        let set = sets.iter().find(|set| set["origin"] == format!("live/{name}")).unwrap();
        assert!(set["reason"].as_str().unwrap().contains(reason), "{name}: {set:#}");
        assert_eq!(set["state"], "passed", "{name}");
    }
    assert_eq!(facts(&tree), before);
    assert_eq!(of_sets(facts(&store)), of_sets(stored), "nothing was imported");
    let none = import(&store, &["lego", tree.to_str().unwrap()]);
    assert!(
        none.code == 1 && none.err.contains("neither a certificate nor an account of lego"),
        "{}",
        none.err
    );
    let none = import(&store, &["files"]);
    assert!(none.code == 1 && none.err.contains("a2md import files DIR"), "{}", none.err);
    assert!(PKey::private_key_from_pem(&fs::read(&outside).unwrap()).is_ok());
}

#[test]
fn with_new_keys_no_key_is_taken_over() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    let (httpd, _) = running(&lab, &issuer);
    let store = Config::new(&lab).store();
    drop(httpd.stop());
    let tree = lab.path("ssl");
    fs::create_dir_all(&tree).unwrap();
    let set = issuer.issue_for(NAMES, Id::EC, -60, 90 * 86_400);
    fs::write(tree.join("both.pem"), [set.chain_pem(), set.key_pem()].concat()).unwrap();
    let document = import(&store, &["files", tree.to_str().unwrap(), "--new-key", "-j"]).json();
    assert!(document["sets"][0]["reason"].as_str().unwrap().contains("--new-key"), "{document:#}");
    assert!(!store.join("staging/one.test/privkey.p-256.pem").exists());
}

#[test]
fn an_import_that_is_killed_anywhere_leaves_what_the_next_start_can_use() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    let (httpd, first) = running(&lab, &issuer);
    let store = Config::new(&lab).store();
    let config = httpd.stop();
    let tree = lab.path("ssl");
    fs::create_dir_all(&tree).unwrap();
    let set = issuer.issue_for(NAMES, Id::EC, -60, 90 * 86_400);
    fs::write(tree.join("both.pem"), [set.chain_pem(), set.key_pem()].concat()).unwrap();
    let arguments = ["-d", store.to_str().unwrap(), "import", "files", tree.to_str().unwrap()];
    for step in 0..30 {
        let mut child = command(&arguments).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(step * 700));
        support::process::signal(child.id(), "KILL");
        child.wait().unwrap();
    }
    let whole = called(command(&arguments));
    assert_eq!(whole.code, 0, "{}", whole.err);
    let httpd = config.start();
    let serial = support::tls::served(lab.https, "one.test", None, &[]).serial();
    assert_eq!(serial, set.serial(), "not {}: {}", first.serial(), httpd.log());
}

#[test]
fn a_dry_run_needs_no_store() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Authority::new(&lab).patient().start();
    let config = config(&lab, &pebble, "P-256");
    let tree = lab.path("files");
    fs::create_dir(&tree).unwrap();
    let set = Issuer::new().issue(NAMES);
    fs::write(tree.join("fullchain.pem"), set.chain_pem()).unwrap();
    fs::write(tree.join("privkey.pem"), set.key_pem()).unwrap();
    let control = config.control();
    let called = a2md(&["--httpd", &control, "import", "files", tree.to_str().unwrap(), "--dry-run", "-j"]);
    assert_eq!(called.code, 0, "{} {}", called.out, called.err);
    let document = called.json();
    assert_eq!(states(&document, "sets"), ["would"], "{document}");
    assert!(!config.store().exists());
    assert!(called.err.contains("not made yet"), "{}", called.err);
}
