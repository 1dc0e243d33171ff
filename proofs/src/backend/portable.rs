//! Verification in Rust alone.

use p256::ecdsa::signature::Verifier as _;

use super::{InvalidSignature, Verifier};
use crate::jwk::KeyMaterial;
use crate::{Alg, AlgSet, PublicJwk};

/// Verifies with p256, p384 and ed25519-dalek: everything but PS256, for which there is no RSA here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

impl Verifier for Portable {
    fn algs(&self) -> AlgSet {
        [Alg::Es256, Alg::Es384, Alg::EdDsa, Alg::Ed25519].into_iter().collect()
    }

    fn verify(&self, alg: Alg, key: &PublicJwk, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        match (alg, key.material()) {
            (Alg::Es256, KeyMaterial::P256(point)) => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| InvalidSignature)?;
                let signature = p256::ecdsa::Signature::from_slice(signature).map_err(|_| InvalidSignature)?;
                key.verify(message, &signature).map_err(|_| InvalidSignature)
            }
            (Alg::Es384, KeyMaterial::P384(point)) => {
                let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| InvalidSignature)?;
                let signature = p384::ecdsa::Signature::from_slice(signature).map_err(|_| InvalidSignature)?;
                key.verify(message, &signature).map_err(|_| InvalidSignature)
            }
            (Alg::EdDsa | Alg::Ed25519, KeyMaterial::Ed25519(point)) => {
                let key = ed25519_dalek::VerifyingKey::from_bytes(point).map_err(|_| InvalidSignature)?;
                let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| InvalidSignature)?;
                key.verify_strict(message, &signature).map_err(|_| InvalidSignature)
            }
            _ => Err(InvalidSignature),
        }
    }
}
