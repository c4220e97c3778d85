// SPDX-License-Identifier: Apache-2.0
//! Configurations in the style of those posted in forums: ours accepts each one that the C module accepts,
//! starts where it starts, and serves as well.
//!
//! Each file below `posted` is one. Comment lines at its head control the test: `# ask: NAME…` names clients
//! ask for, `NAME@OTHER` at the second TLS port; `# store: NAME… ; NAME…` domains with a certificate in use;
//! `# modules: NAME…` further modules of httpd; `# refused: WORDS` ours refuses it, `# answers: WORDS` ours
//! answers with another status, `# without EC clients: WORDS` clients without RSA are not served by ours, and
//! these words stand in docs/compat.md; `# ends: WHY` httpd does not start with the C module; `# told: WORDS;
//! WORDS` our configtest warns of these, and of nothing else. `#--- PATH` begins a file beside it that it
//! includes. In the text `@HTTP@`, `@HTTPS@` and `@OTHER@` are ports, `@DIR@` is ServerRoot, `@FILE NAME@`
//! the directives' arguments of an admin's certificate for that name, chain and key.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use openssl::pkey::Id;

use crate::documented::is_in_compat;
use crate::rank::at_least_as_good;
use crate::seen::Seen;
use crate::world::{self, Who, World, tail};
use support::issuer::install;
use support::{Config, apache};

/// The domains of most of them have no CA that answers, and none is asked: some name CAs of the world.
const COMMON: &str = "MDCertificateAuthority https://127.0.0.1:9/dir
MDCertificateAgreement accepted
MDContactEmail admin@example.test
MDInitialDelay 1d
DirectoryIndex index.html";

struct Posted {
    name: String,
    text: String,
}

impl Posted {
    fn all() -> Vec<Posted> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/posted");
        let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> =
            files.filter(|path| path.extension().is_some_and(|e| e == "conf")).collect();
        files.sort();
        let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
        files
            .iter()
            .map(|path| Posted { name: name(path), text: fs::read_to_string(path).unwrap() })
            .collect()
    }

    /// What stands behind `# KEY: `.
    fn head(&self, key: &str) -> Option<&str> {
        let lines = self.text.lines().take_while(|line| line.starts_with('#'));
        lines.filter_map(|line| line.strip_prefix("# ")?.strip_prefix(key)?.strip_prefix(": ")).next()
    }

    fn words(&self, key: &str) -> Vec<&str> {
        self.head(key).unwrap_or_default().split_whitespace().collect()
    }

    /// The configuration with its files beside it, in a ServerRoot of this module.
    fn config(&self, world: &World, other: u16, who: Who) -> Config {
        let root = world.lab.path(if who == Who::C { "c" } else { "ours" });
        let mut config = Config::new(&world.lab).module(&who.module()).root(&root).line(&load("dir"));
        for module in self.words("modules") {
            config = config.line(&load(module));
        }
        let mut parts = self.text.split("\n#--- ");
        let main = fill(world, other, &config, parts.next().unwrap());
        for part in parts {
            let (path, text) = part.split_once('\n').unwrap();
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, fill(world, other, &config, text)).unwrap();
        }
        let pages = root.join("htdocs");
        fs::create_dir_all(&pages).unwrap();
        fs::write(pages.join("index.html"), "a page").unwrap();
        let stored = self.head("store").unwrap_or_default().split(';').map(str::split_whitespace);
        for names in stored.map(Iterator::collect::<Vec<_>>).filter(|names| !names.is_empty()) {
            let rsa = world.issuer.issue_for(&names, Id::RSA, -60, 86_400);
            let ec = self.text.contains("MDPrivateKeys").then(|| world.issuer.issue(&names));
            install(&config.store(), &names, &ec.iter().chain([&rsa]).collect::<Vec<_>>());
        }
        config.line(COMMON).line(&main)
    }

    /// All that is worse than with the C module.
    fn problems(&self, world: &World) -> Vec<String> {
        let other = world.lab.port();
        let [c, ours] = [Who::C, Who::Ours].map(|who| self.config(world, other, who));
        let (taken, said) = c.configtest();
        let c = if taken { self.ask(world, c, other) } else { Err(said) };
        // Where httpd ends at its start with the C module, ours is free to say so earlier.
        let is_to_end = self.head("ends").is_some();
        let c = match c {
            Ok(_) if is_to_end => {
                return vec!["httpd starts with the C module, against the snippet's word".into()];
            }
            Ok(seen) => seen,
            Err(_) if is_to_end => return Vec::new(),
            Err(said) => return vec![format!("httpd does not start with the C module: {}", tail(&said))],
        };
        let is_explained = self.head("refused").is_some_and(is_in_compat);
        let refused = |how: &str, said: &str| {
            let told = format!("{how} what the C module starts with: {}", tail(said));
            if is_explained { Vec::new() } else { vec![told] }
        };
        let (taken, said) = ours.configtest();
        if !taken {
            return refused("configtest refuses", &said);
        }
        let untold = self.untold(&said);
        if !untold.is_empty() {
            return untold;
        }
        match self.ask(world, ours, other) {
            Err(said) => refused("httpd does not start with", &said),
            Ok(ours) => {
                let is_explained = |key: &str| self.head(key).is_some_and(is_in_compat);
                let (status, keys) = (is_explained("answers"), is_explained("without EC clients"));
                let pairs = c.iter().zip(&ours);
                let worse = |(c, ours): (&Seen, &Seen)| {
                    at_least_as_good(c, ours).err().map(|why| format!("{}: {why}", c.name))
                };
                let is_told = |said: &String| {
                    status && said.contains(": https: ") || keys && said.contains(": EC clients: ")
                };
                pairs.filter_map(worse).filter(|said| !is_told(said)).collect()
            }
        }
    }

    /// Whether configtest warns of what is wrong, and of nothing else: admins leave alone what cries for
    /// nothing.
    fn untold(&self, said: &str) -> Vec<String> {
        let expected: Vec<&str> =
            self.head("told").map(|parts| parts.split("; ").collect()).unwrap_or_default();
        let is_ours = |line: &&str| !line.starts_with('[') && *line != "Syntax OK";
        let warnings: Vec<&str> = said.lines().filter(is_ours).collect();
        let needless = warnings.iter().filter(|line| !expected.iter().any(|part| line.contains(part)));
        let needless = needless.map(|line| format!("configtest warns needlessly: {line}"));
        let missing = expected.iter().filter(|part| !warnings.iter().any(|line| line.contains(**part)));
        let missing = missing.map(|part| format!("configtest does not warn of `{part}`"));
        needless.chain(missing).collect()
    }

    fn ask(&self, world: &World, config: Config, other: u16) -> Result<Vec<Seen>, String> {
        let httpd = config.try_start()?;
        let ports = (httpd.config.http_port(), httpd.config.https_port());
        let ask = |asked: &str| match asked.split_once('@') {
            Some((name, _)) => Seen::ask((ports.0, other), name, &world.roots),
            None => Seen::ask(ports, asked, &world.roots),
        };
        let seen = self.words("ask").into_iter().map(ask).collect();
        httpd.stop();
        Ok(seen)
    }
}

