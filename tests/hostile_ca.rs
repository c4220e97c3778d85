// SPDX-License-Identifier: Apache-2.0
//! A CA that violates RFC 8555 in its answers, through the whole renewal: every attempt ends in the right
//! verdict, within its time (the clock is virtual), and the next one, with the same CA working properly,
//! succeeds from the state on disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use doubles::Host;
use doubles::fake_ca::{Answer, Endpoint, Fault, Sends, problem};
use mod_md::http;
use mod_md::managed::staging::Staging;
use mod_md::model::{Job, KeySpec};
use mod_md::renew::worker::check;
use mod_md::renew::worker::next::Next;
use mod_md::store::WorkGroup;
use mod_md::time::{Clock, DAY};
use serde_json::{Value, json};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NAME: &str = "a.test";
/// The longest an attempt may take on the virtual clock: two phases of polling, and some.
const BUDGET: Duration = Duration::from_secs(700);
/// And on the clock of this machine: nothing that a CA sends is work.
const REAL_BUDGET: Duration = Duration::from_secs(20);

struct Lab(Host);

impl Deref for Lab {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

/// When the next try comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pace {
    /// At the pace of consecutive errors.
    Soon,
    /// Once a day, because only the configuration or the CA can mend it.
    Daily,
}

impl Lab {
    fn new() -> Lab {
        let host = Host::new();
        host.leave_account_key(NAME, &KeySpec::Ec("P-256".into()));
        Lab(host)
    }

    fn job(&self) -> Job {
        self.0.job(NAME).unwrap()
    }

    /// One attempt, as a child of its own.
    fn attempt(&self) -> Next {
        let managed = self.managed(&[NAME], &[KeySpec::Ec("P-256".into())]);
        let (begin, real) = (self.clock.now(), Instant::now());
        let next = check::run(&self.context(&[managed]), 0);
        assert!(self.clock.now().since(begin) <= BUDGET, "it takes {:?}", self.clock.now().since(begin));
        assert!(real.elapsed() <= REAL_BUDGET, "it takes {:?} of real time", real.elapsed());
        next
    }

    /// An attempt, and the time until the next.
    fn attempt_and_advance(&self) {
        let Next::At(next) = self.attempt() else { panic!("it has ended: {:?}", self.job()) };
        self.clock.advance(next.since(self.clock.now()));
    }

    /// An attempt that has to fail: its outcome, and the next try.
    #[track_caller]
    fn failure(&self) -> (Job, Duration) {
        let Next::At(next) = self.attempt() else { panic!("it succeeds, or gives up: {:?}", self.job()) };
        let job = self.job();
        assert!(!job.finished && job.errors >= 1, "{job:?}");
        let detail = job.last.detail.clone().unwrap();
        assert!(
            !detail.is_empty() && detail.len() < 8000 && !detail.contains(['\n', '\u{1b}']),
            "{detail:?}"
        );
        assert_ne!(job.last.status, 0);
        let store = self.work();
        let order = Staging::new(&store, NAME).order().unwrap();
        if !order.is_some_and(|order| order.is_awaiting_the_ca(self.clock.now())) {
            let left = store.names(WorkGroup::Challenges).unwrap();
            assert_eq!(left, Vec::<String>::new(), "challenges are cleaned up");
        }
        (job, next.since(self.clock.now()))
    }

    /// The CA is in its right mind again: what is on disk leads to a set, with the one account.
    #[track_caller]
    fn assert_mends(&self) {
        for _ in 0..5 {
            match self.attempt() {
                Next::At(next) => self.clock.advance(next.since(self.clock.now())),
                Next::Never => break,
            }
        }
        assert!(self.job().finished, "{:?}", self.job());
        assert_eq!(self.ca.account_count(), 1);
    }
}

fn pace(wait: Duration) -> Pace {
    if wait >= Duration::from_secs(12 * 3600) { Pace::Daily } else { Pace::Soon }
}

