// SPDX-License-Identifier: Apache-2.0
//! When renewals begin, which CA they ask, and how long they leave one alone: the real renewal and store,
//! with CAs in memory. Time is virtual.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use doubles::Host;
use doubles::fake_ca::{Endpoint, FakeCa, Fault, problem};
use mod_md::crypto::CertInfo;
use mod_md::http::{self, Request, Response, Transport};
use mod_md::managed::Managed;
use mod_md::managed::staging;
use mod_md::managed::staging::Staging;
use mod_md::model::{Eab, Job, KeySpec, Scope};
use mod_md::renew::attempt::context::Context;
use mod_md::renew::worker::check;
use mod_md::renew::worker::next::Next;
use mod_md::startup::cleanup;
use mod_md::store::Group;
use mod_md::time::{Clock, DAY};
use serde_json::{Value, json};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

struct Lab {
    host: Host,
    cas: Vec<Arc<FakeCa>>,
}

impl Deref for Lab {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl DerefMut for Lab {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.host
    }
}

/// The way to all CAs.
struct Internet(Vec<Arc<FakeCa>>);

impl Transport for Internet {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        let base = |ca: &Arc<FakeCa>| ca.directory_url().trim_end_matches("dir").to_string();
        let ca = self.0.iter().find(|ca| request.url.starts_with(&base(ca)));
        ca.ok_or_else(|| http::Error::Dns("no such host".into()))?.send(request)
    }
}

impl Lab {
    fn new(hosts: &[&str]) -> Self {
        let mut host = Host::with_ca(hosts[0]);
        host.settings.retry.failover = 2;
        let others = hosts[1..].iter().map(|name| FakeCa::new(name, host.clock.clone()));
        let cas = [host.ca.clone()].into_iter().chain(others).collect();
        Lab { host, cas }
    }

    fn with_account_key(self, name: &str) -> Self {
        self.leave_account_key(name, &KeySpec::Ec("P-256".into()));
        self
    }

    /// Without a certificate.
    fn md(&self, name: &str) -> Managed {
        let mut managed = self.managed(&[name], &[KeySpec::Ec("P-256".into())]);
        managed.md.ca.urls = self.cas.iter().map(|ca| ca.directory_url()).collect();
        managed
    }

    /// With a certificate of the first CA.
    fn certified(&self, name: &str, age: Duration, left: Duration) -> Managed {
        let mut managed = self.md(name);
        managed.md.ca.url = managed.md.ca.urls.first().cloned();
        let now = self.clock.now();
        managed.certs.keyed[0].1 = Some(CertInfo {
            dns_names: vec![name.into()],
            not_before: now.minus(age),
            not_after: now.plus(left),
            ari_cert_id: Some("QUtJ.U0VSSUFM".into()),
            ..CertInfo::default()
        });
        managed
    }

    fn context(&self, mds: &[Managed]) -> Context {
        let cas = self.cas.clone();
        self.host.context_by(mds, self.work(), move || Ok(Arc::new(Internet(cas.clone()))))
    }

    fn job(&self, name: &str) -> Job {
        self.host.job(name).unwrap()
    }

    fn requests(&self) -> usize {
        self.cas.iter().map(|ca| ca.seen().len()).sum()
    }

    fn orders(&self, ca: usize) -> Vec<Value> {
        let seen = self.cas[ca].seen();
        seen.into_iter().filter(|s| s.endpoint == Endpoint::NewOrder).map(|s| s.payload).collect()
    }

    fn advance_to(&self, next: Next) {
        let Next::At(at) = next else { panic!("there is no next look") };
        self.clock.advance(at.since(self.clock.now()));
    }

    fn advise(&self, from: Duration, until: Duration) {
        let at = |d: Duration| self.clock.now().plus(d).to_rfc3339();
        let info = json!({"suggestedWindow": {"start": at(from), "end": at(until)},
            "explanationURL": "https://ca.test/why"});
        self.cas[0].rules(|rules| rules.renewal_info = Some(info));
    }
}

