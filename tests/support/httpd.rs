// SPDX-License-Identifier: Apache-2.0
//! One httpd with its own ServerRoot: its configuration, its processes, its log, its answers.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fmt::Write, fs};

use serde_json::Value;

use super::apache::{self, Apache};
use super::process::{self, Process, Start, args};
use super::sanitizer::{self, Watch};
use super::{Lab, Pebble, SOON, http, lab, module, wait_for};

/// Under which rights httpd starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// As who runs the tests. Where that is root, its children run as `User`.
    Own,
    /// As an ordinary user, from the start.
    Ordinary,
}

/// What httpd is started with. A clone of it can be started after the first has stopped: it means the same
/// ServerRoot and store.
#[derive(Clone)]
pub struct Config {
    root: PathBuf,
    http: u16,
    https: u16,
    module: PathBuf,
    has_module: bool,
    /// Modules of httpd that are not loaded.
    left_out: Vec<&'static str>,
    account: Account,
    mpm: &'static str,
    lines: Vec<String>,
    envs: Vec<(String, String)>,
    /// The program that runs httpd, and its arguments.
    under: Vec<String>,
    /// What watches its memory.
    watch: Option<Watch>,
    /// How long it may take to its first answer.
    patience: Duration,
}

/// An httpd that has answered at least one request.
pub struct Httpd {
    pub config: Config,
    process: Process,
}

const BASE_MODULES: &[&str] =
    &["watchdog", "unixd", "log_config", "authz_core", "socache_shmcb", "ssl", "status"];

impl Config {
    pub fn new(lab: &Lab) -> Config {
        Config {
            root: lab.path("httpd"),
            http: lab.http,
            https: lab.https,
            module: module::under_test(),
            has_module: true,
            left_out: Vec::new(),
            account: Account::Own,
            mpm: "event",
            lines: Vec::new(),
            envs: Vec::new(),
            under: Vec::new(),
            watch: sanitizer::watch(lab.reports()),
            patience: SOON,
        }
    }

    /// With a CA, and a mail address for it.
    pub fn with_ca(lab: &Lab, authority: &super::Authority) -> Config {
        Config::new(lab).line(&authority.directives()).line("MDContactEmail admin@example.test")
    }

    #[must_use]
    pub fn module(mut self, path: &Path) -> Config {
        self.module = path.to_path_buf();
        self
    }

    #[must_use]
    pub fn account(mut self, account: Account) -> Config {
        self.account = account;
        self
    }

