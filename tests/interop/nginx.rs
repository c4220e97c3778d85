// SPDX-License-Identifier: Apache-2.0
//! nginx in front of pebble, as reverse proxies and load balancers are in front of CAs, with the faults that
//! requests meet there.
//!
//! Connections are open for a second of silence or for five requests. h2 is offered; a handshake without a
//! name is refused; answers are chunked, and compressed for those who take that. Some requests meet a fault
//! before they reach the CA, which knows only of requests that arrived.

use std::fs;
use std::path::PathBuf;

use openssl::pkey::Id;

use crate::alone::program;
use crate::ca::PATIENCE;
use support::process::{Process, Start, args};
use support::tls;
use support::{Authority, Config, Httpd, Lab, Pebble, SOON, http, lab, open_lab, wait_for};

const NGINX: &str = "nginx/usr/sbin/nginx";
const SCRIPTING: &str = "libnginx-mod-http-js/usr/lib/nginx/modules/ngx_http_js_module.so";

struct Nginx {
    directives: String,
    dir: PathBuf,
    _process: Process,
}

/// `fault`: what a request meets, in nginx' scripting language: `function fault(r)` answers it and returns
/// true, or returns false.
fn start(lab: &Lab, pebble: &Pebble, fault: &str) -> Nginx {
    let dir = lab.path("nginx");
    fs::create_dir_all(&dir).unwrap();
    let [api, key] = [dir.join("api.pem"), dir.join("api.key")];
    tls::self_signed("DNS:localhost", Id::EC, &api, &key);
    let script = format!(
        "var date = (seconds) => new Date(Date.now() + 1000 * seconds).toUTCString();
{fault}
function handle(r) {{ if (!fault(r)) r.internalRedirect('@ca'); }}
export default {{handle}};
"
    );
    fs::write(dir.join("fault.js"), script).unwrap();
    let port = lab.port();
    let config = format!(
        "load_module {scripting};
daemon off;
worker_processes 1;
pid {show}/nginx.pid;
error_log {show}/nginx.log info;
events {{ worker_connections 256; }}
http {{
    log_format told '$connection $connection_requests $status $request';
    access_log {show}/access.log told;
    client_body_temp_path {show}/body;
    proxy_temp_path {show}/proxy;
    fastcgi_temp_path {show}/fastcgi;
    uwsgi_temp_path {show}/uwsgi;
    scgi_temp_path {show}/scgi;
    js_path {show};
    js_import fault.js;
    keepalive_timeout 1s;
    keepalive_requests 5;
    gzip on;
    gzip_types *;
    gzip_proxied any;
    sub_filter_types *;
    server {{
        listen 127.0.0.1:{port} ssl http2 default_server;
        ssl_reject_handshake on;
    }}
    server {{
        listen 127.0.0.1:{port} ssl http2;
        server_name localhost;
        ssl_certificate {show}/api.pem;
        ssl_certificate_key {show}/api.key;
        location / {{ js_content fault.handle; }}
        location /lost/ {{
            proxy_pass {ca}/;
            proxy_set_header Host $http_host;
        }}
        location @ca {{
            proxy_pass {ca};
            proxy_set_header Host $http_host;
            sub_filter 'never there' '';
        }}
    }}
}}
",
        scripting = program(SCRIPTING).unwrap().display(),
        show = dir.display(),
        ca = pebble.authority.directory().trim_end_matches("/dir"),
    );
    fs::write(dir.join("nginx.conf"), config).unwrap();
    let log = dir.join("stderr.log");
    let mut process = Process::spawn(Start {
        program: &program(NGINX).unwrap(),
        args: args([&"-p", &dir, &"-c", &dir.join("nginx.conf"), &"-e", &dir.join("nginx.log")]),
        envs: vec![],
        log: &log,
        stop_signal: "TERM",
        user: &[],
    });
    wait_for("nginx", SOON, || {
        assert!(process.exited().is_none(), "it ended: {}", fs::read_to_string(&log).unwrap_or_default());
        http::https_get(port, "localhost", "/up").ok()
    });
    let directives = format!(
        "MDCertificateAuthority https://localhost:{port}/dir\nMDCACertificateFile {}\nMDCertificateAgreement accepted",
        api.display()
    );
    Nginx { directives, dir, _process: process }
}

