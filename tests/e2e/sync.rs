// SPDX-License-Identifier: Apache-2.0
//! The store through the changes an admin makes: names come and go, domains are renamed, merged, split,
//! removed and added again. Certificates that still fit stay in use without a renewal. And the failures: a
//! held lock, a folder that cannot be written.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use openssl::pkey::Id;
use openssl::x509::X509;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use support::lab::skip;
use support::tls::{self, self_signed};
use support::{Account, Config, Httpd, Need, Pebble, open_lab};

/// Puts a certificate into use as if it had been activated; `name` is the first of `names`. Gives its serial
/// number.
fn install(config: &Config, names: &[&str]) -> String {
    let folder = config.store().join("domains").join(names[0]);
    fs::create_dir_all(&folder).unwrap();
    let alternatives: Vec<_> = names.iter().map(|name| format!("DNS:{name}")).collect();
    let (certificate, key) = (folder.join("pubcert.pem"), folder.join("privkey.pem"));
    self_signed(&alternatives.join(","), Id::RSA, &certificate, &key);
    let md = json!({"name": names[0], "domains": names, "state": 2});
    fs::write(folder.join("md.json"), md.to_string()).unwrap();
    tls::serial(&X509::from_pem(&fs::read(certificate).unwrap()).unwrap())
}

fn md_json(httpd: &Httpd, name: &str) -> Value {
    let path = httpd.config.store().join("domains").join(name).join("md.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn has(config: &Config, path: &str) -> bool {
    config.store().join(path).exists()
}

fn serial_of(httpd: &Httpd, name: &str) -> String {
    tls::served(httpd.config.https_port(), name, None, &[]).serial()
}

/// Domains that nobody renews.
fn manual(config: &Config, domains: &[&str]) -> Config {
    let mut config = config.clone().line("MDRenewMode manual");
    for names in domains {
        let mut names = names.split(' ');
        let (first, others) = (names.next().unwrap(), names.collect::<Vec<_>>());
        config = config.line(&format!("MDomain {first} {}", others.join(" "))).site(first, &others);
    }
    config
}

#[test]
fn certificates_that_still_cover_are_served_through_every_change_of_names() {
    let Some(lab) = open_lab!() else { return };
    let base = Config::new(&lab);
    let both = install(&base, &["one.test", "www.one.test"]);
    let two = install(&base, &["two.test"]);

    // A name is dropped, and the order changes with the configuration.
    let httpd = manual(&base, &["one.test", "two.test"]).start();
    assert_eq!((serial_of(&httpd, "one.test"), serial_of(&httpd, "two.test")), (both.clone(), two.clone()));
    assert_eq!(md_json(&httpd, "one.test")["domains"], json!(["one.test"]));
    httpd.stop();

    // The name comes back, and is the first one now: the domain is renamed.
    let httpd = manual(&base, &["www.one.test one.test", "two.test"]).start();
    assert_eq!(serial_of(&httpd, "www.one.test"), both);
    assert_eq!(md_json(&httpd, "www.one.test")["domains"], json!(["www.one.test", "one.test"]));
    assert!(!has(&httpd.config, "domains/one.test"));
    httpd.stop();

    // Split: the folder goes with the name it has, the other begins anew.
    let httpd = manual(&base, &["www.one.test", "one.test", "two.test"]).start();
    assert_eq!(serial_of(&httpd, "www.one.test"), both);
    assert_ne!(serial_of(&httpd, "one.test"), both);
    assert_eq!(httpd.https_get("one.test", "/index.html").status, 503);
    httpd.stop();

    // Merged: no certificate covers all names, so none is good.
    let httpd = manual(&base, &["www.one.test one.test two.test"]).start();
    assert_eq!(httpd.md("www.one.test")["state"], 1);
    assert!(has(&httpd.config, "domains/two.test/privkey.pem"), "data of a domain that is gone stay");
    httpd.stop();

    // Removed and added again.
    let httpd = manual(&base, &["www.one.test one.test"]).start();
    assert_eq!(serial_of(&httpd, "www.one.test"), both);
    httpd.stop();
    let httpd = manual(&base, &["two.test", "www.one.test one.test"]).start();
    assert_eq!((serial_of(&httpd, "one.test"), serial_of(&httpd, "two.test")), (both, two));
}

/// Hosts are renamed, or their domain is defined by other names than before, while no CA answers.
#[test]
fn a_renamed_host_goes_on_with_the_certificate_of_the_names_it_had() {
    let Some(lab) = open_lab!() else { return };
    let base = Config::new(&lab)
        .line("MDCertificateAuthority https://127.0.0.1:1/dir\nMDCertificateAgreement accepted");
    // The certificate of one.test has the new name as well.
    let one = install(&base, &["one.test", "www.one.test", "new.test"]);
    let md = json!({"name": "one.test", "domains": ["one.test", "www.one.test"], "state": 2});
    fs::write(base.store().join("domains/one.test/md.json"), md.to_string()).unwrap();
    let wild = install(&base, &["*.wild.test"]);
    let two = install(&base, &["two.test", "www.two.test"]);
    let httpd = base
        .line("MDomain new.test\nMDomain a.wild.test\nMDomain three.test")
        .site("new.test", &["one.test", "www.one.test"])
        .site("a.wild.test", &[])
        .site("three.test", &["two.test", "www.two.test"])
        .start();
    for name in ["new.test", "one.test", "www.one.test"] {
        assert_eq!(serial_of(&httpd, name), one, "{name}");
        assert_eq!(httpd.https_get(name, "/index.html").body, "site new.test");
    }
    assert_eq!(serial_of(&httpd, "a.wild.test"), wild);
    assert_eq!(md_json(&httpd, "new.test")["domains"], json!(["new.test", "one.test", "www.one.test"]));
    // It lacks the new name, and serves the others.
    for name in ["three.test", "two.test", "www.two.test"] {
        assert_eq!(serial_of(&httpd, name), two, "{name}");
        assert_eq!(httpd.https_get(name, "/index.html").body, "site three.test");
    }
    assert_eq!(httpd.md("three.test")["state"], 1);
    assert!(
        ["one.test", "*.wild.test", "two.test"]
            .iter()
            .all(|old| !has(&httpd.config, &format!("domains/{old}")))
    );
}

#[test]
fn the_old_certificate_is_served_while_a_changed_domain_is_renewed() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let base = Config::with_ca(&lab, &pebble.authority);
    let domain = |keys: &str, names: &str| {
        base.clone()
            .line(&format!("MDPrivateKeys {keys}\nMDomain one.test {names}"))
            .site("one.test", &["www.one.test"])
    };
    let old = install(&base, &["one.test", "www.one.test"]);
    // Another CA alone is no reason to renew.
    let httpd = domain("RSA", "www.one.test").line("MDCheckInterval 1s").start();
    httpd.wait_looked_twice();
    assert_eq!(serial_of(&httpd, "one.test"), old);
    assert_eq!(pebble.order_count(), 0);
    httpd.stop();

    let mut httpd = domain("P-256", "www.one.test").start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let served = httpd.served("one.test", &pebble, &[]);
    assert!(served.verified && served.key() == Id::EC, "{}", served.verdict);
    assert!(has(&httpd.config, "archive/one.test.1/privkey.pem"), "the RSA set is in the archive");
    assert_eq!(md_json(&httpd, "one.test")["ca"]["url"], pebble.authority.directory());
    httpd.stop();

    let mut httpd = domain("P-256", "www.one.test new.test").start();
    assert_eq!(httpd.md("one.test")["state"], 1);
    httpd.wait_staged_and_activate(&["one.test"]);
    assert_eq!(httpd.served("one.test", &pebble, &[]).names(), ["new.test", "one.test", "www.one.test"]);
    assert_eq!(md_json(&httpd, "one.test")["domains"], json!(["one.test", "www.one.test", "new.test"]));
}

