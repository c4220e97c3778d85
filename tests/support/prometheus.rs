// SPDX-License-Identifier: Apache-2.0
//! The parsers of Prometheus itself: its client library for Python, and promtool.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Lab;
use super::lab::{in_path, lab_dir, skip};

const PARSE: &str = "
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
samples = [s for family in parse(sys.stdin.read()) for s in family.samples]
print(json.dumps([{'name': s.name, 'labels': s.labels, 'value': s.value} for s in samples]))
";

/// All samples, as `{name, labels, value}`; fails where the parser does. `None`: it is not installed, and
/// that was printed.
pub fn parse(lab: &Lab, text: &str) -> Option<Vec<Value>> {
    let knows = |python: &&str| {
        let tried =
            Command::new(python).args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let Some(python) = ["/usr/bin/python3", "python3"].into_iter().find(knows) else {
        skip(&format!("{} (in Prometheus' parser)", lab.name), "python3-prometheus-client is not installed");
        return None;
    };
    let mut child = Command::new(python)
        .args(["-c", PARSE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// `None`: it is not installed, and that was printed.
pub fn promtool(lab: &Lab) -> Option<PathBuf> {
    let unpacked = Some(lab_dir().join("prometheus/usr/bin/promtool"));
    let found = in_path("promtool").or_else(|| unpacked.filter(|file| file.exists()));
    if found.is_none() {
        skip(&format!("{} (in promtool)", lab.name), "promtool is not installed");
    }
    found
}
