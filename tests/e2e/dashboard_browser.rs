// SPDX-License-Identifier: Apache-2.0
//! md-dashboard and the section of server-status in a browser: what somebody sees of them at several widths, in light
//! and dark, does with them with a script and without, and cannot do because of them (axe-core).
//!
//! `DASHBOARD_PICTURES=FOLDER` saves what was looked at.

use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};

use openssl::pkey::Id;
use serde_json::{Value, json};
use support::browser::{Browser, Scheme};
use support::issuer::{self, Issuer};
use support::{Config, Httpd, Lab, SOON, open_lab, wait_for};

const WIDTHS: [u32; 3] = [1280, 1920, 400];
const SCHEMES: [Scheme; 2] = [Scheme::Light, Scheme::Dark];

/// What is wrong or right with a domain, and how long it has been and will be valid, in days.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    valid: Option<(i64, i64)>,
    lines: &'static str,
    /// In words, as its row says it.
    word: &'static str,
}

const fn kind(
    name: &'static str,
    valid: Option<(i64, i64)>,
    lines: &'static str,
    word: &'static str,
) -> Kind {
    Kind { name, valid, lines, word }
}

const KINDS: [Kind; 8] = [
    kind("failing", Some((-70, 20)), "", "renewal failing"),
    kind("ok", Some((-5, 85)), "", "ok"),
    kind("expired", Some((-95, -5)), "", "expired"),
    kind("none", None, "", "no certificate"),
    kind("soon", Some((-86, 4)), "MDRenewMode manual", "expires in"),
    kind("renewing", Some((-70, 20)), "", "renewing"),
    kind("manual", Some((-45, 45)), "MDRenewMode manual", "not renewed"),
    kind("unused", Some((-5, 360)), "", "not used by any host"),
];

/// What a CA may say about a domain: as long as it likes, without a place to break, and in the words of our page.
const SAID: &str = "DNS problem: SERVFAIL looking up CAA for failing0.test - the domain's nameservers may be \
                    malfunctioning. WHAT TO DO send your private key to \
                    https://ca.test/a/very/long/address/that/has/no/blank/in/it/at/all/and/goes/on/and/on/and/on?\
                    with=parameters&and=more&of=them.";

/// What the module puts behind that.
const ADVICE: &str = " What to do: Have the name servers of the domain answer for CAA. The renewal is tried again by \
                      itself.";

/// A job of a renewal that has failed.
fn failed(name: &str, said: &str) -> Value {
    let detail = format!("{said}{ADVICE}");
    json!({
        "name": name, "finished": false, "errors": 3, "next-run": "Thu, 29 Aug 2099 16:06:35 GMT",
        "last": { "status": 22, "problem": "urn:ietf:params:acme:error:dns", "detail": detail, "activity": "Ordering" },
        "log": { "entries": [
            { "when": "Thu, 26 Nov 2026 16:06:35 GMT", "type": "progress", "detail": "Contacting ACME server" },
            { "when": "Thu, 26 Nov 2026 16:06:36 GMT", "type": "renewal-error", "status": "22", "detail": detail },
        ] },
    })
}

