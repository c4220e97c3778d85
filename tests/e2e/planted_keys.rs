// SPDX-License-Identifier: Apache-2.0
//! Files that somebody else has put into the store: whatever runs as httpd's user can write to staging and
//! challenges. Keys of theirs are neither used nor computed with, and sites go on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use openssl::pkey::Id;
use serde_json::{Value, json};

use support::issuer::{self, Issuer, Set, seal_slowly};
use support::process::children;
use support::{Authority, Config, Httpd, Lab, Need, Pebble, SOON, open_lab, tls, wait_for};

const NAMES: &[&str] = &["one.test"];
const CA_URL: &str = "https://127.0.0.1:1/dir";

fn config(lab: &Lab, authority: &Authority) -> Config {
    Config::with_ca(lab, authority)
        .line("MDCheckInterval 1s\nMDRetryDelay 1s\nMDPrivateKeys P-256\nMDomain one.test")
        .site("one.test", &[])
}

fn store(lab: &Lab) -> PathBuf {
    Config::new(lab).store()
}

fn serial(lab: &Lab) -> String {
    tls::served(lab.https, "one.test", None, &[]).serial()
}

/// How long the start took.
fn started(config: Config) -> (Httpd, Duration) {
    let begun = Instant::now();
    (config.start(), begun.elapsed())
}

/// An account that fits, whose key takes an hour to open.
fn put_account(dir: &Path, store: &Path) {
    let url = format!("https://127.0.0.1:1/account/{}", dir.file_name().unwrap().to_string_lossy());
    let account = json!({"status": "valid", "url": url, "ca-url": CA_URL, "contact": []});
    issuer::put_new(dir, "account.json", account.to_string().as_bytes());
    issuer::put(dir, "account.pem", &seal_slowly(&issuer::generate(Id::RSA), store));
}

/// A set of which all but the key could be used.
fn plant(store: &Path, set: &Set, key: &[u8]) {
    issuer::stage_changed(store, NAMES, &[set], |dir| issuer::put(dir, "privkey.p-256.pem", key));
}

fn published(set: &Set, key: &[u8]) -> String {
    let text = |pem: &[u8]| String::from_utf8(pem.to_vec()).unwrap();
    json!({
        "since": "Thu, 01 Jan 2026 00:00:00 GMT",
        "md": {"name": "one.test", "domains": NAMES, "privkey": {"type": "EC", "curve": "P-256"}},
        "job": {"name": "one.test", "finished": true},
        "sets": [{
            "privkey-spec": {"type": "EC", "curve": "P-256"},
            "privkey": text(key),
            "pubcert": text(&set.chain_pem()),
        }],
    })
    .to_string()
}

#[test]
fn keys_of_2_to_the_31_rounds_cost_a_start_nothing() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    let (first, planted) = (issuer.issue(NAMES), issuer.issue(NAMES));
    let store = store(&lab);
    issuer::install(&store, NAMES, &[&first]);
    let config = config(&lab, &Authority::new(&lab));
    let without = (0..3).map(|_| {
        let (httpd, duration) = started(config.clone());
        httpd.stop();
        duration
    });
    let without = without.max().unwrap();

    let slow = seal_slowly(&planted.key, &store);
    plant(&store, &planted, &slow);
    let staging = store.join("staging/one.test");
    issuer::put(&staging, "live.json", published(&planted, &slow).as_bytes());
    put_account(&staging, &store);
    put_account(&store.join("accounts/ACME-127.0.0.1-0000"), &store);
    for name in ["nobody.test", "stranger.test"] {
        issuer::put_new(&store.join("staging").join(name), "privkey.p-256.pem", &slow);
        put_account(&store.join("staging").join(name), &store);
    }
    let (httpd, duration) = started(config);
    assert_eq!(serial(&lab), first.serial());
    // The log is on a machine that may be busy; an hour is no measurement.
    assert!(duration < 30 * without, "{duration:?} instead of {without:?}");
    let said = httpd.log();
    for file in ["staging/one.test/privkey.p-256.pem", "staging/one.test/account.pem", "live.json"] {
        let is_refusal = |line: &str| line.contains("rounds of PBKDF2") && line.contains(file);
        assert!(said.lines().any(is_refusal), "{file}: {said}");
    }
    assert!(
        fs::read_dir(store.join("domains/one.test"))
            .unwrap()
            .all(|file| { fs::read(file.unwrap().path()).unwrap() != slow })
    );
}

