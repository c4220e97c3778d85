// SPDX-License-Identifier: Apache-2.0
//! The handler md-dashboard as httpd serves it, and whom server-status shows its sections to.

use std::fs;

use openssl::pkey::Id;
use serde_json::json;

use support::apache;
use support::issuer::{self, Issuer};
use support::{Config, Httpd, Lab, SOON, http, open_lab, wait_for};

const LOCATION: &str = "<Location /md-dashboard>\nSetHandler md-dashboard\n</Location>";

fn with_domains(lab: &Lab) -> Config {
    let config = Config::new(lab)
        .line("MDCertificateAuthority https://127.0.0.1:1/dir\nMDPrivateKeys P-256\nMDRetryDelay 1h")
        .line(LOCATION);
    let (issuer, day) = (Issuer::new(), 86_400);
    let cases: [(&[&str], i64, i64); 3] = [
        (&["good.test", "www.good.test"], -5, 85),
        (&["failing.test"], -70, 20),
        (&["expired.test"], -95, -5),
    ];
    cases.iter().fold(config, |config, (names, from, until)| {
        let set = issuer.issue_for(names, Id::EC, from * day, until * day);
        issuer::install(&config.store(), names, &[&set]);
        config.line(&format!("MDomain {}", names.join(" "))).site(names[0], &names[1..])
    })
}

fn failing(httpd: &Httpd) {
    wait_for("the failure of a renewal", SOON, || {
        (httpd.md("failing.test")["renewal"]["errors"].as_u64() > Some(0)).then_some(())
    });
}

#[test]
fn the_dashboard_is_a_page_that_browsers_hold_to_its_policy() {
    let Some(lab) = open_lab!() else { return };
    let httpd = with_domains(&lab).start();
    failing(&httpd);
    let ask = |method: &str, path: &str| http::request(lab.http, method, "main.test", path, &[]).unwrap();
    let page = wait_for("the failing domain on the page", SOON, || {
        let page = ask("GET", "/md-dashboard");
        page.body.contains(">renewal failing</span>").then_some(page)
    });
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    let policy = page.header("content-security-policy").unwrap();
    for part in ["default-src 'none'; style-src 'sha256-", "script-src 'sha256-", "frame-ancestors 'none'"] {
        assert!(policy.contains(part) && !policy.contains("unsafe"), "{policy}");
    }
    assert!(page.body.contains("2 need attention"), "{}", page.body);
    let head = ask("HEAD", "/md-dashboard");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-security-policy"), Some(policy));
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(ask(method, "/md-dashboard").status, 501, "{method}");
    }
    let list = ask("GET", "/md-dashboard/?q=www.good&sort=-until").body;
    assert!(list.contains("href='./good.test'>good.test</a>") && list.contains("1 of 3 domains"), "{list}");
    assert!(!list.contains("expired.test</a>"), "{list}");
    for name in ["good.test", "www.good.test", "GOOD.test/"] {
        let path = format!("/md-dashboard/{name}");
        let one = ask("GET", &path);
        assert_eq!(one.status, 200);
        assert!(
            one.body.contains("<h1>good.test</h1>") && one.body.contains("<li>www.good.test</li>"),
            "{name}"
        );
    }
    let unknown = ask("GET", "/md-dashboard/%3Cb%3Enone.test");
    assert_eq!((unknown.status, unknown.header("content-type")), (404, Some("text/html; charset=utf-8")));
    assert!(unknown.header("content-security-policy").is_some());
    assert!(unknown.body.contains("&lt;b&gt;none.test") && !unknown.body.contains("<b>none"), "{unknown:?}");
    assert_eq!(ask("GET", "/md-status/good.test").header("content-type"), Some("application/json"));
}

