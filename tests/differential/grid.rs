// SPDX-License-Identifier: Apache-2.0
//! The grid: changes by an admin, contents of the store, and the CA's behavior meanwhile.
//!
//! Each change meets three stores: a certificate in use, a set of the C module that waits for a restart, and
//! a set of ours that went live without one. The last two were made under the earlier configuration.

use std::fs;
use std::path::Path;
use std::process::Command;

use openssl::pkey::Id;
use serde_json::{Value, json};

use crate::world::Ca::{Down, Refusing, Up};
use crate::world::{Case, Setup, Store, Who, World, run};
use support::Config;
use support::issuer::{self, install};

const ONE: &[&str] = &["one.test", "www.one.test"];
const NEW: &[&str] = &["one.test", "www.one.test", "new.test"];

/// What a row does not say otherwise.
const CASE: Case =
    Case { mds: &["one.test"], store: Store::Planted(plant_one), between: |_| {}, second: one, asked: ONE };

fn plant_one(world: &World, store: &Path) {
    install(store, ONE, &[&world.issuer.issue(ONE)]);
}

fn plant_two(world: &World, store: &Path) {
    for names in [&["one.test"], &["two.test"]] {
        install(store, names, &[&world.issuer.issue(names)]);
    }
}

fn plant_rsa(world: &World, store: &Path) {
    install(store, ONE, &[&world.issuer.issue_for(ONE, Id::RSA, -60, 86_400)]);
}

fn plant_both(world: &World, store: &Path) {
    let rsa = world.issuer.issue_for(ONE, Id::RSA, -60, 86_400);
    install(store, ONE, &[&world.issuer.issue(ONE), &rsa]);
}

fn plant_expired(world: &World, store: &Path) {
    install(store, ONE, &[&world.issuer.issue_for(ONE, Id::EC, -7200, -3600)]);
}

/// With the work of a renewal that failed, all of it owned by the user that httpd had.
fn plant_renewal_under_way(world: &World, store: &Path) {
    plant_expired(world, store);
    let staging = store.join("staging/one.test");
    let job = json!({ "name": "one.test", "finished": false, "errors": 0 });
    issuer::put_new(&staging, "job.json", job.to_string().as_bytes());
    for group in ["staging", "challenges", "ocsp"] {
        issuer::put_new(&store.join(group), "left-over", b"");
    }
}

fn set_state(store: &Path, state: u8) {
    let file = store.join("domains/one.test/md.json");
    let mut md: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    md["state"] = json!(state);
    fs::write(file, md.to_string()).unwrap();
}

fn give_all_to(store: &Path, owner: &str) {
    let status = Command::new("chown").arg("-R").arg(owner).arg(store).status().unwrap();
    assert!(status.success(), "chown {owner}");
}

/// The configuration that most stores were made under.
fn one(world: &World, config: Config) -> Config {
    one_with(world, config, "MDPrivateKeys P-256", "")
}

/// The same with other directives for the server, and for the host.
fn one_with(world: &World, config: Config, lines: &str, of_host: &str) -> Config {
    let lines =
        if lines.contains("MDPrivateKeys") { lines } else { &format!("MDPrivateKeys P-256\n{lines}") };
    world.host(config.line(&format!("{lines}\nMDomain one.test www.one.test")), ONE, of_host)
}

/// `MDomain` lines, and a host for each list of names.
fn domains(world: &World, config: Config, lines: &str, hosts: &[&[&str]]) -> Config {
    let config = config.line(&format!("MDPrivateKeys P-256\n{lines}"));
    hosts.iter().fold(config, |config, names| world.host(config, names, ""))
}

/// Directives that name an admin's own certificate, made when it is first asked for. That of a domain (`MD`)
/// ends before those in the store, and that of a host (`SSL`) still earlier, so that one sees which of them
/// is served.
fn own_file(world: &World, names: &[&str], prefix: &str) -> String {
    let [chain, key] = ["pem", "key"].map(|kind| world.lab.path(format!("own-{prefix}-{}.{kind}", names[0])));
    if !chain.exists() {
        let lifetime = if prefix == "MD" { 64_800 } else { 43_200 };
        let set = world.issuer.issue_for(names, Id::EC, -60, lifetime);
        fs::write(&chain, set.chain_pem()).unwrap();
        fs::write(&key, set.key_pem()).unwrap();
    }
    format!("{prefix}CertificateFile {}\n{prefix}CertificateKeyFile {}", chain.display(), key.display())
}

/// One test for each row; in brackets the answers of the CA in every test run, and those of the whole grid.
macro_rules! rows {
    ($($name:ident $usual:tt $whole:tt: $case:expr;)*) => { $(
        row! { $usual $name run(stringify!($name), &$usual, &$whole, &$case) }
    )* };
}