    /// `event` or `prefork`.
    #[must_use]
    pub fn mpm(mut self, mpm: &'static str) -> Config {
        self.mpm = mpm;
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Config {
        self.envs.push((name.to_string(), value.to_string()));
        self
    }

    /// httpd as argument of another program; nothing where this is empty.
    #[must_use]
    pub fn under(mut self, program: &[&str]) -> Config {
        self.under = program.iter().map(ToString::to_string).collect();
        self
    }

    /// How long it may take to its first answer.
    #[must_use]
    #[allow(dead_code, reason = "benches have it begin as fast as ever")]
    pub fn patience(mut self, patience: Duration) -> Config {
        self.patience = patience;
        self
    }

    /// No module, and nothing that is for it.
    #[must_use]
    pub fn without_module(mut self) -> Config {
        self.has_module = false;
        self
    }

    /// httpd without one of its own modules.
    #[must_use]
    #[allow(dead_code, reason = "not everyone does this")]
    pub fn without_module_named(mut self, name: &'static str) -> Config {
        self.left_out.push(name);
        self
    }

    #[must_use]
    pub fn with_module(mut self) -> Config {
        self.has_module = true;
        self
    }

    /// Directives at server level.
    #[must_use]
    pub fn line(mut self, directives: &str) -> Config {
        self.lines.push(directives.to_string());
        self
    }

    /// Without the lines that begin with this.
    #[must_use]
    pub fn without_line(mut self, begin: &str) -> Config {
        let keep = |text: &String| {
            text.lines().filter(|line| !line.starts_with(begin)).collect::<Vec<_>>().join("\n")
        };
        self.lines = self.lines.iter().map(keep).collect();
        self
    }

    /// New certificates come into use at restarts: what the C module does, which knows no other way.
    #[must_use]
    pub fn at_restarts(self) -> Config {
        if module::is_c(&self.module) { self } else { self.line("MDLiveActivation off") }
    }

    /// A TLS host that serves `/index.html` with the text `site NAME`.
    #[must_use]
    pub fn site(self, name: &str, aliases: &[&str]) -> Config {
        let alias =
            if aliases.is_empty() { String::new() } else { format!("ServerAlias {}", aliases.join(" ")) };
        self.site_with(name, &alias)
    }

    /// The same with these directives in it.
    #[must_use]
    pub fn site_with(self, name: &str, directives: &str) -> Config {
        let pages = self.root.join("htdocs").join(name);
        fs::create_dir_all(&pages).unwrap();
        fs::write(pages.join("index.html"), format!("site {name}")).unwrap();
        let https = self.https;
        self.line(&format!(
            "<VirtualHost *:{https}>\nServerName {name}\n{directives}\nDocumentRoot {}\nSSLEngine on\n</VirtualHost>",
            pages.display()
        ))
    }

    /// Another ServerRoot, where the first one is in use.
    #[must_use]
    pub fn root(mut self, path: &Path) -> Config {
        self.root = path.to_path_buf();
        self
    }

    /// Other ports, where the first ones are in use.
    #[must_use]
    #[allow(dead_code, reason = "not everyone does this")]
    pub fn ports(mut self, http: u16, https: u16) -> Config {
        (self.http, self.https) = (http, https);
        self
    }

    /// Removes ServerRoot with its store and logs, for another start from nothing.
    pub fn forget(&self) {
        let _ = fs::remove_dir_all(&self.root);
    }

    pub fn server_root(&self) -> &Path {
        &self.root
    }

    pub fn http_port(&self) -> u16 {
        self.http
    }

    /// The port of TLS hosts.
    pub fn https(&self) -> u16 {
        self.https
    }

    pub fn store(&self) -> PathBuf {
        self.root.join("md")
    }

    pub fn https_port(&self) -> u16 {
        self.https
    }

    fn text(&self, apache: &Apache) -> String {
        let root = self.root.display();
        let mut text = format!("ServerRoot {root}\nPidFile {root}/httpd.pid\nDefaultRuntimeDir {root}\n");
        text += &apache.load(&format!("mpm_{}", self.mpm));
        let loaded = BASE_MODULES.iter().filter(|name| !self.left_out.contains(name));
        loaded.for_each(|name| text += &apache.load(name));
        let has_threads = self.mpm != "prefork";
        if has_threads {
            text += "ThreadsPerChild 8\nMinSpareThreads 8\n";
        }
        let user = if lab::is_root() && self.account == Account::Own {
            unprivileged_user().directives()
        } else {
            String::new()
        };
        let Config { http, https, .. } = self;
        let workers = if has_threads { 64 } else { 8 };
        let _ = write!(
            text,
            "LoadModule md_module {root}/mod_md.so
{user}Mutex file:{root}/mutex default
ErrorLog {root}/error.log
LogLevel notice md:debug
Listen 127.0.0.1:{http}
Listen 127.0.0.1:{https}
ServerName main.test
DocumentRoot {root}/htdocs
StartServers 2
ServerLimit 8
MaxRequestWorkers {workers}
ExtendedStatus on
MDPortMap http:{http} https:{https}
MDStoreDir {root}/md
<Location /server-status>
SetHandler server-status
</Location>
<Location /md-status>
SetHandler md-status
</Location>
"
        );
        if !module::is_c(&self.module) {
            text += self.watch.as_ref().map_or("", Watch::directives);
        }
        self.lines.iter().for_each(|line| text += &format!("{line}\n"));
        if !self.has_module {
            let is_for_module =
                |line: &&str| line.starts_with("MD") || line.starts_with("LoadModule md_module");
            text = text.lines().filter(|line| !is_for_module(line)).collect::<Vec<_>>().join("\n") + "\n";
            text = text.replace(" md:debug", "");
        }
        text
    }

    /// Puts ServerRoot in order and writes the configuration. The module is linked into it, where every user
    /// can reach it.
    fn write(&self) -> PathBuf {
        let apache = apache::find().unwrap();
        for dir in ["htdocs", "mutex"] {
            fs::create_dir_all(self.root.join(dir)).unwrap();
        }
        let linked = self.root.join("mod_md.so");
        let _ = fs::remove_file(&linked);
        fs::hard_link(&self.module, &linked).or_else(|_| fs::copy(&self.module, &linked).map(drop)).unwrap();
        let file = self.root.join("httpd.conf");
        fs::write(&file, self.text(apache)).unwrap();
        if self.account == Account::Ordinary && lab::is_root() {
            let user = unprivileged_user();
            for path in [self.root.clone(), self.root.join("mutex")] {
                std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)).unwrap();
            }
        }
        file
    }

    /// `apachectl configtest`: whether it passed, and all it said.
    pub fn configtest(&self) -> (bool, String) {
        let output = self.tested(&[]);
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// `apachectl -t` with these arguments.
    pub fn tested(&self, arguments: &[&str]) -> std::process::Output {
        let file = self.write();
        let mut words = self.program(Vec::new());
        let mut command = Command::new(words.remove(0));
        command.args(words).envs(self.environment(Vec::new()));
        command.arg("-t").args(arguments).arg("-f").arg(file).output().unwrap()
    }

    /// The command line of httpd's control program with this configuration, for a caller that adds arguments.
    pub fn control(&self) -> String {
        let file = self.write();
        format!("{} -f {}", apache::find().unwrap().program.display(), file.display())
    }

    /// Returns once a request has been answered.
    #[track_caller]
    pub fn start(self) -> Httpd {
        self.try_start().unwrap_or_else(|said| panic!("httpd did not start: {said}"))
    }

    /// `Err`: httpd ended instead of serving, and said this on stderr and in its log.
    pub fn try_start(self) -> Result<Httpd, String> {
        let file = self.write();
        let mut command = self.program(self.under.clone()).into_iter();
        let process = Process::spawn(Start {
            program: Path::new(&command.next().unwrap()),
            args: command.chain(args([&"-DFOREGROUND", &"-f", &file])).collect(),
            envs: self.environment(self.envs.clone()),
            log: &self.root.join("stderr.log"),
            // With SIGKILL the kernel would take httpd's parent alone and leave its children.
            stop_signal: "TERM",
            user: &self.user_options(),
        });
        let mut httpd = Httpd { config: self, process };
        let up = wait_for("an answer of httpd", httpd.config.patience, || {
            let ended = httpd.process.exited().map(|_| false);
            ended.or_else(|| http::get(httpd.config.http, "main.test", "/").ok().map(|_| true))
        });
        if !up {
            return Err(httpd.said());
        }
        if let Some(watch) = &httpd.config.watch {
            watch.assert_watched(httpd.pid());
        }
        Ok(httpd)
    }

    /// httpd as argument of this program, and of what watches its memory.
    fn program(&self, under: Vec<String>) -> Vec<OsString> {
        let watched = self.watch.iter().flat_map(Watch::under);
        let program = apache::find().unwrap().program.as_os_str().to_os_string();
        under.into_iter().chain(watched).map(OsString::from).chain([program]).collect()
    }

    fn environment(&self, envs: Vec<(String, String)>) -> Vec<(String, String)> {
        match &self.watch {
            None => envs,
            Some(watch) => watch.envs(envs),
        }
    }

    fn user_options(&self) -> Vec<OsString> {
        if self.account == Account::Own || !lab::is_root() {
            return Vec::new();
        }
        let User { uid, gid, .. } = unprivileged_user();
        args([&"--reuid", &uid.to_string(), &"--regid", &gid.to_string(), &"--clear-groups"])
    }
}

