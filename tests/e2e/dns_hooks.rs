// SPDX-License-Identifier: Apache-2.0
//! dns-01 by the hooks of other clients, each through a whole renewal with records in a real BIND, and what
//! the clients themselves give to a hook beside what httpd does.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;
use support::dns::wait_for_txt;
use support::{Lab, Need, open_lab};

use crate::dns::{Names, assert_certificate};

macro_rules! open {
    ($($more:expr),*) => {
        open_lab!(
            Need::Program("named"),
            Need::Program("unbound"),
            Need::Program("dig"),
            Need::Program("nsupdate"),
            Need::Program("tsig-keygen"),
            $($more),*
        )
    };
}

const LEGO: &str = r#"case $1 in present) update add "$2" "$3" ;; cleanup) update delete "$2" "$3" ;; esac"#;

/// A script that httpd's `User` can run.
fn script(lab: &Lab, name: &str, text: &str) -> String {
    let path = lab.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/bash\n{text}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// For hooks: `update add|delete NAME VALUE` by nsupdate, with a key that is in a variable alone.
fn function(names: &Names) -> String {
    let server = names.named.address;
    format!(
        r#"update() {{
            rest=""; [ "$1" = add ] && rest=1
            printf 'server {} {}\nupdate %s %s %s TXT "%s"\nsend\n' "$1" "$2" "$rest" "$3" | nsupdate -y "$KEY"
        }}"#,
        server.ip(),
        server.port()
    )
}

/// The file for `env=`, for root alone.
fn environment(lab: &Lab, names: &Names) -> PathBuf {
    let file = lab.path("hook.env");
    let key = &names.key;
    fs::write(&file, format!("KEY={}:{}:{}\n", key.algorithm, key.name, key.secret)).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    file
}

/// A wildcard and its base by this way: two values come to one name, and go.
fn assert_issued(lab: &Lab, names: &Names, way: &str) {
    let mut httpd = names
        .config_of(lab, way)
        .line("MDomain one.test *.one.test\nMDRetryDelay 1h")
        .site("one.test", &["*.one.test"])
        .start();
    assert_certificate(&mut httpd, &names.pebble, "one.test", &["one.test", "www.one.test"]);
    wait_for_txt(names.named.address, "_acme-challenge.one.test", &[]);
    let log = names.named.log();
    assert_eq!(log.matches("adding an RR at '_acme-challenge.one.test' TXT").count(), 2, "{log}");
    assert!(!httpd.said().contains(&names.key.secret));
}

#[test]
fn the_program_of_lego_sets_the_records() {
    let Some(lab) = open!() else { return };
    let names = Names::new(&lab, &[]);
    let hook = script(&lab, "lego.sh", &format!("{}\n{LEGO}", function(&names)));
    let env = environment(&lab, &names);
    assert_issued(&lab, &names, &format!("hook:lego {hook} env={}", env.display()));
}

/// Built as the example that comes with dehydrated.
#[test]
fn a_hook_of_dehydrated_sets_the_records() {
    let Some(lab) = open!() else { return };
    let names = Names::new(&lab, &[]);
    let text = r#"
        deploy_challenge() {
            local DOMAIN="${1}" TOKEN_FILENAME="${2}" TOKEN_VALUE="${3}"
            update add "_acme-challenge.${DOMAIN}." "${TOKEN_VALUE}"
        }
        clean_challenge() {
            local DOMAIN="${1}" TOKEN_FILENAME="${2}" TOKEN_VALUE="${3}"
            update delete "_acme-challenge.${DOMAIN}." "${TOKEN_VALUE}"
        }
        HANDLER="$1"; shift
        if [[ "${HANDLER}" =~ ^(deploy_challenge|clean_challenge)$ ]]; then "$HANDLER" "$@"; fi"#;
    let hook = script(&lab, "hook.sh", &format!("{}\n{text}", function(&names)));
    let env = environment(&lab, &names);
    assert_issued(&lab, &names, &format!("hook:dehydrated {hook} env={}", env.display()));
}

/// As in certbot's documentation, the clean-up takes from `CERTBOT_AUTH_OUTPUT` what it has to remove.
#[test]
fn the_hooks_of_certbot_set_the_records() {
    let Some(lab) = open!() else { return };
    let names = Names::new(&lab, &[]);
    let auth = r#"
        RECORD="_acme-challenge.$CERTBOT_DOMAIN"
        update add "$RECORD." "$CERTBOT_VALIDATION" >&2 || exit 1
        echo "$RECORD./$CERTBOT_VALIDATION""#;
    let clean_up = r#"update delete "${CERTBOT_AUTH_OUTPUT%%/*}" "${CERTBOT_AUTH_OUTPUT#*/}""#;
    let function = function(&names);
    let auth = script(&lab, "authenticator.sh", &format!("{function}\n{auth}"));
    let clean_up = script(&lab, "cleanup.sh", &format!("{function}\n{clean_up}"));
    let env = environment(&lab, &names);
    assert_issued(&lab, &names, &format!("hook:certbot {auth} {clean_up} env={}", env.display()));
}

