// SPDX-License-Identifier: Apache-2.0
//! A TCP connection of a client (RFC 7766): questions, each with its length before it, answered in turn.
//! Refuses more than sixteen questions, long ones, and clients that take their time. Imports nothing of this
//! room.

use std::io::{ErrorKind, Read, Result, Write};
use std::time::Duration;

/// How long a question may take to arrive, and its answer to be taken.
const IDLE: Duration = Duration::from_secs(5);

const QUESTIONS: u8 = 16;

/// The longest question that is read.
const LONGEST: usize = 4096;

/// A stream that does not block.
pub trait Stream: Read + Write {
    /// Says that no more is written.
    fn finish(&self) -> Result<()>;
}

impl Stream for std::net::TcpStream {
    fn finish(&self) -> Result<()> {
        self.shutdown(std::net::Shutdown::Write)
    }
}

pub struct Connection<S> {
    pub stream: S,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Of `output`.
    sent: usize,
    left: u8,
    /// Everything is answered: what the client still sends is thrown away, so that the last answer arrives.
    is_finished: bool,
    /// Until when the next step forward is waited for, on the caller's clock.
    pub deadline: Duration,
}

impl<S: Stream> Connection<S> {
    pub fn new(stream: S, now: Duration) -> Self {
        Connection {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            left: QUESTIONS,
            is_finished: false,
            deadline: now + IDLE,
        }
    }

