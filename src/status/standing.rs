// SPDX-License-Identifier: Apache-2.0
//! The standing of a managed domain, in the one word that every page, md-status and the metrics use, and the
//! next step of its renewal. Pure: facts and `now` in, a word out.

use crate::time::{DAY, Timestamp};
use std::borrow::Cow;
use std::time::Duration;

/// The most serious first. Of those that apply, the first one counts: so no word hides one that is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// No TLS host uses it.
    Unused,
    /// No certificate in use is valid yet.
    NoCertificate,
    Expired,
    /// Inside `MDWarnWindow`, and no new set is complete.
    ExpiresSoon,
    /// The configuration leaves its certificates to the administrator.
    NotRenewed,
    RenewalFailing,
    /// New certificates are due, under way, held back, or complete and not in use yet.
    Renewing,
    Ok,
}

/// Each word with its token for programs and its text for people.
const WORDS: [(Standing, &str, &str); 8] = [
    (Standing::Unused, "unused", "not used by any host"),
    (Standing::NoCertificate, "no-certificate", "no certificate"),
    (Standing::Expired, "expired", "expired"),
    (Standing::ExpiresSoon, "expires-soon", "expires soon"),
    (Standing::NotRenewed, "not-renewed", "not renewed"),
    (Standing::RenewalFailing, "renewal-failing", "renewal failing"),
    (Standing::Renewing, "renewing", "renewing"),
    (Standing::Ok, "ok", "ok"),
];

impl Standing {
    pub fn all() -> impl Iterator<Item = Standing> {
        WORDS.into_iter().map(|(standing, ..)| standing)
    }

    /// The one with this token.
    pub fn of(token: &str) -> Option<Self> {
        Standing::all().find(|standing| standing.token() == token)
    }

    /// `renewal-failing`.
    pub fn token(self) -> &'static str {
        self.of_table().1
    }

    /// `renewal failing`.
    pub fn words(self) -> &'static str {
        self.of_table().2
    }

    /// The words for people about one domain: with the time that is left where that is why.
    pub fn said(self, until: Option<Timestamp>, now: Timestamp) -> Cow<'static, str> {
        match until {
            Some(until) if self == Standing::ExpiresSoon => {
                format!("expires in {}", length(until.since(now))).into()
            }
            _ => self.words().into(),
        }
    }

    /// Someone should look.
    pub fn is_serious(self) -> bool {
        use Standing::{Expired, ExpiresSoon, NoCertificate, RenewalFailing};
        matches!(self, NoCertificate | Expired | ExpiresSoon | RenewalFailing)
    }

    /// Clients are refused.
    pub fn is_grave(self) -> bool {
        matches!(self, Standing::NoCertificate | Standing::Expired)
    }

    fn of_table(self) -> (Standing, &'static str, &'static str) {
        WORDS.into_iter().find(|(standing, ..)| *standing == self).unwrap_or((self, "", ""))
    }
}

/// A span of time: `3 days`, `5 hours`, `20 minutes`.
pub fn length(span: Duration) -> String {
    let (seconds, day) = (span.as_secs(), DAY.as_secs());
    match seconds {
        seconds if seconds >= 2 * day => format!("{} days", seconds / day),
        7200.. => format!("{} hours", seconds / 3600),
        _ => format!("{} minutes", seconds / 60),
    }
}

/// Until when the words for a time stay the same.
pub fn length_until(time: Timestamp, now: Timestamp) -> Timestamp {
    let (left, day) = (time.since(now).as_secs(), DAY.as_secs());
    let unit = match left {
        left if left >= 2 * day => day,
        7200.. => 3600,
        _ => 60,
    };
    // A fraction of a second more is left until then.
    time.minus(Duration::from_secs(left / unit * unit))
}

/// The facts that the word follows from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// A TLS host uses it, or it is renewed without one.
    pub is_used: bool,
    /// The certificates are to come from us.
    pub is_renewed: bool,
    /// Of the certificates in use.
    pub certs: Option<Period>,
    /// A complete set waits to come into use.
    pub has_successor: bool,
    /// New certificates are due, or on their way.
    pub is_due: bool,
    /// The last try has failed, or its outcome could not be written.
    pub is_failing: bool,
}

/// The properties common to certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub from: Timestamp,
    /// When the warn window begins.
    pub warn: Timestamp,
    pub until: Timestamp,
}

impl Facts {
    pub fn standing(&self, now: Timestamp) -> Standing {
        match self.certs {
            _ if !self.is_used => Standing::Unused,
            None => Standing::NoCertificate,
            Some(certs) if certs.until <= now => Standing::Expired,
            Some(certs) if certs.from > now => Standing::NoCertificate,
            Some(certs) if certs.warn <= now && !self.has_successor => Standing::ExpiresSoon,
            Some(_) if !self.is_renewed => Standing::NotRenewed,
            Some(_) if self.is_failing => Standing::RenewalFailing,
            Some(_) if self.is_due || self.has_successor => Standing::Renewing,
            Some(_) => Standing::Ok,
        }
    }
}

/// The next step of a renewal, and its time where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    pub action: Action,
    pub at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is under way.
    Finish,
    /// It was held back, and begins.
    Renew,
    Retry,
    RetryCommand,
    Activate,
    ActivateOnRestart,
    /// The CA is at work, and is asked how far it has come.
    WaitForCa,
    /// The admin has to set a record in the DNS, which is looked up.
    WaitForRecord,
}

/// Each with its token for programs, which docs/status.md explains, and its words for people.
const ACTIONS: [(Action, &str, &str); 8] = [
    (Action::Finish, "finish", "finish"),
    (Action::Renew, "renew", "renew"),
    (Action::Retry, "retry", "try again"),
    (Action::RetryCommand, "retry-command", "call the command again"),
    (Action::Activate, "activate", "activate"),
    (Action::ActivateOnRestart, "activate-on-restart", "activate at the next restart"),
    (Action::WaitForCa, "wait-for-ca", "ask the CA again"),
    (Action::WaitForRecord, "wait-for-record", "look up the record again"),
];

