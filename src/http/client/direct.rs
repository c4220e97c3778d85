// SPDX-License-Identifier: Apache-2.0
//! The client of a server inside: no proxy, and certificates as bytes. Its answers may be streams.

use super::lines::Lines;
use super::tcp::{InSlices, Resolver, TcpConnector};
use super::{
    Client, Connection, Keep, Limits, NoProxy, TlsConnector, check_user_agent, config, failure, head, invalid,
};
use crate::http::tls::Tls;
use crate::http::{Error, Request, Response, Transport};
use crate::time::StopFlag;
use std::sync::atomic::Ordering;
use std::time::Duration;
use ureq::Agent;
use ureq::unversioned::transport::Connector;

#[derive(Clone)]
pub struct DirectOptions {
    /// PEM certificates trusted instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// PEM certificate chain and key.
    pub client_pem: Option<(Vec<u8>, Vec<u8>)>,
    pub user_agent: String,
    pub limits: Limits,
    /// Ends every wait when raised.
    pub stop: StopFlag,
}

/// A client that no proxy of the environment comes between.
pub struct Direct {
    client: Client,
    tls: Tls,
    user_agent: String,
}

impl Direct {
    pub fn new(options: DirectOptions) -> Result<Self, Error> {
        let DirectOptions { ca_pem, client_pem, user_agent, limits, stop } = options;
        check_user_agent(&user_agent)?;
        let client_pem = client_pem.as_ref().map(|(chain, key)| (chain.as_slice(), key.as_slice()));
        let tls = Tls::inside(ca_pem.as_deref(), client_pem)?;
        let connector = TlsConnector { server: tls.clone(), proxy: None };
        let chain = ().chain(TcpConnector::new(&stop)).chain(connector).chain(Keep { has_proxy: false });
        let agent = Agent::with_parts(config(&user_agent, limits, None), chain, Resolver(stop.clone()));
        let no_proxy = NoProxy::default();
        let client = Client { agent, tunnels: None, forwarding: None, no_proxy, limits, stop };
        Ok(Direct { client, tls, user_agent })
    }

    /// Like `send`, but never sends a request again that the server may have got already.
    pub fn send_once(&self, request: &Request<'_>) -> Result<Response, Error> {
        self.client.exchange(request, Connection::Any).map_err(|failed| failed.error)
    }

    /// Sends a request whose answer has no end, and returns once the answer's head is there. The connection is
    /// its own: it ends with the stream.
    pub fn stream(&self, request: &Request<'_>) -> Result<Lines, Error> {
        let Limits { stall, .. } = self.client.limits;
        let (in_slices, stop) = (InSlices::default(), self.client.stop.clone());
        if stop.is_raised() {
            return Err(Error::Stopped);
        }
        let tcp = TcpConnector { stop: stop.clone(), in_slices: in_slices.clone() };
        let chain = ().chain(tcp).chain(TlsConnector { server: self.tls.clone(), proxy: None });
        let config = config(&self.user_agent, self.client.limits, None);
        let agent = Agent::with_parts(config, chain, Resolver(stop.clone()));
        let request =
            head(request)?.uri(request.url).body(request.body.unwrap_or_default()).map_err(invalid)?;
        let request = agent
            .configure_request(request)
            .timeout_global(None)
            .timeout_recv_response(Some(stall))
            .max_idle_age(Duration::ZERO)
            .build();
        let response = agent.run(request).map_err(failure)?;
        in_slices.store(true, Ordering::Relaxed);
        Ok(Lines::new(response, stop))
    }
}

impl Transport for Direct {
    fn send(&self, request: &Request<'_>) -> Result<Response, Error> {
        self.client.send(request)
    }
}
