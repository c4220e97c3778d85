// SPDX-License-Identifier: Apache-2.0
//! The reference of all directives, docs/directives.md, generated from the table so that it matches the
//! parsers.

use super::authority::KNOWN_CAS;
use super::table::{Args, Places, ROWS, Row, Unset};
use std::fmt::Write;

/// The groups of rows: a title, and the first row of each group in the order of the table.
const GROUPS: &[(&str, &str)] = &[
    ("Managed domains and hosts", "MDomain"),
    ("The CA and the way to it", "MDCertificateAuthority"),
    ("Challenges", "MDCAChallenges"),
    ("Keys and certificates", "MDPrivateKeys"),
    ("Renewal", "MDRenewMode"),
    ("Activation and the store", "MDActivationDelay"),
    ("Fleet: several httpds that share certificates", "MDFleet"),
    ("OCSP stapling", "MDStapling"),
    ("Notifications and status", "MDMessageCmd"),
];

/// The text before the list of directives.
const INTRODUCTION: &str = include_str!("reference.md");

/// Columns of the page, outside of tables and examples.
const WIDTH: usize = 120;

const EXAMPLE: &str = "```apache\n";

/// docs/directives.md, as it has to be.
pub fn markdown() -> String {
    let mut page = format!("{INTRODUCTION}\n## All directives\n\n{}", index());
    for row in ROWS {
        if let Some((title, _)) = GROUPS.iter().find(|(_, first)| *first == row.title()) {
            let _ = write!(page, "\n## {title}\n");
        }
        page += &entry(row);
        if row.title() == "MDCertificateAuthority" {
            page += &known_cas();
        }
    }
    page
}

fn index() -> String {
    let mut rows: Vec<&Row> = ROWS.iter().collect();
    rows.sort_by_key(|row| row.title().trim_start_matches('<').to_ascii_lowercase());
    let mut table = "| directive | arguments | where | default |\n|---|---|---|---|\n".to_string();
    for row in rows {
        let documented = row.documented();
        let (arguments, unset) = (code(documented.form).replace('|', "\\|"), short_default(documented));
        let _ = writeln!(table, "| {} | {arguments} | {} | {unset} |", link(row), row.where_to());
    }
    table + "\n¹ not known to the C module mod_md 2.6.\n"
}

fn link(row: &Row) -> String {
    let mark = if row.is_ours { " ¹" } else { "" };
    format!("[{}](#{}){mark}", code(&row.written()), row.anchor())
}

fn entry(row: &Row) -> String {
    let mut text = format!("\n<a id=\"{}\"></a>\n### {}\n\n", row.anchor(), code(&row.written()));
    if let Some(other) = row.same_as.and_then(find) {
        let new = if row.is_ours { " The C module does not know this spelling." } else { "" };
        let _ = writeln!(text, "The same as [{}](#{}).{new}", code(&other.written()), other.anchor());
        return text;
    }
    let help = row.help.to_str().unwrap_or_default().replace('<', "&lt;");
    let _ = writeln!(text, "    {}\n\n{}", row.syntax(), wrapped(&sentence(&help)));
    let (detail, example) = row.detail_and_example();
    if !detail.is_empty() {
        let _ = writeln!(text, "\n{detail}");
    }
    let mut facts = vec![format!("Where: {}.", row.where_to())];
    match row.unset {
        Unset::Nothing => {}
        Unset::As(value) => facts.push(format!("Default: {}.", code(value))),
        Unset::Described(words) => facts.push(format!("Default: {words}.")),
    }
    facts.extend(row.json_key.map(|key| format!("Status: {}.", code(key))));
    if row.is_ours {
        facts.push("Not in the C module.".to_string());
    }
    let _ = writeln!(text, "\n{}", wrapped(&facts.join(" ")));
    if !example.is_empty() {
        let _ = writeln!(text, "\n{EXAMPLE}{example}\n```");
    }
    text
}

fn known_cas() -> String {
    let mut table = "\n| CA | directory |\n|---|---|\n".to_string();
    for (name, url) in KNOWN_CAS {
        let _ = writeln!(table, "| {} | {url} |", code(name));
    }
    table
}

fn short_default(row: &Row) -> String {
    match row.unset {
        Unset::Nothing => String::new(),
        Unset::As(value) => code(value),
        Unset::Described(words) => words.split(',').next().unwrap_or_default().to_string(),
    }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// httpd's help texts begin and end as they like.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

/// In lines of [`WIDTH`].
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines.join("\n")
}

fn find(title: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.title() == title)
}

impl Row {
    /// As the table has it: sections begin with `<`.
    fn title(&self) -> &str {
        self.name.to_str().unwrap_or_default()
    }

    /// The two parts of the prose, without the fence of the second.
    fn detail_and_example(&self) -> (&str, &str) {
        let (detail, example) = self.prose.split_once(EXAMPLE).unwrap_or((self.prose, ""));
        (detail.trim_end(), example.trim_end().trim_end_matches("```").trim_end())
    }

