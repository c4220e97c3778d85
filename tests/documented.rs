// SPDX-License-Identifier: Apache-2.0
//! Holds the documentation to what monitors and commands rely on: events, keys of md-status, lines of
//! `server-status?auto`, words, metrics, checks of `a2md doctor` and variables of the environment; and
//! conf/grafana.json and conf/alerts.yml to the metrics that exist. Each that the sources have is described,
//! and none is described that they do not have. Directives, log numbers, commands and messages have tests of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mod_md::metrics::Metrics;
use mod_md::status::fleet::Fleet;
use mod_md::status::standing::Standing;
use mod_md::time::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use support::{Lab, prometheus};

type Words = BTreeSet<String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The production code of one file: what stands before its tests, without comments.
fn source(file: &str) -> String {
    let text = read(file);
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// All files of production code below a folder of the sources.
fn sources(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            let name = path.file_name().unwrap().to_str().unwrap();
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.contains("tests") && name != "fixture.rs" {
                found.push(path.to_str().unwrap().to_string());
            }
        }
    }
    found
}

/// From the heading to the next one of the same level.
fn section(file: &str, heading: &str) -> String {
    let page = read(file);
    let level = heading.split(' ').next().unwrap();
    let (_, rest) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{file}: {heading}"));
    rest.split(&format!("\n{level} ")).next().unwrap().to_string()
}

/// The words between backticks, whole and without what is in braces or brackets behind them.
fn quoted(text: &str) -> Words {
    let spans = text.split('`').skip(1).step_by(2);
    spans.flat_map(|span| [span, span.split(['{', '[']).next().unwrap()]).map(String::from).collect()
}

/// Those of a text, and what stands in the braces behind them: `window{start,end}`.
fn quoted_with_parts(text: &str) -> Words {
    let spans = text.split('`').skip(1).step_by(2);
    spans.flat_map(|span| span.split(['{', '[', ',', '}', ']', '.', ' '])).map(String::from).collect()
}

/// The first cells of the rows of tables.
fn first_cells(text: &str) -> Words {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| quoted(row.split('|').nth(1).unwrap())).collect()
}

/// The texts that stand between quotes behind each `before`.
fn behind(text: &str, before: &str) -> Words {
    let found = text.match_indices(before).filter_map(|(at, _)| {
        let rest = text[at + before.len()..].trim_start().strip_prefix('"')?;
        Some(rest.split('"').next()?.to_string())
    });
    found.collect()
}

#[track_caller]
fn assert_same(what: &str, page: &str, written: &Words, documented: &Words) {
    let missing: Vec<_> = written.difference(documented).collect();
    let gone: Vec<_> = documented.difference(written).collect();
    assert!(missing.is_empty(), "{what} that {page} does not describe: {missing:?}");
    assert!(gone.is_empty(), "{what} of {page} that do not exist: {gone:?}");
    assert!(!written.is_empty(), "{what}");
}

#[test]
fn each_event_is_documented() {
    let code = source("src/notify.rs");
    let names = code.split("fn name(&self)").nth(1).unwrap().split("fn log_kind").next().unwrap();
    let mut written = behind(names, "=> ");
    written.extend(behind(names, "format!("));
    let is_event = |line: &&str| line.trim_start().starts_with("Event::");
    assert_eq!(written.len(), names.lines().filter(is_event).count(), "{written:?}");
    let written = written.iter().map(|name| name.split(':').next().unwrap().to_string()).collect();
    let table = section("docs/status.md", "## Events");
    let documented: Words =
        first_cells(&table).iter().map(|name| name.split(':').next().unwrap().to_string()).collect();
    assert_same("events", "docs/status.md", &written, &documented);
}

#[test]
fn each_word_for_how_a_domain_stands_is_documented() {
    let written: Words = Standing::all().map(|standing| standing.token().to_string()).collect();
    assert_same("words", "docs/status.md", &written, &first_cells(&section("docs/status.md", "### Status")));
    let table = source("src/status/standing.rs");
    let actions = table.split("const ACTIONS").nth(1).unwrap().split("];").next().unwrap();
    let written: Words =
        actions.lines().filter_map(|line| line.split('"').nth(1)).map(String::from).collect();
    let documented = first_cells(&section("docs/status.md", "### What comes next"));
    assert_same("actions", "docs/status.md", &written, &documented);
}

