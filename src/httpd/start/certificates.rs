// SPDX-License-Identifier: Apache-2.0
//! mod_ssl's questions for certificates, asked for each TLS host while httpd starts. [`serve`] decides which
//! certificates a host serves; here they are handed to mod_ssl.

use super::servers::{config_servers, report};
use crate::httpd::state::Server;
use crate::httpd::state::startup::Startup;
use crate::httpd::state::tls_hosts::Given;
use crate::httpd::sys::{Context, PathArray};
use crate::managed::serve;
use crate::managed::serve::{Own, OwnFile, Source};
use crate::managed::slot::Slot;
use crate::model::{KeySpec, Md};
use crate::startup::stored_md::StoredMd;
use crate::sync::lock;
use std::path::PathBuf;
use std::sync::Arc;

/// The certificates of a host's MD, or a self-signed one where there is nothing else and a set can go live
/// later. `false` leaves the host to others.
pub fn add_certificates(server: Server<'_>, certs: &mut PathArray<'_>, keys: &mut PathArray<'_>) -> bool {
    let Some(startup) = startup(server) else { return false };
    let added = with_md(&startup, server, |index, md, stored| {
        let own_files = startup.own_files(&certs.paths());
        let source = source(&startup, server, &own_files, md, stored);
        let keeps_own = own_files.iter().any(OwnFile::stays_beside_others);
        startup.hosts.give(server, Given { md: index, source, keeps_own });
        let specs: Vec<KeySpec> = match source {
            Source::Static => stored.certs.iter().map(|(spec, _)| spec.clone()).collect(),
            Source::Md => stored.certs.best(startup.now).into_iter().map(|(spec, _)| spec.clone()).collect(),
            Source::Own | Source::SelfSigned => Vec::new(),
        };
        if !specs.is_empty() {
            keep(&own_files, &specs, certs, keys);
        }
        match source {
            Source::Own => false,
            Source::Static => {
                for (cert, key) in md.cert_files.iter().zip(&md.pkey_files) {
                    certs.push(cert);
                    keys.push(key);
                }
                true
            }
            Source::Md => {
                let name = &md.name;
                crate::log!(Debug, "AH10077: {name}: providing certificates for server {}", server.name());
                startup.note_loading(name);
                let files = |spec: &KeySpec| stored.certificate_files(&startup.store, spec);
                each_key(name, specs, certs, keys, files)
            }
            // From here and not as a fallback: mod_ssl would answer 503 until the next restart.
            Source::SelfSigned if startup.hosts.is_live() => {
                add_self_signed(&startup, server, (md, stored), certs, keys)
            }
            Source::SelfSigned => false,
        }
    });
    added.unwrap_or(false)
}

/// The source of the certificate that the host gets.
fn source(
    startup: &Startup,
    server: Server<'_>,
    own_files: &[OwnFile],
    md: &Md,
    stored: &StoredMd,
) -> Source {
    let own = Own::of_all(own_files);
    let source = serve::decide(md, &server.name(), &stored.certs, own, startup.now);
    if own != Own::None {
        crate::log!(
            Debug,
            "AH10084: {}: host {} has certificate files of its own (SSLCertificateFile), and serves those of \
             its {}",
            md.name,
            server.name(),
            if source == Source::Own { "own" } else { "MD" }
        );
    }
    source
}

/// Leaves those of a host's own files that serve clients beside certificates for keys of these kinds. mod_ssl
/// takes the key from the certificate's file where a host names none; files added after that must not take
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

/// The place where handshakes of a host look for a live set, and whether certificates of its own stay beside
/// that; `None` where none goes live.
pub fn live_slot(server: Server<'_>) -> Option<(Slot, bool)> {
    startup(server)?.hosts.slot_of(server)
}

/// A self-signed certificate for a host whose MD has none yet, with `MDLiveActivation off`: mod_ssl then
/// answers 503 for it.
pub fn add_fallback(server: Server<'_>, certs: &mut PathArray<'_>, keys: &mut PathArray<'_>) -> bool {
    let Some(startup) = startup(server) else { return false };
    let added = with_md(&startup, server, |_, md, stored| {
        !md.has_static_files() && add_self_signed(&startup, server, (md, stored), certs, keys)
    });
    added.unwrap_or(false)
}

fn add_self_signed(
    startup: &Startup,
    server: Server<'_>,
    (md, stored): (&Md, &StoredMd),
    certs: &mut PathArray<'_>,
    keys: &mut PathArray<'_>,
) -> bool {
    let name = &md.name;
    crate::log!(Debug, "AH10116: {name}: providing fallback certificates for server {}", server.name());
    match startup.fallbacks.files(&startup.store, md, stored, startup.now) {
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
    name: &str,
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
                    "md[{name}]: no {} certificate for mod_ssl: {}",
                    spec.label(),
                    error.advised()
                );
            }
        }
    }
    added
}

/// Hands over the MD of a TLS host and its index, noting that it is one. `None` where it has none, or
/// several: then the second half stops the start.
fn with_md<R>(
    startup: &Startup,
    server: Server<'_>,
    run: impl FnOnce(usize, &Md, &StoredMd) -> R,
) -> Option<R> {
    let host = *startup.index.get(&server.key())?;
    let is_new = lock(&startup.tls).insert(host);
    let plan = lock(&startup.plan);
    match plan.hosts.get(host)?.mds.as_slice() {
        [one] => {
            let stored = lock(&startup.mds);
            plan.mds.get(*one).zip(stored.get(*one)).map(|(planned, stored)| run(*one, &planned.md, stored))
        }
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
