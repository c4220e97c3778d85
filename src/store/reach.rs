// SPDX-License-Identifier: Apache-2.0
//! Finds at a start the files, folders and commands that httpd's children will not be able to use. Makes no
//! claim if rights depend on more than owner, group and mode.

use super::Owner;
use crate::exec;
use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const EXECUTE: u32 = 0o1;

/// Why a command, given by its line, cannot be started. `path`: where programs without a folder are searched
/// for.
pub fn line_fault(line: &str, path: Option<&str>, user: Option<Owner>) -> Option<String> {
    let words = exec::split(line);
    let Some(program) = words.first().filter(|program| !program.is_empty()) else {
        return Some("there is no command".into());
    };
    if program.starts_with('/') {
        return command_fault(Path::new(program), user);
    }
    // Relative to a folder that is known to the children alone.
    if program.contains('/') {
        return None;
    }
    let path = path?;
    match in_path(program, path) {
        Some(found) => command_fault(&found, user),
        None => Some(format!("there is no program {program} in PATH ({path}); write its whole path")),
    }
}

/// Why `user` cannot start `program`, an absolute path; without a `user`, the user of this process.
pub fn command_fault(program: &Path, user: Option<Owner>) -> Option<String> {
    let shown = program.display();
    if let Some(folder) = program.parent().and_then(|folder| closed_folder(folder, user)) {
        return Some(format!("the User of httpd cannot enter the folder {folder}"));
    }
    let meta = match fs::metadata(program) {
        Ok(meta) => meta,
        Err(e) if e.kind() == ErrorKind::NotFound => return Some(format!("{shown} does not exist")),
        // The user that tests a configuration may see less than the one that starts httpd.
        Err(_) => return None,
    };
    if meta.is_dir() {
        return Some(format!("{shown} is a folder"));
    }
    let mode = meta.mode() & 0o7777;
    if meta.mode() & 0o111 == 0 {
        return Some(format!("{shown} is not executable (mode {mode:04o}; chmod +x makes it so)"));
    }
    if user.is_some_and(|user| is_denied(&meta, user)) {
        return Some(format!("the User of httpd may not execute {shown} (mode {mode:04o}, see ls -l)"));
    }
    missing_interpreter(program).map(|interpreter| match interpreter.strip_suffix('\r') {
        Some(_) => format!(
            "{shown} is a script with the line ends of Windows, which its interpreter is not found by"
        ),
        None => format!("{shown} is a script for {interpreter}, which does not exist"),
    })
}

/// The interpreter that a script names and that does not exist.
fn missing_interpreter(program: &Path) -> Option<String> {
    let mut head = [0; 256];
    let length = File::open(program).ok()?.read(&mut head).ok()?;
    let head = head.get(..length)?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim_matches([' ', '\t']);
    let interpreter = line.split([' ', '\t']).next().filter(|path| path.starts_with('/'))?;
    let is_missing = fs::metadata(interpreter).is_err_and(|e| e.kind() == ErrorKind::NotFound);
    is_missing.then(|| interpreter.to_string())
}

/// The first of the folders down to this one that `user` cannot enter, with its mode. Those that do not exist
/// (yet) count as open.
pub fn closed_folder(folder: &Path, user: Option<Owner>) -> Option<String> {
    let user = user?;
    let mut folders: Vec<&Path> = folder.ancestors().collect();
    folders.reverse();
    let closed = folders.into_iter().find_map(|folder| {
        let meta = fs::metadata(folder).ok().filter(Metadata::is_dir)?;
        is_denied(&meta, user).then_some((folder, meta.mode() & 0o7777))
    });
    closed.map(|(folder, mode)| format!("{} (mode {mode:04o})", folder.display()))
}

/// Whether `user` certainly may not execute a file or enter a folder. Of the groups of a user only one is
/// known.
fn is_denied(meta: &Metadata, user: Owner) -> bool {
    let has = |shift: u32| meta.mode() & (EXECUTE << shift) != 0;
    match () {
        () if user.uid == 0 => false,
        () if meta.uid() == user.uid => !has(6),
        () if meta.gid() == user.gid => !has(3),
        () => !has(0) && !has(3),
    }
}

