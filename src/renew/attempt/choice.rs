// SPDX-License-Identifier: Apache-2.0
//! The challenges of an authorization that this renewal can answer. Pure; refuses names that are not in the
//! order. Imports `challenge::selection`.

use super::context::Renewal;
use crate::acme;
use crate::acme::objects::{Authorization, Challenge};
use crate::challenge::selection;
use crate::renew::decide::error::Error;

/// The challenges that can be answered for a name, or why none of those offered can be.
pub(super) fn choose<'c>(
    renewal: &Renewal<'_>,
    authorization: &'c Authorization,
) -> Result<Vec<&'c Challenge>, Error> {
    if !renewal.target.md.domains.contains(&authorization.name()) {
        let name = authorization.name();
        let text = format!("the CA asks to prove control of {name}, which is not in the order");
        return Err(acme::Error::Protocol(text).into());
    }
    let means = renewal.settings().means(renewal.target);
    selection::choose(authorization, &means).map_err(|reason| Error::ChallengeMismatch {
        reason,
        offered: authorization.challenges.iter().map(|challenge| challenge.type_.clone()).collect(),
    })
}
