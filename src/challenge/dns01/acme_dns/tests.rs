// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::store::{Fuse, StartStore, WorkStore};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

const URL: &str = "https://auth.test/";
const VALUE: &str = "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo";

/// As the API of acme-dns is documented.
#[derive(Default)]
struct Server {
    registered: AtomicUsize,
    updates: Mutex<Vec<String>>,
    /// In place of every answer.
    answer: Mutex<Option<(u16, String)>>,
}

impl Transport for Server {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        assert_eq!(request.content_type, Some("application/json"));
        let reply = |status, body: String| Ok(Response::new(status, Vec::new(), body.into_bytes()));
        if let Some((status, body)) = self.answer.lock().unwrap().clone() {
            return reply(status, body);
        }
        let body: Value = serde_json::from_slice(request.body.unwrap()).unwrap_or_default();
        match request.url {
            "https://auth.test/register" => {
                let n = self.registered.fetch_add(1, Ordering::Relaxed) + 1;
                reply(201, new_account(n).to_string())
            }
            "https://auth.test/update" => {
                let subdomain = body["subdomain"].as_str().unwrap();
                let n = subdomain.strip_prefix("sub-").unwrap();
                let user = format!("user-{n}");
                let key = format!("key-{n}");
                if request.credentials != [("x-api-user", user.as_str()), ("x-api-key", key.as_str())] {
                    return reply(401, "{\"error\": \"forbidden\"}".into());
                }
                self.updates.lock().unwrap().push(format!("{subdomain} {}", body["txt"].as_str().unwrap()));
                reply(200, json!({"txt": body["txt"]}).to_string())
            }
            other => panic!("{other}"),
        }
    }
}

fn new_account(n: usize) -> Value {
    json!({
        "allowfrom": [],
        "fulldomain": format!("sub-{n}.auth.test"),
        "password": format!("key-{n}"),
        "subdomain": format!("sub-{n}"),
        "username": format!("user-{n}"),
    })
}

fn store() -> (TempDir, PathBuf, WorkStore) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("md");
    let store = StartStore::open(&path, None).unwrap().worker();
    (dir, path, store)
}

#[test]
fn a_domain_has_one_account_which_is_used_for_each_value() {
    let (_dir, path, store) = store();
    let server = Server::default();
    for domain in ["a.test", "b.test", "a.test"] {
        let account = account(URL, domain, &store, &server).unwrap();
        set_up(URL, &account, VALUE, &server).unwrap();
    }
    assert_eq!(server.registered.load(Ordering::Relaxed), 2);
    let sent = ["sub-1", "sub-2", "sub-1"].map(|subdomain| format!("{subdomain} {VALUE}"));
    assert_eq!(*server.updates.lock().unwrap(), sent);
    // The next process finds them; another server has others.
    let store = StartStore::open(&path, None).unwrap().worker();
    let again = account(URL, "a.test", &store, &server).unwrap();
    assert_eq!(
        delegation(&"_acme-challenge.a.test", &again),
        "_acme-challenge.a.test. CNAME sub-1.auth.test."
    );
    assert!(store.load("other.test", "a.test").unwrap().is_none());
    let file = std::fs::read_to_string(path.join("dns/acme-dns-auth.test.json")).unwrap();
    assert!(!file.contains("key-1") && !file.contains("user-1"), "{file}");
}

