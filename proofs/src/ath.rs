//! The hash that ties a proof to an access token.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The `ath` of an access token (RFC 9449 section 4.2): SHA-256 over its ASCII characters, 32 bytes, written as 43 characters.
///
/// Comparison takes the same time wherever two values differ. SHA-256 is the only hash there is (RFC 9449 section 11.10).
#[derive(Clone, Copy, Eq)]
pub struct Ath([u8; 32]);

impl Ath {
    /// The hash of the token as it stands in the `Authorization` field, without the scheme.
    pub fn of_token(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether a claim's text is this hash in its one canonical spelling. The time taken depends on the text's length only.
    pub(crate) fn is_spelled(&self, claim: &str) -> bool {
        let mut text = [0; 43];
        URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).is_ok() && text.ct_eq(claim.as_bytes()).into()
    }
}

impl PartialEq for Ath {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for Ath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// Redacted: the hash of a token finds the token's log line.
impl fmt::Debug for Ath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ath(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CNF-06, SEC-11, JOSE-23: the value of RFC 9449 section 7.1.
    #[test]
    fn the_token_of_rfc_9449_hashes_to_its_ath() {
        let ath = Ath::of_token("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
        assert_eq!(ath.to_string(), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
        assert!(ath.is_spelled("fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"));
        assert!(!ath.is_spelled("fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo="));
        assert!(!ath.is_spelled("fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEp"));
        assert!(!ath.is_spelled(""));
        assert!(ath != Ath::of_token("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxu"));
    }
}
