// SPDX-License-Identifier: Apache-2.0
//! `a2md fleet`, and what `a2md doctor` finds of a fleet: on a store in which this test is the process that
//! replicates, with a control program that prints a configuration.

use super::call::{Called, a2md, called, command};
use mod_md::config::{Configuration, DumpedFleet};
use mod_md::managed::fleet_requests::FleetRequests;
use mod_md::model::{FleetOp, FleetReport, FleetRequest, Renewing, ReportedNode, RequestState};
use mod_md::store::{Holder, RenewingLock, StartStore};
use mod_md::time::{Clock, SystemClock, Timestamp};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};
use support::{Config, module, open_lab};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);

/// A store, and a program that says what its httpd has configured.
struct Site {
    dir: TempDir,
    store: StartStore,
}

impl Site {
    fn new(fleet: Option<DumpedFleet>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        let site = Site { dir, store };
        site.store.make_fleet_folder().unwrap();
        let configuration = Configuration {
            store: site.path("md"),
            server_root: "/".into(),
            fleet,
            ..Configuration::default()
        };
        fs::write(site.path("md.json"), configuration.to_json().to_string()).unwrap();
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *DUMP_MD_JSON*) exec cat {};; esac\necho 'Syntax OK' >&2\n",
            site.path("md.json").display()
        );
        fs::write(site.path("apachectl"), script).unwrap();
        fs::set_permissions(site.path("apachectl"), fs::Permissions::from_mode(0o755)).unwrap();
        site
    }

    fn of_fleet() -> Self {
        Site::new(Some(DumpedFleet {
            urls: vec!["etcd://e.test:2379/{mod_md}".into()],
            ..DumpedFleet::default()
        }))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn report(&self, report: &FleetReport) {
        self.store.worker().write_fleet_status(&report.to_json()).unwrap();
    }

    fn call(&self, arguments: &[&str]) -> Called {
        a2md(&[arguments, &["-q", "--httpd", &self.path("apachectl").display().to_string()]].concat())
    }

    /// As the child that renews.
    fn running(&self) -> RenewingLock {
        let mut lock = RenewingLock::new(self.store.worker());
        lock.take(&Holder::own(1, now())).unwrap();
        lock
    }
}

fn now() -> Timestamp {
    SystemClock::default().now()
}

fn report() -> FleetReport {
    let node = |id: &str, name: &str| ReportedNode {
        id: id.into(),
        name: name.into(),
        version: "3.0.0".into(),
        seen: Some(now()),
        applied: 7,
    };
    FleetReport {
        at: now(),
        engine: "etcd://e.test:2379".into(),
        connected: true,
        since: Some(now()),
        id: "id1".into(),
        name: "www1".into(),
        nodes: vec![node("id1", "www1"), node("id2", "www2")],
        renewing: vec![Renewing { name: "a.test".into(), node: "www2".into(), ..Renewing::default() }],
        revision: 7,
        applied: 7,
        ..FleetReport::default()
    }
}

#[test]
fn a_key_of_a_fleet_is_changed_by_renewals_which_tell_the_others() {
    let site = Site::of_fleet();
    let rollover = |options: &[&str]| site.call(&[&["account", "rollover", "ca.test"], options].concat());
    let refused = rollover(&["--type", "P-256"]);
    let line = "a2md account rollover ca.test --at-renewal --type P-256";
    assert!(refused.code == 1 && refused.err.contains(line), "{}", refused.err);
    // It does not say so of what concerns this node alone, nor of an httpd by itself.
    let alone = Site::new(None);
    let of_one = alone.call(&["account", "rollover", "ca.test"]);
    for called in [rollover(&["--at-renewal"]), rollover(&["--cancel"]), of_one] {
        assert!(called.code != 0 && called.err.contains("there is no account"), "{}", called.err);
    }
}

fn checks(document: &Value, verdict: &str) -> Vec<String> {
    let findings = document["findings"].as_array().unwrap_or_else(|| panic!("{document}"));
    let found = findings.iter().filter(|finding| finding["verdict"] == verdict);
    found.map(|finding| finding["check"].as_str().unwrap().to_string()).collect()
}

