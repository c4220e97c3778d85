// SPDX-License-Identifier: Apache-2.0
//! dns-persist-01 and dns-account-01 from the order to the staged set: the real renewal and store, a CA and a
//! DNS in memory. Time is virtual.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use doubles::fake_ca::{Endpoint, problem};
use doubles::{FakeDns, Host};
use mod_md::challenge::dns01::value;
use mod_md::managed::Managed;
use mod_md::model::dns01::{Hook, HookKind, Propagation, Way};
use mod_md::model::{Dns01, Job, KeySpec};
use mod_md::notify::Commands;
use mod_md::renew::attempt::context::Context;
use mod_md::renew::worker::check;
use mod_md::renew::worker::next::Next;
use mod_md::startup::cleanup::start_over;
use mod_md::time::{Clock, DAY};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const ACCOUNT: &str = "https://ca.test/account/0";

struct Lab {
    host: Host,
    dns: Arc<FakeDns>,
}

impl Lab {
    /// Its CA finds whatever it looks for. The zone test is at 192.0.2.1 and 192.0.2.2.
    fn new() -> Lab {
        Lab::lagging(Duration::ZERO)
    }

    /// With a second name server that follows so late.
    fn lagging(lag: Duration) -> Lab {
        let host = Host::new();
        host.leave_account_key("a.test", &KeySpec::Ec("P-256".into()));
        host.ca.rules(|rules| {
            rules.challenge_types = vec!["http-01", "dns-01", "dns-persist-01", "dns-account-01"];
        });
        let dns = FakeDns::new(host.clock.clone());
        dns.zone("test", &[(1, Duration::ZERO), (2, lag)]);
        Lab { host, dns }
    }

    fn md(&self, names: &[&str], challenges: &[&str]) -> Managed {
        let mut md = self.host.managed(names, &[KeySpec::Ec("P-256".into())]);
        md.md.ca.challenges = challenges.iter().map(ToString::to_string).collect();
        md
    }

    fn context(&self, md: &Managed) -> Context {
        let context = self.host.context(std::slice::from_ref(md));
        context.asking(self.dns.clone()).with_resolvers(FakeDns::resolvers)
    }

    /// A look of a new child.
    fn look(&self, md: &Managed) -> Next {
        check::run(&self.context(md), 0)
    }

    /// The one that is due after a wait.
    fn look_again(&self, md: &Managed) -> Next {
        self.advance(Duration::from_secs(700));
        self.look(md)
    }

    fn job(&self) -> Job {
        self.host.job("a.test").unwrap()
    }

    fn advance(&self, by: Duration) {
        self.host.clock.advance(by);
    }

    /// As a start does it; it is not renewed again.
    fn put_into_use(&self, md: &mut Managed) {
        md.md.renew_mode = mod_md::model::RenewMode::Manual;
        let staging = self.host.path.join("staging/a.test");
        for file in std::fs::read_dir(staging).unwrap().flatten() {
            if file.file_name() != "issued.json" {
                std::fs::remove_file(file.path()).unwrap();
            }
        }
    }

    #[track_caller]
    fn assert_waits(&self, lines: &[&str]) {
        let job = self.job();
        let waiting = job.waiting.unwrap_or_else(|| panic!("{:?}", job.last));
        assert_eq!((waiting.records.as_slice(), job.errors, job.finished), (&lines_of(lines)[..], 0, false));
        for line in lines {
            assert!(job.last.detail.as_ref().unwrap().contains(line), "{:?}", job.last);
        }
        assert_eq!(self.host.ca.count(Endpoint::Challenge), 0, "nothing is started");
    }

    #[track_caller]
    fn assert_done(&self) {
        let job = self.job();
        assert!(job.finished && job.errors == 0 && job.waiting.is_none(), "{job:?}");
    }
}

fn lines_of(lines: &[&str]) -> Vec<String> {
    lines.iter().map(ToString::to_string).collect()
}

const PERSIST: &[&str] = &["dns-persist-01"];

fn line(domain: &str, policy: &str) -> String {
    format!("_validation-persist.{domain}. TXT \"ca.test; accounturi={ACCOUNT}{policy}\"")
}

fn record(policy: &str) -> String {
    format!("ca.test; accounturi={ACCOUNT}{policy}")
}

