// SPDX-License-Identifier: Apache-2.0
//! Refuses calls that make no sense, as httpd belongs to no fleet, and says how one comes to be.

use crate::cli::console::call::Failure;
use crate::cli::site::Site;

const TO_BEGIN: &str = "MDFleet URL and MDFleetSecretFile FILE in httpd's configuration make one; 'a2md fleet secret --out FILE' makes \
     its secret.";

/// Fails where a call makes no sense, as there is no fleet.
pub fn check(site: &Site) -> Result<(), Failure> {
    if site.is_in_fleet() {
        return Ok(());
    }
    let dir = site.dir.display();
    Err(match site.configuration {
        Some(_) => {
            Failure::new(format!("the httpd with the store {dir} belongs to no fleet")).advice(TO_BEGIN)
        }
        None => Failure::new(format!(
            "nothing in the store {dir} tells of a fleet, and httpd could not be asked"
        ))
        .advice(format!(
            "{TO_BEGIN} Where it has them, name httpd's control program by --httpd, and call a2md as root."
        )),
    })
}