#[test]
fn keys_of_2_to_the_31_rounds_are_refused_by_running_children() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    let (first, planted, next) = (issuer.issue(NAMES), issuer.issue(NAMES), issuer.issue(NAMES));
    let store = store(&lab);
    issuer::install(&store, NAMES, &[&first]);
    let httpd = config(&lab, &Authority::new(&lab)).start();
    let slow = seal_slowly(&planted.key, &store);
    plant(&store, &planted, &slow);
    httpd.wait_logged("rounds of PBKDF2");
    assert_eq!(serial(&lab), first.serial());

    issuer::put(&store.join("staging/one.test"), "live.json", published(&planted, &slow).as_bytes());
    httpd.replace_children();
    wait_for("word of each child", SOON, || {
        let lines = httpd.logged("AH10069");
        let told = |pid: &u32| lines.iter().any(|line| line.contains(&format!("[pid {pid}:")));
        children(httpd.pid()).iter().any(told).then_some(())
    });
    assert_eq!(serial(&lab), first.serial());

    // The child that renews is not busy either. It may note that the one before has failed when this one is
    // there already.
    let job = store.join("staging/one.test/job.json");
    issuer::stage(&store, NAMES, &[&next]);
    wait_for("the next set", SOON, || {
        let stored: Option<Value> = fs::read(&job).ok().and_then(|json| serde_json::from_slice(&json).ok());
        if stored.is_some_and(|job| job["finished"] == false) {
            issuer::stage(&store, NAMES, &[&next]);
        }
        (httpd.md("one.test")["activation"]["serial"] == next.serial()).then_some(())
    });
    httpd.wait_live("one.test", &next.serial());
}

#[test]
fn a_renewal_makes_keys_of_its_own_in_the_place_of_those_of_others() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let store = store(&lab);
    let planted = Issuer::new().issue(NAMES);
    let staging = store.join("staging/one.test");
    for is_plain in [true, false] {
        pebble.hold();
        let mut httpd = config(&lab, &pebble.authority).at_restarts().start();
        wait_for("the begin of a renewal", SOON, || staging.join("md.json").exists().then_some(()));
        let key = if is_plain { planted.key_pem() } else { seal_slowly(&planted.key, &store) };
        issuer::put(&staging, "privkey.p-256.pem", &key);
        pebble.go_on();
        httpd.wait_staged_and_activate(NAMES);
        let served = httpd.served("one.test", &pebble, &[]);
        assert!(served.verified, "{}", served.verdict);
        assert!(!served.leaf().public_key().unwrap().public_eq(&planted.key));
        let said = httpd.logged("privkey.p-256.pem is damaged");
        assert!(
            said.iter().any(|line| line.contains("md[one.test]") && line.contains("is not used")),
            "{said:?}"
        );
        httpd.stop().forget();
    }
}

/// As it was staged before, also by who ran as httpd's user.
#[test]
fn a_set_with_a_plain_key_is_not_served() {
    let Some(lab) = open_lab!() else { return };
    let issuer = Issuer::new();
    let (first, planted) = (issuer.issue(NAMES), issuer.issue(NAMES));
    let store = store(&lab);
    issuer::install(&store, NAMES, &[&first]);
    plant(&store, &planted, &planted.key_pem());
    let httpd = config(&lab, &Authority::new(&lab)).start();
    assert_eq!(serial(&lab), first.serial());
    let said = httpd.logged("not sealed with the store's key");
    assert!(said.iter().any(|line| line.contains("one.test/privkey.p-256.pem")), "{said:?}");
    plant(&store, &planted, &planted.key_pem());
    issuer::put(
        &store.join("staging/one.test"),
        "live.json",
        published(&planted, &planted.key_pem()).as_bytes(),
    );
    httpd.replace_children();
    httpd.wait_logged("live.json");
    assert_eq!(serial(&lab), first.serial());
    let job = store.join("staging/one.test/job.json");
    let read = || serde_json::from_slice::<Value>(&fs::read(&job).ok()?).ok();
    wait_for("word of it in the job", SOON, || read().filter(|job| job["errors"].as_u64() >= Some(1)));
}

