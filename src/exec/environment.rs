// SPDX-License-Identifier: Apache-2.0
//! Variables for the environment of one command. They may be secrets: memory that held one is wiped, and a
//! log never gets the value. Refuses what execve(2) cannot pass on.

use std::ffi::CStr;
use std::fmt;
use zeroize::Zeroizing;

/// What a command finds in its environment beside the variables of this process, in whose place they come
/// where the names are the same.
#[derive(Clone, Default)]
pub struct Environment(Vec<(String, Zeroizing<Vec<u8>>)>);

/// The name or the value of a variable cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no variable of an environment")]
pub struct Unfit;

impl Environment {
    /// The latest value of a name is the one that counts.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Unfit> {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(Unfit);
        }
        // Growing leaves copies.
        let mut entry = Zeroizing::new(Vec::with_capacity(name.len() + value.len() + 2));
        for part in [name, "=", value, "\0"] {
            entry.extend_from_slice(part.as_bytes());
        }
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_string(), entry));
        Ok(())
    }

    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.0.iter().any(|(known, _)| known.as_bytes() == name)
    }

    /// `NAME=VALUE`.
    pub(super) fn entries(&self) -> impl Iterator<Item = &CStr> {
        self.0.iter().filter_map(|(_, entry)| CStr::from_bytes_with_nul(entry).ok())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, _)| (name, "***"))).finish()
    }
}
