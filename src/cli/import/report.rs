// SPDX-License-Identifier: Apache-2.0
//! What an import has done, or would do, for people and as JSON.

use super::carry::Carried;
use super::found::{Found, FoundSet};
use super::hindrance::{Client, Hindrance};
use super::plan::{self, Plan};
use crate::cli::console::call::{Call, Failure};
use crate::cli::console::terminal::Style;
use crate::cli::follow_up::Asked;
use crate::managed::Managed;
use serde_json::{Map, Value, json};
use std::path::Path;

pub struct Report<'a> {
    pub client: Client,
    pub tree: &'a Path,
    pub found: &'a Found,
    pub plan: &'a Plan,
    pub mds: &'a [Managed],
    pub carried: &'a [Carried],
    /// Domains whose sets could not be written.
    pub failed: &'a [(String, String)],
    /// What the running httpd has answered, by domain.
    pub asked: &'a [(String, Asked)],
    pub hindrances: &'a [Hindrance],
    pub is_dry: bool,
}

/// A set, and what became of it.
struct Line<'a> {
    set: &'a FoundSet,
    md: Option<&'a str>,
    state: &'static str,
    reason: Option<String>,
}

impl Report<'_> {
    pub fn print(&self, call: &mut Call) -> Result<(), Failure> {
        if call.options.json {
            return call.print_document(&self.to_json());
        }
        let rows = [self.rows_of_sets(), self.rows_of_accounts()].concat();
        let table = call.terminal.table(&["found", "for", "", ""], &rows);
        call.write_as_it_is(table.as_bytes())?;
        for (name, asked) in self.asked.iter().filter(|(_, asked)| asked.is_running) {
            call.say(&format!("{name}: {}", asked.text));
        }
        for advice in &self.plan.advice {
            call.say(&format!("\n{advice}"));
        }
        for hindrance in self.hindrances {
            call.say(&format!("\n{}\n  {}", hindrance.what, hindrance.remedy));
        }
        let lines = plan::lines(&self.found.sets, &self.plan.uncovered, &self.found.accounts);
        if !lines.is_empty() {
            call.say("\nFor the names that no managed domain has, add these lines to the configuration, call this again, and \
                      then reload httpd:\n");
            lines.iter().for_each(|line| call.say(line));
        }
        call.say(&format!("\n{}", self.end()));
        Ok(())
    }

    fn rows_of_sets(&self) -> Vec<Vec<(String, Style)>> {
        let mut rows = Vec::new();
        for line in self.lines() {
            let (word, style) = match line.state {
                "staged" => ("staged", Style::Good),
                "would" => ("would be staged", Style::Good),
                "uncovered" => ("no managed domain", Style::Warning),
                "failed" => ("failed", Style::Bad),
                _ => ("passed over", Style::Warning),
            };
            let until = match (&line.reason, &line.set.bundle) {
                (Some(reason), _) => reason.clone(),
                (None, Ok(bundle)) => {
                    format!("{}, valid until {}", bundle.spec.label(), bundle.info.not_after.to_http_date())
                }
                (None, Err(why)) => why.clone(),
            };
            let md = line.md.unwrap_or("-").to_string();
            rows.push(vec![
                (line.set.origin.clone(), Style::Plain),
                (md, Style::Plain),
                (word.into(), style),
                (until, Style::Plain),
            ]);
        }
        rows
    }

    fn rows_of_accounts(&self) -> Vec<Vec<(String, Style)>> {
        let mut rows = Vec::new();
        for (account, carried) in self.found.accounts.iter().zip(self.carried) {
            let (word, style, detail) = match carried {
                Carried::Imported(folder) => ("imported", Style::Good, format!("accounts/{folder}")),
                Carried::Known(folder) => ("known", Style::Plain, format!("accounts/{folder}")),
                Carried::Passed(why) => ("passed over", Style::Warning, why.clone()),
                Carried::Would => ("would be imported", Style::Good, account.url.clone().unwrap_or_default()),
            };
            rows.push(vec![
                (account.origin.clone(), Style::Plain),
                ("account".into(), Style::Plain),
                (word.into(), style),
                (detail, Style::Plain),
            ]);
        }
        rows
    }

    /// The last line.
    fn end(&self) -> String {
        let staged = self.plan.takes.len() - self.failed.len();
        let accounts =
            self.carried.iter().filter(|carried| matches!(carried, Carried::Imported(_) | Carried::Would));
        let (domains, accounts) =
            (crate::log::counted(staged, "managed domain"), crate::log::counted(accounts.count(), "account"));
        if self.is_dry {
            return format!("Nothing was done: certificates for {domains} and {accounts} would be imported.");
        }
        if staged == 0 {
            return format!("Imported {accounts}, and no certificate.");
        }
        let text = format!("Imported certificates for {domains} and {accounts}.");
        match self.asked.iter().find(|(_, asked)| asked.is_running) {
            Some(_) => {
                format!("{text} The running httpd was asked to serve them; its next start does in any case.")
            }
            None => format!(
                "{text} They come into use when httpd is started or reloaded, or looks at them by itself."
            ),
        }
    }

    fn lines(&self) -> Vec<Line<'_>> {
        let mut lines = Vec::new();
        for (at, set) in self.found.sets.iter().enumerate() {
            let mut is_any = false;
            let takes = self.plan.takes.iter().filter(|take| take.sets.iter().any(|(other, _)| *other == at));
            for take in takes {
                is_any = true;
                let md = self.mds.get(take.md).map(|managed| managed.md.name.as_str());
                let failure = self.failed.iter().find(|(name, _)| Some(name.as_str()) == md);
                let state = match failure {
                    Some(_) => "failed",
                    None if self.is_dry => "would",
                    None => "staged",
                };
                let reason = failure.map(|(_, why)| why.clone());
                lines.push(Line { set, md, state, reason });
            }
            for (_, why) in self.plan.passed.iter().filter(|(other, _)| *other == at) {
                is_any = true;
                lines.push(Line { set, md: None, state: "passed", reason: Some(why.clone()) });
            }
            if !is_any {
                lines.push(Line { set, md: None, state: "uncovered", reason: None });
            }
        }
        lines
    }

    fn to_json(&self) -> Value {
        let set = |line: &Line<'_>| {
            let bundle = line.set.bundle.as_ref().ok();
            json!({
                "origin": line.set.origin,
                "names": bundle.map(|bundle| &bundle.info.dns_names),
                "key": bundle.map(|bundle| bundle.spec.label()),
                "valid-until": bundle.map(|bundle| bundle.info.not_after.to_http_date()),
                "ca": line.set.ca_url,
                "md": line.md,
                "state": line.state,
                "reason": line.reason,
            })
        };
        let accounts = self.found.accounts.iter().zip(self.carried).map(|(account, carried)| {
            let (state, folder, reason) = match carried {
                Carried::Imported(folder) => ("imported", Some(folder), None),
                Carried::Known(folder) => ("known", Some(folder), None),
                Carried::Passed(why) => ("passed", None, Some(why)),
                Carried::Would => ("would", None, None),
            };
            json!({
                "origin": account.origin, "ca": account.ca_url, "url": account.url, "contacts": account.contacts,
                "account": folder, "state": state, "reason": reason,
            })
        });
        json!({
            "schema": 1,
            "client": self.client.token(),
            "dir": self.tree.display().to_string(),
            "dry-run": self.is_dry,
            "sets": self.lines().iter().map(set).collect::<Vec<_>>(),
            "accounts": accounts.collect::<Vec<_>>(),
            "httpd": self.asked.iter().map(|(name, asked)| (name.clone(), asked.to_json())).collect::<Map<_, _>>(),
            "configuration": plan::lines(&self.found.sets, &self.plan.uncovered, &self.found.accounts),
            "advice": self.plan.advice,
            "hindrances": self.hindrances.iter().map(Hindrance::to_json).collect::<Vec<_>>(),
        })
    }
}
