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

/// A request to send, with the code that its answer is verified with.
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

/// The time in a signed answer.
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

/// The bytes that the code covers beside the message (RFC 8945 §4.3.3).
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
    // The code covers these two as they have to be, and not as they are.
    if record.class() != Class::ANY || record.ttl().as_secs() != 0 {
        return Err(Malformed::Form);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Algorithm, Change, Update};
    use data_encoding::HEXLOWER;

    /// A request of BIND 9.18's nsupdate to named, and the answer.
    struct Vector {
        name: &'static str,
        algorithm: &'static str,
        request: &'static str,
        answer: &'static str,
    }

    const VECTORS: &[Vector] = &[
        Vector {
            name: "acme",
            algorithm: "hmac-sha256",
            request: "ef0028000001000000010001076578616d706c65047465737400000600010f5f61636d652d6368616c6c65\
                      6e6765c00c001000010000003c00060576616c75650461636d650000fa00ff00000000003d0b686d61632d\
                      7368613235360000006b084240012c0020412a187a66270275c83b5200be33bda3409171df882fdd8b9c3f\
                      441e797ecf89ef0000000000",
            answer: "ef00a8000001000000000001076578616d706c65047465737400000600010461636d650000fa00ff000000\
                     00003d0b686d61632d7368613235360000006b084240012c002039af763673f6fea6e258a8c984f829000f\
                     daf6c4d13bfd085f2be8d071871db9ef0000000000",
        },
        Vector {
            name: "acme1",
            algorithm: "hmac-sha1",
            request: "43a428000001000000010001076578616d706c65047465737400000600010f5f61636d652d6368616c6c65\
                      6e6765c00c001000010000003c00060576616c75650561636d65310000fa00ff00000000002f09686d6163\
                      2d736861310000006b084240012c0014c0956e8c93df0609ec97b233de7a747eaebbda2b43a400000000",
            answer: "43a4a8000001000000000001076578616d706c65047465737400000600010561636d65310000fa00ff0000\
                     0000002f09686d61632d736861310000006b084240012c00147ee5fd4a54a458acdde647cb005a70b343a0\
                     ea2f43a400000000",
        },
        Vector {
            name: "acme224",
            algorithm: "hmac-sha224",
            request: "ccbb28000001000000010001076578616d706c65047465737400000600010f5f61636d652d6368616c6c65\
                      6e6765c00c001000010000003c00060576616c75650761636d653232340000fa00ff0000000000390b686d\
                      61632d7368613232340000006b084240012c001ca9a17278d2461fdf5af477db9264508e96fc47df2c70de\
                      4594ec2ceaccbb00000000",
            answer: "ccbba8000001000000000001076578616d706c65047465737400000600010761636d653232340000fa00ff\
                     0000000000390b686d61632d7368613232340000006b084240012c001c8901bb021a3794683d3cd0acf8a8\
                     c6ed5828fee8816ce1552d14720eccbb00000000",
        },
        Vector {
            name: "acme384",
            algorithm: "hmac-sha384",
            request: "d2f928000001000000010001076578616d706c65047465737400000600010f5f61636d652d6368616c6c65\
                      6e6765c00c001000010000003c00060576616c75650761636d653338340000fa00ff00000000004d0b686d\
                      61632d7368613338340000006b084240012c003067ad9f021e346f01c4eaa4c1fcfba77082bdf0b05c54e2\
                      4c06b516354f7cab28b45d56a51ffdebec2794294a321554bed2f900000000",
            answer: "d2f9a8000001000000000001076578616d706c65047465737400000600010761636d653338340000fa00ff\
                     00000000004d0b686d61632d7368613338340000006b084240012c003094beb28f11beb67e23e0ec93eea6\
                     d3bc5c7c20a164cf18206d29e94dc99a9b1cec3ae33555dcb555b9b7f984999affecd2f900000000",
        },
        Vector {
            name: "acme512",
            algorithm: "hmac-sha512",
            request: "a0f328000001000000010001076578616d706c65047465737400000600010f5f61636d652d6368616c6c65\
                      6e6765c00c001000010000003c00060576616c75650761636d653531320000fa00ff00000000005d0b686d\
                      61632d7368613531320000006b084240012c0040911c69e65d18912a2d32ff4fa4851896e843fe41af472f\
                      c53254a688124b4f143153c9ad621a32fbad8d6a1fcb8f539c6dab022aa8b29c5f9092cfcc2626820fa0f3\
                      00000000",
            answer: "a0f3a8000001000000000001076578616d706c65047465737400000600010761636d653531320000fa00ff\
                     00000000005d0b686d61632d7368613531320000006b084240012c004033e39302b1acf4fefb28067efca5\
                     2a5008d39ff1a97b893dc603baa91cbba0a1a5786e5f60568acb58ed36aca7a83db2d15584b150eb5d72df\
                     10ec34066fedb2a0f300000000",
        },
    ];

    const SECRET: &[u8] = b"secret of the vectors of mod_md";

    fn key(name: &str, algorithm: &str, secret: &[u8]) -> TsigKey {
        TsigKey::new(Name::parse(name).unwrap(), Algorithm::parse(algorithm).unwrap(), secret.to_vec())
    }

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    fn update(id: [u8; 2]) -> Vec<u8> {
        let name = |text| Name::parse(text).unwrap();
        let update = Update {
            server: ([127, 0, 0, 1], 53).into(),
            zone: name("example.test"),
            name: name("_acme-challenge.example.test"),
            value: b"value".to_vec(),
            change: Change::Add { ttl: 60 },
        };
        update.message(u16::from_be_bytes(id)).to_bytes().unwrap()
    }

    /// The request of the first vector, and the time of it.
    fn signed() -> (TsigKey, Signed, Timestamp) {
        let key = key("acme", "hmac-sha256", SECRET);
        let now = Timestamp::from_unix(1_800_000_000);
        let signed = sign(&key, update([1, 2]), now).unwrap();
        (key, signed, now)
    }

    /// The answer of a server that has this key.
    fn answer(key: &TsigKey, request: &Signed, variables: &Variables<'_>) -> Vec<u8> {
        let mut message = Message::parse(&request.bytes).unwrap();
        message.flags.qr = true;
        message.authority.clear();
        message.additional.clear();
        let mut bytes = message.to_bytes().unwrap();
        let length = u16::try_from(request.code.len()).unwrap().to_be_bytes();
        let code = variables.code(key, &[&length, &request.code], &bytes).unwrap();
        add_to_additional(&mut bytes, 1).unwrap();
        bytes.extend(record(key, variables, &code, &request.bytes[..2]));
        bytes
    }

    #[test]
    fn requests_are_those_of_nsupdate_and_answers_of_named_are_taken() {
        for vector in VECTORS {
            let (request, answer) = (hex(vector.request), hex(vector.answer));
            let (_, found) = find(&request).unwrap().unwrap();
            let now = Timestamp::from_unix(time(&found.data.time_signed().into_octets()).cast_signed());
            let key = key(vector.name, vector.algorithm, SECRET);
            let signed = sign(&key, update([request[0], request[1]]), now).unwrap();
            assert_eq!(HEXLOWER.encode(&signed.bytes), vector.request, "{}", vector.algorithm);
            let taken = verify(&key, &signed, &answer, now).unwrap();
            assert!(taken.rcode == OptRcode::NOERROR && taken.flags.qr && taken.additional.is_empty());
            let other = TsigKey::new(key.name.clone(), key.algorithm, b"other".to_vec());
            assert!(matches!(verify(&other, &signed, &answer, now), Err(Error::Forged)));
        }
    }

    #[test]
    fn no_byte_of_an_answer_may_change_or_go() {
        let (key, request, now) = signed();
        let variables = Variables { at: 1_800_000_000, fudge: FUDGE, error: 0, other: &[] };
        let good = answer(&key, &request, &variables);
        verify(&key, &request, &good, now).unwrap();
        for at in 0..good.len() {
            assert!(verify(&key, &request, &good[..at], now).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                // The id is compared by the caller; case does not count in names.
                let same = at < 2 || (bit == 5 && Message::parse(&bytes).is_ok());
                assert!(same || verify(&key, &request, &bytes, now).is_err(), "bit {bit} of {at}");
            }
        }
    }

    #[test]
    fn an_answer_to_another_request_is_refused() {
        let (key, request, now) = signed();
        let other = sign(&key, update([3, 4]), now).unwrap();
        let variables = Variables { at: 1_800_000_000, fudge: FUDGE, error: 0, other: &[] };
        let error = verify(&key, &request, &answer(&key, &other, &variables), now);
        assert!(matches!(error, Err(Error::Forged)));
    }

    #[test]
    fn success_without_a_signature_is_a_failure() {
        let (key, request, now) = signed();
        let mut message = Message::response(&Message::parse(&request.bytes).unwrap(), OptRcode::NOERROR);
        let error = verify(&key, &request, &message.to_bytes().unwrap(), now).unwrap_err();
        assert_eq!(error.to_string(), "the answer (NOERROR) is not signed");
        message.rcode = OptRcode::REFUSED;
        let error = verify(&key, &request, &message.to_bytes().unwrap(), now).unwrap_err();
        assert!(matches!(error, Error::Unsigned(OptRcode::REFUSED)));
        // A record of the kind in front of the last one is none that was asked for.
        let mut bytes = answer(&key, &request, &Variables { at: 1, fudge: 1, error: 0, other: &[] });
        add_to_additional(&mut bytes, 1).unwrap();
        bytes.extend([0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
        assert!(matches!(verify(&key, &request, &bytes, now), Err(Error::Malformed(Malformed::Form))));
    }

    #[test]
    fn what_a_server_says_without_a_signature_is_told() {
        let (key, request, now) = signed();
        let stranger = self::key("acme", "hmac-sha256", b"another secret");
        for (error, words) in [
            (16, "the server has another secret for the key (BADSIG)"),
            (17, "the server does not know the key (BADKEY)"),
            (22, "the server refuses the signature (TSIG error 22)"),
            (0, "the signature of the answer is wrong"),
            (18, "the signature of the answer is wrong"),
        ] {
            let variables = Variables { at: 0, fudge: 0, error, other: &[] };
            let bytes = answer(&stranger, &request, &variables);
            assert_eq!(verify(&key, &request, &bytes, now).unwrap_err().to_string(), words);
        }
        let other = self::key("other", "hmac-sha256", SECRET);
        let variables = Variables { at: 1_800_000_000, fudge: FUDGE, error: 0, other: &[] };
        let bytes = answer(&other, &request, &variables);
        assert!(matches!(verify(&key, &request, &bytes, now), Err(Error::OtherKey)));
    }

    #[test]
    fn clocks_that_differ_are_told_by_how_much() {
        let (key, request, now) = signed();
        let at = 1_800_000_000_u64;
        let bad_time = |server: u64| {
            let other = &server.to_be_bytes()[2..];
            let bytes = answer(&key, &request, &Variables { at, fudge: FUDGE, error: 18, other });
            verify(&key, &request, &bytes, now).unwrap_err().to_string()
        };
        let said = "the server refuses our time (BADTIME): its clock is 3600 seconds";
        assert_eq!(bad_time(at + 3600), format!("{said} ahead of this machine's"));
        assert_eq!(bad_time(at - 3600), format!("{said} behind this machine's"));
        for (off, is_taken) in [(300, true), (301, false), (-300, true), (-301, false)] {
            let at = at.checked_add_signed(off).unwrap();
            let bytes = answer(&key, &request, &Variables { at, fudge: FUDGE, error: 0, other: &[] });
            assert_eq!(verify(&key, &request, &bytes, now).is_ok(), is_taken, "{off}");
        }
    }
}
