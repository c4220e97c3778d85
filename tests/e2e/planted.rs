// SPDX-License-Identifier: Apache-2.0
//! Files that any process of httpd's `User` can put into the store, a CGI or PHP for one, row by row as in
//! SECURITY.md. Here the test puts them there, as that user's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use mod_md::time::{Timestamp, now};
use openssl::pkey::Id;
use serde_json::{Value, json};

use support::issuer::{self, Issuer, Set};
use support::process::{children, signal};
use support::{Authority, Config, Httpd, Lab, Need, Pebble, SOON, open_lab, tls, wait_for};

const SELDOM: &str = "MDCheckInterval 1h\nMDRetryDelay 1h\nMDPrivateKeys P-256";
const QUICK: &str = "MDCheckInterval 1s\nMDRetryDelay 1s\nMDPrivateKeys P-256";

fn config(lab: &Lab, authority: &Authority) -> Config {
    let config = Config::with_ca(lab, authority).line(QUICK).line("MDomain one.test\nMDomain two.test");
    config.site("one.test", &[]).site("two.test", &[])
}

fn staging(config: &Config, name: &str) -> PathBuf {
    config.store().join("staging").join(name)
}

/// A set in use for each domain, and no CA.
fn ready(lab: &Lab) -> (Config, Issuer, [Set; 2]) {
    let config = config(lab, &Authority::new(lab));
    let issuer = Issuer::new();
    let sets = ["one.test", "two.test"].map(|name| {
        let set = issuer.issue(&[name]);
        issuer::install(&config.store(), &[name], &[&set]);
        set
    });
    (config, issuer, sets)
}

#[track_caller]
fn assert_serves(httpd: &Httpd, name: &str, set: &Set) {
    for _ in 0..10 {
        let served = tls::served(httpd.config.https_port(), name, None, &[]);
        assert_eq!(served.serial(), set.serial(), "{name}");
    }
}

/// A line that is in the log once, with all of these in it.
#[track_caller]
fn assert_told(httpd: &Httpd, number: &str, words: &[&str]) {
    let line = wait_for(&format!("a line with {words:?}"), SOON, || {
        let lines = httpd.logged(number);
        lines.into_iter().find(|line| words.iter().all(|word| line.contains(word)))
    });
    assert!(line.contains("md["), "{line}");
}

fn read_json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// All files of a folder, for another folder.
fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let name = file.file_name().into_string().unwrap();
        issuer::put_new(to, &name, &fs::read(file.path()).unwrap());
    }
}

/// Of the jobs that start together one registers: its folder.
fn registered(config: &Config) -> PathBuf {
    let staged = ["one.test", "two.test"].map(|name| staging(config, name));
    staged.into_iter().find(|dir| dir.join("account.json").exists()).unwrap()
}

/// A finished renewal with a key that whoever wrote it knows.
fn plant_set(dir: &Path, name: &str, set: &Set) {
    let md = json!({"name": name, "domains": [name], "privkey": {"type": "EC", "curve": "P-256"}});
    let job = json!({"name": name, "finished": true, "errors": 0, "trial": {"accepted": true}});
    issuer::put_new(dir, "privkey.p-256.pem", &set.key_pem());
    issuer::put_new(dir, "pubcert.p-256.pem", &set.chain_pem());
    issuer::put_new(dir, "md.json", md.to_string().as_bytes());
    issuer::put_new(dir, "job.json", job.to_string().as_bytes());
}

#[test]
fn no_start_and_no_child_uses_a_planted_plain_key() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let (config, issuer, [one, two]) = ready(&lab);
    let planted = issuer.issue(&["one.test"]);
    plant_set(&staging(&config, "one.test"), "one.test", &planted);
    let httpd = config.start();
    assert_told(&httpd, "AH10069", &["md[one.test]", "staging/one.test", "requesting a new one"]);
    assert_serves(&httpd, "one.test", &one);
    plant_set(&staging(&httpd.config, "two.test"), "two.test", &issuer.issue(&["two.test"]));
    assert_told(&httpd, "AH10069", &["md[two.test]", "staging/two.test", "requesting new ones"]);
    for (name, set) in [("one.test", &one), ("two.test", &two)] {
        assert_serves(&httpd, name, set);
        let key = staging(&httpd.config, name).join("privkey.p-256.pem");
        wait_for("nothing left of it", SOON, || (!key.exists()).then_some(()));
    }
}

