// SPDX-License-Identifier: Apache-2.0
//! The one real [`Transport`]: ureq over TCP connections that notice a stop, with TLS by OpenSSL.
//!
//! ureq provides HTTP/1.1, keep-alive and the CONNECT proxy; this module provides connecting, waiting and
//! TLS, because a wait must end when the process stops. Does not follow redirects. Only this file and those
//! below it name ureq.

mod adapter;
mod direct;
mod kept;
mod lines;
mod no_proxy;
mod proxy;
mod tcp;

pub use direct::{Direct, DirectOptions};
pub use lines::{LINE_MAX, Lines};

use super::tls::{Failure, Stream, Tls};
use super::{Error, MAX_BODY, Method, Request, Response, Transport};
use crate::time::StopFlag;
use adapter::{buffers, carried, opaque};
use kept::{Keep, Lost};
use no_proxy::NoProxy;
use proxy::{Forward, Forwarding, Proxies, WholeUrls};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;
use tcp::{Resolver, TcpConnector};
use ureq::config::{AutoHeaderValue, Config};
use ureq::unversioned::transport::{
    self, Buffers, ConnectProxyConnector, ConnectionDetails, Connector, LazyBuffers, NextTimeout,
    TransportAdapter,
};
use ureq::{Agent, AsSendBody, Body, Proxy, http};

/// Connections kept open for the next request: as many as jobs use one after the other, because a handshake
/// costs both sides more than most requests do.
const IDLE: usize = 32;

/// Bytes of each buffer of a connection, of which one through TLS has four: a request line, and the head of a response,
/// must fit into one. ureq's own size would have open connections hold half a megabyte each.
const BUFFER: usize = 32 * 1024;

/// How patient a client is with a server, and how much it takes from it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Looking up, connecting (TLS included), and any single wait for the server.
    pub stall: Duration,
    /// A whole exchange: a server that sends a byte now and then does not hold a job for hours.
    pub exchange: Duration,
    /// Bytes of a response's body.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { stall: Duration::from_secs(30), exchange: Duration::from_secs(300), body: MAX_BODY }
    }
}

pub struct Options {
    /// PEM certificates trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// `http://` or `https://` URL of a proxy; without one the environment's (`https_proxy`,
    /// `no_proxy`, …) is used.
    pub proxy_url: Option<String>,
    /// Like `ca_file`, for the TLS connection to the proxy itself.
    pub proxy_ca_file: Option<PathBuf>,
    pub user_agent: String,
    pub limits: Limits,
    /// Ends every wait when raised.
    pub stop: StopFlag,
}

/// An HTTP client with its pool of connections.
pub struct Client {
    /// Without a proxy.
    agent: Agent,
    /// Through the proxy of https.
    tunnels: Option<Agent>,
    /// Through that of plain http.
    forwarding: Option<Forwarding>,
    no_proxy: NoProxy,
    limits: Limits,
    stop: StopFlag,
}

impl Client {
    pub fn new(options: &Options) -> Result<Self, Error> {
        check_user_agent(&options.user_agent)?;
        let proxies = Proxies::find(options.proxy_url.as_deref())?;
        let proxy_tls = || Tls::new(options.proxy_ca_file.as_deref());
        let server_tls = || Tls::new(options.ca_file.as_deref());
        let stop = &options.stop;
        let forwarding = match proxies.http {
            Some(proxy) => {
                let connector = TlsConnector { server: proxy_tls()?, proxy: None };
                let chain = ().chain(TcpConnector::new(stop)).chain(connector);
                let chain = chain.chain(Keep { has_proxy: false }).chain(WholeUrls);
                let agent = Agent::with_parts(
                    config(&options.user_agent, options.limits, None),
                    chain,
                    Resolver(stop.clone()),
                );
                Some(Forwarding { agent, proxy })
            }
            None => None,
        };
        let tunnels = match proxies.https {
            Some(proxy) => {
                let connector = TlsConnector { server: server_tls()?, proxy: Some(proxy_tls()?) };
                let chain = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::new(stop));
                let chain = chain.chain(connector).chain(Keep { has_proxy: true });
                Some(Agent::with_parts(
                    config(&options.user_agent, options.limits, Some(proxy)),
                    chain,
                    Resolver(stop.clone()),
                ))
            }
            None => None,
        };
        let connector = TlsConnector { server: server_tls()?, proxy: None };
        let chain = ().chain(TcpConnector::new(stop)).chain(connector).chain(Keep { has_proxy: false });
        let agent = Agent::with_parts(
            config(&options.user_agent, options.limits, None),
            chain,
            Resolver(stop.clone()),
        );
        let (limits, stop) = (options.limits, stop.clone());
        Ok(Client { agent, tunnels, forwarding, no_proxy: proxies.none, limits, stop })
    }
}

