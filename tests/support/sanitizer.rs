// SPDX-License-Identifier: Apache-2.0
//! What watches the memory of each httpd that a test starts, if `SANITIZER` names it: `asan`, AddressSanitizer,
//! with which the module was built, or `valgrind`. `sanitize.sh` sets it.
//!
//! Both write reports into a folder of the test, also those of a child that ends without being noticed. A
//! report there fails the test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs, thread};

use super::{module, root};

#[derive(Debug)]
pub enum Sanitizer {
    /// With the file of its runtime library, which is preloaded: httpd itself is not built with it.
    Address(PathBuf),
    Valgrind,
}

/// What httpd is run with, and where its reports go.
#[derive(Clone, Debug)]
pub struct Watch {
    sanitizer: &'static Sanitizer,
    reports: PathBuf,
}

const ADDRESS: &[&str] = &[
    // Children of httpd end without giving back what their parent had, which ends with the process.
    "detect_leaks=0",
    // The end of a child by a signal is told in httpd's log.
    "abort_on_error=1",
    // httpd has handlers of its own for these, which would tell nothing but the signal.
    "handle_segv=2",
    "handle_sigbus=2",
    "handle_sigill=2",
    "handle_sigfpe=2",
    "detect_stack_use_after_return=1",
    "strict_string_checks=1",
];

const VALGRIND: &[&str] = &[
    // Nothing but errors goes into a report.
    "--quiet",
    "--error-limit=no",
    "--num-callers=40",
    // Stacks of a module that was unloaded stay readable.
    "--keep-debuginfo=yes",
    "--leak-check=no",
    // Without it a thread that computes keeps the others waiting: one runs at a time.
    "--fair-sched=yes",
    // Children are forks and watched as well; what httpd executes are commands of the test.
    "--trace-children=no",
];

/// `None`: httpd runs by itself.
pub fn in_use() -> Option<&'static Sanitizer> {
    static IN_USE: OnceLock<Option<Sanitizer>> = OnceLock::new();
    let named = || match env::var("SANITIZER").unwrap_or_default().as_str() {
        "" => None,
        "asan" => Some(Sanitizer::Address(env::var_os("ASAN_RUNTIME").expect("ASAN_RUNTIME is set").into())),
        "valgrind" => Some(Sanitizer::Valgrind),
        other => panic!("SANITIZER={other}: asan or valgrind"),
    };
    IN_USE.get_or_init(named).as_ref()
}

/// How many times longer than usual everything may take.
pub fn slowness() -> u32 {
    match in_use() {
        None => 1,
        Some(Sanitizer::Address(_)) => 3,
        Some(Sanitizer::Valgrind) => 8,
    }
}

/// For an httpd with this folder for its reports.
pub fn watch(reports: PathBuf) -> Option<Watch> {
    Some(Watch { sanitizer: in_use()?, reports })
}

impl Watch {
    /// The program that runs httpd, and its arguments.
    pub fn under(&self) -> Vec<String> {
        self.prepare();
        match self.sanitizer {
            Sanitizer::Address(_) => Vec::new(),
            Sanitizer::Valgrind => {
                let suppressions = root().join("tests/support/valgrind.supp");
                let own = [
                    format!("--suppressions={}", suppressions.display()),
                    format!("--log-file={}/%p", self.reports.display()),
                ];
                let all = ["valgrind"].iter().chain(VALGRIND).map(ToString::to_string);
                all.chain(own).collect()
            }
        }
    }

    /// What tests configure that do not say otherwise: an RSA key takes valgrind a minute or more.
    pub fn directives(&self) -> &'static str {
        match self.sanitizer {
            Sanitizer::Address(_) => "",
            Sanitizer::Valgrind => "MDPrivateKeys P-256\nMDAccountKey P-256\n",
        }
    }

    /// The environment of httpd with what the runtime needs, which comes before a library that the test
    /// preloads.
    pub fn envs(&self, mut envs: Vec<(String, String)>) -> Vec<(String, String)> {
        let Sanitizer::Address(runtime) = self.sanitizer else { return envs };
        let mut preload = runtime.display().to_string();
        envs.retain(|(name, value)| {
            let is_other = name != "LD_PRELOAD";
            if !is_other {
                preload += &format!(":{value}");
            }
            is_other
        });
        let options = format!("{}:log_path={}/asan", ADDRESS.join(":"), self.reports.display());
        envs.extend([("LD_PRELOAD".to_string(), preload), ("ASAN_OPTIONS".to_string(), options)]);
        envs
    }

    /// Fails if httpd is not watched after all.
    pub fn assert_watched(&self, pid: u32) {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        match self.sanitizer {
            Sanitizer::Address(runtime) => {
                let name = runtime.file_name().unwrap().to_str().unwrap();
                assert!(maps.contains(name), "httpd has {name} loaded: {maps}");
                let module = fs::read(module::under_test()).unwrap();
                let is_built = module.windows(ADDED.len()).any(|text| text == ADDED);
                assert!(is_built, "the module was built with AddressSanitizer");
            }
            Sanitizer::Valgrind => assert!(maps.contains("memcheck"), "httpd runs in valgrind: {maps}"),
        }
    }

    /// Fails if httpd has errors, unless the test fails anyhow.
    pub fn assert_no_reports(&self) {
        assert_no_reports(&self.reports);
    }

    /// Every user can write here: children do, under the one they run as.
    fn prepare(&self) {
        fs::create_dir_all(&self.reports).unwrap();
        fs::set_permissions(&self.reports, fs::Permissions::from_mode(0o777)).unwrap();
    }
}

/// A function of the runtime that code built with it calls.
const ADDED: &[u8] = b"__asan_init";

/// Fails if there is a report of errors in this folder, unless the test fails anyhow. It is printed either way.
pub fn assert_no_reports(folder: &Path) {
    let reports: Vec<String> = reports(folder).collect();
    if reports.is_empty() {
        return;
    }
    reports.iter().for_each(|report| println!("{report}"));
    let count = reports.len();
    assert!(
        thread::panicking(),
        "{count} processes of httpd have errors of memory, see {}",
        folder.display()
    );
}

/// What processes have reported. A file without errors is that of a process that did nothing wrong; valgrind
/// notes there which system calls it does not know, which then fail.
fn reports(folder: &Path) -> impl Iterator<Item = String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| fs::read(file.path()).ok());
    texts.map(|text| String::from_utf8_lossy(&text).into_owned()).filter(|text| has_error(text))
}

/// `==PID==ERROR: …` of AddressSanitizer, `==PID== Invalid read …` of valgrind.
fn has_error(report: &str) -> bool {
    report.lines().any(|line| line.starts_with("==") && !line.contains("==WARNING: "))
}
