// SPDX-License-Identifier: Apache-2.0
//! What only Redis does.

use super::{OnRedis, PREFIX, connect};
use crate::fixture::*;
use mod_md::config::fleet::Server;
use mod_md::fleet::access::Access;
use mod_md::fleet::engine::{Change, Committed, Error, Revision};
use mod_md::time::StopFlag;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::redis::{self, Options, Redis, Tls};
use support::{SOON, wait_for};

/// That of the contract, and no more.
const RULES: &str = "on >secret ~{mod_md}/* resetchannels -@all +@read +@write +@scripting +@connection \
    -@dangerous +time";

fn on(test: &str) -> Option<OnRedis> {
    OnRedis::with(test, Options::default())
}

fn lines(lines: &[&str]) -> Options {
    Options { lines: lines.iter().map(|line| (*line).to_string()).collect(), ..Options::default() }
}

fn server(port: u16) -> Server {
    Server { host: "127.0.0.1".into(), port }
}

fn at(f: &OnRedis, ports: &[u16]) -> Access {
    Access { servers: ports.iter().copied().map(server).collect(), ..f.access(&StopFlag::default()) }
}

fn as_user(f: &OnRedis, name: &str, password: &str) -> Node {
    let user = Some((name.into(), password.into()));
    connect(&Access { user, ..f.access(&StopFlag::default()) })
}

/// One of each call.
fn use_all(f: &dyn Fixture, node: &Node) {
    let (lease, mut mirror) = (some_lease(), Mirror::new(node));
    node.grant(lease, f.ttl() * 100).unwrap();
    node.keep_alive(lease).unwrap();
    let at = done(node, &[absent("v1/x")], &[put("v1/x", "1"), put_under(lease, "v1/lock", "1")]);
    assert_eq!(value(node, "v1/x"), Some(b"1".into()));
    mirror.follow(f, at);
    mirror.assert_same(node);
    node.revoke(lease, f.ttl()).unwrap();
    assert_eq!(keys(node, ""), ["v1/x"]);
    done(node, &[], &[delete("v1/x")]);
    thread::sleep(Duration::from_millis(1100));
    mirror.look();
}

#[test]
fn the_rights_of_the_contract_suffice() {
    let Some(f) = on("the_rights_of_the_contract_suffice") else { return };
    f.server().add_user("md", RULES);
    use_all(&f, &as_user(&f, "md", "secret"));
    f.server().cli(&["CONFIG", "SET", "requirepass", "all"]);
    use_all(&f, &as_user(&f, "md", "secret"));
    use_all(&f, &as_user(&f, "default", "all"));
}

#[test]
fn whoever_may_not_is_denied() {
    let Some(f) = on("whoever_may_not_is_denied") else { return };
    f.server().cli(&["CONFIG", "SET", "requirepass", "all"]);
    {
        let server = f.server();
        let all = ["-a", "all", "--no-auth-warning"];
        for (name, rules) in [
            ("elsewhere", RULES.replace("{mod_md}", "{other}")),
            ("reader", RULES.replace("+@write ", "")),
            ("no-scripts", RULES.replace("+@scripting ", "")),
            ("off", RULES.replace("on >", "off >")),
        ] {
            let words = all.into_iter().chain(["ACL", "SETUSER", name]).chain(rules.split_whitespace());
            assert_eq!(server.cli(&words.collect::<Vec<_>>()), "OK");
        }
    }
    let nodes = [
        f.node(),
        as_user(&f, "md", "secret"),
        as_user(&f, "default", "wrong"),
        as_user(&f, "off", "secret"),
        as_user(&f, "elsewhere", "secret"),
        as_user(&f, "reader", "secret"),
        as_user(&f, "no-scripts", "secret"),
    ];
    for (i, node) in nodes.iter().enumerate() {
        let is_denied = |what: &str, error: Option<Error>| match error {
            Some(Error::Denied(text)) => assert!(!text.contains("secret") && !text.contains("wrong")),
            other => panic!("{i} {what}: {other:?}"),
        };
        is_denied("grant", node.grant(some_lease(), f.ttl()).err());
        is_denied("commit", commit(node, &[], &[put("v1/x", "")]).err());
        is_denied("get", node.get("v1/x").err());
        is_denied("list", node.list("", None).err());
        is_denied("watch", node.watch(Revision(1)).err());
    }
}

