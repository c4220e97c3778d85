// SPDX-License-Identifier: Apache-2.0
//! The output of all renderings for the same domains.

use super::*;
use crate::crypto::{CertInfo, Identities};
use crate::managed::certificates::KeyedCert;
use crate::managed::live_set::LiveSet;
use crate::managed::save_error::SaveError;
use crate::managed::serve::{Certs, Source};
use crate::managed::slot::{self, Slot};
use crate::managed::staging::Staging;
use crate::managed::{Host, Managed};
use crate::metrics::Metrics;
use crate::model::job::MESSAGE_FAILED;
use crate::model::{
    Eab, FleetReport, HeldBack, Job, KeySpec, Md, Outcome, RateLimit, Renewing, ReportedNode, RequestState,
    Requested, RetryState, Scope, Waiting,
};
use crate::ocsp::cache::Table;
use crate::renew::decide::ari::{Advice, Entry};
use crate::stapling::snapshot::Stapled;
use crate::store::{Error, StartStore, WorkStore};
use crate::time::{Clock, DAY, SystemClock, Timestamp};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

pub(super) const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
pub(super) const HOSTILE: &str =
    "</td></table><script>alert('x')</script>\n\"&\\\nManagedCertificatesTotal: 99\u{1b}[31m";

pub(super) fn cert(from_days_ago: u32, left_days: u32) -> CertInfo {
    CertInfo {
        dns_names: vec!["a.test".into(), "b.test".into()],
        not_before: NOW.minus(DAY * from_days_ago),
        not_after: NOW.plus(DAY * left_days),
        serial: "00AB".into(),
        fingerprint: "ab12".into(),
        ..CertInfo::default()
    }
}

pub(super) fn rsa(cert: Option<CertInfo>) -> Vec<KeyedCert> {
    vec![(KeySpec::default(), cert)]
}

pub(super) fn managed(name: &str, certs: Vec<KeyedCert>) -> Managed {
    let md = Md { name: name.into(), domains: vec![name.into()], ..Md::default() };
    let (state, state_descr) = crate::managed::certificates::assess(&md, &certs);
    let md = Md { state, state_descr, ..md };
    Managed { md, certs: certs.into(), in_use: true, watched: true, ..Managed::default() }
}

pub(super) fn store() -> (TempDir, WorkStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = StartStore::open(&dir.path().join("md"), None).unwrap().worker();
    (dir, store)
}

/// A renewal that was started.
pub(super) fn begun(name: &str) -> Job {
    Job { last_run: Some(NOW), ..Job::new(name) }
}

pub(super) fn snapshots(mds: Vec<Managed>, store: &WorkStore) -> Snapshots {
    Snapshots::new(mds.into(), Some(store.clone()))
}

fn list(snapshots: &Snapshots, now: Timestamp) -> Value {
    serde_json::from_str(&json::list(snapshots, &Table::default(), now)).unwrap()
}

fn single(managed: Managed) -> Value {
    let (_dir, store) = store();
    list(&snapshots(vec![managed], &store), NOW)["managed-domains"][0].clone()
}

pub(super) fn monitor() -> Monitor {
    Monitor { name: "crt.sh".into(), url: "https://crt.sh?q=".into() }
}

#[test]
fn the_list_is_sorted_by_name_and_has_no_logs() {
    let (_dir, store) = store();
    let mut job = begun("a.test");
    job.note(NOW, "starting", None, None);
    Staging::new(&store, "a.test").save_job(&job).unwrap();
    let snapshots = snapshots(vec![managed("b.test", vec![]), managed("a.test", rsa(None))], &store);
    let all = list(&snapshots, NOW);
    assert_eq!(all["version"], crate::VERSION);
    let names: Vec<_> = all["managed-domains"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
    assert_eq!(names, ["a.test", "b.test"]);
    let renewal = &all["managed-domains"][0]["renewal"];
    assert_eq!(renewal.get("log"), None);
    assert_eq!(renewal["reason"], "certificate(rsa) is missing");
    assert_eq!(renewal["next"], json!({"action": "finish"}));
    assert_eq!(all["managed-domains"][1].get("renewal"), None);
    let one: Value =
        serde_json::from_str(&json::one(&snapshots.one(1, NOW).unwrap(), &Table::default(), NOW)).unwrap();
    assert_eq!(one["renewal"]["log"]["entries"][0]["type"], "starting");
}

#[test]
fn a_renewal_has_a_reason_as_long_as_it_is_due() {
    for (certs, is_due) in [(rsa(None), true), (rsa(Some(cert(1, 89))), false)] {
        let (_dir, store) = store();
        Staging::new(&store, "a.test").save_job(&begun("a.test")).unwrap();
        let all = list(&snapshots(vec![managed("a.test", certs)], &store), NOW);
        assert_eq!(all["managed-domains"][0]["renewal"].get("reason").is_some(), is_due, "{all:#}");
    }
}

#[test]
fn a_request_is_shown_also_where_no_renewal_came_of_it() {
    let (_dir, store) = store();
    let refused = Requested::begin(None, "a", RequestState::Refused, Some("not concerned".into()), NOW);
    for (job, has_more) in [(Job::new("a.test"), false), (begun("a.test"), true)] {
        Staging::new(&store, "a.test").save_job(&Job { request: Some(refused.clone()), ..job }).unwrap();
        let all = list(&snapshots(vec![managed("a.test", rsa(Some(cert(1, 89))))], &store), NOW);
        let renewal = &all["managed-domains"][0]["renewal"];
        assert_eq!(renewal["request"], refused.to_json());
        assert_eq!(renewal.as_object().unwrap().len() > 1, has_more, "{renewal}");
        let status = if has_more { "renewing" } else { "ok" };
        assert_eq!(all["managed-domains"][0]["status"], status);
    }
}

#[test]
fn the_list_is_laid_out_as_one_document() {
    let (_dir, store) = store();
    for mds in [vec![], vec![managed("a.test", rsa(Some(cert(1, 89)))), managed("b.test", rsa(None))]] {
        let text = json::list(&snapshots(mds, &store), &Table::default(), NOW);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text, serde_json::to_string_pretty(&value).unwrap());
    }
}

