// SPDX-License-Identifier: Apache-2.0
//! The DNS servers that directives name (`HOST`, `HOST:PORT`, `[ADDRESS]:PORT`), and which servers have not
//! answered lately. Host names are looked up by resolvers, not in /etc/hosts. Imports `dns`.

use crate::dns::{self, Dns, Message, Name, Question, Recursion, Resolver};
use crate::model::dns01::host_and_port;
use crate::sync::lock;
use crate::time::{Clock, Timestamp};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

/// The addresses of a server that a directive names.
pub fn addresses(text: &str, resolver: &Resolver<'_>) -> Result<Vec<SocketAddr>, Unknown> {
    let unknown = |reason: String| Unknown { server: text.into(), reason };
    let (host, port) =
        host_and_port(text).ok_or_else(|| unknown("it is no host, with or without a port".into()))?;
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = Name::parse(&host).map_err(|error| unknown(error.to_string()))?;
    let found = match resolver.addresses(&name) {
        Ok(found) if found.is_empty() => return Err(unknown("it has no address".into())),
        found => found.map_err(|error| unknown(error.to_string()))?,
    };
    Ok(found.into_iter().map(|address| SocketAddr::new(address.ip(), port)).collect())
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address of the DNS server {} cannot be looked up: {reason}", .server.escape_debug())]
pub struct Unknown {
    pub server: String,
    pub reason: String,
}

/// The servers that are not waited for again for a while.
#[derive(Debug, Default)]
pub struct Silent(HashMap<SocketAddr, Timestamp>);

/// The most servers kept in mind: configured ones and those of a few hundred zones fit.
const SILENT_MAX: usize = 4096;

impl Silent {
    pub fn note(&mut self, server: SocketAddr, now: Timestamp) {
        if self.0.len() >= SILENT_MAX {
            self.0.clear();
        }
        self.0.insert(server, now);
    }

    /// How long it is not asked yet.
    pub fn wait(&self, server: SocketAddr, period: Duration, now: Timestamp) -> Option<Duration> {
        let since = *self.0.get(&server)?;
        (since <= now && now.since(since) < period).then(|| period.saturating_sub(now.since(since)))
    }

    pub fn forget(&mut self, server: SocketAddr) {
        self.0.remove(&server);
    }
}

/// Asks no server again for a while that did not answer.
pub struct Patient<'a> {
    pub dns: &'a dyn Dns,
    pub silent: &'a Mutex<Silent>,
    pub clock: &'a dyn Clock,
}

impl Patient<'_> {
    /// A resolver has no substitute: it may be back in a minute. An authoritative server has.
    fn period(recursion: Recursion) -> Duration {
        Duration::from_secs(if recursion == Recursion::Desired { 60 } else { 3600 })
    }
}

impl Dns for Patient<'_> {
    fn ask(
        &self,
        server: SocketAddr,
        question: &Question,
        recursion: Recursion,
    ) -> Result<Message, dns::Error> {
        let period = Self::period(recursion);
        if let Some(wait) = lock(self.silent).wait(server, period, self.clock.now()) {
            return Err(dns::Error::Silent { server, wait });
        }
        let answer = self.dns.ask(server, question, recursion);
        match &answer {
            Err(error) if error.is_timeout() => lock(self.silent).note(server, self.clock.now()),
            Ok(_) => lock(self.silent).forget(server),
            Err(_) => {}
        }
        answer
    }

    fn exchange(&self, server: SocketAddr, request: &[u8]) -> Result<Vec<u8>, dns::Error> {
        self.dns.exchange(server, request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_server_is_asked_again_after_its_time_and_once_it_has_answered() {
        let (server, hour) = ("192.0.2.1:53".parse().unwrap(), Duration::from_secs(3600));
        let (mut silent, now) = (Silent::default(), Timestamp::from_unix(1_800_000_000));
        silent.note(server, now);
        assert_eq!(silent.wait(server, hour, now.plus(hour / 2)), Some(hour / 2));
        assert_eq!(silent.wait(server, hour, now.plus(hour)), None);
        assert_eq!(silent.wait(server, hour, now.minus(hour)), None, "the clock was set back");
        silent.forget(server);
        assert_eq!(silent.wait(server, hour, now), None);
    }

    /// Answers nothing.
    struct Nobody;

    impl Dns for Nobody {
        fn ask(&self, server: SocketAddr, _: &Question, _: Recursion) -> Result<Message, dns::Error> {
            Err(dns::Error::Timeout { server, limit: Duration::from_secs(6) })
        }

        fn exchange(&self, server: SocketAddr, _: &[u8]) -> Result<Vec<u8>, dns::Error> {
            Err(dns::Error::Timeout { server, limit: Duration::from_secs(6) })
        }
    }

    #[test]
    fn a_server_that_is_not_asked_for_its_silence_is_told_as_such() {
        let (silent, clock) = (Mutex::default(), crate::time::SystemClock::default());
        let patient = Patient { dns: &Nobody, silent: &silent, clock: &clock };
        let server = "192.0.2.1:53".parse().unwrap();
        let question = Question::new(Name::parse("a.test").unwrap(), dns::Rtype::TXT);
        let ask = |recursion| patient.ask(server, &question, recursion).unwrap_err();
        assert!(ask(Recursion::No).to_string().ends_with("did not answer within 6 seconds"));
        for (recursion, wait) in [(Recursion::No, "60 minutes"), (Recursion::Desired, "1 minute")] {
            let told = format!("{server} has not answered lately, and is not asked again for {wait}");
            let error = ask(recursion);
            assert!(error.is_timeout() && error.to_string().ends_with(&told), "{error}");
        }
    }
}