impl Httpd {
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn get(&self, host: &str, path: &str) -> http::Response {
        http::get(self.config.http, host, path).unwrap()
    }

    pub fn https_get(&self, host: &str, path: &str) -> http::Response {
        http::https_get(self.config.https, host, path).unwrap()
    }

    /// How often the configuration was loaded, from server-status. `None`: no answer.
    fn generation(&self) -> Option<u32> {
        let answer = http::get(self.config.http, "main.test", "/server-status?auto").ok()?;
        let line =
            answer.body.lines().find_map(|line| line.strip_prefix("ParentServerConfigGeneration: "))?;
        line.trim().parse().ok()
    }

    /// A graceful restart; returns once a worker of the new generation has answered and none of the old is
    /// left.
    #[track_caller]
    pub fn graceful(&mut self) {
        let (old, pipes) = (process::children(self.pid()), process::pipes(self.pid()));
        let generation = self.generation();
        process::signal(self.pid(), "USR1");
        wait_for("the next generation of httpd's children", SOON, || {
            assert!(self.process.exited().is_none(), "httpd ended: {}", self.stderr());
            let is_next = self.generation() > generation && !old.iter().any(|&pid| process::is_alive(pid));
            (is_next && !self.has_older_children(&pipes)).then_some(())
        });
    }

