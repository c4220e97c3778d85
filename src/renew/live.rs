//! Sets that go live without a restart.
//!
//! The renewing child puts a complete set, when its time has come, into one file beside what is staged:
//! `staging/NAME/live.json`, replaced whole or not at all, so that nobody ever reads half of one set and half of
//! another. Workers are told (shared counters in the httpd layer), read it and check it once more; what is wrong with
//! it leaves them with what they had. It stays there while the next renewal goes on in the same folder, and the
//! next restart moves it to `domains`.

use super::set::{self, Flaw, KeyedSet};
use super::staging::Staging;
use super::state::{self, KeyedCert};
use crate::crypto::{self, CertInfo, Chain, Identity};
use crate::model::{Job, KeySpec, Md};
use crate::store::{Error, Rights, Store, WorkGroup, WorkStore};
use crate::time::Timestamp;
use arc_swap::{ArcSwapOption, Guard};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub const FILE: &str = "live.json";
const GROUP: WorkGroup = WorkGroup::Staging;

/// A complete set, read and checked.
pub struct Published {
    /// When it went live.
    pub since: Timestamp,
    /// The MD it was ordered for, with the CA in use.
    pub md: Md,
    /// The job that got it.
    pub job: Value,
    /// One for each key of the MD as it is configured now.
    pub sets: Vec<KeyedSet>,
}

/// Reads the set that is live for `md`; `None` where there is none. It serves `md` as it is configured now.
pub fn read<R: Rights>(
    store: &Store<R>,
    group: R::Group,
    md: &Md,
    now: Timestamp,
) -> Result<Option<Published>, Flaw> {
    let Some(json) = store.read_json(group, &md.name, FILE)? else { return Ok(None) };
    let unusable = |what: &str| Flaw::Unusable(format!("there is no usable {what} in {FILE}"));
    let since = json.get("since").and_then(Value::as_str).and_then(Timestamp::parse_http_date);
    let since = since.ok_or_else(|| unusable("date"))?;
    let ordered = json.get("md").and_then(Md::from_json).ok_or(Flaw::NoMd)?;
    let entries = json.get("sets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut sets = Vec::new();
    for spec in md.keys() {
        let is_its = |entry: &&Value| {
            entry.get("privkey-spec").and_then(KeySpec::from_json).is_some_and(|s| s.same_type(&spec))
        };
        let entry = entries.iter().find(is_its).ok_or_else(|| Flaw::Missing(spec.label().into()))?;
        let pem = |what: &str| {
            let text = entry.get(what).and_then(Value::as_str);
            text.map(str::as_bytes).ok_or_else(|| unusable(what))
        };
        let broken = |what: &str, error: crypto::Error| {
            Flaw::Unusable(format!("the {what} of {} in {FILE}: {error}", spec.label()))
        };
        let chain = Chain::from_pem(pem("pubcert")?).map_err(|e| broken("chain", e))?;
        let key = store.open_key(group, pem("privkey")?).map_err(|e| broken("private key", e))?;
        let set = KeyedSet::new(spec, key, chain)?;
        set.check(md, now)?;
        sets.push(set);
    }
    let job = json.get("job").cloned().unwrap_or(Value::Null);
    Ok(Some(Published { since, md: ordered, job, sets }))
}

/// The complete set in staging, and the MD it was ordered for.
pub fn staged(store: &WorkStore, md: &Md, now: Timestamp) -> Result<(Md, Vec<KeyedSet>), Flaw> {
    let ordered = Staging::new(store, &md.name).md()?.ok_or(Flaw::NoMd)?;
    let load = |spec| {
        let set = set::load(store, GROUP, &md.name, &spec)?;
        set.check(md, now).map(|()| set)
    };
    Ok((ordered, md.keys().into_iter().map(load).collect::<Result<_, Flaw>>()?))
}

/// Makes a complete set the live one.
pub fn publish(
    store: &WorkStore,
    name: &str,
    ordered: &Md,
    job: &Job,
    sets: &[KeyedSet],
    now: Timestamp,
) -> Result<(), Error> {
    let mut entries = Vec::new();
    for set in sets {
        let key = store.seal_key(GROUP, &set.key)?;
        entries.push(json!({
            "privkey-spec": set.spec.to_json(),
            "privkey": String::from_utf8_lossy(&key),
            "pubcert": String::from_utf8_lossy(&set.chain.to_pem()),
        }));
    }
    // The binding to an external account is a secret, and of no use here.
    let ordered = Md { eab: None, ..ordered.clone() };
    let record = json!({
        "since": now.to_http_date(),
        "md": ordered.to_json(),
        "job": job.to_json(),
        "sets": entries,
    });
    store.write_json(GROUP, name, FILE, &record)
}

/// When a complete set may take the place of the one in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Now,
    At(Timestamp),
    /// As soon as there is an OCSP response for it: clients refuse it without (RFC 7633).
    Stapled,
}

