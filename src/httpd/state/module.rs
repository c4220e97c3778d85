// SPDX-License-Identifier: Apache-2.0
//! The wrappers of [`sys`] with this module's configuration types, as `hooks` passes them to `start`, `serve`
//! and `child`.

use crate::httpd::sys;

/// The module, as [`sys::ModuleConf`] needs it: `hooks::record` ties it to its record.
#[derive(Clone, Copy)]
pub struct Module;

pub type Server<'p> = sys::Server<'p, Module>;
pub type Request<'r> = sys::Request<'r, Module>;
pub type Connection<'c> = sys::Connection<'c, Module>;
