// SPDX-License-Identifier: Apache-2.0
//! The system calls of a process, each with its stack, by strace(1) with the option `-k`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fmt, fs};

use super::process::{Process, Start, args};
use super::{Lab, SOON, lab, wait_for};

pub struct Strace {
    process: Process,
    output: PathBuf,
}

/// One call, as strace prints it (descriptors with the paths behind them), and its stack, innermost first.
pub struct Call {
    pub text: String,
    stack: Vec<Frame>,
}

struct Frame {
    file: String,
    /// Empty: unknown.
    function: String,
}

impl Frame {
    /// From `FILE(FUNCTION+OFFSET) [ADDRESS]`.
    fn of(line: &str) -> Frame {
        let (file, rest) = line.split_once(['(', ' ']).unwrap_or((line, ""));
        let function = rest.split(['+', ')', ' ']).next().unwrap_or_default();
        Frame { file: file.to_string(), function: function.to_string() }
    }
}

/// `None`: there is none.
pub fn obstacle() -> Option<String> {
    let Some(strace) = lab::in_path("strace") else { return Some("no strace here: run `make setup`".into()) };
    let works = Command::new(strace).args(["-k", "-o", "/dev/null", "true"]).output();
    (!lab::is_root() || !works.is_ok_and(|output| output.status.success()))
        .then(|| "strace cannot trace httpd's children and print their stacks here".to_string())
}

impl Strace {
    /// Of all threads of the process, those to come included. Returns once it is at it.
    pub fn attach(lab: &Lab, pid: u32) -> Strace {
        Strace::start(lab, pid, args([&"-k", &"-y", &"-s", &"8"]))
    }

    /// From now on each read from this file takes so long, in the process and its children.
    pub fn slow_down(lab: &Lab, pid: u32, file: &Path, pause: Duration) -> Strace {
        let inject = format!("inject=read:delay_enter={}", pause.as_micros());
        Strace::start(lab, pid, args([&"-P", &file, &"-e", &"trace=read", &"-e", &inject]))
    }

    fn start(lab: &Lab, pid: u32, options: Vec<OsString>) -> Strace {
        let output = lab.path("strace.out");
        let mut process = Process::spawn(Start {
            program: &lab::in_path("strace").unwrap(),
            args: [options, args([&"-f", &"-o", &output, &"-p", &pid.to_string()])].concat(),
            envs: Vec::new(),
            log: &lab.path("strace.log"),
            // Detaches.
            stop_signal: "INT",
            user: &[],
        });
        wait_for("strace at every thread", SOON, || {
            assert!(process.exited().is_none(), "{}", fs::read_to_string(lab.path("strace.log")).unwrap());
            let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
            threads.into_iter().all(|thread| is_traced(&thread.path())).then_some(())
        });
        Strace { process, output }
    }

    /// Lets go of it.
    pub fn stop(mut self) -> Vec<Call> {
        self.process.stop();
        let text = String::from_utf8_lossy(&fs::read(&self.output).unwrap()).into_owned();
        let mut calls: Vec<Call> = Vec::new();
        for line in text.lines() {
            match line.strip_prefix(" > ") {
                Some(frame) => {
                    calls.iter_mut().last().expect("a stack follows a call").stack.push(Frame::of(frame));
                }
                None => calls.push(Call { text: line.to_string(), stack: Vec::new() }),
            }
        }
        calls
    }
}

fn is_traced(thread: &Path) -> bool {
    let status = fs::read_to_string(thread.join("status")).unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    // A thread that has ended meanwhile has none.
    tracer.is_none_or(|pid| pid.trim() != "0")
}

impl Call {
    /// The id of its thread.
    pub fn thread(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// Whether its stack runs through this file.
    pub fn is_through(&self, file: &str) -> bool {
        self.stack.iter().any(|frame| frame.file.ends_with(file))
    }

    /// Whether memory is taken or given back: every now and then the C library asks the kernel for more, or
    /// waits for another thread that does, whoever calls it.
    pub fn is_for_memory(&self) -> bool {
        const FUNCTIONS: [&str; 7] =
            ["malloc", "calloc", "realloc", "free", "cfree", "memalign", "posix_memalign"];
        self.stack.iter().any(|frame| FUNCTIONS.contains(&frame.function.trim_start_matches("__libc_")))
    }

    /// Whether it takes a path, or a descriptor of a file: `PID NAME(ARGUMENTS) = …`.
    pub fn is_about_file(&self) -> bool {
        let (name, arguments) = self.text.split_once('(').unwrap_or((&self.text, ""));
        let name = name.rsplit(' ').next().unwrap_or(name);
        let words = ["open", "stat", "access", "readlink", "getdents"];
        words.iter().any(|word| name.contains(word)) || arguments.contains("</")
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.stack.iter().try_for_each(|frame| writeln!(f, "    {} {}", frame.file, frame.function))
    }
}