fn limited(retry_after: &'static str) -> Fault {
    let document = problem("rateLimited", "too many new orders (300) from this account");
    Fault::Problem { status: 429, document, retry_after: Some(retry_after) }
}

#[test]
fn the_advice_of_the_ca_is_asked_for_once_and_kept_over_restarts() {
    let lab = Lab::new(&["ca.test"]);
    lab.advise(DAY * 10, DAY * 20);
    lab.cas[0].rules(|rules| rules.retry_after = Some("7200".into()));
    let md = lab.certified("a.test", DAY * 10, DAY * 80);
    let context = lab.context(std::slice::from_ref(&md));
    let Next::At(look) = check::run(&context, 0) else { panic!() };
    assert_eq!(look.since(lab.clock.now()), HOUR * 2, "it looks again when the CA says");
    let advice = Staging::new(&lab.work(), "a.test").ari().unwrap().remove(0).advice.unwrap();
    assert_eq!(advice.renew_at, lab.clock.now().plus(DAY * 15));
    assert!(Staging::new(&lab.work(), "a.test").job().unwrap().is_none(), "no renewal is under way");
    // Neither this child, nor the next, nor a restart asks before its time.
    let before = lab.requests();
    assert_eq!(check::run(&context, 0), Next::At(look));
    cleanup::start_over(&lab.store, "a.test", lab.clock.now()).unwrap();
    staging::purge(&lab.store, "a.test").unwrap();
    assert_eq!(check::run(&lab.context(std::slice::from_ref(&md)), 0), Next::At(look));
    assert_eq!(lab.requests(), before);
    // Asked again, the instant that was drawn stays.
    lab.advance_to(Next::At(look));
    check::run(&lab.context(&[md]), 0);
    assert_eq!(lab.cas[0].count(Endpoint::RenewalInfo), 2);
    let again = Staging::new(&lab.work(), "a.test").ari().unwrap().remove(0).advice.unwrap();
    assert_eq!((again.renew_at, again.checked), (advice.renew_at, lab.clock.now()));
}

#[test]
fn a_window_in_the_past_renews_now_and_the_order_says_what_it_replaces() {
    let lab = Lab::new(&["ca.test"]).with_account_key("a.test");
    lab.cas[0].rules(|rules| rules.renewal_info = Some(json!({})));
    let now = lab.clock.now();
    let past = json!({"start": now.minus(DAY * 2).to_rfc3339(), "end": now.minus(DAY).to_rfc3339()});
    let info = json!({"suggestedWindow": past, "explanationURL": "https://ca.test/why"});
    lab.cas[0].rules(|rules| rules.renewal_info = Some(info));
    assert_eq!(check::run(&lab.context(&[lab.certified("a.test", DAY * 10, DAY * 80)]), 0), Next::Never);
    let job = lab.job("a.test");
    assert!(job.finished, "{job:?}");
    let triggered = job.log.iter().filter_map(|entry| entry.detail.as_deref());
    assert!(
        triggered
            .into_iter()
            .any(|d| d == "Renewal triggered by CA via ARI, explanation at https://ca.test/why")
    );
    assert_eq!(lab.orders(0)[0]["replaces"], "QUtJ.U0VSSUFM");
}

#[test]
fn an_order_for_what_was_replaced_already_is_placed_without_that() {
    let lab = Lab::new(&["ca.test"]).with_account_key("a.test");
    lab.advise(DAY * 10, DAY * 20);
    let document = problem("alreadyReplaced", "there is a successor");
    lab.cas[0].fault(Endpoint::NewOrder, Fault::Problem { status: 409, document, retry_after: None });
    assert_eq!(check::run(&lab.context(&[lab.certified("a.test", DAY * 80, DAY * 10)]), 0), Next::Never);
    let replaces: Vec<bool> = lab.orders(0).iter().map(|order| order.get("replaces").is_some()).collect();
    // The refused one was not looked at.
    assert_eq!(replaces, [false, false]);
    assert!(lab.job("a.test").finished);
}

