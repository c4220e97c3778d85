// SPDX-License-Identifier: Apache-2.0
//! A reload lets go of the module: httpd's parent goes on with the file that is there then, whichever it is,
//! or with none. Nothing in the parent points to where the module was.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use openssl::pkey::Id;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::store::X509StoreBuilder;

use support::issuer::{self, Issuer};
use support::module::{c_module, is_c, under_test};
use support::own_ca::OwnCa;
use support::preload::Preload;
use support::process::children;
use support::responder::{Act, Responder, Signers};
use support::stream::Stream;
use support::{Command, Config, Httpd, Lab, Need, RaisedAtEnd, SOON, open_lab, tls, wait_for};

/// The files of the module that a process has mapped, with their inodes; what was removed ends with
/// `(deleted)`. `None`: it is not there, or ends and has no memory any more.
fn mapped(pid: u32) -> Option<BTreeSet<String>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok().filter(|maps| !maps.is_empty())?;
    let files = maps.lines().filter_map(|line| line.splitn(5, ' ').nth(4));
    let files = files.map(|file| file.split_whitespace().collect::<Vec<_>>().join(" "));
    Some(
        files.filter(|file| file.rsplit('/').next().is_some_and(|name| name.starts_with("mod_md"))).collect(),
    )
}

/// The parent and its children have this file, and no other.
#[track_caller]
fn assert_mapped(httpd: &Httpd, file: &Path) {
    let inode = fs::metadata(file).unwrap().ino();
    // The kernel names it by its path without links.
    let file = fs::canonicalize(file).unwrap();
    let expected = BTreeSet::from([format!("{inode} {}", file.display())]);
    assert_eq!(mapped(httpd.pid()).as_ref(), Some(&expected));
    for child in children(httpd.pid()).into_iter().filter_map(mapped) {
        assert_eq!(child, expected, "in a child");
    }
}

/// Another file takes this one's place, as package managers do it.
fn replace(file: &Path, content: &[u8]) {
    let new = file.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(&new, file).unwrap();
}

/// What the module says at each start, and what one says that [`marked`] has made.
const STARTS: &[u8] = b"initializing...";

fn starts(mark: u8) -> String {
    format!("initializing #{mark}")
}

/// The module with another text in it: another file, whose code is known by the log. (Shorter texts, as its
/// version, may stand in the midst of instructions.)
fn marked(mark: u8) -> Vec<u8> {
    let (mut module, text) = (fs::read(under_test()).unwrap(), starts(mark));
    assert_eq!(text.len(), STARTS.len());
    let places: Vec<usize> =
        module.windows(text.len()).enumerate().filter(|(_, w)| *w == STARTS).map(|(at, _)| at).collect();
    places.iter().for_each(|&at| module[at..at + text.len()].copy_from_slice(text.as_bytes()));
    assert!(!places.is_empty());
    module
}

fn linked(httpd: &Httpd) -> PathBuf {
    httpd.config.server_root().join("mod_md.so")
}

/// One host, and visitors who want this certificate and this page each time.
struct Site {
    lab: Lab,
    issuer: Issuer,
    serial: String,
}

const NAME: &str = "one.test";

impl Site {
    fn new(lab: Lab) -> Site {
        let issuer = Issuer::new();
        let set = issuer.issue(&[NAME]);
        issuer::install(&Config::new(&lab).store(), &[NAME], &[&set]);
        Site { lab, issuer, serial: set.serial() }
    }

    fn config(&self, inside: &str) -> Config {
        Config::new(&self.lab)
            .line("MDRenewMode manual\nMDCertificateAuthority https://127.0.0.1:1/dir\nMDCertificateAgreement accepted")
            .line("MDPrivateKeys P-256\nMDomain one.test")
            .site_with(NAME, inside)
    }

