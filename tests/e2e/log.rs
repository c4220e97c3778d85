// SPDX-License-Identifier: Apache-2.0
//! The contents of the error log: at notice the events of a day, in a few lines.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use support::module::{c_module, under_test};
use support::{Authority, Command, Config, Httpd, Lab, Need, Pebble, SOON, open_lab, wait_for};

/// Who, what, and what comes next; with its number where the C module has one.
#[test]
fn at_notice_a_day_is_told_in_a_few_lines() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Authority::new(&lab).set("domainBlocklist", json!(["refused.invalid"])).start();
    let mut httpd = Config::with_ca(&lab, &pebble.authority)
        .line("LogLevel warn md:notice\nMDRetryDelay 1h\nMDomain good.test\nMDomain refused.invalid")
        .site("good.test", &[])
        .site("refused.invalid", &[])
        .start();
    let failed = || httpd.logged("AH10056: processing refused.invalid").len();
    wait_for("a failure and a success", SOON, || {
        (failed() == 1 && !httpd.logged("AH10059").is_empty()).then_some(())
    });
    httpd.graceful();
    wait_for("a failure after the restart", SOON, || {
        (httpd.logged("AH10056: processing refused.invalid").len() == 2).then_some(())
    });
    let told: Vec<String> = httpd.logged("[md:");
    let lines = |text: &str| told.iter().filter(|line| line.contains(text)).collect::<Vec<_>>();
    // The step that failed and the new account have no number; each failure is one line more.
    let (steps, accounts) = (lines("md[refused.invalid] while[Creating new order]"), lines(": new account "));
    assert_eq!((steps.len(), accounts.len()), (2, 1), "{told:#?}");
    assert!(steps.iter().all(|step| step.contains("error:rejectedIdentifier")), "{steps:#?}");
    assert_eq!(lines("AH10116: no certificate yet for ").len(), 2, "one for each start: {told:#?}");
    assert_eq!(told.iter().filter(|line| line.contains(" AH1")).count(), 6, "{told:#?}");
    assert_eq!(told.len(), 9, "{told:#?}");
    let success = lines("[md:notice]").into_iter().find(|line| line.contains("AH10059")).expect("a success");
    assert!(success.contains("Domain good.test has been setup and is live now"), "{success}");
    let failures = lines("AH10056: processing refused.invalid");
    assert_eq!(failures.len(), 2, "{told:#?}");
    for failure in failures {
        assert!(failure.contains("[md:error]") && failure.contains("What to do: Check"), "{failure}");
        assert!(failure.contains("Next try in ") && failure.contains(" GMT"), "{failure}");
    }
    let anew = lines("AH10064");
    assert!(anew.len() == 1 && anew[0].contains("refused.invalid"), "{told:#?}");
}

/// Where sets wait for a restart, one line says so, and the restart needs none.
#[test]
fn at_notice_a_set_that_waits_for_a_restart_is_told_once() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = Config::with_ca(&lab, &pebble.authority)
        .at_restarts()
        .line("LogLevel warn md:notice\nMDCheckInterval 1s\nMDomain late.test")
        .site("late.test", &[])
        .start();
    httpd.wait_logged("AH10059");
    httpd.graceful();
    assert!(httpd.served("late.test", &pebble, &[]).verified);
    let told: Vec<String> = httpd.logged("[md:");
    let lines = |text: &str| told.iter().filter(|line| line.contains(text)).collect::<Vec<_>>();
    let sets = lines("AH10059");
    assert_eq!((lines(": new account ").len(), lines("AH10116").len(), sets.len()), (1, 1, 1), "{told:#?}");
    assert_eq!(told.len(), 3, "{told:#?}");
    let text = "AH10059: The Managed Domain late.test has been setup and changes will be activated on next (graceful) server restart.";
    assert!(sets[0].contains("[md:notice]") && sets[0].contains(text), "{told:#?}");
}

