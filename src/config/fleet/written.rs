// SPDX-License-Identifier: Apache-2.0
//! The directives of a fleet as one server has them. Each stands once in the whole httpd.

use super::super::finding::{Finding, Place, at};
use super::urls::Engine;
use std::path::PathBuf;

/// A finding about these directives.
pub(super) const CODE: &str = "fleet";

/// The directives of one server. Each holds its place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetLines {
    pub(super) engine: Option<(Engine, Place)>,
    pub(super) secret_files: Option<(Vec<PathBuf>, Place)>,
    pub(super) ca_file: Option<(PathBuf, Place)>,
    pub(super) client_cert: Option<(PathBuf, Place)>,
    pub(super) client_key: Option<(PathBuf, Place)>,
    pub(super) user: Option<((String, PathBuf), Place)>,
    pub(super) node: Option<(String, Place)>,
}

impl FleetLines {
    /// The directives that are written, with their places.
    pub(super) fn written(&self) -> Vec<(&'static str, &Place)> {
        fn place<T>(line: &Option<(T, Place)>) -> Option<&Place> {
            line.as_ref().map(|(_, place)| place)
        }
        let all = [
            ("MDFleet", place(&self.engine)),
            ("MDFleetSecretFile", place(&self.secret_files)),
            ("MDFleetCACertificateFile", place(&self.ca_file)),
            ("MDFleetClientCertificateFile", place(&self.client_cert)),
            ("MDFleetClientKeyFile", place(&self.client_key)),
            ("MDFleetUser", place(&self.user)),
            ("MDFleetNode", place(&self.node)),
        ];
        all.into_iter().filter_map(|(name, place)| Some((name, place?))).collect()
    }

    /// Takes what another server has. `Err`: this server has it as well.
    pub(super) fn take(&mut self, other: &FleetLines) -> Result<(), Finding> {
        let written = self.written();
        let twice = other.written().into_iter().find_map(|(name, here)| {
            let (_, first) = written.iter().find(|(known, _)| *known == name)?;
            Some(refused(here, &format!("{name} stands at {} already: remove one of them", at(first))))
        });
        if let Some(twice) = twice {
            return Err(twice);
        }
        fn put<T: Clone>(own: &mut Option<T>, other: &Option<T>) {
            *own = own.take().or_else(|| other.clone());
        }
        put(&mut self.engine, &other.engine);
        put(&mut self.secret_files, &other.secret_files);
        put(&mut self.ca_file, &other.ca_file);
        put(&mut self.client_cert, &other.client_cert);
        put(&mut self.client_key, &other.client_key);
        put(&mut self.user, &other.user);
        put(&mut self.node, &other.node);
        Ok(())
    }
}

pub(super) fn refused(place: &Place, text: &str) -> Finding {
    Finding::error(format!("{}: {text}.", at(place))).code(CODE)
}
