// SPDX-License-Identifier: Apache-2.0
//! `drive` and `acme`: renewals and accounts in the command's own process, with a real CA, whose challenges a
//! running httpd answers from the store.

use super::call::{Called, called, command};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use support::httpd::unprivileged_user;
use support::{Account, Command, Config, Httpd, Lab, Need, Pebble, lab, module, open_lab};

/// The store of an httpd without managed domains, and a CA.
struct Place<'a> {
    config: &'a Config,
    pebble: &'a Pebble,
    is_ordinary: bool,
}

impl Place<'_> {
    fn call(&self, options: &[&str], line: &str) -> Called {
        let authority = &self.pebble.authority;
        let (store, certificate) = (self.config.store(), &authority.certificate);
        let directory = authority.directory();
        let mut arguments = vec!["-d", store.to_str().unwrap(), "-C", certificate.to_str().unwrap(), "-j"];
        arguments.extend(["-a", &directory]);
        arguments.extend(options);
        arguments.extend(line.split(' '));
        let mut command = command(&arguments);
        if self.is_ordinary && lab::is_root() {
            let user = unprivileged_user();
            command.uid(user.uid).gid(user.gid);
        }
        called(command)
    }

    #[track_caller]
    fn good(&self, line: &str) -> Called {
        let called = self.call(&[], line);
        assert_eq!(called.code, 0, "{line}: {}\n{}", called.out, called.err);
        called
    }

    /// A managed domain that can be ordered for.
    fn add(&self, name: &str) {
        self.good(&format!("add {name}"));
        self.good(&format!("update {name} contacts admin@example.test"));
        self.good(&format!("update {name} agreement accepted"));
    }

    fn md(&self, name: &str) -> Value {
        self.good(&format!("list {name}")).json()["output"][0].clone()
    }
}

/// With a managed domain that has nothing to do with it, so that httpd makes the store.
fn httpd(lab: &Lab) -> Config {
    Config::new(lab).line("MDomain other.test\nMDRenewMode manual\nMDContactEmail admin@example.test")
}

fn drive_twice(httpd: &Httpd, pebble: &Pebble, is_ordinary: bool) {
    let place = Place { config: &httpd.config, pebble, is_ordinary };
    let store = httpd.config.store();
    place.add("one.test");
    let called = place.good("drive -c http-01 one.test");
    let lines: Vec<&str> = called.err.lines().collect();
    assert_eq!(lines[0], "md[one.test] detail[needs new certificate (is incomplete).]");
    assert!(lines.iter().any(|line| line.starts_with("registered new account https://")), "{lines:?}");
    assert_eq!(
        *lines.last().unwrap(),
        "md[one.test] while[moving tmp to become new domains] detail[new certificate successfully saved in domains]"
    );
    assert_eq!(called.json(), json!({"output": [], "status": 0}));
    let md = place.md("one.test");
    assert_eq!((&md["state"], &md["renew"]), (&json!(2), &json!(false)), "{md}");
    assert!(
        store.join("accounts").join(md["ca"]["account"].as_str().unwrap()).join("account.json").is_file()
    );
    let first = fs::read(store.join("domains/one.test/pubcert.pem")).unwrap();

    for line in ["drive one.test", "drive"] {
        let called = place.good(line);
        assert_eq!((called.err.as_str(), pebble.order_count()), ("", 1), "nothing is due");
    }

    let called = place.good("drive --force -c http-01 one.test");
    assert!(called.err.starts_with("md[one.test] detail[should renew (forced).]\n"), "{}", called.err);
    assert_eq!((pebble.order_count(), pebble.account_count()), (2, 1));
    // The first one had md.json alone.
    let archived = store.join("archive/one.test.2");
    assert_eq!(fs::read(archived.join("pubcert.pem")).unwrap(), first);
    for file in ["md.json", "privkey.pem"] {
        assert!(archived.join(file).is_file(), "{file}");
    }
    assert_ne!(fs::read(store.join("domains/one.test/pubcert.pem")).unwrap(), first);
    assert!(!store.join("challenges/one.test/acme-http-01.txt").exists());
}

/// Every file below that folder.
fn owners(folder: &Path, found: &mut Vec<(String, u32)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        found.push((entry.path().display().to_string(), entry.metadata().unwrap().uid()));
        if entry.file_type().unwrap().is_dir() {
            owners(&entry.path(), found);
        }
    }
}