/// The endpoints of an issuance in their order.
const ALL: [Endpoint; 8] = [
    Endpoint::Directory,
    Endpoint::NewNonce,
    Endpoint::NewAccount,
    Endpoint::NewOrder,
    Endpoint::Authorization,
    Endpoint::Challenge,
    Endpoint::Finalize,
    Endpoint::Certificate,
];

/// Those whose answers are read. What starts a challenge is not: its authorization tells what comes of it.
fn with_bodies() -> Vec<Endpoint> {
    ALL.into_iter().filter(|e| !matches!(e, Endpoint::NewNonce | Endpoint::Challenge)).collect()
}

/// `fault` at each of these endpoints: an error each time, that says `about`, and that mends.
#[track_caller]
fn assert_each_fails_and_mends(endpoints: &[Endpoint], about: &str, fault: impl Fn() -> Fault) {
    for endpoint in endpoints {
        let lab = Lab::new();
        lab.ca.fault(*endpoint, fault());
        let (job, _) = lab.failure();
        let detail = job.last.detail.unwrap();
        assert!(detail.contains(about), "{endpoint:?}: {detail}");
        lab.assert_mends();
    }
}

fn raw(status: u16, content_type: &str, body: &[u8]) -> Fault {
    let headers = vec![("Content-Type".into(), content_type.into())];
    Fault::Raw(Answer { status, headers, body: body.to_vec() })
}

#[test]
fn every_error_type_of_rfc_8555_ends_in_its_pace() {
    use Pace::{Daily, Soon};
    let table = [
        ("accountDoesNotExist", 400, Soon),
        ("alreadyRevoked", 400, Daily),
        ("badCSR", 400, Daily),
        ("badPublicKey", 400, Daily),
        ("badRevocationReason", 400, Daily),
        ("badSignatureAlgorithm", 400, Daily),
        ("caa", 403, Daily),
        ("compound", 400, Soon),
        ("connection", 400, Soon),
        ("dns", 400, Soon),
        ("externalAccountRequired", 403, Daily),
        ("incorrectResponse", 400, Soon),
        ("invalidContact", 400, Daily),
        ("malformed", 400, Daily),
        ("orderNotReady", 403, Soon),
        ("rejectedIdentifier", 403, Daily),
        ("serverInternal", 500, Soon),
        ("tls", 400, Soon),
        ("unauthorized", 403, Soon),
        ("unsupportedContact", 400, Daily),
        ("unsupportedIdentifier", 400, Daily),
        ("userActionRequired", 403, Daily),
        ("ofTomorrow", 400, Soon),
    ];
    for (name, status, expected) in table {
        for endpoint in [Endpoint::NewAccount, Endpoint::NewOrder, Endpoint::Finalize] {
            let lab = Lab::new();
            // Told so once, right after the validation, the client asks after the order, finds it ready and
            // tries once more.
            let is_doubted = endpoint == Endpoint::Finalize
                && ["orderNotReady", "malformed", "unauthorized"].contains(&name);
            for _ in 0..if is_doubted { 2 } else { 1 } {
                let document = problem(name, "in the words of the CA");
                lab.ca.fault(endpoint, Fault::Problem { status, document, retry_after: None });
            }
            let (job, wait) = lab.failure();
            assert!(job.last.detail.unwrap().contains("in the words of the CA"), "{name}");
            assert_eq!(job.last.problem, Some(format!("urn:ietf:params:acme:error:{name}")));
            assert_eq!(pace(wait), expected, "{name} at {endpoint:?}: {wait:?}");
            lab.assert_mends();
        }
    }
}

#[test]
fn an_error_type_that_the_ca_finds_in_a_challenge_names_the_domain() {
    for (name, expected) in
        [("connection", Pace::Soon), ("dns", Pace::Soon), ("tls", Pace::Soon), ("caa", Pace::Daily)]
    {
        let lab = Lab::new();
        lab.ca.rules(|rules| rules.validate = Arc::new(move |_| Err(problem(name, "not today"))));
        let (job, wait) = lab.failure();
        let detail = job.last.detail.unwrap();
        assert!(detail.contains("not today") && detail.contains(NAME), "{detail}");
        assert_eq!(pace(wait), expected, "{name}");
        lab.ca.rules(|rules| rules.validate = Arc::new(|_| Ok(())));
        lab.assert_mends();
    }
}

