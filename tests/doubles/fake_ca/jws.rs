// SPDX-License-Identifier: Apache-2.0
//! Reads signed requests as RFC 8555 §6.2 defines them. Only OpenSSL verifies them, so that this code shares
//! no mistake with the code that signs.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use mod_md::http::Request;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::{MessageDigest, hash};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Public};
use openssl::rsa::Rsa;
use openssl::sign::{Signer, Verifier};
use serde_json::{Map, Value, json};

/// A request whose signature holds.
pub struct Message {
    pub url: String,
    pub nonce: String,
    /// `Null` for a POST-as-GET.
    pub payload: Value,
    /// The public key that signed.
    pub jwk: Value,
    /// The account, where it signed as one.
    pub kid: Option<String>,
}

type Checked<T> = Result<T, String>;

/// Who has to have signed (RFC 8555 §6.2).
#[derive(Clone, Copy, PartialEq)]
pub enum By {
    Key,
    Account,
    /// Revocations (§7.6).
    Either,
}

impl Message {
    /// A request by key carries it (`jwk`); `key_of` knows that of an account.
    pub fn verify(request: &Request<'_>, by: By, key_of: impl Fn(&str) -> Option<Value>) -> Checked<Message> {
        if request.content_type != Some("application/jose+json") {
            return Err(format!("content type {:?}", request.content_type));
        }
        let body: Value = parsed(request.body.unwrap_or_default())?;
        let members = body.as_object().map(Map::len);
        if members != Some(3) {
            return Err("not a flattened JWS".into());
        }
        let header: Value = parsed(&decoded(&body, "protected")?)?;
        let payload = decoded(&body, "payload")?;
        if text(&header, "url")? != request.url {
            return Err("the url header is that of another request".into());
        }
        let (jwk, kid) = match (header.get("jwk"), header.get("kid").and_then(Value::as_str)) {
            (Some(jwk), None) if by != By::Account => (jwk.clone(), None),
            (None, Some(kid)) if by != By::Key => {
                (key_of(kid).ok_or("no such account")?, Some(kid.to_string()))
            }
            _ => return Err("exactly one of jwk and kid has to sign, the right one".into()),
        };
        let input = format!("{}.{}", text(&body, "protected")?, text(&body, "payload")?);
        if !is_signed(&jwk, text(&header, "alg")?, input.as_bytes(), &decoded(&body, "signature")?)? {
            return Err("the signature does not hold".into());
        }
        Ok(Message {
            url: request.url.to_string(),
            nonce: text(&header, "nonce")?.to_string(),
            payload: if payload.is_empty() { Value::Null } else { parsed(&payload)? },
            jwk,
            kid,
        })
    }
}

/// The key that takes an account over, and what it says about that (RFC 8555 §7.3.5).
pub fn key_change(inner: &Value, url: &str) -> Checked<(Value, Value)> {
    let header: Value = parsed(&decoded(inner, "protected")?)?;
    if text(&header, "url")? != url || header.get("nonce").is_some() || header.get("kid").is_some() {
        return Err("the inner header is not that of a key change".into());
    }
    let jwk = header.get("jwk").ok_or("the inner jwk is missing")?;
    let input = format!("{}.{}", text(inner, "protected")?, text(inner, "payload")?);
    if !is_signed(jwk, text(&header, "alg")?, input.as_bytes(), &decoded(inner, "signature")?)? {
        return Err("the inner signature does not hold".into());
    }
    Ok((jwk.clone(), parsed(&decoded(inner, "payload")?)?))
}

/// Whether a certificate is for the key `jwk`.
pub fn is_certified(jwk: &Value, certificate: &openssl::x509::X509) -> bool {
    let key = certificate.public_key().unwrap();
    let members = |key: &PKey<Public>| -> Option<(Vec<u8>, Vec<u8>)> {
        if let Ok(rsa) = key.rsa() {
            return Some((rsa.n().to_vec(), rsa.e().to_vec()));
        }
        let ec = key.ec_key().ok()?;
        let (mut x, mut y, mut context) =
            (BigNum::new().ok()?, BigNum::new().ok()?, BigNumContext::new().ok()?);
        ec.public_key().affine_coordinates(ec.group(), &mut x, &mut y, &mut context).ok()?;
        Some((x.to_vec(), y.to_vec()))
    };
    let named = |a, b| Some((number(jwk, a).ok()?.to_vec(), number(jwk, b).ok()?.to_vec()));
    members(&key).is_some_and(|own| Some(own) == named("n", "e").or_else(|| named("x", "y")))
}

