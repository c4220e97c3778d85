// SPDX-License-Identifier: Apache-2.0
//! `a2md check`: one line and an exit code for Nagios, Icinga and their like, by the convention of the
//! monitoring plugins. Whatever keeps it from telling is UNKNOWN. Deciding and printing are pure.

use super::{Row, Source, Stapling};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::status::standing::{self, Standing};
use crate::time::{TimeSlice, Timestamp};
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};
use std::time::Duration;

/// Problems that the line names.
const NAMED: usize = 5;
/// Domains with performance data of their own: those that end first.
const MEASURED: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl Level {
    fn code(self) -> u8 {
        match self {
            Level::Ok => 0,
            Level::Warning => 1,
            Level::Critical => 2,
            Level::Unknown => UNKNOWN,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Level::Ok => "OK",
            Level::Warning => "WARNING",
            Level::Critical => "CRITICAL",
            Level::Unknown => "UNKNOWN",
        }
    }

    /// The order of the convention: what is known to be bad comes before what is not known.
    fn weight(self) -> u8 {
        match self {
            Level::Ok => 0,
            Level::Unknown => 1,
            Level::Warning => 2,
            Level::Critical => 3,
        }
    }
}

/// Exit code where nothing can be told, also for calls that cannot be understood.
pub const UNKNOWN: u8 = 3;

/// When the time left is a problem: lengths, or parts of the certificate's lifetime.
#[derive(Clone, Copy, Debug)]
struct Limits {
    warning: TimeSlice,
    critical: TimeSlice,
}

pub fn define() -> Command {
    Command::new("check")
        .about("Check managed domains for a monitor: one line, and exit code 0, 1, 2 or 3")
        .arg(
            Arg::new("names")
                .value_name("NAME")
                .num_args(0..)
                .help("Managed domains, by their names or by any name they cover [default: all]"),
        )
        .arg(limit("warn", "Warn if less is left, a time (20d) or a part of the lifetime [default: 20%]"))
        .arg(limit("critical", "Critical if less is left [default: 10%]"))
        .arg(Arg::new("from").long("from").value_name("URL").help("Ask the md-status of a server"))
}

fn limit(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("D|P%").help(help)
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    match checked(call, matches) {
        Ok(report) => {
            if call.options.json {
                call.print_document(&report.document)?;
            } else {
                call.say(&report.line);
            }
            Ok(report.level.code())
        }
        Err(failure) if call.options.json => {
            // With the keys that a monitor reads.
            call.print_document(&json!({
                "schema": 1, "status": Level::Unknown.word(), "code": UNKNOWN, "domains": [],
                "error": failure.text, "advice": failure.advice,
            }))?;
            Ok(UNKNOWN)
        }
        Err(failure) => {
            call.say(&unknown(&failure.text));
            Err(failure.code(UNKNOWN))
        }
    }
}

/// The line where nothing can be told.
pub fn unknown(reason: &str) -> String {
    format!("MD UNKNOWN - {}", in_a_line(reason))
}

struct Report {
    level: Level,
    line: String,
    document: Value,
}

fn checked(call: &Call, matches: &ArgMatches) -> Result<Report, Failure> {
    let limits = Limits {
        warning: slice(matches.get_one("warn"), 20)?,
        critical: slice(matches.get_one("critical"), 10)?,
    };
    let names: Vec<&String> = matches.get_many("names").into_iter().flatten().collect();
    let source = Source::of(call, matches.get_one("from"))?;
    let overview = source.look(call, &names)?;
    let rows = overview.rows();
    if rows.is_empty() {
        return Err(Failure::new("there are no managed domains"));
    }
    let found: Vec<Found> = rows.iter().map(|row| judge(row, limits, overview.now)).collect();
    let level = worst(&found);
    let line =
        format!("MD {} - {} | {}", level.word(), sentence(&found, overview.now), perfdata(&found, limits));
    let mut document = source.head();
    document.insert("status".into(), json!(level.word()));
    document.insert("code".into(), json!(level.code()));
    document.insert("domains".into(), found.iter().map(Found::to_json).collect());
    Ok(Report { level, line, document: Value::Object(document) })
}

/// Of an option. A bare number is of days.
fn slice(text: Option<&String>, default: u8) -> Result<TimeSlice, Failure> {
    let Some(text) = text else { return Ok(TimeSlice::Percent(default)) };
    TimeSlice::parse(text).filter(|slice| !matches!(slice, TimeSlice::Percent(100..))).ok_or_else(|| {
        Failure::new(format!("'{text}' is neither a time nor a part of a lifetime"))
            .status(22)
            .advice("Write 20d, 36h or 25%.")
    })
}

/// What is found of one domain.
struct Found<'r> {
    row: &'r Row,
    level: Level,
    /// The worst.
    reason: String,
    /// In seconds; negative: since it has ended.
    left: Option<i64>,
}

