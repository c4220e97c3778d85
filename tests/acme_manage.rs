// SPDX-License-Identifier: Apache-2.0
//! The ACME client's functions outside of an order, against the CA in memory: other chains, revocation, key
//! change, and the deactivation of an account.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use doubles::VirtualClock;
use doubles::fake_ca::{Endpoint, FakeCa, Fault};
use mod_md::acme::problem::Kind;
use mod_md::acme::{Error, OrderOptions, Reason, Server, Session};
use mod_md::crypto::{PrivateKey, csr};
use mod_md::model::KeySpec;
use mod_md::time::Timestamp;
use openssl::x509::X509;
use std::sync::Arc;

struct Lab {
    ca: Arc<FakeCa>,
    server: Arc<Server>,
    session: Session,
    account_key: PrivateKey,
}

/// A certificate, its key, and where the CA has it.
struct Issued {
    der: Vec<u8>,
    key: PrivateKey,
    url: String,
}

fn key() -> PrivateKey {
    PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap()
}

impl Lab {
    fn new() -> Lab {
        let clock = Arc::new(VirtualClock::at(Timestamp::from_unix(1_700_000_000)));
        let ca = FakeCa::new("ca.test", clock.clone());
        ca.rules(|rules| {
            rules.validation_polls = 0;
            rules.issuance_polls = 0;
        });
        let server = Arc::new(Server::connect(&ca.directory_url(), ca.clone(), clock).unwrap());
        let account_key = key();
        let url = server.register(&account_key, &[], None, None).unwrap().url;
        let session = Session::new(server.clone(), account_key.clone(), url);
        Lab { ca, server, session, account_key }
    }

    fn issue(&self, session: &Session, key: PrivateKey) -> Issued {
        let names = ["a.test".to_string()];
        let order = session.new_order(&names, &OrderOptions::default()).unwrap().value;
        let authorization = session.authorization(&order.authorizations[0]).unwrap().value;
        session.start_challenge(&authorization.challenge("http-01").unwrap().url).unwrap();
        let order = session.finalize(&order, &csr::build(&key, &names, false).unwrap()).unwrap().value;
        let url = order.certificate.unwrap();
        let chain = session.certificate(&url).unwrap();
        Issued { der: X509::stack_from_pem(&chain).unwrap()[0].to_der().unwrap(), key, url }
    }
}

#[test]
fn a_chain_comes_with_the_urls_of_its_alternates() {
    let lab = Lab::new();
    let issued = lab.issue(&lab.session, key());
    let plain = lab.session.certificate_with_alternates(&issued.url).unwrap();
    assert_eq!(plain.alternates, Vec::<String>::new());
    lab.ca.rules(|rules| rules.alternates = true);
    let download = lab.session.certificate_with_alternates(&issued.url).unwrap();
    assert_eq!(download.chain, plain.chain);
    assert_eq!(download.alternates.len(), 1);
    let other = lab.session.certificate(&download.alternates[0]).unwrap();
    assert_eq!(X509::stack_from_pem(&other).unwrap().len(), 1);
    assert!(download.chain.starts_with(&other));
}

#[test]
fn a_certificate_is_revoked_by_its_account_or_its_own_key_alone() {
    for spec in [KeySpec::Rsa(2048), KeySpec::Ec("P-256".into())] {
        let lab = Lab::new();
        let first = lab.issue(&lab.session, PrivateKey::generate(&spec).unwrap());
        lab.session.revoke(&first.der, Some(Reason::Superseded)).unwrap();
        let second = lab.issue(&lab.session, PrivateKey::generate(&spec).unwrap());
        let stranger = lab.server.revoke(&second.der, &key(), None).unwrap_err();
        assert_eq!(stranger.kind(), Some(Kind::Unauthorized));
        lab.server.revoke(&second.der, &second.key, Some(Reason::KeyCompromise)).unwrap();
        assert_eq!(lab.ca.revoked(), [(first.der, Some(4)), (second.der.clone(), Some(1))]);
        let again = lab.session.revoke(&second.der, None).unwrap_err();
        assert_eq!(again.kind(), Some(Kind::AlreadyRevoked));
        assert!(lab.ca.seen().pop().unwrap().payload.get("reason").is_none(), "no reason is none");
    }
}

#[test]
fn an_account_goes_on_under_its_new_key_and_the_old_one_opens_nothing() {
    let lab = Lab::new();
    let new = key();
    let session = lab.session.change_key(&new).unwrap();
    lab.issue(&session, key());
    assert_eq!(lab.server.find_account(&new).unwrap(), session.account().unwrap());
    let old = lab.server.find_account(&lab.account_key).unwrap_err();
    assert_eq!(old.kind(), Some(Kind::AccountDoesNotExist));
    assert!(lab.session.account().is_err());
    assert_eq!(lab.ca.take_violations().len(), 1, "the request signed with the old key");
}

#[test]
fn a_key_of_another_account_is_refused_and_a_lost_answer_found_out() {
    let lab = Lab::new();
    let other = key();
    lab.server.register(&other, &[], None, None).unwrap();
    assert_eq!(lab.session.change_key(&other).err().unwrap().problem().unwrap().status, 409);
    lab.session.account().unwrap();
    let new = key();
    lab.ca.fault(Endpoint::KeyChange, Fault::Lost(mod_md::http::Error::Timeout));
    assert!(matches!(lab.session.change_key(&new), Err(Error::Transport { .. })));
    lab.server.find_account(&new).unwrap();
}

#[test]
fn a_deactivated_account_stays_so() {
    let lab = Lab::new();
    assert_eq!(lab.session.deactivate().unwrap().status, "deactivated");
    let error = lab.session.new_order(&["a.test".into()], &OrderOptions::default()).unwrap_err();
    assert_eq!(error.kind(), Some(Kind::Unauthorized));
}

#[test]
fn what_the_directory_does_not_have_is_told() {
    let clock = Arc::new(VirtualClock::at(Timestamp::from_unix(1_700_000_000)));
    let ca = FakeCa::new("ca.test", clock.clone());
    ca.fault(
        Endpoint::Directory,
        Fault::Alter(|answer| {
            let mut directory: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            directory["revokeCert"] = serde_json::json!("mailto:ca@ca.test");
            directory.as_object_mut().unwrap().remove("keyChange");
            answer.body = directory.to_string().into_bytes();
        }),
    );
    let server = Arc::new(Server::connect(&ca.directory_url(), ca.clone(), clock).unwrap());
    let key = key();
    let session =
        Session::new(server.clone(), key.clone(), server.register(&key, &[], None, None).unwrap().url);
    let told = |result: Result<(), Error>| result.unwrap_err().to_string();
    assert!(told(server.revoke(b"x", &key, None)).contains("'revokeCert'"));
    assert!(told(session.change_key(&key).map(drop)).contains("'keyChange'"));
}