    fn client(&self, version: SslVersion) -> SslContext {
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(self.issuer.root.clone()).unwrap();
        let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
        context.set_cert_store(store.build());
        context.set_verify(SslVerifyMode::PEER);
        context.set_min_proto_version(Some(version)).unwrap();
        context.set_max_proto_version(Some(version)).unwrap();
        context.build()
    }

    /// One handshake, and one request in it.
    fn visit(&self, context: &SslContext) -> Result<(), String> {
        let mut ssl = Ssl::new(context).unwrap();
        ssl.set_hostname(NAME).unwrap();
        let stream = Stream::connect(self.lab.https).map_err(|error| error.to_string())?;
        let mut stream = ssl.connect(stream).map_err(|error| error.to_string())?;
        let serial = tls::serial(&stream.ssl().peer_certificate().unwrap());
        let request = format!("GET /index.html HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        let is_right =
            serial == self.serial && answer.starts_with("HTTP/1.1 200") && answer.ends_with("site one.test");
        if is_right { Ok(()) } else { Err(format!("{serial} {read:?} {answer}")) }
    }

    /// So many connections of each version of TLS.
    #[track_caller]
    fn visit_often(&self, count: usize) {
        thread::scope(|scope| {
            for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
                scope.spawn(move || {
                    let context = self.client(version);
                    (0..count)
                        .for_each(|at| self.visit(&context).unwrap_or_else(|why| panic!("{at}: {why}")));
                });
            }
        });
    }

    /// Visitors come all the time while this happens. None is turned away.
    fn visited_during(&self, work: impl FnOnce()) {
        let (is_over, visits) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            let _is_over = RaisedAtEnd(&is_over);
            let visitors = [SslVersion::TLS1_2, SslVersion::TLS1_3].map(|version| {
                let (is_over, visits) = (&is_over, &visits);
                scope.spawn(move || {
                    let (context, mut failures) = (self.client(version), Vec::new());
                    while !is_over.load(Ordering::Relaxed) {
                        failures.extend(self.visit(&context).err());
                        visits.fetch_add(1, Ordering::Relaxed);
                    }
                    failures
                })
            });
            work();
            is_over.store(true, Ordering::Relaxed);
            let failures: Vec<String> =
                visitors.into_iter().flat_map(|visitor| visitor.join().unwrap()).collect();
            assert_eq!(failures, Vec::<String>::new(), "of {visits:?}");
        });
        assert!(visits.into_inner() > 0, "there were visitors");
    }
}

/// httpd ends when it is told to and by itself, and has lost no child on the way.
#[track_caller]
fn assert_ends_well(httpd: Httpd) {
    let said = httpd.said();
    let signs = ["Assertion", "panic in hook", "panicked at", "double free", "corrupt"];
    let troubles: Vec<&str> =
        said.lines().filter(|line| signs.iter().any(|sign| line.contains(sign))).collect();
    assert_eq!(troubles, Vec::<&str>::new());
    let config = httpd.stop();
    let log = fs::read_to_string(config.server_root().join("error.log")).unwrap();
    assert!(log.contains("caught SIGTERM, shutting down") && !log.contains("exit signal"), "{log}");
    let pid_file = config.server_root().join("httpd.pid");
    assert!(!pid_file.exists(), "it did not come to the end of its stop");
}

#[test]
fn a_reload_runs_the_new_file_of_the_same_name() {
    let Some(lab) = open_lab!() else { return };
    let site = Site::new(lab);
    let mut httpd = site.config("").start();
    assert_mapped(&httpd, &linked(&httpd));
    for mark in [1, 2] {
        replace(&linked(&httpd), &marked(mark));
        site.visited_during(|| httpd.graceful());
        assert_mapped(&httpd, &linked(&httpd));
        assert_eq!(httpd.logged(&starts(mark)).len(), 1);
    }
    assert_eq!(httpd.logged("still runs the old file"), Vec::<String>::new());
    assert_ends_well(httpd);
}