fn judge(row: &Row, limits: Limits, now: Timestamp) -> Found<'_> {
    let left = row.valid.map(|(_, until)| until.unix().saturating_sub(now.unix()));
    let of = |slice: TimeSlice| row.lifetime().map(|lifetime| slice.of(lifetime)).unwrap_or_default();
    let is_below = |slice| left.is_some_and(|left| left < seconds(of(slice)));
    let status = || row.status.clone();
    let (level, reason) = match row.standing {
        Some(Standing::Unused) => (Level::Ok, status()),
        Some(Standing::NoCertificate | Standing::Expired) => (Level::Critical, status()),
        _ if row.stapling == Stapling::Revoked => (Level::Critical, "revoked".to_string()),
        _ if left.is_some_and(|left| left <= 0) => (Level::Critical, "expired".to_string()),
        _ if is_below(limits.critical) => (Level::Critical, ends(left)),
        _ if is_below(limits.warning) => (Level::Warning, ends(left)),
        Some(Standing::ExpiresSoon) => (Level::Warning, ends(left)),
        Some(Standing::RenewalFailing) => (Level::Warning, status()),
        Some(Standing::NotRenewed | Standing::Renewing | Standing::Ok) => (Level::Ok, status()),
        None => (Level::Unknown, format!("unknown status '{}'", row.status)),
    };
    Found { row, level, reason, left }
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

/// `expires in 3 days`.
fn ends(left: Option<i64>) -> String {
    left.map_or_else(|| "expires soon".to_string(), |left| format!("expires in {}", length(left)))
}

fn length(seconds: i64) -> String {
    standing::length(Duration::from_secs(seconds.unsigned_abs()))
}

fn worst(found: &[Found<'_>]) -> Level {
    found.iter().map(|found| found.level).max_by_key(|level| level.weight()).unwrap_or(Level::Unknown)
}

/// The problems, worst first, else that all is well and what ends first.
fn sentence(found: &[Found<'_>], now: Timestamp) -> String {
    let mut problems: Vec<&Found<'_>> = found.iter().filter(|found| found.level != Level::Ok).collect();
    problems.sort_by_key(|found| (std::cmp::Reverse(found.level.weight()), found.left));
    let named: Vec<String> = problems
        .iter()
        .take(NAMED)
        .map(|found| {
            let error = found.row.error_alone().filter(|_| found.level != Level::Ok);
            let error = error.map(|error| format!(" ({})", cut(error))).unwrap_or_default();
            format!("{}: {}{error}", found.row.name, found.reason)
        })
        .collect();
    let more = problems.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    if !named.is_empty() {
        return in_a_line(&format!("{}{more}", named.join(", ")));
    }
    let first = soonest(found).into_iter().next();
    let first = first.and_then(|found| Some((found, found.row.valid?.1))).map(|(found, until)| {
        let left = until.unix().saturating_sub(now.unix());
        format!(", the first to expire is {} in {}", found.row.name, length(left))
    });
    in_a_line(&format!("{} well{}", crate::log::counted(found.len(), "domain"), first.unwrap_or_default()))
}

/// Those with certificates that are in use, in the order in which these end.
fn soonest<'f, 'r>(found: &'f [Found<'r>]) -> Vec<&'f Found<'r>> {
    let is_used = |found: &&Found<'_>| found.row.standing != Some(Standing::Unused) && found.left.is_some();
    let mut soonest: Vec<&Found<'_>> = found.iter().filter(is_used).collect();
    soonest.sort_by_key(|found| found.left);
    soonest
}

/// `'LABEL'=VALUE[UOM];WARN;CRIT;MIN;MAX`: how many are how, and the time left of those that end first.
fn perfdata(found: &[Found<'_>], limits: Limits) -> String {
    let count = |level: Level| found.iter().filter(|found| found.level == level).count();
    let mut out = vec![
        format!("domains={}", found.len()),
        format!("ok={}", count(Level::Ok)),
        format!("warning={}", count(Level::Warning)),
        format!("critical={}", count(Level::Critical)),
        format!("unknown={}", count(Level::Unknown)),
    ];
    let soonest = soonest(found);
    let of = |label: &str, found: &Found<'_>| {
        let lifetime = found.row.lifetime().unwrap_or_default();
        let limit = |slice: TimeSlice| seconds(slice.of(lifetime));
        let (warning, critical) = (limit(limits.warning), limit(limits.critical));
        let left = found.left.unwrap_or_default();
        format!("{label}={left}s;{warning}:;{critical}:;;{}", lifetime.as_secs())
    };
    out.extend(soonest.first().map(|found| of("soonest", found)));
    out.extend(soonest.iter().take(MEASURED).map(|found| of(&label(&found.row.name), found)));
    out.join(" ")
}

/// A name in quotes, without what would end it.
fn label(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '*' | '_');
    let name: String = name.chars().take(253).map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!("'{name}'")
}

/// Errors of CAs are long.
fn cut(text: &str) -> String {
    crate::model::bounded::text(text, 160)
}

/// Monitors take what follows `|` as performance data, and the first line alone.
fn in_a_line(text: &str) -> String {
    text.replace(char::is_control, " ").replace('|', "/")
}

impl Found<'_> {
    fn to_json(&self) -> Value {
        json!({
            "name": self.row.name,
            "status": self.row.standing.map(Standing::token).unwrap_or(&self.row.status),
            "level": self.level.word(),
            "reason": self.reason,
            "seconds-left": self.left,
        })
    }
}

#[cfg(test)]
mod tests;
