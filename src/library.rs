// SPDX-License-Identifier: Apache-2.0
//! Detects whether the file from which a library was loaded has been replaced.

use rustix::fs::{Mode, OFlags, Stat, open, stat};
use rustix::io::{Errno, read};
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether `path` now has another file than the one that was loaded from there to around this address.
/// `false` also where that is unknown: only Linux shows it.
pub fn is_outdated(path: &Path, address: usize) -> bool {
    let maps = read_all(c"/proc/self/maps").unwrap_or_default();
    find(&maps, address).is_some_and(|mapped| {
        let mapped_path = Path::new(OsStr::from_bytes(mapped.path));
        is_other(&mapped, identity(path), identity(mapped_path))
    })
}

/// Device and inode.
type Identity = (u64, u64);

/// A file that is mapped, as proc(5) has it.
#[derive(Debug, PartialEq, Eq)]
struct Mapped<'a> {
    identity: Identity,
    /// With ` (deleted)` behind it where no path leads to it any more.
    path: &'a [u8],
}

const DELETED: &[u8] = b" (deleted)";

/// `by_name` is the file at the path it was loaded by, and `by_path` the one at the path of the mapping.
/// Numbers of mappings may be others than `stat` has for the very same file, on btrfs and overlayfs, so only
/// `stat` distinguishes two files.
fn is_other(mapped: &Mapped<'_>, by_name: Option<Identity>, by_path: Option<Identity>) -> bool {
    match by_path {
        Some(_) => by_name.is_some() && by_name != by_path,
        None => mapped.path.ends_with(DELETED) && by_name != Some(mapped.identity),
    }
}

/// The file behind the mapping of this address: `START-END ACCESS OFFSET MAJOR:MINOR INODE  PATH`, numbers
/// but for the inode in hex.
fn find(maps: &[u8], address: usize) -> Option<Mapped<'_>> {
    maps.split(|byte| *byte == b'\n').find_map(|line| {
        let mut words = line.splitn(6, |byte| *byte == b' ');
        let mut word = || std::str::from_utf8(words.next()?).ok();
        let (start, end) = word()?.split_once('-')?;
        let number = |hex| usize::from_str_radix(hex, 16).ok();
        if !(number(start)?..number(end)?).contains(&address) {
            return None;
        }
        let (_access, _offset) = (word()?, word()?);
        let (major, minor) = word()?.split_once(':')?;
        let device =
            rustix::fs::makedev(u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
        let inode = word()?.parse().ok()?;
        let path = words.next()?.trim_ascii_start();
        path.starts_with(b"/").then_some(Mapped { identity: (device, inode), path })
    })
}

fn identity(path: &Path) -> Option<Identity> {
    let Stat { st_dev, st_ino, .. } = stat(path).ok()?;
    Some((st_dev, st_ino))
}

fn read_all(path: &CStr) -> Result<Vec<u8>, Errno> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match read(&file, &mut part) {
            Ok(0) => return Ok(all),
            Ok(count) => all.extend_from_slice(part.get(..count).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mapping_of_an_address_is_found_with_its_file() {
        let maps = b"55d0-55e0 r--p 00000000 fe:01 1311  /usr/sbin/apache2\n\
            7f00-7f10 rw-p 00000000 00:00 0 \n\
            7f10-7f20 r-xp 00001000 00:1c 42                         /mods/a b/mod_md.so (deleted)\n\
            7f20-7f30 rw-p 00000000 00:00 0                          [heap]\n";
        let file =
            Mapped { identity: (rustix::fs::makedev(0, 0x1c), 42), path: b"/mods/a b/mod_md.so (deleted)" };
        assert_eq!(find(maps, 0x7f10).as_ref(), Some(&file));
        assert_eq!(find(maps, 0x7f1f), Some(file));
        for elsewhere in [0x7f05, 0x7f20, 0x8000] {
            assert_eq!(find(maps, elsewhere), None, "{elsewhere:x}");
        }
        assert_eq!(find(b"garbage\n7f10-7f20 r-xp\n-", 0x7f10), None);
    }

    #[test]
    fn only_another_file_in_its_place_makes_it_outdated() {
        let mapped = |path| Mapped { identity: (1, 10), path };
        let (there, gone) = (mapped(b"/m/mod_md.so"), mapped(b"/m/mod_md.so (deleted)"));
        let (same, other) = (Some((1, 10)), Some((1, 11)));
        for (file, by_name, by_path, expected, case) in [
            (&there, same, same, false, "as it was loaded"),
            // A mapping has numbers of the file system below.
            (&there, Some((40, 7)), Some((40, 7)), false, "overlayfs, btrfs"),
            (&there, None, None, false, "neither path is visible here"),
            (&there, other, None, false, "the path of the mapping is not visible here"),
            (&there, None, same, false, "loaded by a name that is not visible here"),
            (&gone, other, None, true, "replaced by another file"),
            (&gone, None, None, true, "removed"),
            (&gone, same, None, false, "what the system says contradicts itself"),
            (&gone, same, same, false, "a file whose name ends like this"),
            (&there, other, same, true, "moved away, or loaded by a link that leads elsewhere now"),
        ] {
            assert_eq!(is_other(file, by_name, by_path), expected, "{case}");
        }
    }

    #[test]
    fn a_program_that_runs_is_outdated_once_its_file_was_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (own, other) = (std::env::current_exe().unwrap(), dir.path().join("other"));
        std::fs::write(&other, "").unwrap();
        let address = is_outdated as *const () as usize;
        assert!(!is_outdated(&own, address));
        assert!(!is_outdated(&dir.path().join("missing"), address));
        assert!(is_outdated(&other, address));
    }
}
