// SPDX-License-Identifier: Apache-2.0
//! Values that several directives share: on/off, durations, windows, paths, numbers. Each reads the first
//! argument and refuses it in the directive's own words.

use super::{Env, Error, MatchNames, Scope};
use crate::model::{RenewMode, RequireHttps};
use crate::time::{TimeSlice, parse_duration_millis};
use std::time::Duration;

/// `MDStoreLocks on`: how long to wait.
const STORE_LOCK_WAIT: Duration = Duration::from_secs(5);

/// Stores a parsed value, or passes the error on.
pub(super) fn set<T>(slot: &mut Option<T>, value: Result<T, Error>) -> Result<(), Error> {
    *slot = Some(value?);
    Ok(())
}

/// httpd has counted the arguments: where one is due there is one.
pub(super) fn first<'a>(args: &[&'a str]) -> &'a str {
    args.first().copied().unwrap_or_default()
}

pub(super) fn text(args: &[&str]) -> Result<String, Error> {
    Ok(first(args).trim().to_string())
}

pub(super) fn words(args: &[&str]) -> Result<Vec<String>, Error> {
    Ok(args.iter().filter(|a| !a.is_empty()).map(|a| (*a).to_string()).collect())
}

pub(super) fn on_off(args: &[&str]) -> Result<bool, Error> {
    let value = first(args);
    match value.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Error(format!("unknown '{value}', supported parameter values are 'on' and 'off'"))),
    }
}

/// A path made absolute. The file need not exist yet.
pub(super) fn path(env: &Env<'_>, args: &[&str]) -> Result<String, Error> {
    Ok(env.server_root.join(first(args)).to_string_lossy().into_owned())
}

pub(super) fn path_or_none(env: &Env<'_>, args: &[&str]) -> Result<Option<String>, Error> {
    if first(args).eq_ignore_ascii_case("none") { Ok(None) } else { path(env, args).map(Some) }
}

/// A window of any length (`MDStaplingKeepResponse`).
pub(super) fn window(directive: &str, args: &[&str]) -> Result<TimeSlice, Error> {
    TimeSlice::parse(first(args)).ok_or_else(|| Error(format!("{directive} has unrecognized format")))
}

/// A window that must be shorter than the lifetime it is a part of.
pub(super) fn partial_window(directive: &str, args: &[&str]) -> Result<TimeSlice, Error> {
    match window(directive, args)? {
        TimeSlice::Percent(100..) => {
            Err(Error(format!("{directive} a length of 100% or more is not allowed.")))
        }
        slice => Ok(slice),
    }
}

pub(super) fn stapling_window(directive: &str, args: &[&str]) -> Result<TimeSlice, Error> {
    match window(directive, args)? {
        TimeSlice::Percent(100..) => {
            Err(Error(format!("{directive} with a length of 100% or more is not allowed.")))
        }
        slice => Ok(slice),
    }
}

/// A duration of at least `least` milliseconds, else the complaint `short`; a bare number counts in `unit`.
pub(super) fn duration(
    args: &[&str],
    unit: Duration,
    least: u64,
    short: &'static str,
) -> Result<Duration, Error> {
    let millis =
        parse_duration_millis(first(args), unit).ok_or_else(|| Error::new("unrecognized duration format"))?;
    match u64::try_from(millis) {
        Ok(millis) if millis >= least => Ok(Duration::from_millis(millis)),
        _ => Err(Error::new(short)),
    }
}

pub(super) fn store_locks(args: &[&str]) -> Result<Option<Duration>, Error> {
    let value = first(args);
    if let Ok(on) = on_off(args) {
        return Ok(on.then_some(STORE_LOCK_WAIT));
    }
    parse_duration_millis(value, Duration::from_secs(1))
        .and_then(|millis| u64::try_from(millis).ok())
        .map(|millis| Some(Duration::from_millis(millis)))
        .ok_or_else(|| Error::new("neither 'on', 'off' or a duration specified"))
}

/// A count from 1 up.
pub(super) fn count(args: &[&str]) -> Result<u32, Error> {
    match first(args).trim_ascii_start().parse::<i32>().map(u32::try_from) {
        Ok(Ok(number)) if number > 0 => Ok(number),
        _ => Err(Error::new("invalid argument, must be a number > 0")),
    }
}

pub(super) fn dns01_version(args: &[&str]) -> Result<u8, Error> {
    match first(args) {
        "1" => Ok(1),
        "2" => Ok(2),
        _ => Err(Error::new("Only versions `1` and `2` are supported")),
    }
}

pub(super) fn match_names(args: &[&str]) -> Result<MatchNames, Error> {
    match first(args).to_ascii_lowercase().as_str() {
        "all" => Ok(MatchNames::All),
        "servernames" => Ok(MatchNames::ServerNames),
        _ => Err(Error::new("invalid argument, must be a 'all' or 'servernames'")),
    }
}

/// `directive`: which of the two names it was given by.
pub(super) fn renew_mode(directive: &str, args: &[&str]) -> Result<RenewMode, Error> {
    match first(args).to_ascii_lowercase().as_str() {
        "auto" | "automatic" => Ok(RenewMode::Auto),
        "always" | "stick" => Ok(RenewMode::Always),
        "manual" => Ok(RenewMode::Manual),
        _ => Err(Error(format!("unknown {directive} {}", first(args)))),
    }
}

/// Inside a conditional section the value holds for the requests there, and must not reach the server.
pub(super) fn require_https(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), Error> {
    let value = first(args);
    let parsed = match value.to_ascii_lowercase().as_str() {
        "off" => RequireHttps::Off,
        "temporary" => RequireHttps::Temporary,
        "permanent" => RequireHttps::Permanent,
        _ => {
            return Err(Error(format!(
                "unknown '{value}', supported parameter values are 'temporary' and 'permanent'"
            )));
        }
    };
    if scope.env.conditional {
        scope.conditional_require_https = Some(parsed);
    } else {
        scope.settings().require_https = Some(parsed);
    }
    Ok(())
}

/// `http:8080`, `443:-`; one or two of them.
pub(super) fn port_map(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), Error> {
    for arg in args {
        let missing_colon = || Error::new("no ':' after first port number");
        let (public, local) = arg.split_once(':').ok_or_else(missing_colon)?;
        let slot = match public {
            "http" | "80" => &mut scope.server.globals.port_http,
            "https" | "443" => &mut scope.server.globals.port_https,
            other if other.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(Error::new("mapped port number must be 80 or 443"));
            }
            _ => return Err(missing_colon()),
        };
        *slot = Some(match (local, local.parse::<u16>()) {
            ("-", _) => None,
            (_, Ok(port)) if port > 0 => Some(port),
            _ => return Err(Error::new("invalid number for port map, must be in ]0,65535]")),
        });
    }
    Ok(())
}
