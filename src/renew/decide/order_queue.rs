// SPDX-License-Identifier: Apache-2.0
//! The order in which the domains of this server place orders at a CA that limits the orders of an account:
//! the first start of thousands of domains takes its time and is not refused. Pure bookkeeping; it neither
//! orders nor waits.

use super::brake::{Request, orders_of};
use crate::acme::published_limits::{self, Limit, Limits};
use crate::model::HeldBack;
use crate::time::{Timestamp, format_duration};
use std::collections::HashMap;

/// The renewals that order at CAs which limit the orders of an account. Renewals that name the certificate
/// they replace need no place: their orders are not counted.
#[derive(Debug, Default)]
pub struct OrderQueue {
    /// By the name of the CA.
    cas: HashMap<&'static str, Line>,
}

#[derive(Debug)]
struct Line {
    limit: &'static Limit,
    /// When all that orders and places have taken will be available again.
    full: Timestamp,
    /// By the names of MDs. A place is kept until its orders are placed.
    places: HashMap<String, Place>,
    /// The latest time seen: a clock that is set back empties the line.
    seen: Timestamp,
}

#[derive(Debug)]
struct Place {
    since: Timestamp,
    at: Timestamp,
    /// Orders that are not placed yet.
    left: u32,
}

/// A part of this is left to others with the same account.
const SPARED: u32 = 10;

impl OrderQueue {
    /// Counts an order that an earlier process has placed. The oldest comes first.
    pub fn add_placed(&mut self, ca: &str, at: Timestamp, now: Timestamp) {
        if let Some(known) =
            published_limits::of(ca).filter(|known| at <= now && now.since(at) < known.orders.span)
        {
            let line = self.line(known);
            line.full = line.limit.taken(line.full, at, 1).min(at.plus(line.limit.span));
        }
    }

    /// Counts an order that is placed now.
    pub fn place(&mut self, ca: &str, name: &str, now: Timestamp) {
        let Some(known) = published_limits::of(ca) else { return };
        let line = self.line(known);
        match line.places.get_mut(name) {
            Some(place) if place.left > 0 => place.left -= 1,
            _ => line.full = line.limit.taken(line.full, now, 1),
        }
    }

    /// Takes a place, or keeps the one taken before. Until when the renewal does not begin; `None`: it may
    /// now.
    pub fn take_place(&mut self, request: &Request<'_>, now: Timestamp) -> Option<HeldBack> {
        let known = published_limits::of(request.ca).filter(|_| !request.is_replacement)?;
        let line = self.line(known);
        let limit = line.limit;
        if now < line.seen {
            (line.full, line.places) = (line.full.min(now.plus(limit.span)), HashMap::new());
        }
        line.seen = now;
        let place = line.places.entry(request.md.name.clone()).or_insert_with(|| {
            let left = orders_of(request.md).min(limit.most);
            let at = limit.free_at(line.full, left.saturating_add(limit.most / SPARED)).max(now);
            line.full = limit.taken(line.full, at, left);
            Place { since: now, at, left }
        });
        let reason = format!(
            "{} takes no more than {} new orders of an account in {}, and other domains of this server come first",
            known.ca,
            limit.most,
            format_duration(limit.span)
        );
        (place.at > now).then(|| HeldBack::new(reason, place.at.ceil()))
    }

    /// Since when the renewal of this name has waited.
    pub fn waits_since(&self, ca: &str, name: &str) -> Option<Timestamp> {
        self.cas.get(published_limits::of(ca)?.ca)?.places.get(name).map(|place| place.since)
    }

    /// Frees the place of a renewal that is over or has become unnecessary, for others to order.
    pub fn leave(&mut self, name: &str) {
        for line in self.cas.values_mut() {
            if let Some(place) = line.places.remove(name) {
                line.full = line.full.minus(line.limit.refill() * place.left);
            }
        }
    }