/// The default user may do everything there.
#[test]
fn a_connection_that_could_not_log_in_is_not_used() {
    let Some(f) = on("a_connection_that_could_not_log_in_is_not_used") else { return };
    let node = as_user(&f, "nobody", "secret");
    for _ in 0..3 {
        assert!(matches!(node.get("v1/x"), Err(Error::Denied(_))));
        assert!(matches!(commit(&node, &[], &[put("v1/x", "")]), Err(Error::Denied(_))));
    }
    assert!(f.node().get("v1/x").unwrap().is_none());
}

#[test]
fn tls_with_and_without_client_certificates() {
    if !redis::has_tls() {
        return support::lab::skip("tls_with_and_without_client_certificates", "the server has no TLS");
    }
    for tls in [Tls::On, Tls::Mutual] {
        let test = format!("tls_{tls:?}");
        let Some(f) = OnRedis::with(&test, Options { tls, ..Options::default() }) else { return };
        let access = f.access(&StopFlag::default());
        let client_pem = f.server().client_pem();
        let node = connect(&Access { client_pem: client_pem.clone(), ..access.clone() });
        use_all(&f, &node);
        assert!(node.name().starts_with("rediss://localhost:"), "{}", node.name());
        let anonymous = connect(&access).get("v1/x");
        assert_eq!(anonymous.is_ok(), tls == Tls::On, "{anonymous:?}");
        let stranger = connect(&Access { ca_pem: None, client_pem: client_pem.clone(), ..access.clone() });
        let Err(Error::Unreachable(text)) = stranger.get("v1/x") else { panic!("a foreign CA is trusted") };
        assert!(text.contains("certificate verify failed"), "{text}");
        let mut plain = Access { is_tls: false, ..access.clone() };
        plain.servers[0].host = "127.0.0.1".into();
        assert!(connect(&plain).get("v1/x").is_err());
        let mut wrong_name = Access { client_pem, ..access };
        wrong_name.servers[0].host = "127.0.0.1".into();
        assert!(connect(&wrong_name).get("v1/x").is_err(), "the certificate has another name");
    }
}

#[test]
fn a_full_server_takes_no_writes_and_is_left_as_it_was() {
    let test = "a_full_server_takes_no_writes_and_is_left_as_it_was";
    let Some(f) = OnRedis::with(test, lines(&["maxmemory-policy noeviction"])) else { return };
    let (node, lease) = (f.node(), some_lease());
    node.grant(lease, f.ttl()).unwrap();
    done(&node, &[], &[put_under(lease, "v1/lock", "1")]);
    let at = done(&node, &[], &[put("v1/x", "1")]);
    let mut mirror = Mirror::new(&node);
    f.server().set("maxmemory", "1mb");
    f.server().set("maxmemory", "1");
    for _ in 0..3 {
        let answer = commit(&node, &[], &[put("v1/x", "2"), put("v1/y", "2"), delete("v1/lock")]);
        assert!(matches!(answer, Err(Error::NoWrites(_))), "{answer:?}");
        assert!(matches!(node.grant(some_lease(), f.ttl()), Err(Error::NoWrites(_))));
        thread::sleep(f.ttl() / 2);
    }
    assert_eq!(node.get("v1/x").unwrap().map(|entry| (entry.value, entry.changed)), Some((b"1".into(), at)));
    assert_eq!(keys(&node, ""), ["v1/x"]);
    mirror.look();
    f.server().set("maxmemory", "0");
    let at = done(&node, &[absent("v1/lock")], &[put("v1/x", "2"), put("v1/lock", "2")]);
    mirror.follow(&f, at);
    mirror.assert_same(&node);
}

#[test]
fn a_server_that_cannot_save_takes_no_writes() {
    let Some(f) = on("a_server_that_cannot_save_takes_no_writes") else { return };
    let node = f.node();
    done(&node, &[], &[put("v1/x", "1")]);
    f.server().break_saving();
    let answer = commit(&node, &[], &[put("v1/x", "2")]);
    assert!(matches!(&answer, Err(Error::NoWrites(text)) if text.contains("MISCONF")), "{answer:?}");
    f.server().set("stop-writes-on-bgsave-error", "no");
    assert_eq!(value(&node, "v1/x"), Some(b"1".into()));
    done(&node, &[], &[put("v1/x", "2")]);
}

