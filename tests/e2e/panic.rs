// SPDX-License-Identifier: Apache-2.0
//! A bug in any hook stays in that hook: the panic is logged, httpd goes on.
//!
//! Needs a module built with the feature `panic-injection`, in which the hook named by `MOD_MD_PANIC` panics
//! each time it is called.

use support::module::with_panic_injection;
use support::own_ca::OwnCa;
use support::{Config, Httpd, Lab, Need, SOON, http, open_lab, tls, wait_for};

/// Functions that httpd calls while it starts. A panic there may stop the start, with a message.
const START: &[&str] = &[
    "register_hooks",
    "create_server_config",
    "create_dir_config",
    "take_one",
    "take_two",
    "take_many",
    "take_raw",
    "take_section",
    "directive",
    "post_config_before_tls",
    "post_config_after_tls",
    "ssl_add_cert_files",
    "ssl_add_fallback_cert_files",
    "ssl_ocsp_prime",
    "init_server",
    "pool_cleanup",
];

/// Functions that the running server calls. A panic there fails one request or one look at the jobs.
const RUNNING: &[&str] = &[
    "child_init",
    "post_read_request",
    "access_checker",
    "merge_dir_config",
    "handler",
    "status_hook",
    "renewals_beat",
    "protocol_propose",
    "protocol_switch",
    "protocol_get",
    "process_connection",
    "ssl_answer_challenge",
    "signals_beat",
    "certificate_callback",
    "message_callback",
    "ssl_ocsp_get_resp",
    "status_callback",
];

/// Directives with every kind of arguments.
const DIRECTIVES: &str = "Protocols http/1.1 acme-tls/1\nMDCertificateAuthority https://127.0.0.1:1/dir\nMDCertificateAgreement accepted\n\
     MDomain one.test\nMDCertificateCheck crt.sh https://127.0.0.1/\nMDChallengeDns01 /bin/true x\n\
     <MDomain two.test>\nMDRenewMode manual\n</MDomain>\n<If \"true\">\nMDRequireHttps off\n</If>";

fn config(lab: &Lab, hook: &str) -> Config {
    // Asked only where certificates go live at a restart.
    let live = if hook == "ssl_add_fallback_cert_files" { "MDLiveActivation off" } else { "" };
    // Nobody answers there: that a response is asked for is enough.
    let stapled = OwnCa::new(lab, "Own CA").issue(lab, "own.test", "http://127.0.0.1:1/");
    Config::new(lab)
        .line(live)
        .module(&with_panic_injection())
        .env("MOD_MD_PANIC", hook)
        .line(DIRECTIVES)
        .line("MDStapling on")
        .site("one.test", &[])
        .site_with("own.test", &stapled.directives())
}

fn panics_logged(log: &str, hook: &str) -> bool {
    // The words alone would not do: they stand in the path of this test's folder, too.
    log.contains(&format!("panic in hook '{hook}'"))
}

/// Calls everything that a client can make the module do.
fn use_all(lab: &Lab) {
    let paths = ["/one.test/index.html", "/md-status", "/server-status", "/.well-known/acme-challenge/x"];
    for path in paths {
        let answer = http::get(lab.http, "one.test", path).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(answer.status >= 200, "{path}: {answer:?}");
    }
    let _ = http::https_get(lab.https, "one.test", "/.httpd/certificate-status");
    let _ = tls::served(lab.https, "one.test", None, &["-alpn", "acme-tls/1"]);
    for stapled in ["one.test", "own.test"] {
        let _ = tls::served(lab.https, stapled, None, &["-status"]);
    }
}

/// httpd has lost no child, and answers a request the module has nothing to do with.
#[track_caller]
fn assert_serves(httpd: &Httpd, hook: &str) {
    let crashes = httpd.logged("exit signal");
    assert!(crashes.is_empty(), "{hook}: {crashes:?}");
    let answer = httpd.get("main.test", "/one.test/index.html");
    let request_hook = ["post_read_request", "access_checker", "handler"].contains(&hook);
    assert!(answer.status == 200 || (request_hook && answer.status == 500), "{hook}: {answer:?}");
}

#[test]
fn a_panic_in_a_hook_of_the_start_ends_in_a_message_or_is_survived() {
    let Some(lab) = open_lab!(Need::PanicModule) else { return };
    for hook in START {
        match config(&lab, hook).try_start() {
            Ok(httpd) => {
                assert!(panics_logged(&httpd.said(), hook), "{hook}: {}", httpd.said());
                use_all(&lab);
                assert_serves(&httpd, hook);
            }
            Err(said) => {
                assert!(panics_logged(&said, hook), "{hook}: {said}");
                assert!(!said.contains("exit signal") && !said.contains("core dumped"), "{hook}: {said}");
            }
        }
        config(&lab, hook).forget();
    }
}

#[test]
fn a_panic_in_a_hook_of_the_running_server_is_survived() {
    let Some(lab) = open_lab!(Need::PanicModule) else { return };
    for hook in RUNNING {
        let httpd = config(&lab, hook).start();
        let https = tls::served(lab.https, "one.test", None, &[]);
        assert!(!https.chain.is_empty(), "{hook}: {}", https.verdict);
        wait_for(&format!("a panic in {hook} in the log"), SOON, || {
            use_all(&lab);
            panics_logged(&httpd.log(), hook).then_some(())
        });
        assert_serves(&httpd, hook);
        httpd.stop().forget();
    }
}
