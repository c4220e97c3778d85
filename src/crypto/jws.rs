// SPDX-License-Identifier: Apache-2.0
//! JSON web signatures as ACME uses them (RFC 7515 flattened serialization, RFC 7517 keys, RFC 7638
//! thumbprints): RS256, ES256, ES384 and ES512 with account keys, HS256 for external account binding. Signs
//! and never verifies. Refuses keys of any other kind.

use super::{CpuLimit, Error, PrivateKey};
use data_encoding::BASE64URL_NOPAD;
use openssl::ec::EcKey;
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sha::sha256;
use openssl::sign::Signer;
use serde_json::{Map, Value, json};

/// The members of a protected header beside `alg`.
pub type Header = Map<String, Value>;

struct Curve {
    /// `crv` (RFC 7518 §6.2.1.1).
    name: &'static str,
    alg: &'static str,
    digest: MessageDigest,
    /// Octets of a coordinate, and of each half of a signature (RFC 7518 §3.4).
    size: i32,
}

/// The public key, members in the order RFC 7638 §3.2 hashes them.
pub fn jwk(key: &PrivateKey) -> Result<Value, Error> {
    if key.is_rsa() {
        let rsa = key.pkey().rsa()?;
        let text = |n: &openssl::bn::BigNumRef| BASE64URL_NOPAD.encode(&n.to_vec());
        return Ok(json!({"e": text(rsa.e()), "kty": "RSA", "n": text(rsa.n())}));
    }
    let (ec, curve) = elliptic(key)?;
    let (mut x, mut y) = (openssl::bn::BigNum::new()?, openssl::bn::BigNum::new()?);
    let mut context = openssl::bn::BigNumContext::new()?;
    ec.public_key().affine_coordinates(ec.group(), &mut x, &mut y, &mut context)?;
    let x = BASE64URL_NOPAD.encode(&x.to_vec_padded(curve.size)?);
    let y = BASE64URL_NOPAD.encode(&y.to_vec_padded(curve.size)?);
    Ok(json!({"crv": curve.name, "kty": "EC", "x": x, "y": y}))
}

/// The SHA-256 thumbprint of the public key (RFC 7638), base64url.
pub fn thumbprint(key: &PrivateKey) -> Result<String, Error> {
    Ok(digest_of(&jwk(key)?))
}

fn digest_of(jwk: &Value) -> String {
    BASE64URL_NOPAD.encode(&sha256(jwk.to_string().as_bytes()))
}

/// Signs `payload` with an account key; `alg` is added to `protected`. An empty payload makes a
/// POST-as-GET (RFC 8555 §6.3). RSA signatures, which take milliseconds, are made within `limit`.
pub fn sign(key: &PrivateKey, protected: Header, payload: &[u8], limit: &CpuLimit) -> Result<Value, Error> {
    if key.is_rsa() {
        return flattened("RS256", protected, payload, |input| {
            let (key, input) = (key.clone(), input.to_vec());
            let signature = limit.run_behind(move || {
                let mut signer = Signer::new(MessageDigest::sha256(), key.pkey())?;
                Ok(signer.sign_oneshot_to_vec(&input)?)
            });
            signature.unwrap_or(Err(Error::Stopped))
        });
    }
    let (ec, curve) = elliptic(key)?;
    flattened(curve.alg, protected, payload, |input| {
        let hash = openssl::hash::hash(curve.digest, input)?;
        let signature = EcdsaSig::sign(&hash, &ec)?;
        let mut out = signature.r().to_vec_padded(curve.size)?;
        out.extend(signature.s().to_vec_padded(curve.size)?);
        Ok(out)
    })
}

/// Signs `payload` with a shared secret, HS256 (RFC 8555 §7.3.4).
pub fn hmac_sign(secret: &[u8], protected: Header, payload: &[u8]) -> Result<Value, Error> {
    flattened("HS256", protected, payload, |input| hmac_sha256(secret, input))
}

fn hmac_sha256(secret: &[u8], input: &[u8]) -> Result<Vec<u8>, Error> {
    let key = PKey::hmac(secret)?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    Ok(signer.sign_oneshot_to_vec(input)?)
}

