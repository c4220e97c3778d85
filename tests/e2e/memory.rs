// SPDX-License-Identifier: Apache-2.0
//! The memory of a server: valgrind over its whole life, for the accesses of our code, and those of OpenSSL and
//! httpd to its data; and what its processes share.

use std::fs;
use std::path::Path;
use std::time::Duration;

#[cfg(target_env = "gnu")]
use support::process::children;
use support::process::{is_alive, signal};
use support::responder::{Act, Responder, Signers};
use support::{Authority, Config, Need, open_lab, wait_for};
#[cfg(target_env = "gnu")]
use support::{Httpd, SOON};

/// Everything takes some thirty times as long under valgrind.
const PATIENCE: Duration = Duration::from_secs(240);

const ERRORS: [&str; 3] = ["Invalid ", "Mismatched free", "overlap in "];

#[test]
fn nothing_reads_or_writes_where_it_must_not_from_start_to_stop() {
    let Some(lab) = open_lab!(Need::Valgrind) else { return };
    let responder = Responder::start(&lab, Act::Good(3600));
    let pebble = Authority::new(&lab).ocsp(&lab, &responder.url()).start();
    let (cert, key) = pebble.issuer();
    responder.sign_as(Signers::of(cert, key));
    let reports = lab.path("valgrind");
    fs::create_dir(&reports).unwrap();
    let log = format!("--log-file={}/%p", reports.display());
    // Children are forks of the parent, and each reports for itself.
    let valgrind = ["valgrind", "--keep-debuginfo=yes", "--leak-check=no", "--undef-value-errors=no", &log];
    let config = Config::with_ca(&lab, &pebble.authority)
        .under(&valgrind)
        .patience(PATIENCE)
        .line("MDCheckInterval 1s\nMDRetryDelay 1s\nMDPrivateKeys P-256\nStartServers 1\nMDStapling on\nMDomain one.test\nMDomain two.test")
        .site("one.test", &[])
        .site("two.test", &[]);
    let httpd = config.start();
    for name in ["one.test", "two.test"] {
        wait_for(&format!("a certificate of the CA for {name}"), PATIENCE, || {
            let seen = httpd.served(name, &pebble, &["-status"]);
            (seen.verified && seen.text.contains("Cert Status: good")).then_some(())
        });
    }
    // Handshakes after the library was unloaded and loaded again, and pages of the new children.
    for restart in 1..=2 {
        signal(httpd.pid(), "USR1");
        let loaded = || httpd.logged("resuming normal operations").len() > restart;
        wait_for("the next generation", PATIENCE, || loaded().then_some(()));
        for _ in 0..5 {
            assert!(httpd.served("one.test", &pebble, &["-tls1_2"]).verified);
            assert!(httpd.served("two.test", &pebble, &[]).verified);
        }
        assert_eq!(httpd.mds()["managed-domains"].as_array().map(Vec::len), Some(2));
    }
    let parent = httpd.pid();
    signal(parent, "TERM");
    wait_for("the end of httpd", PATIENCE, || (!is_alive(parent)).then_some(()));
    let reported = reports_of(&reports);
    assert!(reported.len() >= 4, "the parent and a child of each generation: {}", reported.len());
    for text in reported {
        assert!(text.contains("ERROR SUMMARY"), "it did not end in peace: {text}");
        let found = ERRORS.iter().find(|error| text.contains(*error));
        assert_eq!(found, None, "{text}");
    }
}

fn reports_of(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir).unwrap().flatten();
    files.map(|file| fs::read_to_string(file.path()).unwrap()).collect()
}

/// kB of the heap that a process has, and of these the ones that no other has. The heap lies in one piece or two.
#[cfg(target_env = "gnu")]
fn heap(pid: u32) -> (u64, u64) {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let (mut is_heap, mut resident, mut own) = (false, 0, 0);
    for line in maps.lines() {
        let value = |name: &str| line.strip_prefix(name)?.trim().trim_end_matches(" kB").parse::<u64>().ok();
        // Lines of values begin with a name and a colon, those of mappings with a range.
        if !line.split(' ').next().is_some_and(|word| word.ends_with(':')) {
            is_heap = line.ends_with("[heap]");
        } else if is_heap {
            resident += value("Rss:").unwrap_or_default();
            own += value("Private_Dirty:").unwrap_or_default();
        }
    }
    (resident, own)
}

/// Only glibc's heap is put in order.
#[cfg(target_env = "gnu")]
#[test]
fn children_share_the_heap_of_the_start() {
    let Some(lab) = open_lab!() else { return };
    let config =
        Config::new(&lab).line("MDPrivateKeys P-256\nMDInitialDelay 1h\nStartServers 3\nServerLimit 3");
    let names = (0..300).map(|n| format!("d{n}.test"));
    let config = names.fold(config, |config, name| config.line(&format!("MDomain {name}")).site(&name, &[]));
    let mut httpd = config.start();
    let wait_children = |httpd: &Httpd| {
        let several = || children(httpd.pid()).len() > 1;
        wait_for("several children", SOON, || several().then_some(()));
    };
    wait_children(&httpd);
    // The first start writes the store, the second one reads it.
    httpd.graceful();
    wait_children(&httpd);
    for _ in 0..20 {
        httpd.mds();
    }
    for pid in children(httpd.pid()) {
        let (resident, own) = heap(pid);
        assert!(resident > 5_000, "{resident} kB");
        assert!(own < resident / 10, "{own} of {resident} kB are of this child alone");
    }
}
