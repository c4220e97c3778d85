// SPDX-License-Identifier: Apache-2.0
//! The limit that no reason to renew can pass: once a set is issued, none is ordered for the same reason for
//! a while, and only a few for all reasons together, so that a senseless ARI window or a wrong clock does not
//! use up the CA's limits. Demands by CAs themselves are in [`rate_limits`](super::rate_limits), the sequence
//! of orders in [`order_queue`](super::order_queue).

use crate::acme::published_limits;
use crate::crypto;
use crate::model::ledger::{Cause, Issued, Ledger};
use crate::model::{HeldBack, Md};
use crate::time::{DAY, Timestamp, format_duration};
use data_encoding::HEXLOWER;
use std::time::Duration;

/// Sets of one order in the time in which a set rests.
const SETS: usize = 2;
/// The same where people stand behind it: an operator asks for one, as after a revocation, or there is no
/// certificate at all, which an admin may just have removed.
const SETS_BY_HAND: usize = 5;

/// A renewal that would begin.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub md: &'a Md,
    pub ca: &'a str,
    pub cause: Cause,
    /// Its orders can name the certificate they replace.
    pub is_replacement: bool,
}

/// The time for which a set is not replaced for the reason that it was ordered for.
fn rest(lifetime: Duration) -> Duration {
    (lifetime / 3).min(DAY)
}

/// Why, and until when, this renewal does not begin.
pub fn brake(ledger: &Ledger, request: &Request<'_>, now: Timestamp) -> Option<HeldBack> {
    let (order, names) = (order_of(request.md), names_of(request.md));
    // Those from the future were noted by a clock that was wrong.
    let past = || ledger.entries().iter().filter(|issued| issued.at <= now);
    let same = || past().filter(|issued| issued.order == order);
    let resting = |issued: &&Issued| now < issued.at.plus(rest(issued.lifetime));
    let again = same().next_back().filter(resting).filter(|issued| issued.cause == request.cause);
    // An operator who asks for one more knows of the last one.
    let again = again.filter(|_| !matches!(request.cause, Cause::Missing | Cause::Requested)).map(|issued| {
        HeldBack::new(in_words(request.cause, issued.at, now), issued.at.plus(rest(issued.lifetime)))
    });
    let is_by_hand = matches!(request.cause, Cause::Missing | Cause::Requested);
    let most = if is_by_hand { SETS_BY_HAND } else { SETS };
    let mut ends: Vec<Timestamp> =
        same().filter(resting).map(|issued| issued.at.plus(rest(issued.lifetime))).collect();
    ends.sort_unstable();
    let too_many = ends.len().checked_sub(most).and_then(|more| ends.get(more)).map(|until| {
        let reason = format!(
            "{} sets of certificates have been issued for the same names in {}",
            ends.len(),
            format_duration(same().next_back().map_or(DAY, |issued| rest(issued.lifetime)))
        );
        HeldBack::new(reason, *until)
    });
    // Of those that end at the same time, the last one says most.
    [duplicates(past().filter(|issued| issued.names == names), request, now), too_many, again]
        .into_iter()
        .flatten()
        .max_by_key(|held| held.until)
}

/// The limit of the CA for the same names.
fn duplicates<'l>(
    same: impl Iterator<Item = &'l Issued>,
    request: &Request<'_>,
    now: Timestamp,
) -> Option<HeldBack> {
    let known = published_limits::of(request.ca)?;
    let limit = &known.duplicates;
    if request.is_replacement {
        return None;
    }
    let of_this_ca = |issued: &&Issued| published_limits::of(&issued.ca).is_some_and(|ca| ca.ca == known.ca);
    let counted = same.filter(of_this_ca).filter(|issued| !issued.is_replacement);
    let full = counted.fold(Timestamp::default(), |full, issued| {
        // No more can be taken than there is.
        limit.taken(full, issued.at, issued.certificates).min(issued.at.plus(limit.span))
    });
    let until = limit.free_at(full, orders_of(request.md));
    let reason = format!(
        "{} issues no more than {} certificates for the same names in {}",
        known.ca,
        limit.most,
        format_duration(limit.span)
    );
    (until > now).then(|| HeldBack::new(reason, until))
}

/// One for each key.
pub(super) fn orders_of(md: &Md) -> u32 {
    u32::try_from(md.keys().len()).unwrap_or(u32::MAX)
}

fn in_words(cause: Cause, at: Timestamp, now: Timestamp) -> String {
    let at = at.to_http_date();
    match cause {
        Cause::Advice => format!(
            "the CA advises (ARI) to renew what was issued as lately as {at}: its window makes no sense, or the clock of \
             this machine ({}) is wrong. 'MDRenewViaARI off' ignores the advice",
            now.to_http_date()
        ),
        Cause::Window | Cause::Expired => format!(
            "what was issued as lately as {at} would have to be renewed again by the clock of this machine ({}): check \
             date and time, and MDRenewWindow",
            now.to_http_date()
        ),
        Cause::Revoked => {
            format!(
                "the CA calls revoked (OCSP) what it issued as lately as {at} in place of something revoked"
            )
        }
        Cause::FormerCa => format!(
            "what was issued at {at} is not from a CA that is configured either: check MDCertificateAuthority"
        ),
        Cause::Missing | Cause::Names | Cause::MustStaple | Cause::Requested => {
            format!("what was issued at {at} for the same reason has not mended it")
        }
    }
}

