// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever bytes come as a DNS message: nothing panics, loops or grows; what was read is
//! read again from what is written; only a signed answer passes as one.
#![allow(dead_code, reason = "each target makes one of the checks")]

use mod_md::dns::{
    Algorithm, Class, Data, Dns, Edns, Error, Malformed, Message, Name, Opcode, OptRcode, Question, Record,
    Recursion, Resolver, Rtype, TsigKey, resolve, tsig, wire,
};
use mod_md::time::Timestamp;
use std::net::SocketAddr;

/// The instant at which the request is signed.
pub const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// Says the same to everyone.
struct Canned<'a>(&'a Message);

impl Dns for Canned<'_> {
    fn ask(&self, _: SocketAddr, _: &Question, _: Recursion) -> Result<Message, Error> {
        Ok(self.0.clone())
    }

    fn exchange(&self, _: SocketAddr, _: &[u8]) -> Result<Vec<u8>, Error> {
        unreachable!("nothing is changed")
    }
}

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// The key of the seeds.
pub fn key() -> TsigKey {
    TsigKey::new(name("acme"), Algorithm::parse("hmac-sha256").unwrap(), b"secret of the seeds".to_vec())
}

/// The update that the signed seed answers.
pub fn update() -> Message {
    let mut request = Message::request(7, Opcode::UPDATE);
    request.questions.push(Question::new(name("a.test"), Rtype::SOA));
    let data = Data::Txt(b"value".to_vec());
    request.authority.push(Record { name: name("x.a.test"), class: Class::IN, ttl: 60, data });
    request
}

fn read(bytes: &[u8]) -> Option<Message> {
    let message = Message::parse(bytes).ok()?;
    match message.to_bytes() {
        Ok(written) => assert!(Message::parse(&written).unwrap() == message, "another message is written"),
        // Names that were compressed by pointers into data are written in full.
        Err(error) => assert!(error == Malformed::Long && bytes.len() > 512),
    }
    for name in message.questions.iter().map(|question| &question.name) {
        let text = name.to_string();
        assert!(!text.contains(|c: char| c.is_control()) && Name::parse(&text).unwrap() == *name, "{text:?}");
    }
    Some(message)
}

/// As the answer of a server that is asked, and to an update.
pub fn check_answer(bytes: &[u8]) {
    let signed = tsig::sign(&key(), update().to_bytes().unwrap(), NOW).unwrap();
    let verified = tsig::verify(&key(), &signed, bytes, NOW);
    if let Ok(answer) = verified {
        let expected = Message::response(&update(), OptRcode::NOERROR);
        assert!(Message { id: 7, ..answer } == expected, "nobody has signed this");
    }
    let Some(message) = read(bytes) else { return };
    let dns = Canned(&message);
    let servers = [SocketAddr::from(([127, 0, 0, 1], 53))];
    let resolver = Resolver::new(&dns, &servers);
    let asked = message.questions.first().map_or_else(|| name("x.a.test"), |question| question.name.clone());
    let _ = resolver.follow(&asked);
    if let Ok(zone) = resolver.zone_of(&asked) {
        assert!(asked.is_in(&zone) && !zone.is_root());
    }
    if let Ok(found) = resolver.authoritative(&asked) {
        assert!(found.len() <= 16 && found.iter().all(|server| server.addresses.len() <= 16));
    }
    let _ = resolve::txt(&dns, servers[0], &asked);
}

/// As the request of a client, which gets an answer that is no longer than it can take.
pub fn check_request(bytes: &[u8]) {
    let Some(request) = read(bytes) else { return };
    let mut answer = Message::response(&request, OptRcode::NOERROR);
    answer.edns = request.edns.map(|edns| Edns { udp_size: wire::UDP_SIZE, version: 0, ..edns });
    if let Some(question) = request.questions.first() {
        let record = |text: &[u8]| Record {
            name: question.name.clone(),
            class: Class::IN,
            ttl: 0,
            data: Data::Txt(text.to_vec()),
        };
        answer.answers = vec![record(&[b'x'; 43]), record(bytes)];
    }
    let limit = request.edns.map_or(512, |edns| usize::from(edns.udp_size.clamp(512, wire::UDP_SIZE)));
    let written = answer.to_bytes_within(limit).unwrap();
    assert!(written.len() <= limit, "{} of {limit}", written.len());
    let read = Message::parse(&written).unwrap();
    assert!(read.id == request.id && read.flags.qr && (read.flags.tc || read == answer));
}
