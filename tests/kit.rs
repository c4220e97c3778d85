// SPDX-License-Identifier: Apache-2.0
//! Keeps the files for maintainers consistent: versions, targets, dependencies and links that several files
//! name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const WORKFLOW: &str = ".github/workflows/ci.yml";
const NIGHTLY: &str = ".github/workflows/nightly.yml";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn the_oldest_rust_is_the_same_everywhere() {
    let manifest = read("Cargo.toml");
    let oldest = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    let oldest = oldest.trim_matches('"');
    for file in ["README.md", "CONTRIBUTING.md", WORKFLOW] {
        assert_eq!(versions_of_rust(&read(file)), BTreeSet::from([oldest.to_string()]), "{file}");
    }
}

/// Every 1.N that a text names, for Rust: none of what else these files name has such a version.
fn versions_of_rust(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    text.split(|c: char| !is_part(c))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| word.strip_prefix("1.").is_some_and(|minor| minor.len() == 2 && !minor.contains('.')))
        .map(str::to_string)
        .collect()
}

#[test]
fn each_step_of_the_workflows_is_a_target_of_the_makefile() {
    let makefile = read("Makefile");
    for file in [WORKFLOW, NIGHTLY] {
        let workflow = read(file);
        let steps = workflow.lines().filter_map(|line| line.trim().strip_prefix("- run: "));
        let steps: Vec<&str> = steps.collect();
        assert!(!steps.is_empty(), "the steps of {file} are found");
        for step in steps {
            let target = step.strip_prefix("make ").unwrap_or_else(|| panic!("'{step}' is no call of make"));
            let target = target.split(' ').next().unwrap();
            assert!(
                makefile.lines().any(|line| line.starts_with(&format!("{target}:"))),
                "no target {target}"
            );
        }
    }
}

/// What `make fuzz` runs is what stands in the folder: each file is a program, has seeds, which a test runs
/// through its checks, and stands in docs/testing.md.
#[test]
fn each_fuzz_target_is_built_has_seeds_and_is_described() {
    let files = files_in(&root().join("fuzz/fuzz_targets"));
    let targets: BTreeSet<String> =
        files.iter().map(|file| file.file_stem().unwrap().to_str().unwrap().to_string()).collect();
    assert!(targets.len() > 15, "the targets are found");
    let manifest = read("fuzz/Cargo.toml");
    let paths = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    let built: BTreeSet<String> =
        paths.filter_map(|path| path.strip_suffix(".rs\"")).map(str::to_string).collect();
    assert_eq!(built, targets);
    assert!(read("fuzz/run.sh").contains("fuzz_targets/*.rs"), "all of them are run");
    let tests: String =
        sources(&root().join("tests")).iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let page = read("docs/testing.md");
    for target in targets {
        assert!(manifest.contains(&format!("name = \"{target}\"\n")), "{target}");
        let seeds = files_in(&root().join("fuzz/seeds").join(&target));
        assert!(!seeds.is_empty(), "{target}");
        assert!(tests.contains(&target), "no test reads the seeds of {target}");
        assert!(page.contains(&format!("| `{target}` |")), "no row for {target}");
    }
}

#[test]
fn every_dependency_is_listed_with_its_reason() {
    let manifests = [
        "Cargo.toml",
        "apache-sys/Cargo.toml",
        "fuzz/Cargo.toml",
        "tests/orderings/Cargo.toml",
        "tests/doubles/Cargo.toml",
        "tests/support/Cargo.toml",
    ];
    let used: BTreeSet<String> = manifests.iter().flat_map(|file| dependencies(&read(file))).collect();
    let table = read("CONTRIBUTING.md");
    let listed: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter_map(|row| row.split([' ', '|']).next())
        .filter(|name| *name != "crate")
        .map(str::to_string)
        .collect();
    assert_eq!(used, listed);
}

/// Without the crates of this repository.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.trim_end_matches(']').ends_with("dependencies");
        } else if inside
            && !line.contains("path = ")
            && let Some((name, _)) = line.split_once(" = ")
            && !name.starts_with('#')
        {
            names.push(name.to_string());
        }
    }
    names
}

