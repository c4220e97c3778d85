// SPDX-License-Identifier: Apache-2.0
//! Folders and files on disk, without any knowledge of their meaning. Folders are held open and every access
//! is relative to them, so that no one who can write to a folder can redirect a path in between. Where
//! workers write, symbolic links are not followed and only plain files are read. Every file is written whole
//! or not at all.

mod foreign;
mod fuse;
mod listing;
mod lock_file;
#[cfg(feature = "cli")]
mod look;
mod purge;
pub(super) mod rights;
#[cfg(feature = "cli")]
mod stream;

pub use foreign::{HeldFolder, LockedFolder};
pub use fuse::Fuse;
pub use listing::Stamp;
pub use lock_file::LockedFile;
#[cfg(feature = "cli")]
pub use look::{Found, Sort};
pub(super) use purge::Kind;

use super::Error;
use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The mode and owner of a new file or folder: set explicitly, so that no umask matters.
#[derive(Clone, Copy, Default)]
pub(super) struct Access {
    pub mode: u32,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// Whether to follow symbolic links below a folder.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Links {
    Follow,
    Refuse,
}

impl Links {
    fn flags(self) -> OFlags {
        if self == Links::Refuse { OFlags::NOFOLLOW } else { OFlags::empty() }
    }
}

/// A folder, held open.
#[derive(Clone)]
pub(super) struct Folder {
    file: Arc<File>,
    path: PathBuf,
    links: Links,
    fuse: Fuse,
    /// Whether changes below are on the disk when they are done; where not, a power failure may undo them
    /// or leave files empty.
    is_synced: bool,
}

