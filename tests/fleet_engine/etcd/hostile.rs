// SPDX-License-Identifier: Apache-2.0
//! Servers that are no etcd, or a hostile one. Each call ends in an error, in time; nothing panics, and nothing is
//! taken for what it is not.

use super::connect;
use crate::fixture::{Node, absent, commit, put, some_lease};
use mod_md::config::fleet::{Scheme, Server};
use mod_md::fleet::access::Access;
use mod_md::fleet::engine::{Error, LeaseId, Revision};
use mod_md::time::StopFlag;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a whole answer, or as many pieces as the connection takes.
enum Reply {
    Json(String),
    Status(u16, &'static str),
    Bytes(Vec<u8>),
    Endless(Vec<u8>),
    Close,
}

/// Answers each request by its path, its body and its number.
struct Script {
    port: u16,
    count: Arc<AtomicUsize>,
}

fn script(reply: impl Fn(&str, &str, usize) -> Reply + Send + Sync + 'static) -> Script {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let (counter, reply) = (count.clone(), Arc::new(reply));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (counter, reply) = (counter.clone(), reply.clone());
            thread::spawn(move || converse(stream, &counter, &*reply));
        }
    });
    Script { port, count }
}

fn converse(
    stream: TcpStream,
    count: &AtomicUsize,
    reply: &dyn Fn(&str, &str, usize) -> Reply,
) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let (mut path, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).ok()? <= 2 {
                break;
            }
            match line.split_once(' ').unwrap_or_default() {
                ("POST", rest) => path = rest.split(' ').next()?.trim_start_matches("/v3/").to_string(),
                (name, value) if name.eq_ignore_ascii_case("content-length:") => {
                    length = value.trim().parse().ok()?;
                }
                _ => {}
            }
        }
        if path.is_empty() {
            return None;
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).ok()?;
        let number = count.fetch_add(1, Ordering::SeqCst);
        let head =
            |status: u16, length: usize| format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
        let answer = match reply(&path, &String::from_utf8_lossy(&body), number) {
            Reply::Json(text) => [head(200, text.len()).as_bytes(), text.as_bytes()].concat(),
            Reply::Status(status, text) => [head(status, text.len()).as_bytes(), text.as_bytes()].concat(),
            Reply::Bytes(bytes) => bytes,
            Reply::Close => return None,
            Reply::Endless(piece) => loop {
                stream.write_all(&piece).ok()?;
            },
        };
        stream.write_all(&answer).ok()?;
    }
}

fn node_of(scripts: &[&Script]) -> Node {
    let servers =
        scripts.iter().map(|script| Server { host: "127.0.0.1".into(), port: script.port }).collect();
    connect(&Access {
        scheme: Scheme::Etcd,
        is_tls: false,
        servers,
        prefix: "md".into(),
        ca_pem: None,
        client_pem: None,
        user: None,
        stop: StopFlag::default(),
    })
}

const LEASE: LeaseId = LeaseId(7);

/// What every call makes of this answer.
fn all_calls(node: &Node) -> Vec<(&'static str, Error)> {
    let mut errors = Vec::new();
    let mut note = |call, error: Option<Error>| errors.extend(error.map(|error| (call, error)));
    note("get", node.get("v1/x").err());
    note("list", node.list("v1/", None).err());
    note("grant", node.grant(LEASE, Duration::from_secs(30)).err());
    note("keep_alive", node.keep_alive(LEASE).err());
    note("commit", commit(node, &[absent("v1/x")], &[put("v1/x", "1")]).err());
    note("watch", node.watch(Revision(5)).and_then(|mut watch| watch.next()).err());
    errors
}

fn fixed(text: &str) -> Script {
    let text = text.to_string();
    script(move |_, _, _| Reply::Json(text.clone()))
}