/// The program of this name in `PATH`.
fn in_path(name: &str, path: &str) -> Option<PathBuf> {
    let candidates =
        path.split(':').filter(|folder| !folder.is_empty()).map(|folder| Path::new(folder).join(name));
    candidates.into_iter().find(|candidate| fs::metadata(candidate).is_ok_and(|meta| meta.is_file()))
}

/// The directory URLs of the CAs that the store in `dir` has accounts for. Opens no store and changes
/// nothing. `None`: unknown.
pub fn account_authorities(dir: &Path) -> Option<Vec<String>> {
    let folders = match fs::read_dir(dir.join("accounts")) {
        Ok(folders) => folders,
        Err(e) if e.kind() == ErrorKind::NotFound => return Some(Vec::new()),
        Err(_) => return None,
    };
    let mut found = Vec::new();
    for folder in folders {
        let content = match super::read_admin_file(&folder.ok()?.path().join("account.json")) {
            Ok(content) => content,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            Err(_) => return None,
        };
        let record: serde_json::Value = serde_json::from_slice(&content).unwrap_or_default();
        found.extend(record.get("ca-url").and_then(|url| url.as_str()).map(String::from));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_what_cannot_be_executed_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        set(dir.path(), 0o755);
        let program = dir.path().join("program");
        let meta = fs::metadata(dir.path()).unwrap();
        let (own, group) = (meta.uid(), meta.gid());
        let stranger = Owner { uid: own + 1, gid: group + 1 };
        for (content, mode, user, expected) in [
            ("", 0o644, None, Some("is not executable (mode 0644")),
            ("", 0o755, Some(stranger), None),
            ("", 0o700, Some(stranger), Some("may not execute")),
            // It may be in a group that is not known here.
            ("", 0o710, Some(stranger), None),
            ("", 0o701, Some(Owner { uid: own + 1, gid: group }), Some("may not execute")),
            ("", 0o701, Some(Owner { uid: 0, gid: group }), None),
            ("#!/bin/sh\n", 0o755, None, None),
            ("#! /bin/sh -e\n", 0o755, None, None),
            ("#!/bin/sh\r\n", 0o755, None, Some("line ends of Windows")),
            (
                "#!/nowhere/perl -w\n",
                0o755,
                None,
                Some("is a script for /nowhere/perl, which does not exist"),
            ),
            ("#!", 0o755, None, None),
        ] {
            fs::write(&program, content).unwrap();
            set(&program, mode);
            let fault = command_fault(&program, user);
            let is_as_expected = match (expected, &fault) {
                (Some(expected), Some(fault)) => fault.contains(expected),
                (expected, fault) => expected.is_none() && fault.is_none(),
            };
            assert!(is_as_expected, "{content:?} {mode:o} {user:?}: {fault:?}");
        }
        assert!(command_fault(&dir.path().join("absent"), None).unwrap().ends_with("absent does not exist"));
        assert!(command_fault(dir.path(), None).unwrap().ends_with("is a folder"));
        set(dir.path(), 0o700);
        let closed = format!("{} (mode 0700)", dir.path().display());
        assert_eq!(closed_folder(&dir.path().join("md"), Some(stranger)).as_deref(), Some(closed.as_str()));
        assert_eq!(closed_folder(dir.path(), None), None);
        assert!(command_fault(&program, Some(stranger)).unwrap().contains(&closed));
    }

    #[test]
    fn accounts_are_found_without_a_store_and_unreadable_ones_not_guessed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(account_authorities(dir.path()), Some(Vec::new()));
        let accounts = dir.path().join("accounts");
        for (name, content) in [("ACME-0", r#"{"ca-url": "https://ca.test/dir"}"#), ("ACME-1", "{")] {
            fs::create_dir_all(accounts.join(name)).unwrap();
            fs::write(accounts.join(name).join("account.json"), content).unwrap();
        }
        fs::create_dir_all(accounts.join("empty")).unwrap();
        fs::write(accounts.join("file"), "").unwrap();
        assert_eq!(account_authorities(dir.path()), Some(vec!["https://ca.test/dir".to_string()]));
        fs::remove_dir_all(&accounts).unwrap();
        fs::write(&accounts, "").unwrap();
        assert_eq!(account_authorities(dir.path()), None);
    }
}