/// Files that are open at once while several are waited for.
const OPEN_MAX: usize = 16;
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Folder {
    /// Opens the folder at `path`; `links` applies to everything below it.
    pub fn open(path: &Path, links: Links, fuse: &Fuse) -> Result<Self, Error> {
        let fd = fs::open(path, FOLDER, Mode::empty()).map_err(|e| Error::io("opening folder", path, e))?;
        let file = Arc::new(File::from(fd));
        Ok(Folder { file, path: path.to_path_buf(), links, fuse: fuse.clone(), is_synced: true })
    }

    #[must_use]
    pub fn synced(self, is_synced: bool) -> Self {
        Folder { is_synced, ..self }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.is_synced { file.sync_all() } else { Ok(()) }
    }

    /// A folder in this one, with `links` for its entries and all other settings of this one.
    fn below(&self, file: File, path: PathBuf, links: Links) -> Folder {
        Folder { file: Arc::new(file), path, links, fuse: self.fuse.clone(), is_synced: self.is_synced }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same folder, with these links followed or refused below.
    #[cfg(feature = "cli")]
    pub fn with_links(&self, links: Links) -> Folder {
        Folder { links, ..self.clone() }
    }

    /// The folder `name` in this one; `None` where there is none.
    pub fn child(&self, name: &str) -> Result<Option<Folder>, Error> {
        let path = self.path.join(name);
        match fs::openat(self.file.as_ref(), name, FOLDER | self.links.flags(), Mode::empty()) {
            Ok(fd) => Ok(Some(self.below(fd.into(), path, self.links))),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(Error::garbage(&path, "it is not a folder")),
            Err(e) => Err(Error::io("opening folder", &path, e)),
        }
    }

    /// The folder `name` in this one, made if there is none, with these rights. Where links are refused, any
    /// other entry of that name is removed first.
    pub fn make_child(&self, name: &str, access: Access) -> Result<Folder, Error> {
        match self.child(name) {
            Ok(Some(child)) => return Ok(child),
            Ok(None) => {}
            Err(error @ Error::Garbage { .. }) if self.links == Links::Refuse => {
                self.remove(name)?;
                crate::log!(Warn, "{error}, and is removed");
            }
            Err(error) => return Err(error),
        }
        let path = self.path.join(name);
        let failed = |e: io::Error| Error::io("making folder", &path, e);
        self.fuse.burn().map_err(failed)?;
        match fs::mkdirat(self.file.as_ref(), name, Mode::from_raw_mode(access.mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(failed(e.into())),
        }
        let child = self.child(name)?.ok_or_else(|| failed(Errno::NOENT.into()))?;
        child.grant(access)?;
        Ok(child)
    }

    /// Gives this folder these rights, if it has others.
    pub fn grant(&self, access: Access) -> Result<(), Error> {
        grant(&self.file, access).map_err(|e| Error::io("setting the rights of", &self.path, e))
    }

    /// Gives a file these rights, if it has others.
    pub fn grant_file(&self, name: &str, access: Access) -> Result<(), Error> {
        let path = self.path.join(name);
        let Some((file, _)) = self.open_file(name, &path)? else { return Ok(()) };
        self.fuse
            .burn()
            .and_then(|()| grant(&file, access))
            .map_err(|e| Error::io("setting the rights of", &path, e))
    }

    /// A file's content; `None` where there is none. More than `limit` bytes are an error.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path.join(name);
        let opened = self.open_file(name, &path)?;
        opened.map(|opened| read_whole(opened, &path, limit)).transpose()
    }

    /// [`Folder::read`] of a file in the folder `child` of this one, in one step. Only where links are
    /// followed: refusing them takes a look at each part of the path.
    pub fn read_in(&self, child: &str, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        match self.links {
            Links::Follow => self.read(&format!("{child}/{name}"), limit),
            Links::Refuse => self.child(child)?.map_or(Ok(None), |folder| folder.read(name, limit)),
        }
    }

    /// When a file was last written, in milliseconds since the epoch; `None` where there is none.
    pub fn modified(&self, name: &str) -> Result<Option<i64>, Error> {
        let path = self.path.join(name);
        let Some((file, _)) = self.open_file(name, &path)? else { return Ok(None) };
        let meta = file.metadata().map_err(|e| Error::io("reading", &path, e))?;
        Ok(Some(meta.mtime().saturating_mul(1000).saturating_add(meta.mtime_nsec() / 1_000_000)))
    }

    /// Sets the time of a file in here to now; that of a link, where it is one.
    pub fn touch(&self, name: &str) -> Result<(), Error> {
        let time = |tv_nsec| fs::Timespec { tv_sec: 0, tv_nsec };
        let times =
            fs::Timestamps { last_access: time(fs::UTIME_OMIT), last_modification: time(fs::UTIME_NOW) };
        fs::utimensat(self.file.as_ref(), name, &times, fs::AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| Error::io("setting the time of", &self.path.join(name), e))
    }

    /// A plain file and its size.
    fn open_file(&self, name: &str, path: &Path) -> Result<Option<(File, u64)>, Error> {
        // NONBLOCK: a planted FIFO must not hold up the start.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | self.links.flags();
        let file = match fs::openat(self.file.as_ref(), name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(Error::garbage(path, "it is a symbolic link")),
            Err(Errno::NXIO) => return Err(Error::garbage(path, "it is a socket")),
            Err(Errno::NOTDIR) => return Err(Error::garbage(path, "its folder is not a folder")),
            Err(e) => return Err(Error::io("opening", path, e)),
        };
        match file.metadata() {
            Ok(meta) if !meta.is_file() => Err(Error::garbage(path, "it is not a file")),
            Ok(meta) if self.links == Links::Refuse => match self.stranger(&meta)? {
                Some(reason) => Err(Error::garbage(path, reason)),
                None => Ok(Some((file, meta.len()))),
            },
            Ok(meta) => Ok(Some((file, meta.len()))),
            Err(e) => Err(Error::io("reading", path, e)),
        }
    }

    /// Replaces a file as a whole: readers see the old content or the new one, even after a crash.
    pub fn write(&self, name: &str, content: &[u8], access: Access) -> Result<(), Error> {
        self.write_as(name, content, access, |temporary| {
            fs::renameat(self.file.as_ref(), temporary, self.file.as_ref(), name)
        })
    }

    /// Like [`Folder::write`], but `false` and no change where the file exists already.
    pub fn write_new(&self, name: &str, content: &[u8], access: Access) -> Result<bool, Error> {
        let mut is_new = true;
        self.write_as(name, content, access, |temporary| {
            let linked =
                fs::linkat(self.file.as_ref(), temporary, self.file.as_ref(), name, AtFlags::empty());
            fs::unlinkat(self.file.as_ref(), temporary, AtFlags::empty())?;
            is_new = linked != Err(Errno::EXIST);
            if is_new { linked } else { Ok(()) }
        })?;
        Ok(is_new)
    }

    fn write_as(
        &self,
        name: &str,
        content: &[u8],
        access: Access,
        place: impl FnOnce(&str) -> rustix::io::Result<()>,
    ) -> Result<(), Error> {
        let path = self.path.join(name);
        let failed = |e: io::Error| Error::io("writing", &path, e);
        let (mut file, temporary) = self.temporary(name).map_err(failed)?;
        let written = self.fuse.burn().and_then(|()| {
            grant(&file, access)?;
            file.write_all(content)?;
            self.sync(&file)?;
            self.fuse.burn()?;
            place(&temporary).map_err(io::Error::from)?;
            #[cfg(test)]
            self.fuse.wrote(name, content.len());
            self.fuse.burn()?;
            self.sync(&self.file)
        });
        if written.is_err() && self.fuse.burn().is_ok() {
            // After the rename there is nothing left to remove; that failure says nothing.
            let _ = fs::unlinkat(self.file.as_ref(), &temporary, AtFlags::empty());
        }
        written.map_err(failed)
    }

    /// A new file that no other writer uses.
    fn temporary(&self, name: &str) -> io::Result<(File, String)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        self.fuse.burn()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let temporary = format!(".{name}.{}.{count}", std::process::id());
            match fs::openat(self.file.as_ref(), &temporary, flags, Mode::RUSR | Mode::WUSR) {
                Ok(fd) => return Ok((fd.into(), temporary)),
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Removes a file, or any other entry in its place. A missing one is no error.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        match self.unlink(OsStr::new(name), AtFlags::empty()) {
            // POSIX has the second one for it.
            Err(Error::Io { source, .. })
                if self.links == Links::Refuse
                    && matches!(
                        source.kind(),
                        io::ErrorKind::IsADirectory | io::ErrorKind::PermissionDenied
                    ) =>
            {
                self.purge(name)
            }
            removed => removed,
        }
    }

    fn unlink(&self, name: &OsStr, flags: AtFlags) -> Result<(), Error> {
        let path = self.path.join(name);
        self.fuse.burn().map_err(|e| Error::io("removing", &path, e))?;
        match fs::unlinkat(self.file.as_ref(), name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(Error::io("removing", &path, e)),
        }
    }

    /// Moves `name` from here to `new_name` in `target`, where nothing of that name may be but an empty
    /// folder.
    pub fn rename(&self, name: &str, target: &Folder, new_name: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        let moved = self.fuse.burn().and_then(|()| {
            fs::renameat(self.file.as_ref(), name, target.file.as_ref(), new_name)?;
            self.fuse.burn()?;
            self.sync(&target.file)?;
            self.sync(&self.file)
        });
        moved.map_err(|e| Error::io("moving", &path, e))
    }

    /// Has the entries of this folder on the disk, and the content of these files in it.
    pub fn flush(&self, files: &[String]) -> Result<(), Error> {
        for names in files.chunks(OPEN_MAX) {
            let mut opened = Vec::with_capacity(names.len());
            for name in names {
                let path = self.path.join(name);
                if let Some((file, _)) = self.open_file(name, &path)? {
                    begin_writing(&file);
                    opened.push((file, path));
                }
            }
            for (file, path) in opened {
                file.sync_all().map_err(|e| Error::io("writing", &path, e))?;
            }
        }
        self.fuse.burn().and_then(|()| self.file.sync_all()).map_err(|e| Error::io("writing", &self.path, e))
    }
}

/// Has the kernel begin to write, so that the journal of the file system takes several files at once when the first is
/// waited for: each wait would otherwise have a record of its own.
fn begin_writing(file: &File) {
    // Linux writes what it is told is not needed. Where it does not, waits are longer, and nothing else.
    #[cfg(target_os = "linux")]
    let _ = fs::fadvise(file, 0, None, fs::Advice::DontNeed);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

fn read_whole((file, size): (File, u64), path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    if size > limit {
        return Err(Error::garbage(path, format!("it is larger than {limit} bytes")));
    }
    // Files are replaced, never written to, so the size is final. Not reading up to the end of file saves a
    // system call, which counts with thousands of domains.
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(size).read_to_end(&mut content).map_err(|e| Error::io("reading", path, e))?;
    Ok(content)
}

fn has_rights(meta: &Metadata, access: Access) -> bool {
    let differs = |wanted: Option<u32>, is: u32| wanted.is_some_and(|wanted| wanted != is);
    !differs(access.uid, meta.uid())
        && !differs(access.gid, meta.gid())
        && meta.mode() & 0o7777 == access.mode
}

fn grant(file: &File, access: Access) -> io::Result<()> {
    let meta = file.metadata()?;
    let differs = |wanted: Option<u32>, is: u32| wanted.is_some_and(|wanted| wanted != is);
    if differs(access.uid, meta.uid()) || differs(access.gid, meta.gid()) {
        fchown(file, access.uid, access.gid)?;
    }
    if meta.permissions().mode() & 0o7777 != access.mode {
        file.set_permissions(Permissions::from_mode(access.mode))?;
    }
    Ok(())
}
