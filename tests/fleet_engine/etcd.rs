// SPDX-License-Identifier: Apache-2.0
//! The suite on real etcd, and what only etcd does: users, TLS, quotas, several members.

use crate::fixture::{Fixture, Node};
use mod_md::config::fleet::{Scheme, Server};
use mod_md::fleet::access::Access;
use mod_md::fleet::engine::etcd::Etcd;
use mod_md::time::StopFlag;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::{Lab, Need, etcd};

mod hostile;
mod own;

pub struct OnEtcd {
    server: Mutex<etcd::Etcd>,
    begin: Instant,
    // Last: its folder goes with it.
    _lab: Lab,
}

impl OnEtcd {
    pub fn with(test: &str, options: etcd::Options) -> Option<OnEtcd> {
        let lab = Lab::bare(&format!("etcd::{test}"), &[Need::Program("etcd"), Need::Program("etcdctl")])?;
        let server = Mutex::new(etcd::Etcd::with(&lab, options));
        Some(OnEtcd { server, begin: Instant::now(), _lab: lab })
    }

    pub fn server(&self) -> std::sync::MutexGuard<'_, etcd::Etcd> {
        self.server.lock().unwrap()
    }

    /// What a node needs to reach it.
    pub fn access(&self, stop: &StopFlag) -> Access {
        let server = self.server();
        let servers = server.servers().into_iter().map(|(host, port)| Server { host, port }).collect();
        Access {
            scheme: Scheme::Etcd,
            is_tls: server.ca_pem().is_some(),
            servers,
            prefix: "md".into(),
            ca_pem: server.ca_pem(),
            client_pem: server.client_pem(),
            user: None,
            stop: stop.clone(),
        }
    }
}

pub fn connect(access: &Access) -> Node {
    Arc::new(Etcd::new(access).unwrap())
}

impl Fixture for OnEtcd {
    fn new(test: &str, _is_alone: bool) -> Option<Self> {
        OnEtcd::with(test, etcd::Options::default())
    }

    fn node_until(&self, stop: &StopFlag) -> Node {
        connect(&self.access(stop))
    }

    fn stranger(&self) -> Node {
        connect(&Access { prefix: "md2".into(), ..self.access(&StopFlag::default()) })
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    fn pass(&self, time: Duration) {
        thread::sleep(time);
    }

    fn compact(&self) {
        self.server().compact();
    }

    fn wipe(&self) {
        self.server().wipe();
    }
}

held_to_the_promises!(OnEtcd);
