// SPDX-License-Identifier: Apache-2.0
//! What folders cost that anybody has made in staging: the same store with them and without.

use crate::server;
use crate::site::{Children, Module, Site, Store};
use crate::table::{self, Series};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

/// Domains that are configured.
pub const DOMAINS: usize = 100;

/// Each folder has a finished renewal and four accounts in it. Starts with them are `module+planted`.
pub fn measure(site: &Site, module: &Module, folders: usize, rounds: usize) {
    let planted = Module { name: format!("{}+planted", module.name), ..module.clone() };
    let both = [module, &planted];
    both.into_iter().for_each(|module| site.fill_store(module));
    let dir = site.store(&planted, Store::Filled);
    (0..folders).for_each(|n| plant(&dir.join("staging"), &format!("stranger{n}.test"), site));
    // What is removed once costs the start that does it.
    both.into_iter().for_each(|module| drop(site.start(module, Store::Filled, Children::One)));
    let mut wall = both.map(|module| Series::new(&module.name));
    let mut cpu = wall.clone();
    for _ in 0..rounds {
        for (at, module) in both.iter().enumerate() {
            rustix::fs::sync();
            let server = site.start(module, Store::Filled, Children::One);
            wall[at].add(server.first_answer.as_secs_f64());
            cpu[at].add(server.cpu.as_secs_f64());
        }
    }
    println!(
        "\nstart with {folders} planted folders: {DOMAINS} domains, {rounds} rounds, load {}",
        server::load()
    );
    table::print(&[("wall s", &wall), ("cpu s", &cpu)], ("µs a folder", 1e6), folders);
    table::print_ratios(&wall, &planted.name);
    let accounts = fs::read_dir(dir.join("accounts")).map_or(0, Iterator::count);
    println!("{}: {accounts} accounts", planted.name);
}

fn plant(staging: &Path, name: &str, site: &Site) {
    let dir = staging.join(name);
    fs::create_dir(&dir).unwrap();
    let [key, chain] = ["key", "pem"].map(|kind| fs::read(site.certificate("d0.test", kind)).unwrap());
    let put = |file: &str, content: &[u8]| fs::write(dir.join(file), content).unwrap();
    let put_json = |file: &str, json: Value| put(file, json.to_string().as_bytes());
    put_json(
        "md.json",
        json!({"name": name, "domains": [name], "privkey": {"type": "EC", "curve": "P-256"}}),
    );
    put_json("job.json", json!({"name": name, "finished": true}));
    put("privkey.p-256.pem", &key);
    put("pubcert.p-256.pem", &chain);
    for (n, stem) in ["account", "account-2", "account-3", "account-4"].into_iter().enumerate() {
        let url = format!("https://ca{n}.test/account/{name}");
        put(&format!("{stem}.pem"), &key);
        put_json(
            &format!("{stem}.json"),
            json!({"status": "valid", "url": url, "ca-url": format!("https://ca{n}.test/dir"), "contact": []}),
        );
    }
    if fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0) {
        let files = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        for path in files.chain([dir.clone()]) {
            chown(path, Some(65534), Some(65534)).unwrap();
        }
    }
}