#[test]
fn without_its_record_a_renewal_waits_with_the_line_to_set_and_then_goes_on() {
    let lab = Lab::new();
    let md = lab.md(&["a.test", "b.test", "*.a.test"], PERSIST);
    let (a, b) = (line("a.test", "; policy=wildcard"), line("b.test", ""));
    let (mut log, mut looks) = (None, 0);
    while lab.host.clock.now().since(doubles::host::BEGIN) < DAY * 3 {
        let Next::At(at) = lab.look(&md) else { panic!("{:?}", lab.job()) };
        lab.assert_waits(&[&a, &b]);
        let job = lab.job();
        assert_eq!(log.get_or_insert(job.log.len()), &job.log.len(), "the job's log does not grow");
        let wait = at.since(lab.host.clock.now());
        assert!((10..=601).contains(&wait.as_secs()), "{wait:?}");
        lab.advance(wait);
        looks += 1;
    }
    assert!((400..700).contains(&looks), "{looks}");
    assert_eq!(lab.host.ca.count(Endpoint::NewOrder), 1);
    // A record for another account, and one without policy for the wildcard.
    lab.dns.add("_validation-persist.a.test", &record(""));
    lab.dns.add("_validation-persist.b.test", "other.test; accounturi=x");
    lab.dns.add("_validation-persist.b.test", "ca.test; accounturi=https://ca.test/account/9");
    lab.look_again(&md);
    lab.assert_waits(&[&a, &b]);
    let detail = lab.job().last.detail.unwrap();
    assert!(detail.contains("policy=wildcard, which wildcards"), "{detail}");
    lab.dns.add("_validation-persist.a.test", &record("; policy=wildcard"));
    lab.dns.add("_validation-persist.b.test", &record(""));
    assert_eq!(lab.look_again(&md), Next::Never);
    lab.assert_done();
    assert_eq!((lab.host.ca.count(Endpoint::NewOrder), lab.host.ca.count(Endpoint::Challenge)), (1, 3));
    assert!(lab.host.ca.take_violations().is_empty());
}

#[test]
fn an_order_that_expires_meanwhile_is_replaced_without_an_error() {
    let lab = Lab::new();
    lab.host.ca.rules(|rules| rules.expires = Some(DAY * 7));
    let md = lab.md(&["a.test"], PERSIST);
    for _ in 0..40 {
        lab.look(&md);
        lab.assert_waits(&[&line("a.test", "")]);
        lab.advance(DAY);
    }
    assert!(
        (4..=7).contains(&lab.host.ca.count(Endpoint::NewOrder)),
        "{}",
        lab.host.ca.count(Endpoint::NewOrder)
    );
}

#[test]
fn a_slow_validation_is_waited_for_and_not_started_twice() {
    let lab = Lab::new();
    lab.host.ca.rules(|rules| {
        rules.validation_time = Duration::from_secs(3000);
        rules.shows_pending = true;
    });
    lab.dns.add("_validation-persist.a.test", &record(""));
    let md = lab.md(&["a.test"], PERSIST);
    while let Next::At(at) = lab.look(&md) {
        let waiting = lab.job().waiting.unwrap();
        assert!(waiting.records.is_empty() && waiting.what == "validating a.test", "{waiting:?}");
        lab.advance(at.since(lab.host.clock.now()));
    }
    lab.assert_done();
    assert_eq!(lab.host.ca.count(Endpoint::Challenge), 1);
}

#[test]
fn each_server_of_the_zone_has_to_have_the_record_and_aliases_are_followed() {
    let lab = Lab::lagging(Duration::from_secs(300));
    let md = lab.md(&["a.test"], PERSIST);
    lab.dns.alias("_validation-persist.a.test", "p.b.test");
    lab.dns.add("p.b.test", &record(""));
    lab.look(&md);
    lab.assert_waits(&[&line("a.test", "")]);
    lab.look_again(&md);
    lab.assert_done();
}

#[test]
fn a_record_above_holds_for_names_below_by_its_policy() {
    for (policy, is_enough) in [("; policy=wildcard", true), ("", false)] {
        let lab = Lab::new();
        lab.host.leave_account_key("www.a.test", &KeySpec::Ec("P-256".into()));
        let mut md = lab.md(&["www.a.test", "a.test"], PERSIST);
        md.md.name = "a.test".into();
        lab.dns.add("_validation-persist.a.test", &record(policy));
        lab.look(&md);
        match is_enough {
            true => lab.assert_done(),
            false => lab.assert_waits(&[&line("www.a.test", "")]),
        }
    }
}

#[test]
fn where_nothing_can_be_looked_up_the_ca_is_asked_all_the_same() {
    let lab = Lab::new();
    lab.dns.silence(53);
    lab.look(&lab.md(&["a.test"], PERSIST));
    lab.assert_done();
    let lab = Lab::new();
    let context = lab.host.context(&[lab.md(&["a.test"], PERSIST)]).asking(lab.dns.clone());
    check::run(&context, 0);
    lab.assert_done();
    assert_eq!(lab.dns.asked(53), 0, "no resolver is known");
}

