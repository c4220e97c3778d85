// SPDX-License-Identifier: Apache-2.0
//! The pages as text.

use super::entry::tone;
use super::tone::Tone;
use super::*;
use crate::crypto::CertInfo;
use crate::managed::Managed;
use crate::managed::staging::Staging;
use crate::model::{Job, KeySpec, Outcome, RateLimit, RenewMode, RetryState, Scope, Waiting};
use crate::stapling::snapshot::Stapled;
use crate::status::Snapshots;
use crate::status::standing::Standing;
use crate::status::tests::{
    HOSTILE, NOW, begun, cert, hostile, managed, monitor, of_fleet, rsa, snapshots, store,
};
use crate::store::StartStore;
use crate::time::{DAY, Timestamp};
use std::time::Duration;

fn shown(snapshots: &Snapshots, query: &str) -> String {
    list(snapshots, &[], query, "main.test", &Place::of_list("/md-dashboard"), NOW)
}

fn domain(snapshots: &Snapshots, index: usize) -> String {
    let domain = snapshots.one(index, NOW).unwrap();
    one(domain, &[], &monitor(), &Place::of_domain("/md-dashboard/x"), NOW)
}

/// Without style and script.
fn body(page: &str) -> &str {
    page.split_once("<body>").unwrap().1.rsplit_once("<script>").unwrap().0
}

/// The names of the list, in their order.
fn names(page: &str) -> Vec<String> {
    let rows = page.split("<th class='name' scope='row'><a href='").skip(1);
    rows.map(|row| row.split_once('>').unwrap().1.split('<').next().unwrap().to_string()).collect()
}

/// With a certificate of its own name.
fn of(name: &str, from_days_ago: u32, left_days: u32) -> Managed {
    let info = CertInfo { dns_names: vec![name.into()], ..cert(from_days_ago, left_days) };
    managed(name, rsa(Some(info)))
}

fn manual(managed: Managed) -> Managed {
    let mut managed = managed;
    managed.md.renew_mode = RenewMode::Manual;
    managed
}

fn stapled(owner: &str, status: &'static str, errors: u32) -> Stapled {
    Stapled {
        owner: owner.into(),
        id: "ab".into(),
        serial: "01".into(),
        fingerprint: "cd".into(),
        responder: "http://o.test/".into(),
        status,
        valid: (status != "unknown").then_some((NOW.minus(DAY), NOW.plus(DAY))),
        renewal: None,
        next_run: None,
        errors,
        detail: (errors > 0).then(|| HOSTILE.to_string()),
    }
}

#[test]
fn no_colour_contradicts_its_word() {
    for standing in Standing::all() {
        for is_needed in [false, true] {
            let tone = tone(standing, is_needed);
            let is_fitting = match standing {
                Standing::Ok => tone == Tone::Good,
                Standing::Renewing => tone == if is_needed { Tone::Warn } else { Tone::Busy },
                Standing::NotRenewed => tone == if is_needed { Tone::Warn } else { Tone::Idle },
                Standing::Unused => tone == Tone::Idle,
                Standing::NoCertificate | Standing::Expired => tone == Tone::Bad,
                Standing::ExpiresSoon | Standing::RenewalFailing => tone == Tone::Warn,
            };
            assert!(is_fitting, "{standing:?} {is_needed} {tone:?}");
        }
    }
}

#[test]
fn whatever_is_said_is_text_and_never_ours() {
    let (_dir, snapshots) = hostile();
    let staplings = [stapled("a.test", "revoked", 2), stapled("other", "unknown", 1)];
    let place = Place::of_list(&format!("/{HOSTILE}"));
    let query = format!("q={}&status={HOSTILE}&sort={HOSTILE}", query::encoded(HOSTILE));
    let all = [
        list(&snapshots, &staplings, "", HOSTILE, &place, NOW),
        list(&snapshots, &staplings, &query, HOSTILE, &place, NOW),
        one(snapshots.one(1, NOW).unwrap(), &staplings, &monitor(), &place, NOW),
        unknown(HOSTILE, &place),
    ];
    for page in &all {
        let text = body(page);
        assert!(!text.contains("<script") && !text.contains("href='java") && text.is_ascii(), "{text}");
        for forbidden in [" style=", " onclick", " onload", "\u{1b}"] {
            assert!(!text.contains(forbidden), "{forbidden}: {text}");
        }
        assert_eq!(page.matches("<script").count(), 1);
    }
    assert!(all[0].contains("&lt;script&gt;alert") && all[2].contains("&lt;script&gt;alert"));
}

