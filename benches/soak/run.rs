// SPDX-License-Identifier: Apache-2.0
//! One run: the parts start, faults come and go, clients come all the time, and all is counted.

pub mod blame;
pub mod ca;
pub mod client;
#[allow(dead_code, reason = "tests do more with it")]
#[path = "../../tests/fleet/engine.rs"]
mod engine;
pub mod log;
pub mod plan;
#[allow(dead_code, reason = "others do more with it")]
#[path = "../live/processes.rs"]
mod processes;
pub mod samples;
pub mod seen;
pub mod signals;
mod stack;
pub mod table;

use blame::Windows;
use ca::Pulse;
use client::{Client, Visited};
use log::{Tail, Told};
use openssl::hash::{MessageDigest, hash};
use openssl::ssl::SslVersion;
use plan::{Fault, Pace, Random, Turn};
use samples::{MEASURES, Sample, trend};
use seen::{Overdue, Seen};
use signals::Signals;
use stack::{Stack, Target};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use support::{Httpd, Lab, RaisedAtEnd, http, module, process};
use table::{Head, Part};

/// For starts.
const PATIENCE: Duration = Duration::from_secs(300);
const TICK: Duration = Duration::from_millis(200);
/// A new configuration is in force within this time of a graceful restart.
const RESTARTS_WITHIN: Duration = Duration::from_secs(30);
/// Between two calls of `a2md gc`, as a cron job makes them, and what it leaves in the archive.
const GC_EVERY: Duration = Duration::from_secs(600);
const GC_OLDER_THAN: &str = "10mi";
/// The CA stands still when it has not answered for this long. A renewal that waits for it is not late by then.
const STANDS_STILL: Duration = Duration::from_secs(18);
/// Growth says something only of a run that is as long.
const LONG: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
pub struct Options {
    pub total: Duration,
    pub seed: u64,
    /// Of the httpd that is alone.
    pub domains: usize,
    /// Of the fleet.
    pub shared: usize,
    /// `redis` or `etcd`.
    pub engine: &'static str,
    /// Seconds that a certificate is valid.
    pub lifetime: u32,
    /// The shortest `MDRenewWindow` of a domain, in percent.
    pub window: u32,
    /// How long a renewal may take, from the time it is due until clients see the certificate.
    pub grace: Duration,
    pub round: &'static [Fault],
    pub pace: Pace,
    /// How long a fault is to blame after its end.
    pub tail: Duration,
    pub clients: usize,
    /// Of each client, after each visit.
    pub pause: Duration,
    pub sample_every: Duration,
    /// Samples of the time before say nothing of growth.
    pub settles: Duration,
    /// Seconds by which the clock steps.
    pub ahead: i64,
}

pub struct Outcome {
    pub table: String,
    pub broken: Vec<String>,
    /// Why the run ended early, where httpd was not the reason.
    pub cut: Option<String>,
    pub handshakes: u64,
    pub renewals: u64,
}

