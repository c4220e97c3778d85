// SPDX-License-Identifier: Apache-2.0
//! The boot-time clock of an httpd and its children, which jumps ahead when a test says so, as it does when a
//! machine was suspended: by a library preloaded into httpd (`boot_clock.c`).

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use super::{Config, Lab, root};

pub struct BootClock {
    library: PathBuf,
    ahead: PathBuf,
}

impl BootClock {
    /// It is right until it jumps.
    pub fn build(lab: &Lab, name: &str) -> BootClock {
        let source = root().join("tests/support/boot_clock.c");
        let library = lab.path(format!("{name}.so"));
        let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
        let output = Command::new(compiler)
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .expect("a C compiler, which Rust has for a linker");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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
