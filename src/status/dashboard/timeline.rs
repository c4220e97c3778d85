// SPDX-License-Identifier: Apache-2.0
//! The picture of a certificate's lifetime: inline SVG whose places are percentages, so that it is as wide as
//! its column, and classes for all else, as the page's policy allows no style in attributes.
//!
//! What it shows is in its label as well, for readers of text. Places are whole thousandths, so that no date
//! of a certificate leads outside the picture.

use super::tone::Tone;
use crate::status::labels;
use crate::time::{DAY, Timestamp};
use maud::{Markup, html};
use std::fmt;

/// A certificate, or what is common to those of a domain.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    /// When the warn window begins.
    pub(super) warn_at: Option<Timestamp>,
    /// The renewal window.
    pub(super) renew_from: Option<Timestamp>,
    pub(super) renew_until: Option<Timestamp>,
    /// The drawn instant of renewal.
    pub(super) drawn: Option<Timestamp>,
    pub(super) tone: Tone,
}

/// The time that the pictures of one list span, so that their bars compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    from: Timestamp,
    until: Timestamp,
}

/// The least and the most days that a scale shows before and after now: as long as certificates of public CAs
/// live. One of ten years would leave those of 90 days no room: what lies outside is cut off, and an arrow says
/// so.
const BEFORE: (i64, i64) = (7, 100);
const AFTER: (i64, i64) = (30, 200);

/// Steps between ticks, in days.
const STEPS: [i64; 6] = [7, 15, 30, 60, 90, 180];

/// There are at most this many steps: a column has room for that many labels.
const TICKS: i64 = 5;

const SECONDS: i64 = 86_400;

/// A place in the picture, in thousandths of its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place(i64);

/// Parts are at least this wide, so that the shortest is seen.
const NARROWEST: i64 = 4;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}%", self.0 / 10, self.0 % 10)
    }
}

impl Scale {
    pub(super) fn of<'b>(bars: impl Iterator<Item = &'b Bar>, now: Timestamp) -> Scale {
        let days = |count: i64| Timestamp::from_unix(now.unix().saturating_add(count * SECONDS));
        let (from, until) = bars.fold((now, now), |(from, until), bar| {
            (from.min(bar.from).min(bar.until), until.max(bar.until).max(bar.from))
        });
        // Room for the mark of now and for those at the ends.
        Scale {
            from: from.clamp(days(-BEFORE.1), days(-BEFORE.0)),
            until: until.plus(DAY * 2).clamp(days(AFTER.0), days(AFTER.1)),
        }
    }

    /// The nearest place in the picture.
    fn place(&self, time: Timestamp) -> Place {
        let whole = i128::from(self.until.unix()) - i128::from(self.from.unix());
        let part = i128::from(time.unix()) - i128::from(self.from.unix());
        let place = part.saturating_mul(1000).checked_div(whole).unwrap_or_default();
        Place(i64::try_from(place.clamp(0, 1000)).unwrap_or_default())
    }

    /// Beginning and width of a part that is seen; `None`: it is empty, or outside the picture.
    fn span(&self, from: Timestamp, until: Timestamp) -> Option<(Place, Place)> {
        let is_seen = from < until && until > self.from && from < self.until;
        let (begin, end) = (self.place(from).0, self.place(until).0);
        let width = (end - begin).max(NARROWEST);
        is_seen.then_some((Place(begin.min(1000 - width)), Place(width)))
    }

    fn has(&self, time: Timestamp) -> bool {
        (self.from..=self.until).contains(&time)
    }
}

/// The picture of one bar, as wide as its place.
pub(super) fn timeline(bar: &Bar, scale: &Scale, now: Timestamp) -> Markup {
    let window = bar.renew_from.and_then(|from| scale.span(from, bar.renew_until.unwrap_or(bar.until)));
    let warned = bar.warn_at.and_then(|from| scale.span(from, bar.until));
    let drawn = bar.drawn.filter(|drawn| scale.has(*drawn)).map(|drawn| scale.place(drawn));
    html! {
        svg.line.(bar.tone.class()) role="img" aria-label=(words(bar, now)) height="24" {
            line.base x1="0" y1="12" x2="100%" y2="12" {}
            @if let Some((x, width)) = scale.span(bar.from, bar.until) {
                rect.life x=(x) y="8" width=(width) height="8" {}
            }
            @if let Some((x, width)) = scale.span(bar.from.max(now), bar.until) {
                rect.left x=(x) y="8" width=(width) height="8" {}
            }
            @if let Some((x, width)) = window { rect.window x=(x) y="3" width=(width) height="3" {} }
            @if let Some((x, width)) = warned { rect.warned x=(x) y="18" width=(width) height="3" {} }
            @let now = scale.place(now);
            line.now x1=(now) y1="0" x2=(now) y2="24" {}
            @if let Some(x) = drawn { circle.drawn cx=(x) cy="4.5" r="4" {} }
            @if bar.from.min(bar.until) < scale.from {
                svg.cut width="8" height="24" { polygon points="0,12 8,6 8,18" {} }
            }
            @if bar.until.max(bar.from) > scale.until {
                svg.cut x="100%" width="1" height="24" overflow="visible" { polygon points="0,12 -8,6 -8,18" {} }
            }
        }
    }
}

