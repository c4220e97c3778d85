// SPDX-License-Identifier: Apache-2.0
//! `a2md rollback`: lists the archived sets of a managed domain, and puts one of them back. It becomes a
//! complete set in staging, like one that a renewal has obtained, and goes live or into `domains/` by the
//! usual way, through the same checks. The set in its place is noted as withdrawn, and archived where only
//! staging has it. Refuses sets that a renewal would replace at once.

use super::console::call::{Call, Failure, Outcome};
use super::console::terminal::Style;
use super::follow_up;
use super::site::lock::lock;
use super::site::sets;
use super::site::sets::{Place, Set};
use super::site::{Site, of_store};
use crate::managed::bundle::{self, Bundle, JOB_FILE, MD_FILE};
use crate::managed::staging::file::{CHAIN_STEM, KEY_STEM, ORDER};
use crate::managed::withdrawn::{self, Entry, Why, Withdrawn};
use crate::model::request::Op;
use crate::model::{Job, Md};
use crate::renew::decide::due::{self, Decision};
use crate::store::{Error, Group, Holder, StartStore};
use crate::time::Timestamp;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

pub fn define() -> Command {
    Command::new("rollback")
        .about("List the archived certificates of a managed domain, or put one of them back into use")
        .arg(Arg::new("name").value_name("NAME").required(true).help("A managed domain, or a name it covers"))
        .arg(
            Arg::new("number")
                .value_name("N")
                .value_parser(clap::value_parser!(u32))
                .help("The archived set to put back; without it, all are listed"),
        )
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let site = Site::open(call)?;
    let name = matches.get_one::<String>("name").cloned().unwrap_or_default();
    let managed = follow_up::one(call, &site, &name)?;
    let name = managed.md.name.clone();
    let now = call.clock.now();
    let (in_use, archived) = (sets::in_use(&site, &name)?, sets::archived(&site, &name)?);
    let withdrawn = withdrawn::read_with_fleet(&site.store, &name, now);
    match matches.get_one::<u32>("number") {
        Some(number) => {
            let set = archived.into_iter().find(|set| set.place == Place::Archive(*number));
            let set = set.ok_or_else(|| {
                Failure::new(format!("md[{name}] has no archived set {number}"))
                    .status(2)
                    .advice(format!("a2md rollback {name} lists them."))
            })?;
            put_back(call, &site, &managed.md, in_use.as_ref(), set, &withdrawn)
        }
        None => list(call, &managed.md, in_use.as_ref(), &archived, &withdrawn),
    }
}

/// Why a set is not put back.
fn objection(
    md: &Md,
    set: &Set,
    in_use: Option<&Set>,
    withdrawn: &Withdrawn,
    now: Timestamp,
) -> Option<String> {
    if let Some(flaw) = set.flaws.first() {
        return Some(flaw.clone());
    }
    let leaves =
        |set: &Set| set.bundles.iter().map(|bundle| bundle.info.fingerprint.clone()).collect::<Vec<_>>();
    if in_use.is_some_and(|used| leaves(used) == leaves(set)) {
        return Some("it is in use".into());
    }
    let entry = set.bundles.iter().find_map(|bundle| withdrawn.entry(bundle.chain.leaf()));
    if let Some(entry) = entry {
        let date = entry.since.to_http_date();
        return Some(format!("it is withdrawn since {date} ({})", entry.why.token()));
    }
    if md.has_static_files() {
        return Some("the domain has certificate files of its own (MDCertificateFile)".into());
    }
    for spec in md.keys() {
        let Some(bundle) = bundle_for(set, &spec) else {
            return Some(format!("it has no certificate for the key {} that is configured", spec.label()));
        };
        if let Err(unfit) = bundle.fits(md, now) {
            return Some(unfit.of(spec.label()));
        }
        if now < bundle.info.not_before {
            return Some(format!("certificate({}) is not valid yet", spec.label()));
        }
    }
    let issuer = set.md.as_ref().and_then(|md| md.ca.url.as_ref());
    let is_configured = |url: &String| md.ca.urls.is_empty() || md.ca.urls.contains(url);
    issuer
        .filter(|url| !is_configured(url))
        .map(|url| format!("{url} issued it, which is not configured any more (MDCertificateAuthority)"))
}

fn bundle_for<'s>(set: &'s Set, spec: &crate::model::KeySpec) -> Option<&'s Bundle> {
    set.bundles.iter().find(|bundle| bundle.spec.same_type(spec))
}