/// A test for one row and one kind of store. Where a test run asks for no answer of the CA, it is ignored.
macro_rules! row {
    ([] $name:ident $run:expr) => {
        #[test]
        #[ignore = "run by `make differential`"]
        fn $name() {
            $run;
        }
    };
    ($usual:tt $name:ident $run:expr) => {
        #[test]
        fn $name() {
            $run;
        }
    };
}

/// Three tests for each change; in brackets, for every test run, the CA's answers with the three stores.
macro_rules! changes {
    ($($name:ident $active:tt $staged:tt $live:tt $asked:expr, $second:expr;)*) => { $(
        mod $name {
            use super::*;

            const SECOND: Setup = $second;

            fn row(what: &str) -> String {
                format!("{}::{what}", stringify!($name))
            }

            row! { $active in_use {
                let case = Case { second: SECOND, asked: $asked, ..CASE };
                run(&row("in_use"), &$active, &[Down, Refusing, Up], &case);
            } }

            row! { $staged staged {
                let case = Case { store: Store::Staged(Who::C, one), second: SECOND, asked: $asked, ..CASE };
                run(&row("staged"), &$staged, &[Down, Refusing, Up], &case);
            } }

            row! { $live live {
                let case = Case { store: Store::Live(one), second: SECOND, asked: $asked, ..CASE };
                run(&row("live"), &$live, &[Down, Refusing, Up], &case);
            } }
        }
    )* };
}

changes! {
    nothing [Down] [] [] ONE, one;
    name_added [Down, Refusing, Up] [Down] [Down] NEW,
        |w, c| domains(w, c, "MDomain one.test www.one.test new.test", &[NEW]);
    name_added_by_an_alias [Down] [] [] NEW, |w, c| domains(w, c, "MDomain one.test www.one.test", &[NEW]);
    name_removed [Down] [] [] ONE,
        |w, c| domains(w, c, "MDomain one.test\nMDMembers manual", &[&["one.test"]]);
    first_name_changed [Down] [Down] [] ONE,
        |w, c| domains(w, c, "MDomain www.one.test one.test", &[&["www.one.test", "one.test"]]);
    host_renamed [Down] [] [Down] NEW,
        |w, c| domains(w, c, "MDomain new.test", &[&["new.test", "one.test", "www.one.test"]]);
    key_type_added [Down, Up] [Down] [] ONE, |w, c| one_with(w, c, "MDPrivateKeys P-256 RSA", "");
    key_type_replaced [Down, Up] [] [Down] ONE, |w, c| one_with(w, c, "MDPrivateKeys RSA", "");
    curve_replaced [Down] [] [] ONE, |w, c| one_with(w, c, "MDPrivateKeys P-384", "");
    must_staple_on [Down] [Down] [] ONE, |w, c| one_with(w, c, "MDMustStaple on", "");
    ca_changed [Down] [] [] ONE,
        |w, c| one_with(w, c, "MDCertificateAuthority https://127.0.0.1:9/dir", "");
    profile_changed [Down] [] [] ONE, |w, c| one_with(w, c, "MDProfile default", "");
    contact_changed [Down] [] [] ONE, |w, c| one_with(w, c, "MDContactEmail other@example.test", "");
    agreement_withdrawn [Down] [] [] ONE, |w, c| one_with(w, c, "MDCertificateAgreement https://ca.test/tos", "");
    made_manual [Down] [] [] ONE, |w, c| one_with(w, c, "MDRenewMode manual", "");
    made_manual_with_a_name_added [] [] [] NEW,
        |w, c| domains(w, c, "MDRenewMode manual\nMDomain one.test www.one.test new.test", &[NEW]);
    static_file_in_the_domain [Down] [] [] ONE, |w, c| {
        let file = own_file(w, ONE, "MD");
        let c = c.line(&format!("<MDomain one.test www.one.test>\n{file}\n</MDomain>"));
        w.host(c, ONE, "")
    };
    static_file_in_the_domain_for_fewer_names [Down] [] [] ONE, |w, c| {
        let file = own_file(w, &["www.one.test"], "MD");
        let c = c.line(&format!("<MDomain one.test www.one.test>\n{file}\n</MDomain>"));
        w.host(c, ONE, "")
    };
    static_file_in_the_domain_and_on_the_host [Down] [] [] ONE, |w, c| {
        let file = own_file(w, ONE, "MD");
        let c = c.line(&format!("<MDomain one.test www.one.test>\n{file}\n</MDomain>"));
        w.host(c, ONE, &own_file(w, ONE, "SSL"))
    };
    static_file_on_the_host [Down] [Down] [Down] ONE, |w, c| one_with(w, c, "", &own_file(w, ONE, "SSL"));
    static_file_on_the_server [Down] [] [] ONE, |w, c| {
        let file = own_file(w, ONE, "SSL");
        one_with(w, c, &file, "")
    };
    split [Down] [] [] ONE,
        |w, c| domains(w, c, "MDomain one.test\nMDomain www.one.test", &[&["one.test"], &["www.one.test"]]);
    merged_with_a_new_one [] [] [] &["one.test", "two.test"],
        |w, c| domains(w, c, "MDomain one.test www.one.test two.test", &[ONE, &["two.test"]]);
    domain_removed [] [] [] ONE, |w, c| w.host(c, ONE, &own_file(w, ONE, "SSL"));
    unused [Down] [] [] &["other.test"], |w, c| {
        let c = c.line("MDPrivateKeys P-256\nMDomain one.test www.one.test");
        w.host(c, &["other.test"], &own_file(w, &["other.test"], "SSL"))
    };
    user_changed [] [] [] ONE, |w, c| one(w, c.line("User daemon\nGroup daemon"));
    https_required [Down] [] [] ONE, |w, c| one_with(w, c, "MDRequireHttps temporary", "");
    https_required_for_good [Down] [] [] ONE, |w, c| one_with(w, c, "MDRequireHttps permanent", "");
    base_server_on [] [] [] ONE, |w, c| one(w, c.line("MDBaseServer on"));
    live_activation_delayed [] [] [] ONE, |w, c| one_with(w, c, "MDActivationDelay 1d", "");
}

