// SPDX-License-Identifier: Apache-2.0
//! The commands of mod_md 2.x's a2md on a store alone: each call of the tables with its exit code, its
//! document and the end of what it says.

use super::call::{Called, a2md};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use support::issuer::Issuer;
use tempfile::TempDir;

const CA: &str = "https://ca.test/dir";
const NO_FILE: &str = "No such file or directory";

/// A store that no httpd uses.
struct Store(TempDir);

impl Store {
    fn new() -> Store {
        Store(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("md")
    }

    /// With the directory of a CA, as the words of a line.
    fn call(&self, line: &str) -> Called {
        self.with(&["-a", CA, "-j"], line)
    }

    fn with(&self, options: &[&str], line: &str) -> Called {
        let dir = self.path().display().to_string();
        let mut arguments = vec!["-d", &dir];
        arguments.extend(options);
        arguments.extend(line.split(' ').filter(|word| !word.is_empty()));
        a2md(&arguments)
    }

    fn list(&self) -> Value {
        self.call("list").json()
    }
}

/// `code`, `status`, names of the domains printed, and the end of stderr.
type Row<'a> = (&'a str, i32, i32, &'a [&'a str], &'a str);

#[track_caller]
fn check(store: &Store, (line, code, status, names, said): Row<'_>) {
    let called = store.call(line);
    let document = called.json();
    let printed: Vec<&str> =
        document["output"].as_array().unwrap().iter().map(|md| md["name"].as_str().unwrap()).collect();
    assert_eq!((called.code, &document["status"]), (code, &json!(status)), "{line}: {}", called.err);
    assert_eq!(printed, names, "{line}");
    assert_eq!(document.get("description").is_some(), status != 0, "{line}: {document}");
    let is_said = if said.is_empty() { called.err.is_empty() } else { called.err.trim_end().ends_with(said) };
    assert!(is_said, "{line}: {}", called.err);
}

#[test]
fn commands_of_the_store_keep_managed_domains_as_they_are_given() {
    let store = Store::new();
    let rows: &[Row<'_>] = &[
        ("store list", 0, 0, &[], ""),
        ("store add", 1, 22, &[], "needs at least one name"),
        ("store add b.test tld", 0, 0, &["b.test"], ""),
        ("store add a.test www.a.test", 0, 0, &["a.test"], ""),
        ("store add a.test", 1, 17, &[], ""),
        ("store list", 0, 0, &["a.test", "b.test"], ""),
        ("store update", 1, 20014, &[], "needs md name"),
        ("store update x.test", 1, 2, &[], "x.test: not found"),
        ("store update a.test", 0, 0, &["a.test"], "no changes necessary"),
        (
            "store update a.test domains",
            1,
            20014,
            &[],
            "update domains needs at least 1 domain name as parameter",
        ),
        ("store update a.test domains a.test b.a.test", 0, 0, &["a.test"], ""),
        ("store update a.test nonsense", 1, 70023, &[], "unknown update aspect: nonsense"),
        ("store remove", 1, 22, &[], "needs at least one name"),
        ("store remove x.test", 1, 2, &[], "removing md x.test"),
        ("store remove -f x.test", 0, 0, &[], ""),
        ("store remove --force x.test a.test", 0, 0, &[], ""),
        ("store remove b.test", 0, 0, &[], ""),
        ("store list", 0, 0, &[], ""),
        ("store nonsense", 1, 22, &[], "unknown cmd: nonsense"),
        ("store", 1, 20014, &[], "sub command is missing"),
    ];
    rows.iter().for_each(|row| check(&store, *row));
}