fn list(call: &mut Call, md: &Md, in_use: Option<&Set>, archived: &[Set], withdrawn: &Withdrawn) -> Outcome {
    let now = call.clock.now();
    // A set was replaced when its successor came.
    let successors =
        std::iter::once(in_use.and_then(|set| set.since)).chain(archived.iter().map(|set| set.since));
    let rows: Vec<(&Set, Option<Timestamp>, Option<String>)> = archived
        .iter()
        .zip(successors)
        .map(|(set, replaced)| (set, replaced, objection(md, set, in_use, withdrawn, now)))
        .collect();
    if call.options.json {
        let entry = |(set, replaced, objection): &(&Set, Option<Timestamp>, Option<String>)| {
            let mut entry = document(set);
            entry["replaced"] = json!(replaced.map(Timestamp::to_http_date));
            entry["usable"] = json!(objection.is_none());
            entry["objection"] = json!(objection);
            entry
        };
        let sets: Vec<Value> = rows.iter().map(entry).collect();
        let in_use = in_use.map(document);
        call.print_document(&json!({"schema": 1, "name": md.name, "in-use": in_use, "archived": sets}))?;
        return Ok(0);
    }
    if rows.is_empty() {
        call.say(&format!("md[{}] has no archived certificates.", md.name));
        return Ok(0);
    }
    let row = |(set, replaced, objection): &(&Set, Option<Timestamp>, Option<String>)| {
        let each =
            |text: &dyn Fn(&Bundle) -> String| set.bundles.iter().map(text).collect::<Vec<_>>().join(", ");
        let date = |time: Timestamp| time.to_rfc3339().get(..10).unwrap_or_default().to_string();
        let (verdict, style) = match objection {
            Some(reason) => (reason.clone(), Style::Warning),
            None => ("can be put back".into(), Style::Good),
        };
        vec![
            (number(set).to_string(), Style::Plain),
            (each(&|bundle| bundle.info.serial.clone()), Style::Plain),
            (each(&|bundle| bundle.spec.label().to_string()), Style::Plain),
            (each(&|bundle| date(bundle.info.not_before)), Style::Plain),
            (each(&|bundle| date(bundle.info.not_after)), Style::Plain),
            (replaced.map(date).unwrap_or_default(), Style::Plain),
            (verdict, style),
        ]
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    let head = ["N", "serial", "keys", "from", "until", "replaced", ""];
    call.write_as_it_is(call.terminal.table(&head, &rows).as_bytes())?;
    Ok(0)
}

fn number(set: &Set) -> u32 {
    match set.place {
        Place::Archive(number) => number,
        Place::Live | Place::Domains => 0,
    }
}

fn document(set: &Set) -> Value {
    let cert = |bundle: &Bundle| {
        json!({"key": bundle.spec.label(), "serial": bundle.info.serial, "issuer": bundle.info.issuer_name,
            "from": bundle.info.not_before.to_http_date(), "until": bundle.info.not_after.to_http_date(),
            "names": bundle.info.dns_names})
    };
    let number = Some(number(set)).filter(|number| *number > 0);
    json!({"number": number, "certificates": set.bundles.iter().map(cert).collect::<Vec<_>>()})
}

fn put_back(
    call: &mut Call,
    site: &Site,
    md: &Md,
    in_use: Option<&Set>,
    set: Set,
    withdrawn: &Withdrawn,
) -> Outcome {
    let (name, now, number) = (&md.name, call.clock.now(), number(&set));
    if let Some(reason) = objection(md, &set, in_use, withdrawn, now) {
        return Err(Failure::new(format!("md[{name}]: the archived set {number} is not put back: {reason}"))
            .advice(format!("a2md rollback {name} lists those that can be.")));
    }
    let failed = |error| of_store(&site.dir, &error);
    let worker = site.store.worker();
    let own = Holder::of_program("a2md rollback", now);
    let locked = lock(site)?;
    let held = worker.lock_attempt(name, &own).map_err(failed)?.map_err(|holder| {
        Failure::new(format!("md[{name}]: {holder} renews this domain at present"))
            .advice("Wait until it is through, and call again.")
    })?;
    let renewal = due_soon(md, &set, now);
    let serials: Vec<String> = set.bundles.iter().map(|bundle| bundle.info.serial.clone()).collect();
    call.step(&format!("Putting the archived set {number} of md[{name}] into staging"));
    swap(&site.store, md, in_use, set, number, now).map_err(failed)?;
    drop(held);
    drop(locked);
    let asked = follow_up::ask(call, site, name, Op::Look);
    let is_of = |used: &Set| used.bundles.iter().all(|bundle| serials.contains(&bundle.info.serial));
    let (state, text) = match (asked.is_running, sets::in_use(site, name)?.is_some_and(|used| is_of(&used))) {
        (_, true) => ("live", "it is live now".to_string()),
        (true, false) => ("at-restart", format!("a restart of httpd brings it into use ({})", asked.text)),
        (false, false) => ("at-next-start", asked.text),
    };
    if call.options.json {
        call.print_document(&json!({"schema": 1, "name": name, "number": number, "serials": serials,
            "activation": {"state": state, "detail": text}, "renewal": renewal}))?;
        return Ok(0);
    }
    renewal.iter().for_each(|text| call.say(&format!("md[{name}]: {text}")));
    call.say(&format!("md[{name}]: the archived set {number} ({}): {text}", serials.join(", ")));
    Ok(0)
}

/// What a renewal will do about a set that is put back.
fn due_soon(md: &Md, set: &Set, now: Timestamp) -> Option<String> {
    let certs: Vec<_> = md
        .keys()
        .into_iter()
        .map(|spec| (spec.clone(), bundle_for(set, &spec).map(|b| b.info.clone())))
        .collect();
    match due::decide(md, &certs, true, None, now) {
        Decision::Now(reason) => Some(format!("renewal is due for it and will replace it: {reason}")),
        Decision::At(..) | Decision::Never(_) => None,
    }
}

/// Notes the set in use as withdrawn, keeps it, and stages the other one for its place. Where that fails, nothing
/// is withdrawn: a start would put a set before both into use.
fn swap(
    store: &StartStore,
    md: &Md,
    in_use: Option<&Set>,
    set: Set,
    number: u32,
    now: Timestamp,
) -> Result<(), Error> {
    let name = &md.name;
    let former = withdrawn::read(store, name, now);
    let withdraw = |used: &Set| {
        withdrawn::change(store, name, now, |withdrawn| {
            for bundle in &used.bundles {
                withdrawn.add(Entry::new(bundle.chain.leaf(), Why::Replaced, false, now));
            }
        })?;
        archive(store, name, used)
    };
    let swapped = in_use.map_or(Ok(()), withdraw).and_then(|()| stage(store, md, set, number, now));
    if swapped.is_err()
        && let Err(error) = withdrawn::restore(store, name, &former, now)
    {
        crate::log!(Warn, "md[{name}]: its set in use stays noted as withdrawn: {}", error.advised());
    }
    swapped
}

/// Keeps a set that only staging has.
fn archive(store: &StartStore, name: &str, set: &Set) -> Result<(), Error> {
    if set.place != Place::Live {
        return Ok(());
    }
    let numbers = store.names(Group::Archive)?.into_iter().filter_map(|folder| {
        let (of, number) = folder.rsplit_once('.')?;
        (of == name).then(|| number.parse::<u32>().ok()).flatten()
    });
    let folder = format!("{name}.{}", numbers.max().unwrap_or_default() + 1);
    for bundle in &set.bundles {
        bundle::write(store, Group::Archive, &folder, bundle)?;
    }
    match &set.md {
        Some(md) => store.write_json(Group::Archive, &folder, MD_FILE, &md.to_json()),
        None => Ok(()),
    }
}

/// Makes of a set a finished renewal in staging. The job goes first and comes last: whoever dies in between
/// leaves no renewal, and what is in use stays.
fn stage(store: &StartStore, md: &Md, set: Set, number: u32, now: Timestamp) -> Result<(), Error> {
    let name = &md.name;
    let former = store.read_json(Group::Staging, name, JOB_FILE).ok().flatten();
    let former = former.as_ref().and_then(|json| Job::from_json(name, json)).unwrap_or_default();
    store.remove(Group::Staging, name, JOB_FILE)?;
    for file in store.files(Group::Staging, name)? {
        if file == ORDER || [KEY_STEM, CHAIN_STEM].iter().any(|stem| file.starts_with(stem)) {
            store.remove(Group::Staging, name, &file)?;
        }
    }
    let mut ordered = md.clone();
    if let Some(ca) = set.md.map(|md| md.ca) {
        (ordered.ca.url, ordered.ca.account) = (ca.url, ca.account);
    }
    let mut bundles = Vec::new();
    for spec in md.keys() {
        let at = set.bundles.iter().position(|bundle| bundle.spec.same_type(&spec));
        let Some(bundle) = at.and_then(|at| set.bundles.get(at)) else { continue };
        let (key, chain, info) = (bundle.key.clone(), bundle.chain.clone(), bundle.info.clone());
        let bundle = Bundle { spec, key, chain, info };
        bundle::write(store, Group::Staging, name, &bundle)?;
        bundles.push(bundle);
    }
    store.write_json(Group::Staging, name, MD_FILE, &ordered.to_json())?;
    let auth = Some(bundle::vouch(store, name, &ordered, &bundles, false)?);
    let valid_from = bundles.iter().map(|bundle| bundle.info.not_before).max();
    let mut job = Job {
        finished: true,
        auth,
        valid_from,
        last_run: Some(now),
        log: former.log,
        retry_state: former.retry_state,
        ..Job::new(name)
    };
    let text = format!("a2md rollback has put the archived set {number} here");
    job.note(now, "progress", None, Some(text));
    store.write_json(Group::Staging, name, JOB_FILE, &job.to_record())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::{NOW, Wish};
    use crate::managed::fixture::{CA_URL, Lab, md};
    use crate::model::KeySpec;
    use crate::time::DAY;

    const NAMES: &[&str] = &["a.test", "www.a.test"];

    fn spec() -> KeySpec {
        KeySpec::Ec("P-256".into())
    }

    fn set(lab: &Lab, serial: &str, names: &[&str], days: u32) -> Set {
        let wish =
            Wish { names, serial, from: NOW.minus(DAY * 50), until: NOW.plus(DAY * days), extensions: &[] };
        let mut ordered = md(NAMES);
        ordered.ca.url = Some(CA_URL.into());
        let bundles = vec![lab.set_like(&wish, &spec())];
        Set { place: Place::Archive(3), md: Some(ordered), bundles, flaws: Vec::new(), since: None }
    }

    #[test]
    fn a_set_is_refused_that_would_serve_badly_or_be_replaced_at_once() {
        let lab = Lab::new();
        let good = set(&lab, "01", NAMES, 40);
        let used = set(&lab, "02", NAMES, 80);
        let object = |md: &Md, set: &Set, withdrawn: &Withdrawn| {
            objection(md, set, Some(&used), withdrawn, NOW).unwrap_or_default()
        };
        let none = Withdrawn::default();
        assert_eq!(object(&md(NAMES), &good, &none), "");
        assert_eq!(object(&md(NAMES), &used, &none), "it is in use");
        assert!(object(&md(NAMES), &set(&lab, "03", &["a.test"], 40), &none).contains("does not cover"));
        assert!(object(&md(NAMES), &set(&lab, "03", NAMES, 0), &none).contains("expired"));
        let mut withdrawn = Withdrawn::default();
        withdrawn.add(Entry::new(good.bundles[0].chain.leaf(), Why::Revoked, false, NOW));
        assert!(object(&md(NAMES), &good, &withdrawn).contains("(revoked)"));
        let two = Md { key_specs: vec![spec(), KeySpec::default()], ..md(NAMES) };
        assert!(object(&two, &good, &none).contains("no certificate for the key rsa"));
        let mut moved = md(NAMES);
        moved.ca.urls = vec!["https://other.test/dir".into()];
        assert!(object(&moved, &good, &none).contains("not configured any more"));
        assert!(due_soon(&md(NAMES), &good, NOW).is_none());
        assert!(due_soon(&md(NAMES), &set(&lab, "03", NAMES, 2), NOW).unwrap().contains("due"));
    }

    #[test]
    fn a_set_that_cannot_be_staged_leaves_the_one_in_use_as_it_is() {
        let lab = Lab::new();
        let mut withdrawn = Withdrawn::default();
        withdrawn.add(Entry::new(set(&lab, "07", NAMES, 80).bundles[0].chain.leaf(), Why::Kept, false, NOW));
        withdrawn::restore(&lab.store, "a.test", &withdrawn, NOW).unwrap();
        let [used, old] = ["02", "01"].map(|serial| set(&lab, serial, NAMES, 40));
        std::fs::remove_dir(lab.root().join("staging")).unwrap();
        assert!(swap(&lab.store, &md(NAMES), Some(&used), old, 3, NOW).is_err());
        assert_eq!(withdrawn::read(&lab.store, "a.test", NOW), withdrawn);
    }

    #[test]
    fn a_process_that_dies_while_it_stages_a_set_leaves_a_whole_one_or_none() {
        for steps in 0.. {
            let lab = Lab::new();
            let a = md(NAMES);
            let other = lab.set(NAMES, &spec());
            lab.stage(&a, &other);
            let set = set(&lab, "01", NAMES, 40);
            let fingerprint = set.bundles[0].info.fingerprint.clone();
            let is_through = stage(&lab.dying(steps), &a, set, 3, NOW).is_ok();
            let json = lab.store.read_json(Group::Staging, "a.test", JOB_FILE).unwrap();
            let Some(job) = json.and_then(|json| Job::from_json("a.test", &json)) else { continue };
            let ordered = lab.store.read_json(Group::Staging, "a.test", MD_FILE).unwrap();
            let ordered = Md::from_json(&ordered.unwrap()).unwrap();
            let staged = bundle::load(&lab.store, Group::Staging, "a.test", &spec()).unwrap();
            assert!(staged.info.fingerprint == fingerprint || !is_through, "after {steps} steps");
            bundle::trial(&lab.store, &job, &ordered, &[staged]).unwrap();
            if is_through {
                assert!(job.finished && job.trial.is_none());
                assert_eq!(ordered.ca.url.as_deref(), Some(CA_URL));
                return;
            }
        }
    }
}