impl Nginx {
    /// How many requests ended with this status; 444 stands for no answer.
    fn count(&self, status: u16) -> usize {
        let log = fs::read_to_string(self.dir.join("access.log")).unwrap();
        log.lines().filter(|line| line.split(' ').nth(2) == Some(&status.to_string())).count()
    }
}

/// Three domains with two keys each, all at once, with one account.
fn assert_issues(lab: Option<Lab>, fault: &str, check: impl Fn(&Nginx, &Pebble, &Httpd)) {
    let Some(lab) = lab else { return };
    if let Some(missing) = [NGINX, SCRIPTING].into_iter().find(|name| program(name).is_none()) {
        return lab::skip(
            &lab.name,
            &format!("no {missing} below target/lab/interop: run `make test-interop`"),
        );
    }
    let pebble = Authority::new(&lab).start();
    let nginx = start(&lab, &pebble, fault);
    let names: Vec<String> = (1..=3).map(|n| format!("site-{n}.test")).collect();
    let config = Config::new(&lab)
        .line(&nginx.directives)
        .line(
            "MDContactEmail admin@example.test\nMDCheckInterval 1s\nMDRetryDelay 1s\nMDPrivateKeys RSA 2048 P-256",
        )
        .line("MDCAChallenges http-01");
    let httpd = names
        .iter()
        .fold(config, |config, name| config.line(&format!("MDomain {name}")).site(name, &[]))
        .start();
    for name in &names {
        wait_verified(&httpd, &pebble, name);
    }
    assert_eq!(pebble.account_count(), 1);
    check(&nginx, &pebble, &httpd);
}

/// One for each key.
const ORDERS: usize = 6;

#[track_caller]
fn wait_verified(httpd: &Httpd, pebble: &Pebble, name: &str) {
    for options in [tls::EC_ONLY, tls::RSA_ONLY] {
        wait_for(&format!("a certificate of {name}"), PATIENCE, || {
            httpd.served(name, pebble, options).verified.then_some(())
        });
    }
}

#[test]
#[ignore = "run by `make test-interop`"]
fn connections_that_are_closed_unanswered_cost_nothing() {
    let fault = "function fault(r) {
    if (r.variables.connection_requests % 3) return false;
    r.return(444);
    return true;
}";
    assert_issues(open_lab!(), fault, |nginx, pebble, httpd| {
        assert!(nginx.count(444) > 0);
        assert_eq!(pebble.order_count(), ORDERS);
        assert_eq!(httpd.logged("AH10056"), Vec::<String>::new());
    });
}

/// The CA has done what was asked, and nobody learns of it.
#[test]
#[ignore = "run by `make test-interop`"]
fn answers_that_are_lost_are_no_error() {
    let fault = "function fault(r) {
    if (r.variables.connection_requests % 3) return false;
    r.subrequest('/lost' + r.uri, {method: r.method}, () => r.return(444));
    return true;
}";
    assert_issues(open_lab!(), fault, |nginx, pebble, httpd| {
        assert!(nginx.count(444) > 0);
        // An order whose URL is lost cannot be taken up.
        let orders = pebble.order_count();
        assert!((ORDERS..=2 * ORDERS).contains(&orders), "{orders}");
        assert_eq!(httpd.logged("AH10056"), Vec::<String>::new());
    });
}

#[test]
#[ignore = "run by `make test-interop`"]
fn trouble_and_limits_that_are_sprinkled_in_cost_no_order() {
    let fault = "function fault(r) {
    var dice = parseInt(r.variables.request_id.slice(0, 2), 16);
    if (dice >= 32) return false;
    if (dice < 8) { r.return(502, '<html>Bad Gateway</html>'); return true; }
    if (dice < 16) { r.return(444); return true; }
    r.headersOut['Retry-After'] = dice < 24 ? date(2) : '1';
    r.headersOut['Content-Type'] = 'application/problem+json';
    r.return(429, JSON.stringify({type: 'urn:ietf:params:acme:error:rateLimited', detail: 'too many requests'}));
    return true;
}";
    assert_issues(open_lab!(), fault, |nginx, pebble, _| {
        assert!(nginx.count(502) + nginx.count(444) + nginx.count(429) > 0);
        assert_eq!(pebble.order_count(), ORDERS);
    });
}
