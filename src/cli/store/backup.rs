// SPDX-License-Identifier: Apache-2.0
//! `a2md store backup FILE`: the whole store in one archive, beside a running httpd or without one. Refuses a
//! terminal, and leaves no half of a file. Imports `checks`, which tells what is damaged in the store and so in
//! the archive.

use super::checks;
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::cli::console::space;
use crate::cli::site::lock::lock;
use crate::cli::site::{Site, of_store};
use crate::store::whole::Saved;
use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::json;
use std::io::{BufWriter, stdout};
use std::path::{Path, PathBuf};

pub fn define() -> Command {
    let file = Arg::new("file").value_name("FILE").required(true).value_parser(value_parser!(PathBuf));
    Command::new("backup")
        .about("Save the whole store in one archive (tar), with its keys")
        .arg(file.help("The archive, which is replaced as a whole; - is standard output"))
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let file = matches.get_one::<PathBuf>("file").cloned().unwrap_or_default();
    let site = Site::open(call)?;
    let is_stdout = file.as_os_str() == "-";
    if is_stdout && (call.terminal.width.is_some() || call.options.json) {
        return Err(Failure::new("the archive does not go to a terminal, nor beside a JSON document")
            .advice("Name a file, or lead standard output to a program or file."));
    }
    let _lock = lock(&site)?;
    let now = call.clock.now();
    let saved = match is_stdout {
        true => {
            site.store.save(BufWriter::with_capacity(256 * 1024, stdout()), Path::new("standard output"), now)
        }
        false => site.store.save_to(&file, now),
    };
    let saved = saved.map_err(|error| failed(&site, &error))?;
    let damaged = checks::damage(&site.store).map_err(|error| of_store(&site.dir, &error))?;
    tell(call, &site, &file, &saved, &damaged)?;
    Ok(0)
}

fn failed(site: &Site, error: &crate::store::Error) -> Failure {
    if error.is_not_found() {
        return Failure::new(error.to_string())
            .status(2)
            .advice("Make the folder that the file is to go to.");
    }
    of_store(&site.dir, error)
}

fn tell(
    call: &mut Call,
    site: &Site,
    file: &Path,
    saved: &Saved,
    damaged: &[checks::Fault],
) -> Result<(), Failure> {
    if call.options.json {
        let left_out = saved.left_out.iter().map(|(path, why)| json!({"path": path, "reason": why}));
        let damaged = damaged.iter().map(checks::Fault::to_json);
        return call.print_document(&json!({
            "schema": 1, "store": site.dir, "file": file, "files": saved.files, "bytes": saved.bytes,
            "left-out": left_out.collect::<Vec<_>>(), "damaged": damaged.collect::<Vec<_>>(),
        }));
    }
    // Standard output may be the archive.
    for (path, why) in &saved.left_out {
        call.complain(&format!("left out: {path}: {why}"));
    }
    for fault in damaged {
        call.complain(&format!(
            "damaged in the store, and so in the archive: {}: {}",
            fault.path, fault.what
        ));
    }
    let size = space::shown(saved.bytes);
    let text = format!("{} files of {} saved to {}: {size}", saved.files, site.dir.display(), file.display());
    call.step(&format!("{text}. The archive has all keys: keep it as safe as the store itself"));
    Ok(())
}
