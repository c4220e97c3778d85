// SPDX-License-Identifier: Apache-2.0
//! Runs commands of the admin without a shell, with an empty stdin and a time limit. Writes their output to
//! the log at debug.

mod environment;
mod other_user;
mod output;
mod signals;
mod spawn;

pub use environment::Environment;
pub use other_user::run_as;
pub use signals::stop_on_signals;

use crate::log::plain;
use crate::time::Clock;
use output::Output;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, waitpid};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// After this long a command is killed and counts as failed.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// How much of the output of a command is kept for the log.
const KEPT: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the command line is empty")]
    Empty,
    #[error("'{program}' cannot be run: {}", plain(.source))]
    Start { program: String, source: std::io::Error },
    #[error("how '{program}' has ended is not known: {}", plain(.source))]
    Wait { program: String, source: std::io::Error },
    #[error("'{program}' failed with exit code {status}")]
    Failed { program: String, status: i32 },
    #[error("'{program}' did not end within {} and was killed", seconds(.limit))]
    TimedOut { program: String, limit: Duration },
    #[error("'{program}' was ended, or not begun, because the server process is stopping")]
    Stopped { program: String },
    /// No error of the command: its exit status is unknown.
    #[error("'{program}' goes on without the server process, which is stopping")]
    Left { program: String },
}

fn seconds(limit: &Duration) -> String {
    crate::log::counted(usize::try_from(limit.as_secs()).unwrap_or(usize::MAX), "second")
}

/// Splits a command line into words as httpd does: blanks separate, quotes hold together, a backslash
/// takes the next quote or backslash as it is.
pub fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek().is_some_and(|n| matches!(n, '"' | '\'' | '\\')) => {
                word.get_or_insert_default().extend(chars.next());
            }
            c if Some(c) == quote => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            c if quote.is_none() && c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Runs `line` with `arguments` appended and waits for its end, at most `limit`. Success is exit status 0.
/// Processes that the command left running cost this process nothing: no thread, no pipe.
pub fn run(line: &str, arguments: &[&str], limit: Duration, clock: &dyn Clock) -> Result<(), Error> {
    run_in(&Environment::default(), line, arguments, limit, clock).map(drop)
}

/// The same with more variables in the command's environment. Returns what it has printed on stdout, at most
/// the first 4 KiB.
pub fn run_in(
    environment: &Environment,
    line: &str,
    arguments: &[&str],
    limit: Duration,
    clock: &dyn Clock,
) -> Result<String, Error> {
    if clock.is_stopped() {
        let program = split(line).into_iter().next().ok_or(Error::Empty)?;
        return Err(Error::Stopped { program });
    }
    execute(environment, line, arguments, limit, clock, |program| Error::Stopped { program })
}

/// Like [`run`], for a command that goes on by itself where this process ends before it: [`Error::Left`]. It is
/// begun in any case: that it is has been noted.
pub fn run_or_leave(line: &str, arguments: &[&str], limit: Duration, clock: &dyn Clock) -> Result<(), Error> {
    let environment = Environment::default();
    execute(&environment, line, arguments, limit, clock, |program| Error::Left { program }).map(drop)
}

fn execute(
    environment: &Environment,
    line: &str,
    arguments: &[&str],
    limit: Duration,
    clock: &dyn Clock,
    stopped: fn(String) -> Error,
) -> Result<String, Error> {
    let words = split(line);
    let program = words.first().ok_or(Error::Empty)?;
    let words: Vec<&str> = words.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
    let (printed, outcome) = watch(environment, &words, KEPT, limit, clock, stopped)?;
    let lines =
        |kept: Vec<u8>| -> Vec<String> { String::from_utf8_lossy(&kept).lines().map(String::from).collect() };
    let printed = printed.map(lines);
    for line in printed.iter().flatten() {
        crate::log!(Debug, "{program}: {line}");
    }
    let [stdout, _] = printed;
    outcome.map(|()| stdout.join("\n"))
}

/// The output of a command, and its exit status.
pub struct Printed {
    pub status: i32,
    pub stdout: Vec<u8>,
    /// The beginning of it.
    pub stderr: String,
}