fn load(module: &str) -> String {
    apache::find().unwrap().load(module)
}

fn fill(world: &World, other: u16, config: &Config, text: &str) -> String {
    let numbers = [("@HTTP@", config.http_port()), ("@HTTPS@", config.https_port()), ("@OTHER@", other)];
    let mut text = text.replace("@DIR@", &config.server_root().display().to_string());
    for (word, number) in numbers {
        text = text.replace(word, &number.to_string());
    }
    while let Some((before, rest)) = text.split_once("@FILE ") {
        let (name, after) = rest.split_once('@').unwrap();
        let [chain, key] = ["pem", "key"].map(|kind| world.lab.path(format!("own-{name}.{kind}")));
        if !chain.exists() {
            let set = world.issuer.issue_for(&[name], Id::EC, -60, 43_200);
            fs::write(&chain, set.chain_pem()).unwrap();
            fs::write(&key, set.key_pem()).unwrap();
        }
        let after = after.replacen("@KEY@", &key.display().to_string(), 1);
        text = format!("{before}{}{after}", chain.display());
    }
    text
}

#[test]
fn posted_configurations_are_taken_started_and_served_as_by_the_c_module() {
    let queue: Mutex<VecDeque<Posted>> = Mutex::new(Posted::all().into());
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some(posted) = { queue.lock().unwrap().pop_front() } {
            let Some(world) = world::open(&format!("posted::{}", posted.name)) else { return };
            let problems = posted.problems(&world);
            let told = |problem| format!("DIFFERS posted {}: {problem}", posted.name);
            let said: Vec<_> = problems.into_iter().map(told).collect();
            if !said.is_empty() {
                failed.lock().unwrap().push((said.join("\n"), world));
            }
        }
    };
    thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(work))));
    // Their labs are open until here, and so keep their folders.
    let failed = failed.into_inner().unwrap();
    let mut said: Vec<_> = failed.iter().map(|(said, _)| said.as_str()).collect();
    said.sort_unstable();
    assert!(said.is_empty(), "\n{}", said.join("\n"));
}
