// SPDX-License-Identifier: Apache-2.0
//! Questions and their answers, read by the messages of `dns`; and packets of strangers.

use super::*;
use crate::dns::wire::Data;
use crate::dns::{Edns, Flags, Message, Name, Opcode, OptRcode, Record};
use proptest::prelude::*;

const SERIAL: u32 = 1_790_000_000;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn zones() -> Zones {
    let hosts = || vec![name("ns.example.net"), name("ns2.example.net")];
    Zones::new(
        [
            (name("acme.example.net"), hosts()),
            (name("sub.acme.example.net"), vec![name("other.test")]),
            (name("_acme-challenge.example.org"), hosts()),
        ],
        SERIAL,
    )
}

/// `a.acme.example.net` has one value, `many…` thirty, `broken…` cannot be read.
fn stored(folder: &str) -> Result<Vec<String>, Unreadable> {
    match folder {
        "a.acme.example.net" | "example.org" => Ok(vec!["the-value".into()]),
        "long.acme.example.net" => Ok(vec!["v".repeat(300)]),
        "many.acme.example.net" => Ok((0..30).map(|n| format!("{n:043}")).collect()),
        "huge.acme.example.net" => Ok((0..2000).map(|n| format!("{n:043}")).collect()),
        "broken.acme.example.net" => Err(Unreadable),
        _ => Ok(Vec::new()),
    }
}

fn asking(text: &str, rtype: Rtype) -> Message {
    let question = crate::dns::Question::new(name(text), rtype);
    Message { questions: vec![question], ..Message::request(0xbeef, Opcode::QUERY) }
}

fn with_edns(size: u16, message: Message) -> Message {
    Message { edns: Some(Edns { udp_size: size, version: 0, dnssec_ok: false }), ..message }
}

fn raw(packet: &[u8], carrier: Carrier) -> Option<(Vec<u8>, DnsResult)> {
    match answer(packet, &zones(), carrier, stored) {
        Verdict::Answer(answer) => {
            // Not a byte more than its counts say.
            let end = match Question::read(&answer.bytes) {
                Some(question) => Asked::read(&answer.bytes, &question).map(drop),
                None => {
                    if answer.bytes.len() == HEADER {
                        Ok(())
                    } else {
                        Err(super::super::question::Malformed)
                    }
                }
            };
            assert!(end.is_ok(), "{:?}", answer.bytes);
            Some((answer.bytes, answer.result))
        }
        Verdict::Drop => None,
    }
}

fn asked(message: &Message, carrier: Carrier) -> (Message, usize) {
    let (bytes, _) = raw(&message.to_bytes().unwrap(), carrier).unwrap();
    (Message::parse(&bytes).unwrap(), bytes.len())
}

fn by_udp(text: &str, rtype: Rtype) -> Message {
    asked(&asking(text, rtype), Carrier::Udp).0
}

fn data(records: &[Record]) -> Vec<Data> {
    assert!(records.iter().all(|record| record.ttl == 0 && record.class == Class::IN));
    records.iter().map(|record| record.data.clone()).collect()
}

fn soa_of(zone: &str, host: &str) -> Data {
    Data::Soa(crate::dns::Soa {
        mname: name(host),
        rname: name(&format!("hostmaster.{zone}")),
        serial: SERIAL,
        refresh: 3600,
        retry: 600,
        expire: 86_400,
        minimum: 0,
    })
}

#[test]
fn a_value_is_answered_with_authority_and_without_being_kept() {
    for (question, owner) in [
        ("a.acme.example.net", "a.acme.example.net"),
        ("_acme-challenge.a.acme.example.net", "_acme-challenge.a.acme.example.net"),
        ("_acme-challenge.example.org", "_acme-challenge.example.org"),
        ("_ACME-Challenge.Example.ORG", "_acme-challenge.example.org"),
    ] {
        let answer = by_udp(question, Rtype::TXT);
        assert_eq!(data(&answer.answers), [Data::Txt(b"the-value".to_vec())], "{question}");
        assert_eq!(answer.answers[0].name, name(owner));
        assert_eq!((answer.id, answer.rcode), (0xbeef, OptRcode::NOERROR));
        assert_eq!(answer.flags, Flags { qr: true, aa: true, ..Flags::default() });
        assert!(answer.authority.is_empty() && answer.additional.is_empty() && answer.edns.is_none());
    }
}