#[test]
fn a_live_set_that_no_child_has_published_is_served_by_none() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let (config, issuer, [one, _]) = ready(&lab);
    let httpd = config.start();
    // One that the server has made itself, with a key that it opens, for another name.
    let set = issuer.issue(&["two.test", "one.test"]);
    issuer::stage(&httpd.config.store(), &["two.test", "one.test"], &[&set]);
    httpd.wait_live("two.test", &set.serial());
    let published = read_json(&staging(&httpd.config, "two.test").join("live.json"));
    let mut unsigned = published.clone();
    unsigned.as_object_mut().unwrap().remove("auth").unwrap();
    let told = ["has no `auth`", "its `auth` does not fit"];
    for (record, told) in [unsigned, published].iter().zip(told) {
        let dir = staging(&httpd.config, "one.test");
        issuer::put_new(&dir, "live.json", record.to_string().as_bytes());
        httpd.replace_children();
        httpd.wait_logged(told);
        assert_serves(&httpd, "one.test", &one);
        assert_serves(&httpd, "two.test", &set);
    }
    assert!(httpd.logged("does not fit").iter().all(|line| line.contains("one.test")));
}

/// Takes any bytes.
/// The worst case: the account of somebody else at the same CA, with a key that is sealed as ours are.
#[test]
fn an_account_that_no_child_has_registered_is_neither_kept_nor_used() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let other = config(&lab, &pebble.authority).root(&lab.dir.join("other")).start();
    other.wait_staged("one.test");
    let other = other.stop();
    let theirs = registered(&other);
    let json = read_json(&theirs.join("account.json"));
    let pem = fs::read(theirs.join("account.pem")).unwrap();
    let key = issuer::open(&pem, &other.store());
    let accounts = pebble.account_count();

    let config = config(&lab, &pebble.authority);
    config.clone().line("MDRenewMode manual").start().stop();
    let ours = staging(&config, "one.test");
    issuer::put_new(&ours, "account.json", json.to_string().as_bytes());
    issuer::put_new(&ours, "account.pem", &issuer::seal(&key, &config.store()));
    issuer::put_new(&ours, "job.json", br#"{"name": "one.test"}"#);
    let mut httpd = config.start();
    assert_told(&httpd, "the ACME account", &["md[one.test]", json["url"].as_str().unwrap(), "`auth`"]);
    httpd.wait_staged_and_activate(&["one.test", "two.test"]);
    assert_eq!(pebble.account_count(), accounts + 1, "one of our own, for both domains");
    let stored: Vec<_> = fs::read_dir(httpd.config.store().join("accounts")).unwrap().collect();
    assert_eq!(stored.len(), 1);
    let stored = read_json(&stored[0].as_ref().unwrap().path().join("account.json"));
    assert_ne!(stored["url"], json["url"]);
    assert_eq!(stored["ca-url"], json["ca-url"]);
}

#[test]
fn a_set_of_another_domain_is_put_into_use_by_no_start() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let httpd = config(&lab, &pebble.authority).at_restarts().start();
    ["one.test", "two.test"].iter().for_each(|name| httpd.wait_staged(name));
    let config = httpd.stop();
    let (one, two) = (staging(&config, "one.test"), staging(&config, "two.test"));
    let burnt = read_json(&one.join("job.json"))["auth"].clone();
    copy(&two, &one);
    let mut httpd = config.start();
    assert_told(&httpd, "AH10069", &["md[one.test]", "the set in staging", "`auth` does not fit"]);
    assert!(httpd.served("two.test", &pebble, &[]).verified);
    httpd.wait_staged("one.test");
    assert_ne!(read_json(&one.join("job.json"))["auth"], burnt);
    httpd.graceful();
    assert!(httpd.served("one.test", &pebble, &[]).verified);
    // There may be one about an account of the other domain as well.
    let told = httpd.logged("`auth` does not fit");
    assert_eq!(told.iter().filter(|line| line.contains("the set in staging")).count(), 1, "{told:#?}");
}

