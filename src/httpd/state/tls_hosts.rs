// SPDX-License-Identifier: Apache-2.0
//! The TLS hosts of managed domains, as they become known during a start: the provider of each one's
//! certificate, and the TLS context that mod_ssl made for it. New sets are tried at the security levels of these
//! contexts before any host serves them.

use super::module::Server;
use crate::crypto::Identity;
use crate::httpd::sys::{Context, Trial};
use crate::managed::live_set::Hosts;
use crate::managed::serve::Source;
use crate::managed::slot::Slot;
use crate::sync::lock;
use std::collections::HashMap;
use std::sync::Mutex;

/// The certificate that a host was given.
#[derive(Clone, Copy)]
pub struct Given {
    /// Index of its MD.
    pub md: usize,
    pub source: Source,
    /// It has files of its own as well, which serve clients that need another key type.
    pub keeps_own: bool,
}

impl Given {
    /// Whether a live set of the MD replaces it. `MDCertificateFile`s of the MD stay.
    fn can_go_live(self) -> bool {
        self.source != Source::Static
    }
}

/// The TLS hosts of one start.
pub struct TlsHosts {
    /// `MDLiveActivation`.
    is_live: bool,
    slots: Vec<Slot>,
    /// By server.
    given: Mutex<HashMap<usize, Given>>,
    contexts: Mutex<Vec<Vec<(String, Context)>>>,
}

impl TlsHosts {
    pub fn new(mds: usize, is_live: bool) -> Self {
        let contexts = Mutex::new((0..mds).map(|_| Vec::new()).collect());
        let slots = (0..mds).map(|_| Slot::default()).collect();
        TlsHosts { is_live, slots, given: Mutex::default(), contexts }
    }

    pub fn is_live(&self) -> bool {
        self.is_live
    }

    pub fn give(&self, server: Server<'_>, given: Given) {
        lock(&self.given).insert(server.key(), given);
    }

    pub fn given(&self, server: Server<'_>) -> Option<Given> {
        lock(&self.given).get(&server.key()).copied()
    }

    /// By server: the MD of each host that begins with a self-signed certificate.
    pub fn self_signed(&self) -> HashMap<usize, usize> {
        let given = lock(&self.given);
        given.iter().filter(|(_, g)| g.source == Source::SelfSigned).map(|(s, g)| (*s, g.md)).collect()
    }

    /// The slot in which handshakes of a host look for a live set, and whether certificates of its own stay
    /// beside that.
    pub fn slot_of(&self, server: Server<'_>) -> Option<(Slot, bool)> {
        let given = self.given(server).filter(|given| self.is_live && given.can_go_live())?;
        Some((self.slots.get(given.md)?.clone(), given.keeps_own))
    }

    /// mod_ssl has made this context for a host.
    pub fn attach(&self, server: Server<'_>, context: Context) {
        let Some(given) = self.given(server).filter(|given| given.can_go_live()) else { return };
        if let (Some(slot), Some(contexts)) =
            (self.slots.get(given.md), lock(&self.contexts).get_mut(given.md))
        {
            contexts.push((server.name(), context));
            if self.is_live {
                slot.attach();
            }
        }
    }

    pub fn slot(&self, md: usize) -> Slot {
        self.slots.get(md).cloned().unwrap_or_default()
    }

    /// All contexts. Called when every host has its own.
    pub fn take_contexts(&self) -> Contexts {
        Contexts { hosts: std::mem::take(&mut lock(&self.contexts)), trials: Mutex::default() }
    }
}

/// The TLS contexts of the hosts of each MD, with the names of the hosts.
pub struct Contexts {
    hosts: Vec<Vec<(String, Context)>>,
    /// One for each security level that hosts have, once a set is tried at it: in children alone.
    trials: Mutex<Vec<Trial>>,
}

impl Contexts {
    fn try_at(&self, level: u32, identities: &[Identity]) -> Result<(), String> {
        let mut trials = lock(&self.trials);
        if let Some(trial) = trials.iter().find(|trial| trial.level() == level) {
            return trial.try_out(identities);
        }
        let trial = Trial::new(level)?;
        let tried = trial.try_out(identities);
        trials.push(trial);
        tried
    }
}

impl Hosts for Contexts {
    fn try_out(&self, index: usize, identities: &[Identity]) -> Option<Result<(), String>> {
        let hosts = self.hosts.get(index).filter(|hosts| !hosts.is_empty())?;
        let mut tried: Vec<u32> = Vec::new();
        Some(hosts.iter().try_for_each(|(host, context)| {
            let level = context.security_level();
            if tried.contains(&level) {
                return Ok(());
            }
            tried.push(level);
            let refused = |reason| format!("the host {host} does not take it, {reason}");
            self.try_at(level, identities).map_err(refused)
        }))
    }
}
