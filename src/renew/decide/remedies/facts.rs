// SPDX-License-Identifier: Apache-2.0
//! The facts that an error has met, by which advice is chosen.

use crate::managed::Managed;
use crate::model::Md;
use crate::model::dns01::Way;
use crate::time::Timestamp;

/// The facts around an error.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub md: &'a Md,
    /// The directory of the CA that was asked.
    pub ca: Option<&'a str>,
    /// The CA is reached by a proxy that is configured.
    pub has_proxy: bool,
    /// That of `MDChallengeDns01`.
    pub dns01: Option<&'a Way>,
    /// Until when the CA wants no requests.
    pub until: Option<Timestamp>,
}

impl<'a> Facts<'a> {
    /// Before any CA is asked.
    pub fn of(target: &'a Managed) -> Self {
        Facts {
            md: &target.md,
            ca: None,
            has_proxy: target.route.proxy_url.is_some(),
            dns01: target.dns01.as_ref().map(|dns01| &dns01.way),
            until: None,
        }
    }
}

/// The address that a CA is asked at, for people who try it out.
pub(super) fn url_of<'a>(facts: &Facts<'a>) -> &'a str {
    facts.ca.unwrap_or("the CA")
}