#[test]
fn a_replica_is_passed_over_and_alone_takes_no_writes() {
    let Some(f) = on("a_replica_is_passed_over_and_alone_takes_no_writes") else { return };
    let replica = f.server().replica(&f.lab);
    let primary = f.port;
    let node = connect(&at(&f, &[replica.port, primary]));
    use_all(&f, &node);
    assert!(node.name().ends_with(&format!(":{primary}")), "{}", node.name());
    let alone = connect(&at(&f, &[replica.port]));
    for error in [
        commit(&alone, &[], &[put("v1/x", "")]).err(),
        alone.get("v1/x").err(),
        alone.list("", None).err(),
        alone.watch(Revision(1)).err(),
    ] {
        assert!(matches!(error, Some(Error::NoWrites(_))), "it may lag behind: {error:?}");
    }
}

/// Neither lost nor told twice.
#[test]
fn after_a_failover_without_loss_watch_and_leases_go_on() {
    let Some(f) = on("after_a_failover_without_loss_watch_and_leases_go_on") else { return };
    let replica = f.server().replica(&f.lab);
    let node = connect(&at(&f, &[f.port, replica.port]));
    let (lease, mut mirror) = (some_lease(), Mirror::new(&node));
    node.grant(lease, f.ttl() * 100).unwrap();
    let token = done(&node, &[], &[put_under(lease, "v1/lock", "1")]);
    mirror.look();
    replica.await_step(&f.server());
    replica.promote();
    f.server().kill();
    let at = eventually(&f, "the new primary", || {
        let fence = [created_at("v1/lock", token)];
        match commit(&node, &fence, &[put("v1/x", "1")]) {
            Ok(Committed::Done(at)) => Some(at),
            Ok(other) => panic!("{other:?}"),
            Err(Error::Unreachable(_) | Error::NoWrites(_) | Error::Timeout) => None,
            Err(other) => panic!("{other}"),
        }
    });
    node.keep_alive(lease).unwrap();
    follow_through(&f, &mut mirror, at);
    mirror.assert_same(&node);
    assert!(node.name().ends_with(&format!(":{}", replica.port)), "{}", node.name());
}

/// Follows over failures of the connection.
fn follow_through(f: &OnRedis, mirror: &mut Mirror, to: Revision) {
    eventually(f, "the change in the watch", || {
        match mirror.try_look() {
            Ok(()) | Err(Error::Unreachable(_) | Error::NoWrites(_) | Error::Timeout) => (),
            Err(other) => panic!("{other}"),
        }
        (mirror.at >= to).then_some(())
    });
}

/// A primary that others do not know of takes writes, and the replica that follows it never sees them: the same
/// revisions are made again, for other things.
#[test]
fn after_a_failover_that_lost_writes_there_is_a_gap_and_no_old_token_counts() {
    let Some(f) = on("after_a_failover_that_lost_writes") else { return };
    let replica = f.server().replica(&f.lab);
    let node = connect(&at(&f, &[f.port, replica.port]));
    let mut mirror = Mirror::new(&node);
    done(&node, &[], &[put("v1/x", "1")]);
    mirror.look();
    replica.await_step(&f.server());
    replica.promote();
    let token = done(&node, &[absent("v1/lock")], &[put("v1/lock", "lost")]);
    mirror.follow(&f, token);
    let other = connect(&at(&f, &[replica.port]));
    assert_eq!(done(&other, &[absent("v1/lock")], &[put("v1/lock", "another")]), token, "the same revision");
    done(&other, &[], &[put("v1/y", "")]);
    f.server().kill();
    let publish = |node: &Node| commit(node, &[created_at("v1/lock", token)], &[put("v1/set", "wrong")]);
    eventually(&f, "a gap", || match publish(&node) {
        Err(Error::Gap(_)) => Some(()),
        Err(Error::Unreachable(_) | Error::NoWrites(_) | Error::Timeout) => None,
        other => panic!("{other:?}"),
    });
    assert!(matches!(publish(&node), Err(Error::Gap(_))), "until all is listed again");
    eventually(&f, "a gap in the watch", || match mirror.try_look() {
        Err(Error::Gap(_)) => Some(()),
        Err(Error::Unreachable(_) | Error::NoWrites(_) | Error::Timeout) => None,
        other => panic!("{other:?}"),
    });
    assert_eq!(keys(&node, ""), ["v1/lock", "v1/x", "v1/y"]);
    assert_eq!(value(&node, "v1/lock"), Some(b"another".into()));
    let mut mirror = Mirror::new(&node);
    let at = done(&node, &[], &[put("v1/x", "2")]);
    mirror.follow(&f, at);
}

