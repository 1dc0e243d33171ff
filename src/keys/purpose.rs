//! Secrets derived from the root key: one per purpose, so that none can stand in for another.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// What a derived secret is for. Its label is part of every secret in use: never change one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// The MAC of refresh tokens, key id 1.
    RefreshTokens,
    /// The MAC of DPoP nonces. The role of a nonce is inside its MAC, so that one key serves all roles.
    Nonces,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::RefreshTokens => b"keybound/refresh-token/1",
            Self::Nonces => b"keybound/nonce/1",
        }
    }
}

/// HKDF-SHA-256 (RFC 5869) of the root key.
pub(super) fn derive(root: &[u8; 32], purpose: Purpose) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(b"keybound/root"), root)
        .expand(purpose.label(), derived.as_mut())
        .expect("HKDF-SHA-256 gives up to 8160 bytes, and 32 are asked for");
    derived
}