#[test]
fn frequent_requests_get_what_was_read_ahead() {
    let (_dir, store) = store();
    // Enough domains for the snapshot to stay valid for eight milliseconds.
    let mds = (0..32).map(|n| managed(&format!("{n:02}.test"), rsa(None))).collect();
    let snapshots = snapshots(mds, &store);
    let begin = SystemClock::default().now();
    let at = |millis| begin.plus(Duration::from_millis(millis));
    let save = |errors| {
        Staging::new(&store, "00.test").save_job(&Job { errors, ..begun("00.test") }).unwrap();
    };
    let shown = |millis| list(&snapshots, at(millis))["managed-domains"][0]["renewal"]["errors"].clone();
    save(1);
    assert_eq!(shown(0), 1);
    save(2);
    assert_eq!(shown(12), 1, "nobody waits for what may have changed in so short a time");
    snapshots.keep_up(at(12));
    assert_eq!(shown(13), 2);
    save(3);
    snapshots.keep_up(at(24));
    save(4);
    snapshots.keep_up(at(36));
    assert_eq!(shown(37), 3, "nobody had asked");
    assert_eq!(shown(41), 4, "it is too old");
}

#[test]
fn a_new_response_shows_in_the_next_list() {
    use crate::ocsp::{Cache, cache, fixture, response};
    let (_dir, store) = store();
    let responder = fixture::Responder::new();
    let subject = std::sync::Arc::new(fixture::subject(&responder, "http://o.test"));
    let cert = CertInfo { id: subject.id, ..cert(1, 89) };
    let snapshots = snapshots(vec![managed("a.test", rsa(Some(cert)))], &store);
    let table = Cache::default();
    let ocsp = || {
        let text = json::list(&snapshots, &table.table(), NOW);
        let list: Value = serde_json::from_str(&text).unwrap();
        list["managed-domains"][0]["cert"]["rsa"]["ocsp"].clone()
    };
    let put = |response| table.put([cache::Entry { subject: subject.clone(), response }]);
    assert_eq!(ocsp(), Value::Null, "it is not stapled");
    put(None);
    assert_eq!(ocsp()["status"], "unknown");
    for days in [3, 4] {
        let (from, until) = (NOW.minus(DAY), NOW.plus(DAY * days));
        let response = response::Response { der: Vec::new(), status: response::Status::Good, from, until };
        put(Some(response.into()));
        assert_eq!(ocsp()["status"], "good");
        assert_eq!(ocsp()["valid"]["until"], until.to_http_date());
    }
}

/// The second is one of the clock that pages go by: a busy machine may let the test wait for longer.
#[test]
fn what_changes_on_disk_shows_within_a_second() {
    const SECOND: Duration = Duration::from_secs(1);
    let (_dir, store) = store();
    let managed = || snapshots(vec![managed("a.test", rsa(None))], &store);
    let errors = |snapshots: &Snapshots, now: Timestamp| {
        let all = list(snapshots, now);
        all["managed-domains"][0]["renewal"]["errors"].clone()
    };
    let now = || SystemClock::default().now();
    assert_eq!(errors(&managed(), now()), Value::Null);
    for count in 1..20 {
        let snapshots = managed();
        // Two changes at once, between which a look may fall.
        for of_job in [0, count] {
            let job = Job { errors: of_job, ..begun("a.test") };
            Staging::new(&store, "a.test").save_job(&job).unwrap();
            errors(&snapshots, now());
        }
        assert_eq!(errors(&snapshots, now().plus(SECOND)), json!(count));
    }
    let snapshots = managed();
    assert_ne!(errors(&snapshots, now()), Value::Null);
    store.purge(crate::store::WorkGroup::Staging, "a.test").unwrap();
    assert_eq!(errors(&snapshots, now().plus(SECOND)), Value::Null);
}

/// The C module writes a job marked finished after its notification that a certificate expires.
#[test]
fn a_finished_job_without_a_set_is_a_renewal_only_if_it_failed_or_lost_it() {
    let warned = Job { finished: true, notified: true, ..begun("a.test") };
    for (job, is_shown) in [
        (warned.clone(), false),
        (Job { errors: 2, ..warned.clone() }, true),
        (Job { valid_from: Some(NOW), ..warned.clone() }, true),
        (Job { finished: false, ..warned }, true),
    ] {
        let (_dir, store) = store();
        Staging::new(&store, "a.test").save_job(&job).unwrap();
        let snapshots = snapshots(vec![managed("a.test", rsa(Some(cert(85, 5))))], &store);
        assert_eq!(list(&snapshots, NOW)["managed-domains"][0].get("renewal").is_some(), is_shown, "{job:?}");
    }
}

#[test]
fn a_renewal_that_is_due_shows_since_when() {
    let (_dir, store) = store();
    let mds = vec![managed("a.test", rsa(Some(cert(80, 10)))), managed("b.test", rsa(None))];
    let snapshots = snapshots(mds, &store);
    let begin = NOW.plus(DAY * 10).minus((DAY * 90).mul_f64(0.33));
    // The second lacks its certificate, and is seen for the first time.
    for now in [NOW, NOW.plus(Duration::from_secs(5)), NOW.plus(DAY / 2)] {
        let all = list(&snapshots, now);
        for (md, since) in all["managed-domains"].as_array().unwrap().iter().zip([begin, NOW]) {
            assert_eq!((&md["renew"], &md["renew-at"]), (&json!(true), &json!(since.to_http_date())));
        }
    }
    let (_dir, store) = self::store();
    let mds = vec![managed("a.test", rsa(Some(cert(1, 89))))];
    let snapshots = self::snapshots(mds, &store);
    let later = &list(&snapshots, NOW)["managed-domains"][0];
    assert!(later.get("renew").is_none());
    assert_eq!(later["renew-at"], NOW.plus(DAY * 89).minus((DAY * 90).mul_f64(0.33)).to_http_date());
    assert_eq!(list(&snapshots, NOW.plus(DAY * 80))["managed-domains"][0]["renew"], true);
}

