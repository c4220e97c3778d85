//! A running job: its state in memory and the job.json behind it. Every step worth keeping is saved, as
//! the process may die at any moment and another goes on from what is on disk. Of what is only to be
//! shown (progress) nothing waits for the disk: a power failure may take it, and begin the job's count of
//! errors anew. Orders, keys and chains lie in files of their own.

use super::error::Error;
use super::staging::Staging;
use crate::model::job::{Job, Outcome};
use crate::store::WorkStore;
use crate::time::Clock;

pub struct Running<'a> {
    pub job: Job,
    store: &'a WorkStore,
    /// The same store, for what is only shown.
    progress: WorkStore,
    clock: &'a dyn Clock,
}

impl<'a> Running<'a> {
    /// Takes up the job of `name` where its file left it. Garbage is reported and begun anew.
    pub fn load(name: &str, store: &'a WorkStore, clock: &'a dyn Clock) -> Self {
        let job = Staging::new(store, name).job().unwrap_or_else(|error| {
            crate::log!(Warn, "{name}: the state of its renewal cannot be read and is begun anew: {error}");
            None
        });
        Running { job: job.unwrap_or_else(|| Job::new(name)), store, progress: store.unsynced(), clock }
    }

    /// Says what is being done from now on.
    pub fn step(&mut self, activity: impl Into<String>) -> Result<(), Error> {
        let activity = activity.into();
        crate::log!(Debug, "md[{}] while[{activity}]", self.job.name);
        self.job.note(self.clock.now(), "progress", None, Some(activity.clone()));
        self.job.last = Outcome { activity: Some(activity), ..Outcome::default() };
        self.show()
    }

    /// Adds a remark about the step under way.
    pub fn remark(&mut self, detail: &str) -> Result<(), Error> {
        let activity = self.job.last.activity.as_deref().unwrap_or_default();
        let text = format!("{activity}: {detail}");
        crate::log!(Debug, "md[{}] while[{activity}] detail[{detail}]", self.job.name);
        self.job.note(self.clock.now(), "progress", None, Some(text));
        self.show()
    }

    fn show(&self) -> Result<(), Error> {
        Ok(Staging::new(&self.progress, &self.job.name).save_job(&self.job)?)
    }

    pub fn save(&self) -> Result<(), Error> {
        Ok(Staging::new(self.store, &self.job.name).save_job(&self.job)?)
    }
}