    /// Whether there are children of a generation before this one: the parent makes some until it is about to
    /// read the configuration again. `pipes`: those of the parent before that. It opens one for each
    /// generation, which all children of it share.
    fn has_older_children(&self, pipes: &BTreeSet<PathBuf>) -> bool {
        let program = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
        let opened = &process::pipes(self.pid()) - pipes;
        let children = process::children(self.pid()).into_iter();
        // Programs that write logs stay.
        let mut children = children.filter(|&pid| program(pid) == program(self.pid()));
        children.any(|pid| process::pipes(pid).is_disjoint(&opened))
    }

    /// Writes what it reads at its next reload.
    pub fn rewrite(&mut self, change: impl FnOnce(Config) -> Config) {
        self.config = change(self.config.clone());
        self.config.write();
    }

    /// Like [`graceful`](Self::graceful), but the old children may still be at it.
    #[track_caller]
    pub fn next_generation(&mut self) {
        let generation = self.generation();
        process::signal(self.pid(), "USR1");
        wait_for("the next generation of httpd's children", SOON, || {
            assert!(self.process.exited().is_none(), "httpd ended: {}", self.stderr());
            (self.generation() > generation).then_some(())
        });
    }

    /// Kills all children, and waits until others are there.
    #[track_caller]
    pub fn replace_children(&self) {
        let old = process::children(self.pid());
        old.iter().for_each(|pid| process::signal(*pid, "KILL"));
        wait_for("new children", SOON, || {
            let is_over =
                !old.iter().any(|pid| process::is_alive(*pid)) && !process::children(self.pid()).is_empty();
            is_over.then_some(())
        });
    }

    /// Stops it, and gives its configuration back for another start.
    pub fn stop(mut self) -> Config {
        self.process.stop();
        self.config.clone()
    }

    /// `kill -9` of it and all its children: nobody says goodbye. Gives its configuration back for another start.
    pub fn kill(mut self) -> Config {
        self.process.kill_group();
        self.config.clone()
    }

    /// Freezes it and all its children.
    pub fn freeze(&self) {
        process::signal_group(self.pid(), "STOP");
    }

    pub fn go_on(&self) {
        process::signal_group(self.pid(), "CONT");
    }

    pub fn log(&self) -> String {
        read(&self.config.root.join("error.log"))
    }

    /// All that it has said since its first start, on stderr and in the log.
    pub fn said(&self) -> String {
        self.stderr() + &self.log()
    }

