// SPDX-License-Identifier: Apache-2.0
//! A question answered: bytes in, bytes out. Authoritative, TTL 0, never larger than was asked for, with the
//! question as it came. Any name of a zone exists, and has no other records than TXT where values stand; the
//! apex has SOA and NS too. Refuses names outside of the zones, other opcodes, and EDNS of a later version.
//! Imports `question` and `zones`.

use super::question::{Asked, Head, Question, first_label};
use super::zones::{Zone, Zones};
use crate::dns::wire::{HEADER, MAX_MESSAGE, UDP_SIZE};
use crate::dns::{Class, Rtype};
use crate::metrics::DnsResult;

/// The label that validation puts in front of a domain.
const CHALLENGE: &[u8] = b"_acme-challenge";

/// The longest answer by UDP to a client without EDNS.
const PLAIN_UDP: u16 = 512;

const RESPONSE: u16 = 0x8000;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;

/// How the answer travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    Udp,
    /// By UDP, to a source above the limit: it is sent to TCP, which needs an address that is not forged.
    UdpLimited,
    Tcp,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    Answer(Answer<'a>),
    /// Nothing that is ever answered: shorter than a header, or itself an answer.
    Drop,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    pub bytes: Vec<u8>,
    pub result: DnsResult,
    /// For logs. `None`: it has none, or several.
    pub question: Option<Question<'a>>,
}

/// The values could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// `values` are those of a name as the store spells it: in lower case, without `_acme-challenge.`.
pub fn answer<'a>(
    packet: &'a [u8],
    zones: &Zones,
    carrier: Carrier,
    values: impl FnMut(&str) -> Result<Vec<String>, Unreadable>,
) -> Verdict<'a> {
    let Some(head) = Head::read(packet) else { return Verdict::Drop };
    let question = Question::read(packet);
    let asked = question.as_ref().map(|question| Asked::read(packet, question));
    let edns = asked.and_then(Result::ok).flatten();
    let found = match (&question, asked) {
        _ if !head.is_query() => Err(DnsResult::NotImp),
        (None, _) | (_, Some(Err(_))) => Err(DnsResult::FormErr),
        _ if edns.is_some_and(|edns| edns.version > 0) => Err(DnsResult::BadVers),
        (Some(question), _) => records(question, zones, carrier, values),
    };
    let (result, records) = match found {
        Ok(records) => (DnsResult::NoError, records),
        Err(result) => (result, Records::default()),
    };
    let reply = Reply { head, question, edns, result };
    Verdict::Answer(Answer { bytes: reply.bytes(&records, limit(carrier, edns)), result, question })
}

/// The largest answer.
fn limit(carrier: Carrier, edns: Option<Asked>) -> usize {
    match carrier {
        Carrier::Tcp => MAX_MESSAGE,
        _ => usize::from(edns.map_or(PLAIN_UDP, |edns| edns.size.clamp(PLAIN_UDP, UDP_SIZE))),
    }
}

/// Records without their header.
#[derive(Default)]
struct Records {
    answers: Vec<u8>,
    answer_count: u16,
    authority: Vec<u8>,
    authority_count: u16,
}

fn records(
    question: &Question<'_>,
    zones: &Zones,
    carrier: Carrier,
    mut values: impl FnMut(&str) -> Result<Vec<String>, Unreadable>,
) -> Result<Records, DnsResult> {
    let is_transfer = [Rtype::AXFR, Rtype::IXFR].contains(&question.rtype);
    if is_transfer || ![Class::IN.to_int(), Class::ANY.to_int()].contains(&question.class) {
        return Err(DnsResult::Refused);
    }
    let name = question.name().to_ascii_lowercase();
    let (zone, before) = zones.find(&name).ok_or(DnsResult::Refused)?;
    if carrier == Carrier::UdpLimited {
        return Err(DnsResult::Limited);
    }
    let mut records = Records::default();
    let wants = |rtype| question.rtype == rtype || question.rtype == Rtype::ANY;
    if before == 0 {
        records.add_apex(zone, wants);
    }
    if let (true, Some(name)) = (wants(Rtype::TXT), name_in_store(&name)) {
        let values = values(&name).map_err(|Unreadable| DnsResult::ServFail)?;
        values.iter().for_each(|value| records.add(Rtype::TXT, &strings(value.as_bytes())));
    }
    if records.answer_count == 0 {
        record(&mut records.authority, HEADER + before, Rtype::SOA, &zone.soa);
        records.authority_count = 1;
    }
    Ok(records)
}

