// SPDX-License-Identifier: Apache-2.0
//! What a server costs that has nothing to do, and who works in it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use support::preload::Preload;
use support::process::{children, is_alive, signal};
use support::{Config, Httpd, Lab, SOON, open_lab, wait_for};

const CHILDREN: usize = 16;

fn config(lab: &Lab) -> Config {
    Config::new(lab)
        .without_module_named("watchdog")
        .line("MDPrivateKeys P-256\nMDCertificateAgreement accepted\nMDRetryDelay 1h")
        .line("MDCertificateAuthority https://127.0.0.1:1/dir\nMDomain one.test\nMDomain two.test")
        .site("one.test", &[])
        .site("two.test", &[])
}

/// Threads of ours in all children.
fn threads(httpd: &Httpd) -> Vec<PathBuf> {
    let tasks = |pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let all = children(httpd.pid()).into_iter().flat_map(tasks).map(|task| task.path());
    let name = |task: &PathBuf| fs::read_to_string(task.join("comm")).unwrap_or_default();
    all.filter(|task| name(task).starts_with("md-")).collect()
}

/// How often a thread has gone to sleep.
fn sleeps(task: &Path) -> u64 {
    let status = fs::read_to_string(task.join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

#[test]
fn threads_of_an_idle_server_sleep_most_of_a_second() {
    let Some(lab) = open_lab!() else { return };
    let httpd = config(&lab)
        .line(&format!(
            "StartServers {CHILDREN}\nServerLimit {CHILDREN}\nMaxRequestWorkers 128\nMaxSpareThreads 128"
        ))
        .start();
    // One in each child, and the renewals of one.
    wait_for("nothing but the threads that stay", SOON, || {
        (threads(&httpd).len() == CHILDREN + 1 && httpd.md("two.test")["renewal"]["errors"] == 1)
            .then_some(())
    });
    let count = || threads(&httpd).iter().map(|task| sleeps(task)).sum::<u64>();
    let (begin, before) = (Instant::now(), count());
    thread::sleep(Duration::from_secs(3));
    let (slept, seconds) = (count() - before, begin.elapsed().as_secs_f64());
    // At ten looks a second it were 170.
    let each_second = slept as f64 / seconds;
    assert!(each_second < 51.0, "{each_second} wake-ups a second");
    assert!(each_second > 8.0, "{each_second}: they are not asleep for good");
    httpd.stop().forget();
}

#[test]
fn another_child_renews_once_the_renewing_one_is_killed() {
    for mpm in ["event", "prefork"] {
        let Some(lab) = open_lab!() else { return };
        let httpd = config(&lab).mpm(mpm).start();
        let killed = httpd.watchdog();
        signal(killed, "KILL");
        wait_for("its end", SOON, || (!is_alive(killed)).then_some(()));
        assert_ne!(httpd.watchdog(), killed, "{mpm}");
        assert_eq!(httpd.logged("AH10054").len(), 2, "{mpm}: one after the other");
        httpd.stop().forget();
    }
}

#[test]
fn one_child_renews_where_the_system_refuses_files_in_memory() {
    let Some(lab) = open_lab!() else { return };
    let httpd = Preload::build(&lab).refuse_memory_files(config(&lab)).start();
    let killed = httpd.watchdog();
    signal(killed, "KILL");
    wait_for("its end", SOON, || (!is_alive(killed)).then_some(()));
    assert_ne!(httpd.watchdog(), killed);
    assert_eq!(httpd.logged("AH10054").len(), 2, "one after the other");
    assert!(httpd.logged("AH10062").is_empty());
    httpd.stop().forget();
}

#[test]
fn a_child_whose_thread_could_not_be_started_begins_it_with_a_connection_once_it_can_be() {
    let Some(lab) = open_lab!() else { return };
    let shortage = lab.path("no-threads");
    fs::write(&shortage, "").unwrap();
    let httpd = Preload::build(&lab).refuse_threads(config(&lab), &shortage).start();
    let children = || children(httpd.pid());
    wait_for("a line of each child", SOON, || {
        (httpd.logged("AH10062").len() == children().len()).then_some(())
    });
    let told = httpd.logged("AH10062").len();
    assert!(httpd.logged("AH10054").is_empty(), "nobody renews");
    fs::remove_file(&shortage).unwrap();
    wait_for("the threads of all children", SOON, || {
        httpd.get("main.test", "/");
        (httpd.logged("its thread could be started").len() == told).then_some(())
    });
    httpd.watchdog();
    assert_eq!(httpd.logged("AH10062").len(), told, "each child once");
}

#[test]
fn a_child_that_waits_for_its_connections_leaves_the_renewals_to_others() {
    let Some(lab) = open_lab!() else { return };
    let mut httpd = config(&lab).line("StartServers 1\nTimeout 60").start();
    let former = httpd.watchdog();
    // A request that is under way.
    let mut client = TcpStream::connect(("127.0.0.1", lab.http)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: main.test\r\n").unwrap();
    // The child has it before it is told to end.
    thread::sleep(Duration::from_millis(300));
    httpd.next_generation();
    let of_former = |number: &str| {
        httpd.logged(number).iter().filter(|line| line.contains(&format!("[pid {former}:"))).count()
    };
    wait_for("the end of its renewals", SOON, || (of_former("AH10058") == 1).then_some(()));
    assert!(is_alive(former), "the client has no answer yet");
    // Maybe after one of the former generation, which the parent began at the last moment.
    wait_for("the next child that renews", SOON, || (httpd.watchdog() != former).then_some(()));
    assert_eq!(of_former("AH10054"), 1, "not again");
    client.write_all(b"Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    httpd.stop().forget();
}
