// SPDX-License-Identifier: Apache-2.0
//! Proxies. For https they make a tunnel (ureq's part); plain http is asked of the proxy itself, with the
//! whole URL in the request (RFC 9112 §3.2.2), because few proxies make tunnels to port 80.

use super::super::Error;
use super::no_proxy::{self, NoProxy};
use data_encoding::BASE64;
use std::fmt;
use ureq::http::{self, request::Builder};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};
use ureq::{Agent, Proxy, ProxyProtocol};
use url::{Position, Url};

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
        let host = |url: Url| url.host_str().map(|host| none.has(host));
        !none.is_empty() && Url::parse(url).ok().and_then(host).unwrap_or_default()
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
        let url = Url::parse(url).ok().filter(|url| url.scheme() == "http")?;
        let host = url[Position::BeforeHost..Position::AfterPort].to_string();
        // Neither user nor fragment.
        let target = format!("http://{host}{}", &url[Position::BeforePath..Position::AfterQuery]);
        Some(Forward { host, target })
    }
}

/// For a proxy that wants to know who asks.
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
    /// What comes next is the begin of a request.
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

    #[test]
    fn the_whole_url_of_plain_http_is_told_but_for_user_and_fragment() {
        for (url, host, target) in [
            ("http://o.test", "o.test", "http://o.test/"),
            ("http://o.test:80/a%2Fb?c#d", "o.test", "http://o.test/a%2Fb?c"),
            ("http://u:p@[::1]:8080/x", "[::1]:8080", "http://[::1]:8080/x"),
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
