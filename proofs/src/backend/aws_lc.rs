//! Verification with AWS-LC.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};

use super::{InvalidSignature, Verifier};
use crate::edwards;
use crate::jwk::KeyMaterial;
use crate::{Alg, AlgSet, PublicJwk};

/// Verifies with aws-lc-rs: all five algorithms, and the fastest of each.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsLc;

impl Verifier for AwsLc {
    fn algs(&self) -> AlgSet {
        AlgSet::all()
    }

    fn verify(&self, alg: Alg, key: &PublicJwk, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        match (alg, key.material()) {
            (Alg::Es256, KeyMaterial::P256(point)) => verify(&ECDSA_P256_SHA256_FIXED, point, message, signature),
            (Alg::Es384, KeyMaterial::P384(point)) => verify(&ECDSA_P384_SHA384_FIXED, point, message, signature),
            (Alg::EdDsa | Alg::Ed25519, KeyMaterial::Ed25519(point)) => {
                // The library leaves points of small order alone. Keys were checked when they were read; this is the other half.
                let commitment = signature.first_chunk().ok_or(InvalidSignature)?;
                if edwards::is_small_order(commitment) {
                    return Err(InvalidSignature);
                }
                verify(&ED25519, point, message, signature)
            }
            (Alg::Ps256, KeyMaterial::Rsa(modulus)) => RsaPublicKeyComponents { n: modulus, e: &[1, 0, 1] }
                .verify(&RSA_PSS_2048_8192_SHA256, message, signature)
                .map_err(|_| InvalidSignature),
            _ => Err(InvalidSignature),
        }
    }
}

fn verify(algorithm: &'static dyn VerificationAlgorithm, point: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
    UnparsedPublicKey::new(algorithm, point).verify(message, signature).map_err(|_| InvalidSignature)
}
