// SPDX-License-Identifier: Apache-2.0
//! mod_ssl's questions for certificates, asked for each TLS host while httpd starts. What each is served is
//! decided in [`serve`]; here it is handed over.

use super::before_tls::{config_servers, report};
use crate::httpd::state::Server;
use crate::httpd::state::startup::Startup;
use crate::httpd::state::tls_hosts::Given;
use crate::httpd::sys::{Context, PathArray};
use crate::managed::serve;
use crate::managed::serve::{Own, OwnFile, Source};
use crate::managed::slot::Slot;
use crate::model::KeySpec;
use crate::startup::reconcile;
use crate::startup::reconcile::SyncedMd;
use crate::sync::lock;
use std::path::PathBuf;
use std::sync::Arc;

/// The certificates of a host's MD, or a self-signed one where there is nothing else and a set can go live
/// later. `false` leaves the host to others.
pub fn add_certificates(server: Server<'_>, certs: &mut PathArray<'_>, keys: &mut PathArray<'_>) -> bool {
    let Some(startup) = startup(server) else { return false };
    let added = with_md(&startup, server, |md, synced| {
        let name = &synced.md.name;
        let own_files = startup.own_files(&certs.paths());
        let own = Own::of_all(&own_files);
        let source = serve::decide(&synced.md, &server.name(), &synced.certs, own, startup.now);
        let keeps_own = own_files.iter().any(OwnFile::stays_beside_others);
        startup.hosts.give(server, Given { md, source, keeps_own });
        if own != Own::None {
            crate::log!(
                Debug,
                "AH10084: {name}: host {} has certificate files of its own (SSLCertificateFile), and serves those of \
                 its {}",
                server.name(),
                if source == Source::Own { "own" } else { "MD" }
            );
        }
        let specs = match source {
            Source::Static => synced.certs.iter().map(|(spec, _)| spec.clone()).collect(),
            Source::Md => synced.certs.best(startup.now).into_iter().map(|(spec, _)| spec.clone()).collect(),
            Source::Own | Source::SelfSigned => Vec::new(),
        };
        if !specs.is_empty() {
            keep(&own_files, &specs, certs, keys);
        }
        match source {
            Source::Own => false,
            Source::Static => {
                for (cert, key) in synced.md.cert_files.iter().zip(&synced.md.pkey_files) {
                    certs.push(cert);
                    keys.push(key);
                }
                true
            }
            Source::Md => {
                crate::log!(Debug, "AH10077: {name}: providing certificates for server {}", server.name());
                startup.note_loading(name);
                let files = |spec: &KeySpec| reconcile::certificate_files(&startup.store, synced, spec);
                each_key(synced, specs, certs, keys, files)
            }
            // From here and not as a fallback: mod_ssl would answer 503 until the next restart.
            Source::SelfSigned if startup.hosts.is_live() => {
                add_self_signed(&startup, server, synced, certs, keys)
            }
            Source::SelfSigned => false,
        }
    });
    added.unwrap_or(false)
}

/// Leaves those of a host's own files that serve clients beside certificates for keys of these kinds. mod_ssl
/// takes the key from the certificate's file where a host names none; what is added after that must not take
/// its place.
fn keep(own: &[OwnFile], specs: &[KeySpec], certs: &mut PathArray<'_>, keys: &mut PathArray<'_>) {
    let (cert_paths, key_paths) = (certs.paths(), keys.paths());
    certs.clear();
    keys.clear();
    let is_needed = !specs.iter().any(|spec| matches!(spec, KeySpec::Rsa(_)));
    for (index, (cert, own)) in cert_paths.iter().zip(own).enumerate() {
        if is_needed && own.stays_beside_others() {
            certs.push(cert);
            keys.push(key_paths.get(index).unwrap_or(cert));
        }
    }
}

/// mod_ssl has loaded all certificates of a host into this context.
pub fn loaded(server: Server<'_>, context: Context) {
    if let Some(startup) = startup(server) {
        startup.hosts.attach(server, context);
        startup.note_loaded();
    }
}

/// Where handshakes of a host look for a live set, and whether certificates of its own stay beside that; `None`
/// where none goes live.
pub fn live_slot(server: Server<'_>) -> Option<(Slot, bool)> {
    startup(server)?.hosts.slot_of(server)
}

/// A self-signed certificate for a host whose MD has none yet, with `MDLiveActivation off`: mod_ssl then
/// answers 503 for it.
pub fn add_fallback(server: Server<'_>, certs: &mut PathArray<'_>, keys: &mut PathArray<'_>) -> bool {
    let Some(startup) = startup(server) else { return false };
    let added = with_md(&startup, server, |_, synced| {
        !synced.md.has_static_files() && add_self_signed(&startup, server, synced, certs, keys)
    });
    added.unwrap_or(false)
}

fn add_self_signed(
    startup: &Startup,
    server: Server<'_>,
    synced: &SyncedMd,
    certs: &mut PathArray<'_>,
    keys: &mut PathArray<'_>,
) -> bool {
    let name = &synced.md.name;
    crate::log!(Debug, "AH10116: {name}: providing fallback certificates for server {}", server.name());
    match startup.fallbacks.files(&startup.store, synced, startup.now) {
        Ok((cert, key)) => {
            certs.push(&cert.to_string_lossy());
            keys.push(&key.to_string_lossy());
            true
        }
        Err(error) => {
            crate::log!(Error, "md[{name}]: no self-signed certificate for mod_ssl: {}", error.advised());
            false
        }
    }
}

fn each_key(
    synced: &SyncedMd,
    specs: impl IntoIterator<Item = KeySpec>,
    certs: &mut PathArray<'_>,
    keys: &mut PathArray<'_>,
    files: impl Fn(&KeySpec) -> Result<(PathBuf, PathBuf), crate::store::Error>,
) -> bool {
    let mut added = false;
    for spec in specs {
        match files(&spec) {
            Ok((cert, key)) => {
                certs.push(&cert.to_string_lossy());
                keys.push(&key.to_string_lossy());
                added = true;
            }
            Err(error) => {
                crate::log!(
                    Error,
                    "md[{}]: no {} certificate for mod_ssl: {}",
                    synced.md.name,
                    spec.label(),
                    error.advised()
                );
            }
        }
    }
    added
}

/// Hands over the MD of a TLS host and its index, noting that it is one. `None` where it has none, or several:
/// then the second half stops the start.
fn with_md<R>(startup: &Startup, server: Server<'_>, run: impl FnOnce(usize, &SyncedMd) -> R) -> Option<R> {
    let host = *startup.index.get(&server.key())?;
    let is_new = lock(&startup.tls).insert(host);
    let plan = lock(&startup.plan);
    match plan.hosts.get(host)?.mds.as_slice() {
        [one] => lock(&startup.mds).get(*one).map(|md| run(*one, md)),
        [] => None,
        // mod_ssl asks twice.
        _ if !is_new => None,
        _ => {
            report(plan.conflict(&config_servers(&startup.servers), host));
            None
        }
    }
}

fn startup(server: Server<'_>) -> Option<Arc<Startup>> {
    lock(&server.conf()?.startup).clone()
}