/// What clients and the main thread share.
struct Shared {
    begin: Instant,
    seen: Mutex<Seen>,
    windows: Mutex<Windows>,
    pulse: Pulse,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn run(lab: &Lab, options: &Options, signals: &Signals) -> Outcome {
    let turns = plan::schedule(options.seed, options.round, &options.pace, options.total);
    println!("soak: seed {}, {} s, {} faults:", options.seed, options.total.as_secs(), turns.len());
    turns.iter().for_each(|turn| println!("  {:>6} s {}", turn.at.as_secs(), turn.fault.name()));
    let load = load();
    let mut stack = Stack::start(lab, options, signals);
    let left_out = stack.left_out.clone();
    let shared = Shared {
        begin: Instant::now(),
        seen: Mutex::default(),
        windows: Mutex::new(Windows::new(options.tail)),
        pulse: Pulse::new(),
    };
    let mut watch = Watch::new(&stack.httpds, options.settles);
    let done = AtomicBool::new(false);
    let management = stack.pebble.management();
    let cut = thread::scope(|scope| {
        let _done = RaisedAtEnd(&done);
        scope.spawn(|| shared.pulse.feel(management, &done));
        for number in 0..options.clients {
            let versions = [SslVersion::TLS1_3, SslVersion::TLS1_2];
            let clients =
                versions.map(|version| Client::new(lab.https, &stack.pebble.authority.root, version));
            let (targets, shared, done) = (stack.targets.clone(), &shared, &done);
            let random = Random(options.seed ^ (number as u64) << 32);
            scope.spawn(move || come(&clients, &targets, random, shared, options, done));
        }
        go(&mut stack, &turns, options, signals, &shared, &mut watch)
    });
    let took = shared.begin.elapsed();
    let stores = stack.httpds.drain(..).map(|httpd| httpd.stop().store()).collect::<Vec<_>>();
    watch.hear(&shared);
    for (of, store) in watch.httpds.iter().zip(stores) {
        if let Err(words) = a2md(&store, &["store", "verify"]) {
            lock(&shared.seen).breaks(format!("{}: the store at the end: {words}", of.name));
        }
    }
    drop(stack);
    let mut seen = shared.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    let windows = shared.windows.into_inner().unwrap_or_else(PoisonError::into_inner);
    if took >= LONG {
        let are_replaced = options.round.iter().any(|fault| fault.ends_children());
        watch.grown(are_replaced).into_iter().for_each(|words| seen.breaks(words));
    }
    let head = head(options, took, cut.as_deref(), &watch, &load);
    Outcome {
        table: table::table(&head, &windows, &seen, &watch.parts(), &left_out),
        handshakes: seen.handshakes(),
        renewals: seen.renewals(),
        broken: seen.broken,
        cut,
    }
}

/// One client: a name at random, again and again.
fn come(
    clients: &[Client; 2],
    targets: &[Target],
    mut random: Random,
    shared: &Shared,
    options: &Options,
    done: &AtomicBool,
) {
    while !done.load(Ordering::Relaxed) {
        let target = &targets[random.below(targets.len())];
        let client = &clients[random.below(clients.len())];
        let from = shared.begin.elapsed();
        let visited = client.visit(&target.address, &target.name);
        note(&visited, target, [from, shared.begin.elapsed()], shared, options);
        thread::sleep(options.pause);
    }
}

fn note(visited: &Visited, target: &Target, [from, to]: [Duration; 2], shared: &Shared, options: &Options) {
    let windows = lock(&shared.windows);
    let blamed = windows.blamed(from, to);
    let due = stack::due(&target.name, options);
    let overdue = visited.certificate.and_then(|(not_before, age)| {
        let over = Duration::from_secs(u64::try_from(age).ok()?).checked_sub(due)?;
        (over > options.grace).then(|| {
            let is_excused = windows.stopped_renewals(to.saturating_sub(over), to);
            (Overdue { name: target.name.clone(), not_before }, is_excused, age)
        })
    });
    drop(windows);
    let at = format!("{:.1} s, {} at {}", to.as_secs_f64(), target.name, target.address);
    let mut seen = lock(&shared.seen);
    match &visited.flaw {
        None => seen.good(blamed, visited.is_stapled, to - from),
        Some((flaw, words)) => {
            if !flaw.is_cost(blamed) {
                println!("  {at}: {}: {words}", flaw.name());
            }
            seen.flawed(blamed, *flaw, &format!("{at}: {words}"));
        }
    }
    if let Some((overdue, is_excused, age)) = overdue {
        seen.overdue(blamed, overdue, is_excused, &format!("{at}: issued {age} s ago"));
    }
}

/// `Err`: what it said.
fn a2md(store: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_a2md"));
    let output = command.arg("-d").arg(store).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()),
    }
}

/// A fault that is in force.
struct Current {
    turn: Turn,
    /// Restarts that were asked for.
    restarts: u32,
}

