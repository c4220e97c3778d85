// SPDX-License-Identifier: Apache-2.0
//! What the suite does not ask: users and their rights, TLS, a full server, one of three that dies or hangs.

use super::{OnEtcd, connect};
use crate::fixture::*;
use mod_md::fleet::access::Access;
use mod_md::fleet::engine::{Committed, Error};
use mod_md::time::StopFlag;
use std::time::{Duration, Instant};
use support::etcd::{Options, Tls};
use support::{SOON, wait_for};

fn with_args(test: &str, args: &[&str]) -> Option<OnEtcd> {
    let args = args.iter().map(ToString::to_string).collect();
    OnEtcd::with(test, Options { args, ..Options::default() })
}

fn with_tls(test: &str, tls: Tls) -> Option<OnEtcd> {
    OnEtcd::with(test, Options { tls, ..Options::default() })
}

fn access(etcd: &OnEtcd) -> Access {
    etcd.access(&StopFlag::default())
}

fn as_user(etcd: &OnEtcd, name: &str, password: &str) -> Access {
    Access { user: Some((name.into(), password.into())), ..access(etcd) }
}

fn denied<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    match answer {
        Err(Error::Denied(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_that_expired_is_replaced_and_an_open_watch_goes_on() {
    let Some(etcd) = with_args("token", &["--auth-token-ttl=1", "--log-level=debug"]) else { return };
    etcd.server().add_user("node", "secret", "readwrite", "md/");
    let node = connect(&as_user(&etcd, "node", "secret"));
    let at = done(&node, &[], &[put("v1/x", "1")]);
    let mut watch = node.watch(at).unwrap();
    let ended = || etcd.server().log(0).matches("deleted a simple token").count();
    wait_for("the end of the token", SOON, || {
        watch.next().unwrap();
        (ended() > 0).then_some(())
    });
    let last = done(&node, &[], &[put("v1/x", "2")]);
    let told = wait_for("the change", SOON, || {
        let (changes, at) = watch.next().unwrap();
        (at >= last).then_some(changes)
    });
    assert_eq!(told.len(), 1);
    // A watch that is opened with a token that has ended.
    let before = ended();
    wait_for("the end of the token", SOON, || (ended() > before).then_some(()));
    assert!(node.watch(at).is_ok());
}

#[test]
fn a_user_that_was_made_anew_is_logged_in_again() {
    let Some(etcd) = OnEtcd::with("user_anew", Options::default()) else { return };
    etcd.server().add_user("node", "secret", "readwrite", "md/");
    let node = connect(&as_user(&etcd, "node", "secret"));
    done(&node, &[], &[put("v1/x", "1")]);
    let root = |args: &[&str]| etcd.server().ctl(&[&["--user=root:root"], args].concat());
    root(&["user", "delete", "node"]);
    denied(node.get("v1/x"));
    root(&["user", "add", "node:secret"]);
    root(&["user", "grant-role", "node", "node"]);
    assert_eq!(value(&node, "v1/x").unwrap(), b"1");
    root(&["auth", "disable"]);
    assert_eq!(value(&node, "v1/x").unwrap(), b"1");
    etcd.server().ctl(&["auth", "enable"]);
    assert_eq!(value(&node, "v1/x").unwrap(), b"1");
}

#[test]
fn rights_that_are_missing_are_told_as_such() {
    let Some(etcd) = OnEtcd::with("rights", Options::default()) else { return };
    let before = done(&connect(&access(&etcd)), &[], &[put("v1/x", "1")]);
    etcd.server().add_user("reader", "secret", "read", "md/");
    let reader = connect(&as_user(&etcd, "reader", "secret"));
    assert_eq!(value(&reader, "v1/x").unwrap(), b"1");
    assert_eq!(keys(&reader, ""), ["v1/x"]);
    reader.watch(before).unwrap().next().unwrap();
    assert!(denied(commit(&reader, &[], &[put("v1/x", "2")])).contains("permission denied"));
    denied(commit(&reader, &[absent("v1/x")], &[put("v1/x", "2")]));

    let elsewhere = connect(&Access { prefix: "other".into(), ..as_user(&etcd, "reader", "secret") });
    denied(elsewhere.get("v1/x"));
    denied(elsewhere.list("", None));
    denied(elsewhere.watch(before).map(drop));
    denied(connect(&as_user(&etcd, "reader", "wrong")).get("v1/x"));
    denied(connect(&as_user(&etcd, "nobody", "secret")).get("v1/x"));
    let anonymous = connect(&access(&etcd));
    denied(anonymous.get("v1/x"));
    denied(anonymous.watch(before).map(drop));
}

#[test]
fn a_full_server_takes_no_writes_until_there_is_room() {
    let Some(etcd) = with_args("quota", &["--quota-backend-bytes=8388608"]) else { return };
    let (node, lease) = (connect(&access(&etcd)), some_lease());
    node.grant(lease, Duration::from_secs(300)).unwrap();
    let mut full = None;
    for i in 0..40 {
        match commit(&node, &[], &[put("v1/x", vec![i; 1024 * 1024])]) {
            Ok(Committed::Done(_)) => {}
            other => {
                full = Some(other);
                break;
            }
        }
    }
    assert!(matches!(&full, Some(Err(Error::NoWrites(why))) if why.contains("space")), "{full:?}");
    assert!(value(&node, "v1/x").is_some());
    let alive = node.keep_alive(lease).unwrap();
    node.watch(alive.revision).unwrap().next().unwrap();
    assert!(matches!(node.grant(some_lease(), Duration::from_secs(300)), Err(Error::NoWrites(_))));
    assert!(matches!(commit(&node, &[], &[put("v1/y", "1")]), Err(Error::NoWrites(_))));
    etcd.compact();
    etcd.server().ctl(&["defrag"]);
    etcd.server().ctl(&["alarm", "disarm"]);
    done(&node, &[], &[put("v1/y", "1")]);
}

#[test]
fn of_three_members_one_may_die_or_hang() {
    let options = Options { members: 3, ..Options::default() };
    let Some(etcd) = OnEtcd::with("three", options) else { return };
    let node = connect(&access(&etcd));
    let first = node.name();
    let at = done(&node, &[], &[put("v1/x", "0")]);
    let mut mirror = Mirror::from(&node, at);
    etcd.server().kill(0);
    let write = |text: &str| {
        let begun = Instant::now();
        let at = eventually(&etcd, "a write", || {
            match commit(&node, &[], &[put("v1/x", text)]) {
                Ok(Committed::Done(at)) => Some(at),
                // While the members elect.
                Err(Error::Unreachable(_) | Error::Timeout | Error::NoWrites(_)) => None,
                other => panic!("{other:?}"),
            }
        });
        (at, begun.elapsed())
    };
    let (killed, took) = write("1");
    assert!(took < SOON, "{took:?}");
    assert_ne!(node.name(), first);
    let second = node.name();
    done(&node, &[], &[put("v1/y", "")]);
    assert_eq!(node.name(), second, "stays with the one that works");
    let ended = eventually(&etcd, "the end of the watch", || mirror.try_look().err());
    assert!(matches!(ended, Error::Unreachable(_)), "{ended:?}");
    let mut mirror = Mirror::from(&node, mirror.at);
    mirror.follow(&etcd, killed);

    etcd.server().restart(0);
    etcd.server().halt(1);
    let (hung, took) = write("2");
    etcd.server().resume(1);
    assert!(took < SOON, "{took:?}");
    let mut mirror = Mirror::from(&node, mirror.at);
    mirror.follow(&etcd, hung);
    // What the one that hung had got may come later.
    assert!(mirror.changes.iter().any(|change| changed(change) == hung), "{:?}", mirror.changes);
}

#[test]
fn a_server_that_hangs_is_left_in_time_and_found_again() {
    let Some(etcd) = OnEtcd::with("halted", Options::default()) else { return };
    let (node, lease) = (connect(&access(&etcd)), some_lease());
    let alive = node.grant(lease, Duration::from_secs(300)).unwrap();
    let mut watch = node.watch(alive.revision).unwrap();
    etcd.server().halt(0);
    let begun = Instant::now();
    assert_eq!(node.keep_alive(lease), Err(Error::Timeout));
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(9) && took < SOON, "{took:?}");
    let begun = Instant::now();
    assert!(node.revoke(lease, Duration::from_millis(500)).is_err());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(watch.next().unwrap().0, []);
    etcd.server().resume(0);
    node.keep_alive(lease).ok();
    let at = done(&node, &[], &[put("v1/x", "")]);
    eventually(&etcd, "the change", || (watch.next().unwrap().1 >= at).then_some(()));
}

#[test]
fn a_revocation_ends_the_lease_also_while_the_process_stops() {
    let Some(etcd) = OnEtcd::with("revoke", Options::default()) else { return };
    let (stop, lease) = (StopFlag::default(), some_lease());
    let node = connect(&etcd.access(&stop));
    node.grant(lease, Duration::from_secs(300)).unwrap();
    stop.raise();
    assert_eq!(node.get("v1/x"), Err(Error::Stopped));
    assert_eq!(node.revoke(lease, SOON), Ok(()));
    assert_eq!(connect(&access(&etcd)).keep_alive(lease), Err(Error::LeaseGone));
}

#[test]
fn over_tls_both_ends_are_verified() {
    let Some(etcd) = with_tls("tls", Tls::On) else { return };
    let node = connect(&access(&etcd));
    let at = done(&node, &[], &[put("v1/x", "1")]);
    node.watch(at).unwrap().next().unwrap();
    let unverified = |access: Access| match connect(&access).get("v1/x") {
        Err(Error::Unreachable(why)) => why,
        other => panic!("{other:?}"),
    };
    let why = unverified(Access { ca_pem: None, ..access(&etcd) });
    assert!(why.contains("certificate verify failed"), "{why}");
    let in_clear = connect(&Access { is_tls: false, ..access(&etcd) }).get("v1/x");
    assert!(in_clear.is_err(), "{in_clear:?}");

    let Some(etcd) = with_tls("mutual", Tls::Mutual) else { return };
    let node = connect(&access(&etcd));
    let at = done(&node, &[], &[put("v1/x", "1")]);
    node.watch(at).unwrap().next().unwrap();
    unverified(Access { client_pem: None, ..access(&etcd) });
    // etcd takes no client certificate through its gateway once there are users.
    etcd.server().add_user("node", "secret", "readwrite", "md/");
    let why = denied(connect(&as_user(&etcd, "node", "secret")).get("v1/x"));
    assert!(why.contains("common name"), "{why}");
    let nameless = etcd.server().nameless_client_pem();
    let node = connect(&Access { client_pem: nameless, ..as_user(&etcd, "node", "secret") });
    done(&node, &[], &[put("v1/x", "2")]);
}

#[test]
fn a_gateway_that_may_not_reach_its_own_server_is_told() {
    let Some(etcd) = with_tls("usage", Tls::MutualWithoutClientUsage) else { return };
    let node = connect(&access(&etcd));
    let answer = node.get("v1/x");
    assert!(matches!(answer, Err(Error::Unreachable(_))), "{answer:?}");
}

#[test]
fn writes_of_others_move_a_quiet_watch_on() {
    let Some(etcd) = OnEtcd::with("others", Options::default()) else { return };
    let (node, other, lease) = (connect(&access(&etcd)), etcd.stranger(), some_lease());
    let at = done(&node, &[], &[put("v1/x", "1"), put("v1/y", "1")]);
    done(&node, &[], &[delete("v1/y")]);
    let mut watch = node.watch(at).unwrap();
    let last = (0..5).map(|i| done(&other, &[], &[put("v1/x", [i])])).max().unwrap();
    node.grant(lease, Duration::from_secs(300)).unwrap();
    eventually(&etcd, "the revision of the others", || {
        let (changes, at) = watch.next().unwrap();
        assert!(changes.len() < 2, "{changes:?}");
        (at >= last).then_some(())
    });
}

/// Printed, not judged: `--nocapture`.
#[test]
fn what_a_request_takes() {
    let Some(etcd) = OnEtcd::with("latency", Options::default()) else { return };
    let (node, lease) = (connect(&access(&etcd)), some_lease());
    node.grant(lease, Duration::from_secs(300)).unwrap();
    let middle = |what: &str, call: &dyn Fn(u32)| {
        let mut times: Vec<Duration> = Vec::new();
        for i in 0..101 {
            let begun = Instant::now();
            call(i);
            times.push(begun.elapsed());
        }
        times.sort();
        println!("{what}: {:?} in the middle, {:?} of 99 %", times[50], times[99]);
    };
    middle("keepalive", &|_| {
        node.keep_alive(lease).unwrap();
    });
    middle("commit", &|i| {
        done(&node, &[], &[put("v1/x", i.to_string())]);
    });
    middle("get", &|_| drop(node.get("v1/x").unwrap()));
    for i in 0..2000 {
        done(&node, &[], &[put(&format!("v1/set/{i}"), vec![7; 6000])]);
    }
    let begun = Instant::now();
    assert_eq!(keys(&node, "v1/set/").len(), 2000);
    println!("a listing of 2000 sets of 6000 bytes: {:?}", begun.elapsed());
}