#[test]
fn a_file_that_cannot_be_read_is_no_reason_for_a_new_account() {
    let (_dir, path, store) = store();
    let server = Server::default();
    account(URL, "a.test", &store, &server).unwrap();
    let file = path.join("dns/acme-dns-auth.test.json");
    let good = std::fs::read(&file).unwrap();
    let unfit = r#"{"sealed": "AAAA"}"#.as_bytes();
    for bad in [&b""[..], b"{}", &good[..good.len() - 9], unfit] {
        std::fs::write(&file, bad).unwrap();
        let error = account(URL, "a.test", &store, &server).err().unwrap().to_string();
        assert!(error.contains("No new account") && error.contains("acme-dns-auth.test.json"), "{error}");
        assert!(account(URL, "b.test", &store, &server).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), bad);
    }
    // One whose content is ours, but not whole.
    std::fs::remove_file(&file).unwrap();
    let half = |_| Ok::<_, store::Error>(Some(Zeroizing::new(br#"{"a.test": {"username": "u"}}"#.to_vec())));
    store.change_sealed("acme-dns-auth.test.json", half).unwrap();
    assert!(account(URL, "a.test", &store, &server).is_err());
    assert_eq!(server.registered.load(Ordering::Relaxed), 1);
}

#[test]
fn the_account_that_was_noted_first_is_the_one() {
    let (_dir, _path, store) = store();
    let of = |n| Account::parse(&new_account(n)).unwrap();
    assert_eq!(store.save("auth.test", "a.test", of(1)).unwrap().subdomain, "sub-1");
    assert_eq!(store.save("auth.test", "a.test", of(2)).unwrap().subdomain, "sub-1");
    assert_eq!(store.save("auth.test", "b.test", of(3)).unwrap().subdomain, "sub-3");
    assert_eq!(store.load("auth.test", "a.test").unwrap().unwrap().subdomain, "sub-1");
    assert_eq!(store.save("[::1]:8443", "a.test", of(4)).unwrap().subdomain, "sub-4");
}

/// Of a process that ends before any single step on the disk, the account is noted or was never used.
#[test]
fn no_account_is_used_that_was_not_noted() {
    for steps in 0..20 {
        let (_dir, path, store) = store();
        let server = Server::default();
        let fuse = Fuse::after(usize::MAX);
        let dying = StartStore::open_with(&path, None, fuse.clone()).unwrap().worker();
        fuse.blow_after(steps);
        let first = account(URL, "a.test", &dying, &server);
        let noted = store.load("auth.test", "a.test").unwrap();
        if let Ok(first) = &first {
            assert_eq!(Some(&first.subdomain), noted.as_ref().map(|noted| &noted.subdomain));
        }
        let next = account(URL, "a.test", &store, &server).unwrap();
        let expected = if noted.is_some() { "sub-1" } else { "sub-2" };
        assert_eq!(next.subdomain, expected, "after {steps} steps");
        if first.is_ok() {
            assert!(steps > 2);
            return;
        }
    }
    panic!("it never ends");
}

#[test]
fn bad_answers_are_told_and_nothing_is_noted() {
    let (_dir, _path, store) = store();
    let server = Server::default();
    let long = "x".repeat(1000);
    let odd = |name: &str, value: &str| {
        let mut account = new_account(1);
        account[name] = value.into();
        account.to_string()
    };
    for (status, body, expected) in [
        (500, "{\"error\": \"db\\u0007 gone\"}".to_string(), "status 500 (db gone)"),
        (302, String::new(), "status 302"),
        (404, "<html>".into(), "status 404"),
        (201, "<html>".into(), "it is not JSON"),
        (201, "{}".into(), "is missing or bad"),
        (201, odd("fulldomain", "a b"), "is missing or bad"),
        (201, odd("fulldomain", "../x"), "is missing or bad"),
        (201, odd("password", "a\nb"), "is missing or bad"),
        (201, odd("username", &long), "is missing or bad"),
        (201, odd("subdomain", ""), "is missing or bad"),
    ] {
        *server.answer.lock().unwrap() = Some((status, body));
        let error = account(URL, "a.test", &store, &server).err().unwrap().to_string();
        assert!(error.contains(expected) && error.contains("https://auth.test/register"), "{error}");
    }
    assert!(store.load("auth.test", "a.test").unwrap().is_none());
    assert!(matches!(account("ftp://x", "a.test", &store, &server), Err(Error::Url(_))));
    let stranger =
        Account { password: Zeroizing::new("wrong".into()), ..Account::parse(&new_account(1)).unwrap() };
    *server.answer.lock().unwrap() = None;
    let error = set_up(URL, &stranger, VALUE, &server).unwrap_err().to_string();
    assert!(error.contains("refuses the account") && error.contains("forbidden"), "{error}");
    assert!(!error.contains("wrong"), "{error}");
    *server.answer.lock().unwrap() = Some((200, "{\"txt\": \"other\"}".into()));
    assert!(set_up(URL, &stranger, VALUE, &server).unwrap_err().to_string().contains("repeat"));
}
