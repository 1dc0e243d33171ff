//! JWK thumbprints (RFC 7638) as the name of a key.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

/// The SHA-256 thumbprint of a public key (RFC 7638), the `jkt` of RFC 9449 section 6.1: 32 bytes, written as 43 characters.
///
/// Comparison takes the same time wherever two thumbprints differ.
#[derive(Clone, Copy, Eq, PartialOrd, Ord)]
pub struct Jkt([u8; Self::LEN]);

impl Jkt {
    /// Bytes in a thumbprint.
    pub const LEN: usize = 32;

    /// From the digest itself.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The digest itself.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl PartialEq for Jkt {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Hash for Jkt {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for Jkt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Jkt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jkt({self})")
    }
}

impl FromStr for Jkt {
    type Err = MalformedJkt;

    /// From its 43 characters of canonical base64url.
    fn from_str(text: &str) -> Result<Self, MalformedJkt> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| MalformedJkt)?;
        Ok(Self(bytes.try_into().map_err(|_| MalformedJkt)?))
    }
}

/// The text is not 43 characters of canonical, unpadded base64url.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a JWK thumbprint is 43 characters of canonical, unpadded base64url")]
pub struct MalformedJkt;
