// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever bytes are sent to the DNS responder: nothing panics, loops or grows; an answer
//! is one to this question, whole, and no longer than was asked for.

use mod_md::dns::{Message, Name};
use mod_md::metrics::DnsResult;
use mod_md::responder::{Carrier, Verdict, Zones, answer};

fn zones() -> Zones {
    let name = |text| Name::parse(text).unwrap();
    let hosts = || vec![name("ns.example.net"), name("ns2.example.net")];
    Zones::new([(name("a.test"), hosts()), (name("_acme-challenge.b.test"), hosts())], 1_800_000_000)
}

/// `None`: it was dropped.
pub fn check(packet: &[u8]) -> Option<DnsResult> {
    let zones = zones();
    let mut result = None;
    for carrier in [Carrier::Tcp, Carrier::UdpLimited, Carrier::Udp] {
        let values = |name: &str| {
            let is_plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
            assert!(name.bytes().all(is_plain) && !name.contains("..") && !name.starts_with('.'), "{name:?}");
            Ok(vec!["v".repeat(43); packet.len() % 40])
        };
        let Verdict::Answer(answer) = answer(packet, &zones, carrier, values) else { continue };
        result = Some(answer.result);
        let (bytes, sent) = (&answer.bytes, Message::parse(&answer.bytes).unwrap());
        assert!(bytes[..2] == packet[..2] && sent.flags.qr);
        assert!(sent.flags.tc || answer.result != DnsResult::Limited);
        if let Some(question) = answer.question {
            assert_eq!(bytes[12..12 + question.bytes.len()], *question.bytes);
            assert!(!question.to_string().contains(|c: char| c.is_control()));
        }
        let asked =
            Message::parse(packet).ok().and_then(|asked| asked.edns).map_or(512, |edns| edns.udp_size);
        let limit = if sent.edns.is_some() { usize::from(asked.clamp(512, 1232)) } else { 512 };
        assert!(carrier == Carrier::Tcp || bytes.len() <= limit, "{} of {limit}", bytes.len());
    }
    result
}