#[test]
fn what_a_ca_says_is_text_on_the_dashboard() {
    let Some(lab) = open_lab!() else { return };
    let config = Config::new(&lab)
        .line("MDomain one.test\nMDInitialDelay 1h\nMDCertificateAgreement accepted")
        .line(LOCATION)
        .site("one.test", &[]);
    let httpd = config.start();
    let harm = "</details><script>document.title='taken'</script><b>What to do:</b> pay";
    let job = json!({
        "name": "one.test", "finished": false, "errors": 2, "next-run": "Thu, 29 Aug 2019 16:06:35 GMT",
        "last": { "status": 22, "problem": format!("urn:{harm}"), "detail": harm, "activity": harm },
        "log": { "entries": [{ "when": "Thu, 29 Aug 2019 16:06:35 GMT", "type": harm, "detail": harm }] },
    });
    let folder = httpd.config.store().join("staging/one.test");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("job.json"), job.to_string()).unwrap();
    for path in ["/md-dashboard", "/md-dashboard/one.test"] {
        let page = wait_for("the planted job on the page", SOON, || {
            let page = httpd.get("main.test", path).body;
            page.contains("2 tries have failed").then_some(page)
        });
        assert!(!page.contains("<script>document.title") && !page.contains("</details><script"), "{page}");
        assert!(page.contains("&lt;script&gt;document.title=&#39;taken&#39;"), "{page}");
    }
}

/// Whether server-status shows the sections, for people and for scripts.
fn shows(lab: &Lab, headers: &[(&str, &str)]) -> [bool; 2] {
    ["/server-status", "/server-status?auto"].map(|path| {
        let answer = http::request(lab.http, "GET", "main.test", path, headers).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body.contains("ManagedCertificatesTotal: ") || answer.body.contains("<h3>Managed Certificates")
    })
}

#[test]
fn unconfigured_the_sections_are_for_this_machine_and_for_users_alone() {
    let Some(lab) = open_lab!() else { return };
    let apache = apache::find().unwrap();
    let users = lab.path("users");
    // The password is `secret`.
    fs::write(&users, "admin:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
    let modules: String = ["auth_basic", "authn_core", "authn_file", "authz_user", "remoteip"]
        .map(|name| apache.load(name))
        .concat();
    let has_modules = modules.lines().count() >= 5;
    let login = format!(
        "<If \"-n req('Authorization')\">\nAuthType Basic\nAuthName x\nAuthBasicProvider file\nAuthUserFile {}\n\
         Require valid-user\n</If>",
        users.display()
    );
    let config = |line: &str| {
        let config =
            Config::new(&lab).line("MDomain one.test\nMDRenewMode manual").line(line).site("one.test", &[]);
        if has_modules { config.line(&format!("{modules}RemoteIPHeader X-Client\n{login}")) } else { config }
    };
    let other = [
        ("Forwarded", "for=192.0.2.1"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Host", "main.test"),
        ("X-Forwarded-Proto", "https"),
        ("X-Real-IP", "192.0.2.1"),
        ("Via", "1.1 front.test"),
    ];
    let user = ("Authorization", "Basic YWRtaW46c2VjcmV0");
    let httpd = config("").start();
    assert_eq!(shows(&lab, &[]), [true, true]);
    for header in other {
        assert_eq!(shows(&lab, &[header]), [false, false], "{header:?}");
    }
    if has_modules {
        assert_eq!(
            shows(&lab, &[("X-Client", "192.0.2.1")]),
            [false, false],
            "mod_remoteip knows the client"
        );
        for header in other {
            assert_eq!(shows(&lab, &[header, user]), [true, true], "{header:?}");
        }
    }
    httpd.stop();
    let httpd = config("MDServerStatus on").start();
    assert_eq!(shows(&lab, &[other[0]]), [true, true]);
    httpd.stop();
    let _httpd = config("MDServerStatus off").start();
    assert_eq!(shows(&lab, &[]), [false, false]);
    if has_modules {
        assert_eq!(shows(&lab, &[user]), [false, false]);
    }
}