#[test]
fn advice_is_asked_for_only_where_given_and_its_failure_fails_nothing() {
    let lab = Lab::new(&["ca.test"]);
    let mut md = lab.certified("a.test", DAY * 10, DAY * 80);
    let context = lab.context(std::slice::from_ref(&md));
    check::run(&context, 0);
    check::run(&context, 0);
    assert_eq!(lab.cas[0].count(Endpoint::Directory), 1, "this CA gives none: asked again in a day");
    lab.clock.advance(DAY);
    lab.cas[0].fault(Endpoint::Directory, Fault::Unreached(http::Error::Refused));
    let Next::At(at) = check::run(&lab.context(std::slice::from_ref(&md)), 0) else { panic!() };
    assert!(at.since(lab.clock.now()) <= HOUR);
    assert!(Staging::new(&lab.work(), "a.test").job().unwrap().is_none());
    md.md.ari_renewals = false;
    let before = lab.requests();
    lab.clock.advance(DAY);
    check::run(&lab.context(&[md]), 0);
    assert_eq!(lab.requests(), before);
}

#[test]
fn a_rate_limit_holds_back_all_jobs_of_its_ca_in_every_child() {
    let lab = Lab::new(&["ca.test"]).with_account_key("a.test");
    let mds = [lab.md("a.test"), lab.md("b.test")];
    lab.cas[0].fault(Endpoint::NewOrder, limited("7200"));
    let context = lab.context(&mds);
    let Next::At(until) = check::run(&context, 0) else { panic!() };
    let (job, left) = (lab.job("a.test"), until.since(lab.clock.now()));
    assert!(left >= HOUR * 2 && left <= HOUR * 2 + Duration::from_secs(1), "{left:?}");
    assert_eq!(job.retry_state.rate_limit.unwrap().scope, Scope::Ca);
    let before = lab.requests();
    assert_eq!(check::run(&context, 1), Next::At(until));
    assert_eq!(lab.job("b.test").next_run, Some(until));
    assert!(lab.job("b.test").log[0].detail.as_ref().unwrap().contains("https://ca.test/dir asked for that"));
    // A restart clears the errors, and not what the CA asked for.
    cleanup::start_over(&lab.store, "a.test", lab.clock.now()).unwrap();
    lab.clock.advance(until.since(lab.clock.now()) - Duration::from_secs(1));
    let context = lab.context(&mds);
    assert_eq!([check::run(&context, 0), check::run(&context, 1)], [Next::At(until); 2]);
    assert_eq!(lab.requests(), before);
    lab.clock.advance(Duration::from_secs(1));
    assert_eq!([check::run(&context, 0), check::run(&context, 1)], [Next::Never; 2]);
    assert!(lab.job("a.test").finished && lab.job("b.test").finished);
}

#[test]
fn a_limit_of_one_name_holds_back_nobody_else() {
    let lab = Lab::new(&["ca.test"]).with_account_key("a.test");
    let document = problem("rateLimited", "too many certificates (5) already issued for \"a.test\"");
    lab.cas[0].fault(Endpoint::NewOrder, Fault::Problem { status: 429, document, retry_after: Some("7200") });
    let context = lab.context(&[lab.md("a.test"), lab.md("b.test"), lab.md("www.a.test")]);
    let Next::At(until) = check::run(&context, 0) else { panic!() };
    assert_eq!([check::run(&context, 1), check::run(&context, 2)], [Next::Never, Next::At(until)]);
}

