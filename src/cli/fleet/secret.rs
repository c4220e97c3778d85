// SPDX-License-Identifier: Apache-2.0
//! `a2md fleet secret`: makes the secret that all nodes share. Writes it to standard output, or into a file
//! that only its owner can read; a file that is there is replaced only if that is asked for.

use crate::cli::console::call::{Call, Failure, Outcome};
use crate::fleet::secret;
use crate::store::Error;
use crate::store::outside::{NewFile, Rights, Target};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Access bits of the file.
const MODE: u32 = 0o600;

pub fn define() -> Command {
    Command::new("secret")
        .about("Make a new secret, for MDFleetSecretFile of all nodes")
        .arg(
            Arg::new("out").long("out").value_name("FILE").value_parser(value_parser!(PathBuf)).help(
                "Write it into this new file, which only its owner can read [default: standard output]",
            ),
        )
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .requires("out")
                .help("Replace the file: values that were sealed by its secret can be opened by nobody then"),
        )
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let secret = secret::generate().map_err(|error| Failure::new(error.to_string()))?;
    let Some(file) = matches.get_one::<PathBuf>("out") else {
        match call.options.json {
            true => call.print_document(&json!({"schema": 1, "secret": secret.trim()}))?,
            false => call.write_as_it_is(secret.as_bytes())?,
        }
        return Ok(0);
    };
    write(file, secret.as_bytes(), matches.get_flag("force"))?;
    match call.options.json {
        true => call.print_document(&json!({"schema": 1, "file": file.to_string_lossy()}))?,
        false => call.say(&format!(
            "{} has a new secret. Copy the file to every node, and name it there: MDFleetSecretFile {}",
            file.display(),
            file.display()
        )),
    }
    Ok(0)
}

fn write(file: &Path, content: &[u8], may_replace: bool) -> Result<(), Failure> {
    let failed = |error: Error| Failure::new(format!("{}: {error}", file.display()));
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::new(format!("{} is no name of a file", file.display())))?;
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let target = Target::open(dir, None, None).map_err(|error| {
        failed(error).advice("Name a file in a folder that is there, and in which only you can write.")
    })?;
    let new = NewFile { name, content, rights: Rights { uid: None, gid: None, mode: MODE } };
    if may_replace {
        return target.place(&[new]).map_err(failed);
    }
    if !target.place_new(&new).map_err(failed)? {
        return Err(Failure::new(format!("{} is there already", file.display())).advice(
            "Name another file. --force replaces it, but what was sealed by its secret can then be opened by nobody: to \
             exchange secrets, see MDFleetSecretFile.",
        ));
    }
    Ok(())
}
