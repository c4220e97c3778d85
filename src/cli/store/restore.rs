// SPDX-License-Identifier: Apache-2.0
//! `a2md store restore FILE`: makes the store again of an archive of `backup`. Refuses archives that have
//! anything else, a place that has a store, and a store in which an httpd renews. Imports `checks`.

use super::checks;
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::cli::console::space;
use crate::cli::site::request::RESTART;
use crate::cli::site::{locate, of_store};
use crate::store::whole::{self, Target, Unpacked};
use crate::store::{Fuse, Owner, WorkStore};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::json;
use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

pub fn define() -> Command {
    let file = Arg::new("file").value_name("FILE").required(true).value_parser(value_parser!(PathBuf));
    let to = Arg::new("to").long("to").value_name("DIR").value_parser(value_parser!(PathBuf));
    let force = Arg::new("force").long("force").action(ArgAction::SetTrue);
    Command::new("restore")
        .about("Make the store again of an archive that backup has written")
        .arg(file.help("The archive; - is standard input"))
        .arg(to.help("The folder of the store [default: that of -d]"))
        .arg(force.help("Move away what is there, to DIR.before-restore.N"))
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let file = matches.get_one::<PathBuf>("file").cloned().unwrap_or_default();
    let dir = place(call, matches)?;
    let target = whole::target(&dir).map_err(|error| {
        Failure::new(error.to_string()).advice("Make the folder that the store's folder is to be in.")
    })?;
    refuse(&target, matches.get_flag("force"))?;
    call.step(&format!("reading {}", file.display()));
    let source: Box<dyn Read> = match file.as_os_str() == "-" {
        true => Box::new(stdin()),
        false => Box::new(whole::open_archive(&file).map_err(|error| Failure::new(error.to_string()))?),
    };
    let source = std::io::BufReader::with_capacity(256 * 1024, source);
    let owner = target.workers.filter(|owner| owner.uid != 0 && rustix::process::geteuid().is_root());
    let unpacked = whole::unpack(source, &file, &target.dir, owner, &Fuse::default())
        .map_err(|error| Failure::new(error.to_string()).advice("Nothing was changed."))?;
    let damaged = checks::damage(&unpacked.store).map_err(|error| of_store(&target.dir, &error))?;
    // It may have come meanwhile.
    let told = told(&unpacked, &file, owner);
    if let Err(failure) = refuse(&target, matches.get_flag("force")) {
        unpacked.discard().map_err(|error| Failure::new(error.to_string()))?;
        return Err(failure);
    }
    let aside = whole::settle(unpacked, &target.dir).map_err(|error| of_store(&target.dir, &error))?;
    tell(call, &target.dir, told, aside.as_deref(), &damaged)?;
    Ok(0)
}

/// `--to`, or where the store is to be by what the call, the environment and httpd say.
fn place(call: &Call, matches: &ArgMatches) -> Result<PathBuf, Failure> {
    let to = matches.get_one::<PathBuf>("to").cloned().or_else(|| call.options.dir.clone());
    let to = to.or_else(|| std::env::var_os("MD_STORE").map(PathBuf::from));
    let dir = match to {
        Some(dir) => dir,
        None => locate(call)?.0,
    };
    std::path::absolute(&dir)
        .map_err(|e| Failure::new(format!("{}: {}", dir.display(), crate::log::plain(&e))))
}

fn refuse(target: &Target, is_forced: bool) -> Result<(), Failure> {
    let dir = target.dir.display();
    let renewer = WorkStore::of_others(&target.dir).renewer_within(RESTART).ok().flatten();
    if let Some(holder) = renewer {
        let text = format!("an httpd renews in {dir}: process {} on host {}", holder.pid, holder.host);
        return Err(Failure::new(text).advice("Stop httpd first: it has keys of that store in memory."));
    }
    if target.is_in_use && !is_forced {
        return Err(Failure::new(format!("{dir} is not empty"))
            .advice(format!("--force moves it to {dir}.before-restore.N; --to DIR names another folder.")));
    }
    Ok(())
}

/// What is told of an unpacked store.
struct Told {
    files: u64,
    bytes: u64,
    made: String,
    archive: PathBuf,
    has_owner: bool,
}

fn told(unpacked: &Unpacked, file: &Path, owner: Option<Owner>) -> Told {
    let Unpacked { files, bytes, made, .. } = unpacked;
    let is_root = rustix::process::geteuid().is_root();
    let has_owner = owner.is_some() || !is_root;
    Told { files: *files, bytes: *bytes, made: made.clone(), archive: file.to_path_buf(), has_owner }
}

fn tell(
    call: &mut Call,
    dir: &Path,
    told: Told,
    aside: Option<&Path>,
    damaged: &[checks::Fault],
) -> Result<(), Failure> {
    let Told { files, bytes, made, archive, has_owner } = told;
    if call.options.json {
        let damaged: Vec<_> = damaged.iter().map(checks::Fault::to_json).collect();
        return call.print_document(&json!({
            "schema": 1, "store": dir, "file": archive, "made": made, "files": files, "bytes": bytes,
            "before": aside, "damaged": damaged,
        }));
    }
    for fault in damaged {
        call.say(&format!("damaged: {}: {}", fault.path, fault.what));
    }
    if let Some(aside) = aside {
        call.say(&format!(
            "What was there is {} now: it has keys, remove it when all works.",
            aside.display()
        ));
    }
    if !has_owner {
        call.say("All of it belongs to root: the next start of httpd gives its User what that writes.");
    }
    let size = space::shown(bytes);
    call.say(&format!("{files} files ({size}) restored to {}, saved {made}.", dir.display()));
    Ok(())
}
