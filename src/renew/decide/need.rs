// SPDX-License-Identifier: Apache-2.0
//! What a renewal that is due is about, as the other nodes of a fleet have to know it. Pure.

use super::due::{self, Decision};
use super::next::Inputs;
use super::reason::Reason;
use crate::crypto::CertInfo;
use crate::managed::fit::Unfit;
use crate::managed::peers::Need;
use crate::managed::serve::Certs;
use crate::time::Timestamp;

/// With less than this part of its lifetime left, a certificate is late.
const LATE_PART: u32 = 20;

/// `certs`: all that are in use, also those of keys that are not configured.
pub fn need(inputs: &Inputs<'_>, certs: &Certs, now: Timestamp) -> Need {
    let is_good = |cert: &&CertInfo| cert.not_after > now && !(inputs.is_revoked)(cert);
    let is_late = |cert: &CertInfo| now >= late_from(cert);
    let is_bare = !certs.all().any(|cert| is_good(&cert));
    let is_different = matches!(
        inputs.need(now),
        Decision::Now(Reason::FormerCa(_) | Reason::Unfit(_, Unfit::MustStaple | Unfit::Missing))
    );
    let would_do = |cert: &CertInfo| {
        is_good(&cert) && inputs.md.is_covered_by(&cert.dns_names) && now < due::window_of(inputs.md, cert)
    };
    Need {
        is_asked: inputs.requested().is_some(),
        is_bare,
        is_late: certs.all().any(is_late),
        is_only_different: is_different && !is_bare && certs.all().all(would_do),
    }
}

fn late_from(cert: &CertInfo) -> Timestamp {
    cert.not_after.minus(cert.not_after.since(cert.not_before) / LATE_PART)
}