/// mod_ssl asks for pass phrases at the terminal, and computes with whatever the key file says.
#[test]
fn a_planted_key_of_a_challenge_holds_up_no_handshake() {
    let Some(lab) = open_lab!() else { return };
    let config = Config::new(&lab)
        .line("MDRenewMode manual\nMDPrivateKeys P-256\nProtocols http/1.1 acme-tls/1\nMDomain one.test")
        .site("one.test", &[]);
    let httpd = config.start();
    let files = tls::Files::new(&lab, "one.test", Id::EC);
    let set = Issuer::new().issue(NAMES);
    let folder = store(&lab).join("challenges/one.test");
    let certificate = fs::read(&files.certificate).unwrap();
    let good = fs::read(&files.key).unwrap();
    let ask = || tls::served(lab.https, "one.test", None, &["-alpn", "acme-tls/1"]);
    let shown = |key: &[u8], certificate: &[u8]| {
        issuer::put_new(&folder, "acme-tls-alpn-01-pubcert.p-256.pem", certificate);
        issuer::put(&folder, "acme-tls-alpn-01-privkey.p-256.pem", key);
        ask().common_name()
    };
    assert_ne!(shown(&good, &certificate), "Apache Managed Domain Fallback");
    let traditional = set.key.ec_key().unwrap();
    let cipher = openssl::symm::Cipher::aes_256_cbc();
    let encrypted = traditional.private_key_to_pem_passphrase(cipher, b"secret").unwrap();
    for key in [seal_slowly(&set.key, &store(&lab)), encrypted.clone(), b"garbage".to_vec()] {
        assert_eq!(shown(&key, &certificate), "Apache Managed Domain Fallback");
    }
    let text = String::from_utf8(encrypted).unwrap().replace("EC PRIVATE KEY", "CERTIFICATE");
    assert_eq!(shown(&good, text.as_bytes()), "Apache Managed Domain Fallback");
    assert!(httpd.logged("AH10081").len() >= 4);
}

/// Pages show what a job says, and the whole of it is kept in memory for each domain.
#[test]
fn a_planted_job_of_megabytes_is_cut() {
    let Some(lab) = open_lab!() else { return };
    let config = Config::new(&lab)
        .line("MDRenewMode manual\nMDServerStatus on\nMDomain one.test")
        .site("one.test", &[]);
    let text = "planted\u{1b}[2J ".repeat(400);
    let entry =
        json!({"when": "Thu, 01 Jan 2026 00:00:00 GMT", "type": text, "status": text, "detail": text});
    let job = json!({
        "name": "one.test", "errors": 3, "last-run": "Thu, 01 Jan 2026 00:00:00 GMT",
        "last": {"status": 22, "problem": text, "detail": text, "activity": text, "subproblems": vec![json!(text); 50]},
        "log": {"entries": vec![entry; 150]},
        "planted": vec![json!(text); 20],
    });
    let job = job.to_string();
    assert!(job.len() > 3_000_000 && job.len() < 4_000_000, "{}", job.len());
    let httpd = config.start();
    issuer::put_new(&store(&lab).join("staging/one.test"), "job.json", job.as_bytes());
    wait_for("the job on a page", SOON, || (httpd.md("one.test")["renewal"]["errors"] == 3).then_some(()));
    for path in ["/md-status/one.test", "/md-status", "/server-status", "/server-status?auto"] {
        let body = httpd.get("main.test", path).body;
        assert!(body.len() < 600_000, "{path}: {} bytes", body.len());
        assert!(!body.contains('\u{1b}') && !body.contains("\\u001b"), "{path}");
    }
    assert!(httpd.get("main.test", "/md-status/one.test").body.contains("planted"));
}

/// The key of the store stands in no memory that goes into a core dump.
#[test]
fn the_key_of_the_store_is_kept_out_of_core_dumps() {
    // Nobody else may look into the memory of other processes.
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = config(&lab, &pebble.authority).at_restarts().start();
    httpd.wait_staged_and_activate(NAMES);
    let key = issuer::store_key(&store(&lab));
    for pid in children(httpd.pid()).into_iter().chain([httpd.pid()]) {
        let found = mappings_with(pid, &key);
        assert!(!found.is_empty(), "{pid} has it");
        for (range, flags) in found {
            assert!(flags.split(' ').any(|flag| flag == "dd"), "{pid} {range}: {flags}");
        }
    }
}

/// Range and flags of each mapping in which these bytes are.
fn mappings_with(pid: u32, bytes: &[u8]) -> Vec<(String, String)> {
    use std::os::unix::fs::FileExt;
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut found = Vec::new();
    let mut range = String::new();
    for line in smaps.lines() {
        let first = line.split(' ').next().unwrap();
        if let Some(flags) = line.strip_prefix("VmFlags: ") {
            let (start, end) = range.split_once('-').unwrap();
            let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
            let is_writable = flags.split(' ').any(|flag| flag == "wr");
            let mut content = vec![0; usize::try_from(end - start).unwrap()];
            if is_writable && memory.read_exact_at(&mut content, start).is_ok() {
                let has = content.windows(bytes.len()).any(|window| window == bytes);
                found.extend(has.then(|| (range.clone(), flags.to_string())));
            }
        } else if !first.ends_with(':') {
            range = first.to_string();
        }
    }
    found
}
