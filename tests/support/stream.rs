// SPDX-License-Identifier: Apache-2.0
//! A connection of a test to httpd. Every wait has a limit, and a paused machine ends none: Linux then ends
//! waits that have a time limit (signal(7)), which OpenSSL takes for an error.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::sanitizer;

#[derive(Debug)]
pub struct Stream(TcpStream);

impl Stream {
    pub fn connect(port: u16) -> io::Result<Stream> {
        Stream::connect_to("127.0.0.1", port)
    }

    pub fn connect_to(address: &str, port: u16) -> io::Result<Stream> {
        let stream = again(|| TcpStream::connect((address, port)))?;
        let within = Duration::from_secs(10) * sanitizer::slowness();
        stream.set_read_timeout(Some(within))?;
        stream.set_write_timeout(Some(within))?;
        stream.set_nodelay(true)?;
        Ok(Stream(stream))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        again(|| self.0.read(buffer))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        again(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

pub fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
