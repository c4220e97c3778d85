// SPDX-License-Identifier: Apache-2.0
//! Checks the fleet (`MDFleet`): the files with its secret, and what the process that replicates has told. Does
//! not ask the engine. Quotes no secret.

use super::finding::Finding;
use crate::cli::fleet::findings;
use crate::cli::site::{Site, request};
use crate::fleet::secret::Secret;
use crate::status;
use crate::status::fleet::Fleet;
use crate::store::read_secret;
use crate::time::Timestamp;
use std::io::ErrorKind;
use std::path::Path;

/// Bytes of a file with a secret.
const SECRET_MAX: usize = 4096;

/// Nothing where the httpd of the store belongs to no fleet.
pub fn look(site: &Site, now: Timestamp, out: &mut Vec<Finding>) {
    if !site.is_in_fleet() {
        return;
    }
    let configured = site.configuration.as_ref().and_then(|configuration| configuration.fleet.as_ref());
    let files = configured.into_iter().flat_map(|fleet| &fleet.secret_files);
    out.extend(files.map(|file| secret_file(file)));
    // What was told before the end of httpd says nothing of now.
    if request::running(site).is_some() {
        let fleet = Fleet::of(&status::fleet::read(&site.store.worker()), now);
        out.extend(findings::of_report(&fleet.report));
    }
}

fn secret_file(file: &Path) -> Finding {
    let subject = file.display().to_string();
    let make = "'a2md fleet secret --out FILE' makes one; all nodes need the same.";
    let (content, mode) = match read_secret(file, SECRET_MAX) {
        Ok(read) => read,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let evidence = "The secret of the fleet cannot be read by this user.";
            return Finding::cannot_be_told("fleet-secret", subject, evidence, "Call a2md as root.");
        }
        Err(error) => {
            let evidence = format!("The secret of the fleet cannot be read: {}.", crate::log::plain(&error));
            return Finding::fails("fleet-secret", subject, evidence, format!("Put it there: {make}"));
        }
    };
    if let Err(reason) = Secret::parse(&content) {
        return Finding::fails(
            "fleet-secret",
            subject,
            format!("The file {reason}."),
            format!("Replace it: {make}"),
        );
    }
    if mode & 0o077 != 0 {
        return Finding::fails(
            "fleet-secret",
            &subject,
            format!("Others than its owner can read the secret of the fleet (mode {mode:03o})."),
            format!(
                "chmod 600 {subject}. Who has read it can open everything in the engine: then make a new one."
            ),
        );
    }
    Finding::works("fleet-secret", subject, "It has a secret, and only its owner can read it.")
}
