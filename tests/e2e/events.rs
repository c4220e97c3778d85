// SPDX-License-Identifier: Apache-2.0
//! The admin's commands: which are called when, with which arguments, as which user, and the meaning of their
//! exit status.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use mod_md::time::{Timestamp, now};
use openssl::pkey::Id;

use support::issuer::{self, Issuer};
use support::{Authority, Config, Httpd, Lab, Pebble, SOON, open_lab, wait_for};

/// A command that notes each call in a file, as a line of its arguments, and ends as it is told.
struct Recorder {
    program: PathBuf,
    calls: PathBuf,
    status: PathBuf,
}

impl Recorder {
    /// `also`: more lines of shell, run at each call.
    fn new(lab: &Lab, name: &str, also: &str) -> Recorder {
        let dir = lab.path(name);
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        let [program, calls, status] = ["run", "calls", "status"].map(|file| dir.join(file));
        let (calls_file, status_file) = (calls.display(), status.display());
        let script = format!(
            "#!/bin/sh\numask 0\necho \"$*\" >> {calls_file}\necho \"said of $*\"\n{also}\nexit $(cat {status_file})\n"
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let recorder = Recorder { program, calls, status };
        recorder.end_with(0);
        recorder
    }

    fn end_with(&self, status: i32) {
        let new = self.status.with_extension("new");
        fs::write(&new, status.to_string()).unwrap();
        fs::rename(new, &self.status).unwrap();
    }

    fn calls(&self) -> Vec<String> {
        fs::read_to_string(&self.calls).unwrap_or_default().lines().map(String::from).collect()
    }

    fn count(&self, call: &str) -> usize {
        self.calls().iter().filter(|found| *found == call).count()
    }

    #[track_caller]
    fn wait(&self, call: &str, count: usize) {
        wait_for(&format!("call {count} of `{call}`"), SOON, || (self.count(call) >= count).then_some(()));
    }
}

fn config(lab: &Lab, authority: &Authority, message: &Recorder) -> Config {
    Config::with_ca(lab, authority)
        .line(&format!("MDMessageCmd {} 'two words' x", message.program.display()))
        .line("MDRetryDelay 1s\nMDCheckInterval 1s\nMDomain one.test")
        .site("one.test", &[])
}

fn said(event: &str) -> String {
    format!("two words x {event} one.test")
}

/// Until a command has ended, as far as the module knows. A recorder counts a call when it begins: a reload right
/// after that still meets the command at work.
#[track_caller]
fn wait_ended(httpd: &Httpd, call: &str) {
    httpd.wait_logged(&format!("said of {call}"));
}

#[test]
fn every_event_of_a_renewal_is_told_once_and_in_its_order() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let (message, notify) = (Recorder::new(&lab, "message", ""), Recorder::new(&lab, "notify", ""));
    let config = config(&lab, &pebble.authority, &message)
        .at_restarts()
        .line(&format!("MDNotifyCmd {} a b", notify.program.display()));
    let mut httpd = config.start();
    message.wait(&said("renewed"), 1);
    wait_ended(&httpd, &said("renewed"));
    httpd.graceful();
    message.wait(&said("installed"), 1);
    httpd.graceful();
    httpd.wait_looked_twice();
    let events = ["renewing", "challenge-setup:http-01:one.test", "renewed", "installed"];
    assert_eq!(message.calls(), events.map(said));
    assert_eq!(notify.calls(), ["a b one.test"]);
    let output = format!("said of {}", said("renewed"));
    assert!(httpd.logged(&output).iter().all(|line| line.contains("[md:debug]")), "{output}");
    assert!(!httpd.logged(&output).is_empty(), "{output}");
}

#[test]
fn a_renewal_waits_for_the_command_that_postpones_it() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let message = Recorder::new(&lab, "message", "");
    message.end_with(3);
    let httpd = config(&lab, &pebble.authority, &message).start();
    message.wait(&said("renewing"), 2);
    // That is no error: nobody has to look.
    let job = httpd.md("one.test")["renewal"].clone();
    assert_eq!(job["last"]["problem"], "urn:org:apache:httpd:log:AH10109:", "{job:#}");
    assert!(job["last"]["detail"].as_str().unwrap().contains("exit code 3"), "{job:#}");
    assert_eq!(job["errors"], 0, "{job:#}");
    assert_eq!(pebble.order_count(), 0);
    httpd.wait_logged("AH10060");
    assert!(httpd.logged("AH10060").iter().all(|line| line.contains("[md:info]")));
    assert_eq!(httpd.logged("AH10056"), Vec::<String>::new());
    assert_eq!(message.count(&said("errored")), 0);
    message.end_with(0);
    httpd.wait_staged("one.test");
}

#[test]
fn an_expiring_certificate_is_told_after_its_renewal_has_failed() {
    let Some(lab) = open_lab!() else { return };
    // Nobody listens there.
    let authority = Authority::new(&lab);
    let message = Recorder::new(&lab, "message", "");
    let config = config(&lab, &authority, &message).line("MDPrivateKeys P-256");
    let day = 86_400;
    let set = Issuer::new().issue_for(&["one.test"], Id::EC, -85 * day, 5 * day);
    issuer::install(&config.store(), &["one.test"], &[&set]);
    let httpd = config.start();
    message.wait(&said("expiring"), 1);
    assert_eq!(message.calls(), ["renewing", "errored", "expiring"].map(said));
    // Due since a third of the lifetime was left.
    let due = httpd.md("one.test")["renew-at"].as_str().and_then(Timestamp::parse_http_date).unwrap();
    let begin = now().unix() + 5 * day - 90 * day * 33 / 100;
    assert!((due.unix() - begin).abs() < 600, "{}", due.to_http_date());
}

