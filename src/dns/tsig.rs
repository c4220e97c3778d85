// SPDX-License-Identifier: Apache-2.0
//! Signed transactions (RFC 8945): signs a request, and verifies that the answer to it comes from whoever has
//! the same key. Refuses answers without a signature, also those that report success; answers of another key,
//! with another or a truncated code, or of another time. Imports `key` and `wire` of this room.

use super::key::TsigKey;
use super::wire::{Malformed, Message};
use super::{Name, OptRcode};
use crate::crypto::{self, hmac};
use crate::time::Timestamp;
use domain::base::iana::{Class, Rtype, TsigRcode};
use domain::base::message::RecordSection;
use domain::base::{Message as Packet, ParsedName, ParsedRecord};
use domain::rdata::tsig::Tsig;

/// Seconds by which the clocks of both sides may differ.
const FUDGE: u16 = 300;

/// A request to send, and what its answer is verified with.
pub struct Signed {
    pub bytes: Vec<u8>,
    code: Vec<u8>,
    at: u64,
}

/// Why an answer is not to be trusted. What it says (BADKEY and BADSIG come without a signature) is good for
/// words only.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the server does not know the key (BADKEY)")]
    BadKey,
    #[error("the server has another secret for the key (BADSIG)")]
    BadSig,
    /// Seconds by which the server's clock is ahead of ours.
    #[error("the server refuses our time (BADTIME): {}", difference(*.0))]
    BadTime(i64),
    #[error("the server refuses the signature (TSIG error {0})")]
    Other(u16),
    #[error("the answer ({0}) is not signed")]
    Unsigned(OptRcode),
    #[error("the answer is signed with another key")]
    OtherKey,
    #[error("the signature of the answer is wrong")]
    Forged,
    #[error("the answer is of another time: {}", difference(*.0))]
    Stale(i64),
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Crypto(#[from] crypto::Error),
}

fn difference(seconds: i64) -> String {
    let whose = if seconds < 0 { "behind" } else { "ahead of" };
    let seconds = usize::try_from(seconds.unsigned_abs()).unwrap_or(usize::MAX);
    format!("its clock is {} {whose} this machine's", crate::log::counted(seconds, "second"))
}

/// Signs a message without a TSIG record.
pub fn sign(key: &TsigKey, mut message: Vec<u8>, now: Timestamp) -> Result<Signed, Error> {
    let id = message.get(..2).ok_or(Malformed::Short)?.to_vec();
    let at = u64::try_from(now.unix()).unwrap_or(0);
    let variables = Variables { at, fudge: FUDGE, error: 0, other: &[] };
    let code = variables.code(key, &[], &message)?;
    add_to_additional(&mut message, 1)?;
    message.extend(record(key, &variables, &code, &id));
    Ok(Signed { bytes: message, code, at })
}

/// The answer to `request`, without its TSIG record.
pub fn verify(key: &TsigKey, request: &Signed, answer: &[u8], now: Timestamp) -> Result<Message, Error> {
    let mut message = Message::parse(answer)?;
    let Some((start, tsig)) = find(answer)? else { return Err(Error::Unsigned(message.rcode)) };
    let error = tsig.data.error();
    if tsig.name != key.name || Name::of(tsig.data.algorithm()) != algorithm_name(key)? {
        return Err(unsigned(error).unwrap_or(Error::OtherKey));
    }
    let mut covered = answer.get(..start).ok_or(Malformed::Short)?.to_vec();
    add_to_additional(&mut covered, -1)?;
    covered.splice(..2, tsig.data.original_id().to_be_bytes());
    let other = *tsig.data.other();
    let at = time(&tsig.data.time_signed().into_octets());
    let variables = Variables { at, fudge: tsig.data.fudge(), error: error.to_int(), other };
    let length = u16::try_from(request.code.len()).unwrap_or(0).to_be_bytes();
    let code = variables.code(key, &[&length, &request.code], &covered)?;
    if !hmac::is_same(&code, tsig.data.mac_slice()) {
        return Err(unsigned(error).unwrap_or(Error::Forged));
    }
    judge(error, other, at, request, now)?;
    message.additional.pop();
    Ok(message)
}

/// What a signed answer says of the time.
fn judge(error: TsigRcode, other: &[u8], at: u64, request: &Signed, now: Timestamp) -> Result<(), Error> {
    match error {
        TsigRcode::NOERROR => {
            let ahead = at.cast_signed().saturating_sub(now.unix());
            if ahead.unsigned_abs() > u64::from(FUDGE) { Err(Error::Stale(ahead)) } else { Ok(()) }
        }
        TsigRcode::BADTIME => {
            Err(Error::BadTime(time(other).cast_signed().saturating_sub(request.at.cast_signed())))
        }
        error => Err(unsigned(error).unwrap_or(Error::Other(error.to_int()))),
    }
}