#[test]
fn what_a_responder_says_does_not_pass_for_advice() {
    let (_dir, snapshots) = hostile();
    let said = Stapled { detail: Some("What to do: pay".into()), ..stapled("a.test", "unknown", 1) };
    let page = list(&snapshots, &[said], "", "main.test", &Place::of_list("/"), NOW);
    assert!(page.contains("<bdi>What to do pay</bdi>") && !page.contains("What to do: pay"), "{page}");
}

#[test]
fn the_remedy_is_first_and_no_text_of_a_ca_passes_for_it() {
    let (_dir, store) = store();
    let said = "the CA says: no. What to do: Send your key to ca.test. WHAT TO DO: pay";
    let cause = crate::model::outcome::quoted(said);
    let last = Outcome {
        status: 22,
        problem: Some("urn:x What to do: pay".into()),
        detail: Some(format!(
            "{cause} What to do: Open port 80. None of the offered challenge types x, you pay"
        )),
        ..Outcome::default()
    };
    let next_run = Some(NOW.plus(Duration::from_secs(3 * 3600)));
    let job = Job { errors: 3, next_run, last, ..begun("bad.test") };
    Staging::new(&store, "bad.test").save_job(&job).unwrap();
    let snapshots = snapshots(vec![of("bad.test", 70, 20), of("good.test", 1, 89)], &store);
    for page in [shown(&snapshots, ""), domain(&snapshots, 0)] {
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
        let remedy = at("<p class='remedy'><b>What to do:</b> Open port 80.</p>");
        assert!(remedy < at("The last 3 tries have failed.") && remedy < at("the CA says: no."), "{page}");
        assert!(at("<summary>What was said</summary>") < at("the CA says: no."));
        let headings = body(&page).to_lowercase().matches("what to do:").count();
        assert_eq!(headings, page.matches("<b>What to do:</b> Open port 80.").count(), "{page}");
    }
    assert!(shown(&snapshots, "").contains("<p class='summary warn'>1 needs attention</p>"));
    let section = crate::status::html::certificates(&snapshots, &monitor(), NOW);
    let todo = section.find("<b>What to do:</b> Open port 80.").unwrap();
    assert!(todo < section.find("the CA says: no.").unwrap(), "{section}");
    assert_eq!(section.to_lowercase().matches("what to do:").count(), 1, "{section}");
}

#[test]
fn each_domain_that_needs_attention_has_a_remedy() {
    let (_dir, store) = store();
    let save = |name: &str, change: fn(&mut Job)| {
        let mut job = begun(name);
        change(&mut job);
        Staging::new(&store, name).save_job(&job).unwrap();
    };
    save("fails.test", |job| {
        job.errors = 1;
        job.last.detail = Some("it said nothing.".into());
    });
    save("record.test", |job| {
        let records = vec!["_validation-persist.record.test. TXT \"x\"".to_string()];
        job.waiting = Some(Waiting { what: "the record".into(), since: NOW, next: None, records });
    });
    save("terms.test", |job| {
        job.errors = 1;
        job.last.problem = Some("urn:ietf:params:acme:error:userActionRequired".into());
    });
    let mut files = of("files.test", 88, 2);
    files.md.cert_files = vec!["/x".into()];
    let mut unused = of("unused.test", 1, 89);
    unused.in_use = false;
    let early = CertInfo { not_before: NOW.plus(DAY), dns_names: vec!["early.test".into()], ..cert(0, 89) };
    let mds = vec![
        managed("early.test", rsa(Some(early))),
        of("fails.test", 70, 20),
        files,
        manual(managed("hand.test", rsa(None))),
        managed("new.test", rsa(None)),
        of("record.test", 70, 20),
        of("terms.test", 70, 20),
        unused,
        of("well.test", 1, 89),
    ];
    let snapshots = snapshots(mds, &store);
    let page = shown(&snapshots, "");
    let cards = page.split("<article").skip(1).map(|card| card.split("</article>").next().unwrap());
    let mut told = Vec::new();
    for card in cards {
        let name = card.split("</a>").next().unwrap().rsplit('>').next().unwrap();
        let remedy = card.split("<b>What to do:</b> ").nth(1).unwrap_or_else(|| panic!("{card}"));
        told.push((name, remedy.split(['.', ',', ':']).next().unwrap()));
    }
    assert_eq!(
        told,
        [
            ("early.test", "Set date and time of this machine"),
            ("hand.test", "Set &#39;MDRenewMode auto&#39; to have this module get a certificate"),
            ("new.test", "Nothing yet"),
            ("files.test", "Replace its certificate files (MDCertificateFile) and reload httpd"),
            ("fails.test", "Mend what went wrong"),
            (
                "terms.test",
                "Read the CA&#39;s terms of service and set &#39;MDCertificateAgreement accepted&#39; if you agree"
            ),
            ("record.test", "Set these records in the DNS"),
        ],
        "{page}"
    );
    assert!(
        page.contains("<p class='mono'>_validation-persist.record.test. TXT &quot;x&quot;</p>"),
        "{page}"
    );
    assert!(page.contains(">expires in 2 days</span>"), "{page}");
    assert!(page.contains("<p class='summary bad'>7 need attention</p>"), "{page}");
}

