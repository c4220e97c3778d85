// SPDX-License-Identifier: Apache-2.0
//! Waits for the operating system in slices, so that a stop of the process ends the wait.

use super::Error;
use crate::time::StopFlag;
use libc::EAGAIN;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long a stop may go unnoticed.
pub const SLICE: Duration = Duration::from_millis(100);

/// Runs a call of the operating system that cannot be interrupted, and waits for it until it is late or
/// the process stops. In these cases its thread ends by itself when the call returns; it holds nothing.
pub fn within<T: Send + 'static>(
    stop: &StopFlag,
    limit: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let aside = stop.step_aside().ok_or(Error::Stopped)?;
    let work = move || {
        let _aside = aside;
        let _ = sender.send(call());
    };
    let begun = std::thread::Builder::new().name("md-connect".into()).spawn(work);
    begun
        .map_err(|error| Error::Thread(error.raw_os_error().unwrap_or(EAGAIN), crate::log::plain(&error)))?;
    let started = Instant::now();
    loop {
        match receiver.recv_timeout(SLICE.min(limit)) {
            Ok(value) => return Ok(value),
            Err(RecvTimeoutError::Timeout) if stop.is_raised() => return Err(Error::Stopped),
            Err(RecvTimeoutError::Timeout) if started.elapsed() >= limit => return Err(Error::Timeout),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Error::other("the call was aborted")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_call_that_hangs_is_left_when_the_process_stops_or_time_is_up() {
        let (hold, held) = mpsc::channel::<()>();
        let stop = StopFlag::default();
        assert_eq!(within(&stop, Duration::from_millis(10), move || held.recv()), Err(Error::Timeout));
        drop(hold);
        assert_eq!(within(&stop, LONG, || 5), Ok(5));
        let (hold, held) = mpsc::channel::<()>();
        let started = Instant::now();
        stop.raise();
        assert_eq!(within(&stop, LONG, move || held.recv()), Err(Error::Stopped));
        assert!(started.elapsed() < LONG / 2);
        drop(hold);
    }
}
