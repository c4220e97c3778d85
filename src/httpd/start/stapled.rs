// SPDX-License-Identifier: Apache-2.0
//! Collects the certificates to staple during the start: mod_ssl passes them to its hooks while it makes its
//! contexts.

use crate::config::Plan;
use crate::crypto::Chain;
use crate::httpd::state::Server;
use crate::httpd::state::startup::Startup;
use crate::httpd::sys;
use crate::live::bell::Bell;
use crate::live::signals::Signals;
use crate::managed::Managed;
use crate::model::Md;
use crate::ocsp::Entry;
use crate::ocsp::file;
use crate::ocsp::subject::{Id, OTHER, Terms, Unfit};
use crate::ocsp::{Cache, Subject};
use crate::stapling::service::{self, Found, Service};
use crate::stapling::upcoming;
use crate::store::{Group, WorkStore};
use crate::sync::lock;
use crate::time::{SystemClock, TimeSlice, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

/// Takes a host's certificate from mod_ssl or another TLS module. Returns whether we staple it.
pub fn prime(server: Server<'_>, id: &[u8], pem: &[u8]) -> bool {
    let startup = server.conf().and_then(|conf| lock(&conf.startup).clone());
    let Some(startup) = startup else { return false };
    let Some((owner, terms)) = startup.with_plan(server, owner).flatten() else { return false };
    let subject =
        Chain::from_pem(pem).map_err(Unfit::from).and_then(|chain| Subject::new(&owner, &chain, terms));
    match subject {
        Ok(subject) => {
            let subject = startup.stapling.cache.issuers.share(subject);
            lock(&startup.stapling.subjects).entry(id.to_vec()).or_insert_with(|| Arc::new(subject));
            true
        }
        // All certificates of some CAs are like this.
        Err(reason @ Unfit::NoResponder(_)) => {
            crate::log!(Debug, "md[{owner}]: {reason}");
            false
        }
        Err(reason) => {
            crate::log!(Warn, "md[{owner}]: a certificate of {} cannot be stapled: {reason}", server.name());
            false
        }
    }
}

/// Under which name a host's certificate is stapled, and how. `None`: not at all.
fn owner(plan: &Plan, host: usize) -> Option<(String, Terms)> {
    let settings = plan.hosts.get(host)?;
    match settings.mds.as_slice() {
        [] => settings.staple_others.then(|| {
            let terms = Terms {
                renew_window: settings.staple_renew_window,
                proxy_url: settings.proxy_url.clone(),
                proxy_ca_file: settings.proxy_ca_certs.clone(),
            };
            (OTHER.to_string(), terms)
        }),
        [md] => Some((plan.mds.get(*md)?.md.name.clone(), terms_of(plan, *md)?)),
        // The start will end with this.
        _ => None,
    }
}

/// mod_ssl staples the certificates of this host by itself. It knows only those of the start; certificates
/// that go live later are stapled here.
pub fn note_by_mod_ssl(server: Server<'_>) {
    let Some(startup) = server.conf().and_then(|conf| lock(&conf.startup).clone()) else { return };
    if startup.hosts.slot_of(server).is_none() {
        return;
    }
    let md = startup.with_plan(server, |plan, host| match plan.hosts.get(host)?.mds.as_slice() {
        [md] => terms_of(plan, *md).is_none().then_some(*md),
        _ => None,
    });
    if let Some(md) = md.flatten() {
        lock(&startup.stapling.by_mod_ssl).insert(md);
    }
}

/// The stapling terms for the certificates of an MD by `MDStapling`; `None`: not at all.
fn terms_of(plan: &Plan, md: usize) -> Option<Terms> {
    let is_stapled = plan.mds.get(md)?.md.stapling;
    terms_where_stapled(plan, md).filter(|_| is_stapled)
}

fn terms_where_stapled(plan: &Plan, md: usize) -> Option<Terms> {
    let planned = plan.mds.get(md)?;
    let host = planned.hosts.first().and_then(|host| plan.hosts.get(*host)).or(plan.hosts.first())?;
    Some(Terms {
        renew_window: host.staple_renew_window,
        proxy_url: planned.route.proxy_url.clone(),
        proxy_ca_file: planned.route.proxy_ca_file.clone(),
    })
}

/// The cache for a host whose MD is stapled, while its configuration is being put in force.
pub fn cache_of(server: Server<'_>) -> Option<Arc<Cache>> {
    let startup = server.conf().and_then(|conf| lock(&conf.startup).clone())?;
    startup.with_plan(server, owner).flatten()?;
    Some(startup.stapling.cache.clone())
}

/// The children's stapling service: the responses in the store, and counters that all share. `None` where
/// nothing is stapled.
pub fn service(
    startup: &Startup,
    plan: &Plan,
    mds: Arc<[Managed]>,
    bell: &Arc<Bell>,
) -> io::Result<Option<Service>> {
    let subjects = std::mem::take(&mut *lock(&startup.stapling.subjects));
    let by_mod_ssl = std::mem::take(&mut *lock(&startup.stapling.by_mod_ssl));
    let terms = |md| match by_mod_ssl.contains(&md) {
        true => terms_where_stapled(plan, md),
        false => terms_of(plan, md),
    };
    let terms: Vec<_> = (0..mds.len()).map(terms).collect();
    let cache = startup.stapling.cache.clone();
    cache.put(subjects.values().map(|subject| {
        let response = service::stored(&startup.store, Group::Ocsp, subject, startup.now);
        Entry { subject: subject.clone(), response }
    }));
    // Only now: responses that are still valid are stapled, however old their files are.
    if let Some(main) = plan.hosts.first() {
        clean_up(startup, main.staple_keep, &subjects, &terms, &mds);
    }
    let (store, started) = (startup.store.worker(), startup.now);
    let found = Found { cache, subjects, terms, by_mod_ssl, mds, store, started };
    if !found.is_any() {
        return Ok(None);
    }
    let topics = found.topics();
    let signals =
        Signals::new(Arc::new(sys::Counters::new(Signals::size(topics))?), topics).ringing(bell.clone());
    Ok(Some(Service::new(found, signals, Arc::new(SystemClock::default()))))
}

/// Removes old responses that neither these certificates nor those in staging use. The used ones were read
/// before.
fn clean_up(
    startup: &Startup,
    keep: TimeSlice,
    subjects: &BTreeMap<Vec<u8>, Arc<Subject>>,
    terms: &[Option<Terms>],
    mds: &[Managed],
) {
    let mds = mds.iter().map(|managed| &managed.md).zip(terms);
    let users = Users {
        cache: &startup.stapling.cache,
        owners: subjects.values().map(|subject| subject.owner.as_str()).collect(),
        stapled_mds: mds.filter_map(|(md, terms)| Some((md.name.as_str(), (md, terms.as_ref()?)))).collect(),
        store: startup.store.worker(),
        now: startup.now,
    };
    match file::remove_old(&startup.store, keep, startup.now, &users) {
        Ok(0) => {}
        Ok(count) => crate::log!(Debug, "{count} old OCSP responses removed"),
        Err(error) => crate::log!(Warn, "old OCSP responses cannot be removed: {}", error.advised()),
    }
}

/// The users of responses at a start.
struct Users<'a> {
    cache: &'a Cache,
    /// Of the certificates in the cache.
    owners: HashSet<&'a str>,
    stapled_mds: HashMap<&'a str, (&'a Md, &'a Terms)>,
    store: WorkStore,
    now: Timestamp,
}

impl file::Users for Users<'_> {
    fn is_owner(&self, owner: &str) -> bool {
        self.owners.contains(owner) || self.stapled_mds.contains_key(owner)
    }

    fn is_used(&self, owner: &str, id: &Id) -> bool {
        if let Some(entry) = self.cache.find(id).filter(|entry| entry.subject.owner == owner) {
            return entry.response.is_some_and(|response| response.is_current(self.now));
        }
        // Staged certificates are stapled from their first handshake on.
        let staged =
            self.stapled_mds.get(owner).map(|(md, terms)| upcoming::subjects(&self.store, md, terms));
        staged.into_iter().flatten().any(|subject| subject.id == *id)
    }
}