/// Level and number of each line of ours or the C module's at notice and above that has a number.
fn numbered(httpd: &Httpd) -> BTreeSet<String> {
    let of_line = |line: &str| {
        let level = line.split_once("[md:")?.1.split(']').next()?;
        let number = line.match_indices("AH10").next().map(|(at, _)| &line[at..at + 7])?;
        ["notice", "warn", "error", "crit"].contains(&level).then(|| format!("{level} {number}"))
    };
    httpd.log().lines().filter_map(of_line).collect()
}

type Situation = (&'static str, fn(&Lab, Config) -> Httpd);

fn failing(lab: &Lab, config: Config, directive: &str, event: &str, calls: usize) -> Httpd {
    let command = Command::new(lab, "failing", &format!("case \"$1\" in {event}*) exit 3;; esac"));
    let httpd =
        config.line(&format!("{directive} {}\nMDomain one.test", command.line)).site("one.test", &[]).start();
    wait_for("calls that fail", SOON, || {
        (command.calls().iter().filter(|call| call.starts_with(event)).count() >= calls).then_some(())
    });
    httpd
}

const SITUATIONS: &[Situation] = &[
    ("first certificates and a restart", |_, config| {
        let names = ["one.test", "two.test", "three.test"];
        let config =
            config.line("MDomain unused.test\n<MDomain always.test>\nMDRenewMode always\n</MDomain>");
        let config = names.iter().fold(config, |c, name| c.line(&format!("MDomain {name}")).site(name, &[]));
        let mut httpd = config.start();
        httpd.wait_staged_and_activate(&["one.test", "two.test", "three.test", "always.test"]);
        httpd
    }),
    ("a renewal that fails, and a restart", |_, config| {
        let httpd = config.line("MDomain refused.invalid").site("refused.invalid", &[]).start();
        httpd.wait_logged("AH10056");
        let httpd = httpd.stop().start();
        httpd.wait_logged("AH10064");
        httpd
    }),
    ("a finished job without certificates", |_, config| {
        let config = config.line("MDInitialDelay 1h\nMDomain one.test").site("one.test", &[]);
        let config = config.start().stop();
        let valid_from = "Thu, 29 Aug 2019 16:06:35 GMT";
        let job = json!({"name": "one.test", "finished": true, "valid-from": valid_from, "errors": 0});
        let folder = config.store().join("staging/one.test");
        support::issuer::put_new(&folder, "job.json", job.to_string().as_bytes());
        config.start()
    }),
    ("a veto", |lab, config| failing(lab, config, "MDMessageCmd", "renewing", 2)),
    ("MDNotifyCmd fails", |lab, config| failing(lab, config, "MDNotifyCmd", "one.test", 2)),
    ("MDMessageCmd fails for `renewed`", |lab, config| failing(lab, config, "MDMessageCmd", "renewed", 2)),
];

/// What only ours says, in which situation; the reasons are in docs/compat.md.
const OURS: &[(&str, &str)] = &[("", "warn AH10116"), ("MDNotifyCmd fails", "notice AH10059")];

#[test]
fn from_notice_on_the_numbers_in_the_log_are_those_of_the_c_module() {
    let Some(lab) = open_lab!(Need::BothModules) else { return };
    let pebble = Authority::new(&lab).set("domainBlocklist", json!(["refused.invalid"])).start();
    let config = || {
        Config::with_ca(&lab, &pebble.authority)
            .line("MDPrivateKeys P-256\nMDRetryDelay 1s\nMDCheckInterval 1s")
    };
    for (what, run) in SITUATIONS {
        let told = |module: &Path| {
            let httpd = run(&lab, config().module(module).at_restarts());
            let told = numbered(&httpd);
            httpd.stop().forget();
            told
        };
        let (theirs, mut ours) = (told(&c_module().unwrap()), told(&under_test()));
        for (_, line) in OURS.iter().filter(|(situation, _)| situation.is_empty() || situation == what) {
            ours.remove(*line);
        }
        assert_eq!(ours, theirs, "{what}: ours, and those of the C module");
    }
}