#[test]
fn of_many_secrets_for_one_file_the_first_stays() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let file = dir.path().join(round.to_string());
        let make = || a2md(&["fleet", "secret", "--out", &file.display().to_string()]);
        let made: Vec<_> = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..6).map(|_| scope.spawn(make)).collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|made| made.code == 0).count(), 1);
        let refused = made.iter().filter(|made| made.code == 1 && made.err.contains("is there already"));
        assert_eq!(refused.count(), 5);
    }
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("nowhere"), &link).unwrap();
    let made = a2md(&["fleet", "secret", "--out", &link.display().to_string()]);
    assert!(made.code == 1 && made.err.contains("is there already"), "{}", made.err);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 6, "nothing is left over");
}

#[test]
fn a_secret_is_32_random_bytes_and_a_file_of_its_owner_alone() {
    let [one, other] = [(); 2].map(|()| a2md(&["fleet", "secret"]).out);
    assert!(one.len() == 45 && one.ends_with("=\n") && one != other, "{one}");
    let document = a2md(&["fleet", "secret", "-j"]).json();
    assert_eq!((document["schema"].as_i64(), document["secret"].as_str().unwrap().len()), (Some(1), 44));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fleet.secret");
    let out = file.display().to_string();
    let made = a2md(&["fleet", "secret", "--out", &out]);
    assert!(made.code == 0 && made.out.contains(&format!("MDFleetSecretFile {out}")), "{}", made.err);
    let first = fs::read_to_string(&file).unwrap();
    assert!(first.len() == 45 && !made.out.contains(first.trim()));
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    let again = a2md(&["fleet", "secret", "--out", &out]);
    assert!(
        again.code == 1 && again.err.contains("is there already") && again.err.contains("--force"),
        "{}",
        again.err
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), first);
    let forced = a2md(&["fleet", "secret", "--out", &out, "--force", "-j"]);
    assert_eq!((forced.code, forced.json()["file"].as_str()), (0, Some(out.as_str())));
    assert!(fs::read_to_string(&file).unwrap() != first);
    // Also where the caller is.
    let mut here = command(&["fleet", "secret", "--out", "here"]);
    here.current_dir(dir.path());
    assert_eq!(called(here).code, 0);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left over");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let open = a2md(&["fleet", "secret", "--out", &dir.path().join("x").display().to_string()]);
    assert!(open.code == 1 && open.err.contains("every user can write there"), "{}", open.err);
    assert_eq!(a2md(&["fleet", "secret", "--out", "/nonexistent/x"]).code, 1);
    assert_eq!(a2md(&["fleet", "secret", "--force"]).code, 2);
}

