// SPDX-License-Identifier: Apache-2.0
//! Holds `src/` to its architecture: imports run downward, between rooms and inside them, no files use each
//! other in a circle, code that touches the world stands in one place, and every module has a place in these
//! tables.
//!
//! Reads the sources as text, without comments, strings and test modules, and follows re-exports. It does not
//! see the code that macros of other crates generate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod code;
mod graph;
mod map;
mod orderings;

use code::{names, test_files, without_tests, without_text};
use graph::{Edge, circles, edges, module_of};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the crate by layer, L0 first. A module may import from its own layer and from those below.
const LAYERS: &[&[&str]] = &[
    &["backoff", "counters", "time", "names", "url", "log", "sync", "library"],
    &["crypto", "model", "work"],
    &["config", "store", "http", "dns", "exec"],
    &["managed", "metrics", "acme", "challenge", "ocsp"],
    &["startup", "renew", "live", "stapling", "responder", "fleet", "status", "notify", "require_https"],
    &["httpd", "cli"],
    &["bin"],
];

/// The imports of a room from its own layer; a room that is not listed may import nothing from there.
const BESIDE: &[(&str, &[&str])] = &[
    // What the lock-free parts are made of.
    ("counters", &["sync"]),
    ("time", &["sync"]),
    // Kinds of keys are settings.
    ("crypto", &["model"]),
    // Whether the servers' user can enter a folder, a child of that user finds out.
    ("store", &["exec"]),
    // Certificates to trust are files of the admin.
    ("http", &["store"]),
    ("challenge", &["acme"]),
    ("managed", &["challenge"]),
    ("metrics", &["acme"]),
    ("startup", &["notify", "renew::decide", "fleet"]),
    ("renew", &["notify"]),
    // Children learn of responses by the same signals as of sets.
    ("stapling", &["live::signals", "notify"]),
    ("status", &["renew::decide", "stapling"]),
];

/// Inside rooms: each line of parts may import from those that follow, and nothing of its own line.
const PARTS: &[(&str, &[&[&str]])] = &[
    ("renew", &[&["worker"], &["attempt"], &["decide"]]),
    (
        "fleet",
        &[
            &["member", "replicator", "connect"],
            &["node"],
            &["local"],
            &["decide"],
            &["view"],
            &["codec", "inherited"],
            &["record"],
            &["sealed"],
            &["engine"],
            &["access", "key", "secret"],
        ],
    ),
    ("httpd", &[&["hooks"], &["start", "serve", "child"], &["state"], &["sys"]]),
];

/// A path of code, and the only places below `src/` where it may be named (a prefix of the file's path).
const PLACES: &[(&str, &[&str])] = &[
    ("apache_sys", &["httpd/sys/", "httpd/hooks/"]),
    ("std::process", &["exec.rs", "exec/", "bin/"]),
    // For a clean start of a program, which std cannot do.
    ("nix", &["exec/"]),
    ("std::fs", &["store/"]),
    // The HTTP client's TLS is the system's, too, and so is mod_ssl's, where live certificates are set.
    ("openssl", &["crypto/", "ocsp/", "http/", "httpd/sys/", "httpd/hooks/"]),
    ("openssl_sys", &["httpd/sys/", "httpd/hooks/"]),
    ("ureq", &["http/client.rs", "http/client/"]),
    // Its types stop at ours.
    ("domain::base", &["dns/"]),
    ("domain::rdata", &["dns/"]),
    ("foreign_types", &["httpd/sys/", "httpd/hooks/"]),
    ("SystemTime::now", &["time.rs"]),
    ("Zoned::now", &["time.rs"]),
    ("unsafe", &["httpd/sys/", "httpd/hooks/"]),
];

#[test]
fn sources_keep_to_their_rooms_and_places() {
    let files = sources();
    assert!(files.len() > 10, "the sources are found");
    let violations = violations(&files);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let files = sources();
    let found = circles(&edges(&code(&files)));
    let told: Vec<String> = found.iter().map(|circle| circle.join(" -> ")).collect();
    assert!(told.is_empty(), "\n{}\n", told.join("\n"));
}