#[test]
fn a_rate_limit_is_obeyed_to_the_second_whatever_the_endpoint() {
    for endpoint in [Endpoint::NewAccount, Endpoint::NewOrder, Endpoint::Authorization, Endpoint::Finalize] {
        for (status, name) in [(429, "rateLimited"), (503, "serverInternal")] {
            let lab = Lab::new();
            let document = problem(name, "later");
            lab.ca.fault(endpoint, Fault::Problem { status, document, retry_after: Some("5000") });
            let begin = lab.clock.now();
            let (_, wait) = lab.failure();
            let next = lab.clock.now().plus(wait);
            assert!(next.since(begin) >= Duration::from_secs(5000), "{endpoint:?} {status}: {wait:?}");
            lab.clock.advance(wait);
            lab.assert_mends();
        }
    }
}

#[test]
fn nonces_that_are_all_refused_are_a_failure_of_this_attempt_alone() {
    let lab = Lab::new();
    lab.ca.rules(|rules| rules.refuse_nonce = Box::new(|| true));
    let (job, wait) = lab.failure();
    assert_eq!(job.last.problem.as_deref(), Some("urn:ietf:params:acme:error:badNonce"));
    assert_eq!(pace(wait), Pace::Soon);
    assert!(lab.ca.seen().len() < 40, "{} requests", lab.ca.seen().len());
    lab.ca.rules(|rules| rules.refuse_nonce = Box::new(|| false));
    lab.assert_mends();
}

#[test]
fn statuses_out_of_place_are_errors_that_say_the_status() {
    for status in [404, 418, 502] {
        assert_each_fails_and_mends(&ALL, &status.to_string(), || raw(status, "text/html", b"<h1>no</h1>"));
    }
}

#[test]
fn redirects_are_not_followed_also_not_in_a_circle() {
    for status in [301, 307] {
        assert_each_fails_and_mends(&ALL, "redirect", || {
            let answer = Answer { status, ..Answer::default() };
            Fault::Raw(answer.with("Location", "https://ca.test/dir"))
        });
    }
}

#[test]
fn bodies_that_are_cut_off_or_too_large_are_errors() {
    let with_bodies = with_bodies();
    assert_each_fails_and_mends(&with_bodies, "", || {
        // A chain is cut inside of its leaf: the leaf alone is a chain, too.
        Fault::Alter(|answer| answer.body.truncate(answer.body.len() / 3))
    });
    assert_each_fails_and_mends(&with_bodies, "", || Fault::Alter(|answer| answer.body.clear()));
    assert_each_fails_and_mends(&ALL, "larger than the limit", || Fault::Unreached(http::Error::TooLarge));
    assert_each_fails_and_mends(&ALL, "no answer in time", || Fault::Lost(http::Error::Timeout));
}

#[test]
fn json_bombs_are_errors() {
    let objects = [
        Endpoint::Directory,
        Endpoint::NewAccount,
        Endpoint::NewOrder,
        Endpoint::Authorization,
        Endpoint::Finalize,
    ];
    let deep = ["[".repeat(500_000), "]".repeat(500_000)].concat();
    let nested = format!("{}1{}", "{\"status\":".repeat(100_000), "}".repeat(100_000));
    let wide = format!("{{{}\"status\":7}}", "\"a\":0,".repeat(140_000));
    let number = format!("{{\"status\":1e999999,\"expires\":{}}}", "9".repeat(500_000));
    let duplicates = "{\"status\":\"valid\",\"status\":{}}".to_string();
    let text = format!("\"{}\"", "\\u0000".repeat(150_000));
    for body in [deep, nested, wide, number, duplicates, text, "\u{feff}{}".into(), "NaN".into()] {
        assert_each_fails_and_mends(&objects, "", || raw(200, "application/json", body.as_bytes()));
        // The same as a problem document is told by its status.
        assert_each_fails_and_mends(&objects[2..3], "", || {
            raw(500, "application/problem+json", body.as_bytes())
        });
    }
}

