// SPDX-License-Identifier: Apache-2.0
//! Proxies. ureq opens a tunnel for https. Plain http requests go to the proxy itself, with the whole URL in
//! the request line (RFC 9112 §3.2.2), because few proxies allow tunnels to port 80.

use super::super::Error;
use super::no_proxy::{self, NoProxy};
use crate::url::Url;
use data_encoding::BASE64;
use std::fmt;
use ureq::http::{self, request::Builder};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};
use ureq::{Agent, Proxy, ProxyProtocol};

/// Which way requests go.
#[derive(Default)]
pub(super) struct Proxies {
    pub https: Option<Proxy>,
    pub http: Option<Proxy>,
    /// For these hosts neither.
    pub none: NoProxy,
}

impl Proxies {
    /// The proxy of this URL, or without one those of the environment.
    pub fn find(url: Option<&str>) -> Result<Self, Error> {
        let env = |name: &str| std::env::var(name).ok();
        let none = NoProxy::from_env(env);
        let Some(url) = url else {
            let found = |scheme| no_proxy::proxy_for(scheme, env).and_then(|url| Proxy::new(&url).ok());
            return Ok(Proxies {
                https: found("https").filter(is_http),
                http: found("http").filter(is_http),
                none,
            });
        };
        // The URL may hold a password: the message does not show it.
        match Proxy::new(url) {
            Ok(proxy) if is_http(&proxy) => {
                Ok(Proxies { https: Some(proxy.clone()), http: Some(proxy), none })
            }
            _ => Err(Error::Proxy),
        }
    }

    /// Whether this URL is asked for without a proxy.
    pub fn is_direct(none: &NoProxy, url: &str) -> bool {
        !none.is_empty() && Url::parse(url).is_ok_and(|url| none.has(&url.host().to_string()))
    }
}

fn is_http(proxy: &Proxy) -> bool {
    matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https)
}

/// The way to servers of plain http.
pub(super) struct Forwarding {
    /// Connects to the proxy as if that were the server; its connections end with [`WholeUrl`].
    pub agent: Agent,
    pub proxy: Proxy,
}

impl Forwarding {
    pub fn address(&self, request: Builder, forward: &Forward) -> Result<Builder, http::Error> {
        let uri = http::Uri::builder()
            .scheme(if self.proxy.protocol() == ProxyProtocol::Https { "https" } else { "http" })
            .authority(format!("{}:{}", self.proxy.host(), self.proxy.port()))
            .path_and_query(format!("/{}", forward.target))
            .build()?;
        let request = request.uri(uri).header("host", &forward.host);
        let authorization = authorization(self.proxy.username(), self.proxy.password());
        Ok(authorization.iter().fold(request, |request, value| request.header("proxy-authorization", value)))
    }
}

/// A request for plain http, as the proxy is to see it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Forward {
    host: String,
    /// In the place of a path.
    target: String,
}

impl Forward {
    /// `None`: it is no URL of plain http.
    pub fn of(url: &str) -> Option<Forward> {
        let url = Url::parse(url).ok().filter(|url| !url.origin.is_https)?;
        let host = url.origin.authority();
        // Neither user nor fragment.
        let target = format!("http://{host}{}", url.target());
        Some(Forward { host, target })
    }
}

/// For a proxy that authenticates its clients.
fn authorization(user: Option<&str>, password: Option<&str>) -> Option<String> {
    let (user, password) = (user.or(password.map(|_| ""))?, password.unwrap_or_default());
    Some(format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes())))
}

/// The end of a chain of connectors to a proxy.
pub(super) struct WholeUrls;

impl<In: Transport> Connector<In> for WholeUrls {
    type Out = WholeUrl<In>;

    fn connect(&self, _: &ConnectionDetails, below: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(below.map(|below| WholeUrl { below, is_begin: true }))
    }
}

/// ureq can ask for paths alone: here `/http://…` loses its slash.
pub(super) struct WholeUrl<T> {
    below: T,
    /// The next byte begins a request.
    is_begin: bool,
}

impl<T: Transport> Transport for WholeUrl<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.below.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let is_begin = std::mem::take(&mut self.is_begin);
        let output = self.below.buffers().output().get_mut(..amount).filter(|_| is_begin);
        let amount = output.map_or(amount, without_slash);
        self.below.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.is_begin = true;
        self.below.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.below.is_open()
    }

    fn is_tls(&self) -> bool {
        self.below.is_tls()
    }
}

