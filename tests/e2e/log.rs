//! What the error log tells: at notice the story of a day, in a few lines.

use serde_json::json;

use crate::support::{Authority, Config, Pebble, SOON, open_lab, wait_for};

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
    assert_eq!(lines("AH10116: no certificate yet for ").len(), 2, "one for each start: {told:#?}");
    assert_eq!(told.iter().filter(|line| line.contains(" AH1")).count(), 6, "{told:#?}");
    assert_eq!(told.len(), 9, "{told:#?}");
    let success = lines("[md:notice]").into_iter().find(|line| line.contains("AH10059")).expect("a success");
    assert!(success.contains("Domain good.test has been setup and is live now"), "{success}");
    for failure in lines("AH10056: processing refused.invalid") {
        assert!(failure.contains("[md:error]") && failure.contains("rejectedIdentifier"), "{failure}");
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
