// SPDX-License-Identifier: Apache-2.0
//! The picture of the renewals of the next 90 days, per day, and what their CAs take of them.
//!
//! Inline SVG whose places are percentages and whose looks are classes, as in [`super::timeline`]; the same
//! numbers stand in a table.

use crate::status::labels;
use crate::time::Timestamp;
use maud::{Markup, html};
use std::collections::BTreeMap;
use std::time::Duration;

/// A renewal to come.
#[derive(Clone, Debug)]
pub(super) struct Renewal {
    pub(super) at: Timestamp,
    /// The CA's name, as pages have it (`labels::ca_name`).
    pub(super) ca: String,
    /// The number of names in the certificate.
    pub(super) names: usize,
}

/// What a CA takes from one account, where it has published that.
struct Limit {
    ca: &'static str,
    /// New orders in each span of [`SPAN`].
    orders: usize,
    /// Certificates with new names for each registered domain in seven days.
    certificates: usize,
}

const LIMITS: [Limit; 2] = [
    Limit { ca: "LetsEncrypt", orders: 300, certificates: 50 },
    Limit { ca: "LetsEncrypt-Test", orders: 1500, certificates: 30_000 },
];

const SPAN: Duration = Duration::from_secs(3 * 3600);
const SPANS_A_DAY: usize = 8;

const DAYS: usize = 90;

/// Days between labels.
const LABEL_STEP: usize = 15;

/// More CAs are counted instead of named.
const CAS_NAMED: usize = 8;

/// The scale reaches to this at least.
const FEWEST: usize = 10;

/// The height of the tallest bar, in units of the picture.
const HEIGHT: usize = 120;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Day<'r> {
    renewals: usize,
    names: usize,
    of_ca: BTreeMap<&'r str, usize>,
}

/// The renewals of each day (UTC), today first. Those that are due already are of today.
struct Ahead<'r> {
    /// The day that is today, since the epoch.
    today: i64,
    days: Vec<Day<'r>>,
    later: usize,
}

impl<'r> Ahead<'r> {
    fn new(renewals: &'r [Renewal], now: Timestamp) -> Self {
        let day = |time: Timestamp| time.unix().div_euclid(86_400);
        let mut ahead = Ahead { today: day(now), days: vec![Day::default(); DAYS], later: 0 };
        for renewal in renewals {
            let index = usize::try_from(day(renewal.at).saturating_sub(ahead.today).max(0)).unwrap_or(DAYS);
            let Some(day) = ahead.days.get_mut(index) else {
                ahead.later += 1;
                continue;
            };
            day.renewals += 1;
            day.names = day.names.saturating_add(renewal.names);
            *day.of_ca.entry(&renewal.ca).or_default() += 1;
        }
        ahead
    }

    fn total(&self) -> usize {
        self.days.iter().map(|day| day.renewals).sum()
    }

    /// The day with the most renewals, and how many.
    fn busiest(&self) -> (usize, usize) {
        let days = self.days.iter().map(|day| day.renewals).enumerate();
        // The first of those that have as many.
        days.rev().max_by_key(|(_, count)| *count).unwrap_or_default()
    }

    /// `2027-01-23`.
    fn date(&self, index: usize) -> String {
        let days = i64::try_from(index).unwrap_or_default().saturating_add(self.today);
        labels::day(Timestamp::from_unix(days.saturating_mul(86_400)))
    }

    /// `23 Jan`.
    fn short(&self, index: usize) -> String {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let date = self.date(index);
        let mut parts = date.rsplit('-').map(|part| part.parse::<usize>().unwrap_or_default());
        let (day, month) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        format!("{day} {}", MONTHS.get(month.wrapping_sub(1)).unwrap_or(&""))
    }

    /// The renewals of each CA, most first.
    fn cas(&self) -> Vec<(&'r str, usize)> {
        let mut cas: BTreeMap<&str, usize> = BTreeMap::new();
        for (ca, count) in self.days.iter().flat_map(|day| &day.of_ca) {
            *cas.entry(ca).or_default() += count;
        }
        let mut cas: Vec<_> = cas.into_iter().collect();
        cas.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        cas
    }
}

