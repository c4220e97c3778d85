// SPDX-License-Identifier: Apache-2.0
//! One situation at a time: the real renewal and store, a CA in memory, and the log as an admin reads
//! it.

use doubles::FakeDns;
use doubles::Host;
use doubles::dns::KEY;
use doubles::fake_ca::{Answer, Endpoint, Fault, problem};
use mod_md::challenge::dns01;
use mod_md::http::{self, Client, Limits, Options, Transport};
use mod_md::log::{self, Level, Record};
use mod_md::managed::Managed;
use mod_md::model::dns01::{Propagation, Rfc2136, SecretFile, Way};
use mod_md::model::job::status;
use mod_md::model::{Dns01, Job, KeySpec};
use mod_md::renew::attempt::context::Context;
use mod_md::renew::worker::check;
use mod_md::renew::worker::next::Next;
use mod_md::time::{Clock, StopFlag};
use serde_json::Value;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
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
    host: Host,
    pub md: Managed,
    pub connect: Connect,
    /// Where the domain has its records there.
    pub dns: Option<Arc<FakeDns>>,
}

impl Deref for Lab {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl DerefMut for Lab {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.host
    }
}

impl Lab {
    pub fn new() -> Self {
        let host = Host::new();
        let key = KeySpec::Ec("P-256".into());
        host.leave_account_key(NAME, &key);
        let (md, transport) = (host.managed(&[NAME], &[key]), host.ca.clone());
        Lab { host, md, connect: Arc::new(move || Ok(transport.clone())), dns: None }
    }

    /// A file of the domain in staging.
    pub fn staged(&self, file: &str) -> PathBuf {
        self.path.join("staging").join(NAME).join(file)
    }

    pub fn context(&self) -> Context {
        let connect = self.connect.clone();
        let context = self.context_by(std::slice::from_ref(&self.md), self.work(), move || connect());
        match &self.dns {
            Some(dns) => context.asking(dns.clone()).with_resolvers(FakeDns::resolvers),
            None => context,
        }
    }

    pub fn job(&self) -> Option<Job> {
        self.host.job(NAME)
    }

    /// One look. What was logged, and what the page has.
    pub fn look(&self) -> Vec<String> {
        let context = self.context();
        let lines = logged(|| {
            check::run(&context, 0);
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
            let context = self.context();
            let mut next = Next::Never;
            let lines = logged(|| next = check::run(&context, 0));
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

    /// By updates of the zone a.test at 192.0.2.1, with a secondary at 192.0.2.2.
    pub fn updates(&mut self, change: impl FnOnce(&mut Rfc2136, &FakeDns)) {
        let dns = FakeDns::new(self.clock.clone());
        dns.zone(NAME, &[(1, Duration::ZERO), (2, Duration::ZERO)]);
        let key = SecretFile::loaded("/etc/acme.key", KEY);
        let mut update = Rfc2136 { server: "192.0.2.1".into(), key, zone: None, ttl: 60 };
        change(&mut update, &dns);
        let (way, propagation) = (Way::Rfc2136(update), Propagation::default());
        self.md.dns01 = Some(Dns01 { way, limit: HOUR, propagation });
        self.md.md.ca.challenges = vec!["dns-01".into()];
        self.dns = Some(dns);
    }

    pub fn command(&mut self, line: &str, limit: Duration) {
        self.md.dns01 = Some(Dns01::by_command(line.into(), 1, limit));
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
