// SPDX-License-Identifier: Apache-2.0
//! The seeds of the fuzz targets for DNS, through the very checks that the targets make. `UPDATE_SEEDS=1`
//! writes them.

#[path = "../../fuzz/checks/dns.rs"]
mod checks;

use checks::{NOW, check_answer, check_request, key, name, update};
use mod_md::dns::{
    Class, Data, Edns, Flags, Message, Opcode, OptRcode, Question, Record, Rtype, Soa, tsig, wire,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

type Check = fn(&[u8]);
type Seeds = BTreeMap<&'static str, Vec<u8>>;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)
}

#[test]
fn every_seed_passes_the_checks_of_its_target() {
    let targets: [(&str, Seeds, Check); 2] =
        [("dns_answer", answers(), check_answer), ("dns_request", requests(), check_request)];
    for (target, seeds, check) in targets {
        if std::env::var_os("UPDATE_SEEDS").is_some() {
            let _ = fs::remove_dir_all(folder(target));
            fs::create_dir_all(folder(target)).unwrap();
            seeds.iter().for_each(|(seed, bytes)| fs::write(folder(target).join(seed), bytes).unwrap());
        }
        for (seed, bytes) in &seeds {
            assert_eq!(&fs::read(folder(target).join(seed)).unwrap(), bytes, "{target}/{seed} is old");
            check(bytes);
        }
        assert_eq!(fs::read_dir(folder(target)).unwrap().count(), seeds.len(), "{target}");
    }
    let signed = tsig::sign(&key(), update().to_bytes().unwrap(), NOW).unwrap();
    tsig::verify(&key(), &signed, &answers()["signed"], NOW).unwrap();
}

/// The answer to [`update`], signed by another implementation: HMAC of Python's standard library.
const SIGNED: &str = "0007a80000010000000000010161047465737400000600010461636d650000fa00ff00000000003d\
    0b686d61632d7368613235360000006b49d200012c00206f0f844b2d8cf5a21e4c26c8032f8eddf386c68eb9fe5d102c4fb9\
    7f9e2e6855000700000000";

fn question(host: &str, rtype: Rtype) -> Message {
    let mut request = Message::request(7, Opcode::QUERY);
    request.flags = Flags { rd: true, ..Flags::default() };
    request.questions.push(Question::new(name(host), rtype));
    request.edns = Some(Edns { udp_size: wire::UDP_SIZE, version: 0, dnssec_ok: true });
    request
}

fn record(host: &str, data: Data) -> Record {
    Record { name: name(host), class: Class::IN, ttl: 60, data }
}

fn answers() -> Seeds {
    let answer = |host: &str, data: Vec<Data>| {
        let mut answer = Message::response(&question(host, Rtype::ANY), OptRcode::NOERROR);
        answer.answers = data.into_iter().map(|data| record(host, data)).collect();
        answer
    };
    let soa = Soa {
        mname: name("ns.a.test"),
        rname: name("hostmaster.a.test"),
        serial: 1,
        refresh: 2,
        retry: 3,
        expire: 4,
        minimum: 5,
    };
    let mut negative = answer("x.a.test", vec![]);
    negative.rcode = OptRcode::NXDOMAIN;
    negative.authority.push(record("a.test", Data::Soa(soa)));
    let mut servers = answer("a.test", vec![Data::Ns(name("ns.a.test")), Data::Ns(name("a.test"))]);
    servers.additional.push(record("ns.a.test", Data::A([192, 0, 2, 1].into())));
    servers.answers.push(record("a.test", Data::Aaaa("2001:db8::1".parse().unwrap())));
    let messages = [
        ("alias", answer("x.a.test", vec![Data::Cname(name("y.b.test"))])),
        ("loop", answer("x.a.test", vec![Data::Cname(name("x.a.test"))])),
        ("negative", negative),
        ("servers", servers),
        ("txt", answer("x.a.test", vec![Data::Txt(vec![b'x'; 300]), Data::Txt(b"value".to_vec())])),
        ("unknown", answer("x.a.test", vec![Data::Other(Rtype::from_int(65_400), vec![1, 2, 3])])),
    ];
    let mut seeds: Seeds =
        messages.into_iter().map(|(seed, message)| (seed, message.to_bytes().unwrap())).collect();
    seeds.insert("signed", data_encoding::HEXLOWER.decode(SIGNED.as_bytes()).unwrap());
    seeds
}

fn requests() -> Seeds {
    let mut plain = question("_acme-challenge.A.test", Rtype::TXT);
    plain.edns = None;
    let mut two = question("a.test", Rtype::SOA);
    two.questions.push(Question::new(name("b.test"), Rtype::NS));
    let mut version = question("a.test", Rtype::NS);
    version.edns = Some(Edns { udp_size: 4096, version: 1, dnssec_ok: false });
    let messages = [
        ("any", question("a.test", Rtype::ANY)),
        ("dnssec", question("_acme-challenge.A.test", Rtype::TXT)),
        ("edns-version", version),
        ("plain", plain),
        ("two", two),
        ("update", update()),
    ];
    messages.into_iter().map(|(seed, message)| (seed, message.to_bytes().unwrap())).collect()
}
