// SPDX-License-Identifier: Apache-2.0
//! `a2md export`: files for other programs, atomically, with their owners, once and after each renewal.

use super::call::{Called, a2md, command};
use mod_md::store::StartStore;
use openssl::pkey::{Id, PKey};
use openssl::x509::X509;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::issuer::{self, Issuer};
use support::process::signal;
use support::tls::serial;
use support::{Config, Lab, Need, Pebble, SOON, open_lab, wait_for};
use tempfile::TempDir;

const NAMES: &[&str] = &["one.test", "www.one.test"];

/// A store with a domain, without httpd, and a folder to export to.
struct Ready {
    dir: TempDir,
    issuer: Issuer,
}

impl Ready {
    fn new() -> Ready {
        let ready = Ready { dir: tempfile::tempdir().unwrap(), issuer: Issuer::new() };
        drop(StartStore::open(&ready.store(), None).unwrap());
        fs::create_dir(ready.to()).unwrap();
        ready
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("md")
    }

    fn to(&self) -> PathBuf {
        self.dir.path().join("to")
    }

    /// Another set comes into use, as by a start. Gives its serial number.
    fn renew(&self) -> String {
        let set = self.issuer.issue(NAMES);
        issuer::install(&self.store(), NAMES, &[&set]);
        set.serial()
    }

    fn export(&self, arguments: &[&str]) -> Called {
        self.export_to(&self.to(), arguments)
    }

    fn export_to(&self, to: &Path, arguments: &[&str]) -> Called {
        let (store, to) = (self.store(), to.display().to_string());
        let mut all = vec!["-d", store.to_str().unwrap(), "export", "one.test", "--to", &to];
        all.extend(arguments);
        a2md(&all)
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The serial number of a file with key and chain, which have to belong together.
fn combined(content: &[u8]) -> String {
    let key = PKey::private_key_from_pem(content).unwrap();
    let chain = X509::stack_from_pem(content).unwrap();
    assert!(chain[0].public_key().unwrap().public_eq(&key), "the key of another certificate");
    assert_eq!(chain.len(), 2);
    serial(&chain[0])
}

fn pair(dir: &Path) -> String {
    combined(
        &[fs::read(dir.join("privkey.pem")).unwrap(), fs::read(dir.join("fullchain.pem")).unwrap()].concat(),
    )
}

#[test]
fn the_set_in_use_becomes_files_that_only_a_change_rewrites() {
    let ready = Ready::new();
    let none = ready.export(&[]);
    assert!(none.code == 1 && none.err.contains("no managed domain has the name 'one.test'"), "{}", none.err);
    let first = ready.renew();
    let called = ready.export(&["--format", "pem,combined"]);
    assert_eq!(called.code, 0, "{}", called.err);
    let to = ready.to();
    assert_eq!(pair(&to), first);
    assert_eq!(combined(&fs::read(to.join("combined.pem")).unwrap()), first);
    let all = ["cert.pem", "chain.pem", "combined.pem", "fullchain.pem", "privkey.pem"];
    assert_eq!(names(&to)[1..], all);
    let mode = |file: &str| fs::metadata(to.join(file)).unwrap().mode() & 0o7777;
    assert_eq!((mode("privkey.pem"), mode("fullchain.pem")), (0o600, 0o644));
    let inode = || fs::metadata(to.join("privkey.pem")).unwrap().ino();
    let before = inode();
    let called = ready.export(&["--format", "pem,combined", "-j"]);
    let document = called.json();
    assert_eq!((document["changed"].as_bool(), document["source"].as_str()), (Some(false), Some("domains")));
    assert_eq!(inode(), before);
    assert!(!called.out.contains("PRIVATE KEY"));
    // What others have changed is put right.
    fs::set_permissions(to.join("privkey.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(ready.export(&["--format", "pem,combined", "-j"]).json()["changed"], true);
    assert_eq!(mode("privkey.pem"), 0o600);
    let second = ready.renew();
    assert_eq!(ready.export(&["--format", "pem,combined", "-j"]).json()["changed"], true);
    assert_eq!((pair(&to), combined(&fs::read(to.join("combined.pem")).unwrap())), (second.clone(), second));
    // By a name that it covers.
    let store = ready.store();
    let called =
        a2md(&["export", "WWW.one.test", "--to", to.to_str().unwrap(), "-d", store.to_str().unwrap(), "-j"]);
    assert_eq!(called.json()["name"], "one.test");
}

#[test]
fn the_command_runs_after_a_change_alone_and_again_if_it_has_failed() {
    let ready = Ready::new();
    ready.renew();
    let count = ready.dir.path().join("count");
    let script = ready.dir.path().join("script");
    let write = |status: u8| {
        fs::write(&script, format!("echo \"$1\" >> {}\necho told: $1; exit {status}\n", count.display()))
            .unwrap();
    };
    let line = format!("/bin/sh {} 'a b'", script.display());
    let run = || ready.export(&["--run", &line]);
    let runs = || fs::read_to_string(&count).unwrap_or_default().lines().count();
    write(3);
    let called = run();
    assert_eq!((called.code, runs()), (1, 1));
    assert!(called.err.contains("exit code 3") && called.err.contains("told: a b"), "{}", called.err);
    write(0);
    assert_eq!((run().code, runs()), (0, 2), "what has failed is run again");
    assert_eq!((run().code, runs()), (0, 2));
    ready.renew();
    assert_eq!((run().code, runs()), (0, 3));
    assert_eq!(fs::read_to_string(&count).unwrap().lines().next(), Some("a b"));
}

#[test]
fn a_reader_never_finds_half_a_file_or_the_key_of_another_certificate() {
    let ready = Ready::new();
    ready.renew();
    assert_eq!(ready.export(&["--format", "combined"]).code, 0);
    let file = ready.to().join("combined.pem");
    let (is_over, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    combined(&fs::read(&file).unwrap());
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..200 {
            ready.renew();
            assert_eq!(ready.export(&["--format", "combined"]).code, 0);
        }
        is_over.store(true, Ordering::SeqCst);
    });
    assert!(reads.load(Ordering::SeqCst) > 200);
}

#[test]
fn two_at_once_leave_one_whole_set() {
    let ready = Ready::new();
    let serial = ready.renew();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(ready.export(&[]).code, 0));
        }
    });
    assert_eq!(pair(&ready.to()), serial);
    assert!(names(&ready.to()).iter().all(|name| !name.ends_with(".new")), "{:?}", names(&ready.to()));
}

