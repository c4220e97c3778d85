// SPDX-License-Identifier: Apache-2.0
//! Headless Chromium: renders a page as users see it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::Lab;
use super::lab::{in_path, skip};

/// What somebody has set the browser to.
#[derive(Clone, Copy)]
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
    let Some(program) = find() else {
        skip(&format!("{} (in a browser)", lab.name), "chromium is not installed");
        return None;
    };
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
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
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

fn find() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| in_path(name))
}