#[test]
fn managed_domains_are_added_listed_and_updated_with_checks() {
    let store = Store::new();
    let rows: &[Row<'_>] = &[
        ("list", 0, 0, &[], ""),
        ("add", 1, 22, &[], "needs at least one name"),
        ("add b.test B.test. www.b.test", 0, 0, &["b.test"], ""),
        ("add a.test", 0, 0, &["a.test"], ""),
        ("add a.test other.test", 1, 17, &[], ""),
        ("add a.test tld", 1, 17, &[], ""),
        ("add tld", 1, 22, &[], "md tld with invalid domain name: tld"),
        (
            "add c.test invalid.*.wildcard.com",
            1,
            22,
            &[],
            "md c.test with invalid domain name: invalid.*.wildcard.com",
        ),
        ("add c.test b\u{fc}cher.test", 1, 22, &[], "md c.test with invalid domain name: b\u{fc}cher.test"),
        ("add c.test c..test", 1, 22, &[], "md c.test with invalid domain name: c..test"),
        ("add *.wildcard.com xn--bcher-kva.test", 0, 0, &["*.wildcard.com"], ""),
        ("store remove *.wildcard.com", 0, 0, &[], ""),
        ("add c.test www.b.test", 1, 22, &[], "md c.test shares domain 'www.b.test' with md b.test"),
        ("list", 0, 0, &["a.test", "b.test"], ""),
        ("list www.b.test", 0, 0, &["b.test"], ""),
        ("list a.test x.test b.test", 1, 2, &["a.test"], "managed domain not found: x.test"),
        ("list a.test -j", 1, 2, &["a.test"], "managed domain not found: -j"),
        ("update", 1, 20014, &[], "needs md name"),
        ("update x.test", 1, 2, &[], "x.test: not found"),
        ("update a.test domains", 1, 20014, &[], "update domains needs at least 1 domain name as parameter"),
        ("update a.test domains a.test tld", 1, 22, &[], "md a.test with invalid domain name: tld"),
        (
            "update a.test domains a.test b.test",
            1,
            22,
            &[],
            "md a.test shares domain 'b.test' with md b.test",
        ),
        ("update a.test domains a.test www.a.test", 0, 0, &["a.test"], ""),
        (
            "update a.test ca no.schema/path",
            1,
            22,
            &[],
            "CA url for a.test invalid (missing uri scheme): no.schema/path",
        ),
        (
            "update a.test ca http://bad.port:-1/p",
            1,
            22,
            &[],
            "CA url for a.test invalid (invalid port): http://bad.port:-1/p",
        ),
        ("update a.test ca https://other.test/dir XYZ", 0, 0, &["a.test"], ""),
        ("update a.test account x y", 0, 0, &["a.test"], ""),
        (
            "update a.test agreement no.schema/path",
            1,
            22,
            &[],
            "CA url for a.test invalid (missing uri scheme): no.schema/path",
        ),
        ("update a.test agreement accepted", 0, 0, &["a.test"], ""),
        ("update a.test contacts", 1, 20014, &[], "update contacts needs at least 1 contact email"),
        (
            "update a.test contacts no.at.char",
            1,
            22,
            &[],
            "contact for a.test invalid (missing @): mailto:no.at.char",
        ),
        (
            "update a.test contacts missing.host@",
            1,
            22,
            &[],
            "contact for a.test invalid (missing hostname): mailto:missing.host@",
        ),
        (
            "update a.test contacts @x.de",
            1,
            22,
            &[],
            "contact for a.test invalid (missing local part): mailto:@x.de",
        ),
        (
            "update a.test contacts d..d@x.de",
            1,
            22,
            &[],
            "contact for a.test invalid (double period): mailto:d..d@x.de",
        ),
        (
            "update a.test contacts d@d@x.de",
            1,
            22,
            &[],
            "contact for a.test invalid (duplicate @): mailto:d@d@x.de",
        ),
        ("update a.test contacts me@x.de xmpp:me", 0, 0, &["a.test"], ""),
        ("update a.test nonsense", 1, 70023, &[], "unknown update aspect: nonsense"),
        ("acme", 1, 20014, &[], "sub command is missing"),
        ("acme nonsense", 1, 22, &[], "unknown cmd: nonsense"),
        ("acme newreg", 1, 20014, &[], "newreg needs at least one contact email as argument"),
        ("acme validate ACME-x-0000", 1, 2, &[], "unknown account: ACME-x-0000"),
        ("acme agree ../../x", 1, 2, &[], "unknown account: ../../x"),
        ("acme delreg ACME-x-0000 ../../x", 0, 0, &[], ""),
        ("drive x.test", 1, 2, &[], "x.test: not found"),
    ];
    rows.iter().for_each(|row| check(&store, *row));
    let md = &store.list()["output"][0];
    let ca =
        json!({"proto": "XYZ", "urls": ["https://other.test/dir"], "account": "x", "agreement": "accepted"});
    assert_eq!((&md["ca"], &md["contacts"]), (&ca, &json!(["mailto:me@x.de", "xmpp:me"])));
    for aspect in ["account", "agreement"] {
        check(&store, (&format!("update a.test {aspect}"), 0, 0, &["a.test"], ""));
        assert_eq!(store.list()["output"][0]["ca"].get(aspect), None);
    }
    let blank = store.with(&["-a", "http://white space/p"], "add d.test");
    assert!(blank.err.ends_with("CA url for d.test invalid (whitespace in uri): http://white space/p\n"));
    let blank = a2md(&["-d", store.path().to_str().unwrap(), "add", "white space.test"]);
    assert!(blank.err.ends_with("md white space.test with invalid domain name: white space.test\n"));
    check(&store, ("drive a.test", 1, 70023, &[], "Unknown CA protocol: XYZ"));
}

