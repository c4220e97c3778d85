// SPDX-License-Identifier: Apache-2.0
//! First certificates from a local CA: seconds from exec until every domain has a complete set in staging.
//! Each run has an empty store and a CA that knows nobody.

use crate::server;
use crate::site::Module;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use support::{Authority, Config, Lab, Need, Pebble, process};

/// More than the slowest module takes for hundreds of domains at a slow CA.
const PATIENCE: Duration = Duration::from_secs(3600);

/// When nothing has come for one domain, the CA is looked at.
const LONG_FOR_ONE: Duration = Duration::from_secs(20);

/// How the CA validates.
#[derive(Clone, Copy)]
pub enum Validation {
    /// As fast as it can.
    Fast,
    /// After a random time of up to five seconds for each name, as a public CA may.
    Slow,
}

/// In seconds.
pub struct Run {
    pub wall: f64,
    /// Of all processes of httpd.
    pub cpu: f64,
    /// Of the CA, which has to share the processors.
    pub authority_cpu: f64,
    pub accounts: usize,
    pub orders: usize,
}

/// How long pages take that are asked for while all domains get their first certificates: seconds.
pub struct Answers {
    pub json: Vec<f64>,
    pub page: Vec<f64>,
    /// A file of httpd's own, as long as the JSON: what any answer of that length takes on a machine that
    /// busy.
    pub file: Vec<f64>,
}

pub fn storm(module: &Module, domains: usize) -> Answers {
    const NO_NEEDS: &[Need] = &[];
    let lab = Lab::open("bench::storm", NO_NEEDS).expect("what a bench needs is there");
    let pebble = Authority::new(&lab).start();
    let names: Vec<String> = (0..domains).map(|n| format!("d{n}.test")).collect();
    let config =
        config(Config::with_ca(&lab, &pebble.authority), module, &names, "").line("MDServerStatus on");
    let store = config.store();
    let begin = Instant::now();
    let httpd = config.start();
    let time = |path| {
        let begin = Instant::now();
        let answer = httpd.get("main.test", path);
        let elapsed = begin.elapsed().as_secs_f64();
        assert_eq!(answer.status, 200, "{path}");
        (elapsed, answer.body.len())
    };
    let file = lab.path("httpd/htdocs/file");
    fs::write(&file, "x").unwrap();
    let mut answers = Answers { json: Vec::new(), page: Vec::new(), file: Vec::new() };
    for name in &names {
        while !is_done(&store, name) {
            assert!(begin.elapsed() < PATIENCE, "{name} is not staged: {}", httpd.said());
            answers.file.push(time("/file").0);
            let (elapsed, length) = time("/md-status");
            answers.json.push(elapsed);
            answers.page.push(time("/server-status").0);
            // Renewals make the JSON longer.
            if fs::metadata(&file).map_or(0, |file| file.len()).abs_diff(length as u64) > length as u64 / 20 {
                fs::write(&file, vec![b'x'; length]).unwrap();
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    answers
}

/// Each name is a domain, with the name `second` in it, where that is one.
pub fn config(mut config: Config, module: &Module, names: &[String], second: &str) -> Config {
    config = config.line("LogLevel warn\nMDPrivateKeys P-256\nThreadsPerChild 25");
    if let Some(file) = &module.file {
        config = config.module(file);
    }
    for name in names {
        let other = format!("{second}.{name}");
        config = match second {
            "" => config.line(&format!("MDomain {name}")).site(name, &[]),
            _ => config.line(&format!("MDomain {name} {other}")).site(name, &[&other]),
        };
    }
    config
}

/// A module, and what its accounts have for a key.
pub struct Variant<'m> {
    pub module: &'m Module,
    /// For `MDAccountKey`; `None`: what the module takes by itself, RSA with 3072 bits.
    pub account_key: Option<&'static str>,
}

impl Variant<'_> {
    /// A module as it is, and where it knows `MDAccountKey`, with an account whose signatures cost little.
    pub fn all_of(module: &Module) -> Vec<Variant<'_>> {
        let directive = b"MDAccountKey";
        let content = module.file.as_ref().and_then(|file| fs::read(file).ok()).unwrap_or_default();
        let has_choice = content.windows(directive.len()).any(|text| text == directive);
        let keys = [None].into_iter().chain(has_choice.then_some(Some("P-256")));
        keys.map(|account_key| Variant { module, account_key }).collect()
    }

    pub fn name(&self) -> String {
        match self.account_key {
            Some(key) => format!("{}, {key} account", self.module.name),
            None => self.module.name.clone(),
        }
    }

    pub fn configure(&self, config: Config) -> Config {
        match self.account_key {
            Some(key) => config.line(&format!("MDAccountKey {key}")),
            None => config,
        }
    }
}