/// Until the end, or a signal, or the CA stands still, which is said then.
fn go(
    stack: &mut Stack,
    turns: &[Turn],
    options: &Options,
    signals: &Signals,
    shared: &Shared,
    watch: &mut Watch,
) -> Option<String> {
    let mut turns = turns.iter();
    let (mut next, mut current) = (turns.next(), None::<Current>);
    let [mut heard, mut sampled, mut told, mut cleaned] = [Duration::ZERO; 4];
    let mut cut = None;
    while shared.begin.elapsed() < options.total && !signals.has_come() {
        let now = shared.begin.elapsed();
        if let Some(current) = current.as_mut().filter(|current| current.turn.fault == Fault::Burst)
            && now >= current.turn.at + options.pace.between_restarts * current.restarts
        {
            restart(&current.turn, stack, watch);
            current.restarts += 1;
        }
        if let Some(ending) = current.take_if(|current| now >= current.turn.at + current.turn.lasts) {
            end(ending.turn.fault, stack, signals);
            lock(&shared.windows).end(ending.turn.fault, shared.begin.elapsed());
        }
        if let Some(turn) = next.filter(|turn| current.is_none() && now >= turn.at) {
            lock(&shared.windows).begin(turn.fault, now);
            let turn = Turn { at: now, ..*turn };
            begin(&turn, stack, options, watch);
            current = Some(Current { turn, restarts: 1 });
            next = turns.next();
        }
        if current.as_ref().is_some_and(|current| current.turn.fault == Fault::CaHangs) {
            shared.pulse.is_felt();
        }
        if shared.pulse.silence() > STANDS_STILL {
            cut = Some(format!(
                "after {} s: the CA stood still, as pebble does at times (tests/support/pebble.rs)",
                now.as_secs()
            ));
            break;
        }
        if now >= heard + Duration::from_secs(1) {
            heard = now;
            watch.hear(shared);
            watch.check(&stack.httpds, now, shared);
            if !stack.httpds.iter().all(|httpd| process::is_alive(httpd.pid())) {
                break;
            }
        }
        if now >= sampled + options.sample_every {
            sampled = now;
            watch.sample(&stack.httpds, now);
            watch.ask(&stack.httpds, now, shared);
        }
        if now >= cleaned + GC_EVERY {
            cleaned = now;
            watch.clean(&stack.httpds, now, shared);
        }
        if now >= told + Duration::from_secs(60) {
            told = now;
            println!("{}", progress(shared, watch, current.as_ref().map(|current| current.turn.fault)));
        }
        thread::sleep(TICK);
    }
    if let Some(ending) = current {
        end(ending.turn.fault, stack, signals);
    }
    cut
}

/// Half of all goes to the one that is alone.
fn chosen(turn: &Turn, stack: &Stack) -> usize {
    let count = stack.httpds.len();
    let at = usize::try_from(turn.pick % (2 * count as u64 - 2)).unwrap_or_default();
    at.saturating_sub(count - 2)
}

fn begin(turn: &Turn, stack: &mut Stack, options: &Options, watch: &mut Watch) {
    match turn.fault {
        Fault::Restart | Fault::Burst => restart(turn, stack, watch),
        Fault::KilledChild => {
            let at = chosen(turn, stack);
            let children = process::children(stack.httpds[at].pid());
            let told = &mut watch.httpds[at].told;
            // The one that renews, every other time.
            let renewing = told.renewing.filter(|pid| turn.pick >> 32 & 1 == 0 && children.contains(pid));
            let any = children.get(Random(turn.pick).below(children.len())).copied();
            if let Some(pid) = renewing.or(any) {
                told.killed.insert(pid);
                process::signal(pid, "KILL");
            }
        }
        Fault::CaHangs => stack.pebble.hold(),
        Fault::CaRefuses => stack.way.refuse(true),
        Fault::EngineHangs => stack.engine.freeze(),
        Fault::EngineDies => stack.engine.kill(),
        Fault::DiskFull => stack.disk.iter().for_each(stack::Disk::fill),
        Fault::ClockAhead => stack.clocks.step(options.ahead),
    }
}

fn restart(turn: &Turn, stack: &Stack, watch: &mut Watch) {
    let at = chosen(turn, stack);
    process::signal(stack.httpds[at].pid(), "USR1");
    let of = &mut watch.httpds[at];
    of.awaited = Some((of.told.starts, Instant::now() + RESTARTS_WITHIN));
}

