// SPDX-License-Identifier: Apache-2.0
//! Several calls at once, calls beside a starting httpd, and calls that are killed: each ends well or says in a
//! sentence who is in the way, and nothing is lost.

use super::call::{Called, a2md, command};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use support::{Config, Httpd, Lab, Pebble, SOON, module, open_lab, process, wait_for};

const NAME: &str = "one.test";

fn begin(arguments: &[&str]) -> Child {
    command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> Called {
    let output = child.wait_with_output().unwrap();
    Called {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// An httpd whose store has one domain that a2md renews, and a CA.
struct Place {
    store: PathBuf,
    pebble: Pebble,
    httpd: Httpd,
}

impl Place {
    fn new(lab: &Lab) -> Place {
        let pebble = Pebble::start(lab);
        let config = Config::new(lab)
            .line("MDomain other.test\nMDRenewMode manual\nMDContactEmail admin@example.test");
        let place = Place { store: config.store(), httpd: config.start(), pebble };
        for line in ["add one.test", "update one.test contacts admin@example.test"] {
            assert_eq!(end(begin(&place.words(line))).code, 0, "{line}");
        }
        place
    }

    fn words<'a>(&'a self, line: &'a str) -> Vec<&'a str> {
        let authority = &self.pebble.authority;
        let ca: &'static str = Box::leak(authority.directory().into_boxed_str());
        let mut words =
            vec!["-d", self.store.to_str().unwrap(), "-C", authority.certificate.to_str().unwrap()];
        words.extend(["-t", "accepted", "-a", ca]);
        words.extend(line.split(' '));
        words
    }

    fn call(&self, line: &str) -> Called {
        end(begin(&self.words(line)))
    }

    fn certificate(&self) -> Option<Vec<u8>> {
        fs::read(self.store.join("domains/one.test/pubcert.pem")).ok()
    }

    #[track_caller]
    fn assert_whole(&self) {
        let md = self.call("-j list one.test").json()["output"][0].clone();
        assert_eq!(md["state"], json!(2), "{md}");
        let called = a2md(&["-d", self.store.to_str().unwrap(), "store", "verify"]);
        assert_eq!(called.code, 0, "{}{}", called.out, called.err);
    }
}

#[test]
fn of_two_that_renew_a_domain_one_says_who_does() {
    let Some(lab) = open_lab!() else { return };
    let place = Place::new(&lab);
    place.pebble.hold();
    let first = begin(&place.words("drive one.test"));
    let lock = place.store.join("staging/one.test/lock");
    wait_for("the lock", SOON, || {
        fs::read_to_string(&lock).is_ok_and(|text| text.contains(&first.id().to_string())).then_some(())
    });
    let second = place.call("-j drive one.test");
    assert_eq!(second.code, 1, "{}", second.err);
    let told = second.err.lines().find(|line| line.contains(&first.id().to_string()));
    assert!(told.is_some_and(|line| line.contains(NAME)), "{}", second.err);
    place.pebble.go_on();
    let first = end(first);
    assert_eq!((first.code, place.pebble.order_count()), (0, 1), "{}", first.err);
    place.assert_whole();
}

#[test]
fn calls_at_once_that_make_a_store_make_one_and_keep_all_domains() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("md").display().to_string();
    let names: Vec<String> = (0..12).map(|count| format!("d{count}.test")).collect();
    let children: Vec<Child> =
        names.iter().map(|name| begin(&["-d", &store, "-a", "https://ca.test/dir", "add", name])).collect();
    for called in children.into_iter().map(end) {
        assert_eq!(called.code, 0, "{}", called.err);
    }
    let listed = a2md(&["-d", &store, "-j", "list"]).json();
    let found = listed["output"].as_array().unwrap().iter().map(|md| md["name"].as_str().unwrap());
    assert_eq!(found.collect::<BTreeSet<_>>(), names.iter().map(String::as_str).collect());
    // One key: what each of them has made can be read.
    let called = a2md(&["-d", &store, "store", "verify"]);
    assert_eq!(called.code, 0, "{}{}", called.out, called.err);
}

#[test]
fn of_calls_at_once_with_one_name_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("md").display().to_string();
    let call = |_| begin(&["-d", &store, "-j", "add", "a.test"]);
    let called: Vec<Called> = (0..6).map(call).collect::<Vec<Child>>().into_iter().map(end).collect();
    let statuses: Vec<Value> = called.iter().map(|called| called.json()["status"].clone()).collect();
    assert!(
        statuses.iter().filter(|status| **status == 0).count() == 1
            && statuses.iter().all(|status| *status == 0 || *status == 17),
        "{statuses:?}"
    );
    assert_eq!(a2md(&["-d", &store, "-j", "list"]).json()["output"].as_array().unwrap().len(), 1);
}

#[test]
fn of_updates_at_once_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("md").display().to_string();
    assert_eq!(a2md(&["-d", &store, "-a", "https://ca.test/dir", "add", "a.test"]).code, 0);
    for round in 0..5 {
        let account = format!("ACME-ca.test-{round}");
        let (contact, name) = (format!("me{round}@a.test"), format!("w{round}.a.test"));
        let lines = [
            ["update", "a.test", "account", &account].to_vec(),
            ["update", "a.test", "contacts", &contact].to_vec(),
            ["update", "a.test", "domains", "a.test", &name].to_vec(),
            ["store", "update", "a.test"].to_vec(),
        ];
        let begin = |line: &Vec<&str>| begin(&[&["-d", &store], &line[..]].concat());
        let children: Vec<Child> = lines.iter().map(begin).collect();
        assert!(children.into_iter().map(end).all(|called| called.code == 0));
        let md = a2md(&["-d", &store, "-j", "list"]).json()["output"][0].clone();
        assert_eq!((&md["ca"]["account"], &md["domains"][1]), (&json!(account), &json!(name)), "{md}");
        assert_eq!(md["contacts"], json!([format!("mailto:{contact}")]), "{md}");
    }
}