#[test]
fn a_file_with_another_name_elsewhere_is_not_read() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let httpd = config(&lab, &pebble.authority).at_restarts().start();
    httpd.wait_staged("one.test");
    let config = httpd.stop();
    let file = staging(&config, "one.test").join("pubcert.p-256.pem");
    fs::hard_link(&file, config.store().join("elsewhere")).unwrap();
    let before = fs::read(&file).unwrap();
    let mut httpd = config.start();
    assert_told(&httpd, "AH10069", &["md[one.test]", "pubcert.p-256.pem", "a hard link"]);
    httpd.wait_staged("one.test");
    assert_ne!(fs::read(&file).unwrap(), before, "another one");
    httpd.graceful();
    assert!(httpd.served("one.test", &pebble, &[]).verified);
}

#[test]
fn a_link_in_place_of_a_domain_s_folder_is_removed_and_not_followed() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let config = config(&lab, &pebble.authority);
    let outside = lab.dir.join("outside");
    issuer::put_new(&outside, "job.json", b"not ours");
    config.clone().line("MDRenewMode manual").start().stop();
    symlink(&outside, staging(&config, "one.test")).unwrap();
    let httpd = config.start();
    assert_told(&httpd, "symbolic link", &["md[one.test]", "is removed"]);
    // And while httpd runs.
    let challenges = httpd.config.store().join("challenges/one.test");
    let _ = symlink(&outside, &challenges);
    httpd.wait_staged("one.test");
    assert_eq!(fs::read(outside.join("job.json")).unwrap(), b"not ours");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn folders_are_removed_however_deep_they_are() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = config(&lab, &pebble.authority).start();
    ["one.test", "two.test"].iter().for_each(|name| httpd.wait_staged(name));
    let challenge = httpd.config.store().join("challenges/gone.test");
    let planted = [staging(&httpd.config, "one.test"), challenge];
    for dir in &planted {
        fs::create_dir_all(dir.join("d/".repeat(40))).unwrap();
    }
    httpd.graceful();
    assert!(httpd.served("one.test", &pebble, &[]).verified);
    let job = planted[0].join("d");
    assert!(!job.exists() && !planted[1].exists());
    let nested = |line: &String| line.contains("nested") || line.contains("gone.test");
    assert!(!httpd.said().lines().map(String::from).any(|line| nested(&line)));
}

#[test]
fn folders_of_names_that_are_not_configured_leave_nothing_behind() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let httpd = config(&lab, &pebble.authority).at_restarts().start();
    ["one.test", "two.test"].iter().for_each(|name| httpd.wait_staged(name));
    let config = httpd.stop();
    let registered = registered(&config);
    let mut account = read_json(&registered.join("account.json"));
    account.as_object_mut().unwrap().remove("auth").unwrap();
    for n in 0..200 {
        // Whatever is told of one would be told of it, and its account is one that the C module could have
        // left.
        let dir = staging(&config, &format!("stranger{n}.test"));
        copy(&registered, &dir);
        account["url"] = json!(format!("{}stranger{n}", account["url"].as_str().unwrap()));
        issuer::put(&dir, "account.json", account.to_string().as_bytes());
    }
    let mut httpd = config.start();
    httpd.graceful();
    assert!(httpd.served("one.test", &pebble, &[]).verified);
    assert_eq!(fs::read_dir(httpd.config.store().join("accounts")).unwrap().count(), 1);
    assert!(!httpd.said().contains("stranger"));
}

