// SPDX-License-Identifier: Apache-2.0
//! dns-persist-01 and dns-account-01 against a real CA that asks a real name server: the line that an admin
//! is told to set, and records with the label of the account.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command as Program, Stdio};

use support::dns::{TsigKey, Zone, look_up};
use support::named::Named;
use support::unbound::Unbound;
use support::{Authority, Command, Config, Httpd, Lab, Need, Pebble, SOON, open_lab, wait_for};

macro_rules! open {
    () => {
        open_lab!(
            Need::Pebble(2, 10),
            Need::Program("named"),
            Need::Program("dig"),
            Need::Program("nsupdate"),
            Need::Program("tsig-keygen"),
            Need::Program("unbound"),
        )
    };
}

/// A zone with its server, which the CA asks.
struct Names {
    named: Named,
    key: TsigKey,
    pebble: Pebble,
}

impl Names {
    /// The zone one.test.
    fn new(lab: &Lab) -> Names {
        let key = TsigKey::generate(lab, "acme", "hmac-sha256");
        let named = Named::primary(lab, &[Zone::new("one.test").updated_by(&key)]);
        let pebble = Authority::new(lab).resolver(named.address).start();
        Names { named, key, pebble }
    }

    fn config(&self, lab: &Lab, type_: &str) -> Config {
        let directives = format!("MDCAChallenges {type_}\nMDDnsPropagation 20s {}", self.named.address);
        Config::with_ca(lab, &self.pebble.authority).line(&directives)
    }

