// SPDX-License-Identifier: Apache-2.0
//! The boot-time clock of an httpd and its children, which jumps ahead when a test says so, as it does when a
//! machine was suspended: by a library preloaded into httpd (`boot_clock.c`).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{Config, Lab, preload};

pub struct BootClock {
    library: PathBuf,
    ahead: PathBuf,
}

impl BootClock {
    /// It is right until it jumps.
    pub fn build(lab: &Lab, name: &str) -> BootClock {
        let library = preload::library(lab, "boot_clock.c", &format!("{name}.so"));
        let clock = BootClock { library, ahead: lab.path(format!("{name}.ahead")) };
        fs::write(&clock.ahead, [0; 8]).unwrap();
        clock
    }

    #[must_use]
    pub fn of(&self, config: Config) -> Config {
        let text = |path: &PathBuf| path.display().to_string();
        config.env("LD_PRELOAD", &text(&self.library)).env("BOOT_CLOCK", &text(&self.ahead))
    }

    /// It is ahead by so much from now on. Written in place: processes have mapped the file.
    pub fn jump(&self, ahead: Duration) {
        use std::os::unix::fs::FileExt;
        let file = fs::File::options().write(true).open(&self.ahead).unwrap();
        file.write_all_at(&ahead.as_secs().to_ne_bytes(), 0).unwrap();
    }
}
