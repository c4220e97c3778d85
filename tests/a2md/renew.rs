// SPDX-License-Identifier: Apache-2.0
//! `a2md renew`: the running httpd renews at once, and the command follows it, whatever happens to httpd
//! meanwhile.

use super::call::{Called, a2md, called, command};
use mod_md::model::{Op, Renew, Request};
use mod_md::store::Flat;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use support::dns::Zone;
use support::issuer::{self, Issuer};
use support::named::Named;
use support::{Account, Authority, Config, Httpd, Lab, Need, Pebble, SOON, open_lab, process, wait_for};

const NAME: &str = "one.test";

/// Nothing is renewed by itself while a test runs.
fn config(lab: &Lab, authority: &Authority) -> Config {
    Config::with_ca(lab, authority)
        .line("MDPrivateKeys P-256\nMDRetryDelay 1h\nMDCheckInterval 1h")
        .line("MDomain one.test")
        .site(NAME, &[])
}

struct Site {
    store: PathBuf,
    pebble: Pebble,
    httpd: Httpd,
}

impl Site {
    /// With a certificate of the CA that is live.
    fn live(lab: &Lab, change: impl FnOnce(Config) -> Config) -> Site {
        let pebble = Pebble::start(lab);
        let config = change(config(lab, &pebble.authority));
        let store = config.store();
        let site = Site { store, httpd: config.start(), pebble };
        wait_for("the first certificate", SOON, || {
            site.httpd.served(NAME, &site.pebble, &[]).verified.then_some(())
        });
        // One process after the other takes it up.
        wait_for("the certificate in all processes", SOON, || {
            (0..10).all(|_| site.httpd.served(NAME, &site.pebble, &[]).verified).then_some(())
        });
        site
    }

    fn serial(&self) -> String {
        self.httpd.served(NAME, &self.pebble, &[]).serial()
    }

    fn renew(&self, arguments: &[&str]) -> Called {
        a2md(&with_dir(&self.store, arguments))
    }

    fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = command(&with_dir(&self.store, arguments));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn job(&self) -> Value {
        let file = fs::read(self.store.join("staging/one.test/job.json")).unwrap_or_default();
        serde_json::from_slice(&file).unwrap_or_default()
    }
}

