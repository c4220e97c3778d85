// SPDX-License-Identifier: Apache-2.0
//! DNS messages (RFC 1035 §4, EDNS of RFC 6891) as values, read from and written to packets, for clients and
//! servers alike. Refuses packets that end early, names that point in circles, counts that do not hold, and a
//! second OPT record. Record types other than those of [`Data`] keep their bytes. Imports `name` of this room.

use super::Name;
use domain::base::iana::Rcode;
use domain::base::message::RecordSection;
use domain::base::message_builder::{MessageBuilder, PushError, StaticCompressor};
use domain::base::opt::{Opt, OptRecord};
use domain::base::rdata::ParseRecordData;
use domain::base::wire::ParseError;
use domain::base::{Message as Packet, ParsedName, ParsedRecord, Serial, Ttl, UnknownRecordData};
use domain::rdata;
use std::net::{Ipv4Addr, Ipv6Addr};

pub use domain::base::header::Flags;
pub use domain::base::iana::{Class, Opcode, OptRcode, Rtype};

/// The largest message: what fits the length field of DNS over TCP.
pub const MAX_MESSAGE: usize = 65_535;

/// The size of UDP answers that every path carries whole (DNS flag day 2020).
pub const UDP_SIZE: u16 = 1232;

/// The length of the header, which is the shortest message.
pub const HEADER: usize = 12;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: u16,
    pub opcode: Opcode,
    pub flags: Flags,
    /// With the bits that EDNS adds.
    pub rcode: OptRcode,
    /// The zone of an update.
    pub questions: Vec<Question>,
    /// The prerequisites of an update.
    pub answers: Vec<Record>,
    /// The changes of an update.
    pub authority: Vec<Record>,
    /// Without OPT.
    pub additional: Vec<Record>,
    pub edns: Option<Edns>,
}

/// The content of an OPT record, without its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    pub udp_size: u16,
    pub version: u8,
    /// DNSSEC records are wanted.
    pub dnssec_ok: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub name: Name,
    pub rtype: Rtype,
    pub class: Class,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub name: Name,
    pub class: Class,
    pub ttl: u32,
    pub data: Data,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Ns(Name),
    Cname(Name),
    Soa(Soa),
    /// All strings of the record, joined: their borders mean nothing to ACME (RFC 8555 §8.4).
    Txt(Vec<u8>),
    /// Another type, or no data at all, as in updates.
    Other(Rtype, Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soa {
    pub mname: Name,
    pub rname: Name,
    pub serial: u32,
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
    pub minimum: u32,
}

/// Bytes that are no DNS message, or a message that does not fit one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the packet is shorter than its records")]
    Short,
    #[error("the packet is not a DNS message")]
    Form,
    #[error("the message is longer than 64 KiB")]
    Long,
}

impl From<ParseError> for Malformed {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::ShortInput => Malformed::Short,
            ParseError::Form(_) => Malformed::Form,
        }
    }
}

impl From<PushError> for Malformed {
    fn from(_: PushError) -> Self {
        Malformed::Long
    }
}

impl Question {
    /// Of the class IN.
    pub fn new(name: Name, rtype: Rtype) -> Question {
        Question { name, rtype, class: Class::IN }
    }
}

impl Message {
    /// A request with nothing in it.
    pub fn request(id: u16, opcode: Opcode) -> Message {
        Message {
            id,
            opcode,
            flags: Flags::default(),
            rcode: OptRcode::NOERROR,
            questions: Vec::new(),
            answers: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            edns: None,
        }
    }

    /// An answer to `request` with nothing in it but its question.
    pub fn response(request: &Message, rcode: OptRcode) -> Message {
        let flags = Flags { qr: true, rd: request.flags.rd, ..Flags::default() };
        let questions = request.questions.clone();
        Message { flags, rcode, questions, ..Message::request(request.id, request.opcode) }
    }

