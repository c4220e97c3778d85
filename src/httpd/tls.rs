//! mod_ssl's questions for certificates, asked for each TLS host while httpd starts.

use super::lock;
use super::startup::Startup;
use super::sys::{PathArray, Server};
use crate::model::{KeySpec, State};
use crate::renew::sync::{self, SyncedMd};
use crate::renew::{fallback, state};
use std::path::PathBuf;
use std::sync::Arc;

/// Certificates for a host whose MD has them all; a self-signed one where it has not and its set can go live later.
/// `false` leaves the host to others.
pub fn add_certificates(server: Server<'_>, certs: &mut PathArray<'_>, keys: &mut PathArray<'_>) -> bool {
    let Some(startup) = startup(server) else { return false };
    let added = startup.with_md_of_tls_host(server, |index, synced| {
        let name = &synced.md.name;
        if !certs.is_empty() {
            let host = server.name();
            crate::log!(
                Debug,
                "AH10084: {name}: host {host} has certificate files of its own (SSLCertificateFile)"
            );
            return false;
        }
        if synced.md.has_static_files() {
            for (cert, key) in synced.md.cert_files.iter().zip(&synced.md.pkey_files) {
                certs.push(cert);
                keys.push(key);
            }
            return true;
        }
        let is_complete = state::assess(&synced.md, &synced.certs).0 == State::Complete;
        let added = match &startup.live {
            _ if is_complete => {
                crate::log!(Debug, "AH10077: {name}: providing certificates for server {}", server.name());
                each_key(synced, certs, keys, |spec| sync::certificate_files(&startup.store, synced, spec))
            }
            // From here and not as a fallback: mod_ssl would answer 503 until the next restart.
            Some(_) => add_self_signed(&startup, server, synced, certs, keys),
            None => false,
        };
        if let Some(hosts) = startup.live.as_ref().filter(|_| added) {
            hosts.give(server, index, !is_complete);
        }
        added
    });
    added.unwrap_or(false)
}

/// A self-signed certificate for a host whose MD has none yet, with `MDLiveActivation off`: mod_ssl then answers 503
/// for it.
pub fn add_fallback(server: Server<'_>, certs: &mut PathArray<'_>, keys: &mut PathArray<'_>) -> bool {
    let Some(startup) = startup(server) else { return false };
    let added = startup.with_md_of_tls_host(server, |_, synced| {
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
    each_key(synced, certs, keys, |spec| fallback::files(&startup.store, synced, spec, startup.now))
}

fn each_key(
    synced: &SyncedMd,
    certs: &mut PathArray<'_>,
    keys: &mut PathArray<'_>,
    files: impl Fn(&KeySpec) -> Result<(PathBuf, PathBuf), crate::store::Error>,
) -> bool {
    let mut added = false;
    for spec in synced.md.keys() {
        match files(&spec) {
            Ok((cert, key)) => {
                certs.push(&cert.to_string_lossy());
                keys.push(&key.to_string_lossy());
                added = true;
            }
            Err(error) => {
                crate::log!(
                    Error,
                    "{}: no {} certificate for mod_ssl: {error}",
                    synced.md.name,
                    spec.label()
                );
            }
        }
    }
    added
}

fn startup(server: Server<'_>) -> Option<Arc<Startup>> {
    lock(&server.conf()?.startup).clone()
}