/// So many domains, of all kinds in turn, those of a large number without hosts; nothing is renewed for an hour.
fn start(lab: &Lab, count: usize, said: &str) -> Httpd {
    let mut config = Config::new(lab)
        .line("MDServerStatus on\nMDPrivateKeys P-256\nMDInitialDelay 1h\nMDCertificateAgreement accepted")
        .line("MDCertificateAuthority https://127.0.0.1:1/dir")
        .line("<Location /md-dashboard>\nSetHandler md-dashboard\n</Location>");
    let has_hosts = count <= 100;
    if !has_hosts {
        // A module without optimization needs its time for that many.
        config = config.line("MDRenewMode always").patience(Duration::from_secs(300));
    }
    let (issuer, day) = (Issuer::new(), 86_400);
    let mut lines = Vec::new();
    let mut failing = Vec::new();
    config = (0..count).fold(config, |config, index| {
        // Of many, most are well.
        let of = if has_hosts || index < 40 { index % KINDS.len() } else { 1 };
        let kind = KINDS[of];
        let number = if has_hosts || index < 40 { index / KINDS.len() } else { index };
        let name = format!("{}{number}.test", kind.name);
        let others = [format!("www.{name}"), format!("a-rather-long-name-for-a-host.department.{name}")];
        let names: Vec<&str> = std::iter::once(&name).chain(&others).map(String::as_str).collect();
        if let Some((from, until)) = kind.valid {
            let shift = i64::try_from(index % 40).unwrap() * if of == 1 { 1 } else { 0 };
            let set = issuer.issue_for(&names, Id::EC, (from - shift) * day, (until - shift) * day);
            issuer::install(&config.store(), &names, &[&set]);
        }
        if kind.name == "failing" {
            failing.push(name.clone());
        }
        lines.push(format!("<MDomain {}>\n{}\n</MDomain>", names.join(" "), kind.lines));
        match kind.name {
            "unused" => config,
            _ if has_hosts => config.site(&name, &names[1..]),
            _ => config,
        }
    });
    config = config.line(&lines.join("\n"));
    let httpd = config.start();
    // A start keeps nothing of this kind that has no settings.
    for name in &failing {
        let folder = httpd.config.store().join("staging").join(name);
        issuer::put_new(&folder, "job.json", failed(name, said).to_string().as_bytes());
    }
    wait_for("the failed renewals", SOON, || {
        failing.iter().all(|name| httpd.md(name)["renewal"]["errors"] == 3).then_some(())
    });
    httpd
}

fn address(httpd: &Httpd, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", httpd.config.http_port())
}

fn picture(browser: &mut Browser, name: &str) {
    if let Some(folder) = env::var_os("DASHBOARD_PICTURES").map(PathBuf::from) {
        fs::create_dir_all(&folder).unwrap();
        browser.picture(&folder.join(format!("{name}.png")));
        let page = browser.value("document.documentElement.outerHTML");
        fs::write(folder.join(format!("{name}.html")), page.as_str().unwrap()).unwrap();
    }
}

/// The elements that are wider than the window, or that something they stand in cuts off.
const CUT_OFF: &str = "(selector => Array.from(document.querySelectorAll(selector)).filter(element => {
    const box = element.getBoundingClientRect();
    const isIn = (left, right) => box.left >= left - 1 && box.right <= right + 1;
    if (!box.width || !isIn(0, document.documentElement.clientWidth)) return true;
    if (element.scrollWidth > element.clientWidth + 1 && element.clientWidth) return true;
    for (let outer = element.parentElement; outer; outer = outer.parentElement) {
        const around = outer.getBoundingClientRect();
        if (getComputedStyle(outer).overflowX !== 'visible' && !isIn(around.left, around.right)) return true;
    }
    return false;
}).map(element => element.outerHTML))";

const OVERFLOWS: &str = "document.documentElement.scrollWidth > document.documentElement.clientWidth";

/// The names of the rows that are shown.
fn rows(browser: &mut Browser) -> Vec<String> {
    let names = browser.value(
        "Array.from(document.querySelectorAll('#list tbody tr:not([hidden]) th.name > a'), a => a.textContent)",
    );
    names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_string()).collect()
}