#[test]
fn beside_starts_of_httpd_renewals_and_readers_end_well() {
    let Some(lab) = open_lab!() else { return };
    let mut place = Place::new(&lab);
    let store = place.store.display().to_string();
    let mut orders = 0;
    for _ in 0..4 {
        let mut children = vec![begin(&place.words("drive --force one.test"))];
        let readers: [&[&str]; 4] = [
            &["status", "-j", "--httpd", "false", "-d", &store],
            &["doctor", "--offline", "-j", "--httpd", "false", "-d", &store],
            &["store", "verify", "-j", "--httpd", "false", "-d", &store],
            &["gc", "--dry-run", "-j", "-d", &store],
        ];
        place.httpd.graceful();
        children.extend(readers.map(begin));
        place.httpd.graceful();
        let called: Vec<Called> = children.into_iter().map(end).collect();
        // A start removes the answers to challenges of a domain that this httpd does not have, as with the C module: a
        // renewal whose answer was there already fails, and the next one goes well.
        let is_disturbed = called[0].code == 1 && called[0].err.contains("returned 404");
        if is_disturbed {
            let again = place.call("drive --force one.test");
            assert_eq!(again.code, 0, "{}", again.err);
        } else {
            assert_eq!(called[0].code, 0, "{}", called[0].err);
        }
        orders += 1 + usize::from(is_disturbed);
        assert_eq!(place.pebble.order_count(), orders);
        // A reader that was in the middle may have seen one file of the old set and one of the new, never none.
        assert!(called[1..].iter().all(|one| one.out.starts_with('{')), "{}", called[1].err);
        assert_eq!(called[1].code, 0, "{}", called[1].err);
    }
    place.assert_whole();
}

