// SPDX-License-Identifier: Apache-2.0
//! A proxy: another httpd with mod_proxy_connect and mod_proxy_http, reachable in plain HTTP and over TLS.

use std::fs;
use std::path::PathBuf;

use openssl::pkey::Id;

use super::process::{Process, Start, args};
use super::{Lab, SOON, apache, http, tls, wait_for};

pub struct Proxy {
    /// Of the TLS port: for `MDHttpProxyCACertificateFile`.
    pub certificate: PathBuf,
    http: u16,
    https: u16,
    dir: PathBuf,
    process: Process,
}

const MODULES: &[&str] = &[
    "mpm_event",
    "log_config",
    "authz_core",
    "socache_shmcb",
    "ssl",
    "proxy",
    "proxy_connect",
    "proxy_http",
];

impl Proxy {
    /// Connects to anything on any port.
    pub fn start(lab: &Lab) -> Proxy {
        let dir = lab.path("proxy");
        fs::create_dir_all(dir.join("mutex")).unwrap();
        let (certificate, key) = (dir.join("proxy.pem"), dir.join("proxy.key"));
        tls::self_signed("DNS:localhost,IP:127.0.0.1", Id::EC, &certificate, &key);
        let (http, https, root) = (lab.port(), lab.port(), dir.display());
        let apache = apache::find().unwrap();
        let mut config = format!("ServerRoot {root}\nPidFile {root}/httpd.pid\nDefaultRuntimeDir {root}\n");
        MODULES.iter().for_each(|name| config += &apache.load(name));
        config += &format!(
            "Mutex file:{root}/mutex default
ErrorLog {root}/error.log
CustomLog {root}/access.log \"%{{local}}p %r %>s\"
User #65534
Group #65534
Listen 127.0.0.1:{http}
Listen 127.0.0.1:{https}
ServerName proxy.test
StartServers 1
ProxyRequests On
AllowCONNECT 1-65535
<VirtualHost *:{https}>
ServerName proxy.test
SSLEngine on
SSLCertificateFile {}
SSLCertificateKeyFile {}
</VirtualHost>
",
            certificate.display(),
            key.display()
        );
        let file = dir.join("httpd.conf");
        fs::write(&file, config).unwrap();
        let mut process = Process::spawn(Start {
            program: &apache.program,
            args: args([&"-DFOREGROUND", &"-f", &file]),
            envs: Vec::new(),
            log: &dir.join("stderr.log"),
            stop_signal: "TERM",
            user: &[],
        });
        wait_for("an answer of the proxy", SOON, || {
            assert!(process.exited().is_none(), "the proxy ended: {}", read(&dir.join("stderr.log")));
            http::get(http, "proxy.test", "/").ok()
        });
        Proxy { certificate, http, https, dir, process }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    pub fn tls_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.https)
    }

    /// How often the plain port and the TLS port have connected somebody to something.
    pub fn connections(&self) -> (usize, usize) {
        let log = read(&self.dir.join("access.log"));
        let of = |port: u16| {
            let wanted = format!("{port} CONNECT 127.0.0.1:");
            log.lines().filter(|line| line.starts_with(&wanted) && line.ends_with(" 200")).count()
        };
        (of(self.http), of(self.https))
    }

    /// How often it has passed on a request for plain http.
    pub fn forwarded(&self) -> usize {
        let log = read(&self.dir.join("access.log"));
        let is_one = |line: &&str| {
            [" GET ", " POST "].iter().any(|verb| line.contains(&format!("{verb}http://127.0.0.1:")))
        };
        log.lines().filter(is_one).filter(|line| line.ends_with(" 200")).count()
    }

    /// Removes its folder with the logs, for another from nothing.
    pub fn forget(self) {
        drop(self.process);
        let _ = fs::remove_dir_all(&self.dir);
    }

    /// Connections that are under way are logged when they end.
    pub fn stop(&mut self) {
        self.process.stop();
    }
}

fn read(path: &std::path::Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