impl Records {
    fn add_apex(&mut self, zone: &Zone, wants: impl Fn(Rtype) -> bool) {
        if wants(Rtype::SOA) {
            self.add(Rtype::SOA, &zone.soa);
        }
        if wants(Rtype::NS) {
            zone.name_servers.iter().for_each(|host| self.add(Rtype::NS, host));
        }
    }

    /// Of the name in the question.
    fn add(&mut self, rtype: Rtype, data: &[u8]) {
        record(&mut self.answers, HEADER, rtype, data);
        self.answer_count = self.answer_count.saturating_add(1);
    }
}

/// `owner`: where its name stands in the packet.
fn record(out: &mut Vec<u8>, owner: usize, rtype: Rtype, data: &[u8]) {
    put(out, 0xc000 | owner as u16);
    put(out, rtype.to_int());
    put(out, Class::IN.to_int());
    // The TTL.
    out.extend([0; 4]);
    put(out, data.len() as u16);
    out.extend(data);
}

/// Text as TXT records have it: in strings of at most 255 bytes.
fn strings(text: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(text.len() + 1);
    for part in text.chunks(255) {
        data.push(part.len() as u8);
        data.extend(part);
    }
    if data.is_empty() {
        data.push(0);
    }
    data
}

/// The name of the folder with the values of a name in wire format and lower case. `None`: no folder can have
/// it.
fn name_in_store(name: &[u8]) -> Option<String> {
    let mut rest = name;
    if let Some((CHALLENGE, behind)) = first_label(name) {
        rest = behind;
    }
    let mut text = String::with_capacity(rest.len());
    while let Some((label, behind)) = first_label(rest) {
        let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(byte);
        if !label.iter().all(is_plain) {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.extend(label.iter().copied().map(char::from));
        rest = behind;
    }
    (!text.is_empty()).then_some(text)
}

struct Reply<'a> {
    head: Head,
    question: Option<Question<'a>>,
    edns: Option<Asked>,
    result: DnsResult,
}

impl Reply<'_> {
    /// Where all records do not fit into `limit`, none is in it, and TC is set.
    fn bytes(&self, records: &Records, limit: usize) -> Vec<u8> {
        let question = self.question.map_or(&[][..], |question| question.bytes);
        let opt = self.edns.map(|edns| opt(edns, self.result));
        let opt = opt.as_ref().map_or(&[][..], <[u8; 11]>::as_slice);
        let length = HEADER + question.len() + records.answers.len() + records.authority.len() + opt.len();
        let is_cut = self.result == DnsResult::Limited || length > limit;
        let none = Records::default();
        let records = if is_cut { &none } else { records };
        let is_authoritative = matches!(self.result, DnsResult::NoError | DnsResult::Limited);
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let flags = RESPONSE | flag(is_authoritative, AUTHORITATIVE) | flag(is_cut, TRUNCATED);
        let mut out = Vec::with_capacity(length);
        put(&mut out, self.head.id);
        put(&mut out, self.head.repeated | flags | rcode(self.result) & 0xf);
        put(&mut out, u16::from(self.question.is_some()));
        put(&mut out, records.answer_count);
        put(&mut out, records.authority_count);
        put(&mut out, u16::from(self.edns.is_some()));
        [question, &records.answers, &records.authority, opt].into_iter().for_each(|part| out.extend(part));
        out
    }
}

/// The OPT record of an answer (RFC 6891 §6.1.3), with DO as in the question (RFC 3225 §3).
fn opt(asked: Asked, result: DnsResult) -> [u8; 11] {
    let [size_high, size_low] = UDP_SIZE.to_be_bytes();
    let rcode = (rcode(result) >> 4) as u8;
    let dnssec_ok = if asked.dnssec_ok { 0x80 } else { 0 };
    [0, 0, 41, size_high, size_low, rcode, 0, dnssec_ok, 0, 0, 0]
}

fn rcode(result: DnsResult) -> u16 {
    match result {
        DnsResult::NoError | DnsResult::Limited | DnsResult::Dropped => 0,
        DnsResult::FormErr => 1,
        DnsResult::ServFail => 2,
        DnsResult::NotImp => 4,
        DnsResult::Refused => 5,
        DnsResult::BadVers => 16,
    }
}

fn put(out: &mut Vec<u8>, number: u16) {
    out.extend(number.to_be_bytes());
}

#[cfg(test)]
mod tests;