fn with_dir<'a>(store: &'a Path, arguments: &[&'a str]) -> Vec<&'a str> {
    ["-d", store.to_str().unwrap(), "renew"].into_iter().chain(arguments.iter().copied()).collect()
}

fn end(child: Child) -> Called {
    let output = child.wait_with_output().unwrap();
    Called {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[track_caller]
fn assert_renewed(called: &Called) {
    assert_eq!(called.code, 0, "{}{}", called.out, called.err);
    // The second where the answer has not come before a2md has looked.
    let words = ["the new certificates are live", "the new certificates are in use"];
    let is_told = |words: &&str| called.out.contains(&format!("one.test: renewed: {words}"));
    assert!(words.iter().any(is_told), "{}", called.out);
}

/// A set that is live and not in `domains` yet is the one that doctor judges.
#[track_caller]
fn assert_no_doubt_about_certificates(site: &Site) {
    assert!(!site.store.join("domains/one.test/pubcert.p-256.pem").exists(), "no start since the first one");
    let called = a2md(&["-d", site.store.to_str().unwrap(), "doctor", "--offline", "-j"]);
    let document = called.json();
    let findings = document["findings"].as_array().unwrap().iter();
    let about = findings.filter(|finding| finding["check"].as_str().unwrap().starts_with("certificate"));
    let verdicts: Vec<_> = about.map(|finding| (&finding["check"], &finding["verdict"])).collect();
    assert_eq!(verdicts, [(&json!("certificate"), &json!("works"))], "{document}");
}

#[test]
fn a_new_certificate_is_live_when_the_command_ends() {
    let Some(lab) = open_lab!() else { return };
    for account in [Account::Own, Account::Ordinary] {
        let site = Site::live(&lab, |config| config.account(account));
        let before = site.serial();
        let called = site.renew(&[NAME]);
        assert!(called.out.contains("one.test: not due"), "{}{}", called.out, called.err);
        // That was no renewal.
        let orders = || site.httpd.logged("while[Creating new order]").len();
        let ordered = orders();
        site.pebble.hold();
        let called = thread::scope(|scope| {
            let renewing = scope.spawn(|| site.renew(&[NAME, "--force", "--wait"]));
            wait_for("the order", SOON, || (orders() > ordered).then_some(()));
            // Five looks of a2md: with this CA a whole renewal may fit between two of them.
            thread::sleep(Duration::from_secs(1));
            site.pebble.go_on();
            renewing.join().unwrap()
        });
        assert_renewed(&called);
        assert_ne!(site.serial(), before);
        let steps = called.err.lines().filter(|line| line.starts_with("one.test: ")).count();
        assert!(steps > 0, "shows steps: {}", called.err);
        assert_eq!(fs::read_dir(site.store.join("requests")).unwrap().count(), 0, "the request is removed");
        assert_eq!(site.httpd.md(NAME)["renewal"]["request"]["state"], json!("done"));
        // Once a minute.
        let called = site.renew(&[NAME, "--force", "--wait", "-j"]);
        assert_eq!(called.code, 1, "{}", called.err);
        let document = called.json();
        assert_eq!((&document["schema"], &document["domains"][0]["outcome"]), (&json!(1), &json!("refused")));
        assert!(document["domains"][0]["detail"].as_str().unwrap().contains("one a minute"), "{document}");
        assert_no_doubt_about_certificates(&site);
        site.httpd.stop().forget();
    }
}

#[test]
fn a_request_is_seen_within_a_second() {
    let Some(lab) = open_lab!() else { return };
    let mut site = Site::live(&lab, |config| config);
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..5 {
        let begin = Instant::now();
        // Nothing is due.
        let called = site.renew(&[NAME, "--issued-before", "2000-01-01"]);
        took.push(begin.elapsed());
        assert_eq!(called.code, 0, "{}", called.err);
        assert!(called.out.contains("one.test: not concerned: "), "{}", called.out);
    }
    took.sort();
    eprintln!("answered after {took:?}");
    assert!(took[0] < Duration::from_millis(1600), "{took:?}");
    // By the times of the files, without the time that a call takes.
    let store = mod_md::store::StartStore::open_existing(&site.store).unwrap();
    let changed = |path: &str| fs::metadata(site.store.join(path)).unwrap().modified().unwrap();
    let mut seen: Vec<Duration> = Vec::new();
    for count in 0..5 {
        let id = format!("s{count}");
        let renew = Renew { issuer: Some("nobody".into()), ..Renew::default() };
        let request =
            Request { id: id.clone(), op: Op::Renew(renew), time: mod_md::time::now(), by: "a test".into() };
        store.write_flat(Flat::Requests, NAME, &request.to_json()).unwrap();
        let asked = changed("requests/one.test.json");
        wait_for("the answer", SOON, || (site.job()["request"]["id"] == json!(id)).then_some(()));
        seen.push(changed("staging/one.test/job.json").duration_since(asked).unwrap_or_default());
        store.remove_flat(Flat::Requests, NAME).unwrap();
    }
    seen.sort();
    eprintln!("seen after {seen:?}");
    assert!(seen[2] < Duration::from_millis(1250), "{seen:?}");
    // md-status shows it, although no renewal has come of it and none is left from before.
    site.httpd.graceful();
    wait_for("an idle domain", SOON, || site.httpd.md(NAME).get("renewal").is_none().then_some(()));
    assert_eq!(site.renew(&[NAME, "--issued-before", "2000-01-01"]).code, 0);
    let shown = wait_for("the request in md-status", SOON, || {
        let renewal = site.httpd.md(NAME)["renewal"].clone();
        (renewal["request"]["state"] == json!("refused")).then_some(renewal)
    });
    assert!(shown["request"]["detail"].as_str().unwrap().contains("not concerned"), "{shown}");
    let called = site.renew(&["--all", "--wait"]);
    assert_eq!(called.code, 0, "{}", called.err);
    assert!(called.out.contains("one.test: not due before "), "{}", called.out);
}

#[test]
fn what_the_ca_says_comes_back() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Authority::new(&lab).block_domain(&lab, NAME).start();
    let httpd = config(&lab, &pebble.authority).start();
    httpd.wait_logged("AH10056: processing one.test");
    let store = httpd.config.store();
    let orders = pebble.order_count();
    // The next try would be in an hour.
    let called = a2md(&with_dir(&store, &[NAME, "--wait"]));
    assert_eq!(called.code, 1, "{}{}", called.out, called.err);
    assert!(called.out.contains("one.test: failed: ") && called.out.contains("one.test"), "{}", called.out);
    assert!(called.out.to_lowercase().contains("reject") || called.out.contains("policy"), "{}", called.out);
    assert_eq!(httpd.logged("AH10056: processing one.test").len(), 2, "it was tried again");
    assert!(pebble.order_count() >= orders);
}

#[test]
fn of_wrong_dns_the_words_of_the_ca_come_back_with_what_to_do() {
    let Some(lab) = open_lab!(Need::Program("named")) else { return };
    // One name has no address, and one leads to an address where nothing listens.
    let named = Named::primary(&lab, &[Zone::new("test").record("one TXT x\ntwo A 127.0.0.9")]);
    let pebble = Authority::new(&lab).resolver(named.address).start();
    let config = config(&lab, &pebble.authority).line("MDomain two.test");
    let httpd = config.site("two.test", &[]).start();
    let store = httpd.config.store();
    for (name, cause) in [(NAME, "could not resolve URL \"http://one.test:"), ("two.test", "127.0.0.9")] {
        httpd.wait_logged(&format!("AH10056: processing {name}"));
        let called = a2md(&with_dir(&store, &[name, "--force", "--wait"]));
        assert_eq!(called.code, 1, "{}{}", called.out, called.err);
        let line = called.out.lines().find(|line| line.starts_with(&format!("{name}: failed: ")));
        let (said, advice) = line.and_then(|line| line.split_once("What to do: ")).unwrap_or_default();
        assert!(said.contains(cause) && advice.contains(name), "{}", called.out);
        let document = a2md(&with_dir(&store, &[name, "-j", "--force", "--wait"])).json();
        assert_eq!(document["domains"][0]["outcome"], json!("refused"), "once a minute: {document}");
    }
}

#[test]
fn without_names_or_without_httpd_nothing_is_asked_for() {
    let Some(lab) = open_lab!() else { return };
    let site = Site::live(&lab, |config| config);
    assert_eq!(site.renew(&[]).code, 2);
    let called = site.renew(&["unknown.test"]);
    assert!(called.code == 1 && called.err.contains("unknown.test"), "{}", called.err);
    let store = site.store.clone();
    let config = site.httpd.stop();
    let called = a2md(&with_dir(&store, &[NAME, "--wait"]));
    assert_eq!(called.code, 1);
    let told = format!("a2md -d {} drive one.test", store.display());
    assert!(called.err.contains("no httpd runs") && called.err.contains(&told), "{}", called.err);
    assert_eq!(fs::read_dir(store.join("requests")).unwrap().count(), 0);
    drop(config);
}

#[test]
fn two_that_ask_at_once_get_one_renewal() {
    let Some(lab) = open_lab!() else { return };
    let site = Site::live(&lab, |config| config);
    let orders = site.pebble.order_count();
    site.pebble.hold();
    let first = site.begin(&[NAME, "--force", "--wait"]);
    wait_for("the renewal", SOON, || (site.job()["request"]["state"] == json!("running")).then_some(()));
    let second = site.begin(&[NAME, "--force", "--wait"]);
    wait_for("both", SOON, || site.job()["request"]["joined"].is_array().then_some(()));
    site.pebble.go_on();
    [first, second].map(end).iter().for_each(assert_renewed);
    assert_eq!(site.pebble.order_count(), orders + 1);
}

#[test]
fn who_does_not_own_the_store_may_not_ask() {
    let Some(lab) = open_lab!() else { return };
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let site = Site::live(&lab, |config| config);
    let before = site.serial();
    let mut command = command(&with_dir(&site.store, &[NAME, "--force", "--wait"]));
    command.uid(65_534).gid(65_534);
    let refused = called(command);
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(refused.err.contains("as root, or as the user that starts httpd"), "{}", refused.err);
    // Nor does a file count that one has put there all the same.
    let file = site.store.join("requests/one.test.json");
    let now = mod_md::time::now().to_http_date();
    let request = json!({"id": "x", "op": "renew", "arguments": {"force": true}, "time": now, "by": "me"});
    let own = site.store.join("requests/.x");
    fs::write(&own, request.to_string()).unwrap();
    std::os::unix::fs::chown(&own, Some(65_534), None).unwrap();
    fs::rename(&own, &file).unwrap();
    site.httpd.wait_logged("a request is passed over");
    fs::remove_file(&file).unwrap();
    // A file that makes no sense keeps nobody from theirs.
    fs::write(&file, "{").unwrap();
    assert_eq!(site.serial(), before);
    assert_renewed(&site.renew(&[NAME, "--force", "--wait"]));
}

#[test]
fn a_child_that_dies_is_followed_by_one_that_goes_on() {
    let Some(lab) = open_lab!() else { return };
    let site = Site::live(&lab, |config| config);
    let before = site.serial();
    site.pebble.hold();
    let asking = site.begin(&[NAME, "--force", "--wait"]);
    wait_for("the renewal", SOON, || (site.job()["request"]["state"] == json!("running")).then_some(()));
    process::signal(site.httpd.watchdog(), "KILL");
    site.pebble.go_on();
    assert_renewed(&end(asking));
    assert_ne!(site.serial(), before);
}

#[test]
fn a_restart_meanwhile_does_not_end_it() {
    let Some(lab) = open_lab!() else { return };
    let mut site = Site::live(&lab, |config| config);
    let before = site.serial();
    site.pebble.hold();
    let asking = site.begin(&[NAME, "--force", "--wait"]);
    wait_for("the renewal", SOON, || (site.job()["request"]["state"] == json!("running")).then_some(()));
    site.httpd.graceful();
    site.pebble.go_on();
    assert_renewed(&end(asking));
    assert_ne!(site.serial(), before);
}

#[test]
fn a_text_is_up_for_any_host_beside_a_running_challenge() {
    let Some(lab) = open_lab!() else { return };
    let site = Site::live(&lab, |config| config);
    let httpd = &site.httpd;
    let store = mod_md::store::StartStore::open_existing(&site.store).unwrap();
    for (count, host) in [NAME, "other.test"].into_iter().enumerate() {
        let id = format!("p{count}");
        let op = Op::Present { token: "own-token".into(), text: "own-text".into() };
        let request = Request { id: id.clone(), op, time: mod_md::time::now(), by: "a test".into() };
        assert_ne!(httpd.get(host, "/.well-known/acme-challenge/own-token").status, 200);
        store.write_flat(Flat::Requests, host, &request.to_json()).unwrap();
        let body = wait_for("the text", SOON, || {
            let got = httpd.get(host, "/.well-known/acme-challenge/own-token");
            (got.status == 200).then_some(got.body)
        });
        assert_eq!(body, "own-text", "{host}");
        assert_ne!(httpd.get(host, "/.well-known/acme-challenge/other").status, 200);
        let file = site.store.join("challenges").join(host).join("request.json");
        let answer: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!((&answer["request"]["id"], &answer["request"]["state"]), (&json!(id), &json!("done")));
        store.remove_flat(Flat::Requests, host).unwrap();
    }
    // A challenge comes and goes, and the text stays.
    assert_renewed(&site.renew(&[NAME, "--force", "--wait"]));
    assert_eq!(httpd.get(NAME, "/.well-known/acme-challenge/own-token").status, 200);
    // A minute later it is gone, with its file.
    let folder = site.store.join("challenges/other.test");
    wait_for("the end of the minute", SOON.max(Duration::from_secs(90)), || (!folder.exists()).then_some(()));
    assert_ne!(httpd.get("other.test", "/.well-known/acme-challenge/own-token").status, 200);
}

#[test]
fn a_look_finds_a_set_that_was_staged_beside_httpd() {
    let Some(lab) = open_lab!() else { return };
    let site = Site::live(&lab, |config| config);
    let issuer = Issuer::new();
    let set = issuer.issue(&[NAME]);
    issuer::stage(&site.store, &[NAME], &[&set]);
    let store = mod_md::store::StartStore::open_existing(&site.store).unwrap();
    let op = Op::Look;
    let request = Request { id: "look".into(), op, time: mod_md::time::now(), by: "a test".into() };
    store.write_flat(Flat::Requests, NAME, &request.to_json()).unwrap();
    wait_for("the answer", SOON, || {
        let request = &site.job()["request"];
        (request["id"] == json!("look") && request["state"] == json!("done")).then_some(())
    });
    site.httpd.wait_live(NAME, &set.serial());
}

#[test]
fn many_domains_are_renewed_by_one_call() {
    let Some(lab) = open_lab!() else { return };
    let names: Vec<String> = (0..20).map(|count| format!("d{count}.test")).collect();
    let site = Site::live(&lab, |config| {
        names.iter().fold(config, |config, name| config.line(&format!("MDomain {name}")).site(name, &[]))
    });
    let is_live = |name: &String| site.httpd.served(name, &site.pebble, &[]).verified;
    wait_for("all certificates", SOON * 4, || names.iter().all(is_live).then_some(()));
    let before: Vec<String> =
        names.iter().map(|name| site.httpd.served(name, &site.pebble, &[]).serial()).collect();
    let called =
        site.renew(&["--all", "--issued-before", "2100-01-01", "--issuer", "pebble", "--wait", "-j"]);
    assert_eq!(called.code, 0, "{}{}", called.out, called.err);
    let document = called.json();
    let domains = document["domains"].as_array().unwrap();
    assert_eq!(domains.len(), 21);
    assert!(domains.iter().all(|domain| domain["outcome"] == json!("renewed")), "{document}");
    for (name, before) in names.iter().zip(before) {
        assert_ne!(site.httpd.served(name, &site.pebble, &[]).serial(), before, "{name}");
    }
}

#[test]
fn a_child_that_hangs_is_waited_for_no_longer_than_asked() {
    let Some(lab) = open_lab!() else { return };
    let site = Site::live(&lab, |config| config);
    let child = site.httpd.watchdog();
    process::signal(child, "STOP");
    let called = site.renew(&[NAME, "--force", "--wait", "--timeout", "2s", "-j"]);
    process::signal(child, "CONT");
    let document = called.json();
    let domain = &document["domains"][0];
    assert_eq!((called.code, &domain["outcome"]), (1, &json!("given-up")), "{document} {}", called.err);
    let detail = domain["detail"].as_str().unwrap();
    assert!(
        detail.contains("waiting for httpd to see the request") && detail.contains("error log"),
        "{detail}"
    );
}

#[test]
fn a_start_that_activates_the_set_before_the_answer_is_seen_ends_the_wait() {
    let Some(lab) = open_lab!() else { return };
    let Site { store, pebble, httpd } = Site::live(&lab, |config| config);
    let before = httpd.served(NAME, &pebble, &[]).serial();
    // The renewal hangs at the CA while another set comes into use.
    pebble.hold();
    let mut command = command(&with_dir(&store, &[NAME, "--force", "--wait"]));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let staged = store.join("staging/one.test");
    let job = || serde_json::from_slice::<Value>(&fs::read(staged.join("job.json")).ok()?).ok();
    wait_for("a renewal", SOON, || job().filter(|job| job["request"]["state"] == json!("running")));
    let config = httpd.stop();
    let set = Issuer::new().issue(&[NAME]);
    fs::remove_dir_all(&staged).unwrap();
    issuer::stage(&store, &[NAME], &[&set]);
    let httpd = config.start();
    let called = end(child);
    pebble.go_on();
    assert_eq!(called.code, 0, "{}{}", called.out, called.err);
    assert!(called.out.contains("the new certificates are in use"), "{}", called.out);
    assert_ne!(httpd.served(NAME, &pebble, &[]).serial(), before);
}

#[test]
fn an_httpd_of_the_c_module_is_said_to_read_no_requests() {
    let Some(lab) = open_lab!(Need::BothModules) else { return };
    let pebble = Pebble::start(&lab);
    let tests = Authority::named(&lab, "tests").start();
    let config = Config::with_ca(&lab, &pebble.authority)
        .module(&support::module::c_module().unwrap())
        .line("MDomain one.test")
        .site(NAME, &[]);
    let httpd = config.start();
    let (store, control) = (httpd.config.store(), httpd.config.control());
    let call = |arguments: &[&str]| {
        a2md(&[&["-d", store.to_str().unwrap(), "--httpd", &control], arguments].concat())
    };
    let called = call(&["renew", NAME, "--force"]);
    let pid = httpd.pid();
    assert!(called.code == 1 && called.err.contains("reads no requests"), "{}", called.err);
    assert!(
        called.err.contains(&format!("process {pid}")) && called.err.contains("drive one.test"),
        "{}",
        called.err
    );
    // It answers challenges, from the same store.
    let (certificate, url) = (tests.authority.certificate.display().to_string(), tests.authority.directory());
    let line = ["rehearse", NAME, "-C", &certificate, "--acme", &url];
    let called = call(&line);
    assert_eq!(called.code, 0, "{}{}", called.out, called.err);
    assert_eq!(tests.order_count(), 1);
    drop(httpd.stop());
    fs::remove_file(store.join("rehearsals.json")).unwrap();
    let called = call(&line);
    assert!(called.code == 1 && called.out.contains("no httpd runs"), "{}{}", called.out, called.err);
}
