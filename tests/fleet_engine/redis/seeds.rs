// SPDX-License-Identifier: Apache-2.0
//! The seeds of the fuzz target `resp_answer`, through the very checks that the target makes.

#[path = "../../../fuzz/checks/resp.rs"]
mod resp;

use mod_md::fleet::engine::redis::resp::Flaw;
use std::fs;
use std::path::Path;

/// Each seed, the number of answers in it, and why what follows is none.
const VERDICTS: &[(&str, usize, Option<Flaw>)] = &[
    ("all-kinds", 9, None),
    ("commit", 1, None),
    ("deep", 0, Some(Flaw::TooDeep)),
    ("denied", 1, None),
    ("http", 0, Some(Flaw::NotResp)),
    ("huge-list", 0, Some(Flaw::TooMany)),
    ("huge-string", 0, Some(Flaw::StringTooLong)),
    ("list", 1, None),
    ("log", 1, None),
    ("negative", 0, Some(Flaw::Number)),
    ("nothing-new", 1, None),
    ("then-garbage", 1, Some(Flaw::NotResp)),
    ("truncated", 0, None),
];

#[test]
fn every_seed_is_read_as_its_name_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/resp_answer");
    let mut names: Vec<String> =
        fs::read_dir(&dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, VERDICTS.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    for (name, count, flaw) in VERDICTS {
        let (answers, found) = resp::check(&fs::read(dir.join(name)).unwrap());
        assert_eq!((answers.len(), found), (*count, *flaw), "{name}: {answers:?}");
    }
}