#[test]
fn certificates_stand_by_key_with_the_period_common_to_all() {
    let p256 = KeySpec::Ec("P-256".into());
    let certs = vec![(KeySpec::default(), Some(cert(10, 80))), (p256, Some(cert(5, 70)))];
    let json = single(managed("a.test", certs.clone()))["cert"].clone();
    assert_eq!(json["rsa"]["serial"], "00AB");
    assert_eq!(json["P-256"]["valid"]["until"], NOW.plus(DAY * 70).to_http_date());
    assert_eq!(json["valid"]["from"], NOW.minus(DAY * 5).to_http_date());
    assert_eq!(json["valid"]["until"], NOW.plus(DAY * 70).to_http_date());
    assert_eq!(single(managed("a.test", rsa(None)))["cert"], json!({}));
    let mut with_files = managed("a.test", certs);
    with_files.md.cert_files = vec!["/x".into(), "/y".into()];
    let keys: Vec<_> = single(with_files)["cert"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["0", "1", "valid"]);
}

#[test]
fn what_each_host_serves_stands_in_json_and_on_the_page() {
    let host =
        |name: &str, source| Host { name: name.into(), address: "*:443".into(), source, is_live: false };
    let with = |certs, hosts| Managed { hosts, ..managed("a.test", certs) };
    let (_dir, store) = store();
    let all = vec![
        host("a.test", Source::SelfSigned),
        host("b.test", Source::Own),
        host("c.test", Source::Md),
        host("d.test", Source::Static),
    ];
    let incomplete = with(rsa(None), all);
    let page = html::certificates(&snapshots(vec![incomplete.clone()], &store), &monitor(), NOW);
    for text in [
        "Self-signed certificate and 503: a.test.",
        "Own SSLCertificateFile served: b.test.",
        "The present certificate is served meanwhile: c.test, d.test.",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let hosts = single(incomplete)["hosts"].clone();
    let expected = [("a.test", "self-signed"), ("b.test", "file"), ("c.test", "md"), ("d.test", "md")];
    let expected = expected.map(|(name, by)| json!({"name": name, "address": "*:443", "served": by}));
    assert_eq!(hosts, json!(expected));
    let good = with(rsa(Some(cert(1, 89))), vec![host("a.test", Source::Md)]);
    let page = html::certificates(&snapshots(vec![good], &store), &monitor(), NOW);
    assert!(!page.contains("served") && !page.contains("Self-signed"), "{page}");
}

#[test]
fn a_certificate_of_a_former_key_shows_where_it_is_served() {
    let certs = Certs { keyed: vec![(KeySpec::Ec("P-256".into()), None)], spare: rsa(Some(cert(1, 89))) };
    let json = single(Managed { certs, ..managed("a.test", rsa(None)) });
    assert_eq!(json["cert"]["rsa"]["serial"], "00AB");
    assert_eq!(json["cert"].get("P-256"), None);
}

#[test]
fn the_secret_of_an_external_account_is_masked() {
    let mut with_eab = managed("a.test", vec![]);
    with_eab.md.eab = Some(Eab { kid: "kid".into(), hmac: "c2VjcmV0".into() });
    assert_eq!(single(with_eab)["eab"], json!({"kid": "kid", "hmac": "***"}));
}

#[test]
fn a_finished_renewal_waits_for_the_restart_that_activates_it() {
    let (_dir, store) = store();
    let job = Job { finished: true, ..Job::new("a.test") };
    Staging::new(&store, "a.test").save_job(&job).unwrap();
    let key = crate::crypto::PrivateKey::generate(&KeySpec::default()).unwrap();
    let chain = crate::crypto::fixture::Ca::new("CA").issue(&["a.test"], &key);
    Staging::new(&store, "a.test").save_chain(&KeySpec::default(), &chain).unwrap();
    let md = &list(&snapshots(vec![managed("a.test", rsa(None))], &store), NOW)["managed-domains"][0];
    assert_eq!(
        md["activation"],
        json!({"mode": "restart", "serial": chain.leaf().serial_hex(), "workers": 0})
    );
    assert_eq!(md["renewal"]["next"], json!({"action": "activate-on-restart"}));
}

#[test]
fn anyone_may_know_the_public_facts_alone() {
    let (_dir, store) = store();
    let facts = |domain: &Domain<'_>| -> Value { serde_json::from_str(&json::public(domain)).unwrap() };
    let idle = |certs| facts(&self::snapshots(vec![managed("a.test", certs)], &store).one(0, NOW).unwrap());
    assert_eq!(idle(rsa(None)), json!({"rsa": {}}));
    let valid = json!({"from": NOW.minus(DAY).to_http_date(), "until": NOW.plus(DAY * 89).to_http_date()});
    assert_eq!(
        idle(rsa(Some(cert(1, 89)))),
        json!({"valid": valid, "rsa": {"valid": valid, "serial": "00AB", "sha256-fingerprint": "ab12"}})
    );
    Staging::new(&store, "a.test").save_job(&begun("a.test")).unwrap();
    let snapshots = snapshots(vec![managed("a.test", rsa(None))], &store);
    let under_way = facts(&snapshots.one(0, NOW).unwrap());
    assert_eq!(under_way, json!({"rsa": {}, "renewal": {"cert": {}}}));
}

/// A domain whose renewal failed, with texts of a CA that means harm.
pub(super) fn hostile() -> (TempDir, Snapshots) {
    let (dir, store) = store();
    let mut bad = managed("bad.test", rsa(None));
    bad.md.ca.urls = vec![format!("javascript://{HOSTILE}")];
    bad.md.state_descr = Some(HOSTILE.into());
    let problem = Some(format!("urn:{HOSTILE}"));
    let last = Outcome { status: 22, problem, detail: Some(HOSTILE.into()), ..Outcome::default() };
    let next_run = Some(NOW.plus(Duration::from_secs(3 * 3600)));
    let job = Job { errors: 3, next_run, last, ..Job::new("bad.test") };
    Staging::new(&store, "bad.test").save_job(&job).unwrap();
    let mut long = managed("a.test", rsa(Some(cert(1, 89))));
    long.md.domains = (0..30).map(|n| format!("n{n}.a.test")).chain(["a.test".into()]).collect();
    long.certs.keyed[0].1.as_mut().unwrap().dns_names = long.md.domains.clone();
    let certificate = CertInfo { dns_names: vec!["c.test".into()], ..cert(90, 0) };
    let expired = managed("c.test", rsa(Some(certificate)));
    let snapshots = snapshots(vec![long, bad, expired], &store);
    (dir, snapshots)
}

#[test]
fn the_page_shows_problems_first_and_nothing_of_them_is_markup() {
    let (_dir, snapshots) = hostile();
    let page = html::certificates(&snapshots, &monitor(), NOW);
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("<tr class=")).collect();
    assert!(rows[0].starts_with("<tr class='even md_error'><td>bad.test<"), "{page}");
    assert!(
        rows[1].starts_with("<tr class='odd md_error'><td>c.test<") && rows[1].contains("expired"),
        "{page}"
    );
    assert!(rows[2].starts_with("<tr class='even'><td>a.test<"), "{page}");
    assert!(!page.contains("<script") && !page.contains("href='java"), "{page}");
    assert!(rows[0].contains("in ~3 hours") && rows[0].contains("(3 errors in a row)"), "{page}");
    assert!(rows[2].contains("<summary>and 27 more</summary>"), "{page}");
    assert!(rows[2].contains("<a href='https://crt.sh?q=ab12'>crt.sh[rsa]</a>"), "{page}");
    assert!(page.contains("3 managed domains: 1 no certificate, 1 expired, 1 ok; 1 in renewal"), "{page}");
    let (_dir, store) = store();
    assert_eq!(html::certificates(&self::snapshots(vec![], &store), &monitor(), NOW), "");
    let one = self::snapshots(vec![managed("a.test", rsa(None))], &store);
    assert!(html::certificates(&one, &monitor(), NOW).contains(">1 managed domain: "));
}

