// SPDX-License-Identifier: Apache-2.0
//! The HTTP client against real sockets and real TLS on loopback; certificates are made at run time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mod_md::http::{
    Client, Direct, DirectOptions, Error, Limits, MAX_BODY, Options, Request, TlsFault, Transport,
};
use mod_md::time::{Clock, StopFlag, SystemClock};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A server that answers every request by `reply`, and keeps the head of each.
struct Server {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Server {
    fn start(tls: Option<SslAcceptor>, reply: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heads, connections) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<usize>>::default());
        let (seen, count) = (heads.clone(), connections.clone());
        let (tls, reply) = (Arc::new(tls), Arc::new(reply));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                *count.lock().unwrap() += 1;
                let (tls, reply, seen) = (tls.clone(), reply.clone(), seen.clone());
                thread::spawn(move || match &*tls {
                    None => serve(stream, &*reply, &seen),
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream) {
                            serve(stream, &*reply, &seen);
                        }
                    }
                });
            }
        });
        Server { port, heads, connections }
    }

    fn url(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://{host}:{}/dir", self.port)
    }
}

fn serve(stream: impl Stream, reply: &impl Fn(&str) -> Vec<u8>, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    while let Some(head) = head(&mut reader) {
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: ").map(str::to_string));
        let mut body = vec![0; length.map_or(0, |l| l.trim().parse().unwrap())];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let answer = reply(&head);
        seen.lock().unwrap().push(format!("{head}{}", String::from_utf8_lossy(&body)));
        if reader.get_mut().write_all(&answer).is_err() || reader.get_mut().flush().is_err() {
            return;
        }
        // An answer that breaks off is the last of its connection.
        if !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            return;
        }
    }
}

fn head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match reader.read_line(&mut head) {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
    Some(head)
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nReplay-Nonce: n1\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

struct Authority {
    key: PKey<Private>,
    certificate: X509,
    /// Holds the certificate in PEM for as long as the test needs it.
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let key = new_key();
        let certificate = certificate("Test root", &key, None, None, None);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&certificate.to_pem().unwrap()).unwrap();
        Authority { key, certificate, file }
    }

    fn acceptor(&self, names: &[&str]) -> SslAcceptor {
        self.acceptor_for(names, None)
    }

    /// `period`: of its certificate, else the day that begins.
    fn acceptor_for(&self, names: &[&str], period: Option<(&Asn1TimeRef, &Asn1TimeRef)>) -> SslAcceptor {
        let key = new_key();
        let leaf = certificate("leaf", &key, Some((&self.key, &self.certificate)), Some(names), period);
        let mut builder = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
        builder.set_private_key(&key).unwrap();
        builder.set_certificate(&leaf).unwrap();
        builder.build()
    }

    fn options(&self) -> Options {
        Options { ca_file: Some(self.file.path().to_path_buf()), ..options() }
    }
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn certificate(
    cn: &str,
    key: &PKey<Private>,
    issuer: Option<(&PKey<Private>, &X509)>,
    names: Option<&[&str]>,
    period: Option<(&Asn1TimeRef, &Asn1TimeRef)>,
) -> X509 {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, cn).unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(issuer.map_or(&*name, |(_, c)| c.subject_name())).unwrap();
    builder.set_pubkey(key).unwrap();
    let (today, tomorrow) = (Asn1Time::days_from_now(0).unwrap(), Asn1Time::days_from_now(1).unwrap());
    let (from, until) = period.unwrap_or((&today, &tomorrow));
    builder.set_not_before(from).unwrap();
    builder.set_not_after(until).unwrap();
    match names {
        None => builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap(),
        Some(names) => {
            let mut san = SubjectAlternativeName::new();
            for name in names {
                match name.parse::<std::net::IpAddr>() {
                    Ok(_) => san.ip(name),
                    Err(_) => san.dns(name),
                };
            }
            let san = san.build(&builder.x509v3_context(None, None)).unwrap();
            builder.append_extension(san).unwrap();
        }
    }
    builder.sign(issuer.map_or(key, |(k, _)| k), MessageDigest::sha256()).unwrap();
    builder.build()
}

fn options() -> Options {
    Options {
        ca_file: None,
        proxy_url: None,
        proxy_ca_file: None,
        user_agent: "mod_md/test".into(),
        stop: StopFlag::default(),
        limits: Limits::default(),
    }
}