#[test]
fn status_shows_engine_and_nodes_and_its_exit_code_says_whether_all_is_well() {
    let site = Site::of_fleet();
    site.report(&report());
    let called = site.call(&["fleet", "status"]);
    assert_eq!(called.code, 0, "{}{}", called.out, called.err);
    for part in
        ["etcd://e.test:2379, connected since", "www1 (id1)", "www1 *", "www2", "a.test", "No problem found"]
    {
        assert!(called.out.contains(part), "{part}: {}", called.out);
    }
    let called = site.call(&["fleet", "status", "-j"]);
    let document = called.json();
    assert_eq!(
        (called.code, document["schema"].as_i64(), document["found-by"].as_str()),
        (0, Some(1), Some("httpd"))
    );
    assert_eq!(document["fleet"]["nodes"][1]["name"], "www2");
    assert_eq!(document["counts"]["fails"], 0);
    // Nothing of it steers the terminal.
    site.report(&FleetReport {
        connected: false,
        engine: "\u{202e}e".into(),
        problem: Some("\u{1b}[2J no".into()),
        refused: vec![("b.test\u{9b}".into(), "it does not open".into())],
        ..report()
    });
    let called = site.call(&["fleet", "status"]);
    assert_eq!(called.code, 1);
    assert!(!called.out.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{}", called.out);
    for part in ["not connected", "[fleet-engine]", "[fleet-refused]", "a2md fleet rekey"] {
        assert!(called.out.contains(part), "{part}: {}", called.out);
    }
    // An old report says nothing of now.
    site.report(&FleetReport { at: now().minus(Duration::from_secs(600)), ..report() });
    let called = site.call(&["fleet", "status", "-j"]);
    assert_eq!((called.code, called.json()["fleet"]["connected"].as_bool()), (1, Some(false)));
    assert!(called.out.contains("no process of this httpd replicates"), "{}", called.out);
}

#[test]
fn status_shows_the_fleet_beside_the_domains() {
    let site = Site::of_fleet();
    site.report(&report());
    let called = site.call(&["status"]);
    assert!(
        called.out.ends_with("Fleet: connected, 2 nodes, 1 in renewal ('a2md fleet status').\n"),
        "{}",
        called.out
    );
    assert_eq!(site.call(&["status", "-j"]).json()["fleet"]["engine"], "etcd://e.test:2379");
    let alone = Site::new(None);
    alone.report(&report());
    assert!(!alone.call(&["status"]).out.contains("Fleet"));
    assert!(alone.call(&["status", "-j"]).json().get("fleet").is_none());
}

#[test]
fn without_a_fleet_each_command_says_how_one_comes_to_be() {
    let alone = Site::new(None);
    // It had one once.
    alone.report(&report());
    for arguments in
        [&["fleet", "status"][..], &["fleet", "rekey"], &["fleet", "resync"], &["fleet", "evict", "x"]]
    {
        let called = alone.call(arguments);
        assert_eq!(called.code, 1, "{arguments:?}");
        assert!(
            called.err.contains("belongs to no fleet") && called.err.contains("MDFleetSecretFile"),
            "{}",
            called.err
        );
    }
    // No configuration is known, and the store has nothing.
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("md");
    StartStore::open(&store, None).unwrap();
    let mut call = command(&["fleet", "status", "-d", &store.display().to_string()]);
    call.env("PATH", "/nonexistent");
    let called = called(call);
    assert!(called.code == 1 && called.err.contains("--httpd"), "{}", called.err);
    assert_eq!(a2md(&["fleet", "evict"]).code, 2);
}

#[test]
fn a_request_is_answered_by_the_process_that_replicates() {
    let site = Site::of_fleet();
    site.report(&report());
    let stopped = site.call(&["fleet", "resync"]);
    assert!(stopped.code == 1 && stopped.err.contains("no httpd runs on the store"), "{}", stopped.err);
    let _running = site.running();
    for (arguments, op, state, detail, code) in [
        (&["fleet", "rekey"][..], FleetOp::Rekey, RequestState::Done, "sealed 12 values again", 0),
        (&["fleet", "resync"], FleetOp::Resync, RequestState::Failed, "the engine is away", 1),
        (
            &["fleet", "evict", "www 2"],
            FleetOp::Evict { node: "www 2".into() },
            RequestState::Refused,
            "it is alive",
            1,
        ),
    ] {
        let work = site.store.worker();
        let child = thread::spawn(move || {
            let mut requests = FleetRequests::new(None);
            let begin = Instant::now();
            let request: FleetRequest = loop {
                match requests.look(&work, now()) {
                    Some(request) => break request,
                    None => assert!(begin.elapsed() < SOON, "no request came"),
                }
                thread::sleep(Duration::from_millis(50));
            };
            for (state, detail) in [(RequestState::Running, "under way"), (state, detail)] {
                let answer = Some(request.answer(state, Some(detail.into()), now()));
                work.write_fleet_status(&FleetReport { answer, ..report() }.to_json()).unwrap();
            }
            request.op
        });
        let called = site.call(&[arguments, &["-j"]].concat());
        assert_eq!(child.join().unwrap(), op);
        assert_eq!(called.code, code, "{}", called.err);
        let document = called.json();
        assert_eq!(
            (document["state"].as_str(), document["detail"].as_str()),
            (Some(state.token()), Some(detail))
        );
        assert!(site.store.read_fleet_request().unwrap().is_none(), "the file is removed");
    }
    let odd = site.call(&["fleet", "evict", "a\nb"]);
    assert!(odd.code == 1 && odd.err.contains("characters"), "{}", odd.err);
}

#[test]
fn a_server_tells_of_its_fleet_and_an_httpd_without_one_says_nothing() {
    let Some(lab) = open_lab!() else { return };
    if module::is_c(&module::under_test()) {
        return;
    }
    let file = lab.path("fleet.secret");
    secret(&file);
    let with = |config: Config| {
        let lines =
            "MDServerStatus on\n<Location /metrics>\nSetHandler md-metrics\n</Location>\nMDomain a.test";
        config.line(lines).site("a.test", &[])
    };
    let from = format!("http://127.0.0.1:{}/md-status", lab.http);
    let fleet =
        format!("MDFleet etcd://127.0.0.1:1/x\nMDFleetNode here\nMDFleetSecretFile {}", file.display());
    let config = with(Config::new(&lab).line("MDInitialDelay 1d").line(&fleet));
    let (out, err) = texts(&config.tested(&["-D", "DUMP_MD"]));
    let line = format!("Fleet: etcd://127.0.0.1:1/x as here, secret in {}", file.display());
    assert!(out.lines().any(|found| found == line), "{out}{err}");
    let (document, _) = texts(&config.tested(&["-D", "DUMP_MD_JSON"]));
    assert!(!format!("{out}{document}").contains(fs::read_to_string(&file).unwrap().trim()));
    let document: Value = serde_json::from_str(&document).unwrap();
    let read = Configuration::from_json(&document).unwrap().fleet.unwrap();
    assert_eq!((read.node.as_deref(), &read.secret_files[..]), (Some("here"), &[file.clone()][..]));
    let httpd = config.clone().start();
    let told = a2md(&["fleet", "status", "--from", &from, "-j"]);
    assert_eq!((told.code, told.json()["fleet"]["connected"].as_bool()), (1, Some(false)), "{}", told.err);
    assert_eq!(told.json()["from"], from.as_str());
    assert!(httpd.get("main.test", "/metrics").body.contains("\nmd_fleet_connected 0\n"));
    assert!(httpd.get("main.test", "/server-status").body.contains("<h3>Fleet</h3>"));
    assert!(httpd.get("main.test", "/server-status?auto").body.contains("\nFleetConnected: no\n"));
    drop(httpd.stop());
    let httpd = with(Config::new(&lab).line("MDInitialDelay 1d")).start();
    let told = a2md(&["fleet", "status", "--from", &from]);
    assert!(told.code == 1 && told.err.contains("tells of no fleet"), "{}", told.err);
    for page in ["/md-status", "/metrics", "/server-status", "/server-status?auto"] {
        assert!(!httpd.get("main.test", page).body.to_lowercase().contains("fleet"), "{page}");
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// Findings of the fleet alone.
fn doctor(site: &Site) -> (Vec<String>, Vec<String>) {
    const PAGE: &str = include_str!("../../docs/a2md.md");
    let called = site.call(&["doctor", "-j", "--offline"]);
    let document = called.json();
    let of = |verdict: &str| -> Vec<String> {
        checks(&document, verdict).into_iter().filter(|check| check.starts_with("fleet-")).collect()
    };
    let (fails, works) = (of("fails"), of("works"));
    for check in fails.iter().chain(&works) {
        assert!(PAGE.contains(&format!("`{check}`")), "{check} is not in docs/a2md.md");
    }
    (fails, works)
}

fn secret(path: &Path) {
    assert_eq!(a2md(&["fleet", "secret", "--out", &path.display().to_string()]).code, 0);
}

#[test]
fn each_planted_fault_of_a_fleet_is_found_by_its_token() {
    let site = Site::of_fleet();
    // Where no httpd runs there is nothing to tell of.
    assert_eq!(doctor(&site), (vec![], vec![]));
    let _running = site.running();
    assert_eq!(doctor(&site).0, ["fleet-engine"], "no process replicates");
    site.report(&report());
    assert_eq!(doctor(&site).0, [""; 0]);
    let faults: [(&str, FleetReport); 6] = [
        ("fleet-engine", FleetReport { connected: false, ..report() }),
        ("fleet-engine", FleetReport { at: now().minus(Duration::from_secs(600)), ..report() }),
        ("fleet-clock", FleetReport { clock_off: Some(-300), ..report() }),
        ("fleet-lag", FleetReport { revision: 1000, ..report() }),
        (
            "fleet-refused",
            FleetReport { refused: vec![("a.test".into(), "it does not open".into())], ..report() },
        ),
        ("fleet-node-names", {
            let mut twice = report();
            twice.nodes[1].name = "www1".into();
            twice
        }),
    ];
    for (check, report) in faults {
        site.report(&report);
        assert_eq!(doctor(&site).0, [check]);
    }
    // Of an httpd without a fleet nothing is said.
    let alone = Site::new(None);
    alone.report(&FleetReport { connected: false, ..report() });
    assert_eq!(doctor(&alone), (vec![], vec![]));
}