#[test]
fn the_page_shows_what_the_ca_advises_and_the_wait_it_asks_for() {
    let (_dir, store) = store();
    let info = CertInfo { ari_cert_id: Some("AKI.00".into()), ..cert(1, 89) };
    let advice = Advice {
        start: NOW.plus(DAY),
        end: NOW.plus(DAY * 2),
        renew_at: NOW.plus(Duration::from_secs(30 * 3600)),
        explanation: Some("https://ca.test/?<why>'".into()),
        checked: NOW,
    };
    let entry = Entry { cert_id: "AKI.00".into(), advice: Some(advice), next_check: NOW.plus(DAY) };
    let rate_limit = RateLimit {
        ca: "https://ca.test/directory".into(),
        scope: Scope::Name("<b>.test".into()),
        since: NOW,
        until: NOW.plus(Duration::from_secs(3600)),
    };
    let staging = Staging::new(&store, "a.test");
    let retry_state = RetryState { rate_limit: Some(rate_limit), ..RetryState::default() };
    staging.save_job(&Job { errors: 1, retry_state, ..begun("a.test") }).unwrap();
    staging.save_ari(&[entry]).unwrap();
    let snapshots = snapshots(vec![managed("a.test", rsa(Some(info)))], &store);
    let page = html::certificates(&snapshots, &monitor(), NOW);
    assert!(page.contains("The CA advises</span> to renew <span"), "{page}");
    assert!(page.contains("in ~30 hours"), "{page}");
    assert!(page.contains("<a href='https://ca.test/?&lt;why&gt;&#39;'>why</a>"), "{page}");
    assert!(page.contains("ca.test asked to wait with &lt;b&gt;.test, and is asked again <span"), "{page}");
    let later = html::certificates(&snapshots, &monitor(), NOW.plus(Duration::from_secs(3600)));
    assert!(!later.contains("asked to wait"), "{later}");
}

#[test]
fn waiting_for_the_ca_and_being_held_back_is_shown_and_no_error() {
    let (_dir, store) = store();
    let minute = Duration::from_secs(60);
    let waiting = Waiting {
        what: "validating <b>.test".into(),
        since: NOW.minus(minute),
        next: None,
        records: Vec::new(),
    };
    let last = Outcome { detail: Some("The CA has been validating.".into()), ..Outcome::default() };
    let next_run = Some(NOW.plus(minute));
    let job = Job { waiting: Some(waiting), last, next_run, ..begun("a.test") };
    Staging::new(&store, "a.test").save_job(&job).unwrap();
    let held = HeldBack::new("its window makes <no> sense", NOW.plus(DAY));
    let job = Job { held_back: Some(held), next_run: Some(NOW.plus(DAY)), ..Job::new("b.test") };
    Staging::new(&store, "b.test").save_job(&job).unwrap();
    let certs = || rsa(Some(cert(85, 5)));
    let snapshots = snapshots(vec![managed("a.test", certs()), managed("b.test", certs())], &store);
    let page = html::certificates(&snapshots, &monitor(), NOW);
    assert!(
        page.contains("The CA is validating &lt;b&gt;.test; it began <span")
            && page.contains("~60 seconds ago</span>, and is asked again <span")
            && page.contains(">in ~60 seconds</span>.<br></td>"),
        "{page}"
    );
    assert!(
        page.contains("<b>Held back</b> until") && page.contains("its window makes &lt;no&gt; sense."),
        "{page}"
    );
    assert!(!page.contains("Error["), "{page}");
    let all = list(&snapshots, NOW);
    let renewal = |index: usize| all["managed-domains"][index]["renewal"].clone();
    assert_eq!(renewal(0)["waiting"]["what"], "validating <b>.test");
    assert_eq!((&renewal(0)["next"]["action"], &renewal(0)["errors"]), (&json!("wait-for-ca"), &json!(0)));
    assert_eq!(renewal(1)["held-back"]["until"], NOW.plus(DAY).to_http_date());
    assert_eq!(renewal(1)["next"]["action"], "renew");
    let lines = text::certificates(&snapshots, &monitor(), NOW);
    assert!(lines.contains("ManagedDomain[0]ActivityLastDetail: The CA has been validating."), "{lines}");
    assert!(lines.contains("ManagedCertificatesErrored: 0"), "{lines}");
}