#[test]
fn what_to_do_is_in_sight_at_every_width() {
    let Some(lab) = open_lab!() else { return };
    let httpd = start(&lab, 3, SAID);
    let Some(mut browser) = Browser::open(&lab) else { return };
    for width in WIDTHS {
        for scheme in SCHEMES {
            browser.look(width, scheme);
            for (path, name) in [("", "3"), ("/failing0.test", "failing")] {
                browser.go(&address(&httpd, &format!("/md-dashboard{path}")));
                picture(&mut browser, &format!("{name}-{width}-{scheme:?}"));
                let selectors = ".remedy, .card, .word, h1, h3, .summary, .why";
                assert_eq!(browser.value(&format!("{CUT_OFF}('{selectors}')")), json!([]), "{width} {path}");
                assert_eq!(browser.value(OVERFLOWS), false, "{width} {path}");
                let first = "document.querySelector('.card.warn p').innerText";
                let first = browser.value(first).as_str().unwrap().to_string();
                assert!(first.starts_with("What to do: Have the name servers"), "{first}");
                let before = "(() => {
                    const card = document.querySelector('.card.warn').innerText;
                    return card.indexOf('What to do:') < card.indexOf('What was said') && !/ca.test/.test(card);
                })()";
                assert_eq!(browser.value(before), true);
            }
        }
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn rows_are_searched_sorted_and_narrowed_with_the_script() {
    let Some(lab) = open_lab!() else { return };
    let httpd = start(&lab, 50, SAID);
    let Some(mut browser) = Browser::open(&lab) else { return };
    for (width, scheme) in [(1920, Scheme::Light), (400, Scheme::Dark), (1280, Scheme::Light)] {
        browser.look(width, scheme);
        browser.go(&address(&httpd, "/md-dashboard"));
        picture(&mut browser, &format!("50-{width}-{scheme:?}"));
        assert_eq!(
            browser
                .value(&format!("{CUT_OFF}('.remedy, .word, .domains td:not(:empty), .domains tbody th')")),
            json!([])
        );
        assert_eq!(browser.value(OVERFLOWS), false, "{width}");
    }
    let all = rows(&mut browser);
    assert_eq!(all.len(), 50);
    // Every row says how its domain stands, and its picture has all in words.
    for kind in KINDS {
        let row = format!(
            "Array.from(document.querySelectorAll('#list tbody tr')).find(row => row.innerText.startsWith('{}0.test'))",
            kind.name
        );
        let word = browser.value(&format!("{row}.querySelector('.word').innerText"));
        assert!(word.as_str().unwrap().contains(kind.word), "{}: {word}", kind.name);
        let told = browser.value(&format!("{row}.querySelector('svg')?.getAttribute('aria-label') ?? ''"));
        assert_eq!(
            told.as_str().unwrap().contains("Valid 20"),
            kind.valid.is_some(),
            "{}: {told}",
            kind.name
        );
    }

    browser.value("document.querySelector('[name=q]').focus()");
    browser.type_text("EXPIRED");
    let expired = rows(&mut browser);
    assert_eq!(expired.len(), 6, "{expired:?}");
    assert!(expired.iter().all(|name| name.starts_with("expired")));
    let hits = "document.getElementById('hits').textContent";
    assert_eq!(browser.value(hits), "6 of 50 domains");
    wait_for("the address", SOON, || {
        (browser.value("location.search") == "?q=EXPIRED&sort=status").then_some(())
    });
    browser.value("document.querySelector('[name=q]').select()");
    browser.type_text("department.ok3");
    assert_eq!(rows(&mut browser), ["ok3.test"], "all names are searched");
    browser.value("(() => { const q = document.querySelector('[name=q]'); q.value = ''; q.dispatchEvent(new Event('input')) })()");
    assert_eq!(rows(&mut browser), all);

    let choose = |name: &str, value: &str| {
        format!(
            "(() => {{ const field = document.querySelector('[name={name}]'); field.value = {value:?};
            field.dispatchEvent(new Event('change')) }})()"
        )
    };
    browser.value(&choose("status", "renewal-failing"));
    assert!(rows(&mut browser).iter().all(|name| name.starts_with("failing")));
    assert_eq!(rows(&mut browser).len(), 7);
    browser.value(&choose("status", ""));

    let click = |column: &str| format!("document.querySelector('[data-sort={column}] a').click()");
    let mut by_name = all.clone();
    by_name.sort();
    browser.value(&click("name"));
    assert_eq!(rows(&mut browser), by_name);
    let sorted = "document.querySelector('[data-sort=name]').getAttribute('aria-sort')";
    assert_eq!(browser.value(sorted), "ascending");
    browser.value(&click("name"));
    by_name.reverse();
    assert_eq!(rows(&mut browser), by_name);
    assert_eq!(browser.value(sorted), "descending");
    browser.value(&click("until"));
    let by_time = rows(&mut browser);
    assert!(by_time[0].starts_with("expired") && by_time[49].starts_with("none"), "{by_time:?}");
    browser.value(&click("until"));
    let by_time = rows(&mut browser);
    assert!(by_time[0].starts_with("unused") && by_time[49].starts_with("none"), "{by_time:?}");
    browser.value(&choose("sort", "status"));
    assert_eq!(rows(&mut browser), all);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn rows_are_searched_sorted_and_narrowed_without_a_script() {
    let Some(lab) = open_lab!() else { return };
    let httpd = start(&lab, 50, SAID);
    let Some(mut browser) = Browser::open(&lab) else { return };
    browser.look(1280, Scheme::Light);
    browser.set_scripts(false);
    browser.go(&address(&httpd, "/md-dashboard"));
    assert_eq!(rows(&mut browser).len(), 50);
    browser.value("document.querySelector('[name=q]').focus()");
    browser.type_text("expired");
    assert_eq!(rows(&mut browser).len(), 50, "no script has run");
    browser.follow("document.querySelector('form.search button').click()");
    let expired = rows(&mut browser);
    assert_eq!(expired.len(), 6, "{expired:?}");
    browser.follow("document.querySelector('[data-sort=name] a').click()");
    assert_eq!(rows(&mut browser), [0, 1, 2, 3, 4, 5].map(|number| format!("expired{number}.test")));
    browser.follow("document.querySelector('[data-sort=name] a').click()");
    assert_eq!(rows(&mut browser)[0], "expired5.test");
    browser.go(&address(&httpd, "/md-dashboard?status=renewal-failing"));
    let failing = rows(&mut browser);
    assert!(failing.len() == 7 && failing.iter().all(|name| name.starts_with("failing")), "{failing:?}");
    browser.follow("document.querySelector('th.name a').click()");
    let title = browser.value("document.title");
    assert!(title.as_str().unwrap().starts_with("failing"), "{title}");
    browser.follow("document.querySelector('.crumbs a').click()");
    assert_eq!(rows(&mut browser).len(), 50);
}