#[test]
fn the_second_ca_issues_where_the_first_is_down_and_shares_nothing() {
    let lab = Lab::new(&["first.test", "second.test"]).with_account_key("a.test");
    let md = lab.md("a.test");
    let context = lab.context(&[md]);
    // The first registers an account and takes an order, then it is gone.
    let gone = || Fault::Unreached(http::Error::Timeout);
    lab.cas[0].fault(Endpoint::Authorization, gone());
    lab.advance_to(check::run(&context, 0));
    lab.cas[0].fault(Endpoint::Directory, gone());
    lab.advance_to(check::run(&context, 0));
    assert_eq!(lab.job("a.test").errors, 2);
    assert_eq!(check::run(&context, 0), Next::Never, "{:?}", lab.job("a.test").last);
    assert_eq!(lab.orders(1).len(), 1);
    let (work, second) = (lab.work(), lab.cas[1].directory_url());
    let staging = Staging::new(&work, "a.test");
    assert_eq!(staging.md().unwrap().unwrap().ca.url, Some(second.clone()));
    let accounts: Vec<Value> = staging.accounts().into_iter().map(|(_, json, _)| json).collect();
    let of: Vec<&str> = accounts.iter().filter_map(|json| json["ca-url"].as_str()).collect();
    assert_eq!(of, [lab.cas[0].directory_url(), second], "each with its own account");
    // A CA notes as violations what another CA's account or order would be; dropping it panics then.
}

#[test]
fn a_refusal_has_the_next_ca_asked_at_once() {
    let lab = Lab::new(&["first.test", "second.test"]).with_account_key("a.test");
    let document = problem("rejectedIdentifier", "policy forbids issuing for the name");
    lab.cas[0].fault(Endpoint::NewOrder, Fault::Problem { status: 403, document, retry_after: None });
    let context = lab.context(&[lab.md("a.test")]);
    let next = check::run(&context, 0);
    assert!(matches!(next, Next::At(at) if at.since(lab.clock.now()) <= Duration::from_secs(45)), "{next:?}");
    lab.advance_to(next);
    assert_eq!(check::run(&context, 0), Next::Never);
    assert_eq!(lab.orders(1).len(), 1);
}

#[test]
fn a_limit_of_the_first_ca_is_not_waited_for_once_a_renewal_is_late() {
    let lab = Lab::new(&["first.test", "second.test"]).with_account_key("a.test");
    // 6 days, 33 %: the window is 1.98 days, and late with less than 1.32 left.
    let md = lab.certified("a.test", HOUR * 97, HOUR * 47);
    lab.cas[0].fault(Endpoint::NewOrder, limited("604800"));
    let context = lab.context(&[md]);
    let next = check::run(&context, 0);
    let job = lab.job("a.test");
    assert_eq!(job.retry_state.rate_limit.unwrap().until.since(lab.clock.now()).as_secs() / 86_400, 7);
    // A week is more than is left of the certificate.
    assert_eq!(job.next_run.unwrap().since(lab.clock.now()).as_secs() / 86_400, 2);
    lab.advance_to(next);
    assert!(lab.orders(1).is_empty());
    assert_eq!(check::run(&context, 0), Next::Never, "{:?}", lab.job("a.test"));
    assert_eq!((lab.orders(0).len(), lab.orders(1).len()), (1, 1));
    assert!(lab.orders(1)[0].get("replaces").is_none(), "the second CA has not issued what is in use");
}

/// A command that notes its events, and fails for those that are named in a file.
fn listening(lab: &mut Lab) -> (impl Fn() -> Vec<String> + use<>, std::path::PathBuf) {
    let [calls, refused] = ["calls", "refused"].map(|name| lab.dir().join(name));
    std::fs::write(&refused, "").unwrap();
    lab.settings.commands.message =
        Some(format!("/bin/sh -c 'echo $1 >> {}; ! grep -qx $1 {}' sh", calls.display(), refused.display()));
    let told =
        move || std::fs::read_to_string(&calls).unwrap_or_default().lines().map(String::from).collect();
    (told, refused)
}

