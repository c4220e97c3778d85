// SPDX-License-Identifier: Apache-2.0
//! Limits concurrent OCSP requests, per responder and in total. A responder that is down receives one request
//! at a time, with pauses in between. [`crate::work::queue`] chooses the next certificate, by the same index.
//! Pure bookkeeping.

use crate::ocsp::Subject;
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The requests to all responders together, as a multiple of the limit for one.
const RESPONDERS: usize = 4;
/// The longest rest of a responder that is down: its end is noticed within that time.
const REST_MAX: Duration = Duration::from_secs(300);

/// One request to be made.
#[derive(Clone)]
pub struct Request {
    pub subject: Arc<Subject>,
    responder: usize,
    /// In a row.
    pub failures: u32,
}

#[derive(Default)]
struct Responder {
    /// In a row, of the responder as a whole.
    outages: u32,
    rests_until: Timestamp,
}

#[derive(Default)]
pub struct Requests {
    /// `None`: its certificate was forgotten.
    all: Vec<Option<Request>>,
    responders: Vec<Responder>,
    /// By host.
    known: HashMap<String, usize>,
    parallel: usize,
}

impl Requests {
    /// `parallel`: requests to one responder at once.
    pub fn new(parallel: usize) -> Self {
        Requests { parallel: parallel.max(1), ..Requests::default() }
    }

    /// Adds a certificate, unless it is known. `failures`: how many there were in a row until now.
    pub fn add(&mut self, subject: Arc<Subject>, failures: u32) -> bool {
        if self.all.iter().flatten().any(|known| known.subject.id == subject.id) {
            return false;
        }
        let responders = &mut self.responders;
        let responder = *self.known.entry(subject.responder_host().to_string()).or_insert_with(|| {
            responders.push(Responder::default());
            responders.len() - 1
        });
        self.all.push(Some(Request { subject, responder, failures }));
        true
    }

    pub fn get(&self, index: usize) -> Option<&Request> {
        self.all.get(index)?.as_ref()
    }

    /// Its certificate is not asked for any more.
    pub fn forget(&mut self, index: usize) {
        if let Some(request) = self.all.get_mut(index) {
            *request = None;
        }
    }

    /// None of these certificates is asked for any more. Returns them.
    pub fn forget_all(&mut self, is_past: impl Fn(&Subject) -> bool) -> Vec<Arc<Subject>> {
        let is_past = |request: &Request| is_past(&request.subject);
        let past = self.all.iter_mut().filter(|request| request.as_ref().is_some_and(is_past));
        past.filter_map(Option::take).map(|request| request.subject).collect()
    }

    /// By responder: whether it may be asked beside the requests that run. `None`: no request may begin.
    pub fn open(&self, running: &mut dyn Iterator<Item = usize>, now: Timestamp) -> Option<Vec<bool>> {
        let mut counts = vec![0; self.responders.len()];
        for request in running.filter_map(|index| self.get(index)) {
            counts.get_mut(request.responder).into_iter().for_each(|count: &mut usize| *count += 1);
        }
        let is_full = counts.iter().sum::<usize>() >= self.parallel.saturating_mul(RESPONDERS);
        let is_open = |(responder, running): (&Responder, usize)| {
            responder.is_awake(now) && running < responder.limit(self.parallel)
        };
        (!is_full).then(|| self.responders.iter().zip(counts).map(is_open).collect())
    }

    /// Whether the responder of this request is among the open ones.
    pub fn is_open(&self, index: usize, open: &[bool]) -> bool {
        let is_open = self.get(index).and_then(|request| open.get(request.responder));
        is_open.is_some_and(|is_open| *is_open)
    }

    /// A request has ended. `due` is when this certificate is asked for again.
    pub fn end(&mut self, index: usize, outcome: Outcome, due: Timestamp, now: Timestamp) {
        let Some(Some(request)) = self.all.get_mut(index) else { return };
        request.failures = if outcome == Outcome::Success { 0 } else { request.failures.saturating_add(1) };
        let Some(responder) = self.responders.get_mut(request.responder) else { return };
        if outcome == Outcome::Outage {
            responder.outages = responder.outages.saturating_add(1);
            responder.rests_until = now.plus(due.since(now).min(REST_MAX));
        } else {
            *responder = Responder::default();
        }
    }
}

impl Responder {
    /// Whether its rest is over. One that is longer than any is by a clock that was ahead.
    fn is_awake(&self, now: Timestamp) -> bool {
        self.rests_until <= now || self.rests_until > now.plus(REST_MAX)
    }

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
    use crate::work::queue::Queue;

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

    /// Requests in the queue that a pool takes them from.
    struct Queued {
        requests: Requests,
        queue: Queue,
    }

    impl Queued {
        fn new(parallel: usize, subjects: Vec<Arc<Subject>>) -> Queued {
            let mut requests = Requests::new(parallel);
            let count = subjects.len();
            subjects.into_iter().for_each(|subject| assert!(requests.add(subject, 0)));
            Queued { requests, queue: Queue::new((0..count).map(|_| Some(NOW))) }
        }