/// ureq panics on a User-Agent that is no header value.
fn check_user_agent(user_agent: &str) -> Result<(), Error> {
    match http::HeaderValue::from_str(user_agent) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Invalid("the user agent has characters that no header can contain".into())),
    }
}

/// The settings of ureq: no redirects, no decompression, and every wait bounded.
fn config(user_agent: &str, limits: Limits, proxy: Option<Proxy>) -> Config {
    let Limits { stall, exchange, .. } = limits;
    Agent::config_builder()
        .proxy(proxy)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(user_agent)
        .accept_encoding(AutoHeaderValue::None)
        .input_buffer_size(BUFFER)
        .output_buffer_size(BUFFER)
        .max_response_header_size(BUFFER)
        .max_idle_connections(IDLE)
        .max_idle_connections_per_host(IDLE)
        .timeout_resolve(Some(stall))
        .timeout_connect(Some(stall))
        .timeout_per_read(Some(stall))
        .timeout_per_write(Some(stall))
        .timeout_global(Some(exchange))
        .build()
}

/// Which connection a request may use.
#[derive(Clone, Copy, PartialEq)]
enum Connection {
    /// One that is open already, or a new one.
    Any,
    New,
}

/// Why there is no response.
struct Failed {
    error: Error,
    /// The connection was an old one, and the server has closed it.
    is_lost: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed { error, is_lost: false }
    }
}

impl From<ureq::Error> for Failed {
    fn from(error: ureq::Error) -> Self {
        let (error, is_lost) = Lost::found_in(error);
        Failed { error: failure(error), is_lost }
    }
}

impl Transport for Client {
    fn send(&self, request: &Request<'_>) -> Result<Response, Error> {
        match self.exchange(request, Connection::Any) {
            Err(lost) if lost.is_lost => {
                crate::log!(Debug, "{}: {}, repeating the request", request.url, lost.error);
                self.exchange(request, Connection::New).map_err(|failed| failed.error)
            }
            result => result.map_err(|failed| failed.error),
        }
    }
}

impl Client {
    fn exchange(&self, request: &Request<'_>, connection: Connection) -> Result<Response, Failed> {
        if self.stop.is_raised() {
            return Err(Error::Stopped.into());
        }
        let builder = head(request)?;
        let is_direct = Proxies::is_direct(&self.no_proxy, request.url);
        let forwarding = self.forwarding.as_ref().filter(|_| !is_direct);
        let tunnels = self.tunnels.as_ref().filter(|_| !is_direct);
        let (agent, builder) = match (Forward::of(request.url), forwarding) {
            (Some(forward), Some(way)) => (&way.agent, way.address(builder, &forward).map_err(invalid)?),
            (Some(_), None) => (&self.agent, builder.uri(request.url)),
            (None, _) => (tunnels.unwrap_or(&self.agent), builder.uri(request.url)),
        };
        let mut response = match request.body {
            Some(body) => run(agent, builder.body(body).map_err(invalid)?, connection),
            None => run(agent, builder.body(()).map_err(invalid)?, connection),
        }?;
        let limit = u64::try_from(self.limits.body).unwrap_or(u64::MAX);
        let body = response.body_mut().with_config().limit(limit).read_to_vec()?;
        let text = |v: &http::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
        let headers = response.headers().iter().map(|(n, v)| (n.to_string(), text(v))).collect();
        Ok(Response::new(response.status().as_u16(), headers, body))
    }
}

