// SPDX-License-Identifier: Apache-2.0
//! Values of the domain: a managed domain and its settings, its keys, the state of a renewal job.
//! They know their JSON in the store, and nothing about files, network or clock. Imports `names` and `time`.

pub mod ari;
pub mod bounded;
pub mod dns01;
pub mod dns_service;
pub mod fleet_report;
pub mod fleet_request;
pub mod job;
pub mod key_spec;
pub mod ledger;
pub mod md;
pub mod modes;
pub mod outcome;
pub mod request;
pub mod requested;
pub mod retry_state;
pub mod route;

pub use dns_service::{DnsService, DnsZone};
pub use dns01::Dns01;
pub use fleet_report::{FleetReport, Renewing, ReportedNode};
pub use fleet_request::{FleetOp, FleetRequest};
pub use job::{HeldBack, HeldBy, Job, LogEntry, Outcome, Trial, Waiting};
pub use key_spec::KeySpec;
pub use md::{Ca, Eab, Md, State};
pub use modes::{NotRenewed, RenewMode, RequireHttps};
pub use request::{Answer, Op, Renew, Request, RequestState};
pub use requested::Requested;
pub use retry_state::{RateLimit, RetryState, Scope};
pub use route::Route;
