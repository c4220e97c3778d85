// SPDX-License-Identifier: Apache-2.0
//! The owners of files and folders where root starts httpd: workers own what they write, root the rest. A
//! start corrects owners after `User` has changed or a store was restored. It walks only through folders with
//! a wrong owner and follows no links.

use super::disk::rights::{Giver, own_uid};
use super::disk::{Access, Folder};
use super::layout::{Layout, Owner, RENEWING_LOCK_FILE, STORE_FILE};
use super::{Error, Group};
use std::collections::HashSet;
use std::path::PathBuf;

/// Files of root's beside the folders.
const ROOT_FILES: [&str; 8] = [
    STORE_FILE,
    "httpd.json",
    "store.lock",
    "trial.lock",
    "trial.json",
    "trial-loading.json",
    "trial-ended.json",
    "rehearsals.json",
];

/// Takes back the store's own folder if it was given away together with its key. A folder that somebody else
/// owns for other reasons stays as it is.
pub(super) fn take_root(root: &Folder, owner: Option<Owner>) -> Result<(), Error> {
    let own = own_uid();
    let holder = root.uid()?;
    if owner.is_none() {
        return Ok(());
    }
    if holder != own && root.uid_of(STORE_FILE) == Some(holder) {
        let access = Access { mode: 0o755, uid: Some(own), gid: None };
        report(root, root.grant(access).map(|()| Vec::new()));
    }
    // A file in a folder that others can write may not be ours.
    if root.uid()? == own {
        for file in ROOT_FILES.iter().filter(|file| root.uid_of(file).is_some_and(|uid| uid != own)) {
            let access = Access { mode: 0o600, uid: Some(own), gid: None };
            report(root, root.reclaim_file(file, access).map(|()| Vec::new()));
        }
    }
    Ok(())
}

/// httpd's `User` and `Group` by the owner of a folder that workers write; `None` where that is the user of
/// this process, who then needs no other.
pub(super) fn of_workers(root: &Folder) -> Result<Option<Owner>, Error> {
    refuse_link(root, Group::Staging.dir_name())?;
    let Some(staging) = root.child(Group::Staging.dir_name())? else { return Ok(None) };
    let owner = staging.owner()?;
    // A start gives the folder to `User` and leaves its group; what a child has made there has both.
    let lock = staging.owner_of(RENEWING_LOCK_FILE).filter(|lock| lock.uid == owner.uid);
    let owner = lock.unwrap_or(owner);
    Ok(Some(owner).filter(|owner| own_uid() == 0 && owner.uid != 0))
}

/// Refuses a link in place of a folder of the store, unless root has made it.
pub(super) fn refuse_link(root: &Folder, name: &str) -> Result<(), Error> {
    if !root.is_strangers_link(name) {
        return Ok(());
    }
    let reason = "it is a symbolic link that root does not own: put a folder in its place, or give the link to root \
                  (chown -h root)";
    Err(Error::garbage(&root.path().join(name), reason))
}

/// Gives the folder `name` these rights; where it had others, its files too.
pub(super) fn give(
    root: &Folder,
    name: &str,
    folder: &Folder,
    access: Access,
    file: Access,
) -> Result<(), Error> {
    if !folder.has(access)? {
        report(folder, root.hand_over(name, access, file, Giver::Before));
    }
    // Also where it is a link of root's, which is not handed over.
    folder.grant(access)
}

/// The same for a folder of root's, whoever owns its files: the mode of these is `file`.
pub(super) fn take(
    root: &Folder,
    name: &str,
    folder: &Folder,
    access: Access,
    file: u32,
) -> Result<(), Error> {
    if !folder.has(access)? {
        let outcome = root.hand_over(name, access, Access { mode: file, ..access }, Giver::Anybody);
        let is_done = outcome.is_ok();
        report(folder, outcome);
        // A folder that stays as it is has the next start complete the work.
        if !is_done {
            return Ok(());
        }
    }
    folder.grant(access)
}

