// SPDX-License-Identifier: Apache-2.0
//! The lock by which one child of a configuration renews: a record lock (fcntl(2)) on a file without a name,
//! which the parent makes before it forks. It is that of a process, so that neither commands nor later
//! children have it, and the kernel frees it when its holder ends, however it ends.

use std::ffi::c_short;
use std::io;
use std::mem::{ManuallyDrop, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

pub struct Office {
    file: ManuallyDrop<OwnedFd>,
    owner: u32,
}

impl Office {
    /// Called in the parent, before it has children.
    pub fn new() -> io::Result<Self> {
        Ok(Office { file: ManuallyDrop::new(nameless()?), owner: std::process::id() })
    }

    /// Whether this process has it now, and no other one.
    pub fn take(&self) -> io::Result<bool> {
        match self.set(libc::F_WRLCK) {
            Ok(()) => Ok(true),
            // Systems differ in which of both it is.
            Err(error) if [Some(libc::EAGAIN), Some(libc::EACCES)].contains(&error.raw_os_error()) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Others may have it.
    pub fn leave(&self) {
        // Fails for no file that is open.
        let _ = self.set(libc::F_UNLCK);
    }

    fn set(&self, kind: i32) -> io::Result<()> {
        // SAFETY: the record has no value that is not one; the call reads it only, and does not wait.
        let status = unsafe {
            let mut lock: libc::flock = zeroed();
            lock.l_type = kind as c_short;
            lock.l_whence = libc::SEEK_SET as c_short;
            libc::fcntl(self.file.as_raw_fd(), libc::F_SETLK, &lock)
        };
        if status == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        // In a child that ends another thread may still use it, and the kernel closes it there.
        if std::process::id() == self.owner {
            // SAFETY: nobody uses it after this.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

/// One in memory where the system has such files and does not refuse them (vm.memfd_noexec, seccomp).
fn nameless() -> io::Result<OwnedFd> {
    in_memory().or_else(|_| removed())
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn in_memory() -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string; the descriptor is new and of nobody else.
    unsafe { opened(libc::memfd_create(c"mod_md_renewing".as_ptr(), libc::MFD_CLOEXEC)) }
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
fn in_memory() -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// One whose name is gone.
fn removed() -> io::Result<OwnedFd> {
    let mut path = *b"/tmp/mod_md_renewing.XXXXXX\0";
    // SAFETY: a C string that the call fills in; the descriptor is new and of nobody else.
    unsafe {
        let file = opened(libc::mkostemp(path.as_mut_ptr().cast(), libc::O_CLOEXEC))?;
        libc::unlink(path.as_ptr().cast());
        Ok(file)
    }
}

/// # Safety
/// `file` is -1 after a call that failed, or a new descriptor.
unsafe fn opened(file: i32) -> io::Result<OwnedFd> {
    if file == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: see above.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}