rows! {
    nothing_there [Down, Up] [Down, Refusing, Up]: Case { store: Store::Empty, ..CASE };
    nothing_there_but_a_file_on_the_host [Down] [Down, Refusing, Up]: Case {
        store: Store::Empty,
        second: |w, c| one_with(w, c, "", &own_file(w, ONE, "SSL")),
        ..CASE
    };
    nothing_there_but_a_file_on_the_server [Down] [Down, Refusing, Up]: Case {
        store: Store::Empty,
        second: |w, c| {
            let file = own_file(w, ONE, "SSL");
            one_with(w, c, &file, "")
        },
        ..CASE
    };
    key_type_removed [Down] [Down, Refusing, Up]: Case { store: Store::Planted(plant_both), ..CASE };
    rsa_replaced_by_a_curve [Down] [Down, Refusing, Up]: Case { store: Store::Planted(plant_rsa), ..CASE };
    longer_rsa_key [] [Down, Refusing, Up]: Case {
        store: Store::Planted(plant_rsa),
        second: |w, c| one_with(w, c, "MDPrivateKeys RSA 3072", ""),
        ..CASE
    };
    must_staple_off [] [Down, Refusing, Up]: Case {
        store: Store::Active(Who::C, |w, c| one_with(w, c, "MDMustStaple on", "")),
        ..CASE
    };
    merged [Down] [Down, Refusing, Up]: Case {
        store: Store::Planted(plant_two),
        second: |w, c| domains(w, c, "MDomain one.test two.test", &[&["one.test"], &["two.test"]]),
        asked: &["one.test", "two.test"],
        ..CASE
    };
    left_incomplete_by_the_c_module [Down] [Down, Refusing, Up]: Case {
        between: |store| set_state(store, 1),
        ..CASE
    };
    name_added_before_under_the_c_module [] [Down]: Case {
        store: Store::Active(Who::C, one),
        second: |w, c| domains(w, c, "MDomain one.test www.one.test new.test", &[NEW]),
        asked: NEW,
        ..CASE
    };
    certificate_expired [Down] [Down, Refusing, Up]: Case { store: Store::Planted(plant_expired), ..CASE };
    certificate_expired_and_a_file_on_the_host [Down] [Down]: Case {
        store: Store::Planted(plant_expired),
        second: |w, c| one_with(w, c, "", &own_file(w, ONE, "SSL")),
        ..CASE
    };
    certificate_not_yet_valid [Down] [Down, Refusing, Up]: Case {
        store: Store::Planted(|w, store| {
            install(store, ONE, &[&w.issuer.issue_for(ONE, Id::EC, 3600, 86_400)]);
        }),
        ..CASE
    };
    certificate_for_other_names [Down] [Down, Refusing, Up]: Case {
        store: Store::Planted(|w, store| {
            install(store, ONE, &[&w.issuer.issue(&["elsewhere.test"])]);
        }),
        ..CASE
    };
    key_of_another_certificate [] [Down]: Case {
        store: Store::Planted(|w, store| {
            let (mut set, other) = (w.issuer.issue(ONE), w.issuer.issue(ONE));
            set.key = other.key;
            install(store, ONE, &[&set]);
        }),
        ..CASE
    };
    another_user_with_a_renewal_under_way [Up] [Down, Up]: Case {
        store: Store::Planted(plant_renewal_under_way),
        second: |w, c| one(w, c.line("User daemon\nGroup daemon")),
        ..CASE
    };
    all_owned_by_root [] [Down, Up]: Case {
        store: Store::Planted(plant_renewal_under_way),
        between: |store| give_all_to(store, "0:0"),
        ..CASE
    };
    all_owned_by_somebody_else [] [Down, Up]: Case {
        store: Store::Planted(plant_renewal_under_way),
        between: |store| give_all_to(store, "65534:65534"),
        ..CASE
    };
    a_wildcard_in_use [] [Down, Refusing]: Case {
        store: Store::Planted(|w, store| {
            let names = ["*.one.test", "one.test"];
            install(store, &names, &[&w.issuer.issue(&names)]);
        }),
        second: |w, c| domains(w, c, "MDomain *.one.test one.test", &[&["one.test", "*.one.test"]]),
        asked: &["one.test", "a.one.test"],
        ..CASE
    };
    a_wildcard_added [] [Down, Refusing]: Case {
        second: |w, c| domains(w, c, "MDomain one.test www.one.test *.one.test", &[&["one.test", "*.one.test"]]),
        asked: &["one.test", "www.one.test", "a.one.test"],
        ..CASE
    };
    challenges_of_a_manual_domain [Down] [Down]: Case {
        store: Store::Empty,
        second: |w, c| one_with(w, c, "MDRenewMode manual", &own_file(w, ONE, "SSL")),
        ..CASE
    };
    challenges_of_a_static_domain [Down] [Down]: Case {
        store: Store::Empty,
        second: |w, c| static_domain(w, c, ""),
        ..CASE
    };
    challenges_of_a_static_domain_that_is_always_renewed [] [Down]: Case {
        store: Store::Empty,
        second: |w, c| static_domain(w, c, "MDRenewMode always"),
        ..CASE
    };
    challenges_of_a_domain_that_is_always_renewed [] [Down]: Case {
        second: |w, c| one_with(w, c, "MDRenewMode always", ""),
        ..CASE
    };
    challenges_of_a_domain_with_dns_01_alone [Down] [Down]: Case {
        second: |w, c| one_with(w, c, "MDCAChallenges dns-01\nMDChallengeDns01 /bin/true", ""),
        ..CASE
    };
    challenges_of_a_domain_with_tls_alpn_01_alone [] [Down]: Case {
        second: |w, c| one_with(w, c, "MDCAChallenges tls-alpn-01\nProtocols http/1.1 acme-tls/1", ""),
        ..CASE
    };
    challenges_of_a_host_without_a_domain [] [Down]: Case {
        second: |w, c| {
            let c = w.host(c, &["alone.test"], &own_file(w, &["alone.test"], "SSL"));
            one(w, c)
        },
        asked: &["alone.test", "one.test"],
        ..CASE
    };
    challenges_without_any_domain [Down] [Down]: Case {
        store: Store::Empty,
        second: |w, c| w.host(c, ONE, &own_file(w, ONE, "SSL")),
        ..CASE
    };
    https_required_before_there_is_a_certificate [] [Down, Up]: Case {
        store: Store::Empty,
        second: |w, c| one_with(w, c, "MDRequireHttps permanent", ""),
        ..CASE
    };
    https_required_of_a_manual_domain [] [Down]: Case {
        second: |w, c| one_with(w, c, "MDRequireHttps temporary\nMDRenewMode manual", ""),
        ..CASE
    };
    https_required_in_the_host [] [Down]: Case {
        second: |w, c| one_with(w, c, "", "MDRequireHttps temporary"),
        ..CASE
    };
    https_required_with_canonical_names [] [Down]: Case {
        second: |w, c| {
            let c = c.line("UseCanonicalName On\nMDRequireHttps temporary\nMDPrivateKeys P-256\nMDMembers manual");
            w.host(c.line("MDomain one.test www.one.test"), &["one.test", "*.one.test"], "")
        },
        ..CASE
    };
    two_domains_of_one_host_by_its_names [] [Down]: Case {
        store: Store::Planted(plant_two),
        second: |w, c| {
            let c = domains(w, c, "MDMatchNames servernames\nMDomain one.test\nMDomain two.test", &[]);
            let c = w.host(c, &["one.test", "www.one.test"], "");
            w.host(c, &["two.test"], "")
        },
        asked: &["one.test", "two.test", "www.one.test"],
        ..CASE
    };
    a_finished_job_without_a_set [Down] [Down, Up]: Case {
        store: Store::Planted(|w, store| {
            plant_one(w, store);
            let job = json!({ "name": "one.test", "finished": true, "notified": true, "errors": 0 });
            issuer::put_new(&store.join("staging/one.test"), "job.json", job.to_string().as_bytes());
        }),
        ..CASE
    };
}

fn static_domain(world: &World, config: Config, lines: &str) -> Config {
    let file = own_file(world, ONE, "MD");
    world.host(config.line(&format!("<MDomain one.test www.one.test>\n{file}\n{lines}\n</MDomain>")), ONE, "")
}