/// Its connections stay open all the while.
#[test]
fn a_server_that_took_over_another_history_has_a_gap() {
    let Some(f) = on("a_server_that_took_over_another_history") else { return };
    let replica = f.server().replica(&f.lab);
    let (node, other) = (f.node(), connect(&at(&f, &[replica.port])));
    done(&node, &[], &[put("v1/x", "1")]);
    let mut mirrors: Vec<Mirror> = (0..2).map(|_| Mirror::new(&f.node())).collect();
    mirrors.iter_mut().for_each(Mirror::look);
    replica.await_step(&f.server());
    replica.promote();
    let lost = done(&node, &[], &[put("v1/x", "lost")]);
    mirrors.iter_mut().for_each(|mirror| mirror.follow(&f, lost));
    assert_eq!(done(&other, &[], &[put("v1/x", "2")]), lost, "the same revision");
    f.server().follow(&replica);
    f.server().promote();
    let quiet = mirrors[0].try_look();
    assert!(matches!(quiet, Err(Error::Gap(_))), "nothing was written since: {quiet:?}");
    done(&f.node(), &[], &[put("v1/y", "1")]);
    let busy = mirrors[1].try_look();
    assert!(matches!(busy, Err(Error::Gap(_))), "the next revision is there: {busy:?}");
}

/// The watch alone notices, while nothing is called and nothing is written.
#[test]
fn an_open_watch_notices_a_wipe_by_itself() {
    let Some(f) = on("an_open_watch_notices_a_wipe_by_itself") else { return };
    let (node, other) = (f.node(), f.node());
    done(&node, &[], &[put("v1/x", "1")]);
    let mut mirror = Mirror::new(&node);
    f.wipe();
    done(&other, &[], &[put("v1/y", "1")]);
    let begin = Instant::now();
    let gap = mirror.try_look();
    assert!(matches!(gap, Err(Error::Gap(_))), "{gap:?}");
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(matches!(mirror.try_look(), Err(Error::Gap(_))), "it stays");
}

#[test]
fn a_watch_of_a_trimmed_log_has_a_gap_when_it_missed_something() {
    let Some(f) = on("a_watch_of_a_trimmed_log_has_a_gap") else { return };
    let (node, mut new, mut open) = (f.node(), Mirror::new(&f.node()), Mirror::new(&f.node()));
    open.look();
    for i in 0..5 {
        done(&node, &[], &[put("v1/x", [i])]);
    }
    f.server().trim(PREFIX, 2);
    assert!(matches!(new.try_look(), Err(Error::Gap(_))));
    assert!(matches!(open.try_look(), Err(Error::Gap(_))), "its connection goes on as if nothing was");
}

#[test]
fn parts_that_are_evicted_or_deleted_are_a_gap_and_never_half_a_state() {
    let Some(f) = on("parts_that_are_evicted") else { return };
    for part in ["state", "heads", "values", "names"] {
        let node = f.node();
        let mut mirror = Mirror::new(&node);
        let token = done(&node, &[], &[put("v1/x", "1"), put("v1/y", "1")]);
        mirror.follow(&f, token);
        f.server().cli(&["DEL", &format!("{PREFIX}/{part}")]);
        let answer = commit(&node, &[changed_at("v1/x", token)], &[put("v1/x", "2")]);
        assert!(matches!(answer, Err(Error::Gap(_))), "{part}: {answer:?}");
        assert!(matches!(mirror.try_look(), Err(Error::Gap(_))), "{part}");
        let (entries, now) = list(&node, "");
        assert!(entries.is_empty() && now > token, "{part}: {entries:?}");
        use_all(&f, &node);
    }
    let node = f.node();
    let (lease, token) = (some_lease(), done(&node, &[], &[put("v1/x", "1")]));
    node.grant(lease, f.ttl() * 100).unwrap();
    f.server().cli(&[
        "DEL",
        &format!("{PREFIX}/leases"),
        &format!("{PREFIX}/held"),
        &format!("{PREFIX}/log"),
    ]);
    assert_eq!(node.keep_alive(lease), Err(Error::LeaseGone));
    done(&node, &[changed_at("v1/x", token)], &[put("v1/x", "2")]);
}

