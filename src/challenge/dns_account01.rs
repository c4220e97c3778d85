// SPDX-License-Identifier: Apache-2.0
//! The dns-account-01 challenge (draft-ietf-acme-dns-account-label): dns-01 with a record whose name holds a
//! label of the ACME account, so that several clients validate one name at the same time, each with a CNAME
//! of its own. The value and the ways to set it are those of dns-01. Imports `crypto`.

use super::dns01;
use crate::crypto;
use data_encoding::BASE32_NOPAD;

/// Its type in ACME and in `MDCAChallenges`.
pub const TYPE: &str = "dns-account-01";

/// The bytes of the digest in the label: 16 characters without padding.
const DIGEST_PART: usize = 10;

/// The name at which validators look for the record of `domain`. `account`: the account URL.
pub fn record_name(account: &str, domain: &str) -> String {
    format!("{}.{}", label(account), dns01::record_name(domain))
}

fn label(account: &str) -> String {
    let digest = crypto::sha256(account.as_bytes());
    let part = digest.get(..DIGEST_PART).unwrap_or_default();
    format!("_{}", BASE32_NOPAD.encode(part).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_is_the_one_of_the_draft() {
        // The example of the draft.
        assert_eq!(
            record_name("https://example.com/acme/acct/ExampleAccount", "example.org"),
            "_ujmmovf2vn55tgye._acme-challenge.example.org"
        );
    }

    #[test]
    fn each_account_has_its_label_which_is_a_label_of_the_dns() {
        let labels: Vec<String> = (0..100).map(|n| label(&format!("https://ca.test/acct/{n}"))).collect();
        for one in &labels {
            assert_eq!(labels.iter().filter(|other| *other == one).count(), 1);
            let rest = one.strip_prefix('_').unwrap();
            assert!(
                rest.len() == 16 && rest.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')),
                "{one}"
            );
        }
    }
}
