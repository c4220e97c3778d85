// SPDX-License-Identifier: Apache-2.0
//! The output for people and monitors: the sections in server-status, the facts about a host's certificate,
//! metrics.

use std::fs;

use openssl::pkey::Id;
use serde_json::{Value, json};

use crate::keys;
use support::browser::Scheme;
use support::issuer::{self, Issuer};
use support::{Config, Httpd, Lab, Pebble, SOON, browser, http, open_lab, prometheus, wait_for};

/// One domain with a certificate in use, one that the CA refuses, one that is left to the admin.
fn three_domains(lab: &Lab, pebble: &Pebble) -> Config {
    let metrics = "<Location /metrics>\nSetHandler md-metrics\n</Location>";
    Config::with_ca(lab, &pebble.authority)
        .line("MDomain good.test www.good.test\nMDomain refused.invalid\nMDRetryDelay 1h\nMDServerStatus on")
        .line("<MDomain manual.test>\nMDMember a.manual.test b.manual.test c.manual.test d.manual.test e.manual.test\nMDRenewMode manual\n</MDomain>")
        .line(metrics)
        .site("good.test", &["www.good.test"])
        .site("refused.invalid", &[])
        .site("manual.test", &[])
}

fn start_three(lab: &Lab, pebble: &Pebble) -> Httpd {
    let mut httpd = three_domains(lab, pebble).start();
    httpd.wait_staged_and_activate(&["good.test"]);
    wait_for("the refusal of a domain", SOON, || {
        (httpd.md("refused.invalid")["renewal"]["errors"].as_u64() > Some(0)).then_some(())
    });
    httpd
}

/// Children may be behind each other by a moment.
fn wait_shown(httpd: &Httpd, path: &str, text: &str) -> http::Response {
    wait_for(&format!("`{text}` at {path}"), SOON, || {
        Some(httpd.get("main.test", path)).filter(|answer| answer.body.contains(text))
    })
}

fn blocking(lab: &Lab) -> Pebble {
    support::Authority::new(lab).set("domainBlocklist", json!(["refused.invalid"])).start()
}

#[test]
fn server_status_shows_people_what_needs_their_eyes() {
    let Some(lab) = open_lab!() else { return };
    let pebble = blocking(&lab);
    let httpd = start_three(&lab, &pebble);
    let answer = wait_shown(&httpd, "/server-status", "rejectedIdentifier");
    let at = |text: &str| answer.body.find(text).unwrap_or_else(|| panic!("{text} in {}", answer.body));
    assert!(at("<h3>Managed Certificates</h3>") > at("Apache Server Status"));
    assert!(at("<td>refused.invalid</td>") < at("<td>good.test</td>"), "problems first");
    at("Error[urn:ietf:params:acme:error:rejectedIdentifier]");
    at("<a href='https://crt.sh?q=");
    at("<td>good</td>");

    let Some(text) = browser::read(&lab, &answer.body) else { return };
    let has = |wanted: &str| assert!(text.contains(wanted), "`{wanted}` in {text}");
    has("3 managed domains");
    has("refused.invalid\trefused.invalid\tincomplete: certificate(rsa) is missing");
    has("Next run in ~");
    has("good.test\tgood.test www.good.test\tgood\tuntil 20");
    has("and 2 more");
    assert!(!text.contains("e.manual.test"), "a long list is folded: {text}");
}