#[test]
fn a_reload_runs_the_file_of_another_name() {
    let Some(lab) = open_lab!() else { return };
    let site = Site::new(lab);
    let mut httpd = site.config("").start();
    let (first, other) = (linked(&httpd), httpd.config.server_root().join("mod_md-9.so"));
    fs::write(&other, marked(9)).unwrap();
    let file = httpd.config.server_root().join("httpd.conf");
    let text = fs::read_to_string(&file).unwrap();
    for module in [&other, &first] {
        fs::write(&file, text.replace(&*first.to_string_lossy(), &module.to_string_lossy())).unwrap();
        site.visited_during(|| httpd.graceful());
        assert_mapped(&httpd, module);
        assert_eq!(httpd.logged(&starts(9)).len(), 1, "the other one, once");
    }
    assert_ends_well(httpd);
}

/// Ours, the C module and ours again, under visitors; then thousands of connections.
fn swaps(lab: Lab, mpm: &'static str) {
    let (ours, c) = (under_test(), c_module().unwrap());
    let site = Site::new(lab);
    let mut httpd = site.config("").mpm(mpm).module(&ours).start();
    for round in 0..2 {
        for module in [&c, &ours] {
            httpd.rewrite(|config| config.module(module));
            site.visited_during(|| httpd.graceful());
            assert_mapped(&httpd, &linked(&httpd));
            assert_eq!(is_c(&linked(&httpd)), module == &c);
            let version = httpd.mds()["version"].as_str().unwrap().to_string();
            assert_eq!(version.starts_with('2'), module == &c, "{version} in round {round}");
            site.visit_often(500);
        }
    }
    assert_ends_well(httpd);
}

#[test]
fn reloads_swap_our_module_for_the_c_module_and_back() {
    let Some(lab) = open_lab!(Need::BothModules) else { return };
    swaps(lab, "event");
}

#[test]
fn the_same_holds_with_processes_instead_of_threads() {
    let Some(lab) = open_lab!(Need::BothModules) else { return };
    swaps(lab, "prefork");
}

/// In the order of docs/migrating.md. The C module would put that set into use, and mod_ssl end httpd.
#[test]
fn the_c_module_starts_once_a_set_that_hosts_refuse_is_removed() {
    let Some(lab) = open_lab!(Need::BothModules) else { return };
    let site = Site::new(lab);
    let (ours, c) = (under_test(), c_module().unwrap());
    let strict = "SSLCipherSuite ALL:@SECLEVEL=3";
    let mut httpd = site.config(strict).line("MDRenewMode auto\nMDCheckInterval 1s").module(&ours).start();
    issuer::stage(&httpd.config.store(), &[NAME], &[&Issuer::with_key(Id::RSA).issue(&[NAME])]);
    wait_for("the refusal in md-status", SOON, || {
        let last = &httpd.md(NAME)["renewal"]["last"];
        last["detail"].as_str()?.contains("the new certificates are not used").then_some(())
    });
    httpd.graceful();
    let staged = httpd.config.store().join("staging").join(NAME);
    assert!(staged.join("pubcert.p-256.pem").exists());
    // The C module takes sets alone that say which CA they are from.
    let file = staged.join("md.json");
    let mut md: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    md["ca"]["url"] = "https://127.0.0.1:1/dir".into();
    fs::write(file, md.to_string()).unwrap();
    // The child may write its job meanwhile.
    wait_for("staging without the set", SOON, || {
        let _ = fs::remove_dir_all(&staged);
        (!staged.join("pubcert.p-256.pem").exists()).then_some(())
    });
    httpd.rewrite(|config| config.module(&c));
    site.visited_during(|| httpd.graceful());
    assert!(is_c(&linked(&httpd)));
    site.visit_often(20);
    assert_ends_well(httpd);
}