#[test]
fn answers_that_make_no_sense_are_garbled_for_every_call() {
    let deep = format!("{{\"kvs\":{}", "[".repeat(100_000));
    let many = format!("{{\"kvs\":[{}0]}}", "0,".repeat(1_000_000));
    for text in [
        "",
        "garbage",
        "<html>",
        "null",
        "[]",
        "7",
        "\"text\"",
        "{}",
        "{\"header\":7}",
        "{\"header\":{}}",
        "{\"header\":{\"revision\":\"-9\"}}",
        "{\"header\":{\"revision\":\"9223372036854775808\"}}",
        "{\"header\":{\"revision\":\"18446744073709551616\"}}",
        "{\"header\":{\"revision\":1.5}}",
        "{\"header\":{\"revision\":[]}}",
        "{\"result\":7}",
        "{\"result\":{}}",
        "{\"header\":{\"revision\":\"9\"}",
        "\u{feff}{}",
        &deep,
        &many,
    ] {
        let server = fixed(text);
        let errors = all_calls(&node_of(&[&server]));
        let begin: String = text.chars().take(60).collect();
        assert_eq!(errors.len(), 6, "{begin}: {errors:?}");
        for (call, error) in errors {
            assert!(matches!(error, Error::Garbled(_)), "{call} of {begin}: {error:?}");
        }
    }
}

#[test]
fn statuses_without_the_words_of_etcd_are_errors() {
    for (status, text) in [
        (404, "404 page not found"),
        (500, ""),
        (503, "<html>"),
        (200, "{\"error\":{\"grpc_code\":99}}"),
        (400, "{\"error\":[],\"code\":\"x\"}"),
        (302, "{}"),
    ] {
        let server = script(move |_, _, _| Reply::Status(status, text));
        let errors = all_calls(&node_of(&[&server]));
        assert_eq!(errors.len(), 6, "{status} {text}: {errors:?}");
        let is_plain = |error: &Error| matches!(error, Error::Garbled(_) | Error::Unreachable(_));
        assert!(errors.iter().all(|(_, error)| is_plain(error)), "{status} {text}: {errors:?}");
    }
}

#[test]
fn entries_that_are_not_of_the_question_are_garbled() {
    // `bWQv…`: `md/…`; `bWQvdjEveA==` is `md/v1/x`.
    for kv in [
        "7",
        "{}",
        r#"{"key":"bWQvdjEveA==","create_revision":"1"}"#,
        r#"{"key":"bWQvdjEveA==","mod_revision":"1"}"#,
        r#"{"key":"bWQvdjEveA==","create_revision":"3","mod_revision":"2"}"#,
        r#"{"key":"bWQvdjEveA","create_revision":"1","mod_revision":"1"}"#,
        r#"{"key":"bWQvdjEveA==","create_revision":"1","mod_revision":"1","value":"!"}"#,
        r#"{"key":"bWQvdjEveA==","create_revision":"1","mod_revision":"1","lease":"-4"}"#,
        r#"{"key":"b3RoZXI=","create_revision":"1","mod_revision":"1"}"#,
        r#"{"key":7,"create_revision":"1","mod_revision":"1"}"#,
    ] {
        let server = fixed(&format!("{{\"header\":{{\"revision\":\"9\"}},\"kvs\":[{kv}]}}"));
        let node = node_of(&[&server]);
        assert!(matches!(node.get("v1/x"), Err(Error::Garbled(_))), "{kv}");
        assert!(matches!(node.list("", None), Err(Error::Garbled(_))), "{kv}");
    }
}

fn kvs(keys: &[&str], more: bool) -> Reply {
    let encode = |key: &&str| {
        let key = data_encoding::BASE64.encode(format!("md/{key}").as_bytes());
        format!(r#"{{"key":"{key}","create_revision":"1","mod_revision":"1"}}"#)
    };
    let kvs: Vec<String> = keys.iter().map(encode).collect();
    let kvs = kvs.join(",");
    Reply::Json(format!(r#"{{"header":{{"revision":"9"}},"kvs":[{kvs}],"more":{more}}}"#))
}

#[test]
fn a_listing_that_goes_in_circles_is_garbled() {
    for keys in [&["v1/b", "v1/a"][..], &["v1/a", "v1/a"], &["v0"], &[]] {
        let owned: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let server = script(move |_, _, _| kvs(&owned.iter().map(String::as_str).collect::<Vec<_>>(), true));
        assert!(matches!(node_of(&[&server]).list("v1/", None), Err(Error::Garbled(_))), "{keys:?}");
    }
    let server = script(|_, _, _| kvs(&["v1/a", "v1/b"], true));
    let node = node_of(&[&server]);
    let page = node.list("v1/", None).unwrap();
    assert_eq!(page.entries.len(), 2);
    assert!(matches!(node.list("v1/", page.next.as_ref()), Err(Error::Garbled(_))));
}

#[test]
fn foreign_keys_below_the_prefix_are_left_out_and_large_values_empty() {
    let large = "AAAA".repeat(400_000);
    let server = fixed(&format!(
        r#"{{"header":{{"revision":"9"}},"kvs":[
            {{"key":"bWQv","create_revision":"1","mod_revision":"1"}},
            {{"key":"bWQv/w==","create_revision":"1","mod_revision":"1"}},
            {{"key":"bWQv/2E=","create_revision":"1","mod_revision":"1","value":"{large}"}}]}}"#
    ));
    assert_eq!(node_of(&[&server]).list("", None).unwrap().entries, []);
    let server = fixed(&format!(
        r#"{{"header":{{"revision":"9"}},"kvs":[
            {{"key":"bWQvdjEveA==","create_revision":"1","mod_revision":"1","value":"{large}"}}]}}"#
    ));
    assert!(node_of(&[&server]).get("v1/x").unwrap().unwrap().value.is_empty());
}

