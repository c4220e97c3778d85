// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::http::{self, Request, Response};
use crate::model::dns01::SecretFile;
use crate::time::SystemClock;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use tempfile::TempDir;

const VALUE: &str = "-LPsIwTo7o8BoG0_vjCyGQGBWSVIPxI-i_X336eUOQZ";
const LIMIT: Duration = Duration::from_secs(60);

/// No hook but httpreq sends requests.
struct Nothing;

impl Transport for Nothing {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        panic!("{}", request.url)
    }
}

/// A script that writes its arguments, and what is in its environment.
struct Lab {
    dir: TempDir,
    all: Vec<String>,
}

impl Lab {
    fn new() -> Lab {
        Lab {
            dir: tempfile::tempdir().unwrap(),
            all: vec!["a.test".into(), "*.a.test".into(), "b.test".into()],
        }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn script(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    fn recorder(&self, name: &str) -> String {
        let to = self.path("calls");
        let text = format!(
            "{{ printf '%s' {name}; printf ' [%s]' \"$@\"; echo; env | grep -E '^(CERTBOT_|MD_HOOK_)' | sort; }} >> {to}"
        );
        self.script(name, &text)
    }

    fn calls(&self) -> String {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        calls
    }

    fn record(&self) -> Record<'_> {
        let name = "_acme-challenge.a.test";
        Record { domain: "a.test", name, value: VALUE, all_domains: &self.all, remaining: 2 }
    }
}

fn hook(kind: HookKind, words: &[&str]) -> Hook {
    Hook { kind, words: words.iter().map(ToString::to_string).collect(), user: None, env: None }
}

fn secret(path: &str, content: &str) -> Option<SecretFile> {
    Some(SecretFile::loaded(path, content))
}

fn both(hook: &Hook, record: &Record<'_>) -> Option<String> {
    let clock = SystemClock::default();
    let output = set_up(hook, record, LIMIT, &clock, &Nothing).unwrap();
    tear_down(hook, record, output.as_deref(), LIMIT, &clock, &Nothing).unwrap();
    output
}

fn failure(hook: &Hook, record: &Record<'_>) -> Error {
    set_up(hook, record, LIMIT, &SystemClock::default(), &Nothing).unwrap_err()
}

#[test]
fn lego_is_given_the_name_where_the_record_stands_with_its_dot() {
    let lab = Lab::new();
    let record = Record { name: "a-test.acme.example", ..lab.record() };
    assert_eq!(both(&hook(HookKind::Lego, &[&lab.recorder("hook")]), &record), None);
    let expected = format!(
        "hook [present] [a-test.acme.example.] [{VALUE}]\nhook [cleanup] [a-test.acme.example.] [{VALUE}]\n"
    );
    assert_eq!(lab.calls(), expected);
}

#[test]
fn dehydrated_is_given_the_domain_and_the_same_file_both_times() {
    let lab = Lab::new();
    both(&hook(HookKind::Dehydrated, &[&lab.recorder("hook")]), &lab.record());
    let rest = format!("[a.test] [{VALUE}] [{VALUE}]\n");
    assert_eq!(lab.calls(), format!("hook [deploy_challenge] {rest}hook [clean_challenge] {rest}"));
}

/// The hook of dehydrated's own documentation sets up nothing, and ends well.
#[test]
fn the_example_hook_of_dehydrated_runs() {
    let example = "/usr/share/doc/dehydrated/examples/hook.sh";
    if !Path::new(example).exists() {
        return;
    }
    let lab = Lab::new();
    both(&hook(HookKind::Dehydrated, &[&format!("/bin/bash {example}")]), &lab.record());
}

#[test]
fn certbot_has_its_variables_and_the_clean_up_what_the_hook_has_printed() {
    let lab = Lab::new();
    let (auth, clean_up) = (lab.recorder("auth"), lab.recorder("cleanup"));
    fs::write(&auth, fs::read_to_string(&auth).unwrap() + "echo ' id 17 '; echo second line\necho no >&2")
        .unwrap();
    let output = both(&hook(HookKind::Certbot, &[&auth, &clean_up]), &lab.record());
    assert_eq!(output.as_deref(), Some("id 17 \nsecond line"));
    let variables = format!(
        "CERTBOT_ALL_DOMAINS=a.test,a.test,b.test\nCERTBOT_DOMAIN=a.test\nCERTBOT_REMAINING_CHALLENGES=2\n\
         CERTBOT_VALIDATION={VALUE}\n"
    );
    let calls = lab.calls();
    let (first, second) = calls.split_once("cleanup []\n").unwrap();
    assert_eq!(first, format!("auth []\n{variables}"));
    // `sort` has the second line of the output before CERTBOT_, where grep shows it not.
    assert!(second.contains("CERTBOT_AUTH_OUTPUT=id 17 \n"), "{second}");
    assert_eq!(second.replace("CERTBOT_AUTH_OUTPUT=id 17 \n", ""), variables);
}

/// In the form of acme.sh's own end, and of the files in its folder dnsapi.
fn acme_sh(lab: &Lab) -> String {
    let program = r#"
PROJECT_ENTRY="acme.sh"
_SCRIPT_="$0"
_initpath() { . "$LE_WORKING_DIR/account.conf"; }
showhelp() { exit 8; }
_startswith() { case "$1" in "$2"*) true ;; *) false ;; esac; }
main() {
  [ -z "$1" ] && showhelp && return
  if _startswith "$1" '-'; then exit 9; else "$@" || exit 7; fi
}
main "$@""#;
    let api = format!(
        "dns_test_add() {{ echo \"add [$1] [$2] $TEST_KEY $_SCRIPT_ $#\" >> {0}; }}\n\
         dns_test_rm() {{ echo \"rm [$1] [$2] $TEST_KEY $_SCRIPT_ $#\" >> {0}; }}",
        lab.path("calls")
    );
    lab.script("home/dnsapi/dns_test.sh", &api);
    lab.script("home/account.conf", "TEST_KEY='of the account'");
    lab.script("home/acme.sh", program)
}