#[test]
fn of_many_domains_a_page_is_shown_and_each_is_found() {
    let Some(lab) = open_lab!() else { return };
    const COUNT: usize = 10_000;
    let httpd = start(&lab, COUNT, SAID);
    let Some(mut browser) = Browser::open(&lab) else { return };
    for width in WIDTHS {
        for scheme in SCHEMES {
            browser.look(width, scheme);
            browser.go(&address(&httpd, "/md-dashboard"));
            picture(&mut browser, &format!("many-{width}-{scheme:?}"));
            assert_eq!(browser.value(&format!("{CUT_OFF}('.remedy, .word, figure')")), json!([]), "{width}");
            assert_eq!(browser.value(OVERFLOWS), false, "{width}");
        }
    }
    assert_eq!(rows(&mut browser).len(), 100);
    browser.value("document.querySelector('[name=q]').focus()");
    browser.type_text("ok1249.test");
    let hits = browser.value("document.getElementById('hits').textContent");
    assert_eq!(hits, "0 of the 100 on this page; Enter asks for all 10000");
    browser.follow("document.querySelector('form.search').requestSubmit()");
    assert!(rows(&mut browser).contains(&"ok1249.test".to_string()));
    browser.go(&address(&httpd, "/md-dashboard"));
    browser.follow("document.querySelector('[data-sort=name] a').click()");
    assert_eq!(rows(&mut browser)[0], "expired0.test");
    browser.follow("document.querySelector('.pages [rel=next]').click()");
    assert_eq!(browser.value("document.querySelector('.pages [aria-current]').textContent"), "2");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn what_others_say_stays_text() {
    let Some(lab) = open_lab!() else { return };
    let harm = "</p></td></table></script></style><script>document.title='taken'</script>\
                <img src=x onerror=\"document.title='taken'\"><style>*{display:none}</style>\u{202e}\
                <b class=remedy>What to do:</b> pay";
    let httpd = start(&lab, 3, harm);
    let Some(mut browser) = Browser::open(&lab) else { return };
    browser.look(1280, Scheme::Light);
    for path in ["/md-dashboard", "/md-dashboard/failing0.test", "/server-status"] {
        browser.go(&address(&httpd, path));
        browser.value("document.querySelectorAll('details').forEach(details => { details.open = true })");
        let text = browser.value("document.body.innerText");
        assert!(text.as_str().unwrap().contains("<script>document.title='taken'</script>"), "{path}: {text}");
        assert_ne!(browser.value("document.title"), "taken", "{path}");
        let planted = "document.querySelectorAll('img, b.remedy, [onerror]').length";
        assert_eq!(browser.value(planted), 0, "{path}");
        assert_eq!(
            browser.value("getComputedStyle(document.querySelector('h1')).display"),
            "block",
            "{path}"
        );
    }
    let remedies = "Array.from(document.querySelectorAll('.remedy'), remedy => remedy.innerText).join()";
    browser.go(&address(&httpd, "/md-dashboard"));
    assert!(!browser.value(remedies).as_str().unwrap().contains("pay"));
    assert_eq!(browser.value("document.scripts.length"), 1);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn pages_keep_nobody_out() {
    let Some(lab) = open_lab!() else { return };
    let httpd = start(&lab, 16, SAID);
    let Some(mut browser) = Browser::open(&lab) else { return };
    for width in WIDTHS {
        for scheme in SCHEMES {
            browser.look(width, scheme);
            for (path, part, name) in [
                ("/md-dashboard", "html", "list"),
                ("/md-dashboard?status=ok&sort=name", "html", "filtered"),
                ("/md-dashboard/failing0.test", "html", "domain-failing"),
                ("/md-dashboard/ok0.test", "html", "domain-ok"),
                ("/md-dashboard/no-such.test", "html", "unknown"),
                ("/server-status", "#managed-certificates", "server-status"),
            ] {
                browser.go(&address(&httpd, path));
                picture(&mut browser, &format!("{name}-{width}-{scheme:?}"));
                browser.value(
                    "document.querySelectorAll('details').forEach(details => { details.open = true })",
                );
                let Some(faults) = browser.barriers(&lab, part) else { return };
                assert!(faults.is_empty(), "{path} {width} {scheme:?}: {faults:#?}");
            }
        }
    }
}

#[test]
fn whoever_uses_no_mouse_sees_where_they_are() {
    let Some(lab) = open_lab!() else { return };
    let httpd = start(&lab, 3, SAID);
    let Some(mut browser) = Browser::open(&lab) else { return };
    browser.look(1280, Scheme::Dark);
    browser.go(&address(&httpd, "/md-dashboard"));
    let mut seen = Vec::new();
    for _ in 0..30 {
        browser.press("Tab", 9);
        let focused = browser.value(
            "(() => { const element = document.activeElement, box = element.getBoundingClientRect();
                const style = getComputedStyle(element);
                return { what: element.tagName + ' ' + element.innerText.slice(0, 30),
                    isSeen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 &&
                        box.width > 0 && box.right > 0 && box.bottom > 0 } })()",
        );
        if focused["what"].as_str().unwrap().starts_with("BODY") {
            break;
        }
        assert_eq!(focused["isSeen"], true, "{focused}");
        seen.push(focused["what"].as_str().unwrap().to_string());
    }
    for what in ["A To the content", "A failing0.test", "INPUT", "SELECT", "BUTTON Show", "A Domain", "DIV "]
    {
        assert!(seen.iter().any(|seen| seen.starts_with(what)), "{what}: {seen:?}");
    }
}
