// SPDX-License-Identifier: Apache-2.0
//! Ends long computations when the child process ends, because none may run while the child tears OpenSSL
//! down. Elsewhere (a start, commands, tests) nothing interrupts them.

use super::Error;
use crate::time::StopFlag;
use openssl::error::ErrorStack;
use openssl::pkey::Private;
use openssl::rsa::Rsa;
use std::sync::OnceLock;

/// Makes an RSA key of this many bits, and asks again and again whether to give up; then the answer is
/// `None`. The safe bindings of OpenSSL have no such thing: the layer that may call C hands it in.
pub type MakeRsa = fn(bits: u32, is_stopped: &dyn Fn() -> bool) -> Result<Option<Rsa<Private>>, ErrorStack>;

static CHILD: OnceLock<(StopFlag, MakeRsa)> = OnceLock::new();

/// From now on computations end when this flag is raised.
pub fn end_with(stop: StopFlag, make_rsa: MakeRsa) {
    let _ = CHILD.set((stop, make_rsa));
}

pub(super) fn is_stopped() -> bool {
    CHILD.get().is_some_and(|(stop, _)| stop.is_raised())
}

pub(super) fn make_rsa(bits: u32) -> Result<Rsa<Private>, Error> {
    match CHILD.get() {
        Some((stop, make)) => make(bits, &|| stop.is_raised())?.ok_or(Error::Stopped),
        None => Ok(Rsa::generate(bits)?),
    }
}
