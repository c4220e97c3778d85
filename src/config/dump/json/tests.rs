// SPDX-License-Identifier: Apache-2.0
//! Configurations of all forms are read back as they were; documents of others are refused or cut.

use super::*;
use crate::model::dns01::{Hook, HookKind, Rfc2136, SecretFile};
use crate::model::{Ca, KeySpec, RequireHttps};
use crate::time::TimeSlice;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn text() -> impl Strategy<Value = String> {
    "[ -~äß\u{1b}]{0,12}"
}

fn name() -> impl Strategy<Value = String> {
    "[a-z]{1,8}\\.test"
}

fn place() -> impl Strategy<Value = (String, u32)> {
    (text(), any::<u32>())
}

fn slice() -> impl Strategy<Value = TimeSlice> {
    prop_oneof![
        (0u8..100).prop_map(TimeSlice::Percent),
        (0u64..10_000_000_000).prop_map(|ms| TimeSlice::Length(Duration::from_millis(ms))),
    ]
}

fn duration() -> impl Strategy<Value = Duration> {
    (0u64..10_000_000).prop_map(Duration::from_millis)
}

fn way() -> impl Strategy<Value = Way> {
    let file = || text().prop_map(SecretFile::at);
    prop_oneof![
        (text(), any::<u8>()).prop_map(|(line, version)| Way::Command(Command { line, version })),
        (text(), file(), option::of(text()), any::<u32>())
            .prop_map(|(server, key, zone, ttl)| Way::Rfc2136(Rfc2136 { server, key, zone, ttl })),
        text().prop_map(Way::AcmeDns),
        Just(Way::Responder),
        (select(&HookKind::ALL), vec(text(), 0..4), option::of(file()), option::of(file()))
            .prop_map(|(kind, words, user, env)| Way::Hook(Hook { kind, words, user, env })),
    ]
}

fn dns01() -> impl Strategy<Value = Dns01> {
    (way(), duration(), option::of(duration()), vec(text(), 0..3)).prop_map(|(way, limit, wait, servers)| {
        Dns01 { way, limit, propagation: Propagation { limit: wait, servers } }
    })
}

fn md() -> impl Strategy<Value = Md> {
    let keys = vec(
        prop_oneof![Just(KeySpec::Rsa(2048)), Just(KeySpec::Rsa(4096)), text().prop_map(KeySpec::Ec)],
        0..3,
    );
    let ca = (vec(text(), 0..3), option::of(text()), vec(text(), 0..3))
        .prop_map(|(urls, agreement, challenges)| Ca { urls, agreement, challenges, ..Md::default().ca });
    let eab = option::of(text().prop_map(|kid| Eab { kid, hmac: String::new() }));
    let words = (
        select(vec![RenewMode::Manual, RenewMode::Auto, RenewMode::Always]),
        select(vec![RequireHttps::Off, RequireHttps::Temporary, RequireHttps::Permanent]),
    );
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let texts = (option::of(text()), option::of(text()), option::of(text()), vec(text(), 0..2));
    (vec(name(), 1..4), vec(text(), 0..2), ca, keys, words, (slice(), slice()), eab, flags, texts).prop_map(
        |(domains, contacts, ca, key_specs, words, windows, eab, flags, texts)| Md {
            name: domains[0].clone(),
            domains,
            contacts,
            ca,
            key_specs,
            renew_mode: words.0,
            require_https: words.1,
            renew_window: windows.0,
            warn_window: windows.1,
            eab,
            transitive: flags.0,
            must_staple: flags.1,
            stapling: flags.2,
            profile_mandatory: flags.3,
            ari_renewals: flags.4,
            profile: texts.0,
            cmd_dns_01: texts.1,
            proxy_url: texts.2,
            cert_files: texts.3.clone(),
            pkey_files: texts.3,
            ..Md::default()
        },
    )
}

fn dns_service() -> impl Strategy<Value = DnsService> {
    let zone = (name(), vec(name(), 0..3)).prop_map(|(zone, hosts)| DnsZone { zone, hosts });
    (vec(any::<std::net::SocketAddrV4>().prop_map(Into::into), 0..2), vec(zone, 0..3))
        .prop_map(|(listen, zones)| DnsService { listen, zones })
}

fn host() -> impl Strategy<Value = DumpedHost> {
    let facts = (any::<bool>(), option::of(any::<bool>()), option::of(text()), any::<bool>());
    (text(), vec(text(), 0..3), place(), any::<u16>(), vec(any::<u16>(), 0..3), text(), facts).prop_map(
        |(
            server_name,
            aliases,
            defined_at,
            port,
            ports,
            address,
            (is_main, has_tls, admin, has_own_certificate),
        )| {
            DumpedHost {
                host: Host { server_name, aliases, is_main, admin, defined_at, port, ports },
                address,
                has_tls,
                has_own_certificate,
            }
        },
    )
}

fn planned_md() -> impl Strategy<Value = PlannedMd> {
    let route = (option::of(text()), option::of(text()), option::of(text()))
        .prop_map(|(ca_file, proxy_url, proxy_ca_file)| Route { ca_file, proxy_url, proxy_ca_file });
    (md(), vec(0usize..4, 0..4), place(), option::of(dns01()), vec(text(), 0..2), route, any::<bool>())
        .prop_map(|(md, hosts, defined_at, dns01, dns_servers, route, watched)| PlannedMd {
            md,
            hosts,
            defined_at,
            dns01,
            dns_servers,
            route,
            watched,
        })
}

