// SPDX-License-Identifier: Apache-2.0
//! `a2md man`: the manual pages, from the definition of all commands. One page tells of the whole, and each of
//! the operator's commands has one of its own.

use super::console::call::{Call, Failure, Outcome};
use clap::{Arg, ArgAction, ArgMatches, Command};

const SECTION: &str = "8";

pub fn define() -> Command {
    let command = Arg::new("command").value_name("COMMAND").num_args(0..);
    let list = Arg::new("list").long("list").action(ArgAction::SetTrue).conflicts_with("command");
    Command::new("man")
        .about("Print a manual page, for man -l")
        .arg(command.help("That of a command, as: store backup [default: a2md(8)]"))
        .arg(list.help("List the commands that have a page, one a line"))
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let whole = (call.definition)();
    if matches.get_flag("list") {
        call.write_as_it_is(pages(&whole).join("\n").as_bytes())?;
        call.write_as_it_is(b"\n")?;
        return Ok(0);
    }
    let words: Vec<String> = matches.get_many("command").into_iter().flatten().cloned().collect();
    let missing = || {
        let text = format!("there is no page for '{}'", words.join(" "));
        Failure::new(text).status(2).advice("a2md man --list has those that there are.")
    };
    let command = match words.is_empty() {
        true => whole,
        false if pages(&whole).contains(&words.join(" ")) => part(whole, &words).ok_or_else(missing)?,
        false => return Err(missing()),
    };
    let mut out = Vec::new();
    let page = clap_mangen::Man::new(command).section(SECTION);
    page.render(&mut out).map_err(|error| Failure::new(format!("the page cannot be made: {error}")))?;
    call.write_as_it_is(&out)?;
    Ok(0)
}

/// The commands that have a page, each with its words as one text.
fn pages(whole: &Command) -> Vec<String> {
    let mut found = Vec::new();
    for command in whole.get_subcommands() {
        let name = command.get_name();
        let below: Vec<_> = command.get_subcommands().filter(|below| is_of_operators(below)).collect();
        if is_of_operators(command) || !below.is_empty() {
            found.push(name.to_string());
        }
        found.extend(below.iter().map(|below| format!("{name} {}", below.get_name())));
    }
    found
}

/// These take the common options, or have sub commands that do.
fn is_of_operators(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == "httpd")
}

/// The command of these words, under the name of its page.
fn part(whole: Command, words: &[String]) -> Option<Command> {
    let mut found = whole;
    for word in words {
        found = found.find_subcommand(word)?.clone();
    }
    let name = format!("a2md-{}", words.join("-"));
    Some(found.display_name(name).bin_name(format!("a2md {}", words.join(" "))))
}
