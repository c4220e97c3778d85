// SPDX-License-Identifier: Apache-2.0
//! `a2md export NAME --to DIR`: hands the set in use to other programs, once or after each renewal. Writes
//! into DIR and nowhere else, and prints nothing secret. Imports run from here to [`follow`], from both
//! to [`report`] and [`pass`], which imports [`files`], [`owner`] and [`set`].

mod files;
mod follow;
mod owner;
mod pass;
mod report;
mod set;

use super::console::call::{Call, Failure, Outcome};
use super::follow_up;
use super::site::Site;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use files::Format;
use pass::Export;
use std::path::PathBuf;

/// Bytes of a file with a password.
const PASSWORD_MAX: usize = 4096;

pub fn define() -> Command {
    let value = |id: &'static str, name: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name(name).help(help)
    };
    let path = |arg: Arg| arg.value_parser(value_parser!(PathBuf));
    let formats = PossibleValuesParser::new(Format::ALL.map(|(token, _)| token));
    Command::new("export")
        .about("Hand the certificate in use to another program")
        .arg(Arg::new("name").value_name("NAME").required(true).help("A managed domain, or a name it covers"))
        .arg(path(value("to", "DIR", "The folder to write into; it must exist")).required(true))
        .arg(
            value("format", "FORMAT", "The files to write; may be repeated [default: pem]")
                .value_parser(formats)
                .value_delimiter(',')
                .action(ArgAction::Append),
        )
        .arg(value("owner", "USER", "Who gets the files [default: the caller]"))
        .arg(value("group", "GROUP", "The group of the files"))
        .arg(value("mode", "MODE", "Access bits of files with a key [default: 600, with --group 640]"))
        .arg(path(value(
            "password-file",
            "FILE",
            "File with the password of NAME.p12 [default: an empty one]",
        )))
        .arg(value("run", "COMMAND", "Run this after a change, without a shell"))
        .arg(
            Arg::new("follow")
                .long("follow")
                .action(ArgAction::SetTrue)
                .help("Go on: again after each renewal, until SIGTERM"),
        )
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let export = Export::new(request(matches)?)?;
    if matches.get_flag("follow") {
        return follow::run(call, &export);
    }
    let site = Site::open(call)?;
    let md = follow_up::one(call, &site, &export.name)?.md;
    let passed =
        export.pass(&site.store, &md, call.clock.as_ref()).map_err(|error| error.into_failure(&site.dir))?;
    let passed = passed.ok_or_else(|| set::none(&md))?;
    report::print(call, &export, &passed)?;
    Ok(if passed.ran.as_ref().is_some_and(|ran| ran.outcome.is_err()) { 1 } else { 0 })
}

/// What the call asks for.
fn request(matches: &ArgMatches) -> Result<pass::Asked, Failure> {
    let text = |id: &str| matches.get_one::<String>(id).cloned();
    let path = |id: &str| matches.get_one::<PathBuf>(id).cloned();
    let named = matches.get_many::<String>("format").into_iter().flatten();
    let mut formats: Vec<Format> = Vec::new();
    for name in named {
        let format = Format::ALL.iter().find(|(token, _)| token == name).map(|(_, format)| *format);
        formats.extend(format.filter(|format| !formats.contains(format)));
    }
    if formats.is_empty() {
        formats.push(Format::Pem);
    }
    let password = match path("password-file") {
        Some(file) => pass::password(&file, PASSWORD_MAX)?,
        None => String::new().into(),
    };
    Ok(pass::Asked {
        name: text("name").unwrap_or_default(),
        dir: path("to").unwrap_or_default(),
        formats,
        owner: text("owner"),
        group: text("group"),
        mode: text("mode"),
        password,
        command: text("run"),
    })
}