#[test]
fn documents_have_the_keys_that_scripts_compare() {
    let store = Store::new();
    assert_eq!(store.call("list").out, "{\n  \"output\": [],\n  \"status\": 0\n}\n");
    let added = store.call("add a.test www.a.test").json();
    let md = json!({
        "name": "a.test", "domains": ["a.test", "www.a.test"], "contacts": [], "transitive": -1,
        "ca": {"proto": "ACME", "urls": [CA]}, "state": 1, "renew-mode": -1, "must-staple": false,
        "proto": {"acme-tls/1": []}, "stapling": false, "profile-mandatory": false, "ari-renewals": true,
        "state-descr": "certificate(rsa) is missing", "renew": true, "renew-window": "33%", "warn-window": "10%"
    });
    assert_eq!(added, json!({"output": [md], "status": 0}));
    assert_eq!(store.list(), added, "list shows what add showed");
    let mut stored = md;
    ["state-descr", "renew", "renew-window", "warn-window"].iter().for_each(|key| {
        stored.as_object_mut().unwrap().remove(*key);
    });
    assert_eq!(store.call("store list").json(), json!({"output": [stored], "status": 0}));
    let unchecked = store.with(&["-j"], "store add b.test").json();
    assert_eq!(unchecked["output"][0]["ca"], json!({"proto": "ACME"}));
    assert_eq!(unchecked["output"][0]["state"], 0);
    let missing = store.call("list x.test").json();
    assert_eq!(missing, json!({"output": [], "status": 2, "description": NO_FILE}));
    let internal = store.call("update").json();
    assert_eq!(internal["description"], "Internal error (specific inform");
    assert_eq!(store.with(&[], "list").out, "md: a.test [a.test, www.a.test]\nmd: b.test [b.test]\n");
    assert_eq!(store.with(&[], "add c.test").out, "md: c.test [c.test]\n");
}

#[test]
fn each_status_has_its_text_cut_as_scripts_compare_it() {
    let store = Store::new();
    store.call("add a.test");
    for (line, status, description) in [
        ("add a.test", 17, "File exists"),
        ("store add a.test", 17, "File exists"),
        ("list x.test", 2, NO_FILE),
        ("store update x.test", 2, NO_FILE),
        ("store remove x.test", 2, NO_FILE),
        ("acme validate ACME-x-0000", 2, NO_FILE),
        ("add", 22, "Invalid argument"),
        ("nonsense", 22, "Invalid argument"),
        ("store", 20014, "Internal error (specific inform"),
        ("store update a.test domains", 20014, "Internal error (specific inform"),
        ("update a.test nonsense", 70023, "This function has not been impl"),
    ] {
        let called = store.call(line);
        let text = format!(
            "{{\n  \"output\": [],\n  \"status\": {status},\n  \"description\": \"{description}\"\n}}\n"
        );
        assert_eq!((called.code, called.out), (1, text), "{line}: {}", called.err);
    }
}

#[test]
fn keys_of_a_domain_that_are_not_always_there_are_shown_where_they_are_set() {
    let store = Store::new();
    let added = store.call("add a.test").json();
    for key in ["privkey", "require-https", "cmd-dns-01", "profile"] {
        assert_eq!(added["output"][0].get(key), None, "{key}");
    }
    let file = store.path().join("domains/a.test/md.json");
    let mut md: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    md["privkey"] = json!({"type": "RSA", "bits": 2048});
    md["require-https"] = json!("temporary");
    md["renew-mode"] = json!(0);
    fs::write(&file, md.to_string()).unwrap();
    for line in ["list", "store list"] {
        let md = &store.call(line).json()["output"][0];
        assert_eq!(md["privkey"], json!({"type": "RSA", "bits": 2048}), "{line}");
        assert_eq!((&md["require-https"], &md["renew-mode"]), (&json!("temporary"), &json!(0)), "{line}");
    }
}

