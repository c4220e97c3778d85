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
use serde_json::{Value, json};
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

/// The complete set in staging, and the MD it was ordered for. `known`: the set, where it need not be read.
pub fn staged(
    store: &WorkStore,
    md: &Md,
    known: Option<Vec<KeyedSet>>,
    now: Timestamp,
) -> Result<(Md, Vec<KeyedSet>), Flaw> {
    let ordered = Staging::new(store, &md.name).md()?.ok_or(Flaw::NoMd)?;
    if let Some(sets) = known {
        return Ok((ordered, sets));
    }
    let load = |spec| {
        let set = set::load(store, GROUP, &md.name, &spec)?;
        set.check(md, now).map(|()| set)
    };
    Ok((ordered, md.keys().into_iter().map(load).collect::<Result<_, Flaw>>()?))
}

/// The certificates in staging, where there is one for each key.
pub fn staged_certs(store: &WorkStore, md: &Md) -> Option<Vec<CertInfo>> {
    let staging = Staging::new(store, &md.name);
    let cert = |spec| Some(CertInfo::from_chain(&staging.chain(&spec).ok()??));
    md.keys().into_iter().map(cert).collect()
}

impl Published {
    /// `ordered`: the MD it was ordered for.
    pub fn new(now: Timestamp, ordered: &Md, job: &Job, sets: Vec<KeyedSet>) -> Self {
        // The binding to an external account is a secret, and of no use here.
        let md = Md { eab: None, ..ordered.clone() };
        // As the file has it.
        Published { since: Timestamp::from_unix(now.unix()), md, job: job.to_json(), sets }
    }

    /// Makes it the live set of the MD `name`.
    pub fn write(&self, store: &WorkStore, name: &str) -> Result<(), Error> {
        let mut entries = Vec::new();
        for set in &self.sets {
            let key = store.seal_key(GROUP, &set.key)?;
            entries.push(json!({
                "privkey-spec": set.spec.to_json(),
                "privkey": String::from_utf8_lossy(&key),
                "pubcert": String::from_utf8_lossy(&set.chain.to_pem()),
            }));
        }
        let record = json!({
            "since": self.since.to_http_date(),
            "md": self.md.to_json(),
            "job": self.job,
            "sets": entries,
        });
        store.write_json(GROUP, name, FILE, &record)
    }
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
    /// The CA that issued it.
    pub ca_url: Option<String>,
    pub certs: Vec<KeyedCert>,
    pub identities: Vec<Identity>,
}