fn client() -> Client {
    Client::new(&options()).unwrap()
}

#[test]
fn a_server_is_verified_by_the_roots_of_the_ca_file() {
    let authority = Authority::new();
    let server = Server::start(Some(authority.acceptor(&["127.0.0.1", "localhost"])), |_| ok(b"hello"));
    let client = Client::new(&authority.options()).unwrap();
    for host in ["127.0.0.1", "localhost"] {
        let response = client.send(&Request::get(&server.url("https", host))).unwrap();
        assert_eq!((response.status, response.body.as_slice()), (200, &b"hello"[..]));
        assert_eq!(response.header("replay-nonce"), Some("n1"));
    }
}

#[test]
fn a_server_of_an_unknown_ca_is_refused_with_the_reason() {
    let authority = Authority::new();
    let server = Server::start(Some(authority.acceptor(&["127.0.0.1"])), |_| ok(b"hello"));
    let error = client().send(&Request::get(&server.url("https", "127.0.0.1"))).unwrap_err();
    assert_eq!(error.to_string(), "certificate verify failed: unable to get local issuer certificate");
    assert!(matches!(error, Error::Tls(TlsFault::Trust, _)));
    assert_eq!(server.heads.lock().unwrap().len(), 0);
}

#[test]
fn a_certificate_out_of_its_time_is_told_from_one_that_is_not_trusted() {
    let authority = Authority::new();
    let client = Client::new(&authority.options()).unwrap();
    let now = SystemClock::default().now();
    let days = |days: i64| Asn1Time::from_unix(now.unix() + days * 86_400).unwrap();
    for (from, until, reason) in [(-3, -1, "certificate has expired"), (1, 3, "certificate is not yet valid")]
    {
        let acceptor = authority.acceptor_for(&["127.0.0.1"], Some((&days(from), &days(until))));
        let server = Server::start(Some(acceptor), |_| ok(b"hello"));
        let error = client.send(&Request::get(&server.url("https", "127.0.0.1"))).unwrap_err();
        assert_eq!(error, Error::Tls(TlsFault::Time, format!("certificate verify failed: {reason}")));
    }
}

#[test]
fn a_certificate_for_other_names_is_refused() {
    let authority = Authority::new();
    let server = Server::start(Some(authority.acceptor(&["other.test", "192.0.2.1"])), |_| ok(b"hello"));
    let client = Client::new(&authority.options()).unwrap();
    for (host, reason) in [("127.0.0.1", "IP address mismatch"), ("localhost", "hostname mismatch")] {
        let error = client.send(&Request::get(&server.url("https", host))).unwrap_err();
        assert_eq!(error, Error::Tls(TlsFault::Name, format!("certificate verify failed: {reason}")));
    }
}

#[test]
fn a_ca_file_that_cannot_be_read_is_told_by_name() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    for path in ["/nonexistent/roots.pem".into(), empty.path().to_path_buf()] {
        let error = Client::new(&Options { ca_file: Some(path.clone()), ..options() }).err().unwrap();
        assert!(matches!(&error, Error::Invalid(text) if text.contains(path.to_str().unwrap())), "{error}");
    }
}

/// OpenSSL would ask for its pass phrase at the terminal of whoever starts httpd.
#[test]
fn an_encrypted_certificate_to_trust_is_refused() {
    let header = "CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,0011223344556677\n\n";
    let plain = fs::read_to_string(Authority::new().file.path()).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), plain.replacen("CERTIFICATE-----\n", header, 1)).unwrap();
    let of_file = |options| Client::new(&options).err().unwrap().to_string();
    let path = Some(file.path().to_path_buf());
    let ca_pem = Some(fs::read(file.path()).unwrap());
    let (user_agent, stop) = ("mod_md/test".to_string(), StopFlag::default());
    let inside = DirectOptions { ca_pem, client_pem: None, user_agent, limits: Limits::default(), stop };
    for error in [
        of_file(Options { ca_file: path.clone(), ..options() }),
        of_file(Options { proxy_ca_file: path, proxy_url: Some("https://127.0.0.1:1".into()), ..options() }),
        Direct::new(inside).err().unwrap().to_string(),
    ] {
        assert!(error.ends_with("a certificate in it is encrypted"), "{error}");
    }
}

