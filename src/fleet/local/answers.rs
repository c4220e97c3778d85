// SPDX-License-Identifier: Apache-2.0
//! Answers to challenges of other nodes, in `challenges/` like this node's own, with the MD as their owner. The
//! certificates of tls-alpn-01 are made here: only the digest in them counts. Refuses answers of other forms
//! than challenges have.

use crate::challenge::answers::{Folder, Noted};
use crate::challenge::dns01::responder;
use crate::challenge::{dns_account01, dns01, http01, tls_alpn01};
use crate::crypto::{self, CpuLimit, PrivateKey};
use crate::managed::peers::SharedAnswer;
use crate::names;
use crate::store::{Error, Work, WorkGroup, WorkStore};
use crate::sync::lock;
use crate::time::{Stopped, Timestamp};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

const GROUP: WorkGroup = WorkGroup::Challenges;

/// Why an answer is not put in place.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    #[error("it is none that a challenge of type '{0}' can have")]
    Form(String),
    #[error("{0}")]
    Store(#[from] Error),
    #[error("{0}")]
    Crypto(#[from] crypto::Error),
    #[error("{0}")]
    Stopped(Stopped),
}

pub struct Answers {
    store: WorkStore,
    /// Held while answers are changed, by renewals of this process as well.
    changing: Arc<Mutex<()>>,
    /// Of certificates that answer tls-alpn-01.
    key: Mutex<Option<PrivateKey>>,
    limit: CpuLimit,
}

impl Answers {
    pub fn new(store: WorkStore, changing: Arc<Mutex<()>>, limit: CpuLimit) -> Self {
        Answers { store, changing, key: Mutex::default(), limit }
    }

    pub fn put(&self, answer: &SharedAnswer, now: Timestamp) -> Result<(), Flaw> {
        let Some(place) = Place::of(answer) else { return Err(Flaw::Form(answer.type_.clone())) };
        match place {
            Place::Http => {
                let _held = lock(&self.changing);
                Ok(self.folder(&answer.dns_name).put_http(&answer.owner, &answer.answer)?)
            }
            Place::Tls => self.put_certificates(answer, now),
            Place::Txt { domain } => {
                let _held = lock(&self.changing);
                Ok(self.folder(&domain).note_record(&answer.owner, txt(answer, &domain))?)
            }
        }
    }

    pub fn remove(&self, answer: &SharedAnswer) -> Result<(), Flaw> {
        let Some(place) = Place::of(answer) else { return Ok(()) };
        let _held = lock(&self.changing);
        let (folder, owner) = (self.folder(&answer.dns_name), answer.owner.as_str());
        match place {
            Place::Http => folder.remove_answer(http01::NOTE, owner, &answer.answer)?,
            Place::Tls => folder.remove_answer(tls_alpn01::NOTE, owner, &answer.answer)?,
            Place::Txt { domain } => {
                let folder = self.folder(&domain);
                folder.forget_record(owner, &txt(answer, &domain))?;
                folder.remove_if_empty()?;
            }
        }
        Ok(())
    }

    /// Those for these names that have these owners: of http-01 and tls-alpn-01 alone.
    pub fn of<'n>(&self, names: impl Iterator<Item = &'n str>, owners: &BTreeSet<&str>) -> Vec<SharedAnswer> {
        let _held = lock(&self.changing);
        let mut found = Vec::new();
        for name in self.store.present(GROUP, names).unwrap_or_default() {
            let folder = self.folder(&name);
            for (note, type_) in [(http01::NOTE, http01::TYPE), (tls_alpn01::NOTE, tls_alpn01::TYPE)] {
                let answers = folder.read(note);
                let records = answers.records().filter_map(|(owner, noted)| Some((owner?, noted)));
                let own = records.filter(|(owner, _)| owners.contains(owner));
                found.extend(own.map(|(owner, noted)| SharedAnswer {
                    type_: type_.into(),
                    dns_name: name.clone(),
                    owner: owner.into(),
                    answer: noted.value.clone(),
                }));
            }
        }
        found
    }

    fn folder<'a>(&'a self, name: &'a str) -> Folder<'a, Work> {
        Folder { store: &self.store, group: GROUP, name }
    }

    /// Of P-256 alone, which every CA takes: a key of RSA takes seconds, while which this node acknowledges nothing.
    fn put_certificates(&self, answer: &SharedAnswer, now: Timestamp) -> Result<(), Flaw> {
        let (store, name) = (&self.store, answer.dns_name.as_str());
        let (spec, key) = (tls_alpn01::usual_ec(), self.key()?);
        let _held = lock(&self.changing);
        self.folder(name).note_certificate(&answer.owner, &answer.answer)?;
        for file in store.files(GROUP, name)? {
            if tls_alpn01::is_of_other_key(&file, std::slice::from_ref(&spec)) {
                store.remove(GROUP, name, &file)?;
            }
        }
        let chain = tls_alpn01::certificate(name, &answer.answer, &key, now)?;
        // The certificate comes last: with it the pair is looked for.
        store.write_key(GROUP, name, &tls_alpn01::key_file(&spec), &key)?;
        Ok(store.write_chain(GROUP, name, &tls_alpn01::cert_file(&spec), &chain)?)
    }

    fn key(&self) -> Result<PrivateKey, Flaw> {
        let mut known = lock(&self.key);
        if let Some(key) = &*known {
            return Ok(key.clone());
        }
        let key = self.limit.generate(&tls_alpn01::usual_ec(), || false)?.ok_or(Flaw::Stopped(Stopped))?;
        Ok(known.insert(key).clone())
    }
}