/// The most renewals with one CA in any span, and when the first such span begins. Those that are due already
/// begin now.
fn peak(renewals: &[Renewal], ca: &str, now: Timestamp) -> (usize, Timestamp) {
    let of_ca = renewals.iter().filter(|renewal| renewal.ca == ca);
    let mut times: Vec<Timestamp> = of_ca.map(|renewal| renewal.at.max(now)).collect();
    times.sort_unstable();
    let (mut begin, mut most) = (0, (0, now));
    for (end, time) in times.iter().enumerate() {
        while times.get(begin).is_some_and(|first| time.since(*first) >= SPAN) {
            begin += 1;
        }
        let count = end + 1 - begin;
        if count > most.0 {
            most = (count, times.get(begin).copied().unwrap_or(*time));
        }
    }
    most
}

/// The least of 1, 2, 5, 10, 20, … that is not below `count`.
fn top(count: usize) -> usize {
    let steps =
        (0..19).flat_map(|power| [1, 2, 5].map(|digit: usize| digit.saturating_mul(10_usize.pow(power))));
    steps.into_iter().find(|step| *step >= count).unwrap_or(usize::MAX)
}

/// The next 90 days' renewals per day, with the limits of CAs that are known.
pub(super) fn ahead(renewals: &[Renewal], now: Timestamp) -> Markup {
    let ahead = Ahead::new(renewals, now);
    let (total, (busiest, most)) = (ahead.total(), ahead.busiest());
    let later = match ahead.later {
        0 => String::new(),
        count => format!(" {count} later."),
    };
    if total == 0 {
        return html! {
            p.empty { "No renewal is planned in the next " (DAYS) " days." (later) }
        };
    }
    let told = format!(
        "{total} {} in the next {DAYS} days, at most {most} on one day ({}).{later}",
        plural(total, "renewal"),
        ahead.date(busiest)
    );
    html! {
        figure.ahead {
            figcaption { (told) }
            (picture(&ahead, &told, most))
            (cas(&ahead, renewals, now))
            (table(&ahead))
        }
    }
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_string() } else { format!("{word}s") }
}

fn percent(part: usize, whole: usize) -> String {
    let thousandths = part.saturating_mul(1000) / whole.max(1);
    format!("{}.{}%", thousandths / 10, thousandths % 10)
}

fn picture(ahead: &Ahead<'_>, told: &str, most: usize) -> Markup {
    // The line of a day full of orders, where it is near.
    let full =
        ahead.cas().iter().filter_map(|(ca, _)| limit(ca)).map(|limit| limit.orders * SPANS_A_DAY).min();
    let full = full.filter(|full| *full / 2 <= most);
    // A single renewal shall not look like many.
    let top = top(most.max(full.unwrap_or_default()).max(FEWEST));
    let height = |count: usize| match count.saturating_mul(HEIGHT) / top {
        // What is there is seen.
        0 if count > 0 => 1,
        height => height.min(HEIGHT),
    };
    let label = |index: usize| match index {
        0 => "today".to_string(),
        _ => ahead.short(index),
    };
    let y = |count: usize| HEIGHT - height(count);
    html! {
        div.plot {
            div.scale aria-hidden="true" {
                span { (top) }
                @if top.is_multiple_of(2) { span { (top / 2) } }
                span { "0" }
            }
            svg.bars role="img" aria-label=(told) height="150" {
                @for part in [0, HEIGHT / 2, HEIGHT] {
                    line.grid x1="0" y1=(part + 8) x2="100%" y2=(part + 8) {}
                }
                @for (index, day) in ahead.days.iter().enumerate().filter(|(_, day)| day.renewals > 0) {
                    @let is_over = full.is_some_and(|full| day.renewals > full);
                    rect class=[is_over.then_some("over")] x=(percent(index, DAYS)) y=(y(day.renewals) + 8)
                        width="0.9%" height=(height(day.renewals)) {}
                }
                @if let Some(full) = full {
                    line.limit x1="0" y1=(y(full) + 8) x2="100%" y2=(y(full) + 8) {}
                }
                @for index in (0..DAYS).step_by(LABEL_STEP) {
                    @let x = percent(index, DAYS);
                    line.tick x1=(x) y1="128" x2=(x) y2="133" {}
                    text class=[(index % (2 * LABEL_STEP) != 0).then_some("minor")] x=(x) y="146" { (label(index)) }
                }
            }
        }
    }
}

fn limit(ca: &str) -> Option<&'static Limit> {
    LIMITS.iter().find(|limit| limit.ca == ca)
}

