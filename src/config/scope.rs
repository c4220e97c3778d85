// SPDX-License-Identifier: Apache-2.0
//! The values that the directives of one `server_rec` have set so far. Every field is an `Option`: an unset
//! one leaves the decision to the next level (server of the definition, main server, default).

use super::fleet::FleetLines;
use crate::model::dns01::{Propagation, Way};
use crate::model::{DnsService, Eab, KeySpec, RenewMode, RequireHttps};
use crate::time::TimeSlice;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Where a directive stands, and how to get at files it names.
pub struct Env<'a> {
    pub server_root: &'a Path,
    pub file: &'a str,
    pub line: u32,
    /// Inside `<If>` or another section that applies to some requests only.
    pub conditional: bool,
    /// Reads a whole file.
    pub read_file: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

/// The target and the surroundings of a parser.
pub struct Scope<'a> {
    pub server: &'a mut ServerConfig,
    pub env: &'a Env<'a>,
    /// The directive's name as the table spells it; set by [`Row::apply`](super::Row::apply).
    pub directive: &'static str,
    /// Out: `MDRequireHttps` stood in a conditional section; it holds there and not for the server.
    pub conditional_require_https: Option<RequireHttps>,
}

impl<'a> Scope<'a> {
    pub fn new(server: &'a mut ServerConfig, env: &'a Env<'a>) -> Self {
        Scope { server, env, directive: "", conditional_require_https: None }
    }

    /// The settings a directive goes to: those of the open section, or of the server.
    pub(super) fn settings(&mut self) -> &mut Settings {
        match &mut self.server.open {
            Some(section) => &mut section.settings,
            None => &mut self.server.settings,
        }
    }
}

/// The configuration of one `server_rec`, as far as it was written there.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    pub settings: Settings,
    pub host: HostSettings,
    pub globals: Globals,
    /// As written: zones may lack name servers.
    pub dns: DnsService,
    pub fleet: FleetLines,
    pub mds: Vec<MdSection>,
    /// The `<MDomain …>` whose inside is being read.
    pub open: Option<MdSection>,
}

/// One `MDomain` or `<MDomain …>`.
#[derive(Clone, Debug, Default)]
pub struct MdSection {
    /// In normal form, as written: never empty, maybe repeated; the first is the MD's name.
    pub names: Vec<String>,
    /// Words among them that cannot be names, each with the reason and the remedy.
    pub left_out: Vec<(String, String)>,
    pub settings: Settings,
    pub cert_files: Vec<String>,
    pub key_files: Vec<String>,
    pub defined_at: (String, u32),
}

/// How an MD gets its certificates. An inner `None` takes back what an outer level has set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub transitive: Option<bool>,
    /// Directory URLs, known names replaced; empty: the default CA.
    pub ca_urls: Option<Vec<String>>,
    pub ca_proto: Option<String>,
    pub ca_agreement: Option<String>,
    /// A URL (`mailto:…`).
    pub contact: Option<String>,
    pub eab: Option<Option<Eab>>,
    /// Of a new account.
    pub account_key: Option<KeySpec>,
    pub challenges: Option<Vec<String>>,
    /// A command has the version of the plan only.
    pub dns01: Option<Option<Way>>,
    pub dns01_timeout: Option<Duration>,
    pub dns01_propagation: Option<Propagation>,
    /// Empty: the default key.
    pub key_specs: Option<Vec<KeySpec>>,
    pub renew_mode: Option<RenewMode>,
    pub renew_window: Option<TimeSlice>,
    pub warn_window: Option<TimeSlice>,
    pub ari_renewals: Option<bool>,
    pub profile: Option<String>,
    pub profile_mandatory: Option<bool>,
    pub must_staple: Option<bool>,
    pub stapling: Option<bool>,
    pub require_https: Option<RequireHttps>,
    pub proxy_url: Option<String>,
    /// Absolute path.
    pub proxy_ca_certs: Option<Option<String>>,
    /// Absolute path.
    pub ca_certs: Option<Option<String>>,
}

