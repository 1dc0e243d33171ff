//! Key pairs.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

use super::{b64, random, rsa, thumbprint, unb64};

/// A key pair of a client.
#[derive(Clone)]
pub struct Key(Arc<Pair>);

enum Pair {
    P256(SigningKey),
    P384(EcdsaKeyPair),
    P521(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair, [u8; 32]),
    Rsa(RsaKeyPair),
}

/// A JWK is not a private key that the suite can sign with.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not a private JWK with a P-256, Ed25519 or RSA key")]
pub struct BadKey;

impl Key {
    /// A new P-256 key, for `ES256`.
    ///
    /// # Panics
    /// Where the machine has no randomness; so do the other constructors.
    pub fn es256() -> Self {
        // Almost every 32 bytes are a scalar; try until they are.
        loop {
            if let Ok(key) = SigningKey::from_slice(&random::<32>()) {
                return Self(Arc::new(Pair::P256(key)));
            }
        }
    }

    /// A new P-384 key, for `ES384`.
    ///
    /// # Panics
    /// See [`Key::es256`].
    pub fn es384() -> Self {
        Self(Arc::new(Pair::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a P-384 key"))))
    }

    /// A new P-521 key, for `ES512`.
    ///
    /// # Panics
    /// See [`Key::es256`].
    pub fn es512() -> Self {
        Self(Arc::new(Pair::P521(EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).expect("a P-521 key"))))
    }

    /// A new Ed25519 key, for `EdDSA`.
    ///
    /// # Panics
    /// See [`Key::es256`].
    pub fn ed25519() -> Self {
        let seed = random();
        Self(Arc::new(Pair::Ed25519(Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed of 32 bytes"), seed)))
    }

    /// A new RSA key of 2048 bits, for `PS256`.
    ///
    /// # Panics
    /// See [`Key::es256`].
    pub fn rsa() -> Self {
        Self(Arc::new(Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key"))))
    }

    /// A new key for this algorithm, where the suite can make one.
    pub(crate) fn for_alg(alg: &str) -> Option<Self> {
        Some(match alg {
            "ES256" => Self::es256(),
            "ES384" => Self::es384(),
            "ES512" => Self::es512(),
            "EdDSA" | "Ed25519" => Self::ed25519(),
            "PS256" | "RS256" => Self::rsa(),
            _ => return None,
        })
    }

    /// Reads a private JWK: P-256, Ed25519 or RSA.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn from_jwk(jwk: &Value) -> Result<Self, BadKey> {
        let bytes = |name: &str| jwk[name].as_str().and_then(unb64).ok_or(BadKey);
        let pair = match (jwk["kty"].as_str(), jwk["crv"].as_str()) {
            (Some("EC"), Some("P-256")) => Pair::P256(SigningKey::from_slice(&bytes("d")?).map_err(|_| BadKey)?),
            (Some("OKP"), Some("Ed25519")) => {
                let seed: [u8; 32] = bytes("d")?.try_into().map_err(|_| BadKey)?;
                Pair::Ed25519(Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| BadKey)?, seed)
            }
            (Some("RSA"), _) => {
                let parts: Result<Vec<Vec<u8>>, BadKey> =
                    ["n", "e", "d", "p", "q", "dp", "dq", "qi"].iter().map(|name| bytes(name)).collect();
                Pair::Rsa(RsaKeyPair::from_der(&rsa::private_der(&parts?)).map_err(|_| BadKey)?)
            }
            _ => return Err(BadKey),
        };
        Ok(Self(Arc::new(pair)))
    }

    /// The algorithm that the key signs with.
    pub fn alg(&self) -> &'static str {
        match &*self.0 {
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::P521(_) => "ES512",
            Pair::Ed25519(..) => "EdDSA",
            Pair::Rsa(_) => "PS256",
        }
    }

    /// The public key as a JWK with nothing but what the thumbprint needs.
    pub fn jwk(&self) -> Value {
        let ec = |crv: &str, point: &[u8]| {
            // 0x04, x, y.
            let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
            json!({"kty": "EC", "crv": crv, "x": b64(x), "y": b64(y)})
        };
        match &*self.0 {
            Pair::P256(key) => ec("P-256", key.verifying_key().to_sec1_point(false).as_bytes()),
            Pair::P384(pair) => ec("P-384", pair.public_key().as_ref()),
            Pair::P521(pair) => ec("P-521", pair.public_key().as_ref()),
            Pair::Ed25519(pair, _) => json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref())}),
            Pair::Rsa(pair) => {
                let (n, e) = rsa::public_parts(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": b64(n), "e": b64(e)})
            }
        }
    }

    /// The private key as a JWK. `None` for keys that only the suite itself uses.
    pub fn private_jwk(&self) -> Option<Value> {
        let d = match &*self.0 {
            Pair::P256(key) => b64(key.to_bytes()),
            Pair::Ed25519(_, seed) => b64(seed),
            Pair::P384(_) | Pair::P521(_) | Pair::Rsa(_) => return None,
        };
        let mut jwk = self.jwk();
        jwk["d"] = json!(d);
        Some(jwk)
    }

    /// The thumbprint of the public key (RFC 7638).
    pub fn jkt(&self) -> String {
        thumbprint(&self.jwk())
    }

    /// The signature over `input` with the key's own algorithm.
    ///
    /// # Panics
    /// Never: the keys are sound.
    pub(crate) fn sign(&self, input: &[u8]) -> Vec<u8> {
        match &*self.0 {
            Pair::P256(key) => {
                let signature: Signature = key.sign(input);
                signature.to_bytes().to_vec()
            }
            Pair::P384(pair) | Pair::P521(pair) => pair.sign(&SystemRandom::new(), input).expect("a sound key signs").as_ref().to_vec(),
            Pair::Ed25519(pair, _) => pair.sign(input).as_ref().to_vec(),
            Pair::Rsa(pair) => sign_rsa(pair, &RSA_PSS_SHA256, input),
        }
    }

    /// The signature over `input` as `alg` has it, where that is another one of this key: `RS256` of an RSA key.
    pub(crate) fn sign_as(&self, alg: &str, input: &[u8]) -> Vec<u8> {
        match (&*self.0, alg) {
            (Pair::Rsa(pair), "RS256") => sign_rsa(pair, &RSA_PKCS1_SHA256, input),
            _ => self.sign(input),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({} {})", self.alg(), self.jkt())
    }
}

fn sign_rsa(pair: &RsaKeyPair, encoding: &'static dyn RsaEncoding, input: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), input, &mut signature).expect("a sound key signs");
    signature
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};

    #[test]
    fn signatures_verify_with_another_library() {
        let key = Key::es256();
        let jwk = key.jwk();
        let mut point = vec![4];
        for name in ["x", "y"] {
            point.extend(unb64(jwk[name].as_str().expect("a coordinate")).expect("base64url"));
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(b"text", &key.sign(b"text")).expect("a good signature");
        let key = Key::ed25519();
        let x = unb64(key.jwk()["x"].as_str().expect("x")).expect("base64url");
        UnparsedPublicKey::new(&ED25519, x).verify(b"text", &key.sign(b"text")).expect("a good signature");
    }

    #[test]
    fn a_private_jwk_gives_the_same_key_again() {
        for key in [Key::es256(), Key::ed25519()] {
            let again = Key::from_jwk(&key.private_jwk().expect("a private JWK")).expect("a key");
            assert_eq!(again.jkt(), key.jkt());
        }
        assert!(Key::from_jwk(&Key::es256().jwk()).is_err(), "a public JWK is no private key");
    }
}