#[test]
fn unusable_options_and_urls_are_refused_without_a_panic() {
    assert!(matches!(
        Client::new(&Options { user_agent: "a\nb".into(), ..options() }),
        Err(Error::Invalid(_))
    ));
    for url in ["::", "socks5://127.0.0.1:1", "ftp://x.test"] {
        let result = Client::new(&Options { proxy_url: Some(url.into()), ..options() });
        assert!(matches!(result, Err(Error::Proxy)), "{url}");
    }
    for url in ["", "/dir", "x.test/dir", "https://", "https://a b/"] {
        assert!(matches!(client().send(&Request::get(url)), Err(Error::Invalid(_))), "{url:?}");
    }
}

/// Waits on a server that takes connections and stays silent, raises the flag, and measures.
fn stop_during(url: String, listener: TcpListener) {
    let held = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // What has arrived shows that the client is about to wait.
        assert!(stream.read(&mut [0; 512]).unwrap() > 0);
        stream
    });
    let stop = StopFlag::default();
    let client = Client::new(&Options { stop: stop.clone(), ..options() }).unwrap();
    let waiting = thread::spawn(move || client.send(&Request::get(&url)));
    let _stream = held.join().unwrap();
    let raised = Instant::now();
    stop.raise();
    assert_eq!(waiting.join().unwrap().unwrap_err(), Error::Stopped);
    // The limits would end it later.
    assert!(raised.elapsed() < Limits::default().stall / 2, "{:?}", raised.elapsed());
}

#[test]
fn a_stop_ends_a_hanging_read_and_a_hanging_handshake() {
    for scheme in ["http", "https"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}/", listener.local_addr().unwrap());
        stop_during(url, listener);
    }
}

#[test]
fn a_stopped_client_connects_nowhere() {
    let server = Server::start(None, |_| ok(b""));
    let stop = StopFlag::default();
    let client = Client::new(&Options { stop: stop.clone(), ..options() }).unwrap();
    stop.raise();
    assert_eq!(client.send(&Request::get(&server.url("http", "127.0.0.1"))).unwrap_err(), Error::Stopped);
    assert_eq!(*server.connections.lock().unwrap(), 0);
}

#[test]
fn requests_carry_their_headers_and_share_a_connection() {
    let authority = Authority::new();
    let server = Server::start(Some(authority.acceptor(&["127.0.0.1"])), |_| ok(b"{}"));
    let client = Client::new(&authority.options()).unwrap();
    let url = server.url("https", "127.0.0.1");
    let post =
        Request { accept: Some("text/x"), ..Request::post(&url, "application/jose+json", b"{\"a\":1}") };
    for _ in 0..3 {
        client.send(&post).unwrap();
    }
    assert_eq!(*server.connections.lock().unwrap(), 1);
    let heads = server.heads.lock().unwrap();
    let head = heads[0].to_ascii_lowercase();
    for line in [
        "post /dir http/1.1\r\n",
        "content-type: application/jose+json\r\n",
        "accept: text/x\r\n",
        "user-agent: mod_md/test\r\n",
        "\r\n\r\n{\"a\":1}",
    ] {
        assert!(head.contains(line), "{line:?} in {head}");
    }
    assert!(!head.contains("accept-encoding"), "{head}");
}

#[test]
fn a_head_request_has_headers_and_no_body() {
    let server = Server::start(None, |head| {
        assert!(head.starts_with("HEAD "));
        b"HTTP/1.1 200 OK\r\nReplay-Nonce: abc\r\nContent-Length: 10\r\n\r\n".to_vec()
    });
    let response = client().send(&Request::head(&server.url("http", "127.0.0.1"))).unwrap();
    assert_eq!((response.header("Replay-Nonce"), response.body.len()), (Some("abc"), 0));
}

#[test]
fn redirects_and_errors_come_back_as_they_are() {
    for line in ["302 Found\r\nLocation: http://127.0.0.1:1/", "308 P\r\nLocation: /x", "503 Busy", "404 No"]
    {
        let answer = format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nno").into_bytes();
        let server = Server::start(None, move |_| answer.clone());
        let url = server.url("http", "127.0.0.1");
        let response = client().send(&Request::post(&url, "text/plain", b"x")).unwrap();
        assert_eq!(response.status.to_string(), line[..3]);
        assert_eq!(response.body, b"no");
        assert_eq!(server.heads.lock().unwrap().len(), 1);
    }
}

