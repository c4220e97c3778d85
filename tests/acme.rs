// SPDX-License-Identifier: Apache-2.0
//! The ACME client against a CA in memory that is strict about the protocol and fails on demand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use doubles::VirtualClock;
use doubles::fake_ca::{Answer, Endpoint, FakeCa, Fault, problem};
use mod_md::acme::objects::OrderStatus;
use mod_md::acme::order::{self, Poll, Step, step};
use mod_md::acme::problem::Kind;
use mod_md::acme::{Error, Order, OrderOptions, Server, Session, Verdict};
use mod_md::challenge::key_authorization;
use mod_md::crypto::{CpuLimit, PrivateKey, csr, jws};
use mod_md::http;
use mod_md::model::{Eab, KeySpec};
use mod_md::time::{Clock, Timestamp};
use openssl::x509::X509;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct Lab {
    clock: Arc<VirtualClock>,
    ca: Arc<FakeCa>,
}

impl Lab {
    fn new() -> Self {
        let clock = Arc::new(VirtualClock::at(Timestamp::from_unix(1_700_000_000)));
        Lab { ca: FakeCa::new("ca.test", clock.clone()), clock }
    }

    fn server(&self) -> Result<Arc<Server>, Error> {
        Ok(Arc::new(Server::connect(&self.ca.directory_url(), self.ca.clone(), self.clock.clone())?))
    }

    fn session(&self) -> Session {
        let server = self.server().unwrap();
        let key = key("P-256");
        let registration = server.register(&key, &[], None, None).unwrap();
        Session::new(server, key, registration.url)
    }

    /// Performs what `step` says until there is a chain, as a use case does.
    fn issue(&self, session: &Session, names: &[&str]) -> Result<Vec<u8>, Error> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let order = session.new_order(&names, &OrderOptions::default())?;
        self.finish(session, order.value, &names)
    }

    fn finish(&self, session: &Session, mut order: Order, names: &[String]) -> Result<Vec<u8>, Error> {
        let certificate_key = key("P-256");
        let (mut authorizations, mut started, mut polls) = (Vec::new(), Vec::new(), 0);
        let mut retry_after = None;
        let begin = self.clock.now();
        loop {
            match step(&order, &authorizations, &started) {
                Step::Fetch(urls) => {
                    for url in urls.into_iter().map(String::from).collect::<Vec<_>>() {
                        authorizations.push(session.authorization(&url)?.value);
                    }
                }
                Step::SetUp(list) => {
                    for authorization in list {
                        let type_ = if authorization.wildcard { "dns-01" } else { "http-01" };
                        let challenge = authorization.challenge(type_).unwrap();
                        retry_after = session.start_challenge(&challenge.url)?.retry_after;
                        started.push(authorization.url.clone());
                    }
                }
                Step::Poll(what) => {
                    assert!(polls < 50, "polls forever");
                    let urls: Vec<String> = match what {
                        Poll::Authorizations(urls) => urls.into_iter().map(String::from).collect(),
                        Poll::Order => Vec::new(),
                    };
                    let now = self.clock.now();
                    self.clock.sleep(order::poll_delay(false, now.since(begin), retry_after, now))?;
                    polls += 1;
                    for url in &urls {
                        let fetched = session.authorization(url)?;
                        retry_after = fetched.retry_after;
                        *authorizations.iter_mut().find(|a| a.url == *url).unwrap() = fetched.value;
                    }
                    if urls.is_empty() {
                        let fetched = session.order(&order.url)?;
                        retry_after = fetched.retry_after;
                        order = fetched.value;
                    }
                }
                Step::Finalize => {
                    let csr = csr::build(&certificate_key, names, false)?;
                    order = session.finalize(&order, &csr)?.value;
                }
                Step::Download(url) => return session.certificate(url),
                Step::Failed(error) => return Err(error),
            }
        }
    }
}

fn key(curve: &str) -> PrivateKey {
    PrivateKey::generate(&KeySpec::Ec(curve.into())).unwrap()
}

fn names_of(chain: &[u8]) -> Vec<String> {
    let certificates = X509::stack_from_pem(chain).unwrap();
    assert_eq!(certificates.len(), 2);
    assert!(certificates[0].verify(&certificates[1].public_key().unwrap()).unwrap());
    let names = certificates[0].subject_alt_names().unwrap();
    names.iter().filter_map(|n| n.dnsname().map(String::from)).collect()
}