#[test]
fn what_is_killed_leaves_no_half_file_and_its_leftovers_go_the_next_time() {
    let ready = Ready::new();
    let mut serials = vec![ready.renew()];
    assert_eq!(ready.export(&["--format", "combined"]).code, 0);
    let store = ready.store().display().to_string();
    let to = ready.to().display().to_string();
    for step in 0..40 {
        serials.push(ready.renew());
        let arguments = ["-d", &store, "export", "one.test", "--to", &to, "--format", "combined"];
        let mut child = command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(step * 400));
        signal(child.id(), "KILL");
        child.wait().unwrap();
        let found = combined(&fs::read(ready.to().join("combined.pem")).unwrap());
        assert!(serials.contains(&found));
    }
    fs::write(ready.to().join(".a2md-0123456789abcdef.new"), "half").unwrap();
    assert_eq!(ready.export(&["--format", "combined"]).code, 0);
    assert_eq!(names(&ready.to()), [".a2md-one.test.json", "combined.pem"]);
    assert_eq!(combined(&fs::read(ready.to().join("combined.pem")).unwrap()), *serials.last().unwrap());
}

#[test]
fn links_are_not_followed_and_folders_of_others_are_refused() {
    let ready = Ready::new();
    let serial = ready.renew();
    let outside = ready.dir.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    symlink(&outside, ready.to().join("privkey.pem")).unwrap();
    assert_eq!(ready.export(&[]).code, 0);
    assert_eq!((fs::read_to_string(&outside).unwrap().as_str(), pair(&ready.to())), ("untouched", serial));
    let link = ready.dir.path().join("link");
    symlink(ready.to(), &link).unwrap();
    for to in [link.clone(), link.join(""), outside.clone(), ready.dir.path().join("none")] {
        let called = ready.export_to(&to, &[]);
        assert!(called.code == 1 && called.out.is_empty(), "{}: {}", to.display(), called.out);
        assert!(called.err.contains(to.to_str().unwrap().trim_end_matches('/')), "{}", called.err);
    }
    let open = ready.dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(ready.export_to(&open, &[]).err.contains("every user can write there"));
    assert!(names(&open).is_empty());
    for wrong in [["--mode", "644"], ["--owner", "no-such-user"], ["--run", " "]] {
        assert_eq!(ready.export(&wrong).code, 1, "{wrong:?}");
    }
}

