// SPDX-License-Identifier: Apache-2.0
//! The sockets of the DNS responder (`MDDnsListen`), bound while httpd is still root. A reload keeps those
//! that are still named and closes the others. An address that cannot be bound ends a start, as one of
//! `Listen` does, and never a reload, which would end httpd.

use super::refusal::StartFailed;
use crate::dns::Name;
use crate::httpd::state::Server;
use crate::httpd::sys;
use crate::metrics::Metrics;
use crate::model::DnsService;
use crate::responder::service::{Ending, Listening};
use crate::responder::sockets::{Place, Protocol};
use crate::responder::{Responder, Zones};
use crate::store::WorkStore;
use crate::time::Timestamp;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

/// The sockets of one configuration.
#[derive(Default)]
pub struct Bound(Listening);

/// Not called where the configuration is only checked.
pub fn bind(main: Server<'_>, service: &DnsService) -> Result<Bound, StartFailed> {
    let wanted = if service.is_on() { Place::all(&service.listen) } else { Vec::new() };
    let mut listening = sys::Listening::of(main);
    // First those that are named no more: they may be in the way of new ones.
    for kept in listening.kept().to_vec() {
        if !wanted.contains(&kept.place) {
            crate::log!(Info, "MDDnsListen: {} is closed", kept.place);
            listening.close(kept);
        }
    }
    let mut bound = Bound::default();
    for place in wanted {
        let socket = socket(&mut listening, place);
        if let Err(error) = socket.map(|socket| bound.add(place, socket)) {
            report(place, &error);
            if !sys::is_reload() {
                return Err(StartFailed);
            }
        }
    }
    Ok(bound)
}

/// The one that is kept, or a new one.
fn socket(listening: &mut sys::Listening, place: Place) -> io::Result<OwnedFd> {
    let is_of_place =
        |listening: &sys::Listening| listening.kept().iter().find(|kept| kept.place == place).copied();
    if is_of_place(listening).is_none() {
        listening.keep(place, place.open()?);
        crate::log!(Info, "MDDnsListen: {place} is open");
    }
    let kept = is_of_place(listening).ok_or_else(|| io::Error::other("it is closed already"))?;
    listening.duplicate(&kept)
}

impl Bound {
    pub fn is_any(&self) -> bool {
        !self.0.udp.is_empty() || !self.0.tcp.is_empty()
    }

    fn add(&mut self, place: Place, socket: OwnedFd) {
        match place.protocol {
            Protocol::Udp => self.0.udp.push(sys::datagrams(socket, place.address)),
            Protocol::Tcp => self.0.tcp.push(socket.into()),
        }
    }

    /// What children answer with; `None` where there is nothing to do.
    pub fn responder(
        self,
        service: &DnsService,
        store: WorkStore,
        metrics: Metrics,
        now: Timestamp,
    ) -> Option<Arc<Responder>> {
        if !self.is_any() {
            return None;
        }
        let zones = service.zones.iter().filter_map(|zone| {
            let hosts = zone.hosts.iter().filter_map(|host| Name::parse(host).ok()).collect();
            Some((Name::parse(&zone.zone).ok()?, hosts))
        });
        // Seconds wrap around in 2106, and serials are made for that (RFC 1982).
        let serial = (now.unix() & i64::from(u32::MAX)) as u32;
        Some(Arc::new(Responder {
            sockets: Mutex::new(Some(self.0)),
            zones: Zones::new(zones, serial),
            store,
            metrics,
            ending: Ending::default(),
            begin_thread: sys::block_signals,
        }))
    }
}

fn report(place: Place, error: &io::Error) {
    let status = error.raw_os_error().unwrap_or(0);
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "Another program has it ('ss -lntup' shows which; on many systems it is systemd-resolved, at 127.0.0.53), or \
             children from before a reload: name the address that the world asks instead of 0.0.0.0, or stop the other one"
        }
        io::ErrorKind::PermissionDenied => {
            "Ports below 1024 need root or CAP_NET_BIND_SERVICE: start httpd by root, or choose a high port that port 53 \
             is redirected to"
        }
        io::ErrorKind::AddrNotAvailable => {
            "This machine has no such address: 'ip addr' shows those that it has"
        }
        _ => "See what the system says",
    };
    let reason = crate::log::plain(error);
    if sys::is_reload() {
        crate::log!(
            Crit,
            status = status,
            "MDDnsListen {}: {place} cannot be bound: {reason}. httpd goes on and does not answer DNS questions there, so \
             that challenges of 'MDChallengeDns01 responder' may fail. {advice}, and reload httpd again.",
            place.address
        );
    } else {
        crate::log!(
            Crit,
            status = status,
            "MDDnsListen {}: {place} cannot be bound: {reason}. httpd does not start. {advice}, and start httpd again.",
            place.address
        );
    }
}
