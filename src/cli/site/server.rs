// SPDX-License-Identifier: Apache-2.0
//! Whether an httpd runs of which the store says nothing: one with the module of mod_md 2.x, or one that renews
//! nothing. Its configuration names the file with its process id. Such a process answers challenges from the
//! store, and reads no requests. Asks httpd's control program, so call it only where the store tells of none.

use super::{Control, Site};
use crate::cli::console::call::Call;
use crate::store::read_admin_file;
use rustix::process::{Pid, test_kill_process};

/// Longer is no process id.
const PID_MAX: usize = 20;

/// The process id of the httpd that runs by the configuration, as far as that is the one of this store.
pub fn pid(call: &Call, site: &Site) -> Option<u32> {
    let control = Control::of(call);
    // Ours says which store it has: another one, where the site could not take over its configuration.
    if site.configuration.is_none() && control.configuration(call).ok()?.is_some() {
        return None;
    }
    let file = control.pid_file(call).ok()??;
    pid_in(&read_admin_file(&file).ok()?).filter(|pid| is_alive(*pid))
}

/// Says it of a process, and what follows from that.
pub fn deaf(pid: u32) -> String {
    format!(
        "the httpd that runs (process {pid}) reads no requests: it has the module of mod_md 2.x, or no child that renews"
    )
}

fn pid_in(content: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(content).ok().filter(|text| text.len() <= PID_MAX)?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    // One of another user is there, too.
    !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_id_is_a_number_of_a_process_that_is_there() {
        for (content, expected) in [
            (&b"17\n"[..], Some(17)),
            (b"0", None),
            (b"-1", None),
            (b"", None),
            (b"x", None),
            (b"\xff", None),
        ] {
            assert_eq!(pid_in(content), expected, "{content:?}");
        }
        assert!(
            is_alive(std::process::id()) && is_alive(1) && !is_alive(u32::MAX) && !is_alive(i32::MAX as u32)
        );
    }
}