    pub fn parse(bytes: &[u8]) -> Result<Message, Malformed> {
        if bytes.len() > MAX_MESSAGE {
            return Err(Malformed::Long);
        }
        let packet = Packet::from_octets(bytes).map_err(|_| Malformed::Short)?;
        let header = packet.header();
        let mut message = Message::request(header.id(), header.opcode());
        (message.flags, message.rcode) = (header.flags(), header.rcode().into());
        let questions = packet.question();
        message.questions =
            questions.map(|question| question.map(read_question)).collect::<Result<_, _>>()?;
        let mut section = Some(questions.answer()?);
        for index in 0..3 {
            let Some(mut records) = section.take() else { break };
            message.read_section(index, &mut records)?;
            section = records.next_section()?;
        }
        Ok(message)
    }

    fn read_section<'a>(
        &mut self,
        index: usize,
        records: &mut RecordSection<'a, &'a [u8]>,
    ) -> Result<(), Malformed> {
        for record in records {
            let record = record?;
            if record.rtype() == Rtype::OPT && index == 2 {
                self.read_opt(&record)?;
                continue;
            }
            let record = read_record(&record)?;
            match index {
                0 => self.answers.push(record),
                1 => self.authority.push(record),
                _ => self.additional.push(record),
            }
        }
        Ok(())
    }

    fn read_opt(&mut self, record: &ParsedRecord<'_, &[u8]>) -> Result<(), Malformed> {
        let opt = record.to_record::<Opt<_>>()?.ok_or(Malformed::Form)?;
        if self.edns.is_some() || !record.owner().is_root() {
            return Err(Malformed::Form);
        }
        let opt = OptRecord::from_record(opt);
        let (udp_size, dnssec_ok) = (opt.udp_payload_size(), opt.dnssec_ok());
        self.edns = Some(Edns { udp_size, version: opt.version(), dnssec_ok });
        let low = Rcode::masked_from_int(self.rcode.to_int() as u8);
        self.rcode = OptRcode::from_parts(low, (record.ttl().as_secs() >> 24) as u8);
        Ok(())
    }

    pub fn to_bytes(&self) -> Result<Vec<u8>, Malformed> {
        let mut builder =
            MessageBuilder::from_target(StaticCompressor::new(Vec::new())).map_err(|_| Malformed::Long)?;
        builder.set_push_limit(MAX_MESSAGE);
        let header = builder.header_mut();
        header.set_id(self.id);
        header.set_opcode(self.opcode);
        header.set_flags(self.flags);
        header.set_rcode(self.rcode.rcode());
        let mut questions = builder.question();
        for question in &self.questions {
            questions.push((question.name.inner(), question.rtype, question.class))?;
        }
        let mut answers = questions.answer();
        self.answers.iter().try_for_each(|record| answers.push(written(record)?).map_err(Malformed::from))?;
        let mut authority = answers.authority();
        self.authority
            .iter()
            .try_for_each(|record| authority.push(written(record)?).map_err(Malformed::from))?;
        let mut additional = authority.additional();
        self.additional
            .iter()
            .try_for_each(|record| additional.push(written(record)?).map_err(Malformed::from))?;
        if let Some(edns) = self.edns {
            additional.opt(|opt| {
                opt.set_udp_payload_size(edns.udp_size);
                opt.set_version(edns.version);
                opt.set_dnssec_ok(edns.dnssec_ok);
                opt.set_rcode(self.rcode);
                Ok(())
            })?;
        }
        Ok(additional.finish().into_target())
    }

    /// At most `limit` bytes, which are 512 or more: where the message is longer, its records are left out and
    /// TC is set; of several questions, these as well.
    pub fn to_bytes_within(&self, limit: usize) -> Result<Vec<u8>, Malformed> {
        match self.to_bytes() {
            Ok(bytes) if bytes.len() <= limit => return Ok(bytes),
            Ok(_) | Err(Malformed::Long) => {}
            Err(error) => return Err(error),
        }
        let questions = if self.questions.len() == 1 { self.questions.clone() } else { Vec::new() };
        let flags = Flags { tc: true, ..self.flags };
        let (rcode, edns) = (self.rcode, self.edns);
        Message { flags, rcode, questions, edns, ..Message::request(self.id, self.opcode) }.to_bytes()
    }

    /// The data of the answers about `name`.
    pub fn answers_of<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a Data> {
        self.answers.iter().filter(move |record| record.name == *name).map(|record| &record.data)
    }
}

