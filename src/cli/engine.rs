// SPDX-License-Identifier: Apache-2.0
//! A renewal in this process, by the code of httpd's renewing child: the way to the CA, the managed domain
//! with the settings that the store has of it, the challenges that a running httpd answers, and the result
//! into `domains`. Used by `drive` and `rehearse`. As root it does what children do with the rights of httpd's
//! user: commands run as that user, and files in its folders are given to it.

use super::console::call::{Failure, Options};
use crate::config::PlannedMd;
use crate::crypto;
use crate::dns::resolve::{RESOLV_CONF, servers_of};
use crate::exec;
use crate::http::client::{Client, Limits, Options as ClientOptions};
use crate::http::{self, Transport};
use crate::managed::{Managed, bundle};
use crate::model::{Dns01, Md, Route, State};
use crate::notify::Commands;
use crate::renew::attempt::ca_pool::CaPool;
use crate::renew::attempt::context::Context;
use crate::renew::attempt::settings::Settings;
use crate::renew::decide::retry::Retry;
use crate::startup::activate::{Activated, Activation};
use crate::startup::dns_secrets;
use crate::startup::recover;
use crate::startup::stored_md::StoredMd;
use crate::store::{AttemptLock, Error, Holder, StartStore, StoreLock, read_admin_file};
use crate::time::{StopFlag, SystemClock, Timestamp, format_duration};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// As httpd has it where nothing else is configured.
const RETRY: Retry = Retry { delay: Duration::from_secs(5), failover: 13 };
const CHECK_INTERVAL: Duration = Duration::from_secs(12 * 3600);
const DNS01_TIMEOUT: Duration = Duration::from_secs(600);

/// Longer than a start needs the lock of the store.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// Keeps other calls, and starts that take the lock of the store (`MDStoreLocks`), from changing it meanwhile.
pub fn lock(store: &StartStore) -> Result<StoreLock, Failure> {
    let locked = store.lock(LOCK_WAIT).map_err(|error| of_store(&error))?;
    locked.ok_or_else(|| {
        let wait = format_duration(LOCK_WAIT);
        Failure::new(format!("another process has held the lock of the store (MDStoreLocks) for {wait}"))
            .advice("Find out who has it (lsof store.lock in the store), and call again.")
    })
}

/// Ends the swap of a set into `domains` during which an earlier call has died.
pub fn recover(store: &StartStore) -> Result<(), Failure> {
    let _locked = lock(store)?;
    recover::swaps(store).map_err(|error| of_store(&error))
}

/// The way to a CA that the options of a call say.
pub fn route(options: &Options) -> Route {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    Route {
        ca_file: options.ca_file.as_ref().map(|path| absolute(path).display().to_string()),
        proxy_url: options.proxy.clone(),
        proxy_ca_file: None,
    }
}

/// Opens a transport that goes this way until `stop`.
pub fn connect(route: &Route, stop: &StopFlag) -> Result<Arc<dyn Transport>, http::Error> {
    let client = Client::new(&ClientOptions {
        ca_file: route.ca_file.clone().map(Into::into),
        proxy_url: route.proxy_url.clone(),
        proxy_ca_file: route.proxy_ca_file.clone().map(Into::into),
        user_agent: format!("a2md/{}", crate::VERSION),
        limits: Limits::default(),
        stop: stop.clone(),
    })?;
    Ok(Arc::new(client))
}

/// Raised by the signals that end a command, so that it can tidy up. Call it before any other thread is
/// started.
pub fn stop_on_signals() -> StopFlag {
    let stop = StopFlag::default();
    // Without it, a signal ends this process at once.
    let _ = exec::stop_on_signals(stop.clone());
    stop
}

/// The managed domain as the store has it, with what the options of a call say of the way to the CA.
pub fn managed(store: &StartStore, md: Md, options: &Options) -> Managed {
    let (certs, _) = bundle::look(store, &md.name, &md);
    let planned = PlannedMd { md, watched: true, ..PlannedMd::default() };
    complete(Managed { in_use: true, ..Managed::new(planned, certs) }, options)
}

