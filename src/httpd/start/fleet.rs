// SPDX-License-Identifier: Apache-2.0
//! The fleet of a start (`MDFleet`): its files, read while httpd is still root, and what children inherit. What
//! is of no use ends a start, and never a reload, which would end httpd: it goes on without the fleet.

use super::refusal::StartFailed;
use crate::config::Plan;
use crate::fleet::inherited::Inherited;
use crate::httpd::sys;
use crate::managed::Managed;
use crate::startup::fleet_files::{self, Files};
use crate::startup::fleet_sets;
use crate::store::StartStore;
use crate::time::StopFlag;

/// The files of the fleet, where there is one. The advice of a start has told what is wrong with them.
pub fn read(plan: &Plan) -> Result<Option<Files>, StartFailed> {
    let Some(fleet) = &plan.global.fleet else { return Ok(None) };
    match fleet_files::read(fleet) {
        Ok(files) => Ok(Some(files)),
        Err(_) if !sys::is_reload() => Err(StartFailed),
        Err(faults) => {
            faults.iter().for_each(|fault| go_on_without(&fault.text));
            Ok(None)
        }
    }
}

/// Makes the folder of the store that the child needs. Not called where the configuration is only checked.
pub fn prepare(store: &StartStore, files: Option<Files>) -> Result<Option<Files>, StartFailed> {
    let Some(files) = files else { return Ok(None) };
    let Err(error) = store.make_fleet_folder() else { return Ok(Some(files)) };
    let text = format!("MDFleet: the store's folder for the fleet cannot be made: {}", error.advised());
    if sys::is_reload() {
        go_on_without(&text);
        return Ok(None);
    }
    crate::log!(Crit, status = error.os_error().unwrap_or(0), "{text}");
    Err(StartFailed)
}

fn go_on_without(fault: &str) {
    crate::log!(
        Crit,
        "{fault} httpd goes on without the fleet: it serves what it has, and renews by itself. Reload httpd again once \
         this is corrected."
    );
}

/// What the child that replicates needs.
pub fn inherited(
    plan: &Plan,
    files: Option<Files>,
    store: &StartStore,
    mds: &[Managed],
    stop: &StopFlag,
) -> Option<Inherited> {
    let (fleet, files) = (plan.global.fleet.as_ref()?, files?);
    Some(files.inherited(fleet, stop.clone(), fleet_sets::unshared(store, mds)))
}
