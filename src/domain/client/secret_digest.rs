//! What is kept of a client's secret.

use std::fmt;

use aws_lc_rs::hmac;
use keybound_proofs::{Entropy, UnixTime};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

/// HMAC-SHA-256 of a client secret under a random salt: enough to recognise the secret, not enough to use it.
///
/// One fast hash is enough because a secret is at least 16 bytes and meant to be made by a machine (see
/// [`super::ClientMetadata`]). It would not be for a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretDigest {
    salt: [u8; Self::SALT_LEN],
    digest: [u8; Self::DIGEST_LEN],
    /// The last second in which it is good, since 1970; `None`: it has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

impl SecretDigest {
    const SALT_LEN: usize = 16;
    const DIGEST_LEN: usize = 32;

    /// Digests `secret` under a new salt.
    pub fn new(secret: &[u8], entropy: &mut dyn Entropy) -> Self {
        let mut salt = [0; Self::SALT_LEN];
        entropy.fill(&mut salt);
        Self { digest: Self::digest(&salt, secret), salt, until: None }
    }

    /// Compares in constant time.
    ///
    /// # Errors
    /// [`WrongSecret`] for any other secret than the digested one.
    pub fn verify(&self, presented: &[u8]) -> Result<(), WrongSecret> {
        let equal: bool = Self::digest(&self.salt, presented).ct_eq(&self.digest).into();
        if equal { Ok(()) } else { Err(WrongSecret) }
    }

    /// The same digest, good until `end` at the latest.
    #[must_use]
    pub(super) fn until(self, end: UnixTime) -> Self {
        // A second that has begun counts no more: an overlap of none is none.
        let last = end.as_secs() - 1;
        Self { until: Some(self.until.map_or(last, |until| until.min(last))), ..self }
    }

    /// Whether it is good at `now`.
    pub(super) fn is_good_at(&self, now: UnixTime) -> bool {
        now.as_secs() <= self.last_second()
    }

    pub(super) fn last_second(&self) -> i64 {
        self.until.unwrap_or(i64::MAX)
    }

    /// Does the work of one comparison for a client that has no secret, so that an answer takes as long as if it had one.
    pub fn verify_nothing(presented: &[u8]) -> WrongSecret {
        let dummy = Self { salt: [0; Self::SALT_LEN], digest: [0; Self::DIGEST_LEN], until: None };
        // No known input has a digest of zeros, and the verdict is the same anyway.
        std::hint::black_box(dummy.verify(presented)).err().unwrap_or(WrongSecret)
    }

    fn digest(salt: &[u8], secret: &[u8]) -> [u8; Self::DIGEST_LEN] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), secret);
        let mut digest = [0; Self::DIGEST_LEN];
        digest.copy_from_slice(tag.as_ref());
        digest
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest([redacted])")
    }
}

/// Not the client's secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not the secret of this client")]
pub struct WrongSecret;