/// Takes back a folder in which workers do not write, with all that is in it, and gives it the mode of its
/// group.
pub(super) fn take_back(group: Group, folder: &Folder, owner: Owner) -> Result<(), Error> {
    let access = Access { mode: group.dir_mode(), uid: Some(own_uid()), gid: None };
    if let Err(error) = try_take_back(group, folder, access, owner) {
        // On some network file systems root owns nothing.
        report(folder, Err(error));
        folder.grant(Access { uid: None, ..access })?;
    }
    Ok(())
}

fn try_take_back(group: Group, folder: &Folder, access: Access, owner: Owner) -> Result<(), Error> {
    let own = own_uid();
    // No one else can enter a folder that root owns and that is closed to others.
    if folder.has(access)? && group.is_private() {
        return Ok(());
    }
    // A closed folder counts as not in order, so that the next start completes the work.
    if group.is_private() {
        folder.close()?
    } else {
        folder.grant(access)?
    }
    // Workers have to read a file with the hmac of an EAB.
    let gid = Some(owner.gid).filter(|_| !group.is_private());
    let file = Access { mode: group.file_mode(), uid: Some(own), gid };
    let wrong = folder.folders_unlike(own, Some(access.mode))?;
    let mut is_done = true;
    for name in &wrong {
        let outcome = folder.hand_over(name, access, file, Giver::Anybody);
        is_done &= outcome.is_ok();
        report(folder, outcome);
    }
    if !wrong.is_empty() {
        crate::log!(
            Notice,
            "{}: corrected the owner and mode of {} folders in it",
            folder.path().display(),
            wrong.len()
        );
    }
    if is_done { folder.grant(access) } else { Ok(()) }
}

/// Gives folders of these names that workers write, with their files, to httpd's `User` if another user owns
/// them. `known` is called only if there is one.
pub(super) fn hand_over(layout: &Layout, known: impl Fn() -> HashSet<String>) {
    let Some(owner) = layout.owner else { return };
    let mut names = None;
    for group in Group::ALL.into_iter().filter(|group| group.is_of_workers()) {
        let Ok(folder) = layout.group(group) else { continue };
        let others = match folder.folders_unlike(owner.uid, None) {
            Ok(others) if others.is_empty() => continue,
            Ok(others) => others,
            Err(error) => {
                report(&folder, Err(error));
                continue;
            }
        };
        let names = names.get_or_insert_with(&known);
        let access = Access { mode: group.dir_mode(), uid: Some(owner.uid), gid: Some(owner.gid) };
        let file = Access { mode: group.file_mode(), ..access };
        let others: Vec<_> = others.iter().filter(|name| is_known(names, name)).collect();
        for name in &others {
            report(&folder, folder.hand_over(name, access, file, Giver::Before));
        }
        if !others.is_empty() {
            crate::log!(
                Notice,
                "{}: gave {} folders in it to httpd's User, because they had another owner",
                folder.path().display(),
                others.len()
            );
        }
    }
}

/// A folder of challenges has the name of a wildcard without its first label, and responses for certificates
/// of no MD are in one of their own.
fn is_known(names: &HashSet<String>, folder: &str) -> bool {
    folder == "other" || names.contains(folder) || names.contains(&format!("*.{folder}"))
}

