// SPDX-License-Identifier: Apache-2.0
//! Connections that are kept open for the next request. A server may close one while the next request is
//! being sent. Such a request is lost and can be sent again, provided that no byte of a response has arrived
//! (RFC 9110 §9.2.2, RFC 9112 §9.3.1).

use std::fmt;
use std::io::{self, ErrorKind};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport};

/// A request found its connection closed by the server.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Lost(pub io::Error);

impl Lost {
    /// In the form in which ureq hands it through.
    fn carried(error: io::Error) -> ureq::Error {
        ureq::Error::Io(io::Error::new(error.kind(), Lost(error)))
    }

    /// The failure itself, and whether it is one of these.
    pub fn found_in(error: ureq::Error) -> (ureq::Error, bool) {
        match error {
            ureq::Error::Io(error) => match error.downcast::<Lost>() {
                Ok(Lost(inner)) => (ureq::Error::Io(inner), true),
                Err(error) => (ureq::Error::Io(error), false),
            },
            other => (other, false),
        }
    }
}

/// The end of a chain of connectors to a server.
pub(super) struct Keep {
    /// The chain also makes the connection to the proxy, which is none of a server.
    pub has_proxy: bool,
}

impl<In: Transport> Connector<In> for Keep {
    type Out = Either<In, Kept<In>>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        below: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let is_to_proxy = self.has_proxy && details.config.proxy().is_none();
        Ok(below.map(|below| match is_to_proxy {
            true => Either::A(below),
            false => Either::B(Kept { below, progress: Progress::default() }),
        }))
    }
}

/// The progress of an exchange on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    /// The first request is on its way.
    #[default]
    First,
    /// An answer has begun.
    Answered,
    /// A later request is on its way.
    Again,
}

impl Progress {
    fn sending(self) -> Self {
        if self == Progress::Answered { Progress::Again } else { self }
    }

    /// The meaning of a failure at this point.
    fn failed(self, error: ureq::Error) -> ureq::Error {
        match error {
            ureq::Error::Io(error) if self == Progress::Again && is_closed(&error) => Lost::carried(error),
            other => other,
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::NotConnected
            | ErrorKind::UnexpectedEof
            | ErrorKind::WriteZero
    )
}

pub(super) struct Kept<T> {
    below: T,
    progress: Progress,
}

impl<T: Transport> Transport for Kept<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.below.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.progress = self.progress.sending();
        self.below.transmit_output(amount, timeout).map_err(|error| self.progress.failed(error))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        match self.below.await_input(timeout) {
            Ok(true) => {
                self.progress = Progress::Answered;
                Ok(true)
            }
            Ok(false) if self.progress == Progress::Again => {
                Err(Lost::carried(ErrorKind::UnexpectedEof.into()))
            }
            Ok(false) => Ok(false),
            Err(error) => Err(self.progress.failed(error)),
        }
    }

    fn is_open(&mut self) -> bool {
        self.below.is_open()
    }

    fn is_tls(&self) -> bool {
        self.below.is_tls()
    }
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keep")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_later_request_is_lost_and_only_by_a_closed_connection() {
        let is_lost = |progress: Progress, kind: ErrorKind| {
            Lost::found_in(progress.failed(ureq::Error::Io(kind.into()))).1
        };
        for kind in [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::UnexpectedEof] {
            assert!(is_lost(Progress::Again, kind), "{kind}");
            assert!(!is_lost(Progress::First, kind), "{kind}");
            assert!(!is_lost(Progress::Answered, kind), "{kind}");
        }
        assert!(!is_lost(Progress::Again, ErrorKind::TimedOut));
        assert_eq!(Progress::First.sending(), Progress::First, "a body follows its head");
        assert_eq!(Progress::Answered.sending(), Progress::Again);
        assert_eq!(Progress::Again.sending(), Progress::Again);
    }

    #[test]
    fn the_number_of_the_operating_system_is_kept() {
        let error = Lost::carried(io::Error::from_raw_os_error(104));
        assert!(matches!(Lost::found_in(error), (ureq::Error::Io(e), true) if e.raw_os_error() == Some(104)));
    }
}