#[test]
fn the_log_is_bounded_in_number() {
    let Some(f) = on("the_log_is_bounded_in_number") else { return };
    let node = f.node();
    let mut last = Revision(0);
    for i in 0..10_200u32 {
        last = done(&node, &[], &[put("v1/x", i.to_string())]);
    }
    let log = format!("{PREFIX}/log");
    assert_eq!(f.server().cli(&["XLEN", &log]), "10000");
    assert!(matches!(node.watch(Revision(last.0 - 10_050)), Err(Error::Gap(_))));
    let mut mirror = Mirror::from(&node, Revision(last.0 - 9_999));
    mirror.follow(&f, last);
    assert_eq!(mirror.changes.len(), 9_999);
}

#[test]
fn the_log_is_bounded_in_bytes() {
    let Some(f) = on("the_log_is_bounded_in_bytes") else { return };
    let node = f.node();
    let value = vec![7; mod_md::fleet::engine::VALUE_MAX];
    let mut last = Revision(0);
    for _ in 0..100 {
        last = done(&node, &[], &[put("v1/x", &value)]);
    }
    let length: u32 = f.server().cli(&["XLEN", &format!("{PREFIX}/log")]).parse().unwrap();
    assert!((60..=65).contains(&length), "{length} of 1 MiB");
    let mut mirror = Mirror::from(&node, Revision(last.0 - 50));
    mirror.follow(&f, last);
    assert_eq!(mirror.changes.len(), 50);
    // After the large ones, small ones are many again.
    for i in 0..400u32 {
        done(&node, &[], &[put("v1/x", i.to_string())]);
    }
    let length: u32 = f.server().cli(&["XLEN", &format!("{PREFIX}/log")]).parse().unwrap();
    assert!(length >= 400, "{length}");
}

#[test]
fn a_server_killed_and_started_again_on_its_data_goes_on() {
    let options = lines(&["appendonly yes", "appendfsync always"]);
    let Some(f) = OnRedis::with("a_server_killed_and_started_again", options) else { return };
    let (node, lease) = (f.node(), some_lease());
    let mut mirror = Mirror::new(&node);
    node.grant(lease, f.ttl() * 100).unwrap();
    let token = done(&node, &[], &[put_under(lease, "v1/lock", "1")]);
    f.server().kill();
    let answer = node.keep_alive(lease);
    assert!(matches!(answer, Err(Error::Unreachable(_))), "{answer:?}");
    f.server().restart();
    node.keep_alive(lease).unwrap();
    let at = done(&node, &[created_at("v1/lock", token)], &[put("v1/x", "1")]);
    follow_through(&f, &mut mirror, at);
    mirror.assert_same(&node);
}

#[test]
fn a_server_that_loads_its_data_is_passed_over_and_alone_takes_no_writes() {
    if redis::version() < (7, 0) {
        return support::lab::skip("a_server_that_loads_its_data", "Redis 6 cannot be made to load slowly");
    }
    let options = lines(&["enable-debug-command yes"]);
    let Some(f) = OnRedis::with("a_server_that_loads_its_data", options) else { return };
    let other = Redis::start(&f.lab);
    let node = connect(&at(&f, &[f.port]));
    let at_both = connect(&at(&f, &[f.port, other.port]));
    done(&node, &[], &[put("v1/x", "1")]);
    // A key takes this many microseconds to load: the server loads for half a minute.
    f.server().cli(&["DEBUG", "POPULATE", "1000"]);
    f.server().cli(&["SAVE"]);
    f.server().restart_loading(30_000);
    let answer = commit(&node, &[], &[put("v1/x", "2")]);
    assert!(matches!(&answer, Err(Error::NoWrites(text)) if text.contains("LOADING")), "{answer:?}");
    done(&at_both, &[], &[put("v1/x", "3")]);
    assert!(at_both.name().ends_with(&other.port.to_string()));
}