#[test]
fn an_order_leads_from_account_to_chain_whatever_the_key_is() {
    for spec in [KeySpec::Rsa(2048), KeySpec::Ec("P-256".into()), KeySpec::Ec("P-384".into())] {
        let lab = Lab::new();
        let looked_up = Arc::new(Mutex::new(Vec::new()));
        let log = looked_up.clone();
        lab.ca.rules(|r| {
            r.validate = Arc::new(move |v| {
                log.lock().unwrap().push((
                    v.name.to_string(),
                    v.token.to_string(),
                    v.key_authorization.to_string(),
                ));
                Ok(())
            });
        });
        let server = lab.server().unwrap();
        let key = PrivateKey::generate(&spec).unwrap();
        let account = server.register(&key, &["mailto:a@x.test".into()], None, None).unwrap();
        assert_eq!(account.status, "valid");
        assert_eq!(account.object["contact"], json!(["mailto:a@x.test"]));
        let session = Session::new(server, key.clone(), account.url);
        let chain = lab.issue(&session, &["a.test", "*.b.test"]).unwrap();
        assert_eq!(names_of(&chain), ["a.test", "*.b.test"]);
        let thumbprint = jws::thumbprint(&key).unwrap();
        assert_eq!(session.thumbprint().unwrap(), thumbprint);
        let looked_up = looked_up.lock().unwrap();
        assert_eq!(looked_up.iter().map(|l| l.0.as_str()).collect::<Vec<_>>(), ["a.test", "b.test"]);
        assert!(looked_up.iter().all(|(_, token, found)| *found == key_authorization(token, &thumbprint)));
        assert_eq!(lab.ca.count(Endpoint::NewNonce), 1, "every other nonce comes with an answer");
        assert_eq!(lab.ca.count(Endpoint::Directory), 1);
        let download = lab.ca.seen().into_iter().find(|s| s.endpoint == Endpoint::Certificate).unwrap();
        assert_eq!(download.accept.as_deref(), Some("application/pem-certificate-chain"));
    }
}

#[test]
fn an_ip_address_is_ordered_as_such() {
    let lab = Lab::new();
    let chain = lab.issue(&lab.session(), &["192.0.2.1", "2001:db8::1"]).unwrap();
    let certificates = X509::stack_from_pem(&chain).unwrap();
    assert_eq!(certificates[0].subject_alt_names().unwrap().len(), 2);
    let order = lab.ca.seen().into_iter().find(|s| s.endpoint == Endpoint::NewOrder).unwrap();
    assert_eq!(order.payload["identifiers"][0], json!({"type": "ip", "value": "192.0.2.1"}));
}

#[test]
fn a_ca_that_refuses_every_second_nonce_still_issues() {
    let lab = Lab::new();
    let mut seed = 1u64;
    lab.ca.rules(|r| {
        r.refuse_nonce = Box::new(move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) & 1 == 0
        });
    });
    let session = lab.session();
    for n in 0..20 {
        lab.issue(&session, &[&format!("{n}.test")]).unwrap();
    }
}

#[test]
fn a_ca_that_refuses_every_nonce_is_not_asked_forever() {
    let lab = Lab::new();
    lab.ca.rules(|r| r.refuse_nonce = Box::new(|| true));
    let error = lab.server().unwrap().find_account(&key("P-256")).unwrap_err();
    assert_eq!(error.kind(), Some(Kind::BadNonce));
    assert_eq!(error.verdict(lab.clock.now()), Verdict::Retry);
    assert_eq!(lab.ca.count(Endpoint::NewAccount), 16);
    assert_eq!(lab.ca.count(Endpoint::NewNonce), 1, "each refusal brings the next nonce");
}

#[test]
fn nonces_that_are_too_long_or_no_base64url_are_dropped() {
    for bad in ["x".repeat(1025), "a b".into(), "a=".into(), "a.b".into(), String::new()] {
        let lab = Lab::new();
        lab.ca.fault(
            Endpoint::NewAccount,
            Fault::Raw(
                Answer::json(200, &json!({"status": "valid"}))
                    .with("Location", "https://ca.test/account/0")
                    .with("Replay-Nonce", bad),
            ),
        );
        let server = lab.server().unwrap();
        let key = key("P-256");
        server.register(&key, &[], None, None).unwrap();
        server.register(&key, &[], None, None).unwrap();
        assert_eq!(lab.ca.count(Endpoint::NewNonce), 2);
    }
    let lab = Lab::new();
    lab.ca.fault(Endpoint::NewNonce, Fault::Alter(|a| a.set("Replay-Nonce", Some("%".into()))));
    assert!(matches!(lab.server().unwrap().find_account(&key("P-256")), Err(Error::Protocol(_))));
}