/// Whether `binding` ties the key `jwk` to the external account (RFC 8555 §7.3.4).
pub fn is_bound(binding: &Value, jwk: &Value, url: &str, kid: &str, secret: &[u8]) -> bool {
    let check = || -> Checked<bool> {
        let header: Value = parsed(&decoded(binding, "protected")?)?;
        let expected = json!({"alg": "HS256", "kid": kid, "url": url});
        let inner: Value = parsed(&decoded(binding, "payload")?)?;
        let input = format!("{}.{}", text(binding, "protected")?, text(binding, "payload")?);
        let key = PKey::hmac(secret).unwrap();
        let mac = Signer::new(MessageDigest::sha256(), &key).unwrap().sign_oneshot_to_vec(input.as_bytes());
        Ok(header == expected && inner == *jwk && mac.unwrap() == decoded(binding, "signature")?)
    };
    check().unwrap_or(false)
}

/// RFC 7638.
pub fn thumbprint(jwk: &Value) -> String {
    let mut members: Vec<(&String, &Value)> = jwk.as_object().unwrap().iter().collect();
    members.sort_by_key(|(name, _)| name.as_str());
    let canonical: Map<String, Value> = members.into_iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    BASE64URL_NOPAD.encode(&openssl::sha::sha256(Value::Object(canonical).to_string().as_bytes()))
}

fn is_signed(jwk: &Value, alg: &str, input: &[u8], signature: &[u8]) -> Checked<bool> {
    let kind = (text(jwk, "kty")?, jwk.get("crv").and_then(Value::as_str), alg);
    let (nid, digest, size) = match kind {
        ("RSA", None, "RS256") => {
            let key = Rsa::from_public_components(number(jwk, "n")?, number(jwk, "e")?).map_err(failed)?;
            let key: PKey<Public> = PKey::from_rsa(key).map_err(failed)?;
            let mut verifier = Verifier::new(MessageDigest::sha256(), &key).map_err(failed)?;
            return verifier.verify_oneshot(signature, input).map_err(failed);
        }
        ("EC", Some("P-256"), "ES256") => (Nid::X9_62_PRIME256V1, MessageDigest::sha256(), 32),
        ("EC", Some("P-384"), "ES384") => (Nid::SECP384R1, MessageDigest::sha384(), 48),
        other => return Err(format!("{other:?} do not go together")),
    };
    if signature.len() != 2 * size {
        return Err(format!("a signature of {} octets", signature.len()));
    }
    let group = EcGroup::from_curve_name(nid).map_err(failed)?;
    let mut point = EcPoint::new(&group).map_err(failed)?;
    let mut context = BigNumContext::new().map_err(failed)?;
    let (x, y) = (number(jwk, "x")?, number(jwk, "y")?);
    point.set_affine_coordinates_gfp(&group, &x, &y, &mut context).map_err(failed)?;
    let key = EcKey::from_public_key(&group, &point).map_err(failed)?;
    let half = |bytes: &[u8]| BigNum::from_hex_str(&HEXLOWER.encode(bytes)).map_err(failed);
    let (r, s) = (half(&signature[..size])?, half(&signature[size..])?);
    let signature = EcdsaSig::from_private_components(r, s).map_err(failed)?;
    signature.verify(&hash(digest, input).map_err(failed)?, &key).map_err(failed)
}

fn failed(e: openssl::error::ErrorStack) -> String {
    e.to_string()
}

fn parsed(bytes: &[u8]) -> Checked<Value> {
    serde_json::from_slice(bytes).map_err(|e| e.to_string())
}

fn text<'a>(value: &'a Value, key: &str) -> Checked<&'a str> {
    value.get(key).and_then(Value::as_str).ok_or_else(|| format!("{key} is missing"))
}

fn decoded(value: &Value, key: &str) -> Checked<Vec<u8>> {
    BASE64URL_NOPAD.decode(text(value, key)?.as_bytes()).map_err(|e| format!("{key}: {e}"))
}

fn number(jwk: &Value, key: &str) -> Checked<BigNum> {
    BigNum::from_slice(&decoded(jwk, key)?).map_err(failed)
}
