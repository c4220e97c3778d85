// SPDX-License-Identifier: Apache-2.0
//! Instants, durations in the syntax of httpd's directives, and the one reader of the wall clock.
//!
//! Decisions take `now: Timestamp`; only the edge asks a [`Clock`].

mod stop;

pub use stop::{AtWork, StopFlag, Stopped};

use rustix::time::{ClockId, clock_gettime};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An instant in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_unix(seconds: i64) -> Self {
        Timestamp(seconds.saturating_mul(1000))
    }

    pub const fn from_unix_millis(millis: i64) -> Self {
        Timestamp(millis)
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn unix(self) -> i64 {
        self.0.div_euclid(1000)
    }

    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    #[must_use]
    pub fn plus(self, d: Duration) -> Self {
        Timestamp(self.0.saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }

    #[must_use]
    pub fn minus(self, d: Duration) -> Self {
        Timestamp(self.0.saturating_sub(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The next whole second, for dates that are kept to the second and must not come earlier than meant.
    #[must_use]
    pub const fn ceil(self) -> Self {
        Timestamp::from_unix(self.0.div_euclid(1000) + if self.0.rem_euclid(1000) > 0 { 1 } else { 0 })
    }

    /// The time from `earlier` to here; zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `Thu, 29 Aug 2019 16:06:35 GMT` (RFC 9110 §5.6.7, the form of every date in the store).
    pub fn to_http_date(self) -> String {
        let stamp = jiff::Timestamp::from_second(self.unix()).unwrap_or_default();
        jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&stamp)
            .unwrap_or_else(|_| String::from("Thu, 01 Jan 1970 00:00:00 GMT"))
    }

    /// Reads an RFC 9110/RFC 1123/RFC 2822 date.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
        parser.parse_timestamp(text.trim()).ok().and_then(Timestamp::of_a_written_year)
    }

    /// `2019-08-29T16:06:35Z`, to the second.
    pub fn to_rfc3339(self) -> String {
        jiff::Timestamp::from_second(self.unix()).unwrap_or_default().to_string()
    }

    /// Reads an RFC 3339 date, as ACME's JSON has them.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.trim().parse::<jiff::Timestamp>().ok().and_then(Timestamp::of_a_written_year)
    }

    /// Dates before the year 0 cannot be written in either form.
    fn of_a_written_year(stamp: jiff::Timestamp) -> Option<Self> {
        const YEAR_0: i64 = -62_167_219_200_000;
        let millis = stamp.as_millisecond();
        (millis >= YEAR_0).then_some(Timestamp(millis))
    }
}

/// Reads `integer + d|h|mi|s|ms` (any case); a bare number counts in `unit`. `None`: not in that form.
/// Only the first letters of the unit count, as in httpd's other directives: `5min`, `3days`.
/// The sign is kept, because some directives say so in their own words; blanks and a plus may stand in front.
pub fn parse_duration_millis(text: &str, unit: Duration) -> Option<i64> {
    let text = text.trim_ascii_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number: i64 = digits.get(..end)?.parse().ok()?;
    let suffix = digits.get(end..)?.to_ascii_lowercase();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("mi", 60_000), ("ms", 1), ("s", 1000)];
    let factor = match units.iter().find(|(name, _)| suffix.starts_with(name)) {
        Some((_, factor)) => *factor,
        None if suffix.is_empty() => i64::try_from(unit.as_millis()).ok()?,
        None => return None,
    };
    number.checked_mul(factor)?.checked_mul(sign)
}

/// The shortest form [`parse_duration_millis`] reads: `14d`, `12h`, `90mi`, `30s`, `100ms`.
pub fn format_duration(d: Duration) -> String {
    let ms = d.as_millis();
    for (factor, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "mi"), (1000, "s")] {
        if ms >= factor && ms.is_multiple_of(factor) {
            return format!("{}{unit}", ms / factor);
        }
    }
    if ms == 0 { "0s".to_string() } else { format!("{ms}ms") }
}

pub const DAY: Duration = Duration::from_secs(86_400);

/// A part of a certificate's lifetime: a length, or a percentage of that lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSlice {
    Length(Duration),
    Percent(u8),
}

impl TimeSlice {
    /// Reads `14d`, `33%`, a bare number of days; a bare `%` is 0 %. `None`: another form. Percentages of 100
    /// and more are read (up to 255) so that the caller can refuse them in the directive's own words.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(number) = text.strip_suffix('%') {
            let number = number.trim_ascii_start();
            let percent: u32 = if number.is_empty() { 0 } else { number.parse().ok()? };
            return Some(TimeSlice::Percent(u8::try_from(percent).unwrap_or(u8::MAX)));
        }
        let millis = u64::try_from(parse_duration_millis(text, DAY)?).ok()?;
        Some(TimeSlice::Length(Duration::from_millis(millis)))
    }

    pub fn is_nothing(self) -> bool {
        matches!(self, TimeSlice::Percent(0) | TimeSlice::Length(Duration::ZERO))
    }

    /// How long this is for a certificate that lives for `lifetime`.
    pub fn of(self, lifetime: Duration) -> Duration {
        match self {
            TimeSlice::Length(d) => d,
            TimeSlice::Percent(p) => lifetime.mul_f64(f64::from(p) / 100.0),
        }
    }
}