/// Where an answer stands.
enum Place {
    Http,
    Tls,
    /// In the folder of this name.
    Txt {
        domain: String,
    },
}

impl Place {
    /// `None`: it is no answer to such a challenge.
    fn of(answer: &SharedAnswer) -> Option<Self> {
        let is_name = names::normalize(&answer.dns_name).is_ok_and(|name| name == answer.dns_name);
        let parts = answer.answer.split_once('.').filter(|(token, print)| is_word(token) && is_word(print));
        match answer.type_.as_str() {
            http01::TYPE if is_name && parts.is_some() => Some(Place::Http),
            tls_alpn01::TYPE if is_name && parts.is_some() => Some(Place::Tls),
            dns01::TYPE | dns_account01::TYPE if dns01::is_ours(&answer.dns_name, &answer.answer) => {
                let domain = responder::folder_name(&answer.dns_name).ok()?;
                Some(Place::Txt { domain })
            }
            _ => None,
        }
    }
}

/// The key authorization's parts are base64url (RFC 8555 §8.1).
fn is_word(text: &str) -> bool {
    let is_base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !text.is_empty() && text.len() <= 512 && text.bytes().all(is_base64url)
}

fn txt(answer: &SharedAnswer, domain: &str) -> Noted {
    Noted {
        type_: Some(answer.type_.clone()),
        served_for: Some(domain.into()),
        ..Noted::from(answer.answer.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StartStore;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn answer(type_: &str, dns_name: &str, answer: &str) -> SharedAnswer {
        SharedAnswer {
            type_: type_.into(),
            dns_name: dns_name.into(),
            owner: "a.test".into(),
            answer: answer.into(),
        }
    }

    #[test]
    fn answers_of_every_type_stand_where_they_are_given_from_and_go_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap().worker();
        let answers = Answers::new(store.clone(), Arc::default(), CpuLimit::default());
        let digest = dns01::value("token.print");
        let (one, two) = (answer("http-01", "a.test", "t1.print"), answer("http-01", "a.test", "t2.print"));
        let tls = answer("tls-alpn-01", "a.test", "t3.print");
        let txt = answer("dns-01", "_acme-challenge.b.test", &digest);
        for answer in [&one, &two, &tls, &txt] {
            answers.put(answer, NOW).unwrap();
            answers.put(answer, NOW).unwrap();
        }
        let http = || answers.folder("a.test").read(http01::NOTE).all().map(String::from).collect::<Vec<_>>();
        assert_eq!(http(), ["t1.print", "t2.print"]);
        assert_eq!(tls_alpn01::files(&store.files(GROUP, "a.test").unwrap()).len(), 1, "of P-256");
        assert_eq!(answers.folder("b.test").read(dns01::NOTE).all().collect::<Vec<_>>(), [digest.as_str()]);
        let found = answers.of(["a.test", "b.test"].into_iter(), &["a.test"].into());
        assert_eq!(found, [one.clone(), two.clone(), tls.clone()]);
        answers.remove(&two).unwrap();
        assert_eq!(http(), ["t1.print"]);
        for answer in [&one, &tls, &txt, &txt] {
            answers.remove(answer).unwrap();
        }
        assert!(store.present(GROUP, ["a.test", "b.test"].into_iter()).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_answer_is_put_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap().worker();
        let answers = Answers::new(store, Arc::default(), CpuLimit::default());
        for (type_, name, text) in [
            ("http-01", "../a", "t.p"),
            ("http-01", "a.test", "<script>.p"),
            ("http-01", "a.test", "no-dot"),
            ("http-01", "a.test", "t.p\r\nX: y"),
            ("tls-alpn-01", "A.test", "t.p"),
            ("dns-01", "_acme-challenge.a.test", "v=spf1"),
            ("dns-persist-01", "a.test", "t.p"),
        ] {
            let flaw = answers.put(&answer(type_, name, text), NOW).map_err(|flaw| flaw.to_string());
            assert!(flaw.is_err_and(|flaw| flaw.contains(type_)), "{type_} {name} {text}");
        }
        assert!(!dir.path().join("md/challenges/a.test").exists());
    }
}
