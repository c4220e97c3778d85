// SPDX-License-Identifier: Apache-2.0
//! Monitors that ask all the time while many domains are renewed at once: every answer is whole, and none is
//! old.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use support::{Config, Pebble, RaisedAtEnd, SOON, http, open_lab, wait_for};

const DOMAINS: usize = 24;
const PACE: Duration = Duration::from_millis(5);
/// An answer may be so old, and no older.
const AGE: Duration = Duration::from_secs(1);

/// What a job said at which time, as the disk had it.
struct History(Vec<(Instant, Value)>);

impl History {
    /// Whether that was over by then. What was never seen on the disk lasted a moment only.
    fn was_over(&self, state: &Value, by: Instant) -> bool {
        let latest = self.0.iter().rposition(|(_, known)| known == state);
        latest.and_then(|at| self.0.get(at + 1)).is_some_and(|(end, _)| *end <= by)
    }
}

#[test]
fn two_hundred_requests_a_second_see_every_step_of_a_renewal_storm() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    pebble.hold();
    let names: Vec<String> = (0..DOMAINS).map(|n| format!("d{n}.test")).collect();
    let mut config = Config::with_ca(&lab, &pebble.authority).line("MDPrivateKeys P-256");
    for name in &names {
        config = config.line(&format!("MDomain {name}")).site(name, &[]);
    }
    let httpd = config.start();
    let job = httpd.config.store().join("staging/d0.test/job.json");
    let history = Mutex::new(History(vec![(Instant::now(), Value::Null)]));
    let is_over = AtomicBool::new(false);
    let answers = thread::scope(|scope| {
        let _is_over = RaisedAtEnd(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let state =
                    fs::read(&job).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
                let state = state.map_or(Value::Null, |job| job["last"]["activity"].clone());
                let mut history = history.lock().unwrap();
                if history.0.last().is_none_or(|(_, last)| *last != state) {
                    history.0.push((Instant::now(), state));
                }
                drop(history);
                thread::sleep(Duration::from_millis(2));
            }
        });
        let ask = || {
            let mut answers = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                let answer = http::get(lab.http, "main.test", "/md-status").expect("an answer");
                assert_eq!(answer.status, 200);
                let all = answer.json()["managed-domains"].as_array().unwrap().clone();
                assert_eq!(all.len(), DOMAINS);
                let first = all.into_iter().find(|md| md["name"] == "d0.test").unwrap();
                answers.push((begin, first["renewal"]["last"]["activity"].clone()));
                thread::sleep((PACE * 2).saturating_sub(begin.elapsed()));
            }
            answers
        };
        let askers = [scope.spawn(ask), scope.spawn(ask)];
        pebble.go_on();
        wait_for("all certificates", SOON, || {
            let live = |name: &String| httpd.md(name)["state"] == 2;
            names.iter().all(live).then_some(())
        });
        is_over.store(true, Ordering::Relaxed);
        askers.map(|asker| asker.join().unwrap()).into_iter().flatten().collect::<Vec<_>>()
    });
    let history = history.into_inner().unwrap();
    // Before it is there, at work, and done.
    assert!(history.0.len() > 2, "steps are seen: {}", history.0.len());
    let seen = answers.iter().filter(|(_, activity)| history.0.iter().any(|(_, known)| known == activity));
    assert!(seen.count() * 2 > answers.len(), "most answers can be judged");
    for (begin, activity) in &answers {
        assert!(!history.was_over(activity, *begin - AGE), "{activity} is older than {AGE:?}");
    }
}