#[test]
fn what_a_problem_says_cannot_break_log_or_status() {
    let lab = Lab::new();
    let document = json!({
        "type": "x".repeat(100_000),
        "detail": format!("a\r\nb\u{1b}[2J{}", "<script>".repeat(50_000)),
        "subproblems": vec![json!({"detail": "y".repeat(3000), "identifier": {"value": "z\n"}}); 300],
        "status": 1e300,
    });
    lab.ca.fault(Endpoint::NewOrder, raw(400, "application/problem+json", document.to_string().as_bytes()));
    let Next::At(_) = lab.attempt() else { panic!("it succeeds") };
    let file = lab.path.join("staging").join(NAME).join("job.json");
    assert!(std::fs::metadata(file).unwrap().len() < 1024 * 1024);
    let detail = lab.job().last.detail.unwrap();
    assert!(!detail.contains(['\n', '\r', '\u{1b}']), "{}", &detail[..200]);
    lab.assert_mends();
}

#[test]
fn headers_that_are_missing_are_done_without_or_told() {
    assert_each_fails_and_mends(&[Endpoint::NewAccount, Endpoint::NewOrder], "Location", || {
        Fault::Alter(|answer| answer.set("Location", None))
    });
    assert_each_fails_and_mends(&[Endpoint::NewNonce], "Replay-Nonce", || {
        Fault::Alter(|answer| answer.set("Replay-Nonce", None))
    });
    for endpoint in &ALL[2..] {
        let lab = Lab::new();
        lab.ca.fault(
            *endpoint,
            Fault::Alter(|answer| {
                answer.set("Replay-Nonce", None);
                answer.set("Content-Type", Some("text/html".into()));
            }),
        );
        lab.assert_mends();
        assert_eq!(lab.job().errors, 0, "{endpoint:?}");
    }
}

#[test]
fn a_nonce_of_64_kib_is_not_used() {
    fn large(answer: &mut Answer) {
        answer.set("Replay-Nonce", Some("x".repeat(64 * 1024)));
    }
    assert_each_fails_and_mends(&[Endpoint::NewNonce], "Replay-Nonce", || Fault::Alter(large));
    let lab = Lab::new();
    ALL[2..].iter().for_each(|endpoint| lab.ca.fault(*endpoint, Fault::Alter(large)));
    lab.assert_mends();
    assert_eq!(lab.job().errors, 0);
}

#[test]
fn a_page_instead_of_a_resource_is_an_error() {
    let with_bodies = with_bodies();
    assert_each_fails_and_mends(&with_bodies, "", || {
        raw(200, "text/html", b"<html><script>alert(1)</script></html>")
    });
    for body in [&b"null"[..], b"[]", b"7", b"{}", b"\xff\xfe"] {
        assert_each_fails_and_mends(&with_bodies, "", || raw(200, "application/json", body));
    }
}

#[test]
fn a_chain_of_ten_thousand_certificates_is_refused() {
    assert_each_fails_and_mends(&[Endpoint::Certificate], "chain", || {
        Fault::Alter(|answer| answer.body = answer.body.repeat(5000))
    });
}

#[test]
fn a_wrong_certificate_is_refused_and_the_next_ordered_a_day_later() {
    let lab = Lab::new();
    // The issuer alone: neither our key nor our name.
    lab.ca.rules(|rules| rules.sends = vec![Sends::Issuer]);
    let (job, wait) = lab.failure();
    assert!(job.last.detail.unwrap().contains("certificate(P-256)"));
    assert_eq!(pace(wait), Pace::Daily);
    lab.ca.rules(|rules| rules.sends.clear());
    lab.clock.advance(wait);
    lab.assert_mends();
    assert_eq!(lab.ca.count(Endpoint::NewOrder), 2);
}

