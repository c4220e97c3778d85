// SPDX-License-Identifier: Apache-2.0
//! The store's own key in memory. It never gets into a log or a file from here.

use std::sync::Arc;

/// Memory that holds a secret and wipes it before it is given back.
pub type Secret = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// The pass phrase of every private key in `accounts` and `staging`: once in memory, however many refer to
/// it. Has no `Debug`, so that it cannot slip into a log.
#[derive(Clone)]
pub struct StoreKey(Secret);

impl StoreKey {
    pub(super) fn new(secret: Secret) -> Self {
        StoreKey(secret)
    }

    /// Fits nothing.
    pub(super) fn none() -> Self {
        StoreKey(Arc::new(Vec::new()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref().as_ref()
    }

    /// The same in other memory.
    pub(super) fn moved(&self, place: impl FnOnce(&[u8]) -> Secret) -> Self {
        StoreKey(place(self.bytes()))
    }
}
