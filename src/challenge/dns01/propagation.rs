// SPDX-License-Identifier: Apache-2.0
//! The wait until every name server of a zone has a record, before the CA looks for it. [`Watch`] decides, by
//! answers and time alone, whom to ask next and when that is enough; [`wait`] asks. A server that does not
//! answer is not waited for, and after the limit nobody is: a CA may see what this machine does not. Imports
//! `dns`.

use crate::dns::{self, Data, Dns, Name, OptRcode, Question, Recursion, Rtype};
use crate::time::{Clock, Stopped, Timestamp};
use std::net::SocketAddr;
use std::time::Duration;

/// A server is asked again after this time.
const AGAIN: Duration = Duration::from_secs(2);

/// A server that has to have a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// As the zone or the configuration names it.
    pub name: String,
    /// Asked in turn until one answers.
    pub addresses: Vec<SocketAddr>,
    pub recursion: Recursion,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub name: Name,
    pub value: String,
}

/// The answer of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Values(Vec<Vec<u8>>),
    /// It answers, but not this question.
    Refusal(String),
    Silence(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The one with this index.
    Ask(usize),
    Wait(Duration),
    End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Lacks(String),
    Has,
    /// No address of it answers.
    Silent(String),
}

/// One record at one server.
#[derive(Clone, Debug)]
struct Item {
    wanted: Wanted,
    server: Server,
    /// The address that is asked.
    at: usize,
    state: State,
    due: Timestamp,
}

/// All records that are waited for, at all their servers.
#[derive(Clone, Debug)]
pub struct Watch {
    items: Vec<Item>,
    deadline: Timestamp,
}

/// A server that lacks a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub server: String,
    pub record: String,
    pub reason: String,
}

impl Item {
    fn is_open(&self) -> bool {
        matches!(self.state, State::Lacks(_))
    }
}

impl Watch {
    pub fn new(limit: Duration, now: Timestamp) -> Self {
        Watch { items: Vec::new(), deadline: now.plus(limit) }
    }

    /// Waits for this record at this server too.
    pub fn add(&mut self, wanted: Wanted, server: Server, now: Timestamp) {
        let state = match server.addresses.is_empty() {
            true => State::Silent("it has no address".into()),
            false => State::Lacks("it was not asked".into()),
        };
        self.items.push(Item { wanted, server, at: 0, state, due: now });
    }

    pub fn next(&self, now: Timestamp) -> Next {
        let mut open = self.items.iter().enumerate().filter(|(_, item)| item.is_open());
        let Some((index, first)) = open.clone().min_by_key(|(_, item)| item.due) else { return Next::End };
        if now >= self.deadline {
            return Next::End;
        }
        // A clock that was set back does not lengthen the wait.
        if let Some((index, _)) = open.find(|(_, item)| item.due.since(now) > AGAIN) {
            return Next::Ask(index);
        }
        match first.due <= now {
            true => Next::Ask(index),
            false => Next::Wait(first.due.min(self.deadline).since(now)),
        }
    }

    /// Takes the answer of the server of the item `index`.
    pub fn answered(&mut self, index: usize, answer: Answer, now: Timestamp) {
        let Some(item) = self.items.get_mut(index) else { return };
        item.due = now.plus(AGAIN);
        item.state = match answer {
            Answer::Values(values) if values.iter().any(|v| v == item.wanted.value.as_bytes()) => State::Has,
            Answer::Values(values) if values.is_empty() => State::Lacks("it has no TXT record there".into()),
            Answer::Values(_) => State::Lacks("it has other TXT records there".into()),
            Answer::Refusal(reason) => State::Lacks(reason),
            Answer::Silence(reason) if item.at + 1 < item.server.addresses.len() => {
                (item.at, item.due) = (item.at + 1, now);
                State::Lacks(reason)
            }
            Answer::Silence(reason) => State::Silent(reason),
        };
    }

    /// The address and the item of the question `index`.
    fn question(&self, index: usize) -> Option<(SocketAddr, &Item)> {
        let item = self.items.get(index)?;
        Some((*item.server.addresses.get(item.at)?, item))
    }