    /// As written in a configuration.
    fn written(&self) -> String {
        if self.args == Args::Section { format!("{}>", self.title()) } else { self.title().to_string() }
    }

    fn anchor(&self) -> String {
        let name = self.title().to_ascii_lowercase();
        match name.strip_prefix('<') {
            Some(section) => format!("{section}-section"),
            None => name,
        }
    }

    fn where_to(&self) -> &'static str {
        match self.places {
            Places::ServerOrMd if self.is_of_host => "server",
            Places::Server => "server",
            Places::Md => "MD section",
            Places::ServerOrMd => "server, MD section",
            Places::Global => "once",
            Places::ServerMdIf => "server, MD section, `<If>`",
        }
    }

    /// The row that has the documentation of this one.
    fn documented(&self) -> &Row {
        self.same_as.and_then(find).unwrap_or(self)
    }

    fn syntax(&self) -> String {
        let (name, form) = (self.title(), self.form);
        match name.strip_prefix('<') {
            Some(section) => format!("{name} {form}> … </{section}>"),
            None => format!("{name} {form}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Site;
    use super::*;
    use std::collections::{BTreeMap, HashSet};
    use std::path::PathBuf;

    impl Row {
        fn prose_file(&self) -> String {
            let name = self.title();
            name.strip_prefix('<').map_or(format!("{name}.md"), |section| format!("{section}-section.md"))
        }
    }

    fn docs(name: &str) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "docs", name].iter().collect()
    }

    #[test]
    fn directives_md_is_what_the_table_says() {
        let (file, expected) = (docs("directives.md"), markdown());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&file, &expected).unwrap();
        }
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            found == expected,
            "docs/directives.md is not what the table says: run `UPDATE_DOCS=1 cargo test --no-default-features directives_md`"
        );
    }

    #[test]
    fn every_row_is_documented_once_and_in_a_group() {
        for row in ROWS {
            let is_documented = !row.form.is_empty();
            assert_ne!(is_documented, row.same_as.is_some(), "{}", row.title());
            assert!(
                row.same_as.is_none_or(|name| find(name).is_some_and(|r| r.same_as.is_none())),
                "{}",
                row.title()
            );
        }
        let starts: Vec<_> =
            GROUPS.iter().map(|(_, first)| ROWS.iter().position(|r| r.title() == *first)).collect();
        assert_eq!(starts[0], Some(0));
        assert!(starts.iter().all(Option::is_some) && starts.is_sorted(), "{starts:?}");
    }

    #[test]
    fn every_documented_row_has_a_file_of_prose_and_every_file_a_row() {
        let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "src", "config", "directives"].iter().collect();
        let files: BTreeMap<String, String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|file| {
                let name = file.file_name().unwrap().to_str().unwrap().to_string();
                (name, std::fs::read_to_string(&file).unwrap())
            })
            .collect();
        let documented = ROWS.iter().filter(|row| row.same_as.is_none());
        let rows: BTreeMap<String, String> =
            documented.map(|row| (row.prose_file(), row.prose.to_string())).collect();
        assert!(files.keys().eq(rows.keys()), "files {:?}, rows {:?}", files.keys(), rows.keys());
        for (name, text) in &rows {
            assert!(files[name] == *text, "{name} stands at another row");
            assert!(!text.trim().is_empty(), "{name} is empty");
        }
        assert!(ROWS.iter().all(|row| row.same_as.is_none() || row.prose.is_empty()));
    }

    #[test]
    fn the_page_keeps_to_its_width_outside_of_tables() {
        let page = markdown();
        let long = page.lines().filter(|line| line.chars().count() > WIDTH && !line.starts_with('|'));
        assert_eq!(long.collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn every_link_leads_to_an_anchor() {
        let page = markdown();
        let anchors: HashSet<&str> =
            page.split("<a id=\"").skip(1).filter_map(|s| s.split('"').next()).collect();
        let links: Vec<&str> = page.split("](#").skip(1).filter_map(|s| s.split(')').next()).collect();
        assert_eq!(anchors.len(), ROWS.len());
        assert!(links.len() >= ROWS.len());
        assert_eq!(links.iter().find(|link| !anchors.contains(*link)), None);
    }

    #[test]
    fn the_documented_default_is_the_one_in_force() {
        let plan = |line: &str| Site::read(&format!("MDomain a.test\n\n{line}")).unwrap().plan().unwrap();
        for row in ROWS {
            if let Unset::As(value) = row.unset {
                assert!(plan("") == plan(&format!("{} {value}", row.title())), "{} {value}", row.title());
            }
        }
    }

    #[test]
    fn every_example_is_accepted_and_shows_its_directive() {
        for row in ROWS {
            let (_, example) = row.detail_and_example();
            assert!(example.is_empty() || example.contains(row.title()), "{}", row.title());
            Site::read(example).unwrap_or_else(|e| panic!("{example}: {e}"));
        }
    }
}
