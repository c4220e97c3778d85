// SPDX-License-Identifier: Apache-2.0
//! A tree of another program, to read. Changes nothing in it, and waits for no pipe. Refuses symbolic links,
//! but tells where they lead, so that a caller who knows the tree finds the file there.

use crate::store::Error;
use crate::store::disk::{Folder, Fuse, Links};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of a file: more than any key, chain or settings have.
const FILE_MAX: u64 = 256 * 1024;
/// Entries of one folder that are looked at.
const ENTRIES_MAX: usize = 20_000;

/// A plain file.
pub struct Found {
    /// Wiped when it is dropped: it may be a key.
    pub content: Zeroizing<Vec<u8>>,
    /// Others than its owner can read it.
    pub is_exposed: bool,
}

/// A folder of the tree.
#[derive(Clone)]
pub struct Tree {
    folder: Folder,
    /// Others than the owner can pass through it, and through those above it in the tree.
    is_open: bool,
}

impl Tree {
    /// Opens the top of a tree. The administrator names it, so it may be a link itself.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Tree::of(Folder::open(path, Links::Refuse, &Fuse::default())?, true)
    }

    fn of(folder: Folder, is_open: bool) -> Result<Self, Error> {
        let is_open = is_open && folder.mode()? & 0o011 != 0;
        Ok(Tree { folder, is_open })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder `name` in here; `None` where there is none, or something else has that name.
    pub fn child(&self, name: &str) -> Option<Tree> {
        let child = is_plain(name).then(|| self.folder.child(name).ok().flatten()).flatten()?;
        Tree::of(child, self.is_open).ok()
    }

    /// The folder below this one at these names.
    pub fn below(&self, names: &[&str]) -> Option<Tree> {
        names.iter().try_fold(self.clone(), |tree, name| tree.child(name))
    }

    /// Names of the entries, sorted, and whether each is a folder. Those that are not UTF-8 are left out: no
    /// client makes them.
    pub fn entries(&self) -> Result<Vec<(String, bool)>, Error> {
        let entries = self.folder.entries()?.into_iter().take(ENTRIES_MAX);
        Ok(entries.filter_map(|(name, is_folder)| Some((name.into_string().ok()?, is_folder))).collect())
    }

    /// A plain file; `None` where there is none.
    pub fn read(&self, name: &str) -> Result<Option<Found>, Error> {
        if !is_plain(name) {
            return Err(Error::Name(name.to_string()));
        }
        let Some((content, mode, ..)) = self.folder.read_with_rights(name, FILE_MAX)? else {
            return Ok(None);
        };
        Ok(Some(Found { content: Zeroizing::new(content), is_exposed: self.is_open && mode & 0o044 != 0 }))
    }

    /// Where a symbolic link leads; `None` where there is no link.
    pub fn link(&self, name: &str) -> Option<PathBuf> {
        is_plain(name).then(|| self.folder.link(name)).flatten()
    }
}

/// Whether a name is one of an entry, and leads nowhere else.
fn is_plain(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn no_name_leads_out_of_the_tree_and_only_plain_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("outside"), "x").unwrap();
        let top = dir.path().join("tree");
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("a/b/file"), "content").unwrap();
        symlink(dir.path(), top.join("up")).unwrap();
        symlink("../outside", top.join("link")).unwrap();
        fs::write(top.join("large"), vec![0; 300_000]).unwrap();
        let tree = Tree::open(&top).unwrap();
        let inner = tree.below(&["a", "b"]).unwrap();
        assert_eq!(inner.read("file").unwrap().unwrap().content.as_slice(), b"content");
        assert!(inner.read("none").unwrap().is_none());
        for name in ["..", "", "a/b", "../outside"] {
            assert!(tree.child(name).is_none() && tree.read(name).is_err(), "{name}");
        }
        assert!(tree.child("up").is_none() && tree.below(&["up", "tree"]).is_none());
        for name in ["link", "up", "a", "large"] {
            assert!(tree.read(name).is_err(), "{name}");
        }
        assert_eq!(tree.link("link").unwrap(), Path::new("../outside"));
        assert_eq!(tree.link("large"), None);
        let folders: Vec<_> =
            tree.entries().unwrap().into_iter().filter(|(_, is_folder)| *is_folder).collect();
        assert_eq!(folders, [("a".to_string(), true)]);
    }

    #[test]
    fn a_file_is_exposed_where_others_reach_it() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &str, mode: u32| {
            fs::set_permissions(dir.path().join(path), Permissions::from_mode(mode)).unwrap();
        };
        fs::create_dir_all(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/key"), "x").unwrap();
        for (top, inner, file, is_exposed) in [
            (0o755, 0o755, 0o644, true),
            (0o755, 0o710, 0o640, true),
            (0o755, 0o755, 0o600, false),
            (0o755, 0o700, 0o644, false),
            (0o700, 0o755, 0o644, false),
        ] {
            [("", top), ("a", inner), ("a/key", file)].iter().for_each(|(path, bits)| mode(path, *bits));
            let found = Tree::open(dir.path()).unwrap().child("a").unwrap().read("key").unwrap().unwrap();
            assert_eq!(found.is_exposed, is_exposed, "{top:o} {inner:o} {file:o}");
        }
    }
}
