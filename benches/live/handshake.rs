// SPDX-License-Identifier: Apache-2.0
//! Processor time of a handshake, with live activation on and off.
//!
//! Three servers take turns in short blocks, so that whatever else the machine does meets all of them: one
//! with live activation, one without, and another without, which tells how far two of the same are apart.
//! They are started anew several times, as where things lie in a process' memory costs, too.

use super::{client, cpu, lab, leaf, names, sites};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use support::issuer::{self, Issuer};
use support::{Authority, Config, Httpd, Lab, process};

const SERVERS: [(&str, &str); 3] = [("on", "on"), ("off", "off"), ("off again", "off")];
const STARTS: usize = 8;
const BLOCK: usize = 25;
/// Handshakes of which the instructions are counted.
const COUNTED: usize = 400;

pub fn run(count: usize) {
    let blocks = count.div_ceil(STARTS * BLOCK).max(1);
    // By server: µs of a handshake, block by block.
    let mut spent: [Vec<f64>; 3] = Default::default();
    for start in 0..STARTS {
        let servers = SERVERS.map(|(name, live)| server(name, live, &[]));
        measure(&servers, blocks, start, &mut spent);
    }
    let count = STARTS * blocks * BLOCK;
    println!(
        "handshake: {count} each, in blocks of {BLOCK}, {STARTS} starts; processor time of httpd, median (quartiles):"
    );
    for ((name, _), spent) in SERVERS.iter().zip(&spent) {
        println!("  {name:<9} {} µs", spread(spent.clone(), 1));
    }
    for at in [0, 2] {
        let ratios = spent[at].iter().zip(&spent[1]).map(|(one, other)| (one / other - 1.0) * 100.0);
        println!("  {} against off, block by block: {} %", SERVERS[at].0, spread(ratios.collect(), 2));
    }
    let has_valgrind = Command::new("valgrind").arg("--version").output().is_ok_and(|o| o.status.success());
    if has_valgrind {
        // A second opinion that no other work on the machine can change.
        let [on, off] = ["on", "off"].map(instructions);
        println!(
            "  instructions of httpd's child, mean of {COUNTED} (callgrind): on {on:.0}, off {off:.0}, {:+.2} %",
            (on / off - 1.0) * 100.0
        );
    } else {
        println!("  valgrind is not here: instructions are not counted");
    }
}

/// Of a handshake: what so many more of them cost.
fn instructions(live: &str) -> f64 {
    let total = |handshakes: usize| {
        let dir = lab("callgrind");
        // The child writes there, too.
        fs::set_permissions(&dir.dir, fs::Permissions::from_mode(0o777)).unwrap();
        let out = format!("--callgrind-out-file={}/out.%p", dir.dir.display());
        let under = ["valgrind", "--tool=callgrind", "--vgdb=no", "-q", &out];
        let (lab, httpd) = server(&format!("counted {live}"), live, &under);
        let child = *process::children(httpd.pid()).first().expect("a child");
        let context = client();
        (0..handshakes).for_each(|_| drop(leaf(&context, lab.https, "d0.test").expect("a handshake")));
        httpd.stop();
        let text = fs::read_to_string(dir.path(format!("out.{child}"))).expect("what callgrind has counted");
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        total.and_then(|total| total.trim().parse::<f64>().ok()).expect("a total")
    };
    let few = total(BLOCK);
    (total(BLOCK + COUNTED) - few) / COUNTED as f64
}

/// `under`: the program that runs httpd.
fn server(name: &str, live: &str, under: &[&str]) -> (Lab, Httpd) {
    let lab = lab(&format!("handshake-{}", name.replace(' ', "-")));
    let issuer = Issuer::new();
    let config = sites(Config::with_ca(&lab, &Authority::new(&lab)), &names(1));
    issuer::install(&config.store(), &["d0.test"], &[&issuer.issue(&["d0.test"])]);
    let httpd = config
        .line(&format!("MDLiveActivation {live}"))
        .under(under)
        .line("StartServers 1\nServerLimit 1\nMaxRequestWorkers 8\nMaxSpareThreads 8")
        .start();
    (lab, httpd)
}

fn measure(servers: &[(Lab, Httpd); 3], blocks: usize, start: usize, spent: &mut [Vec<f64>; 3]) {
    let context = client();
    let shake = |lab: &Lab| {
        for _ in 0..BLOCK {
            leaf(&context, lab.https, "d0.test").expect("a handshake");
        }
    };
    for (lab, _) in servers {
        (0..4).for_each(|_| shake(lab));
    }
    for block in 0..blocks {
        for turn in 0..servers.len() {
            // Who comes first changes, too.
            let at = (turn + block + start) % servers.len();
            let (lab, httpd) = &servers[at];
            let before = cpu::time(httpd);
            shake(lab);
            spent[at].push((cpu::time(httpd) - before).as_secs_f64() * 1e6 / BLOCK as f64);
        }
    }
}

/// The median, and between what half of the values lie.
fn spread(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
    format!("{:.digits$} ({:.digits$} to {:.digits$})", at(2), at(1), at(3))
}