#[test]
fn configured_servers_are_asked_in_place_of_the_systems() {
    let lab = Lab::lagging(DAY);
    let mut md = lab.md(&["a.test"], PERSIST);
    md.dns_servers = vec!["192.0.2.2".into()];
    lab.dns.add("_validation-persist.a.test", &record(""));
    lab.look(&md);
    lab.assert_waits(&[&line("a.test", "")]);
    md.dns_servers = vec!["192.0.2.1".into()];
    lab.look_again(&md);
    lab.assert_done();
}

#[test]
fn another_type_that_is_configured_is_used_where_the_record_is_missing() {
    let lab = Lab::new();
    lab.look(&lab.md(&["a.test"], &["dns-persist-01", "http-01"]));
    lab.assert_done();
    assert!(
        lab.job().log.iter().any(|entry| {
            entry.detail.as_deref().is_some_and(|detail| detail.contains(&line("a.test", "")))
        })
    );
}

#[test]
fn it_is_never_chosen_by_itself() {
    let lab = Lab::new();
    lab.host.ca.rules(|rules| rules.challenge_types = vec!["dns-persist-01", "dns-account-01"]);
    lab.dns.add("_validation-persist.a.test", &record(""));
    lab.look(&lab.md(&["a.test"], &[]));
    assert_eq!(lab.job().last.problem.as_deref(), Some("challenge-mismatch"));
    assert_eq!(lab.dns.asked(53), 0);
}

#[test]
fn a_record_that_ends_soon_is_warned_of_as_a_certificate_that_expires() {
    let mut lab = Lab::new();
    let calls = lab.host.dir().join("calls");
    let message = format!("/bin/sh -c 'echo \"$@\" >> {}' sh", calls.display());
    lab.host.settings.commands = Commands { message: Some(message), notify: None };
    let until = lab.host.clock.now().plus(DAY * 100);
    let ends = record(&format!("; persistUntil={}", until.unix()));
    lab.dns.add("_validation-persist.a.test", &ends);
    let mut md = lab.md(&["a.test"], PERSIST);
    lab.look(&md);
    lab.assert_done();
    lab.put_into_use(&mut md);
    let expiring = || std::fs::read_to_string(&calls).unwrap().matches("expiring a.test").count();
    // A tenth of 90 days: MDWarnWindow's default.
    lab.advance(DAY * 90);
    lab.look(&md);
    assert_eq!(expiring(), 0);
    lab.advance(DAY * 2);
    lab.look(&md);
    lab.look(&md);
    assert_eq!(expiring(), 1);
    lab.advance(DAY);
    lab.look(&md);
    assert_eq!(expiring(), 2, "once a day");
    md.md.ca.challenges.clear();
    lab.advance(DAY);
    lab.look(&md);
    assert_eq!(expiring(), 2, "the record is of no use any more");
}

/// A domain that sets records by a hook of lego, which notes its calls.
fn by_hook(lab: &Lab, kind: HookKind) -> (Managed, std::path::PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let (hook, calls) = (lab.host.dir().join("hook"), lab.host.dir().join("calls"));
    std::fs::write(&hook, format!("#!/bin/sh\necho \"$@\" >> {}\n", calls.display())).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut md = lab.md(&["a.test", "*.a.test"], &["dns-account-01"]);
    let words = vec![hook.display().to_string()];
    md.dns01 = Some(Dns01 {
        way: Way::Hook(Hook { kind, words, user: None, env: None }),
        limit: Duration::from_secs(60),
        propagation: Propagation { limit: None, servers: vec![] },
    });
    (md, calls)
}

#[test]
fn records_of_dns_account_01_have_the_accounts_label_and_go_in_the_end() {
    let lab = Lab::new();
    let (md, calls) = by_hook(&lab, HookKind::Lego);
    let at = mod_md::challenge::dns_account01::record_name(ACCOUNT, "a.test");
    let (file, name) = (calls.clone(), at.clone());
    lab.host.ca.rules(|rules| {
        rules.validate = Arc::new(move |asked| {
            let call = format!("present {name}. {}\n", value(asked.key_authorization));
            match asked.type_ == "dns-account-01" && std::fs::read_to_string(&file).unwrap().contains(&call) {
                true => Ok(()),
                false => Err(problem("dns", "no such record")),
            }
        });
    });
    lab.look(&md);
    lab.assert_done();
    let text = std::fs::read_to_string(&calls).unwrap();
    let of = |word: &str| {
        let values = text.lines().filter_map(|line| line.strip_prefix(&format!("{word} {at}. ")));
        values.map(String::from).collect::<BTreeSet<_>>()
    };
    assert_eq!((of("present").len(), text.lines().count()), (2, 4), "{text}");
    assert_eq!(of("present"), of("cleanup"));
}

