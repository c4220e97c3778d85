//! Commands of the admin: run without a shell, with an empty stdin and a time limit. Their output goes
//! into our log at debug.

use crate::time::Clock;
use rustix::process::{Pid, Signal};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// After this long a command is killed and counts as failed.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// How much of a command's output is kept for the log.
const OUTPUT_MAX: u64 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the command line is empty")]
    Empty,
    #[error("'{program}' cannot be run: {source}")]
    Start { program: String, source: std::io::Error },
    #[error("'{program}' failed with exit code {status}")]
    Failed { program: String, status: i32 },
    #[error("'{program}' did not end within {} seconds and was killed", .limit.as_secs())]
    TimedOut { program: String, limit: Duration },
    #[error("'{program}' was killed because the server process is stopping")]
    Stopped { program: String },
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
pub fn run(line: &str, arguments: &[&str], limit: Duration, clock: &dyn Clock) -> Result<(), Error> {
    let words = split(line);
    let (program, rest) = words.split_first().ok_or(Error::Empty)?;
    let mut child = Command::new(program)
        .args(rest)
        .args(arguments)
        .env_remove("MD_VERSION")
        .env_remove("MD_STORE")
        // A group of its own, so that a kill reaches what it has started too.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| Error::Start { program: program.clone(), source })?;
    let output = [log_output(program, child.stdout.take()), log_output(program, child.stderr.take())];
    let outcome = wait(&mut child, program, limit, clock);
    // What the command has left running may hold the pipes open: its readers end by themselves, some day.
    for reader in output {
        let _ = reader.recv_timeout(Duration::from_millis(200));
    }
    outcome
}

fn wait(child: &mut Child, program: &str, limit: Duration, clock: &dyn Clock) -> Result<(), Error> {
    // Of the machine, not of `clock`: the command lives in real time, whatever a test does with ours.
    let deadline = Instant::now() + limit;
    let failure = loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                return Err(Error::Failed {
                    program: program.to_string(),
                    status: status.code().unwrap_or(-1),
                });
            }
            Ok(None) if Instant::now() >= deadline => {
                break Error::TimedOut { program: program.to_string(), limit };
            }
            Ok(None) if clock.is_stopped() => break Error::Stopped { program: program.to_string() },
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            Err(source) => break Error::Start { program: program.to_string(), source },
        }
    };
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    Err(failure)
}

/// The answer comes when all output is read.
fn log_output(program: &str, pipe: Option<impl Read + Send + 'static>) -> Receiver<()> {
    let program = program.to_string();
    let (done, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut head = Vec::new();
        let _ = pipe.by_ref().take(OUTPUT_MAX).read_to_end(&mut head);
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        for line in String::from_utf8_lossy(&head).lines() {
            crate::log!(Debug, "{program}: {line}");
        }
        let _ = done.send(());
    });
    receiver
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
    fn what_a_command_leaves_running_holds_up_nobody() {
        let begin = std::time::Instant::now();
        let daemon = "/bin/sh -c 'sleep 30 & exit 0'";
        assert!(run(daemon, &[], TIME_LIMIT, &SystemClock::default()).is_ok());
        assert!(begin.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_what_it_has_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("child");
        let line = format!("/bin/sh -c 'trap \"\" TERM; sleep 600 & echo $! > {}; wait'", file.display());
        let limit = Duration::from_millis(500);
        assert!(matches!(run(&line, &[], limit, &SystemClock::default()), Err(Error::TimedOut { .. })));
        let child = std::fs::read_to_string(&file).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        let is_alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        let deadline = Instant::now() + Duration::from_secs(5);
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
        clock.stop.raise();
        assert!(matches!(run(hang, &[], TIME_LIMIT, &clock), Err(Error::Stopped { .. })));
    }
}
