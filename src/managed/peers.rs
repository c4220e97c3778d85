// SPDX-License-Identifier: Apache-2.0
//! The other httpds of a fleet, as renewals see them: the interface that `fleet` implements and tests replace.
//! Without a fleet there are none, and nobody asks.

use super::saved_order::SavedOrder;
use crate::crypto::PrivateKey;
use crate::crypto::cert::Chain;
use crate::model::{KeySpec, RateLimit, RetryState};
use crate::time::Timestamp;
use serde_json::Value;

/// A certificate of a set, with its key.
#[derive(Clone)]
pub struct SharedCert {
    pub spec: KeySpec,
    pub key: PrivateKey,
    /// The leaf first.
    pub chain: Chain,
}

/// The certificates of an MD that all nodes are to serve.
#[derive(Clone)]
pub struct SharedSet {
    /// Directory URL of the CA that issued it.
    pub ca: String,
    /// DNS names that it was ordered for.
    pub names: Vec<String>,
    pub must_staple: bool,
    pub profile: Option<String>,
    pub certs: Vec<SharedCert>,
    /// When the CA wants it to be renewed (RFC 9773), as far as a node has asked.
    pub renew_at: Option<Timestamp>,
}

/// How far the fleet has come with the renewal of an MD.
#[derive(Clone, Default)]
pub struct SharedJob {
    /// Directory URL of the CA in turn.
    pub ca: String,
    pub names: Vec<String>,
    /// The order in progress.
    pub order: Option<SavedOrder>,
    /// The keys of this order, in the order of its certificates.
    pub keys: Vec<(KeySpec, PrivateKey)>,
    /// Certificates that earlier orders of the same renewal have got: an MD with two kinds of keys has two orders.
    pub certs: Vec<SharedCert>,
    /// For people.
    pub step: String,
    /// In a row.
    pub errors: u32,
    pub next_try: Option<Timestamp>,
    /// What went wrong last, in the CA's words where it said so.
    pub problem: Option<String>,
    /// How often the CA in turn has failed, and which validations: the limits of CAs count them for all nodes
    /// together.
    pub retry_state: RetryState,
}

/// An account at a CA that all nodes use.
#[derive(Clone)]
pub struct SharedAccount {
    /// As `account.json` has it: `url`, `contact`, `ca-url`, `status`, `eab`, …
    pub json: Value,
    pub key: PrivateKey,
}

/// What this node's renewal of an MD is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Need {
    /// An operator has asked for it (`a2md renew`): no next try of the fleet holds it back.
    pub is_asked: bool,
    /// This node has no certificate of the MD that clients accept: missing, expired or revoked.
    pub is_bare: bool,
    /// The certificates in use end within a twentieth of their lifetime.
    pub is_late: bool,
    /// What is in use would do, but for its key types, CA, profile or must-staple.
    pub is_only_different: bool,
    /// How many tries in a row have failed.
    pub errors: u32,
    /// When the last one of them began. `None`: there is none, or another one is under way.
    pub failed_at: Option<Timestamp>,
}

/// Why a renewal does not begin now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotNow {
    /// When to look again.
    pub until: Timestamp,
    /// For status pages and logs, as the end of "the renewal waits: ".
    pub reason: String,
    /// The node that renews, by its name.
    pub node: Option<String>,
}

/// The node no longer renews this MD: its lease has ended, or another set is in force. What it has got stays
/// in staging, unserved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub String);

/// The renewal of one MD by this node. Dropped, the next one may begin, here or elsewhere. In a solo turn every
/// call is made as in any other; `may_ask` and `save` then answer `Ok`, and `publish` notes the generation.
pub trait Turn: Send + Sync {
    /// Whether the engine is away, and this node renews by itself.
    fn is_solo(&self) -> bool;

    /// How far the fleet had come when the turn began.
    fn job(&self) -> Option<&SharedJob>;

    /// To be called directly before each request that a CA counts: new account, new order, start of a challenge,
    /// finalize. Waits for the engine where it has not confirmed the node's lease in the last five seconds.
    fn may_ask(&self) -> Result<(), Lost>;

    /// Whether another node may have the renewal by now, as far as this one knows: nobody is asked.
    fn check(&self) -> Result<(), Lost>;

