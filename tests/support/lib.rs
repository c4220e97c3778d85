// SPDX-License-Identifier: Apache-2.0
//! The lab: real httpd, a real ACME CA and its DNS, each started by the test on free ports of 127.0.0.1 and
//! stopped by it.
//!
//! A test opens a [`Lab`] with [`open_lab!`], which gives it a folder and ports, or says why the test is
//! skipped. Everything waits for conditions with a deadline. Nothing is left running: children die with the
//! test, and the folder of a passed test goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod apache;
pub mod browser;
pub mod certificate;
pub mod clocks;
pub mod command;
pub mod difference;
pub mod dns;
pub mod ends;
pub mod etcd;
pub mod fleet;
pub mod forwarder;
pub mod front;
pub mod http;
pub mod httpd;
pub mod issuer;
pub mod knot;
pub mod lab;
pub mod module;
pub mod named;
pub mod ocsp_response;
pub mod own_ca;
pub mod pebble;
pub mod preload;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod redis;
pub mod responder;
pub mod sanitizer;
pub mod staple;
pub mod strace;
pub mod stream;
pub mod tls;
pub mod unbound;

pub use command::Command;
pub use httpd::{Account, Config, Httpd};
pub use lab::{Lab, Need, RaisedAtEnd, wait_for};
pub use pebble::{Authority, Pebble};
pub use proxy::Proxy;

use std::path::Path;
use std::time::Duration;

/// The time in which anything that needs one or a few round trips must have happened, on a machine that is
/// busy.
pub const SOON: Duration = Duration::from_secs(40);

/// Opens the lab of the calling test: `open_lab!()` or `open_lab!(Need::Root, …)`. `None`: skipped, and the
/// reason is printed.
#[macro_export]
macro_rules! open_lab {
    ($($need:expr),* $(,)?) => {{
        fn here() {}
        $crate::Lab::open(std::any::type_name_of_val(&here), &[$($need),*])
    }};
}

/// The folder of the sources.
pub fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap()
}