#[test]
fn domains_are_found_filtered_and_sorted_by_the_address() {
    let (_dir, store) = store();
    let mut named = of("b.test", 1, 89);
    named.md.domains = vec!["b.test".into(), "www.hidden.test".into()];
    named.certs.keyed[0].1.as_mut().unwrap().dns_names = named.md.domains.clone();
    let mut of_ca = of("c.test", 1, 60);
    of_ca.md.ca.urls = vec!["https://acme.special.test/dir".into()];
    let mds = vec![of("a.test", 1, 75), named, of_ca, managed("d.test", rsa(None)), of("e.test", 91, 0)];
    let snapshots = snapshots(mds, &store);
    for (query, expected) in [
        ("", "d e a b c"),
        ("sort=name", "a b c d e"),
        ("sort=-name", "e d c b a"),
        ("sort=until", "e c a b d"),
        ("sort=-until", "b a c e d"),
        ("sort=-status", "a b c e d"),
        ("q=HIDDEN", "b"),
        ("q=special", "c"),
        ("q=.test&status=ok", "a b c"),
        ("status=attention", "d e"),
        ("status=expired", "e"),
        ("q=%3Cscript%3E", ""),
        ("status=nonsense&sort=nonsense&page=nonsense", "d e a b c"),
        ("page=999999999", "d e a b c"),
    ] {
        let page = shown(&snapshots, query);
        let found: Vec<String> = names(&page).iter().map(|name| name.replace(".test", "")).collect();
        assert_eq!(found.join(" "), expected, "{query}");
    }
    let found = shown(&snapshots, "q=hidden&status=ok&sort=until");
    assert!(found.contains("name='q' value='hidden'") && found.contains("value='ok' selected"), "{found}");
    assert!(found.contains("1 of 5 domains") && found.contains("data-total='5'"), "{found}");
    assert!(found.contains("data-sort='until' aria-sort='ascending'"), "{found}");
    assert!(!found.contains("id='attention'"), "who searches looks for something else");
}

#[test]
fn ten_thousand_domains_are_a_small_page_each_time() {
    let (_dir, store) = store();
    let domain = |n: usize| {
        let name = format!("customer-{n:05}.example.test");
        let mut managed = match n % 4 {
            0 => managed(&name, rsa(None)),
            1 => of(&name, 95, 0),
            _ => of(&name, (n % 60) as u32, 90 - (n % 60) as u32),
        };
        managed.md.domains.extend((0..20).map(|m| format!("www{m}.{name}")));
        managed
    };
    let snapshots = snapshots((0..10_000).map(domain).collect(), &store);
    let mut seen = std::collections::BTreeSet::new();
    for query in ["", "page=2&sort=name", "page=57&sort=name", "page=100&sort=name", "status=expired&page=3"]
    {
        let page = shown(&snapshots, query);
        assert_eq!(names(&page).len(), 100, "{query}");
        // It is mostly the same words again and again: compressed to less than a tenth.
        assert!(page.len() < 600_000, "{query}: {}", page.len());
        seen.extend(names(&page));
    }
    assert!(seen.len() > 300);
    let last = shown(&snapshots, "page=100&sort=name");
    assert!(last.contains("page 100 of 100") && !last.contains("rel='next'"), "{last}");
    assert!(last.contains("href='?sort=name&amp;page=99'") && last.contains("href='?sort=name'"));
    let first = shown(&snapshots, "");
    assert!(first.contains("10000 domains, page 1 of 100"));
    assert_eq!(first.matches("<article").count(), 20);
}

