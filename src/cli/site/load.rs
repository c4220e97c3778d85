// SPDX-License-Identifier: Apache-2.0
//! Reads the managed domains of a site: from the configuration, where httpd has told it, else from the store
//! alone. Certificates are those that the next start would find, and the set that is live in front of them.
//! Private keys are compared with their certificates and not kept. Changes nothing.

use super::threads::in_threads;
use super::{Site, of_store};
use crate::cli::console::call::Failure;
use crate::config::{Configuration, DumpedHost, PlannedMd};
use crate::crypto::{Chain, Identities};
use crate::managed::bundle::MD_FILE;
use crate::managed::certificates::KeyedCert;
use crate::managed::live_set::LiveSet;
use crate::managed::serve::{self, Certs, Own};
use crate::managed::staging::file::CHAIN_STEM;
use crate::managed::{Host, Managed, bundle, published};
use crate::model::{Eab, Md};
use crate::names;
use crate::ocsp::cache::Table;
use crate::ocsp::subject::Terms;
use crate::ocsp::{self, Cache, Entry, Subject};
use crate::startup::reconcile;
use crate::store::{Group, WorkGroup, WorkStore};
use crate::time::{TimeSlice, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl Site {
    /// All managed domains by name, with their certificates in use: those of the configuration, and those that
    /// are only in the store (see [`Site::configured_names`]).
    pub fn mds(&self) -> Result<Vec<Managed>, Failure> {
        let mut all = match &self.configuration {
            Some(configuration) => self.configured(configuration)?,
            None => Vec::new(),
        };
        let known: HashSet<String> = all.iter().map(|managed| managed.md.name.clone()).collect();
        let names = self.store.names(Group::Domains).map_err(|error| of_store(&self.dir, &error))?;
        let others: Vec<String> = names.into_iter().filter(|name| !known.contains(name)).collect();
        let is_used = self.configuration.is_none();
        let read = |name: &String| self.stored(name, is_used);
        all.extend(in_threads(&others, &read).into_iter().flatten());
        let work = self.store.worker();
        in_threads(&all, &|managed| attach_live(&work, managed));
        all.sort_by(|one, other| one.md.name.cmp(&other.md.name));
        Ok(all)
    }

    /// The names of the managed domains that the configuration has; `None` where it is not known.
    pub fn configured_names(&self) -> Option<HashSet<&str>> {
        let configuration = self.configuration.as_ref()?;
        Some(configuration.mds.iter().map(|planned| planned.md.name.as_str()).collect())
    }

    /// The OCSP responses in the store for the certificates in use of those that are stapled.
    pub fn responses(&self, mds: &[Managed], now: Timestamp) -> Arc<Table> {
        let work = self.store.worker();
        let stapled: Vec<&Managed> = mds.iter().filter(|managed| managed.md.stapling).collect();
        let entries = |managed: &&Managed| -> Vec<Entry> {
            let chains = self.chains_in_use(&work, managed).into_iter();
            chains.filter_map(|chain| response(&work, managed, &chain, now)).collect()
        };
        Cache::new(in_threads(&stapled, &entries).into_iter().flatten()).table()
    }

    fn chains_in_use(&self, work: &WorkStore, managed: &Managed) -> Vec<Chain> {
        let name = &managed.md.name;
        if managed.live.load().is_some() {
            return published::chains(work, name);
        }
        let file = |(spec, _): &KeyedCert| spec.file_name(CHAIN_STEM);
        let files = managed.certs.keyed.iter().chain(&managed.certs.spare).map(file);
        files.filter_map(|file| self.store.read_chain(Group::Domains, name, &file).ok().flatten()).collect()
    }

    /// One that the store has. `None`: there is none of that name. One whose md.json is damaged still has its
    /// certificates, and expires like any other.
    fn stored(&self, name: &str, is_used: bool) -> Option<Managed> {
        let json = self.store.read_json(Group::Domains, name, MD_FILE);
        let read = json.map_or_else(
            |error| Err(error.advised()),
            |json| {
                json.map(|json| Md::from_json(&json).ok_or_else(|| "md.json is damaged".into())).transpose()
            },
        );
        let mut md = read.unwrap_or_else(|reason: String| {
            crate::log!(Warn, "md[{name}]: its settings are not known: {reason}");
            Some(Md { domains: vec![name.to_string()], ..Md::default() })
        })?;
        md.name = name.to_string();
        let (certs, _) = bundle::look(&self.store, name, &md);
        let planned = PlannedMd { md, watched: is_used, ..PlannedMd::default() };
        let managed = Managed { in_use: is_used, ..managed_of(planned, certs) };
        if is_used {
            managed.live.attach();
        }
        Some(managed)
    }

    /// Those of the configuration, with what the next start would find for them.
    fn configured(&self, configuration: &Configuration) -> Result<Vec<Managed>, Failure> {
        let mut planned = configuration.mds.clone();
        let mds: Vec<&Md> = configuration.mds.iter().map(|planned| &planned.md).collect();
        let users = users(configuration);
        let hosts = |at: usize| host_names(configuration, &users, at);
        let matched =
            reconcile::look(&self.store, &mds, &hosts).map_err(|error| of_store(&self.dir, &error))?;
        let complete = |(planned, matched): (&mut PlannedMd, reconcile::Matched)| {
            let stored = matched.complete(&mut planned.md);
            self.complete_binding(&mut planned.md);
            let hosts = tls_hosts(configuration, planned, &stored.certs, self.now);
            let managed = managed_of(planned.clone(), stored.certs);
            if configuration.is_live && !hosts.is_empty() {
                managed.live.attach();
            }
            let lacks_tls = hosts.is_empty() && configuration.https_port.is_some();
            Managed { hosts, lacks_tls, ..managed }
        };
        Ok(planned.iter_mut().zip(matched).map(complete).collect())
    }

    /// httpd does not print the hmac of a binding to an external account: the store has it since the last start.
    fn complete_binding(&self, md: &mut Md) {
        let Some(eab) = md.eab.as_mut() else { return };
        let stored = self.store.read_json(Group::Domains, &md.name, MD_FILE).ok().flatten();
        let known: Option<Eab> = stored.as_ref().and_then(Md::from_json).and_then(|md| md.eab);
        if let Some(known) = known.filter(|known| known.kid == eab.kid) {
            *eab = known;
        }
    }
}

/// With its state by the certificates it has.
fn managed_of(mut planned: PlannedMd, certs: Certs) -> Managed {
    let md = &mut planned.md;
    (md.state, md.state_descr) = crate::managed::certificates::assess(md, &certs);
    Managed::new(planned, certs)
}

/// How many managed domains each host has.
fn users(configuration: &Configuration) -> HashMap<usize, usize> {
    let mut users = HashMap::new();
    let hosts = configuration.mds.iter().flat_map(|planned| &planned.hosts);
    hosts.for_each(|host| *users.entry(*host).or_insert(0) += 1);
    users
}

/// The names of the hosts that belong to a managed domain alone.
fn host_names(configuration: &Configuration, users: &HashMap<usize, usize>, md: usize) -> Vec<String> {
    let hosts = configuration.mds.get(md).into_iter().flat_map(|planned| &planned.hosts);
    let alone = hosts.filter(|host| users.get(*host) == Some(&1));
    let hosts = alone.filter_map(|host| configuration.hosts.get(*host)).map(|dumped| &dumped.host);
    let names = hosts.flat_map(|host| std::iter::once(&host.server_name).chain(&host.aliases));
    names.filter_map(|name| names::normalize(name).ok()).collect()
}

/// The TLS hosts of a managed domain. Whether files of a host's own are valid is not known here.
fn tls_hosts(configuration: &Configuration, planned: &PlannedMd, certs: &Certs, now: Timestamp) -> Vec<Host> {
    let is_tls = |dumped: &&DumpedHost| dumped.has_tls != Some(false);
    let hosts = planned.hosts.iter().filter_map(|host| configuration.hosts.get(*host)).filter(is_tls);
    let own = |dumped: &DumpedHost| if dumped.has_own_certificate { Own::InTime } else { Own::None };
    let host = |dumped: &DumpedHost| Host {
        name: dumped.host.server_name.clone(),
        address: dumped.address.clone(),
        source: serve::decide(&planned.md, &dumped.host.server_name, certs, own(dumped), now),
        is_live: configuration.is_live,
    };
    hosts.map(host).collect()
}

/// The set that is live, where there is one.
fn attach_live(work: &WorkStore, managed: &Managed) {
    let Some(shown) = published::shown(work, &managed.md.name) else { return };
    managed.live.store(LiveSet {
        since: shown.since,
        ca_url: shown.ca_url,
        certs: Certs::arrange(&managed.md.keys(), shown.certs),
        identities: Identities::default(),
    });
}

/// The stored response for a certificate that is stapled.
fn response(work: &WorkStore, managed: &Managed, chain: &Chain, now: Timestamp) -> Option<Entry> {
    let terms = Terms { renew_window: TimeSlice::Percent(33), proxy_url: None, proxy_ca_file: None };
    let subject = Subject::new(&managed.md.name, chain, terms).ok()?;
    let response = ocsp::file::read(work, WorkGroup::Ocsp, &subject, now).ok().flatten();
    Some(Entry { subject: Arc::new(subject), response: response.map(Arc::new) })
}
