// SPDX-License-Identifier: Apache-2.0
//! Follows redirects as a validation server does: ten at most, to ports 80 and 443 alone, no address in place
//! of a name, nothing twice. Decides by answers alone; whoever calls asks. Imports `url` and `http::probe`.

use crate::http::probe::{Failure, Seen};
use crate::url::{Host, Url};
use std::net::IpAddr;

/// RFC 8555 leaves it open; large CAs follow ten.
pub const REDIRECTS_MAX: usize = 10;
/// Bytes of a URL.
const URL_MAX: usize = 2000;

/// A request on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    pub url: String,
    pub is_https: bool,
    pub host: String,
    /// Path and query.
    pub target: String,
    /// The one that is looked at, as long as the name is the same; `None`: any of `host`.
    pub address: Option<IpAddr>,
}

/// Why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It leads to where the way has been.
    Loop,
    TooMany,
    Port(u16),
    /// Neither http nor https.
    Scheme,
    /// An address in place of a name.
    Address,
    /// No URL.
    Unreadable,
}

/// Where the way ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Seen(Seen),
    Failed(Failure),
    /// The last hop answered so. The target as the server sent it.
    Stopped {
        stop: Stop,
        seen: Seen,
        target: String,
    },
}

/// The whole way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// URLs, the first one first.
    pub urls: Vec<String>,
    /// The name at its end.
    pub host: String,
    pub end: End,
}

impl Way {
    pub fn is_redirected(&self) -> bool {
        self.urls.len() > 1
    }
}

/// Goes from `first` to where it ends.
pub fn follow(first: Hop, ask: &mut dyn FnMut(&Hop) -> Result<Seen, Failure>) -> Way {
    let mut urls = vec![first.url.clone()];
    let mut hop = first;
    loop {
        let seen = match ask(&hop) {
            Ok(seen) => seen,
            Err(failure) => return Way { urls, host: hop.host, end: End::Failed(failure) },
        };
        let Some(target) = location(&seen).map(String::from) else {
            return Way { urls, host: hop.host, end: End::Seen(seen) };
        };
        let next = next(&hop, &target).and_then(|next| match () {
            () if urls.contains(&next.url) => Err(Stop::Loop),
            () if urls.len() > REDIRECTS_MAX => Err(Stop::TooMany),
            () => Ok(next),
        });
        match next {
            Ok(next) => {
                urls.push(next.url.clone());
                hop = next;
            }
            Err(stop) => return Way { urls, host: hop.host, end: End::Stopped { stop, seen, target } },
        }
    }
}

/// The target of a redirect.
fn location(seen: &Seen) -> Option<&str> {
    matches!(seen.status, 301 | 302 | 303 | 307 | 308).then(|| seen.header("location"))?
}

fn next(hop: &Hop, target: &str) -> Result<Hop, Stop> {
    let url = absolute(hop, target);
    if url.len() > URL_MAX {
        return Err(Stop::Unreadable);
    }
    let parsed = Url::parse(&url).map_err(|error| match error {
        crate::url::UrlError::Scheme => Stop::Scheme,
        _ => Stop::Unreadable,
    })?;
    let Host::Name(host) = parsed.host() else { return Err(Stop::Address) };
    let host = host.trim_end_matches('.').to_string();
    let is_https = parsed.origin.is_https;
    if parsed.origin.port != 80 && parsed.origin.port != 443 {
        return Err(Stop::Port(parsed.origin.port));
    }
    // The scheme says which port, also where the other one is written.
    if (parsed.origin.port == 443) != is_https {
        return Err(Stop::Port(parsed.origin.port));
    }
    let address = if host == hop.host { hop.address } else { None };
    let target = parsed.target();
    let url = format!("{}://{host}{target}", if is_https { "https" } else { "http" });
    Ok(Hop { url, is_https, host, target, address })
}