    /// The servers that lack a record, as far as is known.
    pub fn missing(&self) -> Vec<Missing> {
        let missing = |item: &Item| {
            let (State::Lacks(reason) | State::Silent(reason)) = &item.state else { return None };
            let (server, record) = (item.server.name.clone(), item.wanted.name.to_string());
            Some(Missing { server, record, reason: reason.clone() })
        };
        self.items.iter().filter_map(missing).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// Asks until [`Watch`] says it is enough. `tell` is given what is waited for whenever that changes.
pub fn wait(
    watch: &mut Watch,
    dns: &dyn Dns,
    clock: &dyn Clock,
    tell: &mut dyn FnMut(&str),
) -> Result<(), Stopped> {
    let mut told = String::new();
    loop {
        if clock.is_stopped() {
            return Err(Stopped);
        }
        match watch.next(clock.now()) {
            Next::End => return Ok(()),
            Next::Wait(time) => {
                let first = watch.items.iter().find(|item| item.is_open());
                if let Some(text) = first.map(waiting_for).filter(|text| *text != told) {
                    tell(&text);
                    told = text;
                }
                clock.sleep(time)?;
            }
            Next::Ask(index) => {
                let Some((address, item)) = watch.question(index) else { return Ok(()) };
                let answer = ask(dns, address, &item.wanted.name, item.server.recursion)?;
                watch.answered(index, answer, clock.now());
            }
        }
    }
}

fn waiting_for(item: &Item) -> String {
    let (server, name) = (&item.server.name, &item.wanted.name);
    let address = item.server.addresses.get(item.at).map(ToString::to_string).unwrap_or_default();
    let at = if *server == address { String::new() } else { format!(" ({address})") };
    format!("Waiting until the name server {server}{at} has the TXT record of {name}")
}

/// The TXT records that a server has at `name`.
pub fn ask(dns: &dyn Dns, server: SocketAddr, name: &Name, recursion: Recursion) -> Result<Answer, Stopped> {
    let question = Question::new(name.clone(), Rtype::TXT);
    let answer = match dns.ask(server, &question, recursion) {
        Ok(answer) => answer,
        Err(dns::Error::Stopped) => return Err(Stopped),
        Err(error @ (dns::Error::Timeout { .. } | dns::Error::Silent { .. } | dns::Error::Io { .. })) => {
            return Ok(Answer::Silence(error.to_string()));
        }
        Err(error) => return Ok(Answer::Refusal(error.to_string())),
    };
    Ok(match answer.rcode {
        OptRcode::NOERROR | OptRcode::NXDOMAIN => {
            let text = |data: &Data| if let Data::Txt(text) = data { Some(text.clone()) } else { None };
            Answer::Values(answer.answers_of(name).filter_map(text).collect())
        }
        rcode => Answer::Refusal(format!("it answered {rcode}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const LIMIT: Duration = Duration::from_secs(60);

    fn server(name: &str, addresses: &[&str]) -> Server {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Server { name: name.into(), addresses, recursion: Recursion::No }
    }

    fn watch(servers: &[Server]) -> Watch {
        let mut watch = Watch::new(LIMIT, NOW);
        let wanted = Wanted { name: Name::parse("_acme-challenge.a.test").unwrap(), value: "v-1".into() };
        servers.iter().for_each(|server| watch.add(wanted.clone(), server.clone(), NOW));
        watch
    }

    fn values(values: &[&str]) -> Answer {
        Answer::Values(values.iter().map(|value| value.as_bytes().to_vec()).collect())
    }

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn lacking(watch: &Watch) -> Vec<(String, String)> {
        watch.missing().into_iter().map(|missing| (missing.server, missing.reason)).collect()
    }

    #[test]
    fn every_server_has_to_have_the_value_and_is_asked_every_two_seconds() {
        let mut watch = watch(&[server("ns1", &["192.0.2.1:53"]), server("ns2", &["192.0.2.2:53"])]);
        assert_eq!(watch.next(NOW), Next::Ask(0));
        watch.answered(0, values(&["other", "v-1"]), NOW);
        assert_eq!(watch.next(NOW), Next::Ask(1));
        watch.answered(1, values(&["other"]), NOW);
        assert_eq!(watch.next(NOW), Next::Wait(AGAIN));
        assert_eq!(lacking(&watch), [("ns2".into(), "it has other TXT records there".into())]);
        assert_eq!(watch.next(at(2)), Next::Ask(1));
        watch.answered(1, values(&[]), at(2));
        assert_eq!(watch.next(at(3)), Next::Wait(Duration::from_secs(1)));
        watch.answered(1, values(&["v-1"]), at(4));
        assert_eq!((watch.next(at(4)), lacking(&watch)), (Next::End, vec![]));
    }

    #[test]
    fn a_server_is_silent_once_none_of_its_addresses_answers_and_not_waited_for() {
        let mut watch = watch(&[server("ns1", &["[2001:db8::1]:53", "192.0.2.1:53"]), server("ns2", &[])]);
        assert_eq!(watch.question(0).unwrap().0.to_string(), "[2001:db8::1]:53");
        watch.answered(0, Answer::Silence("no network".into()), NOW);
        assert_eq!(watch.next(NOW), Next::Ask(0), "at once by its other address");
        assert_eq!(watch.question(0).unwrap().0.to_string(), "192.0.2.1:53");
        watch.answered(0, Answer::Silence("no answer".into()), NOW);
        assert_eq!(watch.next(NOW), Next::End);
        let expected = [("ns1".into(), "no answer".into()), ("ns2".into(), "it has no address".into())];
        assert_eq!(lacking(&watch), expected);
    }

    #[test]
    fn after_the_limit_nobody_is_waited_for() {
        let mut watch = watch(&[server("ns1", &["192.0.2.1:53"])]);
        watch.answered(0, Answer::Refusal("it answered SERVFAIL".into()), at(59));
        assert_eq!(watch.next(at(59)), Next::Wait(Duration::from_secs(1)));
        assert_eq!(watch.next(at(60)), Next::End);
        assert_eq!(lacking(&watch), [("ns1".into(), "it answered SERVFAIL".into())]);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_make_the_wait_longer() {
        let mut watch = watch(&[server("ns1", &["192.0.2.1:53"])]);
        watch.answered(0, values(&[]), at(3600));
        assert_eq!(watch.next(NOW), Next::Ask(0));
    }
}