/// Where values of md-status become JSON: the file, and from where on.
const STATUS_JSON: &[(&str, &str)] = &[
    ("src/status/json.rs", ""),
    ("src/status/fleet.rs", ""),
    ("src/model/fleet_report.rs", ""),
    ("src/model/md.rs", ""),
    ("src/model/dns01.rs", ""),
    ("src/model/key_spec.rs", ""),
    ("src/model/job.rs", ""),
    ("src/model/outcome.rs", ""),
    ("src/model/requested.rs", ""),
    ("src/model/retry_state.rs", ""),
    ("src/model/ari.rs", "impl Advice"),
    ("src/crypto/cert.rs", ""),
    ("src/crypto/extension.rs", ""),
    ("src/stapling/snapshot.rs", ""),
];

/// The keys that a source gives to objects.
fn keys(code: &str) -> Words {
    let mut found: Words = ["put(", "put(&mut out, ", "insert(", "[(", ", (", "\n            ("]
        .iter()
        .flat_map(|before| behind(code, before))
        .collect();
    // `"key": value` in json!.
    let parts: Vec<&str> = code.split('"').collect();
    let is_key = |at: &usize| {
        parts.get(at + 1).is_some_and(|after| after.starts_with(": ") || after.starts_with("] ="))
            || parts.get(at + 1).is_some_and(|after| after.starts_with("], out["))
    };
    found.extend((1..parts.len()).step_by(2).filter(is_key).map(|at| parts[at].to_string()));
    let is_word = |key: &String| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    found.into_iter().filter(is_word).collect()
}

#[test]
fn each_key_of_md_status_is_documented() {
    let mut written = Words::new();
    for (file, from) in STATUS_JSON {
        let code = source(file);
        let code = if from.is_empty() { &code[..] } else { code.split(from).nth(1).unwrap() };
        let found = keys(code);
        assert!(!found.is_empty(), "{file}");
        written.extend(found);
    }
    // In the store's file alone.
    assert!(written.remove("auth"));
    for known in ["renew-at", "ari-cert-id", "proto", "renewal-unsaved", "clock-off", "held-back", "window"] {
        assert!(written.contains(known), "{known}: {written:?}");
    }
    let page = section("docs/status.md", "## md-status");
    let documented = quoted_with_parts(&page);
    let missing: Vec<_> = written.difference(&documented).collect();
    assert!(missing.is_empty(), "keys of md-status that docs/status.md does not describe: {missing:?}");
    let tables = page.split("\n### ").take(2).collect::<String>();
    let gone: Vec<_> = first_cells(&tables).into_iter().filter(|key| !written.contains(key)).collect();
    assert!(gone.is_empty(), "keys of docs/status.md that do not exist: {gone:?}");
}

#[test]
fn each_line_of_server_status_auto_is_documented() {
    let [domains, staplings, fleet] =
        ["src/status/text.rs", "src/status/stapling.rs", "src/status/fleet_section.rs"].map(source);
    let mut written: Words = ["fact(", "fact(&format!(", "map(|at| (", "Some((", "(\"\", ", "    ("]
        .iter()
        .flat_map(|before| behind(&domains, before).into_iter().chain(behind(&staplings, before)))
        .collect();
    let of_fleet = ["fact(", "fact(&format!("].iter().flat_map(|before| behind(&fleet, before));
    written.extend(of_fleet.map(|key| format!("Fleet{key}")));
    written.extend(staplings.split('"').filter(|text| text.contains("Total: {}")).flat_map(|text| {
        text.split("\\n").filter_map(|line| Some(line.split_once(": {}")?.0.to_string())).collect::<Vec<_>>()
    }));
    let is_key = |key: &String| key.starts_with(|c: char| c.is_ascii_uppercase());
    let page = section("docs/status.md", "## server-status");
    let missing: Vec<_> = written
        .into_iter()
        .filter(is_key)
        .map(|key| key.replace("[{index}]", "[N]"))
        .filter(|key| {
            let ends = |word: &str| {
                let word = word.trim_start_matches(['…']);
                !word.is_empty() && key.ends_with(word)
            };
            !page.split('`').skip(1).step_by(2).any(ends)
        })
        .collect();
    assert!(missing.is_empty(), "lines of server-status?auto that docs/status.md lacks: {missing:?}");
}

