// SPDX-License-Identifier: Apache-2.0
//! Words that several pages share: states, names of CAs, dates and spans of time. The words of the C module
//! stay as they are, because scripts look for them.

use super::domain::Domain;
use crate::config::KNOWN_CAS;
use crate::managed::serve::Source;
use crate::model::State;
use crate::time::{DAY, Timestamp};
use crate::url::Url;
use std::time::Duration;

/// A renewal is due and has not begun.
pub const PENDING: &str = "Pending";

/// Explains that the state of a renewal could not be written.
pub const UNSAVED: &str = "The state of the renewal cannot be written to the store, so what is shown of it may be old. The renewal continues in memory until the disk accepts writes again. What to do: free space on the disk, or restart httpd, which gives the folder `staging` of the store (MDStoreDir) and its content to httpd's User; the error log names the file.";

/// The label for the certificates that hosts serve, unless they match the configuration.
pub fn served(domain: &Domain<'_>) -> Option<String> {
    let named = |label: &str| {
        let hosts: Vec<_> = domain
            .hosts()
            .filter(|(_, served)| *served == label)
            .map(|(host, _)| host.name.as_str())
            .collect();
        let more = hosts.len().saturating_sub(HOSTS_NAMED);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!hosts.is_empty())
            .then(|| hosts.iter().take(HOSTS_NAMED).copied().collect::<Vec<_>>().join(", ") + &rest)
    };
    let mut out = Vec::new();
    if let Some(hosts) = named(Source::SelfSigned.label()) {
        out.push(format!("Self-signed certificate and 503: {hosts}."));
    }
    if let Some(hosts) = named(Source::Own.label()) {
        out.push(format!("Own SSLCertificateFile served: {hosts}."));
    }
    if let (State::Incomplete, Some(hosts)) = (domain.state().0, named(Source::Md.label())) {
        out.push(format!("The present certificate is served meanwhile: {hosts}."));
    }
    (!out.is_empty()).then(|| out.join(" "))
}

/// More hosts are counted instead of named.
const HOSTS_NAMED: usize = 5;

/// The state in the words of the C module, which scripts look for.
pub fn status(domain: &Domain<'_>, now: Timestamp) -> String {
    let has_expired = domain.need.certs.is_some_and(|certs| certs.until <= now);
    match domain.state() {
        (State::Complete, _) if has_expired => "expired".into(),
        (State::Complete, _) => "good".into(),
        (State::Incomplete, why) => joined("incomplete", why),
        (State::Error, why) => joined("error", why),
        (State::MissingInformation, why) => joined("missing information", why),
        (State::Unknown, _) => "unknown".into(),
    }
}

/// The remark of our pages beside a state that is good in the C module's terms, and beside ours.
pub fn remark(domain: &Domain<'_>, now: Timestamp) -> Option<&'static str> {
    is_early(domain, now).then_some("not valid yet")
}

fn is_early(domain: &Domain<'_>, now: Timestamp) -> bool {
    domain.need.certs.is_some_and(|certs| certs.from > now && certs.until > now)
}

fn joined(what: &str, why: Option<String>) -> String {
    why.map_or_else(|| what.to_string(), |why| format!("{what}: {why}"))
}

/// The CA of the domain: its name and its address.
pub fn authority(domain: &Domain<'_>) -> Option<(String, String)> {
    let ca = &domain.managed.md.ca;
    let url = ca.url.as_ref().or_else(|| ca.urls.first())?;
    Some((ca_name(url), url.clone()))
}

/// The name of a CA, by its directory.
pub fn ca_name(url: &str) -> String {
    let known = KNOWN_CAS.iter().find(|(_, known)| *known == url).map(|(name, _)| (*name).to_string());
    let host = || Url::parse(url).ok().map(|url| url.host().to_string());
    known.or_else(host).unwrap_or_else(|| url.to_string())
}

/// `2027-01-23`.
pub fn day(time: Timestamp) -> String {
    time.to_rfc3339().split('T').next().unwrap_or_default().to_string()
}

/// `in ~3 hours`, `~2 minutes ago`; the day if it is two days away or more.
pub fn near(time: Timestamp, now: Timestamp) -> String {
    let (ahead, past) = (time.since(now), now.since(time));
    if ahead >= DAY * 2 || past >= DAY * 2 {
        day(time)
    } else if time > now {
        format!("in {}", roughly(ahead))
    } else if past < Duration::from_secs(1) {
        "now".into()
    } else {
        format!("{} ago", roughly(past))
    }
}

/// Until when the text of [`near`] stays the same; `None`: forever.
pub fn near_until(time: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let (ahead, past) = (time.since(now), now.since(time));
    // The spans that have the same words, in seconds.
    let span = |seconds: u64| match seconds {
        0..2 => (0, seconds + 1),
        2..120 => (seconds, seconds + 1),
        120..7200 => {
            let minutes = (seconds + 30) / 60 * 60;
            ((minutes - 30).max(120), (minutes + 30).min(7200))
        }
        _ => {
            let hours = (seconds + 1800) / 3600 * 3600;
            ((hours - 1800).max(7200), (hours + 1800).min(DAY.as_secs() * 2))
        }
    };
    if past >= DAY * 2 {
        None
    } else if ahead >= DAY * 2 {
        Some(time.minus(DAY * 2))
    } else if time > now {
        Some(time.minus(Duration::from_secs(span(ahead.as_secs()).0)))
    } else {
        Some(time.plus(Duration::from_secs(span(past.as_secs()).1)))
    }
}

/// `~3 hours`.
fn roughly(span: Duration) -> String {
    let seconds = span.as_secs().max(1);
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => ((seconds + 30) / 60, "minute"),
        _ => ((seconds + 1800) / 3600, "hour"),
    };
    format!("~{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_for_a_time_stay_as_long_as_near_until_says(seconds in -300_000_i64..300_000, later in 0_i64..200_000) {
            let time = Timestamp::from_unix(1_800_000_000);
            let now = Timestamp::from_unix(1_800_000_000 + seconds);
            let later = Timestamp::from_unix_millis(now.unix_millis() + later);
            if near_until(time, now).is_none_or(|until| later < until) {
                prop_assert_eq!(near(time, now), near(time, later));
            }
        }

        #[test]
        fn words_for_a_time_stay_for_a_while(millis in -300_000_000_i64..300_000_000) {
            let time = Timestamp::from_unix(1_800_000_000);
            let now = Timestamp::from_unix_millis(time.unix_millis() + millis);
            prop_assert!(near_until(time, now).is_none_or(|until| until >= now));
        }
    }

    #[test]
    fn near_times_read_as_spans_and_others_as_days() {
        let now = Timestamp::from_unix(1_800_000_000);
        let at = |seconds: i64| near(Timestamp::from_unix(1_800_000_000 + seconds), now);
        assert_eq!(
            [at(0), at(1), at(90), at(3 * 60), at(3 * 3600), at(47 * 3600)],
            ["now", "in ~1 second", "in ~90 seconds", "in ~3 minutes", "in ~3 hours", "in ~47 hours"]
        );
        assert_eq!(
            [at(3 * 86_400), at(-5), at(-90 * 86_400)],
            ["2027-01-18", "~5 seconds ago", "2026-10-17"]
        );
    }
}
