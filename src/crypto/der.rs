// SPDX-License-Identifier: Apache-2.0
//! DER (X.690 §8, §10): writes elements, and has a reader that takes them off a slice one by one. Accepts single-byte tags and
//! definite lengths, which suffice for certificates; any other form, and an element longer than its parent,
//! ends the reading.

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const NULL: u8 = 0x05;
pub const OBJECT_IDENTIFIER: u8 = 0x06;
pub const ENUMERATED: u8 = 0x0a;
const UTF8_STRING: u8 = 0x0c;
pub const UTC_TIME: u8 = 0x17;
pub const GENERALIZED_TIME: u8 = 0x18;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// The deepest nesting of a name in a certificate.
const DEPTH_MAX: usize = 16;

const CONSTRUCTED: u8 = 0x20;

/// An element with these parts as its content.
pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut der = Vec::new();
    append(&mut der, tag, &parts.concat());
    der
}

/// Appends an element with this content.
pub fn append(der: &mut Vec<u8>, tag: u8, content: &[u8]) {
    der.push(tag);
    match u8::try_from(content.len()) {
        Ok(length @ 0..=0x7f) => der.push(length),
        _ => {
            let length = content.len().to_be_bytes();
            let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
            der.push(0x80 | significant.len() as u8);
            der.extend(significant);
        }
    }
    der.extend_from_slice(content);
}

/// The rest of the input.
#[derive(Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(der: &'a [u8]) -> Self {
        Reader(der)
    }

    /// The next element: its tag and content. `None` at the end and where it is malformed.
    pub fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next element if it has this tag; otherwise nothing is taken.
    pub fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (found, content) = ahead.element()?;
        (found == tag).then(|| {
            *self = ahead;
            content
        })
    }

    /// Like [`Reader::take`], including the bytes of tag and length.
    pub fn take_whole(&mut self, tag: u8) -> Option<&'a [u8]> {
        let before = self.0;
        self.take(tag)?;
        before.get(..before.len() - self.0.len())
    }

    /// The content of an element with this tag that is all there is left.
    pub fn only(mut self, tag: u8) -> Option<Reader<'a>> {
        self.enter(tag).filter(|_| self.is_at_end())
    }

    /// The same, where its content is of interest as a whole.
    pub fn only_content(mut self, tag: u8) -> Option<&'a [u8]> {
        self.take(tag).filter(|_| self.is_at_end())
    }

    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the rest is complete down to the last element, and elements whose form has rules follow them:
    /// other readers do not refuse it for its form.
    pub fn is_sound(self) -> bool {
        self.is_sound_to_depth(DEPTH_MAX)
    }

    fn is_sound_to_depth(mut self, depth: usize) -> bool {
        while !self.is_at_end() {
            let is_sound = match self.element() {
                Some((tag, content)) if tag & CONSTRUCTED != 0 => {
                    depth > 0 && Reader(content).is_sound_to_depth(depth - 1)
                }
                Some((tag, content)) => is_sound_primitive(tag, content),
                None => false,
            };
            if !is_sound {
                return false;
            }
        }
        true
    }

    /// Whether all lengths take the shortest form (X.690 §10.1), down to the last element. Some readers
    /// insist on it.
    pub fn is_shortest(self) -> bool {
        self.is_shortest_to_depth(DEPTH_MAX)
    }

    fn is_shortest_to_depth(mut self, depth: usize) -> bool {
        while !self.is_at_end() {
            let before = self.0.len();
            let Some((tag, content)) = self.element() else { return false };
            let head = before - self.0.len() - content.len();
            let shortest = match content.len() {
                0..=0x7f => 2,
                0x80..=0xff => 3,
                0x100..=0xffff => 4,
                0x1_0000..=0xff_ffff => 5,
                _ => 6,
            };
            let is_constructed = tag & CONSTRUCTED != 0;
            if head != shortest
                || is_constructed && (depth == 0 || !Reader(content).is_shortest_to_depth(depth - 1))
            {
                return false;
            }
        }
        true
    }

    /// Like [`Reader::take`], for a constructed element.
    pub fn enter(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.take(tag).map(Reader)
    }
}

fn is_sound_primitive(tag: u8, content: &[u8]) -> bool {
    match (tag, content) {
        (BOOLEAN, _) => content.len() == 1,
        // X.690 §8.3.2: the first nine bits are not all alike.
        (INTEGER, [0, next, ..]) => *next >= 0x80,
        (INTEGER, [0xff, next, ..]) => *next < 0x80,
        (INTEGER, _) => !content.is_empty(),
        (BIT_STRING, _) => content.first().is_some_and(|unused| *unused < 8),
        (NULL, _) => content.is_empty(),
        (OBJECT_IDENTIFIER, _) => arcs(content).is_some(),
        (UTF8_STRING, _) => std::str::from_utf8(content).is_ok(),
        _ => true,
    }
}

/// `2.5.4.3`; `None` if it is no object identifier.
pub fn oid_text(oid: &[u8]) -> Option<String> {
    let arcs = arcs(oid)?;
    let (first, rest) = arcs.split_first()?;
    // X.690 §8.19.4: the first two arcs stand in one number.
    let top = (first / 40).min(2);
    let mut text = format!("{top}.{}", first - top * 40);
    rest.iter().for_each(|arc| text += &format!(".{arc}"));
    Some(text)
}

