// SPDX-License-Identifier: Apache-2.0
//! The clocks of an httpd and its children: the boot-time clock jumps ahead when a test says so, as it does when a
//! machine was suspended, and the wall clock is wrong when it says so. By a library preloaded into httpd (`clocks.c`).

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Config, Lab, preload};

pub struct Clocks {
    library: PathBuf,
    ahead: PathBuf,
}

impl Clocks {
    /// They are right at first.
    pub fn build(lab: &Lab, name: &str) -> Clocks {
        let library = preload::library(lab, "clocks.c", &format!("{name}.so"));
        let clocks = Clocks { library, ahead: lab.path(format!("{name}.ahead")) };
        fs::write(&clocks.ahead, [0; 16]).unwrap();
        clocks
    }

    #[must_use]
    pub fn of(&self, config: Config) -> Config {
        let text = |path: &PathBuf| path.display().to_string();
        config.env("LD_PRELOAD", &text(&self.library)).env("CLOCKS", &text(&self.ahead))
    }

    /// The boot-time clock is ahead by so much from now on.
    pub fn jump(&self, ahead: Duration) {
        self.write(0, i64::try_from(ahead.as_secs()).unwrap());
    }

    /// The wall clock is ahead by this number of seconds from now on.
    pub fn step(&self, ahead: i64) {
        self.write(8, ahead);
    }

    /// In place: processes have mapped the file.
    fn write(&self, at: u64, ahead: i64) {
        let file = fs::File::options().write(true).open(&self.ahead).unwrap();
        file.write_all_at(&ahead.to_ne_bytes(), at).unwrap();
    }
}