/// A program and an API of the form of acme.sh's own.
#[test]
fn an_api_of_acme_sh_sets_the_records() {
    let Some(lab) = open!() else { return };
    let names = Names::new(&lab, &[]);
    let program = r#"
        _startswith() { case "$1" in "$2"*) true ;; *) false ;; esac; }
        _initpath() { true; }
        showhelp() { true; }
        main() {
            [ -z "$1" ] && showhelp && return
            if _startswith "$1" '-'; then exit 9; else "$@"; fi
        }
        main "$@""#;
    let api = r#"
        dns_nsupdate_add() { update add "$1." "$2"; }
        dns_nsupdate_rm() { update delete "$1." "$2"; }"#;
    let program = script(&lab, "acme/acme.sh", program);
    script(&lab, "acme/dnsapi/dns_nsupdate.sh", &format!("{}\n{api}", function(&names)));
    let env = environment(&lab, &names);
    assert_issued(&lab, &names, &format!("hook:acme.sh {program} dns_nsupdate env={}", env.display()));
}

/// How often each call was made, with its variables; values and tokens are words of that length.
fn calls(lab: &Lab) -> BTreeMap<String, usize> {
    let file = lab.path("calls");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, "").unwrap();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut calls = BTreeMap::new();
    for line in text.lines() {
        let words = line.split_inclusive(|c: char| !is_part(c)).map(|word| {
            let (part, end) = word.split_at(word.trim_end_matches(|c: char| !is_part(c)).len());
            if part.len() == 43 { format!("VALUE{end}") } else { word.to_string() }
        });
        *calls.entry(words.collect::<String>()).or_default() += 1;
    }
    calls
}

/// For hooks: a line of `calls` with their name, arguments and variables of certbot.
fn recorder(lab: &Lab) -> String {
    let file = lab.path("calls");
    fs::write(&file, "").unwrap();
    // Called by root and by httpd's User.
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    let (file, variables) = (file.display(), "env | grep ^CERTBOT_ | sort | tr '\\n' ' '");
    format!(r#"echo "${{0##*/}} $(printf '[%s] ' "$@") $({variables})" >> {file}"#)
}

/// Gets a certificate for the same names from the same CA by the client itself, with the key in its
/// environment.
fn assert_client_issues(lab: &Lab, names: &Names, program: &str, args: &[&str]) {
    let key = &names.key;
    let certificate = &names.pebble.authority.certificate;
    let output = Command::new(program)
        .args(args)
        .env("KEY", format!("{}:{}:{}", key.algorithm, key.name, key.secret))
        .envs(["LEGO_CA_CERTIFICATES", "REQUESTS_CA_BUNDLE"].map(|name| (name, certificate)))
        .env("EXEC_PATH", lab.path("hook"))
        .env("EXEC_SEQUENCE_INTERVAL", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program}: {said}");
}

/// The certificate by httpd, after that by the client: it calls the hook for the same.
fn assert_same_calls(lab: &Lab, names: &Names, of_client: &BTreeMap<String, usize>, way: &str) {
    assert!(of_client.len() >= 2, "{of_client:#?}");
    wait_for_txt(names.named.address, "_acme-challenge.one.test", &[]);
    let env = environment(lab, names);
    let mut httpd = names
        .config_of(lab, &format!("{way} env={}", env.display()))
        .line("MDomain one.test *.one.test\nMDRetryDelay 1h")
        .site("one.test", &["*.one.test"])
        .start();
    assert_certificate(&mut httpd, &names.pebble, "one.test", &["one.test", "www.one.test"]);
    assert_eq!(calls(lab), *of_client);
}

#[test]
fn lego_itself_calls_the_program_as_httpd_does() {
    let Some(lab) = open!(Need::Program("lego")) else { return };
    let names = Names::for_strict_clients(&lab);
    let hook = script(&lab, "hook", &format!("{}\n{}\n{LEGO}", recorder(&lab), function(&names)));
    let (server, path) = (names.pebble.authority.directory(), lab.path("lego").display().to_string());
    let resolver = names.resolver.address.to_string();
    let args = ["--server", &server, "--email", "admin@example.test", "--accept-tos", "--path", &path];
    let dns = ["--dns", "exec", "--dns.disable-cp", "--dns.resolvers", &resolver];
    let rest = ["--domains", "one.test", "--domains", "*.one.test", "run"];
    assert_client_issues(&lab, &names, "lego", &[&args[..], &dns, &rest].concat());
    let of_client = calls(&lab);
    assert_same_calls(&lab, &names, &of_client, &format!("hook:lego {hook}"));
}

#[test]
fn dehydrated_itself_calls_the_hook_as_httpd_does() {
    let Some(lab) = open!(Need::Program("dehydrated")) else { return };
    let names = Names::for_strict_clients(&lab);
    let text = r#"
        case $1 in
            deploy_challenge) update add "_acme-challenge.$2." "$4" ;;
            clean_challenge) update delete "_acme-challenge.$2." "$4" ;;
        esac"#;
    let hook = script(&lab, "hook", &format!("{}\n{}\n{text}", recorder(&lab), function(&names)));
    let authority = &names.pebble.authority;
    let base = lab.path("dehydrated");
    fs::create_dir_all(&base).unwrap();
    fs::write(base.join("domains.txt"), "one.test *.one.test\n").unwrap();
    let config = base.join("config");
    let text = format!(
        "CA=\"{}\"\nCURL_OPTS=\"--cacert {}\"\nBASEDIR={}\nCHALLENGETYPE=dns-01\nHOOK={hook}\n",
        authority.directory(),
        authority.certificate.display(),
        base.display()
    );
    fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    assert_client_issues(&lab, &names, "dehydrated", &["--register", "--accept-terms", "-f", &config]);
    assert_client_issues(&lab, &names, "dehydrated", &["--cron", "-f", &config]);
    let mut of_client = calls(&lab);
    // Hooks are called for more than challenges; that is not for httpd.
    of_client.retain(|call, _| call.contains("_challenge]"));
    assert_same_calls(&lab, &names, &of_client, &format!("hook:dehydrated {hook}"));
}

