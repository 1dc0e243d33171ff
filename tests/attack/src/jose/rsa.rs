//! RSA by hand: keys that are too small for any library, and the little DER that the others want.

use num_bigint::BigUint;
use serde_json::{Value, json};

use super::{b64, random, sha256};

/// The modulus and the exponent of a DER `RSAPublicKey`.
pub(super) fn public_parts(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut rest = der;
    let body = element(&mut rest);
    let mut rest = body;
    let trimmed = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    let n = trimmed(element(&mut rest));
    (n, trimmed(element(&mut rest)))
}

/// A DER `RSAPrivateKey` of n, e, d, p, q, dp, dq and qi.
pub(super) fn private_der(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![2, 1, 0];
    for part in parts {
        body.extend(integer(part));
    }
    tagged(0x30, &body)
}

/// An unsigned DER `INTEGER`.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let mut value: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    if value.first().is_none_or(|byte| *byte >= 0x80) {
        value.insert(0, 0);
    }
    tagged(2, &value)
}

/// A DER element.
pub(super) fn tagged(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match body.len() {
        short @ 0..0x80 => der.extend(u8::try_from(short)),
        long => {
            let bytes: Vec<u8> = long.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            der.push(0x80 | u8::try_from(bytes.len()).unwrap_or_default());
            der.extend(bytes);
        }
    }
    der.extend(body);
    der
}

/// The body of the first element, which is taken off. Empty where there is none.
fn element<'a>(der: &mut &'a [u8]) -> &'a [u8] {
    let [_, first, rest @ ..] = *der else { return &[] };
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (bytes, rest) = rest.split_at(usize::from(first & 0x7f).min(rest.len()));
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (body, rest) = rest.split_at(length.min(rest.len()));
    *der = rest;
    body
}

/// A proof key of 1024 bits: the public JWK, and a `PS256` signature over `input` that verifies with it.
pub(crate) fn small_rsa(input: impl FnOnce(&Value) -> Vec<u8>) -> (Value, Vec<u8>) {
    let n = BigUint::parse_bytes(SMALL_MODULUS, 16).unwrap_or_default();
    let d = BigUint::parse_bytes(SMALL_EXPONENT, 16).unwrap_or_default();
    let jwk = json!({"kty": "RSA", "n": b64(n.to_bytes_be()), "e": "AQAB"});
    let signature = BigUint::from_bytes_be(&pss(&input(&jwk), 128)).modpow(&d, &n);
    (jwk, padded(&signature, 128))
}

/// A number in exactly `length` bytes.
pub(super) fn padded(number: &BigUint, length: usize) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    let mut padded = vec![0; length.saturating_sub(bytes.len())];
    padded.extend(bytes);
    padded
}

/// EMSA-PSS with SHA-256 and a salt of 32 bytes, for a modulus of `length` bytes with its highest bit set (RFC 8017 section 9.1.1).
pub(super) fn pss(message: &[u8], length: usize) -> Vec<u8> {
    let salt = random::<32>();
    let mut prime = vec![0; 8];
    prime.extend(sha256(message));
    prime.extend(salt);
    let digest = sha256(prime);
    let mut block = vec![0; length - 32 - 32 - 2];
    block.push(1);
    block.extend(salt);
    for (byte, mask) in block.iter_mut().zip(mask(&digest)) {
        *byte ^= mask;
    }
    block[0] &= 0x7f;
    block.extend(digest);
    block.push(0xbc);
    block
}

/// MGF1 with SHA-256.
fn mask(seed: &[u8]) -> impl Iterator<Item = u8> {
    (0_u32..).flat_map(move |counter| {
        let mut block = seed.to_vec();
        block.extend(counter.to_be_bytes());
        sha256(block)
    })
}

/// A throw-away key of 1024 bits. It protects nothing: that a server takes it at all is what is tested.
const SMALL_MODULUS: &[u8] = b"ed689cd7b7aa88f6b6289fcd66cd165add2e00aff924f4211a6a1e96f9ec8cd22aea27ccc77985827a355ece4c3c7abad7fbbcff1bf651ff0b3f3\
88822a9702641edbb324894153bedfb256a48b3c7ab33eaa4677119f0e3056cc32109696b4bef2751445c3013dc02fa9231eda634558e6f56acba6edef5b696729f45d3190d";
const SMALL_EXPONENT: &[u8] =
    b"2d4455238c91a7abe2efbc089e215cb1d69a7ee70eca4d0242d7191e10695a30789e4d186eb06d1483d8c94aec9e5b8864c64b331951ce30a3245\
ad31a48d4691900436090573db6bd00b691fe74c66747a073ea46f98135324041ad1d8c042d01998b8baf0db08d33cb9b8e9eb57b6a3505e4495fc37db444b51d5ac5756ad";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::unb64;
    use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents};

    #[test]
    fn the_padding_is_what_a_library_takes() {
        // With an exponent of 1 the padding is its own signature; a library would refuse that key, so encode for a real one.
        let (jwk, signature) = small_rsa(|_| b"text".to_vec());
        let n = BigUint::from_bytes_be(&unb64(jwk["n"].as_str().expect("n")).expect("base64url"));
        let block = BigUint::from_bytes_be(&signature).modpow(&BigUint::from(65_537_u32), &n).to_bytes_be();
        assert_eq!((block.len(), block[127]), (128, 0xbc));
        let components = RsaPublicKeyComponents { n: n.to_bytes_be(), e: vec![1, 0, 1] };
        assert!(components.verify(&RSA_PSS_2048_8192_SHA256, b"text", &signature).is_err(), "1024 bits are refused by a good library");
    }
}