/// What is not stopped: whatever we have written for a domain can be put there again. It is used only where
/// clients get no less from it than from what is in use.
#[test]
fn an_old_set_of_our_own_that_is_put_back_is_worth_what_it_was() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let old = Config::with_ca(&lab, &pebble.authority).line(QUICK).line("MDomain one.test manual");
    let httpd = old.clone().at_restarts().site("one.test", &[]).start();
    httpd.wait_staged("one.test");
    let config = httpd.stop();
    let kept = lab.dir.join("kept");
    copy(&staging(&config, "one.test"), &kept);
    let new = Config::with_ca(&lab, &pebble.authority).line(QUICK).line("MDomain one.test www.one.test");
    let mut httpd = new.at_restarts().site("one.test", &["www.one.test"]).start();
    wait_for("a set with both names", SOON, || {
        let md = httpd.md("one.test");
        (md["renewal"]["finished"] == true).then_some(())
    });
    httpd.graceful();
    let serial = httpd.served("www.one.test", &pebble, &[]).serial();
    copy(&kept, &staging(&httpd.config, "one.test"));
    httpd.graceful();
    assert_eq!(httpd.served("www.one.test", &pebble, &[]).serial(), serial);
    assert!(!staging(&httpd.config, "one.test").join("pubcert.p-256.pem").exists());
}

/// Leaves a set in staging as the C module does, or whoever copies the sealed key of another domain there.
fn plant_sealed(config: &Config, name: &str, set: &Set) {
    issuer::stage(&config.store(), &[name], &[set]);
}

/// Takes from the job in staging what says whose the set is, and that hosts refuse it.
fn strip(config: &Config, name: &str) {
    let dir = staging(config, name);
    let mut job = read_json(&dir.join("job.json"));
    let fields = job.as_object_mut().unwrap();
    ["auth", "trial", "ended-starts"].iter().for_each(|field| drop(fields.remove(*field)));
    fields.insert("errors".into(), json!(0));
    issuer::put(&dir, "job.json", job.to_string().as_bytes());
}

/// Sealed keys of other domains are there to be copied. A host that takes no key of 2048 bits, and has no
/// certificate.
#[test]
fn a_planted_set_that_its_host_refuses_ends_one_start_at_most() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let (issuer, forger) = (Issuer::new(), Issuer::new());
    let config = Config::with_ca(&lab, &Authority::new(&lab))
        // What a child makes of it comes later.
        .line(SELDOM)
        .line("MDomain one.test\nMDomain two.test")
        .site("one.test", &[])
        .site_with("two.test", "SSLCipherSuite ALL:@SECLEVEL=3");
    let one = issuer.issue(&["one.test"]);
    issuer::install(&config.store(), &["one.test"], &[&one]);
    let rsa = || issuer.issue_for(&["two.test"], Id::RSA, -60, 86_400);
    let weak = rsa();
    config.clone().start().stop();
    plant_sealed(&config, "two.test", &weak);
    let Err(said) = config.clone().try_start() else { panic!("mod_ssl takes it") };
    assert!(said.contains("small"), "{said}");
    config.clone().start().stop();
    let of_the_same_key = Set { chain: forger.certify(&["two.test"], &weak.key), ..weak.clone() };
    let plants: [(&str, &dyn Fn()); 4] = [
        ("the same", &|| plant_sealed(&config, "two.test", &weak)),
        ("what the start before has put back", &|| strip(&config, "two.test")),
        ("another certificate of its key", &|| plant_sealed(&config, "two.test", &of_the_same_key)),
        ("another key", &|| plant_sealed(&config, "two.test", &rsa())),
    ];
    for (what, plant) in plants {
        plant();
        let started = config.clone().try_start();
        let httpd = started.unwrap_or_else(|said| panic!("{what}: {said}"));
        assert_serves(&httpd, "one.test", &one);
        assert_told(
            &httpd,
            "AH10069",
            &["md[two.test]", "httpd ended when it started with", "next restart uses it"],
        );
        httpd.stop();
    }
    // One that its host takes comes into use by way of a child.
    let good = issuer.issue(&["two.test"]);
    let config = config.line("MDCheckInterval 1s");
    plant_sealed(&config, "two.test", &good);
    let mut httpd = config.start();
    httpd.wait_live("two.test", &good.serial());
    httpd.graceful();
    assert_serves(&httpd, "two.test", &good);
    assert!(httpd.config.store().join("domains/two.test/pubcert.p-256.pem").exists());
}

