// SPDX-License-Identifier: Apache-2.0
//! Starts a program as another user: for a process of root that does the work of httpd's children, whose
//! commands have the rights of httpd's `User`. The program gets that user's group and no others. posix_spawn(3)
//! cannot change the user, so this is by `std`, which resets the signal mask and SIGPIPE as well. A process of
//! httpd never comes here.

use super::environment::Environment;
use super::spawn::inherited;
use rustix::process::Pid;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// User and group.
type User = (u32, u32);

static USER: OnceLock<User> = OnceLock::new();

/// Has all commands of this process run as that user, from now on. The first call counts.
pub fn run_as(uid: u32, gid: u32) {
    let _ = USER.set((uid, gid));
}

pub(super) fn wanted() -> Option<User> {
    USER.get().copied()
}

/// Starts `words` as leader of a process group of its own. `output`: its stdout and stderr.
pub(super) fn spawn(
    (uid, gid): User,
    words: &[&str],
    environment: &Environment,
    output: [BorrowedFd<'_>; 2],
) -> io::Result<Pid> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let inherited = inherited(environment);
    let entries = inherited.iter().map(CString::as_c_str).chain(environment.entries());
    let [stdout, stderr] = output;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(entries.filter_map(variable))
        .stdin(Stdio::null())
        .stdout(stdout.try_clone_to_owned()?)
        .stderr(stderr.try_clone_to_owned()?)
        .process_group(0)
        .gid(gid)
        .uid(uid)
        .spawn()?;
    // It is waited for by its number.
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn variable(entry: &CStr) -> Option<(&OsStr, &OsStr)> {
    let entry = entry.to_bytes();
    let (name, value) = entry.split_at_checked(entry.iter().position(|byte| *byte == b'=')?)?;
    Some((OsStr::from_bytes(name), OsStr::from_bytes(value.get(1..)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::output::Output;
    use rustix::process::{WaitOptions, getuid, waitpid};

    #[test]
    fn a_command_has_the_rights_of_the_other_user_and_the_same_environment() {
        if !getuid().is_root() {
            return;
        }
        let mut environment = Environment::default();
        environment.set("MD_TEST_B", "x=y").unwrap();
        let mut output = [Output::new(4096).unwrap(), Output::new(4096).unwrap()];
        let words = ["/bin/sh", "-c", "id -u; id -g; id -G; echo $MD_TEST_B"];
        let pid = spawn((1, 2), &words, &environment, output.each_ref().map(Output::writer)).unwrap();
        waitpid(Some(pid), WaitOptions::empty()).unwrap();
        output.iter_mut().for_each(Output::read);
        assert_eq!(output.map(Output::close).concat(), b"1\n2\n2\nx=y\n");
    }
}