    /// As an admin does with a line of a zone file: `NAME TXT "VALUE"`.
    fn set(&self, line: &str) {
        let (name, value) = line.split_once(" TXT ").unwrap();
        let update = format!(
            "{}\nupdate delete {name} TXT\nupdate add {name} 1 TXT {value}\nsend\n",
            server(self.named.address)
        );
        let mut nsupdate = Program::new("nsupdate")
            .args(["-k", &self.key.file.display().to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        nsupdate.stdin.take().unwrap().write_all(update.as_bytes()).unwrap();
        assert!(nsupdate.wait().unwrap().success(), "{update}");
    }
}

fn server(address: SocketAddr) -> String {
    format!("server {} {}", address.ip(), address.port())
}

/// The lines that the renewal of this MD waits for, once there are `count`.
#[track_caller]
fn awaited(httpd: &Httpd, md: &str, count: usize) -> Vec<String> {
    wait_for("the lines to set", SOON, || {
        let status = httpd.md(md);
        let records = status["renewal"]["waiting"]["records"].as_array()?.clone();
        assert_eq!(status["renewal"]["errors"], 0, "{status:#}");
        assert_eq!(status["renewal"]["next"]["action"], "wait-for-record", "{status:#}");
        let lines: Vec<String> = records.iter().map(|line| line.as_str().unwrap().to_string()).collect();
        (lines.len() == count).then_some(lines)
    })
}

#[test]
fn the_line_that_status_and_log_say_is_all_that_dns_persist_01_needs() {
    let Some(lab) = open!() else { return };
    let names = Names::new(&lab);
    let mut httpd = names
        .config(&lab, "dns-persist-01")
        .line("MDomain one.test *.one.test")
        .site("one.test", &["*.one.test"])
        .start();
    let lines = awaited(&httpd, "one.test", 1);
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(line.starts_with("_validation-persist.one.test. TXT \""), "{line}");
    assert!(line.ends_with("; policy=wildcard\""), "{line}");
    let log = httpd.log();
    let told: Vec<_> =
        log.lines().filter(|text| text.contains(":warn]") && text.contains(line.as_str())).collect();
    assert!(told.len() == 1 && told[0].contains("md[one.test]"), "{told:#?}");
    // Without its policy it is not enough, which is found before the CA is asked.
    names.set(&line.replace("; policy=wildcard", ""));
    wait_for("the mistake in the record", SOON, || {
        let what = httpd.md("one.test")["renewal"]["waiting"]["what"].as_str()?.to_string();
        what.contains("policy=wildcard").then_some(())
    });
    names.set(line);
    httpd.wait_staged("one.test");
    httpd.graceful();
    for host in ["one.test", "www.one.test"] {
        let served = httpd.served(host, &names.pebble, &[]);
        assert!(served.verified, "{host}: {}", served.verdict);
    }
    // The record stays, and is enough for the next time.
    let before = httpd.served("one.test", &names.pebble, &[]);
    fs::remove_dir_all(httpd.config.store().join("domains/one.test")).unwrap();
    httpd.graceful();
    httpd.wait_staged("one.test");
    httpd.graceful();
    assert_ne!(before.serial(), httpd.served("one.test", &names.pebble, &[]).serial());
    assert_eq!(look_up(names.named.address, "_validation-persist.one.test", "TXT").len(), 1);
}

#[test]
fn dns_account_01_sets_records_at_the_label_of_the_account() {
    let Some(lab) = open!() else { return };
    let names = Names::new(&lab);
    let key = lab.path("hook.key");
    fs::copy(&names.key.file, &key).unwrap();
    // Hooks run as httpd's user.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let script = format!(
        "op=add; [ $1 = present ] || op=delete\nprintf '{}\\nupdate %s %s 1 TXT \"%s\"\\nsend\\n' $op $2 $3 | \
         nsupdate -k {}",
        server(names.named.address),
        key.display()
    );
    let hook = Command::new(&lab, "hook", &script);
    let mut httpd = names
        .config(&lab, "dns-account-01")
        .line(&format!("MDChallengeDns01 hook:lego {}", hook.line))
        .line("MDomain one.test *.one.test")
        .site("one.test", &["*.one.test"])
        .start();
    httpd.wait_staged("one.test");
    let calls = hook.calls();
    let names_of = |word: &str| {
        let of_word = calls.iter().filter_map(|call| call.strip_prefix(word)?.split_whitespace().next());
        of_word.map(str::to_string).collect::<Vec<_>>()
    };
    let set_up = names_of("present ");
    assert!(set_up.len() == 2 && set_up[0] == set_up[1], "{calls:?}");
    let (label, rest) = set_up[0].split_once('.').unwrap();
    assert!(label.starts_with('_') && label.len() == 17, "{label}");
    assert_eq!(rest, "_acme-challenge.one.test.");
    assert_eq!(names_of("cleanup "), set_up);
    assert!(look_up(names.named.address, &set_up[0], "TXT").is_empty());
    httpd.graceful();
    assert!(httpd.served("www.one.test", &names.pebble, &[]).verified);
}

/// A site that is validated by the label of its account, which httpd's own DNS answers for.
fn answering(lab: &Lab, authority: &Authority, resolver: SocketAddr, port: u16, zone: &str) -> Config {
    Config::with_ca(lab, authority)
        .line(&format!("MDDnsListen 127.0.0.1:{port}\nMDDnsZone {zone} ns.example.net"))
        .line("MDCAChallenges dns-account-01\nMDChallengeDns01 responder")
        .line(&format!("MDDnsPropagation 5s {resolver}\nMDomain one.test *.one.test\nMDRetryDelay 1h"))
        .site("one.test", &["*.one.test"])
}

#[test]
fn httpds_own_dns_answers_for_the_label_where_its_zone_is_delegated() {
    let Some(lab) = open!() else { return };
    let port = lab.port();
    let zone = "_acme-challenge.one.test";
    let names = Named::primary(&lab, &[Zone::new("one.test")]);
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let unbound = Unbound::strict(&lab, &[("one.test", names.address), (zone, here)]);
    let pebble = Authority::new(&lab).resolver(unbound.address).start();
    let httpd = answering(&lab, &pebble.authority, unbound.address, port, zone).start();
    httpd.wait_staged("one.test");
    // unbound mixes upper and lower case.
    assert!(httpd.log().to_lowercase().contains("._acme-challenge.one.test asked by"));
    let left = fs::read_dir(httpd.config.store().join("challenges")).into_iter().flatten().count();
    assert_eq!(left, 0, "answers are removed");
}

#[test]
fn an_alias_of_the_label_leads_to_httpds_own_dns_and_a_missing_one_is_told() {
    let Some(lab) = open!() else { return };
    let zone = "acme.example.net";
    let told = "._acme-challenge.one.test. CNAME one.test.acme.example.net.'";
    for (record, is_enough) in [("@ TXT x", false), ("*._acme-challenge CNAME one.acme.example.net.", true)] {
        let port = lab.port();
        let names = Named::primary(&lab, &[Zone::new("one.test").record(record)]);
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let unbound = Unbound::start(&lab, &[("one.test", names.address), (zone, here)]);
        let pebble = Authority::new(&lab).resolver(unbound.address).start();
        let root = lab.path(format!("httpd-{port}"));
        let config = answering(&lab, &pebble.authority, unbound.address, port, zone);
        let httpd = config.root(&root).start();
        if is_enough {
            httpd.wait_staged("one.test");
            continue;
        }
        wait_for("the alias to set", SOON, || {
            let status = httpd.md("one.test");
            let detail = status["renewal"]["last"]["detail"].as_str()?.to_string();
            assert!(detail.contains(told) && detail.contains("name servers of one.test,"), "{detail}");
            Some(())
        });
    }
}
