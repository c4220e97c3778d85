// SPDX-License-Identifier: Apache-2.0
//! Reads the output of a command while it runs, without a thread. Keeps the beginning, drops the rest.

use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::io::{Errno, fcntl_dupfd_cloexec, read};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// More than a pipe holds: reading ends even while a process keeps writing.
const READS: usize = 32;

/// A stream of a command: the command has one end, we read at the other.
pub(super) struct Output {
    reader: OwnedFd,
    writer: OwnedFd,
    head: Vec<u8>,
    /// How much is kept.
    room: usize,
}

impl Output {
    /// How many bytes of it are kept at most.
    pub fn new(room: usize) -> io::Result<Output> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        // Above the three that a command has.
        let (reader, writer) = (fcntl_dupfd_cloexec(reader, 3)?, fcntl_dupfd_cloexec(writer, 3)?);
        fcntl_setfl(&reader, OFlags::NONBLOCK)?;
        // Opened for reading as well, the pipe always has a reader: a daemon that the command leaves running
        // is not ended by SIGPIPE when we have gone. Where /proc is not mounted, it is.
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let both = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let writer = both.and_then(|both| fcntl_dupfd_cloexec(both, 3)).unwrap_or(writer);
        Ok(Output { reader, writer, head: Vec::new(), room })
    }

    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// The end for the command.
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// Reads the available output.
    pub fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        for _ in 0..READS {
            match read(&self.reader, &mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    let room = self.room.saturating_sub(self.head.len()).min(count);
                    self.head.extend(buffer.iter().take(room));
                }
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// The beginning of the command's output. Processes that the command left running are never held up by the
    /// pipe: once it is full, writes fail with EAGAIN.
    pub fn close(mut self) -> Vec<u8> {
        // Set before reading, which wakes processes that wait for room in the pipe.
        let _ = fcntl_setfl(&self.writer, OFlags::NONBLOCK);
        self.read();
        self.head
    }
}
