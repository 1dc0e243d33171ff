//! Keys, signatures and thumbprints, straight on aws-lc-rs.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING, ED25519,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaKeyPair,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Base64url without padding.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes base64url without padding.
///
/// # Panics
/// On anything else.
pub fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url without padding")
}

/// SHA-256.
pub fn sha256(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    digest(&SHA256, bytes.as_ref()).as_ref().to_vec()
}

/// `N` random bytes.
///
/// # Panics
/// Where the machine has no randomness.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes).expect("the operating system provides random bytes");
    bytes
}

/// A key pair that signs proofs and client assertions.
#[derive(Clone)]
pub struct Key(Arc<Pair>);

enum Pair {
    Es256(EcdsaKeyPair),
    Es384(EcdsaKeyPair),
    /// Used as PS256, and as RS256 where a test wants what is refused.
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair, [u8; 32]),
}

impl Key {
    /// A new P-256 key.
    ///
    /// # Panics
    /// Where no key can be made; so do the other constructors.
    pub fn es256() -> Self {
        Self(Arc::new(Pair::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a P-256 key"))))
    }

    /// A new P-384 key.
    ///
    /// # Panics
    /// Where no key can be made.
    pub fn es384() -> Self {
        Self(Arc::new(Pair::Es384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a P-384 key"))))
    }

    /// A new RSA key of 2048 bits with exponent 65537.
    ///
    /// # Panics
    /// Where no key can be made.
    pub fn ps256() -> Self {
        Self(Arc::new(Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key"))))
    }

    /// A new Ed25519 key.
    ///
    /// # Panics
    /// Where no key can be made.
    pub fn ed25519() -> Self {
        let seed = random();
        Self(Arc::new(Pair::Ed25519(Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed of 32 bytes"), seed)))
    }

    /// The algorithm that the key is meant for.
    pub fn alg(&self) -> &'static str {
        match &*self.0 {
            Pair::Es256(_) => "ES256",
            Pair::Es384(_) => "ES384",
            Pair::Rsa(_) => "PS256",
            Pair::Ed25519(..) => "EdDSA",
        }
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> Value {
        match &*self.0 {
            Pair::Es256(pair) => ec_jwk("P-256", pair),
            Pair::Es384(pair) => ec_jwk("P-384", pair),
            Pair::Rsa(pair) => {
                let (n, e) = rsa_public_parts(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": b64(n), "e": b64(e)})
            }
            Pair::Ed25519(pair, _) => json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref())}),
        }
    }

    /// The private key as a JWK.
    ///
    /// # Panics
    /// For RSA keys, whose parts aws-lc-rs does not show.
    pub fn private_jwk(&self) -> Value {
        let mut jwk = self.jwk();
        jwk["d"] = match &*self.0 {
            Pair::Es256(pair) | Pair::Es384(pair) => {
                use aws_lc_rs::encoding::AsBigEndian as _;
                let scalar: aws_lc_rs::encoding::EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().expect("a scalar");
                json!(b64(scalar.as_ref()))
            }
            Pair::Ed25519(_, seed) => json!(b64(seed)),
            Pair::Rsa(_) => panic!("no private JWK of an RSA key"),
        };
        jwk
    }

    /// The thumbprint of the public key (RFC 7638).
    pub fn jkt(&self) -> String {
        thumbprint(&self.jwk())
    }

    /// Signs with the key's own algorithm.
    ///
    /// # Panics
    /// Where signing fails.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let rng = SystemRandom::new();
        match &*self.0 {
            Pair::Es256(pair) | Pair::Es384(pair) => pair.sign(&rng, message).expect("a signature").as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PSS_SHA256, &rng, message, &mut signature).expect("a signature");
                signature
            }
            Pair::Ed25519(pair, _) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// Signs with RSASSA-PKCS1-v1_5 and SHA-256 (RS256).
    ///
    /// # Panics
    /// For keys that are not RSA keys.
    pub fn sign_rs256(&self, message: &[u8]) -> Vec<u8> {
        let Pair::Rsa(pair) = &*self.0 else { panic!("not an RSA key") };
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).expect("a signature");
        signature
    }

    /// A compact JWS over `header` and `claims` as they are.
    pub fn jws(&self, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = self.sign(input.as_bytes());
        format!("{input}.{}", b64(signature))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {})", self.alg(), self.jkt())
    }
}

fn ec_jwk(crv: &str, pair: &EcdsaKeyPair) -> Value {
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({"kty": "EC", "crv": crv, "x": b64(x), "y": b64(y)})
}

/// Modulus and exponent of a DER `RSAPublicKey` of 2048 bits: a sequence with a header of 4 bytes, then two integers, the first
/// with a header of 4 bytes and a sign byte, the second with a header of 2.
fn rsa_public_parts(der: &[u8]) -> (&[u8], &[u8]) {
    let modulus = &der[9..9 + 256];
    (modulus, &der[9 + 256 + 2..])
}

/// The SHA-256 thumbprint of a public JWK (RFC 7638 section 3): required members only, sorted, without white space.
///
/// # Panics
/// For other kinds than EC, RSA and OKP, and where a member is missing.
pub fn thumbprint(jwk: &Value) -> String {
    let members: &[&str] = match jwk["kty"].as_str() {
        Some("EC") => &["crv", "kty", "x", "y"],
        Some("RSA") => &["e", "kty", "n"],
        Some("OKP") => &["crv", "kty", "x"],
        other => panic!("no thumbprint for kty {other:?}"),
    };
    let text: Vec<String> = members.iter().map(|name| format!("\"{name}\":{}", jwk[name])).collect();
    b64(sha256(format!("{{{}}}", text.join(","))))
}

/// Whether `signature` over `message` is the key's, for `alg` of ES256, ES384, PS256, EdDSA and Ed25519.
///
/// # Panics
/// For JWKs that are malformed and for other algorithms.
pub fn verify(jwk: &Value, alg: &str, message: &[u8], signature: &[u8]) -> bool {
    let member = |name: &str| unb64(jwk[name].as_str().unwrap_or_else(|| panic!("the JWK has no {name}")));
    match alg {
        "ES256" | "ES384" => {
            let point = [vec![4], member("x"), member("y")].concat();
            let algorithm = if alg == "ES256" { &ECDSA_P256_SHA256_FIXED } else { &ECDSA_P384_SHA384_FIXED };
            UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok()
        }
        "EdDSA" | "Ed25519" => UnparsedPublicKey::new(&ED25519, member("x")).verify(message, signature).is_ok(),
        "PS256" => RsaPublicKeyComponents { n: member("n"), e: member("e") }.verify(&RSA_PSS_2048_8192_SHA256, message, signature).is_ok(),
        other => panic!("no verification for {other}"),
    }
}

/// Header, claims, signed text and signature of a compact JWS, decoded but not verified.
///
/// # Panics
/// Where it is not a compact JWS of two JSON objects.
pub fn split(jws: &str) -> (Value, Value, String, Vec<u8>) {
    let parts: Vec<&str> = jws.split('.').collect();
    assert_eq!(parts.len(), 3, "a compact JWS has three parts");
    let object = |text: &str| serde_json::from_slice(&unb64(text)).expect("JSON");
    (object(parts[0]), object(parts[1]), format!("{}.{}", parts[0], parts[1]), unb64(parts[2]))
}

/// Another valid ES256 signature over the same bytes, made without the key: `(r, s)` becomes `(r, n - s)`.
///
/// # Panics
/// Where `jws` is not a compact JWS with a signature of 64 bytes.
pub fn malleated(jws: &str) -> String {
    let (input, signature) = jws.rsplit_once('.').expect("three parts");
    let mut signature = unb64(signature);
    assert_eq!(signature.len(), 64, "an ES256 signature");
    let mut borrow = 0_i16;
    for index in (0..32).rev() {
        let difference = i16::from(P256_ORDER[index]) - i16::from(signature[32 + index]) - borrow;
        borrow = i16::from(difference < 0);
        signature[32 + index] = u8::try_from(difference.rem_euclid(256)).expect("one byte");
    }
    format!("{input}.{}", b64(signature))
}

/// The order of the group of P-256.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
    0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// JOSE-02, CNF-06
    #[test]
    fn thumbprints_are_those_of_the_rfcs() {
        let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        assert_eq!(thumbprint(&ed25519), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let ec = json!({"kty": "EC", "crv": "P-256", "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"});
        assert_eq!(thumbprint(&ec), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    }

    #[test]
    fn every_kind_of_key_verifies_its_own_signatures() {
        for key in [Key::es256(), Key::es384(), Key::ps256(), Key::ed25519()] {
            let signature = key.sign(b"message");
            assert!(verify(&key.jwk(), key.alg(), b"message", &signature), "{key:?}");
            assert!(!verify(&key.jwk(), key.alg(), b"massage", &signature), "{key:?}");
        }
    }

    #[test]
    fn the_malleated_twin_differs_and_verifies() {
        let key = Key::es256();
        let jws = key.jws(&json!({"alg": "ES256"}), &json!({"jti": "1"}));
        let twin = malleated(&jws);
        assert_ne!(jws, twin);
        let (_, _, input, signature) = split(&twin);
        assert!(verify(&key.jwk(), "ES256", input.as_bytes(), &signature));
        assert_eq!(malleated(&twin), jws);
    }
}