pub(super) fn report(folder: &Folder, outcome: Result<Vec<PathBuf>, Error>) {
    let folder = folder.path().display();
    match outcome {
        Ok(left) => {
            for file in left {
                crate::log!(
                    Warn,
                    "{} keeps its owner, because it has another name elsewhere (a hard link): replace it by a copy",
                    file.display()
                );
            }
        }
        Err(error) => crate::log!(
            Warn,
            "{folder}: its content has the wrong owner, which cannot be corrected: {error}. Set the owner with chown, as \
             docs/store.md says"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Flat, Fuse, StartStore};
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
    use std::path::Path;
    use tempfile::TempDir;

    const USER: Owner = Owner { uid: 33, gid: 34 };
    const OTHER: u32 = 1234;

    fn is_root() -> bool {
        own_uid() == 0
    }

    fn known() -> HashSet<String> {
        ["a.test", "*.w.test"].map(String::from).into()
    }

    fn start(root: &Path) -> StartStore {
        let store = StartStore::open(root, Some(USER)).unwrap();
        store.hand_over(known);
        store
    }

    /// A store with something in every group.
    fn store() -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("md");
        let store = start(&root);
        for group in Group::ALL {
            let name = if group == Group::Archive { "a.test.1" } else { "a.test" };
            store.write(group, name, "file.txt", b"x").unwrap();
            store.write_json(group, name, "secret.json", &json!({"eab": {"hmac": "h"}})).unwrap();
        }
        store.write(Group::Challenges, "w.test", "file.txt", b"x").unwrap();
        store.write(Group::Ocsp, "other", "file.txt", b"x").unwrap();
        store.write_flat(Flat::Withdrawn, "a.test", &json!({})).unwrap();
        store.write_reach(true, true).unwrap();
        drop(store.lock(std::time::Duration::ZERO).unwrap());
        (dir, root)
    }

    /// Owner, group where it matters, mode and time of the last change of everything.
    type Facts = BTreeMap<PathBuf, (u32, Option<u32>, u32)>;

    fn facts(dir: &Path) -> Facts {
        let mut found = BTreeMap::new();
        walk(dir, &mut |path| {
            let meta = fs::symlink_metadata(path).unwrap();
            let mode = meta.mode() & 0o7777;
            found.insert(path.to_path_buf(), (meta.uid(), (mode == 0o640).then_some(meta.gid()), mode));
        });
        found
    }

    fn walk(path: &Path, act: &mut dyn FnMut(&Path)) {
        act(path);
        if fs::symlink_metadata(path).unwrap().is_dir() {
            let mut entries: Vec<_> =
                fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            entries.iter().for_each(|entry| walk(entry, act));
        }
    }

    /// `chown -R`, with the group if the new owner owns nothing in it.
    fn give_all(dir: &Path, uid: u32) {
        let gid = (![0, USER.uid].contains(&uid)).then_some(uid);
        walk(dir, &mut |path| lchown(path, Some(uid), gid).unwrap());
    }

    #[test]
    fn a_start_gives_workers_and_root_their_files_with_any_owner_of_the_store() {
        if !is_root() {
            return;
        }
        for holder in [0, OTHER, USER.uid, 12] {
            let (_dir, root) = store();
            let good = facts(&root);
            give_all(&root, holder);
            start(&root);
            assert_eq!(facts(&root), good, "of {holder}");
        }
    }

    #[test]
    fn wrong_modes_are_set_right_along_with_the_folder() {
        if !is_root() {
            return;
        }
        let (_dir, root) = store();
        let good = facts(&root);
        for path in ["domains", "domains/a.test", "archive"] {
            fs::set_permissions(root.join(path), Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(root.join("domains/a.test/file.txt"), Permissions::from_mode(0o644)).unwrap();
        start(&root);
        assert_eq!(facts(&root), good);
    }

    #[test]
    fn a_start_changes_nothing_in_a_store_that_is_in_order() {
        if !is_root() {
            return;
        }
        let (_dir, root) = store();
        let times = || {
            let mut times = Vec::new();
            walk(&root, &mut |path| {
                let meta = fs::symlink_metadata(path).unwrap();
                times.push((path.to_path_buf(), meta.ctime(), meta.ctime_nsec()));
            });
            times
        };
        let before = times();
        let store = StartStore::open(&root, Some(USER)).unwrap();
        store.hand_over(|| panic!("names are of no interest"));
        assert_eq!(times(), before);
    }

    #[test]
    fn what_somebody_has_planted_is_neither_followed_nor_given_away() {
        if !is_root() {
            return;
        }
        let (dir, root) = store();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        for file in ["of-root", "of-holder"] {
            fs::write(outside.join(file), "x").unwrap();
            fs::set_permissions(outside.join(file), Permissions::from_mode(0o600)).unwrap();
        }
        chown(outside.join("of-holder"), Some(OTHER), None).unwrap();
        give_all(&root, OTHER);
        for folder in ["staging/a.test", "domains/a.test", "accounts/a.test"].map(|folder| root.join(folder))
        {
            symlink(outside.join("of-root"), folder.join("link.txt")).unwrap();
            fs::hard_link(outside.join("of-root"), folder.join("hard-root.txt")).unwrap();
            fs::hard_link(outside.join("of-holder"), folder.join("hard-holder.txt")).unwrap();
        }
        // With no other name, but not of the folder's former owner.
        fs::write(root.join("staging/a.test/moved.txt"), "x").unwrap();
        fs::set_permissions(root.join("staging/a.test/moved.txt"), Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(root.join("staging/a.test/deeper")).unwrap();
        fs::create_dir(root.join("staging/unknown.test")).unwrap();
        chown(root.join("staging/unknown.test"), Some(OTHER), None).unwrap();
        symlink(&outside, root.join("ocsp/link.test")).unwrap();
        symlink(&outside, root.join("ocsp/*.w.test")).unwrap();
        let before = facts(&outside);
        start(&root);
        assert_eq!(facts(&outside), before);
        let owner = |path: &str| fs::symlink_metadata(root.join(path)).unwrap().uid();
        assert_eq!(owner("staging/a.test"), USER.uid);
        assert_eq!(owner("staging/a.test/file.txt"), USER.uid);
        assert_eq!(owner("staging/a.test/moved.txt"), 0);
        assert_eq!(owner("staging/a.test/deeper"), 0);
        assert_eq!(owner("staging/unknown.test"), OTHER);
        assert_eq!(owner("domains/a.test/file.txt"), 0);
    }

    #[test]
    fn a_foreign_link_in_place_of_a_store_folder_stops_the_start() {
        if !is_root() {
            return;
        }
        for group in ["staging", "domains"] {
            let (dir, root) = store();
            let outside = dir.path().join("outside");
            fs::rename(root.join(group), &outside).unwrap();
            symlink(&outside, root.join(group)).unwrap();
            start(&root);
            let before = facts(&outside);
            lchown(root.join(group), Some(OTHER), None).unwrap();
            let refused = StartStore::open(&root, Some(USER)).err().unwrap().to_string();
            assert!(refused.contains(group) && refused.contains("chown -h root"), "{refused}");
            assert_eq!(facts(&outside), before);
        }
    }

    #[test]
    fn a_folder_that_is_not_the_store_s_alone_stays_with_its_owner() {
        if !is_root() {
            return;
        }
        let (_dir, root) = store();
        chown(&root, Some(OTHER), None).unwrap();
        start(&root);
        assert_eq!(fs::metadata(&root).unwrap().uid(), OTHER);
    }

    #[test]
    fn a_change_of_owners_that_ends_anywhere_is_ended_by_the_next_start() {
        if !is_root() {
            return;
        }
        for steps in 0.. {
            let (_dir, root) = store();
            let good = facts(&root);
            give_all(&root, OTHER);
            if let Ok(dying) = StartStore::open_with(&root, Some(USER), Fuse::after(steps)) {
                dying.hand_over(known);
            }
            let is_done = facts(&root) == good;
            start(&root);
            let wrong: Vec<_> =
                facts(&root).into_iter().filter(|(path, found)| good.get(path) != Some(found)).collect();
            // Files of the one folder at which it ended keep their owner; they are replaced, not written to.
            assert!(
                wrong.len() <= 2
                    && wrong
                        .iter()
                        .all(|(path, _)| path.ends_with("file.txt") || path.ends_with("secret.json")),
                "{steps}: {wrong:?}"
            );
            if is_done {
                assert!(steps > 20, "{steps}");
                return;
            }
        }
    }
}
