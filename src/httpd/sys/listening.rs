// SPDX-License-Identifier: Apache-2.0
//! Listening sockets that stay open over reloads. httpd's process pool, which lives as long as the process,
//! keeps their numbers as text ([`sockets`](crate::responder::sockets)), without a clean-up: nothing points
//! into this library, which a reload may unload. Refuses numbers that are no longer of such a socket.

use super::module_conf::ModuleConf;
use super::{Server, pool};
use crate::responder::sockets::{Kept, from_text, to_text};
use apache_sys::apr_pool_t;
use std::ffi::CStr;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;

/// The key in the process pool.
const KEY: &CStr = c"mod_md: DNS sockets";

/// The process that may have children, usually root's. Used by a start, which has a single thread.
pub struct Listening {
    pool: *mut apr_pool_t,
    kept: Vec<Kept>,
}

impl Listening {
    /// What earlier configurations of this process have left open.
    pub fn of<M: ModuleConf>(main: Server<'_, M>) -> Self {
        let pool = main.process_pool();
        let mut found = ptr::null_mut();
        // SAFETY: the pool of the process is live; what stands under our key came from `remember`.
        let text = unsafe {
            apache_sys::apr_pool_userdata_get(&mut found, KEY.as_ptr(), pool);
            pool::text(found.cast_const().cast())
        };
        let kept =
            from_text(&text).into_iter().filter(|kept| with(kept.number, |socket| kept.place.is_of(socket)));
        Listening { pool, kept: kept.collect() }
    }

    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Keeps a socket from here on.
    pub fn keep(&mut self, place: crate::responder::sockets::Place, socket: OwnedFd) {
        self.kept.push(Kept { place, number: socket.into_raw_fd() });
        self.remember();
    }

    /// Another descriptor of a socket that is kept, for one configuration.
    pub fn duplicate(&self, kept: &Kept) -> std::io::Result<OwnedFd> {
        with(kept.number, |socket| socket.try_clone_to_owned())
    }

    /// Closes a socket in this process. Children that have it go on with it until they end.
    pub fn close(&mut self, kept: Kept) {
        let before = self.kept.len();
        self.kept.retain(|other| *other != kept);
        if self.kept.len() < before {
            self.remember();
            // SAFETY: it was in the list, so it is open, is ours, and nobody else closes it.
            drop(unsafe { OwnedFd::from_raw_fd(kept.number) });
        }
    }

    /// Closes all of them in a new child, which goes on with its duplicates alone and can so close these, too.
    pub fn leave(self) {
        // SAFETY: as above; the list of the child is not used any more.
        self.kept.iter().for_each(|kept| drop(unsafe { OwnedFd::from_raw_fd(kept.number) }));
    }

    fn remember(&self) {
        // SAFETY: the pool of the process is live, and copies text and key.
        unsafe {
            let text = pool::copy(self.pool, &to_text(&self.kept));
            apache_sys::apr_pool_userdata_set(text.cast(), KEY.as_ptr(), None, self.pool);
        }
    }
}

/// Looks at a descriptor by its number.
fn with<R>(number: RawFd, look: impl FnOnce(BorrowedFd<'_>) -> R) -> R {
    // SAFETY: the number is not -1, and nobody closes it meanwhile: a start has a single thread. If it is not
    // open, the system says so to whoever asks.
    look(unsafe { BorrowedFd::borrow_raw(number) })
}
