//! mod_ssl's questions for certificates, asked for each TLS host while httpd starts.

use super::lock;
use super::startup::Startup;
use super::sys::{PathArray, Server};
use crate::model::{KeySpec, State};
use crate::renew::sync::{self, SyncedMd};
use crate::renew::{fallback, state};
use std::path::PathBuf;
use std::sync::Arc;

/// Certificates for a host whose MD has them all. `false` leaves the host to others.
pub fn add_certificates(server: Server<'_>, certs: &mut PathArray<'_>, keys: &mut PathArray<'_>) -> bool {
    let Some(startup) = startup(server) else { return false };
    let added = startup.with_md_of_tls_host(server, |synced| {
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
        if state::assess(&synced.md, &synced.certs).0 != State::Complete {
            return false;
        }
        crate::log!(Debug, "AH10077: {name}: providing certificates for server {}", server.name());
        each_key(synced, certs, keys, |spec| sync::certificate_files(&startup.store, synced, spec))
    });
    added.unwrap_or(false)
}

/// A self-signed certificate for a host whose MD has none yet: mod_ssl then answers 503 for it.
pub fn add_fallback(server: Server<'_>, certs: &mut PathArray<'_>, keys: &mut PathArray<'_>) -> bool {
    let Some(startup) = startup(server) else { return false };
    let added = startup.with_md_of_tls_host(server, |synced| {
        if synced.md.has_static_files() {
            return false;
        }
        let name = &synced.md.name;
        crate::log!(Debug, "AH10116: {name}: providing fallback certificates for server {}", server.name());
        each_key(synced, certs, keys, |spec| fallback::files(&startup.store, synced, spec, startup.now))
    });
    added.unwrap_or(false)
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
