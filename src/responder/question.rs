// SPDX-License-Identifier: Apache-2.0
//! Reads the packet of a question without copying it: header, the one question, and what EDNS says. Refuses
//! what is no question at all, or not one that can be answered. Imports nothing of this room.
//!
//! `dns::wire` reads whole messages into values; this is for packets of strangers, thousands a second, of
//! which an answer repeats a part byte by byte.

use crate::dns::Rtype;
use crate::dns::wire::HEADER;
use std::fmt;

/// The longest name, and the longest label.
const NAME_MAX: usize = 255;
const LABEL_MAX: u8 = 63;

/// `OPT`, RFC 6891.
const OPT: u16 = 41;

/// QR, the opcode, RD and CD in the second two bytes of a packet.
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const REPEATED: u16 = OPCODE | 0x0100 | 0x0010;

/// The part that any answer repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub id: u16,
    /// The opcode, RD and CD.
    pub repeated: u16,
}

impl Head {
    /// `None`: nothing that is ever answered.
    pub fn read(packet: &[u8]) -> Option<Head> {
        let (id, flags) = (number(packet, 0)?, number(packet, 2)?);
        let is_question = packet.len() >= HEADER && flags & RESPONSE == 0;
        is_question.then_some(Head { id, repeated: flags & REPEATED })
    }

    /// Whether it asks, rather than telling (NOTIFY) or changing something (UPDATE).
    pub fn is_query(self) -> bool {
        self.repeated & OPCODE == 0
    }
}

/// The question of a packet that has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// As it stands in the packet.
    pub bytes: &'a [u8],
    pub rtype: Rtype,
    pub class: u16,
}

impl<'a> Question<'a> {
    pub fn read(packet: &'a [u8]) -> Option<Question<'a>> {
        if number(packet, 4)? != 1 {
            return None;
        }
        // There is nothing before it that its name could point to.
        let end = name_end(packet, HEADER, false)?;
        let (rtype, class) = (number(packet, end)?, number(packet, end + 2)?);
        let bytes = packet.get(HEADER..end + 4)?;
        Some(Question { bytes, rtype: Rtype::from_int(rtype), class })
    }

    /// In wire format.
    pub fn name(&self) -> &'a [u8] {
        self.bytes.split_at(self.bytes.len().saturating_sub(4)).0
    }
}

/// The type, and the name with all that is not printable escaped, for logs.
impl fmt::Display for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.rtype)?;
        let mut rest = self.name();
        let mut is_first = true;
        while let Some((label, behind)) = first_label(rest) {
            if !is_first {
                f.write_str(".")?;
            }
            for byte in label {
                match byte {
                    b'-' | b'_' | b'*' => write!(f, "{}", char::from(*byte))?,
                    byte if byte.is_ascii_alphanumeric() => write!(f, "{}", char::from(*byte))?,
                    byte => write!(f, "\\{byte:03}")?,
                }
            }
            (rest, is_first) = (behind, false);
        }
        if is_first { f.write_str(".") } else { Ok(()) }
    }
}

/// The first label of a name in wire format, and the rest. `None`: it is the root.
pub fn first_label(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = name.split_first()?;
    rest.split_at_checked(usize::from(*length)).filter(|(label, _)| !label.is_empty())
}

/// The requests of an OPT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub size: u16,
    pub version: u8,
    pub dnssec_ok: bool,
}

/// The records behind the question do not hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Asked {
    /// Of the records behind the question, only OPT says anything.
    pub fn read(packet: &[u8], question: &Question<'_>) -> Result<Option<Asked>, Malformed> {
        let counts = [6, 8, 10].map(|at| number(packet, at).unwrap_or_default());
        let mut at = HEADER + question.bytes.len();
        let mut asked = None;
        for (section, count) in counts.into_iter().enumerate() {
            for _ in 0..count {
                let (next, opt) = record(packet, at).ok_or(Malformed)?;
                // The only one, in the last section.
                if opt.is_some() && (section != 2 || asked.is_some()) {
                    return Err(Malformed);
                }
                (at, asked) = (next, opt.or(asked));
            }
        }
        if at == packet.len() { Ok(asked) } else { Err(Malformed) }
    }
}

/// The end of the record at `at`, and its requests if it is an OPT.
fn record(packet: &[u8], at: usize) -> Option<(usize, Option<Asked>)> {
    let fixed = name_end(packet, at, true)?;
    let length = usize::from(number(packet, fixed + 8)?);
    let end = fixed + 10 + length;
    if end > packet.len() {
        return None;
    }
    if number(packet, fixed)? != OPT {
        return Some((end, None));
    }
    let (size, version, flags) =
        (number(packet, fixed + 2)?, *packet.get(fixed + 5)?, number(packet, fixed + 6)?);
    let is_of_root = fixed == at + 1;
    is_of_root.then_some((end, Some(Asked { size, version, dnssec_ok: flags & 0x8000 != 0 })))
}

/// Where the name at `at` ends. Pointers are not followed, only passed over where there may be one.
fn name_end(packet: &[u8], at: usize, may_point: bool) -> Option<usize> {
    let mut end = at;
    loop {
        let length = *packet.get(end)?;
        end += 1;
        match length {
            0 => break,
            1..=LABEL_MAX => end += usize::from(length),
            0xc0.. if may_point => {
                end += 1;
                break;
            }
            _ => return None,
        }
    }
    (end - at <= NAME_MAX && end <= packet.len()).then_some(end)
}

fn number(packet: &[u8], at: usize) -> Option<u16> {
    packet.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes)
}