#[test]
fn a_body_above_the_bound_is_refused() {
    let server = Server::start(None, |head| {
        let size = if head.contains("/dir?more") { MAX_BODY + 1 } else { MAX_BODY };
        ok(&vec![b'x'; size])
    });
    let url = server.url("http", "127.0.0.1");
    assert_eq!(client().send(&Request::get(&url)).unwrap().body.len(), MAX_BODY);
    assert_eq!(client().send(&Request::get(&format!("{url}?more"))).unwrap_err(), Error::TooLarge);
}

#[test]
fn a_refused_connection_is_111_and_a_lost_one_is_told() {
    // A port that was free a moment ago may be that of another test by now.
    let error = client().send(&Request::get("https://127.0.0.1:1/")).unwrap_err();
    assert_eq!((error.clone(), error.status()), (Error::Refused, 111));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || listener.accept().map(|(mut s, _)| s.read(&mut [0; 512])));
    let error = client().send(&Request::get(&url)).unwrap_err();
    assert_eq!(error.to_string(), "the server closed the connection without an answer");
}

/// Requests to a server that answers all but these, by number from 1; those it leaves with this begin of an
/// answer.
struct Losing {
    server: Server,
    client: Client,
    url: String,
}

impl Losing {
    fn new(lost: &'static [usize], left_with: &'static [u8], authority: Option<&Authority>) -> Self {
        let count = AtomicUsize::new(0);
        let reply = move |_: &str| {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            if lost.contains(&number) { left_with.to_vec() } else { ok(number.to_string().as_bytes()) }
        };
        let server = Server::start(authority.map(|a| a.acceptor(&["127.0.0.1"])), reply);
        let client = Client::new(&authority.map_or_else(options, Authority::options)).unwrap();
        let url = server.url(if authority.is_some() { "https" } else { "http" }, "127.0.0.1");
        Losing { server, client, url }
    }

    fn through(self, proxy: u16, authority: &Authority) -> Self {
        let proxy_url = Some(format!("http://127.0.0.1:{proxy}"));
        let client = Client::new(&Options { proxy_url, ..authority.options() }).unwrap();
        Losing { client, ..self }
    }

    fn post(&self) -> Result<String, Error> {
        let body = vec![b'x'; 100_000];
        let response = self.client.send(&Request::post(&self.url, "application/jose+json", &body))?;
        Ok(String::from_utf8(response.body).unwrap())
    }

    fn get(&self) -> Result<String, Error> {
        let response = self.client.send(&Request::get(&self.url))?;
        Ok(String::from_utf8(response.body).unwrap())
    }

    fn requests(&self) -> usize {
        self.server.heads.lock().unwrap().len()
    }

    fn connections(&self) -> usize {
        *self.server.connections.lock().unwrap()
    }
}

#[test]
fn credentials_are_sent_as_headers_and_shown_nowhere() {
    let server = Server::start(None, |_| ok(b"{}"));
    let url = server.url("http", "127.0.0.1");
    let credentials = [("x-api-user", "me"), ("x-api-key", "s3cret")];
    let post = Request { credentials: &credentials, ..Request::post(&url, "application/json", b"") };
    client().send(&post).unwrap();
    let head = server.heads.lock().unwrap()[0].to_ascii_lowercase();
    assert!(head.contains("x-api-user: me\r\n") && head.contains("x-api-key: s3cret\r\n"), "{head}");
    assert!(head.contains("content-length: 0\r\n"), "{head}");
    let shown = format!("{post:?}");
    assert!(shown.contains("x-api-key") && !shown.contains("s3cret"), "{shown}");
    let unfit = [("x-api-key", "s3cret\r\nx: y")];
    let error = client().send(&Request { credentials: &unfit, ..post }).unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(
        matches!(error, Error::Invalid(_)) && said.contains("x-api-key") && !said.contains("s3cret"),
        "{said}"
    );
    assert_eq!(server.heads.lock().unwrap().len(), 1);
}

