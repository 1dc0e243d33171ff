//! Signatures and keys that a verifier has to know better than.

use aws_lc_rs::hmac;
use num_bigint::BigUint;
use serde_json::{Value, json};

use super::rsa::{integer, padded, pss, tagged};
use super::{b64, random, unb64};

/// The other signature: for a P-256 signature `(r, s)` the pair `(r, n - s)`, which verifies as well.
pub(crate) fn malleate(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let mut other = r.to_vec();
    let s = BigUint::from_bytes_be(s);
    let n = number(P256_ORDER);
    other.extend(padded(&(if s <= n { n - s } else { s }), 32));
    other
}

/// A P-256 signature as ASN.1, which JWS does not use.
pub(crate) fn der_of(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    tagged(0x30, &[integer(r), integer(s)].concat())
}

/// A P-256 signature with `s` enlarged by the order, in 33 bytes: the same residue, another spelling.
pub(crate) fn p256_wide(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    [padded(&BigUint::from_bytes_be(r), 33), padded(&(BigUint::from_bytes_be(s) + number(P256_ORDER)), 33)].concat()
}

/// The point of a P-256 key mirrored: a key that did not sign.
pub(crate) fn negate_y(jwk: &Value) -> Value {
    let y = jwk["y"].as_str().and_then(unb64).unwrap_or_default();
    let mut other = jwk.clone();
    let y = BigUint::from_bytes_be(&y);
    other["y"] = json!(b64(padded(&(number(P256_PRIME) - y), 32)));
    other
}

/// An Ed25519 signature with `S` enlarged by the order of the group: the same residue, another spelling.
pub(crate) fn curve25519_plus_order(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let mut bytes = (BigUint::from_bytes_le(s) + number(ED25519_ORDER)).to_bytes_le();
    bytes.resize(32, 0);
    [r, &bytes].concat()
}

/// A public Ed25519 key that is the identity, and the signature that verifies with it over anything.
pub(crate) fn ed25519_identity_key() -> (Value, Vec<u8>) {
    let mut identity = vec![0; 32];
    identity[0] = 1;
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(&identity)});
    identity.resize(64, 0);
    (jwk, identity)
}

/// An RSA key with the exponent 1, for which everyone can sign: the public JWK and a signature over `input`.
pub(crate) fn rsa_forged_with_exponent_one(input: impl FnOnce(&Value) -> Vec<u8>) -> (Value, Vec<u8>) {
    let mut modulus = random::<256>();
    modulus[0] |= 0x80;
    modulus[255] |= 1;
    let jwk = json!({"kty": "RSA", "n": b64(modulus), "e": "AQ"});
    let signature = pss(&input(&jwk), 256);
    (jwk, signature)
}

/// `HS256`.
pub(crate) fn hs256(secret: &[u8], input: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes()).as_ref().to_vec()
}

fn number(hex: &[u8]) -> BigUint {
    BigUint::parse_bytes(hex, 16).unwrap_or_default()
}

const P256_ORDER: &[u8] = b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const P256_PRIME: &[u8] = b"ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";
const ED25519_ORDER: &[u8] = b"1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Key;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};

    fn verifies(key: &Key, signature: &[u8]) -> bool {
        let jwk = key.jwk();
        let mut point = vec![4];
        for name in ["x", "y"] {
            point.extend(unb64(jwk[name].as_str().unwrap_or_default()).unwrap_or_default());
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(b"text", signature).is_ok()
    }

    #[test]
    fn the_malleated_twin_verifies_too() {
        let key = Key::es256();
        let signature = key.sign(b"text");
        let twin = malleate(&signature);
        assert_ne!(signature, twin);
        assert!(verifies(&key, &signature) && verifies(&key, &twin));
    }

    #[test]
    fn the_identity_signs_everything_for_a_lenient_verifier() {
        let (jwk, signature) = ed25519_identity_key();
        let x = unb64(jwk["x"].as_str().unwrap_or_default()).unwrap_or_default();
        assert!(UnparsedPublicKey::new(&ED25519, x).verify(b"anything", &signature).is_ok(), "the forgery is one");
    }
}