#[test]
fn a_certificate_without_alternative_names_is_refused_as_clients_would() {
    // serles with its own OpenSSL backend.
    let lab = Lab::new();
    lab.ca.rules(|rules| rules.drops_extensions = true);
    let (job, wait) = lab.failure();
    let detail = job.last.detail.unwrap();
    assert!(
        detail.contains("subjectAltName is missing") && detail.contains("Tell the CA's operator"),
        "{detail}"
    );
    assert_eq!(pace(wait), Pace::Daily);
    lab.ca.rules(|rules| rules.drops_extensions = false);
    lab.clock.advance(wait);
    lab.assert_mends();
}

/// Changes the JSON of an answer.
fn edit(answer: &mut Answer, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&answer.body).unwrap();
    change(&mut value);
    answer.body = value.to_string().into_bytes();
}

#[test]
fn an_authorization_for_a_name_that_was_not_ordered_is_refused() {
    for name in ["evil.test", "../../../etc", "*.a.test", "a.test/../b", ".."] {
        static NAMES: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());
        *NAMES.lock().unwrap() = name.into();
        let lab = Lab::new();
        lab.ca.fault(
            Endpoint::Authorization,
            Fault::Alter(|a| edit(a, |v| v["identifier"]["value"] = json!(*NAMES.lock().unwrap()))),
        );
        let (job, _) = lab.failure();
        assert!(job.last.detail.unwrap().contains("not in the order"), "{name}");
        assert_eq!(lab.ca.count(Endpoint::Challenge), 0);
        lab.assert_mends();
    }
}

/// It would be for the one that was: nothing else is proven by answering.
#[test]
fn an_authorization_without_a_name_is_for_the_only_one_of_the_order() {
    let lab = Lab::new();
    lab.ca.fault(Endpoint::Authorization, Fault::Alter(|a| edit(a, |v| v["identifier"] = Value::Null)));
    lab.attempt();
    assert!(lab.job().finished, "{:?}", lab.job().last);
}

#[test]
fn what_says_nothing_heads_no_message() {
    for (document, said) in [
        (json!({}), "https://ca.test/new-order answered 403 without a problem document"),
        (json!({"title": "Forbidden by policy"}), "the CA says: Forbidden by policy"),
        (json!({"error": "Forbidden", "status": "403"}), "the CA says: Forbidden"),
    ] {
        let lab = Lab::new();
        lab.ca.fault(Endpoint::NewOrder, Fault::Problem { status: 403, document, retry_after: None });
        let (job, _) = lab.failure();
        assert_eq!(job.last.problem, None);
        assert!(job.last.detail.as_deref().unwrap().starts_with(said), "{job:?}");
        assert!(!job.to_json().to_string().contains("about:blank"));
    }
}

#[test]
fn the_page_to_visit_is_kept_in_the_job() {
    let lab = Lab::new();
    let page = "https://ca.test/unpause/v1?jwt=e30";
    let mut document = problem("userActionRequired", "Terms of service have changed");
    document["instance"] = json!(page);
    lab.ca.fault(Endpoint::NewOrder, Fault::Problem { status: 403, document, retry_after: None });
    let (job, _) = lab.failure();
    let detail = job.last.detail.unwrap();
    assert!(detail.contains(&format!("Visit {page}")), "{detail}");
}

#[test]
fn an_order_that_names_other_identifiers_leads_to_no_other_certificate() {
    let lab = Lab::new();
    lab.ca.fault(
        Endpoint::NewOrder,
        Fault::Alter(|a| edit(a, |v| v["identifiers"] = json!([{"type": "dns", "value": "evil.test"}]))),
    );
    lab.attempt();
    lab.assert_mends();
    let chain = Staging::new(&lab.work(), NAME).chain(&KeySpec::Ec("P-256".into())).unwrap().unwrap();
    assert_eq!(chain.leaf().dns_names(), [NAME]);
}

type Edit = fn(&mut Answer);

