// SPDX-License-Identifier: Apache-2.0
//! One pass of an export: the set in use is compared with what the last pass has left, written where it
//! differs, and the command is run. What was done stands in `.a2md-NAME.json` in the folder itself, so that a
//! pass that was killed, or whose command failed, is ended by the next one.

use super::files::{self, File, Format};
use super::owner;
use super::set::{self, InUse, Source};
use crate::cli::console::call::Failure;
use crate::cli::site::of_store;
use crate::crypto::{self, sha256};
use crate::exec;
use crate::model::Md;
use crate::store::outside::{NewFile, Rights, Target};
use crate::store::{self, StartStore};
use crate::time::{Clock, Timestamp};
use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long another call may have the folder: its command may run for a minute.
const PATIENCE: Duration = Duration::from_secs(90);
const KEY_MODE: u32 = 0o600;
const KEY_MODE_WITH_GROUP: u32 = 0o640;
const CERT_MODE: u32 = 0o644;

/// A call as it was given.
pub struct Asked {
    pub name: String,
    pub dir: PathBuf,
    pub formats: Vec<Format>,
    pub owner: Option<String>,
    pub group: Option<String>,
    pub mode: Option<String>,
    pub password: Zeroizing<String>,
    pub command: Option<String>,
}

pub struct Export {
    pub name: String,
    pub dir: PathBuf,
    pub formats: Vec<Format>,
    password: Zeroizing<String>,
    command: Option<String>,
    of_keys: Rights,
    target: Target,
}

/// The outcome of a pass.
pub struct Passed {
    pub md: String,
    pub source: Source,
    pub until: Timestamp,
    pub is_changed: bool,
    /// Names of all files, whether or not they were changed.
    pub files: Vec<String>,
    /// Files for former keys, which were removed.
    pub removed: Vec<String>,
    /// Others of them, which somebody has changed since.
    pub left: Vec<String>,
    pub ran: Option<Ran>,
    pub doubt: Option<String>,
}

/// How the command has ended, and what it has printed.
pub struct Ran {
    pub outcome: Result<(), String>,
    pub printed: String,
}

/// Bytes of a command's output that are shown.
const PRINTED_MAX: usize = 4096;

