// SPDX-License-Identifier: Apache-2.0
//! `MDRequireHttps`: decides which plain requests are redirected to https, and which responses carry HSTS
//! (RFC 6797). A pure function of the request; `httpd` performs the result.

use crate::model::RequireHttps;

/// Half a year, in seconds.
pub const HSTS: &str = "max-age=15768000";

/// The facts about a request that the ruling depends on.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub is_https: bool,
    /// GET or HEAD: these may lose their body on the way, as they have none.
    pub is_read: bool,
    /// Without port.
    pub host: &'a str,
    /// As sent, not decoded.
    pub path: &'a str,
    pub query: Option<&'a str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    Pass,
    Redirect {
        status: u16,
        location: String,
    },
    /// Pass, with `Strict-Transport-Security` where it is not set already.
    Secure,
}

/// The ruling of `MDRequireHttps mode` on a request. `/.well-known/` stays reachable as it is: CAs come there
/// without TLS.
pub fn rule(mode: RequireHttps, asked: &Asked<'_>) -> Ruling {
    let (moved, kept) = match mode {
        RequireHttps::Off => return Ruling::Pass,
        RequireHttps::Temporary => (302, 307),
        RequireHttps::Permanent => (301, 308),
    };
    if asked.is_https {
        return if mode == RequireHttps::Permanent { Ruling::Secure } else { Ruling::Pass };
    }
    if asked.path.starts_with("/.well-known/") || asked.host.is_empty() {
        return Ruling::Pass;
    }
    let query = asked.query.map(|query| format!("?{query}")).unwrap_or_default();
    let path = if asked.path.starts_with('/') { asked.path } else { "/" };
    Ruling::Redirect {
        status: if asked.is_read { moved } else { kept },
        location: if asked.host.contains(':') {
            format!("https://[{}]{path}{query}", asked.host)
        } else {
            format!("https://{}{path}{query}", asked.host)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> =
        Asked { is_https: false, is_read: true, host: "a.test", path: "/x%20y", query: Some("q=1") };

    fn redirect(status: u16, location: &str) -> Ruling {
        Ruling::Redirect { status, location: location.into() }
    }

    #[test]
    fn plain_requests_are_redirected_by_mode_and_method() {
        let location = "https://a.test/x%20y?q=1";
        let other = Asked { is_read: false, ..ASKED };
        assert_eq!(rule(RequireHttps::Temporary, &ASKED), redirect(302, location));
        assert_eq!(rule(RequireHttps::Temporary, &other), redirect(307, location));
        assert_eq!(rule(RequireHttps::Permanent, &ASKED), redirect(301, location));
        assert_eq!(rule(RequireHttps::Permanent, &other), redirect(308, location));
        assert_eq!(rule(RequireHttps::Off, &ASKED), Ruling::Pass);
        let literal = Asked { host: "::1", query: None, ..ASKED };
        assert_eq!(rule(RequireHttps::Temporary, &literal), redirect(302, "https://[::1]/x%20y"));
        let star = Asked { path: "*", query: None, ..ASKED };
        assert_eq!(rule(RequireHttps::Temporary, &star), redirect(302, "https://a.test/"));
    }

    #[test]
    fn challenges_stay_reachable_without_tls() {
        let well_known = Asked { path: "/.well-known/acme-challenge/x", ..ASKED };
        assert_eq!(rule(RequireHttps::Permanent, &well_known), Ruling::Pass);
    }

    #[test]
    fn secure_answers_carry_hsts_in_permanent_mode_alone() {
        let secure = Asked { is_https: true, ..ASKED };
        assert_eq!(rule(RequireHttps::Permanent, &secure), Ruling::Secure);
        assert_eq!(rule(RequireHttps::Temporary, &secure), Ruling::Pass);
    }
}