#[test]
fn the_question_comes_back_as_it_was_with_the_bits_that_answers_repeat() {
    let mut message = asking("a.aCMe.eXAMple.neT", Rtype::TXT);
    message.flags = Flags { rd: true, cd: true, ad: true, tc: true, aa: true, ra: true, qr: false };
    let packet = message.to_bytes().unwrap();
    let (bytes, _) = raw(&packet, Carrier::Udp).unwrap();
    assert_eq!(bytes[HEADER..packet.len()], packet[HEADER..], "0x20");
    let flags = Message::parse(&bytes).unwrap().flags;
    assert_eq!(flags, Flags { qr: true, aa: true, rd: true, cd: true, ..Flags::default() });
}

#[test]
fn any_name_of_a_zone_exists_and_what_it_has_not_is_an_empty_answer_with_the_soa() {
    for (question, rtype, zone, host) in [
        ("nothing.acme.example.net", Rtype::TXT, "acme.example.net", "ns.example.net"),
        ("a.acme.example.net", Rtype::A, "acme.example.net", "ns.example.net"),
        ("acme.example.net", Rtype::A, "acme.example.net", "ns.example.net"),
        ("acme.example.net", Rtype::DS, "acme.example.net", "ns.example.net"),
        ("a.b.c.d.acme.example.net", Rtype::NS, "acme.example.net", "ns.example.net"),
        ("a.acme.example.net", Rtype::from_int(65_280), "acme.example.net", "ns.example.net"),
        ("x.sub.acme.example.net", Rtype::TXT, "sub.acme.example.net", "other.test"),
        ("_acme-challenge.example.org", Rtype::CAA, "_acme-challenge.example.org", "ns.example.net"),
    ] {
        let answer = by_udp(question, rtype);
        assert!(answer.answers.is_empty(), "{question}");
        assert_eq!((answer.rcode, answer.flags.aa), (OptRcode::NOERROR, true), "{question}");
        assert_eq!(data(&answer.authority), [soa_of(zone, host)], "{question}");
        assert_eq!(answer.authority[0].name, name(zone));
    }
}

#[test]
fn the_apex_has_soa_and_ns() {
    let soa = by_udp("acme.example.net", Rtype::SOA);
    assert_eq!(data(&soa.answers), [soa_of("acme.example.net", "ns.example.net")]);
    let ns = by_udp("ACME.example.net", Rtype::NS);
    assert_eq!(data(&ns.answers), [Data::Ns(name("ns.example.net")), Data::Ns(name("ns2.example.net"))]);
    assert!(ns.authority.is_empty());
    let any = by_udp("_acme-challenge.example.org", Rtype::ANY);
    assert_eq!(any.answers.len(), 4, "SOA, two NS and TXT");
}

#[test]
fn what_is_not_answered_has_a_code_for_it() {
    let in_class = |class| {
        let mut message = asking("a.acme.example.net", Rtype::TXT);
        message.questions[0].class = class;
        message
    };
    let opcode = |opcode| Message { opcode, ..asking("a.acme.example.net", Rtype::SOA) };
    let two = || {
        let mut message = asking("a.acme.example.net", Rtype::TXT);
        message.questions.push(message.questions[0].clone());
        message
    };
    for (message, rcode) in [
        (asking("example.net", Rtype::TXT), OptRcode::REFUSED),
        (asking("xacme.example.net", Rtype::TXT), OptRcode::REFUSED),
        (asking(".", Rtype::NS), OptRcode::REFUSED),
        (asking("example.org", Rtype::TXT), OptRcode::REFUSED),
        (asking("acme.example.net", Rtype::AXFR), OptRcode::REFUSED),
        (asking("acme.example.net", Rtype::IXFR), OptRcode::REFUSED),
        (in_class(Class::CH), OptRcode::REFUSED),
        (opcode(Opcode::UPDATE), OptRcode::NOTIMP),
        (opcode(Opcode::NOTIFY), OptRcode::NOTIMP),
        (opcode(Opcode::from_int(15)), OptRcode::NOTIMP),
        (Message::request(7, Opcode::QUERY), OptRcode::FORMERR),
        (two(), OptRcode::FORMERR),
        (asking("broken.acme.example.net", Rtype::TXT), OptRcode::SERVFAIL),
    ] {
        let (answer, _) = asked(&message, Carrier::Udp);
        assert_eq!(answer.rcode, rcode, "{message:?}");
        assert!(!answer.flags.aa && answer.answers.is_empty() && answer.authority.is_empty(), "{message:?}");
        assert_eq!((answer.id, answer.opcode), (message.id, message.opcode));
    }
    assert_eq!(
        by_udp("broken.acme.example.net", Rtype::A).rcode,
        OptRcode::NOERROR,
        "nothing has to be read"
    );
    assert_eq!(asked(&in_class(Class::ANY), Carrier::Udp).0.answers.len(), 1);
}

