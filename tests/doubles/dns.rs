// SPDX-License-Identifier: Apache-2.0
//! The DNS in memory: a resolver, zones with a primary server that takes signed updates, and secondaries that
//! follow it late or never. The key is checked by its name alone; answers are signed as RFC 8945 says.

use crate::clock::VirtualClock;
use mod_md::dns::{Data, Dns, Error, Message, Name, OptRcode, Question, Record, Recursion, Rtype, Soa};
use mod_md::time::{Clock, Timestamp};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A key file for all zones.
pub const KEY: &str = "key \"acme\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n";
const SECRET: &[u8] = b"secret";
const ALGORITHM: &[u8] = b"\x0bhmac-sha256\0";

/// How updates are refused.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    Rcode(OptRcode),
    /// An error of TSIG: BADSIG 16, BADKEY 17, BADTIME 18.
    Tsig(u16),
    /// The process stops before a record is removed.
    StopAtDelete,
}

struct Txt {
    name: Name,
    value: String,
    since: Timestamp,
}

struct Zone {
    name: Name,
    /// The first one is the primary.
    servers: Vec<(SocketAddr, Duration)>,
    records: Vec<Txt>,
}

#[derive(Default)]
struct State {
    zones: Vec<Zone>,
    aliases: BTreeMap<Name, Name>,
    silent: BTreeSet<SocketAddr>,
    refusal: Option<Refusal>,
    asked: Vec<(SocketAddr, Question)>,
    updates: usize,
}

pub struct FakeDns {
    clock: Arc<VirtualClock>,
    state: Mutex<State>,
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn ip(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 53))
}

impl FakeDns {
    pub fn new(clock: Arc<VirtualClock>) -> Arc<FakeDns> {
        Arc::new(FakeDns { clock, state: Mutex::default() })
    }

    /// Whom a context asks.
    pub fn resolvers() -> Vec<SocketAddr> {
        vec![ip(53)]
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap())
    }

    /// A zone at 192.0.2.N for each of `servers`: its last number, and how late it follows the first one.
    pub fn zone(&self, zone: &str, servers: &[(u8, Duration)]) {
        let servers = servers.iter().map(|(last, lag)| (ip(*last), *lag)).collect();
        self.with(|state| state.zones.push(Zone { name: name(zone), servers, records: Vec::new() }));
    }

    /// Another server of the zone, so late.
    pub fn lag(&self, zone: &str, last: u8, lag: Duration) {
        let zone = name(zone);
        self.with(|state| {
            let known = state.zones.iter_mut().find(|known| known.name == zone).unwrap();
            known.servers.push((ip(last), lag));
        });
    }

    pub fn alias(&self, from: &str, to: &str) {
        self.with(|state| state.aliases.insert(name(from), name(to)));
    }

    /// A record of somebody else.
    pub fn add(&self, at: &str, value: &str) {
        let (at, since) = (name(at), self.clock.now());
        self.with(|state| {
            let zone = state.zones.iter_mut().find(|zone| at.is_in(&zone.name)).unwrap();
            zone.records.push(Txt { name: at, value: value.into(), since });
        });
    }

    /// It does not answer any more.
    pub fn silence(&self, last: u8) {
        self.with(|state| state.silent.insert(ip(last)));
    }

    pub fn speak(&self, last: u8) {
        self.with(|state| state.silent.remove(&ip(last)));
    }

    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.with(|state| state.refusal = refusal);
    }

    /// All TXT records: name and value.
    pub fn records(&self) -> Vec<(String, String)> {
        self.with(|state| {
            let records = state.zones.iter().flat_map(|zone| &zone.records);
            records.map(|txt| (txt.name.to_string(), txt.value.clone())).collect()
        })
    }

    /// As a validator finds it, which asks each server in its turn: all have it.
    pub fn is_visible(&self, at: &str, value: &str) -> bool {
        let now = self.clock.now();
        self.with(|state| {
            let mut at = name(at);
            while let Some(to) = state.aliases.get(&at) {
                at = to.clone();
            }
            let txt = state.zones.iter().find_map(|zone| {
                let txt = zone.records.iter().find(|txt| txt.name == at && txt.value == value)?;
                Some((txt, zone.servers.iter().map(|(_, lag)| *lag).max().unwrap_or_default()))
            });
            txt.is_some_and(|(txt, lag)| now >= txt.since.plus(lag))
        })
    }

    /// How often the server at 192.0.2.N was asked.
    pub fn asked(&self, last: u8) -> usize {
        self.with(|state| state.asked.iter().filter(|(server, _)| *server == ip(last)).count())
    }

    pub fn updates(&self) -> usize {
        self.with(|state| state.updates)
    }
}

