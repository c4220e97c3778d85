// SPDX-License-Identifier: Apache-2.0
//! Renewals that answer dns-01 by dynamic updates and by httpd's responder: the real renewal and store, with
//! a CA and the DNS in memory. Time is virtual.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use doubles::dns::{KEY, Refusal};
use doubles::fake_ca::problem;
use doubles::{Endpoint, FakeDns, Host, VirtualClock};
use mod_md::challenge::dns01;
use mod_md::dns::{Name, OptRcode};
use mod_md::managed::Managed;
use mod_md::managed::save_error::SaveError;
use mod_md::managed::staging::Staging;
use mod_md::model::dns01::{Propagation, Rfc2136, SecretFile, Way};
use mod_md::model::{Dns01, KeySpec};
use mod_md::renew::attempt::context::Context;
use mod_md::renew::worker::check;
use mod_md::renew::worker::next::Next;
use mod_md::store::{Fuse, Group, StartStore, WorkGroup};
use mod_md::time::Clock;
use std::sync::Arc;
use std::time::Duration;

const NO_LAG: Duration = Duration::ZERO;
const LIMIT: Duration = Duration::from_secs(60);

struct Lab {
    host: Host,
    dns: Arc<FakeDns>,
}

fn update() -> Way {
    let key = SecretFile::loaded("/etc/acme.key", KEY);
    Way::Rfc2136(Rfc2136 { server: "192.0.2.1".into(), key, zone: None, ttl: 60 })
}

impl Lab {
    /// The zone a.test with a primary at 192.0.2.1, and a CA that asks all servers.
    fn new() -> Lab {
        Lab::with_servers(&[(1, NO_LAG)])
    }

    fn with_servers(servers: &[(u8, Duration)]) -> Lab {
        let host = Host::new();
        host.leave_account_key("a.test", &KeySpec::Ec("P-256".into()));
        let dns = FakeDns::new(host.clock.clone());
        dns.zone("a.test", servers);
        let seen = dns.clone();
        host.ca.rules(|rules| {
            rules.validate = Arc::new(move |asked| {
                let (at, value) = (dns01::record_name(asked.name), dns01::value(asked.key_authorization));
                let is_there = asked.type_ == "dns-01" && seen.is_visible(&at, &value);
                if is_there { Ok(()) } else { Err(problem("dns", "no such record")) }
            });
        });
        Lab { host, dns }
    }

    fn md(&self, names: &[&str], way: Way) -> Managed {
        let mut md = self.host.managed(names, &[KeySpec::Ec("P-256".into())]);
        md.md.ca.challenges = vec![dns01::TYPE.into()];
        md.dns01 = Some(Dns01 { way, limit: LIMIT, propagation: Propagation::default() });
        md
    }

    fn context_with(&self, mds: &[Managed], fuse: Fuse) -> Context {
        let store = StartStore::open_with(&self.host.path, None, fuse).unwrap().unsynced().worker();
        let ca = self.host.ca.clone();
        let context = self.host.context_by(mds, store, move || Ok(ca.clone()));
        context.asking(self.dns.clone()).with_resolvers(FakeDns::resolvers)
    }

    fn run(&self, md: &Managed) -> Next {
        check::run(&self.context_with(std::slice::from_ref(md), Fuse::default()), 0)
    }

    #[track_caller]
    fn assert_issued(&self, md: &Managed) {
        let next = self.run(md);
        let job = self.host.job(&md.md.name).unwrap();
        assert_eq!(next, Next::Never, "{:?}", job.last);
        assert!(job.finished && job.errors == 0, "{job:?}");
        assert_eq!(self.dns.records(), []);
        assert_eq!(self.challenges(), Vec::<String>::new());
    }

    fn challenges(&self) -> Vec<String> {
        self.host.work().names(WorkGroup::Challenges).unwrap()
    }