    /// Whether an answer waits to be taken: nothing more is read before.
    pub fn is_sending(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Does what can be done without waiting. `false`: the connection is to be closed.
    pub fn proceed(&mut self, now: Duration, respond: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> bool {
        now < self.deadline && self.try_proceed(now, respond).unwrap_or(false)
    }

    fn try_proceed(
        &mut self,
        now: Duration,
        mut respond: impl FnMut(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<bool> {
        loop {
            if !self.send(now)? {
                return Ok(true);
            }
            if self.is_finished {
                return self.discard();
            }
            if let Some(question) = self.question() {
                let Some(answer) = respond(&question) else { return Ok(false) };
                self.output.extend(u16::try_from(answer.len()).unwrap_or(u16::MAX).to_be_bytes());
                self.output.extend(answer);
                self.left -= 1;
                continue;
            }
            if self.left == 0 {
                self.stream.finish()?;
                self.is_finished = true;
                continue;
            }
            match self.receive()? {
                Received::Some => {}
                Received::NothingYet => return Ok(true),
                Received::End => return Ok(false),
            }
        }
    }

    /// Whether all has been sent.
    fn send(&mut self, now: Duration) -> Result<bool> {
        while self.is_sending() {
            match self.stream.write(self.output.split_at(self.sent).1) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent = (self.sent + count).min(self.output.len()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if !self.output.is_empty() {
            (self.sent, self.deadline) = (0, now + IDLE);
            self.output.clear();
        }
        Ok(true)
    }

    /// The next question, if all of it is there and it may still be asked.
    fn question(&mut self) -> Option<Vec<u8>> {
        let (length, rest) = self.input.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        if self.left == 0 || rest.len() < length {
            return None;
        }
        let question = rest.split_at(length).0.to_vec();
        self.input.drain(..2 + length);
        Some(question)
    }

    fn receive(&mut self) -> Result<Received> {
        let length = self.input.split_first_chunk::<2>().map(|(length, _)| u16::from_be_bytes(*length));
        if length.is_some_and(|length| usize::from(length) > LONGEST) {
            return Ok(Received::End);
        }
        let mut chunk = [0; LONGEST];
        let received = read(&mut self.stream, &mut chunk)?;
        if let Some(count) = received {
            self.input.extend(chunk.iter().take(count));
        }
        Ok(match received {
            Some(0) => Received::End,
            Some(_) => Received::Some,
            None => Received::NothingYet,
        })
    }

    /// Whether the client may have more to say.
    fn discard(&mut self) -> Result<bool> {
        let mut chunk = [0; LONGEST];
        Ok(read(&mut self.stream, &mut chunk)? != Some(0))
    }
}

enum Received {
    Some,
    NothingYet,
    End,
}

/// `None`: nothing is there yet.
fn read(stream: &mut impl Read, chunk: &mut [u8]) -> Result<Option<usize>> {
    loop {
        match stream.read(chunk) {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::collections::VecDeque;

    /// The bytes of a client, piece by piece, and those it takes.
    #[derive(Default)]
    struct Client {
        sends: VecDeque<Vec<u8>>,
        has_ended: bool,
        took: Vec<u8>,
        /// How much it still takes.
        takes: usize,
        is_finished: Cell<bool>,
    }

    impl Read for Client {
        fn read(&mut self, chunk: &mut [u8]) -> Result<usize> {
            let Some(mut piece) = self.sends.pop_front() else {
                return if self.has_ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
            };
            let count = piece.len().min(chunk.len());
            chunk[..count].copy_from_slice(&piece[..count]);
            let rest = piece.split_off(count);
            if !rest.is_empty() {
                self.sends.push_front(rest);
            }
            Ok(count)
        }
    }

    impl Write for Client {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            let count = bytes.len().min(self.takes);
            if count == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.takes -= count;
            self.took.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    impl Stream for Client {
        fn finish(&self) -> Result<()> {
            self.is_finished.set(true);
            Ok(())
        }
    }

    fn framed(text: &str) -> Vec<u8> {
        [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
    }

    fn connection(sends: &[&[u8]], takes: usize) -> Connection<Client> {
        let sends = sends.iter().map(|piece| piece.to_vec()).collect();
        Connection::new(Client { sends, takes, ..Client::default() }, Duration::ZERO)
    }

    /// Answers in capitals, and none to what is empty.
    fn loud(question: &[u8]) -> Option<Vec<u8>> {
        (!question.is_empty()).then(|| question.to_ascii_uppercase())
    }

    const AT_ONCE: Duration = Duration::from_millis(1);

    #[test]
    fn questions_are_answered_in_turn_in_whatever_pieces_they_come() {
        let (one, two) = (framed("one"), framed("two"));
        let all = [one.clone(), two.clone()].concat();
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        for pieces in [vec![&all[..]], vec![&one[..], &two[..]], bytes] {
            let mut connection = connection(&pieces, 1000);
            assert!(connection.proceed(AT_ONCE, loud));
            assert_eq!(connection.stream.took, [framed("ONE"), framed("TWO")].concat());
        }
    }

    #[test]
    fn nothing_is_read_before_an_answer_is_taken() {
        let (one, two) = (framed("one"), framed("two"));
        let mut connection = connection(&[&one, &two], 2);
        assert!(connection.proceed(AT_ONCE, loud));
        assert!(connection.is_sending());
        assert_eq!(connection.stream.sends.len(), 1);
        connection.stream.takes = 1000;
        assert!(connection.proceed(AT_ONCE, loud));
        assert!(!connection.is_sending());
        assert_eq!(connection.stream.took, [framed("ONE"), framed("TWO")].concat());
    }

    #[test]
    fn a_client_has_sixteen_questions_and_is_let_go_in_peace() {
        let many = framed("x").repeat(20);
        let mut connection = connection(&[&many], 1000);
        assert!(connection.proceed(AT_ONCE, loud), "it may not have read yet");
        assert_eq!(connection.stream.took, framed("X").repeat(16));
        assert!(connection.stream.is_finished.get());
        connection.stream.has_ended = true;
        assert!(!connection.proceed(AT_ONCE, loud));
    }

    #[test]
    fn a_client_that_takes_its_time_is_let_go() {
        let one = framed("one");
        let mut slow = connection(&[], 1000);
        for (second, byte) in (0..).zip(&one) {
            slow.stream.sends.push_back(vec![*byte]);
            let is_open = slow.proceed(Duration::from_secs(2 * second), loud);
            assert_eq!(is_open, second < 3, "a byte in two seconds is no progress");
        }
        let mut deaf = connection(&[&one], 0);
        assert!(deaf.proceed(AT_ONCE, loud));
        assert!(!deaf.proceed(IDLE, loud));
        let mut good = connection(&[&one], 1000);
        assert!(good.proceed(Duration::from_secs(4), loud));
        assert!(good.proceed(Duration::from_secs(8), loud), "five seconds begin with each answer");
        assert!(!good.proceed(Duration::from_secs(9), loud));
    }

    #[test]
    fn what_is_no_question_ends_the_connection() {
        for sends in
            [framed(""), 4097_u16.to_be_bytes().to_vec(), [&u16::MAX.to_be_bytes()[..], &[7; 5000]].concat()]
        {
            let mut connection = connection(&[&sends], 1000);
            assert!(!connection.proceed(AT_ONCE, loud));
            assert!(connection.stream.took.is_empty());
        }
        let mut gone = connection(&[&framed("one")], 1000);
        gone.stream.has_ended = true;
        assert!(!gone.proceed(AT_ONCE, loud));
        assert_eq!(gone.stream.took, framed("ONE"), "answered before it is closed");
    }
}
