// SPDX-License-Identifier: Apache-2.0
//! The first step of a start, for tests of the others. The store they work on is
//! [`Lab`](crate::managed::fixture::Lab).

use super::reconcile;
use super::reconcile::SyncedMd;
use crate::model::Md;
use crate::store::{Error, StartStore};

/// [`reconcile::sync`] where hosts have no names but those of their MDs.
pub fn sync(store: &StartStore, configured: &[Md]) -> Result<Vec<SyncedMd>, Error> {
    reconcile::sync(store, configured, &|_| Vec::new())
}

/// [`reconcile::look`] likewise.
pub fn look(store: &StartStore, configured: &[Md]) -> Result<Vec<SyncedMd>, Error> {
    reconcile::look(store, configured, &|_| Vec::new())
}