#[test]
fn root_renews_beside_httpd_and_leaves_workers_what_is_theirs() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let httpd = httpd(&lab).start();
    drive_twice(&httpd, &pebble, false);
    let store = httpd.config.store();
    for (group, owner) in [
        ("staging", unprivileged_user().uid),
        ("challenges", unprivileged_user().uid),
        ("domains", 0),
        ("accounts", 0),
    ] {
        let mut found = Vec::new();
        owners(&store.join(group), &mut found);
        assert!(found.iter().all(|(_, uid)| *uid == owner), "{group}: {found:?}");
    }
    let mode = fs::metadata(store.join("domains/one.test/privkey.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_ordinary_user_renews_beside_an_httpd_of_its_own() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let httpd = httpd(&lab).account(Account::Ordinary).start();
    drive_twice(&httpd, &pebble, true);
}

#[test]
fn an_httpd_with_the_c_module_answers_the_challenges_and_serves_the_result() {
    let Some(lab) = open_lab!() else { return };
    let Some(c_module) = module::c_module() else { return };
    let pebble = Pebble::start(&lab);
    let httpd = httpd(&lab).module(&c_module).start();
    drive_twice(&httpd, &pebble, false);
    let config = httpd.stop().line(&pebble.authority.directives()).line("MDomain one.test");
    let httpd = config.line("MDContactEmail admin@example.test").site("one.test", &[]).start();
    assert!(httpd.served("one.test", &pebble, &[]).verified);
}

#[test]
fn what_is_in_the_way_is_said_as_scripts_look_for_it() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let httpd = httpd(&lab).start();
    let place = Place { config: &httpd.config, pebble: &pebble, is_ordinary: false };
    place.good("add one.test");
    let called = place.call(&[], "drive one.test");
    let text = "No contact information is available for MD one.test. Configure one using the MDContactEmail or \
                ServerAdmin directive.";
    assert!(called.code == 1 && called.err.contains(text), "{}", called.err);
    assert_eq!(called.json()["status"], 22);

    place.good("update one.test contacts admin@example.test");
    let called = place.call(&[], "drive one.test");
    let text = "the CA requires you to accept the terms-of-service as specified in ";
    assert!(called.code == 1 && called.err.contains(text), "{}", called.err);
    assert_eq!(pebble.account_count(), 0);

    place.good("update one.test ca http://127.0.0.1:1/directory");
    let called = place.call(&["-t", "accepted"], "drive -r one.test");
    assert_eq!(called.code, 1, "{}", called.err);
    assert_eq!(called.json(), json!({"output": [], "status": 111, "description": "Connection refused"}));

    // Without a name it stops at the first failure.
    place.add("two.test");
    let called = place.call(&["-t", "accepted"], "drive");
    assert_eq!((called.code, pebble.order_count()), (1, 0), "{}", called.err);
}

#[test]
fn accounts_come_and_go_by_themselves() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let config = httpd(&lab);
    fs::create_dir_all(config.store()).unwrap();
    let place = Place { config: &config, pebble: &pebble, is_ordinary: false };
    let called = place.call(&[], "acme newreg me@example.test");
    assert_eq!(called.code, 1);
    assert!(called.err.lines().next().unwrap().contains("account did not agree to the terms of service"));
    assert!(called.err.ends_with("register new account\n"), "{}", called.err);
    let called = place.call(&["-t", "accepted"], "acme newreg no.at.char");
    assert!(called.err.contains("invalid contact uri (missing @): mailto:no.at.char"), "{}", called.err);

    let called = place.call(&["-t", "accepted"], "acme newreg me@example.test you@example.test");
    let id = "ACME-127.0.0.1-0000";
    assert_eq!(
        called.out,
        format!("registered: {id}\n{{\n  \"output\": [],\n  \"status\": 0\n}}\n"),
        "{}",
        called.err
    );
    let account = fs::read(config.store().join("accounts").join(id).join("account.json")).unwrap();
    let account: Value = serde_json::from_slice(&account).unwrap();
    assert_eq!(account["contact"], json!(["mailto:me@example.test", "mailto:you@example.test"]));
    let said = place.good(&format!("acme validate {id}")).out;
    assert!(said.starts_with(&format!("account valid: {id}\n")), "{said}");
    let said = place.good(&format!("acme agree {id}")).out;
    assert!(said.starts_with("agreed terms-of-service: "), "{said}");
    assert_eq!(place.good(&format!("acme delreg {id}")).json(), json!({"output": [], "status": 0}));
    assert!(!config.store().join("accounts").join(id).exists());
    let called = place.call(&[], &format!("acme validate {id}"));
    assert!(called.err.trim_end().ends_with(&format!("unknown account: {id}")), "{}", called.err);
}

#[test]
fn commands_for_dns_run_as_the_user_of_httpd() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let httpd = httpd(&lab).start();
    let place = Place { config: &httpd.config, pebble: &pebble, is_ordinary: false };
    let dns = Command::dns(&lab, &pebble.authority);
    let noted = lab.path("uids");
    fs::write(&noted, "").unwrap();
    fs::set_permissions(&noted, fs::Permissions::from_mode(0o666)).unwrap();
    let line = Command::new(&lab, "as", &format!("id -u >> {}; exec {} \"$@\"", noted.display(), dns.line));
    place.add("one.test");
    let file = httpd.config.store().join("domains/one.test/md.json");
    let mut md: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    md["cmd-dns-01"] = json!(line.line);
    fs::write(&file, md.to_string()).unwrap();
    place.good("drive -c dns-01 one.test");
    let user = format!("{}\n", unprivileged_user().uid);
    assert_eq!(fs::read_to_string(&noted).unwrap(), user.repeat(2), "setup and teardown");
    assert_eq!(dns.calls().len(), 2);
}