/// Scripts look for these words, which are those of the C module; and neither module lists in the order of
/// the configuration.
#[test]
fn server_status_has_the_words_that_scripts_look_for_by_name() {
    let Some(lab) = open_lab!() else { return };
    let config = Config::new(&lab)
        .line("MDCertificateAuthority https://127.0.0.1:1/dir\nMDRenewMode manual\nMDServerStatus on\nMDInitialDelay 1h")
        .line("MDPrivateKeys P-256");
    let (issuer, day) = (Issuer::new(), 86_400);
    let cases = [
        ("warned.test", Some((-85, 5)), ["good", "", "Pending"]),
        ("missing.test", None, ["incomplete: certificate(P-256) is missing", "", "Pending"]),
        ("good.test", Some((-5, 85)), ["good", "", ""]),
        ("early.test", Some((2, 90)), ["good", "", ""]),
        ("stapled.test", Some((-5, 85)), ["good", "on", ""]),
        ("expired.test", Some((-95, -5)), ["expired", "", "Pending"]),
    ];
    let config = cases.iter().fold(config, |config, (name, times, [_, stapling, _])| {
        if let Some((from, until)) = times {
            let set = issuer.issue_for(&[name], Id::EC, from * day, until * day);
            issuer::install(&config.store(), &[name], &[&set]);
        }
        let stapling = if stapling.is_empty() { "" } else { "MDStapling on\n" };
        config.line(&format!("<MDomain {name}>\n{stapling}</MDomain>")).site(name, &[])
    });
    let httpd = config.start();
    let text = httpd.get("main.test", "/server-status?auto").body;
    let page = httpd.get("main.test", "/server-status").body;
    let mut sorted = cases;
    sorted.sort_by_key(|(name, ..)| *name);
    for (index, (name, _, words)) in sorted.iter().enumerate() {
        let value = |key: &str| {
            let key = format!("ManagedDomain[{index}]{key}: ");
            text.lines().find_map(|line| line.strip_prefix(key.as_str())).unwrap_or_default()
        };
        assert_eq!(value("Domain"), *name, "{text}");
        assert_eq!(&["Status", "Stapling", "Activity"].map(value), words, "{name}: {text}");
        let row = page.split("<tr").find(|row| row.contains(&format!("<td>{name}</td>"))).unwrap();
        assert!(row.contains(&format!("<td>{}</td>", words[0])), "{name}: {row}");
        assert!(row.contains(&format!("<td>{}</td>", words[1])), "{name}: {row}");
        assert!(row.contains(words[2]), "{name}: {row}");
    }
}

