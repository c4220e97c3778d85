// SPDX-License-Identifier: Apache-2.0
//! A host with managed domains: a store in a folder of its own, a clock, a CA in memory, and the context of a
//! renewing child.

use crate::clock::VirtualClock;
use crate::fake_ca::{FakeCa, problem};
use mod_md::challenge::http01;
use mod_md::crypto::PrivateKey;
use mod_md::dns::Name;
use mod_md::http::{self, Transport};
use mod_md::managed::Managed;
use mod_md::managed::staging::Staging;
use mod_md::model::{Ca, Job, KeySpec, Md};
use mod_md::notify::Commands;
use mod_md::renew::attempt::ca_pool::CaPool;
use mod_md::renew::attempt::context::Context;
use mod_md::renew::attempt::settings::Settings;
use mod_md::renew::decide::retry::Retry;

use mod_md::store::{StartStore, WorkStore};
use mod_md::time::{Clock, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// When a test begins.
pub const BEGIN: Timestamp = Timestamp::from_unix(1_700_000_000);

pub struct Host {
    dir: tempfile::TempDir,
    /// The folder of the store.
    pub path: PathBuf,
    /// No machine fails here: nothing has to wait for the disk.
    pub store: StartStore,
    pub clock: Arc<VirtualClock>,
    /// The first one in the configuration.
    pub ca: Arc<FakeCa>,
    pub settings: Settings,
}

impl Host {
    /// With the CA at `ca.test`.
    #[allow(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Host {
        Host::with_ca("ca.test")
    }

    pub fn with_ca(name: &str) -> Host {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("md");
        let store = StartStore::open(&path, None).unwrap().unsynced();
        let clock = Arc::new(VirtualClock::at(BEGIN));
        let ca = FakeCa::new(name, clock.clone());
        let settings = Settings {
            retry: Retry { delay: Duration::from_secs(30), failover: 13 },
            check_interval: Duration::from_secs(43_200),
            initial_delay: Duration::ZERO,
            dns_zones: vec![Name::parse("acme.test").unwrap()],
            parallel: 16,
            reachable_by_http: true,
            reachable_by_https: true,
            commands: Commands::default(),
        };
        Host { dir, path, store, clock, ca, settings }
    }

    /// Sets this machine's clock ahead of the CA's.
    pub fn go_ahead(&mut self, by: Duration) {
        self.clock = Arc::new(VirtualClock::at(self.clock.now().plus(by)));
    }

    /// The CA looks for the answers to http-01 where httpd serves them from.
    pub fn validates(self) -> Host {
        let challenges = self.path.join("challenges");
        self.ca.rules(|rules| {
            rules.validate = Arc::new(move |asked| {
                let file = challenges.join(asked.name).join(http01::FILE_NAME);
                match std::fs::read_to_string(file) {
                    Ok(content) if content == asked.key_authorization => Ok(()),
                    Ok(other) => Err(problem("incorrectResponse", &other)),
                    Err(error) => Err(problem("connection", &error.to_string())),
                }
            });
        });
        self
    }

    /// Leaves an account key as a child does that died before the registration.
    pub fn leave_account_key(&self, domain: &str, spec: &KeySpec) {
        let key = PrivateKey::generate(spec).unwrap();
        Staging::new(&self.work(), domain).save_account_key(0, &key).unwrap();
    }

    /// The temporary folder, which the store is in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn work(&self) -> WorkStore {
        self.store.worker()
    }

    /// A domain of the CA's, without a certificate. A default account key, of RSA, would be most of what a test
    /// computes: only tests of such a key have one.
    pub fn managed(&self, names: &[&str], keys: &[KeySpec]) -> Managed {
        let urls = vec![self.ca.directory_url()];
        let md = Md {
            name: names[0].into(),
            domains: names.iter().map(ToString::to_string).collect(),
            contacts: vec!["mailto:admin@a.test".into()],
            ca: Ca {
                urls,
                agreement: Some("accepted".into()),
                account_key: Some(KeySpec::Ec("P-256".into())),
                ..Md::default().ca
            },
            key_specs: keys.to_vec(),
            ..Md::default()
        };
        let certs = md.keys().into_iter().map(|spec| (spec, None)).collect::<Vec<_>>().into();
        Managed { md, certs, in_use: true, watched: true, ..Managed::default() }
    }

    /// That of a new child, which reaches the CA alone. Its chance is 0.5: nothing is put off or drawn early.
    pub fn context(&self, mds: &[Managed]) -> Context {
        let ca = self.ca.clone();
        self.context_by(mds, self.work(), move || Ok(ca.clone()))
    }

    /// With another store or way to the CAs.
    pub fn context_by(
        &self,
        mds: &[Managed],
        store: WorkStore,
        connect: impl Fn() -> Result<Arc<dyn Transport>, http::Error> + Send + Sync + 'static,
    ) -> Context {
        let cas = CaPool::new(Box::new(move |_| connect()));
        let settings = self.settings.clone();
        Context::new(mds.to_vec().into(), store, settings, cas, self.clock.clone(), || 0.5)
    }

    /// `None`: there is none, or it cannot be read.
    pub fn job(&self, domain: &str) -> Option<Job> {
        Staging::new(&self.work(), domain).job().ok().flatten()
    }
}