/// The names of samples in an exposition with a fleet.
fn metrics() -> Words {
    let now = Timestamp::from_unix(1_800_000_000);
    let counters: Vec<AtomicU64> = (0..Metrics::SIZE).map(|_| AtomicU64::new(0)).collect();
    let totals = Metrics::new(Arc::new(counters)).totals();
    let page = mod_md::status::metrics::all(&[], &[], &totals, Some(&Fleet::default()), now);
    let mut names = Words::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let ends: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        names.extend(ends.iter().map(|end| format!("{name}{end}")));
    }
    names
}

/// Names of metrics in a text: `md_` with what follows.
fn metrics_in(text: &str) -> Words {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let of_md = |word: &&str| {
        word.strip_prefix("md_").is_some_and(|rest| !rest.is_empty() && rest.chars().all(is_part))
    };
    words.filter(of_md).map(String::from).collect()
}

/// As the documentation has it: a histogram by its family.
fn families() -> Words {
    let of =
        |name: String| ["_bucket", "_count", "_sum"].iter().fold(name, |name, end| name.replace(end, ""));
    metrics().into_iter().map(of).collect()
}

#[test]
fn each_metric_is_documented() {
    let documented = first_cells(&section("docs/status.md", "## Metrics"));
    assert_same("metrics", "docs/status.md", &families(), &documented);
}

#[test]
fn pages_and_dashboards_use_metrics_that_exist() {
    let known = &metrics() | &families();
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let conf = fs::read_dir(root().join("conf")).unwrap().map(|entry| entry.unwrap().path());
    let mut checked = 0;
    for path in docs.chain(conf).filter(|path| path.is_file()) {
        let text = fs::read_to_string(&path).unwrap();
        // Names of files, modules and classes of pages.
        let others = ["md_module", "md_store", "md_"];
        for name in metrics_in(&text).into_iter().filter(|name| name.starts_with("md_")) {
            let is_beginning = name.ends_with('_');
            let is_other = others.contains(&name.as_str()) || is_beginning;
            assert!(is_other || known.contains(&name), "{}: {name}", path.display());
            checked += usize::from(!is_other);
        }
    }
    assert!(checked > 30, "{checked}");
}

/// All texts below keys of this name, at any depth.
fn texts<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == key => found.push(text),
                    _ => texts(value, key, found),
                }
            }
        }
        _ => {}
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&read("conf/grafana.json")).expect("conf/grafana.json is JSON")
}

#[test]
fn the_dashboard_shows_only_metrics_that_exist() {
    let dashboard = dashboard();
    let mut exprs = Vec::new();
    texts(&dashboard, "expr", &mut exprs);
    assert!(exprs.len() > 8, "{exprs:?}");
    for expr in &exprs {
        let used = metrics_in(expr);
        assert!(!used.is_empty() && used.is_subset(&metrics()), "{expr}: {used:?}");
    }
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has a number of its own");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        let (x, width) = (panel["gridPos"]["x"].as_u64().unwrap(), panel["gridPos"]["w"].as_u64().unwrap());
        assert!(x + width <= 24, "{}", panel["title"]);
    }
}

