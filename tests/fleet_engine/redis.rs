// SPDX-License-Identifier: Apache-2.0
//! The suite on a real Redis or Valkey, and what only they do: replicas, rights, a trimmed log.

use crate::fixture::{Fixture, Node};
use mod_md::config::fleet::{Scheme, Server};
use mod_md::fleet::access::Access;
use mod_md::fleet::engine::redis::Redis;
use mod_md::time::StopFlag;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};
use support::{Lab, Need, redis};

mod alone;
mod seeds;

/// As that of a real fleet.
pub const PREFIX: &str = "{mod_md}";

pub struct OnRedis {
    server: Mutex<redis::Redis>,
    pub port: u16,
    begin: Instant,
    // Last: its folder goes with it.
    pub lab: Lab,
}

impl OnRedis {
    pub fn with(test: &str, options: redis::Options) -> Option<OnRedis> {
        let lab = Lab::bare(
            &format!("redis::{test}"),
            &[Need::Program("redis-server"), Need::Program("redis-cli")],
        )?;
        let server = redis::Redis::with(&lab, options);
        Some(OnRedis { port: server.port, server: Mutex::new(server), begin: Instant::now(), lab })
    }

    pub fn server(&self) -> MutexGuard<'_, redis::Redis> {
        self.server.lock().unwrap()
    }

    /// What a node needs to reach it.
    pub fn access(&self, stop: &StopFlag) -> Access {
        let server = self.server();
        let is_tls = server.ca_pem().is_some();
        let host = if is_tls { "localhost" } else { "127.0.0.1" };
        Access {
            scheme: Scheme::Redis,
            is_tls,
            servers: vec![Server { host: host.into(), port: server.port }],
            prefix: PREFIX.into(),
            ca_pem: server.ca_pem(),
            client_pem: None,
            user: None,
            stop: stop.clone(),
        }
    }
}

pub fn connect(access: &Access) -> Node {
    Arc::new(Redis::new(access).unwrap())
}

impl Fixture for OnRedis {
    fn new(test: &str, _is_alone: bool) -> Option<Self> {
        OnRedis::with(test, redis::Options::default())
    }

    fn node_until(&self, stop: &StopFlag) -> Node {
        connect(&self.access(stop))
    }

    fn stranger(&self) -> Node {
        connect(&Access { prefix: format!("{PREFIX}2"), ..self.access(&StopFlag::default()) })
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    fn pass(&self, time: Duration) {
        thread::sleep(time);
    }

    fn compact(&self) {
        self.server().trim(PREFIX, 0);
    }

    fn wipe(&self) {
        self.server().wipe();
    }
}

held_to_the_promises!(OnRedis);