impl<T> fmt::Debug for WholeUrl<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WholeUrl")
    }
}

impl fmt::Debug for WholeUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WholeUrls")
    }
}

/// How long the request is then.
fn without_slash(request: &mut [u8]) -> usize {
    match request.windows(2).position(|two| two == b" /") {
        Some(space) => {
            request.copy_within(space + 2.., space + 1);
            request.len() - 1
        }
        None => request.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one_of(parts: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
        prop::sample::select(parts)
    }

    /// Often good, often not.
    fn urls() -> impl Strategy<Value = String> {
        let scheme = one_of(&["https://", "http://", "HTTP://", "https:", "https:///"]);
        let user =
            one_of(&["", "", "u@", "u:p@", "a@b@", "a.test:80@", "a.test\\@", "a.test%2f@", "[::1]@", "ü@"]);
        let host = one_of(&[
            "a.test",
            "A.Test.",
            "a_b",
            "127.1",
            "0x7f.1",
            "1.2.3.4.5",
            "[::1]",
            "[::FFFF:1.2.3.4]",
            "[::1]x",
            "[::1",
            "%41",
            "ü.test",
            "xn--a",
            "a|b",
            "a{b",
            "a\\b",
            "a b",
            "a\tb",
            "",
            ".",
            "a,b;c",
        ]);
        let port = one_of(&["", "", ":", ":80", ":443", ":0443", ":8443", ":0", ":65536", ":x", ":80:90"]);
        let tail = one_of(&[
            "",
            "/",
            "/x",
            "?@b.test",
            "#@b.test",
            "/@b.test",
            "\\@b.test",
            "@b.test",
            "/\\..//ü",
            "?a#b",
        ]);
        (scheme, user, host, port, tail).prop_map(|(a, b, c, d, e)| format!("{a}{b}{c}{d}{e}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// Origins and `no_proxy` are decided by our parser, and ureq connects where its own says.
        #[test]
        fn ureq_connects_to_the_server_that_was_checked(text in urls()) {
            if let (Ok(own), Ok(uri)) = (Url::parse(&text), text.parse::<http::Uri>()) {
                let reached = format!("{}://{}/", uri.scheme_str().unwrap(), uri.authority().unwrap());
                prop_assert_eq!(&Url::parse(&reached).unwrap().origin, &own.origin, "{}", text);
                let host = format!("http://{}/", uri.host().unwrap());
                prop_assert_eq!(&Url::parse(&host).unwrap().origin.host, own.host(), "{}", text);
                let port = uri.port_u16().unwrap_or(if own.origin.is_https { 443 } else { 80 });
                prop_assert_eq!(port, own.origin.port, "{}", text);
            }
        }
    }

    #[test]
    fn the_whole_url_of_plain_http_is_sent_but_for_user_and_fragment() {
        for (url, host, target) in [
            ("http://o.test", "o.test", "http://o.test/"),
            ("http://o.test:80/a%2Fb?c#d", "o.test", "http://o.test/a%2Fb?c"),
            ("http://u:p@[::1]:8080/x", "[::1]:8080", "http://[::1]:8080/x"),
            ("http://O.test/a b", "o.test", "http://o.test/a%20b"),
        ] {
            let forward = Forward { host: host.into(), target: target.into() };
            assert_eq!(Forward::of(url), Some(forward), "{url}");
        }
        assert_eq!(Forward::of("https://o.test/"), None);
        assert_eq!(Forward::of("o.test"), None);
    }

    #[test]
    fn user_and_password_of_a_proxy_are_optional() {
        assert_eq!(authorization(None, None), None);
        assert_eq!(authorization(Some("user"), Some("pass")).unwrap(), "Basic dXNlcjpwYXNz");
        assert_eq!(authorization(Some("user"), None).unwrap(), "Basic dXNlcjo=");
    }

    #[test]
    fn a_request_loses_the_slash_before_its_target_and_no_other() {
        let mut request = *b"GET /http://o.test/ /x";
        let length = without_slash(&mut request);
        assert_eq!(&request[..length], b"GET http://o.test/ /x");
        assert_eq!(without_slash(&mut b"GET".to_vec()), 3);
    }
}