#[test]
fn endless_answers_are_cut_off() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = [&b"4000\r\n"[..], &[b' '; 0x4000], b"\r\n"].concat();
    let piece = [&head[..], &chunk].concat();
    let server = script(move |path, _, _| match path {
        "watch" => Reply::Endless(piece.clone()),
        "kv/range" => Reply::Json(r#"{"header":{"revision":"9"}}"#.into()),
        _ => Reply::Endless([head, &b"{\"a\":\""[..]].concat()),
    });
    let node = node_of(&[&server]);
    let begun = Instant::now();
    assert!(node.watch(Revision(5)).and_then(|mut watch| watch.next()).is_err());
    assert!(node.keep_alive(LEASE).is_err());
    let server = script(|_, _, _| Reply::Json(" ".repeat(9 * 1024 * 1024)));
    let node = node_of(&[&server]);
    assert!(matches!(node.get("v1/x"), Err(Error::Garbled(_))));
    assert!(matches!(node.list("", None), Err(Error::Garbled(_))));
    assert_eq!(server.count.load(Ordering::SeqCst), 4, "pages of 256, 32 and 4");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

fn stream(lines: &[&str]) -> Reply {
    let lines: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
    let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", lines.len());
    Reply::Bytes([head.as_bytes(), &lines, b"\r\n"].concat())
}

const CREATED: &str = r#"{"result":{"header":{"revision":"9"},"created":true}}"#;

/// A server whose watches tell this, and whose keys do not change.
fn watching(lines: &'static [&'static str]) -> Script {
    script(move |path, _, _| match path {
        "watch" => stream(lines),
        _ => Reply::Json(r#"{"header":{"revision":"9"}}"#.into()),
    })
}

fn error_of(lines: &'static [&'static str]) -> Error {
    let server = watching(lines);
    let node = node_of(&[&server]);
    let mut watch = match node.watch(Revision(5)) {
        Ok(watch) => watch,
        Err(error) => return error,
    };
    let begun = Instant::now();
    loop {
        if let Err(error) = watch.next() {
            return error;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "no error: {lines:?}");
    }
}