#[test]
fn acme_sh_is_sourced_with_its_api_and_its_account() {
    let lab = Lab::new();
    let program = acme_sh(&lab);
    // Nothing in a name is a shell's.
    let record = Record { name: "$(touch x);`id`.a.test", ..lab.record() };
    let hook = hook(HookKind::AcmeSh, &[&program, "dns_test"]);
    both(&hook, &record);
    let rest = format!("[{}] [{VALUE}] of the account {program} 2\n", record.name);
    assert_eq!(lab.calls(), format!("add {rest}rm {rest}"));
    for (words, expected) in [
        (vec![program.as_str(), "dns_other"], "exit code"),
        (vec![program.as_str(), "../dns_test"], "words that it needs"),
        (vec!["/no/such/acme.sh", "dns_test"], "exit code"),
        (vec![program.as_str()], "words that it needs"),
    ] {
        let broken = Hook { words: words.into_iter().map(String::from).collect(), ..hook.clone() };
        let error = failure(&broken, &record).to_string();
        assert!(error.starts_with("hook:acme.sh: ") && error.contains(expected), "{error}");
    }
    let api = lab.path("home/dnsapi/dns_test.sh");
    fs::write(api, "dns_test_add() { return 3; }").unwrap();
    let error = failure(&hook, &lab.record()).to_string();
    assert!(error.contains("failed with exit code 3"), "{error}");
    let by_hand = format!(
        ". {program} : ; _initpath; . {}; dns_test_add _acme-challenge.a.test {VALUE}",
        lab.path("home/dnsapi/dns_test.sh")
    );
    assert!(error.contains(&by_hand), "{error}");
}

#[test]
fn variables_of_the_file_reach_the_hook_and_nothing_else() {
    let lab = Lab::new();
    let env = "# a key\n\n MD_HOOK_KEY=s3cret=x \nMD_HOOK_B=\"two words\"\nMD_HOOK_C='$HOME'\nCERTBOT_DOMAIN=other\n";
    let words = [lab.recorder("auth"), lab.recorder("cleanup")];
    let hook = Hook { env: secret("/etc/env", env), ..hook(HookKind::Certbot, &[&words[0], &words[1]]) };
    crate::log::capture::take();
    both(&hook, &lab.record());
    let calls = lab.calls();
    for line in
        ["MD_HOOK_KEY=s3cret=x\n", "MD_HOOK_B=two words\n", "MD_HOOK_C=$HOME\n", "CERTBOT_DOMAIN=a.test\n"]
    {
        assert_eq!(calls.matches(line).count(), 2, "{calls}");
    }
    assert_eq!(calls.matches("CERTBOT_DOMAIN=").count(), 2, "{calls}");
    let broken = Hook { words: vec!["/bin/false".into(), "x".into()], ..hook.clone() };
    let error = failure(&broken, &lab.record());
    let said = format!("{error} {error:?} {hook:?} {:?}", crate::log::capture::take());
    assert!(said.contains("with the variables of /etc/env") && !said.contains("s3cret"), "{said}");
    for (bad, line) in
        [("A=1\nnot a line s3cret", 2), ("=x", 1), ("1A=x", 1), ("A-B=x", 1), ("export A=1", 1), ("A=\0", 1)]
    {
        assert_eq!(secrets::variables(bad).err(), Some(secrets::BadLine(line)), "{bad}");
        let error = failure(&Hook { env: secret("/etc/env", bad), ..hook.clone() }, &lab.record());
        assert!(
            error.has_not_begun() && error.to_string().contains(&format!("/etc/env: line {line} ")),
            "{error}"
        );
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
    let unread = Hook { env: Some(SecretFile::at("/etc/env")), ..hook.clone() };
    let error = failure(&unread, &lab.record()).to_string();
    assert!(error.contains("/etc/env was not readable"), "{error}");
}

#[test]
fn a_failure_says_what_failed_how_and_what_to_run_by_hand() {
    let lab = Lab::new();
    let script = lab.script("it's", "exit 3");
    let error = failure(&hook(HookKind::Lego, &[&format!("\"{script}\" --all")]), &lab.record());
    let expected = format!(
        "hook:lego: '{script}' failed with exit code 3 (by hand, as httpd's User: \"{script}\" --all present \
         _acme-challenge.a.test. {VALUE})"
    );
    assert_eq!(error.to_string(), expected);
    assert!(!error.has_not_begun() && !error.is_stopped() && !error.is_timeout());
    let error = failure(&hook(HookKind::Dehydrated, &["/no/such/hook"]), &lab.record());
    assert!(error.has_not_begun(), "{error}");
    let slow = hook(HookKind::Lego, &["/bin/sh -c 'sleep 600' sh"]);
    let clock = SystemClock::default();
    let late = set_up(&slow, &lab.record(), Duration::from_millis(50), &clock, &Nothing).unwrap_err();
    assert!(late.is_timeout() && !late.has_not_begun(), "{late}");
    clock.stop.raise();
    let stopped = set_up(&slow, &lab.record(), LIMIT, &clock, &Nothing).unwrap_err();
    assert!(stopped.is_stopped(), "{stopped}");
    for words in [&[][..], &["/bin/true", "/bin/true", "x"]] {
        for kind in [HookKind::Lego, HookKind::Dehydrated, HookKind::Certbot, HookKind::AcmeSh] {
            assert!(failure(&hook(kind, words), &lab.record()).has_not_begun());
        }
    }
}

/// Answers each request alike, and keeps what it is sent.
struct Server {
    seen: Mutex<Vec<String>>,
    answer: Result<Response, http::Error>,
}

impl Server {
    fn answering(status: u16, headers: &[(&str, &str)], body: &str) -> Server {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Server { seen: Mutex::default(), answer: Ok(Response::new(status, headers, body.into())) }
    }
}

impl Transport for Server {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        let body = std::str::from_utf8(request.body.unwrap()).unwrap();
        let (type_, user) = (request.content_type.unwrap(), request.credentials);
        self.seen.lock().unwrap().push(format!("{} {type_} {user:?} {body}", request.url));
        assert!(!format!("{request:?}").contains("Basic"), "{request:?}");
        self.answer.clone()
    }
}

