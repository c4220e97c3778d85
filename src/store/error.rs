//! What can go wrong with the store, told so that an admin can act on it.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `what` was being done with `path` when the operating system refused.
    #[error("{what} {}: {}", path.display(), reason(source))]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// The file is there but is not what it should be.
    #[error("{} is damaged: {reason}", path.display())]
    Garbage { path: PathBuf, reason: String },
    /// The text cannot name a folder or a file of the store.
    #[error("'{}' cannot name anything in the store", .0.escape_debug())]
    Name(String),
    #[error(
        "{} is damaged: {reason}. It holds the key that opens every ACME account and every renewed certificate's \
         private key, so it is not replaced by itself: restore this file from a backup of this store. If there is \
         none, move the whole store folder away and start again; accounts and certificates are then made anew",
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
}

/// Without "(os error 13)": the log adds the number itself.
fn reason(source: &io::Error) -> String {
    let text = source.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}