pub fn run(variant: &Variant<'_>, domains: usize, validation: Validation) -> Run {
    repeated(|| run_once(variant, domains, validation))
}

/// A run in which pebble stands still says nothing of httpd.
pub fn repeated(run: impl Fn() -> Result<Run, StoodStill>) -> Run {
    loop {
        match run() {
            Ok(run) => return run,
            Err(StoodStill) => println!("pebble stood still (tests/support/pebble.rs): the run is repeated"),
        }
    }
}

fn run_once(variant: &Variant<'_>, domains: usize, validation: Validation) -> Result<Run, StoodStill> {
    const NO_NEEDS: &[Need] = &[];
    let lab = Lab::open("bench::issue", NO_NEEDS).expect("what a bench needs is there");
    let authority = Authority::new(&lab);
    let pebble = match validation {
        Validation::Fast => authority,
        Validation::Slow => authority.slow_validation(5),
    }
    .start();
    let names: Vec<String> = (0..domains).map(|n| format!("d{n}.test")).collect();
    let config = config(Config::with_ca(&lab, &pebble.authority), variant.module, &names, "");
    until_staged(variant.configure(config), &names, &pebble)
}

/// The CA answers nothing any more.
#[derive(Debug)]
pub struct StoodStill;

/// From exec to the certificates of all.
pub fn until_staged(config: Config, names: &[String], pebble: &Pebble) -> Result<Run, StoodStill> {
    let store = config.store();
    // What the preparations left to be written shall not slow down the run.
    rustix::fs::sync();
    let begin = Instant::now();
    let httpd = config.start();
    for name in names {
        // One small file is read at a time: watching must not disturb.
        let mut since = Instant::now();
        while !is_done(&store, name) {
            assert!(begin.elapsed() < PATIENCE, "{name} is not staged: {}", httpd.said());
            thread::sleep(Duration::from_millis(20));
            if since.elapsed() > LONG_FOR_ONE {
                since = Instant::now();
                if !pebble.answers() {
                    return Err(StoodStill);
                }
            }
        }
    }
    let wall = begin.elapsed();
    let children = process::children(httpd.pid());
    let cpu: Duration = children.iter().chain([&httpd.pid()]).map(|pid| server::cpu_time(*pid)).sum();
    Ok(Run {
        wall: wall.as_secs_f64(),
        cpu: cpu.as_secs_f64(),
        authority_cpu: server::cpu_time(pebble.pid()).as_secs_f64(),
        accounts: pebble.account_count(),
        orders: pebble.order_count(),
    })
}

/// A set that went live is not in staging any more.
pub fn is_done(store: &Path, name: &str) -> bool {
    is_staged(store, name) || store.join("domains").join(name).join("pubcert.p-256.pem").exists()
}

fn is_staged(store: &Path, name: &str) -> bool {
    let job = fs::read(store.join("staging").join(name).join("job.json")).unwrap_or_default();
    serde_json::from_slice::<Value>(&job).is_ok_and(|job| job["finished"] == true)
}