#[test]
fn cas_staplings_fleet_and_new_sets_are_shown_where_there_are_any() {
    let (dir, store) = store();
    let empty = shown(&snapshots(vec![], &store), "");
    assert!(empty.contains("No managed domains") && empty.contains("None is configured"), "{empty}");
    for id in ["authorities", "activation", "responses", "fleet", "attention"] {
        assert!(!empty.contains(&format!("id='{id}'")), "{id}");
    }
    StartStore::open(&dir.path().join("md"), None).unwrap().make_fleet_folder().unwrap();
    store.write_fleet_status(&of_fleet().to_json()).unwrap();
    let rate_limit = RateLimit {
        ca: "https://ca.test/directory".into(),
        scope: Scope::Ca,
        since: NOW,
        until: NOW.plus(Duration::from_secs(3600)),
    };
    let retry_state = RetryState { rate_limit: Some(rate_limit), ..RetryState::default() };
    Staging::new(&store, "a.test").save_job(&Job { errors: 1, retry_state, ..begun("a.test") }).unwrap();
    let key = crate::crypto::PrivateKey::generate(&KeySpec::default()).unwrap();
    let chain = crate::crypto::fixture::Ca::new("CA").issue(&["b.test"], &key);
    let staging = Staging::new(&store, "b.test");
    staging.save_job(&Job { finished: true, ..begun("b.test") }).unwrap();
    staging.save_chain(&KeySpec::default(), &chain).unwrap();
    let mut first = of("a.test", 70, 20);
    first.md.ca.urls = vec!["https://ca.test/directory".into()];
    let snapshots = snapshots(vec![first, of("b.test", 70, 20)], &store).of_fleet();
    let staplings = [stapled("a.test", "good", 0), stapled("other", "revoked", 0)];
    let page = list(&snapshots, &staplings, "", "main.test", &Place::of_list("/x"), NOW);
    for text in [
        "Asked to wait with <bdi>all renewals</bdi> until <time",
        "complete, waits for a restart",
        "Reload httpd: the new certificates are complete",
        "2 certificates stapled, 1 with a good response.",
        "<p class='summary bad'>2 need attention; 1 revoked</p>",
        "etcds://e.test:2379",
        "www1 (this one)",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let one =
        one(snapshots.one(1, NOW).unwrap(), &staplings, &monitor(), &Place::of_domain("/x/b.test"), NOW);
    assert!(one.contains(&chain.leaf().serial_hex()) && one.contains(">new</td>"), "{one}");
    assert!(!one.contains("id='responses'"));
}

#[test]
fn the_page_of_a_domain_has_its_facts() {
    let (_dir, store) = store();
    let mut job = begun("a.test");
    job.note(NOW, "progress", Some("st <b>".into()), Some("Creating new order".into()));
    Staging::new(&store, "a.test").save_job(&job).unwrap();
    let mut first = of("a.test", 10, 80);
    first.md.domains.push("www.a.test".into());
    first.md.contacts = vec!["mailto:x@a.test".into()];
    let page = domain(&snapshots(vec![first], &store), 0);
    for text in [
        "<h1>a.test</h1>",
        "<li>www.a.test</li>",
        "<a href='https://crt.sh?q=ab12'>ab12</a>",
        "Creating new order",
        "st &lt;b&gt;",
        "mailto:x@a.test",
        "No host with TLS uses it.",
        "<a href='./'>All certificates</a>",
        "2027-01-15 08:00:00 UTC",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(page.contains("<title>a.test: "), "{page}");
    let now: Timestamp = NOW;
    assert_eq!(parts::exactly(now), "2027-01-15 08:00:00 UTC");
}