fn fleet() -> impl Strategy<Value = DumpedFleet> {
    let path = || text().prop_map(PathBuf::from);
    let (files, user) = (option::of((path(), path())), option::of((text(), path())));
    (vec(text(), 0..3), vec(path(), 0..3), option::of(path()), files, user, option::of(text())).prop_map(
        |(urls, secret_files, ca_file, client_files, user, node)| DumpedFleet {
            urls,
            secret_files,
            ca_file,
            client_files,
            user,
            node,
        },
    )
}

prop_compose! {
    fn configuration()(
        texts in (text(), text(), text(), option::of(text()), option::of(text())),
        user in option::of(any::<(u32, u32)>()),
        mds in vec(planned_md(), 0..4),
        hosts in vec(host(), 4..6),
        ports in (vec(any::<u16>(), 0..3), option::of(any::<u16>()), option::of(any::<u16>())),
        findings in vec((text(), text()).prop_map(|(code, text)| DumpedFinding { code, text }), 0..3),
        is_live in any::<bool>(),
        waits in (option::of(duration()), option::of(duration()), option::of(any::<u32>()), option::of(any::<u32>())),
        dns in dns_service(),
        fleet in option::of(fleet()),
    ) -> Configuration {
        Configuration {
            version: texts.0,
            store: texts.1.into(),
            server_root: texts.2.into(),
            message_cmd: texts.3,
            notify_cmd: texts.4,
            user,
            mds,
            hosts,
            ports: ports.0,
            http_port: ports.1,
            https_port: ports.2,
            is_live,
            store_locks: waits.0,
            retry_delay: waits.1,
            retry_failover: waits.2,
            renew_parallel: waits.3,
            dns,
            fleet,
            findings,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_configuration_is_read_back_as_it_was(written in configuration()) {
        let text = written.to_json().to_string();
        let read = Configuration::from_json(&serde_json::from_str(&text).unwrap());
        prop_assert_eq!(read, Ok(written.clone()));
        let text = written.to_text();
        prop_assert!(!text.replace('\n', "").contains(char::is_control), "{}", text);
    }
}

#[test]
fn the_hmac_of_an_account_and_contents_of_files_are_not_told() {
    let eab = Some(Eab { kid: "kid-1".into(), hmac: "aG1hYw".into() });
    let key = SecretFile::loaded("/etc/tsig.key", "c2VjcmV0");
    let way = Way::Rfc2136(Rfc2136 { server: "ns.test".into(), key, zone: None, ttl: 60 });
    let dns01 = Dns01 { way: way.clone(), limit: Duration::ZERO, propagation: Propagation::default() };
    let md = Md { name: "a.test".into(), domains: vec!["a.test".into()], eab, ..Md::default() };
    let md = Md { dns_01: Some(way), ..md };
    let planned = PlannedMd { md, dns01: Some(dns01), ..PlannedMd::default() };
    let told = Configuration { mds: vec![planned], ..Configuration::default() };
    for text in [told.to_json().to_string(), told.to_text()] {
        assert!(text.contains("a.test") && !text.contains("aG1hYw") && !text.contains("c2VjcmV0"), "{text}");
    }
    let read = Configuration::from_json(&told.to_json()).unwrap();
    assert_eq!(read.mds[0].md.eab, Some(Eab { kid: "kid-1".into(), hmac: String::new() }));
}

#[test]
fn documents_of_others_are_refused_or_cut() {
    for (document, error) in [
        (json!(null), Unreadable::Other),
        (json!({"store": "/x", "server-root": "/y"}), Unreadable::Other),
        (json!({"schema": 1, "server-root": "/y"}), Unreadable::Other),
        (json!({"schema": 2, "store": "/x", "server-root": "/y"}), Unreadable::Schema(2)),
        (json!({"schema": 1, "store": "x".repeat(20_000), "server-root": "/y"}), Unreadable::Other),
    ] {
        assert_eq!(Configuration::from_json(&document), Err(error), "{document}");
    }
    let document = json!({
        "schema": 1,
        "store": "/x",
        "server-root": "/y",
        "user": {"uid": -1, "gid": "0"},
        "ports": [80, 70_000, "443", -1],
        "hosts": [7, {"server-name": "x".repeat(20_000), "tls": "yes"}],
        "managed-domains": [
            7,
            {"md": {"name": "../../etc"}},
            {"md": {"name": "a.test"}, "hosts": [0, 1, u64::MAX, "0"], "dns-01": {"way": 7}},
        ],
        "later": {"unknown": true},
    });
    let read = Configuration::from_json(&document).unwrap();
    assert_eq!((read.user, read.ports.as_slice()), (None, &[80][..]));
    assert_eq!(read.hosts, [DumpedHost::default()]);
    let [planned] = &read.mds[..] else { panic!("{read:?}") };
    assert_eq!((planned.hosts.as_slice(), &planned.dns01), (&[0][..], &None));
}
