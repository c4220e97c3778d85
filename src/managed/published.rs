// SPDX-License-Identifier: Apache-2.0
//! Sets that go live without a restart.
//!
//! The renewing child writes a complete set, when its time has come, into one file in staging:
//! `staging/NAME/live.json`, replaced atomically, so that no process reads half of one set and half of
//! another. Workers receive a signal (`live::signals`), read the file and check it again;
//! if the check fails, they keep their former set. The file stays there while the next renewal runs in the
//! same folder, and the next restart moves the set to `domains`.

use super::bundle;
use super::bundle::{Bundle, Flaw};
use super::gate::Admitted;
use super::staging::Staging;
use crate::crypto::{self, CertInfo, Chain};
use crate::model::{Job, KeySpec, Md};
use crate::store::auth::{self, Author, Purpose};
use crate::store::{Error, Group, Rights, StartStore, Store, WorkGroup, WorkStore};
use crate::time::Timestamp;
use serde_json::{Value, json};

pub use super::staging::file::LIVE as FILE;
const GROUP: WorkGroup = WorkGroup::Staging;
/// More kinds of keys than any configuration can name.
const SETS_MAX: usize = 16;

/// A complete set, read whole.
pub struct Published {
    /// When it went live.
    pub since: Timestamp,
    /// The MD it was ordered for, with the CA in use.
    pub md: Md,
    /// The job that obtained it.
    pub job: Value,
    /// One for each key that the MD had then.
    pub sets: Vec<Bundle>,
}

/// Reads the set that is live for the MD `name`; `None` where there is none.
pub fn read<R: Rights>(store: &Store<R>, group: R::Group, name: &str) -> Result<Option<Published>, Flaw> {
    let Some(json) = store.read_json(group, name, FILE)? else { return Ok(None) };
    match author(store, name, &json) {
        Author::Ours => parse(store, group, &json).map(Some),
        Author::Unknown => Err(Flaw::Unsigned(FILE)),
        Author::Forger => Err(Flaw::Forged(FILE)),
    }
}

/// The same for a start, which also accepts a file of an earlier version, and whether the file is
/// authenticated.
pub fn read_at_start(store: &StartStore, name: &str) -> Result<Option<(Published, bool)>, Flaw> {
    let Some(json) = store.read_json(Group::Staging, name, FILE)? else { return Ok(None) };
    match author(store, name, &json) {
        Author::Forger => Err(Flaw::Forged(FILE)),
        author => Ok(Some((parse(store, Group::Staging, &json)?, author == Author::Ours))),
    }
}