#[test]
fn the_records_that_an_admin_has_to_set_are_shown_as_they_are() {
    let (_dir, store) = store();
    let line = r#"_validation-persist.a.test. TXT "ca.test; accounturi=https://ca.test/<1>""#;
    let waiting = Waiting {
        what: "the TXT record of _validation-persist.a.test, where none is for this CA".into(),
        since: NOW.minus(Duration::from_secs(60)),
        next: None,
        records: vec![line.into()],
    };
    let next_run = Some(NOW.plus(Duration::from_secs(60)));
    let job = Job { waiting: Some(waiting), next_run, ..begun("a.test") };
    Staging::new(&store, "a.test").save_job(&job).unwrap();
    let snapshots = snapshots(vec![managed("a.test", rsa(Some(cert(85, 5))))], &store);
    let page = html::certificates(&snapshots, &monitor(), NOW);
    let shown = line.replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;");
    assert!(page.contains(&format!("Set in the DNS:<br><code>{shown}</code>")), "{page}");
    assert!(page.contains(", and looks again <span") && !page.contains("Error["), "{page}");
    let renewal = list(&snapshots, NOW)["managed-domains"][0]["renewal"].clone();
    assert_eq!(renewal["waiting"]["records"], json!([line]));
    assert_eq!((&renewal["next"]["action"], &renewal["errors"]), (&json!("wait-for-record"), &json!(0)));
}

#[test]
fn a_certificate_that_is_not_renewed_in_time_is_good_but_stands_out() {
    let (_dir, store) = store();
    let mut warned = Job::new("a.test");
    warned.note(NOW, "message-expiring", None, None);
    Staging::new(&store, "a.test").save_job(&warned).unwrap();
    let mut manual = managed("a.test", rsa(Some(cert(50, 40))));
    manual.md.renew_mode = crate::model::RenewMode::Manual;
    let snapshots = snapshots(vec![manual], &store);
    let status = |days: u32| {
        let page = html::certificates(&snapshots, &monitor(), NOW.plus(DAY * days));
        let lines = text::certificates(&snapshots, &monitor(), NOW.plus(DAY * days));
        let row = page.lines().find(|line| line.starts_with("<tr class='even")).unwrap().to_string();
        let status = lines.lines().find_map(|line| line.strip_prefix("ManagedDomain[0]Status: ")).unwrap();
        assert!(row.contains(&format!("<td>{status}</td>")), "{row}");
        let word = lines.lines().find_map(|line| line.strip_prefix("ManagedDomain[0]StatusWord: ")).unwrap();
        let said = if word == "expires-soon" { "expires in 8 days".into() } else { word.replace('-', " ") };
        assert!(row.contains(&format!("<b class='md_word'>{said}</b>")), "{row}");
        let all = snapshots.all(NOW.plus(DAY * days));
        let metrics = metrics::all(&all, &[], &Metrics::default().totals(), None, NOW.plus(DAY * days));
        let sample = format!("md_status{{domain=\"a.test\",status=\"{word}\"}} 1");
        assert!(metrics.lines().any(|line| line == sample), "{metrics}");
        assert_eq!(list(&snapshots, NOW.plus(DAY * days))["managed-domains"][0]["status"], word);
        (status.to_string(), word.to_string(), row.contains("md_warning"))
    };
    let is = |days, expected: (&str, &str, bool)| {
        assert_eq!(status(days), (expected.0.to_string(), expected.1.to_string(), expected.2));
    };
    is(0, ("good", "not-renewed", false));
    is(32, ("good", "expires-soon", true));
    is(40, ("expired", "expired", false));
    let md = &list(&snapshots, NOW.plus(DAY * 32))["managed-domains"][0];
    assert_eq!(md.get("renewal"), None, "what was warned is no renewal");
}

#[test]
fn a_domain_that_is_not_renewed_here_is_pending_and_explained() {
    let (_dir, store) = store();
    let never = |name: &str, change: fn(&mut Managed)| {
        let mut managed = managed(name, rsa(Some(cert(85, 5))));
        managed.md.domains = vec!["a.test".into()];
        change(&mut managed);
        managed
    };
    let snapshots = snapshots(
        vec![
            never("always.test", |m| m.md.renew_mode = crate::model::RenewMode::Always),
            never("files.test", |m| m.md.cert_files = vec!["x".into()]),
            never("hand.test", |m| m.md.renew_mode = crate::model::RenewMode::Manual),
            never("unused.test", |m| m.in_use = false),
        ],
        &store,
    );
    let page = html::certificates(&snapshots, &monitor(), NOW);
    let row = |name: &str| page.lines().find(|line| line.contains(&format!("<td>{name}</td>"))).unwrap();
    for (name, why) in [
        ("files.test", "not by this module: its certificate files are configured (MDCertificateFile)"),
        ("hand.test", "not by this module: renewal is manual (MDRenewMode)"),
        ("unused.test", "not by this module: no host uses it"),
    ] {
        assert!(row(name).contains("Pending: ") && row(name).contains(why), "{}", row(name));
    }
    assert!(!row("always.test").contains("not by this module"), "{}", row("always.test"));
    let lines = text::certificates(&snapshots, &monitor(), NOW);
    assert_eq!(lines.matches("Activity: Pending\n").count(), 4, "{lines}");
}

