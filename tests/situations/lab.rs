// SPDX-License-Identifier: Apache-2.0
//! One situation at a time: the real engine, flow and store, a CA in memory, and the log as an admin reads
//! it.

use doubles::clock::VirtualClock;
use doubles::fake_ca::{Answer, Endpoint, FakeCa, Fault, problem};
use mod_md::challenge::dns01;
use mod_md::crypto::PrivateKey;
use mod_md::http::{self, Client, Limits, Options, Transport};
use mod_md::log::{self, Level, Record};
use mod_md::managed::Managed;
use mod_md::managed::staging::Staging;
use mod_md::model::job::status;
use mod_md::model::{Ca, Job, KeySpec, Md};
use mod_md::notify::Commands;
use mod_md::renew::attempt::ca_pool::Authorities;
use mod_md::renew::attempt::settings::Settings;
use mod_md::renew::decide::retry::Retry;
use mod_md::renew::worker::check::{Engine, Next};
use mod_md::store::{StartStore, WorkStore};
use mod_md::time::{Clock, StopFlag, Timestamp};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

pub const NAME: &str = "a.test";
pub const HOUR: Duration = Duration::from_secs(3600);

/// A line of the log at notice or above.
#[derive(Clone, Debug)]
pub struct Line {
    pub text: String,
}

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// As httpd writes it: what a number means stands before the message.
fn sink(record: &Record<'_>) {
    if record.level <= Level::Notice {
        let number = match record.status {
            0 => String::new(),
            number => format!("({number}){}: ", status::description(number)),
        };
        let line = Line { text: format!("{number}{}", record.text) };
        LINES.lock().unwrap().push(line);
    }
}

/// What is logged meanwhile.
pub fn logged(happen: impl FnOnce()) -> Vec<Line> {
    LINES.lock().unwrap().clear();
    log::install(Some(sink));
    happen();
    log::install(None);
    std::mem::take(&mut LINES.lock().unwrap())
}

type Connect = Arc<dyn Fn() -> Result<Arc<dyn Transport>, http::Error> + Send + Sync>;

pub struct Lab {
    pub dir: tempfile::TempDir,
    pub store: StartStore,
    pub clock: Arc<VirtualClock>,
    pub ca: Arc<FakeCa>,
    pub md: Managed,
    pub commands: Commands,
    pub http: bool,
    pub connect: Connect,
}

impl Lab {
    pub fn new() -> Self {
        static KEY: OnceLock<PrivateKey> = OnceLock::new();
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap().unsynced();
        let clock = Arc::new(VirtualClock::at(Timestamp::from_unix(1_700_000_000)));
        let ca = FakeCa::new("ca.test", clock.clone());
        let md = Md {
            name: NAME.into(),
            domains: vec![NAME.into()],
            contacts: vec!["mailto:admin@a.test".into()],
            ca: Ca { urls: vec![ca.directory_url()], agreement: Some("accepted".into()), ..Md::default().ca },
            key_specs: vec![KeySpec::Ec("P-256".into())],
            ..Md::default()
        };
        let certs = md.keys().into_iter().map(|spec| (spec, None)).collect::<Vec<_>>().into();
        let md = Managed { md, certs, in_use: true, watched: true, ..Managed::default() };
        let key = KEY.get_or_init(|| PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap());
        Staging::new(&store.worker(), NAME).save_account_key(0, key).unwrap();
        let transport = ca.clone();
        let connect: Connect = Arc::new(move || Ok(transport.clone()));
        Lab { dir, store, clock, ca, md, commands: Commands::default(), http: true, connect }
    }

    /// This machine's clock is ahead of the CA's.
    pub fn ahead(&mut self, by: Duration) {
        self.clock = Arc::new(VirtualClock::at(self.clock.now().plus(by)));
    }

    pub fn work(&self) -> WorkStore {
        self.store.worker()
    }