#[test]
fn messages_of_a_watch_that_make_no_sense_end_it() {
    const LINES: [&[&str]; 10] = [
        &["garbage"],
        &["{}"],
        &[r#"{"result":{"header":{"revision":"9"}}}"#],
        &[CREATED, "garbage"],
        &[CREATED, r#"{"result":{"events":7}}"#],
        &[CREATED, r#"{"result":{"events":[7]}}"#],
        &[CREATED, r#"{"result":{"events":[{"kv":{"key":"bWQvYQ=="}}]}}"#],
        &[CREATED, r#"{"result":{"events":[{"type":"MOVE","kv":{"key":"bWQvYQ==","mod_revision":"8"}}]}}"#],
        &[
            CREATED,
            r#"{"result":{"events":[{"kv":{"key":"eA==","mod_revision":"8","create_revision":"8"}}]}}"#,
        ],
        &[CREATED, r#"{"result":{"watch_id":"0"}}"#],
    ];
    for lines in LINES {
        assert!(matches!(error_of(lines), Error::Garbled(_)), "{lines:?}");
    }
}

#[test]
fn a_watch_that_is_ended_says_why() {
    let gap = error_of(&[CREATED, r#"{"result":{"canceled":true,"compact_revision":"8"}}"#]);
    assert!(matches!(gap, Error::Gap(_)), "{gap:?}");
    let back = error_of(&[
        CREATED,
        r#"{"result":{"events":[{"kv":{"key":"bWQvYQ==","mod_revision":"8","create_revision":"8"}}]}}"#,
        r#"{"result":{"events":[{"kv":{"key":"bWQvYQ==","mod_revision":"7","create_revision":"7"}}]}}"#,
    ]);
    assert!(matches!(back, Error::Gap(_)), "{back:?}");
    let denied = error_of(&[r#"{"result":{"watch_id":"-1","created":true,"canceled":true,
        "cancel_reason":"rpc error: code = PermissionDenied desc = etcdserver: permission denied"}}"#]);
    assert!(matches!(denied, Error::Garbled(_)), "two lines: {denied:?}");
    let denied = error_of(&[
        r#"{"result":{"created":true,"canceled":true,"cancel_reason":"rpc error: code = PermissionDenied desc = no"}}"#,
    ]);
    assert_eq!(denied, Error::Denied("no".into()));
    let broken = error_of(&[CREATED, r#"{"error":{"grpc_code":14,"message":"etcdserver: no leader"}}"#]);
    assert_eq!(broken, Error::NoWrites("no leader".into()));
}

#[test]
fn a_transaction_that_a_server_may_have_got_is_sent_to_no_second_one() {
    let servers = [script(|_, _, _| Reply::Close), script(|_, _, _| Reply::Close)];
    let node = node_of(&[&servers[0], &servers[1]]);
    let counts = || [0, 1].map(|at: usize| servers[at].count.load(Ordering::SeqCst));
    assert!(matches!(commit(&node, &[], &[put("v1/x", "1")]), Err(Error::Unreachable(_))));
    assert_eq!(counts(), [1, 0]);
    // The next goes to the next server.
    assert!(matches!(commit(&node, &[], &[put("v1/x", "1")]), Err(Error::Unreachable(_))));
    assert_eq!(counts(), [1, 1]);
    assert!(node.get("v1/x").is_err());
    assert_eq!(counts(), [2, 2], "a question is asked of both");
}

/// On a connection that was good for another request before.
#[test]
fn a_transaction_is_not_repeated_on_a_new_connection() {
    let server = script(|path, _, _| match path {
        "kv/txn" => Reply::Close,
        _ => Reply::Json(r#"{"header":{"revision":"9"}}"#.into()),
    });
    let node = node_of(&[&server]);
    assert_eq!(node.get("v1/x"), Ok(None));
    assert!(commit(&node, &[], &[put("v1/x", "1")]).is_err());
    assert_eq!(server.count.load(Ordering::SeqCst), 2);
}

#[test]
fn a_watch_that_is_silent_although_keys_changed_is_given_up() {
    let server = script(|path, _, _| match path {
        "watch" => stream(&[CREATED]),
        "lease/keepalive" => {
            Reply::Json(r#"{"result":{"header":{"revision":"12"},"ID":"7","TTL":"30"}}"#.into())
        }
        _ => Reply::Json(r#"{"header":{"revision":"12"},"count":"3"}"#.into()),
    });
    let quiet = node_of(&[&server]);
    let mut watch = quiet.watch(Revision(9)).unwrap();
    quiet.keep_alive(LEASE).unwrap();
    let begun = Instant::now();
    while watch.next().unwrap().1 < Revision(12) {
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    let server = script(|path, body, _| match path {
        "watch" => stream(&[CREATED]),
        // A key has gone since.
        _ if body.contains("min_mod_revision") => {
            Reply::Json(r#"{"header":{"revision":"12"},"count":"2"}"#.into())
        }
        _ => Reply::Json(r#"{"header":{"revision":"12"},"count":"3"}"#.into()),
    });
    let mut watch = node_of(&[&server]).watch(Revision(9)).unwrap();
    let begun = Instant::now();
    let error = loop {
        match watch.next() {
            Ok((_, at)) => assert_eq!(at, Revision(9)),
            Err(error) => break error,
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
    };
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
}

#[test]
fn a_lease_that_the_engine_cannot_number_is_invalid() {
    let server = fixed("{}");
    let node = node_of(&[&server]);
    for lease in [LeaseId(0), LeaseId(1 << 63)] {
        assert!(matches!(node.grant(lease, Duration::from_secs(30)), Err(Error::Invalid(_))));
        assert!(matches!(node.keep_alive(lease), Err(Error::Invalid(_))));
    }
    assert_eq!(server.count.load(Ordering::SeqCst), 0);
    assert!(some_lease().0 > 0);
}