        fn next(&mut self, now: Timestamp) -> Option<usize> {
            let open = self.requests.open(&mut self.queue.running(), now)?;
            self.queue.begin(now, |index| self.requests.is_open(index, &open))
        }

        /// The requests that begin now.
        fn begin(&mut self, now: Timestamp) -> Vec<usize> {
            std::iter::from_fn(|| self.next(now)).collect()
        }

        /// The same by their responders.
        fn responders(&mut self, now: Timestamp) -> Vec<usize> {
            self.begin(now).into_iter().map(|index| self.requests.get(index).unwrap().responder).collect()
        }

        fn end(&mut self, index: usize, outcome: Outcome, due: Timestamp, now: Timestamp) {
            self.requests.end(index, outcome, due, now);
            self.queue.ended(index, Some(due));
        }
    }

    #[test]
    fn a_forgotten_certificate_has_no_request_and_may_come_again() {
        let mut requests = Requests::new(2);
        let [one, other] = [0, 1].map(|n| subjects(2, "http://o.test")[n].clone());
        assert!(requests.add(one.clone(), 0) && requests.add(other, 0));
        requests.forget(0);
        requests.end(0, Outcome::Failure, NOW, NOW);
        assert!(requests.get(0).is_none() && requests.get(1).is_some());
        assert!(requests.add(one, 0));
        assert!(requests.get(2).is_some());
    }

    #[test]
    fn as_many_requests_as_allowed_run_until_nothing_is_due() {
        let all = subjects(5, "http://o.test/x");
        let mut queued = Queued::new(2, all.clone());
        assert!(!queued.requests.add(all[0].clone(), 0), "known");
        assert_eq!(queued.begin(NOW.minus(Duration::from_secs(1))), [0; 0]);
        let mut running = queued.begin(NOW);
        assert_eq!(running, [0, 1]);
        assert_eq!(queued.begin(NOW), [0; 0], "no more at once");
        let mut asked = Vec::new();
        while let Some(index) = running.pop() {
            queued.end(index, Outcome::Success, NOW.plus(Duration::from_secs(60)), NOW);
            asked.push(queued.requests.get(index).unwrap().subject.id[0]);
            running.extend(queued.next(NOW));
        }
        asked.sort_unstable();
        assert_eq!(asked, [0, 1, 2, 3, 4]);
        assert!(queued.next(NOW).is_none());
        assert_eq!(queued.begin(NOW.plus(Duration::from_secs(60))).len(), 2);
    }

    #[test]
    fn no_more_requests_start_than_there_is_to_do() {
        let mut queued = Queued::new(16, subjects(3, "http://o.test"));
        assert_eq!(queued.begin(NOW).len(), 3);
    }

    #[test]
    fn responders_do_not_hold_up_each_other_and_all_together_are_bounded() {
        let urls: Vec<String> = (1..8).map(|n| format!("http://{}.test", "a".repeat(n))).collect();
        let mut queued = Queued::new(2, urls.iter().flat_map(|url| subjects(3, url)).collect());
        assert_eq!(queued.responders(NOW), [0, 0, 1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn a_responder_that_is_down_rests_and_is_then_asked_by_one() {
        let mut queued = Queued::new(2, subjects(4, "http://o.test"));
        let first = queued.begin(NOW);
        assert_eq!(first, [0, 1]);
        let later = NOW.plus(Duration::from_secs(3600));
        for index in first {
            queued.end(index, Outcome::Outage, later, NOW);
            assert!(queued.next(NOW).is_none());
        }
        assert_eq!(queued.begin(NOW), [0; 0]);
        let probe = NOW.plus(REST_MAX);
        assert_eq!(queued.begin(probe), [2]);
        assert!(queued.begin(probe).is_empty());
        queued.end(2, Outcome::Success, later.plus(REST_MAX), probe);
        assert_eq!(queued.begin(probe).len(), 1, "open again");
    }

    #[test]
    fn a_rest_by_a_clock_that_was_ahead_is_over_when_that_is_right() {
        let mut queued = Queued::new(1, subjects(2, "http://o.test"));
        let ahead = NOW.plus(Duration::from_secs(86_400));
        assert_eq!(queued.begin(ahead), [0]);
        queued.end(0, Outcome::Outage, ahead.plus(REST_MAX), ahead);
        assert!(queued.begin(ahead).is_empty());
        assert_eq!(queued.begin(NOW), [1]);
    }

    #[test]
    fn a_certificate_the_responder_does_not_know_holds_up_no_other() {
        let mut queued = Queued::new(1, subjects(2, "http://o.test"));
        assert_eq!(queued.begin(NOW), [0]);
        queued.end(0, Outcome::Failure, NOW.plus(REST_MAX), NOW);
        assert_eq!(queued.begin(NOW), [1]);
        queued.end(1, Outcome::Success, NOW.plus(REST_MAX), NOW);
        assert_eq!(queued.begin(NOW.plus(REST_MAX)), [0]);
        assert_eq!(queued.requests.get(0).unwrap().failures, 1);
    }
}
