// SPDX-License-Identifier: Apache-2.0
//! Why a hook has not set up or removed a record, in words that name the hook, say how it failed and what an
//! admin runs to see it. Never has a secret in it.

use crate::exec;
use crate::http;
use crate::model::dns01::{FileFault, HookKind, SecretFile};

/// A record was not set up or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("hook:{kind}: {source} ({by_hand})")]
    Command { kind: &'static str, source: exec::Error, by_hand: String },
    #[error("hook:httpreq: {url} cannot be reached: {source} ({by_hand})")]
    Unreached { url: String, source: http::Error, by_hand: String },
    #[error("hook:httpreq: {url} answered with status {status}{text} ({by_hand})")]
    Refused { url: String, status: u16, text: String, by_hand: String },
    #[error("hook:{kind}: {reason}")]
    Unusable { kind: &'static str, reason: String, remedy: String },
}

impl Error {
    /// The process is stopping, which is no failure of the hook.
    pub fn is_stopped(&self) -> bool {
        matches!(
            self,
            Error::Command { source: exec::Error::Stopped { .. }, .. }
                | Error::Unreached { source: http::Error::Stopped, .. }
        )
    }

    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Error::Command { source: exec::Error::TimedOut { .. }, .. }
                | Error::Unreached { source: http::Error::Timeout, .. }
        )
    }

    /// Whole sentences.
    pub fn advice(&self) -> String {
        match self {
            Error::Unusable { remedy, .. } => format!("{remedy}."),
            _ => "Call the hook by hand as the reason says and fix what it reports; its output is in the error log with \
                  'LogLevel md:debug'."
                .into(),
        }
    }

    /// It cannot be called as it is configured.
    pub fn unusable(kind: HookKind, reason: impl Into<String>, remedy: &str) -> Self {
        Error::Unusable { kind: kind.word(), reason: reason.into(), remedy: remedy.into() }
    }

    /// A file of it is of no use.
    pub fn of_file(kind: HookKind, fault: FileFault) -> Self {
        Error::unusable(kind, fault.what, &fault.remedy)
    }

    /// The hook was not called, so there is no record to remove.
    pub fn has_not_begun(&self) -> bool {
        matches!(
            self,
            Error::Command { source: exec::Error::Empty | exec::Error::Start { .. }, .. }
                | Error::Unreached {
                    source: http::Error::Refused | http::Error::Dns(_) | http::Error::Invalid(_),
                    ..
                }
                | Error::Unusable { .. }
        )
    }
}

/// What an admin does to see it fail.
pub fn by_hand(env: Option<&SecretFile>, line: &str) -> String {
    let with = env.map(|file| format!(" with the variables of {}", file.path)).unwrap_or_default();
    format!("by hand, as httpd's User{with}: {line}")
}
