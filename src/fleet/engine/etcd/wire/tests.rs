// SPDX-License-Identifier: Apache-2.0
//! Failures in the words of etcd's versions, and requests as etcd has them.

use super::*;

fn error(answer: Value) -> Error {
    Fault::of(&answer).unwrap().into_error()
}

#[test]
fn failures_are_understood_in_the_words_of_each_version() {
    let old = |code: u64, text: &str| json!({ "error": text, "message": text, "code": code });
    let new = |code: u64, text: &str| json!({ "code": code, "message": text, "details": [] });
    let stream =
        |code: u64, text: &str| json!({ "error": { "grpc_code": code, "http_code": 4, "message": text } });
    for form in [old, new, stream] {
        assert_eq!(error(form(5, "etcdserver: requested lease not found")), Error::LeaseGone);
        let is = |code, text: &str| error(form(code, &format!("etcdserver: {text}")));
        assert!(matches!(is(11, "mvcc: required revision has been compacted"), Error::Gap(_)));
        assert!(matches!(is(11, "mvcc: required revision is a future revision"), Error::Gap(_)));
        assert_eq!(is(7, "permission denied"), Error::Denied("permission denied".into()));
        assert!(matches!(is(16, "invalid auth token"), Error::Denied(_)));
        assert!(matches!(is(3, "authentication failed, invalid user ID or password"), Error::Denied(_)));
        assert!(matches!(is(3, "user name is empty"), Error::Denied(_)));
        assert!(matches!(is(8, "mvcc: database space exceeded"), Error::NoWrites(_)));
        assert!(matches!(is(8, "too many requests"), Error::NoWrites(_)));
        assert!(matches!(is(14, "no leader"), Error::NoWrites(_)));
        assert!(matches!(is(14, "request timed out"), Error::NoWrites(_)));
        assert!(matches!(is(14, "server stopped"), Error::Unreachable(_)));
        assert!(matches!(is(3, "request is too large"), Error::Invalid(_)));
        assert!(matches!(is(12, "unknown service"), Error::Garbled(_)));
    }
    assert_eq!(Fault::of(&json!({ "header": { "revision": "1" }, "count": "1" })), None);
}

#[test]
fn the_words_of_a_server_are_cut_and_cleaned() {
    let text = format!("etcdserver: a\u{1b}[2J\r\n{}", "x".repeat(1000));
    let Fault { text, .. } = Fault::of(&json!({ "code": 2, "message": text })).unwrap();
    assert!(text.starts_with("a[2Jx") && text.len() <= TEXT_MAX, "{text}");
}

#[test]
fn a_watch_that_has_to_log_in_again_is_told_from_one_without_rights() {
    let reason = |text: &str| Fault::of_reason(&format!("rpc error: code = {text}"));
    assert!(reason("Unauthenticated desc = etcdserver: invalid auth token").is_logged_out());
    assert!(!reason("PermissionDenied desc = etcdserver: permission denied").is_logged_out());
    assert!(matches!(Fault::of_reason("permission denied").into_error(), Error::Denied(_)));
    assert!(matches!(Fault::of_reason("").into_error(), Error::Unreachable(_)));
}

#[test]
fn numbers_are_texts_and_absent_ones_are_zero() {
    for (value, number_is) in [
        (json!({}), Some(0)),
        (json!({ "n": null }), Some(0)),
        (json!({ "n": "7" }), Some(7)),
        (json!({ "n": 7 }), Some(7)),
        (json!({ "n": "9223372036854775807" }), Some(i64::MAX as u64)),
        (json!({ "n": "9223372036854775808" }), None),
        (json!({ "n": u64::MAX }), None),
        (json!({ "n": "-1" }), None),
        (json!({ "n": -1 }), None),
        (json!({ "n": 1.5 }), None),
        (json!({ "n": "" }), None),
        (json!({ "n": true }), None),
    ] {
        assert_eq!(number(&value, "n").ok(), number_is, "{value}");
    }
}

#[test]
fn keys_end_before_those_of_a_longer_prefix() {
    let keys = Keys::new("/md/");
    let plain = |text: String| String::from_utf8(BASE64.decode(text.as_bytes()).unwrap()).unwrap();
    assert_eq!(plain(keys.encode("v1/x")), "md/v1/x");
    assert_eq!(plain(keys.end("")), "md0");
    assert_eq!(plain(keys.end("v1/lock")), "md/v1/locl");
    assert_eq!(plain(keys.end("~")), "md/\u{7f}");
}