/// All that the picture shows, in words.
pub(super) fn words(bar: &Bar, now: Timestamp) -> String {
    let days = |from: Timestamp, until: Timestamp| match until.since(from).as_secs() / DAY.as_secs() {
        0 => "less than a day".to_string(),
        1 => "1 day".to_string(),
        days => format!("{days} days"),
    };
    let (from, until) = (date(bar.from), date(bar.until));
    let mut out = if bar.until <= bar.from {
        format!("Never valid: ends {until}, begins {from}.")
    } else if bar.until <= now {
        format!("Valid {from} to {until}, expired {} ago.", days(bar.until, now))
    } else if bar.from > now {
        format!("Valid {from} to {until}, begins in {}.", days(now, bar.from))
    } else {
        format!("Valid {from} to {until}, {} left.", days(now, bar.until))
    };
    if let Some(begin) = bar.renew_from {
        let end = bar.renew_until.unwrap_or(bar.until);
        out += &format!(" Renewal window {} to {}.", date(begin), date(end));
    }
    if let Some(drawn) = bar.drawn {
        out += &format!(" Renewal drawn for {}.", date(drawn));
    }
    if let Some(warn) = bar.warn_at {
        out += &format!(" Warned of from {}.", date(warn));
    }
    out
}

/// `2027-01-23`, and a word for times that calendars here do not reach.
fn date(time: Timestamp) -> String {
    const FIRST: i64 = -62_135_596_800;
    const LAST: i64 = 253_402_207_200;
    match time.unix() {
        ..FIRST => "before the year 1".into(),
        FIRST..=LAST => labels::day(time),
        _ => "the end of 9999".into(),
    }
}

/// The scale's ticks, to stand above pictures of the same width.
pub(super) fn axis(scale: &Scale, now: Timestamp) -> Markup {
    let days = |time: Timestamp| time.unix().saturating_sub(now.unix()) / SECONDS;
    let (first, last) = (days(scale.from), days(scale.until));
    let step = STEPS.into_iter().find(|step| (last - first) / step < TICKS).unwrap_or(365);
    let label = |day: i64| match day {
        0 => "now".to_string(),
        _ if day < 0 => format!("\u{2212}{} d", -day),
        _ => format!("+{day} d"),
    };
    let told = format!("Scale: {} to {}", date(scale.from), date(scale.until));
    html! {
        svg.axis role="img" aria-label=(told) height="20" {
            @for tick in first / step..=last / step {
                @let day = tick * step;
                @let x = scale.place(Timestamp::from_unix(now.unix().saturating_add(day * SECONDS)));
                line class=(if day == 0 { "tick now" } else { "tick" }) x1=(x) y1="15" x2=(x) y2="20" {}
                // A label at an edge would be cut off, or cover the next.
                @if (40..=960).contains(&x.0) {
                    text class=[(day == 0).then_some("now")] x=(x) y="12" text-anchor="middle" { (label(day)) }
                }
            }
        }
    }
}

