//! A running job: its state in memory and the job.json behind it. Every step worth keeping is saved, as
//! the process may die at any moment and another goes on from what is on disk.

use super::error::Error;
use super::staging::Staging;
use crate::model::job::{Job, Outcome};
use crate::store::WorkStore;
use crate::time::Clock;

pub struct Running<'a> {
    pub job: Job,
    store: &'a WorkStore,
    clock: &'a dyn Clock,
}

impl<'a> Running<'a> {
    /// Takes up the job of `name` where its file left it. Garbage is reported and begun anew.
    pub fn load(name: &str, store: &'a WorkStore, clock: &'a dyn Clock) -> Self {
        let job = Staging::new(store, name).job().unwrap_or_else(|error| {
            crate::log!(Warn, "{name}: the state of its renewal cannot be read and is begun anew: {error}");
            None
        });
        Running { job: job.unwrap_or_else(|| Job::new(name)), store, clock }
    }

    /// Says what is being done from now on.
    pub fn step(&mut self, activity: impl Into<String>) -> Result<(), Error> {
        let activity = activity.into();
        crate::log!(Debug, "md[{}] while[{activity}]", self.job.name);
        self.job.note(self.clock.now(), "progress", None, Some(activity.clone()));
        self.job.last = Outcome { activity: Some(activity), ..Outcome::default() };
        self.save()
    }

    /// Adds a remark about the step under way.
    pub fn remark(&mut self, detail: &str) -> Result<(), Error> {
        let activity = self.job.last.activity.as_deref().unwrap_or_default();
        let text = format!("{activity}: {detail}");
        crate::log!(Debug, "md[{}] while[{activity}] detail[{detail}]", self.job.name);
        self.job.note(self.clock.now(), "progress", None, Some(text));
        self.save()
    }

    pub fn save(&self) -> Result<(), Error> {
        Ok(Staging::new(self.store, &self.job.name).save_job(&self.job)?)
    }
}
