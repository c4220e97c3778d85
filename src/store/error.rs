// SPDX-License-Identifier: Apache-2.0
//! The errors of the store, with advice for the administrator.

use crate::log::plain;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused the activity `what` with `path`.
    #[error("{what} {}: {}", path.display(), plain(source))]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// The file exists, but its type or content is not the expected one.
    #[error("{} is damaged: {reason}", path.display())]
    Garbage { path: PathBuf, reason: String },
    /// A file or folder of others that cannot be trusted, or is not what it should be.
    #[error("{} is not used: {reason}", path.display())]
    Refused { path: PathBuf, reason: String },
    /// The text cannot name a folder or a file of the store.
    #[error("'{}' cannot name anything in the store", .0.escape_debug())]
    Name(String),
    #[error(
        "{} is damaged: {reason}. It holds the key that opens every ACME account and every renewed certificate's \
         private key, so it is not replaced by itself: restore this file from a backup of this store. If there is \
         none, move the whole store folder away and start again; httpd then creates new accounts and requests new certificates",
        path.display()
    )]
    BadKey { path: PathBuf, reason: String },
    #[error(
        "{} is of version {version}, made by a newer mod_md than this one, which knows version 3.0. Go back to that \
         mod_md, or give this one a store folder of its own (MDStoreDir)",
        path.display()
    )]
    NewerVersion { path: PathBuf, version: f64 },
    /// OpenSSL could not make or write a key or certificate.
    #[error("{}: {source}", path.display())]
    Crypto { path: PathBuf, source: crate::crypto::Error },
}

impl Error {
    pub(super) fn io(what: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Error::Io { what, path: path.to_path_buf(), source: source.into() }
    }

    pub(super) fn garbage(path: &Path, reason: impl ToString) -> Self {
        Error::Garbage { path: path.to_path_buf(), reason: reason.to_string() }
    }

    pub(super) fn refused(path: &Path, reason: impl ToString) -> Self {
        Error::Refused { path: path.to_path_buf(), reason: reason.to_string() }
    }

    /// The file or folder, or the whole store, is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }

    /// The `errno` behind this error, for logs that show it.
    pub fn os_error(&self) -> Option<i32> {
        match self {
            Error::Io { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// The error and its advice, in whole sentences.
    pub fn advised(&self) -> String {
        self.advice().map_or_else(|| format!("{self}."), |advice| format!("{self}. What to do: {advice}"))
    }

    /// `None` where the text includes the advice.
    pub fn advice(&self) -> Option<String> {
        Some(match self {
            Error::Io { path, source, .. } => {
                let path = path.display();
                match source.kind() {
                    ErrorKind::PermissionDenied => format!(
                        "Give httpd's User the right to read and write {path} (docs/store.md has the owners and modes); a \
                         security module (SELinux, AppArmor) or a mount option may forbid it, too."
                    ),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                        format!("Make room in the file system of {path} ('df -h', 'df -i', 'quota').")
                    }
                    ErrorKind::ReadOnlyFilesystem => {
                        format!(
                            "Mount the file system of {path} for writing; the system's log says why it is read-only."
                        )
                    }
                    ErrorKind::NotFound => {
                        format!("Restart httpd, which makes {path} again: it has been removed.")
                    }
                    ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
                        format!("Move away what is in the place of {path}, and restart httpd.")
                    }
                    _ => format!(
                        "Look at the disk and the file system of {path}: the operating system refuses."
                    ),
                }
            }
            Error::Garbage { path, .. } => format!(
                "Restore {0} from a backup, or remove it: what it held is requested from the CA again.",
                path.display()
            ),
            Error::Crypto { .. } => crate::crypto::ADVICE.into(),
            Error::Name(_) => "Rename the managed domain (MDomain): the store cannot hold this name.".into(),
            Error::BadKey { .. } | Error::NewerVersion { .. } | Error::Refused { .. } => return None,
        })
    }
}