#[test]
fn a_hook_that_is_told_the_domain_alone_is_not_used_for_dns_account_01() {
    for kind in [HookKind::Dehydrated, HookKind::Certbot] {
        let lab = Lab::new();
        let (md, calls) = by_hook(&lab, kind);
        lab.look(&md);
        let job = lab.job();
        assert_eq!(job.last.problem.as_deref(), Some("challenge-mismatch"));
        assert!(job.last.detail.unwrap().contains("not the name of the record"));
        assert!(!calls.exists());
    }
}

#[test]
fn a_restart_looks_the_record_up_at_once_and_by_its_configuration() {
    let changed: [(&[&str], &[&str], &[&str]); 3] = [
        (&["a.test"], PERSIST, &["a.test"]),
        (&["a.test", "b.test"], PERSIST, &["a.test", "b.test"]),
        (&["a.test"], &["http-01"], &[]),
    ];
    for (names, challenges, awaited) in changed {
        let lab = Lab::new();
        lab.look(&lab.md(&["a.test"], PERSIST));
        lab.assert_waits(&[&line("a.test", "")]);
        let since = lab.job().waiting.unwrap().since;
        lab.advance(Duration::from_secs(1));
        start_over(&lab.host.store, "a.test", lab.host.clock.now()).unwrap();
        let md = lab.md(names, challenges);
        lab.look(&md);
        if awaited.is_empty() {
            lab.assert_done();
            continue;
        }
        let lines: Vec<String> = awaited.iter().map(|name| line(name, "")).collect();
        lab.assert_waits(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(lab.host.ca.count(Endpoint::NewOrder), awaited.len(), "the order stays with its names");
        if awaited.len() == 1 {
            assert_eq!(lab.job().waiting.unwrap().since, since);
        }
        awaited.iter().for_each(|name| lab.dns.add(&format!("_validation-persist.{name}"), &record("")));
        start_over(&lab.host.store, "a.test", lab.host.clock.now()).unwrap();
        lab.look(&md);
        lab.assert_done();
    }
}

#[test]
fn a_record_with_a_later_end_is_not_warned_of() {
    let mut lab = Lab::new();
    let calls = lab.host.dir().join("calls");
    let message = format!("/bin/sh -c 'echo \"$@\" >> {}' sh", calls.display());
    lab.host.settings.commands = Commands { message: Some(message), notify: None };
    let until = lab.host.clock.now().plus(DAY * 100);
    let ending = |days: u32| record(&format!("; persistUntil={}", until.plus(DAY * days).unix()));
    lab.dns.add("_validation-persist.a.test", &ending(0));
    lab.dns.add("_validation-persist.b.test", &ending(0));
    let mut md = lab.md(&["a.test", "b.test"], PERSIST);
    lab.look(&md);
    lab.assert_done();
    lab.put_into_use(&mut md);
    let expiring = || std::fs::read_to_string(&calls).unwrap().matches("expiring a.test").count();
    lab.advance(DAY * 92);
    lab.dns.add("_validation-persist.a.test", &ending(200));
    lab.look(&md);
    assert_eq!(expiring(), 1, "that of b.test ends");
    lab.advance(DAY);
    // Its name is removed.
    md.md.domains.retain(|name| name == "a.test");
    lab.look(&md);
    assert_eq!(expiring(), 1);
}

#[test]
fn a_hook_used_in_place_of_a_missing_record_is_told_all_domains() {
    let lab = Lab::new();
    let (mut md, calls) = by_hook(&lab, HookKind::Certbot);
    let told = "echo $CERTBOT_DOMAIN $CERTBOT_ALL_DOMAINS $CERTBOT_REMAINING_CHALLENGES";
    let script = format!("#!/bin/sh\n{told} >> {}\n", calls.display());
    std::fs::write(lab.host.dir().join("hook"), script).unwrap();
    if let Some(Dns01 { way: Way::Hook(hook), .. }) = &mut md.dns01 {
        hook.words.push("/bin/true".into());
    }
    md.md.ca.challenges = lines_of(&["dns-persist-01", "dns-01"]);
    lab.look(&md);
    lab.assert_done();
    let text = std::fs::read_to_string(&calls).unwrap();
    let first: Vec<&str> = text.lines().take(2).collect();
    assert_eq!(first, ["a.test a.test,a.test 1", "a.test a.test,a.test 0"], "{text}");
}
