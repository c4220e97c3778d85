// SPDX-License-Identifier: Apache-2.0
//! Nodes to test with.

use data_encoding::BASE64;
use doubles::memory_engine::Handle;
use doubles::{Memory, VirtualClock};
use mod_md::crypto::cert::Chain;
use mod_md::crypto::{CertInfo, CpuLimit, PrivateKey};
use mod_md::fleet::local::stored::StoredLocal;
use mod_md::fleet::member::Member;
use mod_md::fleet::node::{Node, Setup};
use mod_md::fleet::record::NodeMd;
use mod_md::fleet::replicator::Replicator;
use mod_md::fleet::replicator::feed::Inline;
use mod_md::fleet::sealed::Secrets;
use mod_md::fleet::secret::Secret;
use mod_md::managed::Managed;
use mod_md::managed::peers::{Need, Peers, SharedAccount, SharedAnswer, SharedCert, SharedSet, Turn};
use mod_md::managed::staging::Staging;
use mod_md::model::{Ca, KeySpec, Md};
use mod_md::store::{Fuse, StartStore, WorkStore};
use mod_md::time::{Clock, Timestamp};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use support::issuer::Issuer;

pub const CA: &str = "https://ca.test/dir";
pub const NEED: Need = Need {
    is_asked: false,
    is_bare: true,
    is_late: false,
    is_only_different: false,
    errors: 0,
    failed_at: None,
};

pub struct Lab {
    pub clock: Arc<VirtualClock>,
    pub engine: Arc<Memory>,
    pub issuer: Issuer,
}

impl Lab {
    pub fn new() -> Lab {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let clock = Arc::new(VirtualClock::at(Timestamp::from_unix(now.as_secs() as i64)));
        Lab { engine: Memory::new(clock.clone()), clock, issuer: Issuer::new() }
    }

    pub fn node(&self, name: &str, mds: &[&str]) -> TestNode {
        self.node_with(name, mds, Fuse::default())
    }

    /// Whose disk fails when the fuse blows.
    pub fn node_with(&self, name: &str, mds: &[&str], fuse: Fuse) -> TestNode {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("md");
        let start = StartStore::open_with(&path, None, fuse).unwrap().unsynced();
        start.make_fleet_folder().unwrap();
        self.process(name, mds, path, start.worker(), Arc::new(dir))
    }

    /// A process of httpd on this store.
    pub fn process(
        &self,
        name: &str,
        mds: &[&str],
        path: PathBuf,
        store: WorkStore,
        dir: Arc<tempfile::TempDir>,
    ) -> TestNode {
        self.process_with(name, mds, (path, store, dir), &[1])
    }

    /// With these secrets.
    fn process_with(
        &self,
        name: &str,
        mds: &[&str],
        (path, store, dir): (PathBuf, WorkStore, Arc<tempfile::TempDir>),
        secrets: &[u8],
    ) -> TestNode {
        let managed = |name: &&str| Managed {
            md: Md {
                name: name.to_string(),
                domains: vec![name.to_string()],
                ca: Ca { urls: vec![CA.into()], ..Ca::default() },
                key_specs: vec![KeySpec::Ec("P-256".into())],
                ..Md::default()
            },
            in_use: true,
            watched: true,
            ..Managed::default()
        };
        let targets: Arc<[Managed]> = mds.iter().map(managed).collect();
        let local = StoredLocal::new(store.clone(), targets.clone(), 1, Arc::default(), CpuLimit::default());
        let handle = self.engine.handle("p");
        let secret = |byte: &u8| Secret::parse(BASE64.encode(&[*byte; 32]).as_bytes()).unwrap();
        let of = |md: &Managed| NodeMd {
            name: md.md.name.clone(),
            domains: md.md.domains.clone(),
            terms: "t".into(),
            asks: true,
        };
        let node = Arc::new(Node::new(Setup {
            engine: handle.clone(),
            local: Arc::new(local),
            clock: self.clock.clone(),
            secrets: Secrets::new(secret(&secrets[0]), secrets.get(1).map(secret)),
            prefix: "p".into(),
            name: name.into(),
            version: "3".into(),
            mds: targets.iter().map(of).collect(),
        }));
        let replicator = Replicator::new(node.clone(), Box::new(Inline::new(handle.clone())));
        let mds = mds.iter().map(ToString::to_string).collect();
        TestNode {
            name: name.into(),
            mds,
            path,
            store,
            member: Member::new(node.clone()),
            node,
            replicator,
            handle,
            dir,
        }
    }