#[test]
fn a_start_without_the_lock_activates_nothing_and_the_next_one_does() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let config = Config::with_ca(&lab, &pebble.authority).line("MDStoreLocks 200ms\nMDomain one.test");
    let mut httpd = config.at_restarts().site("one.test", &[]).start();
    httpd.wait_staged("one.test");
    assert!(httpd.logged("AH10398").is_empty(), "the lock of each start is given back");
    let before = serial_of(&httpd, "one.test");

    let lock = File::open(httpd.config.store().join("store.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("nobody holds it while httpd runs");
    httpd.graceful();
    assert_eq!(httpd.logged("AH10398").len(), 1, "{:?}", httpd.logged("AH10398"));
    assert_eq!(serial_of(&httpd, "one.test"), before);
    assert!(has(&httpd.config, "staging/one.test/pubcert.pem"));
    let (passed, said) = httpd.config.configtest();
    assert!(passed && !said.contains("AH10398"), "configtest needs no lock: {said}");
    flock(&lock, FlockOperation::Unlock).unwrap();

    httpd.graceful();
    assert_eq!(httpd.logged("AH10398").len(), 1);
    let served = httpd.served("one.test", &pebble, &[]);
    assert!(served.verified, "{}", served.verdict);
}

#[test]
fn a_start_without_the_lock_serves_a_renamed_domain_at_once() {
    let Some(lab) = open_lab!() else { return };
    let base = Config::new(&lab);
    let serial = install(&base, &["one.test", "www.one.test"]);
    let lock = File::create(base.store().join("store.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let httpd = manual(&base, &["www.one.test one.test"]).line("MDStoreLocks 100ms").start();
    assert_eq!(httpd.logged("AH10398").len(), 1, "{:?}", httpd.logged("AH10398"));
    assert_eq!(serial_of(&httpd, "www.one.test"), serial);
    assert!(has(&httpd.config, "domains/one.test") && !has(&httpd.config, "domains/www.one.test"));
    drop(lock);
    let httpd = httpd.stop().start();
    assert_eq!(serial_of(&httpd, "www.one.test"), serial);
    assert!(!has(&httpd.config, "domains/one.test"));
}

#[test]
fn a_store_of_version_1_is_served_after_the_first_start() {
    let Some(lab) = open_lab!() else { return };
    let base = Config::new(&lab);
    let serial = install(&base, &["one.test"]);
    let folder = base.store().join("domains/one.test");
    fs::rename(folder.join("privkey.pem"), folder.join("pkey.pem")).unwrap();
    fs::rename(folder.join("pubcert.pem"), folder.join("cert.pem")).unwrap();
    self_signed("DNS:ca.test", Id::EC, &folder.join("chain.pem"), &lab.path("ca.key"));
    let key = data_encoding::BASE64URL.encode(&[7; 48]);
    let file = base.store().join("md_store.json");
    fs::write(&file, json!({"store": {"version": 1.0}, "key": key}).to_string()).unwrap();
    let httpd = manual(&base, &["one.test"]).start();
    let served = tls::served(httpd.config.https_port(), "one.test", None, &[]);
    assert_eq!((served.serial(), served.chain.len()), (serial, 2));
    let record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(record, json!({"store": {"version": 3.0}, "key": key}));
}

#[test]
fn a_read_only_store_is_told_and_the_certificate_in_use_stays() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let config = Config::with_ca(&lab, &pebble.authority).line("MDomain one.test").account(Account::Ordinary);
    let mut httpd = config.at_restarts().site("one.test", &[]).start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let serial = httpd.served("one.test", &pebble, &[]).serial();

    // Due at once, with no place to note anything: root owns the folder. Without a job in it the start would
    // remove it.
    let config = httpd.stop().line("MDRenewWindow 9999d\nMDRetryDelay 1s");
    let folder = config.store().join("staging/one.test");
    // What the CA advises may be there.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("job.json"), "{}").unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let httpd = config.start();
    httpd.wait_logged("AH10056");
    let said = httpd.logged("AH10056").remove(0);
    assert!(said.contains("one.test") && said.contains("Permission denied"), "{said}");
    httpd.wait_logged("the state of its renewal cannot be saved");
    assert_eq!(httpd.served("one.test", &pebble, &[]).serial(), serial);
    // As an ordinary user has it.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    httpd.wait_staged("one.test");
    assert_eq!(httpd.served("one.test", &pebble, &[]).serial(), serial);
}

/// A file system of 64 KiB on a folder, until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where the machine does not allow it.
    fn mount(folder: &Path) -> Option<SmallDisk> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| SmallDisk(folder.to_path_buf()))
    }

    /// Leaves no room; the file that takes it.
    fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = File::create(&filler).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_the_renewal_goes_on_once_there_is_room() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let config = Config::with_ca(&lab, &pebble.authority).line("MDomain one.test\nMDPrivateKeys P-256");
    let mut httpd = config.site("one.test", &[]).start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let serial = httpd.served("one.test", &pebble, &[]).serial();
    let config = httpd.stop().line("MDRenewWindow 9999d\nMDRetryDelay 1s");
    let Some(disk) = SmallDisk::mount(&config.store().join("staging")) else {
        return skip(&lab.name, "this machine does not allow mounts");
    };
    let filler = disk.fill();
    let mut httpd = config.start();
    httpd.wait_logged("AH10056");
    let said = httpd.logged("AH10056").remove(0);
    assert!(said.contains("one.test") && said.contains("No space left on device"), "{said}");
    assert_eq!(httpd.served("one.test", &pebble, &[]).serial(), serial);
    fs::remove_file(filler).unwrap();
    httpd.wait_staged_and_activate(&["one.test"]);
    let served = httpd.served("one.test", &pebble, &[]);
    assert!(served.verified && served.serial() != serial, "{}", served.verdict);
}