#[test]
fn a_halted_server_ends_a_call_in_its_time_and_nothing_is_lost() {
    let Some(f) = on("a_halted_server") else { return };
    let node = f.node();
    let lease = some_lease();
    node.grant(lease, f.ttl() * 100).unwrap();
    let mut mirror = Mirror::new(&node);
    f.server().halt();
    let begin = Instant::now();
    assert_eq!(node.revoke(lease, Duration::from_millis(500)), Err(Error::Timeout));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let begin = Instant::now();
    assert_eq!(node.get("v1/x"), Err(Error::Timeout));
    assert_eq!(mirror.try_look(), Err(Error::Timeout));
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    f.server().resume();
    let at = eventually(&f, "the server", || {
        commit(&node, &[], &[put("v1/x", "1")]).ok().and_then(|answer| match answer {
            Committed::Done(at) => Some(at),
            Committed::Refused => None,
        })
    });
    follow_through(&f, &mut mirror, at);
    mirror.assert_same(&node);
}

/// A server that answers each request with these bytes, for ever or once.
fn hostile(answer: &'static [u8], is_endless: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut room = vec![0; 64 * 1024];
                while stream.read(&mut room).is_ok_and(|amount| amount > 0) {
                    while stream.write_all(answer).is_ok() && is_endless {}
                }
            });
        }
    });
    port
}

#[test]
fn what_a_hostile_server_sends_is_refused_in_time() {
    let Some(f) = on("what_a_hostile_server_sends") else { return };
    for (answer, is_endless) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], false),
        (b"$1073741824\r\n", true),
        (b"*1073741824\r\n", true),
        (b"*1\r\n", true),
        (b"+x", true),
        (b"*8000\r\n$1048576\r\n", true),
        (b"+OK\r\n", false),
        (b":1\r\n", true),
        (b"$-1\r\n", false),
        (b"*0\r\n", false),
        (b"*5\r\n$4\r\nDONE\r\n$1\r\nx\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n", false),
        (b"*6\r\n$4\r\nDONE\r\n$1\r\n5\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n", false),
    ] {
        let node = connect(&at(&f, &[hostile(answer, is_endless)]));
        let begin = Instant::now();
        let shown = String::from_utf8_lossy(answer);
        for error in [
            node.list("", None).err(),
            node.get("v1/x").err(),
            node.watch(Revision(5)).and_then(|mut watch| watch.next()).err(),
        ] {
            let is_refused =
                matches!(error, Some(Error::Garbled(_) | Error::Unreachable(_) | Error::Timeout));
            assert!(is_refused, "{shown}: {error:?}");
        }
        assert!(begin.elapsed() < Duration::from_secs(35), "{shown}: {:?}", begin.elapsed());
    }
}

/// Answers the first command of each connection, and closes it at the second. Counts commands.
fn forgetful(count: Arc<AtomicU32>) -> u16 {
    const ANSWER: &[u8] = b"*5\r\n$4\r\nDONE\r\n$1\r\n5\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let read = move |stream: &mut TcpStream| {
        let (mut room, mut command) = (vec![0; 64 * 1024], Vec::new());
        while !command.ends_with(b"v1/x\r\n") && !command.ends_with(b"v1/x\r\n$1\r\n-\r\n$1\r\n1\r\n") {
            let amount = stream.read(&mut room).unwrap();
            assert!(amount > 0);
            command.extend_from_slice(&room[..amount]);
        }
        count.fetch_add(1, Ordering::SeqCst);
    };
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read(&mut stream);
            stream.write_all(ANSWER).unwrap();
            read(&mut stream);
        }
    });
    port
}

