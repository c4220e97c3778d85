// SPDX-License-Identifier: Apache-2.0
//! The folder and the ports of one test, its requirements on the machine, and waits with a deadline.

use std::ffi::OsStr;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use super::{apache, difference, module, pebble, root, sanitizer, strace};

/// What a test cannot do without.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// httpd starts as root and drops its privileges.
    Root,
    /// The C module beside ours, to compare with.
    BothModules,
    /// The CA in this version or a later one.
    Pebble(u32, u32),
    /// A module built with the feature `panic-injection`.
    PanicModule,
    /// System calls can be watched, with their stacks.
    Strace,
    /// Reads and writes of httpd are checked.
    Valgrind,
    /// A program that not every machine has.
    Program(&'static str),
}

pub struct Lab {
    pub name: String,
    pub dir: PathBuf,
    /// Where httpd listens, and where pebble validates.
    pub http: u16,
    pub https: u16,
    claims: Mutex<Vec<UnixListener>>,
}

impl Lab {
    /// `place` is the path of a function inside the test. `None`: the test is skipped, and the reason was
    /// printed.
    pub fn open(place: &str, needs: &[Need]) -> Option<Lab> {
        let name = place.trim_end_matches("::here").split_once("::").map_or(place, |(_, rest)| rest);
        let name = name.trim_end_matches("::here").to_string();
        match obstacle(&name, needs) {
            Some(reason) => {
                skip(&name, &reason);
                None
            }
            None => Some(Lab::new(name)),
        }
    }

    /// For tests that need neither httpd nor a CA.
    pub fn bare(name: &str, needs: &[Need]) -> Option<Lab> {
        match needs.iter().find_map(|need| need.obstacle()) {
            Some(reason) => {
                assert!(env::var_os("LAB_REQUIRED").is_none(), "{reason}");
                skip(name, &reason);
                None
            }
            None => Some(Lab::new(name.to_string())),
        }
    }

    fn new(name: String) -> Lab {
        let dir = run_dir().join(format!("{}-{}", name.replace("::", "."), std::process::id()));
        // A folder of that name can only be left from an earlier process with the same id.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        let mut lab = Lab { name, dir, http: 0, https: 0, claims: Mutex::default() };
        lab.http = lab.port();
        lab.https = lab.port();
        lab
    }

    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.dir.join(relative)
    }

    /// Where what watches the memory of httpd reports.
    pub fn reports(&self) -> PathBuf {
        self.path("reports")
    }

    /// A port of 127.0.0.1 that is free for TCP and UDP and stays ours until the lab closes.
    ///
    /// The claim on a number is a listener in the abstract socket namespace: unique on the machine, and gone
    /// with the process that holds it. The numbers lie below the range from which outgoing connections are
    /// taken.
    pub fn port(&self) -> u16 {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        const FIRST: u16 = 20_000;
        const COUNT: u16 = 10_000;
        let start = u16::try_from(std::process::id() * 37 % u32::from(COUNT)).unwrap();
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let port = FIRST + (start + step % COUNT) % COUNT;
            let address = SocketAddr::from_abstract_name(format!("mod_md-lab-port-{port}")).unwrap();
            let Ok(claim) = UnixListener::bind_addr(&address) else { continue };
            let free = TcpListener::bind(("127.0.0.1", port)).is_ok()
                && UdpSocket::bind(("127.0.0.1", port)).is_ok();
            if free {
                self.claims.lock().unwrap().push(claim);
                return port;
            }
        }
        panic!("no free port on 127.0.0.1");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        sanitizer::assert_no_reports(&self.reports());
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
            return;
        }
        for log in logs_below(&self.dir) {
            let text = fs::read(&log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            println!("--- end of {}", log.display());
            lines.iter().skip(lines.len().saturating_sub(40)).for_each(|line| println!("{line}"));
        }
        let (major, minor) = pebble::version();
        println!("{}: with {} and pebble {major}.{minor}", self.name, module::under_test().display());
        println!("everything of this test is kept in {}", self.dir.display());
    }
}

fn logs_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let (dirs, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let logs = files.into_iter().filter(|path| path.extension() == Some(OsStr::new("log")));
    logs.chain(dirs.iter().flat_map(|dir| logs_below(dir))).collect()
}

/// Below `target`, or in the temporary folder where httpd's unprivileged children could not reach that.
fn run_dir() -> PathBuf {
    let beside = lab_dir().join("run");
    let open = |path: &Path| fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o005 == 0o005);
    let dir = if lab_dir().ancestors().filter(|path| path.exists()).all(open) {
        beside
    } else {
        env::temp_dir().join("mod_md-lab")
    };
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// What `setup.sh` filled.
pub fn lab_dir() -> PathBuf {
    env::var_os("LAB_DIR").map_or_else(|| root().join("target/lab"), PathBuf::from)
}

pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

fn obstacle(name: &str, needs: &[Need]) -> Option<String> {
    if let Some(missing) = missing_ground() {
        // `make test` says that the ground must be there: then its absence is a failure, not a reason to
        // skip.
        assert!(env::var_os("LAB_REQUIRED").is_none(), "{missing}");
        return Some(missing);
    }
    if module::is_c(&module::under_test())
        && let Some(reason) = difference::of_c_module(name)
    {
        return Some(format!("the C module differs: {reason}"));
    }
    needs.iter().find_map(|need| need.obstacle())
}

fn missing_ground() -> Option<String> {
    let module = module::under_test();
    if !module.exists() {
        return Some(format!("no module at {}: run `make build`", module.display()));
    }
    if apache::find().is_none() {
        return Some("no httpd here: run `make setup`".to_string());
    }
    if pebble::binary("pebble").is_none() {
        return Some("no pebble here: run `make setup`".to_string());
    }
    None
}

impl Need {
    fn obstacle(self) -> Option<String> {
        match self {
            Need::Root => (!is_root()).then(|| "needs root".to_string()),
            Need::BothModules if module::is_c(&module::under_test()) => {
                Some("needs our module as the one under test".to_string())
            }
            Need::BothModules => {
                module::c_module().is_none().then(|| "the C module 2.6 is not installed".to_string())
            }
            Need::Pebble(major, minor) => {
                (pebble::version() < (major, minor)).then(|| format!("needs pebble {major}.{minor}"))
            }
            Need::Strace => strace::obstacle(),
            Need::Valgrind => Need::Program("valgrind").obstacle(),
            Need::Program(name) => {
                in_path(name).is_none().then(|| format!("no {name} here: run `make setup`"))
            }
            Need::PanicModule => {
                let path = module::with_panic_injection();
                (!path.exists()).then(|| format!("no module at {}: run `make panic-module`", path.display()))
            }
        }
    }
}

/// A program of this machine, by its name. Servers are where a user's own path does not lead.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let servers = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(servers).map(|dir| dir.join(name)).find(|file| file.exists())
}

/// Says so past the capture of the test runner, so that it can be counted.
pub fn skip(name: &str, reason: &str) {
    // In one piece, so that lines of tests side by side do not mix.
    let _ = std::io::stderr().write_all(format!("skipped: {name}: {reason}\n").as_bytes());
}

/// Looks again and again until there is something; fails with `what` once `within` is over, which is longer
/// where what watches httpd's memory slows it down.
#[track_caller]
pub fn wait_for<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let within = within * sanitizer::slowness();
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_millis(5);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(40));
    }
}

/// Raises a flag when it goes, and so when a test fails: a scope whose threads wait for the flag would not
/// end.
pub struct RaisedAtEnd<'a>(pub &'a AtomicBool);

impl Drop for RaisedAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
