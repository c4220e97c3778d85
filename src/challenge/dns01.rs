// SPDX-License-Identifier: Apache-2.0
//! The dns-01 challenge (RFC 8555 §8.4): a TXT record at `_acme-challenge.NAME`, added and removed in the way
//! that `MDChallengeDns01` names: [`command`] by a command of the admin, [`hook`] by one written for another
//! ACME client, [`rfc2136`] by dynamic updates, [`acme_dns`] at an acme-dns server, [`responder`] in httpd
//! itself. [`solver`] has the contract of all of them, [`place`] finds where the record has to stand,
//! [`propagation`] decides how long name servers are waited for. Each record is noted on disk before it is
//! set up, so that the process that follows a killed one removes it. The ways import what is here, and not
//! each other.

pub mod acme_dns;
pub mod command;
pub mod hook;
pub mod place;
pub mod propagation;
pub mod responder;
pub mod rfc2136;
pub mod server;
pub mod solver;

use crate::crypto;
use crate::names;
use data_encoding::BASE64URL_NOPAD;

/// Its type in ACME and in `MDCAChallenges`.
pub const TYPE: &str = "dns-01";

/// The note in `challenges/NAME/`: the values that were set up, each with its owner.
pub const NOTE: &str = "acme-dns-01.json";

/// Of SHA-256.
const DIGEST_LENGTH: usize = 32;

/// The value of the TXT record (RFC 8555 §8.4).
pub fn value(key_authorization: &str) -> String {
    BASE64URL_NOPAD.encode(&crypto::sha256(key_authorization.as_bytes()))
}

/// One TXT record to be set up or removed.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The name that is validated, without `*.`.
    pub domain: &'a str,
    /// Where the record stands once CNAMEs are followed, without the final dot.
    pub name: &'a str,
    pub value: &'a str,
    /// All names that are validated together with this one.
    pub all_domains: &'a [String],
    /// How many records of `all_domains` are set up, or removed, after this one.
    pub remaining: usize,
}

/// The name at which validators look for the record of `domain`.
pub fn record_name(domain: &str) -> String {
    format!("_acme-challenge.{domain}")
}

/// Whether a record is set up at this name. Those that the DNS leads to are the arguments of hooks: none is
/// an option, and none has a character that a shell knows.
pub fn is_plain(name: &str) -> bool {
    names::normalize(name).is_ok() && !name.starts_with('-')
}

/// Whether a renewal can have set up this record. Notes of records stand where every program of httpd's user
/// can write: they must not have another record removed by the rights that the renewal has in the DNS.
pub fn is_ours(name: &str, value: &str) -> bool {
    let digest = BASE64URL_NOPAD.decode(value.as_bytes());
    is_plain(name) && digest.is_ok_and(|digest| digest.len() == DIGEST_LENGTH)
}

/// Asks the admin to remove a record at this name that nothing can remove any more.
pub fn left_behind(name: &str, value: &str) -> String {
    format!("the TXT record '{value}' of {name} may still be there: remove it by hand")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_holds_the_digest_of_the_key_authorization() {
        // The digest is that of openssl(1).
        assert_eq!(value("token.thumbprint"), "61rBZ_4knHblO0MNoxFsXZ_eTFUHum0B6IVRbhvUn5I");
    }

    #[test]
    fn a_record_of_ours_has_a_digest_at_a_plain_name() {
        let own = value("token.thumbprint");
        for name in ["_acme-challenge.a.test", "A-Org.acme.test", "_x._acme-challenge.a.test"] {
            assert!(is_ours(name, &own), "{name}");
        }
        for name in ["", "-e.a.test", "a b.test", "$(id).a.test", "a;b.test", r"a\000.test", "a\n.test"] {
            assert!(!is_ours(name, &own), "{name}");
        }
        for other in ["", "v=spf1 -all", "AAAA", &format!("{own}="), &format!("{own}A"), &format!("{own}\n")]
        {
            assert!(!is_ours("_acme-challenge.a.test", other), "{other}");
        }
    }
}