/// What a server says that could not verify the request, or what somebody says in its name.
fn unsigned(error: TsigRcode) -> Option<Error> {
    match error {
        TsigRcode::NOERROR | TsigRcode::BADTIME => None,
        TsigRcode::BADKEY => Some(Error::BadKey),
        TsigRcode::BADSIG => Some(Error::BadSig),
        error => Some(Error::Other(error.to_int())),
    }
}

/// What the code covers beside the message (RFC 8945 §4.3.3).
struct Variables<'a> {
    at: u64,
    fudge: u16,
    error: u16,
    other: &'a [u8],
}

impl Variables<'_> {
    fn code(&self, key: &TsigKey, before: &[&[u8]], message: &[u8]) -> Result<Vec<u8>, Error> {
        let name = key.name.to_lowercase_bytes();
        let fixed = [&Class::ANY.to_int().to_be_bytes()[..], &[0; 4]].concat();
        let algorithm = algorithm_name(key)?;
        let time = self.time_and_fudge();
        let error = self.error_and_other();
        let own: [&[u8]; 6] = [message, &name, &fixed, algorithm.as_bytes(), &time, &error];
        let parts = [before, &own[..]].concat();
        Ok(hmac::code(key.algorithm.0, &key.secret, &parts)?.to_vec())
    }

    fn time_and_fudge(&self) -> Vec<u8> {
        let [_, _, time @ ..] = self.at.to_be_bytes();
        [&time[..], &self.fudge.to_be_bytes()].concat()
    }

    fn error_and_other(&self) -> Vec<u8> {
        let length = u16::try_from(self.other.len()).unwrap_or(0);
        [&self.error.to_be_bytes(), &length.to_be_bytes(), self.other].concat()
    }
}

/// The TSIG record in wire format, names uncompressed.
fn record(key: &TsigKey, variables: &Variables<'_>, code: &[u8], id: &[u8]) -> Vec<u8> {
    let algorithm = algorithm_name(key).map(|name| name.as_bytes().to_vec()).unwrap_or_default();
    let length = u16::try_from(code.len()).unwrap_or(0).to_be_bytes();
    let (time, error) = (variables.time_and_fudge(), variables.error_and_other());
    let data = [&algorithm[..], &time, &length, code, id, &error].concat();
    let length = u16::try_from(data.len()).unwrap_or(0).to_be_bytes();
    let kind = [Rtype::TSIG.to_int().to_be_bytes(), Class::ANY.to_int().to_be_bytes()].concat();
    [key.name.as_bytes(), &kind, &[0; 4], &length, &data].concat()
}

fn algorithm_name(key: &TsigKey) -> Result<Name, Malformed> {
    Name::parse(key.algorithm.word()).map_err(|_| Malformed::Form)
}

struct Found<'a> {
    name: Name,
    data: Tsig<&'a [u8], ParsedName<&'a [u8]>>,
}

/// The TSIG record and where it begins. It is the last one of the message; anywhere else it is an error.
fn find(bytes: &[u8]) -> Result<Option<(usize, Found<'_>)>, Malformed> {
    let packet = Packet::from_octets(bytes).map_err(|_| Malformed::Short)?;
    let mut records: RecordSection<'_, _> = packet.additional()?;
    let mut last: Option<(usize, ParsedRecord<'_, &[u8]>)> = None;
    loop {
        let start = records.pos();
        let Some(record) = records.next() else { break };
        if last.is_some_and(|(_, record)| record.rtype() == Rtype::TSIG) {
            return Err(Malformed::Form);
        }
        last = Some((start, record?));
    }
    let Some((start, record)) = last.filter(|(_, record)| record.rtype() == Rtype::TSIG) else {
        return Ok(None);
    };
    let name = Name::of(&record.owner());
    let data = record.to_record::<Tsig<_, _>>()?.ok_or(Malformed::Form)?.into_data();
    Ok(Some((start, Found { name, data })))
}

/// Changes the count of additional records, the last number of the header.
fn add_to_additional(message: &mut [u8], change: i16) -> Result<(), Malformed> {
    let count = message.get_mut(10..12).ok_or(Malformed::Short)?;
    let number = count.iter().fold(0, |number: u16, byte| number << 8 | u16::from(*byte));
    let number = number.checked_add_signed(change).ok_or(Malformed::Form)?;
    count.copy_from_slice(&number.to_be_bytes());
    Ok(())
}

/// Up to eight bytes as a number.
fn time(bytes: &[u8]) -> u64 {
    bytes.iter().take(6).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
