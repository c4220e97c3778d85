// SPDX-License-Identifier: Apache-2.0
//! Runs what pages tell their readers to run, on fresh roots that walk.sh makes. `make test-docs` does it;
//! PAGE=… takes one page.

use super::page::{self, Action, Command as Shown, Page, State, Step};
use super::{pages, read, root};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The CAs of walk.sh in place of Let's Encrypt's, the longer names first.
const REPLACED: [(&str, &str); 8] = [
    ("https://acme-staging-v02.api.letsencrypt.org/directory", STAGING),
    ("https://acme-v02.api.letsencrypt.org/directory", PRODUCTION),
    ("https://acme-staging-v02.api.letsencrypt.org", "https://staging.ca.test:14000"),
    ("https://acme-v02.api.letsencrypt.org", "https://production.ca.test:14100"),
    ("acme-staging-v02.api.letsencrypt.org", "staging.ca.test"),
    ("acme-v02.api.letsencrypt.org", "production.ca.test"),
    ("LetsEncrypt-Test", STAGING),
    ("LetsEncrypt", PRODUCTION),
];
const STAGING: &str = "https://staging.ca.test:14000/dir";
const PRODUCTION: &str = "https://production.ca.test:14100/dir";

#[test]
#[ignore = "installs packages on fresh roots: make test-docs"]
fn pages_do_on_debian_12_what_they_say() {
    walk_all("bookworm");
}

#[test]
#[ignore = "installs packages on fresh roots: make test-docs"]
fn pages_do_on_debian_13_what_they_say() {
    walk_all("trixie");
}

fn walk_all(suite: &str) {
    let chosen = std::env::var("PAGE").unwrap_or_default();
    let mut count = 0;
    for name in pages().iter().filter(|name| name.contains(&chosen)) {
        let text = read(&format!("docs/{name}"));
        if !page::is_marked(&text) {
            continue;
        }
        let page = page::read(&text).unwrap_or_else(|error| panic!("docs/{name}: {error}"));
        if let Some(state) = page.walk {
            count += 1;
            walk(suite, name, &page, state);
        }
    }
    assert!(count > 0, "no page is walked");
}

fn walk(suite: &str, name: &str, page: &Page, state: State) {
    let started = Instant::now();
    let mut walker = Walker::enter(suite, name);
    if state == State::Site {
        let site = fs::read_to_string(root().join("tests/docs/site.sh")).unwrap();
        walker.must(&format!("{name}: tests/docs/site.sh"), &site, None, 0, &[]);
    }
    for step in &page.steps {
        if step.suites.is_empty() || step.suites.iter().any(|named| named == suite) {
            walker.step(&format!("docs/{name}:{}", step.line), step);
        }
    }
    for (line, reason) in &page.skipped {
        println!("docs/{name}:{line} is not run: {reason}");
    }
    let (steps, seconds) = (page.steps.len(), started.elapsed().as_secs());
    println!("docs/{name} on {suite}: {steps} blocks in {seconds} s");
    walker.leave();
}