fn run(line: &str, clock: &dyn Clock) -> Ran {
    match exec::ask(line, &[], PRINTED_MAX, exec::TIME_LIMIT, clock) {
        Ok(exec::Printed { status, stdout, stderr }) => {
            let printed = format!("{}{stderr}", String::from_utf8_lossy(&stdout));
            let failed = || format!("'{line}' failed with exit code {status}");
            let outcome = if status == 0 { Ok(()) } else { Err(failed()) };
            Ran { outcome, printed: printed.trim_end().to_string() }
        }
        Err(error) => Ran { outcome: Err(error.to_string()), printed: String::new() },
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Store(store::Error),
    /// Of the folder that gets the files.
    #[error("{0}")]
    Target(store::Error),
    #[error("OpenSSL cannot write the set: {0}")]
    Crypto(#[from] crypto::Error),
    #[error("another call has been writing to {} for a long time", .0.display())]
    Locked(PathBuf),
}

impl Error {
    pub fn into_failure(self, store: &Path) -> Failure {
        match &self {
            Error::Store(error) => of_store(store, error),
            _ => Failure::new(self.to_string()),
        }
    }
}

/// A line of a file, as the password.
pub fn password(file: &Path, max: usize) -> Result<Zeroizing<String>, Failure> {
    let failed =
        |why: String| Failure::new(format!("the password in {} cannot be used: {why}", file.display()));
    let (content, _) =
        store::read_secret(file, max).map_err(|error| failed(crate::log::plain(&error).to_string()))?;
    let text = std::str::from_utf8(&content).map_err(|_| failed("it is not UTF-8".into()))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line.contains(['\n', '\0']) {
        true => Err(failed("the file has more than one line".into())),
        false => Ok(line.to_string().into()),
    }
}

impl Export {
    /// Looks up owner and group, and opens the folder.
    pub fn new(asked: Asked) -> Result<Self, Failure> {
        let uid = asked.owner.as_deref().map(owner::user).transpose()?;
        let gid = asked.group.as_deref().map(owner::group).transpose()?;
        let default = if gid.is_some() { KEY_MODE_WITH_GROUP } else { KEY_MODE };
        let mode = asked.mode.as_deref().map_or(Ok(default), owner::mode)?;
        if asked.command.as_ref().is_some_and(|line| exec::split(line).is_empty()) {
            return Err(Failure::new("--run names no command"));
        }
        let target = Target::open(&asked.dir, uid, gid).map_err(|error| {
            Failure::new(error.to_string()).advice(format!(
                "{} has to be a folder of root, or of the user that --owner names, where nobody else can write.",
                asked.dir.display()
            ))
        })?;
        let Asked { name, dir, formats, password, command, .. } = asked;
        Ok(Export { name, dir, formats, password, command, of_keys: Rights { uid, gid, mode }, target })
    }

    /// `None`: the domain has no certificate yet.
    pub fn pass(&self, store: &StartStore, md: &Md, clock: &dyn Clock) -> Result<Option<Passed>, Error> {
        let Some(set) = set::find(store, md).map_err(Error::Store)? else { return Ok(None) };
        let held = self.target.lock(PATIENCE).map_err(Error::Target)?;
        let _held = held.ok_or_else(|| Error::Locked(self.dir.clone()))?;
        self.target.remove_leftovers().map_err(Error::Target)?;
        let note = Note { name: format!(".a2md-{}.json", md.name), digest: self.digest(&set) };
        let before = note.read(&self.target);
        let former = note.former(&self.target);
        let (mut removed, mut left) = (Vec::new(), Vec::new());
        let is_due = self.command.is_some();
        let (is_changed, files) = match before.as_ref().and_then(|before| self.unchanged(before)) {
            Some(files) => (false, files),
            None => {
                let rendered = files::render(&self.formats, &md.name, &set.sets, &self.password)?;
                self.place(&note, &rendered).map_err(Error::Target)?;
                (removed, left) = self.tidy_up(&former, &rendered, &md.name).map_err(Error::Target)?;
                (true, rendered.into_iter().map(|file| file.name).collect())
            }
        };
        let was_run = !is_changed && before.as_ref().is_some_and(|before| before["run"] == json!(true));
        let ran = match &self.command {
            Some(line) if !was_run => Some(run(line, clock)),
            _ => None,
        };
        if is_due && ran.as_ref().is_some_and(|ran| ran.outcome.is_ok()) {
            note.write_run(&self.target).map_err(Error::Target)?;
        }
        let until = set.sets.iter().map(|set| set.info.not_after).min().unwrap_or_default();
        let (md, source, doubt) = (md.name.clone(), set.source, set.doubt);
        Ok(Some(Passed { md, source, until, is_changed, files, removed, left, ran, doubt }))
    }

    fn rights(&self, is_secret: bool) -> Rights {
        Rights { mode: if is_secret { self.of_keys.mode } else { CERT_MODE }, ..self.of_keys }
    }

    /// Of all that decides on the files.
    fn digest(&self, set: &InUse) -> String {
        let formats: Vec<&str> = self.formats.iter().map(|format| format.token()).collect();
        let text = Zeroizing::new(format!("{}\n{}\n{}", set.digest(), formats.join(" "), *self.password));
        HEXLOWER.encode(&sha256(text.as_bytes()))
    }

    /// The names of the files, if all of them are as the last pass has left them.
    fn unchanged(&self, before: &Value) -> Option<Vec<String>> {
        let files = before["files"].as_object().filter(|files| !files.is_empty())?;
        let is_unchanged = |(name, file): (&String, &Value)| {
            let rights = self.rights(file["secret"] == json!(true));
            let found = self.target.read(name, rights);
            found.is_some_and(|(content, is_right)| {
                is_right && file["sha256"] == json!(HEXLOWER.encode(&sha256(&content)))
            })
        };
        files.iter().all(is_unchanged).then(|| files.keys().cloned().collect())
    }

    /// Removes the files of an earlier pass for kinds of keys that there are no more, unless somebody has changed
    /// them. Returns those that are removed, and those that stay.
    fn tidy_up(
        &self,
        former: &Map<String, Value>,
        files: &[File],
        md: &str,
    ) -> Result<(Vec<String>, Vec<String>), store::Error> {
        let (mut removed, mut left) = (Vec::new(), Vec::new());
        let is_former = |name: &&String| {
            files::is_of(&self.formats, md, name) && files.iter().all(|file| file.name != **name)
        };
        for name in former.keys().filter(is_former) {
            let Some((content, _)) = self.target.read(name, NOTE_RIGHTS) else { continue };
            let is_ours = former[name]["sha256"] == json!(HEXLOWER.encode(&sha256(&content)));
            if is_ours {
                self.target.remove(name)?;
            }
            if is_ours { &mut removed } else { &mut left }.push(name.clone());
        }
        Ok((removed, left))
    }

    /// The note goes first: whoever finds it beside older files knows that they are older.
    fn place(&self, note: &Note, files: &[File]) -> Result<(), store::Error> {
        let mut entries = Map::new();
        for file in files {
            let hash = HEXLOWER.encode(&sha256(&file.content));
            entries.insert(file.name.clone(), json!({"sha256": hash, "secret": file.is_secret}));
        }
        let content = note.content(Value::Object(entries), false);
        let note = NewFile { name: &note.name, content: &content, rights: NOTE_RIGHTS };
        let files = files.iter().map(|file| NewFile {
            name: &file.name,
            content: &file.content,
            rights: self.rights(file.is_secret),
        });
        self.target.place(&[note].into_iter().chain(files).collect::<Vec<_>>())
    }
}

const NOTE_RIGHTS: Rights = Rights { uid: None, gid: None, mode: 0o600 };

/// What a pass leaves for the next one.
struct Note {
    name: String,
    digest: String,
}

impl Note {
    /// The files of the last pass, whatever its set.
    fn former(&self, target: &Target) -> Map<String, Value> {
        let found = target.read(&self.name, NOTE_RIGHTS);
        let note = found.and_then(|(content, _)| serde_json::from_slice::<Value>(&content).ok());
        note.and_then(|note| note.get("files")?.as_object().cloned()).unwrap_or_default()
    }

    /// `None`: there is none about the same set and the same wishes.
    fn read(&self, target: &Target) -> Option<Value> {
        let (content, _) = target.read(&self.name, NOTE_RIGHTS)?;
        let note: Value = serde_json::from_slice(&content).ok()?;
        (note["set"] == json!(self.digest)).then_some(note)
    }

    fn content(&self, files: Value, has_run: bool) -> Vec<u8> {
        json!({"set": self.digest, "files": files, "run": has_run}).to_string().into_bytes()
    }

    fn write_run(&self, target: &Target) -> Result<(), store::Error> {
        let files = self.read(target).map(|note| note["files"].clone()).unwrap_or_default();
        let content = self.content(files, true);
        target.place(&[NewFile { name: &self.name, content: &content, rights: NOTE_RIGHTS }])
    }
}