/// Adds to a managed domain what the options of a call say of the way to the CA, and what md.json alone says
/// of dns-01, with the files of secrets that it names.
pub fn complete(target: Managed, options: &Options) -> Managed {
    let (md, asked) = (target.md, route(options));
    let route = Route {
        ca_file: asked.ca_file.or(target.route.ca_file).or(md.ca_certs.clone()),
        proxy_url: asked.proxy_url.or(target.route.proxy_url).or(md.proxy_url.clone()),
        proxy_ca_file: target.route.proxy_ca_file.or(md.proxy_ca_certs.clone()),
    };
    let by_command = || Some(Dns01::by_command(md.cmd_dns_01.clone()?, 1, DNS01_TIMEOUT));
    let by_way = || {
        let way = md.dns_01.clone()?;
        Some(Dns01 { way, limit: DNS01_TIMEOUT, propagation: Default::default() })
    };
    let dns01 = target.dns01.or_else(by_command).or_else(by_way);
    let mut planned = [PlannedMd { md, dns01, ..PlannedMd::default() }];
    for finding in dns_secrets::load(&mut planned) {
        crate::log!(Warn, "{}", finding.text);
    }
    let [PlannedMd { md, dns01, .. }] = planned;
    Managed { md, dns01, route, ..target }
}

/// Refuses the store of another user, who could not use what this one writes.
pub fn check_holder(store: &StartStore) -> Result<(), Failure> {
    match store.other_holder().map_err(|error| of_store(&error))? {
        None => Ok(()),
        Some(uid) => Err(Failure::new(format!(
            "the store belongs to the user {uid}, who could not use what another user writes"
        ))
        .status(crate::model::outcome::status::PERMISSION_DENIED)
        .advice(format!("Call a2md as that user: setpriv --reuid {uid} --clear-groups a2md …"))),
    }
}

/// Keeps other processes from attempts at a domain, until the result is dropped.
pub fn hold(store: &StartStore, name: &str, now: Timestamp) -> Result<Option<AttemptLock>, Failure> {
    match store.worker().lock_attempt(name, &Holder::of_program("a2md", now)) {
        Ok(Ok(held)) => Ok(Some(held)),
        Ok(Err(holder)) => Err(Failure::new(format!("md[{name}]: {holder} renews this domain at present"))
            .advice("Wait until it is done, or end that process, and call again.")),
        Err(error) => {
            // Not every network file system has locks.
            crate::log!(Debug, "md[{name}]: the lock of attempts cannot be taken: {error}");
            Ok(None)
        }
    }
}

/// All that renewals of these managed domains need. From then on commands of this process run as httpd's user,
/// where that is another one.
pub fn context(store: &StartStore, targets: Vec<Managed>, stop: &StopFlag) -> Context {
    if let Some(owner) = store.worker_owner() {
        exec::run_as(owner.uid, owner.gid);
    }
    let (reachable_by_http, reachable_by_https) = store.read_reach();
    let settings = Settings {
        retry: RETRY,
        check_interval: CHECK_INTERVAL,
        initial_delay: Duration::ZERO,
        parallel: 1,
        reachable_by_http,
        reachable_by_https,
        commands: Commands { message: None, notify: None },
        dns_zones: Vec::new(),
    };
    let until = stop.clone();
    let cas = CaPool::new(Box::new(move |route| connect(route, &until)));
    let clock = Arc::new(SystemClock { stop: stop.clone() });
    Context::new(targets.into(), store.worker(), settings, cas, clock, crypto::random_unit)
        .with_resolvers(resolvers)
}

fn resolvers() -> Vec<SocketAddr> {
    // Where it cannot be read, whoever has a question says that there is no resolver.
    let text = read_admin_file(Path::new(RESOLV_CONF)).unwrap_or_default();
    servers_of(&String::from_utf8_lossy(&text))
}

/// Brings the complete set in staging into `domains`, as a start of httpd does: the one before goes to the
/// archive. Should the next start end with it, the one after puts the former back.
pub fn activate(store: &StartStore, md: &mut Md, now: Timestamp) -> Result<Activated, Failure> {
    let _locked = lock(store)?;
    put_in_use(store, md, now).map_err(|error| of_store(&error))
}

