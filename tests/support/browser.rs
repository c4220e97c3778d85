// SPDX-License-Identifier: Apache-2.0
//! Headless Chromium: renders a page as users see it.
//!
//! [`read`] and [`evaluate`] look at a page that a test has as text. A [`Browser`] goes to the server itself, with
//! all that its headers ask of a browser: a window as wide as wanted, its scripts on or off. It is told what
//! to do through a pipe, in the protocol of Chromium's own tools.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::Lab;
use super::lab::{in_path, lab_dir, skip};
use super::process::signal_group;

/// What somebody has set the browser to.
#[derive(Clone, Copy, Debug)]
pub enum Scheme {
    Dark,
    Light,
}

/// Title and visible text of a page, cells of tables apart by tabs. `None`: there is no Chromium here, and
/// that was printed.
pub fn read(lab: &Lab, page: &str) -> Option<String> {
    evaluate(lab, page, Scheme::Light, "document.title + '\\n' + document.body.innerText")
}

/// The value of an expression (JavaScript), as text, once the page is there. `None`: as for [`read`].
pub fn evaluate(lab: &Lab, page: &str, scheme: Scheme, expression: &str) -> Option<String> {
    let program = find(lab)?;
    // What is visible is what a script in the page can ask for; the answer replaces the page.
    let script = format!(
        "<script>addEventListener('load', () => setTimeout(() => {{
        const text = {expression};
        document.documentElement.innerHTML = '<body><pre></pre></body>';
        document.querySelector('pre').textContent = text;
    }}, 50));</script>"
    );
    let file = lab.path("page.html");
    fs::write(&file, format!("{page}{script}")).unwrap();
    let profile = lab.path("chromium");
    let output = Command::new(program)
        .args(ARGS)
        .args(["--virtual-time-budget=5000", "--window-size=1600,1200", "--dump-dom"])
        .arg(match scheme {
            Scheme::Dark => "--blink-settings=preferredColorScheme=0",
            Scheme::Light => "--blink-settings=preferredColorScheme=1",
        })
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    let text = dom.split_once("<pre>").and_then(|(_, rest)| rest.split_once("</pre>"));
    let text = text.unwrap_or_else(|| panic!("no text from chromium: {dom}\n{said}")).0;
    Some(text.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ").replace("&amp;", "&"))
}

const ARGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

fn find(lab: &Lab) -> Option<PathBuf> {
    let found = ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| in_path(name));
    if found.is_none() {
        skip(&format!("{} (in a browser)", lab.name), "chromium is not installed");
    }
    found
}

/// How long one answer may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one window. It ends with the value.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    last: u64,
    session: Value,
    /// What came unasked since the last page.
    events: Vec<Value>,
}

