// SPDX-License-Identifier: Apache-2.0
//! TXT records by dynamic updates (RFC 2136) signed with the key of a file. Adds and deletes one value, so
//! that others at the same name stay. Says what to do where the server refuses. Imports `dns` and `server`.

use super::Record;
use super::server::{self, Unknown};
use crate::dns::{self, BadKey, Change, Dns, Name, Resolver, TsigKey, Update, update};
use crate::model::dns01::{FileFault, Rfc2136};
use crate::time::Clock;
use std::net::SocketAddr;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the server process is stopping")]
    Stopped,
    #[error("{}", .0.what)]
    KeyFile(FileFault),
    #[error("the key file '{path}' cannot be used: {reason}")]
    BadKey { path: String, reason: BadKey },
    #[error("{0}")]
    Server(#[from] Unknown),
    #[error("the zone of the TXT record {name} is not known: {reason}")]
    NoZone {
        name: String,
        reason: String,
        /// No resolver has answered; where one has, there is none.
        is_unasked: bool,
    },
    #[error("the DNS server {server} has no address")]
    NoAddress { server: String },
    #[error("the record {name} is not in the zone {zone} that MDChallengeDns01 names")]
    OutsideZone { name: Name, zone: Name },
    #[error("{0}")]
    Name(#[from] dns::BadName),
    #[error("{}", .0.cause())]
    Update(Box<update::Failed>),
    /// By the only server that has got it: nothing is changed.
    #[error("{}", .0.cause())]
    Refused(Box<update::Failed>),
}

impl Error {
    /// Whole sentences.
    pub fn advice(&self) -> Option<String> {
        Some(match self {
            Error::Stopped => return None,
            Error::KeyFile(fault) => format!("{}.", fault.remedy),
            Error::BadKey { path, .. } => {
                format!("Write '{path}' with tsig-keygen (BIND) or 'keymgr -t' (Knot), and restart httpd.")
            }
            Error::Server(Unknown { server, .. }) | Error::NoAddress { server } => format!(
                "Correct the name '{server}' in MDChallengeDns01, or write its address there; httpd asks the name servers \
                 of /etc/resolv.conf for it, or those of MDDnsPropagation."
            ),
            Error::NoZone { .. } => {
                "Name the zone with zone= in MDChallengeDns01, or let this machine look it up: \
                name a resolver in /etc/resolv.conf or MDDnsPropagation that answers it."
                    .into()
            }
            Error::OutsideZone { name, zone } => format!(
                "Name the zone of {name} with zone=, or remove zone= so that it is looked up; where a CNAME record leads \
                 out of {zone}, correct that."
            ),
            Error::Name(_) => "Correct the name.".into(),
            Error::Update(failed) | Error::Refused(failed) => failed.advice(),
        })
    }

    /// Whether no server has got the request, or none has answered it; or it is not known whom to ask.
    pub fn is_unreached(&self) -> bool {
        match self {
            Error::Update(failed) => matches!(failed.reason, update::Reason::Exchange(_)),
            Error::Server(_) => true,
            Error::NoZone { is_unasked, .. } => *is_unasked,
            _ => false,
        }
    }

    fn is_stop(failed: &update::Failed) -> bool {
        matches!(failed.reason, update::Reason::Exchange(dns::Error::Stopped))
    }
}

/// Has the server of `way` do it.
pub fn change(
    way: &Rfc2136,
    record: &Record<'_>,
    zone: &Name,
    change: Change,
    dns: &dyn Dns,
    resolver: &Resolver<'_>,
    clock: &dyn Clock,
) -> Result<(), Error> {
    let key = key(way)?;
    let name = Name::parse(record.name)?;
    if !name.is_in(zone) {
        return Err(Error::OutsideZone { name, zone: zone.clone() });
    }
    let mut last = None;
    for server in server::addresses(&way.server, resolver)? {
        let update = update(server, zone, &name, record.value, change);
        match update.send(dns, &key, clock.now()) {
            Ok(()) => return Ok(()),
            Err(failed) if Error::is_stop(&failed) => return Err(Error::Stopped),
            // It answers by another address perhaps.
            Err(failed) if matches!(failed.reason, update::Reason::Exchange(_)) => last = Some(failed),
            Err(failed) if failed.reason.is_refusal() && last.is_none() => {
                return Err(Error::Refused(Box::new(failed)));
            }
            Err(failed) => return Err(Error::Update(Box::new(failed))),
        }
    }
    Err(match last {
        Some(failed) => Error::Update(Box::new(failed)),
        None => Error::NoAddress { server: way.server.clone() },
    })
}

fn update(server: SocketAddr, zone: &Name, name: &Name, value: &str, change: Change) -> Update {
    Update { server, zone: zone.clone(), name: name.clone(), value: value.into(), change }
}

fn key(way: &Rfc2136) -> Result<TsigKey, Error> {
    let text = way.key.text().map_err(Error::KeyFile)?;
    TsigKey::parse(text).map_err(|reason| Error::BadKey { path: way.key.path.clone(), reason })
}