#[test]
fn one_word_says_how_a_domain_stands_on_every_page() {
    let Some(lab) = open_lab!() else { return };
    // A CA that takes connections and never answers.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("https://{}/dir", mute.local_addr().unwrap());
    let (issuer, day) = (Issuer::new(), 86_400);
    let cases = [
        ("ok.test", Some((-5, 85)), "MDRenewMode auto", "ok"),
        ("renewing.test", Some((-70, 20)), "", "renewing"),
        (
            "failing.test",
            Some((-70, 20)),
            "MDCertificateAuthority https://127.0.0.1:1/dir",
            "renewal failing",
        ),
        ("soon.test", Some((-86, 4)), "MDRenewMode manual", "expires soon"),
        ("expired.test", Some((-95, -5)), "", "expired"),
        ("none.test", None, "MDRenewMode manual", "no certificate"),
        ("manual.test", Some((-5, 85)), "MDRenewMode manual", "not renewed"),
        ("unused.test", Some((-5, 85)), "", "not used by any host"),
        ("plain.test", Some((-5, 85)), "", "not used by any host"),
    ];
    let config = Config::new(&lab).line("MDServerStatus on\nMDPrivateKeys P-256\nMDRetryDelay 1h");
    let config = config.line(&format!("MDCertificateAuthority {mute}"));
    let config = config.line("<Location /metrics>\nSetHandler md-metrics\n</Location>");
    let config = cases.iter().fold(config, |config, (name, times, line, _)| {
        if let Some((from, until)) = times {
            let set = issuer.issue_for(&[name], Id::EC, from * day, until * day);
            issuer::install(&config.store(), &[name], &[&set]);
        }
        let config = config.line(&format!("<MDomain {name}>\n{line}\n</MDomain>"));
        match *name {
            "unused.test" => config,
            // Without TLS.
            "plain.test" => {
                config.line(&format!("<VirtualHost *:{}>\nServerName {name}\n</VirtualHost>", lab.http))
            }
            _ => config.site(name, &[]),
        }
    });
    let httpd = config.start();
    let token =
        |word: &str| if word.starts_with("not used") { "unused".to_string() } else { word.replace(' ', "-") };
    wait_for("every word in md-status", SOON, || {
        cases.iter().all(|(name, .., word)| httpd.md(name)["status"] == token(word)).then_some(())
    });
    let all = ["/server-status", "/server-status?auto", "/metrics"];
    let shown = || all.map(|path| httpd.get("main.test", path).body);
    let [page, lines, metrics] = wait_for("every word on every page", SOON, || {
        let shown = shown();
        let failing =
            ["<b class='md_word'>renewal failing", "StatusWord: renewal-failing", "\"renewal-failing\"} 1"];
        shown.iter().zip(failing).all(|(page, text)| page.contains(text)).then_some(shown)
    });
    // It was four days, a moment ago.
    let said = |word: &'static str| if word == "expires soon" { "expires in 3 days" } else { word };
    for (name, .., word) in &cases {
        let row = page.split("<tr").find(|row| row.contains(&format!("<td>{name}</td>"))).unwrap();
        assert!(row.contains(&format!("<b class='md_word'>{}</b>", said(word))), "{name}: {row}");
        let number = lines.lines().find_map(|line| line.strip_suffix(&format!("]Domain: {name}"))).unwrap();
        let line = format!("{number}]StatusWord: {}", token(word));
        assert!(lines.lines().any(|found| found == line), "{line}: {lines}");
        let sample = format!("md_status{{domain=\"{name}\",status=\"{}\"}} 1", token(word));
        assert!(metrics.lines().any(|found| found == sample), "{sample}: {metrics}");
    }
    let hosts = |name: &str| httpd.md(name)["hosts"].clone();
    ["unused.test", "plain.test"].iter().for_each(|name| assert_eq!(hosts(name), json!([])));
    for (name, served) in [("ok.test", "md"), ("none.test", "self-signed")] {
        let hosts = hosts(name);
        let host = |key: &str| hosts[0][key].as_str().unwrap_or_default().to_string();
        assert_eq!((host("name"), host("served")), (name.to_string(), served.to_string()), "{hosts}");
        assert!(host("address").contains(':'), "{hosts}");
    }
    let Some(text) = browser::read(&lab, &page) else { return };
    let summary = "9 managed domains: 2 not used by any host, 1 no certificate, 1 expired, 1 expires soon, 1 not renewed, \
                   1 renewal failing, 1 renewing, 1 ok; ";
    assert!(text.contains(summary), "{text}");
    for (name, .., word) in &cases {
        let row = text.lines().skip_while(|line| !line.starts_with(&format!("{name}\t"))).take(3);
        assert!(row.collect::<Vec<_>>().join(" ").contains(said(word)), "{name}: {text}");
    }
}

#[test]
fn the_page_shows_renewals_the_advice_of_the_ca_and_staples() {
    let Some(lab) = open_lab!() else { return };
    let (_pebble, _responder, httpd) = keys::three_domains(&lab);
    let page = wait_for("all of it on the page", SOON, || {
        let page = httpd.get("main.test", "/server-status").body;
        let is_there = |text: &&str| page.contains(*text);
        let last = ["rejectedIdentifier", "The CA advises", "Refresh <span", "challenge &#39;dns-01&#39;"];
        // The row is there before the response is.
        let is_stapled =
            page.split("Managed Staplings").nth(1).is_some_and(|row| row.contains("<td>good</td>"));
        (is_stapled && last.iter().all(is_there)).then_some(page)
    });
    let Some(text) = browser::read(&lab, &page) else { return };
    let has = |wanted: &str| assert!(text.contains(wanted), "`{wanted}` in {text}");
    has("3 managed domains: 2 no certificate, 1 ok; 2 in renewal, 0 renewed and waiting");
    has("Renewing: Setting up challenge 'dns-01' for domain busy.test");
    has(", without a restart. Renew 20");
    has("The CA advises to renew 20");
    has("Managed Staplings");
    has("\tgood\tuntil in ~");
    has("Refresh in ~");
    for (scheme, color) in [(Scheme::Light, "rgb(0, 0, 0)"), (Scheme::Dark, "rgb(255, 255, 255)")] {
        let cell = "getComputedStyle(document.querySelector('.md_status td')).color";
        assert_eq!(browser::evaluate(&lab, &page, scheme, cell).unwrap(), color);
    }
    let overflow = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
    assert_eq!(
        browser::evaluate(&lab, &page, Scheme::Light, overflow).unwrap(),
        "false",
        "tables scroll, not the page"
    );
}

