// SPDX-License-Identifier: Apache-2.0
//! The update of one managed domain, which `update` and `store update` share: finds it, has it changed, and
//! writes it if it is another one then. Decides nothing about its settings.

use super::{arguments, missing, open_locked, perform, stored};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::model::outcome::status;
use crate::store::StartStore;
use clap::ArgMatches;
use serde_json::Value;

/// `change` gets the managed domain that the first argument names, and the other arguments; `show` makes of it
/// what is printed.
pub fn amend(
    call: &mut Call,
    matches: &ArgMatches,
    change: impl FnOnce(&mut Call, &StartStore, &mut Value, &[String]) -> Result<(), Failure>,
    show: impl FnOnce(&Call, &StartStore, &mut Value) -> Value,
) -> Outcome {
    perform(call, |call, output| {
        let (store, _locked) = open_locked(call, "update")?;
        let arguments = arguments(matches);
        let Some((name, rest)) = arguments.split_first() else {
            return Err(missing(call, "needs md name", status::GENERAL));
        };
        let before = stored::find(&store, name)?;
        let mut md = before.clone();
        change(call, &store, &mut md, rest)?;
        let is_changed = md != before;
        if !is_changed {
            crate::log!(Info, "no changes necessary");
        }
        let shown = show(call, &store, &mut md);
        if is_changed {
            stored::write(&store, &md)?;
        }
        output.push(shown);
        Ok(())
    })
}