#[test]
fn edns_is_answered_with_ours_and_a_later_version_is_not_understood() {
    let mut message = with_edns(1232, asking("a.acme.example.net", Rtype::TXT));
    let plain = asked(&message, Carrier::Udp).0.edns.unwrap();
    assert_eq!(plain, Edns { udp_size: 1232, version: 0, dnssec_ok: false });
    message.edns = Some(Edns { udp_size: 4096, version: 0, dnssec_ok: true });
    assert!(asked(&message, Carrier::Udp).0.edns.unwrap().dnssec_ok);
    message.edns = Some(Edns { udp_size: 1232, version: 1, dnssec_ok: true });
    let (answer, _) = asked(&message, Carrier::Udp);
    assert_eq!(answer.rcode, OptRcode::BADVERS);
    assert_eq!(answer.edns, Some(Edns { udp_size: 1232, version: 0, dnssec_ok: true }));
    assert!(answer.answers.is_empty() && !answer.flags.aa);
    assert_eq!(answer.questions.len(), 1);
}

#[test]
fn an_answer_is_never_larger_than_was_asked_for() {
    let question = || asking("many.acme.example.net", Rtype::TXT);
    for (message, carrier, limit, is_cut) in [
        (question(), Carrier::Udp, 512, true),
        (with_edns(0, question()), Carrier::Udp, 512, true),
        (with_edns(1000, question()), Carrier::Udp, 1000, true),
        (with_edns(65_535, question()), Carrier::Udp, 1232, true),
        (with_edns(65_535, asking("a.acme.example.net", Rtype::TXT)), Carrier::Udp, 1232, false),
        (question(), Carrier::Tcp, 65_535, false),
        (with_edns(512, question()), Carrier::Tcp, 65_535, false),
        (asking("huge.acme.example.net", Rtype::TXT), Carrier::Tcp, 65_535, true),
    ] {
        let (answer, length) = asked(&message, carrier);
        assert!(length <= limit, "{length} > {limit}");
        assert_eq!(answer.flags.tc, is_cut, "{limit}");
        assert_eq!(answer.answers.is_empty(), is_cut);
        assert_eq!(answer.edns.is_some(), message.edns.is_some());
    }
    let long = by_udp("long.acme.example.net", Rtype::TXT);
    assert_eq!(data(&long.answers), [Data::Txt(vec![b'v'; 300])], "in two strings");
}

#[test]
fn who_asks_too_much_is_sent_to_tcp() {
    let (answer, _) = asked(&asking("a.acme.example.net", Rtype::TXT), Carrier::UdpLimited);
    assert_eq!(answer.flags, Flags { qr: true, aa: true, tc: true, ..Flags::default() });
    assert_eq!((answer.rcode, answer.answers.len(), answer.authority.len()), (OptRcode::NOERROR, 0, 0));
    assert_eq!(answer.questions.len(), 1);
    let packet = asking("a.acme.example.net", Rtype::TXT).to_bytes().unwrap();
    assert_eq!(raw(&packet, Carrier::UdpLimited).unwrap().1, DnsResult::Limited);
    assert_eq!(asked(&asking("example.net", Rtype::TXT), Carrier::UdpLimited).0.rcode, OptRcode::REFUSED);
}

#[test]
fn what_is_no_question_gets_no_answer() {
    let packet = asking("a.acme.example.net", Rtype::TXT).to_bytes().unwrap();
    let mut answer = packet.clone();
    answer[2] |= 0x80;
    assert_eq!(raw(&answer, Carrier::Udp), None, "an answer");
    for length in 0..HEADER {
        assert_eq!(raw(&packet[..length], Carrier::Udp), None, "{length} bytes");
    }
}

/// A question with these bytes as name, and these behind it.
fn packet(name: &[u8], counts: [u8; 4], behind: &[u8]) -> Vec<u8> {
    let counts = counts.map(|count| [0, count]).concat();
    [&[0, 1, 0, 0][..], &counts, name, &[0, 16, 0, 1], behind].concat()
}