#[test]
fn whatever_the_store_and_the_ca_say_the_page_shows_it_as_text() {
    let Some(lab) = open_lab!() else { return };
    let config = Config::new(&lab)
        .line("MDomain one.test\nMDServerStatus on\nMDInitialDelay 1h\nMDCertificateAgreement accepted")
        .site("one.test", &[]);
    let httpd = config.start();
    let harm =
        "</td></table><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">";
    let job = json!({
        "name": "one.test", "finished": false, "errors": 2, "next-run": "Thu, 29 Aug 2019 16:06:35 GMT",
        "last": { "status": 22, "problem": format!("urn:{harm}"), "detail": harm, "activity": harm },
    });
    let folder = httpd.config.store().join("staging/one.test");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("job.json"), job.to_string()).unwrap();
    let page = wait_for("the planted job on the page", SOON, || {
        let page = httpd.get("main.test", "/server-status").body;
        page.contains("2 errors in a row").then_some(page)
    });
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    assert_eq!(httpd.md("one.test")["renewal"]["last"]["detail"], harm, "JSON has it as it is");
    let Some(text) = browser::read(&lab, &page) else { return };
    assert!(text.contains(harm), "{text}");
    assert!(!text.starts_with("taken"), "{text}");
}

#[test]
fn server_status_auto_has_counts_and_a_fact_a_line() {
    let Some(lab) = open_lab!() else { return };
    let pebble = blocking(&lab);
    let httpd = start_three(&lab, &pebble);
    let body = wait_shown(&httpd, "/server-status?auto", "rejectedIdentifier").body;
    for line in [
        "ManagedCertificatesTotal: 3",
        "ManagedCertificatesOK: 1",
        "ManagedCertificatesErrored: 1",
        "ManagedCertificatesReady: 0",
        "ManagedDomain[0]Domain: good.test",
        "ManagedDomain[0]Names[1]: www.good.test",
        "ManagedDomain[0]Status: good",
        "ManagedDomain[0]CAName: 127.0.0.1",
        "ManagedDomain[0]CheckAtName: crt.sh",
        "ManagedDomain[2]Status: incomplete: certificate(rsa) is missing",
        "ManagedDomain[2]ActivityLastProblem: urn:ietf:params:acme:error:rejectedIdentifier",
    ] {
        assert!(body.lines().any(|found| found == line), "{line}\n{body}");
    }
}

#[test]
fn the_sections_are_shown_where_the_server_wants_them() {
    let Some(lab) = open_lab!() else { return };
    let httpd = Config::new(&lab)
        .line("MDomain one.test\nMDRenewMode manual\nMDServerStatus off")
        .line("MDCertificateCheck mine https://mine.test/?")
        .site("one.test", &[])
        .start();
    for path in ["/server-status", "/server-status?auto"] {
        assert!(!httpd.get("main.test", path).body.contains("Managed"), "{path}");
    }
}