#[test]
fn options_of_the_call_go_into_the_domains_that_it_makes_or_changes() {
    let store = Store::new();
    store.call("store add a.test");
    let md = store.with(&["-j", "-a", "https://other.test/dir"], "store update a.test").json();
    assert_eq!(md["output"][0]["ca"], json!({"proto": "ACME", "urls": ["https://other.test/dir"]}));
    let md = store.with(&["-j", "-a", CA], "store update a.test domains a.test x.test").json();
    assert_eq!(md["output"][0]["domains"], json!(["a.test", "x.test"]));
    assert_eq!(md["output"][0]["ca"]["urls"], json!([CA]));
    for (line, text) in [
        ("update a.test contacts", "contact for a.test invalid (whitespace in uri): mailto:a b@x.de"),
        ("acme newreg", "invalid contact uri (whitespace in uri): mailto:a b@x.de"),
    ] {
        let dir = store.path().display().to_string();
        let words: Vec<&str> =
            ["-d", &dir, "-a", CA, "-t", "accepted"].into_iter().chain(line.split(' ')).collect();
        let called = a2md(&[&words[..], &["a b@x.de"]].concat());
        assert!(
            called.code == 1 && called.err.lines().any(|line| line.ends_with(text)),
            "{line}: {}",
            called.err
        );
    }
    for line in ["acme agree ACME-x-0000", "acme validate ACME-x-0000", "acme newreg a@b.test"] {
        let called = store.with(&["-j"], line);
        assert!(
            called.code == 1 && called.err.contains("error creating acme instance"),
            "{line}: {}",
            called.err
        );
    }
    // What comes after the first argument is one, at each level.
    let called = store.with(&["-j"], "store remove a.test -f");
    assert_eq!((called.code, &called.json()["status"]), (1, &json!(2)), "{}", called.err);
    assert!(called.err.trim_end().ends_with("removing md -f"), "{}", called.err);
    let md = store.with(&["-j"], "add b.test c.test").json();
    assert_eq!((&md["status"], &md["output"][0]["domains"]), (&json!(0), &json!(["b.test", "c.test"])));
    for line in ["add d.test -j", "update b.test domains b.test -j", "drive b.test -f"] {
        let called = store.with(&["-j"], line);
        assert_eq!(called.code, 1, "{line}: {}", called.err);
        assert!(
            called.err.contains("-j")
                || called.err.contains("-f: not found")
                || called.err.contains("b.test"),
            "{line}: {}",
            called.err
        );
    }
    let called = store.with(&[], "-h");
    assert_eq!((called.code, called.out.as_str()), (2, ""));
}

#[test]
fn options_stand_before_the_first_argument_of_their_level() {
    let store = Store::new();
    for (line, code) in [
        ("list -h", 2),
        ("store -h", 2),
        ("store remove -h", 2),
        ("acme newreg --help", 2),
        ("list -j", 2),
        ("store remove --nonsense", 2),
        ("store -f remove x.test", 2),
    ] {
        let called = store.with(&["-j"], line);
        assert_eq!((called.code, called.out.as_str()), (code, ""), "{line}: {}", called.err);
        assert!(called.err.contains("Usage: a2md"), "{line}: {}", called.err);
    }
    for (line, command) in [("list", "list"), ("store add a.test", "add"), ("acme newreg a@b.test", "newreg")]
    {
        let mut arguments = vec!["-j"];
        arguments.extend(line.split(' '));
        let called = a2md(&arguments);
        assert_eq!(called.err, format!("need store directory for command: {command}\n"));
        assert_eq!((called.code, &called.json()["status"]), (1, &json!(22)));
    }
    let called = store.with(&["-j"], "acme newreg a@b.test");
    assert!(called.code == 1 && called.err.contains("error creating acme instance"), "{}", called.err);
    // The last one counts.
    let md = store.with(&["-a", "https://one.test/", "--acme=https://two.test/", "-jj"], "add a.test").json();
    assert_eq!(md["output"][0]["ca"]["urls"], json!(["https://two.test/"]));
}

