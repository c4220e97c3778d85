// SPDX-License-Identifier: Apache-2.0
//! Children that end in the middle of renewals: by graceful restarts, stops, and for having served their
//! connections.

use super::lab;
use support::Pebble;
use support::ends::{Ends, Way, config, visited};

const DOMAINS: usize = 120;

/// On each MPM: so many graceful restarts, a fifth of them with `MaxConnectionsPerChild 5`, and a fifth as
/// many stops.
pub fn run(restarts: usize, mpm: Option<&str>) {
    for way in
        ["event", "worker", "prefork"].into_iter().filter(|name| mpm.is_none_or(|asked| asked == *name))
    {
        for (live, few_connections, share) in [(false, false, 2), (true, false, 2), (true, true, 1)] {
            let way = Way { mpm: way, live, few_connections };
            let lab = lab("ends");
            let pebble = Pebble::start(&lab);
            let config = config(&lab, &pebble.authority, way, DOMAINS);
            let mut ends = Ends::default();
            let mut httpd = config.clone().start();
            let rounds = restarts * share / 5;
            match few_connections {
                true => visited(&lab, DOMAINS, || ends.restart(&mut httpd, rounds)),
                false => ends.restart(&mut httpd, rounds),
            }
            httpd.stop();
            config.forget();
            print(way, &format!("{rounds} graceful restarts"), &ends);
            let mut ends = Ends::default();
            ends.stop(&config, restarts * share / 25);
            print(way, &format!("{} stops", ends.stops.len()), &ends);
        }
    }
}

fn print(way: Way, what: &str, ends: &Ends) {
    let mut stops: Vec<u128> = ends.stops.iter().map(std::time::Duration::as_millis).collect();
    stops.sort_unstable();
    println!(
        "ends: {way:?}, {what}: {} crashes or late ends, {} children left over, the slowest child ended after {} ms{}",
        ends.crashes.len(),
        ends.left_over,
        ends.slowest_child.as_millis(),
        stops.last().map_or(String::new(), |last| format!(
            ", stops took {} ms (median) to {last} ms",
            stops[stops.len() / 2]
        )),
    );
    ends.crashes.iter().take(3).for_each(|line| println!("  {line}"));
}