/// What each CA takes, beside what comes to it.
fn cas(ahead: &Ahead<'_>, renewals: &[Renewal], now: Timestamp) -> Markup {
    let cas = ahead.cas();
    let (named, rest) = cas.split_at(cas.len().min(CAS_NAMED));
    html! {
        ul.limits {
            @for (ca, count) in named {
                @match limit(ca) {
                    Some(limit) => {
                        @let (most, begin) = peak(renewals, ca, now);
                        @let is_over = most > limit.orders;
                        li class=[is_over.then_some("warn")] {
                            b { (ca) } ": " (count) " " (plural(*count, "renewal")) ", at most " (most)
                            " within 3 hours (" (labels::day(begin)) ", " (time_of_day(begin)) " UTC). "
                            "It takes " (limit.orders) " orders within 3 hours from an account"
                            @if is_over { ": the others wait until it takes them" }
                            "; and in 7 days " (limit.certificates)
                            " certificates for a registered domain, renewals of the same names not counted."
                        }
                    }
                    None => li {
                        b { (ca) } ": " (count) " " (plural(*count, "renewal")) ". Its limits are not known here."
                    },
                }
            }
            @if !rest.is_empty() {
                li {
                    (rest.len()) " more " (plural(rest.len(), "CA")) ": "
                    (rest.iter().map(|(_, count)| count).sum::<usize>()) " renewals"
                }
            }
        }
    }
}