#[test]
fn a_command_postpones_a_renewal_to_the_next_check_without_an_error() {
    let mut lab = Lab::new(&["ca.test"]).with_account_key("a.test");
    let (told, refused) = listening(&mut lab);
    std::fs::write(&refused, "renewing\nerrored\n").unwrap();
    let mds = [lab.certified("a.test", DAY * 70, DAY * 20)];
    let context = lab.context(&mds);
    let next = check::run(&context, 0);
    assert_eq!(next, Next::At(lab.clock.now().plus(HOUR * 12)));
    assert_eq!(told(), ["renewing"]);
    let job = lab.job("a.test");
    assert_eq!((job.errors, job.last_run, job.is_postponed()), (0, None, true));
    let detail = job.last.detail.clone().unwrap_or_default();
    assert!(detail.ends_with("A graceful restart of httpd has the command called at once."), "{detail}");
    assert_eq!(job.last.problem.as_deref(), Some("urn:org:apache:httpd:log:AH10109:"));
    assert!(job.last.detail.as_ref().unwrap().contains("exit code 1"));
    assert_eq!(job.latest("renewal-error"), None);
    // Looks before that, whatever they are for, and those of another child, do not call it again.
    for _ in 0..3 {
        lab.clock.advance(HOUR * 2);
        for context in [&context, &lab.context(&mds)] {
            assert!(
                matches!(check::run(context, 0), Next::At(at) if at >= lab.job("a.test").next_run.unwrap())
            );
        }
    }
    assert_eq!(told(), ["renewing"]);
    lab.advance_to(next);
    let next = check::run(&context, 0);
    assert_eq!((told().len(), lab.job("a.test").errors, lab.orders(0).len()), (2, 0, 0));
    std::fs::write(&refused, "").unwrap();
    lab.advance_to(next);
    check::run(&context, 0);
    let job = lab.job("a.test");
    assert!(job.finished && !job.is_postponed(), "{job:?}");
}

#[test]
fn an_expiring_certificate_is_told_after_a_failed_attempt_alone() {
    let mut lab = Lab::new(&["ca.test"]).with_account_key("a.test");
    let (told, refused) = listening(&mut lab);
    lab.cas[0].rules(|rules| rules.renewal_info = None);
    let mds = [lab.certified("a.test", DAY * 85, DAY * 5)];
    lab.cas[0].fault(Endpoint::NewOrder, limited("3600"));
    check::run(&lab.context(&mds), 0);
    let failed = ["renewing", "errored", "expiring"];
    assert_eq!(told(), failed);
    // Where the renewal waits, too, but once a day.
    lab.clock.advance(HOUR / 2);
    check::run(&lab.context(&mds), 0);
    assert_eq!(told(), failed);
    lab.clock.advance(HOUR * 30);
    check::run(&lab.context(&mds), 0);
    assert!(lab.job("a.test").finished);
    assert_eq!(told()[3..], ["renewing", "challenge-setup:http-01:a.test", "renewed"]);
    // Nor while the new set waits for a restart.
    lab.clock.advance(DAY * 2);
    check::run(&lab.context(&mds), 0);
    assert_eq!(told().len(), 6);
    // Where it is postponed, it is told of as well.
    std::fs::write(&refused, "renewing\n").unwrap();
    lab.store.purge(Group::Staging, "a.test").unwrap();
    check::run(&lab.context(&mds), 0);
    assert_eq!(told()[6..], ["renewing", "expiring"]);
}

#[test]
fn an_expiring_certificate_without_a_new_one_is_told_once_a_day() {
    let mut lab = Lab::new(&["ca.test"]);
    let file = lab.dir().join("calls");
    lab.settings.commands.message = Some(format!("/bin/sh -c 'echo \"$@\" >> {}' sh", file.display()));
    lab.cas[0].rules(|rules| rules.renewal_info = None);
    let mut md = lab.certified("a.test", DAY * 70, DAY * 20);
    md.md.renew_mode = mod_md::model::RenewMode::Manual;
    let context = lab.context(&[md]);
    let told = || std::fs::read_to_string(&file).unwrap_or_default();
    // 10 % of 90 days are 9.
    let next = check::run(&context, 0);
    assert!(matches!(next, Next::At(at) if at.since(lab.clock.now()) == DAY * 11), "{next:?}");
    assert_eq!(told(), "");
    lab.advance_to(next);
    let next = check::run(&context, 0);
    assert_eq!(told(), "expiring a.test\n");
    check::run(&context, 0);
    assert_eq!(told(), "expiring a.test\n");
    lab.advance_to(next);
    check::run(&context, 0);
    assert_eq!(told(), "expiring a.test\nexpiring a.test\n");
}

