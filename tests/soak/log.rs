// SPDX-License-Identifier: Apache-2.0
//! What lines of an error log tell.

use crate::run::log::*;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;

const ERROR: &str = "[Fri Nov 27 19:54:56.123456 2026] [md:error] [pid 12:tid 34] AH10056: processing d7.test: \
                     127.0.0.1:20031 does not answer for /x/d7.test/job.json";

#[test]
fn lines_of_one_shape_are_one_group() {
    let mut told = Told::default();
    told.hear(ERROR);
    told.hear(&ERROR.replace("d7", "d19").replace("20031", "20099").replace("34]", "35]"));
    let only = told.groups.iter().next().unwrap();
    assert_eq!(only.0.0, "error");
    assert_eq!(only.0.1, "AH10056: processing NAME N.N.N.N:N does not answer for NAME");
    assert_eq!((only.1.0, told.groups.len()), (2, 1));
    assert!(only.1.1.starts_with("AH10056: processing d7.test"));
    assert_eq!(only.1.1.matches("…/job.json").count(), 1, "{only:?}");
    told.hear(&ERROR.replace("md:error", "md:info"));
    assert_eq!(told.groups.len(), 1);
}

#[test]
fn a_shape_has_no_names_and_numbers_and_keeps_the_number_of_the_message() {
    let shape = |message: &str| {
        let mut told = Told::default();
        told.hear(&format!("[T] [md:warn] [pid 12:tid 34] {message}"));
        told.groups.keys().next().unwrap().1.clone()
    };
    assert_eq!(
        shape(
            "(28)No space left on device: AH10056: processing d1.test: writing /x/d1.test/job.json: No space"
        ),
        "AH10056: processing NAME writing NAME No space"
    );
    assert_eq!(
        shape("fleet: the value of f16.test is not used: ocsp-1a94b8c.json is for no certificate"),
        "fleet: the value of NAME is not used: ocsp-N.json is for no certificate"
    );
    assert_eq!(shape("no answer from https://127.0.0.1:1/a_b-2: refused"), "no answer from URL refused");
    assert_eq!(
        shape("no certificate yet for d0.test (md[d0.test]), d1.test: 503"),
        "no certificate yet for NAME N"
    );
}

#[test]
fn a_child_that_was_killed_on_purpose_is_no_crash() {
    let line = |pid: u32, signal: &str| {
        format!(
            "[Fri Nov 27 19:54:56.123456 2026] [core:notice] [pid 1:tid 2] AH00052: child pid {pid} exit signal {signal}"
        )
    };
    let mut told = Told { killed: BTreeSet::from([77]), ..Told::default() };
    told.hear(&line(77, "Killed (9)"));
    assert!(told.crashes.is_empty());
    told.hear(&line(78, "Segmentation fault (11)"));
    told.hear("thread 'md' panicked at src/lib.rs:1:1:");
    assert_eq!(told.crashes.len(), 2);
}

#[test]
fn starts_and_sets_in_use_are_counted() {
    let mut told = Told::default();
    let start = "[Fri Nov 27 19:54:56.123456 2026] [mpm_event:notice] [pid 9:tid 2] AH00489: Apache/2.4.67 (Debian) \
                 OpenSSL/3.0.19 configured -- resuming normal operations";
    assert!(!told.hear(start));
    assert_eq!((told.starts, told.server.as_deref()), (1, Some("Apache/2.4.67 (Debian) OpenSSL/3.0.19")));
    assert!(told.hear("[T] [md:notice] [pid 41:tid 2] AH10059: The Managed Domain d1.test … is live now."));
    assert_eq!(told.renewing, Some(41));
}

#[test]
fn a_file_is_read_on_and_only_in_whole_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("error.log");
    let mut tail = Tail::new(&path);
    assert!(tail.lines().is_empty());
    let mut file = File::create(&path).unwrap();
    file.write_all(b"one\ntw").unwrap();
    assert_eq!(tail.lines(), ["one"]);
    file.write_all(b"o\nthree\n").unwrap();
    assert_eq!(tail.lines(), ["two", "three"]);
    assert!(tail.lines().is_empty());
}
