// SPDX-License-Identifier: Apache-2.0
//! The reference of all directives, docs/directives.md: made from the table, so that it tells what the
//! module reads.

use super::authority::KNOWN_CAS;
use super::table::{Args, Places, ROWS, Row, Unset};
use std::fmt::Write;

/// What the rows are about: a title, and the first row of each group in the order of the table.
const GROUPS: &[(&str, &str)] = &[
    ("Managed domains and hosts", "MDomain"),
    ("The CA and the way to it", "MDCertificateAuthority"),
    ("Challenges", "MDCAChallenges"),
    ("Keys and certificates", "MDPrivateKeys"),
    ("Renewal", "MDRenewMode"),
    ("Activation and the store", "MDActivationDelay"),
    ("OCSP stapling", "MDStapling"),
    ("What the module tells", "MDMessageCmd"),
];

const INTRODUCTION: &str = "\
# Directives

This page is made from the table that the module reads its configuration with. `UPDATE_DOCS=1 cargo test --no-default-features
directives_md` regenerates it.

- **Names** of directives and the words `on`, `off`, `auto`, `manual` may be written in any case.
- **Where**: *server* is the main server or a `<VirtualHost>`; *MD section* is the inside of `<MDomain …>`; *once* is a value that the
  whole httpd has once: write it in the main server, the last one wins.
- **Which value counts**: that of the MD section, else that of the server or virtual host in which the MD is defined, else that of the
  main server, else the default.
- **DURATION** is a number with a unit: `d` days, `h` hours, `mi` minutes, `s` seconds, `ms` milliseconds. Without a unit the number counts
  in the unit that the directive's first sentence names.
- **WINDOW** is a DURATION (a bare number counts days), or a part of the lifetime: `33%`.
- **FILE, FOLDER** are relative to `ServerRoot`.
- **status** is the key that shows the value in [md-status](status.md#md-status) and md.json.

Both `<IfModule md_module>` and `<IfModule mod_md.c>` are true.

## What configtest reports

`apachectl configtest` lists what is wrong, with file and line, what was probably meant, and what to do. It changes nothing and asks no server. Each start
and reload writes the same list to the error log, before mod_ssl can end it. Of each kind the first five are told one by one, the others by name.

- **Errors** end the test. They are what ends the start: a value that a directive does not take, overlapping MDs (AH10038), several MDs for one TLS host (AH10042),
  a TLS host that has neither an MD nor an `SSLCertificateFile` (mod_ssl's AH02572), files of `MDCertificateFile` and `MDCertificateKeyFile` that do
  not exist, do not belong together, or hold no certificate or key in PEM format, where a TLS host uses them.
- **Warnings** do not: names that can be none, which are left out of their MD; MDs that no host matches (AH10045) or that no TLS host uses; names of hosts that an MD lacks (AH10040); `MDRequireHttps` without a TLS host
  (AH10105); names for which no challenge can work, such as a wildcard without [MDChallengeDns01](#mdchallengedns01) (AH10173); commands that do not exist or that httpd's
  `User` cannot execute; a store that the `User` cannot enter; certificate files that cannot be used, have expired or are for other names; an hmac of
  `MDExternalAccountBinding` that is not base64url; mod_ssl or mod_watchdog that is not loaded; and what Let's Encrypt, ZeroSSL and Google are known to refuse: no `MDCertificateAgreement accepted`, no
  `MDExternalAccountBinding` where they need one, both only where the store has no account of that CA; names that are not public, keys they do not take, too many
  names, `MDMustStaple`; and CAs that have ended their service (Buypass, ACME v1).

No warning is given for a certificate that is meant for others: `MDRenewMode always` for an MD that no host here uses, `MDPortMap https:-` where somebody else
has the TLS. The names of `MDomain` and `<MDomain …>`, and the arguments of all directives that take a list, may be more than the 64 that httpd passes to modules.
";

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
        let told = row.documented();
        let (arguments, unset) = (code(told.form).replace('|', "\\|"), short_default(told));
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
    let _ = writeln!(text, "    {}\n\n{}", row.syntax(), sentence(&help));
    if !row.detail.is_empty() {
        let _ = writeln!(text, "{}", row.detail);
    }
    let mut facts = vec![format!("Where: {}.", row.where_to())];
    match row.unset {
        Unset::Nothing => {}
        Unset::As(value) => facts.push(format!("Default: {}.", code(value))),
        Unset::Told(words) => facts.push(format!("Default: {words}.")),
    }
    facts.extend(row.json_key.map(|key| format!("Status: {}.", code(key))));
    if row.is_ours {
        facts.push("Not in the C module.".to_string());
    }
    let _ = writeln!(text, "\n{}", facts.join(" "));
    if !row.example.is_empty() {
        let _ = writeln!(text, "\n```apache\n{}\n```", row.example);
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
        Unset::Told(words) => words.split(',').next().unwrap_or_default().to_string(),
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

fn find(title: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.title() == title)
}

impl Row {
    /// As the table has it: sections begin with `<`.
    fn title(&self) -> &str {
        self.name.to_str().unwrap_or_default()
    }

    /// As it stands in a configuration.
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
            // In an MD section it would hold for the host around that: md.json has no such value.
            Places::ServerOrMd if self.json_key.is_none() => "server",
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
    use std::collections::HashSet;
    use std::path::PathBuf;

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
            let is_told = !row.form.is_empty();
            assert_ne!(is_told, row.same_as.is_some(), "{}", row.title());
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
    fn the_default_told_is_the_one_in_force() {
        let plan = |line: &str| Site::read(&format!("MDomain a.test\n\n{line}")).unwrap().plan().unwrap();
        for row in ROWS {
            if let Unset::As(value) = row.unset {
                assert!(plan("") == plan(&format!("{} {value}", row.title())), "{} {value}", row.title());
            }
        }
    }

    #[test]
    fn every_example_is_accepted_and_shows_its_directive() {
        for row in ROWS.iter().filter(|row| !row.example.is_empty()) {
            assert!(row.example.contains(row.title()), "{}", row.title());
            Site::read(row.example).unwrap_or_else(|e| panic!("{}: {e}", row.example));
        }
    }
}