/// The target as an absolute URL (RFC 3986 §5.2), as far as redirects need it.
fn absolute(hop: &Hop, target: &str) -> String {
    let target = target.split('#').next().unwrap_or_default();
    let scheme = if hop.is_https { "https" } else { "http" };
    let has_scheme = target.split(['/', '?']).next().is_some_and(|first| first.contains(':'));
    if has_scheme {
        return target.to_string();
    }
    if target.starts_with("//") {
        return format!("{scheme}:{target}");
    }
    let path = hop.target.split('?').next().unwrap_or_default();
    let joined = match target.chars().next() {
        Some('/') => target.to_string(),
        Some('?') | None => format!("{path}{target}"),
        Some(_) => format!("{}/{target}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
    };
    format!("{scheme}://{}{joined}", hop.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn first() -> Hop {
        let (url, host) = ("http://a.test/.well-known/x".to_string(), "a.test".to_string());
        Hop { url, is_https: false, host, target: "/.well-known/x".into(), address: Some(HERE) }
    }

    fn to(target: &str) -> Seen {
        Seen::new(302, &[("Location", target)], b"")
    }

    #[test]
    fn targets_are_read_as_browsers_do_and_only_the_web_is_gone_to() {
        let url = |target: &str| next(&first(), target).map(|hop| (hop.url, hop.address.is_some()));
        for (target, expected, is_same) in [
            ("https://a.test/y", "https://a.test/y", true),
            ("HTTPS://A.test:443/y?z#f", "https://a.test/y?z", true),
            ("//a.test./y", "http://a.test/y", true),
            ("/y", "http://a.test/y", true),
            ("y", "http://a.test/.well-known/y", true),
            ("?y", "http://a.test/.well-known/x?y", true),
            ("", "http://a.test/.well-known/x", true),
            ("http://b.test", "http://b.test/", false),
        ] {
            assert_eq!(url(target), Ok((expected.to_string(), is_same)), "{target}");
        }
        for (target, stop) in [
            ("http://a.test:8080/", Stop::Port(8080)),
            ("http://a.test:443/", Stop::Port(443)),
            ("https://a.test:80/", Stop::Port(80)),
            ("ftp://a.test/", Stop::Scheme),
            ("file:///etc/passwd", Stop::Scheme),
            ("http://127.0.0.1/", Stop::Address),
            ("http://[::1]/", Stop::Address),
            ("http://0x7f.1/", Stop::Address),
            ("http://a b/", Stop::Unreadable),
            ("http:///", Stop::Unreadable),
        ] {
            assert_eq!(url(target), Err(stop), "{target}");
        }
        assert_eq!(url(&"x".repeat(3000)), Err(Stop::Unreadable));
    }

    #[test]
    fn a_way_ends_with_an_answer_a_failure_a_loop_or_after_ten_redirects() {
        let way = follow(first(), &mut |hop| match hop.is_https {
            false => Ok(to("https://a.test/y")),
            true => Ok(Seen::new(200, &[], b"text")),
        });
        assert_eq!((way.urls.len(), way.is_redirected()), (2, true));
        assert_eq!(way.end, End::Seen(Seen::new(200, &[], b"text")));
        let way = follow(first(), &mut |_| Err(Failure::Refused));
        assert_eq!(way.end, End::Failed(Failure::Refused));
        let way = follow(first(), &mut |hop| {
            Ok(to(if hop.is_https { "http://a.test/.well-known/x" } else { "https://a.test/" }))
        });
        assert!(matches!(way.end, End::Stopped { stop: Stop::Loop, .. }), "{way:?}");
        let mut asked = 0;
        let way = follow(first(), &mut |_| {
            asked += 1;
            Ok(to(&format!("/{asked}")))
        });
        assert!(matches!(way.end, End::Stopped { stop: Stop::TooMany, .. }), "{way:?}");
        assert_eq!((asked, way.urls.len()), (11, 11));
        let way = follow(first(), &mut |_| Ok(Seen::new(302, &[], b"")));
        assert!(matches!(way.end, End::Seen(_)), "without a target it is an answer");
    }
}