impl Data {
    pub fn rtype(&self) -> Rtype {
        match self {
            Data::A(_) => Rtype::A,
            Data::Aaaa(_) => Rtype::AAAA,
            Data::Ns(_) => Rtype::NS,
            Data::Cname(_) => Rtype::CNAME,
            Data::Soa(_) => Rtype::SOA,
            Data::Txt(_) => Rtype::TXT,
            Data::Other(rtype, _) => *rtype,
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Data::A(address) => address.octets().to_vec(),
            Data::Aaaa(address) => address.octets().to_vec(),
            Data::Ns(name) | Data::Cname(name) => name.as_bytes().to_vec(),
            Data::Soa(soa) => soa.to_bytes(),
            Data::Txt(text) => txt_strings(text),
            Data::Other(_, bytes) => bytes.clone(),
        }
    }
}

impl Soa {
    fn to_bytes(&self) -> Vec<u8> {
        let numbers = [self.serial, self.refresh, self.retry, self.expire, self.minimum];
        let numbers = numbers.map(u32::to_be_bytes).concat();
        [self.mname.as_bytes(), self.rname.as_bytes(), &numbers].concat()
    }
}

/// A TXT record is one or more strings of at most 255 octets.
fn txt_strings(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 1 + text.len() / 255);
    if text.is_empty() {
        bytes.push(0);
    }
    for part in text.chunks(255) {
        bytes.push(part.len() as u8);
        bytes.extend(part);
    }
    bytes
}

type Written<'a> = domain::base::Record<&'a domain::base::Name<Vec<u8>>, UnknownRecordData<Vec<u8>>>;

fn written(record: &Record) -> Result<Written<'_>, Malformed> {
    let data = UnknownRecordData::from_octets(record.data.rtype(), record.data.to_bytes());
    let data = data.map_err(|_| Malformed::Long)?;
    Ok(Written::new(record.name.inner(), record.class, Ttl::from_secs(record.ttl), data))
}

fn read_question(question: domain::base::Question<ParsedName<&[u8]>>) -> Question {
    let name = Name::of(question.qname());
    Question { name, rtype: question.qtype(), class: question.qclass() }
}

fn read_record(record: &ParsedRecord<'_, &[u8]>) -> Result<Record, Malformed> {
    Ok(Record {
        name: Name::of(&record.owner()),
        class: record.class(),
        ttl: record.ttl().as_secs(),
        data: read_data(record)?,
    })
}

fn read_data(record: &ParsedRecord<'_, &[u8]>) -> Result<Data, Malformed> {
    if record.rdlen() == 0 {
        return Ok(Data::Other(record.rtype(), Vec::new()));
    }
    Ok(match record.rtype() {
        Rtype::A => Data::A(read::<rdata::A>(record)?.addr()),
        Rtype::AAAA => Data::Aaaa(read::<rdata::Aaaa>(record)?.addr()),
        Rtype::NS => Data::Ns(Name::of(read::<rdata::Ns<_>>(record)?.nsdname())),
        Rtype::CNAME => Data::Cname(Name::of(read::<rdata::Cname<_>>(record)?.cname())),
        Rtype::TXT => Data::Txt(read::<rdata::Txt<_>>(record)?.text()),
        Rtype::SOA => Data::Soa(read_soa(&read(record)?)),
        other => Data::Other(other, read::<UnknownRecordData<_>>(record)?.data().to_vec()),
    })
}

fn read<'a, T: ParseRecordData<'a, &'a [u8]>>(record: &ParsedRecord<'a, &'a [u8]>) -> Result<T, Malformed> {
    let record = record.to_record::<T>()?;
    Ok(record.ok_or(Malformed::Form)?.into_data())
}

