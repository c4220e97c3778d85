// SPDX-License-Identifier: Apache-2.0
//! A renewal whose state cannot be written to the store (a full disk, a folder of another owner). The
//! renewing process continues with the state in memory, and all processes know the number of failures,
//! because the state in the store is outdated.

use crate::counters::Counters;
use crate::model::Job;
use crate::model::job::status;
use crate::store::Error;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of one managed domain. The default shares nothing with other processes.
#[derive(Clone, Default)]
pub struct SaveError {
    shared: Option<(Arc<dyn Counters>, usize)>,
    /// Hardly ever there, and large.
    job: Arc<Mutex<Option<Box<Job>>>>,
}

/// The part of it that all processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why it could not be written the last time, as an `apr_status_t`.
    pub status: i32,
    /// How often the renewal has failed in a row.
    pub errors: u32,
}

impl SaveError {
    /// How many counters each managed domain needs.
    pub const SIZE: usize = 1;

    /// The managed domain of this index, in counters that all processes share.
    pub fn new(counters: Arc<dyn Counters>, index: usize) -> Self {
        SaveError { shared: Some((counters, index * SaveError::SIZE)), job: Arc::default() }
    }

    /// Notes whether `job` could be written.
    pub fn note(&self, job: &Job, outcome: &Result<(), Error>) {
        let value = outcome.as_ref().err().map_or(0, |error| error.os_error().unwrap_or(status::GENERAL));
        let Some(counter) = self.counter() else { return };
        let loss = u32::try_from(value).ok().filter(|status| *status != 0);
        // Both in one word, so that no reader gets one of an earlier failure. Relaxed: the word says all.
        let word = loss.map_or(0, |status| u64::from(status) << 32 | u64::from(job.errors));
        counter.store(word, Ordering::Relaxed);
    }

    fn counter(&self) -> Option<&AtomicU64> {
        let (all, index) = self.shared.as_ref()?;
        all.counter(*index)
    }

    /// `None`: the last time it could be written.
    pub fn loss(&self) -> Option<Loss> {
        let word = self.counter()?.load(Ordering::Relaxed);
        let status = i32::try_from(word >> 32).ok().filter(|status| *status != 0)?;
        Some(Loss { status, errors: u32::try_from(word & u64::from(u32::MAX)).unwrap_or(u32::MAX) })
    }

    /// Keeps a job that could not be written, for the next check by this process.
    pub fn keep(&self, job: Option<Job>) {
        *self.kept() = job.map(Box::new);
    }

    /// The job that the last check by this process could not write.
    pub fn take(&self) -> Option<Job> {
        self.kept().take().map(|job| *job)
    }

    /// Whether there is anything of the kind.
    pub fn is_kept(&self) -> bool {
        self.kept().is_some()
    }

    fn kept(&self) -> MutexGuard<'_, Option<Box<Job>>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for SaveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SaveError").field(&self.loss()).finish()
    }
}