#[test]
fn owner_group_and_mode_are_as_asked_for() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    drop(lab);
    let ready = Ready::new();
    ready.renew();
    fs::set_permissions(ready.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(ready.to(), Some(1234), Some(1234)).unwrap();
    assert!(ready.export(&[]).err.contains("1234"), "a folder of a user who is not to have the files");
    let rights = |file: &str| {
        let meta = fs::metadata(ready.to().join(file)).unwrap();
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    };
    assert_eq!(ready.export(&["--owner", "1234", "--group", "daemon"]).code, 0);
    assert_eq!(rights("privkey.pem"), (1234, 1, 0o640));
    assert_eq!(rights("fullchain.pem"), (1234, 1, 0o644));
    assert_eq!(ready.export(&["--owner", "1234", "--mode", "400"]).code, 0);
    assert_eq!((rights("privkey.pem").0, rights("privkey.pem").2), (1234, 0o400));
}

/// Runs a program of the machine and gives what it prints.
fn output(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn openssl_reads_the_pkcs12_file() {
    let ready = Ready::new();
    ready.renew();
    let password = ready.dir.path().join("password");
    fs::write(&password, "secret7\n").unwrap();
    for (with, pass) in [(None, "pass:"), (Some(password.to_str().unwrap()), "pass:secret7")] {
        let mut arguments = vec!["--format", "pkcs12"];
        arguments.extend(with.iter().flat_map(|file| ["--password-file", file]));
        assert_eq!(ready.export(&arguments).code, 0);
        assert_eq!(ready.export(&[arguments.as_slice(), &["-j"]].concat()).json()["changed"], false);
        let file = ready.to().join("one.test.p12");
        let (is_read, text) =
            output("openssl", &["pkcs12", "-in", file.to_str().unwrap(), "-passin", pass, "-nodes", "-info"]);
        assert!(is_read, "{text}");
        assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2, "{text}");
        assert!(text.contains("BEGIN PRIVATE KEY") && text.contains("friendlyName: one.test"), "{text}");
        assert!(text.contains("sha256") || text.contains("SHA256"), "{text}");
    }
}

#[test]
fn java_reads_the_pkcs12_file() {
    let Some(lab) = open_lab!(Need::Program("keytool")) else { return };
    drop(lab);
    let ready = Ready::new();
    ready.renew();
    let password = ready.dir.path().join("password");
    fs::write(&password, "secret7\n").unwrap();
    assert_eq!(ready.export(&["--format", "pkcs12", "--password-file", password.to_str().unwrap()]).code, 0);
    let file = ready.to().join("one.test.p12");
    let list =
        ["-list", "-storetype", "PKCS12", "-keystore", file.to_str().unwrap(), "-storepass", "secret7"];
    let (is_read, text) = output("keytool", &list);
    assert!(is_read && text.contains("PrivateKeyEntry") && text.contains("one.test"), "{text}");
}

/// A call with `--follow`, ended with the test.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn follow(lab: &Lab, store: &Path, to: &Path, line: &str) -> Following {
    let (store, to) = (store.display().to_string(), to.display().to_string());
    let arguments = [
        "-d",
        &store,
        "export",
        "one.test",
        "--to",
        &to,
        "--format",
        "pem,combined",
        "--run",
        line,
        "--follow",
    ];
    let log = || fs::OpenOptions::new().create(true).append(true).open(lab.path("export.log")).unwrap();
    Following(command(&arguments).stdout(log()).stderr(log()).spawn().unwrap())
}

