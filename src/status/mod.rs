//! md-status: what is valid, what happens next and what went wrong, as JSON.
//!
//! Keys are those of the C module, in its order; ours are added and never change one of these. Secrets do
//! not get here: the EAB hmac is masked by the model, keys are not read.

mod activation;

use crate::crypto::CertInfo;
use crate::model::Job;
use crate::renew::ari;
use crate::renew::policy::{self, Decision};
use crate::renew::staging::Staging;
use crate::renew::state::{self, KeyedCert};
use crate::renew::{Managed, Served};
use crate::store::WorkStore;
use crate::time::Timestamp;
use serde_json::{Map, Value, json};

/// All managed domains, sorted by name, without the logs of their jobs.
pub fn list(mds: &[Managed], store: Option<&WorkStore>, now: Timestamp) -> String {
    let mut sorted: Vec<&Managed> = mds.iter().collect();
    sorted.sort_by(|a, b| a.md.name.cmp(&b.md.name));
    let entries: Vec<Value> = sorted.iter().map(|m| entry(m, store, now, false)).collect();
    pretty(&json!({"version": crate::VERSION, "managed-domains": entries}))
}

/// One managed domain, with the log of its job.
pub fn one(managed: &Managed, store: &WorkStore, now: Timestamp) -> String {
    pretty(&entry(managed, Some(store), now, true))
}