#[test]
fn nothing_is_sent_to_servers_that_the_directory_does_not_name() {
    let edits: [(Endpoint, Edit); 7] = [
        (Endpoint::NewAccount, |a| a.set("Location", Some("https://evil.test/account/0".into()))),
        (Endpoint::NewOrder, |a| a.set("Location", Some("http://ca.test/order/0".into()))),
        (Endpoint::NewOrder, |a| edit(a, |v| v["authorizations"] = json!(["https://evil.test/authz/0"]))),
        (Endpoint::Authorization, |a| {
            edit(a, |v| v["challenges"][0]["url"] = json!("http://127.0.0.1/chall/0"))
        }),
        (Endpoint::NewOrder, |a| edit(a, |v| v["finalize"] = json!("https://ca.test:444/finalize/0"))),
        (Endpoint::Finalize, |a| {
            edit(a, |v| {
                v["status"] = json!("valid");
                v["certificate"] = json!("https://ca.test@evil.test/cert/0");
            });
        }),
        (Endpoint::NewOrder, |a| edit(a, |v| v["authorizations"] = json!(["file:///etc/passwd"]))),
    ];
    for (n, (endpoint, change)) in edits.into_iter().enumerate() {
        let lab = Lab::new();
        lab.ca.fault(endpoint, Fault::Alter(change));
        lab.attempt();
        lab.assert_mends();
        let strange = lab.ca.seen().into_iter().find(|seen| seen.endpoint == Endpoint::Unknown);
        assert!(strange.is_none(), "{n}: {strange:?}");
    }
}

#[test]
fn endless_processing_is_polled_ever_less_and_given_up_after_a_day() {
    for (validation, issuance) in [(u32::MAX, 1), (1, u32::MAX)] {
        for retry_after in
            [None, Some("0"), Some("-1"), Some("soon"), Some("7"), Some("99999999999999999999")]
        {
            let lab = Lab::new();
            lab.ca.rules(|rules| {
                (rules.validation_polls, rules.issuance_polls) = (validation, issuance);
                rules.retry_after = retry_after.map(String::from);
            });
            let begin = lab.clock.now();
            while {
                lab.attempt_and_advance();
                lab.job().errors == 0
            } {
                assert!(
                    lab.job()
                        .waiting
                        .is_some_and(|waiting| waiting.since.since(begin) <= Duration::from_secs(20))
                );
            }
            let (took, requests) = (lab.clock.now().since(begin), lab.ca.seen().len());
            assert!((DAY..DAY + DAY / 20).contains(&took), "{took:?}");
            assert!(requests < 1500, "{requests} requests with Retry-After {retry_after:?}");
            let detail = lab.job().last.detail.unwrap();
            assert!(detail.contains("and the order is given up"), "{detail}");
            assert_eq!(lab.work().names(WorkGroup::Challenges).unwrap(), Vec::<String>::new());
            lab.ca.rules(|rules| (rules.validation_polls, rules.issuance_polls) = (0, 0));
            lab.assert_mends();
            assert_eq!(lab.ca.count(Endpoint::NewOrder), 2, "another order may fare better");
        }
    }
}

#[test]
fn states_that_never_were_are_errors() {
    for (endpoint, status) in [
        (Endpoint::NewOrder, "finished"),
        (Endpoint::NewOrder, ""),
        (Endpoint::Authorization, "maybe"),
        (Endpoint::Finalize, "issued"),
    ] {
        assert_each_fails_and_mends(&[endpoint], "status", || {
            Fault::Alter(match status {
                "finished" => |a| edit(a, |v| v["status"] = json!("finished")),
                "maybe" => |a| edit(a, |v| v["status"] = json!("maybe")),
                "issued" => |a| edit(a, |v| v["status"] = json!("issued")),
                _ => |a| edit(a, |v| v["status"] = json!("")),
            })
        });
    }
}

#[test]
fn an_order_that_is_valid_without_certificate_is_an_error() {
    assert_each_fails_and_mends(&[Endpoint::NewOrder, Endpoint::Finalize], "", || {
        Fault::Alter(|a| {
            edit(a, |v| {
                v["status"] = json!("valid");
                v.as_object_mut().unwrap().remove("certificate");
            });
        })
    });
}