#[test]
fn names_that_could_leave_the_store_are_left_out_and_make_nothing() {
    let Some(lab) = open_lab!() else { return };
    let long = format!("{}.test", "a".repeat(300));
    for name in ["..", "../x.test", "a/b.test", "/etc", "a..b", "*.*.x", "*", "a\\b", "ü.test", &long] {
        let config = Config::new(&lab).line(&format!("MDRenewMode manual\nMDomain one.test \"{name}\""));
        let (passed, said) = config.site("one.test", &[]).configtest();
        assert!(passed && said.contains("is not a valid domain name"), "{name}: {said}");
        assert!(said.contains("md[one.test]") && said.contains("managed without it"), "{name}: {said}");
        assert!(!Path::new(&Config::new(&lab).store()).exists(), "{name}");
        let config = Config::new(&lab).line(&format!("MDomain \"{name}\""));
        let (passed, said) = config.configtest();
        assert!(!passed && said.contains("is not a valid domain name"), "a domain without any: {said}");
    }
    // The rest of the server starts.
    let config = Config::new(&lab).line("MDRenewMode manual\nMDomain one.test ../x.test one.test:443");
    let httpd = config.site("one.test", &[]).start();
    assert_eq!(httpd.md("one.test")["domains"], json!(["one.test"]));
    assert!(httpd.logged("Write it without the port").len() == 1, "{:?}", httpd.logged("md:warn"));
}
