//! Whether the state of a renewal got to the disk, as all processes know it: where it did not, what pages show of the
//! renewal is old, and who looks at them has to know that.

use super::tally::Counters;
use crate::model::job::status;
use crate::store::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Of one managed domain. The default knows of no trouble, and notes none.
#[derive(Clone, Default)]
pub struct Unsaved(Option<(Arc<dyn Counters>, usize)>);

impl Unsaved {
    /// Noted in this one of the counters, which all processes share.
    pub fn new(counters: Arc<dyn Counters>, index: usize) -> Self {
        Unsaved(Some((counters, index)))
    }

    pub fn note(&self, outcome: &Result<(), Error>) {
        let value = outcome.as_ref().err().map_or(0, |error| error.os_error().unwrap_or(status::GENERAL));
        if let Some(counter) = self.0.as_ref().and_then(|(counters, index)| counters.counter(*index)) {
            counter.store(u64::try_from(value).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Why it could not be written the last time, as an `apr_status_t`; `None`: it was.
    pub fn status(&self) -> Option<i32> {
        let (counters, index) = self.0.as_ref()?;
        let value = counters.counter(*index)?.load(Ordering::Relaxed);
        i32::try_from(value).ok().filter(|status| *status != 0)
    }
}

impl std::fmt::Debug for Unsaved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Unsaved").field(&self.status()).finish()
    }
}
