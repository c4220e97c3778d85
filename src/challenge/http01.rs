// SPDX-License-Identifier: Apache-2.0
//! The http-01 challenge (RFC 8555 §8.3): the responses below `/.well-known/acme-challenge/`, from the file of
//! a name that holds its key authorization.

use crate::model::Md;

/// Its type in ACME and in `MDCAChallenges`.
pub const TYPE: &str = "http-01";

/// The file in `challenges/NAME/`.
pub const FILE_NAME: &str = "acme-http-01.txt";

/// The note beside it: all answers that are in place, each with its owner.
pub const NOTE: &str = "acme-http-01.json";

/// The response to a request for `token`, given the content of the file: the content if its token part is the
/// requested one. A text without a dot is no key authorization; it was put there by hand and is served for
/// any token.
pub fn answer<'a>(content: &'a str, token: &str) -> Option<&'a str> {
    match content.split_once('.') {
        Some((own, _)) => (own == token).then_some(content),
        None => Some(content),
    }
}

/// Whether a request below the path that finds no answer ends with 404, so that no other content can pass for
/// one: where this module renews, and may do so by http-01. All else is left to others: certbot and lego
/// serve their own answers from the web root.
pub fn is_ours(md: &Md) -> bool {
    let configured = &md.ca.challenges;
    md.left_alone().is_none() && (configured.is_empty() || configured.iter().any(|kind| kind == TYPE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::key_authorization;
    use crate::model::{Ca, RenewMode};

    #[test]
    fn a_key_authorization_is_served_to_its_own_token_alone() {
        let content = key_authorization("tok-1", "thumb");
        assert_eq!(content, "tok-1.thumb");
        assert_eq!(answer(&content, "tok-1"), Some("tok-1.thumb"));
        for other in ["tok-2", "tok-1.thumb", "", "tok", "TOK-1"] {
            assert_eq!(answer(&content, other), None, "{other}");
        }
    }

    #[test]
    fn a_plain_text_without_a_dot_is_served_as_it_is() {
        assert_eq!(answer("hello there\n", "any"), Some("hello there\n"));
        assert_eq!(answer("", "any"), Some(""));
    }

    #[test]
    fn the_path_belongs_to_the_module_where_it_renews_and_may_use_http_01() {
        use RenewMode::{Always, Auto, Manual};
        let types = |types: &[&str]| types.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (mode, has_static_files, expected) in [
            (Auto, false, true),
            (Auto, true, false),
            (Always, false, true),
            (Always, true, true),
            (Manual, false, false),
            (Manual, true, false),
        ] {
            let md = |challenges: &[String]| Md {
                renew_mode: mode,
                cert_files: if has_static_files { vec!["/x".into()] } else { Vec::new() },
                ca: Ca { challenges: challenges.to_vec(), ..Ca::default() },
                ..Md::default()
            };
            for possible in [types(&[]), types(&[TYPE]), types(&["dns-01", TYPE])] {
                assert_eq!(is_ours(&md(&possible)), expected, "{mode:?} {possible:?}");
            }
            for other in [types(&["dns-01"]), types(&["tls-alpn-01", "dns-01"])] {
                assert!(!is_ours(&md(&other)), "{mode:?} {other:?}");
            }
        }
    }
}