    /// A file of the domain in staging.
    pub fn staged(&self, file: &str) -> PathBuf {
        self.dir.path().join("md/staging").join(NAME).join(file)
    }

    pub fn engine(&self) -> Engine {
        let settings = Settings {
            retry: Retry { delay: Duration::from_secs(30), failover: 13 },
            check_interval: HOUR * 12,
            initial_delay: Duration::ZERO,
            parallel: 16,
            reachable_by_http: self.http,
            reachable_by_https: self.http,
            commands: self.commands.clone(),
        };
        let connect = self.connect.clone();
        let authorities = Authorities::new(Box::new(move |_| connect()));
        Engine::new(
            vec![self.md.clone()].into(),
            self.work(),
            settings,
            authorities,
            self.clock.clone(),
            || 0.5,
        )
    }

    pub fn job(&self) -> Option<Job> {
        Staging::new(&self.work(), NAME).job().ok().flatten()
    }

    /// One look. What was logged, and what the page has.
    pub fn look(&self) -> Vec<String> {
        let engine = self.engine();
        let lines = logged(|| {
            engine.run(0);
        });
        self.all(lines)
    }

    fn all(&self, lines: Vec<Line>) -> Vec<String> {
        let page = self.job().and_then(|job| job.last.detail).map(|detail| format!("md[{NAME}]: {detail}"));
        lines.into_iter().map(|line| line.text).chain(page).collect()
    }

    /// Looks until it fails, or nothing more is to be done, at most so often.
    pub fn looks(&self, most: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..most {
            let engine = self.engine();
            let mut next = Next::Never;
            let lines = logged(|| next = engine.run(0));
            all.extend(self.all(lines));
            match next {
                Next::At(at) => self.clock.advance(at.since(self.clock.now()).max(Duration::from_millis(1))),
                Next::Never => break,
            }
        }
        all
    }

    /// By the real HTTP client.
    pub fn connect_by(&mut self, change: impl FnOnce(&mut Options)) {
        let mut options = Options {
            ca_file: None,
            proxy_url: None,
            proxy_ca_file: None,
            user_agent: "test".into(),
            limits: Limits { stall: Duration::from_millis(300), ..Limits::default() },
            stop: StopFlag::default(),
        };
        change(&mut options);
        self.md.route.proxy_url.clone_from(&options.proxy_url);
        self.connect = Arc::new(move || Client::new(&options).map(|client| Arc::new(client) as _));
    }

    pub fn ask(&mut self, url: &str) {
        self.md.md.ca.urls = vec![url.into()];
    }

    pub fn dns01(&mut self, script: &str, limit: Duration) {
        let line = format!("/bin/sh -c '{script}' dns");
        self.command(&line, limit);
    }

    pub fn command(&mut self, line: &str, limit: Duration) {
        self.md.dns01 = Some(dns01::Command { line: line.into(), version: 1, limit });
        self.md.md.ca.challenges = vec!["dns-01".into()];
    }
}

/// The next request to `endpoint` is refused with this.
pub fn refuse(lab: &Lab, endpoint: Endpoint, status: u16, document: Value) {
    lab.ca.fault(endpoint, Fault::Problem { status, document, retry_after: None });
}

/// The CA finds this where it looks for the answer to a challenge of this type.
pub fn finds(lab: &mut Lab, type_: &'static str, kind: &'static str, said: &'static str) {
    if type_ == dns01::TYPE {
        lab.dns01("exit 0", HOUR);
    }
    lab.md.md.ca.challenges = vec![type_.into()];
    lab.md.md.acme_tls_1 = lab.md.md.domains.clone();
    lab.ca.rules(|rules| rules.validate = Arc::new(move |_| Err(problem(kind, said))));
}

pub fn page(status: u16, media_type: &str, body: &str) -> Answer {
    let headers = vec![("Content-Type".into(), media_type.into())];
    Answer { status, headers, body: body.into() }
}