    pub fn set(&self, names: &[&str]) -> SharedSet {
        let issued = self.issuer.issue(names);
        let key = PrivateKey::from_plain_pem(&issued.key_pem()).unwrap();
        let chain = Chain::from_pem(&issued.chain_pem()).unwrap();
        SharedSet {
            ca: CA.into(),
            names: names.iter().map(ToString::to_string).collect(),
            must_staple: false,
            profile: None,
            certs: vec![SharedCert { spec: KeySpec::Ec("P-256".into()), key, chain }],
            renew_at: None,
        }
    }

    /// So much time passes, and every node does what is due.
    pub fn pass(&self, time: Duration, nodes: &mut [&mut TestNode]) {
        let end = self.clock.now().plus(time);
        loop {
            nodes.iter_mut().for_each(|node| node.step());
            if self.clock.now() >= end {
                return;
            }
            self.clock.advance(Duration::from_millis(100));
        }
    }
}

pub struct TestNode {
    pub name: String,
    pub mds: Vec<String>,
    pub path: PathBuf,
    pub store: WorkStore,
    pub node: Arc<Node>,
    pub member: Member,
    pub replicator: Replicator,
    pub handle: Arc<Handle>,
    pub dir: Arc<tempfile::TempDir>,
}

impl TestNode {
    /// A step, and the looks that it asks for.
    pub fn step(&mut self) {
        self.replicator.step();
        for name in self.member.take_news() {
            self.member.bring_in(&name);
        }
    }

    /// The process dies; another one goes on with the store.
    pub fn killed(self, lab: &Lab) -> TestNode {
        // The kernel releases the lock.
        self.node.setup.local.release();
        let mds: Vec<&str> = self.mds.iter().map(String::as_str).collect();
        lab.process(&self.name, &mds, self.path, self.store, self.dir)
    }

    /// The same with these secrets.
    pub fn killed_with(self, lab: &Lab, secrets: &[u8]) -> TestNode {
        self.node.setup.local.release();
        let mds: Vec<&str> = self.mds.iter().map(String::as_str).collect();
        lab.process_with(&self.name, &mds, (self.path, self.store, self.dir), secrets)
    }

    /// What httpd's start has.
    pub fn start(&self) -> StartStore {
        StartStore::open_existing(&self.path).unwrap()
    }

    /// SHA-256 of the certificate that is staged, finished.
    pub fn staged(&self, name: &str) -> Option<String> {
        let staging = Staging::new(&self.store, name);
        staging.job().unwrap().filter(|job| job.finished)?;
        let chain = staging.chain(&KeySpec::Ec("P-256".into())).unwrap()?;
        Some(CertInfo::from_chain(&chain).fingerprint)
    }

    pub fn begin(&self, name: &str) -> Box<dyn Turn> {
        match self.member.begin(name, &NEED) {
            Ok(turn) => turn,
            Err(not_now) => panic!("{}: {not_now:?}", self.name),
        }
    }

    pub fn file(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path.join(path)).ok()
    }
}

pub fn fingerprint(set: &SharedSet) -> Option<String> {
    Some(CertInfo::from_chain(&set.certs[0].chain).fingerprint)
}

pub fn account(key: &PrivateKey) -> SharedAccount {
    SharedAccount {
        json: json!({"url": "https://ca.test/acct/1", "ca-url": CA, "status": "valid"}),
        key: key.clone(),
    }
}

pub fn http_answer(name: &str, answer: &str) -> SharedAnswer {
    SharedAnswer { type_: "http-01".into(), dns_name: name.into(), owner: name.into(), answer: answer.into() }
}