/// What the marks mean, once for a page: the content of `p.legend`.
pub(super) fn legend() -> Markup {
    html! {
            span { svg.line.good aria-hidden="true" width="28" height="24" {
                rect.life x="0" y="8" width="28" height="8" {}
                rect.left x="12" y="8" width="16" height="8" {}
            } "lifetime, full where it is left" }
            span { svg.line.good aria-hidden="true" width="10" height="24" {
                line.now x1="5" y1="0" x2="5" y2="24" {}
            } "now" }
            span { svg.line.good aria-hidden="true" width="28" height="24" {
                rect.window x="0" y="3" width="28" height="3" {}
                rect.life x="0" y="8" width="28" height="8" {}
            } "above: renewal window" }
            span { svg.line.good aria-hidden="true" width="12" height="24" {
                circle.drawn cx="6" cy="12" r="4" {}
            } "drawn instant of renewal" }
            span { svg.line.good aria-hidden="true" width="28" height="24" {
                rect.life x="0" y="8" width="28" height="8" {}
                rect.warned x="0" y="18" width="28" height="3" {}
            } "below: warn window" }
            span { svg.line.good aria-hidden="true" width="10" height="24" {
                svg.cut width="8" height="24" { polygon points="8,12 0,6 0,18" {} }
            } "goes on outside the picture" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn at(days: i64) -> Timestamp {
        Timestamp::from_unix(NOW.unix() + days * SECONDS)
    }

    fn bar(from: i64, until: i64) -> Bar {
        let (from, until) = (at(from), at(until));
        Bar { from, until, warn_at: None, renew_from: None, renew_until: None, drawn: None, tone: Tone::Good }
    }

    fn full() -> Bar {
        Bar {
            warn_at: Some(at(51)),
            renew_from: Some(at(30)),
            renew_until: Some(at(58)),
            drawn: Some(at(33)),
            ..bar(-30, 60)
        }
    }

    fn shown(bar: &Bar, scale: &Scale) -> String {
        timeline(bar, scale, NOW).into_string()
    }

    /// The places of all marks, in thousandths.
    fn places(svg: &str) -> Vec<i64> {
        let ends = svg.match_indices("%\"").map(|(at, _)| &svg[..at]);
        let numbers = ends.map(|before| before.rsplit('"').next().unwrap());
        let thousandths = |number: &str| match number.split_once('.') {
            Some((whole, tenth)) => whole.parse::<i64>().unwrap() * 10 + tenth.parse::<i64>().unwrap(),
            None => number.parse::<i64>().unwrap() * 10,
        };
        numbers.map(thousandths).collect()
    }

    #[test]
    fn each_fact_of_a_certificate_has_its_mark_and_its_words() {
        let bar = full();
        let scale = Scale { from: at(-40), until: at(60) };
        let svg = shown(&bar, &scale);
        for part in [
            "<rect class=\"life\" x=\"10.0%\" y=\"8\" width=\"90.0%\"",
            "<rect class=\"left\" x=\"40.0%\" y=\"8\" width=\"60.0%\"",
            "<rect class=\"window\" x=\"70.0%\" y=\"3\" width=\"28.0%\"",
            "<rect class=\"warned\" x=\"91.0%\" y=\"18\" width=\"9.0%\"",
            "<line class=\"now\" x1=\"40.0%\"",
            "<circle class=\"drawn\" cx=\"73.0%\"",
            "<svg class=\"line good\" role=\"img\"",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert!(!svg.contains("cut") && !svg.contains("style"), "{svg}");
        let told = "Valid 2026-12-16 to 2027-03-16, 60 days left. Renewal window 2027-02-14 to 2027-03-14. \
                    Renewal drawn for 2027-02-17. Warned of from 2027-03-07.";
        assert_eq!(words(&bar, NOW), told);
        assert!(svg.contains(&format!("aria-label=\"{told}\"")), "{svg}");
    }

    #[test]
    fn certificates_at_the_edges_of_time_stay_in_the_picture() {
        let scale = Scale { from: at(-100), until: at(100) };
        let expired = shown(&bar(-95, -5), &scale);
        assert!(
            expired.contains("\"life\" x=\"2.5%\" y=\"8\" width=\"45.0%\"") && !expired.contains("\"left\"")
        );
        let early = shown(&bar(10, 100), &scale);
        assert!(early.contains("\"left\" x=\"55.0%\""), "{early}");
        let long_gone = shown(&bar(-500, -400), &scale);
        assert!(
            !long_gone.contains("\"life\"") && long_gone.contains("points=\"0,12 8,6 8,18\""),
            "{long_gone}"
        );
        let endless = shown(&bar(-5, 9_000_000), &scale);
        assert!(endless.contains("\"life\" x=\"47.5%\" y=\"8\" width=\"52.5%\""), "{endless}");
        assert!(endless.contains("points=\"0,12 -8,6 -8,18\""), "{endless}");
        let never = shown(&bar(20, 10), &scale);
        assert!(!never.contains("\"life\"") && !never.contains("\"left\""), "{never}");
        let no_time = Scale { from: NOW, until: NOW };
        assert!(places(&shown(&full(), &no_time)).iter().all(|place| (0..=1000).contains(place)));
    }

    #[test]
    fn words_are_right_at_the_edges_of_time() {
        let told = |bar: &Bar| words(bar, NOW);
        assert_eq!(told(&bar(-95, -5)), "Valid 2026-10-12 to 2027-01-10, expired 5 days ago.");
        assert_eq!(told(&bar(10, 100)), "Valid 2027-01-25 to 2027-04-25, begins in 10 days.");
        assert_eq!(told(&bar(-1, 1)), "Valid 2027-01-14 to 2027-01-16, 1 day left.");
        assert_eq!(told(&bar(-1, 0)), "Valid 2027-01-14 to 2027-01-15, expired less than a day ago.");
        assert_eq!(told(&bar(20, 10)), "Never valid: ends 2027-01-25, begins 2027-02-04.");
        let ends = Bar {
            from: Timestamp::from_unix_millis(i64::MIN),
            until: Timestamp::from_unix_millis(i64::MAX),
            ..bar(0, 0)
        };
        assert!(told(&ends).starts_with("Valid before the year 1 to the end of 9999, "), "{}", told(&ends));
        let y9999 = Bar { until: Timestamp::parse_rfc3339("9999-12-30T00:00:00Z").unwrap(), ..bar(-1, 0) };
        assert!(told(&y9999).starts_with("Valid 2027-01-14 to 9999-12-30, "), "{}", told(&y9999));
        let open = Bar { renew_from: Some(at(20)), ..bar(-30, 60) };
        assert!(told(&open).ends_with(" Renewal window 2027-02-04 to 2027-03-16."), "{}", told(&open));
    }

    #[test]
    fn one_scale_holds_all_usual_certificates_and_is_not_stretched_by_others() {
        let scale = |bars: &[Bar]| Scale::of(bars.iter(), NOW);
        assert_eq!(scale(&[]), Scale { from: at(-7), until: at(30) });
        assert_eq!(scale(&[bar(-30, 60), bar(-80, 10)]), Scale { from: at(-80), until: at(62) });
        let far = Bar { until: Timestamp::from_unix_millis(i64::MAX), ..bar(-3000, 0) };
        assert_eq!(scale(&[bar(-30, 60), far]), Scale { from: at(-100), until: at(200) });
        let many: Vec<Bar> = (0..10_000).map(|n| bar(-n % 90, 90 - n % 90)).collect();
        assert_eq!(scale(&many), Scale { from: at(-89), until: at(92) });
    }

    #[test]
    fn the_axis_counts_days_from_now() {
        let shown = axis(&Scale { from: at(-60), until: at(62) }, NOW).into_string();
        let texts: Vec<&str> =
            shown.split("</text>").filter_map(|part| part.rsplit_once('>')).map(|(_, text)| text).collect();
        assert_eq!(texts, ["\u{2212}30 d", "now", "+30 d", ""], "{shown}");
        assert!(shown.contains("aria-label=\"Scale: 2026-11-16 to 2027-03-18\""), "{shown}");
        for (from, until) in [(-7, 30), (-100, 200), (-89, 92)] {
            let shown = axis(&Scale { from: at(from), until: at(until) }, NOW).into_string();
            assert!((2..=6).contains(&shown.matches("</text>").count()), "{from} {until}: {shown}");
        }
    }

    proptest! {
        #[test]
        fn no_date_leads_outside_the_picture(times in any::<[i64; 8]>(), days in any::<[i16; 8]>(), near in any::<bool>()) {
            let mut at = times.into_iter().zip(days).map(|(time, days)| {
                if near { at(days.into()) } else { Timestamp::from_unix_millis(time) }
            });
            let mut next = || at.next().unwrap();
            let now = next();
            let bar = Bar {
                from: next(),
                until: next(),
                warn_at: Some(next()),
                renew_from: Some(next()),
                renew_until: Some(next()),
                drawn: Some(next()),
                tone: Tone::Warn,
            };
            let scale = Scale::of([&bar].into_iter(), now);
            let svg = timeline(&bar, &scale, now).into_string() + &axis(&scale, now).into_string();
            prop_assert!(places(&svg).iter().all(|place| (0..=1000).contains(place)), "{}", svg);
            for (begin, _) in svg.match_indices("x=\"") {
                let part = &svg[begin..];
                let both = part.find("width=\"").map(|at| (places(&part[..part.find("%\"").map_or(0, |at| at + 2)]), &part[at..]));
                let Some((x, width)) = both else { continue };
                let width = places(&width[..width.find("/>").or(width.find('>')).unwrap()]);
                if let ([x], [width]) = (x.as_slice(), width.as_slice()) {
                    prop_assert!(x + width <= 1000, "{}", svg);
                }
            }
        }
    }
}
