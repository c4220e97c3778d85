// SPDX-License-Identifier: Apache-2.0
//! Responses in the store, `ocsp/OWNER/ocsp-HEX.json` in the C module's form, so that a restart during an
//! outage of the responder still staples. A response from a file is verified like one from the network.

use super::flaw::Flaw;
use super::response::{self, Response, Status};
use super::subject::{Id, Subject, id_of_hex};
use crate::store::Group;
use crate::store::{Error, Rights, StartStore, Store, WorkGroup, WorkStore};
use crate::time::{TimeSlice, Timestamp};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};

const PREFIX: &str = "ocsp-";
const SUFFIX: &str = ".json";

/// The name of the file with the response for a certificate.
pub fn name(id: &Id) -> String {
    format!("{PREFIX}{}{SUFFIX}", HEXLOWER.encode(id))
}

/// Why a stored response is not used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("{0}")]
    Store(#[from] Error),
    #[error("it contains no response in base64url")]
    Encoding,
    #[error("{0}")]
    Flaw(#[from] Flaw),
}

/// The stored response for `subject`, verified; it may have expired. `None`: there is none.
pub fn read<R: Rights>(
    store: &Store<R>,
    group: R::Group,
    subject: &Subject,
    now: Timestamp,
) -> Result<Option<Response>, Unusable> {
    let Some(json) = store.read_json(group, &subject.owner, &name(&subject.id))? else { return Ok(None) };
    let text = json.get("response").and_then(Value::as_str).ok_or(Unusable::Encoding)?;
    let der =
        BASE64URL_NOPAD.decode(text.trim_end_matches('=').as_bytes()).map_err(|_| Unusable::Encoding)?;
    let response = response::verify(&der, subject, now)?;
    // The C module stores these as well, and clients refuse them.
    response::check_begun(&response, now)?;
    // A response that says nothing does not stand in the way of one that does.
    Ok(Some(response).filter(|response| response.status != Status::Unknown))
}

pub fn write(store: &WorkStore, subject: &Subject, response: &Response) -> Result<(), Error> {
    let json = json!({
        "valid": {"from": response.from.to_http_date(), "until": response.until.to_http_date()},
        "status": response.status.word(),
        "response": BASE64URL_NOPAD.encode(&response.der),
    });
    store.write_json(WorkGroup::Ocsp, &subject.owner, &name(&subject.id), &json)
}

/// Removes the response for `subject`, which nobody staples any more. A missing one is no error.
pub fn remove(store: &WorkStore, subject: &Subject) -> Result<(), Error> {
    store.remove(WorkGroup::Ocsp, &subject.owner, &name(&subject.id))
}

/// The users of stored responses.
pub trait Users {
    /// Certificates are stapled for this owner.
    fn is_owner(&self, owner: &str) -> bool;
    /// The response of this certificate of an owner is stapled or will be.
    fn is_used(&self, owner: &str, id: &Id) -> bool;
}

/// Strangers whose folders one start looks at, and files in each folder. Any process of httpd's user can make
/// more of them, and a start waits for this.
const STRANGERS: usize = 100;
const FILES: usize = 1000;

/// Removes responses that were not renewed for `keep` (`MDStaplingKeepResponse`) and have no users any more,
/// and folders that become empty. Returns the number of removed responses. Removes a limited number; later
/// starts continue.
pub fn remove_old(
    store: &StartStore,
    keep: TimeSlice,
    now: Timestamp,
    users: &dyn Users,
) -> Result<usize, Error> {
    // A percentage would need the lifetime of a certificate that may be gone: assume a usual one.
    let limit = now.minus(keep.of(crate::time::DAY * 90));
    let mut removed = 0;
    let (known, strangers): (Vec<_>, Vec<_>) =
        store.names(Group::Ocsp)?.into_iter().partition(|owner| users.is_owner(owner));
    for owner in known.into_iter().chain(strangers.into_iter().take(STRANGERS)) {
        let is_old = |file: &str| {
            let modified = store.modified(Group::Ocsp, &owner, file)?;
            Ok::<bool, Error>(modified.is_some_and(|at| at < limit))
        };
        let is_used = |file: &str| id_of(file).is_some_and(|id| users.is_used(&owner, &id));
        let mut left = Vec::new();
        for (count, file) in store.files(Group::Ocsp, &owner)?.into_iter().enumerate() {
            let is_response = file.starts_with(PREFIX) && file.ends_with(SUFFIX);
            if count < FILES && is_response && is_old(&file)? && !is_used(&file) {
                store.remove(Group::Ocsp, &owner, &file)?;
                removed += 1;
            } else {
                left.push(file);
            }
        }
        // The job of an owner without a response has the time of the next request.
        if users.is_owner(&owner) {
            continue;
        }
        if left.is_empty() || (left == ["job.json"] && is_old("job.json")?) {
            store.purge(Group::Ocsp, &owner)?;
        }
    }
    Ok(removed)
}

/// The certificate that a file of this name has the response for.
pub fn id_of(file: &str) -> Option<Id> {
    id_of_hex(file.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::wire::Say;
    use super::super::fixture::{HOUR, Responder, subject};
    use super::*;
    use crate::crypto::fixture::NOW;
    use crate::time::{Clock, DAY, SystemClock};

    #[test]
    fn a_response_is_read_as_it_was_written_and_a_forged_file_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        let (responder, worker) = (Responder::new(), store.worker());
        let subject = subject(&responder, "http://o.test");
        assert!(read(&store, Group::Ocsp, &subject, NOW).unwrap().is_none());
        let der = responder.respond(&subject, Say::Good, NOW.minus(HOUR), Some(NOW.plus(HOUR)));
        let response = response::verify(&der, &subject, NOW).unwrap();
        write(&worker, &subject, &response).unwrap();
        assert!(read(&worker, WorkGroup::Ocsp, &subject, NOW).unwrap() == Some(response.clone()));
        assert!(read(&worker, WorkGroup::Ocsp, &subject, NOW.plus(DAY)).unwrap().is_some(), "expired");
        let file = dir.path().join(format!("md/ocsp/a.test/ocsp-{}.json", subject.id_hex()));
        let json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(json["status"], "good");
        assert_eq!(json["valid"]["until"], NOW.plus(HOUR).to_http_date());
        let early = read(&worker, WorkGroup::Ocsp, &subject, response.from.minus(HOUR));
        assert!(matches!(early, Err(Unusable::Flaw(Flaw::NotYet(from))) if from == response.from));
        let mut forged = response;
        let last = forged.der.len() - 1;
        forged.der[last] ^= 1;
        write(&worker, &subject, &forged).unwrap();
        assert!(matches!(read(&worker, WorkGroup::Ocsp, &subject, NOW), Err(Unusable::Flaw(_))));
        std::fs::write(&file, "{\"response\": 5}").unwrap();
        assert!(matches!(read(&worker, WorkGroup::Ocsp, &subject, NOW), Err(Unusable::Encoding)));
    }

    /// Owners, each with the certificate that it staples for.
    struct Stapled(&'static [(&'static str, Id)]);

    impl Users for Stapled {
        fn is_owner(&self, owner: &str) -> bool {
            self.0.iter().any(|(known, _)| *known == owner)
        }

        fn is_used(&self, owner: &str, id: &Id) -> bool {
            self.0.contains(&(owner, *id))
        }
    }

    #[test]
    fn a_start_looks_at_few_folders_of_strangers_and_later_ones_at_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        let (worker, later) = (store.worker(), SystemClock::default().now().plus(DAY * 8));
        let old = name(&[0xab; 20]);
        let owners = (0..STRANGERS + 20).map(|count| format!("a{count}.test")).chain(["used.test".into()]);
        owners.for_each(|owner| worker.write(WorkGroup::Ocsp, &owner, &old, b"{}").unwrap());
        let users = Stapled(&[("used.test", [0xcd; 20])]);
        let start = || remove_old(&store, TimeSlice::Length(DAY * 7), later, &users).unwrap();
        assert_eq!([start(), start(), start()], [STRANGERS + 1, 20, 0]);
    }

    #[test]
    fn old_responses_without_users_are_removed_and_all_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        let (worker, now) = (store.worker(), SystemClock::default().now());
        let (old, used) = (name(&[0xab; 20]), name(&[0xcd; 20]));
        for (owner, file) in [
            ("old.test", old.as_str()),
            ("old.test", "job.json"),
            ("kept.test", &old),
            ("kept.test", "notes"),
            ("used.test", &old),
            ("used.test", &used),
            ("failing.test", "job.json"),
        ] {
            worker.write(WorkGroup::Ocsp, owner, file, b"{}").unwrap();
        }
        let users = Stapled(&[("used.test", [0xcd; 20]), ("failing.test", [0xcd; 20])]);
        let week = TimeSlice::Length(DAY * 7);
        assert_eq!(remove_old(&store, week, now, &users).unwrap(), 0);
        assert_eq!(remove_old(&store, week, now.plus(DAY * 8), &users).unwrap(), 3);
        assert_eq!(store.names(Group::Ocsp).unwrap(), ["failing.test", "kept.test", "used.test"]);
        assert_eq!(store.files(Group::Ocsp, "kept.test").unwrap(), ["notes"]);
        assert_eq!(store.files(Group::Ocsp, "used.test").unwrap(), [used]);
        assert_eq!(store.files(Group::Ocsp, "failing.test").unwrap(), ["job.json"]);
    }
}