impl fmt::Display for TimeSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimeSlice::Length(Duration::ZERO) => f.write_str("0d"),
            TimeSlice::Length(d) => f.write_str(&format_duration(*d)),
            TimeSlice::Percent(p) => write!(f, "{p}%"),
        }
    }
}

/// Tells time, and sleeps so that a stop ends the sleep at once.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
    fn sleep(&self, d: Duration) -> Result<(), Stopped>;
    fn is_stopped(&self) -> bool;

    /// The time since the machine started, also while it slept: nobody sets it.
    fn boot(&self) -> Duration {
        boot()
    }
}

/// By the wall clock, for callers that never wait. Takes no memory and no lock, so that handshakes can ask.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::default().plus(since)
}

/// By CLOCK_BOOTTIME, where the system has it.
pub fn boot() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let time = clock_gettime(CLOCK);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), nanos)
}

/// The wall clock.
#[derive(Clone, Default)]
pub struct SystemClock {
    pub stop: StopFlag,
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        now()
    }

    fn sleep(&self, d: Duration) -> Result<(), Stopped> {
        self.stop.wait(d)
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_raised()
    }
}

/// A clock that stands still; no test sleeps by it.
#[cfg(test)]
pub struct At(pub Timestamp);

#[cfg(test)]
impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn sleep(&self, _: Duration) -> Result<(), Stopped> {
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_and_read_as_rfc_1123_in_gmt() {
        let t = Timestamp::from_unix(1_567_094_795);
        assert_eq!(t.to_http_date(), "Thu, 29 Aug 2019 16:06:35 GMT");
        assert_eq!(Timestamp::parse_http_date("Thu, 29 Aug 2019 16:06:35 GMT"), Some(t));
        assert_eq!(Timestamp::parse_rfc3339("2019-08-29T16:06:35Z"), Some(t));
        assert_eq!(t.to_rfc3339(), "2019-08-29T16:06:35Z");
        assert_eq!(Timestamp::parse_http_date("yesterday"), None);
    }

    #[test]
    fn a_date_that_is_read_can_be_written() {
        for text in ["0000-01-01T00:00:00Z", "9999-12-30T21:59:59+00:00", "0001-01-01T00:00:00+23:59"] {
            let t = Timestamp::parse_rfc3339(text).unwrap();
            assert_eq!(Timestamp::parse_rfc3339(&t.to_rfc3339()), Some(t), "{text}");
            assert_eq!(Timestamp::parse_http_date(&t.to_http_date()), Some(t), "{text}");
        }
        for text in ["-000001-12-31T23:59:59Z", "-000001-12-31T23:59:59.5Z", "0000-01-01T00:00:00+00:01"] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
        assert_eq!(Timestamp::parse_http_date("Sat, 01 Jan 0000 00:00:00 +0001"), None);
    }

    #[test]
    fn durations_take_units_in_any_case_and_a_default_unit() {
        let cases = [
            ("14d", Some(14 * 86_400_000)),
            ("12H", Some(12 * 3_600_000)),
            ("90Mi", Some(90 * 60_000)),
            ("5min", Some(5 * 60_000)),
            ("3days", Some(3 * 86_400_000)),
            ("5m", None),
            ("30", Some(30_000)),
            ("100ms", Some(100)),
            ("-1", Some(-1000)),
            ("5x", None),
            ("+30d", Some(30 * 86_400_000)),
            (" +30", Some(30_000)),
            ("+-5", None),
            ("+", None),
            ("", None),
            ("d", None),
            ("99999999999999999999d", None),
            ("9223372036854775807d", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration_millis(text, Duration::from_secs(1)), expected, "{text}");
        }
    }

    #[test]
    fn a_time_slice_shows_as_it_was_written() {
        for text in ["14d", "33%", "12h", "90mi", "30s", "100ms", "0d", "0%"] {
            assert_eq!(TimeSlice::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(TimeSlice::parse("33").unwrap().to_string(), "33d");
        for (text, shown) in [("+30d", "30d"), ("%", "0%"), (" +33%", "33%"), ("0", "0d"), ("010d", "10d")] {
            assert_eq!(TimeSlice::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for text in ["5.5%", "33%%", "+%", "-5d", "x%"] {
            assert_eq!(TimeSlice::parse(text), None, "{text}");
        }
        assert_eq!(TimeSlice::parse("foo"), None);
        assert_eq!(TimeSlice::Percent(33).of(DAY * 90), DAY * 90 * 33 / 100);
    }
}