    /// What a first try fails with.
    #[track_caller]
    fn failure(&self, md: &Managed) -> String {
        let Next::At(_) = self.run(md) else { panic!("no next try") };
        let last = self.host.job(&md.md.name).unwrap().last;
        assert_eq!(last.problem.as_deref(), Some("challenge-setup-failure"), "{last:?}");
        assert_eq!(self.host.ca.count(Endpoint::Challenge), 0);
        last.detail.unwrap()
    }

    fn log(&self, name: &str) -> String {
        let job = self.host.job(name).unwrap();
        job.log.iter().filter_map(|entry| entry.detail.clone()).collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn a_wildcard_and_its_base_have_their_records_side_by_side_and_none_is_left() {
    let lab = Lab::new();
    let seen = lab.dns.clone();
    lab.host.ca.rules(|rules| {
        let validate = rules.validate.clone();
        rules.validate = Arc::new(move |asked| {
            assert_eq!(seen.records().len(), 2, "both are there before the CA is asked for one");
            validate(asked)
        });
    });
    lab.assert_issued(&lab.md(&["a.test", "*.a.test"], update()));
    let log = lab.log("a.test");
    let says = "TXT record _acme-challenge.a.test in the zone a.test, by a dynamic update at 192.0.2.1";
    assert!(log.contains(says), "{log}");
}

#[test]
fn other_records_of_the_name_stay() {
    let lab = Lab::new();
    let (other, foreign) = (lab.md(&["a.test"], update()), "of another client");
    lab.dns.add("_acme-challenge.a.test", foreign);
    let Next::Never = lab.run(&other) else { panic!("{:?}", lab.host.job("a.test")) };
    assert_eq!(lab.dns.records(), [("_acme-challenge.a.test".into(), foreign.into())]);
}

#[test]
fn a_cname_leads_to_the_zone_that_is_updated() {
    let lab = Lab::new();
    lab.dns.zone("acme.test", &[(1, NO_LAG)]);
    lab.dns.alias("_acme-challenge.a.test", "_acme-challenge.b.test");
    lab.dns.alias("_acme-challenge.b.test", "a.acme.test");
    lab.assert_issued(&lab.md(&["a.test", "*.a.test"], update()));
    let log = lab.log("a.test");
    assert!(log.contains("TXT record a.acme.test in the zone acme.test"), "{log}");
}

#[test]
fn cnames_that_lead_nowhere_or_around_are_errors_with_the_command_that_shows_them() {
    for (aliases, says) in [
        (&[("_acme-challenge.a.test", "x.nowhere")][..], "lead to x.nowhere, and no zone is found there"),
        (&[("_acme-challenge.a.test", "b.a.test"), ("b.a.test", "_acme-challenge.a.test")], "form a loop"),
    ] {
        let lab = Lab::new();
        aliases.iter().for_each(|(from, to)| lab.dns.alias(from, to));
        let text = lab.failure(&lab.md(&["a.test"], update()));
        assert!(text.contains(says) && text.contains("'dig CNAME _acme-challenge.a.test'"), "{text}");
        assert_eq!(lab.challenges(), Vec::<String>::new(), "nothing was set up");
    }
}

#[test]
fn a_refusal_says_server_zone_key_and_what_to_do() {
    for (refusal, says) in [
        (Refusal::Tsig(16), &["BADSIG", "name, algorithm and secret"][..]),
        (Refusal::Tsig(17), &["BADKEY", "Add the key 'acme'"]),
        (Refusal::Tsig(18), &["BADTIME", "3600 seconds ahead", "NTP"]),
        (Refusal::Rcode(OptRcode::REFUSED), &["REFUSED", "Allow the key 'acme'", "_acme-challenge.a.test"]),
        (Refusal::Rcode(OptRcode::NOTAUTH), &["NOTAUTH", "zone="]),
        (Refusal::Rcode(OptRcode::NOTZONE), &["NOTZONE", "zone="]),
        (Refusal::Rcode(OptRcode::SERVFAIL), &["SERVFAIL", "log of that server"]),
    ] {
        let lab = Lab::new();
        lab.dns.refuse(Some(refusal));
        let text = lab.failure(&lab.md(&["a.test"], update()));
        for says in [says, &["MDChallengeDns01", "in the zone a.test at 192.0.2.1:53", "What to do"]].concat()
        {
            assert!(text.contains(says), "{refusal:?}: no '{says}' in {text}");
        }
        assert!(!text.contains("below 'challenges' in the store"), "{text}");
        assert_eq!(lab.challenges(), Vec::<String>::new());
    }
}

#[test]
fn settings_that_cannot_work_are_told_without_a_record() {
    type Change = fn(&mut Rfc2136);
    for (change, says) in [
        ((|way| way.key.content = None) as Change, "Make '/etc/acme.key' a file that root can read"),
        (|way| way.key = SecretFile::loaded("/etc/acme.key", "x"), "'/etc/acme.key' cannot be used"),
        (|way| way.zone = Some("b.test".into()), "not in the zone b.test"),
        (|way| way.server = "ns.nowhere".into(), "address of the DNS server ns.nowhere"),
    ] {
        let lab = Lab::new();
        let mut way = update();
        let Way::Rfc2136(update) = &mut way else { unreachable!() };
        change(update);
        let text = lab.failure(&lab.md(&["a.test"], way));
        assert!(text.contains(says) && text.contains("What to do"), "{text}");
        assert_eq!((lab.dns.updates(), lab.challenges()), (0, vec![]));
    }
}

#[test]
fn a_secondary_that_lags_is_waited_for_before_the_ca_is_asked() {
    let lab = Lab::with_servers(&[(1, NO_LAG), (2, Duration::from_secs(10))]);
    lab.assert_issued(&lab.md(&["a.test", "*.a.test"], update()));
    let log = lab.log("a.test");
    let says = "Waiting until the name server ns2.a.test (192.0.2.2:53) has the TXT record of \
                _acme-challenge.a.test";
    assert!(log.contains(says), "{log}");
}

#[test]
fn after_the_limit_the_ca_is_asked_all_the_same() {
    let lab = Lab::with_servers(&[(1, NO_LAG), (2, Duration::from_secs(3600))]);
    lab.host.ca.rules(|rules| rules.validate = Arc::new(|_| Ok(())));
    let begin = lab.host.clock.now();
    lab.assert_issued(&lab.md(&["a.test"], update()));
    let waited = lab.host.clock.now().since(begin);
    assert!(waited >= LIMIT && waited < LIMIT * 2, "{waited:?}");
    let log = lab.log("a.test");
    let says = "the name server ns2.a.test is not known to have the TXT record of _acme-challenge.a.test (it has \
                no TXT record there); the CA is asked all the same";
    assert!(log.contains(says), "{log}");
}

#[test]
fn without_propagation_nobody_is_asked_for_the_value() {
    let lab = Lab::with_servers(&[(1, NO_LAG), (2, Duration::from_secs(3600))]);
    lab.host.ca.rules(|rules| rules.validate = Arc::new(|_| Ok(())));
    let mut md = lab.md(&["a.test"], update());
    md.dns01.as_mut().unwrap().propagation.limit = None;
    lab.assert_issued(&md);
    assert_eq!((lab.dns.asked(1), lab.dns.asked(2)), (0, 0));
}

#[test]
fn a_dead_server_is_waited_for_once_an_hour() {
    let lab = Lab::with_servers(&[(1, NO_LAG), (2, NO_LAG)]);
    lab.host.leave_account_key("b.a.test", &KeySpec::Ec("P-256".into()));
    lab.host.leave_account_key("c.a.test", &KeySpec::Ec("P-256".into()));
    lab.dns.silence(2);
    let names = ["a.test", "b.a.test", "c.a.test"];
    let mds: Vec<Managed> = names.iter().map(|name| lab.md(&[name], update())).collect();
    let context = lab.context_with(&mds, Fuse::default());
    check::run(&context, 0);
    assert_eq!(lab.dns.asked(2), 1);
    let log = lab.log("a.test");
    assert!(log.contains("ns2.a.test is not known") && log.contains("did not answer"), "{log}");
    check::run(&context, 1);
    assert_eq!(lab.dns.asked(2), 1, "it is not asked again");
    lab.host.clock.advance(Duration::from_secs(3600));
    lab.dns.speak(2);
    check::run(&context, 2);
    assert_eq!(lab.dns.asked(2), 2);
    for name in names {
        let job = lab.host.job(name).unwrap();
        assert!(job.finished && job.errors == 0, "{name}: {job:?}");
    }
}

#[test]
fn where_no_resolver_answers_the_record_is_set_at_the_name_itself() {
    let lab = Lab::new();
    lab.dns.silence(53);
    let mut way = update();
    let text = lab.failure(&lab.md(&["a.test"], way.clone()));
    let says = "the zone of the TXT record _acme-challenge.a.test is not known";
    assert!(text.contains(says) && text.contains("192.0.2.53") && text.contains("zone="), "{text}");
    let Way::Rfc2136(update) = &mut way else { unreachable!() };
    update.zone = Some("a.test".into());
    lab.host.clock.advance(Duration::from_secs(60));
    let Next::Never = lab.run(&lab.md(&["a.test"], way)) else { panic!("{:?}", lab.host.job("a.test")) };
    assert_eq!(lab.dns.records(), []);
}

#[test]
fn the_servers_of_the_directive_replace_resolvers_and_name_servers() {
    let lab = Lab::with_servers(&[(1, NO_LAG), (2, Duration::from_secs(10))]);
    let mut md = lab.md(&["a.test"], update());
    md.dns01.as_mut().unwrap().propagation.servers = vec!["192.0.2.2".into()];
    lab.assert_issued(&md);
    assert_eq!((lab.dns.asked(53), lab.dns.asked(1)), (0, 0));
    assert!(lab.log("a.test").contains("the name server 192.0.2.2 ("), "{}", lab.log("a.test"));
}

#[test]
fn a_record_is_removed_where_it_was_set_up_wherever_the_child_died() {
    for steps in (0..).step_by(3) {
        let lab = Lab::new();
        lab.dns.zone("acme.test", &[(1, NO_LAG)]);
        lab.dns.alias("_acme-challenge.a.test", "a.acme.test");
        let md = lab.md(&["a.test", "*.a.test"], update());
        check::run(&lab.context_with(std::slice::from_ref(&md), Fuse::after(steps)), 0);
        let died = !Staging::new(&lab.host.work(), "a.test").job().unwrap().is_some_and(|job| job.finished);
        let left = lab.dns.records().len();
        // Nothing is remembered.
        let md = Managed { save_error: SaveError::default(), ..md };
        // The admin has changed the CNAME since.
        lab.dns.alias("_acme-challenge.a.test", "b.acme.test");
        for _ in 0..20 {
            match lab.run(&md) {
                Next::Never => break,
                Next::At(at) => lab.host.clock.advance(at.since(lab.host.clock.now())),
            }
        }
        assert!(lab.host.job("a.test").unwrap().finished, "after {steps} steps");
        assert_eq!(lab.dns.records(), [], "after {steps} steps, {left} were left");
        let notes = lab.challenges();
        assert!(!died || notes.is_empty(), "after {steps} steps: {notes:?}");
        if !died {
            assert!(steps > 20, "only {steps} steps");
            return;
        }
    }
}

#[test]
fn records_of_a_finished_order_are_removed_by_the_process_after_one_that_stopped() {
    let mut lab = Lab::new();
    let md = lab.md(&["a.test", "*.a.test"], update());
    lab.dns.refuse(Some(Refusal::StopAtDelete));
    lab.run(&md);
    assert_eq!((lab.dns.records().len(), lab.challenges().len()), (2, 1));
    lab.host.clock = Arc::new(VirtualClock::at(lab.host.clock.now()));
    lab.dns.refuse(None);
    let md = Managed { save_error: SaveError::default(), ..md };
    lab.assert_issued(&md);
    assert_eq!(lab.host.ca.count(Endpoint::NewOrder), 1);
}

#[test]
fn a_record_whose_server_is_not_reached_is_removed_by_the_next_renewal() {
    let lab = Lab::new();
    let md = lab.md(&["a.test"], update());
    let dns = lab.dns.clone();
    lab.host.ca.rules(|rules| {
        rules.validate = Arc::new(move |_| {
            dns.silence(1);
            Err(problem("dns", "no such record"))
        });
    });
    let Next::At(_) = lab.run(&md) else { panic!("no next try") };
    assert_eq!((lab.dns.records().len(), lab.challenges()), (1, vec!["a.test".to_string()]));
    lab.dns.speak(1);
    lab.host.ca.rules(|rules| rules.validate = Arc::new(|_| Ok(())));
    lab.host.clock.advance(Duration::from_secs(3600));
    lab.assert_issued(&md);
}

#[test]
fn a_record_whose_zone_cannot_be_looked_up_is_removed_by_the_next_renewal() {
    let lab = Lab::new();
    let md = lab.md(&["a.test"], update());
    let dns = lab.dns.clone();
    lab.host.ca.rules(|rules| {
        rules.validate = Arc::new(move |_| {
            dns.silence(53);
            Err(problem("dns", "no such record"))
        });
    });
    let Next::At(_) = lab.run(&md) else { panic!("no next try") };
    assert_eq!((lab.dns.records().len(), lab.challenges()), (1, vec!["a.test".to_string()]));
    lab.dns.speak(53);
    lab.host.ca.rules(|rules| rules.validate = Arc::new(|_| Ok(())));
    lab.host.clock.advance(Duration::from_secs(3600));
    lab.assert_issued(&md);
}

#[test]
fn a_clean_up_waits_for_a_dead_server_once_and_not_for_each_domain() {
    let lab = Lab::new();
    let md = lab.md(&["a.test", "b.a.test", "c.a.test", "d.a.test"], update());
    let dns = lab.dns.clone();
    lab.host.ca.rules(|rules| {
        rules.validate = Arc::new(move |_| {
            dns.silence(1);
            Err(problem("dns", "no such record"))
        });
    });
    let Next::At(_) = lab.run(&md) else { panic!("no next try") };
    assert_eq!((lab.dns.records().len(), lab.challenges().len()), (4, 4), "nothing is forgotten");
    assert_eq!(lab.dns.updates(), 4 + 1);
    lab.dns.speak(1);
    lab.host.ca.rules(|rules| rules.validate = Arc::new(|_| Ok(())));
    lab.host.clock.advance(Duration::from_secs(3600));
    lab.assert_issued(&md);
}

#[test]
fn notes_that_no_renewal_has_written_have_no_record_removed() {
    let lab = Lab::new();
    let md = lab.md(&["a.test"], update());
    let own = dns01::value("token.thumbprint");
    let others = [("a.test", "v=spf1 -all"), ("b.a.test", "verified-by=somebody")];
    let odd = ["$(id).a.test", "-e.a.test", r"a\032b.a.test"].map(|at| (at, own.as_str()));
    let planted: Vec<_> = others.into_iter().chain(odd).collect();
    planted.iter().for_each(|(at, value)| lab.dns.add(at, value));
    let values: Vec<_> = planted
        .iter()
        .map(|(at, value)| serde_json::json!({"owner": "a.test", "value": value, "at": at}))
        .collect();
    let note = serde_json::json!({ "values": values });
    lab.host.store.write_json(Group::Challenges, "a.test", dns01::NOTE, &note).unwrap();
    assert_eq!(lab.run(&md), Next::Never, "{:?}", lab.host.job("a.test"));
    assert_eq!(lab.dns.records().len(), planted.len(), "{:?}", lab.dns.records());
    assert_eq!(lab.challenges(), [""; 0], "they are not met again");
}

#[test]
fn a_cname_to_a_name_that_a_shell_could_take_for_more_is_refused() {
    let lab = Lab::new();
    for to in ["$(id).a.test", "a;id.a.test", "-e.a.test"] {
        lab.dns.alias("_acme-challenge.a.test", to);
        let text = lab.failure(&lab.md(&["a.test"], update()));
        assert!(text.contains(to) && text.contains("letters, digits"), "{text}");
        assert_eq!((lab.dns.records(), lab.challenges()), (vec![], vec![]));
        lab.host.clock.advance(Duration::from_secs(86_400));
    }
}

#[test]
fn the_responder_answers_from_the_folder_that_the_cname_leads_to() {
    for (alias, folder) in [(None, "a.test"), (Some("a-test.acme.test"), "a-test.acme.test")] {
        let mut lab = Lab::new();
        lab.dns.zone("acme.test", &[(1, NO_LAG)]);
        match alias {
            Some(alias) => lab.dns.alias("_acme-challenge.a.test", alias),
            None => lab.host.settings.dns_zones = vec![Name::parse("_acme-challenge.a.test").unwrap()],
        }
        let path = lab.host.path.join("challenges").join(folder).join(dns01::NOTE);
        let store = StartStore::open(&lab.host.path, None).unwrap().unsynced();
        lab.host.ca.rules(|rules| {
            rules.validate = Arc::new(move |asked| {
                let note: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                let values = note["values"].as_array().unwrap();
                let value = dns01::value(asked.key_authorization);
                assert!(values.iter().any(|v| v["value"] == value.as_str()), "{note:#}");
                assert!(values.iter().all(|v| v["owner"] == "a.test" && v["served-for"] == "a.test"));
                // A restart leaves what is asked for in place.
                let mds = [(md_of("a.test"), Some(responder()))];
                purge(&store, &mds);
                assert!(path.exists());
                Ok(())
            });
        });
        let mut md = lab.md(&["a.test", "*.a.test"], Way::Responder);
        md.dns01.as_mut().unwrap().propagation.limit = None;
        lab.assert_issued(&md);
        assert_eq!(lab.dns.updates(), 0);
    }
}

fn responder() -> Dns01 {
    Dns01 { way: Way::Responder, limit: LIMIT, propagation: Propagation::default() }
}

fn md_of(name: &str) -> mod_md::model::Md {
    let domains = vec![name.into()];
    mod_md::model::Md { name: name.into(), domains, ..mod_md::model::Md::default() }
}

fn purge(store: &StartStore, mds: &[(mod_md::model::Md, Option<Dns01>)]) {
    let mds = mds.iter().map(|(md, dns01)| (md, dns01.as_ref()));
    mod_md::startup::cleanup::purge_challenges(store, mds).unwrap();
}

#[test]
fn values_of_the_responder_go_with_their_domain_and_their_way() {
    let lab = Lab::new();
    let note = serde_json::json!({"values": [
        {"owner": "a.test", "value": "v-1", "served-for": "a.test"},
        {"owner": "b.test", "value": "v-2", "served-for": "b.test"},
    ]});
    let put = || lab.host.store.write_json(Group::Challenges, "x.acme.test", dns01::NOTE, &note).unwrap();
    let owners = |mds: &[(mod_md::model::Md, Option<Dns01>)]| -> Vec<String> {
        put();
        purge(&lab.host.store, mds);
        let note = lab.host.store.read_json(Group::Challenges, "x.acme.test", dns01::NOTE).unwrap();
        let values = note.map(|note| note["values"].as_array().unwrap().clone()).unwrap_or_default();
        values.iter().map(|value| value["owner"].as_str().unwrap().to_string()).collect()
    };
    let (a, b) = (md_of("a.test"), md_of("b.test"));
    assert_eq!(
        owners(&[(a.clone(), Some(responder())), (b.clone(), Some(responder()))]),
        ["a.test", "b.test"]
    );
    assert_eq!(owners(&[(a.clone(), Some(responder())), (b, None)]), ["a.test"]);
    assert_eq!(owners(&[(a, None)]), Vec::<String>::new());
    let renamed = mod_md::model::Md { name: "a.test".into(), ..md_of("c.test") };
    assert_eq!(owners(&[(renamed, Some(responder()))]), Vec::<String>::new(), "it has the domain no more");
}