impl LiveSet {
    pub fn new(published: &Published) -> Result<Self, crypto::Error> {
        let identities = published.sets.iter().map(|set| Identity::new(&set.key, &set.chain));
        Ok(LiveSet {
            since: published.since,
            ca_url: published.md.ca.url.clone(),
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

/// The processes that serve, as the renewing one knows them.
pub trait Workers: Send + Sync {
    /// This set was published for the MD of this index: all are to serve it, this process from now on.
    fn tell(&self, index: usize, set: LiveSet);

    /// Whether there is a good OCSP response for each of these certificates.
    fn have_staples(&self, index: usize, certs: &[CertInfo]) -> bool;
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Lab, md};
    use super::*;
    use crate::crypto::fixture::NOW;
    use crate::store::Group;
    use crate::time::{DAY, TimeSlice};

    fn cert(from: Timestamp, days: u32, must_staple: bool) -> CertInfo {
        let dns_names = vec!["a.test".into()];
        CertInfo {
            dns_names,
            not_before: from,
            not_after: from.plus(DAY * days),
            must_staple,
            ..CertInfo::default()
        }
    }

    fn in_use(cert: Option<CertInfo>) -> Vec<KeyedCert> {
        vec![(KeySpec::Ec("P-256".into()), cert)]
    }

    #[test]
    fn a_set_waits_for_its_time_only_where_a_good_one_is_in_use() {
        let new = [cert(NOW, 90, false)];
        let due = |old: Option<CertInfo>, new: &[CertInfo], delay| {
            due(&md(&["a.test"]), &in_use(old), new, delay, false, NOW)
        };
        let good = || Some(cert(NOW.minus(DAY * 80), 90, false));
        assert_eq!(due(good(), &new, Duration::ZERO), Due::Now);
        assert_eq!(due(good(), &new, DAY), Due::At(NOW.plus(DAY)));
        assert_eq!(due(good(), &[cert(NOW.plus(DAY), 90, false)], Duration::ZERO), Due::At(NOW.plus(DAY)));
        assert_eq!(due(None, &new, DAY), Due::Now);
        assert_eq!(due(Some(cert(NOW.minus(DAY * 90), 90, false)), &new, DAY), Due::Now, "it has expired");
    }

    #[test]
    fn a_must_staple_set_waits_for_its_response_while_the_old_one_is_valid() {
        let md = Md { must_staple: true, ..md(&["a.test"]) };
        let new = [cert(NOW, 90, true)];
        let old = in_use(Some(cert(NOW.minus(DAY * 80), 90, false)));
        assert_eq!(due(&md, &old, &new, Duration::ZERO, false, NOW), Due::Stapled);
        assert_eq!(due(&md, &old, &new, Duration::ZERO, true, NOW), Due::Now);
        assert_eq!(due(&md, &in_use(None), &new, Duration::ZERO, false, NOW), Due::Now);
    }

    #[test]
    fn a_window_longer_than_a_lifetime_does_not_replace_a_set_at_once() {
        let set = |days| LiveSet {
            ca_url: None,
            since: NOW,
            certs: in_use(Some(cert(NOW, days, false))),
            identities: Vec::new(),
        };
        let pause = Duration::from_secs(30);
        let month = Md { renew_window: TimeSlice::Length(DAY * 30), ..md(&["a.test"]) };
        assert_eq!(rests_until(&month, &set(90), pause), NOW.plus(pause));
        assert_eq!(rests_until(&month, &set(6), pause), NOW.plus(DAY * 2));
    }

    #[test]
    fn what_is_published_is_read_again_with_key_and_chain() {
        let lab = Lab::new();
        let md = md(&["a.test"]);
        let set = lab.set(&["a.test"], &md.keys()[0]);
        let fingerprint = set.info.fingerprint.clone();
        let worker = lab.store.worker();
        let set = Published::new(NOW, &md, &Job::new("a.test"), vec![set]);
        set.write(&worker, "a.test").unwrap();
        let read = read(&lab.store, Group::Staging, &md, NOW).unwrap().unwrap();
        assert_eq!((read.since, read.sets.len()), (NOW, 1));
        assert!(read.sets[0].chain.leaf().matches_key(&read.sets[0].key));
        assert!(LiveSet::new(&read).unwrap().is_of(&[CertInfo { fingerprint, ..CertInfo::default() }]));
        let file = std::fs::read_to_string(lab.root().join("staging/a.test/live.json")).unwrap();
        assert!(file.contains("BEGIN ENCRYPTED PRIVATE KEY"), "{file}");
    }

    #[test]
    fn a_published_set_that_does_not_serve_the_domain_is_refused() {
        let lab = Lab::new();
        let a = md(&["a.test"]);
        let worker = lab.store.worker();
        let publish = |set| {
            Published::new(NOW, &a, &Job::new("a.test"), vec![set]).write(&worker, "a.test").unwrap();
        };
        let flaw = |md: &Md, now| read(&worker, GROUP, md, now).map(|_| ()).unwrap_err().to_string();
        publish(lab.set(&["a.test"], &a.keys()[0]));
        assert!(flaw(&md(&["a.test", "b.test"]), NOW).contains("cover"));
        assert!(flaw(&a, NOW.plus(DAY * 999)).contains("expired"));
        assert!(flaw(&Md { key_specs: vec![KeySpec::default()], ..a.clone() }, NOW).contains("missing"));
        let other = lab.set(&["a.test"], &a.keys()[0]);
        publish(KeyedSet { key: other.key, ..lab.set(&["a.test"], &a.keys()[0]) });
        assert!(flaw(&a, NOW).contains("private key"));
    }
}