    fn line(&mut self, known: &'static Limits) -> &mut Line {
        self.cas.entry(known.ca).or_insert_with(|| Line {
            limit: &known.orders,
            full: Timestamp::default(),
            places: HashMap::new(),
            seen: Timestamp::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Md;
    use crate::model::ledger::Cause;
    use crate::time::DAY;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const CA: &str = "https://ca.test/dir";
    const LE: &str = "https://acme-v02.api.letsencrypt.org/directory";

    fn md() -> Md {
        Md { domains: vec!["a.test".into(), "b.test".into()], ..Md::default() }
    }

    fn named(name: &str) -> Md {
        Md { name: name.into(), ..md() }
    }

    fn first(md: &Md) -> Request<'_> {
        Request { md, ca: LE, cause: Cause::Missing, is_replacement: false }
    }

    /// When each of this many domains places its order, all due at `NOW`.
    fn placed(queue: &mut OrderQueue, count: usize) -> Vec<Timestamp> {
        let mds: Vec<Md> = (0..count).map(|n| named(&n.to_string())).collect();
        let line = mds.iter().map(|md| queue.take_place(&first(md), NOW).map_or(NOW, |held| held.until));
        let placed: Vec<Timestamp> = line.collect();
        for (md, at) in mds.iter().zip(&placed) {
            assert_eq!(queue.take_place(&first(md), *at), None, "its time has come");
        }
        placed
    }

    #[test]
    fn a_first_start_of_thousands_of_domains_keeps_to_the_limit_of_orders() {
        let placed = placed(&mut OrderQueue::default(), 10_000);
        let span = Duration::from_secs(3 * 3600);
        for (n, at) in placed.iter().enumerate() {
            let within = placed.iter().skip(n).take_while(|later| later.since(*at) < span).count();
            // Until there is one more, all but a part is there at once.
            assert!(within <= 570, "{within} in three hours");
        }
        assert_eq!(placed.iter().filter(|at| **at == NOW).count(), 270, "a part is left to others");
        let days = placed.last().unwrap().since(NOW).as_secs() / 86_400;
        assert_eq!(days, 4, "one every 36 seconds");
    }

    #[test]
    fn orders_of_earlier_processes_count_and_unused_places_are_given_back() {
        let until = |queue: &mut OrderQueue, name: &str| {
            queue.take_place(&first(&named(name)), NOW).map(|held| held.until)
        };
        let mut queue = OrderQueue::default();
        let long_ago = NOW.minus(Duration::from_secs(4 * 3600));
        (0..500).for_each(|_| queue.add_placed(LE, long_ago, NOW));
        (0..500).for_each(|_| queue.add_placed(LE, NOW.plus(DAY), NOW));
        assert_eq!(until(&mut queue, "a"), None, "they are long ago, or noted by a clock that was ahead");
        (0..500).for_each(|_| queue.add_placed(LE, NOW, NOW));
        let held = queue.take_place(&first(&named("b")), NOW).unwrap();
        assert!(held.until > NOW && held.until.since(NOW) <= Duration::from_secs(3 * 3600));
        assert!(held.reason.contains("300 new orders of an account in 3h"), "{}", held.reason);
        // A place and the order placed for it are not counted twice.
        let mut queue = OrderQueue::default();
        for n in 0..270 {
            assert_eq!(until(&mut queue, &n.to_string()), None);
            queue.place(LE, &n.to_string(), NOW);
        }
        let next = until(&mut queue, "next").unwrap();
        assert!(next.since(NOW) <= Duration::from_secs(36), "{}", next.to_http_date());
        // A CA that cannot be reached: nothing was ordered.
        let mut queue = OrderQueue::default();
        for n in 0..1000 {
            assert_eq!(until(&mut queue, &n.to_string()), None);
            queue.leave(&n.to_string());
        }
        assert!((0..300).filter_map(|n| until(&mut queue, &n.to_string())).count() > 0);
        let md = md();
        let mut replacing = Request { is_replacement: true, ..first(&md) };
        assert_eq!(queue.take_place(&replacing, NOW), None);
        (replacing.is_replacement, replacing.ca) = (false, CA);
        assert_eq!(queue.take_place(&replacing, NOW), None, "a CA whose limits are not known");
    }

    #[test]
    fn a_clock_that_is_set_back_holds_back_no_longer_than_the_ca_would() {
        let mut queue = OrderQueue::default();
        placed(&mut queue, 10_000);
        let before = NOW.minus(DAY * 70);
        let md = named("a");
        let held = queue.take_place(&first(&md), before).unwrap();
        assert!(
            held.until.since(before) <= Duration::from_secs(3 * 3600 + 36),
            "{}",
            held.until.to_http_date()
        );
    }
}
