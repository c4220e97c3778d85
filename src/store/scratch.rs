// SPDX-License-Identifier: Apache-2.0
//! An empty store of a program that only looks at what it would do, in a folder of its own among temporary
//! files. Imports nothing but the store.

use super::{Error, StartStore};
use crate::crypto;
use data_encoding::HEXLOWER;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// Removes the folder when it is dropped.
pub struct Scratch(PathBuf);

impl StartStore {
    /// Makes an empty store that lasts as long as what is returned with it.
    pub fn open_scratch() -> Result<(Self, Scratch), Error> {
        let folder = std::env::temp_dir();
        let random =
            crypto::random::<8>().map_err(|source| Error::Crypto { path: folder.clone(), source })?;
        let dir = folder.join(format!("a2md-{}", HEXLOWER.encode(&random)));
        // Nobody else has made it: that would be an error.
        DirBuilder::new().mode(0o700).create(&dir).map_err(|error| Error::io("cannot make", &dir, error))?;
        let scratch = Scratch(dir);
        let store = StartStore::open(&scratch.0.join("md"), None)?;
        Ok((store, scratch))
    }
}

impl Drop for Scratch {
    /// What stays holds nothing of anybody.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Group;

    #[test]
    fn it_is_empty_and_goes_with_its_guard() {
        let (store, scratch) = StartStore::open_scratch().unwrap();
        let dir = scratch.0.clone();
        assert!(store.names(Group::Domains).unwrap().is_empty() && dir.join("md/domains").is_dir());
        drop(scratch);
        assert!(!dir.exists());
    }
}