#[test]
fn each_row_of_the_tables_is_of_a_module_that_exists() {
    let modules: BTreeSet<String> = sources().iter().map(|(name, _)| module_of(name).join("::")).collect();
    let parts = PARTS
        .iter()
        .flat_map(|(room, lines)| lines.iter().copied().flatten().map(move |part| format!("{room}::{part}")));
    let rooms = LAYERS.iter().copied().flatten().map(ToString::to_string);
    let beside = BESIDE.iter().flat_map(|(room, beside)| [&[*room], *beside].concat()).map(str::to_string);
    let is_there = |row: &String| {
        modules.contains(row) || modules.iter().any(|module| module.starts_with(&format!("{row}::")))
    };
    let missing: Vec<String> = rooms.chain(parts).chain(beside).filter(|row| !is_there(row)).collect();
    assert_eq!(missing, [""; 0]);
}

/// Path below `src/`, and content.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let name = |file: &Path| file.strip_prefix(&src).unwrap().to_str().unwrap().to_string();
    rust_files(&src).into_iter().map(|file| (name(&file), fs::read_to_string(&file).unwrap())).collect()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let deeper = |path: PathBuf| if path.is_dir() { rust_files(&path) } else { vec![path] };
    entries.into_iter().flat_map(deeper).filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

/// Without comments, literals and tests.
fn code(files: &[(String, String)]) -> Vec<(&str, String)> {
    let test_files: Vec<String> = files.iter().flat_map(|(name, text)| test_files(name, text)).collect();
    let is_test = |name: &str| {
        let is_in = |rest: &str| rest.starts_with('.') || rest.starts_with('/');
        test_files.iter().any(|test| name.strip_prefix(test.as_str()).is_some_and(is_in))
    };
    let code = |(name, text): &(String, String)| (name.clone(), without_tests(&without_text(text)));
    let kept = files.iter().filter(|(name, _)| !is_test(name));
    kept.map(|file| (file.0.as_str(), code(file).1)).collect()
}

/// `files`: path below `src/`, and content.
fn violations(files: &[(String, String)]) -> Vec<String> {
    let code = code(files);
    let mut found = Vec::new();
    for (name, code) in &code {
        found.extend(unknown(name));
        for named in names(code) {
            let said = import_upward(name, &named.path).or_else(|| out_of_place(name, &named.path));
            found.extend(said.map(|said| format!("src/{name}:{}: {said}", named.line)));
        }
    }
    found.extend(edges(&code).iter().filter_map(|edge| {
        let said = import_beside(edge).or_else(|| import_inside(edge))?;
        Some(format!("src/{}:{}: {said}", edge.from, edge.line))
    }));
    found.dedup();
    found
}