#[test]
fn threads_share_directory_and_nonces() {
    let lab = Lab::new();
    let session = lab.session();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (lab, session) = (&lab, session.clone());
            scope.spawn(move || {
                for i in 0..5 {
                    lab.issue(&session, &[&format!("{n}-{i}.test")]).unwrap();
                }
            });
        }
    });
    assert_eq!(lab.ca.count(Endpoint::Directory), 1);
    assert!(lab.ca.count(Endpoint::NewNonce) <= 9, "one nonce in flight per thread");
}

#[test]
fn an_account_is_found_again_by_its_key() {
    let lab = Lab::new();
    let server = lab.server().unwrap();
    let key = key("P-256");
    let missing = server.find_account(&key).unwrap_err();
    assert_eq!(missing.kind(), Some(Kind::AccountDoesNotExist));
    let made = server.register(&key, &[], None, None).unwrap();
    assert_eq!(server.find_account(&key).unwrap(), made);
    assert_eq!(server.register(&key, &[], None, None).unwrap(), made);
    let session = Session::new(server, key, made.url.clone());
    assert_eq!(session.account().unwrap(), made);
}

#[test]
fn terms_of_service_are_agreed_to_before_anything_is_sent() {
    let lab = Lab::new();
    lab.ca.rules(|r| r.terms = Some("https://ca.test/terms".into()));
    let server = lab.server().unwrap();
    let error = server.register(&key("P-256"), &[], None, None).unwrap_err();
    assert!(matches!(&error, Error::AgreementRequired { terms } if terms == "https://ca.test/terms"));
    assert!(error.detail().contains("https://ca.test/terms"), "{}", error.detail());
    assert_eq!(lab.ca.count(Endpoint::NewAccount), 0);
    server.register(&key("P-256"), &[], Some("accepted"), None).unwrap();
}

#[test]
fn an_external_account_is_bound_with_its_hmac() {
    let lab = Lab::new();
    lab.ca.rules(|r| {
        r.eab_required = true;
        r.eab = Some(("kid-1".into(), b"0123456789abcdef0123456789abcdef".to_vec()));
    });
    let server = lab.server().unwrap();
    let register = |eab: Option<&Eab>| server.register(&key("P-256"), &[], None, eab);
    let none = register(None).unwrap_err();
    assert_eq!(none.kind(), Some(Kind::ExternalAccountRequired));
    assert!(none.detail().contains("MDExternalAccountBinding"));
    let eab = |hmac: &str| Eab { kid: "kid-1".into(), hmac: hmac.into() };
    let garbage = register(Some(&eab("secret text!"))).unwrap_err();
    assert_eq!(garbage.problem_type(), Some("apache:eab-hmac-invalid"));
    assert!(!garbage.detail().contains("secret text!"));
    assert_eq!(lab.ca.count(Endpoint::NewAccount), 0);
    let wrong = register(Some(&eab("MDEyMw"))).unwrap_err();
    assert_eq!(wrong.kind(), Some(Kind::Unauthorized));
    register(Some(&eab("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"))).unwrap();
}

#[test]
fn an_order_carries_what_is_asked_for_beside_names() {
    let lab = Lab::new();
    lab.ca.rules(|r| r.profiles = vec!["shortlived"]);
    let session = lab.session();
    assert_eq!(session.server().directory().profiles[0].0, "shortlived");
    let options = OrderOptions {
        profile: Some("shortlived".into()),
        replaces: Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE".into()),
        not_after: Some(Timestamp::from_unix(1_567_094_795)),
    };
    session.new_order(&["a.test".into()], &options).unwrap();
    let order = lab.ca.seen().pop().unwrap();
    assert_eq!(
        order.payload,
        json!({
            "identifiers": [{"type": "dns", "value": "a.test"}],
            "profile": "shortlived",
            "replaces": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE",
            "notAfter": "2019-08-29T16:06:35Z",
        })
    );
}