#[test]
fn a_write_is_never_sent_twice_and_a_question_is() {
    let Some(f) = on("a_write_is_never_sent_twice") else { return };
    let count = Arc::new(AtomicU32::new(0));
    let port = forgetful(count.clone());
    for (ports, what) in [(vec![port], "alone"), (vec![port, f.port], "with another server")] {
        count.store(0, Ordering::SeqCst);
        let node = connect(&at(&f, &ports));
        done(&node, &[], &[put("v1/x", "1")]);
        let answer = commit(&node, &[], &[put("v1/x", "1")]);
        assert!(matches!(answer, Err(Error::Unreachable(_))), "{what}: {answer:?}");
        assert_eq!((count.load(Ordering::SeqCst), f.node().get("v1/x")), (2, Ok(None)), "{what}");
    }
    count.store(0, Ordering::SeqCst);
    let node = connect(&at(&f, &[port]));
    assert_eq!((node.get("v1/x"), node.get("v1/x")), (Ok(None), Ok(None)));
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

/// Its text is longer than all else that is sent.
#[test]
fn a_script_is_sent_once_and_again_where_the_server_has_lost_it() {
    let Some(f) = on("a_script_is_sent_once") else { return };
    let (node, evals) = (f.node(), || f.server().requests().get("eval").copied().unwrap_or_default());
    let before = evals();
    for _ in 0..3 {
        for _ in 0..20 {
            done(&node, &[], &[put("v1/x", "1")]);
        }
        f.server().cli(&["SCRIPT", "FLUSH"]);
    }
    assert_eq!(evals() - before, 3);
}

#[test]
fn of_several_servers_the_first_that_is_there_is_used() {
    let Some(f) = on("of_several_servers") else { return };
    let nobody = f.lab.port();
    let node = connect(&at(&f, &[nobody, f.port]));
    use_all(&f, &node);
    let moved = hostile(b"-MOVED 3999 127.0.0.1:6381\r\n", false);
    let node = connect(&at(&f, &[moved, f.port]));
    done(&node, &[], &[put("v1/x", "1")]);
    let answer = commit(&connect(&at(&f, &[moved])), &[], &[put("v1/x", "1")]);
    assert!(matches!(&answer, Err(Error::NoWrites(text)) if text.contains("MOVED")), "{answer:?}");
    let answer = commit(&connect(&at(&f, &[nobody])), &[], &[put("v1/x", "1")]);
    assert!(
        matches!(&answer, Err(Error::Unreachable(text)) if text.contains(&nobody.to_string())),
        "{answer:?}"
    );
}

/// The end of a lease is told, as soon as anyone keeps another.
#[test]
fn the_end_of_a_lease_is_told() {
    let Some(f) = on("the_end_of_a_lease_is_told") else { return };
    let (node, lease, other) = (f.node(), some_lease(), some_lease());
    node.grant(other, f.ttl() * 100).unwrap();
    node.grant(lease, f.ttl()).unwrap();
    done(&node, &[], &[put_under(lease, "v1/lock", "1")]);
    let mut mirror = Mirror::new(&node);
    wait_for("the end of the lease in the watch", SOON, || {
        node.keep_alive(other).unwrap();
        mirror.look();
        matches!(mirror.changes.last(), Some(Change::Gone { key, .. }) if key == "v1/lock").then_some(())
    });
}

/// Prints what a commit costs: `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn how_long_a_commit_takes() {
    let Some(f) = on("how_long_a_commit_takes") else { return };
    let node = f.node();
    for size in [200, 10_000, 1_000_000] {
        let value = vec![7; size];
        let mut times: Vec<Duration> = (0..500)
            .map(|i| {
                let begin = Instant::now();
                done(&node, &[], &[put(&format!("v1/{}", i % 50), &value)]);
                begin.elapsed()
            })
            .collect();
        times.sort();
        println!("{size} bytes: median {:?}, p99 {:?}", times[250], times[495]);
    }
    f.wipe();
    let keep = |threads: u32| {
        let begin = Instant::now();
        thread::scope(|scope| {
            for thread in 0..threads {
                let f = &f;
                scope.spawn(move || {
                    let node = f.node();
                    for i in 0..500 {
                        done(&node, &[], &[put(&format!("v1/{thread}/{}", i % 9), "x")]);
                    }
                });
            }
        });
        println!(
            "{threads} nodes: {:.0} commits/s",
            f64::from(threads * 500) / begin.elapsed().as_secs_f64()
        );
    };
    [1, 4, 10].into_iter().for_each(keep);
}