#[test]
fn httpreq_sends_what_lego_does() {
    let lab = Lab::new();
    let plain = hook(HookKind::HttpReq, &["https://dns.test/api/"]);
    let named = Hook { user: secret("/etc/user", "me:p:w\n"), ..plain.clone() };
    let (server, clock) = (Server::answering(204, &[], ""), SystemClock::default());
    assert_eq!(set_up(&named, &lab.record(), LIMIT, &clock, &server).unwrap(), None);
    tear_down(&plain, &lab.record(), None, LIMIT, &clock, &server).unwrap();
    let body = format!("{{\"fqdn\":\"_acme-challenge.a.test.\",\"value\":\"{VALUE}\"}}");
    // The code is that of base64(1).
    let expected = [
        format!(
            "https://dns.test/api/present application/json [(\"authorization\", \"Basic bWU6cDp3\")] {body}"
        ),
        format!("https://dns.test/api/cleanup application/json [] {body}"),
    ];
    assert_eq!(*server.seen.lock().unwrap(), expected);
    for bad in ["", "me", "me:x\nyou:y"] {
        let hook = Hook { user: secret("/etc/user", bad), ..plain.clone() };
        let error = set_up(&hook, &lab.record(), LIMIT, &clock, &server).unwrap_err();
        assert!(error.has_not_begun() && error.to_string().contains("/etc/user is not one line"), "{error}");
    }
}

#[test]
fn what_httpreq_s_server_refuses_is_told_in_one_short_line() {
    let lab = Lab::new();
    let hook =
        Hook { user: secret("/etc/u s", "me:s3cret"), ..hook(HookKind::HttpReq, &["https://dns.test"]) };
    let clock = SystemClock::default();
    let tell = |server: Server| set_up(&hook, &lab.record(), LIMIT, &clock, &server).unwrap_err();
    let by_hand = format!(
        "(by hand, as httpd's User: curl -u \"$(cat '/etc/u s')\" -H 'Content-Type: application/json' -d \
         '{{\"fqdn\":\"_acme-challenge.a.test.\",\"value\":\"{VALUE}\"}}' https://dns.test/present)"
    );
    let error = tell(Server::answering(500, &[], "no\n\x07 zone")).to_string();
    assert_eq!(
        error,
        format!("hook:httpreq: https://dns.test/present answered with status 500: no zone {by_hand}")
    );
    let error = tell(Server::answering(302, &[("location", "https://evil.test/")], "")).to_string();
    assert!(error.contains("status 302, a redirect to https://evil.test/, which is not followed"), "{error}");
    assert!(tell(Server::answering(500, &[], &"x".repeat(100_000))).to_string().len() < 1000);
    let failing = |error| tell(Server { seen: Mutex::default(), answer: Err(error) });
    let error = failing(http::Error::Timeout);
    assert!(error.is_timeout() && !error.has_not_begun() && error.to_string().contains("no answer in time"));
    assert!(failing(http::Error::Refused).has_not_begun());
    assert!(failing(http::Error::Stopped).is_stopped());
}