fn end(fault: Fault, stack: &mut Stack, signals: &Signals) {
    match fault {
        Fault::Restart | Fault::Burst | Fault::KilledChild => {}
        Fault::CaHangs => stack.pebble.go_on(),
        Fault::CaRefuses => stack.way.refuse(false),
        Fault::EngineHangs => stack.engine.go_on(),
        Fault::EngineDies => signals.at_their_defaults(|| stack.engine.restart()),
        Fault::DiskFull => stack.disk.iter().for_each(stack::Disk::free),
        Fault::ClockAhead => stack.clocks.step(0),
    }
}

/// What is known of one httpd from its logs and processes.
struct Of {
    name: String,
    tails: [Tail; 2],
    told: Told,
    /// How many of its crashes have been noted.
    crashes: usize,
    /// Starts before a restart was asked for, and by when there has to be one more.
    awaited: Option<(u64, Instant)>,
    samples: Vec<Sample>,
}

struct Watch {
    httpds: Vec<Of>,
    settles: Duration,
}

impl Watch {
    fn new(httpds: &[Httpd], settles: Duration) -> Watch {
        let of = |(at, httpd): (usize, &Httpd)| {
            let file = |name| Tail::new(&httpd.config.server_root().join(name));
            let name = if at == 0 { "alone".to_string() } else { format!("node {at}") };
            let tails = ["error.log", "stderr.log"].map(file);
            Of { name, tails, told: Told::default(), crashes: 0, awaited: None, samples: Vec::new() }
        };
        let mut watch = Watch { httpds: httpds.iter().enumerate().map(of).collect(), settles };
        // First certificates are no renewals.
        for of in &mut watch.httpds {
            let _ = of.hear();
        }
        watch
    }

    fn hear(&mut self, shared: &Shared) {
        for of in &mut self.httpds {
            let renewed = of.hear();
            let now = shared.begin.elapsed();
            let blamed = lock(&shared.windows).blamed(now, now);
            let mut seen = lock(&shared.seen);
            seen.renewed(blamed, renewed);
            for line in of.told.crashes.iter().skip(of.crashes) {
                seen.breaks(format!("{}: {line}", of.name));
            }
            of.crashes = of.told.crashes.len();
        }
    }

    fn check(&mut self, httpds: &[Httpd], now: Duration, shared: &Shared) {
        for (of, httpd) in self.httpds.iter_mut().zip(httpds) {
            if !process::is_alive(httpd.pid()) {
                lock(&shared.seen).breaks(format!("{} s: {} has ended", now.as_secs(), of.name));
            }
            if of.awaited.take_if(|(before, _)| of.told.starts > *before).is_some() {
                continue;
            }
            if of.awaited.take_if(|(_, until)| Instant::now() > *until).is_some() {
                let words = format!("{} s: {} has not restarted", now.as_secs(), of.name);
                lock(&shared.seen).breaks(words);
            }
        }
    }

    fn sample(&mut self, httpds: &[Httpd], now: Duration) {
        for (of, httpd) in self.httpds.iter_mut().zip(httpds) {
            of.samples.extend(Sample::of(httpd, now));
        }
    }

    /// The pages of the module answer, whatever is the matter.
    fn ask(&self, httpds: &[Httpd], now: Duration, shared: &Shared) {
        for (of, httpd) in self.httpds.iter().zip(httpds) {
            for page in ["/md-status", "/md-metrics", "/server-status?auto"] {
                let ask = || match http::get(httpd.config.http_port(), "main.test", page) {
                    Ok(answer) if answer.status == 200 => Ok(()),
                    Ok(answer) => Err(answer.status.to_string()),
                    Err(e) => Err(e.to_string()),
                };
                // Once more: the child may have been killed that had the connection.
                if let Err(words) = ask().or_else(|_| ask()) {
                    lock(&shared.seen).breaks(format!("{} s: {}{page}: {words}", now.as_secs(), of.name));
                }
            }
        }
    }

    fn clean(&self, httpds: &[Httpd], now: Duration, shared: &Shared) {
        for (of, httpd) in self.httpds.iter().zip(httpds) {
            let arguments = ["gc", "--yes", "--older-than", GC_OLDER_THAN];
            if let Err(words) = a2md(&httpd.config.store(), &arguments) {
                lock(&shared.seen).breaks(format!("{} s: {}: a2md gc: {words}", now.as_secs(), of.name));
            }
        }
    }

