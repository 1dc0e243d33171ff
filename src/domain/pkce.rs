//! Proof Key for Code Exchange (RFC 7636), method S256 only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The SHA-256 of a code verifier, as the authorization request named it: 43 characters of canonical base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CodeChallenge([u8; 32]);

/// Proof that the holder of a code knows its verifier.
#[derive(Debug)]
pub struct VerifierKnown(());

impl CodeChallenge {
    /// From `code_challenge`.
    ///
    /// # Errors
    /// [`MalformedChallenge`] for anything but 43 characters of canonical base64url.
    pub fn parse(text: &str) -> Result<Self, MalformedChallenge> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| MalformedChallenge)?;
        Ok(Self(bytes.try_into().map_err(|_| MalformedChallenge)?))
    }

    /// Compares a `code_verifier`, 43 to 128 unreserved characters (RFC 7636 section 4.1).
    ///
    /// # Errors
    /// [`WrongVerifier`] where it is malformed or another one.
    pub fn verify(&self, verifier: &str) -> Result<VerifierKnown, WrongVerifier> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let well_formed = (43..=128).contains(&verifier.len()) && verifier.bytes().all(unreserved);
        let same: bool = Sha256::digest(verifier.as_bytes()).as_slice().ct_eq(&self.0).into();
        if well_formed && same { Ok(VerifierKnown(())) } else { Err(WrongVerifier) }
    }
}

impl TryFrom<String> for CodeChallenge {
    type Error = MalformedChallenge;

    fn try_from(text: String) -> Result<Self, MalformedChallenge> {
        Self::parse(&text)
    }
}

impl From<CodeChallenge> for String {
    fn from(challenge: CodeChallenge) -> Self {
        URL_SAFE_NO_PAD.encode(challenge.0)
    }
}

/// Not a code challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("code_challenge is 43 characters of base64url: the SHA-256 of the code verifier")]
pub struct MalformedChallenge;

/// Not the verifier of this challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the code_verifier does not fit the code_challenge")]
pub struct WrongVerifier;

#[cfg(test)]
mod tests {
    use super::*;

    /// PKCE-01, with the pair of RFC 7636 appendix B.
    #[test]
    fn only_the_right_verifier_fits() {
        let challenge = CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").expect("a challenge");
        assert!(challenge.verify("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").is_ok());
        assert!(challenge.verify("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl").is_err());
        assert!(challenge.verify("").is_err());
    }

    /// PKCE-01
    #[test]
    fn a_verifier_has_43_to_128_unreserved_characters() {
        for (length, good) in [(42, false), (43, true), (128, true), (129, false)] {
            let verifier = "a".repeat(length);
            let challenge = CodeChallenge(Sha256::digest(verifier.as_bytes()).into());
            assert_eq!(challenge.verify(&verifier).is_ok(), good, "{length}");
        }
        let verifier = format!("{}+", "a".repeat(43));
        assert!(CodeChallenge(Sha256::digest(verifier.as_bytes()).into()).verify(&verifier).is_err());
    }

    #[test]
    fn a_challenge_is_canonical() {
        for bad in ["", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cN", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM="] {
            assert_eq!(CodeChallenge::parse(bad), Err(MalformedChallenge), "{bad}");
        }
    }
}