#[test]
fn broken_packets_get_formerr_and_nothing_more() {
    let good = b"\x01a\x04acme\x07example\x03net\0";
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let long = [[63; 64].as_slice(), &[63; 64], &[63; 64], &[63; 64], &[0]].concat();
    for (what, packet) in [
        ("a pointer in the question", packet(b"\x01a\xc0\x0c", [1, 0, 0, 0], b"")),
        ("a pointer to itself", packet(b"\xc0\x0c", [1, 0, 0, 0], b"")),
        ("an unknown kind of label", packet(b"\x41a\0", [1, 0, 0, 0], b"")),
        ("a name of 257 bytes", packet(&long, [1, 0, 0, 0], b"")),
        ("a name without end", packet(b"\x3fa", [1, 0, 0, 0], b"")),
        ("trailing bytes", packet(good, [1, 0, 0, 0], b"x")),
        ("no record where one is counted", packet(good, [1, 0, 0, 1], b"")),
        ("a record that is cut", packet(good, [1, 0, 0, 1], &opt[..10])),
        ("data beyond the end", packet(good, [1, 0, 0, 1], &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 9])),
        ("two OPT", packet(good, [1, 0, 0, 2], &[opt, opt].concat())),
        ("OPT of a name", packet(good, [1, 0, 0, 1], &[&[1, b'a'][..], &opt].concat())),
        ("OPT among the answers", packet(good, [1, 1, 0, 0], &opt)),
        ("no question", packet(b"", [0, 0, 0, 0], b"")),
    ] {
        let (bytes, result) = raw(&packet, Carrier::Udp).unwrap();
        assert_eq!(result, DnsResult::FormErr, "{what}");
        assert!(bytes.len() <= packet.len().max(HEADER), "{what}");
        Message::parse(&bytes).unwrap();
    }
    let signed = packet(good, [1, 0, 0, 2], &[&opt[..], b"\xc0\x0c\0\xfa\0\xff\0\0\0\0\0\x02hi"].concat());
    assert_eq!(
        raw(&signed, Carrier::Udp).unwrap().1,
        DnsResult::NoError,
        "records of other types are passed over"
    );
}

#[test]
fn names_that_no_folder_has_are_not_looked_for() {
    for label in [&b"\x02.."[..], b"\x01/", b"\x04a\0bc", b"\x03a b", b"\x01*", b"\x02\xc3\xa4", b"\x05../md"]
    {
        let name = [label, b"\x04acme\x07example\x03net\0"].concat();
        let packet = packet(&name, [1, 0, 0, 0], b"");
        let verdict = answer(&packet, &zones(), Carrier::Udp, |name| panic!("{name:?}"));
        let Verdict::Answer(answer) = verdict else { panic!("{label:?}") };
        assert_eq!(answer.result, DnsResult::NoError, "{label:?}");
    }
    assert_eq!(name_in_store(b"\x0f_acme-challenge\x01b\0").as_deref(), Some("b"));
    assert_eq!(name_in_store(b"\x02_x\x0f_acme-challenge\x01b\0").as_deref(), Some("_x._acme-challenge.b"));
    assert_eq!(name_in_store(b"\x0f_acme-challenge\0"), None);
    assert_eq!(name_in_store(b"\0"), None);
}

#[test]
fn the_log_shows_nothing_that_is_not_printable() {
    let name = b"\x06a\n.\x00\xff \x04acme\x07example\x03net\0";
    let packet = packet(name, [1, 0, 0, 0], b"");
    let question = Question::read(&packet).unwrap();
    assert_eq!(question.to_string(), "TXT a\\010\\046\\000\\255\\032.acme.example.net");
    assert_eq!(Question::read(&asking(".", Rtype::NS).to_bytes().unwrap()).unwrap().to_string(), "NS .");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any packet at all, and questions with a byte changed or the end cut off.
    #[test]
    fn no_packet_is_too_much(
        noise in proptest::collection::vec(any::<u8>(), 0..80),
        at in 0usize..80, byte: u8, length in 0usize..80, size: u16,
    ) {
        let mut changed = with_edns(size, asking("a.acme.example.net", Rtype::TXT)).to_bytes().unwrap();
        let end = changed.len();
        changed[at % end] = byte;
        let cut = &changed[..length.min(end)];
        for packet in [&noise[..], &changed, cut] {
            for carrier in [Carrier::Udp, Carrier::UdpLimited, Carrier::Tcp] {
                let Some((bytes, _)) = raw(packet, carrier) else { continue };
                prop_assert_eq!(&bytes[..2], &packet[..2]);
                prop_assert!(bytes[2] & 0x80 != 0, "an answer");
                prop_assert!(bytes.len() <= 1232);
                prop_assert!(Message::parse(&bytes).is_ok());
            }
        }
    }
}
