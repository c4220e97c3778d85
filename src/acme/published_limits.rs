// SPDX-License-Identifier: Apache-2.0
//! The rate limits that CAs publish, where they are certain. Renewals keep to them before the CA has to
//! refuse. A CA is recognized by the host of its directory. Pure.

use crate::time::{DAY, Timestamp};
use crate::url::Url;
use std::time::Duration;

/// The limits of one CA. Limits without an entry here are learned from the CA's refusals (`rateLimited`,
/// 429).
#[derive(Debug)]
pub struct Limits {
    pub ca: &'static str,
    host: &'static str,
    /// Certificates for exactly the same names.
    pub duplicates: Limit,
    /// New orders of one account.
    pub orders: Limit,
}

/// As many at once, and then one more whenever `span / most` has passed.
#[derive(Debug)]
pub struct Limit {
    pub most: u32,
    pub span: Duration,
}

const WEEK: Duration = DAY.saturating_mul(7);
const THREE_HOURS: Duration = Duration::from_secs(3 * 3600);

/// <https://letsencrypt.org/docs/rate-limits/>, <https://letsencrypt.org/docs/staging-environment/>
const KNOWN: [Limits; 2] = [
    Limits {
        ca: "Let's Encrypt",
        host: "acme-v02.api.letsencrypt.org",
        duplicates: Limit { most: 5, span: WEEK },
        orders: Limit { most: 300, span: THREE_HOURS },
    },
    Limits {
        ca: "Let's Encrypt's staging environment",
        host: "acme-staging-v02.api.letsencrypt.org",
        duplicates: Limit { most: 30_000, span: WEEK },
        orders: Limit { most: 1500, span: THREE_HOURS },
    },
];

/// Those of the CA with this directory URL, regardless of its port and path.
pub fn of(directory: &str) -> Option<&'static Limits> {
    let url = Url::parse(directory).ok()?;
    let host = url.host().to_string();
    KNOWN.iter().find(|limits| limits.host == host.trim_end_matches('.'))
}

impl Limit {
    /// How long until there is one more.
    pub fn refill(&self) -> Duration {
        self.span / self.most
    }

    /// The use of the limit after `count` more at `at`, as the time when all of it will be available again.
    /// `full`: that time before.
    pub fn taken(&self, full: Timestamp, at: Timestamp, count: u32) -> Timestamp {
        full.max(at).plus(self.refill() * count.min(self.most))
    }

    /// When `wanted` are available.
    pub fn free_at(&self, full: Timestamp, wanted: u32) -> Timestamp {
        full.minus(self.refill() * (self.most - wanted.min(self.most)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_is_known_by_the_host_of_its_directory() {
        for (url, is_known) in [
            ("https://acme-v02.api.letsencrypt.org/directory", true),
            ("https://ACME-v02.api.letsencrypt.org./directory?x", true),
            ("https://acme-v02.api.letsencrypt.org:8443/", true),
            ("https://acme-staging-v02.api.letsencrypt.org/directory", true),
            ("https://proxy.test/acme-v02.api.letsencrypt.org/directory", false),
            ("https://acme-v02.api.letsencrypt.org.test/directory", false),
            ("https://acme.zerossl.com/v2/DV90", false),
            ("LetsEncrypt", false),
        ] {
            assert_eq!(of(url).is_some(), is_known, "{url}");
        }
    }

    #[test]
    fn what_was_taken_comes_back_one_by_one() {
        let limit = Limit { most: 3, span: Duration::from_secs(30) };
        let now = Timestamp::from_unix(1_800_000_000);
        let at = |seconds| now.plus(Duration::from_secs(seconds));
        let full = (0..3).fold(Timestamp::default(), |full, _| limit.taken(full, now, 1));
        assert_eq!(full, at(30));
        assert_eq!((limit.free_at(full, 1), limit.free_at(full, 3)), (at(10), at(30)));
        assert_eq!(limit.free_at(full, 9), at(30), "more than there can be");
        assert!(limit.free_at(limit.taken(Timestamp::default(), now, 1), 2) <= now);
    }
}