#[test]
fn a_failure_is_told_once_an_hour_whatever_is_restarted_meanwhile() {
    let Some(lab) = open_lab!() else { return };
    // Nobody listens there.
    let authority = Authority::new(&lab);
    let message = Recorder::new(&lab, "message", "");
    let httpd = config(&lab, &authority, &message).start();
    let errors = |httpd: &Httpd, count: u64| {
        wait_for("failures of the renewal", SOON, || {
            (httpd.md("one.test")["renewal"]["errors"].as_u64() >= Some(count)).then_some(())
        });
    };
    errors(&httpd, 2);
    assert_eq!(message.count(&said("errored")), 1);
    assert_eq!(message.count(&said("renewing")), 1);
    // Another child takes over.
    let child = httpd.watchdog();
    support::process::signal(child, "KILL");
    errors(&httpd, 4);
    assert_eq!(message.count(&said("errored")), 1);
    // Another httpd begins the renewal anew.
    let httpd = httpd.stop().start();
    errors(&httpd, 2);
    assert_eq!(message.count(&said("errored")), 1);
    assert_eq!(message.count(&said("renewing")), 1);
}

#[test]
fn a_command_that_fails_is_told_of_the_renewed_set_until_it_succeeds() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let (message, notify) = (Recorder::new(&lab, "message", ""), Recorder::new(&lab, "notify", ""));
    notify.end_with(1);
    let config =
        config(&lab, &pebble.authority, &message).line(&format!("MDNotifyCmd {}", notify.program.display()));
    let httpd = config.start();
    notify.wait("one.test", 2);
    assert_eq!(message.count(&said("renewed")), 0, "one after the other");
    httpd.wait_logged("AH10108");
    message.end_with(1);
    notify.end_with(0);
    message.wait(&said("renewed"), 1);
    let calls = notify.count("one.test");
    message.wait(&said("renewed"), 3);
    assert!(notify.count("one.test") > calls, "both are told again");
    message.end_with(0);
    let told = |httpd: &Httpd| httpd.md("one.test")["renewal"]["notified-renewed"] == true;
    wait_for("an end of the repetition", SOON, || told(&httpd).then_some(()));
    let calls = notify.count("one.test");
    httpd.wait_looked_twice();
    assert_eq!(notify.count("one.test"), calls, "once it has heard, no more");
}

/// Whose calls last until a file is there.
fn lasting(lab: &Lab, name: &str) -> (Recorder, PathBuf, PathBuf) {
    let [go, done] = ["go", "done"].map(|file| lab.path(name).join(file));
    let also = format!("until [ -e {} ]; do sleep 0.05; done\necho $* >> {}", go.display(), done.display());
    (Recorder::new(lab, name, &also), go, done)
}

fn lines(file: &std::path::Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(String::from).collect()
}

/// As where the command reloads httpd: it is not called again by each child that this brings.
#[test]
fn a_reload_lets_a_notified_command_end_and_does_not_repeat_it() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    for live in [true, false] {
        let (message, (notify, go, done)) = if live {
            (Recorder::new(&lab, "message-live", ""), lasting(&lab, "notify-live"))
        } else {
            (Recorder::new(&lab, "message", ""), lasting(&lab, "notify"))
        };
        let config = config(&lab, &pebble.authority, &message);
        let config = if live { config } else { config.at_restarts() };
        let mut httpd = config.line(&format!("MDNotifyCmd {}", notify.program.display())).start();
        notify.wait("one.test", 1);
        httpd.graceful();
        message.wait(&said("renewed"), 1);
        wait_ended(&httpd, &said("renewed"));
        httpd.graceful();
        httpd.wait_looked_twice();
        assert!(!done.exists());
        fs::write(go, "").unwrap();
        wait_for("the end of the command", SOON, || (lines(&done) == ["one.test"]).then_some(()));
        assert_eq!(notify.calls(), ["one.test"]);
        assert_eq!(message.count(&said("renewed")), 1);
        let mut told = httpd.logged("continues on its own");
        // Of the events, whichever is being told.
        told.retain(|line| line.contains("MDNotifyCmd"));
        assert!(told.len() == 1 && told[0].contains("[md:info]"), "{told:#?}");
        for number in ["AH10108", "AH10109"] {
            assert_eq!(httpd.logged(number), Vec::<String>::new());
        }
        httpd.stop().forget();
    }
}

#[test]
fn commands_hear_of_a_set_activated_by_a_restart_until_they_succeed() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let (message, notify) = (Recorder::new(&lab, "message", ""), Recorder::new(&lab, "notify", ""));
    notify.end_with(1);
    let mut httpd = config(&lab, &pebble.authority, &message)
        .at_restarts()
        .line(&format!("MDNotifyCmd {}", notify.program.display()))
        .start();
    notify.wait("one.test", 1);
    httpd.graceful();
    assert!(httpd.served("one.test", &pebble, &[]).verified);
    // Also over another restart.
    for _ in 0..2 {
        let calls = notify.calls().len();
        notify.wait("one.test", calls + 2);
        httpd.graceful();
    }
    assert_eq!(message.count(&said("renewed")), 0);
    assert!(httpd.md("one.test").get("renewal").is_none(), "no renewal is under way");
    notify.end_with(0);
    message.wait(&said("renewed"), 1);
    let calls = notify.calls().len();
    httpd.graceful();
    httpd.wait_looked_twice();
    assert_eq!((notify.calls().len(), message.count(&said("renewed"))), (calls, 1));
}