#[test]
fn meaningless_numbers_head_no_failure_and_a_failed_command_shows() {
    let (_dir, store) = store();
    let failed = |name: &str, status: i32| {
        let last = Outcome { status, detail: Some("the CA gave no reason".into()), ..Outcome::default() };
        Staging::new(&store, name).save_job(&Job { errors: 1, last, ..Job::new(name) }).unwrap();
    };
    failed("general.test", 20014);
    failed("part.test", 20022);
    failed("refused.test", 111);
    let mut warned = Job::new("warned.test");
    warned.fail_to_warn(MESSAGE_FAILED.into(), "exit code 1".into());
    Staging::new(&store, "warned.test").save_job(&warned).unwrap();
    let names = ["general.test", "part.test", "refused.test", "warned.test"];
    let mds = names.map(|name| managed(name, rsa(Some(cert(50, 40))))).to_vec();
    let page = html::certificates(&snapshots(mds, &store), &monitor(), NOW);
    let activity = |name: &str| {
        let row = page.lines().find(|line| line.contains(&format!("<td>{name}</td>"))).unwrap();
        row.rsplit("<td>").next().unwrap().to_string()
    };
    let failing = "<b class='md_word'>renewal failing</b><br><div class='md_todo'><b>What to do:</b> ";
    let said =
        "<details><summary>what was said</summary><div class='md_said'><bdi>the CA gave no reason</bdi>";
    for (name, text) in [
        ("general.test", "</div><b>Error</b> <i>(1 error)</i><br>"),
        ("part.test", "</div><b>Error</b> <i>(1 error)</i><br>"),
        ("refused.test", "</div><b>Error[Connection refused]</b> <i>(1 error)</i><br>"),
    ] {
        let activity = activity(name);
        assert!(activity.starts_with(failing) && activity.contains(&format!("{text}{said}")), "{activity}");
    }
    let warned = activity("warned.test");
    assert!(warned.contains("<b>Error</b> of a command.<br>") && warned.contains("exit code 1"), "{warned}");
    assert!(!warned.contains("Renewing"), "{warned}");
}

#[test]
fn scripts_find_the_words_of_the_c_module() {
    let (_dir, store) = store();
    let with = |name: &str, cert| managed(name, rsa(Some(CertInfo { dns_names: vec![name.into()], ..cert })));
    let mut stapled = with("stapled.test", cert(5, 85));
    stapled.md.stapling = true;
    let early = CertInfo { not_before: NOW.plus(DAY), ..cert(0, 89) };
    let mds = vec![
        with("due.test", cert(70, 20)),
        with("early.test", early),
        managed("missing.test", rsa(None)),
        stapled,
        with("vetoed.test", cert(70, 20)),
    ];
    let mut job = Job::new("vetoed.test");
    job.postpone(crate::model::job::MESSAGE_FAILED.into(), "not <now>".into(), NOW.plus(DAY));
    Staging::new(&store, "vetoed.test").save_job(&job).unwrap();
    let snapshots = snapshots(mds, &store);
    let lines = text::certificates(&snapshots, &monitor(), NOW);
    let of = |index: usize, key: &str| {
        let key = format!("ManagedDomain[{index}]{key}: ");
        lines.lines().find_map(|line| line.strip_prefix(key.as_str())).map(String::from)
    };
    let some = |text: &str| Some(text.to_string());
    let statuses: Vec<_> = (0..5).filter_map(|index| of(index, "Status")).collect();
    assert_eq!(statuses, ["good", "good", "incomplete: certificate(rsa) is missing", "good", "good"]);
    assert_eq!((0..5).map(|i| of(i, "Stapling")).collect::<Vec<_>>(), [None, None, None, some("on"), None]);
    let pending = some("Pending");
    let activities: Vec<_> = (0..5).map(|index| of(index, "Activity")).collect();
    assert_eq!(activities, [pending.clone(), None, pending, None, None]);
    assert_eq!(of(1, "Remark"), some("not valid yet"));
    let page = html::certificates(&snapshots, &monitor(), NOW);
    let activity = |name: &str| {
        let row = page.lines().find(|line| line.contains(&format!("<td>{name}</td>"))).unwrap();
        row.rsplit("<td>").next().unwrap().to_string()
    };
    let begins = |name: &str, words: &str, text: &str| {
        let activity = activity(name);
        let after = activity.strip_prefix(&format!("<b class='md_word'>{words}</b><br>"));
        // What to do stands before all else.
        let after = after.unwrap_or_else(|| panic!("{name}: {activity}"));
        let rest = after.strip_prefix("<div class='md_todo'>").and_then(|todo| todo.split_once("</div>"));
        assert!(rest.map_or(after, |(_, rest)| rest).starts_with(text), "{name}: {activity}");
    };
    begins("due.test", "renewing", "Pending: the renew window of certificate(rsa), 33%, has begun");
    begins("missing.test", "no certificate", "Pending: certificate(rsa) is missing");
    begins("early.test", "no certificate: not valid yet", "");
    begins("vetoed.test", "renewing", "Postponed by a command.<br><details><summary>what was said");
    let words: Vec<_> = (0..5).filter_map(|index| of(index, "StatusWord")).collect();
    assert_eq!(words, ["renewing", "no-certificate", "no-certificate", "ok", "renewing"]);
}

#[test]
fn a_printed_row_stays_only_while_it_is_true() {
    let (_dir, kept) = hostile();
    let mine = Monitor { name: "mine".into(), url: "https://mine.test/?".into() };
    for seconds in [0, 1, 1, 0, 1800, 5400, 3 * 3600, 3 * 3600 + 5, 88 * 86_400, 90 * 86_400, 0] {
        let now = NOW.plus(Duration::from_secs(seconds));
        for monitor in [&monitor(), &mine] {
            // The output of a process that was not asked before.
            let (_dir, fresh) = hostile();
            let page = html::certificates(&kept, monitor, now);
            assert_eq!(page, html::certificates(&fresh, monitor, now), "{seconds}");
            let lines = text::certificates(&kept, monitor, now);
            assert_eq!(lines, text::certificates(&fresh, monitor, now), "{seconds}");
        }
    }
}

/// A store without live sets, and a count of the processes that serve them.
struct Sets(AtomicUsize);

impl slot::Source for Sets {
    fn fill(&self, _: usize, _: &Slot) {}