/// All of a request but its URL and body.
fn head(request: &Request<'_>) -> Result<http::request::Builder, Error> {
    let mut builder = http::Request::builder().method(match request.method {
        Method::Get => http::Method::GET,
        Method::Head => http::Method::HEAD,
        Method::Post => http::Method::POST,
    });
    for (name, value) in [("accept", request.accept), ("content-type", request.content_type)] {
        if let Some(value) = value {
            builder = builder.header(name, value);
        }
    }
    for (name, value) in request.credentials {
        let unfit =
            |_| Error::Invalid(format!("the value for {name} has characters that no header can contain"));
        let mut value = http::HeaderValue::from_str(value).map_err(unfit)?;
        value.set_sensitive(true);
        builder = builder.header(*name, value);
    }
    Ok(builder)
}

fn invalid(error: http::Error) -> Error {
    Error::Invalid(format!("cannot build the request: {error}"))
}

fn run(
    agent: &Agent,
    request: http::Request<impl AsSendBody>,
    connection: Connection,
) -> Result<http::Response<Body>, ureq::Error> {
    match connection {
        Connection::Any => agent.run(request),
        // However young, an open one is too old.
        Connection::New => agent.run(agent.configure_request(request).max_idle_age(Duration::ZERO).build()),
    }
}

fn failure(error: ureq::Error) -> Error {
    match error {
        ureq::Error::Other(inner) => {
            inner.downcast::<Error>().map_or_else(|e| Error::other(e.to_string()), |own| *own)
        }
        ureq::Error::Io(e) => e.into(),
        ureq::Error::Timeout(_) => Error::Timeout,
        ureq::Error::HostNotFound => Error::Dns("no address found".into()),
        ureq::Error::BodyExceedsLimit(_) | ureq::Error::LargeResponseHeader(..) => Error::TooLarge,
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => Error::Invalid(error.to_string()),
        ureq::Error::ConnectProxyFailed(why) => Error::other(format!(
            "the HTTP proxy refused the connection ({})",
            why.rsplit('/').next().unwrap_or(&why)
        )),
        other => Error::other(other.to_string()),
    }
}

struct TlsConnector {
    server: Tls,
    /// For the connection to the proxy itself, which may be TLS too.
    proxy: Option<Tls>,
}

impl<In: transport::Transport> Connector<In> for TlsConnector {
    type Out = transport::Either<In, Secured>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        below: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(below) = below else { return Ok(None) };
        if !details.needs_tls() || below.is_tls() {
            return Ok(Some(transport::Either::A(below)));
        }
        // ureq connects to the proxy with a configuration that has none.
        let tls = match &self.proxy {
            Some(tls) if details.config.proxy().is_none() => tls,
            _ => &self.server,
        };
        let host = details.uri.host().ok_or(ureq::Error::HostNotFound)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let below: Box<dyn transport::Transport> = Box::new(below);
        let mut adapter = TransportAdapter::new(below, details.current_time.clone());
        adapter.set_timeout(details.timeout);
        match tls.connect(host, adapter) {
            Ok(stream) => Ok(Some(transport::Either::B(Secured { stream, buffers: buffers(details) }))),
            Err(Failure::Io(e)) => Err(e.into()),
            Err(Failure::Tls(e)) => Err(carried(e)),
        }
    }
}

struct Secured {
    stream: Stream<TransportAdapter>,
    buffers: LazyBuffers,
}

impl transport::Transport for Secured {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let room = self.buffers.input_append_buf();
        if room.is_empty() {
            return Err(carried(Error::TooLarge));
        }
        let amount = self.stream.read(room)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

opaque!(TlsConnector, Secured);