impl Action {
    /// The one with this token.
    pub fn of(token: &str) -> Option<Self> {
        ACTIONS.into_iter().find(|(_, known, _)| *known == token).map(|(action, ..)| action)
    }

    /// `retry-command`.
    pub fn token(self) -> &'static str {
        self.of_table().1
    }

    /// `call the command again`.
    pub fn words(self) -> &'static str {
        self.of_table().2
    }

    fn of_table(self) -> (Action, &'static str, &'static str) {
        ACTIONS.into_iter().find(|(action, ..)| *action == self).unwrap_or((self, "", ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::DAY;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn good() -> Facts {
        let certs = Period { from: NOW.minus(DAY), warn: NOW.plus(DAY * 80), until: NOW.plus(DAY * 89) };
        Facts { is_used: true, is_renewed: true, certs: Some(certs), ..Facts::default() }
    }

    fn after(days: u32) -> Timestamp {
        NOW.plus(DAY * days)
    }

    #[test]
    fn each_word_is_used_if_it_is_the_worst_that_applies() {
        let good = good();
        let failing = Facts { is_failing: true, is_due: true, ..good };
        for (facts, now, expected) in [
            (good, NOW, "ok"),
            (good, after(80), "expires-soon"),
            (good, after(89), "expired"),
            (good, NOW.minus(DAY * 2), "no-certificate"),
            (Facts { is_due: true, ..good }, after(79), "renewing"),
            (Facts { has_successor: true, ..good }, after(85), "renewing"),
            (Facts { has_successor: true, ..good }, after(89), "expired"),
            (failing, NOW, "renewal-failing"),
            (failing, after(80), "expires-soon"),
            (Facts { certs: None, ..failing }, NOW, "no-certificate"),
            (Facts { is_renewed: false, ..good }, NOW, "not-renewed"),
            (Facts { is_renewed: false, ..failing }, NOW, "not-renewed"),
            (Facts { is_renewed: false, ..good }, after(80), "expires-soon"),
            (Facts { is_used: false, ..failing }, after(100), "unused"),
            (Facts { is_used: false, certs: None, ..good }, NOW, "unused"),
        ] {
            assert_eq!(facts.standing(now).token(), expected, "{facts:?}");
        }
    }

    #[test]
    fn what_expires_soon_says_how_soon() {
        let said = |standing: Standing, seconds: u64| {
            standing.said(Some(NOW.plus(Duration::from_secs(seconds))), NOW).into_owned()
        };
        for (seconds, expected) in [
            (30 * 86_400, "expires in 30 days"),
            (2 * 86_400, "expires in 2 days"),
            (2 * 86_400 - 1, "expires in 47 hours"),
            (7200, "expires in 2 hours"),
            (7199, "expires in 119 minutes"),
            (0, "expires in 0 minutes"),
        ] {
            assert_eq!(said(Standing::ExpiresSoon, seconds), expected);
        }
        assert_eq!(said(Standing::Ok, 5), "ok");
        assert_eq!(Standing::ExpiresSoon.said(None, NOW), "expires soon");
    }

    #[test]
    fn words_are_the_tokens_but_for_hyphens_and_each_is_in_the_table_once() {
        assert_eq!(Standing::all().count(), WORDS.len());
        for standing in Standing::all().filter(|standing| *standing != Standing::Unused) {
            assert_eq!(standing.words(), standing.token().replace('-', " "));
        }
        assert!(WORDS.is_sorted_by_key(|(standing, ..)| *standing), "the most serious first");
    }

    #[test]
    fn each_token_has_its_row_in_the_documentation() {
        use Action::{
            Activate, ActivateOnRestart, Finish, Renew, Retry, RetryCommand, WaitForCa, WaitForRecord,
        };
        let page = include_str!("../../docs/status.md");
        let actions = ACTIONS.map(|(action, ..)| action);
        for action in
            [Activate, ActivateOnRestart, Finish, Renew, Retry, RetryCommand, WaitForCa, WaitForRecord]
        {
            assert!(actions.contains(&action), "{action:?}");
        }
        for token in actions.map(Action::token).into_iter().chain(Standing::all().map(Standing::token)) {
            assert!(page.contains(&format!("\n| `{token}` | ")), "{token}");
        }
    }

    proptest! {
        #[test]
        fn a_length_stays_as_long_as_length_until_says(
            left in 0_i64..300_000_000,
            later in 0_i64..90_000_000,
        ) {
            let time = Timestamp::from_unix_millis(NOW.unix_millis() + left);
            let later = Timestamp::from_unix_millis(NOW.unix_millis() + later.min(left));
            let until = length_until(time, NOW);
            prop_assert!(until >= NOW);
            if later <= until {
                prop_assert_eq!(length(time.since(NOW)), length(time.since(later)));
            }
        }

        #[test]
        fn the_word_changes_with_facts_and_certificate_dates_alone(
            flags in any::<[bool; 5]>(),
            at in -3_i64..100,
        ) {
            let [is_used, is_renewed, has_successor, is_due, is_failing] = flags;
            let facts = Facts { is_used, is_renewed, has_successor, is_due, is_failing, ..good() };
            let now = Timestamp::from_unix(NOW.unix() + at * 86_400);
            let certs = good().certs.unwrap();
            let last = [certs.from, certs.warn, certs.until].into_iter().filter(|date| *date <= now).max();
            if let Some(last) = last {
                prop_assert_eq!(facts.standing(last), facts.standing(now));
            }
        }
    }
}