#[test]
fn anyone_can_see_the_public_facts_about_the_certificate_of_a_host() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = Config::with_ca(&lab, &pebble.authority)
        .at_restarts()
        .line("MDomain one.test\nMDCertificateStatus on\n<Location />\nRequire all denied\n</Location>")
        .line("<Location /md-status>\nRequire all granted\n</Location>\n<Location /server-status>\nRequire all granted\n</Location>")
        .site("one.test", &[])
        .start();
    let path = "/.httpd/certificate-status";
    let first = httpd.https_get("one.test", path);
    assert_eq!((first.status, first.header("content-type")), (200, Some("application/json")));
    assert_eq!(first.json()["rsa"], json!({}), "before the first certificate, and before any 503");
    httpd.wait_staged("one.test");
    // Children may be behind each other by a moment.
    let staged = wait_for("facts about the staged certificate", SOON, || {
        let staged = httpd.https_get("one.test", path).json()["renewal"]["cert"]["rsa"].take();
        staged.is_object().then_some(staged)
    });
    for key in ["issuer-name", "valid", "serial", "sha256-fingerprint", "ari-cert-id"] {
        assert_eq!(staged[key], httpd.md("one.test")["renewal"]["cert"]["rsa"][key], "{key}");
        assert!(!staged[key].is_null(), "{staged:#}");
    }
    httpd.graceful();
    let known = httpd.md("one.test")["cert"]["rsa"].clone();
    let facts = httpd.https_get("one.test", path).json();
    assert_eq!(facts["valid"], known["valid"]);
    let rsa = facts["rsa"].as_object().unwrap();
    assert_eq!(rsa.keys().collect::<Vec<_>>(), ["valid", "serial", "sha256-fingerprint"]);
    assert!(rsa.iter().all(|(key, value)| known[key] == *value), "{facts:#}");
    assert_eq!(httpd.get("other.test", path).status, 403, "a host without a managed domain");
    let ask = |method| http::https_request(lab.https, method, "one.test", path, &[]).unwrap();
    assert_eq!((ask("HEAD").status, ask("HEAD").body.as_str(), ask("POST").status), (200, "", 501));
    let httpd = httpd.stop().line("MDCertificateStatus off").start();
    assert_eq!(httpd.https_get("one.test", path).status, 403);
}

#[test]
fn prometheus_reads_the_metrics() {
    let Some(lab) = open_lab!() else { return };
    let pebble = blocking(&lab);
    let httpd = start_three(&lab, &pebble);
    let answer = wait_shown(&httpd, "/metrics", "md_renewal_errors{domain=\"refused.invalid\"} 1");
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    assert_eq!(http::request(lab.http, "POST", "main.test", "/metrics", &[]).unwrap().status, 501);
    let Some(samples) = prometheus::parse(&lab, &answer.body) else { return };
    let value = |name: &str, labels: Value| {
        let found = samples.iter().find(|sample| sample["name"] == name && sample["labels"] == labels);
        found.unwrap_or_else(|| panic!("{name}{labels} in {}", answer.body))["value"].as_f64().unwrap()
    };
    let until = httpd.md("good.test")["cert"]["rsa"]["valid"]["until"].clone();
    let until = mod_md::time::Timestamp::parse_http_date(until.as_str().unwrap()).unwrap();
    let seconds = value("md_certificate_not_after_seconds", json!({"domain": "good.test", "key": "rsa"}));
    assert_eq!(seconds as i64, until.unix());
    assert_eq!(value("md_state", json!({"domain": "good.test"})), 2.0);
    assert_eq!(value("md_state", json!({"domain": "refused.invalid"})), 1.0);
    assert!(value("md_renewal_errors", json!({"domain": "refused.invalid"})) >= 1.0);
    assert!(value("md_renewal_failures_total", json!({"problem": "rejectedIdentifier"})) >= 1.0);
    assert!(value("md_ca_requests_total", json!({"result": "answered"})) >= 1.0);
    assert!(value("md_ca_request_seconds_count", json!({})) >= 1.0);
}
