// SPDX-License-Identifier: Apache-2.0
//! Where files are in the store, who may read them, and which names may be part of a path: the only place
//! that decides this. Refuses every name that would leave its group's folder.

use super::Error;
use crate::names;

/// The folders below the store's own. Each but `tmp` holds one folder per name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Accounts,
    Challenges,
    Domains,
    Archive,
    Staging,
    Ocsp,
    Tmp,
}

/// The groups in which workers write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkGroup {
    Challenges,
    Staging,
    Ocsp,
}

impl From<WorkGroup> for Group {
    fn from(group: WorkGroup) -> Self {
        match group {
            WorkGroup::Challenges => Group::Challenges,
            WorkGroup::Staging => Group::Staging,
            WorkGroup::Ocsp => Group::Ocsp,
        }
    }
}

impl Group {
    pub const ALL: [Group; 7] = [
        Group::Accounts,
        Group::Challenges,
        Group::Domains,
        Group::Archive,
        Group::Staging,
        Group::Ocsp,
        Group::Tmp,
    ];

    pub fn dir_name(self) -> &'static str {
        match self {
            Group::Accounts => "accounts",
            Group::Challenges => "challenges",
            Group::Domains => "domains",
            Group::Archive => "archive",
            Group::Staging => "staging",
            Group::Ocsp => "ocsp",
            Group::Tmp => "tmp",
        }
    }

    /// Workers own it and its files: a start must not trust them.
    pub(super) fn is_of_workers(self) -> bool {
        matches!(self, Group::Challenges | Group::Staging | Group::Ocsp)
    }

    /// Only the user that starts httpd may look into it.
    pub(super) fn is_private(self) -> bool {
        matches!(self, Group::Domains | Group::Archive | Group::Tmp)
    }

    pub(super) fn dir_mode(self) -> u32 {
        if self.is_private() { 0o700 } else { 0o755 }
    }

    pub(super) fn file_mode(self) -> u32 {
        if self.is_private() { 0o600 } else { 0o644 }
    }

    /// Whether private keys stand encrypted here. Those of challenges are worth nothing to a thief.
    pub(super) fn encrypts_keys(self) -> bool {
        matches!(self, Group::Accounts | Group::Staging)
    }

    /// The folder that `name` has here, or why it can have none.
    pub(super) fn folder_name(self, name: &str) -> Result<String, Error> {
        let refused = || Error::Name(name.to_string());
        match self {
            Group::Accounts if is_account_folder(name) => Ok(name.to_string()),
            Group::Accounts => Err(refused()),
            Group::Archive => {
                let (domain, number) = name.rsplit_once('.').ok_or_else(refused)?;
                number.parse::<u32>().map_err(|_| refused())?;
                Ok(format!("{}.{number}", names::normalize(domain).map_err(|_| refused())?))
            }
            _ => names::normalize(name).map_err(|_| refused()),
        }
    }
}

/// The folders with one file for each name, which root or the store's owner writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flat {
    /// What an operator asks of the running httpd.
    Requests,
    /// The sets that are not to be used any more.
    Withdrawn,
}

impl Flat {
    pub(super) const DIR_MODE: u32 = 0o755;
    pub(super) const FILE_MODE: u32 = 0o644;
    pub(super) const ALL: [Flat; 2] = [Flat::Requests, Flat::Withdrawn];

    pub(super) fn dir_name(self) -> &'static str {
        match self {
            Flat::Requests => "requests",
            Flat::Withdrawn => "withdrawn",
        }
    }
}

/// `ACME-<ca host>-NNNN`, with any form of a CA's host.
fn is_account_folder(name: &str) -> bool {
    name.len() <= 255 && is_plain(name, b"-_.:[]")
}

/// Checks the name of a file: our own fixed names, with a curve's name from the configuration in them.
pub(super) fn file_name(name: &str) -> Result<&str, Error> {
    let is_good = name.len() <= 200 && is_plain(name, b"-_.");
    is_good.then_some(name).ok_or_else(|| Error::Name(name.to_string()))
}

/// Begins with a letter or digit and continues with these or `others`.
fn is_plain(name: &str, others: &[u8]) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || others.contains(&b);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(allowed) && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_the_folder_of_its_group() {
        let long = "a".repeat(300);
        for bad in ["", ".", "..", "../x", "a/b", "/etc", "a\0b", "a..b", "*", "-/..", "a b", &long] {
            for group in Group::ALL {
                assert!(group.folder_name(bad).is_err(), "{group:?} {bad:?}");
            }
            assert!(file_name(bad).is_err(), "{bad:?}");
        }
        assert!(Group::Archive.folder_name("a.test.x").is_err());
        assert!(Group::Archive.folder_name("../a.1").is_err());
        assert!(file_name(".hidden").is_err());
    }

    #[test]
    fn names_as_the_c_module_writes_them_pass() {
        assert_eq!(Group::Domains.folder_name("*.A.test").unwrap(), "*.a.test");
        assert_eq!(Group::Archive.folder_name("a.test.12").unwrap(), "a.test.12");
        assert_eq!(Group::Archive.folder_name("::1.2").unwrap(), "::1.2");
        assert_eq!(Group::Ocsp.folder_name("other").unwrap(), "other");
        assert_eq!(Group::Accounts.folder_name("ACME-127.0.0.1-0000").unwrap(), "ACME-127.0.0.1-0000");
        assert_eq!(file_name("acme-tls-alpn-01-privkey.p-256.pem").unwrap().len(), 34);
    }
}
