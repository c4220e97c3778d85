// SPDX-License-Identifier: Apache-2.0
//! What all modules are measured with: for each domain a TLS host and a plain one, a certificate, and with a
//! module a managed domain. Each module has stores of its own.

use crate::certificate::Authority;
use crate::server::Server;
use serde_json::json;
use std::cell::Cell;
use std::fmt::Write;
use std::fs::{self, DirBuilder};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use support::apache::{self, Apache};
use support::{RaisedAtEnd, module};

#[derive(Clone)]
pub struct Module {
    pub name: String,
    /// `None`: httpd without one, and hosts with certificate files.
    pub file: Option<PathBuf>,
}

impl Module {
    pub fn floor() -> Module {
        Module { name: "floor".into(), file: None }
    }

    pub fn c() -> Option<Module> {
        Some(Module { name: "c".into(), file: Some(module::c_module()?) })
    }

    pub fn ours() -> Module {
        Module { name: "ours".into(), file: Some(module::under_test()) }
    }

    pub fn file(path: PathBuf) -> Module {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Module { name, file: Some(path) }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Store {
    /// As before the very first start.
    Empty,
    /// Every domain has a certificate in use. [`Site::fill_store`] makes it.
    Filled,
}

/// How many children httpd begins with.
#[derive(Clone, Copy)]
pub enum Children {
    One,
    /// httpd's default.
    Several,
    /// As many as httpd's default limit allows.
    Most,
}

impl Children {
    fn count(self) -> usize {
        match self {
            Children::One => 1,
            Children::Several => 3,
            Children::Most => 16,
        }
    }
}

pub struct Site {
    dir: PathBuf,
    domains: usize,
    http: u16,
    https: u16,
    /// Nobody listens there.
    authority: u16,
    empty_stores: Cell<usize>,
}

const BASE_MODULES: &[&str] =
    &["mpm_event", "watchdog", "unixd", "authz_core", "socache_shmcb", "ssl", "status"];

impl Site {
    /// Makes key and certificate of every domain below `dir`.
    pub fn create(dir: &Path, domains: usize) -> Site {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["cert", "htdocs", "mutex"] {
            fs::create_dir(dir.join(folder)).unwrap();
        }
        let [http, https, authority] = free_ports();
        let site =
            Site { dir: dir.to_path_buf(), domains, http, https, authority, empty_stores: Cell::new(0) };
        let issuer = Authority::create();
        for domain in site.names() {
            let issued = issuer.issue(&domain);
            fs::write(site.certificate(&domain, "key"), issued.key).unwrap();
            fs::write(site.certificate(&domain, "pem"), issued.chain).unwrap();
        }
        site
    }

    fn names(&self) -> impl Iterator<Item = String> {
        (0..self.domains).map(|n| format!("d{n}.test"))
    }

    pub fn certificate(&self, domain: &str, kind: &str) -> PathBuf {
        self.dir.join("cert").join(format!("{domain}.{kind}"))
    }

    pub fn store(&self, module: &Module, store: Store) -> PathBuf {
        self.dir.join(match store {
            Store::Empty => format!("{}-empty-{}", module.name, self.empty_stores.get()),
            Store::Filled => format!("{}-filled", module.name),
        })
    }

    /// A first start lays out the store as the module likes it; then every domain gets its certificate as an
    /// activation would have put it there, and one more start writes what there is to write about that.
    pub fn fill_store(&self, module: &Module) {
        let store = self.store(module, Store::Filled);
        if module.file.is_none() || store.exists() {
            return;
        }
        drop(self.start(module, Store::Filled, Children::One));
        let archive = store.join("archive");
        if !archive.exists() {
            DirBuilder::new().mode(0o700).create(&archive).unwrap();
        }
        for name in self.names() {
            let (live, old) = (store.join("domains").join(&name), archive.join(format!("{name}.1")));
            fs::rename(&live, &old).unwrap();
            DirBuilder::new().mode(0o700).create(&live).unwrap();
            fs::copy(old.join("md.json"), live.join("md.json")).unwrap();
            for (kind, file) in [("key", "privkey.p-256.pem"), ("pem", "pubcert.p-256.pem")] {
                fs::copy(self.certificate(&name, kind), live.join(file)).unwrap();
                fs::set_permissions(live.join(file), fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        let status = self.start(module, Store::Filled, Children::One).get("/md-status").json();
        let all = status["managed-domains"].as_array().unwrap();
        let complete = all.iter().filter(|md| md["state"] == 2).count();
        assert_eq!((complete, all.len()), (self.domains, self.domains), "{}: complete, all", module.name);
    }

    /// Runs `ask` while the state of twenty renewals is written every tenth of a second, each time of the
    /// next twenty domains, as a renewal that goes on writes it.
    pub fn while_renewals_write(&self, module: &Module, ask: impl FnOnce()) {
        let staging = self.store(module, Store::Filled).join("staging");
        let (names, is_over): (Vec<String>, _) = (self.names().collect(), AtomicBool::new(false));
        thread::scope(|scope| {
            let _is_over = RaisedAtEnd(&is_over);
            scope.spawn(|| {
                let rounds = names.chunks(20).enumerate().cycle();
                for (round, twenty) in rounds.take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    twenty.iter().for_each(|name| write_job(&staging.join(name), name, round));
                    thread::sleep(Duration::from_millis(100));
                }
            });
            ask();
            is_over.store(true, Ordering::Relaxed);
        });
        for folder in names.iter().map(|name| staging.join(name)).filter(|folder| folder.exists()) {
            fs::remove_dir_all(folder).unwrap();
        }
    }

    pub fn start(&self, module: &Module, store: Store, children: Children) -> Server {
        self.start_with_keys("P-256", module, store, children)
    }

    /// `keys` is for `MDPrivateKeys`.
    pub fn start_with_keys(&self, keys: &str, module: &Module, store: Store, children: Children) -> Server {
        // A new one each time: ext4 is slow to make files where it has removed many in the last minutes.
        self.empty_stores.update(|number| number + 1);
        let file = self.write_config(keys, module, store, children);
        Server::start(&file, self.http, children.count())
    }

    pub fn write_config(&self, keys: &str, module: &Module, store: Store, children: Children) -> PathBuf {
        let file = self.dir.join("httpd.conf");
        fs::write(&file, self.config(keys, module, store, children)).unwrap();
        file
    }

    fn config(&self, keys: &str, module: &Module, store: Store, children: Children) -> String {
        let (root, http, https) = (self.dir.display(), self.http, self.https);
        let mut text = self.server_lines(apache::find().unwrap(), children);
        if let Some(file) = &module.file {
            let _ = write!(
                text,
                "LoadModule md_module {}
MDStoreDir {}
MDPortMap http:{http} https:{https}
MDCertificateAuthority https://127.0.0.1:{}/directory
MDCertificateAgreement accepted
MDContactEmail admin@example.test
MDPrivateKeys {keys}
MDServerStatus on
# No renewal shall run beside what is measured.
MDInitialDelay 1h
<Location /md-status>
SetHandler md-status
</Location>
<Location /md-dashboard>
SetHandler md-dashboard
</Location>
",
                file.display(),
                self.store(module, store).display(),
                self.authority
            );
        }
        for name in self.names() {
            let files = match &module.file {
                Some(_) => String::new(),
                None => format!(
                    "SSLCertificateFile {}\nSSLCertificateKeyFile {}\n",
                    self.certificate(&name, "pem").display(),
                    self.certificate(&name, "key").display()
                ),
            };
            if module.file.is_some() {
                let _ = writeln!(text, "MDomain {name}");
            }
            let _ = write!(
                text,
                "<VirtualHost *:{http}>\nServerName {name}\nDocumentRoot {root}/htdocs\n</VirtualHost>\n\
                 <VirtualHost *:{https}>\nServerName {name}\nDocumentRoot {root}/htdocs\nSSLEngine on\n{files}</VirtualHost>\n"
            );
        }
        text
    }

    fn server_lines(&self, apache: &Apache, children: Children) -> String {
        let (root, http, https) = (self.dir.display(), self.http, self.https);
        let mut text = format!("ServerRoot {root}\nPidFile {root}/httpd.pid\nDefaultRuntimeDir {root}\n");
        BASE_MODULES.iter().for_each(|name| text += &apache.load(name));
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            text += "User #65534\nGroup #65534\n";
        }
        let _ = write!(
            text,
            "Mutex file:{root}/mutex default
ErrorLog {root}/error.log
Listen 127.0.0.1:{http}
Listen 127.0.0.1:{https}
ServerName main.test
DocumentRoot {root}/htdocs
StartServers {}
ThreadsPerChild 25
MinSpareThreads 1
MaxSpareThreads 400
<Location /server-status>
SetHandler server-status
</Location>
",
            children.count()
        );
        text
    }
}

pub fn write_job(folder: &Path, name: &str, round: usize) {
    if !folder.exists() {
        fs::create_dir(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let entry = json!({ "when": "Thu, 29 Aug 2019 16:06:35 GMT", "type": "progress", "detail": "Creating new order" });
    let job = json!({
        "name": name, "finished": false, "notified": false, "notified-renewed": false, "errors": 0,
        "last-run": "Thu, 29 Aug 2019 16:06:35 GMT",
        "last": { "status": 0, "activity": format!("Polling the order for the {round}. time") },
        "log": { "entries": vec![entry; 12] },
    });
    let new = folder.join("job.new");
    fs::write(&new, job.to_string()).unwrap();
    fs::rename(new, folder.join("job.json")).unwrap();
}

fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