fn arcs(oid: &[u8]) -> Option<Vec<u64>> {
    let mut arcs = Vec::new();
    let mut arc: u64 = 0;
    for (i, byte) in oid.iter().enumerate() {
        let begins = i.checked_sub(1).and_then(|before| oid.get(before)).is_none_or(|b| *b < 0x80);
        if begins && *byte == 0x80 {
            return None;
        }
        arc = arc.checked_mul(128)? | u64::from(byte & 0x7f);
        if *byte < 0x80 {
            arcs.push(arc);
            arc = 0;
        }
    }
    oid.last().filter(|last| **last < 0x80).map(|_| arcs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_off_in_order_and_a_wrong_tag_takes_nothing() {
        let mut reader = Reader::new(&[0x30, 0x03, 0x02, 0x01, 0x05, 0x04, 0x81, 0x01, 0xff]);
        assert_eq!(reader.take(INTEGER), None);
        assert_eq!(reader.enter(SEQUENCE).unwrap().take(INTEGER), Some([5].as_slice()));
        assert_eq!(reader.element(), Some((OCTET_STRING, [0xff].as_slice())));
        assert_eq!(reader.element(), None);
    }

    #[test]
    fn lengths_beyond_the_input_and_forms_der_does_not_have_end_the_reading() {
        for bad in [
            &[0x30][..],
            &[0x30, 0x05, 0x00],
            &[0x30, 0x80, 0x00, 0x00],
            &[0x30, 0x82, 0x01],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            &[0x1f, 0x81, 0x01, 0x00],
        ] {
            assert_eq!(Reader::new(bad).element(), None, "{bad:02x?}");
        }
    }

    #[test]
    fn what_is_sound_keeps_the_rules_down_to_the_last_element() {
        let sound = [
            &[][..],
            &[0x30, 0x06, 0x02, 0x01, 0x00, 0x01, 0x01, 0xff],
            &[0x02, 0x02, 0x00, 0x80, 0x02, 0x02, 0xff, 0x7f],
            &[0x06, 0x03, 0x55, 0x04, 0x03, 0x05, 0x00, 0x03, 0x01, 0x00, 0x0c, 0x02, 0xc3, 0xa4],
        ];
        for good in sound {
            assert!(Reader::new(good).is_sound(), "{good:02x?}");
            for end in 1..good.len() {
                let is_prefix = [8, 4, 5, 7, 10].contains(&end);
                assert!(is_prefix || !Reader::new(&good[..end]).is_sound(), "{:02x?}", &good[..end]);
            }
        }
        for bad in [
            &[0x02, 0x00][..],
            &[0x02, 0x02, 0x00, 0x7f],
            &[0x02, 0x02, 0xff, 0x80],
            &[0x01, 0x02, 0x00, 0x00],
            &[0x03, 0x00],
            &[0x03, 0x01, 0x08],
            &[0x05, 0x01, 0x00],
            &[0x06, 0x00],
            &[0x06, 0x02, 0x80, 0x01],
            &[0x06, 0x02, 0x55, 0x84],
            &[0x0c, 0x01, 0xff],
            &[0x30, 0x03, 0x30, 0x05, 0x00],
            &[0x30, 0x02, 0x05, 0x00, 0x00],
        ] {
            assert!(!Reader::new(bad).is_sound(), "{bad:02x?}");
        }
        let deep = (0..40u8).fold(Vec::new(), |inner, i| [vec![0x30, i * 2], inner].concat());
        assert!(!Reader::new(&deep).is_sound());
    }

    #[test]
    fn lengths_are_the_shortest_down_to_the_last_element_or_not() {
        let long = |length: usize| {
            let (high, low) = ((length >> 8) as u8, length as u8);
            let head = if high == 0 { vec![0x04, 0x81, low] } else { vec![0x04, 0x82, high, low] };
            [head, vec![0; length]].concat()
        };
        for good in [vec![], vec![0x30, 0x02, 0x05, 0x00], long(0x80), long(0xff), long(0x100)] {
            assert!(Reader::new(&good).is_shortest(), "{good:02x?}");
        }
        for bad in [
            vec![0x30, 0x81, 0x02, 0x05, 0x00],
            vec![0x30, 0x03, 0x05, 0x81, 0x00],
            vec![0x05, 0x82, 0x00, 0x00],
            vec![0x05],
            long(0x7f),
            [vec![0x04, 0x82, 0x00, 0x80], vec![0; 0x80]].concat(),
        ] {
            assert!(!Reader::new(&bad).is_shortest(), "{bad:02x?}");
        }
    }

    #[test]
    fn object_identifiers_are_written_as_numbers_with_dots() {
        for (oid, text) in [
            (&[0x55, 0x04, 0x03][..], Some("2.5.4.3")),
            (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d], Some("1.2.840.113549")),
            (&[0x88, 0x37, 0x03], Some("2.999.3")),
            (&[0xff; 12], None),
            (&[], None),
        ] {
            assert_eq!(oid_text(oid).as_deref(), text, "{oid:02x?}");
        }
    }
}