/// A file in no room of the tables, or in none of the parts that its room has.
fn unknown(file: &str) -> Option<String> {
    let module = module_of(file);
    let room = module.first()?;
    if layer(room).is_none() {
        return Some(format!("src/{file}: LAYERS has no room {room}"));
    }
    let part = module.get(1)?;
    let (_, lines) = PARTS.iter().find(|(with_parts, _)| with_parts == room)?;
    let is_known = lines.iter().any(|parts| parts.contains(&part.as_str()));
    (!is_known).then(|| format!("src/{file}: PARTS has no {room}::{part}"))
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn import_upward(file: &str, path: &[String]) -> Option<String> {
    let own = module_of(file).first()?.clone();
    let target = top_module(file, path)?;
    let (from, to) = (layer(&own)?, layer(&target)?);
    (to > from).then(|| format!("{own} (L{from}) names {target} (L{to})"))
}

/// The module directly below the crate's root that a path leads into.
fn top_module(file: &str, path: &[String]) -> Option<String> {
    let first = path.first()?;
    if first == "crate" || first == "mod_md" {
        return path.get(1).cloned();
    }
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    (supers >= module_of(file).len()).then(|| path.get(supers).cloned())?
}

fn import_beside(edge: &Edge) -> Option<String> {
    let (from, to) = (module_of(&edge.from), module_of(&edge.to));
    let (own, other) = (from.first()?, to.first()?);
    if own == other || layer(own) != layer(other) {
        return None;
    }
    let allowed = BESIDE.iter().find(|(room, _)| room == own).map_or(&[][..], |(_, allowed)| *allowed);
    let is_allowed = |allowed: &&str| {
        let allowed: Vec<&str> = allowed.split("::").collect();
        to.iter().zip(&allowed).filter(|(segment, allowed)| segment == *allowed).count() == allowed.len()
    };
    let what = to.join("::");
    (!allowed.iter().any(is_allowed)).then(|| format!("{own} names {what} of its own layer"))
}

fn import_inside(edge: &Edge) -> Option<String> {
    let (from, to) = (module_of(&edge.from), module_of(&edge.to));
    let (room, other) = (from.first()?, to.first()?);
    let (_, lines) = PARTS.iter().find(|(with_parts, _)| with_parts == room && room == other)?;
    let (own, target) = (from.get(1)?, to.get(1)?);
    let line = |part: &str| lines.iter().position(|parts| parts.contains(&part));
    (own != target && line(target)? <= line(own)?).then(|| format!("{room}::{own} names {room}::{target}"))
}

fn out_of_place(file: &str, path: &[String]) -> Option<String> {
    // The id of the own process distinguishes the files of two writers; nothing is started.
    if begins(path, "std::process::id") {
        return None;
    }
    let (what, places) = PLACES.iter().find(|(what, _)| {
        if what.ends_with("::now") { path.join("::").contains(what) } else { begins(path, what) }
    })?;
    let allowed = places.iter().any(|place| file.starts_with(place));
    (!allowed).then(|| format!("{what} belongs into {}", places.join(", ")))
}

fn begins(path: &[String], with: &str) -> bool {
    with.split("::").enumerate().all(|(i, segment)| path.get(i).is_some_and(|found| found == segment))
}

mod checker {
    use super::{circles, code, edges, violations};

    fn check(file: &str, text: &str) -> Vec<String> {
        check_all(&[(file, text)])
    }

    fn check_all(files: &[(&str, &str)]) -> Vec<String> {
        violations(&owned(files))
    }

    fn owned(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
    }

    #[test]
    fn an_import_of_a_higher_layer_is_found_in_each_spelling() {
        for text in [
            "use crate::renew::decide;",
            "use crate::{model::Md, renew};",
            "use crate::{\n    model::{Md, Job},\n    renew::{self, policy as p},\n};",
            "fn f() { crate::renew::run(); }",
            "use super::super::renew::decide;",
        ] {
            let found = check("acme/order.rs", text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains("acme (L3) names renew (L4)"), "{found:?}");
        }
        assert_eq!(check("acme/mod.rs", "use super::renew;").len(), 1);
        assert_eq!(check("time.rs", "\n\nuse super::model;"), ["src/time.rs:3: time (L0) names model (L1)"]);
    }

    #[test]
    fn imports_downward_and_on_one_layer_pass() {
        for text in [
            "use crate::model::Md;",
            "use crate::{challenge, crypto::Key, time};",
            "use super::order;",
            "use super::super::time;",
            "pub use self::renew::Renew;",
        ] {
            assert_eq!(check("acme/client.rs", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_module_in_no_table_is_found() {
        assert_eq!(check("oddments.rs", ""), ["src/oddments.rs: LAYERS has no room oddments"]);
        assert_eq!(check("renew/odd/mod.rs", ""), ["src/renew/odd/mod.rs: PARTS has no renew::odd"]);
        assert_eq!(check("renew/mod.rs", ""), [""; 0]);
        assert_eq!(check("renew/decide/due.rs", ""), [""; 0]);
    }

    #[test]
    fn an_import_of_a_room_beside_or_a_part_above_is_found() {
        for (from, text, said) in [
            ("startup/cleanup.rs", "use crate::renew::worker::run;", "startup names renew::worker"),
            ("startup/cleanup.rs", "use crate::renew::decide::due;\nfn f() { due::x() }", ""),
            (
                "renew/attempt/order.rs",
                "use crate::renew::worker::run;",
                "renew::attempt names renew::worker",
            ),
            (
                "renew/attempt/order.rs",
                "use super::super::worker;\nfn f() { worker::run() }",
                "names renew::worker",
            ),
            ("renew/attempt/order.rs", "use crate::renew::decide::due::x;", ""),
            ("renew/attempt/order.rs", "use crate::startup::y;", "renew names startup"),
        ] {
            let files = [
                (from, text),
                ("startup/mod.rs", "pub fn y() {}"),
                ("renew/mod.rs", "pub mod worker;\npub mod decide;"),
                ("renew/worker/mod.rs", "pub fn run() {}"),
                ("renew/decide/due.rs", "pub fn x() {}"),
            ];
            let found = check_all(&files);
            assert_eq!(found.len(), usize::from(!said.is_empty()), "{text}: {found:?}");
            assert!(found.iter().all(|found| found.contains(said)), "{text}: {found:?}");
        }
    }

    #[test]
    fn files_that_use_each_other_are_a_circle_and_facades_are_none() {
        let found = |files: &[(&str, &str)]| circles(&edges(&code(&owned(files))));
        let circle = [
            ("a/mod.rs", "mod one;\nmod two;\npub use two::Two;"),
            ("a/one.rs", "use super::Two;\npub struct One;"),
            ("a/two.rs", "use super::one;\npub struct Two(one::One);"),
        ];
        assert_eq!(found(&circle), [["a/one.rs", "a/two.rs"]], "through a re-export and a module's name");
        let with_facade = [
            ("a/mod.rs", "mod one;\nmod two;\npub use one::One;\npub use two::Two;"),
            ("a/one.rs", "pub struct One;"),
            ("a/two.rs", "use super::One;\npub struct Two(One);"),
        ];
        assert_eq!(found(&with_facade), [[""; 0]; 0]);
        let with_parent = [
            ("a/mod.rs", "mod one;\npub struct Two;\nfn f(_: one::One) {}"),
            ("a/one.rs", "use super::Two;\npub struct One(Two);"),
        ];
        assert_eq!(found(&with_parent), [["a/mod.rs", "a/one.rs"]]);
    }

    #[test]
    fn a_crate_named_out_of_its_place_is_found() {
        for (file, text) in [
            ("httpd/serve/pages.rs", "use apache_sys::request_rec;"),
            ("renew/attempt/issue.rs", "use std::{fs, time::Duration};"),
            ("renew/attempt/issue.rs", "fn f() { std::process::exit(1) }"),
            ("acme/client.rs", "use openssl::pkey::PKey;"),
            ("renew/decide/due.rs", "use std::time::SystemTime; fn f() { SystemTime::now(); }"),
            ("httpd/serve/pages.rs", "fn f() { unsafe { g() } }"),
            ("acme/client.rs", "use ureq::Agent;"),
        ] {
            assert_eq!(check(file, text).len(), 1, "{text}: {:?}", check(file, text));
        }
    }

    #[test]
    fn each_crate_passes_in_its_place() {
        for (file, text) in [
            ("httpd/sys/hook.rs", "use apache_sys::request_rec; fn f() { unsafe { g() } }"),
            ("store/disk.rs", "use std::fs; fn f() { std::process::id(); }"),
            ("exec.rs", "use std::process::Command;"),
            ("crypto/key.rs", "use openssl::pkey::PKey;"),
            ("time.rs", "fn f() { SystemTime::now(); }"),
            ("http/client.rs", "use openssl::ssl::SslConnector; use ureq::Agent;"),
            ("lib.rs", "#![deny(unsafe_code)]\npub mod httpd;"),
        ] {
            assert_eq!(check(file, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn comments_literals_and_test_modules_do_not_count() {
        let text = r##"
//! Not crate::renew, nor unsafe.
/* use crate::renew; */
const A: &str = "use crate::renew; unsafe \" {";
const B: &str = r#"crate::renew "{" "#;
fn f<'a>(c: char) -> &'a str { if c == '{' || c == '\'' || c == '"' { "" } else { "}" } }
#[cfg(test)]
mod tests {
    use crate::renew;
    fn f() { std::fs::read("x"); }
}
"##;
        assert_eq!(check("acme/client.rs", text), [""; 0]);
        assert_eq!(
            check("acme/client.rs", &format!("{text}use crate::renew;")).len(),
            1,
            "what follows counts"
        );
    }

    #[test]
    fn a_file_that_is_only_a_test_module_does_not_count() {
        let files =
            [("acme/mod.rs", "#[cfg(test)]\nmod fake;"), ("acme/fake.rs", "use crate::renew; use std::fs;")];
        assert_eq!(violations(&files.map(|(name, text)| (name.to_string(), text.to_string()))), [""; 0]);
    }
}