    /// The next node goes on from here. The keys of an order MUST have been saved before it is finalized; a
    /// failure is saved with its next try.
    fn save(&self, job: &SharedJob) -> Result<(), Lost>;

    /// Has all nodes serve this set, which ends the fleet's job for the MD.
    fn publish(&self, set: &SharedSet) -> Result<(), Lost>;

    /// The CA is at work, or the process ends: the next look is this node's as well, for as long as its lease
    /// holds.
    fn keep(self: Box<Self>);
}

/// The registration of an account, which one node makes for all. Dropped, the next one may begin.
pub trait Registering: Send {
    /// The account that the fleet has.
    fn account(&self) -> Option<SharedAccount>;

    /// To be called directly before the registration.
    fn may_ask(&self) -> Result<(), Lost>;

    /// Has all nodes use this account.
    fn publish(&self, account: &SharedAccount) -> Result<(), Lost>;
}

/// An answer to a challenge that any node gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedAnswer {
    /// `http-01`, `tls-alpn-01`, or `dns-01` and `dns-account-01` where httpd is the name server.
    pub type_: String,
    /// Of the authorization, without `*.`; for TXT records the whole name of the record.
    pub dns_name: String,
    /// The MD that it is for.
    pub owner: String,
    /// The key authorization (RFC 8555 §8.1); for TXT records the value.
    pub answer: String,
}

/// The nodes of a fleet. Every call may be made by any thread; those that wait for the engine say so.
pub trait Peers: Send + Sync {
    /// Whether renewals may be looked at: what the fleet has was read once, or the engine is away, or this node
    /// has waited long enough to know that another process on this machine replicates the store (which then
    /// renews as well: `begin` says so).
    fn is_ready(&self) -> bool;

    /// The DNS names that live nodes list for an MD of this name, without those of this node.
    fn names_of_others(&self, name: &str) -> Vec<String>;

    /// Whether this node is the one that asks CA and responder for advice and OCSP responses of this MD.
    fn asks(&self, name: &str) -> bool;

    /// Begins to renew. Waits for the engine.
    fn begin(&self, name: &str, need: &Need) -> Result<Box<dyn Turn>, NotNow>;

    /// Begins to look for an account of this CA and external account, or to register one. Waits for the engine,
    /// and while another node registers.
    fn registering(&self, ca: &str, eab_kid: Option<&str>) -> Result<Box<dyn Registering>, Lost>;

    /// The key of the account that the fleet has for these, as far as this node has heard. Never waits.
    fn account_key(&self, ca: &str, eab_kid: Option<&str>) -> Option<PrivateKey>;

    /// Has all nodes give this answer. Waits for the engine.
    fn present(&self, answer: &SharedAnswer) -> Result<(), Lost>;

    /// Waits until every live node has the answers presented for this MD, five seconds at most. The answer:
    /// names of nodes that had not.
    fn await_presented(&self, name: &str) -> Vec<String>;

    /// No node answers challenges of this MD any more.
    fn withdraw_answers(&self, name: &str);

    /// The CA asked this node to wait: all nodes do. `name`: for this MD alone.
    fn hold(&self, limit: &RateLimit, name: Option<&str>);

    /// What CAs have asked other nodes for, in force at `now`.
    fn holds(&self, now: Timestamp) -> Vec<(RateLimit, Option<String>)>;

    /// When the CA wants the set in force to be renewed.
    fn share_renew_at(&self, name: &str, at: Timestamp);

    /// An OCSP response that this node has verified, by the file name that the store gives it.
    fn share_response(&self, name: &str, file: &str, response: &[u8]);

    /// Writes a set of the fleet that this MD is to have into staging, if there is one. To be called by each look
    /// at the MD before it reads anything there: so no look finds one half of a set. Never waits for the engine.
    fn bring_in(&self, name: &str);

    /// The MDs, by name, that have something new since the last call: a set to bring into use, a lock that has
    /// gone. Never waits.
    fn take_news(&self) -> Vec<String>;
}

/// Takes OCSP responses that other nodes have got.
pub trait SharedResponses: Send + Sync {
    /// Verifies a response and has all processes staple it.
    fn take(&self, name: &str, file: &str, response: &[u8], now: Timestamp) -> Result<(), Unused>;
}

/// Why an OCSP response of another node is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unused {
    /// Its certificate is not stapled here: not yet, or not any more.
    OfNone,
    /// For this reason.
    Refused(String),
}
