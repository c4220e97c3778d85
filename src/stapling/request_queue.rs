// SPDX-License-Identifier: Apache-2.0
//! Whose turn it is: which certificate is asked for next, and how many at once with one responder and in all.
//! A responder that is down is asked by one request at a time, and rests in between.

use crate::ocsp::Subject;
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How many times what one responder may take all of them together may.
const RESPONDERS: usize = 4;
/// The longest rest of a responder that is down: its end is noticed within that time.
const REST_MAX: Duration = Duration::from_secs(300);

struct Slot {
    subject: Arc<Subject>,
    host: usize,
    due: Timestamp,
    is_busy: bool,
    /// In a row.
    failures: u32,
}

#[derive(Default)]
struct Host {
    threads: usize,
    /// In a row, of the responder as a whole.
    outages: u32,
    rests_until: Timestamp,
}

#[derive(Default)]
pub struct Turns {
    slots: Vec<Slot>,
    hosts: Vec<Host>,
    host_index: HashMap<String, usize>,
    parallel: usize,
}

/// One request to be made.
#[derive(Clone)]
pub struct Turn {
    pub slot: usize,
    pub subject: Arc<Subject>,
    pub failures: u32,
}

impl Turns {
    /// `parallel`: requests to one responder at once.
    pub fn new(parallel: usize) -> Self {
        Turns { parallel: parallel.max(1), ..Turns::default() }
    }

    /// Adds a certificate, unless it is known. So many `failures` in a row there were until now.
    pub fn add(&mut self, subject: Arc<Subject>, due: Timestamp, failures: u32) -> bool {
        if self.slots.iter().any(|slot| slot.subject.id == subject.id) {
            return false;
        }
        let hosts = &mut self.hosts;
        let host = *self.host_index.entry(subject.responder_host().to_string()).or_insert_with(|| {
            hosts.push(Host::default());
            hosts.len() - 1
        });
        self.slots.push(Slot { subject, host, due, is_busy: false, failures });
        true
    }

    /// The responders for which a thread has to be started now, one entry each thread. They count from now
    /// on.
    pub fn begin(&mut self, now: Timestamp) -> Vec<usize> {
        let mut waiting = vec![0; self.hosts.len()];
        for slot in self.slots.iter().filter(|slot| !slot.is_busy && slot.due <= now) {
            waiting.get_mut(slot.host).into_iter().for_each(|count: &mut usize| *count += 1);
        }
        let mut running: usize = self.hosts.iter().map(|host| host.threads).sum();
        let (parallel, in_all) = (self.parallel, self.parallel.saturating_mul(RESPONDERS));
        let mut started = Vec::new();
        for (index, (host, waiting)) in self.hosts.iter_mut().zip(waiting).enumerate() {
            while host.rests_until <= now
                && host.threads < host.limit(parallel).min(waiting + host.threads)
                && started.iter().filter(|h| **h == index).count() < waiting
                && running < in_all
            {
                host.threads += 1;
                running += 1;
                started.push(index);
            }
        }
        started
    }

    /// The next request of a thread for this responder; `None` ends the thread.
    pub fn next(&mut self, host_index: usize, now: Timestamp) -> Option<Turn> {
        let parallel = self.parallel;
        let host = self.hosts.get_mut(host_index)?;
        let may = host.rests_until <= now && host.threads <= host.limit(parallel);
        let is_next = |slot: &Slot| slot.host == host_index && !slot.is_busy && slot.due <= now;
        // The one that waits longest.
        let candidates = self.slots.iter_mut().enumerate().filter(|(_, slot)| is_next(slot));
        match candidates.min_by_key(|(_, slot)| slot.due).filter(|_| may) {
            Some((index, slot)) => {
                slot.is_busy = true;
                Some(Turn { slot: index, subject: slot.subject.clone(), failures: slot.failures })
            }
            None => {
                host.threads = host.threads.saturating_sub(1);
                None
            }
        }
    }

    /// A request has ended. `due` is when this certificate is asked for again.
    pub fn end(&mut self, slot: usize, outcome: Outcome, due: Timestamp, now: Timestamp) {
        let Some(slot) = self.slots.get_mut(slot) else { return };
        slot.is_busy = false;
        slot.due = due;
        slot.failures = if outcome == Outcome::Success { 0 } else { slot.failures.saturating_add(1) };
        let Some(host) = self.hosts.get_mut(slot.host) else { return };
        if outcome == Outcome::Outage {
            host.outages = host.outages.saturating_add(1);
            host.rests_until = now.plus(due.since(now).min(REST_MAX));
        } else {
            *host = Host { threads: host.threads, ..Host::default() };
        }
    }