/// The settings of a host, whether it has an MD or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostSettings {
    pub staple_others: Option<bool>,
    pub staple_keep: Option<TimeSlice>,
    pub staple_renew_window: Option<TimeSlice>,
    pub server_status: Option<bool>,
    pub certificate_status: Option<bool>,
    /// Name and URL of a certificate monitor.
    pub certificate_check: Option<(String, String)>,
}

/// The settings that the whole httpd has once, wherever they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Globals {
    pub store_dir: Option<String>,
    /// How long to wait for the lock of the store; inner `None`: do not lock.
    pub store_locks: Option<Option<Duration>>,
    pub port_http: Option<Option<u16>>,
    pub port_https: Option<Option<u16>>,
    pub base_server: Option<bool>,
    pub match_names: Option<MatchNames>,
    pub dns01_version: Option<u8>,
    pub notify_cmd: Option<String>,
    pub message_cmd: Option<String>,
    pub retry_delay: Option<Duration>,
    pub retry_failover: Option<u32>,
    pub initial_delay: Option<Duration>,
    pub check_interval: Option<Duration>,
    pub activation_delay: Option<Duration>,
    pub live_activation: Option<bool>,
    pub renew_parallel: Option<u32>,
}

/// How MDs find their hosts (`MDMatchNames`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatchNames {
    #[default]
    All,
    ServerNames,
}

/// The local ports on which requests to the public ports 80 and 443 arrive; `None`: they do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMap {
    pub http: Option<u16>,
    pub https: Option<u16>,
}

/// Every field of `own`, or that of `base` where `own` has none.
macro_rules! over {
    ($own:expr, $base:expr, $type:ident { $($field:ident),* $(,)? }) => {
        $type { $($field: $own.$field.clone().or_else(|| $base.$field.clone())),* }
    };
}

impl Settings {
    #[must_use]
    pub fn over(&self, base: &Settings) -> Settings {
        over!(
            self,
            base,
            Settings {
                transitive,
                ca_urls,
                ca_proto,
                ca_agreement,
                contact,
                eab,
                account_key,
                challenges,
                dns01,
                dns01_timeout,
                dns01_propagation,
                key_specs,
                renew_mode,
                renew_window,
                warn_window,
                ari_renewals,
                profile,
                profile_mandatory,
                must_staple,
                stapling,
                require_https,
                proxy_url,
                proxy_ca_certs,
                ca_certs,
            }
        )
    }
}

impl HostSettings {
    #[must_use]
    pub fn over(&self, base: &HostSettings) -> HostSettings {
        over!(
            self,
            base,
            HostSettings {
                staple_others,
                staple_keep,
                staple_renew_window,
                server_status,
                certificate_status,
                certificate_check,
            }
        )
    }
}

impl Globals {
    #[must_use]
    pub fn over(&self, base: &Globals) -> Globals {
        over!(
            self,
            base,
            Globals {
                store_dir,
                store_locks,
                port_http,
                port_https,
                base_server,
                match_names,
                dns01_version,
                notify_cmd,
                message_cmd,
                retry_delay,
                retry_failover,
                initial_delay,
                check_interval,
                activation_delay,
                live_activation,
                renew_parallel,
            }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_values_win_and_an_own_none_takes_back_the_outer_value() {
        let base = Settings {
            profile: Some("outer".into()),
            must_staple: Some(true),
            eab: Some(Some(Eab { kid: "k".into(), hmac: "h".into() })),
            ..Settings::default()
        };
        let own = Settings { profile: Some("own".into()), eab: Some(None), ..Settings::default() };
        let merged = own.over(&base);
        assert_eq!(merged.profile.as_deref(), Some("own"));
        assert_eq!(merged.must_staple, Some(true));
        assert_eq!(merged.eab, Some(None));
    }
}