    /// What has grown more than it may, in words. `are_replaced`: children are, now and then.
    fn grown(&self, are_replaced: bool) -> Vec<String> {
        let mut words = Vec::new();
        for of in &self.httpds {
            for (at, measure) in MEASURES.iter().enumerate() {
                let points: Vec<_> =
                    of.settled(self.settles).iter().map(|sample| (sample.at, sample.values[at])).collect();
                if let Some(leak) = trend(&points).and_then(|trend| measure.leak(&trend, are_replaced)) {
                    let [first, last] = leak.map(f64::round);
                    words.push(format!("{}: {} grew from {first} to {last}", of.name, measure.name));
                }
            }
        }
        words
    }

    fn parts(&self) -> Vec<Part<'_>> {
        self.httpds
            .iter()
            .map(|of| Part { name: &of.name, samples: of.settled(self.settles), told: &of.told })
            .collect()
    }
}

impl Of {
    fn settled(&self, settles: Duration) -> &[Sample] {
        let first = self.samples.partition_point(|sample| sample.at < settles);
        self.samples.get(first..).unwrap_or_default()
    }

    /// How many sets came into use.
    fn hear(&mut self) -> u64 {
        let mut renewed = 0;
        for tail in &mut self.tails {
            for line in tail.lines() {
                renewed += u64::from(self.told.hear(&line));
            }
        }
        renewed
    }
}

fn progress(shared: &Shared, watch: &Watch, fault: Option<Fault>) -> String {
    let seen = lock(&shared.seen);
    let [cost, failures] = seen.flaws();
    let held: Vec<String> = watch
        .httpds
        .iter()
        .filter_map(|of| {
            let sample = of.samples.last()?;
            Some(format!("{} {:.0} kB {:.0} files", of.name, sample.values[0], sample.values[2]))
        })
        .collect();
    format!(
        "{:>5} s: {} handshakes, {failures} failed, {cost} lost with killed children, {} sets in use, {} broken; {}; {}; load {}",
        shared.begin.elapsed().as_secs(),
        seen.handshakes(),
        seen.renewals(),
        seen.broken_count,
        seen::name_of(fault),
        held.join(", "),
        load()
    )
}

fn head(options: &Options, took: Duration, cut: Option<&str>, watch: &Watch, before: &str) -> Head {
    let file = fs::read(module::under_test()).unwrap_or_default();
    let digest = hash(MessageDigest::sha256(), &file).map(|digest| digest[..6].to_vec()).unwrap_or_default();
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let server = watch.httpds.first().and_then(|of| of.told.server.clone()).unwrap_or_default();
    let calm =
        if options.round.iter().any(|fault| fault.ends_children()) { "" } else { ", no child is ended" };
    let faults = format!("seed {}, engine {}{calm}", options.seed, options.engine);
    Head {
        lines: vec![
            ("machine", machine()),
            ("date", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string()),
            (
                "duration",
                format!(
                    "{} min {} s{}",
                    took.as_secs() / 60,
                    took.as_secs() % 60,
                    cut.map(|why| format!(", cut short {why}")).unwrap_or_default()
                ),
            ),
            (
                "module",
                format!("mod_md {}, {} bytes, SHA-256 {digest}…", env!("CARGO_PKG_VERSION"), file.len()),
            ),
            ("httpd", server),
            (
                "domains",
                format!(
                    "{} alone, {} shared by two nodes; certificates of {} s, due when {} to {} % of that are left",
                    options.domains,
                    options.shared,
                    options.lifetime,
                    options.window,
                    options.window + stack::SPREAD
                ),
            ),
            ("faults", faults),
            ("load, before and after", format!("{before}, {}", load())),
        ],
    }
}

fn machine() -> String {
    let text = |file| fs::read_to_string(file).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches([':', ' ', '\t']).trim().to_string()
    };
    let (processors, memory) = (text("/proc/cpuinfo"), text("/proc/meminfo"));
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    format!("{count} × {}, memory {}", value(&processors, "model name"), value(&memory, "MemTotal"))
}

/// What the machine has had to do in the last minute.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_string()
}