/// For the ledger. `lifetime`: of the shortest-lived of these certificates.
pub fn issued(request: &Request<'_>, lifetime: Duration, certificates: usize, now: Timestamp) -> Issued {
    Issued {
        at: Timestamp::from_unix(now.unix()),
        ca: request.ca.into(),
        cause: request.cause,
        order: order_of(request.md),
        names: names_of(request.md),
        lifetime,
        certificates: u32::try_from(certificates).unwrap_or(u32::MAX),
        is_replacement: request.is_replacement,
    }
}

fn names_of(md: &Md) -> String {
    let mut names = md.ordered_names();
    names.sort_unstable();
    digest(&names.join(" "))
}

fn order_of(md: &Md) -> String {
    let keys: Vec<String> = md.keys().iter().map(|spec| spec.to_json().to_string()).collect();
    let profile = md.profile.as_deref().unwrap_or_default();
    digest(&format!("{} {} {} {profile}", names_of(md), keys.join(","), md.must_staple))
}

/// Short: it only has to differ.
fn digest(text: &str) -> String {
    let digest = crypto::sha256(text.as_bytes());
    HEXLOWER.encode(&digest.first_chunk::<8>().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeySpec;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const CA: &str = "https://ca.test/dir";
    const LE: &str = "https://acme-v02.api.letsencrypt.org/directory";
    const QUARTER: Duration = DAY.saturating_mul(90);

    fn md() -> Md {
        Md { domains: vec!["a.test".into(), "b.test".into()], ..Md::default() }
    }

    fn request(md: &Md, cause: Cause) -> Request<'_> {
        Request { md, ca: CA, cause, is_replacement: false }
    }

    /// How often a renewal that is always due is done in `span`, looked at when it may go on.
    fn renewals(request: &Request<'_>, lifetime: Duration, span: Duration) -> usize {
        let (mut ledger, mut now, mut count) = (Ledger::default(), NOW, 0);
        while now.since(NOW) < span {
            match brake(&ledger, request, now) {
                Some(held) => now = held.until,
                None => {
                    ledger.add(issued(request, lifetime, 1, now));
                    (now, count) = (now.plus(Duration::from_secs(8)), count + 1);
                }
            }
        }
        count
    }

    #[test]
    fn what_is_always_due_is_renewed_daily_or_each_third_of_a_lifetime() {
        let md = md();
        use Cause::{Advice, Expired, FormerCa, MustStaple, Names, Revoked, Window};
        for cause in [Advice, Expired, FormerCa, MustStaple, Names, Revoked, Window] {
            let request = request(&md, cause);
            assert_eq!(renewals(&request, QUARTER, DAY * 10), 10, "{cause:?}");
            assert_eq!(
                renewals(&request, Duration::from_secs(120), Duration::from_secs(400)),
                10,
                "{cause:?}"
            );
        }
        assert_eq!(renewals(&request(&md, Cause::Missing), QUARTER, DAY), 5);
    }

    #[test]
    fn no_sum_of_reasons_passes_two_sets_a_day() {
        let md = md();
        let mut ledger = Ledger::default();
        let causes = [Cause::Advice, Cause::Window, Cause::Revoked, Cause::FormerCa];
        let mut count = 0;
        for minutes in 0..24 * 60 {
            let now = NOW.plus(Duration::from_secs(minutes * 60));
            for cause in causes {
                if brake(&ledger, &request(&md, cause), now).is_none() {
                    ledger.add(issued(&request(&md, cause), QUARTER, 1, now));
                    count += 1;
                }
            }
        }
        assert_eq!(count, 2);
        let held = brake(&ledger, &request(&md, Cause::Advice), NOW.plus(DAY / 2)).unwrap();
        assert_eq!(held.until, NOW.plus(DAY));
        assert!(held.reason.contains("2 sets of certificates"), "{}", held.reason);
        assert_eq!(
            brake(&ledger, &request(&md, Cause::Missing), NOW),
            None,
            "a site without certificate goes on"
        );
        assert_eq!(renewals(&request(&md, Cause::Requested), QUARTER, DAY), 5, "and an operator is obeyed");
    }

    #[test]
    fn another_order_is_not_braked_nor_by_entries_from_the_future() {
        let mut ledger = Ledger::default();
        let one = md();
        ledger.add(issued(&request(&one, Cause::Window), QUARTER, 1, NOW));
        ledger.add(issued(&request(&one, Cause::Advice), QUARTER, 1, NOW));
        assert!(brake(&ledger, &request(&one, Cause::Window), NOW).is_some());
        for other in [
            Md { domains: vec!["a.test".into()], ..md() },
            Md { must_staple: true, ..md() },
            Md { key_specs: vec![KeySpec::Ec("P-256".into())], ..md() },
            Md { profile: Some("shortlived".into()), ..md() },
        ] {
            assert_eq!(brake(&ledger, &request(&other, Cause::Window), NOW), None);
        }
        // Names covered by a wildcard are not ordered.
        let wild = Md { domains: vec!["*.a.test".into()], ..md() };
        let more = Md { domains: vec!["*.a.test".into(), "www.a.test".into()], ..md() };
        ledger.add(issued(&request(&wild, Cause::Window), QUARTER, 1, NOW));
        assert!(brake(&ledger, &request(&more, Cause::Window), NOW).is_some());
        let turned = Md { domains: vec!["b.test".into(), "a.test".into()], ..md() };
        assert!(brake(&ledger, &request(&turned, Cause::Window), NOW).is_some());
        assert_eq!(brake(&ledger, &request(&one, Cause::Window), NOW.minus(DAY)), None);
    }

    #[test]
    fn the_text_names_cause_and_remedy() {
        let md = md();
        for (cause, words) in [
            (Cause::Advice, ["MDRenewViaARI", "Fri, 15 Jan 2027 08:00:00 GMT"]),
            (Cause::Window, ["MDRenewWindow", "date and time"]),
            (Cause::Expired, ["date and time", "Fri, 15 Jan 2027 09:00:00 GMT"]),
            (Cause::FormerCa, ["MDCertificateAuthority", "08:00:00"]),
        ] {
            let mut ledger = Ledger::default();
            ledger.add(issued(&request(&md, cause), QUARTER, 1, NOW));
            let later = NOW.plus(Duration::from_secs(3600));
            let held = brake(&ledger, &request(&md, cause), later).unwrap();
            assert!(words.iter().all(|word| held.reason.contains(word)), "{}", held.reason);
            assert_eq!(held.until, NOW.plus(DAY));
        }
    }

    #[test]
    fn of_limits_that_end_together_the_cause_is_told() {
        let md = md();
        let mut ledger = Ledger::default();
        ledger.add(issued(&request(&md, Cause::Missing), QUARTER, 1, NOW));
        ledger.add(issued(&request(&md, Cause::Advice), QUARTER, 1, NOW));
        let held = brake(&ledger, &request(&md, Cause::Advice), NOW).unwrap();
        assert_eq!(held.until, NOW.plus(DAY));
        assert!(held.reason.contains("MDRenewViaARI"), "{}", held.reason);
    }

    #[test]
    fn no_ledger_has_a_ca_full_for_longer_than_it_takes_to_refill() {
        let md = md();
        let request = Request { md: &md, ca: LE, cause: Cause::Window, is_replacement: false };
        let mut ledger = Ledger::default();
        (0..32).for_each(|_| ledger.add(issued(&request, QUARTER, usize::MAX, NOW)));
        let held = brake(&ledger, &request, NOW).unwrap();
        assert!(held.until.since(NOW) < DAY * 7, "{}", held.until.to_http_date());
    }

    #[test]
    fn the_limit_of_a_ca_for_the_same_names_is_kept() {
        let keys = [KeySpec::Rsa(2048), KeySpec::Ec("P-256".into())];
        let at = |hours: u32| NOW.plus(Duration::from_secs(3600) * hours);
        let ordered = |ca, is_replacement| {
            let md = Md { must_staple: true, key_specs: keys.to_vec(), ..md() };
            let mut ledger = Ledger::default();
            for hours in [0, 10] {
                let request = Request { md: &md, ca, cause: Cause::Window, is_replacement };
                ledger.add(issued(&request, QUARTER, 2, at(hours)));
            }
            ledger
        };
        let md = Md { key_specs: keys.to_vec(), ..md() };
        let wanted = |ca, is_replacement| Request { md: &md, ca, cause: Cause::Missing, is_replacement };
        // Four of five are taken, and must-staple or not is no other set of names.
        let ledger = ordered(LE, false);
        let held = brake(&ledger, &wanted(LE, false), at(20)).unwrap();
        assert_eq!(held.until.since(NOW), Duration::from_secs(7 * 86_400 / 5), "{}", held.reason);
        assert!(held.reason.contains("5 certificates for the same names in 7d"), "{}", held.reason);
        assert_eq!(brake(&ledger, &wanted(LE, false), held.until), None);
        // Orders that name the certificate they replace are not counted, nor are certificates of another CA,
        // or of one without limits.
        assert_eq!(brake(&ledger, &wanted(LE, true), at(20)), None);
        assert_eq!(brake(&ordered(LE, true), &wanted(LE, false), at(20)), None);
        assert_eq!(brake(&ledger, &wanted(CA, false), at(20)), None);
        assert_eq!(brake(&ordered(CA, false), &wanted(CA, false), at(20)), None);
    }
}
