// SPDX-License-Identifier: Apache-2.0
//! The view of a TLS client of a running server: OpenSSL as a library, or `openssl s_client` with its options. Tests
//! that wait for a certificate look often, and to start a program each time takes most of what they compute.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::Id;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::{X509, X509VerifyResult};

use super::Lab;
use super::stream::Stream;

/// One handshake as the client saw it.
pub struct Served {
    /// The chain leads to the given root and the leaf is valid for the name.
    pub verified: bool,
    /// OpenSSL's own word on that: `0 (ok)`, `18 (self-signed certificate)`.
    pub verdict: String,
    /// Leaf first, as the server sent them.
    pub chain: Vec<X509>,
    /// All that s_client said, if it was asked.
    pub text: String,
}

/// Connects as `name`, trusting `root` alone, or nobody; `options` are further options of s_client.
pub fn served(port: u16, name: &str, root: Option<&Path>, options: &[&str]) -> Served {
    if options.is_empty() {
        return served_at("127.0.0.1", port, name, root);
    }
    served_to(port, root, &[&["-servername", name, "-verify_hostname", name], options].concat())
}

/// The same at this address, without further options.
pub fn served_at(address: &str, port: u16, name: &str, root: Option<&Path>) -> Served {
    match shake_hands(address, port, name, root) {
        Ok(stream) => {
            let verdict = stream.ssl().verify_result();
            let chain = stream.ssl().peer_cert_chain().into_iter().flatten().map(ToOwned::to_owned);
            Served {
                verified: verdict == X509VerifyResult::OK,
                verdict: format!("{} ({})", verdict.as_raw(), verdict.error_string()),
                chain: chain.collect(),
                text: String::new(),
            }
        }
        Err(verdict) => Served { verified: false, verdict, chain: Vec::new(), text: String::new() },
    }
}

/// Goes on whatever the certificate is, as s_client does: of several faults the last one counts.
fn shake_hands(
    address: &str,
    port: u16,
    name: &str,
    root: Option<&Path>,
) -> Result<SslStream<Stream>, String> {
    let connecting = || {
        let mut context = SslContext::builder(SslMethod::tls_client())?;
        if let Some(root) = root {
            context.set_ca_file(root)?;
        }
        context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        let mut tls = Ssl::new(&context.build())?;
        tls.set_hostname(name)?;
        tls.param_mut().set_host(name)?;
        Ok::<_, ErrorStack>(tls)
    };
    let tls = connecting().map_err(|e| e.to_string())?;
    let stream = Stream::connect_to(address, port).map_err(|e| e.to_string())?;
    let mut stream = tls.connect(stream).map_err(|e| e.to_string())?;
    let _ = stream.shutdown();
    Ok(stream)
}

/// Connects as a client that says in the options of s_client whom it asks for.
pub fn served_to(port: u16, root: Option<&Path>, options: &[&str]) -> Served {
    let root = root.map(|root| ["-CAfile".into(), root.as_os_str().to_os_string()]);
    let output = Command::new("openssl")
        .args(["s_client", "-showcerts", "-connect", &format!("127.0.0.1:{port}")])
        .args(trusting_nobody())
        .args(root.map_or_else(|| vec!["-no-CAfile".into()], Vec::from))
        .args(options)
        .stdin(Stdio::null())
        .output()
        .expect("openssl starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let verdict = text.lines().find_map(|line| line.trim().strip_prefix("Verify return code: "));
    let verdict =
        verdict.map_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned(), str::to_string);
    let chain = X509::stack_from_pem(text.as_bytes()).unwrap_or_default();
    Served { verified: verdict == "0 (ok)" && !chain.is_empty(), verdict, chain, text: text.into_owned() }
}

/// s_client options that leave out the machine's own CAs. OpenSSL 1.1.1 knows no CA store, and refuses the
/// option.
fn trusting_nobody() -> &'static [&'static str] {
    static HAS_STORE: OnceLock<bool> = OnceLock::new();
    let has_store = HAS_STORE.get_or_init(|| {
        let help = Command::new("openssl").args(["s_client", "-help"]).output().expect("openssl starts");
        String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).contains("-no-CAstore")
    });
    if *has_store { &["-no-CApath", "-no-CAstore"] } else { &["-no-CApath"] }
}

/// s_client options that make a server with several certificates answer with the one of that key type.
pub const RSA_ONLY: &[&str] = &["-tls1_2", "-cipher", "ECDHE+aRSA"];
pub const EC_ONLY: &[&str] = &["-tls1_2", "-cipher", "ECDHE+aECDSA"];

impl Served {
    pub fn leaf(&self) -> &X509 {
        self.chain.first().unwrap_or_else(|| panic!("no certificate came: {}", self.verdict))
    }

    /// Upper-case hex, whole bytes.
    pub fn serial(&self) -> String {
        serial(self.leaf())
    }

    pub fn common_name(&self) -> String {
        let entry = self.leaf().subject_name().entries_by_nid(Nid::COMMONNAME).next();
        entry.map(|e| e.data().to_string().unwrap()).unwrap_or_default()
    }

    pub fn issuer(&self) -> String {
        let entry = self.leaf().issuer_name().entries_by_nid(Nid::COMMONNAME).next();
        entry.map(|e| e.data().to_string().unwrap()).unwrap_or_default()
    }

    /// The DNS names of the leaf, sorted.
    pub fn names(&self) -> Vec<String> {
        names(self.leaf())
    }

    pub fn key(&self) -> Id {
        self.leaf().public_key().unwrap().id()
    }
}

pub fn serial(certificate: &X509) -> String {
    let hex = certificate.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string();
    if hex.len() % 2 == 1 { format!("0{hex}") } else { hex }
}

pub fn names(certificate: &X509) -> Vec<String> {
    let names = certificate.subject_alt_names().into_iter().flatten();
    let mut names: Vec<_> = names.filter_map(|name| name.dnsname().map(str::to_string)).collect();
    names.sort();
    names
}

/// Makes a certificate of two days that nobody trusts, and its key. `names` as in a subjectAltName of
/// openssl(1).
pub fn self_signed(names: &str, algorithm: Id, certificate: &Path, key: &Path) {
    let new_key: &[&str] = match algorithm {
        Id::RSA => &["rsa:2048"],
        _ => &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    };
    let status = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=lab", "-newkey"])
        .args(new_key)
        .args(["-addext", &format!("subjectAltName={names}"), "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "openssl makes a certificate");
}

/// Certificate and key of an admin, in the lab's folder.
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Files {
    pub fn new(lab: &Lab, name: &str, algorithm: Id) -> Files {
        let stem = format!("{name}-{}", if algorithm == Id::RSA { "rsa" } else { "ec" });
        let files =
            Files { certificate: lab.path(format!("{stem}.pem")), key: lab.path(format!("{stem}.key")) };
        self_signed(&format!("DNS:{name}"), algorithm, &files.certificate, &files.key);
        files
    }

    /// For a host that has them of its own.
    pub fn directives(&self) -> String {
        let Files { certificate, key } = self;
        format!("SSLCertificateFile {}\nSSLCertificateKeyFile {}", certificate.display(), key.display())
    }
}