#[test]
fn certbot_itself_calls_the_hooks_as_httpd_does() {
    let Some(lab) = open!(Need::Program("certbot")) else { return };
    let names = Names::for_strict_clients(&lab);
    let auth = r#"
        update add "_acme-challenge.$CERTBOT_DOMAIN." "$CERTBOT_VALIDATION" >&2 || exit 1
        echo "record of $CERTBOT_DOMAIN""#;
    let clean_up = r#"update delete "_acme-challenge.$CERTBOT_DOMAIN." "$CERTBOT_VALIDATION""#;
    let begin = format!("{}\n{}", recorder(&lab), function(&names));
    let auth = script(&lab, "auth", &format!("{begin}\n{auth}"));
    let clean_up = script(&lab, "cleanup", &format!("{begin}\n{clean_up}"));
    let server = names.pebble.authority.directory();
    let dirs = ["--config-dir", "--work-dir", "--logs-dir"];
    let dir = lab.path("certbot").display().to_string();
    let dirs = dirs.map(|option| [option, dir.as_str()]).concat();
    let args = ["certonly", "--manual", "--preferred-challenges", "dns", "--server", &server];
    let hooks = ["--manual-auth-hook", &auth, "--manual-cleanup-hook", &clean_up];
    let rest = [
        "--agree-tos",
        "-m",
        "admin@example.test",
        "--no-eff-email",
        "-n",
        "-d",
        "one.test",
        "-d",
        "*.one.test",
    ];
    assert_client_issues(&lab, &names, "certbot", &[&args[..], &hooks, &dirs, &rest].concat());
    let of_client = calls(&lab);
    assert_same_calls(&lab, &names, &of_client, &format!("hook:certbot {auth} {clean_up}"));
}

/// Answers `POST /present` and `POST /cleanup` of one user, and passes the record on by nsupdate.
fn serve_httpreq(listener: &TcpListener, names: &Names) {
    let (server, key) = (names.named.address, names.key.clone());
    let listener = listener.try_clone().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(&stream);
            let mut head = Vec::new();
            while let Some(Ok(line)) =
                (&mut reader).lines().next().filter(|line| !matches!(line, Ok(l) if l.is_empty()))
            {
                head.push(line.to_lowercase());
            }
            let value_of =
                |name: &str| head.iter().find_map(|line| line.strip_prefix(name).map(str::to_string));
            let length = value_of("content-length: ").map_or(0, |length| length.trim().parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let (fqdn, value) =
                (body["fqdn"].as_str().unwrap_or_default(), body["value"].as_str().unwrap_or_default());
            // user:secret
            let is_allowed =
                value_of("authorization: ").is_some_and(|value| value == "basic dxnlcjpzzwnyzxq=");
            let change = match head.first().map(String::as_str) {
                Some("post /present http/1.1") => format!("add {fqdn} 1"),
                _ => format!("delete {fqdn}"),
            };
            let is_done = is_allowed
                && nsupdate(
                    server,
                    &format!("{}:{}:{}", key.algorithm, key.name, key.secret),
                    &change,
                    value,
                );
            let status = if is_done { "200 OK" } else { "403 Forbidden" };
            let _ = (&stream).write_all(
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes(),
            );
        }
    });
}

fn nsupdate(server: SocketAddr, key: &str, change: &str, value: &str) -> bool {
    let mut command = Command::new("nsupdate").args(["-y", key]).stdin(Stdio::piped()).spawn().unwrap();
    let text = format!("server {} {}\nupdate {change} TXT \"{value}\"\nsend\n", server.ip(), server.port());
    command.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    command.wait().unwrap().success()
}

#[test]
fn a_server_of_httpreq_sets_the_records() {
    let Some(lab) = open!() else { return };
    let names = Names::new(&lab, &[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    serve_httpreq(&listener, &names);
    let user = lab.path("httpreq.user");
    fs::write(&user, "user:secret\n").unwrap();
    fs::set_permissions(&user, Permissions::from_mode(0o600)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    assert_issued(&lab, &names, &format!("hook:httpreq {url} {}", user.display()));
}
