// SPDX-License-Identifier: Apache-2.0
//! The edge: sends the requests of a validation server to each address of a name, and the same request to the
//! listener of this machine. Imports `follow`, `names`, `local` and `http::probe`.

use super::case::{Kind, Look};
use super::follow::{End, Hop, Way, follow};
use super::{local, names};
use crate::dns::Resolver;
use crate::http::probe::{Failure, Limits, Probe, Seen, get};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Without `*.`.
    pub host: &'a str,
    /// `/.well-known/acme-challenge/TOKEN`.
    pub target: &'a str,
    pub kind: Kind,
}

/// Asks all addresses at once, as each may be silent for long.
pub fn all(
    request: &Request<'_>,
    addresses: &[IpAddr],
    resolver: &Resolver<'_>,
    limits: &Limits,
) -> Vec<Look> {
    thread::scope(|scope| {
        let looks: Vec<_> = addresses
            .iter()
            .map(|address| scope.spawn(|| one(request, *address, resolver, limits)))
            .collect();
        looks.into_iter().filter_map(|look| look.join().ok()).collect()
    })
}

fn one(request: &Request<'_>, address: IpAddr, resolver: &Resolver<'_>, limits: &Limits) -> Look {
    let is_https = request.kind == Kind::TlsAlpn01;
    let (host, target) = (request.host.to_string(), request.target.to_string());
    let url = format!("{}://{host}{target}", if is_https { "https" } else { "http" });
    let hop = Hop { url: url.clone(), is_https, host: host.clone(), target, address: Some(address) };
    let way = match request.kind {
        Kind::Http01 => follow(hop, &mut |hop| ask(hop, resolver, limits)),
        // A validation server sends no request here: what answers counts, and not where it leads to.
        Kind::TlsAlpn01 => {
            let end = ask(&hop, resolver, limits).map_or_else(End::Failed, End::Seen);
            Way { urls: vec![url], host, end }
        }
    };
    Look { address, is_here: local::is_here(address), way }
}

fn ask(hop: &Hop, resolver: &Resolver<'_>, limits: &Limits) -> Result<Seen, Failure> {
    let port = if hop.is_https { 443 } else { 80 };
    let addresses = match hop.address {
        Some(address) => vec![address],
        None => names::addresses(resolver, &hop.host),
    };
    let mut last = Failure::Other("the DNS has no address for it".into());
    for address in addresses {
        match send(SocketAddr::new(address, port), hop.is_https, &hop.host, &hop.target, limits) {
            Err(failure) if failure.is_unconnected() => last = failure,
            other => return other,
        }
    }
    Err(last)
}

/// What the listener of this machine answers, at the loopback addresses or at those of the name that are here.
pub fn own(request: &Request<'_>, port: u16, addresses: &[IpAddr], limits: &Limits) -> Result<Seen, Failure> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let here = addresses.iter().copied().filter(|address| local::is_here(*address));
    let mut first = None;
    for address in loopback.into_iter().chain(here) {
        let is_https = request.kind == Kind::TlsAlpn01;
        match send(SocketAddr::new(address, port), is_https, request.host, request.target, limits) {
            Err(failure) => _ = first.get_or_insert(failure),
            seen => return seen,
        }
    }
    Err(first.unwrap_or(Failure::Refused))
}

fn send(
    address: SocketAddr,
    is_https: bool,
    host: &str,
    target: &str,
    limits: &Limits,
) -> Result<Seen, Failure> {
    get(&Probe { address, is_https, host, target }, limits)
}