#[test]
fn reused_authorizations_make_an_order_that_is_ready_at_once() {
    let lab = Lab::new();
    lab.ca.rules(|r| r.reuse_authorizations = true);
    let session = lab.session();
    lab.issue(&session, &["a.test"]).unwrap();
    let before = lab.ca.count(Endpoint::Challenge);
    let order = session.new_order(&["a.test".into()], &OrderOptions::default()).unwrap().value;
    assert_eq!(order.status, OrderStatus::Ready);
    lab.finish(&session, order, &["a.test".into()]).unwrap();
    assert_eq!(lab.ca.count(Endpoint::Challenge), before);
}

#[test]
fn work_goes_on_from_order_url_account_and_key() {
    let lab = Lab::new();
    lab.ca.rules(|r| r.issuance_polls = 0);
    let key = key("P-256");
    let names = vec!["a.test".to_string()];
    let (kid, order_url) = {
        let server = lab.server().unwrap();
        let kid = server.register(&key, &[], None, None).unwrap().url;
        let session = Session::new(server, key.clone(), kid.clone());
        (kid, session.new_order(&names, &OrderOptions::default()).unwrap().value.url)
    };
    // Another process, with nothing but what was saved; its first try loses the answer to finalize.
    let session = Session::new(lab.server().unwrap(), key, kid);
    lab.ca.fault(Endpoint::Finalize, Fault::Lost(http::Error::Timeout));
    let order = session.order(&order_url).unwrap().value;
    assert!(matches!(lab.finish(&session, order, &names), Err(Error::Transport { .. })));
    let order = session.order(&order_url).unwrap().value;
    assert_eq!(order.status, OrderStatus::Valid);
    names_of(&lab.finish(&session, order, &names).unwrap());
    assert_eq!(lab.ca.count(Endpoint::NewOrder), 1);
}

#[test]
fn polling_waits_as_long_as_the_ca_says() {
    let lab = Lab::new();
    lab.ca.rules(|r| {
        r.retry_after = Some("7".into());
        r.validation_polls = 3;
        r.issuance_polls = 2;
    });
    let before = lab.clock.now();
    lab.issue(&lab.session(), &["a.test"]).unwrap();
    assert!(lab.clock.now().since(before) >= Duration::from_secs(6 * 7 - 7));
    assert_eq!(lab.ca.count(Endpoint::Authorization), 1 + 3);
}

#[test]
fn a_failed_validation_names_domain_and_reason() {
    let lab = Lab::new();
    lab.ca.rules(|r| {
        r.validate = Arc::new(|v| match v.name {
            "b.test" => Err(problem("unauthorized", "Invalid response from http://b.test: 404")),
            _ => Ok(()),
        });
    });
    let error = lab.issue(&lab.session(), &["a.test", "b.test"]).unwrap_err();
    assert_eq!(
        error.detail(),
        "the CA could not validate b.test by http-01: Invalid response from http://b.test: 404"
    );
    assert_eq!(error.problem_type(), Some("urn:ietf:params:acme:error:unauthorized"));
    assert_eq!(lab.ca.count(Endpoint::Finalize), 0);
}