#[test]
fn a_command_failing_for_an_expiring_certificate_is_shown_and_repeated() {
    let mut lab = Lab::new(&["ca.test"]);
    let (told, refused) = listening(&mut lab);
    std::fs::write(&refused, "expiring\n").unwrap();
    lab.cas[0].rules(|rules| rules.renewal_info = None);
    let mut md = lab.certified("a.test", DAY * 85, DAY * 5);
    md.md.renew_mode = mod_md::model::RenewMode::Manual;
    let context = lab.context(&[md]);
    let mut waits = Vec::new();
    for calls in 1..=9 {
        let Next::At(next) = check::run(&context, 0) else { panic!("it is not told again") };
        waits.push(next.since(lab.clock.now()).as_secs());
        lab.advance_to(Next::At(next));
        assert_eq!(told().len(), calls);
        let job = lab.job("a.test");
        assert_eq!(job.last.problem.as_deref(), Some("urn:org:apache:httpd:log:AH10109:"));
        assert!(job.last.detail.is_some_and(|detail| detail.contains("exit code 1")));
        assert_eq!((job.errors, job.next_run), (0, None), "no renewal has failed or waits");
    }
    assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    std::fs::write(&refused, "").unwrap();
    let Next::At(next) = check::run(&context, 0) else { panic!("it is not told tomorrow") };
    assert_eq!((next.since(lab.clock.now()), told().len()), (DAY, 10));
    assert_eq!(lab.job("a.test").last, mod_md::model::Outcome::default());
}

/// An account in `accounts`, registered at the first CA with the contact of [`Lab::md`].
fn stored_account(lab: &Lab) -> String {
    check::run(&lab.context(&[lab.md("first.test")]), 0);
    let (work, folder) = (lab.work(), "ACME-ca.test-0000".to_string());
    let (_, json, key) = Staging::new(&work, "first.test").accounts().remove(0);
    lab.store.write_json(Group::Accounts, &folder, "account.json", &json).unwrap();
    lab.store.write_key(Group::Accounts, &folder, "account.pem", &key).unwrap();
    lab.store.purge(Group::Staging, "first.test").unwrap();
    folder
}

/// The contacts that the CA was told for accounts that it has, one entry for each time.
fn told_contacts(lab: &Lab) -> Vec<Value> {
    let seen = lab.cas[0].seen();
    let told = seen.iter().filter(|s| s.endpoint == Endpoint::Account);
    told.filter_map(|s| s.payload.get("contact").cloned()).collect()
}

fn with_contact(mut managed: Managed, contact: Option<&str>) -> Managed {
    managed.md.contacts = contact.map(String::from).into_iter().collect();
    managed
}

#[test]
fn changed_contacts_are_told_to_the_ca_once_for_the_same_account() {
    let lab = Lab::new(&["ca.test"]).with_account_key("first.test");
    let folder = stored_account(&lab);
    let mut changed = with_contact(lab.md("a.test"), Some("mailto:new@a.test"));
    changed.md.ca.account = Some(folder.clone());
    assert_eq!(check::run(&lab.context(std::slice::from_ref(&changed)), 0), Next::Never);
    assert_eq!(lab.cas[0].account_count(), 1);
    assert_eq!(told_contacts(&lab), [json!(["mailto:new@a.test"])]);
    let staged = Staging::new(&lab.work(), "a.test").accounts().remove(0).1;
    assert_eq!(staged["contact"], json!(["mailto:new@a.test"]));
    // The next child finds it so.
    let mut other = changed.clone();
    (other.md.name, other.md.domains) = ("b.test".into(), vec!["b.test".into()]);
    assert_eq!(check::run(&lab.context(&[other, changed.clone()]), 0), Next::Never);
    assert_eq!((lab.cas[0].account_count(), told_contacts(&lab).len()), (1, 1));
    // Back to what is stored is a change as well.
    let mut back = lab.md("c.test");
    back.md.ca.account = Some(folder);
    let as_before = with_contact(changed, Some("mailto:admin@a.test"));
    assert_eq!(check::run(&lab.context(&[back, as_before]), 0), Next::Never);
    assert_eq!(told_contacts(&lab).last(), Some(&json!(["mailto:admin@a.test"])));
    let staged = Staging::new(&lab.work(), "a.test").accounts().remove(0).1;
    assert_eq!(staged["contact"], json!(["mailto:admin@a.test"]));
    assert_eq!(Staging::new(&lab.work(), "c.test").accounts().len(), 0, "told where it was");
}

