// SPDX-License-Identifier: Apache-2.0
//! Ways of TXT records for dns-01 that go over HTTP, with the real client: acme-dns, whose accounts outlive a
//! process that is killed, and hook:httpreq.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use doubles::AcmeDns;
use mod_md::challenge::dns01::{Record, acme_dns, hook};
use mod_md::http::{Client, Limits, Options};
use mod_md::model::dns01::{Hook, HookKind, SecretFile};
use mod_md::store::StartStore;
use mod_md::time::{StopFlag, SystemClock};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const VALUE: &str = "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo";
const DOMAIN: &str = "a.test";

fn client() -> Client {
    let limits = Limits { stall: Duration::from_secs(60), exchange: Duration::from_secs(60), body: 65_536 };
    let options = Options {
        ca_file: None,
        proxy_url: None,
        proxy_ca_file: None,
        user_agent: "mod_md/test".into(),
        stop: StopFlag::default(),
        limits,
    };
    Client::new(&options).unwrap()
}

/// Told to a process that this test starts: the server and the store.
const SERVER: &str = "TEST_ACME_DNS_SERVER";
const STORE: &str = "TEST_ACME_DNS_STORE";

/// What a renewing child does, where the test below runs this file once more; else nothing.
#[test]
fn renewing_child() {
    let (Ok(url), Ok(path)) = (std::env::var(SERVER), std::env::var(STORE)) else { return };
    let store = StartStore::open(Path::new(&path), None).unwrap().worker();
    let http = client();
    let account = acme_dns::account(&url, DOMAIN, &store, &http).unwrap();
    println!("\nset {}", acme_dns::delegation(&mod_md::challenge::dns01::record_name(DOMAIN), &account));
    std::io::stdout().flush().unwrap();
    acme_dns::set_up(&url, &account, VALUE, &http).unwrap();
    println!("\ndone {}", account.fulldomain);
}

fn begin(server: &AcmeDns, store: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "renewing_child", "--nocapture"]).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env(SERVER, server.url()).env(STORE, store).spawn().unwrap()
}

/// Ends it by SIGKILL, if it has not ended. What it told the admin, and whether it was done.
fn end(mut child: Child, is_killed: bool) -> (Option<String>, bool) {
    if is_killed {
        child.kill().unwrap();
    }
    let printed = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let told = printed.lines().find_map(|line| line.strip_prefix("set ")).map(String::from);
    (told, printed.contains("\ndone "))
}

#[test]
fn a_process_that_is_killed_costs_one_registration_and_never_a_cname() {
    for (held, registrations) in [("/register", 2), ("/update", 1)] {
        let (server, dir) = (AcmeDns::start(), tempfile::tempdir().unwrap());
        let store = dir.path().join("md");
        server.hold(Some(held));
        let child = begin(&server, &store);
        server.wait_until_held();
        let (told, _) = end(child, true);
        assert_eq!(told.is_some(), held == "/update");
        server.hold(None);
        let (again, is_done) = end(begin(&server, &store), false);
        assert!(is_done && again.is_some());
        assert_eq!(server.registrations(), registrations, "{held}");
        assert!(told.is_none() || told == again);
        let cname = format!("_acme-challenge.a.test. CNAME sub-{registrations}.auth.test.");
        assert_eq!(again, Some(cname));
        assert!(server.values(&format!("sub-{registrations}.auth.test")).contains(&VALUE.to_string()));
    }
}

#[test]
fn whenever_it_is_killed_what_the_admin_was_told_stays_true() {
    let (server, dir) = (AcmeDns::start(), tempfile::tempdir().unwrap());
    let mut first: Option<String> = None;
    // Each time a little later, from before it has asked to after its end.
    for wait in (0..).map(|n: u64| Duration::from_millis(n * n / 4)) {
        let child = begin(&server, &dir.path().join("md"));
        std::thread::sleep(wait);
        let (told, is_done) = end(child, true);
        assert!(first.is_none() || told.is_none() || first == told, "{first:?} and {told:?}");
        first = first.or(told);
        if is_done {
            break;
        }
        assert!(wait < Duration::from_secs(60), "it never ends");
    }
    let registrations = server.registrations();
    assert_eq!(end(begin(&server, &dir.path().join("md")), false), (first, true));
    assert_eq!(server.registrations(), registrations);
}

#[test]
fn processes_that_begin_together_agree_on_one_account() {
    let (server, dir) = (AcmeDns::start(), tempfile::tempdir().unwrap());
    let store = dir.path().join("md");
    StartStore::open(&store, None).unwrap();
    let children: Vec<Child> = (0..6).map(|_| begin(&server, &store)).collect();
    let told: Vec<_> = children.into_iter().map(|child| end(child, false)).collect();
    assert!(told.iter().all(|(told, is_done)| *is_done && *told == told_first(&server)), "{told:?}");

    /// The only name that has values.
    fn told_first(server: &AcmeDns) -> Option<String> {
        let names = (1..=server.registrations()).map(|n| format!("sub-{n}.auth.test"));
        let used: Vec<String> = names.filter(|name| !server.values(name).is_empty()).collect();
        assert_eq!(used.len(), 1, "{used:?}");
        Some(format!("_acme-challenge.a.test. CNAME {}.", used[0]))
    }
}

/// Answers one request, whose text it returns.
fn answer(listener: &TcpListener, answer: &str) -> String {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(&stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let at = head.len();
        reader.read_line(&mut head).unwrap();
        let line = head[at..].to_ascii_lowercase();
        length = line.strip_prefix("content-length: ").map_or(length, |text| text.trim().parse().unwrap());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (&stream).write_all(answer.as_bytes()).unwrap();
    head + &String::from_utf8(body).unwrap()
}

#[test]
fn httpreq_is_sent_with_the_user_and_follows_no_redirect() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/dns", listener.local_addr().unwrap());
    let user = SecretFile::loaded("/etc/user", "me:secret\n");
    let hook = Hook { kind: HookKind::HttpReq, words: vec![url], user: Some(user), env: None };
    let all = [DOMAIN.to_string()];
    let name = "_acme-challenge.a.test";
    let record = Record { domain: DOMAIN, name, value: VALUE, all_domains: &all, remaining: 0 };
    let (http, clock, limit) = (client(), SystemClock::default(), Duration::from_secs(60));
    std::thread::scope(|scope| {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let sent = scope.spawn(|| answer(&listener, ok));
        hook::set_up(&hook, &record, limit, &clock, &http).unwrap();
        let sent = sent.join().unwrap();
        assert!(sent.starts_with("POST /dns/present HTTP/1.1\r\n"), "{sent}");
        // As base64(1) has it.
        assert!(sent.to_ascii_lowercase().contains("\r\nauthorization: basic bwu6c2vjcmv0\r\n"), "{sent}");
        assert!(sent.ends_with(&format!("{{\"fqdn\":\"{name}.\",\"value\":\"{VALUE}\"}}")), "{sent}");
        let away = "HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let sent = scope.spawn(|| answer(&listener, away));
        let error = hook::tear_down(&hook, &record, None, limit, &clock, &http).unwrap_err();
        assert!(sent.join().unwrap().starts_with("POST /dns/cleanup HTTP/1.1\r\n"));
        assert!(error.to_string().contains("a redirect to http://127.0.0.1:1/"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    });
}