/// Kills a renewal when it has said this many lines. `false`: it was over before.
fn killed(place: &Place, lines: usize) -> bool {
    let mut child = command(&[&["-vvv"], &place.words("drive --force one.test")[..]].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines().take(lines).count();
    process::signal(child.id(), "KILL");
    child.wait().unwrap();
    said == lines
}

#[test]
fn a_renewal_that_is_killed_leaves_a_store_that_the_next_call_completes() {
    let Some(lab) = open_lab!() else { return };
    let place = Place::new(&lab);
    let mut kills = 0;
    // One that goes on with the order of the last says less, so some are over before.
    for lines in (1..24).step_by(2) {
        kills += usize::from(killed(&place, lines));
        // What is in use is one set, or there is none yet.
        let md = place.call("-j list one.test").json()["output"][0].clone();
        let is_used = place.certificate().is_some();
        assert!(!is_used || md["state"] == json!(2), "after {lines} lines: {md}");
    }
    assert!(kills > 4, "{kills}");
    let called = place.call("drive --force one.test");
    assert_eq!(called.code, 0, "{}", called.err);
    let repaired = a2md(&["-d", place.store.to_str().unwrap(), "store", "verify", "-j"]).json();
    let others =
        repaired["problems"].as_array().unwrap().iter().filter(|problem| problem["kind"] != "leftover");
    assert_eq!(others.count(), 0, "{repaired}");
    assert_eq!(place.pebble.account_count(), 1, "the account is found again");
}

/// The store of an httpd with mod_md 2.x.
fn of_c(lab: &Lab, c_module: &Path) -> (Httpd, Pebble) {
    let pebble = Pebble::start(lab);
    let config = Config::with_ca(lab, &pebble.authority).module(c_module);
    let config = config.line("MDomain one.test www.one.test").site(NAME, &["www.one.test"]);
    let mut httpd = config.start();
    httpd.wait_staged_and_activate(&[NAME]);
    (httpd, pebble)
}

#[test]
fn on_the_store_of_a_running_httpd_with_mod_md_2_operators_see_all_and_renew_says_what_to_do() {
    let Some(lab) = open_lab!() else { return };
    let Some(c_module) = module::c_module() else { return };
    let (httpd, pebble) = of_c(&lab, &c_module);
    let store = httpd.config.store().display().to_string();
    let (root, control) = (pebble.authority.certificate.display().to_string(), httpd.config.control());
    let before = fs::read(httpd.config.store().join("md_store.json")).unwrap();
    let call = |words: &[&str]| a2md(&[&["-d", &store, "-C", &root, "--httpd", &control], words].concat());

    let status = call(&["status", "-j"]);
    let domain = &status.json()["managed-domains"][0];
    assert_eq!(
        (status.code, &domain["name"], &domain["status"]),
        (0, &json!(NAME), &json!("ok")),
        "{domain}"
    );
    let check = call(&["check"]);
    assert!(check.code == 0 && check.out.starts_with("MD OK"), "{}{}", check.out, check.err);
    let from = format!("http://127.0.0.1:{}/md-status", httpd.config.http_port());
    assert_eq!(a2md(&["check", "--from", &from]).code, 0);
    let document = call(&["doctor", "--offline", "-j"]).json();
    let findings = document["findings"].as_array().unwrap();
    let wrong: Vec<&Value> = findings
        .iter()
        .filter(|finding| finding["verdict"] != "works" && finding["check"] != "module-other")
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(findings.iter().any(|finding| finding["check"] == "module-other"), "{document}");
    let listed = a2md(&["-d", &store, "-j", "list"]).json();
    assert_eq!((&listed["output"][0]["name"], &listed["output"][0]["state"]), (&json!(NAME), &json!(2)));
    let to = lab.path("to");
    fs::create_dir(&to).unwrap();
    let exported = call(&["export", NAME, "--to", to.to_str().unwrap(), "-j"]);
    assert_eq!(exported.code, 0, "{}", exported.err);
    assert!(fs::read_dir(&to).unwrap().count() > 0);

    let renew = call(&["renew", NAME, "--wait"]);
    assert_eq!(renew.code, 1, "{}", renew.out);
    for words in ["mod_md 2.x", "reads no requests", "drive one.test"] {
        assert!(renew.err.contains(words), "{words}: {}", renew.err);
    }
    assert_eq!(fs::read(httpd.config.store().join("md_store.json")).unwrap(), before, "nothing is converted");
    assert!(httpd.served(NAME, &pebble, &[]).verified);
}