#[test]
fn a_request_lost_on_a_kept_connection_is_repeated_on_a_new_one() {
    let authority = Authority::new();
    for authority in [None, Some(&authority)] {
        let losing = Losing::new(&[2, 5], b"", authority);
        assert_eq!(losing.post().unwrap(), "1");
        assert_eq!(losing.post().unwrap(), "3", "the second is lost");
        assert_eq!(losing.connections(), 2);
        assert_eq!(losing.get().unwrap(), "4", "the new connection is kept");
        assert_eq!(losing.get().unwrap(), "6");
        assert_eq!(losing.connections(), 3);
        let heads = losing.server.heads.lock().unwrap();
        assert_eq!(heads[1], heads[2], "the same is sent again");
    }
}

#[test]
fn a_request_lost_in_the_tunnel_of_a_proxy_is_repeated_in_another() {
    let authority = Authority::new();
    let (port, _) = proxy();
    let losing = Losing::new(&[2], b"", Some(&authority)).through(port, &authority);
    assert_eq!([losing.post().unwrap(), losing.post().unwrap(), losing.get().unwrap()], ["1", "3", "4"]);
    assert_eq!(losing.connections(), 2);
}

#[test]
fn a_request_is_repeated_once() {
    let losing = Losing::new(&[2, 3], b"", None);
    assert_eq!(losing.get().unwrap(), "1");
    let error = losing.get().unwrap_err();
    assert_eq!(error.to_string(), "the server closed the connection without an answer");
    assert_eq!(losing.requests(), 3);
    assert_eq!(losing.get().unwrap(), "4");
}

#[test]
fn a_request_on_a_new_connection_is_not_repeated() {
    let losing = Losing::new(&[1], b"", None);
    losing.post().unwrap_err();
    assert_eq!(losing.requests(), 1);
}

#[test]
fn a_request_whose_answer_was_begun_is_not_repeated() {
    let authority = Authority::new();
    for authority in [None, Some(&authority)] {
        for begin in [&b"H"[..], b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"] {
            let losing = Losing::new(&[2], begin, authority);
            assert_eq!(losing.post().unwrap(), "1");
            losing.post().unwrap_err();
            assert_eq!(losing.requests(), 2, "{begin:?}");
            assert_eq!(losing.post().unwrap(), "3");
        }
    }
}

#[test]
fn a_request_whose_connection_ends_while_it_is_sent_is_repeated() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let answering = thread::spawn(move || {
        let (first, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(first);
        head(&mut reader).unwrap();
        reader.get_mut().write_all(&ok(b"first")).unwrap();
        // The next one is closed with most of it unread, which is told by a reset.
        head(&mut reader).unwrap();
        drop(reader);
        let (second, _) = listener.accept().unwrap();
        serve(second, &|_: &str| ok(b"second"), &Mutex::default());
    });
    let client = client();
    assert_eq!(client.send(&Request::get(&url)).unwrap().body, b"first");
    let body = vec![b'x'; 8 * 1024 * 1024];
    assert_eq!(client.send(&Request::post(&url, "text/x", &body)).unwrap().body, b"second");
    drop(client);
    answering.join().unwrap();
}

#[test]
fn a_lost_request_is_not_repeated_on_another_connection_that_may_be_stale() {
    let barrier = Arc::new(Barrier::new(2));
    let (meeting, count) = (barrier.clone(), AtomicUsize::new(0));
    let server = Server::start(None, move |head| {
        if head.contains("/dir?meet") {
            // So that each of the two has a connection of its own.
            meeting.wait();
            return ok(b"met");
        }
        // Both connections are given up; what comes on a third is answered.
        if count.fetch_add(1, Ordering::SeqCst) == 0 { Vec::new() } else { ok(b"third") }
    });
    let (client, url) = (client(), server.url("http", "127.0.0.1"));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| client.send(&Request::get(&format!("{url}?meet"))).unwrap());
        }
    });
    assert_eq!(*server.connections.lock().unwrap(), 2);
    assert_eq!(client.send(&Request::get(&url)).unwrap().body, b"third");
    assert_eq!(*server.connections.lock().unwrap(), 3);
}

#[test]
fn an_unknown_host_is_a_dns_failure() {
    let error = client().send(&Request::get("https://nowhere.invalid/")).unwrap_err();
    assert!(matches!(error, Error::Dns(_)), "{error:?}");
}

