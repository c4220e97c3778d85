// SPDX-License-Identifier: Apache-2.0
//! Keys, certificates, signing requests and JSON web signatures, on the system's OpenSSL. Takes and returns
//! bytes (PEM, DER); opens no file and no connection. Of its own layer it imports `model`, which has the
//! kinds of keys.

pub mod aead;
pub mod auth;
pub mod cert;
pub mod cpu_limit;
pub mod csr;
mod curve;
pub mod der;
pub mod extension;
#[cfg(test)]
pub mod fixture;
pub mod foreign_key;
pub mod hkdf;
pub mod hmac;
pub mod identity;
pub mod jws;
pub mod key;
mod key_form;
mod key_info;
pub mod pass_phrase;
pub mod path;
pub mod pem;
pub mod pkcs12;
mod places;
pub mod scratch;
mod sealed;
pub mod sealed_bytes;
pub mod self_signed;
mod signing_pool;
pub mod siv;
mod tbs;

pub use cert::{CertInfo, Certificate, Chain};
pub use cpu_limit::CpuLimit;
pub use identity::{Chains, Identities, Identity};
pub use key::PrivateKey;
pub use pass_phrase::PassPhrase;
pub use tbs::time as read_time;

/// Random bytes that cannot be guessed.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    fill_with_random(&mut bytes)?;
    Ok(bytes)
}

/// The same where they shall not be copied.
pub fn fill_with_random(bytes: &mut [u8]) -> Result<(), Error> {
    Ok(openssl::rand::rand_bytes(bytes)?)
}

/// Advice for errors of OpenSSL that the input cannot have caused.
pub const ADVICE: &str =
    "Check free memory and openssl.cnf, then restart httpd: OpenSSL failed on this machine.";

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    openssl::sha::sha256(bytes)
}

/// For names by which others call things; proves nothing.
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    openssl::sha::sha1(bytes)
}

/// OpenSSL refused, or the input has not the expected form.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Openssl(#[from] openssl::error::ErrorStack),
    #[error("{0}")]
    Invalid(String),
    /// It was given up.
    #[error("the server process is stopping")]
    Stopped,
}

/// A random number in 0..1, for jitter and draws. Without randomness (never seen) it is the middle.
pub fn random_unit() -> f64 {
    random().map_or(0.5, |bytes: [u8; 4]| f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX))
}
