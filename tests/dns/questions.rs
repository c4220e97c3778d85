// SPDX-License-Identifier: Apache-2.0
//! The seeds of the fuzz target for the responder, through the check that the target makes. `UPDATE_SEEDS=1`
//! writes them.

#[path = "../../fuzz/checks/question.rs"]
mod checks;

use mod_md::dns::{Class, Edns, Message, Name, Opcode, Question, Rtype};
use mod_md::metrics::DnsResult;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn question(name: &str, rtype: Rtype) -> Message {
    let questions = vec![Question::new(Name::parse(name).unwrap(), rtype)];
    let edns = Some(Edns { udp_size: 1232, version: 0, dnssec_ok: true });
    Message { questions, edns, ..Message::request(7, Opcode::QUERY) }
}

fn seeds() -> BTreeMap<&'static str, (Vec<u8>, Option<DnsResult>)> {
    let plain = || Message { edns: None, ..question("_acme-challenge.B.test", Rtype::TXT) };
    let mut two = plain();
    two.questions.push(two.questions[0].clone());
    let mut chaos = question("version.bind", Rtype::TXT);
    chaos.questions[0].class = Class::CH;
    let version = Some(Edns { udp_size: 4096, version: 1, dnssec_ok: false });
    let answer = Message::response(&plain(), mod_md::dns::OptRcode::NOERROR);
    let messages = [
        ("answer", answer, None),
        ("any", question("a.test", Rtype::ANY), Some(DnsResult::NoError)),
        ("apex", question("A.Test", Rtype::SOA), Some(DnsResult::NoError)),
        ("chaos", chaos, Some(DnsResult::Refused)),
        ("deep", question("x.y.z.a.test", Rtype::A), Some(DnsResult::NoError)),
        ("elsewhere", question("c.test", Rtype::TXT), Some(DnsResult::Refused)),
        ("later-edns", Message { edns: version, ..question("a.test", Rtype::NS) }, Some(DnsResult::BadVers)),
        ("notify", Message { opcode: Opcode::NOTIFY, ..plain() }, Some(DnsResult::NotImp)),
        ("plain", plain(), Some(DnsResult::NoError)),
        ("transfer", question("a.test", Rtype::AXFR), Some(DnsResult::Refused)),
        ("two", two, Some(DnsResult::FormErr)),
    ];
    let mut seeds: BTreeMap<_, _> = messages
        .into_iter()
        .map(|(seed, message, result)| (seed, (message.to_bytes().unwrap(), result)))
        .collect();
    let pointer = [&[0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\xc0\x0c\0\x10\0\x01"].concat();
    seeds.insert("pointer", (pointer, Some(DnsResult::FormErr)));
    seeds
}

#[test]
fn every_seed_of_a_question_ends_as_its_name_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/dns_question");
    let seeds = seeds();
    if std::env::var_os("UPDATE_SEEDS").is_some() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        seeds.iter().for_each(|(seed, (bytes, _))| fs::write(folder.join(seed), bytes).unwrap());
    }
    for (seed, (bytes, result)) in &seeds {
        assert_eq!(&fs::read(folder.join(seed)).unwrap(), bytes, "{seed} is old");
        assert_eq!(checks::check(bytes), *result, "{seed}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), seeds.len());
}