/// A test under a new name would be run with the C module, which does not pass it.
#[test]
fn each_test_that_is_left_out_with_the_c_module_exists() {
    let list = read("tests/support/difference.rs");
    let list = list.split_once("OURS_ONLY").and_then(|(_, rest)| rest.split_once("];")).unwrap().0;
    let is_name = |text: &&str| text.contains("::") && !text.contains(' ');
    let names: Vec<&str> = list.split('"').filter(is_name).collect();
    assert!(names.len() > 50, "the names are found");
    for name in names {
        let (file, test) = name.split_once("::").unwrap();
        let sources = read(&format!("tests/e2e/{file}.rs"));
        assert!(test.is_empty() || sources.contains(&format!("\nfn {test}() {{")), "no test {name}");
    }
}

/// Both ways to a .deb have the same version and the same words.
#[test]
fn the_two_ways_to_a_debian_package_agree() {
    let manifest = read("Cargo.toml");
    let version =
        manifest.lines().find_map(|line| line.strip_prefix("version = ")).unwrap().trim_matches('"');
    let changelog = read("debian/changelog");
    assert!(changelog.starts_with(&format!("libapache2-mod-md3 ({version}-")), "{version}");
    let control = read("debian/control");
    let described: Vec<&str> = control
        .lines()
        .skip_while(|line| !line.starts_with("Description: "))
        .skip(1)
        .map(|line| if line == " ." { "" } else { line.trim_start() })
        .collect();
    assert_eq!(described.join("\n"), read("packaging/description").trim_end());
    for line in ["maintainer = \"", "Maintainer: "] {
        let of = if line.starts_with('m') { &manifest } else { &control };
        let maintainer = of.lines().find_map(|text| text.strip_prefix(line)).unwrap().trim_matches('"');
        assert!(changelog.contains(&format!("\n -- {maintainer}  ")), "{maintainer}");
    }
}

#[test]
fn every_source_file_begins_with_its_licence() {
    let manifest = read("Cargo.toml");
    let licence =
        manifest.lines().find_map(|line| line.strip_prefix("license = ")).unwrap().trim_matches('"');
    let head = format!("SPDX-License-Identifier: {licence}");
    let files =
        ["src", "tests", "benches", "apache-sys", "fuzz", "conf"].map(|dir| sources(&root().join(dir)));
    let files: Vec<PathBuf> = files.into_iter().flatten().chain([root().join(".ci/run")]).collect();
    assert!(files.len() > 100, "the sources are found");
    let without: Vec<String> = files
        .iter()
        .filter(|file| !fs::read_to_string(file).unwrap().lines().take(2).any(|line| line.ends_with(&head)))
        .map(|file| file.display().to_string())
        .collect();
    assert!(without.is_empty(), "no line '{head}' in:\n{}\n", without.join("\n"));
}

/// What is compiled or run, below `dir`.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let deeper = |path: PathBuf| match path.is_dir() {
        true if path.ends_with("target") => Vec::new(),
        true => sources(&path),
        false => vec![path],
    };
    entries.flat_map(deeper).filter(|file| ["rs", "c", "h", "sh"].iter().any(|kind| is(file, kind))).collect()
}

#[test]
fn links_between_pages_lead_to_what_is_there() {
    let pages: Vec<PathBuf> = [root(), root().join("docs")]
        .iter()
        .flat_map(|dir| files_in(dir))
        .filter(|file| is(file, "md"))
        .collect();
    let broken: Vec<String> = pages.iter().flat_map(|page| broken_links(page)).collect();
    assert!(pages.len() > 10, "the pages are found");
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

fn broken_links(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets
        .filter(|target| !leads_somewhere(page, target))
        .map(|to| format!("{}: {to}", page.display()))
        .collect()
}

fn leads_somewhere(page: &Path, target: &str) -> bool {
    if target.contains("://") {
        return true;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if file.is_empty() { page.to_path_buf() } else { page.parent().unwrap().join(file) };
    let Ok(text) = fs::read_to_string(&file) else { return file.is_dir() };
    anchor.is_empty()
        || text.contains(&format!("<a id=\"{anchor}\">"))
        || text.lines().any(|line| line.starts_with('#') && slug(line) == anchor)
}

/// The anchor that forges give a heading.
fn slug(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

fn is(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}
