//! Renewing certificates: when ([`policy`]), what one attempt does ([`flow`]), which jobs run
//! ([`driver`]), how the store follows the configuration ([`sync`]) and how new sets go live
//! ([`activate`]).

pub mod account;
pub mod activate;
pub mod ari;
pub mod authority;
pub mod challenges;
pub mod driver;
pub mod engine;
pub mod error;
mod failure;
pub mod fallback;
#[cfg(test)]
pub mod fixture;
pub mod flow;
pub mod hint;
pub mod hold;
mod inquiry;
pub mod job;
pub mod pace;
pub mod policy;
pub mod restart;
pub mod session;
pub mod set;
pub mod slots;
pub mod staging;
#[cfg(test)]
mod start_tests;
pub mod state;
pub mod sync;

use crate::challenge::dns01;
use crate::model::Md;
use state::KeyedCert;

/// A managed domain as the running server knows it: settings complete, certificates in use read.
#[derive(Clone, Debug)]
pub struct Managed {
    pub md: Md,
    /// One entry for each of the MD's keys; `None` where there is no certificate.
    pub certs: Vec<KeyedCert>,
    /// Some host has this MD.
    pub in_use: bool,
    /// Renewal looks after it.
    pub watched: bool,
    /// The command that answers dns-01, the server's or its own.
    pub dns01: Option<dns01::Command>,
    /// How its CA is reached: server-level settings resolved, which md.json does not show.
    pub route: Route,
}

/// The way to a CA. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Route {
    pub ca_file: Option<String>,
    pub proxy_url: Option<String>,
    pub proxy_ca_file: Option<String>,
}
