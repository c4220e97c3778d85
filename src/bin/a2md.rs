// SPDX-License-Identifier: Apache-2.0
//! The operator's command. Everything is in the library: [`mod_md::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(mod_md::cli::run(std::env::args_os()))
}
