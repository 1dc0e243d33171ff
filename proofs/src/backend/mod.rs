//! Signature verification, by either of two libraries.
//!
//! Both give the same verdict on the same input; a differential test holds them to it. No type of either library is part of this interface.

#[cfg(feature = "aws-lc")]
mod aws_lc;
#[cfg(feature = "portable")]
mod portable;

#[cfg(feature = "aws-lc")]
pub use aws_lc::AwsLc;
#[cfg(feature = "portable")]
pub use portable::Portable;

use crate::{Alg, AlgSet, PublicJwk};

/// Verifies signatures.
pub trait Verifier {
    /// What this verifier can do. A proof with another algorithm is refused as not allowed.
    fn algs(&self) -> AlgSet;

    /// Verifies a JWS signature over `message`.
    ///
    /// ECDSA signatures are r and s side by side (RFC 7518 section 3.4), both in range; a high s is legal JOSE, so a
    /// signature is never an identity. Ed25519 is strict: points of small order and re-encodings are refused (RFC 8032).
    ///
    /// # Errors
    /// [`InvalidSignature`] where it does not verify, and where `alg` does not fit `key` or is not among [`algs`](Self::algs).
    fn verify(&self, alg: Alg, key: &PublicJwk, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature>;
}

/// The signature does not verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the signature does not verify")]
pub struct InvalidSignature;

/// The backend used where none is named: the faster one, where it is there.
#[cfg(feature = "aws-lc")]
pub type Preferred = AwsLc;
/// The backend used where none is named: the faster one, where it is there.
#[cfg(all(feature = "portable", not(feature = "aws-lc")))]
pub type Preferred = Portable;

/// The value of [`Preferred`].
#[cfg(feature = "aws-lc")]
pub const PREFERRED: Preferred = AwsLc;
/// The value of [`Preferred`].
#[cfg(all(feature = "portable", not(feature = "aws-lc")))]
pub const PREFERRED: Preferred = Portable;