    /// A thread ended without asking for its next turn.
    pub fn lose_thread(&mut self, host: usize) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.threads = host.threads.saturating_sub(1);
        }
    }
}

impl Host {
    fn limit(&self, parallel: usize) -> usize {
        if self.outages > 0 { 1 } else { parallel }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    /// For this certificate.
    Failure,
    /// The responder does not work.
    Outage,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::NOW;
    use crate::ocsp::fixture::{Responder, subject};

    fn subjects(count: u8, url: &str) -> Vec<Arc<Subject>> {
        let responder = Responder::new();
        let make = |n| {
            let mut subject = subject(&responder, url);
            subject.id[0] = n;
            subject.id[1] = url.len() as u8;
            Arc::new(subject)
        };
        (0..count).map(make).collect()
    }

    fn turns(parallel: usize, subjects: Vec<Arc<Subject>>) -> Turns {
        let mut turns = Turns::new(parallel);
        subjects.into_iter().for_each(|subject| assert!(turns.add(subject, NOW, 0)));
        turns
    }

    #[test]
    fn as_many_threads_as_allowed_ask_until_nothing_is_due() {
        let all = subjects(5, "http://o.test/x");
        let mut turns = turns(2, all.clone());
        assert!(!turns.add(all[0].clone(), NOW, 0), "known");
        assert_eq!(turns.begin(NOW.minus(Duration::from_secs(1))), [0; 0]);
        assert_eq!(turns.begin(NOW), [0, 0]);
        assert_eq!(turns.begin(NOW), [0; 0], "no more at once");
        let mut asked = Vec::new();
        while let Some(turn) = turns.next(0, NOW) {
            turns.end(turn.slot, Outcome::Success, NOW.plus(Duration::from_secs(60)), NOW);
            asked.push(turn.subject.id[0]);
        }
        assert_eq!(asked, [0, 1, 2, 3, 4]);
        assert!(turns.next(0, NOW).is_none());
        assert_eq!(turns.begin(NOW.plus(Duration::from_secs(60))).len(), 2);
    }

    #[test]
    fn no_more_threads_start_than_there_is_to_do() {
        let mut turns = turns(16, subjects(3, "http://o.test"));
        assert_eq!(turns.begin(NOW).len(), 3);
    }

    #[test]
    fn responders_do_not_hold_up_each_other_and_all_together_are_bounded() {
        let urls: Vec<String> = (1..8).map(|n| format!("http://{}.test", "a".repeat(n))).collect();
        let mut turns = turns(2, urls.iter().flat_map(|url| subjects(3, url)).collect());
        let started = turns.begin(NOW);
        assert_eq!(started, [0, 0, 1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn a_responder_that_is_down_rests_and_is_then_asked_by_one_until_it_answers() {
        let mut turns = turns(2, subjects(4, "http://o.test"));
        assert_eq!(turns.begin(NOW), [0, 0]);
        let (first, second) = (turns.next(0, NOW).unwrap(), turns.next(0, NOW).unwrap());
        let later = NOW.plus(Duration::from_secs(3600));
        turns.end(first.slot, Outcome::Outage, later, NOW);
        turns.end(second.slot, Outcome::Outage, later, NOW);
        assert!(turns.next(0, NOW).is_none() && turns.next(0, NOW).is_none());
        assert_eq!(turns.begin(NOW), [0; 0]);
        let probe = NOW.plus(REST_MAX);
        assert_eq!(turns.begin(probe), [0]);
        let third = turns.next(0, probe).unwrap();
        assert!(turns.begin(probe).is_empty());
        turns.end(third.slot, Outcome::Success, later.plus(REST_MAX), probe);
        assert_eq!(turns.begin(probe).len(), 1, "open again");
    }

    #[test]
    fn a_certificate_the_responder_does_not_know_holds_up_no_other() {
        let mut turns = turns(1, subjects(2, "http://o.test"));
        assert_eq!(turns.begin(NOW), [0]);
        let first = turns.next(0, NOW).unwrap();
        turns.end(first.slot, Outcome::Failure, NOW.plus(REST_MAX), NOW);
        assert_eq!(turns.next(0, NOW).unwrap().slot, 1);
        turns.end(1, Outcome::Success, NOW.plus(REST_MAX), NOW);
        assert!(turns.next(0, NOW.plus(REST_MAX)).unwrap().failures == 1);
    }
}
