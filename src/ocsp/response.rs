// SPDX-License-Identifier: Apache-2.0
//! Parses and verifies a response (RFC 6960 §4.2): it must be readable to its end, be about our certificate,
//! be signed by the issuer or by a responder the issuer authorized, and be valid now. Anything else is
//! refused with a [`Flaw`].

use super::flaw::Flaw;
use super::signer::{self, Signed};
use super::subject::Subject;
use crate::crypto::der::{
    BIT_STRING, ENUMERATED, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE,
    oid_text,
};
use crate::crypto::read_time;
use crate::time::Timestamp;
use openssl::error::ErrorStack;
use openssl::ocsp::OcspResponse;
use std::time::Duration;

/// Bytes of a response. Real ones have less than a tenth of it, and each handshake carries one.
pub const SIZE_MAX: usize = 64 * 1024;
/// How far a responder's clock may be ahead of ours.
const SLACK: Duration = Duration::from_secs(300);
/// How long a response without `nextUpdate` is valid.
const DEFAULT_VALIDITY: Duration = Duration::from_secs(12 * 3600);

/// id-pkix-ocsp-basic
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1];
// Context tags.
const EXPLICIT_0: u8 = 0xa0;
const EXPLICIT_1: u8 = 0xa1;
const EXPLICIT_2: u8 = 0xa2;
const GOOD: u8 = 0x80;
const REVOKED: u8 = 0xa1;
const UNKNOWN: u8 = 0x82;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Good,
    /// Since then.
    Revoked(Timestamp),
    Unknown,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Good => "good",
            Status::Revoked(_) => "revoked",
            Status::Unknown => "unknown",
        }
    }
}

/// A response whose signature holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// All of it, as it is stapled.
    pub der: Vec<u8>,
    pub status: Status,
    /// `thisUpdate`.
    pub from: Timestamp,
    /// `nextUpdate`: not used from then on.
    pub until: Timestamp,
}