fn elliptic(key: &PrivateKey) -> Result<(EcKey<Private>, Curve), Error> {
    let ec = key.pkey().ec_key().map_err(|_| unsupported())?;
    let (name, alg, digest, size) = match ec.group().curve_name() {
        Some(Nid::X9_62_PRIME256V1) => ("P-256", "ES256", MessageDigest::sha256(), 32),
        Some(Nid::SECP384R1) => ("P-384", "ES384", MessageDigest::sha384(), 48),
        Some(Nid::SECP521R1) => ("P-521", "ES512", MessageDigest::sha512(), 66),
        _ => return Err(unsupported()),
    };
    Ok((ec, Curve { name, alg, digest, size }))
}

fn unsupported() -> Error {
    Error::Invalid("an account key must be RSA or on the curve P-256, P-384 or P-521".into())
}

fn flattened(
    alg: &str,
    mut protected: Header,
    payload: &[u8],
    signature: impl FnOnce(&[u8]) -> Result<Vec<u8>, Error>,
) -> Result<Value, Error> {
    protected.insert("alg".into(), json!(alg));
    let protected = BASE64URL_NOPAD.encode(Value::Object(protected).to_string().as_bytes());
    let payload = BASE64URL_NOPAD.encode(payload);
    let signature = signature(format!("{protected}.{payload}").as_bytes())?;
    let signature = BASE64URL_NOPAD.encode(&signature);
    Ok(json!({"protected": protected, "payload": payload, "signature": signature}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeySpec;
    use openssl::bn::BigNum;
    use openssl::ec::{EcGroup, EcPoint};
    use openssl::rsa::RsaPrivateKeyBuilder;

    const PAYLOAD: &[u8] =
        b"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";

    fn number(text: &str) -> BigNum {
        BigNum::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap()
    }

    fn private(key: PKey<Private>) -> PrivateKey {
        PrivateKey::from_pem(&key.private_key_to_pem_pkcs8().unwrap()).unwrap()
    }

    /// The members OpenSSL cannot do without (RFC 8017 §3.2).
    fn crt(p: &BigNum, q: &BigNum, d: &BigNum) -> (BigNum, BigNum, BigNum) {
        let mut context = openssl::bn::BigNumContext::new().unwrap();
        let mut modulo_less_one = |prime: &BigNum| {
            let mut less = BigNum::from_slice(&prime.to_vec()).unwrap();
            let mut out = BigNum::new().unwrap();
            less.sub_word(1).unwrap();
            out.nnmod(d, &less, &mut context).unwrap();
            out
        };
        let (dp, dq) = (modulo_less_one(p), modulo_less_one(q));
        let mut qi = BigNum::new().unwrap();
        qi.mod_inverse(q, p, &mut context).unwrap();
        (dp, dq, qi)
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638_section_3_1() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWK\
                 RXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMic\
                 AtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3\
                 XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let jwk = json!({"e": "AQAB", "kty": "RSA", "n": n});
        assert_eq!(digest_of(&jwk), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn jwk_members_stand_in_the_order_that_is_hashed() {
        let members = |spec| {
            let value = jwk(&PrivateKey::generate(&spec).unwrap()).unwrap();
            value.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(members(KeySpec::Rsa(2048)), ["e", "kty", "n"]);
        assert_eq!(members(KeySpec::Ec("P-256".into())), ["crv", "kty", "x", "y"]);
    }

    #[test]
    fn rs256_makes_the_signature_of_rfc_7515_a_2() {
        let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4Ql\
                 L-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUs\
                 LA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoud\
                 F8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
        let d = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe\
                 46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9J\
                 YanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuh\
                 LhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ";
        let p = "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJ\
                 NPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc";
        let q = "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD\
                 66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc";
        let (p, q, d) = (number(p), number(q), number(d));
        let (dp, dq, qi) = crt(&p, &q, &d);
        let key = RsaPrivateKeyBuilder::new(number(n), number("AQAB"), d)
            .and_then(|key| key.set_factors(p, q))
            .and_then(|key| key.set_crt_params(dp, dq, qi))
            .unwrap()
            .build();
        let key = private(PKey::from_rsa(key).unwrap());
        let jws = sign(&key, Header::new(), PAYLOAD, &CpuLimit::default()).unwrap();
        assert_eq!(jws["protected"], "eyJhbGciOiJSUzI1NiJ9");
        assert_eq!(
            jws["signature"],
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9u\
             JdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_\
             eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqV\
             t5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
        );
    }

    /// The key of RFC 7515 A.3 and a check that is not our code: r and s as two halves.
    fn check(key: &PrivateKey, digest: MessageDigest, jws: &Value) -> bool {
        let input = format!("{}.{}", jws["protected"].as_str().unwrap(), jws["payload"].as_str().unwrap());
        let raw = BASE64URL_NOPAD.decode(jws["signature"].as_str().unwrap().as_bytes()).unwrap();
        let (r, s) = raw.split_at(raw.len() / 2);
        let signature =
            EcdsaSig::from_private_components(BigNum::from_slice(r).unwrap(), BigNum::from_slice(s).unwrap());
        let hash = openssl::hash::hash(digest, input.as_bytes()).unwrap();
        signature.unwrap().verify(&hash, &key.pkey().ec_key().unwrap()).unwrap()
    }

    #[test]
    fn es256_signs_as_rfc_7515_a_3_verifies() {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let (x, y) =
            ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        let mut context = openssl::bn::BigNumContext::new().unwrap();
        let mut point = EcPoint::new(&group).unwrap();
        let (nx, ny) = (number(x), number(y));
        point.set_affine_coordinates_gfp(&group, &nx, &ny, &mut context).unwrap();
        let d = number("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI");
        let key = EcKey::from_private_components(&group, &d, &point).unwrap();
        let key = private(PKey::from_ec_key(key).unwrap());
        assert_eq!(jwk(&key).unwrap(), json!({"crv": "P-256", "kty": "EC", "x": x, "y": y}));
        let of_the_rfc = json!({
            "protected": "eyJhbGciOiJFUzI1NiJ9",
            "payload": "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "signature": "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        });
        assert!(check(&key, MessageDigest::sha256(), &of_the_rfc));
        let ours = sign(&key, Header::new(), PAYLOAD, &CpuLimit::default()).unwrap();
        assert_eq!(ours["protected"], of_the_rfc["protected"]);
        assert_eq!(ours["payload"], of_the_rfc["payload"]);
        assert!(check(&key, MessageDigest::sha256(), &ours));
    }

    #[test]
    fn halves_of_an_ecdsa_signature_are_always_padded_to_their_size() {
        for (curve, digest, size) in
            [("P-256", MessageDigest::sha256(), 64), ("P-384", MessageDigest::sha384(), 96)]
        {
            let key = PrivateKey::generate(&KeySpec::Ec(curve.into())).unwrap();
            // About every 128th signature has a half with a leading zero octet.
            for i in 0..300u32 {
                let jws = sign(&key, Header::new(), &i.to_be_bytes(), &CpuLimit::default()).unwrap();
                let raw = BASE64URL_NOPAD.decode(jws["signature"].as_str().unwrap().as_bytes()).unwrap();
                assert_eq!(raw.len(), size);
                assert!(check(&key, digest, &jws));
            }
        }
    }

    #[test]
    fn hs256_is_that_of_rfc_7515_a_1() {
        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let secret = BASE64URL_NOPAD.decode(secret.as_bytes()).unwrap();
        let input = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                     eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let mac = hmac_sha256(&secret, input.as_bytes()).unwrap();
        assert_eq!(BASE64URL_NOPAD.encode(&mac), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let jws = hmac_sign(&secret, Header::new(), b"x").unwrap();
        assert_eq!(jws["protected"], "eyJhbGciOiJIUzI1NiJ9");
    }

    #[test]
    fn keys_that_no_alg_is_for_are_refused() {
        let key = PrivateKey::generate(&KeySpec::Ec("secp256k1".into())).unwrap();
        assert!(jwk(&key).is_err());
        assert!(sign(&key, Header::new(), b"", &CpuLimit::default()).is_err());
    }
}