/// `03:10`.
fn time_of_day(time: Timestamp) -> String {
    let minutes = time.unix().rem_euclid(86_400) / 60;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn table(ahead: &Ahead<'_>) -> Markup {
    let has_cas = ahead.cas().len() > 1;
    let of_ca = |day: &Day<'_>| {
        let named = day.of_ca.iter().take(CAS_NAMED).map(|(ca, count)| format!("{ca} {count}"));
        let rest = day.of_ca.len().saturating_sub(CAS_NAMED);
        let rest = (rest > 0).then(|| format!("and {rest} more"));
        named.chain(rest).collect::<Vec<_>>().join(", ")
    };
    html! {
        details {
            summary { "The same as a table" }
            div.scroll tabindex="0" role="region" aria-label="Renewals per day" {
                table.list {
                    thead { tr {
                        th scope="col" { "Day (UTC)" }
                        th.num scope="col" { "Renewals" }
                        th.num scope="col" { "Names" }
                        @if has_cas { th scope="col" { "CAs" } }
                    } }
                    tbody {
                        @for (index, day) in ahead.days.iter().enumerate().filter(|(_, day)| day.renewals > 0) {
                            tr {
                                th scope="row" { (ahead.date(index)) }
                                td.num { (day.renewals) }
                                td.num { (day.names) }
                                @if has_cas { td { (of_ca(day)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2027-01-15, 08:00.
    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn renewal(days: i64, ca: &str) -> Renewal {
        Renewal { at: Timestamp::from_unix(NOW.unix() + days * 86_400), ca: ca.into(), names: 3 }
    }

    fn shown(renewals: &[Renewal]) -> String {
        ahead(renewals, NOW).into_string()
    }

    #[test]
    fn each_day_has_its_bar_and_its_row() {
        let renewals =
            [renewal(0, "a.test"), renewal(9, "a.test"), renewal(9, "b.test"), renewal(89, "a.test")];
        let page = shown(&renewals);
        let told = "4 renewals in the next 90 days, at most 2 on one day (2027-01-24).";
        assert!(page.contains(&format!("<figcaption>{told}</figcaption>")), "{page}");
        assert!(page.contains(&format!("aria-label=\"{told}\"")), "{page}");
        for part in [
            "<rect x=\"0.0%\" y=\"116\" width=\"0.9%\" height=\"12\">",
            "<rect x=\"10.0%\" y=\"104\" width=\"0.9%\" height=\"24\">",
            "<rect x=\"98.8%\" y=\"116\" width=\"0.9%\" height=\"12\">",
            "<span>10</span><span>5</span><span>0</span>",
            ">today</text>",
            "y=\"146\">14 Feb</text>",
            "<th scope=\"row\">2027-01-24</th><td class=\"num\">2</td><td class=\"num\">6</td><td>a.test 1, b.test 1</td>",
            "<th scope=\"row\">2027-04-14</th>",
            "<b>a.test</b>: 3 renewals. Its limits are not known here.",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert_eq!(page.matches("<rect").count(), 3);
        assert!(!page.contains("style") && !page.contains("class=\"limit\""), "{page}");
    }

    #[test]
    fn what_is_overdue_is_of_today_and_what_comes_later_is_counted() {
        let page = shown(&[
            renewal(-500, "a.test"),
            renewal(0, "a.test"),
            renewal(90, "a.test"),
            renewal(4000, "a.test"),
        ]);
        assert!(
            page.contains("2 renewals in the next 90 days, at most 2 on one day (2027-01-15). 2 later."),
            "{page}"
        );
        assert!(!page.contains("<td>a.test"), "one CA needs no column: {page}");
        assert_eq!(shown(&[]), "<p class=\"empty\">No renewal is planned in the next 90 days.</p>");
        assert!(shown(&[renewal(91, "a.test")]).contains("the next 90 days. 1 later.</p>"));
    }

    #[test]
    fn the_busiest_three_hours_of_a_known_ca_stand_beside_its_limit() {
        let at = |seconds: i64| Renewal {
            at: Timestamp::from_unix(NOW.unix() + seconds),
            ..renewal(0, "LetsEncrypt")
        };
        // 200 at once, 150 a moment before three hours are over, 100 just after that.
        let mut renewals: Vec<Renewal> = (0..200).map(|_| at(86_400)).collect();
        renewals.extend((0..150).map(|_| at(86_400 + 3 * 3600 - 1)));
        renewals.extend((0..100).map(|_| at(86_400 + 3 * 3600)));
        renewals.extend((0..999).map(|_| renewal(1, "other.test")));
        assert_eq!(peak(&renewals, "LetsEncrypt", NOW), (350, at(86_400).at));
        let page = shown(&renewals);
        assert!(
            page.contains(
                "<li class=\"warn\"><b>LetsEncrypt</b>: 450 renewals, at most 350 within 3 hours \
                               (2027-01-16, 08:00 UTC). It takes 300 orders within 3 hours"
            ),
            "{page}"
        );
        assert!(page.contains("the others wait"), "{page}");
        let few = shown(&renewals[..200]);
        assert!(
            few.contains("<li><b>LetsEncrypt</b>: 200 renewals") && !few.contains("the others wait"),
            "{few}"
        );
        let overdue = [renewal(-9, "LetsEncrypt"), renewal(-3, "LetsEncrypt")];
        assert_eq!(peak(&overdue, "LetsEncrypt", NOW), (2, NOW));
    }

    #[test]
    fn a_day_that_is_near_what_a_ca_takes_shows_the_line() {
        let many: Vec<Renewal> = (0..10_000).map(|n| renewal(n % 4, "LetsEncrypt")).collect();
        let page = shown(&many);
        assert!(page.contains("<line class=\"limit\" x1=\"0\" y1=\"71\""), "{page}");
        assert_eq!(page.matches("class=\"over\"").count(), 4, "2500 a day, of 2400");
        assert!(!shown(&many[..4000]).contains("class=\"limit\""));
    }

    #[test]
    fn the_scale_is_a_round_number() {
        assert_eq!([0, 1, 2, 3, 7, 11, 99, 501, 2001].map(top), [1, 1, 2, 5, 10, 20, 100, 1000, 5000]);
        assert_eq!(top(usize::MAX), usize::MAX);
    }

    #[test]
    fn many_cas_are_counted_and_hostile_names_stay_text() {
        let renewals: Vec<Renewal> = (0..40).map(|n| renewal(1, &format!("<b>{n}.test"))).collect();
        let page = shown(&renewals);
        assert!(page.contains("32 more CAs: 32 renewals") && page.contains("and 32 more</td>"), "{page}");
        assert!(!page.contains("<b>1.test") && page.contains("&lt;b&gt;1.test"), "{page}");
    }

    proptest! {
        #[test]
        fn no_time_leads_outside_the_picture(times in prop::collection::vec(any::<i64>(), 1..20), now in any::<i64>()) {
            let now = Timestamp::from_unix_millis(now);
            let renewals: Vec<Renewal> = times
                .into_iter()
                .map(|at| Renewal { at: Timestamp::from_unix_millis(at), ca: "LetsEncrypt".into(), names: usize::MAX })
                .collect();
            let counted = Ahead::new(&renewals, now);
            prop_assert_eq!(counted.total() + counted.later, renewals.len());
            let page = ahead(&renewals, now).into_string();
            for height in page.split("<rect").skip(1).filter_map(|rect| rect.split("height=\"").nth(1)) {
                let height: usize = height.split('"').next().unwrap().parse().unwrap();
                prop_assert!((1..=HEIGHT).contains(&height));
            }
        }
    }
}
