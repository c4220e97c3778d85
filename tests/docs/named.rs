// SPDX-License-Identifier: Apache-2.0
//! What pages name exists. Links are compared by tests/kit.rs, calls of a2md by tests/a2md/docs.rs, and
//! blocks of configuration by tests/e2e/directives.rs.

use super::{page, pages, read};
use std::collections::BTreeSet;

#[test]
fn comments_of_each_page_follow_the_rules() {
    for name in pages() {
        let text = read(&format!("docs/{name}"));
        if let Err(error) = page::read(&text)
            && page::is_marked(&text)
        {
            panic!("docs/{name}: {error}");
        }
    }
}

#[test]
fn each_target_of_make_that_a_page_names_exists() {
    let makefile = read("Makefile");
    let others = ["README.md", "CONTRIBUTING.md", "RELEASING.md", "CHANGELOG.md"].map(String::from);
    let all = pages().into_iter().map(|name| format!("docs/{name}")).chain(others);
    let mut count = 0;
    for file in all {
        for target in targets(&read(&file)) {
            count += 1;
            assert!(
                makefile.lines().any(|line| line.starts_with(&format!("{target}:"))),
                "{file}: make {target}"
            );
        }
    }
    assert!(count > 30, "the targets are found");
}

/// What stands behind `make` in code: in lines of blocks, and between backticks.
fn targets(text: &str) -> BTreeSet<String> {
    let mut is_block = false;
    let mut code = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if is_block {
            code.push(line);
        } else {
            code.extend(line.split('`').skip(1).step_by(2));
        }
    }
    let calls = code.into_iter().flat_map(|line| line.split(';')).flat_map(|part| part.split("&&"));
    let calls = calls.filter_map(|call| call.trim_start().trim_start_matches("$ ").strip_prefix("make "));
    // `make setup build` is two targets; what follows a comment or an assignment is none.
    let words = calls.flat_map(|call| call.split(' ').take_while(|word| is_target(word)).map(String::from));
    words.collect()
}

fn is_target(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

#[test]
fn readme_lists_each_page() {
    let readme = read("README.md");
    let missing: Vec<String> =
        pages().into_iter().filter(|name| !readme.contains(&format!("](docs/{name})"))).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn targets_are_found_in_code() {
    let text = "make it\n`make setup test` make it\n```\nmake build\ncd x && make demo  # a\n\
                $ make clean A=b\n```\n";
    let expected = ["build", "clean", "demo", "setup", "test"];
    assert_eq!(targets(text).iter().collect::<Vec<_>>(), expected);
}