/// Runs a command for what it prints, however it ends: at most the first `room` bytes. None of it is logged.
pub fn ask(
    line: &str,
    arguments: &[&str],
    room: usize,
    limit: Duration,
    clock: &dyn Clock,
) -> Result<Printed, Error> {
    let words = split(line);
    let words: Vec<&str> = words.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
    let stopped = |program| Error::Stopped { program };
    let (printed, outcome) = watch(&Environment::default(), &words, room, limit, clock, stopped)?;
    let status = match outcome {
        Ok(()) => 0,
        Err(Error::Failed { status, .. }) => status,
        Err(error) => return Err(error),
    };
    let [stdout, stderr] = printed;
    let stderr = String::from_utf8_lossy(stderr.get(..KEPT).unwrap_or(&stderr)).into_owned();
    Ok(Printed { status, stdout, stderr })
}

/// What a command has printed on stdout and stderr, and how it ended.
type Watched = ([Vec<u8>; 2], Result<(), Error>);

/// Starts a command and waits for its end.
fn watch(
    environment: &Environment,
    words: &[&str],
    room: usize,
    limit: Duration,
    clock: &dyn Clock,
    stopped: fn(String) -> Error,
) -> Result<Watched, Error> {
    let program = words.first().ok_or(Error::Empty)?;
    let failed = |source| Error::Start { program: (*program).to_string(), source };
    let mut output = [Output::new(room).map_err(failed)?, Output::new(room).map_err(failed)?];
    let writers = output.each_ref().map(Output::writer);
    let pid = match other_user::wanted() {
        Some(user) => other_user::spawn(user, words, environment, writers),
        None => spawn::spawn(words, environment, writers),
    };
    let pid = pid.map_err(failed)?;
    let outcome = wait(pid, &mut output, program, limit, clock, stopped);
    Ok((output.map(Output::close), outcome))
}

fn wait(
    pid: Pid,
    output: &mut [Output; 2],
    program: &str,
    limit: Duration,
    clock: &dyn Clock,
    stopped: fn(String) -> Error,
) -> Result<(), Error> {
    let program = || program.to_string();
    // The machine's time, not that of `clock`, which tests set: the command runs in real time.
    let deadline = Instant::now() + limit;
    // Ready for reading once the command has ended. Where the system has none, we look again and again.
    let end = pidfd_open(pid, PidfdFlags::empty()).ok();
    let failure = loop {
        output.iter_mut().for_each(Output::read);
        match waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) if status.exit_status() == Some(0) => return Ok(()),
            Ok(Some((_, status))) => {
                return Err(Error::Failed { program: program(), status: status.exit_status().unwrap_or(-1) });
            }
            Ok(None) | Err(Errno::INTR) => {}
            Err(source) => return Err(Error::Wait { program: program(), source: source.into() }),
        }
        if Instant::now() >= deadline {
            break Error::TimedOut { program: program(), limit };
        }
        if clock.is_stopped() {
            break stopped(program());
        }
        pause(end.as_ref(), output, deadline);
    };
    if let Error::Left { .. } = failure {
        return Err(failure);
    }
    let _ = kill_process_group(pid, Signal::KILL);
    while matches!(waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
    Err(failure)
}