/// A shell inside a root.
struct Walker {
    dir: PathBuf,
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Walker {
    fn enter(suite: &str, page: &str) -> Walker {
        let dir = root().join(format!("target/lab/run/walk-{}-{suite}-{page}", std::process::id()));
        fs::create_dir_all(dir.parent().unwrap()).unwrap();
        let prepared = Self::script("prepare", suite, &dir).stdin(Stdio::null()).status().unwrap();
        assert!(prepared.success(), "no root of {suite}: this needs root, debootstrap and a Debian mirror");
        Self::bring(&dir.join("root"));
        let mut child = Self::script("enter", suite, &dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let commands = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert_eq!(line, "walk: ready\n", "see {}", dir.display());
        let mut walker = Walker { dir, child, commands, answers };
        walker.must("cd", "cd /root", None, 0, &[]);
        walker
    }

    /// `walk.sh`, in namespaces of its own: mounts and processes end with it.
    fn script(what: &str, suite: &str, dir: &Path) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child"]);
        if what == "enter" {
            command.arg("--net");
        }
        command.arg("sh").arg(root().join("tests/docs/walk.sh")).args([what, suite]).arg(dir);
        command
    }

    /// The package, and the sources as a clone has them.
    fn bring(home: &Path) {
        let packages = fs::read_dir(root().join("target/packages")).expect("make packages");
        for package in packages.map(|entry| entry.unwrap().path()) {
            if package.extension().is_some_and(|extension| extension == "deb") {
                fs::copy(&package, home.join(package.file_name().unwrap())).unwrap();
            }
        }
        let copy = "mkdir -p \"$1/mod_md\" && \
                    git ls-files -co --exclude-standard | tar -cf - -T - | tar -C \"$1/mod_md\" -xf -";
        let copied =
            Command::new("sh").current_dir(root()).args(["-c", copy, "sh"]).arg(home).status().unwrap();
        assert!(copied.success(), "the sources");
    }

    fn step(&mut self, place: &str, step: &Step) {
        for before in &step.before {
            self.must(place, &replaced(before), None, 0, &[]);
        }
        match &step.action {
            Action::Script(text) => self.must(place, &replaced(text), step.until, step.exit, &[]),
            Action::Commands(commands) => {
                let last = commands.len() - 1;
                for (at, Shown { text, output }) in commands.iter().enumerate() {
                    let exit = if at == last { step.exit } else { 0 };
                    let output: Vec<String> = output.iter().map(|line| replaced(line)).collect();
                    self.must(place, &replaced(text), step.until, exit, &output);
                }
            }
            Action::Write { path, append, text } => {
                let file = self.dir.join(path.trim_start_matches('/'));
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                let mut options = fs::File::options();
                options.create(true).append(*append).write(true).truncate(!*append);
                options.open(&file).unwrap().write_all(replaced(text).as_bytes()).unwrap();
            }
        }
    }

    /// Runs it until it ends with `exit` and prints `output`; panics with what it did instead.
    fn must(&mut self, place: &str, text: &str, until: Option<Duration>, exit: i32, output: &[String]) {
        let deadline = Instant::now() + until.unwrap_or_default();
        loop {
            // Of its own shell where it is repeated, so that a failure ends nothing else.
            let (code, printed) = self.run(text, until.is_some());
            if code == Some(exit) && page::is_shown(output, &printed) {
                return;
            }
            if code.is_none() || Instant::now() >= deadline {
                let shown = if output.is_empty() {
                    String::new()
                } else {
                    format!("--- shown\n{}\n", output.join("\n"))
                };
                panic!(
                    "{place}: ended with {code:?}, not {exit}, or printed something else\n{text}\n\
                     --- printed\n{printed}\n{shown}--- in {}\n{}",
                    self.dir.display(),
                    self.logs()
                );
            }
            thread::sleep(Duration::from_millis(300));
        }
    }

    /// Runs a text in the shell, which `set -e` ends at the first failure of several lines. The code is
    /// `None` where the shell has ended.
    fn run(&mut self, text: &str, own_shell: bool) -> (Option<i32>, String) {
        let walk = self.dir.join("root/.walk");
        fs::create_dir_all(&walk).unwrap();
        fs::write(walk.join("step"), text).unwrap();
        let run = match (own_shell, text.trim_end().contains('\n')) {
            (true, _) => "(set -e; . /root/.walk/step)",
            (false, true) => "{ set -e; . /root/.walk/step; set +e; }",
            (false, false) => ". /root/.walk/step",
        };
        let line = format!("{run} >/root/.walk/output 2>&1 </dev/null; echo $?\n");
        let sent = self.commands.as_mut().unwrap().write_all(line.as_bytes());
        let mut answer = String::new();
        sent.and_then(|()| self.answers.read_line(&mut answer)).ok();
        let printed = fs::read(walk.join("output")).unwrap_or_default();
        (answer.trim().parse().ok(), String::from_utf8_lossy(&printed).into_owned())
    }

    fn logs(&self) -> String {
        let text = fs::read_to_string(self.dir.join("var/log/apache2/error.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// A failure keeps the root.
    fn leave(mut self) {
        drop(self.commands.take());
        self.child.kill().ok();
        self.child.wait().unwrap();
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

impl Drop for Walker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn replaced(text: &str) -> String {
    REPLACED.iter().fold(text.to_string(), |text, (old, new)| text.replace(old, new))
}