impl Response {
    pub fn is_current(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

/// Reads and verifies a response about `subject`, except for its dates, because a response in the store may
/// have expired.
pub fn verify(der: &[u8], subject: &Subject, now: Timestamp) -> Result<Response, Flaw> {
    if der.len() > SIZE_MAX {
        return Err(Flaw::TooLarge(der.len()));
    }
    let basic = basic(der)?;
    if !is_readable(der) {
        return Err(Flaw::Malformed);
    }
    let (signed, answers) = parse(basic).ok_or(Flaw::Malformed)?;
    let (status, from, until) = answer(answers, subject)?;
    signer::check(&signed, &subject.issuer, now)?;
    Ok(Response { der: der.to_vec(), status, from, until })
}

/// Whether the response is valid already, allowing for clocks that differ.
pub fn check_begun(response: &Response, now: Timestamp) -> Result<(), Flaw> {
    if response.from > now.plus(SLACK) { Err(Flaw::NotYet(response.from)) } else { Ok(()) }
}

/// Whether a verified response may take the place of `current` at `now`.
pub fn accept(new: &Response, current: Option<&Response>, now: Timestamp) -> Result<(), Flaw> {
    check_begun(new, now)?;
    if !new.is_current(now) {
        return Err(Flaw::Expired(new.until));
    }
    if new.status == Status::Unknown {
        return Err(Flaw::Unknown);
    }
    if current.is_some_and(|current| new.from < current.from) {
        return Err(Flaw::Older);
    }
    Ok(())
}

/// Whether clients can read the response to its end. Not all of it is signed, and a change to the unsigned
/// part must not make us staple a response that ends handshakes.
fn is_readable(der: &[u8]) -> bool {
    let is_readable = OcspResponse::from_der(der).and_then(|response| response.basic()).is_ok();
    // A failure leaves its reason in the thread's error queue, where other code would find it.
    drop(ErrorStack::get());
    is_readable
}

fn is_der(reader: &Reader<'_>) -> bool {
    reader.is_sound() && reader.is_shortest()
}

/// The BasicOCSPResponse inside.
fn basic(der: &[u8]) -> Result<Reader<'_>, Flaw> {
    let all = Reader::new(der);
    let mut response = is_der(&all).then(|| all.only(SEQUENCE)).flatten().ok_or(Flaw::Malformed)?;
    match response.take(ENUMERATED) {
        Some([0]) => {}
        Some([1]) => return Err(Flaw::Unsuccessful("malformedRequest")),
        Some([2]) => return Err(Flaw::Unsuccessful("internalError")),
        Some([3]) => return Err(Flaw::Unsuccessful("tryLater")),
        Some([5]) => return Err(Flaw::Unsuccessful("sigRequired")),
        Some([6]) => return Err(Flaw::Unsuccessful("unauthorized")),
        _ => return Err(Flaw::Malformed),
    }
    let inner = || {
        let mut bytes = response.only(EXPLICIT_0)?.only(SEQUENCE)?;
        (bytes.take(OBJECT_IDENTIFIER)? == BASIC).then_some(())?;
        let content = bytes.take(OCTET_STRING).filter(|_| bytes.is_at_end())?;
        let inner = Reader::new(content);
        is_der(&inner).then(|| inner.only(SEQUENCE)).flatten()
    };
    inner().ok_or(Flaw::Malformed)
}

/// The signed part with its signature, and the list of answers.
fn parse(mut basic: Reader<'_>) -> Option<(Signed<'_>, Reader<'_>)> {
    let data = basic.take_whole(SEQUENCE)?;
    let mut algorithm = basic.enter(SEQUENCE)?;
    let algorithm = oid_text(algorithm.take(OBJECT_IDENTIFIER)?)?;
    let (unused_bits, signature) = basic.take(BIT_STRING)?.split_first()?;
    let mut certs = Vec::new();
    if let Some(list) = basic.enter(EXPLICIT_0) {
        let mut list = list.only(SEQUENCE)?;
        while !list.is_at_end() {
            certs.push(list.take_whole(SEQUENCE)?);
        }
    }
    (*unused_bits == 0 && basic.is_at_end()).then_some(())?;
    let mut fields = Reader::new(data).only(SEQUENCE)?;
    if let Some(version) = fields.enter(EXPLICIT_0) {
        version.only(INTEGER)?;
    }
    let responder = match fields.element()? {
        (EXPLICIT_1, name) => signer::Responder::Name(name),
        (EXPLICIT_2, key) => {
            let mut key = Reader::new(key);
            signer::Responder::KeyHash(key.take(OCTET_STRING).filter(|_| key.is_at_end())?)
        }
        _ => return None,
    };
    fields.take(GENERALIZED_TIME)?;
    let answers = fields.enter(SEQUENCE)?;
    fields.take(EXPLICIT_1);
    fields.is_at_end().then_some(())?;
    Some((Signed { data, algorithm, signature, certs, responder }, answers))
}

/// The answer for our certificate. Responders may send along those for others.
fn answer(mut answers: Reader<'_>, subject: &Subject) -> Result<(Status, Timestamp, Timestamp), Flaw> {
    while !answers.is_at_end() {
        let mut single = answers.enter(SEQUENCE).ok_or(Flaw::Malformed)?;
        let cert_id = single.enter(SEQUENCE).ok_or(Flaw::Malformed)?;
        let validity = validity(single).ok_or(Flaw::Malformed)?;
        if subject.cert_id.is(cert_id) {
            return Ok(validity);
        }
    }
    Err(Flaw::NotAbout)
}

fn validity(mut single: Reader<'_>) -> Option<(Status, Timestamp, Timestamp)> {
    let status = match single.element()? {
        (GOOD, []) => Status::Good,
        (REVOKED, info) => Status::Revoked(generalized(&mut Reader::new(info))?),
        (UNKNOWN, []) => Status::Unknown,
        _ => return None,
    };
    let from = generalized(&mut single)?;
    let until = match single.enter(EXPLICIT_0) {
        Some(mut next) => generalized(&mut next).filter(|_| next.is_at_end())?,
        None => from.plus(DEFAULT_VALIDITY),
    };
    single.take(EXPLICIT_1);
    (single.is_at_end() && from < until).then_some((status, from, until))
}

fn generalized(fields: &mut Reader<'_>) -> Option<Timestamp> {
    let whole = fields.take_whole(GENERALIZED_TIME)?;
    read_time(&mut Reader::new(whole))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::wire::{self, Say};
    use super::super::fixture::{HOUR, OCSP_SIGNING, Responder, cert_id_der, date, subject};
    use super::*;
    use crate::crypto::PrivateKey;
    use crate::crypto::fixture::{Ca, NOW, flips};
    use crate::model::KeySpec;
    use crate::time::DAY;
    use proptest::prelude::*;

    fn taken(der: &[u8], subject: &Subject, current: Option<&Response>) -> Result<Response, Flaw> {
        let response = verify(der, subject, NOW)?;
        accept(&response, current, NOW).map(|()| response)
    }

    #[test]
    fn a_good_or_revoked_response_of_the_issuer_is_taken_with_its_dates() {
        let responder = Responder::new();
        let subject = subject(&responder, "http://o.test");
        let (from, until) = (NOW.minus(HOUR), NOW.plus(HOUR));
        let good = taken(&responder.respond(&subject, Say::Good, from, Some(until)), &subject, None).unwrap();
        assert_eq!((good.status, good.from, good.until), (Status::Good, from, until));
        let revoked = responder.respond(&subject, Say::Revoked, from, Some(until));
        assert_eq!(taken(&revoked, &subject, None).unwrap().status, Status::Revoked(from));
        let open = taken(&responder.respond(&subject, Say::Good, from, None), &subject, None).unwrap();
        assert_eq!(open.until, from.plus(HOUR * 12), "without nextUpdate");
    }

    #[test]
    fn what_is_not_of_use_now_is_not_taken() {
        let responder = Responder::new();
        let subject = subject(&responder, "http://o.test");
        let flaw = |say, from, until| {
            taken(&responder.respond(&subject, say, from, Some(until)), &subject, None).err()
        };
        let (hour_ago, in_an_hour) = (NOW.minus(HOUR), NOW.plus(HOUR));
        assert_eq!(flaw(Say::Good, NOW.minus(DAY), hour_ago), Some(Flaw::Expired(hour_ago)));
        assert_eq!(flaw(Say::Good, NOW.minus(DAY), NOW), Some(Flaw::Expired(NOW)));
        assert_eq!(flaw(Say::Good, in_an_hour, NOW.plus(DAY)), Some(Flaw::NotYet(in_an_hour)));
        assert_eq!(flaw(Say::Good, NOW.plus(SLACK), NOW.plus(DAY)), None, "clocks differ");
        assert_eq!(flaw(Say::Unknown, hour_ago, in_an_hour), Some(Flaw::Unknown));
        let current = responder.respond(&subject, Say::Good, NOW.minus(HOUR), Some(in_an_hour));
        let current = verify(&current, &subject, NOW).unwrap();
        let older = responder.respond(&subject, Say::Good, NOW.minus(DAY), Some(NOW.plus(DAY)));
        assert_eq!(taken(&older, &subject, Some(&current)).err(), Some(Flaw::Older));
        assert!(taken(&current.der.clone(), &subject, Some(&current)).is_ok());
    }

    #[test]
    fn a_delegate_needs_the_issuers_certificate_for_that_purpose() {
        let responder = Responder::new();
        let subject = subject(&responder, "http://o.test");
        let (from, until) = (NOW.minus(DAY), NOW.plus(DAY));
        let (delegate, key) = responder.delegate(&[OCSP_SIGNING], from, until);
        for by_key in [false, true] {
            taken(&responder.respond_as(&subject, &delegate, &key, by_key), &subject, None).unwrap();
        }
        let refused = |(delegate, key): (crate::crypto::Chain, PrivateKey)| {
            taken(&responder.respond_as(&subject, &delegate, &key, false), &subject, None).err()
        };
        let says = |flaw: Option<Flaw>, words: &str| {
            let text = flaw.unwrap().to_string();
            assert!(text.contains(words), "{text}");
        };
        says(refused(responder.delegate(&[], from, until)), "not for signing OCSP");
        says(refused(responder.delegate(&[OCSP_SIGNING], from, NOW)), "not valid now");
        let stranger = Responder { ca: Ca::new("Test CA"), chain: responder.chain.clone() };
        says(refused(stranger.delegate(&[OCSP_SIGNING], from, until)), "has not issued");
        let impostor = stranger.respond(&subject, Say::Good, from, Some(until));
        assert_eq!(taken(&impostor, &subject, None).err(), Some(Flaw::BadSignature));
        let other = Responder { ca: Ca::new("Other CA"), chain: responder.chain.clone() };
        says(taken(&other.respond(&subject, Say::Good, from, Some(until)), &subject, None).err(), "missing");
    }

    #[test]
    fn a_response_about_another_certificate_is_not_taken() {
        let responder = Responder::new();
        let subject = subject(&responder, "http://o.test");
        let (other, _) = responder.delegate(&[], NOW, NOW.plus(DAY));
        let id = super::super::request::CertId::new(other.leaf(), responder.ca.certificate()).unwrap();
        let der = responder.respond_about(&id, Say::Good, NOW, Some(NOW.plus(DAY)));
        assert_eq!(taken(&der, &subject, None).err(), Some(Flaw::NotAbout));
    }

    #[test]
    fn errors_of_the_responder_differ_from_what_is_no_response() {
        let responder = Responder::new();
        let subject = subject(&responder, "http://o.test");
        let flaw = |der: &[u8]| verify(der, &subject, NOW).err();
        assert_eq!(flaw(&wire::error(3)), Some(Flaw::Unsuccessful("tryLater")));
        assert_eq!(flaw(&wire::error(6)), Some(Flaw::Unsuccessful("unauthorized")));
        for garbage in [&b""[..], b"<html></html>", &[0x30, 0], &wire::error(0), &wire::error(77)] {
            assert_eq!(flaw(garbage), Some(Flaw::Malformed), "{garbage:02x?}");
        }
        assert_eq!(flaw(&vec![0x30; SIZE_MAX + 1]), Some(Flaw::TooLarge(SIZE_MAX + 1)));
        let der = responder.respond(&subject, Say::Good, NOW.minus(HOUR), Some(NOW.plus(HOUR)));
        for end in 0..der.len() {
            assert_eq!(flaw(&der[..end]), Some(Flaw::Malformed), "cut at {end}");
        }
        assert_eq!(flaw(&[der.as_slice(), &[5, 0]].concat()), Some(Flaw::Malformed));
    }

    #[test]
    fn with_any_bit_wrong_a_response_is_not_taken() {
        let responder = Responder::new();
        let subject = subject(&responder, "http://o.test");
        let (delegate, key) = responder.delegate(&[OCSP_SIGNING], NOW.minus(DAY), NOW.plus(DAY));
        for der in [
            responder.respond(&subject, Say::Good, NOW.minus(HOUR), Some(NOW.plus(HOUR))),
            responder.respond_as(&subject, &delegate, &key, true),
        ] {
            let taken: Vec<_> =
                flips(&der).enumerate().filter(|(_, der)| verify(der, &subject, NOW).is_ok()).collect();
            // Only unsigned bits without meaning may differ, such as the parameters of the algorithm.
            assert!(taken.is_empty(), "bits {:?}", taken.iter().map(|(bit, _)| bit).collect::<Vec<_>>());
        }
    }

    #[test]
    fn unsigned_parts_must_not_keep_clients_from_reading_the_rest() {
        let responder = Responder::new();
        let subject = subject(&responder, "http://o.test");
        let with = |along: &[u8]| {
            let (key, cert) = (responder.ca.key().pkey(), responder.ca.certificate().x509().unwrap());
            let wish = wire::Wish {
                cert_id: &cert_id_der(&subject.cert_id),
                say: Say::Good,
                from: date(NOW.minus(HOUR)),
                until: Some(date(NOW.plus(HOUR))),
                signer: &cert,
                key,
                by_key: false,
                certs: &[],
            };
            verify(&wire::with_certs(&wish, along), &subject, NOW)
        };
        let cert = responder.ca.certificate().der();
        assert!(with(cert).is_ok());
        // The algorithm of its key has the tag of a text.
        let key = [0x30, 0x13, 0x06, 0x07];
        let at = cert.windows(4).position(|four| four == key).unwrap();
        let mut broken_key = cert.to_vec();
        broken_key[at] = 0x12;
        let (head, content) = (vec![0x30, 0x83, 0x00], cert[2..].to_vec());
        assert_eq!(cert[1], 0x82);
        let long = [head, content].concat();
        for bad in [&[0x30, 0][..], &[0x30, 2, 5, 0], &broken_key, &long] {
            assert_eq!(with(bad).err(), Some(Flaw::Malformed), "{bad:02x?}");
        }
    }

    #[test]
    fn signatures_are_verified_with_the_kind_of_key_they_claim() {
        let responder = Responder::new();
        let subject = subject(&responder, "http://o.test");
        let key = PrivateKey::generate(&KeySpec::Rsa(2048)).unwrap();
        let wish = crate::crypto::fixture::Wish {
            names: &["delegate"],
            extensions: &[OCSP_SIGNING],
            ..Default::default()
        };
        let delegate = responder.ca.grant(&wish, &key);
        let der = responder.respond_as(&subject, &delegate, &key, false);
        assert!(taken(&der, &subject, None).is_ok());
        let (rsa, ecdsa) = ([0x86, 0xf7, 0x0d, 1, 1, 11], [0x86, 0xf7, 0x0d, 1, 1, 10]);
        let at = der.windows(6).position(|w| w == rsa).unwrap();
        let mut other = der.clone();
        other[at..at + 6].copy_from_slice(&ecdsa);
        let flaw = taken(&other, &subject, None).err();
        assert!(matches!(flaw, Some(Flaw::Algorithm(_) | Flaw::BadSignature)), "{flaw:?}");
        assert_eq!(date(NOW).len(), 15);
    }

    proptest! {
        /// How many more cases than usual: `PROPTEST_CASES`. The fuzz target `ocsp_response` knows no end.
        #[test]
        fn nothing_but_what_was_signed_is_ever_taken(
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..5), 1..6)
        ) {
            static READY: std::sync::OnceLock<(Responder, Subject, Vec<u8>)> = std::sync::OnceLock::new();
            let (_, subject, der) = READY.get_or_init(|| {
                let responder = Responder::new();
                let subject = subject(&responder, "http://o.test");
                let der = responder.respond(&subject, Say::Good, NOW.minus(HOUR), Some(NOW.plus(HOUR)));
                (responder, subject, der)
            });
            let mut mutant = der.clone();
            for (at, byte, kind) in cuts {
                let at = at.index(mutant.len().max(1));
                match kind {
                    0 => mutant.truncate(at),
                    1 => mutant.insert(at.min(mutant.len()), byte),
                    2 if at < mutant.len() => drop(mutant.remove(at)),
                    3 if at < mutant.len() => mutant.extend_from_within(at..),
                    _ if at < mutant.len() => mutant[at] = byte,
                    _ => {}
                }
            }
            if verify(&mutant, subject, NOW).is_ok() {
                prop_assert_eq!(&mutant, der);
            }
        }
    }
}
