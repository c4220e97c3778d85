// SPDX-License-Identifier: Apache-2.0
//! OCSP requests in a fleet: one node asks the responder for an MD, and the others take what it has got. None
//! depends on another to staple: a response that is about to end, or has not come, is asked for by everybody.
//! Imports [`crate::managed::peers`].

use crate::managed::Managed;
use crate::managed::peers::Peers;
use crate::ocsp::subject::Id;
use crate::ocsp::{Response, Subject, file, schedule};
use crate::sync::lock;
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often to look whether this node asks by now.
const AGAIN: Duration = Duration::from_secs(600);
/// For how long a certificate without a response waits for that of another node.
const PATIENCE: Duration = Duration::from_secs(20);

/// The other nodes, as OCSP requests see them.
pub struct Others {
    peers: Arc<dyn Peers>,
    /// Certificates of other owners are this node's alone.
    mds: Arc<[Managed]>,
    /// Since when certificates have waited for a first response.
    waiting: Mutex<HashMap<Id, Timestamp>>,
}

impl Others {
    pub fn new(peers: Arc<dyn Peers>, mds: Arc<[Managed]>) -> Self {
        Others { peers, mds, waiting: Mutex::default() }
    }

    /// When to look again, where another node asks for this certificate. `current`: the response in use.
    pub(super) fn look_again(
        &self,
        subject: &Subject,
        current: Option<&Response>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if !self.is_shared(subject) || self.peers.asks(&subject.owner) {
            return None;
        }
        let mut waiting = lock(&self.waiting);
        let until = match current.filter(|current| current.is_current(now)) {
            Some(current) => {
                waiting.remove(&subject.id);
                schedule::alone_from(current, subject.terms.renew_window)
            }
            None => waiting.entry(subject.id).or_insert(now).plus(PATIENCE),
        };
        (now < until).then(|| until.min(now.plus(AGAIN)))
    }

    /// Hands a verified response to the other nodes.
    pub(super) fn share(&self, subject: &Subject, response: &Response) {
        if self.is_shared(subject) {
            self.peers.share_response(&subject.owner, &file::name(&subject.id), &response.der);
        }
    }

    fn is_shared(&self, subject: &Subject) -> bool {
        self.mds.iter().any(|managed| managed.md.name == subject.owner)
    }
}
