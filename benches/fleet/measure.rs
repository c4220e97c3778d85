// SPDX-License-Identifier: Apache-2.0
//! What nodes and engine have used up to now, and what clients of a node see.

use crate::engine::Engine;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use support::stream::Stream;
use support::{Httpd, fleet, process, tls};

/// The parent and its children.
fn processes(httpd: &Httpd) -> impl Iterator<Item = u32> {
    std::iter::once(httpd.pid()).chain(process::children(httpd.pid()))
}

/// Processor time of a process, to the nanosecond: of the threads that there are now.
pub fn cpu_of(pid: u32) -> Duration {
    let spent = |path: &Path| {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    Duration::from_nanos(threads.filter_map(|thread| spent(&thread.path())).sum())
}

/// Of all processes of a node.
pub fn cpu(httpd: &Httpd) -> Duration {
    processes(httpd).map(cpu_of).sum()
}

/// Memory of all processes of a node, each with its share of what several map, in kB.
pub fn memory(httpd: &Httpd) -> u64 {
    let of = |pid: u32| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    processes(httpd).filter_map(of).sum()
}

/// What else the machine had to do in the last minute.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_string()
}

/// What an engine and its nodes have done since this began.
pub struct Asked<'a> {
    engine: &'a Engine,
    nodes: &'a [Httpd],
    begin: Instant,
    requests: BTreeMap<String, u64>,
    traffic: [u64; 2],
    cpu: Duration,
    told: u64,
    cpu_of_nodes: Vec<Duration>,
}

/// What the nodes have counted themselves.
fn told(nodes: &[Httpd]) -> u64 {
    nodes.iter().filter_map(|node| fleet::report(node)["requests"]["answered"].as_u64()).sum()
}

impl<'a> Asked<'a> {
    pub fn begin(engine: &'a Engine, nodes: &'a [Httpd]) -> Asked<'a> {
        let told = told(nodes);
        let (requests, traffic, cpu) = (engine.requests(), engine.traffic(), cpu_of(engine.pid()));
        let cpu_of_nodes = nodes.iter().map(self::cpu).collect();
        Asked { engine, nodes, begin: Instant::now(), requests, traffic, cpu, told, cpu_of_nodes }
    }

    /// Prints it, by second, and by MD where there is a number of them.
    pub fn print(self, what: &str, mds: Option<usize>) {
        let seconds = self.begin.elapsed().as_secs_f64();
        let cpu_of_nodes = self.nodes.iter().zip(&self.cpu_of_nodes);
        let cpu_of_nodes: Vec<String> = cpu_of_nodes
            .map(|(node, before)| {
                let share = (cpu(node) - *before).as_secs_f64() / seconds * 100.0;
                format!("{share:.2}")
            })
            .collect();
        let (cpu, traffic, now) =
            (cpu_of(self.engine.pid()) - self.cpu, self.engine.traffic(), self.engine.requests());
        let told = told(self.nodes) - self.told;
        let more = |(name, count): (&String, &u64)| {
            let before = self.requests.get(name).copied().unwrap_or_default();
            (*count > before).then(|| (name.clone(), count - before))
        };
        let kinds: BTreeMap<String, u64> = now.iter().filter_map(more).collect();
        let all: u64 = kinds.values().sum();
        let per = |count: u64| {
            let by_md = mds.map(|mds| format!(", {:.1} an MD", count as f64 / mds as f64));
            format!("{count} ({:.2}/s{})", count as f64 / seconds, by_md.unwrap_or_default())
        };
        println!("{what}: {seconds:.1} s, load {}", load());
        println!("  requests at the engine {}, by the nodes' own count {}", per(all), per(told));
        println!("  {kinds:?}");
        println!(
            "  bytes to the engine {}, from it {}",
            per(traffic[0] - self.traffic[0]),
            per(traffic[1] - self.traffic[1])
        );
        println!(
            "  processor time, % of a core: engine {:.2}, nodes {}",
            cpu.as_secs_f64() / seconds * 100.0,
            cpu_of_nodes.join(", ")
        );
    }
}

/// A client that looks at certificates alone.
pub fn client() -> SslContext {
    let mut builder = SslContext::builder(SslMethod::tls_client()).unwrap();
    builder.set_verify(SslVerifyMode::NONE);
    builder.build()
}

/// The serial that a node serves, and who has issued it; `None`: the handshake has failed.
pub fn served(client: &SslContext, number: u8, port: u16, name: &str) -> Option<(String, String)> {
    let mut ssl = Ssl::new(client).ok()?;
    ssl.set_hostname(name).ok()?;
    let stream = ssl.connect(Stream::connect_to(&fleet::address(number), port).ok()?).ok()?;
    let leaf = stream.ssl().peer_certificate()?;
    Some((tls::serial(&leaf), format!("{:?}", leaf.issuer_name())))
}

/// Waits until all these nodes serve these names with a certificate of that issuer.
pub fn wait_issued(nodes: &[u8], port: u16, names: &[String], issuer: &str) {
    let client = client();
    for name in names {
        for &number in nodes {
            while !served(&client, number, port, name).is_some_and(|(_, by)| by.contains(issuer)) {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// The value below which so many percent lie, of sorted ones.
pub fn at<T: Copy>(sorted: &[T], percent: usize) -> T {
    sorted[(sorted.len() - 1) * percent / 100]
}