/// The answer for a name that no managed domain has.
pub fn unknown(name: &str) -> String {
    pretty(&json!({"error": "unknown-domain", "detail": format!("no managed domain has the name '{name}'")}))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn entry(managed: &Managed, store: Option<&WorkStore>, now: Timestamp, with_log: bool) -> Value {
    let current = managed.current();
    let mut out = match current.to_public_json() {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let served = managed.served();
    if let Served::Live(_) = served {
        let (state, descr) = state::assess(&managed.md, &served);
        out.insert("state".into(), json!(state as i32));
        match descr {
            Some(descr) => out.insert("state-descr".into(), json!(descr)),
            None => out.shift_remove("state-descr"),
        };
    }
    out.insert("cert".into(), certs_json(managed, &served));
    // Also where the admin renews: monitors want to know when it is time.
    // What CAs advised that cannot be read is asked anew by the renewing child.
    let entries =
        store.and_then(|store| Staging::new(store, &managed.md.name).ari().ok()).unwrap_or_default();
    let advice = ari::earliest(&entries, &served).filter(|_| managed.md.ari_renewals);
    let decision = policy::need(&current, &served, advice, now);
    let (renew_at, due, reason) = match decision {
        Decision::Now(reason) => (Some(now), true, reason),
        Decision::At(at, reason) => (Some(at), false, reason),
        Decision::Never(reason) => (None, false, reason),
    };
    if let Some(at) = renew_at {
        out.insert("renew-at".into(), json!(at.to_http_date()));
    }
    if let Some(advice) = advice {
        out.insert("ari".into(), advice.to_json());
    }
    out.insert("watched".into(), json!(managed.watched));
    if due {
        out.insert("renew".into(), json!(true));
    }
    let staged = store.and_then(|store| staged(managed, store));
    let newest = staged.as_ref().map(|(job, certs)| (job, certs.as_slice()));
    if let Some(activation) = activation::activation(managed, newest) {
        out.insert("activation".into(), activation);
    }
    if let Some(mut renewal) = staged.and_then(|(job, certs)| renewal(managed, &job, &certs, with_log)) {
        renewal.insert("reason".into(), json!(reason));
        out.insert("renewal".into(), Value::Object(renewal));
    }
    Value::Object(out)
}

/// The job under way or waiting for activation, and the certificates it has got; `None` when idle.
fn staged(managed: &Managed, store: &WorkStore) -> Option<(Job, Vec<KeyedCert>)> {
    // A job that cannot be read shows as none; the renewing child reports it and begins it anew.
    let staging = Staging::new(store, &managed.md.name);
    let job = staging.job().ok().flatten()?;
    let look = |spec| {
        let chain = staging.chain(&spec).ok().flatten();
        (spec, chain.map(|chain| CertInfo::from_chain(&chain)))
    };
    Some((job, managed.md.keys().into_iter().map(look).collect()))
}

fn renewal(managed: &Managed, job: &Job, staged: &[KeyedCert], with_log: bool) -> Option<Map<String, Value>> {
    let json = if with_log { job.to_json() } else { job.to_brief_json() };
    let Value::Object(mut out) = json else { return None };
    out.insert("cert".into(), certs_json(managed, staged));
    Some(out)
}

/// Certificates by key, and the period common to all. `{}` without any.
fn certs_json(managed: &Managed, certs: &[KeyedCert]) -> Value {
    let mut out = Map::new();
    let mut common: Option<(Timestamp, Timestamp)> = None;
    for (index, (spec, info)) in certs.iter().enumerate() {
        let Some(info) = info else { continue };
        // Static files have no configured kind of key: their place in the list names them.
        let label = if managed.md.has_static_files() { index.to_string() } else { spec.label().to_string() };
        out.insert(label, info.to_json());
        let (from, until) = common.unwrap_or((info.not_before, info.not_after));
        common = Some((from.max(info.not_before), until.min(info.not_after)));
    }
    if let Some((from, until)) = common {
        out.insert("valid".into(), json!({"from": from.to_http_date(), "until": until.to_http_date()}));
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Eab, KeySpec, Md};
    use crate::renew::Route;
    use crate::store::StartStore;
    use crate::time::DAY;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn cert(from_days_ago: u32, left_days: u32) -> CertInfo {
        CertInfo {
            dns_names: vec!["a.test".into()],
            not_before: NOW.minus(DAY * from_days_ago),
            not_after: NOW.plus(DAY * left_days),
            serial: "00AB".into(),
            ..CertInfo::default()
        }
    }

    fn managed(name: &str, certs: Vec<KeyedCert>) -> Managed {
        let md = Md { name: name.into(), domains: vec![name.into()], ..Md::default() };
        Managed {
            md,
            certs,
            in_use: true,
            watched: true,
            dns01: None,
            route: Route::default(),
            live: Default::default(),
        }
    }

    fn parse(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_list_is_sorted_by_name_and_has_no_logs() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap().worker();
        let mut job = Job::new("a.test");
        job.note(NOW, "starting", None, None);
        Staging::new(&store, "a.test").save_job(&job).unwrap();
        let mds = [managed("b.test", vec![]), managed("a.test", vec![(KeySpec::default(), None)])];
        let all = parse(&list(&mds, Some(&store), NOW));
        assert_eq!(all["version"], crate::VERSION);
        let names: Vec<_> = all["managed-domains"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
        assert_eq!(names, ["a.test", "b.test"]);
        assert_eq!(all["managed-domains"][0]["renewal"].get("log"), None);
        assert_eq!(all["managed-domains"][0]["renewal"]["reason"], "certificate(rsa) is missing");
        assert_eq!(all["managed-domains"][1].get("renewal"), None);
        assert_eq!(parse(&one(&mds[1], &store, NOW))["renewal"]["log"]["entries"][0]["type"], "starting");
    }

    #[test]
    fn certificates_stand_by_key_with_the_period_common_to_all() {
        let p256 = KeySpec::Ec("P-256".into());
        let certs = vec![(KeySpec::default(), Some(cert(10, 80))), (p256, Some(cert(5, 70)))];
        let json = certs_json(&managed("a.test", vec![]), &certs);
        assert_eq!(json["rsa"]["serial"], "00AB");
        assert_eq!(json["P-256"]["valid"]["until"], NOW.plus(DAY * 70).to_http_date());
        assert_eq!(json["valid"]["from"], NOW.minus(DAY * 5).to_http_date());
        assert_eq!(json["valid"]["until"], NOW.plus(DAY * 70).to_http_date());
        assert_eq!(certs_json(&managed("a.test", vec![]), &[(KeySpec::default(), None)]), json!({}));
        let mut with_files = managed("a.test", vec![]);
        with_files.md.cert_files = vec!["/x".into(), "/y".into()];
        let keys: Vec<_> = certs_json(&with_files, &certs).as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["0", "1", "valid"]);
    }

    #[test]
    fn it_says_when_the_renewal_is_due_and_only_then_that_it_is() {
        let later =
            entry(&managed("a.test", vec![(KeySpec::default(), Some(cert(1, 89)))]), None, NOW, false);
        assert!(later.get("renew").is_none());
        let window = (DAY * 90).mul_f64(0.33);
        assert_eq!(later["renew-at"], NOW.plus(DAY * 89).minus(window).to_http_date());
        let due = entry(&managed("a.test", vec![(KeySpec::default(), Some(cert(80, 10)))]), None, NOW, false);
        assert_eq!((&due["renew"], &due["renew-at"]), (&json!(true), &json!(NOW.to_http_date())));
    }

    #[test]
    fn the_secret_of_an_external_account_is_masked() {
        let mut with_eab = managed("a.test", vec![]);
        with_eab.md.eab = Some(Eab { kid: "kid".into(), hmac: "c2VjcmV0".into() });
        let json = entry(&with_eab, None, NOW, true);
        assert_eq!(json["eab"], json!({"kid": "kid", "hmac": "***"}));
    }
}
