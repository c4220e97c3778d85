// SPDX-License-Identifier: Apache-2.0
//! The glue to ureq that every connector of a chain shares: our errors inside ureq's, buffers, and names for
//! `Debug`.

use crate::http::Error;
use ureq::unversioned::transport::{ConnectionDetails, LazyBuffers};

/// ureq asks for `Debug` of everything in a chain; names are all that may be shown.
macro_rules! opaque {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}
pub(super) use opaque;

/// Our own errors travel through ureq in its escape hatch.
pub(super) fn carried(error: Error) -> ureq::Error {
    ureq::Error::Other(Box::new(error))
}

pub(super) fn buffers(details: &ConnectionDetails) -> LazyBuffers {
    LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size())
}