#[test]
fn reloads_take_the_module_out_of_the_configuration_and_in_again() {
    let Some(lab) = open_lab!() else { return };
    let site = Site::new(lab);
    // What the host is served with where there is no module: the very certificate of its domain.
    let domain = Config::new(&site.lab).store().join("domains").join(NAME);
    let (certificate, key) = (site.lab.path("own.pem"), site.lab.path("own.key"));
    fs::copy(domain.join("pubcert.p-256.pem"), &certificate).unwrap();
    fs::copy(domain.join("privkey.p-256.pem"), &key).unwrap();
    let own =
        format!("SSLCertificateFile {}\nSSLCertificateKeyFile {}", certificate.display(), key.display());
    let mut httpd = site.config(&own).mpm("worker").start();
    for _ in 0..2 {
        httpd.rewrite(Config::without_module);
        site.visited_during(|| httpd.graceful());
        assert_eq!(mapped(httpd.pid()), Some(BTreeSet::new()));
        site.visit_often(500);
        httpd.rewrite(Config::with_module);
        site.visited_during(|| httpd.graceful());
        assert_mapped(&httpd, &linked(&httpd));
        assert_eq!(httpd.md(NAME)["state"], 2);
        site.visit_often(500);
    }
    assert_ends_well(httpd);
}

/// All that can happen in the parent: a set that comes into use at this start and is on trial, its command, a
/// domain without a certificate, one with files, stapling of a domain's and of others, live activation, the
/// lock of the store.
struct Everything {
    issuer: Issuer,
    message: Command,
    config: Config,
    _responder: Responder,
}

impl Everything {
    fn new(lab: &Lab) -> Everything {
        let responder = Responder::start(lab, Act::Good(3600));
        let ca = OwnCa::new(lab, "Own CA");
        responder.sign_as(Signers::of(ca.cert.clone(), ca.key.clone()));
        let own = ca.issue(lab, "own.test", &responder.url());
        let fixed = ca.issue(lab, "static.test", &responder.url());
        let message = Command::new(lab, "message", "sleep 0.1");
        let config = Config::new(lab)
            .line("MDCertificateAuthority https://127.0.0.1:1/dir\nMDCertificateAgreement accepted")
            .line("MDContactEmail admin@example.test\nProtocols http/1.1 acme-tls/1\nMDCheckInterval 1h")
            .line(
                "MDStoreLocks on\nMDLiveActivation on\nMDStapling on\nMDStapleOthers on\nMDPrivateKeys P-256",
            )
            .line(&format!("MDMessageCmd {}\nMDNotifyCmd /bin/true", message.line))
            .line("MDChallengeDns01 /bin/true\nMDRequireHttps temporary\nMDomain one.test www.one.test")
            .line("<MDomain new.test>\nMDRenewMode manual\n</MDomain>")
            .line(&format!(
                "<MDomain static.test>\nMDCertificateFile {}\nMDCertificateKeyFile {}\n</MDomain>",
                fixed.certificate.display(),
                fixed.key.display()
            ))
            .line("<If \"%{HTTP_HOST} == 'x'\">\nMDRequireHttps off\n</If>")
            .site(NAME, &["www.one.test"])
            .site("new.test", &[])
            .site("static.test", &[])
            .site_with("own.test", &own.directives());
        Everything { issuer: Issuer::new(), message, config, _responder: responder }
    }

    fn stage(&self) -> String {
        let set = self.issuer.issue(&[NAME, "www.one.test"]);
        issuer::stage(&self.config.store(), &[NAME, "www.one.test"], &[&set]);
        set.serial()
    }
}

#[test]
fn whatever_a_start_does_a_reload_lets_go_of_the_module() {
    let Some(lab) = open_lab!() else { return };
    let all = Everything::new(&lab);
    let serial = all.stage();
    let mut httpd = all.config.clone().start();
    assert_eq!(tls::served(httpd.config.https(), NAME, None, &[]).serial(), serial);
    assert!(all.message.calls().contains(&"installed one.test".to_string()), "{:?}", all.message.calls());
    for mark in [1, 2, 3] {
        all.stage();
        replace(&linked(&httpd), &marked(mark));
        httpd.graceful();
        assert_mapped(&httpd, &linked(&httpd));
        assert_eq!(httpd.logged(&starts(mark)).len(), 1);
    }
    assert_ends_well(httpd);
}