fn put_in_use(store: &StartStore, md: &mut Md, now: Timestamp) -> Result<Activated, Error> {
    let mut stored = StoredMd::at_home(store, md);
    // As the set makes it, should this process die before md.json is written with the rest.
    let (state, descr) = (std::mem::replace(&mut md.state, State::Complete), md.state_descr.take());
    let mut activation = Activation::begin(store, &[md], now)?;
    let outcome = activation.activate(md, &mut stored, Duration::ZERO);
    activation.finish().settle(store);
    let outcome = outcome?;
    match outcome {
        Activated::Done => drop(stored.save(store, md)?),
        _ => (md.state, md.state_descr) = (state, descr),
    }
    Ok(outcome)
}

/// A failure of the store, with its advice.
pub fn of_store(error: &Error) -> Failure {
    Failure::new(error.advised()).status(error.os_error().unwrap_or(crate::model::outcome::status::GENERAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::CertInfo;
    use crate::crypto::fixture::NOW;
    use crate::managed::bundle::MD_FILE;
    use crate::managed::fixture::{Lab, md};
    use crate::model::KeySpec;
    use crate::store::{Fuse, Group, Note};
    use serde_json::json;

    /// The fingerprint of the certificate that a group has in this folder.
    fn fingerprint(store: &StartStore, group: Group, folder: &str) -> Option<String> {
        let file = KeySpec::Ec("P-256".into()).file_name("pubcert");
        store.read_chain(group, folder, &file).unwrap().map(|chain| CertInfo::from_chain(&chain).fingerprint)
    }

    #[test]
    fn calls_for_other_domains_leave_on_trial_what_no_start_has_loaded() {
        let (lab, mut mds) = (Lab::new(), [md(&["a.test"]), md(&["b.test"])]);
        for md in &mut mds {
            lab.install(md);
            lab.stage(md, &lab.set(&[&md.name], &md.keys()[0]));
        }
        activate(&lab.store, &mut mds[0], NOW).unwrap();
        // A start of httpd has ended with it.
        lab.store.write_note(Note::Loading, &json!({"name": "a.test"})).unwrap();
        activate(&lab.store, &mut mds[1], NOW).unwrap();
        let note = lab.store.read_note(Note::Trial).unwrap().unwrap();
        assert_eq!(note.as_object().unwrap().keys().collect::<Vec<_>>(), ["a.test", "b.test"]);
        assert_eq!(crate::startup::recover::revert(&lab.store, NOW).unwrap().names, ["a.test", "b.test"]);
    }

    #[test]
    fn a_call_that_is_killed_at_any_write_leaves_a_store_that_the_next_one_completes() {
        let mut a = md(&["a.test"]);
        a.key_specs = vec![KeySpec::Ec("P-256".into())];
        for steps in 0.. {
            let lab = Lab::new();
            let old = lab.install(&a);
            let new = lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
            let fuse = Fuse::after(steps);
            let dying = StartStore::open_existing_with(&lab.root(), fuse).unwrap();
            let is_done = activate(&dying, &mut a.clone(), NOW).is_ok_and(|done| done == Activated::Done);
            drop(dying);
            let store = StartStore::open_existing(&lab.root()).unwrap();
            recover(&store).unwrap();
            activate(&store, &mut a.clone(), NOW).unwrap();
            assert_eq!(fingerprint(&store, Group::Domains, "a.test"), Some(new), "{steps}");
            let stored = store.read_json(Group::Domains, "a.test", MD_FILE).unwrap().unwrap();
            assert_eq!((&stored["name"], &stored["state"]), (&"a.test".into(), &2.into()), "{steps}");
            assert_eq!(store.names(Group::Archive).unwrap(), ["a.test.1"], "{steps}");
            assert_eq!(fingerprint(&store, Group::Archive, "a.test.1"), Some(old), "{steps}");
            if is_done {
                assert!(steps > 5, "{steps}");
                return;
            }
        }
    }
}