impl State {
    fn zone_of(&self, at: &Name) -> Option<&Zone> {
        self.zones.iter().filter(|zone| at.is_in(&zone.name)).max_by_key(|zone| zone.name.label_count())
    }

    /// Every server answers for all zones; a secondary has the records of its own zones later.
    fn answer(&self, server: SocketAddr, question: &Question, now: Timestamp, answer: &mut Message) {
        let at = &question.name;
        let record =
            |name: &Name, data| Record { name: name.clone(), class: mod_md::dns::Class::IN, ttl: 1, data };
        if let Some(to) = self.aliases.get(at) {
            answer.answers.push(record(at, Data::Cname(to.clone())));
            return;
        }
        let host = |name: &Name| -> Option<u8> {
            name.to_string().strip_prefix("ns")?.split('.').next()?.parse().ok()
        };
        let Some(zone) = self.zone_of(at) else {
            answer.rcode = OptRcode::NXDOMAIN;
            return;
        };
        let lag = zone.servers.iter().find(|(known, _)| *known == server).map(|(_, lag)| *lag);
        match question.rtype {
            Rtype::TXT => {
                let is_here = |txt: &&Txt| txt.name == *at && now >= txt.since.plus(lag.unwrap_or_default());
                let found = zone.records.iter().filter(is_here);
                answer.answers.extend(found.map(|txt| record(at, Data::Txt(txt.value.clone().into_bytes()))));
            }
            Rtype::NS if *at == zone.name => {
                for (server, _) in &zone.servers {
                    let last = server.ip().to_string().rsplit('.').next().unwrap().to_string();
                    let ns = zone.name.child(&format!("ns{last}")).unwrap();
                    answer.answers.push(record(at, Data::Ns(ns)));
                }
            }
            Rtype::A => {
                let address = host(at).map(|last| Data::A([192, 0, 2, last].into()));
                answer.answers.extend(address.map(|data| record(at, data)));
            }
            _ => {
                let soa = Soa {
                    mname: zone.name.clone(),
                    rname: zone.name.clone(),
                    serial: 1,
                    refresh: 1,
                    retry: 1,
                    expire: 1,
                    minimum: 1,
                };
                let is_apex = question.rtype == Rtype::SOA && *at == zone.name;
                let section = if is_apex { &mut answer.answers } else { &mut answer.authority };
                section.push(record(&zone.name, Data::Soa(soa)));
            }
        }
    }

    fn update(&mut self, server: SocketAddr, request: &Message, now: Timestamp) -> OptRcode {
        let zone = &request.questions[0].name;
        let zone = self.zones.iter_mut().find(|known| known.name == *zone && known.servers[0].0 == server);
        let Some(zone) = zone else { return OptRcode::NOTAUTH };
        for record in &request.authority {
            let Data::Txt(value) = &record.data else { return OptRcode::FORMERR };
            let value = String::from_utf8(value.clone()).unwrap();
            if !record.name.is_in(&zone.name) {
                return OptRcode::NOTZONE;
            }
            zone.records.retain(|txt| !(txt.name == record.name && txt.value == value));
            if record.class == mod_md::dns::Class::IN {
                zone.records.push(Txt { name: record.name.clone(), value, since: now });
            }
        }
        OptRcode::NOERROR
    }
}