#[test]
fn each_alert_is_documented_and_asks_for_metrics_that_exist() {
    let alerts = read("conf/alerts.yml");
    let lines = || alerts.lines().map(str::trim_start);
    let written: Words =
        lines().filter_map(|line| line.strip_prefix("- alert: ")).map(String::from).collect();
    let documented = first_cells(&section("docs/monitoring.md", "## Prometheus"));
    assert_same("alerts", "docs/monitoring.md", &written, &documented);
    for expr in lines().filter_map(|line| line.strip_prefix("expr: ")) {
        // Prometheus' own, with the job that the page shows.
        let is_own = expr.contains("up{job=\"mod_md\"}");
        let used = metrics_in(expr);
        assert!(is_own || !used.is_empty() && used.is_subset(&metrics()), "{expr}: {used:?}");
    }
    let job = "job_name: mod_md\n";
    assert!(section("docs/monitoring.md", "## Prometheus").contains(job), "{job}");
}

#[test]
fn prometheus_parses_the_queries_of_the_dashboard_the_alerts_and_the_documented_configuration() {
    let Some(lab) = Lab::bare("documentation", &[]) else { return };
    let Some(promtool) = prometheus::promtool(&lab) else { return };
    let dashboard = dashboard();
    let mut exprs = Vec::new();
    texts(&dashboard, "expr", &mut exprs);
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for (at, expr) in exprs.iter().enumerate() {
        let expr = expr.replace("$__rate_interval", "5m").replace("$__range", "1h");
        rules.push_str(&format!("  - record: query:{}\n", "a".repeat(at + 1)));
        rules.push_str(&format!("    expr: {}\n", serde_json::to_string(&expr).unwrap()));
    }
    let check = |what: &str, file: &str, text: &str| {
        let path = lab.path(file);
        fs::write(&path, text).unwrap();
        let output = Command::new(&promtool).args(["check", what]).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}\n{said}{}", String::from_utf8_lossy(&output.stdout));
    };
    check("rules", "dashboard.yml", &rules);
    check("rules", "alerts.yml", &read("conf/alerts.yml"));
    let page = read("docs/monitoring.md");
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut configurations = 0;
    for block in blocks.filter(|block| block.starts_with("scrape_configs:")) {
        // Files that are named have to be there for `check config`.
        check("config", &format!("config-{configurations}.yml"), block);
        configurations += 1;
    }
    assert!(configurations > 0, "no scrape_configs in docs/monitoring.md");
}

#[test]
fn each_check_of_the_doctor_is_documented() {
    let mut written = Words::new();
    for file in sources("src/cli/doctor").into_iter().chain(sources("src/cli/dns")) {
        let code = source(&file);
        for verdict in ["works", "fails", "cannot_be_told", "unknown"] {
            written.extend(behind(&code, &format!("Finding::{verdict}(")));
        }
    }
    let page = quoted(&read("docs/a2md.md"));
    let missing: Vec<_> = written.difference(&page).collect();
    assert!(missing.is_empty(), "checks that docs/a2md.md does not describe: {missing:?}");
    assert!(written.len() > 30, "{written:?}");
}

/// Variables that these sources look up.
fn variables(folders: &[&str]) -> Words {
    let mut found = Words::new();
    for file in folders.iter().flat_map(|folder| sources(folder)) {
        let code = source(&file);
        found.extend(["env::var(", "env::var_os("].iter().flat_map(|before| behind(&code, before)));
        if file.ends_with("http/client/no_proxy.rs") {
            let names =
                code.split('"').skip(1).step_by(2).filter(|name| name.to_lowercase().ends_with("_proxy"));
            found.extend(names.map(String::from));
        }
    }
    found
}

#[test]
fn each_variable_of_the_environment_is_documented() {
    let documented = first_cells(&section("docs/a2md.md", "## Environment"));
    let written = &variables(&["src/cli"]) | &variables(&["src/http"]);
    assert_same("variables", "docs/a2md.md", &written, &documented);
    // A module for tests reads one more: where it is to panic.
    let mut of_httpd = variables(&["src/httpd", "src/http", "src/config", "src/startup", "src/exec"]);
    assert!(of_httpd.remove("MOD_MD_PANIC"));
    let page = quoted(&(read("docs/directives.md") + &read("docs/dns.md") + &read("docs/status.md")));
    let missing: Vec<_> = of_httpd.difference(&page).collect();
    assert!(missing.is_empty(), "variables of httpd that no page has: {missing:?}");
}