#[test]
fn messages_have_a_place_and_a_status_where_there_is_one() {
    let store = Store::new();
    let called = store.with(&[], "list x.test");
    let head = called.err.split(' ').next().unwrap();
    assert!(head.starts_with('[') && head.contains(".rs:"), "{}", called.err);
    assert!(called.err.contains(&format!(" error][2({NO_FILE})] managed domain not found: x.test")));
    store.with(&[], "add a.test");
    for (options, said) in [(&[][..], "no changes necessary\n"), (&["-q"][..], "")] {
        assert_eq!(store.with(options, "store update a.test").err, said, "{options:?}");
    }
    let called = store.with(&["-v"], "store update a.test");
    assert!(called.err.ends_with(" info][ok] no changes necessary\n"), "{}", called.err);
    assert_eq!(store.with(&["-qqqq"], "list x.test").err, "", "at crit");
}

#[test]
fn copied_pairs_are_judged_by_what_they_are() {
    let store = Store::new();
    store.call("add a.test www.a.test");
    let folder = store.path().join("domains/a.test");
    let issuer = Issuer::new();
    let names = ["a.test", "www.a.test"];
    for (names, from, until, state, is_due, descr) in [
        (&names[..], -60, 86_400, 2, false, None),
        (&names[..1], -60, 86_400, 1, true, Some("certificate(rsa) does not cover all domains.")),
        (&names[..], -86_400, -60, 1, true, Some("certificate(rsa) has expired")),
        (&names[..], -86_400, 600, 2, true, None),
    ] {
        let set = issuer.issue_for(names, openssl::pkey::Id::RSA, from, until);
        fs::write(folder.join("privkey.pem"), set.key_pem()).unwrap();
        fs::write(folder.join("pubcert.pem"), set.chain_pem()).unwrap();
        let md = &store.list()["output"][0];
        assert_eq!((&md["state"], &md["renew"]), (&json!(state), &json!(is_due)), "{md}");
        assert_eq!(md.get("state-descr").and_then(Value::as_str), descr);
    }
    fs::write(folder.join("pubcert.pem"), "garbage").unwrap();
    let md = &store.list()["output"][0];
    assert_eq!((&md["state"], &md["renew"]), (&json!(1), &json!(true)), "{md}");
}

#[test]
fn a_store_is_made_at_the_first_call_and_one_of_version_1_is_converted() {
    let store = Store::new();
    fs::create_dir(store.path()).unwrap();
    check(&store, ("store add a.test", 0, 0, &["a.test"], ""));
    let file = store.path().join("md_store.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let key = record["key"].clone();
    record["store"]["version"] = json!(1.0);
    fs::write(&file, record.to_string()).unwrap();
    let folder = store.path().join("domains/a.test");
    let set = Issuer::new().issue_for(&["a.test"], openssl::pkey::Id::RSA, -60, 86_400);
    fs::write(folder.join("pkey.pem"), set.key_pem()).unwrap();
    fs::write(folder.join("cert.pem"), set.chain[0].to_pem().unwrap()).unwrap();
    fs::write(folder.join("chain.pem"), set.chain[1].to_pem().unwrap()).unwrap();
    assert_eq!(store.list()["output"][0]["state"], 2);
    let record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!((&record["store"]["version"], &record["key"]), (&json!(3.0), &key));
    assert_eq!(fs::read(folder.join("pubcert.pem")).unwrap(), set.chain_pem());
    // A key that cannot be read is never replaced.
    fs::write(&file, "{}").unwrap();
    let called = store.call("list");
    assert_eq!(called.code, 1);
    assert_eq!(fs::read(&file).unwrap(), b"{}");
}

#[test]
fn the_store_of_another_user_is_not_written_to() {
    if !support::lab::is_root() {
        return;
    }
    let store = Store::new();
    store.call("add a.test");
    let user = support::httpd::unprivileged_user();
    std::os::unix::fs::chown(store.path().join("md_store.json"), Some(user.uid), Some(user.gid)).unwrap();
    let before = fs::read_dir(store.path().join("domains")).unwrap().count();
    for line in ["add b.test", "store add b.test", "update a.test account x", "drive a.test"] {
        let called = store.call(line);
        assert_eq!((called.code, &called.json()["status"]), (1, &json!(13)), "{line}: {}", called.err);
        assert!(called.err.contains(&format!("--reuid {}", user.uid)), "{line}: {}", called.err);
    }
    assert_eq!(fs::read_dir(store.path().join("domains")).unwrap().count(), before);
    assert_eq!(store.call("list").code, 0);
}
