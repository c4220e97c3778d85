// SPDX-License-Identifier: Apache-2.0
//! What `a2md doctor` finds, and how findings are printed: problems first. Pure; imports the terminal alone.
//! Evidence comes from files, the CA and the network: it is printed escaped.

use crate::cli::console::terminal::{Style, Terminal, wrapped};
use crate::managed::Managed;
use crate::model::outcome;
use serde_json::{Value, json};
use std::collections::HashSet;

/// What a check has found. The order is that of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    Fails,
    CannotBeTold,
    Works,
}

impl Verdict {
    /// In JSON documents.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Fails => "fails",
            Verdict::CannotBeTold => "cannot-be-told",
            Verdict::Works => "works",
        }
    }

    fn shown(self) -> (&'static str, Style) {
        match self {
            Verdict::Fails => ("fails", Style::Bad),
            Verdict::CannotBeTold => ("cannot be told", Style::Warning),
            Verdict::Works => ("works", Style::Good),
        }
    }
}

/// The outcome of one check of one subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// Stable: docs/a2md.md lists them all.
    pub check: &'static str,
    /// A domain, host, file or CA.
    pub subject: String,
    pub verdict: Verdict,
    /// What was seen: a sentence.
    pub evidence: String,
    /// What to do: a sentence.
    pub remedy: Option<String>,
}

impl Finding {
    pub fn fails(
        check: &'static str,
        subject: impl Into<String>,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into());
        Finding { check, subject: subject.into(), verdict: Verdict::Fails, evidence: evidence.into(), remedy }
    }

    pub fn cannot_be_told(
        check: &'static str,
        subject: impl Into<String>,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Finding { verdict: Verdict::CannotBeTold, ..Finding::fails(check, subject, evidence, remedy) }
    }

    pub fn works(check: &'static str, subject: impl Into<String>, evidence: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Works, remedy: None, ..Finding::fails(check, subject, evidence, "") }
    }
}

impl Finding {
    fn is_shown(&self, shows_works: bool) -> bool {
        shows_works || self.verdict != Verdict::Works || self.remedy.is_some()
    }
}

/// A domain that is looked at: an MD, or a name that no configuration has yet.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Of the MD, or the plain name.
    pub name: String,
    /// The names to look at.
    pub names: Vec<String>,
    pub managed: Option<Managed>,
}

/// The error in a text of a renewal, and what to do.
pub fn split_advice(text: &str) -> (String, Option<String>) {
    let (error, advice) = outcome::split_advice(text);
    (error.to_string(), advice.map(str::to_string))
}

/// Problems first, each kind in the order it was found; what was found twice is listed once.
pub fn sorted(findings: Vec<Finding>) -> Vec<Finding> {
    let is_new: Vec<bool> = {
        let mut seen = HashSet::new();
        findings.iter().map(|finding| seen.insert(finding)).collect()
    };
    let all = findings.into_iter().zip(is_new).filter(|(_, is_new)| *is_new);
    let mut all: Vec<Finding> = all.map(|(finding, _)| finding).collect();
    all.sort_by_key(|finding| finding.verdict);
    all
}

pub fn count(findings: &[Finding], verdict: Verdict) -> usize {
    findings.iter().filter(|finding| finding.verdict == verdict).count()
}

/// The document of `--json`.
pub fn document(findings: &[Finding]) -> Value {
    let of = |finding: &Finding| {
        json!({
            "check": finding.check,
            "subject": finding.subject,
            "verdict": finding.verdict.word(),
            "evidence": finding.evidence,
            "remedy": finding.remedy,
        })
    };
    json!({
        "schema": 1,
        "findings": findings.iter().map(of).collect::<Vec<_>>(),
        "counts": {
            "fails": count(findings, Verdict::Fails),
            "cannot-be-told": count(findings, Verdict::CannotBeTold),
            "works": count(findings, Verdict::Works),
        },
    })
}

/// The findings for people, escaped; those that work, and have no advice, only with `shows_works`.
pub fn text(findings: &[Finding], terminal: &Terminal, shows_works: bool) -> String {
    let width = terminal.width.unwrap_or(usize::MAX);
    let mut out = String::new();
    for finding in findings.iter().filter(|finding| finding.is_shown(shows_works)) {
        let (word, style) = finding.verdict.shown();
        let head = format!("  {} [{}]", finding.subject, finding.check).replace('\n', " ");
        out.push_str(&format!("{}{}\n", terminal.paint(word, style), terminal.paint(&head, Style::Bold)));
        paragraph(&mut out, terminal, &finding.evidence, Style::Plain, width);
        if let Some(remedy) = &finding.remedy {
            paragraph(&mut out, terminal, &format!("To do: {remedy}"), Style::Plain, width);
        }
    }
    out.push_str(&terminal.paint(&summary(findings, shows_works), Style::Bold));
    out.push('\n');
    out
}

/// Indented lines. Line feeds in the text begin new ones.
fn paragraph(out: &mut String, terminal: &Terminal, text: &str, style: Style, width: usize) {
    for line in text.lines().flat_map(|line| wrapped(line, width.saturating_sub(4).max(20))) {
        out.push_str(&format!("    {}\n", terminal.paint(&line, style)));
    }
}

/// The last line.
fn summary(findings: &[Finding], shows_works: bool) -> String {
    let [fails, unknown, works] =
        [Verdict::Fails, Verdict::CannotBeTold, Verdict::Works].map(|verdict| count(findings, verdict));
    let hint = if works > 0 && !shows_works { " (-v lists them)" } else { "" };
    let told = if unknown > 0 { format!("{unknown} cannot be told, ") } else { String::new() };
    match fails {
        0 => format!("No problem found: {told}{works} work{}{hint}.", if works == 1 { "s" } else { "" }),
        1 => format!("1 problem found, {told}{works} work{}{hint}.", if works == 1 { "s" } else { "" }),
        _ => {
            format!("{fails} problems found, {told}{works} work{}{hint}.", if works == 1 { "s" } else { "" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Finding> {
        sorted(vec![
            Finding::works("a-check", "a.test", "Good."),
            Finding::cannot_be_told("b-check", "b.test", "Who knows.", "Look."),
            Finding::fails("c-check", "c\u{1b}[2J.test", "It said \u{1b}[31m so.\nTwice.", "Mend it."),
            Finding::works("a-check", "a.test", "Good."),
        ])
    }

    #[test]
    fn problems_are_printed_first_and_nothing_steers_the_terminal() {
        let terminal = Terminal { width: None, has_colours: false, is_interactive: false };
        assert_eq!(
            text(&some(), &terminal, false),
            "fails  c\\u{1b}[2J.test [c-check]\n    It said \\u{1b}[31m so.\n    Twice.\n    To do: Mend it.\n\
             cannot be told  b.test [b-check]\n    Who knows.\n    To do: Look.\n\
             1 problem found, 1 cannot be told, 1 works (-v lists them).\n"
        );
        assert!(
            text(&some(), &terminal, true).ends_with(
                "works  a.test [a-check]\n    Good.\n1 problem found, 1 cannot be told, 1 works.\n"
            )
        );
        assert_eq!(text(&[], &terminal, false), "No problem found: 0 work.\n");
    }

    #[test]
    fn the_document_counts_the_verdicts() {
        let document = document(&some());
        assert_eq!(document["schema"], 1);
        assert_eq!(document["counts"], json!({"fails": 1, "cannot-be-told": 1, "works": 1}));
        assert_eq!(document["findings"][0]["check"], "c-check");
        assert_eq!(document["findings"][2]["remedy"], Value::Null);
    }
}