#[test]
fn following_sees_a_live_renewal_and_an_activation_and_ends_by_sigterm() {
    let Some(lab) = open_lab!(Need::Pebble(0, 0)) else { return };
    let pebble = Pebble::start(&lab);
    let config = Config::with_ca(&lab, &pebble.authority)
        .line("MDCheckInterval 1s\nMDRetryDelay 1s\nMDPrivateKeys P-256\nMDomain one.test www.one.test")
        .site("one.test", &["www.one.test"]);
    let (store, to) = (config.store(), lab.path("to"));
    fs::create_dir(&to).unwrap();
    // The first try fails.
    let line = format!(
        "/bin/sh -c 'cat {0}/combined.pem > /dev/null; test -e {0}/ran || {{ touch {0}/ran; exit 1; }}; echo x >> {0}/told'",
        to.display()
    );
    let mut httpd = config.start();
    let mut following = follow(&lab, &store, &to, &line);
    let exported = |what: &str, is: &dyn Fn(&str) -> bool| {
        wait_for(what, SOON, || {
            let content = fs::read(to.join("combined.pem")).ok()?;
            Some(combined(&content)).filter(|serial| is(serial))
        })
    };
    let first = exported("the live set", &|_| true);
    assert_eq!(httpd.md("one.test")["activation"]["serial"], first.as_str());
    wait_for("the command, which failed first", SOON, || to.join("told").exists().then_some(()));
    assert_eq!(pair(&to), first);
    httpd.graceful();
    // What was live is in domains now; nothing has changed for others.
    let set = Issuer::new().issue(NAMES);
    issuer::stage(&store, NAMES, &[&set]);
    let now = exported("the set that went live after the restart", &|serial| serial == set.serial());
    assert_eq!(now, set.serial());
    let config = httpd.stop();
    let set = Issuer::new().issue(NAMES);
    issuer::stage(&store, NAMES, &[&set]);
    let httpd = config.at_restarts().start();
    exported("the set that the start has activated", &|serial| serial == set.serial());
    signal(following.0.id(), "TERM");
    let status = wait_for("its end", SOON, || following.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    drop(httpd);
}

#[test]
fn the_unit_for_systemd_is_sound() {
    let Some(lab) = open_lab!(Need::Program("systemd-analyze")) else { return };
    let unit = support::root().join("conf/a2md-export@.service");
    let text = fs::read_to_string(unit).unwrap().replace("@BINDIR@/a2md", env!("CARGO_BIN_EXE_a2md"));
    let file = lab.path("a2md-export@one.test.service");
    fs::write(&file, text).unwrap();
    let (is_sound, said) = output("systemd-analyze", &["verify", "--man=no", file.to_str().unwrap()]);
    assert!(is_sound && !said.contains("a2md-export"), "{said}");
}

#[test]
fn files_for_a_kind_of_key_that_there_is_no_more_go_unless_they_were_changed() {
    let ready = Ready::new();
    let issue = |algorithm| ready.issuer.issue_for(NAMES, algorithm, -60, 86_400);
    let install = |algorithms: &[Id]| {
        let sets: Vec<_> = algorithms.iter().map(|algorithm| issue(*algorithm)).collect();
        issuer::install(&ready.store(), NAMES, &sets.iter().collect::<Vec<_>>());
    };
    install(&[Id::EC, Id::RSA]);
    assert_eq!(ready.export(&[]).code, 0);
    let second: Vec<String> = names(&ready.to())
        .into_iter()
        .filter(|name| name.matches('.').count() == 2 && !name.starts_with('.'))
        .collect();
    assert_eq!(second.len(), 4, "{second:?}");
    let changed = second.iter().find(|name| name.starts_with("chain.")).unwrap();
    fs::write(ready.to().join(changed), "of another program").unwrap();
    fs::write(ready.to().join("privkey.other.pem"), "of another program").unwrap();
    fs::remove_dir_all(ready.store().join("domains/one.test")).unwrap();
    install(&[if changed.contains("rsa") { Id::EC } else { Id::RSA }]);
    let called = ready.export(&["-j"]);
    assert_eq!(called.code, 0, "{} {}", called.out, called.err);
    let document = called.json();
    assert_eq!(document["removed"].as_array().unwrap().len(), 3, "{document}");
    assert_eq!(document["left"], serde_json::json!([changed]), "{document}");
    let left = names(&ready.to());
    assert!(left.contains(changed) && left.contains(&"privkey.other.pem".to_string()), "{left:?}");
    assert!(second.iter().all(|name| name == changed || !left.contains(name)), "{left:?}");
}