fn read_soa(soa: &rdata::Soa<ParsedName<&[u8]>>) -> Soa {
    let Serial(serial) = soa.serial();
    Soa {
        mname: Name::of(soa.mname()),
        rname: Name::of(soa.rname()),
        serial,
        refresh: soa.refresh().as_secs(),
        retry: soa.retry().as_secs(),
        expire: soa.expire().as_secs(),
        minimum: soa.minimum().as_secs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn record(text: &str, class: Class, data: Data) -> Record {
        Record { name: name(text), class, ttl: 60, data }
    }

    /// One with everything in it.
    fn full() -> Message {
        let mut message = Message::request(0xbeef, Opcode::UPDATE);
        message.flags = Flags { qr: true, aa: true, rd: true, ad: true, ..Flags::default() };
        message.rcode = OptRcode::BADVERS;
        message.questions.push(Question::new(name("ExAmPle.org"), Rtype::from_int(65_400)));
        let soa = Soa {
            mname: name("ns.example.org"),
            rname: name("hostmaster.example.org"),
            serial: u32::MAX,
            refresh: 1,
            retry: 2,
            expire: 3,
            minimum: 0,
        };
        message.answers = vec![
            record("a.example.org", Class::IN, Data::A(Ipv4Addr::LOCALHOST)),
            record("a.example.org", Class::IN, Data::Aaaa(Ipv6Addr::LOCALHOST)),
            record("b.example.org", Class::IN, Data::Cname(name("a.example.org"))),
            record("example.org", Class::IN, Data::Ns(name("ns.example.org"))),
        ];
        message.authority = vec![
            record("example.org", Class::IN, Data::Soa(soa)),
            record("t.example.org", Class::NONE, Data::Txt(vec![b'x'; 600])),
            record("t.example.org", Class::IN, Data::Txt(Vec::new())),
            record("t.example.org", Class::ANY, Data::Other(Rtype::TXT, Vec::new())),
            record("t.example.org", Class::ANY, Data::Other(Rtype::ANY, Vec::new())),
        ];
        message.additional =
            vec![record("u.example.org", Class::IN, Data::Other(Rtype::from_int(65_400), vec![1, 2, 3]))];
        message.edns = Some(Edns { udp_size: UDP_SIZE, version: 1, dnssec_ok: true });
        message
    }

    #[test]
    fn a_message_is_the_same_after_a_way_through_a_packet() {
        let message = full();
        let bytes = message.to_bytes().unwrap();
        assert_eq!(Message::parse(&bytes).unwrap(), message);
        let question = Message::parse(&bytes).unwrap().questions.remove(0);
        assert_eq!(question.name.to_string(), "ExAmPle.org", "case is kept (0x20)");
        assert!(bytes.len() < 900, "names are compressed: {}", bytes.len());
    }

    /// The packet of dig(1) for `dig +dnssec +bufsize=1232 x.Org ANY`, without its cookie.
    #[test]
    fn a_question_of_dig_is_read() {
        let bytes =
            b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\x01\x01x\x03Org\0\0\xff\0\x01\0\0\x29\x04\xd0\0\0\x80\0\0\0";
        let message = Message::parse(bytes).unwrap();
        assert_eq!(message.edns, Some(Edns { udp_size: 1232, version: 0, dnssec_ok: true }));
        assert!(message.flags.rd && message.flags.ad && !message.flags.qr);
        assert_eq!((message.questions[0].rtype, message.id), (Rtype::ANY, 0x1234));
        assert_eq!(message.to_bytes().unwrap(), bytes);
        let answer = Message::response(&message, OptRcode::REFUSED).to_bytes().unwrap();
        assert_eq!(&answer[..12], b"\x12\x34\x81\x05\0\x01\0\0\0\0\0\0");
        assert_eq!(&answer[12..], &bytes[12..23], "the bytes of the question");
    }

    #[test]
    fn what_is_too_long_is_cut_off_and_says_so() {
        let message = full();
        let whole = message.to_bytes().unwrap();
        assert_eq!(message.to_bytes_within(whole.len()).unwrap(), whole);
        let cut = message.to_bytes_within(whole.len() - 1).unwrap();
        let read = Message::parse(&cut).unwrap();
        assert!(read.flags.tc && read.flags.aa && read.answers.is_empty() && cut.len() < 512);
        assert_eq!(
            (read.questions, read.edns, read.rcode),
            (message.questions.clone(), message.edns, message.rcode)
        );
        let mut many = message.clone();
        many.questions = vec![message.questions[0].clone(); 100];
        assert!(Message::parse(&many.to_bytes_within(512).unwrap()).unwrap().questions.is_empty());
        let mut huge = message;
        huge.answers = vec![record("x", Class::IN, Data::Txt(vec![0; 60_000])); 2];
        assert_eq!(huge.to_bytes(), Err(Malformed::Long));
        assert!(Message::parse(&huge.to_bytes_within(512).unwrap()).unwrap().flags.tc);
        huge.answers = vec![record("x", Class::IN, Data::Txt(vec![0; 70_000]))];
        assert_eq!(huge.to_bytes(), Err(Malformed::Long));
        assert_eq!(Message::parse(&[0; MAX_MESSAGE + 1]), Err(Malformed::Long));
    }

    /// A header with these counts, and the bytes after it.
    fn packet(counts: [u8; 4], rest: &[u8]) -> Vec<u8> {
        let counts = counts.map(|count| [0, count]).concat();
        [&[0, 1, 0, 0][..], &counts, rest].concat()
    }

    #[test]
    fn packets_that_lie_are_refused() {
        let opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
        for (what, bytes) in [
            ("shorter than a header", vec![0; 11]),
            ("no question where one is counted", packet([1, 0, 0, 0], b"")),
            ("a pointer to itself", packet([1, 0, 0, 0], b"\xc0\x0c\0\x01\0\x01")),
            ("a pointer forward", packet([1, 0, 0, 0], b"\xc0\x0e\0\x01\0\x01\0")),
            ("a loop of labels", packet([1, 0, 0, 0], b"\x01a\xc0\x0c\0\x01\0\x01")),
            ("a reserved kind of label", packet([1, 0, 0, 0], b"\x40\0\0\x01\0\x01")),
            (
                "a name above 255",
                packet([1, 0, 0, 0], &[&b"\x3f".repeat(64 * 5)[..], b"\0\0\x01\0\x01"].concat()),
            ),
            ("data beyond the end", packet([0, 1, 0, 0], b"\0\0\x10\0\x01\0\0\0\0\0\x05\x04abc")),
            ("a string beyond its record", packet([0, 1, 0, 0], b"\0\0\x10\0\x01\0\0\0\0\0\x02\x05abcde")),
            ("an address of three bytes", packet([0, 1, 0, 0], b"\0\0\x01\0\x01\0\0\0\0\0\x03abc")),
            ("an address of five bytes", packet([0, 1, 0, 0], b"\0\0\x01\0\x01\0\0\0\0\0\x05abcde")),
            ("two OPT records", packet([0, 0, 0, 2], &opt.repeat(2))),
            ("an OPT record of a name", packet([0, 0, 0, 1], &[b"\x01a", &opt[..]].concat())),
        ] {
            assert!(Message::parse(&bytes).is_err(), "{what}");
        }
        assert!(Message::parse(&packet([0, 0, 0, 1], opt)).is_ok());
    }

    #[test]
    fn every_truncation_is_refused_and_no_mutation_panics() {
        let good = full().to_bytes().unwrap();
        (0..good.len()).for_each(|length| assert!(Message::parse(&good[..length]).is_err(), "{length}"));
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 16).unwrap()
        };
        let mut read = 0;
        for _ in 0..50_000 {
            let mut bytes = good.clone();
            for _ in 0..=random() % 4 {
                let at = random() % bytes.len();
                bytes[at] = random() as u8;
            }
            if let Ok(message) = Message::parse(&bytes) {
                read += 1;
                // Whatever was read can be written and read again.
                let again = message.to_bytes().unwrap();
                assert_eq!(Message::parse(&again).unwrap(), message);
            }
        }
        assert!(read > 5_000, "{read}");
    }
}