/// A CONNECT proxy: keeps the request of its latest connection, then copies bytes both ways.
fn proxy() -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let request = Arc::<Mutex<String>>::default();
    let seen = request.clone();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let head = head(&mut reader).unwrap();
            let target = head.split(' ').nth(1).unwrap().to_string();
            *seen.lock().unwrap() = head;
            let server = TcpStream::connect(target).unwrap();
            (&client).write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
            let (mut from, mut to) = (server.try_clone().unwrap(), client);
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            thread::spawn(move || std::io::copy(&mut reader, &mut &server));
        }
    });
    (port, request)
}

#[test]
fn a_proxy_is_asked_to_connect_and_the_server_behind_it_is_verified() {
    let authority = Authority::new();
    let server = Server::start(Some(authority.acceptor(&["127.0.0.1"])), |_| ok(b"hello"));
    let url = server.url("https", "127.0.0.1");
    for trusted in [true, false] {
        let (port, request) = proxy();
        let base = if trusted { authority.options() } else { options() };
        let proxy_url = Some(format!("http://user:pass@127.0.0.1:{port}"));
        let client = Client::new(&Options { proxy_url, ..base }).unwrap();
        match client.send(&Request::get(&url)) {
            Ok(response) if trusted => assert_eq!(response.body, b"hello"),
            Err(Error::Tls(TlsFault::Trust, reason)) if !trusted => {
                assert!(reason.contains("verify failed"), "{reason}")
            }
            other => panic!("trusted {trusted}: {other:?}"),
        }
        let request = request.lock().unwrap();
        assert!(request.starts_with(&format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n", server.port)), "{request}");
        assert!(request.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"), "{request}");
    }
}

#[test]
fn a_tls_proxy_is_verified_by_its_own_roots() {
    let authority = Authority::new();
    let refusal = |_: &str| b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec();
    let server = Server::start(Some(authority.acceptor(&["127.0.0.1"])), refusal);
    let proxy_url = Some(format!("https://127.0.0.1:{}", server.port));
    let roots = Some(authority.file.path().to_path_buf());
    let ask = |ca_file, proxy_ca_file| {
        let options = Options { proxy_url: proxy_url.clone(), ca_file, proxy_ca_file, ..options() };
        Client::new(&options).unwrap().send(&Request::get("https://ca.test/dir")).unwrap_err()
    };
    assert!(matches!(ask(roots.clone(), None), Error::Tls(TlsFault::Trust, _)));
    let answered = ask(None, roots).to_string();
    assert!(answered.contains("403"), "{answered}");
    assert!(server.heads.lock().unwrap()[0].starts_with("CONNECT ca.test:443 HTTP/1.1\r\n"));
}

#[test]
fn plain_http_is_asked_of_the_proxy_itself_with_the_whole_url() {
    let authority = Authority::new();
    for acceptor in [None, Some(authority.acceptor(&["127.0.0.1"]))] {
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let proxy = Server::start(acceptor, |_| ok(b"from the proxy"));
        let client = Client::new(&Options {
            proxy_url: Some(format!("{scheme}://user:pass@127.0.0.1:{}", proxy.port)),
            proxy_ca_file: Some(authority.file.path().to_path_buf()),
            ..options()
        })
        .unwrap();
        for url in ["http://ocsp.test/a%2Fb?c", "http://ocsp.test:8080"] {
            assert_eq!(client.send(&Request::get(url)).unwrap().body, b"from the proxy");
        }
        let heads = proxy.heads.lock().unwrap();
        assert!(heads[0].starts_with("GET http://ocsp.test/a%2Fb?c HTTP/1.1\r\n"), "{heads:?}");
        assert!(heads[1].starts_with("GET http://ocsp.test:8080/ HTTP/1.1\r\n"), "{heads:?}");
        for (head, host) in heads.iter().zip(["ocsp.test", "ocsp.test:8080"]) {
            let head = head.to_ascii_lowercase();
            assert_eq!(head.matches("\r\nhost: ").count(), 1, "{head}");
            assert!(head.contains(&format!("\r\nhost: {host}\r\n")), "{head}");
            assert!(head.contains("\r\nproxy-authorization: basic dxnlcjpwyxnz\r\n"), "{head}");
        }
    }
}