    fn serving(&self, _: usize) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn a_kept_page_is_dropped_when_a_value_it_shows_changes() {
    let (_dir, store) = store();
    let counters = (0..SaveError::SIZE).map(|_| AtomicU64::default()).collect::<Vec<_>>();
    let save_error = SaveError::new(std::sync::Arc::new(counters), 0);
    let good = managed("a.test", rsa(Some(cert(1, 89))));
    let (live, sets) = (good.live.clone(), std::sync::Arc::new(Sets(1.into())));
    live.connect(std::sync::Arc::downgrade(&sets) as _, 0);
    let snapshots = snapshots(vec![Managed { save_error: save_error.clone(), ..good }], &store);
    let shows = |in_json: &str, on_page: &str, in_text: &str| {
        // Each page is printed once and kept; then all of them have to change.
        let json = json::list(&snapshots, &Table::default(), NOW);
        let page = html::certificates(&snapshots, &monitor(), NOW);
        let text = text::certificates(&snapshots, &monitor(), NOW);
        assert!(
            json.contains(in_json) && page.contains(on_page) && text.contains(in_text),
            "{json}{page}{text}"
        );
    };
    shows("\"status\": \"ok\"", "<td>good</td>", "StatusWord: ok");
    save_error.note(
        &Job { errors: 2, ..begun("a.test") },
        &Err(Error::Io { source: std::io::Error::from_raw_os_error(28), path: "x".into(), what: "writing" }),
    );
    shows("\"renewal-unsaved\"", "(2 errors in a row)", "StatusWord: renewal-failing");
    save_error.note(&begun("a.test"), &Ok(()));
    shows("\"status\": \"ok\"", "<td>good</td>", "StatusWord: ok");
    let go_live = |fingerprint: &str| {
        let certs = rsa(Some(CertInfo { fingerprint: fingerprint.into(), ..cert(0, 90) })).into();
        live.store(LiveSet { since: NOW, ca_url: None, certs, identities: Identities::default() });
    };
    go_live("cd34");
    shows("\"workers\": 1", "Went live", "CheckAtFingerprint: cd34");
    sets.0.store(2, Ordering::Relaxed);
    shows("\"workers\": 2", "Went live", "CheckAtFingerprint: cd34");
    go_live("ef56");
    shows("\"workers\": 2", "q=ef56", "CheckAtFingerprint: ef56");
}

/// What the process that replicates tells.
pub(super) fn of_fleet() -> FleetReport {
    let node = |name: &str, applied| ReportedNode {
        id: format!("id-{name}"),
        name: name.into(),
        version: "3.0.0".into(),
        seen: Some(NOW),
        applied,
    };
    FleetReport {
        at: NOW,
        engine: "etcds://e.test:2379".into(),
        connected: true,
        since: Some(NOW.minus(Duration::from_secs(3600))),
        id: "id-www1".into(),
        name: "www1".into(),
        nodes: vec![node("www1", 7), node("www2", 9)],
        revision: 9,
        applied: 7,
        requests_ok: 40,
        requests_failed: 2,
        ..FleetReport::default()
    }
}

#[test]
fn the_node_that_renews_is_shown_on_each_page_as_long_as_it_does() {
    let (dir, store) = store();
    StartStore::open(&dir.path().join("md"), None).unwrap().make_fleet_folder().unwrap();
    let mds = || vec![managed("a.test", rsa(Some(cert(1, 89)))), managed("b.test", rsa(Some(cert(1, 89))))];
    let (fleet, alone) = (snapshots(mds(), &store).of_fleet(), snapshots(mds(), &store));
    let pages = |snapshots: &Snapshots| {
        let entries = list(snapshots, NOW)["managed-domains"].clone();
        let page = html::certificates(snapshots, &monitor(), NOW);
        (entries, page, text::certificates(snapshots, &monitor(), NOW))
    };
    for node in [None, Some("www2"), Some("www3"), None] {
        let renewing = node.map(|node| Renewing {
            name: "a.test".into(),
            node: node.into(),
            since: Some(NOW),
            is_solo: node == "www3",
        });
        let report = FleetReport { renewing: renewing.into_iter().collect(), ..of_fleet() };
        store.write_fleet_status(&report.to_json()).unwrap();
        let (entries, page, text) = pages(&fleet);
        assert_eq!(entries[0]["renewal"]["node"].as_str(), node);
        assert_eq!(entries[0].get("renewal").is_some(), node.is_some());
        assert!(entries[1].get("renewal").is_none());
        let node = node.unwrap_or("<none>");
        let shown = page.contains(&format!("Renewed by the node <b>{node}</b>"));
        assert_eq!(shown, node != "<none>", "{page}");
        assert_eq!(page.contains("on its own"), node == "www3");
        assert_eq!(text.contains(&format!("ManagedDomain[0]ActivityNode: {node}\n")), node != "<none>");
        assert_eq!(list(&fleet, NOW)["fleet"]["nodes"][0]["lag"], 2);
        // What a store says of a fleet is nothing to an httpd that has none.
        let (entries, page, text) = pages(&alone);
        assert!(entries[0].get("renewal").is_none() && list(&alone, NOW).get("fleet").is_none());
        assert!(!page.contains("node") && !text.contains("ActivityNode"));
        assert!(alone.fleet(NOW).is_none());
    }
    let own = Job { errors: 1, ..begun("a.test") };
    Staging::new(&store, "a.test").save_job(&own).unwrap();
    let renewing = vec![Renewing { name: "a.test".into(), node: "www1".into(), ..Renewing::default() }];
    store.write_fleet_status(&FleetReport { renewing, ..of_fleet() }.to_json()).unwrap();
    let fleet = snapshots(mds(), &store).of_fleet();
    let renewal = &list(&fleet, NOW)["managed-domains"][0]["renewal"];
    assert_eq!((&renewal["node"], &renewal["errors"]), (&json!("www1"), &json!(1)));
}

#[test]
fn metrics_of_a_fleet_are_there_where_one_is_configured() {
    let totals = Metrics::default().totals();
    let of = |fleet: Option<&fleet::Fleet>| metrics::all(&[], &[], &totals, fleet, NOW);
    assert!(!of(None).contains("md_fleet"));
    let text = of(Some(&fleet::Fleet::of(&Ok(Some(of_fleet())), NOW)));
    for line in [
        "# TYPE md_fleet_connected gauge",
        "md_fleet_connected 1",
        "md_fleet_nodes 2",
        "md_fleet_lag_revisions 2",
        "# TYPE md_fleet_requests counter",
        "md_fleet_requests_total{result=\"answered\"} 40",
        "md_fleet_requests_total{result=\"failed\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.ends_with("\n# EOF\n"));
    let stale = fleet::Fleet::of(&Ok(Some(of_fleet())), NOW.plus(DAY));
    assert!(of(Some(&stale)).contains("\nmd_fleet_connected 0\n"));
}

#[test]
fn the_section_of_the_fleet_has_a_line_and_a_row_for_each_node() {
    let fleet = fleet::Fleet::of(&Ok(Some(of_fleet())), NOW);
    let page = fleet_section::html(&fleet, NOW);
    assert!(page.contains("<h3>Fleet</h3>") && page.contains("Connected to etcds://e.test:2379"), "{page}");
    assert!(page.contains("2 nodes, this one is <b>www1</b>, 2 revisions behind."), "{page}");
    assert_eq!(page.lines().filter(|line| line.starts_with("<tr class='")).count(), 2, "{page}");
    assert!(page.contains("www1 (this one)") && !page.contains("md_warning"), "{page}");
    let lines = fleet_section::text(&fleet);
    for line in
        ["FleetConnected: yes", "FleetLagRevisions: 2", "FleetNode[1]Name: www2", "FleetRenewingTotal: 0"]
    {
        assert!(lines.lines().any(|found| found == line), "{line}\n{lines}");
    }
    let mut bad =
        FleetReport { engine: HOSTILE.into(), connected: false, name: HOSTILE.into(), ..of_fleet() };
    bad.problem = Some(HOSTILE.into());
    bad.refused = vec![(HOSTILE.into(), HOSTILE.into())];
    for node in &mut bad.nodes {
        (node.name, node.version) = (HOSTILE.into(), HOSTILE.into());
    }
    bad.renewing = (0..30)
        .map(|n| Renewing { name: format!("n{n}{HOSTILE}"), node: HOSTILE.into(), ..Renewing::default() })
        .collect();
    let fleet = fleet::Fleet::of(&Ok(Some(bad)), NOW);
    let page = fleet_section::html(&fleet, NOW);
    assert!(!page.contains("<script") && page.is_ascii(), "{page}");
    assert!(page.contains("<b>Not connected</b>") && page.contains("and 25 more"), "{page}");
    assert!(page.contains("md_warning"), "nodes of one name");
    let lines = fleet_section::text(&fleet);
    assert!(lines.lines().all(|line| line.starts_with("Fleet")), "{lines}");
    let unreported = fleet_section::html(&fleet::Fleet::of(&Ok(None), NOW), NOW);
    assert!(unreported.contains("to the engine: no process of this httpd replicates"), "{unreported}");
}

#[test]
fn the_short_page_has_a_fact_a_line_whatever_the_ca_says() {
    let (_dir, snapshots) = hostile();
    let page = text::certificates(&snapshots, &monitor(), NOW);
    let counts: Vec<&str> = page.lines().take(5).collect();
    assert_eq!(
        counts,
        [
            "ManagedCertificatesTotal: 3",
            "ManagedCertificatesOK: 2",
            "ManagedCertificatesRenew: 2",
            "ManagedCertificatesErrored: 1",
            "ManagedCertificatesReady: 0"
        ]
    );
    assert_eq!(page.lines().filter(|line| line.starts_with("ManagedCertificatesTotal")).count(), 1);
    for line in [
        "ManagedDomain[1]Domain: bad.test",
        "ManagedDomain[1]ActivityLastStatus: Invalid argument",
        "ManagedDomain[1]ActivityNextRun: 10800",
        "ManagedDomain[0]Names[30]: a.test",
        "ManagedDomain[0]CheckAtFingerprint: ab12",
        "ManagedDomain[2]Status: expired",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[test]
fn metrics_have_every_certificate_domain_and_counter() {
    let (_dir, snapshots) = hostile();
    let metrics = Metrics::default();
    metrics.failed(Some("urn:ietf:params:acme:error:rateLimited"));
    metrics.requested(true, Duration::from_millis(300));
    metrics.ocsp_requested(true);
    let stapled = |status, valid: bool| Stapled {
        owner: "other".into(),
        id: String::new(),
        serial: format!("0{}", u8::from(valid)),
        fingerprint: String::new(),
        responder: "http://o.test".into(),
        status,
        valid: valid.then_some((NOW, NOW)),
        renewal: None,
        next_run: None,
        errors: 7,
        detail: None,
    };
    let staplings = [stapled("revoked", true), stapled("unknown", false)];
    let text = metrics::all(&snapshots.all(NOW), &staplings, &metrics.totals(), None, NOW);
    for line in [
        "# TYPE md_certificate_not_after_seconds gauge",
        "md_certificate_not_after_seconds{domain=\"a.test\",key=\"rsa\"} 1807689600",
        "md_renewal_errors{domain=\"bad.test\"} 3",
        "md_state{domain=\"bad.test\"} 1",
        "md_renew_at_seconds{domain=\"bad.test\"} 1800000000",
        "md_renewal_failures_total{problem=\"rateLimited\"} 1",
        "md_ca_request_seconds_bucket{le=\"0.25\"} 0",
        "md_ca_request_seconds_bucket{le=\"0.5\"} 1",
        "md_ca_request_seconds_sum 0.3",
        "md_ocsp_next_update_seconds{domain=\"other\",serial=\"01\"} 1800000000",
        "md_ocsp_status{domain=\"other\",serial=\"01\"} 1",
        "md_ocsp_status{domain=\"other\",serial=\"00\"} 2",
        "md_ocsp_errors{domain=\"other\",serial=\"00\"} 7",
        "md_ocsp_requests_total{result=\"answered\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("md_ocsp_next_update_seconds{domain=\"other\",serial=\"00\"}"), "{text}");
    assert!(text.ends_with("\n# EOF\n"));
}