/// Whoever can write to staging has `md.json` say which names it is for.
#[test]
fn a_set_for_other_names_is_put_into_use_by_no_start_and_no_child() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let config = Config::with_ca(&lab, &Authority::new(&lab)).line(SELDOM).line("MDomain two.test");
    let (config, other) = (config.site("two.test", &[]), Issuer::new().issue(&["one.test"]));
    plant_sealed(&config, "two.test", &other);
    let httpd = config.start();
    httpd.wait_logged("for none of the names that the domain has now. They are dropped");
    let own = tls::served(httpd.config.https_port(), "two.test", None, &[]);
    assert_ne!(own.serial(), other.serial(), "the self-signed one");
    let job = staging(&httpd.config, "two.test").join("job.json");
    wait_for("a failure that is noted", SOON, || {
        (job.exists() && read_json(&job)["errors"] == 1).then_some(())
    });
    // That child still writes of it, or not; none reads a part of what is planted, and the next one all of it.
    httpd.freeze();
    plant_sealed(&httpd.config, "two.test", &other);
    children(httpd.pid()).into_iter().for_each(|pid| signal(pid, "KILL"));
    httpd.go_on();
    assert_told(&httpd, "AH10069", &["md[two.test]", "requesting new ones", "none of the names"]);
    assert_eq!(tls::served(httpd.config.https_port(), "two.test", None, &[]).serial(), own.serial());
    let key = staging(&httpd.config, "two.test").join("privkey.p-256.pem");
    wait_for("nothing left of it", SOON, || (!key.exists()).then_some(()));
}

fn in_days(days: i64) -> String {
    Timestamp::from_unix(now().unix() + days * 86_400).to_http_date()
}

fn plant_job(config: &Config, name: &str, job: Value) {
    let mut job = job;
    job["name"] = json!(name);
    issuer::put_new(&staging(config, name), "job.json", job.to_string().as_bytes());
}

fn hold(authority: &Authority, since: i64, until: i64) -> Value {
    json!({"ca": authority.directory(), "scope": "ca", "since": in_days(since), "until": in_days(until)})
}

#[test]
fn a_wait_that_no_ca_can_have_asked_for_holds_no_renewal_back() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let config = config(&lab, &pebble.authority);
    config.clone().line("MDRenewMode manual").start().stop();
    let hold = hold(&pebble.authority, -1, 300);
    plant_job(
        &config,
        "one.test",
        json!({"errors": 1, "last-run": in_days(-1), "next-run": in_days(300), "pace": {"hold": hold}}),
    );
    plant_job(&config, "two.test", json!({"errors": 0, "next-run": in_days(10)}));
    let httpd = config.start();
    for name in ["one.test", "two.test"] {
        wait_for(name, SOON, || httpd.served(name, &pebble, &[]).verified.then_some(()));
    }
}

/// What is not stopped: whoever writes there again and again can have a renewal wait.
#[test]
fn a_planted_wait_is_told_where_a_certificate_is_missing() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let config = config(&lab, &pebble.authority);
    config.clone().line("MDRenewMode manual").start().stop();
    plant_job(&config, "one.test", json!({"errors": 0, "pace": {"hold": hold(&pebble.authority, 0, 10)}}));
    let httpd = config.start();
    for name in ["one.test", "two.test"] {
        assert_told(
            &httpd,
            "its renewal waits until",
            &[":warn]", &format!("md[{name}]"), "no usable certificate"],
        );
        let until = wait_for("the end of the wait", SOON, || {
            httpd.md(name)["renewal"]["next-run"].as_str().and_then(Timestamp::parse_http_date)
        });
        assert!(until.unix() - now().unix() <= 86_400, "{name}");
    }
    assert_eq!(httpd.logged("its renewal waits until").len(), 2, "once each");
}