/// Until there is output, or the command has ended, or it is time to look whether it must.
fn pause(end: Option<&OwnedFd>, output: &[Output; 2], deadline: Instant) {
    let longest = if end.is_some() { Duration::from_millis(100) } else { Duration::from_millis(20) };
    let left = deadline.saturating_duration_since(Instant::now()).min(longest);
    let readers = output.iter().map(|output| PollFd::from_borrowed_fd(output.reader(), PollFlags::IN));
    let mut waited_for: Vec<PollFd<'_>> =
        readers.chain(end.map(|end| PollFd::new(end, PollFlags::IN))).collect();
    let left = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
    // Interrupted or refused, it was a shorter pause.
    let _ = poll(&mut waited_for, Some(&left));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SystemClock;

    #[test]
    fn command_lines_are_split_at_blanks_outside_quotes() {
        assert_eq!(split(r#"/bin/x  a "b c" 'd "e' f\"g """#), ["/bin/x", "a", "b c", "d \"e", "f\"g", ""]);
        assert!(split("   ").is_empty());
    }

    #[test]
    fn the_exit_status_decides() {
        let clock = SystemClock::default();
        assert!(run("/bin/sh -c 'test \"$1\" = two' x", &["two"], TIME_LIMIT, &clock).is_ok());
        assert!(matches!(
            run("/bin/sh -c 'exit 3'", &[], TIME_LIMIT, &clock),
            Err(Error::Failed { status: 3, .. })
        ));
        assert!(matches!(run("/no/such/program", &[], TIME_LIMIT, &clock), Err(Error::Start { .. })));
        assert!(matches!(run("", &[], TIME_LIMIT, &clock), Err(Error::Empty)));
    }

    #[test]
    fn variables_reach_the_command_each_once_and_its_output_comes_back() {
        let mut environment = Environment::default();
        for (name, value) in [("MD_TEST_A", "old"), ("PATH", "/usr/bin:/bin"), ("MD_TEST_A", "a b=\"c\"")] {
            environment.set(name, value).unwrap();
        }
        assert!(environment.set("A=B", "x").is_err() && environment.set("", "x").is_err());
        assert!(environment.set("A", "x\0y").is_err());
        let (limit, clock) = (TIME_LIMIT, SystemClock::default());
        let printed = run_in(&environment, "/usr/bin/env", &[], limit, &clock).unwrap();
        let of = |name: &str| -> Vec<&str> {
            let lines = printed.lines().filter(|line| line.split('=').next() == Some(name));
            lines.collect()
        };
        assert_eq!(of("MD_TEST_A"), ["MD_TEST_A=a b=\"c\""]);
        assert_eq!(of("PATH"), ["PATH=/usr/bin:/bin"], "it replaces that of this process");
        assert_eq!(of("HOME").len(), usize::from(std::env::var_os("HOME").is_some()));
        assert!(!format!("{environment:?}").contains("a b"));
        let long = run_in(&environment, "/usr/bin/head", &["-c", "9000", "/dev/zero"], limit, &clock);
        assert_eq!(long.unwrap().len(), 4096);
    }

    #[test]
    fn what_a_command_prints_is_bounded_and_comes_back_however_it_ends() {
        let line = "/bin/sh -c 'head -c 100000 /dev/zero; echo no >&2; exit 3'";
        let ask = |room| ask(line, &[], room, TIME_LIMIT, &SystemClock::default()).unwrap();
        let printed = ask(1 << 20);
        assert_eq!((printed.status, printed.stdout.len(), printed.stderr.as_str()), (3, 100_000, "no\n"));
        assert_eq!(ask(50_000).stdout.len(), 50_000);
    }

    #[test]
    fn processes_that_a_command_leaves_running_hold_up_no_one() {
        let begin = std::time::Instant::now();
        let daemon = "/bin/sh -c 'sleep 30 & exit 0'";
        assert!(run(daemon, &[], TIME_LIMIT, &SystemClock::default()).is_ok());
        assert!(begin.elapsed() < Duration::from_secs(20));
    }

    /// A shell's lines as a command.
    fn shell(dir: &std::path::Path, script: &str) -> String {
        let file = dir.join("script");
        std::fs::write(&file, script).unwrap();
        format!("/bin/sh {} {}", file.display(), dir.display())
    }

    fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_command_inherits_neither_blocked_nor_ignored_signals_nor_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let script = "cat /proc/self/status > $1/status; ls -l /proc/self/fd > $1/fds";
        let line = shell(dir.path(), script);
        // Rust's own start has SIGPIPE ignored.
        let open: Vec<_> = (0..300).map(|_| std::fs::File::open("/dev/zero").unwrap()).collect();
        for file in &open {
            rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).unwrap();
        }
        nix::sys::signal::SigSet::all().thread_block().unwrap();
        run(&line, &[], TIME_LIMIT, &SystemClock::default()).unwrap();
        let status = std::fs::read_to_string(dir.path().join("status")).unwrap();
        let signals = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        assert_eq!(signals("SigBlk:"), 0, "{status}");
        // The C library keeps 32 and 33 for itself.
        assert_eq!(signals("SigIgn:") & !(0b11 << 31), 0, "{status}");
        let files = std::fs::read_to_string(dir.path().join("fds")).unwrap();
        // The shell has its script open and closes it; `ls` has the directory open that it lists.
        assert!(!files.contains("/dev/zero"), "{files}");
    }

    #[test]
    fn a_daemon_that_goes_on_printing_is_neither_ended_nor_held_up() {
        let dir = tempfile::tempdir().unwrap();
        // Some 400 kB, most of them after the end of the command, to a pipe that holds 64 kB.
        let script = "{ head -c 200000 /dev/zero; touch $1/under-way; until [ -e $1/go ]; do sleep 0.01; done
                      head -c 200000 /dev/zero 2>&1; echo $? > $1/printed; } &";
        run(&shell(dir.path(), script), &[], TIME_LIMIT, &SystemClock::default()).unwrap();
        eventually("what was begun ends", || dir.path().join("under-way").exists());
        std::fs::write(dir.path().join("go"), "").unwrap();
        let status = || std::fs::read_to_string(dir.path().join("printed")).unwrap_or_default();
        eventually("what comes later ends", || status().ends_with('\n'));
        // An error of `head`, and not 128 + SIGPIPE.
        assert_eq!(status().trim(), "1");
    }

    #[test]
    fn all_that_a_command_prints_is_taken_and_its_head_kept() {
        let mut output = Output::new(KEPT).unwrap();
        let script = ["/bin/sh", "-c", "echo first; head -c 3000000 /dev/zero; echo last >&2"];
        let mut other = Output::new(KEPT).unwrap();
        let ends = [output.writer(), other.writer()];
        let pid = spawn::spawn(&script, &Environment::default(), ends).unwrap();
        eventually("its end", || {
            output.read();
            other.read();
            waitpid(Some(pid), WaitOptions::NOHANG).unwrap().is_some()
        });
        let kept = output.close();
        assert!(kept.starts_with(b"first\n"));
        assert_eq!(kept.len(), KEPT);
        assert_eq!(other.close(), b"last\n");
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_what_it_has_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("child");
        let line = format!("/bin/sh -c 'trap \"\" TERM; sleep 600 & echo $! > {}; wait'", file.display());
        // Long enough for the shell to have started it, also on a busy machine.
        let limits = (0..7).map(|n| Duration::from_millis(500) * (1 << n));
        let child = limits
            .map(|limit| {
                assert!(matches!(
                    run(&line, &[], limit, &SystemClock::default()),
                    Err(Error::TimedOut { .. })
                ));
                std::fs::read_to_string(&file).unwrap_or_default()
            })
            .find(|child| child.ends_with('\n'))
            .unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        let is_alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        let deadline = Instant::now() + Duration::from_secs(60);
        while is_alive() {
            assert!(Instant::now() < deadline, "{stat}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        let clock = SystemClock::default();
        let hang = "/bin/sleep 600";
        assert!(matches!(run(hang, &[], Duration::from_millis(50), &clock), Err(Error::TimedOut { .. })));
        std::thread::scope(|scope| {
            let running = scope.spawn(|| run(hang, &[], TIME_LIMIT, &clock));
            clock.stop.raise();
            assert!(matches!(running.join().unwrap(), Err(Error::Stopped { .. })));
        });
    }

    #[test]
    fn a_command_that_may_outlive_the_process_goes_on_after_its_stop() {
        let dir = tempfile::tempdir().unwrap();
        let script = "touch $1/begun; until [ -e $1/go ]; do sleep 0.01; done; touch $1/done";
        let line = shell(dir.path(), script);
        let there = |file: &str| dir.path().join(file).exists();
        let clock = SystemClock::default();
        std::thread::scope(|scope| {
            let running = scope.spawn(|| run_or_leave(&line, &[], TIME_LIMIT, &clock));
            eventually("its begin", || there("begun"));
            clock.stop.raise();
            assert!(matches!(running.join().unwrap(), Err(Error::Left { .. })));
        });
        std::fs::write(dir.path().join("go"), "").unwrap();
        eventually("its end", || there("done"));
        std::fs::remove_file(dir.path().join("begun")).unwrap();
        assert!(matches!(run(&line, &[], TIME_LIMIT, &clock), Err(Error::Stopped { .. })));
        assert!(!there("begun"));
        // `run_or_leave` starts its command even then.
        let outcome = run_or_leave(&line, &[], TIME_LIMIT, &clock);
        assert!(matches!(outcome, Ok(()) | Err(Error::Left { .. })));
        eventually("its begin", || there("begun"));
    }
}