#[test]
fn a_contact_that_is_removed_stays_with_the_ca() {
    let lab = Lab::new(&["ca.test"]).with_account_key("first.test");
    let folder = stored_account(&lab);
    let mut without = with_contact(lab.md("a.test"), None);
    without.md.ca.account = Some(folder);
    check::run(&lab.context(&[without]), 0);
    assert!(lab.job("a.test").finished);
    assert_eq!(told_contacts(&lab), Vec::<Value>::new());
}

#[test]
fn contacts_that_domains_of_one_account_do_not_agree_on_stay_as_they_are() {
    let lab = Lab::new(&["ca.test"]).with_account_key("first.test");
    let folder = stored_account(&lab);
    let new = "mailto:new@a.test";
    for (other, contact) in
        [("named.test", Some("mailto:admin@a.test")), ("later.test", Some("mailto:third@a.test"))]
    {
        let mut changed = with_contact(lab.md("a.test"), Some(new));
        changed.md.ca.account = Some(folder.clone());
        let mut shares = with_contact(lab.md(other), contact);
        shares.md.ca.account = (other == "named.test").then(|| folder.clone());
        let context = lab.context(&[changed, shares]);
        assert_eq!((check::run(&context, 0), check::run(&context, 1)), (Next::Never, Next::Never));
        assert_eq!((lab.cas[0].account_count(), told_contacts(&lab).len()), (1, 0), "{other}");
        lab.store.purge(Group::Staging, "a.test").unwrap();
    }
}

#[test]
fn domains_of_one_ca_and_external_account_share_an_account() {
    for eab in [None, Some(Eab { kid: "kid-1".into(), hmac: "c2VjcmV0".into() })] {
        let lab = Lab::new(&["ca.test"]).with_account_key("a.test");
        if eab.is_some() {
            lab.cas[0].rules(|rules| {
                rules.eab_required = true;
                rules.eab = Some(("kid-1".into(), b"secret".to_vec()));
            });
        }
        let contacts =
            [("a.test", Some("mailto:a@a.test")), ("b.test", Some("mailto:b@b.test")), ("c.test", None)];
        let mut mds = contacts.map(|(name, contact)| with_contact(lab.md(name), contact));
        mds.iter_mut().for_each(|managed| managed.md.eab.clone_from(&eab));
        let context = lab.context(&mds);
        assert_eq!(
            [check::run(&context, 0), check::run(&context, 1), check::run(&context, 2)],
            [Next::Never; 3]
        );
        // Nor does another child register.
        lab.store.purge(Group::Staging, "c.test").unwrap();
        assert_eq!(check::run(&lab.context(&mds), 2), Next::Never);
        assert_eq!((lab.cas[0].account_count(), lab.cas[0].count(Endpoint::NewAccount)), (1, 1), "{eab:?}");
        assert!(told_contacts(&lab).is_empty());
    }
}