#[test]
fn an_order_that_becomes_invalid_tells_the_subproblems() {
    let lab = Lab::new();
    let mut error = problem("compound", "Issuance failed");
    error["subproblems"] = json!([
        {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids", "identifier": {"type": "dns", "value": "a.test"}},
    ]);
    lab.ca.rules(|r| r.issuance_error = Some(error.clone()));
    let failed = lab.issue(&lab.session(), &["a.test"]).unwrap_err();
    assert_eq!(failed.detail(), "the order is invalid: Issuance failed; a.test: CAA forbids");
    assert_eq!(failed.subproblems(), Some(&error["subproblems"]));
    assert_eq!(failed.verdict(lab.clock.now()), Verdict::NextCa);
}

#[test]
fn a_rate_limit_holds_until_the_second_the_ca_names() {
    let lab = Lab::new();
    let session = lab.session();
    let document = problem("rateLimited", "too many orders");
    lab.ca.fault(Endpoint::NewOrder, Fault::Problem { status: 429, document, retry_after: Some("3600") });
    let error = lab.issue(&session, &["a.test"]).unwrap_err();
    let until = lab.clock.now().plus(Duration::from_secs(3600));
    assert_eq!(error.verdict(lab.clock.now()), Verdict::RetryAt(until));
    assert_eq!(error.detail(), "too many orders");
    let busy =
        Answer { status: 503, ..Answer::default() }.with("Retry-After", "Tue, 14 Nov 2023 22:14:20 GMT");
    lab.ca.fault(Endpoint::NewOrder, Fault::Raw(busy));
    let error = lab.issue(&session, &["a.test"]).unwrap_err();
    assert_eq!(error.verdict(lab.clock.now()), Verdict::RetryAt(Timestamp::from_unix(1_700_000_060)));
}

#[test]
fn an_unreached_server_is_told_with_url_reason_and_status() {
    let lab = Lab::new();
    lab.ca.fault(Endpoint::Directory, Fault::Unreached(http::Error::Refused));
    let Err(error) = lab.server() else { panic!("connected") };
    assert_eq!(error.apr_status(), 111);
    assert!(
        error.detail().starts_with("Unsuccessful in contacting ACME server at <https://ca.test/dir>. If")
    );
    assert!(error.detail().ends_with("(connection refused)"));
}

#[test]
fn answers_that_are_not_acme_are_protocol_errors() {
    let html = || Answer {
        status: 200,
        headers: vec![("Content-Type".into(), "text/html".into())],
        body: b"<html><script>alert(1)</script>".to_vec(),
    };
    let redirect = || Answer { status: 302, ..Answer::default() }.with("Location", "https://evil.test/");
    let faults: [(Endpoint, &dyn Fn() -> Fault); 9] = [
        (Endpoint::NewOrder, &|| Fault::Alter(|a| a.body.truncate(20))),
        (Endpoint::NewOrder, &|| Fault::Alter(|a| a.set("Location", None))),
        (Endpoint::NewOrder, &|| Fault::Alter(|a| a.set("Location", Some("/order/1".into())))),
        (Endpoint::NewOrder, &|| Fault::Raw(html())),
        (Endpoint::NewOrder, &|| Fault::Raw(redirect())),
        (Endpoint::Authorization, &|| Fault::Alter(|a| a.body = b"[]".to_vec())),
        (Endpoint::Certificate, &|| Fault::Raw(html())),
        (Endpoint::Certificate, &|| Fault::Alter(|a| a.body.truncate(100))),
        (Endpoint::Certificate, &|| Fault::Alter(|a| a.body.extend(b"-----BEGIN PRIVATE KEY-----"))),
    ];
    for (n, (endpoint, fault)) in faults.iter().enumerate() {
        let lab = Lab::new();
        let session = lab.session();
        lab.ca.fault(*endpoint, fault());
        let error = lab.issue(&session, &["a.test"]).unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{n}: {error}");
        assert!(!error.detail().contains("script"), "{n}: {error}");
        assert_eq!(lab.ca.seen().iter().filter(|s| s.url.contains("evil")).count(), 0);
        // The next try goes through.
        lab.issue(&session, &["a.test"]).unwrap();
    }
    let lab = Lab::new();
    lab.ca.fault(Endpoint::Directory, Fault::Raw(html()));
    assert!(matches!(lab.server(), Err(Error::NoDirectory { .. })));
}

#[test]
fn a_directory_url_that_leads_elsewhere_is_told() {
    let page = |status| Answer {
        status,
        headers: vec![("Content-Type".into(), "text/html".into())],
        body: b"<h1>oops</h1>".to_vec(),
    };
    let first = json!({"new-reg": "https://ca.test/reg", "new-authz": "https://ca.test/authz"});
    for (answer, said) in [
        (page(404), "https://ca.test/dir answered 404 without a problem document"),
        (Answer::problem(404, &problem("malformed", "Page not found")), "Page not found"),
        (page(200), "not the JSON it should be"),
        (Answer::json(200, &json!({"version": 7})), "'newNonce' is missing"),
        (Answer::json(200, &first), "ACME's first version"),
        (page(301).with("Location", "https://ca.test/other"), "redirect (301) to https://ca.test/other"),
    ] {
        let lab = Lab::new();
        lab.ca.fault(Endpoint::Directory, Fault::Raw(answer));
        let Err(error) = lab.server() else { panic!("connected") };
        let text = error.detail();
        assert!(
            text.contains("no ACME directory at https://ca.test/dir")
                && text.contains("probably the URL is wrong")
                && text.contains(said),
            "{text}"
        );
    }
    // Trouble of the right server is no reason to doubt its URL.
    let lab = Lab::new();
    lab.ca.fault(Endpoint::Directory, Fault::Raw(page(503)));
    assert!(!lab.server().err().unwrap().detail().contains("the URL is wrong"));
}

#[test]
fn an_error_page_is_told_by_its_status() {
    let lab = Lab::new();
    let session = lab.session();
    let page = Answer {
        status: 500,
        headers: vec![("Content-Type".into(), "text/html".into())],
        body: b"<h1>oops</h1>".to_vec(),
    };
    lab.ca.fault(Endpoint::NewOrder, Fault::Raw(page));
    let error = lab.issue(&session, &["a.test"]).unwrap_err();
    assert_eq!(
        error.detail(),
        "https://ca.test/new-order answered 500 without a problem document (text/html)"
    );
    assert_eq!(error.verdict(lab.clock.now()), Verdict::Retry);
}

#[test]
fn a_stopped_process_sends_nothing_more() {
    let lab = Lab::new();
    let session = lab.session();
    let before = lab.ca.seen().len();
    lab.clock.stop.raise();
    assert!(matches!(lab.issue(&session, &["a.test"]), Err(Error::Stopped)));
    assert_eq!(lab.ca.seen().len(), before);
}

/// The double itself: it must catch what it promises to catch.
#[test]
fn the_fake_ca_refuses_forged_requests() {
    use mod_md::http::{Request, Transport};
    let lab = Lab::new();
    let session = lab.session();
    let url = "https://ca.test/new-order";
    let ask = |header: Value, key: &PrivateKey, content_type: &str| {
        let header = header.as_object().unwrap().clone();
        let body = jws::sign(key, header, b"{}", &CpuLimit::default()).unwrap().to_string();
        let response = lab.ca.send(&Request::post(url, content_type, body.as_bytes())).unwrap();
        String::from_utf8(response.body).unwrap()
    };
    let kid = "https://ca.test/account/0";
    let jose = "application/jose+json";
    let forged = ask(json!({"kid": kid, "url": url, "nonce": "n"}), &key("P-256"), jose);
    assert!(forged.contains("signature does not hold"), "{forged}");
    let other_url = ask(json!({"kid": kid, "url": "https://ca.test/x", "nonce": "n"}), &key("P-256"), jose);
    assert!(other_url.contains("another request"), "{other_url}");
    let by_key = ask(json!({"jwk": {}, "url": url, "nonce": "n"}), &key("P-256"), jose);
    assert!(by_key.contains("exactly one"), "{by_key}");
    let plain = ask(json!({"kid": kid, "url": url, "nonce": "n"}), &key("P-256"), "application/json");
    assert!(plain.contains("content type"), "{plain}");
    assert_eq!(lab.ca.take_violations().len(), 4);
    drop(session);
}

type Edit = fn(&mut Answer);

#[test]
fn a_ca_that_is_read_over_https_leads_to_nothing_without_encryption() {
    // On the directory's own host, by any port.
    fn in_clear(answer: &mut Answer) {
        let text = String::from_utf8(std::mem::take(&mut answer.body)).unwrap();
        answer.body = text.replace("https://", "http://").into_bytes();
    }
    let lab = Lab::new();
    lab.ca.fault(Endpoint::Directory, Fault::Alter(in_clear));
    let error = lab.server().map(drop).unwrap_err().to_string();
    assert!(error.contains("http://ca.test") && error.contains("not encrypted"), "{error}");
    let cases: [(Endpoint, Edit); 4] = [
        (Endpoint::NewOrder, in_clear),
        (Endpoint::NewOrder, |a| {
            let location = a.headers.iter().find(|(name, _)| name == "Location").unwrap().1.clone();
            a.set("Location", Some(location.replace("https://", "http://")));
        }),
        (Endpoint::Authorization, in_clear),
        (Endpoint::Finalize, |a| {
            let mut order: Value = serde_json::from_slice(&a.body).unwrap();
            order["status"] = json!("valid");
            order["certificate"] = json!("http://ca.test/certificate/0");
            a.body = order.to_string().into_bytes();
        }),
    ];
    for (n, (endpoint, change)) in cases.into_iter().enumerate() {
        let lab = Lab::new();
        let session = lab.session();
        lab.ca.fault(endpoint, Fault::Alter(change));
        let error = lab.issue(&session, &["a.test"]).unwrap_err().to_string();
        assert!(error.contains("which is not encrypted, although its directory is"), "{n}: {error}");
        assert!(lab.ca.seen().iter().all(|seen| seen.endpoint != Endpoint::Unknown), "{n}");
    }
}