/// Destructors of thread-local storage on the main thread would keep the library. Functions that OpenSSL or
/// the C library keep would be called where it was. This names whoever brings one: see docs/unsafe.md.
#[test]
fn the_parent_leaves_no_pointer_into_the_module_behind() {
    let Some(lab) = open_lab!() else { return };
    let all = Everything::new(&lab);
    let preload = Preload::build(&lab);
    for config in [all.config.clone(), all.config.clone().line("MDLiveActivation off").mpm("prefork")] {
        all.stage();
        let mut httpd = preload.before(config).start();
        for _ in 0..2 {
            all.stage();
            httpd.graceful();
        }
        assert_eq!(tls::served(httpd.config.https(), NAME, None, &[]).chain.len(), 2);
        assert_ends_well(httpd);
    }
    let notes = preload.notes();
    assert!(notes.is_empty(), "\n{}\n", notes.join("\n"));
}

#[test]
fn a_start_says_that_something_keeps_the_module_that_was_replaced() {
    let Some(lab) = open_lab!() else { return };
    let site = Site::new(lab);
    let preload = Preload::build(&site.lab);
    let config = site.config("");
    let module = config.server_root().join("mod_md.so");
    let mut httpd = preload.pin(config, &module).start();
    httpd.graceful();
    assert_eq!(httpd.logged("still runs the old file"), Vec::<String>::new());
    replace(&module, &marked(9));
    httpd.graceful();
    assert_eq!(httpd.logged(&starts(9)), Vec::<String>::new(), "the first one was kept");
    let said = httpd.logged("has been replaced, but httpd still runs the old file");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("md:warn") && said[0].contains(&*module.to_string_lossy()), "{said:?}");
    assert_ends_well(httpd);
}

/// What httpd's parent has of the system.
#[derive(Debug)]
struct Use {
    mappings: usize,
    descriptors: usize,
    resident_kb: u64,
}

impl Use {
    fn of(pid: u32) -> Use {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let status = read("status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Use {
            mappings: read("maps").lines().count(),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
            resident_kb: resident.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}

#[test]
fn the_parent_does_not_grow_by_a_hundred_reloads() {
    const RELOADS: usize = 100;
    const WARM_UP: usize = 20;
    /// What memory may grow by, one part of so many: httpd without the module grows by one in a hundred.
    const PART: u64 = 40;
    let Some(lab) = open_lab!() else { return };
    let all = Everything::new(&lab);
    all.stage();
    let mut httpd = all.config.clone().line("StartServers 1").start();
    (0..WARM_UP).for_each(|_| httpd.graceful());
    let before = Use::of(httpd.pid());
    (WARM_UP..RELOADS).for_each(|_| httpd.graceful());
    let after = Use::of(httpd.pid());
    let seen = format!("{before:?} {after:?}");
    assert_mapped(&httpd, &linked(&httpd));
    assert_eq!(after.descriptors, before.descriptors, "{seen}");
    // The heap grows by one, or two.
    assert!(after.mappings <= before.mappings + 4, "{seen}");
    assert!(after.resident_kb <= before.resident_kb + before.resident_kb / PART, "{seen}");
    println!("{seen}");
    assert_ends_well(httpd);
}

/// httpd loads modules so that all libraries after them are bound to what they export, also to what goes away
/// with them.
#[test]
fn the_module_exports_its_record_and_nothing_else() {
    let Some(_lab) = open_lab!() else { return };
    let symbols = std::process::Command::new("nm")
        .args(["--dynamic", "--defined-only", "--format=posix"])
        .arg(under_test())
        .output()
        .unwrap();
    let symbols = String::from_utf8(symbols.stdout).unwrap();
    let names: Vec<&str> = symbols.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["md_module"]);
}
