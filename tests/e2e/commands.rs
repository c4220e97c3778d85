// SPDX-License-Identifier: Apache-2.0
//! The environment in which the admin's commands start, in each process, and the traces they leave there.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use support::httpd::unprivileged_user;
use support::{Command, Config, Httpd, Lab, Need, Pebble, SOON, open_lab, process, wait_for};

/// A folder that every user can write to.
fn open_folder(lab: &Lab, name: &str) -> PathBuf {
    let folder = lab.path(name);
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    folder
}

/// For a script: files `CALL.FACT`, where CALL is the first argument without its colons, the last one `CALL.whole`.
fn look(facts: &Path) -> String {
    format!(
        "f={}/${{1//:/-}}
        umask > $f.umask
        cat > $f.stdin
        grep -E '^Sig(Blk|Ign)' /proc/self/status > $f.signals
        ls -l /proc/self/fd > $f.fds
        echo $(cut -d' ' -f5 /proc/$$/stat) $$ > $f.group
        readlink /proc/self/cwd > $f.cwd
        env > $f.env; id -u > $f.uid; nice > $f.nice; : > $f.whole",
        facts.display()
    )
}

fn with_message(lab: &Lab, pebble: &Pebble, message: &Command) -> Config {
    Config::with_ca(lab, &pebble.authority)
        .at_restarts()
        .line(&format!("MDMessageCmd {}", message.line))
        .line("MDRetryDelay 1s\nMDCheckInterval 1s")
}

#[test]
fn a_command_inherits_nothing_but_what_it_needs() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let facts = open_folder(&lab, "facts");
    let message = Command::new(&lab, "message", &look(&facts));
    let zone = Command::dns(&lab, &pebble.authority).line;
    let dns = Command::new(&lab, "dns-and-facts", &format!("{}\nexec {zone} \"$@\"", look(&facts)));
    let held = lab.path("held");
    fs::write(&held, "").unwrap();
    // As a lock or a socket would be that a supervisor has httpd hold.
    let holding = format!("umask 027; cd /; exec 3<{0} 9>>{0} 77<{0} 1000<{0}; exec \"$@\"", held.display());
    let mut httpd = with_message(&lab, &pebble, &message)
        .line(&format!("MDChallengeDns01 {}", dns.line))
        .line("MDomain one.test\nMDCAChallenges dns-01")
        .site("one.test", &[])
        .env("MD_VERSION", "x")
        .env("MD_STORE", "x")
        .env("OTHERS", "stay")
        .under(&["bash", "-c", &holding, "bash"])
        .start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let calls = ["renewing", "setup", "challenge-setup-dns-01-one.test", "teardown", "renewed", "installed"];
    for call in calls {
        wait_for(call, SOON, || facts.join(format!("{call}.whole")).exists().then_some(()));
    }
    let own = (
        fs::metadata("/proc/self").unwrap().uid().to_string(),
        rustix::process::getpriority_process(None).unwrap().to_string(),
    );
    for call in calls {
        let read = |fact: &str| fs::read_to_string(facts.join(format!("{call}.{fact}"))).unwrap();
        // The C library keeps the signals 32 and 33 for itself.
        let free = |line: &str| {
            u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap() & !(0b11 << 31) == 0
        };
        assert!(read("signals").lines().all(free), "{call}: {}", read("signals"));
        // 3 is what `ls` looks into.
        let files = read("fds");
        let numbers: Vec<&str> =
            files.lines().filter_map(|line| line.split_once(" -> ")?.0.rsplit(' ').next()).collect();
        assert_eq!(numbers, ["0", "1", "2", "3"], "{call}: {files}");
        let environment = read("env");
        assert!(!environment.lines().any(|line| line.starts_with("MD_")), "{call}: {environment}");
        assert!(environment.contains("OTHERS=stay"), "{call}: {environment}");
        assert!(environment.lines().any(|line| line.starts_with("PATH=/")), "{call}: {environment}");
        assert_eq!(read("stdin"), "", "{call}");
        assert_eq!(read("nice").trim(), own.1, "{call}: no priority of a renewal");
        let group = read("group");
        let (group, pid) = group.trim().split_once(' ').unwrap();
        assert_eq!(group, pid, "{call}: a group of its own");
        assert_eq!(read("cwd").trim(), "/", "{call}: that of httpd");
        assert_eq!(read("umask").trim(), "0027", "{call}: that of httpd");
        let user = if call == "installed" { own.0.clone() } else { unprivileged_user().uid.to_string() };
        assert_eq!(read("uid").trim(), user, "{call}");
    }
}

/// The number that a command has written there.
#[track_caller]
fn number_in(file: &Path) -> u32 {
    wait_for(&format!("a number in {}", file.display()), SOON, || {
        let text = fs::read_to_string(file).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    })
}

#[test]
fn what_a_command_starts_can_be_ended_by_a_signal() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let notes = open_folder(&lab, "notes");
    let script = format!(
        "cd {}; [ $1 = renewing ] || exit 0
        sleep 300 & kill $!; wait $!; echo $? > killed
        sleep 300 & echo $! > daemon",
        notes.display()
    );
    let message = Command::new(&lab, "message", &script);
    let httpd = with_message(&lab, &pebble, &message).line("MDomain one.test").site("one.test", &[]).start();
    assert_eq!(number_in(&notes.join("killed")), 128 + 15);
    httpd.wait_staged("one.test");
    let daemon = number_in(&notes.join("daemon"));
    assert!(process::is_alive(daemon));
    process::signal(daemon, "TERM");
    wait_for("the end of the daemon", SOON, || (!process::is_alive(daemon)).then_some(()));
}

/// What the descriptors of a process lead to.
fn descriptors(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

#[test]
fn a_start_keeps_no_thread_or_pipe_of_commands_left_running() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let notes = open_folder(&lab, "notes");
    let script = format!(
        "cd {}; [ $1 = installed ] || exit 0
        echo to be logged
        {{ for n in $(seq 1000); do sleep 0.05; head -c 30000 /dev/zero 2>&1; echo x >> printed; done; }} &
        echo $! > daemon",
        notes.display()
    );
    let message = Command::new(&lab, "message", &script);
    let mut httpd: Httpd =
        with_message(&lab, &pebble, &message).line("MDomain one.test").site("one.test", &[]).start();
    let threads = |pid: u32| fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    assert_eq!(threads(httpd.pid()), 1);
    httpd.wait_staged_and_activate(&["one.test"]);
    let daemon = number_in(&notes.join("daemon"));
    let output = fs::read_link(format!("/proc/{daemon}/fd/1")).unwrap();
    assert!(output.to_string_lossy().starts_with("pipe:"), "{output:?}");
    let of_httpd = [vec![httpd.pid()], process::children(httpd.pid())].concat();
    for pid in &of_httpd {
        assert!(!descriptors(*pid).contains(&output), "{pid} holds {output:?}");
    }
    assert_eq!(threads(httpd.pid()), 1);
    // Four times what the pipe holds, and it goes on.
    let printed = || fs::read_to_string(notes.join("printed")).unwrap_or_default().len() / 2;
    wait_for("output of the daemon", SOON, || (printed() > 10).then_some(()));
    assert!(process::is_alive(daemon));
    assert!(!httpd.logged("to be logged").is_empty());
    process::signal(daemon, "TERM");
}