/// `delay` is `MDActivationDelay`. Where nothing good is in use, nothing waits.
pub fn due(
    md: &Md,
    in_use: &[KeyedCert],
    new: &[CertInfo],
    delay: Duration,
    has_staple: bool,
    now: Timestamp,
) -> Due {
    let start = new.iter().map(|cert| usable_from(cert, delay)).max().unwrap_or(now);
    if now < start && state::is_good(md, in_use, now) {
        return Due::At(start);
    }
    let needs_staple = new.iter().any(|cert| cert.must_staple) && !has_staple;
    if needs_staple && state::are_valid(in_use, now) { Due::Stapled } else { Due::Now }
}

/// For clients whose clocks are late a certificate has to be valid for a while.
pub fn usable_from(cert: &CertInfo, delay: Duration) -> Timestamp {
    cert.not_before.plus(delay)
}

/// Until when a live set is not replaced, although it is due already. A window that takes up most of a certificate's
/// lifetime (`MDRenewWindow 30d` with certificates of six days) would have each set replaced as soon as it is there.
pub fn rests_until(md: &Md, set: &LiveSet, pause: Duration) -> Timestamp {
    let rest = |cert: &CertInfo| {
        let lifetime = cert.not_after.since(cert.not_before);
        (md.renew_window.of(lifetime) > lifetime * 2 / 3).then(|| cert.not_before.plus(lifetime / 3))
    };
    let rests = set.certs.iter().filter_map(|(_, cert)| rest(cert.as_ref()?));
    rests.fold(set.since.plus(pause), Timestamp::max)
}

/// What handshakes and status pages need of a live set.
pub struct LiveSet {
    pub since: Timestamp,
    pub certs: Vec<KeyedCert>,
    pub identities: Vec<Identity>,
}

impl LiveSet {
    pub fn new(published: &Published) -> Result<Self, crypto::Error> {
        let identities = published.sets.iter().map(|set| Identity::new(&set.key, &set.chain));
        Ok(LiveSet {
            since: published.since,
            certs: published.sets.iter().map(|set| (set.spec.clone(), Some(set.info.clone()))).collect(),
            identities: identities.collect::<Result<_, _>>()?,
        })
    }

    /// Whether it has exactly these certificates.
    pub fn is_of(&self, certs: &[CertInfo]) -> bool {
        let own = self.certs.iter().filter_map(|(_, cert)| cert.as_ref());
        own.map(|cert| &cert.fingerprint).eq(certs.iter().map(|cert| &cert.fingerprint))
    }
}

/// Where the processes of a server keep the live set of one MD: read without a lock.
#[derive(Clone, Default)]
pub struct Slot(Arc<Inner>);

#[derive(Default)]
struct Inner {
    set: ArcSwapOption<LiveSet>,
    is_attached: AtomicBool,
}

impl Slot {
    /// `None`: what was in use at the start still is.
    pub fn load(&self) -> Guard<Option<Arc<LiveSet>>> {
        self.0.set.load()
    }

    pub fn store(&self, set: LiveSet) {
        self.0.set.store(Some(Arc::new(set)));
    }

    /// Handshakes of a host look here.
    pub fn attach(&self) {
        self.0.is_attached.store(true, Ordering::Relaxed);
    }

    /// Whether a set in here is served; else only a restart brings a new one into use.
    pub fn is_attached(&self) -> bool {
        self.0.is_attached.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("since", &self.load().as_ref().map(|set| set.since)).finish()
    }
}

/// The processes that serve, as the renewing one knows them.
pub trait Workers: Send + Sync {
    /// A set was published for the MD of this index: all are to serve it, this process from now on.
    fn tell(&self, index: usize);

    /// Whether there is a good OCSP response for each of these certificates.
    fn have_staples(&self, index: usize, certs: &[CertInfo]) -> bool;
}
