// SPDX-License-Identifier: Apache-2.0
//! Starts a program that inherits only the environment, the working directory and the umask of this process,
//! with the variables it is given beside.
//!
//! httpd blocks signals in its threads and ignores some, and it holds descriptors from its own start and from
//! its modules. A program that inherits these cannot be ended, holds locks and sockets of others, and passes
//! all of it on to its own children. posix_spawn(3) resets them between fork and exec.

use super::environment::Environment;
use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::SigSet;
use rustix::fs::{Dir, Mode, OFlags, open};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Pid, Resource, getrlimit};
use std::env;
use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Variables that httpd's environment may have, and that scripts could take for a message of ours.
const KEPT_FROM_COMMANDS: [&str; 2] = ["MD_VERSION", "MD_STORE"];

/// Descriptors that other threads may open between our look and the fork.
const MARGIN: RawFd = 256;
/// Where the system does not list the open descriptors.
const UNLISTED: RawFd = 4096;

/// Starts `words`, a program and its arguments, as leader of a process group of its own. `output`: its stdout
/// and stderr, none of which is one of the descriptors 0 to 2.
pub(super) fn spawn(
    words: &[&str],
    environment: &Environment,
    output: [BorrowedFd<'_>; 2],
) -> io::Result<Pid> {
    let words = words.iter().map(|word| CString::new(*word)).collect::<Result<Vec<_>, _>>()?;
    let program = words.first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut files = PosixSpawnFileActions::init()?;
    let nothing = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let nothing = fcntl_dupfd_cloexec(nothing, 3)?;
    for (number, end) in (0..).zip([nothing.as_fd(), output[0], output[1]]) {
        files.add_dup2(end.as_raw_fd(), number)?;
    }
    for number in others() {
        files.add_close(number)?;
    }
    let mut state = PosixSpawnAttr::init()?;
    state.set_sigmask(&SigSet::empty())?;
    state.set_sigdefault(&SigSet::all())?;
    state.set_pgroup(nix::unistd::Pid::from_raw(0))?;
    state.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETPGROUP,
    )?;
    let inherited = inherited(environment);
    let entries: Vec<&CStr> = inherited.iter().map(CString::as_c_str).chain(environment.entries()).collect();
    let pid = posix_spawnp(program, &files, &state, &words, &entries)?;
    Pid::from_raw(pid.as_raw()).ok_or_else(|| Errno::ESRCH.into())
}

/// The variables of this process that none of `own` replaces.
pub(super) fn inherited(own: &Environment) -> Vec<CString> {
    let is_ours = |name: &OsString| KEPT_FROM_COMMANDS.iter().any(|own| name == own);
    let kept = env::vars_os().filter(|(name, _)| !is_ours(name) && !own.has(name.as_bytes()));
    let entries = kept.filter_map(|(mut entry, value): (OsString, OsString)| {
        entry.push("=");
        entry.push(value);
        CString::new(entry.into_vec()).ok()
    });
    entries.collect()
}

/// All open descriptors from 3 on, and those that other threads may open before the fork: these have the
/// lowest free numbers.
fn others() -> Vec<RawFd> {
    let open = descriptors();
    let low = open.as_ref().map_or(UNLISTED, |open| RawFd::try_from(open.len()).unwrap_or(RawFd::MAX));
    let low = low.saturating_add(MARGIN);
    let high = open.into_iter().flatten().filter(|number| *number >= low);
    // posix_spawn refuses descriptors above the limit.
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| RawFd::try_from(limit).ok());
    (3..low).chain(high).filter(|number| limit.is_none_or(|limit| *number < limit)).collect()
}

fn descriptors() -> Option<Vec<RawFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder =
        open("/proc/self/fd", flags, Mode::empty()).or_else(|_| open("/dev/fd", flags, Mode::empty()));
    let entries = Dir::new(folder.ok()?).ok()?;
    Some(entries.filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok()).collect())
}