impl Dns for FakeDns {
    fn ask(&self, server: SocketAddr, question: &Question, _: Recursion) -> Result<Message, Error> {
        let now = self.clock.now();
        let limit = Duration::from_secs(6);
        let is_silent = self.with(|state| {
            state.asked.push((server, question.clone()));
            state.silent.contains(&server)
        });
        if is_silent {
            self.clock.advance(limit);
            return Err(Error::Timeout { server, limit });
        }
        let mut answer = Message::request(1, mod_md::dns::Opcode::QUERY);
        answer.questions.push(question.clone());
        self.with(|state| state.answer(server, question, now, &mut answer));
        Ok(answer)
    }

    fn exchange(&self, server: SocketAddr, request: &[u8]) -> Result<Vec<u8>, Error> {
        let now = self.clock.now();
        let parsed = Message::parse(request).unwrap();
        self.with(|state| {
            state.updates += 1;
            if state.silent.contains(&server) {
                return Err(Error::Timeout { server, limit: Duration::from_secs(10) });
            }
            let is_delete = parsed.authority.iter().any(|record| record.class != mod_md::dns::Class::IN);
            if is_delete && matches!(state.refusal, Some(Refusal::StopAtDelete)) {
                self.clock.stop.raise();
                return Err(Error::Stopped);
            }
            let (rcode, error) = match state.refusal {
                Some(Refusal::Rcode(rcode)) => (rcode, 0),
                Some(Refusal::Tsig(error)) => (OptRcode::NOTAUTH, error),
                None | Some(Refusal::StopAtDelete) => (state.update(server, &parsed, now), 0),
            };
            let answer = Message::response(&parsed, rcode).to_bytes().unwrap();
            Ok(signed(&parsed, answer, error, now))
        })
    }
}

/// The answer with a TSIG record; BADSIG and BADKEY come without a code. The server's clock is an hour ahead
/// where it says BADTIME.
fn signed(request: &Message, mut answer: Vec<u8>, error: u16, now: Timestamp) -> Vec<u8> {
    let Some(Record { name: key, data: Data::Other(_, tsig), .. }) = request.additional.last() else {
        panic!("the request is not signed")
    };
    let code = |at: usize| usize::from(u16::from_be_bytes([tsig[at], tsig[at + 1]]));
    let length_at = ALGORITHM.len() + 8;
    let asked = &tsig[length_at..length_at + 2 + code(length_at)];
    let seconds = u64::try_from(now.unix()).unwrap();
    let other = if error == 18 { (seconds + 3600).to_be_bytes()[2..].to_vec() } else { Vec::new() };
    let time = [&seconds.to_be_bytes()[2..], &300u16.to_be_bytes()].concat();
    let other_length = u16::try_from(other.len()).unwrap().to_be_bytes();
    let tail = [&error.to_be_bytes()[..], &other_length, &other].concat();
    let class = [0, 255, 0, 0, 0, 0];
    let name = key.to_lowercase_bytes();
    let parts = [asked, &answer, &name, &class, ALGORITHM, &time, &tail].concat();
    let secret = PKey::hmac(SECRET).unwrap();
    let code = match error {
        16 | 17 => Vec::new(),
        _ => Signer::new(MessageDigest::sha256(), &secret).unwrap().sign_oneshot_to_vec(&parts).unwrap(),
    };
    let length = u16::try_from(code.len()).unwrap().to_be_bytes();
    let data = [ALGORITHM, &time, &length, &code, &answer[..2], &tail].concat();
    let data_length = u16::try_from(data.len()).unwrap().to_be_bytes();
    let record = [key.as_bytes(), &250u16.to_be_bytes(), &class, &data_length, &data].concat();
    answer[11] += 1;
    answer.extend(record);
    answer
}