/// The chains of the set that is live for the MD `name`, without its keys.
pub fn chains(store: &WorkStore, name: &str) -> Vec<Chain> {
    let record = store.read_json(GROUP, name, FILE).ok().flatten().unwrap_or_default();
    if author(store, name, &record) != Author::Ours {
        return Vec::new();
    }
    let sets = record.get("sets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let chain = |set: &Value| Chain::from_pem(set.get("pubcert")?.as_str()?.as_bytes()).ok();
    sets.iter().filter_map(chain).collect()
}

/// The parts of a live set that are shown.
pub struct Shown {
    pub since: Timestamp,
    /// The CA that issued it.
    pub ca_url: Option<String>,
    pub certs: Vec<(KeySpec, CertInfo)>,
}

/// The set that is live for the MD `name`, without its keys; `None` also where it cannot be used.
pub fn shown(store: &WorkStore, name: &str) -> Option<Shown> {
    let record = store.read_json(GROUP, name, FILE).ok()??;
    if author(store, name, &record) != Author::Ours {
        return None;
    }
    let cert = |set: &Value| {
        let chain = Chain::from_pem(set.get("pubcert")?.as_str()?.as_bytes()).ok()?;
        Some((KeySpec::from_json(set.get("privkey-spec")?)?, CertInfo::from_chain(&chain)))
    };
    let sets = record.get("sets")?.as_array()?;
    let certs: Vec<_> = sets.iter().take(SETS_MAX).filter_map(cert).collect();
    Some(Shown {
        since: Timestamp::parse_http_date(record.get("since")?.as_str()?)?,
        ca_url: record.get("md").and_then(Md::from_json)?.ca.url,
        certs,
    })
    .filter(|shown| !shown.certs.is_empty())
}

fn author<R: Rights>(store: &Store<R>, name: &str, record: &Value) -> Author {
    store.author(Purpose::Live, name, &auth::bare(record), record.get(auth::FIELD))
}

/// Signs the live set of one name for another one, to whose folder it will be moved. A file without our code
/// stays as it is.
pub(crate) fn sign_over(store: &StartStore, folder: &str, name: &str) -> Result<(), Error> {
    match store.read_json(Group::Staging, folder, FILE) {
        Ok(Some(record)) if author(store, folder, &record) == Author::Ours => {
            store.write_json(Group::Staging, folder, FILE, &signed(store, name, record)?)
        }
        _ => Ok(()),
    }
}

fn signed<R: Rights>(store: &Store<R>, name: &str, record: Value) -> Result<Value, Error> {
    let mut record = auth::bare(&record);
    let code = store.vouch(Purpose::Live, name, &record)?;
    if let Value::Object(fields) = &mut record {
        fields.insert(auth::FIELD.into(), json!(code));
    }
    Ok(record)
}

fn parse<R: Rights>(store: &Store<R>, group: R::Group, json: &Value) -> Result<Published, Flaw> {
    let unusable = |what: &str| Flaw::Unusable(format!("there is no usable {what} in {FILE}"));
    let since = json.get("since").and_then(Value::as_str).and_then(Timestamp::parse_http_date);
    let since = since.ok_or_else(|| unusable("date"))?;
    let ordered = json.get("md").and_then(Md::from_json).ok_or(Flaw::NoMd)?;
    let entries = json.get("sets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut sets = Vec::new();
    for entry in entries.iter().take(SETS_MAX) {
        let spec = entry.get("privkey-spec").and_then(KeySpec::from_json);
        let spec = spec.ok_or_else(|| unusable("kind of key"))?;
        let pem = |what: &str| {
            let text = entry.get(what).and_then(Value::as_str);
            text.map(str::as_bytes).ok_or_else(|| unusable(what))
        };
        let broken = |what: &str, error: crypto::Error| {
            Flaw::Unusable(format!("the {what} of {} in {FILE}: {error}", spec.label()))
        };
        let chain = Chain::from_pem(pem("pubcert")?).map_err(|e| broken("chain", e))?;
        let key = store.open_key(group, pem("privkey")?).map_err(|e| broken("private key", e))?;
        sets.push(Bundle::from_sent(spec, key, chain)?.0);
    }
    if sets.is_empty() {
        return Err(unusable("certificate"));
    }
    let job = json.get("job").cloned().unwrap_or(Value::Null);
    Ok(Published { since, md: ordered, job, sets })
}

/// The complete set in staging, and the MD it was ordered for. `known`: the set, where it need not be read.
/// If the set was read, `job.trial` keeps only its authenticated part.
pub fn staged(
    store: &WorkStore,
    job: &mut Job,
    known: Option<Vec<Bundle>>,
) -> Result<(Md, Vec<Bundle>), Flaw> {
    let name = &job.name;
    let ordered = Staging::new(store, name).md()?.ok_or(Flaw::NoMd)?;
    if let Some(sets) = known {
        return Ok((ordered, sets));
    }
    let load = |spec| bundle::load(store, GROUP, name, &spec);
    let sets: Vec<Bundle> = ordered.keys().into_iter().map(load).collect::<Result<_, Flaw>>()?;
    job.trial = bundle::trial(store, job, &ordered, &sets)?;
    Ok((ordered, sets))
}

/// The certificates in staging, where there is one for each key it was ordered with.
pub fn staged_certs(store: &WorkStore, name: &str) -> Option<Vec<(KeySpec, CertInfo)>> {
    let staging = Staging::new(store, name);
    let cert = |spec: KeySpec| {
        let info = CertInfo::from_chain(&staging.chain(&spec).ok()??);
        Some((spec, info))
    };
    staging.md().ok()??.keys().into_iter().map(cert).collect()
}

impl Published {
    /// `ordered`: the MD it was ordered for.
    pub fn new(now: Timestamp, ordered: &Md, job: &Job, sets: Admitted) -> Self {
        // The binding to an external account is a secret, and of no use here.
        let md = Md { eab: None, ..ordered.clone() };
        // The job in staging has the notifications about it, until the next renewal.
        let job = Job { notified: true, notified_renewed: true, ..job.clone() };
        // As the file has it.
        Published { since: Timestamp::from_unix(now.unix()), md, job: job.to_json(), sets: sets.into_sets() }
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
        store.write_json(GROUP, name, FILE, &signed(store, name, record)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::NOW;
    use crate::managed::live_set::LiveSet;

    use crate::managed::fixture::{Lab, md};
    use crate::store::Group;

    #[test]
    fn what_is_published_is_read_again_with_key_and_chain() {
        let lab = Lab::new();
        let md = md(&["a.test"]);
        let set = lab.set(&["a.test"], &md.keys()[0]);
        let fingerprint = set.info.fingerprint.clone();
        let worker = lab.store.worker();
        let set = Published::new(NOW, &md, &Job::new("a.test"), Admitted::untried(vec![set]));
        set.write(&worker, "a.test").unwrap();
        let read = read(&lab.store, Group::Staging, "a.test").unwrap().unwrap();
        assert_eq!((read.since, read.sets.len()), (NOW, 1));
        assert!(read.sets[0].chain.leaf().matches_key(&read.sets[0].key));
        let cert = CertInfo { fingerprint, ..CertInfo::default() };
        assert!(LiveSet::new(&read, &md.keys()).unwrap().is_of([&cert].into_iter()));
        assert!(!LiveSet::new(&read, &md.keys()).unwrap().is_of([].into_iter()));
        let file = std::fs::read_to_string(lab.root().join("staging/a.test/live.json")).unwrap();
        assert!(file.contains("BEGIN ENCRYPTED PRIVATE KEY"), "{file}");
    }

    #[test]
    fn a_published_set_with_matching_key_and_chain_is_read() {
        let lab = Lab::new();
        let a = md(&["a.test"]);
        let worker = lab.store.worker();
        let publish = |set| {
            Published::new(NOW, &a, &Job::new("a.test"), Admitted::untried(vec![set]))
                .write(&worker, "a.test")
                .unwrap();
        };
        publish(lab.set(&["a.test"], &a.keys()[0]));
        let published = read(&worker, GROUP, "a.test").unwrap().unwrap();
        let set = LiveSet::new(&published, &[KeySpec::default()]).unwrap();
        assert_eq!((set.certs.keyed[0].1.is_some(), set.certs.spare.len()), (false, 1));
        let other = lab.set(&["a.test"], &a.keys()[0]);
        publish(Bundle { key: other.key, ..lab.set(&["a.test"], &a.keys()[0]) });
        let flaw = read(&worker, GROUP, "a.test").map(|_| ()).unwrap_err().to_string();
        assert!(flaw.contains("private key"), "{flaw}");
        worker
            .write_json(GROUP, "a.test", FILE, &json!({"since": NOW.to_http_date(), "md": a.to_json()}))
            .unwrap();
        assert!(read(&worker, GROUP, "a.test").is_err(), "without any certificate");
    }
}