/// A key is kept before the CA is asked. Where it refuses that kind, the next one that is configured is made.
#[test]
fn a_key_without_an_account_is_used_if_it_is_of_the_type_that_is_configured() {
    for (configured, is_used) in [(None, true), (Some("secp256r1"), true), (Some("RSA 2048"), false)] {
        let lab = Lab::new(&["ca.test"]).with_account_key("a.test");
        let staged = || Staging::new(&lab.work(), "a.test").account(0).unwrap();
        let left = staged().1.unwrap().public_der().unwrap();
        let mut md = lab.md("a.test");
        md.md.ca.account_key = configured.and_then(KeySpec::of_account);
        assert_eq!(check::run(&lab.context(&[md]), 0), Next::Never);
        let (account, key) = staged();
        assert!(account.is_some());
        assert_eq!(key.unwrap().public_der().unwrap() == left, is_used, "{configured:?}");
        assert_eq!(lab.cas[0].account_count(), 1);
    }
}

#[test]
fn a_domain_keeps_its_account_although_another_one_fits_as_well() {
    let lab = Lab::new(&["ca.test"]).with_account_key("first.test");
    let first = stored_account(&lab);
    let second = "ACME-ca.test-0001";
    for (folder, file) in [("account.json", "account.json"), ("account.pem", "account.pem")] {
        let content = lab.store.read(Group::Accounts, &first, folder).unwrap().unwrap();
        lab.store.write(Group::Accounts, second, file, &content).unwrap();
    }
    // The one that comes first by name is a stranger's.
    let mut json = lab.store.read_json(Group::Accounts, &first, "account.json").unwrap().unwrap();
    json["url"] = json!("https://ca.test/account/77");
    lab.store.write_json(Group::Accounts, &first, "account.json", &json).unwrap();
    let mut md = with_contact(lab.md("a.test"), Some("mailto:other@a.test"));
    md.md.ca.account = Some(second.into());
    let before = lab.cas[0].seen().len();
    assert_eq!(check::run(&lab.context(&[md]), 0), Next::Never);
    assert_eq!(lab.cas[0].account_count(), 1);
    let seen = lab.cas[0].seen();
    assert!(seen[before..].iter().all(|s| s.url != "https://ca.test/account/77"), "{seen:?}");
}

#[test]
fn without_a_contact_the_account_keeps_the_one_it_has() {
    let lab = Lab::new(&["ca.test"]).with_account_key("first.test");
    let folder = stored_account(&lab);
    let mut removed = with_contact(lab.md("a.test"), None);
    removed.md.ca.account = Some(folder);
    assert_eq!(check::run(&lab.context(&[removed]), 0), Next::Never);
    assert_eq!((lab.cas[0].account_count(), told_contacts(&lab).len()), (1, 0));
}

#[test]
fn contacts_that_the_ca_refuses_end_no_renewal() {
    let lab = Lab::new(&["ca.test"]).with_account_key("first.test");
    let folder = stored_account(&lab);
    let mut changed = with_contact(lab.md("a.test"), Some("mailto:new@a.test"));
    changed.md.ca.account = Some(folder);
    // The first request is the look whether the CA knows the account.
    lab.cas[0].fault(Endpoint::Account, Fault::Alter(|_| {}));
    let document = problem("invalidContact", "no such domain");
    lab.cas[0].fault(Endpoint::Account, Fault::Problem { status: 400, document, retry_after: None });
    assert_eq!(check::run(&lab.context(&[changed]), 0), Next::Never);
    assert!(lab.job("a.test").finished);
    assert_eq!(lab.cas[0].account_count(), 1);
}

#[test]
fn a_failure_tells_the_words_of_the_ca_first_and_then_what_to_do() {
    let lab = Lab::new(&["ca.test"]).with_account_key("a.test");
    lab.cas[0].rules(|rules| {
        rules.validate = Arc::new(|_| Err(problem("connection", "Timeout (likely firewall problem)")));
    });
    check::run(&lab.context(&[lab.md("a.test")]), 0);
    let detail = lab.job("a.test").last.detail.unwrap();
    assert!(
        detail.starts_with(
            "the CA could not validate a.test by http-01: Timeout (likely firewall problem). What"
        ),
        "{detail}"
    );
    assert!(detail.contains("What to do: ") && detail.contains("Open port 80"), "{detail}");
}