impl Browser {
    /// `None`: there is no Chromium here, and that was printed.
    pub fn open(lab: &Lab) -> Option<Browser> {
        let program = find(lab)?;
        // It reads commands at its descriptor 3, and answers at 4.
        let script = r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null"#;
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "sh", "-c", script, "sh"])
            .arg(program)
            .args(ARGS)
            .args(["--remote-debugging-pipe", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", lab.path("chromium-window").display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(lab.path("chromium.said")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let (sender, from) = channel();
        // Ends with the pipe.
        thread::spawn(move || {
            loop {
                let mut message = Vec::new();
                let length = answers.read_until(0, &mut message).unwrap_or_default();
                message.pop();
                let is_sent = serde_json::from_slice(&message).is_ok_and(|value| sender.send(value).is_ok());
                if length == 0 || !is_sent {
                    return;
                }
            }
        });
        let to = child.stdin.take().unwrap();
        let mut browser = Browser { child, to, from, last: 0, session: Value::Null, events: Vec::new() };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = attached["sessionId"].clone();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}));
        }
        Some(browser)
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        self.to.flush().unwrap();
        loop {
            let answer = self.next(method);
            if answer["id"] == self.last {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    fn next(&mut self, what: &str) -> Value {
        self.from.recv_timeout(PATIENCE).unwrap_or_else(|why| panic!("chromium, {what}: {why}"))
    }

    /// A window of this width, and colours as somebody has set them.
    pub fn look(&mut self, width: u32, scheme: Scheme) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let value = match scheme {
            Scheme::Dark => "dark",
            Scheme::Light => "light",
        };
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.call("Emulation.setEmulatedMedia", feature);
    }

    /// Whether pages may run scripts, from the next one on.
    pub fn set_scripts(&mut self, are_on: bool) {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": !are_on}));
    }

    /// Goes there, and waits until all of it is there.
    pub fn go(&mut self, url: &str) {
        self.events.clear();
        let answer = self.call("Page.navigate", json!({"url": url}));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        self.wait_loaded();
    }

    /// Waits for the page that something has led to.
    pub fn wait_loaded(&mut self) {
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.next("a page");
            self.events.push(event);
        }
    }

    /// Does what leads to another page, and waits for that.
    pub fn follow(&mut self, expression: &str) {
        self.events.clear();
        self.value(expression);
        self.wait_loaded();
    }

    /// The value of an expression (JavaScript), waited for where it is a promise.
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true,
            "userGesture": true});
        let answer = self.call("Runtime.evaluate", params);
        assert!(answer["exceptionDetails"].is_null(), "{expression:.200}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Types a text where the focus is.
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Presses a key that has a name.
    pub fn press(&mut self, key: &str, code: u32) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let params = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
                "text": if kind == "keyDown" { text } else { "" }});
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    /// What the page's policy has stopped, and what its scripts have failed at, since it is there.
    pub fn complaints(&mut self) -> Vec<String> {
        // What is on its way comes before this answer.
        self.value("0");
        let is_complaint = |event: &&Value| {
            let entry = &event["params"]["entry"];
            // Chromium asks each site for an icon by itself, at a time of its own.
            let is_of_icon = entry["url"].as_str().is_some_and(|url| url.ends_with("/favicon.ico"));
            let is_error = event["method"] == "Log.entryAdded" && entry["level"] == "error" && !is_of_icon;
            is_error || event["method"] == "Runtime.exceptionThrown"
        };
        self.events.iter().filter(is_complaint).map(|event| event["params"].to_string()).collect()
    }

    /// Saves what is seen of the whole page, as PNG.
    pub fn picture(&mut self, file: &Path) {
        let params = json!({"format": "png", "captureBeyondViewport": true});
        let answer = self.call("Page.captureScreenshot", params);
        let picture = BASE64.decode(answer["data"].as_str().unwrap().as_bytes()).unwrap();
        fs::write(file, picture).unwrap();
    }

    /// What axe-core finds that keeps people out: its serious and critical faults in what `selector` selects, each
    /// with the elements that have it. `None`: axe-core is not here, and that was printed.
    pub fn barriers(&mut self, lab: &Lab, selector: &str) -> Option<Vec<String>> {
        let Ok(source) = fs::read_to_string(lab_dir().join("axe/axe.min.js")) else {
            skip(&format!("{} (with axe-core)", lab.name), "axe-core is not there");
            return None;
        };
        self.value(&format!("{source}; 0"));
        let found = self.value(&format!(
            "axe.run({selector:?}, {{resultTypes: ['violations', 'passes']}}).then(found => ({{
                passes: found.passes.length,
                faults: found.violations.filter(fault => ['serious', 'critical'].includes(fault.impact))
                    .flatMap(fault => fault.nodes.map(node =>
                        `${{fault.id}}: ${{node.html.slice(0, 200)}}: ${{node.failureSummary}}`)),
            }}))"
        ));
        assert!(found["passes"].as_u64() > Some(0), "axe-core has looked at something: {found}");
        let faults = found["faults"].as_array().unwrap().iter();
        Some(faults.map(|fault| fault.as_str().unwrap().to_string()).collect())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        signal_group(self.child.id(), "KILL");
        let _ = self.child.wait();
    }
}