    fn stderr(&self) -> String {
        read(&self.config.root.join("stderr.log"))
    }

    /// Lines of the error log that contain `text`.
    pub fn logged(&self, text: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(text)).map(str::to_string).collect()
    }

    #[track_caller]
    pub fn wait_logged(&self, text: &str) {
        wait_for(&format!("`{text}` in the log"), SOON, || (!self.logged(text).is_empty()).then_some(()));
    }

    /// The child that drives renewals: who wrote the newest line about it and lives.
    #[track_caller]
    pub fn watchdog(&self) -> u32 {
        wait_for("the watchdog child", SOON, || {
            let log = self.log();
            let lines = log
                .lines()
                .rev()
                .filter(|line| ["AH10052", "AH10054", "AH10055"].iter().any(|n| line.contains(n)));
            let pids =
                lines.filter_map(|line| line.split_once("[pid ")?.1.split([':', ']']).next()?.parse().ok());
            let children = process::children(self.pid());
            pids.into_iter().find(|pid| children.contains(pid))
        })
    }

    /// Until the watchdog has looked at all domains and begun another look: what the first one made of them
    /// has happened by then.
    #[track_caller]
    pub fn wait_looked_twice(&self) {
        let marker = format!("[pid {}:", self.watchdog());
        wait_for("two looks of the watchdog at its domains", SOON, || {
            let looks = self.logged("AH10055").into_iter().filter(|line| line.contains(&marker));
            (looks.count() >= 2).then_some(())
        });
    }

    /// md-status of one managed domain.
    #[track_caller]
    pub fn md(&self, name: &str) -> Value {
        self.get("main.test", &format!("/md-status/{name}")).json()
    }

    /// md-status of all.
    #[track_caller]
    pub fn mds(&self) -> Value {
        self.get("main.test", "/md-status").json()
    }

    /// Until the renewal of this managed domain has a complete set in staging.
    #[track_caller]
    pub fn wait_staged(&self, name: &str) {
        wait_for(&format!("a staged certificate of {name}"), SOON, || {
            (self.md(name)["renewal"]["finished"] == true).then_some(())
        });
    }

    /// Until each child says that it serves the set of this serial, which went live: from then on it is in
    /// every handshake.
    #[track_caller]
    pub fn wait_live(&self, name: &str, serial: &str) {
        wait_for(&format!("{serial} of {name} in every child"), SOON, || {
            self.is_live(name, serial).then_some(())
        });
    }

    /// Whether that is so.
    pub fn is_live(&self, name: &str, serial: &str) -> bool {
        let activation = self.md(name)["activation"].take();
        let children = process::children(self.pid()).len();
        activation["mode"] == "live" && activation["serial"] == serial && activation["workers"] == children
    }

    /// From a first start to certificates of the CA in use.
    #[track_caller]
    pub fn wait_staged_and_activate(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.wait_staged(name));
        self.graceful();
    }

    /// What a client sees that trusts the CA alone.
    pub fn served(&self, name: &str, pebble: &Pebble, options: &[&str]) -> super::tls::Served {
        super::tls::served(self.config.https, name, Some(&pebble.authority.root), options)
    }
}

impl Drop for Httpd {
    fn drop(&mut self) {
        self.process.stop();
        if let Some(watch) = &self.config.watch {
            watch.assert_no_reports();
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The user for httpd's children, by whichever name the distribution gave it.
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

pub fn unprivileged_user() -> User {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let fields: Vec<&str> =
            passwd.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f[0] == name)?;
        Some(User {
            name: name.to_string(),
            uid: fields.get(2)?.parse().ok()?,
            gid: fields.get(3)?.parse().ok()?,
        })
    };
    ["www-data", "apache", "daemon", "nobody"].into_iter().find_map(find).expect("a user for httpd")
}

impl User {
    fn directives(&self) -> String {
        format!("User {}\nGroup #{}\n", self.name, self.gid)
    }
}
